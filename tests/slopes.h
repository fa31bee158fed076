/* Gradients of whole models against finite differences, tensor by tensor. */
#ifndef TESTS_SLOPES_H
#define TESTS_SLOPES_H
#include "core/gradient.h"
#include "core/params_table.h"

typedef struct slopes {
    mb_gradient *g;   /* with the gradient in its sums */
    mb_gradient *ref; /* adds up in double; its weights are moved */
    mb_params *w;     /* of ref */
    double (*loss)(const void *user, mb_gradient *g);
    const void *user;
    double tolerance;  /* of what the loss should change by */
    double worst;      /* tensor, in tolerances: 1 is as far off as may be */
    int silent, heard; /* tensors whose influence drowns in rounding; all */
    char where[MB_PARAM_NAME];
} slopes;

/* For mb_params_walk, user: the slopes. Moves a tensor both ways along a random direction. What the loss should change
 * by is known to the size of its terms, sqrt(sum (gradient * step)^2); beside it stands the loss's own rounding. */
int slopes_of_tensor(void *user, const mb_param *p);
#endif
