/* See top.h. A heap of the best so far, the worst of them on top. */
#include "recsys/top.h"

#include <math.h>

static int is_worse(const rec_hit *a, const rec_hit *b) {
    return a->score != b->score ? a->score < b->score : a->item > b->item;
}

static void sink(rec_hit *hit, int n, int at) {
    const rec_hit moved = hit[at];
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_worse(&hit[child + 1], &hit[child]))
            child++;
        if (!is_worse(&hit[child], &moved))
            break;
        hit[at] = hit[child];
    }
    hit[at] = moved;
}

static void rise(rec_hit *hit, int at) {
    const rec_hit moved = hit[at];
    for (int parent; at > 0 && (parent = (at - 1) / 2, is_worse(&moved, &hit[parent])); at = parent)
        hit[at] = hit[parent];
    hit[at] = moved;
}

int rec_top(const float *score, int32_t n, const uint8_t *candidate, int k, rec_hit *hit) {
    int found = 0;
    for (int32_t i = 1; i <= n; i++) {
        const rec_hit h = {i, score[i]};
        if ((candidate && !candidate[i]) || isnan(h.score) || (found == k && !is_worse(&hit[0], &h)))
            continue;
        if (found < k) {
            hit[found] = h;
            rise(hit, found++);
        } else {
            hit[0] = h;
            sink(hit, found, 0);
        }
    }
    for (int left = found - 1; left > 0; left--) { /* the worst goes to the end */
        const rec_hit worst = hit[0];
        hit[0] = hit[left];
        hit[left] = worst;
        sink(hit, left, 0);
    }
    return found;
}
