/* The options of `dna-mamba finetune`, as the parser fills them. */
#ifndef DNA_FINETUNE_VALUES_H
#define DNA_FINETUNE_VALUES_H
#include "genomics/label_options.h"

typedef struct dna_finetune_values {
    dna_label_values data;
    char *model, *output, *valid, *test, *judge;
    /* parts */
    double valid_share, test_share;
    int64_t folds, seeds, shared;
    int leaks;
    /* the head */
    int task, pooling, bias, conjoin, class_weights;
    /* training */
    int64_t epochs, batch, micro_batches;
    double rate, rate_share, head_rate, warmup, weight_decay, clip, reverse, masked;
    int freeze, schedule, precision;
    /* the run */
    int64_t log_every, save_every, keep, patience, resamples, kmer;
    double level, max_minutes;
    int resume, tensorboard;
} dna_finetune_values;

enum { DNA_CONJOIN_AUTO, DNA_CONJOIN_YES, DNA_CONJOIN_NO };
enum { DNA_WEIGHTS_NONE, DNA_WEIGHTS_BALANCED };

extern const mb_option dna_finetune_options[];
extern const char dna_finetune_details[];
#endif
