/* The gate's gradients, fast: one sweep, one sigmoid an element. Refuses nothing but nonsense. */
#include "kernels/gate.h"
#include "kernels/silu.h"

mbk_gate_bwd_fn MBK_NAME(gate_bwd);

/* n elements from e on of row t. All is loaded before any of it is stored: ds may be G, out may be s. */
VINLINE void gate_vector(const mbk_gate_bwd *a, int t, int e, const int n) {
    const vf s = v_load_n(a->s + t * a->lds + e, n), G = v_load_n(a->G + t * a->ldg + e, n);
    vf slope;
    const vf silu = v_silu_slope(v_load_n(a->z + t * a->ldz + e, n), &slope);
    v_store_n(a->out + t * a->ldout + e, s * silu, n);
    v_store_n(a->ds + t * a->ldds + e, G * silu, n);
    v_store_n(a->dz + t * a->lddz + e, G * s * slope, n);
}

int MBK_NAME(gate_bwd)(const mbk_ctx *ctx, const mbk_gate_bwd *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->E >= 1);
    for (int t = 0; t < a->L; t++) {
        int e = 0;
        for (; e + VLANES <= a->E; e += VLANES)
            gate_vector(a, t, e, VLANES);
        if (e < a->E)
            gate_vector(a, t, e, a->E - e);
    }
    return MB_OK;
}
