/* Training a recommender: the task that core/train.h runs. */
#ifndef REC_FIT_H
#define REC_FIT_H
#include "core/train.h"
#include "recsys/batches.h"
#include "recsys/model.h"

typedef enum rec_loss { REC_LOSS_SOFTMAX, REC_LOSS_SAMPLED, REC_LOSS_BPR, REC_LOSS_GBCE, REC_LOSS_BCE } rec_loss;
#define REC_LOSS_CHOICES "softmax|sampled|bpr|gbce|bce"
typedef enum rec_judge { REC_JUDGE_NDCG, REC_JUDGE_HR, REC_JUDGE_MRR, REC_JUDGE_LOSS } rec_judge;
#define REC_JUDGE_CHOICES "ndcg|hr|mrr|loss"

enum { REC_CUTOFF = 10 }; /* K of the figures that runs are judged by */

typedef struct rec_fit {
    mb_gradient *g;
    rec_batches *batches;
    int micro_batches;
    float dropout;
    mb_row_targets objective; /* what rec_fit_objective says; the rows come with each batch */
    const rec_log *log;
    const rec_split *split;
    int judge;      /* rec_judge */
    int rounded;    /* figures to four decimals before they are compared, as RecBole does */
    int64_t window; /* of histories when evaluating */
    int64_t memory; /* for evaluations */
    rec_batch batch;
    rec_model *model; /* of the gradient's weights */
} rec_fit;

/* Negatives of a loss when the user names none: 0 for the softmax. */
int rec_loss_negatives(int loss);
/* How a loss draws, into the batches' options: batches.negatives is set already. */
void rec_loss_draws(int loss, rec_batches_options *batches);
/* The objective of a loss; items: of the log; t: gBCE's calibration, 0 = plain BCE, 1 = all of it. */
mb_row_targets rec_loss_objective(int loss, int negatives, int32_t items, int pad_in_softmax, double t);

/* The fields above batch are filled by the caller and borrowed. */
int rec_fit_init(rec_fit *f, mb_err *e) MB_MUST_USE;
void rec_fit_fini(rec_fit *f); /* zeroed is fine */
mb_train_task rec_fit_task(rec_fit *f);
#endif
