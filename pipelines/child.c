/* See child.h. Refuses nothing. */
#include "pipelines/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/mem.h"

enum { KEPT_ERR = 64 * 1024 };

static void place(int fd, int at) {
    if (fd < 0)
        fd = open("/dev/null", at == STDIN_FILENO ? O_RDONLY : O_WRONLY);
    if (fd >= 0 && fd != at)
        dup2(fd, at);
    else if (fd == at)
        fcntl(fd, F_SETFD, 0);
}

/* In the child, between fork and exec: only what is safe in the copy of a process. */
static void become(const pipe_child *c, pid_t parent, char *const *environment, int report) {
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) /* it died before prctl */
        _exit(127);
    /* Signals are this program's to pass on: a Ctrl-C of the terminal would reach the child a second time. */
    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    place(-1, STDIN_FILENO);
    place(c->out, STDOUT_FILENO);
    place(c->err, STDERR_FILENO);
    if (c->keep >= 0)
        fcntl(c->keep, F_SETFD, 0);
    execve(c->argv[0], (char *const *)(uintptr_t)c->argv, environment);
    const int why = errno;
    ssize_t unused = write(report, &why, sizeof why);
    (void)unused;
    _exit(127);
}

/* The environment with another TMPDIR; NULL without memory. The array is the caller's, the strings are not. */
static char **environment_of(const pipe_child *c, char *room, size_t n) {
    int count = 0, at = 0;
    while (environ[count])
        count++;
    char **copy = mb_calloc((size_t)count + 2, sizeof *copy);
    if (!copy)
        return NULL;
    for (int i = 0; i < count; i++)
        if (!c->tmpdir || strncmp(environ[i], "TMPDIR=", 7) != 0)
            copy[at++] = environ[i];
    if (c->tmpdir && (size_t)snprintf(room, n, "TMPDIR=%s", c->tmpdir) < n)
        copy[at++] = room;
    return copy;
}

int pipe_child_start(const pipe_child *c, int *pid, mb_err *e) {
    int report[2], why = 0; /* closed by a successful exec; holds errno of one that failed */
    char tmpdir[4096];
    char **environment = environment_of(c, tmpdir, sizeof tmpdir);
    if (!environment)
        return mb_fail(e, MB_NOMEM, "out of memory for a process");
    if (pipe2(report, O_CLOEXEC)) {
        mb_free(environment);
        return mb_fail_errno(e, MB_IO, "cannot start %s", c->argv[0]);
    }
    const pid_t parent = getpid();
    *pid = fork();
    if (*pid == 0)
        become(c, parent, environment, report[1]);
    int rc = *pid < 0 ? mb_fail_errno(e, MB_IO, "cannot start %s", c->argv[0]) : MB_OK;
    close(report[1]);
    ssize_t n = 0;
    while (rc == MB_OK && (n = read(report[0], &why, sizeof why)) < 0 && errno == EINTR)
        ;
    close(report[0]);
    mb_free(environment);
    if (rc == MB_OK && n == (ssize_t)sizeof why) {
        waitpid(*pid, NULL, 0);
        errno = why;
        rc = mb_fail_errno(e, MB_IO, "cannot start %s", c->argv[0]);
    }
    return rc;
}

/* ---- capture --------------------------------------------------------------------------------------------------------
 */

typedef struct stream {
    int fd; /* -1: at its end */
    char *text;
    size_t n, room, most;
    int over;
} stream;

/* stdout: what is beyond `most` is an error. stderr: the first half of what is kept makes room. */
static int take(stream *s, int drop, mb_err *e) {
    if (s->n + 4096 + 1 > s->room) {
        const size_t room = s->room ? 2 * s->room : 16384;
        char *more = mb_realloc(s->text, room);
        if (!more)
            return mb_fail(e, MB_NOMEM, "out of memory for the output of a process");
        s->text = more;
        s->room = room;
    }
    const ssize_t got = read(s->fd, s->text + s->n, 4096);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return MB_OK;
    if (got <= 0) {
        close(s->fd);
        s->fd = -1;
        return MB_OK;
    }
    s->n += (size_t)got;
    if (s->n > s->most && drop) {
        memmove(s->text, s->text + s->n / 2, s->n - s->n / 2);
        s->n -= s->n / 2;
    }
    s->over = s->n > s->most;
    return MB_OK;
}

static int read_both(stream *out, stream *err, mb_err *e) {
    int rc = MB_OK;
    while (rc == MB_OK && (out->fd >= 0 || err->fd >= 0) && !out->over) {
        struct pollfd p[2] = {{.fd = out->fd, .events = POLLIN}, {.fd = err->fd, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            rc = mb_fail_errno(e, MB_IO, "cannot read the output of a process");
        if (rc == MB_OK && p[0].revents)
            rc = take(out, 0, e);
        if (rc == MB_OK && p[1].revents)
            rc = take(err, 1, e);
    }
    return rc;
}

static char *ended(stream *s) {
    if (s->fd >= 0)
        close(s->fd);
    if (!s->text)
        s->text = mb_calloc(1, 1);
    if (s->text)
        s->text[s->n] = '\0';
    return s->text;
}

int pipe_child_capture(pipe_capture *r, const char *const *argv, size_t most, mb_err *e) {
    int a[2], b[2], pid;
    *r = (pipe_capture){0};
    if (pipe2(a, O_CLOEXEC))
        return mb_fail_errno(e, MB_IO, "cannot start %s", argv[0]);
    if (pipe2(b, O_CLOEXEC)) {
        close(a[0]);
        close(a[1]);
        return mb_fail_errno(e, MB_IO, "cannot start %s", argv[0]);
    }
    const pipe_child c = {.argv = argv, .out = a[1], .err = b[1], .keep = -1};
    stream out = {.fd = a[0], .most = most}, err = {.fd = b[0], .most = KEPT_ERR};
    int rc = pipe_child_start(&c, &pid, e);
    const int started = rc == MB_OK;
    close(a[1]);
    close(b[1]);
    if (rc == MB_OK)
        rc = read_both(&out, &err, e);
    if (started && (rc != MB_OK || out.over))
        kill(pid, SIGKILL);
    r->out = ended(&out);
    r->err = ended(&err);
    r->n_out = out.n;
    r->n_err = err.n;
    while (started && waitpid(pid, &r->status, 0) < 0 && errno == EINTR)
        ;
    if (rc == MB_OK && out.over)
        rc = mb_fail(e, MB_FORMAT, "%s wrote more than %zu bytes", argv[0], most);
    if (rc == MB_OK && (!r->out || !r->err))
        rc = mb_fail(e, MB_NOMEM, "out of memory for the output of a process");
    if (rc != MB_OK)
        pipe_capture_free(r);
    return rc;
}

void pipe_capture_free(pipe_capture *r) {
    mb_free(r->out);
    mb_free(r->err);
    r->out = r->err = NULL;
}
