/* A model: configuration, parameters, layers ready to run on a device. */
#ifndef MB_MODEL_H
#define MB_MODEL_H
#include "core/config.h"
#include "core/params.h"
#include "kernels/ops.h"

typedef struct mb_model mb_model; /* opaque; immutable after creation, shared by any number of runs */

typedef struct mb_model_options {
    const char *device; /* "cpu" (default when NULL) or "ref" */
    mbk_precision precision;
    int tile; /* rows of a tile; 0 = the model's own */
} mb_model_options;

/* model: a folder, a file or a hub name (mb_hub_resolve). On failure *out is NULL and e says why. */
int mb_model_open(mb_model **out, const char *model, const mb_model_options *o, mb_err *e) MB_MUST_USE;
/* The same from parts; takes ownership of params in every case. */
int mb_model_create(mb_model **out, const mb_config *c, mb_params *params, const mb_model_options *o,
                    mb_err *e) MB_MUST_USE;
void mb_model_destroy(mb_model *m); /* NULL is fine */

const mb_config *mb_model_config(const mb_model *m);
const mb_params *mb_model_params(const mb_model *m);
const char *mb_model_source(const mb_model *m); /* folder or file it was read from, "" when seeded */
const char *mb_model_weights_path(const mb_model *m);
int mb_model_tile(const mb_model *m);
int mb_model_width(const mb_model *m); /* columns of a hidden row as users see it: D, or 2D for RC-equivariant models */
int mb_model_strands(const mb_model *m); /* 2 for RC-equivariant models: each runs as a sequence of its own */
int mb_model_is_causal(const mb_model *m);
size_t mb_model_bytes(const mb_model *m); /* weights and packed copies */
const mbk_ops *mb_model_ops(const mb_model *m);
#endif
