/* Forward and backward over a batch. See gradient.h; the inside of a layer is its mixer's (mixer.h, training). */
#include "core/gradient.h"

#include <omp.h>
#include <string.h>

#include "core/batch_rows.h"
#include "core/model_internal.h"
#include "core/options_internal.h"
#include "core/params_table.h"
#include "core/passes.h"
#include "core/rng.h"

typedef struct layout { /* of one batch, carved out of the arena */
    float *x;           /* (blocks+1, rows, D) s at each edge (core/blocks.h) */
    float *hidden;      /* (rows,D); the last s where no norm makes another of it */
    float *d_x;         /* (rows,D) gradient of s; while going forward: a block's output */
    float *d_u;         /* (rows,D) */
    float *d_out;       /* (rows,D) gradient of a block's output where dropout makes it another than d_x; or NULL */
    float *norm_parts;  /* (tiles,4,D) each tile's share in the gradients of an edge's norm, and of a second one */
    float *states;      /* (blocks, state floats) */
    float *u;           /* (slots, rows, D) */
    float *space;       /* (slots, space floats) */
    int32_t *token;     /* (rows) */
    int32_t *position;  /* (rows) in its lane; models with positions */
    float *scratch;     /* (threads, scratch floats) */
    size_t state_floats, space_floats, scratch_floats;
} layout;

struct mb_gradient {
    mb_model *m;
    mb_params *sums;
    mb_gradient_options o;
    mb_direction *first; /* (blocks) direction of phase 0 */
    mb_dropout dropout;  /* of the batch at hand */
    int given;           /* it gave rows, not tokens */
    mb_rows_table rows;
    mb_arena arena;
    mb_arena lent; /* to objectives */
    layout at;
    int slots;
    float *carry[2]; /* (blocks, lanes, carry floats): [turn] read by the batch at hand, the other written */
    size_t carry_floats;
    int turn, carrying;
    int *holder; /* (blocks) which block's inside slot i holds; -1 none */
};

/* ---- creation -------------------------------------------------------------------------------------------------------
 */

static int find_directions(mb_gradient *g, mb_err *e) {
    mb_passes passes = {0};
    const int n = g->m->blocks;
    g->first = mb_calloc((size_t)n, sizeof *g->first);
    g->holder = mb_calloc((size_t)n, sizeof *g->holder);
    if (!g->first || !g->holder)
        return mb_fail(e, MB_NOMEM, "no memory for %d layers", g->m->config.n_layer);
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
    for (int i = 0; i < g->m->blocks; i++) {
        mb_mixer *mixer = g->m->mixer[i];
        const int layer = mb_block_at(&g->m->config, i).layer;
        if (!mixer->class->training)
            return mb_fail(e, MB_NOTSUP, "layer %d (%s) cannot be trained yet", layer, mixer->class->name);
        int rc = mixer->class->training->prepare(mixer, &g->m->params->layer[layer], e);
        if (rc != MB_OK)
            return mb_err_context(e, "layer %d", layer);
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
    mb_arena_destroy(&g->lent);
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

int mb_gradient_strands(const mb_gradient *g) {
    const int all = mb_model_strands(g->m);
    return g->o.strands > 0 && g->o.strands < all ? g->o.strands : all;
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
    for (int i = 0; i < g->m->blocks; i++) {
        const mb_mixer *mixer = g->m->mixer[i];
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

/* Whether the hidden rows are memory of their own. */
static int hidden_is_apart(const mb_gradient *g) {
    return g->m->edge[g->m->blocks].norm.w != NULL;
}

static void carve(const mb_gradient *g, const mb_batch_rows *b, int slots, mb_arena *a, layout *at) {
    const size_t n = (size_t)b->rows, D = (size_t)g->m->config.D, blocks = (size_t)g->m->blocks;
    const size_t tile = (size_t)g->m->tile * D, scratch = widest(g, b, NULL);
    at->state_floats = widest(g, b, layer_states);
    at->space_floats = widest(g, b, layer_space);
    at->scratch_floats = scratch > tile ? scratch : (tile + 15) / 16 * 16;
    at->x = mb_arena_floats(a, (blocks + 1) * n * D);
    at->hidden = hidden_is_apart(g) ? mb_arena_floats(a, n * D) : NULL;
    at->d_x = mb_arena_floats(a, n * D);
    at->d_u = mb_arena_floats(a, n * D);
    at->d_out = g->dropout.rate > 0 || g->m->config.dropout > 0 ? mb_arena_floats(a, n * D) : NULL;
    at->norm_parts = mb_arena_floats(a, (size_t)b->tiles * 4 * D);
    at->states = mb_arena_floats(a, blocks * at->state_floats);
    at->u = mb_arena_floats(a, (size_t)slots * n * D);
    at->space = mb_arena_floats(a, (size_t)slots * at->space_floats);
    at->token = mb_arena_take(a, n * sizeof(int32_t));
    at->position = g->m->config.input.positions > 0 ? mb_arena_take(a, n * sizeof(int32_t)) : NULL;
    at->scratch = mb_arena_floats(a, (size_t)g->o.threads * at->scratch_floats);
    if (!at->hidden && at->x)
        at->hidden = at->x + blocks * n * D;
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
    const int most = g->m->blocks;
    int64_t slots = budget > one ? 1 + (budget - one) / each : 1;
    slots = slots > most ? most : slots;
    return (mb_gradient_plan){
        .rows = b->rows, .least = one, .bytes = one + (slots - 1) * each, .kept_layers = (int)slots};
}

int mb_gradient_plan_make(const mb_gradient *g, const int64_t *length, int n, mb_gradient_plan *plan, mb_err *e) {
    mb_rows_table rows = {0};
    int rc = mb_rows_table_make(&rows, length, n, mb_gradient_strands(g), g->m->tile, e);
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
    for (int i = 0; i < g->m->blocks; i++)
        g->holder[i] = -1;
    return MB_OK;
}

int mb_gradient_borrow(mb_gradient *g, size_t bytes, mb_arena *out, mb_err *e) {
    if (bytes > g->lent.cap) {
        mb_arena_destroy(&g->lent);
        int rc = mb_arena_create(&g->lent, bytes, e);
        if (rc != MB_OK)
            return rc;
    }
    *out = g->lent;
    out->used = 0;
    return MB_OK;
}

/* ---- states carried from batch to batch -----------------------------------------------------------------------------
 */

static size_t carried_by_block(const mb_gradient *g, int block) {
    const mb_mixer *mixer = g->m->mixer[block];
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
    if (g->m->config.input.positions > 0)
        return mb_fail(e, MB_NOTSUP, "a model with positions cannot go on after the end of a batch");
    for (int i = 0; i < g->m->blocks; i++) {
        const size_t each = carried_by_block(g, i);
        if (each == 0 && g->m->mixer[i]->class->needs != MB_ANY_ORDER)
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

typedef struct work { /* a block at work, or an edge */
    mb_gradient *g;
    int block, stage; /* block: or edge */
    mb_train_layer t;
} work;

static float *stream_at(const mb_gradient *g, int edge) {
    return g->at.x + (size_t)edge * (size_t)g->rows.b.rows * (size_t)g->m->config.D;
}

static size_t offset(const mb_gradient *g, const mb_batch_tile *t) {
    return (size_t)t->at * (size_t)g->m->config.D;
}

static int mixer_item(void *user, int i, const mbk_ctx *ctx) {
    work *w = user;
    const mb_mixer *mixer = w->g->m->mixer[w->block];
    float *scratch = w->g->at.scratch + (size_t)ctx->worker * w->g->at.scratch_floats;
    return mixer->class->training->item(mixer, &w->t, w->stage, i, ctx, scratch);
}

static int run_stages(work *w, int from, int to, mb_err *e) {
    const mb_mixer *mixer = w->g->m->mixer[w->block];
    int rc = MB_OK;
    for (w->stage = from; w->stage < to && rc == MB_OK; w->stage++) {
        const int n = mixer->class->training->items(mixer, &w->g->rows.b, w->stage);
        rc = mb_gradient_each(w->g, n, mixer_item, w, mixer->class->name, e);
    }
    return rc == MB_OK ? rc : mb_err_context(e, "layer %d", mb_block_at(&w->g->m->config, w->block).layer);
}

/* ---- forward --------------------------------------------------------------------------------------------------------
 */

/* Where an element may fall: the input, inside each block, and what it puts out. */
enum { SITE_INPUT };
static uint32_t site_inside(int block) {
    return 2 * (uint32_t)block + 1;
}
static uint32_t site_output(int block) {
    return 2 * (uint32_t)block + 2;
}

static int drops_output(const mb_gradient *g, int block) {
    return g->dropout.rate > 0 && (mb_block_at(&g->m->config, block).ffn || !g->m->config.layer.undropped);
}

/* y = dropout(x) of a tile's rows; x and y are the arrays of all rows. */
static int drop(const mb_gradient *g, const mbk_ctx *ctx, const mb_batch_tile *t, uint32_t site, const float *x,
                float *y) {
    const mbk_dropout run = {.L = t->rows,
                             .D = g->m->config.D,
                             .row = g->dropout.first_row + t->at,
                             .key = {g->dropout.key[0], g->dropout.key[1]},
                             .site = site,
                             .rate = g->dropout.rate,
                             .x = x + offset(g, t),
                             .y = y + offset(g, t)};
    return g->m->ops->dropout(ctx, &run);
}

static int input_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const mb_batch_tile *t = &g->rows.b.tile[i];
    const int32_t *token = g->given ? NULL : g->at.token + t->at;
    const int rc =
        mb_input_rows(g->m, ctx, t->rows, token, t->at - g->rows.b.lane_at[t->lane], stream_at(g, 0) + offset(g, t));
    return rc == MB_OK && g->dropout.rate > 0 ? drop(g, ctx, t, SITE_INPUT, stream_at(g, 0), stream_at(g, 0)) : rc;
}

static int slot_of(const mb_gradient *g, int block);

/* u at an edge; hidden after the last. (rows,D) */
static float *normed_at(const mb_gradient *g, int edge) {
    if (edge == g->m->blocks)
        return g->at.hidden;
    if (!g->m->edge[edge].norm.w)
        return stream_at(g, edge);
    return g->at.u + (size_t)slot_of(g, edge) * (size_t)g->rows.b.rows * (size_t)g->m->config.D;
}

/* What flows past a block, or NULL. */
static const float *past_at(const mb_gradient *g, int block) {
    const mb_past past = g->m->edge[block].past;
    return past == MB_PAST_NOTHING ? NULL : past == MB_PAST_SUM ? stream_at(g, block) : normed_at(g, block);
}

static int end_norm(const mb_gradient *g, int edge, const mb_batch_tile *t, const mbk_ctx *ctx) {
    if (edge < g->m->blocks || !mb_ends_twice(&g->m->config))
        return MB_OK;
    mbk_norm norm = mb_norm_of(g->m, (mb_edge_norm){g->m->norm_f_w, g->m->norm_f_b}, t->rows);
    norm.x = norm.y = g->at.hidden + offset(g, t);
    return g->m->ops->norm_fwd(ctx, &norm);
}

/* s = past + out (dropped), and its norm. */
static int enter_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const int edge = w->block;
    const mb_batch_tile *t = &g->rows.b.tile[i];
    const size_t at = offset(g, t);
    float *s = stream_at(g, edge) + at, *out = edge > 0 ? g->at.d_x + at : NULL;
    const float *past = edge > 0 ? past_at(g, edge - 1) : NULL;
    int rc =
        edge > 0 && drops_output(g, edge - 1) ? drop(g, ctx, t, site_output(edge - 1), g->at.d_x, g->at.d_x) : MB_OK;
    if (rc != MB_OK)
        return rc;
    past = past ? past + at : NULL;
    if (!g->m->edge[edge].norm.w) {
        const mbk_sum sum = {.n = (int64_t)t->rows * g->m->config.D, .s = 1, .x = out, .add = past, .y = s};
        return out ? g->m->ops->sum(ctx, &sum) : MB_OK;
    }
    mbk_norm norm = mb_norm_of(g->m, g->m->edge[edge].norm, t->rows);
    norm.x = !out ? s : past ? past : out;
    norm.add = past ? out : NULL;
    norm.sum = out ? s : NULL;
    norm.y = normed_at(g, edge) + at;
    rc = g->m->ops->norm_fwd(ctx, &norm);
    return rc == MB_OK ? end_norm(g, edge, t, ctx) : rc;
}

static int normalise_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const mb_batch_tile *t = &g->rows.b.tile[i];
    mbk_norm norm = mb_norm_of(g->m, g->m->edge[w->block].norm, t->rows);
    norm.x = stream_at(g, w->block) + offset(g, t);
    norm.y = normed_at(g, w->block) + offset(g, t);
    return g->m->ops->norm_fwd(ctx, &norm);
}

/* Early blocks share slot 0, the others have one each. */
static int slot_of(const mb_gradient *g, int block) {
    const int shared = g->m->blocks - g->slots;
    return block > shared ? block - shared : 0;
}

static work work_on(mb_gradient *g, int block) {
    work w = {.g = g, .block = block};
    if (block == g->m->blocks)
        return w;
    const int layer = mb_block_at(&g->m->config, block).layer;
    w.t = (mb_train_layer){.b = &g->rows.b,
                           .dropout = &g->dropout,
                           .site = site_inside(block),
                           .first = g->first[block],
                           .u = normed_at(g, block),
                           .out = g->at.d_x,
                           .d_out = drops_output(g, block) ? g->at.d_out : g->at.d_x,
                           .d_u = g->at.d_u,
                           .states = g->at.states + (size_t)block * g->at.state_floats,
                           .space = g->at.space + (size_t)slot_of(g, block) * g->at.space_floats,
                           .grad = &g->sums->layer[layer]};
    if (g->carrying) {
        size_t at = 0;
        for (int i = 0; i < block; i++)
            at += carried_by_block(g, i) * (size_t)g->rows.b.lanes;
        w.t.carry_in = g->carry[g->turn] + at;
        w.t.carry_out = g->carry[!g->turn] + at;
    }
    return w;
}

static void place_tokens(mb_gradient *g, const mb_batch *b) {
    const mb_config *c = &g->m->config;
    const int strands = mb_gradient_strands(g);
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

/* Tokens or rows, positions, dropout: what the batch says of its input. */
static int place_input(mb_gradient *g, const mb_batch *b, mb_err *e) {
    const mb_input_shape *in = &g->m->config.input;
    const mb_batch_rows *rows = &g->rows.b;
    for (int i = 0; i < b->n && in->positions > 0; i++)
        if (b->length[i] > in->positions)
            return mb_fail(e, MB_RANGE, "sequence %d of the batch: %lld tokens, and the model has %d positions", i,
                           (long long)b->length[i], in->positions);
    if (b->row && mb_model_strands(g->m) == 2)
        return mb_fail(e, MB_NOTSUP, "rows have no reverse complement");
    if (!b->row && in->rows)
        return mb_fail(e, MB_NOTSUP, "this model has no embedding of tokens, it takes rows");
    g->given = b->row != NULL;
    if (g->given)
        memcpy(stream_at(g, 0), b->row, (size_t)rows->rows * (size_t)g->m->config.D * sizeof *b->row);
    else
        place_tokens(g, b);
    for (int lane = 0; lane < rows->lanes && g->at.position; lane++)
        for (int64_t k = rows->lane_at[lane]; k < rows->lane_at[lane + 1]; k++)
            g->at.position[k] = (int32_t)(k - rows->lane_at[lane]);
    return MB_OK;
}

/* One key for each step of each seed. */
static int begin_dropout(mb_gradient *g, const mb_batch *b, mb_err *e) {
    const uint64_t seed = b->dropout.seed, step = b->dropout.step;
    const uint32_t counter[4] = {(uint32_t)step, (uint32_t)(step >> 32), 0, 0x64726f70}; /* "drop" */
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    if (!(b->dropout.rate >= 0 && b->dropout.rate <= 0.999F) || b->dropout.first_row < 0)
        return mb_fail(e, MB_RANGE, "a dropout of %g from row %lld on is not possible", (double)b->dropout.rate,
                       (long long)b->dropout.first_row);
    mb_philox4x32(counter, key, out);
    g->dropout = (mb_dropout){.rate = b->dropout.rate, .key = {out[0], out[1]}, .first_row = b->dropout.first_row};
    return MB_OK;
}

int mb_gradient_forward(mb_gradient *g, const mb_batch *b, mb_err *e) {
    int rc = begin_dropout(g, b, e);
    if (rc == MB_OK)
        rc = mb_rows_table_make(&g->rows, b->length, b->n, mb_gradient_strands(g), g->m->tile, e);
    if (rc == MB_OK)
        rc = reserve(g, e);
    if (rc == MB_OK)
        rc = place_input(g, b, e);
    if (rc == MB_OK)
        rc = begin_carry(g, b, e);
    if (rc != MB_OK)
        return rc;
    const int tiles = g->rows.b.tiles, blocks = g->m->blocks;
    work w = {.g = g};
    rc = mb_gradient_each(g, tiles, input_item, &w, "a token is outside the vocabulary", e);
    for (int i = 0; i <= blocks && rc == MB_OK; i++) {
        w = work_on(g, i);
        if (i > 0 || g->m->edge[i].norm.w)
            rc = mb_gradient_each(g, tiles, enter_item, &w, "norm", e);
        if (i < blocks && rc == MB_OK) {
            rc = run_stages(&w, 0, g->m->mixer[i]->class->training->forward_stages, e);
            g->holder[slot_of(g, i)] = i;
        }
    }
    return rc;
}

/* ---- backward -------------------------------------------------------------------------------------------------------
 */

/* Back through one norm: dx (may be G); the tile's share in the norm's own gradients to part (2,D). */
static int norm_back(const mb_gradient *g, mb_edge_norm p, const mb_batch_tile *t, const mbk_ctx *ctx, const float *x,
                     const float *G, const float *add, float *dx, float *part) {
    const int D = g->m->config.D;
    memset(part, 0, 2 * (size_t)D * sizeof(float));
    const mbk_norm_bwd back = {.L = t->rows,
                               .D = D,
                               .kind = g->m->config.norm,
                               .eps = g->m->config.eps,
                               .x = x,
                               .w = p.w,
                               .G = G,
                               .dx_add = add,
                               .dx = dx,
                               .dw = part,
                               .db = p.b ? part + D : NULL};
    return g->m->ops->norm_bwd(ctx, &back);
}

/* d_u = the gradient before the final norm that follows the last edge's own. */
static int end_back(const mb_gradient *g, const mb_batch_tile *t, const mbk_ctx *ctx, float *part) {
    const size_t at = offset(g, t);
    float *u = g->at.scratch + (size_t)ctx->worker * g->at.scratch_floats, *d_u = g->at.d_u + at;
    mbk_norm norm = mb_norm_of(g->m, g->m->edge[g->m->blocks].norm, t->rows);
    norm.x = stream_at(g, g->m->blocks) + at;
    norm.y = u;
    const int rc = g->m->ops->norm_fwd(ctx, &norm);
    return rc == MB_OK ? norm_back(g, (mb_edge_norm){g->m->norm_f_w, g->m->norm_f_b}, t, ctx, u, d_u, NULL, d_u, part)
                       : rc;
}

/* d_x = the gradient of s, from that of u and what flowed past the block; then that of the output of the block before
 * where dropout makes it another. */
static int edge_back_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const mb_batch_tile *t = &g->rows.b.tile[i];
    const mb_edge *edge = &g->m->edge[w->block];
    const size_t at = offset(g, t);
    float *part = g->at.norm_parts + (size_t)i * 4 * (size_t)g->m->config.D, *d_x = g->at.d_x + at;
    float *d_u = g->at.d_u + at;
    const float *past = w->block < g->m->blocks && edge->past != MB_PAST_NOTHING ? d_x : NULL;
    const int64_t n = (int64_t)t->rows * g->m->config.D;
    const int inside = edge->norm.w && edge->past == MB_PAST_NORMED && past; /* it flowed on after the norm */
    const mbk_sum sum = {.n = n, .s = 1, .x = d_u, .add = past, .y = edge->norm.w ? d_u : d_x};
    int rc = w->block == g->m->blocks && mb_ends_twice(&g->m->config)
                 ? end_back(g, t, ctx, part + 2 * (size_t)g->m->config.D)
                 : MB_OK;
    if (rc == MB_OK && (inside || !edge->norm.w))
        rc = g->m->ops->sum(ctx, &sum);
    if (rc == MB_OK && edge->norm.w)
        rc = norm_back(g, edge->norm, t, ctx, stream_at(g, w->block) + at, d_u, inside ? NULL : past, d_x, part);
    if (rc == MB_OK && w->block > 0 && drops_output(g, w->block - 1))
        rc = drop(g, ctx, t, site_output(w->block - 1), g->at.d_x, g->at.d_out);
    return rc;
}

/* norm += the tiles' shares, tile after tile; part: of the first tile. */
static void add_norm_parts(const mb_gradient *g, mb_edge_norm norm, const float *part, int reversed) {
    const int D = g->m->config.D;
    float *w = (float *)(uintptr_t)norm.w, *b = (float *)(uintptr_t)norm.b;
    for (int i = 0; i < g->rows.b.tiles; i++, part += 4 * (size_t)D)
        for (int c = 0; c < D; c++) {
            const int to = reversed ? D - 1 - c : c;
            w[to] += part[c];
            if (b)
                b[to] += part[D + c];
        }
}

static int back_through_edge(work *w, mb_err *e) {
    mb_gradient *g = w->g;
    const mb_config *c = &g->m->config;
    const int last = w->block == g->m->blocks;
    int rc = mb_gradient_each(g, g->rows.b.tiles, edge_back_item, w, "norm", e);
    if (rc == MB_OK && g->m->edge[w->block].norm.w)
        add_norm_parts(g, mb_edge_norm_at(c, g->sums, w->block), g->at.norm_parts,
                       last && mb_model_halves_swapped(g->m, c->n_layer));
    if (rc == MB_OK && last && mb_ends_twice(c))
        add_norm_parts(g, (mb_edge_norm){g->sums->norm_f_w, g->sums->norm_f_b}, g->at.norm_parts + 2 * (size_t)c->D, 0);
    return rc;
}

/* The inside of a block is made again unless its slot still holds it. What the forward puts out goes to d_u, which is
 * free then. */
static int restore(work *w, mb_err *e) {
    mb_gradient *g = w->g;
    const mb_mixer *mixer = g->m->mixer[w->block];
    int *holder = &g->holder[slot_of(g, w->block)], rc = MB_OK;
    if (*holder == w->block)
        return MB_OK;
    *holder = w->block;
    if (g->m->edge[w->block].norm.w)
        rc = mb_gradient_each(g, g->rows.b.tiles, normalise_item, w, "norm", e);
    w->t.out = g->at.d_u;
    if (rc == MB_OK)
        rc = run_stages(w, 0, mixer->class->training->again_stages(mixer), e);
    return rc;
}

/* d_x = the gradient of the input rows before dropout; d_u = that of E[token], where it is another: scaled, nothing for
 * the pad. */
static int input_back_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const mb_input_shape *in = &g->m->config.input;
    const mb_batch_tile *t = &g->rows.b.tile[i];
    const size_t D = (size_t)g->m->config.D, at = offset(g, t);
    int rc = g->dropout.rate > 0 ? drop(g, ctx, t, SITE_INPUT, g->at.d_x, g->at.d_x) : MB_OK;
    if (g->given || rc != MB_OK || (in->scale == 0 && !in->pads))
        return rc;
    const mbk_sum scaled = {.n = (int64_t)t->rows * (int64_t)D,
                            .s = in->scale > 0 ? in->scale : 1,
                            .x = g->at.d_x + at,
                            .y = g->at.d_u + at};
    rc = g->m->ops->sum(ctx, &scaled);
    for (int k = 0; k < t->rows && in->pads; k++)
        if (g->at.token[t->at + k] == 0)
            memset(g->at.d_u + at + (size_t)k * D, 0, D * sizeof(float));
    return rc;
}

enum { EMBED_COLUMNS = 32 };

static int embed_back_item(void *user, int i, const mbk_ctx *ctx) {
    const work *w = user;
    const mb_gradient *g = w->g;
    const mb_input_shape *in = &g->m->config.input;
    const int D = g->m->config.D, from = i * EMBED_COLUMNS;
    mbk_embed_bwd back = {.L = g->rows.b.rows,
                          .D = D,
                          .V = in->positions,
                          .from = from,
                          .to = from + EMBED_COLUMNS < D ? from + EMBED_COLUMNS : D,
                          .token = g->at.position,
                          .G = g->at.d_x,
                          .dtable = (float *)(uintptr_t)g->sums->positions};
    int rc = in->positions > 0 ? g->m->ops->embed_bwd(ctx, &back) : MB_OK;
    if (g->given || rc != MB_OK)
        return rc;
    back.V = g->m->config.V;
    back.token = g->at.token;
    back.G = in->scale > 0 || in->pads ? g->at.d_u : g->at.d_x;
    back.dtable = (float *)(uintptr_t)g->sums->embedding;
    return g->m->ops->embed_bwd(ctx, &back);
}

int mb_gradient_backward(mb_gradient *g, mb_err *e) {
    work w = work_on(g, g->m->blocks);
    int rc = back_through_edge(&w, e);
    for (int i = g->m->blocks - 1; i >= 0 && rc == MB_OK; i--) {
        const mb_mixer_training *t = g->m->mixer[i]->class->training;
        w = work_on(g, i);
        rc = restore(&w, e);
        if (rc == MB_OK)
            rc = run_stages(&w, t->forward_stages, t->forward_stages + t->backward_stages, e);
        g->holder[slot_of(g, i)] = -1; /* the backward stages work in place */
        if (rc == MB_OK)
            rc = back_through_edge(&w, e);
    }
    const mb_input_shape *in = &g->m->config.input;
    if (rc == MB_OK && (g->dropout.rate > 0 || in->scale > 0 || in->pads))
        rc = mb_gradient_each(g, g->rows.b.tiles, input_back_item, &w, "input", e);
    if (rc == MB_OK && (!g->given || in->positions > 0))
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

const float *mb_gradient_d_input(const mb_gradient *g) {
    return g->at.d_x;
}
