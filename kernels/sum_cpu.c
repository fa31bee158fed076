/* Scaled sum of arrays, fast. Refuses nothing but nonsense. */
#include "kernels/simd.h"
#include "kernels/sum.h"

mbk_sum_fn MBK_NAME(sum);

int MBK_NAME(sum)(const mbk_ctx *ctx, const mbk_sum *a) {
    const float s = a->s, *x = a->x, *add = a->add;
    float *y = a->y;
    const int64_t n = a->n;
    int64_t i = 0;
    (void)ctx;
    MBK_ASSERT(n >= 1 && x && y);
    for (; i + VLANES <= n; i += VLANES)
        v_store(y + i, add ? v_load(x + i) * s + v_load(add + i) : v_load(x + i) * s);
    if (i < n) {
        const int left = (int)(n - i);
        const vf v = v_load_part(x + i, left) * s;
        v_store_part(y + i, add ? v + v_load_part(add + i, left) : v, left);
    }
    return MB_OK;
}
