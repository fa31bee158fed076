/* The best items of a row against sorting all; quick held-out figures against their definitions; lists of identifiers.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/rng.h"
#include "recsys/holdout.h"
#include "recsys/list.h"
#include "recsys/load.h"
#include "recsys/top.h"
#include "tests/scratch.h"

static mb_err error;

/* ---- the best -------------------------------------------------------------------------------------------------------
 */

static int better_first(const void *a, const void *b) {
    const rec_hit *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score) - (x->score > y->score) : x->item - y->item;
}

static void best_of_all(void **state) {
    (void)state;
    enum { N = 300 };
    mb_rng r;
    mb_rng_init(&r, 1, 2);
    for (int round = 0; round < 400; round++) {
        const int n = 1 + (int)mb_rng_below(&r, N), k = 1 + (int)mb_rng_below(&r, N), values = 1 + round % 40;
        float score[N + 1];
        uint8_t candidate[N + 1];
        rec_hit all[N], hit[N];
        int left = 0;
        for (int i = 0; i <= n; i++) {
            score[i] = round % 5 == 0 ? (float)mb_rng_normal(&r) : (float)mb_rng_below(&r, (uint64_t)values);
            if (mb_rng_below(&r, 20) == 0)
                score[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
            candidate[i] = mb_rng_below(&r, 4) > 0;
        }
        for (int i = 1; i <= n; i++)
            if (!isnan(score[i]) && (round % 2 == 0 || candidate[i]))
                all[left++] = (rec_hit){i, score[i]};
        qsort(all, (size_t)left, sizeof *all, better_first);
        const int found = rec_top(score, n, round % 2 ? candidate : NULL, k, hit);
        assert_int_equal(found, left < k ? left : k);
        for (int i = 0; i < found; i++)
            assert_true(hit[i].item == all[i].item && hit[i].score == all[i].score);
    }
}

/* ---- held-out figures -----------------------------------------------------------------------------------------------
 */

/* Item i scores (i * user + length of the history) mod 11: many ties. */
static int mod_score(void *self, const rec_query *q, int n, float *score, mb_err *e) {
    const int32_t items = *(const int32_t *)self;
    (void)e;
    for (int i = 0; i < n; i++)
        for (int32_t v = 0; v <= items; v++)
            score[i * (items + 1) + v] = (float)((v * (q[i].user + 2) + q[i].n) % 11);
    return MB_OK;
}

static int fail_score(void *self, const rec_query *q, int n, float *score, mb_err *e) {
    (void)self, (void)q, (void)n, (void)score;
    return mb_fail(e, MB_IO, "as told");
}

static rec_log *small_log(rec_split *s) {
    rec_load_options o = rec_load_defaults();
    rec_log *l = NULL;
    o.format = REC_FORMAT_SEQUENCES;
    const char *path =
        scratch_text("small.txt", "u1 a b c d e f g h i j k l m n o p q r s t\nu2 b a\nu3 c\nu4 t s r q p o\n"
                                  "u5 d e a d e a\nu6 h i j k a b\n");
    assert_int_equal(rec_log_open(&l, path, &o, &error), MB_OK);
    assert_int_equal(rec_split_leave_one_out(s, l, &error), MB_OK);
    return l;
}

static void held_out(void **state) {
    (void)state;
    rec_split split;
    rec_log *l = small_log(&split);
    const rec_view *v = rec_log_view(l);
    int32_t items = v->n_items;
    const rec_scorer s = {"mod", mod_score, &items, items};
    for (int test = 0; test < 2; test++)
        for (int64_t memory = 1; memory < 1 << 20; memory *= 1000)
            for (int cutoff = 1; cutoff <= 10; cutoff += 3) {
                const rec_holdout_options o = {.test = test, .cutoff = cutoff, .memory = memory, .threads = 2};
                rec_holdout h, want = {0};
                assert_int_equal(rec_holdout_run(&s, l, &split, &o, &h, &error), MB_OK);
                for (int32_t u = 0; u < v->n_users; u++)
                    for (int64_t i = test ? split.test_at[u] : split.valid_at[u];
                         i < (test ? v->user_at[u + 1] : split.test_at[u]); i++) {
                        float score[64] = {0};
                        const rec_query q = {.user = u, .n = i - v->user_at[u]};
                        int rank = 1;
                        double sum = 0;
                        mod_score(&items, &q, 1, score, NULL);
                        for (int32_t k = 1; k <= items; k++) {
                            sum += exp((double)score[k]);
                            rank += score[k] > score[v->item[i]] || (score[k] == score[v->item[i]] && k < v->item[i]);
                        }
                        want.events++;
                        want.first += rank == 1;
                        want.loss += log(sum) - (double)score[v->item[i]];
                        want.hr += rank <= cutoff;
                        want.ndcg += rank <= cutoff ? log(2) / log(rank + 1) : 0;
                        want.mrr += rank <= cutoff ? 1.0 / rank : 0;
                    }
                assert_int_equal(h.events, want.events);
                assert_int_equal(h.first, want.first);
                assert_true(fabs(h.loss - want.loss) < 1e-9);
                assert_true(fabs(h.hr - want.hr / (double)want.events) < 1e-12);
                assert_true(fabs(h.ndcg - want.ndcg / (double)want.events) < 1e-12);
                assert_true(fabs(h.mrr - want.mrr / (double)want.events) < 1e-12);
            }
    const rec_scorer bad = {"bad", fail_score, NULL, items};
    const rec_holdout_options o = {.cutoff = 10, .memory = 1000, .threads = 1};
    rec_holdout h;
    assert_int_equal(rec_holdout_run(&bad, l, &split, &o, &h, &error), MB_IO);
    mb_err_clear(&error);
    rec_split_free(&split);
    rec_log_close(l);
}

static void held_out_without_memory(void **state) {
    (void)state;
    rec_split split;
    rec_log *l = small_log(&split);
    int32_t items = rec_log_view(l)->n_items;
    const rec_scorer s = {"mod", mod_score, &items, items};
    const rec_holdout_options o = {.cutoff = 10, .memory = 1000, .threads = 1};
    const long before = mb_mem_live_blocks();
    int fired = 1;
    for (long nth = 1; fired; nth++) {
        rec_holdout h;
        mb_err e = {0};
        mb_mem_fail_nth(nth, 0);
        const int rc = rec_holdout_run(&s, l, &split, &o, &h, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_true(fired ? rc == MB_NOMEM && *e.text : rc == MB_OK);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
    rec_split_free(&split);
    rec_log_close(l);
}

/* ---- lists ----------------------------------------------------------------------------------------------------------
 */

static void expect_list(const char *value, int n, const char *const *want) {
    rec_names list = {0};
    assert_int_equal(rec_list_read(&list, value, "item", &error), MB_OK);
    assert_int_equal(list.n, n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(list.at[i + 1] - list.at[i], strlen(want[i]));
        assert_memory_equal(list.text + list.at[i], want[i], strlen(want[i]));
    }
    rec_names_free(&list);
}

static void lists(void **state) {
    (void)state;
    static const char *const ABC[] = {"a", "b c", "d"}, *const ODD[] = {"x,y", "line\nend", "z"};
    expect_list("a,b c,,d,a,", 3, ABC);
    expect_list(scratch_text("list.txt", "a\r\n\nb c\nd\na"), 3, ABC);
    expect_list(scratch_gzip("list.txt.gz", "a\nb c\nd\n"), 3, ABC);
    expect_list(scratch_text("odd.txt", "x,y\n\"line\\nend\"\nz\n"), 3, ODD);
    rec_names list = {0};
    assert_int_equal(rec_list_read(&list, ",,", "user", &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "names no user"));
    mb_err_clear(&error);
    rec_names_free(&list);
    assert_int_equal(rec_list_read(&list, scratch_text("open.txt", "a\n\"b\n"), "user", &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "open.txt:2: begins with a quote"));
    mb_err_clear(&error);
    rec_names_free(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(best_of_all), cmocka_unit_test(held_out),
                                       cmocka_unit_test(held_out_without_memory), cmocka_unit_test(lists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
