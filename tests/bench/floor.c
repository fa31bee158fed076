/* See floor.h. Every rate is the median of repeats; of the ways to cut the matrix product the best median counts. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "kernels/ops.h"
#include "tests/bench/floor.h"

enum { REPEATS = 7, M = 2048, NOUT = 3072, KIN = 768, MAX_THREADS = 1024 };

static const double updates_per_flop = 1.0 / 19; /* of the scan */
static const double updates_back_per_flop = 1.0 / 48;
static const double each_direction = 0.29, shared = 0.08; /* elementwise work, in units of the scan's time */

/* ---- the model's work ------------------------------------------------------------------------------------------- */

static double passes(const floor_shape *s) {
    return (double)s->n_layer * s->strands;
}

static double directions(const floor_shape *s) {
    return s->bidirectional ? 2 : 1;
}

/* Weights of a layer's in_proj, out_proj and, per direction, x_proj, dt_proj; of its feed-forward part. */
static double layer_matrices(const floor_shape *s) {
    const double D = s->D, E = s->E, N = s->N, R = s->R;
    return D * 2 * E + E * D + directions(s) * (E * (R + 2 * N) + R * E) + 2 * D * s->F;
}

typedef struct parts { /* seconds per token, once through */
    double products, scan, elementwise;
} parts;

static parts parts_of(const floor_shape *s, const floor_rates *rates, mbk_precision precision) {
    const double head = s->last_logit ? 0 : (double)s->D * s->V * s->strands;
    const double flops = 2 * (passes(s) * layer_matrices(s) + head);
    const double scan = passes(s) * directions(s) * (double)s->E * s->N / (rates->vector * updates_per_flop);
    return (parts){.products = flops / (precision == MBK_BF16 ? rates->gemm_bf16 : rates->gemm_fp32),
                   .scan = scan,
                   .elementwise = scan * (each_direction + shared / directions(s))};
}

double floor_forward_seconds(const floor_shape *s, const floor_rates *rates, mbk_precision precision) {
    const parts p = parts_of(s, rates, precision);
    return p.products + p.scan + p.elementwise;
}

double floor_train_seconds(const floor_shape *s, const floor_rates *rates, mbk_precision precision, int recompute) {
    const parts p = parts_of(s, rates, precision);
    const double once = 3 * p.products + p.scan * (1 + updates_per_flop / updates_back_per_flop) + 3 * p.elementwise;
    return once + (recompute ? floor_forward_seconds(s, rates, precision) : 0);
}

double floor_decode_seconds(const floor_shape *s, const floor_rates *rates, mbk_precision precision) {
    const double matrices = s->n_layer * layer_matrices(s) + (double)s->D * s->V;
    /* conv and its bias, A, dt bias, skip; norm */
    const double vectors = s->n_layer * (directions(s) * (double)s->E * (s->K + 1 + s->N + 2) + s->D) + s->D;
    return (matrices * (precision == MBK_BF16 ? 2 : 4) + vectors * 4) / rates->read;
}

/* ---- rates ------------------------------------------------------------------------------------------------------ */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *need(size_t bytes) {
    const size_t huge = (size_t)2 << 20, n = (bytes + huge - 1) / huge * huge;
    float *p = aligned_alloc(huge, n);
    if (!p) {
        fprintf(stderr, "floor: out of memory\n");
        exit(1);
    }
    (void)madvise(p, n, MADV_HUGEPAGE); /* without it the read rate is lower, and is what it is */
    for (size_t i = 0; i < n / sizeof *p; i++)
        p[i] = (float)(i % 17) * 0.01f - 0.08f;
    return p;
}

/* Median seconds of part(user, thread, threads) on all threads together, after one run that does not count. */
static double median_seconds(int threads, void (*part)(void *user, int thread, int threads), void *user) {
    double took[REPEATS] = {0};
    for (int i = -1; i < REPEATS; i++) {
        double start = 0, end = 0;
#pragma omp parallel num_threads(threads)
        {
#pragma omp barrier
#pragma omp master
            start = seconds();
#pragma omp barrier
            part(user, omp_get_thread_num(), threads);
#pragma omp barrier
#pragma omp master
            end = seconds();
        }
        if (i >= 0)
            took[i] = end - start;
    }
    qsort(took, REPEATS, sizeof *took, ascending);
    return took[REPEATS / 2];
}

/* CHAINS independent chains of vector multiply-adds, in registers of the widest vectors that the processor has. */
enum { CHAINS = 12 };
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define FMA_LOOP(name, width, attribute)                                                                               \
    attribute static double name(long n, float start) {                                                                \
        typedef float v __attribute__((vector_size(width)));                                                           \
        const v b = (v){0} + 0.5f * start, c = (v){0} + start;                                                         \
        v a[CHAINS];                                                                                                   \
        double sum = 0;                                                                                                \
        UNROLL                                                                                                         \
        for (int k = 0; k < CHAINS; k++)                                                                               \
            a[k] = c * (float)k;                                                                                       \
        for (long i = 0; i < n; i++) {                                                                                 \
            UNROLL                                                                                                     \
            for (int k = 0; k < CHAINS; k++)                                                                           \
                a[k] = a[k] * b + c;                                                                                   \
        }                                                                                                              \
        UNROLL                                                                                                         \
        for (int k = 0; k < CHAINS; k++)                                                                               \
            sum += a[k][0];                                                                                            \
        return sum;                                                                                                    \
    }
#if defined(__x86_64__)
FMA_LOOP(fma_avx512, 64, __attribute__((target("avx512f"))))
FMA_LOOP(fma_avx2, 32, __attribute__((target("avx2,fma"))))
#endif
FMA_LOOP(fma_narrow, 16, )

typedef struct fma_work {
    long n;
    int width; /* bytes */
    float start;
    double sum[MAX_THREADS];
} fma_work;

static void fma_part(void *user, int thread, int threads) {
    fma_work *w = user;
    (void)threads;
#if defined(__x86_64__)
    if (w->width != 16) {
        w->sum[thread] = (w->width == 64 ? fma_avx512 : fma_avx2)(w->n, w->start);
        return;
    }
#endif
    w->sum[thread] = fma_narrow(w->n, w->start);
}

static double vector_rate(int threads) {
    static fma_work w = {.n = 5000000, .start = 1};
    w.width = mbk_ops_isa("avx512") ? 64 : mbk_ops_isa("avx2") ? 32 : 16;
    return 2.0 * CHAINS * w.width / sizeof(float) * (double)w.n * threads / median_seconds(threads, fma_part, &w);
}

typedef struct read_work {
    const float *data;
    size_t count; /* multiple of 64 per thread */
    double sum[MAX_THREADS];
    int ahead; /* bytes that are asked for beforehand; 0: the processor's own prefetching alone */
} read_work;

static void read_part(void *user, int thread, int threads) {
    typedef float v __attribute__((vector_size(16)));
    read_work *w = user;
    const size_t each = w->count / (size_t)threads / 64 * 64;
    const v *p = (const v *)(w->data + each * (size_t)thread);
    v a[4] = {{0}};
    for (size_t i = 0; i < each / 4; i += 16) {
        for (size_t line = 0; w->ahead && line < 256; line += 64)
            __builtin_prefetch((const char *)(p + i) + w->ahead + line);
        for (size_t j = 0; j < 16; j += 4) {
            a[0] += p[i + j];
            a[1] += p[i + j + 1];
            a[2] += p[i + j + 2];
            a[3] += p[i + j + 3];
        }
    }
    a[0] += a[1] + a[2] + a[3];
    w->sum[thread] = a[0][0];
}

/* The better of two ways; which one that is differs between processors. */
static double read_rate(int threads) {
    static read_work w;
    double best = 0;
    w.count = (size_t)96 << 20;
    float *data = need(w.count * sizeof *data);
    w.data = data;
    const size_t each = w.count / (size_t)threads / 64 * 64; /* as read_part cuts it */
    for (w.ahead = 0; w.ahead <= 2048; w.ahead += 2048) {
        const double rate = (double)each * threads * sizeof *data / median_seconds(threads, read_part, &w);
        best = rate > best ? rate : best;
    }
    free(data);
    return best;
}

/* ---- the matrix product ----------------------------------------------------------------------------------------- */

typedef struct gemm_work {
    const mbk_ops *ops;
    const mbk_linear *linear;
    int panel; /* rows at a time */
    float *X, *Y;
} gemm_work;

static void gemm_part(void *user, int thread, int threads) {
    const gemm_work *w = user;
    const mbk_ctx ctx = {.worker = thread};
    for (int m = thread * w->panel; m < M; m += threads * w->panel) {
        const int rows = M - m < w->panel ? M - m : w->panel;
        if (w->ops->linear_fwd(&ctx, w->linear, rows, w->X + (ptrdiff_t)m * KIN, w->Y + (ptrdiff_t)m * NOUT, 0) !=
            MB_OK)
            exit(1);
    }
}

/* 0 when the product is not to be had in this precision. */
static double gemm_rate(int threads, mbk_precision precision) {
    static const int panels[] = {64, 128, 256, 512};
    float *W = need((size_t)NOUT * KIN * sizeof *W), *X = need((size_t)M * KIN * sizeof *X),
          *Y = need((size_t)M * NOUT * sizeof *Y);
    double best = 0;
    for (size_t i = 0; i < sizeof panels / sizeof *panels; i++) {
        gemm_work w = {.ops = mbk_ops_cpu(), .panel = panels[i], .X = X, .Y = Y};
        const mbk_linear_spec spec = {.Nout = NOUT, .Kin = KIN, .W = W, .precision = precision, .M_typical = panels[i]};
        mbk_linear *linear;
        if (w.ops->linear_create(&linear, &spec) != MB_OK)
            break;
        w.linear = linear;
        const double rate = 2.0 * M * NOUT * KIN / median_seconds(threads, gemm_part, &w);
        best = rate > best ? rate : best;
        w.ops->linear_destroy(linear);
    }
    free(W);
    free(X);
    free(Y);
    return best;
}

void floor_measure(floor_rates *rates, int threads) {
    MBK_ASSERT(threads >= 1 && threads <= MAX_THREADS);
    rates->vector = vector_rate(threads);
    rates->read = read_rate(threads);
    rates->gemm_fp32 = gemm_rate(threads, MBK_FP32);
    rates->gemm_bf16 = gemm_rate(threads, MBK_BF16);
}

void floor_print(const floor_rates *rates, int threads) {
    printf("machine, %d thread%s: GEMM fp32 %.0f bf16 %.0f GFLOP/s, vector FMA %.0f GFLOP/s, read %.1f GB/s\n", threads,
           threads == 1 ? "" : "s", rates->gemm_fp32 * 1e-9, rates->gemm_bf16 * 1e-9, rates->vector * 1e-9,
           rates->read * 1e-9);
    printf("GEMM: %s\n", mbk_linear_library());
    fflush(stdout);
}
