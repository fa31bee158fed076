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

/* By measurement on Zen 4. Blocks: the training tile is of 128 rows, and what a block keeps (1 KiB a row on AVX-512)
 * still lives in L2 at 256. A strip of 2 vectors halves the loads and stores of dB and dC per update. */
enum {
    BLOCK = 256,
    STATES = 4,
    STRIP = 2,
    WIDTH = STRIP * VLANES,
    ROUND = 32 /* channels are padded to a multiple of it: of every WIDTH */
};

/* One row of a strip; zero beyond the last channel. The numbers of a row lie together, or they would compete for the
 * same lines of the cache. */
typedef struct line {
    float d[WIDTH], decay[WIDTH]; /* the step, as given and as the decay takes it */
    float u[WIDTH], slope[WIDTH], G[WIDTH];
    float gB[WIDTH], dd[WIDTH]; /* sums over n: g*B; w*a2 */
} line;

typedef struct cell {
    float h[STATES][WIDTH], a[STATES][WIDTH]; /* h before the row, the decay in it */
} cell;

typedef struct space { /* the scratch; EP: E padded */
    ptrdiff_t EP;
    line *r;     /* (BLOCK) in processing order */
    cell *c;     /* (BLOCK+1) */
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
static ptrdiff_t direction(const strip *k) {
    return k->s->reverse ? -1 : 1;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */
/* d = softplus(v); its slope, with u = exp(-|v|), is 1/(1+u) above zero and u/(1+u) below: nothing cancels. */
VINLINE vf softplus(vf v, vf *slope) {
    const vf u = v_exp((vf)((vi)v | (vi)v_all(-0.0f)));
    *slope = v_select(v < v_all(0), u, v_all(1)) / (1.0f + u);
    return v_softplus_of(v, u);
}

/* Vector at lane `at`, n channels of it. */
VINLINE void prepare_lanes(const strip *k, int whole, int at, const int n) {
    const mbk_scan_bwd *s = k->s;
    line *r = k->m->r;
    const int e = k->e + at;
    const vf bias = s->dt_bias ? v_load_n(s->dt_bias + e, n) : (vf){0};
    for (int i = 0; i < k->count; i++) {
        const ptrdiff_t t = row_at(k, i);
        vf d = v_load_n(s->dt + t * s->lddt + e, n) + bias, slope = v_all(1);
        if (s->softplus_dt)
            d = softplus(d, &slope);
        v_store(r[i].decay + at, v_at_most(1e30f, d));
        v_store(r[i].u + at, d * v_load_n(s->x + t * s->ldx + e, n));
        if (!whole)
            continue;
        v_store(r[i].d + at, d);
        v_store(r[i].slope + at, slope);
        v_store(r[i].G + at, v_load_n(s->G + t * s->ldg + e, n));
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
    const line *r = k->m->r;
    const int e = k->e + at;
    const vf zero = {0}, skip = s->skip ? v_load_n(s->skip + e, n) : zero;
    vf dskip = zero, ddt_bias = zero;
    for (int i = 0; i < k->count; i++) {
        const ptrdiff_t t = row_at(k, i);
        const vf x = v_load_n(s->x + t * s->ldx + e, n), G = v_load(r[i].G + at), gB = v_load(r[i].gB + at);
        const vf dd = v_load(r[i].dd + at) * 0x1.62e430p-1f; /* ln 2: A = a2 ln 2 */
        const vf ddt = (gB * x + dd) * v_load(r[i].slope + at);
        v_store_n(s->dx + t * s->lddx + e, gB * v_load(r[i].d + at) + skip * G, n);
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
    const line *r = k->m->r;
    cell *c = k->m->c;
    const float *first = k->m->h + ((ptrdiff_t)(k->from / BLOCK) * s->N + n) * k->m->EP + k->e;
    vf a2[STATES][STRIP], h[STATES][STRIP];
    VUNROLL
    for (int j = 0; j < NB; j++)
        VUNROLL
    for (int p = 0; p < PB; p++) {
        a2[j][p] = v_load_n(s->a2 + (n + j) * s->lda + k->e + p * VLANES, k->width - p * VLANES);
        h[j][p] = v_load(first + j * k->m->EP + p * VLANES);
        if (!next)
            v_store(c[0].h[j] + p * VLANES, h[j][p]);
    }
    const float *B = s->B + row_at(k, 0) * s->ldb + n;
    const ptrdiff_t ldb = direction(k) * s->ldb;
    for (int i = 0; i < k->count; i++, B += ldb) {
        VUNROLL
        for (int p = 0; p < PB; p++) {
            const vf d = v_load(r[i].decay + p * VLANES), u = v_load(r[i].u + p * VLANES);
            VUNROLL
            for (int j = 0; j < NB; j++) {
                const vf a = v_exp2(d * a2[j][p]);
                h[j][p] = a * h[j][p] + u * B[j];
                if (!next) {
                    v_store(c[i].a[j] + p * VLANES, a);
                    v_store(c[i + 1].h[j] + p * VLANES, h[j][p]);
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
    static const float none[VLANES * (STATES > STRIP ? STATES : STRIP)];
    const mbk_scan_bwd *s = k->s;
    line *r = k->m->r;
    const cell *c = k->m->c;
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
    const float *B = s->B + row_at(k, k->count - 1) * s->ldb + n, *C = s->C + row_at(k, k->count - 1) * s->ldc + n;
    const ptrdiff_t ldb = direction(k) * s->ldb, ldc = direction(k) * s->ldc, ldsum = (ptrdiff_t)s->N * VLANES;
    float *dB = k->m->sums + (k->count - 1) * 2 * ldsum + n * VLANES;
    for (int i = k->count - 1; i >= 0; i--, B -= ldb, C -= ldc, dB -= 2 * ldsum) {
        float *dC = dB + ldsum;
        const float *was_B = k->e ? dB : none, *was_C = k->e ? dC : none; /* the first strip begins the sums */
        const float *was_g = n ? r[i].gB : none, *was_d = n ? r[i].dd : none;
        vf gB[STRIP], dd[STRIP];
        VUNROLL
        for (int p = 0; p < PB; p++)
            gB[p] = v_load(was_g + p * VLANES), dd[p] = v_load(was_d + p * VLANES);
        VUNROLL
        for (int j = 0; j < NB; j++) {
            vf sB = v_load(was_B + j * VLANES), sC = v_load(was_C + j * VLANES);
            VUNROLL
            for (int p = 0; p < PB; p++) {
                const vf G = v_load(r[i].G + p * VLANES);
                sC += G * v_load(c[i + 1].h[j] + p * VLANES);
                g[j][p] += G * C[j];
                sB += g[j][p] * v_load(r[i].u + p * VLANES);
                gB[p] += g[j][p] * B[j];
                g[j][p] *= v_load(c[i].a[j] + p * VLANES);
                const vf w = g[j][p] * v_load(c[i].h[j] + p * VLANES);
                da[j][p] += w * v_load(r[i].decay + p * VLANES);
                dd[p] += w * a2[j][p];
            }
            v_store(dB + j * VLANES, sB);
            v_store(dC + j * VLANES, sC);
        }
        VUNROLL
        for (int p = 0; p < PB; p++)
            v_store(r[i].gB + p * VLANES, gB[p]), v_store(r[i].dd + p * VLANES, dd[p]);
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

/* next as sweep takes it; NULL: the block backwards. */
typedef void pass_fn(const strip *, int, float *);
#define PASS(NB, PB)                                                                                                   \
    static void pass_##NB##_##PB(const strip *k, int n, float *next) {                                                 \
        if (next) {                                                                                                    \
            sweep(NB, PB, k, n, next);                                                                                 \
        } else {                                                                                                       \
            sweep(NB, PB, k, n, NULL);                                                                                 \
            walk(NB, PB, k, n);                                                                                        \
        }                                                                                                              \
    }
PASS(1, 1)
PASS(1, 2)
PASS(4, 1)
PASS(4, 2)
static pass_fn *const passes[2][STRIP] = {{pass_1_1, pass_1_2}, {pass_4_1, pass_4_2}};

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
typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));

/* n sums of neighbours */
static void fold(float *restrict to, const float *restrict from, int n) {
    for (int i = 0; i < n; i++)
        to[i] = from[2 * i] + from[2 * i + 1];
}

/* Sums of the lanes of n vectors, n <= 2 MBK_SCAN_MAX_N, always in the same order. Spoils what it reads. */
static void reduce(float *restrict sums, float *restrict lanes, int n) {
    float pairs[4 * MBK_SCAN_MAX_N];
    for (int i = 0; i < n; i++) { /* four of each vector */
        const v4 *part = (const v4 *)(const void *)(lanes + i * VLANES);
        v4 sum = part[0];
        for (int k = 1; k < VLANES / 4; k++)
            sum += part[k];
        *(v4 *)(void *)(lanes + i * 4) = sum;
    }
    fold(pairs, lanes, n * 2);
    fold(sums, pairs, n);
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

static ptrdiff_t rows_kept(int L) {
    return L < BLOCK ? L : BLOCK;
}
static ptrdiff_t padded(int E) {
    return ((ptrdiff_t)E + ROUND - 1) / ROUND * ROUND;
}

size_t MBK_NAME(scan_bwd_scratch)(int L, int E, int N) {
    const size_t kept = (size_t)rows_kept(L), EP = (size_t)padded(E);
    return (kept * sizeof(line) + (kept + 1) * sizeof(cell)) / sizeof(float) +
           ((size_t)blocks_of(L) + 1) * (size_t)N * EP + kept * 2 * (size_t)N * VLANES;
}

static space space_of(const mbk_scan_bwd *s) {
    const ptrdiff_t kept = rows_kept(s->L);
    space m = {.EP = padded(s->E), .r = (line *)(void *)s->scratch};
    m.c = (cell *)(void *)(m.r + kept);
    m.h = (float *)(void *)(m.c + kept + 1);
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
    MBK_ASSERT(s->L >= 1 && s->E >= 1 && s->N >= 1 && s->N <= MBK_SCAN_MAX_N && !s->segment);
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
