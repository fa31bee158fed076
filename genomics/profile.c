/* Answers come pass by pass, each for every K-th position; they wait in a store of rows of K positions, whose row k,
 * column j is position kK + j, and are read back in order. The store and the budget: see profile.h. */
#include "genomics/profile.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/probe.h"
#include "genomics/store.h"

enum { PART = 4096 };                   /* answers moved at a time */
#define PROBE_TOKENS ((int64_t)1 << 20) /* probes up to so many tokens run together */

typedef struct job {
    const dna_profile_options *o;
    const dna_profile_sink *sink;
    const uint8_t *token;
    int64_t length, K;
    dna_span wanted;
    dna_store *store;
    float *first; /* (want.n, 4) answers of the forward view while the other is awaited; or NULL */
    float *part;  /* (PART, columns) */
} job;

static int64_t stride_of(const dna_profile_options *o, int64_t length) {
    return dna_probe_passes(o->causal, o->mask_stride, length);
}

double dna_profile_passes(const dna_profile_options *o, int64_t length, int64_t wanted) {
    const int64_t K = stride_of(o, length);
    return (double)(K < wanted ? K : wanted < 1 ? 1 : wanted) * (o->both ? 2 : 1);
}

int64_t dna_profile_bytes(const dna_profile_options *o, int64_t length) {
    const int64_t want = (length + stride_of(o, length) - 1) / stride_of(o, length);
    /* Logits of the probes that run together: one of a long sequence, many of a short one. */
    int64_t together = PROBE_TOKENS / length, passes = (int64_t)dna_profile_passes(o, length, length);
    together = together < 1 ? 1 : together < passes ? together : passes;
    return length + want * 16 * (mb_model_strands(o->model) * together + (o->both ? 1 : 0));
}

int dna_profile_check(const dna_profile_options *o, int64_t length, const char *place, mb_err *e) {
    const int64_t need = dna_profile_bytes(o, length);
    char a[32], b[32];
    if (need <= o->forward.memory)
        return MB_OK;
    return mb_fail(e, MB_RANGE,
                   "%s: the answers for %" PRId64 " bases take %s, --memory allows %s: give more, %sor shorter regions",
                   place, length, mb_human_bytes((double)need, a), mb_human_bytes((double)o->forward.memory, b),
                   o->causal ? "" : "a larger --mask-stride, ");
}

/* The mean of two distributions' logits, renormalised; pairs A-T and C-G are added first, so that the complement gives
 * the same bits. */
static void join(float logp[4], const float other[4]) {
    double mean[4], e[4], top = -INFINITY;
    if (isnan(other[0]))
        return;
    for (int b = 0; b < 4; b++) {
        mean[b] = isnan(logp[0]) ? other[b] : ((double)logp[b] + other[b]) / 2;
        top = fmax(top, mean[b]);
    }
    for (int b = 0; b < 4; b++)
        e[b] = exp(mean[b] - top);
    const double sum = log((e[0] + e[3]) + (e[1] + e[2]));
    for (int b = 0; b < 4; b++)
        logp[b] = (float)(mean[b] - top - sum);
}

/* Answers k of a probe, first and then one every K positions, into the store. */
static int keep(job *j, const dna_probe *p, const float *logp, mb_err *e) {
    const int c = j->sink->columns;
    const int64_t n = p->want.n;
    int rc = MB_OK;
    for (int64_t from = 0; rc == MB_OK && from < n; from += PART) {
        const int64_t some = n - from < PART ? n - from : PART;
        for (int64_t k = 0; k < some; k++) {
            const int64_t t = dna_place(&p->want, from + k);
            const int base = dna_base_of(j->o->alphabet, j->token[t]);
            float *out = j->part + k * c, mean[4];
            memcpy(mean, logp + 4 * (from + k), sizeof mean);
            if (j->first)
                join(mean, j->first + 4 * (from + k));
            for (int i = 0; i < c; i++)
                out[i] = NAN;
            if (base >= 0 && !isnan(mean[0]))
                j->sink->reduce(j->sink->user, mean, base, out);
        }
        const int64_t t = dna_place(&p->want, from);
        rc = dna_store_put(j->store, t / j->K, some, t % j->K * c, c, j->part, e);
    }
    return rc;
}

/* The forward view of a class comes first, the reversed one right after. */
static int take_answers(void *user, const dna_probe *p, const float *logp, mb_err *e) {
    job *j = user;
    if (j->first && !p->reversed) {
        memcpy(j->first, logp, (size_t)p->want.n * 4 * sizeof(float));
        return MB_OK;
    }
    return keep(j, p, logp, e);
}

/* The wanted positions of a class. */
static dna_places wanted_of(const job *j, int64_t phase) {
    const int64_t before = j->wanted.from > phase ? (j->wanted.from - phase + j->K - 1) / j->K : 0;
    return dna_places_every(phase + before * j->K, j->K, j->wanted.to);
}

static int run_probes(job *j, int64_t memory, mb_err *e) {
    dna_probe_options o = {.model = j->o->model,
                           .alphabet = j->o->alphabet,
                           .forward = j->o->forward,
                           .causal = j->o->causal,
                           .take = take_answers,
                           .user = j};
    dna_probes *probes = NULL;
    o.forward.memory = memory;
    int rc = dna_probes_open(&probes, &o, e);
    for (int64_t phase = 0; rc == MB_OK && phase < j->K; phase++) {
        dna_probe p = {.token = j->token, .length = j->length, .want = wanted_of(j, phase)};
        if (p.want.n == 0 || (j->K == j->length && dna_base_of(j->o->alphabet, j->token[phase]) < 0))
            continue; /* nothing to answer in this pass */
        if (!j->o->causal)
            p.mask = dna_places_every(phase, j->K, j->length);
        rc = dna_probes_add(probes, &p, e);
        p.reversed = 1;
        if (rc == MB_OK && j->o->both)
            rc = dna_probes_add(probes, &p, e);
    }
    if (rc == MB_OK)
        rc = dna_probes_finish(probes, e);
    dna_probes_close(probes);
    return rc;
}

/* Rows of the store are K positions; the first and the last may hold some that are not wanted. */
static int deliver(job *j, mb_err *e) {
    const int c = j->sink->columns;
    const int64_t rows = (j->wanted.to - 1) / j->K + 1, most = PART / j->K > 1 ? PART / j->K : 1;
    float *value = mb_malloc((size_t)(most * j->K * c) * sizeof *value);
    int rc = value ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " answers", most * j->K);
    for (int64_t row = j->wanted.from / j->K; rc == MB_OK && row < rows; row += most) {
        const int64_t some = rows - row < most ? rows - row : most, from = row * j->K, to = from + some * j->K;
        const dna_span part = {from > j->wanted.from ? from : j->wanted.from, to < j->wanted.to ? to : j->wanted.to};
        rc = dna_store_get(j->store, row, some, value, e);
        if (rc == MB_OK)
            rc = j->sink->take(j->sink->user, part.from, part.to - part.from, value + (part.from - from) * c, e);
    }
    mb_free(value);
    return rc;
}

/* One at a time, no pass answers for the N. */
static int fill_none(job *j, mb_err *e) {
    const int c = j->sink->columns;
    int rc = MB_OK;
    for (int i = 0; i < c; i++)
        j->part[i] = NAN;
    for (int64_t t = j->wanted.from; rc == MB_OK && j->K == j->length && t < j->wanted.to; t++)
        if (dna_base_of(j->o->alphabet, j->token[t]) < 0)
            rc = dna_store_put(j->store, t / j->K, 1, t % j->K * c, c, j->part, e);
    return rc;
}

int dna_profile_run(const dna_profile_options *o, const uint8_t *token, int64_t length, dna_span wanted,
                    const dna_profile_sink *sink, mb_err *e) {
    MB_ASSERT(wanted.from >= 0 && wanted.from < wanted.to && wanted.to <= length && sink->columns > 0);
    job j = {.o = o, .sink = sink, .token = token, .length = length, .K = stride_of(o, length), .wanted = wanted};
    const int64_t rows = (length + j.K - 1) / j.K, columns = j.K * sink->columns;
    int64_t left = o->forward.memory - dna_profile_bytes(o, length), waiting = rows * columns * (int64_t)sizeof(float);
    if (waiting > left / 2)
        waiting = 0; /* in a scratch file */
    left += dna_profile_bytes(o, length) - length - waiting - (o->both ? rows * 16 : 0);
    int rc = dna_store_create(&j.store, rows, columns, waiting, o->forward.scratch, e);
    j.part = mb_malloc((size_t)(PART * sink->columns) * sizeof *j.part);
    if (o->both)
        j.first = mb_malloc((size_t)(rows * 4) * sizeof *j.first);
    if (rc == MB_OK && (!j.part || (o->both && !j.first)))
        rc = mb_fail(e, MB_NOMEM, "no memory for the answers for %" PRId64 " bases", length);
    if (rc == MB_OK)
        rc = fill_none(&j, e);
    if (rc == MB_OK)
        rc = run_probes(&j, left > 1 ? left : 1, e);
    if (rc == MB_OK)
        rc = deliver(&j, e);
    dna_store_destroy(j.store);
    mb_free(j.first);
    mb_free(j.part);
    return rc;
}
