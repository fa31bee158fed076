/* Every figure is computed from whole-number weights of the rows, all 1 for the value itself and multiplicities for a
 * resample, so that rows are sorted once and a resample costs one pass. Sums run in row order: same bits for any number
 * of threads. Refuses rows that are no probabilities, labels out of range, NaN. */
#include "genomics/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/rng.h"
#include "genomics/labelled.h"

enum { MOST_METRICS = 16 };

/* ---- what does not change between resamples ---------------------------------------------------------------------- */

typedef struct fixed {
    const dna_scored *s;
    int n_metrics, C, n;
    const char *name[MOST_METRICS];
    double threshold;
    int32_t *by_score;        /* (C,n) rows by falling score */
    int32_t *by_truth;        /* regression: (C,n) rows by falling truth */
    int32_t *predicted;       /* class: (n); multi: (n) whether all labels are right */
    double *brier, *log_loss; /* class, multi: (n) of each row */
} fixed;

typedef struct scratch {
    uint32_t *weight;   /* (n) */
    int64_t *confusion; /* class: (C,C); multi: (C,4) tn fp fn tp */
    double *rank[2];    /* regression: (n) */
} scratch;

typedef struct result {
    double value[MOST_METRICS];
    const char *why[MOST_METRICS];
    int n;
} result;

static void put(result *r, double value, const char *why) {
    r->value[r->n] = value;
    r->why[r->n++] = isnan(value) ? why : NULL;
}

/* ---- ranks: one pass over rows by falling score ------------------------------------------------------------------ */

/* AUROC = P(s+ > s-) + P(s+ = s-)/2; AP = sum over distinct scores of (R_t - R_{t-1}) P_t. *positives: their weight. */
static void rank_pass(const fixed *f, const uint32_t *weight, int c, double *auroc, double *ap, double *positives) {
    const int32_t *order = f->by_score + (size_t)c * (size_t)f->n;
    const dna_scored *s = f->s;
    double above[2] = {0, 0}, wins = 0, sum = 0; /* above: weight of the negatives, positives ranked so far */
    for (int at = 0; at < f->n;) {
        const double score = s->score[(size_t)order[at] * (size_t)f->C + (size_t)c];
        double tied[2] = {0, 0};
        for (; at < f->n && s->score[(size_t)order[at] * (size_t)f->C + (size_t)c] == score; at++) {
            const size_t i = (size_t)order[at];
            const int y = s->label ? s->label[i] == c : s->truth[i * (size_t)f->C + (size_t)c] != 0;
            tied[y] += weight[i];
        }
        wins += tied[0] * (above[1] + 0.5 * tied[1]);
        above[0] += tied[0];
        above[1] += tied[1];
        if (tied[1] > 0)
            sum += tied[1] * (above[1] / (above[0] + above[1]));
    }
    *positives = above[1];
    *auroc = above[0] > 0 && above[1] > 0 ? wins / (above[0] * above[1]) : NAN;
    *ap = above[0] > 0 && above[1] > 0 ? sum / above[1] : NAN;
}

/* auroc and auprc: of class 1 of two, else the mean over the classes or labels where they are defined. */
static void put_ranks(const fixed *f, const uint32_t *weight, result *r) {
    const char *why = f->s->label ? "only one class occurs" : "no label occurs both with and without";
    double auroc = 0, ap = 0, positives;
    int defined = 0;
    for (int c = f->s->label && f->C == 2; c < f->C; c++) {
        double a, p;
        rank_pass(f, weight, c, &a, &p, &positives);
        if (isnan(a))
            continue;
        auroc += a;
        ap += p;
        defined++;
    }
    put(r, defined ? auroc / defined : NAN, why);
    put(r, defined ? ap / defined : NAN, why);
}

static void put_losses(const fixed *f, const uint32_t *weight, result *r) {
    double brier = 0, loss = 0, total = 0;
    for (int i = 0; i < f->n; i++) {
        brier += weight[i] * f->brier[i];
        loss += weight[i] * f->log_loss[i];
        total += weight[i];
    }
    put(r, brier / total, NULL);
    put(r, loss / total, NULL);
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

/* Of one class: true positives, predicted, actual. */
typedef struct tally {
    double right, predicted, actual;
} tally;

static tally tally_of(const fixed *f, const scratch *w, int c) {
    tally t = {0};
    if (!f->s->label) {
        const int64_t *q = w->confusion + 4 * (size_t)c;
        return (tally){(double)q[3], (double)(q[1] + q[3]), (double)(q[2] + q[3])};
    }
    t.right = (double)w->confusion[(size_t)c * (size_t)f->C + (size_t)c];
    for (int k = 0; k < f->C; k++) {
        t.actual += (double)w->confusion[(size_t)c * (size_t)f->C + (size_t)k];
        t.predicted += (double)w->confusion[(size_t)k * (size_t)f->C + (size_t)c];
    }
    return t;
}

static double ratio(double a, double b) {
    return b > 0 ? a / b : NAN;
}

static double f1_of(tally t) {
    return ratio(2 * t.right, t.predicted + t.actual);
}

/* R_K = (c s - sum_k p_k t_k) / sqrt((s^2 - sum p_k^2)(s^2 - sum t_k^2)), c right of s, p_k predicted, t_k actual
 * (Gorodkin 2004); for two classes Matthews' coefficient. */
static void put_class_counts(const fixed *f, const scratch *w, result *r) {
    double right = 0, all = 0, product = 0, squares_p = 0, squares_t = 0, recalls = 0;
    int present = 0;
    for (int c = 0; c < f->C; c++) {
        const tally t = tally_of(f, w, c);
        right += t.right;
        all += t.actual;
        product += t.predicted * t.actual;
        squares_p += t.predicted * t.predicted;
        squares_t += t.actual * t.actual;
        present += t.actual > 0;
        recalls += t.actual > 0 ? t.right / t.actual : 0;
    }
    const double p = all * all - squares_p, t = all * all - squares_t;
    const char *why = "only one class occurs";
    put(r, right / all, NULL);
    put(r, present > 1 ? recalls / present : NAN, why);
    put(r, present > 1 ? (p > 0 ? (right * all - product) / sqrt(p) / sqrt(t) : 0) : NAN, why);
}

/* precision, recall, f1: of class 1 when binary; then the means over what occurs or is predicted; then f1 of the sums.
 */
static void put_f1(const fixed *f, const scratch *w, result *r) {
    double precision = 0, recall = 0, f1 = 0;
    tally sum = {0};
    int used = 0;
    if (f->s->label && f->C == 2) {
        const tally t = tally_of(f, w, 1);
        put(r, ratio(t.right, t.predicted), "nothing is predicted as the second class");
        put(r, ratio(t.right, t.actual), "the second class does not occur");
        put(r, f1_of(t), "the second class neither occurs nor is predicted");
    }
    for (int c = 0; c < f->C; c++) {
        const tally t = tally_of(f, w, c);
        sum.right += t.right;
        sum.predicted += t.predicted;
        sum.actual += t.actual;
        if (t.predicted + t.actual <= 0)
            continue;
        used++;
        precision += t.predicted > 0 ? t.right / t.predicted : 0;
        recall += t.actual > 0 ? t.right / t.actual : 0;
        f1 += f1_of(t);
    }
    const char *why = "no label occurs or is predicted";
    put(r, used ? precision / used : NAN, why);
    put(r, used ? recall / used : NAN, why);
    put(r, used ? f1 / used : NAN, why);
    put(r, f1_of(sum), why);
}

static void evaluate_class(const fixed *f, scratch *w, result *r) {
    MB_ASSERT(f->s->label && f->predicted);
    memset(w->confusion, 0, (size_t)f->C * (size_t)f->C * sizeof *w->confusion);
    for (int i = 0; i < f->n; i++)
        w->confusion[(size_t)f->s->label[i] * (size_t)f->C + (size_t)f->predicted[i]] += w->weight[i];
    put_class_counts(f, w, r);
    put_f1(f, w, r);
    put_ranks(f, w->weight, r);
    put_losses(f, w->weight, r);
}

static void evaluate_multi(const fixed *f, scratch *w, result *r) {
    double right = 0, exact = 0, total = 0;
    MB_ASSERT(f->s->truth && f->predicted);
    memset(w->confusion, 0, 4 * (size_t)f->C * sizeof *w->confusion);
    for (int i = 0; i < f->n; i++) {
        for (int c = 0; c < f->C; c++) {
            const size_t at = (size_t)i * (size_t)f->C + (size_t)c;
            const int cell = 2 * (f->s->truth[at] != 0) + (f->s->score[at] >= f->threshold);
            w->confusion[4 * (size_t)c + (size_t)cell] += w->weight[i];
        }
        exact += w->weight[i] * (double)f->predicted[i];
        total += w->weight[i];
    }
    for (int c = 0; c < f->C; c++)
        right += (double)(w->confusion[4 * (size_t)c] + w->confusion[4 * (size_t)c + 3]);
    put(r, right / (total * f->C), NULL);
    put(r, exact / total, NULL);
    put_f1(f, w, r);
    put_ranks(f, w->weight, r);
    put_losses(f, w->weight, r);
}

/* ---- regression -------------------------------------------------------------------------------------------------- */

/* Whether a strided column is the same wherever weight is not 0: sums would show rounding instead of none. */
static int is_constant(const double *x, size_t stride, const uint32_t *weight, int n) {
    double seen = NAN;
    for (int i = 0; i < n; i++) {
        if (!weight[i])
            continue;
        if (!isnan(seen) && x[(size_t)i * stride] != seen)
            return 0;
        seen = x[(size_t)i * stride];
    }
    return 1;
}

static double mean_of(const double *x, size_t stride, const uint32_t *weight, int n) {
    double sum = 0, total = 0;
    for (int i = 0; i < n; i++) {
        sum += weight[i] * x[(size_t)i * stride];
        total += weight[i];
    }
    return sum / total;
}

static double pearson(const double *x, const double *y, size_t stride, const uint32_t *weight, int n) {
    if (is_constant(x, stride, weight, n) || is_constant(y, stride, weight, n))
        return NAN;
    const double mx = mean_of(x, stride, weight, n), my = mean_of(y, stride, weight, n);
    double xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < n; i++) {
        const double dx = x[(size_t)i * stride] - mx, dy = y[(size_t)i * stride] - my;
        xx += weight[i] * dx * dx;
        yy += weight[i] * dy * dy;
        xy += weight[i] * dx * dy;
    }
    const double r = xy / sqrt(xx) / sqrt(yy);
    return r > 1 ? 1 : r < -1 ? -1 : r;
}

/* Midranks: of m equal rows below which w lie, w + (m + 1) / 2; the direction does not matter to a correlation of two
 * such ranks. */
static void rank_rows(const int32_t *order, const double *x, size_t stride, const uint32_t *weight, int n,
                      double *rank) {
    double before = 0;
    for (int from = 0, to; from < n; from = to) {
        double tied = 0;
        for (to = from; to < n && x[(size_t)order[to] * stride] == x[(size_t)order[from] * stride]; to++)
            tied += weight[order[to]];
        for (int at = from; at < to; at++)
            rank[order[at]] = before + (tied + 1) / 2;
        before += tied;
    }
}

static void column_figures(const fixed *f, scratch *w, int c, double out[4]) {
    const size_t C = (size_t)f->C;
    const double *s = f->s->score + c, *y = f->s->truth + c;
    double error = 0, total = 0, spread = 0;
    const double my = mean_of(y, C, w->weight, f->n);
    for (int i = 0; i < f->n; i++) {
        const double d = s[(size_t)i * C] - y[(size_t)i * C], t = y[(size_t)i * C] - my;
        error += w->weight[i] * d * d;
        spread += w->weight[i] * t * t;
        total += w->weight[i];
    }
    rank_rows(f->by_score + (size_t)c * (size_t)f->n, s, C, w->weight, f->n, w->rank[0]);
    rank_rows(f->by_truth + (size_t)c * (size_t)f->n, y, C, w->weight, f->n, w->rank[1]);
    out[0] = pearson(s, y, C, w->weight, f->n);
    out[1] = isnan(out[0]) ? NAN : pearson(w->rank[0], w->rank[1], 1, w->weight, f->n);
    out[2] = is_constant(y, C, w->weight, f->n) ? NAN : 1 - error / spread;
    out[3] = error / total;
}

static void evaluate_regression(const fixed *f, scratch *w, result *r) {
    static const char *const WHY[4] = {"truth or prediction is constant", "truth or prediction is constant",
                                       "the truth is constant", NULL};
    double sum[4] = {0};
    int defined[4] = {0};
    for (int c = 0; c < f->C; c++) {
        double of[4];
        column_figures(f, w, c, of);
        for (int m = 0; m < 4; m++)
            if (!isnan(of[m])) {
                sum[m] += of[m];
                defined[m]++;
            }
    }
    for (int m = 0; m < 4; m++)
        put(r, defined[m] ? sum[m] / defined[m] : NAN, WHY[m]);
}

static void evaluate(const fixed *f, scratch *w, result *r) {
    r->n = 0;
    if (f->s->task == DNA_TASK_CLASS)
        evaluate_class(f, w, r);
    else if (f->s->task == DNA_TASK_MULTI)
        evaluate_multi(f, w, r);
    else
        evaluate_regression(f, w, r);
    MB_ASSERT(r->n == f->n_metrics);
}

/* ---- checks and preparation -------------------------------------------------------------------------------------- */

static int check_row(const dna_scored *s, int64_t i, mb_err *e) {
    const int C = s->n_labels;
    double sum = 0;
    for (int c = 0; c < C; c++) {
        const double p = s->score[i * C + c], y = s->truth ? s->truth[i * C + c] : 0;
        const int probability = s->task != DNA_TASK_REGRESSION;
        if (!isfinite(p) || (probability && !(p >= 0 && p <= 1 + 1e-6)))
            return mb_fail(e, MB_RANGE, "row %" PRId64 ", label %d: found the prediction %g, expected %s", i + 1, c + 1,
                           p, probability ? "a probability" : "a number");
        if (!isfinite(y) || (s->task == DNA_TASK_MULTI && y != 0 && y != 1))
            return mb_fail(e, MB_RANGE, "row %" PRId64 ", label %d: found the true value %g, expected %s", i + 1, c + 1,
                           y, probability ? "0 or 1" : "a number");
        sum += p;
    }
    if (s->task != DNA_TASK_CLASS)
        return MB_OK;
    if (s->label[i] < 0 || s->label[i] >= C)
        return mb_fail(e, MB_RANGE, "row %" PRId64 ": found class %d, expected 0 to %d", i + 1, s->label[i], C - 1);
    if (!(fabs(sum - 1) <= 1e-3))
        return mb_fail(e, MB_RANGE, "row %" PRId64 ": found probabilities that sum to %g, expected 1", i + 1, sum);
    return MB_OK;
}

static int check_scored(const dna_scored *s, mb_err *e) {
    MB_ASSERT(s->task >= DNA_TASK_CLASS && s->task <= DNA_TASK_REGRESSION);
    MB_ASSERT(s->score && (s->task == DNA_TASK_CLASS ? s->label && !s->truth : s->truth && !s->label));
    if (s->n < 1 || s->n > INT32_MAX || s->n_labels < (s->task == DNA_TASK_CLASS ? 2 : 1))
        return mb_fail(e, MB_RANGE,
                       "%" PRId64 " predictions of %d labels: expected a row, and two classes or one label", s->n,
                       s->n_labels);
    for (int64_t u = 0; s->unit && u < s->n_units; u++)
        MB_ASSERT(s->unit[u] < s->unit[u + 1] && (u || !s->unit[0]) && s->unit[s->n_units] == s->n);
    for (int64_t i = 0; i < s->n; i++) {
        int rc = check_row(s, i, e);
        if (rc)
            return rc;
    }
    return MB_OK;
}

typedef struct keyed {
    double key;
    int32_t row;
} keyed;

static int by_falling_key(const void *a, const void *b) {
    const keyed *p = a, *q = b;
    if (p->key != q->key)
        return p->key > q->key ? -1 : 1;
    return (p->row > q->row) - (p->row < q->row);
}

static void sort_rows(const double *x, int n, int C, keyed *k, int32_t *order) {
    for (int c = 0; c < C; c++) {
        for (int i = 0; i < n; i++)
            k[i] = (keyed){x[(size_t)i * (size_t)C + (size_t)c], i};
        qsort(k, (size_t)n, sizeof *k, by_falling_key);
        for (int i = 0; i < n; i++)
            order[(size_t)c * (size_t)n + (size_t)i] = k[i].row;
    }
}

static double clipped_log(double p) {
    const double least = 0x1p-52;
    return log(p < least ? least : p > 1 - least ? 1 - least : p);
}

/* Predicted class and losses of row i. */
static void prepare_class(fixed *f, int i) {
    const double *p = f->s->score + (size_t)i * (size_t)f->C;
    const int y = f->s->label[i];
    double brier = 0;
    for (int c = 0; c < f->C; c++)
        brier += (p[c] - (c == y)) * (p[c] - (c == y));
    f->predicted[i] = f->C == 2 ? p[1] >= f->threshold : dna_best_of(p, f->C);
    f->brier[i] = f->C == 2 ? (p[1] - y) * (p[1] - y) : brier;
    f->log_loss[i] = -clipped_log(p[y]);
}

static void prepare_multi(fixed *f, int i) {
    f->predicted[i] = 1;
    for (int c = 0; c < f->C; c++) {
        const double p = f->s->score[(size_t)i * (size_t)f->C + (size_t)c];
        const double y = f->s->truth[(size_t)i * (size_t)f->C + (size_t)c];
        f->predicted[i] &= (p >= f->threshold) == (y != 0);
        f->brier[i] += (p - y) * (p - y) / f->C;
        f->log_loss[i] -= clipped_log(y != 0 ? p : 1 - p) / f->C;
    }
}

static void name_metrics(fixed *f) {
    static const char *const CLASS[] = {"accuracy", "balanced_accuracy", "mcc"},
                             *const MULTI[] = {"accuracy", "exact_match"},
                             *const BINARY[] = {"precision", "recall", "f1"},
                             *const REST[] = {"precision_macro", "recall_macro", "f1_macro", "f1_micro",
                                              "auroc",           "auprc",        "brier",    "log_loss"},
                             *const NUMBER[] = {"pearson", "spearman", "r2", "mse"};
#define TAKE(list)                                                                                                     \
    for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++)                                                         \
    f->name[f->n_metrics++] = (list)[i]
    if (f->s->task == DNA_TASK_REGRESSION) {
        TAKE(NUMBER);
        return;
    }
    if (f->s->task == DNA_TASK_CLASS)
        TAKE(CLASS);
    else
        TAKE(MULTI);
    if (f->s->task == DNA_TASK_CLASS && f->C == 2)
        TAKE(BINARY);
    TAKE(REST);
#undef TAKE
}

static void fixed_fini(fixed *f) {
    mb_free(f->by_score);
    mb_free(f->by_truth);
    mb_free(f->predicted);
    mb_free(f->brier);
    mb_free(f->log_loss);
}

static int fixed_init(fixed *f, const dna_scored *s, const dna_metrics_options *o, mb_err *e) {
    const size_t n = (size_t)s->n, C = (size_t)s->n_labels;
    const int numbers = s->task == DNA_TASK_REGRESSION;
    *f = (fixed){.s = s, .C = s->n_labels, .n = (int)s->n, .threshold = o->threshold > 0 ? o->threshold : 0.5};
    name_metrics(f);
    keyed *k = mb_calloc(n, sizeof *k);
    f->by_score = mb_calloc(n * C, sizeof *f->by_score);
    f->by_truth = numbers ? mb_calloc(n * C, sizeof *f->by_truth) : NULL;
    f->predicted = numbers ? NULL : mb_calloc(n, sizeof *f->predicted);
    f->brier = numbers ? NULL : mb_calloc(n, sizeof *f->brier);
    f->log_loss = numbers ? NULL : mb_calloc(n, sizeof *f->log_loss);
    if (!k || !f->by_score || (numbers ? !f->by_truth : !f->predicted || !f->brier || !f->log_loss)) {
        mb_free(k);
        return mb_fail(e, MB_NOMEM, "no memory to measure %zu predictions", n);
    }
    sort_rows(s->score, f->n, f->C, k, f->by_score);
    if (numbers)
        sort_rows(s->truth, f->n, f->C, k, f->by_truth);
    for (int i = 0; !numbers && i < f->n; i++) {
        if (s->task == DNA_TASK_CLASS)
            prepare_class(f, i);
        else
            prepare_multi(f, i);
    }
    mb_free(k);
    return MB_OK;
}

static void scratch_fini(scratch *w) {
    mb_free(w->weight);
    mb_free(w->confusion);
    mb_free(w->rank[0]);
    mb_free(w->rank[1]);
    memset(w, 0, sizeof *w);
}

static int scratch_init(scratch *w, const fixed *f, mb_err *e) {
    const int numbers = f->s->task == DNA_TASK_REGRESSION;
    const size_t cells = (size_t)f->C * (size_t)(f->C > 4 ? f->C : 4);
    memset(w, 0, sizeof *w);
    w->weight = mb_calloc((size_t)f->n, sizeof *w->weight);
    w->confusion = mb_calloc(numbers ? 1 : cells, sizeof *w->confusion);
    for (int i = 0; numbers && i < 2; i++)
        w->rank[i] = mb_calloc((size_t)f->n, sizeof *w->rank[i]);
    if (w->weight && w->confusion && (!numbers || (w->rank[0] && w->rank[1])))
        return MB_OK;
    scratch_fini(w);
    return mb_fail(e, MB_NOMEM, "no memory to measure %d predictions", f->n);
}

/* ---- bootstrap --------------------------------------------------------------------------------------------------- */

/* Multiplicities of the rows in resample r: as many units as there are, drawn with replacement. */
static void draw(const fixed *f, scratch *w, uint64_t seed, int r) {
    const dna_scored *s = f->s;
    const uint64_t units = (uint64_t)(s->unit ? s->n_units : s->n);
    mb_rng g;
    mb_rng_init(&g, seed, (uint64_t)r);
    memset(w->weight, 0, (size_t)f->n * sizeof *w->weight);
    for (uint64_t i = 0; i < units; i++) {
        const uint64_t u = mb_rng_below(&g, units);
        const int64_t from = s->unit ? s->unit[u] : (int64_t)u, to = s->unit ? s->unit[u + 1] : from + 1;
        for (int64_t row = from; row < to; row++)
            w->weight[row]++;
    }
}

/* All resamples into value (resamples, n_metrics). */
static int resample(const fixed *f, const dna_metrics_options *o, double *value, mb_err *e) {
    const int threads = o->threads < 1 ? 1 : o->threads > o->resamples ? o->resamples : o->threads;
    scratch *w = mb_calloc((size_t)threads, sizeof *w);
    int rc = w ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %d threads", threads);
    for (int t = 0; !rc && t < threads; t++)
        rc = scratch_init(&w[t], f, e);
    if (!rc) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int t = 0; t < threads; t++)
            for (int r = t; r < o->resamples; r += threads) {
                result got;
                draw(f, &w[t], o->seed, r);
                evaluate(f, &w[t], &got);
                memcpy(value + (size_t)r * (size_t)f->n_metrics, got.value, (size_t)f->n_metrics * sizeof *value);
            }
    }
    for (int t = 0; w && t < threads; t++)
        scratch_fini(&w[t]);
    mb_free(w);
    return rc;
}

static int by_value(const void *a, const void *b) {
    const double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

/* Linear between the two nearest of n sorted values (numpy's default). */
static double quantile(const double *sorted, int n, double q) {
    const double at = q * (n - 1);
    const int low = (int)at;
    return low + 1 < n ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]) : sorted[n - 1];
}

static int intervals(dna_metrics *m, const fixed *f, const dna_metrics_options *o, mb_err *e) {
    const double level = o->level > 0 ? o->level : 0.95;
    if (o->resamples <= 0)
        return MB_OK;
    if (level >= 1)
        return mb_fail(e, MB_RANGE, "found the confidence level %g, expected one below 1, such as 0.95", level);
    double *value = mb_calloc((size_t)o->resamples * (size_t)f->n_metrics, sizeof *value);
    double *one = mb_calloc((size_t)o->resamples, sizeof *one);
    int rc = value && one ? resample(f, o, value, e) : mb_fail(e, MB_NOMEM, "no memory for %d resamples", o->resamples);
    for (int i = 0; !rc && i < f->n_metrics; i++) {
        int defined = 0;
        for (int r = 0; r < o->resamples; r++) {
            const double v = value[(size_t)r * (size_t)f->n_metrics + (size_t)i];
            if (!isnan(v))
                one[defined++] = v;
        }
        if (2 * (int64_t)defined < o->resamples || isnan(m->at[i].value))
            continue;
        qsort(one, (size_t)defined, sizeof *one, by_value);
        m->at[i].low = quantile(one, defined, (1 - level) / 2);
        m->at[i].high = quantile(one, defined, (1 + level) / 2);
    }
    mb_free(value);
    mb_free(one);
    return rc;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static void label_figures(dna_metrics *m, const fixed *f, scratch *w) {
    for (int c = 0; c < f->C; c++) {
        dna_label_metrics *x = &m->of[c];
        *x = (dna_label_metrics){f->n, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
        if (f->s->task == DNA_TASK_REGRESSION) {
            double of[4];
            column_figures(f, w, c, of);
            x->pearson = of[0];
            x->spearman = of[1];
            x->r2 = of[2];
            x->mse = of[3];
            continue;
        }
        const tally t = tally_of(f, w, c);
        x->precision = ratio(t.right, t.predicted);
        x->recall = ratio(t.right, t.actual);
        x->f1 = f1_of(t);
        rank_pass(f, w->weight, c, &x->auroc, &x->auprc, &x->support);
    }
}

static int fill_values(dna_metrics *m, const fixed *f, mb_err *e) {
    scratch w;
    result r;
    const size_t C = (size_t)f->C;
    int rc = scratch_init(&w, f, e);
    if (rc)
        return rc;
    m->at = mb_calloc((size_t)f->n_metrics, sizeof *m->at);
    m->of = mb_calloc(C, sizeof *m->of);
    m->confusion = f->s->label ? mb_calloc(C * C, sizeof *m->confusion) : NULL;
    if (!m->at || !m->of || (f->s->label && !m->confusion)) {
        scratch_fini(&w);
        return mb_fail(e, MB_NOMEM, "no memory for the figures of %zu labels", C);
    }
    for (int i = 0; i < f->n; i++)
        w.weight[i] = 1;
    evaluate(f, &w, &r);
    m->n = f->n_metrics;
    m->n_labels = f->C;
    m->rows = f->n;
    m->units = f->s->unit ? f->s->n_units : f->n;
    for (int i = 0; i < f->n_metrics; i++)
        m->at[i] = (dna_metric){.name = f->name[i], .value = r.value[i], .low = NAN, .high = NAN, .why = r.why[i]};
    if (m->confusion)
        memcpy(m->confusion, w.confusion, C * C * sizeof *m->confusion);
    label_figures(m, f, &w);
    scratch_fini(&w);
    return MB_OK;
}

int dna_metrics_compute(dna_metrics *m, const dna_scored *s, const dna_metrics_options *o, mb_err *e) {
    fixed f;
    memset(m, 0, sizeof *m);
    int rc = check_scored(s, e);
    if (rc)
        return rc;
    rc = fixed_init(&f, s, o, e);
    if (!rc)
        rc = fill_values(m, &f, e);
    if (!rc)
        rc = intervals(m, &f, o, e);
    fixed_fini(&f);
    if (rc)
        dna_metrics_fini(m);
    return rc;
}

void dna_metrics_fini(dna_metrics *m) {
    mb_free(m->at);
    mb_free(m->of);
    mb_free(m->confusion);
    memset(m, 0, sizeof *m);
}

const dna_metric *dna_metrics_find(const dna_metrics *m, const char *name) {
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->at[i].name, name) == 0)
            return &m->at[i];
    return NULL;
}

int dna_best_of(const double *a, int C) {
    int best = 0;
    for (int c = 1; c < C; c++)
        best = a[c] > a[best] ? c : best;
    return best;
}

const char *dna_metrics_main(int task) {
    if (task == DNA_TASK_REGRESSION)
        return "spearman";
    return task == DNA_TASK_MULTI ? "auroc" : "mcc";
}
