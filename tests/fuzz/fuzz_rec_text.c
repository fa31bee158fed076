/* Any bytes as a log in some text format (packed too: the magic bytes are the input's), with filters, names, and
 * scratch files: a log whose every number is in range, or an error with a sentence. */
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "recsys/load.h"
#include "recsys/split.h"
#include "recsys/stats.h"
#include "tests/fuzz/input.h"

static void check(const rec_log *l, mb_err *e) {
    const rec_view *v = rec_log_view(l);
    MB_ASSERT(v->n_users > 0 && v->n_items > 0 && v->n_events > 0 && v->user_at[v->n_users] == v->n_events);
    for (int32_t u = 0; u < v->n_users; u++) {
        const rec_id id = rec_log_user_id(l, u);
        MB_ASSERT(v->user_at[u] < v->user_at[u + 1] && id.n > 0 && rec_log_find_user(l, id.text, id.n) == u);
        MB_ASSERT(!memchr(id.text, 0, (size_t)id.n));
    }
    for (int32_t i = 1; i <= v->n_items; i++) {
        const rec_id id = rec_log_item_id(l, i);
        MB_ASSERT(id.n > 0 && rec_log_find_item(l, id.text, id.n) == i && rec_log_item_name(l, i).n >= 0);
    }
    for (int64_t i = 0; i < v->n_events; i++)
        MB_ASSERT(v->item[i] >= 1 && v->item[i] <= v->n_items &&
                  (!v->aux || (v->aux[i] >= 0 && v->aux[i] <= v->n_aux)));
    rec_split s;
    rec_stats t;
    MB_ASSERT(rec_split_make(&s, l, NULL, 1, e) == MB_OK && s.train + s.valid + s.test == v->n_events);
    MB_ASSERT(rec_stats_make(&t, l, e) == MB_OK);
    rec_split_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const COLUMNS[] = {NULL, "user=1,item=2,value=3,time=4", "user=a,item=b,split=c"};
    mb_log_set_level(MB_LOG_QUIET);
    /* A few bytes of these can become gigabytes, which takes longer than it teaches. */
    if (n > 256 && (data[0] == 0x1f || data[0] == 0xfd || data[0] == 0x28))
        return 0;
    const char *path = fuzz_file(data, n);
    const unsigned pick = n ? data[n - 1] : 0;
    const int other = n > 1 ? data[n - 2] % REC_FORMAT_LOG : REC_FORMAT_AUTO;
    for (int way = 0; way < 1 + (other != REC_FORMAT_AUTO); way++) { /* as it looks, and as something else */
        rec_load_options o = rec_load_defaults();
        rec_log *l = NULL;
        mb_err e = {0};
        o.format = way ? other : REC_FORMAT_AUTO;
        o.memory = 1 << 22;
        o.columns = (char *)(uintptr_t)COLUMNS[pick % 3];
        o.duplicates = (int)(pick / 3 % 3);
        o.min_user = o.min_item = pick / 9 % 3;
        o.ties = (int)(pick / 27 % 3);
        o.time_sort = (int)(pick / 81 % 2);
        o.strict = pick / 162 % 2;
        o.item_names = (char *)(uintptr_t)(pick == 250 ? path : NULL);
        const int rc = rec_log_open(&l, path, &o, &e);
        MB_ASSERT((rc == MB_OK) == (l != NULL) && rc == e.status && (rc == MB_OK || *e.text));
        if (l)
            check(l, &e);
        rec_log_close(l);
    }
    MB_ASSERT(mb_mem_live_blocks() == 0);
    return 0;
}
