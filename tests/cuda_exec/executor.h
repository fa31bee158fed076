/* Runs the kernels of kernels/(name)_cuda.cu on the CPU, for the tests: the same sources, compiled as C++ against
 * include/cuda_runtime.h, link to this.
 *
 * A launch runs its blocks one by one in a shuffled order, and the threads of a block as fibres, in an order shuffled
 * anew after every barrier: a thread runs until it meets a barrier, a shuffle or a vote. So every launch is
 * deterministic for a seed, and what depends on the order of threads (a race, a missing barrier) shows as a difference
 * between seeds, or as a NaN: shared memory is NaN when a block starts, memory from cuda_exec_take is when it is taken.
 *
 * A launch fails, with a sentence that names kernel, block and thread, when
 *   threads of a block meet at different barriers, or some end while others wait; lanes named in the mask of a shuffle
 *   or vote do not come to it; a byte of the guard zones around any buffer or shared array has been written; grid,
 *   block or shared memory are beyond the limits of sm_80 and sm_90, or shared memory beyond 48 KiB was not asked for.
 * Reading outside a buffer is for the address sanitizer, which knows the guard zones too.
 *
 * Fibres have stacks of their own from makecontext(), the one portable way to make them, and change by _setjmp and
 * _longjmp, for swapcontext() asks the kernel twice at each change; under the sanitizer by swapcontext(), which it
 * follows. One host thread at a time. */
#ifndef MB_TESTS_EXECUTOR_H
#define MB_TESTS_EXECUTOR_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
void cuda_exec_seed(uint64_t seed);  /* of the orders of blocks and threads from now on */
void cuda_exec_quiet(int quiet);     /* 1: findings are not printed as they come */
const char *cuda_exec_finding(void); /* the last one, "" when there was none */
long cuda_exec_findings(void);       /* how many so far */
long cuda_exec_launches(void);       /* how many so far */
void *cuda_exec_take(size_t bytes);  /* guarded, filled with NaN; exits when memory is out */
void cuda_exec_give(void *);
/* Contents of all that was taken: kept, brought back, compared (1: the same). One at a time each, by number 0 or 1. */
void cuda_exec_keep(int which);
void cuda_exec_back(int which);
int cuda_exec_same(int which);
void cuda_exec_forget(void); /* gives back what keep took */
#ifdef __cplusplus
}
#endif
#endif
