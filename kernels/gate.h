/* The gate's gradients: out = s * SiLU(z), out[t,e] = s z sigmoid(z).
 *   given G = dLoss/dout:  ds = G SiLU(z);  dz = G s sigmoid(z) (1 + z (1 - sigmoid(z)));  out is written again.
 * G NULL: out alone, which has the bits that the scan's own gate gives; ds and dz are not looked at then.
 * All (L,E), each with its row distance. ds may be the same memory as G; out the same as s (same pointer and ld); no
 * other aliasing. The gate is part of the scan too (scan.h). */
#ifndef MBK_GATE_H
#define MBK_GATE_H
#include "kernels/kernel.h"

typedef struct mbk_gate_bwd {
    int L, E;
    const float *s;
    ptrdiff_t lds;
    const float *z;
    ptrdiff_t ldz;
    const float *G; /* or NULL */
    ptrdiff_t ldg;
    float *out;
    ptrdiff_t ldout;
    float *ds;
    ptrdiff_t ldds;
    float *dz;
    ptrdiff_t lddz;
} mbk_gate_bwd;

typedef int mbk_gate_bwd_fn(const mbk_ctx *, const mbk_gate_bwd *);
mbk_gate_bwd_fn mbk_gate_bwd_ref, mbk_gate_bwd_cpu;
#endif
