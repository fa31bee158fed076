/* Ranks of held-out events. See holdout.h. */
#include "recsys/holdout.h"

#include <math.h>

#include "core/mem.h"

enum { MOST_QUERIES = 4096 };

typedef struct pass {
    const rec_scorer *s;
    const rec_view *v;
    const rec_split *split;
    const rec_holdout_options *o;
    rec_query *query; /* (room) */
    int64_t *rank;    /* (room) */
    double *loss;     /* (room) */
    float *score;     /* (room, items+1) */
    int room, n;
} pass;

static int64_t rank_of(const float *score, int32_t n_items, int32_t target) {
    const float own = score[target];
    int64_t above = 0;
    for (int32_t i = 1; i <= n_items; i++)
        above += i != target && (score[i] > own || (i < target && score[i] == own) || (isnan(own) && !isnan(score[i])));
    return 1 + above;
}

static double loss_of(const float *score, int32_t n_items, int32_t target) {
    float top = -INFINITY;
    double sum = 0;
    for (int32_t i = 1; i <= n_items; i++)
        top = score[i] > top ? score[i] : top;
    for (int32_t i = 1; i <= n_items; i++)
        sum += exp((double)score[i] - (double)top);
    return log(sum) + (double)top - (double)score[target];
}

static void add(const pass *p, rec_holdout *out) {
    for (int i = 0; i < p->n; i++) {
        const int within = p->rank[i] <= p->o->cutoff;
        out->events++;
        out->first += p->rank[i] == 1;
        out->loss += p->loss[i];
        out->hr += within;
        out->ndcg += within ? 1 / log2((double)p->rank[i] + 1) : 0;
        out->mrr += within ? 1 / (double)p->rank[i] : 0;
    }
}

static int flush(pass *p, rec_holdout *out, mb_err *e) {
    const size_t row = (size_t)p->s->n_items + 1;
    if (p->n == 0)
        return MB_OK;
    if (p->o->stop && atomic_load_explicit(p->o->stop, memory_order_relaxed))
        return mb_fail(e, MB_STOPPED, "stopped while evaluating");
    int rc = p->s->score(p->s->self, p->query, p->n, p->score, e);
    if (rc != MB_OK)
        return rc;
#pragma omp parallel for num_threads(p->o->threads)
    for (int i = 0; i < p->n; i++) {
        p->rank[i] = rank_of(p->score + (size_t)i * row, p->s->n_items, p->query[i].target);
        p->loss[i] = loss_of(p->score + (size_t)i * row, p->s->n_items, p->query[i].target);
    }
    add(p, out);
    p->n = 0;
    return MB_OK;
}

static int run_user(pass *p, int32_t u, rec_holdout *out, mb_err *e) {
    const rec_view *v = p->v;
    const int64_t from = p->o->test ? p->split->test_at[u] : p->split->valid_at[u];
    const int64_t end = p->o->test ? v->user_at[u + 1] : p->split->test_at[u];
    int rc = MB_OK;
    for (int64_t i = from; rc == MB_OK && i < end; i++) {
        p->query[p->n++] =
            (rec_query){.user = u, .target = v->item[i], .item = v->item + v->user_at[u], .n = i - v->user_at[u]};
        if (p->n == p->room)
            rc = flush(p, out, e);
    }
    return rc;
}

static int make_room(pass *p, mb_err *e) {
    const int64_t each = ((int64_t)p->s->n_items + 1) * (int64_t)sizeof *p->score;
    int64_t room = p->o->memory / each;
    room = room < 1 ? 1 : room < MOST_QUERIES ? room : MOST_QUERIES;
    p->room = (int)room;
    p->query = mb_calloc((size_t)room, sizeof *p->query);
    p->rank = mb_calloc((size_t)room, sizeof *p->rank);
    p->loss = mb_calloc((size_t)room, sizeof *p->loss);
    p->score = mb_calloc((size_t)room, (size_t)each);
    return p->query && p->rank && p->loss && p->score
               ? MB_OK
               : mb_fail(e, MB_NOMEM, "no memory for the scores of %d histories", p->room);
}

int rec_holdout_run(const rec_scorer *s, const rec_log *l, const rec_split *split, const rec_holdout_options *o,
                    rec_holdout *out, mb_err *e) {
    pass p = {.s = s, .v = rec_log_view(l), .split = split, .o = o};
    *out = (rec_holdout){0};
    MB_ASSERT(s->n_items == p.v->n_items && o->threads > 0 && o->cutoff > 0);
    int rc = make_room(&p, e);
    for (int32_t u = 0; rc == MB_OK && u < p.v->n_users; u++)
        rc = run_user(&p, u, out, e);
    if (rc == MB_OK)
        rc = flush(&p, out, e);
    if (rc == MB_OK && out->events > 0) {
        out->hr /= (double)out->events;
        out->ndcg /= (double)out->events;
        out->mrr /= (double)out->events;
    }
    mb_free(p.query);
    mb_free(p.rank);
    mb_free(p.loss);
    mb_free(p.score);
    return rc;
}
