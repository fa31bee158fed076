/* See groups.h. */
#include "core/groups.h"

#include <unistd.h>

enum { SOLO_TILES = 64 }; /* longer lanes are worth sharing */

typedef struct sizes {
    const mb_runner *kept, *lean;
    const mb_lane *lane;
    int n_lanes, threads, streamed; /* streamed: the model needs more than one pass */
    int64_t memory;
} sizes;

static int64_t record_bytes(const sizes *s, int kept) {
    const size_t floats = mb_record_floats(kept ? s->kept : s->lean);
    return s->streamed ? (int64_t)((floats + 15) / 16 * 16 * sizeof(float)) : 0;
}

static int64_t lane_bytes(const sizes *s, int lane, int kept) {
    return s->lane[lane].tiles * record_bytes(s, kept);
}

static int shorter(const sizes *s, int lane) {
    return s->lane[lane].tiles <= SOLO_TILES;
}

/* A run of short lanes from `first`, each worker holding the stream of one at a time. */
static int solo_group(const sizes *s, int first, mb_group *g) {
    int count = 0;
    int64_t most = 0;
    while (first + count < s->n_lanes && shorter(s, first + count)) {
        most = s->lane[first + count].tiles > most ? s->lane[first + count].tiles : most;
        count++;
    }
    if (count < s->threads || count < 2)
        return 0;
    const int workers = count < s->threads ? count : s->threads;
    for (int kept = 1; kept >= 0; kept--)
        if (workers * most * record_bytes(s, kept) <= s->memory) {
            *g = (mb_group){.first = first, .count = count, .solo = 1, .kept = kept, .in_memory = most};
            return 1;
        }
    return 0;
}

/* One lane, and as many more as fit in memory in the same way, up to a few per worker. */
static void shared_group(const sizes *s, int first, mb_group *g) {
    const int most = s->threads > 2 ? s->threads : 2;
    int kept = lane_bytes(s, first, 1) <= s->memory;
    int64_t used = lane_bytes(s, first, kept);
    *g = (mb_group){.first = first, .count = 1, .kept = kept, .in_memory = s->lane[first].tiles};
    if (used > s->memory) {
        g->in_memory = s->memory / record_bytes(s, 0);
        return;
    }
    while (first + g->count < s->n_lanes && g->count < most) {
        const int64_t more = lane_bytes(s, first + g->count, kept);
        if (used + more > s->memory)
            return;
        used += more;
        if (s->lane[first + g->count].tiles > g->in_memory)
            g->in_memory = s->lane[first + g->count].tiles;
        g->count++;
    }
}

static void note_worst(const sizes *s, const mb_group *g, mb_forward_plan *plan) {
    const int64_t record = record_bytes(s, g->kept);
    int64_t memory = 0, scratch = 0;
    if (g->solo) {
        memory = (g->count < s->threads ? g->count : s->threads) * g->in_memory * record;
    } else {
        for (int i = g->first; i < g->first + g->count; i++) {
            const int64_t tiles = s->lane[i].tiles, in = tiles < g->in_memory ? tiles : g->in_memory;
            memory += in * record;
            scratch += (tiles - in) * record;
        }
    }
    const int64_t states = (g->solo ? s->threads : g->count) * (int64_t)mb_carry_set_bytes(s->kept);
    const int64_t work = s->threads * (int64_t)mb_worker_bytes(g->kept ? s->kept : s->lean) + states;
    plan->kept &= g->kept;
    plan->stream_bytes = memory > plan->stream_bytes ? memory : plan->stream_bytes;
    plan->scratch_bytes = scratch > plan->scratch_bytes ? scratch : plan->scratch_bytes;
    plan->worker_bytes = work > plan->worker_bytes ? work : plan->worker_bytes;
}

static int64_t free_memory(void) {
    const long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (int64_t)pages * size / 2 : (int64_t)1 << 30;
}

int mb_groups_make(mb_groups *g, const mb_runner *kept, const mb_runner *lean, const mb_lane *lane, int n_lanes,
                   int threads, int64_t memory, mb_err *e) {
    const sizes s = {.kept = kept,
                     .lean = lean,
                     .lane = lane,
                     .n_lanes = n_lanes,
                     .threads = threads,
                     .streamed = kept->passes.n_passes > 1,
                     .memory = memory > 0 ? memory : free_memory()};
    *g = (mb_groups){.worst = {.passes = kept->passes.n_passes, .kept = 1}};
    g->group = mb_calloc((size_t)n_lanes + 1, sizeof *g->group);
    if (!g->group)
        return mb_fail(e, MB_NOMEM, "no memory for the plan of %d sequences", n_lanes);
    for (int at = 0; at < n_lanes; at += g->group[g->n++].count) {
        mb_group *next = &g->group[g->n];
        if (!solo_group(&s, at, next))
            shared_group(&s, at, next);
        note_worst(&s, next, &g->worst);
    }
    for (int i = 0; i < n_lanes; i++)
        g->worst.tiles += lane[i].tiles;
    g->worst.groups = g->n;
    return MB_OK;
}

void mb_groups_free(mb_groups *g) {
    mb_free(g->group);
    *g = (mb_groups){0};
}
