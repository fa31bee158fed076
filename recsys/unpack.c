/* See unpack.h. Refuses streams that end early or hold damage, and what follows the last member of a gzip file and is
 * no gzip (zeros, as tapes pad, are passed over). Messages name the byte of the packed file. */
#include "recsys/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lzma.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "core/mem.h"

enum { CHUNK = 256 * 1024, MAGIC_BYTES = 6 };
/* xz -9 needs 65 MiB to unpack, zstd --long=27 128 MiB; more is a file that was made to exhaust memory. */
static const uint64_t XZ_MEMORY = (uint64_t)256 << 20;

typedef enum packing { PLAIN, GZIP, XZ, ZSTANDARD } packing;

struct rec_unpack {
    char *path;
    int fd, owns_fd, ended; /* ended: the file has no more bytes */
    packing packing;
    unsigned char *in; /* (CHUNK) packed bytes, [at, filled) not used yet */
    size_t at, filled;
    int64_t consumed; /* bytes of the file before in[filled] */
    int inside;       /* a member or frame has begun and not ended */
    int finished;     /* xz: the decoder has said that all is done */
    z_stream gz;
    lzma_stream xz;
    lzma_allocator heap;
    ZSTD_DStream *zstd;
    int gz_open, xz_open;
};

static void *gz_alloc(void *unused, unsigned count, unsigned size) {
    (void)unused;
    return mb_calloc(count, size);
}
static void gz_free(void *unused, void *p) {
    (void)unused;
    mb_free(p);
}
static void *xz_alloc(void *unused, size_t count, size_t size) {
    (void)unused;
    return mb_calloc(count, size);
}

static int refill(rec_unpack *u, mb_err *e) {
    u->at = 0;
    u->filled = 0;
    ssize_t r;
    do
        r = read(u->fd, u->in, CHUNK);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return mb_fail_errno(e, MB_IO, "%s: cannot read it after %" PRId64 " bytes", u->path, u->consumed);
    u->filled = (size_t)r;
    u->consumed += r;
    u->ended = r == 0;
    return MB_OK;
}

int64_t rec_unpack_consumed(const rec_unpack *u) {
    return u->consumed - (int64_t)(u->filled - u->at);
}

static int damaged(rec_unpack *u, const char *what, mb_err *e) {
    return mb_fail(e, MB_FORMAT, "%s: the %s data are damaged near byte %" PRId64 " of the file (%s)", u->path,
                   rec_unpack_packing(u), rec_unpack_consumed(u), what ? what : "no reason given");
}

static int cut_short(rec_unpack *u, mb_err *e) {
    return mb_fail(e, MB_FORMAT,
                   "%s: the %s data end in the middle, at byte %" PRId64
                   " of the file: it was cut short, copy or make it anew",
                   u->path, rec_unpack_packing(u), u->consumed);
}

static int no_memory(rec_unpack *u, mb_err *e) {
    return mb_fail(e, MB_NOMEM, "%s: no memory to unpack it", u->path);
}

/* ---- opening --------------------------------------------------------------------------------------------------------
 */
static int open_file(rec_unpack *u, mb_err *e) {
    struct stat st;
    if (strcmp(u->path, "-") == 0) {
        u->fd = STDIN_FILENO;
        mb_free(u->path);
        u->path = mb_strdup("standard input");
        return u->path ? MB_OK : mb_fail(e, MB_NOMEM, "standard input: no memory to read it");
    }
    do
        u->fd = open(u->path, O_RDONLY | O_CLOEXEC);
    while (u->fd < 0 && errno == EINTR);
    if (u->fd < 0)
        return mb_fail_errno(e, errno == ENOENT ? MB_NOTFOUND : MB_IO, "%s: cannot open it", u->path);
    u->owns_fd = 1;
    if (fstat(u->fd, &st))
        return mb_fail_errno(e, MB_IO, "%s: cannot be examined", u->path);
    if (S_ISDIR(st.st_mode))
        return mb_fail(e, MB_IO, "%s: is a folder, not a file", u->path);
    posix_fadvise(u->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return MB_OK;
}

/* The first bytes, also of a pipe that gives them one by one. */
static int look(rec_unpack *u, mb_err *e) {
    static const unsigned char xz[] = {0xfd, '7', 'z', 'X', 'Z', 0}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    while (u->filled < MAGIC_BYTES && !u->ended) {
        ssize_t r;
        do
            r = read(u->fd, u->in + u->filled, CHUNK - u->filled);
        while (r < 0 && errno == EINTR);
        if (r < 0)
            return mb_fail_errno(e, MB_IO, "%s: cannot read it", u->path);
        u->filled += (size_t)r;
        u->consumed += r;
        u->ended = r == 0;
    }
    if (u->filled >= 2 && u->in[0] == 0x1f && u->in[1] == 0x8b)
        u->packing = GZIP;
    else if (u->filled >= sizeof xz && memcmp(u->in, xz, sizeof xz) == 0)
        u->packing = XZ;
    else if (u->filled >= sizeof zstd && memcmp(u->in, zstd, sizeof zstd) == 0)
        u->packing = ZSTANDARD;
    return MB_OK;
}

static int start_decoder(rec_unpack *u, mb_err *e) {
    if (u->packing == GZIP) {
        u->gz = (z_stream){.zalloc = gz_alloc, .zfree = gz_free};
        if (inflateInit2(&u->gz, 15 + 16) != Z_OK)
            return no_memory(u, e);
        u->gz_open = 1;
    } else if (u->packing == XZ) {
        u->heap = (lzma_allocator){.alloc = xz_alloc, .free = gz_free};
        u->xz = (lzma_stream)LZMA_STREAM_INIT;
        u->xz.allocator = &u->heap;
        u->xz_open = 1;
        if (lzma_stream_decoder(&u->xz, XZ_MEMORY, LZMA_CONCATENATED) != LZMA_OK)
            return no_memory(u, e);
    } else if (u->packing == ZSTANDARD) {
        if (!(u->zstd = ZSTD_createDStream()))
            return no_memory(u, e);
    }
    return MB_OK;
}

int rec_unpack_open(rec_unpack **out, const char *path, mb_err *e) {
    *out = NULL;
    rec_unpack *u = mb_calloc(1, sizeof *u);
    if (!u)
        return mb_fail(e, MB_NOMEM, "%s: no memory to read it", path);
    u->fd = -1;
    u->path = mb_strdup(path);
    u->in = mb_malloc(CHUNK);
    int rc = u->path && u->in ? open_file(u, e) : mb_fail(e, MB_NOMEM, "%s: no memory to read it", path);
    if (rc == MB_OK)
        rc = look(u, e);
    if (rc == MB_OK)
        rc = start_decoder(u, e);
    if (rc != MB_OK) {
        rec_unpack_close(u);
        return rc;
    }
    *out = u;
    return MB_OK;
}

void rec_unpack_close(rec_unpack *u) {
    if (!u)
        return;
    if (u->gz_open)
        inflateEnd(&u->gz);
    if (u->xz_open)
        lzma_end(&u->xz);
    ZSTD_freeDStream(u->zstd);
    if (u->owns_fd)
        close(u->fd);
    mb_free(u->in);
    mb_free(u->path);
    mb_free(u);
}

const char *rec_unpack_packing(const rec_unpack *u) {
    static const char *const NAME[] = {"none", "gzip", "xz", "zstd"};
    return NAME[u->packing];
}

/* ---- reading: each takes what is in u->in and gives what it can, perhaps nothing ------------------------------------
 */
static int step_gzip(rec_unpack *u, char *to, size_t room, size_t *got, mb_err *e) {
    if (!u->inside) { /* between members: zeros pad, another member goes on */
        while (u->at < u->filled && u->in[u->at] == 0 && u->finished)
            u->at++;
        if (u->at == u->filled)
            return MB_OK;
        u->inside = 1;
    }
    u->gz.next_in = u->in + u->at;
    u->gz.avail_in = (unsigned)(u->filled - u->at);
    u->gz.next_out = (unsigned char *)to;
    u->gz.avail_out = (unsigned)(room < CHUNK ? room : CHUNK);
    const unsigned out = u->gz.avail_out;
    const int rc = inflate(&u->gz, Z_NO_FLUSH);
    u->at = u->filled - u->gz.avail_in;
    *got = out - u->gz.avail_out;
    if (rc == Z_STREAM_END) {
        u->inside = 0;
        u->finished = 1;
        return inflateReset(&u->gz) == Z_OK ? MB_OK : damaged(u, "it cannot go on", e);
    }
    if (rc == Z_MEM_ERROR)
        return no_memory(u, e);
    return rc == Z_OK || rc == Z_BUF_ERROR ? MB_OK : damaged(u, u->gz.msg, e);
}

static int step_xz(rec_unpack *u, char *to, size_t room, size_t *got, mb_err *e) {
    u->inside = !u->finished;
    u->xz.next_in = u->in + u->at;
    u->xz.avail_in = u->filled - u->at;
    u->xz.next_out = (unsigned char *)to;
    u->xz.avail_out = room;
    const lzma_ret rc = lzma_code(&u->xz, u->ended ? LZMA_FINISH : LZMA_RUN);
    u->at = u->filled - u->xz.avail_in;
    *got = room - u->xz.avail_out;
    switch (rc) {
    case LZMA_OK:
        return MB_OK;
    case LZMA_STREAM_END:
        u->finished = 1;
        u->inside = 0;
        return MB_OK;
    case LZMA_BUF_ERROR:
        return u->ended ? cut_short(u, e) : MB_OK;
    case LZMA_MEM_ERROR:
        return no_memory(u, e);
    case LZMA_MEMLIMIT_ERROR:
        return mb_fail(e, MB_NOTSUP, "%s: unpacking it takes more than 256 MiB; pack it by xz -9 or less", u->path);
    case LZMA_FORMAT_ERROR:
        return damaged(u, "what follows is no xz", e);
    default:
        return damaged(u, "it does not match its own checks", e);
    }
}

static int step_zstd(rec_unpack *u, char *to, size_t room, size_t *got, mb_err *e) {
    ZSTD_inBuffer in = {u->in, u->filled, u->at};
    ZSTD_outBuffer out = {to, room, 0};
    if (in.pos == in.size && !u->inside)
        return MB_OK;
    const size_t rc = ZSTD_decompressStream(u->zstd, &out, &in);
    u->at = in.pos;
    *got = out.pos;
    if (ZSTD_isError(rc))
        return damaged(u, ZSTD_getErrorName(rc), e);
    u->inside = rc != 0;
    return MB_OK;
}

int rec_unpack_read(rec_unpack *u, char *to, size_t room, size_t *got, mb_err *e) {
    *got = 0;
    for (;;) {
        int rc = MB_OK;
        if (u->at == u->filled && !u->ended)
            rc = refill(u, e);
        if (rc != MB_OK)
            return rc;
        if (u->packing == PLAIN) {
            *got = u->filled - u->at < room ? u->filled - u->at : room;
            memcpy(to, u->in + u->at, *got);
            u->at += *got;
            return MB_OK;
        }
        if (u->packing == XZ && u->finished)
            return MB_OK;
        rc = u->packing == GZIP ? step_gzip(u, to, room, got, e)
             : u->packing == XZ ? step_xz(u, to, room, got, e)
                                : step_zstd(u, to, room, got, e);
        if (rc != MB_OK || *got)
            return rc;
        if (u->ended && u->at == u->filled && u->packing != XZ)
            return u->inside ? cut_short(u, e) : MB_OK;
    }
}
