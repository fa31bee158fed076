/* Dropout from a counter: y[t,i] = 0 with probability p, else x[t,i] / (1 - p). Whether an element falls is a function
 * of (key, site, row + t, i, D) alone: of the batch's rows, wherever a tile begins, and the gradient is the same
 * operation.
 *
 * With e = (row + t) D + i, the element is half h of word w of the Philox4x32-10 block of the counter
 * (n mod 2^32, n / 2^32, site, 0) under the key, where n = 16 (e / 128) + e mod 16 and 2 w + h = e mod 128 / 16, the
 * low half first. It stays when that half is at least T = rate 2^16, rounded; p = T / 2^16. So 16 neighbours lie side
 * by side in a vector. x, y: (L,D), contiguous; y may be x. rate from 0 to 0.999; row >= 0, (row + L) D below 2^63.
 * Source of the counter: Salmon et al. 2011 (Philox); of the operation: Srivastava et al. 2014. */
#ifndef MBK_DROPOUT_H
#define MBK_DROPOUT_H
#include "kernels/kernel.h"

typedef struct mbk_dropout {
    int L, D;
    int64_t row;
    uint32_t key[2], site;
    float rate;
    const float *x; /* (L,D) */
    float *y;       /* (L,D) */
} mbk_dropout;

typedef int mbk_dropout_fn(const mbk_ctx *, const mbk_dropout *);
mbk_dropout_fn mbk_dropout_ref, mbk_dropout_cpu;
#endif
