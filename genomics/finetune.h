/* Fine-tuning a model and its head on labelled sequences: the task that core/train.h runs, and what is measured. */
#ifndef DNA_FINETUNE_H
#define DNA_FINETUNE_H
#include "core/train.h"
#include "genomics/head.h"
#include "genomics/metrics.h"

typedef struct dna_finetune {
    mb_gradient *g;
    dna_head *head;
    const dna_labelled *d;
    const dna_alphabet *a;
    const int64_t *train, *valid; /* examples */
    int64_t n_train, n_valid;
    int64_t batch; /* examples of a step */
    int micro_batches;
    double reverse; /* chance that a training example is shown as its reverse complement */
    double masked;  /* chance that a base of a training example is shown as the mask */
    uint64_t seed;
    const float *weight; /* (C) of classes or labels, or NULL */
    int frozen;          /* only the head learns */
    const char *judge;   /* metric by which held-out examples are judged; NULL: the loss */
    int64_t *order;      /* (n_train) of the epoch at hand */
    int64_t epoch;
} dna_finetune;

/* The other fields are filled by the caller and borrowed. */
int dna_finetune_init(dna_finetune *t, mb_err *e) MB_MUST_USE;
void dna_finetune_fini(dna_finetune *t);
int64_t dna_finetune_epoch_steps(const dna_finetune *t);
mb_train_task dna_finetune_task(dna_finetune *t);

/* How good answers are for examples index[0..n) of d: answers one after the other as dna_head_predict gives them. */
int dna_measure(dna_metrics *m, const dna_labelled *d, const int64_t *index, int64_t n, const double *answer,
                const dna_metrics_options *o, mb_err *e) MB_MUST_USE;
/* Answers of a model for these examples; mb_free. */
int dna_answers(double **out, const dna_head *h, const mb_model *m, const dna_alphabet *a, const dna_labelled *d,
                const int64_t *index, int64_t n, const mb_forward_options *o, mb_err *e) MB_MUST_USE;
#endif
