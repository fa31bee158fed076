/* What gemm_cuda.cu asks of the library behind it: gemm_cublaslt.cu, or gemm_cublaslt_none.cu where there is none,
 * which is the house's own kernel (gemm_tiles.cu). That one also does what the library refuses.
 *
 * C(M,N) = A(M,K) B(K,N), or C += with accumulate; C float. A_turned: A is stored as (K,M); B_turned: B as (N,K). Row
 * distances lda, ldb, ldc in elements. A, B: float, or bf16 with MBK_BF16. Sums in float. */
#ifndef MBK_GEMM_BLAS_CUH
#define MBK_GEMM_BLAS_CUH
#include "kernels/cuda.cuh"

typedef struct mbk_blas_gemm {
    int64_t M, N, K;
    const void *A, *B;
    ptrdiff_t lda, ldb;
    int A_turned, B_turned, accumulate;
    mbk_precision precision;
    float *C;
    ptrdiff_t ldc;
    int64_t M_typical; /* the method is chosen for this M and serves all others: bits of a row do not depend on M */
} mbk_blas_gemm;

extern "C" {
int mbk_blas_run(const mbk_ctx *ctx, const mbk_blas_gemm *p);
int mbk_tiles_run(const mbk_ctx *ctx, const mbk_blas_gemm *p);
}
#endif
