/* Causal depthwise convolution, then SiLU (Mamba's conv1d):
 *   c[t,e] = b[e] + sum_{j<K} w[j,e] * x[t-(K-1)+j, e];  y = silu ? c*sigmoid(c) : c
 * reverse = 1 runs the same filter from the last row to the first (x[t+(K-1)-j]): no row is moved in memory.
 * x: (L,E) with row distance ldx; y: (L,E) with ldy; w: (K,E), w[K-1] multiplies the current row; b: (E) or NULL.
 * state: (K-1,E), the K-1 inputs before the first processed row, oldest first in processing order. Read at the
 * start and replaced at the end by the inputs that the next piece needs. NULL = zeros before, nothing kept.
 * 1 <= K <= 16, any L >= 1 (also L < K-1), any E >= 1. y must not alias x.
 * step is the same operation for L = 1, arranged for one token.
 * segment: (L) or NULL: the number of the sequence that a row belongs to, as in scan.h: inputs of other sequences count
 * as zeros, and the state is that of the first and of the last processed row's sequence. For the reference and a GPU;
 * the CPU's kernels want NULL. The gradient reads it for the rows after the piece too. */
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
    const int32_t *segment; /* (L) or NULL */
} mbk_conv;

/* Gradients of the convolution. c is computed again from x. The row t of x enters the outputs t .. t+K-1 (in processing
 * order), so besides the L rows of the piece up to K-1 rows processed after it are read:
 *   p[t,e] = G[t,e] * (silu ? dSiLU/dc : 1)
 *   dx[t,e] (+)= sum_j w[j,e] * p[t+(K-1)-j, e];   dw[j,e] += sum_t p[t,e] * x[t-(K-1)+j, e];   db[e] += sum_t p[t,e]
 * with the sums of dw and db over the piece's own L rows only. after: how many rows follow the piece in processing
 * order (0 .. K-1, fewer only where the sequence ends); x and G are readable there too: rows L .. L+after-1, or,
 * reverse = 1, rows -1 .. -after. state: the K-1 inputs before the first processed row as mbk_conv reads it, NULL =
 * zeros; not changed. accumulate = 1: dx +=. dw: (K,E), row distance lddw. db may be NULL. No aliasing. The bits of a
 * channel do not depend on the range of channels; those of dx do not depend on where pieces are cut. */
typedef struct mbk_conv_bwd {
    int L, E, K;
    int reverse, silu, after, accumulate;
    const float *x;
    ptrdiff_t ldx;
    const float *w; /* (K,E) */
    ptrdiff_t ldw;
    const float *b;     /* (E) or NULL */
    const float *state; /* (K-1,E) or NULL */
    ptrdiff_t ldstate;
    const float *G; /* (L,E), dLoss/dy */
    ptrdiff_t ldg;
    float *dx; /* (L,E) */
    ptrdiff_t lddx;
    float *dw; /* (K,E) */
    ptrdiff_t lddw;
    float *db;              /* (E) or NULL */
    const int32_t *segment; /* (L+after) as x, or NULL */
} mbk_conv_bwd;

typedef int mbk_conv_bwd_fn(const mbk_ctx *, const mbk_conv_bwd *);
mbk_conv_bwd_fn mbk_conv_bwd_ref, mbk_conv_bwd_cpu;

typedef int mbk_conv_fn(const mbk_ctx *, const mbk_conv *);
mbk_conv_fn mbk_conv_fwd_ref, mbk_conv_fwd_cpu, mbk_conv_step_ref, mbk_conv_step_cpu;
#endif
