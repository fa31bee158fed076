/* Batches of windows of a corpus: what a training step sees, as a function of (seed, step, index of the window) alone,
 * never of threads or of what was drawn before, so that a run can be resumed at any step and shared among ranks. */
#ifndef DNA_WINDOWS_H
#define DNA_WINDOWS_H
#include "genomics/masking.h"
#include "genomics/splits.h"

typedef struct dna_window {
    int64_t contig, start, length; /* 0-based, on the contig; file and name by the corpus */
    char strand;                   /* '-': the tokens are the reverse complement of these bases */
    int drawn;                     /* how often, for the share of N; 1 = once */
} dna_window;

/* Sequences one after the other, without padding. Rooms are taken once and used again for each batch. */
typedef struct dna_train_batch {
    int n;
    int64_t *length;    /* (n) */
    int32_t *token;     /* (tokens) */
    int32_t *target;    /* (tokens), DNA_IGNORE where there is no loss */
    float *weight;      /* (tokens), of the loss, 0 where there is no target; NULL: all targets weigh 1 */
    dna_window *window; /* (n): where each comes from */
    int64_t tokens;
    dna_mask_sums sums; /* with no targets the step has nothing to learn from: loss is 0, not 0/0 */
    int room_n;
    int64_t room_tokens;
} dna_train_batch;

/* weights: whether there is room for them; without, soft_weight must be 1 or nothing be soft-masked. */
int dna_train_batch_create(dna_train_batch *b, int n, int64_t tokens, int weights, mb_err *e) MB_MUST_USE;
void dna_train_batch_fini(dna_train_batch *b);
/* "x.fa: chr1:101-200(-)", positions counted from 1. Returns out. */
char *dna_window_place(const dna_corpus *c, const dna_window *w, char *out, size_t size);

typedef struct dna_windows_options {
    uint64_t seed;
    int64_t length;        /* bases of a window; > 0 */
    int64_t min_length;    /* lengths are uniform in [min_length, length]; 0 = length: fixed */
    int64_t batch_windows; /* windows of a step; 0: as many as batch_tokens hold */
    int64_t batch_tokens;  /* windows 0, 1, ... of a step while they fit, but at least one; as it is the long ones that
                              do not fit, they are rarer by a share of about length / batch_tokens */
    int64_t chain;         /* 0, 1: each step draws anew. More: window i of a step goes on where that of the step before
                            * ended, for so many steps (truncated back-propagation with carried state); fixed lengths */
    double reverse; /* chance of the reverse strand; 0.5 for models that are not equivariant, 0 for those that are */
    double most_n;  /* windows with a larger share of N and its like are drawn again ... */
    int tries;      /* ... until so many were drawn; the last is taken. > 0 */
    double alpha;   /* files weigh (window starts)^alpha: 1 = all starts of all files alike, 0 = files alike */
} dna_windows_options;

typedef struct dna_windows dna_windows;

/* part: the stretches to draw from. A window of length l is equally likely to begin at each base of a file where it
 * fits into a stretch. corpus, part and m->alphabet are borrowed until destroy. Refused: options out of range, no
 * stretch that holds a window of the greatest length. */
int dna_windows_create(dna_windows **out, const dna_corpus *c, const dna_split_part *part, const dna_masking *m,
                       const dna_windows_options *o, mb_err *e) MB_MUST_USE;
void dna_windows_destroy(dna_windows *w); /* NULL is fine */
/* Different windows of this length that can be drawn, one strand counted. */
int64_t dna_windows_starts(const dna_windows *w, int64_t length);
/* Windows of this step's batch. */
int dna_windows_count(const dna_windows *w, uint64_t step);
/* 1 when the windows of this step go on where those of the step before ended. */
int dna_windows_continue(const dna_windows *w, uint64_t step);
dna_window dna_windows_draw(const dna_windows *w, uint64_t step, int index);
/* A batch with room for every step. */
int dna_windows_batch(const dna_windows *w, dna_train_batch *b, mb_err *e) MB_MUST_USE;
/* Windows first .. first+n-1 of the step: all of them, or one rank's or micro-batch's share. Thread-safe with one batch
 * a thread. */
void dna_windows_fill(const dna_windows *w, uint64_t step, int first, int n, dna_train_batch *b);

/* Windows to measure on: the same, masked in the same way, at every evaluation. */
typedef struct dna_grid {
    dna_window *window; /* (n), by place, forward strand */
    int64_t n, tokens, longest;
    int64_t of; /* windows that the whole part would have given */
} dna_grid;

/* Side by side from the start of each stretch, `length` bases each; a stretch of [min_length, length) bases is one
 * window. Those with a share of N above most_n are not taken, unless all are. More than `most` (0: no limit) are
 * thinned evenly. */
int dna_grid_make(dna_grid *g, const dna_corpus *c, const dna_split_part *part, int64_t length, int64_t min_length,
                  int64_t most, double most_n, mb_err *e) MB_MUST_USE;
void dna_grid_fini(dna_grid *g);
/* Windows from number `first` on, while they fit into b (its room holds one at least). Returns how many; 0 at the end.
 * The batch of a window does not change how it is masked. */
int dna_grid_fill(const dna_grid *g, const dna_corpus *c, const dna_masking *m, uint64_t seed, int64_t first,
                  dna_train_batch *b);
#endif
