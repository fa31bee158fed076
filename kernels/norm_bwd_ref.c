/* Gradients of RMSNorm and LayerNorm, the truth: sums in double. Refuses nothing but nonsense. */
#include <math.h>

#include "kernels/norm.h"

enum { COLUMNS = 64 }; /* whose sums over rows are made together */

/* xhat = (x - mean) r of a row; the mean of RMS is 0. */
static void row_stats(const mbk_norm_bwd *a, const float *x, double *mean, double *r) {
    double square = 0;
    *mean = 0;
    for (int i = 0; i < a->D && a->kind == MBK_NORM_LAYER; i++)
        *mean += (double)x[i] / a->D;
    for (int i = 0; i < a->D; i++)
        square += (x[i] - *mean) * (x[i] - *mean);
    *r = 1 / sqrt(square / a->D + a->eps);
}

static void parameter_sums(const mbk_norm_bwd *a, int from, int n) {
    double dw[COLUMNS] = {0}, db[COLUMNS] = {0}, mean, r;
    for (int t = 0; t < a->L; t++) {
        const float *x = a->x + (size_t)t * (size_t)a->D, *G = a->G + (size_t)t * (size_t)a->D;
        row_stats(a, x, &mean, &r);
        for (int i = 0; i < n; i++) {
            dw[i] += G[from + i] * (x[from + i] - mean) * r;
            db[i] += G[from + i];
        }
    }
    for (int i = 0; i < n; i++) {
        a->dw[from + i] = (float)(a->dw[from + i] + dw[i]);
        if (a->db)
            a->db[from + i] = (float)(a->db[from + i] + db[i]);
    }
}

static void row_dx(const mbk_norm_bwd *a, const float *x, const float *G, const float *dx_add, float *dx) {
    double mean, r, g_mean = 0, g_xhat = 0;
    row_stats(a, x, &mean, &r);
    for (int i = 0; i < a->D; i++) {
        const double g = (double)a->w[i] * G[i];
        g_mean += a->kind == MBK_NORM_LAYER ? g / a->D : 0;
        g_xhat += g * (x[i] - mean) * r / a->D;
    }
    for (int i = 0; i < a->D; i++) {
        const double xhat = (x[i] - mean) * r, g = (double)a->w[i] * G[i];
        dx[i] = (float)(r * (g - g_mean - xhat * g_xhat) + (dx_add ? dx_add[i] : 0));
    }
}

int mbk_norm_bwd_ref(const mbk_ctx *ctx, const mbk_norm_bwd *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1);
    for (int i = 0; i < a->D; i += COLUMNS) /* first, because dx may be G */
        parameter_sums(a, i, a->D - i < COLUMNS ? a->D - i : COLUMNS);
    for (int t = 0; t < a->L; t++) {
        const size_t at = (size_t)t * (size_t)a->D;
        row_dx(a, a->x + at, a->G + at, a->dx_add ? a->dx_add + at : NULL, a->dx + at);
    }
    return MB_OK;
}
