/* Gradient of the embedding's table, the truth: the rows of a token are summed in double. Refuses tokens outside the
 * table before it writes anything. Slow: looks for each token's other rows through all of them. */
#include "kernels/embed.h"

static int seen_before(const int32_t *token, int64_t t) {
    for (int64_t i = 0; i < t; i++)
        if (token[i] == token[t])
            return 1;
    return 0;
}

int mbk_embed_bwd_ref(const mbk_ctx *ctx, const mbk_embed_bwd *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->V >= 1 && a->from >= 0 && a->from <= a->to && a->to <= a->D);
    for (int64_t t = 0; t < a->L; t++)
        if (a->token[t] < 0 || a->token[t] >= a->V)
            return MB_RANGE;
    for (int64_t t = 0; t < a->L; t++) {
        if (seen_before(a->token, t))
            continue;
        for (int c = a->from; c < a->to; c++) {
            float *at = a->dtable + (size_t)a->token[t] * (size_t)a->D + c;
            double sum = *at;
            for (int64_t i = t; i < a->L; i++)
                if (a->token[i] == a->token[t])
                    sum += a->G[(size_t)i * (size_t)a->D + c];
            *at = (float)sum;
        }
    }
    return MB_OK;
}
