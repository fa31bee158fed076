/* One tile through one pass. See tile.h. */
#include "core/tile.h"

#include <string.h>

/* ---- the runner -----------------------------------------------------------------------------------------------------
 */

static size_t widest_saved(const mb_runner *r, int kept) {
    size_t most = 0;
    for (int i = 0; i < r->n_run; i++) {
        const mb_mixer *mixer = r->m->mixer[i];
        const size_t s = mixer->class->saved_floats(mixer, kept);
        most = s > most ? s : most;
    }
    return most;
}

int mb_runner_init(mb_runner *r, const mb_model *m, const int *layers, int n_layers, int kept, mb_err *e) {
    *r = (mb_runner){.m = m, .tap = layers, .n_taps = n_layers, .kept = kept};
    for (int i = 0; i < n_layers; i++)
        if (layers[i] < 0 || layers[i] > m->config.n_layer || (i > 0 && layers[i] <= layers[i - 1]))
            return mb_fail(e, MB_RANGE, "layer %d is not there (the model has 0..%d, to be given in ascending order)",
                           layers[i], m->config.n_layer);
    MB_ASSERT(n_layers > 0);
    r->n_run = mb_block_of_layer(&m->config, layers[n_layers - 1]);
    int rc = mb_passes_make(&r->passes, m->mixer, r->n_run, e);
    if (rc != MB_OK)
        return rc;
    r->saved = widest_saved(r, kept);
    pthread_mutex_init(&r->lock, NULL);
    return MB_OK;
}

void mb_runner_fini(mb_runner *r) {
    mb_passes_free(&r->passes);
    pthread_mutex_destroy(&r->lock);
}

void mb_runner_fail(mb_runner *r, int status, const mb_err *e) {
    pthread_mutex_lock(&r->lock);
    if (r->err.status == MB_OK) {
        if (e && e->status != MB_OK)
            r->err = *e;
        else
            mb_fail(&r->err, status, "%s", mb_status_words(status));
    }
    pthread_mutex_unlock(&r->lock);
    atomic_store_explicit(&r->stop, 1, memory_order_relaxed);
}

int mb_runner_stopped(mb_runner *r) {
    if (r->user_stop && atomic_load_explicit(r->user_stop, memory_order_relaxed)) {
        mb_err e = {0};
        mb_fail(&e, MB_STOPPED, "stopped on request");
        mb_runner_fail(r, MB_STOPPED, &e);
    }
    return atomic_load_explicit(&r->stop, memory_order_relaxed);
}

/* ---- memory of a worker ---------------------------------------------------------------------------------------------
 */

size_t mb_record_floats(const mb_runner *r) {
    return (size_t)r->m->tile * ((size_t)r->m->config.D + r->saved);
}

static size_t mixer_scratch(const mb_runner *r) {
    size_t most = 0;
    for (int i = 0; i < r->n_run; i++) {
        const mb_mixer *mixer = r->m->mixer[i];
        const size_t s = mixer->class->scratch_floats(mixer, r->m->tile);
        most = s > most ? s : most;
    }
    return most;
}

void mb_worker_carve(mb_worker *w, const mb_runner *r, mb_arena *a, int number) {
    const size_t T = (size_t)r->m->tile, TD = T * (size_t)r->m->config.D;
    w->ctx = (mbk_ctx){number, NULL};
    w->token = mb_arena_take(a, T * sizeof(int32_t));
    w->record = mb_arena_floats(a, mb_record_floats(r));
    w->u = mb_arena_floats(a, TD);
    w->out = mb_arena_floats(a, TD);
    w->turned = mb_arena_floats(a, TD);
    w->scratch = mb_arena_floats(a, mixer_scratch(r));
}

size_t mb_worker_bytes(const mb_runner *r) {
    mb_arena a = {0};
    mb_worker w;
    mb_worker_carve(&w, r, &a, 0);
    return a.used;
}

void mb_lane_init(mb_lane *l, const mb_runner *r, const mb_sequence *seq, int index, int strand) {
    *l = (mb_lane){.sequence = seq, .index = index, .strand = strand, .length = seq->length};
    l->tiles = (seq->length + r->m->tile - 1) / r->m->tile;
}

/* ---- the tile -------------------------------------------------------------------------------------------------------
 */

typedef struct piece { /* the tile at work */
    mb_runner *r;
    mb_worker *w;
    mb_lane *lane;
    const mb_pass *pass;
    int64_t turn, from; /* from: first row in the lane's own frame */
    int64_t record;     /* tile index */
    int rows;
    float *x;             /* (rows,D) the stream, in its record */
    float *saved;         /* (rows, saved) */
    int edge;             /* where the stream is */
    const float *pending; /* (rows,D) output of the block before that edge, still to be taken in, or NULL */
    mb_err *e;
} piece;

/* Of the tile's rows, in the forward frame of the sequence. */
static int64_t first_position(const piece *p) {
    return p->lane->strand == 1 ? p->lane->length - p->from - p->rows : p->from;
}

/* Puts the place before an error's words. */
static int fail_at(const piece *p, int rc, const char *what) {
    const int64_t first = p->lane->base + first_position(p);
    return mb_fail(p->e, rc, "sequence %d, positions %lld..%lld (from 0): %s", p->lane->index, (long long)first,
                   (long long)(first + p->rows - 1), what);
}

/* Rows given by the caller. */
static int read_rows(piece *p) {
    const mb_sequence *s = p->lane->sequence;
    const int rc = s->rows(s->user, first_position(p), p->rows, p->x);
    return rc == MB_OK ? rc : fail_at(p, rc, "reading its rows failed");
}

static int read_tokens(piece *p) {
    const mb_sequence *s = p->lane->sequence;
    int32_t *token = p->w->token;
    int rc = s->read(s->user, first_position(p), p->rows, token);
    if (rc != MB_OK)
        return fail_at(p, rc, "reading its tokens failed");
    if (p->lane->strand == 0)
        return MB_OK;
    /* reverse complement: row i of the lane is the complement of token length-1-i */
    const mb_config *c = &p->r->m->config;
    for (int i = 0, j = p->rows - 1; i <= j; i++, j--) {
        const int32_t a = token[i], b = token[j];
        token[i] = b >= 0 && b < c->n_complement ? c->complement[b] : b;
        token[j] = a >= 0 && a < c->n_complement ? c->complement[a] : a;
    }
    return MB_OK;
}

static int begin(piece *p) {
    const mb_model *m = p->r->m;
    mb_stream *stream = p->lane->stream;
    float *memory = stream ? mb_stream_memory(stream, p->record) : NULL;
    p->x = memory ? memory : p->w->record;
    p->saved = p->x + (size_t)m->tile * (size_t)m->config.D;
    if (p->pass->loads) {
        if (memory)
            return MB_OK;
        const int64_t step = p->pass->direction == MB_LEFT_TO_RIGHT ? 1 : -1;
        mb_stream_will_need(stream, p->record + step);
        return mb_stream_load(stream, p->record, p->x, mb_record_floats(p->r), p->e);
    }
    const int given = p->lane->sequence->rows != NULL;
    int rc = given ? read_rows(p) : read_tokens(p);
    if (rc != MB_OK)
        return rc;
    rc = mb_input_rows(m, &p->w->ctx, p->rows, given ? NULL : p->w->token, p->lane->base + p->from, p->x);
    return rc == MB_OK ? rc : fail_at(p, rc, "a token is outside the vocabulary, or a position beyond the model's");
}

/* Takes the pending output in. */
static int settle(piece *p) {
    const int rc = mb_edge_settle(p->r->m, p->edge, &p->w->ctx, p->rows, p->x, p->pending);
    p->pending = NULL;
    return rc;
}

/* The stream comes to where the next block begins; *u is what that block's mixer reads. */
static int arrive(piece *p, const float **u) {
    const int rc = mb_edge_arrive(p->r->m, p->edge, &p->w->ctx, p->rows, p->x, p->pending, p->w->u, u);
    p->pending = NULL;
    return rc;
}

/* Rows of the reverse-complement strand in the order of the forward frame: positions and channels reversed. */
static const float *turned(piece *p, const float *row) {
    const size_t D = (size_t)p->r->m->config.D, n = (size_t)p->rows * D;
    for (size_t i = 0; i < n; i++)
        p->w->turned[i] = row[n - 1 - i];
    return p->w->turned;
}

static int deliver(piece *p, int tap, const float *row) {
    mb_runner *r = p->r;
    const int reverse = p->lane->strand == 1;
    const int column = (mb_model_halves_swapped(r->m, r->tap[tap]) ^ reverse) ? r->m->config.D : 0;
    const mb_rows rows = {.sequence = p->lane->index,
                          .strand = p->lane->strand,
                          .column = column,
                          .layer = r->tap[tap],
                          .from = p->lane->base + first_position(p),
                          .n = p->rows,
                          .worker = p->w->ctx.worker,
                          .row = reverse ? turned(p, row) : row};
    const mb_carry order = {p->lane->carry->slot + p->lane->carry->sink_first, p->turn, &r->stop};
    if (!mb_carry_wait(&order, tap))
        return MB_STOPPED;
    int rc = r->sink->rows(r->sink->user, &rows, p->e);
    if (rc == MB_OK) /* a sink that failed is not called with what comes after */
        mb_carry_pass(&order, tap);
    return rc;
}

static int tap_of(const mb_runner *r, int layer) {
    for (int i = 0; i < r->n_taps; i++)
        if (r->tap[i] == layer)
            return i;
    return -1;
}

/* Taps between layers deliver either the stream entering a layer or what the layer before added to it. */
static int delivers_output(const mb_runner *r, int layer) {
    return r->outputs && layer > 0 && layer < r->m->config.n_layer;
}

/* The tap at this edge for the stream itself, or -1. */
static int stream_tap(const piece *p) {
    const mb_config *c = &p->r->m->config;
    mb_block b = {.layer = c->n_layer};
    if (p->edge < p->r->m->blocks)
        b = mb_block_at(c, p->edge);
    return b.ffn || delivers_output(p->r, b.layer) ? -1 : tap_of(p->r, b.layer);
}

/* A block begins. The stream is delivered as what flows past the block: with the norm before it, ahead of the norm. */
static int enter(piece *p, const float **u) {
    const int tap = stream_tap(p), ahead = p->r->m->config.layer.norms == MB_NORM_BEFORE;
    int rc = MB_OK;
    if (tap >= 0 && ahead)
        rc = settle(p);
    if (rc == MB_OK && tap >= 0 && ahead)
        rc = deliver(p, tap, p->x);
    if (rc == MB_OK && !(ahead && p->edge == p->r->n_run))
        rc = arrive(p, u);
    return rc == MB_OK && tap >= 0 && !ahead ? deliver(p, tap, p->x) : rc;
}

/* The mixer of a layer ends: its output. */
static int deliver_output(piece *p, const mb_block *b) {
    const int tap = b->ffn ? -1 : tap_of(p->r, b->layer + 1);
    return tap >= 0 && delivers_output(p->r, b->layer + 1) ? deliver(p, tap, p->pending) : MB_OK;
}

static int run_op(piece *p, int i) {
    mb_runner *r = p->r;
    const mb_op *op = &r->passes.op[p->pass->first_op + i];
    const mb_mixer *mixer = r->m->mixer[op->layer];
    const mb_block block = mb_block_at(&r->m->config, op->layer);
    const int all_kept = r->kept && mixer->class->saved_floats(mixer, 1) > mixer->class->saved_floats(mixer, 0);
    const float *u = NULL;
    int rc = MB_OK;
    p->edge = op->layer;
    if (op->phase == 0)
        rc = enter(p, &u);
    else if (!all_kept)
        rc = mb_edge_again(r->m, p->edge, &p->w->ctx, p->rows, p->x, p->w->u, &u);
    if (rc != MB_OK)
        return rc;
    const mb_mixer_tile tile = {.ctx = &p->w->ctx,
                                .rows = p->rows,
                                .from = p->lane->base + p->from,
                                .direction = p->pass->direction,
                                .phase = op->phase,
                                .u = u,
                                .saved = p->saved,
                                .kept = all_kept,
                                .out = p->w->out,
                                .carry = {p->lane->carry->slot + p->lane->carry->first[i], p->turn, &r->stop},
                                .scratch = p->w->scratch};
    rc = mixer->class->run(mixer, &tile);
    if (rc == MB_STOPPED)
        return rc;
    if (rc != MB_OK) {
        (void)fail_at(p, rc, mb_status_words(rc));
        return mb_err_context(p->e, "layer %d (%s)", block.layer, mixer->class->name);
    }
    if (op->phase < mixer->class->phases - 1)
        return MB_OK;
    p->pending = p->w->out;
    p->edge = op->layer + 1;
    return deliver_output(p, &block);
}

static int finish(piece *p) {
    mb_runner *r = p->r;
    const float *u;
    if (p->pass->stores) {
        int rc = settle(p);
        if (rc != MB_OK || p->x != p->w->record || !p->lane->stream)
            return rc;
        return mb_stream_store(p->lane->stream, p->record, p->x, mb_record_floats(r), p->e);
    }
    p->edge = r->n_run;
    if (r->n_run < r->m->blocks)
        return enter(p, &u);
    const int tap = tap_of(r, r->m->config.n_layer);
    MB_ASSERT(tap >= 0);
    int rc = arrive(p, &u);
    return rc == MB_OK ? deliver(p, tap, u) : rc;
}

void mb_tile_run(mb_runner *r, mb_worker *w, mb_lane *lane, int pass, int64_t turn) {
    mb_err e = {0};
    const mb_pass *ps = &r->passes.pass[pass];
    piece p = {.r = r, .w = w, .lane = lane, .pass = ps, .turn = turn, .e = &e};
    p.record = ps->direction == MB_LEFT_TO_RIGHT ? turn : lane->tiles - 1 - turn;
    p.from = p.record * r->m->tile;
    p.rows = lane->length - p.from < r->m->tile ? (int)(lane->length - p.from) : r->m->tile;
    int rc = begin(&p);
    for (int i = 0; i < ps->n_ops && rc == MB_OK; i++)
        rc = run_op(&p, i);
    if (rc == MB_OK)
        rc = finish(&p);
    if (rc != MB_OK)
        mb_runner_fail(r, rc, &e);
    else
        mb_progress_add(r->progress, p.rows * r->progress_share);
}
