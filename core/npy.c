/* NumPy .npy 1.0 writer: 10 bytes of magic and length, a Python dict literal padded with spaces to a multiple of 64,
 * then the elements. The header reserves room for the largest row count, so that rows may be counted at the end.
 * Refuses: other dtypes, empty or negative inner dimensions, sizes beyond int64, values an integer cannot hold. */
#include "core/npy.h"
#include "core/mem.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the elements are written as they lie in memory");

enum { HEADER_MAX = 512, CHUNK_BYTES = 64 * 1024 };

struct mb_npy {
    mb_out *out;
    char *path;
    mb_dtype dtype;
    int ndim;
    int64_t shape[MB_TENSOR_MAX_DIMS]; /* shape[0] < 0: unknown */
    int64_t row;                       /* elements of a row: product of shape[1..] */
    size_t width;                      /* bytes of an element */
    size_t header;                     /* bytes before element 0 */
    atomic_llong written;              /* elements put, overlaps counted twice */
    atomic_llong end;                  /* 1 + last element put */
};

static const char *descr(mb_dtype d, size_t *width) {
    *width = d == MB_F16 ? 2 : d == MB_F32 ? 4 : 8;
    return d == MB_F16 ? "<f2" : d == MB_F32 ? "<f4" : d == MB_F64 ? "<f8" : d == MB_I64 ? "<i8" : NULL;
}

/* Magic, length and dict for these rows, padded to bytes (0: to the next multiple of 64 that fits any row count). */
static size_t make_header(const mb_npy *n, int64_t rows, size_t bytes, char *out) {
    size_t width;
    int at = 10;
    at += snprintf(out + at, HEADER_MAX - (size_t)at, "{'descr': '%s', 'fortran_order': False, 'shape': (%lld,",
                   descr(n->dtype, &width), (long long)rows);
    for (int i = 1; i < n->ndim; i++)
        at += snprintf(out + at, HEADER_MAX - (size_t)at, i + 1 < n->ndim ? " %lld," : " %lld", (long long)n->shape[i]);
    at += snprintf(out + at, HEADER_MAX - (size_t)at, "), }");
    size_t total = bytes ? bytes : ((size_t)at + 1 + 63) / 64 * 64;
    MB_ASSERT((size_t)at < total && total <= HEADER_MAX);
    memset(out + at, ' ', total - (size_t)at);
    out[total - 1] = '\n';
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)((total - 10) & 0xFF);
    out[9] = (char)((total - 10) >> 8);
    return total;
}

/* Checks and keeps the shape; refuses what overflows before a byte is written. */
static int set_shape(mb_npy *n, mb_dtype dtype, int ndim, const int64_t *shape, mb_err *e) {
    if (!descr(dtype, &n->width))
        return mb_fail(e, MB_NOTSUP, "%s: .npy files hold f16, f32, f64 or int64 here", n->path);
    if (ndim < 1 || ndim > MB_TENSOR_MAX_DIMS)
        return mb_fail(e, MB_RANGE, "%s: %d dimensions, 1..%d can be written", n->path, ndim, MB_TENSOR_MAX_DIMS);
    n->dtype = dtype;
    n->ndim = ndim;
    n->row = 1;
    for (int i = 0; i < ndim; i++) {
        n->shape[i] = shape[i];
        if (i && (shape[i] < 1 || __builtin_mul_overflow(n->row, shape[i], &n->row)))
            return mb_fail(e, MB_RANGE, "%s: dimension %d is %lld", n->path, i, (long long)shape[i]);
    }
    int64_t bytes;
    if (__builtin_mul_overflow(n->row, shape[0] < 0 ? 1 : shape[0], &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)n->width, &bytes) || bytes > INT64_MAX - HEADER_MAX)
        return mb_fail(e, MB_RANGE, "%s: an array of more than 2^63 bytes", n->path);
    char header[HEADER_MAX];
    n->header = make_header(n, INT64_MAX, 0, header);
    return MB_OK;
}

static void destroy(mb_npy *n) {
    mb_free(n->path);
    mb_free(n);
}

static int begin(mb_npy **out, const char *path, mb_dtype dtype, int ndim, const int64_t *shape, mb_err *e) {
    *out = NULL;
    mb_npy *n = mb_calloc(1, sizeof *n);
    if (!n || !(n->path = mb_strdup(path))) {
        mb_free(n);
        return mb_fail(e, MB_NOMEM, "%s: out of memory", path);
    }
    int rc = set_shape(n, dtype, ndim, shape, e);
    if (rc)
        destroy(n);
    else
        *out = n;
    return rc;
}

/* While it is being written the header says 0 rows: a file caught halfway is never read as a whole one. */
static int write_header(mb_npy *n, int64_t rows, mb_err *e) {
    char header[HEADER_MAX];
    make_header(n, rows, n->header, header);
    return mb_out_pwrite(n->out, header, n->header, 0, e);
}

int mb_npy_create(mb_npy **out, const char *path, mb_dtype dtype, int ndim, const int64_t *shape, mb_err *e) {
    int rc = begin(out, path, dtype, ndim, shape, e);
    if (rc)
        return rc;
    rc = mb_out_create(&(*out)->out, path, e);
    if (rc == MB_OK)
        rc = write_header(*out, 0, e);
    if (rc) {
        mb_npy_abort(*out);
        *out = NULL;
    }
    return rc;
}

int mb_npy_put_raw(mb_npy *n, int64_t at, const void *values, int64_t count, mb_err *e) {
    int64_t end;
    MB_ASSERT(at >= 0 && count >= 0 && !__builtin_add_overflow(at, count, &end));
    MB_ASSERT(n->shape[0] < 0 || end <= n->shape[0] * n->row);
    if (end > (INT64_MAX - HEADER_MAX) / (int64_t)n->width)
        return mb_fail(e, MB_RANGE, "%s: an array of more than 2^63 bytes", n->path);
    int rc = mb_out_pwrite(n->out, values, (size_t)count * n->width, (int64_t)n->header + at * (int64_t)n->width, e);
    if (rc)
        return rc;
    atomic_fetch_add(&n->written, count);
    for (long long seen = atomic_load(&n->end); seen < end && !atomic_compare_exchange_weak(&n->end, &seen, end);)
        ;
    return MB_OK;
}

/* Nearest even; 0, or 1 + the index of the first value that has no integer. */
static int64_t to_i64(const float *from, int64_t count, int64_t *to) {
    for (int64_t i = 0; i < count; i++) {
        if (!(from[i] >= -9223372036854775808.0F && from[i] < 9223372036854775808.0F))
            return i + 1;
        to[i] = (int64_t)rintf(from[i]);
    }
    return 0;
}

int mb_npy_put(mb_npy *n, int64_t at, const float *values, int64_t count, mb_err *e) {
    union {
        uint16_t f16[CHUNK_BYTES / 2];
        double f64[CHUNK_BYTES / 8];
        int64_t i64[CHUNK_BYTES / 8];
    } chunk;
    if (n->dtype == MB_F32)
        return mb_npy_put_raw(n, at, values, count, e);
    const int64_t most = CHUNK_BYTES / (int64_t)n->width;
    int rc = MB_OK;
    for (int64_t done = 0, some; done < count && rc == MB_OK; done += some) {
        some = count - done < most ? count - done : most;
        int64_t bad = 0;
        if (n->dtype == MB_I64)
            bad = to_i64(values + done, some, chunk.i64);
        for (int64_t i = 0; n->dtype == MB_F16 && i < some; i++)
            chunk.f16[i] = mb_f32_to_f16(values[done + i]);
        for (int64_t i = 0; n->dtype == MB_F64 && i < some; i++)
            chunk.f64[i] = values[done + i];
        if (bad)
            return mb_fail(e, MB_RANGE, "%s: element %lld is %g, which is no 64-bit integer", n->path,
                           (long long)(at + done + bad - 1), (double)values[done + bad - 1]);
        rc = mb_npy_put_raw(n, at + done, &chunk, some, e);
    }
    return rc;
}

/* Rows the file ends up with, or an error when elements are missing. */
static int final_rows(mb_npy *n, int64_t *rows, mb_err *e) {
    int64_t end = atomic_load(&n->end), written = atomic_load(&n->written), total;
    if (n->shape[0] >= 0) {
        MB_ASSERT(*rows < 0 || *rows == n->shape[0]);
        *rows = n->shape[0];
    } else if (*rows < 0) {
        *rows = end / n->row;
    }
    if (__builtin_mul_overflow(*rows, n->row, &total) || end != total || written < total)
        return mb_fail(e, MB_INTERNAL, "%s: %lld rows of %lld elements were announced, but %lld elements written",
                       n->path, (long long)*rows, (long long)n->row, (long long)written);
    return MB_OK;
}

int mb_npy_commit(mb_npy *n, int64_t rows, mb_err *e) {
    int rc = final_rows(n, &rows, e);
    if (rc == MB_OK)
        rc = write_header(n, rows, e);
    if (rc) {
        mb_npy_abort(n);
        return rc;
    }
    rc = mb_out_commit(n->out, e);
    destroy(n);
    return rc;
}

void mb_npy_abort(mb_npy *n) {
    if (!n)
        return;
    mb_out_abort(n->out);
    destroy(n);
}
