/* Memory for the states that pass from tile to tile. See tile.h. */
#include <string.h>

#include "core/tile.h"

static size_t rounded(size_t floats) {
    return (floats + 15) / 16 * 16 + 16; /* never empty, on cache lines of its own */
}

/* Slots and floats of one pass; fills the set's tables when s is given. */
static void lay_out(const mb_runner *r, int pass, mb_carry_set *s, int *n_slots, size_t *floats) {
    const mb_pass *p = &r->passes.pass[pass];
    int slots = 0;
    size_t used = 0;
    for (int i = 0; i < p->n_ops; i++) {
        const mb_op *op = &r->passes.op[p->first_op + i];
        const mb_mixer *mixer = r->m->mixer[op->layer];
        const int n = mixer->class->slots(mixer, op->phase);
        if (s)
            s->first[i] = slots;
        for (int k = 0; k < n; k++, slots++) {
            if (s)
                s->slot[slots].data = s->data + used;
            used += rounded(mixer->class->slot_floats(mixer, op->phase, k));
        }
    }
    *n_slots = slots;
    *floats = used;
}

static void measure(const mb_runner *r, int *slots, int *ops, size_t *floats) {
    *slots = *ops = 0;
    *floats = 0;
    for (int pass = 0; pass < r->passes.n_passes; pass++) {
        int n;
        size_t f;
        lay_out(r, pass, NULL, &n, &f);
        *slots = n > *slots ? n : *slots;
        *floats = f > *floats ? f : *floats;
        if (r->passes.pass[pass].n_ops > *ops)
            *ops = r->passes.pass[pass].n_ops;
    }
    *slots += r->n_taps;
}

size_t mb_carry_set_bytes(const mb_runner *r) {
    int slots, ops;
    size_t floats;
    measure(r, &slots, &ops, &floats);
    return floats * sizeof(float) + (size_t)slots * sizeof(mb_slot);
}

int mb_carry_set_create(mb_carry_set **out, const mb_runner *r, mb_err *e) {
    int slots, ops;
    size_t floats;
    measure(r, &slots, &ops, &floats);
    mb_carry_set *s = mb_calloc(1, sizeof *s);
    *out = s;
    if (s) {
        s->slot = mb_calloc((size_t)slots + 1, sizeof *s->slot);
        s->first = mb_calloc((size_t)ops + 1, sizeof *s->first);
        s->data = mb_calloc(floats + 16, sizeof *s->data);
    }
    if (s && s->slot && s->first && s->data)
        return MB_OK;
    mb_carry_set_destroy(s);
    *out = NULL;
    return mb_fail(e, MB_NOMEM, "no memory for %zu bytes of recurrent state", floats * sizeof(float));
}

void mb_carry_set_destroy(mb_carry_set *s) {
    if (!s)
        return;
    mb_free(s->slot);
    mb_free(s->first);
    mb_free(s->data);
    mb_free(s);
}

void mb_carry_set_start(mb_carry_set *s, const mb_runner *r, int pass) {
    lay_out(r, pass, s, &s->n_slots, &s->floats);
    s->sink_first = s->n_slots;
    s->n_slots += r->n_taps;
    memset(s->data, 0, s->floats * sizeof(float));
    for (int i = s->sink_first; i < s->n_slots; i++)
        s->slot[i].data = s->data; /* only the turn matters */
    mb_carry_set_rewind(s);
}

void mb_carry_set_rewind(mb_carry_set *s) {
    for (int i = 0; i < s->n_slots; i++)
        atomic_store_explicit(&s->slot[i].turn, 0, memory_order_relaxed);
}
