/* NumPy .npy (version 1.0) output: little endian, C order, float32, float16 or int64; header space reserved so that
 * the number of rows may be unknown until the end. Random access rows, atomic appearance. */
#ifndef MB_NPY_H
#define MB_NPY_H
#include "core/file.h"
#include "core/weights.h"

typedef struct mb_npy mb_npy;
/* shape[0] < 0: rows unknown, grows with what is written. dtype: MB_F32, MB_F16, MB_F64, MB_I64. */
int mb_npy_create(mb_npy **out, const char *path, mb_dtype dtype, int ndim, const int64_t *shape,
                  mb_err *e) MB_MUST_USE;
/* Writes count elements (given as fp32, converted, nearest even) from element offset at. Thread-safe. */
int mb_npy_put(mb_npy *n, int64_t at, const float *values, int64_t count, mb_err *e) MB_MUST_USE;
/* Sets shape[0] when it was unknown (rows < 0: as many as were written); writes the final header, fsync, rename. Fewer
 * elements written than the shape holds is MB_INTERNAL: a file with silent holes never appears. Frees n in every case.
 */
int mb_npy_commit(mb_npy *n, int64_t rows, mb_err *e) MB_MUST_USE;
void mb_npy_abort(mb_npy *n);
/* The same with elements of the array's own type. */
int mb_npy_put_raw(mb_npy *n, int64_t at, const void *values, int64_t count, mb_err *e) MB_MUST_USE;
/* IEEE half, round to nearest even; overflow to infinity. */
uint16_t mb_f32_to_f16(float f);
float mb_f16_to_f32(uint16_t h);
uint16_t mb_f32_to_bf16(float f);
float mb_bf16_to_f32(uint16_t h);
#endif
