/* The barrier of a team: nobody passes early, nobody sleeps for ever, with more workers than processors and with
 * workers that come late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <time.h>

#include <cmocka.h>

#include "core/team.h"

enum { MOST = 7, MEETINGS = 1000 };

typedef struct scene {
    mb_team team;
    int workers, late;      /* every late-th meeting somebody comes long after the others fell asleep; 0 = never */
    int done[MOST];         /* plain: only the meetings order these */
    _Atomic int seen_early; /* values of others that were not as they must be between two meetings */
} scene;

typedef struct seat {
    scene *s;
    int worker;
} seat;

static void *work(void *user) {
    const seat *at = user;
    scene *s = at->s;
    for (int i = 1; i <= MEETINGS; i++) {
        if (s->late && i % s->late == 0 && i / s->late % s->workers == at->worker) {
            const struct timespec pause = {0, 1000000};
            nanosleep(&pause, NULL);
        }
        s->done[at->worker] = i;
        mb_team_meet(&s->team, s->workers);
        for (int k = 0; k < s->workers; k++)
            if (s->done[k] != i)
                atomic_fetch_add(&s->seen_early, 1);
        mb_team_meet(&s->team, s->workers);
    }
    return NULL;
}

static void meet(int workers, int late) {
    static scene s;
    seat at[MOST];
    pthread_t thread[MOST];
    s.workers = workers;
    s.late = late;
    atomic_store(&s.seen_early, 0);
    mb_team_init(&s.team);
    for (int i = 0; i < workers; i++) {
        at[i] = (seat){&s, i};
        s.done[i] = 0;
        assert_int_equal(pthread_create(&thread[i], NULL, work, &at[i]), 0);
    }
    for (int i = 0; i < workers; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&s.seen_early), 0);
    assert_int_equal(atomic_load(&s.team.asleep), 0);
    assert_int_equal(atomic_load(&s.team.arrived), 0);
    assert_int_equal(atomic_load(&s.team.round), 2 * MEETINGS);
    mb_team_fini(&s.team);
}

static void all_meet(void **state) {
    (void)state;
    for (int workers = 1; workers <= MOST; workers++)
        meet(workers, 0);
}

static void the_late_are_waited_for(void **state) {
    (void)state;
    for (int workers = 2; workers <= MOST; workers += 2)
        meet(workers, 20);
}

/* Counters that wrap pass by their largest value like by any other. */
static void rounds_wrap(void **state) {
    (void)state;
    mb_team t;
    mb_team_init(&t);
    atomic_store(&t.round, UINT32_MAX);
    mb_team_meet(&t, 1);
    assert_int_equal(atomic_load(&t.round), 0);
    mb_team_fini(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_meet), cmocka_unit_test(the_late_are_waited_for),
                                       cmocka_unit_test(rounds_wrap)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
