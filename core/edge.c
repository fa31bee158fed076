/* Rows at the edges between blocks (core/blocks.h), on one thread: the input, and what happens at an edge. Shared by
 * tiles, sessions and training. */
#include <math.h>
#include <string.h>

#include "core/model_internal.h"

int mb_model_edges_make(mb_model *m, mb_err *e) {
    const mb_config *c = &m->config;
    m->blocks = mb_blocks_count(c);
    m->edge = mb_calloc((size_t)m->blocks + 1, sizeof *m->edge);
    if (!m->edge)
        return mb_fail(e, MB_NOMEM, "no memory for %d layers", c->n_layer);
    for (int i = 0; i <= m->blocks; i++) {
        mb_edge *edge = &m->edge[i];
        edge->norm = mb_edge_norm_at(c, m->params, i);
        edge->past = i < m->blocks ? mb_block_at(c, i).past : MB_PAST_NOTHING;
        edge->adds = i > 0 && m->edge[i - 1].past != MB_PAST_NOTHING;
        if (c->layer.norms == MB_NORM_BEFORE && i == m->blocks) /* turned round where the strands end swapped */
            edge->norm = (mb_edge_norm){m->norm_f_w, m->norm_f_b};
    }
    return MB_OK;
}

int mb_input_rows(const mb_model *m, const mbk_ctx *ctx, int rows, const int32_t *token, int64_t position, float *x) {
    const mb_input_shape *in = &m->config.input;
    const size_t D = (size_t)m->config.D;
    if (token) {
        const mbk_embed embed = {
            .L = rows, .D = (int)D, .V = m->config.V, .token = token, .table = m->params->embedding, .out = x};
        const int rc = m->ops->embed_fwd(ctx, &embed);
        if (rc != MB_OK)
            return rc;
    }
    if (in->positions > 0 && position + rows > in->positions)
        return MB_RANGE;
    const float *add = in->positions > 0 ? m->params->positions + (size_t)position * D : NULL;
    const float s = token && in->scale > 0 ? in->scale : 1;
    const mbk_sum sum = {.n = (int64_t)rows * (int64_t)D, .s = s, .x = x, .add = add, .y = x};
    return add || s != 1 ? m->ops->sum(ctx, &sum) : MB_OK;
}

mbk_norm mb_norm_of(const mb_model *m, mb_edge_norm norm, int rows) {
    return (mbk_norm){
        .L = rows, .D = m->config.D, .kind = m->config.norm, .eps = m->config.eps, .w = norm.w, .b = norm.b};
}

int mb_edge_settle(const mb_model *m, int edge, const mbk_ctx *ctx, int rows, float *x, const float *out) {
    const int64_t n = (int64_t)rows * m->config.D;
    const mbk_sum sum = {.n = n, .s = 1, .x = x, .add = out, .y = x};
    if (!out)
        return MB_OK;
    if (m->edge[edge].adds)
        return m->ops->sum(ctx, &sum);
    memcpy(x, out, (size_t)n * sizeof *x);
    return MB_OK;
}

/* The norm after the last edge's own, from u to buffer. */
static int end_norm(const mb_model *m, int edge, const mbk_ctx *ctx, int rows, float *buffer, const float **u) {
    if (edge < m->blocks || !mb_ends_twice(&m->config))
        return MB_OK;
    mbk_norm norm = mb_norm_of(m, (mb_edge_norm){m->norm_f_w, m->norm_f_b}, rows);
    norm.x = *u;
    norm.y = buffer;
    *u = buffer;
    return m->ops->norm_fwd(ctx, &norm);
}

int mb_edge_arrive(const mb_model *m, int edge, const mbk_ctx *ctx, int rows, float *x, const float *out, float *buffer,
                   const float **u) {
    const mb_edge *at = &m->edge[edge];
    const int normed = m->config.layer.norms != MB_NORM_BEFORE; /* what flows on is the norm's output */
    int rc;
    *u = x;
    if (!at->norm.w) {
        rc = mb_edge_settle(m, edge, ctx, rows, x, out);
        return rc == MB_OK ? end_norm(m, edge, ctx, rows, buffer, u) : rc;
    }
    mbk_norm norm = mb_norm_of(m, at->norm, rows);
    norm.x = out && !at->adds ? out : x;
    norm.add = at->adds ? out : NULL;
    norm.sum = out && !normed ? x : NULL;
    norm.y = normed ? x : buffer;
    *u = norm.y;
    rc = m->ops->norm_fwd(ctx, &norm);
    return rc == MB_OK ? end_norm(m, edge, ctx, rows, buffer, u) : rc;
}

int mb_edge_again(const mb_model *m, int edge, const mbk_ctx *ctx, int rows, const float *x, float *buffer,
                  const float **u) {
    *u = x;
    if (!m->edge[edge].norm.w || m->config.layer.norms != MB_NORM_BEFORE)
        return MB_OK;
    mbk_norm norm = mb_norm_of(m, m->edge[edge].norm, rows);
    norm.x = x;
    norm.y = buffer;
    *u = buffer;
    return m->ops->norm_fwd(ctx, &norm);
}
