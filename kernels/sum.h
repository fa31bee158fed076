/* Scaled sum of arrays: y[i] = s x[i] + add[i]; add may be NULL (y = s x). (n) each; y may be x or add. One rounding
 * where s = 1 or add is NULL. */
#ifndef MBK_SUM_H
#define MBK_SUM_H
#include "kernels/kernel.h"

typedef struct mbk_sum {
    int64_t n;
    float s;
    const float *x, *add;
    float *y;
} mbk_sum;

typedef int mbk_sum_fn(const mbk_ctx *, const mbk_sum *);
mbk_sum_fn mbk_sum_ref, mbk_sum_cpu;
#endif
