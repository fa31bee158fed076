/* .npy 1.0, 2.0 and 3.0: magic, version, length of the header (2 or 4 bytes), a Python dict literal with exactly the
 * keys descr, fortran_order and shape, then the elements. Refuses: Fortran order, big endian, structured types, other
 * dtypes, no or more than MB_TENSOR_MAX_DIMS dimensions, empty rows, sizes beyond int64, bytes missing or left over. */
#include "core/npy_in.h"

#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the elements are read as they lie in memory");

enum { MAGIC = 6, HEADER_MAX = 1 << 16 };

typedef struct cursor { /* over the dict literal */
    const char *at, *end;
    const char *path;
} cursor;

static void skip_blanks(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t'))
        c->at++;
}

/* Whether this character comes next, blanks before it allowed; it is passed. */
static int take(cursor *c, char wanted) {
    skip_blanks(c);
    if (c->at == c->end || *c->at != wanted)
        return 0;
    c->at++;
    return 1;
}

/* A quoted string without escapes; 0 when there is none of less than size bytes. */
static int take_string(cursor *c, char *out, size_t size) {
    skip_blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
        return 0;
    const char quote = *c->at++;
    size_t n = 0;
    for (; c->at < c->end && *c->at != quote; c->at++) {
        if (n + 1 == size || *c->at == '\\' || (unsigned char)*c->at < ' ')
            return 0;
        out[n++] = *c->at;
    }
    out[n] = 0;
    return c->at < c->end && *c->at++ == quote;
}

static int take_number(cursor *c, int64_t *value) {
    skip_blanks(c);
    int digits = 0;
    *value = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++, digits++)
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, *c->at - '0', value))
            return 0;
    return digits > 0;
}

static int take_word(cursor *c, const char *word) {
    const size_t n = strlen(word);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0)
        return 0;
    c->at += n;
    return 1;
}

static int fail_header(const cursor *c, const char *what, mb_err *e) {
    return mb_fail(e, MB_FORMAT, "%s: its header is no .npy header: %s", c->path, what);
}

static int take_descr(cursor *c, mb_npy_in *n, mb_err *e) {
    static const struct {
        const char *name;
        mb_dtype dtype;
    } KNOWN[] = {{"<f2", MB_F16}, {"<f4", MB_F32}, {"<f8", MB_F64}, {"<i8", MB_I64}};
    char text[32];
    skip_blanks(c);
    if (c->at < c->end && *c->at == '[')
        return mb_fail(e, MB_NOTSUP, "%s: holds a structured array; expected numbers of one type", c->path);
    if (!take_string(c, text, sizeof text))
        return fail_header(c, "descr is no string", e);
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (strcmp(text, KNOWN[i].name) == 0) {
            n->dtype = KNOWN[i].dtype;
            return MB_OK;
        }
    return mb_fail(e, MB_NOTSUP, "%s: holds elements of type '%s'; expected '<f2', '<f4', '<f8' or '<i8'", c->path,
                   text);
}

static int take_order(cursor *c, mb_err *e) {
    if (take_word(c, "False"))
        return MB_OK;
    if (take_word(c, "True"))
        return mb_fail(e, MB_NOTSUP,
                       "%s: is stored column by column (Fortran order); save numpy.ascontiguousarray of it", c->path);
    return fail_header(c, "fortran_order is neither True nor False", e);
}

static int take_shape(cursor *c, mb_npy_in *n, mb_err *e) {
    int comma = 0;
    if (!take(c, '('))
        return fail_header(c, "shape is no tuple", e);
    n->ndim = 0;
    while (!take(c, ')')) {
        if (n->ndim == MB_TENSOR_MAX_DIMS)
            return mb_fail(e, MB_NOTSUP, "%s: has more than %d dimensions", c->path, MB_TENSOR_MAX_DIMS);
        if ((n->ndim && !comma) || !take_number(c, &n->shape[n->ndim]))
            return fail_header(c, "shape holds something that is no size", e);
        n->ndim++;
        comma = take(c, ',');
    }
    if (n->ndim == 1 && !comma)
        return fail_header(c, "shape is a number in brackets, not a tuple", e);
    return n->ndim ? MB_OK : mb_fail(e, MB_NOTSUP, "%s: holds a single number, not rows", c->path);
}

static int take_dict(cursor *c, mb_npy_in *n, mb_err *e) {
    enum { DESCR = 1, ORDER = 2, SHAPE = 4 };
    int seen = 0;
    if (!take(c, '{'))
        return fail_header(c, "no dict", e);
    while (!take(c, '}')) {
        char key[16];
        if (!take_string(c, key, sizeof key) || !take(c, ':'))
            return fail_header(c, "a key is missing or unknown", e);
        const int which = strcmp(key, "descr") == 0           ? DESCR
                          : strcmp(key, "fortran_order") == 0 ? ORDER
                          : strcmp(key, "shape") == 0         ? SHAPE
                                                              : 0;
        if (!which || (seen & which))
            return fail_header(c, which ? "a key comes twice" : "a key is unknown", e);
        seen |= which;
        int rc = which == DESCR ? take_descr(c, n, e) : which == ORDER ? take_order(c, e) : take_shape(c, n, e);
        if (rc)
            return rc;
        if (!take(c, ',')) {
            if (!take(c, '}'))
                return fail_header(c, "the dict does not end", e);
            break;
        }
    }
    skip_blanks(c);
    if (seen != (DESCR | ORDER | SHAPE) || c->at != c->end)
        return fail_header(c, seen != (DESCR | ORDER | SHAPE) ? "a key is missing" : "something follows the dict", e);
    return MB_OK;
}

/* Where the header lies: its first byte and the first byte behind it. */
static int find_header(const mb_map *m, const char *path, size_t *from, size_t *to, mb_err *e) {
    const unsigned char *p = m->data;
    if (m->size < 10 || memcmp(p, "\x93NUMPY", MAGIC) != 0)
        return mb_fail(e, MB_FORMAT, "%s: is no .npy file", path);
    if (p[6] < 1 || p[6] > 3 || p[7] != 0)
        return mb_fail(e, MB_NOTSUP, "%s: is of .npy version %d.%d; 1.0 to 3.0 are read", path, p[6], p[7]);
    *from = p[6] == 1 ? 10 : 12;
    if (m->size < *from)
        return mb_fail(e, MB_FORMAT, "%s: is cut short within its header", path);
    size_t n = (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] > 1)
        n |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (n > HEADER_MAX)
        return mb_fail(e, MB_FORMAT, "%s: claims a header of %zu bytes", path, n);
    if (m->size - *from < n)
        return mb_fail(e, MB_FORMAT, "%s: is cut short within its header", path);
    *to = *from + n;
    return MB_OK;
}

static int check_size(mb_npy_in *n, size_t header, const char *path, mb_err *e) {
    int64_t bytes;
    n->row = 1;
    for (int i = 1; i < n->ndim; i++)
        if (n->shape[i] < 1 || __builtin_mul_overflow(n->row, n->shape[i], &n->row))
            return mb_fail(e, MB_FORMAT, "%s: dimension %d is %lld", path, i, (long long)n->shape[i]);
    if (__builtin_mul_overflow(n->row, (int64_t)mb_dtype_bytes(n->dtype), &bytes) ||
        __builtin_mul_overflow(bytes, n->shape[0], &bytes))
        return mb_fail(e, MB_FORMAT, "%s: claims an array of more than 2^63 bytes", path);
    const int64_t there = (int64_t)(n->map.size - header);
    if (there < bytes)
        return mb_fail(e, MB_FORMAT, "%s: is cut short: its shape takes %lld bytes, %lld are there", path,
                       (long long)bytes, (long long)there);
    if (there > bytes)
        return mb_fail(e, MB_FORMAT, "%s: has %lld bytes more than its shape takes", path, (long long)(there - bytes));
    n->data = n->map.data + header;
    return MB_OK;
}

int mb_npy_in_open(mb_npy_in *n, const char *path, mb_err *e) {
    size_t from = 0, to = 0;
    *n = (mb_npy_in){0};
    int rc = mb_file_map(&n->map, path, e);
    if (rc == MB_OK)
        rc = find_header(&n->map, path, &from, &to, e);
    if (rc == MB_OK) {
        cursor c = {(const char *)n->map.data + from, (const char *)n->map.data + to, path};
        rc = take_dict(&c, n, e);
    }
    if (rc == MB_OK)
        rc = check_size(n, to, path, e);
    if (rc != MB_OK)
        mb_npy_in_close(n);
    return rc;
}

void mb_npy_in_close(mb_npy_in *n) {
    mb_file_unmap(&n->map);
    *n = (mb_npy_in){0};
}
