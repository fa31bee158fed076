/* What ranks are worth, and how sure that is.
 *
 * A query has n targets, which stand at the distinct ranks r_1 < r_2 < ... < r_n (1 is the best) among its candidates.
 * With h(K) the number of r_j <= K:
 *   HR@K         1 if h(K) > 0, else 0
 *   recall@K     h(K) / n
 *   precision@K  h(K) / K                                     also where there are fewer than K candidates
 *   NDCG@K       sum_{r_j <= K} 1/log2(r_j+1)  /  sum_{j=1}^{min(n,K)} 1/log2(j+1)   (Jarvelin and Kekalainen 2002,
 *                                                             gains 0 and 1)
 *   MRR@K        1/r_1 if r_1 <= K, else 0
 *   MAP@K        1/min(n,K) sum_{r_j <= K} j/r_j
 * With one target recall = HR, precision = HR/K, MAP = MRR, and NDCG is 1/log2(r+1) up to rank K: what RecBole, SASRec
 * and their kin report.
 *
 * Intervals: percentile bootstrap over users. Resample r draws from the counter-based stream (seed, r), so the numbers
 * are the same for any number of threads, and two scorers judged on the same users are resampled alike: differences
 * are paired. */
#ifndef REC_METRICS_H
#define REC_METRICS_H
#include <stdint.h>
#include "core/error.h"

typedef enum rec_metric {
    REC_HR,
    REC_RECALL,
    REC_PRECISION,
    REC_NDCG,
    REC_MRR,
    REC_MAP,
    REC_METRICS /* how many */
} rec_metric;

/* "hr", "recall", ...; "HR", "Recall", ... for people. */
const char *rec_metric_name(rec_metric m);
const char *rec_metric_title(rec_metric m);
/* "ndcg", in any case; also hit, recall, ... as RecBole writes them. -1: there is none of this name. */
int rec_metric_find(const char *name, int n);

/* value (REC_METRICS) of one query; rank (n) ascending, n >= 1, k >= 1. */
void rec_metrics_of(const int32_t *rank, int64_t n, int k, double *value);

typedef struct rec_figure {
    double value;
    double low, high; /* NaN: not asked for */
} rec_figure;

typedef struct rec_bootstrap {
    uint64_t seed;
    int resamples; /* 0: no intervals */
    double level;  /* 0 is taken as 0.95 */
    int threads;
} rec_bootstrap;

/* Of each of m columns: sum_u value[u][c] / sum_u weight[u], and the interval of that over resamples of the n units.
 * value: (n,m); weight: (n) positive, or NULL: 1 each. Nothing at all (n = 0) is NaN. */
int rec_bootstrap_run(const double *value, const double *weight, int64_t n, int m, const rec_bootstrap *o,
                      rec_figure *figure, mb_err *e) MB_MUST_USE;
/* As Python's round(x, 4), by which RecBole compares and prints. NaN stays. */
double rec_round4(double x);
#endif
