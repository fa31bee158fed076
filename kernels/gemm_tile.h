/* The house's own product with packed weights, for processors and precisions that no library serves:
 *   Y(M,Nout) = X(M,Kin) * W^T, or Y += with accumulate; X, Y contiguous, fp32.
 * W (Nout,Kin) row-major is packed once into panels of mbk_tile_columns() columns, zeros beyond Nout.
 * Each output is one chain of multiply-adds over Kin, cut every MBK_TILE_DEPTH: its bits do not depend on M, on the
 * row's place nor on its neighbours. Rate: about that of OpenBLAS' sgemm on large matrices and above it on tiles. */
#ifndef MBK_GEMM_TILE_H
#define MBK_GEMM_TILE_H
#include "kernels/kernel.h"

#define MBK_TILE_DEPTH 256

typedef int mbk_tile_columns_fn(void);
typedef void mbk_tile_pack_fn(int Nout, int Kin, const float *W, float *packed);
typedef void mbk_tile_fwd_fn(int M, int Nout, int Kin, const float *packed, const float *X, float *Y, int accumulate);

mbk_tile_columns_fn mbk_tile_columns;
mbk_tile_pack_fn mbk_tile_pack; /* packed: ceil(Nout / columns) * columns * Kin floats */
mbk_tile_fwd_fn mbk_tile_fwd;
#endif
