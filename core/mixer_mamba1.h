/* The inside of the Mamba-1 mixers, for mixer_mamba1.c (running) and mixer_mamba1_train.c (gradients). */
#ifndef MB_MIXER_MAMBA1_H
#define MB_MIXER_MAMBA1_H
#include "core/mixer.h"

enum { CHANNEL_BLOCK = 128 }; /* multiple of MBK_SCAN_LANES */

typedef struct mamba_dir { /* what the scan of one direction needs */
    float *conv_w;         /* (K,E) */
    const float *conv_b;   /* (E) or NULL */
    float *a2;             /* (N,E) = -exp(A_log) * log2 e */
    const float *dt_b;     /* (E) */
    const float *skip;     /* (E) */
    mbk_linear *x_proj;    /* E -> R+2N */
    mbk_linear *dt_proj;   /* R -> E */
    mbk_linear *in_proj;   /* D -> 2E; of the second direction NULL when tied */
    mbk_linear *out_proj;  /* E -> D; likewise */
    const float *in_b, *out_b;
} mamba_dir;

typedef struct mamba_back { /* gradients of inputs: the same weights, transposed; NULL until training is prepared */
    mbk_linear *x_proj, *dt_proj, *in_proj, *out_proj;
} mamba_back;

typedef struct mamba {
    mb_mixer base;
    const mbk_ops *ops;
    int D, E, N, K, R, X; /* X = R + 2N */
    int n_dir, tied, multiply, blocks;
    size_t bytes; /* of dir's copies and packed weights */
    mbk_precision precision;
    int tile;
    mamba_dir dir[2];
    mamba_back back[2];
} mamba;

typedef struct mamba_scan_arrays { /* of a tile, all channels */
    const float *conv, *dt, *xdbl; /* (rows,E) (rows,E) (rows,X) */
    float *y;                      /* (rows,E) */
} mamba_scan_arrays;

static inline const mamba *as_mamba(const mb_mixer *m) {
    return (const mamba *)(const void *)m;
}

static inline int joined(const mamba *m) /* both directions share one gate and one out_proj */
{
    return m->n_dir == 2 && m->tied && !m->multiply;
}

static inline int block_channels(const mamba *m, int block) {
    int left = m->E - block * CHANNEL_BLOCK;
    return left < CHANNEL_BLOCK ? left : CHANNEL_BLOCK;
}

int mb_mamba1_create(mb_mixer **out, const mb_config *c, const mb_layer_params *p, const mbk_ops *ops,
                     mbk_precision precision, int tile, mb_err *e);
void mb_mamba1_destroy(mb_mixer *mixer);
/* Y = X W^T + b: rows start as the bias, the product is accumulated onto them. bias: (n_out) or NULL. */
int mb_mamba1_project(const mamba *m, const mbk_ctx *ctx, const mbk_linear *w, const float *bias, int n_out, int rows,
                      const float *x, float *y);
/* The scan of some channels of a tile; state (N,channels), contiguous. */
mbk_scan mb_mamba1_scan_of(const mamba *m, const mamba_dir *d, const mamba_scan_arrays *a, int rows, int from,
                           int channels, float *state);
int mb_mamba1_prepare(mb_mixer *mixer, const mb_layer_params *p, mb_err *e);
int mb_mamba1_refresh(mb_mixer *mixer, const mb_layer_params *p);
extern const mb_mixer_training mb_mamba1_training;
#endif
