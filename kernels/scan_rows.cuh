/* What the scans on a GPU share: rows in processing order, chunks, states of a slice.
 *
 * A chunk is MBK_CUDA_CHUNK rows in processing order; row i in that order lies at row_of(i) in memory. States are gone
 * through in slices of SCAN_SLICE, which one thread (or four) holds in registers; states beyond N are padded with
 * rates, B, C and values of 0, which change nothing. */
#ifndef MBK_SCAN_ROWS_CUH
#define MBK_SCAN_ROWS_CUH
#include "kernels/cuda.cuh"

enum { SCAN_SLICE = 16, SCAN_CHANNELS = 128, SCAN_AHEAD = 4 };

static __device__ __forceinline__ int row_of(int L, int reverse, int i) {
    return reverse ? L - 1 - i : i;
}
/* Whether processed row i belongs to another sequence than the one before it. */
static __device__ __forceinline__ int starts_anew(const int32_t *segment, int L, int reverse, int i) {
    return segment && i > 0 && segment[row_of(L, reverse, i)] != segment[row_of(L, reverse, i - 1)];
}
static __device__ __forceinline__ float step_size(float dt, float bias, int softplus_dt) {
    const float v = dt + bias;
    return softplus_dt ? softplus(v) : v;
}

/* tile[i][n] of `count` rows from i0 on, states n0 .. n0+states-1; zeros beyond the rows and beyond N. */
static inline __device__ void stage_states(float *tile, const float *from, ptrdiff_t ld, int L, int reverse, int i0,
                                           int count, int n0, int N, int states) {
    for (int k = static_cast<int>(threadIdx.x); k < MBK_CUDA_CHUNK * states; k += static_cast<int>(blockDim.x)) {
        const int i = k / states, n = n0 + k % states;
        tile[k] = i < count && n < N ? from[row_of(L, reverse, i0 + i) * ld + n] : 0;
    }
}
static inline __device__ void stage_starts(int *anew, const int32_t *segment, int L, int reverse, int i0, int count) {
    for (int i = static_cast<int>(threadIdx.x); i < MBK_CUDA_CHUNK; i += static_cast<int>(blockDim.x))
        anew[i] = i < count && starts_anew(segment, L, reverse, i0 + i);
}
/* STATES values of one row, the same for all threads: 16 bytes at a time. */
template <int STATES> static __device__ __forceinline__ void states_of(float *v, const float4 *row) {
#pragma unroll
    for (int n = 0; n < STATES / 4; n++) {
        const float4 q = row[n];
        v[4 * n] = q.x, v[4 * n + 1] = q.y, v[4 * n + 2] = q.z, v[4 * n + 3] = q.w;
    }
}
/* Values n0 .. of a column of (N,E), or zeros where there is none. */
template <int STATES>
static __device__ __forceinline__ void column_of(float *v, const float *from, ptrdiff_t ld, int n0, int N, int e) {
#pragma unroll
    for (int n = 0; n < STATES; n++)
        v[n] = from && n0 + n < N ? from[(n0 + n) * ld + e] : 0;
}

/* What the chunks hand on, in workspace. */
typedef struct scan_edges {
    int chunks;
    float *h;     /* (chunks,N,E): the state before each chunk */
    float *g;     /* (chunks,N,E): dLoss/d(state after each chunk); backward only */
    float *d_sum; /* (chunks,E): sum of the steps, so that a chunk's decay is exp2(d_sum * a2) */
    int *whole;   /* (chunks): 0 where a sequence starts within: nothing of before is left then */
} scan_edges;

/* A thread a channel n,e of (N,E): from the chunks' own contributions, which h[k+1] and g[k-1] hold, to what comes into
 * each. h: from state0 on; g (may be NULL): from dstate backwards. */
typedef struct scan_carry {
    scan_edges edges;
    int E, N;
    const float *a2, *state0, *dstate;
    ptrdiff_t lda, lds;
} scan_carry;
extern "C" int mbk_scan_carry(const mbk_ctx *ctx, const scan_carry *p);
#endif
