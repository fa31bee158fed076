/* The HTML report of recmamba evaluate. See judged.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "core/page.h"
#include "recsys/judged.h"
#include "recsys/stats.h"

enum { CELL = 80, POINTS = 121, CURVE = 100 };

static const char *const SIDE[2] = {"all items", "without the items of the history"};

static void put_facts(mb_page *p, const rec_judgement *j) {
    const rec_view *v = rec_log_view(j->log);
    const rec_evaluation *x = &j->of[0].e;
    mb_page_fact(p, "log", "%s", j->input);
    if (j->model)
        mb_page_fact(p, "model", "%s", j->model);
    if (j->model)
        mb_page_fact(p, "trained by the split", "%s",
                     !j->trained[0]                                   ? "not known"
                     : strcmp(j->trained, j->split->fingerprint) == 0 ? "that is tested here"
                                                                      : j->trained);
    mb_page_fact(p, "size", "%d users, %d items, %" PRId64 " events", v->n_users, v->n_items, v->n_events);
    mb_page_fact(p, "split", "%s: %" PRId64 " training, %" PRId64 " validation, %" PRId64 " test events",
                 REC_SPLIT_NAME[j->split->rule], j->split->train, j->split->valid, j->split->test);
    mb_page_fact(p, "fingerprint of the split", "%s", j->split->fingerprint);
    mb_page_fact(p, "how the log was made", "%s", rec_log_recipe(j->log));
    mb_page_fact(p, "queries", "%s: %" PRId64 " of %" PRId64 " users, %" PRId64 " targets; %" PRId64 " not asked",
                 j->o->part == REC_PART_VALID ? "validation" : "test", x->queries, x->users, x->targets, x->skipped);
    mb_page_fact(p, "candidates", "%s", j->candidates);
    if (j->unknown > 0)
        mb_page_fact(p, "items unknown to the model", "%d", j->unknown);
    mb_page_table_end(p);
}

static const char *cell(char out[CELL], rec_figure f) {
    if (!isfinite(f.value))
        snprintf(out, CELL, "-");
    else if (isfinite(f.low))
        snprintf(out, CELL, "%.4f (%.4f to %.4f)", f.value, f.low, f.high);
    else
        snprintf(out, CELL, "%.4f", f.value);
    return out;
}

static void put_row(mb_page *p, const rec_judgement *j, const char *title, int column) {
    char text[REC_JUDGED + 1][CELL], over[CELL + 40];
    const char *to[REC_JUDGED + 2] = {title};
    for (int i = 0; i < j->n; i++)
        to[i + 1] = cell(text[i], j->of[i].e.figure[column]);
    if (j->over) {
        snprintf(over, sizeof over, "%s, %s", cell(text[REC_JUDGED], j->over[column]), j->of[j->best[column]].name);
        to[j->n + 1] = over;
    }
    mb_page_row(p, to);
}

static void put_coverage(mb_page *p, const rec_judgement *j, int filtered, int k) {
    char title[CELL], text[REC_JUDGED][CELL];
    const char *to[REC_JUDGED + 2] = {title};
    if (isnan(j->of[0].e.coverage[filtered][k]))
        return;
    snprintf(title, sizeof title, "coverage@%d", j->of[0].e.k[k]);
    for (int i = 0; i < j->n; i++) {
        snprintf(text[i], CELL, "%.4f", j->of[i].e.coverage[filtered][k]);
        to[i + 1] = text[i];
    }
    to[j->n + 1] = "";
    mb_page_row(p, to);
}

static void put_table(mb_page *p, const rec_judgement *j, int filtered) {
    const rec_evaluation *x = &j->of[0].e;
    const char *column[REC_JUDGED + 2] = {"metric"};
    for (int i = 0; i < j->n; i++)
        column[i + 1] = j->of[i].name;
    column[j->n + 1] = "model less best floor";
    mb_page_table(p, column, j->n + 1 + (j->over != NULL));
    for (int m = 0; m < j->n_metrics; m++)
        for (int k = 0; k < x->n_k; k++) {
            char title[CELL];
            snprintf(title, sizeof title, "%s@%d", rec_metric_title((rec_metric)j->metric[m]), x->k[k]);
            put_row(p, j, title, (filtered * x->n_k + k) * REC_METRICS + j->metric[m]);
        }
    for (int k = 0; k < x->n_k; k++)
        put_coverage(p, j, filtered, k);
    mb_page_table_end(p);
}

/* ---- charts ------------------------------------------------------------------------------------------------------ */

/* Share of the targets that stand at rank x[i] at most; x rises. */
static void shares(const rec_evaluation *v, int filtered, const double *x, int n, double *y) {
    for (int i = 0; i < n; i++)
        y[i] = 0;
    for (int64_t t = 0; t < v->targets; t++) {
        int low = 0, high = n; /* the first x that holds it */
        while (low < high) {
            const int middle = (low + high) / 2;
            if (x[middle] >= v->target[t].rank[filtered])
                high = middle;
            else
                low = middle + 1;
        }
        if (low < n)
            y[low]++;
    }
    for (int i = 0; i < n; i++)
        y[i] = (y[i] + (i > 0 ? y[i - 1] * (double)v->targets : 0)) / (double)v->targets;
}

typedef struct curves {
    double x[POINTS], shown[POINTS], y[REC_JUDGED][POINTS];
    mb_series series[REC_JUDGED];
} curves;

static void put_curves(mb_page *p, const rec_judgement *j, int filtered, curves *c, int n, const char *title,
                       const char *x_label) {
    for (int i = 0; i < j->n; i++) {
        shares(&j->of[i].e, filtered, c->x, n, c->y[i]);
        c->series[i] = (mb_series){.name = j->of[i].name, .kind = MB_SERIES_LINE, .x = c->shown, .y = c->y[i], .n = n};
    }
    const mb_chart chart = {
        .title = title, .x_label = x_label, .y_label = "share of the targets", .series = c->series, .n_series = j->n};
    mb_page_chart(p, &chart);
}

/* The first places one by one, and all of them by powers of ten. */
static void put_charts(mb_page *p, const rec_judgement *j, int filtered, curves *c) {
    char title[CELL];
    const int n_items = rec_log_view(j->log)->n_items, near = n_items < CURVE ? n_items : CURVE;
    for (int i = 0; i < near; i++)
        c->x[i] = c->shown[i] = i + 1;
    snprintf(title, sizeof title, "Found among the first K, %s", SIDE[filtered]);
    if (near > 1)
        put_curves(p, j, filtered, c, near, title, "K");
    const double most = log10(n_items);
    for (int i = 0; i < POINTS; i++) {
        c->shown[i] = most * i / (POINTS - 1);
        c->x[i] = i + 1 < POINTS ? floor(pow(10, c->shown[i]) + 1e-9) : n_items;
    }
    snprintf(title, sizeof title, "Ranks of the targets, %s", SIDE[filtered]);
    if (n_items > 10)
        put_curves(p, j, filtered, c, POINTS, title, "log10 of the rank");
}

int rec_judgement_page(const rec_judgement *j, mb_provenance *record, const char *path, mb_err *e) {
    mb_page *p = NULL;
    curves *c = mb_malloc(sizeof *c);
    int rc = c ? mb_page_create(&p, "Recommendations against what came next", e)
               : mb_fail(e, MB_NOMEM, "no memory for charts");
    if (rc == MB_OK) {
        put_facts(p, j);
        for (int f = 0; f < 2; f++) {
            mb_page_heading(p, f == 0 ? "All items are candidates" : "Without the items of the history");
            put_table(p, j, f);
            if (j->of[0].e.targets > 0)
                put_charts(p, j, f, c);
        }
        mb_page_text(p,
                     "Ranks follow the scores; of equal scores the item with the lower number stands first. %s"
                     "Coverage is the share of the items that were among the first K of some query.",
                     j->o->resamples > 0 ? "In brackets: bootstrap intervals over users, of differences paired. " : "");
        rc = mb_page_write(p, record, path, e);
    }
    mb_page_destroy(p);
    mb_free(c);
    return rc;
}
