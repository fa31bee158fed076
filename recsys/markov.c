/* First-order transitions: for every item, what followed it in the training events, most often first. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/floors_internal.h"

static int by_number(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int by_key(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* All steps, one entry each, by the item they start from: f->to holds the places of where they lead. */
static void collect(rec_floor *f, const rec_view *v, const rec_split *s) {
    for (int32_t u = 0; u < v->n_users; u++)
        for (int64_t t = v->user_at[u] + 1; t < s->valid_at[u]; t++)
            f->row[v->item[t - 1] + 1]++;
    for (int32_t i = 1; i <= f->n_items; i++)
        f->row[i + 1] += f->row[i];
    for (int32_t u = 0; u < v->n_users; u++) /* row[i] moves to the end of row i, which is where i+1 begins */
        for (int64_t t = v->user_at[u] + 1; t < s->valid_at[u]; t++)
            f->to[f->row[v->item[t - 1]]++] = f->place[v->item[t]];
    for (int32_t i = f->n_items; i > 0; i--)
        f->row[i] = f->row[i - 1];
}

/* n places, some of them equal: the different ones, as items, by their number, most first, then in popular order. key
 * (n) is scratch. Returns how many; to may lie before from. */
static int64_t condense(const rec_floor *f, int32_t *from, int64_t n, int32_t *to, uint64_t *key) {
    int64_t different = 0;
    qsort(from, (size_t)n, sizeof *from, by_number);
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && from[end] == from[i];)
            end++;
        key[different++] = (uint64_t)(UINT32_MAX - (uint64_t)(end - i)) << 32 | (uint32_t)from[i];
    }
    qsort(key, (size_t)different, sizeof *key, by_key);
    for (int64_t i = 0; i < different; i++)
        to[i] = f->order[key[i] & UINT32_MAX];
    return different;
}

static int condense_rows(rec_floor *f, mb_err *e) {
    int64_t most = 1, at = 0;
    for (int32_t i = 1; i <= f->n_items; i++)
        most = f->row[i + 1] - f->row[i] > most ? f->row[i + 1] - f->row[i] : most;
    uint64_t *key = mb_malloc((size_t)most * sizeof *key);
    if (!key)
        return mb_fail(e, MB_NOMEM, "no memory to sort %lld transitions", (long long)most);
    for (int32_t i = 1; i <= f->n_items; i++) {
        const int64_t from = f->row[i], n = f->row[i + 1] - from;
        f->row[i] = at;
        at += n > 0 ? condense(f, f->to + from, n, f->to + at, key) : 0;
    }
    f->row[f->n_items + 1] = at;
    mb_free(key);
    int32_t *smaller = mb_realloc_array(f->to, (size_t)at + 1, sizeof *f->to);
    f->to = smaller ? smaller : f->to; /* what stays too large is still right */
    return MB_OK;
}

int rec_markov_build(rec_floor *f, const rec_view *v, const rec_split *s, mb_err *e) {
    f->row = mb_calloc((size_t)f->n_items + 2, sizeof *f->row);
    f->to = mb_calloc((size_t)s->train + 1, sizeof *f->to);
    if (!f->row || !f->to)
        return mb_fail(e, MB_NOMEM, "no memory for the transitions of %lld events", (long long)s->train);
    collect(f, v, s);
    return condense_rows(f, e);
}

int rec_markov_score(void *floor, const rec_query *q, int n, float *score, mb_err *e) {
    const rec_floor *f = floor;
    (void)e;
    for (int i = 0; i < n; i++) {
        float *row = score + (size_t)i * ((size_t)f->n_items + 1);
        const int32_t last = q[i].n > 0 ? q[i].item[q[i].n - 1] : 0;
        const int64_t from = f->row[last], m = last > 0 ? f->row[last + 1] - from : 0;
        rec_floor_base(f, row);
        for (int64_t j = 0; j < m; j++)
            row[f->to[from + j]] = (float)(f->n_items + m - j);
    }
    return MB_OK;
}
