/* Cross-entropy over the logits of a batch, panel by panel. See lm_loss.h.
 *
 * A panel is some tiles of the sequences (in the forward frame). Of each tile: hidden rows of both strands in the
 * forward frame, logits, losses, gradients of logits (in place), gradients of hidden rows put back into the lanes' own
 * order. Then the head's gradient over all rows of the panel, cut by rows of the weight. */
#include "core/lm_loss.h"

#include <string.h>

#include "core/model_internal.h"

enum { PANEL_FLOATS = 1 << 24, PANEL_TILES = 64 };

typedef struct panel_tile {
    int sequence, rows;
    int64_t from;  /* first position of the sequence */
    int64_t token; /* its place in the targets */
    int64_t at;    /* first row in the panel */
} panel_tile;

typedef struct panel {
    mb_gradient *g;
    const mb_model *m;
    const mb_lm_targets *t;
    int strands, D, V, with_gradient;
    int half[2]; /* which head serves a strand */
    const mbk_linear *head[2], *back[2];
    panel_tile *tile; /* (most) */
    int tiles, most;
    int64_t rows;
    float *hidden[2];  /* (most * T, D) forward frame */
    float *d_hidden;   /* (most * T, D) */
    float *logits;     /* (most * T, V) */
    double *loss;      /* (most * T) */
    uint8_t *hit;      /* (most * T) */
    float *complement; /* (V,D) gradient of the folded copy of the head; RC-equivariant models */
} panel;

static void carve(panel *p, mb_arena *a) {
    const size_t rows = (size_t)p->most * (size_t)p->m->tile, D = (size_t)p->D, V = (size_t)p->V;
    p->tile = mb_arena_take(a, (size_t)p->most * sizeof *p->tile);
    for (int s = 0; s < p->strands; s++)
        p->hidden[s] = mb_arena_floats(a, rows * D);
    p->d_hidden = mb_arena_floats(a, rows * D);
    p->logits = mb_arena_floats(a, rows * V);
    p->loss = mb_arena_take(a, rows * sizeof(double));
    p->hit = mb_arena_take(a, rows);
    p->complement = p->strands == 2 ? mb_arena_floats(a, V * D) : NULL;
}

static int open_panel(panel *p, mb_gradient *g, const mb_lm_targets *t, int with_gradient, mb_err *e) {
    const mb_model *m = mb_gradient_model(g);
    *p = (panel){.g = g, .m = m, .t = t, .with_gradient = with_gradient, .D = m->config.D, .V = m->config.V};
    p->strands = mb_gradient_strands(p->g);
    MB_ASSERT(p->strands == mb_model_strands(m));
    const int swapped = mb_model_halves_swapped(m, m->config.n_layer);
    for (int s = 0; s < p->strands; s++) {
        p->half[s] = swapped ^ s;
        if (!(p->head[s] = mb_model_head(m, p->half[s], e)))
            return e ? e->status : MB_FAIL;
        if (with_gradient && !(p->back[s] = mb_model_head_back(m, p->half[s], e)))
            return e ? e->status : MB_FAIL;
    }
    const int fit = PANEL_FLOATS / (p->V + 3 * p->D) / m->tile;
    p->most = fit < 1 ? 1 : fit > PANEL_TILES ? PANEL_TILES : fit;
    mb_arena memory = {0};
    carve(p, &memory);
    int rc = mb_gradient_borrow(g, memory.used, &memory, e);
    if (rc != MB_OK)
        return rc;
    carve(p, &memory);
    if (p->complement)
        memset(p->complement, 0, (size_t)p->V * (size_t)p->D * sizeof *p->complement);
    return MB_OK;
}

/* ---- a tile ---------------------------------------------------------------------------------------------------------
 */

/* First row of the tile in its lane of a strand. */
static size_t lane_row(const panel *p, const panel_tile *t, int strand) {
    const mb_batch_rows *b = mb_gradient_rows(p->g);
    const int lane = t->sequence * p->strands + strand;
    return (size_t)(strand ? b->lane_at[lane + 1] - t->from - t->rows : b->lane_at[lane] + t->from);
}

/* Rows of a strand between the lane's frame and the forward one: positions and channels of strand 1 reversed. */
static void turn(int strand, const float *from, float *to, size_t n) {
    if (!strand)
        memcpy(to, from, n * sizeof(float));
    else
        for (size_t i = 0; i < n; i++)
            to[i] = from[n - 1 - i];
}

static int back_rows(const panel *p, const panel_tile *t, const mbk_ctx *ctx) {
    const size_t D = (size_t)p->D, n = (size_t)t->rows * D, at = (size_t)t->at;
    int rc = MB_OK;
    for (int s = 0; s < p->strands && rc == MB_OK; s++) {
        float *d = p->d_hidden + at * D;
        rc = p->m->ops->linear_fwd(ctx, p->back[s], t->rows, p->logits + at * (size_t)p->V, d, 0);
        turn(s, d, mb_gradient_d_hidden(p->g) + lane_row(p, t, s) * D, n);
    }
    return rc;
}

static int run_rows(const panel *p, const panel_tile *t, const mbk_ctx *ctx) {
    const size_t D = (size_t)p->D, V = (size_t)p->V, at = (size_t)t->at;
    int rc = MB_OK;
    for (int s = 0; s < p->strands && rc == MB_OK; s++) {
        turn(s, mb_gradient_hidden(p->g) + lane_row(p, t, s) * D, p->hidden[s] + at * D, (size_t)t->rows * D);
        rc = p->m->ops->linear_fwd(ctx, p->head[s], t->rows, p->hidden[s] + at * D, p->logits + at * V, s > 0);
    }
    const mbk_xent loss = {.L = t->rows,
                           .V = p->V,
                           .ignore = p->t->ignore,
                           .scale = 1,
                           .logits = p->logits + at * V,
                           .ld = p->V,
                           .target = p->t->target + t->token,
                           .weight = p->t->weight ? p->t->weight + t->token : NULL,
                           .loss = p->loss + at,
                           .grad = p->with_gradient ? p->logits + at * V : NULL,
                           .ldgrad = p->V,
                           .hit = p->hit + at};
    if (rc == MB_OK)
        rc = p->m->ops->xent(ctx, &loss);
    return rc == MB_OK && p->with_gradient ? back_rows(p, t, ctx) : rc;
}

/* Rows of a tile that go through head, cross-entropy and back at a time: the logits of a narrow head (Kin small) are
 * larger than its weights, and swept some eight times; so many rows stay in L2 that both weigh the same. The bits of a
 * row do not depend on it. */
static int rows_at_a_time(const panel *p) {
    enum { NEAR = 1 << 16, LEAST = 32 }; /* floats of logits that need no cutting */
    const int tile = p->m->tile, even = p->D > LEAST ? p->D : LEAST;
    return (int64_t)tile * p->V <= NEAR || even > tile ? tile : even;
}

static int run_tile(void *user, int i, const mbk_ctx *ctx) {
    const panel *p = user;
    const panel_tile *t = &p->tile[i];
    const int most = rows_at_a_time(p);
    int rc = MB_OK;
    for (int from = 0; from < t->rows && rc == MB_OK; from += most) {
        panel_tile part = *t;
        part.rows = t->rows - from < most ? t->rows - from : most;
        part.from += from;
        part.token += from;
        part.at += from;
        rc = run_rows(p, &part, ctx);
    }
    return rc;
}

/* ---- the head's gradient --------------------------------------------------------------------------------------------
 */

enum { HEAD_BLOCK = 8 * MBK_TN_BLOCK };

static int head_item(void *user, int i, const mbk_ctx *ctx) {
    const panel *p = user;
    mb_params *sums = mb_gradient_sums(p->g);
    const int blocks = (p->V + HEAD_BLOCK - 1) / HEAD_BLOCK, s = i / blocks, from = i % blocks * HEAD_BLOCK;
    float *C = p->half[s] ? p->complement : (float *)sums->head_w;
    const mbk_gemm_tn run = {.k = p->rows,
                             .m = p->V - from < HEAD_BLOCK ? p->V - from : HEAD_BLOCK,
                             .n = p->D,
                             .accumulate = 1,
                             .precision = p->m->precision,
                             .A = p->logits + from,
                             .lda = p->V,
                             .B = p->hidden[s],
                             .ldb = p->D,
                             .C = C + (size_t)from * (size_t)p->D,
                             .ldc = p->D};
    return p->m->ops->gemm_tn(ctx, &run);
}

/* What the folded copy got belongs to the complement's row, channels turned. */
static void unfold(const panel *p) {
    const mb_config *c = &p->m->config;
    float *head = (float *)mb_gradient_sums(p->g)->head_w;
    for (int v = 0; v < p->V; v++) {
        const size_t comp = (size_t)(v < c->n_complement ? c->complement[v] : v);
        for (int k = 0; k < p->D; k++)
            head[comp * (size_t)p->D + (size_t)(p->D - 1 - k)] += p->complement[(size_t)v * (size_t)p->D + (size_t)k];
    }
}

/* ---- panels ---------------------------------------------------------------------------------------------------------
 */

static void add_result(const panel *p, mb_lm_result *r) {
    for (int i = 0; i < p->tiles; i++)
        for (int k = 0; k < p->tile[i].rows; k++) {
            const int64_t at = p->tile[i].at + k, token = p->tile[i].token + k;
            const double weight = p->t->weight ? (double)p->t->weight[token] : 1;
            if (p->t->target[token] == p->t->ignore)
                continue;
            r->loss += p->loss[at];
            r->weight += weight;
            r->positions += weight > 0;
            r->hits += weight > 0 && p->hit[at];
        }
}

static int run_panel(panel *p, mb_lm_result *r, mb_err *e) {
    int rc = mb_gradient_each(p->g, p->tiles, run_tile, p, "cross-entropy (is every target in the vocabulary?)", e);
    if (rc == MB_OK)
        add_result(p, r);
    if (rc == MB_OK && p->with_gradient)
        rc = mb_gradient_each(p->g, p->strands * ((p->V + HEAD_BLOCK - 1) / HEAD_BLOCK), head_item, p, "head", e);
    p->tiles = 0;
    p->rows = 0;
    return rc;
}

static int run_panels(panel *p, mb_lm_result *r, mb_err *e) {
    const mb_batch_rows *b = mb_gradient_rows(p->g);
    int64_t token = 0;
    MB_ASSERT(p->tile);
    int rc = MB_OK;
    for (int i = 0; i < b->lanes / p->strands && rc == MB_OK; i++) {
        const int64_t length =
            b->lane_at[(size_t)i * (size_t)p->strands + 1] - b->lane_at[(size_t)i * (size_t)p->strands];
        for (int64_t from = 0; from < length && rc == MB_OK; from += p->m->tile) {
            const int rows = length - from < p->m->tile ? (int)(length - from) : p->m->tile;
            p->tile[p->tiles++] = (panel_tile){i, rows, from, token + from, p->rows};
            p->rows += rows;
            if (p->tiles == p->most)
                rc = run_panel(p, r, e);
        }
        token += length;
    }
    return rc == MB_OK && p->tiles > 0 ? run_panel(p, r, e) : rc;
}

int mb_lm_loss(mb_gradient *g, const mb_lm_targets *t, int with_gradient, mb_lm_result *r, mb_err *e) {
    panel p;
    int rc = open_panel(&p, g, t, with_gradient, e);
    if (rc == MB_OK)
        rc = run_panels(&p, r, e);
    if (rc == MB_OK && with_gradient && p.complement)
        unfold(&p);
    return rc;
}
