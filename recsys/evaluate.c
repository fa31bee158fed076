/* See evaluate.h. Queries are listed, scored block by block, ranked in parallel into places of their own, and added up
 * in order afterwards. This file: the run over the queries; evaluate_figures.c: what the ranks amount to. */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/evaluate_internal.h"

enum { MOST_QUERIES = 1024 }; /* at a time */

/* ---- queries ----------------------------------------------------------------------------------------------------- */

static int64_t part_begin(const rec_asking *a, int32_t u) {
    return a->o->part == REC_PART_VALID ? a->s->valid_at[u] : a->s->test_at[u];
}

static int64_t part_end(const rec_asking *a, int32_t u) {
    return a->o->part == REC_PART_VALID ? a->s->test_at[u] : a->v->user_at[u + 1];
}

static void add_target(rec_asking *a, int32_t u, int64_t event, int64_t history) {
    a->target[a->n_targets++] = (rec_target){.user = u, .item = a->v->item[event], .event = event, .history = history};
}

/* The queries of one user. mark (n_items+1): where a set has an item already. */
static void list_user(rec_asking *a, int32_t u, int32_t *mark) {
    const int64_t begin = part_begin(a, u), end = part_end(a, u), known = begin - a->v->user_at[u];
    if (a->o->ask == REC_ASK_EVENTS) {
        for (int64_t t = begin; t < end; t++) {
            const int64_t history = t - a->v->user_at[u];
            if (history < a->o->min_history) {
                a->skipped++;
                continue;
            }
            a->asked[a->n_queries++] = (rec_asked){u, history, a->n_targets, 1};
            add_target(a, u, t, history);
        }
        return;
    }
    if (begin == end)
        return;
    if (known < a->o->min_history) {
        a->skipped++;
        return;
    }
    const int64_t first = a->n_targets;
    for (int64_t t = begin; t < end; t++)
        if (mark[a->v->item[t]] != u + 1) {
            mark[a->v->item[t]] = u + 1;
            add_target(a, u, t, known);
        }
    a->asked[a->n_queries++] = (rec_asked){u, known, first, a->n_targets - first};
}

static int list_queries(rec_asking *a, mb_err *e) {
    const int64_t events = a->o->part == REC_PART_VALID ? a->s->valid : a->s->test;
    const int64_t queries = a->o->ask == REC_ASK_SETS && a->v->n_users < events ? a->v->n_users : events;
    int32_t *mark = mb_calloc((size_t)a->v->n_items + 1, sizeof *mark);
    a->asked = mb_malloc(((size_t)queries + 1) * sizeof *a->asked);
    a->target = mb_malloc(((size_t)events + 1) * sizeof *a->target);
    const int failed = !mark || !a->asked || !a->target;
    for (int32_t u = 0; !failed && u < a->v->n_users; u++)
        list_user(a, u, mark);
    mb_free(mark);
    return failed ? mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " queries", events) : MB_OK;
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

typedef struct worker {
    rec_ranker ranker;
    uint64_t *train;      /* (n_items+1) == ranker.query: a training item of the user; samples only */
    rec_heap sample[2];   /* samples only */
    int32_t *candidate;   /* (negatives) */
    int32_t *item, *rank; /* (room) of the targets of a query */
    int64_t room;
    int32_t *best[2]; /* (n_items+1) first place that an item had in any list; coverage only */
    mb_err error;
} worker;

typedef struct judge {
    const rec_asking *a;
    const rec_scorer *scorer;
    rec_sampler sampler;
    double *weight; /* of popular samples */
    worker *w;
    int threads, most_k;
    rec_query *query; /* (block) */
    float *score;     /* (block, n_items+1) */
    int32_t *nan;     /* (block) first item without a number, 0 none */
    int64_t block;
    double scoring;
} judge;

static int needs_sample(const judge *j) {
    return j->a->o->candidates != REC_CANDIDATES_FULL;
}

static int worker_init(worker *w, const judge *j, mb_err *e) {
    const size_t items = (size_t)j->a->v->n_items + 1, n = (size_t)j->a->o->negatives + 1;
    const int covers = j->a->o->coverage && !needs_sample(j);
    int rc = rec_ranker_init(&w->ranker, j->a->v->n_items, covers ? j->most_k : 0, e);
    int failed = 0;
    if (rc == MB_OK && needs_sample(j)) {
        w->train = mb_calloc(items, sizeof *w->train);
        w->candidate = mb_malloc(n * sizeof *w->candidate);
        failed = !w->train || !w->candidate;
        for (int i = 0; i < 2; i++) {
            w->sample[i] = (rec_heap){mb_malloc(n * sizeof *w->sample[i].at), 0, j->a->o->negatives};
            failed |= !w->sample[i].at;
        }
    }
    for (int i = 0; rc == MB_OK && covers && i < 2; i++) {
        w->best[i] = mb_malloc(items * sizeof *w->best[i]);
        failed |= !w->best[i];
        for (size_t k = 0; w->best[i] && k < items; k++)
            w->best[i][k] = INT32_MAX;
    }
    return failed ? mb_fail(e, MB_NOMEM, "no memory to judge %d items", j->a->v->n_items) : rc;
}

static void worker_fini(worker *w) {
    rec_ranker_fini(&w->ranker);
    for (int i = 0; i < 2; i++) {
        mb_free(w->sample[i].at);
        mb_free(w->best[i]);
    }
    mb_free(w->train);
    mb_free(w->candidate);
    mb_free(w->item);
    mb_free(w->rank);
}

static int judge_init(judge *j, mb_err *e) {
    const rec_evaluate_options *o = j->a->o;
    const rec_view *v = j->a->v;
    const int64_t row = ((int64_t)v->n_items + 1) * (int64_t)sizeof *j->score;
    const int64_t fit = (o->memory > 0 ? o->memory : (int64_t)64 << 20) / row;
    j->block = fit < 1 ? 1 : fit > MOST_QUERIES ? MOST_QUERIES : fit;
    if (j->block > j->a->n_queries)
        j->block = j->a->n_queries > 0 ? j->a->n_queries : 1;
    j->w = mb_calloc((size_t)j->threads, sizeof *j->w);
    j->query = mb_malloc((size_t)j->block * sizeof *j->query);
    j->score = mb_malloc((size_t)(j->block * row));
    j->nan = mb_calloc((size_t)j->block, sizeof *j->nan);
    if (o->candidates == REC_CANDIDATES_POPULAR)
        j->weight = mb_calloc((size_t)v->n_items + 1, sizeof *j->weight);
    if (!j->w || !j->query || !j->score || !j->nan || (o->candidates == REC_CANDIDATES_POPULAR && !j->weight))
        return mb_fail(e, MB_NOMEM, "no memory for the scores of %" PRId64 " queries", j->block);
    for (int32_t u = 0; j->weight && u < v->n_users; u++)
        for (int64_t t = v->user_at[u]; t < j->a->s->valid_at[u]; t++)
            j->weight[v->item[t]]++;
    j->sampler = (rec_sampler){v->n_items, j->weight, o->seed};
    int rc = MB_OK;
    for (int t = 0; rc == MB_OK && t < j->threads; t++)
        rc = worker_init(&j->w[t], j, e);
    return rc;
}

static void judge_fini(judge *j) {
    for (int t = 0; j->w && t < j->threads; t++)
        worker_fini(&j->w[t]);
    mb_free(j->w);
    mb_free(j->query);
    mb_free(j->score);
    mb_free(j->nan);
    mb_free(j->weight);
}

/* ---- one query --------------------------------------------------------------------------------------------------- */

static int make_room(worker *w, int64_t m, mb_err *e) {
    if (m <= w->room)
        return MB_OK;
    mb_free(w->item);
    mb_free(w->rank);
    w->room = 0;
    w->item = mb_malloc((size_t)m * sizeof *w->item);
    w->rank = mb_malloc((size_t)m * 2 * sizeof *w->rank);
    if (!w->item || !w->rank)
        return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " targets", m);
    w->room = m;
    return MB_OK;
}

/* Ranks among the two samples; c: how many others each has. */
static int32_t rank_samples(const judge *j, worker *w, const rec_asked *q, const float *score, int32_t *c) {
    const rec_view *v = j->a->v;
    const uint64_t stamp = w->ranker.query;
    for (int64_t t = v->user_at[q->user]; t < j->a->s->valid_at[q->user]; t++)
        w->train[v->item[t]] = stamp;
    rec_sample_two(&j->sampler, (uint64_t)j->a->target[q->first].event, (rec_marks){w->ranker.target, stamp},
                   (rec_marks){w->train, stamp}, (rec_marks){w->ranker.history, stamp}, &w->sample[0], &w->sample[1]);
    int32_t bad = 0;
    for (int i = 0; !bad && i < 2; i++) {
        c[i] = w->sample[i].n;
        for (int n = 0; n < c[i]; n++)
            w->candidate[n] = w->sample[i].at[n].item;
        bad = rec_rank_among(&w->ranker, score, w->candidate, c[i], w->item, q->m, w->rank + i * q->m);
    }
    return bad;
}

static void note_covered(const judge *j, worker *w, const float *score) {
    for (int i = 0; i < 2 && w->best[i]; i++) {
        const int n = rec_rank_first(&w->ranker, score, j->most_k, i);
        for (int p = 0; p < n; p++) {
            int32_t *best = &w->best[i][w->ranker.first[p].item];
            *best = p + 1 < *best ? p + 1 : *best;
        }
    }
}

/* Ranks of query number `at`, the i-th of its block. */
static int judge_one(const judge *j, worker *w, int64_t at, int64_t i, mb_err *e) {
    const rec_asked *q = &j->a->asked[at];
    const rec_query *asked = &j->query[i];
    const float *score = j->score + i * ((int64_t)j->a->v->n_items + 1);
    rec_target *target = j->a->target + q->first;
    int rc = make_room(w, q->m, e);
    for (int64_t n = 0; rc == MB_OK && n < q->m; n++)
        w->item[n] = target[n].item;
    if (rc == MB_OK)
        rc = rec_ranker_begin(&w->ranker, asked->item, asked->n, w->item, q->m, e);
    if (rc != MB_OK)
        return rc;
    int32_t c[2] = {j->a->v->n_items - (int32_t)q->m, j->a->v->n_items - (int32_t)q->m - (int32_t)w->ranker.distinct};
    j->nan[i] = needs_sample(j)
                    ? rank_samples(j, w, q, score, c)
                    : rec_rank_all(&w->ranker, score, asked->item, asked->n, w->item, q->m, w->rank, w->rank + q->m);
    for (int64_t n = 0; !j->nan[i] && n < q->m; n++)
        for (int f = 0; f < 2; f++) {
            target[n].rank[f] = w->rank[f * q->m + n];
            target[n].candidate[f] = c[f] + (int32_t)q->m;
        }
    if (!j->nan[i])
        note_covered(j, w, score);
    return MB_OK;
}

/* ---- all queries ------------------------------------------------------------------------------------------------- */

static int say_nan(const judge *j, const rec_log *log, int64_t i, mb_err *e) {
    const rec_query *q = &j->query[i];
    const rec_id user = rec_log_user_id(log, q->user), item = rec_log_item_id(log, j->nan[i]);
    return mb_fail(e, MB_RANGE, "%s: the score of item '%.*s' for user '%.*s' after %" PRId64 " events is not a number",
                   j->scorer->name, item.n, item.text, user.n, user.text, q->n);
}

static int judge_block(judge *j, const rec_log *log, int64_t from, int64_t n, mb_err *e) {
    int failed = 0;
#pragma omp parallel for num_threads(j->threads) schedule(dynamic, 8) reduction(| : failed)
    for (int64_t i = 0; i < n; i++) {
        worker *w = &j->w[omp_get_thread_num()];
        failed |= judge_one(j, w, from + i, i, &w->error) != MB_OK;
    }
    for (int t = 0; failed && t < j->threads; t++)
        if (j->w[t].error.status != MB_OK)
            return mb_fail(e, j->w[t].error.status, "%s", j->w[t].error.text);
    for (int64_t i = 0; i < n; i++)
        if (j->nan[i])
            return say_nan(j, log, i, e);
    return MB_OK;
}

static int judge_all(judge *j, const rec_log *log, mb_err *e) {
    const rec_asking *a = j->a;
    int rc = MB_OK;
    for (int64_t from = 0, n; rc == MB_OK && from < a->n_queries; from += n) {
        n = a->n_queries - from < j->block ? a->n_queries - from : j->block;
        if (a->o->stop && atomic_load(a->o->stop))
            return mb_fail(e, MB_STOPPED, "stopped after %" PRId64 " of %" PRId64 " queries", from, a->n_queries);
        for (int64_t i = 0; i < n; i++) {
            const rec_asked *q = &a->asked[from + i];
            j->query[i] = (rec_query){.user = q->user,
                                      .target = q->m == 1 ? a->target[q->first].item : 0,
                                      .item = a->v->item + a->v->user_at[q->user],
                                      .n = q->n};
        }
        const double start = mb_clock_seconds();
        rc = j->scorer->score(j->scorer->self, j->query, (int)n, j->score, e);
        j->scoring += mb_clock_seconds() - start;
        if (rc == MB_OK)
            rc = judge_block(j, log, from, n, e);
        mb_progress_add(a->o->progress, (double)n);
    }
    return rc;
}

static void cover(const judge *j, rec_evaluation *out) {
    const int32_t n_items = j->a->v->n_items;
    for (int f = 0; f < 2; f++)
        for (int k = 0; k < out->n_k; k++) {
            int64_t covered = 0;
            out->coverage[f][k] = NAN;
            for (int32_t i = 1; j->w[0].best[f] && i <= n_items; i++) {
                int is = 0;
                for (int t = 0; t < j->threads; t++)
                    is |= j->w[t].best[f][i] <= out->k[k];
                covered += is;
            }
            if (j->w[0].best[f])
                out->coverage[f][k] = n_items > 0 ? (double)covered / n_items : NAN;
        }
}

static int check_options(const rec_evaluate_options *o, const rec_scorer *scorer, const rec_view *v, mb_err *e) {
    if (scorer->n_items != v->n_items)
        return mb_fail(e, MB_RANGE, "%s scores %d items, the log has %d", scorer->name, scorer->n_items, v->n_items);
    if (o->k && (o->n_k < 1 || o->n_k > REC_EVALUATE_KS))
        return mb_fail(e, MB_RANGE, "%d values of K; expected 1 to %d", o->n_k, REC_EVALUATE_KS);
    for (int i = 0; o->k && i < o->n_k; i++)
        if (o->k[i] < 1 || (i > 0 && o->k[i] <= o->k[i - 1]))
            return mb_fail(e, MB_RANGE, "K = %d; expected whole numbers from 1 on, rising", o->k[i]);
    if (o->candidates != REC_CANDIDATES_FULL && o->negatives < 1)
        return mb_fail(e, MB_RANGE, "%d sampled candidates; expected 1 at least", o->negatives);
    return MB_OK;
}

int rec_evaluate(rec_evaluation *out, const rec_log *log, const rec_split *s, const rec_scorer *scorer,
                 const rec_evaluate_options *o, mb_err *e) {
    const rec_view *v = rec_log_view(log);
    const double start = mb_clock_seconds();
    rec_asking a = {.v = v, .s = s, .o = o};
    judge j = {.a = &a, .scorer = scorer, .threads = o->threads > 0 ? o->threads : 1};
    *out = (rec_evaluation){.n_k = o->k ? o->n_k : 1, .k = {10}};
    int rc = check_options(o, scorer, v, e);
    if (rc != MB_OK)
        return rc;
    MB_ASSERT(s->n_users == v->n_users);
    if (o->k)
        memcpy(out->k, o->k, (size_t)o->n_k * sizeof *o->k);
    for (int i = 0; i < out->n_k; i++)
        j.most_k = out->k[i] < v->n_items ? out->k[i] : v->n_items;
    rc = list_queries(&a, e);
    if (rc == MB_OK)
        rc = judge_init(&j, e);
    if (rc == MB_OK)
        rc = judge_all(&j, log, e);
    if (rc == MB_OK) {
        cover(&j, out);
        rc = rec_evaluate_figures(out, &a, e);
    }
    judge_fini(&j);
    mb_free(a.asked);
    if (rc == MB_OK && o->keep)
        out->target = a.target;
    else
        mb_free(a.target);
    out->scoring = j.scoring;
    out->seconds = mb_clock_seconds() - start;
    return rc;
}
