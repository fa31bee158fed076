/* Any bytes as a log of recmamba prep, its checksums unread (what they guard is then anything): a log whose every part
 * can be used, or an error with a sentence. */
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "recsys/load.h"
#include "recsys/split.h"
#include "recsys/stats.h"
#include "tests/fuzz/input.h"

static volatile int64_t sink; /* what was read, so that it is read */

static int64_t sum_of(rec_id id) {
    int64_t sum = 0;
    for (int i = 0; i < id.n; i++)
        sum += id.text[i];
    return sum;
}

static void use(const rec_log *l) {
    const rec_view *v = rec_log_view(l);
    mb_err e = {0};
    for (int32_t u = 0; u < v->n_users; u++) {
        const rec_id id = rec_log_user_id(l, u);
        const int32_t found = rec_log_find_user(l, id.text, id.n);
        MB_ASSERT(found >= -1 && found < v->n_users);
        sink += sum_of(id);
        for (int64_t i = v->user_at[u]; i < v->user_at[u + 1]; i++) {
            sink += sum_of(rec_log_item_id(l, v->item[i])) + sum_of(rec_log_item_name(l, v->item[i]));
            sink += v->time ? v->time[i] & 1 : 0;
            sink += v->aux && v->aux[i] ? sum_of(rec_log_aux_id(l, v->aux[i])) : 0;
        }
    }
    rec_split s;
    rec_stats t;
    MB_ASSERT(rec_split_make(&s, l, NULL, 1, &e) == MB_OK && rec_stats_make(&t, l, &e) == MB_OK);
    rec_split_free(&s);
    sink += (int64_t)strlen(rec_log_recipe(l));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *path = fuzz_file(data, n);
    mb_log_set_level(MB_LOG_QUIET);
    for (int verify = 0; verify < 2; verify++) {
        rec_load_options o = rec_load_defaults();
        rec_log *l = NULL;
        mb_err e = {0};
        o.verify_log = verify;
        o.format = REC_FORMAT_LOG;
        const int rc = rec_log_open(&l, path, &o, &e);
        MB_ASSERT((rc == MB_OK) == (l != NULL) && rc == e.status && (rc == MB_OK || *e.text));
        if (l)
            use(l);
        rec_log_close(l);
    }
    MB_ASSERT(mb_mem_live_blocks() == 0);
    return 0;
}
