/* See candidates.h. */
#include "recsys/candidates.h"

#include <math.h>

#include "core/rng.h"

static int has(rec_marks m, int32_t item) {
    return m.mark[item] == m.stamp;
}

void rec_sample_two(const rec_sampler *s, uint64_t stream, rec_marks never, rec_marks not_a, rec_marks not_b,
                    rec_heap *a, rec_heap *b) {
    mb_rng g;
    mb_rng_init(&g, s->seed, stream);
    a->n = b->n = 0;
    for (int32_t i = 1; i <= s->n_items; i++) {
        const double u = ((double)mb_rng_u32(&g) + 0.5) * 0x1p-32, w = s->weight ? s->weight[i] : 1;
        if (w <= 0 || has(never, i) || (has(not_a, i) && has(not_b, i)))
            continue;
        const double key = s->weight ? log(u) / w : u; /* of equal weights u alone has the same order */
        if (!has(not_a, i))
            rec_heap_offer(a, i, key);
        if (!has(not_b, i))
            rec_heap_offer(b, i, key);
    }
}
