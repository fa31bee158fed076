/* The feed-forward part of a layer as a mixer: out = W2 dropout(act(W1 u + b1)) + b2, each row by itself, so that it
 * runs in any order, carries nothing and keeps nothing between tiles. Dropout in training only. */
#include <string.h>

#include "core/mixer.h"
#include "core/team.h"

enum { UP, D_DOWN, WEIGHTS, BIASES, STAGES };
enum { FORWARD_STAGES = D_DOWN, BACKWARD_STAGES = STAGES - D_DOWN };
enum { WEIGHT_BLOCK = 2 * MBK_TN_BLOCK }; /* rows of a weight's gradient that one item makes */

typedef struct ffn {
    mb_mixer base;
    const mbk_ops *ops;
    mb_ffn_params p;
    int D, F;
    mbk_act_kind act;
    mbk_precision precision;
    int tile;
    size_t bytes;
    mbk_linear *up, *down;           /* W1: D -> F; W2: F -> D */
    mbk_linear *back_up, *back_down; /* transposed; NULL until training is prepared */
} ffn;

static const ffn *as_ffn(const mb_mixer *m) {
    return (const ffn *)(const void *)m;
}

/* ---- creation -------------------------------------------------------------------------------------------------------
 */

static int make_linear(ffn *m, mbk_linear **out, int n_out, int k_in, const float *w, int transposed, mb_err *e) {
    const mbk_linear_spec spec = {
        .Nout = n_out, .Kin = k_in, .W = w, .precision = m->precision, .transposed = transposed, .M_typical = m->tile};
    int rc = m->ops->linear_create(out, &spec);
    m->bytes += m->ops->linear_bytes(&spec);
    return rc == MB_OK ? rc
                       : mb_fail(e, rc, "feed-forward part (%d x %d): cannot prepare the matrix product with %s: %s",
                                 n_out, k_in, mbk_linear_library(), mb_status_words(rc));
}

static void ffn_destroy(mb_mixer *mixer) {
    ffn *m = (ffn *)(void *)mixer;
    if (!m)
        return;
    m->ops->linear_destroy(m->up);
    m->ops->linear_destroy(m->down);
    m->ops->linear_destroy(m->back_up);
    m->ops->linear_destroy(m->back_down);
    mb_free(m);
}

static int ffn_create(mb_mixer **out, const mb_config *c, const mb_layer_params *p, const mbk_ops *ops,
                      mbk_precision precision, int tile, mb_err *e) {
    ffn *m = mb_calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return mb_fail(e, MB_NOMEM, "no memory for the feed-forward part of a layer");
    m->base.class = &mb_ffn_class;
    m->ops = ops;
    m->p = p->ffn;
    m->D = c->D;
    m->F = c->layer.ffn;
    m->act = c->layer.act;
    m->precision = precision;
    m->tile = tile;
    int rc = make_linear(m, &m->up, m->F, m->D, m->p.w1, 0, e);
    if (rc == MB_OK)
        rc = make_linear(m, &m->down, m->D, m->F, m->p.w2, 0, e);
    if (rc != MB_OK) {
        ffn_destroy(&m->base);
        return rc;
    }
    *out = &m->base;
    return MB_OK;
}

static int ffn_prepare(mb_mixer *mixer, const mb_layer_params *p, mb_err *e) {
    ffn *m = (ffn *)(void *)mixer;
    int rc = m->back_up ? MB_OK : make_linear(m, &m->back_up, m->D, m->F, p->ffn.w1, 1, e);
    if (rc == MB_OK && !m->back_down)
        rc = make_linear(m, &m->back_down, m->F, m->D, p->ffn.w2, 1, e);
    return rc;
}

/* Handles remember where their values are. */
static int ffn_refresh(mb_mixer *mixer, const mb_layer_params *p) {
    const ffn *m = as_ffn(mixer);
    mbk_linear *const all[] = {m->up, m->down, m->back_up, m->back_down};
    int rc = MB_OK;
    (void)p;
    for (size_t i = 0; i < sizeof all / sizeof *all && rc == MB_OK; i++)
        rc = all[i] ? m->ops->linear_update(all[i]) : MB_OK;
    return rc;
}

/* ---- running --------------------------------------------------------------------------------------------------------
 */

static size_t ffn_bytes(const mb_mixer *mixer) {
    return sizeof(ffn) + as_ffn(mixer)->bytes;
}

static int no_slots(const mb_mixer *mixer, int phase) {
    (void)mixer;
    (void)phase;
    return 0;
}

static size_t no_slot_floats(const mb_mixer *mixer, int phase, int slot) {
    (void)mixer;
    (void)phase;
    (void)slot;
    return 0;
}

static size_t nothing_saved(const mb_mixer *mixer, int kept) {
    (void)mixer;
    (void)kept;
    return 0;
}

static size_t ffn_scratch_floats(const mb_mixer *mixer, int rows) {
    return (size_t)rows * (size_t)as_ffn(mixer)->F;
}

/* y = act(x + b), rows of width n; y may be x. */
static int activate(const ffn *m, const mbk_ctx *ctx, mbk_act_kind kind, int rows, int n, const float *x,
                    const float *b, float *y) {
    const mbk_act a = {.L = rows, .D = n, .kind = kind, .x = x, .b = b, .y = y};
    return m->ops->act_fwd(ctx, &a);
}

static int project_down(const ffn *m, const mbk_ctx *ctx, int rows, const float *h, float *out) {
    const int rc = m->ops->linear_fwd(ctx, m->down, rows, h, out, 0);
    return rc == MB_OK ? activate(m, ctx, MBK_ACT_NONE, rows, m->D, out, m->p.b2, out) : rc;
}

static int ffn_run(const mb_mixer *mixer, const mb_mixer_tile *t) {
    const ffn *m = as_ffn(mixer);
    int rc = m->ops->linear_fwd(t->ctx, m->up, t->rows, t->u, t->scratch, 0);
    if (rc == MB_OK)
        rc = activate(m, t->ctx, m->act, t->rows, m->F, t->scratch, m->p.b1, t->scratch);
    return rc == MB_OK ? project_down(m, t->ctx, t->rows, t->scratch, t->out) : rc;
}

/* Share of this worker in n columns, cut at multiples of 16. */
static void share(int n, const mb_step *s, int *from, int *to) {
    const int64_t units = (n + 15) / 16;
    *from = (int)(units * s->worker / s->workers) * 16;
    *to = (int)(units * (s->worker + 1) / s->workers) * 16;
    *to = *to < n ? *to : n;
    *from = *from < *to ? *from : *to;
}

/* This worker's columns of act(W x + b). */
static int step_columns(const ffn *m, const mb_step *s, const mbk_linear *w, mbk_act_kind kind, int n, const float *b,
                        const float *x, float *y) {
    const mbk_ctx ctx = {s->worker, NULL};
    int from, to;
    share(n, s, &from, &to);
    int rc = from < to ? m->ops->linear_step(&ctx, w, from, to, x, y) : MB_OK;
    return rc == MB_OK && from < to ? activate(m, &ctx, kind, 1, to - from, y + from, b + from, y + from) : rc;
}

static int ffn_step(const mb_mixer *mixer, const mb_step *s) {
    const ffn *m = as_ffn(mixer);
    int worst = step_columns(m, s, m->up, m->act, m->F, m->p.b1, s->u, s->scratch);
    mb_team_meet(s->team, s->workers);
    const int rc = step_columns(m, s, m->down, MBK_ACT_NONE, m->D, m->p.b2, s->scratch, s->out);
    worst = rc != MB_OK ? rc : worst;
    mb_team_meet(s->team, s->workers);
    return worst;
}

/* ---- training -------------------------------------------------------------------------------------------------------
 */

typedef struct space {
    float *a;    /* (rows,F) W1 u; after D_DOWN: its gradient */
    float *h;    /* (rows,F) dropout(act(a + b1)) */
    float *bias; /* (tiles, F+D) each tile's share in the gradients of b1 and b2 */
} space;

static float *take(float **at, size_t floats) {
    float *p = *at;
    *at += (floats + 15) / 16 * 16;
    return p;
}

static size_t lay_out(const ffn *m, const mb_batch_rows *b, float *base, space *s) {
    const size_t n = (size_t)b->rows * (size_t)m->F;
    float *at = base;
    s->a = take(&at, n);
    s->h = take(&at, n);
    s->bias = take(&at, (size_t)b->tiles * (size_t)(m->F + m->D));
    return (size_t)(at - base);
}

static size_t space_floats(const mb_mixer *mixer, const mb_batch_rows *b) {
    static float origin[1];
    space s;
    return lay_out(as_ffn(mixer), b, origin, &s);
}

static size_t state_floats(const mb_mixer *mixer, const mb_batch_rows *b) {
    (void)mixer;
    (void)b;
    return 0;
}

static size_t carry_floats(const mb_mixer *mixer) {
    (void)mixer;
    return 0;
}

/* x = dropout(x), rows of width F of a tile. */
static int drop(const ffn *m, const mb_train_layer *t, const mb_batch_tile *tile, const mbk_ctx *ctx, float *x) {
    const mb_dropout *d = t->dropout;
    if (!d || d->rate == 0)
        return MB_OK;
    const mbk_dropout run = {.L = tile->rows,
                             .D = m->F,
                             .row = d->first_row + tile->at,
                             .key = {d->key[0], d->key[1]},
                             .site = t->site,
                             .rate = d->rate,
                             .x = x,
                             .y = x};
    return m->ops->dropout(ctx, &run);
}

static int run_up(const ffn *m, const mb_train_layer *t, const space *s, const mb_batch_tile *tile,
                  const mbk_ctx *ctx) {
    const size_t at = (size_t)tile->at * (size_t)m->F, row = (size_t)tile->at * (size_t)m->D;
    float *a = s->a + at, *h = s->h + at;
    int rc = m->ops->linear_fwd(ctx, m->up, tile->rows, t->u + row, a, 0);
    if (rc == MB_OK)
        rc = activate(m, ctx, m->act, tile->rows, m->F, a, m->p.b1, h);
    if (rc == MB_OK)
        rc = drop(m, t, tile, ctx, h);
    return rc == MB_OK ? project_down(m, ctx, tile->rows, h, t->out + row) : rc;
}

/* d a, in the place of a; the tile's shares in the biases; d u. */
static int back_down(const ffn *m, const mb_train_layer *t, const space *s, int i, const mbk_ctx *ctx, float *scratch) {
    const mb_batch_tile *tile = &t->b->tile[i];
    const size_t at = (size_t)tile->at * (size_t)m->F, row = (size_t)tile->at * (size_t)m->D;
    float *a = s->a + at, *share = s->bias + (size_t)i * (size_t)(m->F + m->D);
    memset(share, 0, (size_t)(m->F + m->D) * sizeof *share);
    int rc = m->ops->linear_fwd(ctx, m->back_down, tile->rows, t->d_out + row, scratch, 0);
    if (rc == MB_OK)
        rc = drop(m, t, tile, ctx, scratch);
    const mbk_act_bwd act = {
        .L = tile->rows, .D = m->F, .kind = m->act, .x = a, .b = m->p.b1, .G = scratch, .dx = a, .db = share};
    const mbk_act_bwd sums = {
        .L = tile->rows, .D = m->D, .kind = MBK_ACT_NONE, .G = t->d_out + row, .db = share + m->F};
    if (rc == MB_OK)
        rc = m->ops->act_bwd(ctx, &act);
    if (rc == MB_OK)
        rc = m->ops->act_bwd(ctx, &sums);
    return rc == MB_OK ? m->ops->linear_fwd(ctx, m->back_up, tile->rows, a, t->d_u + row, 0) : rc;
}

static size_t train_scratch_floats(const mb_mixer *mixer, int tile) {
    return (size_t)tile * (size_t)as_ffn(mixer)->F;
}

static int blocks_in(int rows) {
    return (rows + WEIGHT_BLOCK - 1) / WEIGHT_BLOCK;
}

/* Rows of dW1 (F,D) = d a^T u, then of dW2 (D,F) = d out^T h. */
static int back_weights(const ffn *m, const mb_train_layer *t, const space *s, int item, const mbk_ctx *ctx) {
    const int second = item >= blocks_in(m->F), from = (second ? item - blocks_in(m->F) : item) * WEIGHT_BLOCK;
    const int rows = second ? m->D : m->F, cols = second ? m->F : m->D;
    float *C = (float *)(uintptr_t)(second ? t->grad->ffn.w2 : t->grad->ffn.w1);
    const mbk_gemm_tn run = {.k = t->b->rows,
                             .m = rows - from < WEIGHT_BLOCK ? rows - from : WEIGHT_BLOCK,
                             .n = cols,
                             .accumulate = 1,
                             .precision = m->precision,
                             .A = (second ? t->d_out : s->a) + from,
                             .lda = rows,
                             .B = second ? s->h : t->u,
                             .ldb = cols,
                             .C = C + (size_t)from * (size_t)cols,
                             .ldc = cols};
    return m->ops->gemm_tn(ctx, &run);
}

/* Tile after tile. */
static int back_biases(const ffn *m, const mb_train_layer *t, const space *s, const mbk_ctx *ctx) {
    float *b1 = (float *)(uintptr_t)t->grad->ffn.b1, *b2 = (float *)(uintptr_t)t->grad->ffn.b2;
    int rc = MB_OK;
    for (int i = 0; i < t->b->tiles && rc == MB_OK; i++) {
        const float *share = s->bias + (size_t)i * (size_t)(m->F + m->D);
        const mbk_sum first = {.n = m->F, .s = 1, .x = share, .add = b1, .y = b1};
        const mbk_sum second = {.n = m->D, .s = 1, .x = share + m->F, .add = b2, .y = b2};
        rc = m->ops->sum(ctx, &first);
        if (rc == MB_OK)
            rc = m->ops->sum(ctx, &second);
    }
    return rc;
}

static int again_stages(const mb_mixer *mixer) {
    (void)mixer;
    return FORWARD_STAGES;
}

static int items(const mb_mixer *mixer, const mb_batch_rows *b, int stage) {
    const ffn *m = as_ffn(mixer);
    return stage == WEIGHTS ? blocks_in(m->F) + blocks_in(m->D) : stage == BIASES ? 1 : b->tiles;
}

static int item(const mb_mixer *mixer, const mb_train_layer *t, int stage, int i, const mbk_ctx *ctx, float *scratch) {
    const ffn *m = as_ffn(mixer);
    space s;
    (void)lay_out(m, t->b, t->space, &s);
    switch (stage) {
    case UP:
        return run_up(m, t, &s, &t->b->tile[i], ctx);
    case D_DOWN:
        return back_down(m, t, &s, i, ctx, scratch);
    case WEIGHTS:
        return back_weights(m, t, &s, i, ctx);
    default:
        return back_biases(m, t, &s, ctx);
    }
}

static const mb_mixer_training training = {.forward_stages = FORWARD_STAGES,
                                           .backward_stages = BACKWARD_STAGES,
                                           .again_stages = again_stages,
                                           .prepare = ffn_prepare,
                                           .refresh = ffn_refresh,
                                           .state_floats = state_floats,
                                           .space_floats = space_floats,
                                           .scratch_floats = train_scratch_floats,
                                           .carry_floats = carry_floats,
                                           .items = items,
                                           .item = item};

const mb_mixer_class mb_ffn_class = {.name = "ffn",
                                     .needs = MB_ANY_ORDER,
                                     .phases = 1,
                                     .create = ffn_create,
                                     .destroy = ffn_destroy,
                                     .bytes = ffn_bytes,
                                     .slots = no_slots,
                                     .slot_floats = no_slot_floats,
                                     .saved_floats = nothing_saved,
                                     .scratch_floats = ffn_scratch_floats,
                                     .run = ffn_run,
                                     .step = ffn_step,
                                     .training = &training};
