/* The gate's gradients, the truth: the equations of the contract in double. Refuses nothing but nonsense. */
#include <math.h>

#include "kernels/gate.h"

int mbk_gate_bwd_ref(const mbk_ctx *ctx, const mbk_gate_bwd *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->E >= 1);
    for (int t = 0; t < a->L; t++)
        for (int e = 0; e < a->E; e++) {
            const double s = a->s[t * a->lds + e], z = a->z[t * a->ldz + e], G = a->G ? a->G[t * a->ldg + e] : 0;
            const double sigmoid = 1 / (1 + exp(-z));
            a->out[t * a->ldout + e] = (float)(s * z * sigmoid);
            if (!a->G)
                continue;
            a->ds[t * a->ldds + e] = (float)(G * z * sigmoid);
            a->dz[t * a->lddz + e] = (float)(G * s * sigmoid * (1 + z * (1 - sigmoid)));
        }
    return MB_OK;
}
