/* Any bytes as a safetensors file. */
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    fuzz_weights(fuzz_file(data, n));
    return 0;
}
