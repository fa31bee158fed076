/* What gemm_linear.c asks of the library behind it: gemm_onednn.c, or gemm_none.c where there is none.
 *
 * A library serves a handle when its product with packed weights is fast here, takes one thread and adds up a row in
 * an order that does not depend on the number of rows. Otherwise create returns MB_NOTSUP and the house's own packed
 * kernel (gemm_inner_cpu.c) does the work; mbk_linear_library() says which of the two it is, and why. */
#ifndef MBK_GEMM_LIB_H
#define MBK_GEMM_LIB_H
#include "kernels/gemm.h"

typedef struct mbk_lib mbk_lib;

/* W16: the weights in bf16, in the layout of W, read during the call only, when the precision is MBK_BF16, else NULL.
 */
int mbk_lib_create(mbk_lib **out, const mbk_linear_spec *spec, const uint16_t *W16);
/* Packs the weights again, from where create found them or, in bf16, from W16. */
int mbk_lib_update(mbk_lib *lib, const uint16_t *W16);
void mbk_lib_destroy(mbk_lib *lib); /* NULL is fine */
/* 1 <= M <= M_typical. X (M,Kin): float, or bf16 with MBK_BF16. */
int mbk_lib_fwd(const mbk_lib *lib, int M, const void *X, float *Y, int accumulate);
size_t mbk_lib_bytes(const mbk_linear_spec *spec);
/* NULL when the library serves this precision on this processor; else why not. */
const char *mbk_lib_refusal(mbk_precision precision);
const char *mbk_lib_name(void); /* with its version */

/* Scratch of the calling thread, 64-byte aligned, grown when needed and kept until the thread ends; NULL when memory
 * is out. Contents last until the next call with the same use. */
enum mbk_scratch { MBK_SCRATCH_INPUT, MBK_SCRATCH_LIBRARY, MBK_SCRATCH_TN, MBK_SCRATCH_USES };
void *mbk_scratch_get(enum mbk_scratch use, size_t bytes);
/* Page-aligned heap for weights, huge pages asked for; release with free. */
void *mbk_linear_block(size_t bytes);
#endif
