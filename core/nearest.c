/* See nearest.h. Workers take tiles of the index one after the other and keep the k best of each query in heaps of
 * their own, which are merged at the end: the order of (value, row) is total, so who saw which tile does not matter.
 *
 * The bound. With u = 2^-24 any order of summing D products in fp32 errs by at most g |q| |x|, g = D u / (1 - D u), and
 * by D 2^-126 (1 + |q|)(1 + |x|) more where products or inputs are so small that they are rounded to zero. A pair is
 * passed over when s = fl(q.x) is below A + B |x| + C |x|^2, numbers of the query that follow from its k-th best
 * value w:
 *   dot:     q.x <= s + g|q||x|                    < w    A = w                      B = -g|q|         C = 0
 *   cosine:  q.x / (|q||x|)                        < w    A = 0                      B = (w - g)|q|    C = 0
 *   l2:      |q|^2 + |x|^2 - 2 q.x                 > w    A = (|q|^2 - w) / 2        B = -g|q|         C = 1/2
 * (w of l2 is a square), with g and C moved by more than what double rounds on the way. A sum that overflowed says
 * nothing, so its pair is computed. Refuses nothing but too little memory: shapes are the caller's to check. */
#include "core/nearest.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/npy.h"
#include "kernels/ops.h"

/* TILE: rows of the index at a time. GROUP: queries of one product, whose packed form stays in a processor's cache. */
enum { TILE = 128, GROUP = 256, BLOCK_MOST = 1 << 16 };

typedef struct bound {
    double A, B, C;
} bound;

typedef struct worker {
    float *x;            /* (TILE,D) where the index is not floats in place */
    float *y;            /* (TILE,GROUP) */
    bound *bound;        /* (n) */
    mb_nearest_hit *hit; /* (n,k) heaps, the worst first; value is the key: larger is nearer */
    int *held;           /* (n) */
    int64_t again, bad;
    int rc;
} worker;

typedef struct search {
    const mb_nearest_rows *index;
    const mb_nearest_options *o;
    const mbk_ops *ops;
    int64_t n, first; /* queries, and the number of the first */
    int D, groups;
    float *q;             /* (n,D) */
    double *norm;         /* (n); negative: a query without neighbours */
    mbk_linear **product; /* (groups) */
    worker *worker;       /* (threads) */
    double g, tiny, turn; /* error of a product relative to |q||x|; where it vanishes; of double, relative */
    _Atomic int64_t next; /* tile */
    _Atomic int failed;
} search;

/* ---- sums in double -------------------------------------------------------------------------------------------------
 * Eight sums over every eighth column, added in a fixed order: the same bits wherever a row lies. */

static double fold(const double *s) {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static double dot(const float *a, const float *b, int D) {
    double s[8] = {0};
    int i = 0;
    for (; i + 8 <= D; i += 8)
        for (int k = 0; k < 8; k++)
            s[k] += (double)a[i + k] * b[i + k];
    for (int k = 0; i < D; i++, k++)
        s[k] += (double)a[i] * b[i];
    return fold(s);
}

static double distance2(const float *a, const float *b, int D) {
    double s[8] = {0};
    for (int i = 0; i < D; i++) {
        const double d = (double)a[i] - b[i];
        s[i & 7] += d * d;
    }
    return fold(s);
}

static int is_bad(const search *s, double norm) {
    return !isfinite(norm) || (s->o->measure == MB_NEAREST_COSINE && norm == 0);
}

static double key_of(const search *s, int64_t query, const float *x, double norm) {
    const float *q = s->q + query * s->D;
    switch (s->o->measure) {
    case MB_NEAREST_COSINE:
        return dot(q, x, s->D) / (s->norm[query] * norm);
    case MB_NEAREST_L2:
        return -distance2(q, x, s->D);
    default:
        return dot(q, x, s->D);
    }
}

/* ---- the k best -----------------------------------------------------------------------------------------------------
 */

static int is_worse(const mb_nearest_hit *a, const mb_nearest_hit *b) {
    return a->value < b->value || (a->value == b->value && a->row > b->row);
}

static void swap_hits(mb_nearest_hit *a, mb_nearest_hit *b) {
    const mb_nearest_hit t = *a;
    *a = *b;
    *b = t;
}

/* The root sinks to its place among n. */
static void sink_root(mb_nearest_hit *h, int n) {
    for (int at = 0, child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && is_worse(&h[child + 1], &h[child]);
        if (!is_worse(&h[child], &h[at]))
            return;
        swap_hits(&h[child], &h[at]);
    }
}

/* 1 when the heap's worst has changed. */
static int offer(mb_nearest_hit *h, int *held, int k, const mb_nearest_hit *new) {
    if (*held == k) {
        if (!is_worse(&h[0], new))
            return 0;
        h[0] = *new;
        sink_root(h, k);
        return 1;
    }
    int at = (*held)++;
    h[at] = *new;
    for (; at > 0 && is_worse(&h[at], &h[(at - 1) / 2]); at = (at - 1) / 2)
        swap_hits(&h[at], &h[(at - 1) / 2]);
    return *held == k;
}

static void set_bound(const search *s, worker *w, int64_t query) {
    const double q = s->norm[query], worst = w->hit[query * s->o->k].value;
    bound *b = &w->bound[query];
    if (w->held[query] < s->o->k) {
        *b = (bound){-HUGE_VAL, 0, 0};
        return;
    }
    switch (s->o->measure) {
    case MB_NEAREST_COSINE:
        *b = (bound){0, (worst - s->g) * q, 0};
        break;
    case MB_NEAREST_L2: /* the key is the negative square */
        *b = (bound){(q * q * (1 - s->turn) + worst * (1 + s->turn)) / 2, -s->g * q, (1 - s->turn) / 2};
        break;
    default:
        *b = (bound){worst, -s->g * q, 0};
    }
    b->A -= s->tiny * (1 + q);
    b->B -= s->tiny * (1 + q);
}

/* ---- a tile ---------------------------------------------------------------------------------------------------------
 */

/* Rows [from, from+m) as floats: in place where they lie so. */
static const float *tile_rows(const mb_nearest_rows *r, int64_t from, int64_t m, float *buffer) {
    const size_t count = (size_t)m * (size_t)r->D;
    const unsigned char *p = (const unsigned char *)r->data + (size_t)from * (size_t)r->D * mb_dtype_bytes(r->dtype);
    if (r->dtype == MB_F32) {
        if ((uintptr_t)p % sizeof(float) == 0)
            return (const float *)(const void *)p;
        memcpy(buffer, p, count * sizeof(float));
        return buffer;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, p + 2 * i, 2);
        buffer[i] = mb_f16_to_f32(half);
    }
    return buffer;
}

/* Products (of one row with a group) that may matter are computed again. */
static void scan_row(const search *s, worker *w, int64_t first, int n, const float *y, const float *x, double norm,
                     int64_t row) {
    const bound *b = w->bound + first;
    for (int j = 0; j < n; j++) {
        const double limit = b[j].A + norm * (b[j].B + norm * b[j].C);
        if ((y[j] < limit && y[j] >= -FLT_MAX) || s->norm[first + j] < 0)
            continue;
        const int64_t query = first + j;
        if (s->o->exclude_self && s->first + query == row)
            continue;
        const mb_nearest_hit new = {row, key_of(s, query, x, norm)};
        w->again++;
        if (offer(w->hit + query * s->o->k, &w->held[query], s->o->k, &new))
            set_bound(s, w, query);
    }
}

static int run_tile(search *s, worker *w, int me, int64_t from) {
    const int m = s->index->n - from < TILE ? (int)(s->index->n - from) : TILE;
    const float *x = tile_rows(s->index, from, m, w->x);
    const mbk_ctx ctx = {.worker = me};
    double norm[TILE];
    for (int i = 0; i < m; i++) {
        const float *row = x + (ptrdiff_t)i * s->D;
        norm[i] = sqrt(dot(row, row, s->D));
        if (is_bad(s, norm[i])) {
            norm[i] = -1;
            w->bad++;
        }
    }
    for (int g = 0; g < s->groups; g++) {
        const int64_t first = (int64_t)g * GROUP;
        const int n = s->n - first < GROUP ? (int)(s->n - first) : GROUP;
        int rc = s->ops->linear_fwd(&ctx, s->product[g], m, x, w->y, 0);
        if (rc != MB_OK)
            return rc;
        for (int i = 0; i < m; i++)
            if (norm[i] >= 0)
                scan_row(s, w, first, n, w->y + (ptrdiff_t)i * n, x + (ptrdiff_t)i * s->D, norm[i], from + i);
    }
    mb_progress_add(s->o->progress, (double)m * (double)s->n);
    return MB_OK;
}

static void run_worker(search *s, int me) {
    worker *w = &s->worker[me];
    for (;;) {
        const int64_t from = atomic_fetch_add(&s->next, TILE);
        if (from >= s->index->n || atomic_load(&s->failed))
            return;
        w->rc = s->o->stop && atomic_load(s->o->stop) ? MB_STOPPED : run_tile(s, w, me, from);
        if (w->rc != MB_OK)
            atomic_store(&s->failed, 1);
    }
}

/* ---- a block --------------------------------------------------------------------------------------------------------
 */

static int no_memory(const search *s, mb_err *e) {
    return mb_fail(e, MB_NOMEM, "no memory to search for %lld queries at once", (long long)s->n);
}

static int make_workers(search *s, mb_err *e) {
    const size_t n = (size_t)s->n, D = (size_t)s->D;
    s->worker = mb_calloc((size_t)s->o->threads, sizeof *s->worker);
    for (int t = 0; s->worker && t < s->o->threads; t++) {
        worker *w = &s->worker[t];
        w->x = mb_malloc(TILE * D * sizeof *w->x);
        w->y = mb_malloc((size_t)TILE * GROUP * sizeof *w->y);
        w->bound = mb_calloc(n, sizeof *w->bound);
        w->hit = mb_calloc(n, (size_t)s->o->k * sizeof *w->hit);
        w->held = mb_calloc(n, sizeof *w->held);
        if (!w->x || !w->y || !w->bound || !w->hit || !w->held)
            return no_memory(s, e);
        for (int64_t i = 0; i < s->n; i++)
            set_bound(s, w, i);
    }
    return s->worker ? MB_OK : no_memory(s, e);
}

static int make_products(search *s, mb_err *e) {
    s->groups = (int)((s->n + GROUP - 1) / GROUP);
    s->product = mb_calloc((size_t)s->groups, sizeof(mbk_linear *));
    if (!s->product)
        return no_memory(s, e);
    for (int g = 0; g < s->groups; g++) {
        const int64_t first = (int64_t)g * GROUP;
        const mbk_linear_spec spec = {.Nout = s->n - first < GROUP ? (int)(s->n - first) : GROUP,
                                      .Kin = s->D,
                                      .W = s->q + first * s->D,
                                      .precision = MBK_FP32,
                                      .M_typical = TILE};
        const int rc = s->ops->linear_create(&s->product[g], &spec);
        if (rc != MB_OK)
            return mb_fail(e, rc, "a matrix product of %d columns cannot be prepared: %s", s->D, mb_status_words(rc));
    }
    return MB_OK;
}

/* The queries; those that have no neighbours become zeros. */
static int load_queries(search *s, const mb_nearest_rows *query, mb_nearest_counts *counts, mb_err *e) {
    const size_t row = (size_t)s->D * sizeof(float);
    s->q = mb_malloc((size_t)s->n * row);
    s->norm = mb_calloc((size_t)s->n, sizeof *s->norm);
    if (!s->q || !s->norm)
        return no_memory(s, e);
    for (int64_t i = 0; i < s->n; i++) {
        float *q = s->q + i * s->D;
        const float *at = tile_rows(query, s->first + i, 1, q);
        if (at != q)
            memcpy(q, at, row);
        s->norm[i] = sqrt(dot(q, q, s->D));
        if (is_bad(s, s->norm[i])) {
            memset(q, 0, row);
            s->norm[i] = -1;
            counts->bad_query++;
        }
    }
    return MB_OK;
}

static int compare_hits(const void *a, const void *b) {
    const mb_nearest_hit *x = a, *y = b;
    return is_worse(x, y) - is_worse(y, x);
}

/* The heaps of all workers into the first's, then sorted, and keys to values. */
static void merge(search *s, mb_nearest_hit *hit, mb_nearest_counts *counts) {
    const int k = s->o->k;
    worker *w = s->worker;
    for (int t = 0; t < s->o->threads; t++) {
        counts->again += w[t].again;
        counts->bad_index += w[t].bad;
        for (int64_t i = 0; t > 0 && i < s->n; i++)
            for (int c = 0; c < w[t].held[i]; c++)
                offer(w->hit + i * k, &w->held[i], k, &w[t].hit[i * k + c]);
    }
    for (int64_t i = 0; i < s->n; i++) {
        mb_nearest_hit *to = hit + i * k;
        memcpy(to, w->hit + i * k, (size_t)w->held[i] * sizeof *to);
        qsort(to, (size_t)w->held[i], sizeof *to, compare_hits);
        for (int c = 0; c < k; c++) {
            if (c >= w->held[i])
                to[c] = (mb_nearest_hit){-1, NAN};
            else if (s->o->measure == MB_NEAREST_L2)
                to[c].value = sqrt(-to[c].value);
        }
    }
}

static void free_search(search *s) {
    for (int g = 0; s->product && g < s->groups; g++)
        s->ops->linear_destroy(s->product[g]);
    for (int t = 0; s->worker && t < s->o->threads; t++) {
        worker *w = &s->worker[t];
        mb_free(w->x);
        mb_free(w->y);
        mb_free(w->bound);
        mb_free(w->hit);
        mb_free(w->held);
    }
    mb_free(s->product);
    mb_free(s->worker);
    mb_free(s->q);
    mb_free(s->norm);
}

int64_t mb_nearest_block(int64_t n_query, int D, const mb_nearest_options *o) {
    const int64_t hits = (int64_t)o->k * (int64_t)sizeof(mb_nearest_hit);
    const int64_t each = 2 * (int64_t)D * (int64_t)sizeof(float) + ((int64_t)o->threads + 1) * hits +
                         o->threads * (int64_t)(sizeof(bound) + sizeof(int)) + (int64_t)sizeof(double);
    const int64_t fixed = (int64_t)o->threads * TILE * ((int64_t)D + GROUP) * (int64_t)sizeof(float);
    int64_t n = o->memory > fixed ? (o->memory - fixed) / each : 1;
    n = n > BLOCK_MOST ? BLOCK_MOST : n < 1 ? 1 : n;
    if (n > GROUP)
        n -= n % GROUP;
    return n < n_query ? n : n_query;
}

int mb_nearest_run(const mb_nearest_rows *index, const mb_nearest_rows *query, int64_t from, int64_t n,
                   const mb_nearest_options *o, mb_nearest_hit *hit, mb_nearest_counts *counts, mb_err *e) {
    MB_ASSERT(n > 0 && from >= 0 && from + n <= query->n && index->D == query->D && index->D > 0 &&
              index->D <= MB_NEAREST_MAX_COLUMNS && o->k > 0 && o->threads > 0);
    const double D = index->D, u = 0x1p-24;
    *counts = (mb_nearest_counts){0};
    search s = {.index = index,
                .o = o,
                .ops = o->device && strcmp(o->device, "ref") == 0 ? mbk_ops_ref() : mbk_ops_cpu(),
                .n = n,
                .first = from,
                .D = index->D,
                .tiny = D * 0x1p-125,
                .turn = (8 * D + 128) * 0x1p-53};
    s.g = (D + 4) * u / (1 - (D + 4) * u) + s.turn;
    int rc = load_queries(&s, query, counts, e);
    if (rc == MB_OK)
        rc = make_products(&s, e);
    if (rc == MB_OK)
        rc = make_workers(&s, e);
    if (rc == MB_OK) {
#pragma omp parallel num_threads(o->threads)
        run_worker(&s, omp_get_thread_num());
    }
    for (int t = 0; rc == MB_OK && t < o->threads; t++)
        if (s.worker[t].rc != MB_OK)
            rc = mb_fail(e, s.worker[t].rc, "%s",
                         s.worker[t].rc == MB_STOPPED ? "stopped on request" : mb_status_words(s.worker[t].rc));
    if (rc == MB_OK)
        merge(&s, hit, counts);
    free_search(&s);
    return rc;
}
