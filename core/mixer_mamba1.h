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

typedef struct mamba {
    mb_mixer base;
    const mbk_ops *ops;
    int D, E, N, K, R, X; /* X = R + 2N */
    int n_dir, tied, multiply, blocks;
    size_t bytes; /* of dir's copies and packed weights */
    mamba_dir dir[2];
} mamba;

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
#endif
