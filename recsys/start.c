/* See start.h. */
#include "recsys/start.h"

#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "recsys/model.h"
#include "recsys/presets.h"

static int check_items(const rec_model *m, const rec_log *l, mb_err *e) {
    const int32_t n = rec_log_view(l)->n_items;
    if (strcmp(rec_model_items_digest(m), rec_log_items_digest(l)) == 0)
        return MB_OK;
    return mb_fail(e, MB_FORMAT,
                   "%s was trained on another item set: it has %d items, digest %.12s; the log has %d, digest %.12s. "
                   "Its rows would mean other items: train on the log it was made from, or from a preset",
                   rec_model_folder(m), rec_model_items(m), rec_model_items_digest(m), n, rec_log_items_digest(l));
}

static int open_weights(rec_start *s, const char *model, const rec_log *l, mb_err *e) {
    const rec_model_options o = {.threads = 1};
    rec_model *m = NULL;
    int rc = rec_model_open(&m, model, &o, e);
    if (rc == MB_OK)
        rc = check_items(m, l, e);
    if (rc == MB_OK) {
        s->config = *mb_model_config(rec_model_engine(m));
        rc = mb_params_clone(&s->params, &s->config, mb_model_params(rec_model_engine(m)), e);
    }
    if (rc == MB_OK && !(s->weights = mb_strdup(mb_model_weights_path(rec_model_engine(m)))))
        rc = mb_fail(e, MB_NOMEM, "no memory for a path");
    rec_model_close(m);
    return rc == MB_NOTFOUND ? mb_err_context(e, "--model is no preset (there are %s), no config.json and no model",
                                              rec_preset_list())
                             : rc;
}

static int read_config(mb_config *c, const char *path, int32_t items, mb_err *e) {
    int rc = mb_config_read(c, path, e);
    if (rc != MB_OK)
        return rc;
    if (c->V_config != items + 1)
        mb_info("%s: vocab_size %d becomes %d: the items of the log and the pad", path, c->V_config, items + 1);
    return rec_config_for(c, items, path, e);
}

static int draw(rec_start *s, const rec_log *l, const rec_start_options *o, mb_err *e) {
    const int32_t items = rec_log_view(l)->n_items;
    mb_config *c = &s->config;
    int rc = rec_preset_is(o->model) ? rec_preset_config(c, o->model, items, o->window, e)
                                     : read_config(c, o->model, items, e);
    if (rc != MB_OK)
        return rc;
    if (o->mamba_init)
        c->init.rule = MB_INIT_MAMBA;
    if (o->always_residual && c->family != MB_FAMILY_MAMBA4REC)
        return mb_fail(e, MB_USAGE, "--residual always is of mamba4rec: %s has its own way", o->model);
    if (o->always_residual)
        c->layer.bare = 0;
    rc = mb_config_check(c, o->model, e);
    return rc == MB_OK ? mb_params_seed(&s->params, c, o->seed, e) : rc;
}

int rec_start_make(rec_start *s, const rec_log *l, const rec_start_options *o, mb_err *e) {
    const size_t n = strlen(o->model);
    const int drawn = rec_preset_is(o->model) || (n >= 5 && strcmp(o->model + n - 5, ".json") == 0);
    memset(s, 0, sizeof *s);
    int rc = drawn ? draw(s, l, o, e) : open_weights(s, o->model, l, e);
    if (rc == MB_OK && o->dropout >= 0)
        s->config.dropout = (float)o->dropout;
    return rc;
}

void rec_start_fini(rec_start *s) {
    mb_params_free(s->params);
    mb_free(s->weights);
    s->params = NULL;
    s->weights = NULL;
}
