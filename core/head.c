/* Language-model head: logits = rows * W^T, and for RC-equivariant models
 *   logits[t,v] = W[v] . h[t, :D] + W[comp v] . flip(h[t, D:])        (Schiff et al. 2024, arXiv 2403.03234)
 * where the flip of channels is folded into a second copy of W. */
#include "core/forward.h"
#include "core/model_internal.h"

static void fill_complement(const mb_model *m, float *w) {
    const int D = m->config.D, V = m->config.V;
    for (int v = 0; v < V; v++) {
        const int comp = v < m->config.n_complement ? m->config.complement[v] : v;
        for (int c = 0; c < D; c++)
            w[(size_t)v * (size_t)D + (size_t)c] = m->params->head_w[(size_t)comp * (size_t)D + (size_t)(D - 1 - c)];
    }
}

static float *complement_head(const mb_model *m) {
    float *w = mb_malloc((size_t)m->config.V * (size_t)m->config.D * sizeof *w);
    if (w)
        fill_complement(m, w);
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
        if (ops) {
            ops->linear_destroy(h->head[i]);
            ops->linear_destroy(h->back[i]);
        }
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

const mbk_linear *mb_model_head_back(const mb_model *m, int half, mb_err *e) {
    mb_heads *h = m->heads;
    if (!mb_model_head(m, half, e))
        return NULL;
    pthread_mutex_lock(&h->lock);
    if (!h->back[half]) {
        const mbk_linear_spec spec = {.Nout = m->config.D,
                                      .Kin = m->config.V,
                                      .W = half ? h->w[1] : m->params->head_w,
                                      .precision = m->precision,
                                      .transposed = 1,
                                      .M_typical = m->tile};
        int rc = m->ops->linear_create(&h->back[half], &spec);
        if (rc != MB_OK)
            mb_fail(e, rc, "cannot prepare the gradient of the head: %s", mb_status_words(rc));
    }
    const mbk_linear *back = h->back[half];
    pthread_mutex_unlock(&h->lock);
    return back;
}

int mb_heads_refresh(const mb_model *m) {
    mb_heads *h = m->heads;
    int rc = MB_OK;
    if (h->w[1])
        fill_complement(m, h->w[1]);
    for (int i = 0; i < 2; i++) {
        if (h->head[i] && rc == MB_OK)
            rc = m->ops->linear_update(h->head[i]);
        if (h->back[i] && rc == MB_OK)
            rc = m->ops->linear_update(h->back[i]);
    }
    return rc;
}

/* The share of the half [D,2D) by the same product as that of [0,D), with channels and letters turned around it: what a
 * sequence gets here, its reverse complement gets there, to the bit, which sums over reversed channels would not give.
 */
static int turned_logits(const mb_model *m, const mb_rows *r, const mbk_linear *head, float *out, int accumulate) {
    const mbk_ctx ctx = {r->worker, NULL};
    const int D = m->config.D, V = m->config.V;
    float *row = mb_malloc((size_t)r->n * (size_t)(D + V) * sizeof *row);
    if (!row)
        return MB_NOMEM;
    float *z = row + (size_t)r->n * (size_t)D;
    for (int i = 0; i < r->n; i++)
        for (int c = 0; c < D; c++)
            row[(size_t)i * (size_t)D + (size_t)c] = r->row[(size_t)i * (size_t)D + (size_t)(D - 1 - c)];
    int rc = m->ops->linear_fwd(&ctx, head, r->n, row, z, 0);
    for (int i = 0; rc == MB_OK && i < r->n; i++, out += V, z += V)
        for (int v = 0; v < V; v++)
            out[v] = (accumulate ? out[v] : 0) + z[v < m->config.n_complement ? m->config.complement[v] : v];
    mb_free(row);
    return rc;
}

int mb_head_logits(const mb_model *m, const mb_rows *r, float *out, int accumulate, mb_err *e) {
    const mbk_ctx ctx = {r->worker, NULL};
    const mbk_linear *head = mb_model_head(m, 0, e);
    if (!head)
        return e ? e->status : MB_FAIL;
    int rc = r->column ? turned_logits(m, r, head, out, accumulate)
                       : m->ops->linear_fwd(&ctx, head, r->n, r->row, out, accumulate);
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
