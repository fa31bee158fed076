/* Embedding and its gradient on a GPU. Tokens outside the table are found by a kernel of its own, which sets the
 * queue's fault word; the kernels after it look at that word and write nothing then.
 *
 * Forward: 8 bytes an element (the row read, the row written), no arithmetic: memory alone. A warp copies rows, lanes
 * along D: 128 bytes an access.
 *
 * Gradient: an element of the table is one chain of float additions over its rows in order, as the contract says, so
 * the parallelism is that of tokens and columns; no atomics, no sorting, no workspace. Few tokens (DNA: 12): one thread
 * an element goes through all rows, 4 (L / FEW_ROWS loads of tokens) from shared memory, and loads only rows of its
 * own. Many: the warp of a row looks whether its token came before, which ends early where tokens are frequent; the
 * first of each token collects the later ones, 32 tokens at a look. L^2 / 64 looks at worst: 131,072 different tokens
 * take some milliseconds on a large device, of a step of seconds. */
#include "kernels/cuda.cuh"

enum { EMBED_THREADS = 256, FEW_TOKENS = 512, FEW_ROWS = 256, AHEAD = 8 };

typedef struct token_check {
    int64_t L;
    const int32_t *token;
    int V, op;
    mbk_fault *fault;
} token_check;

static __global__ void check_tokens(const token_check a) {
    const int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (t < a.L && (a.token[t] < 0 || a.token[t] >= a.V)) {
        a.fault->op = a.op; /* every thread that comes here writes the same */
        a.fault->status = MB_RANGE;
    }
}

static int launch_check(const mbk_ctx *ctx, int64_t L, const int32_t *token, int V, int op) {
    const token_check c = {L, token, V, op, queue_of(ctx)->fault};
    return launch(ctx, "check_tokens", check_tokens, dim3(blocks_for(L, EMBED_THREADS)), dim3(EMBED_THREADS), 0, c);
}

/* ---- forward ------------------------------------------------------------------------------------------------------
 */
typedef struct embed_args {
    mbk_embed a;
    const mbk_fault *fault;
} embed_args;

static __global__ void embed_rows(const embed_args p) {
    const int t = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
    if (t >= p.a.L || p.fault->status != MB_OK)
        return;
    const float *from = p.a.table + static_cast<size_t>(p.a.token[t]) * static_cast<size_t>(p.a.D);
    float *to = p.a.out + static_cast<size_t>(t) * static_cast<size_t>(p.a.D);
    for (int i = static_cast<int>(threadIdx.x); i < p.a.D; i += static_cast<int>(blockDim.x))
        to[i] = from[i];
}

extern "C" int mbk_embed_fwd_cuda(const mbk_ctx *ctx, const mbk_embed *a) {
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->V >= 1);
    const embed_args p = {*a, queue_of(ctx)->fault};
    const unsigned wide = threads_for(a->D, EMBED_THREADS), rows = EMBED_THREADS / wide;
    const int rc = launch_check(ctx, a->L, a->token, a->V, MBK_CHECKED_EMBED);
    return rc ? rc : launch(ctx, "embed_fwd", embed_rows, dim3(blocks_for(a->L, rows)), dim3(wide, rows), 0, p);
}

/* ---- gradient -----------------------------------------------------------------------------------------------------
 */
typedef struct embed_bwd_args {
    mbk_embed_bwd a;
    const mbk_fault *fault;
} embed_bwd_args;

/* Block: threadIdx.x along columns, blockIdx.y the token. Rows in order, AHEAD loads under way at once. */
static __global__ void embed_bwd_few(const embed_bwd_args p) {
    MBK_SHARED(int32_t, token, FEW_ROWS);
    const int c = p.a.from + static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int v = static_cast<int>(blockIdx.y);
    const size_t D = static_cast<size_t>(p.a.D);
    float *at = p.a.dtable + static_cast<size_t>(v) * D + c, sum = 0;
    if (p.fault->status != MB_OK)
        return;
    if (c < p.a.to)
        sum = *at;
    for (int64_t t0 = 0; t0 < p.a.L; t0 += FEW_ROWS) {
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < FEW_ROWS; i += static_cast<int>(blockDim.x))
            token[i] = t0 + i < p.a.L ? p.a.token[t0 + i] : -1;
        __syncthreads();
        for (int i = 0; i < FEW_ROWS && c < p.a.to; i += AHEAD) {
            float g[AHEAD];
#pragma unroll
            for (int k = 0; k < AHEAD; k++)
                g[k] = token[i + k] == v ? p.a.G[static_cast<size_t>(t0 + i + k) * D + c] : 0;
#pragma unroll
            for (int k = 0; k < AHEAD; k++)
                sum = token[i + k] == v ? sum + g[k] : sum;
        }
    }
    if (c < p.a.to)
        *at = sum;
}

/* Whether the token of row t lies in a row before; all lanes of the warp get the answer. */
static __device__ int came_before(const int32_t *token, int64_t t, int lane) {
    const int32_t mine = token[t];
    for (int64_t from = t; from > 0; from -= MBK_WARP) {
        const int64_t i = from - 1 - lane;
        if (__any_sync(MBK_ALL_LANES, i >= 0 && token[i >= 0 ? i : 0] == mine))
            return 1;
    }
    return 0;
}

/* Warp blockIdx.x * blockDim.y + threadIdx.y: the row of that number; blockIdx.y: 32 columns. */
static __global__ void embed_bwd_many(const embed_bwd_args p) {
    const int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    const int lane = static_cast<int>(threadIdx.x), c = p.a.from + static_cast<int>(blockIdx.y) * MBK_WARP + lane;
    const size_t D = static_cast<size_t>(p.a.D);
    if (t >= p.a.L || p.fault->status != MB_OK || came_before(p.a.token, t, lane))
        return;
    const int32_t mine = p.a.token[t];
    float *at = p.a.dtable + static_cast<size_t>(mine) * D + c, sum = c < p.a.to ? *at : 0;
    for (int64_t from = t; from < p.a.L; from += MBK_WARP) {
        const int64_t i = from + lane;
        unsigned same = __ballot_sync(MBK_ALL_LANES, i < p.a.L && p.a.token[i < p.a.L ? i : t] == mine);
        for (; same; same &= same - 1)
            if (c < p.a.to)
                sum += p.a.G[static_cast<size_t>(from + __ffs(static_cast<int>(same)) - 1) * D + c];
    }
    if (c < p.a.to)
        *at = sum;
}

extern "C" int mbk_embed_bwd_cuda(const mbk_ctx *ctx, const mbk_embed_bwd *a) {
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->V >= 1 && a->from >= 0 && a->from <= a->to && a->to <= a->D);
    const embed_bwd_args p = {*a, queue_of(ctx)->fault};
    const int rc = launch_check(ctx, a->L, a->token, a->V, MBK_CHECKED_EMBED_BWD), columns = a->to - a->from;
    if (rc || !columns)
        return rc;
    const unsigned wide = threads_for(columns, EMBED_THREADS), rows = EMBED_THREADS / MBK_WARP;
    if (a->V <= FEW_TOKENS)
        return launch(ctx, "embed_bwd_few", embed_bwd_few, dim3(blocks_for(columns, wide), static_cast<unsigned>(a->V)),
                      dim3(wide), 0, p);
    return launch(ctx, "embed_bwd_many", embed_bwd_many, dim3(blocks_for(a->L, rows), blocks_for(columns, MBK_WARP)),
                  dim3(MBK_WARP, rows), 0, p);
}
