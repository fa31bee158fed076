/* Learning rate schedules. See schedule.h. */
#include "core/schedule.h"

#include <math.h>

static double between(double a, double b, double x) {
    return a + (b - a) * x;
}

double mb_schedule_rate(const mb_schedule *s, int64_t step) {
    if (step < s->warmup)
        return between(s->start, s->peak, (double)step / (double)s->warmup);
    const int64_t left = s->steps - s->warmup;
    double x = left > 0 ? (double)(step - s->warmup) / (double)left : 1;
    x = x > 1 ? 1 : x;
    switch (s->kind) {
    case MB_SCHEDULE_LINEAR:
        return between(s->peak, s->least, x);
    case MB_SCHEDULE_COSINE:
        return s->least + (s->peak - s->least) * (1 + cos(3.14159265358979323846 * x)) / 2;
    case MB_SCHEDULE_WSD: {
        const int64_t into = step - (s->steps - s->decay);
        if (into <= 0 || s->decay <= 0)
            return s->peak;
        return between(s->peak, s->least, into < s->decay ? (double)into / (double)s->decay : 1);
    }
    default:
        return s->peak;
    }
}
