/* bfloat16: the upper half of a float. Rounds to nearest, ties to even; a NaN stays a (quiet) NaN; overflow gives
 * infinity as IEEE says; subnormals are kept. */
#ifndef MBK_GEMM_BF16_H
#define MBK_GEMM_BF16_H
#include <stdint.h>
#include <string.h>

static inline uint16_t mbk_bf16_from_float(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    uint32_t quiet = (u >> 16) | 0x40u;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

static inline float mbk_bf16_to_float(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
#endif
