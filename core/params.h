/* Parameters of a model under their names: shapes, where they live, which names the files of each family use.
 * Folding (strand swap, transposes, logs) is done from here into the form the kernels want. */
#ifndef MB_PARAMS_H
#define MB_PARAMS_H
#include "core/config.h"
#include "core/weights.h"

typedef struct mb_mamba1_params { /* one direction of one layer; fp32, owned by mb_params */
    const float *in_w;            /* (2E,D) */
    const float *in_b;            /* (2E) or NULL */
    const float *conv_w;          /* (E,K) */
    const float *conv_b;          /* (E) or NULL */
    const float *x_w;             /* (R+2N,E) */
    const float *dt_w;            /* (E,R) */
    const float *dt_b;            /* (E) */
    const float *A_log;           /* (E,N) */
    const float *skip;            /* (E) */
    const float *out_w;           /* (D,E) */
    const float *out_b;           /* (D) or NULL */
} mb_mamba1_params;

typedef struct mb_layer_params {
    const float *norm_w, *norm_b; /* (D); norm_b NULL for RMS */
    mb_mamba1_params dir[2];      /* left-to-right, right-to-left (bidirectional only) */
} mb_layer_params;

typedef struct mb_params {
    const float *embedding; /* (V,D) */
    const float *norm_f_w, *norm_f_b;
    const float *head_w;    /* (V,D); the embedding when tied */
    mb_layer_params *layer; /* n_layer */
    int64_t count;          /* distinct parameters, as the original counts them */
    void *owned;            /* memory behind the pointers */
} mb_params;

/* Reads, checks every shape, rebuilds dropped aliases, and folds the strand swap of fused RC-equivariant models so that
 * every layer works in one frame (see params.c). Unknown tensors are an error naming them; so is a missing one. */
int mb_params_load(mb_params **out, const mb_config *c, const mb_weights *w, mb_err *e) MB_MUST_USE;
/* The original's initialisation from a seed. */
int mb_params_seed(mb_params **out, const mb_config *c, uint64_t seed, mb_err *e) MB_MUST_USE;
/* Writes unfolded weights under the family's names, aliases dropped as the released files do. */
int mb_params_save(const mb_params *p, const mb_config *c, const char *path, mb_err *e) MB_MUST_USE;
void mb_params_free(mb_params *p);
#endif
