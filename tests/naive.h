/* A second opinion: a whole model in double precision, straight from the equations and the parameters, one sequence in
 * one piece, sharing nothing with core/ but the parameters. Slow; for tests of small models. */
#ifndef TESTS_NAIVE_H
#define TESTS_NAIVE_H
#include "core/params.h"

/* hidden: (length, width), the stream that enters `layer`, or with layer = n_layer the rows after the final norm; laid
 * out as core/forward.h says. logits: (length, V), NULL unless layer = n_layer. output = 1: what the mixer of layer-1
 * puts out instead. */
void naive_forward(const mb_config *c, const mb_params *p, const int32_t *token, int length, int layer, int output,
                   double *hidden, double *logits);
#endif
