/* Which examples a run of fine-tuning learns from, chooses by and is tested on. */
#ifndef DNA_PARTS_H
#define DNA_PARTS_H
#include "genomics/folds.h"

typedef struct dna_parts_options {
    int folds;      /* 0: as the data says, or drawn */
    int leaks;      /* dna_leaks */
    int64_t shared; /* sequences that share so many bases in a row stay together; 0: only equal ones */
    double valid, test;
    uint64_t seed;
} dna_parts_options;

typedef struct dna_parts {
    int *part;      /* (n) DNA_TRAIN ..., or the fold; -1 left out */
    int *valid;     /* (n) 1: held out when it would be trained on */
    int64_t *index; /* (n) room for the lists */
    int64_t n;
    int folds, own_valid; /* own_valid: the parts have a validation part of their own */
    dna_groups groups;
} dna_parts;

int dna_parts_make(dna_parts *p, const dna_labelled *d, const dna_alphabet *a, const dna_parts_options *o,
                   dna_text *said, mb_err *e) MB_MUST_USE;
void dna_parts_fini(dna_parts *p); /* zeroed is fine */
/* The lists of a fold (0 without folds), one after the other in p->index: n[DNA_TRAIN], n[DNA_VALID], n[DNA_TEST]. */
void dna_parts_list(const dna_parts *p, int fold, int64_t n[3]);
#endif
