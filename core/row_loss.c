/* Objectives at chosen rows: what they share, and those against drawn negatives. See row_loss.h; the softmax over all
 * rows of the head is in row_softmax.c.
 *
 * Negatives are worked off in panels of rows. A worker takes some rows: scores, losses, dL/dz of each (row, answer)
 * pair, gradient of the hidden rows. Then the pairs are sorted by answer (a counting sort, so they stay in the order of
 * rows) and each row of the head sums up its own: no two workers write one place, and the order is fixed. */
#include "core/row_loss.h"

#include <math.h>
#include <string.h>

#include "core/model_internal.h"
#include "core/row_loss_internal.h"

enum { PANEL_PAIRS = 1 << 20, ROW_BLOCK = 32, ANSWER_BLOCK = 64 };

typedef struct panel {
    mb_gradient *g;
    const mb_row_targets *t;
    const float *W; /* (V,D) */
    int D, V, with_gradient;
    int64_t from, rows, most; /* targets at work, at most */
    float *dz;                /* (most, k+1): the target's, then the negatives' */
    double *loss;             /* (most) */
    uint8_t *hit;             /* (most) */
    int64_t *begin;           /* (V+1) where an answer's pairs begin */
    int64_t *pair;            /* (most * (k+1)) pairs, those of one answer together */
    double *z;                /* (threads, k+1) */
} panel;

static void carve(panel *p, mb_arena *a) {
    const size_t rows = (size_t)p->most, answers = (size_t)p->t->k + 1;
    p->dz = mb_arena_floats(a, rows * answers);
    p->loss = mb_arena_take(a, rows * sizeof *p->loss);
    p->hit = mb_arena_take(a, rows);
    p->begin = mb_arena_take(a, ((size_t)p->V + 1) * sizeof *p->begin);
    p->pair = mb_arena_take(a, rows * answers * sizeof *p->pair);
    p->z = mb_arena_take(a, (size_t)mb_gradient_threads(p->g) * answers * sizeof *p->z);
}

static int open_panel(panel *p, mb_gradient *g, const mb_row_targets *t, int with_gradient, mb_err *e) {
    const mb_config *c = mb_model_config(mb_gradient_model(g));
    *p = (panel){.g = g, .t = t, .with_gradient = with_gradient, .D = c->D, .V = c->V};
    p->W = mb_model_params(mb_gradient_model(g))->head_w;
    p->most = PANEL_PAIRS / (t->k + 1);
    p->most = p->most < 1 ? 1 : p->most < t->n ? p->most : t->n;
    mb_arena a = {0};
    carve(p, &a);
    int rc = mb_gradient_borrow(g, a.used, &a, e);
    if (rc == MB_OK)
        carve(p, &a);
    return rc;
}

/* ---- the loss of a row ----------------------------------------------------------------------------------------------
 */

static double softplus(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double logistic(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

/* z (k+1) becomes dL/dz; c: the row's corrections or NULL. */
static double sampled(double *z, int k, const float *c) {
    double top = z[0], others = 0;
    const double target = z[0];
    for (int j = 1; j <= k; j++) {
        z[j] += c ? (double)c[j - 1] : 0;
        top = z[j] > top ? z[j] : top;
    }
    const double own = exp(z[0] - top);
    for (int j = 1; j <= k; j++)
        others += z[j] = exp(z[j] - top);
    z[0] = -others / (own + others);
    for (int j = 1; j <= k; j++)
        z[j] /= own + others;
    return target == top ? log1p(others / own) : log(own + others) + (top - target);
}

static double bpr(double *z, int k) {
    static const double GUARD = 1e-10;
    const double target = z[0];
    double loss = 0, sum = 0;
    for (int j = 1; j <= k; j++) {
        const double s = logistic(target - z[j]), d = s * logistic(z[j] - target) / (GUARD + s) / k;
        loss -= log(GUARD + s) / k;
        z[j] = d;
        sum -= d;
    }
    z[0] = sum;
    return loss;
}

static double bce(double *z, int k, double power, double scale) {
    double loss = power * softplus(-z[0]);
    z[0] = -scale * power * logistic(-z[0]);
    for (int j = 1; j <= k; j++) {
        loss += softplus(z[j]);
        z[j] = scale * logistic(z[j]);
    }
    return scale * loss;
}

static double row_loss(const mb_row_targets *t, double *z, int64_t row) {
    switch (t->objective) {
    case MB_ROW_SAMPLED:
        return sampled(z, t->k, t->correction ? t->correction + row * t->k : NULL);
    case MB_ROW_BPR:
        return bpr(z, t->k);
    default:
        return bce(z, t->k, t->power, t->scale);
    }
}

/* ---- rows -----------------------------------------------------------------------------------------------------------
 */

enum { LANES = 8 }; /* sums side by side, which compilers turn into vectors */

static float dot(const float *a, const float *b, int n) {
    float lane[LANES] = {0}, sum = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

static void add_scaled(float *to, const float *from, float by, int n) {
    for (int i = 0; i < n; i++)
        to[i] += by * from[i];
}

static int32_t answer(const mb_row_targets *t, int64_t row, int j) {
    return j == 0 ? t->target[row] : t->negative[row * t->k + j - 1];
}

static int answers_exist(const panel *p, int64_t row) {
    for (int j = 0; j <= p->t->k; j++) {
        const int32_t v = answer(p->t, row, j);
        if (v < 0 || v >= p->V)
            return 0;
    }
    return 1;
}

static void run_row(const panel *p, int64_t row, double *z) {
    const mb_row_targets *t = p->t;
    const size_t D = (size_t)p->D, at = (size_t)(row - p->from);
    const float *h = mb_gradient_hidden(p->g) + (size_t)t->row[row] * D;
    const double weight = t->weight ? (double)t->weight[row] : 1;
    uint8_t hit = 1;
    for (int j = 0; j <= t->k; j++) {
        z[j] = (double)dot(h, p->W + (size_t)answer(t, row, j) * D, p->D);
        hit &= z[j] <= z[0];
    }
    p->hit[at] = hit;
    p->loss[at] = weight * row_loss(t, z, row);
    if (!p->with_gradient)
        return;
    float *dz = p->dz + at * ((size_t)t->k + 1), *d_hidden = mb_gradient_d_hidden(p->g) + (size_t)t->row[row] * D;
    for (int j = 0; j <= t->k; j++) {
        dz[j] = (float)(weight * z[j]);
        add_scaled(d_hidden, p->W + (size_t)answer(t, row, j) * D, dz[j], p->D);
    }
}

static int run_rows(void *user, int i, const mbk_ctx *ctx) {
    const panel *p = user;
    double *z = p->z + (size_t)ctx->worker * ((size_t)p->t->k + 1);
    const int64_t from = p->from + (int64_t)i * ROW_BLOCK, end = p->from + p->rows;
    for (int64_t row = from; row < end && row < from + ROW_BLOCK; row++) {
        if (!answers_exist(p, row))
            return MB_RANGE;
        run_row(p, row, z);
    }
    return MB_OK;
}

/* ---- the head -------------------------------------------------------------------------------------------------------
 */

static void sort_pairs(const panel *p) {
    const int answers = p->t->k + 1;
    memset(p->begin, 0, ((size_t)p->V + 1) * sizeof *p->begin);
    for (int64_t row = 0; row < p->rows; row++)
        for (int j = 0; j < answers; j++)
            p->begin[answer(p->t, p->from + row, j) + 1]++;
    for (int v = 0; v < p->V; v++)
        p->begin[v + 1] += p->begin[v];
    for (int64_t row = 0; row < p->rows; row++) /* begin[v] moves to where v ends */
        for (int j = 0; j < answers; j++)
            p->pair[p->begin[answer(p->t, p->from + row, j)]++] = row * answers + j;
}

static int run_answers(void *user, int i, const mbk_ctx *ctx) {
    const panel *p = user;
    const int answers = p->t->k + 1, from = i * ANSWER_BLOCK;
    const int to = p->V - from < ANSWER_BLOCK ? p->V : from + ANSWER_BLOCK;
    const float *hidden = mb_gradient_hidden(p->g);
    float *sums = (float *)mb_gradient_sums(p->g)->head_w;
    (void)ctx;
    for (int v = from; v < to; v++)
        for (int64_t at = v ? p->begin[v - 1] : 0; at < p->begin[v]; at++) {
            const int64_t pair = p->pair[at], row = p->t->row[p->from + pair / answers];
            add_scaled(sums + (size_t)v * (size_t)p->D, hidden + (size_t)row * (size_t)p->D, p->dz[pair], p->D);
        }
    return MB_OK;
}

/* ---- all ------------------------------------------------------------------------------------------------------------
 */

void mb_row_result_add(mb_lm_result *r, const mb_row_targets *t, int64_t from, int64_t n, const double *loss,
                       const uint8_t *hit) {
    for (int64_t i = 0; i < n; i++) {
        const double weight = t->weight ? (double)t->weight[from + i] : 1;
        r->loss += loss[i];
        r->weight += weight;
        r->positions += weight > 0;
        r->hits += weight > 0 && hit[i];
    }
}

static int run_panel(panel *p, mb_lm_result *r, mb_err *e) {
    const int64_t blocks = (p->rows + ROW_BLOCK - 1) / ROW_BLOCK;
    int rc = mb_gradient_each(p->g, (int)blocks, run_rows, p, "is every answer in the vocabulary?", e);
    if (rc != MB_OK)
        return rc;
    mb_row_result_add(r, p->t, p->from, p->rows, p->loss, p->hit);
    if (!p->with_gradient)
        return MB_OK;
    sort_pairs(p);
    return mb_gradient_each(p->g, (p->V + ANSWER_BLOCK - 1) / ANSWER_BLOCK, run_answers, p, "head", e);
}

static int run_sampled(mb_gradient *g, const mb_row_targets *t, int with_gradient, mb_lm_result *r, mb_err *e) {
    panel p;
    int rc = open_panel(&p, g, t, with_gradient, e);
    for (; rc == MB_OK && p.from < t->n; p.from += p.rows) {
        p.rows = t->n - p.from < p.most ? t->n - p.from : p.most;
        rc = run_panel(&p, r, e);
    }
    return rc;
}

static int check(const mb_gradient *g, const mb_config *c, const mb_row_targets *t, mb_err *e) {
    const mb_batch_rows *b = mb_gradient_rows(g);
    if (c->rcps || !c->has_head)
        return mb_fail(e, MB_NOTSUP, "an objective at chosen rows needs a model of one strand with a head");
    for (int64_t i = 0; i < t->n; i++)
        if (t->row[i] < (i ? t->row[i - 1] + 1 : 0) || t->row[i] >= b->rows)
            return mb_fail(e, MB_RANGE, "row %lld of the batch is no row, or not above the one before",
                           (long long)t->row[i]);
    return MB_OK;
}

int mb_row_loss(mb_gradient *g, const mb_row_targets *t, int with_gradient, mb_lm_result *r, mb_err *e) {
    const mb_config *c = mb_model_config(mb_gradient_model(g));
    int rc = check(g, c, t, e);
    if (rc != MB_OK)
        return rc;
    MB_ASSERT(t->objective == MB_ROW_SOFTMAX ? t->first >= 0 && t->first < c->V : t->k > 0);
    if (with_gradient)
        memset(mb_gradient_d_hidden(g), 0, (size_t)mb_gradient_rows(g)->rows * (size_t)c->D * sizeof(float));
    if (t->n == 0)
        return MB_OK;
    return t->objective == MB_ROW_SOFTMAX ? mb_row_softmax(g, t, with_gradient, r, e)
                                          : run_sampled(g, t, with_gradient, r, e);
}
