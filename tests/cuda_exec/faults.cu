/* Kernels with a fault each, and one without, that show the executor at work (check_executor.c). */
#include "kernels/cuda.cuh"
#include "tests/cuda_exec/faults.h"

typedef struct fault_args {
    int fault, n;
    const float *in;
    float *out;
} fault_args;

/* out[i] = sum of the block's inputs up to the i-th, by turns in shared memory. */
static __global__ void planted(const fault_args p) {
    MBK_SHARED(float, sums, 256);
    const int i = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
    const int at = static_cast<int>(blockIdx.x) * n + i;
    if (p.fault == FAULT_EARLY_END && i == n - 1)
        return; /* before a barrier that the others come to */
    sums[i] = at < p.n ? p.in[at] : 0;
    if (p.fault != FAULT_NO_BARRIER)
        __syncthreads();
    for (int d = 1; d < n; d *= 2) {
        const float left = i >= d ? sums[i - d] : 0;
        if (p.fault == FAULT_TWO_BARRIERS && i == 3)
            __syncthreads();
        else
            __syncthreads();
        sums[i] += left;
        if (p.fault != FAULT_NO_SECOND_BARRIER)
            __syncthreads();
    }
    if (p.fault == FAULT_SHUFFLE && i != 5)
        (void)__shfl_xor_sync(MBK_ALL_LANES, sums[i], 1);
    if (p.fault == FAULT_SHARED_BEYOND)
        sums[i + 256 - n + 1] = 0;
    if (at < p.n || p.fault == FAULT_ONE_BEYOND)
        p.out[at] = sums[i];
    if (p.fault == FAULT_BEFORE && at == 0)
        p.out[-1] = 0;
    if (p.fault == FAULT_RACE)
        p.out[0] = static_cast<float>(at);
}

extern "C" int planted_launch(const mbk_ctx *ctx, int fault, int n, const float *in, float *out) {
    const fault_args p = {fault, n, in, out};
    const unsigned threads = fault == FAULT_THREADS ? 1056 : 64;
    const unsigned rows = fault == FAULT_GRID ? 70000 : 1;
    const size_t shared = fault == FAULT_SHARED_BYTES ? 228 * 1024 : 0;
    return launch(ctx, "planted", planted, dim3(blocks_for(n, threads), rows), dim3(threads), shared, p);
}
