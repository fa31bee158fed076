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
