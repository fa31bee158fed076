/* See split.h. Refuses temporal splits of logs without times, and given ones where the input gave none. */
#include "recsys/split.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/filter.h"

/* ---- fingerprint ----------------------------------------------------------------------------------------------------
 * SHA-256, all numbers little endian:
 *     "recmamba split 1\n"
 *     items (uint32), then of each item in order: bytes of its identifier (uint32), the identifier
 *     users (uint32), then of each user in order: bytes of the identifier (uint32), the identifier, the number of its
 *     events for training, validation and test (uint64 each), its items in order (int32 each) */
static void add_number(EVP_MD_CTX *c, uint64_t v, int bytes) {
    unsigned char b[8];
    for (int i = 0; i < bytes; i++)
        b[i] = (unsigned char)(v >> (8 * i));
    EVP_DigestUpdate(c, b, (size_t)bytes);
}

static void add_id(EVP_MD_CTX *c, rec_id id) {
    add_number(c, (uint64_t)id.n, 4);
    EVP_DigestUpdate(c, id.text, (size_t)id.n);
}

static int take_fingerprint(rec_split *s, const rec_log *l, mb_err *e) {
    static const char HEAD[] = "recmamba split 1\n";
    const rec_view *v = rec_log_view(l);
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (!c || !EVP_DigestInit_ex(c, EVP_sha256(), NULL)) {
        EVP_MD_CTX_free(c);
        return mb_fail(e, MB_NOMEM, "no memory for the fingerprint of a split");
    }
    EVP_DigestUpdate(c, HEAD, sizeof HEAD - 1);
    add_number(c, (uint64_t)v->n_items, 4);
    for (int32_t i = 1; i <= v->n_items; i++)
        add_id(c, rec_log_item_id(l, i));
    add_number(c, (uint64_t)v->n_users, 4);
    for (int32_t u = 0; u < v->n_users; u++) {
        const int64_t from = v->user_at[u], to = v->user_at[u + 1];
        add_id(c, rec_log_user_id(l, u));
        add_number(c, (uint64_t)(s->valid_at[u] - from), 8);
        add_number(c, (uint64_t)(s->test_at[u] - s->valid_at[u]), 8);
        add_number(c, (uint64_t)(to - s->test_at[u]), 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        EVP_DigestUpdate(c, v->item + from, (size_t)(to - from) * sizeof *v->item);
#else
        for (int64_t i = from; i < to; i++)
            add_number(c, (uint32_t)v->item[i], 4);
#endif
    }
    EVP_DigestFinal_ex(c, digest, NULL);
    EVP_MD_CTX_free(c);
    for (int i = 0; i < 32; i++)
        snprintf(s->fingerprint + 2 * (size_t)i, 3, "%02x", digest[i]);
    return MB_OK;
}

/* ---- rules ----------------------------------------------------------------------------------------------------------
 */
static int begin(rec_split *s, rec_split_rule rule, int32_t n_users, mb_err *e) {
    *s = (rec_split){.rule = rule, .n_users = n_users};
    s->valid_at = mb_malloc((size_t)n_users * sizeof *s->valid_at);
    s->test_at = mb_malloc((size_t)n_users * sizeof *s->test_at);
    return s->valid_at && s->test_at ? MB_OK : mb_fail(e, MB_NOMEM, "no memory to split %d users", n_users);
}

static int end(rec_split *s, const rec_log *l, int rc, mb_err *e) {
    const rec_view *v = rec_log_view(l);
    for (int32_t u = 0; rc == MB_OK && u < s->n_users; u++) {
        s->train += s->valid_at[u] - v->user_at[u];
        s->valid += s->test_at[u] - s->valid_at[u];
        s->test += v->user_at[u + 1] - s->test_at[u];
    }
    if (rc == MB_OK)
        rc = take_fingerprint(s, l, e);
    if (rc != MB_OK)
        rec_split_free(s);
    return rc;
}

int rec_split_leave_one_out(rec_split *s, const rec_log *l, mb_err *e) {
    const rec_view *v = rec_log_view(l);
    int rc = begin(s, REC_SPLIT_LEAVE_ONE_OUT, v->n_users, e);
    for (int32_t u = 0; rc == MB_OK && u < v->n_users; u++) {
        const int64_t rows = v->user_at[u + 1] - v->user_at[u] - 1; /* of a prefix and its next item */
        const int64_t held = rows < 1 ? 0 : rows - 1 < 2 ? rows - 1 : 2;
        s->test_at[u] = v->user_at[u + 1] - (held > 0);
        s->valid_at[u] = v->user_at[u + 1] - held;
    }
    return end(s, l, rc, e);
}

int rec_split_time(rec_split *s, const rec_log *l, int64_t valid_from, int64_t test_from, mb_err *e) {
    const rec_view *v = rec_log_view(l);
    *s = (rec_split){0};
    if (!v->time)
        return mb_fail(e, MB_USAGE, "a split by time: the log has no times");
    if (valid_from > test_from)
        return mb_fail(e, MB_USAGE,
                       "a split by time: validation would begin at %" PRId64 ", after the test at %" PRId64, valid_from,
                       test_from);
    int rc = begin(s, REC_SPLIT_TIME, v->n_users, e);
    for (int32_t u = 0; rc == MB_OK && u < v->n_users; u++) {
        int64_t i = v->user_at[u];
        while (i < v->user_at[u + 1] && v->time[i] < valid_from)
            i++;
        s->valid_at[u] = i;
        while (i < v->user_at[u + 1] && v->time[i] < test_from)
            i++;
        s->test_at[u] = i;
    }
    return end(s, l, rc, e);
}

int rec_split_given(rec_split *s, const rec_log *l, mb_err *e) {
    const rec_view *v = rec_log_view(l);
    const int64_t *valid = rec_log_given_valid(l), *test = rec_log_given_test(l);
    *s = (rec_split){0};
    if (!valid || !test)
        return mb_fail(e, MB_USAGE,
                       "a given split: the input gives none (--valid FILE, --test FILE, or --columns "
                       "split=NAME)");
    int rc = begin(s, REC_SPLIT_GIVEN, v->n_users, e);
    if (rc == MB_OK) {
        memcpy(s->valid_at, valid, (size_t)v->n_users * sizeof *valid);
        memcpy(s->test_at, test, (size_t)v->n_users * sizeof *test);
    }
    return end(s, l, rc, e);
}

int rec_split_make(rec_split *s, const rec_log *l, const rec_split_options *o, double time_scale, mb_err *e) {
    enum { AUTO, LEAVE_ONE_OUT, BY_TIME, GIVEN };
    const int choice = o ? o->split : AUTO;
    int64_t valid_from, test_from;
    *s = (rec_split){0};
    if (o && choice != BY_TIME && (o->valid_from || o->test_from))
        return mb_fail(e, MB_USAGE, "--valid-from and --test-from go with --split time");
    if (choice == GIVEN || (choice == AUTO && rec_log_given_valid(l)))
        return rec_split_given(s, l, e);
    if (choice != BY_TIME)
        return rec_split_leave_one_out(s, l, e);
    if (!o->test_from)
        return mb_fail(e, MB_USAGE, "--split time: from when on is the test? --test-from TIME");
    int rc = rec_parse_moment("--test-from", o->test_from, time_scale, &test_from, e);
    valid_from = test_from;
    if (rc == MB_OK && o->valid_from)
        rc = rec_parse_moment("--valid-from", o->valid_from, time_scale, &valid_from, e);
    return rc == MB_OK ? rec_split_time(s, l, valid_from, test_from, e) : rc;
}

void rec_split_free(rec_split *s) {
    mb_free(s->valid_at);
    mb_free(s->test_at);
    *s = (rec_split){0};
}
