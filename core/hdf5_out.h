/* HDF5 output, as little of it as the front ends need: a file that appears complete or not at all, datasets of numbers
 * written by rows, columns of strings and integers, attributes. One file is written by one thread at a time.
 * Builds without HDF5 link hdf5_none.c: create then fails with MB_NOTSUP and says what to install. */
#ifndef MB_HDF5_OUT_H
#define MB_HDF5_OUT_H
#include <stdint.h>
#include "core/error.h"
#include "core/weights.h"

#define MB_H5_MAX_DIMS 4

typedef struct mb_h5 mb_h5;

int mb_h5_available(void); /* 1 when this build can write HDF5 */
/* Temporary name beside path until commit. */
int mb_h5_create(mb_h5 **out, const char *path, mb_err *e) MB_MUST_USE;
/* Makes a dataset of a fixed shape and keeps it as the one that mb_h5_write fills. name: "group/name"; groups on the
 * way are made. dtype: MB_F32, MB_F16 (IEEE half), MB_I64. gzip: 0 = contiguous, 1..9 = chunked by rows and compressed.
 */
int mb_h5_dataset(mb_h5 *h, const char *name, mb_dtype dtype, int ndim, const int64_t *shape, int gzip,
                  mb_err *e) MB_MUST_USE;
/* Rows [from, from+n) of the dataset made last, in its own dtype, C order. */
int mb_h5_write(mb_h5 *h, int64_t from, int64_t n, const void *data, mb_err *e) MB_MUST_USE;
/* A one-dimensional dataset of UTF-8 strings of variable length. */
int mb_h5_strings(mb_h5 *h, const char *name, const char *const *value, int64_t n, mb_err *e) MB_MUST_USE;
/* A dataset that grows by rows, for results whose number is known only at the end; several may be open, all are closed
 * before commit or abort. Chunked; gzip 1..9 compresses. width 0: (rows), else (rows, width). dtype as above, or
 * MB_F64. */
typedef struct mb_h5_column mb_h5_column;
int mb_h5_column_create(mb_h5_column **out, mb_h5 *h, const char *name, mb_dtype dtype, int64_t width, int gzip,
                        mb_err *e) MB_MUST_USE;
/* Of UTF-8 strings of variable length; mb_h5_column_append then takes an array of const char *. */
int mb_h5_column_strings(mb_h5_column **out, mb_h5 *h, const char *name, mb_err *e) MB_MUST_USE;
int mb_h5_column_append(mb_h5_column *c, int64_t n, const void *data, mb_err *e) MB_MUST_USE;
void mb_h5_column_close(mb_h5_column *c); /* NULL is fine */
/* Attributes of object: "" is the file itself, else the name of a dataset or group. */
int mb_h5_attr_string(mb_h5 *h, const char *object, const char *name, const char *value, mb_err *e) MB_MUST_USE;
int mb_h5_attr_int(mb_h5 *h, const char *object, const char *name, int64_t value, mb_err *e) MB_MUST_USE;
int mb_h5_attr_float(mb_h5 *h, const char *object, const char *name, double value, mb_err *e) MB_MUST_USE;
/* Closes, fsyncs and renames into place; frees h in every case. */
int mb_h5_commit(mb_h5 *h, mb_err *e) MB_MUST_USE;
void mb_h5_abort(mb_h5 *h); /* removes the temporary file; NULL is fine */
#endif
