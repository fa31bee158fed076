/* A mixer is the sequence operation inside a block (core/blocks.h): x += mixer(norm(x)), and what stands around the
 * mixer otherwise. Everything outside (the stack, sweeps, sessions, training) sees only this interface; a new mixer is
 * one file and one row in mb_mixer_class_of.
 *
 * A sequence is cut into tiles of at most mb_model_tile() rows on a fixed grid from its start. A mixer with one phase
 * needs each tile once, in its direction; one with two phases (bidirectional) sees all tiles in one direction, keeps
 * something per row, then sees them all in the other direction and finishes. Recurrent state passes from tile to tile
 * through carry slots: tiles are taken by workers in order, each runs on one worker from beginning to end, and a
 * worker waits at a slot until the tile before has left its state there. Nothing depends on the number of workers. */
#ifndef MB_MIXER_H
#define MB_MIXER_H
#include <stdatomic.h>
#include <stdint.h>
#include "core/config.h"
#include "core/mem.h"
#include "core/params.h"
#include "kernels/ops.h"

typedef enum mb_direction { MB_LEFT_TO_RIGHT = 0, MB_RIGHT_TO_LEFT = 1 } mb_direction;
typedef enum mb_needs { MB_ANY_ORDER, MB_CAUSAL_ORDER, MB_BOTH_WAYS } mb_needs;

/* State handed from tile to tile of one sequence in one layer and direction. A cache line each: the worker that polls
 * one slot does not slow down the worker that passes another. */
enum { MB_CACHE_LINE = 64 };
typedef struct mb_slot {
    _Alignas(MB_CACHE_LINE) _Atomic int64_t turn; /* how many tiles have passed; the tile whose turn it is may read and
                                                   * write data */
    float *data;                                  /* begins a cache line; zero before the first tile */
} mb_slot;

typedef struct mb_carry {
    mb_slot *slot;          /* mb_mixer_slots() of them */
    int64_t turn;           /* position of this tile in its pass, from 0 */
    const atomic_int *stop; /* set when any worker failed: waiting ends with MB_STOPPED */
} mb_carry;

/* Waits for the slot's turn and returns its data; NULL when the run was stopped. */
float *mb_carry_wait(const mb_carry *c, int slot);
/* Lets the next tile have the slot. */
void mb_carry_pass(const mb_carry *c, int slot);

typedef struct mb_mixer mb_mixer; /* each class has its own struct, beginning with mb_mixer_base */

typedef struct mb_mixer_tile {
    const mbk_ctx *ctx;
    int rows;
    int64_t from; /* position of row 0 in the strand; in a session counted from its start */
    mb_direction direction;
    int phase;      /* 0 .. phases-1 */
    const float *u; /* (rows,D) normalised input; NULL in phase 1 of a kept tile whose class keeps more than lean */
    float *saved;   /* (rows * saved floats): written by phase 0, read by phase 1 */
    int kept;       /* saved holds everything (1) or the lean part only (0; u is given again) */
    float *out;     /* (rows,D) the mixer's output; last phase only */
    mb_carry carry;
    float *scratch; /* mb_mixer_class.scratch_floats(rows), 64-byte aligned */
} mb_mixer_tile;

typedef struct mb_team mb_team; /* core/team.h */

/* One token on a team of workers, each on a thread of its own; every worker calls with its own index, and comes to
 * every meeting also after an error of its own. */
typedef struct mb_step {
    mb_team *team;
    int worker, workers;
    int64_t position; /* of the token */
    const float *u;   /* (D) normalised input: the same numbers for all workers, each with its own copy */
    float *out;       /* (D) shared, 64-byte aligned; complete for all workers when step returns. Still read by others
                       * (it held the output of the layer before) until this step's first meeting */
    float *const *state; /* data of each slot of phase 0 */
    float *scratch;      /* shared, 64-byte aligned, scratch_floats(1); free for all once step returns */
} mb_step;

/* ---- training (driven by core/gradient.h) ---------------------------------------------------------------------------
 * A whole batch at once: the rows of its lanes (a lane: one strand of one sequence) lie one after the other. The work
 * of a layer is cut into stages and each stage into items that need nothing of each other; items run in any order on
 * any worker, and a stage begins when the one before is done. What items write is added up in an order of its own, so
 * no bit depends on the number of workers; a GPU takes the same cut. */
typedef struct mb_batch_tile { /* rows of the model's tile grid */
    int lane, rows;
    int64_t at; /* first row in the arrays of the batch */
} mb_batch_tile;

typedef struct mb_batch_rows {
    int lanes, tiles;
    int64_t rows;
    const int64_t *lane_at;    /* (lanes+1) first row of each lane */
    const int *lane_tile;      /* (lanes+1) its first tile */
    const mb_batch_tile *tile; /* (tiles) in order */
} mb_batch_rows;

/* Dropout of a training batch: a function of the key, the site and the place in the batch alone (kernels/dropout.h). */
typedef struct mb_dropout {
    float rate; /* 0: none */
    uint32_t key[2];
    int64_t first_row; /* of the batch's rows, in an order that is not this batch's alone */
} mb_dropout;

typedef struct mb_train_layer {
    const mb_batch_rows *b;
    const mb_dropout *dropout; /* NULL: none. The mixer's own, inside; what it puts out is dropped outside */
    uint32_t site;             /* of it */
    mb_direction first;        /* which way phase 0 runs, as in mb_passes */
    const float *u;            /* (rows,D) normalised input */
    float *out;                /* (rows,D) written by the forward stages */
    const float *d_out;        /* (rows,D) dLoss/d out */
    float *d_u;                /* (rows,D) written by the backward stages */
    float *states;             /* state_floats: from the forward stages to the backward ones, never written between */
    float *space;              /* space_floats: as the forward stages of this layer left it */
    const float *carry_in; /* (lanes, carry_floats) state before each lane; NULL: zeros. No gradient flows into it */
    float *carry_out;      /* (lanes, carry_floats) state after each lane, written by the forward stages; or NULL */
    mb_layer_params *grad; /* added to; its pointers are to memory that may be written */
} mb_train_layer;

typedef struct mb_mixer_training {
    int forward_stages, backward_stages; /* numbered through, forward first */
    /* Forward stages to run again, from the first, for the space to hold what the backward stages read. */
    int (*again_stages)(const mb_mixer *m);
    /* Makes what only training needs; p outlives it, and may change when refresh is called after. */
    int (*prepare)(mb_mixer *m, const mb_layer_params *p, mb_err *e);
    int (*refresh)(mb_mixer *m, const mb_layer_params *p);
    size_t (*state_floats)(const mb_mixer *m, const mb_batch_rows *b);
    size_t (*space_floats)(const mb_mixer *m, const mb_batch_rows *b);
    size_t (*scratch_floats)(const mb_mixer *m, int tile); /* of one worker */
    size_t (*carry_floats)(const mb_mixer *m);             /* of one lane; 0: cannot go on after the end of a batch */
    int (*items)(const mb_mixer *m, const mb_batch_rows *b, int stage);
    int (*item)(const mb_mixer *m, const mb_train_layer *t, int stage, int item, const mbk_ctx *ctx, float *scratch);
} mb_mixer_training;

typedef struct mb_mixer_class {
    const char *name;
    mb_needs needs;
    int phases;
    int (*create)(mb_mixer **out, const mb_config *c, const mb_layer_params *p, const mbk_ops *ops,
                  mbk_precision precision, int tile, mb_err *e);
    void (*destroy)(mb_mixer *m);
    size_t (*bytes)(const mb_mixer *m); /* memory it holds besides its parameters (folded and packed copies) */
    int (*slots)(const mb_mixer *m, int phase);
    size_t (*slot_floats)(const mb_mixer *m, int phase, int slot);
    size_t (*saved_floats)(const mb_mixer *m, int kept); /* per row, between the phases; 0 for one phase */
    size_t (*scratch_floats)(const mb_mixer *m, int rows);
    int (*run)(const mb_mixer *m, const mb_mixer_tile *t);
    /* One token on a team of workers; NULL when the mixer needs both ways. See core/session.h. */
    int (*step)(const mb_mixer *m, const mb_step *s);
    const mb_mixer_training *training; /* NULL: cannot be trained */
} mb_mixer_class;

struct mb_mixer {
    const mb_mixer_class *class;
};

extern const mb_mixer_class mb_mamba1_class, mb_bimamba1_class;
extern const mb_mixer_class mb_ffn_class; /* the feed-forward part of a layer */
const mb_mixer_class *mb_mixer_class_of(mb_mixer_kind kind);
#endif
