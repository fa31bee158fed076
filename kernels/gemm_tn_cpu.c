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
 * last, and a step adds both. Without them the packed floats are rounded to bf16. */
#include "kernels/gemm.h"
#include "kernels/gemm_lib.h"
#include "kernels/simd.h"

enum {
    VECTORS = VLANES == 4 && VREGISTERS == 32 ? 4 : 2, /* of a panel */
    COLUMNS = VECTORS * VLANES,
    ROWS = VREGISTERS == 32 ? (VECTORS == 4 ? 6 : 12) : (VLANES == 4 ? 4 : 6),
    MORE = ROWS > 8 ? 8 : 4,
    DEPTH = 256,      /* cells of a chain */
    TALL = 16 * ROWS, /* rows of C at a time */
    WIDE = 512,       /* columns of C at a time: B's panels, 512 KiB, stay in L2 */
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

/* ---- packing ---------------------------------------------------------------------------------------------------- */

/* Columns of A or B for one chain. */
typedef struct source {
    const float *at;
    ptrdiff_t ld;
    int columns;
    int terms; /* of k */
    int cells; /* terms, or their pairs */
} source;

/* `width` cells of place c, of the columns that start at x; zero beyond `columns` and beyond the last term. */
VINLINE void pack_pairs(const source *s, int c, const float *x, int columns, int width, float *to) {
    const float *even = x + 2 * c * s->ld, *odd = even + s->ld;
    const int last = 2 * c + 1 == s->terms;
    for (int i = 0; i < width; i += VLANES) {
        const int n = columns - i;
        const vf p = n > 0 ? v_load_n(even + i, n) : (vf){0}, q = n > 0 && !last ? v_load_n(odd + i, n) : (vf){0};
        v_store_n(to + i, v_pair(p, q), width - i);
    }
}

/* The rows of the next strip when `left` remain. */
static int strip_rows(int left) {
    return left >= ROWS ? ROWS : left >= MORE ? MORE : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* The strip that begins with column i begins at cell i * cells. */
static void pack_strips(const source *s, enum kind kind, float *to) {
    for (int c = 0; c < s->cells; c++)
        for (int i = 0, rows; i < s->columns; i += rows) {
            rows = strip_rows(s->columns - i);
            float *strip = to + (ptrdiff_t)i * s->cells + (ptrdiff_t)c * rows;
            const float *x = s->at + i;
            if (kind == PAIRS)
                pack_pairs(s, c, x, rows, rows, strip);
            else if (rows == ROWS)
                memcpy(strip, x + c * s->ld, ROWS * sizeof *strip);
            else
                for (int r = 0; r < rows; r++)
                    strip[r] = x[c * s->ld + r];
        }
    if (kind == ROUNDED)
        round_cells(s->columns * s->cells, to);
}

/* The last panel may be a narrow one. */
static int panel_width(int left) {
    return left > COLUMNS / 2 ? COLUMNS : COLUMNS / 2;
}

static int panels_width(int columns) {
    return columns / COLUMNS * COLUMNS + (columns % COLUMNS ? panel_width(columns % COLUMNS) : 0);
}

/* The panel that begins with column j begins at cell j * cells. */
static void pack_panels(const source *s, enum kind kind, float *to) {
    for (int c = 0; c < s->cells; c++)
        for (int j = 0; j < s->columns; j += COLUMNS) {
            const int left = s->columns - j, width = panel_width(left);
            float *panel = to + (ptrdiff_t)j * s->cells + (ptrdiff_t)c * width;
            const float *x = s->at + j;
            if (kind == PAIRS)
                pack_pairs(s, c, x, left, width, panel);
            else
                for (int i = 0; i < width; i += VLANES)
                    v_store(panel + i, left > i ? v_load_n(x + c * s->ld + i, left - i) : (vf){0});
        }
    if (kind == ROUNDED)
        round_cells(panels_width(s->columns) * s->cells, to);
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

static void strips_of_floats(int m, const span *d, const float *a, float *C) {
    strips(0, m, d, a, C);
}

static void strips_of_pairs(int m, const span *d, const float *a, float *C) {
    strips(1, m, d, a, C);
}

/* ---- the product ------------------------------------------------------------------------------------------------ */

static int smaller(int a, int b) {
    return a < b ? a : b;
}

/* Terms k .. k + terms of the columns n .. n + columns of B. */
static void chain(const mbk_gemm_tn *p, enum kind kind, int64_t k, int terms, int n, float *packed) {
    const int cells = kind == PAIRS ? (terms + 1) / 2 : terms;
    const source b = {p->B + k * p->ldb + n, p->ldb, smaller(p->n - n, WIDE), terms, cells};
    float *strips_at = packed + (ptrdiff_t)panels_width(b.columns) * cells;
    const span d = {
        .cells = cells, .columns = b.columns, .add = p->accumulate || k > 0, .panels = packed, .ldc = p->ldc};
    pack_panels(&b, kind, packed);
    for (int m = 0; m < p->m; m += TALL) {
        const source a = {p->A + k * p->lda + m, p->lda, smaller(p->m - m, TALL), terms, cells};
        pack_strips(&a, kind, strips_at);
        (kind == PAIRS ? strips_of_pairs : strips_of_floats)(a.columns, &d, strips_at, p->C + m * p->ldc + n);
    }
}

mbk_gemm_tn_fn MBK_NAME(gemm_tn);
int MBK_NAME(gemm_tn)(const mbk_ctx *ctx, const mbk_gemm_tn *p) {
    (void)ctx;
    MBK_ASSERT(p->k >= 1 && p->m >= 1 && p->n >= 1 && p->A && p->B && p->C);
    MBK_ASSERT(p->lda >= p->m && p->ldb >= p->n && p->ldc >= p->n);
    const enum kind kind = p->precision != MBK_BF16 ? FLOATS : pairs_here() ? PAIRS : ROUNDED;
    const int depth = kind == PAIRS ? 2 * DEPTH : DEPTH;
    const size_t columns = (size_t)panels_width(smaller(p->n, WIDE)) + (size_t)smaller(p->m, TALL);
    float *packed = mbk_scratch_get(MBK_SCRATCH_TN, columns * DEPTH * sizeof *packed);
    if (!packed)
        return MB_NOMEM;
    for (int n = 0; n < p->n; n += WIDE)
        for (int64_t k = 0; k < p->k; k += depth)
            chain(p, kind, k, p->k - k < depth ? (int)(p->k - k) : depth, n, packed);
    return MB_OK;
}
