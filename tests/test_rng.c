/* Random numbers: the published vectors of Philox4x32-10, independence of the order of use, and distributions that a
 * wrong constant would spoil. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>

#include "core/rng.h"

/* Random123, tests/kat_vectors, "philox4x32 10": counter, key, result. Recomputed from the paper's definition with
 * unbounded integers. */
static const uint32_t KNOWN[][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
     0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
     0x24126ea1},
};

static void the_published_vectors_come_out(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        uint32_t out[4];
        mb_philox4x32(KNOWN[i], KNOWN[i] + 4, out);
        assert_memory_equal(out, KNOWN[i] + 6, sizeof out);
    }
}

/* seed, stream and counter go where rng.h says, low words first. */
static void a_stream_is_its_blocks(void **state) {
    (void)state;
    const uint64_t seed = 0x299f31d0a4093822u, stream = 0x0370734413198a2eu;
    mb_rng r;
    mb_rng_init(&r, seed, stream);
    for (uint32_t block = 0; block < 3; block++) {
        const uint32_t counter[4] = {block, 0, (uint32_t)stream, (uint32_t)(stream >> 32)};
        const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
        uint32_t out[4];
        mb_philox4x32(counter, key, out);
        for (int i = 0; i < 4; i++)
            assert_int_equal(mb_rng_u32(&r), out[i]);
    }
    r.counter = 0x85a308d3243f6a88u; /* the third published vector */
    r.left = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(mb_rng_u32(&r), KNOWN[2][6 + i]);
}

static void streams_and_seeds_differ(void **state) {
    (void)state;
    mb_rng a, b, c;
    mb_rng_init(&a, 1, 0);
    mb_rng_init(&b, 1, 1);
    mb_rng_init(&c, 2, 0);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint32_t x = mb_rng_u32(&a), y = mb_rng_u32(&b), z = mb_rng_u32(&c);
        same += (x == y) + (x == z) + (y == z);
    }
    assert_true(same <= 1);
}

static void below_is_in_range_and_even(void **state) {
    (void)state;
    enum { N = 7, DRAWS = 70000 };
    mb_rng r;
    int count[N] = {0};
    mb_rng_init(&r, 3, 0);
    for (int i = 0; i < DRAWS; i++)
        count[mb_rng_below(&r, N)]++;
    for (int i = 0; i < N; i++) /* expected 10000, standard deviation 93; six of them */
        assert_in_range(count[i], 10000 - 560, 10000 + 560);
    for (int i = 0; i < 100; i++)
        assert_int_equal(mb_rng_below(&r, 1), 0);
    /* 2^64 - 2^62 values: without rejection the first quarter would be twice as likely. */
    const uint64_t most = 0xC000000000000000u;
    int low = 0;
    for (int i = 0; i < 30000; i++) {
        uint64_t v = mb_rng_below(&r, most);
        assert_true(v < most);
        low += v < most / 3;
    }
    assert_in_range(low, 10000 - 490, 10000 + 490);
}

static void uniform_fills_the_unit_interval(void **state) {
    (void)state;
    enum { DRAWS = 100000 };
    mb_rng r;
    double sum = 0, square = 0, least = 1, most = 0;
    mb_rng_init(&r, 4, 0);
    for (int i = 0; i < DRAWS; i++) {
        double u = mb_rng_uniform(&r);
        assert_true(u >= 0 && u < 1);
        assert_true(u * 0x1p53 == floor(u * 0x1p53));
        sum += u;
        square += u * u;
        least = fmin(least, u);
        most = fmax(most, u);
    }
    assert_true(fabs(sum / DRAWS - 0.5) < 6 * 0.2887 / sqrt(DRAWS));
    assert_true(fabs(square / DRAWS - 1 / 3.) < 6 * 0.2981 / sqrt(DRAWS));
    assert_true(least < 1e-3 && most > 1 - 1e-3);
}

static void normal_has_the_moments_of_a_normal(void **state) {
    (void)state;
    enum { DRAWS = 200000 };
    mb_rng r;
    double m[5] = {0};
    int beyond2 = 0;
    mb_rng_init(&r, 5, 0);
    for (int i = 0; i < DRAWS; i++) {
        double x = mb_rng_normal(&r), power = 1;
        assert_true(isfinite(x));
        for (int k = 1; k < 5; k++)
            m[k] += (power *= x);
        beyond2 += fabs(x) > 2;
    }
    /* standard deviations of the sample moments: 1, sqrt 2, sqrt 15, sqrt 96, each over sqrt DRAWS */
    assert_true(fabs(m[1] / DRAWS) < 6 * 1 / sqrt(DRAWS));
    assert_true(fabs(m[2] / DRAWS - 1) < 6 * 1.4143 / sqrt(DRAWS));
    assert_true(fabs(m[3] / DRAWS) < 6 * 3.873 / sqrt(DRAWS));
    assert_true(fabs(m[4] / DRAWS - 3) < 6 * 9.798 / sqrt(DRAWS));
    assert_true(fabs((double)beyond2 / DRAWS - 0.0455) < 6 * 0.2084 / sqrt(DRAWS));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_come_out),  cmocka_unit_test(a_stream_is_its_blocks),
        cmocka_unit_test(streams_and_seeds_differ),        cmocka_unit_test(below_is_in_range_and_even),
        cmocka_unit_test(uniform_fills_the_unit_interval), cmocka_unit_test(normal_has_the_moments_of_a_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
