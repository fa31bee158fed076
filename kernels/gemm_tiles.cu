/* Matrix product without a library: where cuBLASLt is not, and what it refuses (odd alignments of bf16). Plain: a block
 * makes TILE x TILE elements of C, a thread SIDE x SIDE of them, from slices of DEPTH in shared memory; each element is
 * one chain of multiply-adds along K. 2 TILE^2 DEPTH flops for 2 TILE DEPTH floats loaded: 16 flops a byte at TILE 64,
 * enough for some half of the fp32 rate, nothing of the tensor cores. TF32: inputs rounded to 10 bits of mantissa. */
#include <cuda_bf16.h>

#include "kernels/gemm_blas.cuh"

enum { TILE = 64, DEPTH = 16, SIDE = 4, ACROSS = TILE / SIDE, STRIDE = TILE + 1 };

static __device__ __forceinline__ float value_of(const float *at, int tf32) {
    if (!tf32)
        return *at;
    uint32_t u;
    memcpy(&u, at, sizeof u);
    if ((u & 0x7fffffffu) < 0x7f800000u)
        u = (u + 0xfffu + ((u >> 13) & 1u)) & ~0x1fffu;
    float v;
    memcpy(&v, &u, sizeof v);
    return v;
}
static __device__ __forceinline__ float value_of(const __nv_bfloat16 *at, int) {
    return __bfloat162float(*at);
}

/* slice[d][i] = element (i, d) of a matrix of `count` rows and K columns, zeros beyond; turned: stored as (K, count).
 */
template <class T>
static __device__ void load_slice(float *slice, const T *from, ptrdiff_t ld, int turned, int64_t first, int64_t count,
                                  int64_t k0, int64_t K, int tf32) {
    const int me = static_cast<int>(threadIdx.y) * ACROSS + static_cast<int>(threadIdx.x);
    for (int e = me; e < TILE * DEPTH; e += ACROSS * ACROSS) {
        const int i = turned ? e % TILE : e / DEPTH, d = turned ? e / TILE : e % DEPTH;
        const int64_t row = first + i, k = k0 + d;
        float v = 0;
        if (row < count && k < K)
            v = value_of(from + (turned ? k * ld + row : row * ld + k), tf32);
        slice[d * STRIDE + i] = v;
    }
}

template <class T> static __global__ void tiles(const mbk_blas_gemm p) {
    MBK_SHARED(float, a, DEPTH *STRIDE);
    MBK_SHARED(float, b, DEPTH *STRIDE);
    const int64_t m0 = static_cast<int64_t>(blockIdx.x) * TILE, n0 = static_cast<int64_t>(blockIdx.y) * TILE;
    const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y), tf32 = p.precision == MBK_TF32;
    float sum[SIDE][SIDE] = {{0}};
    for (int64_t k0 = 0; k0 < p.K; k0 += DEPTH) {
        load_slice(a, static_cast<const T *>(p.A), p.lda, p.A_turned, m0, p.M, k0, p.K, tf32);
        load_slice(b, static_cast<const T *>(p.B), p.ldb, !p.B_turned, n0, p.N, k0, p.K, tf32);
        __syncthreads();
        for (int d = 0; d < DEPTH; d++)
#pragma unroll
            for (int i = 0; i < SIDE; i++)
#pragma unroll
                for (int j = 0; j < SIDE; j++)
                    sum[i][j] += a[d * STRIDE + y + i * ACROSS] * b[d * STRIDE + x + j * ACROSS];
        __syncthreads();
    }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            const int64_t m = m0 + y + i * ACROSS, n = n0 + x + j * ACROSS;
            if (m < p.M && n < p.N) {
                float *c = p.C + m * p.ldc + n;
                *c = p.accumulate ? *c + sum[i][j] : sum[i][j];
            }
        }
}

int mbk_tiles_run(const mbk_ctx *ctx, const mbk_blas_gemm *p) {
    const dim3 grid(blocks_for(p->M, TILE), blocks_for(p->N, TILE)), block(ACROSS, ACROSS);
    if (p->precision == MBK_BF16)
        return launch(ctx, "gemm_tiles (bf16)", tiles<__nv_bfloat16>, grid, block, 0, *p);
    return launch(ctx, "gemm_tiles", tiles<float>, grid, block, 0, *p);
}
