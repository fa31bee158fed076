/* The softmax over all rows of the head, at chosen rows of a batch. See row_loss.h.
 *
 * Rows are gathered into panels of whole tiles. Of each tile: logits, losses, gradients of logits in place, gradients
 * of hidden rows, put where they belong. Then the head's gradient over all rows of the panel, cut by rows of the head.
 */
#include <string.h>

#include "core/model_internal.h"
#include "core/row_loss_internal.h"

enum { PANEL_FLOATS = 1 << 22, PANEL_TILES = 64, HEAD_BLOCK = 8 * MBK_TN_BLOCK };

typedef struct panel {
    mb_gradient *g;
    const mb_model *m;
    const mb_row_targets *t;
    const mbk_linear *head, *back;
    int D, V, T, with_gradient;
    int64_t from, rows, most; /* targets at work, at most */
    float *hidden, *d_hidden; /* (most,D) */
    float *logits;            /* (most,V) */
    double *loss;             /* (most) */
    int32_t *target;          /* (most) counted from the first answer */
    uint8_t *hit;             /* (most) */
} panel;

static void carve(panel *p, mb_arena *a) {
    const size_t rows = (size_t)p->most, D = (size_t)p->D, V = (size_t)p->V;
    p->hidden = mb_arena_floats(a, rows * D);
    p->d_hidden = mb_arena_floats(a, rows * D);
    p->logits = mb_arena_floats(a, rows * V);
    p->loss = mb_arena_take(a, rows * sizeof *p->loss);
    p->target = mb_arena_take(a, rows * sizeof *p->target);
    p->hit = mb_arena_take(a, rows);
}

static int open_panel(panel *p, mb_gradient *g, const mb_row_targets *t, int with_gradient, mb_err *e) {
    const mb_model *m = mb_gradient_model(g);
    *p = (panel){.g = g, .m = m, .t = t, .D = m->config.D, .V = m->config.V, .T = m->tile};
    p->with_gradient = with_gradient;
    if (!(p->head = mb_model_head(m, 0, e)) || (with_gradient && !(p->back = mb_model_head_back(m, 0, e))))
        return e ? e->status : MB_FAIL;
    int fit = PANEL_FLOATS / (p->V + 2 * p->D) / p->T;
    fit = fit < 1 ? 1 : fit > PANEL_TILES ? PANEL_TILES : fit;
    const int64_t tiles = (t->n + p->T - 1) / p->T;
    p->most = (fit < tiles ? fit : tiles) * p->T;
    mb_arena a = {0};
    carve(p, &a);
    int rc = mb_gradient_borrow(g, a.used, &a, e);
    if (rc == MB_OK)
        carve(p, &a);
    return rc;
}

static int back_tile(const panel *p, size_t at, int rows, const mbk_ctx *ctx) {
    const size_t D = (size_t)p->D, V = (size_t)p->V;
    for (int i = 0; i < rows && p->t->first > 0; i++)
        memset(p->logits + (at + (size_t)i) * V, 0, (size_t)p->t->first * sizeof(float));
    int rc = p->m->ops->linear_fwd(ctx, p->back, rows, p->logits + at * V, p->d_hidden + at * D, 0);
    for (int i = 0; rc == MB_OK && i < rows; i++) {
        const int64_t row = p->t->row[p->from + (int64_t)at + i];
        memcpy(mb_gradient_d_hidden(p->g) + (size_t)row * D, p->d_hidden + (at + (size_t)i) * D, D * sizeof(float));
    }
    return rc;
}

static int run_tile(void *user, int i, const mbk_ctx *ctx) {
    const panel *p = user;
    const mb_row_targets *t = p->t;
    const int64_t at = (int64_t)i * p->T;
    const int rows = p->rows - at < p->T ? (int)(p->rows - at) : p->T;
    const size_t D = (size_t)p->D, V = (size_t)p->V;
    float *logits = p->logits + (size_t)at * V;
    for (int k = 0; k < rows; k++) {
        const int64_t row = p->from + at + k;
        p->target[at + k] = t->target[row] - t->first;
        memcpy(p->hidden + (size_t)(at + k) * D, mb_gradient_hidden(p->g) + (size_t)t->row[row] * D, D * sizeof(float));
    }
    int rc = p->m->ops->linear_fwd(ctx, p->head, rows, p->hidden + (size_t)at * D, logits, 0);
    const mbk_xent loss = {.L = rows,
                           .V = p->V - t->first,
                           .ignore = INT32_MIN,
                           .scale = 1,
                           .logits = logits + t->first,
                           .ld = p->V,
                           .target = p->target + at,
                           .weight = t->weight ? t->weight + p->from + at : NULL,
                           .loss = p->loss + at,
                           .grad = p->with_gradient ? logits + t->first : NULL,
                           .ldgrad = p->V,
                           .hit = p->hit + at};
    if (rc == MB_OK)
        rc = p->m->ops->xent(ctx, &loss);
    return rc == MB_OK && p->with_gradient ? back_tile(p, (size_t)at, rows, ctx) : rc;
}

static int head_item(void *user, int i, const mbk_ctx *ctx) {
    const panel *p = user;
    const int from = i * HEAD_BLOCK;
    const mbk_gemm_tn run = {.k = p->rows,
                             .m = p->V - from < HEAD_BLOCK ? p->V - from : HEAD_BLOCK,
                             .n = p->D,
                             .accumulate = 1,
                             .precision = p->m->precision,
                             .A = p->logits + from,
                             .lda = p->V,
                             .B = p->hidden,
                             .ldb = p->D,
                             .C = (float *)mb_gradient_sums(p->g)->head_w + (size_t)from * (size_t)p->D,
                             .ldc = p->D};
    return p->m->ops->gemm_tn(ctx, &run);
}

static int run_panel(panel *p, mb_lm_result *r, mb_err *e) {
    const int tiles = (int)((p->rows + p->T - 1) / p->T);
    int rc = mb_gradient_each(p->g, tiles, run_tile, p, "softmax (is every target an answer?)", e);
    if (rc != MB_OK)
        return rc;
    mb_row_result_add(r, p->t, p->from, p->rows, p->loss, p->hit);
    return p->with_gradient ? mb_gradient_each(p->g, (p->V + HEAD_BLOCK - 1) / HEAD_BLOCK, head_item, p, "head", e)
                            : MB_OK;
}

int mb_row_softmax(mb_gradient *g, const mb_row_targets *t, int with_gradient, mb_lm_result *r, mb_err *e) {
    panel p;
    int rc = open_panel(&p, g, t, with_gradient, e);
    for (; rc == MB_OK && p.from < t->n; p.from += p.rows) {
        p.rows = t->n - p.from < p.most ? t->n - p.from : p.most;
        rc = run_panel(&p, r, e);
    }
    return rc;
}
