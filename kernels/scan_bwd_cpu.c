/* Gradients of the selective scan, fast. Formulas: scan_bwd_ref.c. Channels in lanes, BLOCK rows at a time:
 *   sweep     h before each block, from the first block to the last but one
 *   then for each block from the last to the first, and each strip of channels (STRIP vectors):
 *   prepare   d, u = d*x, softplus', G in rows of the strip
 *   sweep     the block again, keeping a = exp2(d*a2) and h
 *   walk      backwards, the adjoint states g and dA of STATES states in registers:
 *             C += G h;  g += G C;  B += g u;  gB += g B;  g *= a;  w = g h[t-1];  dA += w d;  dd += w a2
 *   finish    dx, ddt, dskip, ddt_bias
 * The sums over channels, dB and dC, stay vectors of lanes through all strips of a block and are reduced at its end.
 * All else of a channel is a sum in an order of its own, so channel ranges do not show in its bits. With L <= BLOCK no
 * exponential is computed twice. Refuses N outside 1..256. Non-finite inputs give non-finite outputs; d*a2 is kept from
 * overflow as in scan_cpu.c. */
#include "kernels/scan.h"
#include "kernels/simd.h"

mbk_scan_bwd_fn MBK_NAME(scan_bwd);
mbk_scan_bwd_scratch_fn MBK_NAME(scan_bwd_scratch);

enum {
    BLOCK = 128,
    STATES = 4,
    STRIP = VREGISTERS >= 32 ? 2 : 1,
    WIDTH = STRIP * VLANES,
    ROUND = 32 /* channels are padded to a multiple of it: of every WIDTH */
};

/* One strip in one block, by row in processing order; zero beyond the last channel. */
typedef struct rows {
    float d[BLOCK][WIDTH], decay[BLOCK][WIDTH]; /* the step, as given and as the decay takes it */
    float u[BLOCK][WIDTH], slope[BLOCK][WIDTH], G[BLOCK][WIDTH];
    float gB[BLOCK][WIDTH], dd[BLOCK][WIDTH]; /* sums over n: g*B; w*a2 */
} rows;

typedef struct cells {
    float a[BLOCK][STATES][WIDTH], h[BLOCK + 1][STATES][WIDTH]; /* h[i]: before row i */
} cells;

typedef struct space { /* the scratch; EP: E padded */
    ptrdiff_t EP;
    rows *r;
    cells *c;
    float *h;    /* (blocks,N,EP): the state before each block */
    float *g;    /* (N,EP) */
    float *sums; /* (BLOCK,2,N,VLANES): of dB, dC by lane */
} space;

typedef struct strip { /* rows from .. from+count-1 in processing order, channels e .. e+width-1 */
    const mbk_scan_bwd *s;
    const space *m;
    int from, count, e, width;
} strip;

static ptrdiff_t row_at(const strip *k, int i) {
    return k->s->reverse ? k->s->L - 1 - (k->from + i) : k->from + i;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */
/* softplus and its slope: with u = exp(-|v|), the slope is 1/(1+u) above zero, u/(1+u) below; nothing cancels. */
VINLINE vf slope_of_softplus(vf v) {
    const vf u = v_exp((vf)((vi)v | (vi)v_all(-0.0f)));
    return v_select(v < v_all(0), u, v_all(1)) / (1.0f + u);
}

/* Vector at lane `at`, n channels of it. */
VINLINE void prepare_lanes(const strip *k, int whole, int at, const int n) {
    const mbk_scan_bwd *s = k->s;
    rows *r = k->m->r;
    const int e = k->e + at;
    const vf zero = {0}, bias = s->dt_bias ? v_load_n(s->dt_bias + e, n) : zero;
    for (int i = 0; i < k->count; i++) {
        const ptrdiff_t t = row_at(k, i);
        const vf v = v_load_n(s->dt + t * s->lddt + e, n) + bias;
        const vf d = s->softplus_dt ? v_softplus(v) : v;
        v_store(r->decay[i] + at, v_at_most(1e30f, d));
        v_store(r->u[i] + at, d * v_load_n(s->x + t * s->ldx + e, n));
        if (!whole)
            continue;
        v_store(r->d[i] + at, d);
        v_store(r->slope[i] + at, s->softplus_dt ? slope_of_softplus(v) : v_all(1));
        v_store(r->G[i] + at, v_load_n(s->G + t * s->ldg + e, n));
        v_store(r->gB[i] + at, zero);
        v_store(r->dd[i] + at, zero);
    }
}

/* whole: for walk and finish too, not for sweep alone */
static void prepare(const strip *k, int whole) {
    int at = 0;
    for (; at + VLANES <= k->width; at += VLANES)
        prepare_lanes(k, whole, at, VLANES);
    if (at < k->width)
        prepare_lanes(k, whole, at, k->width - at);
}

VINLINE void finish_lanes(const strip *k, int at, const int n) {
    const mbk_scan_bwd *s = k->s;
    const rows *r = k->m->r;
    const int e = k->e + at;
    const vf zero = {0}, skip = s->skip ? v_load_n(s->skip + e, n) : zero;
    vf dskip = zero, ddt_bias = zero;
    for (int i = 0; i < k->count; i++) {
        const ptrdiff_t t = row_at(k, i);
        const vf x = v_load_n(s->x + t * s->ldx + e, n), G = v_load(r->G[i] + at), gB = v_load(r->gB[i] + at);
        const vf dd = v_load(r->dd[i] + at) * 0x1.62e430p-1f; /* ln 2: A = a2 ln 2 */
        const vf ddt = (gB * x + dd) * v_load(r->slope[i] + at);
        v_store_n(s->dx + t * s->lddx + e, gB * v_load(r->d[i] + at) + skip * G, n);
        v_store_n(s->ddt + t * s->ldddt + e, ddt, n);
        dskip += G * x;
        ddt_bias += ddt;
    }
    if (s->dskip)
        v_store_n(s->dskip + e, v_load_n(s->dskip + e, n) + dskip, n);
    if (s->ddt_bias)
        v_store_n(s->ddt_bias + e, v_load_n(s->ddt_bias + e, n) + ddt_bias, n);
}

static void finish(const strip *k) {
    int at = 0;
    for (; at + VLANES <= k->width; at += VLANES)
        finish_lanes(k, at, VLANES);
    if (at < k->width)
        finish_lanes(k, at, k->width - at);
}

/* ---- states n .. n+NB-1 of the first PB vectors of a strip ----------------------------------------------------------
 */
/* keep: a and h of every row into the cells; else the state after the block into next (NB rows, EP apart). */
VINLINE void sweep(const int NB, const int PB, const strip *k, int n, float *next) {
    const mbk_scan_bwd *s = k->s;
    const rows *r = k->m->r;
    cells *c = k->m->c;
    const float *first = k->m->h + ((ptrdiff_t)(k->from / BLOCK) * s->N + n) * k->m->EP + k->e;
    vf a2[STATES][STRIP], h[STATES][STRIP];
    VUNROLL
    for (int j = 0; j < NB; j++)
        VUNROLL
    for (int p = 0; p < PB; p++) {
        a2[j][p] = v_load_n(s->a2 + (n + j) * s->lda + k->e + p * VLANES, k->width - p * VLANES);
        h[j][p] = v_load(first + j * k->m->EP + p * VLANES);
        if (!next)
            v_store(c->h[0][j] + p * VLANES, h[j][p]);
    }
    for (int i = 0; i < k->count; i++) {
        const float *B = s->B + row_at(k, i) * s->ldb + n;
        VUNROLL
        for (int p = 0; p < PB; p++) {
            const vf d = v_load(r->decay[i] + p * VLANES), u = v_load(r->u[i] + p * VLANES);
            VUNROLL
            for (int j = 0; j < NB; j++) {
                const vf a = v_exp2(d * a2[j][p]);
                h[j][p] = a * h[j][p] + u * B[j];
                if (!next) {
                    v_store(c->a[i][j] + p * VLANES, a);
                    v_store(c->h[i + 1][j] + p * VLANES, h[j][p]);
                }
            }
        }
    }
    VUNROLL
    for (int j = 0; j < NB; j++)
        VUNROLL
    for (int p = 0; p < PB; p++)
        if (next)
            v_store(next + j * k->m->EP + p * VLANES, h[j][p]);
}

VINLINE void walk(const int NB, const int PB, const strip *k, int n) {
    const mbk_scan_bwd *s = k->s;
    rows *r = k->m->r;
    const cells *c = k->m->c;
    float *last = k->m->g + n * k->m->EP + k->e;
    vf a2[STATES][STRIP], g[STATES][STRIP], da[STATES][STRIP];
    VUNROLL
    for (int j = 0; j < NB; j++)
        VUNROLL
    for (int p = 0; p < PB; p++) {
        a2[j][p] = v_load_n(s->a2 + (n + j) * s->lda + k->e + p * VLANES, k->width - p * VLANES);
        g[j][p] = v_load(last + j * k->m->EP + p * VLANES);
        da[j][p] = (vf){0};
    }
    for (int i = k->count - 1; i >= 0; i--) {
        const float *B = s->B + row_at(k, i) * s->ldb + n, *C = s->C + row_at(k, i) * s->ldc + n;
        float *dB = k->m->sums + ((ptrdiff_t)i * 2 * s->N + n) * VLANES, *dC = dB + s->N * VLANES;
        vf gB[STRIP], dd[STRIP];
        VUNROLL
        for (int p = 0; p < PB; p++)
            gB[p] = v_load(r->gB[i] + p * VLANES), dd[p] = v_load(r->dd[i] + p * VLANES);
        VUNROLL
        for (int j = 0; j < NB; j++) {
            vf sB = v_load(dB + j * VLANES), sC = v_load(dC + j * VLANES);
            VUNROLL
            for (int p = 0; p < PB; p++) {
                const vf G = v_load(r->G[i] + p * VLANES);
                sC += G * v_load(c->h[i + 1][j] + p * VLANES);
                g[j][p] += G * C[j];
                sB += g[j][p] * v_load(r->u[i] + p * VLANES);
                gB[p] += g[j][p] * B[j];
                g[j][p] *= v_load(c->a[i][j] + p * VLANES);
                const vf w = g[j][p] * v_load(c->h[i][j] + p * VLANES);
                da[j][p] += w * v_load(r->decay[i] + p * VLANES);
                dd[p] += w * a2[j][p];
            }
            v_store(dB + j * VLANES, sB);
            v_store(dC + j * VLANES, sC);
        }
        VUNROLL
        for (int p = 0; p < PB; p++)
            v_store(r->gB[i] + p * VLANES, gB[p]), v_store(r->dd[i] + p * VLANES, dd[p]);
    }
    VUNROLL
    for (int j = 0; j < NB; j++)
        VUNROLL
    for (int p = 0; p < PB; p++) {
        float *sum = s->da + (n + j) * s->ldda + k->e + p * VLANES;
        v_store(last + j * k->m->EP + p * VLANES, g[j][p]);
        v_store_n(sum, v_load_n(sum, k->width - p * VLANES) + da[j][p], k->width - p * VLANES);
    }
}

/* next: as sweep takes it; NULL: the block backwards. */
VINLINE void pass(const int NB, const int PB, const strip *k, int n, float *next) {
    sweep(NB, PB, k, n, next);
    if (!next)
        walk(NB, PB, k, n);
}
typedef void pass_fn(const strip *, int, float *);
#define PASS(NB, PB)                                                                                                   \
    static void pass_##NB##_##PB(const strip *k, int n, float *next) {                                                 \
        if (next)                                                                                                      \
            sweep(NB, PB, k, n, next);                                                                                 \
        else                                                                                                           \
            pass(NB, PB, k, n, NULL);                                                                                  \
    }
PASS(1, 1)
PASS(4, 1)
#if VREGISTERS >= 32
PASS(1, 2)
PASS(4, 2)
static pass_fn *const passes[2][2] = {{pass_1_1, pass_1_2}, {pass_4_1, pass_4_2}};
#else
static pass_fn *const passes[2][1] = {{pass_1_1}, {pass_4_1}};
#endif

static void states(const strip *k, int forward) {
    const int vectors = (k->width + VLANES - 1) / VLANES;
    float *after = k->m->h + (ptrdiff_t)(k->from / BLOCK + 1) * k->s->N * k->m->EP + k->e;
    for (int n = 0, many; n < k->s->N; n += many ? STATES : 1) {
        many = n + STATES <= k->s->N;
        passes[many][vectors - 1](k, n, forward ? after + n * k->m->EP : NULL);
    }
}

/* ---- sums over the lanes --------------------------------------------------------------------------------------------
 */
/* n sums of neighbours */
static void fold(float *restrict to, const float *restrict from, int n) {
    for (int i = 0; i < n; i++)
        to[i] = from[2 * i] + from[2 * i + 1];
}

/* Sums of the lanes of n vectors. */
static void reduce(float *sums, const float *lanes, int n) {
    enum { AT_ONCE = 16 };
    float half[AT_ONCE * VLANES / 2] = {0}, quarter[AT_ONCE * VLANES / 4] = {0};
    for (int i = 0, m; i < n; i += m) {
        m = n - i < AT_ONCE ? n - i : AT_ONCE;
        float *to = half, *from = quarter;
        fold(to, lanes + (ptrdiff_t)i * VLANES, m * VLANES / 2);
        for (int w = VLANES / 4; w >= 1; w /= 2) {
            float *was = to;
            to = w == 1 ? sums + i : from;
            fold(to, was, m * w);
            from = was;
        }
    }
}

static void share(const strip *k) {
    const mbk_scan_bwd *s = k->s;
    float sums[2 * MBK_SCAN_MAX_N];
    for (int i = 0; i < k->count; i++) {
        const ptrdiff_t t = row_at(k, i);
        reduce(sums, k->m->sums + (ptrdiff_t)i * 2 * s->N * VLANES, 2 * s->N);
        memcpy(s->dB + t * s->lddb, sums, (size_t)s->N * sizeof(float));
        memcpy(s->dC + t * s->lddc, sums + s->N, (size_t)s->N * sizeof(float));
    }
}

/* ---- all ------------------------------------------------------------------------------------------------------------
 */
static ptrdiff_t blocks_of(int L) {
    return (L + BLOCK - 1) / BLOCK;
}

size_t MBK_NAME(scan_bwd_scratch)(int L, int E, int N) {
    const size_t EP = ((size_t)E + ROUND - 1) / ROUND * ROUND, rows_kept = (size_t)(L < BLOCK ? L : BLOCK);
    return (sizeof(rows) + sizeof(cells)) / sizeof(float) + ((size_t)blocks_of(L) + 1) * (size_t)N * EP +
           rows_kept * 2 * (size_t)N * VLANES;
}

static space space_of(const mbk_scan_bwd *s) {
    space m = {.EP = ((ptrdiff_t)s->E + ROUND - 1) / ROUND * ROUND};
    m.r = (rows *)(void *)s->scratch;
    m.c = (cells *)(void *)(m.r + 1);
    m.h = (float *)(void *)(m.c + 1);
    m.g = m.h + blocks_of(s->L) * s->N * m.EP;
    m.sums = m.g + s->N * m.EP;
    return m;
}

/* (N,E), or zeros, into (N,EP), zeros beyond E. */
static void load_state(const mbk_scan_bwd *s, const float *from, float *to, ptrdiff_t EP) {
    memset(to, 0, (size_t)s->N * (size_t)EP * sizeof(float));
    for (int n = 0; n < s->N && from; n++)
        memcpy(to + n * EP, from + n * s->lds, (size_t)s->E * sizeof(float));
}

static void block_backward(strip k) {
    const int E = k.s->E;
    memset(k.m->sums, 0, (size_t)k.count * 2 * (size_t)k.s->N * VLANES * sizeof(float));
    for (k.e = 0; k.e < E; k.e += WIDTH) {
        k.width = E - k.e < WIDTH ? E - k.e : WIDTH;
        prepare(&k, 1);
        states(&k, 0);
        finish(&k);
    }
    share(&k);
}

int MBK_NAME(scan_bwd)(const mbk_ctx *ctx, const mbk_scan_bwd *s) {
    (void)ctx;
    MBK_ASSERT(s->L >= 1 && s->E >= 1 && s->N >= 1 && s->N <= MBK_SCAN_MAX_N);
    MBK_ASSERT((uintptr_t)s->scratch % 64 == 0);
    const space m = space_of(s);
    const int last = (s->L - 1) / BLOCK * BLOCK;
    load_state(s, s->state0, m.h, m.EP);
    load_state(s, s->dstate, m.g, m.EP);
    for (strip k = {.s = s, .m = &m, .count = BLOCK}; k.from < last; k.from += BLOCK)
        for (k.e = 0; k.e < s->E; k.e += WIDTH) {
            k.width = s->E - k.e < WIDTH ? s->E - k.e : WIDTH;
            prepare(&k, 0);
            states(&k, 1);
        }
    for (int from = last; from >= 0; from -= BLOCK)
        block_backward((strip){.s = s, .m = &m, .from = from, .count = s->L - from < BLOCK ? s->L - from : BLOCK});
    for (int n = 0; n < s->N && s->dstate; n++)
        memcpy(s->dstate + n * s->lds, m.g + n * m.EP, (size_t)s->E * sizeof(float));
    return MB_OK;
}
