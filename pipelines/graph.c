/* Which step needs which: by files, by "after"; an order to run them in. Refuses two steps that write one file, a step
 * that would overwrite an input from outside, circles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "pipelines/references.h"
#include "pipelines/steps.h"

static int no_memory(pipeline *p) {
    return mb_fail(p->document.e, MB_NOMEM, "out of memory for the graph of %d steps", p->n);
}

typedef struct written { /* an output and the step that writes it */
    const pipe_file *file;
    int step;
} written;

static int by_path(const void *a, const void *b) {
    const written *x = a, *y = b;
    const int order = strcmp(x->file->clean, y->file->clean);
    return order ? order : x->step - y->step;
}

typedef struct linker {
    pipeline *p;
    written *out; /* (n), by path */
    int n;
} linker;

static int collect(linker *k) {
    int n = 0;
    for (int i = 0; i < k->p->n; i++)
        n += k->p->step[i].n_outputs;
    if (!(k->out = mb_calloc((size_t)n + 1, sizeof *k->out)))
        return no_memory(k->p);
    for (int i = 0; i < k->p->n; i++)
        for (int f = 0; f < k->p->step[i].n_outputs; f++)
            k->out[k->n++] = (written){&k->p->step[i].output[f], i};
    qsort(k->out, (size_t)k->n, sizeof *k->out, by_path);
    for (int i = 1; i < k->n; i++)
        if (strcmp(k->out[i - 1].file->clean, k->out[i].file->clean) == 0)
            pipe_complain(&k->p->document, k->out[i].file->at, "%s: %s is written by the step \"%s\" as well",
                          k->out[i].file->what, k->out[i].file->path, k->p->step[k->out[i - 1].step].name);
    return MB_OK;
}

/* Index of an output of exactly this path; -1. */
static int find_exact(const linker *k, const char *path, size_t n) {
    int low = 0, high = k->n - 1;
    while (low <= high) {
        const int middle = (low + high) / 2;
        const char *have = k->out[middle].file->clean;
        int order = strncmp(path, have, n);
        if (order == 0)
            order = have[n] ? -1 : 0;
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle - 1;
        else
            low = middle + 1;
    }
    return -1;
}

/* The step that writes a path: as an output, inside a folder that is one, or beside it (OUT.index.tsv of OUT; files
 * named PREFIX.*). -1: none. */
static int producer(const linker *k, const char *path) {
    for (size_t n = strlen(path); n; n--) {
        if (path[n] && path[n] != '/' && path[n] != '.')
            continue;
        const int i = find_exact(k, path, n);
        if (i < 0)
            continue;
        const mb_role role = k->out[i].file->role;
        if (!path[n] || (path[n] == '/' && role == MB_ROLE_OUTPUT_FOLDER) ||
            (path[n] == '.' && role != MB_ROLE_OUTPUT_FOLDER))
            return k->out[i].step;
    }
    return -1;
}

static int add_need(pipeline *p, pipe_step *s, int i) {
    int at = 0;
    while (at < s->n_needs && s->need[at] < i)
        at++;
    if (at < s->n_needs && s->need[at] == i)
        return MB_OK;
    int *more = pipe_grow(&p->document.pool, s->need, s->n_needs, sizeof *more);
    if (!more)
        return no_memory(p);
    memmove(more + at + 1, more + at, (size_t)(s->n_needs - at) * sizeof *more);
    more[at] = i;
    s->need = more;
    s->n_needs++;
    return MB_OK;
}

static int link_files(const linker *k, int i) {
    pipe_step *s = &k->p->step[i];
    int rc = MB_OK;
    for (int f = 0; rc == MB_OK && f < s->n_inputs; f++) {
        s->input[f].from = producer(k, s->input[f].clean);
        if (s->input[f].from == i)
            pipe_complain(&k->p->document, s->input[f].at, "%s: %s is written by this step itself", s->input[f].what,
                          s->input[f].path);
        else if (s->input[f].from >= 0)
            rc = add_need(k->p, s, s->input[f].from);
    }
    return rc;
}

static int add_after(pipeline *p, int i, const pipe_node *v) {
    pipe_step *s = &p->step[i];
    int rc = MB_OK, found = 0;
    if (v->kind != MB_YAML_SCALAR) {
        pipe_complain(&p->document, v->at, "after: the name of a step is expected");
        return MB_OK;
    }
    for (int k = pipe_step_matching(p, s, v->text, 0); rc == MB_OK && k >= 0;
         k = pipe_step_matching(p, s, v->text, k + 1)) {
        found = 1;
        if (k == i)
            pipe_complain(&p->document, v->at, "after: a step cannot come after itself");
        else
            rc = add_need(p, s, k);
    }
    if (!found)
        pipe_complain(&p->document, v->at, "after: there is no step \"%.100s\"", v->text);
    return rc;
}

static int link_after(pipeline *p, int i) {
    const pipe_node *after = p->step[i].after;
    int rc = MB_OK;
    if (!after || pipe_is_null(after))
        return MB_OK;
    if (after->kind == MB_YAML_MAP)
        pipe_complain(&p->document, after->at, "after: names of steps are expected, not a map");
    if (after->kind == MB_YAML_SCALAR)
        return add_after(p, i, after);
    for (int k = 0; rc == MB_OK && after->kind == MB_YAML_LIST && k < after->n; k++)
        rc = add_after(p, i, after->item[k]);
    return rc;
}

/* A need of a step that could not be sorted either: there is one, or the step could be. */
static int next_left(const pipeline *p, int i, const int *left) {
    int n = 0;
    while (!left[p->step[i].need[n]])
        n++;
    return p->step[i].need[n];
}

/* The steps of a circle, each needed by the one before, as "a -> b -> a". */
static void tell_circle(pipeline *p, const int *left) {
    char words[400];
    size_t at = 0;
    int i = 0;
    while (!left[i])
        i++;
    for (int k = 0; k < p->n; k++) /* after n steps along needs that are left, we are in a circle */
        i = next_left(p, i, left);
    int first = i;
    for (int k = next_left(p, i, left); k != i; k = next_left(p, k, left))
        first = k < first ? k : first;
    i = first;
    do {
        at += (size_t)snprintf(words + at, sizeof words - at, "%s -> ", p->step[i].name);
        i = next_left(p, i, left);
    } while (i != first && at < sizeof words);
    if (at < sizeof words)
        snprintf(words + at, sizeof words - at, "%s", p->step[first].name);
    pipe_complain(&p->document, p->step[first].at, "steps need each other in a circle: %s", words);
}

/* Steps in the order of the file as far as their needs allow (Kahn's algorithm, the least ready index first). */
static int sort_steps(pipeline *p) {
    int *left = mb_calloc((size_t)p->n + 1, sizeof *left), n = 0, moved = 1;
    p->order = pipe_take(&p->document.pool, (size_t)p->n * sizeof *p->order);
    if (!left || !p->order) {
        mb_free(left);
        return no_memory(p);
    }
    for (int i = 0; i < p->n; i++)
        left[i] = 1;
    while (n < p->n && moved) {
        moved = 0;
        for (int i = 0; i < p->n; i++) {
            int ready = left[i];
            for (int k = 0; ready && k < p->step[i].n_needs; k++)
                ready = !left[p->step[i].need[k]];
            if (ready) {
                left[i] = 0;
                p->order[n++] = i;
                moved = 1;
            }
        }
    }
    if (n < p->n)
        tell_circle(p, left);
    mb_free(left);
    return MB_OK;
}

int pipe_graph_link(pipeline *p) {
    linker k = {.p = p};
    int rc = collect(&k);
    for (int i = 0; rc == MB_OK && i < p->n; i++)
        rc = link_files(&k, i);
    for (int i = 0; rc == MB_OK && i < p->n; i++)
        rc = link_after(p, i);
    if (rc == MB_OK)
        rc = sort_steps(p);
    mb_free(k.out);
    return rc;
}
