/* How a training run went, from the metrics.jsonl that it leaves: curves for reports and model cards. */
#ifndef MB_CURVE_H
#define MB_CURVE_H
#include "core/page.h"

typedef struct mb_curve {
    double *step, *loss; /* (n): training, mean over the steps since the line before; nats */
    int64_t n;
    double *held_step, *held_loss; /* (n_held): held-out evaluations; nats */
    double *held_figure;           /* (n_held): what they were judged by; NaN where a line has none */
    int64_t n_held;
} mb_curve;

/* figure: the key of what evaluations were judged by (mb_train_task.judge), or NULL. Lines of other kinds are passed
 * over. A line that is no JSON object ends the reading with a warning when it is the
 * last (a run that was killed), and is MB_FORMAT elsewhere. */
int mb_curve_read(mb_curve *c, const char *path, const char *figure, mb_err *e) MB_MUST_USE;
/* FOLDER/metrics.jsonl */
int mb_curve_read_folder(mb_curve *c, const char *folder, const char *figure, mb_err *e) MB_MUST_USE;
void mb_curve_fini(mb_curve *c);
/* Losses over steps, training from half-way to the first evaluation on; bits: divided by ln 2. The chart borrows c. */
typedef struct mb_curve_chart {
    mb_series series[2];
    double *y[2]; /* owned */
    mb_chart chart;
} mb_curve_chart;
int mb_curve_chart_make(mb_curve_chart *out, const mb_curve *c, int bits, mb_err *e) MB_MUST_USE;
void mb_curve_chart_fini(mb_curve_chart *c);
/* The curve of FOLDER/metrics.jsonl as a picture, SVG or PNG by the end of the name. */
int mb_curve_draw(const char *folder, const char *path, mb_err *e) MB_MUST_USE;
#endif
