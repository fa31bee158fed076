/* The inside of `dna-mamba generate`: sequences drawn base by base from a causal model. */
#ifndef DNA_GENERATE_H
#define DNA_GENERATE_H
#include "core/session.h"
#include "genomics/alphabet.h"
#include "genomics/sample.h"

typedef struct generate_options {
    const mb_model *model;
    const dna_alphabet *alphabet;
    dna_sampling sampling;
    uint64_t seed;
    int64_t length; /* bases drawn for each sequence */
    mb_progress *progress;
    const atomic_int *stop; /* may be NULL */
} generate_options;

/* Where a drawing begins: the model's state after a prompt. */
typedef struct generate_start {
    float *state;     /* of a session; NULL: before the first base */
    float *logits;    /* (V) of the base that comes next */
    size_t floats;    /* of state */
    int64_t position; /* bases of the prompt */
} generate_start;

/* MB_NOTSUP with the reason for models that have no next base to draw. */
int generate_check(const mb_model *m, const char *name, mb_err *e) MB_MUST_USE;
/* Runs the prompt (n > 0 tokens) through the session, which is reset before. */
int generate_prompt(generate_start *start, mb_session *s, const generate_options *o, const uint8_t *token, int64_t n,
                    mb_err *e) MB_MUST_USE;
void generate_start_fini(generate_start *start); /* zeroed is fine */

/* Takes drawn letters (n), in order. */
typedef struct generate_sink {
    int (*letters)(void *user, const char *letter, int n, mb_err *e);
    void *user;
} generate_sink;

/* Draws o->length bases after start. stream: number of the sequence, which with the seed fixes its random numbers.
 * Without a prompt there is nothing to predict the first base from: all four are equally probable. *loglik: natural
 * log-probability of the bases drawn, but for that first, at temperature 1. The bits do not depend on the session's
 * threads. */
int generate_sequence(mb_session *s, const generate_options *o, const generate_start *start, uint64_t stream,
                      const generate_sink *sink, double *loglik, mb_err *e) MB_MUST_USE;
#endif
