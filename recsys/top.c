/* See top.h: a heap of the k best so far, whose worst is its root. */
#include "recsys/top.h"

static int better(const rec_live_hit *a, const rec_live_hit *b) {
    return a->score != b->score ? a->score > b->score : a->item < b->item;
}

static void swap(rec_live_hit *a, rec_live_hit *b) {
    const rec_live_hit t = *a;
    *a = *b;
    *b = t;
}

static void sink_root(rec_live_hit *h, int n) {
    for (int i = 0, worst = 0;; i = worst) {
        for (int c = 2 * i + 1; c <= 2 * i + 2 && c < n; c++)
            if (better(&h[worst], &h[c]))
                worst = c;
        if (worst == i)
            return;
        swap(&h[i], &h[worst]);
    }
}

static void rise(rec_live_hit *h, int i) {
    for (; i > 0 && better(&h[(i - 1) / 2], &h[i]); i = (i - 1) / 2)
        swap(&h[i], &h[(i - 1) / 2]);
}

static int left_out(const rec_top_filter *f, int32_t item) {
    if ((f->allowed && !f->allowed[item]) || (f->seen && rec_record_has(f->seen, item)))
        return 1;
    for (int i = 0; i < f->n_deny; i++)
        if (f->deny[i] == item)
            return 1;
    return 0;
}

int rec_top(const float *score, int32_t items, int k, const rec_top_filter *f, rec_live_hit *hit) {
    int n = 0;
    for (int32_t i = 1; k > 0 && i <= items; i++) {
        const rec_live_hit h = {i, score[i]};
        /* items come in ascending order: an equal score does not replace; NaN compares false */
        if (n < k ? !(h.score == h.score) : !(h.score > hit[0].score))
            continue;
        if (left_out(f, i))
            continue;
        if (n < k) {
            hit[n] = h;
            rise(hit, n++);
        } else {
            hit[0] = h;
            sink_root(hit, n);
        }
    }
    for (int left = n; left > 1; left--) { /* heap sort: the worst goes to the end */
        swap(&hit[0], &hit[left - 1]);
        sink_root(hit, left - 1);
    }
    return n;
}
