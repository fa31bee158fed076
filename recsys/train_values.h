/* The options of `recmamba train`, as the parser fills them; shared by the verb's files. */
#ifndef REC_TRAIN_VALUES_H
#define REC_TRAIN_VALUES_H
#include "recsys/load.h"
#include "recsys/split.h"

typedef struct rec_train_values {
    char *model, *output;
    rec_load_options load;
    rec_split_options split;
    double dropout;
    int init, residual;
    /* batches and objective */
    int mode, loss, pad_in_softmax, draw;
    int64_t window, overlap, batch, batch_positions, micro_batches, negatives;
    double gbce_t;
    /* optimiser */
    int64_t epochs, steps;
    double rate, rate_least, warmup, beta1, beta2, epsilon, weight_decay, clip, average;
    int schedule, precision;
    /* the run */
    double evaluate_every, save_every, stop_loss, max_minutes;
    int64_t log_every, keep, patience;
    int early_stop, judge, resume, tensorboard, floors;
} rec_train_values;

extern const mb_option rec_train_options[];
extern const char rec_train_details[];
#endif
