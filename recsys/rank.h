/* Where targets stand among the candidates of one query, by counting; and the first K. The order is (score descending,
 * item ascending). One rec_ranker a thread. */
#ifndef REC_RANK_H
#define REC_RANK_H
#include <stdint.h>
#include "core/error.h"

typedef struct rec_ranked {
    int32_t item;
    double key; /* larger is better */
} rec_ranked;

typedef struct rec_ranker {
    int32_t n_items;
    uint64_t query;     /* stamp of the present one */
    uint64_t *history;  /* (n_items+1) == query: in its history, and no target */
    uint64_t *target;   /* (n_items+1) == query: one of its targets */
    int64_t *below;     /* (room+1) */
    rec_ranked *sorted; /* (room) targets */
    int64_t room;
    int64_t distinct;  /* items of the history that are no targets */
    rec_ranked *first; /* (first_room) */
    int first_room;
} rec_ranker;

int rec_ranker_init(rec_ranker *r, int32_t n_items, int first_room, mb_err *e) MB_MUST_USE;
void rec_ranker_fini(rec_ranker *r);
/* Begins a query: history (n, may repeat), targets (m different ones, 1 at least). Items lie in 1 .. n_items. */
int rec_ranker_begin(rec_ranker *r, const int32_t *history, int64_t n, const int32_t *target, int64_t m,
                     mb_err *e) MB_MUST_USE;
/* Among all items: ranks (m) of the targets, in their order, without and with the history left out. Returns the first
 * item whose score is NaN, 0 when there is none. score: (n_items+1) */
int32_t rec_rank_all(rec_ranker *r, const float *score, const int32_t *history, int64_t n, const int32_t *target,
                     int64_t m, int32_t *rank, int32_t *filtered);
/* Among the targets and c other candidates, different ones. */
int32_t rec_rank_among(rec_ranker *r, const float *score, const int32_t *candidate, int64_t c, const int32_t *target,
                       int64_t m, int32_t *rank);
/* The first k (at most first_room) items, without the history if filtered; their number. In order, in r->first. */
int rec_rank_first(rec_ranker *r, const float *score, int k, int filtered);

/* The best k of what is offered, as a heap with the worst on top: key descending, item ascending. */
typedef struct rec_heap {
    rec_ranked *at; /* (k) */
    int n, k;
} rec_heap;
void rec_heap_offer(rec_heap *h, int32_t item, double key);
void rec_heap_sort(rec_heap *h); /* best first; no heap afterwards */
#endif
