/* dna-mamba ism: in-silico mutagenesis of regions. This file: options, order of the work, tables. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/npy.h"
#include "core/page.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "genomics/estimate.h"
#include "genomics/ism.h"
#include "genomics/ism_picture.h"
#include "core/result.h"
#include "genomics/run_options.h"
#include "genomics/track.h"

typedef struct ism_values {
    dna_context_values input;
    char *model, *output, *label, *scratch, *flank, *report;
    int64_t mask_stride;
    int score, deletions, scheme, strand, picture, precision;
} ism_values;

enum { STRAND_FORWARD, STRAND_BOTH };
enum { PICTURE_BOTH, PICTURE_SVG, PICTURE_PNG, PICTURE_NONE };
enum { DEFAULT_FLANK = 256, MOST_PICTURES = 100 };

#define V ism_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    OPTION(model, STRING, .letter = 'm', .meta = "MODEL",
           .help = "Folder with config.json and weights, or a name looked up in the local Hugging Face cache; for "
                   "--score head a folder that dna-mamba finetune made."),
    OPTION(output, STRING, .letter = 'o', .meta = "PREFIX",
           .help =
               "Writes PREFIX.npy, PREFIX.tsv, PREFIX.svg, PREFIX.png (of several regions PREFIX.1.svg, PREFIX.2.svg, "
               "...) and PREFIX.run.json. An ending .npy, .tsv, .svg or .png is left out."),
    OPTION(
        score, CHOICE, .def = "masked", .choices = DNA_ISM_CHOICES,
        .help =
            "What a changed base is judged by. masked: log p(base) - log p(reference base) where the site is masked, "
            "a pass a site. pll: the change of the (pseudo-)log-likelihood of the region with its flanks. head: the "
            "change of what a fine-tuned model answers."),
    OPTION(deletions, BOOL, .help = "pll, head: also leave each base out; a fifth column."),
    OPTION(
        flank, STRING, .def = "auto", .meta = "N|auto",
        .help =
            "Bases of the contig on each side of a region that the model sees too. auto: 256; none for a head, which "
            "was fine-tuned on sequences like the region."),
    OPTION(scheme, CHOICE, .def = "auto", .choices = SCORE_SCHEME_CHOICES,
           .help = "causal: each base given those before it. masked: given the others. auto: causal for left-to-right "
                   "models, masked for bidirectional ones."),
    OPTION(mask_stride, INT, .def = "8", .max = 1e9, .meta = "K",
           .help = "pll: K passes over each changed sequence, each masking every K-th base; see dna-mamba score."),
    OPTION(strand, CHOICE, .def = "forward", .choices = "forward|both",
           .help =
               "both: the mean over the sequence and its reverse complement. RC-equivariant models see both in one."),
    {.key = "class",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, label),
     .meta = "NAME",
     .help = "head: the label whose probability or number is looked at. Unset: the only one, or the second of two."},
    OPTION(picture, CHOICE, .def = "both", .choices = "both|svg|png|none",
           .help = "Figures: a sequence logo over a heat map. Up to 1000 bases a region and 100 regions."),
    DNA_PRECISION_OPTION(V),
    DNA_SCRATCH_OPTION(V, "a sequence does"),
    DNA_CONTEXT_OPTIONS(
        V, input,
        "These places: a BED file (0-based, half open; column 4 names the region, a - in column 6 has it "
        "read as its reverse complement), or one contig, contig:from or contig:from-to (1-based, inclusive, "
        "commas allowed). Unset: all contigs."),
    MB_REPORT_OPTION(V),
    {0}};
#undef OPTION
#undef V

static const char DETAILS[] =
    "Changes every base of a region to each of the three others, one at a time, and writes what the model makes of it: "
    "which bases matter. GENOME is a FASTA file, plain or BGZF; a missing .fai index is built beside it.\n"
    "\n"
    "PREFIX.npy: float32 (bases of all regions, 4): the effects of A, C, G, T in natural logarithms (head: in units of the "
    "answer), 0 for the reference base, NaN at N; with --deletions a fifth column. PREFIX.tsv: a line a base, in the "
    "direction of the region's strand: region, contig, start, end (0-based, half open), strand, ref, the effects, then for "
    "masked the probabilities and the bits of information (2 - entropy), else the importance (what changing the base costs: "
    "minus the mean of the three effects).\n"
    "\n"
    "The figure: letters as high as their share of the bits (or the reference base as high as it is important), the "
    "reference, the effects in colours (blue: the model likes the change, brown: it does not), a dot on the reference "
    "base.\n"
    "\n"
    "  dna-mamba ism genomics/data/lambda.fa.gz -m genomics/models/multispecies --regions NC_001416.1:38,000-38,100 -o build/ism\n"
    "  dna-mamba ism genomics/data/phix174.fa -m genomics/models/multispecies --regions NC_001422.1:301-330 --score pll --deletions "
    "--flank 50 -o build/pll\n"
    "  dna-mamba ism genomics/data/phix174.fa -m genomics/models/multispecies --regions NC_001422.1:1001-1060 --dry-run -o build/ism";

typedef struct picture {
    mb_out *svg, *png;
} picture;

typedef struct job {
    mb_run *run;
    const ism_values *v;
    char *prefix;
    mb_model *model;
    dna_alphabet alphabet;
    dna_source source;
    dna_head head;
    dna_ism_options o;
    int64_t flank;
    mb_npy *npy;
    mb_out *tsv;
    picture *pictures; /* (regions) */
    int64_t rows;
    dna_counts letters;
    mb_page *page; /* NULL: no report */
} job;

/* ---- what is asked for ----------------------------------------------------------------------------------------------
 */

static int take_prefix(job *j, mb_err *e) {
    static const char *const END[] = {".npy", ".tsv", ".svg", ".png"};
    const char *given = j->v->output;
    if (!given || !*given || strcmp(given, "-") == 0)
        return mb_fail(e, MB_USAGE, "-o PREFIX: several files are written, so they need a name to begin with");
    size_t n = strlen(given);
    for (size_t i = 0; i < sizeof END / sizeof *END; i++)
        if (n > 4 && strcasecmp(given + n - 4, END[i]) == 0) {
            n -= 4;
            break;
        }
    j->prefix = mb_asprintf("%.*s", (int)n, given);
    return j->prefix ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for names of files");
}

static int take_flank(job *j, mb_err *e) {
    const char *text = j->v->flank;
    char *end;
    if (!text || strcmp(text, "auto") == 0) {
        j->flank = j->o.score == DNA_ISM_HEAD ? 0 : DEFAULT_FLANK;
        return MB_OK;
    }
    errno = 0;
    const long long n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < 0 || n > 1000000000)
        return mb_fail(e, MB_USAGE, "--flank %.100s: expected a number of bases, or auto", text);
    j->flank = n;
    return MB_OK;
}

static int choose_model(job *j, mb_err *e) {
    const int next_token = mb_model_is_causal(j->model) && mb_model_strands(j->model) == 1;
    if (j->o.score == DNA_ISM_HEAD) {
        int rc = dna_head_load(&j->head, j->model, e);
        if (rc == MB_OK && j->head.task == DNA_TASK_BASES)
            rc = mb_fail(e, MB_NOTSUP, "%s: answers for each base; in-silico mutagenesis needs one answer a sequence",
                         j->v->model);
        j->o.head = &j->head;
        return rc == MB_OK ? dna_head_label(&j->head, j->v->label, &j->o.label, e) : rc;
    }
    if (!mb_model_config(j->model)->has_head)
        return mb_fail(e, MB_NOTSUP, "%s: this model has no language-model head, so it gives no probabilities%s",
                       j->v->model, mb_model_config(j->model)->n_labels > 0 ? "; --score head is for such models" : "");
    if (j->v->scheme == SCORE_CAUSAL && !next_token)
        return mb_fail(e, MB_USAGE, "--scheme causal: this model sees both sides of each base; use masked");
    j->o.how.causal = j->v->scheme == SCORE_AUTO ? next_token : j->v->scheme == SCORE_CAUSAL;
    j->o.how.both = j->v->strand == STRAND_BOTH && mb_model_strands(j->model) == 1;
    return MB_OK;
}

static int64_t held(const job *j, const dna_region *r) {
    const int64_t length = j->source.contigs.length(j->source.contigs.user, r->contig);
    const int64_t from = r->start > j->flank ? r->start - j->flank : 0;
    return (length - r->end > j->flank ? r->end + j->flank : length) - from;
}

static int check_sizes(const job *j, mb_err *e) {
    const dna_regions *r = &j->source.regions;
    int rc = MB_OK;
    if (j->v->picture != PICTURE_NONE && r->n > MOST_PICTURES)
        return mb_fail(e, MB_USAGE,
                       "%" PRId64 " regions would be as many pictures; give --picture none, or at most %d regions",
                       r->n, MOST_PICTURES);
    for (int64_t i = 0; rc == MB_OK && i < r->n; i++) {
        const dna_region *g = &r->at[i];
        if (j->v->picture != PICTURE_NONE && g->end - g->start > DNA_ISM_MOST_SITES)
            return mb_fail(e, MB_USAGE,
                           "%s:%" PRId64 "-%" PRId64 ": %" PRId64 " bases are more than a picture can show (%d); give "
                           "shorter regions, or --picture none",
                           g->contig, g->start + 1, g->end, g->end - g->start, DNA_ISM_MOST_SITES);
        if (j->o.score == DNA_ISM_MASKED)
            rc = dna_profile_check(&j->o.how, held(j, g), g->contig, e);
    }
    return rc;
}

static int check_options(job *j, mb_err *e) {
    if (!j->v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER or -m org/name");
    if (j->v->deletions && j->v->score == DNA_ISM_MASKED)
        return mb_fail(e, MB_USAGE,
                       "--deletions: a masked site says nothing of leaving it out; use --score pll or head");
    if (j->v->label && j->v->score != DNA_ISM_HEAD)
        return mb_fail(e, MB_USAGE, "--class is for --score head");
    if (j->v->picture != PICTURE_NONE && !mb_picture_available()) {
        mb_picture *none;
        int rc = mb_picture_create(&none, 1, 1, e); /* says what to install */
        return rc ? mb_err_context(e, "pictures (--picture none leaves them out)") : MB_OK;
    }
    return MB_OK;
}

static int set_up(job *j, mb_run *run, mb_err *e) {
    const mb_globals *g = &run->globals;
    const mb_model_options options = {.device = g->device, .precision = (mbk_precision)j->v->precision};
    j->o = (dna_ism_options){.score = j->v->score, .deletions = j->v->deletions};
    int rc = check_options(j, e);
    if (rc == MB_OK)
        rc = take_prefix(j, e);
    if (rc == MB_OK)
        rc = take_flank(j, e);
    if (rc == MB_OK)
        rc = dna_source_open(&j->source, run->args[0], &j->v->input, e);
    if (rc == MB_OK)
        rc = mb_model_open(&j->model, j->v->model, &options, e);
    if (rc)
        return rc;
    const dna_policies policies = dna_source_policies(&j->v->input);
    if (dna_alphabet_init(&j->alphabet, mb_model_config(j->model), &policies, e))
        return mb_err_context(e, "%s", j->v->model);
    j->o.how = (dna_profile_options){
        .model = j->model,
        .alphabet = &j->alphabet,
        .forward = {.threads = (int)g->threads, .memory = g->memory, .scratch = j->v->scratch, .stop = mb_cli_stop()},
        .mask_stride = j->v->mask_stride};
    rc = choose_model(j, e);
    if (rc == MB_OK)
        rc = check_sizes(j, e);
    return rc == MB_OK ? mb_forward_check_memory(j->model, &j->o.how.forward, e) : rc;
}

/* ---- tables ---------------------------------------------------------------------------------------------------------
 */

static int put_titles(job *j, mb_err *e) {
    return mb_out_printf(j->tsv, e, "region\tcontig\tstart\tend\tstrand\tref\tA\tC\tG\tT%s%s\n",
                         j->o.deletions ? "\tdeletion" : "",
                         j->o.score == DNA_ISM_MASKED ? "\tp_A\tp_C\tp_G\tp_T\tbits" : "\timportance");
}

static int put_rows(job *j, const dna_region *r, const char *name, const dna_ism *m, mb_err *e) {
    int rc = MB_OK;
    for (int64_t i = 0; rc == MB_OK && i < m->n; i++) {
        const int64_t start = r->strand == '-' ? r->end - 1 - i : r->start + i;
        rc = mb_out_printf(j->tsv, e, "%s\t%s\t%" PRId64 "\t%" PRId64 "\t%c\t%c", name, r->contig, start, start + 1,
                           r->strand, m->base[i] < 0 ? 'N' : "ACGT"[m->base[i]]);
        for (int b = 0; rc == MB_OK && b < m->columns; b++)
            rc = mb_out_printf(j->tsv, e, "\t%.6g", (double)m->effect[i * m->columns + b]);
        for (int b = 0; rc == MB_OK && m->logp && b < 4; b++)
            rc = mb_out_printf(j->tsv, e, "\t%.6g", exp((double)m->logp[4 * i + b]));
        if (rc == MB_OK)
            rc = mb_out_printf(j->tsv, e, "\t%.6g\n", m->logp ? dna_ism_bits(m, i) : dna_ism_importance(m, i));
    }
    if (rc == MB_OK)
        rc = mb_npy_put(j->npy, j->rows * m->columns, m->effect, m->n * m->columns, e);
    j->rows += m->n;
    return rc;
}

/* ---- pictures -------------------------------------------------------------------------------------------------------
 */

static char *output_name(const job *j, int64_t region, const char *end) {
    return j->source.regions.n > 1 ? mb_asprintf("%s.%" PRId64 ".%s", j->prefix, region + 1, end)
                                   : mb_asprintf("%s.%s", j->prefix, end);
}

static int write_picture(const job *j, const mb_picture *p, int64_t region, int format, mb_out **out, mb_err *e) {
    char *path = output_name(j, region, format == MB_PICTURE_SVG ? "svg" : "png");
    int rc = path ? dna_source_check_output(&j->source, path, e) : mb_fail(e, MB_NOMEM, "no memory for names of files");
    if (rc == MB_OK)
        rc = mb_out_create(out, path, e);
    if (rc == MB_OK && mb_picture_write(p, format, 2, *out, e))
        rc = mb_err_context(e, "%s", path);
    mb_free(path);
    return rc;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static int draw(job *j, const dna_region *r, const char *name, const dna_ism *m, int64_t region, mb_err *e) {
    static const char *const EFFECT[] = {"log p(base) / p(ref), nats", "change of log p(seq), nats", NULL};
    static const char *const WHAT[] = {"each base masked", "log-likelihood of the changed sequence", "fine-tuned head"};
    const int head = j->o.score == DNA_ISM_HEAD, number = head && j->head.task == DNA_TASK_REGRESSION;
    char *place =
        r->name ? mb_asprintf("%s:%" PRId64 "-%" PRId64 ", ", r->contig, r->start + 1, r->end) : mb_strdup("");
    char *under =
        place ? mb_asprintf("%s%c strand; model %s, %s", place, r->strand, last_part(j->v->model), WHAT[j->o.score])
              : NULL;
    char *effect =
        head ? mb_asprintf("change of %s%s%s", number ? "" : "p(", j->head.label[j->o.label], number ? "" : ")")
             : mb_strdup(EFFECT[j->o.score]);
    mb_picture *p = NULL;
    const dna_ism_figure f = {.m = m,
                              .region = r,
                              .title = name,
                              .subtitle = under,
                              .effect = effect,
                              .importance = head ? "importance" : "importance, nats"};
    int rc = under && effect ? dna_ism_draw(&p, &f, e) : mb_fail(e, MB_NOMEM, "no memory for a picture");
    if (rc == MB_OK && (j->v->picture == PICTURE_SVG || j->v->picture == PICTURE_BOTH))
        rc = write_picture(j, p, region, MB_PICTURE_SVG, &j->pictures[region].svg, e);
    if (rc == MB_OK && (j->v->picture == PICTURE_PNG || j->v->picture == PICTURE_BOTH))
        rc = write_picture(j, p, region, MB_PICTURE_PNG, &j->pictures[region].png, e);
    if (rc == MB_OK && j->page)
        mb_page_picture(j->page, p, name);
    mb_picture_destroy(p);
    mb_free(place);
    mb_free(under);
    mb_free(effect);
    return rc;
}

/* ---- the work -------------------------------------------------------------------------------------------------------
 */

static int run_region(job *j, int64_t region, mb_err *e) {
    const dna_region *r = &j->source.regions.at[region];
    dna_context c = {0};
    dna_ism m = {0};
    char *name = r->name ? mb_strdup(r->name) : mb_asprintf("%s:%" PRId64 "-%" PRId64, r->contig, r->start + 1, r->end);
    int rc = name ? dna_context_fetch(&c, &j->source, &j->alphabet, r, j->flank, &j->letters, e)
                  : mb_fail(e, MB_NOMEM, "no memory for a region");
    if (rc == MB_OK)
        rc = dna_ism_run(&m, &j->o, &c, e);
    if (rc == MB_OK)
        rc = put_rows(j, r, name, &m, e);
    if (rc == MB_OK && (j->v->picture != PICTURE_NONE || j->page))
        rc = draw(j, r, name, &m, region, e);
    dna_ism_fini(&m);
    dna_context_fini(&c);
    mb_free(name);
    return rc;
}

static int open_tables(job *j, mb_err *e) {
    const int64_t shape[2] = {-1, j->o.deletions ? 5 : 4};
    char *npy = mb_asprintf("%s.npy", j->prefix), *tsv = mb_asprintf("%s.tsv", j->prefix);
    j->pictures = mb_calloc((size_t)j->source.regions.n, sizeof *j->pictures);
    int rc = npy && tsv && j->pictures ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for names of files");
    if (rc == MB_OK)
        rc = dna_source_check_output(&j->source, npy, e);
    if (rc == MB_OK)
        rc = dna_source_check_output(&j->source, tsv, e);
    if (rc == MB_OK)
        rc = mb_npy_create(&j->npy, npy, MB_F32, 2, shape, e);
    if (rc == MB_OK)
        rc = mb_out_create(&j->tsv, tsv, e);
    mb_free(npy);
    mb_free(tsv);
    return rc == MB_OK ? put_titles(j, e) : rc;
}

static int begin_page(job *j, mb_err *e) {
    int rc = dna_source_check_output(&j->source, j->v->report, e);
    if (rc == MB_OK)
        rc = mb_page_create(&j->page, "In-silico mutagenesis", e);
    if (rc != MB_OK)
        return rc;
    mb_page_fact(j->page, "model", "%s", j->v->model);
    mb_page_fact(j->page, "genome", "%s", j->run->args[0]);
    mb_page_fact(j->page, "regions", "%" PRId64 " with %" PRId64 " bases", j->source.regions.n,
                 dna_regions_bases(&j->source.regions));
    mb_page_heading(j->page, "Figures");
    return MB_OK;
}

static int make_outputs(job *j, double work, mb_err *e) {
    int rc = open_tables(j, e);
    if (rc == MB_OK && j->v->report)
        rc = begin_page(j, e);
    if (rc)
        return rc;
    j->o.how.forward.progress = mb_progress_start("ism", "bp", work);
    for (int64_t i = 0; rc == MB_OK && i < j->source.regions.n; i++)
        rc = run_region(j, i, e);
    mb_progress_finish(j->o.how.forward.progress);
    j->o.how.forward.progress = NULL;
    return rc;
}

static int fill_provenance(const job *j, mb_provenance *p, mb_err *e) {
    int rc = mb_provenance_file(p, "model", mb_model_weights_path(j->model), e);
    if (rc == MB_OK)
        rc = dna_source_note(&j->source, p, e);
    if (rc == MB_OK)
        rc = mb_provenance_number(p, "regions", (double)j->source.regions.n);
    return rc == MB_OK ? mb_provenance_number(p, "bases", (double)j->rows) : rc;
}

static int put_in_place(mb_out *out, int rc, mb_err *e) {
    if (rc == MB_OK && out)
        return mb_out_commit(out, e);
    mb_out_abort(out);
    return rc;
}

/* run.json comes last. */
static int commit(job *j, int rc, mb_provenance *p, mb_err *e) {
    char *record = NULL;
    if (rc == MB_OK)
        rc = fill_provenance(j, p, e);
    if (rc == MB_OK)
        rc = mb_result_record(&record, j->prefix, e);
    if (rc == MB_OK && j->page)
        rc = mb_page_write(j->page, p, j->v->report, e);
    for (int64_t i = 0; j->pictures && i < j->source.regions.n; i++) {
        rc = put_in_place(j->pictures[i].svg, rc, e);
        rc = put_in_place(j->pictures[i].png, rc, e);
    }
    rc = put_in_place(j->tsv, rc, e);
    if (rc == MB_OK)
        rc = mb_npy_commit(j->npy, -1, e);
    else
        mb_npy_abort(j->npy);
    if (rc == MB_OK)
        rc = mb_provenance_write(p, record, e);
    mb_free(record);
    return rc;
}

static int print_plan(const job *j, double work, mb_err *e) {
    static const char *const SCORE[] = {"masked", "pll", "head"};
    char took[32];
    double rate = 1;
    int64_t longest = 0;
    for (int64_t i = 0; i < j->source.regions.n; i++) {
        const int64_t n = held(j, &j->source.regions.at[i]);
        longest = n > longest ? n : longest;
    }
    int rc = dna_estimate_rate(j->model, &j->alphabet, longest, &j->o.how.forward, 2.0, &rate, e);
    if (rc)
        return rc;
    printf("score        %s, %s\n", SCORE[j->o.score],
           j->o.deletions ? "substitutions and deletions" : "substitutions");
    printf("regions      %" PRId64 " of %" PRId64 " bases in all, flanks of %" PRId64 "\n", j->source.regions.n,
           dna_regions_bases(&j->source.regions), j->flank);
    printf("work         %.4g bases through the model\n", work);
    printf("output       %s.npy, .tsv%s (dry run: nothing was written)\n", j->prefix,
           j->v->picture == PICTURE_NONE ? "" : ", pictures");
    printf("time         about %s on %d threads (%.3g bp/s on random bases)\n", mb_human_seconds(work / rate, took),
           (int)j->run->globals.threads, rate);
    return MB_OK;
}

static int compute(job *j, double work, mb_err *e) {
    mb_provenance *p = NULL;
    int rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = make_outputs(j, work, e);
    rc = commit(j, rc, p, e);
    mb_provenance_free(p);
    if (rc == MB_OK) {
        dna_counts_warn(&j->letters);
        mb_info("%" PRId64 " bases of %" PRId64 " regions: %s.npy, %s.tsv", j->rows, j->source.regions.n, j->prefix,
                j->prefix);
    }
    return rc;
}

static int run_ism(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    double work = 0;
    int rc = set_up(&j, run, e);
    for (int64_t i = 0; rc == MB_OK && i < j.source.regions.n; i++) {
        const dna_region *r = &j.source.regions.at[i];
        work += dna_ism_work(&j.o, held(&j, r), r->end - r->start);
    }
    if (rc == MB_OK)
        rc = run->globals.dry_run ? print_plan(&j, work, e) : compute(&j, work, e);
    mb_free(j.prefix);
    mb_free(j.pictures);
    mb_page_destroy(j.page);
    dna_head_fini(&j.head);
    dna_source_close(&j.source);
    mb_model_destroy(j.model);
    return rc;
}

const mb_verb dna_ism_verb = {.name = "ism",
                              .summary = "in-silico mutagenesis of regions: effects of every base, with a picture",
                              .usage = "GENOME -m MODEL --regions BED|REGION -o PREFIX [options]",
                              .details = DETAILS,
                              .options = OPTIONS,
                              .values_size = sizeof(ism_values),
                              .min_args = 1,
                              .max_args = 1,
                              .run = run_ism};
