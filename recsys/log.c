/* See log.h. Refuses the loader's filters on a log of recmamba prep, which is made already. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "recsys/image.h"
#include "recsys/loader.h"

void rec_log_close(rec_log *l) {
    if (!l)
        return;
    mb_file_unmap(&l->map);
    mb_big_free(l->block, l->block_bytes);
    mb_free(l);
}

/* Whether the file begins as a log of prep does. What cannot be read is no such log; the reader says why. */
static int is_image(const char *path) {
    char magic[8];
    struct stat st;
    if (strcmp(path, "-") == 0 || stat(path, &st) || !S_ISREG(st.st_mode))
        return 0;
    int fd, yes;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return 0;
    yes = pread(fd, magic, sizeof magic, 0) == sizeof magic && memcmp(magic, REC_MAGIC, sizeof magic) == 0;
    close(fd);
    return yes;
}

int rec_log_map(rec_log **out, const char *path, int verify, mb_err *e) {
    *out = NULL;
    rec_log *l = mb_calloc(1, sizeof *l);
    if (!l)
        return mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    int rc = mb_file_map(&l->map, path, e);
    if (rc == MB_OK)
        rc = rec_image_attach(l, l->map.data, l->map.size, verify, path, e);
    if (rc != MB_OK) {
        rec_log_close(l);
        return rc;
    }
    *out = l;
    return MB_OK;
}

static int read_log(rec_log **out, char *const *inputs, int n, const rec_load_options *o, mb_err *e) {
    rec_sink k = {0};
    rec_log *l = mb_calloc(1, sizeof *l);
    if (!l)
        return mb_fail(e, MB_NOMEM, "%s: no memory to read it", inputs[0]);
    int rc = rec_load(&k, inputs, n, o, NULL, e);
    if (rc == MB_OK) {
        l->block = k.block;
        l->block_bytes = (size_t)k.h.bytes;
        rc = rec_image_attach(l, k.block, l->block_bytes, 0, inputs[0], e);
    }
    if (rc != MB_OK) {
        rec_log_close(l);
        return rc;
    }
    *out = l;
    return MB_OK;
}

int rec_log_load(rec_log **out, char *const *inputs, int n, const rec_load_options *o, mb_err *e) {
    const rec_load_options defaults = rec_load_defaults();
    *out = NULL;
    if (!o)
        o = &defaults;
    for (int i = 0; i < n; i++) {
        const int image = is_image(inputs[i]);
        if (o->format == REC_FORMAT_LOG && !image)
            return mb_fail(e, MB_FORMAT, "%s: is no log of recmamba prep", inputs[i]);
        if (!image)
            continue;
        if (o->format != REC_FORMAT_AUTO && o->format != REC_FORMAT_LOG)
            return mb_fail(e, MB_USAGE, "%s: is a log of recmamba prep; --format says that it is text", inputs[i]);
        if (n > 1)
            return mb_fail(e, MB_USAGE, "%s: is a log of recmamba prep; such a log stands alone", inputs[i]);
        int rc = rec_load_refuse_filters(inputs[i], o, e);
        return rc == MB_OK ? rec_log_map(out, inputs[i], o->verify_log, e) : rc;
    }
    return read_log(out, inputs, n, o, e);
}

int rec_log_open(rec_log **out, const char *path, const rec_load_options *o, mb_err *e) {
    char *const inputs[] = {(char *)(uintptr_t)path};
    return rec_log_load(out, inputs, 1, o, e);
}

const rec_view *rec_log_view(const rec_log *l) {
    return &l->view;
}

static rec_id id_of(const int64_t *at, const char *text, int32_t n, int32_t k) {
    MB_ASSERT(k >= 0 && k < n);
    return (rec_id){text + at[k], (int)(at[k + 1] - at[k])};
}

rec_id rec_log_user_id(const rec_log *l, int32_t user) {
    return id_of(l->user.at, l->user.text, l->user.n, user);
}

rec_id rec_log_item_id(const rec_log *l, int32_t item) {
    return id_of(l->item.at, l->item.text, l->item.n, item - 1);
}

rec_id rec_log_aux_id(const rec_log *l, int32_t aux) {
    return id_of(l->aux.at, l->aux.text, l->aux.n, aux - 1);
}

rec_id rec_log_item_name(const rec_log *l, int32_t item) {
    return l->name_at ? id_of(l->name_at, l->name_text, l->item.n, item - 1) : (rec_id){"", 0};
}

int32_t rec_log_find_user(const rec_log *l, const char *text, int n) {
    return rec_table_find(&l->user, text, n);
}

int32_t rec_log_find_item(const rec_log *l, const char *text, int n) {
    return rec_table_find(&l->item, text, n) + 1;
}

const char *rec_log_items_digest(const rec_log *l) {
    return l->items_digest;
}

const int64_t *rec_log_given_valid(const rec_log *l) {
    return l->valid;
}

const int64_t *rec_log_given_test(const rec_log *l) {
    return l->test;
}

const char *rec_log_recipe(const rec_log *l) {
    return l->recipe;
}
