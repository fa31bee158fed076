/* Running a model over sequences of any length, exactly.
 *
 * A stack of causal layers needs one pass; each bidirectional layer is begun in one direction and finished in the
 * other, so a bidirectional stack of n layers takes n+1 alternating passes ("sweeps") over a stream of residuals. The
 * stream lives in memory if it fits the budget and in a scratch file if not; what is kept per row is chosen by the
 * budget too (everything, or the lean part with the projections recomputed). The bits of the result depend on none of
 * this, nor on the number of threads, nor on which sequences run together. */
#ifndef MB_FORWARD_H
#define MB_FORWARD_H
#include <stdatomic.h>
#include "core/log.h"
#include "core/model.h"

/* One input sequence. */
typedef struct mb_sequence {
    int64_t length; /* tokens, 1 .. 2^48 */
    /* Fills token[0..n) with tokens from..from+n-1; called from any worker. Returns a status. */
    int (*read)(void *user, int64_t from, int n, int32_t *token);
    void *user;
    /* Or fills row (n,D) with the input rows themselves, in the place of the embedding of tokens; then read is NULL.
     * Not for RC-equivariant models. */
    int (*rows)(void *user, int64_t from, int n, float *row);
} mb_sequence;

/* read() for tokens already in memory: user is the int32_t array (mb_tokens_read) or a uint8_t array (mb_tokens8_read).
 */
int mb_tokens_read(void *user, int64_t from, int n, int32_t *token);
int mb_tokens8_read(void *user, int64_t from, int n, int32_t *token);

/* What a run delivers, piece by piece: rows of one strand, in the place and order that the original's hidden state has
 * them. Models without RC-equivariance have one strand, column 0. In RC-equivariant ones strand 0 is the network's run
 * over the sequence and strand 1 its run over the reverse complement, already turned back (positions and channels);
 * together they fill the columns [0,D) and [D,2D) of the hidden state. Which half is whose depends on the layer (the
 * released models swap the halves in every block), hence "column". */
typedef struct mb_rows {
    int sequence;     /* index in the call */
    int strand;       /* 0 forward, 1 reverse complement */
    int column;       /* 0 or D: where these D columns stand in the original's hidden state */
    int layer;        /* l: the stream entering layer l; n_layer: after the final norm */
    int64_t from;     /* first position */
    int n;            /* rows */
    int worker;       /* who delivers: 0 .. threads-1; no two deliver at the same time with one number */
    const float *row; /* (n,D) */
} mb_rows;

typedef struct mb_sink {
    /* Pieces of one (sequence, strand, layer) come one after the other in the order of the pass (left to right or right
     * to left, fixed by the model); pieces of different ones may come at the same time from different workers. */
    int (*rows)(void *user, const mb_rows *r, mb_err *e);
    void *user;
} mb_sink;

typedef struct mb_forward_options {
    int threads;         /* > 0 */
    int64_t memory;      /* budget in bytes for streams, workers and carried states (not for weights and outputs): the
                          * streams get what the others leave, 0 if nothing; 0 = 80 % of what is available */
    const char *scratch; /* folder for the scratch file; NULL = $TMPDIR or /tmp */
    const int *layers;   /* which streams to deliver, ascending; NULL = {n_layer} */
    int n_layers;
    int outputs; /* 1: for 0 < l < n_layer deliver what the mixer of layer l-1 puts out, which it adds to the stream,
                  * instead of the stream that enters layer l; the original Caduceus lists it as hidden_states[l] */
    int strands; /* bit 0: forward, bit 1: reverse complement; 0 = all the model has */
    mb_progress *progress;  /* counts every token once, in parts: a part for each pass and strand; may be NULL */
    const atomic_int *stop; /* may be NULL; when set the run ends with MB_STOPPED */
} mb_forward_options;

/* What a run of these lengths will take: the most of any moment. stream_bytes + worker_bytes <= memory, unless
 * worker_bytes alone are more. */
typedef struct mb_forward_plan {
    int passes;
    int64_t tiles;
    int kept;              /* 1: everything kept per row between passes; 0: lean */
    int64_t stream_bytes;  /* in memory */
    int64_t scratch_bytes; /* in the scratch file */
    int64_t worker_bytes;  /* working memory of all workers and carried states */
    int groups;            /* sequences and strands are run in so many groups, one after the other, to fit */
} mb_forward_plan;

int mb_forward_plan_make(const mb_model *m, const int64_t *lengths, int n, const mb_forward_options *o,
                         mb_forward_plan *plan, mb_err *e) MB_MUST_USE;
/* Warns when o->memory is less than the workers take for a single sequence: a run goes on with what it needs. For
 * front ends, once, with the budget that the user gave. */
int mb_forward_check_memory(const mb_model *m, const mb_forward_options *o, mb_err *e) MB_MUST_USE;
int mb_forward_run(const mb_model *m, const mb_sequence *seq, int n, const mb_forward_options *o, const mb_sink *sink,
                   mb_err *e) MB_MUST_USE;

/* Whole results in memory, for short sequences: hidden (length, width), in the original's layout; logits (length, V).
 * Either may be NULL; logits only with layer = n_layer. layer as in mb_rows; o->layers is not used. When o->strands
 * leaves a strand out, its columns of hidden are not touched and logits are the other strand's share. */
int mb_forward_hidden(const mb_model *m, const int32_t *token, int64_t length, int layer, const mb_forward_options *o,
                      float *hidden, float *logits, mb_err *e) MB_MUST_USE;
/* The share of r (rows after the final norm, as a sink gets them) in the logits: out (r->n, V). The logits of an
 * RC-equivariant model are the sum of the shares of both strands; accumulate = 1 adds to out. May be called from a
 * sink; the pieces of two strands can come at the same time, so each strand needs its own buffer or a lock. */
int mb_head_logits(const mb_model *m, const mb_rows *r, float *out, int accumulate, mb_err *e) MB_MUST_USE;
#endif
