/* See live.h. A transaction is a run of requests ("part"): users are taken, each user's requests run in order on one
 * worker, the vectors of all are scored together, each user's answers are made in order, all is committed. */
#include "recsys/live.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/live_internal.h"

static const size_t SCORES_MOST = (size_t)64 << 20; /* bytes of scores of a part */

/* ---- life ---------------------------------------------------------------------------------------------------------*/
static int make_workers(rec_live *l, mb_err *e) {
    l->worker = mb_calloc((size_t)l->o.threads, sizeof *l->worker);
    if (!l->worker)
        return mb_fail(e, MB_NOMEM, "no memory for %d workers", l->o.threads);
    for (int i = 0; i < l->o.threads; i++) {
        rec_live_worker *w = &l->worker[i];
        w->D = l->D;
        int rc = mb_session_create(&w->session, rec_model_engine(l->model), 1, e);
        if (rc)
            return rc;
        w->vector = mb_calloc((size_t)l->most, (size_t)l->D * sizeof(float));
        w->token = mb_calloc((size_t)l->most, sizeof *w->token);
        w->candidate = mb_malloc((size_t)l->items + 1);
        if (!w->vector || !w->token || !w->candidate)
            return mb_fail(e, MB_NOMEM, "no memory for %d requests at a time", l->most);
        if (l->o.allowed)
            memcpy(w->candidate, l->o.allowed, (size_t)l->items + 1);
        else
            memset(w->candidate, 1, (size_t)l->items + 1);
    }
    return MB_OK;
}

static int set_up(rec_live *l, rec_store *store, mb_err *e) {
    const size_t columns = (size_t)l->items + 1, fit = SCORES_MOST / (columns * sizeof(float));
    l->most = fit < 1 ? 1 : fit < (size_t)l->o.batch ? (int)fit : l->o.batch;
    int rc = make_workers(l, e);
    if (rc)
        return rc;
    l->vector = mb_calloc((size_t)l->most, (size_t)l->D * sizeof(float));
    l->score = mb_calloc((size_t)l->most, columns * sizeof(float));
    l->next = mb_calloc((size_t)l->most, sizeof *l->next);
    l->row = mb_calloc((size_t)l->most, sizeof *l->row);
    l->token = mb_calloc((size_t)l->most, sizeof *l->token);
    if (!l->vector || !l->score || !l->next || !l->row || !l->token)
        return mb_fail(e, MB_NOMEM, "no memory for %d requests at a time", l->most);
    l->shape = (rec_shape){.vector_floats = (uint32_t)l->D,
                           .state_floats = (uint32_t)mb_session_state_floats(l->worker[0].session),
                           .items = l->items};
    for (int i = 0; i < 16; i++) { /* the first half of the 128 bits that matter */
        const char c = rec_store_digest(store)[i];
        l->shape.tag = l->shape.tag << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return rec_users_create(&l->users, store, &l->shape, l->o.memory, e);
}

int rec_live_create(rec_live **out, const rec_model *m, rec_store *s, const rec_live_options *o, mb_err *e) {
    *out = NULL;
    MB_ASSERT(o->threads > 0 && o->batch > 0);
    rec_live *l = mb_calloc(1, sizeof *l);
    if (!l)
        return mb_fail(e, MB_NOMEM, "no memory for live states");
    l->model = m;
    l->store = s;
    l->o = *o;
    l->items = rec_model_items(m);
    l->D = mb_model_config(rec_model_engine(m))->D;
    int rc = set_up(l, s, e);
    if (rc) {
        rec_live_destroy(l);
        return rc;
    }
    *out = l;
    return MB_OK;
}

void rec_live_destroy(rec_live *l) {
    if (!l)
        return;
    for (int i = 0; l->worker && i < l->o.threads; i++) {
        mb_session_destroy(l->worker[i].session);
        mb_free(l->worker[i].vector);
        mb_free(l->worker[i].token);
        mb_free(l->worker[i].candidate);
    }
    rec_users_destroy(l->users);
    mb_free(l->worker);
    mb_free(l->vector);
    mb_free(l->score);
    mb_free(l->next);
    mb_free(l->row);
    mb_free(l->token);
    mb_free(l->hit);
    mb_free(l);
}

const rec_model *rec_live_model(const rec_live *l) {
    return l->model;
}

rec_store *rec_live_store(const rec_live *l) {
    return l->store;
}

size_t rec_live_user_bytes(const rec_live *l) {
    const rec_record empty = {0};
    return rec_record_bytes(&l->shape, &empty);
}

const rec_live_counts *rec_live_count(rec_live *l) {
    l->counts.users = *rec_users_count(l->users);
    return &l->counts;
}

/* ---- the engine ---------------------------------------------------------------------------------------------------*/
static int keep_rows(void *user, const mb_rows *r, mb_err *e) {
    rec_live_worker *w = user;
    const size_t D = (size_t)w->D;
    (void)e;
    for (int64_t i = r->from > w->start ? r->from : w->start; i < r->from + r->n; i++)
        memcpy(w->vector + (size_t)(i - w->start) * D, r->row + (size_t)(i - r->from) * D, D * sizeof(float));
    return MB_OK;
}

int rec_live_feed(rec_live_worker *w, const rec_shape *shape, rec_record *r, const int32_t *token, int64_t n, int keep,
                  mb_err *e) {
    const mb_sink sink = {keep_rows, w};
    w->start = r->events + n - keep;
    int rc = mb_session_set_state(w->session, r->state, shape->state_floats, r->events, e);
    if (!rc)
        rc = mb_session_feed(w->session, token, n, &sink, NULL, e);
    if (rc)
        return rc;
    mb_session_get_state(w->session, r->state, &r->events);
    memcpy(r->vector, w->vector + (size_t)(keep - 1) * (size_t)w->D, (size_t)w->D * sizeof(float));
    return MB_OK;
}

/* ---- one user's requests ------------------------------------------------------------------------------------------*/
typedef struct part { /* a transaction */
    rec_live *l;
    rec_live_request *r;
    int n;
} part;

static void say_error(rec_live_request *q, int status, const char *text) {
    q->status = REC_LIVE_ERROR;
    q->why_status = status;
    snprintf(q->why, sizeof q->why, "%.*s", REC_LIVE_WHY - 1, text);
}

/* How things stand after request i; its vector is put where it will be scored. */
static void settle(const part *p, int i, int64_t events, const float *vector) {
    const rec_live *l = p->l;
    p->r[i].events = events;
    if (l->row[i] >= 0)
        memcpy(l->vector + (size_t)l->row[i] * (size_t)l->D, vector, (size_t)l->D * sizeof(float));
}

/* The event was fed and is the user's events-th. */
static void note_event(rec_live_request *q, rec_user *u, int64_t events) {
    u->changed = 1;
    q->is_new = events == 1;
    q->late = q->has_time && u->r.has_time && q->time < u->r.last_time;
    if (q->has_time && !q->late)
        u->r.last_time = q->time;
    u->r.has_time |= q->has_time;
}

static void single(const part *p, rec_live_worker *w, rec_user *u, int i) {
    rec_live *l = p->l;
    mb_err e = {0};
    if (l->token[i]) {
        const int rc = rec_live_feed(w, &l->shape, &u->r, &l->token[i], 1, 1, &e);
        if (rc)
            say_error(&p->r[i], rc, e.text);
        else
            note_event(&p->r[i], u, u->r.events);
    }
    settle(p, i, u->r.events, u->r.vector);
}

/* Requests first .. last of a user, none of which forgets, n of them events of known items: one call of the session.
 * Returns 0 when it was refused (a model with a longest history): nothing has happened then. */
static int together(const part *p, rec_live_worker *w, rec_user *u, int first, int last, int n) {
    rec_live *l = p->l;
    const int64_t before = u->r.events;
    int k = 0;
    mb_err e = {0};
    for (int i = first;; i = l->next[i]) {
        if (l->token[i])
            w->token[k++] = l->token[i];
        if (k == 0)
            settle(p, i, before, u->r.vector);
        if (i == last)
            break;
    }
    MB_ASSERT(k == n);
    if (rec_live_feed(w, &l->shape, &u->r, w->token, n, n, &e))
        return 0;
    k = 0;
    for (int i = first;; i = l->next[i]) {
        if (l->token[i])
            note_event(&p->r[i], u, before + ++k);
        if (k > 0)
            settle(p, i, before + k, w->vector + (size_t)(k - 1) * (size_t)l->D);
        if (i == last)
            return 1;
    }
}

static void segment(const part *p, rec_live_worker *w, rec_user *u, int first, int last, int n) {
    if (n > 1 && together(p, w, u, first, last, n))
        return;
    for (int i = first;; i = p->l->next[i]) {
        single(p, w, u, i);
        if (i == last)
            return;
    }
}

/* All but the seen items: they are needed as they were at each request, when answers are made. */
static void forget_user(const part *p, rec_user *u, int i) {
    const int64_t n_seen = u->r.n_seen;
    p->r[i].status = u->r.events ? REC_LIVE_FORGOTTEN : REC_LIVE_NO_HISTORY;
    u->changed |= u->r.events > 0;
    rec_record_clear(&p->l->shape, &u->r);
    u->r.n_seen = n_seen;
    p->r[i].events = 0;
}

static void run_user(const part *p, rec_live_worker *w, rec_user *u) {
    const rec_live *l = p->l;
    int events = 0;
    mb_err e = {0};
    for (int i = u->first; i >= 0; i = l->next[i])
        events += l->token[i] != 0;
    const int rc = rec_record_reserve(&u->r, u->r.n_seen + events, &e); /* so that nothing fails half-way */
    for (int i = u->first; rc && i >= 0; i = l->next[i])
        say_error(&p->r[i], rc, e.text);
    for (int i = u->first, first = -1, n = 0; !rc && i >= 0; i = l->next[i]) {
        const int forgets = p->r[i].kind == REC_LIVE_FORGET, end = l->next[i] < 0;
        if (!forgets) {
            first = first < 0 ? i : first;
            n += l->token[i] != 0;
        }
        const int next_forgets = !end && p->r[l->next[i]].kind == REC_LIVE_FORGET;
        if (!forgets && (end || next_forgets)) {
            segment(p, w, u, first, i, n);
            first = -1;
            n = 0;
        } else if (forgets) {
            forget_user(p, u, i);
        }
    }
}

/* ---- answers ------------------------------------------------------------------------------------------------------*/
/* The mask of the worker is that of all users but while one is answered. */
static void mask(const rec_live *l, rec_live_worker *w, const rec_live_request *q, const rec_user *u, int hide) {
    for (int64_t i = 0; q->filter_seen && i < u->r.n_seen; i++)
        w->candidate[u->r.seen[i]] = !hide && (!l->o.allowed || l->o.allowed[u->r.seen[i]]);
    for (int i = 0; i < q->n_deny; i++)
        w->candidate[q->deny[i]] = !hide && (!l->o.allowed || l->o.allowed[q->deny[i]]);
}

static int choose(const rec_live *l, rec_live_worker *w, const rec_live_request *q, const rec_user *u,
                  const float *score) {
    mask(l, w, q, u, 1);
    const int n = rec_top(score, l->items, w->candidate, q->k, (rec_hit *)(uintptr_t)q->top);
    mask(l, w, q, u, 0);
    return n;
}

static void answer(const part *p, rec_live_worker *w, rec_user *u, int i) {
    rec_live *l = p->l;
    rec_live_request *q = &p->r[i];
    if (q->kind == REC_LIVE_FORGET)
        u->r.n_seen = 0;
    if (q->status == REC_LIVE_ERROR || q->kind == REC_LIVE_FORGET)
        return;
    if (l->token[i]) {
        const int rc = rec_record_add(&u->r, l->token[i], NULL);
        MB_ASSERT(rc == MB_OK); /* reserved */
    }
    if (q->kind == REC_LIVE_EVENT && !l->token[i])
        q->status = REC_LIVE_UNKNOWN_ITEM;
    else if (q->events == 0)
        q->status = REC_LIVE_NO_HISTORY;
    if (q->events == 0 || l->row[i] < 0)
        return;
    q->n_top = choose(l, w, q, u, l->score + (size_t)l->row[i] * ((size_t)l->items + 1));
}

static void answer_user(const part *p, rec_live_worker *w, rec_user *u) {
    for (int i = u->first; i >= 0; i = p->l->next[i])
        answer(p, w, u, i);
    for (int i = u->first; i >= 0; i = p->l->next[i])
        p->l->row[i] = u->changed;
}

/* ---- a part -------------------------------------------------------------------------------------------------------*/
/* Takes the request's user and hangs the request on its chain. */
static void enter(const part *p, int i, int *rows) {
    rec_live *l = p->l;
    rec_live_request *q = &p->r[i];
    rec_user *u = NULL;
    mb_err e = {0};
    l->next[i] = l->row[i] = -1;
    l->token[i] = 0;
    if (q->user.n < 1 || q->user.n > REC_STORE_KEY_MOST) {
        snprintf(e.text, sizeof e.text, "a user's identifier has 1 to %d bytes, not %d", REC_STORE_KEY_MOST, q->user.n);
        say_error(q, MB_RANGE, e.text);
        return;
    }
    const int rc = rec_users_take(l->users, q->user, &u, &e);
    if (rc) {
        say_error(q, rc, e.text);
        return;
    }
    if (q->kind == REC_LIVE_EVENT)
        l->token[i] = rec_model_find_item(l->model, q->item.text, q->item.n);
    if (q->kind != REC_LIVE_FORGET && q->k > 0)
        l->row[i] = (*rows)++;
    if (u->first < 0)
        u->first = i;
    else
        l->next[u->last] = i;
    u->last = i;
}

static int compute(const part *p, int rows, mb_err *e) {
    rec_live *l = p->l;
    rec_user *const *taken;
    const int users = rec_users_taken(l->users, &taken), threads = l->o.threads < users ? l->o.threads : users;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int i = 0; i < users; i++)
        run_user(p, &l->worker[omp_get_thread_num()], taken[i]);
    int rc = rows ? rec_model_scores(l->model, l->vector, rows, l->score, e) : MB_OK;
    if (rc)
        return rc;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int i = 0; i < users; i++)
        answer_user(p, &l->worker[omp_get_thread_num()], taken[i]);
    return MB_OK;
}

static void count(rec_live *l, const rec_live_request *q) {
    rec_live_counts *c = &l->counts;
    c->requests++;
    if (q->status == REC_LIVE_ERROR) {
        c->errors++;
        return;
    }
    c->events += q->kind == REC_LIVE_EVENT && q->status != REC_LIVE_UNKNOWN_ITEM;
    c->unknown_items += q->status == REC_LIVE_UNKNOWN_ITEM;
    c->asks += q->kind == REC_LIVE_ASK;
    c->forgets += q->status == REC_LIVE_FORGOTTEN;
    c->new_users += q->is_new;
    c->late += q->late;
}

/* Requests of the part: as many as users fit. */
static int run_part(rec_live *l, rec_live_request *r, int n) {
    part p = {.l = l, .r = r};
    rec_user *const *taken;
    int rows = 0;
    mb_err e = {0};
    const int room = rec_users_room(l->users);
    for (; p.n < n && p.n < l->most && rec_users_taken(l->users, &taken) < room; p.n++)
        enter(&p, p.n, &rows);
    int rc = compute(&p, rows, &e), all = rc != MB_OK;
    if (rc)
        rec_users_abandon(l->users);
    else
        rc = rec_users_commit(l->users, l->o.threads, &e);
    for (int i = 0; i < p.n; i++) {
        if (rc && (all || l->row[i]) && r[i].status != REC_LIVE_ERROR) {
            r[i].n_top = r[i].late = r[i].is_new = 0;
            say_error(&r[i], rc, e.text);
        }
        count(l, &r[i]);
    }
    return p.n;
}

static int room_for_hits(rec_live *l, rec_live_request *r, int n, mb_err *e) {
    size_t hits = 0;
    for (int i = 0; i < n; i++) {
        r[i].k = r[i].k < l->items ? r[i].k : l->items;
        hits += r[i].k > 0 ? (size_t)r[i].k : 0;
    }
    if (hits > l->hit_room) {
        rec_hit *more = mb_realloc_array(l->hit, hits, sizeof *more);
        if (!more)
            return mb_fail(e, MB_NOMEM, "no memory for %zu recommendations", hits);
        l->hit = more;
        l->hit_room = hits;
    }
    hits = 0;
    for (int i = 0; i < n; i++) {
        r[i].top = l->hit + hits;
        hits += r[i].k > 0 ? (size_t)r[i].k : 0;
    }
    return MB_OK;
}

int rec_live_run(rec_live *l, rec_live_request *r, int n, mb_err *e) {
    int rc = room_for_hits(l, r, n, e);
    if (rc)
        return rc;
    for (int i = 0; i < n; i++) {
        r[i].status = REC_LIVE_OK;
        r[i].late = r[i].is_new = r[i].n_top = r[i].why_status = 0;
        r[i].events = 0;
        *r[i].why = '\0';
    }
    for (int at = 0; at < n;)
        at += run_part(l, r + at, n - at);
    return MB_OK;
}
