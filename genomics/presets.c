/* Architectures by name. See presets.h. Sizes: Schiff et al. 2024 (arXiv 2403.03234), table 3 and the released
 * configurations. */
#include "genomics/presets.h"

#include <stdlib.h>
#include <string.h>

typedef struct preset {
    const char *name;
    int D, n_layer, rcps, causal;
} preset;

static const preset PRESETS[] = {
    {"caduceus-ps-tiny", 64, 4, 1, 0},     {"caduceus-ps-small", 128, 6, 1, 0}, {"caduceus-ps-1k-d118", 118, 4, 1, 0},
    {"caduceus-ps-1k", 256, 4, 1, 0},      {"caduceus-ps-32k", 256, 8, 1, 0},   {"caduceus-ps-131k", 256, 16, 1, 0},
    {"caduceus-ph-1k-d118", 118, 4, 0, 0}, {"caduceus-ph-1k", 256, 4, 0, 0},    {"caduceus-ph-131k", 256, 16, 0, 0},
    {"mamba-dna-tiny", 64, 4, 0, 1},       {"mamba-dna-1k", 256, 4, 0, 1},
};
enum { N_PRESETS = sizeof PRESETS / sizeof *PRESETS };

const char *dna_preset_list(void) {
    return "caduceus-ps-tiny (width 64, 4 layers), caduceus-ps-small (128, 6), caduceus-ps-1k-d118 (118, 4), "
           "caduceus-ps-1k (256, 4), caduceus-ps-32k (256, 8), caduceus-ps-131k (256, 16), caduceus-ph-1k-d118, "
           "caduceus-ph-1k, caduceus-ph-131k, mamba-dna-tiny and mamba-dna-1k (left to right)";
}

static const preset *find(const char *text, size_t n) {
    for (int i = 0; i < N_PRESETS; i++)
        if (strlen(PRESETS[i].name) == n && strncmp(PRESETS[i].name, text, n) == 0)
            return &PRESETS[i];
    return NULL;
}

int dna_preset_is(const char *text) {
    return find(text, strcspn(text, ":")) != NULL;
}

static void fill(mb_config *c, const preset *p) {
    *c = (mb_config){.family = MB_FAMILY_CADUCEUS,
                     .mixer = p->causal ? MB_MIXER_MAMBA1 : MB_MIXER_BIMAMBA1,
                     .D = p->D,
                     .n_layer = p->n_layer,
                     .V = 16,
                     .V_config = 16,
                     .N = 16,
                     .K = 4,
                     .conv_bias = 1,
                     .norm = MBK_NORM_RMS,
                     .eps = 1e-5F,
                     .bidirectional = p->causal ? MB_BIDIR_NONE : MB_BIDIR_ADD,
                     .tied_directions = !p->causal,
                     .rcps = p->rcps,
                     .rcps_strand_swap = p->rcps,
                     .tied_head = 1,
                     .has_head = 1,
                     .pad_token = 4,
                     .residual_scale = 1,
                     .vocab_multiple = 8,
                     .n_complement = 16};
    for (int i = 0; i < 16; i++)
        c->complement[i] = i >= 7 && i <= 10 ? 17 - i : i; /* A 7, C 8, G 9, T 10 */
}

/* ":d256", ":n4", ":s16" after the name. */
static int apply(mb_config *c, const char *name, const char *part, mb_err *e) {
    while (*part == ':') {
        char *end;
        const char letter = part[1];
        const long v = letter ? strtol(part + 2, &end, 10) : 0;
        int *to = letter == 'd' ? &c->D : letter == 'n' ? &c->n_layer : letter == 's' ? &c->N : NULL;
        if (!to || end == part + 2 || (*end && *end != ':') || v < 1 || v > MB_MAX_D)
            return mb_fail(e, MB_USAGE,
                           "%s: after a preset come :dWIDTH, :nLAYERS, :sSTATES, as in caduceus-ps-1k:d128:n6", name);
        *to = (int)v;
        part = end;
    }
    return MB_OK;
}

int dna_preset_config(mb_config *c, const char *name, mb_err *e) {
    const size_t n = strcspn(name, ":");
    const preset *p = find(name, n);
    if (!p)
        return mb_fail(e, MB_NOTFOUND, "no preset %s: there are %s", name, dna_preset_list());
    fill(c, p);
    int rc = apply(c, name, name + n, e);
    if (rc != MB_OK)
        return rc;
    c->E = 2 * c->D;
    c->R = (c->D + 15) / 16;
    return mb_config_check(c, name, e);
}
