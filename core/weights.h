/* Named tensors of a checkpoint, whatever the file: safetensors (one file or sharded by index.json) or a PyTorch .bin
 * (zip + pickle, read by a restricted unpickler that runs nothing). Files are hostile until checked.
 * Files are mapped, not read: a file that another process shortens while it is in use ends the program (SIGBUS). */
#ifndef MB_WEIGHTS_H
#define MB_WEIGHTS_H
#include <stdint.h>
#include "core/error.h"

#define MB_TENSOR_MAX_DIMS 8
typedef enum mb_dtype { MB_F64, MB_F32, MB_F16, MB_BF16, MB_I64, MB_I32, MB_I16, MB_I8, MB_U8, MB_BOOL } mb_dtype;

typedef struct mb_tensor {
    const char *name;
    mb_dtype dtype;
    int ndim;
    int64_t shape[MB_TENSOR_MAX_DIMS];
    int64_t count;    /* product of shape */
    const void *data; /* contiguous, little endian, may be unaligned; inside the mapping */
} mb_tensor;

typedef struct mb_weights mb_weights;
/* path: a folder (model.safetensors, model.safetensors.index.json, pytorch_model.bin, in this order) or one file. */
int mb_weights_open(mb_weights **out, const char *path, mb_err *e) MB_MUST_USE;
void mb_weights_close(mb_weights *w); /* NULL is fine */
int mb_weights_count(const mb_weights *w);
const mb_tensor *mb_weights_at(const mb_weights *w, int i);              /* in the order of the data; one array */
const mb_tensor *mb_weights_find(const mb_weights *w, const char *name); /* NULL when absent */
const char *mb_weights_path(const mb_weights *w);                        /* the file it came from, for messages */
const char *mb_weights_kind(const mb_weights *w);                        /* "safetensors", "PyTorch zip" */
/* Keeps the bytes behind every mb_tensor.data alive after mb_weights_close, until released. */
typedef struct mb_weights_bytes mb_weights_bytes;
mb_weights_bytes *mb_weights_retain(const mb_weights *w);
void mb_weights_release(mb_weights_bytes *b); /* NULL is fine */
size_t mb_dtype_bytes(mb_dtype d);
const char *mb_dtype_name(mb_dtype d); /* "F32" */
/* Converts element range to float / double / int64 (exact or nearest, all through double;
 * out of range to the nearest bound, NaN to 0 in int64). */
void mb_tensor_to_f32(const mb_tensor *t, int64_t from, int64_t n, float *out);
void mb_tensor_to_f64(const mb_tensor *t, int64_t from, int64_t n, double *out);
void mb_tensor_to_i64(const mb_tensor *t, int64_t from, int64_t n, int64_t *out);

/* Writes tensors as safetensors, header keys in the given order, data 64-byte aligned start, atomically. metadata: NULL
 * or pairs key, value, ..., NULL. Data lies in the order of element size, largest first (stable), so that every element
 * is aligned; count is taken from shape. Names and metadata must be UTF-8 (MB_USAGE otherwise) and names must differ.
 */
int mb_safetensors_write(const char *path, const mb_tensor *tensors, int n, const char *const *metadata,
                         mb_err *e) MB_MUST_USE;

/* Turns what a user typed after -m into a folder: an existing path as it is; "org/name" looked up in the local Hugging
 * Face cache (the first that is set of $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub,
 * $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub; refs/main, then the only snapshot),
 * "org/name@revision" a given branch, tag, commit or beginning of one. The snapshot must hold config.json and weights.
 * When absent the error says where it looked and how to fetch it. *dir is freed with mb_free. */
int mb_hub_resolve(const char *model, char **dir, mb_err *e) MB_MUST_USE;
#endif
