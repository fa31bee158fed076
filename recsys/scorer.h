/* Anything that scores items for histories: models and the floors they are held against. The evaluator
 * (recsys/evaluate.h), recommend and score see only this. */
#ifndef REC_SCORER_H
#define REC_SCORER_H
#include "recsys/log.h"

typedef struct rec_query {
    int32_t user;        /* of the log; -1 when the history belongs to nobody there */
    int32_t target;      /* the item that did follow; 0 when unknown */
    const int32_t *item; /* (n) the history, oldest first; queries of one user share their beginning */
    int64_t n;           /* >= 0 */
} rec_query;

typedef struct rec_scorer {
    const char *name; /* "mamba4rec", "popularity", "markov-1", "item-knn" */
    /* score: (n, n_items+1), row by row; column 0 (the pad) is written but means nothing. Higher is better. Queries of
     * one user with growing histories come one after the other, so that a causal model runs once over the longest. Uses
     * as many threads as it was made for; the numbers depend on the query alone, to the bit. */
    int (*score)(void *self, const rec_query *q, int n, float *score, mb_err *e);
    void *self;
    int32_t n_items;
} rec_scorer;
#endif
