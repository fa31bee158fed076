/* Gradients of RMSNorm and LayerNorm, fast: two or three sweeps over a few rows that stay in L1, so that w and dw
 * are touched once for all of them. A row whose sums leave the range of float (|x| > 1e17 or so, inf, NaN; or
 * eps = 0 and |x| < 1e-15) has them made again in double. With xhat = (x - mean) r and g = w G:  dx = r (g - mean(g) -
 * xhat mean(g xhat)), nothing in it larger than it must be. Refuses nothing but nonsense. */
#include <math.h>

#include "kernels/norm.h"
#include "kernels/simd.h"

mbk_norm_bwd_fn MBK_NAME(norm_bwd);

enum { GROUP = VREGISTERS == 32 ? 4 : 2 }; /* rows that share one sweep of w, dw and db */

typedef struct stats {
    float mean, r;        /* xhat = (x - mean) r */
    float g_mean, g_xhat; /* mean(g), 0 in RMS; mean(g xhat) */
} stats;

static float row_mean(int D, const float *x) {
    vf sum[2] = {{0}, {0}};
    int i = 0;
    for (; i + 2 * VLANES <= D; i += 2 * VLANES)
        sum[0] += v_load(x + i), sum[1] += v_load(x + i + VLANES);
    for (; i < D; i += VLANES)
        sum[0] += v_load_n(x + i, D - i);
    return v_sum(sum[0] + sum[1]) / (float)D;
}

/* Adds n <= VLANES elements' (x-mean)^2, g and g (x-mean) to the sums. Lanes beyond n have g = 0. */
VINLINE void add_terms(const int layer, const mbk_norm_bwd *a, const float *x, const float *G, int i, const int n,
                       float mean, vf sum[3]) {
    const vf v = v_load_n(x + i, n) - mean, g = v_load_n(a->w + i, n) * v_load_n(G + i, n);
    sum[0] += v * v;
    sum[1] += layer ? g : (vf){0};
    sum[2] += g * v;
}

static stats stats_in_double(const mbk_norm_bwd *a, const float *x, const float *G) {
    const int layer = a->kind == MBK_NORM_LAYER;
    double mean = 0, square = 0, g_sum = 0, g_x = 0;
    for (int i = 0; i < a->D && layer; i++)
        mean += x[i];
    mean /= a->D;
    for (int i = 0; i < a->D; i++) {
        const double v = x[i] - mean, g = (double)a->w[i] * G[i];
        square += v * v;
        g_sum += g;
        g_x += g * v;
    }
    const double r = 1 / sqrt(square / a->D + a->eps);
    return (stats){(float)mean, (float)r, layer ? (float)(g_sum / a->D) : 0, (float)(g_x * r / a->D)};
}

VINLINE stats row_stats(const int layer, const mbk_norm_bwd *a, const float *x, const float *G) {
    const int D = a->D;
    const float mean = layer ? row_mean(D, x) : 0;
    vf sum[2][3] = {{{0}}};
    int i = 0;
    for (; i + 2 * VLANES <= D; i += 2 * VLANES) {
        add_terms(layer, a, x, G, i, VLANES, mean, sum[0]);
        add_terms(layer, a, x, G, i + VLANES, VLANES, mean, sum[1]);
    }
    if (i + VLANES <= D) {
        add_terms(layer, a, x, G, i, VLANES, mean, sum[0]);
        i += VLANES;
    }
    float square = v_sum(sum[0][0] + sum[1][0]), g_x = v_sum(sum[0][2] + sum[1][2]);
    float g_sum = layer ? v_sum(sum[0][1] + sum[1][1]) : 0;
    for (; i < D; i++) {
        const float v = x[i] - mean, g = a->w[i] * G[i];
        square += v * v;
        g_sum += layer ? g : 0;
        g_x += g * v;
    }
    const float power = square / (float)D + a->eps;
    if (!(power > 1e-30f && square < 1e35f && fabsf(g_sum) < 1e35f && fabsf(g_x) < 1e35f))
        return stats_in_double(a, x, G);
    const float r = 1 / sqrtf(power);
    return (stats){mean, r, layer ? g_sum / (float)D : 0, g_x / (float)D * r};
}

/* R rows from row t on, n <= VLANES elements from i on. */
VINLINE void rows_vector(const int layer, const int R, const mbk_norm_bwd *a, const stats *s, size_t t, int i,
                         const int n) {
    const vf w = v_load_n(a->w + i, n);
    vf dw = {0}, db = {0};
    for (int k = 0; k < R; k++) {
        const size_t at = (t + (size_t)k) * (size_t)a->D + (size_t)i;
        const vf G = v_load_n(a->G + at, n), v = v_load_n(a->x + at, n), xhat = (layer ? v - s[k].mean : v) * s[k].r;
        const vf add = a->dx_add ? v_load_n(a->dx_add + at, n) : (vf){0};
        dw += G * xhat;
        db += G;
        v_store_n(a->dx + at, ((layer ? w * G - s[k].g_mean : w * G) - xhat * s[k].g_xhat) * s[k].r + add, n);
    }
    v_store_n(a->dw + i, v_load_n(a->dw + i, n) + dw, n);
    if (a->db)
        v_store_n(a->db + i, v_load_n(a->db + i, n) + db, n);
}

VINLINE void rows(const int layer, const int R, const mbk_norm_bwd *args, size_t t) {
    const mbk_norm_bwd copy = *args, *a = &copy; /* so that no store can be taken for a change of a pointer */
    const size_t D = (size_t)a->D;
    stats s[GROUP];
    int i = 0;
    for (int k = 0; k < R; k++)
        s[k] = row_stats(layer, args, a->x + (t + (size_t)k) * D, a->G + (t + (size_t)k) * D);
    for (; i + VLANES <= a->D; i += VLANES)
        rows_vector(layer, R, a, s, t, i, VLANES);
    if (i < a->D)
        rows_vector(layer, R, a, s, t, i, a->D - i);
}

VINLINE void all_rows(const int layer, const mbk_norm_bwd *a) {
    int t = 0;
    for (; t + GROUP <= a->L; t += GROUP)
        rows(layer, GROUP, a, (size_t)t);
    for (; t < a->L; t++)
        rows(layer, 1, a, (size_t)t);
}

int MBK_NAME(norm_bwd)(const mbk_ctx *ctx, const mbk_norm_bwd *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1);
    if (a->kind == MBK_NORM_LAYER)
        all_rows(1, a);
    else
        all_rows(0, a);
    return MB_OK;
}
