/* Causal depthwise convolution and SiLU, the truth: the sum of the contract in double. Refuses K outside 1..16. */
#include <math.h>

#include "kernels/conv1d.h"

/* Memory row of row i in processing order. */
static int row(const mbk_conv *a, int i) {
    return a->reverse ? a->L - 1 - i : i;
}

/* Whether input i, perhaps of the state, belongs to the sequence of row `of`. */
static int together(const mbk_conv *a, int i, int of) {
    for (int k = of; a->segment && k > 0 && k > i; k--)
        if (a->segment[row(a, k)] != a->segment[row(a, k - 1)])
            return 0;
    return 1;
}

/* Input i of channel e in processing order; i < 0 is the state, oldest first at -(K-1). */
static float input(const mbk_conv *a, int i, int e) {
    if (i < 0)
        return a->state ? a->state[(a->K - 1 + i) * a->ldstate + e] : 0;
    return a->x[row(a, i) * a->ldx + e];
}

int mbk_conv_fwd_ref(const mbk_ctx *ctx, const mbk_conv *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->E >= 1 && a->K >= 1 && a->K <= MBK_CONV_MAX_K);
    for (int e = 0; e < a->E; e++) {
        for (int i = 0; i < a->L; i++) {
            double c = a->b ? a->b[e] : 0;
            for (int j = 0; j < a->K; j++)
                if (together(a, i - (a->K - 1) + j, i))
                    c += (double)a->w[j * a->ldw + e] * input(a, i - (a->K - 1) + j, e);
            a->y[row(a, i) * a->ldy + e] = (float)(a->silu ? c / (1 + exp(-c)) : c);
        }
        if (a->state) /* ascending: input j reads state j+L, not yet replaced */
            for (int j = 0; j < a->K - 1; j++)
                a->state[j * a->ldstate + e] =
                    together(a, a->L - (a->K - 1) + j, a->L - 1) ? input(a, a->L - (a->K - 1) + j, e) : 0;
    }
    return MB_OK;
}

int mbk_conv_step_ref(const mbk_ctx *ctx, const mbk_conv *a) {
    MBK_ASSERT(a->L == 1);
    return mbk_conv_fwd_ref(ctx, a);
}
