/* The HTML report of a fine-tuned model. See report.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/curve.h"
#include "core/mem.h"
#include "core/page.h"
#include "genomics/report.h"

enum { CELL = 64, MOST_CLASSES = 40 };

static const char *figure(char out[CELL], double v) {
    *out = 0;
    if (isfinite(v))
        snprintf(out, CELL, "%.4f", v);
    return out;
}

static void put_metrics(mb_page *p, const dna_report *r) {
    static const char *const COLUMN[] = {"metric", "value", "interval", "k-mers", "mean of runs", "sd of runs"};
    mb_page_heading(p, "Figures on the test part");
    mb_page_table(p, COLUMN, 6);
    for (int i = 0; i < r->metrics->n; i++) {
        const dna_metric *m = &r->metrics->at[i], *f = r->floor ? dna_metrics_find(r->floor, m->name) : NULL;
        char value[CELL], interval[CELL] = "", floor[CELL] = "", mean_text[CELL] = "", sd_text[CELL] = "";
        double mean, sd;
        if (isfinite(m->low))
            snprintf(interval, sizeof interval, "%.4f to %.4f", m->low, m->high);
        if (f)
            (void)figure(floor, f->value);
        if (r->n_runs > 1 && dna_report_over_runs(r, i, &mean, &sd) > 0) {
            (void)figure(mean_text, mean);
            (void)figure(sd_text, sd);
        }
        const char *cell[] = {m->name, m->why ? m->why : figure(value, m->value), interval, floor, mean_text, sd_text};
        mb_page_row(p, cell);
    }
    mb_page_table_end(p);
    mb_page_text(p, "Intervals: %g %% percentile bootstrap%s.", 100 * r->level, r->n_runs > 1 ? ", first seed" : "");
    if (r->floor)
        mb_page_text(p, "k-mers: naive Bayes over %d-mers of both strands, trained on the same part.", r->k);
    if (isfinite(r->majority))
        mb_page_text(p, "The commonest class of the training part, always: accuracy %.4f.", r->majority);
}

static void put_confusion(mb_page *p, const dna_report *r) {
    const int C = r->d->n_labels;
    const char *column[MOST_CLASSES + 1], *cell[MOST_CLASSES + 1];
    char count[MOST_CLASSES][CELL];
    if (!r->metrics->confusion || C > MOST_CLASSES)
        return;
    mb_page_heading(p, "Confusion");
    mb_page_text(p, "Rows: the truth. Columns: the answer.");
    column[0] = "";
    for (int c = 0; c < C; c++)
        column[c + 1] = r->d->label[c];
    mb_page_table(p, column, C + 1);
    for (int t = 0; t < C; t++) {
        cell[0] = r->d->label[t];
        for (int c = 0; c < C; c++) {
            snprintf(count[c], CELL, "%" PRId64, r->metrics->confusion[(int64_t)t * C + c]);
            cell[c + 1] = count[c];
        }
        mb_page_row(p, cell);
    }
    mb_page_table_end(p);
}

static void put_runs(mb_page *p, const dna_report *r) {
    const char *const column[] = {"fold", "seed", "train", "valid", "test", "best step", r->judge};
    int judge = 0;
    for (int i = 0; r->metrics && i < r->metrics->n; i++)
        if (dna_metrics_find(r->metrics, r->judge) == &r->metrics->at[i])
            judge = i;
    mb_page_heading(p, "Runs");
    mb_page_table(p, column, 7);
    for (int i = 0; i < r->n_runs; i++) {
        const dna_report_run *x = &r->run[i];
        char text[7][CELL] = {""};
        const int64_t number[] = {x->fold, x->seed, x->train, x->valid, x->test, x->best_step};
        for (int k = x->fold < 0; k < 6; k++)
            snprintf(text[k], CELL, "%" PRId64, number[k]);
        if (x->value)
            (void)figure(text[6], x->value[judge]);
        const char *cell[] = {text[0], text[1], text[2], text[3], text[4], text[5], text[6]};
        mb_page_row(p, cell);
    }
    mb_page_table_end(p);
}

static int put_curve(mb_page *p, const char *folder, mb_err *e) {
    char *path = mb_path_join(folder, "metrics.jsonl");
    mb_curve c = {0};
    mb_curve_chart chart = {0};
    int rc = path ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK && mb_file_exists(path)) {
        rc = mb_curve_read(&c, path, NULL, e);
        if (rc == MB_OK)
            rc = mb_curve_chart_make(&chart, &c, 0, e);
        if (rc == MB_OK)
            mb_page_chart(p, &chart.chart);
    }
    mb_curve_chart_fini(&chart);
    mb_curve_fini(&c);
    mb_free(path);
    return rc;
}

int dna_report_page(const dna_report *r, const char *folder, mb_provenance *record, mb_err *e) {
    mb_page *p = NULL;
    char *path = mb_path_join(folder, "report.html");
    int rc = path ? mb_page_create(&p, "A fine-tuned DNA model", e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK) {
        mb_page_fact(p, "model", "%s", r->model);
        mb_page_fact(p, "task", "%s, %d labels", r->task, r->d->n_labels);
        mb_page_fact(p, "examples", "%" PRId64, r->d->n);
        mb_page_fact(p, "tested", "%" PRId64, r->metrics ? r->metrics->units : 0);
        if (r->metrics) {
            put_metrics(p, r);
            put_confusion(p, r);
        }
        if (r->n_runs > 0)
            put_runs(p, r);
        rc = put_curve(p, folder, e);
    }
    if (rc == MB_OK)
        rc = mb_page_write(p, record, path, e);
    mb_page_destroy(p);
    mb_free(path);
    return rc;
}
