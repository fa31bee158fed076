/* dna-mamba reads: score, embed or classify reads and give them back with tags. This file: options, order of the work.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/hdf5_out.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "core/file.h"
#include "genomics/reads.h"
#include "core/result.h"
#include "genomics/run_options.h"
#include "genomics/value_page.h"

typedef struct reads_values {
    dna_input_values input;
    char *model, *output, *tag_prefix, *scratch, *report;
    double threshold;
    int64_t mask_stride, gzip;
    int what, format, filter_mode, existing_tags, index, scheme, softmax, strand, pool, precision;
} reads_values;

enum { STRAND_AUTO, STRAND_FORWARD, STRAND_BOTH, STRAND_CONJOIN };
enum { BATCH_READS = 4096 };

#define V reads_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
#define INPUT(KEY, TYPE, ...)                                                                                          \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, input.KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    OPTION(model, STRING, .letter = 'm', .meta = "MODEL",
           .help = "Folder with config.json and weights, or a name looked up in the local Hugging Face cache; to "
                   "classify, a folder that dna-mamba finetune made."),
    OPTION(output, STRING, .letter = 'o', .def = "-", .meta = "FILE",
           .help = "Result; its ending tells the format: .bam, .cram, .sam, .tsv, .h5 or .hdf5; - is TSV on standard "
                   "output unless --format says otherwise. FILE.run.json says how it was made."),
    OPTION(what, CHOICE, .def = "score", .choices = READS_WHAT_CHOICES,
           .help = "score: log-likelihood and bits per base. embed: the pooled hidden state after the final norm. "
                   "classify: what a fine-tuned model answers."),
    OPTION(format, CHOICE, .def = "auto", .choices = READS_FORMAT_CHOICES,
           .help = "Format of the result, where its name does not tell."),
    OPTION(filter_mode, CHOICE, .def = "drop", .choices = "drop|keep",
           .help = "Reads that the filters pass over: drop leaves them out, keep writes them as they are, without "
                   "tags (BAM, CRAM and SAM only)."),
    OPTION(tag_prefix, STRING, .def = "y", .meta = "LETTER",
           .help = "First letter of the tags: x, y, z, X, Y or Z, which the SAM specification leaves to users."),
    OPTION(existing_tags, CHOICE, .def = "error", .choices = "error|replace",
           .help = "A read that has a tag of such a name already: an error, or the tag is replaced."),
    OPTION(index, BOOL, .def = "true",
           .help = "Index a BAM (.bai, or .csi where a contig is longer than 2^29) or CRAM (.crai) whose header says "
                   "coordinate order."),
    OPTION(scheme, CHOICE, .def = "auto", .choices = SCORE_SCHEME_CHOICES, .help = "score: as in dna-mamba score."),
    OPTION(mask_stride, INT, .def = "8", .max = 1e9, .meta = "K", .help = "score: as in dna-mamba score."),
    OPTION(softmax, CHOICE, .def = "acgt", .choices = SCORE_SOFTMAX_CHOICES,
           .help = "score: probabilities over the four bases, or over all tokens."),
    OPTION(strand, CHOICE, .def = "auto", .choices = "auto|forward|both|conjoin",
           .help = "embed: as in dna-mamba embed. score: both averages a read and its reverse complement; auto is "
                   "forward."),
    OPTION(pool, CHOICE, .def = "mean", .choices = "mean|max", .help = "embed: over all positions of a read."),
    OPTION(threshold, FLOAT, .def = "0.5", .max = 1, .meta = "P",
           .help = "classify, several labels: those of at least this probability are named."),
    DNA_PRECISION_OPTION(V),
    OPTION(gzip, INT, .def = "0", .max = 9, .meta = "LEVEL", .help = "HDF5: compress datasets. 0: not."),
    DNA_SCRATCH_OPTION(V, "a read does"),
    INPUT(regions, STRING, .meta = "BED|REGION", .role = MB_ROLE_NAMED,
          .help = "Filter: reads that overlap any of these places: a BED file (0-based, half open), or one contig, "
                  "contig:from or contig:from-to (1-based, inclusive). With an index only those places are read; "
                  "without one all of the file is, in whatever order its reads are."),
    INPUT(min_mapq, INT, .def = "0", .max = 255, .meta = "Q",
          .help = "Filter: reads of at least this mapping quality."),
    INPUT(exclude_flags, STRING, .def = "0x900", .meta = "FLAGS",
          .help = "Filter: reads with none of these flags, as a number or as names (SECONDARY,SUPPLEMENTARY). 0: all."),
    INPUT(include_flags, STRING, .def = "0", .meta = "FLAGS", .help = "Filter: reads with all of these flags."),
    INPUT(read_strand, CHOICE, .def = "original", .choices = "original|stored",
          .help = "Give the model reads in the direction they were sequenced in, or as stored, in the direction of the "
                  "reference. Soft-clipped bases are part of a read."),
    INPUT(reference, STRING, .meta = "FASTA", .role = MB_ROLE_INPUT,
          .help =
              "Reference of a CRAM, read or written. Unset: as the file itself and REF_PATH say, never the network; "
              "a CRAM is then written with the bases in it."),
    INPUT(alphabet, CHOICE, .def = "auto", .choices = DNA_ALPHABET_CHOICES,
          .help = "How the model numbers its letters. auto: by its vocabulary."),
    INPUT(n_as, CHOICE, .def = "auto", .choices = DNA_N_CHOICES, .help = "Token that stands for N, as in embed."),
    INPUT(ambiguous, CHOICE, .def = "n", .choices = DNA_LETTER_CHOICES,
          .help = "Letters RYSWKMBDHV: taken as N and counted, or an error."),
    INPUT(batch, INT, .def = "1048576", .min = 1, .max = 1e12, .meta = "N",
          .help = "Run about so many bases together (and at most 4,096 reads). Does not change the results."),
    MB_REPORT_OPTION(V),
    {0}};
#undef INPUT
#undef OPTION
#undef V

static const char DETAILS[] =
    "Runs a model over the reads of a BAM, CRAM, SAM, FASTQ or FASTA file (told by content; - is standard input) and "
    "writes the same reads, in the same order and with everything they carry, plus tags; or a table with a row per read. "
    "Reads stream through: memory does not depend on their number. Any order of reads will do, and mates, RNEXT and the "
    "like are not touched. FASTQ and FASTA reads become unmapped records.\n"
    "\n"
    "Tags (with --tag-prefix y): yb:f bits per base and yn:i bases scored (score; yb is absent where no base is scored); "
    "ye:B,f the embedding (embed; up to 4,096 columns, and meant for small models: 128 columns are half a kilobyte a "
    "read); yc:Z the label, the labels joined by ;, or one character for each base of SEQ, and yp:B,f the probability of "
    "each label, or yv:B,f the numbers (classify). @CO lines of the header say which they are, with the names of the "
    "labels; a @PG line is chained to the last one.\n"
    "\n"
    "Reads without bases (SEQ *) are written as they are and counted. Secondary and supplementary alignments are passed "
    "over by default (--exclude-flags). TSV columns: name, flag, contig, start, end (0-based, half open), strand, mapq, "
    "length, n_count, then scored, loglik, bits_per_base; or answer and p_LABEL; or the numbers; or e0, e1, ... HDF5 "
    "holds the same as /reads, /score, /probabilities, /numbers and /embeddings. Tables have rows for the reads that were "
    "run only.\n"
    "\n"
    "The result appears when it is complete: input that is damaged, cut short or out of order, or a disk that fills, "
    "leaves nothing behind. The results do not depend on --threads, --memory or --batch.\n"
    "\n"
    "  dna-mamba reads genomics/data/phix174.fa -m genomics/models/multispecies -o build/phix.tsv\n"
    "  dna-mamba reads genomics/data/phix174.fa -m genomics/models/multispecies -o build/phix.bam\n"
    "  dna-mamba reads build/phix.bam -m genomics/models/multispecies --what embed --strand conjoin -o build/phix.h5\n"
    "  dna-mamba reads sorted.bam -m MODEL -o scored.bam --regions chr20:1-1000000 --min-mapq 30 --filter-mode keep";

typedef struct job {
    mb_run *run;
    const reads_values *v;
    mb_model *model;
    dna_head head;
    dna_alphabet alphabet;
    int format, layer;
    reads_in_options in_options;
    reads_run_options o;
    reads_tags tags;
    dna_items_options files; /* for what is checked and noted of inputs */
    htsThreadPool pool;
    reads_in *in;
    sam_hdr_t *header; /* as it is written */
    reads_out *out;
    reads_table *table;
    double loglik;
    int64_t scored;
    dna_value_sample sample; /* for the report */
} job;

/* ---- options --------------------------------------------------------------------------------------------------------
 */

static int ends_in(const char *path, const char *ending) {
    const size_t n = strlen(path), m = strlen(ending);
    return n > m && strcmp(path + n - m, ending) == 0;
}

static int set_format(job *j, mb_err *e) {
    static const struct {
        const char *ending;
        int format;
    } KNOWN[] = {{".bam", READS_BAM}, {".cram", READS_CRAM}, {".sam", READS_SAM},
                 {".tsv", READS_TSV}, {".h5", READS_HDF5},   {".hdf5", READS_HDF5}};
    const char *path = j->v->output;
    j->format = j->v->format;
    for (size_t i = 0; !j->format && i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (ends_in(path, KNOWN[i].ending))
            j->format = KNOWN[i].format;
    if (!j->format && mb_path_is_direct(path))
        j->format = READS_TSV;
    const int table = j->format == READS_TSV || j->format == READS_HDF5;
    if (!j->format)
        return mb_fail(e, MB_USAGE, "%s: which format? .bam, .cram, .sam, .tsv or .h5, or --format", path);
    if (j->format == READS_HDF5 && mb_path_is_direct(path))
        return mb_fail(e, MB_USAGE, "%s: HDF5 needs a file", path);
    if (j->format == READS_HDF5 && !mb_h5_available())
        return mb_h5_create(&(mb_h5 *){NULL}, path, e);
    if (j->v->gzip && j->format != READS_HDF5)
        return mb_fail(e, MB_USAGE, "--gzip is for HDF5");
    if (table && j->v->filter_mode == READS_KEEP)
        return mb_fail(e, MB_USAGE, "--filter-mode keep: a table has no rows for reads that were not run; write BAM");
    if (strlen(j->v->tag_prefix) != 1 || !strchr("xyzXYZ", *j->v->tag_prefix))
        return mb_fail(e, MB_USAGE, "--tag-prefix %s: expected one of x, y, z, X, Y, Z", j->v->tag_prefix);
    return MB_OK;
}

static int set_score(job *j, mb_err *e) {
    const int next_token = mb_model_is_causal(j->model) && mb_model_strands(j->model) == 1;
    const int scheme = j->v->scheme;
    if (!mb_model_config(j->model)->has_head)
        return mb_fail(e, MB_NOTSUP, "%s: this model has no language-model head, so it gives no probabilities",
                       j->v->model);
    if (scheme == SCORE_CAUSAL && !next_token)
        return mb_fail(e, MB_USAGE, "--scheme causal: this model sees both sides of each base; use masked");
    if (j->v->strand == STRAND_CONJOIN)
        return mb_fail(e, MB_USAGE, "--strand conjoin: is for embeddings; score has forward and both");
    j->o.score = (score_options){.model = j->model,
                                 .alphabet = &j->alphabet,
                                 .forward = j->o.forward,
                                 .scheme = scheme != SCORE_AUTO ? scheme
                                           : next_token         ? SCORE_CAUSAL
                                                                : SCORE_MASKED,
                                 .softmax = j->v->softmax,
                                 .mask_stride = j->v->mask_stride,
                                 .both = j->v->strand == STRAND_BOTH && mb_model_strands(j->model) == 1};
    return MB_OK;
}

static int set_embed(job *j, mb_err *e) {
    const int equivariant = mb_model_strands(j->model) == 2, D = mb_model_config(j->model)->D;
    const int strand = j->v->strand != STRAND_AUTO ? j->v->strand : equivariant ? STRAND_BOTH : STRAND_FORWARD;
    const int blocks = strand == STRAND_FORWARD ? 1 : 2;
    j->layer = mb_model_config(j->model)->n_layer;
    j->o.conjoin = strand == STRAND_CONJOIN;
    j->o.reverse_runs = blocks == 2 && !equivariant;
    j->o.columns = strand == STRAND_BOTH ? 2 * D : D;
    j->o.pool = (dna_pool_options){.kind = j->v->pool ? DNA_POOL_MAX : DNA_POOL_MEAN,
                                   .D = D,
                                   .n_layers = 1,
                                   .threads = (int)j->run->globals.threads,
                                   .layer = &j->layer,
                                   .blocks = blocks,
                                   .turn_second = equivariant && j->o.conjoin};
    if (j->o.columns > READS_MAX_TAG_COLUMNS && j->format != READS_TSV && j->format != READS_HDF5)
        return mb_fail(e, MB_NOTSUP, "an embedding of %d columns is too much for a tag; write .h5 or .tsv",
                       j->o.columns);
    return MB_OK;
}

static int set_classify(job *j, mb_err *e) {
    int rc = dna_head_load(&j->head, j->model, e);
    j->o.head = &j->head;
    j->o.threshold = j->v->threshold;
    j->o.columns = rc == MB_OK && j->head.task != DNA_TASK_BASES ? j->head.pool.C : 0;
    return rc;
}

static int set_model(job *j, const dna_policies *policies, mb_err *e) {
    const mb_globals *g = &j->run->globals;
    const mb_model_options options = {.device = g->device, .precision = (mbk_precision)j->v->precision};
    int rc = mb_model_open(&j->model, j->v->model, &options, e);
    if (rc != MB_OK)
        return rc;
    if (dna_alphabet_init(&j->alphabet, mb_model_config(j->model), policies, e))
        return mb_err_context(e, "%s", j->v->model);
    j->o.what = j->v->what;
    j->o.model = j->model;
    j->o.alphabet = &j->alphabet;
    j->o.forward = (mb_forward_options){
        .threads = (int)g->threads, .memory = g->memory, .scratch = j->v->scratch, .stop = mb_cli_stop()};
    rc = j->v->what == READS_SCORE ? set_score(j, e) : j->v->what == READS_EMBED ? set_embed(j, e) : set_classify(j, e);
    j->tags = (reads_tags){.prefix = *j->v->tag_prefix,
                           .replace = j->v->existing_tags == READS_EXISTING_REPLACE,
                           .what = j->v->what,
                           .task = j->head.task,
                           .turns = !j->in_options.alignment.as_stored,
                           .columns = j->o.columns,
                           .labels = j->head.label};
    return rc == MB_OK ? mb_forward_check_memory(j->model, &j->o.forward, e) : rc;
}

static int set_up(job *j, mb_run *run, mb_err *e) {
    dna_policies policies;
    *j = (job){.run = run, .v = run->values};
    if (!j->v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER or -m org/name");
    int rc = set_format(j, e);
    if (rc == MB_OK)
        rc = dna_input_resolve(&j->v->input, run->args, run->nargs, &j->files, &policies, e);
    if (rc != MB_OK)
        return rc;
    j->in_options = (reads_in_options){.regions = j->v->input.regions,
                                       .alignment = j->files.reader.alignment,
                                       .keep = j->v->filter_mode == READS_KEEP,
                                       .batch_tokens = j->files.batch_tokens,
                                       .batch_items = BATCH_READS};
    return set_model(j, &policies, e);
}

/* ---- the order of the work ------------------------------------------------------------------------------------------
 */

static int open_input(job *j, mb_err *e) {
    const int threads = (int)j->run->globals.threads;
    if (threads > 1 && !(j->pool.pool = hts_tpool_init(threads)))
        return mb_fail(e, MB_NOMEM, "no threads to read and write with");
    return reads_in_open(&j->in, j->run->args[0], &j->in_options, &j->alphabet, j->pool.pool ? &j->pool : NULL, e);
}

static void tell(const job *j, double seconds) {
    const reads_counts c = reads_in_count(j->in);
    char rate[32], bases[32];
    if (c.letters.ambiguous)
        mb_warn("%" PRId64 " ambiguity codes were taken as N (--ambiguous error refuses them)", c.letters.ambiguous);
    if (c.passed_over)
        mb_info("%" PRId64 " reads were passed over by flags, mapping quality or place%s", c.passed_over,
                j->in_options.keep ? " and written as they are" : "");
    if (c.empty)
        mb_info("%" PRId64 " reads have no bases%s", c.empty,
                j->format == READS_BAM || j->format == READS_CRAM || j->format == READS_SAM
                    ? " and were written as they are"
                    : "");
    if (j->v->what == READS_SCORE && j->scored)
        mb_info("%.4f bits per base over %" PRId64 " bases", -j->loglik / ((double)j->scored * log(2)), j->scored);
    if (seconds > 0)
        mb_info("%" PRId64 " of %" PRId64 " reads: %s reads/s, %s bases/s", c.taken, c.reads,
                mb_human_count((double)c.taken / seconds, rate), mb_human_count((double)c.bases / seconds, bases));
}

static int put_batch(job *j, const reads_batch *b, mb_err *e) {
    reads_results r = {0};
    int rc = reads_run(&j->o, b, &r, e);
    for (int i = 0; rc == MB_OK && r.bits && i < r.n; i++) {
        j->loglik += r.loglik[i];
        j->scored += r.scored[i];
        rc = j->v->report ? dna_value_sample_add(&j->sample, r.bits[i], e) : MB_OK;
    }
    if (rc == MB_OK)
        rc = j->out ? reads_out_put(j->out, b, &r, e) : reads_table_put(j->table, b, &r, e);
    reads_results_fini(&r);
    return rc;
}

static int run_batches(job *j, mb_err *e) {
    reads_batch b = {0};
    int rc = MB_OK, more = 0;
    while (rc == MB_OK && (more = reads_in_next(j->in, &b, e)) > 0) {
        rc = put_batch(j, &b, e);
        if (rc == MB_OK && atomic_load(mb_cli_stop()))
            rc = mb_fail(e, MB_STOPPED, "stopped on request");
    }
    reads_batch_fini(&b);
    return rc == MB_OK ? more : rc;
}

static int open_output(job *j, const reads_out_options *o, const reads_table_options *t, mb_err *e) {
    int rc = dna_check_output(j->v->output, &j->files, e);
    if (rc == MB_OK && j->v->report)
        rc = dna_check_output(j->v->report, &j->files, e);
    if (rc == MB_OK && !(j->header = sam_hdr_dup(reads_in_header(j->in))))
        rc = mb_fail(e, MB_NOMEM, "no memory for a header");
    if (rc != MB_OK)
        return rc;
    if (j->format == READS_TSV || j->format == READS_HDF5)
        return reads_table_open(&j->table, t, j->header, e);
    rc = reads_tags_declare(&j->tags, j->header, !reads_in_is_text(j->in), j->run->argc, j->run->argv, e);
    return rc == MB_OK ? reads_out_open(&j->out, o, j->header, j->pool.pool ? &j->pool : NULL, e) : rc;
}

static int fill_provenance(const job *j, mb_provenance *p, mb_err *e) {
    const reads_counts c = reads_in_count(j->in);
    const double number[] = {(double)c.reads, (double)c.taken, (double)c.passed_over, (double)c.empty, (double)c.bases};
    static const char *const NAME[] = {"reads", "run", "passed_over", "without_bases", "bases"};
    int rc = mb_provenance_file(p, "model", mb_model_weights_path(j->model), e);
    if (rc == MB_OK)
        rc = dna_note_inputs(p, &j->files, e);
    for (size_t i = 0; rc == MB_OK && i < sizeof number / sizeof *number; i++)
        if (mb_provenance_number(p, NAME[i], number[i]) != MB_OK)
            rc = mb_fail(e, MB_NOMEM, "no memory for the record of this run");
    return rc;
}

static int write_page(const job *j, mb_provenance *p, mb_err *e) {
    const reads_counts c = reads_in_count(j->in);
    mb_page *page = NULL;
    int rc = mb_page_create(&page, "Reads", e);
    if (rc == MB_OK) {
        mb_page_fact(page, "model", "%s", j->v->model);
        mb_page_fact(page, "input", "%s", j->run->args[0]);
        mb_page_fact(page, "reads", "%" PRId64, c.reads);
        mb_page_fact(page, "run", "%" PRId64 " of %" PRId64 " bases", c.taken, c.bases);
        mb_page_fact(page, "passed over", "%" PRId64, c.passed_over);
        mb_page_fact(page, "without bases", "%" PRId64, c.empty);
        if (j->v->what == READS_SCORE && j->scored)
            mb_page_fact(page, "bits per base", "%.4f", -j->loglik / ((double)j->scored * log(2)));
        dna_value_sample_put(&j->sample, page, "bits per base that the model needs", "reads");
        rc = mb_page_write(page, p, j->v->report, e);
    }
    mb_page_destroy(page);
    return rc;
}

/* HDF5 is put in place by its own module: run.json of an earlier run goes before. */
static int remove_record(const job *j, mb_err *e) {
    char *record = NULL;
    int rc = mb_result_record(&record, j->v->output, e);
    mb_free(record);
    return rc;
}

static int finish(job *j, mb_provenance *p, int rc, mb_err *e) {
    mb_out *ready[2] = {NULL, NULL};
    if (rc == MB_OK)
        rc = fill_provenance(j, p, e);
    if (rc == MB_OK && j->v->report)
        rc = write_page(j, p, e);
    if (rc == MB_OK && j->format == READS_HDF5)
        rc = remove_record(j, e);
    if (rc != MB_OK) {
        reads_out_abort(j->out);
        reads_table_abort(j->table);
    } else {
        rc = j->out ? reads_out_finish(j->out, ready, e) : reads_table_finish(j->table, &ready[1], e);
    }
    j->out = NULL;
    j->table = NULL;
    return mb_result_commit(j->v->output, ready, 2, p, rc, e);
}

static int compute(job *j, mb_err *e) {
    const reads_out_options out = {.path = j->v->output,
                                   .input = j->run->args[0],
                                   .format = j->format,
                                   .reference = j->v->input.reference,
                                   .index = j->v->index,
                                   .tags = &j->tags};
    const reads_table_options table = {.path = j->v->output,
                                       .input = j->run->args[0],
                                       .format = j->format,
                                       .gzip = (int)j->v->gzip,
                                       .model = j->v->model,
                                       .tags = &j->tags};
    mb_provenance *p = NULL;
    const double start = mb_clock_seconds();
    int rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = open_output(j, &out, &table, e);
    if (rc == MB_OK) {
        j->o.forward.progress = j->o.score.forward.progress = mb_progress_start("reads", "bp", 0);
        rc = run_batches(j, e);
        mb_progress_finish(j->o.forward.progress);
    }
    rc = finish(j, p, rc, e);
    mb_provenance_free(p);
    if (rc == MB_OK)
        tell(j, mb_clock_seconds() - start);
    return rc;
}

/* Reads all of the input: what there is to run. */
static int dry_run(job *j, mb_err *e) {
    reads_batch b = {0};
    int more;
    while ((more = reads_in_next(j->in, &b, e)) > 0)
        ;
    reads_batch_fini(&b);
    const reads_counts c = reads_in_count(j->in);
    if (more == 0)
        printf("reads        %" PRId64 "\nrun          %" PRId64 " of %" PRId64 " bases\npassed over  %" PRId64
               "\nno bases     %" PRId64 "\noutput       %s (dry run: nothing was written)\n",
               c.reads, c.taken, c.bases, c.passed_over, c.empty, j->v->output);
    return more;
}

static int run_reads(mb_run *run, mb_err *e) {
    job j;
    int rc = set_up(&j, run, e);
    if (rc == MB_OK)
        rc = open_input(&j, e);
    if (rc == MB_OK)
        rc = run->globals.dry_run ? dry_run(&j, e) : compute(&j, e);
    dna_value_sample_fini(&j.sample);
    reads_in_close(j.in);
    if (j.header)
        sam_hdr_destroy(j.header);
    if (j.pool.pool)
        hts_tpool_destroy(j.pool.pool);
    dna_head_fini(&j.head);
    mb_model_destroy(j.model);
    return rc;
}

const mb_verb dna_reads_verb = {.name = "reads",
                                .summary = "scores, embeddings or classes of reads, as BAM tags or a table",
                                .usage = "INPUT -m MODEL [--what score|embed|classify] [-o FILE] [options]",
                                .details = DETAILS,
                                .options = OPTIONS,
                                .values_size = sizeof(reads_values),
                                .min_args = 1,
                                .max_args = 1,
                                .run = run_reads};
