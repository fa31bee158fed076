/* The options of `dna-mamba train`, as the parser fills them; shared by the verb's files. */
#ifndef DNA_TRAIN_VALUES_H
#define DNA_TRAIN_VALUES_H
#include <stddef.h>
#include <stdint.h>

#include "core/options.h"

typedef struct dna_train_values {
    char *model, *output, *splits;
    /* data */
    int64_t block, window, min_window, batch_tokens, batch_windows, micro_batches, chain, tries, evaluation_windows;
    double valid, test, most_n, alpha, reverse;
    int alphabet, n_as, ambiguous, gaps, duplicates;
    /* objective */
    int objective, replacement;
    double mask_rate, mask_shown, mask_random, soft_weight;
    /* optimiser */
    int64_t steps;
    double rate, rate_least, rate_start, warmup, decay_share, beta1, beta2, epsilon, weight_decay, clip, average;
    int schedule, norms_decay, precision;
    /* the run */
    int64_t log_every, evaluate_every, save_every, keep, patience;
    double stop_loss, max_minutes;
    int resume, tensorboard;
} dna_train_values;

extern const mb_option dna_train_options[];
extern const char dna_train_details[];
#endif
