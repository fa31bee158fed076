/* The main of every program: verbs, signals, the last word. Only this file and the programs' main print and end. */
#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/options.h"
#include "core/options_internal.h"
#include "core/provenance.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- signals ------------------------------------------------------------------------------------------------------*/
static atomic_int stop;
static _Atomic long first_stop; /* monotonic seconds of the first request */

const atomic_int *mb_cli_stop(void) {
    return &stop;
}

static void say(const char *text) { /* from a signal handler */
    ssize_t unused = write(STDERR_FILENO, text, strlen(text));
    (void)unused;
}

/* Batch systems send the same request twice (to the step and through mpirun), so that only a second Ctrl-C, or a
 * request that comes well after the first, is taken as impatience. */
static void on_stop(int number) {
    int cause = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (atomic_exchange(&stop, 1)) {
        if (number == SIGINT || now.tv_sec - atomic_load(&first_stop) > 2) {
            mb_out_abort_all();
            _exit(128 + number);
        }
    } else {
        atomic_store(&first_stop, (long)now.tv_sec);
        say(number == SIGINT ? "\nstopping at the next good place; Ctrl-C again ends at once\n"
                             : "\nasked to stop: stopping at the next good place\n");
    }
    errno = cause;
}

static void on_crash(int number) {
    mb_out_abort_all();
    say(number == SIGBUS ? "\nfatal: bus error; was an input file cut short while it was being read? Temporary outputs "
                           "were removed\n"
                         : "\nfatal: internal error; temporary outputs were removed\n");
    signal(number, SIG_DFL);
    raise(number);
}

/* Leaves alone what somebody else set: nohup's ignored SIGHUP, a sanitizer's handlers. */
static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction old, new = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&new.sa_mask);
    if (sigaction(number, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
        sigaction(number, &new, NULL);
}

static void handle_signals(void) {
    static const int STOPS[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
    static const int CRASHES[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static char crash_stack[64 * 1024]; /* an overflowed stack cannot run its own handler */
    stack_t alternative = {.ss_sp = crash_stack, .ss_size = sizeof crash_stack};
    sigaltstack(&alternative, NULL);
    for (size_t i = 0; i < sizeof STOPS / sizeof STOPS[0]; i++)
        handle(STOPS[i], on_stop, SA_RESTART);
    for (size_t i = 0; i < sizeof CRASHES / sizeof CRASHES[0]; i++)
        handle(CRASHES[i], on_crash, SA_ONSTACK);
    handle(SIGPIPE, SIG_IGN, 0); /* a closed pipe and a full file become errors of the write */
    handle(SIGXFSZ, SIG_IGN, 0);
}

/* ---- the last word ------------------------------------------------------------------------------------------------*/
/* Nobody reads standard output any more ("| head"): no news to the user. */
static int reader_gone(void) {
    struct pollfd p = {.fd = STDOUT_FILENO};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

/* stdio's buffer out, and what the file system holds back until close (NFS, quotas) as well. */
static int flush_stdout(mb_err *e) {
    int copy;
    errno = 0;
    if (fflush(stdout) || ferror(stdout) || ((copy = dup(STDOUT_FILENO)) >= 0 && close(copy)))
        return errno ? mb_fail_errno(e, MB_IO, "cannot write standard output")
                     : mb_fail(e, MB_IO, "cannot write standard output: an earlier write failed");
    return MB_OK;
}

/* Wrong calls are told undated, and a report on a configuration file begins with file:line:column, where editors look.
 */
static void print_error(const char *program, const mb_verb *verb, const mb_err *e) {
    if (e->status != MB_USAGE)
        mb_error("%s", e->text);
    else if (strstr(e->text, ": error: "))
        mb_log_plain("%s", e->text);
    else
        mb_log_plain("%s %s: %s", program, verb->name, e->text);
}

static void print_closing(int argc, char **argv, const char *program, double start) {
    char wall[32], cpu[32], peak[32], line[1024];
    size_t at = 0;
    for (int i = 1; i < argc && at < sizeof line; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, " %s", argv[i]);
    mb_debug("%s %s:%s", program, mb_version(), argc > 1 ? line : "");
    mb_debug("wall %s, CPU %s, peak memory %s", mb_human_seconds(mb_clock_seconds() - start, wall),
             mb_human_seconds(mb_cpu_seconds(), cpu), mb_human_bytes((double)mb_peak_rss_bytes(), peak));
}

static int finish(const char *program, const mb_verb *verb, int rc, mb_err *e) {
    if (rc == MB_OK)
        rc = flush_stdout(e);
    mb_out_abort_all(); /* whatever a failed run left open */
    if (rc == MB_OK)
        return 0;
    if (rc == MB_IO && reader_gone())
        return 128 + SIGPIPE;
    if (!e->status)
        mb_fail(e, rc, "%s failed without a word: %s", verb->name, mb_status_words(rc));
    fflush(stdout);
    print_error(program, verb, e);
    return mb_status_exit_code(rc);
}

static int run_verb(const char *program, const mb_verb *verb, int argc, char **argv) {
    mb_run run = {.program = program, .verb = verb};
    mb_err *e = calloc(1, sizeof *e); /* not of the counted heap: it tells when that is exhausted */
    int done = 0;
    if (!e) {
        mb_log_plain("%s: out of memory", program);
        return mb_status_exit_code(MB_NOMEM);
    }
    int rc = mb_options_parse(&run, argc, argv, &done, e);
    if (rc == MB_OK && !done)
        rc = verb->run(&run, e);
    mb_options_free(&run);
    int code = finish(program, verb, rc, e);
    free(e);
    return code;
}

static const mb_verb *find_verb(const mb_verb *verbs, const char *name) {
    for (const mb_verb *v = verbs; v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

static int unknown_verb(const char *program, const mb_verb *verbs, const char *name) {
    enum { MOST = 64 };
    const char *known[MOST];
    int n = 0;
    for (const mb_verb *v = verbs; v->name && n < MOST; v++)
        known[n++] = v->name;
    const char *near = mb_suggest(name, known, n);
    mb_log_plain("%s: %s \"%.200s\"%s%s%s\nTry \"%s --help\".", program,
                 *name == '-' ? "a command is expected before options, not" : "unknown command", name,
                 near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "", program);
    return mb_status_exit_code(MB_USAGE);
}

/* "PROGRAM", "PROGRAM --help", "PROGRAM help [VERB]", "PROGRAM --version", "PROGRAM --describe" (for programs); -1:
 * none of these. */
static int serve_program(const char *program, const char *tagline, const mb_verb *verbs, int argc, char **argv) {
    const char *first = argc > 1 ? argv[1] : "";
    mb_err e = {0};
    if (argc < 2) {
        mb_options_help_program(program, tagline, verbs, 0, stderr);
        return mb_status_exit_code(MB_USAGE);
    }
    if (strcmp(first, "--version") == 0 || (strcmp(first, "version") == 0 && !find_verb(verbs, first))) {
        mb_version_print(program, stdout);
    } else if (strcmp(first, "--describe") == 0) {
        mb_options_describe(program, verbs, stdout);
    } else if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0) {
        const mb_verb *v = argc > 2 ? find_verb(verbs, argv[2]) : NULL;
        if (argc > 2 && !v)
            return unknown_verb(program, verbs, argv[2]);
        if (v)
            mb_options_help(program, v, 0, stdout);
        else
            mb_options_help_program(program, tagline, verbs, 0, stdout);
    } else {
        return -1;
    }
    if (flush_stdout(&e) == MB_OK)
        return 0;
    if (reader_gone())
        return 128 + SIGPIPE;
    mb_error("%s", e.text);
    return mb_status_exit_code(e.status);
}

int mb_cli_main(const char *program, const char *tagline, const mb_verb *verbs, int argc, char **argv) {
    double start = mb_clock_seconds();
    handle_signals();
    int code = serve_program(program, tagline, verbs, argc, argv);
    if (code >= 0)
        return code;
    const mb_verb *verb = find_verb(verbs, argv[1]);
    code = verb ? run_verb(program, verb, argc, argv) : unknown_verb(program, verbs, argv[1]);
    print_closing(argc, argv, program, start);
    return code;
}
