/* The model's distribution over A C G T at every base of a sequence, delivered from left to right in bounded memory.
 *   masked:  K passes; pass j shows positions j, j+K, ... as [MASK] and answers for them
 *   causal:  one pass; each base given those before it
 *   both:    the mean of the logits of the sequence and of its reverse complement, for models that see one strand;
 *            where one of the two has no answer (the end that it reads first) the other's stands alone
 * The classes j modulo K of a sequence are those of its reverse complement, and everything after the model is symmetric
 * in A-T and C-G: where the model is RC-equivariant, or with both, the answers for a sequence are those for its reverse
 * complement read backwards, to the bit. */
#ifndef DNA_PROFILE_H
#define DNA_PROFILE_H
#include "core/forward.h"
#include "genomics/alphabet.h"

typedef struct dna_profile_options {
    const mb_model *model; /* with a language-model head */
    const dna_alphabet *alphabet;
    mb_forward_options forward; /* memory: budget of everything here, the answers included */
    int causal, both;
    int64_t mask_stride; /* K; 0: one position at a time */
} dna_profile_options;

typedef struct dna_profile_sink {
    int columns; /* floats of an answer */
    /* What is kept of an answer: logp natural log-probabilities of A C G T, base 0..3 the sequence's own. Called for
     * bases only; other positions, and those without an answer, are NaN. */
    void (*reduce)(void *user, const float logp[4], int base, float *out);
    /* value (n, columns) of positions [from, from+n), ascending, all of them wanted. */
    int (*take)(void *user, int64_t from, int64_t n, const float *value, mb_err *e);
    void *user;
} dna_profile_sink;

typedef struct dna_span { /* positions [from, to) */
    int64_t from, to;
} dna_span;

/* Answers for the positions of `wanted`; the others are context. Classes without a wanted position are not run. */
int dna_profile_run(const dna_profile_options *o, const uint8_t *token, int64_t length, dna_span wanted,
                    const dna_profile_sink *sink, mb_err *e) MB_MUST_USE;
/* Forward runs over each base when so many positions are wanted. */
double dna_profile_passes(const dna_profile_options *o, int64_t length, int64_t wanted);
/* Bytes of answers that have to be in memory at a time; the rest of forward.memory is for the model, and for what waits
 * for its turn, which goes to a scratch file when it does not fit. */
int64_t dna_profile_bytes(const dna_profile_options *o, int64_t length);
/* MB_RANGE, with what to do, when that is more than the budget. place names the sequence. */
int dna_profile_check(const dna_profile_options *o, int64_t length, const char *place, mb_err *e) MB_MUST_USE;
#endif
