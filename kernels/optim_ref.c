/* AdamW, moving average and sum of squares, the truth: the equations of the contract in double. Refuses nothing but
 * nonsense. */
#include <float.h>
#include <math.h>

#include "kernels/optim.h"

static double without_denormals(double a) {
    return fabs(a) < FLT_MIN ? 0 : a;
}

int mbk_adamw_ref(const mbk_ctx *ctx, const mbk_adamw *a) {
    (void)ctx;
    MBK_ASSERT(a->n >= 0);
    for (int64_t i = 0; i < a->n; i++) {
        const double g = a->grad_scale != 0 ? (double)a->grad[i] * a->grad_scale : 0;
        const double m = without_denormals((double)a->b1 * a->m[i] + (1 - (double)a->b1) * g);
        const double v = without_denormals((double)a->b2 * a->v[i] + (1 - (double)a->b2) * g * g);
        a->m[i] = (float)m;
        a->v[i] = (float)v;
        a->w[i] = (float)(a->w[i] * (1 - (double)a->lr * a->decay) - a->lr * (m / a->c1) / (sqrt(v / a->c2) + a->eps));
    }
    return MB_OK;
}

int mbk_ema_ref(const mbk_ctx *ctx, const mbk_ema *a) {
    (void)ctx;
    MBK_ASSERT(a->n >= 0);
    for (int64_t i = 0; i < a->n; i++)
        a->avg[i] = (float)((double)a->decay * a->avg[i] + (1 - (double)a->decay) * a->w[i]);
    return MB_OK;
}

int mbk_sumsq_ref(const mbk_ctx *ctx, int64_t n, const float *x, double *out) {
    double total = 0;
    (void)ctx;
    MBK_ASSERT(n >= 0);
    for (int64_t from = 0; from < n; from += MBK_SUMSQ_BLOCK) {
        double sum = 0;
        for (int64_t i = from; i < n && i < from + MBK_SUMSQ_BLOCK; i++)
            sum += (double)x[i] * x[i];
        total += sum;
    }
    *out = total;
    return MB_OK;
}
