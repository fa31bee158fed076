/* See execute.h. A step is asked whether it is up to date when all it needs is done: what another step wrote again may
 * be the same bytes. A child is never killed: it gets a request to stop and ends at its next good place. */
#include "pipelines/execute.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/options.h"
#include "pipelines/child.h"

typedef enum phase {
    PHASE_IDLE,
    PHASE_RUNNING,
    PHASE_DONE,
    PHASE_FAILED,
    PHASE_STOPPED,
    PHASE_LEFT,
    PHASE_SKIPPED
} phase;

typedef struct job { /* a step of this execution */
    phase phase;
    int asked; /* whether it is among the steps to run */
    int pid, attempts;
    double started, clock; /* Unix time; monotonic */
    pipe_basis basis;
    pipe_lock lock; /* of its own, where the whole pipeline is not locked */
} job;

typedef struct runner {
    pipe_execution *x;
    pipeline *p;
    job *job; /* (n) */
    int running, stopping, failing;
    double start;
    mb_err *e;
    int rc; /* of the first step that failed */
} runner;

static double unix_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int no_memory(mb_err *e) {
    return mb_fail(e, MB_NOMEM, "out of memory to run the steps");
}

int pipe_make_folders(const char *path, mb_err *e) {
    char *copy = mb_strdup(path);
    int rc = copy ? MB_OK : no_memory(e);
    for (char *c = copy; rc == MB_OK && *c; c++) {
        if (c == copy || (c[1] && *c != '/'))
            continue;
        const char kept = c[1] ? '/' : *c;
        if (c[1])
            *c = '\0';
        if (mkdir(copy, 0777) && errno != EEXIST)
            rc = mb_fail_errno(e, MB_IO, "the folder %s cannot be made", copy);
        *c = kept;
    }
    if (rc == MB_OK && !mb_dir_exists(path))
        rc = mb_fail(e, MB_IO, "%s: is no folder", path);
    mb_free(copy);
    return rc;
}

const char *pipe_job_scratch(void) {
    static const char *const NAMES[] = {"SLURM_TMPDIR", "PBS_JOBDIR", "LSF_TMPDIR", "JOB_TMPDIR"};
    if (getenv("TMPDIR"))
        return NULL;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (getenv(NAMES[i]) && mb_dir_exists(getenv(NAMES[i])))
            return getenv(NAMES[i]);
    return NULL;
}

/* ---- records --------------------------------------------------------------------------------------------------------
 */

/* How often the batch system has begun this job again. */
static long restarts(void) {
    const char *text = getenv("SLURM_RESTART_COUNT");
    if (!text)
        text = getenv("SEQMAMBA_RESTARTS"); /* a script of ours, where the batch system does not count */
    return text ? strtol(text, NULL, 10) : 0;
}

/* One line to a step's events.jsonl in one write. One that a full disk cuts short spoils the next; readers pass over
 * it. */
static void note_event(const runner *r, const pipe_step *s, const char *event, const char *more) {
    char when[32];
    pipe_text t = {0};
    char *path = pipe_step_path(r->p, s, "events.jsonl");
    pipe_text_add(&t, "{\"time\": \"%s\", \"event\": \"%s\", \"host\": ", pipe_time_text(unix_time(), when), event);
    pipe_text_json(&t, pipe_host());
    pipe_text_add(&t, ", \"job\": ");
    pipe_text_json(&t, pipe_job_words());
    pipe_text_add(&t, ", \"restart\": %ld%s}\n", restarts(), more);
    const int fd = path && !t.lost ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (fd < 0 || write(fd, t.data, t.n) != (ssize_t)t.n)
        mb_warn("%s: %s could not be noted in events.jsonl", s->name, event);
    if (fd >= 0)
        close(fd);
    pipe_text_free(&t);
    mb_free(path);
}

/* Starts of this step so far. */
static int count_attempts(const runner *r, const pipe_step *s) {
    char *path = pipe_step_path(r->p, s, "events.jsonl"), *text = NULL;
    size_t n;
    int count = 0;
    mb_err ignored = {0};
    if (path && mb_file_exists(path) && mb_file_read_all(path, 16 << 20, &text, &n, &ignored) == MB_OK)
        for (const char *c = text; (c = strstr(c, "\"event\": \"start\"")); c++)
            count++;
    mb_free(text);
    mb_free(path);
    return count;
}

/* The last lines of a step's log, for people. */
static void show_tail(const runner *r, const pipe_step *s) {
    enum { LINES = 15, BYTES = 4000 };
    char *path = pipe_step_path(r->p, s, "log"), text[BYTES + 1];
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    const off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    const ssize_t n = end > 0 ? pread(fd, text, BYTES, end > BYTES ? end - BYTES : 0) : 0;
    if (n > 0) {
        text[n] = '\0';
        char *from = text + n - (text[n - 1] == '\n');
        *from = '\0';
        for (int lines = 0; from > text && lines < LINES; lines++)
            while (--from > text && *from != '\n')
                ;
        mb_log_plain("---- the end of %s\n%s\n----", path, from + (*from == '\n'));
    }
    if (fd >= 0)
        close(fd);
    mb_free(path);
}

/* ---- starting a step ------------------------------------------------------------------------------------------------
 */

static int write_config(const runner *r, const pipe_step *s, char **path, mb_err *e) {
    pipe_text t = {0};
    *path = pipe_step_path(r->p, s, "config.yaml");
    pipe_text_add(&t, "# %s %s --config %s\n", s->verb->program->name, s->verb->name, *path ? *path : "");
    pipe_step_config(s, &t);
    int rc = *path ? pipe_text_write(&t, *path, e) : no_memory(e);
    pipe_text_free(&t);
    return rc;
}

static int open_for(const runner *r, const pipe_step *s, const char *name, int flags, int *fd, mb_err *e) {
    char *path = pipe_step_path(r->p, s, name);
    if (!path)
        return no_memory(e);
    *fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
    int rc = *fd < 0 ? mb_fail_errno(e, MB_IO, "%s: cannot be opened", path) : MB_OK;
    mb_free(path);
    return rc;
}

static int make_output_folders(const pipe_step *s, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < s->n_outputs; i++) {
        const char *path = s->output[i].path, *slash = strrchr(path, '/');
        char *folder = slash && slash > path ? mb_asprintf("%.*s", (int)(slash - path), path) : NULL;
        if (slash && slash > path)
            rc = folder ? pipe_make_folders(folder, e) : no_memory(e);
        mb_free(folder);
    }
    return rc;
}

static int given(const pipe_step *s, const char *key) {
    for (int i = 0; i < s->n_values; i++)
        if (strcmp(s->value[i].option->key, key) == 0 && s->value[i].text)
            return 1;
    return 0;
}

static int is_forced(const runner *r, const pipe_step *s) {
    const char *f = r->x->force;
    return f && (strcmp(f, "all") == 0 || pipe_step_is(s, f));
}

static int spawn(runner *r, int i, const char *config, mb_err *e) {
    const pipe_step *s = &r->p->step[i];
    const char *argv[8] = {s->verb->program->path, s->verb->name, "--config", config};
    char threads[40];
    int n = 4, out = -1, err = -1;
    const mb_option *resume = pipe_option_find(s->verb, "resume");
    if (resume && resume->type == MB_OPT_BOOL && !given(s, "resume") && !is_forced(r, s))
        argv[n++] = "--resume";
    if (r->x->parallel > 1 && !given(s, "threads")) { /* side by side they would fight for the processors */
        snprintf(threads, sizeof threads, "--threads=%d",
                 r->x->threads > r->x->parallel ? r->x->threads / r->x->parallel : 1);
        argv[n++] = threads;
    }
    argv[n] = NULL;
    int rc = open_for(r, s, "log", O_APPEND, &err, e);
    if (rc == MB_OK)
        rc = open_for(r, s, "stdout.unfinished", O_TRUNC, &out, e);
    const pipe_child c = {.argv = argv,
                          .out = out,
                          .err = err,
                          .keep = r->x->lock ? r->x->lock->fd : r->job[i].lock.fd,
                          .tmpdir = pipe_job_scratch()};
    if (rc == MB_OK) {
        char when[32];
        dprintf(err, "==== %s %s: %s %s --config %s (attempt %d)\n", pipe_time_text(unix_time(), when), s->name,
                s->verb->program->name, s->verb->name, config, r->job[i].attempts);
        rc = pipe_child_start(&c, &r->job[i].pid, e);
    }
    if (out >= 0)
        close(out);
    if (err >= 0)
        close(err);
    return rc;
}

static int lock_step(runner *r, int i, mb_err *e) {
    char *path = pipe_step_path(r->p, &r->p->step[i], "lock");
    int rc = path ? pipe_lock_take(&r->job[i].lock, path, r->x->how, e) : no_memory(e);
    mb_free(path);
    return rc;
}

static int start_step(runner *r, int i, mb_err *e) {
    const pipe_step *s = &r->p->step[i];
    job *j = &r->job[i];
    char *folder = pipe_step_path(r->p, s, NULL), *config = NULL, more[64];
    int rc = folder ? pipe_make_folders(folder, e) : no_memory(e);
    if (rc == MB_OK && !r->x->lock)
        rc = lock_step(r, i, e);
    if (rc == MB_OK)
        rc = make_output_folders(s, e);
    if (rc == MB_OK)
        rc = write_config(r, s, &config, e);
    if (rc == MB_OK)
        rc = pipe_basis_make(&j->basis, s, r->x->digests, e);
    if (rc == MB_OK)
        rc = pipe_state_begin(r->p, s, &j->basis, e);
    if (rc == MB_OK) {
        j->attempts = count_attempts(r, s) + 1;
        j->started = unix_time();
        j->clock = mb_clock_seconds();
        rc = spawn(r, i, config, e);
    }
    if (rc == MB_OK) {
        j->phase = PHASE_RUNNING;
        r->running++;
        snprintf(more, sizeof more, ", \"attempt\": %d, \"pid\": %d", j->attempts, j->pid);
        note_event(r, s, "start", more);
        mb_info("%s: started, log in %s/log", s->name, folder);
    }
    mb_free(folder);
    mb_free(config);
    return rc;
}

/* ---- the end of a step ----------------------------------------------------------------------------------------------
 */

static int keep_stdout(const runner *r, const pipe_step *s, mb_err *e) {
    char *from = pipe_step_path(r->p, s, "stdout.unfinished"), *to = pipe_step_path(r->p, s, "stdout");
    int rc = from && to ? MB_OK : no_memory(e);
    if (rc == MB_OK && rename(from, to))
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be renamed", from);
    mb_free(from);
    mb_free(to);
    return rc;
}

static int status_of_exit(int code) {
    static const int STATUS[] = {MB_USAGE, MB_FORMAT, MB_IO, MB_INTERNAL, MB_STOPPED};
    for (size_t i = 0; i < sizeof STATUS / sizeof *STATUS; i++)
        if (mb_status_exit_code(STATUS[i]) == code)
            return STATUS[i];
    return MB_FAIL;
}

static void fail_step(runner *r, int i, int rc, const char *why) {
    r->job[i].phase = PHASE_FAILED;
    r->x->n_failed++;
    r->failing = 1;
    mb_error("%s: %s", r->p->step[i].name, why);
    if (r->rc == MB_OK) {
        char *folder = pipe_step_path(r->p, &r->p->step[i], NULL);
        r->rc =
            mb_fail(r->e, rc, "the step %s failed: %s; see %s/log", r->p->step[i].name, why, folder ? folder : "its");
        mb_free(folder);
    }
}

static void end_step(runner *r, int i, int status, const struct rusage *use) {
    const pipe_step *s = &r->p->step[i];
    job *j = &r->job[i];
    char more[160], took[32], why[MB_ERR_TEXT];
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    const pipe_usage u = {.started = j->started,
                          .ended = unix_time(),
                          .seconds = mb_clock_seconds() - j->clock,
                          .cpu_seconds = (double)(use->ru_utime.tv_sec + use->ru_stime.tv_sec) +
                                         1e-6 * (double)(use->ru_utime.tv_usec + use->ru_stime.tv_usec),
                          .peak_memory = (int64_t)use->ru_maxrss * 1024,
                          .attempts = j->attempts,
                          .exit_code = code,
                          .host = pipe_host(),
                          .job = pipe_job_words()};
    mb_err e = {0};
    r->running--;
    mb_human_seconds(u.seconds, took);
    snprintf(more, sizeof more,
             ", \"exit\": %d, \"seconds\": %.3f, \"cpu_seconds\": %.3f, \"peak_memory_bytes\": %" PRId64, code,
             u.seconds, u.cpu_seconds, u.peak_memory);
    if (code == 0) {
        int rc = keep_stdout(r, s, &e);
        if (rc == MB_OK)
            rc = pipe_state_finish(r->p, s, &j->basis, r->x->digests, &u, &e);
        note_event(r, s, rc == MB_OK ? "done" : "failed", more);
        if (rc == MB_OK) {
            j->phase = PHASE_DONE;
            r->x->n_done++;
            mb_info("%s: done in %s", s->name, took);
        } else {
            fail_step(r, i, rc, e.text);
        }
    } else if (code == 75 || (r->stopping && WIFSIGNALED(status))) {
        j->phase = PHASE_STOPPED;
        r->x->n_stopped++;
        note_event(r, s, "stopped", more);
        mb_info("%s: stopped after %s; it goes on when this is run again", s->name, took);
    } else {
        note_event(r, s, "failed", more);
        if (WIFSIGNALED(status))
            snprintf(why, sizeof why, "was ended by signal %d (%s) after %s", WTERMSIG(status),
                     strsignal(WTERMSIG(status)), took);
        else
            snprintf(why, sizeof why, "ended with exit code %d after %s", code, took);
        show_tail(r, s);
        fail_step(r, i, status_of_exit(code), why);
    }
    pipe_basis_free(&j->basis);
    pipe_lock_release(&j->lock);
}

/* ---- the order of things --------------------------------------------------------------------------------------------
 */

/* 1: all it needs is done; 0: not yet; -1: something it needs will not be. */
static int is_ready(const runner *r, int i) {
    const pipe_step *s = &r->p->step[i];
    int ready = 1;
    for (int k = 0; k < s->n_needs; k++) {
        const phase q = r->job[s->need[k]].phase;
        if (q == PHASE_FAILED || q == PHASE_STOPPED || q == PHASE_LEFT)
            return -1;
        ready = ready && (q == PHASE_DONE || q == PHASE_SKIPPED);
    }
    return ready;
}

/* Starts a step whose needs are met, or finds it up to date. */
static int consider(runner *r, int i, mb_err *e) {
    const pipe_step *s = &r->p->step[i];
    pipe_verdict v;
    int rc = pipe_judge(r->p, i, r->x->digests, NULL, &v, e);
    if (rc != MB_OK)
        return rc;
    if (v.status == PIPE_UP_TO_DATE && !(r->job[i].asked && is_forced(r, s))) {
        r->job[i].phase = PHASE_SKIPPED;
        r->x->n_current += r->job[i].asked;
        if (r->job[i].asked)
            mb_info("%s: up to date", s->name);
        return MB_OK;
    }
    if (!r->job[i].asked)
        return mb_fail(e, MB_FAIL, "%s is needed and not up to date: %s", s->name, v.why);
    if (v.status == PIPE_CHANGED && !r->x->allow_change && !is_forced(r, s))
        return mb_fail(e, MB_USAGE,
                       "%s was begun and did not end, and would go on with something else: %s. Put that back, or say "
                       "--allow-change to go on all the same",
                       s->name, v.why);
    mb_debug("%s: %s", s->name, v.why);
    return start_step(r, i, e);
}

/* Whatever can start, starts. What cannot be started for reasons of its own has failed. */
static int start_ready(runner *r) {
    for (int k = 0; k < r->p->n && !r->stopping; k++) {
        const int i = r->p->order[k];
        mb_err e = {0};
        if (r->job[i].phase != PHASE_IDLE)
            continue;
        const int ready = is_ready(r, i);
        if (ready < 0) {
            r->job[i].phase = PHASE_LEFT;
            r->x->n_left++;
        }
        if (ready <= 0 || r->running >= r->x->parallel || (r->failing && !r->x->keep_going))
            continue;
        int rc = consider(r, i, &e);
        if (rc == MB_NOMEM)
            return mb_fail(r->e, rc, "%s", e.text);
        if (rc != MB_OK)
            fail_step(r, i, rc, e.text);
    }
    return MB_OK;
}

static void ask_to_stop(runner *r, const char *why) {
    r->stopping = 1;
    mb_info("%s: %d steps at work are asked to stop", why, r->running);
    for (int i = 0; i < r->p->n; i++)
        if (r->job[i].phase == PHASE_RUNNING)
            kill(r->job[i].pid, SIGTERM);
}

static void look_at_clock(runner *r) {
    if (r->stopping)
        return;
    if (atomic_load(mb_cli_stop()))
        ask_to_stop(r, "stopping");
    else if (r->x->max_minutes > 0 && mb_clock_seconds() - r->start > 60 * r->x->max_minutes)
        ask_to_stop(r, "max_minutes are over");
}

/* Ends of children, as many as there are. Only those that were started here are waited for. */
static int reap(runner *r) {
    int n = 0;
    for (int i = 0; i < r->p->n; i++) {
        int status;
        struct rusage use;
        if (r->job[i].phase != PHASE_RUNNING || wait4(r->job[i].pid, &status, WNOHANG, &use) != r->job[i].pid)
            continue;
        end_step(r, i, status, &use);
        n++;
    }
    return n;
}

static void wait_for_change(const sigset_t *child) {
    const struct timespec t = {.tv_nsec = 500000000};
    sigtimedwait(child, NULL, &t); /* a stop signal ends it too */
}

static void beat(runner *r) {
    if (r->x->lock)
        pipe_lock_beat(r->x->lock);
    for (int i = 0; !r->x->lock && i < r->p->n; i++)
        pipe_lock_beat(&r->job[i].lock);
}

static int run_all(runner *r) {
    sigset_t child, before;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &before);
    int rc = MB_OK;
    do {
        look_at_clock(r);
        if (rc == MB_OK && (rc = start_ready(r)) != MB_OK)
            ask_to_stop(r, "out of memory");
        if (r->running == 0)
            break;
        beat(r);
        if (!reap(r))
            wait_for_change(&child);
    } while (1);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* The steps asked for; the others must be up to date where they are needed. */
static int choose(runner *r, mb_err *e) {
    int n = 0;
    for (int i = 0; i < r->p->n; i++) {
        const pipe_step *s = &r->p->step[i];
        const char *only = r->x->only;
        r->job[i].asked = !only || pipe_step_is(s, only);
        if (r->x->shard >= 0)
            r->job[i].asked &= s->shard >= 0 && (r->x->of ? s->shard % r->x->of : s->shard) == r->x->shard;
        n += r->job[i].asked;
    }
    if (n == 0)
        return mb_fail(e, MB_USAGE, "%s: there is no %s \"%s\"", r->p->path,
                       r->x->shard >= 0 ? "part of that number of the step" : "step", r->x->only ? r->x->only : "");
    char *wanted = mb_calloc((size_t)r->p->n + 1, 1);
    if (!wanted)
        return no_memory(e);
    for (int k = r->p->n - 1; k >= 0; k--) { /* what nobody asked for and nobody needs is left alone */
        const int i = r->p->order[k];
        wanted[i] |= (char)r->job[i].asked;
        for (int m = 0; wanted[i] && r->job[i].asked && m < r->p->step[i].n_needs; m++)
            wanted[r->p->step[i].need[m]] = 1;
        if (!wanted[i])
            r->job[i].phase = PHASE_SKIPPED;
    }
    for (int k = 0; k < r->p->n; k++) /* needs of what is only needed were met when it was made */
        if (!r->job[k].asked)
            for (int m = 0; m < r->p->step[k].n_needs; m++)
                if (!wanted[r->p->step[k].need[m]])
                    r->job[r->p->step[k].need[m]].phase = PHASE_SKIPPED;
    mb_free(wanted);
    return MB_OK;
}

static int conclude(const runner *r, int rc) {
    if (rc != MB_OK)
        return rc;
    if (r->rc != MB_OK)
        return r->rc;
    if (r->stopping || r->x->n_stopped)
        return mb_fail(r->e, MB_STOPPED,
                       "stopped: %d done now, %d were up to date, %d stopped; the same command goes on", r->x->n_done,
                       r->x->n_current, r->x->n_stopped);
    return MB_OK;
}

int pipe_execute(pipe_execution *x, mb_err *e) {
    runner r = {.x = x, .p = x->p, .start = mb_clock_seconds(), .e = e};
    r.job = mb_calloc((size_t)x->p->n + 1, sizeof *r.job);
    for (int i = 0; r.job && i < x->p->n; i++)
        r.job[i].lock = PIPE_NO_LOCK;
    int rc = r.job ? choose(&r, e) : no_memory(e);
    if (rc == MB_OK)
        rc = conclude(&r, run_all(&r));
    for (int i = 0; r.job && i < x->p->n; i++) {
        pipe_basis_free(&r.job[i].basis);
        pipe_lock_release(&r.job[i].lock);
    }
    mb_free(r.job);
    return rc;
}
