/* How far training a recommender is from the floor: batches of packed histories through Mamba4Rec as its paper has it
 * for ML-1M (D 64, N 32, one layer, 3,417 items), softmax over all items at every position, against what GEMM and
 * vector rates of this machine, measured in the same run, allow (tests/bench/floor.h). Prints medians; no figure is
 * asserted.
 *
 *   bench_recommend [threads] */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/gradient.h"
#include "core/lm_loss.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/rng.h"
#include "tests/bench/floor.h"
#include "tests/models.h"

enum { REPEATS = 7, HISTORIES = 128 };

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void must(int rc, const mb_err *e) {
    if (rc == MB_OK)
        return;
    fprintf(stderr, "bench_recommend: %s\n", e->text);
    exit(1);
}

typedef struct times { /* seconds per event, medians */
    double forward, loss, backward, refresh, all;
} times;

static double median(double *v) {
    qsort(v, REPEATS, sizeof *v, by_value);
    return v[REPEATS / 2];
}

/* Histories of low .. high events, one batch. */
static times measure(const mb_config *c, int threads, int low, int high, double *events) {
    mb_err e = {0};
    mb_params *p = NULL;
    mb_gradient *g = NULL;
    mb_rng r;
    int64_t length[HISTORIES], rows = 0;
    double part[5][REPEATS];
    mb_rng_init(&r, 1, 1);
    for (int i = 0; i < HISTORIES; i++)
        rows += length[i] = low + (int64_t)mb_rng_below(&r, (uint64_t)(high - low + 1));
    int32_t *token = mb_malloc((size_t)rows * sizeof *token), *target = mb_malloc((size_t)rows * sizeof *target);
    model_tokens(token, rows, 1, c->V, 1);
    model_tokens(target, rows, 1, c->V, 2);
    const mb_gradient_options o = {.threads = threads};
    must(mb_params_seed(&p, c, 1, &e), &e);
    must(mb_gradient_create(&g, c, p, NULL, &o, &e), &e);
    mb_batch b = {.n = HISTORIES, .length = length, .token = token};
    b.dropout.rate = c->dropout;
    const mb_lm_targets t = {target, NULL, -100};
    for (int i = -1; i < REPEATS; i++) {
        mb_lm_result sum = {0};
        double at[5];
        b.dropout.step = (uint64_t)(i + 1);
        at[0] = mb_clock_seconds();
        must(mb_gradient_forward(g, &b, &e), &e);
        at[1] = mb_clock_seconds();
        must(mb_lm_loss(g, &t, 1, &sum, &e), &e);
        at[2] = mb_clock_seconds();
        must(mb_gradient_backward(g, &e), &e);
        at[3] = mb_clock_seconds();
        must(mb_gradient_refresh(g, &e), &e);
        at[4] = mb_clock_seconds();
        for (int k = 0; k < 4 && i >= 0; k++)
            part[k][i] = at[k + 1] - at[k];
        if (i >= 0)
            part[4][i] = at[4] - at[0];
    }
    mb_gradient_destroy(g);
    mb_free(token);
    mb_free(target);
    *events = (double)rows;
    return (times){median(part[0]) / *events, median(part[1]) / *events, median(part[2]) / *events,
                   median(part[3]) / *events, median(part[4]) / *events};
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

int main(int argc, char **argv) {
    static const int spans[][2] = {{2, 200}, {200, 200}, {3, 20}};
    enum { N = sizeof spans / sizeof *spans };
    const int threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    mb_config c = {.D = 64, .n_layer = 1, .V = 3417, .E = 128, .N = 32, .K = 4, .R = 4, .dropout = 0.2F};
    floor_rates rates, after;
    times took[N];
    double events[N];
    if (threads < 1) {
        fprintf(stderr, "usage: bench_recommend [threads]\n");
        return 2;
    }
    mb_config_as_mamba4rec(&c);
    const floor_shape shape = {.D = c.D,
                               .E = c.E,
                               .N = c.N,
                               .R = c.R,
                               .K = c.K,
                               .V = c.V,
                               .F = c.layer.ffn,
                               .n_layer = c.n_layer,
                               .strands = 1};
    floor_measure(&rates, threads);
    for (int i = 0; i < N; i++)
        took[i] = measure(&c, threads, spans[i][0], spans[i][1], &events[i]);
    floor_measure(&after, threads); /* the floor is what the machine can do: the better of two measurements */
    rates.gemm_fp32 = larger(rates.gemm_fp32, after.gemm_fp32);
    rates.vector = larger(rates.vector, after.vector);
    floor_print(&rates, threads);
    const double least = floor_train_seconds(&shape, &rates, MBK_FP32, 0);
    for (int i = 0; i < N; i++)
        printf("Mamba4Rec, %d histories of %d-%d events: %.0f events/s, floor %.0f: %.2f   "
               "(us per event: forward %.2f, softmax over %d items %.2f, backward %.2f, weights taken over %.2f)\n",
               HISTORIES, spans[i][0], spans[i][1], 1 / took[i].all, 1 / least, least / took[i].all,
               took[i].forward * 1e6, c.V, took[i].loss * 1e6, took[i].backward * 1e6, took[i].refresh * 1e6);
    return 0;
}
