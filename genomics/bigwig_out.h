/* bigWig output, as little of it as tracks need: runs of values on a fixed grid, contig after contig; a file that
 * appears complete or not at all. Builds without libBigWig link bigwig_none.c: create then fails with MB_NOTSUP and
 * says what to install. */
#ifndef DNA_BIGWIG_OUT_H
#define DNA_BIGWIG_OUT_H
#include <stdint.h>
#include "core/error.h"

typedef struct dna_bigwig dna_bigwig;

typedef struct dna_bigwig_contigs { /* in ascending byte order of their names, as readers search them */
    char *const *name;              /* (n) */
    const int64_t *length;          /* (n) */
    int64_t n;
} dna_bigwig_contigs;

int dna_bigwig_available(void); /* 1 when this build can write bigWig */
/* Bytes that the library holds at the end to make zoom levels for a file of so many values. */
int64_t dna_bigwig_zoom_bytes(int64_t values);
/* Temporary name beside path until commit. zooms: whether summaries for zoomed-out views are made. */
int dna_bigwig_create(dna_bigwig **out, const char *path, const dna_bigwig_contigs *contigs, int zooms,
                      mb_err *e) MB_MUST_USE;
/* value[i] for bases [start + i span, start + (i+1) span) of contig (index); calls in ascending order of contig and
 * start, without overlap. No NaN. */
int dna_bigwig_put(dna_bigwig *w, int64_t contig, int64_t start, int64_t span, const float *value, int64_t n,
                   mb_err *e) MB_MUST_USE;
/* Writes index and summaries, fsyncs and renames into place; frees w in every case. MB_FORMAT when no value was put. */
int dna_bigwig_commit(dna_bigwig *w, mb_err *e) MB_MUST_USE;
void dna_bigwig_abort(dna_bigwig *w); /* NULL is fine */
#endif
