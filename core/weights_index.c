/* model.safetensors.index.json (and pytorch_model.bin.index.json): {"weight_map": {TENSOR: FILE}}. Every file lies in
 * the folder of the index: a FILE with a '/' or a leading '.' is refused. The files must hold exactly the tensors that
 * the map says they hold. */
#include <stdlib.h>
#include <string.h>

#include "core/json_guard.h"
#include "core/mem.h"
#include "core/weights_internal.h"

enum { MAX_INDEX = 64 << 20, MAX_SHARDS = 10000 };

static const mb_json_limits index_limits = {.depth = 8, .parts = (size_t)MB_MAX_TENSORS * 4};

typedef struct shard {
    const char *file;
    int first, end; /* its tensors in the table */
} shard;

typedef struct shards {
    shard *at; /* n, sorted by file */
    int n;
} shards;

static int is_plain_name(const char *file) {
    return *file && *file != '.' && !strchr(file, '/') && strlen(file) <= 255;
}

static int by_file(const void *a, const void *b) {
    return strcmp(((const shard *)a)->file, ((const shard *)b)->file);
}

/* The distinct files of the map, sorted. */
static int collect(json_t *map, shards *s, const char *path, mb_err *e) {
    const char *key;
    json_t *file;
    int n = 0;
    if (!(s->at = mb_calloc(json_object_size(map) + 1, sizeof *s->at)))
        return mb_fail(e, MB_NOMEM, "%s: no memory for its %zu tensors", path, json_object_size(map));
    json_object_foreach(map, key, file) {
        if (!json_is_string(file) || !is_plain_name(json_string_value(file)))
            return mb_fail(e, MB_FORMAT, "%s: weight_map: %.200s: its file must be a plain name in the same folder",
                           path, key);
        s->at[n++].file = json_string_value(file);
    }
    qsort(s->at, (size_t)n, sizeof *s->at, by_file);
    for (int i = 0; i < n; i++)
        if (s->n == 0 || strcmp(s->at[i].file, s->at[s->n - 1].file) != 0)
            s->at[s->n++] = s->at[i];
    if (s->n > MAX_SHARDS)
        return mb_fail(e, MB_FORMAT, "%s: %d files; at most %d are read", path, s->n, MAX_SHARDS);
    return MB_OK;
}

static int read_shard(mb_weights *w, shard *s, const char *path, mb_err *e) {
    const char *slash = strrchr(path, '/');
    char *file = mb_asprintf("%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, s->file);
    int rc;
    s->first = w->count;
    if (!file)
        rc = mb_fail(e, MB_NOMEM, "%s: no memory to open its files", path);
    else if (!mb_file_exists(file))
        rc = mb_fail(e, MB_NOTFOUND, "%s: names the file %s, which is not beside it; fetch it too", path, s->file);
    else
        rc = mb_weights_read_file(w, file, e);
    s->end = w->count;
    mb_free(file);
    return rc;
}

static int check_map(const mb_weights *w, json_t *map, const shards *s, const char *path, mb_err *e) {
    const char *key;
    json_t *file;
    json_object_foreach(map, key, file) {
        const mb_tensor *t = mb_weights_find(w, key);
        shard want = {.file = json_string_value(file)};
        const shard *in = bsearch(&want, s->at, (size_t)s->n, sizeof *s->at, by_file);
        MB_ASSERT(in);
        if (!t || t - w->tensor < in->first || t - w->tensor >= in->end)
            return mb_fail(e, MB_FORMAT, "%s: tensor %.200s is not in %s, where the index says it is", path, key,
                           in->file);
    }
    for (int i = 0; i < w->count; i++)
        if (!json_object_get(map, w->tensor[i].name))
            return mb_fail(e, MB_FORMAT, "%s: tensor %.200s is in its files but not in the index", path,
                           w->tensor[i].name);
    return MB_OK;
}

int mb_weights_read_index(mb_weights *w, const char *path, mb_err *e) {
    char *text = NULL;
    size_t n = 0;
    json_t *root = NULL;
    shards s = {0};
    if (w->indexed)
        return mb_fail(e, MB_FORMAT, "%s: an index among the files that an index names", path);
    w->indexed = 1;
    int rc = mb_file_read_all(path, MAX_INDEX, &text, &n, e);
    if (rc == MB_OK)
        rc = mb_json_parse(&root, text, n, &index_limits, 0, path, 0, e);
    json_t *map = json_object_get(root, "weight_map");
    if (rc == MB_OK && (!json_is_object(map) || json_object_size(map) == 0))
        rc = mb_fail(e, MB_FORMAT, "%s: has no weight_map, so it is no index of weights; give the folder of the model",
                     path);
    if (rc == MB_OK)
        rc = collect(map, &s, path, e);
    for (int i = 0; i < s.n && rc == MB_OK; i++)
        rc = read_shard(w, &s.at[i], path, e);
    if (rc == MB_OK)
        rc = mb_weights_seal(w, e);
    if (rc == MB_OK)
        rc = check_map(w, map, &s, path, e);
    json_decref(root);
    mb_free(s.at);
    mb_free(text);
    return rc;
}
