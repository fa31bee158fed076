/* Stands in for hdf5_out.c where HDF5 was not found at build time: refuses, and says how to get it. */
#include "core/hdf5_out.h"

static int refuse(mb_err *e) {
    return mb_fail(e, MB_NOTSUP,
                   "this build cannot write HDF5; install libhdf5-dev and build again, or write .npy or .tsv");
}

int mb_h5_available(void) {
    return 0;
}

int mb_h5_create(mb_h5 **out, const char *path, mb_err *e) {
    (void)path;
    *out = NULL;
    return refuse(e);
}

int mb_h5_dataset(mb_h5 *h, const char *name, mb_dtype dtype, int ndim, const int64_t *shape, int gzip, mb_err *e) {
    (void)h, (void)name, (void)dtype, (void)ndim, (void)shape, (void)gzip;
    return refuse(e);
}

int mb_h5_write(mb_h5 *h, int64_t from, int64_t n, const void *data, mb_err *e) {
    (void)h, (void)from, (void)n, (void)data;
    return refuse(e);
}

int mb_h5_strings(mb_h5 *h, const char *name, const char *const *value, int64_t n, mb_err *e) {
    (void)h, (void)name, (void)value, (void)n;
    return refuse(e);
}

int mb_h5_column_create(mb_h5_column **out, mb_h5 *h, const char *name, mb_dtype dtype, int64_t width, int gzip,
                        mb_err *e) {
    (void)h, (void)name, (void)dtype, (void)width, (void)gzip;
    *out = NULL;
    return refuse(e);
}

int mb_h5_column_strings(mb_h5_column **out, mb_h5 *h, const char *name, mb_err *e) {
    (void)h, (void)name;
    *out = NULL;
    return refuse(e);
}

int mb_h5_column_append(mb_h5_column *c, int64_t n, const void *data, mb_err *e) {
    (void)c, (void)n, (void)data;
    return refuse(e);
}

void mb_h5_column_close(mb_h5_column *c) {
    (void)c;
}

int mb_h5_attr_string(mb_h5 *h, const char *object, const char *name, const char *value, mb_err *e) {
    (void)h, (void)object, (void)name, (void)value;
    return refuse(e);
}

int mb_h5_attr_int(mb_h5 *h, const char *object, const char *name, int64_t value, mb_err *e) {
    (void)h, (void)object, (void)name, (void)value;
    return refuse(e);
}

int mb_h5_attr_float(mb_h5 *h, const char *object, const char *name, double value, mb_err *e) {
    (void)h, (void)object, (void)name, (void)value;
    return refuse(e);
}

int mb_h5_commit(mb_h5 *h, mb_err *e) {
    (void)h;
    return refuse(e);
}

void mb_h5_abort(mb_h5 *h) {
    (void)h;
}
