/* Between the two halves of the evaluator: the queries with their ranks. */
#ifndef REC_EVALUATE_INTERNAL_H
#define REC_EVALUATE_INTERNAL_H
#include "recsys/candidates.h"
#include "recsys/evaluate.h"

typedef struct rec_asked { /* one query */
    int32_t user;
    int64_t n;        /* events of its history */
    int64_t first, m; /* its targets */
} rec_asked;

typedef struct rec_asking {
    const rec_view *v;
    const rec_split *s;
    const rec_evaluate_options *o;
    rec_asked *asked;   /* (n_queries) by user, then by event */
    rec_target *target; /* (n_targets) in the same order */
    int64_t n_queries, n_targets, skipped;
} rec_asking;

/* Counts, figure, mean_rank, value and weight of out, whose k and coverage stand. */
int rec_evaluate_figures(rec_evaluation *out, const rec_asking *a, mb_err *e) MB_MUST_USE;
#endif
