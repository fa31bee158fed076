/* Stands in for the CUDA run time when the .cu sources are compiled as C++ for the tests (see executor.h): of the
 * language and the library just what kernels/ uses. What is missing here does not compile; nothing pretends. */
#ifndef MB_TESTS_CUDA_RUNTIME_H
#define MB_TESTS_CUDA_RUNTIME_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MBK_CUDA_EXEC
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {
    }
};
struct alignas(16) float4 {
    float x, y, z, w;
};

static inline float4 make_float4(float x, float y, float z, float w) {
    return float4{x, y, z, w};
}

/* ---- the thread that runs ------------------------------------------------------------------------------------------
 */
typedef struct cuda_exec_place {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
} cuda_exec_place;
extern "C" {
extern const cuda_exec_place *cuda_exec_here;
void cuda_exec_barrier(const char *file, int line);
/* All lanes of `mask` meet at this line: lane i's value, of those in the mask, in all[i]. */
void cuda_exec_meet(unsigned mask, uint64_t value, uint64_t all[32], const char *file, int line);
int cuda_exec_lane(void);
void *cuda_exec_shared(const void *site, size_t bytes, size_t align);
void *cuda_exec_shared_dynamic(void);
void cuda_exec_name(const char *name);
float cuda_exec_ex2(float v);
}
#define threadIdx (cuda_exec_here->thread)
#define blockIdx  (cuda_exec_here->block)
#define blockDim  (cuda_exec_here->block_dim)
#define gridDim   (cuda_exec_here->grid_dim)
#define warpSize  32

/* The site of a declaration is the address of a variable of its own: one array for all threads of a block. */
#define MBK_SHARED(type, name, count)                                                                                  \
    static const char name##_site = 0;                                                                                 \
    type *const name = static_cast<type *>(cuda_exec_shared(&name##_site, sizeof(type) * (count), alignof(type)))
#define MBK_SHARED_DYNAMIC(type, name) type *const name = static_cast<type *>(cuda_exec_shared_dynamic())
#define MBK_NAME_LAUNCH(name)          cuda_exec_name(name)

#define __syncthreads() cuda_exec_barrier(__FILE__, __LINE__)
#define __syncwarp(...) cuda_exec_sync_warp(__FILE__, __LINE__)
#define __threadfence() (void)0
#define __ldg(p)        (*(p))
#define __ffs(v)        __builtin_ffs(v)
#define __popc(v)       __builtin_popcount(v)

static inline void cuda_exec_sync_warp(const char *file, int line) {
    uint64_t all[32];
    cuda_exec_meet(0xffffffffu, 0, all, file, line);
}
template <class T> static inline T cuda_exec_shuffle(unsigned mask, T v, int from, const char *file, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "what a shuffle moves");
    uint64_t all[32], bits = 0;
    memcpy(&bits, &v, sizeof v);
    cuda_exec_meet(mask, bits, all, file, line);
    if (from >= 0 && from < 32)
        memcpy(&v, &all[from], sizeof v);
    return v;
}
#define __shfl_xor_sync(mask, v, d)  cuda_exec_shuffle(mask, v, cuda_exec_lane() ^ (d), __FILE__, __LINE__)
#define __shfl_sync(mask, v, i)      cuda_exec_shuffle(mask, v, (i)&31, __FILE__, __LINE__)
#define __shfl_up_sync(mask, v, d)   cuda_exec_shuffle(mask, v, cuda_exec_lane() - (int)(d), __FILE__, __LINE__)
#define __shfl_down_sync(mask, v, d) cuda_exec_shuffle(mask, v, cuda_exec_lane() + (int)(d), __FILE__, __LINE__)
static inline unsigned cuda_exec_vote(unsigned mask, int yes, const char *file, int line) {
    uint64_t all[32];
    unsigned votes = 0;
    cuda_exec_meet(mask, yes != 0, all, file, line);
    for (int i = 0; i < 32; i++)
        votes |= (mask >> i & 1 && all[i] ? 1u : 0u) << i;
    return votes;
}
#define __ballot_sync(mask, p) cuda_exec_vote(mask, (p) ? 1 : 0, __FILE__, __LINE__)
#define __any_sync(mask, p)    (cuda_exec_vote(mask, (p) ? 1 : 0, __FILE__, __LINE__) != 0)
#define __all_sync(mask, p)    (cuda_exec_vote(mask, (p) ? 1 : 0, __FILE__, __LINE__) == (mask))

template <class T> static inline T atomicAdd(T *at, T v) { /* threads change hands at barriers only */
    const T was = *at;
    *at = was + v;
    return was;
}

/* ---- the library ---------------------------------------------------------------------------------------------------
 */
typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorLaunchFailure = 719
} cudaError_t;
typedef struct cuda_exec_stream *cudaStream_t;
enum { cudaStreamNonBlocking = 1 };
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor = 75 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };

extern "C" {
const char *cudaGetErrorString(cudaError_t);
cudaError_t cudaGetLastError(void);
cudaError_t cudaGetDeviceCount(int *);
cudaError_t cudaSetDevice(int);
cudaError_t cudaDeviceGetAttribute(int *, cudaDeviceAttr, int);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *, unsigned);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaMalloc(void **, size_t);
cudaError_t cudaFree(void *);
cudaError_t cudaMemsetAsync(void *, int, size_t, cudaStream_t);
cudaError_t cudaMemcpyAsync(void *, const void *, size_t, cudaMemcpyKind, cudaStream_t);
cudaError_t cuda_exec_attribute(const void *kernel, size_t shared);
cudaError_t cuda_exec_launch(const void *kernel, void (*call)(const void *kernel, const void *args), const void *args,
                             dim3 grid, dim3 block, size_t shared, cudaStream_t stream);
}

template <class P> static void cuda_exec_call(const void *kernel, const void *args) {
    reinterpret_cast<void (*)(P)>(const_cast<void *>(kernel))(*static_cast<const P *>(args));
}
template <class P>
static inline cudaError_t cudaLaunchKernel(void (*kernel)(P), dim3 grid, dim3 block, void **args, size_t shared,
                                           cudaStream_t stream) {
    static_assert(sizeof(P) <= 4096, "what a kernel's parameters may take");
    return cuda_exec_launch(reinterpret_cast<const void *>(kernel), cuda_exec_call<P>, args[0], grid, block, shared,
                            stream);
}
template <class P> static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(P), cudaFuncAttribute, int shared) {
    return cuda_exec_attribute(reinterpret_cast<const void *>(kernel), static_cast<size_t>(shared));
}
#endif
