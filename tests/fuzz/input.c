#include "tests/fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/weights.h"

static volatile unsigned char sink; /* what was read, so that it is read */

const char *fuzz_file(const uint8_t *data, size_t n) {
    static char path[64];
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("input", 0);
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, n, 0) != (ssize_t)n)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

void fuzz_weights(const char *path) {
    mb_err e = {0};
    mb_weights *w = NULL;
    int rc = mb_weights_open(&w, path, &e);
    MB_ASSERT((rc == MB_OK) == (w != NULL) && (rc == MB_OK) == (e.status == MB_OK));
    for (int i = 0; w && i < mb_weights_count(w); i++) {
        const mb_tensor *t = mb_weights_at(w, i);
        for (size_t k = 0; k < (size_t)t->count * mb_dtype_bytes(t->dtype); k++)
            sink = ((const unsigned char *)t->data)[k];
        MB_ASSERT(mb_weights_find(w, t->name) == t);
    }
    mb_weights_close(w);
    MB_ASSERT(mb_mem_live_blocks() == 0);
}
