/* One tile through one pass: the inside of every run (forward, session). Not for front ends.
 *
 * A lane is one strand of one sequence. Its tiles lie on a grid of model->tile rows from its own start. A pass takes
 * the tiles in its direction; turn k is the k-th of them. */
#ifndef MB_TILE_H
#define MB_TILE_H
#include "core/forward.h"
#include "core/model_internal.h"
#include "core/passes.h"
#include "core/stream.h"

/* Everything carried from tile to tile in one pass of one lane. */
typedef struct mb_carry_set {
    mb_slot *slot;  /* slots of all ops of the pass, then one per tap for the order of delivery */
    int *first;     /* first slot of each op of the pass */
    int sink_first; /* slot of tap 0 */
    int n_slots;
    float *data;
    size_t floats; /* in use in this pass */
    mb_arena arena;
} mb_carry_set;

typedef struct mb_lane {
    const mb_sequence *sequence;
    int index;      /* of the sequence in the call */
    int strand;     /* 0 or 1 (reverse complement) */
    int64_t base;   /* added to delivered positions (sessions) */
    int64_t length; /* rows */
    int64_t tiles;
    mb_stream *stream; /* NULL when the model needs one pass */
    mb_carry_set *carry;
} mb_lane;

/* What all workers of a run share. */
typedef struct mb_runner {
    const mb_model *m;
    mb_passes passes;
    int n_run;      /* blocks that run */
    const int *tap; /* layers to deliver, ascending */
    int n_taps;
    int outputs;  /* taps between layers deliver what the layer before added */
    int kept;     /* what two-phase layers keep per row */
    size_t saved; /* floats per row between passes, the most of any layer */
    const mb_sink *sink;
    mb_progress *progress;
    double progress_share; /* of a row in one pass */
    const atomic_int *user_stop;
    atomic_int stop; /* an error happened, or the user asked */
    pthread_mutex_t lock;
    mb_err err; /* the first error, under lock */
} mb_runner;

typedef struct mb_worker { /* one thread's memory */
    mbk_ctx ctx;
    int32_t *token; /* (T) */
    float *record;  /* T*(D+saved): for lanes whose record is not in memory */
    float *u;       /* (T,D) */
    float *out;     /* (T,D) */
    float *turned;  /* (T,D) rows put back into the forward frame */
    float *scratch;
} mb_worker;

/* layers: at least one, borrowed; MB_RANGE unless ascending and within 0..n_layer. */
int mb_runner_init(mb_runner *r, const mb_model *m, const int *layers, int n_layers, int kept, mb_err *e) MB_MUST_USE;
void mb_runner_fini(mb_runner *r);
/* Records an error of a worker and stops the others. */
void mb_runner_fail(mb_runner *r, int status, const mb_err *e);
int mb_runner_stopped(mb_runner *r);

size_t mb_record_floats(const mb_runner *r);
size_t mb_worker_bytes(const mb_runner *r);
/* Carves one worker out of an arena (measuring when the arena is). */
void mb_worker_carve(mb_worker *w, const mb_runner *r, mb_arena *a, int number);

size_t mb_carry_set_bytes(const mb_runner *r); /* most of any pass */
int mb_carry_set_create(mb_carry_set **out, const mb_runner *r, mb_err *e) MB_MUST_USE;
void mb_carry_set_destroy(mb_carry_set *s);
/* Lays out the slots of a pass, zeroes states, sets all turns to 0. */
void mb_carry_set_start(mb_carry_set *s, const mb_runner *r, int pass);
/* Turns to 0, states kept (sessions). */
void mb_carry_set_rewind(mb_carry_set *s);

void mb_lane_init(mb_lane *l, const mb_runner *r, const mb_sequence *seq, int index, int strand);
/* Runs the tile whose turn it is; errors go to the runner. */
void mb_tile_run(mb_runner *r, mb_worker *w, mb_lane *lane, int pass, int64_t turn);
#endif
