/* A bias and an activation, and their gradients.
 *   a = x + b;   y = act(a)
 *   NONE a;   GELU a Phi(a), Phi the normal distribution function (the erf form);   RELU max(a,0);   SILU a sigmoid(a)
 * x, y: (L,D), contiguous; y may be x. b: (D) or NULL.
 * Errors of the fast forms: GELU and its slope some 3e-7 of |a| Phi(a) (1 + a^2) and of Phi + |a| phi; SiLU as simd.h
 * says. a finite; NaN in, NaN out. Source of GELU: Hendrycks & Gimpel 2016 (arXiv 1606.08415). */
#ifndef MBK_ACT_H
#define MBK_ACT_H
#include "kernels/kernel.h"

typedef enum mbk_act_kind { MBK_ACT_NONE, MBK_ACT_GELU, MBK_ACT_RELU, MBK_ACT_SILU } mbk_act_kind;

typedef struct mbk_act {
    int L, D;
    mbk_act_kind kind;
    const float *x; /* (L,D) */
    const float *b; /* (D) or NULL */
    float *y;       /* (L,D) */
} mbk_act;

/* dx = G act'(x + b); db[i] += sum_t dx[t,i], rows in order (RELU: slope 0 at 0). x may be NULL with NONE. dx: (L,D),
 * may be x or G; with NONE it may be NULL, for the sums alone. db: (D) or NULL. */
typedef struct mbk_act_bwd {
    int L, D;
    mbk_act_kind kind;
    const float *x; /* (L,D) */
    const float *b; /* (D) or NULL */
    const float *G; /* (L,D) dLoss/dy */
    float *dx;      /* (L,D) */
    float *db;      /* (D) or NULL */
} mbk_act_bwd;

typedef int mbk_act_fn(const mbk_ctx *, const mbk_act *);
mbk_act_fn mbk_act_fwd_ref, mbk_act_fwd_cpu;

typedef int mbk_act_bwd_fn(const mbk_ctx *, const mbk_act_bwd *);
mbk_act_bwd_fn mbk_act_bwd_ref, mbk_act_bwd_cpu;
#endif
