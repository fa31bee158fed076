/* config.json of models that belong to no original ("model_type": "seqmamba"): the layer and the input described key by
 * key, as mb_layer_shape and mb_input_shape have them. Every key but d_model, n_layer and vocab_size has a default,
 * that of a plain pre-norm Mamba. */
#include <string.h>

#include "core/config_reader.h"

const char *const mb_words_norms[3] = {"before", "after", "none"};
const char *const mb_words_act[4] = {"none", "gelu", "relu", "silu"};
const char *const mb_words_directions[3] = {"one", "add", "multiply"};

static void read_input(mb_config *c, mb_reader *r) {
    static const char *const words[] = {"tokens", "rows"};
    c->input.rows = mb_reader_choice(r, "input", words, 2, 0);
    c->V = c->V_config = c->input.rows ? 0 : mb_reader_int(r, "vocab_size", MB_NEEDED, 1, MB_MAX_VOCAB);
    const double scale = mb_reader_real(r, "input_scale", 1, 1e-6, 1e6);
    c->input.scale = scale == 1 ? 0 : (float)scale;
    c->input.positions = mb_reader_int(r, "positions", 0, 0, MB_MAX_POSITIONS);
    c->input.norm = mb_reader_bool(r, "input_norm", 0);
    c->input.pads = mb_reader_bool(r, "pads", 0);
    c->pad_token = c->input.pads ? 0 : -1;
}

static void read_layer(mb_config *c, mb_reader *r) {
    c->bidirectional = (mb_bidirectional)mb_reader_choice(r, "directions", mb_words_directions, 3, MB_BIDIR_NONE);
    c->mixer = c->bidirectional == MB_BIDIR_NONE ? MB_MIXER_MAMBA1 : MB_MIXER_BIMAMBA1;
    c->tied_directions = mb_reader_bool(r, "tied_directions", 0);
    c->layer.norms = (mb_norm_place)mb_reader_choice(r, "norms", mb_words_norms, 3, MB_NORM_BEFORE);
    c->norm = mb_reader_bool(r, "rms_norm", 1) ? MBK_NORM_RMS : MBK_NORM_LAYER;
    c->eps = (float)mb_reader_real(r, "norm_epsilon", 1e-5, 1e-12, 1);
    c->no_final_norm = !mb_reader_bool(r, "final_norm", 1);
    c->layer.bare = !mb_reader_bool(r, "residual", 1);
    c->layer.ffn = mb_reader_int(r, "ffn_width", 0, 0, MB_MAX_FFN);
    c->layer.ffn_from = mb_reader_int(r, "ffn_from", 0, 0, MB_MAX_LAYERS);
    c->layer.act = (mbk_act_kind)mb_reader_choice(r, "activation", mb_words_act, 4, MBK_ACT_GELU);
    c->layer.undropped = !mb_reader_bool(r, "mixer_dropout", 1);
}

void mb_config_read_own(mb_config *c, mb_reader *r) {
    static const char *const heads[] = {"none", "tied", "own"};
    c->D = mb_reader_int(r, "d_model", MB_NEEDED, 1, MB_MAX_D);
    c->n_layer = mb_reader_int(r, "n_layer", MB_NEEDED, 1, MB_MAX_LAYERS);
    if (r->rc != MB_OK)
        return;
    read_input(c, r);
    read_layer(c, r);
    mb_reader_ssm_cfg(c, r);
    const int head = mb_reader_choice(r, "head", heads, 3, c->input.rows ? 0 : 1);
    c->has_head = head > 0;
    c->tied_head = head == 1;
    c->dropout = (float)mb_reader_real(r, "dropout", 0, 0, 0.999);
    c->init.std = (float)mb_reader_real(r, "initializer_range", 0.02, 1e-12, 1e3);
    c->residual_in_fp32 = 1;
}
