/* A track: numbers along contigs, as bigWig or bedGraph. */
#ifndef DNA_TRACK_OUT_H
#define DNA_TRACK_OUT_H
#include "genomics/bigwig_out.h"

typedef enum dna_track_format { DNA_BEDGRAPH, DNA_BIGWIG } dna_track_format;

/* By the name's ending: .bw, .bigwig; .bedgraph, .bdg, .bg and "-" (standard output), devices; case does not matter.
 * MB_USAGE otherwise. */
int dna_track_format_of(const char *path, int *format, mb_err *e) MB_MUST_USE;

typedef struct dna_track_out dna_track_out;

typedef struct dna_track_sums { /* of the bases that have a value */
    int64_t bases;
    double sum, least, most;
} dna_track_sums;

/* contigs are borrowed until the end. zooms: bigWig only. */
int dna_track_create(dna_track_out **out, const char *path, const dna_bigwig_contigs *contigs, int zooms,
                     mb_err *e) MB_MUST_USE;
/* value[i] of bases [start + i span, start + (i+1) span); NaN: none. Ascending, as dna_bigwig_put. */
int dna_track_put(dna_track_out *t, int64_t contig, int64_t start, int64_t span, const float *value, int64_t n,
                  mb_err *e) MB_MUST_USE;
dna_track_sums dna_track_sum(const dna_track_out *t);
/* Into place; frees t in every case. MB_FORMAT when there was no value at all. */
int dna_track_commit(dna_track_out *t, mb_err *e) MB_MUST_USE;
void dna_track_abort(dna_track_out *t); /* NULL is fine */
#endif
