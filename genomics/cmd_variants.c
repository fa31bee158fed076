/* dna-mamba variants: what a model says of the variants of a VCF. This file: options, order of the work, what people
 * are told. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "genomics/input_options.h"
#include "core/result.h"
#include "genomics/run_options.h"
#include "genomics/value_page.h"
#include "genomics/variants.h"

#define V variants_values
static const mb_option OPTIONS[] = {
    {.key = "model",
     .letter = 'm',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, model),
     .meta = "MODEL",
     .help = "Folder with config.json and weights, or a name looked up in the local Hugging Face cache."},
    {.key = "reference",
     .letter = 'r',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, reference),
     .role = MB_ROLE_INPUT,
     .meta = "FASTA",
     .help = "Genome that the VCF's positions are of: plain FASTA or BGZF; a missing .fai index is built beside it. "
             "Required."},
    {.key = "output",
     .letter = 'o',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, output),
     .def = "-",
     .meta = "FILE",
     .help =
         "VCF, BCF or TSV by its ending: .vcf, .vcf.gz, .bcf, .tsv; - is standard output. FILE.run.json says how it "
         "was made; .vcf.gz and .bcf get an index where their records are in order."},
    {.key = "format",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, format),
     .def = "auto",
     .choices = VARIANTS_FORMAT_CHOICES,
     .help = "Form of the output. auto: by its ending; vcf where that says nothing."},
    {.key = "score",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, score),
     .def = "llr",
     .meta = "LIST",
     .help = "What to compute, apart by commas: llr, pll, l2, cosine. See above."},
    {.key = "window",
     .type = MB_OPT_INT,
     .offset = offsetof(V, window),
     .def = "512",
     .min = 2,
     .max = 1e9,
     .meta = "N",
     .help = "Bases that the model sees, with the variant in the middle."},
    {.key = "strand",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, strand),
     .def = "auto",
     .choices = VARIANTS_STRAND_CHOICES,
     .help = "both: the mean of the scores on the sequence and on its reverse complement. auto: both, but forward for "
             "RC-equivariant models, which see both strands in one."},
    {.key = "indels",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, indels),
     .def = "pll",
     .choices = VARIANTS_INDELS_CHOICES,
     .help = "llr of masked models is not defined for insertions and deletions. pll: they get pll instead, in its own "
             "field. skip: they get none."},
    {.key = "mask_stride",
     .type = MB_OPT_INT,
     .offset = offsetof(V, mask_stride),
     .def = "8",
     .max = 1e9,
     .meta = "K",
     .help = "pll: K passes over each window; pass j masks positions j, j+K, j+2K, ... 0: one position at a time."},
    {.key = "span",
     .type = MB_OPT_INT,
     .offset = offsetof(V, span),
     .def = "0",
     .max = 1e9,
     .meta = "N",
     .help = "l2, cosine: average the hidden states of the N bases around the variant. 1: the base in its middle. 0: "
             "the whole window."},
    {.key = "scheme",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, scheme),
     .def = "auto",
     .choices = VARIANTS_SCHEME_CHOICES,
     .help = "How probabilities are asked for. auto: causal for left-to-right models, masked for bidirectional ones. A "
             "left-to-right model that was trained on masks wants masked."},
    {.key = "normalize",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, normalize),
     .help = "Left-align and shorten alleles first, as vt normalize does. INFO/OLD_VARIANT keeps what was changed; "
             "records that move are put in order again."},
    {.key = "ref_mismatch",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, ref_mismatch),
     .def = "error",
     .choices = VARIANTS_MISMATCH_CHOICES,
     .help = "A REF that is not what the reference has: an error, passed over with a reason, or scored all the same, "
             "with REF put into the window. Passed over and scored ones are counted."},
    {.key = "missing_contig",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, missing_contig),
     .def = "error",
     .choices = VARIANTS_CONTIG_CHOICES,
     .help = "A contig that the reference does not have: an error, or passed over with a reason."},
    {.key = "contig_map",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, contig_map),
     .role = MB_ROLE_INPUT,
     .meta = "FILE",
     .help = "Two columns: a contig's name in the VCF, and in the reference (1 chr1). Names that are not there are the "
             "same in both. The output keeps the VCF's names."},
    {.key = "prefix",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, prefix),
     .def = "SM",
     .meta = "NAME",
     .help = "INFO fields are NAME_LLR, NAME_PLL, NAME_L2, NAME_COSINE and NAME_REASON. Scores of several models go "
             "into one file under several prefixes."},
    {.key = "alphabet",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, alphabet),
     .def = "auto",
     .choices = DNA_ALPHABET_CHOICES,
     .help = "How the model numbers its letters. auto: by its vocabulary."},
    {.key = "n_as",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, n_as),
     .def = "auto",
     .choices = DNA_N_CHOICES,
     .help =
         "Token that stands for N and ambiguity codes. auto: pad for the caduceus alphabet, as in its training; the "
         "unknown token for plantcad."},
    {.key = "lower_case",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, lower_case),
     .def = "fold",
     .choices = DNA_CASE_CHOICES,
     .help = "Lower-case letters of the reference around a variant: fold takes them as upper case, mask as N."},
    DNA_PRECISION_OPTION(V),
    DNA_SCRATCH_OPTION(V, "windows do"),
    MB_REPORT_OPTION(V),
    {0}};
#undef V

static const char DETAILS[] =
    "Adds to each record of a VCF or BCF what a model with a language-model head says of its ALTs, one value for each "
    "(Number=A), and leaves the rest as it is. Logarithms are natural.\n"
    "\n"
    "llr: log p(ALT) - log p(REF). Masked (bidirectional) models: at the base that differs, shown as [MASK] in a window "
    "of the reference; several bases (MNV) are masked together and their ratios added; insertions and deletions get pll "
    "instead (--indels). Causal models: of the windows, each base given those before it; any variant. One pass of the "
    "model over a window; two for a causal model.\n"
    "\n"
    "pll: the difference of the pseudo-log-likelihoods of the windows with ALT and with REF. 2 K passes (--mask-stride).\n"
    "\n"
    "l2, cosine: distance of the mean hidden states (after the final norm) of the two windows; cosine is 1 - cos; --span "
    "narrows the mean. Two passes.\n"
    "\n"
    "Both windows have --window bases, so that neither is less probable for being longer: the flanks of an insertion "
    "are shorter by what it brings. Where N leaves one with fewer scored bases, means per scored base are compared, "
    "times the scored bases of REF. The window of a single base and 512 has it at index 255; near the end of a contig "
    "windows move inwards. Where both windows can be centred (an odd --window for alleles of odd length, an even one for "
    "even), an RC-equivariant model gives a variant and its mirror image on the other strand the same scores. What "
    "variants have in common is computed once.\n"
    "\n"
    "ALTs are scored as they differ from REF, shared bases stripped. Symbolic ones, breakends, *, letters other than A "
    "C G T, and alleles longer than half the window are passed through with a word in NAME_REASON. All of a file is "
    "checked before the work begins.\n"
    "\n"
    "  dna-mamba variants genomics/data/phix174.vcf -r genomics/data/phix174.fa -m genomics/models/multispecies -o build/phix.vcf.gz\n"
    "  dna-mamba variants genomics/data/phix174.vcf -r genomics/data/phix174.fa -m genomics/models/multispecies --score llr,pll,l2 "
    "--format tsv\n"
    "  dna-mamba variants calls.bcf -r genome.fa.bgz -m MODEL --normalize --contig-map ucsc.txt -o scored.bcf";

typedef struct job {
    mb_run *run;
    const variants_values *v;
    mb_model *model;
    dna_alphabet alphabet;
    variants_setup s;
    dna_items_options files; /* what is read, for provenance and against overwriting */
    dna_vcf_out *vcf;
    mb_out *tsv;
    variants_totals scanned, done;
    variants_source_counts counts;
    double seconds;
    dna_value_sample sample[DNA_EFFECTS]; /* for the report */
} job;

static int parse_scores(const char *list, unsigned *wanted, mb_err *e) {
    static const char *const name[DNA_EFFECTS] = {"llr", "pll", "l2", "cosine"};
    *wanted = 0;
    for (const char *at = list; *at; at += *at == ',') {
        const size_t n = strcspn(at, ",");
        unsigned bit = 0;
        for (int k = 0; k < DNA_EFFECTS; k++)
            if (strlen(name[k]) == n && strncmp(at, name[k], n) == 0)
                bit = 1U << k;
        if (!bit)
            return mb_fail(e, MB_USAGE, "--score %s: '%.*s' is none of llr, pll, l2, cosine", list, (int)n, at);
        *wanted |= bit;
        at += n;
    }
    return *wanted ? MB_OK : mb_fail(e, MB_USAGE, "--score is empty: expected llr, pll, l2, cosine, apart by commas");
}

static int choose_format(const variants_values *v, mb_err *e) {
    if (v->format != VARIANTS_AUTO)
        return v->format;
    static const struct {
        const char *end;
        int format;
    } known[] = {{".vcf", VARIANTS_VCF},
                 {".vcf.gz", VARIANTS_VCF_GZ},
                 {".vcf.bgz", VARIANTS_VCF_GZ},
                 {".bcf", VARIANTS_BCF},
                 {".tsv", VARIANTS_TSV}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (mb_path_ends_with(v->output, known[i].end))
            return known[i].format;
    if (mb_path_is_direct(v->output))
        return VARIANTS_VCF;
    return mb_fail(e, MB_USAGE, "-o %s: expected a name that ends in .vcf, .vcf.gz, .bcf or .tsv, or --format",
                   v->output);
}

static int check_values(job *j, mb_err *e) {
    const variants_values *v = j->v;
    if (!v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER or -m org/name");
    if (!v->reference || !*v->reference)
        return mb_fail(e, MB_USAGE, "which genome? --reference FASTA");
    if (!v->prefix || !*v->prefix ||
        strspn(v->prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.") != strlen(v->prefix) ||
        strchr("0123456789.", *v->prefix))
        return mb_fail(e, MB_USAGE, "--prefix %s: expected a letter or _, then letters, digits, _ and .",
                       v->prefix ? v->prefix : "");
    if (v->contig_map && !*v->contig_map)
        return mb_fail(e, MB_USAGE, "--contig-map is empty: expected a file of two columns");
    int rc = parse_scores(v->score ? v->score : "", &j->s.wanted, e);
    if (rc)
        return rc;
    j->s.format = choose_format(v, e);
    j->files = (dna_items_options){.inputs = j->run->args,
                                   .n_inputs = 1,
                                   .reader = {.regions = v->contig_map, .alignment = {.reference = v->reference}}};
    if (j->s.format >= 0 && v->report && (rc = dna_check_output(v->report, &j->files, e)))
        return rc;
    return j->s.format < 0 ? j->s.format : dna_check_output(v->output, &j->files, e);
}

/* What the model can do decides what is asked of it. */
static int choose_scores(job *j, mb_err *e) {
    const int next_token = mb_model_is_causal(j->model) && mb_model_strands(j->model) == 1;
    const unsigned likelihoods = 1U << DNA_EFFECT_LLR | 1U << DNA_EFFECT_PLL, pll = 1U << DNA_EFFECT_PLL;
    if ((j->s.wanted & likelihoods) && !mb_model_config(j->model)->has_head)
        return mb_fail(e, MB_NOTSUP,
                       "%s: this model has no language-model head, so it gives no probabilities; --score l2,cosine "
                       "needs none",
                       j->v->model);
    j->s.effect.causal = j->v->scheme == VARIANTS_SCHEME_AUTO ? next_token : j->v->scheme == VARIANTS_CAUSAL;
    if (j->s.effect.causal && !next_token)
        return mb_fail(e, MB_USAGE, "--scheme causal: this model sees both sides of each base; use masked");
    if (j->s.effect.causal && (j->s.wanted & pll))
        return mb_fail(e, MB_USAGE, "--score pll: is of masked models; llr of a causal one is that of its windows");
    j->s.effect.both = j->v->strand != VARIANTS_FORWARD && mb_model_strands(j->model) == 1;
    j->s.fields = j->s.wanted;
    if (!j->s.effect.causal && (j->s.wanted & 1U << DNA_EFFECT_LLR) && j->v->indels == VARIANTS_INDELS_PLL)
        j->s.fields |= pll;
    return MB_OK;
}

static int setup(job *j, mb_run *run, mb_err *e) {
    *j = (job){.run = run, .v = run->values};
    int rc = check_values(j, e);
    if (rc)
        return rc;
    const mb_model_options options = {.device = run->globals.device, .precision = (mbk_precision)j->v->precision};
    const dna_policies policies = {.alphabet = j->v->alphabet, .n_as = j->v->n_as, .lower = j->v->lower_case};
    if ((rc = mb_model_open(&j->model, j->v->model, &options, e)))
        return rc;
    if (dna_alphabet_init(&j->alphabet, mb_model_config(j->model), &policies, e))
        return mb_err_context(e, "%s", j->v->model);
    j->s.v = j->v;
    j->s.effect = (dna_effect_options){.model = j->model,
                                       .alphabet = &j->alphabet,
                                       .forward = {.threads = (int)run->globals.threads,
                                                   .memory = run->globals.memory,
                                                   .scratch = j->v->scratch,
                                                   .stop = mb_cli_stop()},
                                       .mask_stride = j->v->mask_stride,
                                       .span = j->v->span};
    rc = choose_scores(j, e);
    if (!rc && j->v->contig_map)
        rc = dna_contig_map_read(&j->s.map, j->v->contig_map, e);
    if (!rc)
        rc = dna_genome_open(&j->s.genome, j->v->reference, e);
    return rc ? rc : mb_forward_check_memory(j->model, &j->s.effect.forward, e);
}

/* Reads all input: errors come before the work, and the progress line knows its end. */
static int scan(job *j, mb_err *e) {
    variants_source *x = NULL;
    variants_batch b = {0};
    int more = 0, rc = variants_source_open(&x, &j->s, j->run->args[0], e);
    if (!rc)
        rc = variants_declare(&j->s, variants_source_vcf(x), e);
    while (rc >= 0 && (more = variants_batch_fill(&b, &j->s, x, 1, &j->scanned, e)) > 0)
        variants_batch_clear(&b, x);
    variants_batch_fini(&b);
    variants_source_close(x);
    return rc < 0 ? rc : more;
}

static int write_batch(job *j, dna_vcf *vcf, const variants_batch *b, mb_err *e) {
    int rc = MB_OK;
    for (int64_t i = 0; !rc && j->v->report && i < b->n_effect; i++)
        for (int k = 0; !rc && k < DNA_EFFECTS; k++)
            rc = dna_value_sample_add(&j->sample[k], b->effect[i].value[k], e);
    for (int64_t i = 0; !rc && i < b->n; i++) {
        if (j->tsv) {
            rc = variants_tsv_lines(&j->s, vcf, b, i, j->tsv, e);
            continue;
        }
        rc = variants_annotate(&j->s, dna_vcf_header(vcf), b, i, e);
        if (!rc)
            rc = dna_vcf_out_write(j->vcf, b->entry[i].record, e);
    }
    return rc;
}

static int open_output(job *j, dna_vcf *vcf, mb_err *e) {
    if (j->s.format != VARIANTS_TSV) {
        const int kind = j->s.format == VARIANTS_VCF      ? DNA_VCF_TEXT
                         : j->s.format == VARIANTS_VCF_GZ ? DNA_VCF_GZ
                                                          : DNA_VCF_BCF;
        return dna_vcf_out_open(&j->vcf, j->v->output, kind, dna_vcf_header(vcf), e);
    }
    int rc = mb_out_create(&j->tsv, j->v->output, e);
    return rc ? rc : variants_tsv_head(&j->s, j->tsv, e);
}

static int run_batches(job *j, variants_source *x, mb_err *e) {
    dna_vcf *vcf = variants_source_vcf(x);
    variants_batch b = {0};
    int more = 0, rc = variants_declare(&j->s, vcf, e);
    if (rc == 1)
        mb_warn("%s: has no ##contig lines; the output has those of %s", j->run->args[0], j->v->reference);
    rc = rc < 0 ? rc : open_output(j, vcf, e);
    while (!rc && (more = variants_batch_fill(&b, &j->s, x, 0, &j->done, e)) > 0) {
        rc = variants_batch_run(&b, &j->s, e);
        if (!rc)
            rc = write_batch(j, vcf, &b, e);
        variants_batch_clear(&b, x);
    }
    variants_batch_fini(&b);
    j->counts = variants_source_count(x);
    if (!rc && more == 0 && j->vcf) /* while its header lives */
        rc = dna_vcf_out_finish(j->vcf, e);
    return rc ? rc : more;
}

/* All but the writing: inputs are digested before the results appear. */
static int fill_provenance(const job *j, mb_provenance *p, mb_err *e) {
    int rc = mb_provenance_file(p, "model", mb_model_weights_path(j->model), e);
    if (!rc)
        rc = dna_note_inputs(p, &j->files, e);
    const double number[] = {
        (double)j->done.records,      (double)j->done.alts,
        (double)j->done.scored,       (double)j->counts.normalized,
        (double)j->counts.mismatches, j->seconds > 0 ? (double)j->done.scored / j->seconds * 60 : 0};
    static const char *const NAME[] = {"records",    "alts",           "scored",
                                       "normalized", "ref_mismatches", "variants_per_minute"};
    for (size_t i = 0; !rc && i < sizeof number / sizeof *number; i++)
        rc = mb_provenance_number(p, NAME[i], number[i]);
    return rc;
}

static int commit_output(job *j, int rc, mb_err *e) {
    if (rc) {
        dna_vcf_out_abort(j->vcf);
        mb_out_abort(j->tsv);
        return rc;
    }
    if (j->tsv)
        return mb_out_commit(j->tsv, e);
    if (j->s.format != VARIANTS_VCF && !dna_vcf_out_is_sorted(j->vcf))
        mb_warn("%s: has no index, for its records are not in order (bcftools sort)", j->v->output);
    return dna_vcf_out_commit(j->vcf, e);
}

/* "12 SNV, 3 deletion" into out. */
static const char *list_counts(const int64_t *count, const char *const *name, int first, int n, char *out,
                               size_t size) {
    size_t used = 0;
    *out = 0;
    for (int i = first; i < n && used + 1 < size; i++)
        if (count[i])
            used += (size_t)snprintf(out + used, size - used, "%s%" PRId64 " %s", used ? ", " : "", count[i], name[i]);
    return *out ? out : "none";
}

static int write_page(const job *j, mb_provenance *p, mb_err *e) {
    static const char *const OF[DNA_EFFECTS] = {"llr, nats", "pll, nats", "l2", "cosine"};
    char kinds[256], reasons[512];
    mb_page *page = NULL;
    int rc = mb_page_create(&page, "Effects of variants", e);
    if (rc == MB_OK) {
        mb_page_fact(page, "model", "%s", j->v->model);
        mb_page_fact(page, "variants", "%s", j->run->args[0]);
        mb_page_fact(page, "reference", "%s", j->v->reference);
        mb_page_fact(page, "records", "%" PRId64 " with %" PRId64 " ALTs", j->done.records, j->done.alts);
        mb_page_fact(page, "scored", "%" PRId64 ": %s", j->done.scored,
                     list_counts(j->done.scored_of, dna_allele_kind_name, 0, DNA_ALLELE_KINDS, kinds, sizeof kinds));
        mb_page_fact(page, "not scored", "%s",
                     list_counts(j->done.reason, dna_reason_name, 1, DNA_REASONS, reasons, sizeof reasons));
        mb_page_fact(page, "REF not in the reference", "%" PRId64, j->counts.mismatches);
        mb_page_heading(page, "Scores");
        for (int k = 0; k < DNA_EFFECTS; k++)
            dna_value_sample_put(&j->sample[k], page, OF[k], "ALTs");
        rc = mb_page_write(page, p, j->v->report, e);
    }
    mb_page_destroy(page);
    return rc;
}

/* run.json comes last. */
static int commit(job *j, int rc, mb_provenance *p, mb_err *e) {
    const int to_file = !mb_path_is_direct(j->v->output); /* a pipe or a device has no neighbour */
    char *record = NULL;
    if (!rc && (to_file || j->v->report))
        rc = fill_provenance(j, p, e);
    if (!rc && to_file)
        rc = mb_result_record(&record, j->v->output, e);
    if (!rc && j->v->report)
        rc = write_page(j, p, e);
    rc = commit_output(j, rc, e);
    if (!rc && record)
        rc = mb_provenance_write(p, record, e);
    mb_free(record);
    return rc;
}

static void report(const job *j) {
    char kinds[256], reasons[512];
    mb_info("%" PRId64 " records, %" PRId64 " ALTs; scored %" PRId64 ": %s; not scored: %s", j->done.records,
            j->done.alts, j->done.scored,
            list_counts(j->done.scored_of, dna_allele_kind_name, 0, DNA_ALLELE_KINDS, kinds, sizeof kinds),
            list_counts(j->done.reason, dna_reason_name, 1, DNA_REASONS, reasons, sizeof reasons));
    if (j->v->normalize)
        mb_info("normalised: %" PRId64, j->counts.normalized);
    if (j->counts.mismatches)
        mb_warn("records whose REF the reference does not have, %s: %" PRId64,
                j->v->ref_mismatch == VARIANTS_MISMATCH_WARN ? "scored with the REF of the VCF" : "passed over",
                j->counts.mismatches);
    if (j->counts.missing)
        mb_warn("records of contigs that the reference does not have, passed over: %" PRId64, j->counts.missing);
    if (j->done.scored > 0 && j->seconds > 0)
        mb_info("%.0f variants per minute", (double)j->done.scored / j->seconds * 60);
}

static int compute(job *j, mb_err *e) {
    mb_provenance *p = NULL;
    variants_source *x = NULL;
    int rc = mb_provenance_start(&p, j->run, e);
    if (!rc)
        rc = variants_source_open(&x, &j->s, j->run->args[0], e);
    if (!rc) {
        const double start = mb_clock_seconds();
        j->s.effect.forward.progress = mb_progress_start("variants", "bp", j->scanned.work);
        rc = run_batches(j, x, e);
        mb_progress_finish(j->s.effect.forward.progress);
        j->seconds = mb_clock_seconds() - start;
    }
    rc = commit(j, rc, p, e);
    variants_source_close(x);
    mb_provenance_free(p);
    if (!rc)
        report(j);
    return rc;
}

static void print_plan(const job *j) {
    static const char *const format[] = {"", "VCF", "VCF, BGZF", "BCF", "TSV"};
    char kinds[256], reasons[512];
    printf("records      %" PRId64 "\nALTs         %" PRId64 "\nscored       %" PRId64 " (%s)\nnot scored   %s\n",
           j->scanned.records, j->scanned.alts, j->scanned.scored,
           list_counts(j->scanned.scored_of, dna_allele_kind_name, 0, DNA_ALLELE_KINDS, kinds, sizeof kinds),
           list_counts(j->scanned.reason, dna_reason_name, 1, DNA_REASONS, reasons, sizeof reasons));
    printf("scheme       %s, %s\nwindow       %" PRId64
           "\nwork         %.4g bases through the model, at most\noutput       "
           "%s\n",
           j->s.effect.causal ? "causal" : "masked", j->s.effect.both ? "both strands" : "one strand", j->v->window,
           j->scanned.work, format[j->s.format]);
}

static int run_variants(mb_run *run, mb_err *e) {
    job j;
    int rc = setup(&j, run, e);
    const int can_scan = dna_reader_can_rewind(run->args, run->nargs);
    if (!rc && run->globals.dry_run && !can_scan)
        rc = mb_fail(e, MB_USAGE, "--dry-run reads the input first, so it must be a file");
    if (!rc && can_scan)
        rc = scan(&j, e);
    if (!rc && run->globals.dry_run)
        print_plan(&j);
    else if (!rc)
        rc = compute(&j, e);
    for (int k = 0; k < DNA_EFFECTS; k++)
        dna_value_sample_fini(&j.sample[k]);
    dna_contig_map_fini(&j.s.map);
    dna_genome_close(j.s.genome);
    mb_model_destroy(j.model);
    return rc;
}

const mb_verb dna_variants_verb = {.name = "variants",
                                   .summary = "effects of the variants of a VCF",
                                   .usage = "IN.vcf|IN.bcf --reference FASTA -m MODEL [-o FILE] [options]",
                                   .details = DETAILS,
                                   .options = OPTIONS,
                                   .values_size = sizeof(variants_values),
                                   .min_args = 1,
                                   .max_args = 1,
                                   .run = run_variants};
