/* See pipeline.h: opening and closing, and what a checked pipeline is asked. */
#include "pipelines/pipeline.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "pipelines/steps.h"

static int understand(pipeline *p) {
    int rc = pipe_steps_read(p);
    if (rc == MB_OK && p->document.errors == 0) /* without all steps, what is missing would be told as an error too */
        rc = pipe_graph_link(p);
    const int told = pipe_document_end(&p->document);
    return rc == MB_OK ? told : rc;
}

int pipeline_open(pipeline *p, const pipe_open *o, mb_err *e) {
    const pipe_programs programs = p->programs;
    *p = (pipeline){.path = o->path, .programs = programs};
    p->programs.folder = o->programs;
    int rc = pipe_document_load(&p->document, o->path, o->sets, o->n_sets, e);
    return rc == MB_OK ? understand(p) : rc;
}

int pipeline_parse(pipeline *p, const char *name, const char *text, size_t n, mb_err *e) {
    const pipe_programs programs = p->programs;
    *p = (pipeline){.path = name, .programs = programs};
    int rc = pipe_document_parse(&p->document, name, text, n, e);
    return rc == MB_OK ? understand(p) : rc;
}

void pipeline_free(pipeline *p) {
    pipe_document_free(&p->document);
    pipe_programs_free(&p->programs);
    *p = (pipeline){0};
}

int pipeline_check_inputs(pipeline *p, mb_err *e) {
    p->document.e = e;
    for (int i = 0; i < p->n; i++)
        for (int f = 0; f < p->step[i].n_inputs; f++) {
            const pipe_file *in = &p->step[i].input[f];
            if (in->from < 0 && in->role == MB_ROLE_INPUT && !mb_file_exists(in->path) && !mb_dir_exists(in->path))
                pipe_complain(&p->document, in->at, "%s: %s is not there, and no step writes it", in->what, in->path);
        }
    return pipe_document_end(&p->document);
}

int pipe_step_is(const pipe_step *s, const char *name) {
    return strcmp(name, s->name) == 0 || strcmp(name, s->given) == 0 || (s->whole && strcmp(name, s->whole) == 0);
}

const char *pipe_step_value(const pipe_step *s, const char *key) {
    for (int i = 0; i < s->n_values; i++)
        if (strcmp(s->value[i].option->key, key) == 0 && s->value[i].text)
            return s->value[i].text;
    const mb_option *o = pipe_option_find(s->verb, key);
    return o ? o->def : NULL;
}

char *pipe_step_path(const pipeline *p, const pipe_step *s, const char *name) {
    return mb_asprintf("%s/steps/%s%s%s", p->output, s->name, name ? "/" : "", name ? name : "");
}

static void put_value(pipe_text *t, const mb_option *o, const char *text) {
    if (!text)
        pipe_text_add(t, "null");
    else if (o->type == MB_OPT_STRING || o->type == MB_OPT_CHOICE)
        pipe_text_yaml(t, text);
    else
        pipe_text_add(t, "%s", text);
}

void pipe_step_config(const pipe_step *s, pipe_text *t) {
    pipe_text_add(t, "version: 1\ncommand: %s\n", s->verb->name);
    if (s->n_args > 0)
        pipe_text_add(t, "inputs:\n");
    for (int i = 0; i < s->n_args; i++) {
        pipe_text_add(t, "  - ");
        pipe_text_yaml(t, s->input[i].path);
        pipe_text_add(t, "\n");
    }
    for (int i = 0; i < s->n_values; i++) {
        pipe_text_add(t, "%s: ", s->value[i].option->key);
        put_value(t, s->value[i].option, s->value[i].text);
        pipe_text_add(t, "\n");
    }
}

static void put_step(const pipeline *p, const pipe_step *s, pipe_text *t) {
    pipe_text_add(t, "  ");
    pipe_text_yaml(t, s->name);
    pipe_text_add(t, ":\n    run: %s %s\n    inputs: [", s->verb->program->name, s->verb->name);
    for (int i = 0; i < s->n_args; i++) {
        pipe_text_add(t, i ? ", " : "");
        pipe_text_yaml(t, s->input[i].path);
    }
    pipe_text_add(t, "]\n    after: [");
    for (int i = 0; i < s->n_needs; i++) {
        pipe_text_add(t, i ? ", " : "");
        pipe_text_yaml(t, p->step[s->need[i]].name);
    }
    pipe_text_add(t, "]\n    with:%s\n", s->n_values ? "" : " {}");
    for (int i = 0; i < s->n_values; i++) {
        pipe_text_add(t, "      %s: ", s->value[i].option->key);
        put_value(t, s->value[i].option, s->value[i].text);
        pipe_text_add(t, "\n");
    }
}

void pipeline_resolved(const pipeline *p, pipe_text *t) {
    pipe_text_add(
        t,
        "# %s, resolved: extensions, --set, variables, matrices and shards written out.\nversion: 1\nname: ", p->path);
    pipe_text_yaml(t, p->name);
    pipe_text_add(t, "\noutput: ");
    pipe_text_yaml(t, p->output);
    pipe_text_add(t, "\nrun: {max_minutes: %.17g, parallel: %lld, keep_going: %s}\nsteps:\n", p->settings.max_minutes,
                  (long long)p->settings.parallel, p->settings.keep_going ? "true" : "false");
    for (int i = 0; i < p->n; i++)
        put_step(p, &p->step[i], t);
}

/* Where the last component of what is kept begins, when it is one that ".." takes back; NULL when it is not. */
static char *last_component(char *clean, size_t n) {
    char *slash = n ? memrchr(clean, '/', n) : NULL, *last = slash ? slash + 1 : clean;
    const size_t length = (size_t)(clean + n - last);
    return length == 0 || (length == 2 && memcmp(last, "..", 2) == 0) ? NULL : last;
}

char *pipe_clean_path(pipe_pool *pool, const char *path) {
    char *clean = pipe_take(pool, strlen(path) + 2);
    if (!clean)
        return NULL;
    const size_t root = *path == '/';
    size_t n = root;
    clean[0] = '/';
    while (*path) {
        const size_t length = strcspn(path, "/");
        char *last = last_component(clean + root, n - root);
        if (length == 2 && memcmp(path, "..", 2) == 0 && last) {
            n = (size_t)(last - clean);
            n -= n > root; /* the slash before it */
        } else if (length == 2 && memcmp(path, "..", 2) == 0 && root) {
            /* the root is its own parent */
        } else if (length && !(length == 1 && *path == '.')) {
            if (n > root)
                clean[n++] = '/';
            memcpy(clean + n, path, length);
            n += length;
        }
        path += length + (path[length] == '/');
    }
    if (n == 0)
        clean[n++] = '.';
    clean[n] = '\0';
    return clean;
}
