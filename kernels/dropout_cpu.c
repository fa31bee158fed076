/* Dropout, fast: the factors of 128 elements from one Philox block in every lane, then a product. Refuses nothing but
 * nonsense. */
#include <math.h>

#include "kernels/dropout.h"
#include "kernels/simd.h"

mbk_dropout_fn MBK_NAME(dropout);

enum { ROUNDS = 10, BLOCK = 128, SIDE = 16 };

typedef uint32_t vu __attribute__((vector_size(VBYTES)));

typedef struct wide { /* halves of 64-bit products */
    vu low, high;
} wide;

/* The products of every lane and m. */
VINLINE wide v_mul_wide(vu a, uint32_t m) {
    wide w = {{0}, {0}};
#if defined(MBK_ISA_avx512)
    const __m512i f = _mm512_set1_epi32((int)m), even = _mm512_mul_epu32((__m512i)a, f),
                  odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), f);
    w.low = (vu)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
    w.high = (vu)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
#elif defined(MBK_ISA_avx2)
    const __m256i f = _mm256_set1_epi32((int)m), even = _mm256_mul_epu32((__m256i)a, f),
                  odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), f);
    w.low = (vu)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
    w.high = (vu)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
#else
    uint32_t lane[VLANES], low[VLANES], high[VLANES];
    memcpy(lane, &a, sizeof a);
    for (int i = 0; i < VLANES; i++) {
        const uint64_t p = (uint64_t)lane[i] * m;
        low[i] = (uint32_t)p;
        high[i] = (uint32_t)(p >> 32);
    }
    memcpy(&w.low, low, sizeof w.low);
    memcpy(&w.high, high, sizeof w.high);
#endif
    return w;
}

/* Words of the blocks of VLANES counters n, n+1, ...; they lie within 16, so the upper half is the same for all. */
VINLINE void blocks_of(const mbk_dropout *a, uint64_t n, vu word[4]) {
    vu c0 = {0}, c1 = (vu){0} + (uint32_t)(n >> 32), c2 = (vu){0} + a->site, c3 = (vu){0};
    uint32_t k0 = a->key[0], k1 = a->key[1];
    for (int i = 0; i < VLANES; i++)
        c0[i] = (uint32_t)n + (uint32_t)i;
    for (int r = 0; r < ROUNDS; r++, k0 += 0x9E3779B9U, k1 += 0xBB67AE85U) {
        const wide p = v_mul_wide(c0, 0xD2511F53U), q = v_mul_wide(c2, 0xCD9E8D57U);
        c0 = q.high ^ c1 ^ k0;
        c1 = q.low;
        c2 = p.high ^ c3 ^ k1;
        c3 = p.low;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

/* factor: of the 128 elements of a block. */
static void factors_of(const mbk_dropout *a, uint64_t block, uint32_t threshold, float scale, float factor[BLOCK]) {
    for (int lane = 0; lane < SIDE; lane += VLANES) {
        vu word[4];
        blocks_of(a, block * SIDE + (uint64_t)lane, word);
        VUNROLL
        for (int h = 0; h < 8; h++) {
            const vi drawn = (vi)(h % 2 ? word[h / 2] >> 16 : word[h / 2] & 0xFFFFU);
            v_store(factor + h * SIDE + lane, v_select(drawn >= (int32_t)threshold, v_all(scale), (vf){0}));
        }
    }
}

static void multiply(const float *x, const float *factor, float *y, int n) {
    for (int i = 0; i < n; i += VLANES) {
        const vf f = v_load_n(factor + i, n - i);
        v_store_n(y + i, v_select(f != 0, v_load_n(x + i, n - i) * f, (vf){0}), n - i);
    }
}

int MBK_NAME(dropout)(const mbk_ctx *ctx, const mbk_dropout *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->row >= 0 && a->rate >= 0 && a->rate <= 0.999F);
    const uint32_t threshold = (uint32_t)lrint((double)a->rate * 65536);
    const float scale = (float)(1 / (1 - threshold / 65536.0));
    const uint64_t first = (uint64_t)a->row * (uint64_t)a->D, end = first + (uint64_t)a->L * (uint64_t)a->D;
    float factor[BLOCK];
    for (uint64_t e = first; e < end;) {
        const uint64_t block = e / BLOCK;
        const int in = (int)(e % BLOCK), left = BLOCK - in, n = end - e < (uint64_t)left ? (int)(end - e) : left;
        factors_of(a, block, threshold, scale, factor);
        multiply(a->x + (e - first), factor + in, a->y + (e - first), n);
        e += (uint64_t)n;
    }
    return MB_OK;
}
