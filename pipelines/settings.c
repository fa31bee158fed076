/* The sections "run" and "batch" of a pipeline: tables of options over structs, read like a verb's. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/option_value.h"
#include "pipelines/steps.h"

#define R pipe_run_settings
const mb_option pipe_run_options[] = {
    {.key = "max_minutes",
     .type = MB_OPT_FLOAT,
     .offset = offsetof(R, max_minutes),
     .def = "0",
     .max = 1e9,
     .help = "Ask the steps at work to stop, and end with exit code 75, after so long; 0: never."},
    {.key = "parallel",
     .type = MB_OPT_INT,
     .offset = offsetof(R, parallel),
     .def = "1",
     .min = 1,
     .max = 1024,
     .help = "Steps that may run side by side; they share the threads."},
    {.key = "keep_going",
     .type = MB_OPT_BOOL,
     .offset = offsetof(R, keep_going),
     .def = "false",
     .help = "When a step fails, go on with those that do not depend on it."},
    {0}};
#undef R

#define B pipe_batch
const mb_option pipe_batch_options[] = {
    {.key = "system",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(B, system),
     .def = "slurm",
     .choices = "slurm|pbs|lsf",
     .help = "Whose scripts `seqmamba submit` writes."},
    {.key = "partition",
     .type = MB_OPT_STRING,
     .offset = offsetof(B, partition),
     .help = "Partition (Slurm) or queue (PBS, LSF)."},
    {.key = "account",
     .type = MB_OPT_STRING,
     .offset = offsetof(B, account),
     .help = "Account or project that is charged."},
    {.key = "qos", .type = MB_OPT_STRING, .offset = offsetof(B, qos), .help = "Quality of service (Slurm)."},
    {.key = "minutes",
     .type = MB_OPT_INT,
     .offset = offsetof(B, minutes),
     .def = "60",
     .min = 1,
     .max = 1e7,
     .help = "Time limit of a job. What is not done by then goes on in the next."},
    {.key = "cpus",
     .type = MB_OPT_INT,
     .offset = offsetof(B, cpus),
     .def = "1",
     .min = 1,
     .max = 4096,
     .help = "Processors of a job."},
    {.key = "memory",
     .type = MB_OPT_BYTES,
     .offset = offsetof(B, memory),
     .def = "0",
     .min = 0,
     .max = -1,
     .help = "Memory of a job, such as 8G; 0: what the site gives."},
    {.key = "gpus",
     .type = MB_OPT_INT,
     .offset = offsetof(B, gpus),
     .def = "0",
     .min = 0,
     .max = 64,
     .help = "GPUs of a job."},
    {.key = "signal",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(B, signal),
     .def = "USR2",
     .choices = "USR2|USR1|TERM|XCPU",
     .help = "What the scheduler sends before the limit (Slurm)."},
    {.key = "signal_seconds",
     .type = MB_OPT_INT,
     .offset = offsetof(B, signal_seconds),
     .def = "120",
     .min = 10,
     .max = 65535,
     .help = "How long before the limit; Slurm may be a minute early."},
    {.key = "requeue",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(B, requeue),
     .def = "self",
     .choices = "self|exit_code|none",
     .help = "How a stopped job (exit code 75) comes back. self: its script asks for it. exit_code: the site requeues "
             "jobs that end with 75. none: by hand."},
    {.key = "max_restarts",
     .type = MB_OPT_INT,
     .offset = offsetof(B, max_restarts),
     .def = "20",
     .min = 0,
     .max = 100000,
     .help = "Most times that a job comes back."},
    {.key = "array_limit",
     .type = MB_OPT_INT,
     .offset = offsetof(B, array_limit),
     .def = "0",
     .min = 0,
     .max = 1e6,
     .help = "Tasks of an array that may run at a time; 0: as the site says."},
    {0}};
#undef B

static const mb_option *find(const mb_option *table, const char *key) {
    for (; table->key; table++)
        if (strcmp(table->key, key) == 0)
            return table;
    return NULL;
}

static void unknown(pipeline *p, const pipe_pair *pair, const char *section, const mb_option *table,
                    const char *const *other, int n_other) {
    const char *name[64];
    int n = 0;
    for (; n < 48 && table[n].key; n++)
        name[n] = table[n].key;
    for (int i = 0; i < n_other && n < 64; i++)
        name[n++] = other[i];
    const char *near = mb_suggest(pair->key, name, n);
    pipe_complain(&p->document, pair->at, "unknown key \"%.100s\" in \"%s\"%s%s%s", pair->key, section,
                  near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int is_other(const char *key, const char *const *other, int n) {
    for (int i = 0; i < n; i++)
        if (strcmp(key, other[i]) == 0)
            return 1;
    return 0;
}

static int read_one(pipeline *p, const mb_option *o, const pipe_node *v, void *values) {
    char why[MB_OPTIONS_WHY];
    void *value = (char *)values + o->offset;
    int rc = MB_OK;
    if (v->kind != MB_YAML_SCALAR) {
        pipe_complain(&p->document, v->at, "%s: one value is expected, not %s", o->key, pipe_kind_words(v));
        return MB_OK;
    }
    if (pipe_is_null(v)) {
        if (o->type == MB_OPT_STRING)
            *(char **)value = NULL;
        else
            rc = mb_value_reset(o, value);
        return rc;
    }
    const char *text = pipe_replace(p, NULL, v, &rc);
    if (!text)
        return rc;
    if (o->type == MB_OPT_STRING) {
        *(char **)value = (char *)(uintptr_t)text;
        if (strpbrk(text, "\n\r"))
            pipe_complain(&p->document, v->at, "%s: one line is expected", o->key);
        return MB_OK;
    }
    rc = mb_value_parse(o, text, value, why);
    if (rc == MB_USAGE)
        pipe_complain(&p->document, v->at, "%s: %s", o->key, why);
    return rc == MB_NOMEM ? rc : MB_OK;
}

int pipe_settings_read(pipeline *p, const pipe_node *map, const char *section, const mb_option *table, void *values,
                       const char *const *other, int n_other) {
    int rc = MB_OK;
    if (map->kind != MB_YAML_MAP) {
        if (!pipe_is_null(map))
            pipe_complain(&p->document, map->at, "%s: a map is expected, not %s", section, pipe_kind_words(map));
        return MB_OK;
    }
    for (int i = 0; rc == MB_OK && i < map->n; i++) {
        const mb_option *o = find(table, map->pair[i].key);
        if (o)
            rc = read_one(p, o, map->pair[i].value, values);
        else if (!is_other(map->pair[i].key, other, n_other))
            unknown(p, &map->pair[i], section, table, other, n_other);
    }
    return rc == MB_NOMEM ? mb_fail(p->document.e, rc, "out of memory for settings") : rc;
}

/* A list of lines that go into a script. */
static int read_lines(pipeline *p, const pipe_node *list, const char *key, const char ***out, int *n) {
    int rc = MB_OK;
    if (!list)
        return MB_OK;
    *n = 0;
    if (list->kind != MB_YAML_LIST) {
        if (!pipe_is_null(list))
            pipe_complain(&p->document, list->at, "%s: a list of lines is expected", key);
        return MB_OK;
    }
    const char **line = pipe_take(&p->document.pool, (size_t)list->n * sizeof *line);
    if (!line)
        return mb_fail(p->document.e, MB_NOMEM, "out of memory for settings");
    for (int i = 0; i < list->n; i++) {
        const pipe_node *v = list->item[i];
        const char *text = v->kind == MB_YAML_SCALAR ? pipe_replace(p, NULL, v, &rc) : NULL;
        if (rc != MB_OK)
            return rc;
        if (v->kind != MB_YAML_SCALAR || (text && (!*text || strpbrk(text, "\n\r"))))
            pipe_complain(&p->document, v->at, "%s: one line of text is expected", key);
        else if (text)
            line[(*n)++] = text;
    }
    *out = line;
    return MB_OK;
}

int pipe_batch_read(pipeline *p, const pipe_node *map, pipe_batch *b) {
    static const char *const OTHER[] = {"extra", "setup"};
    if (!map)
        return MB_OK;
    int rc = pipe_settings_read(p, map, "batch", pipe_batch_options, b, OTHER, 2);
    if (rc == MB_OK)
        rc = read_lines(p, pipe_get(map, "extra"), "extra", &b->extra, &b->n_extra);
    return rc == MB_OK ? read_lines(p, pipe_get(map, "setup"), "setup", &b->setup, &b->n_setup) : rc;
}
