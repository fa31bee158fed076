/* Selective scan of Mamba-1 (Gu & Dao 2023, arXiv 2312.00752) with softplus, skip, gate:
 *   d[t,e] = softplus(dt[t,e] + dt_bias[e])           (softplus_dt = 1; else d = dt + dt_bias)
 *   h[t,e,n] = exp(d*A[n,e]) * h[t-1,e,n] + d * B[t,n] * x[t,e]
 *   s[t,e] = sum_n C[t,n]*h[t,e,n] + skip[e]*x[t,e] + (y_add ? y_add[t,e] : 0)
 *   y[t,e] = z ? s * z*sigmoid(z) : s
 * softplus(v) = v for v > 20, log1p(exp v) otherwise, as the original.
 * reverse = 1 runs t from L-1 down to 0 (h[t] from h[t+1]); nothing is moved in memory.
 *
 * x, dt, z, y_add, y: (L,E), each with its row distance. B, C: (L,N), row distances ldb, ldc.
 * a2: (N,E) = A * log2(e), transposed, so that exp(d*A) = exp2(d*a2); row distance lda.
 * dt_bias, skip: (E) or NULL (zero).
 * state: (N,E), row distance lds: h before the first processed row; replaced by h after the last. NULL = zeros, not
 * kept. y may be the same memory as y_add (same pointer and ld); no other aliasing. 1 <= N <= 256, any E >= 1, any L
 * >= 1. A caller may run any range of channels: offset the pointers, keep the distances. The bits of a channel do not
 * depend on the range it is run in when ranges start at multiples of MBK_SCAN_LANES. step is the same operation for L =
 * 1, arranged for one token (all channels of a wide E at once).
 *
 * segment: (L) or NULL: the number of the sequence that a row belongs to, for several sequences packed into one call.
 * Where it changes from a processed row to the next, the state before the latter is zero; the state of the call belongs
 * to its first and last sequence. For the reference and a GPU: the CPU's kernels want NULL, for there a caller runs
 * packed sequences one by one at no cost. The same in mbk_scan_bwd. */
#ifndef MBK_SCAN_H
#define MBK_SCAN_H
#include "kernels/kernel.h"

#define MBK_SCAN_MAX_N 256
#define MBK_SCAN_LANES 16

typedef struct mbk_scan {
    int L, E, N;
    int reverse, softplus_dt;
    const float *x;
    ptrdiff_t ldx;
    const float *dt;
    ptrdiff_t lddt;
    const float *z; /* or NULL */
    ptrdiff_t ldz;
    const float *y_add; /* or NULL */
    ptrdiff_t ldyadd;
    const float *B;
    ptrdiff_t ldb;
    const float *C;
    ptrdiff_t ldc;
    const float *a2; /* (N,E) */
    ptrdiff_t lda;
    const float *dt_bias; /* (E) or NULL */
    const float *skip;    /* (E) or NULL */
    float *state;         /* (N,E) or NULL */
    ptrdiff_t lds;
    float *y;
    ptrdiff_t ldy;
    const int32_t *segment; /* (L) or NULL */
} mbk_scan;

/* Gradients of the scan, of s (the gate and y_add stay outside: kernels/gate.h). The forward is run again from state0.
 *   given G = dLoss/ds (L,E) and dstate = dLoss/d(state after the last processed row):
 *   writes  dx (L,E), ddt (L,E) (of dt as given: before the bias and softplus), dB, dC (L,N) of these channels alone,
 *           dstate = dLoss/d(state before the first processed row)
 *   adds to da (N,E): dLoss/dA, A = a2 / log2(e);  dskip (E), ddt_bias (E): either may be NULL.
 * x, dt, B, C, a2, dt_bias, skip, reverse, softplus_dt as in mbk_scan; what is processed first is row L-1 when reverse.
 * state0, dstate: (N,E), row distance lds; state0 NULL = zeros; dstate NULL = zero before, not kept after.
 * dx may be the same memory as G (same pointer and ld); no other aliasing. Ranges of channels as in mbk_scan: the bits
 * of a channel's results do not depend on the range; dB and dC are the range's share, to be added by the caller.
 * scratch: mbk_scan_bwd_scratch(L, E, N) floats, 64-byte aligned. */
typedef struct mbk_scan_bwd {
    int L, E, N;
    int reverse, softplus_dt;
    const float *x;
    ptrdiff_t ldx;
    const float *dt;
    ptrdiff_t lddt;
    const float *B;
    ptrdiff_t ldb;
    const float *C;
    ptrdiff_t ldc;
    const float *a2; /* (N,E) */
    ptrdiff_t lda;
    const float *dt_bias; /* (E) or NULL */
    const float *skip;    /* (E) or NULL */
    const float *state0;  /* (N,E) or NULL */
    float *dstate;        /* (N,E) or NULL */
    ptrdiff_t lds;
    const float *G; /* (L,E) */
    ptrdiff_t ldg;
    float *dx; /* (L,E) */
    ptrdiff_t lddx;
    float *ddt; /* (L,E) */
    ptrdiff_t ldddt;
    float *dB; /* (L,N) */
    ptrdiff_t lddb;
    float *dC; /* (L,N) */
    ptrdiff_t lddc;
    float *da; /* (N,E) */
    ptrdiff_t ldda;
    float *dskip;    /* (E) or NULL */
    float *ddt_bias; /* (E) or NULL */
    float *scratch;
    const int32_t *segment; /* (L) or NULL */
} mbk_scan_bwd;

typedef int mbk_scan_bwd_fn(const mbk_ctx *, const mbk_scan_bwd *);
typedef size_t mbk_scan_bwd_scratch_fn(int L, int E, int N);
mbk_scan_bwd_fn mbk_scan_bwd_ref, mbk_scan_bwd_cpu;
mbk_scan_bwd_scratch_fn mbk_scan_bwd_scratch_ref, mbk_scan_bwd_scratch_cpu;

typedef int mbk_scan_fn(const mbk_ctx *, const mbk_scan *);
mbk_scan_fn mbk_scan_fwd_ref, mbk_scan_fwd_cpu, mbk_scan_step_ref, mbk_scan_step_cpu;
#endif
