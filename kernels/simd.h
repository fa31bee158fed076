/* The vector layer of the fast kernels: one vector of floats, `vf`, as wide as the instruction set this file is
 * compiled for, on the vector extensions of GCC and clang. Whole arithmetic is plain C (a*b+c contracts to a fused
 * multiply-add); here are loads and stores of parts, minimum and maximum, and the functions exp2, exp, softplus, SiLU.
 * Where one instruction does what takes several, an instruction set has its own few lines, and nothing else does.
 *
 * Functions are made for this use, from polynomials fitted here (Remez), not for every rounding mode or exception flag.
 * Largest relative errors, tested by check_scan and check_conv1d: exp2 2.0e-7, exp and softplus 2.7e-7, SiLU 2.3e-7;
 * below FLT_MIN the error is absolute, and SiLU is 0 below v = -88.7 (3e-37). NaN in, NaN out.
 *
 * Compiled once per instruction set with -DMBK_ISA=name and -DMBK_ISA_name; without them it is "generic".
 * Refuses big-endian machines (none has been tried). */
#ifndef MBK_SIMD_H
#define MBK_SIMD_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* VREGISTERS: vectors that the processor has; VKEEP: those that stay in them through a loop that calls v_exp2, by what
 * compilers manage in practice. */
#if defined(MBK_ISA_avx512)
#define VBYTES     64
#define VREGISTERS 32
#define VKEEP      16
#include <immintrin.h>
#elif defined(MBK_ISA_avx2)
#define VBYTES     32
#define VREGISTERS 16
#define VKEEP      8
#include <immintrin.h>
#else
#define VBYTES 16
#define VKEEP  8
#if defined(__aarch64__)
#define VREGISTERS 32
#else
#define VREGISTERS 16
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif
#endif
#ifndef MBK_ISA
#define MBK_ISA generic
#endif

/* MBK_NAME(scan_fwd) is mbk_scan_fwd_avx512 and so on. */
#define MBK_NAME_3(op, isa) mbk_##op##_##isa
#define MBK_NAME_2(op, isa) MBK_NAME_3(op, isa)
#define MBK_NAME(op)        MBK_NAME_2(op, MBK_ISA)

#define VINLINE static inline __attribute__((always_inline))
/* Before a loop whose counter must become a constant, so that arrays of vectors live in registers. */
#if defined(__clang__)
#define VUNROLL _Pragma("clang loop unroll(full)")
#else
#define VUNROLL _Pragma("GCC unroll 16")
#endif

enum { VLANES = VBYTES / 4 };
typedef float vf __attribute__((vector_size(VBYTES)));
typedef int32_t vi __attribute__((vector_size(VBYTES)));
typedef float vf_unaligned __attribute__((vector_size(VBYTES), aligned(4), may_alias));

/* ---- loads, stores --------------------------------------------------------------------------------------------- */
VINLINE vf v_load(const float *p) {
    return *(const vf_unaligned *)p;
}
VINLINE void v_store(float *p, vf a) {
    *(vf_unaligned *)p = a;
}
VINLINE vf v_all(float a) {
    return a - (vf){0};
}

#if defined(MBK_ISA_avx512)
VINLINE vf v_load_part(const float *p, int n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
VINLINE void v_store_part(float *p, vf a, int n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a);
}
#elif defined(MBK_ISA_avx2)
VINLINE __m256i v_part_mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
VINLINE vf v_load_part(const float *p, int n) {
    return _mm256_maskload_ps(p, v_part_mask(n));
}
VINLINE void v_store_part(float *p, vf a, int n) {
    _mm256_maskstore_ps(p, v_part_mask(n), a);
}
#else
VINLINE vf v_load_part(const float *p, int n) {
    vf a = {0};
    memcpy(&a, p, (size_t)n * sizeof(float));
    return a;
}
VINLINE void v_store_part(float *p, vf a, int n) {
    memcpy(p, &a, (size_t)n * sizeof(float));
}
#endif
/* The first n lanes, n >= 1 and perhaps more than there are; lanes beyond n read as 0 and are not written. */
VINLINE vf v_load_n(const float *p, int n) {
    return n >= VLANES ? v_load(p) : v_load_part(p, n);
}
VINLINE void v_store_n(float *p, vf a, int n) {
    if (n >= VLANES)
        v_store(p, a);
    else
        v_store_part(p, a, n);
}

/* ---- lanes ------------------------------------------------------------------------------------------------------ */
VINLINE vf v_select(vi mask, vf yes, vf no) {
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}
/* bound first: a NaN in a comes through */
VINLINE vf v_at_most(float bound, vf a) {
#if defined(MBK_ISA_avx512)
    return _mm512_min_ps(v_all(bound), a);
#elif defined(MBK_ISA_avx2)
    return _mm256_min_ps(v_all(bound), a);
#elif defined(__SSE__)
    return _mm_min_ps(v_all(bound), a);
#elif defined(__ARM_NEON)
    return vminq_f32(v_all(bound), a);
#else
    return v_select(a > v_all(bound), v_all(bound), a);
#endif
}
VINLINE vf v_at_least(float bound, vf a) {
#if defined(MBK_ISA_avx512)
    return _mm512_max_ps(v_all(bound), a);
#elif defined(MBK_ISA_avx2)
    return _mm256_max_ps(v_all(bound), a);
#elif defined(__SSE__)
    return _mm_max_ps(v_all(bound), a);
#elif defined(__ARM_NEON)
    return vmaxq_f32(v_all(bound), a);
#else
    return v_select(a < v_all(bound), v_all(bound), a);
#endif
}
/* Sum of the lanes, by halves: the order never changes. */
VINLINE float v_sum(vf a) {
    float lane[VLANES];
    v_store(lane, a);
    for (int w = VLANES / 2; w > 0; w /= 2)
        for (int i = 0; i < w; i++)
            lane[i] += lane[i + w];
    return lane[0];
}

/* ---- exp2, exp --------------------------------------------------------------------------------------------------
 * exp2(v): overflow gives inf, underflow 0 (at the latest below 2^-149, at the earliest below 2^-116); v finite or NaN.
 * exp(v), any v: rounds into the denormal numbers as it should.
 * Both polynomials are divided by their leading coefficient, so that the first step is an addition and the power of two
 * carries the coefficient: Zen adds and multiplies in different pipes. The constants are chosen so that 2^0 is 1. */
#if defined(MBK_ISA_avx512)
/* v = n + r, n a multiple of 1/16: 2^v = 2^floor(n) * T[16 frac n] * p(r); T is one register, vpermps its lookup. The
 * low four bits of index are 16 frac n. */
VINLINE vf v_exp2_parts(vf n, vf index, vf r) {
    static const float T[16] = {0x1.c6adc8p-5f, 0x1.dacf28p-5f, 0x1.efd4b0p-5f, 0x1.02e43cp-4f,
                                0x1.0e5a8ap-4f, 0x1.1a52c0p-4f, 0x1.26d2a0p-4f, 0x1.33e02cp-4f,
                                0x1.4181aap-4f, 0x1.4fbda6p-4f, 0x1.5e9af6p-4f, 0x1.6e20c0p-4f,
                                0x1.7e567ap-4f, 0x1.8f43eep-4f, 0x1.a0f13ep-4f, 0x1.b366e6p-4f};
    vf p = r + 0x1.1503c8p+2f;
    p = p * r + 0x1.8fa1dap+3f;
    p = p * r + 0x1.204618p+4f;
    return _mm512_scalef_ps(_mm512_permutexvar_ps((__m512i)index, v_load(T)) * p, n);
}
VINLINE vf v_exp2(vf v) {
    __asm__("" : "+v"(v)); /* a product used three times: contracting it three times would cost more than it saves */
    return v_exp2_parts(_mm512_roundscale_ps(v, 0x40), v + 0x1.8p+19f, v - _mm512_roundscale_ps(v, 0x40));
}
VINLINE vf v_exp(vf v) {
    v = v_at_most(89, v_at_least(-105, v));
    vf v2 = v * 0x1.715476p+0f;
    __asm__("" : "+v"(v2)); /* n and index must round the same number */
    vf n = _mm512_roundscale_ps(v2, 0x40), index = v2 + 0x1.8p+19f;
    vf r = _mm512_fmsub_ps(v, v_all(0x1.715476p+0f), n); /* exact */
    return v_exp2_parts(n, index, v * 0x1.4ae0c0p-26f + r);
}
#else
/* v = n + r, n whole: 2^v = 2^n p(r), p(0) = 1. The low bits of at are n + 127, the exponent field of 2^n; 0 is zero.
 */
VINLINE vf v_exp2_poly(vf r) {
    vf p = r * 0x1.5bba14p-10f + 0x1.3cea88p-7f;
    p = p * r + 0x1.c6b752p-5f;
    p = p * r + 0x1.ebf9bcp-3f;
    p = p * r + 0x1.62e42ap-1f;
    return p * r + 1.0f;
}
VINLINE vf v_exp2(vf v) {
    v = v_at_most(128, v_at_least(-127, v));
    vf at = v + 0x1.8000fep+23f;
    return v_exp2_poly(v - (at - 0x1.8000fep+23f)) * (vf)((vi)at << 23);
}
VINLINE vf v_exp(vf v) {
    v = v_at_most(89, v_at_least(-105, v));
    vf at = v * 0x1.715476p+0f + 0x1.8p+23f, n = at - 0x1.8p+23f;
    vf r = (v - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f; /* n ln 2 in two parts, the first exact */
    vi k = (vi)at - 0x4b400000, half = k >> 1;           /* in two steps: 2^k itself may be no normal number */
    return v_exp2_poly(r * 0x1.715476p+0f) * (vf)((half + 127) << 23) * (vf)((k - half + 127) << 23);
}
#endif

/* ---- softplus, SiLU --------------------------------------------------------------------------------------------- */
/* softplus(v) = max(v,0) + log1p(u), u = exp(-|v|) in 0..1;  log1p(u) = u p(u), p(0) = 1, degree 8. Nothing cancels, so
 * the relative error is small everywhere; beyond v = 20 the second term vanishes by itself. */
VINLINE vf v_softplus_of(vf v, vf u) {
    vf p = u * 0x1.5f96e6p-8f - 0x1.ec9926p-6f;
    p = p * u + 0x1.446c02p-4f;
    p = p * u - 0x1.19ad8cp-3f;
    p = p * u + 0x1.884452p-3f;
    p = p * u - 0x1.fd1320p-3f;
    p = p * u + 0x1.5535dap-2f;
    p = p * u - 0x1.ffff14p-2f;
    p = p * u + 1.0f;
    return p * u + v_at_least(0, v);
}
VINLINE vf v_softplus(vf v) {
    return v_softplus_of(v, v_exp((vf)((vi)v | (vi)v_all(-0.0f))));
}
VINLINE vf v_silu(vf v) {
    return v / (1.0f + v_exp(-v));
}
#endif
