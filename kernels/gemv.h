/* One row times a weight matrix, and rounding to bf16: what the matrix product needs beside a library.
 *   y[n] = sum_k W[n,k] * x[k],  n0 <= n < n1;  W (Nout,Kin) row-major, y points to column 0, fp32 sums.
 * W is read once, at the speed of memory. The bits of y[n] do not depend on n0 and n1.
 * For bf16 weights x is prepared first (mbk_gemv_prepare): rounded to bf16 and, in each whole block of
 * MBK_GEMV_BLOCK, the values at even places moved before those at odd places, so that a shift and a mask are all it
 * takes to widen the weights. The functions of this header run the variant that mbk_ops_cpu()->isa names. */
#ifndef MBK_GEMV_H
#define MBK_GEMV_H
#include "kernels/kernel.h"

#define MBK_GEMV_BLOCK 32

typedef void mbk_gemv_fn(int n0, int n1, int Kin, const float *W, const float *x, float *y);
typedef void mbk_gemv_bf16_fn(int n0, int n1, int Kin, const uint16_t *W, const float *prepared, float *y);
typedef void mbk_gemv_prepare_fn(int Kin, const float *x, float *prepared);
/* y[i] = bf16(x[i]), as kernels/gemm_bf16.h defines it. */
typedef void mbk_bf16_round_fn(size_t n, const float *x, uint16_t *y);
/* The same, back in a float. y may be x. */
typedef void mbk_bf16_clip_fn(size_t n, const float *x, float *y);

mbk_gemv_fn mbk_gemv;
mbk_gemv_bf16_fn mbk_gemv_bf16;
mbk_gemv_prepare_fn mbk_gemv_prepare;
mbk_bf16_round_fn mbk_bf16_round;
mbk_bf16_clip_fn mbk_bf16_clip;
#endif
