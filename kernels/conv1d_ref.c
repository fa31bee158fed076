/* Causal depthwise convolution and SiLU, the truth: the sum of the contract in double. Refuses K outside 1..16. */
#include <math.h>

#include "kernels/conv1d.h"

/* Input i of channel e in processing order; i < 0 is the state, oldest first at -(K-1). */
static float input(const mbk_conv *a, int i, int e) {
    if (i < 0)
        return a->state ? a->state[(a->K - 1 + i) * a->ldstate + e] : 0;
    return a->x[(a->reverse ? a->L - 1 - i : i) * a->ldx + e];
}

int mbk_conv_fwd_ref(const mbk_ctx *ctx, const mbk_conv *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->E >= 1 && a->K >= 1 && a->K <= MBK_CONV_MAX_K);
    for (int e = 0; e < a->E; e++) {
        for (int i = 0; i < a->L; i++) {
            double c = a->b ? a->b[e] : 0;
            for (int j = 0; j < a->K; j++)
                c += (double)a->w[j * a->ldw + e] * input(a, i - (a->K - 1) + j, e);
            a->y[(a->reverse ? a->L - 1 - i : i) * a->ldy + e] = (float)(a->silu ? c / (1 + exp(-c)) : c);
        }
        if (a->state) /* ascending: input j reads state j+L, not yet replaced */
            for (int j = 0; j < a->K - 1; j++)
                a->state[j * a->ldstate + e] = input(a, a->L - (a->K - 1) + j, e);
    }
    return MB_OK;
}

int mbk_conv_step_ref(const mbk_ctx *ctx, const mbk_conv *a) {
    MBK_ASSERT(a->L == 1);
    return mbk_conv_fwd_ref(ctx, a);
}
