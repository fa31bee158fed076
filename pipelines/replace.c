/* What ${...} stands for in a pipeline: the environment, the pipeline's own names, the values of other steps. Refuses
 * values that refer to themselves and ones that are no text. */
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "pipelines/references.h"

enum { DEEPEST = 8 };

typedef struct asking {
    pipeline *p;
    const pipe_step *s; /* NULL: outside steps */
    int depth;
} asking;

static int refuse(char *why, const char *fmt, const char *name) MB_PRINTF(2, 0);
static int refuse(char *why, const char *fmt, const char *name) {
    snprintf(why, MB_YAML_WHY, fmt, name);
    return MB_USAGE;
}

static const char *replace(const asking *a, const char *text, int *rc, char *why);

/* ---- steps ----------------------------------------------------------------------------------------------------------
 */

/* Whether the axes that both have have the same values. */
static int agrees(const pipe_step *a, const pipe_step *b) {
    for (int i = 0; a && i < a->n_axes; i++)
        for (int k = 0; k < b->n_axes; k++)
            if (strcmp(a->axis[i].key, b->axis[k].key) == 0 && strcmp(a->axis[i].value, b->axis[k].value) != 0)
                return 0;
    return 1;
}

int pipe_step_matching(const pipeline *p, const pipe_step *s, const char *given, int from) {
    for (int i = from; i < p->n; i++)
        if (strcmp(p->step[i].given, given) == 0 && p->step[i].shard < 0 && agrees(s, &p->step[i]))
            return i;
    return -1;
}

static int is_key(const char *key, const char *wanted) {
    return strcmp(key, wanted) == 0;
}

/* The text as written of option `key` of a step: its own, or the defaults'. */
static const pipe_node *written(const pipeline *p, const pipe_step *of, const char *key) {
    const pipe_node *step = pipe_get(pipe_get(p->document.root, "steps"), of->given);
    const pipe_node *v = pipe_get(pipe_get(step, "with"), key);
    return v ? v : pipe_get(pipe_get(p->document.root, "defaults"), key);
}

const char *pipe_step_result(pipeline *p, const pipe_step *of, const char *key, int depth, int *rc, char *why) {
    const mb_option *o = pipe_option_find(of->verb, key ? key : "output");
    if (!key && !o)
        o = pipe_option_find(of->verb, "out");
    const pipe_node *v = o ? written(p, of, o->key) : NULL;
    *rc = MB_OK;
    if (key && !o) {
        *rc = refuse(why, "${...}: that step has no option \"%.100s\"", key);
        return NULL;
    }
    if (depth >= DEEPEST) {
        *rc = refuse(why, "%s", "steps refer to each other's values in a circle");
        return NULL;
    }
    const asking a = {p, of, depth + 1};
    const char *text = v && v->kind == MB_YAML_SCALAR && !pipe_is_null(v) ? replace(&a, v->text, rc, why)
                       : o && o->def                                      ? o->def
                                                                          : NULL;
    if (*rc == MB_OK && !key && (!text || is_key(text, "-"))) {
        char *path = pipe_format(&p->document.pool, "%s/steps/%s/stdout", p->output, of->name);
        *rc = path ? MB_OK : MB_NOMEM;
        return path;
    }
    if (*rc == MB_OK && !text)
        *rc = refuse(why, "${...}: the option \"%.100s\" of that step has no value", key);
    return text;
}

int pipe_reference_split(char *body, char **name, char **key) {
    if (strncmp(body, "steps.", 6) != 0)
        return 0;
    *name = body + 6;
    *key = strchr(*name, '.');
    if (*key)
        *(*key)++ = '\0';
    return 1;
}

static int find_step_value(const asking *a, char *name, const char *key, const char **value, char *why) {
    int rc, i = pipe_step_matching(a->p, a->s, name, 0);
    if (i < 0) {
        enum { MOST = 512 };
        const char *known[MOST];
        int n = 0;
        for (int k = 0; k < a->p->n && n < MOST; k++)
            known[n++] = a->p->step[k].given;
        const char *near = mb_suggest(name, known, n);
        snprintf(why, MB_YAML_WHY, "${steps.%.100s}: there is no such step%s%s%s", name,
                 near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        return MB_USAGE;
    }
    if (pipe_step_matching(a->p, a->s, name, i + 1) >= 0)
        return refuse(why,
                      "${steps.%.100s}: a matrix makes several of it; name the same keys in this step's matrix, or use "
                      "it alone, as an item of inputs",
                      name);
    *value = pipe_step_result(a->p, &a->p->step[i], key, a->depth, &rc, why);
    return rc;
}

/* ---- names ----------------------------------------------------------------------------------------------------------
 */

static int find_variable(const asking *a, const char *name, const char **value, char *why) {
    const pipe_node *v = pipe_get(pipe_get(a->p->document.root, "vars"), name);
    int rc = MB_OK;
    if (!v)
        return refuse(why, "${vars.%.100s}: there is no such key under \"vars\"", name);
    if (v->kind != MB_YAML_SCALAR)
        return refuse(why, "${vars.%.100s}: is not one value", name);
    if (a->depth >= DEEPEST)
        return refuse(why, "${vars.%.100s}: variables refer to each other in a circle", name);
    const asking deeper = {a->p, NULL, a->depth + 1};
    *value = replace(&deeper, v->text, &rc, why);
    return rc;
}

static int find_axis(const asking *a, const char *name, const char **value, char *why) {
    for (int i = 0; a->s && i < a->s->n_axes; i++)
        if (strcmp(a->s->axis[i].key, name) == 0) {
            *value = a->s->axis[i].value;
            return MB_OK;
        }
    return refuse(why, "${matrix.%.100s}: the step's matrix has no such key", name);
}

static int look_up(void *user, char *body, const char **value, char *why) {
    const asking *a = user;
    char *name, *key;
    *value = NULL;
    if (strncmp(body, "env:", 4) == 0)
        return mb_yaml_environment(NULL, body, value, why);
    if (strcmp(body, "output") == 0 && a->p->output)
        *value = a->p->output;
    else if (strcmp(body, "pipeline") == 0 && a->p->name)
        *value = a->p->name;
    else if (strcmp(body, "name") == 0 && a->s)
        *value = a->s->name;
    if (*value)
        return MB_OK;
    if (strncmp(body, "vars.", 5) == 0)
        return find_variable(a, body + 5, value, why);
    if (strncmp(body, "matrix.", 7) == 0)
        return find_axis(a, body + 7, value, why);
    if (pipe_reference_split(body, &name, &key) && a->p->step)
        return find_step_value(a, name, key, value, why);
    return refuse(
        why,
        "${%.200s} is not known here; there are ${env:NAME}, ${output}, ${pipeline}, ${vars.KEY}, and in steps "
        "${name}, ${matrix.KEY}, ${steps.NAME}, ${steps.NAME.OPTION}; $$ is a plain $",
        body);
}

/* NOLINTNEXTLINE(misc-no-recursion): at most DEEPEST levels */
static const char *replace(const asking *a, const char *text, int *rc, char *why) {
    char *out = NULL;
    *rc = mb_yaml_replace(text, look_up, (void *)(uintptr_t)a, &out, why);
    const char *copy = *rc == MB_OK ? pipe_copy(&a->p->document.pool, out) : NULL;
    if (*rc == MB_OK && !copy)
        *rc = MB_NOMEM;
    for (const char *c = copy; *rc == MB_OK && *c; c += pipe_utf8(c))
        if (!pipe_utf8(c) || ((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t')) {
            *rc = refuse(why, "%s", "after substitution the value holds bytes that are no text");
            break;
        }
    mb_free(out);
    return *rc == MB_OK ? copy : NULL;
}

const char *pipe_replace(pipeline *p, const pipe_step *s, const pipe_node *n, int *rc) {
    char why[MB_YAML_WHY];
    const asking a = {p, s, 0};
    const char *text = replace(&a, n->text, rc, why);
    if (*rc == MB_USAGE) {
        pipe_complain(&p->document, n->at, "%s", why);
        *rc = MB_OK;
    } else if (*rc != MB_OK) {
        mb_fail(p->document.e, *rc, "out of memory while reading the pipeline");
    }
    return text;
}
