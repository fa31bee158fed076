/* Reports and tables of answers. See report.h. */
#include "genomics/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json_guard.h"
#include "core/mem.h"

/* ---- JSON -----------------------------------------------------------------------------------------------------------
 */

static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *metrics_json(const dna_metrics *m) {
    json_t *all = json_object();
    for (int i = 0; m && i < m->n; i++) {
        const dna_metric *x = &m->at[i];
        json_t *one =
            json_pack("{s:o, s:o, s:o}", "value", number(x->value), "low", number(x->low), "high", number(x->high));
        if (x->why)
            json_object_set_new(one, "why", json_string(x->why));
        json_object_set_new(all, x->name, one);
    }
    return all;
}

static json_t *labels_json(const dna_report *r) {
    json_t *all = json_array();
    for (int c = 0; r->metrics && c < r->d->n_labels; c++) {
        const dna_label_metrics *x = &r->metrics->of[c];
        json_array_append_new(all, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "label", r->d->label[c],
                                             "support", number(x->support), "precision", number(x->precision), "recall",
                                             number(x->recall), "f1", number(x->f1), "auroc", number(x->auroc), "auprc",
                                             number(x->auprc), "spearman", number(x->spearman), "r2", number(x->r2)));
    }
    return all;
}

static json_t *confusion_json(const dna_report *r) {
    json_t *all = json_array();
    const int C = r->d->n_labels;
    for (int t = 0; r->metrics && r->metrics->confusion && t < C; t++) {
        json_t *row = json_array();
        for (int p = 0; p < C; p++)
            json_array_append_new(row, json_integer(r->metrics->confusion[(int64_t)t * C + p]));
        json_array_append_new(all, row);
    }
    return all;
}

static json_t *runs_json(const dna_report *r) {
    json_t *all = json_array();
    for (int i = 0; i < r->n_runs; i++) {
        const dna_report_run *x = &r->run[i];
        json_t *one = json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:f}", "fold", x->fold, "seed", (json_int_t)x->seed,
                                "train", (json_int_t)x->train, "valid", (json_int_t)x->valid, "test",
                                (json_int_t)x->test, "best_step", (json_int_t)x->best_step, "seconds", x->seconds);
        for (int k = 0; r->metrics && x->value && k < r->metrics->n; k++)
            json_object_set_new(one, r->metrics->at[k].name, number(x->value[k]));
        json_array_append_new(all, one);
    }
    return all;
}

int dna_report_over_runs(const dna_report *r, int metric, double *mean, double *spread) {
    double sum = 0, squares = 0;
    int n = 0;
    for (int i = 0; i < r->n_runs; i++)
        if (r->run[i].value && isfinite(r->run[i].value[metric])) {
            sum += r->run[i].value[metric];
            n++;
        }
    *mean = n ? sum / n : NAN;
    for (int i = 0; i < r->n_runs; i++)
        if (r->run[i].value && isfinite(r->run[i].value[metric]))
            squares += pow(r->run[i].value[metric] - *mean, 2);
    *spread = n > 1 ? sqrt(squares / (n - 1)) : NAN;
    return n;
}

static json_t *spread_json(const dna_report *r) {
    json_t *all = json_object();
    for (int k = 0; r->metrics && r->n_runs > 1 && k < r->metrics->n; k++) {
        double mean, spread;
        const int n = dna_report_over_runs(r, k, &mean, &spread);
        json_object_set_new(all, r->metrics->at[k].name,
                            json_pack("{s:o, s:o, s:i}", "mean", number(mean), "sd", number(spread), "runs", n));
    }
    return all;
}

static int write_json(const dna_report *r, const char *folder, mb_err *e) {
    mb_json_use_heap();
    json_t *floor = r->floor ? json_pack("{s:s, s:i, s:o}", "model", "k-mer naive Bayes", "k", r->k, "metrics",
                                         metrics_json(r->floor))
                             : json_null();
    json_t *all =
        json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version", 1, "model",
                  r->model, "task", r->task, "judged_by", r->judge, "examples", (json_int_t)r->d->n, "tested",
                  (json_int_t)(r->metrics ? r->metrics->units : 0), "level", number(r->level), "metrics",
                  metrics_json(r->metrics), "labels", labels_json(r), "confusion", confusion_json(r), "runs",
                  runs_json(r), "over_runs", spread_json(r), "floor", floor, "majority_accuracy", number(r->majority));
    char *path = mb_path_join(folder, "report.json"),
         *text = all && !mb_json_no_memory() ? json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) : NULL;
    int rc =
        path && text ? mb_file_write_all(path, text, strlen(text), e) : mb_fail(e, MB_NOMEM, "no memory for a report");
    json_decref(all);
    mb_free(text);
    mb_free(path);
    return rc;
}

/* ---- text -----------------------------------------------------------------------------------------------------------
 */

static int put_metrics(const dna_report *r, mb_out *out, mb_err *e) {
    int rc = mb_out_printf(out, e, "%-18s %10s  %-20s %10s %10s %10s\n", "metric", "value", "interval",
                           r->floor ? "k-mers" : "", r->n_runs > 1 ? "mean" : "", r->n_runs > 1 ? "sd" : "");
    for (int i = 0; rc == MB_OK && i < r->metrics->n; i++) {
        const dna_metric *x = &r->metrics->at[i], *f = r->floor ? dna_metrics_find(r->floor, x->name) : NULL;
        char interval[48] = "", floor[24] = "", many[2][24] = {"", ""};
        double mean, spread;
        if (isfinite(x->low))
            snprintf(interval, sizeof interval, "%.4f .. %.4f", x->low, x->high);
        if (f)
            snprintf(floor, sizeof floor, "%.4f", f->value);
        if (r->n_runs > 1) {
            (void)dna_report_over_runs(r, i, &mean, &spread);
            snprintf(many[0], sizeof many[0], "%.4f", mean);
            snprintf(many[1], sizeof many[1], "%.4f", spread);
        }
        rc = mb_out_printf(out, e, "%-18s %10.4f  %-20s %10s %10s %10s%s%s\n", x->name, x->value, interval, floor,
                           many[0], many[1], x->why ? "  " : "", x->why ? x->why : "");
    }
    return rc;
}

static int put_confusion(const dna_report *r, mb_out *out, mb_err *e) {
    enum { MOST = 40 };
    const int C = r->d->n_labels;
    if (!r->metrics->confusion || C > MOST)
        return MB_OK;
    int rc = mb_out_printf(out, e, "\nconfusion (rows: truth, columns: answer)\n%-20s", "");
    for (int p = 0; rc == MB_OK && p < C; p++)
        rc = mb_out_printf(out, e, " %10.10s", r->d->label[p]);
    for (int t = 0; rc == MB_OK && t < C; t++) {
        rc = mb_out_printf(out, e, "\n%-20.20s", r->d->label[t]);
        for (int p = 0; rc == MB_OK && p < C; p++)
            rc = mb_out_printf(out, e, " %10" PRId64, r->metrics->confusion[(int64_t)t * C + p]);
    }
    return rc == MB_OK ? mb_out_printf(out, e, "\n") : rc;
}

static int put_runs(const dna_report *r, mb_out *out, mb_err *e) {
    int rc = mb_out_printf(out, e, "\n%6s %6s %8s %8s %8s %10s %10s\n", "fold", "seed", "train", "valid", "test",
                           "best step", r->metrics ? r->metrics->at[0].name : "");
    for (int i = 0; rc == MB_OK && i < r->n_runs; i++) {
        const dna_report_run *x = &r->run[i];
        rc = mb_out_printf(out, e, "%6d %6" PRId64 " %8" PRId64 " %8" PRId64 " %8" PRId64 " %10" PRId64 " %10.4f\n",
                           x->fold, x->seed, x->train, x->valid, x->test, x->best_step, x->value ? x->value[0] : NAN);
    }
    return rc;
}

static int put_report(const dna_report *r, mb_out *out, mb_err *e) {
    int rc = mb_out_printf(out, e, "model %s, task %s, %" PRId64 " examples, %d labels\n", r->model, r->task, r->d->n,
                           r->d->n_labels);
    if (rc == MB_OK && r->metrics)
        rc = mb_out_printf(out, e, "%" PRId64 " tested%s%s\nintervals: %g %% percentile bootstrap\n\n",
                           r->metrics->units, r->n_runs > 1 ? "; value and interval: all folds of the first seed" : "",
                           r->n_runs > 1 ? "; mean and sd: over the runs" : "", 100 * r->level);
    if (rc == MB_OK && r->metrics)
        rc = put_metrics(r, out, e);
    if (rc == MB_OK && isfinite(r->majority))
        rc = mb_out_printf(out, e, "\ncommonest class of the training part, always: accuracy %.4f\n", r->majority);
    if (rc == MB_OK && r->floor)
        rc = mb_out_printf(out, e, "k-mers: naive Bayes over %d-mers of %s, trained on the same part\n", r->k,
                           r->floor_strands == 1 ? "the given strand" : "both strands");
    if (rc == MB_OK && r->metrics)
        rc = put_confusion(r, out, e);
    return rc == MB_OK && r->n_runs > 0 ? put_runs(r, out, e) : rc;
}

int dna_report_write(const dna_report *r, const char *folder, mb_err *e) {
    mb_out *out = NULL;
    char *path = mb_path_join(folder, "report.txt");
    int rc = path ? write_json(r, folder, e) : mb_fail(e, MB_NOMEM, "no memory for a report");
    if (rc == MB_OK)
        rc = mb_out_create(&out, path, e);
    if (rc == MB_OK)
        rc = put_report(r, out, e);
    if (out && rc == MB_OK)
        rc = mb_out_commit(out, e);
    else
        mb_out_abort(out);
    mb_free(path);
    return rc;
}

/* ---- answers --------------------------------------------------------------------------------------------------------
 */

static int put_bases(const dna_labelled *d, const dna_example *x, const double *answer, mb_out *out, mb_err *e) {
    int rc = MB_OK;
    for (int64_t i = 0; rc == MB_OK && x->base && i < x->length; i++)
        rc = mb_out_printf(out, e, "%c", x->base[i] == DNA_UNLABELLED ? '.' : *d->label[x->base[i]]);
    if (rc == MB_OK)
        rc = mb_out_printf(out, e, "\t");
    for (int64_t i = 0; rc == MB_OK && i < x->length; i++)
        rc = mb_out_printf(out, e, "%c", *d->label[dna_best_of(answer + i * d->n_labels, d->n_labels)]);
    return rc;
}

/* Labels above one half, or '-'. */
static int put_set(const dna_labelled *d, const double *value, mb_out *out, mb_err *e) {
    int rc = MB_OK, n = 0;
    for (int c = 0; rc == MB_OK && c < d->n_labels; c++)
        if (value[c] >= 0.5)
            rc = mb_out_printf(out, e, "%s%s", n++ ? ";" : "", d->label[c]);
    return rc == MB_OK && n == 0 ? mb_out_printf(out, e, "-") : rc;
}

static int put_answer(const dna_labelled *d, const dna_example *x, const double *answer, mb_out *out, mb_err *e) {
    int rc = MB_OK;
    if (d->task == DNA_TASK_BASES)
        return put_bases(d, x, answer, out, e);
    if (d->task == DNA_TASK_CLASS)
        rc = mb_out_printf(out, e, "%s\t%s", x->label < 0 ? "" : d->label[x->label],
                           d->label[dna_best_of(answer, d->n_labels)]);
    if (d->task == DNA_TASK_MULTI) {
        rc = put_set(d, x->value, out, e);
        if (rc == MB_OK)
            rc = mb_out_printf(out, e, "\t");
        if (rc == MB_OK)
            rc = put_set(d, answer, out, e);
    }
    for (int c = 0; rc == MB_OK && c < d->n_labels; c++) {
        if (d->task == DNA_TASK_REGRESSION)
            rc = mb_out_printf(out, e, "%s%.9g", c ? "\t" : "", x->value[c]);
        if (rc == MB_OK)
            rc = mb_out_printf(out, e, "\t%.6g", answer[c]);
    }
    return rc;
}

static int put_titles(const dna_labelled *d, int parts, mb_out *out, mb_err *e) {
    int rc = mb_out_printf(out, e, "name\tplace\tlength%s", parts ? "\tfold" : "");
    if (rc == MB_OK && d->task != DNA_TASK_REGRESSION)
        rc = mb_out_printf(out, e, "\ttruth\tanswer");
    for (int c = 0; rc == MB_OK && d->task != DNA_TASK_BASES && c < d->n_labels; c++)
        rc = d->task == DNA_TASK_REGRESSION ? mb_out_printf(out, e, "\ttruth_%s\tanswer_%s", d->label[c], d->label[c])
                                            : mb_out_printf(out, e, "\tp_%s", d->label[c]);
    return rc == MB_OK ? mb_out_printf(out, e, "\n") : rc;
}

int dna_answers_write(const char *path, const dna_labelled *d, const int64_t *index, int64_t n, const double *answer,
                      const int *part, mb_err *e) {
    mb_out *out = NULL;
    int rc = mb_out_create(&out, path, e);
    if (rc == MB_OK)
        rc = put_titles(d, part != NULL, out, e);
    for (int64_t i = 0; rc == MB_OK && i < n; i++) {
        const dna_example *x = &d->at[index[i]];
        char place[512], fold[16] = "";
        if (part)
            snprintf(fold, sizeof fold, "\t%d", part[i]);
        rc = mb_out_printf(out, e, "%s\t%s\t%" PRId64 "%s\t", x->name, dna_example_place(d, x, place, sizeof place),
                           x->length, fold);
        if (rc == MB_OK)
            rc = put_answer(d, x, answer, out, e);
        if (rc == MB_OK)
            rc = mb_out_printf(out, e, "\n");
        answer += (d->task == DNA_TASK_BASES ? x->length : 1) * d->n_labels;
    }
    if (out && rc == MB_OK)
        return mb_out_commit(out, e);
    mb_out_abort(out);
    return rc;
}
