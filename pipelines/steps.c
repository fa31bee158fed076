/* Sections and steps of a pipeline: keys, names, matrices, shards, options. Each step's options are read by the table
 * of the verb that will run it. Refuses unknown keys and verbs, values of the wrong type, names that are no folder's.
 */
#include "pipelines/steps.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/option_value.h"
#include "pipelines/references.h"
#include "pipelines/shards.h"

static int no_memory(pipeline *p) {
    return mb_fail(p->document.e, MB_NOMEM, "out of memory for the steps");
}

static void unknown_key(pipeline *p, const pipe_pair *pair, const char *where, const char *const *known, int n) {
    const char *near = mb_suggest(pair->key, known, n);
    pipe_complain(&p->document, pair->at, "unknown key \"%.100s\"%s%s%s%s%s", pair->key, *where ? " in " : "", where,
                  near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* ---- sections -------------------------------------------------------------------------------------------------------
 */

static const char *const SECTIONS[] = {"version", "name",  "output", "vars",   "defaults",
                                       "run",     "batch", "steps",  "extends"};
enum { N_SECTIONS = 8 }; /* "extends" is gone when a file is read; as a key it is only suggested */

static void check_version(pipeline *p) {
    const pipe_node *v = pipe_get(p->document.root, "version");
    if (!v)
        pipe_complain(&p->document, p->document.root->at, "\"version: 1\" is missing");
    else if (v->kind != MB_YAML_SCALAR || v->quoted || strcmp(v->text, "1") != 0)
        pipe_complain(&p->document, v->at, "version: this program reads version 1 of pipelines");
}

/* A section that is one text; *out stays as it is when there is none. */
static int read_text(pipeline *p, const char *key, const char **out) {
    const pipe_node *v = pipe_get(p->document.root, key);
    int rc = MB_OK;
    if (!v || pipe_is_null(v))
        return MB_OK;
    if (v->kind != MB_YAML_SCALAR) {
        pipe_complain(&p->document, v->at, "%s: one value is expected, not %s", key, pipe_kind_words(v));
        return MB_OK;
    }
    const char *text = pipe_replace(p, NULL, v, &rc);
    if (text && (!*text || strpbrk(text, "\n\r\t")))
        pipe_complain(&p->document, v->at, "%s: a line of text is expected", key);
    else if (text)
        *out = text;
    return rc;
}

static int read_names(pipeline *p) {
    const char *base = strrchr(p->path, '/');
    char *stem = pipe_copy(&p->document.pool, base ? base + 1 : p->path);
    if (!stem)
        return no_memory(p);
    if (strrchr(stem, '.') > stem)
        *strrchr(stem, '.') = '\0';
    p->name = stem;
    int rc = read_text(p, "name", &p->name);
    if (rc == MB_OK)
        rc = read_text(p, "output", &p->output);
    const pipe_node *v = pipe_get(p->document.root, "output");
    if (rc == MB_OK && !p->output) {
        pipe_complain(&p->document, v ? v->at : p->document.root->at,
                      "output: say in which folder logs and records go, as in \"output: build/%.100s\"", p->name);
        p->output = ".";
    }
    char *clean = rc == MB_OK ? pipe_clean_path(&p->document.pool, p->output) : NULL;
    if (rc == MB_OK)
        p->output = clean;
    return rc == MB_OK && !clean ? no_memory(p) : rc;
}

static void check_map(pipeline *p, const char *key, int scalars) {
    const pipe_node *map = pipe_get(p->document.root, key);
    if (map && map->kind != MB_YAML_MAP && !pipe_is_null(map))
        pipe_complain(&p->document, map->at, "%s: a map is expected, not %s", key, pipe_kind_words(map));
    for (int i = 0; map && map->kind == MB_YAML_MAP && scalars && i < map->n; i++)
        if (map->pair[i].value->kind != MB_YAML_SCALAR)
            pipe_complain(&p->document, map->pair[i].value->at, "%s: %s: one value is expected, not %s", key,
                          map->pair[i].key, pipe_kind_words(map->pair[i].value));
}

static int reset_settings(const mb_option *table, void *values) {
    int rc = MB_OK;
    for (; rc == MB_OK && table->key; table++)
        if (table->type != MB_OPT_STRING)
            rc = mb_value_reset(table, (char *)values + table->offset);
    return rc;
}

static int read_sections(pipeline *p) {
    const pipe_node *root = p->document.root, *run = pipe_get(root, "run");
    for (int i = 0; i < root->n; i++) {
        int k = 0;
        while (k < N_SECTIONS && strcmp(root->pair[i].key, SECTIONS[k]) != 0)
            k++;
        if (k == N_SECTIONS)
            unknown_key(p, &root->pair[i], "", SECTIONS, N_SECTIONS + 1);
    }
    check_version(p);
    check_map(p, "vars", 1);
    check_map(p, "defaults", 1);
    int rc = reset_settings(pipe_run_options, &p->settings);
    if (rc == MB_OK)
        rc = reset_settings(pipe_batch_options, &p->batch);
    if (rc == MB_OK)
        rc = read_names(p);
    if (rc == MB_OK && run)
        rc = pipe_settings_read(p, run, "run", pipe_run_options, &p->settings, NULL, 0);
    return rc == MB_OK ? pipe_batch_read(p, pipe_get(root, "batch"), &p->batch) : rc;
}

/* ---- a step and its instances ---------------------------------------------------------------------------------------
 */

static const char *const STEP_KEYS[] = {"run", "inputs", "with", "after", "matrix", "shards", "batch"};
enum { N_STEP_KEYS = 7, LONGEST_NAME = 160 };

static int is_name(const char *s) {
    return isalnum((unsigned char)*s) && strlen(s) <= 100 &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(s);
}

/* "dna-mamba embed"; *verb NULL: told. */
static int read_verb(pipeline *p, const pipe_pair *step, const pipe_verb **verb) {
    const pipe_node *v = pipe_get(step->value, "run");
    char words[128], *name;
    const pipe_program *program;
    mb_err why = {0};
    *verb = NULL;
    if (!v || v->kind != MB_YAML_SCALAR || strlen(v->text) >= sizeof words) {
        pipe_complain(&p->document, v ? v->at : step->at,
                      "the step \"%s\" needs \"run: PROGRAM VERB\", as in \"run: dna-mamba embed\"", step->key);
        return MB_OK;
    }
    snprintf(words, sizeof words, "%s", v->text);
    name = words + strcspn(words, " ");
    name += strspn(name, " ");
    if (!*name || strchr(name, ' ')) {
        pipe_complain(&p->document, v->at,
                      "run: a program and a verb are expected, as in \"dna-mamba embed\"; options go under \"with\"");
        return MB_OK;
    }
    words[strcspn(words, " ")] = '\0';
    int rc = pipe_program_get(&p->programs, words, &program, &why);
    if (rc == MB_NOMEM)
        return no_memory(p);
    if (rc != MB_OK) {
        pipe_complain(&p->document, v->at, "run: %s", why.text);
        return MB_OK;
    }
    *verb = pipe_verb_find(program, name);
    if (strcmp(words, "seqmamba") == 0 && *verb && pipe_option_find(*verb, "programs")) { /* run, submit, ... */
        pipe_complain(&p->document, v->at, "run: a pipeline cannot be a step of a pipeline");
        *verb = NULL;
    } else if (!*verb) {
        const char *known[64], *near;
        int n = 0;
        for (; n < program->n && n < 64; n++)
            known[n] = program->verb[n].name;
        near = mb_suggest(name, known, n);
        pipe_complain(&p->document, v->at, "run: %s has no command \"%s\"%s%s%s", words, name,
                      near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    return MB_OK;
}

static pipe_step *add_step(pipeline *p) {
    pipe_step *more = p->n < PIPE_MOST_STEPS ? pipe_grow(&p->document.pool, p->step, p->n, sizeof *more) : NULL;
    if (!more)
        return NULL;
    p->step = more;
    more[p->n] = (pipe_step){.shard = -1};
    return &more[p->n++];
}

/* "train-0.001-mean": letters that no folder should have become "_". */
static char *instance_name(pipeline *p, const char *given, const pipe_axis *axis, int n) {
    char name[LONGEST_NAME];
    size_t at = (size_t)snprintf(name, sizeof name, "%s", given);
    for (int i = 0; i < n && at < sizeof name; i++) {
        const size_t from = at + 1;
        at += (size_t)snprintf(name + at, sizeof name - at, "-%s", axis[i].value);
        for (size_t k = from; k < at && k < sizeof name - 1; k++)
            if (!isalnum((unsigned char)name[k]) && !strchr("_-.+=", name[k]))
                name[k] = '_';
    }
    return pipe_copy(&p->document.pool, name);
}

typedef struct matrix {
    const pipe_node *map;
    int n;         /* axes */
    int64_t total; /* instances */
    int *at;       /* (n): which value each axis has now */
} matrix;

/* *m: total 0: told. */
static int read_matrix(pipeline *p, const pipe_pair *step, matrix *m) {
    const pipe_node *map = pipe_get(step->value, "matrix");
    *m = (matrix){.map = map, .total = 1};
    if (!map || pipe_is_null(map))
        return MB_OK;
    if (map->kind != MB_YAML_MAP) {
        pipe_complain(&p->document, map->at, "matrix: a map from keys to lists of values is expected");
        m->total = 0;
        return MB_OK;
    }
    m->n = map->n;
    for (int i = 0; i < map->n; i++) {
        const pipe_node *list = map->pair[i].value;
        int good = list->kind == MB_YAML_LIST && list->n > 0 && is_name(map->pair[i].key);
        for (int k = 0; good && k < list->n; k++)
            good = list->item[k]->kind == MB_YAML_SCALAR && !pipe_is_null(list->item[k]);
        if (!good)
            pipe_complain(&p->document, map->pair[i].at, "matrix: %.100s: a list of values is expected",
                          map->pair[i].key);
        m->total = good ? m->total * list->n : 0;
        if (m->total > PIPE_MOST_STEPS) {
            pipe_complain(&p->document, map->at, "matrix: more than %d steps", PIPE_MOST_STEPS);
            m->total = 0;
        }
    }
    m->at = pipe_take(&p->document.pool, (size_t)m->n * sizeof *m->at);
    return m->at ? MB_OK : no_memory(p);
}

/* The last axis runs fastest. */
static void advance(matrix *m) {
    for (int i = m->n - 1; i >= 0; i--) {
        if (++m->at[i] < m->map->pair[i].value->n)
            return;
        m->at[i] = 0;
    }
}

static int read_axes(pipeline *p, const matrix *m, pipe_axis **out) {
    int rc = MB_OK;
    pipe_axis *axis = pipe_take(&p->document.pool, (size_t)m->n * sizeof *axis);
    if (!axis)
        return no_memory(p);
    for (int i = 0; rc == MB_OK && i < m->n; i++) {
        const pipe_node *v = m->map->pair[i].value->item[m->at[i]];
        axis[i].key = m->map->pair[i].key;
        axis[i].value = pipe_replace(p, NULL, v, &rc);
        if (!axis[i].value)
            axis[i].value = "";
    }
    *out = axis;
    return rc;
}

static int check_step_keys(pipeline *p, const pipe_pair *step, const pipe_verb *verb) {
    for (int i = 0; i < step->value->n; i++) {
        const pipe_pair *pair = &step->value->pair[i];
        int k = 0;
        while (k < N_STEP_KEYS && strcmp(pair->key, STEP_KEYS[k]) != 0)
            k++;
        if (k < N_STEP_KEYS)
            continue;
        if (verb && pipe_option_find(verb, pair->key))
            pipe_complain(&p->document, pair->at, "\"%.100s\" is an option of %s: it belongs under \"with:\"",
                          pair->key, verb->name);
        else
            unknown_key(p, pair, "the step", STEP_KEYS, N_STEP_KEYS);
    }
    return MB_OK;
}

/* All instances of one step of the file, without their values. */
static int make_instances(pipeline *p, const pipe_pair *step) {
    const pipe_verb *verb;
    matrix m;
    if (pipe_is_null(step->value)) /* taken back, by a file that extends another or by --set */
        return MB_OK;
    if (!is_name(step->key)) {
        pipe_complain(&p->document, step->at,
                      "\"%.100s\" is no name for a step: letters, digits, - and _ are, up to 100", step->key);
        return MB_OK;
    }
    if (step->value->kind != MB_YAML_MAP) {
        pipe_complain(&p->document, step->value->at, "%s: a map with \"run\", \"inputs\", \"with\" is expected",
                      step->key);
        return MB_OK;
    }
    int rc = read_verb(p, step, &verb);
    if (rc == MB_OK)
        rc = check_step_keys(p, step, verb);
    if (rc == MB_OK)
        rc = read_matrix(p, step, &m);
    for (int64_t i = 0; rc == MB_OK && verb && i < m.total; i++, advance(&m)) {
        if (p->n >= PIPE_MOST_STEPS) {
            pipe_complain(&p->document, step->at, "more than %d steps", PIPE_MOST_STEPS);
            break;
        }
        pipe_step *s = add_step(p);
        if (!s)
            return no_memory(p);
        s->given = step->key;
        s->verb = verb;
        s->at = step->at;
        s->n_axes = m.n;
        s->after = pipe_get(step->value, "after");
        if ((rc = read_axes(p, &m, &s->axis)) == MB_OK && !(s->name = instance_name(p, step->key, s->axis, m.n)))
            rc = no_memory(p);
    }
    return rc;
}

/* ---- options --------------------------------------------------------------------------------------------------------
 */

static int add_file(pipeline *p, pipe_file **list, int *n, const char *path, const char *what, mb_role role,
                    pipe_place at) {
    pipe_file *more = pipe_grow(&p->document.pool, *list, *n, sizeof *more);
    if (!more)
        return no_memory(p);
    *list = more;
    more[*n] = (pipe_file){.path = path, .what = what, .role = role, .from = -1, .at = at};
    if (!(more[*n].clean = pipe_clean_path(&p->document.pool, path)))
        return no_memory(p);
    (*n)++;
    return MB_OK;
}

/* What an option's value says about files. */
static int note_file(pipeline *p, pipe_step *s, const mb_option *o, const char *text, pipe_place at) {
    switch (o->role) {
    case MB_ROLE_INPUT:
    case MB_ROLE_MODEL:
    case MB_ROLE_NAMED:
        return add_file(p, &s->input, &s->n_inputs, text, o->key, o->role, at);
    case MB_ROLE_OUTPUT:
    case MB_ROLE_OUTPUT_FOLDER:
    case MB_ROLE_OUTPUT_PREFIX:
        return strcmp(text, "-") == 0 ? MB_OK : add_file(p, &s->output, &s->n_outputs, text, o->key, o->role, at);
    case MB_ROLE_VALUE:
    case MB_ROLE_MACHINE:
        break;
    }
    return MB_OK;
}

/* Type, range and choices, as the verb will see them; the text it will read. */
static int check_value(pipeline *p, const pipe_step *s, const mb_option *o, const pipe_node *v, const char **text) {
    char why[MB_OPTIONS_WHY], *string = NULL;
    int64_t number = 0;
    const int is_text = o->type == MB_OPT_STRING || o->type == MB_OPT_CHOICE;
    int rc = MB_OK;
    *text = NULL;
    if (v->kind != MB_YAML_SCALAR) {
        pipe_complain(&p->document, v->at, "%s: one value is expected, not %s", o->key, pipe_kind_words(v));
        return MB_OK;
    }
    if (v->quoted && !is_text && !strchr(v->text, '$')) {
        pipe_complain(&p->document, v->at, "%s: a %s is expected, and text in quotes is none; remove the quotes",
                      o->key, o->type == MB_OPT_BOOL ? "truth value" : "number");
        return MB_OK;
    }
    if (pipe_is_null(v) || !(*text = pipe_replace(p, s, v, &rc)) || o->type == MB_OPT_STRING)
        return rc;
    rc = mb_value_parse(o, *text, o->type == MB_OPT_STRING ? (void *)&string : (void *)&number, why);
    if (rc == MB_USAGE)
        pipe_complain(&p->document, v->at, "%s: %s", o->key, why);
    return rc == MB_NOMEM ? no_memory(p) : MB_OK;
}

static const pipe_value *has_value(const pipe_step *s, const mb_option *o) {
    for (int i = 0; i < s->n_values; i++)
        if (s->value[i].option == o)
            return &s->value[i];
    return NULL;
}

static int add_value(pipeline *p, pipe_step *s, const mb_option *o, const pipe_pair *pair) {
    const char *text;
    int rc = check_value(p, s, o, pair->value, &text);
    pipe_value *more = rc == MB_OK ? pipe_grow(&p->document.pool, s->value, s->n_values, sizeof *more) : NULL;
    if (rc == MB_OK && !more)
        rc = no_memory(p);
    if (rc != MB_OK)
        return rc;
    s->value = more;
    more[s->n_values++] = (pipe_value){o, text, pair->value->at};
    return text && *text ? note_file(p, s, o, text, pair->value->at) : MB_OK;
}

static void unknown_option(pipeline *p, const pipe_step *s, const pipe_pair *pair) {
    const char *near = pipe_option_suggest(s->verb, pair->key);
    for (int k = 0; k < N_STEP_KEYS; k++)
        if (strcmp(pair->key, STEP_KEYS[k]) == 0) {
            pipe_complain(&p->document, pair->at, "\"%s\" belongs beside \"with\", not under it", pair->key);
            return;
        }
    pipe_complain(&p->document, pair->at, "%s %s has no option \"%.100s\"%s%s%s", s->verb->program->name, s->verb->name,
                  pair->key, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int read_with(pipeline *p, pipe_step *s, const pipe_node *with) {
    int rc = MB_OK;
    if (with && with->kind != MB_YAML_MAP && !pipe_is_null(with))
        pipe_complain(&p->document, with->at, "with: a map of options is expected, not %s", pipe_kind_words(with));
    for (int i = 0; rc == MB_OK && with && with->kind == MB_YAML_MAP && i < with->n; i++) {
        const pipe_pair *pair = &with->pair[i];
        const mb_option *o = pipe_option_find(s->verb, pair->key);
        if (!o)
            unknown_option(p, s, pair);
        else if (strcmp(o->key, "dry_run") == 0)
            pipe_complain(&p->document, pair->at, "dry_run: \"seqmamba check\" does that");
        else if (has_value(s, o))
            pipe_complain(&p->document, pair->at, "\"%s\" is given twice, with - and with _", o->key);
        else
            rc = add_value(p, s, o, pair);
    }
    return rc;
}

/* What holds for all steps that have such an option and do not say otherwise. */
static int read_defaults(pipeline *p, pipe_step *s) {
    const pipe_node *map = pipe_get(p->document.root, "defaults");
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && map && map->kind == MB_YAML_MAP && i < map->n; i++) {
        const mb_option *o = pipe_option_find(s->verb, map->pair[i].key);
        if (o && map->pair[i].value->kind == MB_YAML_SCALAR && !has_value(s, o))
            rc = add_value(p, s, o, &map->pair[i]);
    }
    return rc;
}

static void check_defaults(pipeline *p) {
    const pipe_node *map = pipe_get(p->document.root, "defaults");
    for (int i = 0; map && map->kind == MB_YAML_MAP && i < map->n; i++) {
        int known = p->n == 0;
        const char *near = NULL;
        for (int k = 0; k < p->n && !known; k++) {
            known = pipe_option_find(p->step[k].verb, map->pair[i].key) != NULL;
            near = near ? near : pipe_option_suggest(p->step[k].verb, map->pair[i].key);
        }
        if (!known)
            pipe_complain(&p->document, map->pair[i].at, "no step has an option \"%.100s\"%s%s%s", map->pair[i].key,
                          near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
}

/* ---- inputs ---------------------------------------------------------------------------------------------------------
 */

static int add_input(pipeline *p, pipe_step *s, const char *path, pipe_place at) {
    const mb_role role = s->verb->args_role ? s->verb->args_role : MB_ROLE_INPUT;
    if (!*path || strcmp(path, "-") == 0) {
        pipe_complain(&p->document, at, "inputs: a path is expected; steps have no standard input");
        return MB_OK;
    }
    return add_file(p, &s->input, &s->n_inputs, path, "input", role, at);
}

/* An item that is "${steps.NAME}" and nothing else stands for the outputs of all matching instances. */
static int add_reference(pipeline *p, pipe_step *s, const pipe_node *v, int *done) {
    char body[256], why[MB_YAML_WHY], *name, *key;
    const size_t n = strlen(v->text);
    *done = 0;
    if (strncmp(v->text, "${steps.", 8) != 0 || strchr(v->text, '}') != v->text + n - 1 || n - 2 >= sizeof body)
        return MB_OK;
    snprintf(body, sizeof body, "%.*s", (int)n - 3, v->text + 2);
    if (!pipe_reference_split(body, &name, &key))
        return MB_OK;
    int rc = MB_OK;
    for (int i = pipe_step_matching(p, s, name, 0); rc == MB_OK && i >= 0; i = pipe_step_matching(p, s, name, i + 1)) {
        const char *text = pipe_step_result(p, &p->step[i], key, 0, &rc, why);
        if (rc == MB_USAGE) {
            pipe_complain(&p->document, v->at, "%s", why);
            rc = MB_OK;
        } else {
            rc = text ? add_input(p, s, text, v->at) : no_memory(p);
        }
        *done = 1;
    }
    return rc;
}

static int read_input(pipeline *p, pipe_step *s, const pipe_node *v) {
    int rc = MB_OK, done = 0;
    if (v->kind != MB_YAML_SCALAR || pipe_is_null(v)) {
        pipe_complain(&p->document, v->at, "inputs: a path is expected here");
        return MB_OK;
    }
    if ((rc = add_reference(p, s, v, &done)) || done)
        return rc;
    const char *text = pipe_replace(p, s, v, &rc);
    return text ? add_input(p, s, text, v->at) : rc;
}

static int read_inputs(pipeline *p, pipe_step *s, const pipe_node *step) {
    const pipe_node *v = pipe_get(step, "inputs");
    int rc = MB_OK;
    if (v && v->kind == MB_YAML_MAP)
        pipe_complain(&p->document, v->at, "inputs: a list of paths is expected, not a map");
    for (int i = 0; rc == MB_OK && v && v->kind == MB_YAML_LIST && i < v->n; i++)
        rc = read_input(p, s, v->item[i]);
    if (rc == MB_OK && v && v->kind == MB_YAML_SCALAR && !pipe_is_null(v))
        rc = read_input(p, s, v);
    s->n_args = s->n_inputs;
    const int written = !v || v->kind == MB_YAML_MAP ? 0 : v->kind == MB_YAML_LIST ? v->n : !pipe_is_null(v);
    if (written < s->verb->min_args)
        pipe_complain(&p->document, v ? v->at : s->at, "inputs: %s %s needs %d: %s", s->verb->program->name,
                      s->verb->name, s->verb->min_args, s->verb->usage);
    else if (v && s->verb->max_args >= 0 && s->n_args > s->verb->max_args)
        pipe_complain(&p->document, v->at, "inputs: %s %s takes %d, and %d are given: %s", s->verb->program->name,
                      s->verb->name, s->verb->max_args, s->n_args, s->verb->usage);
    return rc;
}

/* What it prints is a result like any other. */
static int add_stdout(pipeline *p, pipe_step *s) {
    char *path = pipe_format(&p->document.pool, "%s/steps/%s/stdout", p->output, s->name);
    return path ? add_file(p, &s->output, &s->n_outputs, path, "stdout", MB_ROLE_OUTPUT, s->at) : no_memory(p);
}

static int fill_step(pipeline *p, pipe_step *s) {
    const pipe_node *step = pipe_get(pipe_get(p->document.root, "steps"), s->given);
    s->batch = p->batch;
    int rc = read_inputs(p, s, step);
    if (rc == MB_OK)
        rc = read_with(p, s, pipe_get(step, "with"));
    if (rc == MB_OK)
        rc = read_defaults(p, s);
    if (rc == MB_OK)
        rc = add_stdout(p, s);
    return rc == MB_OK ? pipe_batch_read(p, pipe_get(step, "batch"), &s->batch) : rc;
}

static int by_name(const void *a, const void *b) {
    const pipe_step *x = *(const pipe_step *const *)a, *y = *(const pipe_step *const *)b;
    return strcmp(x->name, y->name);
}

static int check_names(pipeline *p) {
    const pipe_step **s = mb_calloc((size_t)p->n + 1, sizeof *s);
    if (!s)
        return no_memory(p);
    for (int i = 0; i < p->n; i++)
        s[i] = &p->step[i];
    qsort(s, (size_t)p->n, sizeof *s, by_name);
    for (int i = 1; i < p->n; i++)
        if (strcmp(s[i - 1]->name, s[i]->name) == 0)
            pipe_complain(
                &p->document, s[i]->at,
                "two steps get the name \"%s\"; values of a matrix must differ in their letters and digits, in "
                "their first %d characters",
                s[i]->name, LONGEST_NAME - 1);
    mb_free(s);
    return MB_OK;
}

int pipe_steps_read(pipeline *p) {
    int rc = read_sections(p);
    const pipe_node *steps = pipe_get(p->document.root, "steps");
    if (rc == MB_OK && (!steps || steps->kind != MB_YAML_MAP || steps->n == 0))
        pipe_complain(&p->document, steps ? steps->at : p->document.root->at,
                      "steps: a map from names to steps is expected");
    for (int i = 0; rc == MB_OK && steps && steps->kind == MB_YAML_MAP && i < steps->n; i++)
        rc = make_instances(p, &steps->pair[i]);
    for (int i = 0; rc == MB_OK && i < p->n; i++)
        rc = fill_step(p, &p->step[i]);
    if (rc == MB_OK)
        check_defaults(p);
    if (rc == MB_OK)
        rc = pipe_shards_expand(p);
    return rc == MB_OK ? check_names(p) : rc;
}
