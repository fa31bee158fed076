/* seqmamba record: inputs drawn from the seed and what this program computes from them, in the layout that `seqmamba
 * verify` and the original programs' users read: input_ids (batch, length), hidden.0 .. hidden.{n-1} (the original's
 * hidden_states), last_hidden_state, and logits when the model has a head. Refuses to overwrite a file. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "core/file.h"
#include "core/forward.h"
#include "core/mem.h"
#include "core/rng.h"
#include "core/weights.h"
#include "pipelines/commands.h"

typedef struct record_values {
    char *out;
    int64_t batch, length;
} record_values;

const mb_option record_options[] = {{.key = "out",
                                     .letter = 'o',
                                     .type = MB_OPT_STRING,
                                     .offset = offsetof(record_values, out),
                                     .meta = "FILE",
                                     .help = "safetensors file to write. Required."},
                                    {.key = "batch",
                                     .type = MB_OPT_INT,
                                     .offset = offsetof(record_values, batch),
                                     .def = "2",
                                     .min = 1,
                                     .max = 1024,
                                     .meta = "B",
                                     .help = "Sequences."},
                                    {.key = "length",
                                     .type = MB_OPT_INT,
                                     .offset = offsetof(record_values, length),
                                     .def = "128",
                                     .min = 2,
                                     .max = 1 << 20,
                                     .meta = "L",
                                     .help = "Tokens of each sequence."},
                                    {0}};

size_t record_values_size(void) {
    return sizeof(record_values);
}

typedef struct recorder {
    const mb_model *m;
    const record_values *v;
    int threads, n_layer;
    int64_t *ids;      /* (B,L) */
    int32_t *token;    /* (L) */
    mb_tensor *tensor; /* n_layer + 3 */
    char (*name)[32];
    int n;
    float **data; /* (n_layer + 2): what the tensors hold, freed at the end */
} recorder;

static float *add(recorder *r, int64_t columns) {
    const int64_t count = r->v->batch * r->v->length * columns;
    float *data = mb_calloc((size_t)count, sizeof *data);
    r->data[r->n - 1] = data;
    r->tensor[r->n] = (mb_tensor){.name = r->name[r->n],
                                  .dtype = MB_F32,
                                  .ndim = 3,
                                  .shape = {r->v->batch, r->v->length, columns},
                                  .count = count,
                                  .data = data};
    r->n++;
    return data;
}

static int draw_inputs(recorder *r, int64_t seed, mb_err *e) {
    const int64_t count = r->v->batch * r->v->length;
    r->ids = mb_calloc((size_t)count, sizeof *r->ids);
    r->token = mb_calloc((size_t)r->v->length, sizeof *r->token);
    r->tensor = mb_calloc((size_t)r->n_layer + 3, sizeof *r->tensor);
    r->name = mb_calloc((size_t)r->n_layer + 3, sizeof *r->name);
    r->data = mb_calloc((size_t)r->n_layer + 2, sizeof *r->data);
    if (!r->ids || !r->token || !r->tensor || !r->name || !r->data)
        return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " tokens", count);
    mb_rng rng;
    mb_rng_init(&rng, (uint64_t)seed, 0);
    for (int64_t i = 0; i < count; i++)
        r->ids[i] = (int64_t)mb_rng_below(&rng, (uint64_t)mb_model_config(r->m)->V);
    snprintf(r->name[0], sizeof *r->name, "input_ids");
    r->tensor[r->n++] = (mb_tensor){.name = r->name[0],
                                    .dtype = MB_I64,
                                    .ndim = 2,
                                    .shape = {r->v->batch, r->v->length},
                                    .count = count,
                                    .data = r->ids};
    return MB_OK;
}

/* What enters layer l (n_layer: what leaves the final norm, with logits), for the whole batch. */
static int run_layer(recorder *r, int layer, mb_err *e) {
    const mb_config *c = mb_model_config(r->m);
    const int64_t L = r->v->length, width = mb_model_width(r->m);
    const mb_forward_options o = {.threads = r->threads, .outputs = c->family != MB_FAMILY_MAMBA_HF};
    float *hidden, *logits = NULL;
    if (layer < r->n_layer)
        snprintf(r->name[r->n], sizeof *r->name, "hidden.%d", layer);
    else
        snprintf(r->name[r->n], sizeof *r->name, "last_hidden_state");
    int rc = (hidden = add(r, width)) ? MB_OK : MB_NOMEM;
    if (rc == MB_OK && layer == r->n_layer && c->has_head) {
        snprintf(r->name[r->n], sizeof *r->name, "logits");
        rc = (logits = add(r, c->V)) ? MB_OK : MB_NOMEM;
    }
    if (rc != MB_OK)
        return mb_fail(e, rc, "no memory for %" PRId64 " rows", r->v->batch * L);
    for (int64_t b = 0; b < r->v->batch && rc == MB_OK; b++) {
        for (int64_t t = 0; t < L; t++)
            r->token[t] = (int32_t)r->ids[b * L + t];
        rc = mb_forward_hidden(r->m, r->token, L, layer, &o, hidden + b * L * width,
                               logits ? logits + b * L * c->V : NULL, e);
    }
    return rc;
}

static void fini(recorder *r) {
    for (int i = 0; r->data && i < r->n_layer + 2; i++)
        mb_free(r->data[i]);
    mb_free(r->data);
    mb_free(r->ids);
    mb_free(r->token);
    mb_free(r->tensor);
    mb_free(r->name);
}

static int record_model(const mb_run *run, const mb_model *m, mb_err *e) {
    static const char *const metadata[] = {"format", "pt", NULL};
    recorder r = {
        .m = m, .v = run->values, .threads = (int)run->globals.threads, .n_layer = mb_model_config(m)->n_layer};
    int rc = draw_inputs(&r, run->globals.seed, e);
    for (int l = 0; l <= r.n_layer && rc == MB_OK; l++)
        rc = run_layer(&r, l, e);
    if (rc == MB_OK)
        rc = mb_safetensors_write(r.v->out, r.tensor, r.n, metadata, e);
    if (rc == MB_OK)
        printf("%s: %d tensors, %" PRId64 " sequences of %" PRId64 " tokens\n", r.v->out, r.n, r.v->batch, r.v->length);
    fini(&r);
    return rc;
}

int record_cmd(mb_run *run, mb_err *e) {
    const record_values *v = run->values;
    const mb_model_options options = {.device = run->globals.device};
    mb_model *m = NULL;
    int rc = MB_OK;
    if (!v->out)
        rc = mb_fail(e, MB_USAGE, "no output: say -o FILE");
    else if (mb_file_exists(v->out))
        rc = mb_fail(e, MB_FAIL, "%s is already there; choose another name or remove it", v->out);
    if (rc == MB_OK)
        rc = mb_model_open(&m, run->args[0], &options, e);
    if (rc == MB_OK && run->globals.dry_run)
        printf("%s: would hold %" PRId64 " sequences of %" PRId64 " tokens through %d layers (dry run: not written)\n",
               v->out, v->batch, v->length, mb_model_config(m)->n_layer);
    else if (rc == MB_OK)
        rc = record_model(run, m, e);
    mb_model_destroy(m);
    return rc;
}
