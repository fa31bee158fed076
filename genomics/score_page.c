/* See score_page.h. */
#include "genomics/score_page.h"

#include <inttypes.h>
#include <math.h>

#include "core/mem.h"

enum { LEAST_BINS = 8, MOST_BINS = 40, MOST_POINTS = 5000 };

int score_page_add(score_page *p, double bits, double order0, mb_err *e) {
    if (p->n == p->capacity) {
        const int64_t room = p->capacity ? 2 * p->capacity : 256;
        double *b = mb_realloc_array(p->bits, (size_t)room, sizeof *b);
        if (b)
            p->bits = b;
        double *o = b ? mb_realloc_array(p->order0, (size_t)room, sizeof *o) : NULL;
        if (!o)
            return mb_fail(e, MB_NOMEM, "no memory for a report of %" PRId64 " sequences", p->n);
        p->order0 = o;
        p->capacity = room;
    }
    p->bits[p->n] = bits;
    p->order0[p->n++] = order0;
    return MB_OK;
}

void score_page_fini(score_page *p) {
    mb_free(p->bits);
    mb_free(p->order0);
    *p = (score_page){0};
}

static void put_charts(mb_page *page, const score_page *p) {
    double x[MOST_BINS], count[MOST_BINS];
    const double wanted = 2 * sqrt((double)p->n);
    const int bins = wanted < LEAST_BINS ? LEAST_BINS : wanted > MOST_BINS ? MOST_BINS : (int)wanted;
    const mb_series bars = {.kind = MB_SERIES_BARS, .x = x, .y = count, .n = bins};
    const mb_chart spread = {.title = "Bits per base",
                             .x_label = "bits per base that the model needs",
                             .y_label = "sequences",
                             .series = &bars,
                             .n_series = 1};
    const int64_t shown = p->n < MOST_POINTS ? p->n : MOST_POINTS;
    const mb_series points = {.kind = MB_SERIES_POINTS, .x = p->order0, .y = p->bits, .n = shown};
    const mb_chart beside = {.title = "Beside the letters' own entropy",
                             .x_label = "entropy of the sequence's letters, bits",
                             .y_label = "bits per base, model",
                             .series = &points,
                             .n_series = 1};
    (void)mb_histogram(p->bits, p->n, bins, x, count);
    mb_page_heading(page, "Sequences");
    mb_page_chart(page, &spread);
    mb_page_chart(page, &beside);
    if (shown < p->n)
        mb_page_text(page, "The second chart shows the first %d sequences.", MOST_POINTS);
}

int score_page_write(const score_page *p, const score_summary *s, mb_provenance *record, const char *path, mb_err *e) {
    mb_page *page = NULL;
    int rc = mb_page_create(&page, "Likelihood of sequences", e);
    if (rc == MB_OK) {
        mb_page_fact(page, "model", "%s", s->model);
        mb_page_fact(page, "scheme", "%s", s->scheme);
        mb_page_fact(page, "sequences", "%" PRId64, s->sequences);
        mb_page_fact(page, "bases scored", "%" PRId64, s->scored);
        mb_page_fact(page, "bits per base", "%.4f", s->bits);
        mb_page_fact(page, "entropy of the letters", "%.4f bits", s->order0);
        if (p->n > 1)
            put_charts(page, p);
        rc = mb_page_write(page, record, path, e);
    }
    mb_page_destroy(page);
    return rc;
}
