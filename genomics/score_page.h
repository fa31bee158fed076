/* The HTML report of `dna-mamba score`: what each sequence got, gathered while it is printed. */
#ifndef DNA_SCORE_PAGE_H
#define DNA_SCORE_PAGE_H
#include <stdint.h>
#include "genomics/value_page.h"

enum { SCORE_PAGE_POINTS = 5000 };

typedef struct score_page { /* zero to begin with */
    double bits[SCORE_PAGE_POINTS],
        order0[SCORE_PAGE_POINTS]; /* of the first sequences: of the model, of the letters */
    int64_t n;                     /* sequences */
    dna_value_sample spread;
} score_page;

typedef struct score_summary {
    const char *model, *scheme;
    int64_t sequences, scored;
    double bits, order0;
} score_summary;

int score_page_add(score_page *p, double bits, double order0, mb_err *e) MB_MUST_USE;
int score_page_write(const score_page *p, const score_summary *s, mb_provenance *record, const char *path,
                     mb_err *e) MB_MUST_USE;
void score_page_fini(score_page *p);
#endif
