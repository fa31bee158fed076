/* What training begins with: a preset or configuration drawn afresh, or a model with weights. */
#ifndef DNA_START_H
#define DNA_START_H
#include "core/model.h"

typedef struct dna_start {
    mb_config config;
    mb_params *params; /* all in one pool; mb_params_free unless taken over */
    char *weights;     /* file they come from, or NULL; mb_free */
} dna_start;

int dna_start_make(dna_start *s, const char *model, uint64_t seed, mb_err *e) MB_MUST_USE;
void dna_start_fini(dna_start *s); /* zeroed is fine */
#endif
