/* Any bytes as a PyTorch zip archive, and as the pickle inside one (which the archive's checksum would hide). */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/pickle.h"
#include "tests/fuzz/input.h"

static volatile unsigned char sink; /* what was read, so that it is read */

static int look(void *user, const mb_pickle_tensor *t, mb_err *e) {
    (void)user;
    (void)e;
    for (size_t i = 0; i < t->name_length; i++)
        sink = (unsigned char)t->name[i];
    for (size_t i = 0; i < t->storage_length; i++)
        sink = (unsigned char)t->storage[i];
    for (int i = 0; i < t->ndim; i++)
        MB_ASSERT(t->shape[i] >= 0 && t->stride[i] >= 0);
    MB_ASSERT(t->ndim <= MB_TENSOR_MAX_DIMS && t->offset >= 0 && t->storage_count >= 0);
    return MB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    mb_err e = {0};
    int rc = mb_pickle_state_dict(data, n, "fuzz", look, NULL, &e);
    MB_ASSERT((rc == MB_OK) == (e.status == MB_OK));
    MB_ASSERT(mb_mem_live_blocks() == 0);
    fuzz_weights(fuzz_file(data, n));
    return 0;
}
