/* The gate's gradients on a GPU. 24 bytes an element (s, z, G read; out, ds, dz written), some 25 flops and 3 special
 * functions: memory alone. Lanes along a row, 128 bytes an access. */
#include "kernels/cuda.cuh"

enum { GATE_THREADS = 256 };

static __global__ void gate_rows(const mbk_gate_bwd a) {
    const ptrdiff_t t = static_cast<ptrdiff_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    const int e = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (t >= a.L || e >= a.E)
        return;
    float value;
    const float s = a.s[t * a.lds + e], slope = silu_slope(a.z[t * a.ldz + e], &value);
    const float G = a.G ? a.G[t * a.ldg + e] : 0;
    a.out[t * a.ldout + e] = s * value;
    if (!a.G)
        return;
    a.ds[t * a.ldds + e] = G * value;
    a.dz[t * a.lddz + e] = G * s * slope;
}

extern "C" int mbk_gate_bwd_cuda(const mbk_ctx *ctx, const mbk_gate_bwd *a) {
    MBK_ASSERT(a->L >= 1 && a->E >= 1);
    const unsigned wide = threads_for(a->E, GATE_THREADS), rows = GATE_THREADS / wide;
    return launch(ctx, "gate_bwd", gate_rows, dim3(blocks_for(a->L, rows), blocks_for(a->E, wide)), dim3(wide, rows), 0,
                  *a);
}
