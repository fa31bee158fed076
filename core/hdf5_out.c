/* HDF5 output through the serial C library (1.10 or newer). The file is written under mb_out's temporary name and
 * renamed when it is complete. Errors carry the library's own innermost reason. Refuses nothing that HDF5 itself
 * accepts but more than MB_H5_MAX_DIMS dimensions. */
#include "core/hdf5_out.h"

#include <hdf5.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"

/* Rows of a compressed dataset are chunked to about this many bytes, the size HDF5's default chunk cache (1 MiB) suits.
 */
#define CHUNK_BYTES ((hsize_t)256 * 1024)

struct mb_h5 {
    mb_out *out;
    char *path;
    hid_t file;
    hid_t dataset, memory_type; /* of the dataset made last; < 0 none */
    int ndim;
    hsize_t shape[MB_H5_MAX_DIMS];
};

int mb_h5_available(void) {
    return 1;
}

enum { REASON = 256 };

/* Failures of the system come as "file write failed: time = ...\n, filename = ..., error message = 'File too large',
 * ...": what failed and the message are kept. */
static herr_t take_reason(unsigned n, const H5E_error2_t *err, void *user) {
    static const char mark[] = "error message = '";
    if (n > 0)
        return 0;
    const char *text = err->desc ? err->desc : "unknown reason", *message = strstr(text, mark);
    if (message) {
        message += sizeof mark - 1;
        snprintf(user, REASON, "%.*s: %.*s", (int)strcspn(text, ":"), text, (int)strcspn(message, "'"), message);
    } else {
        snprintf(user, REASON, "%s", text);
    }
    return 0;
}

/* One sentence from the library's error stack, whose innermost entry names the cause. */
static int fail_h5(const mb_h5 *h, mb_err *e, const char *what, const char *name) {
    char reason[REASON] = "unknown reason";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_reason, reason);
    H5Eclear2(H5E_DEFAULT);
    return mb_fail(e, MB_IO, "%s: cannot %s '%s': %s", h->path, what, name, reason);
}

int mb_h5_create(mb_h5 **out, const char *path, mb_err *e) {
    *out = NULL;
    H5dont_atexit(); /* its handler crashes over a file whose closing failed; all that is opened here is closed here */
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    mb_h5 *h = mb_calloc(1, sizeof *h);
    if (!h)
        return mb_fail(e, MB_NOMEM, "%s: no memory for the HDF5 writer", path);
    h->file = h->dataset = h->memory_type = -1;
    hid_t access = -1;
    h->path = mb_strdup(path);
    int rc = h->path ? mb_out_create(&h->out, path, e) : mb_fail(e, MB_NOMEM, "%s: no memory for its name", path);
    if (rc)
        goto done;
    access = H5Pcreate(H5P_FILE_ACCESS);
    /* The temporary file is ours alone; locks only fail on network file systems that lack them. */
    if (access >= 0)
        H5Pset_file_locking(access, 0, 1);
    h->file = H5Fcreate(mb_out_temp_path(h->out), H5F_ACC_TRUNC, H5P_DEFAULT, access < 0 ? H5P_DEFAULT : access);
    if (h->file < 0)
        rc = fail_h5(h, e, "create", mb_out_temp_path(h->out));
done:
    if (access >= 0)
        H5Pclose(access);
    if (rc)
        mb_h5_abort(h);
    else
        *out = h;
    return rc;
}

/* IEEE 754 binary16: sign 15, exponent 10..14, mantissa 0..9, bias 15. h5py and numpy read it as float16. */
static hid_t half_type(void) {
    hid_t t = H5Tcopy(H5T_IEEE_F32LE);
    if (t >= 0 && (H5Tset_fields(t, 15, 10, 5, 0, 10) < 0 || H5Tset_size(t, 2) < 0 || H5Tset_ebias(t, 15) < 0)) {
        H5Tclose(t);
        t = -1;
    }
    return t;
}

static hid_t number_type(mb_dtype dtype) {
    switch (dtype) {
    case MB_F16:
        return half_type();
    case MB_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case MB_F64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case MB_I64:
        return H5Tcopy(H5T_STD_I64LE);
    default:
        MB_ASSERT(!"dtype of an HDF5 dataset");
        return -1;
    }
}

static void close_dataset(mb_h5 *h) {
    if (h->dataset >= 0)
        H5Dclose(h->dataset);
    if (h->memory_type >= 0)
        H5Tclose(h->memory_type);
    h->dataset = h->memory_type = -1;
}

static int set_chunks(const mb_h5 *h, hid_t create, size_t item, int gzip) {
    hsize_t chunk[MB_H5_MAX_DIMS], row = item;
    for (int i = 1; i < h->ndim; i++) {
        chunk[i] = h->shape[i];
        row *= h->shape[i];
    }
    chunk[0] = row ? CHUNK_BYTES / row : 1;
    if (chunk[0] < 1)
        chunk[0] = 1;
    if (chunk[0] > h->shape[0])
        chunk[0] = h->shape[0];
    return H5Pset_chunk(create, h->ndim, chunk) < 0 || H5Pset_shuffle(create) < 0 ||
           H5Pset_deflate(create, (unsigned)gzip) < 0;
}

static hid_t links_making_groups(void) {
    hid_t link = H5Pcreate(H5P_LINK_CREATE);
    if (link >= 0) {
        H5Pset_create_intermediate_group(link, 1);
        H5Pset_char_encoding(link, H5T_CSET_UTF8);
    }
    return link;
}

/* Without the time of its making: the same content is the same bytes. */
static hid_t new_dataset(void) {
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    if (create >= 0 && H5Pset_obj_track_times(create, 0) < 0) {
        H5Pclose(create);
        create = H5I_INVALID_HID;
    }
    return create;
}

int mb_h5_dataset(mb_h5 *h, const char *name, mb_dtype dtype, int ndim, const int64_t *shape, int gzip, mb_err *e) {
    MB_ASSERT(ndim >= 1 && ndim <= MB_H5_MAX_DIMS);
    close_dataset(h);
    h->ndim = ndim;
    int empty = 0;
    for (int i = 0; i < ndim; i++) {
        MB_ASSERT(shape[i] >= 0);
        h->shape[i] = (hsize_t)shape[i];
        empty |= shape[i] == 0;
    }
    int rc = MB_OK;
    hid_t space = H5Screate_simple(ndim, h->shape, NULL), create = new_dataset();
    hid_t link = links_making_groups();
    h->memory_type = number_type(dtype);
    if (space < 0 || create < 0 || link < 0 || h->memory_type < 0 ||
        (gzip && !empty && set_chunks(h, create, mb_dtype_bytes(dtype), gzip))) {
        rc = fail_h5(h, e, "describe", name);
        goto done;
    }
    h->dataset = H5Dcreate2(h->file, name, h->memory_type, space, link, create, H5P_DEFAULT);
    if (h->dataset < 0)
        rc = fail_h5(h, e, "create dataset", name);
done:
    if (space >= 0)
        H5Sclose(space);
    if (create >= 0)
        H5Pclose(create);
    if (link >= 0)
        H5Pclose(link);
    return rc;
}

int mb_h5_write(mb_h5 *h, int64_t from, int64_t n, const void *data, mb_err *e) {
    MB_ASSERT(h->dataset >= 0 && from >= 0 && n >= 0 && (hsize_t)(from + n) <= h->shape[0]);
    if (n == 0)
        return MB_OK;
    hsize_t start[MB_H5_MAX_DIMS] = {(hsize_t)from}, count[MB_H5_MAX_DIMS];
    memcpy(count, h->shape, sizeof count);
    count[0] = (hsize_t)n;
    hid_t file_space = H5Dget_space(h->dataset), memory_space = H5Screate_simple(h->ndim, count, NULL);
    int rc = MB_OK;
    if (file_space < 0 || memory_space < 0 ||
        H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
        H5Dwrite(h->dataset, h->memory_type, memory_space, file_space, H5P_DEFAULT, data) < 0)
        rc = fail_h5(h, e, "write rows of", "dataset");
    if (file_space >= 0)
        H5Sclose(file_space);
    if (memory_space >= 0)
        H5Sclose(memory_space);
    return rc;
}

static hid_t string_type(size_t size) {
    hid_t t = H5Tcopy(H5T_C_S1);
    if (t >= 0) {
        H5Tset_size(t, size);
        H5Tset_cset(t, H5T_CSET_UTF8);
    }
    return t;
}

int mb_h5_strings(mb_h5 *h, const char *name, const char *const *value, int64_t n, mb_err *e) {
    hsize_t count = (hsize_t)n;
    hid_t type = string_type(H5T_VARIABLE), space = H5Screate_simple(1, &count, NULL), link = links_making_groups();
    hid_t set = -1, create = new_dataset();
    int rc = MB_OK;
    if (type >= 0 && space >= 0 && link >= 0 && create >= 0)
        set = H5Dcreate2(h->file, name, type, space, link, create, H5P_DEFAULT);
    if (set < 0 || (n > 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) < 0))
        rc = fail_h5(h, e, "write", name);
    if (set >= 0)
        H5Dclose(set);
    if (create >= 0)
        H5Pclose(create);
    if (link >= 0)
        H5Pclose(link);
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    return rc;
}

/* ---- columns that grow ----------------------------------------------------------------------------------------------
 */

struct mb_h5_column {
    mb_h5 *h;
    char *name;
    hid_t dataset, type; /* < 0 none */
    hsize_t rows, width; /* width 0: one dimension */
};

void mb_h5_column_close(mb_h5_column *c) {
    if (!c)
        return;
    if (c->dataset >= 0)
        H5Dclose(c->dataset);
    if (c->type >= 0)
        H5Tclose(c->type);
    mb_free(c->name);
    mb_free(c);
}

/* Takes type over. item: bytes of one element. */
static int make_column(mb_h5_column **out, mb_h5 *h, const char *name, hid_t type, size_t item, int64_t width, int gzip,
                       mb_err *e) {
    *out = NULL;
    mb_h5_column *c = mb_calloc(1, sizeof *c);
    if (!c || !(c->name = mb_strdup(name))) {
        mb_free(c);
        if (type >= 0)
            H5Tclose(type);
        return mb_fail(e, MB_NOMEM, "%s: no memory for dataset '%s'", h->path, name);
    }
    c->h = h;
    c->dataset = -1;
    c->type = type;
    c->width = (hsize_t)width;
    const hsize_t columns = width ? c->width : 1, fit = CHUNK_BYTES / (columns * item);
    const hsize_t now[2] = {0, columns}, most[2] = {H5S_UNLIMITED, columns}, chunk[2] = {fit ? fit : 1, columns};
    const int ndim = width ? 2 : 1;
    hid_t space = H5Screate_simple(ndim, now, most), create = new_dataset(), link = links_making_groups();
    if (type >= 0 && space >= 0 && create >= 0 && link >= 0 && H5Pset_chunk(create, ndim, chunk) >= 0 &&
        (!gzip || (H5Pset_shuffle(create) >= 0 && H5Pset_deflate(create, (unsigned)gzip) >= 0)))
        c->dataset = H5Dcreate2(h->file, name, type, space, link, create, H5P_DEFAULT);
    int rc = c->dataset < 0 ? fail_h5(h, e, "create dataset", name) : MB_OK;
    if (space >= 0)
        H5Sclose(space);
    if (create >= 0)
        H5Pclose(create);
    if (link >= 0)
        H5Pclose(link);
    if (rc == MB_OK)
        *out = c;
    else
        mb_h5_column_close(c);
    return rc;
}

int mb_h5_column_create(mb_h5_column **out, mb_h5 *h, const char *name, mb_dtype dtype, int64_t width, int gzip,
                        mb_err *e) {
    return make_column(out, h, name, number_type(dtype), mb_dtype_bytes(dtype), width, gzip, e);
}

int mb_h5_column_strings(mb_h5_column **out, mb_h5 *h, const char *name, mb_err *e) {
    return make_column(out, h, name, string_type(H5T_VARIABLE), sizeof(hvl_t), 0, 0, e);
}

int mb_h5_column_append(mb_h5_column *c, int64_t n, const void *data, mb_err *e) {
    const int ndim = c->width ? 2 : 1;
    const hsize_t start[2] = {c->rows, 0}, count[2] = {(hsize_t)n, c->width}, now[2] = {c->rows + (hsize_t)n, c->width};
    if (n == 0)
        return MB_OK;
    int rc = H5Dset_extent(c->dataset, now) < 0 ? fail_h5(c->h, e, "extend", c->name) : MB_OK;
    if (rc != MB_OK)
        return rc;
    hid_t file = H5Dget_space(c->dataset), memory = H5Screate_simple(ndim, count, NULL);
    if (file < 0 || memory < 0 || H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
        H5Dwrite(c->dataset, c->type, memory, file, H5P_DEFAULT, data) < 0)
        rc = fail_h5(c->h, e, "write rows of", c->name);
    if (file >= 0)
        H5Sclose(file);
    if (memory >= 0)
        H5Sclose(memory);
    c->rows = now[0];
    return rc;
}

static int put_attribute(mb_h5 *h, const char *object, const char *name, hid_t type, hid_t memory, const void *value,
                         mb_err *e) {
    hid_t space = H5Screate(H5S_SCALAR), at = -1;
    int rc = MB_OK;
    if (type >= 0 && space >= 0)
        at = H5Acreate_by_name(h->file, *object ? object : "/", name, type, space, H5P_DEFAULT, H5P_DEFAULT,
                               H5P_DEFAULT);
    if (at < 0 || H5Awrite(at, memory, value) < 0)
        rc = fail_h5(h, e, "write attribute", name);
    if (at >= 0)
        H5Aclose(at);
    if (space >= 0)
        H5Sclose(space);
    return rc;
}

int mb_h5_attr_string(mb_h5 *h, const char *object, const char *name, const char *value, mb_err *e) {
    hid_t type = string_type(strlen(value) + 1); /* an empty type is refused by HDF5, so the zero byte is kept */
    int rc = put_attribute(h, object, name, type, type, value, e);
    if (type >= 0)
        H5Tclose(type);
    return rc;
}

int mb_h5_attr_int(mb_h5 *h, const char *object, const char *name, int64_t value, mb_err *e) {
    return put_attribute(h, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value, e);
}

int mb_h5_attr_float(mb_h5 *h, const char *object, const char *name, double value, mb_err *e) {
    return put_attribute(h, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value, e);
}

static void free_writer(mb_h5 *h) {
    mb_free(h->path);
    mb_free(h);
}

int mb_h5_commit(mb_h5 *h, mb_err *e) {
    close_dataset(h);
    int rc = H5Fclose(h->file) < 0 ? fail_h5(h, e, "close", mb_out_temp_path(h->out)) : MB_OK;
    h->file = -1;
    if (rc)
        mb_out_abort(h->out);
    else
        rc = mb_out_commit(h->out, e);
    free_writer(h);
    return rc;
}

void mb_h5_abort(mb_h5 *h) {
    if (!h)
        return;
    close_dataset(h);
    if (h->file >= 0)
        H5Fclose(h->file);
    mb_out_abort(h->out);
    free_writer(h);
}
