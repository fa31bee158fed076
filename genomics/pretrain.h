/* Pre-training a DNA model on a corpus: the task that core/train.h runs. */
#ifndef DNA_PRETRAIN_H
#define DNA_PRETRAIN_H
#include "core/train.h"
#include "genomics/windows.h"

typedef struct dna_pretrain {
    mb_gradient *g;
    const dna_corpus *corpus;
    const dna_windows *windows;
    const dna_grid *grid; /* held-out windows */
    const dna_masking *masking;
    uint64_t seed;            /* of the masks of held-out windows */
    int carries;              /* states pass from step to step: truncated back-propagation */
    int micro_batches;        /* parts that the windows of a step are cut into */
    dna_train_batch batch;    /* of a micro-batch */
    dna_train_batch held_out; /* some windows of the grid */
    int64_t held_out_tokens;  /* how many at a time */
} dna_pretrain;

/* Takes rooms for batches; the other fields are filled by the caller and borrowed. */
int dna_pretrain_init(dna_pretrain *p, mb_err *e) MB_MUST_USE;
void dna_pretrain_fini(dna_pretrain *p);
mb_train_task dna_pretrain_task(dna_pretrain *p);
/* Tokens of the largest micro-batch, and the lengths of its windows, for plans: length holds dna_windows_count(). */
int dna_pretrain_micro(const dna_pretrain *p, uint64_t step, int micro, int *first);
#endif
