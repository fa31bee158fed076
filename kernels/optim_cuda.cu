/* AdamW, moving average, sum of squares on a GPU. 28, 12 and 4 bytes an element and a dozen flops at most: memory
 * alone. A thread takes OPTIM_AHEAD elements a block's width apart, whose loads are under way together: 128 bytes an
 * access, and enough of them; 16-byte loads would save instructions that nothing waits for. Which products are fused
 * with a sum is said, so that an element has the same bits wherever it lies.
 *
 * Sum of squares: a block of threads for MBK_SUMSQ_BLOCK elements, in double; one more thread adds the blocks in order,
 * as the contract wants (8 clocks each: 0.15 ms for 130 M parameters). */
#include <float.h>

#include "kernels/cuda.cuh"

enum { OPTIM_THREADS = 256, OPTIM_AHEAD = 4, SUMSQ_STAGE = 1024 };

/* 1-b1, 1-b2, 1/c2, lr/c1 and lr wd. */
typedef struct adamw_args {
    mbk_adamw a;
    float b1_rest, b2_rest, c2_inverse, step, shrink;
} adamw_args;

static __device__ __forceinline__ float without_denormals(float v) {
    return fabsf(v) < FLT_MIN ? 0 : v;
}

static __global__ void adamw_elements(const adamw_args p) {
    const int64_t i0 = static_cast<int64_t>(blockIdx.x) * OPTIM_AHEAD * blockDim.x + threadIdx.x;
    float w[OPTIM_AHEAD], m[OPTIM_AHEAD], v[OPTIM_AHEAD], g[OPTIM_AHEAD];
#pragma unroll
    for (int k = 0; k < OPTIM_AHEAD; k++) {
        const int64_t i = i0 + static_cast<int64_t>(k) * blockDim.x;
        const int there = i < p.a.n;
        w[k] = there ? p.a.w[i] : 0, m[k] = there ? p.a.m[i] : 0, v[k] = there ? p.a.v[i] : 0;
        g[k] = there && p.a.grad_scale != 0 ? p.a.grad[i] * p.a.grad_scale : 0;
    }
#pragma unroll
    for (int k = 0; k < OPTIM_AHEAD; k++) {
        const int64_t i = i0 + static_cast<int64_t>(k) * blockDim.x;
        if (i >= p.a.n)
            return;
        m[k] = without_denormals(fmaf(m[k], p.a.b1, g[k] * p.b1_rest));
        v[k] = without_denormals(fmaf(v[k], p.a.b2, g[k] * p.b2_rest * g[k]));
        const float down = m[k] * p.step / (sqrtf(v[k] * p.c2_inverse) + p.a.eps);
        p.a.m[i] = m[k];
        p.a.v[i] = v[k];
        p.a.w[i] = w[k] - fmaf(w[k], p.shrink, down); /* w is rounded once: a small decay is not lost in 1 - lr wd */
    }
}

extern "C" int mbk_adamw_cuda(const mbk_ctx *ctx, const mbk_adamw *a) {
    MBK_ASSERT(a->n >= 0);
    if (a->n == 0)
        return MB_OK;
    const adamw_args p = {*a, 1 - a->b1, 1 - a->b2, 1 / a->c2, a->lr / a->c1, a->lr * a->decay};
    return launch(ctx, "adamw", adamw_elements, dim3(blocks_for(a->n, OPTIM_THREADS * OPTIM_AHEAD)),
                  dim3(OPTIM_THREADS), 0, p);
}

typedef struct ema_args {
    mbk_ema a;
    float rest;
} ema_args;

static __global__ void ema_elements(const ema_args p) {
    const int64_t i0 = static_cast<int64_t>(blockIdx.x) * OPTIM_AHEAD * blockDim.x + threadIdx.x;
#pragma unroll
    for (int k = 0; k < OPTIM_AHEAD; k++) {
        const int64_t i = i0 + static_cast<int64_t>(k) * blockDim.x;
        if (i < p.a.n)
            p.a.avg[i] = fmaf(p.a.avg[i], p.a.decay, p.a.w[i] * p.rest);
    }
}

extern "C" int mbk_ema_cuda(const mbk_ctx *ctx, const mbk_ema *a) {
    MBK_ASSERT(a->n >= 0);
    if (a->n == 0)
        return MB_OK;
    const ema_args p = {*a, 1 - a->decay};
    return launch(ctx, "ema", ema_elements, dim3(blocks_for(a->n, OPTIM_THREADS * OPTIM_AHEAD)), dim3(OPTIM_THREADS), 0,
                  p);
}

/* ---- sum of squares -----------------------------------------------------------------------------------------------
 */
typedef struct sumsq_args {
    int64_t n, blocks;
    const float *x;
    double *part, *out;
} sumsq_args;

static __global__ void sumsq_blocks(const sumsq_args p) {
    MBK_SHARED(double, lane_sums, MBK_WARP);
    const int64_t from = static_cast<int64_t>(blockIdx.x) * MBK_SUMSQ_BLOCK;
    const int64_t to = from + MBK_SUMSQ_BLOCK < p.n ? from + MBK_SUMSQ_BLOCK : p.n;
    double sum = 0;
    for (int64_t i = from + threadIdx.x; i < to; i += blockDim.x)
        sum += static_cast<double>(p.x[i]) * p.x[i];
    sum = row_sum(sum, lane_sums);
    if (threadIdx.x == 0)
        p.part[blockIdx.x] = sum;
}

/* One block: fetches side by side, adds one after another. */
static __global__ void sumsq_total(const sumsq_args p) {
    MBK_SHARED(double, stage, SUMSQ_STAGE);
    double total = 0;
    for (int64_t from = 0; from < p.blocks; from += SUMSQ_STAGE) {
        const int n = p.blocks - from < SUMSQ_STAGE ? static_cast<int>(p.blocks - from) : SUMSQ_STAGE;
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x))
            stage[i] = p.part[from + i];
        __syncthreads();
        for (int i = 0; i < n && threadIdx.x == 0; i++)
            total += stage[i];
    }
    if (threadIdx.x == 0)
        *p.out = total;
}

extern "C" size_t mbk_sumsq_work_cuda(int64_t n) {
    return static_cast<size_t>(blocks_for(n, MBK_SUMSQ_BLOCK)) * sizeof(double);
}

extern "C" int mbk_sumsq_cuda(const mbk_ctx *ctx, int64_t n, const float *x, double *out) {
    MBK_ASSERT(n >= 0);
    const unsigned blocks = blocks_for(n, MBK_SUMSQ_BLOCK);
    const sumsq_args p = {n, blocks, x, reinterpret_cast<double *>(work_of(ctx, mbk_sumsq_work_cuda(n))), out};
    const int rc = blocks ? launch(ctx, "sumsq", sumsq_blocks, dim3(blocks), dim3(OPTIM_THREADS), 0, p) : MB_OK;
    return rc ? rc : launch(ctx, "sumsq_total", sumsq_total, dim3(1), dim3(OPTIM_THREADS), 0, p);
}
