/* What the floors share: the popular order, rows of items, and the turning of an order into scores. */
#ifndef REC_FLOORS_INTERNAL_H
#define REC_FLOORS_INTERNAL_H
#include "recsys/floors.h"

struct rec_floor {
    rec_floor_kind kind;
    int32_t n_items;
    int threads;
    int32_t *place; /* (n_items+1) in popular order, 0 is the most popular; the pad has none */
    int32_t *order; /* (n_items) the item at each place */
    float *base;    /* (n_items+1) score of an item by popularity alone: n_items - place */
    int64_t *row;   /* (n_items+2) of item (markov) or place (item-knn) i: [row[i], row[i+1]). NULL: popularity */
    int32_t *to;    /* markov: items that followed, best first; item-knn: neighbours' places */
    float *near;    /* item-knn: cosines */
    double half;
    int k;
    int64_t window;
};

/* Each builds row, to (near) of a floor whose popular order stands. */
int rec_markov_build(rec_floor *f, const rec_view *v, const rec_split *s, mb_err *e) MB_MUST_USE;
int rec_knn_build(rec_floor *f, const rec_view *v, const rec_split *s, const atomic_int *stop, mb_err *e) MB_MUST_USE;
/* Fills place, order, base. */
int rec_popular_order(rec_floor *f, const rec_log *log, const rec_split *s, mb_err *e) MB_MUST_USE;

/* Whole rows of scores; score (n, n_items+1). */
int rec_popularity_score(void *floor, const rec_query *q, int n, float *score, mb_err *e) MB_MUST_USE;
int rec_markov_score(void *floor, const rec_query *q, int n, float *score, mb_err *e) MB_MUST_USE;
int rec_knn_score(void *floor, const rec_query *q, int n, float *score, mb_err *e) MB_MUST_USE;
/* One row of popularity scores, over which the others write: the j-th best of m items gets n_items + m - j, above every
 * base. Exact in single precision as n_items <= 2^23. */
void rec_floor_base(const rec_floor *f, float *score);
#endif
