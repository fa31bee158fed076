/* Gradients of the causal convolution, fast. Channels lie in lanes. One sweep in processing order: a group of rows
 * gives its p (kept for the K-1 rows that need it yet), its part of dw and db, and the dx of the rows K-1 before, whose
 * last p has just been made. A p and a dx are computed in one order whatever the group, the tile or the channels. The
 * sums of dw and db are made in a buffer of their own and added at the end. K = 4 is compiled apart. Refuses K outside
 * 1..16. */
#include <string.h>

#include "kernels/conv1d.h"
#include "kernels/silu.h"

mbk_conv_bwd_fn MBK_NAME(conv_bwd);

enum {
    GROUP = 4,
    CHUNK = 256,
    WINDOW = MBK_CONV_MAX_K - 1 + GROUP
}; /* rows computed together; channels per sweep; rows in sight */
static const float no_state[CHUNK];

/* The chunk at hand: channels e .. e+n-1 of the problem. Buffers are whole vectors wide; lanes beyond n hold 0. */
typedef struct chunk {
    const mbk_conv_bwd *a;
    int e, n;
    const float *w, *b;
    float p[MBK_CONV_MAX_K - 1][CHUNK]; /* of the K-1 rows before those at hand, oldest first */
    float dw[MBK_CONV_MAX_K][CHUNK], db[CHUNK];
} chunk;

/* The rows at hand, at the first channel of the chunk. live: not beyond the end of the sequence; own: rows of the
 * piece, counted in dw and db; out: there are rows K-1 before to write. */
typedef struct rows {
    int live, own, out;
    const float *x[WINDOW]; /* K-1 before, then the rows */
    const float *G[GROUP];
    float *dx[GROUP];
} rows;

/* p of R rows at channels e .. e+n-1 into p, from the inputs x. */
VINLINE void slopes(const int R, const int K, const chunk *s, const rows *r, int e, const int n, const vf *x, vf *p) {
    vf c[GROUP];
    VUNROLL
    for (int g = 0; g < R; g++)
        p[g] = v_load_n(r->G[g] + e, n);
    if (!s->a->silu)
        return;
    VUNROLL
    for (int g = 0; g < R; g++)
        c[g] = s->b ? v_load_n(s->b + e, n) : (vf){0};
    for (int j = 0; j < K; j++) {
        const vf wj = v_load_n(s->w + j * s->a->ldw + e, n);
        VUNROLL
        for (int g = 0; g < R; g++)
            c[g] += wj * x[g + j];
    }
    VUNROLL
    for (int g = 0; g < R; g++) {
        vf slope;
        (void)v_silu_slope(c[g], &slope);
        p[g] *= slope;
    }
}

VINLINE void add_to(float *sum, vf term) {
    v_store(sum, v_load(sum) + term);
}

/* dw and db of R rows. */
VINLINE void sums(const int R, const int K, chunk *s, int e, const vf *x, const vf *p) {
    vf term = p[0];
    VUNROLL
    for (int g = 1; g < R; g++)
        term += p[g];
    add_to(s->db + e, term);
    for (int j = 0; j < K; j++) {
        term = p[0] * x[j];
        VUNROLL
        for (int g = 1; g < R; g++)
            term += p[g] * x[g + j];
        add_to(s->dw[j] + e, term);
    }
}

/* R rows at channels e .. e+n-1 of the chunk; steady: live, own and out are known to be true. */
VINLINE void rows_vector(const int R, const int K, const int steady, chunk *s, const rows *r, int e, const int n) {
    vf x[WINDOW], p[WINDOW], sum[GROUP];
    for (int k = 0; k < K - 1; k++)
        p[k] = v_load(s->p[k] + e);
    if (steady || r->live) {
        for (int k = 0; k < K - 1 + R; k++)
            x[k] = v_load_n(r->x[k] + e, n);
        slopes(R, K, s, r, e, n, x, p + K - 1);
        if (steady || r->own)
            sums(R, K, s, e, x, p + K - 1);
    } else
        for (int g = 0; g < R; g++)
            p[K - 1 + g] = (vf){0};
    for (int k = 0; k < K - 1; k++)
        v_store(s->p[k] + e, p[k + R]);
    if (!steady && !r->out)
        return;
    VUNROLL
    for (int g = 0; g < R; g++)
        sum[g] = (vf){0};
    for (int j = 0; j < K; j++) {
        const vf wj = v_load_n(s->w + j * s->a->ldw + e, n);
        VUNROLL
        for (int g = 0; g < R; g++)
            sum[g] += wj * p[g + K - 1 - j];
    }
    VUNROLL
    for (int g = 0; g < R; g++)
        v_store_n(r->dx[g] + e, s->a->accumulate ? v_load_n(r->dx[g] + e, n) + sum[g] : sum[g], n);
}

VINLINE void rows_all(const int R, const int K, const int steady, chunk *s, const rows *r) {
    int e = 0;
    for (; e + VLANES <= s->n; e += VLANES)
        rows_vector(R, K, steady, s, r, e, VLANES);
    if (e < s->n)
        rows_vector(R, K, steady, s, r, e, s->n - e);
}
typedef void rows_fn(chunk *, const rows *);
static void rows_group_4(chunk *s, const rows *r) {
    rows_all(GROUP, 4, 1, s, r);
}
static void rows_group(chunk *s, const rows *r) {
    rows_all(GROUP, s->a->K, 1, s, r);
}
static void rows_one_4(chunk *s, const rows *r) {
    rows_all(1, 4, 0, s, r);
}
static void rows_one(chunk *s, const rows *r) {
    rows_all(1, s->a->K, 0, s, r);
}

static ptrdiff_t row_of(const mbk_conv_bwd *a, int i) {
    return a->reverse ? a->L - 1 - i : i;
}

/* Input row i in processing order at the chunk; i < 0 is the state. */
static const float *input_row(const chunk *s, int i) {
    const mbk_conv_bwd *a = s->a;
    if (i < 0)
        return a->state ? a->state + (a->K - 1 + i) * a->ldstate + s->e : no_state;
    return a->x + row_of(a, i) * a->ldx + s->e;
}

/* Rows i .. i+R-1 of the L+K-1 that the sweep has. */
static void prepare(chunk *s, rows *r, int i, int R) {
    const mbk_conv_bwd *a = s->a;
    const int K = a->K;
    r->live = i < a->L + a->after;
    r->own = i < a->L;
    r->out = i >= K - 1;
    for (int k = 0; k < K - 1 + R && r->live; k++)
        r->x[k] = input_row(s, i - (K - 1) + k);
    for (int g = 0; g < R; g++) {
        if (r->live)
            r->G[g] = a->G + row_of(a, i + g) * a->ldg + s->e;
        if (r->out)
            r->dx[g] = a->dx + row_of(a, i - (K - 1) + g) * a->lddx + s->e;
    }
}

static void conv_chunk(chunk *s) {
    const mbk_conv_bwd *a = s->a;
    const int K = a->K;
    rows_fn *one = K == 4 ? rows_one_4 : rows_one, *group = K == 4 ? rows_group_4 : rows_group;
    rows r;
    memset(s->p, 0, (size_t)(K - 1) * sizeof s->p[0]);
    memset(s->dw, 0, (size_t)K * sizeof s->dw[0]);
    memset(s->db, 0, sizeof s->db);
    for (int i = 0, R; i < a->L + K - 1; i += R) {
        R = i >= K - 1 && i + GROUP <= a->L ? GROUP : 1;
        prepare(s, &r, i, R);
        (R == 1 ? one : group)(s, &r);
    }
    for (int j = 0; j < K; j++)
        for (int e = 0; e < s->n; e++)
            a->dw[j * a->lddw + s->e + e] += s->dw[j][e];
    for (int e = 0; e < s->n && a->db; e++)
        a->db[s->e + e] += s->db[e];
}

int MBK_NAME(conv_bwd)(const mbk_ctx *ctx, const mbk_conv_bwd *a) {
    chunk s;
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->E >= 1 && a->K >= 1 && a->K <= MBK_CONV_MAX_K && !a->segment);
    MBK_ASSERT(a->after >= 0 && a->after <= a->K - 1);
    s.a = a;
    for (int e = 0; e < a->E; e += CHUNK) {
        s.e = e;
        s.n = a->E - e < CHUNK ? a->E - e : CHUNK;
        s.w = a->w + e;
        s.b = a->b ? a->b + e : NULL;
        conv_chunk(&s);
    }
    return MB_OK;
}
