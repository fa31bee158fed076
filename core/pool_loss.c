/* Loss and gradient of a linear head over pooled rows. See pool_head.h.
 *
 * z averages its strands, so dL/df is the same for all of them: sum_c dL/dz_c W_c / strands. A worker takes a whole
 * sequence: pools, z, loss, gradient of the rows. Then the head's gradient, a class at a time, over all units in order,
 * in double. */
#include <math.h>
#include <string.h>

#include "core/model_internal.h"
#include "core/pool_head.h"

typedef struct example {
    int64_t length, first; /* bases; first unit */
    int64_t lane_at[2];    /* first row of each strand */
} example;

typedef struct work {
    mb_gradient *g;
    const mb_pool_head *h;
    const mb_pool_targets *t;
    int D, C, strands, n, turned, with_gradient;
    int64_t units;
    example *example; /* (n) */
    float *w;         /* (C,D) in the channel order of the rows */
    float *feature;   /* (n,strands,D) pooled rows; NULL without pooling */
    int64_t *best;    /* (n,strands,D) row of the largest; max only */
    float *df;        /* (n,D) dL/df of pooled features */
    double *sums;     /* (C,D) gradient of the head */
    float *dz;        /* (units,C) */
    double *z;        /* (units,C) */
    double *loss;     /* (units,C); class: the first column */
    mb_arena arena;
} work;

/* ---- set up ---------------------------------------------------------------------------------------------------------
 */

static void carve(work *k, mb_arena *a) {
    const size_t n = (size_t)k->n, D = (size_t)k->D, C = (size_t)k->C, units = (size_t)k->units;
    const size_t features = k->h->pooling == MB_POOL_NONE ? 0 : n * (size_t)k->strands * D;
    k->w = mb_arena_floats(a, C * D);
    k->feature = features ? mb_arena_floats(a, features) : NULL;
    k->best = k->h->pooling == MB_POOL_MAX ? mb_arena_take(a, features * sizeof *k->best) : NULL;
    k->df = features ? mb_arena_floats(a, n * D) : NULL;
    k->sums = mb_arena_take(a, C * D * sizeof *k->sums);
    k->dz = mb_arena_floats(a, units * C);
    k->z = mb_arena_take(a, units * C * sizeof *k->z);
    k->loss = mb_arena_take(a, units * C * sizeof *k->loss);
}

static int find_examples(work *k, mb_err *e) {
    const mb_batch_rows *b = mb_gradient_rows(k->g);
    k->strands = mb_gradient_strands(k->g) * k->t->views;
    MB_ASSERT(k->strands <= 2 && b->lanes % k->strands == 0);
    k->n = b->lanes / k->strands;
    k->example = mb_calloc((size_t)k->n, sizeof *k->example);
    if (!k->example)
        return mb_fail(e, MB_NOMEM, "no memory for the loss of %d sequences", k->n);
    for (int i = 0; i < k->n; i++) {
        example *x = &k->example[i];
        const int64_t *at = b->lane_at + (size_t)i * (size_t)k->strands;
        x->length = at[1] - at[0];
        x->first = k->units;
        for (int s = 0; s < k->strands; s++)
            x->lane_at[s] = at[s];
        k->units += k->h->pooling == MB_POOL_NONE ? x->length : 1;
    }
    return MB_OK;
}

static int begin(work *k, mb_err *e) {
    mb_arena measured = {0};
    int rc = find_examples(k, e);
    if (rc != MB_OK)
        return rc;
    carve(k, &measured);
    rc = mb_arena_create(&k->arena, measured.used, e);
    if (rc != MB_OK)
        return rc;
    carve(k, &k->arena);
    for (int c = 0; c < k->C; c++)
        for (int d = 0; d < k->D; d++)
            k->w[c * k->D + d] = k->h->w[c * k->D + (k->turned ? k->D - 1 - d : d)];
    return MB_OK;
}

/* ---- rows to features and back --------------------------------------------------------------------------------------
 */

static const float *rows_of(const work *k, const example *x, int strand) {
    return mb_gradient_hidden(k->g) + (size_t)x->lane_at[strand] * (size_t)k->D;
}

static void pool_max(const float *rows, int64_t length, int D, float *f, int64_t *best) {
    memcpy(f, rows, (size_t)D * sizeof *f);
    memset(best, 0, (size_t)D * sizeof *best);
    for (int64_t r = 1; r < length; r++)
        for (int d = 0; d < D; d++)
            if (rows[r * D + d] > f[d]) {
                f[d] = rows[r * D + d];
                best[d] = r;
            }
}

static void pool_mean(const float *rows, int64_t length, int D, float *f) {
    enum { BLOCK = 64 };
    for (int from = 0; from < D; from += BLOCK) {
        const int n = D - from < BLOCK ? D - from : BLOCK;
        double sum[BLOCK] = {0};
        for (int64_t r = 0; r < length; r++)
            for (int d = 0; d < n; d++)
                sum[d] += (double)rows[r * D + from + d];
        for (int d = 0; d < n; d++)
            f[from + d] = (float)(sum[d] / (double)length);
    }
}

static void pool(const work *k, int i, int strand) {
    const example *x = &k->example[i];
    const float *rows = rows_of(k, x, strand);
    const size_t at = ((size_t)i * (size_t)k->strands + (size_t)strand) * (size_t)k->D;
    if (k->h->pooling == MB_POOL_MEAN)
        pool_mean(rows, x->length, k->D, k->feature + at);
    else if (k->h->pooling == MB_POOL_MAX)
        pool_max(rows, x->length, k->D, k->feature + at, k->best + at);
    else
        memcpy(k->feature + at, rows + (k->h->pooling == MB_POOL_LAST ? (x->length - 1) * k->D : 0),
               (size_t)k->D * sizeof(float));
}

/* What W is applied to: unit u of example i. */
static const float *feature(const work *k, int i, int64_t u, int strand) {
    const example *x = &k->example[i];
    if (k->feature)
        return k->feature + ((size_t)i * (size_t)k->strands + (size_t)strand) * (size_t)k->D;
    return rows_of(k, x, strand) + (size_t)(strand ? x->length - 1 - u : u) * (size_t)k->D;
}

/* dL/df of a unit, into (D). */
static void back_through_head(const work *k, int64_t unit, float *df) {
    for (int d = 0; d < k->D; d++)
        df[d] = 0;
    for (int c = 0; c < k->C; c++) {
        const float dz = k->dz[unit * k->C + c] / (float)k->strands;
        for (int d = 0; d < k->D; d++)
            df[d] += dz * k->w[c * k->D + d];
    }
}

static void spread(const work *k, int i, int strand, const float *df) {
    const example *x = &k->example[i];
    const size_t D = (size_t)k->D;
    float *to = mb_gradient_d_hidden(k->g) + (size_t)x->lane_at[strand] * D;
    const int64_t *best = k->best ? k->best + ((size_t)i * (size_t)k->strands + (size_t)strand) * D : NULL;
    memset(to, 0, (size_t)x->length * D * sizeof(float));
    if (k->h->pooling == MB_POOL_MEAN)
        for (int64_t r = 0; r < x->length; r++)
            for (size_t d = 0; d < D; d++)
                to[(size_t)r * D + d] = df[d] / (float)x->length;
    else if (best)
        for (size_t d = 0; d < D; d++)
            to[(size_t)best[d] * D + d] = df[d];
    else
        memcpy(to + (k->h->pooling == MB_POOL_LAST ? (size_t)(x->length - 1) * D : 0), df, D * sizeof(float));
}

static void back(const work *k, int i) {
    const example *x = &k->example[i];
    const size_t D = (size_t)k->D;
    float *rows = mb_gradient_d_hidden(k->g);
    if (!k->feature) {
        for (int64_t u = 0; u < x->length; u++) {
            float *df = rows + (size_t)(x->lane_at[0] + u) * D;
            back_through_head(k, x->first + u, df);
            if (k->strands == 2)
                memcpy(rows + (size_t)(x->lane_at[1] + x->length - 1 - u) * D, df, D * sizeof(float));
        }
        return;
    }
    float *df = k->df + (size_t)i * D;
    back_through_head(k, x->first, df);
    for (int s = 0; s < k->strands; s++)
        spread(k, i, s, df);
}

/* ---- losses ---------------------------------------------------------------------------------------------------------
 */

static double softplus(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double weight_of(const work *k, int c) {
    return k->t->weight ? (double)k->t->weight[c] : 1;
}

static void class_loss(const work *k, int64_t unit, int label) {
    const double *z = k->z + unit * k->C, w = weight_of(k, label);
    double most = z[0], sum = 0;
    for (int c = 1; c < k->C; c++)
        most = z[c] > most ? z[c] : most;
    for (int c = 0; c < k->C; c++)
        sum += exp(z[c] - most);
    k->loss[unit * k->C] = w * (log(sum) + most - z[label]);
    for (int c = 0; c < k->C; c++)
        k->dz[unit * k->C + c] = (float)(w * (exp(z[c] - most) / sum - (c == label)));
}

static void value_loss(const work *k, int64_t unit) {
    for (int c = 0; c < k->C; c++) {
        const int64_t at = unit * k->C + c;
        const double z = k->z[at], y = (double)k->t->value[at], w = weight_of(k, c);
        if (isnan(y))
            continue;
        if (k->h->objective == MB_POOL_SQUARED) {
            k->loss[at] = w * (z - y) * (z - y);
            k->dz[at] = (float)(2 * w * (z - y));
        } else {
            k->loss[at] = w * y * softplus(-z) + (1 - y) * softplus(z);
            k->dz[at] = (float)((1 - y) / (1 + exp(-z)) - w * y / (1 + exp(z)));
        }
    }
}

static int run_example(void *user, int i, const mbk_ctx *ctx) {
    (void)ctx;
    const work *k = user;
    const example *x = &k->example[i];
    const int64_t units = k->feature ? 1 : x->length;
    for (int s = 0; s < k->strands && k->feature; s++)
        pool(k, i, s);
    for (int64_t u = 0; u < units; u++) {
        const int64_t unit = x->first + u;
        for (int c = 0; c < k->C; c++) {
            double z = 0;
            for (int s = 0; s < k->strands; s++) {
                const float *f = feature(k, i, u, s);
                double dot = 0;
                for (int d = 0; d < k->D; d++)
                    dot += (double)f[d] * (double)k->w[c * k->D + d];
                z += dot;
            }
            k->z[unit * k->C + c] = z / k->strands + (k->h->b ? (double)k->h->b[c] : 0);
            k->loss[unit * k->C + c] = 0;
            k->dz[unit * k->C + c] = 0;
        }
        const int label = k->h->objective == MB_POOL_CLASS ? k->t->label[unit] : 0;
        if (label >= k->C)
            return MB_RANGE;
        if (k->h->objective != MB_POOL_CLASS)
            value_loss(k, unit);
        else if (label >= 0)
            class_loss(k, unit, label);
    }
    if (k->with_gradient)
        back(k, i);
    return MB_OK;
}

/* ---- the head's gradient --------------------------------------------------------------------------------------------
 */

static int run_class(void *user, int c, const mbk_ctx *ctx) {
    (void)ctx;
    const work *k = user;
    double *sum = k->sums + (size_t)c * (size_t)k->D, bias = 0;
    memset(sum, 0, (size_t)k->D * sizeof *sum);
    for (int i = 0; i < k->n; i++)
        for (int64_t u = 0; u < (k->feature ? 1 : k->example[i].length); u++) {
            const double dz = (double)k->dz[(k->example[i].first + u) * k->C + c];
            bias += dz;
            for (int s = 0; s < k->strands; s++) {
                const float *f = feature(k, i, u, s);
                for (int d = 0; d < k->D; d++)
                    sum[d] += dz * (double)f[d];
            }
        }
    for (int d = 0; d < k->D; d++)
        k->h->w_sum[c * k->D + (k->turned ? k->D - 1 - d : d)] += (float)(sum[d] / k->strands);
    if (k->h->b)
        k->h->b_sum[c] += (float)bias;
    return MB_OK;
}

static void add_class(const work *k, int64_t unit, mb_pool_result *r) {
    const int label = k->t->label[unit];
    const double *z = k->z + unit * k->C;
    int best = 0;
    if (label < 0)
        return;
    for (int c = 1; c < k->C; c++)
        best = z[c] > z[best] ? c : best;
    r->loss += k->loss[unit * k->C];
    r->weight += weight_of(k, label);
    r->positions++;
    r->hits += best == label;
}

static void add_values(const work *k, int64_t unit, mb_pool_result *r) {
    for (int c = 0; c < k->C; c++) {
        const int64_t at = unit * k->C + c;
        if (isnan(k->t->value[at]))
            continue;
        r->loss += k->loss[at];
        r->positions++;
        if (k->h->objective == MB_POOL_SQUARED) {
            r->weight += weight_of(k, c);
        } else {
            r->weight += 1;
            r->hits += (k->z[at] > 0) == (k->t->value[at] > 0.5F);
        }
    }
}

int mb_pool_loss(mb_gradient *g, const mb_pool_head *h, const mb_pool_targets *t, int with_gradient, mb_pool_result *r,
                 double *logits, mb_err *e) {
    const mb_model *m = mb_gradient_model(g);
    work k = {.g = g, .h = h, .t = t, .D = m->config.D, .C = h->C, .with_gradient = with_gradient};
    k.turned = mb_model_halves_swapped(m, m->config.n_layer);
    int rc = begin(&k, e);
    if (rc == MB_OK)
        rc = mb_gradient_each(g, k.n, run_example, &k, "pooled loss (is every label a class?)", e);
    for (int64_t u = 0; rc == MB_OK && u < k.units; u++)
        if (h->objective == MB_POOL_CLASS)
            add_class(&k, u, r);
        else
            add_values(&k, u, r);
    if (rc == MB_OK && logits)
        memcpy(logits, k.z, (size_t)k.units * (size_t)k.C * sizeof *logits);
    if (rc == MB_OK && with_gradient)
        rc = mb_gradient_each(g, k.C, run_class, &k, "gradient of the head", e);
    mb_arena_destroy(&k.arena);
    mb_free(k.example);
    return rc;
}
