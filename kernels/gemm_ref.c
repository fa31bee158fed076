/* Matrix product, the truth: sums in double, in the order of k. With MBK_BF16 each weight and input is rounded to
 * bf16 first, as the fast variant does, with MBK_TF32 to TF32; products and sums stay double. */
#include <stdlib.h>
#include <string.h>

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

/* To 10 bits of mantissa, ties to even, as tensor cores want TF32. */
static float to_tf32(float v) {
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    if ((u & 0x7fffffffu) < 0x7f800000u)
        u = (u + 0xfffu + ((u >> 13) & 1u)) & ~0x1fffu;
    memcpy(&v, &u, sizeof v);
    return v;
}

static double as_used(mbk_precision p, float v) {
    return p == MBK_BF16 ? mbk_bf16_to_float(mbk_bf16_from_float(v)) : p == MBK_TF32 ? to_tf32(v) : v;
}

/* sum_k x[k] * W[n,k], or W[k,n] of a transposed one */
static double dot(const mbk_linear_spec *s, const float *x, int n) {
    const size_t column = s->transposed ? 1 : (size_t)s->Kin, row = s->transposed ? (size_t)s->Nout : 1;
    const float *w = s->W + (size_t)n * column;
    double sum = 0;
    for (int k = 0; k < s->Kin; k++)
        sum += as_used(s->precision, x[k]) * as_used(s->precision, w[(size_t)k * row]);
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
    MBK_ASSERT(0 <= n0 && n0 <= n1 && n1 <= l->spec.Nout && x && y && !l->spec.transposed);
    for (int n = n0; n < n1; n++)
        y[n] = (float)dot(&l->spec, x, n);
    return MB_OK;
}

size_t mbk_linear_bytes_ref(const mbk_linear_spec *spec) {
    (void)spec;
    return sizeof(mbk_linear);
}

int mbk_linear_update_ref(mbk_linear *l) {
    (void)l; /* it reads W at every use */
    return MB_OK;
}

int mbk_gemm_tn_ref(const mbk_ctx *ctx, const mbk_gemm_tn *p) {
    (void)ctx;
    MBK_ASSERT(p->k >= 1 && p->m >= 1 && p->n >= 1 && p->A && p->B && p->C);
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->n; j++) {
            float *c = p->C + i * p->ldc + j;
            double sum = p->accumulate ? *c : 0.0;
            for (int64_t k = 0; k < p->k; k++)
                sum += as_used(p->precision, p->A[k * p->lda + i]) * as_used(p->precision, p->B[k * p->ldb + j]);
            *c = (float)sum;
        }
    return MB_OK;
}
