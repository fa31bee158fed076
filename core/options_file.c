/* A configuration file into the fields of a verb. Every error of the file is told, with its place; only then is it
 * refused. */
#include "core/mem.h"
#include "core/options_internal.h"
#include "core/yaml.h"

#include <string.h>

typedef struct reader {
    mb_yaml *y;
    const mb_verb *verb;
    const mb_fields *fs;
    mb_config_file *file;
    mb_err *e;
    const mb_yaml_node **seen; /* (fields): the key that gave each field, for keys that differ in - and _ only */
} reader;

static const char *kind_words(const mb_yaml_node *n) {
    return n->kind == MB_YAML_MAP ? "a map" : n->kind == MB_YAML_LIST ? "a list" : "a value";
}

static void complain(reader *r, const mb_yaml_node *at, const char *key, const char *what) {
    mb_yaml_error(r->y, at->line, at->column, r->e, "%s: %s", key, what);
}

static int no_memory(reader *r) {
    return mb_fail(r->e, MB_NOMEM, "out of memory while reading the configuration");
}

static int read_option(reader *r, const mb_field *f, const mb_yaml_node *v) {
    char why[MB_OPTIONS_WHY];
    const mb_option *o = f->option;
    if (v->kind != MB_YAML_SCALAR) {
        mb_yaml_error(r->y, v->line, v->column, r->e, "%s: one value is expected, not %s", o->key, kind_words(v));
        return MB_OK;
    }
    if (mb_yaml_is_null(v))
        return mb_value_reset(o, f->value) ? no_memory(r) : MB_OK;
    int text = o->type == MB_OPT_STRING || o->type == MB_OPT_CHOICE;
    if (v->quoted && !text) {
        mb_yaml_error(r->y, v->line, v->column, r->e,
                      "%s: a %s is expected, and text in quotes is none; remove the quotes", o->key,
                      o->type == MB_OPT_BOOL ? "truth value" : "number");
        return MB_OK;
    }
    int rc = mb_value_parse(o, v->text, f->value, why);
    if (rc == MB_NOMEM)
        return no_memory(r);
    if (rc)
        complain(r, v, o->key, why);
    return MB_OK;
}

static int read_inputs(reader *r, const mb_yaml_node *v) {
    const mb_yaml_node *one[1] = {v};
    int n = v->kind == MB_YAML_LIST ? v->count : 1;
    mb_config_file_free(r->file); /* a later file replaces the list */
    if (v->kind == MB_YAML_MAP) {
        complain(r, v, "inputs", "a list of paths is expected, not a map");
        return MB_OK;
    }
    if (mb_yaml_is_null(v))
        return MB_OK;
    r->file->inputs = mb_calloc((size_t)n + 1, sizeof *r->file->inputs);
    if (!r->file->inputs)
        return no_memory(r);
    for (int i = 0; i < n; i++) {
        const mb_yaml_node *item = v->kind == MB_YAML_LIST ? v->child[i] : one[i];
        if (item->kind != MB_YAML_SCALAR || mb_yaml_is_null(item)) {
            complain(r, item, "inputs", "a path is expected here");
            continue;
        }
        if (!(r->file->inputs[r->file->n_inputs] = mb_strdup(item->text)))
            return no_memory(r);
        r->file->n_inputs++;
    }
    return MB_OK;
}

static void unknown_key(reader *r, const mb_yaml_node *k) {
    static const char *const OWN[] = {"command", "inputs", "version"};
    const char *near = mb_fields_suggest(r->fs, k->text, 0);
    const mb_field *f = mb_fields_find(r->fs, k->text, strlen(k->text));
    if (!near)
        near = mb_suggest(k->text, OWN, 3);
    if (f && f->control) /* --config and the like */
        mb_yaml_error(r->y, k->line, k->column, r->e, "\"%.100s\" can only be given on the command line", k->text);
    else
        mb_yaml_error(r->y, k->line, k->column, r->e, "unknown key \"%.100s\"%s%s%s", k->text,
                      near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int read_pair(reader *r, const mb_yaml_node *k, const mb_yaml_node *v) {
    int scalar = v->kind == MB_YAML_SCALAR;
    if (strcmp(k->text, "command") == 0) {
        if (!scalar || strcmp(v->text, r->verb->name) != 0)
            mb_yaml_error(r->y, v->line, v->column, r->e,
                          "command: this file is for \"%.100s\", and \"%s\" is being run",
                          scalar ? v->text : kind_words(v), r->verb->name);
        return MB_OK;
    }
    if (strcmp(k->text, "version") == 0) {
        if (!scalar || v->quoted || strcmp(v->text, "1") != 0)
            mb_yaml_error(r->y, v->line, v->column, r->e,
                          "version: this program reads version 1 of configuration files");
        return MB_OK;
    }
    if (strcmp(k->text, "inputs") == 0)
        return read_inputs(r, v);
    const mb_field *f = mb_fields_find(r->fs, k->text, strlen(k->text));
    if (!f || f->control) {
        unknown_key(r, k);
        return MB_OK;
    }
    const mb_yaml_node **before = &r->seen[f - r->fs->field];
    if (*before && strcmp(k->text, (*before)->text) == 0)
        return MB_OK; /* told by the parser */
    if (*before) {
        mb_yaml_error(r->y, k->line, k->column, r->e, "\"%s\" is the same key as \"%s\" at line %d, column %d", k->text,
                      (*before)->text, (*before)->line, (*before)->column);
        return MB_OK;
    }
    *before = k;
    return read_option(r, f, v);
}

int mb_config_apply(const char *path, const mb_verb *verb, const mb_fields *fs, mb_config_file *c, mb_err *e) {
    reader r = {.verb = verb, .fs = fs, .file = c, .e = e};
    int rc = mb_yaml_read(&r.y, path, e);
    if (rc)
        return rc;
    const mb_yaml_node *root = mb_yaml_root(r.y);
    r.seen = mb_calloc((size_t)fs->n, sizeof *r.seen);
    if (!r.seen)
        rc = no_memory(&r);
    else if (root && root->kind != MB_YAML_MAP && !mb_yaml_is_null(root))
        mb_yaml_error(r.y, root->line, root->column, e, "lines of \"key: value\" are expected, not %s",
                      kind_words(root));
    for (ptrdiff_t i = 0; rc == MB_OK && root && root->kind == MB_YAML_MAP && i < root->count; i++)
        rc = read_pair(&r, root->child[2 * i], root->child[2 * i + 1]);
    if (rc == MB_OK)
        rc = mb_yaml_end_errors(r.y, e);
    mb_free(r.seen);
    mb_yaml_free(r.y);
    return rc;
}

void mb_config_file_free(mb_config_file *c) {
    for (int i = 0; i < c->n_inputs; i++)
        mb_free(c->inputs[i]);
    mb_free(c->inputs);
    *c = (mb_config_file){0};
}
