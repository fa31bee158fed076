/* Slots that pass state from tile to tile, and the list of mixer classes. */
#include "core/mixer.h"

#include <sched.h>
#include <time.h>

#include "core/team.h"

/* Spins shortly, then yields, then sleeps: a machine with more workers than cores must still make progress. */
static void back_off(long attempt) {
    if (attempt < 2000) {
        MB_RELAX();
    } else if (attempt < 4000) {
        sched_yield();
    } else {
        struct timespec pause = {0, 50000};
        nanosleep(&pause, NULL);
    }
}

float *mb_carry_wait(const mb_carry *c, int slot) {
    mb_slot *s = &c->slot[slot];
    for (long attempt = 0; atomic_load_explicit(&s->turn, memory_order_acquire) != c->turn; attempt++) {
        if (c->stop && atomic_load_explicit(c->stop, memory_order_relaxed))
            return NULL;
        back_off(attempt);
    }
    return s->data;
}

void mb_carry_pass(const mb_carry *c, int slot) {
    atomic_store_explicit(&c->slot[slot].turn, c->turn + 1, memory_order_release);
}

const mb_mixer_class *mb_mixer_class_of(mb_mixer_kind kind) {
    switch (kind) {
    case MB_MIXER_MAMBA1:
        return &mb_mamba1_class;
    case MB_MIXER_BIMAMBA1:
        return &mb_bimamba1_class;
    }
    return NULL;
}
