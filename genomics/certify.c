/* With f the model, R the reverse complement (positions and channels turned over):
 *   reverse complement   f(rc x) = R f(x), and logits at the mirrored position of the complementary token
 * (RC-equivariant) memory               the same bits with streams in memory and in a scratch file, all kept and lean
 *   threads              the same bits on one thread and on several
 *   tile                 nearly the same with another tile: sums run in another order
 * Lengths are chosen around the tile and its multiples. Refuses nothing. */
#include "genomics/certify.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "core/rng.h"

typedef struct sample { /* one random sequence and what the model makes of it */
    int64_t length;
    int32_t *token;         /* (length) */
    float *hidden, *logits; /* (length, width), (length, V) or NULL */
} sample;

typedef struct bench {
    certify_report *r;
    const mb_model *m;
    const dna_alphabet *a;
    const certify_options *o;
    int width, V, has_head;
} bench;

static void free_sample(sample *s) {
    mb_free(s->token);
    mb_free(s->hidden);
    mb_free(s->logits);
}

static int allocate(sample *s, const bench *b, int64_t length, mb_err *e) {
    s->length = length;
    s->token = mb_calloc((size_t)length, sizeof *s->token);
    s->hidden = mb_calloc((size_t)length, (size_t)b->width * sizeof *s->hidden);
    s->logits = b->has_head ? mb_calloc((size_t)length, (size_t)b->V * sizeof *s->logits) : NULL;
    if (s->token && s->hidden && (s->logits || !b->has_head))
        return MB_OK;
    free_sample(s);
    memset(s, 0, sizeof *s);
    return mb_fail(e, MB_NOMEM, "no memory to certify a sequence of %lld", (long long)length);
}

static void draw(sample *s, const bench *b) {
    mb_rng rng;
    mb_rng_init(&rng, b->o->seed, (uint64_t)s->length);
    for (int64_t i = 0; i < s->length; i++) {
        const int n = b->a && mb_rng_below(&rng, 50) == 0; /* some N */
        const int base = (int)mb_rng_below(&rng, 4);
        s->token[i] = n ? b->a->n_token : b->a ? b->a->base[base] : (int)mb_rng_below(&rng, (uint64_t)b->V);
    }
}

static int forward(const bench *b, const mb_model *m, sample *s, int threads, int64_t memory, mb_err *e) {
    const mb_forward_options o = {.threads = threads, .memory = memory, .scratch = b->o->scratch};
    return mb_forward_hidden(m, s->token, s->length, mb_model_config(m)->n_layer, &o, s->hidden, s->logits, e);
}

/* ---- comparing ----------------------------------------------------------------------------------------------------
 */

int certify_broken(const certify_line *l) {
    return !(l->error <= l->allowed) || (l->exact && l->bits_differ);
}

static void note(const bench *b, const char *law, int64_t length, const float *got, const float *want, int64_t n,
                 int exact) {
    MB_ASSERT(b->r->n < CERTIFY_MAX);
    certify_line *l = &b->r->line[b->r->n++];
    double squares = 0;
    *l = (certify_line){.law = law, .length = length, .allowed = exact ? 0 : b->o->tol, .exact = exact};
    l->bits_differ = memcmp(got, want, (size_t)n * sizeof *got) != 0;
    for (int64_t i = 0; i < n; i++)
        squares += (double)want[i] * want[i];
    const double rms = sqrt(squares / (double)n);
    for (int64_t i = 0; i < n; i++) {
        const double scale = fabs((double)want[i]) > rms ? fabs((double)want[i]) : rms;
        const double error = fabs((double)got[i] - want[i]) / (scale > 0 ? scale : 1);
        if (!(error <= l->error)) /* a NaN stays */
            l->error = error;
    }
    b->r->broken += certify_broken(l);
}

static void note_both(const bench *b, const char *hidden_law, const char *logits_law, const sample *got,
                      const sample *want, int exact) {
    note(b, hidden_law, want->length, got->hidden, want->hidden, want->length * b->width, exact);
    if (b->has_head)
        note(b, logits_law, want->length, got->logits, want->logits, want->length * b->V, exact);
}

/* ---- the laws -----------------------------------------------------------------------------------------------------
 */

/* hidden: positions and channels reversed; logits: positions reversed, columns of complementary tokens exchanged. */
static void turn(const bench *b, const sample *s, sample *out) {
    const mb_config *c = mb_model_config(b->m);
    for (int64_t t = 0; t < s->length; t++) {
        const int64_t from = s->length - 1 - t;
        for (int k = 0; k < b->width; k++)
            out->hidden[t * b->width + k] = s->hidden[from * b->width + b->width - 1 - k];
        for (int v = 0; b->has_head && v < b->V; v++)
            out->logits[t * b->V + v] = s->logits[from * b->V + (v < c->n_complement ? c->complement[v] : v)];
    }
}

static int check_strands(const bench *b, const sample *whole, mb_err *e) {
    sample reverse = {0}, turned = {0};
    int rc = allocate(&reverse, b, whole->length, e);
    if (!rc)
        rc = allocate(&turned, b, whole->length, e);
    for (int64_t t = 0; !rc && t < whole->length; t++)
        reverse.token[t] = b->a->complement[whole->token[whole->length - 1 - t]];
    if (!rc)
        rc = forward(b, b->m, &reverse, b->o->threads, b->o->memory, e);
    if (!rc) {
        turn(b, whole, &turned);
        note_both(b, "reverse complement, hidden", "reverse complement, logits", &reverse, &turned, 0);
    }
    free_sample(&reverse);
    free_sample(&turned);
    return rc;
}

static int check_ways(const bench *b, const sample *whole, const mb_model *other_tile, mb_err *e) {
    sample again = {0};
    int rc = allocate(&again, b, whole->length, e);
    if (rc)
        return rc;
    memcpy(again.token, whole->token, (size_t)whole->length * sizeof *again.token);
    rc = forward(b, b->m, &again, b->o->threads, 1, e); /* one byte: nothing fits, all is spilled */
    if (!rc)
        note_both(b, "memory, hidden", "memory, logits", &again, whole, 1);
    if (!rc)
        rc = forward(b, b->m, &again, b->o->threads == 1 ? 3 : 1, b->o->memory, e);
    if (!rc)
        note_both(b, "threads, hidden", "threads, logits", &again, whole, 1);
    if (!rc)
        rc = forward(b, other_tile, &again, b->o->threads, b->o->memory, e);
    if (!rc)
        note_both(b, "tile, hidden", "tile, logits", &again, whole, 0);
    free_sample(&again);
    return rc;
}

int certify_run(certify_report *r, const mb_model *m, const dna_alphabet *a, const certify_options *o, mb_err *e) {
    const mb_config *c = mb_model_config(m);
    const int64_t tile = mb_model_tile(m), length[] = {1, tile - 1, 2 * tile + 1, 10 * tile + 7};
    bench b = {.r = r, .m = m, .a = a, .o = o, .width = mb_model_width(m), .V = c->V, .has_head = c->has_head};
    mb_model_options how = o->how;
    mb_model *other = NULL;
    memset(r, 0, sizeof *r);
    how.tile = tile > 64 ? (int)tile / 2 : (int)tile * 2;
    int rc = mb_model_open(&other, o->model, &how, e);
    for (size_t i = 0; !rc && i < sizeof length / sizeof *length; i++) {
        sample whole = {0};
        if (length[i] < 1)
            continue;
        rc = allocate(&whole, &b, length[i], e);
        if (!rc) {
            draw(&whole, &b);
            rc = forward(&b, m, &whole, o->threads, o->memory, e);
        }
        if (!rc && a && mb_model_strands(m) == 2)
            rc = check_strands(&b, &whole, e);
        if (!rc)
            rc = check_ways(&b, &whole, other, e);
        free_sample(&whole);
    }
    mb_model_destroy(other);
    return rc;
}
