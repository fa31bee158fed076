/* See slopes.h. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/rng.h"
#include "tests/slopes.h"

int slopes_of_tensor(void *user, const mb_param *p) {
    slopes *q = user;
    mb_err e = {0};
    mb_rng r;
    if (p->alias_of >= 0)
        return MB_OK;
    float *w = (float *)(uintptr_t)*mb_param_place(q->w, p);
    const float *sum = *mb_param_place(mb_gradient_sums(q->g), p);
    float *kept = mb_malloc((size_t)p->count * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, w, (size_t)p->count * sizeof *w);
    double slope = 0, squares = 0, loss[2];
    for (int side = 0; side < 2; side++) {
        mb_rng_init(&r, 17, (uint64_t)p->index);
        for (int64_t k = 0; k < p->count; k++) {
            const double d = mb_rng_normal(&r) * (0.1 + fabs((double)kept[k])) * 1e-3;
            w[k] = (float)((double)kept[k] + (side ? -d : d));
            const double term = (side ? -1 : 1) * ((double)w[k] - (double)kept[k]) * (double)sum[k];
            slope += term;
            squares += 2 * term * term;
        }
        assert_int_equal(mb_gradient_refresh(q->ref, &e), MB_OK);
        loss[side] = q->loss(q->user, q->ref);
    }
    memcpy(w, kept, (size_t)p->count * sizeof *w);
    mb_free(kept);
    assert_int_equal(mb_gradient_refresh(q->ref, &e), MB_OK);
    const double size = sqrt(squares), noise = 3e-8 * fabs(loss[0]) + 5e-7;
    const double off = fabs(loss[0] - loss[1] - slope) / (q->tolerance * size + noise);
    q->silent += size < noise;
    q->heard++;
    if (!(off <= q->worst)) {
        q->worst = off;
        memcpy(q->where, p->name, sizeof q->where);
    }
    return MB_OK;
}
