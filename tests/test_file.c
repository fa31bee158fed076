/* Outputs appear complete or not at all, whatever fails: every system call of a save is made to fail in turn. */
#undef _FORTIFY_SOURCE /* this file puts itself before open and write */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/mem.h"
#include "tests/scratch.h"

/* ---- faults: the n-th call of a kind from now fails, or is cut short ----------------------------------------------*/
typedef enum call { OPEN, WRITE, PWRITE, FSYNC, CLOSE, RENAME, CALLS } call;
enum { SHORT = -1 };

static struct {
    int armed, in, error; /* error SHORT: half of what was asked */
    call kind;
} fault;

static int due(call kind) {
    if (!fault.armed || kind != fault.kind || --fault.in)
        return 0;
    errno = fault.error > 0 ? fault.error : 0;
    return 1;
}

static void arm(call kind, int n, int error) {
    fault.kind = kind;
    fault.in = n;
    fault.error = error;
    fault.armed = 1;
}

static int disarm(void) { /* whether it fired */
    fault.armed = 0;
    return fault.in <= 0;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the system's names are reserved ones */
int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return due(OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t write(int fd, const void *from, size_t n) {
    if (due(WRITE)) {
        if (fault.error != SHORT)
            return -1;
        n = n > 1 ? n / 2 : n;
    }
    return syscall(SYS_write, fd, from, n);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
    if (due(PWRITE)) {
        if (fault.error != SHORT)
            return -1;
        n = n > 1 ? n / 2 : n;
    }
    return syscall(SYS_pwrite64, fd, from, n, at);
}

int fsync(int fd) {
    return due(FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

/* A close that fails has closed all the same: that is Linux. */
int close(int fd) {
    int failing = due(CLOSE), cause = errno, rc = (int)syscall(SYS_close, fd);
    if (failing) {
        errno = cause;
        return -1;
    }
    return rc;
}

int rename(const char *from, const char *to) {
    return due(RENAME) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* ---- what stands in the folder ------------------------------------------------------------------------------------*/
static void expect_text(const char *path, const char *text) {
    char *have = scratch_read(path, NULL);
    if (!text) {
        assert_null(have);
        return;
    }
    assert_non_null(have);
    assert_string_equal(have, text);
    free(have);
}

static int files_named(const char *part) {
    DIR *d = opendir(scratch_dir());
    int n = 0;
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));)
        n += strstr(f->d_name, part) != NULL;
    closedir(d);
    return n;
}

static void remove_named(const char *part) {
    DIR *d = opendir(scratch_dir());
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));)
        if (strstr(f->d_name, part))
            unlinkat(dirfd(d), f->d_name, 0);
    closedir(d);
}

static int write_text(const char *path, const char *text, mb_err *e) {
    mb_out *o;
    int rc = mb_out_create(&o, path, e);
    if (rc)
        return rc;
    if ((rc = mb_out_write(o, text, strlen(text), e))) {
        mb_out_abort(o);
        return rc;
    }
    return mb_out_commit(o, e);
}

/* ---- outputs ------------------------------------------------------------------------------------------------------*/
static void an_output_appears_at_commit(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *o;
    char host[65] = "", suffix[128];
    const char *path = scratch_text("a", "old");
    assert_int_equal(mb_out_create(&o, path, &e), MB_OK);
    gethostname(host, 64);
    host[40] = '\0';
    snprintf(suffix, sizeof suffix, "a.tmp.%s.%ld", host, (long)getpid());
    assert_string_equal(strrchr(mb_out_temp_path(o), '/') + 1, suffix);
    assert_int_equal(mb_out_write(o, "new ", 4, &e), MB_OK);
    assert_int_equal(mb_out_printf(o, &e, "%d", 7), MB_OK);
    assert_int_equal(mb_out_tell(o), 5);
    expect_text(path, "old");
    assert_int_equal(mb_out_commit(o, &e), MB_OK);
    expect_text(path, "new 7");
    assert_int_equal(files_named(".tmp."), 0);
}

static void an_aborted_output_leaves_the_old(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *o;
    const char *path = scratch_text("b", "old");
    assert_int_equal(mb_out_create(&o, path, &e), MB_OK);
    assert_int_equal(mb_out_write(o, "new", 3, &e), MB_OK);
    mb_out_abort(o);
    mb_out_abort(NULL);
    expect_text(path, "old");
    assert_int_equal(files_named(".tmp."), 0);
}

static void long_output_is_whole(void **state) {
    (void)state;
    enum { PIECE = 100003, PIECES = 11, HUGE = 700001 };
    mb_err e = {0};
    mb_out *o;
    size_t size, at = 0;
    char *bytes = malloc(HUGE), *have;
    for (int i = 0; i < HUGE; i++)
        bytes[i] = (char)('a' + i % 23);
    assert_int_equal(mb_out_create(&o, scratch_path("long"), &e), MB_OK);
    for (int i = 0; i < PIECES; i++) {
        assert_int_equal(mb_out_write(o, bytes, PIECE, &e), MB_OK);
        assert_int_equal(mb_out_printf(o, &e, "%.*s", 5000, bytes), MB_OK);
    }
    assert_int_equal(mb_out_write(o, bytes, HUGE, &e), MB_OK);
    assert_int_equal(mb_out_write(o, "", 0, &e), MB_OK);
    assert_int_equal(mb_out_tell(o), PIECES * (PIECE + 5000) + HUGE);
    assert_int_equal(mb_out_commit(o, &e), MB_OK);
    have = scratch_read(scratch_path("long"), &size);
    assert_int_equal(size, PIECES * (PIECE + 5000) + HUGE);
    for (int i = 0; i < PIECES; i++, at += PIECE + 5000) {
        assert_memory_equal(have + at, bytes, PIECE);
        assert_memory_equal(have + at + PIECE, bytes, 5000);
    }
    assert_memory_equal(have + at, bytes, HUGE);
    free(have);
    free(bytes);
}

enum { THREADS = 4, RECORDS = 200, RECORD = 64 };

typedef struct writer {
    mb_out *o;
    int first, rc;
} writer;

static void *write_records(void *p) {
    writer *w = p;
    mb_err e = {0};
    for (int i = w->first; i < RECORDS && !w->rc; i += THREADS) {
        char record[RECORD];
        memset(record, 'A' + i % 26, RECORD);
        w->rc = mb_out_pwrite(w->o, record, RECORD, 8 + (int64_t)i * RECORD, &e);
    }
    return NULL;
}

static void parts_may_come_from_any_thread(void **state) {
    (void)state;
    mb_err e = {0};
    pthread_t thread[THREADS];
    writer w[THREADS];
    mb_out *o;
    size_t size;
    assert_int_equal(mb_out_create(&o, scratch_path("parts"), &e), MB_OK);
    assert_int_equal(mb_out_write(o, "headhead", 8, &e), MB_OK);
    for (int i = 0; i < THREADS; i++) {
        w[i] = (writer){.o = o, .first = i};
        pthread_create(&thread[i], NULL, write_records, &w[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(w[i].rc, MB_OK);
    }
    assert_int_equal(mb_out_commit(o, &e), MB_OK);
    char *have = scratch_read(scratch_path("parts"), &size);
    assert_int_equal(size, 8 + RECORDS * RECORD);
    assert_memory_equal(have, "headhead", 8);
    for (int i = 0; i < RECORDS * RECORD; i++)
        assert_int_equal(have[8 + i], 'A' + i / RECORD % 26);
    free(have);
}

static void a_library_may_write_itself(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *o;
    assert_int_equal(mb_out_create(&o, scratch_path("lib"), &e), MB_OK);
    assert_int_equal(mb_out_write(o, "ours ", 5, &e), MB_OK);
    assert_int_equal(write(mb_out_fd(o), "theirs", 6), 6);
    assert_int_equal(mb_out_commit(o, &e), MB_OK);
    expect_text(scratch_path("lib"), "ours theirs");
}

static void a_dash_is_standard_output(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *o;
    fflush(stdout);
    int saved = dup(1), fd = open(scratch_path("stdout"), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    dup2(fd, 1);
    close(fd);
    int rc = mb_out_create(&o, "-", &e);
    rc = rc ? rc : mb_out_write(o, "text", 4, &e);
    int refused = mb_out_pwrite(o, "x", 1, 0, NULL);
    rc = rc ? rc : mb_out_commit(o, &e);
    int still_open = fcntl(1, F_GETFD) >= 0;
    dup2(saved, 1);
    close(saved);
    assert_int_equal(rc, MB_OK);
    assert_int_equal(refused, MB_USAGE);
    assert_true(still_open);
    expect_text(scratch_path("stdout"), "text");
}

static void a_full_device_is_told(void **state) {
    (void)state;
    mb_err e = {0};
    assert_int_equal(write_text("/dev/full", "x", &e), MB_IO);
    assert_non_null(strstr(e.text, "/dev/full: cannot write on after 0 B: No space left on device"));
    struct stat st;
    assert_int_equal(stat("/dev/full", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    mb_err_clear(&e);
    assert_int_equal(write_text("/dev/null", "x", &e), MB_OK);
}

static void links_stay_links(void **state) {
    (void)state;
    mb_err e = {0};
    struct stat st;
    const char *target = scratch_text("target", "old"), *link = scratch_path("link"),
               *nowhere = scratch_path("nowhere");
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(write_text(link, "new", &e), MB_OK);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    expect_text(target, "new");
    assert_int_equal(symlink(scratch_path("no such file"), nowhere), 0);
    assert_int_equal(write_text(nowhere, "new", &e), MB_IO);
    assert_non_null(strstr(e.text, "leads nowhere"));
}

static void permissions_are_kept(void **state) {
    (void)state;
    mb_err e = {0};
    struct stat st;
    const char *old = scratch_text("mode", "old"), *new = scratch_path("new mode");
    chmod(old, 0640);
    mode_t mask = umask(027);
    assert_int_equal(write_text(old, "new", &e), MB_OK);
    assert_int_equal(write_text(new, "new", &e), MB_OK);
    umask(mask);
    assert_int_equal(stat(old, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(stat(new, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640); /* 0666 less 027 */
}

/* Root may write anywhere: as nobody, then, in a child. */
static int as_nobody(int (*f)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(99);
        _exit(f());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int write_where_it_is_forbidden(void) {
    mb_err e = {0};
    if (write_text(scratch_path("closed/x"), "x", &e) != MB_IO ||
        !strstr(e.text, "closed/x: cannot create it: Permission"))
        return 1;
    mb_err_clear(&e);
    return write_text(scratch_path("guarded"), "x", &e) != MB_IO || !strstr(e.text, "may not be replaced") ? 2 : 0;
}

static void wrong_places_are_told_before_any_work(void **state) {
    (void)state;
    mb_err e = {0};
    static const struct {
        const char *name;
        int status;
        const char *words;
    } PLACES[] = {{"folder", MB_IO, "is a folder"},
                  {"missing/x", MB_IO, "its folder does not exist"},
                  {"file/x", MB_IO, "cannot"}};
    char name[300];
    scratch_text("file", "");
    scratch_text("guarded", "");
    mkdir(scratch_path("folder"), 0700);
    mkdir(scratch_path("closed"), 0555);
    chmod(scratch_path("guarded"), 0444);
    chmod(scratch_dir(), 0755);
    for (size_t i = 0; i < sizeof PLACES / sizeof PLACES[0]; i++) {
        mb_err_clear(&e);
        assert_int_equal(write_text(scratch_path(PLACES[i].name), "x", &e), PLACES[i].status);
        assert_non_null(strstr(e.text, PLACES[i].words));
    }
    mb_err_clear(&e);
    assert_int_equal(write_text("", "x", &e), MB_USAGE);
    memset(name, 'n', 299);
    name[299] = '\0';
    mb_err_clear(&e);
    assert_int_equal(write_text(scratch_path(name), "x", &e), MB_IO);
    assert_non_null(strstr(e.text, "longer than 255 bytes"));
    name[250] = '\0'; /* the temporary name must be shortened */
    mb_err_clear(&e);
    assert_int_equal(write_text(scratch_path(name), "x", &e), MB_OK);
    expect_text(scratch_path(name), "x");
    assert_int_equal(as_nobody(write_where_it_is_forbidden), 0);
}

/* ---- every call of a save fails in turn ---------------------------------------------------------------------------*/
/* Old contents "old"; new contents 300,000 bytes of 'x' with "HEAD" at the beginning. */
static int save(const char *path, mb_err *e) {
    static char bytes[150000];
    mb_out *o;
    memset(bytes, 'x', sizeof bytes);
    int rc = mb_out_create(&o, path, e);
    if (rc)
        return rc;
    for (int i = 0; i < 2 && rc == MB_OK; i++)
        rc = mb_out_write(o, bytes, sizeof bytes, e);
    if (rc || (rc = mb_out_pwrite(o, "HEAD", 4, 0, e))) {
        mb_out_abort(o);
        return rc;
    }
    return mb_out_commit(o, e);
}

static void expect_new(const char *path) {
    size_t n;
    char *have = scratch_read(path, &n);
    assert_non_null(have);
    assert_int_equal(n, 300000);
    assert_memory_equal(have, "HEADx", 5);
    assert_int_equal(have[n - 1], 'x');
    free(have);
}

static void whatever_fails_the_old_or_the_new_stands(void **state) {
    (void)state;
    static const int ERRORS[] = {EIO, ENOSPC, EDQUOT, EINTR, SHORT};
    static const char *const NAMES[CALLS] = {"open", "write", "pwrite", "fsync", "close", "rename"};
    int fired[CALLS] = {0};
    long blocks = mb_mem_live_blocks();
    for (call kind = OPEN; kind < CALLS; kind++) {
        for (size_t i = 0; i < sizeof ERRORS / sizeof ERRORS[0]; i++) {
            if (ERRORS[i] == SHORT && kind != PWRITE && kind != WRITE)
                continue;
            for (int n = 1, hit = 1; hit; n++) {
                mb_err e = {0};
                const char *path = scratch_text("saved", "old");
                arm(kind, n, ERRORS[i]);
                int rc = save(path, &e);
                hit = disarm();
                fired[kind] += hit;
                if (rc == MB_OK) {
                    expect_new(path);
                } else if (strstr(e.text,
                                  "durable")) { /* only the folder could not be synced: the file is in its place */
                    assert_int_equal(kind, FSYNC);
                    expect_new(path);
                } else {
                    assert_true(hit && ERRORS[i] != EINTR && ERRORS[i] != SHORT);
                    assert_int_equal(rc, MB_IO);
                    assert_non_null(strstr(e.text, path));
                    assert_non_null(strstr(e.text, strerror(ERRORS[i])));
                    if (kind == PWRITE && ERRORS[i] != EIO)
                        assert_non_null(strstr(e.text, " free on its file system"));
                    expect_text(path, "old");
                }
                if (ERRORS[i] == EINTR || ERRORS[i] == SHORT)
                    assert_int_equal(rc, MB_OK);
                assert_int_equal(files_named(".tmp."), 0);
                assert_int_equal(mb_mem_live_blocks(), blocks);
                assert_true(n < 50);
            }
        }
        if (kind != WRITE && !fired[kind])
            fail_msg("%s never failed", NAMES[kind]);
    }
}

static void a_failed_write_sticks(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *o;
    const char *path = scratch_text("sticks", "old");
    assert_int_equal(mb_out_create(&o, path, &e), MB_OK);
    arm(PWRITE, 1, ENOSPC);
    int rc = mb_out_pwrite(o, "x", 1, 0, &e);
    disarm();
    assert_int_equal(rc, MB_IO);
    assert_int_equal(mb_out_write(o, "y", 1, NULL), MB_IO);
    assert_int_equal(mb_out_commit(o, NULL), MB_IO); /* even when nobody looked */
    expect_text(path, "old");
}

static void allocations_fail_cleanly(void **state) {
    (void)state;
    long blocks = mb_mem_live_blocks();
    int fired = 1;
    for (int n = 1; fired; n++) {
        mb_err e = {0};
        const char *path = scratch_text("memory", "old");
        mb_mem_fail_nth(n, 0);
        int rc = save(path, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        if (rc == MB_OK)
            expect_new(path);
        else
            assert_int_equal(rc, strstr(e.text, "durable") ? MB_IO : MB_NOMEM);
        assert_int_equal(mb_mem_live_blocks(), blocks);
        assert_int_equal(files_named(".tmp."), 0);
        assert_true(n < 50);
    }
}

static int write_beyond_the_limit(void) {
    mb_err e = {0};
    struct rlimit limit = {100000, 100000};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    const char *path = scratch_path("limited");
    int rc = save(path, &e);
    return rc == MB_IO && strstr(e.text, "File too large") && !mb_file_exists(path) && !files_named(".tmp.") ? 0 : 1;
}

static void a_size_limit_is_an_error(void **state) {
    (void)state;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(write_beyond_the_limit());
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- many outputs, early ends -------------------------------------------------------------------------------------*/
static void two_outputs_to_one_place_do_not_meet(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *a, *b;
    const char *path = scratch_path("twice");
    assert_int_equal(mb_out_create(&a, path, &e), MB_OK);
    assert_int_equal(mb_out_create(&b, path, &e), MB_OK);
    assert_string_not_equal(mb_out_temp_path(a), mb_out_temp_path(b));
    assert_int_equal(mb_out_write(a, "a", 1, &e), MB_OK);
    assert_int_equal(mb_out_write(b, "b", 1, &e), MB_OK);
    assert_int_equal(mb_out_commit(b, &e), MB_OK);
    assert_int_equal(mb_out_commit(a, &e), MB_OK);
    expect_text(path, "a");
}

static void too_many_outputs_are_refused(void **state) {
    (void)state;
    enum { MOST = 256 };
    mb_err e = {0};
    mb_out *o[MOST], *more;
    char name[32];
    for (int i = 0; i < MOST; i++) {
        snprintf(name, sizeof name, "many%d", i);
        assert_int_equal(mb_out_create(&o[i], scratch_path(name), &e), MB_OK);
    }
    assert_int_equal(mb_out_create(&more, scratch_path("one more"), &e), MB_FAIL);
    assert_null(more);
    for (int i = 0; i < MOST; i++)
        mb_out_abort(o[i]);
    assert_int_equal(files_named(".tmp."), 0);
}

static void abort_all_removes_what_is_open(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *a, *b, *c;
    long blocks = mb_mem_live_blocks();
    const char *path = scratch_text("ended", "old");
    assert_int_equal(mb_out_create(&a, path, &e), MB_OK);
    assert_int_equal(mb_out_create(&b, scratch_path("ended2"), &e), MB_OK);
    assert_int_equal(files_named(".tmp."), 2);
    mb_out_abort_all();
    mb_out_abort_all();
    assert_int_equal(files_named(".tmp."), 0);
    assert_int_equal(mb_out_commit(a, &e), MB_STOPPED);
    mb_out_abort(b);
    expect_text(path, "old");
    assert_int_equal(mb_mem_live_blocks(), blocks);
    mb_err_clear(&e); /* and the slots serve again */
    assert_int_equal(mb_out_create(&c, path, &e), MB_OK);
    assert_int_equal(mb_out_commit(c, &e), MB_OK);
    expect_text(path, "");
}

static void end_now(int number) {
    mb_out_abort_all();
    _exit(number);
}

static void a_signal_leaves_nothing(void **state) {
    (void)state;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        mb_out *o;
        sigaction(SIGALRM, &(struct sigaction){.sa_handler = end_now}, NULL);
        ualarm(20000, 0);
        for (;;) /* whenever it strikes */
            if (mb_out_create(&o, scratch_path("struck"), NULL) || mb_out_write(o, "x", 1, NULL) ||
                mb_out_commit(o, NULL))
                _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SIGALRM);
    /* struck between open and registration one empty file may stay, never two */
    assert_in_range(files_named("struck.tmp."), 0, 1);
    remove_named("struck");
}

/* ---- outputs that can be taken up again ---------------------------------------------------------------------------*/
static void a_partial_output_survives(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *o, *second;
    int64_t size;
    const char *path = scratch_text("resumed", "old"), *partial = scratch_path("resumed.partial");
    assert_int_equal(mb_out_create_partial(&o, path, &size, &e), MB_OK);
    assert_int_equal(size, 0);
    assert_int_equal(mb_out_write(o, "first second thi", 16, &e), MB_OK);
    mb_out_abort_all(); /* not ours to remove */
    assert_int_equal(mb_out_keep(o, &e), MB_OK);
    expect_text(partial, "first second thi");
    expect_text(path, "old");
    assert_int_equal(mb_out_create_partial(&o, path, &size, &e), MB_OK);
    assert_int_equal(size, 16);
    assert_int_equal(mb_out_create_partial(&second, path, &size, &e), MB_IO);
    assert_non_null(strstr(e.text, "another process is writing it"));
    mb_err_clear(&e);
    assert_int_equal(mb_out_truncate(o, 13, &e), MB_OK);
    assert_int_equal(mb_out_write(o, "third", 5, &e), MB_OK);
    assert_int_equal(mb_out_tell(o), 18);
    assert_int_equal(mb_out_commit(o, &e), MB_OK);
    expect_text(path, "first second third");
    expect_text(partial, NULL);
    assert_int_equal(mb_out_create_partial(&o, path, &size, &e), MB_OK);
    mb_out_abort(o);
    expect_text(partial, NULL);
}

static void a_partial_output_outlives_a_full_disk(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *o;
    int64_t size;
    const char *path = scratch_path("filled");
    assert_int_equal(mb_out_create_partial(&o, path, &size, &e), MB_OK);
    assert_int_equal(mb_out_pwrite(o, "good", 4, 0, &e), MB_OK);
    arm(PWRITE, 1, ENOSPC);
    int rc = mb_out_pwrite(o, "bad", 3, 4, &e);
    disarm();
    assert_int_equal(rc, MB_IO);
    assert_int_equal(mb_out_commit(o, NULL), MB_IO);
    expect_text(path, NULL);
    expect_text(scratch_path("filled.partial"), "good");
}

static void only_regular_files_can_be_resumed(void **state) {
    (void)state;
    mb_err e = {0};
    mb_out *o;
    int64_t size;
    assert_int_equal(mb_out_create_partial(&o, "-", &size, &e), MB_USAGE);
    mb_err_clear(&e);
    assert_int_equal(mb_out_create_partial(&o, "/dev/null", &size, &e), MB_USAGE);
    mb_err_clear(&e);
    mkdir(scratch_path("odd.partial"), 0700);
    assert_int_equal(mb_out_create_partial(&o, scratch_path("odd"), &size, &e), MB_IO);
    assert_int_equal(symlink("/etc/hostname", scratch_path("trap.partial")), 0);
    mb_err_clear(&e);
    assert_int_equal(mb_out_create_partial(&o, scratch_path("trap"), &size, &e), MB_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_output_appears_at_commit),
        cmocka_unit_test(an_aborted_output_leaves_the_old),
        cmocka_unit_test(long_output_is_whole),
        cmocka_unit_test(parts_may_come_from_any_thread),
        cmocka_unit_test(a_library_may_write_itself),
        cmocka_unit_test(a_dash_is_standard_output),
        cmocka_unit_test(a_full_device_is_told),
        cmocka_unit_test(links_stay_links),
        cmocka_unit_test(permissions_are_kept),
        cmocka_unit_test(wrong_places_are_told_before_any_work),
        cmocka_unit_test(whatever_fails_the_old_or_the_new_stands),
        cmocka_unit_test(a_failed_write_sticks),
        cmocka_unit_test(allocations_fail_cleanly),
        cmocka_unit_test(a_size_limit_is_an_error),
        cmocka_unit_test(two_outputs_to_one_place_do_not_meet),
        cmocka_unit_test(too_many_outputs_are_refused),
        cmocka_unit_test(abort_all_removes_what_is_open),
        cmocka_unit_test(a_signal_leaves_nothing),
        cmocka_unit_test(a_partial_output_survives),
        cmocka_unit_test(a_partial_output_outlives_a_full_disk),
        cmocka_unit_test(only_regular_files_can_be_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
