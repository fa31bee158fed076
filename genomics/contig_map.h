/* Names of contigs in one file and in another: a text file of two columns. */
#ifndef DNA_CONTIG_MAP_H
#define DNA_CONTIG_MAP_H
#include <stdint.h>
#include "core/error.h"

typedef struct dna_contig_map {
    char *text;
    struct dna_contig_pair {
        const char *from, *to; /* in text */
    } * pair;                  /* (n), by from */
    int64_t n;
} dna_contig_map;

/* Lines "from to", apart by blanks or tabs; empty lines and those that begin with # are passed over. A name that is
 * mapped twice is an error. */
int dna_contig_map_read(dna_contig_map *m, const char *path, mb_err *e) MB_MUST_USE;
/* The name that `from` is mapped to, or `from` itself. */
const char *dna_contig_map_find(const dna_contig_map *m, const char *from);
void dna_contig_map_fini(dna_contig_map *m);
#endif
