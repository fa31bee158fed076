/* Held-out figures of a masked model beside Markov models of the same training stretches, position by position: what
 * its card says. Every `every`-th base of a window is masked, so that all near neighbours are seen, by the model and by
 * the Markov models alike; the figures of all are over the same bases. */
#ifndef DNA_HELDOUT_H
#define DNA_HELDOUT_H
#include "core/forward.h"
#include "genomics/markov.h"
#include "genomics/splits.h"

enum { DNA_HELDOUT_ORDERS = 5 };
extern const int dna_heldout_order[DNA_HELDOUT_ORDERS]; /* 0, 1, 3, 5, 6 */

typedef struct dna_heldout_options {
    int64_t window; /* bases of a window */
    int64_t most;   /* windows of a file at most; 0 all */
    int every;      /* one base in so many is masked; > 0 */
    mb_forward_options forward;
} dna_heldout_options;

typedef struct dna_heldout {
    int64_t windows, bases;                    /* bases: masked and scored */
    dna_markov_score model;                    /* probabilities over A C G T, renormalised */
    dna_markov_score left[DNA_HELDOUT_ORDERS]; /* Markov models of this file's own train stretches: left context */
    dna_markov_score both[DNA_HELDOUT_ORDERS]; /* the same given both sides */
} dna_heldout;

/* One file of the corpus: Markov models from its part of `train`, everything scored on its part of `held`. bases = 0
 * when the file has no held-out window. */
int dna_heldout_file(dna_heldout *r, const dna_corpus *c, int file, const dna_split_part *train,
                     const dna_split_part *held, const mb_model *m, const dna_alphabet *a, const dna_heldout_options *o,
                     mb_err *e) MB_MUST_USE;
double dna_heldout_bits(const dna_markov_score *s);
double dna_heldout_accuracy(const dna_markov_score *s);
#endif
