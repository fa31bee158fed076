/* What every .cu of this folder shares: the queue, the launch, sums over threads, the elementary functions.
 *
 * A kernel takes one parameter struct by value and is launched by launch() under a name for people. Every kernel here
 * runs with any grid and block that its launch function chooses, needs no alignment, and reads and writes only the
 * shapes of its operation's header. Barriers are reached by all threads of a block or by none.
 *
 * The same sources are compiled as plain C++ by the tests' executor, which brings its own cuda_runtime.h; the only
 * concessions to it are the two macros for shared memory and the name given before a launch. */
#ifndef MBK_CUDA_CUH
#define MBK_CUDA_CUH
#include <cuda_runtime.h>
#include <math.h>

extern "C" {
#include "kernels/cuda.h"
}

/* Shared memory of a block: name[count] of a type, or all that the launch asked for. */
#if !defined(MBK_CUDA_EXEC)
#define MBK_SHARED(type, name, count) __shared__ type name[count]
#define MBK_SHARED_DYNAMIC(type, name)                                                                                 \
    extern __shared__ float4 mbk_dynamic_shared[];                                                                     \
    type *const name = reinterpret_cast<type *>(mbk_dynamic_shared)
#define MBK_NAME_LAUNCH(name) (void)0
#endif

enum { MBK_WARP = 32, MBK_NAMES = 16, MBK_SHARED_PLAIN = 48 * 1024 };
#define MBK_ALL_LANES 0xffffffffu

/* What a kernel found wrong, in device memory: a status (0: nothing) and the name of the operation. */
typedef struct mbk_fault {
    int status;
    int op; /* enum mbk_checked */
} mbk_fault;
enum mbk_checked { MBK_CHECKED_EMBED, MBK_CHECKED_EMBED_BWD, MBK_CHECKED_XENT };

struct mbk_queue {
    int device, careful;
    cudaStream_t stream;
    mbk_fault *fault; /* device */
    void *blas;       /* of gemm_cublaslt.cu; NULL: not asked for yet */
    void *work;       /* lent */
    size_t work_bytes;
    const char *name[MBK_NAMES]; /* of the last launches, [launches % MBK_NAMES] the oldest */
    unsigned launches;
    int failed; /* status of a failed launch, told by sync once more */
    char why[200];
};

static inline mbk_queue *queue_of(const mbk_ctx *ctx) {
    MBK_ASSERT(ctx && ctx->stream);
    return static_cast<mbk_queue *>(ctx->stream);
}

/* The workspace, which must have been lent. */
static inline float *work_of(const mbk_ctx *ctx, size_t bytes) {
    mbk_queue *q = queue_of(ctx);
    MBK_ASSERT(bytes == 0 || (q->work && q->work_bytes >= bytes));
    return static_cast<float *>(q->work);
}

extern "C" {
/* queue_cuda.cu: counts a launch; MB_OK or the failure that e is. */
int mbk_queue_launched(mbk_queue *q, const char *name, cudaError_t e);
/* MB_NOTSUP, told with these words by the next sync. */
int mbk_queue_missing(mbk_queue *q, const char *what);
/* gemm_cublaslt.cu, or gemm_cublaslt_none.cu: forgets what the queue holds for the library. */
void mbk_blas_destroy(void *blas);
}

template <class P>
static inline int launch(const mbk_ctx *ctx, const char *name, void (*kernel)(P), dim3 grid, dim3 block, size_t shared,
                         const P &p) {
    mbk_queue *q = queue_of(ctx);
    P copy = p;
    void *args[] = {&copy};
    cudaError_t e = cudaSetDevice(q->device);
    if (e == cudaSuccess && shared > MBK_SHARED_PLAIN)
        e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    MBK_NAME_LAUNCH(name);
    if (e == cudaSuccess)
        e = cudaLaunchKernel(kernel, grid, block, args, shared, q->stream);
    return mbk_queue_launched(q, name, e);
}

static inline unsigned blocks_for(int64_t n, int64_t per_block) {
    return static_cast<unsigned>((n + per_block - 1) / per_block);
}
static inline unsigned at_most(unsigned n, int most) {
    return n < static_cast<unsigned>(most) ? n : static_cast<unsigned>(most);
}
/* Threads for n things side by side: whole warps, at most `most`. */
static inline unsigned threads_for(int64_t n, int most) {
    const int64_t whole = (n + MBK_WARP - 1) / MBK_WARP * MBK_WARP;
    return static_cast<unsigned>(whole < most ? whole : most);
}

/* ---- sums over threads: the order is fixed, every thread gets the same bits ---------------------------------------
 */
template <class T> static __device__ __forceinline__ T warp_sum(T v) {
    for (int d = MBK_WARP / 2; d > 0; d /= 2)
        v += __shfl_xor_sync(MBK_ALL_LANES, v, d);
    return v;
}
static __device__ __forceinline__ float warp_max(float v) { /* a NaN wins */
    for (int d = MBK_WARP / 2; d > 0; d /= 2) {
        const float other = __shfl_xor_sync(MBK_ALL_LANES, v, d);
        v = other > v || isnan(other) ? other : v;
    }
    return v;
}
/* Over the threads of one row of the block (equal threadIdx.y). A row of one warp takes no barrier; wider rows want
 * blockDim.y = 1. lane_sums: 32 elements of shared memory. */
template <class T> static __device__ __forceinline__ T row_sum(T v, T *lane_sums) {
    v = warp_sum(v);
    if (blockDim.x == MBK_WARP)
        return v;
    if (threadIdx.x % MBK_WARP == 0)
        lane_sums[threadIdx.x / MBK_WARP] = v;
    __syncthreads();
    T sum = lane_sums[0];
    for (unsigned w = 1; w < blockDim.x / MBK_WARP; w++)
        sum += lane_sums[w];
    __syncthreads();
    return sum;
}

/* ---- elementary functions ------------------------------------------------------------------------------------------
 * exp2: one instruction of the special-function unit, 2 ulp, denormal results are 0. The others by the library's float
 * functions (2 ulp), for they run once an element and not once a state. */
static __device__ __forceinline__ float exp2_fast(float v) {
#if defined(__CUDA_ARCH__)
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r;
#elif defined(MBK_CUDA_EXEC)
    return cuda_exec_ex2(v);
#else
    return v;
#endif
}
/* log(1 + exp v) from exp(-|v|): nothing cancels and nothing overflows; beyond 20 the second term vanishes. */
static __device__ __forceinline__ float softplus(float v) {
    return (v > 0 ? v : v < 0 ? 0 : v + 0) + log1pf(expf(-fabsf(v)));
}
static __device__ __forceinline__ float sigmoid(float v) {
    const float u = expf(-fabsf(v)), d = 1 / (1 + u);
    return v < 0 ? u * d : d;
}
static __device__ __forceinline__ float silu(float v) {
    return v * sigmoid(v);
}
/* dSiLU/dv = s + v s (1-s), s (1-s) = u d^2: 1-s is never formed. */
static __device__ __forceinline__ float silu_slope(float v, float *value) {
    const float u = expf(-fabsf(v)), d = 1 / (1 + u), ud = u * d, s = v < 0 ? ud : d;
    *value = v * s;
    return s + v * ud * d;
}
#endif
