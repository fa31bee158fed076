/* The order of work: a stack of layers cut into passes over the sequence, each in one direction.
 * A layer that needs one phase runs where it stands; a two-phase layer ends one pass and is finished by the next, which
 * runs the other way. Depends on the model alone. */
#ifndef MB_PASSES_H
#define MB_PASSES_H
#include "core/mixer.h"

typedef struct mb_op { /* one mixer's phase inside a pass */
    int layer, phase;  /* layer: place of the mixer in the row that is run */
} mb_op;

typedef struct mb_pass {
    mb_direction direction;
    int first_op, n_ops; /* into mb_passes.op */
    int loads, stores;   /* residual (and what the open layer saved) comes from / goes to the stream */
} mb_pass;

typedef struct mb_passes {
    int n_passes, n_ops;
    mb_pass *pass;
    mb_op *op;
} mb_passes;

/* Mixers 0 .. n_layer-1; n_layer may be less than the model's (a run that stops early). */
int mb_passes_make(mb_passes *p, mb_mixer *const *mixer, int n_layer, mb_err *e) MB_MUST_USE;
void mb_passes_free(mb_passes *p);
#endif
