/* The loops of gemm_inner.h; one source for all instruction sets.
 *
 * Tiles: a block of TILE_ROWS x COLUMNS outputs stays in registers while k runs; COLUMNS weights are loaded and each of
 * TILE_ROWS inputs is broadcast and multiplied in. A panel of MBK_TILE_DEPTH x COLUMNS weights (8-32 KiB) stays in L1
 * while the rows of the tile pass.
 * One row: W is read once from end to end, one row after the other: a single stream, which the prefetcher follows best
 * (four rows side by side reached 0.7 of its rate). CHAINS times 16 partial sums hide the latency of the additions and
 * are added in one order, so the bits of an output depend neither on the range nor on its neighbours. */
#include "kernels/gemm_bf16.h"
#include "kernels/gemm_inner.h"
#include "kernels/simd.h"

enum {
    VECTORS = VLANES == 4 && VREGISTERS == 32 ? 4 : 2, /* of a panel */
    COLUMNS = VECTORS * VLANES,
    TILE_ROWS = VREGISTERS == 32 ? (VECTORS == 4 ? 6 : 12) : (VLANES == 4 ? 4 : 6),
    SUMS = 16 / VLANES,
    CHAINS = VLANES == 16 ? 8 : (VLANES == 8 ? 4 : 2), /* of one row's sums, each of SUMS vectors */
    BLOCK = 32,                                        /* of prepared inputs */
};

/* ---- tiles ------------------------------------------------------------------------------------------------------ */

/* packed: [panel][k][column] */
static void tile_pack(int Nout, int Kin, int transposed, const float *W, float *packed) {
    for (int n = 0; n < Nout; n += COLUMNS) {
        float *panel = packed + (ptrdiff_t)n * Kin;
        for (int k = 0; transposed && k < Kin; k++)
            for (int c = 0; c < COLUMNS; c++)
                panel[(ptrdiff_t)k * COLUMNS + c] = n + c < Nout ? W[(ptrdiff_t)k * Nout + n + c] : 0.0f;
        for (int c = 0; !transposed && c < COLUMNS; c++)
            for (int k = 0; k < Kin; k++)
                panel[(ptrdiff_t)k * COLUMNS + c] = n + c < Nout ? W[(ptrdiff_t)(n + c) * Kin + k] : 0.0f;
    }
}

/* A panel cut to a depth: what one block works on. */
typedef struct span {
    int columns, depth, add;
    ptrdiff_t ldx, ldy; /* Kin, Nout */
} span;

VINLINE void tile_block(const int rows, const span *d, const float *panel, const float *X, float *Y) {
    vf s[TILE_ROWS][VECTORS];
    VUNROLL
    for (int r = 0; r < rows; r++) {
        VUNROLL
        for (int v = 0; v < VECTORS; v++)
            s[r][v] = (vf){0};
    }
    for (int k = 0; k < d->depth; k++) {
        vf w[VECTORS];
        VUNROLL
        for (int v = 0; v < VECTORS; v++)
            w[v] = v_load(panel + (ptrdiff_t)k * COLUMNS + v * VLANES);
        VUNROLL
        for (int r = 0; r < rows; r++) {
            VUNROLL
            for (int v = 0; v < VECTORS; v++)
                s[r][v] += X[r * d->ldx + k] * w[v];
        }
    }
    VUNROLL
    for (int r = 0; r < rows; r++) {
        VUNROLL
        for (int v = 0; v < VECTORS; v++) {
            const int n = d->columns - v * VLANES;
            float *y = Y + r * d->ldy + v * VLANES;
            if (n > 0)
                v_store_n(y, d->add ? s[r][v] + v_load_n(y, n) : s[r][v], n);
        }
    }
}

static void tile_rows(int M, const span *d, const float *panel, const float *X, float *Y) {
    int m = 0;
    for (; m + TILE_ROWS <= M; m += TILE_ROWS)
        tile_block(TILE_ROWS, d, panel, X + m * d->ldx, Y + m * d->ldy);
    for (; m + 4 <= M; m += 4)
        tile_block(4, d, panel, X + m * d->ldx, Y + m * d->ldy);
    for (; m < M; m++)
        tile_block(1, d, panel, X + m * d->ldx, Y + m * d->ldy);
}

/* One panel of columns at a time, so that the strip of Y that the depths of Kin add up stays near. */
static void tile_fwd(int M, int Nout, int Kin, const float *packed, const float *X, float *Y, int accumulate) {
    for (int n = 0; n < Nout; n += COLUMNS)
        for (int k = 0; k < Kin; k += MBK_TILE_DEPTH) {
            const span d = {.columns = Nout - n < COLUMNS ? Nout - n : COLUMNS,
                            .depth = Kin - k < MBK_TILE_DEPTH ? Kin - k : MBK_TILE_DEPTH,
                            .add = accumulate || k > 0,
                            .ldx = Kin,
                            .ldy = Nout};
            tile_rows(M, &d, packed + (ptrdiff_t)n * Kin + (ptrdiff_t)k * COLUMNS, X + k, Y + n);
        }
}

/* ---- one row ---------------------------------------------------------------------------------------------------- */

/* The partial sums of one output in one order. */
VINLINE float row_total(vf s[CHAINS][SUMS]) {
    float lane[16];
    for (int c = 1; c < CHAINS; c++)
        for (int i = 0; i < SUMS; i++)
            s[0][i] += s[c][i];
    for (int i = 0; i < SUMS; i++)
        v_store(lane + i * VLANES, s[0][i]);
    for (int w = 8; w > 0; w /= 2)
        for (int i = 0; i < w; i++)
            lane[i] += lane[i + w];
    return lane[0];
}

/* 16 terms onto one chain. */
VINLINE void add_terms(vf *s, const float *w, const float *x) {
    VUNROLL
    for (int i = 0; i < SUMS; i++)
        s[i] += v_load(w + i * VLANES) * v_load(x + i * VLANES);
}

static float row_dot(int Kin, const float *w, const float *x) {
    vf s[CHAINS][SUMS] = {{{0}}};
    int k = 0;
    for (; k + 16 * CHAINS <= Kin; k += 16 * CHAINS) {
        VUNROLL
        for (int c = 0; c < CHAINS; c++)
            add_terms(s[c], w + k + 16 * c, x + k + 16 * c);
    }
    for (; k + 16 <= Kin; k += 16)
        add_terms(s[0], w + k, x + k);
    float sum = row_total(s);
    for (; k < Kin; k++)
        sum += w[k] * x[k];
    return sum;
}

static void row_fwd(int n0, int n1, int Kin, const float *W, const float *x, float *y) {
    for (int n = n0; n < n1; n++)
        y[n] = row_dot(Kin, W + (ptrdiff_t)n * Kin, x);
}

/* ---- one row, bf16 ---------------------------------------------------------------------------------------------- */

typedef int32_t vi_unaligned __attribute__((vector_size(VBYTES), aligned(2), may_alias));

/* A block of prepared inputs onto two chains: even places are the low halves of the pairs, odd places the high ones. */
VINLINE void add_block16(vf *even, vf *odd, const uint16_t *w, const float *x) {
    VUNROLL
    for (int i = 0; i < SUMS; i++) {
        const vi pairs = *(const vi_unaligned *)(w + 2 * i * VLANES);
        even[i] += (vf)(pairs << 16) * v_load(x + i * VLANES);
        odd[i] += (vf)(pairs & -0x10000) * v_load(x + BLOCK / 2 + i * VLANES);
    }
}

static float row16_dot(int Kin, const uint16_t *w, const float *x) {
    vf s[CHAINS][SUMS] = {{{0}}};
    int k = 0;
    for (; k + BLOCK * CHAINS / 2 <= Kin; k += BLOCK * CHAINS / 2) {
        VUNROLL
        for (int c = 0; c < CHAINS; c += 2)
            add_block16(s[c], s[c + 1], w + k + BLOCK / 2 * c, x + k + BLOCK / 2 * c);
    }
    for (; k + BLOCK <= Kin; k += BLOCK)
        add_block16(s[0], s[1], w + k, x + k);
    float sum = row_total(s);
    for (; k < Kin; k++)
        sum += mbk_bf16_to_float(w[k]) * x[k];
    return sum;
}

static void row16_fwd(int n0, int n1, int Kin, const uint16_t *W, const float *prepared, float *y) {
    for (int n = n0; n < n1; n++)
        y[n] = row16_dot(Kin, W + (ptrdiff_t)n * Kin, prepared);
}

VINLINE float clipped(float v) {
    return mbk_bf16_to_float(mbk_bf16_from_float(v));
}

static void row16_prepare(int Kin, const float *x, float *prepared) {
    int k = 0;
    for (; k + BLOCK <= Kin; k += BLOCK)
        for (int i = 0; i < BLOCK / 2; i++) {
            prepared[k + i] = clipped(x[k + 2 * i]);
            prepared[k + BLOCK / 2 + i] = clipped(x[k + 2 * i + 1]);
        }
    for (; k < Kin; k++)
        prepared[k] = clipped(x[k]);
}

/* ---- rounding --------------------------------------------------------------------------------------------------- */

#if defined(MBK_ISA_avx512)
/* With the processor's own conversion; returns how many it did. Subnormal numbers become zero. */
__attribute__((target("avx512bf16"))) static size_t round_natively(size_t n, const float *x, uint16_t *y) {
    size_t i = 0;
    if (!__builtin_cpu_supports("avx512bf16"))
        return 0;
    for (; i + 32 <= n; i += 32) {
        const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i));
        memcpy(y + i, &both, sizeof both);
    }
    return i;
}
#else
static size_t round_natively(size_t n, const float *x, uint16_t *y) {
    (void)n;
    (void)x;
    (void)y;
    return 0;
}
#endif

static void bf16_round(size_t n, const float *x, uint16_t *y) {
    for (size_t i = round_natively(n, x, y); i < n; i++)
        y[i] = mbk_bf16_from_float(x[i]);
}

static void bf16_clip(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++)
        y[i] = clipped(x[i]);
}

#define NAME_OF(isa)   #isa
#define STRING_OF(isa) NAME_OF(isa)
extern const mbk_gemm_inner MBK_NAME(gemm_inner);
const mbk_gemm_inner MBK_NAME(gemm_inner) = {.isa = STRING_OF(MBK_ISA),
                                             .columns = COLUMNS,
                                             .tile_pack = tile_pack,
                                             .tile_fwd = tile_fwd,
                                             .row_fwd = row_fwd,
                                             .row16_prepare = row16_prepare,
                                             .row16_fwd = row16_fwd,
                                             .bf16_round = bf16_round,
                                             .bf16_clip = bf16_clip};
