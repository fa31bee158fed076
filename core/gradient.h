/* Forward and backward through a whole model over a batch of sequences, exactly.
 *
 *     mb_gradient_forward(g, &batch)      hidden rows after the final norm
 *     an objective (core/lm_loss.h, ...)  dLoss/d hidden, and the gradients of its own head
 *     mb_gradient_backward(g)             gradients of all parameters, added to what is there
 *
 * Sequences of any lengths lie one after the other, without padding; an RC-equivariant model has two lanes for each,
 * the strand and its reverse complement. Kept are the stream at the edges of layers and the recurrent state at the
 * edges of tiles; the rest of a layer is computed again when its gradient is due, unless the memory budget allows to
 * keep it (the bits are the same). The result does not depend on the number of threads nor on the budget. */
#ifndef MB_GRADIENT_H
#define MB_GRADIENT_H
#include "core/mixer.h"
#include "core/model.h"

typedef struct mb_gradient mb_gradient;

typedef struct mb_gradient_options {
    int threads;    /* > 0 */
    int64_t memory; /* bytes for activations; 0 = 80 % of what is available. More is taken when the least is more */
    int strands; /* 1: RC-equivariant models run over the given strand alone, one lane a sequence; 0: all they have */
} mb_gradient_options;

typedef struct mb_batch {
    int n;
    const int64_t *length; /* (n) >= 1 */
    const int32_t *token;  /* (sum of lengths) */
    /* Truncated back-propagation, causal models only: 1 = carry states. Sequence i goes on where sequence i of the last
     * carrying batch ended if `continues` is 1, and begins anew if it is 0; the gradient ends at the seam. The number
     * of sequences must then be the same. Batches that do not carry in between change nothing. */
    int carries, continues;
    /* The input rows themselves (sum of lengths, D), in the place of the embedding of tokens; token is NULL then. */
    const float *row;
    /* Dropout, where the model's layers have it (core/config.h): which elements fall is a function of seed, step and
     * the place in the batch alone, counted in rows from first_row on, so a batch may be cut into several at will. 0:
     * none, as everywhere outside of training. */
    struct {
        float rate; /* 0 .. 0.999 */
        uint64_t seed, step;
        int64_t first_row; /* >= 0; of the rows of lanes */
    } dropout;
} mb_batch;

typedef struct mb_gradient_plan {
    int64_t rows;         /* of all lanes */
    int64_t least, bytes; /* what is needed; what will be taken within the budget */
    int kept_layers;      /* blocks (core/blocks.h) whose insides are kept */
} mb_gradient_plan;

/* A model whose parameters may change: params must come from mb_params_clone or mb_params_seed (all in one pool). Takes
 * params over in every case. The gradient holds the model and its own gradients, zero at first. */
int mb_gradient_create(mb_gradient **out, const mb_config *c, mb_params *params, const mb_model_options *mo,
                       const mb_gradient_options *o, mb_err *e) MB_MUST_USE;
void mb_gradient_destroy(mb_gradient *g); /* NULL is fine */

/* The model for other runs between steps (evaluation); its parameters and the sums of gradients, in pools of one
 * layout. */
mb_model *mb_gradient_model(mb_gradient *g);
mb_params *mb_gradient_sums(mb_gradient *g);
/* After parameters were changed. */
int mb_gradient_refresh(mb_gradient *g, mb_err *e) MB_MUST_USE;
void mb_gradient_zero(mb_gradient *g);

/* The carried states, for checkpoints: *n floats, 0 when there are none. set: as they were got. */
const float *mb_gradient_carried(const mb_gradient *g, size_t *n);
/* Takes back what the last batch carried on, after a step that is not to count. */
void mb_gradient_uncarry(mb_gradient *g);
int mb_gradient_set_carried(mb_gradient *g, const float *state, size_t n, mb_err *e) MB_MUST_USE;

/* What a batch of these lengths takes. */
int mb_gradient_plan_make(const mb_gradient *g, const int64_t *length, int n, mb_gradient_plan *plan,
                          mb_err *e) MB_MUST_USE;
int mb_gradient_forward(mb_gradient *g, const mb_batch *b, mb_err *e) MB_MUST_USE;
int mb_gradient_backward(mb_gradient *g, mb_err *e) MB_MUST_USE;

/* Between forward and backward, for objectives. Lane s of sequence i is number i * strands + s; strand 1 lies in its
 * own order: row j is position length-1-j. hidden, d_hidden: (rows,D); d_hidden is to be written whole. */
const mb_batch_rows *mb_gradient_rows(const mb_gradient *g);
const float *mb_gradient_hidden(const mb_gradient *g);
float *mb_gradient_d_hidden(mb_gradient *g);
int mb_gradient_threads(const mb_gradient *g);
int mb_gradient_strands(const mb_gradient *g); /* lanes of a sequence */
/* After backward: dLoss/d input rows, (rows,D): of batch.row, or of scale E[token]; until the next batch. */
const float *mb_gradient_d_input(const mb_gradient *g);

/* Memory for objectives, kept from batch to batch (making it anew would clear it anew): at least `bytes` to carve, of
 * any contents; until the next call. */
int mb_gradient_borrow(mb_gradient *g, size_t bytes, mb_arena *out, mb_err *e) MB_MUST_USE;

/* Runs items 0..n-1 on the workers, in any order; ends with the error of the first item that failed. */
typedef int mb_gradient_item(void *user, int item, const mbk_ctx *ctx);
int mb_gradient_each(mb_gradient *g, int n, mb_gradient_item *run, void *user, const char *what, mb_err *e) MB_MUST_USE;
#endif
