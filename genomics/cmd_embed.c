/* dna-mamba embed: sequences in, hidden states of a model out. This file: the options, and the order of the work. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "core/file.h"
#include "core/hdf5_out.h"
#include "core/mem.h"
#include "core/page.h"
#include "core/result.h"
#include "genomics/commands.h"
#include "genomics/embed.h"
#include "genomics/run_options.h"

#define V embed_values
static const mb_option OPTIONS[] = {
    {.key = "model",
     .letter = 'm',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, model),
     .meta = "MODEL",
     .help =
         "Folder with config.json and weights, or a name such as "
         "kuleshov-group/caduceus-ps_seqlen-131k_d_model-256_n_layer-16 looked up in the local Hugging Face cache."},
    {.key = "output",
     .letter = 'o',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, output),
     .meta = "FILE",
     .help =
         "Result; its ending tells the format: .npy (with FILE.index.tsv), .h5 or .hdf5, .tsv, .tsv.gz; - is TSV on "
         "standard output. FILE.run.json says how it was made."},
    {.key = "pool",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, pool),
     .def = "mean",
     .choices = DNA_POOL_CHOICES,
     .help = "none: a row per base. mean, max: a row per sequence (or bin), over all positions, N too. center: the row "
             "of position length/2, from 0."},
    {.key = "bin",
     .type = MB_OPT_INT,
     .offset = offsetof(V, bin),
     .def = "0",
     .max = 1e15,
     .meta = "N",
     .help = "Pool over bins of N bases of a sequence that is run whole; the last bin is what is left. 0: no bins."},
    {.key = "layer",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, layer),
     .def = "last",
     .meta = "LIST",
     .help =
         "Which hidden states: last (after the final norm), or l, the stream that enters layer l (0: the embedding), "
         "or several as 0,4,last, or all. Several, in ascending order, give arrays of shape (rows, layers, columns) and TSV columns lL_eC."},
    {.key = "stream",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, stream),
     .def = "residual",
     .choices = "residual|original",
     .help = "What is meant by the stream that enters layer l: residual, the sum of the embedding and of all that "
             "the layers before added; original, what the layer before added, which the original Caduceus code lists "
             "as hidden_states[l]. The same for the last."},
    {.key = "strand",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, strand),
     .def = "auto",
     .choices = EMBED_STRAND_CHOICES,
     .help =
         "forward: the run over the sequence, d_model columns. both: next to it the run over the reverse complement, "
         "put back in forward order; for RC-equivariant models these 2 d_model columns are the original's hidden "
         "state. conjoin: the average of the two, d_model columns, the same for a sequence and its reverse "
         "complement (but for the order of rows). auto: both for RC-equivariant models, forward for others, where "
         "both runs the model twice."},
    {.key = "dtype",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, dtype),
     .def = "f32",
     .choices = "f32|f16",
     .help = "Type of the numbers written. Pooling is done in double before."},
    DNA_PRECISION_OPTION(V),
    {.key = "format",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, format),
     .def = "auto",
     .choices = EMBED_FORMAT_CHOICES,
     .help = "Format of the result, where its name does not tell."},
    {.key = "gzip",
     .type = MB_OPT_INT,
     .offset = offsetof(V, gzip),
     .def = "0",
     .max = 9,
     .meta = "LEVEL",
     .help = "HDF5: compress datasets. 0: not."},
    {.key = "resume",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, resume),
     .role = MB_ROLE_MACHINE,
     .def = "false",
     .help =
         "Go on after the last batch that an interrupted run with the same options saved (FILE.partial); the result "
         "is the same to the byte. Nothing there: begin. Already finished by the same options: nothing to do."},
    {.key = "scan",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, scan),
     .def = "true",
     .help = "Read all input once before the work, so that its errors are told at once. Not for standard input."},
    DNA_SCRATCH_OPTION(V, "a sequence does"),
    MB_REPORT_OPTION(V),
    DNA_INPUT_OPTIONS(V, input),
    {0}};
#undef V

static const char DETAILS[] =
    "Writes the hidden states of a model over DNA sequences: FASTA or FASTQ (plain, gzip, BGZF), SAM, BAM or CRAM, "
    "told by content; - is standard input. Each record, or with --regions each region, is one sequence, and is run "
    "exactly, whatever its length and --memory: a chromosome needs no windows. One base is one token; no [CLS] or "
    "[SEP] is added and nothing is padded. Lower-case letters count as upper case, N and ambiguity codes as N (see "
    "--n-as), U as T.\n"
    "\n"
    "A .npy result has rows in input order; FILE.index.tsv tells which are whose: row_start, row_end (half open), "
    "name, offset and length within the record, contig, start, end (0-based, half open), strand, n_count. HDF5 holds "
    "/embeddings (pooled) or /sequences/NAME (one dataset per sequence, with its place as attributes) and /index. "
    "TSV rows carry these columns themselves. Reads: start and end are those of the alignment.\n"
    "\n"
    "The result appears when it is complete. Until then its rows are in FILE.partial, and SIGINT, SIGTERM or SIGUSR2 "
    "(exit code 75), a full disk or a crash lose at most one --batch: repeat the command with --resume. The bytes do "
    "not depend on --threads or --memory.\n"
    "\n"
    "  dna-mamba embed genomics/data/phix174.fa -m genomics/models/multispecies -o build/phix.npy\n"
    "  dna-mamba embed genomics/data/lambda.fa.gz -m genomics/models/multispecies -o build/lambda.h5 --bin 1000\n"
    "  dna-mamba embed genomics/data/lambda.fa.gz -m genomics/models/multispecies -o build/genes.tsv --regions "
    "genomics/data/lambda.bed\n"
    "  dna-mamba embed genomics/data/phix174.fa -m genomics/models/multispecies -o build/whole.npy --pool none --dtype f16 "
    "--dry-run\n"
    "\n"
    "  python3 -c \"import numpy; print(numpy.load('build/phix.npy').shape)\"";

/* The same options over the same input gave a result that stands: its run.json names the digest. */
static int is_done_before(const embed *j) {
    char *path = mb_asprintf("%s.run.json", j->output), *text = NULL;
    size_t size;
    mb_err ignored = {0};
    int done = path && j->scanned && mb_file_exists(j->output) && mb_file_exists(path) &&
               mb_file_read_all(path, (size_t)64 << 20, &text, &size, &ignored) == MB_OK && strstr(text, j->digest);
    mb_free(text);
    mb_free(path);
    return done;
}

static int open_output(embed *j, mb_err *e) {
    const int indexed = j->format == EMBED_NPY || j->format == EMBED_HDF5;
    char *index = indexed ? mb_asprintf("%s.index.tsv", j->output) : NULL;
    if (indexed && !index)
        return mb_fail(e, MB_NOMEM, "no memory for the name of the index");
    int rc = embed_check_space(j, e);
    if (!rc)
        rc = dna_partial_open(&j->partial, j->output, index, j->digest, j->v->resume,
                              j->format == EMBED_NPY ? EMBED_NPY_HEAD : 0, e);
    mb_free(index);
    return rc;
}

/* A batch that the interrupted run saved: the input must be what it was. */
static int skip_batch(embed *j, const dna_batch *b, int64_t number, mb_err *e) {
    if (b->crc != dna_partial_input_crc(j->partial, number))
        return mb_fail(e, MB_USAGE,
                       "%s: the input is not what it was: sequences from number %" PRId64
                       " ('%.100s') on differ from the interrupted run; leave --resume out to start over",
                       j->output, b->first + 1, b->item[0].name);
    mb_progress_add(j->progress, (double)b->tokens * (j->reverse_runs ? 2 : 1));
    return MB_OK;
}

static int run_batches(embed *j, mb_err *e) {
    dna_items *items = NULL;
    dna_batch b = {0};
    const int64_t saved = dna_partial_batches(j->partial);
    uint32_t crc = 0;
    int rc = dna_items_open(&items, &j->items, &j->alphabet, e), more = 0;
    for (int64_t number = 0; !rc && (more = dna_items_next(items, &b, e)) > 0; number++) {
        crc = (uint32_t)crc32_z(crc, (const Bytef *)&b.crc, sizeof b.crc);
        rc = number < saved ? skip_batch(j, &b, number, e) : embed_batch(j, &b, e);
        if (!rc && atomic_load(j->stop))
            rc = mb_fail(e, MB_STOPPED, "stopped on request");
    }
    if (!rc && more < 0)
        rc = more;
    if (!rc && j->scanned && crc != j->totals.crc)
        rc = mb_fail(e, MB_FAIL, "the input was changed while it was being read");
    if (!rc && dna_partial_items(j->partial) == 0 && j->items.shards <= 1)
        rc = mb_fail(e, MB_FORMAT, "the input gives no sequence (reads passed over, empty records or dropped windows)");
    if (!rc && !j->scanned)
        dna_items_warn(items);
    dna_batch_fini(&b);
    dna_items_close(items);
    return rc;
}

/* The record of the run, and the page for people, whose record is the same. */
static int write_provenance(embed *j, dna_partial *p, mb_err *e) {
    char *path = mb_asprintf("%s.run.json", j->output);
    int rc = path ? mb_provenance_file(j->provenance, "model", mb_model_weights_path(j->model), e)
                  : mb_fail(e, MB_NOMEM, "no memory for the name of run.json");
    if (!rc)
        rc = dna_note_inputs(j->provenance, &j->items, e);
    if (!rc)
        rc = mb_provenance_note(j->provenance, "digest", j->digest);
    if (!rc)
        rc = mb_provenance_note(j->provenance, "alphabet", j->alphabet.name);
    if (!rc)
        rc = mb_provenance_number(j->provenance, "sequences", (double)dna_partial_items(p));
    if (!rc)
        rc = mb_provenance_number(j->provenance, "rows", (double)dna_partial_rows(p));
    if (!rc && j->v->report)
        rc = embed_page_write(j, p, e);
    if (!rc)
        rc = mb_provenance_write(j->provenance, path, e);
    mb_free(path);
    return rc;
}

/* An HDF5 file is made here, which may take long or fail: run.json comes after it, and that of an earlier result goes
 * before. */
static int make_hdf5(embed *j, dna_partial *p, mb_err *e) {
    char *record = NULL;
    int rc = mb_result_record(&record, j->output, e);
    mb_free(record);
    if (!rc)
        rc = embed_make_hdf5(j, p, e);
    return rc ? rc : write_provenance(j, p, e);
}

/* What comes last before the result appears. */
static int make_rest(void *job, dna_partial *p, mb_err *e) {
    embed *j = job;
    dna_text end = {0};
    int rc = MB_OK;
    if (j->format == EMBED_HDF5)
        return make_hdf5(j, p, e);
    if (j->format == EMBED_TSV_GZ && !(rc = embed_bgzf("", 0, &end, e)))
        rc = dna_partial_put(p, end.data, end.n, dna_partial_end(p), e);
    dna_text_fini(&end);
    if (!rc && !dna_partial_is_direct(p))
        rc = write_provenance(j, p, e);
    return rc;
}

static int finish(embed *j, mb_err *e) {
    char head[EMBED_NPY_HEAD];
    const int64_t items = dna_partial_items(j->partial), rows = dna_partial_rows(j->partial);
    embed_npy_head(j, rows, head);
    const dna_ending ending = {
        .head = j->format == EMBED_NPY ? head : NULL, .raw = j->format == EMBED_HDF5, .make = make_rest, .user = j};
    int rc = dna_partial_complete(j->partial, e);
    if (rc)
        return rc;
    dna_partial *p = j->partial;
    j->partial = NULL;
    if ((rc = dna_partial_finish(p, &ending, e)))
        return rc;
    const long long overflows = atomic_load(&j->overflows);
    if (overflows)
        mb_warn("%lld values are beyond the range of f16 and were written as infinite; --dtype f32 holds them",
                overflows);
    if (strcmp(j->output, "-") != 0)
        mb_info("%s: %" PRId64 " sequence%s, %" PRId64 " row%s of %" PRId64 " columns", j->output, items,
                items == 1 ? "" : "s", rows, rows == 1 ? "" : "s", j->columns);
    return MB_OK;
}

static int compute(embed *j, mb_err *e) {
    int rc = open_output(j, e);
    if (rc)
        return rc;
    if (!dna_partial_is_complete(j->partial)) {
        if (dna_partial_batches(j->partial))
            mb_info("%s: resuming after %" PRId64 " sequences", j->output, dna_partial_items(j->partial));
        j->progress = mb_progress_start("embed", "bp", (double)j->totals.bases * (j->reverse_runs ? 2 : 1));
        rc = run_batches(j, e);
        mb_progress_finish(j->progress);
        j->progress = NULL;
    }
    if (!rc)
        return finish(j, e);
    const int64_t saved = dna_partial_items(j->partial);
    if (dna_partial_leave(j->partial) && e)
        mb_info("%s.partial keeps %" PRId64 " sequences; repeat with --resume to go on from there", j->output, saved);
    return rc;
}

/* A folder that is missing or may not be written is told before the input is read. */
static int check_output(const embed *j, mb_err *e) {
    mb_out *out = NULL;
    int rc = dna_check_output(j->output, &j->items, e);
    const int kept = (j->format == EMBED_NPY || j->format == EMBED_HDF5) && !mb_path_is_direct(j->output);
    if (!rc && j->v->report && !kept)
        rc = mb_fail(e, MB_USAGE, "--report: is made from the rows of a .npy or .h5 result; -o %s has none to look at",
                     j->output);
    if (!rc && j->v->report)
        rc = dna_check_output(j->v->report, &j->items, e);
    if (!rc && j->v->report && !mb_path_is_direct(j->v->report)) {
        rc = mb_out_create(&out, j->v->report, e);
        mb_out_abort(out);
        out = NULL;
    }
    if (!rc && !mb_path_is_direct(j->output)) /* opening and closing a pipe would end its reader */
        rc = mb_out_create(&out, j->output, e);
    mb_out_abort(out);
    return rc;
}

static int run_embed(mb_run *run, mb_err *e) {
    embed j;
    int rc = embed_setup(&j, run, e);
    const int can_scan = !rc && dna_reader_can_rewind(run->args, run->nargs);
    j.stop = mb_cli_stop();
    if (!rc && j.format == EMBED_HDF5 && !mb_h5_available())
        rc = mb_h5_create(&(mb_h5 *){NULL}, j.output, e);
    if (!rc)
        rc = mb_provenance_start(&j.provenance, run, e);
    if (!rc)
        rc = check_output(&j, e);
    if (!rc && run->globals.dry_run && !can_scan)
        rc = mb_fail(e, MB_USAGE, "--dry-run reads the input first, so it must be a file");
    if (!rc && can_scan && (j.v->scan || run->globals.dry_run))
        rc = embed_scan(&j, run->globals.dry_run, e);
    if (!rc && run->globals.dry_run) {
        rc = embed_print_plan(&j, e);
    } else if (!rc && !(rc = embed_digest(&j, e))) {
        if (j.v->resume && is_done_before(&j))
            mb_info("%s: is complete already, by these options from this input", j.output);
        else
            rc = compute(&j, e);
    }
    mb_provenance_free(j.provenance);
    embed_fini(&j);
    return rc;
}

const mb_verb dna_embed_verb = {.name = "embed",
                                .summary = "hidden states of a model over sequences, reads or regions",
                                .usage = "INPUT... -m MODEL -o FILE [options]",
                                .details = DETAILS,
                                .options = OPTIONS,
                                .values_size = sizeof(embed_values),
                                .min_args = 1,
                                .max_args = -1,
                                .run = run_embed};
