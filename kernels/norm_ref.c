/* RMSNorm and LayerNorm with residual, the truth: sums in double, one row at a time. Refuses nothing but nonsense. */
#include <math.h>

#include "kernels/norm.h"

/* One row; s(i) = x[i] + add[i] in float, as the stream that the next layer receives. */
static void norm_row(const mbk_norm *a, const float *x, const float *add, float *sum, float *y) {
    double mean = 0, square = 0;
    for (int i = 0; i < a->D; i++) {
        float s = add ? x[i] + add[i] : x[i];
        y[i] = s; /* y holds the row until it is replaced: x may be y */
        if (sum)
            sum[i] = s;
        mean += s;
    }
    mean = a->kind == MBK_NORM_LAYER ? mean / a->D : 0;
    for (int i = 0; i < a->D; i++)
        square += (y[i] - mean) * (y[i] - mean);
    double scale = 1 / sqrt(square / a->D + a->eps);
    for (int i = 0; i < a->D; i++)
        y[i] = (float)((y[i] - mean) * scale * a->w[i] + (a->b ? a->b[i] : 0));
}

int mbk_norm_fwd_ref(const mbk_ctx *ctx, const mbk_norm *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1);
    for (int t = 0; t < a->L; t++) {
        size_t at = (size_t)t * a->D;
        norm_row(a, a->x + at, a->add ? a->add + at : NULL, a->sum ? a->sum + at : NULL, a->y + at);
    }
    return MB_OK;
}
