/* Gradients of the selective scan on a GPU, deterministic: no atomics, every sum in a fixed order.
 *
 * (1) scan_bwd_ends: every chunk from a state of zero, forward, to its own contribution to the state after it and to
 * the adjoint before it: acc = sum_t prod_{s<=t} a_s C_t G_t comes out of the same pass and the same exponentials. (2)
 * scan_carry: both put together along the chunks, the adjoints from the last chunk to the first. (3) scan_bwd: every
 * chunk with the true state before it and the true adjoint after it. Its states are run through once to have them every
 * SUB rows; then, from the last SUB rows to the first, states and decays of SUB rows are made again, into registers,
 * and the adjoint goes down through them. (4) scan_bwd_sums: shares of chunks (da, dskip, ddt_bias) and of blocks of
 * channels (dB, dC), in order, in double.
 *
 * In (3) four lanes share a channel, four states each, and a warp holds 8 channels: SUB * 4 states and decays are 64
 * registers. dB and dC are sums over channels: a lane's 8 numbers of a row (4 dB, 4 dC) are added up over the 8 lanes
 * of equal states by halving exchanges, 7 shuffles instead of 24, which leave one sum with each lane; sums over the
 * states of SUB rows the same way, 12 shuffles instead of 32. A block goes through ROUNDS * 32 channels of its chunk
 * and leaves one share of dB and dC.
 *
 * Roofline, per row and channel at N = 16: exponentials 16 in (1), 2 * 16 in (3), and some 10 for the steps: 58 special
 * functions, 3.6 clocks of an SM; multiply-adds and shuffles 28 a state, 4 clocks; bytes 12 + 28 and 4 N * 8 / 64 = 8
 * for the edges, 1.9 clocks on H100. Arithmetic bounds: some 55 G rows x channels a second on 132 SMs at 1.7 GHz, 0.9 T
 * state updates. Keeping the states of each SUB rows in memory would save a third of the exponentials for 32 bytes: no
 * gain.
 *
 * N above 16: slices one after another; the sums over states of a row and channel are kept in workspace between them.
 */
#include "kernels/scan_rows.cuh"

enum {
    SUB = 8,       /* rows whose states are in registers */
    GROUP = 4,     /* states of a lane */
    CHANNELS = 32, /* of a round: 8 of each of 4 warps */
    ROUNDS = 4,
    THREADS = 128,
    SUMS = 2 * SCAN_SLICE, /* dB and dC of a row and slice */
    SUBS = MBK_CUDA_CHUNK / SUB,
    REDUCE_THREADS = 128
};
#define LN2 0.693147181f

typedef struct bwd_args {
    mbk_scan_bwd a;
    scan_edges edges;
    int slices, blocks;      /* of states; of channels */
    float *dskip, *ddt_bias; /* (chunks,E): shares */
    float *sums;             /* (blocks,L,slices,SUMS): shares of dB and dC, by processed row */
    float *over_states;      /* (2,L,E): of the slices so far; NULL when there is one slice */
} bwd_args;

/* ---- (1) ----------------------------------------------------------------------------------------------------------
 */
static __global__ void __launch_bounds__(SCAN_CHANNELS) bwd_ends(const bwd_args p) {
    MBK_SHARED(float4, B_tile, MBK_CUDA_CHUNK * SCAN_SLICE / 4);
    MBK_SHARED(float4, C_tile, MBK_CUDA_CHUNK * SCAN_SLICE / 4);
    MBK_SHARED(int, anew, MBK_CUDA_CHUNK);
    const mbk_scan_bwd &a = p.a;
    const int chunk = static_cast<int>(blockIdx.x), i0 = chunk * MBK_CUDA_CHUNK;
    const int count = a.L - i0 < MBK_CUDA_CHUNK ? a.L - i0 : MBK_CUDA_CHUNK;
    const int own = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x), e = own < a.E ? own : a.E - 1;
    const int n0 = static_cast<int>(blockIdx.z) * SCAN_SLICE;
    float h[SCAN_SLICE] = {0}, past[SCAN_SLICE], acc[SCAN_SLICE] = {0}, rate[SCAN_SLICE], b[SCAN_SLICE], c[SCAN_SLICE];
    float d_sum = 0;
    int whole = 1;
    stage_states(reinterpret_cast<float *>(B_tile), a.B, a.ldb, a.L, a.reverse, i0, count, n0, a.N, SCAN_SLICE);
    stage_states(reinterpret_cast<float *>(C_tile), a.C, a.ldc, a.L, a.reverse, i0, count, n0, a.N, SCAN_SLICE);
    stage_starts(anew, a.segment, a.L, a.reverse, i0, count);
    column_of<SCAN_SLICE>(rate, a.a2, a.lda, n0, a.N, e);
    for (int n = 0; n < SCAN_SLICE; n++)
        past[n] = 1;
    __syncthreads();
    const float bias = a.dt_bias ? a.dt_bias[e] : 0;
#pragma unroll 2
    for (int i = 0; i < count; i++) {
        const ptrdiff_t row = row_of(a.L, a.reverse, i0 + i);
        const float d = step_size(a.dt[row * a.lddt + e], bias, a.softplus_dt), u = d * a.x[row * a.ldx + e];
        const float G = a.G[row * a.ldg + e];
        states_of<SCAN_SLICE>(b, B_tile + i * SCAN_SLICE / 4);
        states_of<SCAN_SLICE>(c, C_tile + i * SCAN_SLICE / 4);
        if (anew[i]) {
            whole = 0;
#pragma unroll
            for (int n = 0; n < SCAN_SLICE; n++)
                h[n] = 0, past[n] = 0;
        }
        d_sum += d;
#pragma unroll
        for (int n = 0; n < SCAN_SLICE; n++) {
            const float decay = exp2_fast(d * rate[n]);
            h[n] = decay * h[n] + u * b[n];
            past[n] *= decay;
            acc[n] += whole ? past[n] * (c[n] * G) : 0; /* not 0 times a NaN of another sequence */
        }
    }
    if (own >= a.E)
        return;
    const size_t step = static_cast<size_t>(a.N) * static_cast<size_t>(a.E);
    for (int n = 0; n < SCAN_SLICE && n0 + n < a.N; n++) {
        const size_t at = static_cast<size_t>(n0 + n) * static_cast<size_t>(a.E) + static_cast<size_t>(e);
        if (chunk + 1 < p.edges.chunks)
            p.edges.h[(chunk + 1) * step + at] = h[n];
        if (chunk > 0)
            p.edges.g[(chunk - 1) * step + at] = acc[n];
    }
    if (blockIdx.z == 0)
        p.edges.d_sum[static_cast<size_t>(chunk) * static_cast<size_t>(a.E) + e] = d_sum;
    if (own == 0 && blockIdx.z == 0)
        p.edges.whole[chunk] = whole;
}

/* ---- (3) ----------------------------------------------------------------------------------------------------------
 */
/* The dynamic shared memory of a block. */
typedef struct bwd_shared {
    float4 B[MBK_CUDA_CHUNK * SCAN_SLICE / 4], C[MBK_CUDA_CHUNK * SCAN_SLICE / 4]; /* of the slice */
    float4 states[SUBS][THREADS];                                                  /* before each SUB rows */
    float d[MBK_CUDA_CHUNK][CHANNELS], u[MBK_CUDA_CHUNK][CHANNELS];                /* of the round; u = d x */
    float sums[MBK_CUDA_CHUNK][SUMS];                                              /* of the rounds so far */
    float part[THREADS / MBK_WARP][SUB][SUMS];                                     /* of a warp */
    int anew[MBK_CUDA_CHUNK];
} bwd_shared;

/* Where a thread is. */
typedef struct bwd_place {
    int chunk, i0, count; /* rows in processing order */
    int n0, n;            /* of the slice; of the lane's GROUP states */
    int column, e, live;  /* in the round; in the call; whether there is such a channel */
    int group;            /* of the lane, among the four of its channel */
    int first, last;      /* slice */
} bwd_place;

static __device__ __forceinline__ void group_of(float v[GROUP], const float4 *tile, int i, int group) {
    const float4 q = tile[i * SCAN_SLICE / 4 + group];
    v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
}

/* Steps of the round's channels, a warp along a row; 0 beyond the rows and channels, which changes nothing. */
static __device__ void stage_steps(const mbk_scan_bwd &a, bwd_shared *s, const bwd_place &at, int e0) {
    const int column = static_cast<int>(threadIdx.x) % CHANNELS, e = e0 + column;
    for (int i = static_cast<int>(threadIdx.x) / CHANNELS; i < MBK_CUDA_CHUNK; i += THREADS / CHANNELS) {
        float d = 0, u = 0;
        if (i < at.count && e < a.E) {
            const ptrdiff_t row = row_of(a.L, a.reverse, at.i0 + i);
            d = step_size(a.dt[row * a.lddt + e], a.dt_bias ? a.dt_bias[e] : 0, a.softplus_dt);
            u = d * a.x[row * a.ldx + e];
        }
        s->d[i][column] = d;
        s->u[i][column] = u;
    }
}

/* Sums over the 8 lanes of equal states: v[0..7] of each come out as v[0], the sum of v[lane % 8]. */
static __device__ __forceinline__ float sum_over_channels(float v[2 * GROUP], int lane) {
#pragma unroll
    for (int half = GROUP; half > 0; half /= 2)
#pragma unroll
        for (int k = 0; k < half; k++) {
            const float keep = lane & half ? v[k + half] : v[k], give = lane & half ? v[k] : v[k + half];
            v[k] = keep + __shfl_xor_sync(MBK_ALL_LANES, give, half);
        }
    return v[0];
}
/* Sums over the four lanes of a channel: v[0..15] come out as v[0..3], the sums of v[4 group ..]. */
static __device__ __forceinline__ void sum_over_groups(float v[2 * SUB], int group) {
#pragma unroll
    for (int k = 0; k < SUB; k++) {
        const float keep = group & 2 ? v[k + SUB] : v[k], give = group & 2 ? v[k] : v[k + SUB];
        v[k] = keep + __shfl_xor_sync(MBK_ALL_LANES, give, 16);
    }
#pragma unroll
    for (int k = 0; k < SUB / 2; k++) {
        const float keep = group & 1 ? v[k + SUB / 2] : v[k], give = group & 1 ? v[k] : v[k + SUB / 2];
        v[k] = keep + __shfl_xor_sync(MBK_ALL_LANES, give, 8);
    }
}

/* The states before each SUB rows of the chunk, from h on. */
static __device__ void run_states(bwd_shared *s, const bwd_place &at, const float rate[GROUP], float h[GROUP]) {
    float b[GROUP];
    for (int j = 0; j * SUB < at.count; j++) {
        s->states[j][threadIdx.x] = make_float4(h[0], h[1], h[2], h[3]);
#pragma unroll
        for (int m = 0; m < SUB; m++) {
            const int i = j * SUB + m;
            const float d = s->d[i][at.column], u = s->u[i][at.column];
            group_of(b, s->B, i, at.group);
#pragma unroll
            for (int n = 0; n < GROUP; n++)
                h[n] = (s->anew[i] ? 0 : exp2_fast(d * rate[n]) * h[n]) + u * b[n];
        }
    }
}

/* One of the two rows of SUB that this lane finishes: gB = sum_n g B, dA = sum_n a2 dLoss/d(d A). */
static __device__ void finish_row(const bwd_args &p, const bwd_shared *s, const bwd_place &at, int i, float gB,
                                  float dA, float *dskip, float *ddt_bias) {
    const mbk_scan_bwd &a = p.a;
    if (i >= at.count || !at.live)
        return;
    const ptrdiff_t row = row_of(a.L, a.reverse, at.i0 + i);
    if (p.over_states) {
        float *kept = p.over_states + static_cast<size_t>(row) * static_cast<size_t>(a.E) + at.e;
        float *kept_dA = kept + static_cast<size_t>(a.L) * static_cast<size_t>(a.E);
        gB += at.first ? 0 : *kept;
        dA += at.first ? 0 : *kept_dA;
        *kept = gB;
        *kept_dA = dA;
    }
    if (!at.last)
        return;
    const float x = a.x[row * a.ldx + at.e], G = a.G[row * a.ldg + at.e];
    const float v = a.dt[row * a.lddt + at.e] + (a.dt_bias ? a.dt_bias[at.e] : 0);
    const float slope = a.softplus_dt ? sigmoid(v) : 1, ddt = slope * (LN2 * dA + x * gB);
    a.dx[row * a.lddx + at.e] = s->d[i][at.column] * gB + (a.skip ? a.skip[at.e] * G : 0);
    a.ddt[row * a.ldddt + at.e] = ddt;
    *dskip += G * x;
    *ddt_bias += ddt;
}

/* SUB rows from `base` on, the last first; g (adjoint of the state after them) becomes that before them. */
static __device__ __forceinline__ void adjoint_rows(const bwd_args &p, bwd_shared *s, const bwd_place &at, int base,
                                                    const float rate[GROUP], float g[GROUP], float da[GROUP],
                                                    float *dskip, float *ddt_bias) {
    const mbk_scan_bwd &a = p.a;
    const int lane = static_cast<int>(threadIdx.x) % MBK_WARP, warp = static_cast<int>(threadIdx.x) / MBK_WARP;
    const float4 start = s->states[base / SUB][threadIdx.x];
    float before[SUB + 1][GROUP] = {{start.x, start.y, start.z, start.w}}, decay[SUB][GROUP], G[SUB], over[2 * SUB];
    float b[GROUP], c[GROUP];
#pragma unroll
    for (int m = 0; m < SUB; m++) {
        const int i = base + m;
        const float d = s->d[i][at.column], u = s->u[i][at.column];
        group_of(b, s->B, i, at.group);
        G[m] = at.live && i < at.count ? a.G[row_of(a.L, a.reverse, at.i0 + i) * a.ldg + at.e] : 0;
#pragma unroll
        for (int n = 0; n < GROUP; n++) {
            decay[m][n] = s->anew[i] ? 0 : exp2_fast(d * rate[n]);
            before[m + 1][n] = (s->anew[i] ? 0 : decay[m][n] * before[m][n]) + u * b[n];
        }
    }
#pragma unroll
    for (int m = SUB - 1; m >= 0; m--) {
        const int i = base + m;
        const float d = s->d[i][at.column], u = s->u[i][at.column];
        float over_channels[2 * GROUP], gB = 0, dA = 0;
        group_of(b, s->B, i, at.group);
        group_of(c, s->C, i, at.group);
#pragma unroll
        for (int n = 0; n < GROUP; n++) {
            g[n] += G[m] * c[n];
            over_channels[n] = g[n] * u;
            over_channels[GROUP + n] = G[m] * before[m + 1][n];
            gB += g[n] * b[n];
            g[n] = s->anew[i] ? 0 : g[n] * decay[m][n];
            const float w = s->anew[i] ? 0 : g[n] * before[m][n];
            dA += w * rate[n];
            da[n] += w * d;
        }
        over[2 * m] = gB;
        over[2 * m + 1] = dA;
        s->part[warp][m][lane] = sum_over_channels(over_channels, lane);
    }
    sum_over_groups(over, at.group);
    finish_row(p, s, at, base + 2 * at.group, over[0], over[1], dskip, ddt_bias);
    finish_row(p, s, at, base + 2 * at.group + 1, over[2], over[3], dskip, ddt_bias);
}

/* All warps' shares of SUB rows, in order. */
static __device__ void add_parts(bwd_shared *s, int base) {
    __syncthreads();
    for (int k = static_cast<int>(threadIdx.x); k < SUB * SUMS; k += THREADS) {
        float sum = s->sums[base + k / SUMS][k % SUMS];
        for (int w = 0; w < THREADS / MBK_WARP; w++)
            sum += s->part[w][k / SUMS][k % SUMS];
        s->sums[base + k / SUMS][k % SUMS] = sum;
    }
    __syncthreads();
}

/* One round: 32 channels of the slice. */
static __device__ void bwd_round(const bwd_args &p, bwd_shared *s, bwd_place at, int e0) {
    const mbk_scan_bwd &a = p.a;
    const size_t E = static_cast<size_t>(a.E), edge = static_cast<size_t>(at.chunk) * static_cast<size_t>(a.N) * E;
    float rate[GROUP], h[GROUP], g[GROUP], da[GROUP] = {0}, dskip = 0, ddt_bias = 0;
    at.e = e0 + at.column;
    at.live = at.e < a.E;
    const int N = at.live ? a.N : 0, many = p.edges.chunks > 1; /* N = 0: zeros */
    stage_steps(a, s, at, e0);
    column_of<GROUP>(rate, a.a2, a.lda, at.n, N, at.e);
    column_of<GROUP>(h, many ? p.edges.h + edge : a.state0, many ? a.E : a.lds, at.n, N, at.e);
    column_of<GROUP>(g, many ? p.edges.g + edge : a.dstate, many ? a.E : a.lds, at.n, N, at.e);
    __syncthreads();
    run_states(s, at, rate, h);
    for (int j = SUBS - 1; j >= 0; j--) {
        if (j * SUB >= at.count)
            continue;
        adjoint_rows(p, s, at, j * SUB, rate, g, da, &dskip, &ddt_bias);
        add_parts(s, j * SUB);
    }
    /* this thread alone has read the states it now replaces by da */
    for (int n = 0; n < GROUP && at.n + n < N; n++) {
        p.edges.h[edge + static_cast<size_t>(at.n + n) * E + static_cast<size_t>(at.e)] = da[n];
        if (at.chunk == 0 && a.dstate)
            a.dstate[(at.n + n) * a.lds + at.e] = g[n];
    }
    dskip += __shfl_xor_sync(MBK_ALL_LANES, dskip, 8);
    dskip += __shfl_xor_sync(MBK_ALL_LANES, dskip, 16);
    ddt_bias += __shfl_xor_sync(MBK_ALL_LANES, ddt_bias, 8);
    ddt_bias += __shfl_xor_sync(MBK_ALL_LANES, ddt_bias, 16);
    if (at.live && at.group == 0 && at.last) {
        p.dskip[static_cast<size_t>(at.chunk) * E + static_cast<size_t>(at.e)] = dskip;
        p.ddt_bias[static_cast<size_t>(at.chunk) * E + static_cast<size_t>(at.e)] = ddt_bias;
    }
}

/* Block: chunk blockIdx.x, ROUNDS * 32 channels blockIdx.y. */
static __global__ void __launch_bounds__(THREADS, 4) bwd_chunks(const bwd_args p) {
    MBK_SHARED_DYNAMIC(bwd_shared, s);
    const mbk_scan_bwd &a = p.a;
    const int lane = static_cast<int>(threadIdx.x) % MBK_WARP, warp = static_cast<int>(threadIdx.x) / MBK_WARP;
    bwd_place at = {};
    at.chunk = static_cast<int>(blockIdx.x);
    at.i0 = at.chunk * MBK_CUDA_CHUNK;
    at.count = a.L - at.i0 < MBK_CUDA_CHUNK ? a.L - at.i0 : MBK_CUDA_CHUNK;
    at.column = warp * 8 + lane % 8;
    at.group = lane / 8;
    stage_starts(s->anew, a.segment, a.L, a.reverse, at.i0, at.count);
    for (int slice = 0; slice < p.slices; slice++) {
        at.n0 = slice * SCAN_SLICE;
        at.n = at.n0 + at.group * GROUP;
        at.first = slice == 0;
        at.last = slice == p.slices - 1;
        stage_states(reinterpret_cast<float *>(s->B), a.B, a.ldb, a.L, a.reverse, at.i0, at.count, at.n0, a.N,
                     SCAN_SLICE);
        stage_states(reinterpret_cast<float *>(s->C), a.C, a.ldc, a.L, a.reverse, at.i0, at.count, at.n0, a.N,
                     SCAN_SLICE);
        for (int k = static_cast<int>(threadIdx.x); k < MBK_CUDA_CHUNK * SUMS; k += THREADS)
            s->sums[k / SUMS][k % SUMS] = 0;
        for (int round = 0; round < ROUNDS; round++) {
            const int e0 = (static_cast<int>(blockIdx.y) * ROUNDS + round) * CHANNELS;
            if (e0 < a.E)
                bwd_round(p, s, at, e0);
        }
        for (int k = static_cast<int>(threadIdx.x); k < at.count * SUMS; k += THREADS) {
            const size_t row =
                static_cast<size_t>(blockIdx.y) * static_cast<size_t>(a.L) + static_cast<size_t>(at.i0 + k / SUMS);
            p.sums[(row * static_cast<size_t>(p.slices) + static_cast<size_t>(slice)) * SUMS + k % SUMS] =
                s->sums[k / SUMS][k % SUMS];
        }
        __syncthreads();
    }
}

/* ---- (4) ----------------------------------------------------------------------------------------------------------
 */
/* A thread: da of state blockIdx.y and channel e; with state 0, dskip and ddt_bias too. */
static __global__ void sum_chunks(const bwd_args p) {
    const int e = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), n = static_cast<int>(blockIdx.y);
    const size_t E = static_cast<size_t>(p.a.E), step = static_cast<size_t>(p.a.N) * E;
    if (e >= p.a.E)
        return;
    double da = 0, dskip = 0, ddt_bias = 0;
    for (int k = 0; k < p.edges.chunks; k++) {
        da += p.edges.h[k * step + static_cast<size_t>(n) * E + e];
        dskip += n ? 0 : p.dskip[k * E + e];
        ddt_bias += n ? 0 : p.ddt_bias[k * E + e];
    }
    float *to = p.a.da + n * p.a.ldda + e;
    *to = static_cast<float>(*to + da);
    if (n == 0 && p.a.dskip)
        p.a.dskip[e] = static_cast<float>(p.a.dskip[e] + dskip);
    if (n == 0 && p.a.ddt_bias)
        p.a.ddt_bias[e] = static_cast<float>(p.a.ddt_bias[e] + ddt_bias);
}
/* A thread: dB and dC of one processed row and state. */
static __global__ void sum_blocks(const bwd_args p) {
    const int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int64_t i = k / p.a.N, n = k % p.a.N;
    if (i >= p.a.L)
        return;
    const int64_t row_size = static_cast<int64_t>(p.slices) * SUMS, in = n % SCAN_SLICE;
    /* as the lanes left them: of each group of four states, 4 dB and 4 dC */
    const int64_t at = i * row_size + n / SCAN_SLICE * SUMS + in / GROUP * 2 * GROUP + in % GROUP;
    double dB = 0, dC = 0;
    for (int block = 0; block < p.blocks; block++) {
        const float *share = p.sums + block * row_size * p.a.L + at;
        dB += share[0];
        dC += share[GROUP];
    }
    const ptrdiff_t row = row_of(p.a.L, p.a.reverse, static_cast<int>(i));
    p.a.dB[row * p.a.lddb + n] = static_cast<float>(dB);
    p.a.dC[row * p.a.lddc + n] = static_cast<float>(dC);
}

/* ---- launches -----------------------------------------------------------------------------------------------------
 */
/* Carves the scratch, or, scratch NULL, measures it; returns floats. */
static size_t carve(bwd_args *p, int L, int E, int N, float *scratch) {
    const size_t l = static_cast<size_t>(L), e = static_cast<size_t>(E);
    const size_t chunks = (l + MBK_CUDA_CHUNK - 1) / MBK_CUDA_CHUNK, edges = chunks * static_cast<size_t>(N) * e;
    p->edges.chunks = static_cast<int>(chunks);
    p->slices = (N + SCAN_SLICE - 1) / SCAN_SLICE;
    p->blocks = static_cast<int>(blocks_for(E, ROUNDS * CHANNELS));
    const size_t sizes[] = {edges,
                            chunks > 1 ? edges : 0,
                            chunks * e,
                            chunks * e,
                            chunks * e,
                            chunks,
                            static_cast<size_t>(p->blocks) * l * static_cast<size_t>(p->slices) * SUMS,
                            p->slices > 1 ? 2 * l * e : 0};
    float *at[sizeof sizes / sizeof *sizes];
    size_t used = 0;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        at[k] = scratch && sizes[k] ? scratch + used : NULL;
        used += sizes[k];
    }
    p->edges.h = at[0], p->edges.g = at[1], p->edges.d_sum = at[2];
    p->dskip = at[3], p->ddt_bias = at[4];
    p->edges.whole = reinterpret_cast<int *>(at[5]);
    p->sums = at[6], p->over_states = at[7];
    return used;
}

extern "C" size_t mbk_scan_bwd_scratch_cuda(int L, int E, int N) {
    bwd_args p = {};
    return carve(&p, L, E, N, NULL);
}

extern "C" int mbk_scan_bwd_cuda(const mbk_ctx *ctx, const mbk_scan_bwd *a) {
    MBK_ASSERT(a->L >= 1 && a->E >= 1 && a->N >= 1 && a->N <= MBK_SCAN_MAX_N && a->scratch);
    bwd_args p = {};
    p.a = *a;
    (void)carve(&p, a->L, a->E, a->N, a->scratch);
    const unsigned wide = threads_for(a->E, SCAN_CHANNELS), chunks = static_cast<unsigned>(p.edges.chunks);
    int rc = MB_OK;
    if (chunks > 1) {
        const scan_carry carry = {p.edges, a->E, a->N, a->a2, a->state0, a->dstate, a->lda, a->lds};
        rc = launch(ctx, "scan_bwd_ends", bwd_ends,
                    dim3(chunks, blocks_for(a->E, wide), static_cast<unsigned>(p.slices)), dim3(wide), 0, p);
        rc = rc ? rc : mbk_scan_carry(ctx, &carry);
    }
    rc = rc ? rc
            : launch(ctx, "scan_bwd", bwd_chunks, dim3(chunks, static_cast<unsigned>(p.blocks)), dim3(THREADS),
                     sizeof(bwd_shared), p);
    rc = rc ? rc
            : launch(ctx, "scan_bwd_sums (chunks)", sum_chunks,
                     dim3(blocks_for(a->E, REDUCE_THREADS), static_cast<unsigned>(a->N)), dim3(REDUCE_THREADS), 0, p);
    return rc ? rc
              : launch(ctx, "scan_bwd_sums (channels)", sum_blocks,
                       dim3(blocks_for(static_cast<int64_t>(a->L) * a->N, REDUCE_THREADS)), dim3(REDUCE_THREADS), 0, p);
}
