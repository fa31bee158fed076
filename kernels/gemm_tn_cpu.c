/* C(m,n) (+)= A(k,m)^T B(k,n), the gradient of a weight; one source for all instruction sets.
 *
 * Both matrices already run over k in the direction in which a block of C takes them, so packing copies: A into strips
 * of ROWS columns, [k][ROWS], B into panels of COLUMNS, [k][COLUMNS], both for DEPTH terms of k at a time. A block of
 * ROWS x COLUMNS sums stays in registers while k runs; then it is added to C.
 *
 * An element of C is a chain of DEPTH multiply-adds at a time, and the chains are added in the order of k: its bits
 * depend on nothing else, whatever m, n and the place of the block, and rounding errors grow with DEPTH + k / DEPTH,
 * not with k.
 *
 * bf16 with the processor's dot products: a cell of 32 bits holds the terms k and k + 1 of a column, zero beyond the
 * last, and a step adds both; subnormal numbers become zero. Without them the packed floats are rounded to bf16.
 *
 * Against oneDNN 2.6 (matmul with its source in format ba; sgemm with A transposed), Gflop/s of one core of a busy Zen
 * 4 whose multiply-adds reach 115: k=4096 m=1024 n=256: 105 here, 96, 98; m=256 n=512: 102, 101, 111; m=3072 n=768:
 * 104, 103, 108; m=48 n=512: 85, 80, 105; m=512 n=16: 70, 66, 79. In bf16, inputs in float, 185-200 on the large ones.
 * Its sgemm would gain on the narrow ones, 2-6 % of a model's products; but it promises no bits, though they were the
 * same however C was cut, and it has kernels to choose from by m, n and k. */
#include "kernels/gemm.h"
#include "kernels/gemm_lib.h"
#include "kernels/simd.h"

enum {
    VECTORS = VLANES == 4 && VREGISTERS == 32 ? 4 : 2, /* of a panel */
    COLUMNS = VECTORS * VLANES,
    ROWS = VREGISTERS == 32 ? (VECTORS == 4 ? 6 : 12) : (VLANES == 4 ? 4 : 6),
    MORE = ROWS > 8 ? 8 : 4, /* of what ROWS leaves */
    RUN = 8,                 /* rows of A or B that are packed side by side */
    DEPTH = 256,             /* cells of a chain */
    TALL = 16 * ROWS,        /* rows of C at a time */
    WIDE = 512,              /* columns of C at a time: with the strips at most 704 KiB packed, which stay in L2 */
};

/* What a cell is: one float, one float rounded to bf16, two numbers in bf16. */
enum kind { FLOATS, ROUNDED, PAIRS };

/* ---- cells ------------------------------------------------------------------------------------------------------ */

#if defined(MBK_ISA_avx512)
/* In assembly, so that the loops around need not be compiled twice: the compiler is not told of AVX512_BF16. */
VINLINE vf v_add_pairs(vf s, vf a, vf b) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(s) : "v"(a), "v"(b));
    return s;
}
VINLINE vf v_pair(vf even, vf odd) {
    const vi lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const __m512i order = (__m512i)(lane | (lane + 16) << 16);
    __m512i both;
    __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(both) : "v"(odd), "v"(even));
    return (vf)_mm512_permutexvar_epi16(order, both);
}
static int pairs_here(void) {
    return !!__builtin_cpu_supports("avx512bf16");
}
#else
VINLINE vf v_add_pairs(vf s, vf a, vf b) {
    (void)a;
    (void)b;
    return s;
}
VINLINE vf v_pair(vf even, vf odd) {
    (void)odd;
    return even;
}
static int pairs_here(void) {
    return 0;
}
#endif

/* One cell everywhere, its bits as they are. */
VINLINE vf v_cell(const float *p) {
    int32_t bits;
    memcpy(&bits, p, sizeof bits);
    return (vf)((vi){0} + bits);
}

/* As gemm_bf16.h rounds. */
VINLINE vf v_clip(vf x) {
    const vi u = (vi)x, rounded = (u + 0x7fff + ((u >> 16) & 1)) & -0x10000, quiet = (u & -0x10000) | 0x400000;
    return v_select((u & 0x7fffffff) > 0x7f800000, (vf)quiet, (vf)rounded);
}

static void round_cells(int count, float *cells) {
    for (int i = 0; i < count; i += VLANES)
        v_store_n(cells + i, v_clip(v_load_n(cells + i, count - i)), count - i);
}

static int smaller(int a, int b) {
    return a < b ? a : b;
}

/* ---- packing ---------------------------------------------------------------------------------------------------- */

/* Columns of A or B for one chain. */
typedef struct source {
    const float *at;
    ptrdiff_t ld;
    int columns;
    int terms; /* of k */
    int cells; /* terms, or their pairs */
} source;

/* Places first .. last of the `columns` columns at x, `width` cells each; zero beyond the columns and the last term. */
VINLINE void pack_cells(const int pairs, const int width, const source *s, int first, int last, const float *x,
                        int columns, float *to) {
    for (int c = first; c < last; c++) {
        const float *row = x + (pairs ? 2 * c : c) * s->ld, *next = 2 * c + 1 < s->terms ? row + s->ld : NULL;
        float *cells = to + (ptrdiff_t)c * width;
        if (!pairs && columns == width) {
            memcpy(cells, row, (size_t)width * sizeof *cells);
            continue;
        }
        VUNROLL
        for (int i = 0; i < width; i += VLANES) {
            const int n = columns - i;
            vf v = n > 0 ? v_load_n(row + i, n) : (vf){0};
            if (pairs)
                v = v_pair(v, n > 0 && next ? v_load_n(next + i, n) : (vf){0});
            v_store_n(cells + i, v, width - i);
        }
    }
}

/* The rows of the next strip when `left` remain. */
static int strip_rows(int left) {
    return left >= ROWS ? ROWS : left >= MORE ? MORE : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* The strip that begins with column i begins at cell i * cells. RUN rows of A at a time. */
VINLINE void pack_strips(const int pairs, const source *s, float *to) {
    for (int c = 0; c < s->cells; c += pairs ? RUN / 2 : RUN)
        for (int i = 0, rows; i < s->columns; i += rows) {
            const int last = smaller(c + (pairs ? RUN / 2 : RUN), s->cells);
            float *strip = to + (ptrdiff_t)i * s->cells;
            const float *x = s->at + i;
            rows = strip_rows(s->columns - i);
            if (rows == ROWS)
                pack_cells(pairs, ROWS, s, c, last, x, ROWS, strip);
            else if (rows == MORE)
                pack_cells(pairs, MORE, s, c, last, x, MORE, strip);
            else if (rows == 4)
                pack_cells(pairs, 4, s, c, last, x, 4, strip);
            else if (rows == 2)
                pack_cells(pairs, 2, s, c, last, x, 2, strip);
            else
                pack_cells(pairs, 1, s, c, last, x, 1, strip);
        }
}

/* The last panel may be a narrow one. */
static int panel_width(int left) {
    return left > COLUMNS / 2 ? COLUMNS : COLUMNS / 2;
}

static int panels_width(int columns) {
    return columns / COLUMNS * COLUMNS + (columns % COLUMNS ? panel_width(columns % COLUMNS) : 0);
}

/* The panel that begins with column j begins at cell j * cells. RUN rows of B at a time. */
VINLINE void pack_panels(const int pairs, const source *s, float *to) {
    for (int c = 0; c < s->cells; c += pairs ? RUN / 2 : RUN)
        for (int j = 0; j < s->columns; j += COLUMNS) {
            const int left = s->columns - j, last = smaller(c + (pairs ? RUN / 2 : RUN), s->cells);
            float *panel = to + (ptrdiff_t)j * s->cells;
            const float *x = s->at + j;
            if (left >= COLUMNS)
                pack_cells(pairs, COLUMNS, s, c, last, x, COLUMNS, panel);
            else if (panel_width(left) == COLUMNS)
                pack_cells(pairs, COLUMNS, s, c, last, x, left, panel);
            else
                pack_cells(pairs, COLUMNS / 2, s, c, last, x, left, panel);
        }
}

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

typedef struct span {
    int cells, columns, add;
    const float *panels;
    ptrdiff_t ldc;
} span;

VINLINE void block(const int rows, const int vectors, const int pairs, const span *d, const float *a, int j, float *C) {
    vf s[ROWS][VECTORS];
    const float *b = d->panels + (ptrdiff_t)j * d->cells;
    VUNROLL
    for (int r = 0; r < rows; r++) {
        VUNROLL
        for (int v = 0; v < vectors; v++)
            s[r][v] = (vf){0};
    }
    for (int c = 0; c < d->cells; c++, a += rows, b += vectors * VLANES) {
        vf w[VECTORS];
        VUNROLL
        for (int v = 0; v < vectors; v++)
            w[v] = v_load(b + v * VLANES);
        VUNROLL
        for (int r = 0; r < rows; r++) {
            VUNROLL
            for (int v = 0; v < vectors; v++)
                s[r][v] = pairs ? v_add_pairs(s[r][v], v_cell(a + r), w[v]) : s[r][v] + a[r] * w[v];
        }
    }
    VUNROLL
    for (int r = 0; r < rows; r++) {
        VUNROLL
        for (int v = 0; v < vectors; v++) {
            const int n = d->columns - j - v * VLANES;
            float *y = C + r * d->ldc + j + v * VLANES;
            if (n > 0)
                v_store_n(y, d->add ? s[r][v] + v_load_n(y, n) : s[r][v], n);
        }
    }
}

VINLINE void strip(const int rows, const int pairs, const span *d, const float *a, float *C) {
    for (int j = 0; j < d->columns; j += COLUMNS)
        if (panel_width(d->columns - j) == COLUMNS)
            block(rows, VECTORS, pairs, d, a, j, C);
        else
            block(rows, VECTORS / 2, pairs, d, a, j, C);
}

VINLINE void strips(const int pairs, int m, const span *d, const float *a, float *C) {
    for (int i = 0, rows; i < m; i += rows) {
        rows = strip_rows(m - i);
        const float *from = a + (ptrdiff_t)i * d->cells;
        float *to = C + i * d->ldc;
        if (rows == ROWS)
            strip(ROWS, pairs, d, from, to);
        else if (rows == MORE)
            strip(MORE, pairs, d, from, to);
        else if (rows == 4)
            strip(4, pairs, d, from, to);
        else if (rows == 2)
            strip(2, pairs, d, from, to);
        else
            strip(1, pairs, d, from, to);
    }
}

/* ---- the product ------------------------------------------------------------------------------------------------ */

/* Terms k .. k + terms of the columns n .. n + columns of B. */
VINLINE void chain(const enum kind kind, const mbk_gemm_tn *p, int64_t k, int terms, int n, float *packed) {
    const int pairs = kind == PAIRS, cells = pairs ? (terms + 1) / 2 : terms;
    const source b = {p->B + k * p->ldb + n, p->ldb, smaller(p->n - n, WIDE), terms, cells};
    const int width = panels_width(b.columns) * cells;
    const span d = {
        .cells = cells, .columns = b.columns, .add = p->accumulate || k > 0, .panels = packed, .ldc = p->ldc};
    pack_panels(pairs, &b, packed);
    if (kind == ROUNDED)
        round_cells(width, packed);
    for (int m = 0; m < p->m; m += TALL) {
        const source a = {p->A + k * p->lda + m, p->lda, smaller(p->m - m, TALL), terms, cells};
        pack_strips(pairs, &a, packed + width);
        if (kind == ROUNDED)
            round_cells(a.columns * cells, packed + width);
        strips(pairs, a.columns, &d, packed + width, p->C + m * p->ldc + n);
    }
}

static void chain_of_floats(const mbk_gemm_tn *p, int64_t k, int terms, int n, float *packed) {
    chain(p->precision == MBK_BF16 ? ROUNDED : FLOATS, p, k, terms, n, packed);
}

static void chain_of_pairs(const mbk_gemm_tn *p, int64_t k, int terms, int n, float *packed) {
    chain(PAIRS, p, k, terms, n, packed);
}

mbk_gemm_tn_fn MBK_NAME(gemm_tn);
int MBK_NAME(gemm_tn)(const mbk_ctx *ctx, const mbk_gemm_tn *p) {
    (void)ctx;
    MBK_ASSERT(p->k >= 1 && p->m >= 1 && p->n >= 1 && p->A && p->B && p->C);
    MBK_ASSERT(p->lda >= p->m && p->ldb >= p->n && p->ldc >= p->n);
    if (p->precision == MBK_TF32)
        return MB_NOTSUP;
    const int pairs = p->precision == MBK_BF16 && pairs_here(), depth = pairs ? 2 * DEPTH : DEPTH;
    const size_t columns = (size_t)panels_width(smaller(p->n, WIDE)) + (size_t)smaller(p->m, TALL);
    float *packed = mbk_scratch_get(MBK_SCRATCH_TN, columns * DEPTH * sizeof *packed);
    if (!packed)
        return MB_NOMEM;
    for (int n = 0; n < p->n; n += WIDE)
        for (int64_t k = 0; k < p->k; k += depth)
            (pairs ? chain_of_pairs : chain_of_floats)(p, k, p->k - k < depth ? (int)(p->k - k) : depth, n, packed);
    return MB_OK;
}
