/* mean: sum over positions in the direction of the model's last pass, in double, divided by their number.
 * max: largest value of each channel. center: the row at position length/2 (rounded down, from 0). Every position
 * counts, N too. The order is fixed by the model, so the bits do not depend on threads or memory. Refuses (MB_FAIL)
 * values that are not finite: they would come from broken weights. */
#include "genomics/pool.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"

typedef struct stream {    /* one sequence, layer and block */
    int64_t bin;           /* open now */
    int64_t count;         /* positions in it so far */
    int begun, descending; /* descending: the pass runs right to left; the rows of each piece still lie left to right */
} stream;

struct dna_pool {
    dna_pool_options o;
    const int64_t *length; /* (n), borrowed */
    int n;
    dna_pool_out to;
    stream *stream; /* (n, n_layers, blocks) */
    double *sum;    /* (n, n_layers, blocks, D) */
    float *line;    /* (threads, D) */
};

int64_t dna_pool_rows(const dna_pool_options *o, int64_t length) {
    if (o->kind == DNA_POOL_NONE)
        return length;
    return o->bin ? (length - 1) / o->bin + 1 : 1;
}

int dna_pool_create(dna_pool **out, const dna_pool_options *o, const int64_t *length, int n, const dna_pool_out *to,
                    mb_err *e) {
    *out = NULL;
    MB_ASSERT(!o->bin || o->kind == DNA_POOL_MEAN || o->kind == DNA_POOL_MAX);
    dna_pool *p = mb_calloc(1, sizeof *p);
    if (!p)
        return mb_fail(e, MB_NOMEM, "no memory for pooling");
    *p = (dna_pool){.o = *o, .length = length, .n = n, .to = *to};
    size_t streams = (size_t)n * (size_t)o->n_layers * (size_t)o->blocks;
    p->stream = mb_calloc(streams, sizeof *p->stream);
    p->line = mb_calloc((size_t)o->threads, (size_t)o->D * sizeof *p->line);
    if (o->kind == DNA_POOL_MEAN || o->kind == DNA_POOL_MAX)
        p->sum = mb_calloc(streams, (size_t)o->D * sizeof *p->sum);
    int sums = p->sum || o->kind == DNA_POOL_NONE || o->kind == DNA_POOL_CENTER;
    if (!p->stream || !p->line || !sums) {
        dna_pool_destroy(p);
        return mb_fail(e, MB_NOMEM, "no memory for pooling %d sequences", n);
    }
    *out = p;
    return MB_OK;
}

void dna_pool_destroy(dna_pool *p) {
    if (!p)
        return;
    mb_free(p->stream);
    mb_free(p->sum);
    mb_free(p->line);
    mb_free(p);
}

typedef struct piece { /* where a delivered piece belongs */
    const mb_rows *r;
    int item, layer, block, backwards, turned;
    stream *stream;
    double *sum; /* (D) */
    float *line; /* (D) */
} piece;

static int put_line(const dna_pool *p, const piece *at, int64_t row, const float *values, mb_err *e) {
    const int D = p->o.D;
    if (at->turned) {
        for (int c = 0; c < D; c++)
            at->line[c] = values[D - 1 - c];
        values = at->line;
    }
    return p->to.put(p->to.user, at->item, at->layer, at->block, row, 1, values, e);
}

static int close_bin(const dna_pool *p, const piece *at, int64_t n, mb_err *e) {
    const int D = p->o.D;
    const double scale = p->o.kind == DNA_POOL_MEAN ? (double)n : 1.0;
    for (int c = 0; c < D; c++)
        at->line[at->turned ? D - 1 - c : c] = (float)(at->sum[c] / scale);
    at->stream->count = 0;
    return p->to.put(p->to.user, at->item, at->layer, at->block, at->stream->bin, 1, at->line, e);
}

static void add_row(const dna_pool *p, const piece *at, const float *row) {
    const int D = p->o.D;
    if (at->stream->count == 0)
        for (int c = 0; c < D; c++)
            at->sum[c] = row[c];
    else if (p->o.kind == DNA_POOL_MEAN)
        for (int c = 0; c < D; c++)
            at->sum[c] += row[c];
    else
        for (int c = 0; c < D; c++)
            at->sum[c] = row[c] > at->sum[c] ? row[c] : at->sum[c];
    at->stream->count++;
}

static int pool_rows(const dna_pool *p, const piece *at, mb_err *e) {
    const int64_t L = p->length[at->item], bin = p->o.bin ? p->o.bin : L;
    if (!at->stream->begun) {
        at->stream->begun = 1;
        at->stream->descending = at->r->from > 0;
    }
    for (int k = 0; k < at->r->n; k++) {
        const int i = at->stream->descending ? at->r->n - 1 - k : k;
        const int64_t seen = at->r->from + i, t = at->backwards ? L - 1 - seen : seen;
        at->stream->bin = t / bin;
        add_row(p, at, at->r->row + (size_t)i * (size_t)p->o.D);
        const int64_t left = L - at->stream->bin * bin, size = left < bin ? left : bin;
        if (at->stream->count == size) {
            int rc = close_bin(p, at, size, e);
            if (rc)
                return rc;
        }
    }
    return MB_OK;
}

static int pass_rows(const dna_pool *p, const piece *at, mb_err *e) {
    const mb_rows *r = at->r;
    const int64_t L = p->length[at->item];
    if (!at->backwards && !at->turned && p->o.kind == DNA_POOL_NONE)
        return p->to.put(p->to.user, at->item, at->layer, at->block, r->from, r->n, r->row, e);
    for (int i = 0; i < r->n; i++) {
        const int64_t t = at->backwards ? L - 1 - r->from - i : r->from + i;
        if (p->o.kind == DNA_POOL_CENTER && t != L / 2)
            continue;
        int rc = put_line(p, at, p->o.kind == DNA_POOL_CENTER ? 0 : t, r->row + (size_t)i * (size_t)p->o.D, e);
        if (rc)
            return rc;
    }
    return MB_OK;
}

static int64_t first_not_finite(const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= FLT_MAX))
            return i;
    return -1;
}

static int take_rows(void *user, const mb_rows *r, mb_err *e) {
    dna_pool *p = user;
    const int D = p->o.D;
    int layer = 0;
    while (p->o.layer[layer] != r->layer)
        layer++;
    piece at = {.r = r, .item = r->sequence % p->n, .layer = layer, .backwards = r->sequence >= p->n};
    at.block = p->o.blocks == 1 ? 0 : at.backwards || r->column > 0;
    at.turned = p->o.turn_second && r->column > 0;
    const size_t s = ((size_t)at.item * (size_t)p->o.n_layers + (size_t)layer) * (size_t)p->o.blocks + (size_t)at.block;
    at.stream = &p->stream[s];
    at.sum = p->sum ? p->sum + s * (size_t)D : NULL;
    at.line = p->line + (size_t)r->worker * (size_t)D;
    const int64_t bad = first_not_finite(r->row, (int64_t)r->n * D);
    if (bad >= 0)
        return mb_fail(e, MB_FAIL,
                       "%s: the hidden state of layer %d is not finite at base %" PRId64
                       "; the weights are damaged or too large for this precision",
                       p->to.name(p->to.user, at.item), r->layer, r->from + bad / D + 1);
    return p->sum ? pool_rows(p, &at, e) : pass_rows(p, &at, e);
}

mb_sink dna_pool_sink(dna_pool *p) {
    return (mb_sink){.rows = take_rows, .user = p};
}
