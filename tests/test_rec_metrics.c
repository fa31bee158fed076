/* Metrics against sums by hand, intervals against what they must hold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/rng.h"
#include "recsys/metrics.h"

static mb_err error;

#define close_to(a, b) close_within(a, b, 5e-7, __LINE__)
static void close_within(double got, double want, double most, int line) {
    if (!(fabs(got - want) <= most))
        fail_msg("line %d: %.10g, expected %.10g", line, got, want);
}

/* ranks 2, 5, 11 of three targets:
 *   K = 10: DCG = 1/log2 3 + 1/log2 6 = .6309298 + .3868528 = 1.0177825; ideal 1 + .6309298 + .5 = 2.1309298
 *   K = 2:  DCG = .6309298; ideal of two 1.6309298 */
static void by_hand(void **state) {
    (void)state;
    static const int32_t three[] = {2, 5, 11};
    double v[REC_METRICS];
    rec_metrics_of(three, 3, 10, v);
    close_to(v[REC_HR], 1);
    close_to(v[REC_RECALL], 2.0 / 3);
    close_to(v[REC_PRECISION], 0.2);
    close_to(v[REC_NDCG], 0.4776237);
    close_to(v[REC_MRR], 0.5);
    close_to(v[REC_MAP], 0.3); /* (1/2 + 2/5) / 3 */
    rec_metrics_of(three, 3, 2, v);
    close_to(v[REC_HR], 1);
    close_to(v[REC_RECALL], 1.0 / 3);
    close_to(v[REC_PRECISION], 0.5);
    close_to(v[REC_NDCG], 0.3868528);
    close_to(v[REC_MAP], 0.25); /* 1/2 / 2 */
    rec_metrics_of(three, 3, 1, v);
    for (int m = 0; m < REC_METRICS; m++)
        assert_true(v[m] == 0);
    static const int32_t best[] = {1, 2, 3};
    rec_metrics_of(best, 3, 3, v);
    for (int m = 0; m < REC_METRICS; m++)
        close_to(v[m], 1);
}

/* One target, as RecBole has it: 1/log2(r+1) and 1/r up to rank K, nothing beyond. */
static void one_target(void **state) {
    (void)state;
    for (int32_t rank = 1; rank < 30; rank++)
        for (int k = 1; k < 30; k++) {
            double v[REC_METRICS];
            const int hit = rank <= k;
            rec_metrics_of(&rank, 1, k, v);
            close_within(v[REC_HR], hit, 0, __LINE__);
            close_within(v[REC_RECALL], hit, 0, __LINE__);
            close_within(v[REC_PRECISION], (double)hit / k, 1e-15, __LINE__);
            close_within(v[REC_NDCG], hit ? log(2) / log(rank + 1) : 0, 1e-14, __LINE__);
            close_within(v[REC_MRR], hit ? 1.0 / rank : 0, 1e-15, __LINE__);
            close_within(v[REC_MAP], v[REC_MRR], 1e-15, __LINE__);
        }
}

static void names(void **state) {
    (void)state;
    for (int m = 0; m < REC_METRICS; m++) {
        const char *name = rec_metric_name((rec_metric)m), *title = rec_metric_title((rec_metric)m);
        assert_int_equal(rec_metric_find(name, (int)strlen(name)), m);
        assert_int_equal(rec_metric_find(title, (int)strlen(title)), m);
    }
    assert_int_equal(rec_metric_find("Hit", 3), REC_HR);
    assert_int_equal(rec_metric_find("NDCG@10", 4), REC_NDCG);
    assert_int_equal(rec_metric_find("ndc", 3), -1);
    assert_int_equal(rec_metric_find("", 0), -1);
}

/* What Python 3 answers to round(x, 4). 0.00015 lies just below the middle: x * 1e4 rounds it up. */
static void rounding(void **state) {
    (void)state;
    assert_true(rec_round4(0.00015) == 0.0001);
    assert_true(rec_round4(0.00005) == 0.0001);
    assert_true(rec_round4(0.12345) == 0.1235);
    assert_true(rec_round4(0.18218999) == 0.1822);
    assert_true(rec_round4(-0.00006) == -0.0001);
    assert_true(rec_round4(1) == 1);
    assert_true(isnan(rec_round4(NAN)));
}

/* ---- intervals --------------------------------------------------------------------------------------------------- */

/* Two units, 0 and 1: resamples are 0, 1/2, 1/2, 1 in equal shares. */
static void two_units(void **state) {
    (void)state;
    const double value[] = {0, 1};
    const rec_bootstrap o = {.resamples = 2000, .level = 0.95, .threads = 2};
    rec_figure f;
    assert_int_equal(rec_bootstrap_run(value, NULL, 2, 1, &o, &f, &error), MB_OK);
    assert_true(f.value == 0.5 && f.low == 0 && f.high == 1);
    const rec_bootstrap narrow = {.resamples = 2000, .level = 0.4, .threads = 2}; /* 30 % to 70 %: the middle half */
    assert_int_equal(rec_bootstrap_run(value, NULL, 2, 1, &narrow, &f, &error), MB_OK);
    assert_true(f.low == 0.5 && f.high == 0.5);
    const rec_bootstrap none = {.resamples = 0};
    assert_int_equal(rec_bootstrap_run(value, NULL, 2, 1, &none, &f, &error), MB_OK);
    assert_true(f.value == 0.5 && isnan(f.low) && isnan(f.high));
    assert_int_equal(rec_bootstrap_run(value, NULL, 0, 1, &o, &f, &error), MB_OK);
    assert_true(isnan(f.value) && isnan(f.low));
    const rec_bootstrap bad = {.resamples = 10, .level = 1};
    mb_err_clear(&error);
    assert_int_equal(rec_bootstrap_run(value, NULL, 2, 1, &bad, &f, &error), MB_RANGE);
    assert_non_null(strstr(error.text, "confidence level 1"));
    mb_err_clear(&error);
}

/* Of 400 draws of 150 units with mean .3, about 95 % of the 95 % intervals hold .3: between 90 % and 98.5 % (four
 * standard errors of 400 trials, and the known shortness of percentile intervals). Weighted: ratio of sums. */
static void cover(void **state) {
    (void)state;
    enum { N = 150, TRIALS = 400 };
    static double value[N], weight[N];
    for (int weighted = 0; weighted < 2; weighted++) {
        int held = 0;
        double width = 0;
        for (int t = 0; t < TRIALS; t++) {
            mb_rng r;
            mb_rng_init(&r, 5, (uint64_t)t);
            for (int i = 0; i < N; i++) {
                weight[i] = weighted ? 1 + (double)mb_rng_below(&r, 4) : 1;
                value[i] = 0;
                for (int k = 0; k < (int)weight[i]; k++)
                    value[i] += mb_rng_uniform(&r) < 0.3;
            }
            const rec_bootstrap o = {.seed = (uint64_t)t, .resamples = 300, .threads = 2};
            rec_figure f;
            assert_int_equal(rec_bootstrap_run(value, weighted ? weight : NULL, N, 1, &o, &f, &error), MB_OK);
            held += f.low <= 0.3 && 0.3 <= f.high;
            width += (f.high - f.low) / TRIALS;
        }
        if (held < 0.9 * TRIALS || held > 0.985 * TRIALS)
            fail_msg("weighted %d: %d of %d intervals hold the mean", weighted, held, TRIALS);
        /* 2 * 1.96 * sqrt(.21 / trials), trials N or 2.5 N */
        close_within(width, 2 * 1.96 * sqrt(0.21 / (N * (weighted ? 2.5 : 1))), 0.012, __LINE__);
    }
}

static void same_bits(void **state) {
    (void)state;
    enum { N = 77, M = 5 };
    static double value[N * M], weight[N];
    rec_figure one[M], other[M];
    mb_rng r;
    mb_rng_init(&r, 3, 3);
    for (int i = 0; i < N * M; i++)
        value[i] = mb_rng_normal(&r);
    for (int i = 0; i < N; i++)
        weight[i] = 1 + mb_rng_uniform(&r);
    rec_bootstrap o = {.seed = 9, .resamples = 101, .threads = 1};
    assert_int_equal(rec_bootstrap_run(value, weight, N, M, &o, one, &error), MB_OK);
    for (o.threads = 2; o.threads < 8; o.threads += 2) {
        assert_int_equal(rec_bootstrap_run(value, weight, N, M, &o, other, &error), MB_OK);
        assert_memory_equal(one, other, sizeof one);
    }
    o.seed = 10;
    assert_int_equal(rec_bootstrap_run(value, weight, N, M, &o, other, &error), MB_OK);
    assert_true(one[0].value == other[0].value && one[0].low != other[0].low);
    const long before = mb_mem_live_blocks();
    for (long n = 1, fired = 1; fired; n++) {
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = rec_bootstrap_run(value, weight, N, M, &o, other, &error);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand),   cmocka_unit_test(one_target),
                                       cmocka_unit_test(names),     cmocka_unit_test(rounding),
                                       cmocka_unit_test(two_units), cmocka_unit_test(cover),
                                       cmocka_unit_test(same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
