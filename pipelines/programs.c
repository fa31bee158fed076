/* See programs.h. Refuses descriptions that are cut short or of another version. */
#include "pipelines/programs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/yaml.h"
#include "pipelines/child.h"

const char *const pipe_program_names[] = {"dna-mamba", "recmamba", "ts-mamba", "seqmamba", NULL};

/* ---- a description --------------------------------------------------------------------------------------------------
 */

typedef struct reader {
    pipe_pool *pool;
    const char *path;
    mb_err *e;
} reader;

static int bad(reader *r, const char *what) {
    return mb_fail(r->e, MB_FORMAT, "%s --describe: %s; is it another version of the program?", r->path, what);
}

static int no_memory(reader *r) {
    return mb_fail(r->e, MB_NOMEM, "out of memory for the options of %s", r->path);
}

/* *out: a copy of a text; NULL for null. */
static int get_text(reader *r, const mb_yaml_node *map, const char *key, const char **out) {
    const mb_yaml_node *v = mb_yaml_get(map, key);
    *out = NULL;
    if (!v || v->kind != MB_YAML_SCALAR)
        return bad(r, "a text is missing");
    if (mb_yaml_is_null(v))
        return MB_OK;
    return (*out = pipe_copy(r->pool, v->text)) ? MB_OK : no_memory(r);
}

static int get_number(reader *r, const mb_yaml_node *map, const char *key, double *out) {
    const mb_yaml_node *v = mb_yaml_get(map, key);
    char *end = NULL;
    *out = v && v->kind == MB_YAML_SCALAR ? strtod(v->text, &end) : 0;
    return end && end != v->text && !*end ? MB_OK : bad(r, "a number is missing");
}

static int get_name(reader *r, const mb_yaml_node *map, const char *key, const char *const *names, int *out) {
    const mb_yaml_node *v = mb_yaml_get(map, key);
    for (*out = 0; v && v->kind == MB_YAML_SCALAR && names[*out]; (*out)++)
        if (strcmp(names[*out], v->text) == 0)
            return MB_OK;
    return bad(r, "a type or role that is not known here");
}

static int get_list(reader *r, const mb_yaml_node *map, const char *key, const mb_yaml_node **out) {
    *out = mb_yaml_get(map, key);
    return *out && (*out)->kind == MB_YAML_LIST ? MB_OK : bad(r, "a list is missing");
}

static int read_option(reader *r, const mb_yaml_node *y, mb_option *o) {
    int type, role;
    if (get_text(r, y, "key", &o->key) || !o->key || get_name(r, y, "type", mb_type_names, &type) ||
        get_name(r, y, "role", mb_role_names, &role) || get_text(r, y, "default", &o->def) ||
        get_number(r, y, "min", &o->min) || get_number(r, y, "max", &o->max) ||
        get_text(r, y, "choices", &o->choices) || get_text(r, y, "meta", &o->meta) || get_text(r, y, "help", &o->help))
        return r->e->status ? r->e->status : bad(r, "an option without a key");
    o->type = (mb_option_type)type;
    o->role = (mb_role)role;
    /* As mb_value_parse expects of a table. */
    if (o->type == MB_OPT_CHOICE && (!o->choices || !*o->choices || strlen(o->choices) >= 1024))
        return bad(r, "a choice without choices");
    int n = 0;
    for (const char *c = o->choices; c && *c; c++)
        n += *c == '|';
    return n < 64 ? MB_OK : bad(r, "a choice with too many choices");
}

static int read_verb(reader *r, const mb_yaml_node *y, const pipe_program *p, pipe_verb *v) {
    double least, most;
    int role;
    const mb_yaml_node *options;
    if (get_text(r, y, "name", &v->name) || !v->name || get_text(r, y, "summary", &v->summary) ||
        get_text(r, y, "usage", &v->usage) || get_number(r, y, "min_args", &least) ||
        get_number(r, y, "max_args", &most) || get_name(r, y, "args_role", mb_role_names, &role) ||
        get_list(r, y, "options", &options))
        return r->e->status ? r->e->status : bad(r, "a verb without a name");
    v->program = p;
    v->min_args = (int)least;
    v->max_args = (int)most;
    v->args_role = (mb_role)role;
    v->n = options->count;
    if (!(v->option = pipe_take(r->pool, (size_t)options->count * sizeof *v->option)))
        return no_memory(r);
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < options->count; i++)
        rc = read_option(r, options->child[i], &v->option[i]);
    return rc;
}

static int read_program(reader *r, const mb_yaml_node *root, pipe_program *p) {
    double version;
    const mb_yaml_node *verbs;
    int rc = get_number(r, root, "description", &version);
    if (rc == MB_OK && version != 1)
        rc = bad(r, "a description of another kind");
    if (rc != MB_OK || get_text(r, root, "program", &p->name) || get_text(r, root, "version", &p->version) ||
        get_text(r, root, "build", &p->build) || get_list(r, root, "verbs", &verbs))
        return r->e->status;
    if (!p->name || !p->version)
        return bad(r, "a name is missing");
    p->n = verbs->count;
    if (!(p->verb = pipe_take(r->pool, (size_t)verbs->count * sizeof *p->verb)))
        return no_memory(r);
    for (int i = 0; rc == MB_OK && i < verbs->count; i++)
        rc = read_verb(r, verbs->child[i], p, &p->verb[i]);
    return rc;
}

int pipe_program_read(pipe_programs *p, const char *path, const char *text, size_t n, const pipe_program **out,
                      mb_err *e) {
    mb_err own = {0};
    reader r = {.pool = &p->pool, .path = path, .e = &own};
    mb_yaml *y = NULL;
    pipe_program *more = pipe_grow(&p->pool, p->known, p->n, sizeof *more);
    pipe_program *program = NULL;
    *out = NULL;
    int rc = more && (more[p->n].path = pipe_copy(&p->pool, path)) ? MB_OK : no_memory(&r);
    if (rc == MB_OK) {
        p->known = more;
        program = &more[p->n];
        rc = mb_yaml_parse_raw(&y, path, text, n, NULL) == MB_NOMEM ? no_memory(&r) : y ? MB_OK : bad(&r, "no JSON");
    }
    if (rc == MB_OK && !mb_yaml_root(y))
        rc = bad(&r, "nothing was printed");
    if (rc == MB_OK)
        rc = read_program(&r, mb_yaml_root(y), program);
    mb_yaml_free(y);
    if (rc != MB_OK)
        return mb_fail(e, rc, "%s", own.text);
    p->n++;
    *out = program;
    return MB_OK;
}

/* ---- finding them ---------------------------------------------------------------------------------------------------
 */

/* PATH.. of a name: in the folder asked for, beside this program, on PATH. NULL: nowhere (or no memory, *rc). */
static char *find_program(pipe_programs *p, const char *name, int *rc, mb_err *e) {
    char self[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    const char *paths = getenv("PATH");
    char *found = NULL;
    self[n > 0 ? n : 0] = '\0';
    if (strrchr(self, '/'))
        *strrchr(self, '/') = '\0';
    pipe_text list = {0};
    pipe_text_add(&list, "%s", p->folder ? p->folder : self);
    if (!p->folder && paths)
        pipe_text_add(&list, ":%s", paths);
    for (char *save = NULL, *folder = list.lost ? NULL : strtok_r(list.data, ":", &save);
         folder && !found && !list.lost; folder = strtok_r(NULL, ":", &save)) {
        found = pipe_format(&p->pool, "%s/%s", folder, name);
        if (!found)
            list.lost = 1;
        else if (access(found, X_OK) != 0)
            found = NULL;
    }
    *rc = pipe_text_end(&list, e);
    pipe_text_free(&list);
    return found;
}

static int check_name(const char *name, mb_err *e) {
    int n = 0;
    for (; pipe_program_names[n]; n++)
        if (strcmp(pipe_program_names[n], name) == 0)
            return MB_OK;
    const char *near = mb_suggest(name, pipe_program_names, n);
    return mb_fail(e, MB_USAGE, "no program \"%.100s\" is known here%s%s%s", name, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

int pipe_program_get(pipe_programs *p, const char *name, const pipe_program **out, mb_err *e) {
    pipe_capture c;
    *out = NULL;
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->known[i].name, name) == 0) {
            *out = &p->known[i];
            return MB_OK;
        }
    int rc = check_name(name, e);
    char *path = rc == MB_OK ? find_program(p, name, &rc, e) : NULL;
    if (rc != MB_OK)
        return rc;
    if (!path)
        return mb_fail(e, MB_NOTFOUND, "%s is not there: it is sought %s%s", name,
                       p->folder ? "in " : "beside seqmamba", p->folder ? p->folder : " and on PATH");
    const char *const argv[] = {path, "--describe", NULL};
    if ((rc = pipe_child_capture(&c, argv, PIPE_DESCRIPTION_BYTES, e)))
        return rc;
    if (!WIFEXITED(c.status) || WEXITSTATUS(c.status) != 0)
        rc = mb_fail(e, MB_FORMAT, "%s --describe failed: %.300s", path, c.err);
    else
        rc = pipe_program_read(p, path, c.out, c.n_out, out, e);
    pipe_capture_free(&c);
    if (rc == MB_OK && *out && (*out)->name && strcmp((*out)->name, name) != 0)
        rc = mb_fail(e, MB_FORMAT, "%s says that it is %s", path, (*out)->name);
    return rc;
}

const pipe_verb *pipe_verb_find(const pipe_program *p, const char *name) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->verb[i].name, name) == 0)
            return &p->verb[i];
    return NULL;
}

static int same_key(const char *a, const char *b) {
    for (; *a && *b; a++, b++)
        if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
            return 0;
    return *a == *b;
}

const mb_option *pipe_option_find(const pipe_verb *v, const char *key) {
    for (int i = 0; i < v->n; i++)
        if (same_key(v->option[i].key, key))
            return &v->option[i];
    return NULL;
}

const char *pipe_option_suggest(const pipe_verb *v, const char *key) {
    enum { MOST = 256 };
    const char *name[MOST];
    int n = 0;
    for (; n < v->n && n < MOST; n++)
        name[n] = v->option[n].key;
    return mb_suggest(key, name, n);
}

void pipe_programs_free(pipe_programs *p) {
    pipe_pool_free(&p->pool);
    p->known = NULL;
    p->n = 0;
}
