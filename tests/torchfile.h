/* Makes PyTorch files byte by byte for tests: a pickle, and a stored zip archive around it. */
#ifndef TESTS_TORCHFILE_H
#define TESTS_TORCHFILE_H
#include <stddef.h>
#include <stdint.h>

typedef struct bytes {
    unsigned char *at;
    size_t n, cap;
} bytes;

void put(bytes *b, const void *data, size_t n);
void put_le(bytes *b, uint64_t v, int n); /* n bytes, little endian */
void bytes_free(bytes *b);

/* Pickle pieces; each leaves one object on the stack. */
void pk_op(bytes *b, const char *ops); /* the characters, as opcodes without arguments */
void pk_text(bytes *b, const char *text);
void pk_int(bytes *b, int64_t v);
void pk_global(bytes *b, const char *module, const char *name);
void pk_begin(bytes *b); /* PROTO 2, OrderedDict(), MARK */
void pk_end(bytes *b);   /* SETITEMS, STOP */
/* sizes end with -1 */
void pk_tensor(bytes *b, const char *storage_type, const char *key, int64_t count, int64_t offset, const int64_t *shape,
               const int64_t *stride);

typedef struct zip_entry {
    const char *name;
    const void *data;
    size_t n;
    int method, flags;
    uint32_t crc_flip; /* 0 = right checksum */
} zip_entry;

enum { ZIP_PLAIN = 0, ZIP64 = 1, ZIP_NO_CRC = 2 };
void zip_make(bytes *out, const zip_entry *e, int n, int how);
/* The archive of a pickle with entries t/data.pkl, t/byteorder and the given ones. */
void torch_make(bytes *out, const bytes *pickle, const zip_entry *more, int n);
#endif
