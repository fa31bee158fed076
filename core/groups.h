/* Which lanes (strands of sequences) run together, and what is kept of them, so that a run stays within its memory.
 * Depends on lengths, memory and threads; the results do not depend on it. Not for front ends. */
#ifndef MB_GROUPS_H
#define MB_GROUPS_H
#include "core/tile.h"

typedef struct mb_group {
    int first, count; /* lanes */
    int solo;         /* 1: each lane runs on one worker, many lanes at once; 0: the workers share the lanes' tiles */
    int kept;
    int64_t in_memory; /* records of each lane's stream held in memory; the others go to the scratch file */
} mb_group;

typedef struct mb_groups {
    mb_group *group;
    int n;
    mb_forward_plan worst; /* the most of any group */
} mb_groups;

/* kept and lean: the same run with everything kept between passes, and with the lean part. */
int mb_groups_make(mb_groups *g, const mb_runner *kept, const mb_runner *lean, const mb_lane *lane, int n_lanes,
                   int threads, int64_t memory, mb_err *e) MB_MUST_USE;
void mb_groups_free(mb_groups *g);
#endif
