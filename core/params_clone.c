/* Parameters of which every number is our own: copies to train, and gradients and optimiser states of the same layout.
 */
#include <string.h>

#include "core/params_table.h"

typedef struct cloner {
    mb_params *to;
    const mb_params *from; /* NULL: zeros */
    size_t floats;
} cloner;

static int measure(void *user, const mb_param *p) {
    cloner *c = user;
    if (p->alias_of < 0)
        c->floats += mb_params_room(p->count);
    return MB_OK;
}

static int copy(void *user, const mb_param *p) {
    cloner *c = user;
    if (p->alias_of >= 0) {
        *mb_param_place(c->to, p) = *mb_param_origin(c->to, p);
        return MB_OK;
    }
    float *v = mb_params_take(c->to, p->count);
    if (c->from)
        memcpy(v, *mb_param_place((mb_params *)c->from, p), (size_t)p->count * sizeof(float));
    *mb_param_place(c->to, p) = v;
    c->to->count += p->count;
    return MB_OK;
}

int mb_params_clone(mb_params **out, const mb_config *c, const mb_params *from, mb_err *e) {
    cloner k = {.from = from};
    *out = NULL;
    int rc = mb_params_walk(c, measure, &k);
    if (rc == MB_OK)
        rc = mb_params_create(&k.to, c, k.floats, e);
    if (rc == MB_OK)
        rc = mb_params_walk(c, copy, &k);
    if (rc == MB_OK)
        *out = k.to;
    return rc;
}
