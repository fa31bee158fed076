/* The inside of `dna-mamba embed`, shared by the embed_*.c files. */
#ifndef DNA_EMBED_H
#define DNA_EMBED_H
#include "core/forward.h"
#include "core/options.h"
#include "core/provenance.h"
#include "genomics/input_options.h"
#include "genomics/partial.h"
#include "genomics/pool.h"

typedef struct embed_values {
    dna_input_values input;
    char *model, *output, *layer, *scratch, *report;
    int64_t bin, gzip;
    int pool, strand, stream, dtype, precision, format, resume, scan;
} embed_values;

typedef enum embed_strand { EMBED_AUTO, EMBED_FORWARD, EMBED_BOTH, EMBED_CONJOIN } embed_strand;
#define EMBED_STRAND_CHOICES "auto|forward|both|conjoin"
enum { EMBED_STREAM_RESIDUAL, EMBED_STREAM_ORIGINAL };

typedef enum embed_format { EMBED_FORMAT_AUTO, EMBED_NPY, EMBED_HDF5, EMBED_TSV, EMBED_TSV_GZ } embed_format;
#define EMBED_FORMAT_CHOICES "auto|npy|hdf5|tsv|tsv.gz"

typedef struct embed_totals { /* of the whole input */
    int64_t batches, items, bases, rows, longest, n;
    uint32_t crc;
    mb_forward_plan worst; /* of all batches; only where asked for */
    int64_t store_scratch; /* rows that wait in a scratch file, at most */
} embed_totals;

typedef struct embed {
    mb_run *run;
    const embed_values *v;
    const char *output;
    mb_model *model;
    dna_alphabet alphabet;
    dna_items_options items;
    int n_layers, *layer;        /* streams wanted, ascending */
    int strand;                  /* FORWARD, BOTH or CONJOIN */
    int blocks;                  /* of D columns that are computed: 1 or 2 */
    int reverse_runs;            /* 1: the second block is a second run, over the reverse complement */
    int width;                   /* columns of one layer in the output */
    int64_t columns_in, columns; /* floats per row: computed, and in the output */
    embed_format format;
    mb_dtype dtype;
    dna_pool_options pool;
    embed_totals totals;
    int scanned; /* totals are known */
    char digest[65];
    dna_partial *partial;
    atomic_llong overflows; /* finite values that were infinite as f16 */
    const atomic_int *stop;
    mb_progress *progress;
    mb_provenance *provenance;
} embed;

/* embed_setup.c: options and model into *j. */
int embed_setup(embed *j, mb_run *run, mb_err *e) MB_MUST_USE;
void embed_fini(embed *j);
int embed_digest(embed *j, mb_err *e) MB_MUST_USE;
mb_forward_options embed_forward_options(const embed *j);

/* embed_scan.c: reads all input once, so that its errors come before the work. with_plan: also asks what it will take.
 */
int embed_scan(embed *j, int with_plan, mb_err *e) MB_MUST_USE;
int embed_check_space(const embed *j, mb_err *e) MB_MUST_USE;
int embed_print_plan(embed *j, mb_err *e) MB_MUST_USE;
int64_t embed_output_bytes(const embed *j);

/* embed_batch.c: runs one batch and hands its rows to the output. */
int embed_batch(embed *j, const dna_batch *b, mb_err *e) MB_MUST_USE;
/* Where the rows of a batch wait until they are written: bytes of memory, bytes of a scratch file; both 0 when they go
 * straight to their place. */
void embed_store_need(const embed *j, int64_t rows, int64_t *memory, int64_t *scratch);

/* embed_rows.c: rows as bytes of the output's format. */
enum { EMBED_NPY_HEAD = 128 };
size_t embed_element_bytes(const embed *j);
/* Rows of n floats into out, as the dtype has them; counts overflows. */
void embed_convert(embed *j, const float *values, int64_t n, void *out);
/* (n, columns_in) to (n, columns): averages the two blocks where --strand conjoin asks for it. */
void embed_combine(const embed *j, const float *in, int64_t n, float *out);
void embed_npy_head(const embed *j, int64_t rows, char head[EMBED_NPY_HEAD]);
/* Appends rows [row, row+n) of an item as TSV lines. */
int embed_tsv_rows(embed *j, const dna_item *item, int64_t row, int64_t n, const float *values, dna_text *out,
                   mb_err *e) MB_MUST_USE;
int embed_tsv_head(const embed *j, dna_text *out, mb_err *e) MB_MUST_USE;
int embed_index_head(dna_text *out, mb_err *e) MB_MUST_USE;
int embed_index_line(const dna_item *item, int64_t first_row, int64_t rows, dna_text *out, mb_err *e) MB_MUST_USE;
/* Text as BGZF blocks, appended to out; n = 0 gives the end marker. */
int embed_bgzf(const char *text, int64_t n, dna_text *out, mb_err *e) MB_MUST_USE;

/* embed_h5.c: the HDF5 file from raw rows and index. A dna_ending.make. */
int embed_make_hdf5(void *job, dna_partial *p, mb_err *e) MB_MUST_USE;

/* embed_page.c: --report, when all rows are there and the record of the run is filled. */
int embed_page_write(embed *j, dna_partial *partial, mb_err *e) MB_MUST_USE;
#endif
