/* See score_page.h. */
#include "genomics/score_page.h"

#include <inttypes.h>

int score_page_add(score_page *p, double bits, double order0, mb_err *e) {
    if (p->n < SCORE_PAGE_POINTS) {
        p->bits[p->n] = bits;
        p->order0[p->n] = order0;
    }
    p->n++;
    return dna_value_sample_add(&p->spread, bits, e);
}

void score_page_fini(score_page *p) {
    dna_value_sample_fini(&p->spread);
}

static void put_charts(mb_page *page, const score_page *p) {
    const int64_t shown = p->n < SCORE_PAGE_POINTS ? p->n : SCORE_PAGE_POINTS;
    const mb_series points = {.kind = MB_SERIES_POINTS, .x = p->order0, .y = p->bits, .n = shown};
    const mb_chart beside = {.title = "Beside the letters' own entropy",
                             .x_label = "entropy of the sequence's letters, bits",
                             .y_label = "bits per base, model",
                             .series = &points,
                             .n_series = 1};
    mb_page_heading(page, "Sequences");
    dna_value_sample_put(&p->spread, page, "bits per base that the model needs", "sequences");
    mb_page_chart(page, &beside);
    if (shown < p->n)
        mb_page_text(page, "The second chart shows the first %d sequences.", SCORE_PAGE_POINTS);
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
