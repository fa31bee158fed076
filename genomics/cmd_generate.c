/* dna-mamba generate: new sequences from a causal model. This file: options, prompts, who draws what, FASTA. */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "genomics/generate.h"
#include "genomics/input_options.h"
#include "core/result.h"
#include "genomics/run_options.h"

typedef struct generate_values {
    char *model, *output, *prompt;
    int64_t length, count, top_k;
    double temperature, top_p;
    int with_prompt, precision, alphabet, n_as;
} generate_values;

#define V generate_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    OPTION(model, STRING, .letter = 'm', .meta = "MODEL",
           .help = "Folder with config.json and weights of a causal model, or a name looked up in the local Hugging "
                   "Face cache."),
    OPTION(output, STRING, .letter = 'o', .def = "-", .meta = "FILE",
           .help = "FASTA, 60 bases a line; - is standard output. FILE.run.json says how it was made."),
    OPTION(length, INT, .def = "1000", .min = 1, .max = 1e15, .meta = "N",
           .help = "Bases to draw for each sequence, those of the prompt not counted."),
    OPTION(count, INT, .def = "1", .min = 1, .max = 1e12, .meta = "N",
           .help = "Sequences to draw; with --prompt, of each prompt."),
    OPTION(prompt, STRING, .meta = "SEQ|FASTA", .role = MB_ROLE_NAMED,
           .help = "Begin after these bases: letters, or a FASTA file each of whose records is a prompt. Unset: begin "
                   "with nothing; the first base is then any of the four with equal probability."),
    OPTION(with_prompt, BOOL, .def = "true", .help = "Write the prompt before the bases drawn after it."),
    OPTION(temperature, FLOAT, .def = "1", .max = 1000, .meta = "T",
           .help = "Divide the logits by T: below 1 the probable bases become more so, above 1 less. 0: always the "
                   "most probable base."),
    OPTION(top_k, INT, .def = "0", .max = 4, .meta = "K",
           .help = "Draw from the K most probable bases only. 0: from all four."),
    OPTION(top_p, FLOAT, .def = "1", .max = 1, .meta = "P",
           .help = "Draw from the most probable bases only, as many as it takes to reach probability P (above 0)."),
    DNA_PRECISION_OPTION(V),
    OPTION(alphabet, CHOICE, .def = "auto", .choices = DNA_ALPHABET_CHOICES,
           .help = "How the model numbers its letters. auto: by its vocabulary."),
    OPTION(n_as, CHOICE, .def = "auto", .choices = DNA_N_CHOICES,
           .help = "Token that stands for an N of the prompt, as in embed."),
    {0}};
#undef OPTION
#undef V

static const char DETAILS[] =
    "Draws DNA sequences from a causal (left-to-right) model, one base after the other, each from the probabilities "
    "that the model gives A, C, G and T after all bases before it. Memory does not grow with --length. Bidirectional "
    "models are refused: they have no next base.\n"
    "\n"
    "Records are named gen_seedS_N: S is --seed, N counts from 1 over all prompts; the rest of the line has the "
    "settings: length, temperature, top_k, top_p, prompt and model. Sequence N depends on the seed, N, the prompt and "
    "the settings alone: not on --count, --threads or the sequences before it. The mean of the negative log-likelihood "
    "(at temperature 1) of all bases drawn is told at the end, in bits.\n"
    "\n"
    "  dna-mamba train genomics/data/lambda.fa.gz -o build/causal -m mamba-dna-tiny --objective causal --block 2k "
    "--valid 0.2 --window 512 --steps 20 --batch-tokens 4k\n"
    "  dna-mamba generate -m build/causal --length 300 --seed 7\n"
    "  dna-mamba generate -m build/causal --prompt GGGCGGCGACCTCGCGGG --length 100 --count 5 --temperature 0.8 -o "
    "build/new.fa";

typedef struct job {
    mb_run *run;
    const generate_values *v;
    mb_model *model;
    dna_alphabet alphabet;
    generate_options o;
    mb_session **session; /* (workers): one with all threads, or one thread each */
    int workers;
    mb_out *out;
    int column;        /* of the FASTA line being written */
    int64_t sequences; /* written */
    double loglik;
    int64_t terms;
} job;

enum { LINE = 60, TEAM_BYTES = 8 << 20 };

/* ---- FASTA ----------------------------------------------------------------------------------------------------------
 */

static int put_letters(void *user, const char *letter, int n, mb_err *e) {
    job *j = user;
    int rc = MB_OK;
    for (int i = 0, m; rc == MB_OK && i < n; i += m) {
        m = n - i < LINE - j->column ? n - i : LINE - j->column;
        rc = mb_out_write(j->out, letter + i, (size_t)m, e);
        j->column += m;
        if (rc == MB_OK && j->column == LINE) {
            rc = mb_out_write(j->out, "\n", 1, e);
            j->column = 0;
        }
    }
    return rc;
}

static int end_record(job *j, mb_err *e) {
    const int open = j->column > 0;
    j->column = 0;
    j->sequences++;
    return open ? mb_out_write(j->out, "\n", 1, e) : MB_OK;
}

/* What a record begins with. prompt: NULL without one. */
static int begin_record(job *j, const dna_item *prompt, mb_err *e) {
    const generate_values *v = j->v;
    int rc = mb_out_printf(j->out, e,
                           ">gen_seed%" PRId64 "_%" PRId64 " length=%" PRId64 " temperature=%g top_k=%" PRId64
                           " top_p=%g prompt=%s:%" PRId64 " model=%s\n",
                           j->run->globals.seed, j->sequences + 1, v->length, v->temperature, v->top_k, v->top_p,
                           prompt ? prompt->name : "none", prompt ? prompt->length : 0, v->model);
    for (int64_t i = 0; rc == MB_OK && prompt && v->with_prompt && i < prompt->length; i++) {
        char letter = 'N';
        for (int b = 0; b < 4; b++)
            if (prompt->token[i] == j->alphabet.base[b])
                letter = "ACGT"[b];
        rc = put_letters(j, &letter, 1, e);
    }
    return rc;
}

/* ---- drawing --------------------------------------------------------------------------------------------------------
 */

static void count_drawn(job *j, const generate_start *start, double loglik) {
    j->loglik += loglik;
    j->terms += j->v->length - (start->state == NULL);
}

static int draw_in_turn(job *j, const generate_start *start, const dna_item *prompt, mb_err *e) {
    const generate_sink sink = {put_letters, j};
    int rc = MB_OK;
    for (int64_t c = 0; rc == MB_OK && c < j->v->count; c++) {
        double loglik = 0;
        rc = begin_record(j, prompt, e);
        if (rc == MB_OK)
            rc = generate_sequence(j->session[0], &j->o, start, (uint64_t)j->sequences, &sink, &loglik, e);
        if (rc == MB_OK)
            rc = end_record(j, e);
        count_drawn(j, start, loglik);
    }
    return rc;
}

typedef struct drawn { /* one sequence held until its turn to be written */
    char *letter;      /* (length) */
    int64_t n;
    double loglik;
    int rc;
    mb_err e;
} drawn;

static int keep_letters(void *user, const char *letter, int n, mb_err *e) {
    (void)e;
    drawn *d = user;
    memcpy(d->letter + d->n, letter, (size_t)n);
    d->n += n;
    return MB_OK;
}

static int write_drawn(job *j, const generate_start *start, const dna_item *prompt, const drawn *d, mb_err *e) {
    if (d->rc != MB_OK)
        return mb_fail(e, d->rc, "%s", d->e.text);
    int rc = begin_record(j, prompt, e);
    for (int64_t at = 0; rc == MB_OK && at < d->n; at += INT32_MAX)
        rc = put_letters(j, d->letter + at, d->n - at < INT32_MAX ? (int)(d->n - at) : INT32_MAX, e);
    if (rc == MB_OK)
        rc = end_record(j, e);
    count_drawn(j, start, d->loglik);
    return rc;
}

/* A sequence per worker at a time, written in order. */
static int draw_side_by_side(job *j, const generate_start *start, const dna_item *prompt, mb_err *e) {
    drawn *d = mb_calloc((size_t)j->workers, sizeof *d);
    int rc = d ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %d sequences", j->workers);
    for (int i = 0; rc == MB_OK && i < j->workers; i++)
        if (!(d[i].letter = mb_malloc((size_t)j->v->length)))
            rc = mb_fail(e, MB_NOMEM, "no memory for %d sequences", j->workers);
    for (int64_t c = 0; rc == MB_OK && c < j->v->count; c += j->workers) {
        const int n = j->v->count - c < j->workers ? (int)(j->v->count - c) : j->workers;
#pragma omp parallel for num_threads(n) schedule(static, 1)
        for (int i = 0; i < n; i++) {
            const generate_sink sink = {keep_letters, &d[i]};
            d[i].n = 0;
            d[i].rc = generate_sequence(j->session[i], &j->o, start, (uint64_t)(j->sequences + i), &sink, &d[i].loglik,
                                        &d[i].e);
        }
        for (int i = 0; rc == MB_OK && i < n; i++)
            rc = write_drawn(j, start, prompt, &d[i], e);
    }
    for (int i = 0; d && i < j->workers; i++)
        mb_free(d[i].letter);
    mb_free(d);
    return rc;
}

static int draw_after(job *j, const dna_item *prompt, mb_err *e) {
    generate_start start = {0};
    int rc = prompt ? generate_prompt(&start, j->session[0], &j->o, prompt->token, prompt->length, e) : MB_OK;
    if (rc == MB_OK)
        rc = j->workers > 1 ? draw_side_by_side(j, &start, prompt, e) : draw_in_turn(j, &start, prompt, e);
    generate_start_fini(&start);
    return rc;
}

/* ---- prompts --------------------------------------------------------------------------------------------------------
 */

static int draw_after_letters(job *j, mb_err *e) {
    char name[] = "letters", words[96];
    dna_counts counts = {0};
    dna_item item = {.name = name, .length = (int64_t)strlen(j->v->prompt)};
    item.token = (uint8_t *)mb_strdup(j->v->prompt);
    if (!item.token)
        return mb_fail(e, MB_NOMEM, "no memory for the prompt");
    const int64_t bad = dna_tokenize(&j->alphabet, item.token, item.length, &counts);
    int rc = item.length > 0 ? MB_OK : mb_fail(e, MB_USAGE, "--prompt is empty");
    if (bad >= 0)
        rc = mb_fail(e, MB_USAGE, "--prompt %.100s: there is no such file, and as letters, number %" PRId64 " is %s",
                     j->v->prompt, bad + 1, dna_bad_letter_words((unsigned char)j->v->prompt[bad], words));
    if (rc == MB_OK)
        rc = draw_after(j, &item, e);
    mb_free(item.token);
    return rc;
}

static int draw_after_records(job *j, mb_err *e) {
    char *const input[] = {j->v->prompt};
    const dna_items_options o = {.inputs = input, .n_inputs = 1, .batch_tokens = 1, .batch_items = 1};
    dna_items *items = NULL;
    dna_batch b = {0};
    int more = 0, rc = dna_items_open(&items, &o, &j->alphabet, e);
    while (rc == MB_OK && (more = dna_items_next(items, &b, e)) > 0)
        rc = draw_after(j, b.item, e);
    if (rc == MB_OK && more == 0)
        dna_items_warn(items);
    dna_batch_fini(&b);
    dna_items_close(items);
    return rc == MB_OK ? more : rc;
}

static int prompt_is_file(const job *j) {
    return j->v->prompt &&
           (strcmp(j->v->prompt, "-") == 0 || strchr(j->v->prompt, '/') || mb_file_exists(j->v->prompt));
}

/* ---- the order of the work ------------------------------------------------------------------------------------------
 */

/* Whole sequences side by side need no meetings of a team at each base, but are held until they are written. Weights
 * that fit a processor's own cache are read sooner by one thread than a team can meet. */
static int open_sessions(job *j, mb_err *e) {
    const int64_t threads = j->run->globals.threads;
    const int team = mb_model_bytes(j->model) < TEAM_BYTES ? 1 : (int)threads;
    int64_t wanted = j->v->count < threads ? j->v->count : threads;
    if (j->v->length > j->run->globals.memory / 4 / wanted)
        wanted = 1;
    j->session = mb_calloc((size_t)wanted, sizeof(mb_session *));
    int rc = j->session ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for sessions");
    for (; rc == MB_OK && j->workers < wanted; j->workers++)
        rc = mb_session_create(&j->session[j->workers], j->model, wanted > 1 ? 1 : team, e);
    return rc;
}

static int set_up(job *j, mb_run *run, mb_err *e) {
    *j = (job){.run = run, .v = run->values};
    const generate_values *v = j->v;
    const dna_policies policies = {.alphabet = v->alphabet, .n_as = v->n_as, .gaps = DNA_LETTER_ERROR};
    const mb_model_options options = {.device = run->globals.device, .precision = (mbk_precision)v->precision};
    if (!v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER or -m org/name");
    if (v->top_p <= 0)
        return mb_fail(e, MB_USAGE, "--top-p 0 leaves no base to draw; --temperature 0 takes the most probable one");
    int rc = mb_model_open(&j->model, v->model, &options, e);
    if (rc == MB_OK)
        rc = generate_check(j->model, v->model, e);
    if (rc != MB_OK)
        return rc;
    if (dna_alphabet_init(&j->alphabet, mb_model_config(j->model), &policies, e))
        return mb_err_context(e, "%s", v->model);
    j->o = (generate_options){.model = j->model,
                              .alphabet = &j->alphabet,
                              .sampling = {v->temperature, (int)v->top_k, v->top_p},
                              .seed = (uint64_t)run->globals.seed,
                              .length = v->length,
                              .stop = mb_cli_stop()};
    return open_sessions(j, e);
}

static int fill_provenance(const job *j, mb_provenance *p, mb_err *e) {
    int rc = mb_provenance_file(p, "model", mb_model_weights_path(j->model), e);
    if (rc == MB_OK && prompt_is_file(j) && strcmp(j->v->prompt, "-") != 0)
        rc = mb_provenance_file(p, "input", j->v->prompt, e);
    if (rc == MB_OK && (mb_provenance_number(p, "sequences", (double)j->sequences) != MB_OK ||
                        mb_provenance_number(p, "loglik", j->loglik) != MB_OK))
        rc = mb_fail(e, MB_NOMEM, "no memory for the record of this run");
    return rc;
}

static int compute(job *j, mb_err *e) {
    char *const input[] = {j->v->prompt};
    const dna_items_options files = {.inputs = input, .n_inputs = prompt_is_file(j)};
    mb_provenance *p = NULL;
    int rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = dna_check_output(j->v->output, &files, e);
    if (rc == MB_OK)
        rc = mb_out_create(&j->out, j->v->output, e);
    if (rc == MB_OK) {
        const double total = prompt_is_file(j) ? 0 : (double)j->v->length * (double)j->v->count;
        j->o.progress = mb_progress_start("generate", "bp", total);
        rc = !j->v->prompt       ? draw_after(j, NULL, e)
             : prompt_is_file(j) ? draw_after_records(j, e)
                                 : draw_after_letters(j, e);
        mb_progress_finish(j->o.progress);
    }
    if (rc == MB_OK)
        rc = fill_provenance(j, p, e);
    rc = mb_result_commit(j->v->output, &j->out, 1, p, rc, e);
    mb_provenance_free(p);
    if (rc == MB_OK)
        mb_info("%" PRId64 " sequences of %" PRId64 " bases: %.4f bits per base under the model", j->sequences,
                j->v->length, j->terms ? -j->loglik / ((double)j->terms * log(2)) : NAN);
    return rc;
}

static int run_generate(mb_run *run, mb_err *e) {
    job j;
    int rc = set_up(&j, run, e);
    if (rc == MB_OK && run->globals.dry_run)
        printf("draws        %" PRId64 " sequences of %" PRId64 " bases%s\nside by side %d\nstate        %zu bytes a "
               "sequence, whatever its length\n",
               j.v->count, j.v->length, j.v->prompt ? " after each prompt" : "", j.workers,
               mb_session_state_floats(j.session[0]) * sizeof(float));
    else if (rc == MB_OK)
        rc = compute(&j, e);
    for (int i = 0; i < j.workers; i++)
        mb_session_destroy(j.session[i]);
    mb_free(j.session);
    mb_model_destroy(j.model);
    return rc;
}

const mb_verb dna_generate_verb = {.name = "generate",
                                   .summary = "new sequences drawn from a causal model",
                                   .usage = "-m MODEL [-o FILE] [options]",
                                   .details = DETAILS,
                                   .options = OPTIONS,
                                   .values_size = sizeof(generate_values),
                                   .min_args = 0,
                                   .max_args = 0,
                                   .run = run_generate};
