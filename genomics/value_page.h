/* Numbers on their way to a result, thinned for a chart of the report: memory stays bounded however many there are. */
#ifndef DNA_VALUE_PAGE_H
#define DNA_VALUE_PAGE_H
#include <stdint.h>
#include "core/page.h"

typedef struct dna_value_sample { /* zero to begin with */
    double *value;                /* (n) number 0, every, 2 every, ... of the finite ones that came */
    int64_t n, every, seen;
} dna_value_sample;

/* NaN and infinities are passed over. */
int dna_value_sample_add(dna_value_sample *s, double value, mb_err *e) MB_MUST_USE;
void dna_value_sample_fini(dna_value_sample *s);
/* A histogram, with a sentence when it is of a part of the values; nothing when there are none. */
void dna_value_sample_put(const dna_value_sample *s, mb_page *p, const char *title, const char *of);
#endif
