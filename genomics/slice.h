/* Short pieces of a genome, many and near each other, without a library call for each: the stretch around the last
 * piece is kept. */
#ifndef DNA_SLICE_H
#define DNA_SLICE_H
#include "genomics/genome.h"
#include "genomics/record.h"

typedef struct dna_slice {
    dna_genome *genome; /* borrowed */
    dna_text contig;    /* of what is held */
    int64_t length;     /* of that contig, -1 when the genome has none of this name */
    int64_t from;       /* first base held */
    dna_text base;
} dna_slice;

/* Makes it the contig that pieces are taken from; length says whether there is one. */
int dna_slice_contig(dna_slice *s, const char *contig, mb_err *e) MB_MUST_USE;
/* *base: letters [from, from+n) of that contig, which must lie inside it; valid until the next call. */
int dna_slice_get(dna_slice *s, int64_t from, int64_t n, const char **base, mb_err *e) MB_MUST_USE;
void dna_slice_fini(dna_slice *s);
#endif
