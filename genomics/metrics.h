/* How good predictions are, each figure with a confidence interval. What is not defined on the data at hand is NaN with
 * the reason, never a number.
 *
 * class, from probabilities s[i][c] (n,C) and classes y[i]; predicted class: argmax, lowest index of equals; with two
 * classes s[i][1] >= threshold:
 *   accuracy, balanced_accuracy (mean recall of the classes present), mcc (Gorodkin's R_K; 0 when all is predicted as
 *   one class), precision, recall, f1 (only with two classes: of class 1), precision_macro, recall_macro, f1_macro
 * (mean over classes that occur or are predicted, 0/0 as 0), f1_micro (here the accuracy), auroc (two classes: of
 * s[.][1]; more: mean of one against the rest; ties count half), auprc (average precision sum_t (R_t - R_{t-1}) P_t
 * over distinct thresholds), brier (two: mean (s_1 - y)^2; more: mean of sum_c (s_c - [y=c])^2), log_loss (nats, s
 * clipped to [2^-52, 1 - 2^-52]) multi, from s (n,C) in [0,1] and y (n,C) 0 or 1; predicted: s >= threshold: accuracy
 * (of all n*C decisions), exact_match, precision_macro .. f1_macro (labels as classes above), f1_micro, auroc, auprc
 * (mean over the labels where they are defined), brier, log_loss (means over n*C) regression, from s and y (n,C):
 * pearson, spearman (midranks of ties), r2, mse, each the mean over columns where defined
 *
 * Intervals: percentile bootstrap over units (an example, or the bases of one sequence). Resample r draws from the
 * counter-based stream (seed, r), so figures are the same for any number of threads. Quantiles are interpolated
 * linearly over the resamples where the figure is defined; NaN when fewer than half are. */
#ifndef DNA_METRICS_H
#define DNA_METRICS_H
#include <stdint.h>
#include "core/error.h"

typedef struct dna_scored {
    int task;            /* dna_task of labelled.h; bases are given as class, with units */
    int64_t n;           /* rows; at most 2^31 - 1 */
    int n_labels;        /* C; two at least for class */
    const int *label;    /* class: (n) */
    const double *truth; /* multi, regression: (n,C) */
    const double *score; /* (n,C) */
    const int64_t *unit; /* (n_units+1) first row of each unit, last n; NULL: every row is one */
    int64_t n_units;
} dna_scored;

typedef struct dna_metrics_options {
    uint64_t seed;
    int resamples;    /* 0: no intervals */
    double level;     /* 0.95; 0 is taken as that */
    double threshold; /* 0 is taken as 0.5 */
    int threads;
} dna_metrics_options;

typedef struct dna_metric {
    const char *name; /* static */
    double value;     /* NaN: not defined */
    double low, high; /* NaN: not defined, or not asked for */
    const char *why;  /* static: why the value is NaN; else NULL */
} dna_metric;

/* Of one class, label or column; NaN where not defined. */
typedef struct dna_label_metrics {
    double support; /* class, multi: rows that have it; regression: n */
    double precision, recall, f1, auroc, auprc;
    double pearson, spearman, r2, mse;
} dna_label_metrics;

typedef struct dna_metrics {
    dna_metric *at; /* (n), in the order above */
    int n, n_labels;
    dna_label_metrics *of; /* (n_labels) */
    int64_t *confusion;    /* class: (C,C) rows the truth, columns predicted; else NULL */
    int64_t rows, units;
} dna_metrics;

/* MB_RANGE: no rows, a label or score outside its range, a NaN, rows of probabilities that do not sum to 1 within 1e-3.
 */
int dna_metrics_compute(dna_metrics *m, const dna_scored *s, const dna_metrics_options *o, mb_err *e) MB_MUST_USE;
void dna_metrics_fini(dna_metrics *m);
const dna_metric *dna_metrics_find(const dna_metrics *m, const char *name); /* NULL: there is none of this name */
/* The largest of a (C), the first of equals: the class that is predicted. */
int dna_best_of(const double *a, int C);
/* The metric by which a task is judged unless told otherwise, a higher value being better: mcc, auroc, spearman. */
const char *dna_metrics_main(int task);
#endif
