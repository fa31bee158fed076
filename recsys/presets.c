/* Architectures by name. See presets.h. */
#include "recsys/presets.h"

#include <stdlib.h>
#include <string.h>

typedef struct preset {
    const char *name;
    mb_family family;
    int D, n_layer, N;
} preset;

static const preset PRESETS[] = {{"mamba4rec", MB_FAMILY_MAMBA4REC, 64, 1, 32},
                                 {"mamba4rec-2", MB_FAMILY_MAMBA4REC, 64, 2, 32},
                                 {"recmamba", MB_FAMILY_RECMAMBA, 64, 1, 32},
                                 {"mamba", MB_FAMILY_MAMBA_SSM, 64, 2, 32}};
enum { N_PRESETS = sizeof PRESETS / sizeof *PRESETS };
static const float DROPOUT = 0.2F; /* of both originals */

const char *rec_preset_list(void) {
    return "mamba4rec (1 layer), mamba4rec-2 (2 layers), recmamba (a bare Mamba with learned positions), mamba (2 "
           "pre-norm residual layers)";
}

static const preset *find(const char *text, size_t n) {
    for (int i = 0; i < N_PRESETS; i++)
        if (strlen(PRESETS[i].name) == n && strncmp(PRESETS[i].name, text, n) == 0)
            return &PRESETS[i];
    return NULL;
}

int rec_preset_is(const char *text) {
    return find(text, strcspn(text, ":")) != NULL;
}

/* Sizes first: the shapes follow from them. */
static void fill(mb_config *c, const preset *p, int64_t window) {
    c->E = 2 * c->D;
    c->R = (c->D + 15) / 16;
    c->K = 4;
    if (p->family == MB_FAMILY_MAMBA4REC)
        mb_config_as_mamba4rec(c);
    if (p->family == MB_FAMILY_RECMAMBA)
        mb_config_as_recmamba(c, (int)window);
    c->dropout = DROPOUT;
    if (p->family != MB_FAMILY_MAMBA_SSM)
        return;
    c->family = MB_FAMILY_MAMBA_SSM;
    c->mixer = MB_MIXER_MAMBA1;
    c->conv_bias = c->tied_head = c->has_head = 1;
    c->norm = MBK_NORM_RMS;
    c->eps = 1e-5F;
    c->pad_token = -1;
    c->residual_scale = 1;
}

/* ":d128", ":n4", ":s16" after the name. */
static int apply(mb_config *c, const char *name, const char *part, mb_err *e) {
    while (*part == ':') {
        char *end = NULL;
        const char letter = part[1];
        const long v = letter ? strtol(part + 2, &end, 10) : 0;
        int *to = letter == 'd' ? &c->D : letter == 'n' ? &c->n_layer : letter == 's' ? &c->N : NULL;
        if (!to || end == part + 2 || (*end && *end != ':') || v < 1 || v > MB_MAX_D)
            return mb_fail(e, MB_USAGE, "%s: after a preset come :dWIDTH, :nLAYERS, :sSTATES, as in mamba4rec:d128:n4",
                           name);
        *to = (int)v;
        part = end;
    }
    return MB_OK;
}

int rec_config_for(mb_config *c, int32_t items, const char *where, mb_err *e) {
    if (items >= MB_MAX_VOCAB)
        return mb_fail(e, MB_NOTSUP,
                       "%s: %d items; a model has at most %d (leave rare ones out: recmamba prep "
                       "--min-item)",
                       where, items, MB_MAX_VOCAB - 1);
    c->V = c->V_config = items + 1;
    c->vocab_multiple = 0;
    return mb_config_check(c, where, e);
}

int rec_preset_config(mb_config *c, const char *name, int32_t items, int64_t window, mb_err *e) {
    const size_t n = strcspn(name, ":");
    const preset *p = find(name, n);
    if (!p)
        return mb_fail(e, MB_NOTFOUND, "no preset %s: there are %s", name, rec_preset_list());
    if (p->family == MB_FAMILY_RECMAMBA && (window < 1 || window > MB_MAX_POSITIONS))
        return mb_fail(e, MB_USAGE, "%s: its positions are learned, one by one: --window must be 1 to %d", name,
                       MB_MAX_POSITIONS);
    *c = (mb_config){.D = p->D, .n_layer = p->n_layer, .N = p->N};
    int rc = apply(c, name, name + n, e);
    if (rc != MB_OK)
        return rc;
    fill(c, p, window);
    return rec_config_for(c, items, name, e);
}
