/* See groups.h. */
#include "core/groups.h"

#include "core/options_internal.h"

enum { SOLO_TILES = 64 }; /* longer lanes are worth sharing */

typedef struct sizes {
    const mb_runner *kept, *lean;
    const mb_lane *lane;
    int n_lanes, threads, streamed; /* streamed: the model needs more than one pass */
    int64_t worker, states;         /* bytes of one worker, of one lane's carried states */
    int64_t memory;                 /* for streams */
} sizes;

/* a * b for a, b >= 0; the largest number when that is beyond it. */
static int64_t product(int64_t a, int64_t b) {
    int64_t p;
    return __builtin_mul_overflow(a, b, &p) ? INT64_MAX : p;
}

static int64_t record_bytes(const sizes *s, int kept) {
    const size_t floats = mb_record_floats(kept ? s->kept : s->lean);
    return s->streamed ? (int64_t)((floats + 15) / 16 * 16 * sizeof(float)) : 0;
}

static int64_t lane_bytes(const sizes *s, int lane, int kept) {
    return product(s->lane[lane].tiles, record_bytes(s, kept));
}

static int shorter(const sizes *s, int lane) {
    return s->lane[lane].tiles <= SOLO_TILES;
}

/* A run of short lanes from `first`, each worker holding the stream of one at a time: as many as fit in that way. */
static int solo_group(const sizes *s, int first, mb_group *g) {
    *g = (mb_group){.first = first, .solo = 1, .kept = 1};
    for (; first + g->count < s->n_lanes && shorter(s, first + g->count); g->count++) {
        const int64_t tiles = s->lane[first + g->count].tiles, most = tiles > g->in_memory ? tiles : g->in_memory;
        int kept = g->kept;
        while (kept >= 0 && product(s->threads * most, record_bytes(s, kept)) > s->memory)
            kept--;
        if (kept < 0)
            break;
        g->kept = kept;
        g->in_memory = most;
    }
    return g->count >= s->threads && g->count >= 2;
}

static int most_shared(int threads) {
    return threads > 2 ? threads : 2;
}

/* One lane, and as many more as fit in memory in the same way, up to one per worker. */
static void shared_group(const sizes *s, int first, mb_group *g) {
    const int most = most_shared(s->threads);
    int kept = lane_bytes(s, first, 1) <= s->memory;
    int64_t used = lane_bytes(s, first, kept);
    *g = (mb_group){.first = first, .count = 1, .kept = kept, .in_memory = s->lane[first].tiles};
    if (used > s->memory) {
        const int64_t record = record_bytes(s, 0);
        MB_ASSERT(record > 0); /* else nothing was used */
        g->in_memory = s->memory / record;
        return;
    }
    while (first + g->count < s->n_lanes && g->count < most) {
        const int64_t more = lane_bytes(s, first + g->count, kept);
        if (more > s->memory - used)
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
            scratch += product(tiles - in, record); /* not zero for one lane at most */
        }
    }
    const int64_t work = s->threads * s->worker + (g->solo ? s->threads : g->count) * s->states;
    plan->kept &= g->kept;
    plan->stream_bytes = memory > plan->stream_bytes ? memory : plan->stream_bytes;
    plan->scratch_bytes = scratch > plan->scratch_bytes ? scratch : plan->scratch_bytes;
    plan->worker_bytes = work > plan->worker_bytes ? work : plan->worker_bytes;
}

/* What workers and states leave of the budget. */
static int64_t for_streams(const sizes *s, int64_t memory) {
    char why[MB_OPTIONS_WHY];
    const int lanes = most_shared(s->threads), at_once = s->n_lanes < lanes ? s->n_lanes : lanes;
    const int64_t work = s->threads * s->worker + at_once * s->states;
    if (!s->streamed)
        return 0;
    if (memory <= 0)
        memory = mb_auto_memory("", why);
    return memory > work ? memory - work : 0;
}

int mb_groups_make(mb_groups *g, const mb_runner *kept, const mb_runner *lean, const mb_lane *lane, int n_lanes,
                   int threads, int64_t memory, mb_err *e) {
    sizes s = {.kept = kept,
               .lean = lean,
               .lane = lane,
               .n_lanes = n_lanes,
               .threads = threads,
               .streamed = kept->passes.n_passes > 1,
               .worker = (int64_t)mb_worker_bytes(kept), /* one size of worker serves both ways */
               .states = (int64_t)mb_carry_set_bytes(kept)};
    s.memory = for_streams(&s, memory);
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
