/* What a change of a sequence does to a model: the numbers of `dna-mamba variants`. With m(w) the mean, over the bases
 * of a window w that are scored, of their log-probabilities, and n(w) their number:
 *
 *   llr     masked models: the sum over the bases that differ of log p(alt) - log p(ref), all of them shown as [MASK]
 *           at once in the window of the reference (one base: as PlantCAD does). None for insertions and deletions.
 *           Causal models: n(ref) (m(alt) - m(ref)), each base given those before it; any change.
 *   pll     n(ref) (m(alt) - m(ref)) of masked models, by the passes of score.h: the difference of the
 *           pseudo-log-likelihoods where both windows have as many scored bases, as they have for substitutions.
 *           Longer sequences are less probable whatever they hold, so windows of an insertion or deletion are of equal
 *           length (the flanks take up the difference) and means, not sums, are compared.
 *   l2      Euclidean distance of the hidden states after the final norm, averaged over `span` bases around the change
 *   cosine  1 - cosine of the angle between them
 *
 * Natural logarithms. With `both`, each is the mean of its values on the sequence and on its reverse complement; the
 * hidden state of an RC-equivariant model holds both strands already. What several changes have in common is computed
 * once, which changes no bit of any result. */
#ifndef DNA_EFFECT_H
#define DNA_EFFECT_H
#include "core/forward.h"
#include "genomics/alphabet.h"

enum { DNA_EFFECT_LLR, DNA_EFFECT_PLL, DNA_EFFECT_L2, DNA_EFFECT_COSINE, DNA_EFFECTS };

typedef struct dna_effect_options {
    const mb_model *model;
    const dna_alphabet *alphabet;
    mb_forward_options forward;
    int causal;
    int64_t mask_stride; /* of pll: as score_options */
    int64_t span;        /* of l2 and cosine; 0: the whole window */
    int both;
} dna_effect_options;

typedef struct dna_window {
    const uint8_t *token; /* (length), borrowed */
    int64_t length;
    int64_t at, n; /* the allele is [at, at+n) */
} dna_window;

typedef struct dna_effect {
    dna_window ref, alt;
    unsigned wanted;          /* bit 1 << DNA_EFFECT_x */
    float value[DNA_EFFECTS]; /* NAN where not wanted or not defined */
} dna_effect;

/* Fills the values of n changes. */
int dna_effects_run(const dna_effect_options *o, dna_effect *effect, int64_t n, mb_err *e) MB_MUST_USE;
/* Bases through the model for one change by itself, all strands that are runs of their own counted. */
double dna_effect_work(const dna_effect_options *o, const dna_effect *effect);
#endif
