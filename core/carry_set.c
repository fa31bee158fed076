/* Memory for the states that pass from tile to tile. See tile.h. */
#include <string.h>

#include "core/tile.h"

static size_t rounded(size_t floats) { /* never empty, on cache lines of its own */
    enum { LINE = MB_CACHE_LINE / sizeof(float) };
    return floats ? (floats + LINE - 1) / LINE * LINE : LINE;
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

/* One block, zero at first: slots, their data, first slot of each op. */
static size_t carve(mb_carry_set *s, mb_arena *a, const mb_runner *r) {
    int slots, ops;
    size_t floats;
    measure(r, &slots, &ops, &floats);
    s->slot = mb_arena_take(a, (size_t)slots * sizeof *s->slot);
    s->data = mb_arena_floats(a, floats);
    s->first = mb_arena_take(a, (size_t)ops * sizeof *s->first);
    return a->used;
}

size_t mb_carry_set_bytes(const mb_runner *r) {
    mb_arena measured = {0};
    mb_carry_set s;
    return carve(&s, &measured, r);
}

int mb_carry_set_create(mb_carry_set **out, const mb_runner *r, mb_err *e) {
    const size_t bytes = mb_carry_set_bytes(r);
    mb_carry_set *s = mb_calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory for %zu bytes of recurrent state", bytes);
    int rc = mb_arena_create(&s->arena, bytes, e);
    if (rc != MB_OK) {
        mb_carry_set_destroy(s);
        return rc;
    }
    carve(s, &s->arena, r);
    *out = s;
    return MB_OK;
}

void mb_carry_set_destroy(mb_carry_set *s) {
    if (!s)
        return;
    mb_arena_destroy(&s->arena);
    mb_free(s);
}

void mb_carry_set_start(mb_carry_set *s, const mb_runner *r, int pass) {
    MB_ASSERT(s);
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
