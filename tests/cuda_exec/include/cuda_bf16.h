/* Stands in for CUDA's header of that name in the tests: the type, and rounding to nearest even. */
#ifndef MB_TESTS_CUDA_BF16_H
#define MB_TESTS_CUDA_BF16_H
#include "kernels/gemm_bf16.h"

struct __nv_bfloat16 {
    uint16_t bits;
};
static inline __nv_bfloat16 __float2bfloat16_rn(float v) {
    return __nv_bfloat16{mbk_bf16_from_float(v)};
}
static inline float __bfloat162float(__nv_bfloat16 v) {
    return mbk_bf16_to_float(v.bits);
}
#endif
