/* The language-model objective: cross-entropy of the logits at every position against a target, masked (targets ignored
 * where nothing was masked) or causal (targets shifted by the caller). For RC-equivariant models the logits are the sum
 * of both strands' shares, as core/head.c has it. */
#ifndef MB_LM_LOSS_H
#define MB_LM_LOSS_H
#include "core/gradient.h"

typedef struct mb_lm_targets {
    const int32_t *target; /* (sum of lengths), in the order of the batch */
    const float *weight;   /* (sum of lengths) or NULL: ones */
    int32_t ignore;        /* a target that counts for nothing */
} mb_lm_targets;

typedef struct mb_lm_result {
    double loss;       /* sum of weight * cross-entropy, in nats */
    double weight;     /* sum of weights of the targets that count */
    int64_t positions; /* that count (weight > 0) */
    int64_t hits;      /* of them, where the target had the largest logit */
} mb_lm_result;

/* After mb_gradient_forward. Adds to *r. with_gradient: the gradient of the sum (not the mean) of the losses goes to
 * d_hidden and to the head's sums, so that any number of batches can be added up before dividing. */
int mb_lm_loss(mb_gradient *g, const mb_lm_targets *t, int with_gradient, mb_lm_result *r, mb_err *e) MB_MUST_USE;
#endif
