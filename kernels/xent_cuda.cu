/* Cross-entropy with its gradient on a GPU. Logits are read three times (largest, sum, gradient), from memory the first
 * time only: a row of 50,280 lies in the level-2 cache; 8 bytes an element of traffic, 2 special functions: memory
 * alone. Short rows (DNA) have a warp each. Targets outside the vocabulary are found first; then nothing is written. */
#include "kernels/cuda.cuh"

enum { XENT_SHORT = 2048, XENT_ROWS = 8, XENT_THREADS = 512, XENT_CHECK = 256 };

typedef struct xent_args {
    mbk_xent a;
    mbk_fault *fault;
} xent_args;

static __global__ void check_targets(const xent_args p) {
    const int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (t < p.a.L && p.a.target[t] != p.a.ignore && (p.a.target[t] < 0 || p.a.target[t] >= p.a.V)) {
        p.fault->op = MBK_CHECKED_XENT; /* every thread that comes here writes the same */
        p.fault->status = MB_RANGE;
    }
}

/* Over the threads of a row, as row_sum; a NaN wins. */
static __device__ float row_max(float v, float *lane_max) {
    v = warp_max(v);
    if (blockDim.x == MBK_WARP)
        return v;
    if (threadIdx.x % MBK_WARP == 0)
        lane_max[threadIdx.x / MBK_WARP] = v;
    __syncthreads();
    float top = lane_max[0];
    for (unsigned w = 1; w < blockDim.x / MBK_WARP; w++)
        top = lane_max[w] > top || isnan(lane_max[w]) ? lane_max[w] : top;
    __syncthreads();
    return top;
}

static __device__ void ignored_row(const mbk_xent &a, ptrdiff_t t) {
    if (threadIdx.x == 0 && a.loss)
        a.loss[t] = 0;
    if (threadIdx.x == 0 && a.hit)
        a.hit[t] = 0;
    for (int v = static_cast<int>(threadIdx.x); v < a.V && a.grad; v += static_cast<int>(blockDim.x))
        a.grad[t * a.ldgrad + v] = 0;
}

/* The threads of one threadIdx.y: one row. */
static __global__ void xent_rows(const xent_args p) {
    MBK_SHARED(float, lane_max, MBK_WARP);
    MBK_SHARED(double, lane_sums, MBK_WARP);
    MBK_SHARED(int, lane_counts, MBK_WARP);
    const mbk_xent &a = p.a;
    const ptrdiff_t t = static_cast<ptrdiff_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
    if (t >= a.L || p.fault->status != MB_OK)
        return; /* a whole warp; a block of one row has no such t */
    const int target = a.target[t];
    if (target == a.ignore) {
        ignored_row(a, t);
        return;
    }
    const float *x = a.logits + t * a.ld, aim = x[target], weight = a.weight ? a.weight[t] : 1;
    float top = first < a.V ? x[first] : aim, some = 0;
    for (int v = first + step; v < a.V; v += step)
        top = x[v] > top || isnan(x[v]) ? x[v] : top;
    top = row_max(top, lane_max);
    int beaten = 0; /* by how many logits the target is */
    for (int v = first; v < a.V; v += step) {
        some += v == target ? 0 : expf(x[v] - top);
        beaten += !(v < target ? x[v] < aim : x[v] <= aim);
    }
    const double others = row_sum(static_cast<double>(some), lane_sums), own = expf(aim - top), total = others + own;
    beaten = row_sum(beaten, lane_counts);
    if (first == 0 && a.loss)
        a.loss[t] = weight * (aim == top ? log1p(others / own) : log(total) + (top - static_cast<double>(aim)));
    if (first == 0 && a.hit)
        a.hit[t] = !isnan(total) && !beaten;
    const float k = a.scale * weight, over = static_cast<float>(1 / total);
    const float aim_grad = k * static_cast<float>(-others / total);
    for (int v = first; v < a.V && a.grad; v += step)
        a.grad[t * a.ldgrad + v] = v == target ? aim_grad : k * (expf(x[v] - top) * over);
}

extern "C" int mbk_xent_cuda(const mbk_ctx *ctx, const mbk_xent *a) {
    MBK_ASSERT(a->L >= 1 && a->V >= 1);
    const xent_args p = {*a, queue_of(ctx)->fault};
    const unsigned wide = threads_for(a->V <= XENT_SHORT ? 1 : a->V, XENT_THREADS);
    const unsigned rows = wide == MBK_WARP ? XENT_ROWS : 1;
    const int rc =
        launch(ctx, "check_targets", check_targets, dim3(blocks_for(a->L, XENT_CHECK)), dim3(XENT_CHECK), 0, p);
    return rc ? rc : launch(ctx, "xent", xent_rows, dim3(blocks_for(a->L, rows)), dim3(wide, rows), 0, p);
}
