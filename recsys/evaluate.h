/* Judges a scorer on the held-out events of a log.
 *
 * Queries
 *   events (default)  every validation (test) event is one: its history is everything of its user before it, its target
 *                     the event's item. With leave-one-out that is one query a user, RecBole's protocol.
 *   sets              every user is one: the history is everything before the part, the targets are the different items
 *                     of the part, in any order. What baskets, and papers with "the next N items", ask.
 * Queries with a history shorter than min_history are not asked and are counted (a sequential model has nothing to go
 * by; RecBole has no such rows either).
 *
 * Ranks are positions in the order (score descending, item number ascending) of the candidates, so equal scores cannot
 * flatter: no target is put before an equal of a lower number. They are counted, not sorted. A score of NaN is an error
 * that names the query; infinities are numbers like others.
 *
 * Candidates: all items 1 .. n_items (the pad is none), and from the same scores a second time without the items of the
 * history ("filtered"; a target stays even if it is in the history). Or, with a sample of N:
 *   unfiltered  the targets and N different items drawn among those that are neither target nor in the user's training
 *               events (RecMamba's and SASRec's rule: validation events may be drawn)
 *   filtered    the targets and N different items drawn among those that are neither target nor in the history
 * uniformly or in proportion to the items' numbers of training events, one after another without putting back; all
 * there are when there are fewer. A query draws from the stream (seed, number of its first target event), so the sample
 * does not depend on anything else, and both samples agree wherever the rules allow it.
 *
 * A figure is the mean over users of the mean over the user's queries (or the mean over queries, when asked), with a
 * bootstrap interval over users. Coverage@K: the share of the n_items items that stand among the first K candidates of
 * at least one query; full ranking only.
 *
 * The numbers are the same to the bit for any number of threads and any size of blocks. */
#ifndef REC_EVALUATE_H
#define REC_EVALUATE_H
#include <stdatomic.h>
#include "core/log.h"
#include "recsys/metrics.h"
#include "recsys/scorer.h"
#include "recsys/split.h"

typedef enum rec_part { REC_PART_VALID, REC_PART_TEST } rec_part;
#define REC_PART_CHOICES "valid|test"
typedef enum rec_ask { REC_ASK_EVENTS, REC_ASK_SETS } rec_ask;
#define REC_ASK_CHOICES "events|sets"
typedef enum rec_candidates { REC_CANDIDATES_FULL, REC_CANDIDATES_UNIFORM, REC_CANDIDATES_POPULAR } rec_candidates;

enum { REC_EVALUATE_KS = 16 };

typedef struct rec_evaluate_options {
    rec_part part;
    rec_ask ask;
    const int *k; /* (n_k) ascending, 1 at least; NULL: 10 alone */
    int n_k;      /* at most REC_EVALUATE_KS */
    int over_queries;
    int64_t min_history; /* 0: also queries without any history */
    rec_candidates candidates;
    int32_t negatives; /* of samples */
    uint64_t seed;     /* of samples and of the bootstrap */
    int resamples;     /* 0: no intervals; keeps 2 * n_k * REC_METRICS doubles a user otherwise */
    double level;      /* 0 is taken as 0.95 */
    int coverage;
    int round4;            /* figures to 4 decimals, as RecBole; early stopping by its rule needs that */
    int keep;              /* fills target, and value for rec_evaluation_difference */
    int threads;           /* 0 is taken as 1 */
    int64_t memory;        /* for scores; 0: 64 MiB. Decides how many queries are scored at a time. */
    mb_progress *progress; /* gets queries */
    const atomic_int *stop;
} rec_evaluate_options;

/* One target, in the order of users and events. */
typedef struct rec_target {
    int32_t user, item;
    int64_t event;        /* of the log, where the target stands (first) */
    int64_t history;      /* events before it that were shown */
    int32_t rank[2];      /* unfiltered, filtered */
    int32_t candidate[2]; /* among how many */
} rec_target;

typedef struct rec_evaluation {
    int64_t users, queries, targets; /* asked */
    int64_t skipped;                 /* queries with too short a history */
    int k[REC_EVALUATE_KS], n_k;
    int columns;                         /* figures: 2 * n_k * REC_METRICS, at [filtered][k][metric] */
    rec_figure *figure;                  /* (columns); NaN when nothing was asked */
    double coverage[2][REC_EVALUATE_KS]; /* NaN: not asked for */
    double mean_rank[2];                 /* over targets */
    rec_target *target;                  /* keep: (targets) */
    double *value, *weight;              /* keep, or intervals: (users, columns) and (users) for rec_bootstrap_run */
    double seconds, scoring;             /* wall time: all, and inside the scorer */
} rec_evaluation;

/* s: of this log. MB_RANGE: a scorer of another number of items, a NaN, options out of range. MB_STOPPED. *out needs
 * rec_evaluation_fini in every case. */
int rec_evaluate(rec_evaluation *out, const rec_log *log, const rec_split *s, const rec_scorer *scorer,
                 const rec_evaluate_options *o, mb_err *e) MB_MUST_USE;
void rec_evaluation_fini(rec_evaluation *v);
/* The figure of a metric at a K that was asked for; NULL: it was not. */
const rec_figure *rec_evaluation_at(const rec_evaluation *v, int filtered, rec_metric m, int k);
/* a - b of every figure, (columns), with paired intervals. Both kept, of the same queries; MB_RANGE otherwise. */
int rec_evaluation_difference(const rec_evaluation *a, const rec_evaluation *b, const rec_bootstrap *o,
                              rec_figure *figure, mb_err *e) MB_MUST_USE;
#endif
