/* What a model is to predict: the inputs and targets of masked (MLM) and causal language models over windows of a
 * corpus. Everything drawn is a function of (key, window, position), so it does not matter who asks when. */
#ifndef DNA_MASKING_H
#define DNA_MASKING_H
#include "genomics/corpus.h"

enum { DNA_IGNORE = -100 }; /* target of a position that has no loss */

typedef enum dna_objective { DNA_MLM, DNA_CAUSAL } dna_objective;
#define DNA_OBJECTIVE_CHOICES "mlm|causal"
/* What stands for a randomly replaced base: any of the ids that the alphabet's tokenizer has (12 of caduceus, 7 of
 * plantcad: special ones and N too), as in the published training; or one of A C G T. */
typedef enum dna_replacement { DNA_REPLACE_ANY, DNA_REPLACE_BASES } dna_replacement;
#define DNA_REPLACE_CHOICES "any|bases"

typedef struct dna_masking {
    int objective;         /* dna_objective */
    double rate;           /* chance of an A C G T to be a target; published 0.15. MLM only, as the next three */
    double masked, random; /* of the targets: shown as [MASK], shown as another token; published 0.8, 0.1 */
    int replacement;       /* dna_replacement */
    float soft_weight;     /* of targets that are soft-masked bases; others have 1. 0: they are no targets */
    const dna_alphabet *alphabet;
} dna_masking;

/* rate in (0,1]; masked, random >= 0 and at most 1 together; soft_weight finite and >= 0. */
int dna_masking_check(const dna_masking *m, mb_err *e) MB_MUST_USE;

/* Draws for different purposes never meet, whatever the seeds and steps are. */
typedef enum dna_purpose { DNA_DRAW_LENGTH = 1, DNA_DRAW_PLACE, DNA_DRAW_MASK, DNA_DRAW_EVAL } dna_purpose;
uint64_t dna_draw_key(uint64_t seed, dna_purpose purpose, uint64_t step);

typedef struct dna_mask_sums {
    int64_t targets; /* positions whose target is not DNA_IGNORE */
    double weight;   /* their weights; 0 exactly if there are no targets */
} dna_mask_sums;

/* One window of n positions. token: bytes of the corpus in reading direction, complemented for strand '-', on entry;
 * what the model is shown on return. target: (n). weight: (n), 0 where there is no target; or NULL when soft_weight is
 * 1 or nothing is soft-masked.
 *   MLM     chosen with chance rate at each A C G T; target = the base; shown as drawn
 *   causal  target[i] = base i+1 unless that is N or its like; the last has none; everything is shown as it is; the
 *           weight is that of base i+1
 * MLM with the same key and window on strand '-' over the reverse complement gives the reverse complement: positions
 * are counted, and replacements drawn, on the forward strand. */
dna_mask_sums dna_mask_window(const dna_masking *m, uint64_t key, uint64_t window, char strand, int64_t n,
                              int32_t *token, int32_t *target, float *weight);
#endif
