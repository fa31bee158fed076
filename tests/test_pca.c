/* Principal components: against rows made from known directions, and against what a rotation must leave alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/pca.h"
#include "core/rng.h"

enum { N = 200, D = 7 };

/* Rows 3 + 4 p_i a + q_i b with p, q orthogonal, of mean 0 and length 1 over the rows; a, b orthonormal. */
static void make_rows(float *row, double *p, double *q, double noise) {
    static const double A[D] = {0.5, -0.5, 0.5, -0.5, 0, 0, 0}, B[D] = {0, 0, 0, 0, 0.6, 0, 0.8};
    mb_rng r;
    mb_rng_init(&r, 5, 1);
    for (int i = 0; i < N; i++) {
        p[i] = sqrt(2.0 / N) * cos(2 * M_PI * (i + 0.5) / N);
        q[i] = sqrt(2.0 / N) * sin(4 * M_PI * (i + 0.5) / N);
        for (int d = 0; d < D; d++)
            row[i * D + d] = (float)(3 + 4 * p[i] * A[d] + q[i] * B[d] + noise * mb_rng_normal(&r));
    }
}

static void finds_the_directions(void **state) {
    (void)state;
    float row[N * D];
    double p[N], q[N];
    mb_err e = {0};
    mb_pca out;
    make_rows(row, p, q, 0);
    assert_int_equal(mb_pca_make(&out, row, N, D, &e), MB_OK);
    assert_true(fabs(out.share[0] - 16.0 / 17) < 1e-6 && fabs(out.share[1] - 1.0 / 17) < 1e-6);
    /* The largest coordinate of either direction is positive: of a, the first of four equals up to rounding. */
    const double sign = out.at[0][0] * p[0] > 0 ? 1 : -1;
    for (int i = 0; i < N; i++) {
        assert_true(fabs(out.at[0][i] - sign * 4 * p[i]) < 1e-5);
        assert_true(fabs(out.at[1][i] - q[i]) < 1e-5);
    }
    mb_pca_free(&out);
}

static void components_are_uncorrelated_and_in_order(void **state) {
    (void)state;
    float row[N * D];
    double p[N], q[N], cross = 0, sum[2] = {0}, square[2] = {0};
    mb_err e = {0};
    mb_pca out;
    make_rows(row, p, q, 0.02);
    assert_int_equal(mb_pca_make(&out, row, N, D, &e), MB_OK);
    for (int i = 0; i < N; i++) {
        cross += out.at[0][i] * out.at[1][i];
        for (int c = 0; c < 2; c++) {
            sum[c] += out.at[c][i];
            square[c] += out.at[c][i] * out.at[c][i];
        }
    }
    assert_true(fabs(cross) < 1e-6 * square[0]);
    assert_true(fabs(sum[0]) < 1e-9 * N && fabs(sum[1]) < 1e-9 * N);
    assert_true(square[0] > square[1] && out.share[0] > out.share[1] && out.share[0] + out.share[1] < 1);
    mb_pca_free(&out);
}

static void nothing_to_tell_apart(void **state) {
    (void)state;
    const float same[6] = {1, 2, 1, 2, 1, 2}, column[3] = {1, 2, 4};
    mb_err e = {0};
    mb_pca out;
    assert_int_equal(mb_pca_make(&out, same, 3, 2, &e), MB_OK);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(out.at[0][i]) < 1e-12 && fabs(out.at[1][i]) < 1e-12);
    assert_true(out.share[0] == 0 && out.share[1] == 0);
    mb_pca_free(&out);
    assert_int_equal(mb_pca_make(&out, column, 3, 1, &e), MB_OK);
    assert_true(fabs(out.share[0] - 1) < 1e-12 && fabs(out.share[1]) < 1e-12);
    assert_true(fabs(out.at[0][2] - 5.0 / 3) < 1e-6);
    mb_pca_free(&out);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    const float row[4] = {1, 2, 3, 5};
    for (int nth = 1; nth <= 3; nth++) {
        mb_err e = {0};
        mb_pca out;
        mb_mem_fail_nth(nth, 0);
        assert_int_equal(mb_pca_make(&out, row, 2, 2, &e), MB_NOMEM);
        mb_mem_fail_nth(0, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_directions), cmocka_unit_test(components_are_uncorrelated_and_in_order),
        cmocka_unit_test(nothing_to_tell_apart), cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
