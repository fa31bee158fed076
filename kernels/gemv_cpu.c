/* One row times a weight matrix; one source for all instruction sets, in the compiler's vector types.
 *
 * Every output keeps SUMS vectors of partial sums whatever rows are done beside it, and they are added in one fixed
 * order: that is why its bits depend neither on the range nor on the neighbours. Four rows at once hide the latency
 * of the additions and give the prefetcher four streams. */
#include <string.h>

#include "kernels/gemm_bf16.h"
#include "kernels/gemv.h"

#if defined(MBK_ISA_avx512)
#define LANES 16
#elif defined(MBK_ISA_avx2)
#define LANES 8
#else
#define LANES 4
#endif
#define SUMS     (16 / LANES) /* 16 partial sums for every instruction set */
#define ROWS     4
#define PREFETCH 1024 /* bytes ahead in each row */

#define CAT2(a, b) a##_##b
#define CAT(a, b)  CAT2(a, b)
#define NAME(f)    CAT(f, MBK_ISA)

typedef float vf __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * LANES), aligned(2), may_alias));

mbk_gemv_fn NAME(mbk_gemv);
mbk_gemv_bf16_fn NAME(mbk_gemv_bf16);
mbk_gemv_prepare_fn NAME(mbk_gemv_prepare);
mbk_bf16_round_fn NAME(mbk_bf16_round);
mbk_bf16_clip_fn NAME(mbk_bf16_clip);

static inline __attribute__((always_inline)) vf load(const float *p) {
    return *(const vf *)p;
}

/* The partial sums of one row, halved until one is left. */
static inline float total(const vf *s) {
    float v[16];
    memcpy(v, s, sizeof v);
    for (int width = 8; width; width /= 2)
        for (int i = 0; i < width; i++)
            v[i] += v[i + width];
    return v[0];
}

/* rows is a constant where this is inlined */
static inline __attribute__((always_inline)) void block(int rows, int Kin, const float *W, const float *x, float *y) {
    vf s[ROWS][SUMS] = {{{0}}};
    int k = 0;
    for (; k + 16 <= Kin; k += 16)
        for (int r = 0; r < rows; r++) {
            const float *w = W + (ptrdiff_t)r * Kin + k;
            __builtin_prefetch((const char *)w + PREFETCH);
            for (int i = 0; i < SUMS; i++)
                s[r][i] += load(w + i * LANES) * load(x + k + i * LANES);
        }
    for (int r = 0; r < rows; r++) {
        float sum = total(s[r]);
        for (int j = k; j < Kin; j++)
            sum += W[(ptrdiff_t)r * Kin + j] * x[j];
        y[r] = sum;
    }
}

void NAME(mbk_gemv)(int n0, int n1, int Kin, const float *W, const float *x, float *y) {
    int n = n0;
    for (; n + ROWS <= n1; n += ROWS)
        block(ROWS, Kin, W + (ptrdiff_t)n * Kin, x, y + n);
    for (; n < n1; n++)
        block(1, Kin, W + (ptrdiff_t)n * Kin, x, y + n);
}

/* 16 pairs of bf16: sums += even * x[0..15] + odd * x[16..31] */
static inline __attribute__((always_inline)) void block_bf16(int rows, int Kin, const uint16_t *W, const float *x,
                                                             float *y) {
    vf s[ROWS][SUMS] = {{{0}}};
    int k = 0;
    for (; k + MBK_GEMV_BLOCK <= Kin; k += MBK_GEMV_BLOCK)
        for (int r = 0; r < rows; r++) {
            const uint16_t *w = W + (ptrdiff_t)r * Kin + k;
            __builtin_prefetch((const char *)w + PREFETCH);
            for (int i = 0; i < SUMS; i++) {
                vu pair = *(const vu *)(w + 2 * i * LANES);
                s[r][i] += (vf)(pair << 16) * load(x + k + i * LANES);
                s[r][i] += (vf)(pair & 0xffff0000u) * load(x + k + 16 + i * LANES);
            }
        }
    for (int r = 0; r < rows; r++) {
        float sum = total(s[r]);
        for (int j = k; j < Kin; j++)
            sum += mbk_bf16_to_float(W[(ptrdiff_t)r * Kin + j]) * x[j];
        y[r] = sum;
    }
}

void NAME(mbk_gemv_bf16)(int n0, int n1, int Kin, const uint16_t *W, const float *prepared, float *y) {
    int n = n0;
    for (; n + ROWS <= n1; n += ROWS)
        block_bf16(ROWS, Kin, W + (ptrdiff_t)n * Kin, prepared, y + n);
    for (; n < n1; n++)
        block_bf16(1, Kin, W + (ptrdiff_t)n * Kin, prepared, y + n);
}

void NAME(mbk_gemv_prepare)(int Kin, const float *x, float *prepared) {
    int whole = Kin / MBK_GEMV_BLOCK * MBK_GEMV_BLOCK;
    for (int k = 0; k < Kin; k++) {
        int in = k % MBK_GEMV_BLOCK, place = k < whole ? k - in + (in & 1) * 16 + in / 2 : k;
        prepared[place] = mbk_bf16_to_float(mbk_bf16_from_float(x[k]));
    }
}

void NAME(mbk_bf16_round)(size_t n, const float *x, uint16_t *y) {
    for (size_t i = 0; i < n; i++)
        y[i] = mbk_bf16_from_float(x[i]);
}

void NAME(mbk_bf16_clip)(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++)
        y[i] = mbk_bf16_to_float(mbk_bf16_from_float(x[i]));
}
