/* Histories of a log into the store: see rec_live_load in live.h. */
#include <inttypes.h>
#include <omp.h>

#include "core/mem.h"
#include "recsys/live_internal.h"

typedef struct loading {
    rec_live *l;
    const rec_log *log;
    const rec_view *v;
    const int32_t *map; /* the log's items in the model's numbering */
    int32_t *token;     /* events of the group's users in the model's numbering */
    rec_live_load_counts *c;
} loading;

typedef struct group { /* users of one transaction: in the log [from, to) */
    int32_t from, to;
    int64_t at, n; /* events */
} group;

/* As many users as fit into a batch of requests and of events. */
static group next_group(const loading *g, int32_t from) {
    enum { EVENTS = 1 << 20 };
    const int room = rec_users_room(g->l->users), most = g->l->o.batch < room ? g->l->o.batch : room;
    group x = {.from = from, .to = from + 1, .at = g->v->user_at[from]};
    while (x.to < g->v->n_users && x.to - from < most && g->v->user_at[x.to + 1] - x.at <= EVENTS)
        x.to++;
    x.n = g->v->user_at[x.to] - x.at;
    return x;
}

/* One user's history, as one feed. u has no events. */
static int take_over(const loading *g, rec_live_worker *w, rec_user *u, int32_t user, int32_t *token, int64_t *fed,
                     mb_err *e) {
    const int64_t from = g->v->user_at[user], n = g->v->user_at[user + 1] - from;
    int64_t known = 0;
    for (int64_t i = 0; i < n; i++)
        if (g->map[g->v->item[from + i]]) {
            const int64_t time = g->v->time ? g->v->time[from + i] : 0;
            if (g->v->time && (!u->r.has_time || time > u->r.last_time))
                u->r.last_time = time;
            u->r.has_time = g->v->time != NULL;
            token[known++] = g->map[g->v->item[from + i]];
        }
    *fed = known;
    if (known == 0)
        return MB_OK;
    int rc = rec_live_feed(w, &g->l->shape, &u->r, token, known, 1, e);
    if (!rc)
        rc = rec_record_add_all(&u->r, token, known, e);
    u->changed = 1;
    return rc;
}

/* user (to - from): those whose histories are to be loaded. */
static int take_users(loading *g, const group *x, rec_user **user, mb_err *e) {
    int rc = MB_OK;
    for (int32_t i = x->from; !rc && i < x->to; i++) {
        const rec_id id = rec_log_user_id(g->log, i);
        rec_user *u = NULL;
        if (id.n < 1 || id.n > REC_STORE_KEY_MOST) {
            g->c->refused++;
            continue;
        }
        rc = rec_users_take(g->l->users, id, &u, e);
        if (!rc && u->r.events > 0)
            g->c->present++;
        else if (!rc)
            user[i - x->from] = u;
    }
    return rc;
}

static int feed_users(loading *g, const group *x, rec_user *const *user, int64_t *fed, mb_err *e) {
    rec_live *l = g->l;
    int worst = MB_OK;
    mb_err first = {0};
#pragma omp parallel for num_threads(l->o.threads) schedule(dynamic, 1) if (l->o.threads > 1)
    for (int32_t i = 0; i < x->to - x->from; i++) {
        mb_err own = {0};
        const int rc = !user[i] ? MB_OK
                                : take_over(g, &l->worker[omp_get_thread_num()], user[i], x->from + i,
                                            g->token + (g->v->user_at[x->from + i] - x->at), &fed[i], &own);
        if (rc) {
#pragma omp critical(rec_live_load_error)
            if (worst == MB_OK) {
                worst = rc;
                first = own;
            }
        }
    }
    return worst ? mb_fail(e, worst, "%s", first.text) : MB_OK;
}

static int load_group(loading *g, const group *x, mb_err *e) {
    const size_t n = (size_t)(x->to - x->from);
    rec_user **user = mb_calloc(n, sizeof(rec_user *));
    int64_t *fed = mb_calloc(n, sizeof *fed);
    int rc = user && fed ? take_users(g, x, user, e) : mb_fail(e, MB_NOMEM, "no memory for %zu users", n);
    if (!rc)
        rc = feed_users(g, x, user, fed, e);
    for (size_t i = 0; !rc && i < n; i++)
        if (user[i]) {
            const int32_t u = x->from + (int32_t)i;
            g->c->users += fed[i] > 0;
            g->c->refused += fed[i] == 0;
            g->c->events += fed[i];
            g->c->unknown += g->v->user_at[u + 1] - g->v->user_at[u] - fed[i];
        }
    mb_free(user);
    mb_free(fed);
    if (rc) {
        rec_users_abandon(g->l->users);
        return rc;
    }
    return rec_users_commit(g->l->users, g->l->o.threads, e);
}

static int load_all(loading *g, const atomic_int *stop, mb_err *e) {
    mb_progress *progress = mb_progress_start("load", "events", (double)g->v->n_events);
    int64_t room = 0;
    int rc = MB_OK;
    for (int32_t u = 0; !rc && u < g->v->n_users;) {
        const group x = next_group(g, u);
        if (x.n > room || !g->token) {
            mb_free(g->token);
            room = x.n + x.n / 4;
            g->token = mb_calloc((size_t)room + 1, sizeof *g->token);
            if (!g->token)
                rc = mb_fail(e, MB_NOMEM, "no memory for histories of %" PRId64 " events", x.n);
        }
        if (!rc)
            rc = load_group(g, &x, e);
        mb_progress_add(progress, (double)x.n);
        u = x.to;
        if (!rc && u < g->v->n_users && stop && atomic_load(stop))
            rc = mb_fail(e, MB_STOPPED, "stopped on request after %d of %d users; the same call goes on", u,
                         g->v->n_users);
    }
    mb_progress_finish(progress);
    return rc;
}

int rec_live_load(rec_live *l, const rec_log *log, const atomic_int *stop, rec_live_load_counts *c, mb_err *e) {
    int32_t unknown = 0;
    loading g = {.l = l, .log = log, .v = rec_log_view(log), .c = c};
    *c = (rec_live_load_counts){0};
    int32_t *map = mb_calloc((size_t)g.v->n_items + 1, sizeof *map);
    int rc = map ? rec_model_map_items(l->model, log, map, &unknown, e)
                 : mb_fail(e, MB_NOMEM, "no memory to compare %d items with the model's", g.v->n_items);
    g.map = map;
    if (!rc)
        rc = load_all(&g, stop, e);
    mb_free(g.token);
    mb_free(map);
    return rc;
}
