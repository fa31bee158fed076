/* Outputs that appear complete or not at all, whole-file input, mappings, digests.
 * Refuses to write over a folder, through a dangling link, or on after a failed write. Every message names the path; a
 * full disk also says how much is free. */
#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { BUFFER_BYTES = 256 * 1024, MAX_OUTPUTS = 256, READ_CHUNK = 1 << 20 };

struct mb_out {
    char *path; /* final name, links resolved; "standard output" for "-" */
    char *temp; /* NULL when written directly (stdout, device, pipe) */
    int fd, owns_fd;
    int direct;  /* no temporary file, no seeking */
    int partial; /* PATH.partial, survives */
    int slot;    /* in the registry, -1 none */
    char *buffer;
    size_t filled;
    int64_t flushed;      /* bytes of the sequential stream that left the buffer */
    int64_t end;          /* 1 + last byte written anywhere, for messages */
    int failed;           /* errno of the first failed write, 0 none */
    pthread_mutex_t lock; /* buffer and failure, for pwrite from several threads */
};

/* ---- registry of temporary names, readable from a signal handler ----------------------------------------------------
 * A slot goes empty -> name -> empty in normal life, and name -> BUSY -> TAKEN when mb_out_abort_all removes the file.
 * The owner frees the string unless a handler is at work on it (BUSY): then the process is dying and the string is
 * left. */
static char BUSY[] = "", TAKEN[] = "";
static char *_Atomic registry[MAX_OUTPUTS];

static int registry_add(char *name) {
    for (int i = 0; i < MAX_OUTPUTS; i++) {
        char *empty = NULL;
        if (atomic_compare_exchange_strong(&registry[i], &empty, name))
            return i;
    }
    return -1;
}

/* Empties the slot; returns whether the name may be freed. */
static int registry_release(int slot, char *name) {
    if (slot < 0)
        return 1;
    char *held = name;
    if (atomic_compare_exchange_strong(&registry[slot], &held, NULL))
        return 1;
    return held == TAKEN && atomic_compare_exchange_strong(&registry[slot], &held, NULL);
}

void mb_out_abort_all(void) {
    int cause = errno;
    for (int i = 0; i < MAX_OUTPUTS; i++) {
        char *name = atomic_load(&registry[i]);
        if (!name || name == BUSY || name == TAKEN || !atomic_compare_exchange_strong(&registry[i], &name, BUSY))
            continue;
        unlink(name);
        atomic_store(&registry[i], TAKEN);
    }
    errno = cause;
}

/* ---- system calls that finish -------------------------------------------------------------------------------------*/
/* at < 0: where the descriptor stands. Returns 0 or an errno. */
static int write_fully(int fd, const char *data, size_t n, int64_t at) {
    while (n) {
        ssize_t w = at < 0 ? write(fd, data, n) : pwrite(fd, data, n, (off_t)at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return w < 0 ? errno : EIO;
        data += w;
        n -= (size_t)w;
        if (at >= 0)
            at += w;
    }
    return 0;
}

static int sync_fully(int fd) {
    int rc;
    do
        rc = fsync(fd);
    while (rc && errno == EINTR);
    /* Pipes and some network file systems cannot sync; that is no lost data. */
    return rc && errno != EINVAL && errno != ENOTSUP && errno != EROFS ? errno : 0;
}

static int open_retry(const char *path, int flags, mode_t mode) {
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int rename_retry(const char *from, const char *to) {
    int rc;
    do
        rc = rename(from, to);
    while (rc && errno == EINTR);
    return rc;
}

/* On the stack: the file is in its place already, so nothing may fail any more that is not the disk's. */
static int sync_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX] = ".";
    if (slash)
        snprintf(dir, sizeof dir, "%.*s", (int)(slash == path ? 1 : slash - path), path);
    int fd = open_retry(dir, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return 0; /* a folder one may write but not read: the rename stands, its durability is the system's */
    int cause = sync_fully(fd);
    close(fd);
    return cause;
}

/* ---- creating -----------------------------------------------------------------------------------------------------*/
/* What stands at the path now, and where a write should really go. */
static int look(const char *path, char **target, struct stat *st, mb_err *e) {
    struct stat link;
    *st = (struct stat){0};
    *target = NULL;
    if (lstat(path, &link) == 0 && S_ISLNK(link.st_mode)) {
        if (stat(path, st))
            return mb_fail_errno(e, MB_IO, "%s: is a symbolic link that leads nowhere; remove it or name its target",
                                 path);
        /* What is no regular file is written where it is (/dev/stdout, /dev/fd/63 are links without a path). */
        char *real = S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) ? realpath(path, NULL) : strdup(path);
        if (!real)
            return mb_fail_errno(e, MB_IO, "%s: cannot follow the symbolic link", path);
        *target = mb_strdup(real);
        free(real);
    } else {
        if (stat(path, st))
            st->st_mode = 0;
        *target = mb_strdup(path);
    }
    if (!*target)
        return mb_fail(e, MB_NOMEM, "%s: out of memory", path);
    if (S_ISDIR(st->st_mode))
        return mb_fail(e, MB_IO, "%s: is a folder; name a file inside it", path);
    return MB_OK;
}

/* PATH.tmp.<host>.<pid>[.<k>], cut in the middle where the file name would be longer than a folder can hold. */
static char *temp_name(const char *path, int k) {
    char host[65] = "", suffix[128];
    if (gethostname(host, sizeof host - 1))
        strcpy(host, "host");
    host[40] = '\0';
    for (char *c = host; *c; c++)
        if (*c == '/')
            *c = '_';
    snprintf(suffix, sizeof suffix, k ? ".tmp.%s.%ld.%d" : ".tmp.%s.%ld", host, (long)getpid(), k);
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0, base = strlen(path) - folder;
    size_t most = NAME_MAX - strlen(suffix);
    base = base < most ? base : most;
    return mb_asprintf("%.*s%s", (int)(folder + base), path, suffix);
}

static int open_temp(mb_out *o, mode_t mode, mb_err *e) {
    const char *slash = strrchr(o->path, '/');
    if (strlen(slash ? slash + 1 : o->path) > NAME_MAX)
        return mb_fail(e, MB_IO, "%s: the file name is longer than %d bytes", o->path, NAME_MAX);
    for (int k = 0; k < 100; k++) {
        mb_free(o->temp);
        if (!(o->temp = temp_name(o->path, k)))
            return mb_fail(e, MB_NOMEM, "%s: out of memory", o->path);
        o->fd = open_retry(o->temp, O_RDWR | O_CREAT | O_EXCL, 0666);
        if (o->fd < 0 && errno == EEXIST)
            continue; /* left by a process that had our number, or another output of ours to the same place */
        if (o->fd < 0 && errno == ENOENT && slash)
            return mb_fail(e, MB_IO, "%s: its folder does not exist; create it first", o->path);
        if (o->fd < 0)
            return mb_fail_errno(e, MB_IO, "%s: cannot create it", o->path);
        o->owns_fd = 1;
        if (mode && fchmod(o->fd, mode & 0777))
            mb_debug("%s: its permissions could not be kept", o->path);
        return MB_OK;
    }
    return mb_fail(e, MB_IO, "%s: cannot create it: too many leftover files %s.tmp.*; remove them", o->path, o->path);
}

static int open_partial(mb_out *o, int64_t *size, mb_err *e) {
    struct stat st;
    if (!(o->temp = mb_asprintf("%s.partial", o->path)))
        return mb_fail(e, MB_NOMEM, "%s: out of memory", o->path);
    o->fd = open_retry(o->temp, O_RDWR | O_CREAT | O_NOFOLLOW, 0666);
    if (o->fd < 0)
        return mb_fail_errno(e, MB_IO, "%s: cannot create it", o->temp);
    o->owns_fd = 1;
    if (flock(o->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return mb_fail(e, MB_IO, "%s: another process is writing it; wait for that one or give another output",
                       o->temp);
    if (fstat(o->fd, &st))
        return mb_fail_errno(e, MB_IO, "%s: cannot be examined", o->temp);
    if (!S_ISREG(st.st_mode))
        return mb_fail(e, MB_IO, "%s: is not a regular file", o->temp);
    *size = o->flushed = o->end = st.st_size;
    return MB_OK;
}

static int open_direct(mb_out *o, mb_err *e) {
    o->direct = 1;
    o->fd = open_retry(o->path, O_WRONLY, 0);
    if (o->fd < 0)
        return mb_fail_errno(e, MB_IO, "%s: cannot open it for writing", o->path);
    o->owns_fd = 1;
    return MB_OK;
}

static void destroy(mb_out *o) {
    if (!o)
        return;
    if (o->owns_fd)
        close(o->fd);
    if (registry_release(o->slot, o->temp))
        mb_free(o->temp);
    pthread_mutex_destroy(&o->lock);
    mb_free(o->path);
    mb_free(o->buffer);
    mb_free(o);
}

static int open_kind(mb_out *o, const char *path, int64_t *partial_size, mb_err *e) {
    struct stat st;
    if (strcmp(path, "-") == 0) {
        o->direct = 1;
        o->fd = STDOUT_FILENO;
        if (partial_size)
            return mb_fail(e, MB_USAGE, "standard output cannot be resumed; name a file");
        o->path = mb_strdup("standard output");
        return o->path ? MB_OK : mb_fail(e, MB_NOMEM, "standard output: out of memory");
    }
    int rc = look(path, &o->path, &st, e);
    if (rc)
        return rc;
    if (st.st_mode && !S_ISREG(st.st_mode))
        return partial_size ? mb_fail(e, MB_USAGE, "%s: is no regular file and cannot be resumed", path)
                            : open_direct(o, e);
    if (st.st_mode && access(path, W_OK))
        return mb_fail_errno(e, MB_IO, "%s: exists and may not be replaced", path);
    rc = partial_size ? open_partial(o, partial_size, e) : open_temp(o, st.st_mode, e);
    if (rc == MB_OK && !partial_size && (o->slot = registry_add(o->temp)) < 0) {
        unlink(o->temp);
        return mb_fail(e, MB_FAIL, "%s: more than %d outputs are open at once", path, MAX_OUTPUTS);
    }
    return rc;
}

static int create(mb_out **out, const char *path, int64_t *partial_size, mb_err *e) {
    *out = NULL;
    if (!*path)
        return mb_fail(e, MB_USAGE, "an output path is empty");
    mb_out *o = mb_calloc(1, sizeof *o);
    if (!o)
        return mb_fail(e, MB_NOMEM, "%s: out of memory", path);
    o->fd = o->slot = -1;
    o->partial = partial_size != NULL;
    pthread_mutex_init(&o->lock, NULL);
    o->buffer = mb_malloc(BUFFER_BYTES);
    int rc = o->buffer ? open_kind(o, path, partial_size, e) : mb_fail(e, MB_NOMEM, "%s: out of memory", path);
    if (rc) {
        destroy(o);
        return rc;
    }
    *out = o;
    return MB_OK;
}

int mb_out_create(mb_out **out, const char *path, mb_err *e) {
    return create(out, path, NULL, e);
}

int mb_out_create_partial(mb_out **out, const char *path, int64_t *size, mb_err *e) {
    *size = 0;
    return create(out, path, size, e);
}

/* ---- writing ------------------------------------------------------------------------------------------------------*/
static int report(mb_out *o, mb_err *e) {
    char has[32], room[32];
    int cause = o->failed;
    mb_human_bytes((double)o->end, has);
    errno = cause;
    if (cause == ENOSPC || cause == EDQUOT || cause == EFBIG) {
        int64_t free_bytes = o->direct ? -1 : mb_dir_free_bytes(o->temp);
        mb_human_bytes((double)free_bytes, room);
        errno = cause;
        if (free_bytes >= 0)
            return mb_fail_errno(e, MB_IO, "%s: cannot write on after %s (%s free on its file system)", o->path, has,
                                 room);
    }
    return mb_fail_errno(e, MB_IO, "%s: cannot write on after %s", o->path, has);
}

/* Writes and remembers the first failure. Called with the lock held, or for pwrite data without. */
static int emit(mb_out *o, const void *data, size_t n, int64_t at) {
    int cause = write_fully(o->fd, data, n, o->direct ? -1 : at);
    if (cause && !o->failed)
        o->failed = cause;
    if (!cause && at + (int64_t)n > o->end)
        o->end = at + (int64_t)n;
    return cause;
}

static int flush(mb_out *o) {
    if (o->failed)
        return o->failed;
    if (!o->filled || emit(o, o->buffer, o->filled, o->flushed))
        return o->failed;
    o->flushed += (int64_t)o->filled;
    o->filled = 0;
    return 0;
}

int mb_out_write(mb_out *o, const void *data, size_t n, mb_err *e) {
    pthread_mutex_lock(&o->lock);
    if (!o->failed && n > BUFFER_BYTES - o->filled)
        flush(o);
    if (!o->failed && n >= BUFFER_BYTES) {
        if (!emit(o, data, n, o->flushed))
            o->flushed += (int64_t)n;
    } else if (!o->failed) {
        memcpy(o->buffer + o->filled, data, n);
        o->filled += n;
    }
    int rc = o->failed ? report(o, e) : MB_OK;
    pthread_mutex_unlock(&o->lock);
    return rc;
}

int mb_out_printf(mb_out *o, mb_err *e, const char *fmt, ...) {
    char small[1024], *text = small;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    MB_ASSERT(n >= 0);
    if ((size_t)n >= sizeof small) {
        if (!(text = mb_malloc((size_t)n + 1)))
            return mb_fail(e, MB_NOMEM, "%s: out of memory for a line of %d bytes", o->path, n);
        va_start(args, fmt);
        vsnprintf(text, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    int rc = mb_out_write(o, text, (size_t)n, e);
    if (text != small)
        mb_free(text);
    return rc;
}

int mb_out_pwrite(mb_out *o, const void *data, size_t n, int64_t at, mb_err *e) {
    MB_ASSERT(at >= 0);
    if (o->direct)
        return mb_fail(e, MB_USAGE, "%s: this output must be a regular file, since its parts come in any order",
                       o->path);
    pthread_mutex_lock(&o->lock);
    int cause = flush(o);
    pthread_mutex_unlock(&o->lock);
    if (!cause)
        cause = write_fully(o->fd, data, n, at);
    pthread_mutex_lock(&o->lock);
    if (cause && !o->failed)
        o->failed = cause;
    if (!cause && at + (int64_t)n > o->end)
        o->end = at + (int64_t)n;
    int rc = cause ? report(o, e) : MB_OK;
    pthread_mutex_unlock(&o->lock);
    return rc;
}

int mb_out_truncate(mb_out *o, int64_t size, mb_err *e) {
    MB_ASSERT(size >= 0);
    if (o->direct)
        return mb_fail(e, MB_USAGE, "%s: this output must be a regular file", o->path);
    pthread_mutex_lock(&o->lock);
    if (!flush(o) && ftruncate(o->fd, (off_t)size))
        o->failed = errno;
    o->flushed = o->end = size;
    int rc = o->failed ? report(o, e) : MB_OK;
    pthread_mutex_unlock(&o->lock);
    return rc;
}

int mb_out_fd(mb_out *o) {
    pthread_mutex_lock(&o->lock);
    /* A failure sticks and is told by commit. */
    if (!flush(o) && !o->direct && lseek(o->fd, (off_t)o->flushed, SEEK_SET) < 0)
        o->failed = errno;
    pthread_mutex_unlock(&o->lock);
    return o->fd;
}

const char *mb_out_temp_path(const mb_out *o) {
    return o->temp ? o->temp : o->path;
}

int64_t mb_out_tell(const mb_out *o) {
    return o->flushed + (int64_t)o->filled;
}

/* ---- ending -------------------------------------------------------------------------------------------------------*/
static int settle(mb_out *o, mb_err *e) {
    if (!flush(o) && !o->failed)
        o->failed = sync_fully(o->fd);
    if (o->owns_fd) {
        o->owns_fd = 0;
        if (close(o->fd) && errno != EINTR && !o->failed)
            o->failed = errno;
    }
    return o->failed ? report(o, e) : MB_OK;
}

int mb_out_commit(mb_out *o, mb_err *e) {
    int rc = settle(o, e);
    if (o->direct)
        goto done;
    if (rc == MB_OK && rename_retry(o->temp, o->path)) {
        int gone = errno == ENOENT && o->slot >= 0 && atomic_load(&registry[o->slot]) != o->temp;
        rc = gone ? mb_fail(e, MB_STOPPED, "%s: given up, as the program was asked to end", o->path)
                  : mb_fail_errno(e, MB_IO, "%s: cannot put the finished file %s in its place", o->path, o->temp);
    } else if (rc == MB_OK) {
        int cause = sync_folder_of(o->path);
        if (cause) {
            errno = cause;
            rc = mb_fail_errno(e, MB_IO, "%s: cannot make its folder durable", o->path);
        }
    }
    if (rc && !o->partial)
        unlink(o->temp);
done:
    destroy(o);
    return rc;
}

int mb_out_keep(mb_out *o, mb_err *e) {
    MB_ASSERT(o->partial);
    int rc = settle(o, e);
    destroy(o);
    return rc;
}

void mb_out_abort(mb_out *o) {
    if (!o)
        return;
    if (o->temp && o->owns_fd)
        unlink(o->temp);
    destroy(o);
}

/* ---- whole files --------------------------------------------------------------------------------------------------*/
/* Opens for reading; says the size it has now. */
static int open_input(const char *path, int *fd, struct stat *st, mb_err *e) {
    *fd = open_retry(path, O_RDONLY, 0);
    if (*fd < 0)
        return mb_fail_errno(e, errno == ENOENT ? MB_NOTFOUND : MB_IO, "%s: cannot open it", path);
    int rc = fstat(*fd, st)         ? mb_fail_errno(e, MB_IO, "%s: cannot be examined", path)
             : S_ISDIR(st->st_mode) ? mb_fail(e, MB_IO, "%s: is a folder, not a file", path)
                                    : MB_OK;
    if (rc) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

static ssize_t read_some(int fd, void *to, size_t n) {
    ssize_t r;
    do
        r = read(fd, to, n);
    while (r < 0 && errno == EINTR);
    return r;
}

int mb_file_write_all(const char *path, const void *data, size_t n, mb_err *e) {
    mb_out *o = NULL;
    int rc = mb_out_create(&o, path, e);
    if (rc == MB_OK)
        rc = mb_out_write(o, data, n, e);
    if (rc == MB_OK)
        return mb_out_commit(o, e);
    mb_out_abort(o);
    return rc;
}

int mb_file_read_all(const char *path, size_t max_bytes, char **data, size_t *size, mb_err *e) {
    struct stat st;
    int fd, rc = open_input(path, &fd, &st, e);
    char *text = NULL;
    size_t used = 0, room = 0;
    *data = NULL;
    *size = 0;
    if (rc)
        return rc;
    size_t first = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size + 2 : 4096;
    for (;;) {
        if (room - used < 2) { /* one byte to find the end, one for the zero */
            size_t want = room ? room * 2 : first;
            if (want > max_bytes + 2 && max_bytes < SIZE_MAX - 2)
                want = max_bytes + 2;
            char *more = mb_realloc(text, want);
            if (!more) {
                rc = mb_fail(e, MB_NOMEM, "%s: out of memory (%zu bytes) while reading it", path, want);
                goto done;
            }
            text = more;
            room = want;
        }
        ssize_t r = read_some(fd, text + used, room - used - 1);
        if (r < 0) {
            rc = mb_fail_errno(e, MB_IO, "%s: cannot read it after %zu bytes", path, used);
            goto done;
        }
        if (r == 0)
            break;
        used += (size_t)r;
        if (used > max_bytes) {
            rc = mb_fail(e, MB_FORMAT, "%s: is larger than %zu bytes, the most such a file may have", path, max_bytes);
            goto done;
        }
    }
    text[used] = '\0';
    *data = text;
    *size = used;
    text = NULL;
done:
    mb_free(text);
    close(fd);
    return rc;
}

int mb_file_map(mb_map *m, const char *path, mb_err *e) {
    struct stat st;
    int fd, rc = open_input(path, &fd, &st, e);
    *m = (mb_map){0};
    if (rc)
        return rc;
    if (!S_ISREG(st.st_mode)) {
        rc = mb_fail(e, MB_IO, "%s: is no regular file and cannot be mapped; save it to disk first", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            rc = mb_fail_errno(e, errno == ENOMEM ? MB_NOMEM : MB_IO, "%s: cannot map it", path);
        else
            *m = (mb_map){.data = p, .size = (size_t)st.st_size};
    }
    close(fd);
    return rc;
}

void mb_file_unmap(mb_map *m) {
    if (!m)
        return;
    if (m->data) {
        int rc = munmap((void *)(uintptr_t)m->data, m->size);
        MB_ASSERT(rc == 0);
    }
    *m = (mb_map){0};
}

int mb_path_is_direct(const char *path) {
    struct stat s;
    return strcmp(path, "-") == 0 || (stat(path, &s) == 0 && !S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode));
}

int mb_path_ends_with(const char *path, const char *end) {
    const size_t n = strlen(path), m = strlen(end);
    return n >= m && strcasecmp(path + n - m, end) == 0;
}

int mb_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

int mb_dir_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int64_t mb_dir_free_bytes(const char *path_in_dir) {
    struct statvfs v;
    const char *slash = strrchr(path_in_dir, '/');
    char dir[PATH_MAX] = ".";
    if (slash && (size_t)(slash - path_in_dir) >= sizeof dir)
        return -1;
    if (slash == path_in_dir)
        strcpy(dir, "/");
    else if (slash) {
        memcpy(dir, path_in_dir, (size_t)(slash - path_in_dir));
        dir[slash - path_in_dir] = '\0';
    }
    int64_t bytes;
    if (statvfs(dir, &v) || __builtin_mul_overflow((int64_t)v.f_bavail, (int64_t)v.f_frsize, &bytes))
        return -1;
    return bytes;
}

char *mb_path_join(const char *dir, const char *name) {
    size_t n = strlen(dir);
    if (!n || name[0] == '/')
        return mb_strdup(name);
    return mb_asprintf(dir[n - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

/* ---- digests ------------------------------------------------------------------------------------------------------*/
static void to_hex(const unsigned char *digest, char *hex) {
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

void mb_sha256_hex(const void *data, size_t n, char *hex) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    int ok = EVP_Digest(data, n, digest, NULL, EVP_sha256(), NULL);
    MB_ASSERT(ok == 1);
    to_hex(digest, hex);
}

int mb_file_sha256(const char *path, char *hex, mb_err *e) {
    struct stat st;
    unsigned char digest[EVP_MAX_MD_SIZE], *chunk = NULL;
    EVP_MD_CTX *ctx = NULL;
    int fd, rc = open_input(path, &fd, &st, e);
    hex[0] = '\0';
    if (rc)
        return rc;
    chunk = mb_malloc(READ_CHUNK);
    ctx = EVP_MD_CTX_new();
    if (!chunk || !ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL)) {
        rc = mb_fail(e, MB_NOMEM, "%s: out of memory for its digest", path);
        goto done;
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (ssize_t r; (r = read_some(fd, chunk, READ_CHUNK)) != 0;) {
        if (r < 0) {
            rc = mb_fail_errno(e, MB_IO, "%s: cannot read it", path);
            goto done;
        }
        EVP_DigestUpdate(ctx, chunk, (size_t)r);
    }
    EVP_DigestFinal_ex(ctx, digest, NULL);
    to_hex(digest, hex);
done:
    EVP_MD_CTX_free(ctx);
    mb_free(chunk);
    close(fd);
    return rc;
}
