/* A linear head over the rows of whole sequences, and what is trained with it: classes, any of several labels, numbers.
 *
 *   f_s = pool over the rows of strand s of the hidden state after the final norm                        (D)
 *   z   = b + mean over strands of W f_s                                                                 (C)
 *
 * as CaduceusForSequenceClassification of the original code has it (Schiff et al. 2024, arXiv 2403.03234), so that an
 * RC-equivariant model gives a sequence and its reverse complement the same bits. first and last are the first and last
 * row of each strand as it is read. Labels that have a direction (promoters, splice sites) want the given strand alone:
 * z = b + W f_0. A model of one strand may be given each sequence and its reverse complement as two
 * sequences of the batch (views 2: conjoining), which are then its strands. Without pooling (MB_POOL_NONE) each
 * position has its z, from its own row of each strand. A unit is a sequence, or a position without pooling. */
#ifndef MB_POOL_HEAD_H
#define MB_POOL_HEAD_H
#include "core/forward.h"
#include "core/gradient.h"

typedef enum mb_pooling { MB_POOL_MEAN, MB_POOL_MAX, MB_POOL_FIRST, MB_POOL_LAST, MB_POOL_NONE } mb_pooling;
#define MB_POOLING_CHOICES "mean|max|first|last"

typedef enum mb_pool_objective {
    MB_POOL_CLASS,  /* -w_y log softmax(z)_y, and w_y is the weight */
    MB_POOL_BINARY, /* of each label: -w_c y log s(z) - (1-y) log s(-z), s the logistic function; weight 1 */
    MB_POOL_SQUARED /* of each number: w_c (z - y)^2, and w_c is the weight */
} mb_pool_objective;

typedef struct mb_pool_head {
    int C; /* classes, labels or numbers */
    int pooling, objective;
    int given; /* 1: from the given strand alone, also of an RC-equivariant model: its gradient runs with strands = 1 */
    float *w, *b;         /* (C,D); (C) or NULL */
    float *w_sum, *b_sum; /* gradients, added to; NULL when there are none to take */
} mb_pool_head;

typedef struct mb_pool_targets {
    int views;           /* 1 or 2 */
    const int *label;    /* class: (units); below 0 counts for nothing */
    const float *value;  /* else: (units,C); NaN counts for nothing */
    const float *weight; /* (C) or NULL: ones */
} mb_pool_targets;

typedef struct mb_pool_result {
    double loss;       /* sum, in nats or squares */
    double weight;     /* sum of weights */
    int64_t positions; /* targets that count */
    int64_t hits;      /* of them, predicted: largest z, or z of the right sign; 0 for numbers */
} mb_pool_result;

/* After mb_gradient_forward. Adds to *r; z goes to logits (units,C) unless it is NULL. with_gradient: the gradient of
 * the sum of the losses goes to d_hidden and is added to w_sum, b_sum. The bits do not depend on threads. MB_RANGE: a
 * label that is no class. */
int mb_pool_loss(mb_gradient *g, const mb_pool_head *h, const mb_pool_targets *t, int with_gradient, mb_pool_result *r,
                 double *logits, mb_err *e) MB_MUST_USE;

/* z of sequences of any length, in bounded memory: (n / views, C), or (sum of lengths of each first view, C) without
 * pooling. o: threads, memory, scratch, progress, stop. */
int mb_pool_run(const mb_model *m, const mb_pool_head *h, const mb_sequence *sequence, int n, int views,
                const mb_forward_options *o, double *logits, mb_err *e) MB_MUST_USE;
#endif
