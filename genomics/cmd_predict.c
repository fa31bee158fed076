/* dna-mamba predict: what a fine-tuned model says of sequences. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "genomics/head.h"
#include "genomics/input_options.h"
#include "genomics/metrics.h"
#include "genomics/run_options.h"

typedef struct predict_values {
    dna_input_values input;
    char *model, *output, *scratch;
    double threshold;
    int precision;
} predict_values;

#define V predict_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    OPTION(model, STRING, .letter = 'm', .meta = "MODEL", .help = "Folder that dna-mamba finetune made."),
    OPTION(output, STRING, .letter = 'o', .def = "-", .meta = "FILE",
           .help = "TSV, a line per sequence; - is standard output. FILE.run.json says how it was made."),
    OPTION(threshold, FLOAT, .def = "0.5", .max = 1, .meta = "P",
           .help = "Several labels: those of at least this probability are named."),
    DNA_SCRATCH_OPTION(V, "a sequence does"),
    OPTION(precision, CHOICE, .def = "fp32", .choices = "fp32|bf16", .help = "Of inputs in matrix products."),
    DNA_INPUT_OPTIONS(V, input),
    {0}};
#undef OPTION
#undef V

enum { TABLE_ROWS = 256 };

static const char DETAILS[] =
    "Prints what a model tuned by dna-mamba finetune says of each sequence: FASTA, FASTQ, BAM, regions, windows, of any "
    "length, or tables with a column seq (FILE.csv, FILE.tsv). Columns: name, offset, length, contig, start, end, "
    "strand; then for classes the answer and the probability of each, for several labels those above --threshold "
    "(joined by ;) and the probability of each, for numbers the numbers, for bases one character a base.\n"
    "\n"
    "  dna-mamba finetune genomics/data/phages.tsv -m caduceus-ps-tiny -o build/phages --epochs 3\n"
    "  dna-mamba predict genomics/data/phix174.fa -m build/phages --window 200 -o build/phix.tsv";

typedef struct job {
    mb_run *run;
    const predict_values *v;
    mb_model *m;
    dna_head head;
    dna_alphabet alphabet;
    dna_items_options items;
    mb_forward_options forward;
    mb_out *out;
    int64_t sequences;
} job;

static int put_titles(const job *j, mb_err *e) {
    const dna_head *h = &j->head;
    int rc = mb_out_printf(j->out, e, "name\toffset\tlength\tcontig\tstart\tend\tstrand%s",
                           h->task == DNA_TASK_REGRESSION ? "" : "\tanswer");
    for (int c = 0; rc == MB_OK && h->task != DNA_TASK_BASES && c < h->pool.C; c++)
        rc = mb_out_printf(j->out, e, "\t%s%s", h->task == DNA_TASK_REGRESSION ? "" : "p_", h->label[c]);
    return rc == MB_OK ? mb_out_printf(j->out, e, "\n") : rc;
}

static int put_answer(const job *j, const dna_item *x, const double *a, mb_err *e) {
    const dna_head *h = &j->head;
    const int C = h->pool.C;
    int rc = mb_out_printf(j->out, e, "%s\t%" PRId64 "\t%" PRId64 "\t%s\t%" PRId64 "\t%" PRId64 "\t%c", x->name,
                           x->offset, x->length, *x->contig ? x->contig : ".", x->start, x->end, x->strand);
    if (rc == MB_OK && h->task != DNA_TASK_REGRESSION)
        rc = mb_out_printf(j->out, e, "\t%s", h->task == DNA_TASK_CLASS ? h->label[dna_best_of(a, C)] : "");
    for (int64_t i = 0; rc == MB_OK && h->task == DNA_TASK_BASES && i < x->length; i++)
        rc = mb_out_printf(j->out, e, "%c", *h->label[dna_best_of(a + i * C, C)]);
    for (int c = 0, n = 0; rc == MB_OK && h->task == DNA_TASK_MULTI && c < C; c++)
        if (a[c] >= j->v->threshold)
            rc = mb_out_printf(j->out, e, "%s%s", n++ ? ";" : "", h->label[c]);
    for (int c = 0; rc == MB_OK && h->task != DNA_TASK_BASES && c < C; c++)
        rc = mb_out_printf(j->out, e, "\t%.6g", a[c]);
    return rc == MB_OK ? mb_out_printf(j->out, e, "\n") : rc;
}

static int run_batch(job *j, const dna_batch *b, mb_err *e) {
    const int C = j->head.pool.C, bases = j->head.task == DNA_TASK_BASES;
    double *answer = mb_calloc((size_t)(bases ? b->tokens : b->n) * (size_t)C + 1, sizeof *answer), *next = answer;
    dna_piece *piece = mb_calloc((size_t)b->n, sizeof *piece);
    int rc = answer && piece ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %d answers", b->n);
    for (int i = 0; rc == MB_OK && i < b->n; i++)
        piece[i] = (dna_piece){b->item[i].token, b->item[i].length};
    if (rc == MB_OK)
        rc = dna_head_predict(&j->head, j->m, &j->alphabet, piece, b->n, &j->forward, answer, e);
    for (int i = 0; rc == MB_OK && i < b->n; i++) {
        rc = put_answer(j, &b->item[i], next, e);
        next += (bases ? b->item[i].length : 1) * C;
    }
    j->sequences += b->n;
    mb_free(answer);
    mb_free(piece);
    return rc;
}

static int run_batches(job *j, mb_err *e) {
    dna_items *items = NULL;
    dna_batch b = {0};
    int more = 0, rc = put_titles(j, e);
    if (rc == MB_OK)
        rc = dna_items_open(&items, &j->items, &j->alphabet, e);
    while (rc == MB_OK && (more = dna_items_next(items, &b, e)) > 0)
        rc = run_batch(j, &b, e);
    if (rc == MB_OK && more < 0)
        rc = more;
    if (rc == MB_OK && j->sequences == 0 && j->items.shards <= 1)
        rc = mb_fail(e, MB_FORMAT, "the input gives no sequence (reads passed over, empty records or dropped windows)");
    if (rc == MB_OK)
        dna_items_warn(items);
    dna_batch_fini(&b);
    dna_items_close(items);
    return rc;
}

/* Tables are told by their names; everything else by its content, by the reader. */
static int is_table(const char *path) {
    static const char *const ends[] = {".csv", ".tsv", ".csv.gz", ".tsv.gz"};
    const size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n > strlen(ends[i]) && strcmp(path + n - strlen(ends[i]), ends[i]) == 0)
            return 1;
    return 0;
}

/* Rows of tables as items that lie nowhere; in memory as a whole. */
static int run_tables(job *j, mb_err *e) {
    const dna_labelled_options o = {.task = j->head.task, .without_labels = 1};
    const dna_labelled_files files = {NULL, j->run->args, j->run->nargs};
    dna_labelled d = {0};
    char nowhere[] = "";
    int rc = dna_labelled_read(&d, &files, 1, &o, &j->alphabet, e);
    if (rc == MB_OK)
        rc = put_titles(j, e);
    for (int64_t from = 0; rc == MB_OK && from < d.n; from += TABLE_ROWS) {
        dna_item item[TABLE_ROWS];
        dna_batch b = {.item = item};
        for (; b.n < TABLE_ROWS && from + b.n < d.n; b.n++) {
            const dna_example *x = &d.at[from + b.n];
            item[b.n] = (dna_item){.name = (char *)(uintptr_t)x->name,
                                   .contig = nowhere,
                                   .start = -1,
                                   .end = -1,
                                   .strand = '.',
                                   .length = x->length,
                                   .token = (uint8_t *)(uintptr_t)x->token};
            b.tokens += x->length;
        }
        rc = run_batch(j, &b, e);
    }
    dna_labelled_fini(&d);
    return rc;
}

static int set_up(job *j, mb_err *e) {
    dna_policies policies;
    const mb_globals *g = &j->run->globals;
    const mb_model_options o = {.device = g->device, .precision = (mbk_precision)j->v->precision};
    if (!j->v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER, as dna-mamba finetune made it");
    int rc = dna_input_resolve(&j->v->input, j->run->args, j->run->nargs, &j->items, &policies, e);
    if (rc == MB_OK)
        rc = mb_model_open(&j->m, j->v->model, &o, e);
    if (rc == MB_OK)
        rc = dna_head_load(&j->head, j->m, e);
    if (rc == MB_OK)
        rc = dna_alphabet_init(&j->alphabet, mb_model_config(j->m), &policies, e);
    j->forward = (mb_forward_options){
        .threads = (int)g->threads, .memory = g->memory, .scratch = j->v->scratch, .stop = mb_cli_stop()};
    return rc;
}

static int write_provenance(const job *j, mb_provenance *p, mb_err *e) {
    char *path = mb_asprintf("%s.run.json", j->v->output);
    int rc = path ? mb_provenance_file(p, "model", mb_model_weights_path(j->m), e)
                  : mb_fail(e, MB_NOMEM, "no memory for a path");
    for (int i = 0; rc == MB_OK && i < j->items.n_inputs; i++)
        if (strcmp(j->items.inputs[i], "-") != 0)
            rc = mb_provenance_file(p, "input", j->items.inputs[i], e);
    if (rc == MB_OK)
        rc = mb_provenance_write(p, path, e);
    mb_free(path);
    return rc;
}

static int run_predict(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    mb_provenance *p = NULL;
    int rc = mb_provenance_start(&p, run, e);
    if (rc == MB_OK)
        rc = set_up(&j, e);
    if (rc == MB_OK && run->globals.dry_run) {
        printf("task         %s, %d labels\noutput       %s (dry run: nothing was written)\n",
               dna_task_name(j.head.task), j.head.pool.C, j.v->output);
    } else if (rc == MB_OK) {
        rc = dna_check_output(j.v->output, &j.items, e);
        if (rc == MB_OK)
            rc = mb_out_create(&j.out, j.v->output, e);
        if (rc == MB_OK)
            rc = is_table(run->args[0]) ? run_tables(&j, e) : run_batches(&j, e);
        if (rc == MB_OK && strcmp(j.v->output, "-") != 0)
            rc = write_provenance(&j, p, e);
        if (rc == MB_OK)
            rc = mb_out_commit(j.out, e);
        else
            mb_out_abort(j.out);
    }
    mb_provenance_free(p);
    dna_head_fini(&j.head);
    mb_model_destroy(j.m);
    return rc;
}

const mb_verb dna_predict_verb = {.name = "predict",
                                  .summary = "what a fine-tuned model says of sequences",
                                  .usage = "INPUT... -m MODEL [-o FILE] [options]",
                                  .details = DETAILS,
                                  .options = OPTIONS,
                                  .values_size = sizeof(predict_values),
                                  .min_args = 1,
                                  .max_args = -1,
                                  .run = run_predict};
