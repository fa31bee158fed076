/* Cross-entropy of rows of logits against one target each, with its gradient.
 *   loss[t] = weight[t] * (log sum_v exp(logits[t,v]) - logits[t,target[t]])
 *   grad[t,v] = scale * weight[t] * (softmax(logits[t,:])[v] - [v = target[t]])
 * A row whose target is `ignore` has loss 0 and gradient 0, whatever its logits are (NaN too). Other targets must lie
 * in [0,V): MB_RANGE. weight: (L) or NULL (ones); negative or NaN weights are the caller's error and come through.
 * loss: (L) double or NULL. grad: (L,V) or NULL; may be the same memory as logits (same ld).
 *
 * Infinite logits: -inf is probability 0; +inf and NaN make the row's loss and gradient NaN, as do -inf alone.
 * hit: (L) or NULL: 1 where the target has the largest logit (the first of equals), else 0; 0 in ignored rows and in
 * rows whose loss is NaN for their logits' sake.
 *
 * Sums over a row are in double in _ref. The row's maximum is subtracted first, so no finite logits overflow, and the
 * target's exponential is kept out of the sum: the loss of a sure model is log1p(others) and the target's gradient
 * -scale weight others / total, right to all their digits when softmax[target] rounds to 1. */
#ifndef MBK_XENT_H
#define MBK_XENT_H
#include "kernels/kernel.h"

typedef struct mbk_xent {
    int L, V;
    int32_t ignore;
    float scale;
    const float *logits; /* (L,V) */
    ptrdiff_t ld;
    const int32_t *target; /* (L) */
    const float *weight;   /* (L) or NULL */
    double *loss;          /* (L) or NULL */
    float *grad;           /* (L,V) or NULL */
    ptrdiff_t ldgrad;
    uint8_t *hit; /* (L) or NULL */
} mbk_xent;

typedef int mbk_xent_fn(const mbk_ctx *, const mbk_xent *);
mbk_xent_fn mbk_xent_ref, mbk_xent_cpu;
#endif
