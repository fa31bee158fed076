/* Small seeded models for tests and benchmarks. */
#ifndef TESTS_MODELS_H
#define TESTS_MODELS_H
#include "core/model.h"

/* Caduceus: rcps 1 = reverse-complement equivariant with the strand swap of the released models. */
mb_config model_caduceus(int D, int n_layer, int rcps);
/* state-spaces language model (causal). */
mb_config model_mamba(int D, int n_layer, int V);
/* Models put together in other ways (core/blocks.h), small: 0 .. MODEL_BUILDS-1. model_build_name says which. */
enum { MODEL_BUILDS = 9 };
mb_config model_build(int which);
const char *model_build_name(int which);
/* Seeded model of the configuration; exits the program with a message when that fails (tests only). */
mb_model *model_seeded(const mb_config *c, const mb_model_options *o);
/* The same with every parameter moved off its starting value, so that no norm weight is 1, no bias 0, no two channels
 * alike, and a parameter that is forgotten, exchanged or turned the wrong way shows. */
mb_model *model_shaken(const mb_config *c, const mb_model_options *o);
/* n tokens from a counter-based stream, in [low, high). */
void model_tokens(int32_t *token, int64_t n, int low, int high, uint64_t seed);
/* The folder of the shared test data, or NULL when it is not there. */
const char *shared_dir(void);
#endif
