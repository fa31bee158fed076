/* How well a scorer ranks the held-out events of a log, quickly: what a training run is judged by. Every item but the
 * pad is a candidate, the history is not masked. The full tables are recsys/evaluate.h's. */
#ifndef REC_HOLDOUT_H
#define REC_HOLDOUT_H
#include <stdatomic.h>
#include "recsys/scorer.h"
#include "recsys/split.h"

typedef struct rec_holdout {
    int64_t events;       /* asked for */
    int64_t first;        /* of them, ranked first */
    double loss;          /* sum of -log softmax over the items, nats */
    double hr, ndcg, mrr; /* means, at the cut-off */
} rec_holdout;

typedef struct rec_holdout_options {
    int test;       /* 0: the validation events, 1: the test events */
    int cutoff;     /* K of @K */
    int64_t memory; /* bytes for scores */
    int threads;
    const atomic_int *stop; /* may be NULL */
} rec_holdout_options;

/* rank = 1 + items of a higher score + items of the same score and a lower number; a score that is NaN ranks last.
 * out: zeros without events. The figures do not depend on threads or memory. */
int rec_holdout_run(const rec_scorer *s, const rec_log *l, const rec_split *split, const rec_holdout_options *o,
                    rec_holdout *out, mb_err *e) MB_MUST_USE;
#endif
