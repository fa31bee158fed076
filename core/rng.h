/* Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a value is a function of (seed, stream, counter)
 * alone, so results do not depend on threads, order or restarts. */
#ifndef MB_RNG_H
#define MB_RNG_H
#include <stdint.h>

typedef struct mb_rng {
    uint64_t seed, stream, counter; /* counter counts 128-bit blocks */
    uint32_t buffer[4];
    int left;
} mb_rng;

void mb_rng_init(mb_rng *r, uint64_t seed, uint64_t stream);
uint32_t mb_rng_u32(mb_rng *r);
uint64_t mb_rng_below(mb_rng *r, uint64_t n); /* unbiased, n > 0 */
double mb_rng_uniform(mb_rng *r);             /* [0,1), 53 bits */
double mb_rng_normal(mb_rng *r);              /* mean 0, variance 1 (Box-Muller) */
/* The raw block function, for random access. */
void mb_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
#endif
