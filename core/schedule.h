/* Learning rate as a function of the step alone. Steps count from 0; step s is the (s+1)-th update.
 *   warm-up (s < warmup): from start to peak, linearly, reaching peak at s = warmup
 *   then, with x = (s - warmup) / (steps - warmup), 0 <= x < 1:
 *     constant  peak
 *     linear    peak + (least - peak) x
 *     cosine    least + (peak - least) (1 + cos(pi x)) / 2
 *     wsd       peak until the last `decay` steps, then linear to least (warm-up, stable, decay) */
#ifndef MB_SCHEDULE_H
#define MB_SCHEDULE_H
#include <stdint.h>

typedef enum mb_schedule_kind {
    MB_SCHEDULE_COSINE,
    MB_SCHEDULE_LINEAR,
    MB_SCHEDULE_CONSTANT,
    MB_SCHEDULE_WSD
} mb_schedule_kind;
#define MB_SCHEDULE_CHOICES "cosine|linear|constant|wsd"

typedef struct mb_schedule {
    int kind;              /* mb_schedule_kind */
    double peak, least;    /* rates */
    double start;          /* rate at step 0 of the warm-up */
    int64_t warmup, decay; /* steps */
    int64_t steps;         /* all */
} mb_schedule;

double mb_schedule_rate(const mb_schedule *s, int64_t step);
#endif
