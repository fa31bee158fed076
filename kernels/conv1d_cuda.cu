/* Causal depthwise convolution with SiLU on a GPU: forward, one token, gradients.
 *
 * A thread goes through CONV_ROWS rows of one channel with the last K-1 inputs in registers, so each input is read once
 * (K-1 rows of each CONV_ROWS twice); lanes are channels, 128 bytes of a row an access. Widths up to 4 and up to 16 are
 * two instantiations; unused taps stay zero.
 *
 * Roofline: forward 8 bytes and K + 15 flops, 3 special functions, an element; gradient 16 bytes (x, G, dx read and
 * written) and 4 K + 25 flops: memory alone (1.0 to 1.9 clocks of an SM on H100 for 32 lanes, against 0.6).
 *
 * The state is replaced, and shares of dw and db are added up in order (in double), by kernels of their own, when all
 * rows have been read: no thread writes what another may still read. */
#include "kernels/scan_rows.cuh"

enum { CONV_ROWS = 64, CONV_CHANNELS = 128, FEW_TAPS = 4 };

/* What the inputs are read by, of forward and gradient. Rows in processing order. */
typedef struct conv_inputs {
    int L, K, reverse;
    const float *x, *state;
    ptrdiff_t ldx, ldstate;
    const int32_t *segment;
} conv_inputs;

/* Input i, of the state for i < 0. */
static __device__ __forceinline__ float input_of(const conv_inputs &a, int i, int e) {
    if (i < 0)
        return a.state ? a.state[(a.K - 1 + i) * a.ldstate + e] : 0;
    return a.x[row_of(a.L, a.reverse, i) * a.ldx + e];
}

/* The last TAPS-1 inputs, the newest last; those that do not belong to the sequence at hand are zero. */
template <int TAPS> struct window { float in[TAPS]; };
/* As it is before row i. */
template <int TAPS> static __device__ void fill(window<TAPS> *w, const conv_inputs &a, int i, int e) {
    int together = 1;
#pragma unroll
    for (int j = TAPS - 2; j >= 0; j--) {
        const int from = i - (TAPS - 1) + j;
        together = together && !starts_anew(a.segment, a.L, a.reverse, from + 1);
        w->in[j] = together && j >= TAPS - a.K ? input_of(a, from, e) : 0;
    }
}
/* Row i, whose input is x, comes in; in[] are then the TAPS inputs of its output. */
template <int TAPS> static __device__ __forceinline__ void take(window<TAPS> *w, const conv_inputs &a, int i, float x) {
    if (starts_anew(a.segment, a.L, a.reverse, i))
#pragma unroll
        for (int j = 0; j < TAPS - 1; j++)
            w->in[j] = 0;
    w->in[TAPS - 1] = x;
}
template <int TAPS> static __device__ __forceinline__ void shift(window<TAPS> *w, int K) {
#pragma unroll
    for (int j = 0; j < TAPS - 1; j++)
        w->in[j] = j >= TAPS - K ? w->in[j + 1] : 0;
}
template <int TAPS>
static __device__ __forceinline__ void weights_of(float *v, const float *w, ptrdiff_t ldw, int K, int e) {
#pragma unroll
    for (int j = 0; j < TAPS; j++)
        v[j] = j >= TAPS - K ? w[(j - (TAPS - K)) * ldw + e] : 0;
}
template <int TAPS> static __device__ __forceinline__ float dot(const window<TAPS> &w, const float *v, float c) {
#pragma unroll
    for (int j = 0; j < TAPS; j++)
        c += v[j] * w.in[j];
    return c;
}

/* ---- forward ------------------------------------------------------------------------------------------------------
 */
typedef struct conv_args {
    mbk_conv a;
    conv_inputs in;
} conv_args;

template <int TAPS> static __global__ void conv_rows(const conv_args p) {
    const mbk_conv &a = p.a;
    const int e = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    const int i0 = static_cast<int>(blockIdx.x) * CONV_ROWS, i1 = i0 + CONV_ROWS < a.L ? i0 + CONV_ROWS : a.L;
    if (e >= a.E)
        return;
    window<TAPS> w;
    float v[TAPS];
    const float bias = a.b ? a.b[e] : 0;
    weights_of<TAPS>(v, a.w, a.ldw, a.K, e);
    fill(&w, p.in, i0, e);
#pragma unroll 4
    for (int i = i0; i < i1; i++) {
        const ptrdiff_t row = row_of(a.L, a.reverse, i);
        take(&w, p.in, i, a.x[row * a.ldx + e]);
        const float c = dot(w, v, bias);
        a.y[row * a.ldy + e] = a.silu ? silu(c) : c;
        shift(&w, a.K);
    }
}

/* A thread a channel: the state after the last row. Ascending: input j of a short piece is state j + L, not yet
 * replaced.
 */
static __global__ void conv_state(const conv_args p) {
    const int e = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), K = p.a.K, L = p.a.L;
    if (e >= p.a.E)
        return;
    int first = 0; /* of the last row's sequence among the inputs */
    for (int i = L - 1; i > 0 && i > L - K && !first; i--)
        first = starts_anew(p.in.segment, L, p.in.reverse, i) ? i : 0;
    for (int j = 0; j < K - 1; j++) {
        const int i = L - (K - 1) + j;
        p.a.state[j * p.a.ldstate + e] = first && i < first ? 0 : input_of(p.in, i, e);
    }
}

static conv_args args_of(const mbk_conv *a) {
    const conv_args p = {*a, {a->L, a->K, a->reverse, a->x, a->state, a->ldx, a->ldstate, a->segment}};
    return p;
}

extern "C" int mbk_conv_fwd_cuda(const mbk_ctx *ctx, const mbk_conv *a) {
    MBK_ASSERT(a->L >= 1 && a->E >= 1 && a->K >= 1 && a->K <= MBK_CONV_MAX_K);
    const conv_args p = args_of(a);
    const unsigned wide = threads_for(a->E, CONV_CHANNELS), across = blocks_for(a->E, wide);
    const int rc = launch(ctx, "conv_fwd", a->K <= FEW_TAPS ? conv_rows<FEW_TAPS> : conv_rows<MBK_CONV_MAX_K>,
                          dim3(blocks_for(a->L, CONV_ROWS), across), dim3(wide), 0, p);
    if (rc || !a->state || a->K == 1)
        return rc;
    return launch(ctx, "conv_state", conv_state, dim3(across), dim3(wide), 0, p);
}

/* One token: a thread a channel does both. */
static __global__ void conv_token(const mbk_conv a) {
    const int e = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (e >= a.E)
        return;
    const float x = a.x[e];
    float c = a.b ? a.b[e] : 0;
    for (int j = 0; j < a.K - 1 && a.state; j++) {
        float *s = a.state + j * a.ldstate + e;
        c += a.w[j * a.ldw + e] * *s;
        *s = j + 1 < a.K - 1 ? s[a.ldstate] : x;
    }
    c += a.w[(a.K - 1) * a.ldw + e] * x;
    a.y[e] = a.silu ? silu(c) : c;
}

extern "C" int mbk_conv_step_cuda(const mbk_ctx *ctx, const mbk_conv *a) {
    MBK_ASSERT(a->L == 1 && a->E >= 1 && a->K >= 1 && a->K <= MBK_CONV_MAX_K);
    return launch(ctx, "conv_step", conv_token, dim3(blocks_for(a->E, CONV_CHANNELS)), dim3(CONV_CHANNELS), 0, *a);
}

/* ---- gradients ----------------------------------------------------------------------------------------------------
 */
typedef struct conv_bwd_args {
    mbk_conv_bwd a;
    conv_inputs in;
    int tiles;
    float *part; /* (tiles,K+1,E): dw, then db */
} conv_bwd_args;

/* dLoss/dc of row i, whose inputs are in w; 0 beyond the end of the sequence. */
template <int TAPS>
static __device__ __forceinline__ float slope_of(const mbk_conv_bwd &a, const window<TAPS> &w, const float *v,
                                                 float bias, float G) {
    float value;
    return a.silu ? G * silu_slope(dot(w, v, bias), &value) : G;
}

/* Rows i0 .. i1-1 of a channel, and up to K-1 rows after them, whose outputs those rows enter. open[k]: the sum for
 * row i-k; bit k of `alive`: whether row i belongs to its sequence. */
template <int TAPS> static __global__ void conv_bwd_rows(const conv_bwd_args p) {
    const mbk_conv_bwd &a = p.a;
    const int e = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x), K = a.K;
    const int i0 = static_cast<int>(blockIdx.x) * CONV_ROWS, i1 = i0 + CONV_ROWS < a.L ? i0 + CONV_ROWS : a.L;
    if (e >= a.E)
        return;
    window<TAPS> w;
    float v[TAPS], open[TAPS] = {0}, dw[TAPS] = {0}, db = 0;
    const float bias = a.b ? a.b[e] : 0;
    unsigned alive = 0;
    weights_of<TAPS>(v, a.w, a.ldw, K, e);
    fill(&w, p.in, i0, e);
    for (int i = i0; i < i1 + K - 1; i++) {
        const int there = i < a.L + a.after;
        const ptrdiff_t row = row_of(a.L, a.reverse, i);
        const float x = there ? a.x[row * a.ldx + e] : 0, G = there ? a.G[row * a.ldg + e] : 0;
        alive = there && starts_anew(a.segment, a.L, a.reverse, i) ? 1 : alive << 1 | 1;
        if (there)
            take(&w, p.in, i, x);
        const float slope = there ? slope_of<TAPS>(a, w, v, bias, G) : 0;
#pragma unroll
        for (int k = TAPS - 1; k > 0; k--)
            open[k] = open[k - 1];
        open[0] = 0;
#pragma unroll
        for (int k = 0; k < TAPS; k++) {
            open[k] = alive >> k & 1 ? open[k] + v[TAPS - 1 - k] * slope : open[k];
            dw[k] += i < i1 ? slope * w.in[k] : 0;
        }
        db += i < i1 ? slope : 0;
        shift(&w, K);
        if (i < i0 + K - 1)
            continue;
        float sum = 0;
#pragma unroll
        for (int k = 0; k < TAPS; k++)
            sum = k == K - 1 ? open[k] : sum;
        float *dx = a.dx + row_of(a.L, a.reverse, i - (K - 1)) * a.lddx + e;
        *dx = a.accumulate ? *dx + sum : sum;
    }
    float *part = p.part + static_cast<size_t>(blockIdx.x) * static_cast<size_t>(K + 1) * static_cast<size_t>(a.E) + e;
#pragma unroll
    for (int j = 0; j < TAPS; j++)
        if (j >= TAPS - K)
            part[static_cast<size_t>(j - (TAPS - K)) * static_cast<size_t>(a.E)] = dw[j];
    part[static_cast<size_t>(K) * static_cast<size_t>(a.E)] = db;
}

/* A thread: tap blockIdx.y, or db, of a channel. */
static __global__ void conv_bwd_sums(const conv_bwd_args p) {
    const int e = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), j = static_cast<int>(blockIdx.y);
    if (e >= p.a.E || (j == p.a.K && !p.a.db))
        return;
    double sum = 0;
    for (int t = 0; t < p.tiles; t++)
        sum += p.part[(static_cast<size_t>(t) * static_cast<size_t>(p.a.K + 1) + static_cast<size_t>(j)) *
                          static_cast<size_t>(p.a.E) +
                      static_cast<size_t>(e)];
    float *to = j == p.a.K ? p.a.db + e : p.a.dw + j * p.a.lddw + e;
    *to = static_cast<float>(*to + sum);
}

extern "C" size_t mbk_conv_bwd_work_cuda(const mbk_conv_bwd *a) {
    return static_cast<size_t>(blocks_for(a->L, CONV_ROWS)) * static_cast<size_t>(a->K + 1) *
           static_cast<size_t>(a->E) * sizeof(float);
}

extern "C" int mbk_conv_bwd_cuda(const mbk_ctx *ctx, const mbk_conv_bwd *a) {
    MBK_ASSERT(a->L >= 1 && a->E >= 1 && a->K >= 1 && a->K <= MBK_CONV_MAX_K);
    MBK_ASSERT(a->after >= 0 && a->after <= a->K - 1);
    const conv_bwd_args p = {*a,
                             {a->L, a->K, a->reverse, a->x, a->state, a->ldx, a->ldstate, a->segment},
                             static_cast<int>(blocks_for(a->L, CONV_ROWS)),
                             work_of(ctx, mbk_conv_bwd_work_cuda(a))};
    const unsigned wide = threads_for(a->E, CONV_CHANNELS), across = blocks_for(a->E, wide);
    const int rc = launch(ctx, "conv_bwd", a->K <= FEW_TAPS ? conv_bwd_rows<FEW_TAPS> : conv_bwd_rows<MBK_CONV_MAX_K>,
                          dim3(static_cast<unsigned>(p.tiles), across), dim3(wide), 0, p);
    return rc ? rc
              : launch(ctx, "conv_bwd_sums", conv_bwd_sums, dim3(across, static_cast<unsigned>(a->K + 1)), dim3(wide),
                       0, p);
}
