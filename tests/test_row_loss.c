/* Objectives at chosen rows against their formulas in long double, gradients against differences of those; what they
 * share with the language-model loss; the same bits whatever the threads. */
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
#include "core/row_loss.h"
#include "tests/models.h"

enum { D = 24, V = 41, ROWS = 76 };
static const int64_t LENGTH[] = {5, 70, 1};

static mb_err error;

typedef struct problem {
    mb_gradient *g;
    mb_row_targets t;
    int64_t n, *row;
    int32_t *target, *negative;
    float *weight, *correction;
} problem;

static mb_gradient *model(int rows_v, int threads) {
    const mb_config c = model_mamba(D, 1, rows_v);
    const mb_gradient_options o = {.threads = threads};
    mb_model *m = model_shaken(&c, NULL);
    mb_params *params = NULL;
    mb_gradient *g = NULL;
    assert_int_equal(mb_params_clone(&params, &c, mb_model_params(m), &error), MB_OK);
    assert_int_equal(mb_gradient_create(&g, &c, params, NULL, &o, &error), MB_OK);
    mb_model_destroy(m);
    return g;
}

/* Every `every`-th row has a target and k negatives, none of which is it. */
static problem make(int rows_v, int threads, const int64_t *length, int n, int every, int k) {
    problem p = {.g = model(rows_v, threads)};
    int64_t rows = 0;
    mb_rng r;
    for (int i = 0; i < n; i++)
        rows += length[i];
    int32_t *token = calloc((size_t)rows, sizeof *token);
    model_tokens(token, rows, 1, rows_v, 7);
    const mb_batch b = {.n = n, .length = length, .token = token};
    assert_int_equal(mb_gradient_forward(p.g, &b, &error), MB_OK);
    free(token);
    p.row = calloc((size_t)rows, sizeof *p.row);
    p.target = calloc((size_t)rows, sizeof *p.target);
    p.weight = calloc((size_t)rows, sizeof *p.weight);
    p.negative = calloc((size_t)(rows * k), sizeof *p.negative);
    p.correction = calloc((size_t)(rows * k), sizeof *p.correction);
    mb_rng_init(&r, 11, 0);
    for (int64_t i = every - 1; i < rows; i += every, p.n++) {
        p.row[p.n] = i;
        p.target[p.n] = 1 + (int32_t)mb_rng_below(&r, (uint64_t)rows_v - 1);
        p.weight[p.n] = (float)(0.5 + mb_rng_uniform(&r));
        for (int j = 0; j < k; j++) {
            const int32_t other = 1 + (int32_t)mb_rng_below(&r, (uint64_t)rows_v - 2);
            p.negative[p.n * k + j] = other + (other >= p.target[p.n]);
            p.correction[p.n * k + j] = (float)mb_rng_normal(&r);
        }
    }
    p.t = (mb_row_targets){.n = p.n,
                           .row = p.row,
                           .target = p.target,
                           .weight = p.weight,
                           .k = k,
                           .negative = p.negative,
                           .correction = p.correction,
                           .power = 0.3,
                           .scale = 0.25};
    return p;
}

static void done(problem *p) {
    mb_gradient_destroy(p->g);
    free(p->row);
    free(p->target);
    free(p->negative);
    free(p->weight);
    free(p->correction);
}

/* ---- the formulas ---------------------------------------------------------------------------------------------------
 */

static long double score(const long double *h, const long double *W, int v) {
    long double z = 0;
    for (int i = 0; i < D; i++)
        z += h[i] * W[v * D + i];
    return z;
}

static long double s(long double x) {
    return 1 / (1 + expl(-x));
}

static long double loss_of(const mb_row_targets *t, int64_t i, const long double *h, const long double *W, int rows_v) {
    const long double z = score(h, W, t->target[i]);
    long double sum = 0;
    if (t->objective == MB_ROW_SOFTMAX) {
        for (int v = t->first; v < rows_v; v++)
            sum += expl(score(h, W, v));
        return (long double)t->weight[i] * (logl(sum) - z);
    }
    for (int j = 0; j < t->k; j++) {
        const long double other = score(h, W, t->negative[i * t->k + j]);
        if (t->objective == MB_ROW_SAMPLED)
            sum += expl(other + (long double)t->correction[i * t->k + j]);
        else if (t->objective == MB_ROW_BPR)
            sum -= logl(1e-10L + s(z - other)) / t->k;
        else
            sum -= (long double)t->scale * logl(1 - s(other));
    }
    if (t->objective == MB_ROW_SAMPLED)
        sum = logl(sum + expl(z)) - z;
    if (t->objective == MB_ROW_BCE)
        sum -= (long double)t->scale * (long double)t->power * logl(s(z));
    return (long double)t->weight[i] * sum;
}

static void widen(long double *to, const float *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = (long double)from[i];
}

static void near(double got, long double want, double size) {
    assert_true(fabs(got - (double)want) <= 2e-6 * size + 2e-6 * fabs((double)want));
}

static long double differ(const problem *p, int64_t i, long double *h, long double *W, long double *x) {
    const long double step = 1e-6L, at = *x;
    *x = at + step;
    const long double up = loss_of(&p->t, i, h, W, V);
    *x = at - step;
    const long double down = loss_of(&p->t, i, h, W, V);
    *x = at;
    return (up - down) / (2 * step);
}

static void check(int objective, int first, int every, int k) {
    static long double h[ROWS * D], W[V * D], want[V * D];
    problem p = make(V, 2, LENGTH, 3, every, k);
    mb_lm_result r = {0};
    long double loss = 0, weight = 0;
    p.t.objective = objective;
    p.t.first = first;
    mb_gradient_zero(p.g);
    assert_int_equal(mb_row_loss(p.g, &p.t, 1, &r, &error), MB_OK);
    widen(h, mb_gradient_hidden(p.g), (size_t)ROWS * D);
    widen(W, mb_model_params(mb_gradient_model(p.g))->head_w, (size_t)V * D);
    memset(want, 0, sizeof want);
    const float *d_hidden = mb_gradient_d_hidden(p.g), *sums = mb_gradient_sums(p.g)->head_w;
    int64_t at = 0, hits = 0;
    for (int64_t row = 0; row < ROWS; row++) {
        const int is_target = at < p.n && p.row[at] == row;
        for (int i = 0; i < D; i++)
            near((double)d_hidden[row * D + i], is_target ? differ(&p, at, h + row * D, W, &h[row * D + i]) : 0,
                 is_target ? 1 : 0);
        if (!is_target)
            continue;
        loss += loss_of(&p.t, at, h + row * D, W, V);
        weight += (long double)p.weight[at];
        int best = 1;
        for (int v = first; v < V && objective == MB_ROW_SOFTMAX; v++)
            best &= score(h + row * D, W, v) <= score(h + row * D, W, p.target[at]);
        for (int j = 0; j < k && objective != MB_ROW_SOFTMAX; j++)
            best &= score(h + row * D, W, p.negative[at * k + j]) <= score(h + row * D, W, p.target[at]);
        hits += best;
        for (int i = 0; i < V * D; i++)
            want[i] += differ(&p, at, h + row * D, W, &W[i]);
        at++;
    }
    assert_int_equal(at, p.n);
    near(r.loss, loss, (double)loss);
    near(r.weight, weight, 1);
    assert_int_equal(r.positions, p.n);
    assert_int_equal(r.hits, hits);
    for (int i = 0; i < V * D; i++)
        near((double)sums[i], want[i], 5);
    done(&p);
}

static void formulas(void **state) {
    (void)state;
    check(MB_ROW_SOFTMAX, 0, 1, 1);
    check(MB_ROW_SOFTMAX, 1, 3, 1);
    for (int objective = MB_ROW_SAMPLED; objective <= MB_ROW_BCE; objective++) {
        check(objective, 0, 2, 7);
        check(objective, 0, 5, 1);
    }
}

/* ---- laws -----------------------------------------------------------------------------------------------------------
 */

/* With every other answer as a negative, the sampled softmax is the softmax. */
static void sampled_of_all(void **state) {
    (void)state;
    problem p = make(V, 1, LENGTH, 3, 1, V - 2);
    mb_lm_result all = {0}, drawn = {0};
    for (int64_t i = 0; i < p.n; i++)
        for (int j = 0; j < V - 2; j++)
            p.negative[i * (V - 2) + j] = j + 1 + (j + 1 >= p.target[i]);
    p.t.correction = NULL;
    p.t.objective = MB_ROW_SOFTMAX;
    p.t.first = 1;
    assert_int_equal(mb_row_loss(p.g, &p.t, 0, &all, &error), MB_OK);
    p.t.objective = MB_ROW_SAMPLED;
    assert_int_equal(mb_row_loss(p.g, &p.t, 0, &drawn, &error), MB_OK);
    near(drawn.loss, (long double)all.loss, all.loss);
    assert_int_equal(drawn.hits, all.hits);
    done(&p);
}

/* The language-model loss at every row is the same objective. */
static void as_lm_loss(void **state) {
    (void)state;
    static float d_hidden[ROWS * D], head[V * D];
    problem p = make(V, 2, LENGTH, 3, 1, 1);
    mb_lm_result mine = {0}, lm = {0};
    p.t.objective = MB_ROW_SOFTMAX;
    mb_gradient_zero(p.g);
    assert_int_equal(mb_row_loss(p.g, &p.t, 1, &mine, &error), MB_OK);
    memcpy(d_hidden, mb_gradient_d_hidden(p.g), sizeof d_hidden);
    memcpy(head, mb_gradient_sums(p.g)->head_w, sizeof head);
    const mb_lm_targets t = {p.target, p.weight, -1};
    mb_gradient_zero(p.g);
    assert_int_equal(mb_lm_loss(p.g, &t, 1, &lm, &error), MB_OK);
    near(mine.loss, (long double)lm.loss, lm.loss);
    assert_int_equal(mine.hits, lm.hits);
    for (int i = 0; i < ROWS * D; i++)
        near((double)d_hidden[i], (long double)mb_gradient_d_hidden(p.g)[i], 1);
    for (int i = 0; i < V * D; i++)
        near((double)head[i], (long double)mb_gradient_sums(p.g)->head_w[i], 5);
    done(&p);
}

/* Enormous and hopeless scores: no overflow, no NaN. */
static void extremes(void **state) {
    (void)state;
    problem p = make(V, 1, LENGTH, 3, 2, 7);
    float *hidden = (float *)(uintptr_t)mb_gradient_hidden(p.g);
    for (int i = 0; i < ROWS * D; i++)
        hidden[i] *= 3e4F;
    for (int objective = MB_ROW_SOFTMAX; objective <= MB_ROW_BCE; objective++) {
        mb_lm_result r = {0};
        p.t.objective = objective;
        mb_gradient_zero(p.g);
        assert_int_equal(mb_row_loss(p.g, &p.t, 1, &r, &error), MB_OK);
        assert_true(isfinite(r.loss) && r.loss > 0);
        for (int i = 0; i < ROWS * D; i++)
            assert_true(isfinite(mb_gradient_d_hidden(p.g)[i]));
        for (int i = 0; i < V * D; i++)
            assert_true(isfinite(mb_gradient_sums(p.g)->head_w[i]));
    }
    done(&p);
}

/* Several panels of work, one thread or three, in one call or in two. */
static void bits(int objective, int64_t rows, int k) {
    float *d_hidden = NULL, *head = NULL;
    mb_lm_result first = {0};
    for (int threads = 1; threads <= 3; threads += 2)
        for (int calls = 1; calls <= (objective == MB_ROW_SOFTMAX ? 1 : 2); calls++) {
            problem p = make(V, threads, &rows, 1, 1, k);
            const size_t n = (size_t)p.n;
            mb_lm_result r = {0};
            p.t.objective = objective;
            mb_gradient_zero(p.g);
            for (int c = 0; c < calls; c++) {
                mb_row_targets part = p.t;
                const int64_t from = p.n * c / calls;
                part.n = p.n * (c + 1) / calls - from;
                part.row += from;
                part.target += from;
                part.weight += from;
                part.negative += from * k;
                part.correction += from * k;
                assert_int_equal(mb_row_loss(p.g, &part, 1, &r, &error), MB_OK);
            }
            if (!head) {
                d_hidden = malloc(n * D * sizeof *d_hidden);
                head = malloc(sizeof *head * V * D);
                memcpy(d_hidden, mb_gradient_d_hidden(p.g), n * D * sizeof *d_hidden);
                memcpy(head, mb_gradient_sums(p.g)->head_w, sizeof *head * V * D);
                first = r;
            }
            const size_t from = calls > 1 ? n / 2 : 0; /* each call writes all of d_hidden: the last one's is there */
            assert_memory_equal(d_hidden + from * D, mb_gradient_d_hidden(p.g) + from * D,
                                (n - from) * D * sizeof *d_hidden);
            assert_memory_equal(head, mb_gradient_sums(p.g)->head_w, sizeof *head * V * D);
            assert_true(r.loss == first.loss && r.hits == first.hits && r.weight == first.weight);
            done(&p);
        }
    free(d_hidden);
    free(head);
}

static void same_bits(void **state) {
    (void)state;
    bits(MB_ROW_SOFTMAX, 9000, 1);
    bits(MB_ROW_SAMPLED, 600, 4000);
    bits(MB_ROW_BPR, 500, 3);
}

static void nothing_asked(void **state) {
    (void)state;
    problem p = make(V, 1, LENGTH, 3, 1, 1);
    mb_lm_result r = {0};
    p.t.n = 0;
    mb_gradient_d_hidden(p.g)[5] = 1;
    assert_int_equal(mb_row_loss(p.g, &p.t, 1, &r, &error), MB_OK);
    assert_true(mb_gradient_d_hidden(p.g)[5] == 0 && r.weight == 0 && r.positions == 0);
    done(&p);
}

/* ---- what is refused ------------------------------------------------------------------------------------------------
 */

static void refuse(const problem *p) {
    mb_lm_result r = {0};
    assert_int_equal(mb_row_loss(p->g, &p->t, 1, &r, &error), MB_RANGE);
    assert_true(*error.text);
    mb_err_clear(&error);
}

static void refused(void **state) {
    (void)state;
    problem p = make(V, 1, LENGTH, 3, 2, 3);
    for (p.t.objective = MB_ROW_SOFTMAX; p.t.objective <= MB_ROW_BCE; p.t.objective++) {
        const int32_t target = p.target[3];
        p.target[3] = V;
        refuse(&p);
        p.target[3] = -1;
        refuse(&p);
        p.target[3] = target;
    }
    p.t.objective = MB_ROW_SOFTMAX;
    p.t.first = 1;
    p.target[3] = 0;
    refuse(&p);
    p.target[3] = 1;
    p.t.objective = MB_ROW_BPR;
    p.negative[4] = V;
    refuse(&p);
    p.negative[4] = 1;
    const int64_t last = p.row[p.n - 1];
    p.row[p.n - 1] = ROWS;
    refuse(&p);
    p.row[p.n - 1] = p.row[p.n - 2];
    refuse(&p);
    p.row[p.n - 1] = last;
    done(&p);
    const mb_config c = model_caduceus(D, 1, 1);
    mb_params *params = NULL;
    mb_gradient *g = NULL;
    const mb_gradient_options o = {.threads = 1};
    const mb_row_targets t = {.objective = MB_ROW_BPR, .k = 1};
    mb_lm_result r = {0};
    assert_int_equal(mb_params_seed(&params, &c, 1, &error), MB_OK);
    assert_int_equal(mb_gradient_create(&g, &c, params, NULL, &o, &error), MB_OK);
    assert_int_equal(mb_row_loss(g, &t, 0, &r, &error), MB_NOTSUP);
    mb_err_clear(&error);
    mb_gradient_destroy(g);
}

static void out_of_memory(void **state) {
    (void)state;
    problem p = make(V, 1, LENGTH, 3, 2, 3);
    for (p.t.objective = MB_ROW_SOFTMAX; p.t.objective <= MB_ROW_BCE; p.t.objective++) {
        const long before = mb_mem_live_blocks();
        int fired = 1;
        for (long nth = 1; fired; nth++) {
            mb_lm_result r = {0};
            mb_err e = {0};
            mb_mem_fail_nth(nth, 0);
            const int rc = mb_row_loss(p.g, &p.t, 1, &r, &e);
            fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            assert_true(fired ? rc == MB_NOMEM && *e.text : rc == MB_OK);
            assert_true(mb_mem_live_blocks() == before || p.t.objective == MB_ROW_SOFTMAX); /* the model keeps heads */
        }
    }
    done(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(formulas),   cmocka_unit_test(sampled_of_all),
                                       cmocka_unit_test(as_lm_loss), cmocka_unit_test(extremes),
                                       cmocka_unit_test(same_bits),  cmocka_unit_test(nothing_asked),
                                       cmocka_unit_test(refused),    cmocka_unit_test(out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
