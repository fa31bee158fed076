/* Figures as tables for people and as files for programs. See judged.h. */
#include "recsys/judged.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json_guard.h"
#include "core/mem.h"
#include "recsys/stats.h"

const char *const REC_FILTER_NAME[2] = {"all", "unseen"};

enum { CELL = 64, FIRST = 14, WIDTH = 26 };

int rec_judgement_compare(rec_judgement *j, mb_err *e) {
    if (j->n_floors < 1 || j->n == j->n_floors || j->of[0].e.users == 0)
        return MB_OK;
    const rec_evaluation *model = &j->of[j->n - 1].e;
    const rec_bootstrap b = {j->o->seed, j->o->resamples, j->o->level, j->o->threads};
    const size_t columns = (size_t)model->columns;
    rec_figure *one = mb_malloc(columns * sizeof *one);
    j->over = mb_malloc(columns * sizeof *j->over);
    j->best = mb_calloc(columns, sizeof *j->best);
    int rc = one && j->over && j->best ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %zu differences", columns);
    for (size_t c = 0; rc == MB_OK && c < columns; c++)
        for (int f = 1; f < j->n_floors; f++)
            if (j->of[f].e.figure[c].value > j->of[j->best[c]].e.figure[c].value)
                j->best[c] = f;
    for (int f = 0; rc == MB_OK && f < j->n_floors; f++) {
        rc = rec_evaluation_difference(model, &j->of[f].e, &b, one, e);
        for (size_t c = 0; rc == MB_OK && c < columns; c++)
            if (j->best[c] == f)
                j->over[c] = one[c];
    }
    mb_free(one);
    return rc;
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

static const char *cell(char out[CELL], rec_figure f, int sign) {
    if (!isfinite(f.value))
        snprintf(out, CELL, "-");
    else if (isfinite(f.low))
        snprintf(out, CELL, sign ? "%+.4f [%+.4f, %+.4f]" : "%.4f [%.4f, %.4f]", f.value, f.low, f.high);
    else
        snprintf(out, CELL, sign ? "%+.4f" : "%.4f", f.value);
    return out;
}

/* "exact", "file": by what rule the events of a user are in their order. */
static void order_words(const rec_judgement *j, char out[CELL]) {
    mb_json_use_heap();
    json_t *recipe = json_loads(rec_log_recipe(j->log), 0, NULL);
    const char *sort = json_string_value(json_object_get(recipe, "time_sort"));
    const char *ties = json_string_value(json_object_get(recipe, "ties"));
    snprintf(out, CELL, "time %s, ties %s", rec_log_view(j->log)->time && sort ? sort : "-", ties ? ties : "-");
    if (!rec_log_view(j->log)->time)
        snprintf(out, CELL, "as in the input, which has no times");
    json_decref(recipe);
}

static int text_head(const rec_judgement *j, mb_out *out, mb_err *e) {
    const rec_view *v = rec_log_view(j->log);
    const rec_evaluation *x = &j->of[0].e;
    char order[CELL];
    order_words(j, order);
    int rc = mb_out_printf(out, e,
                           "log           %s: %d users, %d items, %" PRId64 " events\norder         %s\n"
                           "split         %s: %" PRId64 " training, %" PRId64 " validation, %" PRId64 " test events\n"
                           "fingerprint   %s\n",
                           j->input, v->n_users, v->n_items, v->n_events, order, REC_SPLIT_NAME[j->split->rule],
                           j->split->train, j->split->valid, j->split->test, j->split->fingerprint);
    if (rc == MB_OK)
        rc = mb_out_printf(out, e, "queries       %s: %" PRId64 " of %" PRId64 " users, %" PRId64 " targets",
                           j->o->part == REC_PART_VALID ? "validation" : "test", x->queries, x->users, x->targets);
    if (rc == MB_OK && x->skipped > 0)
        rc = mb_out_printf(out, e, "; %" PRId64 " with fewer than %" PRId64 " events before them not asked", x->skipped,
                           j->o->min_history);
    if (rc == MB_OK)
        rc = mb_out_printf(out, e, "\ncandidates    %s\n", j->candidates);
    if (rc == MB_OK && j->o->resamples > 0)
        rc = mb_out_printf(out, e, "intervals     %g %%, %d resamples of users, seed %" PRIu64 "\n",
                           100 * (j->o->level > 0 ? j->o->level : 0.95), j->o->resamples, j->o->seed);
    return rc;
}

/* The next cell of a line; blanks only where another follows. */
static int text_cell(const rec_judgement *j, int i, const char *text, int more, mb_out *out, mb_err *e) {
    return mb_out_printf(out, e, "%-*s", i + 1 < j->n || more ? WIDTH : 0, text);
}

static int text_row(const rec_judgement *j, const char *title, int column, mb_out *out, mb_err *e) {
    char text[CELL];
    int rc = mb_out_printf(out, e, "%-*s", FIRST, title);
    for (int i = 0; rc == MB_OK && i < j->n; i++)
        rc = text_cell(j, i, cell(text, j->of[i].e.figure[column], 0), j->over != NULL, out, e);
    if (rc == MB_OK && j->over)
        rc = mb_out_printf(out, e, "%s, %s", cell(text, j->over[column], 1), j->of[j->best[column]].name);
    return rc == MB_OK ? mb_out_printf(out, e, "\n") : rc;
}

static int text_coverage(const rec_judgement *j, int filtered, int k, mb_out *out, mb_err *e) {
    char title[CELL], text[CELL];
    if (isnan(j->of[0].e.coverage[filtered][k]))
        return MB_OK;
    snprintf(title, sizeof title, "coverage@%d", j->of[0].e.k[k]);
    int rc = mb_out_printf(out, e, "%-*s", FIRST, title);
    for (int i = 0; rc == MB_OK && i < j->n; i++)
        rc = text_cell(j, i, cell(text, (rec_figure){j->of[i].e.coverage[filtered][k], NAN, NAN}, 0), 0, out, e);
    return rc == MB_OK ? mb_out_printf(out, e, "\n") : rc;
}

int rec_judgement_text(const rec_judgement *j, mb_out *out, mb_err *e) {
    static const char *const TITLE[2] = {"all items are candidates", "without the items of the history"};
    static const char *const SAMPLED[2] = {"samples without training items",
                                           "samples without the items of the history"};
    const rec_evaluation *x = &j->of[0].e;
    int rc = text_head(j, out, e);
    for (int f = 0; rc == MB_OK && f < 2; f++) {
        rc = mb_out_printf(out, e, "\n%s\n%-*s", j->o->candidates == REC_CANDIDATES_FULL ? TITLE[f] : SAMPLED[f], FIRST,
                           "");
        for (int i = 0; rc == MB_OK && i < j->n; i++)
            rc = text_cell(j, i, j->of[i].name, j->over != NULL, out, e);
        if (rc == MB_OK)
            rc = mb_out_printf(out, e, "%s\n", j->over ? "model less best floor" : "");
        for (int m = 0; m < j->n_metrics; m++)
            for (int k = 0; rc == MB_OK && k < x->n_k; k++) {
                char title[CELL];
                snprintf(title, sizeof title, "%s@%d", rec_metric_title((rec_metric)j->metric[m]), x->k[k]);
                rc = text_row(j, title, (f * x->n_k + k) * REC_METRICS + j->metric[m], out, e);
            }
        for (int k = 0; rc == MB_OK && k < x->n_k; k++)
            rc = text_coverage(j, f, k, out, e);
    }
    return rc;
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

static int tsv_number(mb_out *out, double v, mb_err *e) {
    return isfinite(v) ? mb_out_printf(out, e, "\t%.17g", v) : mb_out_printf(out, e, "\tNA");
}

static int tsv_line(const rec_judgement *j, const char *scorer, int filtered, const char *metric, int k, rec_figure f,
                    mb_out *out, mb_err *e) {
    int rc = mb_out_printf(out, e, "%s\t%s\t%s\t%d", scorer, REC_FILTER_NAME[filtered], metric, k);
    const double number[] = {f.value, f.low, f.high};
    for (int i = 0; rc == MB_OK && i < 3; i++)
        rc = tsv_number(out, number[i], e);
    return rc == MB_OK ? mb_out_printf(out, e, "\t%s\n", j->split->fingerprint) : rc;
}

static int tsv_figures(const rec_judgement *j, const char *scorer, const rec_figure *figure, mb_out *out, mb_err *e) {
    const rec_evaluation *x = &j->of[0].e;
    int rc = MB_OK;
    for (int c = 0; rc == MB_OK && c < x->columns; c++)
        rc = tsv_line(j, scorer, c / REC_METRICS / x->n_k, rec_metric_name((rec_metric)(c % REC_METRICS)),
                      x->k[c / REC_METRICS % x->n_k], figure[c], out, e);
    return rc;
}

int rec_judgement_tsv(const rec_judgement *j, mb_out *out, mb_err *e) {
    int rc = mb_out_printf(out, e, "scorer\tcandidates\tmetric\tk\tvalue\tlow\thigh\tsplit\n");
    for (int i = 0; rc == MB_OK && i < j->n; i++) {
        const rec_evaluation *x = &j->of[i].e;
        rc = tsv_figures(j, j->of[i].name, x->figure, out, e);
        for (int f = 0; f < 2; f++)
            for (int k = 0; rc == MB_OK && k < x->n_k; k++)
                if (!isnan(x->coverage[f][k]))
                    rc = tsv_line(j, j->of[i].name, f, "coverage", x->k[k], (rec_figure){x->coverage[f][k], NAN, NAN},
                                  out, e);
    }
    return rc == MB_OK && j->over ? tsv_figures(j, "model-best_floor", j->over, out, e) : rc;
}

static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *figures_json(const rec_judgement *j, const rec_figure *figure, const int *best, int filtered) {
    const rec_evaluation *x = &j->of[0].e;
    json_t *all = json_object();
    for (int k = 0; k < x->n_k; k++)
        for (int m = 0; m < REC_METRICS; m++) {
            const int c = (filtered * x->n_k + k) * REC_METRICS + m;
            char name[CELL];
            snprintf(name, sizeof name, "%s@%d", rec_metric_name((rec_metric)m), x->k[k]);
            json_t *one = json_pack("{s:o, s:o, s:o}", "value", number(figure[c].value), "low", number(figure[c].low),
                                    "high", number(figure[c].high));
            if (best)
                json_object_set_new(one, "floor", json_string(j->of[best[c]].name));
            json_object_set_new(all, name, one);
        }
    return all;
}

static json_t *scorer_json(const rec_judgement *j, const rec_judged *s) {
    const rec_evaluation *x = &s->e;
    json_t *one = json_pack("{s:s}", "name", s->name);
    for (int f = 0; f < 2; f++) {
        json_t *side = json_pack("{s:o, s:o}", "figures", figures_json(j, x->figure, NULL, f), "mean_rank",
                                 number(x->mean_rank[f]));
        json_t *coverage = json_object();
        for (int k = 0; k < x->n_k; k++) {
            char name[CELL];
            snprintf(name, sizeof name, "%d", x->k[k]);
            if (!isnan(x->coverage[f][k]))
                json_object_set_new(coverage, name, number(x->coverage[f][k]));
        }
        json_object_set_new(side, "coverage", coverage);
        json_object_set_new(one, REC_FILTER_NAME[f], side);
    }
    return one;
}

static json_t *judgement_json(const rec_judgement *j) {
    const rec_view *v = rec_log_view(j->log);
    const rec_evaluation *x = &j->of[0].e;
    json_t *scorers = json_array(), *recipe = json_loads(rec_log_recipe(j->log), 0, NULL);
    for (int i = 0; i < j->n; i++)
        json_array_append_new(scorers, scorer_json(j, &j->of[i]));
    json_t *all = json_pack(
        "{s:s?, s:s?, s:{s:i, s:i, s:I, s:o?}, s:{s:s, s:s, s:I, s:I, s:I}, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:i, s:o}",
        "model", j->model, "model_split", j->trained[0] ? j->trained : NULL, "log", "users", v->n_users, "items",
        v->n_items, "events", (json_int_t)v->n_events, "recipe", recipe, "split", "rule",
        REC_SPLIT_NAME[j->split->rule], "fingerprint", j->split->fingerprint, "training", (json_int_t)j->split->train,
        "validation", (json_int_t)j->split->valid, "test", (json_int_t)j->split->test, "part",
        j->o->part == REC_PART_VALID ? "valid" : "test", "ask", j->o->ask == REC_ASK_SETS ? "sets" : "events",
        "mean_over", j->o->over_queries ? "queries" : "users", "candidates", j->candidates, "users",
        (json_int_t)x->users, "queries", (json_int_t)x->queries, "targets", (json_int_t)x->targets, "skipped",
        (json_int_t)x->skipped, "unknown_items", (int)j->unknown, "scorers", scorers);
    for (int f = 0; all && j->over && f < 2; f++) {
        char name[CELL];
        snprintf(name, sizeof name, "model_less_best_floor_%s", REC_FILTER_NAME[f]);
        json_object_set_new(all, name, figures_json(j, j->over, j->best, f));
    }
    return all;
}

int rec_judgement_json(const rec_judgement *j, mb_out *out, mb_err *e) {
    mb_json_use_heap();
    json_t *all = judgement_json(j);
    char *text = all && !mb_json_no_memory() ? json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    const int rc =
        text ? mb_out_printf(out, e, "%s\n", text) : mb_fail(e, MB_NOMEM, "no memory for the JSON of figures");
    json_decref(all);
    mb_free(text);
    return rc;
}

/* An identifier in a TSV file: what would break its lines is written \\t, \\n, \\r, and \\ itself \\\\. */
static int put_id(rec_id id, mb_out *out, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0, from = 0; rc == MB_OK && i <= id.n; i++) {
        const char c = i < id.n ? id.text[i] : '\t';
        if (c != '\t' && c != '\n' && c != '\r' && c != '\\')
            continue;
        if (i > from)
            rc = mb_out_write(out, id.text + from, (size_t)(i - from), e);
        if (rc == MB_OK && i < id.n)
            rc = mb_out_printf(out, e, "\\%c", c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : '\\');
        from = i + 1;
    }
    return rc == MB_OK ? mb_out_write(out, "\t", 1, e) : rc;
}

static int rank_line(const rec_judgement *j, const char *scorer, const rec_target *x, mb_out *out, mb_err *e) {
    int rc = mb_out_printf(out, e, "%s\t", scorer);
    if (rc == MB_OK)
        rc = put_id(rec_log_user_id(j->log, x->user), out, e);
    if (rc == MB_OK)
        rc = put_id(rec_log_item_id(j->log, x->item), out, e);
    return rc == MB_OK ? mb_out_printf(out, e, "%" PRId64 "\t%d\t%d\t%d\t%d\n", x->history, x->rank[0], x->candidate[0],
                                       x->rank[1], x->candidate[1])
                       : rc;
}

int rec_judgement_ranks(const rec_judgement *j, mb_out *out, mb_err *e) {
    int rc = mb_out_printf(out, e, "scorer\tuser\titem\thistory\trank\tcandidates\trank_unseen\tcandidates_unseen\n");
    for (int i = 0; rc == MB_OK && i < j->n; i++)
        for (int64_t t = 0; rc == MB_OK && t < j->of[i].e.targets; t++)
            rc = rank_line(j, j->of[i].name, &j->of[i].e.target[t], out, e);
    return rc;
}
