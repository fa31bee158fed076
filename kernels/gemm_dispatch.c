/* The variants of gemv.h and gemm_tile.h for the instruction set that the table of operations chose. */
#include <pthread.h>
#include <string.h>

#include "kernels/gemm_tile.h"
#include "kernels/gemv.h"
#include "kernels/ops.h"

typedef struct variant {
    const char *isa;
    mbk_gemv_fn *gemv;
    mbk_gemv_bf16_fn *gemv_bf16;
    mbk_gemv_prepare_fn *prepare;
    mbk_bf16_round_fn *round;
    mbk_bf16_clip_fn *clip;
    mbk_tile_columns_fn *columns;
    mbk_tile_pack_fn *pack;
    mbk_tile_fwd_fn *tile;
} variant;

#define DECLARE(isa)                                                                                                   \
    mbk_gemv_fn mbk_gemv_##isa;                                                                                        \
    mbk_gemv_bf16_fn mbk_gemv_bf16_##isa;                                                                              \
    mbk_gemv_prepare_fn mbk_gemv_prepare_##isa;                                                                        \
    mbk_bf16_round_fn mbk_bf16_round_##isa;                                                                            \
    mbk_bf16_clip_fn mbk_bf16_clip_##isa;                                                                              \
    mbk_tile_columns_fn mbk_tile_columns_##isa;                                                                        \
    mbk_tile_pack_fn mbk_tile_pack_##isa;                                                                              \
    mbk_tile_fwd_fn mbk_tile_fwd_##isa;
#define ROW(isa)                                                                                                       \
    {#isa,                                                                                                             \
     mbk_gemv_##isa,                                                                                                   \
     mbk_gemv_bf16_##isa,                                                                                              \
     mbk_gemv_prepare_##isa,                                                                                           \
     mbk_bf16_round_##isa,                                                                                             \
     mbk_bf16_clip_##isa,                                                                                              \
     mbk_tile_columns_##isa,                                                                                           \
     mbk_tile_pack_##isa,                                                                                              \
     mbk_tile_fwd_##isa},

#ifdef MBK_HAVE_ISA_avx512
DECLARE(avx512)
#endif
#ifdef MBK_HAVE_ISA_avx2
DECLARE(avx2)
#endif
#ifdef MBK_HAVE_ISA_neon
DECLARE(neon)
#endif
#ifdef MBK_HAVE_ISA_generic
DECLARE(generic)
#endif

static const variant variants[] = {
#ifdef MBK_HAVE_ISA_avx512
    ROW(avx512)
#endif
#ifdef MBK_HAVE_ISA_avx2
        ROW(avx2)
#endif
#ifdef MBK_HAVE_ISA_neon
            ROW(neon)
#endif
#ifdef MBK_HAVE_ISA_generic
                ROW(generic)
#endif
};

static const variant *chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void) {
    const char *isa = mbk_ops_cpu()->isa;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
        if (!strcmp(variants[i].isa, isa))
            chosen = &variants[i];
    MBK_ASSERT(chosen);
}

static const variant *best(void) {
    pthread_once(&once, choose);
    return chosen;
}

void mbk_gemv(int n0, int n1, int Kin, const float *W, const float *x, float *y) {
    best()->gemv(n0, n1, Kin, W, x, y);
}

void mbk_gemv_bf16(int n0, int n1, int Kin, const uint16_t *W, const float *prepared, float *y) {
    best()->gemv_bf16(n0, n1, Kin, W, prepared, y);
}

void mbk_gemv_prepare(int Kin, const float *x, float *prepared) {
    best()->prepare(Kin, x, prepared);
}

void mbk_bf16_round(size_t n, const float *x, uint16_t *y) {
    best()->round(n, x, y);
}

void mbk_bf16_clip(size_t n, const float *x, float *y) {
    best()->clip(n, x, y);
}

int mbk_tile_columns(void) {
    return best()->columns();
}

void mbk_tile_pack(int Nout, int Kin, const float *W, float *packed) {
    best()->pack(Nout, Kin, W, packed);
}

void mbk_tile_fwd(int M, int Nout, int Kin, const float *packed, const float *X, float *Y, int accumulate) {
    best()->tile(M, Nout, Kin, packed, X, Y, accumulate);
}
