/* See track.h. Sums over the four bases take complementary pairs first, so that a track of the reverse complement is
 * the track read backwards, to the bit, wherever the model's answers are. Refuses nothing. */
#include "genomics/track.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

enum { MOST_WINDOWS = 4096 };
#define BATCH_TOKENS ((int64_t)1 << 20) /* windows predicted together */

static double surprise(float logp) {
    return logp > -INFINITY ? -exp((double)logp) * (double)logp : 0;
}

float dna_track_value(int kind, const float logp[4], int base) {
    const float own = logp[base];
    float other = -INFINITY;
    if (kind == DNA_TRACK_ENTROPY) {
        const double nats = (surprise(logp[0]) + surprise(logp[3])) + (surprise(logp[1]) + surprise(logp[2]));
        return (float)fmin(2, fmax(0, nats / log(2)));
    }
    if (kind == DNA_TRACK_PROB)
        return (float)exp((double)own);
    for (int b = 0; b < 4; b++)
        other = b != base && logp[b] > other ? logp[b] : other;
    return own - other;
}

/* ---- bases ----------------------------------------------------------------------------------------------------------
 */

typedef struct bases {
    int kind;
    const dna_context *c;
    const dna_track_sink *sink;
} bases;

static void reduce(void *user, const float logp[4], int base, float *out) {
    const bases *b = user;
    *out = dna_track_value(b->kind, logp, base);
}

static int take_values(void *user, int64_t from, int64_t n, const float *value, mb_err *e) {
    const bases *b = user;
    return b->sink->put(b->sink->user, b->c->from + from, 1, value, n, e);
}

int dna_track_bases(int kind, const dna_profile_options *o, const dna_context *c, const dna_track_sink *sink,
                    mb_err *e) {
    bases b = {.kind = kind, .c = c, .sink = sink};
    const dna_profile_sink to = {.columns = 1, .reduce = reduce, .take = take_values, .user = &b};
    const dna_span wanted = {c->region->start - c->from, c->region->end - c->from};
    return dna_profile_run(o, c->token, c->to - c->from, wanted, &to, e);
}

/* ---- windows --------------------------------------------------------------------------------------------------------
 */

int dna_head_label(const dna_head *h, const char *name, int *label, mb_err *e) {
    char list[512] = "";
    size_t n = 0;
    *label = h->pool.C - 1;
    if (!name && h->pool.C <= 2)
        return MB_OK;
    for (int c = 0; c < h->pool.C; c++) {
        if (name && strcmp(h->label[c], name) == 0) {
            *label = c;
            return MB_OK;
        }
        if (n < sizeof list - 64)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%.40s", c ? ", " : "", h->label[c]);
    }
    if (!name)
        return mb_fail(e, MB_USAGE, "--class: which of the model's labels? It has %s", list);
    return mb_fail(e, MB_USAGE, "--class %.100s: the model has %s", name, list);
}

typedef struct windows {
    const dna_track_head *h;
    const dna_context *c;
    int64_t most;     /* windows of a batch */
    dna_piece *piece; /* (most) of those that have an answer */
    double *answer;   /* (most, units, C) */
    float *value;     /* (most) of blocks, or (most * stride) of bases */
} windows;

static int64_t count_n(const windows *w, int64_t from, int64_t n) {
    int64_t count = 0;
    for (int64_t t = from; t < from + n; t++)
        count += w->c->token[t - w->c->from] == w->h->alphabet->n_token;
    return count;
}

static int has_answer(const windows *w, int64_t block, int64_t from) {
    const dna_track_head *h = w->h;
    if (from < w->c->from || from + h->window > w->c->to)
        return 0;
    const int64_t end = block + h->stride < w->c->region->end ? block + h->stride : w->c->region->end;
    return 2 * count_n(w, from, h->window) <= h->window && count_n(w, block, end - block) < end - block;
}

static int64_t window_of(const windows *w, int64_t block) {
    return block - (w->h->window - w->h->stride) / 2;
}

/* Values of blocks [block, block + n stride): NaN, or the next answers. */
static void spread(const windows *w, int64_t block, int64_t n) {
    const dna_track_head *h = w->h;
    const int C = h->head->pool.C, per_base = h->head->task == DNA_TASK_BASES;
    const double *answer = w->answer + h->label;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = block + i * h->stride, from = window_of(w, at);
        const int there = has_answer(w, at, from);
        if (!per_base)
            w->value[i] = there ? (float)*answer : NAN;
        for (int64_t k = 0; per_base && k < h->stride; k++) {
            const int64_t t = at + k;
            const int none = !there || t >= w->c->region->end || count_n(w, t, 1);
            w->value[i * h->stride + k] = none ? NAN : (float)answer[(t - from) * C];
        }
        if (there)
            answer += C * (per_base ? h->window : 1);
    }
}

/* Blocks [block, block + n stride), of which the last may reach beyond the region. */
static int put_blocks(const windows *w, int64_t block, int64_t n, const dna_track_sink *sink, mb_err *e) {
    const int64_t S = w->h->stride, end = w->c->region->end, whole = (end - block) / S < n ? (end - block) / S : n;
    if (w->h->head->task == DNA_TASK_BASES)
        return sink->put(sink->user, block, 1, w->value, n * S < end - block ? n * S : end - block, e);
    int rc = whole ? sink->put(sink->user, block, S, w->value, whole, e) : MB_OK;
    if (rc == MB_OK && whole < n)
        rc = sink->put(sink->user, block + whole * S, end - block - whole * S, w->value + whole, 1, e);
    return rc;
}

static int run_batch(windows *w, int64_t block, int64_t n, const dna_track_sink *sink, mb_err *e) {
    const dna_track_head *h = w->h;
    int64_t pieces = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = block + i * h->stride, from = window_of(w, at);
        if (has_answer(w, at, from))
            w->piece[pieces++] = (dna_piece){w->c->token + (from - w->c->from), h->window};
    }
    int rc = dna_head_predict(h->head, h->model, h->alphabet, w->piece, pieces, &h->forward, w->answer, e);
    if (rc == MB_OK)
        spread(w, block, n);
    mb_progress_add(h->forward.progress, (double)(n - pieces) * (double)h->window);
    return rc == MB_OK ? put_blocks(w, block, n, sink, e) : rc;
}

int dna_track_windows(const dna_track_head *h, const dna_context *c, const dna_track_sink *sink, mb_err *e) {
    MB_ASSERT(h->stride > 0 && h->window >= h->stride);
    windows w = {.h = h, .c = c, .most = BATCH_TOKENS / h->window};
    const int64_t blocks = (c->region->end - c->region->start + h->stride - 1) / h->stride;
    const int per_base = h->head->task == DNA_TASK_BASES;
    w.most = w.most < 1 ? 1 : w.most < MOST_WINDOWS ? w.most : MOST_WINDOWS;
    w.piece = mb_calloc((size_t)w.most, sizeof *w.piece);
    w.answer = mb_calloc((size_t)(w.most * (per_base ? h->window : 1)) * (size_t)h->head->pool.C, sizeof *w.answer);
    w.value = mb_malloc((size_t)(w.most * (per_base ? h->stride : 1)) * sizeof *w.value);
    int rc = w.piece && w.answer && w.value ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " windows", w.most);
    for (int64_t b = 0; rc == MB_OK && b < blocks; b += w.most)
        rc = run_batch(&w, c->region->start + b * h->stride, blocks - b < w.most ? blocks - b : w.most, sink, e);
    mb_free(w.piece);
    mb_free(w.answer);
    mb_free(w.value);
    return rc;
}
