/* The k best of a row of scores: highest first, of equal scores the lower item. Scores that are no number never win. */
#ifndef REC_TOP_H
#define REC_TOP_H
#include "recsys/live.h"

typedef struct rec_top_filter { /* what is left out; each may be NULL */
    const rec_record *seen;
    const uint8_t *allowed; /* (items+1) */
    const int32_t *deny;
    int n_deny;
} rec_top_filter;

/* score (items+1), column 0 unused. hit (k). Returns how many there are. */
int rec_top(const float *score, int32_t items, int k, const rec_top_filter *f, rec_live_hit *hit);
#endif
