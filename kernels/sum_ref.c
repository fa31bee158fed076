/* Scaled sum of arrays, the truth: in double. Refuses nothing but nonsense. */
#include "kernels/sum.h"

int mbk_sum_ref(const mbk_ctx *ctx, const mbk_sum *a) {
    (void)ctx;
    MBK_ASSERT(a->n >= 1 && a->x && a->y);
    for (int64_t i = 0; i < a->n; i++)
        a->y[i] = a->add ? (float)((double)a->s * a->x[i] + (double)a->add[i]) : a->s * a->x[i];
    return MB_OK;
}
