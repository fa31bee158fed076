/* masked: one pass a site, four answers each. pll, head: every changed sequence is run; copies of the region are made
 * in batches of BATCH_TOKENS. Refuses nothing that its caller has not refused. */
#include "genomics/ism.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/probe.h"
#include "genomics/track.h"

#define BATCH_TOKENS ((int64_t)1 << 18)
enum { MOST_COPIES = 1024 };

typedef struct job {
    const dna_ism_options *o;
    dna_ism *m;
    uint8_t *token;        /* (length) in the direction of the strand */
    int64_t length, first; /* first: position of site 0 */
    double reference;
    int64_t scored; /* bases that the reference's likelihood is of */
    /* A batch of changed copies: (most, length) tokens, their lengths, where their effects go. */
    int64_t most, copies;
    uint8_t *copy;
    int64_t *copy_length;
    float **to;
    double *value;
    float *logp; /* pll: (most, 2 length) */
    dna_item *item;
    float **logp_of;
    dna_piece *piece;
    double *answer;
} job;

static int no_memory(mb_err *e) {
    return mb_fail(e, MB_NOMEM, "no memory for in-silico mutagenesis");
}

/* ---- masked ---------------------------------------------------------------------------------------------------------
 */

static void keep_all(void *user, const float logp[4], int base, float *out) {
    (void)user, (void)base;
    memcpy(out, logp, 4 * sizeof *out);
}

static int take_sites(void *user, int64_t from, int64_t n, const float *logp, mb_err *e) {
    job *j = user;
    (void)e;
    memcpy(j->m->logp + 4 * (from - j->first), logp, (size_t)(4 * n) * sizeof *logp);
    return MB_OK;
}

static int run_masked(job *j, mb_err *e) {
    dna_ism *m = j->m;
    const dna_profile_sink sink = {.columns = 4, .reduce = keep_all, .take = take_sites, .user = j};
    const dna_span sites = {j->first, j->first + m->n};
    dna_profile_options how = j->o->how;
    how.mask_stride = 0;
    int rc = dna_profile_run(&how, j->token, j->length, sites, &sink, e);
    for (int64_t i = 0; rc == MB_OK && i < m->n; i++)
        for (int b = 0; b < 4; b++)
            m->effect[4 * i + b] = m->base[i] < 0 ? NAN
                                   : b == m->base[i] && !isnan(m->logp[4 * i])
                                       ? 0
                                       : m->logp[4 * i + b] - m->logp[4 * i + m->base[i]];
    return rc;
}

/* ---- changed copies -------------------------------------------------------------------------------------------------
 */

/* Mean log-likelihood of a base, and how many bases it is of, over all views. */
static double mean_of(const float *logp, int64_t n, int64_t *terms) {
    double sum = 0;
    *terms = 0;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(logp[i])) {
            sum += logp[i];
            ++*terms;
        }
    return *terms ? sum / (double)*terms : NAN;
}

static int score_copies(job *j, mb_err *e) {
    const dna_profile_options *how = &j->o->how;
    const score_options o = {.model = how->model,
                             .alphabet = how->alphabet,
                             .forward = how->forward,
                             .scheme = how->causal ? SCORE_CAUSAL : SCORE_MASKED,
                             .mask_stride = how->mask_stride,
                             .both = how->both};
    dna_batch b = {.item = j->item, .n = (int)j->copies};
    int64_t terms;
    for (int64_t i = 0; i < j->copies; i++) {
        j->item[i] = (dna_item){.token = j->copy + i * j->length, .length = j->copy_length[i]};
        j->logp_of[i] = j->logp + i * 2 * j->length;
        b.tokens += j->copy_length[i];
    }
    int rc = score_batch(&o, &b, j->logp_of, e);
    for (int64_t i = 0; rc == MB_OK && i < j->copies; i++)
        j->value[i] = mean_of(j->logp_of[i], j->copy_length[i] << how->both, &terms);
    if (rc == MB_OK && j->scored == 0) { /* the first batch is of the reference alone */
        mean_of(j->logp, j->length << how->both, &terms);
        j->scored = terms >> how->both;
    }
    return rc;
}

static int ask_head(job *j, mb_err *e) {
    const dna_profile_options *how = &j->o->how;
    const int C = j->o->head->pool.C;
    for (int64_t i = 0; i < j->copies; i++)
        j->piece[i] = (dna_piece){j->copy + i * j->length, j->copy_length[i]};
    int rc = dna_head_predict(j->o->head, how->model, how->alphabet, j->piece, j->copies, &how->forward, j->answer, e);
    for (int64_t i = 0; rc == MB_OK && i < j->copies; i++)
        j->value[i] = j->answer[i * C + j->o->label];
    return rc;
}

static int run_copies(job *j, mb_err *e) {
    int rc = j->copies == 0 ? MB_OK : j->o->score == DNA_ISM_PLL ? score_copies(j, e) : ask_head(j, e);
    const double scale = j->o->score == DNA_ISM_PLL ? (double)j->scored : 1;
    for (int64_t i = 0; rc == MB_OK && i < j->copies; i++) {
        if (j->to[i])
            *j->to[i] = (float)((j->value[i] - j->reference) * scale);
        else
            j->reference = j->value[i];
    }
    j->copies = 0;
    return rc;
}

/* The sequence with base b (4: none) at the site; to NULL: as it is. */
static int add_copy(job *j, int64_t site, int b, float *to, mb_err *e) {
    uint8_t *copy = j->copy + j->copies * j->length;
    const int64_t at = j->first + site;
    memcpy(copy, j->token, (size_t)j->length);
    j->copy_length[j->copies] = j->length;
    if (to && b < 4) {
        copy[at] = (uint8_t)j->o->how.alphabet->base[b];
    } else if (to) {
        memmove(copy + at, copy + at + 1, (size_t)(j->length - at - 1));
        j->copy_length[j->copies]--;
    }
    j->to[j->copies++] = to;
    return j->copies == j->most || !to ? run_copies(j, e) : MB_OK;
}

static int make_copies(job *j, mb_err *e) {
    const size_t most = (size_t)j->most, length = (size_t)j->length;
    j->copy = mb_malloc(most * length);
    j->copy_length = mb_calloc(most, sizeof *j->copy_length);
    j->to = mb_calloc(most, sizeof *j->to);
    j->value = mb_calloc(most, sizeof *j->value);
    if (j->o->score == DNA_ISM_PLL) {
        j->logp = mb_malloc(most * 2 * length * sizeof *j->logp);
        j->item = mb_calloc(most, sizeof *j->item);
        j->logp_of = mb_calloc(most, sizeof *j->logp_of);
    } else {
        j->piece = mb_calloc(most, sizeof *j->piece);
        j->answer = mb_calloc(most * (size_t)j->o->head->pool.C, sizeof *j->answer);
    }
    return j->copy && j->copy_length && j->to && j->value && (j->logp || j->piece) && (j->item || j->answer) &&
                   (j->logp_of || j->answer)
               ? MB_OK
               : no_memory(e);
}

static int run_mutants(job *j, mb_err *e) {
    dna_ism *m = j->m;
    j->most = BATCH_TOKENS / j->length;
    j->most = j->most < 1 ? 1 : j->most < MOST_COPIES ? j->most : MOST_COPIES;
    int rc = make_copies(j, e);
    if (rc == MB_OK)
        rc = add_copy(j, 0, 0, NULL, e);
    for (int64_t i = 0; rc == MB_OK && i < m->n; i++)
        for (int b = 0; rc == MB_OK && b < m->columns; b++) {
            float *to = &m->effect[i * m->columns + b];
            *to = m->base[i] < 0 || (b == 4 && j->length == 1) ? NAN : 0;
            if (!isnan(*to) && b != m->base[i])
                rc = add_copy(j, i, b, to, e);
        }
    return rc == MB_OK ? run_copies(j, e) : rc;
}

static void fini_job(job *j) {
    mb_free(j->token);
    mb_free(j->copy);
    mb_free(j->copy_length);
    mb_free(j->to);
    mb_free(j->value);
    mb_free(j->logp);
    mb_free(j->item);
    mb_free(j->logp_of);
    mb_free(j->piece);
    mb_free(j->answer);
}

int dna_ism_run(dna_ism *m, const dna_ism_options *o, const dna_context *c, mb_err *e) {
    const dna_region *r = c->region;
    job j = {
        .o = o, .m = m, .length = c->to - c->from, .first = r->strand == '-' ? c->to - r->end : r->start - c->from};
    MB_ASSERT(!(o->deletions && o->score == DNA_ISM_MASKED));
    *m = (dna_ism){.n = r->end - r->start, .columns = o->deletions ? 5 : 4};
    m->base = mb_malloc((size_t)m->n * sizeof *m->base);
    m->effect = mb_malloc((size_t)(m->n * m->columns) * sizeof *m->effect);
    if (o->score == DNA_ISM_MASKED)
        m->logp = mb_malloc((size_t)(4 * m->n) * sizeof *m->logp);
    j.token = mb_malloc((size_t)j.length);
    int rc = m->base && m->effect && j.token && (m->logp || o->score != DNA_ISM_MASKED) ? MB_OK : no_memory(e);
    if (rc == MB_OK) {
        memcpy(j.token, c->token, (size_t)j.length);
        if (r->strand == '-')
            dna_reverse_tokens(o->how.alphabet, j.token, j.length);
        for (int64_t i = 0; i < m->n; i++)
            m->base[i] = dna_base_of(o->how.alphabet, j.token[j.first + i]);
        rc = o->score == DNA_ISM_MASKED ? run_masked(&j, e) : run_mutants(&j, e);
    }
    fini_job(&j);
    if (rc)
        dna_ism_fini(m);
    return rc;
}

void dna_ism_fini(dna_ism *m) {
    mb_free(m->base);
    mb_free(m->effect);
    mb_free(m->logp);
    *m = (dna_ism){0};
}

double dna_ism_work(const dna_ism_options *o, int64_t length, int64_t sites) {
    const double all = (double)length, n = (double)sites;
    const int one_strand = mb_model_strands(o->how.model) == 1;
    if (o->score == DNA_ISM_MASKED) {
        dna_profile_options how = o->how;
        how.mask_stride = 0;
        return all * dna_profile_passes(&how, length, sites);
    }
    const double copies = 1 + n * (o->deletions ? 4 : 3);
    if (o->score == DNA_ISM_HEAD)
        return all * copies * (o->head->conjoin && one_strand ? 2 : 1);
    return all * copies * dna_profile_passes(&o->how, length, length);
}

double dna_ism_bits(const dna_ism *m, int64_t site) {
    if (!m->logp || m->base[site] < 0 || isnan(m->logp[4 * site]))
        return NAN;
    return 2 - (double)dna_track_value(DNA_TRACK_ENTROPY, m->logp + 4 * site, m->base[site]);
}

double dna_ism_importance(const dna_ism *m, int64_t site) {
    double sum = 0;
    if (m->base[site] < 0)
        return NAN;
    for (int b = 0; b < 4; b++)
        sum += b == m->base[site] ? 0 : (double)m->effect[site * m->columns + b];
    return -sum / 3;
}
