/* See start.h. */
#include "genomics/start.h"

#include <string.h>

#include "core/mem.h"
#include "genomics/presets.h"

static int open_weights(dna_start *s, const char *model, mb_err *e) {
    mb_model *m = NULL;
    int rc = mb_model_open(&m, model, NULL, e);
    if (rc == MB_OK) {
        s->config = *mb_model_config(m);
        rc = mb_params_clone(&s->params, &s->config, mb_model_params(m), e);
    }
    if (rc == MB_OK && !(s->weights = mb_strdup(mb_model_weights_path(m))))
        rc = mb_fail(e, MB_NOMEM, "no memory for a path");
    mb_model_destroy(m);
    return rc == MB_NOTFOUND
               ? mb_err_context(e, "--model is no preset (%s), no config.json and no model", dna_preset_list())
               : rc;
}

int dna_start_make(dna_start *s, const char *model, uint64_t seed, mb_err *e) {
    const size_t n = strlen(model);
    memset(s, 0, sizeof *s);
    if (!dna_preset_is(model) && (n < 5 || strcmp(model + n - 5, ".json") != 0))
        return open_weights(s, model, e);
    int rc = dna_preset_is(model) ? dna_preset_config(&s->config, model, e) : mb_config_read(&s->config, model, e);
    return rc == MB_OK ? mb_params_seed(&s->params, &s->config, seed, e) : rc;
}

void dna_start_fini(dna_start *s) {
    mb_params_free(s->params);
    mb_free(s->weights);
    s->params = NULL;
    s->weights = NULL;
}
