/* Bias and activation on a GPU, and their gradients.
 *
 * Forward: 8 bytes an element. Gradient: 12, and some 70 instructions for GELU, the dearest (17 clocks of an SM of an
 * H100 for 32 lanes, against 25 for the memory): memory alone. Lanes along a row, 128 bytes an access. GELU by the
 * library's erfcf (4 ulp) of the whole argument, so nothing cancels below 0.
 *
 * Gradient: a thread goes through the rows of one group in one column, ACT_AHEAD loads under way at once, for dx may be
 * x or G and the compiler may not move a load before a store. Its sum goes to workspace; a second kernel adds up at
 * most ACT_GROUPS sums a column, every ACT_SIDEth by one thread, then these in order, in double. The rows of a group
 * depend on L alone, so bits do not depend on the card. */
#include "kernels/cuda.cuh"

enum { ACT_THREADS = 256, ACT_GROUPS = 512, ACT_AHEAD = 4, ACT_SIDE = 16, ACT_SUMS = ACT_SIDE * MBK_WARP };

/* The reference's formulas, in float. */
static __device__ __forceinline__ float value_of(mbk_act_kind kind, float a) {
    switch (kind) {
    case MBK_ACT_GELU:
        return a * (0.5f * erfcf(-a * 0.70710678f));
    case MBK_ACT_RELU:
        return a > 0 || isnan(a) ? a : 0;
    case MBK_ACT_SILU:
        return silu(a);
    default:
        return a;
    }
}

static __device__ __forceinline__ float slope_of(mbk_act_kind kind, float a) {
    float value;
    switch (kind) {
    case MBK_ACT_GELU: /* Phi + a phi */
        return 0.5f * erfcf(-a * 0.70710678f) + a * (expf(-0.5f * a * a) * 0.39894228f);
    case MBK_ACT_RELU:
        return isnan(a) ? a : a > 0 ? 1 : 0;
    case MBK_ACT_SILU:
        return silu_slope(a, &value);
    default:
        return 1;
    }
}

/* ---- forward ------------------------------------------------------------------------------------------------------
 */
static __global__ void act_rows(const mbk_act a) {
    const int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    const int i = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (t >= a.L || i >= a.D)
        return;
    const int64_t at = t * a.D + i;
    a.y[at] = value_of(a.kind, a.b ? a.x[at] + a.b[i] : a.x[at]);
}

static int known(mbk_act_kind kind) {
    return kind == MBK_ACT_NONE || kind == MBK_ACT_GELU || kind == MBK_ACT_RELU || kind == MBK_ACT_SILU;
}

extern "C" int mbk_act_fwd_cuda(const mbk_ctx *ctx, const mbk_act *a) {
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->x && a->y && known(a->kind));
    const unsigned wide = threads_for(a->D, ACT_THREADS), rows = ACT_THREADS / wide;
    return launch(ctx, "act_fwd", act_rows, dim3(blocks_for(a->L, rows), blocks_for(a->D, wide)), dim3(wide, rows), 0,
                  *a);
}

/* ---- gradient -----------------------------------------------------------------------------------------------------
 */
typedef struct act_bwd_args {
    mbk_act_bwd a;
    int rows, groups; /* of a group; groups */
    float *part;      /* (groups,D), or NULL without db */
} act_bwd_args;

/* Thread: group blockIdx.x * blockDim.y + threadIdx.y, column blockIdx.y * blockDim.x + threadIdx.x. */
static __global__ void act_bwd_rows(const act_bwd_args p) {
    const mbk_act_bwd &a = p.a;
    const int group = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
    const int i = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (group >= p.groups || i >= a.D)
        return;
    const int64_t t0 = static_cast<int64_t>(group) * p.rows, t1 = t0 + p.rows < a.L ? t0 + p.rows : a.L;
    const float bias = a.b ? a.b[i] : 0;
    float sum = 0;
    for (int64_t t = t0; t < t1; t += ACT_AHEAD) {
        float x[ACT_AHEAD], d[ACT_AHEAD];
#pragma unroll
        for (int k = 0; k < ACT_AHEAD; k++) {
            const int64_t at = (t + k) * a.D + i;
            x[k] = t + k < t1 && a.kind != MBK_ACT_NONE ? a.x[at] : 0;
            d[k] = t + k < t1 ? a.G[at] : 0;
        }
#pragma unroll
        for (int k = 0; k < ACT_AHEAD; k++) {
            d[k] *= slope_of(a.kind, x[k] + bias);
            if (t + k < t1)
                sum += d[k];
            if (t + k < t1 && a.dx)
                a.dx[(t + k) * a.D + i] = d[k];
        }
    }
    if (p.part)
        p.part[static_cast<int64_t>(group) * a.D + i] = sum;
}

/* Block: threadIdx.x along columns; thread y of a column adds the groups y, y + ACT_SIDE, ... */
static __global__ void act_bwd_sums(const act_bwd_args p) {
    MBK_SHARED(double, sums, ACT_SUMS);
    const int lane = static_cast<int>(threadIdx.x), side = static_cast<int>(threadIdx.y);
    const int i = static_cast<int>(blockIdx.x) * MBK_WARP + lane;
    double sum = 0;
    for (int k = side; k < p.groups && i < p.a.D; k += ACT_SIDE)
        sum += p.part[static_cast<int64_t>(k) * p.a.D + i];
    sums[side * MBK_WARP + lane] = sum;
    __syncthreads();
    if (side > 0 || i >= p.a.D)
        return;
    for (int s = 1; s < ACT_SIDE; s++)
        sum += sums[s * MBK_WARP + lane];
    p.a.db[i] = static_cast<float>(p.a.db[i] + sum);
}

static int group_rows(int L) {
    return (L + ACT_GROUPS - 1) / ACT_GROUPS;
}

extern "C" size_t mbk_act_bwd_work_cuda(const mbk_act_bwd *a) {
    const size_t groups = blocks_for(a->L, group_rows(a->L));
    return a->db ? groups * static_cast<size_t>(a->D) * sizeof(float) : 0;
}

extern "C" int mbk_act_bwd_cuda(const mbk_ctx *ctx, const mbk_act_bwd *a) {
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->G && known(a->kind) && (a->kind == MBK_ACT_NONE || (a->x && a->dx)));
    const int rows = group_rows(a->L), groups = static_cast<int>(blocks_for(a->L, rows));
    const act_bwd_args p = {*a, rows, groups, a->db ? work_of(ctx, mbk_act_bwd_work_cuda(a)) : NULL};
    const unsigned wide = threads_for(a->D, ACT_THREADS), high = ACT_THREADS / wide;
    const int rc = launch(ctx, "act_bwd", act_bwd_rows, dim3(blocks_for(groups, high), blocks_for(a->D, wide)),
                          dim3(wide, high), 0, p);
    if (rc || !a->db)
        return rc;
    return launch(ctx, "act_bwd_sums", act_bwd_sums, dim3(blocks_for(a->D, MBK_WARP)), dim3(MBK_WARP, ACT_SIDE), 0, p);
}
