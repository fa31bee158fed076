/* The table of named tensors and the choice of reader. Refuses folders without weights, files that are no weights
 * (telling Git LFS pointers and web pages by name), doubled names and more than MB_MAX_TENSORS tensors. */
#include "core/weights_internal.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"

/* ---- the table ----------------------------------------------------------------------------------------------------
 */

/* Makes room for one more of n elements; doubling. */
static int grow(void **array, int n, int *cap, size_t size) {
    if (n < *cap)
        return 1;
    int want = *cap ? *cap * 2 : 16;
    void *p = mb_realloc_array(*array, (size_t)want, size);
    if (!p)
        return 0;
    *array = p;
    *cap = want;
    return 1;
}

int mb_weights_map(mb_weights *w, const char *path, mb_map *map, mb_err *e) {
    mb_weights_bytes *b = w->bytes;
    if (!grow((void **)&b->map, b->n_map, &b->cap_map, sizeof *b->map))
        return mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    int rc = mb_file_map(map, path, e);
    if (rc == MB_OK)
        b->map[b->n_map++] = *map;
    return rc;
}

void *mb_weights_block(mb_weights *w, size_t bytes) {
    mb_weights_bytes *b = w->bytes;
    if (!grow((void **)&b->block, b->n_block, &b->cap_block, sizeof *b->block))
        return NULL;
    void *p = mb_malloc(bytes);
    if (p)
        b->block[b->n_block++] = p;
    return p;
}

int mb_weights_add(mb_weights *w, const mb_tensor *t, const char *name, size_t length, const char *where, mb_err *e) {
    if (w->count >= MB_MAX_TENSORS)
        return mb_fail(e, MB_FORMAT, "%s: more than %d tensors", where, MB_MAX_TENSORS);
    if (length == 0 || length > MB_MAX_TENSOR_NAME)
        return mb_fail(e, MB_FORMAT, "%s: tensor %d has a name of %zu bytes; 1 to %d are possible", where, w->count,
                       length, MB_MAX_TENSOR_NAME);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 32 || name[i] == 127)
            return mb_fail(e, MB_FORMAT, "%s: the name of tensor %d holds a control character", where, w->count);
    if (!grow((void **)&w->tensor, w->count, &w->cap, sizeof *w->tensor))
        return mb_fail(e, MB_NOMEM, "%s: no memory for %d tensors", where, w->count);
    char *copy = mb_malloc(length + 1);
    if (!copy)
        return mb_fail(e, MB_NOMEM, "%s: no memory for %d tensors", where, w->count);
    memcpy(copy, name, length);
    copy[length] = '\0';
    w->tensor[w->count] = *t;
    w->tensor[w->count++].name = copy;
    return MB_OK;
}

static int by_name(const void *a, const void *b, void *tensors) {
    const mb_tensor *t = tensors;
    return strcmp(t[*(const int *)a].name, t[*(const int *)b].name);
}

int mb_weights_seal(mb_weights *w, mb_err *e) {
    mb_free(w->by_name);
    w->by_name = mb_calloc((size_t)w->count + 1, sizeof *w->by_name);
    if (!w->by_name)
        return mb_fail(e, MB_NOMEM, "%s: no memory for %d tensors", w->path, w->count);
    for (int i = 0; i < w->count; i++)
        w->by_name[i] = i;
    qsort_r(w->by_name, (size_t)w->count, sizeof *w->by_name, by_name, w->tensor);
    for (int i = 1; i < w->count; i++)
        if (by_name(&w->by_name[i - 1], &w->by_name[i], w->tensor) == 0)
            return mb_fail(e, MB_FORMAT, "%s: tensor %s comes twice", w->path, w->tensor[w->by_name[i]].name);
    return MB_OK;
}

int mb_shape_count(const int64_t *shape, int ndim, mb_dtype dtype, int64_t *count, int64_t *bytes) {
    *count = 1;
    for (int i = 0; i < ndim; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(*count, shape[i], count))
            return 0;
    return !__builtin_mul_overflow(*count, (int64_t)mb_dtype_bytes(dtype), bytes);
}

/* ---- opening ------------------------------------------------------------------------------------------------------
 */

int mb_weights_read_file(mb_weights *w, const char *path, mb_err *e) {
    static const struct {
        const char *start, *verdict;
    } strangers[] = {
        {"version https://git-lfs", "is a Git LFS pointer, not the weights; fetch them with git lfs pull"},
        {"<", "is a web page or XML, not weights; fetch the file itself"},
        {"\x1f\x8b", "is gzip-compressed; decompress it with gunzip first"},
        {"\x28\xb5\x2f\xfd", "is zstd-compressed; decompress it with unzstd first"},
        {"\x89HDF", "is an HDF5 file; only safetensors and PyTorch files are read"},
        {"GGUF", "is a GGUF file; only safetensors and PyTorch files are read"},
        {"\x93NUMPY", "is a NumPy file; only safetensors and PyTorch files are read"},
    };
    unsigned char head[32] = {0};
    FILE *f = fopen(path, "rb");
    if (!f)
        return mb_fail_errno(e, MB_IO, "%s: cannot open it", path);
    size_t n = fread(head, 1, sizeof head - 1, f);
    fclose(f);
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        if (n >= strlen(strangers[i].start) && memcmp(head, strangers[i].start, strlen(strangers[i].start)) == 0)
            return mb_fail(e, MB_FORMAT, "%s %s", path, strangers[i].verdict);
    if (n >= 4 && memcmp(head, "PK\3\4", 4) == 0)
        return mb_torchzip_read(w, path, e);
    /* a pickle of protocol 2 and up, or a tar archive: what torch.save wrote before 1.6 */
    if (n >= 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5)
        return mb_fail(e, MB_NOTSUP,
                       "%s is a bare pickle (PyTorch before 1.6, or pickle.dump), which is not read; re-save it in "
                       "Python: torch.save(torch.load(\"%s\", map_location=\"cpu\"), \"%s\")",
                       path, path, path);
    if (n && head[0] == '{')
        return mb_weights_read_index(w, path, e);
    return mb_safetensors_read(w, path, e);
}

static int is_weights_name(const char *name) {
    static const char *const ends[] = {".safetensors", ".bin", ".pt", ".pth", ".ckpt"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n > strlen(ends[i]) && strcmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return 1;
    return 0;
}

/* The folder has none of the usual files: says which one it may be instead. */
static int nothing_in(const char *dir, mb_err *e) {
    char other[256] = "";
    DIR *d = opendir(dir);
    if (!d)
        return mb_fail_errno(e, MB_IO, "%s: cannot list the folder", dir);
    for (struct dirent *entry; (entry = readdir(d));) /* the first by name, whatever the order of the folder */
        if (is_weights_name(entry->d_name) && (!*other || strcmp(entry->d_name, other) < 0))
            snprintf(other, sizeof other, "%s", entry->d_name);
    closedir(d);
    if (*other)
        return mb_fail(
            e, MB_NOTFOUND,
            "%s: no model.safetensors, model.safetensors.index.json or pytorch_model.bin there; if %s is the "
            "checkpoint, give that file: %s/%s",
            dir, other, dir, other);
    return mb_fail(e, MB_NOTFOUND, "%s: no model.safetensors, model.safetensors.index.json or pytorch_model.bin there",
                   dir);
}

/* The file to open: path itself, or the first of the usual names in the folder path. */
static int choose(const char *path, char **file, mb_err *e) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                        "pytorch_model.bin.index.json"};
    struct stat st;
    *file = NULL;
    if (stat(path, &st) != 0)
        return mb_fail_errno(e, MB_NOTFOUND, "%s: cannot open it", path);
    if (!S_ISDIR(st.st_mode)) {
        *file = mb_strdup(path);
        return *file ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!(*file = mb_path_join(path, names[i])))
            return mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
        if (mb_file_exists(*file))
            return MB_OK;
        mb_free(*file);
        *file = NULL;
    }
    return nothing_in(path, e);
}

int mb_weights_open(mb_weights **out, const char *path, mb_err *e) {
    *out = NULL;
    mb_weights *w = mb_calloc(1, sizeof *w);
    if (!w || !(w->bytes = mb_calloc(1, sizeof *w->bytes))) {
        mb_free(w);
        return mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    }
    atomic_init(&w->bytes->holders, 1);
    int rc = choose(path, &w->path, e);
    if (rc == MB_OK)
        rc = mb_weights_read_file(w, w->path, e);
    if (rc == MB_OK)
        rc = mb_weights_seal(w, e);
    if (rc != MB_OK)
        mb_weights_close(w);
    else
        *out = w;
    return rc;
}

mb_weights_bytes *mb_weights_retain(const mb_weights *w) {
    atomic_fetch_add(&w->bytes->holders, 1);
    return w->bytes;
}

void mb_weights_release(mb_weights_bytes *b) {
    if (!b || atomic_fetch_sub(&b->holders, 1) > 1)
        return;
    for (int i = 0; i < b->n_map; i++)
        mb_file_unmap(&b->map[i]);
    for (int i = 0; i < b->n_block; i++)
        mb_free(b->block[i]);
    mb_free(b->map);
    mb_free(b->block);
    mb_free(b);
}

void mb_weights_close(mb_weights *w) {
    if (!w)
        return;
    for (int i = 0; i < w->count; i++)
        mb_free((void *)w->tensor[i].name); /* copied by mb_weights_add */
    mb_weights_release(w->bytes);
    mb_free(w->tensor);
    mb_free(w->by_name);
    mb_free(w->path);
    mb_free(w);
}

/* ---- asking -------------------------------------------------------------------------------------------------------
 */

int mb_weights_count(const mb_weights *w) {
    return w->count;
}

const mb_tensor *mb_weights_at(const mb_weights *w, int i) {
    MB_ASSERT(i >= 0 && i < w->count);
    return &w->tensor[i];
}

const mb_tensor *mb_weights_find(const mb_weights *w, const char *name) {
    for (int lo = 0, hi = w->count; lo < hi;) {
        int mid = lo + (hi - lo) / 2, order = strcmp(name, w->tensor[w->by_name[mid]].name);
        if (order == 0)
            return &w->tensor[w->by_name[mid]];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const char *mb_weights_path(const mb_weights *w) {
    return w->path;
}

const char *mb_weights_kind(const mb_weights *w) {
    return w->kind;
}
