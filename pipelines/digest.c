/* See digest.h. A file that changed within the last two seconds is not remembered: it could change again within the
 * same tick of the file system's clock. */
#include "pipelines/digest.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/file.h"
#include "core/mem.h"

enum { CACHE_BYTES = 64 << 20, CACHE_LINES = 200000 };

typedef struct known {
    uint64_t place[2];                /* device and inode */
    int64_t bytes, modified, changed; /* ns */
    char hex[65];
} known;

struct pipe_digests {
    char *cache;
    known *known; /* (n), unsorted: a pipeline has some hundreds of files, searched by a table of chains */
    int n, room;
    int *chain; /* (n): the next of the same bucket, -1 none */
    int bucket[1024];
    int altered;
};

static int bucket_of(const uint64_t place[2]) {
    const uint64_t x = (place[0] ^ place[1]) * 0x9E3779B97F4A7C15u;
    return (int)(x >> 54);
}

static int remember(pipe_digests *d, const known *k) {
    if (d->n == d->room) {
        const int room = d->room ? 2 * d->room : 256;
        known *more = mb_realloc_array(d->known, (size_t)room, sizeof *more);
        if (more)
            d->known = more;
        int *chain = more ? mb_realloc_array(d->chain, (size_t)room, sizeof *chain) : NULL;
        if (!chain)
            return MB_NOMEM;
        d->chain = chain;
        d->room = room;
    }
    const int b = bucket_of(k->place);
    d->known[d->n] = *k;
    d->chain[d->n] = d->bucket[b];
    d->bucket[b] = d->n++;
    return MB_OK;
}

static const known *recall(const pipe_digests *d, const known *k) {
    for (int i = d->bucket[bucket_of(k->place)]; i >= 0; i = d->chain[i]) {
        const known *have = &d->known[i];
        if (have->place[0] == k->place[0] && have->place[1] == k->place[1] && have->bytes == k->bytes &&
            have->modified == k->modified && have->changed == k->changed)
            return have;
    }
    return NULL;
}

/* ---- the cache ------------------------------------------------------------------------------------------------------
 */

static int is_hex(const char *s) {
    return strspn(s, "0123456789abcdef") == 64 && !s[64];
}

/* Lines that are no lines of ours are passed over: the cache saves time and nothing else. */
static int read_cache(pipe_digests *d, mb_err *e) {
    char *text = NULL;
    size_t n;
    mb_err why = {0};
    int rc = mb_file_read_all(d->cache, CACHE_BYTES, &text, &n, &why);
    if (rc != MB_OK)
        return rc == MB_NOMEM ? mb_fail(e, rc, "%s", why.text) : MB_OK;
    for (char *line = text, *next; rc == MB_OK && line && *line && d->n < CACHE_LINES; line = next) {
        known k = {.bytes = -1};
        char hex[66];
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        /* NOLINTNEXTLINE(cert-err34-c): numbers out of range match no file */
        if (sscanf(line, "%65s %" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNd64 " %" SCNd64, hex, &k.place[0], &k.place[1],
                   &k.bytes, &k.modified, &k.changed) != 6 ||
            !is_hex(hex))
            continue;
        memcpy(k.hex, hex, sizeof k.hex);
        rc = remember(d, &k);
    }
    mb_free(text);
    return rc == MB_OK ? rc : mb_fail(e, rc, "out of memory for %s", d->cache);
}

int pipe_digests_open(pipe_digests **out, const char *cache, mb_err *e) {
    pipe_digests *d = mb_calloc(1, sizeof *d);
    *out = NULL;
    for (int i = 0; d && i < 1024; i++)
        d->bucket[i] = -1;
    int rc = d && (d->cache = mb_strdup(cache)) ? read_cache(d, e) : mb_fail(e, MB_NOMEM, "out of memory for digests");
    if (rc != MB_OK)
        pipe_digests_close(d);
    else
        *out = d;
    return rc;
}

void pipe_digests_close(pipe_digests *d) {
    if (!d)
        return;
    pipe_text t = {0};
    mb_err ignored = {0};
    for (int i = d->n > CACHE_LINES ? d->n - CACHE_LINES : 0; d->altered && i < d->n; i++) {
        const known *k = &d->known[i];
        pipe_text_add(&t, "%s %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", k->hex, k->place[0],
                      k->place[1], k->bytes, k->modified, k->changed);
    }
    if (d->altered && !t.lost)
        (void)!mb_file_write_all(d->cache, t.data, t.n, &ignored);
    pipe_text_free(&t);
    mb_free(d->cache);
    mb_free(d->known);
    mb_free(d->chain);
    mb_free(d);
}

/* ---- files ----------------------------------------------------------------------------------------------------------
 */

static int64_t nanoseconds(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int pipe_digest_file(pipe_digests *d, const char *path, char *hex, int64_t *bytes, mb_err *e) {
    struct stat st;
    struct timespec now;
    if (stat(path, &st))
        return mb_fail_errno(e, errno == ENOENT || errno == ENOTDIR ? MB_NOTFOUND : MB_IO, "%s", path);
    if (!S_ISREG(st.st_mode))
        return mb_fail(e, MB_NOTSUP, "%s: is no regular file", path);
    known k = {.place = {(uint64_t)st.st_dev, (uint64_t)st.st_ino},
               .bytes = (int64_t)st.st_size,
               .modified = nanoseconds(st.st_mtim),
               .changed = nanoseconds(st.st_ctim)};
    const known *have = recall(d, &k);
    *bytes = k.bytes;
    if (have) {
        memcpy(hex, have->hex, sizeof k.hex);
        return MB_OK;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    int rc = mb_file_sha256(path, k.hex, e);
    if (rc != MB_OK)
        return rc;
    memcpy(hex, k.hex, sizeof k.hex);
    const int64_t age = nanoseconds(now) - k.changed;
    if (age < 2000000000)
        return MB_OK;
    d->altered = 1;
    return remember(d, &k) == MB_OK ? MB_OK : mb_fail(e, MB_NOMEM, "out of memory for digests");
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef int wanted_fn(const char *name, const char *prefix);

/* Names of the regular files of a folder that are wanted, sorted, in the pool. */
static int list_files(const char *folder, wanted_fn *wanted, const char *prefix, pipe_pool *pool, char ***out, int *n,
                      mb_err *e) {
    DIR *dir = opendir(folder);
    struct stat st;
    int rc = MB_OK;
    *out = NULL;
    *n = 0;
    if (!dir)
        return mb_fail_errno(e, errno == ENOENT ? MB_NOTFOUND : MB_IO, "%s", folder);
    for (struct dirent *entry; rc == MB_OK && (entry = readdir(dir));) {
        if (!wanted(entry->d_name, prefix) || fstatat(dirfd(dir), entry->d_name, &st, 0) || !S_ISREG(st.st_mode))
            continue;
        char **more = pipe_grow(pool, *out, *n, sizeof *more);
        if (more) {
            *out = more;
            more[*n] = pipe_copy(pool, entry->d_name);
        }
        if (!more || !more[(*n)++])
            rc = mb_fail(e, MB_NOMEM, "out of memory for the files of %s", folder);
    }
    closedir(dir);
    if (rc == MB_OK && *n)
        qsort(*out, (size_t)*n, sizeof **out, by_name);
    return rc;
}

static int any_file(const char *name, const char *prefix) {
    (void)prefix;
    return name[0] != '.' && !strstr(name, ".tmp.");
}

static int model_file(const char *name, const char *prefix) {
    (void)prefix;
    return name[0] != '.' && (mb_path_ends_with(name, ".safetensors") || mb_path_ends_with(name, ".bin") ||
                              (mb_path_ends_with(name, ".json") && strcmp(name, "run.json") != 0 &&
                               !mb_path_ends_with(name, ".run.json")));
}

static int with_prefix(const char *name, const char *prefix) {
    const size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 && name[n] == '.' && !strstr(name, ".tmp.") &&
           !mb_path_ends_with(name, ".run.json");
}

static int digest_folder(pipe_digests *d, const char *folder, wanted_fn *wanted, char *hex, mb_err *e) {
    pipe_pool pool = {0};
    pipe_text t = {0};
    char **name, one[65];
    int n;
    int64_t bytes;
    int rc = list_files(folder, wanted, NULL, &pool, &name, &n, e);
    for (int i = 0; rc == MB_OK && i < n; i++) {
        char *path = pipe_format(&pool, "%s/%s", folder, name[i]);
        rc = path ? pipe_digest_file(d, path, one, &bytes, e) : mb_fail(e, MB_NOMEM, "out of memory for a path");
        pipe_text_add(&t, "%s %s\n", one, name[i]);
    }
    if (rc == MB_OK)
        rc = pipe_text_end(&t, e);
    if (rc == MB_OK)
        mb_sha256_hex(t.n ? t.data : "", t.n, hex);
    pipe_text_free(&t);
    pipe_pool_free(&pool);
    return rc;
}

int pipe_digest_input(pipe_digests *d, const pipe_file *f, char *hex, mb_err *e) {
    int64_t bytes;
    *hex = '\0';
    if (mb_dir_exists(f->path))
        return digest_folder(d, f->path, f->role == MB_ROLE_MODEL ? model_file : any_file, hex, e);
    if (!mb_file_exists(f->path))
        return MB_OK;
    /* Rows of an array are named by the index beside it. */
    char *beside = mb_asprintf("%s.index.tsv", f->path), both[130];
    int rc = beside ? pipe_digest_file(d, f->path, hex, &bytes, e) : mb_fail(e, MB_NOMEM, "out of memory for a path");
    if (rc == MB_OK && mb_file_exists(beside)) {
        memcpy(both, hex, 64);
        if ((rc = pipe_digest_file(d, beside, both + 64, &bytes, e)) == MB_OK)
            mb_sha256_hex(both, 128, hex);
    }
    mb_free(beside);
    return rc;
}

/* ---- what a step made -----------------------------------------------------------------------------------------------
 */

static int add_made(pipe_digests *d, pipe_pool *pool, const char *what, char *path, pipe_made **made, int *n,
                    mb_err *e) {
    pipe_made *more = path ? pipe_grow(pool, *made, *n, sizeof *more) : NULL;
    if (!more)
        return mb_fail(e, MB_NOMEM, "out of memory for the outputs of a step");
    *made = more;
    more[*n] = (pipe_made){.what = what, .path = path};
    int rc = pipe_digest_file(d, path, more[*n].sha256, &more[*n].bytes, e);
    if (rc == MB_OK)
        (*n)++;
    return rc;
}

static int add_listed(pipe_digests *d, const pipe_file *f, const char *folder, wanted_fn *wanted, const char *prefix,
                      pipe_pool *pool, pipe_made **made, int *n, mb_err *e) {
    char **name;
    int count;
    int rc = list_files(folder, wanted, prefix, pool, &name, &count, e);
    if (rc == MB_OK && count == 0)
        return mb_fail(e, MB_NOTFOUND, "%s %s: nothing was written", f->what, f->path);
    for (int i = 0; rc == MB_OK && i < count; i++)
        rc = add_made(d, pool, f->what, pipe_format(pool, "%s/%s", folder, name[i]), made, n, e);
    return rc;
}

int pipe_digest_output(pipe_digests *d, const pipe_file *f, pipe_pool *pool, pipe_made **made, int *n, mb_err *e) {
    static const char *const BESIDE[] = {".index.tsv", ".tbi", ".csi"};
    if (f->role == MB_ROLE_OUTPUT_FOLDER)
        return add_listed(d, f, f->path, any_file, NULL, pool, made, n, e);
    if (f->role == MB_ROLE_OUTPUT_PREFIX) {
        const char *slash = strrchr(f->path, '/');
        char *folder = slash ? pipe_format(pool, "%.*s", (int)(slash - f->path), f->path) : pipe_copy(pool, ".");
        if (!folder)
            return mb_fail(e, MB_NOMEM, "out of memory for a path");
        return add_listed(d, f, *folder ? folder : "/", with_prefix, slash ? slash + 1 : f->path, pool, made, n, e);
    }
    int rc = add_made(d, pool, f->what, pipe_copy(pool, f->path), made, n, e);
    for (size_t i = 0; rc == MB_OK && i < sizeof BESIDE / sizeof *BESIDE; i++) {
        char *path = pipe_format(pool, "%s%s", f->path, BESIDE[i]);
        if (!path)
            rc = mb_fail(e, MB_NOMEM, "out of memory for a path");
        else if (mb_file_exists(path))
            rc = add_made(d, pool, f->what, path, made, n, e);
    }
    return rc;
}
