/* Honest splits of labelled sequences into parts. Sequences equal to one another or to the other's reverse complement
 * form one group, and a group is never divided: a model cannot be tested on what it was trained on. On request so do
 * sequences that share a stretch. All choices follow from the seed and the data alone. */
#ifndef DNA_FOLDS_H
#define DNA_FOLDS_H
#include "genomics/labelled.h"

enum { DNA_TRAIN, DNA_VALID, DNA_TEST }; /* the parts of given and random splits */

/* A given split whose groups reach over several parts: refused, or the copies outside the last of these parts (test
 * before validation before training) left out, or kept as given and said. */
typedef enum dna_leaks { DNA_LEAKS_ERROR, DNA_LEAKS_DROP, DNA_LEAKS_KEEP } dna_leaks;
#define DNA_LEAKS_CHOICES "error|drop|keep"

typedef struct dna_groups {
    int64_t *of;         /* (n) the lowest example of the same group */
    int64_t n;           /* examples */
    int64_t groups;      /* groups in all */
    int64_t repeated;    /* groups of two and more */
    int64_t copies;      /* examples beyond the first of their group */
    int64_t conflicts;   /* groups whose labels differ */
    int64_t conflict[2]; /* two examples of the first such group, -1 when there is none */
    int64_t shared;      /* bases in a row that join groups; 0: whole sequences only */
} dna_groups;

int dna_groups_find(dna_groups *g, const dna_labelled *d, const dna_alphabet *a, mb_err *e) MB_MUST_USE;
void dna_groups_fini(dna_groups *g);
/* Joins groups of which two sequences share `shared` bases in a row, on either strand and without N: regions of a
 * genome that overlap, pieces of one gene. Chains of such are one group. Conflicts stay those of equal sequences.
 * Stretches are compared by a hash of 64 bits. MB_RANGE: less than 8 bases. */
int dna_groups_join(dna_groups *g, const dna_labelled *d, const dna_alphabet *a, int64_t shared, dna_text *said,
                    mb_err *e) MB_MUST_USE;
/* Sentences on copies and conflicts, one a line; nothing when there are none. */
int dna_groups_say(const dna_groups *g, const dna_labelled *d, dna_text *said, mb_err *e) MB_MUST_USE;

/* Every example into part[] (n), values 0 .. n_parts-1: random, in the given fractions (positive, summing to 1 within
 * 1e-9), stratified: by class, by the set of labels, by tenths of the first number; bases are not stratified. Within a
 * stratum each part is off its fraction by at most the size of a group, or in all by the largest group per stratum. A
 * part that stays empty is MB_RANGE. k folds are k fractions of 1/k: fold i is tested on the examples with part i. */
int dna_folds_random(int *part, const dna_labelled *d, const dna_groups *g, const double *fraction, int n_parts,
                     uint64_t seed, mb_err *e) MB_MUST_USE;
int dna_folds_k(int *part, const dna_labelled *d, const dna_groups *g, int k, uint64_t seed, mb_err *e) MB_MUST_USE;
/* As the input says: names train|training, valid|validation|val|dev|eval, test|testing to DNA_TRAIN, DNA_VALID,
 * DNA_TEST; -1 for those that leaks dropped (*dropped of them). Any other name, or none, is MB_FORMAT. */
int dna_folds_given(int *part, const dna_labelled *d, const dna_groups *g, int leaks, int64_t *dropped, dna_text *said,
                    mb_err *e) MB_MUST_USE;
#endif
