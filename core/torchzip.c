/* PyTorch .bin/.pt files since 1.6: a zip archive, every entry stored as it is (no compression), with
 *   ROOT/data.pkl        the pickled state dict (core/pickle.c)
 *   ROOT/byteorder       "little" or "big"; absent before 2.1
 *   ROOT/data/KEY        one storage: the raw elements that tensors are views of
 * Tensors are used where they lie in the mapped file; only views that are not contiguous are copied. A file of this
 * kind never has to be unpacked, so a compressed, encrypted, split or overlapping entry is refused, and with them every
 * way for a small file to ask for much memory. Checksums are verified (0 means that torch was told not to compute
 * them). (Format: PKWARE APPNOTE.TXT 6.3.) */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/mem.h"
#include "core/pickle.h"
#include "core/weights_internal.h"

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    MAX_COMMENT = 65535,
    MAX_ENTRIES = MB_MAX_TENSORS + 1000
};

typedef struct entry {
    const char *name; /* length bytes in the mapping */
    size_t length;
    const unsigned char *data;
    uint64_t size;
    uint64_t local_at;
    uint32_t crc;
    int checked;
} entry;

typedef struct archive {
    mb_weights *w;
    const char *path;
    mb_map map;
    uint64_t central_at, central_bytes, n_stated; /* the central directory */
    entry *entry;                                 /* n, sorted by name */
    size_t n;
    const char *root; /* "pytorch_model/", root_length bytes */
    size_t root_length;
    uint64_t copied; /* bytes of tensors copied so far */
    mb_err *e;
} archive;

#define BAD(a, ...) mb_fail((a)->e, MB_FORMAT, __VA_ARGS__)

static uint32_t u16(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const unsigned char *p) {
    return u16(p) | u16(p + 2) << 16;
}

static uint64_t u64(const unsigned char *p) {
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

/* ---- the zip directory --------------------------------------------------------------------------------------------
 */

/* Zip64: the true numbers where the plain record at byte end is full. */
static int find_directory64(archive *a, size_t end) {
    const unsigned char *p = a->map.data;
    if (end < LOCATOR_BYTES || u32(p + end - LOCATOR_BYTES) != 0x07064b50)
        return BAD(a, "%s: byte %zu: the zip directory needs a zip64 record that is not there", a->path, end);
    uint64_t at = u64(p + end - LOCATOR_BYTES + 8);
    if (at > end - LOCATOR_BYTES || end - LOCATOR_BYTES - at < END64_BYTES || u32(p + at) != 0x06064b50)
        return BAD(a, "%s: byte %zu: the zip64 record is not where it should be", a->path, end - LOCATOR_BYTES);
    a->n_stated = u64(p + at + 32);
    a->central_bytes = u64(p + at + 40);
    a->central_at = u64(p + at + 48);
    if (a->central_at > at || a->central_bytes > at - a->central_at)
        return BAD(a, "%s: byte %llu: the zip directory lies outside the file", a->path, (unsigned long long)at);
    return MB_OK;
}

static int find_directory(archive *a) {
    const unsigned char *p = a->map.data;
    size_t size = a->map.size, lowest = size > END_BYTES + MAX_COMMENT ? size - END_BYTES - MAX_COMMENT : 0;
    size_t end = size;
    if (size >= END_BYTES)
        for (end = size - END_BYTES; end > lowest; end--)
            if (u32(p + end) == 0x06054b50 && u16(p + end + 20) == size - END_BYTES - end)
                break;
    if (size < END_BYTES || u32(p + end) != 0x06054b50 || u16(p + end + 20) != size - END_BYTES - end)
        return BAD(a, "%s: the zip directory at the end is missing: the file is cut short; fetch it again", a->path);
    if (u16(p + end + 4) != u16(p + end + 6) || u16(p + end + 8) != u16(p + end + 10))
        return BAD(a, "%s: is one part of a split zip archive, which is not read", a->path);
    a->n_stated = u16(p + end + 10);
    a->central_bytes = u32(p + end + 12);
    a->central_at = u32(p + end + 16);
    if (a->n_stated == 0xffff || a->central_bytes == 0xffffffff || a->central_at == 0xffffffff)
        return find_directory64(a, end);
    if (a->central_at > end || a->central_bytes > end - a->central_at)
        return BAD(a, "%s: byte %zu: the zip directory lies outside the file", a->path, end);
    return MB_OK;
}

/* Sizes and place that do not fit 32 bits stand in the extra field 1, in this order, only those that are full. */
static int read_zip64_extra(const unsigned char *extra, size_t n, uint64_t *value[3]) {
    while (n >= 4) {
        uint32_t id = u16(extra), bytes = u16(extra + 2);
        if (bytes > n - 4)
            return 0;
        if (id == 1) {
            const unsigned char *p = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*value[i] != 0xffffffff)
                    continue;
                if (bytes < 8)
                    return 0;
                *value[i] = u64(p);
                p += 8;
                bytes -= 8;
            }
            return 1;
        }
        extra += 4 + bytes;
        n -= 4 + bytes;
    }
    return *value[0] != 0xffffffff && *value[1] != 0xffffffff && *value[2] != 0xffffffff;
}

/* Finds the data behind the local header, which must agree with the directory. */
static int locate(archive *a, entry *t) {
    int shown = (int)(t->length > 80 ? 80 : t->length);
    const int fits = t->local_at <= a->central_at && a->central_at - t->local_at >= LOCAL_BYTES;
    const unsigned char *p = fits ? a->map.data + t->local_at : NULL;
    if (!p || u32(p) != 0x04034b50)
        return BAD(a, "%s: zip entry %.*s: no local header at byte %llu", a->path, shown, t->name,
                   (unsigned long long)t->local_at);
    uint64_t room = a->central_at - t->local_at - LOCAL_BYTES, skip = (uint64_t)u16(p + 26) + u16(p + 28);
    if (skip > room || t->size > room - skip || u16(p + 26) != t->length ||
        memcmp(p + LOCAL_BYTES, t->name, t->length) != 0)
        return BAD(a, "%s: zip entry %.*s: its local header at byte %llu does not agree with the directory", a->path,
                   shown, t->name, (unsigned long long)t->local_at);
    t->data = p + LOCAL_BYTES + skip;
    return MB_OK;
}

/* One record of the directory at *at, which moves behind it. */
static int read_entry(archive *a, entry *t, uint64_t *at) {
    const unsigned char *p = a->map.data + *at;
    uint64_t room = a->central_at + a->central_bytes - *at;
    if (room < CENTRAL_BYTES || u32(p) != 0x02014b50)
        return BAD(a, "%s: byte %llu: no zip directory record", a->path, (unsigned long long)*at);
    uint64_t name = u16(p + 28), extra = u16(p + 30), comment = u16(p + 32);
    if (name + extra + comment > room - CENTRAL_BYTES || name == 0)
        return BAD(a, "%s: byte %llu: a zip directory record goes beyond the directory", a->path,
                   (unsigned long long)*at);
    uint64_t packed = u32(p + 20);
    *t = (entry){.name = (const char *)p + CENTRAL_BYTES,
                 .length = (size_t)name,
                 .size = u32(p + 24),
                 .local_at = u32(p + 42),
                 .crc = u32(p + 16)};
    int shown = (int)(name > 80 ? 80 : name);
    if (!read_zip64_extra(p + CENTRAL_BYTES + name, (size_t)extra, (uint64_t *[]){&t->size, &packed, &t->local_at}))
        return BAD(a, "%s: byte %llu: zip entry %.*s: its extra field is damaged", a->path, (unsigned long long)*at,
                   shown, t->name);
    if (u16(p + 8) & 1)
        return BAD(a, "%s: zip entry %.*s is encrypted", a->path, shown, t->name);
    if (u16(p + 10) != 0 || packed != t->size)
        return BAD(a,
                   "%s: zip entry %.*s is compressed, which torch.save never does; unzip the archive and zip it "
                   "with: zip -0",
                   a->path, shown, t->name);
    *at += CENTRAL_BYTES + name + extra + comment;
    return locate(a, t);
}

static int compare_names(const char *a, size_t an, const char *b, size_t bn) {
    int order = memcmp(a, b, an < bn ? an : bn);
    return order ? order : (an > bn) - (an < bn);
}

static int by_entry_name(const void *x, const void *y) {
    const entry *a = x, *b = y;
    return compare_names(a->name, a->length, b->name, b->length);
}

static int read_directory(archive *a) {
    uint64_t at = a->central_at, total = 0;
    if (a->n_stated > MAX_ENTRIES)
        return BAD(a, "%s: a zip archive of %llu entries; at most %d are read", a->path,
                   (unsigned long long)a->n_stated, MAX_ENTRIES);
    if (!(a->entry = mb_calloc((size_t)a->n_stated + 1, sizeof *a->entry)))
        return mb_fail(a->e, MB_NOMEM, "%s: no memory for a zip directory", a->path);
    for (a->n = 0; a->n < a->n_stated; a->n++) {
        int rc = read_entry(a, &a->entry[a->n], &at);
        if (rc != MB_OK)
            return rc;
        total += a->entry[a->n].size; /* each is below the size of the file */
        if (total > a->map.size)
            return BAD(a, "%s: zip entries overlap", a->path);
    }
    qsort(a->entry, a->n, sizeof *a->entry, by_entry_name);
    for (size_t i = 1; i < a->n; i++)
        if (by_entry_name(&a->entry[i - 1], &a->entry[i]) == 0)
            return BAD(a, "%s: zip entry %.*s comes twice", a->path,
                       (int)(a->entry[i].length > 80 ? 80 : a->entry[i].length), a->entry[i].name);
    return MB_OK;
}

/* The entry ROOT + kind + key, or NULL. */
static entry *find(const archive *a, const char *kind, const char *key, size_t key_length) {
    char name[512];
    size_t kind_length = strlen(kind), length = a->root_length + kind_length + key_length;
    if (length > sizeof name)
        return NULL;
    memcpy(name, a->root, a->root_length);
    memcpy(name + a->root_length, kind, kind_length);
    memcpy(name + a->root_length + kind_length, key, key_length);
    for (size_t lo = 0, hi = a->n; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        int order = compare_names(name, length, a->entry[mid].name, a->entry[mid].length);
        if (order == 0)
            return &a->entry[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static int verify_checksum(archive *a, entry *t) {
    if (t->checked || t->crc == 0)
        return MB_OK;
    if (crc32_z(0, t->data, (z_size_t)t->size) != t->crc)
        return BAD(a, "%s: zip entry %.*s: its checksum does not fit: the file is damaged; fetch it again", a->path,
                   (int)(t->length > 80 ? 80 : t->length), t->name);
    t->checked = 1;
    return MB_OK;
}

/* ---- tensors ------------------------------------------------------------------------------------------------------
 */

static int is_contiguous(const mb_pickle_tensor *p) {
    int64_t expected = 1;
    for (int i = p->ndim - 1; i >= 0; i--) {
        if (p->shape[i] != 1 && p->stride[i] != expected)
            return 0;
        expected *= p->shape[i];
    }
    return 1;
}

/* Index of the last element a non-empty view touches; 0 when it leaves int64. */
static int last_element(const mb_pickle_tensor *p, int64_t *last) {
    *last = p->offset;
    for (int i = 0; i < p->ndim; i++) {
        int64_t reach;
        if (__builtin_mul_overflow(p->shape[i] - 1, p->stride[i], &reach) || __builtin_add_overflow(*last, reach, last))
            return 0;
    }
    return 1;
}

/* The view in row-major order. out: count elements of size bytes. */
static void copy_view(const mb_pickle_tensor *p, const unsigned char *storage, size_t size, int64_t count,
                      unsigned char *out) {
    int64_t index[MB_TENSOR_MAX_DIMS] = {0}, at = p->offset;
    for (int64_t k = 0; k < count; k++, out += size) {
        memcpy(out, storage + (size_t)at * size, size);
        for (int i = p->ndim - 1; i >= 0; i--) {
            if (p->shape[i] == 1) /* its stride may be anything */
                continue;
            at += p->stride[i];
            if (++index[i] < p->shape[i])
                break;
            at -= p->shape[i] * p->stride[i];
            index[i] = 0;
        }
    }
}

static int place(archive *a, const mb_pickle_tensor *p, const entry *storage, int64_t bytes, mb_tensor *t) {
    int shown = (int)(p->name_length > 200 ? 200 : p->name_length);
    size_t size = mb_dtype_bytes(t->dtype);
    int64_t last;
    t->data = storage->data;
    if (t->count == 0)
        return MB_OK;
    if (!last_element(p, &last) || last >= p->storage_count)
        return BAD(a, "%s: tensor %.*s reaches beyond the %lld elements of its storage", a->path, shown, p->name,
                   (long long)p->storage_count);
    t->data = storage->data + (size_t)p->offset * size;
    if (is_contiguous(p))
        return MB_OK;
    a->copied += (uint64_t)bytes; /* bounded before each copy, so the sum cannot wrap */
    if (a->copied > 2 * (uint64_t)a->map.size)
        return BAD(a, "%s: tensor %.*s: strided views would take more than twice the file in memory", a->path, shown,
                   p->name);
    unsigned char *copy = mb_weights_block(a->w, (size_t)bytes);
    if (!copy)
        return mb_fail(a->e, MB_NOMEM, "%s: no memory for %lld bytes of tensor %.*s", a->path, (long long)bytes, shown,
                       p->name);
    copy_view(p, storage->data, size, t->count, copy);
    t->data = copy;
    return MB_OK;
}

static int add_tensor(void *user, const mb_pickle_tensor *p, mb_err *e) {
    archive *a = user;
    int shown = (int)(p->name_length > 200 ? 200 : p->name_length);
    mb_tensor t = {.dtype = p->dtype, .ndim = p->ndim};
    int64_t bytes, storage_bytes;
    memcpy(t.shape, p->shape, sizeof t.shape);
    if (!mb_shape_count(t.shape, t.ndim, t.dtype, &t.count, &bytes) ||
        !mb_shape_count(&p->storage_count, 1, p->dtype, &(int64_t){0}, &storage_bytes))
        return BAD(a, "%s: tensor %.*s: the sizes of its shape multiply beyond 2^63", a->path, shown, p->name);
    entry *storage = find(a, "data/", p->storage, p->storage_length);
    if (!storage)
        return BAD(a, "%s: tensor %.*s: the archive has no entry data/%.*s", a->path, shown, p->name,
                   (int)(p->storage_length > 80 ? 80 : p->storage_length), p->storage);
    if (storage->size != (uint64_t)storage_bytes)
        return BAD(a, "%s: tensor %.*s: its storage %.*s has %llu bytes; %lld elements of %s need %lld", a->path, shown,
                   p->name, (int)(storage->length > 80 ? 80 : storage->length), storage->name,
                   (unsigned long long)storage->size, (long long)p->storage_count, mb_dtype_name(p->dtype),
                   (long long)storage_bytes);
    int rc = verify_checksum(a, storage);
    if (rc == MB_OK)
        rc = place(a, p, storage, bytes, &t);
    return rc == MB_OK ? mb_weights_add(a->w, &t, p->name, p->name_length, a->path, e) : rc;
}

/* ---- the archive --------------------------------------------------------------------------------------------------
 */

/* Finds ROOT by its data.pkl, one level down. */
static int find_root(archive *a) {
    static const char tail[] = "/data.pkl";
    for (size_t i = 0; i < a->n; i++) {
        const entry *t = &a->entry[i];
        if (t->length < sizeof tail || memcmp(t->name + t->length - (sizeof tail - 1), tail, sizeof tail - 1) != 0 ||
            memchr(t->name, '/', t->length) != t->name + t->length - (sizeof tail - 1))
            continue;
        if (a->root)
            return BAD(a, "%s: has two entries data.pkl", a->path);
        a->root = t->name;
        a->root_length = t->length - (sizeof tail - 2);
    }
    if (!a->root)
        return BAD(a, "%s: is a zip archive without a data.pkl, so not one that torch.save wrote", a->path);
    if (find(a, "constants.pkl", "", 0))
        return mb_fail(a->e, MB_NOTSUP,
                       "%s: is a TorchScript program; save only the state dict: torch.save(model.state_dict(), FILE)",
                       a->path);
    return MB_OK;
}

static int check_byteorder(archive *a) {
    const entry *t = find(a, "byteorder", "", 0);
    if (!t || (t->size == 6 && memcmp(t->data, "little", 6) == 0))
        return MB_OK;
    return mb_fail(a->e, MB_NOTSUP, "%s: its byte order is \"%.*s\"; only \"little\" is read", a->path,
                   (int)(t->size > 16 ? 16 : t->size), (const char *)t->data);
}

int mb_torchzip_read(mb_weights *w, const char *path, mb_err *e) {
    archive a = {.w = w, .path = path, .e = e};
    char *where = mb_asprintf("%s: data.pkl", path);
    int rc = where ? mb_weights_map(w, path, &a.map, e) : mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    if (rc == MB_OK)
        rc = find_directory(&a);
    if (rc == MB_OK)
        rc = read_directory(&a);
    if (rc == MB_OK)
        rc = find_root(&a);
    if (rc == MB_OK)
        rc = check_byteorder(&a);
    if (rc == MB_OK) {
        entry *pickle = find(&a, "data.pkl", "", 0);
        MB_ASSERT(pickle);
        rc = verify_checksum(&a, pickle);
        if (rc == MB_OK)
            rc = mb_pickle_state_dict(pickle->data, (size_t)pickle->size, where, add_tensor, &a, e);
    }
    w->kind = "PyTorch zip";
    mb_free(a.entry);
    mb_free(where);
    return rc;
}
