/* NumPy .npy input: little-endian, C order, float16, float32, float64 or int64, mapped so that it may be larger than
 * memory. The file is hostile until checked: header, shape and size must agree to the byte. */
#ifndef MB_NPY_IN_H
#define MB_NPY_IN_H
#include "core/file.h"
#include "core/weights.h"

typedef struct mb_npy_in {
    mb_map map;
    mb_dtype dtype;
    int ndim;
    int64_t shape[MB_TENSOR_MAX_DIMS];
    int64_t row;               /* elements of a row: product of shape[1..], > 0 */
    const unsigned char *data; /* element 0, inside the mapping */
} mb_npy_in;

/* ndim >= 1; shape[0] may be 0. MB_NOTSUP: an array of another kind; MB_FORMAT: no such file, or cut short. */
int mb_npy_in_open(mb_npy_in *n, const char *path, mb_err *e) MB_MUST_USE;
void mb_npy_in_close(mb_npy_in *n); /* zeroed is fine */
#endif
