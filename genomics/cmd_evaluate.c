/* dna-mamba evaluate: how good a fine-tuned model is on labelled sequences. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "genomics/finetune.h"
#include "genomics/folds.h"
#include "genomics/label_options.h"
#include "genomics/report.h"

typedef struct evaluate_values {
    dna_label_values data;
    char *model, *output, *predictions, *part;
    int64_t resamples;
    double level;
    int precision;
} evaluate_values;

#define V evaluate_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    OPTION(model, STRING, .letter = 'm', .meta = "MODEL", .help = "Folder that dna-mamba finetune made."),
    OPTION(output, STRING, .letter = 'o', .meta = "FOLDER",
           .help = "report.txt, report.json, report.html, run.json go there. Unset: the figures are printed only."),
    OPTION(predictions, STRING, .meta = "FILE", .role = MB_ROLE_OUTPUT,
           .help = "Also write the answer for every example, as TSV."),
    OPTION(part, STRING, .meta = "NAME", .help = "Only examples of this part (test), as the input names it."),
    DNA_LABEL_OPTIONS(V, data),
    OPTION(resamples, INT, .def = "1000", .max = 1e6, .meta = "N", .help = "Of the bootstrap; 0: no intervals."),
    OPTION(level, FLOAT, .def = "0.95", .min = 0.01, .max = 0.9999, .meta = "P", .help = "Of the intervals."),
    OPTION(precision, CHOICE, .def = "fp32", .choices = "fp32|bf16", .help = "Of inputs in matrix products."),
    {0}};
#undef OPTION
#undef V

static const char DETAILS[] =
    "Runs a fine-tuned model over labelled sequences (tables, FASTA, BED, as finetune reads them) and prints the metrics "
    "of its task with bootstrap intervals. Labels must be those that the model knows. Whether the model was trained on "
    "these sequences is not known here.\n"
    "\n"
    "  dna-mamba finetune genomics/data/phages.tsv -m caduceus-ps-tiny -o build/phages --epochs 3\n"
    "  dna-mamba evaluate genomics/data/phages.tsv -m build/phages --predictions build/answers.tsv";

typedef struct job {
    mb_run *run;
    const evaluate_values *v;
    mb_model *m;
    dna_head head;
    dna_alphabet alphabet;
    dna_labelled d;
    int64_t *index, n;
    double *answer;
    dna_metrics metrics;
} job;

static int open_model(job *j, mb_err *e) {
    const mb_model_options o = {.device = j->run->globals.device, .precision = (mbk_precision)j->v->precision};
    const dna_policies p = dna_label_policies(&j->v->data);
    if (!j->v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER, as dna-mamba finetune made it");
    int rc = mb_model_open(&j->m, j->v->model, &o, e);
    if (rc == MB_OK)
        rc = dna_head_load(&j->head, j->m, e);
    return rc == MB_OK ? dna_alphabet_init(&j->alphabet, mb_model_config(j->m), &p, e) : rc;
}

static int read_data(job *j, mb_err *e) {
    dna_labelled_options o = dna_label_read_options(&j->v->data);
    const dna_labelled_files files = {NULL, j->run->args, j->run->nargs};
    o.task = j->head.task;
    o.labels = (const char *const *)j->head.label;
    o.n_known = j->head.pool.C;
    int rc = dna_labelled_read(&j->d, &files, 1, &o, &j->alphabet, e);
    if (rc == MB_OK && j->d.n_labels != j->head.pool.C)
        rc = mb_fail(e, MB_FORMAT, "the input has %d label columns, the model answers %d", j->d.n_labels,
                     j->head.pool.C);
    if (rc == MB_OK && !(j->index = mb_calloc((size_t)j->d.n + 1, sizeof *j->index)))
        rc = mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " examples", j->d.n);
    for (int64_t i = 0; rc == MB_OK && i < j->d.n; i++) {
        const int part = j->d.at[i].part;
        if (!j->v->part || (part >= 0 && strcmp(j->d.part_name[part], j->v->part) == 0))
            j->index[j->n++] = i;
    }
    if (rc == MB_OK && j->n == 0)
        rc = mb_fail(e, MB_FORMAT, "no example%s%s", j->v->part ? " of the part " : "", j->v->part ? j->v->part : "");
    return rc;
}

static int measure(job *j, mb_err *e) {
    const mb_forward_options fo = {
        .threads = (int)j->run->globals.threads, .memory = j->run->globals.memory, .stop = mb_cli_stop()};
    const dna_metrics_options mo = {.seed = (uint64_t)j->run->globals.seed,
                                    .resamples = (int)j->v->resamples,
                                    .level = j->v->level,
                                    .threads = (int)j->run->globals.threads};
    int rc = dna_answers(&j->answer, &j->head, j->m, &j->alphabet, &j->d, j->index, j->n, &fo, e);
    return rc == MB_OK ? dna_measure(&j->metrics, &j->d, j->index, j->n, j->answer, &mo, e) : rc;
}

static void print_metrics(const job *j) {
    printf("metric\tvalue\tlow\thigh\n");
    for (int i = 0; i < j->metrics.n; i++) {
        const dna_metric *m = &j->metrics.at[i];
        printf("%s\t%.6f\t%.6f\t%.6f\n", m->name, m->value, m->low, m->high);
    }
}

static int write_folder(const job *j, mb_provenance *p, mb_err *e) {
    const dna_report r = {.model = j->v->model,
                          .task = dna_task_name(j->d.task),
                          .judge = dna_metrics_main(j->d.task == DNA_TASK_BASES ? DNA_TASK_CLASS : j->d.task),
                          .d = &j->d,
                          .metrics = &j->metrics,
                          .majority = NAN,
                          .level = j->v->level};
    char *record = mb_path_join(j->v->output, "run.json");
    (void)mkdir(j->v->output, 0777); /* what follows says when there is none */
    int rc = record ? dna_report_write(&r, j->v->output, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = mb_provenance_file(p, "model", mb_model_weights_path(j->m), e);
    for (int i = 0; rc == MB_OK && i < j->d.n_files; i++)
        if (mb_file_exists(j->d.file[i]))
            rc = mb_provenance_file(p, "input", j->d.file[i], e);
    if (rc == MB_OK && j->v->data.genome)
        rc = mb_provenance_file(p, "input", j->v->data.genome, e);
    if (rc == MB_OK)
        rc = dna_report_page(&r, j->v->output, p, e);
    if (rc == MB_OK)
        rc = mb_provenance_write(p, record, e);
    mb_free(record);
    return rc;
}

static int run_evaluate(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    mb_provenance *p = NULL;
    int rc = mb_provenance_start(&p, run, e);
    if (rc == MB_OK)
        rc = open_model(&j, e);
    if (rc == MB_OK)
        rc = read_data(&j, e);
    if (rc == MB_OK && run->globals.dry_run) {
        printf("task         %s, %d labels\nexamples     %" PRId64 "\n", dna_task_name(j.d.task), j.d.n_labels, j.n);
    } else if (rc == MB_OK) {
        rc = measure(&j, e);
        if (rc == MB_OK && j.v->predictions)
            rc = dna_answers_write(j.v->predictions, &j.d, j.index, j.n, j.answer, NULL, e);
        if (rc == MB_OK && j.v->output)
            rc = write_folder(&j, p, e);
        if (rc == MB_OK)
            print_metrics(&j);
    }
    mb_provenance_free(p);
    dna_metrics_fini(&j.metrics);
    mb_free(j.answer);
    mb_free(j.index);
    dna_labelled_fini(&j.d);
    dna_head_fini(&j.head);
    mb_model_destroy(j.m);
    return rc;
}

const mb_verb dna_evaluate_verb = {.name = "evaluate",
                                   .summary = "a fine-tuned model against labelled sequences",
                                   .usage = "TABLE|FASTA|BED... -m MODEL [-o FOLDER] [options]",
                                   .details = DETAILS,
                                   .options = OPTIONS,
                                   .values_size = sizeof(evaluate_values),
                                   .min_args = 1,
                                   .max_args = -1,
                                   .run = run_evaluate};
