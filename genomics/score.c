/* Log-likelihoods of bases, by probes (probe.h).
 *   causal:  log p(x_t | x_0 .. x_{t-1}), t >= 1: the logits of row t-1
 *   masked:  log p(x_t | the rest, with the positions t' = t (mod K) masked), from the logits of row t. K = 8 masks one
 * base in eight, near the 15 % of the models' training; K = length (mask stride 0) masks one at a time, exactly the
 *            pseudo-log-likelihood of Salazar et al. 2020 (arXiv 1910.14659) at `length` passes.
 * Probabilities are renormalised over A, C, G, T unless all tokens are asked for. N is neither masked nor scored. */
#include "genomics/score.h"

#include <math.h>

#include "genomics/probe.h"

/* user of the probe: logp (length) of its item. */
static int take_answers(void *user, const dna_probe *p, const float *answer, mb_err *e) {
    const score_options *o = user;
    float *logp = p->user;
    (void)e;
    for (int64_t k = 0; k < p->want.n; k++) {
        const int64_t t = dna_place(&p->want, k);
        const int base = dna_base_of(o->alphabet, p->token[t]);
        if (base >= 0)
            logp[t] = answer[4 * k + base];
    }
    return MB_OK;
}

int score_batch(const score_options *o, const dna_batch *b, float *const *logp, mb_err *e) {
    const dna_probe_options probing = {.model = o->model,
                                       .alphabet = o->alphabet,
                                       .forward = o->forward,
                                       .causal = o->scheme == SCORE_CAUSAL,
                                       .all_tokens = o->softmax == SCORE_SOFTMAX_ALL,
                                       .take = take_answers,
                                       .user = (void *)(uintptr_t)o};
    dna_probes *r = NULL;
    int rc = dna_probes_open(&r, &probing, e);
    for (int i = 0; !rc && i < b->n; i++) {
        const int64_t length = b->item[i].length;
        for (int64_t t = 0; t < length << o->both; t++)
            logp[i][t] = NAN;
        for (int view = 0; !rc && view <= o->both; view++) {
            const dna_probe p = {
                .token = b->item[i].token, .length = length, .reversed = view, .user = logp[i] + view * length};
            rc = dna_probes_add_passes(r, &p, o->mask_stride, e);
        }
    }
    if (!rc)
        rc = dna_probes_finish(r, e);
    dna_probes_close(r);
    return rc;
}

double score_passes(const score_options *o, int64_t length) {
    return (double)dna_probe_passes(o->scheme == SCORE_CAUSAL, o->mask_stride, length) * (o->both ? 2 : 1);
}
