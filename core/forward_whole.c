/* Whole results in memory, for short sequences. */
#include <string.h>

#include "core/forward.h"
#include "core/mem.h"

typedef struct whole {
    const mb_model *m;
    int64_t length;
    float *hidden;    /* (length, width) or NULL */
    float *logits[2]; /* (length, V) of each strand, or NULL */
} whole;

static int take_rows(void *user, const mb_rows *r, mb_err *e) {
    whole *w = user;
    const size_t D = (size_t)mb_model_config(w->m)->D, width = (size_t)mb_model_width(w->m);
    if (w->hidden)
        for (int i = 0; i < r->n; i++)
            memcpy(w->hidden + (size_t)(r->from + i) * width + (size_t)r->column, r->row + (size_t)i * D,
                   D * sizeof(float));
    if (w->logits[r->strand])
        return mb_head_logits(w->m, r, w->logits[r->strand] + (size_t)r->from * (size_t)mb_model_config(w->m)->V, 0, e);
    return MB_OK;
}

int mb_forward_hidden(const mb_model *m, const int32_t *token, int64_t length, int layer, const mb_forward_options *o,
                      float *hidden, float *logits, mb_err *e) {
    const size_t count = (size_t)length * (size_t)mb_model_config(m)->V;
    const mb_sequence seq = {.length = length, .read = mb_tokens_read, .user = (void *)(uintptr_t)token};
    mb_forward_options options = *o;
    whole w = {.m = m, .length = length, .hidden = hidden, .logits = {logits, NULL}};
    const mb_sink sink = {take_rows, &w};
    MB_ASSERT(!logits || layer == mb_model_config(m)->n_layer);
    options.layers = &layer;
    options.n_layers = 1;
    if (length <= 0)
        return mb_fail(e, MB_RANGE, "the sequence is empty");
    if (logits && mb_model_strands(m) == 2) {
        if (!(w.logits[1] = mb_calloc(count, sizeof(float))))
            return mb_fail(e, MB_NOMEM, "no memory for the logits of %lld positions", (long long)length);
        memset(logits, 0, count * sizeof(float)); /* of a strand left out nothing comes */
    }
    int rc = mb_forward_run(m, &seq, 1, &options, &sink, e);
    for (size_t i = 0; rc == MB_OK && w.logits[1] && i < count; i++)
        logits[i] += w.logits[1][i];
    mb_free(w.logits[1]);
    return rc;
}
