/* Any bytes as .npy, and as the names of its rows: arrays whose every byte is there, or an error with a sentence. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/npy_in.h"
#include "genomics/places.h"
#include "tests/fuzz/input.h"

static volatile unsigned char sink; /* what was read, so that it is read */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *path = fuzz_file(data, n);
    mb_npy_in npy;
    dna_places p;
    mb_err e = {0};
    int rc = mb_npy_in_open(&npy, path, &e);
    MB_ASSERT((rc == MB_OK) == (e.status == MB_OK) && (rc == MB_OK || (*e.text && !npy.data)));
    if (rc == MB_OK) {
        MB_ASSERT(npy.ndim >= 1 && npy.row > 0 && npy.shape[0] >= 0);
        const size_t bytes = (size_t)npy.shape[0] * (size_t)npy.row * mb_dtype_bytes(npy.dtype);
        for (size_t i = 0; i < bytes; i++)
            sink = npy.data[i];
    }
    mb_npy_in_close(&npy);
    const int64_t rows = n > 0 ? data[n / 2] : 0;
    mb_err_clear(&e);
    rc = dna_places_open(&p, path, rows, &e);
    MB_ASSERT((rc == MB_OK) == (e.status == MB_OK));
    for (int64_t row = 0; rc == MB_OK && row < rows; row++) {
        const dna_place at = dna_places_find(&p, row);
        MB_ASSERT(at.part >= 0 && at.part <= row && at.name.n >= 0);
    }
    dna_places_close(&p);
    MB_ASSERT(mb_mem_live_blocks() == 0);
    return 0;
}
