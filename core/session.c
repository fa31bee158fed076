/* Streaming inference with a causal model. See session.h; the tiles are those of forward, with states kept. */
#include "core/session.h"

#include <omp.h>
#include <string.h>

#include "core/team.h"
#include "core/tile.h"

struct mb_session {
    const mb_model *m;
    int threads;
    int workers; /* of a step */
    mb_team *team;
    int broken; /* a call failed half-way: the states belong to no position */
    int last[1];
    mb_runner runner;
    mb_carry_set *carry;
    mb_arena arena;
    mb_worker *worker;
    float **state;  /* data of every slot, in slot order */
    float *out;     /* (D) shared by a team */
    float *scratch; /* shared by a team */
    int64_t position;
    float *last_row; /* (D) after the final norm */
};

static size_t step_scratch(const mb_session *s) {
    size_t most = 0;
    for (int i = 0; i < s->m->blocks; i++) {
        const mb_mixer *mixer = s->m->mixer[i];
        const size_t n = mixer->class->scratch_floats(mixer, 1);
        most = n > most ? n : most;
    }
    return most;
}

static void carve(mb_session *s, mb_arena *a) {
    mb_worker throwaway;
    for (int i = 0; i < s->threads; i++)
        mb_worker_carve(a->base ? &s->worker[i] : &throwaway, &s->runner, a, i);
    s->out = mb_arena_floats(a, (size_t)s->m->config.D);
    s->last_row = mb_arena_floats(a, (size_t)s->m->config.D);
    s->scratch = mb_arena_floats(a, step_scratch(s));
    s->team = mb_arena_take(a, sizeof *s->team);
}

static int allocate(mb_session *s, mb_err *e) {
    mb_arena measure = {0};
    int rc = mb_carry_set_create(&s->carry, &s->runner, e);
    if (rc != MB_OK)
        return rc;
    mb_carry_set_start(s->carry, &s->runner, 0);
    s->worker = mb_calloc((size_t)s->threads, sizeof *s->worker);
    s->state = mb_calloc((size_t)s->carry->n_slots + 1, sizeof *s->state);
    if (!s->worker || !s->state)
        return mb_fail(e, MB_NOMEM, "no memory for a session");
    for (int i = 0; i < s->carry->sink_first; i++)
        s->state[i] = s->carry->slot[i].data;
    carve(s, &measure);
    rc = mb_arena_create(&s->arena, measure.used, e);
    if (rc != MB_OK)
        return rc;
    carve(s, &s->arena);
    mb_team_init(s->team);
    return MB_OK;
}

int mb_session_create(mb_session **out, const mb_model *m, int threads, mb_err *e) {
    *out = NULL;
    MB_ASSERT(threads > 0);
    if (!mb_model_is_causal(m))
        return mb_fail(e, MB_NOTSUP,
                       "a bidirectional model cannot be streamed: every output depends on what comes later");
    mb_session *s = mb_calloc(1, sizeof *s);
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory for a session");
    s->m = m;
    s->threads = threads;
    s->workers = threads < omp_get_num_procs() ? threads : omp_get_num_procs();
    s->last[0] = m->config.n_layer;
    int rc = mb_runner_init(&s->runner, m, s->last, 1, 1, e);
    if (rc != MB_OK) {
        mb_free(s);
        return rc;
    }
    rc = allocate(s, e);
    if (rc != MB_OK) {
        mb_session_destroy(s);
        return rc;
    }
    *out = s;
    return MB_OK;
}

void mb_session_destroy(mb_session *s) {
    if (!s)
        return;
    mb_runner_fini(&s->runner);
    if (s->team)
        mb_team_fini(s->team);
    mb_carry_set_destroy(s->carry);
    mb_arena_destroy(&s->arena);
    mb_free(s->worker);
    mb_free(s->state);
    mb_free(s);
}

/* ---- many tokens ----------------------------------------------------------------------------------------------------
 */

typedef struct tee { /* the caller's sink, and the last row for the logits */
    mb_session *s;
    const mb_sink *sink;
    int64_t last;
} tee;

static int tee_rows(void *user, const mb_rows *r, mb_err *e) {
    tee *t = user;
    const size_t D = (size_t)t->s->m->config.D;
    if (t->last >= r->from && t->last < r->from + r->n)
        memcpy(t->s->last_row, r->row + (size_t)(t->last - r->from) * D, D * sizeof(float));
    return t->sink ? t->sink->rows(t->sink->user, r, e) : MB_OK;
}

static void feed_worker(mb_session *s, mb_lane *lane, _Atomic int64_t *next) {
    mb_worker *w = &s->worker[omp_get_thread_num()];
    while (!mb_runner_stopped(&s->runner)) {
        const int64_t turn = atomic_fetch_add(next, 1);
        if (turn >= lane->tiles)
            return;
        mb_tile_run(&s->runner, w, lane, 0, turn);
    }
}

static int last_logits(mb_session *s, const mbk_linear *head, float *logits, mb_err *e) {
    int worst = MB_OK;
#pragma omp parallel num_threads(s->workers)
    {
        int rc = mb_model_head_step(s->m, head, omp_get_thread_num(), omp_get_num_threads(), s->last_row, logits);
        if (rc != MB_OK) {
#pragma omp critical(mb_session_worst)
            worst = rc;
        }
    }
    return worst == MB_OK ? MB_OK : mb_fail(e, worst, "logits of the last token: %s", mb_status_words(worst));
}

/* What can be refused without touching the state; *head is set when there are logits to give. */
static int check_call(const mb_session *s, const int32_t *token, int64_t n, const float *logits,
                      const mbk_linear **head, mb_err *e) {
    const int V = s->m->config.V;
    if (s->broken)
        return mb_fail(e, MB_FAIL,
                       "an error ended the call before in the middle: reset the session or restore a state");
    if (s->m->config.input.rows)
        return mb_fail(e, MB_NOTSUP, "this model has no embedding of tokens, it takes rows");
    if (s->m->config.input.positions > 0 && n > s->m->config.input.positions - s->position)
        return mb_fail(e, MB_RANGE, "position %lld is beyond the model's %d", (long long)(s->position + n - 1),
                       s->m->config.input.positions);
    for (int64_t i = 0; i < n; i++)
        if (token[i] < 0 || token[i] >= V)
            return mb_fail(e, MB_RANGE, "position %lld: token %d is outside the vocabulary of %d",
                           (long long)(s->position + i), (int)token[i], V);
    if (logits && !(*head = mb_model_head(s->m, 0, e)))
        return e ? e->status : MB_FAIL;
    return MB_OK;
}

int mb_session_feed(mb_session *s, const int32_t *token, int64_t n, const mb_sink *sink, float *logits, mb_err *e) {
    const mbk_linear *head = NULL;
    if (n <= 0)
        return mb_fail(e, MB_RANGE, "nothing to feed");
    int rc = check_call(s, token, n, logits, &head, e);
    if (rc != MB_OK)
        return rc;
    const mb_sequence seq = {.length = n, .read = mb_tokens_read, .user = (void *)(uintptr_t)token};
    tee t = {s, sink, s->position + n - 1};
    const mb_sink own = {tee_rows, &t};
    mb_lane lane;
    _Atomic int64_t next = 0;
    mb_lane_init(&lane, &s->runner, &seq, 0, 0);
    lane.base = s->position;
    lane.carry = s->carry;
    mb_carry_set_rewind(s->carry);
    s->runner.sink = &own;
    s->runner.err = (mb_err){0};
    atomic_store(&s->runner.stop, 0);
#pragma omp parallel num_threads(s->threads)
    feed_worker(s, &lane, &next);
    s->runner.sink = NULL;
    s->broken = s->runner.err.status != MB_OK;
    if (s->broken)
        return mb_fail(e, s->runner.err.status, "%s", s->runner.err.text);
    s->position += n;
    return logits ? last_logits(s, head, logits, e) : MB_OK;
}

/* ---- one token ------------------------------------------------------------------------------------------------------
 */

/* Every worker of the team keeps its own stream (the same numbers), so only products and states are shared. *hidden:
 * this worker's row after the last edge. */
static int step_worker(mb_session *s, int32_t token, const mbk_linear *head, float *logits, const float **hidden) {
    const mb_model *m = s->m;
    mb_worker *w = &s->worker[omp_get_thread_num()];
    mb_step step = {.team = s->team,
                    .worker = omp_get_thread_num(),
                    .workers = omp_get_num_threads(),
                    .position = s->position,
                    .out = s->out,
                    .scratch = s->scratch};
    float *x = w->turned;
    int worst = mb_input_rows(m, &w->ctx, 1, &token, s->position, x), rc;
    for (int i = 0; i < m->blocks; i++) {
        rc = mb_edge_arrive(m, i, &w->ctx, 1, x, i > 0 ? s->out : NULL, w->u, &step.u);
        worst = rc != MB_OK ? rc : worst;
        step.state = s->state + s->carry->first[i];
        rc = m->mixer[i]->class->step(m->mixer[i], &step);
        worst = rc != MB_OK ? rc : worst;
    }
    rc = mb_edge_arrive(m, m->blocks, &w->ctx, 1, x, m->blocks > 0 ? s->out : NULL, w->u, hidden);
    worst = rc != MB_OK ? rc : worst;
    if (logits) {
        rc = mb_model_head_step(m, head, step.worker, step.workers, *hidden, logits);
        worst = rc != MB_OK ? rc : worst;
    }
    return worst;
}

int mb_session_step(mb_session *s, int32_t token, float *hidden, float *logits, mb_err *e) {
    const mbk_linear *head = NULL;
    const float *mine = NULL; /* worker 0's hidden row */
    int worst = check_call(s, &token, 1, logits, &head, e);
    if (worst != MB_OK)
        return worst;
#pragma omp parallel num_threads(s->workers)
    {
        const float *row = NULL;
        int rc = step_worker(s, token, head, logits, &row);
        if (omp_get_thread_num() == 0)
            mine = row;
        if (rc != MB_OK) {
#pragma omp critical(mb_session_worst)
            worst = rc;
        }
    }
    s->broken = worst != MB_OK;
    if (s->broken)
        return mb_fail(e, worst, "position %lld: %s", (long long)s->position, mb_status_words(worst));
    s->position++;
    if (hidden)
        memcpy(hidden, mine, (size_t)s->m->config.D * sizeof(float));
    return MB_OK;
}

/* ---- state ----------------------------------------------------------------------------------------------------------
 */

int64_t mb_session_position(const mb_session *s) {
    return s->position;
}

void mb_session_reset(mb_session *s) {
    memset(s->carry->data, 0, s->carry->floats * sizeof(float));
    s->position = 0;
    s->broken = 0;
}

size_t mb_session_state_floats(const mb_session *s) {
    return s->carry->floats;
}

void mb_session_get_state(const mb_session *s, float *state, int64_t *position) {
    memcpy(state, s->carry->data, s->carry->floats * sizeof(float));
    *position = s->position;
}

int mb_session_set_state(mb_session *s, const float *state, size_t floats, int64_t position, mb_err *e) {
    if (floats != s->carry->floats || position < 0)
        return mb_fail(e, MB_FORMAT, "a state of %zu floats at position %lld is not of this model (%zu floats)", floats,
                       (long long)position, s->carry->floats);
    memcpy(s->carry->data, state, floats * sizeof(float));
    s->position = position;
    s->broken = 0;
    return MB_OK;
}
