/* A whole fine-tuning: its runs (folds and seeds), one after the other, and what they come to. */
#ifndef DNA_TUNING_H
#define DNA_TUNING_H
#include "genomics/finetune.h"
#include "genomics/finetune_values.h"
#include "genomics/parts.h"
#include "genomics/report.h"
#include "genomics/start.h"

typedef struct dna_tuning {
    mb_run *run;
    const dna_finetune_values *v;
    dna_start start;
    dna_alphabet alphabet;
    dna_labelled d;
    dna_text said;
    dna_parts parts;
    const char *judge; /* a metric's name, or NULL: the loss */
    char data[17];     /* digest of the examples */
    char weights[65];  /* digest of the weights, or "" */
    double start_time;
    /* results */
    dna_report_run *runs;
    int n_runs;
    int64_t *tested; /* test examples of the first seed, fold by fold, with their answers */
    int *fold;
    double *answer;
    int64_t n_tested, n_units;
    dna_metrics metrics, floor;
    double *floor_answer; /* (tested, C) */
    int k;
    double majority;
} dna_tuning;

/* All runs, then metrics of everything. */
int dna_tuning_run(dna_tuning *t, mb_err *e) MB_MUST_USE;
void dna_tuning_fini(dna_tuning *t);
/* One run's machinery: the weights that were given, or drawn from the run's own seed. */
/* Answers come from the given strand alone: the labels have a direction. */
int dna_tuning_is_directed(const dna_tuning *t);
int dna_tuning_gradient(const dna_tuning *t, uint64_t seed, mb_gradient **g, mb_err *e) MB_MUST_USE;
#endif
