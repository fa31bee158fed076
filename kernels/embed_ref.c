/* Embedding, the truth: one copy a row. Refuses tokens outside the table before it writes anything. */
#include <string.h>

#include "kernels/embed.h"

int mbk_embed_fwd_ref(const mbk_ctx *ctx, const mbk_embed *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->V >= 1);
    for (int t = 0; t < a->L; t++)
        if (a->token[t] < 0 || a->token[t] >= a->V)
            return MB_RANGE;
    for (int t = 0; t < a->L; t++)
        for (int i = 0; i < a->D; i++)
            a->out[(size_t)t * a->D + i] = a->table[(size_t)a->token[t] * a->D + i];
    return MB_OK;
}
