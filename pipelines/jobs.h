/* Batch jobs of a pipeline: which there are, the scripts they run, and the script that hands them in. Slurm, PBS, LSF.
 *
 * A job does one step by "seqmamba run FILE --only STEP"; a step in parts is an array of jobs and one that gathers.
 * Jobs wait for those whose results they need. Everything is text, so that it can be read, kept and handed in by hand.
 */
#ifndef PIPE_JOBS_H
#define PIPE_JOBS_H
#include "pipelines/pipeline.h"

enum { PIPE_SLURM, PIPE_PBS, PIPE_LSF }; /* as pipe_batch.system */
enum { PIPE_MOST_TASKS = 1000 };         /* of an array; more parts than that share tasks */

typedef struct pipe_job {
    const char *name; /* of the job and its script */
    const char *only; /* what --only says; NULL: the whole pipeline */
    const pipe_batch *batch;
    int tasks;        /* > 0: an array of so many */
    int parts;        /* that they share */
    const char *list; /* of the tasks that are needed, as in "0-3,7" */
    int *need;        /* (n_needs) jobs before it, ascending */
    int n_needs;
} pipe_job;

typedef struct pipe_jobs {
    pipe_pool pool;
    pipe_job *job; /* (n), each after those it needs */
    int n;
} pipe_jobs;

/* will_run: (p->n) the steps that are not up to date; the others get no job. whole: one job for all. */
int pipe_jobs_make(pipe_jobs *j, const pipeline *p, const char *will_run, int whole, mb_err *e) MB_MUST_USE;
void pipe_jobs_free(pipe_jobs *j);

typedef struct pipe_call { /* how the jobs call back */
    const char *program;   /* path of seqmamba */
    const char *folder;    /* where it is called */
    const char *path;      /* of the pipeline, from there */
    const char *output;    /* of the pipeline, from there */
    const char *programs;  /* --programs, or NULL */
    const mb_set *sets;
    int n_sets, system;
} pipe_call;

/* The script of one job: directives of the batch system, then the work, then what happens when it was stopped. */
void pipe_job_script(const pipe_jobs *j, int i, const pipe_call *c, pipe_text *t);
/* The script that hands them all in, in order, and prints "NAME\tID" for each. */
void pipe_submit_script(const pipe_jobs *j, const pipe_call *c, pipe_text *t);
/* As one word of a shell. */
void pipe_text_shell(pipe_text *t, const char *s);
#endif
