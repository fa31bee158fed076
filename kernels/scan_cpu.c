/* Selective scan, fast. MBK_SCAN_LANES channels at a time (in lanes), ROWS rows at a time, in three passes that meet in
 * L1: prepare   d = softplus(dt + bias), u = d*x, y = skip*x + y_add recur     h[n] = exp2(d*a2[n]) h[n] + u*B[n];  y
 * += sum_n C[n] h[n]     blocks of n whose states live in registers finish    y * SiLU(z) The (L,E,N) tensor is never
 * written. recur is all of the cost: per 16 updates on AVX-512 7 instructions in the multiplying pipes and 6 in the
 * adding ones; 8.2 cycles of one FMA each, measured on Zen 4. What a row does to a channel does not depend on the rows
 * and channels around it, so neither tile edges nor channel ranges show in the bits. Refuses N outside 1..256.
 * Non-finite inputs give non-finite outputs; d*a2 must not overflow for |a2| < 1e8, and does not, because the decay
 * takes d up to 1e30 (a decay of 0 long before). */
#include "kernels/scan.h"
#include "kernels/simd.h"

mbk_scan_fn MBK_NAME(scan_fwd), MBK_NAME(scan_step);

enum { ROWS = 64, LANES = MBK_SCAN_LANES, PARTS = LANES / VLANES, STEP_CHANNELS = 256, STEP_STATES = 4 };

typedef struct work { /* all of one block of channels; zero beyond the last channel */
    float d[ROWS][LANES], u[ROWS][LANES], y[ROWS][LANES];
    float bias[LANES], skip[LANES];
    float a2[MBK_SCAN_MAX_N][LANES], h[MBK_SCAN_MAX_N][LANES];
} work;

typedef struct rows { /* pointers at row 0 in processing order and channel e; strides of the direction */
    int n;            /* channels here, <= LANES */
    const float *x, *dt, *z, *y_add, *B, *C;
    float *y;
    ptrdiff_t ldx, lddt, ldz, ldyadd, ldb, ldc, ldy;
} rows;

VINLINE vf decay_step(vf d) {
    return v_at_most(1e30f, d);
}

static rows rows_of(const mbk_scan *s, int e) {
    const ptrdiff_t sign = s->reverse ? -1 : 1, first = s->reverse ? s->L - 1 : 0;
    return (rows){.n = s->E - e < LANES ? s->E - e : LANES,
                  .x = s->x + first * s->ldx + e,
                  .dt = s->dt + first * s->lddt + e,
                  .z = s->z ? s->z + first * s->ldz + e : NULL,
                  .y_add = s->y_add ? s->y_add + first * s->ldyadd + e : NULL,
                  .B = s->B + first * s->ldb,
                  .C = s->C + first * s->ldc,
                  .y = s->y + first * s->ldy + e,
                  .ldx = sign * s->ldx,
                  .lddt = sign * s->lddt,
                  .ldz = sign * s->ldz,
                  .ldyadd = sign * s->ldyadd,
                  .ldb = sign * s->ldb,
                  .ldc = sign * s->ldc,
                  .ldy = sign * s->ldy};
}

/* a2, h, bias and skip of channels e .. e+n-1 into w. */
static void load_block(const mbk_scan *s, int e, int n, work *w) {
    for (int p = 0; p < PARTS; p++) {
        const int at = p * VLANES, left = n - at;
        const vf zero = {0};
        v_store(w->bias + at, s->dt_bias && left > 0 ? v_load_n(s->dt_bias + e + at, left) : zero);
        v_store(w->skip + at, s->skip && left > 0 ? v_load_n(s->skip + e + at, left) : zero);
        for (int k = 0; k < s->N; k++) {
            v_store(w->a2[k] + at, left > 0 ? v_load_n(s->a2 + k * s->lda + e + at, left) : zero);
            v_store(w->h[k] + at, s->state && left > 0 ? v_load_n(s->state + k * s->lds + e + at, left) : zero);
        }
    }
}

/* Lanes at .. at+n-1, n <= VLANES. y_add and z may have been written long ago, and so may what y replaces: they are
 * called into L2 for the next block of channels while recur of this one runs, for no prefetcher of a processor follows
 * rows that lie so far apart. (x and dt were written just before; calling them too gains nothing.) Behind the last
 * block it is a harmless hint. */
VINLINE void prepare_lanes(const rows *r, int softplus_dt, int from, int count, work *w, int at, const int n) {
    const vf bias = v_load(w->bias + at), skip = v_load(w->skip + at);
    for (int i = 0; i < count; i++) {
        const ptrdiff_t t = from + i;
        vf x = v_load_n(r->x + t * r->ldx + at, n);
        vf d = v_load_n(r->dt + t * r->lddt + at, n) + bias;
        vf y = skip * x;
        if (softplus_dt)
            d = v_softplus(d);
        if (r->y_add) {
            y += v_load_n(r->y_add + t * r->ldyadd + at, n);
            __builtin_prefetch(r->y_add + t * r->ldyadd + at + LANES, 0, 2);
        }
        if (r->z)
            __builtin_prefetch(r->z + t * r->ldz + at + LANES, 0, 2);
        if (!r->y_add)
            __builtin_prefetch(r->y + t * r->ldy + at + LANES, 1, 2);
        v_store(w->d[i] + at, decay_step(d));
        v_store(w->u[i] + at, d * x);
        v_store(w->y[i] + at, y);
    }
}

VINLINE void finish_lanes(const rows *r, int from, int count, work *w, int at, const int n) {
    for (int i = 0; i < count; i++) {
        const ptrdiff_t t = from + i;
        vf y = v_load(w->y[i] + at);
        if (r->z)
            y *= v_silu(v_load_n(r->z + t * r->ldz + at, n));
        v_store_n(r->y + t * r->ldy + at, y, n);
    }
}

static void prepare(const rows *r, int softplus_dt, int from, int count, work *w) {
    int at = 0;
    for (; at + VLANES <= r->n; at += VLANES)
        prepare_lanes(r, softplus_dt, from, count, w, at, VLANES);
    if (at < r->n)
        prepare_lanes(r, softplus_dt, from, count, w, at, r->n - at);
}

static void finish(const rows *r, int from, int count, work *w) {
    int at = 0;
    for (; at + VLANES <= r->n; at += VLANES)
        finish_lanes(r, from, count, w, at, VLANES);
    if (at < r->n)
        finish_lanes(r, from, count, w, at, r->n - at);
}

/* A block of NB states of one vector of channels: rows of d, u, y, a2 and state are LANES apart. */
typedef struct cell {
    const float *a2, *d, *u, *B, *C;
    float *state, *y;
    ptrdiff_t ldb, ldc;
} cell;

VINLINE void recur(const int NB, const cell *c, int count) {
    const float *a2 = c->a2, *d = c->d, *u = c->u, *B = c->B, *C = c->C;
    float *y = c->y;
    vf h[16];
    VUNROLL
    for (int n = 0; n < NB; n++)
        h[n] = v_load(c->state + n * LANES);
    for (int i = 0; i < count; i++, d += LANES, u += LANES, y += LANES, B += c->ldb, C += c->ldc) {
        const vf dt = v_load(d), ut = v_load(u);
        vf sum[2] = {v_load(y), {0}};
        VUNROLL
        for (int n = 0; n < NB; n++) {
            h[n] = v_exp2(dt * v_load(a2 + n * LANES)) * h[n] + ut * B[n];
            sum[n & 1] += h[n] * C[n];
        }
        v_store(y, sum[0] + sum[1]);
    }
    VUNROLL
    for (int n = 0; n < NB; n++)
        v_store(c->state + n * LANES, h[n]);
}

typedef void recur_fn(const cell *, int);
static void recur_1(const cell *c, int count) {
    recur(1, c, count);
}
static void recur_2(const cell *c, int count) {
    recur(2, c, count);
}
static void recur_4(const cell *c, int count) {
    recur(4, c, count);
}
static void recur_8(const cell *c, int count) {
    recur(8, c, count);
}
#if VKEEP >= 16
static void recur_16(const cell *c, int count) {
    recur(16, c, count);
}
static recur_fn *const recur_by_log2[] = {recur_1, recur_2, recur_4, recur_8, recur_16};
#else
static recur_fn *const recur_by_log2[] = {recur_1, recur_2, recur_4, recur_8};
#endif

/* All states through rows from .. from+count-1, in blocks as large as the registers allow. */
static void recur_all(int N, const rows *r, int from, int count, work *w) {
    int log2 = (int)(sizeof recur_by_log2 / sizeof *recur_by_log2) - 1;
    for (int k = 0; k < N; k += 1 << log2) {
        while (N - k < 1 << log2)
            log2--;
        for (int at = 0; at < r->n; at += VLANES) {
            const cell c = {.a2 = w->a2[k] + at,
                            .d = w->d[0] + at,
                            .u = w->u[0] + at,
                            .B = r->B + from * r->ldb + k,
                            .C = r->C + from * r->ldc + k,
                            .state = w->h[k] + at,
                            .y = w->y[0] + at,
                            .ldb = r->ldb,
                            .ldc = r->ldc};
            recur_by_log2[log2](&c, count);
        }
    }
}

static void scan_block(const mbk_scan *s, int e, work *w) {
    const rows r = rows_of(s, e);
    load_block(s, e, r.n, w);
    for (int from = 0; from < s->L; from += ROWS) {
        const int count = s->L - from < ROWS ? s->L - from : ROWS;
        prepare(&r, s->softplus_dt, from, count, w);
        recur_all(s->N, &r, from, count, w);
        finish(&r, from, count, w);
    }
    for (int k = 0; k < s->N && s->state; k++)
        for (int at = 0; at < r.n; at += VLANES)
            v_store_n(s->state + k * s->lds + e + at, v_load(w->h[k] + at), r.n - at);
}

int MBK_NAME(scan_fwd)(const mbk_ctx *ctx, const mbk_scan *s) {
    _Alignas(64) work w;
    (void)ctx;
    MBK_ASSERT(s->L >= 1 && s->E >= 1 && s->N >= 1 && s->N <= MBK_SCAN_MAX_N && !s->segment);
    for (int e = 0; e < s->E; e += LANES)
        scan_block(s, e, &w);
    return MB_OK;
}

/* ---- one token: contiguous sweeps over the channels of a row of the state -----------------------------------------
 */
typedef struct step_work {
    float d[STEP_CHANNELS], u[STEP_CHANNELS], y[STEP_CHANNELS];
} step_work;

/* States k .. k+NB-1 of channels e+i .. e+i+n-1, n <= VLANES. */
VINLINE void step_vector(const int NB, const mbk_scan *s, int k, int e, int i, const int n, step_work *w) {
    const vf d = v_load_n(w->d + i, n), u = v_load_n(w->u + i, n);
    vf y = v_load_n(w->y + i, n);
    VUNROLL
    for (int j = 0; j < NB; j++) {
        vf h = u * s->B[k + j];
        if (s->state) {
            float *state = s->state + (k + j) * s->lds + e + i;
            h += v_exp2(d * v_load_n(s->a2 + (k + j) * s->lda + e + i, n)) * v_load_n(state, n);
            v_store_n(state, h, n);
        }
        y += h * s->C[k + j];
    }
    v_store_n(w->y + i, y, n);
}

VINLINE void step_states(const int NB, const mbk_scan *s, int k, int e, int count, step_work *w) {
    int i = 0;
    for (; i + VLANES <= count; i += VLANES)
        step_vector(NB, s, k, e, i, VLANES, w);
    if (i < count)
        step_vector(NB, s, k, e, i, count - i, w);
}

static void step_chunk(const mbk_scan *s, int e, int count, step_work *w) {
    for (int i = 0; i < count; i += VLANES) {
        const int left = count - i;
        vf x = v_load_n(s->x + e + i, left), d = v_load_n(s->dt + e + i, left), y = {0};
        if (s->dt_bias)
            d += v_load_n(s->dt_bias + e + i, left);
        if (s->softplus_dt)
            d = v_softplus(d);
        if (s->skip)
            y = v_load_n(s->skip + e + i, left) * x;
        if (s->y_add)
            y += v_load_n(s->y_add + e + i, left);
        v_store_n(w->d + i, decay_step(d), left);
        v_store_n(w->u + i, d * x, left);
        v_store_n(w->y + i, y, left);
    }
    int k = 0;
    for (; k + STEP_STATES <= s->N; k += STEP_STATES)
        step_states(STEP_STATES, s, k, e, count, w);
    for (; k < s->N; k++)
        step_states(1, s, k, e, count, w);
    for (int i = 0; i < count; i += VLANES) {
        vf y = v_load_n(w->y + i, count - i);
        if (s->z)
            y *= v_silu(v_load_n(s->z + e + i, count - i));
        v_store_n(s->y + e + i, y, count - i);
    }
}

int MBK_NAME(scan_step)(const mbk_ctx *ctx, const mbk_scan *s) {
    _Alignas(64) step_work w;
    (void)ctx;
    MBK_ASSERT(s->L == 1 && s->E >= 1 && s->N >= 1 && s->N <= MBK_SCAN_MAX_N && !s->segment);
    for (int e = 0; e < s->E; e += STEP_CHANNELS)
        step_chunk(s, e, s->E - e < STEP_CHANNELS ? s->E - e : STEP_CHANNELS, &w);
    return MB_OK;
}
