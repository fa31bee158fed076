/* Half (IEEE binary16) and bfloat16 against fp32, round to nearest even, by integer arithmetic: the same bits on every
 * machine. NaN stays NaN (quiet, sign and upper payload kept); overflow goes to infinity. */
#include "core/npy.h"

#include <string.h>

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

uint16_t mb_f32_to_f16(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000u, mag = u & 0x7FFFFFFFu;
    uint32_t h;
    if (mag > 0x7F800000u)
        h = 0x7E00u | (mag >> 13 & 0x1FFu);
    else if (mag >= 0x477FF000u) /* 65520, halfway past the largest half, and all above */
        h = 0x7C00u;
    else if (mag >= 0x38800000u) /* 2^-14: normal halves; a carry out of the fraction steps the exponent, as it must */
        h = (mag - 0x38000000u + 0xFFFu + (mag >> 13 & 1)) >> 13;
    else if (mag <= 0x33000000u) /* 2^-25: a tie with zero, and all below */
        h = 0;
    else { /* multiples of 2^-24 */
        uint32_t fraction = (mag & 0x7FFFFFu) | 0x800000u, shift = 126 - (mag >> 23);
        uint32_t half = 1u << (shift - 1), rest = fraction & ((1u << shift) - 1);
        h = fraction >> shift;
        h += rest > half || (rest == half && (h & 1));
    }
    return (uint16_t)(sign | h);
}

float mb_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 0x1Fu, fraction = h & 0x3FFu;
    if (exponent == 0) { /* fraction * 2^-24, exact */
        float f = (float)fraction * 0x1p-24f;
        return float_of(sign | bits_of(f));
    }
    if (exponent == 31)
        return float_of(sign | 0x7F800000u | (fraction ? 0x400000u : 0) | fraction << 13);
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t mb_f32_to_bf16(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7FFFu + (u >> 16 & 1)) >> 16);
}

float mb_bf16_to_f32(uint16_t h) {
    return float_of((uint32_t)h << 16);
}
