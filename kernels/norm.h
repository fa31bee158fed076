/* Normalisation over the last axis, with an optional residual sum before it:
 *   s = x + add (add may be NULL);  RMS: y = w * s / sqrt(mean(s^2) + eps)
 *   Layer: y = w * (s - mean s) / sqrt(var s + eps) + b  (population variance)
 * x, add, sum, y: (L,D), contiguous. w, b: (D); b may be NULL.
 * sum receives s when not NULL; sum may be x or add itself; y may alias no input but x, and not sum.
 * Sources: Zhang & Sennrich 2019 (RMSNorm); Ba et al. 2016 (LayerNorm). */
#ifndef MBK_NORM_H
#define MBK_NORM_H
#include "kernels/kernel.h"

typedef enum mbk_norm_kind { MBK_NORM_RMS = 0, MBK_NORM_LAYER = 1 } mbk_norm_kind;

typedef struct mbk_norm {
    int L, D;
    mbk_norm_kind kind;
    float eps;
    const float *x;   /* (L,D) */
    const float *add; /* (L,D) or NULL */
    const float *w;   /* (D) */
    const float *b;   /* (D) or NULL */
    float *sum;       /* (L,D) or NULL */
    float *y;         /* (L,D) */
} mbk_norm;

/* Gradients of y = norm(x) (x: the sum). Statistics are computed again from x.
 *   RMS:   r = (mean x^2 + eps)^-1/2, g = w G:  dx = r (g - x r^2 mean(g x));      dw += sum_t G x r
 *   LAYER: with xhat = (x - mean) r:            dx = r (g - mean(g) - xhat mean(g xhat));  dw += sum_t G xhat, db += G
 * dx_add: (L,D) or NULL: what flows past the norm, added to dx. dx may be the same memory as dx_add or G. dw, db: (D),
 * added to; db NULL when there is none. */
typedef struct mbk_norm_bwd {
    int L, D;
    mbk_norm_kind kind;
    float eps;
    const float *x;      /* (L,D) */
    const float *w;      /* (D) */
    const float *G;      /* (L,D) dLoss/dy */
    const float *dx_add; /* (L,D) or NULL */
    float *dx;           /* (L,D) */
    float *dw, *db;      /* (D); db or NULL */
} mbk_norm_bwd;

typedef int mbk_norm_bwd_fn(const mbk_ctx *, const mbk_norm_bwd *);
mbk_norm_bwd_fn mbk_norm_bwd_ref, mbk_norm_bwd_cpu;

typedef int mbk_norm_fn(const mbk_ctx *, const mbk_norm *);
mbk_norm_fn mbk_norm_fwd_ref, mbk_norm_fwd_cpu;
#endif
