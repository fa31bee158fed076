/* A fuzzer's input as a file that needs no disk. */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
/* Path of a file that holds the bytes until the next call. */
const char *fuzz_file(const uint8_t *data, size_t n);
/* Opens it as weights, reads every byte of every tensor, closes; leaks are crashes. */
void fuzz_weights(const char *path);
#endif
