/* The training loop, for any objective: steps, evaluation, early stopping, metrics, checkpoints, stopping and going on.
 *
 * A run is a function of its options, its task and the step number alone: stopped anywhere (a signal, kill -9) and
 * started again, it ends with the same bits as one that was never stopped. */
#ifndef MB_TRAIN_H
#define MB_TRAIN_H
#include <stdatomic.h>
#include "core/checkpoint.h"
#include "core/schedule.h"

typedef struct mb_train_sums {
    double loss;       /* sum of weighted losses, nats */
    double weight;     /* sum of the weights: the gradient is divided by it */
    int64_t positions; /* targets that count */
    int64_t hits;      /* of them, predicted best */
    int64_t tokens;    /* of the input, each once */
    double figure;     /* held-out: what mb_train_task.judge names; higher is better */
} mb_train_sums;

typedef struct mb_train_task {
    /* Adds the gradients of micro-batch `micro` of step `step` to the sums of the gradient, and its figures to *r. */
    int (*gradient)(void *user, int64_t step, int micro, mb_train_sums *r, mb_err *e);
    /* Held-out figures with the weights as they are; NULL: no evaluation. */
    int (*evaluate)(void *user, mb_train_sums *r, mb_err *e);
    /* Where the sequences of a micro-batch come from, for messages; out holds n bytes. */
    void (*origin)(void *user, int64_t step, int micro, char *out, size_t n);
    void *user;
    const char *unit;  /* of tokens: "bp" */
    int bits;          /* also print bits per token: loss / ln 2 */
    const char *judge; /* what evaluations are judged by (early stopping, the best); NULL: the loss. The best figure of
                        * the state is then its negative */
} mb_train_task;

typedef struct mb_train_options {
    const char *dir; /* output folder: checkpoints/, metrics.jsonl, event files; made when it is not there */
    mb_schedule schedule;
    int micro_batches;                             /* a step's gradient is the sum over so many batches */
    int64_t log_every, evaluate_every, save_every; /* steps; 0 = never (evaluation and saving: only at the end) */
    int keep;                                      /* newest checkpoints kept, besides the best */
    int64_t patience;                              /* stop after so many evaluations without a better one; 0 = never */
    int equal_is_better;                           /* an evaluation as good as the best becomes the best (RecBole) */
    double stop_loss;                              /* exploding: a mean loss beyond it stops the run; 0 = only NaN */
    double max_seconds;                            /* ask oneself to stop after so long; 0 = never */
    int resume; /* go on from the newest whole checkpoint, if there is one; 0: there must be no checkpoints */
    int tensorboard;
    const char *fingerprint; /* hex digest of all that decides the numbers */
    const atomic_int *stop;  /* checkpoint at the end of the step, then MB_STOPPED */
} mb_train_options;

typedef struct mb_train_report {
    mb_train_state state;
    double first_loss, last_loss; /* mean training loss of the first and last logged stretch of this process */
    double seconds;               /* in steps, of this process */
    int64_t tokens;               /* of this process */
    int stopped_early;            /* by patience */
} mb_train_report;

/* MB_OK: all steps are done (or patience ended them) and the last checkpoint is written. MB_STOPPED: asked to stop, the
 * checkpoint is written. MB_FAIL: the loss or gradient is not finite or explodes; the weights before that step are in
 * a checkpoint. */
int mb_train_run(mb_gradient *g, mb_optimizer *o, const mb_train_task *task, const mb_train_options *options,
                 mb_train_report *report, mb_err *e) MB_MUST_USE;

/* Before any work is done: whether dir may be used (it can be written to or made, and what it holds belongs to the run
 * of this fingerprint). Changes nothing. */
int mb_train_check_folder(const char *dir, int resume, const char *fingerprint, mb_err *e) MB_MUST_USE;
/* After mb_train_run: the weights to give away. The best if there was an evaluation, else the last; their average where
 * that was evaluated. The gradient's model has them then, too. */
int mb_train_take_best(mb_gradient *g, mb_optimizer *o, const char *dir, const mb_train_report *report,
                       mb_err *e) MB_MUST_USE;
#endif
