/* Language-model head: logits = rows * W^T, and for RC-equivariant models
 *   logits[t,v] = W[v] . h[t, :D] + W[comp v] . flip(h[t, D:])        (Schiff et al. 2024, arXiv 2403.03234)
 * where the flip of channels is folded into a second copy of W. */
#include "core/forward.h"
#include "core/model_internal.h"

static float *complement_head(const mb_model *m) {
    const int D = m->config.D, V = m->config.V;
    float *w = mb_malloc((size_t)V * (size_t)D * sizeof *w);
    for (int v = 0; w && v < V; v++) {
        const int comp = v < m->config.n_complement ? m->config.complement[v] : v;
        for (int c = 0; c < D; c++)
            w[(size_t)v * (size_t)D + (size_t)c] = m->params->head_w[(size_t)comp * (size_t)D + (size_t)(D - 1 - c)];
    }
    return w;
}

mb_heads *mb_heads_create(mb_err *e) {
    mb_heads *h = mb_calloc(1, sizeof *h);
    if (h)
        pthread_mutex_init(&h->lock, NULL);
    else
        mb_fail(e, MB_NOMEM, "no memory for a model's head");
    return h;
}

void mb_heads_destroy(mb_heads *h, const mbk_ops *ops) {
    if (!h)
        return;
    for (int i = 0; i < 2; i++) {
        if (ops)
            ops->linear_destroy(h->head[i]);
        mb_free(h->w[i]);
    }
    pthread_mutex_destroy(&h->lock);
    mb_free(h);
}

static int prepare(const mb_model *m, int half, mb_err *e) {
    mb_heads *h = m->heads;
    const float *w = m->params->head_w;
    if (!w)
        return mb_fail(e, MB_NOTSUP, "this model has no language-model head, so it gives no probabilities");
    if (half == 1 && !(w = h->w[1] = complement_head(m)))
        return mb_fail(e, MB_NOMEM, "no memory for the head's complement rows");
    mbk_linear_spec spec = {
        .Nout = m->config.V, .Kin = m->config.D, .W = w, .precision = m->precision, .M_typical = m->tile};
    int rc = m->ops->linear_create(&h->head[half], &spec);
    if (rc == MB_OK)
        return MB_OK;
    mb_free(h->w[half]);
    h->w[half] = NULL;
    return mb_fail(e, rc, "cannot prepare the head's matrix product: %s", mb_status_words(rc));
}

const mbk_linear *mb_model_head(const mb_model *m, int half, mb_err *e) {
    MB_ASSERT(half == 0 || half == 1);
    pthread_mutex_lock(&m->heads->lock);
    if (!m->heads->head[half])
        (void)prepare(m, half, e);
    const mbk_linear *head = m->heads->head[half];
    pthread_mutex_unlock(&m->heads->lock);
    return head;
}

int mb_head_logits(const mb_model *m, const mb_rows *r, float *out, int accumulate, mb_err *e) {
    const mbk_ctx ctx = {r->worker, NULL};
    const mbk_linear *head = mb_model_head(m, r->column ? 1 : 0, e);
    if (!head)
        return e ? e->status : MB_FAIL;
    int rc = m->ops->linear_fwd(&ctx, head, r->n, r->row, out, accumulate);
    return rc == MB_OK ? rc : mb_fail(e, rc, "logits of %d rows: %s", r->n, mb_status_words(rc));
}

int mb_model_head_step(const mb_model *m, const mbk_linear *head, int worker, int workers, const float *x,
                       float *logits) {
    const mbk_ctx ctx = {worker, NULL};
    const int64_t units = (m->config.V + 15) / 16;
    int from = (int)(units * worker / workers) * 16, to = (int)(units * (worker + 1) / workers) * 16;
    if (to > m->config.V)
        to = m->config.V;
    return from < to ? m->ops->linear_step(&ctx, head, from, to, x, logits) : MB_OK;
}
