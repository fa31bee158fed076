/* See stream.h. */
#include "core/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/log.h"
#include "core/mem.h"

struct mb_stream {
    int64_t records, in_memory;
    size_t floats; /* of a record */
    float *memory;
    size_t memory_bytes;
    int fd;
    char *folder;
};

static int open_unnamed(const char *folder, mb_err *e) {
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    char *path = mb_asprintf("%s/seqmamba-scratch-XXXXXX", folder);
    if (!path)
        return mb_fail(e, MB_NOMEM, "no memory for the scratch file's name");
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    else
        fd = mb_fail_errno(e, MB_IO, "cannot create a scratch file in %s (choose another folder with --scratch)",
                           folder);
    mb_free(path);
    return fd;
}

/* Free bytes of the file system that holds the file; -1 unknown. */
static int64_t room(int fd) {
    struct statvfs v;
    int64_t bytes;
    if (fstatvfs(fd, &v) != 0 || __builtin_mul_overflow((int64_t)v.f_bavail, (int64_t)v.f_frsize, &bytes))
        return -1;
    return bytes;
}

/* fallocate, tried again when a signal came (a file system in memory takes its time). Not posix_fallocate: where the
 * file system cannot reserve, that writes a byte into every block. Returns an errno. */
static int fallocate_all(int fd, int64_t bytes) {
    for (int i = 0;; i++) {
        if (fallocate(fd, 0, 0, (off_t)bytes) == 0)
            return 0;
        if (errno != EINTR || i == 100)
            return errno;
    }
}

/* Reserves the whole file at once, so that a full disk is found before the work and not in the middle of it. */
static int reserve(mb_stream *s, int64_t bytes, mb_err *e) {
    int cause = fallocate_all(s->fd, bytes);
    const int64_t free_bytes = room(s->fd);
    if (cause == EOPNOTSUPP || cause == ENOSYS || cause == EINTR) {
        cause = free_bytes >= 0 && free_bytes < bytes ? ENOSPC : 0;
        if (cause == 0 && ftruncate(s->fd, (off_t)bytes) != 0)
            cause = errno;
    }
    if (cause == 0)
        return MB_OK;
    char need[32], have[32], words[128];
    return mb_fail(
        e, MB_IO,
        "cannot reserve a scratch file of %s in %s (%s free): %s; give more --memory or another --scratch folder",
        mb_human_bytes((double)bytes, need), s->folder,
        free_bytes < 0 ? "unknown how much" : mb_human_bytes((double)free_bytes, have),
        strerror_r(cause, words, sizeof words));
}

/* A scratch file in memory defeats the budget; people should know, once. */
static void warn_of_memory(const mb_stream *s) {
    static atomic_flag told = ATOMIC_FLAG_INIT;
    enum { TMPFS = 0x01021994 }; /* linux/magic.h */
    struct statfs fs;
    if (fstatfs(s->fd, &fs) == 0 && fs.f_type == TMPFS && !atomic_flag_test_and_set(&told))
        mb_warn("the scratch folder %s is itself in memory and counts beside --memory; name a folder on a disk with "
                "--scratch or TMPDIR",
                s->folder);
}

static int create_file(mb_stream *s, const char *folder, mb_err *e) {
    if (!folder || !*folder)
        folder = getenv("TMPDIR");
    if (!folder || !*folder)
        folder = "/tmp";
    s->folder = mb_strdup(folder);
    if (!s->folder)
        return mb_fail(e, MB_NOMEM, "no memory for the scratch file's name");
    s->fd = open_unnamed(s->folder, e);
    if (s->fd < 0)
        return s->fd;
    int64_t bytes;
    if (__builtin_mul_overflow(s->records - s->in_memory, (int64_t)(s->floats * sizeof(float)), &bytes))
        return mb_fail(e, MB_RANGE, "a sequence of this length would need a scratch file beyond 8 EiB");
    warn_of_memory(s);
    return reserve(s, bytes, e);
}

int mb_stream_create(mb_stream **out, int64_t records, size_t floats, int64_t in_memory, const char *folder,
                     mb_err *e) {
    int rc = MB_OK;
    mb_stream *s = mb_calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory for a stream");
    MB_ASSERT(in_memory >= 0 && in_memory <= records);
    s->records = records;
    s->in_memory = in_memory;
    s->floats = (floats + 15) / 16 * 16;
    s->fd = -1;
    if (__builtin_mul_overflow((size_t)in_memory, s->floats * sizeof(float), &s->memory_bytes))
        s->memory_bytes = SIZE_MAX; /* refused below */
    if (in_memory > 0 && !(s->memory = mb_big_alloc(s->memory_bytes))) {
        char need[32];
        rc = mb_fail(e, MB_NOMEM, "cannot allocate %s for the stream between passes; lower --memory",
                     mb_human_bytes((double)s->memory_bytes, need));
    }
    if (rc == MB_OK && in_memory < records)
        rc = create_file(s, folder, e);
    if (rc != MB_OK) {
        mb_stream_destroy(s);
        return rc;
    }
    *out = s;
    return MB_OK;
}

void mb_stream_destroy(mb_stream *s) {
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    if (s->memory)
        mb_big_free(s->memory, s->memory_bytes);
    mb_free(s->folder);
    mb_free(s);
}

float *mb_stream_memory(mb_stream *s, int64_t record) {
    MB_ASSERT(record >= 0 && record < s->records);
    return record < s->in_memory ? s->memory + (size_t)record * s->floats : NULL;
}

static off_t offset_of(const mb_stream *s, int64_t record) {
    MB_ASSERT(record >= s->in_memory && record < s->records);
    return (off_t)((record - s->in_memory) * (int64_t)(s->floats * sizeof(float)));
}

int mb_stream_load(mb_stream *s, int64_t record, float *buffer, size_t floats, mb_err *e) {
    char *to = (char *)buffer;
    size_t left = floats * sizeof(float);
    off_t at = offset_of(s, record);
    while (left > 0) {
        ssize_t n = pread(s->fd, to, left, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? mb_fail_errno(e, MB_IO, "reading the scratch file in %s", s->folder)
                         : mb_fail(e, MB_IO, "the scratch file in %s is shorter than what was written", s->folder);
        to += n;
        at += n;
        left -= (size_t)n;
    }
    return MB_OK;
}

int mb_stream_store(mb_stream *s, int64_t record, const float *buffer, size_t floats, mb_err *e) {
    const char *from = (const char *)buffer;
    size_t left = floats * sizeof(float);
    off_t at = offset_of(s, record);
    while (left > 0) {
        ssize_t n = pwrite(s->fd, from, left, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mb_fail_errno(e, MB_IO, "writing the scratch file in %s", s->folder);
        from += n;
        at += n;
        left -= (size_t)n;
    }
    return MB_OK;
}

void mb_stream_will_need(mb_stream *s, int64_t record) {
    if (record >= s->in_memory && record < s->records)
        (void)posix_fadvise(s->fd, offset_of(s, record), (off_t)(s->floats * sizeof(float)), POSIX_FADV_WILLNEED);
}
