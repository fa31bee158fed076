/* The k nearest against a search of its own that sorts all pairs in long double; places of rows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/nearest.h"
#include "core/npy.h"
#include "core/rng.h"
#include "genomics/places.h"
#include "tests/scratch.h"

enum { N = 1100, Q = 300, D = 37, K = 12 };

static mb_err error;
static float x[N * D], q[Q * D];
static mb_nearest_hit hit[Q * K], other[Q * K];

typedef struct pair {
    int64_t row;
    long double value; /* smaller is nearer */
} pair;

static int compare(const void *a, const void *b) {
    const pair *s = a, *t = b;
    return s->value != t->value ? (s->value > t->value) - (s->value < t->value) : (s->row > t->row) - (s->row < t->row);
}

static long double sum(int measure, const float *a, const float *b, int d) {
    long double s = 0;
    for (int i = 0; i < d; i++)
        s += measure == MB_NEAREST_L2 ? ((long double)a[i] - b[i]) * ((long double)a[i] - b[i])
                                      : (long double)a[i] * b[i];
    return s;
}

/* All pairs of one query, nearest first; their number. */
static int all_pairs(int measure, const float *query, int64_t self, pair *to) {
    int n = 0;
    for (int64_t i = 0; i < N; i++) {
        const float *row = x + i * D;
        const long double norm = sum(MB_NEAREST_DOT, row, row, D), own = sum(MB_NEAREST_DOT, query, query, D);
        if (!isfinite(norm) || i == self || (measure == MB_NEAREST_COSINE && norm == 0))
            continue;
        to[n].row = i;
        to[n].value = sum(measure, query, row, D);
        if (measure == MB_NEAREST_L2)
            to[n].value = sqrtl(to[n].value);
        else
            to[n].value = -to[n].value / (measure == MB_NEAREST_COSINE ? sqrtl(norm) * sqrtl(own) : 1);
        n++;
    }
    qsort(to, (size_t)n, sizeof *to, compare);
    return n;
}

static long double value_of(const pair *all, int n, int64_t row) {
    for (int i = 0; i < n; i++)
        if (all[i].row == row)
            return all[i].value;
    return NAN;
}

static void check(int measure, int64_t query, const mb_nearest_hit *h, int exclude) {
    static pair all[N];
    const float *row = q + query * D;
    const long double norm = sum(MB_NEAREST_DOT, row, row, D);
    const int bad = !isfinite(norm) || (measure == MB_NEAREST_COSINE && norm == 0);
    const int n = bad ? 0 : all_pairs(measure, row, exclude ? query : -1, all);
    for (int c = 0; c < K; c++) {
        if (c >= n) {
            assert_int_equal(h[c].row, -1);
            continue;
        }
        /* The c-th best value, which the row found has, to rounding; of equal values the lower row first. */
        const double want = (double)(measure == MB_NEAREST_L2 ? all[c].value : -all[c].value);
        const long double own = value_of(all, n, h[c].row);
        const double found = (double)(measure == MB_NEAREST_L2 ? own : -own), most = 1e-12 * (1 + fabs(want));
        if (fabs(h[c].value - want) > most || !(fabs(h[c].value - found) <= most))
            fail_msg("measure %d, query %d, rank %d: row %d, %.17g, which has %.17g; expected row %d, %.17g", measure,
                     (int)query, c, (int)h[c].row, h[c].value, found, (int)all[c].row, want);
        if (c > 0 && h[c].value == h[c - 1].value)
            assert_true(h[c].row > h[c - 1].row);
        if (c > 0)
            assert_true(measure == MB_NEAREST_L2 ? h[c].value >= h[c - 1].value : h[c].value <= h[c - 1].value);
    }
}

static mb_nearest_rows rows_of(const float *data, int64_t n) {
    return (mb_nearest_rows){data, MB_F32, n, D};
}

static void exact(void **state) {
    (void)state;
    const mb_nearest_rows index = rows_of(x, N), query = rows_of(q, Q);
    for (int measure = 0; measure <= MB_NEAREST_DOT; measure++)
        for (int exclude = 0; exclude < 2; exclude++) {
            const mb_nearest_options o = {
                .measure = measure, .k = K, .exclude_self = exclude, .threads = 2, .memory = 1 << 24};
            mb_nearest_counts counts;
            assert_int_equal(mb_nearest_run(&index, &query, 0, Q, &o, hit, &counts, &error), MB_OK);
            for (int64_t i = 0; i < Q; i++)
                check(measure, i, hit + i * K, exclude);
            assert_int_equal(counts.bad_index, measure == MB_NEAREST_COSINE ? 3 : 2);
            assert_int_equal(counts.bad_query, measure == MB_NEAREST_COSINE ? 2 : 1);
            assert_in_range(counts.again, Q, (Q * (int64_t)N) - 1);
        }
}

/* Same bits for threads, blocks, memory and alignment of the file. */
static void any_way(void **state) {
    (void)state;
    char *moved = malloc(sizeof x + 3);
    assert_non_null(moved);
    memcpy(moved + 3, x, sizeof x);
    const mb_nearest_rows index = rows_of(x, N), query = rows_of(q, Q), odd = {moved + 3, MB_F32, N, D};
    for (int measure = 0; measure <= MB_NEAREST_DOT; measure++) {
        mb_nearest_options o = {.measure = measure, .k = K, .threads = 1, .memory = 1 << 24};
        mb_nearest_counts counts;
        assert_int_equal(mb_nearest_run(&index, &query, 0, Q, &o, hit, &counts, &error), MB_OK);
        for (int threads = 1; threads <= 5; threads += 2)
            for (int64_t block = 7; block <= Q; block = block == 7 ? 128 : block == 128 ? Q : Q + 1) {
                o.threads = threads;
                for (int64_t from = 0, n; from < Q; from += n) {
                    n = Q - from < block ? Q - from : block;
                    assert_int_equal(mb_nearest_run(threads == 3 ? &odd : &index, &query, from, n, &o, other + from * K,
                                                    &counts, &error),
                                     MB_OK);
                }
                assert_memory_equal(other, hit, sizeof hit);
            }
        o.device = "ref";
        assert_int_equal(mb_nearest_run(&index, &query, 0, Q, &o, other, &counts, &error), MB_OK);
        assert_memory_equal(other, hit, sizeof hit);
    }
    free(moved);
}

static void halves(void **state) {
    (void)state;
    static uint16_t half[N * D];
    static float back[N * D];
    for (int i = 0; i < N * D; i++) {
        half[i] = mb_f32_to_f16(x[i]);
        back[i] = mb_f16_to_f32(half[i]);
    }
    const mb_nearest_rows a = {half, MB_F16, N, D}, b = rows_of(back, N), query = rows_of(q, Q);
    const mb_nearest_options o = {.k = K, .threads = 2, .memory = 1 << 24};
    mb_nearest_counts counts;
    assert_int_equal(mb_nearest_run(&a, &query, 0, Q, &o, hit, &counts, &error), MB_OK);
    assert_int_equal(mb_nearest_run(&b, &query, 0, Q, &o, other, &counts, &error), MB_OK);
    assert_memory_equal(other, hit, sizeof hit);
}

static void failures(void **state) {
    (void)state;
    const mb_nearest_rows index = rows_of(x, N), query = rows_of(q, Q);
    atomic_int stop = 1;
    mb_nearest_options o = {.k = K, .threads = 1, .memory = 1 << 24, .stop = &stop};
    mb_nearest_counts counts;
    mb_err_clear(&error);
    assert_int_equal(mb_nearest_run(&index, &query, 0, 5, &o, hit, &counts, &error), MB_STOPPED);
    o.stop = NULL;
    const long before = mb_mem_live_blocks();
    for (long n = 1, fired = 1; fired; n++) {
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = mb_nearest_run(&index, &query, 0, 5, &o, hit, &counts, &error);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        assert_int_equal(mb_mem_live_blocks(), before);
        assert_true(n < 100);
    }
    for (o.memory = 1; o.memory < (int64_t)1 << 40; o.memory *= 4)
        assert_in_range(mb_nearest_block(Q, D, &o), 1, Q);
}

/* ---- places ---------------------------------------------------------------------------------------------------------
 */

#define TITLES "row_start\trow_end\tname\toffset\tlength\tcontig\tstart\tend\tstrand\tn_count\n"

static void places(void **state) {
    (void)state;
    char text[20000] = TITLES;
    int row = 0;
    for (int i = 0; i < 200; i++) {
        const int rows = 1 + i * i % 7;
        snprintf(text + strlen(text), 80, "%d\t%d\ts%d\t0\t9\tc%d\t%d\t%d\t+\t0\n", row, row + rows, i, i % 3, i,
                 i + 9);
        row += rows;
    }
    dna_places p;
    assert_int_equal(dna_places_open(&p, scratch_text("a.tsv", text), row, &error), MB_OK);
    int at = 0;
    for (int i = 0; i < 200; i++)
        for (int part = 0; part < 1 + i * i % 7; part++, at++) {
            const dna_place found = dna_places_find(&p, at);
            char want[16];
            const int n = snprintf(want, sizeof want, "s%d", i);
            assert_int_equal(found.name.n, n);
            assert_memory_equal(found.name.at, want, (size_t)n);
            assert_int_equal(atoi(found.start.at), i);
            assert_int_equal(found.part, part);
        }
    dna_places_close(&p);
}

static void bad_places(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {{"", ":1: "},
               {"row_start\n", ":1: "},
               {TITLES, "ends at row 0"},
               {TITLES "0\t1\ta\t0\t9\tc\t0\t9\t+\t0\n", "ends at row 1"},
               {TITLES "0\t3\ta\t0\t9\tc\t0\t9\t+\t0\n", ":2: rows 0 to 3"},
               {TITLES "0\t2\ta\t0\t9\tc\t0\t9\t+\t0", ":2: is cut short"},
               {TITLES "0\t2\ta\t0\t9\tc\t0\t9\t+\n", ":2: is cut short"},
               {TITLES "0\t2\ta\t0\t9\tc\t0\t9\t+\t0\t0\n", ":2: is cut short"},
               {TITLES "0\t1\ta\t0\t9\tc\t0\t9\t+\t0\n2\t2\tb\t0\t9\tc\t0\t9\t+\t0\n", ":3: rows 2 to 2"},
               {TITLES "0\t1\ta\t0\t9\tc\t0\t9\t+\t0\n1\t99999999999999999999\tb\t0\t9\tc\t0\t9\t+\t0\n", ":3: "},
               {TITLES "x\t2\ta\t0\t9\tc\t0\t9\t+\t0\n", ":2: "}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dna_places p;
        mb_err_clear(&error);
        assert_int_equal(dna_places_open(&p, scratch_text("b.tsv", bad[i].text), 2, &error), MB_FORMAT);
        if (!strstr(error.text, bad[i].words))
            fail_msg("%s: expected '%s'", error.text, bad[i].words);
        assert_null(p.map.data);
    }
}

/* Rows with ties, far from the origin (where fp32 distances cancel), near duplicates, zeros, tiny, huge, NaN, infinite.
 */
static int prepare(void **state) {
    (void)state;
    mb_rng r;
    mb_rng_init(&r, 11, 0);
    for (int i = 0; i < N * D; i++)
        x[i] = (float)(mb_rng_normal(&r) + (i / D % 2 ? 1000 : 0));
    for (int i = 0; i < Q * D; i++)
        q[i] = (float)(mb_rng_normal(&r) + (i / D % 2 ? 1000 : 0));
    for (int i = 0; i < D; i++) {
        for (int copy = 0; copy < 40; copy++) {
            x[(400 + copy * 9) * D + i] = x[3 * D + i];
            x[(405 + copy * 9) * D + i] = x[5 * D + i] + (i == copy % D ? 1e-4f * (float)(copy % 5) : 0);
        }
        x[7 * D + i] = 0;
        x[8 * D + i] = x[9 * D + i] * 1e-38f;
        x[10 * D + i] *= 1e37f;
        x[11 * D + i] *= -3e34f;
        q[0 * D + i] = x[3 * D + i];
        q[1 * D + i] = x[5 * D + i];
        q[2 * D + i] = 0;
        q[3 * D + i] *= 1e33f;
        q[4 * D + i] *= 1e-39f;
    }
    x[12 * D + 5] = NAN;
    x[13 * D + 36] = -INFINITY;
    q[5 * D] = NAN;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(exact),  cmocka_unit_test(any_way),
                                       cmocka_unit_test(halves), cmocka_unit_test(failures),
                                       cmocka_unit_test(places), cmocka_unit_test(bad_places)};
    return cmocka_run_group_tests(tests, prepare, NULL);
}
