/* The one list of parameters: name in the files of each family, shape, place in mb_params, how it is drawn, how the
 * strand swap folds it. Loading, seeding, saving and counting all walk it. */
#ifndef MB_PARAMS_TABLE_H
#define MB_PARAMS_TABLE_H
#include <stddef.h>

#include "core/params.h"

enum { MB_PARAM_NAME = 128, MB_PARAM_OTHERS = 2 };

typedef enum mb_param_fold { /* of a layer that the strand swap turns round; each undoes itself */
                             MB_FOLD_NONE,
                             MB_FOLD_VECTOR,  /* (n): reversed */
                             MB_FOLD_COLUMNS, /* (m,n): every row reversed */
                             MB_FOLD_ROWS     /* (m,n): the order of the rows reversed */
} mb_param_fold;

typedef enum mb_param_fill {
    MB_FILL_ZERO,
    MB_FILL_ONE,
    MB_FILL_CONSTANT, /* scale */
    MB_FILL_UNIFORM,  /* in +-scale */
    MB_FILL_NORMAL,   /* mean 0, standard deviation scale */
    MB_FILL_A_LOG,    /* (E,N): ln(n+1) */
    MB_FILL_DT_BIAS   /* softplus^-1 of a step size drawn log-uniformly */
} mb_param_fill;

typedef struct mb_param {
    char name[MB_PARAM_NAME];                   /* in the family's files */
    char other[MB_PARAM_OTHERS][MB_PARAM_NAME]; /* names some files have instead; "" none */
    int index;                                  /* in the walk, from 0 */
    int alias_of;                               /* -1, or the earlier index that this one is; files may drop it */
    int kept;                                   /* an alias that the family's files repeat */
    int ndim;
    int64_t shape[3], count;
    int layer, dir; /* where in mb_params; -1 outside layers / mixers */
    size_t offset;  /* of the pointer, in mb_params, mb_layer_params or mb_mamba1_params */
    mb_param_fold fold;
    mb_param_fill fill;
    double scale;
} mb_param;

/* Visits every parameter, an alias after what it is an alias of; stops at a status other than MB_OK and returns it. */
int mb_params_walk(const mb_config *c, int (*visit)(void *user, const mb_param *p), void *user);
/* The pointer in p that this parameter is, and the one it is an alias of. */
const float **mb_param_place(mb_params *p, const mb_param *i);
const float **mb_param_origin(mb_params *p, const mb_param *i);
/* Upper bound of the number of parameters a walk visits. */
int mb_params_most(const mb_config *c);
/* Checkpoints of more numbers than this stay in their mapped file where they can; tests change it. */
extern int64_t mb_params_copy_most;
/* Applies or undoes the fold, in place. */
void mb_param_turn(const mb_param *i, float *v);

/* Whole mb_params: layers allocated, everything else zero. pool_floats: room for copies, 0 for none. */
int mb_params_create(mb_params **out, const mb_config *c, size_t pool_floats, mb_err *e) MB_MUST_USE;
/* Room for n floats of the pool, 64-byte aligned. */
float *mb_params_take(mb_params *p, int64_t n);
/* Floats of the pool that take(n) uses. */
size_t mb_params_room(int64_t n);
/* All of the pool: every parameter once, in the order of the walk, each on its own 64-byte lines, zeros between. */
float *mb_params_pool(mb_params *p, size_t *floats);
/* Keeps mapped files alive as long as p; bytes is taken over. */
void mb_params_keep(mb_params *p, mb_weights_bytes *bytes);

/* Names of the two buffers complement_map of RC-equivariant Caduceus; 0 when the model has none. */
int mb_params_buffer(const mb_config *c, int which, char name[MB_PARAM_NAME]);
#endif
