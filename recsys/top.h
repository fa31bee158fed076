/* The k best items of a row of scores. */
#ifndef REC_TOP_H
#define REC_TOP_H
#include <stdint.h>

typedef struct rec_hit {
    int32_t item;
    float score;
} rec_hit;

/* Best first; of equal scores the lower item comes first. Items 1 .. n of score (n+1); candidate (n+1) or NULL: those
 * that are 0 there are left out; a score that is NaN is nobody's. Returns how many there are, at most k. */
int rec_top(const float *score, int32_t n, const uint8_t *candidate, int k, rec_hit *hit);
#endif
