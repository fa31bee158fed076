/* Metrics against figures of scikit-learn 1.9.1 and scipy 1.17.1 on data that a formula gives, ties included;
 * intervals; what is not defined; wrong input. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/rng.h"
#include "genomics/labelled.h"
#include "genomics/metrics.h"

enum { N = 200 };

typedef struct want {
    const char *name;
    double value;
} want;

/* 16 bits that look random: r(i) = ((i + 1) 2654435761 mod 2^32) >> 16. */
static int r(int64_t i) {
    return (int)((uint32_t)((uint64_t)(i + 1) * 2654435761u) >> 16);
}

static mb_err error;

static void compare(const dna_scored *s, const want *w, size_t n) {
    dna_metrics m;
    assert_int_equal(dna_metrics_compute(&m, s, &(dna_metrics_options){0}, &error), MB_OK);
    assert_int_equal(m.n, n);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(m.at[i].name, w[i].name);
        if (!(fabs(m.at[i].value - w[i].value) <= 2e-14 * (1 + fabs(w[i].value))))
            fail_msg("%s: got %.17g, expected %.17g", w[i].name, m.at[i].value, w[i].value);
        assert_true(isnan(m.at[i].low) && isnan(m.at[i].high) && !m.at[i].why);
        assert_ptr_equal(dna_metrics_find(&m, w[i].name), &m.at[i]);
    }
    assert_null(dna_metrics_find(&m, "none"));
    dna_metrics_fini(&m);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* s_i = (r(i) mod 21) / 20, y_i = [r(i + 1000) mod 20 < 4 + floor((r(i) mod 21) / 2)]. */
static void binary_data(int *y, double *p) {
    for (int i = 0; i < N; i++) {
        p[2 * i + 1] = (r(i) % 21) / 20.0;
        p[2 * i] = 1 - p[2 * i + 1];
        y[i] = r(i + 1000) % 20 < 4 + r(i) % 21 / 2;
    }
}

static void two_classes(void **state) {
    (void)state;
    static const want WANT[] = {{"accuracy", 0.595},
                                {"balanced_accuracy", 0.600649350649351},
                                {"mcc", 0.200335519836479},
                                {"precision", 0.532710280373832},
                                {"recall", 0.647727272727273},
                                {"f1", 0.584615384615385},
                                {"precision_macro", 0.599688473520249},
                                {"recall_macro", 0.600649350649351},
                                {"f1_macro", 0.594746716697936},
                                {"f1_micro", 0.595},
                                {"auroc", 0.621245941558442},
                                {"auprc", 0.537282655758415},
                                {"brier", 0.2790625},
                                {"log_loss", 2.3005165673569}};
    int y[N];
    double p[2 * N];
    binary_data(y, p);
    const dna_scored s = {.task = DNA_TASK_CLASS, .n = N, .n_labels = 2, .label = y, .score = p};
    compare(&s, WANT, sizeof WANT / sizeof *WANT);
    dna_metrics m;
    assert_int_equal(dna_metrics_compute(&m, &s, &(dna_metrics_options){0}, &error), MB_OK);
    static const int64_t CONFUSION[4] = {62, 50, 31, 57};
    assert_memory_equal(m.confusion, CONFUSION, sizeof CONFUSION);
    assert_true(m.of[0].support == 112 && m.of[1].support == 88);
    assert_true(fabs(m.of[0].auroc - m.of[1].auroc) < 1e-15 && m.of[1].precision == 57.0 / 107);
    dna_metrics_fini(&m);
}

/* w_ic = 1 + r(4i + c + 5000) mod 9, s = w / sum_c w; y = argmax w, but r(i + 7000) mod 4 where r(i + 9000) mod 3 = 0.
 */
static void four_data(int *y, double *p) {
    for (int i = 0; i < N; i++) {
        double sum = 0;
        int best = 0;
        for (int c = 0; c < 4; c++) {
            p[4 * i + c] = 1 + r(4 * i + c + 5000) % 9;
            sum += p[4 * i + c];
            best = p[4 * i + c] > p[4 * i + best] ? c : best;
        }
        for (int c = 0; c < 4; c++)
            p[4 * i + c] /= sum;
        y[i] = r(i + 9000) % 3 ? best : r(i + 7000) % 4;
    }
}

static void four_classes(void **state) {
    (void)state;
    static const want WANT[] = {{"accuracy", 0.74},
                                {"balanced_accuracy", 0.662459150326797},
                                {"mcc", 0.629374642736532},
                                {"precision_macro", 0.732701238390093},
                                {"recall_macro", 0.662459150326797},
                                {"f1_macro", 0.681527872410225},
                                {"f1_micro", 0.74},
                                {"auroc", 0.753843640912805},
                                {"auprc", 0.541589660521734},
                                {"brier", 0.644127045242347},
                                {"log_loss", 1.18591223266375}};
    static const double AUROC[4] = {0.8183489304812833, 0.827907986111111, 0.6968627450980394, 0.6722549019607843};
    int y[N];
    double p[4 * N];
    four_data(y, p);
    const dna_scored s = {.task = DNA_TASK_CLASS, .n = N, .n_labels = 4, .label = y, .score = p};
    compare(&s, WANT, sizeof WANT / sizeof *WANT);
    dna_metrics m;
    assert_int_equal(dna_metrics_compute(&m, &s, &(dna_metrics_options){0}, &error), MB_OK);
    for (int c = 0; c < 4; c++)
        assert_true(fabs(m.of[c].auroc - AUROC[c]) < 1e-14);
    dna_metrics_fini(&m);
}

/* s_ic = (r(3i + c + 20000) mod 11) / 10, y_ic = [r(3i + c + 30000) mod 20 < 5 + r(3i + c + 20000) mod 11]. */
static void many_labels(void **state) {
    (void)state;
    static const want WANT[] = {
        {"accuracy", 0.648333333333333},     {"exact_match", 0.275},          {"precision_macro", 0.637951796929929},
        {"recall_macro", 0.687491147900215}, {"f1_macro", 0.661649971168417}, {"f1_micro", 0.66131621187801},
        {"auroc", 0.682149352525321},        {"auprc", 0.652668525337249},    {"brier", 0.2505},
        {"log_loss", 2.32034988602057}};
    double y[3 * N], p[3 * N];
    for (int i = 0; i < 3 * N; i++) {
        p[i] = (r(i + 20000) % 11) / 10.0;
        y[i] = r(i + 30000) % 20 < 5 + r(i + 20000) % 11;
    }
    const dna_scored s = {.task = DNA_TASK_MULTI, .n = N, .n_labels = 3, .truth = y, .score = p};
    compare(&s, WANT, sizeof WANT / sizeof *WANT);
}

/* y_ic = (r(2i + c + 40000) mod 50) / 7 - 3, s = floor(4 (y/2 + (1 + c) (r(2i + c + 50000) mod 30) / 10)) / 4. */
static void regression_data(double *y, double *p) {
    for (int i = 0; i < 2 * N; i++) {
        y[i] = (r(i + 40000) % 50) / 7.0 - 3;
        p[i] = floor(4 * (y[i] * .5 + (r(i + 50000) % 30) / 10.0 * (1 + i % 2))) / 4;
    }
}

static void regression(void **state) {
    (void)state;
    static const want WANT[] = {{"pearson", 0.660838287279344},
                                {"spearman", 0.643414674078601},
                                {"r2", -0.589241810799742},
                                {"mse", 6.82051658163265}};
    double y[2 * N], p[2 * N];
    regression_data(y, p);
    const dna_scored s = {.task = DNA_TASK_REGRESSION, .n = N, .n_labels = 2, .truth = y, .score = p};
    compare(&s, WANT, sizeof WANT / sizeof *WANT);
}

static void intervals_for_any_threads(void **state) {
    (void)state;
    int y[N];
    double p[4 * N], t[2 * N], q[2 * N];
    four_data(y, p);
    regression_data(t, q);
    const dna_scored all[] = {{.task = DNA_TASK_CLASS, .n = N, .n_labels = 4, .label = y, .score = p},
                              {.task = DNA_TASK_REGRESSION, .n = N, .n_labels = 2, .truth = t, .score = q}};
    for (int k = 0; k < 2; k++) {
        dna_metrics one, more;
        dna_metrics_options o = {.seed = 5, .resamples = 301, .threads = 1};
        assert_int_equal(dna_metrics_compute(&one, &all[k], &o, &error), MB_OK);
        for (o.threads = 2; o.threads <= 7; o.threads += 5) {
            assert_int_equal(dna_metrics_compute(&more, &all[k], &o, &error), MB_OK);
            for (int i = 0; i < one.n; i++) {
                assert_memory_equal(&one.at[i].low, &more.at[i].low, 2 * sizeof(double));
                assert_true(one.at[i].low < one.at[i].value && one.at[i].value < one.at[i].high);
            }
            dna_metrics_fini(&more);
        }
        o.seed = 6;
        assert_int_equal(dna_metrics_compute(&more, &all[k], &o, &error), MB_OK);
        assert_true(more.at[0].low != one.at[0].low || more.at[0].high != one.at[0].high);
        dna_metrics_fini(&more);
        dna_metrics_fini(&one);
    }
}

/* A resample's figure from its multiplicities is the figure of the rows written out. */
static void weights_are_copies(void **state) {
    (void)state;
    int y[N];
    double p[4 * N], value = 0;
    four_data(y, p);
    static int copy_y[N];
    static double copy_p[4 * N];
    mb_rng g;
    mb_rng_init(&g, 17, 0); /* resample 0 of seed 17 */
    for (int i = 0; i < N; i++) {
        const uint64_t row = mb_rng_below(&g, N);
        copy_y[i] = y[row];
        memcpy(copy_p + (ptrdiff_t)4 * i, p + 4 * row, 4 * sizeof *p);
    }
    const dna_scored s = {.task = DNA_TASK_CLASS, .n = N, .n_labels = 4, .label = y, .score = p};
    const dna_scored c = {.task = DNA_TASK_CLASS, .n = N, .n_labels = 4, .label = copy_y, .score = copy_p};
    dna_metrics a, b;
    assert_int_equal(dna_metrics_compute(&a, &s, &(dna_metrics_options){.seed = 17, .resamples = 1}, &error), MB_OK);
    assert_int_equal(dna_metrics_compute(&b, &c, &(dna_metrics_options){0}, &error), MB_OK);
    for (int i = 0; i < a.n; i++) {
        value = b.at[i].value;
        assert_true(a.at[i].low == a.at[i].high);
        assert_true(fabs(a.at[i].low - value) <= 1e-13 * (1 + fabs(value)));
    }
    dna_metrics_fini(&a);
    dna_metrics_fini(&b);
}

/* Coverage on fair coins: 95 % intervals of the accuracy of 100 tosses hold 0.5 in about 95 of 100 runs. */
static void coverage(void **state) {
    (void)state;
    int held = 0;
    for (int run = 0; run < 200; run++) {
        int y[100];
        double p[200];
        mb_rng g;
        mb_rng_init(&g, 99, (uint64_t)run);
        for (int i = 0; i < 100; i++) {
            y[i] = (int)mb_rng_below(&g, 2);
            p[2 * i + 1] = (double)mb_rng_below(&g, 2);
            p[2 * i] = 1 - p[2 * i + 1];
        }
        const dna_scored s = {.task = DNA_TASK_CLASS, .n = 100, .n_labels = 2, .label = y, .score = p};
        dna_metrics m;
        assert_int_equal(dna_metrics_compute(&m, &s, &(dna_metrics_options){.seed = 1, .resamples = 200}, &error),
                         MB_OK);
        held += m.at[0].low <= 0.5 && 0.5 <= m.at[0].high;
        dna_metrics_fini(&m);
    }
    assert_in_range(held, 178, 199); /* 190 +- 4 standard deviations of a binomial, 3.1 */
}

/* Rows of one unit are drawn together: with one unit every resample is the whole. */
static void units(void **state) {
    (void)state;
    int y[N];
    double p[2 * N];
    binary_data(y, p);
    static const int64_t ONE[] = {0, N}, FEW[] = {0, 1, 60, N};
    dna_scored s = {.task = DNA_TASK_CLASS, .n = N, .n_labels = 2, .label = y, .score = p, .unit = ONE, .n_units = 1};
    dna_metrics m;
    const dna_metrics_options o = {.seed = 1, .resamples = 50};
    assert_int_equal(dna_metrics_compute(&m, &s, &o, &error), MB_OK);
    assert_true(m.units == 1 && m.rows == N);
    for (int i = 0; i < m.n; i++)
        assert_true(m.at[i].low == m.at[i].value && m.at[i].high == m.at[i].value);
    dna_metrics_fini(&m);
    s.unit = FEW;
    s.n_units = 3;
    assert_int_equal(dna_metrics_compute(&m, &s, &o, &error), MB_OK);
    assert_true(m.units == 3 && m.at[0].low < m.at[0].high);
    dna_metrics_fini(&m);
}

static void not_defined(void **state) {
    (void)state;
    static const int ONE[4] = {1, 1, 1, 1}, TWO[4] = {0, 1, 0, 1};
    static const double P[8] = {.9, .1, .2, .8, .9, .1, .2, .8}, SAME[8] = {.9, .1, .9, .1, .9, .1, .9, .1};
    dna_metrics m;
    dna_scored s = {.task = DNA_TASK_CLASS, .n = 4, .n_labels = 2, .label = ONE, .score = P};
    const dna_metrics_options o = {.seed = 1, .resamples = 20};
    assert_int_equal(dna_metrics_compute(&m, &s, &o, &error), MB_OK);
    static const char *const NONE[] = {"balanced_accuracy", "mcc", "auroc", "auprc"};
    for (size_t i = 0; i < sizeof NONE / sizeof *NONE; i++) {
        const dna_metric *x = dna_metrics_find(&m, NONE[i]);
        assert_true(isnan(x->value) && isnan(x->low) && isnan(x->high) && strstr(x->why, "only one class"));
    }
    assert_true(dna_metrics_find(&m, "accuracy")->value == 0.5 && dna_metrics_find(&m, "recall")->value == 0.5);
    dna_metrics_fini(&m);
    s.label = TWO;
    s.score = SAME;
    assert_int_equal(dna_metrics_compute(&m, &s, &o, &error), MB_OK);
    assert_true(dna_metrics_find(&m, "mcc")->value == 0 && dna_metrics_find(&m, "auroc")->value == 0.5);
    assert_true(isnan(dna_metrics_find(&m, "precision")->value));
    assert_non_null(strstr(dna_metrics_find(&m, "precision")->why, "nothing is predicted"));
    dna_metrics_fini(&m);
    static const double FLAT[3] = {.1, .1, .1}, UP[3] = {1, 2, 3};
    s = (dna_scored){.task = DNA_TASK_REGRESSION, .n = 3, .n_labels = 1, .truth = UP, .score = FLAT};
    assert_int_equal(dna_metrics_compute(&m, &s, &o, &error), MB_OK);
    assert_true(isnan(m.at[0].value) && isnan(m.at[1].value) && !isnan(m.at[2].value) && m.at[0].why);
    dna_metrics_fini(&m);
    s.truth = FLAT;
    s.score = UP;
    assert_int_equal(dna_metrics_compute(&m, &s, &o, &error), MB_OK);
    assert_true(isnan(m.at[0].value) && isnan(m.at[2].value) && !isnan(m.at[3].value));
    dna_metrics_fini(&m);
}

static void wrong_input(void **state) {
    (void)state;
    int y[2] = {0, 1};
    double p[4] = {.5, .5, .5, .5}, q[2] = {1, 2}, t[2] = {0, 1};
    const dna_metrics_options o = {.resamples = 10};
    dna_scored s = {.task = DNA_TASK_CLASS, .n = 2, .n_labels = 2, .label = y, .score = p};
    const dna_scored multi = {.task = DNA_TASK_MULTI, .n = 2, .n_labels = 1, .truth = t, .score = q};
    dna_metrics m;
#define FAILS(s, words)                                                                                                \
    mb_err_clear(&error);                                                                                              \
    assert_int_equal(dna_metrics_compute(&m, s, &o, &error), MB_RANGE);                                                \
    assert_non_null(strstr(error.text, words))
    y[1] = 2;
    FAILS(&s, "row 2: found class 2");
    y[1] = -1;
    FAILS(&s, "row 2: found class -1");
    y[1] = 1;
    p[3] = NAN;
    FAILS(&s, "row 2, label 2: found the prediction nan");
    p[3] = .6;
    FAILS(&s, "sum to 1.1");
    p[3] = -.5;
    FAILS(&s, "expected a probability");
    FAILS(&multi, "row 2, label 1: found the prediction 2");
    q[1] = .5;
    t[0] = .5;
    FAILS(&multi, "true value 0.5, expected 0 or 1");
    p[3] = .5;
    s.n = 0;
    FAILS(&s, "expected a row");
    s.n = 2;
    s.n_labels = 1;
    FAILS(&s, "two classes");
#undef FAILS
    mb_err_clear(&error);
    s.n_labels = 2;
    assert_int_equal(dna_metrics_compute(&m, &s, &(dna_metrics_options){.resamples = 2, .level = 95}, &error),
                     MB_RANGE);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int y[N];
    double p[2 * N], t[2 * N], q[2 * N];
    binary_data(y, p);
    regression_data(t, q);
    const dna_scored all[] = {{.task = DNA_TASK_CLASS, .n = N, .n_labels = 2, .label = y, .score = p},
                              {.task = DNA_TASK_REGRESSION, .n = N, .n_labels = 2, .truth = t, .score = q}};
    for (int k = 0; k < 2; k++)
        for (long nth = 1;; nth++) {
            dna_metrics m;
            mb_err e = {0};
            mb_mem_fail_nth(nth, 0);
            const int rc = dna_metrics_compute(&m, &all[k], &(dna_metrics_options){.resamples = 4, .threads = 2}, &e);
            const int fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
            dna_metrics_fini(&m);
            assert_int_equal(mb_mem_live_blocks(), 0);
            if (!fired)
                break;
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_classes),
                                       cmocka_unit_test(four_classes),
                                       cmocka_unit_test(many_labels),
                                       cmocka_unit_test(regression),
                                       cmocka_unit_test(intervals_for_any_threads),
                                       cmocka_unit_test(weights_are_copies),
                                       cmocka_unit_test(coverage),
                                       cmocka_unit_test(units),
                                       cmocka_unit_test(not_defined),
                                       cmocka_unit_test(wrong_input),
                                       cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
