/* Heads over pooled rows: the original's formula, finite differences, the laws (threads, packing, equivariance to the
 * bit), and runs of any length against the batch. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/params_table.h"
#include "core/pool_head.h"
#include "core/rng.h"
#include "tests/models.h"

enum { D = 16, C = 3, N = 4, MOST_UNITS = 512 };

typedef struct bench {
    mb_config c;
    mb_gradient *g;
    mb_pool_head h;
    mb_pool_targets t;
    float w[C * D], b[C], w_sum[C * D], b_sum[C], weight[C], value[MOST_UNITS * C];
    int label[MOST_UNITS];
    int64_t length[N];
    int32_t token[MOST_UNITS];
    int n;
} bench;

static mb_err error;

static void open_bench(bench *k, mb_config c, int threads) {
    static const int64_t LENGTH[N] = {70, 1, 13, 129};
    const mb_gradient_options o = {.threads = threads, .memory = 1 << 24};
    mb_model *m = model_shaken(&c, NULL);
    mb_params *p = NULL;
    mb_rng r;
    memset(k, 0, sizeof *k);
    mb_err_clear(&error);
    k->c = c;
    k->n = N;
    memcpy(k->length, LENGTH, sizeof LENGTH);
    assert_int_equal(mb_params_clone(&p, &c, mb_model_params(m), &error), MB_OK);
    mb_model_destroy(m);
    assert_int_equal(mb_gradient_create(&k->g, &c, p, NULL, &o, &error), MB_OK);
    mb_rng_init(&r, 3, 4);
    for (int i = 0; i < C * D; i++)
        k->w[i] = (float)mb_rng_normal(&r);
    for (int i = 0; i < C; i++) {
        k->b[i] = (float)mb_rng_normal(&r);
        k->weight[i] = 0.5F + (float)i;
    }
    for (int i = 0; i < MOST_UNITS; i++) {
        k->token[i] = 7 + (int32_t)mb_rng_below(&r, 4);
        k->label[i] = (int)mb_rng_below(&r, C + 1) - 1;
        for (int j = 0; j < C; j++)
            k->value[i * C + j] = i % 5 == 4 ? NAN : (float)mb_rng_below(&r, 2);
    }
    k->label[0] = 1;
    k->h = (mb_pool_head){.C = C, .w = k->w, .b = k->b, .w_sum = k->w_sum, .b_sum = k->b_sum};
    k->t = (mb_pool_targets){.views = 1, .label = k->label, .value = k->value, .weight = k->weight};
}

static mb_pool_result run(bench *k, int with_gradient, double *z) {
    const mb_batch b = {.n = k->n, .length = k->length, .token = k->token};
    mb_pool_result r = {0};
    mb_gradient_zero(k->g);
    memset(k->w_sum, 0, sizeof k->w_sum);
    memset(k->b_sum, 0, sizeof k->b_sum);
    if (mb_gradient_forward(k->g, &b, &error) || mb_pool_loss(k->g, &k->h, &k->t, with_gradient, &r, z, &error) ||
        (with_gradient && mb_gradient_backward(k->g, &error)))
        fail_msg("%s", error.text);
    return r;
}

static mb_config config(int which) {
    return which == 3 ? model_mamba(D, 2, 16) : model_caduceus(D, 2 + which % 2, which < 2);
}

/* Along the gradient itself the slope is its norm: (f(x + h u) - f(x - h u)) / 2h = |g|. */
static double slope(bench *k, double norm, float *const *at, float *const *direction, const size_t *n, int parts) {
    const double h = k->h.pooling == MB_POOL_MAX ? 2e-4 : 2e-3;
    double f[2];
    for (int side = 0; side < 2; side++) {
        for (int p = 0; p < parts; p++)
            for (size_t i = 0; i < n[p]; i++)
                at[p][i] += (float)((side ? -2 * h : h) * (double)direction[p][i] / norm);
        assert_int_equal(mb_gradient_refresh(k->g, &error), MB_OK);
        f[side] = run(k, 0, NULL).loss;
    }
    return (f[0] - f[1]) / (2 * h);
}

static void differences(void **state) {
    (void)state;
    for (int which = 0; which < 4; which++)
        for (int pooling = MB_POOL_MEAN; pooling <= MB_POOL_NONE; pooling++)
            for (int objective = MB_POOL_CLASS; objective <= MB_POOL_SQUARED; objective++) {
                bench k;
                open_bench(&k, config(which), 2);
                k.h.pooling = pooling;
                k.h.objective = objective;
                for (int i = 0; pooling == MB_POOL_MAX && i < N; i++)
                    k.length[i] = 1 + i; /* of many rows, the largest changes hands at every step */
                (void)run(&k, 1, NULL);
                size_t n[3] = {0, C * D, C};
                float *at[3] = {mb_params_pool((mb_params *)(uintptr_t)mb_model_params(mb_gradient_model(k.g)), &n[0]),
                                k.w, k.b};
                float *sums = mb_params_pool(mb_gradient_sums(k.g), &n[0]);
                float *direction[3] = {test_malloc(n[0] * sizeof(float)), test_malloc(sizeof k.w),
                                       test_malloc(sizeof k.b)};
                memcpy(direction[0], sums, n[0] * sizeof(float));
                memcpy(direction[1], k.w_sum, sizeof k.w);
                memcpy(direction[2], k.b_sum, sizeof k.b);
                double squares = 0;
                for (int p = 0; p < 3; p++)
                    for (size_t i = 0; i < n[p]; i++)
                        squares += (double)direction[p][i] * (double)direction[p][i];
                const double norm = sqrt(squares), got = slope(&k, norm, at, direction, n, 3);
                if (!(fabs(got / norm - 1) < 0.01))
                    fail_msg("model %d, pooling %d, objective %d: slope %g, gradient %g", which, pooling, objective,
                             got, norm);
                for (int p = 0; p < 3; p++)
                    test_free(direction[p]);
                mb_gradient_destroy(k.g);
            }
}

/* As the original's forward has it: halves of the hidden state, the second flipped, pooled, scored, averaged. */
static void original(void **state) {
    (void)state;
    for (int layers = 2; layers <= 3; layers++) {
        bench k;
        open_bench(&k, model_caduceus(D, layers, 1), 1);
        const int64_t L = k.length[0];
        float *hidden = test_malloc((size_t)L * 2 * D * sizeof *hidden);
        double z[N * C] = {0};
        const mb_forward_options o = {.threads = 1};
        (void)run(&k, 0, z);
        assert_int_equal(mb_forward_hidden(mb_gradient_model(k.g), k.token, L, layers, &o, hidden, NULL, &error),
                         MB_OK);
        for (int c = 0; c < C; c++) {
            double sum = 0;
            for (int64_t i = 0; i < L; i++)
                for (int d = 0; d < D; d++)
                    sum += (double)k.w[c * D + d] *
                           ((double)hidden[i * 2 * D + d] + (double)hidden[i * 2 * D + 2 * D - 1 - d]);
            assert_true(fabs(sum / (double)(2 * L) + (double)k.b[c] - z[c]) < 1e-4);
        }
        test_free(hidden);
        mb_gradient_destroy(k.g);
    }
}

static void same_bits(void **state) {
    (void)state;
    for (int pooling = MB_POOL_MEAN; pooling <= MB_POOL_NONE; pooling++) {
        bench one, many;
        double z[MOST_UNITS * C], y[MOST_UNITS * C];
        size_t n;
        open_bench(&one, config(1), 1);
        open_bench(&many, config(1), 3);
        one.h.pooling = many.h.pooling = pooling;
        const mb_pool_result a = run(&one, 1, z), b = run(&many, 1, y);
        const size_t units = pooling == MB_POOL_NONE ? 70 + 1 + 13 + 129 : N;
        assert_memory_equal(&a, &b, sizeof a);
        assert_memory_equal(z, y, units * C * sizeof *z);
        assert_memory_equal(one.w_sum, many.w_sum, sizeof one.w_sum);
        const float *p = mb_params_pool(mb_gradient_sums(one.g), &n), *q = mb_params_pool(mb_gradient_sums(many.g), &n);
        assert_memory_equal(p, q, n * sizeof *p);
        one.n = 1; /* packed = one by one */
        (void)run(&one, 0, y);
        assert_memory_equal(z, y, (pooling == MB_POOL_NONE ? 70 : 1) * C * sizeof *z);
        mb_gradient_destroy(one.g);
        mb_gradient_destroy(many.g);
    }
}

static void reverse_tokens(bench *k) {
    int32_t *at = k->token;
    for (int i = 0; i < k->n; at += k->length[i++])
        for (int64_t a = 0, b = k->length[i] - 1; a <= b; a++, b--) {
            const int32_t x = at[a], y = at[b]; /* A7 C8 G9 T10 */
            at[a] = 17 - y;
            at[b] = 17 - x;
        }
}

static void run_anywhere(const bench *k, int views, const int32_t *token, double *z) {
    mb_sequence s[N];
    const mb_forward_options o = {.threads = 2, .memory = 300000};
    for (int i = 0; i < k->n; token += k->length[i++])
        s[i] = (mb_sequence){.length = k->length[i], .read = mb_tokens_read, .user = (void *)(uintptr_t)token};
    if (mb_pool_run(mb_gradient_model(k->g), &k->h, s, k->n, views, &o, z, &error))
        fail_msg("%s", error.text);
}

/* z of the reverse complement: the same bits, position i at length-1-i; and the same from a run in little memory. */
static void strands(void **state) {
    (void)state;
    for (int which = 0; which < 3; which++)
        for (int pooling = MB_POOL_MEAN; pooling <= MB_POOL_NONE; pooling++) {
            bench k;
            double z[MOST_UNITS * C] = {0}, y[MOST_UNITS * C] = {0}, x[2][MOST_UNITS * C] = {{0}};
            open_bench(&k, config(which), 2);
            if (which == 2) { /* one strand: a sequence and its reverse complement as two views */
                k.t.views = k.n = 2;
                k.length[1] = k.length[0];
                for (int i = 0; i < 70; i++)
                    k.token[70 + i] = 17 - k.token[69 - i];
            }
            k.h.pooling = pooling;
            const int64_t L = k.length[0], units = pooling == MB_POOL_NONE ? L : 1;
            (void)run(&k, 0, z);
            run_anywhere(&k, k.t.views, k.token, x[0]);
            reverse_tokens(&k);
            (void)run(&k, 0, y);
            run_anywhere(&k, k.t.views, k.token, x[1]);
            for (int64_t u = 0; u < units; u++)
                for (int c = 0; c < C; c++) {
                    const int64_t a = u * C + c, b = (units - 1 - u) * C + c;
                    assert_true(z[a] == y[b]);
                    assert_true(x[0][a] == x[1][b]);
                    assert_true(fabs(z[a] - x[0][a]) <= 1e-4 * (1 + fabs(z[a])));
                }
            mb_gradient_destroy(k.g);
        }
}

static void refusals(void **state) {
    (void)state;
    bench k;
    mb_pool_result r = {0};
    open_bench(&k, config(0), 2);
    const mb_batch batch = {.n = N, .length = k.length, .token = k.token};
    k.label[2] = C;
    assert_int_equal(mb_gradient_forward(k.g, &batch, &error), MB_OK);
    assert_int_equal(mb_pool_loss(k.g, &k.h, &k.t, 1, &r, NULL, &error), MB_RANGE);
    mb_gradient_destroy(k.g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(original), cmocka_unit_test(differences),
                                       cmocka_unit_test(same_bits), cmocka_unit_test(strands),
                                       cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
