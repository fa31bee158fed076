/* AdamW over any number of parameter tensors, with clipping by global norm and an optional moving average of the
 * weights. The bits of a step do not depend on the number of threads. */
#ifndef MB_OPTIMIZER_H
#define MB_OPTIMIZER_H
#include <stdint.h>
#include "core/error.h"
#include "core/gradient.h"

typedef struct mb_trainable {
    char name[128]; /* for messages and checkpoints */
    float *w;       /* (n) */
    float *sum;     /* (n) sum of gradients; zeroed by a step */
    int64_t n;
    int decays;  /* weight decay applies */
    double rate; /* the learning rate is multiplied by it; 0: frozen */
} mb_trainable;

typedef struct mb_optimizer_options {
    double b1, b2, eps, decay;
    double clip;    /* largest norm of the gradient, over all tensors; 0: none */
    double average; /* decay of the moving average of weights; 0: none */
    int threads;
} mb_optimizer_options;

typedef struct mb_optimizer mb_optimizer;

/* All parameters of a model: no decay for biases, the embeddings (and the head tied to one), A_log and D, as the
 * originals have it; norm weights do decay when norms_decay is set (Caduceus' recipe). Returns their number; t holds
 * mb_params_most() or is NULL to count. */
int mb_model_trainables(mb_gradient *g, int norms_decay, double rate, mb_trainable *t);

/* t is copied; the memory it names must outlive the optimiser. */
int mb_optimizer_create(mb_optimizer **out, const mbk_ops *ops, const mb_trainable *t, int n,
                        const mb_optimizer_options *o, mb_err *e) MB_MUST_USE;
/* Over all parameters of g's model, as mb_model_trainables lists them with rate 1. */
int mb_optimizer_of_model(mb_optimizer **out, mb_gradient *g, int norms_decay, const mb_optimizer_options *o,
                          mb_err *e) MB_MUST_USE;
void mb_optimizer_destroy(mb_optimizer *o); /* NULL is fine */
size_t mb_optimizer_bytes(const mb_optimizer *o);

/* One update with the mean gradient sum/divisor; zeroes the sums. *norm: of that gradient, before clipping. When it is
 * not finite, nothing is changed and MB_RANGE is returned. */
int mb_optimizer_step(mb_optimizer *o, double rate, double divisor, double *norm, mb_err *e) MB_MUST_USE;

/* Its state, for checkpoints: first and second moments and, when averaging, the averaged weights, all tensors one after
 * the other (mb_optimizer_floats each); steps taken. */
int64_t mb_optimizer_floats(const mb_optimizer *o);
float *mb_optimizer_first(mb_optimizer *o);
float *mb_optimizer_second(mb_optimizer *o);
float *mb_optimizer_average(mb_optimizer *o); /* NULL without one */
int64_t *mb_optimizer_steps(mb_optimizer *o);
const mb_trainable *mb_optimizer_tensors(const mb_optimizer *o, int *n);
/* Exchanges weights and their average (before and after evaluating or saving). */
void mb_optimizer_swap_average(mb_optimizer *o);
#endif
