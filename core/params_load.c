/* Parameters from a checkpoint. First every tensor is found and checked, and all that is missing or too much is told in
 * one error; then each is placed: converted into one block in huge pages, which decoding reads faster and which no
 * change of the file can reach; or, in checkpoints beyond mb_params_copy_most, left in the mapped file where it is F32,
 * aligned and not folded. Refuses other shapes, integer weights, aliases that differ from what they should equal, and
 * complement maps that differ from config.json. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "core/params_table.h"

enum { NAMES_SHOWN = 6, CHUNK = 4096 };
int64_t mb_params_copy_most = (int64_t)1 << 29;

typedef struct list { /* names for a message: the first few, and how many in all */
    char text[NAMES_SHOWN * (MB_PARAM_NAME + 2)];
    size_t length;
    int n;
} list;

typedef struct loader {
    const mb_config *c;
    const mb_weights *w;
    mb_params *p;
    const mb_tensor **found; /* by index of the walk; NULL for a dropped alias */
    char *used;              /* of each tensor of w */
    size_t pool_floats;
    int large; /* tensors stay in the file where they can */
    list missing, unexpected;
    mb_err *e;
} loader;

static void list_add(list *l, const char *name) {
    if (l->n++ < NAMES_SHOWN) {
        int more = snprintf(l->text + l->length, sizeof l->text - l->length, "%s%.*s", l->n > 1 ? ", " : "",
                            MB_PARAM_NAME - 1, name);
        l->length += more > 0 ? (size_t)more : 0;
    }
}

/* ---- finding and checking -----------------------------------------------------------------------------------------
 */

static const mb_tensor *find(const loader *l, const mb_param *p) {
    const mb_tensor *t = mb_weights_find(l->w, p->name);
    for (int i = 0; !t && i < MB_PARAM_OTHERS; i++)
        if (*p->other[i])
            t = mb_weights_find(l->w, p->other[i]);
    return t;
}

static void shape_text(char out[128], const int64_t *shape, int ndim) {
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; i < ndim && n < 100; i++)
        n += (size_t)snprintf(out + n, 128 - n, "%s%lld", i ? "," : "", (long long)shape[i]);
}

static int check_shape(const loader *l, const mb_tensor *t, const mb_param *p) {
    char want[128], got[128];
    if (t->ndim == p->ndim && memcmp(t->shape, p->shape, (size_t)p->ndim * sizeof *p->shape) == 0)
        return MB_OK;
    shape_text(want, p->shape, p->ndim);
    shape_text(got, t->shape, t->ndim);
    return mb_fail(l->e, MB_FORMAT, "%s: tensor %s has shape (%s); config.json makes it (%s)", mb_weights_path(l->w),
                   t->name, got, want);
}

static int is_number(mb_dtype d) {
    return d == MB_F32 || d == MB_F16 || d == MB_BF16 || d == MB_F64;
}

static int check_dtype(const loader *l, const mb_tensor *t) {
    if (is_number(t->dtype))
        return MB_OK;
    return mb_fail(l->e, MB_NOTSUP, "%s: tensor %s is of %s; parameters are read from F32, F16, BF16 and F64",
                   mb_weights_path(l->w), t->name, mb_dtype_name(t->dtype));
}

static int64_t numbers_of(const mb_weights *w) {
    int64_t n = 0;
    for (int i = 0; i < mb_weights_count(w); i++)
        n += mb_weights_at(w, i)->count;
    return n;
}

static int stays_in_place(const loader *l, const mb_tensor *t, const mb_param *p) {
    return l->large && t->dtype == MB_F32 && (uintptr_t)t->data % sizeof(float) == 0 && p->fold == MB_FOLD_NONE;
}

static int look(void *user, const mb_param *p) {
    loader *l = user;
    const mb_tensor *t = find(l, p);
    l->found[p->index] = t;
    if (!t) {
        if (p->alias_of < 0)
            list_add(&l->missing, p->name);
        return MB_OK;
    }
    l->used[t - mb_weights_at(l->w, 0)] = 1;
    int rc = check_shape(l, t, p);
    if (rc == MB_OK)
        rc = check_dtype(l, t);
    if (rc == MB_OK && p->alias_of < 0 && !stays_in_place(l, t, p))
        l->pool_floats += mb_params_room(p->count);
    return rc;
}

/* The buffers complement_map must say what config.json says. */
static int check_buffers(loader *l) {
    char name[MB_PARAM_NAME];
    for (int which = 0; mb_params_buffer(l->c, which, name); which++) {
        const mb_tensor *t = mb_weights_find(l->w, name);
        if (!t)
            continue;
        l->used[t - mb_weights_at(l->w, 0)] = 1;
        if (t->dtype != MB_I64 || t->ndim != 1 || t->count != l->c->V)
            return mb_fail(l->e, MB_FORMAT, "%s: tensor %s is not one I64 for each of the %d tokens",
                           mb_weights_path(l->w), name, l->c->V);
        for (int i = 0; i < l->c->V; i++) {
            int64_t to;
            mb_tensor_to_i64(t, i, 1, &to);
            if (to != l->c->complement[i])
                return mb_fail(l->e, MB_FORMAT,
                               "%s: tensor %s: the complement of token %d is %lld, in config.json it is %d",
                               mb_weights_path(l->w), name, i, (long long)to, l->c->complement[i]);
        }
    }
    return MB_OK;
}

/* What a classifier has besides: read by who uses it (genomics/head.h). */
static void pass_over_score(loader *l) {
    static const char *const score[] = {"score.weight", "score.bias"};
    for (int i = 0; i < 2 && l->c->n_labels > 0; i++) {
        const mb_tensor *t = mb_weights_find(l->w, score[i]);
        if (t)
            l->used[t - mb_weights_at(l->w, 0)] = 1;
    }
}

static int report_names(loader *l) {
    pass_over_score(l);
    for (int i = 0; i < mb_weights_count(l->w); i++)
        if (!l->used[i])
            list_add(&l->unexpected, mb_weights_at(l->w, i)->name);
    const list *m = &l->missing, *u = &l->unexpected;
    if (m->n == 0 && u->n == 0)
        return MB_OK;
    return mb_fail(l->e, MB_FORMAT,
                   "%s: its tensors are not those of a %s model with this config.json: %d missing%s%s%s, %d "
                   "unexpected%s%s%s",
                   mb_weights_path(l->w), mb_family_name(l->c->family), m->n, m->n ? " (" : "", m->text,
                   m->n > NAMES_SHOWN ? ", ...)"
                   : m->n             ? ")"
                                      : "",
                   u->n, u->n ? " (" : "", u->text,
                   u->n > NAMES_SHOWN ? ", ...)"
                   : u->n             ? ")"
                                      : "");
}

/* ---- placing ------------------------------------------------------------------------------------------------------
 */

static int same_numbers(const mb_tensor *a, const mb_tensor *b) {
    float x[CHUNK], y[CHUNK];
    if (a == b || (a->data == b->data && a->dtype == b->dtype))
        return 1;
    if (a->dtype == b->dtype)
        return memcmp(a->data, b->data, (size_t)a->count * mb_dtype_bytes(a->dtype)) == 0;
    for (int64_t at = 0; at < a->count; at += CHUNK) {
        int64_t n = a->count - at < CHUNK ? a->count - at : CHUNK;
        mb_tensor_to_f32(a, at, n, x);
        mb_tensor_to_f32(b, at, n, y);
        if (memcmp(x, y, (size_t)n * sizeof *x) != 0)
            return 0;
    }
    return 1;
}

static int put_alias(loader *l, const mb_param *p) {
    const mb_tensor *t = l->found[p->index], *origin = l->found[p->alias_of];
    *mb_param_place(l->p, p) = *mb_param_origin(l->p, p);
    if (!t || same_numbers(t, origin))
        return MB_OK;
    return mb_fail(l->e, MB_FORMAT, "%s: tensor %s differs from %s, though config.json says that they are one (%s)",
                   mb_weights_path(l->w), t->name, origin->name,
                   p->layer >= 0 ? "bidirectional_weight_tie" : "tied embeddings");
}

static int put(void *user, const mb_param *p) {
    loader *l = user;
    const mb_tensor *t = l->found[p->index];
    if (p->alias_of >= 0)
        return put_alias(l, p);
    l->p->count += p->count;
    if (stays_in_place(l, t, p)) {
        *mb_param_place(l->p, p) = t->data;
        return MB_OK;
    }
    float *copy = mb_params_take(l->p, p->count);
    mb_tensor_to_f32(t, 0, p->count, copy);
    mb_param_turn(p, copy);
    *mb_param_place(l->p, p) = copy;
    return MB_OK;
}

int mb_params_load(mb_params **out, const mb_config *c, const mb_weights *w, mb_err *e) {
    *out = NULL;
    int rc = mb_config_check(c, mb_weights_path(w), e);
    if (rc != MB_OK)
        return rc;
    loader *l = mb_calloc(1, sizeof *l);
    if (!l)
        return mb_fail(e, MB_NOMEM, "%s: no memory to load it", mb_weights_path(w));
    l->c = c;
    l->w = w;
    l->e = e;
    l->large = numbers_of(w) > mb_params_copy_most;
    l->found = mb_calloc((size_t)mb_params_most(c), sizeof *l->found);
    l->used = mb_calloc((size_t)mb_weights_count(w) + 1, 1);
    if (!l->found || !l->used)
        rc = mb_fail(e, MB_NOMEM, "%s: no memory to load it", mb_weights_path(w));
    if (rc == MB_OK)
        rc = mb_params_walk(c, look, l);
    if (rc == MB_OK)
        rc = check_buffers(l);
    if (rc == MB_OK)
        rc = report_names(l);
    if (rc == MB_OK)
        rc = mb_params_create(&l->p, c, l->pool_floats, e);
    if (rc == MB_OK) {
        if (l->large)
            mb_params_keep(l->p, mb_weights_retain(w));
        rc = mb_params_walk(c, put, l);
    }
    if (rc == MB_OK)
        *out = l->p;
    else
        mb_params_free(l->p);
    mb_free(l->found);
    mb_free(l->used);
    mb_free(l);
    return rc;
}
