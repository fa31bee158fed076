/* What the readers of single files (safetensors.c, torchzip.c) and the opener (weights.c) share. */
#ifndef MB_WEIGHTS_INTERNAL_H
#define MB_WEIGHTS_INTERNAL_H
#include <stdatomic.h>

#include "core/file.h"
#include "core/weights.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weight files are little endian and are used where they lie: this needs a little-endian machine"
#endif

enum { MB_MAX_TENSORS = 100000, MB_MAX_TENSOR_NAME = 1024 };

struct mb_weights_bytes { /* shared by the mb_weights and whoever retained it */
    atomic_int holders;
    mb_map *map; /* n_map */
    int n_map, cap_map;
    void **block; /* n_block heap blocks */
    int n_block, cap_block;
};

struct mb_weights {
    char *path;
    const char *kind;
    mb_tensor *tensor; /* count */
    int count, cap;
    int *by_name; /* count indices, sorted by name; after mb_weights_seal */
    int indexed;  /* reading the files of an index, which may not be indices themselves */
    mb_weights_bytes *bytes;
};

/* Maps a file; the mapping lives as long as w's bytes. */
int mb_weights_map(mb_weights *w, const char *path, mb_map *map, mb_err *e) MB_MUST_USE;
/* Heap block with the same life; NULL without memory. */
void *mb_weights_block(mb_weights *w, size_t bytes);
/* Appends a tensor; the name (bytes name[0..length)) is copied, everything else taken as it is. Refuses empty, overlong
 * and non-printable names and too many tensors. where: file, for messages. */
int mb_weights_add(mb_weights *w, const mb_tensor *t, const char *name, size_t length, const char *where,
                   mb_err *e) MB_MUST_USE;
/* Sorts the names; a name that comes twice is an error. */
int mb_weights_seal(mb_weights *w, mb_err *e) MB_MUST_USE;
/* Product of shape, and its size in bytes; 0 when either leaves int64. */
int mb_shape_count(const int64_t *shape, int ndim, mb_dtype dtype, int64_t *count, int64_t *bytes);

/* The readers: append all tensors of one file to w. */
int mb_safetensors_read(mb_weights *w, const char *path, mb_err *e) MB_MUST_USE;
int mb_torchzip_read(mb_weights *w, const char *path, mb_err *e) MB_MUST_USE;
/* model.safetensors.index.json: all shards it names, which lie in its folder. */
int mb_weights_read_index(mb_weights *w, const char *path, mb_err *e) MB_MUST_USE;
/* One file of any kind, told by its first bytes. */
int mb_weights_read_file(mb_weights *w, const char *path, mb_err *e) MB_MUST_USE;
#endif
