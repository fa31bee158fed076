#include "tests/torchfile.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

void put(bytes *b, const void *data, size_t n) {
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2 + 64;
        b->at = realloc(b->at, b->cap);
        if (!b->at)
            abort();
    }
    if (n)
        memcpy(b->at + b->n, data, n);
    b->n += n;
}

void put_le(bytes *b, uint64_t v, int n) {
    for (int i = 0; i < n; i++) {
        unsigned char c = i < 8 ? (unsigned char)(v >> (8 * i)) : 0;
        put(b, &c, 1);
    }
}

void bytes_free(bytes *b) {
    free(b->at);
    *b = (bytes){0};
}

void pk_op(bytes *b, const char *ops) {
    put(b, ops, strlen(ops));
}

void pk_text(bytes *b, const char *text) {
    pk_op(b, "X");
    put_le(b, strlen(text), 4);
    pk_op(b, text);
}

void pk_int(bytes *b, int64_t v) {
    if (v >= 0 && v < 256) {
        pk_op(b, "K");
        put_le(b, (uint64_t)v, 1);
    } else if (v >= INT32_MIN && v <= INT32_MAX) {
        pk_op(b, "J");
        put_le(b, (uint64_t)v, 4);
    } else {
        pk_op(b, "\x8a\x08");
        put_le(b, (uint64_t)v, 8);
    }
}

void pk_global(bytes *b, const char *module, const char *name) {
    pk_op(b, "c");
    pk_op(b, module);
    pk_op(b, "\n");
    pk_op(b, name);
    pk_op(b, "\n");
}

void pk_begin(bytes *b) {
    pk_op(b, "\x80\x02");
    pk_global(b, "collections", "OrderedDict");
    pk_op(b, ")R(");
}

void pk_end(bytes *b) {
    pk_op(b, "u.");
}

void pk_tensor(bytes *b, const char *storage_type, const char *key, int64_t count, int64_t offset, const int64_t *shape,
               const int64_t *stride) {
    pk_global(b, "torch._utils", "_rebuild_tensor_v2");
    pk_op(b, "((");
    pk_text(b, "storage");
    pk_global(b, "torch", storage_type);
    pk_text(b, key);
    pk_text(b, "cpu");
    pk_int(b, count);
    pk_op(b, "tQ");
    pk_int(b, offset);
    for (const int64_t *sizes = shape; sizes; sizes = sizes == shape ? stride : NULL) {
        pk_op(b, "(");
        for (int i = 0; sizes[i] >= 0; i++)
            pk_int(b, sizes[i]);
        pk_op(b, "t");
    }
    pk_op(b, "\x89");
    pk_global(b, "collections", "OrderedDict");
    pk_op(b, ")RtR");
}

static uint32_t checksum(const zip_entry *e, int how) {
    return how & ZIP_NO_CRC ? 0 : (uint32_t)crc32(0, e->data, (uInt)e->n) ^ e->crc_flip;
}

static void local_header(bytes *out, const zip_entry *e, int how) {
    put_le(out, 0x04034b50, 4);
    put_le(out, 20, 2);
    put_le(out, (uint64_t)e->flags, 2);
    put_le(out, (uint64_t)e->method, 2);
    put_le(out, 0, 4);
    put_le(out, checksum(e, how), 4);
    put_le(out, e->n, 4);
    put_le(out, e->n, 4);
    put_le(out, strlen(e->name), 2);
    put_le(out, 3, 2); /* an extra field, to be skipped */
    put(out, e->name, strlen(e->name));
    put(out, "xyz", 3);
    put(out, e->data, e->n);
}

static void central_header(bytes *out, const zip_entry *e, uint64_t at, int how) {
    const int wide = how & ZIP64;
    put_le(out, 0x02014b50, 4);
    put_le(out, 20, 2);
    put_le(out, 20, 2);
    put_le(out, (uint64_t)e->flags, 2);
    put_le(out, (uint64_t)e->method, 2);
    put_le(out, 0, 4);
    put_le(out, checksum(e, how), 4);
    put_le(out, wide ? 0xffffffff : e->n, 4);
    put_le(out, wide ? 0xffffffff : e->n, 4);
    put_le(out, strlen(e->name), 2);
    put_le(out, wide ? 4 + 28 : 0, 2);
    put_le(out, 0, 10); /* comment, disk, attributes */
    put_le(out, wide ? 0xffffffff : at, 4);
    put(out, e->name, strlen(e->name));
    if (wide) {
        put(out, "\x99\x99\0\0\x01\0\x18\0", 8); /* a field to skip, then field 1 of 24 bytes */
        put_le(out, e->n, 8);
        put_le(out, e->n, 8);
        put_le(out, at, 8);
    }
}

void zip_make(bytes *out, const zip_entry *e, int n, int how) {
    uint64_t *at = calloc((size_t)n + 1, sizeof *at);
    if (!at)
        abort();
    for (int i = 0; i < n; i++) {
        at[i] = out->n;
        local_header(out, &e[i], how);
    }
    const uint64_t central = out->n;
    for (int i = 0; i < n; i++)
        central_header(out, &e[i], at[i], how);
    const uint64_t size = out->n - central, end64 = out->n;
    if (how & ZIP64) {
        put_le(out, 0x06064b50, 4);
        put_le(out, 44, 8);
        put_le(out, 0, 12);
        put_le(out, (uint64_t)n, 8);
        put_le(out, (uint64_t)n, 8);
        put_le(out, size, 8);
        put_le(out, central, 8);
        put_le(out, 0x07064b50, 4);
        put_le(out, 0, 4);
        put_le(out, end64, 8);
        put_le(out, 1, 4);
    }
    put_le(out, 0x06054b50, 4);
    put_le(out, 0, 4);
    put_le(out, how & ZIP64 ? 0xffff : (uint64_t)n, 2);
    put_le(out, how & ZIP64 ? 0xffff : (uint64_t)n, 2);
    put_le(out, how & ZIP64 ? 0xffffffff : size, 4);
    put_le(out, how & ZIP64 ? 0xffffffff : central, 4);
    put_le(out, 0, 2);
    free(at);
}

void torch_make(bytes *out, const bytes *pickle, const zip_entry *more, int n) {
    zip_entry e[16] = {{.name = "t/data.pkl", .data = pickle->at, .n = pickle->n},
                       {.name = "t/byteorder", .data = "little", .n = 6}};
    for (int i = 0; i < n && i < 14; i++)
        e[2 + i] = more[i];
    zip_make(out, e, n + 2, ZIP_PLAIN);
}
