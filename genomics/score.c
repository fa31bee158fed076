/* Log-likelihoods of bases.
 *   causal:  log p(x_t | x_0 .. x_{t-1}), t >= 1: the logits of row t-1
 *   masked:  log p(x_t | the rest, with the positions t' = t (mod K) masked), from the logits of row t. K = 8 masks one
 * base in eight, near the 15 % of the models' training; K = length (mask stride 0) masks one at a time, exactly the
 *            pseudo-log-likelihood of Salazar et al. 2020 (arXiv 1910.14659) at `length` passes.
 * Probabilities are renormalised over A, C, G, T unless all tokens are asked for. The logits of RC-equivariant models
 * are sums over both strands, whose rows come at different times: each strand has its own buffer, added afterwards, so
 * that the order of arrival does not matter. N is neither masked nor scored. */
#include "genomics/score.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"

/* Tokens and sequences of one forward run. */
#define RUN_TOKENS ((int64_t)1 << 20)
enum { RUN_SEQUENCES = 4096 };

typedef struct view { /* one sequence as the model sees it */
    const score_options *o;
    const dna_item *item;
    int reversed;
    int64_t stride, phase; /* masked positions: phase, phase + stride, ... of the view; stride 0: none */
    int64_t kept;          /* rows whose logits are kept */
    float *logits;         /* (strands, kept, width) */
    float *logp;           /* (length) in forward positions */
} view;

typedef struct run {
    const score_options *o;
    int V, width, strands; /* width: logits kept per row, 4 or V */
    view *view;            /* (n) */
    mb_sequence *seq;      /* (n) */
    int n;
    int64_t tokens, floats; /* floats: logits of all views */
    float *logits, *row;    /* row (threads, tile, V) */
} run;

static int token_at(const view *v, int64_t t) {
    const uint8_t *token = v->item->token;
    return v->reversed ? v->o->alphabet->complement[token[v->item->length - 1 - t]] : token[t];
}

/* 0..3 for A C G T, -1 for others. */
static int base_of(const dna_alphabet *a, int token) {
    for (int i = 0; i < 4; i++)
        if (a->base[i] == token)
            return i;
    return -1;
}

static int read_view(void *user, int64_t from, int n, int32_t *token) {
    const view *v = user;
    for (int i = 0; i < n; i++) {
        const int64_t t = from + i;
        token[i] = token_at(v, t);
        if (v->stride && t % v->stride == v->phase && base_of(v->o->alphabet, token[i]) >= 0)
            token[i] = v->o->alphabet->mask_token;
    }
    return MB_OK;
}

/* Log-probability of base (0..3) of logits (width). */
static float log_softmax(const run *r, const float *logits, int base) {
    const int at = r->width == 4 ? base : r->o->alphabet->base[base];
    double top = logits[0], sum = 0;
    for (int v = 1; v < r->width; v++)
        top = logits[v] > top ? logits[v] : top;
    for (int v = 0; v < r->width; v++)
        sum += exp(logits[v] - top);
    return (float)(logits[at] - top - log(sum));
}

/* Row t of the view belongs to target position t+1 (causal) or is kept when masked: its place among the kept, or -1. */
static int64_t kept_index(const view *v, int64_t t) {
    if (!v->stride)
        return t + 1 < v->item->length ? t : -1;
    return t % v->stride == v->phase ? t / v->stride : -1;
}

static int take_rows(void *user, const mb_rows *rows, mb_err *e) {
    run *r = user;
    const view *v = &r->view[rows->sequence];
    const int tile = mb_model_tile(r->o->model);
    MB_ASSERT(rows->n <= tile);
    float *out = r->row + (size_t)rows->worker * (size_t)tile * (size_t)r->V;
    int wanted = 0;
    for (int i = 0; i < rows->n && !wanted; i++)
        wanted = kept_index(v, rows->from + i) >= 0;
    if (!wanted)
        return MB_OK;
    int rc = mb_head_logits(r->o->model, rows, out, 0, e);
    for (int i = 0; !rc && i < rows->n; i++, out += r->V) {
        const int64_t at = kept_index(v, rows->from + i);
        if (at < 0)
            continue;
        float *to = v->logits + ((size_t)rows->strand * (size_t)v->kept + (size_t)at) * (size_t)r->width;
        for (int k = 0; k < r->width; k++)
            to[k] = out[r->width == 4 ? r->o->alphabet->base[k] : k];
    }
    return rc;
}

static void finish_view(const run *r, view *v) {
    const int64_t step = v->stride ? v->stride : 1, first = v->stride ? v->phase : 1;
    const size_t strand = (size_t)v->kept * (size_t)r->width;
    for (int64_t k = 0; k < v->kept; k++) {
        const int64_t t = first + k * step;
        const int base = base_of(r->o->alphabet, token_at(v, t));
        float *logits = v->logits + (size_t)k * (size_t)r->width;
        for (int s = 1; s < r->strands; s++)
            for (int i = 0; i < r->width; i++)
                logits[i] += logits[(size_t)s * strand + (size_t)i];
        if (base >= 0)
            v->logp[v->reversed ? v->item->length - 1 - t : t] = log_softmax(r, logits, base);
    }
}

static int run_views(run *r, mb_err *e) {
    if (r->n == 0)
        return MB_OK;
    const mb_sink sink = {.rows = take_rows, .user = r};
    const int64_t threads = r->o->forward.threads, tile = mb_model_tile(r->o->model);
    r->logits = mb_malloc((size_t)r->floats * sizeof(float) + 1);
    r->row = mb_malloc((size_t)(threads * tile * r->V) * sizeof(float));
    int rc =
        r->logits && r->row ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for logits of %" PRId64 " positions", r->tokens);
    float *next = r->logits;
    for (int i = 0; !rc && i < r->n; i++) {
        r->view[i].logits = next;
        next += (int64_t)r->strands * r->view[i].kept * r->width;
        r->seq[i] = (mb_sequence){.length = r->view[i].item->length, .read = read_view, .user = &r->view[i]};
    }
    mb_forward_options forward = r->o->forward;
    forward.memory -= r->floats * (int64_t)sizeof(float);
    if (forward.memory < 1)
        forward.memory = 1; /* 0 would mean all there is */
    if (!rc)
        rc = mb_forward_run(r->o->model, r->seq, r->n, &forward, &sink, e);
    for (int i = 0; !rc && i < r->n; i++)
        finish_view(r, &r->view[i]);
    mb_free(r->logits);
    mb_free(r->row);
    r->logits = r->row = NULL;
    r->n = 0;
    r->tokens = r->floats = 0;
    return rc;
}

static int add_view(run *r, const view *v, mb_err *e) {
    const int64_t length = v->item->length;
    if (r->n > 0 && (r->n == RUN_SEQUENCES || r->tokens + length > RUN_TOKENS)) {
        int rc = run_views(r, e);
        if (rc)
            return rc;
    }
    r->view[r->n++] = *v;
    r->tokens += length;
    r->floats += (int64_t)r->strands * v->kept * r->width;
    return MB_OK;
}

static int64_t stride_of(const score_options *o, int64_t length) {
    if (o->scheme == SCORE_CAUSAL)
        return 0;
    return o->mask_stride && o->mask_stride < length ? o->mask_stride : length;
}

static int add_item(run *r, const dna_item *item, int reversed, float *logp, mb_err *e) {
    view v = {.o = r->o, .item = item, .reversed = reversed, .logp = logp, .stride = stride_of(r->o, item->length)};
    int rc = MB_OK;
    if (!v.stride) {
        v.kept = item->length - 1;
        return v.kept ? add_view(r, &v, e) : MB_OK;
    }
    for (; !rc && v.phase < v.stride; v.phase++) {
        if (v.stride == item->length && base_of(r->o->alphabet, token_at(&v, v.phase)) < 0)
            continue; /* one at a time: nothing to score in this pass */
        v.kept = (item->length - 1 - v.phase) / v.stride + 1;
        rc = add_view(r, &v, e);
    }
    return rc;
}

int score_batch(const score_options *o, const dna_batch *b, float *const *logp, mb_err *e) {
    const mb_config *c = mb_model_config(o->model);
    run r = {
        .o = o, .V = c->V, .width = o->softmax == SCORE_SOFTMAX_ACGT ? 4 : c->V, .strands = mb_model_strands(o->model)};
    r.view = mb_calloc(RUN_SEQUENCES, sizeof *r.view);
    r.seq = mb_calloc(RUN_SEQUENCES, sizeof *r.seq);
    int rc = r.view && r.seq ? MB_OK : mb_fail(e, MB_NOMEM, "no memory to score sequences");
    for (int i = 0; !rc && i < b->n; i++) {
        const int64_t length = b->item[i].length;
        for (int64_t t = 0; t < length << o->both; t++)
            logp[i][t] = NAN;
        rc = add_item(&r, &b->item[i], 0, logp[i], e);
        if (!rc && o->both)
            rc = add_item(&r, &b->item[i], 1, logp[i] + length, e);
    }
    if (!rc)
        rc = run_views(&r, e);
    mb_free(r.view);
    mb_free(r.seq);
    return rc;
}

double score_passes(const score_options *o, int64_t length) {
    const int64_t stride = stride_of(o, length);
    return (double)(stride ? stride : 1) * (o->both ? 2 : 1);
}
