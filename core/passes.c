/* See passes.h. */
#include "core/passes.h"

static void open_pass(mb_passes *p, mb_direction direction) {
    if (p->n_passes > 0)
        p->pass[p->n_passes - 1].stores = 1;
    p->pass[p->n_passes] =
        (mb_pass){.direction = direction, .first_op = p->n_ops, .n_ops = 0, .loads = p->n_passes > 0, .stores = 0};
    p->n_passes++;
}

static void add_op(mb_passes *p, int layer, int phase) {
    p->op[p->n_ops++] = (mb_op){layer, phase};
    p->pass[p->n_passes - 1].n_ops++;
}

int mb_passes_make(mb_passes *p, mb_mixer *const *mixer, int n_layer, mb_err *e) {
    *p = (mb_passes){0};
    p->pass = mb_calloc((size_t)n_layer + 1, sizeof *p->pass);
    p->op = mb_calloc(2 * (size_t)n_layer + 1, sizeof *p->op);
    if (!p->pass || !p->op) {
        mb_passes_free(p);
        return mb_fail(e, MB_NOMEM, "no memory for the plan of %d layers", n_layer);
    }
    mb_direction direction = MB_LEFT_TO_RIGHT;
    open_pass(p, direction);
    for (int l = 0; l < n_layer; l++) {
        const mb_mixer_class *c = mixer[l]->class;
        MB_ASSERT(c->phases == 1 || c->phases == 2);
        if (c->needs == MB_CAUSAL_ORDER && direction == MB_RIGHT_TO_LEFT) {
            direction = MB_LEFT_TO_RIGHT;
            open_pass(p, direction);
        }
        add_op(p, l, 0);
        if (c->phases == 2) {
            direction = direction == MB_LEFT_TO_RIGHT ? MB_RIGHT_TO_LEFT : MB_LEFT_TO_RIGHT;
            open_pass(p, direction);
            add_op(p, l, 1);
        }
    }
    return MB_OK;
}

void mb_passes_free(mb_passes *p) {
    mb_free(p->pass);
    mb_free(p->op);
    *p = (mb_passes){0};
}
