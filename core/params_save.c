/* Parameters to model.safetensors, unfolded, under the family's names: F32, buffers and all, in the order the
 * safetensors library of Python writes (larger types first, then by name), with metadata {"format": "pt"} that
 * transformers wants. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/params_table.h"

typedef struct saver {
    const mb_config *c;
    mb_params *p; /* read only; the table's places are not const */
    mb_tensor *tensor;
    int n;
    char (*name)[MB_PARAM_NAME];
    float *turned; /* unfolded copies */
    size_t turned_floats, used;
    int64_t map[MB_MAX_COMPLEMENT];
} saver;

static int is_written(const mb_param *p) {
    return p->alias_of < 0 || p->kept;
}

static int measure(void *user, const mb_param *p) {
    saver *s = user;
    if (is_written(p) && p->fold != MB_FOLD_NONE)
        s->turned_floats += (size_t)p->count;
    return MB_OK;
}

static mb_tensor *add(saver *s, const char *name) {
    memcpy(s->name[s->n], name, strlen(name) + 1);
    s->tensor[s->n] = (mb_tensor){.name = s->name[s->n]};
    return &s->tensor[s->n++];
}

static int collect(void *user, const mb_param *p) {
    saver *s = user;
    if (!is_written(p))
        return MB_OK;
    mb_tensor *t = add(s, p->name);
    t->dtype = MB_F32;
    t->ndim = p->ndim;
    memcpy(t->shape, p->shape, sizeof p->shape);
    t->count = p->count;
    t->data = *mb_param_place(s->p, p);
    MB_ASSERT(t->data);
    if (p->fold != MB_FOLD_NONE) {
        float *copy = s->turned + s->used;
        s->used += (size_t)p->count;
        memcpy(copy, t->data, (size_t)p->count * sizeof *copy);
        mb_param_turn(p, copy);
        t->data = copy;
    }
    return MB_OK;
}

static void collect_buffers(saver *s) {
    char name[MB_PARAM_NAME];
    for (int i = 0; i < s->c->n_complement; i++)
        s->map[i] = s->c->complement[i];
    for (int which = 0; mb_params_buffer(s->c, which, name); which++) {
        mb_tensor *t = add(s, name);
        t->dtype = MB_I64;
        t->ndim = 1;
        t->shape[0] = t->count = s->c->V;
        t->data = s->map;
    }
}

static int in_file_order(const void *x, const void *y) {
    const mb_tensor *a = x, *b = y;
    size_t an = mb_dtype_bytes(a->dtype), bn = mb_dtype_bytes(b->dtype);
    return an != bn ? (an < bn) - (an > bn) : strcmp(a->name, b->name);
}

int mb_params_save(const mb_params *p, const mb_config *c, const char *path, mb_err *e) {
    return mb_params_save_with(p, c, NULL, 0, path, e);
}

int mb_params_save_with(const mb_params *p, const mb_config *c, const mb_tensor *more, int n, const char *path,
                        mb_err *e) {
    static const char *const metadata[] = {"format", "pt", NULL};
    saver *s = mb_calloc(1, sizeof *s);
    if (!s)
        return mb_fail(e, MB_NOMEM, "%s: no memory to write it", path);
    const size_t most = (size_t)mb_params_most(c) + 2 + (size_t)n;
    s->c = c;
    s->p = (mb_params *)(uintptr_t)p;
    (void)mb_params_walk(c, measure, s);
    s->tensor = mb_calloc(most, sizeof *s->tensor);
    s->name = mb_calloc(most, sizeof *s->name);
    s->turned = mb_big_alloc(s->turned_floats * sizeof *s->turned);
    int rc = MB_OK;
    if (!s->tensor || !s->name || !s->turned) {
        rc = mb_fail(e, MB_NOMEM, "%s: no memory to write it", path);
    } else {
        collect_buffers(s);
        (void)mb_params_walk(c, collect, s);
        for (int i = 0; i < n; i++)
            s->tensor[s->n++] = more[i];
        qsort(s->tensor, (size_t)s->n, sizeof *s->tensor, in_file_order);
        rc = mb_safetensors_write(path, s->tensor, s->n, metadata, e);
    }
    mb_big_free(s->turned, s->turned_floats * sizeof *s->turned);
    mb_free(s->tensor);
    mb_free(s->name);
    mb_free(s);
    return rc;
}
