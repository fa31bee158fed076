/* What a recommender is trained on: the training events of a log cut into windows, and batches of them.
 *
 * positions: a causal model reads a window once and answers at every row: row t is asked for the event after t. A
 * user's n training events are n-1 rows, cut from the latest on into windows of at most `window` rows; each but a
 * user's earliest begins with `overlap` rows that are read only, so no event is asked for without what came before.
 * windows: RecBole's augmentation: each event but a user's first is asked for once, at the last row of a window of the
 * `window` events before it.
 * Either way each training event but a user's first is a target exactly once an epoch; nothing of validation and test
 * is ever read.
 *
 * An epoch is a permutation that follows from (seed, epoch); a step takes the next `batch` windows, the last step of an
 * epoch what is left; negatives follow from (seed, step, place in the step). So a batch is a function of seed and step
 * alone. */
#ifndef REC_BATCHES_H
#define REC_BATCHES_H
#include "core/gradient.h"
#include "core/row_loss.h"
#include "recsys/split.h"

typedef enum rec_batch_mode { REC_POSITIONS, REC_WINDOWS } rec_batch_mode;
#define REC_BATCH_MODE_CHOICES "positions|windows"
typedef enum rec_draw { REC_DRAW_UNIFORM, REC_DRAW_POPULARITY } rec_draw;
#define REC_DRAW_CHOICES "uniform|popularity"

typedef struct rec_batches_options {
    int mode;                /* rec_batch_mode */
    int64_t window;          /* rows of a window at most; 0: as long as histories are */
    int64_t overlap;         /* positions: 0 <= overlap < window */
    int64_t batch;           /* windows of a step; 0: by batch_positions */
    int64_t batch_positions; /* targets of a step, about */
    uint64_t seed;
    int negatives;  /* drawn for each target; 0: none */
    int draw;       /* rec_draw */
    int spare_user; /* 1: no negative is among its user's training events; 0: only the target is spared */
    int corrected;  /* 1: rec_batch.correction */
} rec_batches_options;

typedef struct rec_window {
    int64_t from; /* first event */
    int64_t n;    /* rows: events from .. from+n-1 are read, from+1 .. from+n can be targets */
    int64_t skip; /* rows at the beginning that are no targets */
} rec_window;

typedef struct rec_batch {
    int n;             /* windows */
    int64_t first_row; /* of the step's rows: those of earlier parts come before it */
    int64_t rows, targets;
    int64_t *length;   /* (n) */
    int32_t *token;    /* (rows) */
    int64_t *row;      /* (targets) */
    int32_t *target;   /* (targets) */
    int32_t *negative; /* (targets, negatives) */
    float *correction; /* (targets, negatives) -log(negatives * chance of drawing it) */
    int64_t windows_room, rows_room, targets_room;
} rec_batch;

typedef struct rec_batches {
    const rec_view *view; /* borrowed */
    rec_batches_options o;
    rec_window *window;                              /* (n) */
    int32_t *user;                                   /* (n) */
    int64_t n, rows, targets, longest, batch, steps; /* windows; of an epoch; windows and steps */
    int64_t *order;                                  /* (n) of epoch `epoch` */
    int64_t epoch;
    int32_t *known; /* (events) each user's training items, sorted; spare_user */
    int64_t *mass;  /* (items+1) training events of items 1 .. i; popularity */
    const rec_split *split;
} rec_batches;

/* MB_FORMAT when there is nothing to train on. log and split must outlive it. */
int rec_batches_create(rec_batches **out, const rec_log *l, const rec_split *s, const rec_batches_options *o,
                       mb_err *e) MB_MUST_USE;
void rec_batches_destroy(rec_batches *b); /* NULL is fine */
/* Part `part` of `parts` of a step. to: zeroed at first, used again and again; rec_batch_fini at the end. A part may be
 * empty (n = 0). Not from two threads at once. */
int rec_batches_fill(rec_batches *b, int64_t step, int part, int parts, rec_batch *to, mb_err *e) MB_MUST_USE;
/* The window that a step begins with, for messages. */
int rec_batches_first(rec_batches *b, int64_t step, rec_window *w, int32_t *user);
void rec_batch_fini(rec_batch *b);
size_t rec_batches_bytes(const rec_batches *b);
#endif
