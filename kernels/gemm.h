/* Matrix product with a fixed weight matrix: Y(M,Nout) = X(M,Kin) * W^T, W (Nout,Kin) row-major, as PyTorch's Linear.
 *
 * The weight is packed once (mbk_linear_create) and applied by one thread per call on the tile that thread
 * holds: through oneDNN, measured fastest on tiles, where it has kernels that keep the promises below (gemm_onednn.c),
 * else through the house's own packed kernel (gemm_inner.h). The bits of a row do not depend on M nor on the row's
 * place in the tile (tested), so tiles may be cut anywhere.
 * X, Y contiguous. With MBK_BF16 weights and X are rounded to bf16 (nearest even), sums stay fp32; a processor
 * without bf16 dot products computes the same at the rate of fp32.
 * accumulate = 1: Y += X W^T.
 * step: one row (M = 1), output columns [n0,n1) only, reading W in its own layout at memory speed, so that a team of
 * threads shares one product. Y points to column 0. Its sums run in another order than fwd's: equal to about 1e-6.
 * The source W is borrowed and must outlive the handle (step reads it; fp32 only keeps no second copy). */
#ifndef MBK_GEMM_H
#define MBK_GEMM_H
#include "kernels/kernel.h"

/* Training:
 * transposed = 1: W is stored as (Kin,Nout), so that the gradient of the input, dX(M,Kin') = dY(M,Nout') *
 * W(Nout',Kin'), is a linear of its own with Nout = Kin', Kin = Nout'. No step then. update: takes the weight's values
 * again from where W points (they have changed); not while anyone runs the handle. gemm_tn: C(m,n) (+)= A(k,m)^T
 * B(k,n), a gradient of weights: A, B, C row-major with row distances; one thread a call; any m, n, k >= 1. The bits of
 * an element of C depend on its column of A, its column of B and k alone, so C may be cut into blocks at multiples of
 * MBK_TN_BLOCK columns of A anywhere. bf16 rounds A and B, sums stay fp32. */
#define MBK_TN_BLOCK 64
typedef struct mbk_gemm_tn {
    int64_t k;
    int m, n, accumulate;
    mbk_precision precision;
    const float *A;
    ptrdiff_t lda;
    const float *B;
    ptrdiff_t ldb;
    float *C;
    ptrdiff_t ldc;
} mbk_gemm_tn;

typedef struct mbk_linear mbk_linear; /* opaque */

typedef struct mbk_linear_spec {
    int Nout, Kin;
    const float *W; /* (Nout,Kin), borrowed */
    mbk_precision precision;
    int transposed; /* 1: W is (Kin,Nout) */
    int M_typical;  /* rows of a usual tile: the packed layout is chosen for it */
} mbk_linear_spec;

typedef int mbk_linear_create_fn(mbk_linear **out, const mbk_linear_spec *);
typedef void mbk_linear_destroy_fn(mbk_linear *); /* NULL is fine */
typedef int mbk_linear_fwd_fn(const mbk_ctx *, const mbk_linear *, int M, const float *X, float *Y, int accumulate);
typedef int mbk_linear_step_fn(const mbk_ctx *, const mbk_linear *, int n0, int n1, const float *x, float *y);
typedef int mbk_linear_update_fn(mbk_linear *);
typedef int mbk_gemm_tn_fn(const mbk_ctx *, const mbk_gemm_tn *);
typedef size_t mbk_linear_bytes_fn(const mbk_linear_spec *); /* memory a handle will hold, for plans */

mbk_linear_create_fn mbk_linear_create_ref, mbk_linear_create_cpu;
mbk_linear_destroy_fn mbk_linear_destroy_ref, mbk_linear_destroy_cpu;
mbk_linear_fwd_fn mbk_linear_fwd_ref, mbk_linear_fwd_cpu;
mbk_linear_step_fn mbk_linear_step_ref, mbk_linear_step_cpu;
mbk_linear_bytes_fn mbk_linear_bytes_ref, mbk_linear_bytes_cpu;
mbk_linear_update_fn mbk_linear_update_ref, mbk_linear_update_cpu;
mbk_gemm_tn_fn mbk_gemm_tn_ref, mbk_gemm_tn_cpu;

/* One line naming the library behind _cpu, its version and whether bf16 is native here. */
const char *mbk_linear_library(void);
#endif
