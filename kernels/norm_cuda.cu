/* RMSNorm and LayerNorm with residual on a GPU, and their gradients.
 *
 * Forward: 8 to 16 bytes an element (x, add, sum, y) and some ten flops: memory alone decides. A row belongs to a few
 * warps; its passes (mean, squares, result) after the first find it in the level-1 cache, for a thread reads again only
 * what it has read or written itself. Sums in double: a float's square may overflow, and at one multiply-add an element
 * even a card with a 64th of its units for doubles keeps up with its memory.
 *
 * Gradient: 12 to 16 bytes an element. A block goes through a group of rows and adds its shares of dw and db to a
 * partial sum of its own, each thread to its own columns; a second kernel adds up at most GROUPS partial sums in order.
 * The rows of a group depend on L alone, so bits do not depend on the card. */
#include "kernels/cuda.cuh"

enum { NORM_GROUPS = 512, NORM_COLUMNS = 128 };

/* Threads of a row: by D alone, for they decide the order of the sums. */
static unsigned row_threads(int D) {
    return D <= 256 ? MBK_WARP : D <= 2048 ? 128 : 512;
}

typedef struct row_stats {
    float mean, r;
} row_stats;

/* ---- forward ------------------------------------------------------------------------------------------------------
 */
static __global__ void norm_rows(const mbk_norm a) {
    MBK_SHARED(double, lane_sums, MBK_WARP);
    const int t = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
    const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
    if (t >= a.L)
        return; /* a whole warp; a block of one row has no such t */
    const size_t at = static_cast<size_t>(t) * static_cast<size_t>(a.D);
    const float *x = a.x + at, *add = a.add ? a.add + at : NULL;
    float *sum = a.sum ? a.sum + at : NULL, *y = a.y + at;
    double mean = 0, square = 0;
    for (int i = first; i < a.D; i += step) {
        const float s = add ? x[i] + add[i] : x[i];
        if (sum)
            sum[i] = s; /* x or add themselves perhaps: they are not read again then */
        mean += s;
        square += static_cast<double>(s) * s;
    }
    if (a.kind == MBK_NORM_LAYER) {
        mean = row_sum(mean, lane_sums) / a.D;
        square = 0;
        for (int i = first; i < a.D; i += step) {
            const double d = (sum ? sum[i] : add ? x[i] + add[i] : x[i]) - mean;
            square += d * d;
        }
    }
    const float scale = static_cast<float>(1 / sqrt(row_sum(square, lane_sums) / a.D + a.eps));
    const float centre = a.kind == MBK_NORM_LAYER ? static_cast<float>(mean) : 0;
    for (int i = first; i < a.D; i += step) {
        const float s = sum ? sum[i] : add ? x[i] + add[i] : x[i];
        y[i] = (s - centre) * scale * a.w[i] + (a.b ? a.b[i] : 0);
    }
}

extern "C" int mbk_norm_fwd_cuda(const mbk_ctx *ctx, const mbk_norm *a) {
    MBK_ASSERT(a->L >= 1 && a->D >= 1);
    const unsigned wide = row_threads(a->D), rows = wide == MBK_WARP ? 8 : 1;
    return launch(ctx, "norm_fwd", norm_rows, dim3(blocks_for(a->L, rows)), dim3(wide, rows), 0, *a);
}

/* ---- gradient -----------------------------------------------------------------------------------------------------
 */
typedef struct norm_bwd_args {
    mbk_norm_bwd a;
    int rows;    /* of a group */
    float *part; /* (groups, 2, D): dw, db */
} norm_bwd_args;

static __device__ row_stats stats_of(const mbk_norm_bwd *a, const float *x, double *lane_sums) {
    const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
    double mean = 0, square = 0;
    if (a->kind == MBK_NORM_LAYER) {
        for (int i = first; i < a->D; i += step)
            mean += x[i];
        mean = row_sum(mean, lane_sums) / a->D;
    }
    for (int i = first; i < a->D; i += step) {
        const double d = x[i] - mean;
        square += d * d;
    }
    const row_stats s = {static_cast<float>(mean),
                         static_cast<float>(1 / sqrt(row_sum(square, lane_sums) / a->D + a->eps))};
    return s;
}

/* A block, its threads along D: the rows of one group. */
static __global__ void norm_bwd_rows(const norm_bwd_args p) {
    MBK_SHARED(double, lane_sums, MBK_WARP);
    const mbk_norm_bwd &a = p.a;
    const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
    const int t0 = static_cast<int>(blockIdx.x) * p.rows, t1 = t0 + p.rows < a.L ? t0 + p.rows : a.L;
    float *dw = p.part + 2 * static_cast<size_t>(blockIdx.x) * static_cast<size_t>(a.D), *db = dw + a.D;
    for (int t = t0; t < t1; t++) {
        const size_t at = static_cast<size_t>(t) * static_cast<size_t>(a.D);
        const float *x = a.x + at, *G = a.G + at, *dx_add = a.dx_add ? a.dx_add + at : NULL;
        const row_stats s = stats_of(&a, x, lane_sums);
        double g_mean = 0, g_xhat = 0;
        for (int i = first; i < a.D; i += step) {
            const double g = static_cast<double>(a.w[i]) * G[i];
            g_mean += g;
            g_xhat += g * ((x[i] - s.mean) * s.r);
        }
        const float xhat_share = static_cast<float>(row_sum(g_xhat, lane_sums) / a.D);
        const float mean_share = a.kind == MBK_NORM_LAYER ? static_cast<float>(row_sum(g_mean, lane_sums) / a.D) : 0;
        for (int i = first; i < a.D; i += step) {
            const float xhat = (x[i] - s.mean) * s.r, g = G[i];
            dw[i] = (t > t0 ? dw[i] : 0) + g * xhat;
            db[i] = (t > t0 ? db[i] : 0) + g;
            a.dx[at + static_cast<size_t>(i)] =
                s.r * (a.w[i] * g - mean_share - xhat * xhat_share) + (dx_add ? dx_add[i] : 0);
        }
    }
}

/* A thread a column: adds the groups' sums in order. */
static __global__ void norm_bwd_sums(const norm_bwd_args p) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int groups = (p.a.L + p.rows - 1) / p.rows;
    if (i >= p.a.D)
        return;
    double dw = 0, db = 0;
    for (int k = 0; k < groups; k++) {
        const float *part = p.part + 2 * static_cast<size_t>(k) * static_cast<size_t>(p.a.D) + i;
        dw += part[0];
        db += part[p.a.D];
    }
    p.a.dw[i] = static_cast<float>(p.a.dw[i] + dw);
    if (p.a.db)
        p.a.db[i] = static_cast<float>(p.a.db[i] + db);
}

static int group_rows(int L) {
    return (L + NORM_GROUPS - 1) / NORM_GROUPS;
}

extern "C" size_t mbk_norm_bwd_work_cuda(const mbk_norm_bwd *a) {
    const size_t groups = blocks_for(a->L, group_rows(a->L));
    return groups * 2 * static_cast<size_t>(a->D) * sizeof(float);
}

extern "C" int mbk_norm_bwd_cuda(const mbk_ctx *ctx, const mbk_norm_bwd *a) {
    MBK_ASSERT(a->L >= 1 && a->D >= 1);
    const norm_bwd_args p = {*a, group_rows(a->L), work_of(ctx, mbk_norm_bwd_work_cuda(a))};
    const int rc =
        launch(ctx, "norm_bwd", norm_bwd_rows, dim3(blocks_for(a->L, p.rows)), dim3(row_threads(a->D)), 0, p);
    return rc ? rc
              : launch(ctx, "norm_bwd_sums", norm_bwd_sums, dim3(blocks_for(a->D, NORM_COLUMNS)), dim3(NORM_COLUMNS), 0,
                       p);
}
