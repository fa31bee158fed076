/* A small team of workers that meets several times a millisecond, as one token through a model does: a barrier that
 * spins for some tens of microseconds and then sleeps. The barrier of an OpenMP runtime may spin for milliseconds; when
 * other programs want the processors too, such spinning takes the very time that the awaited worker needs. */
#ifndef MB_TEAM_H
#define MB_TEAM_H
#include <pthread.h>
#include <stdatomic.h>
#include "core/mixer.h"

/* One turn of a loop that polls. */
#if defined(__x86_64__) || defined(__i386__)
#define MB_RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define MB_RELAX() __asm__ volatile("yield")
#else
#define MB_RELAX() ((void)0)
#endif

/* Begins a cache line; what arriving workers write lies apart from what waiting ones poll. */
struct mb_team {
    _Alignas(MB_CACHE_LINE) _Atomic int arrived;
    _Alignas(MB_CACHE_LINE) _Atomic unsigned round; /* meetings that are over */
    _Atomic int asleep;
    pthread_mutex_t lock;
    pthread_cond_t over;
};

void mb_team_init(mb_team *t);
void mb_team_fini(mb_team *t);
/* Returns once all workers of the team have called it; what they wrote before is then seen by all. The same number of
 * workers from all, and no other meeting of the same team meanwhile. */
void mb_team_meet(mb_team *t, int workers);
#endif
