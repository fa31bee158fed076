/* Reads the state dict inside a PyTorch data.pkl without running anything: a machine for the opcodes of pickle protocol
 * 2 that torch.save emits, which knows the few constructors of tensors by name and treats them as data. (Protocol:
 * CPython Lib/pickletools.py; layout of tensors: torch/_utils.py _rebuild_tensor_v2.) */
#ifndef MB_PICKLE_H
#define MB_PICKLE_H
#include "core/weights.h"

typedef struct mb_pickle_tensor {
    const char *name; /* name_length bytes of UTF-8, not zero-terminated, inside data */
    size_t name_length;
    const char *storage; /* key: the storage is the entry data/KEY of the archive */
    size_t storage_length;
    mb_dtype dtype;
    int64_t storage_count; /* elements in the storage */
    int64_t offset;        /* element of the storage the tensor begins at */
    int ndim;
    int64_t shape[MB_TENSOR_MAX_DIMS], stride[MB_TENSOR_MAX_DIMS]; /* in elements, none negative */
} mb_pickle_tensor;

/* Calls each() for every tensor of the dict, in its order; a status other than MB_OK ends the walk and is returned.
 * The dict may be the top level or lie under its key "state_dict" (then "model." is dropped where all names have it).
 * where: file and entry, begins every message. Refuses every other opcode, global and object, naming it and its byte.
 */
typedef int mb_pickle_each(void *user, const mb_pickle_tensor *t, mb_err *e);
int mb_pickle_state_dict(const unsigned char *data, size_t n, const char *where, mb_pickle_each *each, void *user,
                         mb_err *e) MB_MUST_USE;
#endif
