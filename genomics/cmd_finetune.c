/* dna-mamba finetune: a model trained on sequences with labels. This file: the order of the work, what is checked
 * before it begins, what is written after it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "genomics/tuning.h"

/* ---- before ---------------------------------------------------------------------------------------------------------
 */

static void say(const dna_text *said) {
    const char *at = said->data;
    while (at && *at) {
        const char *end = strchr(at, '\n');
        const int n = end ? (int)(end - at) : (int)strlen(at);
        mb_info("%.*s", n, at);
        at += n + (end != NULL);
    }
}

static int read_data(dna_tuning *t, mb_err *e) {
    const dna_finetune_values *v = t->v;
    dna_labelled_options o = dna_label_read_options(&v->data);
    const dna_policies p = dna_label_policies(&v->data);
    char *valid[] = {v->valid}, *test[] = {v->test};
    dna_labelled_files files[3] = {{v->valid || v->test ? "train" : NULL, t->run->args, t->run->nargs}};
    int n = 1;
    o.task = v->task;
    if (v->valid)
        files[n++] = (dna_labelled_files){"valid", valid, 1};
    if (v->test)
        files[n++] = (dna_labelled_files){"test", test, 1};
    if (n > 1 && v->folds > 0)
        return mb_fail(e, MB_USAGE, "--folds draws the parts itself; --valid and --test give them");
    int rc = dna_alphabet_init(&t->alphabet, &t->start.config, &p, e);
    if (rc == MB_OK)
        rc = dna_labelled_read(&t->d, files, n, &o, &t->alphabet, e);
    if (rc == MB_OK)
        say(&t->d.said);
    if (rc == MB_OK && t->d.task == DNA_TASK_BASES &&
        (t->start.config.rcps ? v->conjoin != DNA_CONJOIN_NO : v->conjoin == DNA_CONJOIN_YES))
        mb_warn("this model says the same of a base and of its partner on the other strand: labels that differ between "
                "the strands (coding frames, splice donors) cannot be learned; with --conjoin no they can");
    if (rc == MB_OK && t->d.task != DNA_TASK_REGRESSION && t->d.task != DNA_TASK_MULTI && t->d.n_labels < 2)
        return mb_fail(e, MB_FORMAT, "every example has the label '%s': there is nothing to tell apart", t->d.label[0]);
    return rc;
}

/* FNV-1a over everything that is learned from. */
static uint64_t hash(uint64_t h, const void *data, size_t n) {
    const unsigned char *p = data;
    for (size_t i = 0; p && i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static int digest(dna_tuning *t, mb_err *e) {
    uint64_t h = 0xcbf29ce484222325u;
    for (int64_t i = 0; i < t->d.n; i++) {
        const dna_example *x = &t->d.at[i];
        h = hash(h, &x->length, sizeof x->length);
        h = hash(h, x->token, (size_t)x->length);
        h = hash(h, x->base, (size_t)x->length);
        h = hash(h, x->value, (size_t)t->d.n_labels * sizeof(double));
        h = hash(h, &x->label, sizeof x->label);
        h = hash(h, &x->part, sizeof x->part);
    }
    for (int i = 0; i < t->d.n_parts; i++)
        h = hash(h, t->d.part_name[i], strlen(t->d.part_name[i]) + 1);
    snprintf(t->data, sizeof t->data, "%016" PRIx64, h);
    return t->start.weights ? mb_file_sha256(t->start.weights, t->weights, e) : MB_OK;
}

/* The name of a metric that this task has, or NULL for the loss. */
static int choose_judge(dna_tuning *t, mb_err *e) {
    static const char *const of[3] = {
        "loss accuracy balanced_accuracy mcc f1 precision_macro recall_macro f1_macro f1_micro auroc auprc",
        "loss accuracy exact_match precision_macro recall_macro f1_macro f1_micro auroc auprc",
        "loss pearson spearman r2"};
    const int task = t->d.task == DNA_TASK_BASES ? DNA_TASK_CLASS : t->d.task;
    const char *known = of[task == DNA_TASK_MULTI ? 1 : task == DNA_TASK_REGRESSION ? 2 : 0], *judge = t->v->judge;
    if (strcmp(judge, "auto") == 0)
        judge = dna_metrics_main(task);
    const size_t n = strlen(judge);
    for (const char *at = known; (at = strstr(at, judge)); at += n)
        if (n > 0 && (at == known || at[-1] == ' ') && (at[n] == ' ' || !at[n])) {
            t->judge = strcmp(judge, "loss") == 0 ? NULL : judge;
            return MB_OK;
        }
    return mb_fail(e, MB_USAGE, "--judge %s: the task %s has %s", judge, dna_task_name(t->d.task), known);
}

static int make_parts(dna_tuning *t, mb_err *e) {
    const dna_parts_options o = {.folds = (int)t->v->folds,
                                 .leaks = t->v->leaks,
                                 .shared = t->v->shared,
                                 .valid = t->v->valid_share,
                                 .test = t->v->folds > 0 || t->d.n_parts > 0 ? 0 : t->v->test_share,
                                 .seed = (uint64_t)t->run->globals.seed};
    if (o.folds == 1)
        return mb_fail(e, MB_USAGE, "--folds 1: two at least, or 0 for a single run");
    int rc = dna_parts_make(&t->parts, &t->d, &t->alphabet, &o, &t->said, e);
    say(&t->said);
    return rc;
}

/* ---- after ----------------------------------------------------------------------------------------------------------
 */

static int print_plan(const dna_tuning *t, mb_err *e) {
    int64_t n[3], longest = 0, *length = mb_calloc((size_t)t->v->batch, sizeof *length);
    char a[32], b[32];
    mb_gradient *g = NULL;
    mb_gradient_plan plan = {0};
    for (int64_t i = 0; i < t->d.n; i++)
        longest = t->d.at[i].length > longest ? t->d.at[i].length : longest;
    dna_parts_list(&t->parts, 0, n);
    const int64_t micro = (t->v->batch + t->v->micro_batches - 1) / t->v->micro_batches;
    for (int64_t i = 0; length && i < micro; i++)
        length[i] = longest;
    int rc = length ? dna_tuning_gradient(t, 0, &g, e) : mb_fail(e, MB_NOMEM, "no memory for a plan");
    if (rc == MB_OK)
        rc = mb_gradient_plan_make(g, length, (int)micro, &plan, e);
    if (rc == MB_OK)
        printf("model        %s, %" PRId64 " parameters\ntask         %s, %d labels\nexamples     %" PRId64
               " to train on, %" PRId64 " held out, %" PRId64 " to test; up to %" PRId64 " bases\nruns         %" PRId64
               " of %" PRId64 " epochs, %" PRId64
               " steps each\nmemory       activations %s (at least %s)\noutput       "
               "%s (dry run: nothing was written)\n",
               t->v->model, mb_params_count(&t->start.config), dna_task_name(t->d.task), t->d.n_labels, n[0], n[1],
               n[2], longest, t->v->seeds * (t->v->folds > 0 ? t->v->folds : 1), t->v->epochs,
               t->v->epochs * ((n[0] + t->v->batch - 1) / t->v->batch), mb_human_bytes((double)plan.bytes, a),
               mb_human_bytes((double)plan.least, b), t->v->output);
    mb_gradient_destroy(g);
    mb_free(length);
    return rc;
}

static dna_report report_of(const dna_tuning *t) {
    return (dna_report){.model = t->v->model,
                        .task = dna_task_name(t->d.task),
                        .judge = t->judge ? t->judge : "loss",
                        .d = &t->d,
                        .metrics = t->n_tested > 0 ? &t->metrics : NULL,
                        .floor = t->floor.n > 0 ? &t->floor : NULL,
                        .k = t->k,
                        .floor_strands = dna_tuning_is_directed(t) ? 1 : 2,
                        .majority = t->majority,
                        .run = t->runs,
                        .n_runs = t->n_runs,
                        .level = t->v->level};
}

static int write_report(const dna_tuning *t, mb_err *e) {
    const dna_report r = report_of(t);
    char *path = mb_path_join(t->v->output, "predictions.tsv");
    int rc = path ? dna_report_write(&r, t->v->output, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK && t->n_tested > 0)
        rc = dna_answers_write(path, &t->d, t->tested, t->n_tested, t->answer, t->v->folds > 0 ? t->fold : NULL, e);
    mb_free(path);
    return rc;
}

static void say_result(const dna_tuning *t) {
    const char *name = t->judge ? t->judge : dna_metrics_main(t->d.task == DNA_TASK_BASES ? DNA_TASK_CLASS : t->d.task);
    const dna_metric *m = t->n_tested > 0 ? dna_metrics_find(&t->metrics, name) : NULL;
    const dna_metric *f = t->floor.n > 0 ? dna_metrics_find(&t->floor, name) : NULL;
    if (m && f)
        mb_info("test: %s %.4f (%.4f to %.4f); %d-mers %.4f. More in %s/report.txt", name, m->value, m->low, m->high,
                t->k, f->value, t->v->output);
    else if (m)
        mb_info("test: %s %.4f (%.4f to %.4f). More in %s/report.txt", name, m->value, m->low, m->high, t->v->output);
}

/* report.html holds the record, run.json is it: both come last. */
static int write_record(const dna_tuning *t, mb_provenance *p, mb_err *e) {
    const dna_report r = report_of(t);
    char *record = mb_path_join(t->v->output, "run.json");
    int rc = record ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    for (int i = 0; rc == MB_OK && i < t->d.n_files; i++)
        if (mb_file_exists(t->d.file[i]))
            rc = mb_provenance_file(p, "input", t->d.file[i], e);
    if (rc == MB_OK && t->v->data.genome)
        rc = mb_provenance_file(p, "input", t->v->data.genome, e);
    if (rc == MB_OK && t->start.weights)
        rc = mb_provenance_file(p, "model", t->start.weights, e);
    for (int i = 0; rc == MB_OK && i < t->metrics.n; i++)
        if (isfinite(t->metrics.at[i].value))
            rc = mb_provenance_number(p, t->metrics.at[i].name, t->metrics.at[i].value);
    if (rc == MB_OK)
        rc = dna_report_page(&r, t->v->output, p, e);
    if (rc == MB_OK)
        rc = mb_provenance_write(p, record, e);
    mb_free(record);
    return rc;
}

static int tune(dna_tuning *t, mb_err *e) {
    mb_provenance *p = NULL;
    char *checkpoints = mb_path_join(t->v->output, "checkpoints");
    int rc = mb_provenance_start(&p, t->run, e);
    if (rc == MB_OK && t->v->resume != 0 && checkpoints && mb_dir_exists(checkpoints))
        rc = mb_fail(e, MB_USAGE, "%s is there already: take another -o, remove it, or say --resume auto", checkpoints);
    if (rc == MB_OK)
        rc = dna_tuning_run(t, e);
    if (rc == MB_OK)
        rc = write_report(t, e);
    if (rc == MB_OK)
        rc = write_record(t, p, e);
    if (rc == MB_OK)
        say_result(t);
    mb_provenance_free(p);
    mb_free(checkpoints);
    return rc;
}

static int run_finetune(mb_run *run, mb_err *e) {
    dna_tuning *t = mb_calloc(1, sizeof *t);
    if (!t)
        return mb_fail(e, MB_NOMEM, "no memory to begin");
    t->run = run;
    t->v = run->values;
    int rc = !t->v->output  ? mb_fail(e, MB_USAGE, "where to? -o FOLDER")
             : !t->v->model ? mb_fail(e, MB_USAGE, "which model? -m FOLDER, a preset or a config.json")
                            : MB_OK;
    if (rc == MB_OK)
        rc = dna_start_make(&t->start, t->v->model, (uint64_t)run->globals.seed, e);
    if (rc == MB_OK) {
        t->start.config.n_labels = 0; /* a classifier is tuned further as the backbone it is */
        rc = read_data(t, e);
    }
    if (rc == MB_OK)
        rc = choose_judge(t, e);
    if (rc == MB_OK)
        rc = make_parts(t, e);
    if (rc == MB_OK)
        rc = digest(t, e);
    if (rc == MB_OK)
        rc = run->globals.dry_run ? print_plan(t, e) : tune(t, e);
    dna_tuning_fini(t);
    mb_free(t);
    return rc;
}

const mb_verb dna_finetune_verb = {.name = "finetune",
                                   .summary = "train a model on sequences with labels, and test it",
                                   .usage = "TABLE|FASTA|BED... -m MODEL -o FOLDER [options]",
                                   .details = dna_finetune_details,
                                   .options = dna_finetune_options,
                                   .values_size = sizeof(dna_finetune_values),
                                   .min_args = 1,
                                   .max_args = -1,
                                   .run = run_finetune};
