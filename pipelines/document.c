/* See document.h. Refuses files that extend themselves, more than 8 levels or 64 files of extension, --set into what is
 * no map or list. */
#include "pipelines/document.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

/* ---- errors ---------------------------------------------------------------------------------------------------------
 */

static int no_memory(pipe_document *d) {
    return mb_fail(d->e, MB_NOMEM, "out of memory while reading the pipeline");
}

/* A step that a matrix makes many of has its errors many times. */
static int is_told(pipe_document *d, const char *what) {
    for (int i = 0; i < d->n_told; i++)
        if (strcmp(d->told[i], what) == 0)
            return 1;
    const char **more = d->n_told < 200 ? pipe_grow(&d->pool, d->told, d->n_told, sizeof *more) : NULL;
    char *copy = more ? pipe_copy(&d->pool, what) : NULL;
    if (more)
        d->told = more;
    if (copy)
        d->told[d->n_told++] = copy;
    return 0;
}

void pipe_complain(pipe_document *d, pipe_place at, const char *fmt, ...) {
    char what[700], placed[800];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    snprintf(placed, sizeof placed, "%p %d %d %s", (void *)at.source, at.line, at.column, what);
    if (is_told(d, placed))
        return;
    d->errors++;
    mb_yaml_error(at.source->yaml, at.line, at.column, d->e, "%s", what);
}

int pipe_document_end(pipe_document *d) {
    int rc = MB_OK;
    for (pipe_source *s = d->source; s; s = s->next)
        if (s->yaml && mb_yaml_end_errors(s->yaml, d->e) != MB_OK)
            rc = MB_USAGE;
    return d->e && d->e->status == MB_NOMEM ? MB_NOMEM : rc;
}

/* ---- trees ----------------------------------------------------------------------------------------------------------
 */

const pipe_node *pipe_get(const pipe_node *map, const char *key) {
    for (int i = 0; map && map->kind == MB_YAML_MAP && i < map->n; i++)
        if (strcmp(map->pair[i].key, key) == 0)
            return map->pair[i].value;
    return NULL;
}

int pipe_is_null(const pipe_node *n) {
    return n->kind == MB_YAML_SCALAR && !n->quoted &&
           (!*n->text || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0 || strcmp(n->text, "Null") == 0 ||
            strcmp(n->text, "NULL") == 0);
}

const char *pipe_kind_words(const pipe_node *n) {
    return n->kind == MB_YAML_MAP ? "a map" : n->kind == MB_YAML_LIST ? "a list" : "a value";
}

/* NOLINTNEXTLINE(misc-no-recursion): no deeper than the reader allows */
static pipe_node *copy_tree(pipe_document *d, pipe_source *s, const mb_yaml_node *y) {
    pipe_node *n = pipe_take(&d->pool, sizeof *n);
    if (!n)
        return NULL;
    *n = (pipe_node){.kind = y->kind, .at = {s, y->line, y->column}, .quoted = y->quoted, .n = y->count};
    if (y->kind == MB_YAML_SCALAR)
        return (n->text = pipe_copy(&d->pool, y->text)) ? n : NULL;
    if (y->kind == MB_YAML_LIST) {
        n->item = pipe_take(&d->pool, (size_t)y->count * sizeof *n->item);
        for (int i = 0; n->item && i < y->count; i++)
            if (!(n->item[i] = copy_tree(d, s, y->child[i])))
                return NULL;
        return n->item ? n : NULL;
    }
    n->pair = pipe_take(&d->pool, (size_t)y->count * sizeof *n->pair);
    for (ptrdiff_t i = 0; n->pair && i < y->count; i++) {
        const mb_yaml_node *key = y->child[2 * i];
        n->pair[i].at = (pipe_place){s, key->line, key->column};
        n->pair[i].key = pipe_copy(&d->pool, key->text);
        n->pair[i].value = copy_tree(d, s, y->child[2 * i + 1]);
        if (!n->pair[i].key || !n->pair[i].value)
            return NULL;
    }
    return n->pair ? n : NULL;
}

static int put_pair(pipe_document *d, pipe_node *map, const char *key, pipe_place at, pipe_node *value) {
    for (int i = 0; i < map->n; i++)
        if (strcmp(map->pair[i].key, key) == 0) {
            map->pair[i].at = at;
            map->pair[i].value = value;
            return MB_OK;
        }
    /* Maps come with exactly the room they need: a copy with one place more, not pipe_grow. */
    pipe_pair *more = pipe_take(&d->pool, (size_t)(map->n + 1) * sizeof *more);
    if (!more)
        return no_memory(d);
    if (map->n)
        memcpy(more, map->pair, (size_t)map->n * sizeof *more);
    more[map->n] = (pipe_pair){key, at, value};
    map->pair = more;
    map->n++;
    return MB_OK;
}

/* Lays `over` onto `base`: maps pair by pair, all else replaces. NOLINTNEXTLINE(misc-no-recursion): as above */
static int merge(pipe_document *d, pipe_node *base, const pipe_node *over) {
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < over->n; i++) {
        const pipe_pair *p = &over->pair[i];
        pipe_node *below = (pipe_node *)(uintptr_t)pipe_get(base, p->key);
        if (below && below->kind == MB_YAML_MAP && p->value->kind == MB_YAML_MAP)
            rc = merge(d, below, p->value);
        else
            rc = put_pair(d, base, p->key, p->at, p->value);
    }
    return rc;
}

/* ---- files ----------------------------------------------------------------------------------------------------------
 */

typedef struct chain { /* the files being read, innermost first */
    const struct chain *outer;
    const char *real;
    int depth;
} chain;

static int load(pipe_document *d, const char *path, const char *text, size_t n, const chain *outer, pipe_place at,
                pipe_node **root);

static pipe_source *add_source(pipe_document *d, const char *path) {
    pipe_source *s = pipe_take(&d->pool, sizeof *s);
    if (!s || !(s->path = pipe_copy(&d->pool, path)))
        return NULL;
    s->next = d->source;
    d->source = s;
    d->n_sources++;
    return s;
}

/* A path that a file names is sought from that file's folder. */
static char *beside(pipe_document *d, const char *file, const char *name) {
    const char *slash = strrchr(file, '/');
    if (*name == '/' || !slash)
        return pipe_copy(&d->pool, name);
    return pipe_format(&d->pool, "%.*s/%s", (int)(slash - file), file, name);
}

/* NOLINTNEXTLINE(misc-no-recursion): at most PIPE_EXTENDS_DEPTH levels */
static int extend_one(pipe_document *d, const pipe_node *name, const chain *outer, pipe_node *base) {
    char why[MB_YAML_WHY], *text = NULL;
    pipe_node *root = NULL;
    if (name->kind != MB_YAML_SCALAR || pipe_is_null(name)) {
        pipe_complain(d, name->at, "extends: the name of a file, or a list of names, is expected");
        return MB_OK;
    }
    int rc = mb_yaml_replace(name->text, mb_yaml_environment, NULL, &text, why);
    if (rc == MB_USAGE) {
        pipe_complain(d, name->at, "extends: %s", why);
        return MB_OK;
    }
    char *path = rc == MB_OK ? beside(d, name->at.source->path, text) : NULL;
    mb_free(text);
    if (!path)
        return no_memory(d);
    rc = load(d, path, NULL, 0, outer, name->at, &root);
    return rc == MB_OK && root ? merge(d, base, root) : rc;
}

/* NOLINTNEXTLINE(misc-no-recursion): at most PIPE_EXTENDS_DEPTH levels */
static int extend(pipe_document *d, pipe_node *own, const chain *outer, pipe_node **root) {
    const pipe_node *names = pipe_get(own, "extends");
    *root = own;
    if (!names)
        return MB_OK;
    pipe_node *base = pipe_take(&d->pool, sizeof *base);
    if (!base)
        return no_memory(d);
    *base = (pipe_node){.kind = MB_YAML_MAP, .at = own->at};
    int rc = MB_OK;
    if (names->kind == MB_YAML_LIST)
        for (int i = 0; rc == MB_OK && i < names->n; i++)
            rc = extend_one(d, names->item[i], outer, base);
    else
        rc = extend_one(d, names, outer, base);
    for (int i = 0; i < own->n; i++) /* what it extends is not the business of the file that extends it */
        if (strcmp(own->pair[i].key, "extends") == 0) {
            memmove(own->pair + i, own->pair + i + 1, (size_t)(own->n - i - 1) * sizeof *own->pair);
            own->n--;
            break;
        }
    if (rc == MB_OK)
        rc = merge(d, base, own);
    *root = base;
    return rc;
}

/* Whether this file may be read; tells why not. */
static int may_load(pipe_document *d, const char *path, const char *real, const chain *outer, pipe_place at) {
    for (const chain *c = outer; c; c = c->outer)
        if (strcmp(c->real, real) == 0) {
            pipe_complain(d, at, "extends: %s extends itself, directly or through others", path);
            return 0;
        }
    if (outer && outer->depth >= PIPE_EXTENDS_DEPTH)
        pipe_complain(d, at, "extends: more than %d levels deep", PIPE_EXTENDS_DEPTH);
    else if (d->n_sources >= PIPE_EXTENDS_FILES)
        pipe_complain(d, at, "extends: more than %d files", PIPE_EXTENDS_FILES);
    else
        return 1;
    return 0;
}

/* text NULL: the file. *root stays NULL for a file that is told as an error of the one that extends it.
 * NOLINTNEXTLINE(misc-no-recursion): at most PIPE_EXTENDS_DEPTH levels */
static int load(pipe_document *d, const char *path, const char *text, size_t n, const chain *outer, pipe_place at,
                pipe_node **root) {
    char *real = text ? NULL : realpath(path, NULL);
    const chain here = {outer, real ? real : path, outer ? outer->depth + 1 : 0};
    int rc = MB_OK;
    pipe_source *s = NULL;
    if (!may_load(d, path, here.real, outer, at))
        goto done;
    if (!(s = add_source(d, path))) {
        rc = no_memory(d);
        goto done;
    }
    if (outer && !real) {
        pipe_complain(d, at, "extends: there is no file %.300s", path);
        goto done;
    }
    rc = text ? mb_yaml_parse_raw(&s->yaml, path, text, n, d->e) : mb_yaml_read_raw(&s->yaml, path, d->e);
    const mb_yaml_node *y = rc == MB_OK ? mb_yaml_root(s->yaml) : NULL;
    if (rc != MB_OK)
        goto done;
    if (y && y->kind != MB_YAML_MAP && !mb_yaml_is_null(y))
        mb_yaml_error(s->yaml, y->line, y->column, d->e, "lines of \"key: value\" are expected here");
    static const mb_yaml_node EMPTY = {.kind = MB_YAML_MAP, .line = 1, .column = 1};
    pipe_node *own = copy_tree(d, s, y && y->kind == MB_YAML_MAP ? y : &EMPTY);
    rc = own ? extend(d, own, &here, root) : no_memory(d);
done:
    free(real);
    return rc;
}

/* ---- --set ----------------------------------------------------------------------------------------------------------
 */

/* The node that one more name of a path leads to, made when it is missing; NULL: told, or no memory (*rc). */
static pipe_node **child_of(pipe_document *d, pipe_node *at, const char *name, pipe_source *s, int *rc) {
    char *end;
    *rc = MB_OK;
    if (at->kind == MB_YAML_LIST) {
        const long i = strtol(name, &end, 10);
        if (*end || end == name || i < 0 || i >= at->n) {
            pipe_complain(d, (pipe_place){s, 1, 1}, "\"%.100s\": the list has items 0 to %d", name, at->n - 1);
            return NULL;
        }
        return &at->item[i];
    }
    for (int i = 0; i < at->n; i++)
        if (strcmp(at->pair[i].key, name) == 0)
            return &at->pair[i].value;
    char *key = pipe_copy(&d->pool, name);
    if (!key || put_pair(d, at, key, (pipe_place){s, 1, 1}, NULL) != MB_OK) {
        *rc = no_memory(d);
        return NULL;
    }
    return &at->pair[at->n - 1].value;
}

static int set_path(pipe_document *d, char *path, pipe_source *s, pipe_node *value) {
    pipe_node *at = d->root;
    int rc = MB_OK;
    for (char *name = path, *dot; name; name = dot) {
        if ((dot = strchr(name, '.')))
            *dot++ = '\0';
        pipe_node **child = child_of(d, at, name, s, &rc);
        if (!child)
            return rc;
        if (!dot) {
            *child = value;
            return MB_OK;
        }
        if (!*child || pipe_is_null(*child)) { /* a map that --set begins */
            if (!(*child = pipe_take(&d->pool, sizeof **child)))
                return no_memory(d);
            **child = (pipe_node){.kind = MB_YAML_MAP, .at = {s, 1, 1}};
        }
        if ((*child)->kind == MB_YAML_SCALAR) {
            pipe_complain(d, (pipe_place){s, 1, 1}, "\"%.100s\" is a value; nothing lies below it", name);
            *child = value;
            return MB_OK;
        }
        at = *child;
    }
    return MB_OK;
}

static int apply_set(pipe_document *d, const mb_set *set) {
    const char *equals = strchr(set->text, '=');
    char name[64];
    snprintf(name, sizeof name, "command line: argument %d", set->argument);
    if (!equals || equals == set->text)
        return mb_fail(d->e, MB_USAGE, "%s: --set %.200s: write --set key.path=value", name, set->text);
    pipe_source *s = add_source(d, name);
    char *path = s ? pipe_copy(&d->pool, set->text) : NULL;
    if (!path)
        return no_memory(d);
    path[equals - set->text] = '\0';
    int rc = mb_yaml_parse_raw(&s->yaml, name, equals + 1, strlen(equals + 1), d->e);
    static const mb_yaml_node NOTHING = {.kind = MB_YAML_SCALAR, .line = 1, .column = 1, .text = ""};
    if (rc != MB_OK)
        return rc;
    const mb_yaml_node *y = mb_yaml_root(s->yaml);
    pipe_node *value = copy_tree(d, s, y ? y : &NOTHING);
    return value ? set_path(d, path, s, value) : no_memory(d);
}

/* ---- life -----------------------------------------------------------------------------------------------------------
 */

static int begin(pipe_document *d, const char *path, const char *text, size_t n, mb_err *e) {
    *d = (pipe_document){.e = e};
    return load(d, path, text, n, NULL, (pipe_place){0}, &d->root);
}

int pipe_document_load(pipe_document *d, const char *path, const mb_set *sets, int n_sets, mb_err *e) {
    int rc = begin(d, path, NULL, 0, e);
    for (int i = 0; rc == MB_OK && i < n_sets; i++)
        rc = apply_set(d, &sets[i]);
    return rc;
}

int pipe_document_parse(pipe_document *d, const char *name, const char *text, size_t n, mb_err *e) {
    return begin(d, name, text, n, e);
}

void pipe_document_free(pipe_document *d) {
    for (pipe_source *s = d->source; s; s = s->next)
        mb_yaml_free(s->yaml);
    pipe_pool_free(&d->pool);
    *d = (pipe_document){0};
}
