/* See probe.h. The logits of RC-equivariant models are sums over both strands, whose rows come at different times: each
 * strand has its own buffer, added afterwards, so that the order of arrival does not matter. A set of positions that is
 * not ascending, or reaches outside its sequence, is a bug of the caller. */
#include "genomics/probe.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"

/* Tokens and sequences of one forward run. */
#define RUN_TOKENS ((int64_t)1 << 20)
enum { RUN_SEQUENCES = 4096 };

typedef struct view { /* a probe in the run */
    dna_probe probe;
    const dna_probe_options *o;
    float *logits; /* (strands, want.n, width), in the letters that the model was shown */
} view;

struct dna_probes {
    dna_probe_options o;
    int V, width, strands; /* width: logits kept per row, 4 or V */
    view *view;            /* (n) */
    mb_sequence *seq;      /* (n) */
    int n;
    int64_t tokens, floats; /* floats: logits of all views */
    float *logits, *row;    /* row (threads, tile, V) */
};

int64_t dna_place(const dna_places *p, int64_t i) {
    return p->at ? p->at[i] : p->first + i * p->step;
}

int64_t dna_place_from(const dna_places *p, int64_t position) {
    if (p->n == 0 || position <= dna_place(p, 0))
        return 0;
    if (position > dna_place(p, p->n - 1))
        return p->n;
    if (!p->at)
        return (position - p->first + p->step - 1) / p->step;
    int64_t low = 0, high = p->n - 1; /* at[low] < position <= at[high] */
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (p->at[middle] < position)
            low = middle;
        else
            high = middle;
    }
    return high;
}

dna_places dna_places_every(int64_t first, int64_t step, int64_t length) {
    return (dna_places){.first = first, .step = step, .n = first < length ? (length - 1 - first) / step + 1 : 0};
}

static void check_places(const dna_places *p, int64_t length) {
    MB_ASSERT(p->n >= 0);
    if (p->n == 0)
        return;
    MB_ASSERT(dna_place(p, 0) >= 0 && dna_place(p, p->n - 1) < length && (p->at || p->n == 1 || p->step > 0));
    for (int64_t i = 1; p->at && i < p->n; i++)
        MB_ASSERT(p->at[i - 1] < p->at[i]);
}

/* Where positions [t, t+n) of the view begin in the sequence, and the other way round. */
static int64_t turn(const dna_probe *p, int64_t t, int64_t n) {
    return p->reversed ? p->length - t - n : t;
}

static int read_view(void *user, int64_t from, int n, int32_t *token) {
    const view *v = user;
    const dna_probe *p = &v->probe;
    const dna_alphabet *a = v->o->alphabet;
    const int64_t low = turn(p, from, n);
    for (int i = 0; i < n; i++)
        token[i] = p->reversed ? a->complement[p->token[low + n - 1 - i]] : p->token[low + i];
    for (int64_t k = dna_place_from(&p->mask, low); k < p->mask.n && dna_place(&p->mask, k) < low + n; k++) {
        const int64_t i = turn(p, dna_place(&p->mask, k), 1) - from;
        if (dna_base_of(a, token[i]) >= 0)
            token[i] = a->mask_token;
    }
    return MB_OK;
}

/* Log-probabilities of A C G T, in the letters of the sequence, of logits (width). Over the four bases, complementary
 * ones are added first: the sum has the same bits for the reverse complement. */
static void log_softmax(const dna_probes *r, const float *logits, int reversed, float logp[4]) {
    double top = logits[0], sum = 0;
    for (int v = 1; v < r->width; v++)
        top = logits[v] > top ? logits[v] : top;
    for (int v = 0; v < r->width && r->width != 4; v++)
        sum += exp(logits[v] - top);
    if (r->width == 4)
        sum = (exp(logits[0] - top) + exp(logits[3] - top)) + (exp(logits[1] - top) + exp(logits[2] - top));
    sum = log(sum);
    for (int b = 0; b < 4; b++) {
        const int shown = reversed ? 3 - b : b, at = r->width == 4 ? shown : r->o.alphabet->base[shown];
        logp[b] = (float)(logits[at] - top - sum);
    }
}

/* Row t of the view answers for its position t, or t+1 when causal. */
static int take_rows(void *user, const mb_rows *rows, mb_err *e) {
    dna_probes *r = user;
    const view *v = &r->view[rows->sequence];
    const dna_probe *p = &v->probe;
    const int tile = mb_model_tile(r->o.model);
    MB_ASSERT(rows->n <= tile);
    const int64_t first = rows->from + r->o.causal, low = turn(p, first, rows->n);
    int64_t k = dna_place_from(&p->want, low);
    if (k == p->want.n || dna_place(&p->want, k) >= low + rows->n)
        return MB_OK;
    float *out = r->row + (size_t)rows->worker * (size_t)tile * (size_t)r->V;
    int rc = mb_head_logits(r->o.model, rows, out, 0, e);
    for (; !rc && k < p->want.n && dna_place(&p->want, k) < low + rows->n; k++) {
        const float *from = out + (turn(p, dna_place(&p->want, k), 1) - first) * r->V;
        float *to = v->logits + ((size_t)rows->strand * (size_t)p->want.n + (size_t)k) * (size_t)r->width;
        for (int i = 0; i < r->width; i++)
            to[i] = from[r->width == 4 ? r->o.alphabet->base[i] : i];
    }
    return rc;
}

/* Answers take the place of the logits of strand 0: row k, of 4, ends before row k+1, of width, begins. */
static int finish_view(const dna_probes *r, const view *v, mb_err *e) {
    const dna_probe *p = &v->probe;
    const size_t strand = (size_t)p->want.n * (size_t)r->width;
    for (int64_t k = 0; k < p->want.n; k++) {
        float *logits = v->logits + (size_t)k * (size_t)r->width, logp[4] = {NAN, NAN, NAN, NAN};
        if (!r->o.causal || turn(p, dna_place(&p->want, k), 1) > 0) {
            for (int s = 1; s < r->strands; s++)
                for (int i = 0; i < r->width; i++)
                    logits[i] += logits[(size_t)s * strand + (size_t)i];
            log_softmax(r, logits, p->reversed, logp);
        }
        memcpy(v->logits + k * 4, logp, sizeof logp);
    }
    if (r->o.take)
        return r->o.take(r->o.user, p, v->logits, e);
    if (p->want.n > 0)
        memcpy(p->logp, v->logits, (size_t)p->want.n * 4 * sizeof(float));
    return MB_OK;
}

int dna_probes_finish(dna_probes *r, mb_err *e) {
    if (r->n == 0)
        return MB_OK;
    const mb_sink sink = {.rows = take_rows, .user = r};
    const int64_t threads = r->o.forward.threads, tile = mb_model_tile(r->o.model);
    r->logits = mb_malloc((size_t)r->floats * sizeof(float) + 1);
    r->row = mb_malloc((size_t)(threads * tile * r->V) * sizeof(float));
    int rc =
        r->logits && r->row ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for logits of %" PRId64 " positions", r->tokens);
    float *next = r->logits;
    for (int i = 0; !rc && i < r->n; i++) {
        r->view[i].logits = next;
        next += (int64_t)r->strands * r->view[i].probe.want.n * r->width;
        r->seq[i] = (mb_sequence){.length = r->view[i].probe.length, .read = read_view, .user = &r->view[i]};
    }
    mb_forward_options forward = r->o.forward;
    forward.memory -= r->floats * (int64_t)sizeof(float);
    if (forward.memory < 1)
        forward.memory = 1; /* 0 would mean all there is */
    if (!rc)
        rc = mb_forward_run(r->o.model, r->seq, r->n, &forward, &sink, e);
    for (int i = 0; !rc && i < r->n; i++)
        rc = finish_view(r, &r->view[i], e);
    mb_free(r->logits);
    mb_free(r->row);
    r->logits = r->row = NULL;
    r->n = 0;
    r->tokens = r->floats = 0;
    return rc;
}

int dna_probes_add(dna_probes *r, const dna_probe *probe, mb_err *e) {
    check_places(&probe->mask, probe->length);
    check_places(&probe->want, probe->length);
    if (r->n > 0 && (r->n == RUN_SEQUENCES || r->tokens + probe->length > RUN_TOKENS)) {
        int rc = dna_probes_finish(r, e);
        if (rc)
            return rc;
    }
    r->view[r->n++] = (view){.probe = *probe, .o = &r->o};
    r->tokens += probe->length;
    r->floats += (int64_t)r->strands * probe->want.n * r->width;
    return MB_OK;
}

int64_t dna_probe_passes(int causal, int64_t mask_stride, int64_t length) {
    if (causal)
        return 1;
    return mask_stride && mask_stride < length ? mask_stride : length;
}

int dna_probes_add_passes(dna_probes *r, const dna_probe *probe, int64_t mask_stride, mb_err *e) {
    dna_probe p = *probe;
    const int64_t stride = dna_probe_passes(r->o.causal, mask_stride, p.length);
    int rc = MB_OK;
    if (r->o.causal) {
        p.mask = (dna_places){0};
        p.want = dna_places_every(p.reversed ? 0 : 1, 1, p.length - p.reversed);
        return p.want.n ? dna_probes_add(r, &p, e) : MB_OK;
    }
    for (int64_t phase = 0; !rc && phase < stride; phase++) {
        const int64_t first = p.reversed ? (p.length - 1 - phase) % stride : phase;
        if (stride == p.length && dna_base_of(r->o.alphabet, p.token[first]) < 0)
            continue; /* nothing to score in this pass */
        p.mask = p.want = dna_places_every(first, stride, p.length);
        rc = dna_probes_add(r, &p, e);
    }
    return rc;
}

int dna_probes_open(dna_probes **out, const dna_probe_options *o, mb_err *e) {
    const int V = mb_model_config(o->model)->V;
    dna_probes *r = mb_calloc(1, sizeof *r);
    *out = NULL;
    if (r) {
        *r = (dna_probes){.o = *o, .V = V, .width = o->all_tokens ? V : 4, .strands = mb_model_strands(o->model)};
        r->view = mb_calloc(RUN_SEQUENCES, sizeof *r->view);
        r->seq = mb_calloc(RUN_SEQUENCES, sizeof *r->seq);
    }
    if (!r || !r->view || !r->seq) {
        dna_probes_close(r);
        return mb_fail(e, MB_NOMEM, "no memory to score sequences");
    }
    *out = r;
    return MB_OK;
}

void dna_probes_close(dna_probes *r) {
    if (!r)
        return;
    mb_free(r->view);
    mb_free(r->seq);
    mb_free(r);
}

int dna_probes_run(const dna_probe_options *o, const dna_probe *probe, int64_t n, mb_err *e) {
    dna_probes *r = NULL;
    int rc = dna_probes_open(&r, o, e);
    for (int64_t i = 0; !rc && i < n; i++)
        rc = dna_probes_add(r, &probe[i], e);
    if (!rc)
        rc = dna_probes_finish(r, e);
    dna_probes_close(r);
    return rc;
}
