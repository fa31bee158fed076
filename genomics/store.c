/* The scratch file is opened and unlinked at once, so that no crash leaves it behind. Refuses nothing. */
#include "genomics/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"

struct dna_store {
    int64_t rows, columns;
    float *memory; /* (rows, columns) or NULL */
    int fd;        /* the scratch file, or -1 */
};

static int open_scratch(dna_store *s, const char *folder, mb_err *e) {
    const char *tmp = getenv("TMPDIR");
    char name[512];
    snprintf(name, sizeof name, "%.480s/dna-mamba.XXXXXX", folder ? folder : tmp && *tmp ? tmp : "/tmp");
    s->fd = mkstemp(name);
    if (s->fd < 0)
        return mb_fail_errno(e, MB_IO, "%s: cannot make a scratch file for rows (see --scratch)", name);
    unlink(name);
    if (ftruncate(s->fd, (off_t)(s->rows * s->columns * (int64_t)sizeof(float))))
        return mb_fail_errno(e, MB_IO, "%s: cannot hold %" PRId64 " rows of scratch", name, s->rows);
    return MB_OK;
}

int dna_store_create(dna_store **out, int64_t rows, int64_t columns, int64_t memory, const char *scratch, mb_err *e) {
    *out = NULL;
    MB_ASSERT(rows >= 0 && columns > 0);
    if (rows > INT64_MAX / 8 / columns)
        return mb_fail(e, MB_RANGE, "%" PRId64 " rows of %" PRId64 " columns are too many", rows, columns);
    dna_store *s = mb_calloc(1, sizeof *s);
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory for rows");
    s->rows = rows;
    s->columns = columns;
    s->fd = -1;
    int64_t bytes = rows * columns * (int64_t)sizeof(float);
    if (bytes <= memory)
        s->memory = mb_malloc((size_t)bytes + 1);
    int rc = s->memory ? MB_OK : open_scratch(s, scratch, e);
    if (rc)
        dna_store_destroy(s);
    else
        *out = s;
    return rc;
}

void dna_store_destroy(dna_store *s) {
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    mb_free(s->memory);
    mb_free(s);
}

static int write_all(int fd, const void *data, int64_t n, int64_t at, mb_err *e) {
    for (const char *p = data; n > 0;) {
        ssize_t put = pwrite(fd, p, (size_t)n, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return mb_fail_errno(e, MB_IO, "the scratch file for rows cannot be written (see --scratch)");
        p += put;
        at += put;
        n -= put;
    }
    return MB_OK;
}

int dna_store_put(dna_store *s, int64_t row, int64_t n, int64_t column, int64_t width, const float *values, mb_err *e) {
    MB_ASSERT(row >= 0 && n >= 0 && row + n <= s->rows && column >= 0 && column + width <= s->columns);
    const size_t bytes = (size_t)width * sizeof(float);
    int64_t at = row * s->columns + column;
    if (!s->memory && width == s->columns)
        return write_all(s->fd, values, n * (int64_t)bytes, at * (int64_t)sizeof(float), e);
    for (int64_t i = 0; i < n; i++, at += s->columns, values += width) {
        int rc = MB_OK;
        if (s->memory)
            memcpy(s->memory + at, values, bytes);
        else
            rc = write_all(s->fd, values, (int64_t)bytes, at * (int64_t)sizeof(float), e);
        if (rc)
            return rc;
    }
    return MB_OK;
}

int dna_store_get(dna_store *s, int64_t row, int64_t n, float *out, mb_err *e) {
    MB_ASSERT(row >= 0 && n >= 0 && row + n <= s->rows);
    const int64_t row_bytes = s->columns * (int64_t)sizeof(float);
    if (s->memory) {
        memcpy(out, s->memory + row * s->columns, (size_t)(n * row_bytes));
        return MB_OK;
    }
    int64_t at = row * row_bytes, left = n * row_bytes;
    for (char *p = (char *)out; left > 0;) {
        ssize_t got = pread(s->fd, p, (size_t)left, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return mb_fail_errno(e, MB_IO, "the scratch file for rows cannot be read back");
        p += got;
        at += got;
        left -= got;
    }
    return MB_OK;
}
