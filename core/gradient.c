/* Forward and backward over a batch. See gradient.h; the inside of a layer is its mixer's (mixer.h, training). */
#include "core/gradient.h"

#include <omp.h>
#include <string.h>

#include "core/batch_rows.h"
#include "core/model_internal.h"
#include "core/options_internal.h"
#include "core/params_table.h"
#include "core/passes.h"

typedef struct layout { /* of one batch, carved out of the arena */
    float *x;           /* (n_layer+1, rows, D) the stream entering each layer, and after the last */
    float *hidden;      /* (rows,D) */
    float *d_x;         /* (rows,D) gradient of the stream; while going forward: a layer's output */
    float *d_u;         /* (rows,D) */
    float *norm_parts;  /* (tiles,2,D) each tile's share in the gradients of a norm */
    float *states;      /* (n_layer, state floats) */
    float *u;           /* (slots, rows, D) */
    float *space;       /* (slots, space floats) */
    int32_t *token;     /* (rows) */
    float *scratch;     /* (threads, scratch floats) */
    size_t state_floats, space_floats, scratch_floats;
} layout;

struct mb_gradient {
    mb_model *m;
    mb_params *sums;
    mb_gradient_options o;
    mb_direction *first; /* (n_layer) direction of phase 0 */
    mb_rows_table rows;
    mb_arena arena, room;
    layout at;
    int slots;
    float *carry[2]; /* (n_layer, lanes, carry floats): [turn] read by the batch at hand, the other written */
    size_t carry_floats;
    int turn, carrying;
    int *holder; /* (n_layer) which layer's inside slot i holds; -1 none */
};

/* ---- creation -------------------------------------------------------------------------------------------------------
 */

static int find_directions(mb_gradient *g, mb_err *e) {
    mb_passes passes = {0};
    const int n = g->m->config.n_layer;
    g->first = mb_calloc((size_t)n, sizeof *g->first);
    g->holder = mb_calloc((size_t)n, sizeof *g->holder);
    if (!g->first || !g->holder)
        return mb_fail(e, MB_NOMEM, "no memory for %d layers", n);
    int rc = mb_passes_make(&passes, g->m->mixer, n, e);
    for (int i = 0; i < passes.n_passes && rc == MB_OK; i++)
        for (int k = 0; k < passes.pass[i].n_ops; k++) {
            const mb_op *op = &passes.op[passes.pass[i].first_op + k];
            if (op->phase == 0)
                g->first[op->layer] = passes.pass[i].direction;
        }
    mb_passes_free(&passes);
    return rc;
}

static int prepare_layers(mb_gradient *g, mb_err *e) {
    for (int l = 0; l < g->m->config.n_layer; l++) {
        mb_mixer *mixer = g->m->mixer[l];
        if (!mixer->class->training)
            return mb_fail(e, MB_NOTSUP, "layer %d (%s) cannot be trained yet", l, mixer->class->name);
        int rc = mixer->class->training->prepare(mixer, &g->m->params->layer[l], e);
        if (rc != MB_OK)
            return mb_err_context(e, "layer %d", l);
    }
    return MB_OK;
}

int mb_gradient_create(mb_gradient **out, const mb_config *c, mb_params *params, const mb_model_options *mo,
                       const mb_gradient_options *o, mb_err *e) {
    MB_ASSERT(o->threads > 0);
    mb_gradient *g = mb_calloc(1, sizeof *g);
    *out = NULL;
    if (!g) {
        mb_params_free(params);
        return mb_fail(e, MB_NOMEM, "no memory to train a model");
    }
    char why[MB_OPTIONS_WHY];
    g->o = *o;
    if (g->o.memory <= 0)
        g->o.memory = mb_auto_memory("", why);
    int rc = mb_model_create(&g->m, c, params, mo, e);
    if (rc == MB_OK)
        rc = mb_params_clone(&g->sums, c, NULL, e);
    if (rc == MB_OK)
        rc = find_directions(g, e);
    if (rc == MB_OK)
        rc = prepare_layers(g, e);
    if (rc != MB_OK) {
        mb_gradient_destroy(g);
        return rc;
    }
    *out = g;
    return MB_OK;
}

void mb_gradient_destroy(mb_gradient *g) {
    if (!g)
        return;
    mb_arena_destroy(&g->arena);
    mb_arena_destroy(&g->room);
    mb_rows_table_free(&g->rows);
    mb_params_free(g->sums);
    mb_model_destroy(g->m);
    mb_big_free(g->carry[0], g->carry_floats * sizeof(float));
    mb_big_free(g->carry[1], g->carry_floats * sizeof(float));
    mb_free(g->first);
    mb_free(g->holder);
    mb_free(g);
}

mb_model *mb_gradient_model(mb_gradient *g) {
    return g->m;
}

mb_params *mb_gradient_sums(mb_gradient *g) {
    return g->sums;
}

int mb_gradient_threads(const mb_gradient *g) {
    return g->o.threads;
}

int mb_gradient_refresh(mb_gradient *g, mb_err *e) {
    return mb_model_refresh(g->m, g->o.threads, e);
}

void mb_gradient_zero(mb_gradient *g) {
    size_t floats;
    float *pool = mb_params_pool(g->sums, &floats);
    memset(pool, 0, floats * sizeof(float));
}

/* ---- memory ---------------------------------------------------------------------------------------------------------
 */

static size_t widest(const mb_gradient *g, const mb_batch_rows *b,
                     size_t (*of)(const mb_mixer *, const mb_batch_rows *)) {
    size_t most = 0;
    for (int l = 0; l < g->m->config.n_layer; l++) {
        const mb_mixer *mixer = g->m->mixer[l];
        const mb_mixer_training *t = mixer->class->training;
        const size_t n = of ? of(mixer, b) : t->scratch_floats(mixer, g->m->tile);
        most = n > most ? n : most;
    }
    return (most + 15) / 16 * 16;
}

static size_t layer_states(const mb_mixer *mixer, const mb_batch_rows *b) {
    return mixer->class->training->state_floats(mixer, b);
}

static size_t layer_space(const mb_mixer *mixer, const mb_batch_rows *b) {
    return mixer->class->training->space_floats(mixer, b);
}

static void carve(const mb_gradient *g, const mb_batch_rows *b, int slots, mb_arena *a, layout *at) {
    const size_t n = (size_t)b->rows, D = (size_t)g->m->config.D, layers = (size_t)g->m->config.n_layer;
    at->state_floats = widest(g, b, layer_states);
    at->space_floats = widest(g, b, layer_space);
    at->scratch_floats = widest(g, b, NULL);
    at->x = mb_arena_floats(a, (layers + 1) * n * D);
    at->hidden = mb_arena_floats(a, n * D);
    at->d_x = mb_arena_floats(a, n * D);
    at->d_u = mb_arena_floats(a, n * D);
    at->norm_parts = mb_arena_floats(a, (size_t)b->tiles * 2 * D);
    at->states = mb_arena_floats(a, layers * at->state_floats);
    at->u = mb_arena_floats(a, (size_t)slots * n * D);
    at->space = mb_arena_floats(a, (size_t)slots * at->space_floats);
    at->token = mb_arena_take(a, n * sizeof(int32_t));
    at->scratch = mb_arena_floats(a, (size_t)g->o.threads * at->scratch_floats);
}

static int64_t bytes_with(const mb_gradient *g, const mb_batch_rows *b, int slots) {
    mb_arena measured = {0};
    layout at;
    carve(g, b, slots, &measured, &at);
    return (int64_t)measured.used;
}

/* As many layers' insides as the budget allows; the last layer's is always there when its turn to go back comes. */
static mb_gradient_plan plan_for(const mb_gradient *g, const mb_batch_rows *b) {
    const int64_t budget = g->o.memory, one = bytes_with(g, b, 1);
    const int64_t each = bytes_with(g, b, 2) - one;
    const int most = g->m->config.n_layer;
    int64_t slots = budget > one ? 1 + (budget - one) / each : 1;
    slots = slots > most ? most : slots;
    return (mb_gradient_plan){
        .rows = b->rows, .least = one, .bytes = one + (slots - 1) * each, .kept_layers = (int)slots};
}

int mb_gradient_plan_make(const mb_gradient *g, const int64_t *length, int n, mb_gradient_plan *plan, mb_err *e) {
    mb_rows_table rows = {0};
    int rc = mb_rows_table_make(&rows, length, n, mb_model_strands(g->m), g->m->tile, e);
    if (rc == MB_OK)
        *plan = plan_for(g, &rows.b);
    mb_rows_table_free(&rows);
    return rc;
}

static int reserve(mb_gradient *g, mb_err *e) {
    const mb_gradient_plan plan = plan_for(g, &g->rows.b);
    mb_arena measured = {0};
    carve(g, &g->rows.b, plan.kept_layers, &measured, &g->at);
    if (measured.used > g->arena.cap) {
        mb_arena_destroy(&g->arena);
        int rc = mb_arena_create(&g->arena, measured.used, e);
        if (rc != MB_OK)
            return rc;
    }
    g->arena.used = 0;
    carve(g, &g->rows.b, plan.kept_layers, &g->arena, &g->at);
    g->slots = plan.kept_layers;
    for (int i = 0; i < g->m->config.n_layer; i++)
        g->holder[i] = -1;
    return MB_OK;
}

/* ---- states carried from batch to batch -----------------------------------------------------------------------------
 */

static size_t carried_by_layer(const mb_gradient *g, int layer) {
    const mb_mixer *mixer = g->m->mixer[layer];
    return mixer->class->training->carry_floats(mixer);
}

static int make_carry(mb_gradient *g, size_t floats, mb_err *e) {
    if (g->carry_floats == floats)
        return MB_OK;
    for (int i = 0; i < 2; i++) {
        mb_big_free(g->carry[i], g->carry_floats * sizeof(float));
        g->carry[i] = NULL;
    }
    g->carry_floats = 0;
    float *one = mb_big_alloc(floats * sizeof(float)), *other = mb_big_alloc(floats * sizeof(float));
    if (!one || !other) {
        mb_big_free(one, floats * sizeof(float));
        mb_big_free(other, floats * sizeof(float));
        return mb_fail(e, MB_NOMEM, "no memory for %zu bytes of carried states", 2 * floats * sizeof(float));
    }
    g->carry[0] = one;
    g->carry[1] = other;
    g->carry_floats = floats;
    return MB_OK;
}

/* What the last carrying batch left becomes what this one begins with. */
static int begin_carry(mb_gradient *g, const mb_batch *b, mb_err *e) {
    size_t floats = 0;
    g->carrying = b->carries;
    if (!b->carries)
        return MB_OK;
    for (int l = 0; l < g->m->config.n_layer; l++) {
        const size_t each = carried_by_layer(g, l);
        if (each == 0)
            return mb_fail(e, MB_NOTSUP, "only models that run from left to right carry states from batch to batch");
        floats += each * (size_t)g->rows.b.lanes;
    }
    if (b->continues && floats != g->carry_floats)
        return mb_fail(e, MB_RANGE, "a batch of %d sequences cannot go on where another number of them ended", b->n);
    int rc = make_carry(g, floats, e);
    if (rc != MB_OK)
        return rc;
    g->turn = !g->turn;
    if (!b->continues)
        memset(g->carry[g->turn], 0, floats * sizeof(float));
    return MB_OK;
}

const float *mb_gradient_carried(const mb_gradient *g, size_t *n) {
    *n = g->carry_floats;
    return g->carry[!g->turn];
}

void mb_gradient_uncarry(mb_gradient *g) {
    if (g->carrying)
        g->turn = !g->turn;
    g->carrying = 0;
}

int mb_gradient_set_carried(mb_gradient *g, const float *state, size_t n, mb_err *e) {
    int rc = make_carry(g, n, e);
    if (rc == MB_OK && n > 0)
        memcpy(g->carry[!g->turn], state, n * sizeof(float));
    return rc;
}

/* ---- items on workers -----------------------------------------------------------------------------------------------
 */

int mb_gradient_each(mb_gradient *g, int n, mb_gradient_item *run, void *user, const char *what, mb_err *e) {
    int worst = MB_OK;
#pragma omp parallel for num_threads(g->o.threads) schedule(dynamic, 1) reduction(min : worst)
    for (int i = 0; i < n; i++) {
        const mbk_ctx ctx = {omp_get_thread_num(), NULL};
        const int rc = run(user, i, &ctx);
        worst = rc < worst ? rc : worst;
    }
    return worst == MB_OK ? MB_OK : mb_fail(e, worst, "%s: %s", what, mb_status_words(worst));
}

typedef struct work { /* a layer at work, or a norm */
    mb_gradient *g;
    int layer, stage;
    mb_train_layer t;
} work;

static float *stream_at(const mb_gradient *g, int layer) {
    return g->at.x + (size_t)layer * (size_t)g->rows.b.rows * (size_t)g->m->config.D;
}

static size_t offset(const mb_gradient *g, const mb_batch_tile *t) {
    return (size_t)t->at * (size_t)g->m->config.D;
}

static int mixer_item(void *user, int i, const mbk_ctx *ctx) {
    work *w = user;
    const mb_mixer *mixer = w->g->m->mixer[w->layer];
    float *scratch = w->g->at.scratch + (size_t)ctx->worker * w->g->at.scratch_floats;
    return mixer->class->training->item(mixer, &w->t, w->stage, i, ctx, scratch);
}

static int run_stages(work *w, int from, int to, mb_err *e) {
    const mb_mixer *mixer = w->g->m->mixer[w->layer];
    int rc = MB_OK;
    for (w->stage = from; w->stage < to && rc == MB_OK; w->stage++) {
        const int n = mixer->class->training->items(mixer, &w->g->rows.b, w->stage);
        rc = mb_gradient_each(w->g, n, mixer_item, w, mixer->class->name, e);
    }
    return rc == MB_OK ? rc : mb_err_context(e, "layer %d", w->layer);
}

/* ---- forward --------------------------------------------------------------------------------------------------------
 */

static int embed_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const mb_batch_tile *t = &g->rows.b.tile[i];
    const mbk_embed embed = {.L = t->rows,
                             .D = g->m->config.D,
                             .V = g->m->config.V,
                             .token = g->at.token + t->at,
                             .table = g->m->params->embedding,
                             .out = g->at.x + offset(g, t)};
    return g->m->ops->embed_fwd(ctx, &embed);
}

static mbk_norm norm_of(const mb_gradient *g, int layer, const mb_batch_tile *t, float *y) {
    const mb_config *c = &g->m->config;
    const int last = layer == c->n_layer;
    const mb_layer_params *p = last ? NULL : &g->m->params->layer[layer];
    return (mbk_norm){.L = t->rows,
                      .D = c->D,
                      .kind = c->norm,
                      .eps = c->eps,
                      .x = stream_at(g, layer) + offset(g, t),
                      .w = last ? g->m->norm_f_w : p->norm_w,
                      .b = last ? g->m->norm_f_b : p->norm_b,
                      .y = y + offset(g, t)};
}

/* The stream entering a layer (what the layer before added is added first), and its norm. */
static int enter_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const mb_batch_tile *t = &g->rows.b.tile[i];
    mbk_norm norm = norm_of(g, w->layer, t, w->layer == g->m->config.n_layer ? g->at.hidden : (float *)w->t.u);
    if (w->layer > 0) {
        norm.x = stream_at(g, w->layer - 1) + offset(g, t);
        norm.add = g->at.d_x + offset(g, t);
        norm.sum = stream_at(g, w->layer) + offset(g, t);
    }
    return g->m->ops->norm_fwd(ctx, &norm);
}

static int normalise_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mbk_norm norm = norm_of(w->g, w->layer, &w->g->rows.b.tile[i], (float *)w->t.u);
    return w->g->m->ops->norm_fwd(ctx, &norm);
}

/* Early layers share slot 0, the others have one each. */
static int slot_of(const mb_gradient *g, int layer) {
    const int shared = g->m->config.n_layer - g->slots;
    return layer > shared ? layer - shared : 0;
}

static work work_on(mb_gradient *g, int layer) {
    work w = {.g = g, .layer = layer};
    if (layer == g->m->config.n_layer)
        return w;
    const size_t slot = (size_t)slot_of(g, layer);
    w.t = (mb_train_layer){.b = &g->rows.b,
                           .first = g->first[layer],
                           .u = g->at.u + slot * (size_t)g->rows.b.rows * (size_t)g->m->config.D,
                           .out = g->at.d_x,
                           .d_out = g->at.d_x,
                           .d_u = g->at.d_u,
                           .states = g->at.states + (size_t)layer * g->at.state_floats,
                           .space = g->at.space + slot * g->at.space_floats,
                           .grad = &g->sums->layer[layer]};
    if (g->carrying) {
        size_t at = 0;
        for (int l = 0; l < layer; l++)
            at += carried_by_layer(g, l) * (size_t)g->rows.b.lanes;
        w.t.carry_in = g->carry[g->turn] + at;
        w.t.carry_out = g->carry[!g->turn] + at;
    }
    return w;
}

static void place_tokens(mb_gradient *g, const mb_batch *b) {
    const mb_config *c = &g->m->config;
    const int strands = mb_model_strands(g->m);
    const int32_t *from = b->token;
    for (int i = 0; i < b->n; from += b->length[i++])
        for (int s = 0; s < strands; s++) {
            int32_t *to = g->at.token + g->rows.b.lane_at[i * strands + s];
            for (int64_t k = 0; k < b->length[i]; k++) {
                const int32_t v = from[s ? b->length[i] - 1 - k : k];
                to[k] = s && v >= 0 && v < c->n_complement ? c->complement[v] : v;
            }
        }
}

int mb_gradient_forward(mb_gradient *g, const mb_batch *b, mb_err *e) {
    int rc = mb_rows_table_make(&g->rows, b->length, b->n, mb_model_strands(g->m), g->m->tile, e);
    if (rc == MB_OK)
        rc = reserve(g, e);
    if (rc == MB_OK)
        rc = begin_carry(g, b, e);
    if (rc != MB_OK)
        return rc;
    place_tokens(g, b);
    const int tiles = g->rows.b.tiles, layers = g->m->config.n_layer;
    work w = {.g = g};
    rc = mb_gradient_each(g, tiles, embed_item, &w, "a token is outside the vocabulary", e);
    for (int l = 0; l <= layers && rc == MB_OK; l++) {
        w = work_on(g, l);
        rc = mb_gradient_each(g, tiles, enter_item, &w, "norm", e);
        if (l < layers && rc == MB_OK) {
            rc = run_stages(&w, 0, g->m->mixer[l]->class->training->forward_stages, e);
            g->holder[slot_of(g, l)] = l;
        }
    }
    return rc;
}

/* ---- backward -------------------------------------------------------------------------------------------------------
 */

/* d_x = the gradient of the stream below a norm; each tile's share in the norm's own gradients to norm_parts. */
static int norm_back_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const mb_batch_tile *t = &g->rows.b.tile[i];
    const int D = g->m->config.D, last = w->layer == g->m->config.n_layer;
    const mbk_norm norm = norm_of(g, w->layer, t, g->at.hidden);
    float *part = g->at.norm_parts + (size_t)i * 2 * (size_t)D, *d_x = g->at.d_x + offset(g, t);
    memset(part, 0, 2 * (size_t)D * sizeof(float));
    const mbk_norm_bwd back = {.L = t->rows,
                               .D = D,
                               .kind = norm.kind,
                               .eps = norm.eps,
                               .x = norm.x,
                               .w = norm.w,
                               .G = g->at.d_u + offset(g, t),
                               .dx_add = last ? NULL : d_x,
                               .dx = d_x,
                               .dw = part,
                               .db = norm.b ? part + D : NULL};
    return g->m->ops->norm_bwd(ctx, &back);
}

static void add_norm_parts(mb_gradient *g, int layer) {
    const int D = g->m->config.D, last = layer == g->m->config.n_layer;
    const int reversed = last && mb_model_halves_swapped(g->m, layer);
    float *w = (float *)(last ? g->sums->norm_f_w : g->sums->layer[layer].norm_w);
    float *b = (float *)(last ? g->sums->norm_f_b : g->sums->layer[layer].norm_b);
    for (int i = 0; i < g->rows.b.tiles; i++) {
        const float *part = g->at.norm_parts + (size_t)i * 2 * (size_t)D;
        for (int c = 0; c < D; c++) {
            const int to = reversed ? D - 1 - c : c;
            w[to] += part[c];
            if (b)
                b[to] += part[D + c];
        }
    }
}

static int back_through_norm(work *w, mb_err *e) {
    int rc = mb_gradient_each(w->g, w->g->rows.b.tiles, norm_back_item, w, "norm", e);
    if (rc == MB_OK)
        add_norm_parts(w->g, w->layer);
    return rc;
}

/* The inside of a layer is made again unless its slot still holds it. What the forward puts out goes to d_u, which is
 * free then. */
static int restore(work *w, mb_err *e) {
    mb_gradient *g = w->g;
    const mb_mixer *mixer = g->m->mixer[w->layer];
    int *holder = &g->holder[slot_of(g, w->layer)];
    if (*holder == w->layer)
        return MB_OK;
    *holder = w->layer;
    int rc = mb_gradient_each(g, g->rows.b.tiles, normalise_item, w, "norm", e);
    w->t.out = g->at.d_u;
    if (rc == MB_OK)
        rc = run_stages(w, 0, mixer->class->training->again_stages(mixer), e);
    return rc;
}

enum { EMBED_COLUMNS = 32 };

static int embed_back_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const int D = g->m->config.D, from = i * EMBED_COLUMNS;
    const mbk_embed_bwd back = {.L = g->rows.b.rows,
                                .D = D,
                                .V = g->m->config.V,
                                .from = from,
                                .to = from + EMBED_COLUMNS < D ? from + EMBED_COLUMNS : D,
                                .token = g->at.token,
                                .G = g->at.d_x,
                                .dtable = (float *)g->sums->embedding};
    return g->m->ops->embed_bwd(ctx, &back);
}

int mb_gradient_backward(mb_gradient *g, mb_err *e) {
    const int layers = g->m->config.n_layer;
    work w = work_on(g, layers);
    int rc = back_through_norm(&w, e);
    for (int l = layers - 1; l >= 0 && rc == MB_OK; l--) {
        const mb_mixer_training *t = g->m->mixer[l]->class->training;
        w = work_on(g, l);
        rc = restore(&w, e);
        if (rc == MB_OK)
            rc = run_stages(&w, t->forward_stages, t->forward_stages + t->backward_stages, e);
        g->holder[slot_of(g, l)] = -1; /* the backward stages work in place */
        if (rc == MB_OK)
            rc = back_through_norm(&w, e);
    }
    if (rc == MB_OK)
        rc = mb_gradient_each(g, (g->m->config.D + EMBED_COLUMNS - 1) / EMBED_COLUMNS, embed_back_item, &w, "embedding",
                              e);
    return rc;
}

const mb_batch_rows *mb_gradient_rows(const mb_gradient *g) {
    return &g->rows.b;
}

const float *mb_gradient_hidden(const mb_gradient *g) {
    return g->at.hidden;
}

float *mb_gradient_d_hidden(mb_gradient *g) {
    return g->at.d_u;
}

void *mb_gradient_room(mb_gradient *g, size_t bytes, mb_err *e) {
    if (bytes > g->room.cap) {
        mb_arena_destroy(&g->room);
        if (mb_arena_create(&g->room, bytes, e) != MB_OK)
            return NULL;
    }
    return g->room.base;
}
