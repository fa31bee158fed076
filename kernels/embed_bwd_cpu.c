/* Gradient of the embedding's table, fast: rows are added where they belong, one after another. Refuses tokens outside
 * the table before it writes anything. */
#include "kernels/embed.h"
#include "kernels/simd.h"

mbk_embed_bwd_fn MBK_NAME(embed_bwd);

static void add_row(float *sum, const float *G, int n) {
    int i = 0;
    for (; i + VLANES <= n; i += VLANES)
        v_store(sum + i, v_load(sum + i) + v_load(G + i));
    if (i < n)
        v_store_part(sum + i, v_load_part(sum + i, n - i) + v_load_part(G + i, n - i), n - i);
}

int MBK_NAME(embed_bwd)(const mbk_ctx *ctx, const mbk_embed_bwd *a) {
    const size_t D = (size_t)a->D, from = (size_t)a->from;
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->V >= 1 && a->from >= 0 && a->from <= a->to && a->to <= a->D);
    for (int64_t t = 0; t < a->L; t++)
        if (a->token[t] < 0 || a->token[t] >= a->V)
            return MB_RANGE;
    for (int64_t t = 0; t < a->L; t++)
        add_row(a->dtable + (size_t)a->token[t] * D + from, a->G + (size_t)t * D + from, a->to - a->from);
    return MB_OK;
}
