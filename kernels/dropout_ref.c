/* Dropout, the truth: one element after the other, each from its own Philox block. Refuses nothing but nonsense. */
#include <math.h>

#include "kernels/dropout.h"

enum { ROUNDS = 10 };

static void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
    for (int r = 0; r < ROUNDS; r++, k0 += 0x9E3779B9U, k1 += 0xBB67AE85U) {
        const uint64_t a = (uint64_t)0xD2511F53U * c[0], b = (uint64_t)0xCD9E8D57U * c[2];
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
    }
}

int mbk_dropout_ref(const mbk_ctx *ctx, const mbk_dropout *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->row >= 0 && a->rate >= 0 && a->rate <= 0.999F);
    const uint32_t threshold = (uint32_t)lrint((double)a->rate * 65536);
    const double keep = 1 - threshold / 65536.0;
    const uint64_t first = (uint64_t)a->row * (uint64_t)a->D, n = (uint64_t)a->L * (uint64_t)a->D;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t e = first + i, block = e / 128 * 16 + e % 16;
        const unsigned half = (unsigned)(e % 128 / 16);
        uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), a->site, 0};
        philox(c, a->key[0], a->key[1]);
        const uint32_t drawn = c[half / 2] >> (half % 2 * 16) & 0xFFFFU;
        a->y[i] = drawn >= threshold ? (float)(a->x[i] / keep) : 0;
    }
    return MB_OK;
}
