/* Selective scan on a GPU, forward and one token.
 *
 * Rows are cut into chunks, for one thread a channel fills no card: (1) every chunk but the last from a state of zero,
 * to its own contribution to the state after it; (2) the contributions are put together along the chunks, exp2(a2 * sum
 * of steps) being the decay of a whole chunk; (3) every chunk again, from the true state before it, to y. A sequence of
 * one chunk needs (3) alone.
 *
 * Lanes are channels, so that every access of x, dt, z, y is 128 bytes of one row; a thread has 16 states in registers;
 * B and C of the chunk are in shared memory and read 16 bytes at a time by all lanes at once; 4 rows of x, dt, z are
 * under way while 4 are worked on.
 *
 * Roofline, per row and channel at N = 16: (1) 8 bytes read, 16 exp2 and 3 for softplus on the special-function units
 * (16 a clock and SM), 16 * 3 multiply-adds on 128 lanes; (3) 12 to 20 bytes, 16 + 5 special functions, 16 * 4
 * multiply-adds. The special functions bound both: 40 / 16 = 2.5 clocks of an SM, against 24 / 25 = 1.0 for the bytes
 * (H100: 25 bytes a clock and SM). So 132 SMs at 1.7 GHz make 90 G rows x channels a second, 1.4 T state updates; a
 * second exponential is the price of chunks in time, and (1), (2) are left out where channels alone fill the card:
 * L <= MBK_CUDA_CHUNK. Edges cost 2 * 4 N / MBK_CUDA_CHUNK = 2 bytes more. */
#include "kernels/scan_rows.cuh"

enum { CARRY_THREADS = 128, STEP_GROUPS = 8 };

typedef struct scan_args {
    mbk_scan a;
    scan_edges edges;
} scan_args;

/* SCAN_AHEAD rows of a matrix, of one channel; zeros beyond `count`. */
static __device__ __forceinline__ void ahead(float *v, const float *from, ptrdiff_t ld, const mbk_scan *a, int i0,
                                             int i, int count, int e) {
#pragma unroll
    for (int k = 0; k < SCAN_AHEAD; k++)
        v[k] = from && i + k < count ? from[row_of(a->L, a->reverse, i0 + i + k) * ld + e] : 0;
}

/* (1) Block: chunk blockIdx.x, channels blockIdx.y, slice blockIdx.z. */
template <int STATES> static __global__ void __launch_bounds__(SCAN_CHANNELS) scan_ends(const scan_args p) {
    MBK_SHARED(float4, B_tile, MBK_CUDA_CHUNK * STATES / 4);
    MBK_SHARED(int, anew, MBK_CUDA_CHUNK);
    const mbk_scan &a = p.a;
    const int chunk = static_cast<int>(blockIdx.x), i0 = chunk * MBK_CUDA_CHUNK, count = MBK_CUDA_CHUNK;
    const int own = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x), e = own < a.E ? own : a.E - 1;
    const int n0 = static_cast<int>(blockIdx.z) * STATES;
    float h[STATES] = {0}, rate[STATES], b[STATES], d_sum = 0;
    stage_states(reinterpret_cast<float *>(B_tile), a.B, a.ldb, a.L, a.reverse, i0, count, n0, a.N, STATES);
    stage_starts(anew, a.segment, a.L, a.reverse, i0, count);
    column_of<STATES>(rate, a.a2, a.lda, n0, a.N, e);
    __syncthreads();
    const float bias = a.dt_bias ? a.dt_bias[e] : 0;
    int whole = 1;
    for (int i = 0; i < count; i += SCAN_AHEAD) {
        float x[SCAN_AHEAD], dt[SCAN_AHEAD];
        ahead(x, a.x, a.ldx, &a, i0, i, count, e);
        ahead(dt, a.dt, a.lddt, &a, i0, i, count, e);
#pragma unroll
        for (int k = 0; k < SCAN_AHEAD; k++) {
            const float d = step_size(dt[k], bias, a.softplus_dt), u = d * x[k];
            states_of<STATES>(b, B_tile + (i + k) * STATES / 4);
            if (anew[i + k]) {
                whole = 0;
#pragma unroll
                for (int n = 0; n < STATES; n++)
                    h[n] = 0;
            }
            d_sum += d;
#pragma unroll
            for (int n = 0; n < STATES; n++)
                h[n] = exp2_fast(d * rate[n]) * h[n] + u * b[n];
        }
    }
    if (own >= a.E)
        return;
    float *to = p.edges.h + (static_cast<size_t>(chunk + 1) * static_cast<size_t>(a.N) + n0) * a.E + e;
    for (int n = 0; n < STATES && n0 + n < a.N; n++)
        to[static_cast<ptrdiff_t>(n) * a.E] = h[n];
    if (blockIdx.z == 0)
        p.edges.d_sum[static_cast<size_t>(chunk) * static_cast<size_t>(a.E) + e] = d_sum;
    if (own == 0 && blockIdx.z == 0)
        p.edges.whole[chunk] = whole;
}

/* (2) A thread: state blockIdx.y of channel e. */
static __global__ void carry_states(const scan_carry p) {
    const int e = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), n = static_cast<int>(blockIdx.y);
    if (e >= p.E)
        return;
    const size_t step = static_cast<size_t>(p.N) * static_cast<size_t>(p.E), at = static_cast<size_t>(n) * p.E + e;
    const float rate = p.a2[n * p.lda + e];
    float h = p.state0 ? p.state0[n * p.lds + e] : 0;
    p.edges.h[at] = h;
    for (int k = 0; k + 1 < p.edges.chunks; k++) {
        float *to = p.edges.h + (k + 1) * step + at;
        const float decay = exp2f(rate * p.edges.d_sum[static_cast<size_t>(k) * p.E + e]);
        h = p.edges.whole[k] ? decay * h + *to : *to;
        *to = h;
    }
    if (!p.edges.g)
        return;
    float g = p.dstate ? p.dstate[n * p.lds + e] : 0;
    p.edges.g[(p.edges.chunks - 1) * step + at] = g;
    for (int k = p.edges.chunks - 1; k > 0; k--) {
        float *to = p.edges.g + (k - 1) * step + at;
        const float decay = exp2f(rate * p.edges.d_sum[static_cast<size_t>(k) * p.E + e]);
        g = p.edges.whole[k] ? decay * g + *to : *to;
        *to = g;
    }
}
int mbk_scan_carry(const mbk_ctx *ctx, const scan_carry *p) {
    return launch(ctx, "scan_carry", carry_states, dim3(blocks_for(p->E, CARRY_THREADS), static_cast<unsigned>(p->N)),
                  dim3(CARRY_THREADS), 0, *p);
}

/* (3) One slice of one chunk, of one channel: y receives its share. */
template <int STATES>
static __device__ __forceinline__ void scan_slice(const mbk_scan &a, const float4 *B_tile, const float4 *C_tile,
                                                  const int *anew, int i0, int count, int n0, int e, float *h) {
    float rate[STATES], b[STATES], c[STATES];
    const float bias = a.dt_bias ? a.dt_bias[e] : 0, skip = a.skip ? a.skip[e] : 0;
    const int first = n0 == 0, last = n0 + STATES >= a.N;
    column_of<STATES>(rate, a.a2, a.lda, n0, a.N, e);
    for (int i = 0; i < count; i += SCAN_AHEAD) {
        float x[SCAN_AHEAD], dt[SCAN_AHEAD], z[SCAN_AHEAD], before[SCAN_AHEAD];
        ahead(x, a.x, a.ldx, &a, i0, i, count, e);
        ahead(dt, a.dt, a.lddt, &a, i0, i, count, e);
        ahead(z, last ? a.z : NULL, a.ldz, &a, i0, i, count, e);
        ahead(before, first ? a.y_add : a.y, first ? a.ldyadd : a.ldy, &a, i0, i, count, e);
#pragma unroll
        for (int k = 0; k < SCAN_AHEAD; k++) {
            if (i + k >= count)
                break;
            const float d = step_size(dt[k], bias, a.softplus_dt), u = d * x[k];
            float s = first ? skip * x[k] + before[k] : before[k], sum = 0;
            states_of<STATES>(b, B_tile + (i + k) * STATES / 4);
            states_of<STATES>(c, C_tile + (i + k) * STATES / 4);
            if (anew[i + k])
#pragma unroll
                for (int n = 0; n < STATES; n++)
                    h[n] = 0;
#pragma unroll
            for (int n = 0; n < STATES; n++) {
                h[n] = exp2_fast(d * rate[n]) * h[n] + u * b[n];
                sum += c[n] * h[n];
            }
            s += sum;
            a.y[row_of(a.L, a.reverse, i0 + i + k) * a.ldy + e] = last && a.z ? s * silu(z[k]) : s;
        }
    }
}

/* (3) Block: chunk blockIdx.x, channels blockIdx.y; all slices, one after another. */
template <int STATES> static __global__ void __launch_bounds__(SCAN_CHANNELS) scan_chunks(const scan_args p) {
    MBK_SHARED(float4, B_tile, MBK_CUDA_CHUNK * STATES / 4);
    MBK_SHARED(float4, C_tile, MBK_CUDA_CHUNK * STATES / 4);
    MBK_SHARED(int, anew, MBK_CUDA_CHUNK);
    const mbk_scan &a = p.a;
    const int chunk = static_cast<int>(blockIdx.x), i0 = chunk * MBK_CUDA_CHUNK;
    const int count = a.L - i0 < MBK_CUDA_CHUNK ? a.L - i0 : MBK_CUDA_CHUNK;
    const int e = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    stage_starts(anew, a.segment, a.L, a.reverse, i0, count);
    for (int n0 = 0; n0 < a.N; n0 += STATES) {
        __syncthreads();
        stage_states(reinterpret_cast<float *>(B_tile), a.B, a.ldb, a.L, a.reverse, i0, count, n0, a.N, STATES);
        stage_states(reinterpret_cast<float *>(C_tile), a.C, a.ldc, a.L, a.reverse, i0, count, n0, a.N, STATES);
        __syncthreads();
        if (e >= a.E)
            continue;
        float h[STATES];
        if (p.edges.chunks > 1)
            column_of<STATES>(h, p.edges.h + static_cast<size_t>(chunk) * static_cast<size_t>(a.N) * a.E, a.E, n0, a.N,
                              e);
        else
            column_of<STATES>(h, a.state, a.lds, n0, a.N, e);
        scan_slice<STATES>(a, B_tile, C_tile, anew, i0, count, n0, e, h);
        if (a.state && chunk == p.edges.chunks - 1) /* with several chunks it has been read by (2) */
            for (int n = 0; n < STATES && n0 + n < a.N; n++)
                a.state[(n0 + n) * a.lds + e] = h[n];
    }
}

static int chunks_of(int L) {
    return (L + MBK_CUDA_CHUNK - 1) / MBK_CUDA_CHUNK;
}

extern "C" size_t mbk_scan_fwd_work_cuda(const mbk_scan *a) {
    const size_t chunks = static_cast<size_t>(chunks_of(a->L)), E = static_cast<size_t>(a->E);
    return chunks == 1 ? 0 : chunks * (static_cast<size_t>(a->N) * E + E + 1) * sizeof(float);
}

template <int STATES> static int scan_fwd(const mbk_ctx *ctx, const scan_args *p) {
    const mbk_scan *a = &p->a;
    const unsigned wide = threads_for(a->E, SCAN_CHANNELS), across = blocks_for(a->E, wide);
    const unsigned chunks = static_cast<unsigned>(p->edges.chunks);
    int rc = MB_OK;
    if (chunks > 1) {
        scan_carry carry = {p->edges, a->E, a->N, a->a2, a->state, NULL, a->lda, a->lds};
        rc = launch(ctx, "scan_ends", scan_ends<STATES>, dim3(chunks - 1, across, blocks_for(a->N, STATES)), dim3(wide),
                    0, *p);
        rc = rc ? rc : mbk_scan_carry(ctx, &carry);
    }
    return rc ? rc : launch(ctx, "scan_fwd", scan_chunks<STATES>, dim3(chunks, across), dim3(wide), 0, *p);
}

extern "C" int mbk_scan_fwd_cuda(const mbk_ctx *ctx, const mbk_scan *a) {
    MBK_ASSERT(a->L >= 1 && a->E >= 1 && a->N >= 1 && a->N <= MBK_SCAN_MAX_N);
    const size_t chunks = static_cast<size_t>(chunks_of(a->L)), E = static_cast<size_t>(a->E);
    scan_args p = {*a, {}};
    p.edges.chunks = static_cast<int>(chunks);
    if (chunks > 1) {
        p.edges.h = work_of(ctx, mbk_scan_fwd_work_cuda(a));
        p.edges.d_sum = p.edges.h + chunks * static_cast<size_t>(a->N) * E;
        p.edges.whole = reinterpret_cast<int *>(p.edges.d_sum + chunks * E);
    }
    return a->N <= 4 ? scan_fwd<4>(ctx, &p) : scan_fwd<SCAN_SLICE>(ctx, &p);
}

/* ---- one token ---------------------------------------------------------------------------------------------------- *
 * 8 bytes a state, once: memory alone. A channel's states are shared by STEP_GROUPS threads, so that their loads are
 * under way together. */
static __global__ void scan_token(const mbk_scan a) {
    MBK_SHARED(float, sums, STEP_GROUPS *MBK_WARP);
    const int e = static_cast<int>(blockIdx.x * MBK_WARP + threadIdx.x), group = static_cast<int>(threadIdx.y);
    float sum = 0;
    if (e < a.E) {
        const float d = step_size(a.dt[e], a.dt_bias ? a.dt_bias[e] : 0, a.softplus_dt), u = d * a.x[e];
        for (int n = group; n < a.N; n += STEP_GROUPS) {
            const float before = a.state ? a.state[n * a.lds + e] : 0;
            const float h = exp2_fast(d * a.a2[n * a.lda + e]) * before + u * a.B[n];
            if (a.state)
                a.state[n * a.lds + e] = h;
            sum += a.C[n] * h;
        }
    }
    sums[group * MBK_WARP + static_cast<int>(threadIdx.x)] = sum;
    __syncthreads();
    if (group || e >= a.E)
        return;
    for (int k = 1; k < STEP_GROUPS; k++)
        sum += sums[k * MBK_WARP + static_cast<int>(threadIdx.x)];
    const float s = (a.skip ? a.skip[e] * a.x[e] : 0) + (a.y_add ? a.y_add[e] : 0) + sum;
    a.y[e] = a.z ? s * silu(a.z[e]) : s;
}

extern "C" int mbk_scan_step_cuda(const mbk_ctx *ctx, const mbk_scan *a) {
    MBK_ASSERT(a->L == 1 && a->E >= 1 && a->N >= 1 && a->N <= MBK_SCAN_MAX_N);
    return launch(ctx, "scan_step", scan_token, dim3(blocks_for(a->E, MBK_WARP)), dim3(MBK_WARP, STEP_GROUPS), 0, *a);
}
