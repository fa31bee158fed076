/* The table of parameters, and the memory behind them. */
#include "core/params_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

/* ---- the table ----------------------------------------------------------------------------------------------------
 */

typedef enum drawn { /* which rule of mb_param_fill; see draw() */
                     AS_ZERO,
                     AS_ONE,
                     AS_LINEAR,    /* U(+-1/sqrt(columns)); transformers: N(0, std^2) */
                     AS_OUT,       /* U(+-1/sqrt(columns)) / sqrt(residuals * n_layer) */
                     AS_CONV,      /* U(+-1/sqrt(K)) */
                     AS_CONV_BIAS, /* the same; transformers: 0 */
                     AS_DT,        /* U(+-R^-1/2 dt_scale) or the constant */
                     AS_DT_BIAS,
                     AS_A_LOG,
                     AS_EMBEDDING, /* N(0, std^2) */
                     AS_FFN        /* the same */
} drawn;

typedef enum present { ALWAYS, WITH_CONV_BIAS, WITH_PROJ_BIAS, WITH_LAYER_NORM } present;

/* dims: one letter a dimension; I = 2E, X = R+2N, F = feed-forward width, P = positions, 1 = 1, else the house's
 * letters.
 */
typedef struct row {
    const char *name, *dims;
    size_t offset;
    present present;
    drawn drawn;
    mb_param_fold fold;
    int tied; /* shared by both directions when the configuration says so */
} row;

#define IN(field) offsetof(mb_mamba1_params, field)
static const row mixer_rows[] = {
    {"in_proj.weight", "ID", IN(in_w), ALWAYS, AS_LINEAR, MB_FOLD_COLUMNS, 1},
    {"in_proj.bias", "I", IN(in_b), WITH_PROJ_BIAS, AS_ZERO, MB_FOLD_NONE, 1},
    {"conv1d.weight", "E1K", IN(conv_w), ALWAYS, AS_CONV, MB_FOLD_NONE, 0},
    {"conv1d.bias", "E", IN(conv_b), WITH_CONV_BIAS, AS_CONV_BIAS, MB_FOLD_NONE, 0},
    {"x_proj.weight", "XE", IN(x_w), ALWAYS, AS_LINEAR, MB_FOLD_NONE, 0},
    {"dt_proj.weight", "ER", IN(dt_w), ALWAYS, AS_DT, MB_FOLD_NONE, 0},
    {"dt_proj.bias", "E", IN(dt_b), ALWAYS, AS_DT_BIAS, MB_FOLD_NONE, 0},
    {"A_log", "EN", IN(A_log), ALWAYS, AS_A_LOG, MB_FOLD_NONE, 0},
    {"D", "E", IN(skip), ALWAYS, AS_ONE, MB_FOLD_NONE, 0},
    {"out_proj.weight", "DE", IN(out_w), ALWAYS, AS_OUT, MB_FOLD_ROWS, 1},
    {"out_proj.bias", "D", IN(out_b), WITH_PROJ_BIAS, AS_ZERO, MB_FOLD_VECTOR, 1},
};
static const row norm_rows[] = {
    {"weight", "D", offsetof(mb_layer_params, norm_w), ALWAYS, AS_ONE, MB_FOLD_VECTOR, 0},
    {"bias", "D", offsetof(mb_layer_params, norm_b), WITH_LAYER_NORM, AS_ZERO, MB_FOLD_VECTOR, 0},
};
static const row norm_f_rows[] = {
    {"weight", "D", offsetof(mb_params, norm_f_w), ALWAYS, AS_ONE, MB_FOLD_NONE, 0},
    {"bias", "D", offsetof(mb_params, norm_f_b), WITH_LAYER_NORM, AS_ZERO, MB_FOLD_NONE, 0},
};
static const row norm_in_rows[] = {
    {"weight", "D", offsetof(mb_params, norm_in_w), ALWAYS, AS_ONE, MB_FOLD_NONE, 0},
    {"bias", "D", offsetof(mb_params, norm_in_b), WITH_LAYER_NORM, AS_ZERO, MB_FOLD_NONE, 0},
};
#undef IN
#define IN(field) offsetof(mb_layer_params, ffn.field)
static const row ffn_norm_rows[] = {
    {"weight", "D", IN(norm_w), ALWAYS, AS_ONE, MB_FOLD_NONE, 0},
    {"bias", "D", IN(norm_b), WITH_LAYER_NORM, AS_ZERO, MB_FOLD_NONE, 0},
};
static const row ffn_rows[] = {
    {"w_1.weight", "FD", IN(w1), ALWAYS, AS_FFN, MB_FOLD_NONE, 0},
    {"w_1.bias", "F", IN(b1), ALWAYS, AS_ZERO, MB_FOLD_NONE, 0},
    {"w_2.weight", "DF", IN(w2), ALWAYS, AS_FFN, MB_FOLD_NONE, 0},
    {"w_2.bias", "D", IN(b2), ALWAYS, AS_ZERO, MB_FOLD_NONE, 0},
};
#undef IN
static const row positions_row = {"weight",     "PD", offsetof(mb_params, positions), ALWAYS, AS_EMBEDDING,
                                  MB_FOLD_NONE, 0};
static const row embedding_row = {"weight",     "VD", offsetof(mb_params, embedding), ALWAYS, AS_EMBEDDING,
                                  MB_FOLD_NONE, 0};
static const row head_row = {"weight", "VD", offsetof(mb_params, head_w), ALWAYS, AS_LINEAR, MB_FOLD_NONE, 0};

enum { MIXER_ROWS = sizeof mixer_rows / sizeof *mixer_rows, NORM_ROWS = 2, FFN_ROWS = 4 };

int mb_params_most(const mb_config *c) {
    return c->n_layer * (2 * MIXER_ROWS + 2 * NORM_ROWS + FFN_ROWS) + 2 * NORM_ROWS + 3;
}

static int64_t dimension(const mb_config *c, char letter) {
    switch (letter) {
    case 'D':
        return c->D;
    case 'E':
        return c->E;
    case 'I':
        return 2 * (int64_t)c->E;
    case 'K':
        return c->K;
    case 'N':
        return c->N;
    case 'R':
        return c->R;
    case 'X':
        return c->R + 2 * (int64_t)c->N;
    case 'V':
        return c->V;
    case 'F':
        return c->layer.ffn;
    case 'P':
        return c->input.positions;
    case '1':
        return 1;
    }
    MB_ASSERT(!"a letter of the table");
    return 0;
}

static int is_present(const mb_config *c, present p) {
    return p == ALWAYS || (p == WITH_CONV_BIAS && c->conv_bias) || (p == WITH_PROJ_BIAS && c->proj_bias) ||
           (p == WITH_LAYER_NORM && c->norm == MBK_NORM_LAYER);
}

/* Mamba4Rec draws every Linear anew, those inside of the mixers too, and zeroes their biases; RecMamba draws everything
 * of two dimensions and more with xavier_normal_, convolution, A_log and the pad's row too. 1 when that is the rule. */
static int draw_over(mb_param *p, const mb_config *c, drawn how) {
    const int linear = how == AS_LINEAR || how == AS_OUT || how == AS_DT;
    if (c->init.rule == MB_INIT_MAMBA)
        return 0;
    if (c->family == MB_FAMILY_RECMAMBA && p->ndim >= 2) {
        const double kernel = p->ndim == 3 ? (double)p->shape[2] : 1; /* what torch counts each fan by */
        p->fill = MB_FILL_NORMAL;
        p->scale = sqrt(2 / (kernel * ((double)p->shape[0] + (double)p->shape[1])));
        return 1;
    }
    if (c->family != MB_FAMILY_MAMBA4REC || (!linear && how != AS_DT_BIAS))
        return 0;
    p->fill = linear ? MB_FILL_NORMAL : MB_FILL_ZERO;
    p->scale = (double)mb_config_init(c).std;
    return 1;
}

/* The originals' _init_weights; columns = fan-in = the last dimension. */
static void draw(mb_param *p, const mb_config *c, drawn how) {
    const mb_init init = mb_config_init(c);
    const double fan_in = 1 / sqrt((double)p->shape[p->ndim - 1]);
    const int hf = c->family == MB_FAMILY_MAMBA_HF;
    p->fill = MB_FILL_UNIFORM;
    p->scale = fan_in;
    if (draw_over(p, c, how))
        return;
    switch (how) {
    case AS_ZERO:
        p->fill = MB_FILL_ZERO;
        break;
    case AS_ONE:
        p->fill = MB_FILL_ONE;
        break;
    case AS_LINEAR:
    case AS_EMBEDDING:
    case AS_FFN:
        if (hf || how != AS_LINEAR) {
            p->fill = MB_FILL_NORMAL;
            p->scale = (double)init.std;
        }
        break;
    case AS_OUT:
        p->scale = init.rescale > 0 ? fan_in / sqrt((double)init.residuals * c->n_layer) : fan_in;
        break;
    case AS_CONV:
    case AS_CONV_BIAS:
        p->scale = 1 / sqrt((double)c->K);
        p->fill = hf && how == AS_CONV_BIAS ? MB_FILL_ZERO : MB_FILL_UNIFORM;
        break;
    case AS_DT:
        p->scale = (double)init.dt_scale / sqrt((double)c->R);
        p->fill = init.dt_constant ? MB_FILL_CONSTANT : MB_FILL_UNIFORM;
        break;
    case AS_DT_BIAS:
        p->fill = MB_FILL_DT_BIAS;
        break;
    case AS_A_LOG:
        p->fill = MB_FILL_A_LOG;
        break;
    }
}

/* ---- names --------------------------------------------------------------------------------------------------------
 */

static void name_of(char out[MB_PARAM_NAME], const char *const part[5]) {
    size_t n = 0;
    for (int i = 0; i < 5; i++) {
        size_t more = part[i] ? strlen(part[i]) : 0;
        MB_ASSERT(n + more < MB_PARAM_NAME);
        if (more)
            memcpy(out + n, part[i], more);
        n += more;
    }
    out[n] = '\0';
}
#define NAME(out, ...) name_of(out, (const char *const[5]){__VA_ARGS__})

/* Families whose names begin with no backbone. */
static int own_names(const mb_config *c) {
    return mb_family_recommends(c->family) || c->family == MB_FAMILY_SEQMAMBA;
}

/* What stands before the parameters of a layer's parts. */
enum { PREFIX = 48 };
static void mixer_prefix(const mb_config *c, int layer, char in[PREFIX]) {
    if (c->family == MB_FAMILY_MAMBA4REC)
        snprintf(in, PREFIX, "mamba_layers.%d.mamba.", layer);
    else if (c->family == MB_FAMILY_RECMAMBA)
        snprintf(in, PREFIX, "mamba%d.", layer + 1);
    else
        snprintf(in, PREFIX, "layers.%d.mixer.%s", layer, c->rcps ? "submodule." : "");
}

/* layer -1: the final norm. */
static void norm_prefix(const mb_config *c, int layer, char in[PREFIX]) {
    if (layer < 0)
        snprintf(in, PREFIX, "norm_f.");
    else if (c->family == MB_FAMILY_MAMBA4REC)
        snprintf(in, PREFIX, "mamba_layers.%d.LayerNorm.", layer);
    else
        snprintf(in, PREFIX, "layers.%d.norm.", layer);
}

static void ffn_prefix(const mb_config *c, int layer, char in[PREFIX]) {
    snprintf(in, PREFIX, "%s.%d.ffn.", c->family == MB_FAMILY_MAMBA4REC ? "mamba_layers" : "layers", layer);
}

static const char *backbone(const mb_config *c) {
    if (own_names(c))
        return "";
    if (c->family == MB_FAMILY_CADUCEUS)
        return c->has_head || c->n_labels > 0 ? "caduceus.backbone." : "backbone.";
    return c->family == MB_FAMILY_MAMBA_HF && !c->has_head ? "" : "backbone.";
}

static const char *head_prefix(const mb_config *c) {
    return c->family == MB_FAMILY_CADUCEUS && c->rcps ? "lm_head.lm_head." : "lm_head.";
}

/* RCPSAddNormWrapper stands around the norms of the unfused RC-equivariant path only. */
static const char *norm_wrapper(const mb_config *c) {
    return c->rcps && !c->rcps_strand_swap ? "submodule." : "";
}

static const char *embedding_prefix(const mb_config *c) {
    if (c->family == MB_FAMILY_MAMBA4REC)
        return "item_embedding.";
    if (c->family == MB_FAMILY_RECMAMBA)
        return "item_emb.";
    if (c->family == MB_FAMILY_CADUCEUS)
        return c->rcps ? "embeddings.word_embeddings.embedding." : "embeddings.word_embeddings.";
    return c->family == MB_FAMILY_MAMBA_HF ? "embeddings." : "embedding.";
}

int mb_params_buffer(const mb_config *c, int which, char name[MB_PARAM_NAME]) {
    if (!c->rcps || which > (c->has_head ? 1 : 0))
        return 0;
    if (which == 0)
        NAME(name, backbone(c), "embeddings.word_embeddings.complement_map");
    else
        NAME(name, "lm_head.complement_map");
    return 1;
}

/* ---- the walk -----------------------------------------------------------------------------------------------------
 */

typedef struct walker {
    const mb_config *c;
    int (*visit)(void *, const mb_param *);
    void *user;
    int index;
    mb_param p; /* filled for each visit */
} walker;

/* Everything of a row but its names. */
static void describe(walker *w, const row *r, int layer, int dir) {
    mb_param *p = &w->p;
    const int turned = layer >= 0 && layer % 2 == 0 && w->c->rcps_strand_swap;
    p->ndim = (int)strlen(r->dims);
    p->count = 1;
    for (int i = 0; i < p->ndim; i++)
        p->count *= p->shape[i] = dimension(w->c, r->dims[i]);
    p->layer = layer;
    p->dir = dir < 0 ? -1 : dir ^ turned; /* what the file calls forward runs right to left in a turned layer */
    p->offset = r->offset;
    p->fold = turned ? r->fold : MB_FOLD_NONE;
    p->index = w->index++;
    p->alias_of = -1;
    p->kept = 0;
    p->other[0][0] = p->other[1][0] = '\0';
    draw(p, w->c, r->drawn);
}

static int visit_embedding(walker *w) {
    const mb_config *c = w->c;
    if (c->input.rows)
        return MB_OK;
    describe(w, &embedding_row, -1, -1);
    NAME(w->p.name, backbone(c), embedding_prefix(c), "weight");
    if (c->family == MB_FAMILY_MAMBA_SSM)
        NAME(w->p.other[0], backbone(c), "embeddings.weight");
    if (c->family == MB_FAMILY_MAMBA_HF)
        NAME(w->p.other[0], backbone(c), "embedding.weight");
    if (c->tied_head && !own_names(c))
        NAME(w->p.other[1], head_prefix(c), "weight");
    return w->visit(w->user, &w->p);
}

static int visit_positions(walker *w) {
    if (w->c->input.positions == 0)
        return MB_OK;
    describe(w, &positions_row, -1, -1);
    NAME(w->p.name, w->c->family == MB_FAMILY_RECMAMBA ? "pos_emb." : "position_embedding.", "weight");
    return w->visit(w->user, &w->p);
}

static int visit_head(walker *w) {
    const mb_config *c = w->c;
    if (!c->has_head)
        return MB_OK;
    describe(w, &head_row, -1, -1);
    NAME(w->p.name, head_prefix(c), "weight");
    w->p.alias_of = c->tied_head ? 0 : -1;
    w->p.kept = c->family == MB_FAMILY_MAMBA_SSM;
    return w->visit(w->user, &w->p);
}

/* Rows whose names are plain tails of a prefix. */
static int visit_rows(walker *w, const row *rows, int n, int layer, const char *in) {
    int rc = MB_OK;
    for (int i = 0; i < n && rc == MB_OK; i++) {
        if (!is_present(w->c, rows[i].present))
            continue;
        describe(w, &rows[i], layer, -1);
        NAME(w->p.name, backbone(w->c), in, rows[i].name);
        rc = w->visit(w->user, &w->p);
    }
    return rc;
}

static int visit_norm(walker *w, const row *rows, int layer) {
    char in[PREFIX + 16], *end;
    norm_prefix(w->c, layer, in);
    end = in + strlen(in);
    memcpy(end, norm_wrapper(w->c), strlen(norm_wrapper(w->c)) + 1);
    return visit_rows(w, rows, NORM_ROWS, layer, in);
}

/* The feed-forward part of a layer and its norm. */
static int visit_ffn(walker *w, int layer) {
    const mb_config *c = w->c;
    char in[PREFIX], norm[PREFIX + 16];
    if (c->layer.ffn == 0 || layer < c->layer.ffn_from)
        return MB_OK;
    ffn_prefix(c, layer, in);
    snprintf(norm, sizeof norm, "%s%s", in, c->family == MB_FAMILY_MAMBA4REC ? "LayerNorm." : "norm.");
    int rc = visit_rows(w, ffn_rows, FFN_ROWS, layer, in);
    if (rc == MB_OK && c->layer.norms != MB_NORM_NOWHERE)
        rc = visit_rows(w, ffn_norm_rows, NORM_ROWS, layer, norm);
    return rc;
}

static int visit_mixer(walker *w, int layer, int dir) {
    static const char *const mambas[2] = {"mamba_fwd.", "mamba_rev."};
    const mb_config *c = w->c;
    const int two = c->family == MB_FAMILY_CADUCEUS || c->mixer == MB_MIXER_BIMAMBA1;
    int rows = 0; /* of one direction: the distance of an alias to its origin */
    char in[PREFIX];
    for (int i = 0; i < MIXER_ROWS; i++)
        rows += is_present(c, mixer_rows[i].present);
    mixer_prefix(c, layer, in);
    for (int i = 0; i < MIXER_ROWS; i++) {
        const row *r = &mixer_rows[i];
        if (!is_present(c, r->present))
            continue;
        describe(w, r, layer, dir);
        NAME(w->p.name, backbone(c), in, two ? mambas[dir] : "", r->name);
        if (r->tied && c->tied_directions && dir == 0)
            NAME(w->p.other[0], backbone(c), in, mambas[1], r->name);
        if (r->tied && c->tied_directions && dir == 1)
            w->p.alias_of = w->p.index - rows;
        int rc = w->visit(w->user, &w->p);
        if (rc != MB_OK)
            return rc;
    }
    return MB_OK;
}

int mb_params_walk(const mb_config *c, int (*visit)(void *user, const mb_param *p), void *user) {
    walker w = {.c = c, .visit = visit, .user = user};
    const int directions = c->mixer == MB_MIXER_BIMAMBA1 ? 2 : 1;
    int rc = visit_embedding(&w);
    if (rc == MB_OK)
        rc = visit_positions(&w);
    if (rc == MB_OK && c->input.norm)
        rc = visit_rows(&w, norm_in_rows, NORM_ROWS, -1, c->family == MB_FAMILY_MAMBA4REC ? "LayerNorm." : "norm_in.");
    for (int layer = 0; layer < c->n_layer && rc == MB_OK; layer++) {
        if (c->layer.norms != MB_NORM_NOWHERE)
            rc = visit_norm(&w, norm_rows, layer);
        for (int dir = 0; dir < directions && rc == MB_OK; dir++)
            rc = visit_mixer(&w, layer, dir);
        if (rc == MB_OK)
            rc = visit_ffn(&w, layer);
    }
    if (rc == MB_OK && !c->no_final_norm)
        rc = visit_norm(&w, norm_f_rows, -1);
    return rc == MB_OK ? visit_head(&w) : rc;
}

static const float **place(mb_params *p, int layer, int dir, size_t offset) {
    char *base = (char *)p;
    if (layer >= 0)
        base = dir >= 0 ? (char *)&p->layer[layer].dir[dir] : (char *)&p->layer[layer];
    return (const float **)(void *)(base + offset);
}

const float **mb_param_place(mb_params *p, const mb_param *i) {
    return place(p, i->layer, i->dir, i->offset);
}

const float **mb_param_origin(mb_params *p, const mb_param *i) {
    MB_ASSERT(i->alias_of >= 0);
    return i->layer < 0 ? &p->embedding : place(p, i->layer, !i->dir, i->offset);
}

static int add_count(void *user, const mb_param *p) {
    if (p->alias_of < 0)
        *(int64_t *)user += p->count;
    return MB_OK;
}

int64_t mb_params_count(const mb_config *c) {
    int64_t count = 0;
    int rc = mb_params_walk(c, add_count, &count);
    MB_ASSERT(rc == MB_OK);
    return count;
}

/* ---- the fold -----------------------------------------------------------------------------------------------------
 */

static void reverse(float *v, int64_t n) {
    for (int64_t i = 0, j = n - 1; i < j; i++, j--) {
        float keep = v[i];
        v[i] = v[j];
        v[j] = keep;
    }
}

void mb_param_turn(const mb_param *i, float *v) {
    const int64_t columns = i->shape[i->ndim - 1];
    switch (i->fold) {
    case MB_FOLD_NONE:
        break;
    case MB_FOLD_ROWS: /* all elements reversed, then each row back */
        reverse(v, i->count);
        /* fall through */
    case MB_FOLD_COLUMNS:
        for (int64_t at = 0; at < i->count; at += columns)
            reverse(v + at, columns);
        break;
    case MB_FOLD_VECTOR:
        reverse(v, i->count);
        break;
    }
}

/* ---- memory -------------------------------------------------------------------------------------------------------
 */

typedef struct owned { /* behind mb_params.owned */
    mb_weights_bytes *bytes;
    float *pool;
    size_t pool_floats, used;
} owned;

enum { ALIGN_FLOATS = 16 };

int mb_params_create(mb_params **out, const mb_config *c, size_t pool_floats, mb_err *e) {
    mb_params *p = mb_calloc(1, sizeof *p);
    owned *o = mb_calloc(1, sizeof *o);
    *out = NULL;
    if (p)
        p->owned = o;
    if (!p || !o || !(p->layer = mb_calloc((size_t)c->n_layer, sizeof *p->layer)) ||
        (pool_floats && !(o->pool = mb_big_alloc(pool_floats * sizeof(float))))) {
        if (p)
            mb_params_free(p);
        else
            mb_free(o);
        return mb_fail(e, MB_NOMEM, "no memory for the parameters (%zu bytes)", pool_floats * sizeof(float));
    }
    o->pool_floats = pool_floats;
    *out = p;
    return MB_OK;
}

size_t mb_params_room(int64_t n) {
    return ((size_t)n + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

float *mb_params_take(mb_params *p, int64_t n) {
    owned *o = p->owned;
    float *at = o->pool + o->used;
    o->used += mb_params_room(n);
    MB_ASSERT(o->used <= o->pool_floats);
    return at;
}

float *mb_params_pool(mb_params *p, size_t *floats) {
    owned *o = p->owned;
    *floats = o->pool_floats;
    return o->pool;
}

void mb_params_keep(mb_params *p, mb_weights_bytes *bytes) {
    owned *o = p->owned;
    MB_ASSERT(!o->bytes);
    o->bytes = bytes;
}

void mb_params_free(mb_params *p) {
    if (!p)
        return;
    owned *o = p->owned;
    if (o) {
        mb_weights_release(o->bytes);
        mb_big_free(o->pool, o->pool_floats * sizeof(float));
    }
    mb_free(o);
    mb_free(p->layer);
    mb_free(p);
}
