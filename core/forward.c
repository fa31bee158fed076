/* Running a model over sequences. See forward.h for what is promised, tile.h for the inside of a pass. */
#include "core/forward.h"

#include <omp.h>
#include <string.h>

#include "core/groups.h"
#include "core/tile.h"

static const int64_t MAX_LENGTH = (int64_t)1 << 48; /* of a sequence: sums of lengths stay far from overflow */

int mb_tokens_read(void *user, int64_t from, int n, int32_t *token) {
    memcpy(token, (const int32_t *)user + from, (size_t)n * sizeof *token);
    return MB_OK;
}

int mb_tokens8_read(void *user, int64_t from, int n, int32_t *token) {
    const uint8_t *t = (const uint8_t *)user + from;
    for (int i = 0; i < n; i++)
        token[i] = t[i];
    return MB_OK;
}

typedef struct job {
    const mb_model *m;
    mb_forward_options o;
    int last[1];          /* the default layer list */
    mb_runner kept, lean; /* the same run, two ways */
    int n_ready;          /* runners initialised */
    mb_lane *lane;
    int n_lanes;
    mb_groups groups;
    mb_arena arena;
    mb_worker *worker;
} job;

static void run_fini(job *r) {
    mb_groups_free(&r->groups);
    if (r->n_ready > 0)
        mb_runner_fini(&r->kept);
    if (r->n_ready > 1)
        mb_runner_fini(&r->lean);
    mb_free(r->lane);
    mb_free(r->worker);
    mb_arena_destroy(&r->arena);
}

/* Tokens or rows, and no more of them than there are positions. A plan gives lengths alone. */
static int check_input(const mb_model *m, const mb_sequence *s, int i, mb_err *e) {
    const int most = m->config.input.positions;
    if (most > 0 && s->length > most)
        return mb_fail(e, MB_RANGE, "sequence %d: %lld tokens, and the model has %d positions", i, (long long)s->length,
                       most);
    if (s->rows && mb_model_strands(m) == 2)
        return mb_fail(e, MB_NOTSUP, "sequence %d: rows have no reverse complement", i);
    if (s->read && m->config.input.rows)
        return mb_fail(e, MB_NOTSUP, "sequence %d: this model has no embedding of tokens, it takes rows", i);
    return MB_OK;
}

static int make_lanes(job *r, const mb_sequence *seq, int n, mb_err *e) {
    const int strands = mb_model_strands(r->m), want = r->o.strands ? r->o.strands : (1 << strands) - 1;
    if (want >> strands)
        return mb_fail(e, MB_RANGE, "this model has no reverse-complement strand of its own");
    r->lane = mb_calloc((size_t)n * (size_t)strands + 1, sizeof *r->lane);
    if (!r->lane)
        return mb_fail(e, MB_NOMEM, "no memory for %d sequences", n);
    for (int i = 0; i < n; i++) {
        if (seq[i].length <= 0)
            return mb_fail(e, MB_RANGE, "sequence %d is empty", i);
        if (seq[i].length > MAX_LENGTH)
            return mb_fail(e, MB_RANGE, "sequence %d: %lld tokens are beyond %lld", i, (long long)seq[i].length,
                           (long long)MAX_LENGTH);
        const int rc = check_input(r->m, &seq[i], i, e);
        if (rc != MB_OK)
            return rc;
        for (int s = 0; s < strands; s++)
            if (want >> s & 1)
                mb_lane_init(&r->lane[r->n_lanes++], &r->kept, &seq[i], i, s);
    }
    return MB_OK;
}

static int run_init(job *r, const mb_model *m, const mb_sequence *seq, int n, const mb_forward_options *o, mb_err *e) {
    *r = (job){.m = m, .o = *o, .last = {m->config.n_layer}};
    MB_ASSERT(o->threads > 0);
    if (!r->o.layers) {
        r->o.layers = r->last;
        r->o.n_layers = 1;
    }
    int rc = mb_runner_init(&r->kept, m, r->o.layers, r->o.n_layers, 1, e);
    if (rc != MB_OK)
        return rc;
    r->n_ready = 1;
    rc = mb_runner_init(&r->lean, m, r->o.layers, r->o.n_layers, 0, e);
    if (rc != MB_OK)
        return rc;
    r->n_ready = 2;
    rc = make_lanes(r, seq, n, e);
    if (rc == MB_OK)
        rc = mb_groups_make(&r->groups, &r->kept, &r->lean, r->lane, r->n_lanes, o->threads, o->memory, e);
    return rc;
}

static int make_workers(job *r, mb_err *e) {
    mb_arena measure = {0};
    mb_worker throwaway;
    r->worker = mb_calloc((size_t)r->o.threads, sizeof *r->worker);
    if (!r->worker)
        return mb_fail(e, MB_NOMEM, "no memory for %d workers", r->o.threads);
    for (int i = 0; i < r->o.threads; i++)
        mb_worker_carve(&throwaway, &r->kept, &measure, i);
    int rc = mb_arena_create(&r->arena, measure.used, e);
    for (int i = 0; rc == MB_OK && i < r->o.threads; i++)
        mb_worker_carve(&r->worker[i], &r->kept, &r->arena, i);
    return rc;
}

/* ---- many short lanes: each on one worker ---------------------------------------------------------------------------
 */

static void run_lane_alone(mb_runner *r, mb_worker *w, mb_lane *lane) {
    for (int pass = 0; pass < r->passes.n_passes; pass++) {
        mb_carry_set_start(lane->carry, r, pass);
        for (int64_t turn = 0; turn < lane->tiles; turn++) {
            if (mb_runner_stopped(r))
                return;
            mb_tile_run(r, w, lane, pass, turn);
        }
    }
}

static void solo_worker(job *run, mb_runner *r, const mb_group *g, atomic_int *next) {
    mb_worker *w = &run->worker[omp_get_thread_num()];
    mb_carry_set *carry = NULL;
    mb_stream *stream = NULL;
    mb_err e = {0};
    int rc = mb_carry_set_create(&carry, r, &e);
    if (rc == MB_OK && r->passes.n_passes > 1)
        rc = mb_stream_create(&stream, g->in_memory, mb_record_floats(r), g->in_memory, run->o.scratch, &e);
    if (rc != MB_OK)
        mb_runner_fail(r, rc, &e);
    while (!mb_runner_stopped(r)) {
        const int i = atomic_fetch_add(next, 1);
        if (i >= g->count)
            break;
        mb_lane *lane = &run->lane[g->first + i];
        lane->carry = carry;
        lane->stream = stream;
        run_lane_alone(r, w, lane);
        lane->carry = NULL;
        lane->stream = NULL;
    }
    mb_carry_set_destroy(carry);
    mb_stream_destroy(stream);
}

static void run_solo(job *run, mb_runner *r, const mb_group *g) {
    atomic_int next = 0;
#pragma omp parallel num_threads(run->o.threads)
    solo_worker(run, r, g, &next);
}

/* ---- long lanes: workers share the tiles ----------------------------------------------------------------------------
 */

typedef struct claims { /* tiles of one pass, handed out in order: turn by turn, lane by lane */
    pthread_mutex_t lock;
    int64_t turn;
    int lane;
} claims;

static int claim(const job *run, const mb_group *g, claims *c, int *lane, int64_t *turn) {
    int found = 0;
    pthread_mutex_lock(&c->lock);
    for (int passed = 0; passed <= g->count && !found; passed++) {
        if (c->lane == g->count) {
            c->lane = 0;
            c->turn++;
        }
        *lane = g->first + c->lane++;
        *turn = c->turn;
        found = *turn < run->lane[*lane].tiles;
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void share_pass(job *run, mb_runner *r, const mb_group *g, claims *c, int pass) {
    mb_worker *w = &run->worker[omp_get_thread_num()];
    int lane;
    int64_t turn;
    while (!mb_runner_stopped(r) && claim(run, g, c, &lane, &turn))
        mb_tile_run(r, w, &run->lane[lane], pass, turn);
}

static int open_lanes(job *run, mb_runner *r, const mb_group *g, mb_err *e) {
    int rc = MB_OK;
    for (int i = g->first; i < g->first + g->count && rc == MB_OK; i++) {
        mb_lane *l = &run->lane[i];
        const int64_t in_memory = l->tiles < g->in_memory ? l->tiles : g->in_memory;
        rc = mb_carry_set_create(&l->carry, r, e);
        if (rc == MB_OK && r->passes.n_passes > 1)
            rc = mb_stream_create(&l->stream, l->tiles, mb_record_floats(r), in_memory, run->o.scratch, e);
    }
    return rc;
}

static void close_lanes(job *run, const mb_group *g) {
    for (int i = g->first; i < g->first + g->count; i++) {
        mb_carry_set_destroy(run->lane[i].carry);
        mb_stream_destroy(run->lane[i].stream);
        run->lane[i].carry = NULL;
        run->lane[i].stream = NULL;
    }
}

static void run_shared(job *run, mb_runner *r, const mb_group *g) {
    mb_err e = {0};
    int rc = open_lanes(run, r, g, &e);
    if (rc != MB_OK)
        mb_runner_fail(r, rc, &e);
    for (int pass = 0; pass < r->passes.n_passes && rc == MB_OK && !mb_runner_stopped(r); pass++) {
        claims c = {.turn = 0, .lane = 0};
        pthread_mutex_init(&c.lock, NULL);
        for (int i = g->first; i < g->first + g->count; i++)
            mb_carry_set_start(run->lane[i].carry, r, pass);
#pragma omp parallel num_threads(run->o.threads)
        share_pass(run, r, g, &c, pass);
        pthread_mutex_destroy(&c.lock);
    }
    close_lanes(run, g);
}

/* ---- public ---------------------------------------------------------------------------------------------------------
 */

static void prepare(job *run, mb_runner *r, const mb_sink *sink) {
    r->sink = sink;
    r->outputs = run->o.outputs;
    r->progress = run->o.progress;
    r->user_stop = run->o.stop;
    const int lanes_per_sequence = run->o.strands == 1 || run->o.strands == 2 ? 1 : mb_model_strands(run->m);
    r->progress_share = 1.0 / (r->passes.n_passes * lanes_per_sequence);
}

int mb_forward_run(const mb_model *m, const mb_sequence *seq, int n, const mb_forward_options *o, const mb_sink *sink,
                   mb_err *e) {
    job run;
    int rc = run_init(&run, m, seq, n, o, e);
    if (rc == MB_OK)
        rc = make_workers(&run, e);
    if (rc == MB_OK) {
        prepare(&run, &run.kept, sink);
        prepare(&run, &run.lean, sink);
    }
    for (int i = 0; i < run.groups.n && rc == MB_OK; i++) {
        const mb_group *g = &run.groups.group[i];
        mb_runner *r = g->kept ? &run.kept : &run.lean;
        if (g->solo)
            run_solo(&run, r, g);
        else
            run_shared(&run, r, g);
        rc = r->err.status;
        if (rc != MB_OK)
            mb_fail(e, rc, "%s", r->err.text);
    }
    run_fini(&run);
    return rc;
}

int mb_forward_plan_make(const mb_model *m, const int64_t *lengths, int n, const mb_forward_options *o,
                         mb_forward_plan *plan, mb_err *e) {
    job run = {0};
    mb_sequence *seq = mb_calloc((size_t)n + 1, sizeof *seq);
    int rc = seq ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %d sequences", n);
    for (int i = 0; i < n && rc == MB_OK; i++)
        seq[i].length = lengths[i];
    if (rc == MB_OK)
        rc = run_init(&run, m, seq, n, o, e);
    if (rc == MB_OK)
        *plan = run.groups.worst;
    run_fini(&run);
    mb_free(seq);
    return rc;
}

int mb_forward_check_memory(const mb_model *m, const mb_forward_options *o, mb_err *e) {
    const int64_t length = (int64_t)1 << 20; /* beyond some tiles, workers take the same for any length */
    char has[32], needs[32];
    mb_forward_plan plan;
    int rc = mb_forward_plan_make(m, &length, 1, o, &plan, e);
    if (rc == MB_OK && o->memory > 0 && o->memory < plan.worker_bytes)
        mb_warn("--memory %s is less than the %s that %d threads need beside the weights; that is taken all the same "
                "(fewer --threads need less)",
                mb_human_bytes((double)o->memory, has), mb_human_bytes((double)plan.worker_bytes, needs), o->threads);
    return rc;
}
