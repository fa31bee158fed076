/* The inside of `dna-mamba variants`, shared by the variants_*.c files. */
#ifndef DNA_VARIANTS_H
#define DNA_VARIANTS_H
#include "core/file.h"
#include "core/options.h"
#include "genomics/allele.h"
#include "genomics/contig_map.h"
#include "genomics/effect.h"
#include "genomics/slice.h"
#include "genomics/vcf.h"

typedef struct variants_values {
    char *model, *reference, *output, *score, *contig_map, *prefix, *scratch, *report;
    int64_t window, mask_stride, span;
    int format, scheme, strand, indels, normalize, ref_mismatch, missing_contig, alphabet, n_as, lower_case, precision;
} variants_values;

enum { VARIANTS_AUTO, VARIANTS_VCF, VARIANTS_VCF_GZ, VARIANTS_BCF, VARIANTS_TSV };
#define VARIANTS_FORMAT_CHOICES "auto|vcf|vcf.gz|bcf|tsv"
enum { VARIANTS_SCHEME_AUTO, VARIANTS_CAUSAL, VARIANTS_MASKED };
#define VARIANTS_SCHEME_CHOICES "auto|causal|masked"
enum { VARIANTS_STRAND_AUTO, VARIANTS_FORWARD, VARIANTS_BOTH };
#define VARIANTS_STRAND_CHOICES "auto|forward|both"
enum { VARIANTS_INDELS_PLL, VARIANTS_INDELS_SKIP };
#define VARIANTS_INDELS_CHOICES "pll|skip"
enum { VARIANTS_MISMATCH_ERROR, VARIANTS_MISMATCH_SKIP, VARIANTS_MISMATCH_WARN };
#define VARIANTS_MISMATCH_CHOICES "error|skip|warn"
enum { VARIANTS_CONTIG_ERROR, VARIANTS_CONTIG_SKIP };
#define VARIANTS_CONTIG_CHOICES "error|skip"

/* What can be said of a model and a file of variants before any is scored. */
typedef struct variants_setup {
    const variants_values *v;
    dna_effect_options effect; /* model and alphabet are borrowed */
    unsigned wanted;           /* scores asked for */
    unsigned fields;           /* scores that have a column or an INFO field */
    dna_genome *genome;
    dna_contig_map map;
    int format; /* not AUTO */
} variants_setup;

/* ---- variants_source.c: records, checked against the reference, normalised and put in order ---------------------- */

typedef struct variants_entry {
    bcf1_t *record;
    dna_reason reason; /* why no ALT of it can be scored */
    int mismatch;      /* REF is not what the reference has, and is scored all the same */
    int64_t alt;       /* in a batch: number of its first ALT */
} variants_entry;

typedef struct variants_source_counts {
    int64_t records, normalized, mismatches, missing;
} variants_source_counts;

typedef struct variants_source variants_source;
int variants_source_open(variants_source **out, const variants_setup *s, const char *path, mb_err *e) MB_MUST_USE;
void variants_source_close(variants_source *x); /* NULL is fine */
dna_vcf *variants_source_vcf(variants_source *x);
/* 1, 0 at the end, negative on error. The record is the caller's until it is given back. */
int variants_source_next(variants_source *x, variants_entry *entry, mb_err *e) MB_MUST_USE;
void variants_source_give_back(variants_source *x, bcf1_t *record);
/* Makes the record's contig the one that x's slice is of; length -1 when the reference has none. */
int variants_source_seek(variants_source *x, const bcf1_t *record, dna_slice **slice, mb_err *e) MB_MUST_USE;
variants_source_counts variants_source_count(const variants_source *x);

/* ---- variants_batch.c: from records to scores ----------------------------------------------------------------------
 */

typedef struct variants_alt {
    dna_change change;
    int64_t effect; /* number in the batch, -1: none */
} variants_alt;

typedef struct variants_totals {
    int64_t records, alts, scored, scored_of[DNA_ALLELE_KINDS], reason[DNA_REASONS];
    double work; /* bases through the model, before what is shared is left out */
} variants_totals;

typedef struct variants_batch {
    variants_entry *entry; /* (n) */
    int64_t n, capacity;
    variants_alt *alt; /* of all entries, in order: n_allele - 1 each */
    int64_t n_alt, alt_capacity;
    dna_effect *effect; /* (n_effect); token: offsets into letters until variants_batch_run */
    int64_t n_effect, effect_capacity;
    dna_text letters; /* windows */
    dna_text piece;   /* of the reference */
    int64_t bytes;    /* of the records */
} variants_batch;

/* Takes records from the source until there is a good lot of them: 1, 0 at the end, negative on error. With plan_only
 * no windows are made and only totals are filled. */
int variants_batch_fill(variants_batch *b, const variants_setup *s, variants_source *x, int plan_only,
                        variants_totals *t, mb_err *e) MB_MUST_USE;
int variants_batch_run(variants_batch *b, const variants_setup *s, mb_err *e) MB_MUST_USE;
/* Gives the records back. */
void variants_batch_clear(variants_batch *b, variants_source *x);
void variants_batch_fini(variants_batch *b);

/* ---- variants_output.c: fields and columns -------------------------------------------------------------------------
 */

extern const char *const variants_field[DNA_EFFECTS];
/* Declares the fields, says how they were made and, where the header has no contigs, puts in those of the reference (1:
 * it did). */
int variants_declare(const variants_setup *s, dna_vcf *vcf, mb_err *e) MB_MUST_USE;
/* Sets the fields of entry i; values of earlier runs under the same names go. */
int variants_annotate(const variants_setup *s, bcf_hdr_t *header, const variants_batch *b, int64_t i,
                      mb_err *e) MB_MUST_USE;

int variants_tsv_head(const variants_setup *s, mb_out *out, mb_err *e) MB_MUST_USE;
int variants_tsv_lines(const variants_setup *s, const dna_vcf *vcf, const variants_batch *b, int64_t i, mb_out *out,
                       mb_err *e) MB_MUST_USE;
#endif
