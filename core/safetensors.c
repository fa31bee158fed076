/* safetensors: 8 bytes of header length n (little endian), n bytes of JSON
 *   {"__metadata__": {text: text}, NAME: {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ...}
 * and the data, offsets counted from its start (github.com/huggingface/safetensors, README "Format").
 * Refused: a header beyond 100 MB or the file, that does not start with '{', is not an object, or has a key twice; an
 * unknown dtype; shapes whose size leaves int64; offsets that do not match shape and dtype, overlap, leave holes or do
 * not end at the end of the file. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_guard.h"
#include "core/mem.h"
#include "core/weights_internal.h"

enum { HEADER_MAX = 100 * 1000 * 1000, LENGTH_BYTES = 8, DATA_ALIGN = 64 };

/* A tensor of a legal header has 1 key, 3 fields, up to 8 dimensions, 2 offsets and their brackets: 22 parts. */
static const mb_json_limits header_limits = {.depth = 4, .parts = (size_t)MB_MAX_TENSORS * 24};

typedef struct span { /* where a tensor's data lies, counted from the start of the data */
    mb_tensor t;      /* name borrowed from the JSON */
    int64_t begin, end;
} span;

static int dtype_of(const char *name, mb_dtype *dtype) {
    for (int d = MB_F64; d <= MB_BOOL; d++)
        if (strcmp(name, mb_dtype_name((mb_dtype)d)) == 0) {
            *dtype = (mb_dtype)d;
            return 1;
        }
    return 0;
}

/* array of non-negative integers */
static int integers(const json_t *array, size_t n, int64_t *out) {
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(array, i);
        if (!json_is_integer(v) || (out[i] = json_integer_value(v)) < 0)
            return 0;
    }
    return 1;
}

static int read_entry(span *s, const char *name, json_t *value, int64_t data_bytes, const char *path, mb_err *e) {
    const json_t *dtype = json_object_get(value, "dtype"), *shape = json_object_get(value, "shape"),
                 *offsets = json_object_get(value, "data_offsets");
    int64_t at[2], bytes;
    s->t.name = name;
    if (!json_is_string(dtype) || !json_is_array(shape) || !json_is_array(offsets) || json_object_size(value) != 3)
        return mb_fail(e, MB_FORMAT, "%s: tensor %s: its entry is not exactly dtype, shape and data_offsets", path,
                       name);
    if (!dtype_of(json_string_value(dtype), &s->t.dtype))
        return mb_fail(e, MB_NOTSUP,
                       "%s: tensor %s: dtype %.32s is none of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL; convert the "
                       "checkpoint to F32, F16 or BF16",
                       path, name, json_string_value(dtype));
    if (json_array_size(shape) > MB_TENSOR_MAX_DIMS)
        return mb_fail(e, MB_FORMAT, "%s: tensor %s: %zu dimensions; at most %d are possible", path, name,
                       json_array_size(shape), MB_TENSOR_MAX_DIMS);
    s->t.ndim = (int)json_array_size(shape);
    if (!integers(shape, (size_t)s->t.ndim, s->t.shape) ||
        !mb_shape_count(s->t.shape, s->t.ndim, s->t.dtype, &s->t.count, &bytes))
        return mb_fail(e, MB_FORMAT, "%s: tensor %s: its shape is no list of sizes, or their product is too large",
                       path, name);
    if (json_array_size(offsets) != 2 || !integers(offsets, 2, at) || at[0] > at[1] || at[1] > data_bytes)
        return mb_fail(e, MB_FORMAT,
                       "%s: tensor %s: data_offsets are not two positions, in order, inside the %lld bytes of data",
                       path, name, (long long)data_bytes);
    if (at[1] - at[0] != bytes)
        return mb_fail(e, MB_FORMAT, "%s: tensor %s: %lld bytes of data, but shape and dtype %s make %lld", path, name,
                       (long long)(at[1] - at[0]), mb_dtype_name(s->t.dtype), (long long)bytes);
    s->begin = at[0];
    s->end = at[1];
    return MB_OK;
}

static int check_metadata(json_t *metadata, const char *path, mb_err *e) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return mb_fail(e, MB_FORMAT, "%s: __metadata__ is not an object of texts", path);
    json_object_foreach(metadata, key, value) if (!json_is_string(value)) return mb_fail(
        e, MB_FORMAT, "%s: __metadata__: the value of \"%.64s\" is not a text", path, key);
    return MB_OK;
}

static int by_position(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Sorted spans must tile [0, data_bytes) exactly. */
static int check_tiling(const span *s, size_t n, int64_t data_bytes, size_t data_at, const char *path, mb_err *e) {
    int64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i].begin != at)
            return mb_fail(e, MB_FORMAT, "%s: tensor %s: its data begin at byte %lld of the file, %s byte %lld", path,
                           s[i].t.name, (long long)(s[i].begin + (int64_t)data_at),
                           s[i].begin < at ? "inside those of another that ends at" : "leaving a hole from",
                           (long long)(at + (int64_t)data_at));
        at = s[i].end;
    }
    if (at != data_bytes)
        return mb_fail(e, MB_FORMAT, "%s: byte %lld: %lld bytes follow the data of the last tensor", path,
                       (long long)(at + (int64_t)data_at), (long long)(data_bytes - at));
    return MB_OK;
}

static int read_spans(json_t *header, span *s, size_t *n, int64_t data_bytes, const char *path, mb_err *e) {
    const char *key;
    json_t *value;
    json_object_foreach(header, key, value) {
        int rc = strcmp(key, "__metadata__") == 0 ? check_metadata(value, path, e)
                                                  : read_entry(&s[(*n)++], key, value, data_bytes, path, e);
        if (rc != MB_OK)
            return rc;
    }
    return MB_OK;
}

/* The header as JSON; data_at: where the data begin. */
static int parse_header(const mb_map *map, json_t **header, size_t *data_at, const char *path, mb_err *e) {
    uint64_t length;
    if (map->size < LENGTH_BYTES)
        return mb_fail(e, MB_FORMAT, "%s: %zu bytes, too short for a safetensors file; fetch it again", path,
                       map->size);
    memcpy(&length, map->data, sizeof length);
    if (length > HEADER_MAX)
        return mb_fail(e, MB_FORMAT, "%s: is no safetensors file (its first 8 bytes would be a header of %llu bytes)",
                       path, (unsigned long long)length);
    if (length > map->size - LENGTH_BYTES)
        return mb_fail(e, MB_FORMAT, "%s: the header of %llu bytes goes beyond the file of %zu; fetch it again", path,
                       (unsigned long long)length, map->size);
    if (length == 0 || map->data[LENGTH_BYTES] != '{')
        return mb_fail(e, MB_FORMAT, "%s: byte 8: the header does not begin with '{'", path);
    *data_at = LENGTH_BYTES + (size_t)length;
    char *text = mb_malloc((size_t)length);
    if (!text)
        return mb_fail(e, MB_NOMEM, "%s: no memory for a header of %llu bytes", path, (unsigned long long)length);
    memcpy(text, map->data + LENGTH_BYTES, (size_t)length);
    int rc = mb_json_parse(header, text, (size_t)length, &header_limits, 0, path, LENGTH_BYTES, e);
    mb_free(text);
    if (rc == MB_OK && json_object_size(*header) > (size_t)MB_MAX_TENSORS + 1)
        rc = mb_fail(e, MB_FORMAT, "%s: more than %d tensors", path, MB_MAX_TENSORS);
    return rc;
}

int mb_safetensors_read(mb_weights *w, const char *path, mb_err *e) {
    json_t *header = NULL;
    span *s = NULL;
    size_t data_at = 0, n = 0;
    mb_map map;
    int rc = mb_weights_map(w, path, &map, e);
    if (rc != MB_OK || (rc = parse_header(&map, &header, &data_at, path, e)) != MB_OK)
        goto done;
    int64_t data_bytes = (int64_t)(map.size - data_at);
    if (!(s = mb_calloc(json_object_size(header) + 1, sizeof *s))) {
        rc = mb_fail(e, MB_NOMEM, "%s: no memory for %zu tensors", path, json_object_size(header));
        goto done;
    }
    if ((rc = read_spans(header, s, &n, data_bytes, path, e)) != MB_OK)
        goto done;
    qsort(s, n, sizeof *s, by_position);
    rc = check_tiling(s, n, data_bytes, data_at, path, e);
    for (size_t i = 0; i < n && rc == MB_OK; i++) {
        s[i].t.data = map.data + data_at + s[i].begin;
        rc = mb_weights_add(w, &s[i].t, s[i].t.name, strlen(s[i].t.name), path, e);
    }
    w->kind = "safetensors";
done:
    mb_free(s);
    json_decref(header);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

static int set_new(json_t *object, const char *key, json_t *value) {
    return value && json_object_set_new(object, key, value) == 0; /* set_new releases value when it fails */
}

static int put_metadata(json_t *header, const char *const *metadata) {
    json_t *m = json_object();
    for (; m && metadata[0]; metadata += 2)
        if (!set_new(m, metadata[0], json_string(metadata[1]))) {
            json_decref(m);
            return 0;
        }
    return set_new(header, "__metadata__", m);
}

static json_t *entry_of(const mb_tensor *t, int64_t begin, int64_t bytes) {
    json_t *shape = json_array(), *entry = NULL;
    for (int i = 0; shape && i < t->ndim; i++)
        if (json_array_append_new(shape, json_integer(t->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    if (shape)
        entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", mb_dtype_name(t->dtype), "shape", shape, "data_offsets",
                          (json_int_t)begin, (json_int_t)begin + (json_int_t)bytes);
    return entry; /* json_pack released shape if it failed */
}

/* Offsets when data lie by element size, largest first, each size in the given order. */
static int lay_out(const mb_tensor *t, int n, int64_t *begin, int64_t *bytes, const char *path, mb_err *e) {
    int64_t at = 0, count;
    for (size_t size = 8; size >= 1; size /= 2)
        for (int i = 0; i < n; i++) {
            if (mb_dtype_bytes(t[i].dtype) != size)
                continue;
            MB_ASSERT(t[i].ndim >= 0 && t[i].ndim <= MB_TENSOR_MAX_DIMS);
            begin[i] = at;
            if (!mb_shape_count(t[i].shape, t[i].ndim, t[i].dtype, &count, &bytes[i]) ||
                __builtin_add_overflow(at, bytes[i], &at))
                return mb_fail(e, MB_RANGE, "%s: tensor %s: the sizes of its shape multiply beyond 2^63", path,
                               t[i].name);
        }
    return MB_OK;
}

/* Header text, freed by mb_free since jansson uses core/mem.h. */
static int dump_header(char **dump, const mb_tensor *t, int n, const int64_t *begin, const int64_t *bytes,
                       const char *const *metadata, const char *path, mb_err *e) {
    int ok = 1, i = 0;
    mb_json_use_heap();
    json_t *header = json_object();
    if (metadata)
        ok = put_metadata(header, metadata);
    for (; i < n && ok; i++) {
        MB_ASSERT(!json_object_get(header, t[i].name));
        ok = set_new(header, t[i].name, entry_of(&t[i], begin[i], bytes[i]));
    }
    *dump = ok ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (mb_json_no_memory() || (ok && !*dump)) {
        mb_free(*dump);
        *dump = NULL;
        return mb_fail(e, MB_NOMEM, "%s: no memory for the header", path);
    }
    if (!ok && i == 0)
        return mb_fail(e, MB_USAGE, "%s: its metadata are not UTF-8", path);
    return ok ? MB_OK : mb_fail(e, MB_USAGE, "%s: the name of tensor %d is not UTF-8", path, i - 1);
}

/* The header as it stands in the file, padded with blanks so that the data begin at a multiple of DATA_ALIGN. */
static int make_header(char **text, size_t *length, const mb_tensor *t, int n, const int64_t *begin,
                       const int64_t *bytes, const char *const *metadata, const char *path, mb_err *e) {
    char *dump = NULL;
    int rc = dump_header(&dump, t, n, begin, bytes, metadata, path, e);
    if (rc != MB_OK)
        return rc;
    size_t used = strlen(dump), padded = (used + LENGTH_BYTES + DATA_ALIGN - 1) / DATA_ALIGN * DATA_ALIGN;
    *length = padded - LENGTH_BYTES;
    if (*length > HEADER_MAX)
        rc = mb_fail(e, MB_RANGE, "%s: a header of %zu bytes; readers take at most %d", path, *length, HEADER_MAX);
    else if (!(*text = mb_malloc(*length)))
        rc = mb_fail(e, MB_NOMEM, "%s: no memory for a header of %zu bytes", path, *length);
    if (rc == MB_OK) {
        memcpy(*text, dump, used);
        memset(*text + used, ' ', *length - used);
    }
    mb_free(dump);
    return rc;
}

static int write_data(mb_out *o, const mb_tensor *t, int n, const int64_t *bytes, mb_err *e) {
    for (size_t size = 8; size >= 1; size /= 2)
        for (int i = 0; i < n; i++) {
            int rc = MB_OK;
            if (mb_dtype_bytes(t[i].dtype) == size && bytes[i] > 0)
                rc = mb_out_write(o, t[i].data, (size_t)bytes[i], e);
            if (rc != MB_OK)
                return rc;
        }
    return MB_OK;
}

int mb_safetensors_write(const char *path, const mb_tensor *tensors, int n, const char *const *metadata, mb_err *e) {
    mb_out *o = NULL;
    char *header = NULL;
    size_t length = 0;
    int64_t *begin = mb_calloc((size_t)n + 1, sizeof *begin), *bytes = mb_calloc((size_t)n + 1, sizeof *bytes);
    int rc = begin && bytes ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for %d tensors", path, n);
    if (rc == MB_OK)
        rc = lay_out(tensors, n, begin, bytes, path, e);
    if (rc == MB_OK)
        rc = make_header(&header, &length, tensors, n, begin, bytes, metadata, path, e);
    if (rc == MB_OK)
        rc = mb_out_create(&o, path, e);
    if (rc == MB_OK) {
        uint64_t stated = length;
        rc = mb_out_write(o, &stated, sizeof stated, e);
    }
    if (rc == MB_OK)
        rc = mb_out_write(o, header, length, e);
    if (rc == MB_OK)
        rc = write_data(o, tensors, n, bytes, e);
    if (rc == MB_OK)
        rc = mb_out_commit(o, e);
    else
        mb_out_abort(o);
    mb_free(header);
    mb_free(begin);
    mb_free(bytes);
    return rc;
}
