/* The end of a program whose caller broke a contract: where, what, abort. Refuses to return. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/kernel.h"

void mbk_assert_failed(const char *cond, const char *file, int line) {
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, cond);
    abort();
}
