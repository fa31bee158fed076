/* dna-mamba card: how well a pre-trained model tells masked bases of sequence it has not seen, beside Markov models. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/curve.h"
#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "genomics/commands.h"
#include "genomics/heldout.h"

typedef struct card_values {
    char *model, *splits, *output, *curve;
    int64_t window, windows, every;
    int split, precision;
} card_values;

#define V card_values
static const mb_option OPTIONS[] = {
    {.key = "model",
     .letter = 'm',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, model),
     .meta = "MODEL",
     .help = "Folder of a masked model, as `dna-mamba train` leaves it. Required."},
    {.key = "splits",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, splits),
     .meta = "BED",
     .role = MB_ROLE_INPUT,
     .help = "Which stretches the model was trained on (column 4 train) and which not. Unset: MODEL/splits.bed."},
    {.key = "split",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, split),
     .def = "test",
     .choices = "train|valid|test",
     .help = "Stretches to measure on. The Markov models are always counted on train."},
    {.key = "window",
     .type = MB_OPT_INT,
     .offset = offsetof(V, window),
     .def = "1024",
     .min = 16,
     .max = 1e7,
     .meta = "N",
     .help = "Bases that the model sees at a time."},
    {.key = "windows",
     .type = MB_OPT_INT,
     .offset = offsetof(V, windows),
     .def = "200",
     .max = 1e9,
     .meta = "N",
     .help = "Windows of a file at most, spread evenly; 0: all."},
    {.key = "every",
     .type = MB_OPT_INT,
     .offset = offsetof(V, every),
     .def = "8",
     .min = 2,
     .max = 1e6,
     .meta = "N",
     .help = "One base in N is masked; its neighbours are seen, by the model and by the Markov models."},
    {.key = "precision",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, precision),
     .def = "fp32",
     .choices = "fp32|bf16",
     .help = "Precision of weights and inputs in matrix products."},
    {.key = "output",
     .letter = 'o',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, output),
     .def = "-",
     .meta = "FILE",
     .help = "The table, in Markdown; - is standard output."},
    {.key = "curve",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, curve),
     .role = MB_ROLE_OUTPUT,
     .meta = "FILE",
     .help = "Also draw the training curve from MODEL/metrics.jsonl, as .svg or .png."},
    {0}};
#undef V

static const char DETAILS[] =
    "Masks every 8th base of windows that were held out and asks the model which base it was. Prints, for each file, "
    "bits per base and accuracy of the model over A, C, G, T, and the same of Markov models that were counted, on both "
    "strands, on the file's own training stretches: order 0; order 5 and 6 from the left context; and order 5 and 6 from "
    "both sides (the chain's exact conditional, which sees as much of the neighbourhood as its order allows). Less is "
    "better for bits.\n"
    "\n"
    "  dna-mamba train genomics/data/lambda.fa.gz -o build/lambda --block 2k --valid 0.2 --window 512 --steps 20 --batch-tokens 4k\n"
    "  dna-mamba card genomics/data/lambda.fa.gz -m build/lambda --split valid --window 512";

typedef struct job {
    mb_run *run;
    const card_values *v;
    mb_model *model;
    dna_alphabet alphabet;
    dna_corpus corpus;
    dna_splits splits;
    mb_out *out;
} job;

static int read_inputs(job *j, mb_err *e) {
    const dna_policies policies = {0};
    const mb_model_options o = {.device = j->run->globals.device, .precision = (mbk_precision)j->v->precision};
    const dna_corpus_options corpus = {
        .inputs = j->run->args, .n_inputs = j->run->nargs, .reader = {.empty = DNA_EMPTY_SKIP}};
    dna_splits_options splits = {.bed = j->v->splits, .least = 1, .block = 1, .valid_optional = 1};
    char *bed = j->v->splits ? NULL : mb_path_join(j->v->model, "splits.bed");
    if (!splits.bed)
        splits.bed = bed;
    int rc = splits.bed ? mb_model_open(&j->model, j->v->model, &o, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = dna_alphabet_init(&j->alphabet, mb_model_config(j->model), &policies, e);
    if (rc == MB_OK && !mb_model_config(j->model)->has_head)
        rc = mb_fail(e, MB_NOTSUP, "%s has no language-model head", j->v->model);
    if (rc == MB_OK && mb_model_is_causal(j->model))
        mb_warn("%s runs from left to right and sees only what is left of a masked base", j->v->model);
    if (rc == MB_OK)
        rc = dna_corpus_load(&j->corpus, &corpus, &j->alphabet, e);
    if (rc == MB_OK)
        rc = dna_splits_make(&j->splits, &j->corpus, &splits, e);
    mb_free(bed);
    return rc;
}

static int print_head(job *j, mb_err *e) {
    return mb_out_printf(
        j->out, e,
        "Masked bases of the %s split (one in %lld, windows of %lld): bits per base / accuracy.\n\n"
        "| file | bases | model | order 0 | order 5, left | order 6, left | order 5, both sides | order "
        "6, both sides |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
        dna_split_names[j->v->split], (long long)j->v->every, (long long)j->v->window);
}

static int print_score(job *j, const dna_markov_score *s, mb_err *e) {
    return mb_out_printf(j->out, e, " %.4f / %.4f |", dna_heldout_bits(s), dna_heldout_accuracy(s));
}

static int print_file(job *j, int file, const dna_heldout *r, mb_err *e) {
    const char *name = strrchr(j->corpus.file[file].path, '/');
    name = name ? name + 1 : j->corpus.file[file].path;
    if (r->bases == 0)
        return mb_out_printf(j->out, e, "| %s | 0 | | | | | | |\n", name);
    const dna_markov_score *const row[] = {&r->model, &r->left[0], &r->left[3], &r->left[4], &r->both[3], &r->both[4]};
    int rc = mb_out_printf(j->out, e, "| %s | %lld |", name, (long long)r->bases);
    for (size_t i = 0; i < sizeof row / sizeof *row && rc == MB_OK; i++)
        rc = print_score(j, row[i], e);
    return rc == MB_OK ? mb_out_printf(j->out, e, "\n") : rc;
}

static int measure(job *j, mb_err *e) {
    dna_heldout_options o = {
        .window = j->v->window,
        .most = j->v->windows,
        .every = (int)j->v->every,
        .forward = {.threads = (int)j->run->globals.threads, .memory = j->run->globals.memory, .stop = mb_cli_stop()}};
    int rc = print_head(j, e);
    for (int i = 0; i < j->corpus.files && rc == MB_OK; i++) {
        dna_heldout r;
        rc = dna_heldout_file(&r, &j->corpus, i, &j->splits.part[DNA_SPLIT_TRAIN], &j->splits.part[j->v->split],
                              j->model, &j->alphabet, &o, e);
        if (rc == MB_OK)
            rc = print_file(j, i, &r, e);
    }
    return rc;
}

static int run_card(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    int rc = j.v->model ? MB_OK : mb_fail(e, MB_USAGE, "which model? -m FOLDER");
    if (rc == MB_OK)
        rc = read_inputs(&j, e);
    if (rc == MB_OK && run->globals.dry_run) {
        printf("model        %s\ncorpus       %lld bases in %d files\n%-12s %lld bases\n", j.v->model,
               (long long)j.corpus.n, j.corpus.files, dna_split_names[j.v->split],
               (long long)j.splits.part[j.v->split].bases);
    } else if (rc == MB_OK) {
        rc = mb_out_create(&j.out, j.v->output, e);
        if (rc == MB_OK)
            rc = measure(&j, e);
        if (rc == MB_OK && j.v->curve)
            rc = mb_curve_draw(j.v->model, j.v->curve, e);
        if (rc == MB_OK)
            rc = mb_out_commit(j.out, e);
        else
            mb_out_abort(j.out);
    }
    dna_splits_fini(&j.splits);
    dna_corpus_fini(&j.corpus);
    mb_model_destroy(j.model);
    return rc;
}

const mb_verb dna_card_verb = {.name = "card",
                               .summary = "held-out figures of a pre-trained model beside Markov models",
                               .usage = "FASTA... -m MODEL [--splits BED] [-o FILE] [options]",
                               .details = DETAILS,
                               .options = OPTIONS,
                               .values_size = sizeof(card_values),
                               .min_args = 1,
                               .max_args = -1,
                               .run = run_card};
