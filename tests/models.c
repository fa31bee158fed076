#include "tests/models.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/file.h"
#include "core/params_table.h"
#include "core/rng.h"

mb_config model_caduceus(int D, int n_layer, int rcps) {
    mb_config c = {.family = MB_FAMILY_CADUCEUS,
                   .mixer = MB_MIXER_BIMAMBA1,
                   .D = D,
                   .n_layer = n_layer,
                   .V = 16,
                   .V_config = 16,
                   .E = 2 * D,
                   .N = 16,
                   .K = 4,
                   .R = (D + 15) / 16,
                   .conv_bias = 1,
                   .norm = MBK_NORM_RMS,
                   .eps = 1e-5F,
                   .bidirectional = MB_BIDIR_ADD,
                   .tied_directions = 1,
                   .rcps = rcps,
                   .rcps_strand_swap = rcps,
                   .tied_head = 1,
                   .has_head = 1,
                   .pad_token = 4,
                   .residual_scale = 1};
    const int complement[16] = {0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11, 12, 13, 14, 15};
    c.n_complement = 16;
    for (int i = 0; i < 16; i++)
        c.complement[i] = complement[i];
    return c;
}

mb_config model_mamba(int D, int n_layer, int V) {
    mb_config c = model_caduceus(D, n_layer, 0);
    c.family = MB_FAMILY_MAMBA_SSM;
    c.mixer = MB_MIXER_MAMBA1;
    c.V = c.V_config = V;
    c.bidirectional = MB_BIDIR_NONE;
    c.tied_directions = 0;
    c.n_complement = 0;
    c.pad_token = -1;
    return c;
}

/* A model of no original, without more than a plain one has. */
static mb_config own(int D, int n_layer, int V) {
    mb_config c = model_mamba(D, n_layer, V);
    c.family = MB_FAMILY_SEQMAMBA;
    c.residual_in_fp32 = 1;
    c.N = 5;
    return c;
}

static mb_config mamba4rec(int D, int n_layer, int V) {
    mb_config c = model_mamba(D, n_layer, V);
    c.N = 8;
    mb_config_as_mamba4rec(&c);
    return c;
}

static mb_config bidirectional(int tied) {
    mb_config c = own(13, 2, 20);
    c.mixer = MB_MIXER_BIMAMBA1;
    c.bidirectional = MB_BIDIR_ADD;
    c.tied_directions = tied;
    return c;
}

const char *model_build_name(int which) {
    static const char *const names[MODEL_BUILDS] = {"Mamba4Rec, 1 layer",
                                                    "Mamba4Rec, 2 layers",
                                                    "RecMamba",
                                                    "norms before, feed-forward SiLU",
                                                    "norms after and at the end, both ways",
                                                    "no norms, feed-forward in the last layer",
                                                    "norms before, both ways tied, feed-forward",
                                                    "norms after without one of the input, RMS, bare",
                                                    "norms before, bare, positions"};
    return names[which];
}

mb_config model_build(int which) {
    mb_config c = own(13, 3, 20);
    switch (which) {
    case 0:
        return mamba4rec(16, 1, 57);
    case 1: /* mixers drawn so that every parameter is heard */
        c = mamba4rec(24, 2, 31);
        c.init.rule = MB_INIT_MAMBA;
        return c;
    case 2:
        c = model_mamba(16, 1, 33);
        mb_config_as_recmamba(&c, 200);
        return c;
    case 3:
        c.layer = (mb_layer_shape){.ffn = 21, .act = MBK_ACT_SILU};
        return c;
    case 4: /* the encoder of S-Mamba */
        c = bidirectional(0);
        c.norm = MBK_NORM_LAYER;
        c.layer = (mb_layer_shape){.norms = MB_NORM_AFTER, .ffn = 24, .act = MBK_ACT_GELU};
        return c;
    case 5: /* Mamba4KT's reading with one feed-forward part */
        c.layer = (mb_layer_shape){.norms = MB_NORM_NOWHERE, .ffn = 17, .ffn_from = 2, .act = MBK_ACT_GELU};
        c.input = (mb_input_shape){.scale = 3, .norm = 1, .pads = 1};
        return c;
    case 6:
        c = bidirectional(1);
        c.layer = (mb_layer_shape){.ffn = 40, .ffn_from = 1, .act = MBK_ACT_GELU};
        c.tied_head = 0;
        return c;
    case 7:
        c.layer = (mb_layer_shape){.norms = MB_NORM_AFTER, .bare = 1, .undropped = 1};
        c.no_final_norm = 1;
        return c;
    default:
        c.layer = (mb_layer_shape){.bare = 1};
        c.input = (mb_input_shape){.positions = 210};
        return c;
    }
}

static int shake(void *user, const mb_param *p) {
    mb_rng r;
    float *v = (float *)(uintptr_t)*mb_param_place(user, p); /* seeded parameters are in memory of their own */
    mb_rng_init(&r, 2, (uint64_t)p->index);
    for (int64_t i = 0; p->alias_of < 0 && i < p->count; i++)
        v[i] = (float)((double)v[i] * (1 + 0.2 * mb_rng_normal(&r)) + 0.05 * mb_rng_normal(&r));
    return MB_OK;
}

static mb_model *make_model(const mb_config *c, const mb_model_options *o, int shaken) {
    mb_err e = {0};
    mb_params *params = NULL;
    mb_model *m = NULL;
    int rc = mb_params_seed(&params, c, 1, &e);
    if (rc == MB_OK && shaken)
        rc = mb_params_walk(c, shake, params);
    if (rc != MB_OK || mb_model_create(&m, c, params, o, &e) != MB_OK) {
        fprintf(stderr, "cannot make a test model: %s\n", e.text);
        exit(1);
    }
    return m;
}

mb_model *model_seeded(const mb_config *c, const mb_model_options *o) {
    return make_model(c, o, 0);
}

mb_model *model_shaken(const mb_config *c, const mb_model_options *o) {
    return make_model(c, o, 1);
}

void model_tokens(int32_t *token, int64_t n, int low, int high, uint64_t seed) {
    mb_rng r;
    mb_rng_init(&r, seed, 0);
    for (int64_t i = 0; i < n; i++)
        token[i] = (int32_t)(low + (int64_t)mb_rng_below(&r, (uint64_t)(high - low)));
}

const char *shared_dir(void) {
    const char *dir = getenv("SEQMAMBA_SHARED");
    if (!dir || !*dir)
        dir = "../shared";
    return mb_dir_exists(dir) ? dir : NULL;
}
