/* The inside of `dna-mamba score`. */
#ifndef DNA_SCORE_H
#define DNA_SCORE_H
#include "core/forward.h"
#include "genomics/items.h"

typedef enum score_scheme { SCORE_AUTO, SCORE_CAUSAL, SCORE_MASKED } score_scheme;
#define SCORE_SCHEME_CHOICES "auto|causal|masked"
typedef enum score_softmax { SCORE_SOFTMAX_ACGT, SCORE_SOFTMAX_ALL } score_softmax;
#define SCORE_SOFTMAX_CHOICES "acgt|all"

typedef struct score_options {
    const mb_model *model;
    const dna_alphabet *alphabet;
    mb_forward_options forward;
    int scheme;          /* CAUSAL or MASKED */
    int softmax;         /* score_softmax */
    int64_t mask_stride; /* K passes, pass j masks positions j, j+K, ...; 0: one position at a time */
    int both;            /* also score the reverse complement */
} score_options;

/* logp (views, length): natural log-probability of each base given what the scheme shows the model, NAN where a
 * position is not scored (N; the first base of a causal model). view 1, with `both`, is of the reverse complement, in
 * forward positions. */

int score_batch(const score_options *o, const dna_batch *b, float *const *logp, mb_err *e) MB_MUST_USE;
/* Forward runs over each base. */
double score_passes(const score_options *o, int64_t length);
#endif
