/* See chance.h. */
#include "tests/chance.h"

#include <math.h>

double chi_square(const double *expected, const int64_t *count, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        if (expected[i] > 0)
            sum += ((double)count[i] - expected[i]) * ((double)count[i] - expected[i]) / expected[i];
    return sum;
}

double chi_bound(int64_t df) {
    return (double)df + 5 * sqrt(2. * (double)df);
}
