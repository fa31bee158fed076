/* The weights of a Mamba-1 mixer in the form that its kernels want: made, made again after they changed, and the
 * transposed products that only training needs. */
#include <math.h>

#include "core/mixer_mamba1.h"

static int make_linear(mamba *m, mbk_linear **out, int n_out, int k_in, const float *w, int transposed,
                       const char *what, mb_err *e) {
    mbk_linear_spec spec = {
        .Nout = n_out, .Kin = k_in, .W = w, .precision = m->precision, .transposed = transposed, .M_typical = m->tile};
    int rc = m->ops->linear_create(out, &spec);
    m->bytes += m->ops->linear_bytes(&spec);
    if (rc != MB_OK)
        return mb_fail(e, rc, "%s (%d x %d): cannot prepare the matrix product with %s: %s", what, n_out, k_in,
                       mbk_linear_library(), mb_status_words(rc));
    return MB_OK;
}

static void fold_values(const mamba *m, mamba_dir *d, const mb_mamba1_params *p) {
    const size_t E = (size_t)m->E, N = (size_t)m->N, K = (size_t)m->K;
    for (size_t c = 0; c < E; c++) {
        for (size_t k = 0; k < K; k++)
            d->conv_w[k * E + c] = p->conv_w[c * K + k];
        for (size_t n = 0; n < N; n++)
            d->a2[n * E + c] = (float)(-exp((double)p->A_log[c * N + n]) * 1.44269504088896340736);
    }
}

static int fold_dir(mamba *m, mamba_dir *d, const mb_mamba1_params *p, mb_err *e) {
    const size_t E = (size_t)m->E, N = (size_t)m->N, K = (size_t)m->K;
    d->conv_w = mb_malloc(K * E * sizeof(float));
    d->a2 = mb_malloc(N * E * sizeof(float));
    if (!d->conv_w || !d->a2)
        return mb_fail(e, MB_NOMEM, "no memory for a layer's convolution and state matrix");
    m->bytes += (K + N) * E * sizeof(float);
    fold_values(m, d, p);
    d->conv_b = p->conv_b;
    d->dt_b = p->dt_b;
    d->skip = p->skip;
    d->in_b = p->in_b;
    d->out_b = p->out_b;
    return MB_OK;
}

static int create_dir(mamba *m, int i, const mb_mamba1_params *p, mb_err *e) {
    mamba_dir *d = &m->dir[i];
    int rc = fold_dir(m, d, p, e);
    if (rc == MB_OK)
        rc = make_linear(m, &d->x_proj, m->X, m->E, p->x_w, 0, "x_proj", e);
    if (rc == MB_OK)
        rc = make_linear(m, &d->dt_proj, m->E, m->R, p->dt_w, 0, "dt_proj", e);
    if (rc == MB_OK && (i == 0 || !m->tied))
        rc = make_linear(m, &d->in_proj, 2 * m->E, m->D, p->in_w, 0, "in_proj", e);
    if (rc == MB_OK && (i == 0 || !m->tied))
        rc = make_linear(m, &d->out_proj, m->D, m->E, p->out_w, 0, "out_proj", e);
    return rc;
}

static int prepare_dir(mamba *m, int i, const mb_mamba1_params *p, mb_err *e) {
    mamba_back *b = &m->back[i];
    int rc = make_linear(m, &b->x_proj, m->E, m->X, p->x_w, 1, "the gradient of x_proj", e);
    if (rc == MB_OK)
        rc = make_linear(m, &b->dt_proj, m->R, m->E, p->dt_w, 1, "the gradient of dt_proj", e);
    if (rc == MB_OK && (i == 0 || !m->tied))
        rc = make_linear(m, &b->in_proj, m->D, 2 * m->E, p->in_w, 1, "the gradient of in_proj", e);
    if (rc == MB_OK && (i == 0 || !m->tied))
        rc = make_linear(m, &b->out_proj, m->E, m->D, p->out_w, 1, "the gradient of out_proj", e);
    return rc;
}

int mb_mamba1_prepare(mb_mixer *mixer, const mb_layer_params *p, mb_err *e) {
    mamba *m = (mamba *)(void *)mixer;
    int rc = MB_OK;
    for (int i = 0; i < m->n_dir && rc == MB_OK; i++)
        rc = m->back[i].x_proj ? MB_OK : prepare_dir(m, i, &p->dir[i], e);
    return rc;
}

/* Handles remember where their values are. */
static int update(const mamba *m, mbk_linear *w, int before) {
    return before == MB_OK && w ? m->ops->linear_update(w) : before;
}

int mb_mamba1_refresh(mb_mixer *mixer, const mb_layer_params *p) {
    mamba *m = (mamba *)(void *)mixer;
    int rc = MB_OK;
    for (int i = 0; i < m->n_dir; i++) {
        mamba_dir *d = &m->dir[i];
        mamba_back *b = &m->back[i];
        fold_values(m, d, &p->dir[i]);
        mbk_linear *const all[] = {d->x_proj, d->dt_proj, d->in_proj, d->out_proj,
                                   b->x_proj, b->dt_proj, b->in_proj, b->out_proj};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            rc = update(m, all[k], rc);
    }
    return rc;
}

void mb_mamba1_destroy(mb_mixer *mixer) {
    mamba *m = (mamba *)(void *)mixer;
    if (!m)
        return;
    for (int i = 0; i < 2; i++) {
        mb_free(m->dir[i].conv_w);
        mb_free(m->dir[i].a2);
        m->ops->linear_destroy(m->dir[i].x_proj);
        m->ops->linear_destroy(m->dir[i].dt_proj);
        m->ops->linear_destroy(m->dir[i].in_proj);
        m->ops->linear_destroy(m->dir[i].out_proj);
        m->ops->linear_destroy(m->back[i].x_proj);
        m->ops->linear_destroy(m->back[i].dt_proj);
        m->ops->linear_destroy(m->back[i].in_proj);
        m->ops->linear_destroy(m->back[i].out_proj);
    }
    mb_free(m);
}

int mb_mamba1_create(mb_mixer **out, const mb_config *c, const mb_layer_params *p, const mbk_ops *ops,
                     mbk_precision precision, int tile, mb_err *e) {
    mamba *m = mb_calloc(1, sizeof *m);
    int rc = MB_OK;
    *out = NULL;
    if (!m)
        return mb_fail(e, MB_NOMEM, "no memory for a layer");
    m->base.class = mb_mixer_class_of(c->mixer);
    m->ops = ops;
    m->precision = precision;
    m->tile = tile;
    m->D = c->D;
    m->E = c->E;
    m->N = c->N;
    m->K = c->K;
    m->R = c->R;
    m->X = c->R + 2 * c->N;
    m->n_dir = c->mixer == MB_MIXER_BIMAMBA1 ? 2 : 1;
    m->tied = m->n_dir == 2 && c->tied_directions;
    m->multiply = m->n_dir == 2 && c->bidirectional == MB_BIDIR_MULTIPLY;
    m->blocks = (c->E + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
    for (int i = 0; i < m->n_dir && rc == MB_OK; i++)
        rc = create_dir(m, i, &p->dir[i], e);
    if (rc != MB_OK) {
        mb_mamba1_destroy(&m->base);
        return rc;
    }
    *out = &m->base;
    return MB_OK;
}
