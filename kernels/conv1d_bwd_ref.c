/* Gradients of the causal convolution, the truth: the sums of the contract in double. Refuses K outside 1..16. */
#include <math.h>

#include "kernels/conv1d.h"

/* Memory row of row i in processing order; i may be one of the rows after the piece. */
static ptrdiff_t row(const mbk_conv_bwd *a, int i) {
    return a->reverse ? a->L - 1 - i : i;
}

/* Input i of channel e in processing order; i < 0 is the state, oldest first at -(K-1). */
static double input(const mbk_conv_bwd *a, int i, int e) {
    if (i < 0)
        return a->state ? a->state[(a->K - 1 + i) * a->ldstate + e] : 0;
    return a->x[row(a, i) * a->ldx + e];
}

/* Whether input i, perhaps of the state, belongs to the sequence of row `of`. */
static int together(const mbk_conv_bwd *a, int i, int of) {
    for (int k = of; a->segment && k > 0 && k > i; k--)
        if (a->segment[row(a, k)] != a->segment[row(a, k - 1)])
            return 0;
    return 1;
}

/* dLoss/dc of row i; 0 beyond the end of the sequence. */
static double slope(const mbk_conv_bwd *a, int i, int e) {
    if (i >= a->L + a->after)
        return 0;
    const double G = a->G[row(a, i) * a->ldg + e];
    if (!a->silu)
        return G;
    double c = a->b ? a->b[e] : 0;
    for (int j = 0; j < a->K; j++)
        if (together(a, i - (a->K - 1) + j, i))
            c += a->w[j * a->ldw + e] * input(a, i - (a->K - 1) + j, e);
    const double s = 1 / (1 + exp(-c));
    return G * s * (1 + c * (1 - s));
}

static void channel(const mbk_conv_bwd *a, int e) {
    const int K = a->K;
    double p[MBK_CONV_MAX_K], dw[MBK_CONV_MAX_K] = {0}, db = 0; /* p: of the last K rows, row i at i % K */
    for (int i = 0; i < a->L + K - 1; i++) {
        p[i % K] = slope(a, i, e);
        for (int j = 0; j < K && i < a->L; j++)
            if (together(a, i - (K - 1) + j, i))
                dw[j] += p[i % K] * input(a, i - (K - 1) + j, e);
        if (i < a->L)
            db += p[i % K];
        if (i < K - 1)
            continue;
        float *dx = a->dx + row(a, i - (K - 1)) * a->lddx + e;
        double sum = a->accumulate ? *dx : 0;
        for (int j = 0; j < K; j++)
            if (i - j < a->L + a->after && together(a, i - (K - 1), i - j))
                sum += a->w[j * a->ldw + e] * p[(i - j) % K];
        *dx = (float)sum;
    }
    for (int j = 0; j < K; j++)
        a->dw[j * a->lddw + e] = (float)(a->dw[j * a->lddw + e] + dw[j]);
    if (a->db)
        a->db[e] = (float)(a->db[e] + db);
}

int mbk_conv_bwd_ref(const mbk_ctx *ctx, const mbk_conv_bwd *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->E >= 1 && a->K >= 1 && a->K <= MBK_CONV_MAX_K);
    MBK_ASSERT(a->after >= 0 && a->after <= a->K - 1);
    for (int e = 0; e < a->E; e++)
        channel(a, e);
    return MB_OK;
}
