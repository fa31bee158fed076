/* AdamW. See optimizer.h. Tensors are cut into chunks of a fixed size; sums of squares are added chunk by chunk in
 * order, so that nothing depends on threads. */
#include "core/optimizer.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/model_internal.h"
#include "core/params_table.h"

enum { CHUNK = 1 << 16 };

typedef struct chunk {
    int tensor;
    int64_t from, n; /* in the tensor */
    int64_t at;      /* in the state */
    double squares;
} chunk;

struct mb_optimizer {
    const mbk_ops *ops;
    mb_optimizer_options o;
    mb_trainable *tensor;
    int n;
    chunk *chunk;
    int n_chunks;
    int64_t floats, steps;
    float *first, *second, *average;
};

/* ---- a model's tensors ----------------------------------------------------------------------------------------------
 */

static int ends_with(const char *s, const char *end) {
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int decays(const mb_param *p, int norms_decay) {
    if (ends_with(p->name, ".bias") || ends_with(p->name, ".A_log") || ends_with(p->name, ".D"))
        return 0;
    if (p->layer < 0 && (strstr(p->name, "embedding") || strstr(p->name, "_emb.")))
        return 0;
    if (strstr(p->name, "norm") || strstr(p->name, "Norm"))
        return norms_decay;
    return 1;
}

typedef struct collector {
    mb_params *w, *sums;
    mb_trainable *t;
    int n, norms_decay;
    double rate;
} collector;

static int collect(void *user, const mb_param *p) {
    collector *c = user;
    if (p->alias_of >= 0)
        return MB_OK;
    if (c->t) {
        mb_trainable *t = &c->t[c->n];
        *t = (mb_trainable){.w = (float *)(uintptr_t)*mb_param_place(c->w, p),
                            .sum = (float *)(uintptr_t)*mb_param_place(c->sums, p),
                            .n = p->count,
                            .decays = decays(p, c->norms_decay),
                            .rate = c->rate};
        memcpy(t->name, p->name, sizeof t->name);
    }
    c->n++;
    return MB_OK;
}

int mb_model_trainables(mb_gradient *g, int norms_decay, double rate, mb_trainable *t) {
    mb_model *m = mb_gradient_model(g);
    collector c = {.w = m->params, .sums = mb_gradient_sums(g), .t = t, .norms_decay = norms_decay, .rate = rate};
    const int rc = mb_params_walk(&m->config, collect, &c);
    MB_ASSERT(rc == MB_OK);
    return c.n;
}

/* ---- creation -------------------------------------------------------------------------------------------------------
 */

static int count_chunks(const mb_trainable *t, int n) {
    int64_t chunks = 0;
    for (int i = 0; i < n; i++)
        chunks += (t[i].n + CHUNK - 1) / CHUNK;
    return (int)chunks;
}

static void cut(mb_optimizer *o) {
    int k = 0;
    for (int i = 0; i < o->n; i++)
        for (int64_t from = 0; from < o->tensor[i].n; from += CHUNK) {
            const int64_t left = o->tensor[i].n - from;
            o->chunk[k++] =
                (chunk){.tensor = i, .from = from, .n = left < CHUNK ? left : CHUNK, .at = o->floats + from};
            if (left <= CHUNK)
                o->floats += o->tensor[i].n;
        }
}

int mb_optimizer_create(mb_optimizer **out, const mbk_ops *ops, const mb_trainable *t, int n,
                        const mb_optimizer_options *options, mb_err *e) {
    mb_optimizer *o = mb_calloc(1, sizeof *o);
    *out = NULL;
    if (!o)
        return mb_fail(e, MB_NOMEM, "no memory for an optimiser");
    o->ops = ops;
    o->o = *options;
    o->n = n;
    o->n_chunks = count_chunks(t, n);
    o->tensor = mb_calloc((size_t)n, sizeof *o->tensor);
    o->chunk = mb_calloc((size_t)o->n_chunks, sizeof *o->chunk);
    if (o->tensor && o->chunk) {
        memcpy(o->tensor, t, (size_t)n * sizeof *t);
        cut(o);
        const size_t bytes = (size_t)o->floats * sizeof(float);
        o->first = mb_big_alloc(bytes);
        o->second = mb_big_alloc(bytes);
        if (options->average > 0)
            o->average = mb_big_alloc(bytes);
    }
    if (!o->tensor || !o->chunk || !o->first || !o->second || (options->average > 0 && !o->average)) {
        mb_optimizer_destroy(o);
        return mb_fail(e, MB_NOMEM, "no memory for the optimiser's state");
    }
    for (int i = 0; i < o->n_chunks; i++) {
        const chunk *c = &o->chunk[i];
        if (o->average)
            memcpy(o->average + c->at, o->tensor[c->tensor].w + c->from, (size_t)c->n * sizeof(float));
    }
    *out = o;
    return MB_OK;
}

int mb_optimizer_of_model(mb_optimizer **out, mb_gradient *g, int norms_decay, const mb_optimizer_options *o,
                          mb_err *e) {
    mb_trainable *t = mb_calloc((size_t)mb_model_trainables(g, norms_decay, 1, NULL), sizeof *t);
    if (!t)
        return mb_fail(e, MB_NOMEM, "no memory for the list of parameters");
    const int n = mb_model_trainables(g, norms_decay, 1, t);
    int rc = mb_optimizer_create(out, mb_model_ops(mb_gradient_model(g)), t, n, o, e);
    mb_free(t);
    return rc;
}

void mb_optimizer_destroy(mb_optimizer *o) {
    if (!o)
        return;
    const size_t bytes = (size_t)o->floats * sizeof(float);
    mb_big_free(o->first, bytes);
    mb_big_free(o->second, bytes);
    mb_big_free(o->average, bytes);
    mb_free(o->tensor);
    mb_free(o->chunk);
    mb_free(o);
}

size_t mb_optimizer_bytes(const mb_optimizer *o) {
    return (size_t)o->floats * sizeof(float) * (o->average ? 3 : 2);
}

/* ---- a step ---------------------------------------------------------------------------------------------------------
 */

static int gradient_norm(mb_optimizer *o, double divisor, double *norm) {
    int worst = MB_OK;
    double squares = 0;
#pragma omp parallel for num_threads(o->o.threads) schedule(static) reduction(min : worst)
    for (int i = 0; i < o->n_chunks; i++) {
        const mbk_ctx ctx = {omp_get_thread_num(), NULL};
        chunk *c = &o->chunk[i];
        const mb_trainable *t = &o->tensor[c->tensor];
        c->squares = 0;
        const int rc = t->rate > 0 ? o->ops->sumsq(&ctx, c->n, t->sum + c->from, &c->squares) : MB_OK;
        worst = rc < worst ? rc : worst;
    }
    for (int i = 0; i < o->n_chunks; i++)
        squares += o->chunk[i].squares;
    *norm = sqrt(squares) / fabs(divisor);
    return worst;
}

static int update_chunk(mb_optimizer *o, const chunk *c, double rate, double scale, const mbk_ctx *ctx) {
    const mb_trainable *t = &o->tensor[c->tensor];
    const double step = (double)o->steps;
    int rc = MB_OK;
    if (t->rate > 0) {
        const mbk_adamw update = {.n = c->n,
                                  .w = t->w + c->from,
                                  .m = o->first + c->at,
                                  .v = o->second + c->at,
                                  .grad = t->sum + c->from,
                                  .grad_scale = (float)scale,
                                  .lr = (float)(rate * t->rate),
                                  .b1 = (float)o->o.b1,
                                  .b2 = (float)o->o.b2,
                                  .eps = (float)o->o.eps,
                                  .decay = (float)(t->decays ? o->o.decay : 0),
                                  .c1 = (float)(1 - pow(o->o.b1, step)),
                                  .c2 = (float)(1 - pow(o->o.b2, step))};
        rc = o->ops->adamw(ctx, &update);
    }
    if (rc == MB_OK && o->average) {
        const mbk_ema ema = {.n = c->n, .decay = (float)o->o.average, .w = t->w + c->from, .avg = o->average + c->at};
        rc = o->ops->ema(ctx, &ema);
    }
    memset(t->sum + c->from, 0, (size_t)c->n * sizeof(float));
    return rc;
}

int mb_optimizer_step(mb_optimizer *o, double rate, double divisor, double *norm, mb_err *e) {
    int worst = gradient_norm(o, divisor, norm);
    if (worst == MB_OK && !isfinite(*norm))
        return mb_fail(e, MB_RANGE, "the gradient is not finite");
    /* as torch.nn.utils.clip_grad_norm_ */
    const double over = o->o.clip > 0 ? o->o.clip / (*norm + 1e-6) : 1, clip = over < 1 ? over : 1;
    o->steps++;
#pragma omp parallel for num_threads(o->o.threads) schedule(static) reduction(min : worst)
    for (int i = 0; i < o->n_chunks; i++) {
        const mbk_ctx ctx = {omp_get_thread_num(), NULL};
        const int rc = update_chunk(o, &o->chunk[i], rate, clip / divisor, &ctx);
        worst = rc < worst ? rc : worst;
    }
    return worst == MB_OK ? MB_OK : mb_fail(e, worst, "the optimiser: %s", mb_status_words(worst));
}

void mb_optimizer_swap_average(mb_optimizer *o) {
    for (int i = 0; o->average && i < o->n_chunks; i++) {
        const chunk *c = &o->chunk[i];
        float *w = o->tensor[c->tensor].w + c->from, *a = o->average + c->at;
        for (int64_t k = 0; k < c->n; k++) {
            const float keep = w[k];
            w[k] = a[k];
            a[k] = keep;
        }
    }
}

int64_t mb_optimizer_floats(const mb_optimizer *o) {
    return o->floats;
}

float *mb_optimizer_first(mb_optimizer *o) {
    return o->first;
}

float *mb_optimizer_second(mb_optimizer *o) {
    return o->second;
}

float *mb_optimizer_average(mb_optimizer *o) {
    return o->average;
}

int64_t *mb_optimizer_steps(mb_optimizer *o) {
    return &o->steps;
}

const mb_trainable *mb_optimizer_tensors(const mb_optimizer *o, int *n) {
    *n = o->n;
    return o->tensor;
}
