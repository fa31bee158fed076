/* AdamW, moving average and sum of squares, fast: one sweep each. An element has the same bits wherever it lies: which
 * products are fused with a sum is said, not left to the compiler. Refuses nothing but nonsense. */
#include <float.h>
#include <math.h>

#include "kernels/optim.h"
#include "kernels/simd.h"

mbk_adamw_fn MBK_NAME(adamw);
mbk_ema_fn MBK_NAME(ema);
mbk_sumsq_fn MBK_NAME(sumsq);

/* a b + c, rounded once where the processor can: said and not left to contraction, which clang does within a basic
 * block only, so that the last, partial vector would have other bits. */
VINLINE vf v_fma(vf a, vf b, vf c) {
#if defined(MBK_ISA_avx512)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(MBK_ISA_avx2)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
    return vfmaq_f32(c, a, b);
#else
    a *= b; /* and nothing may look through the product */
#if defined(__SSE__)
    __asm__("" : "+x"(a));
#else
    __asm__("" : "+m"(a));
#endif
    return a + c;
#endif
}

VINLINE vf v_sqrt(vf a) {
#if defined(MBK_ISA_avx512)
    return _mm512_sqrt_ps(a);
#elif defined(MBK_ISA_avx2)
    return _mm256_sqrt_ps(a);
#elif defined(__SSE__)
    return _mm_sqrt_ps(a);
#elif defined(__aarch64__)
    return vsqrtq_f32(a);
#else
    for (int i = 0; i < VLANES; i++)
        a[i] = sqrtf(a[i]);
    return a;
#endif
}

/* 0 for what is smaller than a normal number. */
VINLINE vf without_denormals(vf a) {
    const vf size = (vf)((vi)a & 0x7fffffff);
    return v_select(size < FLT_MIN, (vf){0}, a);
}

/* n = min(VLANES, what is left from p on) as v_load_n wants it. */
VINLINE int lanes(int64_t left) {
    return left < VLANES ? (int)left : VLANES;
}

/* ---- AdamW ------------------------------------------------------------------------------------------------------ */
/* Of the whole run: 1-b1, 1-b2, 1/c2, lr/c1 and lr wd. */
typedef struct rates {
    float b1_rest, b2_rest, c2_inverse, step, shrink;
} rates;

/* Decay and step are added up before they meet w, so that w is rounded once and a small decay is not lost in 1 - lr wd.
 */
VINLINE void adamw_vector(const mbk_adamw *a, const rates *r, int64_t i, const int n) {
    const vf g = a->grad_scale != 0 ? v_load_n(a->grad + i, n) * a->grad_scale : (vf){0};
    const vf m = without_denormals(v_fma(v_load_n(a->m + i, n), v_all(a->b1), g * r->b1_rest));
    const vf v = without_denormals(v_fma(v_load_n(a->v + i, n), v_all(a->b2), g * r->b2_rest * g));
    const vf w = v_load_n(a->w + i, n), down = m * r->step / (v_sqrt(v * r->c2_inverse) + a->eps);
    v_store_n(a->m + i, m, n);
    v_store_n(a->v + i, v, n);
    v_store_n(a->w + i, w - v_fma(w, v_all(r->shrink), down), n);
}

int MBK_NAME(adamw)(const mbk_ctx *ctx, const mbk_adamw *args) {
    const mbk_adamw a = *args; /* a copy, so that no store can be taken for a change of a pointer */
    const rates r = {1 - a.b1, 1 - a.b2, 1 / a.c2, a.lr / a.c1, a.lr * a.decay};
    int64_t i = 0;
    (void)ctx;
    MBK_ASSERT(a.n >= 0);
    for (; i + VLANES <= a.n; i += VLANES)
        adamw_vector(&a, &r, i, VLANES);
    if (i < a.n)
        adamw_vector(&a, &r, i, lanes(a.n - i));
    return MB_OK;
}

/* ---- moving average --------------------------------------------------------------------------------------------- */
VINLINE void ema_vector(const mbk_ema *a, float rest, int64_t i, const int n) {
    v_store_n(a->avg + i, v_fma(v_load_n(a->avg + i, n), v_all(a->decay), v_load_n(a->w + i, n) * rest), n);
}

int MBK_NAME(ema)(const mbk_ctx *ctx, const mbk_ema *a) {
    const float rest = 1 - a->decay;
    int64_t i = 0;
    (void)ctx;
    MBK_ASSERT(a->n >= 0);
    for (; i + VLANES <= a->n; i += VLANES)
        ema_vector(a, rest, i, VLANES);
    if (i < a->n)
        ema_vector(a, rest, i, lanes(a->n - i));
    return MB_OK;
}

/* ---- sum of squares ---------------------------------------------------------------------------------------------
 * Of a block: element i counts in sum i % SUMS, and the sums are added by halves. A product of two floats is exact in
 * double, so neither the width of vectors nor contraction shows in the bits. */
#if defined(MBK_ISA_avx2) || defined(MBK_ISA_avx512)
#define WIDE_BYTES 32 /* on Zen 4 half as fast again as 64 */
#else
#define WIDE_BYTES 16
#endif
typedef double vd __attribute__((vector_size(WIDE_BYTES)));
enum { SUMS = 32, WIDE = WIDE_BYTES / sizeof(double) };

/* WIDE floats as doubles. */
VINLINE vd v_wide(const float *p) {
#if WIDE_BYTES == 32
    return _mm256_cvtps_pd(_mm_loadu_ps(p));
#else
    return (vd){p[0], p[1]};
#endif
}

static double block_sum(const float *x, int n) {
    double sum[SUMS];
    vd part[SUMS / WIDE] = {{0}};
    int i = 0;
    for (; i + SUMS <= n; i += SUMS)
        VUNROLL
    for (int k = 0; k < SUMS / WIDE; k++) {
        const vd a = v_wide(x + i + k * WIDE);
        part[k] += a * a;
    }
    memcpy(sum, part, sizeof sum);
    for (int k = 0; k < n - i; k++)
        sum[k] += (double)x[i + k] * x[i + k];
    for (int width = SUMS / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++)
            sum[k] += sum[k + width];
    return sum[0];
}

int MBK_NAME(sumsq)(const mbk_ctx *ctx, int64_t n, const float *x, double *out) {
    double total = 0;
    (void)ctx;
    MBK_ASSERT(n >= 0);
    for (int64_t i = 0; i < n; i += MBK_SUMSQ_BLOCK)
        total += block_sum(x + i, n - i < MBK_SUMSQ_BLOCK ? (int)(n - i) : MBK_SUMSQ_BLOCK);
    *out = total;
    return MB_OK;
}
