/* See estimate.h. Nothing is written to disk: the configuration is a file in memory. */
#include "pipelines/estimate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mem.h"
#include "pipelines/child.h"

static const pipe_step *missing(const pipeline *p, const pipe_step *s) {
    for (int i = 0; i < s->n_inputs; i++)
        if (s->input[i].from >= 0 && !mb_file_exists(s->input[i].path) && !mb_dir_exists(s->input[i].path))
            return &p->step[s->input[i].from];
    return NULL;
}

static int status_of(int code) {
    return code == 2 ? MB_USAGE : code == 65 ? MB_FORMAT : code == 74 ? MB_IO : MB_FAIL;
}

/* "2026-11-28T17:00:00+0000 error: " before a message is the child's, not ours. */
static const char *message(char *err) {
    char *label = strstr(err, "error: ");
    err[strlen(err) - (*err && err[strlen(err) - 1] == '\n')] = '\0';
    return label && (label == err || label[-1] == ' ') && !memchr(err, '\n', (size_t)(label - err)) ? label + 7 : err;
}

/* A run makes the folders of outputs; a dry run, which finds them missing, is given the temporary folder in their
 * place.
 */
static int lend_folders(pipe_step *s, pipe_pool *pool, mb_err *e) {
    const char *tmp = getenv("TMPDIR");
    pipe_value *value = pipe_take(pool, (size_t)s->n_values * sizeof *value);
    if (!value)
        return mb_fail(e, MB_NOMEM, "out of memory for a configuration");
    for (int i = 0; i < s->n_values; i++) {
        value[i] = s->value[i];
        const char *slash = value[i].text ? strrchr(value[i].text, '/') : NULL;
        if (!slash || (value[i].option->role != MB_ROLE_OUTPUT && value[i].option->role != MB_ROLE_OUTPUT_PREFIX))
            continue;
        char *folder = pipe_format(pool, "%.*s", (int)(slash - value[i].text) + 1, value[i].text);
        if (folder && !mb_dir_exists(folder))
            value[i].text = pipe_format(pool, "%s%s", tmp && *tmp ? tmp : "/tmp", slash);
        if (!folder || !value[i].text)
            return mb_fail(e, MB_NOMEM, "out of memory for a configuration");
    }
    s->value = value;
    return MB_OK;
}

int pipe_estimate(const pipeline *p, const pipe_step *s, char **words, const pipe_step **first, mb_err *e) {
    char config[40];
    pipe_text t = {0};
    pipe_capture c;
    *words = NULL;
    if ((*first = missing(p, s)))
        return MB_OK;
    const int fd = memfd_create("config.yaml", 0); /* the child inherits it */
    if (fd < 0)
        return mb_fail_errno(e, MB_IO, "no memory for a configuration");
    snprintf(config, sizeof config, "/proc/self/fd/%d", fd);
    pipe_pool pool = {0};
    pipe_step lent = *s;
    int rc = lend_folders(&lent, &pool, e);
    pipe_step_config(&lent, &t);
    if (rc == MB_OK)
        rc = pipe_text_end(&t, e);
    if (rc == MB_OK && write(fd, t.data, t.n) != (ssize_t)t.n)
        rc = mb_fail_errno(e, MB_IO, "no memory for a configuration");
    const char *const argv[] = {
        s->verb->program->path, s->verb->name, "--config", config, "--dry-run", "--quiet", NULL};
    if (rc == MB_OK)
        rc = pipe_child_capture(&c, argv, 1 << 20, e);
    close(fd);
    pipe_text_free(&t);
    pipe_pool_free(&pool);
    if (rc != MB_OK)
        return rc;
    if (!WIFEXITED(c.status) || WEXITSTATUS(c.status) != 0) {
        rc = mb_fail(e, WIFEXITED(c.status) ? status_of(WEXITSTATUS(c.status)) : MB_FAIL, "%.2000s", message(c.err));
    } else {
        *words = c.out;
        c.out = NULL;
    }
    pipe_capture_free(&c);
    return rc;
}
