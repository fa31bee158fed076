/* seqmamba create: a freshly initialised model from a configuration. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/params.h"
#include "pipelines/commands.h"

typedef struct create_values {
    char *out;
} create_values;

const mb_option create_options[] = {
    {.key = "out",
     .letter = 'o',
     .type = MB_OPT_STRING,
     .offset = offsetof(create_values, out),
     .meta = "DIR",
     .help = "Folder for config.json and model.safetensors; made when missing. Required."},
    {0}};

size_t create_values_size(void) {
    return sizeof(create_values);
}

static int write_model(const mb_config *c, const mb_params *p, const char *dir, mb_err *e) {
    char *config = mb_path_join(dir, "config.json"), *weights = mb_path_join(dir, "model.safetensors");
    int rc = config && weights ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK && mkdir(dir, 0777) != 0 && errno != EEXIST)
        rc = mb_fail_errno(e, MB_IO, "cannot make the folder %s", dir);
    if (rc == MB_OK && mb_file_exists(weights))
        rc = mb_fail(e, MB_FAIL, "%s is already there; choose another folder or remove it", weights);
    if (rc == MB_OK)
        rc = mb_params_save(p, c, weights, e);
    if (rc == MB_OK)
        rc = mb_config_write(c, config, e);
    mb_free(config);
    mb_free(weights);
    return rc;
}

int create_cmd(mb_run *run, mb_err *e) {
    const create_values *v = run->values;
    mb_config *c = mb_calloc(1, sizeof *c);
    mb_params *p = NULL;
    int rc = c ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a configuration");
    if (rc == MB_OK && !v->out)
        rc = mb_fail(e, MB_USAGE, "no output folder: say -o DIR");
    if (rc == MB_OK)
        rc = mb_config_read(c, run->args[0], e);
    if (rc == MB_OK)
        rc = mb_params_seed(&p, c, (uint64_t)run->globals.seed, e);
    if (rc == MB_OK && !run->globals.dry_run)
        rc = write_model(c, p, v->out, e);
    if (rc == MB_OK)
        printf("%s: %s, %d layers of width %d, %lld parameters, seed %lld%s\n", v->out, mb_family_name(c->family),
               c->n_layer, c->D, (long long)p->count, (long long)run->globals.seed,
               run->globals.dry_run ? " (dry run: not written)" : "");
    mb_params_free(p);
    mb_free(c);
    return rc;
}
