/* Which model a store is for: see rec_live_digest in live.h. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/params_table.h"
#include "recsys/live.h"

enum { HEX = 64 };

typedef struct digests { /* of the parameters: "name sha256\n" one after the other */
    mb_params *params;
    char *text;
    size_t n, room;
} digests;

static int add(digests *d, const char *line, size_t n) {
    if (d->n + n > d->room) {
        const size_t room = 2 * (d->n + n) + 4096;
        char *more = mb_realloc(d->text, room);
        if (!more)
            return MB_NOMEM;
        d->text = more;
        d->room = room;
    }
    memcpy(d->text + d->n, line, n);
    d->n += n;
    return MB_OK;
}

static int add_parameter(void *user, const mb_param *p) {
    digests *d = user;
    char line[MB_PARAM_NAME + HEX + 32], hex[HEX + 1];
    const float *v = *mb_param_place(d->params, p);
    if (p->alias_of >= 0 || !v)
        return MB_OK;
    mb_sha256_hex(v, (size_t)p->count * sizeof(float), hex);
    const int n = snprintf(line, sizeof line, "%s %s\n", p->name, hex);
    return add(d, line, (size_t)n);
}

/* Dimensions are in the parameters; what else changes numbers is in config.json (norms, epsilons, residual rules). */
static int add_config(digests *d, const mb_model *m, mb_err *e) {
    char hex[HEX + 1] = "";
    int rc = MB_OK;
    if (!*mb_model_source(m))
        return MB_OK;
    char *path = mb_dir_exists(mb_model_source(m)) ? mb_path_join(mb_model_source(m), "config.json") : NULL;
    if (path && mb_file_exists(path))
        rc = mb_file_sha256(path, hex, e);
    mb_free(path);
    return rc ? rc : add(d, hex, strlen(hex));
}

int rec_live_digest(const rec_model *m, mbk_precision precision, char *hex, mb_err *e) {
    const mb_model *engine = rec_model_engine(m);
    digests d = {.params = (mb_params *)(uintptr_t)mb_model_params(engine)}; /* read only */
    char line[128];
    int rc = mb_params_walk(mb_model_config(engine), add_parameter, &d);
    const int n = snprintf(line, sizeof line, "precision %d\nitems %.64s\n", (int)precision, rec_model_items_digest(m));
    if (!rc)
        rc = add(&d, line, (size_t)n);
    if (!rc)
        rc = add_config(&d, engine, e);
    if (!rc)
        mb_sha256_hex(d.text, d.n, hex);
    mb_free(d.text);
    return rc ? mb_fail(e, rc, "no memory for the digest of a model") : MB_OK;
}
