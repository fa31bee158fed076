/* Objectives at chosen rows of a causal batch, each with one target among the rows of the head: what models that pick
 * one of very many (the next item of a user) are trained with. With h_t the hidden row, z_v = h_t . W_v, y its target,
 * n_1 .. n_k its negatives, w its weight, s the logistic function, the loss of a row is w times
 *   MB_ROW_SOFTMAX  log sum_{v >= first} exp z_v - z_y                                over all rows of the head
 *   MB_ROW_SAMPLED  log(exp z_y + sum_j exp(z_nj + c_j)) - z_y                        c: the correction; with
 *                   c_j = -log(k q(n_j)), q the chance of drawing n_j among all but y, the sum is an unbiased estimate
 *                   of that of the full softmax (Bengio & Senecal 2008)
 *   MB_ROW_BPR      1/k sum_j -log(1e-10 + s(z_y - z_nj))                             (Rendle et al. 2009, with the
 *                   guard that RecBole has)
 *   MB_ROW_BCE      scale (-power log s(z_y) - sum_j log s(-z_nj))                    power 1: binary cross-entropy;
 *                   power = a (t (1 - 1/a) + 1/a), a = k / all other answers: gBCE (Petrov & Macdonald 2023,
 *                   arXiv 2308.07192)
 * The bits do not depend on the number of threads. */
#ifndef MB_ROW_LOSS_H
#define MB_ROW_LOSS_H
#include "core/lm_loss.h"

typedef enum mb_row_objective { MB_ROW_SOFTMAX, MB_ROW_SAMPLED, MB_ROW_BPR, MB_ROW_BCE } mb_row_objective;

typedef struct mb_row_targets {
    int objective; /* mb_row_objective */
    int64_t n;
    const int64_t *row;      /* (n) rows of the batch, ascending, each once at most */
    const int32_t *target;   /* (n) */
    const float *weight;     /* (n) or NULL: ones */
    int first;               /* softmax: rows of the head below it are no answers */
    int k;                   /* negatives of each row; the others > 0 */
    const int32_t *negative; /* (n,k) */
    const float *correction; /* (n,k) or NULL: zeros; sampled */
    double power, scale;     /* BCE */
} mb_row_targets;

/* After mb_gradient_forward, for models of one strand with a head (else MB_NOTSUP). Adds to *r; a hit: no other answer
 * that was looked at has a larger z (softmax: nor an equal one before it). with_gradient: the gradient of the sum of
 * losses goes to d_hidden, which is written whole, and is added to the head's sums. MB_RANGE for rows, targets or
 * negatives that are none. */
int mb_row_loss(mb_gradient *g, const mb_row_targets *t, int with_gradient, mb_lm_result *r, mb_err *e) MB_MUST_USE;
#endif
