/* Matrix product, the truth: sums in double, in the order of k. With MBK_BF16 each weight and input is rounded to
 * bf16 first, as the fast variant does; products and sums stay double. */
#include <stdlib.h>

#include "kernels/gemm.h"
#include "kernels/gemm_bf16.h"

struct mbk_linear {
    mbk_linear_spec spec;
};

int mbk_linear_create_ref(mbk_linear **out, const mbk_linear_spec *spec) {
    MBK_ASSERT(spec->Nout >= 1 && spec->Kin >= 1 && spec->W);
    *out = malloc(sizeof **out);
    if (!*out)
        return MB_NOMEM;
    (*out)->spec = *spec;
    return MB_OK;
}

void mbk_linear_destroy_ref(mbk_linear *l) {
    free(l);
}

static double as_used(mbk_precision p, float v) {
    return p == MBK_BF16 ? mbk_bf16_to_float(mbk_bf16_from_float(v)) : v;
}

/* sum_k x[k] * W[n,k] */
static double dot(const mbk_linear_spec *s, const float *x, int n) {
    const float *w = s->W + (size_t)n * (size_t)s->Kin;
    double sum = 0;
    for (int k = 0; k < s->Kin; k++)
        sum += as_used(s->precision, x[k]) * as_used(s->precision, w[k]);
    return sum;
}

int mbk_linear_fwd_ref(const mbk_ctx *ctx, const mbk_linear *l, int M, const float *X, float *Y, int accumulate) {
    (void)ctx;
    const mbk_linear_spec *s = &l->spec;
    MBK_ASSERT(M >= 1 && X && Y);
    for (int m = 0; m < M; m++)
        for (int n = 0; n < s->Nout; n++) {
            float *y = Y + (size_t)m * (size_t)s->Nout + n;
            *y = (float)(dot(s, X + (size_t)m * (size_t)s->Kin, n) + (accumulate ? *y : 0.0));
        }
    return MB_OK;
}

int mbk_linear_step_ref(const mbk_ctx *ctx, const mbk_linear *l, int n0, int n1, const float *x, float *y) {
    (void)ctx;
    MBK_ASSERT(0 <= n0 && n0 <= n1 && n1 <= l->spec.Nout && x && y);
    for (int n = n0; n < n1; n++)
        y[n] = (float)dot(&l->spec, x, n);
    return MB_OK;
}

size_t mbk_linear_bytes_ref(const mbk_linear_spec *spec) {
    (void)spec;
    return sizeof(mbk_linear);
}
