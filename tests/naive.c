/* See naive.h. Equations: Gu & Dao 2023 (arXiv 2312.00752), Schiff et al. 2024 (arXiv 2403.03234); the strand swap is
 * folded into the parameters (core/params.h). Ends the program when memory is out. */
#include "tests/naive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *zeros(size_t n) {
    double *v = calloc(n ? n : 1, sizeof *v);
    if (!v) {
        fprintf(stderr, "naive: no memory\n");
        exit(1);
    }
    return v;
}

/* y (m) = W (m,n) x + b */
static void product(const float *W, const float *b, int m, int n, const double *x, double *y) {
    for (int i = 0; i < m; i++) {
        y[i] = b ? (double)b[i] : 0;
        for (int k = 0; k < n; k++)
            y[i] += (double)W[(size_t)i * (size_t)n + (size_t)k] * x[k];
    }
}

static double silu(double v) {
    return v / (1 + exp(-v));
}

static double softplus(double v) {
    return v > 20 ? v : log1p(exp(v));
}

static void norm_row(const mb_config *c, const float *w, const float *b, const double *x, double *y) {
    double mean = 0, square = 0;
    for (int i = 0; i < c->D; i++)
        mean += x[i] / c->D;
    if (c->norm == MBK_NORM_RMS)
        mean = 0;
    for (int i = 0; i < c->D; i++)
        square += (x[i] - mean) * (x[i] - mean) / c->D;
    for (int i = 0; i < c->D; i++)
        y[i] = (double)w[i] * (x[i] - mean) / sqrt(square + (double)c->eps) + (b ? (double)b[i] : 0);
}

/* One direction of one layer: u (L,D) to out (L,D), in processing order when step is 1, from the end when -1. */
static void mamba(const mb_config *c, const mb_mamba1_params *p, const double *u, int L, int step, double *out) {
    const int E = c->E, N = c->N, K = c->K, R = c->R, X = R + 2 * N;
    double *xz = zeros((size_t)L * 2 * (size_t)E), *h = zeros((size_t)E * (size_t)N), *x = zeros((size_t)E),
           *dbl = zeros((size_t)X), *dt = zeros((size_t)E), *y = zeros((size_t)E);
    for (int i = 0; i < L; i++)
        product(p->in_w, p->in_b, 2 * E, c->D, u + (size_t)i * (size_t)c->D, xz + (size_t)i * 2 * (size_t)E);
    for (int i = 0; i < L; i++) {
        const int t = step > 0 ? i : L - 1 - i;
        const double *z = xz + (size_t)t * 2 * (size_t)E + E;
        for (int e = 0; e < E; e++) {
            x[e] = p->conv_b ? (double)p->conv_b[e] : 0;
            for (int j = 0; j < K; j++) {
                const int from = t - step * (K - 1 - j);
                if (from >= 0 && from < L)
                    x[e] += (double)p->conv_w[e * K + j] * xz[(size_t)from * 2 * (size_t)E + (size_t)e];
            }
            x[e] = silu(x[e]);
        }
        product(p->x_w, NULL, X, E, x, dbl);
        product(p->dt_w, p->dt_b, E, R, dbl, dt);
        for (int e = 0; e < E; e++) {
            const double d = softplus(dt[e]);
            y[e] = (double)p->skip[e] * x[e];
            for (int n = 0; n < N; n++) {
                double *s = &h[e * N + n];
                *s = exp(-exp((double)p->A_log[e * N + n]) * d) * *s + d * dbl[R + n] * x[e];
                y[e] += dbl[R + N + n] * *s;
            }
            y[e] *= silu(z[e]);
        }
        product(p->out_w, p->out_b, c->D, E, y, out + (size_t)t * (size_t)c->D);
    }
    free(xz), free(h), free(x), free(dbl), free(dt), free(y);
}

static void norm_rows(const mb_config *c, const float *w, const float *b, double *x, int L) {
    for (size_t t = 0; t < (size_t)L; t++)
        norm_row(c, w, b, x + t * (size_t)c->D, x + t * (size_t)c->D);
}

/* What a layer's mixer makes of x. */
static void mixer(const mb_config *c, const mb_layer_params *p, const double *x, int L, double *out) {
    const size_t n = (size_t)L * (size_t)c->D;
    double *u = zeros(n), *back = zeros(n);
    memcpy(u, x, n * sizeof *u);
    if (c->layer.norms == MB_NORM_BEFORE)
        norm_rows(c, p->norm_w, p->norm_b, u, L);
    mamba(c, &p->dir[0], u, L, 1, out);
    if (c->bidirectional != MB_BIDIR_NONE) {
        mamba(c, &p->dir[1], u, L, -1, back);
        for (size_t i = 0; i < n; i++)
            out[i] = c->bidirectional == MB_BIDIR_ADD ? out[i] + back[i] : out[i] * back[i];
    }
    free(u), free(back);
}

static double activation(mbk_act_kind kind, double v) {
    switch (kind) {
    case MBK_ACT_GELU:
        return v * 0.5 * (1 + erf(v / sqrt(2.0)));
    case MBK_ACT_RELU:
        return v > 0 ? v : 0;
    case MBK_ACT_SILU:
        return silu(v);
    default:
        return v;
    }
}

/* The feed-forward part and what stands around it: x (L,D) in place. */
static void feed_forward(const mb_config *c, const mb_ffn_params *p, double *x, int L) {
    double *u = zeros((size_t)c->D), *h = zeros((size_t)c->layer.ffn), *f = zeros((size_t)c->D);
    for (int t = 0; t < L; t++) {
        double *row = x + (size_t)t * (size_t)c->D;
        memcpy(u, row, (size_t)c->D * sizeof *u);
        if (c->layer.norms == MB_NORM_BEFORE)
            norm_row(c, p->norm_w, p->norm_b, row, u);
        product(p->w1, p->b1, c->layer.ffn, c->D, u, h);
        for (int i = 0; i < c->layer.ffn; i++)
            h[i] = activation(c->layer.act, h[i]);
        product(p->w2, p->b2, c->D, c->layer.ffn, h, f);
        for (int i = 0; i < c->D; i++)
            row[i] += f[i];
        if (c->layer.norms == MB_NORM_AFTER)
            norm_row(c, p->norm_w, p->norm_b, row, row);
    }
    free(u), free(h), free(f);
}

/* One layer: x (L,D) in place; out: what its mixer put out. */
static void one_layer(const mb_config *c, const mb_params *p, int l, double *x, int L, double *out) {
    const size_t n = (size_t)L * (size_t)c->D;
    mixer(c, &p->layer[l], x, L, out);
    for (size_t i = 0; i < n; i++)
        x[i] = (c->layer.bare ? 0 : x[i]) + out[i];
    if (c->layer.norms == MB_NORM_AFTER)
        norm_rows(c, p->layer[l].norm_w, p->layer[l].norm_b, x, L);
    if (c->layer.ffn > 0 && l >= c->layer.ffn_from)
        feed_forward(c, &p->layer[l].ffn, x, L);
}

/* One strand: x (L,D) becomes the stream that enters the layer, or what the mixer of the layer before put out. */
static void strand(const mb_config *c, const mb_params *p, const int32_t *token, int L, int layer, int output,
                   double *x) {
    const size_t D = (size_t)c->D, n = (size_t)L * D;
    const double scale = c->input.scale > 0 ? (double)c->input.scale : 1;
    double *out = zeros(n);
    for (size_t i = 0; i < n; i++) {
        x[i] = scale * (double)p->embedding[(size_t)token[i / D] * D + i % D];
        x[i] += c->input.positions > 0 ? (double)p->positions[i] : 0;
    }
    if (c->input.norm)
        norm_rows(c, p->norm_in_w, p->norm_in_b, x, L);
    for (int l = 0; l < layer; l++)
        one_layer(c, p, l, x, L, out);
    if (output)
        memcpy(x, out, n * sizeof *x);
    free(out);
}

/* v (L,D): positions and channels reversed. */
static void turn(double *v, size_t n) {
    for (size_t i = 0; i < n / 2; i++) {
        const double keep = v[i];
        v[i] = v[n - 1 - i];
        v[n - 1 - i] = keep;
    }
}

/* The original's final norm: of the first half as it stands, of the second half turned round and back. */
static void final_norm(const mb_config *c, const mb_params *p, double *half, int L, int second) {
    const size_t D = (size_t)c->D, n = (size_t)L * D;
    if (second)
        turn(half, n);
    for (size_t t = 0; t < (size_t)L; t++)
        norm_row(c, p->norm_f_w, p->norm_f_b, half + t * D, half + t * D);
    if (second)
        turn(half, n);
}

/* logits[v] = W[v] h_first + W[comp v] flip(h_second) */
static void head(const mb_config *c, const mb_params *p, const double *row, double *logits) {
    const int D = c->D;
    for (int v = 0; v < c->V; v++) {
        const int comp = v < c->n_complement ? c->complement[v] : v;
        logits[v] = 0;
        for (int k = 0; k < D; k++)
            logits[v] += (double)p->head_w[(size_t)v * (size_t)D + (size_t)k] * row[k];
        for (int k = 0; c->rcps && k < D; k++)
            logits[v] += (double)p->head_w[(size_t)comp * (size_t)D + (size_t)k] * row[2 * D - 1 - k];
    }
}

void naive_forward(const mb_config *c, const mb_params *p, const int32_t *token, int length, int layer, int output,
                   double *hidden, double *logits) {
    const size_t D = (size_t)c->D, L = (size_t)length, width = c->rcps ? 2 * D : D;
    const int swapped = c->rcps && c->rcps_strand_swap && layer % 2 == 1;
    double *half[2] = {zeros(L * D), zeros(L * D)}; /* [a, R b], exchanged when swapped */
    strand(c, p, token, length, layer, output, half[swapped]);
    if (c->rcps) {
        int32_t *reverse = calloc(L, sizeof *reverse);
        if (!reverse)
            exit(1);
        for (size_t i = 0; i < L; i++)
            reverse[i] = c->complement[token[L - 1 - i]];
        strand(c, p, reverse, length, layer, output, half[!swapped]);
        turn(half[!swapped], L * D);
        free(reverse);
    }
    for (size_t h = 0; h < (c->rcps ? 2U : 1U); h++) {
        if (layer == c->n_layer && !c->no_final_norm)
            final_norm(c, p, half[h], length, h == 1);
        for (size_t t = 0; t < L; t++)
            memcpy(hidden + t * width + h * D, half[h] + t * D, D * sizeof *hidden);
    }
    for (size_t t = 0; logits && t < L; t++)
        head(c, p, hidden + t * width, logits + t * (size_t)c->V);
    free(half[0]), free(half[1]);
}
