/* dna-mamba track: numbers along a genome, for a browser. This file: options, order of the work. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "genomics/estimate.h"
#include "core/result.h"
#include "genomics/run_options.h"
#include "genomics/score.h"
#include "genomics/track.h"
#include "genomics/track_out.h"
#include "genomics/value_page.h"

typedef struct track_values {
    dna_context_values input;
    char *model, *output, *label, *scratch, *report;
    int64_t mask_stride, flank, window, stride;
    int track, scheme, strand, precision;
} track_values;

enum { STRAND_FORWARD, STRAND_BOTH };

#define V track_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    OPTION(model, STRING, .letter = 'm', .meta = "MODEL",
           .help = "Folder with config.json and weights, or a name looked up in the local Hugging Face cache; for "
                   "--track head a folder that dna-mamba finetune made."),
    OPTION(output, STRING, .letter = 'o', .def = "-", .meta = "FILE",
           .help = "bigWig (FILE.bw, FILE.bigwig) or bedGraph (FILE.bedgraph, FILE.bdg; - is standard output). "
                   "FILE.run.json says how it was made."),
    OPTION(track, CHOICE, .def = "entropy", .choices = DNA_TRACK_CHOICES,
           .help = "entropy: of the model's distribution over A C G T at the base, in bits, 2 where it knows nothing. "
                   "llr: log p(base of the genome) - log p(likeliest other base), natural logarithm. prob: p(base of "
                   "the genome). head: what a fine-tuned model says of windows around the base."),
    OPTION(flank, INT, .def = "1000", .max = 1e9, .meta = "N",
           .help = "Bases of the contig on each side of a region that the model sees too."),
    OPTION(scheme, CHOICE, .def = "auto", .choices = SCORE_SCHEME_CHOICES,
           .help =
               "causal: each base given those before it. masked: each base masked and given the others. auto: causal "
               "for left-to-right models, masked for bidirectional ones."),
    OPTION(mask_stride, INT, .def = "8", .max = 1e9, .meta = "K",
           .help =
               "masked: K passes over a region; pass j masks positions j, j+K, j+2K, ... 0: one position at a time, "
               "in as many passes as the region has bases."),
    OPTION(strand, CHOICE, .def = "forward", .choices = "forward|both",
           .help = "both: the mean of the logits of both strands. RC-equivariant models see both strands in one."),
    OPTION(window, INT, .def = "0", .max = 1e9, .meta = "N",
           .help = "head: bases of a window, best as long as those that the model was fine-tuned on."),
    OPTION(stride, INT, .def = "0", .max = 1e9, .meta = "N",
           .help =
               "head: a value for every N bases, of the window in whose middle they lie. 0: an eighth of the window."),
    {.key = "class",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, label),
     .meta = "NAME",
     .help = "head: the label whose probability or number is the value. Unset: the only one, or the second of two."},
    DNA_PRECISION_OPTION(V),
    DNA_SCRATCH_OPTION(V, "a region does"),
    DNA_CONTEXT_OPTIONS(
        V, input,
        "Only these places: a BED file (0-based, half open), or one contig, contig:from or contig:from-to "
        "(1-based, inclusive, commas allowed). Regions that touch or overlap are run as one; strands are "
        "not looked at, a track is of the forward strand. Unset: all contigs, each in one piece."),
    MB_REPORT_OPTION(V),
    {0}};
#undef OPTION
#undef V

static const char DETAILS[] =
    "Writes a number for each base of a genome, or of regions of it, as IGV and the UCSC browser show them. GENOME is a "
    "FASTA file, plain or BGZF; a missing .fai index is built beside it. Whole chromosomes are run in one piece, without "
    "windows, in the memory allowed. N and its like get no value. Contigs are written in the order of their names, as "
    "sort has them. bigWig gets zoom levels when making them fits --memory.\n"
    "\n"
    "With an RC-equivariant model, or --strand both, the track of the reverse complement of a sequence is the track read "
    "backwards, bit by bit (head: where the blocks of --stride bases fall on the same places).\n"
    "\n"
    "  dna-mamba track genomics/data/phix174.fa -m genomics/models/multispecies -o build/phix.bw\n"
    "  dna-mamba track genomics/data/lambda.fa.gz -m genomics/models/multispecies --regions NC_001416.1:35,500-38,500 "
    "--track llr -o build/repressor.bedgraph\n"
    "  dna-mamba track genomics/data/lambda.fa.gz -m genomics/models/multispecies --regions genomics/data/lambda.bed --track prob "
    "--dry-run\n"
    "  dna-mamba finetune genomics/data/phages.tsv -m caduceus-ps-tiny -o build/phages --epochs 3\n"
    "  dna-mamba track genomics/data/phix174.fa -m build/phages --track head --window 53 --stride 20 --class lambda -o "
    "build/head.bw";

typedef struct job {
    mb_run *run;
    const track_values *v;
    mb_model *model;
    dna_alphabet alphabet;
    dna_source source;
    char **name; /* (n) contigs in ascending order */
    int64_t *length;
    dna_bigwig_contigs contigs;
    dna_head head;
    dna_track_head windows;
    dna_profile_options profile;
    dna_track_out *out;
    dna_track_sums sums;
    dna_value_sample sample; /* for the report */
    int64_t contig;          /* of the region at work */
    dna_counts letters;
} job;

/* ---- what is asked for ----------------------------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_contigs(job *j, mb_err *e) {
    const dna_contigs *c = &j->source.contigs;
    int64_t n = 0;
    while (c->name(c->user, n))
        n++;
    j->name = mb_calloc((size_t)n + 1, sizeof *j->name);
    j->length = mb_calloc((size_t)n + 1, sizeof *j->length);
    if (!j->name || !j->length)
        return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " contigs", n);
    for (int64_t i = 0; i < n; i++)
        j->name[i] = (char *)(uintptr_t)c->name(c->user, i);
    qsort(j->name, (size_t)n, sizeof *j->name, by_name);
    for (int64_t i = 0; i < n; i++)
        j->length[i] = c->length(c->user, j->name[i]);
    j->contigs = (dna_bigwig_contigs){.name = j->name, .length = j->length, .n = n};
    return MB_OK;
}

static int choose_head(job *j, mb_err *e) {
    const track_values *v = j->v;
    dna_track_head *h = &j->windows;
    int rc = dna_head_load(&j->head, j->model, e);
    if (rc == MB_OK)
        rc = dna_head_label(&j->head, v->label, &h->label, e);
    if (rc)
        return rc;
    if (v->window < 1)
        return mb_fail(e, MB_USAGE, "--track head needs --window: as many bases as the model was fine-tuned on");
    h->model = j->model;
    h->head = &j->head;
    h->alphabet = &j->alphabet;
    h->forward = j->profile.forward;
    h->window = v->window;
    h->stride = v->stride ? v->stride : v->window >= 8 ? v->window / 8 : 1;
    if (h->stride > h->window)
        return mb_fail(e, MB_USAGE, "--stride %" PRId64 " is more than --window %" PRId64, h->stride, h->window);
    return MB_OK;
}

static int choose_scheme(job *j, mb_err *e) {
    const int next_token = mb_model_is_causal(j->model) && mb_model_strands(j->model) == 1;
    if (!mb_model_config(j->model)->has_head)
        return mb_fail(e, MB_NOTSUP, "%s: this model has no language-model head, so it gives no probabilities%s",
                       j->v->model, mb_model_config(j->model)->n_labels > 0 ? "; --track head is for such models" : "");
    if (j->v->scheme == SCORE_CAUSAL && !next_token)
        return mb_fail(e, MB_USAGE, "--scheme causal: this model sees both sides of each base; use masked");
    j->profile.causal = j->v->scheme == SCORE_AUTO ? next_token : j->v->scheme == SCORE_CAUSAL;
    j->profile.both = j->v->strand == STRAND_BOTH && mb_model_strands(j->model) == 1;
    return MB_OK;
}

static int is_head(const job *j) {
    return j->v->track == DNA_TRACK_HEAD;
}

static int64_t flank_of(const job *j) {
    return is_head(j) ? j->windows.window : j->v->flank;
}

static int64_t held(const job *j, const dna_region *r) {
    const int64_t length = j->source.contigs.length(j->source.contigs.user, r->contig), flank = flank_of(j);
    const int64_t from = r->start > flank ? r->start - flank : 0;
    return (length - r->end > flank ? r->end + flank : length) - from;
}

/* Forward-run bases of a region. */
static double work_of(const job *j, const dna_region *r) {
    const int64_t blocks = is_head(j) ? (r->end - r->start + j->windows.stride - 1) / j->windows.stride : 0;
    if (is_head(j))
        return (double)blocks * (double)j->windows.window *
               (j->head.conjoin && mb_model_strands(j->model) == 1 ? 2 : 1);
    return (double)held(j, r) * dna_profile_passes(&j->profile, held(j, r), r->end - r->start);
}

static int check_regions(const job *j, mb_err *e) {
    int rc = MB_OK;
    for (int64_t i = 0; rc == MB_OK && !is_head(j) && i < j->source.regions.n; i++) {
        const dna_region *r = &j->source.regions.at[i];
        rc = dna_profile_check(&j->profile, held(j, r), r->contig, e);
    }
    return rc;
}

static int set_up(job *j, mb_run *run, mb_err *e) {
    const mb_globals *g = &run->globals;
    const mb_model_options o = {.device = g->device, .precision = (mbk_precision)j->v->precision};
    int format;
    if (!j->v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER or -m org/name");
    if ((j->v->window || j->v->stride || j->v->label) && !is_head(j))
        return mb_fail(e, MB_USAGE, "--window, --stride and --class are for --track head");
    int rc = dna_track_format_of(j->v->output, &format, e);
    if (rc == MB_OK && format == DNA_BIGWIG && !dna_bigwig_available()) {
        dna_bigwig *none = NULL;
        rc = dna_bigwig_create(&none, j->v->output, &j->contigs, 0, e); /* says what to install */
    }
    if (rc == MB_OK)
        rc = dna_source_open(&j->source, run->args[0], &j->v->input, e);
    if (rc == MB_OK)
        rc = list_contigs(j, e);
    if (rc == MB_OK)
        rc = mb_model_open(&j->model, j->v->model, &o, e);
    if (rc)
        return rc;
    dna_regions_merge(&j->source.regions);
    const dna_policies policies = dna_source_policies(&j->v->input);
    if (dna_alphabet_init(&j->alphabet, mb_model_config(j->model), &policies, e))
        return mb_err_context(e, "%s", j->v->model);
    j->profile = (dna_profile_options){
        .model = j->model,
        .alphabet = &j->alphabet,
        .forward = {.threads = (int)g->threads, .memory = g->memory, .scratch = j->v->scratch, .stop = mb_cli_stop()},
        .mask_stride = j->v->mask_stride};
    rc = is_head(j) ? choose_head(j, e) : choose_scheme(j, e);
    if (rc == MB_OK)
        rc = check_regions(j, e);
    return rc == MB_OK ? mb_forward_check_memory(j->model, &j->profile.forward, e) : rc;
}

/* ---- the work -------------------------------------------------------------------------------------------------------
 */

static int put_values(void *user, int64_t start, int64_t span, const float *value, int64_t n, mb_err *e) {
    job *j = user;
    int rc = MB_OK;
    for (int64_t i = 0; rc == MB_OK && j->v->report && i < n; i++)
        rc = dna_value_sample_add(&j->sample, value[i], e);
    return rc == MB_OK ? dna_track_put(j->out, j->contig, start, span, value, n, e) : rc;
}

static int run_region(job *j, const dna_region *r, mb_err *e) {
    const dna_track_sink sink = {.put = put_values, .user = j};
    dna_context c = {0};
    while (strcmp(j->name[j->contig], r->contig) != 0)
        j->contig++;
    int rc = dna_context_fetch(&c, &j->source, &j->alphabet, r, flank_of(j), &j->letters, e);
    if (rc == MB_OK)
        rc = is_head(j) ? dna_track_windows(&j->windows, &c, &sink, e)
                        : dna_track_bases(j->v->track, &j->profile, &c, &sink, e);
    dna_context_fini(&c);
    return rc;
}

/* Zoom levels are made when the model's memory is free again. */
static int zooms_fit(const job *j) {
    const int64_t values = dna_regions_bases(&j->source.regions) / (is_head(j) ? j->windows.stride : 1);
    const int64_t need = dna_bigwig_zoom_bytes(values);
    char a[32];
    if (need <= j->run->globals.memory)
        return 1;
    mb_warn("%s: without zoom levels, which take %s of memory: browsers will be slow to show much of it at once",
            j->v->output, mb_human_bytes((double)need, a));
    return 0;
}

static int make_track(job *j, double work, mb_err *e) {
    int format;
    int rc = dna_source_check_output(&j->source, j->v->output, e);
    if (rc == MB_OK && j->v->report)
        rc = dna_source_check_output(&j->source, j->v->report, e);
    if (rc == MB_OK)
        rc = dna_track_format_of(j->v->output, &format, e);
    if (rc == MB_OK)
        rc = dna_track_create(&j->out, j->v->output, &j->contigs, format == DNA_BIGWIG && zooms_fit(j), e);
    if (rc)
        return rc;
    mb_progress *p = mb_progress_start("track", "bp", work);
    j->profile.forward.progress = j->windows.forward.progress = p;
    for (int64_t i = 0; rc == MB_OK && i < j->source.regions.n; i++)
        rc = run_region(j, &j->source.regions.at[i], e);
    mb_progress_finish(p);
    j->profile.forward.progress = j->windows.forward.progress = NULL;
    j->sums = dna_track_sum(j->out);
    return rc;
}

static int fill_provenance(const job *j, mb_provenance *p, mb_err *e) {
    int rc = mb_provenance_file(p, "model", mb_model_weights_path(j->model), e);
    if (rc == MB_OK)
        rc = dna_source_note(&j->source, p, e);
    const double number[] = {(double)j->sums.bases, j->sums.sum / (double)j->sums.bases, j->sums.least, j->sums.most};
    static const char *const NAME[] = {"bases", "mean", "least", "most"};
    for (size_t i = 0; rc == MB_OK && i < sizeof number / sizeof *number; i++)
        rc = mb_provenance_number(p, NAME[i], number[i]);
    return rc;
}

static int write_page(const job *j, mb_provenance *p, mb_err *e) {
    static const char *const OF[] = {"entropy, bits", "log p(base) - log p(likeliest other), nats",
                                     "p(base of the genome)", "answer"};
    mb_page *page = NULL;
    int rc = mb_page_create(&page, "A track along a genome", e);
    if (rc == MB_OK) {
        mb_page_fact(page, "model", "%s", j->v->model);
        mb_page_fact(page, "genome", "%s", j->run->args[0]);
        mb_page_fact(page, "track", "%s: %s", j->v->output,
                     is_head(j) ? j->head.label[j->windows.label] : OF[j->v->track]);
        mb_page_fact(page, "regions", "%" PRId64, j->source.regions.n);
        mb_page_fact(page, "bases with a value", "%" PRId64, j->sums.bases);
        mb_page_fact(page, "mean", "%.5g, from %.5g to %.5g", j->sums.sum / (double)j->sums.bases, j->sums.least,
                     j->sums.most);
        dna_value_sample_put(&j->sample, page, OF[j->v->track], is_head(j) ? "windows" : "bases");
        rc = mb_page_write(page, p, j->v->report, e);
    }
    mb_page_destroy(page);
    return rc;
}

/* run.json comes last; a track without a value is refused by its commit. */
static int commit(job *j, int rc, mb_provenance *p, mb_err *e) {
    const int to_file = !mb_path_is_direct(j->v->output);
    char *record = NULL;
    if (rc == MB_OK && j->sums.bases > 0) {
        rc = fill_provenance(j, p, e);
        if (rc == MB_OK && to_file)
            rc = mb_result_record(&record, j->v->output, e);
        if (rc == MB_OK && j->v->report)
            rc = write_page(j, p, e);
    }
    if (rc == MB_OK)
        rc = dna_track_commit(j->out, e);
    else
        dna_track_abort(j->out);
    if (rc == MB_OK && record)
        rc = mb_provenance_write(p, record, e);
    mb_free(record);
    return rc;
}

static int print_plan(job *j, double work, mb_err *e) {
    static const char *const TRACK[] = {"entropy", "llr", "prob", "head"};
    char took[32], a[32];
    double rate = 1;
    int64_t longest = 0, need = 0;
    for (int64_t i = 0; i < j->source.regions.n; i++) {
        const int64_t n = held(j, &j->source.regions.at[i]), bytes = dna_profile_bytes(&j->profile, n);
        longest = n > longest ? n : longest;
        need = bytes > need ? bytes : need;
    }
    int rc = dna_estimate_rate(j->model, &j->alphabet, is_head(j) ? j->windows.window : longest, &j->profile.forward,
                               2.0, &rate, e);
    if (rc)
        return rc;
    printf("track        %s%s\n", TRACK[j->v->track],
           is_head(j)          ? ""
           : j->profile.causal ? ", each base given those before it"
                               : ", each base masked");
    printf("regions      %" PRId64 " of %" PRId64 " bases in all, the longest run is of %" PRId64 "\n",
           j->source.regions.n, dna_regions_bases(&j->source.regions), longest);
    if (is_head(j))
        printf("windows      %" PRId64 " bases every %" PRId64 ", label %s\n", j->windows.window, j->windows.stride,
               j->head.label[j->windows.label]);
    printf("work         %.4g bases through the model\n", work);
    printf("memory       answers %s; the model's share of --memory beside\n",
           mb_human_bytes(is_head(j) ? (double)longest : (double)need, a));
    printf("output       %s (dry run: nothing was written)\n", j->v->output);
    printf("time         about %s on %d threads (%.3g bp/s on random bases)\n", mb_human_seconds(work / rate, took),
           (int)j->run->globals.threads, rate);
    return MB_OK;
}

static int compute(job *j, double work, mb_err *e) {
    mb_provenance *p = NULL;
    int rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = make_track(j, work, e);
    rc = commit(j, rc, p, e);
    mb_provenance_free(p);
    if (rc)
        return rc;
    dna_counts_warn(&j->letters);
    mb_info("%" PRId64 " bases have a value: mean %.4g, from %.4g to %.4g", j->sums.bases,
            j->sums.sum / (double)j->sums.bases, j->sums.least, j->sums.most);
    return MB_OK;
}

static int run_track(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    double work = 0;
    int rc = set_up(&j, run, e);
    for (int64_t i = 0; rc == MB_OK && i < j.source.regions.n; i++)
        work += work_of(&j, &j.source.regions.at[i]);
    if (rc == MB_OK)
        rc = run->globals.dry_run ? print_plan(&j, work, e) : compute(&j, work, e);
    mb_free(j.name);
    mb_free(j.length);
    dna_value_sample_fini(&j.sample);
    dna_head_fini(&j.head);
    dna_source_close(&j.source);
    mb_model_destroy(j.model);
    return rc;
}

const mb_verb dna_track_verb = {.name = "track",
                                .summary =
                                    "per-base tracks as bigWig or bedGraph: entropy, likelihood, a fine-tuned model",
                                .usage = "GENOME -m MODEL [--regions BED|REGION] [-o FILE] [options]",
                                .details = DETAILS,
                                .options = OPTIONS,
                                .values_size = sizeof(track_values),
                                .min_args = 1,
                                .max_args = 1,
                                .run = run_track};
