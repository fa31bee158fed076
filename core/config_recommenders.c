/* The recommenders' config.json: the constructor's arguments of the originals, under their names there, with the
 * defaults of their own configuration files.
 *   Mamba4Rec   chengkai-liu/Mamba4Rec mamba4rec.py, config.yaml
 *   RecMamba    nancheng58/RecMamba model.py, main.py
 * A key "init" (ours) says how a fresh model is drawn: as the original does, or mixers as mamba_ssm does. Item counts
 * are as RecBole counts for Mamba4Rec (n_items with the pad) and without the pad for RecMamba (item_num). */
#include <math.h>
#include <string.h>

#include "core/config_reader.h"

static void read_init(mb_config *c, mb_reader *r, const char *own) {
    const char *rule = mb_reader_text(r, "init", own);
    c->init.rule = strcmp(rule, "mamba") == 0 ? MB_INIT_MAMBA : MB_INIT_FAMILY;
    if (c->init.rule == MB_INIT_FAMILY && strcmp(rule, own) != 0)
        mb_reader_fail(r, MB_FORMAT, "init", "\"%.32s\" is neither \"%s\" nor \"mamba\"", rule, own);
}

/* What both share; D and n_layer are set. */
static void read_mixer(mb_config *c, mb_reader *r) {
    c->N = mb_reader_int(r, "d_state", 32, 1, MB_MAX_N);
    c->K = mb_reader_int(r, "d_conv", 4, 1, MB_MAX_K);
    c->E = mb_reader_width(r, c->D);
    c->R = mb_reader_rank(r, "dt_rank", c->D);
}

static void as_recommender(mb_config *c, mb_family family) {
    c->family = family;
    c->mixer = MB_MIXER_MAMBA1;
    c->V_config = c->V;
    c->conv_bias = 1;
    c->has_head = c->tied_head = 1;
    c->norm = MBK_NORM_LAYER;
    c->eps = 1e-12F;
    c->pad_token = 0;
    c->residual_scale = 1;
    c->residual_in_fp32 = 1;
    c->no_final_norm = 1;
    c->input = (mb_input_shape){.pads = 1};
}

void mb_config_as_mamba4rec(mb_config *c) {
    as_recommender(c, MB_FAMILY_MAMBA4REC);
    c->input.norm = 1;
    c->layer = (mb_layer_shape){.norms = MB_NORM_AFTER, .bare = c->n_layer == 1, .ffn = 4 * c->D, .act = MBK_ACT_GELU};
}

void mb_config_as_recmamba(mb_config *c, int positions) {
    as_recommender(c, MB_FAMILY_RECMAMBA);
    c->input.scale = (float)sqrt((double)c->D);
    c->input.positions = positions;
    c->layer = (mb_layer_shape){.norms = MB_NORM_NOWHERE, .bare = 1, .undropped = 1};
}

/* "auto": as the original has it, a residual where there is more than one layer. */
static void read_residual(mb_config *c, mb_reader *r) {
    const char *how = mb_reader_text(r, "residual", "auto");
    if (strcmp(how, "always") == 0)
        c->layer.bare = 0;
    else if (strcmp(how, "auto") != 0)
        mb_reader_fail(r, MB_FORMAT, "residual", "\"%.32s\" is neither \"auto\" nor \"always\"", how);
}

void mb_config_read_mamba4rec(mb_config *c, mb_reader *r) {
    static const char *const losses[] = {"CE", "BPR"};
    c->D = mb_reader_int(r, "hidden_size", MB_NEEDED, 1, MB_MAX_D);
    c->n_layer = mb_reader_int(r, "num_layers", MB_NEEDED, 1, MB_MAX_LAYERS);
    c->V = mb_reader_int(r, "n_items", MB_NEEDED, 1, MB_MAX_VOCAB);
    if (r->rc != MB_OK)
        return;
    read_mixer(c, r);
    mb_config_as_mamba4rec(c);
    read_residual(c, r);
    c->eps = (float)mb_reader_real(r, "layer_norm_eps", 1e-12, 1e-12, 1);
    c->init.std = (float)mb_reader_real(r, "initializer_range", 0.02, 1e-12, 1e3);
    c->dropout = (float)mb_reader_real(r, "dropout_prob", 0.2, 0, 0.999);
    const char *loss = mb_reader_text(r, "loss_type", losses[0]);
    c->bpr = strcmp(loss, losses[1]) == 0;
    if (!c->bpr && strcmp(loss, losses[0]) != 0)
        mb_reader_fail(r, MB_FORMAT, "loss_type", "\"%.32s\" is neither \"CE\" nor \"BPR\"", loss);
    read_init(c, r, "mamba4rec");
}

void mb_config_read_recmamba(mb_config *c, mb_reader *r) {
    c->D = mb_reader_int(r, "hidden_units", 64, 1, MB_MAX_D);
    c->n_layer = mb_reader_int(r, "num_blocks", 1, 1, MB_MAX_LAYERS);
    c->V = mb_reader_int(r, "item_num", MB_NEEDED, 0, MB_MAX_VOCAB - 1) + 1;
    const int positions = mb_reader_int(r, "maxlen", MB_NEEDED, 1, MB_MAX_POSITIONS);
    if (r->rc != MB_OK)
        return;
    read_mixer(c, r);
    mb_config_as_recmamba(c, positions);
    c->dropout = (float)mb_reader_real(r, "dropout_rate", 0.2, 0, 0.999);
    read_init(c, r, "recmamba");
}
