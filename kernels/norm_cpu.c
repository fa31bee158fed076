/* RMSNorm and LayerNorm with residual, fast: three sweeps over a row that stays in L1, sums in four vectors. A row
 * whose sum of squares leaves the range of float (|s| > 1e17 or so, inf, NaN) is summed again in double. */
#include <math.h>

#include "kernels/norm.h"
#include "kernels/simd.h"

mbk_norm_fn MBK_NAME(norm_fwd);

/* s = x + add, to sum and to out (which may be x). */
static void add_rows(int D, const float *x, const float *add, float *sum, float *out) {
    for (int i = 0; i < D; i += VLANES) {
        vf s = v_load_n(x + i, D - i) + v_load_n(add + i, D - i);
        if (sum)
            v_store_n(sum + i, s, D - i);
        else
            v_store_n(out + i, s, D - i);
    }
}

/* sum_i s[i]; or, with square = 1, sum_i (s[i] - mean)^2. Lanes beyond the row count nothing. */
VINLINE float row_sum(const int square, int D, const float *s, float mean) {
    vf acc[4] = {{0}, {0}, {0}, {0}};
    int i = 0;
    for (; i + 4 * VLANES <= D; i += 4 * VLANES)
        VUNROLL
    for (int k = 0; k < 4; k++) {
        vf v = v_load(s + i + k * VLANES) - mean;
        acc[k] += square ? v * v : v;
    }
    for (; i + VLANES <= D; i += VLANES) {
        vf v = v_load(s + i) - mean;
        acc[0] += square ? v * v : v;
    }
    float total = v_sum((acc[0] + acc[1]) + (acc[2] + acc[3]));
    for (; i < D; i++)
        total += square ? (s[i] - mean) * (s[i] - mean) : s[i] - mean;
    return total;
}

/* Mean (LayerNorm) and 1/sqrt(mean square + eps) of a row. */
static void row_stats(const mbk_norm *a, const float *s, float *mean, float *scale) {
    *mean = a->kind == MBK_NORM_LAYER ? row_sum(0, a->D, s, 0) / (float)a->D : 0;
    float square = row_sum(1, a->D, s, *mean);
    if (square < 1e35f) {
        *scale = 1 / sqrtf(square / (float)a->D + a->eps);
        return;
    }
    double m = 0, q = 0;
    for (int i = 0; i < a->D && a->kind == MBK_NORM_LAYER; i++)
        m += s[i];
    m /= a->D;
    for (int i = 0; i < a->D; i++)
        q += (s[i] - m) * (s[i] - m);
    *mean = (float)m;
    *scale = (float)(1 / sqrt(q / a->D + (double)a->eps));
}

static void norm_row(const mbk_norm *a, const float *x, const float *add, float *sum, float *y) {
    const int D = a->D;
    const float *s = add ? (sum ? sum : y) : x;
    float mean, scale;
    if (add)
        add_rows(D, x, add, sum, y);
    row_stats(a, s, &mean, &scale);
    for (int i = 0; i < D; i += VLANES) {
        vf v = v_load_n(s + i, D - i);
        vf out = (v - mean) * scale * v_load_n(a->w + i, D - i);
        if (a->b)
            out += v_load_n(a->b + i, D - i);
        v_store_n(y + i, out, D - i);
        if (sum && !add && sum != x)
            v_store_n(sum + i, v, D - i);
    }
}

int MBK_NAME(norm_fwd)(const mbk_ctx *ctx, const mbk_norm *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1);
    for (int t = 0; t < a->L; t++) {
        size_t at = (size_t)t * (size_t)a->D;
        norm_row(a, a->x + at, a->add ? a->add + at : NULL, a->sum ? a->sum + at : NULL, a->y + at);
    }
    return MB_OK;
}
