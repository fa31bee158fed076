/* How a training run went, from the metrics.jsonl that it leaves: curves for reports and model cards. */
#ifndef DNA_CURVE_H
#define DNA_CURVE_H
#include "core/page.h"

typedef struct dna_curve {
    double *step, *loss; /* (n): training, mean over the steps since the line before; nats */
    int64_t n;
    double *held_step, *held_loss; /* (n_held): held-out evaluations; nats */
    int64_t n_held;
} dna_curve;

/* Lines of other kinds are passed over. A line that is no JSON object ends the reading with a warning when it is the
 * last (a run that was killed), and is MB_FORMAT elsewhere. */
int dna_curve_read(dna_curve *c, const char *path, mb_err *e) MB_MUST_USE;
void dna_curve_fini(dna_curve *c);
/* Losses over steps, training from half-way to the first evaluation on; bits: divided by ln 2. The chart borrows c. */
typedef struct dna_curve_chart {
    mb_series series[2];
    double *y[2]; /* owned */
    mb_chart chart;
} dna_curve_chart;
int dna_curve_chart_make(dna_curve_chart *out, const dna_curve *c, int bits, mb_err *e) MB_MUST_USE;
void dna_curve_chart_fini(dna_curve_chart *c);
/* The curve of FOLDER/metrics.jsonl as a picture, SVG or PNG by the end of the name. */
int dna_curve_draw(const char *folder, const char *path, mb_err *e) MB_MUST_USE;
/* FOLDER/report.html of a pre-training run: its curve, evaluations and record. best_bits: NaN when nothing was held
 * out. */
int dna_train_page(const char *folder, double best_bits, mb_provenance *record, mb_err *e) MB_MUST_USE;
#endif
