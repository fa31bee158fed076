/* From ranks to figures: users one after another, so that sums have one order. See evaluate.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/evaluate_internal.h"

static int by_rank(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Adds the metrics of one query to row (columns). rank: scratch for its targets. */
static void add_query(const rec_evaluation *out, const rec_target *target, int64_t m, int32_t *rank, double *row) {
    double value[REC_METRICS];
    for (int f = 0; f < 2; f++) {
        for (int64_t i = 0; i < m; i++)
            rank[i] = target[i].rank[f];
        if (m > 1)
            qsort(rank, (size_t)m, sizeof *rank, by_rank);
        for (int k = 0; k < out->n_k; k++) {
            rec_metrics_of(rank, m, out->k[k], value);
            for (int c = 0; c < REC_METRICS; c++)
                row[(f * out->n_k + k) * REC_METRICS + c] += value[c];
        }
    }
}

typedef struct sums {
    double *row, *sum; /* (columns) of a user, of all */
    int32_t *rank;     /* (most targets of a query) */
    double weight;
} sums;

/* All queries of the user that query `at` belongs to; returns the first of the next. */
static int64_t add_user(rec_evaluation *out, const rec_asking *a, int64_t at, sums *s) {
    const int32_t user = a->asked[at].user;
    const size_t columns = (size_t)out->columns;
    int64_t n = 0;
    memset(s->row, 0, columns * sizeof *s->row);
    for (; at + n < a->n_queries && a->asked[at + n].user == user; n++)
        add_query(out, a->target + a->asked[at + n].first, a->asked[at + n].m, s->rank, s->row);
    if (!a->o->over_queries)
        for (size_t c = 0; c < columns; c++)
            s->row[c] /= (double)n;
    const double weight = a->o->over_queries ? (double)n : 1;
    for (size_t c = 0; c < columns; c++)
        s->sum[c] += s->row[c];
    s->weight += weight;
    if (out->value) {
        memcpy(out->value + (size_t)out->users * columns, s->row, columns * sizeof *s->row);
        out->weight[out->users] = weight;
    }
    out->users++;
    return at + n;
}

static int make_values(rec_evaluation *out, const rec_asking *a, mb_err *e) {
    size_t users = 1;
    for (int64_t i = 1; i < a->n_queries; i++)
        users += a->asked[i].user != a->asked[i - 1].user;
    out->value = mb_calloc(users, (size_t)out->columns * sizeof *out->value);
    out->weight = mb_calloc(users, sizeof *out->weight);
    if (out->value && out->weight)
        return MB_OK;
    return mb_fail(e, MB_NOMEM, "no memory for %d figures of %zu users, which intervals need (--resamples 0: none)",
                   out->columns, users);
}

static void mean_ranks(rec_evaluation *out, const rec_asking *a) {
    for (int f = 0; f < 2; f++) {
        double sum = 0;
        for (int64_t i = 0; i < a->n_targets; i++)
            sum += a->target[i].rank[f];
        out->mean_rank[f] = a->n_targets > 0 ? sum / (double)a->n_targets : NAN;
    }
}

static void round_figures(rec_evaluation *out) {
    for (int c = 0; c < out->columns; c++) {
        rec_figure *f = &out->figure[c];
        *f = (rec_figure){rec_round4(f->value), rec_round4(f->low), rec_round4(f->high)};
    }
    for (int f = 0; f < 2; f++)
        for (int k = 0; k < out->n_k; k++)
            out->coverage[f][k] = rec_round4(out->coverage[f][k]);
}

static int add_up(rec_evaluation *out, const rec_asking *a, sums *s, mb_err *e) {
    const rec_evaluate_options *o = a->o;
    const rec_bootstrap b = {o->seed, o->resamples, o->level, o->threads};
    int rc = o->keep || o->resamples > 0 ? make_values(out, a, e) : MB_OK;
    if (rc != MB_OK)
        return rc;
    for (int64_t at = 0; at < a->n_queries;)
        at = add_user(out, a, at, s);
    for (int c = 0; c < out->columns; c++)
        out->figure[c] = (rec_figure){out->users > 0 ? s->sum[c] / s->weight : NAN, NAN, NAN};
    if (o->resamples > 0)
        rc = rec_bootstrap_run(out->value, out->weight, out->users, out->columns, &b, out->figure, e);
    mean_ranks(out, a);
    if (o->round4)
        round_figures(out);
    if (!o->keep) {
        mb_free(out->value);
        mb_free(out->weight);
        out->value = out->weight = NULL;
    }
    return rc;
}

int rec_evaluate_figures(rec_evaluation *out, const rec_asking *a, mb_err *e) {
    int64_t most = 1;
    for (int64_t i = 0; i < a->n_queries; i++)
        most = a->asked[i].m > most ? a->asked[i].m : most;
    out->columns = 2 * out->n_k * REC_METRICS;
    out->queries = a->n_queries;
    out->targets = a->n_targets;
    out->skipped = a->skipped;
    const size_t columns = (size_t)out->columns;
    sums s = {mb_calloc(columns, sizeof *s.row), mb_calloc(columns, sizeof *s.sum),
              mb_malloc((size_t)most * sizeof *s.rank), 0};
    out->figure = mb_calloc(columns, sizeof *out->figure);
    const int rc = s.row && s.sum && s.rank && out->figure ? add_up(out, a, &s, e)
                                                           : mb_fail(e, MB_NOMEM, "no memory for %zu figures", columns);
    mb_free(s.row);
    mb_free(s.sum);
    mb_free(s.rank);
    return rc;
}

void rec_evaluation_fini(rec_evaluation *v) {
    mb_free(v->figure);
    mb_free(v->target);
    mb_free(v->value);
    mb_free(v->weight);
    *v = (rec_evaluation){0};
}

const rec_figure *rec_evaluation_at(const rec_evaluation *v, int filtered, rec_metric m, int k) {
    for (int i = 0; i < v->n_k; i++)
        if (v->k[i] == k)
            return &v->figure[((filtered != 0) * v->n_k + i) * REC_METRICS + m];
    return NULL;
}

int rec_evaluation_difference(const rec_evaluation *a, const rec_evaluation *b, const rec_bootstrap *o,
                              rec_figure *figure, mb_err *e) {
    int same = a->value && b->value && a->users == b->users && a->columns == b->columns && a->targets == b->targets &&
               memcmp(a->k, b->k, sizeof a->k) == 0;
    for (int64_t i = 0; same && i < a->targets; i++)
        same = a->target[i].event == b->target[i].event;
    if (!same)
        return mb_fail(e, MB_RANGE, "differences need two evaluations of the same queries, both kept");
    const size_t n = (size_t)a->users * (size_t)a->columns;
    double *value = mb_malloc((n + 1) * sizeof *value);
    if (!value)
        return mb_fail(e, MB_NOMEM, "no memory for the differences of %lld users", (long long)a->users);
    for (size_t i = 0; i < n; i++)
        value[i] = a->value[i] - b->value[i];
    const int rc = rec_bootstrap_run(value, a->weight, a->users, a->columns, o, figure, e);
    mb_free(value);
    return rc;
}
