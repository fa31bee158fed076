/* dna-mamba nearest: for each row of one embedding file the k nearest rows of another. This file: options, the files,
 * what is printed. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "core/nearest.h"
#include "core/npy_in.h"
#include "genomics/commands.h"
#include "genomics/input_options.h"
#include "genomics/places.h"
#include "core/result.h"

typedef struct nearest_values {
    char *index, *output;
    int64_t k;
    int measure, exclude_self;
} nearest_values;

#define V nearest_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    OPTION(index, STRING, .letter = 'i', .meta = "INDEX.npy", .role = MB_ROLE_INPUT,
           .help = "The rows to search, as dna-mamba embed writes them (f32 or f16). The file is mapped, so it may be "
                   "larger than memory."),
    OPTION(output, STRING, .letter = 'o', .def = "-", .meta = "FILE",
           .help = "TSV, a line per query and neighbour; - is standard output. FILE.run.json says how it was made."),
    OPTION(k, INT, .letter = 'k', .def = "10", .min = 1, .max = 1000000, .meta = "N",
           .help = "Neighbours of each query; all there are when the index has fewer rows."),
    OPTION(measure, CHOICE, .def = "cosine", .choices = MB_NEAREST_CHOICES,
           .help = "cosine: of the angle between the rows, the largest first. l2: distance, the smallest first. dot: "
                   "inner product, the largest first."),
    OPTION(exclude_self, BOOL, .def = "false",
           .help = "A row is not its own neighbour. Only where the query is the index: the same file."),
    {0}};
#undef OPTION
#undef V

static const char DETAILS[] =
    "Finds, for each row of QUERY.npy, the k nearest rows of INDEX.npy: reads, genes, bins or windows that a model sees "
    "alike. Both are files of dna-mamba embed with the same columns (same model, --pool, --layer, --strand); rows of "
    "several layers count as one long row. The search is exact: every pair is looked at, and what is printed is what "
    "computing all pairs in double precision gives; equal values are in the order of rows. The bytes do not depend on "
    "--threads or --memory.\n"
    "\n"
    "Columns: query_row, query, query_part, rank (from 1), the value (cosine, l2 or dot), row, name, part, contig, "
    "start, end, strand. Names and places are those of QUERY.npy.index.tsv and INDEX.npy.index.tsv: of the sequence "
    "that a row belongs to; part is the row within it, from 0 (the bin, or the base with --pool none). Where there is "
    "no such file, names are '.'.\n"
    "\n"
    "Rows that hold NaN or an infinity, and rows of zeros for cosine, are nobody's neighbours and, as queries, get no "
    "lines; a warning counts them.\n"
    "\n"
    "The query must be embedded first, by the model that embedded the index:\n"
    "\n"
    "  dna-mamba embed genomics/data/lambda.fa.gz -m genomics/models/multispecies -o build/genes.npy --regions "
    "genomics/data/lambda.bed\n"
    "  dna-mamba embed genomics/data/phix174.fa -m genomics/models/multispecies -o build/phix.npy --bin 500\n"
    "  dna-mamba nearest build/phix.npy -i build/genes.npy -k 3\n"
    "  dna-mamba nearest build/genes.npy -i build/genes.npy -k 1 --exclude-self --measure l2 -o build/alike.tsv";

typedef struct table { /* an array and the names of its rows */
    const char *path;
    char *places_path;
    mb_npy_in npy;
    mb_nearest_rows rows;
    dna_places places;
    int named;
} table;

typedef struct job {
    mb_run *run;
    const nearest_values *v;
    table query, index;
    mb_nearest_options o;
    int64_t block; /* queries at a time */
    mb_out *out;
    int64_t bad_query, bad_index, again;
} job;

static int open_places(table *t, mb_err *e) {
    t->places_path = mb_asprintf("%s.index.tsv", t->path);
    if (!t->places_path)
        return mb_fail(e, MB_NOMEM, "no memory for the name of an index");
    if (!mb_file_exists(t->places_path)) {
        mb_warn("%s: there is no such file; rows of %s have numbers, not names", t->places_path, t->path);
        return MB_OK;
    }
    int rc = dna_places_open(&t->places, t->places_path, t->rows.n, e);
    t->named = rc == MB_OK;
    return rc;
}

static int open_table(table *t, const char *path, mb_err *e) {
    t->path = path;
    int rc = mb_npy_in_open(&t->npy, path, e);
    if (rc != MB_OK)
        return rc;
    const mb_npy_in *n = &t->npy;
    if (n->dtype != MB_F32 && n->dtype != MB_F16)
        return mb_fail(e, MB_NOTSUP, "%s: holds %s; embeddings are F32 or F16", path, mb_dtype_name(n->dtype));
    if (n->ndim < 2)
        return mb_fail(e, MB_FORMAT, "%s: has one dimension; expected rows of columns", path);
    if (n->row > MB_NEAREST_MAX_COLUMNS)
        return mb_fail(e, MB_NOTSUP, "%s: rows of %" PRId64 " columns; at most %d are searched", path, n->row,
                       MB_NEAREST_MAX_COLUMNS);
    if (n->shape[0] == 0)
        return mb_fail(e, MB_FORMAT, "%s: holds no rows", path);
    t->rows = (mb_nearest_rows){n->data, n->dtype, n->shape[0], (int)n->row};
    return open_places(t, e);
}

static void close_table(table *t) {
    dna_places_close(&t->places);
    mb_npy_in_close(&t->npy);
    mb_free(t->places_path);
}

/* Whether both are the same mapped file, by whatever name. */
static int is_same_file(const char *a, const char *b) {
    char *const one[] = {(char *)(uintptr_t)a};
    const dna_items_options o = {.inputs = one, .n_inputs = 1};
    mb_err ignored = {0};
    return dna_check_output(b, &o, &ignored) != MB_OK;
}

static int set_up(job *j, mb_run *run, mb_err *e) {
    *j = (job){.run = run, .v = run->values};
    if (!j->v->index)
        return mb_fail(e, MB_USAGE, "which rows to search? -i INDEX.npy, as dna-mamba embed makes it");
    int rc = open_table(&j->index, j->v->index, e);
    if (rc == MB_OK)
        rc = open_table(&j->query, run->args[0], e);
    if (rc != MB_OK)
        return rc;
    if (j->query.rows.D != j->index.rows.D)
        return mb_fail(e, MB_FORMAT,
                       "%s has %d columns, %s has %d: embed both with the same model, --layer and --strand",
                       j->query.path, j->query.rows.D, j->index.path, j->index.rows.D);
    if (j->v->exclude_self && !is_same_file(j->query.path, j->index.path))
        return mb_fail(e, MB_USAGE, "--exclude-self: the query is not the index, so no row is itself");
    j->o = (mb_nearest_options){.measure = j->v->measure,
                                .k = (int)(j->v->k < j->index.rows.n ? j->v->k : j->index.rows.n),
                                .exclude_self = j->v->exclude_self,
                                .threads = (int)run->globals.threads,
                                .memory = run->globals.memory,
                                .device = run->globals.device,
                                .stop = mb_cli_stop()};
    j->block = mb_nearest_block(j->query.rows.n, j->index.rows.D, &j->o);
    return MB_OK;
}

/* ---- output ---------------------------------------------------------------------------------------------------------
 */

static const char *const MEASURE[] = {"cosine", "l2", "dot"};

static dna_place place_of(const table *t, int64_t row) {
    const dna_span none = {".", 1}, unplaced = {"-1", 2};
    return t->named ? dna_places_find(&t->places, row) : (dna_place){none, none, unplaced, unplaced, none, 0};
}

static int print_query(const job *j, int64_t row, const mb_nearest_hit *hit, mb_err *e) {
    const dna_place q = place_of(&j->query, row);
    int rc = MB_OK;
    for (int c = 0; rc == MB_OK && c < j->o.k && hit[c].row >= 0; c++) {
        const dna_place p = place_of(&j->index, hit[c].row);
        rc = mb_out_printf(
            j->out, e,
            "%" PRId64 "\t%.*s\t%" PRId64 "\t%d\t%.9g\t%" PRId64 "\t%.*s\t%" PRId64 "\t%.*s\t%.*s\t%.*s\t%.*s\n", row,
            q.name.n, q.name.at, q.part, c + 1, hit[c].value, hit[c].row, p.name.n, p.name.at, p.part, p.contig.n,
            p.contig.at, p.start.n, p.start.at, p.end.n, p.end.at, p.strand.n, p.strand.at);
    }
    return rc;
}

static int run_blocks(job *j, mb_err *e) {
    mb_nearest_hit *hit = mb_calloc((size_t)j->block, (size_t)j->o.k * sizeof *hit);
    int rc = hit ? mb_out_printf(j->out, e,
                                 "query_row\tquery\tquery_part\trank\t%s\trow\tname\tpart\tcontig\tstart\tend"
                                 "\tstrand\n",
                                 MEASURE[j->o.measure])
                 : mb_fail(e, MB_NOMEM, "no memory for the neighbours of %" PRId64 " queries", j->block);
    for (int64_t from = 0, n; rc == MB_OK && from < j->query.rows.n; from += n) {
        mb_nearest_counts counts;
        n = j->query.rows.n - from < j->block ? j->query.rows.n - from : j->block;
        rc = mb_nearest_run(&j->index.rows, &j->query.rows, from, n, &j->o, hit, &counts, e);
        for (int64_t i = 0; rc == MB_OK && i < n; i++)
            rc = print_query(j, from + i, hit + i * j->o.k, e);
        j->bad_query += counts.bad_query;
        j->bad_index = counts.bad_index; /* each block sees them all */
        j->again += counts.again;
    }
    mb_free(hit);
    return rc;
}

static void warn_of_bad(const job *j, int64_t n, const table *t, const char *what) {
    if (n > 0)
        mb_warn("%s: %" PRId64 " rows hold NaN or infinities%s and %s", t->path, n,
                j->o.measure == MB_NEAREST_COSINE ? ", or zeros only," : "", what);
}

static void tell(const job *j, double seconds) {
    char pairs[32], rate[32], bytes[32], time[32];
    const double n = (double)j->query.rows.n * (double)j->index.rows.n;
    const int64_t blocks = (j->query.rows.n + j->block - 1) / j->block;
    const double read =
        (double)blocks * (double)j->index.rows.n * j->index.rows.D * (double)mb_dtype_bytes(j->index.rows.dtype);
    seconds = seconds > 1e-6 ? seconds : 1e-6;
    warn_of_bad(j, j->bad_query, &j->query, "got no neighbours");
    warn_of_bad(j, j->bad_index, &j->index, "are nobody's neighbours");
    mb_info("%" PRId64 " queries against %" PRId64
            " rows of %d: %s pairs in %s, %s pairs/s, %s/s of the index read; %" PRId64 " pairs computed twice",
            j->query.rows.n, j->index.rows.n, j->index.rows.D, mb_human_count(n, pairs),
            mb_human_seconds(seconds, time), mb_human_count(n / seconds, rate), mb_human_bytes(read / seconds, bytes),
            j->again);
}

static int fill_provenance(const job *j, mb_provenance *p, mb_err *e) {
    const table *t[] = {&j->query, &j->index};
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < 2; i++) {
        rc = mb_provenance_file(p, "input", t[i]->path, e);
        if (rc == MB_OK && t[i]->named)
            rc = mb_provenance_file(p, "input", t[i]->places_path, e);
    }
    return rc;
}

static int compute(job *j, mb_err *e) {
    char *const inputs[] = {(char *)(uintptr_t)j->query.path, (char *)(uintptr_t)j->index.path, j->query.places_path,
                            j->index.places_path};
    const dna_items_options files = {.inputs = inputs, .n_inputs = 4};
    mb_provenance *p = NULL;
    int rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = dna_check_output(j->v->output, &files, e);
    if (rc == MB_OK)
        rc = mb_out_create(&j->out, j->v->output, e);
    const double start = mb_clock_seconds();
    if (rc == MB_OK) {
        j->o.progress = mb_progress_start("nearest", "pairs", (double)j->query.rows.n * (double)j->index.rows.n);
        rc = run_blocks(j, e);
        mb_progress_finish(j->o.progress);
    }
    const double seconds = mb_clock_seconds() - start;
    if (rc == MB_OK)
        rc = fill_provenance(j, p, e);
    rc = mb_result_commit(j->v->output, &j->out, 1, p, rc, e);
    mb_provenance_free(p);
    if (rc == MB_OK)
        tell(j, seconds);
    return rc;
}

static int run_nearest(mb_run *run, mb_err *e) {
    job j;
    int rc = set_up(&j, run, e);
    if (rc == MB_OK && run->globals.dry_run)
        printf("query        %" PRId64 " rows of %d\nindex        %" PRId64 " rows\nat once      %" PRId64
               " queries: the index is read %" PRId64 " times\n",
               j.query.rows.n, j.query.rows.D, j.index.rows.n, j.block, (j.query.rows.n + j.block - 1) / j.block);
    else if (rc == MB_OK)
        rc = compute(&j, e);
    close_table(&j.query);
    close_table(&j.index);
    return rc;
}

const mb_verb dna_nearest_verb = {.name = "nearest",
                                  .summary = "the k nearest rows of an embedding file, exactly",
                                  .usage = "QUERY.npy -i INDEX.npy [-k N] [-o FILE] [options]",
                                  .details = DETAILS,
                                  .options = OPTIONS,
                                  .values_size = sizeof(nearest_values),
                                  .min_args = 1,
                                  .max_args = 1,
                                  .run = run_nearest};
