/* Product with packed weights; one source for all instruction sets, in the compiler's vector types.
 *
 * A block of ROWS x COLS outputs stays in registers while k runs: COLS weights are loaded, each of ROWS inputs is
 * broadcast and multiplied in. Panels of weights go from L2 to L1 once for each block of rows; a panel of
 * MBK_TILE_DEPTH x COLS floats (16-32 KiB) stays in L1. */
#include <string.h>

#include "kernels/gemm_tile.h"

#if defined(MBK_ISA_avx512) /* 32 registers of 16 */
#define LANES 16
#define VECS  2
#define ROWS  12
#elif defined(MBK_ISA_avx2) /* 16 registers of 8 */
#define LANES 8
#define VECS  2
#define ROWS  6
#elif defined(MBK_ISA_neon) /* 32 registers of 4 */
#define LANES 4
#define VECS  4
#define ROWS  6
#else /* 16 registers of 4 */
#define LANES 4
#define VECS  2
#define ROWS  4
#endif
#define COLS (LANES * VECS)

#define CAT2(a, b) a##_##b
#define CAT(a, b)  CAT2(a, b)
#define NAME(f)    CAT(f, MBK_ISA)

typedef float vf __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

mbk_tile_columns_fn NAME(mbk_tile_columns);
mbk_tile_pack_fn NAME(mbk_tile_pack);
mbk_tile_fwd_fn NAME(mbk_tile_fwd);

int NAME(mbk_tile_columns)(void) {
    return COLS;
}

/* packed: [panel][k][column] */
void NAME(mbk_tile_pack)(int Nout, int Kin, const float *W, float *packed) {
    for (int n = 0; n < Nout; n += COLS) {
        float *panel = packed + (ptrdiff_t)n * Kin;
        for (int c = 0; c < COLS; c++)
            for (int k = 0; k < Kin; k++)
                panel[(ptrdiff_t)k * COLS + c] = n + c < Nout ? W[(ptrdiff_t)(n + c) * Kin + k] : 0.0f;
    }
}

/* What one block works on; ldx = Kin, ldy = Nout. */
typedef struct span {
    int cols, depth, add;
    ptrdiff_t ldx, ldy;
} span;

/* rows is a constant where this is inlined, so that s lies in registers */
static inline __attribute__((always_inline)) void block(int rows, const span *d, const float *panel, const float *X,
                                                        float *Y) {
    vf s[ROWS][VECS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < VECS; v++)
            s[r][v] = (vf){0};
    for (int k = 0; k < d->depth; k++) {
        vf w[VECS];
        for (int v = 0; v < VECS; v++)
            w[v] = *(const vf *)(panel + (ptrdiff_t)k * COLS + v * LANES);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < VECS; v++)
                s[r][v] += X[r * d->ldx + k] * w[v];
    }
    if (d->cols == COLS) {
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < VECS; v++) {
                vf *y = (vf *)(Y + r * d->ldy + v * LANES);
                if (d->add)
                    s[r][v] += *y;
                *y = s[r][v];
            }
        return;
    }
    float edge[ROWS][COLS];
    for (int r = 0; r < rows; r++)
        memcpy(edge[r], s[r], sizeof edge[r]);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < d->cols; c++) {
            float *y = Y + r * d->ldy + c;
            *y = edge[r][c] + (d->add ? *y : 0.0f);
        }
}

static void all_rows(int M, const span *d, const float *panel, const float *X, float *Y) {
    int m = 0;
    for (; m + ROWS <= M; m += ROWS)
        block(ROWS, d, panel, X + m * d->ldx, Y + m * d->ldy);
    for (; m + 4 <= M && ROWS > 4; m += 4)
        block(4, d, panel, X + m * d->ldx, Y + m * d->ldy);
    for (; m + 2 <= M; m += 2)
        block(2, d, panel, X + m * d->ldx, Y + m * d->ldy);
    for (; m < M; m++)
        block(1, d, panel, X + m * d->ldx, Y + m * d->ldy);
}

void NAME(mbk_tile_fwd)(int M, int Nout, int Kin, const float *packed, const float *X, float *Y, int accumulate) {
    for (int k = 0; k < Kin; k += MBK_TILE_DEPTH)
        for (int n = 0; n < Nout; n += COLS) {
            const span d = {.cols = Nout - n < COLS ? Nout - n : COLS,
                            .depth = Kin - k < MBK_TILE_DEPTH ? Kin - k : MBK_TILE_DEPTH,
                            .add = accumulate || k > 0,
                            .ldx = Kin,
                            .ldy = Nout};
            all_rows(M, &d, packed + (ptrdiff_t)n * Kin + (ptrdiff_t)k * COLS, X + k, Y + n);
        }
}
