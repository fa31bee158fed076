/* Causal depthwise convolution, then SiLU (Mamba's conv1d):
 *   c[t,e] = b[e] + sum_{j<K} w[j,e] * x[t-(K-1)+j, e];  y = silu ? c*sigmoid(c) : c
 * reverse = 1 runs the same filter from the last row to the first (x[t+(K-1)-j]): no row is moved in memory.
 * x: (L,E) with row distance ldx; y: (L,E) with ldy; w: (K,E), w[K-1] multiplies the current row; b: (E) or NULL.
 * state: (K-1,E), the K-1 inputs before the first processed row, oldest first in processing order. Read at the
 * start and replaced at the end by the inputs that the next piece needs. NULL = zeros before, nothing kept.
 * 1 <= K <= 16, any L >= 1 (also L < K-1), any E >= 1. y must not alias x.
 * step is the same operation for L = 1, arranged for one token. */
#ifndef MBK_CONV1D_H
#define MBK_CONV1D_H
#include "kernels/kernel.h"

#define MBK_CONV_MAX_K 16

typedef struct mbk_conv {
    int L, E, K;
    int reverse, silu;
    const float *x;
    ptrdiff_t ldx;
    const float *w; /* (K,E) */
    const float *b; /* (E) or NULL */
    float *state;   /* (K-1,E) or NULL */
    ptrdiff_t ldstate;
    float *y;
    ptrdiff_t ldy;
    ptrdiff_t ldw;
} mbk_conv;

typedef int mbk_conv_fn(const mbk_ctx *, const mbk_conv *);
mbk_conv_fn mbk_conv_fwd_ref, mbk_conv_fwd_cpu, mbk_conv_step_ref, mbk_conv_step_cpu;
#endif
