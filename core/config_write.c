/* config.json in the layout of each family, as its own code writes it and loads it. Refuses what a layout cannot say
 * (another norm epsilon for state-spaces). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_reader.h"
#include "core/file.h"
#include "core/json_guard.h"
#include "core/mem.h"

typedef struct object { /* a JSON object being filled; failed sticks when there is no memory */
    json_t *o;
    int failed;
} object;

static void put(object *to, const char *key, json_t *value) {
    if (!value || json_object_set_new(to->o, key, value) != 0)
        to->failed = 1;
}

static object begin(void) {
    json_t *o = json_object();
    return (object){o, !o};
}

static void put_object(object *to, const char *key, object inner) {
    put(to, key, inner.o);
    to->failed |= inner.failed;
}

/* The number with the fewest digits that reads back as this float: 1e-05, not 9.99999975e-06. */
static json_t *real(float v) {
    char text[32];
    for (int digits = 1; digits < 10; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    return json_real(strtod(text, NULL));
}

/* int(expand * D) must give E back. */
static json_t *expand_of(const mb_config *c) {
    return c->E % c->D == 0 ? json_integer(c->E / c->D) : json_real((c->E + 0.5) / c->D);
}

static object ssm_cfg(const mb_config *c) {
    const mb_init init = mb_config_init(c);
    object s = begin();
    put(&s, "d_state", json_integer(c->N));
    put(&s, "d_conv", json_integer(c->K));
    put(&s, "expand", expand_of(c));
    put(&s, "dt_rank", c->R == (c->D + 15) / 16 ? json_string("auto") : json_integer(c->R));
    put(&s, "dt_min", real(init.dt_min));
    put(&s, "dt_max", real(init.dt_max));
    put(&s, "dt_init", json_string(init.dt_constant ? "constant" : "random"));
    put(&s, "dt_scale", real(init.dt_scale));
    put(&s, "dt_init_floor", real(init.dt_floor));
    put(&s, "conv_bias", json_boolean(c->conv_bias));
    put(&s, "bias", json_boolean(c->proj_bias));
    put(&s, "use_fast_path", json_true());
    return s;
}

/* vocab_size and the multiple that pads it to V. */
static void put_vocabulary(object *to, const mb_config *c) {
    int size = c->V_config, multiple = c->vocab_multiple > 0 ? c->vocab_multiple : 1;
    if (size < 1 || size > c->V || (size + multiple - 1) / multiple * multiple != c->V) {
        size = c->V;
        multiple = c->V % 8 == 0 ? 8 : 1;
    }
    put(to, "vocab_size", json_integer(size));
    put(to, "pad_vocab_size_multiple", json_integer(multiple));
}

static void put_common(object *to, const mb_config *c, int fused) {
    put(to, "d_model", json_integer(c->D));
    put(to, "n_layer", json_integer(c->n_layer));
    put_vocabulary(to, c);
    put_object(to, "ssm_cfg", ssm_cfg(c));
    put(to, "rms_norm", json_boolean(c->norm == MBK_NORM_RMS));
    put(to, "residual_in_fp32", json_boolean(c->residual_in_fp32));
    put(to, "fused_add_norm", json_boolean(fused));
}

static void put_complement(object *to, const mb_config *c) {
    object map = begin();
    for (int i = 0; i < c->n_complement; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        put(&map, key, json_integer(c->complement[i]));
    }
    put_object(to, "complement_map", map);
}

static void put_identity(object *to, const char *architecture, const char *type) {
    put(to, "architectures", json_pack("[s]", architecture));
    put(to, "model_type", json_string(type));
    put(to, "torch_dtype", json_string("float32"));
}

/* As transformers names labels that have no names. */
static void put_labels(object *to, int n) {
    object names = begin(), numbers = begin();
    for (int i = 0; i < n; i++) {
        char key[16], name[24];
        snprintf(key, sizeof key, "%d", i);
        snprintf(name, sizeof name, "LABEL_%d", i);
        put(&names, key, json_string(name));
        put(&numbers, name, json_integer(i));
    }
    put_object(to, "id2label", names);
    put_object(to, "label2id", numbers);
}

static object caduceus(const mb_config *c) {
    const mb_init init = mb_config_init(c);
    object o = begin(), how = begin();
    put_common(&o, c, !c->rcps || c->rcps_strand_swap);
    put(&o, "norm_epsilon", real(c->eps));
    put(&how, "initializer_range", real(init.std));
    put(&how, "rescale_prenorm_residual", json_boolean(init.rescale > 0));
    put(&how, "n_residuals_per_layer", json_integer(init.residuals));
    put_object(&o, "initializer_cfg", how);
    put(&o, "bidirectional", json_boolean(c->bidirectional != MB_BIDIR_NONE));
    put(&o, "bidirectional_strategy", json_string(c->bidirectional == MB_BIDIR_MULTIPLY ? "ew_multiply" : "add"));
    put(&o, "bidirectional_weight_tie", json_boolean(c->bidirectional == MB_BIDIR_NONE || c->tied_directions));
    put(&o, "rcps", json_boolean(c->rcps));
    if (c->n_complement)
        put_complement(&o, c);
    if (c->pad_token >= 0)
        put(&o, "pad_token_id", json_integer(c->pad_token));
    if (c->has_head && !c->tied_head)
        put(&o, "tie_word_embeddings", json_false());
    if (c->n_labels > 0)
        put_labels(&o, c->n_labels);
    put_identity(&o,
                 c->n_labels > 0 ? "CaduceusForSequenceClassification"
                 : c->has_head   ? "CaduceusForMaskedLM"
                                 : "Caduceus",
                 "caduceus");
    return o;
}

/* Only keys that every version of mamba_ssm knows: its MambaConfig(**file) refuses others. */
static object state_spaces(const mb_config *c) {
    object o = begin();
    put_common(&o, c, 1);
    if (!c->tied_head)
        put(&o, "tie_embeddings", json_false());
    return o;
}

static object transformers(const mb_config *c) {
    const mb_init init = mb_config_init(c);
    object o = begin();
    put(&o, "hidden_size", json_integer(c->D));
    put(&o, "num_hidden_layers", json_integer(c->n_layer));
    put(&o, "vocab_size", json_integer(c->V));
    put(&o, "state_size", json_integer(c->N));
    put(&o, "conv_kernel", json_integer(c->K));
    put(&o, "expand", expand_of(c));
    put(&o, "intermediate_size", json_integer(c->E));
    put(&o, "time_step_rank", json_integer(c->R));
    put(&o, "time_step_min", real(init.dt_min));
    put(&o, "time_step_max", real(init.dt_max));
    put(&o, "time_step_floor", real(init.dt_floor));
    put(&o, "time_step_scale", real(init.dt_scale));
    put(&o, "time_step_init_scheme", json_string(init.dt_constant ? "constant" : "random"));
    put(&o, "initializer_range", real(init.std));
    put(&o, "rescale_prenorm_residual", json_boolean(init.rescale > 0));
    put(&o, "layer_norm_epsilon", real(c->eps));
    put(&o, "hidden_act", json_string("silu"));
    put(&o, "use_bias", json_boolean(c->proj_bias));
    put(&o, "use_conv_bias", json_boolean(c->conv_bias));
    put(&o, "residual_in_fp32", json_boolean(c->residual_in_fp32));
    put(&o, "tie_word_embeddings", json_boolean(!c->has_head || c->tied_head));
    put_identity(&o, c->has_head ? "MambaForCausalLM" : "MambaModel", "mamba");
    return o;
}

/* What both recommenders say of their mixers. */
static void put_mixer(object *to, const mb_config *c, const char *own_init) {
    put(to, "d_state", json_integer(c->N));
    put(to, "d_conv", json_integer(c->K));
    put(to, "expand", expand_of(c));
    put(to, "dt_rank", c->R == (c->D + 15) / 16 ? json_string("auto") : json_integer(c->R));
    put(to, "init", json_string(c->init.rule == MB_INIT_MAMBA ? "mamba" : own_init));
}

static object mamba4rec(const mb_config *c) {
    object o = begin();
    put(&o, "model_type", json_string("mamba4rec"));
    put(&o, "hidden_size", json_integer(c->D));
    put(&o, "num_layers", json_integer(c->n_layer));
    put(&o, "n_items", json_integer(c->V));
    put(&o, "loss_type", json_string(c->bpr ? "BPR" : "CE"));
    put(&o, "dropout_prob", real(c->dropout));
    put(&o, "residual", json_string(c->layer.bare || c->n_layer > 1 ? "auto" : "always"));
    put(&o, "layer_norm_eps", real(c->eps));
    put(&o, "initializer_range", real(mb_config_init(c).std));
    put_mixer(&o, c, "mamba4rec");
    return o;
}

static object recmamba(const mb_config *c) {
    object o = begin();
    put(&o, "model_type", json_string("recmamba"));
    put(&o, "hidden_units", json_integer(c->D));
    put(&o, "num_blocks", json_integer(c->n_layer));
    put(&o, "item_num", json_integer(c->V - 1));
    put(&o, "maxlen", json_integer(c->input.positions));
    put(&o, "dropout_rate", real(c->dropout));
    put_mixer(&o, c, "recmamba");
    return o;
}

static object own(const mb_config *c) {
    const mb_layer_shape *l = &c->layer;
    const mb_input_shape *in = &c->input;
    object o = begin();
    put(&o, "model_type", json_string("seqmamba"));
    put(&o, "d_model", json_integer(c->D));
    put(&o, "n_layer", json_integer(c->n_layer));
    put(&o, "input", json_string(in->rows ? "rows" : "tokens"));
    if (!in->rows)
        put(&o, "vocab_size", json_integer(c->V));
    put(&o, "input_scale", real(in->scale > 0 ? in->scale : 1));
    put(&o, "positions", json_integer(in->positions));
    put(&o, "input_norm", json_boolean(in->norm));
    put(&o, "pads", json_boolean(in->pads));
    put(&o, "directions", json_string(mb_words_directions[c->bidirectional]));
    put(&o, "tied_directions", json_boolean(c->tied_directions));
    put(&o, "norms", json_string(mb_words_norms[l->norms]));
    put(&o, "rms_norm", json_boolean(c->norm == MBK_NORM_RMS));
    put(&o, "norm_epsilon", real(c->eps));
    put(&o, "final_norm", json_boolean(!c->no_final_norm));
    put(&o, "residual", json_boolean(!l->bare));
    put(&o, "ffn_width", json_integer(l->ffn));
    put(&o, "ffn_from", json_integer(l->ffn_from));
    put(&o, "activation", json_string(mb_words_act[l->act]));
    put(&o, "mixer_dropout", json_boolean(!l->undropped));
    put(&o, "dropout", real(c->dropout));
    put(&o, "head", json_string(!c->has_head ? "none" : c->tied_head ? "tied" : "own"));
    put(&o, "initializer_range", real(mb_config_init(c).std));
    put_object(&o, "ssm_cfg", ssm_cfg(c));
    return o;
}

static object of_family(const mb_config *c) {
    switch (c->family) {
    case MB_FAMILY_CADUCEUS:
        return caduceus(c);
    case MB_FAMILY_MAMBA_SSM:
        return state_spaces(c);
    case MB_FAMILY_MAMBA_HF:
        return transformers(c);
    case MB_FAMILY_MAMBA4REC:
        return mamba4rec(c);
    case MB_FAMILY_RECMAMBA:
        return recmamba(c);
    case MB_FAMILY_SEQMAMBA:
        return own(c);
    }
    MB_ASSERT(!"a family");
    return begin();
}

static int write_text(const char *text, const char *path, mb_err *e) {
    mb_out *o = NULL;
    int rc = mb_out_create(&o, path, e);
    if (rc != MB_OK)
        return rc;
    rc = mb_out_write(o, text, strlen(text), e);
    if (rc == MB_OK)
        rc = mb_out_write(o, "\n", 1, e);
    if (rc == MB_OK)
        return mb_out_commit(o, e);
    mb_out_abort(o);
    return rc;
}

int mb_config_write(const mb_config *c, const char *path, mb_err *e) {
    int rc = mb_config_check(c, path, e);
    if (rc != MB_OK)
        return rc;
    if (c->family == MB_FAMILY_MAMBA_SSM && c->eps != 1e-5F)
        return mb_fail(e, MB_NOTSUP, "%s: a state-spaces config.json cannot say that the norm epsilon is %g", path,
                       (double)c->eps);
    if (c->family == MB_FAMILY_MAMBA_SSM && !c->has_head)
        return mb_fail(e, MB_NOTSUP, "%s: a state-spaces model always has a head", path);
    mb_json_use_heap();
    object o = of_family(c);
    char *text = o.failed ? NULL : json_dumps(o.o, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    rc = text && !mb_json_no_memory() ? write_text(text, path, e) : mb_fail(e, MB_NOMEM, "%s: no memory for it", path);
    json_decref(o.o);
    mb_free(text); /* jansson uses core/mem.h */
    return rc;
}
