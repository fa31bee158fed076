/* How far training is from the floor: one batch forward and backward through whole models, against what GEMM, vector
 * and memory rates of this machine, measured in the same run, allow (tests/bench/floor.h). Prints medians and the
 * memory taken; no figure is asserted.
 *
 *   bench_train [threads] [--long]      --long adds one sequence of 131,072 bases (some minutes, 16 GiB) */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gradient.h"
#include "core/lm_loss.h"
#include "core/log.h"
#include "core/mem.h"
#include "tests/bench/floor.h"
#include "tests/models.h"

enum { REPEATS = 5 };

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void must(int rc, const mb_err *e) {
    if (rc == MB_OK)
        return;
    fprintf(stderr, "bench_train: %s\n", e->text);
    exit(1);
}

typedef struct measured {
    char what[80];
    double seconds; /* per token */
    mb_gradient_plan plan;
    floor_shape shape;
    int recompute;
} measured;

static measured results[8];
static int n_results;

static void one_step(mb_gradient *g, const mb_batch *b, const mb_lm_targets *t) {
    mb_err e = {0};
    mb_lm_result r = {0};
    must(mb_gradient_forward(g, b, &e), &e);
    must(mb_lm_loss(g, t, 1, &r, &e), &e);
    must(mb_gradient_backward(g, &e), &e);
    must(mb_gradient_refresh(g, &e), &e);
}

/* memory 1: everything is made again; 0: what fits is kept. */
static void measure(const char *what, const mb_config *c, int64_t length, int threads, int64_t memory, int repeats) {
    mb_err e = {0};
    mb_params *p = NULL;
    mb_gradient *g = NULL;
    const mb_gradient_options o = {.threads = threads, .memory = memory};
    int32_t *token = mb_malloc((size_t)length * sizeof *token), *target = mb_malloc((size_t)length * sizeof *target);
    model_tokens(token, length, 0, c->V, 1);
    model_tokens(target, length, 0, c->V, 2);
    must(mb_params_seed(&p, c, 1, &e), &e);
    must(mb_gradient_create(&g, c, p, NULL, &o, &e), &e);
    const mb_batch b = {.n = 1, .length = &length, .token = token};
    const mb_lm_targets t = {target, NULL, -100};
    double seconds[REPEATS];
    for (int i = repeats > 1 ? -1 : 0; i < repeats; i++) {
        const double start = mb_clock_seconds();
        one_step(g, &b, &t);
        if (i >= 0)
            seconds[i] = mb_clock_seconds() - start;
    }
    qsort(seconds, (size_t)repeats, sizeof *seconds, by_value);
    measured *m = &results[n_results++];
    *m = (measured){.seconds = seconds[repeats / 2] / (double)length, .recompute = memory == 1};
    m->shape = (floor_shape){.D = c->D,
                             .E = c->E,
                             .N = c->N,
                             .R = c->R,
                             .K = c->K,
                             .V = c->V,
                             .n_layer = c->n_layer,
                             .bidirectional = c->mixer == MB_MIXER_BIMAMBA1,
                             .strands = c->rcps ? 2 : 1};
    snprintf(m->what, sizeof m->what, "%s, L=%lld, %s", what, (long long)length, memory == 1 ? "again" : "kept");
    must(mb_gradient_plan_make(g, &length, 1, &m->plan, &e), &e);
    fprintf(stderr, "  %s: %.0f tok/s\n", m->what, 1 / m->seconds);
    mb_gradient_destroy(g);
    mb_free(token);
    mb_free(target);
}

static void print_results(const floor_rates *rates) {
    for (int i = 0; i < n_results; i++) {
        const measured *m = &results[i];
        const double kept = floor_train_seconds(&m->shape, rates, MBK_FP32, 0);
        const double again = floor_train_seconds(&m->shape, rates, MBK_FP32, 1);
        char memory[32];
        printf("%-44s %7.0f tok/s   floor with recompute %6.0f: %.2f   without %6.0f: %.2f   %s\n", m->what,
               1 / m->seconds, 1 / again, again / m->seconds, 1 / kept, kept / m->seconds,
               mb_human_bytes((double)m->plan.bytes, memory));
    }
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

int main(int argc, char **argv) {
    int threads = omp_get_max_threads(), with_long = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--long") == 0)
            with_long = 1;
        else
            threads = atoi(argv[i]);
    }
    if (threads < 1) {
        fprintf(stderr, "usage: bench_train [threads] [--long]\n");
        return 2;
    }
    floor_rates rates, after;
    const mb_config caduceus = model_caduceus(256, 16, 1), mamba = model_mamba(768, 24, 50280);
    floor_measure(&rates, threads);
    measure("Caduceus-PS 131k shape", &caduceus, 1024, threads, 1, REPEATS);
    measure("Caduceus-PS 131k shape", &caduceus, 1024, threads, 0, REPEATS);
    measure("Caduceus-PS 131k shape", &caduceus, 8192, threads, 1, 2);
    measure("Caduceus-PS 131k shape", &caduceus, 8192, threads, 0, 2);
    if (with_long)
        measure("Caduceus-PS 131k shape", &caduceus, 131072, threads, 1, 1);
    measure("Mamba-130m", &mamba, 1024, threads, 1, 3);
    measure("Mamba-130m", &mamba, 1024, threads, 0, 3);
    floor_measure(&after, threads); /* the floor is what the machine can do: the better of two measurements */
    rates.gemm_fp32 = larger(rates.gemm_fp32, after.gemm_fp32);
    rates.vector = larger(rates.vector, after.vector);
    floor_print(&rates, threads);
    print_results(&rates);
    printf("peak memory %s\n", mb_human_bytes((double)mb_peak_rss_bytes(), (char[32]){0}));
    return 0;
}
