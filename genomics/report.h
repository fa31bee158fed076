/* What a model is worth on examples that it was not trained on: report.json for programs, report.txt for people. */
#ifndef DNA_REPORT_H
#define DNA_REPORT_H
#include "core/provenance.h"
#include "genomics/labelled.h"
#include "genomics/metrics.h"

typedef struct dna_report_run { /* of one fold with one seed */
    int fold;                   /* -1: there are no folds */
    int64_t seed, train, valid, test, best_step;
    double seconds;
    double *value; /* as metrics.at; NULL when nothing was tested */
} dna_report_run;

typedef struct dna_report {
    const char *model, *task, *judge;
    const dna_labelled *d;
    const dna_metrics *metrics; /* all test examples, the first seed; NULL: nothing was tested */
    const dna_metrics *floor;   /* k-mers on the same examples, or NULL */
    int k, floor_strands;       /* of them */
    double majority;            /* accuracy of the commonest class of the training part; NaN: not classes */
    const dna_report_run *run;
    int n_runs;
    double level;
} dna_report;

/* FOLDER/report.json and report.txt. */
int dna_report_write(const dna_report *r, const char *folder, mb_err *e) MB_MUST_USE;
/* FOLDER/report.html: the same for people with a browser, with the training curve of FOLDER/metrics.jsonl if there is
 * one and the record of the run. */
int dna_report_page(const dna_report *r, const char *folder, mb_provenance *record, mb_err *e) MB_MUST_USE;
/* Mean and standard deviation (n-1) of a metric over the runs that have it; returns how many. */
int dna_report_over_runs(const dna_report *r, int metric, double *mean, double *spread);
/* A table of answers: name, place, truth, answer, a column for each label. part: (n) number of the fold, or NULL. */
int dna_answers_write(const char *path, const dna_labelled *d, const int64_t *index, int64_t n, const double *answer,
                      const int *part, mb_err *e) MB_MUST_USE;
#endif
