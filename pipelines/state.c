/* See state.h. A record that cannot be read counts as none, and is told. */
#include "pipelines/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/option_value.h"

const char *const pipe_status_words[] = {"up to date", "new", "out of date", "interrupted", "changed", "waits"};

char *pipe_time_text(double when, char *out) {
    const time_t t = (time_t)when;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(out, 32, "unknown");
    return out;
}

/* ---- basis ----------------------------------------------------------------------------------------------------------
 */

static int no_memory(mb_err *e, const pipe_step *s) {
    return mb_fail(e, MB_NOMEM, "out of memory for the record of %s", s->name);
}

/* The value that holds, as the table writes it: 1e-3 and 0.001 are one. NULL: unset, or no memory (*rc). */
static const char *effective(pipe_basis *b, const pipe_step *s, const mb_option *o, int *rc) {
    char why[MB_OPTIONS_WHY], *words = NULL;
    int64_t number = 0;
    const char *text = o->def;
    *rc = MB_OK;
    for (int i = 0; i < s->n_values; i++)
        if (s->value[i].option == o && s->value[i].text)
            text = s->value[i].text;
    if (!text)
        return NULL;
    if (o->type != MB_OPT_STRING && mb_value_parse(o, text, &number, why) == MB_OK)
        *rc = mb_value_format(o, &number, &words);
    const char *copy = *rc == MB_OK ? pipe_copy(&b->pool, words ? words : text) : NULL;
    mb_free(words);
    if (!copy)
        *rc = MB_NOMEM;
    return copy;
}

int pipe_basis_make(pipe_basis *b, const pipe_step *s, pipe_digests *d, mb_err *e) {
    *b = (pipe_basis){.program = s->verb->program->name, .version = s->verb->program->version, .verb = s->verb->name};
    b->key = pipe_take(&b->pool, (size_t)s->verb->n * sizeof *b->key);
    b->text = pipe_take(&b->pool, (size_t)s->verb->n * sizeof *b->text);
    b->path = pipe_take(&b->pool, (size_t)s->n_inputs * sizeof *b->path);
    b->sha256 = pipe_take(&b->pool, (size_t)s->n_inputs * sizeof *b->sha256);
    int rc = b->key && b->text && b->path && b->sha256 ? MB_OK : no_memory(e, s);
    for (int i = 0; rc == MB_OK && i < s->verb->n; i++) {
        const mb_option *o = &s->verb->option[i];
        if (o->role == MB_ROLE_MACHINE)
            continue;
        b->key[b->n_options] = o->key;
        b->text[b->n_options++] = effective(b, s, o, &rc);
        if (rc != MB_OK)
            rc = no_memory(e, s);
    }
    for (int i = 0; rc == MB_OK && i < s->n_inputs; i++) {
        char hex[65];
        b->path[i] = s->input[i].path;
        rc = pipe_digest_input(d, &s->input[i], hex, e);
        if (rc == MB_OK && !(b->sha256[b->n_inputs++] = pipe_copy(&b->pool, hex)))
            rc = no_memory(e, s);
    }
    if (rc != MB_OK)
        pipe_basis_free(b);
    return rc;
}

void pipe_basis_free(pipe_basis *b) {
    pipe_pool_free(&b->pool);
    *b = (pipe_basis){0};
}

/* ---- records on disk ------------------------------------------------------------------------------------------------
 */

static void put_basis(pipe_text *t, const pipe_step *s, const pipe_basis *b) {
    pipe_text_add(t, "{\"version\": 1,\n \"step\": ");
    pipe_text_json(t, s->name);
    pipe_text_add(t, ",\n \"program\": ");
    pipe_text_json(t, b->program);
    pipe_text_add(t, ",\n \"program_version\": ");
    pipe_text_json(t, b->version);
    pipe_text_add(t, ",\n \"build\": ");
    pipe_text_json(t, s->verb->program->build);
    pipe_text_add(t, ",\n \"verb\": ");
    pipe_text_json(t, b->verb);
    pipe_text_add(t, ",\n \"options\": {");
    for (int i = 0; i < b->n_options; i++) {
        pipe_text_add(t, i ? ", " : "");
        pipe_text_json(t, b->key[i]);
        pipe_text_add(t, ": ");
        pipe_text_json(t, b->text[i]);
    }
    pipe_text_add(t, "},\n \"inputs\": [");
    for (int i = 0; i < b->n_inputs; i++) {
        pipe_text_add(t, "%s{\"what\": ", i ? ",\n  " : "\n  ");
        pipe_text_json(t, s->input[i].what);
        pipe_text_add(t, ", \"path\": ");
        pipe_text_json(t, b->path[i]);
        pipe_text_add(t, ", \"sha256\": \"%s\"}", b->sha256[i]);
    }
    pipe_text_add(t, "]");
}

static int step_file(char **path, const pipeline *p, const pipe_step *s, const char *name, mb_err *e) {
    *path = pipe_step_path(p, s, name);
    return *path ? MB_OK : no_memory(e, s);
}

static int write_record(const pipeline *p, const pipe_step *s, const char *name, const pipe_text *t, mb_err *e) {
    char *path;
    int rc = step_file(&path, p, s, name, e);
    if (rc == MB_OK)
        rc = pipe_text_write(t, path, e);
    mb_free(path);
    return rc;
}

static int remove_record(const pipeline *p, const pipe_step *s, const char *name, mb_err *e) {
    char *path;
    int rc = step_file(&path, p, s, name, e);
    if (rc == MB_OK && unlink(path) && errno != ENOENT)
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be removed", path);
    mb_free(path);
    return rc;
}

int pipe_state_begin(const pipeline *p, const pipe_step *s, const pipe_basis *b, mb_err *e) {
    pipe_text t = {0};
    put_basis(&t, s, b);
    pipe_text_add(&t, "}\n");
    int rc = write_record(p, s, "started.json", &t, e);
    if (rc == MB_OK)
        rc = remove_record(p, s, "done.json", e);
    pipe_text_free(&t);
    return rc;
}

static void put_usage(pipe_text *t, const pipe_usage *u) {
    char from[32], to[32];
    pipe_text_add(t,
                  ",\n \"started\": \"%s\", \"ended\": \"%s\", \"seconds\": %.3f, \"cpu_seconds\": %.3f, "
                  "\"peak_memory_bytes\": %" PRId64 ", \"attempts\": %d,\n \"host\": ",
                  pipe_time_text(u->started, from), pipe_time_text(u->ended, to), u->seconds, u->cpu_seconds,
                  u->peak_memory, u->attempts);
    pipe_text_json(t, u->host);
    pipe_text_add(t, ", \"job\": ");
    pipe_text_json(t, u->job);
}

int pipe_state_finish(const pipeline *p, const pipe_step *s, const pipe_basis *b, pipe_digests *d, const pipe_usage *u,
                      mb_err *e) {
    pipe_pool pool = {0};
    pipe_text t = {0};
    pipe_made *made = NULL;
    int n = 0, rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < s->n_outputs; i++)
        rc = pipe_digest_output(d, &s->output[i], &pool, &made, &n, e);
    if (rc == MB_OK) {
        put_basis(&t, s, b);
        put_usage(&t, u);
        pipe_text_add(&t, ",\n \"outputs\": [");
        for (int i = 0; i < n; i++) {
            pipe_text_add(&t, "%s{\"what\": ", i ? ",\n  " : "\n  ");
            pipe_text_json(&t, made[i].what);
            pipe_text_add(&t, ", \"path\": ");
            pipe_text_json(&t, made[i].path);
            pipe_text_add(&t, ", \"bytes\": %" PRId64 ", \"sha256\": \"%s\"}", made[i].bytes, made[i].sha256);
        }
        pipe_text_add(&t, "]}\n");
        rc = write_record(p, s, "done.json", &t, e);
    }
    if (rc == MB_OK)
        rc = remove_record(p, s, "started.json", e);
    pipe_text_free(&t);
    pipe_pool_free(&pool);
    return rc;
}

int pipe_record_read(pipe_record *r, const pipeline *p, const pipe_step *s, const char *name, mb_err *e) {
    char *path;
    mb_err why = {0};
    *r = (pipe_record){0};
    int rc = step_file(&path, p, s, name, e);
    if (rc != MB_OK)
        return rc;
    if ((r->found = mb_file_exists(path))) {
        rc = mb_yaml_read_raw(&r->json, path, &why);
        if (rc == MB_OK && mb_yaml_end_errors(r->json, &why) == MB_OK && mb_yaml_root(r->json) &&
            mb_yaml_root(r->json)->kind == MB_YAML_MAP)
            r->root = mb_yaml_root(r->json);
        rc = rc == MB_NOMEM ? mb_fail(e, rc, "%s", why.text) : MB_OK;
    }
    mb_free(path);
    return rc;
}

const char *pipe_record_text(const mb_yaml_node *map, const char *key) {
    const mb_yaml_node *v = mb_yaml_get(map, key);
    return v && v->kind == MB_YAML_SCALAR ? v->text : "";
}

void pipe_record_free(pipe_record *r) {
    mb_yaml_free(r->json);
    *r = (pipe_record){0};
}

/* ---- judgement ------------------------------------------------------------------------------------------------------
 */

#define SAY(v, ...) snprintf((v)->why, sizeof(v)->why, __VA_ARGS__)

static int same_text(const char *a, const mb_yaml_node *b) {
    if (!b || b->kind != MB_YAML_SCALAR)
        return 0;
    return a ? b->quoted && strcmp(a, b->text) == 0 : mb_yaml_is_null(b);
}

/* Whether a record was made from this basis; says what differs. */
static int agrees(const pipe_basis *b, const mb_yaml_node *record, pipe_verdict *v) {
    const mb_yaml_node *options = mb_yaml_get(record, "options"), *inputs = mb_yaml_get(record, "inputs");
    if (strcmp(pipe_record_text(record, "program"), b->program) != 0 ||
        strcmp(pipe_record_text(record, "verb"), b->verb) != 0)
        return SAY(v, "was \"%s %s\"", pipe_record_text(record, "program"), pipe_record_text(record, "verb")), 0;
    if (strcmp(pipe_record_text(record, "program_version"), b->version) != 0)
        return SAY(v, "%s was %s, is %s", b->program, pipe_record_text(record, "program_version"), b->version), 0;
    for (int i = 0; i < b->n_options; i++) {
        const mb_yaml_node *was = mb_yaml_get(options, b->key[i]);
        if (!same_text(b->text[i], was))
            return SAY(v, "%s was %.100s, is %.100s", b->key[i],
                       was && was->kind == MB_YAML_SCALAR && !mb_yaml_is_null(was) ? was->text : "unset",
                       b->text[i] ? b->text[i] : "unset"),
                   0;
    }
    if (!inputs || inputs->kind != MB_YAML_LIST || inputs->count != b->n_inputs)
        return SAY(v, "its inputs were others"), 0;
    for (int i = 0; i < b->n_inputs; i++) {
        if (strcmp(pipe_record_text(inputs->child[i], "path"), b->path[i]) != 0)
            return SAY(v, "an input was %.150s, is %.150s", pipe_record_text(inputs->child[i], "path"), b->path[i]), 0;
        if (strcmp(pipe_record_text(inputs->child[i], "sha256"), b->sha256[i]) != 0)
            return SAY(v, "%.300s changed", b->path[i]), 0;
    }
    return 1;
}

/* Whether all that a step made is as it was. */
static int is_intact(const mb_yaml_node *record, pipe_digests *d, pipe_verdict *v, int *rc, mb_err *e) {
    const mb_yaml_node *outputs = mb_yaml_get(record, "outputs");
    *rc = MB_OK;
    if (!outputs || outputs->kind != MB_YAML_LIST)
        return SAY(v, "its record is damaged"), 0;
    for (int i = 0; i < outputs->count; i++) {
        char hex[65];
        int64_t bytes;
        mb_err why = {0};
        const char *path = pipe_record_text(outputs->child[i], "path");
        *rc = pipe_digest_file(d, path, hex, &bytes, &why);
        if (*rc == MB_NOMEM)
            return mb_fail(e, *rc, "%s", why.text), 0;
        if (*rc != MB_OK || strcmp(hex, pipe_record_text(outputs->child[i], "sha256")) != 0) {
            SAY(v, "%.300s %s", path, *rc == MB_NOTFOUND ? "is not there any more" : "is not as it was made");
            *rc = MB_OK;
            return 0;
        }
    }
    return 1;
}

/* Inputs whose steps will not run again, and which are not there: the basis cannot be known yet. */
static const pipe_step *missing(const pipeline *p, const pipe_step *s) {
    for (int i = 0; i < s->n_inputs; i++)
        if (s->input[i].from >= 0 && !mb_file_exists(s->input[i].path) && !mb_dir_exists(s->input[i].path))
            return &p->step[s->input[i].from];
    return NULL;
}

static int judge_with(const pipeline *p, const pipe_step *s, pipe_digests *d, const pipe_basis *b, pipe_verdict *v,
                      mb_err *e) {
    pipe_record done, started = {0};
    int rc = pipe_record_read(&done, p, s, "done.json", e);
    if (rc == MB_OK && done.root) {
        v->status = PIPE_STALE;
        if (agrees(b, done.root, v) && is_intact(done.root, d, v, &rc, e))
            v->status = PIPE_UP_TO_DATE;
    } else if (rc == MB_OK && (rc = pipe_record_read(&started, p, s, "started.json", e)) == MB_OK) {
        v->status = !started.root ? PIPE_NEW : agrees(b, started.root, v) ? PIPE_INTERRUPTED : PIPE_CHANGED;
        if (!started.root)
            SAY(v, "%s", done.found ? "its record cannot be read" : "has not run yet");
        else if (v->status == PIPE_INTERRUPTED)
            SAY(v, "was begun and did not end");
    }
    pipe_record_free(&done);
    pipe_record_free(&started);
    return rc;
}

int pipe_judge(const pipeline *p, int i, pipe_digests *d, const char *will_run, pipe_verdict *v, mb_err *e) {
    const pipe_step *s = &p->step[i];
    pipe_basis b;
    *v = (pipe_verdict){.status = PIPE_WAITS};
    for (int k = 0; will_run && k < s->n_needs; k++)
        if (will_run[s->need[k]]) {
            SAY(v, "for %s", p->step[s->need[k]].name);
            return MB_OK;
        }
    const pipe_step *first = missing(p, s);
    if (first) {
        v->status = PIPE_NEW;
        SAY(v, "what %s makes is not there", first->name);
        return MB_OK;
    }
    int rc = pipe_basis_make(&b, s, d, e);
    if (rc == MB_OK)
        rc = judge_with(p, s, d, &b, v, e);
    pipe_basis_free(&b);
    return rc;
}
