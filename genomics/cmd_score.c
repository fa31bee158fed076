/* dna-mamba score: how probable a model finds sequences. This file: options, order of the work, what is printed. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "genomics/input_options.h"
#include "core/result.h"
#include "genomics/run_options.h"
#include "genomics/score.h"
#include "genomics/score_page.h"

typedef struct score_values {
    dna_input_values input;
    char *model, *output, *per_base, *scratch, *report;
    int64_t mask_stride;
    int scheme, softmax, strand, precision;
} score_values;

enum { STRAND_FORWARD, STRAND_BOTH };

#define V score_values
static const mb_option OPTIONS[] = {
    {.key = "model",
     .letter = 'm',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, model),
     .meta = "MODEL",
     .help = "Folder with config.json and weights, or a name looked up in the local Hugging Face cache."},
    {.key = "output",
     .letter = 'o',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, output),
     .def = "-",
     .meta = "FILE",
     .help = "TSV, a line per sequence; - is standard output. FILE.run.json says how it was made."},
    {.key = "per_base",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, per_base),
     .role = MB_ROLE_OUTPUT,
     .meta = "FILE",
     .help = "Also write each base's log-probability, in nats: contig, start, end, value, as bedGraph has them."},
    {.key = "scheme",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, scheme),
     .def = "auto",
     .choices = SCORE_SCHEME_CHOICES,
     .help = "causal: each base given those before it. masked: pseudo-log-likelihood, each base masked and given the "
             "others. auto: causal for left-to-right models, masked for bidirectional ones. A left-to-right model that "
             "was trained on masks wants masked."},
    {.key = "mask_stride",
     .type = MB_OPT_INT,
     .offset = offsetof(V, mask_stride),
     .def = "8",
     .max = 1e9,
     .meta = "K",
     .help = "masked: K passes over a sequence; pass j masks positions j, j+K, j+2K, ... 0: one position at a time, "
             "which is the exact pseudo-log-likelihood and takes as many passes as the sequence has bases."},
    {.key = "softmax",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, softmax),
     .def = "acgt",
     .choices = SCORE_SOFTMAX_CHOICES,
     .help = "acgt: probabilities over the four bases, renormalised. all: over all tokens of the model."},
    {.key = "strand",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, strand),
     .def = "forward",
     .choices = "forward|both",
     .help =
         "both: average the log-likelihoods of the sequence and of its reverse complement. RC-equivariant models see "
         "both strands in one."},
    DNA_PRECISION_OPTION(V),
    DNA_SCRATCH_OPTION(V, "a sequence does"),
    MB_REPORT_OPTION(V),
    DNA_INPUT_OPTIONS(V, input),
    {0}};
#undef V

static const char DETAILS[] =
    "Prints, for each sequence, the log-likelihood that a model with a language-model head gives it: name, offset, "
    "length, contig, start, end, strand, n_count, scored (bases), loglik (natural logarithm, sum), bits_per_base, "
    "order0_bits. order0_bits is the entropy of the sequence's own A, C, G, T frequencies: a model that has learned "
    "nothing but the composition comes no lower. N and ambiguity codes are context but are not scored; a causal "
    "model does not score the first base. Totals over all sequences go to standard error and to FILE.run.json.\n"
    "\n"
    "  dna-mamba score genomics/data/phix174.fa -m genomics/models/multispecies\n"
    "  dna-mamba score genomics/data/phix174.fa -m genomics/models/multispecies --window 50 --mask-stride 0 -o build/windows.tsv\n"
    "  dna-mamba score genomics/data/lambda.fa.gz -m genomics/models/multispecies --per-base build/lambda.bedgraph -o build/lambda.tsv";

typedef struct totals {
    int64_t sequences, scored, base[4];
    double loglik; /* of the scored bases of all views */
    int64_t terms; /* scored, over all views */
} totals;

typedef struct job {
    mb_run *run;
    const score_values *v;
    mb_model *model;
    dna_alphabet alphabet;
    dna_items_options items;
    score_options o;
    mb_out *out, *per_base;
    totals all;
    score_page page;
} job;

static double entropy_bits(const int64_t count[4]) {
    const double n = (double)(count[0] + count[1] + count[2] + count[3]);
    double bits = 0;
    for (int i = 0; i < 4; i++)
        if (count[i])
            bits -= (double)count[i] / n * log2((double)count[i] / n);
    return n > 0 ? bits : NAN;
}

static double bits_per_base(double loglik, int64_t terms) {
    return terms ? -loglik / ((double)terms * log(2)) : NAN;
}

static int print_item(job *j, const dna_item *item, const float *logp, mb_err *e) {
    const int views = 1 + j->o.both;
    totals t = {.sequences = 1};
    for (int64_t i = 0; i < views * item->length; i++)
        if (!isnan(logp[i])) {
            t.loglik += logp[i];
            t.terms++;
            t.scored += i < item->length;
        }
    for (int64_t i = 0; i < item->length; i++)
        for (int b = 0; b < 4; b++)
            t.base[b] += item->token[i] == j->alphabet.base[b];
    j->all.sequences++;
    j->all.scored += t.scored;
    j->all.terms += t.terms;
    j->all.loglik += t.loglik;
    for (int b = 0; b < 4; b++)
        j->all.base[b] += t.base[b];
    if (j->v->report) {
        int rc = score_page_add(&j->page, bits_per_base(t.loglik, t.terms), entropy_bits(t.base), e);
        if (rc)
            return rc;
    }
    return mb_out_printf(j->out, e,
                         "%s\t%" PRId64 "\t%" PRId64 "\t%s\t%" PRId64 "\t%" PRId64 "\t%c\t%" PRId64 "\t%" PRId64
                         "\t%.6f\t%.6f\t%.6f\n",
                         item->name, item->offset, item->length, *item->contig ? item->contig : ".", item->start,
                         item->end, item->strand, item->n_count, t.scored, t.loglik / views,
                         bits_per_base(t.loglik, t.terms), entropy_bits(t.base));
}

/* bedGraph wants ascending places: a reverse-strand sequence is printed from its end. */
static int print_bases(job *j, const dna_item *item, const float *logp, mb_err *e) {
    const int views = 1 + j->o.both, backwards = item->linear && item->strand == '-';
    int rc = MB_OK;
    for (int64_t k = 0; !rc && k < item->length; k++) {
        const int64_t i = backwards ? item->length - 1 - k : k;
        double sum = logp[i];
        int n = !isnan(logp[i]);
        if (views == 2 && !isnan(logp[item->length + i])) {
            sum = (n ? sum : 0) + logp[item->length + i];
            n++;
        }
        int64_t start = item->offset + i, end = start + 1;
        if (item->linear)
            dna_item_place(item, i, 1, &start, &end);
        if (n)
            rc = mb_out_printf(j->per_base, e, "%s\t%" PRId64 "\t%" PRId64 "\t%.6f\n",
                               item->linear ? item->contig : item->name, start, end, sum / n);
    }
    return rc;
}

static int score_one_batch(job *j, const dna_batch *b, mb_err *e) {
    const int64_t views = 1 + j->o.both;
    float *all = mb_malloc((size_t)(b->tokens * views) * sizeof *all), **logp = mb_calloc((size_t)b->n, sizeof *logp);
    int rc = all && logp ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " log-probabilities", b->tokens);
    for (int64_t i = 0, at = 0; !rc && i < b->n; at += views * b->item[i++].length)
        logp[i] = all + at;
    if (!rc)
        rc = score_batch(&j->o, b, logp, e);
    for (int i = 0; !rc && i < b->n; i++) {
        rc = print_item(j, &b->item[i], logp[i], e);
        if (!rc && j->per_base)
            rc = print_bases(j, &b->item[i], logp[i], e);
    }
    mb_free(all);
    mb_free(logp);
    return rc;
}

/* Reads all input: errors come before the work, and the progress line knows its end. */
static int scan(const job *j, double *work, mb_err *e) {
    dna_items *items = NULL;
    dna_batch b = {0};
    int rc = dna_items_open(&items, &j->items, &j->alphabet, e), more = 0;
    while (!rc && (more = dna_items_next(items, &b, e)) > 0)
        for (int i = 0; i < b.n; i++)
            *work += score_passes(&j->o, b.item[i].length) * (double)b.item[i].length;
    dna_batch_fini(&b);
    dna_items_close(items);
    return rc ? rc : more;
}

static int run_batches(job *j, mb_err *e) {
    dna_items *items = NULL;
    dna_batch b = {0};
    int more = 0;
    int rc = mb_out_printf(
        j->out, e,
        "name\toffset\tlength\tcontig\tstart\tend\tstrand\tn_count\tscored\tloglik\tbits_per_base\torder0_bits\n");
    if (!rc)
        rc = dna_items_open(&items, &j->items, &j->alphabet, e);
    while (!rc && (more = dna_items_next(items, &b, e)) > 0)
        rc = score_one_batch(j, &b, e);
    if (!rc && more < 0)
        rc = more;
    if (!rc && j->all.sequences == 0 && j->items.shards <= 1)
        rc = mb_fail(e, MB_FORMAT, "the input gives no sequence (reads passed over, empty records or dropped windows)");
    if (!rc)
        dna_items_warn(items);
    dna_batch_fini(&b);
    dna_items_close(items);
    return rc;
}

static int choose_scheme(job *j, mb_err *e) {
    const int next_token = mb_model_is_causal(j->model) && mb_model_strands(j->model) == 1;
    if (!mb_model_config(j->model)->has_head)
        return mb_fail(e, MB_NOTSUP, "%s: this model has no language-model head, so it gives no probabilities",
                       j->v->model);
    j->o.scheme = j->v->scheme != SCORE_AUTO ? j->v->scheme : next_token ? SCORE_CAUSAL : SCORE_MASKED;
    if (j->o.scheme == SCORE_CAUSAL && !next_token)
        return mb_fail(e, MB_USAGE, "--scheme causal: this model sees both sides of each base; use masked");
    j->o.both = j->v->strand == STRAND_BOTH && mb_model_strands(j->model) == 1;
    return MB_OK;
}

static int setup(job *j, mb_run *run, mb_err *e) {
    dna_policies policies;
    *j = (job){.run = run, .v = run->values};
    if (!j->v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER or -m org/name");
    int rc = dna_input_resolve(&j->v->input, run->args, run->nargs, &j->items, &policies, e);
    if (rc)
        return rc;
    const mb_model_options options = {.device = run->globals.device, .precision = (mbk_precision)j->v->precision};
    if (j->v->per_base && strcmp(j->v->per_base, "-") != 0 && strcmp(j->v->per_base, j->v->output) == 0)
        return mb_fail(e, MB_USAGE, "--per-base %s: is the output too; give it another name", j->v->per_base);
    if ((rc = mb_model_open(&j->model, j->v->model, &options, e)))
        return rc;
    if (dna_alphabet_init(&j->alphabet, mb_model_config(j->model), &policies, e))
        return mb_err_context(e, "%s", j->v->model);
    j->o = (score_options){.model = j->model,
                           .alphabet = &j->alphabet,
                           .forward = {.threads = (int)run->globals.threads,
                                       .memory = run->globals.memory,
                                       .scratch = j->v->scratch,
                                       .stop = mb_cli_stop()},
                           .softmax = j->v->softmax,
                           .mask_stride = j->v->mask_stride};
    rc = choose_scheme(j, e);
    return rc ? rc : mb_forward_check_memory(j->model, &j->o.forward, e);
}

/* All but the writing: inputs are digested before the results appear. */
static int fill_provenance(const job *j, mb_provenance *p, mb_err *e) {
    int rc = mb_provenance_file(p, "model", mb_model_weights_path(j->model), e);
    if (!rc)
        rc = dna_note_inputs(p, &j->items, e);
    const double number[] = {(double)j->all.sequences, (double)j->all.scored, j->all.loglik / (1 + j->o.both),
                             bits_per_base(j->all.loglik, j->all.terms), entropy_bits(j->all.base)};
    static const char *const NAME[] = {"sequences", "scored", "loglik", "bits_per_base", "order0_bits"};
    for (size_t i = 0; !rc && i < sizeof number / sizeof *number; i++)
        rc = mb_provenance_number(p, NAME[i], number[i]);
    return rc;
}

static int make_outputs(job *j, double work, mb_err *e) {
    int rc = dna_check_output(j->v->output, &j->items, e);
    if (!rc && j->v->per_base)
        rc = dna_check_output(j->v->per_base, &j->items, e);
    if (!rc && j->v->report)
        rc = dna_check_output(j->v->report, &j->items, e);
    if (!rc)
        rc = mb_out_create(&j->out, j->v->output, e);
    if (!rc && j->v->per_base)
        rc = mb_out_create(&j->per_base, j->v->per_base, e);
    if (!rc) {
        j->o.forward.progress = mb_progress_start("score", "bp", work);
        rc = run_batches(j, e);
        mb_progress_finish(j->o.forward.progress);
    }
    return rc;
}

static int write_page(const job *j, mb_provenance *p, mb_err *e) {
    const score_summary s = {.model = j->v->model,
                             .scheme = j->o.scheme == SCORE_CAUSAL ? "causal" : "masked",
                             .sequences = j->all.sequences,
                             .scored = j->all.scored,
                             .bits = bits_per_base(j->all.loglik, j->all.terms),
                             .order0 = entropy_bits(j->all.base)};
    return score_page_write(&j->page, &s, p, j->v->report, e);
}

static int commit(job *j, int rc, mb_provenance *p, mb_err *e) {
    mb_out *ready[] = {j->per_base, j->out};
    if (!rc && (j->v->report || !mb_path_is_direct(j->v->output)))
        rc = fill_provenance(j, p, e);
    if (!rc && j->v->report)
        rc = write_page(j, p, e);
    return mb_result_commit(j->v->output, ready, 2, p, rc, e);
}

static int compute(job *j, double work, mb_err *e) {
    mb_provenance *p = NULL;
    int rc = mb_provenance_start(&p, j->run, e);
    if (!rc)
        rc = make_outputs(j, work, e);
    rc = commit(j, rc, p, e);
    mb_provenance_free(p);
    score_page_fini(&j->page);
    if (!rc)
        mb_info("%" PRId64 " sequences, %" PRId64 " bases scored: %.4f bits per base (order 0: %.4f)", j->all.sequences,
                j->all.scored, bits_per_base(j->all.loglik, j->all.terms), entropy_bits(j->all.base));
    return rc;
}

static int run_score(mb_run *run, mb_err *e) {
    job j;
    double work = 0;
    int rc = setup(&j, run, e);
    const int can_scan = dna_reader_can_rewind(run->args, run->nargs);
    if (!rc && run->globals.dry_run && !can_scan)
        rc = mb_fail(e, MB_USAGE, "--dry-run reads the input first, so it must be a file");
    if (!rc && can_scan)
        rc = scan(&j, &work, e);
    if (!rc && run->globals.dry_run)
        printf("scheme       %s\nwork         %.4g bases through the model\n",
               j.o.scheme == SCORE_CAUSAL ? "causal" : "masked", work);
    else if (!rc)
        rc = compute(&j, work, e);
    mb_model_destroy(j.model);
    return rc;
}

const mb_verb dna_score_verb = {.name = "score",
                                .summary = "log-likelihood of sequences and bits per base",
                                .usage = "INPUT... -m MODEL [-o FILE] [options]",
                                .details = DETAILS,
                                .options = OPTIONS,
                                .values_size = sizeof(score_values),
                                .min_args = 1,
                                .max_args = -1,
                                .run = run_score};
