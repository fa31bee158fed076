/* See lock.h. */
#include "pipelines/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/options.h"

typedef struct owner {
    char host[128], job[128], since[32];
    long pid; /* 0: the file names nobody */
} owner;

const char *pipe_host(void) {
    static char host[128];
    if (!*host && gethostname(host, sizeof host - 1))
        snprintf(host, sizeof host, "unknown");
    return host;
}

const char *pipe_job_words(void) {
    static char words[160];
    const char *array = getenv("SLURM_ARRAY_JOB_ID"), *task = getenv("SLURM_ARRAY_TASK_ID"), *job;
    *words = '\0';
    if (array && task)
        snprintf(words, sizeof words, "slurm job %.60s_%.60s", array, task);
    else if ((job = getenv("SLURM_JOB_ID")))
        snprintf(words, sizeof words, "slurm job %.60s", job);
    else if ((job = getenv("PBS_JOBID")))
        snprintf(words, sizeof words, "pbs job %.60s", job);
    else if ((job = getenv("LSB_JOBID")))
        snprintf(words, sizeof words, "lsf job %.60s[%.20s]", job,
                 getenv("LSB_JOBINDEX") ? getenv("LSB_JOBINDEX") : "0");
    return words;
}

/* ---- what the file says: "host\tpid\tjob\tsince\n" ------------------------------------------------------------------
 */

static owner read_owner(int fd) {
    owner o = {.pid = 0};
    char text[512], *field[4] = {NULL}, *save = text;
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    for (int i = 0; i < 4; i++)
        field[i] = strsep(&save, "\t");
    if (!field[3])
        return o;
    snprintf(o.host, sizeof o.host, "%s", field[0]);
    o.pid = strtol(field[1], NULL, 10);
    snprintf(o.job, sizeof o.job, "%s", field[2]);
    snprintf(o.since, sizeof o.since, "%s", field[3]);
    return o;
}

static void words_of(const owner *o, char *words, size_t room) {
    snprintf(words, room, "process %ld on %s%s%s%s, since %s", o->pid, o->host, *o->job ? " (" : "", o->job,
             *o->job ? ")" : "", o->since);
}

static int write_owner(const pipe_lock *l, mb_err *e) {
    char text[512], since[32];
    const time_t now = time(NULL);
    struct tm tm;
    if (!gmtime_r(&now, &tm) || !strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(since, sizeof since, "unknown");
    const int n =
        snprintf(text, sizeof text, "%s\t%ld\t%s\t%s\n", pipe_host(), (long)getpid(), pipe_job_words(), since);
    if (ftruncate(l->fd, 0) || pwrite(l->fd, text, (size_t)n, 0) != n)
        return mb_fail_errno(e, MB_IO, "%s: cannot be written", l->path);
    return MB_OK;
}

/* ---- taking it ------------------------------------------------------------------------------------------------------
 */

static int is_dead(const owner *o) {
    return o->pid > 0 && strcmp(o->host, pipe_host()) == 0 && kill((pid_t)o->pid, 0) != 0 && errno == ESRCH;
}

/* Seconds since the file was last touched, by the clock of the file system that holds it: a file that is made now
 * beside it tells the time. */
static double silence(const pipe_lock *l) {
    struct stat st, now;
    char *probe = mb_asprintf("%s.%s.%ld", l->path, pipe_host(), (long)getpid());
    double seconds = 0;
    const int fd = probe ? open(probe, O_CREAT | O_WRONLY | O_CLOEXEC, 0666) : -1;
    if (fd >= 0 && fstat(l->fd, &st) == 0 && fstat(fd, &now) == 0)
        seconds = (double)(now.st_mtim.tv_sec - st.st_mtim.tv_sec) +
                  1e-9 * (double)(now.st_mtim.tv_nsec - st.st_mtim.tv_nsec);
    if (fd >= 0)
        close(fd);
    if (probe)
        unlink(probe);
    mb_free(probe);
    return seconds;
}

static void rest(void) {
    const struct timespec t = {.tv_nsec = 100000000};
    nanosleep(&t, NULL);
}

/* flock; while the owner is dead and its children are not, waits for them. */
static int hold(const pipe_lock *l, mb_err *e) {
    const double start = mb_clock_seconds();
    char words[400];
    int told = 0;
    while (flock(l->fd, (l->shared ? LOCK_SH : LOCK_EX) | LOCK_NB)) {
        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK)
            return mb_fail_errno(e, MB_IO, "%s: cannot be locked", l->path);
        const owner o = read_owner(l->fd);
        words_of(&o, words, sizeof words);
        if (!is_dead(&o) || mb_clock_seconds() - start > PIPE_LOCK_PATIENCE)
            return o.pid ? mb_fail(e, MB_FAIL, "another run is at work here: %s (%s)", words, l->path)
                         : mb_fail(e, MB_FAIL, "another run is at work here (%s)", l->path);
        if (!told++)
            mb_info("waiting for what a run that died left at work: %s", words);
        if (atomic_load(mb_cli_stop()))
            return mb_fail(e, MB_STOPPED, "stopped while waiting for %s", l->path);
        rest();
    }
    return MB_OK;
}

/* We hold flock: an owner that the file names is dead, or on a host that flock does not reach. */
static int check_owner(const pipe_lock *l, pipe_lock_how how, mb_err *e) {
    const owner o = read_owner(l->fd);
    char words[400];
    if (!o.pid || (strcmp(o.host, pipe_host()) == 0 && o.pid == (long)getpid()))
        return MB_OK;
    words_of(&o, words, sizeof words);
    const int same_job = *o.job && strcmp(o.job, pipe_job_words()) == 0; /* requeued on another node */
    const double quiet = silence(l);
    if (strcmp(o.host, pipe_host()) != 0 && !same_job && quiet < PIPE_LOCK_DEAD && how != PIPE_LOCK_FORCE)
        return mb_fail(
            e, MB_FAIL,
            "another run seems to be at work here: %s, which gave a sign of life %.0f s ago (%s); if that host "
            "is dead, wait %d s or say --unlock",
            words, quiet, l->path, PIPE_LOCK_DEAD);
    mb_warn("the run of %s ended without a word; its lock is taken over", words);
    return MB_OK;
}

int pipe_lock_take(pipe_lock *l, const char *path, pipe_lock_how how, mb_err *e) {
    *l = (pipe_lock){.fd = -1, .shared = how == PIPE_LOCK_SHARED, .beat = mb_clock_seconds()};
    if (!(l->path = mb_strdup(path)))
        return mb_fail(e, MB_NOMEM, "out of memory for the lock");
    l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int rc = l->fd < 0 ? mb_fail_errno(e, MB_IO, "%s: cannot be opened", path) : hold(l, e);
    if (rc == MB_OK)
        rc = check_owner(l, how, e);
    if (rc == MB_OK && !l->shared)
        rc = write_owner(l, e);
    if (rc != MB_OK) {
        if (l->fd >= 0)
            close(l->fd);
        mb_free(l->path);
        *l = PIPE_NO_LOCK;
    }
    return rc;
}

void pipe_lock_beat(pipe_lock *l) {
    if (l->fd < 0 || l->shared || mb_clock_seconds() - l->beat < PIPE_LOCK_BEAT)
        return;
    l->beat = mb_clock_seconds();
    (void)!futimens(l->fd, NULL);
}

void pipe_lock_release(pipe_lock *l) {
    if (l->fd >= 0) {
        if (!l->shared)
            (void)!ftruncate(l->fd, 0);
        close(l->fd);
    }
    mb_free(l->path);
    *l = PIPE_NO_LOCK;
}

void pipe_lock_owner(const char *path, char *words) {
    *words = '\0';
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    const owner o = read_owner(fd);
    if (o.pid && (flock(fd, LOCK_SH | LOCK_NB) != 0 || strcmp(o.host, pipe_host()) != 0))
        words_of(&o, words, 400);
    close(fd);
}
