/* Regions as users write them: a BED file, or one "contig", "contig:from-to" as samtools reads it. */
#ifndef DNA_REGIONS_H
#define DNA_REGIONS_H
#include <stdint.h>
#include "core/error.h"

typedef struct dna_region {
    char *contig;
    char *name;         /* BED column 4; NULL when there is none */
    int64_t start, end; /* 0-based, half open */
    char strand;        /* '+' or '-' (BED column 6) */
    int64_t line;       /* of the BED file, from 1; 0 for one given on the command line */
} dna_region;

typedef struct dna_regions {
    dna_region *at; /* (n), in the order given */
    int64_t n, capacity;
    char *source;  /* the BED path, or the text itself */
    int from_text; /* 1: at[0].contig holds the whole text until dna_regions_resolve splits it */
} dna_regions;

/* The contigs of a genome or of an alignment header. */
typedef struct dna_contigs {
    int64_t (*length)(void *user, const char *name); /* negative: there is none of this name */
    const char *(*name)(void *user, int64_t i);      /* NULL after the last */
    void *user;
    const char *file; /* for messages */
} dna_contigs;

/* what: the name of an existing file (BED, may be gzip or BGZF), else the text of one region. */
int dna_regions_read(dna_regions *r, const char *what, mb_err *e) MB_MUST_USE;
/* Splits a region text, fills in ends left open and checks every region against the contigs. A contig that is not there
 * is an error with the file and line and, where one can be guessed, the name that was meant. */
int dna_regions_resolve(dna_regions *r, const dna_contigs *c, mb_err *e) MB_MUST_USE;
/* The contig that is meant by a name which is not there, but for a chr prefix, case, a version or M against MT; NULL.
 */
const char *dna_contigs_alias(const dna_contigs *c, const char *contig);
/* MB_RANGE: "where: contig 'x' is not in y.fa, ...", with the alias or the first names that are. */
int dna_contigs_fail(const dna_contigs *c, const char *where, const char *contig, mb_err *e);
/* Every contig that has a base, whole, in the order of the file. */
int dna_regions_all(dna_regions *r, const dna_contigs *c, mb_err *e) MB_MUST_USE;
/* Sorts resolved regions by name (bytes) and start, and makes one of those that touch or overlap; names and strands are
 * those of the first. */
void dna_regions_merge(dna_regions *r);
int64_t dna_regions_bases(const dna_regions *r);
void dna_regions_fini(dna_regions *r);
#endif
