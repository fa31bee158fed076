/* Which sequence a row of an embedding file belongs to: FILE.npy.index.tsv, as `dna-mamba embed` writes it, mapped and
 * checked line by line once, then searched in place. */
#ifndef DNA_PLACES_H
#define DNA_PLACES_H
#include "core/file.h"

typedef struct dna_places {
    mb_map map;
    size_t first; /* offset of the first line after the titles */
} dna_places;

typedef struct dna_span {
    const char *at;
    int n;
} dna_span;

typedef struct dna_place { /* spans point into the file */
    dna_span name, contig, start, end, strand;
    int64_t part; /* row within the sequence, from 0 */
} dna_place;

/* rows: of the array that it belongs to. MB_NOTFOUND: there is no such file; MB_FORMAT with the line otherwise. */
int dna_places_open(dna_places *p, const char *path, int64_t rows, mb_err *e) MB_MUST_USE;
void dna_places_close(dna_places *p); /* zeroed is fine */
/* row: 0 <= row < rows. */
dna_place dna_places_find(const dna_places *p, int64_t row);
#endif
