/* The loops of the house's own matrix product, one table per instruction set: with packed weights for tiles, straight
 * from the rows of W for one token, and rounding to bf16. All fp32 inside; matrices contiguous.
 *
 * tile_fwd: Y(M,Nout) = X(M,Kin) * W^T, or Y += with accumulate. W, or its transpose (Kin,Nout), is packed once into
 *     panels of `columns` columns, of zeros beyond Nout. Each output is one chain of multiply-adds over Kin, cut every
 * MBK_TILE_DEPTH: its bits do not depend on M, on the row's place nor on its neighbours. Measured above OpenBLAS' sgemm
 * on tiles of 64-256 rows. row_fwd: y[n] = sum_k W[n,k] * x[k] for n0 <= n < n1; y points to column 0. W (Nout,Kin) is
 * read once, at the speed of memory. The bits of y[n] do not depend on n0 and n1. row16_fwd: the same with W in bf16
 * and x prepared by row16_prepare: rounded to bf16 and, in each whole block of 32, the values at even places moved
 * before those at odd places, so that a shift and a mask widen the weights. bf16_round, bf16_clip: to bf16 as
 * gemm_bf16.h defines it, but that subnormal numbers may become zero; kept in 16 bits or in a float (then y may be x).
 */
#ifndef MBK_GEMM_INNER_H
#define MBK_GEMM_INNER_H
#include "kernels/kernel.h"

#define MBK_TILE_DEPTH 256

typedef void mbk_tile_pack_fn(int Nout, int Kin, int transposed, const float *W, float *packed);
typedef void mbk_tile_fwd_fn(int M, int Nout, int Kin, const float *packed, const float *X, float *Y, int accumulate);
typedef void mbk_row_fwd_fn(int n0, int n1, int Kin, const float *W, const float *x, float *y);
typedef void mbk_row16_prepare_fn(int Kin, const float *x, float *prepared);
typedef void mbk_row16_fwd_fn(int n0, int n1, int Kin, const uint16_t *W, const float *prepared, float *y);
typedef void mbk_bf16_round_fn(size_t n, const float *x, uint16_t *y);
typedef void mbk_bf16_clip_fn(size_t n, const float *x, float *y);

typedef struct mbk_gemm_inner {
    const char *isa;
    int columns;                 /* of a panel */
    mbk_tile_pack_fn *tile_pack; /* packed: Nout rounded up to columns, times Kin, floats */
    mbk_tile_fwd_fn *tile_fwd;
    mbk_row_fwd_fn *row_fwd;
    mbk_row16_prepare_fn *row16_prepare;
    mbk_row16_fwd_fn *row16_fwd;
    mbk_bf16_round_fn *bf16_round;
    mbk_bf16_clip_fn *bf16_clip;
} mbk_gemm_inner;

/* The table of an instruction set, as mbk_ops names it; NULL when this build or processor lacks it. */
const mbk_gemm_inner *mbk_gemm_inner_isa(const char *isa);
#endif
