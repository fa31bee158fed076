/* Philox4x32-10: ten rounds of two 32x32->64 multiplications on a 128-bit counter under a 64-bit key.
 * Counter block = (counter, stream), key = seed, each low word first. Source: Salmon, Moraes, Dror, Shaw, "Parallel
 * random numbers: as easy as 1, 2, 3", SC 2011. */
#include "core/rng.h"
#include "core/error.h"

#include <math.h>

enum { ROUNDS = 10 };

void mb_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t odd1 = c1, odd3 = c3;
        c0 = (uint32_t)(b >> 32) ^ odd1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ odd3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void mb_rng_init(mb_rng *r, uint64_t seed, uint64_t stream) {
    *r = (mb_rng){.seed = seed, .stream = stream};
}

uint32_t mb_rng_u32(mb_rng *r) {
    if (!r->left) {
        const uint32_t counter[4] = {(uint32_t)r->counter, (uint32_t)(r->counter >> 32), (uint32_t)r->stream,
                                     (uint32_t)(r->stream >> 32)};
        const uint32_t key[2] = {(uint32_t)r->seed, (uint32_t)(r->seed >> 32)};
        mb_philox4x32(counter, key, r->buffer);
        r->counter++;
        r->left = 4;
    }
    return r->buffer[4 - r->left--];
}

static uint64_t next64(mb_rng *r) {
    uint64_t low = mb_rng_u32(r);
    return low | (uint64_t)mb_rng_u32(r) << 32;
}

/* Lemire 2019: the high half of x*n is uniform once the 2^64 mod n smallest low halves are drawn again. */
uint64_t mb_rng_below(mb_rng *r, uint64_t n) {
    MB_ASSERT(n > 0);
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)next64(r) * n;
    if ((uint64_t)product < n) {
        uint64_t again = -n % n; /* 2^64 mod n */
        while ((uint64_t)product < again)
            product = (wide)next64(r) * n;
    }
    return (uint64_t)(product >> 64);
}

double mb_rng_uniform(mb_rng *r) {
    return (double)(next64(r) >> 11) * 0x1p-53;
}

/* Box-Muller. Both halves of a pair would have to be kept between calls; the cosine alone keeps a value a function of
 * the counter. 1 - u is in (0,1], so the logarithm is finite. */
double mb_rng_normal(mb_rng *r) {
    double radius = sqrt(-2.0 * log(1.0 - mb_rng_uniform(r)));
    return radius * cos(6.283185307179586476925 * mb_rng_uniform(r));
}
