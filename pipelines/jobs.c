/* See jobs.h: which jobs there are. */
#include "pipelines/jobs.h"

#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "pipelines/shards.h"

typedef struct maker {
    pipe_jobs *j;
    const pipeline *p;
    const char *will_run;
    int *job_of; /* (steps): the job that does a step, -1 none */
    mb_err *e;
} maker;

static int no_memory(maker *m) {
    return mb_fail(m->e, MB_NOMEM, "out of memory for the jobs");
}

static int find_job(const pipe_jobs *j, const char *name) {
    for (int i = 0; i < j->n; i++)
        if (strcmp(j->job[i].name, name) == 0)
            return i;
    return -1;
}

/* *at: the job of this name, made when it is not there. */
static int get_job(maker *m, const char *name, const char *only, const pipe_batch *batch, int *at) {
    if (!name)
        return no_memory(m);
    if ((*at = find_job(m->j, name)) >= 0) /* again, or "a-parts" of the step "a" beside a step "a-parts" */
        return only && strcmp(m->j->job[*at].only, only) == 0
                   ? MB_OK
                   : mb_fail(m->e, MB_USAGE, "two jobs would be named %s; give the step another name", name);
    pipe_job *more = pipe_grow(&m->j->pool, m->j->job, m->j->n, sizeof *more);
    if (!more)
        return no_memory(m);
    m->j->job = more;
    *at = m->j->n++;
    more[*at] = (pipe_job){.name = name, .only = only, .batch = batch};
    return MB_OK;
}

static int add_need(maker *m, pipe_job *job, int i) {
    int at = 0;
    while (at < job->n_needs && job->need[at] < i)
        at++;
    if (at < job->n_needs && job->need[at] == i)
        return MB_OK;
    int *more = pipe_grow(&m->j->pool, job->need, job->n_needs, sizeof *more);
    if (!more)
        return no_memory(m);
    memmove(more + at + 1, more + at, (size_t)(job->n_needs - at) * sizeof *more);
    more[at] = i;
    job->need = more;
    job->n_needs++;
    return MB_OK;
}

static int add_step(maker *m, int i) {
    const pipe_step *s = &m->p->step[i];
    const char *name = s->shard >= 0 ? pipe_format(&m->j->pool, "%s-parts", s->whole) : s->whole ? s->whole : s->name;
    int at;
    int rc = get_job(m, name, s->whole ? s->whole : s->name, &s->batch, &at);
    if (rc != MB_OK)
        return rc;
    pipe_job *job = &m->j->job[at];
    m->job_of[i] = at;
    if (s->shard >= 0) {
        job->parts = s->shards;
        job->tasks = s->shards < PIPE_MOST_TASKS ? s->shards : PIPE_MOST_TASKS;
    }
    for (int k = 0; rc == MB_OK && k < s->n_needs; k++) {
        const int before = m->job_of[s->need[k]];
        if (before >= 0 && before != at)
            rc = add_need(m, job, before);
    }
    return rc;
}

/* "0-3,7": the tasks of an array that have something to do. */
static int list_tasks(maker *m, int at) {
    pipe_job *job = &m->j->job[at];
    char *wanted = mb_calloc((size_t)job->tasks + 1, 1);
    pipe_text t = {0};
    if (!wanted)
        return no_memory(m);
    for (int i = 0; i < m->p->n; i++)
        if (m->job_of[i] == at)
            wanted[m->p->step[i].shard % job->tasks] = 1;
    for (int i = 0, from; i < job->tasks; i++) {
        if (!wanted[i])
            continue;
        for (from = i; i + 1 < job->tasks && wanted[i + 1];)
            i++;
        pipe_text_add(&t, "%s%d", t.n ? "," : "", from);
        if (i > from)
            pipe_text_add(&t, "-%d", i);
    }
    int rc = pipe_text_end(&t, m->e);
    if (rc == MB_OK && !(job->list = pipe_copy(&m->j->pool, t.data ? t.data : "")))
        rc = no_memory(m);
    pipe_text_free(&t);
    mb_free(wanted);
    return rc;
}

int pipe_jobs_make(pipe_jobs *j, const pipeline *p, const char *will_run, int whole, mb_err *e) {
    maker m = {.j = j, .p = p, .will_run = will_run, .e = e};
    *j = (pipe_jobs){0};
    int rc = MB_OK, at, any = 0;
    for (int i = 0; i < p->n; i++)
        any |= will_run[i];
    if (whole) {
        if (any)
            rc = get_job(&m, pipe_copy(&j->pool, "pipeline"), NULL, &p->batch, &at);
    } else if ((m.job_of = mb_calloc((size_t)p->n + 1, sizeof *m.job_of))) {
        for (int i = 0; i < p->n; i++)
            m.job_of[i] = -1;
        for (int k = 0; rc == MB_OK && k < p->n; k++)
            if (will_run[p->order[k]])
                rc = add_step(&m, p->order[k]);
        for (int i = 0; rc == MB_OK && i < j->n; i++)
            if (j->job[i].tasks)
                rc = list_tasks(&m, i);
    } else {
        rc = no_memory(&m);
    }
    mb_free(m.job_of);
    if (rc != MB_OK)
        pipe_jobs_free(j);
    return rc;
}

void pipe_jobs_free(pipe_jobs *j) {
    pipe_pool_free(&j->pool);
    *j = (pipe_jobs){0};
}
