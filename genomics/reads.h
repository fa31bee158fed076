/* The inside of `dna-mamba reads`: reads in, what a model says of each, the same reads out with tags, or a table. */
#ifndef DNA_READS_H
#define DNA_READS_H
#include <htslib/sam.h>
#include <htslib/thread_pool.h>

#include "core/file.h"
#include "genomics/head.h"
#include "genomics/input_options.h"
#include "genomics/pool.h"
#include "genomics/score.h"

typedef enum reads_what { READS_SCORE, READS_EMBED, READS_CLASSIFY } reads_what;
#define READS_WHAT_CHOICES "score|embed|classify"
typedef enum reads_format { READS_AUTO, READS_BAM, READS_CRAM, READS_SAM, READS_TSV, READS_HDF5 } reads_format;
#define READS_FORMAT_CHOICES "auto|bam|cram|sam|tsv|hdf5"
enum { READS_DROP, READS_KEEP };
enum { READS_EXISTING_ERROR, READS_EXISTING_REPLACE };
/* A tag's array of more columns than this is refused: it would swamp the read that carries it. */
enum { READS_MAX_TAG_COLUMNS = 4096 };

/* ---- reads_in.c: batches of records ---------------------------------------------------------------------------------
 * A batch is cut by the input alone: so many bases, bytes or records. All of its records stay in memory until they are
 * written; a record that grew large is given back afterwards, so that memory is bounded by the batch and the largest
 * record. */
typedef struct reads_slot {
    bam1_t *b;
    int64_t number; /* in the file, from 1 */
    int taken;      /* index in batch.item; -1: written as it is */
} reads_slot;

typedef struct reads_batch {
    reads_slot *slot; /* (n) */
    int n, capacity;
    dna_batch taken; /* item i: token, length and n_count only; tokens point into `token` */
    int *slot_of;    /* (capacity) of each item */
    dna_text token, letters;
} reads_batch;

typedef struct reads_counts {
    int64_t reads, taken, passed_over, empty, bases;
    dna_counts letters;
} reads_counts;

typedef struct reads_in_options {
    const char *regions; /* as dna_reader_options has them, or NULL */
    dna_alignment_options alignment;
    int keep; /* 1: reads that the filters pass over are handed out too */
    int64_t batch_tokens;
    int batch_items;
} reads_in_options;

typedef struct reads_in reads_in;

/* pool: for decompression; may be NULL. Everything is borrowed until close. */
int reads_in_open(reads_in **out, const char *path, const reads_in_options *o, const dna_alphabet *a,
                  htsThreadPool *pool, mb_err *e) MB_MUST_USE;
void reads_in_close(reads_in *in); /* NULL is fine */
/* 1, 0 at the end, negative on error. */
int reads_in_next(reads_in *in, reads_batch *b, mb_err *e) MB_MUST_USE;
sam_hdr_t *reads_in_header(const reads_in *in); /* as it was read */
int reads_in_is_text(const reads_in *in);       /* 1: FASTQ or FASTA, which have no header */
reads_counts reads_in_count(const reads_in *in);
void reads_batch_fini(reads_batch *b); /* zeroed is fine */

/* ---- reads_run.c: the model over a batch ----------------------------------------------------------------------------
 */
typedef struct reads_run_options {
    int what; /* reads_what */
    const mb_model *model;
    const dna_alphabet *alphabet;
    mb_forward_options forward;
    score_options score;       /* SCORE */
    const dna_head *head;      /* CLASSIFY */
    double threshold;          /* of several labels */
    dna_pool_options pool;     /* EMBED */
    int reverse_runs, conjoin; /* EMBED: the second block is a run of its own; the two are averaged */
    int columns;               /* EMBED: of a row; CLASSIFY: probabilities or numbers, 0 for labels of bases */
} reads_run_options;

typedef struct reads_results { /* of the items of one batch; what is not computed is NULL */
    int n;
    double *loglik;  /* (n) SCORE: sum over bases scored, mean over both views */
    int64_t *scored; /* (n) */
    double *bits;    /* (n) NaN where none is scored */
    float *value;    /* (n, columns) EMBED, CLASSIFY */
    char **answer;   /* (n) CLASSIFY, but for numbers */
} reads_results;

int reads_run(const reads_run_options *o, const reads_batch *b, reads_results *r, mb_err *e) MB_MUST_USE;
void reads_results_fini(reads_results *r); /* zeroed is fine */

/* ---- reads_tags.c: tags and header ----------------------------------------------------------------------------------
 */
typedef struct reads_tags {
    char prefix;   /* first letter of all tags: x y z X Y Z, for local use by the SAM specification */
    int replace;   /* a tag of the name that is there already: 1 replaced, 0 an error */
    int what;      /* reads_what */
    int task;      /* CLASSIFY: dna_task */
    int turns;     /* 1: results of reads on the reverse strand are in the direction opposite to SEQ */
    int columns;   /* of arrays */
    char **labels; /* (columns) CLASSIFY */
} reads_tags;

/* Adds @PG, chained to the last one, and a @CO line for each tag. has_header 0: an @HD line as well. */
int reads_tags_declare(const reads_tags *t, sam_hdr_t *header, int has_header, int argc, char *const *argv,
                       mb_err *e) MB_MUST_USE;
/* Puts the results of item i on its record. place: for messages. */
int reads_tags_put(const reads_tags *t, bam1_t *b, const reads_results *r, int i, const char *place,
                   mb_err *e) MB_MUST_USE;

/* ---- reads_out.c, reads_table.c: writers ----------------------------------------------------------------------------
 */
typedef struct reads_out reads_out;

typedef struct reads_out_options {
    const char *path, *input; /* input: its name, for messages */
    int format;               /* BAM, CRAM or SAM */
    const char *reference;    /* CRAM; may be NULL */
    int index;                /* 1: write one where the header says coordinate order */
    const reads_tags *tags;
} reads_out_options;

/* header: is written, and borrowed until the end. */
int reads_out_open(reads_out **to, const reads_out_options *o, sam_hdr_t *header, htsThreadPool *pool,
                   mb_err *e) MB_MUST_USE;
int reads_out_put(reads_out *out, const reads_batch *b, const reads_results *r, mb_err *e) MB_MUST_USE;
/* Closes the library's file; ready[0..2) get what is to be committed, the index first (NULL when there is none). Frees
 * out in every case. */
int reads_out_finish(reads_out *out, mb_out *ready[2], mb_err *e) MB_MUST_USE;
void reads_out_abort(reads_out *out); /* NULL is fine */

typedef struct reads_table reads_table;

typedef struct reads_table_options {
    const char *path, *input;
    int format; /* TSV or HDF5 */
    int gzip;   /* HDF5 */
    const char *model;
    const reads_tags *tags; /* what, task, columns, labels */
} reads_table_options;

int reads_table_open(reads_table **out, const reads_table_options *o, sam_hdr_t *header, mb_err *e) MB_MUST_USE;
int reads_table_put(reads_table *t, const reads_batch *b, const reads_results *r, mb_err *e) MB_MUST_USE;
/* TSV: *ready is to be committed. HDF5: is in place when this returns MB_OK. Frees t in every case. */
int reads_table_finish(reads_table *t, mb_out **ready, mb_err *e) MB_MUST_USE;
void reads_table_abort(reads_table *t); /* NULL is fine */

/* "x.bam: read 12 ('name')" into out (512 bytes); control characters of names are left to the printer. */
char *reads_place(char *out, const char *input, const reads_slot *s);
#endif
