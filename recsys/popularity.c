/* The popular order, and the floor that is nothing else. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/floors_internal.h"

typedef struct counted {
    int64_t count;
    rec_id id;
    int32_t item;
} counted;

static int by_popularity(const void *a, const void *b) {
    const counted *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    const int shorter = x->id.n < y->id.n ? x->id.n : y->id.n;
    const int order = shorter > 0 ? memcmp(x->id.text, y->id.text, (size_t)shorter) : 0;
    return order != 0 ? order : (x->id.n > y->id.n) - (x->id.n < y->id.n);
}

int rec_popular_order(rec_floor *f, const rec_log *log, const rec_split *s, mb_err *e) {
    const rec_view *v = rec_log_view(log);
    const size_t n = (size_t)f->n_items;
    counted *c = mb_calloc(n + 1, sizeof *c);
    f->place = mb_calloc(n + 1, sizeof *f->place);
    f->order = mb_calloc(n + 1, sizeof *f->order);
    f->base = mb_calloc(n + 1, sizeof *f->base);
    if (!c || !f->place || !f->order || !f->base) {
        mb_free(c);
        return mb_fail(e, MB_NOMEM, "no memory for the popularity of %d items", f->n_items);
    }
    for (int32_t i = 1; i <= f->n_items; i++)
        c[i - 1] = (counted){0, rec_log_item_id(log, i), i};
    for (int32_t u = 0; u < v->n_users; u++)
        for (int64_t t = v->user_at[u]; t < s->valid_at[u]; t++)
            c[v->item[t] - 1].count++;
    qsort(c, n, sizeof *c, by_popularity);
    for (int32_t p = 0; p < f->n_items; p++) {
        f->order[p] = c[p].item;
        f->place[c[p].item] = p;
        f->base[c[p].item] = (float)(f->n_items - p);
    }
    mb_free(c);
    return MB_OK;
}

int rec_popularity_score(void *floor, const rec_query *q, int n, float *score, mb_err *e) {
    const rec_floor *f = floor;
    (void)q;
    (void)e;
    for (int i = 0; i < n; i++)
        rec_floor_base(f, score + (size_t)i * ((size_t)f->n_items + 1));
    return MB_OK;
}
