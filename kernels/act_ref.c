/* A bias and an activation, and their gradients, the truth: in double. Refuses nothing but nonsense. */
#include <math.h>

#include "kernels/act.h"

static double value(mbk_act_kind kind, double a) {
    switch (kind) {
    case MBK_ACT_NONE:
        return a;
    case MBK_ACT_GELU:
        return a * 0.5 * erfc(-a * 0.70710678118654752440);
    case MBK_ACT_RELU:
        return a > 0 || isnan(a) ? a : 0;
    case MBK_ACT_SILU:
        return a / (1 + exp(-a));
    }
    MBK_ASSERT(!"an activation");
    return 0;
}

static double slope(mbk_act_kind kind, double a) {
    switch (kind) {
    case MBK_ACT_NONE:
        return 1;
    case MBK_ACT_GELU: /* Phi + a phi */
        return 0.5 * erfc(-a * 0.70710678118654752440) + a * exp(-a * a / 2) * 0.39894228040143267794;
    case MBK_ACT_RELU:
        return isnan(a) ? a : a > 0;
    case MBK_ACT_SILU: {
        const double s = 1 / (1 + exp(-a));
        return s * (1 + a * (1 - s));
    }
    }
    MBK_ASSERT(!"an activation");
    return 0;
}

int mbk_act_fwd_ref(const mbk_ctx *ctx, const mbk_act *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->x && a->y);
    for (size_t t = 0; t < (size_t)a->L; t++)
        for (size_t i = 0; i < (size_t)a->D; i++) {
            const size_t at = t * (size_t)a->D + i;
            a->y[at] = (float)value(a->kind, (double)a->x[at] + (a->b ? (double)a->b[i] : 0));
        }
    return MB_OK;
}

int mbk_act_bwd_ref(const mbk_ctx *ctx, const mbk_act_bwd *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->G && (a->kind == MBK_ACT_NONE || (a->x && a->dx)));
    for (size_t i = 0; i < (size_t)a->D; i++) {
        double sum = a->db ? (double)a->db[i] : 0;
        for (size_t t = 0; t < (size_t)a->L; t++) {
            const size_t at = t * (size_t)a->D + i;
            const double v = a->kind == MBK_ACT_NONE ? 0 : (double)a->x[at] + (a->b ? (double)a->b[i] : 0);
            const double d = a->G[at] * slope(a->kind, v);
            sum += d;
            if (a->dx)
                a->dx[at] = (float)d;
        }
        if (a->db)
            a->db[i] = (float)sum;
    }
    return MB_OK;
}
