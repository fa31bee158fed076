/* Running a pipeline on this machine: what is not up to date, in order, as processes of the front ends. */
#ifndef PIPE_EXECUTE_H
#define PIPE_EXECUTE_H
#include "pipelines/lock.h"
#include "pipelines/state.h"

typedef struct pipe_execution {
    pipeline *p;
    pipe_digests *digests;
    const char *only;  /* a step, or the given name of several; NULL: all. What it needs must be up to date. */
    int shard, of;     /* of those, only part `shard`, or with of > 0 parts shard, shard + of, ...; -1: all */
    const char *force; /* runs whether or not it is up to date; NULL none, "all" */
    int allow_change;  /* go on with what was begun with other options or inputs */
    int keep_going, parallel, threads;
    double max_minutes; /* 0: none */
    pipe_lock *lock;    /* held; children inherit it. NULL: each step that runs has a lock of its own */
    pipe_lock_how how;  /* of those */
    /* Out: */
    int n_done, n_current, n_failed, n_stopped, n_left;
} pipe_execution;

/* MB_OK: everything asked for is up to date. MB_STOPPED: asked to stop, or a step stopped itself; run it again. A
 * failed step's own status (65, 74, ... as exit code) otherwise, with its name and log in e. */
int pipe_execute(pipe_execution *x, mb_err *e) MB_MUST_USE;

/* Makes a folder with those above it. */
int pipe_make_folders(const char *path, mb_err *e) MB_MUST_USE;
/* The scheduler's temporary folder of this job, when TMPDIR does not say; NULL: none. */
const char *pipe_job_scratch(void);
#endif
