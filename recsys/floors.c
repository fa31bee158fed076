/* See floors.h. This file: making and choosing; each kind's counting is in a file of its own. */
#include <string.h>

#include "core/mem.h"
#include "recsys/floors_internal.h"

enum { MOST_ITEMS = 1 << 23 };

static const struct {
    const char *word, *name;
    int (*score)(void *self, const rec_query *q, int n, float *score, mb_err *e);
} KIND[REC_FLOORS] = {[REC_FLOOR_POPULARITY] = {"pop", "popularity", rec_popularity_score},
                      [REC_FLOOR_MARKOV] = {"markov", "markov-1", rec_markov_score},
                      [REC_FLOOR_KNN] = {"knn", "item-knn", rec_knn_score}};

int rec_floor_find(const char *name, int n) {
    for (int k = 0; k < REC_FLOORS; k++)
        if (strlen(KIND[k].word) == (size_t)n && memcmp(KIND[k].word, name, (size_t)n) == 0)
            return k;
    return -1;
}

int rec_floor_create(rec_floor **out, rec_floor_kind kind, const rec_log *log, const rec_split *s,
                     const rec_floor_options *o, mb_err *e) {
    const rec_view *v = rec_log_view(log);
    *out = NULL;
    MB_ASSERT(s->n_users == v->n_users);
    if (v->n_items > MOST_ITEMS)
        return mb_fail(e, MB_NOTSUP, "the log has %d items; floors put at most %d in order", v->n_items, MOST_ITEMS);
    rec_floor *f = mb_calloc(1, sizeof *f);
    if (!f)
        return mb_fail(e, MB_NOMEM, "no memory for a floor");
    *f = (rec_floor){.kind = kind, .n_items = v->n_items};
    f->half = o->half > 0 ? o->half : 1;
    f->threads = o->threads > 0 ? o->threads : 1;
    f->k = o->k > 0 ? o->k : 100;
    f->window = o->window > 0 ? o->window : 1000;
    int rc = rec_popular_order(f, log, s, e);
    if (rc == MB_OK && kind == REC_FLOOR_MARKOV)
        rc = rec_markov_build(f, v, s, e);
    if (rc == MB_OK && kind == REC_FLOOR_KNN)
        rc = rec_knn_build(f, v, s, o->stop, e);
    if (rc == MB_OK)
        *out = f;
    else
        rec_floor_destroy(f);
    return rc;
}

void rec_floor_destroy(rec_floor *f) {
    if (!f)
        return;
    mb_free(f->place);
    mb_free(f->order);
    mb_free(f->base);
    mb_free(f->row);
    mb_free(f->to);
    mb_free(f->near);
    mb_free(f);
}

rec_scorer rec_floor_scorer(rec_floor *f) {
    return (rec_scorer){KIND[f->kind].name, KIND[f->kind].score, f, f->n_items};
}

void rec_floor_base(const rec_floor *f, float *score) {
    memcpy(score, f->base, ((size_t)f->n_items + 1) * sizeof *score);
}
