/* The faults that faults.cu plants. */
#ifndef MB_TESTS_CUDA_FAULTS_H
#define MB_TESTS_CUDA_FAULTS_H
#include "kernels/cuda.h"

enum {
    FAULT_NONE,
    FAULT_NO_BARRIER,        /* shared memory read before others wrote it */
    FAULT_NO_SECOND_BARRIER, /* shared memory written while others read it */
    FAULT_TWO_BARRIERS,      /* threads at different barriers */
    FAULT_EARLY_END,         /* a thread that ends before a barrier */
    FAULT_SHUFFLE,           /* a lane named in a mask that does not come */
    FAULT_SHARED_BEYOND,     /* one past a shared array */
    FAULT_ONE_BEYOND,        /* the rest of the last block writes past the output */
    FAULT_BEFORE,            /* one before the output */
    FAULT_RACE,              /* the last writer wins */
    FAULT_THREADS,           /* too many threads a block */
    FAULT_GRID,              /* too many rows of blocks */
    FAULT_SHARED_BYTES,      /* more shared memory than there is */
    FAULTS
};

#ifdef __cplusplus
extern "C"
#endif
    /* out[0..n) = sums within blocks of 64 of in[0..n) */
    int
    planted_launch(const mbk_ctx *ctx, int fault, int n, const float *in, float *out);
#endif
