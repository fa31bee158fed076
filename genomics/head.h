/* A trained head on a model, in memory and on disk, and what it says of sequences.
 *
 * FOLDER/config.json, model.safetensors   backbone and score.weight: what CaduceusForSequenceClassification of the
 *                                         original code loads; other families keep the head in head.safetensors
 * FOLDER/task.json                        task, pooling, label names, scale of numbers
 * The folder opens as a model too (embed, info). The original has no score.bias and does without it. */
#ifndef DNA_HEAD_H
#define DNA_HEAD_H
#include "core/pool_head.h"
#include "genomics/labelled.h"

typedef struct dna_head {
    int task;    /* dna_task */
    int conjoin; /* a one-strand model answers with the mean of z over both strands */
                 /* pool.given: an RC-equivariant one from the given strand alone */
    int D;
    mb_pool_head pool;
    char **label;         /* (C) names */
    double *mean, *scale; /* (C) regression: number = mean + scale z */
    float *owned;
} dna_head;

/* W ~ N(0, 0.02^2) from the seed, b = 0; label names are copied. */
int dna_head_init(dna_head *h, int task, int pooling, char *const *label, int C, int D, int bias, uint64_t seed,
                  mb_err *e) MB_MUST_USE;
void dna_head_fini(dna_head *h); /* zeroed is fine */
int dna_head_save(const dna_head *h, const mb_params *p, const mb_config *c, const char *folder, mb_err *e) MB_MUST_USE;
/* Of the folder that m was opened from. MB_NOTFOUND: it holds no task.json. */
int dna_head_load(dna_head *h, const mb_model *m, mb_err *e) MB_MUST_USE;

/* z to what is answered, in place: probabilities (class, multi, bases) or numbers. */
void dna_head_answer(const dna_head *h, double *z, int64_t units);
typedef struct dna_piece {
    const uint8_t *token;
    int64_t length;
} dna_piece;
/* Answers for n sequences: (n,C), or (sum of lengths, C) for bases. */
int dna_head_predict(const dna_head *h, const mb_model *m, const dna_alphabet *a, const dna_piece *piece, int64_t n,
                     const mb_forward_options *o, double *answer, mb_err *e) MB_MUST_USE;
#endif
