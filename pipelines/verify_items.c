/* What a recommender's original recorded: histories padded on the right (item_seq, item_seq_len), the hidden row of
 * each history's last item (seq_output), the scores of all items there (scores) and the loss over the batch:
 * cross-entropy of pos_items over all items and the pad, or with "loss_type": "BPR" -log(1e-10 + sigmoid(score of
 * pos_items - score of neg_items)). Refuses records whose inputs are missing, of another shape or outside the model's
 * items. */
#include <math.h>

#include "core/forward.h"
#include "core/mem.h"
#include "pipelines/verify_internal.h"

typedef struct record {
    const mb_model *m;
    const mb_weights *io;
    verify_report *report;
    mb_forward_options o;
    int64_t B, L, V, D;
    int64_t *seq, *length, *pos, *neg; /* (B,L), (B) each; pos, neg NULL without losses */
    int32_t *token;                    /* (L) */
    float *hidden, *logits;            /* (L,D), (L,V) */
    double loss;
} record;

/* An input of integers in [low, high]; *out NULL when it is not needed and not there. */
static int read_input(const record *r, const char *name, int ndim, int64_t low, int64_t high, int needed, int64_t **out,
                      mb_err *e) {
    const mb_tensor *t = mb_weights_find(r->io, name);
    const int64_t shape[2] = {r->B, r->L};
    if (!t && !needed)
        return MB_OK;
    if (!t || (t->dtype != MB_I64 && t->dtype != MB_I32))
        return mb_fail(e, MB_FORMAT, "io.safetensors: no tensor %s of whole numbers", name);
    int rc = verify_check_shape(t, ndim, shape, e);
    if (rc != MB_OK)
        return rc;
    if (!(*out = mb_calloc((size_t)t->count + 1, sizeof **out)))
        return mb_fail(e, MB_NOMEM, "no memory for %s", name);
    mb_tensor_to_i64(t, 0, t->count, *out);
    for (int64_t i = 0; i < t->count; i++)
        if ((*out)[i] < low || (*out)[i] > high)
            return mb_fail(e, MB_FORMAT, "io.safetensors: %s[%lld] = %lld is outside %lld..%lld", name, (long long)i,
                           (long long)(*out)[i], (long long)low, (long long)high);
    return MB_OK;
}

static int open_record(record *r, mb_err *e) {
    const mb_tensor *seq = mb_weights_find(r->io, "item_seq");
    const mb_config *c = mb_model_config(r->m);
    if (!seq || seq->ndim != 2 || seq->count <= 0 || seq->shape[1] > (int64_t)1 << 24)
        return mb_fail(e, MB_FORMAT, "io.safetensors: item_seq is not of shape (batch, length)");
    if (!c->has_head || !mb_model_is_causal(r->m))
        return mb_fail(e, MB_NOTSUP, "io.safetensors: item_seq is recorded of models that score items, from the left");
    r->B = seq->shape[0];
    r->L = seq->shape[1];
    r->V = c->V;
    r->D = c->D;
    const int losses = verify_line_of(r->report, "loss") >= 0;
    int rc = read_input(r, "item_seq", 2, 0, r->V - 1, 1, &r->seq, e);
    if (rc == MB_OK)
        rc = read_input(r, "item_seq_len", 1, 1, r->L, 1, &r->length, e);
    if (rc == MB_OK)
        rc = read_input(r, "pos_items", 1, 0, r->V - 1, losses, &r->pos, e);
    if (rc == MB_OK)
        rc = read_input(r, "neg_items", 1, 0, r->V - 1, losses && c->bpr, &r->neg, e);
    if (rc != MB_OK)
        return rc;
    r->token = mb_calloc((size_t)r->L, sizeof *r->token);
    r->hidden = mb_calloc((size_t)r->L, (size_t)r->D * sizeof *r->hidden);
    r->logits = mb_calloc((size_t)r->L, (size_t)r->V * sizeof *r->logits);
    return r->token && r->hidden && r->logits ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for the recorded histories");
}

static int compare_row(const record *r, const char *name, int64_t b, int64_t n, const float *got, mb_err *e) {
    const int line = verify_line_of(r->report, name);
    const int64_t shape[2] = {r->B, n};
    if (line < 0)
        return MB_OK;
    const mb_tensor *t = mb_weights_at(r->io, line);
    int rc = verify_check_shape(t, 2, shape, e);
    for (int64_t i = 0; i < n && rc == MB_OK; i++) {
        double want;
        mb_tensor_to_f64(t, b * n + i, 1, &want);
        verify_compare(&r->report->line[line], b * n + i, got[i], want);
    }
    return rc;
}

static int run_history(record *r, int64_t b, mb_err *e) {
    const mb_config *c = mb_model_config(r->m);
    for (int64_t t = 0; t < r->L; t++)
        r->token[t] = (int32_t)r->seq[b * r->L + t];
    int rc = mb_forward_hidden(r->m, r->token, r->L, c->n_layer, &r->o, r->hidden, r->logits, e);
    const float *scores = r->logits + (r->length[b] - 1) * r->V;
    if (rc == MB_OK)
        rc = compare_row(r, "seq_output", b, r->D, r->hidden + (r->length[b] - 1) * r->D, e);
    if (rc == MB_OK)
        rc = compare_row(r, "scores", b, r->V, scores, e);
    if (rc != MB_OK || !r->pos)
        return rc;
    if (c->bpr)
        r->loss -= log(1e-10 + 1 / (1 + exp((double)scores[r->neg[b]] - (double)scores[r->pos[b]])));
    else
        r->loss += verify_cross_entropy(scores, r->V, r->pos[b]);
    return rc;
}

static void finish(const record *r) {
    static const char *const inputs[] = {"item_seq", "item_seq_len", "pos_items", "neg_items"};
    const int line = verify_line_of(r->report, "loss");
    if (line >= 0) {
        double want;
        mb_tensor_to_f64(mb_weights_at(r->io, line), 0, 1, &want);
        verify_compare(&r->report->line[line], 0, r->loss / (double)r->B, want);
    }
    for (int i = 0; i < r->report->n; i++)
        r->report->unknown += !r->report->line[i].checked;
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        r->report->unknown -= verify_line_of(r->report, inputs[i]) >= 0;
}

int verify_items(verify_report *report, const mb_model *m, const mb_weights *io, int threads, mb_err *e) {
    record r = {.m = m, .io = io, .report = report, .o = {.threads = threads}};
    int rc = open_record(&r, e);
    for (int64_t b = 0; b < r.B && rc == MB_OK; b++)
        rc = run_history(&r, b, e);
    if (rc == MB_OK)
        finish(&r);
    mb_free(r.seq);
    mb_free(r.length);
    mb_free(r.pos);
    mb_free(r.neg);
    mb_free(r.token);
    mb_free(r.hidden);
    mb_free(r.logits);
    return rc;
}
