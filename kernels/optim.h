/* What an optimiser does to n >= 0 numbers, elementwise and in place; callers cut ranges as they like (the bits of an
 * element do not depend on the cut).
 *
 * adamw (Loshchilov & Hutter 2019, as torch.optim.AdamW): with g = grad * grad_scale
 *   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *   w = w (1 - lr wd) - lr (m / c1) / (sqrt(v / c2) + eps),   c1 = 1 - b1^step, c2 = 1 - b2^step
 * c1 and c2 are made by the caller, from b1 and b2 as the floats that they are here. w, m, v, grad do not overlap.
 * eps > 0, or 0/0 is NaN where no gradient has been.
 * grad_scale = 0 means g = 0, and grad is not read: a step that passes over a gradient with infinities or NaN leaves m
 * and v clean. Else infinities and NaN come through. A g beyond 1.8e19 makes v infinite, as a float is; its element
 * then stays where it is but for decay.
 * m and v smaller than FLT_MIN become 0: where gradients have stopped (the row of a token that never comes) they would
 * decay to denormal numbers and stay there, which makes some processors slow and moves no weight.
 *
 * ema: avg = decay avg + (1 - decay) w; decay = 0 copies w where avg is finite.
 *
 * sumsq: sum of squares in double over blocks of MBK_SUMSQ_BLOCK elements from the start, blocks in order; *out = that
 * sum, 0 when n = 0. Whoever adds up the results of single blocks in order has the bits of the whole. The order within
 * a block is the kernel's own; _cpu has one for all instruction sets. Infinities and NaN come through; no finite
 * numbers overflow. */
#ifndef MBK_OPTIM_H
#define MBK_OPTIM_H
#include "kernels/kernel.h"
#define MBK_SUMSQ_BLOCK 4096

typedef struct mbk_adamw {
    int64_t n;
    float *w, *m, *v;
    const float *grad;
    float grad_scale, lr, b1, b2, eps, decay; /* decay: wd */
    float c1, c2;
} mbk_adamw;

typedef struct mbk_ema {
    int64_t n;
    float decay;
    const float *w;
    float *avg;
} mbk_ema;

typedef int mbk_adamw_fn(const mbk_ctx *, const mbk_adamw *);
typedef int mbk_ema_fn(const mbk_ctx *, const mbk_ema *);
typedef int mbk_sumsq_fn(const mbk_ctx *, int64_t n, const float *x, double *out);
mbk_adamw_fn mbk_adamw_ref, mbk_adamw_cpu;
mbk_ema_fn mbk_ema_ref, mbk_ema_cpu;
mbk_sumsq_fn mbk_sumsq_ref, mbk_sumsq_cpu;
#endif
