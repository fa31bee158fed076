/* What model.c shares with the runners (forward, session, head) and nobody else. */
#ifndef MB_MODEL_INTERNAL_H
#define MB_MODEL_INTERNAL_H
#include <pthread.h>

#include "core/blocks.h"
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

typedef struct mb_edge { /* before a block, and after the last (core/blocks.h) */
    mb_edge_norm norm;
    mb_past past; /* what flows past the block after it */
    int adds;     /* 1: the output of the block before is added to the stream; 0: takes its place */
} mb_edge;

struct mb_model {
    mb_config config;
    int blocks;
    mb_edge *edge; /* (blocks+1) */
    mb_params *params;
    const mbk_ops *ops;
    mbk_precision precision;
    int tile;
    mb_mixer **mixer; /* (blocks) */
    float *norm_f_w;  /* (D) final norm as a strand needs it: channels reversed when the strands end swapped; or NULL */
    float *norm_f_b;  /* (D) or NULL */
    char *source, *weights_path;
    size_t bytes; /* held by mixers, besides the parameters */
    mb_heads *heads;
};

/* ---- rows at the edges (edge.c), on the calling thread: (rows,D), contiguous
 * ------------------------------------------
 */
int mb_model_edges_make(mb_model *m, mb_err *e);
/* x = scale E[token] + P[position..]; token NULL: x + P. MB_RANGE: a token outside the vocabulary, no such position. */
int mb_input_rows(const mb_model *m, const mbk_ctx *ctx, int rows, const int32_t *token, int64_t position, float *x);
/* x is the stream before the block that ended at this edge, out that block's output (NULL: the stream is whole
 * already). x becomes what flows past the next block, *u what its mixer reads (after the last: the hidden rows): x or
 * buffer. */
int mb_edge_arrive(const mb_model *m, int edge, const mbk_ctx *ctx, int rows, float *x, const float *out, float *buffer,
                   const float **u);
/* The sum alone: what a later mb_edge_arrive at this edge, with out NULL, goes on from. */
int mb_edge_settle(const mb_model *m, int edge, const mbk_ctx *ctx, int rows, float *x, const float *out);
/* *u again, of a stream that has arrived. */
int mb_edge_again(const mb_model *m, int edge, const mbk_ctx *ctx, int rows, const float *x, float *buffer,
                  const float **u);
/* A norm of the model's kind, x and y still to be set. */
mbk_norm mb_norm_of(const mb_model *m, mb_edge_norm norm, int rows);

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
