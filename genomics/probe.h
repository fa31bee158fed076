/* What a language model says about chosen positions: natural log-probabilities of A, C, G and T.
 *
 * A probe is one run of the model over one sequence of tokens. Positions of the set `mask` are shown as [MASK], and
 * answers are given for those of `want`:
 *   masked:  from the logits of row t, for position t
 *   causal:  from the logits of row t-1, which has seen 0 .. t-1; the first position that the model reads has none: NAN
 * A reversed probe shows the reverse complement. Positions and letters, in the sets and in the answers, are those of
 * the sequence as it was given, whichever way it is shown.
 *
 * Probes are gathered and run many at a time. The bits of an answer depend neither on which probes run together nor on
 * threads or memory. */
#ifndef DNA_PROBE_H
#define DNA_PROBE_H
#include "core/forward.h"
#include "genomics/alphabet.h"

/* Ascending positions: at[0 .. n-1], or, where at is NULL, first, first + step, ... */
typedef struct dna_places {
    const int64_t *at; /* borrowed */
    int64_t first, step, n;
} dna_places;

int64_t dna_place(const dna_places *p, int64_t i);
/* The smallest i with dna_place(i) >= position; n when there is none. */
int64_t dna_place_from(const dna_places *p, int64_t position);
/* Every step-th position of 0 .. length-1, from first on. */
dna_places dna_places_every(int64_t first, int64_t step, int64_t length);

typedef struct dna_probe {
    const uint8_t *token; /* (length), borrowed until the probe has run */
    int64_t length;
    int reversed;
    dna_places mask; /* only A C G T among them are masked: N and its like are shown as they are */
    dna_places want;
    float *logp; /* (want.n, 4); not used with dna_probe_options.take */
    void *user;  /* for take */
} dna_probe;

typedef struct dna_probe_options {
    const mb_model *model; /* with a language-model head */
    const dna_alphabet *alphabet;
    mb_forward_options forward;
    int causal;
    int all_tokens; /* 0: probabilities renormalised over A C G T; 1: over all tokens of the model */
    /* NULL: answers are copied to probe.logp. Else called for each probe, in the order in which they were added, when
     * it has run; logp (want.n, 4) is gone afterwards. */
    int (*take)(void *user, const dna_probe *p, const float *logp, mb_err *e);
    void *user;
} dna_probe_options;

typedef struct dna_probes dna_probes;
int dna_probes_open(dna_probes **out, const dna_probe_options *o, mb_err *e) MB_MUST_USE;
/* Copies *probe; runs what has gathered before when there is enough of it. */
int dna_probes_add(dna_probes *r, const dna_probe *probe, mb_err *e) MB_MUST_USE;
/* Adds what it takes to have an answer for every base of the probe's sequence; its mask and want are not used. Causal:
 * one probe, without the first base. Masked: pass j masks positions j, j+K, j+2K, ... counted from the end that is read
 * first, and answers for them; K = mask_stride, or one position at a time (only A C G T) where that is 0 or too long.
 */
int dna_probes_add_passes(dna_probes *r, const dna_probe *probe, int64_t mask_stride, mb_err *e) MB_MUST_USE;
/* How many passes over the sequence that is, at most. */
int64_t dna_probe_passes(int causal, int64_t mask_stride, int64_t length);
/* Runs the rest. More may be added afterwards. */
int dna_probes_finish(dna_probes *r, mb_err *e) MB_MUST_USE;
void dna_probes_close(dna_probes *r); /* NULL is fine */
/* All of that for n probes. */
int dna_probes_run(const dna_probe_options *o, const dna_probe *probe, int64_t n, mb_err *e) MB_MUST_USE;
#endif
