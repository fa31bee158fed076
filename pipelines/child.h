/* Child processes: the front ends that do the work of steps. A child gets a SIGTERM of its own when this program dies,
 * so that none is left alone at work. */
#ifndef PIPE_CHILD_H
#define PIPE_CHILD_H
#include <stddef.h>
#include "core/error.h"

typedef struct pipe_child {
    const char *const *argv; /* ends with NULL; argv[0] is a path */
    int out, err;            /* descriptors for its stdout and stderr; -1: /dev/null */
    int keep;                /* a descriptor it inherits, open for its whole life; -1 none */
    const char *tmpdir;      /* TMPDIR of its environment; NULL: as here */
} pipe_child;

/* Starts it. *pid is its process. MB_IO when it cannot be started, with the reason of exec. */
int pipe_child_start(const pipe_child *c, int *pid, mb_err *e) MB_MUST_USE;

/* Runs argv to its end and keeps what it writes to stdout, at most `most` bytes (MB_FORMAT beyond), and the end of what
 * it writes to stderr. *status: as waitpid gives it. Both texts end with zero and are freed with mb_free. */
typedef struct pipe_capture {
    char *out, *err;
    size_t n_out, n_err;
    int status;
} pipe_capture;
int pipe_child_capture(pipe_capture *r, const char *const *argv, size_t most, mb_err *e) MB_MUST_USE;
void pipe_capture_free(pipe_capture *r);
#endif
