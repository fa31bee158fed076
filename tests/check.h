/* Kernels side by side: what the programs check_<kernel> share.
 *
 * A case runs the reference and a variant on the same input and compares within
 *     |got - want| <= factor * FLT_EPSILON * magnitude
 * where the magnitude of each element is computed by the check from absolute terms, so that cancellation is judged
 * fairly and nothing else is. NaN fails. Outputs start as NaN, lie between guards and may have gaps between rows;
 * whoever writes outside the shape fails. Inputs end where their memory ends, for the address sanitizer. The comparison
 * is tested at every use: a fault of 100 FLT_EPSILON * magnitude planted into the result must be refused.
 *
 *   check_X [--bench] [--sabotage] [--threads N]     SEED=n in the environment repeats a run
 *
 * --sabotage plants the fault for good: the program must end with status 1. --bench prints median rates instead.
 * The last line is "check_X: N passed, M failed"; the status is 0 when M is 0. */
#ifndef MB_TESTS_CHECK_H
#define MB_TESTS_CHECK_H
#include <stddef.h>
#include <stdint.h>

#include "kernels/ops.h"

typedef struct check {
    const char *name;
    uint64_t random; /* state of the generator */
    int sabotage, rates, threads;
    int packed; /* set by a check whose kernel wants ld == cols */
    int passed, failed;
    int broken;        /* findings in the case at hand */
    char label[200];   /* the case at hand */
    double worst;      /* largest |got - want| / (FLT_EPSILON * magnitude) so far */
    void *memory[200]; /* of the arrays since the last release */
    int memories;
} check;

/* (rows,cols), row distance ld >= cols. */
typedef struct check_array {
    int rows, cols;
    ptrdiff_t ld;
    float *at;    /* NULL: absent */
    float *start; /* outputs: where the first guard starts; inputs: NULL */
} check_array;

int check_main(int argc, char **argv, const char *name, void (*cases)(check *), void (*bench)(check *));

/* The tables of the instruction sets that this machine has, best first; their number. Or, of a program that links
 * tests/cuda_exec, the CUDA kernels alone, as the executor runs them. */
int check_variants(const mbk_ops *variants[8]);
/* 1: kernels of a GPU, which cut rows into chunks: pieces of a scan have other last digits than the whole. */
int check_is_device(const mbk_ops *);
/* 1: leave this case out. Of a device, whose threads the executor runs one by one, one case in n is run (under the
 * address sanitizer one in 4n); of the CPU, all. */
int check_left_out(check *, const mbk_ops *, int n);
/* What tests/cuda_exec puts in place of: no table, malloc, free. */
const mbk_ops *check_device(void);
void *check_memory_take(size_t bytes);
void check_memory_give(void *);

uint64_t check_random(check *);
int check_pick(check *, int n); /* 0 .. n-1 */
float check_between(check *, float low, float high);

/* Arrays live until check_release. Row distances are padded now and then, unless `packed`. */
check_array check_input(check *, int rows, int cols, float low, float high); /* uniform; gaps are NaN */
check_array check_output(check *, int rows, int cols);                       /* NaN, guarded */
check_array check_copy(check *, const check_array *);  /* same values, guarded, same row distance */
double *check_magnitudes(check *, int rows, int cols); /* zero */
void check_release(check *);

/* A case: begin, findings, end. */
void check_begin(check *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_true(check *, int ok, const char *what);
void check_close(check *, const char *what, const check_array *got, const check_array *want, const double *magnitude,
                 double factor);
void check_same(check *, const char *what, const check_array *got, const check_array *want); /* all bits */
void check_untouched(check *, const char *what, const check_array *);                        /* guards and gaps */
void check_end(check *);

/* Runs run(args[i]) on thread i, for all threads together, some 50 times a few milliseconds, each between two timings
 * of independent FMAs on the same threads; prints the median rate of `work` per run in units of 1e9, and how many FMA
 * flops one unit of work costs; compared with floor_flops, when that is not 0, and as GB/s when `bytes` per unit is not
 * 0. */
void check_bench(check *, const char *isa, const char *what, const char *unit, void (*run)(void *), void *const args[],
                 double work, double floor_flops, double bytes);
#endif
