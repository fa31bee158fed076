/* Whether counts fit what was expected. */
#ifndef TESTS_CHANCE_H
#define TESTS_CHANCE_H
#include <stdint.h>

/* Sum of (count - expected)^2 / expected over the n cells with expected > 0. */
double chi_square(const double *expected, const int64_t *count, int64_t n);
/* With df degrees of freedom it has mean df and variance 2 df: five standard deviations above the mean. */
double chi_bound(int64_t df);
#endif
