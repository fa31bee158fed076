/* One run at a time in a folder. A lock is a file held by flock, which the kernel lets go when the last process that
 * has it open is gone: the children at work inherit it, so that a run that was killed keeps its folder until they have
 * stopped too. What the file says (host, process, job, since when) is for people, and for file systems on which flock
 * does not reach other hosts: there a lock of another host counts while its file's time of change moves. */
#ifndef PIPE_LOCK_H
#define PIPE_LOCK_H
#include "core/error.h"

typedef struct pipe_lock {
    int fd; /* -1: not held */
    int shared;
    char *path;
    double beat; /* monotonic seconds of the last sign of life */
} pipe_lock;

#define PIPE_NO_LOCK ((pipe_lock){.fd = -1})
enum { PIPE_LOCK_BEAT = 30, PIPE_LOCK_DEAD = 300, PIPE_LOCK_PATIENCE = 60 }; /* seconds */

typedef enum pipe_lock_how {
    PIPE_LOCK_ALONE,
    PIPE_LOCK_SHARED, /* many may hold it so, none beside one that holds it alone */
    PIPE_LOCK_FORCE   /* alone, whatever a lock of another host says */
} pipe_lock_how;

/* MB_FAIL with the owner's words when another holds it. A lock whose owner died is taken over, and said so; for
 * children that it left at work, waits PIPE_LOCK_PATIENCE at most (stopped by mb_cli_stop). */
int pipe_lock_take(pipe_lock *l, const char *path, pipe_lock_how how, mb_err *e) MB_MUST_USE;
/* A sign of life, when it is time. */
void pipe_lock_beat(pipe_lock *l);
void pipe_lock_release(pipe_lock *l);
/* Who holds the lock now, as words; empty: nobody. words holds 400 bytes. */
void pipe_lock_owner(const char *path, char *words);

/* "slurm job 12_3", "" outside a batch system; valid until the next call. */
const char *pipe_job_words(void);
const char *pipe_host(void);
#endif
