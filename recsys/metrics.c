/* See metrics.h. */
#include "recsys/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "core/rng.h"

static const struct {
    const char *name, *title;
} METRIC[REC_METRICS] = {
    [REC_HR] = {"hr", "HR"},       [REC_RECALL] = {"recall", "Recall"}, [REC_PRECISION] = {"precision", "Precision"},
    [REC_NDCG] = {"ndcg", "NDCG"}, [REC_MRR] = {"mrr", "MRR"},          [REC_MAP] = {"map", "MAP"}};

const char *rec_metric_name(rec_metric m) {
    return METRIC[m].name;
}

const char *rec_metric_title(rec_metric m) {
    return METRIC[m].title;
}

int rec_metric_find(const char *name, int n) {
    for (int m = 0; m < REC_METRICS; m++)
        if (strlen(METRIC[m].name) == (size_t)n && strncasecmp(METRIC[m].name, name, (size_t)n) == 0)
            return m;
    return n == 3 && strncasecmp(name, "hit", 3) == 0 ? REC_HR : -1;
}

void rec_metrics_of(const int32_t *rank, int64_t n, int k, double *value) {
    double gain = 0, ideal = 0, precisions = 0;
    int64_t hits = 0;
    MB_ASSERT(n > 0 && k > 0);
    for (; hits < n && rank[hits] <= k; hits++) {
        gain += 1 / log2((double)rank[hits] + 1);
        precisions += (double)(hits + 1) / rank[hits];
    }
    const int64_t most = n < k ? n : k;
    for (int64_t j = 1; j <= most; j++)
        ideal += 1 / log2((double)j + 1);
    value[REC_HR] = hits > 0;
    value[REC_RECALL] = (double)hits / (double)n;
    value[REC_PRECISION] = (double)hits / k;
    value[REC_NDCG] = gain / ideal;
    value[REC_MRR] = hits > 0 ? 1.0 / rank[0] : 0;
    value[REC_MAP] = precisions / (double)most;
}

double rec_round4(double x) {
    char text[400]; /* printf rounds the exact binary value, as Python does; x * 1e4 would not */
    snprintf(text, sizeof text, "%.4f", x);
    return isfinite(x) ? strtod(text, NULL) : x;
}

/* ---- bootstrap --------------------------------------------------------------------------------------------------- */

/* Weighted means of the columns with each unit taken count[u] times (NULL: once); mean (m). */
static void means(const double *value, const double *weight, const int32_t *count, int64_t n, int m, double *mean) {
    double total = 0;
    memset(mean, 0, (size_t)m * sizeof *mean);
    for (int64_t u = 0; u < n; u++) {
        const double times = count ? count[u] : 1, *row = value + u * m;
        if (times == 0)
            continue;
        total += times * (weight ? weight[u] : 1);
        for (int c = 0; c < m; c++)
            mean[c] += times * row[c];
    }
    for (int c = 0; c < m; c++)
        mean[c] = n > 0 ? mean[c] / total : NAN;
}

static void draw(int32_t *count, int64_t n, uint64_t seed, int resample) {
    mb_rng g;
    mb_rng_init(&g, seed, (uint64_t)resample);
    memset(count, 0, (size_t)n * sizeof *count);
    for (int64_t i = 0; i < n; i++)
        count[mb_rng_below(&g, (uint64_t)n)]++;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Interpolated linearly between the order statistics. */
static double quantile(const double *sorted, int n, double q) {
    const double at = q * (n - 1);
    const int low = (int)at;
    return low + 1 < n ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]) : sorted[n - 1];
}

/* mean: (resamples, m) */
static void put_intervals(const double *mean, int m, const rec_bootstrap *o, double *one, rec_figure *figure) {
    const double level = o->level > 0 ? o->level : 0.95;
    for (int c = 0; c < m; c++) {
        for (int r = 0; r < o->resamples; r++)
            one[r] = mean[(int64_t)r * m + c];
        qsort(one, (size_t)o->resamples, sizeof *one, by_value);
        figure[c].low = quantile(one, o->resamples, (1 - level) / 2);
        figure[c].high = quantile(one, o->resamples, (1 + level) / 2);
    }
}

static int resample(const double *value, const double *weight, int64_t n, int m, const rec_bootstrap *o,
                    rec_figure *figure, mb_err *e) {
    const int asked = o->threads < 1 ? 1 : o->threads, threads = asked < o->resamples ? asked : o->resamples;
    double *mean = mb_calloc((size_t)o->resamples, (size_t)m * sizeof *mean);
    double *one = mb_calloc((size_t)o->resamples, sizeof *one);
    int32_t *count = mb_calloc((size_t)threads, (size_t)n * sizeof *count); /* (threads, n) */
    int rc = MB_OK;
    if (!mean || !one || !count) {
        rc = mb_fail(e, MB_NOMEM, "no memory for %d resamples of %lld users", o->resamples, (long long)n);
    } else {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int t = 0; t < threads; t++)
            for (int r = t; r < o->resamples; r += threads) {
                draw(count + t * n, n, o->seed, r);
                means(value, weight, count + t * n, n, m, mean + (int64_t)r * m);
            }
        put_intervals(mean, m, o, one, figure);
    }
    mb_free(mean);
    mb_free(one);
    mb_free(count);
    return rc;
}

int rec_bootstrap_run(const double *value, const double *weight, int64_t n, int m, const rec_bootstrap *o,
                      rec_figure *figure, mb_err *e) {
    if (o->level < 0 || o->level >= 1 || isnan(o->level))
        return mb_fail(e, MB_RANGE, "found the confidence level %g, expected one below 1, such as 0.95", o->level);
    double *mean = mb_malloc((size_t)m * sizeof *mean);
    if (!mean)
        return mb_fail(e, MB_NOMEM, "no memory for %d figures", m);
    means(value, weight, NULL, n, m, mean);
    for (int c = 0; c < m; c++)
        figure[c] = (rec_figure){mean[c], NAN, NAN};
    mb_free(mean);
    return o->resamples > 0 && n > 0 ? resample(value, weight, n, m, o, figure, e) : MB_OK;
}
