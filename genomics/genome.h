/* Random access to a FASTA file, plain or BGZF, through its .fai (and .gzi) index. */
#ifndef DNA_GENOME_H
#define DNA_GENOME_H
#include "genomics/regions.h"

typedef struct dna_genome dna_genome;

/* An index that is missing is built beside the file, or, where that folder cannot be written, in $TMPDIR for this run.
 */
int dna_genome_open(dna_genome **out, const char *path, mb_err *e) MB_MUST_USE;
void dna_genome_close(dna_genome *g); /* NULL is fine */
dna_contigs dna_genome_contigs(dna_genome *g);
/* Letters [from, from+n) of contig, which must lie inside it, into out (n). */
int dna_genome_fetch(dna_genome *g, const char *contig, int64_t from, int64_t n, char *out, mb_err *e) MB_MUST_USE;
#endif
