/* One base after the other: step the model by the base drawn last, draw from the logits of A, C, G and T that it gives.
 * Memory is the session's, whatever the length. Refuses bidirectional models, models without a language-model head and
 * logits that are not finite. */
#include "genomics/generate.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "core/rng.h"

enum { PIECE = 480, FED = 1 << 16 };

int generate_check(const mb_model *m, const char *name, mb_err *e) {
    if (!mb_model_is_causal(m) || mb_model_strands(m) != 1)
        return mb_fail(e, MB_NOTSUP,
                       "%s: is bidirectional: it predicts a base from those on both sides of it, so there is no next "
                       "base to draw; generate wants a causal model (dna-mamba train --objective causal makes one), "
                       "and score --per-base shows what a bidirectional one expects of each base of a sequence",
                       name);
    if (!mb_model_config(m)->has_head)
        return mb_fail(e, MB_NOTSUP, "%s: has no language-model head, so it gives no probabilities to draw from", name);
    return MB_OK;
}

void generate_start_fini(generate_start *start) {
    mb_free(start->state);
    mb_free(start->logits);
    memset(start, 0, sizeof *start);
}

static int is_stopped(const generate_options *o) {
    return o->stop && atomic_load(o->stop);
}

int generate_prompt(generate_start *start, mb_session *s, const generate_options *o, const uint8_t *token, int64_t n,
                    mb_err *e) {
    MB_ASSERT(n > 0);
    const size_t V = (size_t)mb_model_config(o->model)->V;
    int32_t *fed = mb_malloc(FED * sizeof *fed);
    *start = (generate_start){.floats = mb_session_state_floats(s)};
    start->state = mb_malloc(start->floats * sizeof *start->state + 1);
    start->logits = mb_malloc(V * sizeof *start->logits);
    int rc = fed && start->state && start->logits ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a prompt");
    mb_session_reset(s);
    for (int64_t from = 0, m; rc == MB_OK && from < n; from += m) {
        m = n - from < FED ? n - from : FED;
        for (int64_t i = 0; i < m; i++)
            fed[i] = token[from + i];
        rc = is_stopped(o) ? mb_fail(e, MB_STOPPED, "stopped on request")
                           : mb_session_feed(s, fed, m, NULL, from + m == n ? start->logits : NULL, e);
    }
    if (rc == MB_OK)
        mb_session_get_state(s, start->state, &start->position);
    else
        generate_start_fini(start);
    mb_free(fed);
    return rc;
}

/* The logits (4) of the bases. */
static int base_logits(const generate_options *o, const float *logits, float *four, mb_err *e) {
    for (int b = 0; b < 4; b++) {
        four[b] = logits[o->alphabet->base[b]];
        if (!isfinite(four[b]))
            return mb_fail(e, MB_FAIL, "the model's logits are not finite: its weights are broken");
    }
    return MB_OK;
}

typedef struct drawing {
    mb_session *session;
    const generate_options *o;
    mb_rng rng;
    float *logits; /* (V) */
    int known;     /* whether logits hold those of the next base */
    double loglik;
} drawing;

static int draw_base(drawing *d, int *base, mb_err *e) {
    float four[4];
    double p[4] = {0.25, 0.25, 0.25, 0.25};
    int rc = d->known ? base_logits(d->o, d->logits, four, e) : MB_OK;
    if (rc != MB_OK)
        return rc;
    if (d->known)
        dna_sampling_probabilities(&d->o->sampling, four, p);
    *base = dna_sample(p, mb_rng_uniform(&d->rng));
    if (d->known)
        d->loglik += dna_sampling_log(four, *base);
    d->known = 1;
    return MB_OK;
}

static int draw_all(drawing *d, const generate_sink *sink, mb_err *e) {
    char piece[PIECE];
    int rc = MB_OK;
    for (int64_t t = 0; rc == MB_OK && t < d->o->length;) {
        int n = 0;
        for (; rc == MB_OK && n < PIECE && t < d->o->length; t++) {
            int base = 0;
            rc = draw_base(d, &base, e);
            if (rc != MB_OK)
                break;
            piece[n++] = "ACGT"[base];
            if (t + 1 < d->o->length) /* the logits after the last base are nobody's */
                rc = mb_session_step(d->session, d->o->alphabet->base[base], NULL, d->logits, e);
            if (rc == MB_OK && is_stopped(d->o))
                rc = mb_fail(e, MB_STOPPED, "stopped on request");
        }
        if (rc == MB_OK)
            rc = sink->letters(sink->user, piece, n, e);
        mb_progress_add(d->o->progress, n);
    }
    return rc;
}

int generate_sequence(mb_session *s, const generate_options *o, const generate_start *start, uint64_t stream,
                      const generate_sink *sink, double *loglik, mb_err *e) {
    const size_t V = (size_t)mb_model_config(o->model)->V;
    drawing d = {.session = s, .o = o, .logits = mb_malloc(V * sizeof *d.logits), .known = start->state != NULL};
    int rc = d.logits ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for logits");
    mb_rng_init(&d.rng, o->seed, stream);
    mb_session_reset(s);
    if (rc == MB_OK && d.known) {
        memcpy(d.logits, start->logits, V * sizeof *d.logits);
        rc = mb_session_set_state(s, start->state, start->floats, start->position, e);
    }
    if (rc == MB_OK)
        rc = draw_all(&d, sink, e);
    *loglik = d.loglik;
    mb_free(d.logits);
    return rc;
}
