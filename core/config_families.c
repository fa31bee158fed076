/* The keys of each family, with the defaults of its own classes:
 *   Caduceus      caduceus/configuration_caduceus.py, modeling_caduceus.py
 *   state-spaces  mamba_ssm/models/config_mamba.py, modules/mamba_simple.py
 *   transformers  models/mamba/configuration_mamba.py
 * d_model, n_layer and vocab_size must be given: a default there would only hide a wrong file. */
#include <stdio.h>
#include <string.h>

#include "core/config_reader.h"

static int rounded_up(int v, int multiple) {
    return multiple > 1 ? (v + multiple - 1) / multiple * multiple : v;
}

int mb_reader_rank(mb_reader *r, const char *key, int D) {
    const json_t *v = json_object_get(r->object, key);
    if (json_is_string(v)) {
        if (strcmp(json_string_value(v), "auto") != 0)
            mb_reader_fail(r, MB_FORMAT, key, "\"%.32s\" is neither \"auto\" nor a number", json_string_value(v));
        return (D + 15) / 16;
    }
    return mb_reader_int(r, key, (D + 15) / 16, 1, MB_MAX_R);
}

int mb_reader_width(mb_reader *r, int D) {
    double expand = mb_reader_real(r, "expand", 2, 0, MB_MAX_EXPAND);
    int E = (int)(expand * D);
    if (E < 1)
        mb_reader_fail(r, MB_RANGE, "expand", "%g times d_model %d leaves no channel", expand, D);
    return E;
}

/* prefix: "dt_" or "time_step_". */
static void read_step_sizes(mb_init *init, mb_reader *r, const char *prefix, const char *scheme) {
    char key[3][32];
    static const char *const tails[] = {"min", "max", "scale"};
    for (int i = 0; i < 3; i++)
        snprintf(key[i], sizeof key[i], "%s%s", prefix, tails[i]);
    init->dt_min = (float)mb_reader_real(r, key[0], 0.001, 1e-12, 1e3);
    init->dt_max = (float)mb_reader_real(r, key[1], 0.1, 1e-12, 1e3);
    init->dt_scale = (float)mb_reader_real(r, key[2], 1, 1e-12, 1e3);
    if (init->dt_min > init->dt_max)
        mb_reader_fail(r, MB_RANGE, key[0], "%g is above %s %g", (double)init->dt_min, key[1], (double)init->dt_max);
    const char *how = mb_reader_text(r, scheme, "random");
    init->dt_constant = strcmp(how, "constant") == 0;
    if (!init->dt_constant && strcmp(how, "random") != 0)
        mb_reader_fail(r, MB_FORMAT, scheme, "\"%.32s\" is neither \"random\" nor \"constant\"", how);
}

/* ssm_cfg: the arguments of the Mamba class. The last four have no bearing on what is computed. */
void mb_reader_ssm_cfg(mb_config *c, mb_reader *r) {
    static const struct { const char *layer, *name; } other[] = {{"Mamba2", "Mamba-2"}, {"Mamba3", "Mamba-3"}};
    static const char *const known[] = {
        "layer",    "d_state",       "d_conv",    "expand", "dt_rank",       "dt_min",    "dt_max", "dt_init",
        "dt_scale", "dt_init_floor", "conv_bias", "bias",   "use_fast_path", "layer_idx", "device", "dtype"};
    mb_reader s = mb_reader_section(r, "ssm_cfg");
    const char *layer = mb_reader_text(&s, "layer", "Mamba1");
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (strcmp(layer, other[i].layer) == 0)
            mb_reader_fail(&s, MB_NOTSUP, "layer", "%s models are not supported by this version", other[i].name);
    if (strcmp(layer, "Mamba1") != 0 && strcmp(layer, "Mamba") != 0)
        mb_reader_fail(&s, MB_NOTSUP, "layer", "\"%.32s\" layers are not supported by this version (Mamba1 is)", layer);
    c->N = mb_reader_int(&s, "d_state", 16, 1, MB_MAX_N);
    c->K = mb_reader_int(&s, "d_conv", 4, 1, MB_MAX_K);
    c->E = mb_reader_width(&s, c->D);
    c->R = mb_reader_rank(&s, "dt_rank", c->D);
    c->conv_bias = mb_reader_bool(&s, "conv_bias", 1);
    c->proj_bias = mb_reader_bool(&s, "bias", 0);
    read_step_sizes(&c->init, &s, "dt_", "dt_init");
    c->init.dt_floor = (float)mb_reader_real(&s, "dt_init_floor", 1e-4, 0, 1e3);
    mb_reader_warn_unknown(&s, known, (int)(sizeof known / sizeof *known));
    r->rc = s.rc;
}

/* What Caduceus and state-spaces share. */
static void read_common(mb_config *c, mb_reader *r) {
    c->D = mb_reader_int(r, "d_model", MB_NEEDED, 1, MB_MAX_D);
    c->n_layer = mb_reader_int(r, "n_layer", MB_NEEDED, 1, MB_MAX_LAYERS);
    c->V_config = mb_reader_int(r, "vocab_size", MB_NEEDED, 1, MB_MAX_VOCAB);
    c->vocab_multiple = mb_reader_int(r, "pad_vocab_size_multiple", 8, 1, MB_MAX_VOCAB);
    if (r->rc != MB_OK)
        return;
    c->V = rounded_up(c->V_config, c->vocab_multiple);
    c->norm = mb_reader_bool(r, "rms_norm", 1) ? MBK_NORM_RMS : MBK_NORM_LAYER;
    c->residual_in_fp32 = mb_reader_bool(r, "residual_in_fp32", 1);
    mb_reader_ssm_cfg(c, r);
}

static void read_initializer(mb_config *c, mb_reader *r) {
    static const char *const known[] = {"initializer_range", "rescale_prenorm_residual", "n_residuals_per_layer"};
    mb_reader s = mb_reader_section(r, "initializer_cfg");
    c->init.std = (float)mb_reader_real(&s, "initializer_range", 0.02, 1e-12, 1e3);
    c->init.rescale = mb_reader_bool(&s, "rescale_prenorm_residual", 1) ? 1 : -1;
    c->init.residuals = mb_reader_int(&s, "n_residuals_per_layer", 1, 1, 1000);
    mb_reader_warn_unknown(&s, known, (int)(sizeof known / sizeof *known));
    r->rc = s.rc;
}

/* The original takes list(values()): the i-th value of the file is the complement of token i, whatever its key says.
 * Tokens that padding added complement to themselves. */
static void read_complement(mb_config *c, mb_reader *r) {
    json_t *map = json_object_get(r->object, "complement_map");
    const char *key;
    json_t *value;
    if (!map || json_is_null(map))
        return;
    if (!json_is_object(map)) {
        mb_reader_fail(r, MB_FORMAT, "complement_map", "is not an object");
        return;
    }
    if (json_object_size(map) > (size_t)c->V || c->V > MB_MAX_COMPLEMENT) {
        mb_reader_fail(r, MB_RANGE, "complement_map", "%zu tokens; the vocabulary has %d, and at most %d are possible",
                       json_object_size(map), c->V, MB_MAX_COMPLEMENT);
        return;
    }
    json_object_foreach(map, key, value) {
        json_int_t to = json_integer_value(value);
        if (!json_is_integer(value) || to < 0 || to >= c->V) {
            mb_reader_fail(r, MB_FORMAT, "complement_map", "the value of \"%.32s\" is no token (0..%d)", key, c->V - 1);
            return;
        }
        c->complement[c->n_complement++] = (int)to;
    }
    while (c->n_complement < c->V) {
        c->complement[c->n_complement] = c->n_complement;
        c->n_complement++;
    }
}

static void read_direction(mb_config *c, mb_reader *r) {
    const char *how = mb_reader_text(r, "bidirectional_strategy", "add");
    int both = mb_reader_bool(r, "bidirectional", 1), multiply = strcmp(how, "ew_multiply") == 0;
    if (both && !multiply && strcmp(how, "add") != 0)
        mb_reader_fail(r, MB_FORMAT, "bidirectional_strategy", "\"%.32s\" is neither \"add\" nor \"ew_multiply\"", how);
    c->bidirectional = !both ? MB_BIDIR_NONE : multiply ? MB_BIDIR_MULTIPLY : MB_BIDIR_ADD;
    c->mixer = both ? MB_MIXER_BIMAMBA1 : MB_MIXER_MAMBA1;
    c->tied_directions = mb_reader_bool(r, "bidirectional_weight_tie", 1) && both;
}

void mb_config_read_caduceus(mb_config *c, mb_reader *r) {
    read_common(c, r);
    if (r->rc != MB_OK)
        return;
    c->n_labels = mb_reader_labels(r, "CaduceusForSequenceClassification");
    c->has_head = c->n_labels == 0 && mb_reader_head(r, "CaduceusForMaskedLM", "Caduceus");
    c->eps = (float)mb_reader_real(r, "norm_epsilon", 1e-5, 1e-12, 1);
    read_initializer(c, r);
    read_direction(c, r);
    c->rcps = mb_reader_bool(r, "rcps", 0);
    c->rcps_strand_swap = c->rcps && mb_reader_bool(r, "fused_add_norm", 1);
    c->tied_head = c->has_head && (c->rcps || mb_reader_bool(r, "tie_word_embeddings", 1));
    c->pad_token = mb_reader_int(r, "pad_token_id", -1, -1000000, MB_MAX_VOCAB);
    if (c->pad_token < 0)
        c->pad_token = -1;
    if (r->rc == MB_OK)
        read_complement(c, r);
    if (r->rc == MB_OK && c->rcps && c->n_complement == 0)
        mb_reader_fail(r, MB_FORMAT, "complement_map", "is missing, and rcps needs it");
}

void mb_config_read_ssm(mb_config *c, mb_reader *r) {
    int hidden = mb_reader_int(r, "d_intermediate", 0, 0, 1 << 24);
    const json_t *attention = json_object_get(r->object, "attn_layer_idx");
    if (hidden > 0)
        mb_reader_fail(r, MB_NOTSUP, "d_intermediate", "feed-forward layers are not supported by this version");
    if (json_array_size(attention) > 0)
        mb_reader_fail(r, MB_NOTSUP, "attn_layer_idx", "attention layers are not supported by this version");
    c->mixer = MB_MIXER_MAMBA1;
    read_common(c, r);
    c->eps = 1e-5F; /* not in the file: the default of create_block */
    c->has_head = 1;
    c->tied_head = mb_reader_bool(r, "tie_embeddings", 1);
    c->init.std = 0.02F;
    c->init.rescale = 1;
    c->init.residuals = 1;
}

void mb_config_read_hf(mb_config *c, mb_reader *r) {
    const char *act = mb_reader_text(r, "hidden_act", "silu");
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        mb_reader_fail(r, MB_NOTSUP, "hidden_act", "\"%.32s\" is not supported by this version (silu is)", act);
    c->mixer = MB_MIXER_MAMBA1;
    c->D = mb_reader_int(r, "hidden_size", MB_NEEDED, 1, MB_MAX_D);
    c->n_layer = mb_reader_int(r, "num_hidden_layers", MB_NEEDED, 1, MB_MAX_LAYERS);
    c->V = c->V_config = mb_reader_int(r, "vocab_size", MB_NEEDED, 1, MB_MAX_VOCAB);
    if (r->rc != MB_OK)
        return;
    c->N = mb_reader_int(r, "state_size", 16, 1, MB_MAX_N);
    c->K = mb_reader_int(r, "conv_kernel", 4, 1, MB_MAX_K);
    c->E = mb_reader_int(r, "intermediate_size", mb_reader_width(r, c->D), 1, MB_MAX_EXPAND * MB_MAX_D);
    c->R = mb_reader_rank(r, "time_step_rank", c->D);
    c->conv_bias = mb_reader_bool(r, "use_conv_bias", 1);
    c->proj_bias = mb_reader_bool(r, "use_bias", 0);
    c->norm = MBK_NORM_RMS;
    c->eps = (float)mb_reader_real(r, "layer_norm_epsilon", 1e-5, 1e-12, 1);
    c->residual_in_fp32 = mb_reader_bool(r, "residual_in_fp32", 1);
    c->has_head = mb_reader_head(r, "MambaForCausalLM", "MambaModel");
    c->tied_head = c->has_head && mb_reader_bool(r, "tie_word_embeddings", 1);
    read_step_sizes(&c->init, r, "time_step_", "time_step_init_scheme");
    c->init.dt_floor = (float)mb_reader_real(r, "time_step_floor", 1e-4, 0, 1e3);
    c->init.std = (float)mb_reader_real(r, "initializer_range", 0.1, 1e-12, 1e3);
    c->init.rescale = mb_reader_bool(r, "rescale_prenorm_residual", 0) ? 1 : -1;
    c->init.residuals = 1;
}
