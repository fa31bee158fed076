/* Embedding, fast: rows are copied whole. Refuses tokens outside the table before it writes anything. */
#include <string.h>

#include "kernels/embed.h"
#include "kernels/simd.h"

mbk_embed_fn MBK_NAME(embed_fwd);

int MBK_NAME(embed_fwd)(const mbk_ctx *ctx, const mbk_embed *a) {
    const size_t row = (size_t)a->D;
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->V >= 1);
    for (int t = 0; t < a->L; t++)
        if (a->token[t] < 0 || a->token[t] >= a->V)
            return MB_RANGE;
    for (int t = 0; t < a->L; t++)
        memcpy(a->out + (size_t)t * row, a->table + (size_t)a->token[t] * row, row * sizeof(float));
    return MB_OK;
}
