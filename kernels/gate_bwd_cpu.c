/* The gate's gradients, fast: one sweep, one sigmoid an element. Refuses nothing but nonsense. */
#include "kernels/gate.h"
#include "kernels/silu.h"

mbk_gate_bwd_fn MBK_NAME(gate_bwd);

/* The rows at hand. A copy on the stack, so that no store can be taken for a change of a pointer. */
typedef struct row {
    const float *s, *z, *G;
    float *out, *ds, *dz;
} row;

/* n elements from e on. All is loaded before any of it is stored: ds may be G, out may be s. */
VINLINE void gate_vector(const row *r, int e, const int n) {
    const vf s = v_load_n(r->s + e, n), G = v_load_n(r->G + e, n);
    vf slope;
    const vf silu = v_silu_slope(v_load_n(r->z + e, n), &slope);
    v_store_n(r->out + e, s * silu, n);
    v_store_n(r->ds + e, G * silu, n);
    v_store_n(r->dz + e, G * s * slope, n);
}

static void gate_alone(const mbk_gate_bwd *a) {
    for (int t = 0; t < a->L; t++)
        for (int e = 0; e < a->E; e += VLANES) {
            const vf s = v_load_n(a->s + t * a->lds + e, a->E - e), z = v_load_n(a->z + t * a->ldz + e, a->E - e);
            v_store_n(a->out + t * a->ldout + e, s * v_silu(z), a->E - e);
        }
}

int MBK_NAME(gate_bwd)(const mbk_ctx *ctx, const mbk_gate_bwd *a) {
    const int E = a->E;
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->E >= 1);
    if (!a->G) {
        gate_alone(a);
        return MB_OK;
    }
    for (int t = 0; t < a->L; t++) {
        const row r = {a->s + t * a->lds,     a->z + t * a->ldz,   a->G + t * a->ldg,
                       a->out + t * a->ldout, a->ds + t * a->ldds, a->dz + t * a->lddz};
        int e = 0;
        for (; e + VLANES <= E; e += VLANES)
            gate_vector(&r, e, VLANES);
        if (e < E)
            gate_vector(&r, e, E - e);
    }
    return MB_OK;
}
