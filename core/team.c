/* The barrier of team.h. Order: the last to arrive counts the round up, then looks for sleepers; one who goes to sleep
 * counts himself, then looks at the round once more. With both in one total order (seq_cst) at least one sees the
 * other, so nobody sleeps through the end of a meeting. */
#include "core/team.h"

/* 15 to 50 us: as far as the workers of a quiet machine come apart. On two cores that others keep busy one token took
 * 25-50 ms with 0 to 1,000 spins, 36-70 ms with 3,000, 60-94 ms with 10,000. */
enum { SPINS = 1000 };

void mb_team_init(mb_team *t) {
    atomic_init(&t->arrived, 0);
    atomic_init(&t->round, 0);
    atomic_init(&t->asleep, 0);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->over, NULL);
}

void mb_team_fini(mb_team *t) {
    pthread_cond_destroy(&t->over);
    pthread_mutex_destroy(&t->lock);
}

static void sleep_through(mb_team *t, unsigned round) {
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->asleep, 1);
    while (atomic_load(&t->round) == round)
        pthread_cond_wait(&t->over, &t->lock);
    atomic_fetch_sub(&t->asleep, 1);
    pthread_mutex_unlock(&t->lock);
}

void mb_team_meet(mb_team *t, int workers) {
    const unsigned round = atomic_load_explicit(&t->round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) + 1 == workers) {
        atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
        atomic_store(&t->round, round + 1);
        if (atomic_load(&t->asleep) > 0) {
            pthread_mutex_lock(&t->lock);
            pthread_cond_broadcast(&t->over);
            pthread_mutex_unlock(&t->lock);
        }
        return;
    }
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&t->round, memory_order_acquire) != round)
            return;
        MB_RELAX();
    }
    sleep_through(t, round);
}
