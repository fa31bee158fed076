/* Scaled sum of arrays on a GPU. 8 or 12 bytes an element and one multiply-add: memory alone. A thread takes SUM_AHEAD
 * elements a block's width apart, whose loads are under way together. */
#include "kernels/cuda.cuh"

enum { SUM_THREADS = 256, SUM_AHEAD = 4 };

static __global__ void sum_elements(const mbk_sum a) {
    const int64_t i0 = static_cast<int64_t>(blockIdx.x) * SUM_AHEAD * blockDim.x + threadIdx.x;
    float x[SUM_AHEAD], add[SUM_AHEAD];
#pragma unroll
    for (int k = 0; k < SUM_AHEAD; k++) {
        const int64_t i = i0 + static_cast<int64_t>(k) * blockDim.x;
        x[k] = i < a.n ? a.x[i] : 0;
        add[k] = i < a.n && a.add ? a.add[i] : 0;
    }
#pragma unroll
    for (int k = 0; k < SUM_AHEAD; k++) {
        const int64_t i = i0 + static_cast<int64_t>(k) * blockDim.x;
        if (i < a.n)
            a.y[i] = a.add ? fmaf(a.s, x[k], add[k]) : a.s * x[k]; /* adding 0 would lose the sign of -0 */
    }
}

extern "C" int mbk_sum_cuda(const mbk_ctx *ctx, const mbk_sum *a) {
    MBK_ASSERT(a->n >= 1 && a->x && a->y);
    return launch(ctx, "sum", sum_elements, dim3(blocks_for(a->n, SUM_THREADS * SUM_AHEAD)), dim3(SUM_THREADS), 0, *a);
}
