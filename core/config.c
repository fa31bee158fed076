/* config.json of all families. Refuses what is no JSON object, families and options that this version does not
 * run (by name), missing, mistyped and out-of-range values. Unknown keys of the file are left alone, those of
 * its sections are warned of. */
#include "core/config.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/config_reader.h"
#include "core/file.h"
#include "core/json_guard.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/options.h"

enum { MAX_CONFIG = 4 << 20 };

static const mb_json_limits config_limits = {.depth = 32, .parts = 200000};

const char *mb_family_name(mb_family f) {
    switch (f) {
    case MB_FAMILY_CADUCEUS:
        return "Caduceus";
    case MB_FAMILY_MAMBA_SSM:
        return "Mamba (state-spaces)";
    case MB_FAMILY_MAMBA_HF:
        return "Mamba (transformers)";
    case MB_FAMILY_MAMBA4REC:
        return "Mamba4Rec";
    case MB_FAMILY_RECMAMBA:
        return "RecMamba";
    case MB_FAMILY_SEQMAMBA:
        return "seqmamba";
    }
    return "unknown";
}

int mb_family_recommends(mb_family f) {
    return f == MB_FAMILY_MAMBA4REC || f == MB_FAMILY_RECMAMBA;
}

mb_init mb_config_init(const mb_config *c) {
    const int hf = c->family == MB_FAMILY_MAMBA_HF;
    mb_init i = c->init;
    i.dt_min = i.dt_min > 0 ? i.dt_min : 0.001F;
    i.dt_max = i.dt_max > 0 ? i.dt_max : 0.1F;
    i.dt_floor = i.dt_floor > 0 ? i.dt_floor : 1e-4F;
    i.dt_scale = i.dt_scale > 0 ? i.dt_scale : 1;
    i.std = i.std > 0 ? i.std : hf ? 0.1F : 0.02F;
    i.rescale = i.rescale ? i.rescale : hf || mb_family_recommends(c->family) ? -1 : 1;
    i.residuals = i.residuals > 0 ? i.residuals : 1;
    return i;
}

/* ---- reading values -----------------------------------------------------------------------------------------------
 */

int mb_reader_fail(mb_reader *r, int status, const char *key, const char *fmt, ...) {
    char why[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    if (r->rc == MB_OK)
        r->rc = mb_fail(r->e, status, "%s: %s%s: %s", r->path, r->section, key, why);
    return r->rc;
}

/* null counts as absent: Python writes None so. */
static const json_t *value_of(mb_reader *r, const char *key, int needed) {
    const json_t *v = json_object_get(r->object, key);
    if (v && !json_is_null(v))
        return v;
    if (needed)
        mb_reader_fail(r, MB_FORMAT, key, "is missing");
    return NULL;
}

int mb_reader_has(const mb_reader *r, const char *key) {
    const json_t *v = json_object_get(r->object, key);
    return v && !json_is_null(v);
}

int mb_reader_int(mb_reader *r, const char *key, int fallback, int min, int max) {
    const json_t *v = value_of(r, key, fallback == MB_NEEDED);
    if (!v)
        return fallback;
    if (!json_is_integer(v))
        return mb_reader_fail(r, MB_FORMAT, key, "is not a whole number"), fallback;
    json_int_t n = json_integer_value(v);
    if (n < min || n > max)
        return mb_reader_fail(r, MB_RANGE, key, "%lld is outside %d..%d", (long long)n, min, max), fallback;
    return (int)n;
}

/* transformers writes infinities as {"__float__": "Infinity"}. */
static int wrapped_float(const json_t *v, double *x) {
    const char *word = json_string_value(json_object_get(v, "__float__"));
    if (!word)
        return 0;
    *x = strcmp(word, "Infinity") == 0 ? INFINITY : strcmp(word, "-Infinity") == 0 ? -INFINITY : NAN;
    return 1;
}

double mb_reader_real(mb_reader *r, const char *key, double fallback, double min, double max) {
    const json_t *v = value_of(r, key, 0);
    if (!v)
        return fallback;
    double x = json_number_value(v);
    if (!json_is_number(v) && !wrapped_float(v, &x))
        return mb_reader_fail(r, MB_FORMAT, key, "is not a number"), fallback;
    if (!(x >= min && x <= max))
        return mb_reader_fail(r, MB_RANGE, key, "%g is outside %g..%g", x, min, max), fallback;
    return x;
}

int mb_reader_bool(mb_reader *r, const char *key, int fallback) {
    const json_t *v = value_of(r, key, 0);
    if (!v)
        return fallback;
    if (!json_is_boolean(v))
        return mb_reader_fail(r, MB_FORMAT, key, "is neither true nor false"), fallback;
    return json_is_true(v);
}

const char *mb_reader_text(mb_reader *r, const char *key, const char *fallback) {
    const json_t *v = value_of(r, key, 0);
    if (!v)
        return fallback;
    if (!json_is_string(v))
        return mb_reader_fail(r, MB_FORMAT, key, "is not a text"), fallback;
    return json_string_value(v);
}

int mb_reader_choice(mb_reader *r, const char *key, const char *const *word, int n, int fallback) {
    const char *text = mb_reader_text(r, key, word[fallback]);
    for (int i = 0; i < n; i++)
        if (strcmp(text, word[i]) == 0)
            return i;
    mb_reader_fail(r, MB_FORMAT, key, "\"%.32s\" is not one of %s, %s%s%s%s%s", text, word[0], word[1],
                   n > 2 ? ", " : "", n > 2 ? word[2] : "", n > 3 ? ", " : "", n > 3 ? word[3] : "");
    return fallback;
}

mb_reader mb_reader_section(mb_reader *r, const char *key) {
    mb_reader inner = *r;
    const json_t *v = value_of(r, key, 0);
    if (v && !json_is_object(v))
        mb_reader_fail(r, MB_FORMAT, key, "is not an object");
    inner.object = json_is_object(v) ? v : NULL;
    inner.rc = r->rc;
    snprintf(inner.section, sizeof inner.section, "%s.", key);
    return inner;
}

void mb_reader_warn_unknown(const mb_reader *r, const char *const *known, int n) {
    const char *key;
    json_t *value;
    if (r->rc != MB_OK)
        return;
    json_object_foreach((json_t *)(uintptr_t)r->object, key, value) {
        int found = 0;
        for (int i = 0; i < n && !found; i++)
            found = strcmp(key, known[i]) == 0;
        const char *near = found ? NULL : mb_suggest(key, known, n);
        if (!found)
            mb_warn("%s: unknown key \"%s%.64s\" is not used%s%s%s", r->path, r->section, key,
                    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
}

/* ---- which family -------------------------------------------------------------------------------------------------
 */

static int has_architecture(const mb_reader *r, const char *name) {
    const json_t *list = json_object_get(r->object, "architectures");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *a = json_string_value(json_array_get(list, i));
        if (a && strcmp(a, name) == 0)
            return 1;
    }
    return 0;
}

/* Heads: the language-model class, the bare backbone, or one that is refused. */
int mb_reader_head(mb_reader *r, const char *lm, const char *backbone) {
    const json_t *list = json_object_get(r->object, "architectures");
    if (!list || json_is_null(list) || json_array_size(list) == 0 || has_architecture(r, lm))
        return 1;
    if (has_architecture(r, backbone))
        return 0;
    const char *other = json_string_value(json_array_get(list, 0));
    mb_reader_fail(r, MB_NOTSUP, "architectures", "%.64s is not supported by this version (%s and %s are)",
                   other ? other : "what it holds", lm, backbone);
    return 0;
}

int mb_reader_labels(mb_reader *r, const char *classifier) {
    const json_t *names = json_object_get(r->object, "id2label");
    if (!has_architecture(r, classifier))
        return 0;
    return json_object_size(names) > 0 ? (int)json_object_size(names)
                                       : mb_reader_int(r, "num_labels", 2, 1, MB_MAX_VOCAB);
}

/* Families that have a name, and are not run. */
static int refuse_type(mb_reader *r, const char *type) {
    static const struct {
        const char *type, *name;
    } known[] = {{"mamba2", "Mamba-2"},      {"mamba3", "Mamba-3"}, {"falcon_mamba", "Falcon-Mamba"},
                 {"codestral", "Codestral"}, {"jamba", "Jamba"},    {"zamba", "Zamba"},
                 {"zamba2", "Zamba2"},       {"bamba", "Bamba"},    {"nemotron_h", "Nemotron-H"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(type, known[i].type) == 0)
            return mb_reader_fail(r, MB_NOTSUP, "model_type", "%s models are not supported by this version",
                                  known[i].name);
    return mb_reader_fail(r, MB_NOTSUP, "model_type",
                          "\"%.64s\" is not a model this version runs (caduceus, mamba, mamba4rec, recmamba, "
                          "seqmamba, or a state-spaces file)",
                          type);
}

/* Files without model_type: state-spaces, Caduceus before it was on the hub, or something else. */
static int guess_family(mb_reader *r, mb_family *f) {
    if (mb_reader_has(r, "rcps") || mb_reader_has(r, "bidirectional_weight_tie"))
        return *f = MB_FAMILY_CADUCEUS, MB_OK;
    if (mb_reader_has(r, "d_model") && mb_reader_has(r, "n_layer"))
        return *f = MB_FAMILY_MAMBA_SSM, MB_OK;
    if (mb_reader_has(r, "n_items") && mb_reader_has(r, "hidden_size") && mb_reader_has(r, "num_layers"))
        return *f = MB_FAMILY_MAMBA4REC, MB_OK;
    if (mb_reader_has(r, "pred_len") && mb_reader_has(r, "seq_len"))
        return mb_reader_fail(r, MB_NOTSUP, "pred_len", "S-Mamba models are not supported by this version");
    return mb_reader_fail(r, MB_FORMAT, "model_type",
                          "is missing, and there is no d_model and n_layer either: this is no configuration of a model "
                          "that this version runs");
}

static int find_family(mb_reader *r, mb_family *f) {
    const char *type = mb_reader_text(r, "model_type", NULL);
    if (r->rc != MB_OK)
        return r->rc;
    if (!type)
        return guess_family(r, f);
    if (strcmp(type, "caduceus") == 0)
        return *f = MB_FAMILY_CADUCEUS, MB_OK;
    if (strcmp(type, "mamba") == 0)
        return *f = MB_FAMILY_MAMBA_HF, MB_OK;
    if (strcmp(type, "mamba4rec") == 0)
        return *f = MB_FAMILY_MAMBA4REC, MB_OK;
    if (strcmp(type, "recmamba") == 0)
        return *f = MB_FAMILY_RECMAMBA, MB_OK;
    if (strcmp(type, "seqmamba") == 0)
        return *f = MB_FAMILY_SEQMAMBA, MB_OK;
    return refuse_type(r, type);
}

/* ---- checks that need several values -------------------------------------------------------------------------------
 */

static int check_sizes(const mb_config *c, const char *where, mb_err *e) {
    const struct {
        const char *what;
        int value, max;
    } size[] = {{"d_model", c->D, MB_MAX_D},
                {"n_layer", c->n_layer, MB_MAX_LAYERS},
                {"the vocabulary", c->input.rows ? c->V + 1 : c->V, 2 * MB_MAX_VOCAB},
                {"d_inner", c->E, MB_MAX_EXPAND * MB_MAX_D},
                {"d_state", c->N, MB_MAX_N},
                {"d_conv", c->K, MB_MAX_K},
                {"dt_rank", c->R, MB_MAX_R}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        if (size[i].value < 1 || size[i].value > size[i].max)
            return mb_fail(e, MB_RANGE, "%s: %s: %d is outside 1..%d", where, size[i].what, size[i].value, size[i].max);
    if (!(c->eps > 0 && c->eps <= 1))
        return mb_fail(e, MB_RANGE, "%s: norm_epsilon: %g is outside 0..1", where, (double)c->eps);
    return MB_OK;
}

/* Reversing a strand twice must give it back, or nothing of RC equivariance holds. */
static int check_complement(const mb_config *c, const char *where, mb_err *e) {
    if (c->n_complement && (c->n_complement != c->V || c->V > MB_MAX_COMPLEMENT))
        return mb_fail(e, MB_RANGE, "%s: complement_map: %d tokens, the vocabulary has %d (at most %d)", where,
                       c->n_complement, c->V, MB_MAX_COMPLEMENT);
    for (int i = 0; i < c->n_complement; i++) {
        int to = c->complement[i];
        if (to < 0 || to >= c->V || c->complement[to] != i)
            return mb_fail(
                e, MB_FORMAT,
                "%s: complement_map: the complement of token %d is %d, but that of %d is %d (values are taken "
                "in the order of the file, as the original does)",
                where, i, to, to, to >= 0 && to < c->V ? c->complement[to] : -1);
    }
    return MB_OK;
}

/* What an original's files can say. */
static int is_its_family_s(const mb_config *c) {
    const mb_layer_shape *l = &c->layer;
    const mb_input_shape *in = &c->input;
    const int original = !in->rows && l->ffn_from == 0;
    switch (c->family) {
    case MB_FAMILY_SEQMAMBA:
        return 1;
    case MB_FAMILY_MAMBA4REC:
        return original && l->norms == MB_NORM_AFTER && l->ffn == 4 * c->D && l->act == MBK_ACT_GELU && !l->undropped &&
               (!l->bare || c->n_layer == 1) && in->norm && in->pads && in->scale == 0 && in->positions == 0 &&
               c->no_final_norm && c->norm == MBK_NORM_LAYER && c->tied_head;
    case MB_FAMILY_RECMAMBA:
        return original && l->norms == MB_NORM_NOWHERE && l->ffn == 0 && l->bare && l->undropped && !in->norm &&
               in->pads && in->scale == (float)sqrt((double)c->D) && in->positions > 0 && c->no_final_norm &&
               c->tied_head;
    default:
        return original && l->norms == MB_NORM_BEFORE && l->ffn == 0 && !l->bare && !l->undropped && !in->norm &&
               !in->pads && in->scale == 0 && in->positions == 0 && !c->no_final_norm;
    }
}

/* What the parts of layers and of the input can be together. */
static int check_shape(const mb_config *c, const char *where, mb_err *e) {
    const mb_layer_shape *l = &c->layer;
    const mb_input_shape *in = &c->input;
    if (l->ffn < 0 || l->ffn > MB_MAX_FFN || in->positions < 0 || in->positions > MB_MAX_POSITIONS)
        return mb_fail(e, MB_RANGE, "%s: a feed-forward width of %d or %d positions is too much", where, l->ffn,
                       in->positions);
    if (!(in->scale >= 0 && in->scale <= 1e6F) || !(c->dropout >= 0 && c->dropout <= 0.999F))
        return mb_fail(e, MB_RANGE, "%s: an input scale of %g or a dropout of %g is not possible", where,
                       (double)in->scale, (double)c->dropout);
    if (l->ffn_from < 0 || l->ffn_from >= c->n_layer || (in->norm && l->norms == MB_NORM_BEFORE) ||
        (in->rows && (c->V > 0 || c->has_head || in->pads || in->scale > 0)) || !is_its_family_s(c))
        return mb_fail(e, MB_RANGE, "%s: layers and input cannot be put together like this", where);
    return MB_OK;
}

int mb_config_check(const mb_config *c, const char *where, mb_err *e) {
    int rc = check_sizes(c, where, e);
    if (rc == MB_OK)
        rc = check_shape(c, where, e);
    if (rc == MB_OK)
        rc = check_complement(c, where, e);
    if (rc != MB_OK)
        return rc;
    if ((c->mixer == MB_MIXER_BIMAMBA1) != (c->bidirectional != MB_BIDIR_NONE) ||
        (c->family != MB_FAMILY_CADUCEUS && c->rcps) ||
        (c->family != MB_FAMILY_CADUCEUS && c->family != MB_FAMILY_SEQMAMBA && c->bidirectional != MB_BIDIR_NONE) ||
        (c->rcps && c->n_complement == 0) || (c->tied_head && !c->has_head) ||
        (c->family == MB_FAMILY_MAMBA_HF && c->norm != MBK_NORM_RMS))
        return mb_fail(e, MB_RANGE, "%s: its options contradict each other", where);
    if (c->rcps_strand_swap && c->bidirectional == MB_BIDIR_NONE)
        return mb_fail(e, MB_NOTSUP,
                       "%s: rcps with fused_add_norm and without bidirectional is not supported: its strands run in "
                       "turns from the left and from the right",
                       where);
    return MB_OK;
}

/* ---- the file -----------------------------------------------------------------------------------------------------
 */

static int read_object(mb_config *c, const json_t *root, const char *path, mb_err *e) {
    mb_reader r = {.path = path, .object = root, .e = e};
    *c = (mb_config){.residual_scale = 1, .pad_token = -1};
    if (!json_is_object(root))
        return mb_fail(e, MB_FORMAT, "%s: is not a JSON object", path);
    if (find_family(&r, &c->family) != MB_OK)
        return r.rc;
    switch (c->family) {
    case MB_FAMILY_CADUCEUS:
        mb_config_read_caduceus(c, &r);
        break;
    case MB_FAMILY_MAMBA_SSM:
        mb_config_read_ssm(c, &r);
        break;
    case MB_FAMILY_MAMBA_HF:
        mb_config_read_hf(c, &r);
        break;
    case MB_FAMILY_MAMBA4REC:
        mb_config_read_mamba4rec(c, &r);
        break;
    case MB_FAMILY_RECMAMBA:
        mb_config_read_recmamba(c, &r);
        break;
    case MB_FAMILY_SEQMAMBA:
        mb_config_read_own(c, &r);
        break;
    }
    return r.rc == MB_OK ? mb_config_check(c, path, e) : r.rc;
}

/* *.json, but not the index of sharded weights */
static int is_config_name(const char *path) {
    static const char end[] = ".json", index[] = ".index.json";
    size_t n = strlen(path);
    return n > sizeof end - 1 && strcmp(path + n - (sizeof end - 1), end) == 0 &&
           !(n > sizeof index && strcmp(path + n - (sizeof index - 1), index) == 0);
}

/* The file to read: in the folder, the file itself, or beside a weights file. */
static int choose(const char *path, char **file, mb_err *e) {
    const char *slash = strrchr(path, '/');
    if (mb_dir_exists(path))
        *file = mb_path_join(path, "config.json");
    else if (is_config_name(path))
        *file = mb_strdup(path);
    else
        *file = mb_asprintf("%.*sconfig.json", slash ? (int)(slash + 1 - path) : 0, path);
    if (!*file)
        return mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    if (!mb_file_exists(*file))
        return mb_fail(e, MB_NOTFOUND,
                       "%s: no such file; a model needs its config.json beside its weights: copy it there", *file);
    return MB_OK;
}

int mb_config_read(mb_config *c, const char *path, mb_err *e) {
    char *file = NULL, *text = NULL;
    size_t n = 0;
    json_t *root = NULL;
    int rc = choose(path, &file, e);
    if (rc == MB_OK)
        rc = mb_file_read_all(file, MAX_CONFIG, &text, &n, e);
    if (rc == MB_OK)
        rc = mb_json_parse(&root, text, n, &config_limits, MB_JSON_PYTHON_NUMBERS, file, 0, e);
    if (rc == MB_OK)
        rc = read_object(c, root, file, e);
    json_decref(root);
    mb_free(text);
    mb_free(file);
    return rc;
}
