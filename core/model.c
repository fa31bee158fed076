/* A model from its files: configuration, parameters, one mixer per layer. */
#include "core/model_internal.h"

#include <string.h>

#include "core/file.h"
#include "core/weights.h"

enum { DEFAULT_TILE = 128, MAX_TILE = 4096 };

static const mbk_ops *ops_named(const char *device, mb_err *e) {
    const mbk_ops *ops = NULL;
    if (!device || strcmp(device, "cpu") == 0)
        ops = mbk_ops_cpu();
    else if (strcmp(device, "ref") == 0)
        ops = mbk_ops_ref();
    if (!ops) {
        mb_fail(e, MB_NOTSUP, "no device \"%s\" in this build: cpu and ref are there", device);
        return NULL;
    }
    const char *hole = mbk_ops_hole(ops);
    if (hole) {
        mb_fail(e, MB_NOTSUP, "device %s has no operation %s", ops->device, hole);
        return NULL;
    }
    return ops;
}

static void take(float *to, const float *from, int n, int reversed) {
    for (int i = 0; to && from && i < n; i++)
        to[i] = from[reversed ? n - 1 - i : i];
}

int mb_model_halves_swapped(const mb_model *m, int layer) {
    return m->config.rcps && m->config.rcps_strand_swap && layer % 2 == 1;
}

static void fill_final_norm(mb_model *m) {
    const int D = m->config.D, reversed = mb_model_halves_swapped(m, m->config.n_layer);
    take(m->norm_f_w, m->params->norm_f_w, D, reversed);
    take(m->norm_f_b, m->params->norm_f_b, D, reversed);
}

static int final_norm(mb_model *m, mb_err *e) {
    const size_t bytes = (size_t)m->config.D * sizeof(float);
    if (!m->params->norm_f_w)
        return MB_OK;
    m->norm_f_w = mb_malloc(bytes);
    if (m->params->norm_f_b)
        m->norm_f_b = mb_malloc(bytes);
    if (!m->norm_f_w || (m->params->norm_f_b && !m->norm_f_b))
        return mb_fail(e, MB_NOMEM, "no memory for the final norm");
    fill_final_norm(m);
    return MB_OK;
}

static int create_mixers(mb_model *m, mb_err *e) {
    const mb_config *c = &m->config;
    m->mixer = mb_calloc((size_t)m->blocks, sizeof *m->mixer);
    if (!m->mixer)
        return mb_fail(e, MB_NOMEM, "no memory for %d layers", c->n_layer);
    for (int i = 0; i < m->blocks; i++) {
        const mb_block b = mb_block_at(c, i);
        const mb_mixer_class *class = b.ffn ? &mb_ffn_class : mb_mixer_class_of(c->mixer);
        MB_ASSERT(class);
        int rc = class->create(&m->mixer[i], c, &m->params->layer[b.layer], m->ops, m->precision, m->tile, e);
        if (rc != MB_OK)
            return mb_err_context(e, "layer %d", b.layer);
        m->bytes += class->bytes(m->mixer[i]);
    }
    return MB_OK;
}

int mb_model_create(mb_model **out, const mb_config *c, mb_params *params, const mb_model_options *o, mb_err *e) {
    static const mb_model_options defaults;
    mb_model *m = mb_calloc(1, sizeof *m);
    int rc = MB_OK;
    *out = NULL;
    if (!o)
        o = &defaults;
    if (!m) {
        mb_params_free(params);
        return mb_fail(e, MB_NOMEM, "no memory for a model");
    }
    m->config = *c;
    m->params = params;
    m->precision = o->precision;
    m->tile = o->tile > 0 ? o->tile : DEFAULT_TILE;
    rc = mb_config_check(c, "configuration", e);
    if (rc == MB_OK && m->tile > MAX_TILE)
        rc = mb_fail(e, MB_USAGE, "a tile of %d rows is beyond %d", m->tile, MAX_TILE);
    if (rc == MB_OK && !(m->heads = mb_heads_create(e)))
        rc = MB_NOMEM;
    if (rc == MB_OK && !(m->ops = ops_named(o->device, e)))
        rc = e ? e->status : MB_NOTSUP;
    if (rc == MB_OK)
        rc = final_norm(m, e);
    if (rc == MB_OK)
        rc = mb_model_edges_make(m, e);
    if (rc == MB_OK)
        rc = create_mixers(m, e);
    if (rc == MB_OK && (!(m->source = mb_strdup("")) || !(m->weights_path = mb_strdup(""))))
        rc = mb_fail(e, MB_NOMEM, "no memory for a model");
    if (rc != MB_OK) {
        mb_model_destroy(m);
        return rc;
    }
    *out = m;
    return MB_OK;
}

static int set_source(mb_model *m, const char *source, const char *weights, mb_err *e) {
    char *s = mb_strdup(source), *w = mb_strdup(weights);
    if (!s || !w) {
        mb_free(s);
        mb_free(w);
        return mb_fail(e, MB_NOMEM, "no memory for a model's path");
    }
    mb_free(m->source);
    mb_free(m->weights_path);
    m->source = s;
    m->weights_path = w;
    return MB_OK;
}

int mb_model_open(mb_model **out, const char *model, const mb_model_options *o, mb_err *e) {
    char *dir = NULL;
    mb_weights *w = NULL;
    mb_params *params = NULL;
    mb_config *config = mb_calloc(1, sizeof *config);
    *out = NULL;
    int rc = config ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a model's configuration");
    if (rc == MB_OK)
        rc = mb_hub_resolve(model, &dir, e);
    if (rc == MB_OK)
        rc = mb_config_read(config, dir, e);
    if (rc == MB_OK)
        rc = mb_weights_open(&w, dir, e);
    char *path = rc == MB_OK ? mb_strdup(mb_weights_path(w)) : NULL;
    if (rc == MB_OK && !path)
        rc = mb_fail(e, MB_NOMEM, "no memory for a model's path");
    if (rc == MB_OK)
        rc = mb_params_load(&params, config, w, e);
    if (rc == MB_OK)
        rc = mb_model_create(out, config, params, o, e);
    if (rc == MB_OK && (rc = set_source(*out, dir, path, e)) != MB_OK) {
        mb_model_destroy(*out);
        *out = NULL;
    }
    mb_weights_close(w);
    mb_free(path);
    mb_free(dir);
    mb_free(config);
    return rc;
}

int mb_model_refresh(mb_model *m, int threads, mb_err *e) {
    int worst = MB_OK;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) reduction(min : worst)
    for (int i = 0; i < m->blocks; i++) {
        const mb_layer_params *p = &m->params->layer[mb_block_at(&m->config, i).layer];
        const int rc = m->mixer[i]->class->training->refresh(m->mixer[i], p);
        worst = rc < worst ? rc : worst;
    }
    fill_final_norm(m);
    const int rc = mb_heads_refresh(m);
    worst = rc < worst ? rc : worst;
    return worst == MB_OK ? MB_OK : mb_fail(e, worst, "taking over new weights: %s", mb_status_words(worst));
}

void mb_model_destroy(mb_model *m) {
    if (!m)
        return;
    for (int i = 0; m->mixer && i < m->blocks; i++)
        if (m->mixer[i])
            m->mixer[i]->class->destroy(m->mixer[i]);
    mb_free(m->mixer);
    mb_free(m->edge);
    mb_heads_destroy(m->heads, m->ops);
    mb_free(m->norm_f_w);
    mb_free(m->norm_f_b);
    mb_params_free(m->params);
    mb_free(m->source);
    mb_free(m->weights_path);
    mb_free(m);
}

const mb_config *mb_model_config(const mb_model *m) {
    return &m->config;
}

const mb_params *mb_model_params(const mb_model *m) {
    return m->params;
}

const char *mb_model_source(const mb_model *m) {
    return m->source;
}

const char *mb_model_weights_path(const mb_model *m) {
    return m->weights_path;
}

int mb_model_tile(const mb_model *m) {
    return m->tile;
}

int mb_model_width(const mb_model *m) {
    return m->config.rcps ? 2 * m->config.D : m->config.D;
}

int mb_model_strands(const mb_model *m) {
    return m->config.rcps ? 2 : 1;
}

int mb_model_is_causal(const mb_model *m) {
    for (int i = 0; i < m->blocks; i++)
        if (m->mixer[i]->class->needs == MB_BOTH_WAYS)
            return 0;
    return !m->config.rcps;
}

size_t mb_model_bytes(const mb_model *m) {
    return m->bytes + (size_t)m->params->count * sizeof(float);
}

const mbk_ops *mb_model_ops(const mb_model *m) {
    return m->ops;
}
