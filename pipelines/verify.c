/* See verify.h. Recorded tensors known here: input_ids, labels, loss_weights (inputs); hidden.{i} (hidden_states[i] of
 * the original), last_hidden_state, logits, loss, weighted_loss (outputs); those of recommenders in verify_items.c.
 * Anything else is reported as not checked. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/forward.h"
#include "core/mem.h"
#include "pipelines/verify_internal.h"

typedef struct verifier {
    const mb_model *m;
    const mb_weights *io;
    verify_report *report;
    int threads;
    int64_t B, L, V, width;
    int64_t *ids;    /* (B,L) */
    int32_t *token;  /* (L) */
    int *layer;      /* taps, ascending */
    int *layer_line; /* report line of each tap (of the last: last_hidden_state or -1) */
    int n_layers;
    float *share[2];   /* (L,V) logits of each strand */
    double *row;       /* (threads, width) recorded values of a row */
    verify_line *part; /* (threads, n lines) */
    int64_t b;
    double loss, loss_n, weighted, weighted_n;
} verifier;

int verify_line_of(const verify_report *r, const char *name) {
    for (int i = 0; i < r->n; i++)
        if (strcmp(r->line[i].name, name) == 0)
            return i;
    return -1;
}

static int line_of(const verifier *v, const char *name) {
    return verify_line_of(v->report, name);
}

void verify_compare(verify_line *l, int64_t at, double got, double want) {
    const double scale = fabs(want) > l->rms ? fabs(want) : l->rms;
    double error = scale > 0 ? fabs(got - want) / scale : fabs(got - want);
    if (!(error >= 0))
        error = INFINITY;
    l->checked = 1;
    if (error > l->worst || l->at < 0) {
        l->worst = error;
        l->at = at;
        l->got = got;
        l->want = want;
    }
}

int verify_check_shape(const mb_tensor *t, int ndim, const int64_t *shape, mb_err *e) {
    int same = t->ndim == ndim;
    for (int i = 0; same && i < ndim; i++)
        same = t->shape[i] == shape[i];
    if (same)
        return MB_OK;
    return mb_fail(e, MB_FORMAT, "io.safetensors: %s has not the shape that the inputs and config.json call for",
                   t->name);
}

/* ---- set-up ---------------------------------------------------------------------------------------------------------
 */

static double rms_of(const mb_tensor *t) {
    double sum = 0, v;
    for (int64_t i = 0; i < t->count; i++) {
        mb_tensor_to_f64(t, i, 1, &v);
        sum += v * v;
    }
    return t->count > 0 ? sqrt(sum / (double)t->count) : 0;
}

static int open_report(verifier *v, mb_err *e) {
    verify_report *r = v->report;
    r->n = mb_weights_count(v->io);
    r->line = mb_calloc((size_t)r->n + 1, sizeof *r->line);
    if (!r->line)
        return mb_fail(e, MB_NOMEM, "no memory for the report");
    for (int i = 0; i < r->n; i++) {
        const mb_tensor *t = mb_weights_at(v->io, i);
        r->line[i] = (verify_line){.name = t->name, .at = -1, .rms = rms_of(t)};
    }
    return MB_OK;
}

static int read_inputs(verifier *v, mb_err *e) {
    const mb_tensor *ids = mb_weights_find(v->io, "input_ids");
    if (!ids || ids->ndim != 2 || ids->count <= 0)
        return mb_fail(e, MB_FORMAT, "io.safetensors: no tensor input_ids of shape (batch, length)");
    v->B = ids->shape[0];
    v->L = ids->shape[1];
    v->V = mb_model_config(v->m)->V;
    v->width = mb_model_width(v->m);
    if (v->L > (int64_t)1 << 24)
        return mb_fail(e, MB_FORMAT, "io.safetensors: input_ids are longer than 2^24");
    v->ids = mb_calloc((size_t)ids->count, sizeof *v->ids);
    v->token = mb_calloc((size_t)v->L, sizeof *v->token);
    v->row = mb_calloc((size_t)v->threads * (size_t)v->width, sizeof *v->row);
    v->part = mb_calloc((size_t)v->threads * (size_t)v->report->n + 1, sizeof *v->part);
    for (int s = 0; s < mb_model_strands(v->m); s++)
        if (!(v->share[s] = mb_calloc((size_t)(v->L * v->V), sizeof(float))))
            return mb_fail(e, MB_NOMEM, "no memory for logits of %lld positions", (long long)v->L);
    if (!v->ids || !v->token || !v->row || !v->part)
        return mb_fail(e, MB_NOMEM, "no memory for %lld tokens", (long long)ids->count);
    mb_tensor_to_i64(ids, 0, ids->count, v->ids);
    for (int64_t i = 0; i < ids->count; i++)
        if (v->ids[i] < 0 || v->ids[i] >= v->V)
            return mb_fail(e, MB_FORMAT, "io.safetensors: input_ids[%lld] = %lld is outside the vocabulary of %lld",
                           (long long)i, (long long)v->ids[i], (long long)v->V);
    return MB_OK;
}

/* Layers to deliver: those with a hidden.{i}, and the last. */
static int choose_layers(verifier *v, mb_err *e) {
    const int n = mb_model_config(v->m)->n_layer;
    const int64_t shape[3] = {v->B, v->L, v->width};
    v->layer = mb_calloc((size_t)n + 1, sizeof *v->layer);
    v->layer_line = mb_calloc((size_t)n + 1, sizeof *v->layer_line);
    if (!v->layer || !v->layer_line)
        return mb_fail(e, MB_NOMEM, "no memory for %d layers", n);
    for (int l = 0; l <= n; l++) {
        char name[32];
        snprintf(name, sizeof name, "hidden.%d", l);
        const int line = line_of(v, name);
        if (line >= 0 && verify_check_shape(mb_weights_at(v->io, line), 3, shape, e) != MB_OK)
            return MB_FORMAT;
        if (line < 0 && l < n)
            continue;
        v->layer[v->n_layers] = l;
        v->layer_line[v->n_layers++] = line;
    }
    const int last = line_of(v, "last_hidden_state");
    return last >= 0 ? verify_check_shape(mb_weights_at(v->io, last), 3, shape, e) : MB_OK;
}

/* ---- the run --------------------------------------------------------------------------------------------------------
 */

static void compare_rows(verifier *v, const mb_rows *r, int line) {
    const int64_t D = mb_model_config(v->m)->D;
    const mb_tensor *t = mb_weights_at(v->io, line);
    verify_line *l = &v->part[(size_t)r->worker * (size_t)v->report->n + (size_t)line];
    double *want = v->row + (size_t)r->worker * (size_t)v->width;
    for (int i = 0; i < r->n; i++) {
        const int64_t at = (v->b * v->L + r->from + i) * v->width + r->column;
        mb_tensor_to_f64(t, at, D, want);
        for (int64_t c = 0; c < D; c++)
            verify_compare(l, at + c, r->row[i * D + c], want[c]);
    }
}

static int take_rows(void *user, const mb_rows *r, mb_err *e) {
    verifier *v = user;
    for (int i = 0; i < v->n_layers; i++)
        if (v->layer[i] == r->layer && v->layer_line[i] >= 0)
            compare_rows(v, r, v->layer_line[i]);
    if (r->layer < mb_model_config(v->m)->n_layer)
        return MB_OK;
    const int last = line_of(v, "last_hidden_state");
    if (last >= 0)
        compare_rows(v, r, last);
    if (!mb_model_config(v->m)->has_head)
        return MB_OK;
    return mb_head_logits(v->m, r, v->share[r->strand] + r->from * v->V, 0, e);
}

double verify_cross_entropy(const float *logits, int64_t V, int64_t target) {
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < V; i++)
        most = logits[i] > most ? logits[i] : most;
    for (int64_t i = 0; i < V; i++)
        sum += exp(logits[i] - most);
    return most + log(sum) - logits[target];
}

/* Adds row b's part of the losses: masked (labels given; the pad token is ignored) or next-token. */
static int add_losses(verifier *v, mb_err *e) {
    const mb_tensor *labels = mb_weights_find(v->io, "labels"), *weights = mb_weights_find(v->io, "loss_weights");
    const int64_t shape[2] = {v->B, v->L}, ignored = mb_model_config(v->m)->family == MB_FAMILY_CADUCEUS ? 4 : -1;
    if (labels && verify_check_shape(labels, 2, shape, e) != MB_OK)
        return MB_FORMAT;
    if (weights && verify_check_shape(weights, 2, shape, e) != MB_OK)
        return MB_FORMAT;
    for (int64_t t = 0; t < v->L - (labels ? 0 : 1); t++) {
        int64_t target = v->ids[v->b * v->L + t + (labels ? 0 : 1)];
        double w = 1;
        if (labels)
            mb_tensor_to_i64(labels, v->b * v->L + t, 1, &target);
        if (labels && target == ignored)
            continue;
        if (target < 0 || target >= v->V)
            return mb_fail(e, MB_FORMAT, "io.safetensors: a label is outside the vocabulary");
        if (weights)
            mb_tensor_to_f64(weights, v->b * v->L + t, 1, &w);
        const double ce = verify_cross_entropy(v->share[0] + t * v->V, v->V, target);
        v->loss += ce;
        v->loss_n += 1;
        v->weighted += w * ce;
        v->weighted_n += w;
    }
    return MB_OK;
}

static int compare_logits(verifier *v, mb_err *e) {
    const int line = line_of(v, "logits");
    const int64_t shape[3] = {v->B, v->L, v->V}, n = v->L * v->V;
    for (int64_t i = 0; v->share[1] && i < n; i++)
        v->share[0][i] += v->share[1][i];
    if (line < 0)
        return MB_OK;
    const mb_tensor *t = mb_weights_at(v->io, line);
    if (verify_check_shape(t, 3, shape, e) != MB_OK)
        return MB_FORMAT;
    for (int64_t i = 0; i < n; i++) {
        double want;
        mb_tensor_to_f64(t, v->b * n + i, 1, &want);
        verify_compare(&v->report->line[line], v->b * n + i, v->share[0][i], want);
    }
    return MB_OK;
}

static int run_row(verifier *v, mb_err *e) {
    const mb_sequence seq = {.length = v->L, .read = mb_tokens_read, .user = v->token};
    const mb_forward_options o = {.threads = v->threads,
                                  .layers = v->layer,
                                  .n_layers = v->n_layers,
                                  .outputs = mb_model_config(v->m)->family != MB_FAMILY_MAMBA_HF};
    const mb_sink sink = {take_rows, v};
    for (int64_t t = 0; t < v->L; t++)
        v->token[t] = (int32_t)v->ids[v->b * v->L + t];
    int rc = mb_forward_run(v->m, &seq, 1, &o, &sink, e);
    if (rc != MB_OK || !mb_model_config(v->m)->has_head)
        return rc;
    rc = compare_logits(v, e);
    return rc == MB_OK ? add_losses(v, e) : rc;
}

static void merge_parts(verifier *v) {
    for (int w = 0; w < v->threads; w++)
        for (int i = 0; i < v->report->n; i++) {
            const verify_line *p = &v->part[(size_t)w * (size_t)v->report->n + (size_t)i];
            if (p->checked && p->at >= 0)
                verify_compare(&v->report->line[i], p->at, p->got, p->want);
        }
}

static void finish_report(verifier *v) {
    verify_report *r = v->report;
    const struct {
        const char *name;
        double sum, n;
    } loss[2] = {{"loss", v->loss, v->loss_n}, {"weighted_loss", v->weighted, v->weighted_n}};
    merge_parts(v);
    for (int i = 0; i < 2; i++) {
        const int line = line_of(v, loss[i].name);
        double want;
        if (line < 0 || !mb_model_config(v->m)->has_head)
            continue;
        mb_tensor_to_f64(mb_weights_at(v->io, line), 0, 1, &want);
        verify_compare(&r->line[line], 0, loss[i].sum / loss[i].n, want);
    }
    for (int i = 0; i < r->n; i++) {
        const char *name = r->line[i].name;
        const int input =
            strcmp(name, "input_ids") == 0 || strcmp(name, "labels") == 0 || strcmp(name, "loss_weights") == 0;
        r->unknown += !input && !r->line[i].checked;
    }
}

int verify_run(verify_report *report, const mb_model *m, const mb_weights *io, int threads, mb_err *e) {
    verifier v = {.m = m, .io = io, .report = report, .threads = threads};
    *report = (verify_report){0};
    int rc = open_report(&v, e);
    if (rc == MB_OK && line_of(&v, "item_seq") >= 0) {
        rc = verify_items(report, m, io, threads, e);
        if (rc != MB_OK)
            verify_free(report);
        return rc;
    }
    if (rc == MB_OK)
        rc = read_inputs(&v, e);
    if (rc == MB_OK)
        rc = choose_layers(&v, e);
    for (int i = 0; rc == MB_OK && i < threads * report->n; i++) {
        v.part[i] = report->line[i % report->n];
        v.part[i].at = -1;
    }
    for (v.b = 0; v.b < v.B && rc == MB_OK; v.b++)
        rc = run_row(&v, e);
    if (rc == MB_OK)
        finish_report(&v);
    else
        verify_free(report);
    mb_free(v.ids);
    mb_free(v.token);
    mb_free(v.layer);
    mb_free(v.layer_line);
    mb_free(v.share[0]);
    mb_free(v.share[1]);
    mb_free(v.row);
    mb_free(v.part);
    return rc;
}

void verify_free(verify_report *r) {
    mb_free(r->line);
    *r = (verify_report){0};
}
