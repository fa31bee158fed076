/* SiLU and its slope from one sigmoid, for the fast kernels. With u = exp(-|v|) and d = 1/(1+u):
 *   sigmoid s = v < 0 ? u d : d,   s (1-s) = u d^2,   SiLU = v s,   dSiLU/dv = s + v s (1-s)
 * u never overflows and 1-s is never formed, so the errors are relative ones of the terms everywhere: some 4e-7 of
 * |s| + |v s (1-s)|. NaN in, NaN out; infinite v gives a NaN slope. Refuses nothing. */
#ifndef MBK_SILU_H
#define MBK_SILU_H
#include "kernels/simd.h"

VINLINE vf v_silu_slope(vf v, vf *slope) {
    const vf u = v_exp((vf)((vi)v | (vi)v_all(-0.0f))), d = 1.0f / (1.0f + u), ud = u * d;
    const vf s = v_select(v < 0, ud, d);
    *slope = s + (v * ud) * d;
    return v * s;
}
#endif
