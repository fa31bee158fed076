/* Samples of items to rank a target among, from a counter-based stream. See recsys/evaluate.h for the rules.
 *
 * Item i gets the key log(u_i)/w_i, u_i the i-th number in (0,1) of the query's stream and w_i its weight; a sample of
 * N is the N largest keys among the items allowed. That is drawing one after another in proportion to the weights
 * without putting back (Efraimidis and Spirakis 2006), and what one rule forbids does not move the others' keys. */
#ifndef REC_CANDIDATES_H
#define REC_CANDIDATES_H
#include "recsys/rank.h"

typedef struct rec_sampler {
    int32_t n_items;
    const double *weight; /* (n_items+1) >= 0, items of weight 0 are never drawn; NULL: 1 each */
    uint64_t seed;
} rec_sampler;

typedef struct rec_marks { /* the items i with mark[i] == stamp */
    const uint64_t *mark;  /* (n_items+1) */
    uint64_t stamp;
} rec_marks;

/* Two samples out of one stream, a without the items of not_a and never, b without those of not_b and never. Heaps of
 * the caller's, whose k is N; afterwards they hold the samples in no particular order. */
void rec_sample_two(const rec_sampler *s, uint64_t stream, rec_marks never, rec_marks not_a, rec_marks not_b,
                    rec_heap *a, rec_heap *b);
#endif
