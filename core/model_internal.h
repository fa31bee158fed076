/* What model.c shares with the runners (forward, session, head) and nobody else. */
#ifndef MB_MODEL_INTERNAL_H
#define MB_MODEL_INTERNAL_H
#include <pthread.h>

#include "core/mixer.h"
#include "core/model.h"

/* Heads are prepared at first use: many runs need none. [1] holds the rows for the columns [D,2D): complement tokens,
 * channels reversed. The only part of a model that changes after creation, under its lock. */
typedef struct mb_heads {
    pthread_mutex_t lock;
    mbk_linear *head[2];
    mbk_linear *back[2]; /* training only */
    float *w[2];         /* (V,D), only where it is not params->head_w itself */
} mb_heads;

struct mb_model {
    mb_config config;
    mb_params *params;
    const mbk_ops *ops;
    mbk_precision precision;
    int tile;
    mb_mixer **mixer; /* n_layer */
    float *norm_f_w;  /* (D) final norm as a strand needs it: channels reversed when the strands end swapped */
    float *norm_f_b;  /* (D) or NULL */
    char *source, *weights_path;
    size_t bytes; /* held by mixers, besides the parameters */
    mb_heads *heads;
};

mb_heads *mb_heads_create(mb_err *e);
void mb_heads_destroy(mb_heads *h, const mbk_ops *ops); /* NULL is fine */
/* Prepares (once, thread-safe) and returns the head for a half; NULL with e set on failure. */
const mbk_linear *mb_model_head(const mb_model *m, int half, mb_err *e);
/* 1 when the stream entering layer l (n_layer = after the last) has its strand halves swapped. */
int mb_model_halves_swapped(const mb_model *m, int layer);
/* Makes the head's transposed product too (gradients of hidden rows), once; NULL with e set on failure. */
const mbk_linear *mb_model_head_back(const mb_model *m, int half, mb_err *e);
/* Takes everything again from the parameters, whose values have changed. Not while the model runs. */
int mb_model_refresh(mb_model *m, int threads, mb_err *e) MB_MUST_USE;
int mb_heads_refresh(const mb_model *m);
/* One token's logits on a team: this worker's rows. */
int mb_model_head_step(const mb_model *m, const mbk_linear *head, int worker, int workers, const float *x,
                       float *logits);
#endif
