/* See value_page.h. When the room is full every second value goes and half as many are taken from then on. */
#include "genomics/value_page.h"

#include <inttypes.h>
#include <math.h>

#include "core/mem.h"

enum { ROOM = 1 << 16, LEAST_BINS = 8, MOST_BINS = 40 };

int dna_value_sample_add(dna_value_sample *s, double value, mb_err *e) {
    if (!isfinite(value))
        return MB_OK;
    if (!s->value) {
        s->every = 1;
        s->value = mb_calloc(ROOM, sizeof *s->value);
        if (!s->value)
            return mb_fail(e, MB_NOMEM, "no memory for a report");
    }
    if (s->seen++ % s->every != 0)
        return MB_OK;
    if (s->n == ROOM) {
        for (int64_t i = 0; i < ROOM / 2; i++)
            s->value[i] = s->value[2 * i];
        s->n = ROOM / 2;
        s->every *= 2; /* ROOM is even: this value is still one of those taken */
    }
    s->value[s->n++] = value;
    return MB_OK;
}

void dna_value_sample_fini(dna_value_sample *s) {
    mb_free(s->value);
    *s = (dna_value_sample){0};
}

void dna_value_sample_put(const dna_value_sample *s, mb_page *p, const char *title, const char *of) {
    double x[MOST_BINS], count[MOST_BINS];
    const double wanted = 2 * sqrt((double)s->n);
    const int bins = wanted < LEAST_BINS ? LEAST_BINS : wanted > MOST_BINS ? MOST_BINS : (int)wanted;
    const mb_series bars = {.kind = MB_SERIES_BARS, .x = x, .y = count, .n = bins};
    const mb_chart chart = {.title = title, .x_label = title, .y_label = of, .series = &bars, .n_series = 1};
    if (s->n == 0)
        return;
    (void)mb_histogram(s->value, s->n, bins, x, count);
    mb_page_chart(p, &chart);
    if (s->every > 1)
        mb_page_text(p, "One in %" PRId64 " of %" PRId64 " values is shown.", s->every, s->seen);
}
