/* See check.h. The generator is splitmix64 (Steele et al. 2014), so that a seed means the same on every machine. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/check.h"

enum { GUARD = 64, SHOWN = 20 };           /* floats before and after an output; findings printed */
static const uint32_t poison = 0x7fe5a5a5; /* a NaN */

/* ---- what tests/cuda_exec replaces ------------------------------------------------------------------------------- */
__attribute__((weak)) const mbk_ops *check_device(void) {
    return NULL;
}
__attribute__((weak)) void *check_memory_take(size_t bytes) {
    return malloc(bytes);
}
__attribute__((weak)) void check_memory_give(void *p) {
    free(p);
}

/* ---- arrays -------------------------------------------------------------------------------------------------------
 */
/* Rates are of aligned rows, as in the programs; cases get what malloc gives. */
static void *take(check *c, size_t bytes) {
    void *p = c->rates ? aligned_alloc(64, (bytes + 63) / 64 * 64) : check_memory_take(bytes ? bytes : 1);
    if (!p || c->memories == (int)(sizeof c->memory / sizeof *c->memory)) {
        fprintf(stderr, "%s: out of memory\n", c->name);
        exit(2);
    }
    c->memory[c->memories++] = p;
    return p;
}

void check_release(check *c) {
    while (c->memories) {
        void *p = c->memory[--c->memories];
        if (c->rates)
            free(p);
        else
            check_memory_give(p);
    }
}

uint64_t check_random(check *c) {
    uint64_t z = c->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
int check_pick(check *c, int n) {
    return (int)(check_random(c) % (uint64_t)n);
}
float check_between(check *c, float low, float high) {
    return low + (high - low) * (float)((double)(check_random(c) >> 11) * 0x1p-53);
}

static void fill_poison(float *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        memcpy(p + i, &poison, sizeof poison);
}
static int is_poison(const float *p) {
    return !memcmp(p, &poison, sizeof poison);
}
static size_t extent(const check_array *a) { /* from the first element to the last */
    return (size_t)(a->rows - 1) * (size_t)a->ld + (size_t)a->cols;
}

static int padding(check *c) {
    return c->packed || check_pick(c, 3) ? 0 : check_pick(c, 20);
}

check_array check_input(check *c, int rows, int cols, float low, float high) {
    check_array a = {.rows = rows, .cols = cols, .ld = cols + padding(c)};
    a.at = take(c, extent(&a) * sizeof(float));
    fill_poison(a.at, extent(&a));
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++)
            a.at[i * a.ld + j] = check_between(c, low, high);
    return a;
}

static check_array guarded(check *c, int rows, int cols, ptrdiff_t ld) {
    check_array a = {.rows = rows, .cols = cols, .ld = ld};
    size_t n = 2 * GUARD + (size_t)rows * (size_t)ld;
    a.start = take(c, n * sizeof(float));
    a.at = a.start + GUARD;
    fill_poison(a.start, n);
    return a;
}

check_array check_output(check *c, int rows, int cols) {
    return guarded(c, rows, cols, cols + padding(c));
}

check_array check_copy(check *c, const check_array *from) {
    if (!from->at)
        return *from;
    check_array a = guarded(c, from->rows, from->cols, from->ld);
    for (int i = 0; i < a.rows; i++)
        memcpy(a.at + i * a.ld, from->at + i * a.ld, (size_t)a.cols * sizeof(float));
    return a;
}

double *check_magnitudes(check *c, int rows, int cols) {
    size_t n = (size_t)rows * (size_t)cols * sizeof(double);
    return memset(take(c, n), 0, n);
}

/* ---- findings -----------------------------------------------------------------------------------------------------
 */
void check_begin(check *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->label, sizeof c->label, format, args);
    va_end(args);
    c->broken = 0;
}

void check_end(check *c) {
    if (c->broken)
        c->failed++;
    else
        c->passed++;
}

__attribute__((format(printf, 2, 3))) static void finding(check *c, const char *format, ...) {
    va_list args;
    if (!c->broken++ && c->failed < SHOWN) {
        printf("%s: %s: ", c->name, c->label);
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        printf("\n");
    }
}

void check_true(check *c, int ok, const char *what) {
    if (!ok)
        finding(c, "not so: %s", what);
}

void check_untouched(check *c, const char *what, const check_array *a) {
    if (!a->start)
        return;
    const size_t n = 2 * GUARD + (size_t)a->rows * (size_t)a->ld;
    for (size_t i = 0; i < n; i++) {
        const ptrdiff_t k = (ptrdiff_t)i - GUARD;
        const int inside = k >= 0 && k < a->rows * a->ld && k % a->ld < a->cols;
        if (!inside && !is_poison(a->start + i)) {
            finding(c, "%s: written outside its shape, %td from its start", what, k);
            return;
        }
    }
}

/* Whether element (i,j), `fault` added, is refused. */
static int wrong(double got, double want, double magnitude, double factor, double fault) {
    return !(fabs(got + fault * FLT_EPSILON * magnitude - want) <= factor * FLT_EPSILON * magnitude);
}

void check_close(check *c, const char *what, const check_array *got, const check_array *want, const double *magnitude,
                 double factor) {
    const int n = got->rows * got->cols;
    int planted = check_pick(c, n);
    check_untouched(c, what, got);
    for (int k = 0; k < n && magnitude[planted] == 0; k++)
        planted = (planted + 1) % n;
    for (int k = 0; k < n; k++) {
        const int i = k / got->cols, j = k % got->cols;
        const double g = got->at[i * got->ld + j], w = want->at[i * want->ld + j], m = magnitude[k];
        if (wrong(g, w, m, factor, c->sabotage && k == planted ? 100 : 0)) {
            finding(c, "%s[%d][%d] = %.9g, not %.9g: %.3g of what the magnitude %.3g allows%s", what, i, j, g, w,
                    fabs(g - w) / (factor * FLT_EPSILON * m), m, c->sabotage && k == planted ? " (sabotage)" : "");
            return;
        }
        if (k == planted && m > 0 && !wrong(g, w, m, factor, 100))
            finding(c, "%s: a planted fault was not caught", what);
        if (m > 0 && fabs(g - w) / (FLT_EPSILON * m) > c->worst)
            c->worst = fabs(g - w) / (FLT_EPSILON * m);
    }
}

void check_same(check *c, const char *what, const check_array *got, const check_array *want) {
    const int n = got->rows * got->cols, planted = check_pick(c, n);
    check_untouched(c, what, got);
    for (int k = 0; k < n; k++) {
        const int i = k / got->cols, j = k % got->cols;
        float g = got->at[i * got->ld + j], w = want->at[i * want->ld + j];
        if (c->sabotage && k == planted)
            g = nextafterf(g, INFINITY);
        if (memcmp(&g, &w, sizeof g) || is_poison(&g)) {
            finding(c, "%s[%d][%d] = %a, not the bits of %a%s", what, i, j, g, w, c->sabotage ? " (sabotage)" : "");
            return;
        }
    }
}

/* ---- rates --------------------------------------------------------------------------------------------------------
 */
#if defined(__x86_64__)
#define FMA8(v)                                                                                                        \
    "vfmadd213ps %%" v "14,%%" v "15,%%" v "0\n\tvfmadd213ps %%" v "14,%%" v "15,%%" v "1\n\t"                         \
    "vfmadd213ps %%" v "14,%%" v "15,%%" v "2\n\tvfmadd213ps %%" v "14,%%" v "15,%%" v "3\n\t"                         \
    "vfmadd213ps %%" v "14,%%" v "15,%%" v "4\n\tvfmadd213ps %%" v "14,%%" v "15,%%" v "5\n\t"                         \
    "vfmadd213ps %%" v "14,%%" v "15,%%" v "6\n\tvfmadd213ps %%" v "14,%%" v "15,%%" v "7\n\t"
#define CLOBBER "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm14", "xmm15"
#define LOOP(v) __asm__ volatile(FMA8(v) FMA8(v)::: CLOBBER)
#endif

/* n times 16 independent vector FMAs of the widest kind; returns their flops. On numbers that stay zero. */
static double fma_flops(long n) {
#if defined(__x86_64__)
    const int wide = mbk_ops_isa("avx512") != NULL;
    if (wide || mbk_ops_isa("avx2")) {
        __asm__ volatile("vzeroall" ::: CLOBBER);
        for (long i = 0; i < n; i++)
            if (wide)
                LOOP("zmm");
            else
                LOOP("ymm");
        __asm__ volatile("vzeroupper" ::: CLOBBER);
        return (double)n * 16 * 2 * (wide ? 16 : 8);
    }
#endif
    typedef float v4 __attribute__((vector_size(16)));
    v4 a[12] = {{0}}, b = {0};
    for (long i = 0; i < n; i++) {
        for (int k = 0; k < 12; k++)
            a[k] = a[k] * b + b;
        __asm__ volatile("" : "+m"(a), "+m"(b)); /* the loop stays */
    }
    return (double)n * 12 * 2 * 4;
}

/* Of this thread on a processor: what other programs take does not count. */
static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The rate of all threads together: `work` in each of `repeats` runs; or FMA flops, without run. */
static double rate_of(check *c, void (*run)(void *), void *const args[], long repeats, double work) {
    double rate = 0;
#pragma omp parallel num_threads(c->threads) reduction(+ : rate)
    {
#pragma omp barrier
        const double start = seconds();
        double done = work * (double)repeats;
        if (run)
            for (long i = 0; i < repeats; i++)
                run(args[omp_get_thread_num()]);
        else
            done = fma_flops(repeats);
        rate += done / (seconds() - start);
    }
    return rate;
}

void check_bench(check *c, const char *isa, const char *what, const char *unit, void (*run)(void *), void *const args[],
                 double work, double floor_flops, double bytes) {
    enum { SAMPLES = 51 };
    double rate[SAMPLES], cost[SAMPLES];
    long repeats = 1;
    while (c->threads * (double)repeats * work / rate_of(c, run, args, repeats, work) < 2e-3 && repeats < 1L << 30)
        repeats *= 2;
    for (int i = 0; i < SAMPLES; i++) {
        const double before = rate_of(c, NULL, NULL, 8000, 0);
        rate[i] = rate_of(c, run, args, repeats, work);
        cost[i] = 0.5 * (before + rate_of(c, NULL, NULL, 8000, 0)) / rate[i];
    }
    qsort(rate, SAMPLES, sizeof *rate, ascending);
    qsort(cost, SAMPLES, sizeof *cost, ascending);
    printf("%-12s %-8s %-34s %7.3f G %s/s", c->name, isa, what, rate[SAMPLES / 2] * 1e-9, unit);
    if (bytes > 0)
        printf(" (%.1f GB/s)", rate[SAMPLES / 2] * bytes * 1e-9);
    printf(", %.1f (best tenth %.1f) FMA flops each", cost[SAMPLES / 2], cost[SAMPLES / 10]);
    if (floor_flops > 0)
        printf(", %.2f (%.2f) of the floor of %.0f", floor_flops / cost[SAMPLES / 2], floor_flops / cost[SAMPLES / 10],
               floor_flops);
    printf("\n");
}

/* ---- the program --------------------------------------------------------------------------------------------------
 */
int check_variants(const mbk_ops *variants[8]) {
    static const char *const names[] = {"avx512", "avx2", "neon", "generic"};
    int n = 0;
    if (check_device())
        variants[n++] = check_device();
    for (size_t i = 0; i < sizeof names / sizeof *names && !check_device(); i++)
        if (mbk_ops_isa(names[i]))
            variants[n++] = mbk_ops_isa(names[i]);
    return n;
}

int check_is_device(const mbk_ops *ops) {
    return !strcmp(ops->device, "cuda");
}

int check_left_out(check *c, const mbk_ops *ops, int n) {
#if defined(__SANITIZE_ADDRESS__)
    n *= 4;
#endif
    return check_is_device(ops) && check_pick(c, n);
}

static long number(const char *name, const char *text) {
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || end == text || *end) {
        fprintf(stderr, "%s: '%s' is not a number\n", name, text);
        exit(2);
    }
    return n;
}

int check_main(int argc, char **argv, const char *name, void (*cases)(check *), void (*bench)(check *)) {
    check c = {.name = name, .threads = 1};
    const char *seed = getenv("SEED");
    const uint64_t start = seed && *seed ? (uint64_t)number(name, seed) : (uint64_t)time(NULL);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            c.rates = 1;
        else if (!strcmp(argv[i], "--sabotage"))
            c.sabotage = 1;
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            c.threads = (int)number(name, argv[++i]);
        else {
            fprintf(stderr, "usage: %s [--bench] [--sabotage] [--threads N]\n", name);
            return 2;
        }
    }
    c.random = start;
    if (c.rates) {
        bench(&c);
        check_release(&c);
        return 0;
    }
    printf("%s: SEED=%llu\n", name, (unsigned long long)start);
    cases(&c);
    check_release(&c);
    if (c.worst > 0)
        printf("%s: largest error %.3g FLT_EPSILON * magnitude\n", name, c.worst);
    printf("%s: %d passed, %d failed\n", name, c.passed, c.failed);
    return c.failed || !c.passed;
}
