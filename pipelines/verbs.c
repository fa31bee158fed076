/* See verbs.h. */
#include "pipelines/verbs.h"

#include "core/mem.h"

char *pipe_output_path(const pipeline *p, const char *name) {
    return mb_asprintf("%s/%s", p->output, name);
}

int pipe_verb_open(pipe_opened *o, const mb_run *run, const char *programs, mb_err *e) {
    const pipe_open how = {.path = run->args[0], .sets = run->sets, .n_sets = run->nsets, .programs = programs};
    char *cache = NULL;
    *o = (pipe_opened){0};
    int rc = pipeline_open(&o->p, &how, e);
    if (rc == MB_OK && !(cache = pipe_output_path(&o->p, "digests")))
        rc = mb_fail(e, MB_NOMEM, "out of memory for a path");
    if (rc == MB_OK)
        rc = pipe_digests_open(&o->digests, cache, e);
    mb_free(cache);
    return rc;
}

void pipe_verb_close(pipe_opened *o) {
    pipe_digests_close(o->digests);
    pipeline_free(&o->p);
    o->digests = NULL;
}
