/* Pooling: every kind against a plain double loop, pieces in either direction, strands, bins; the row store beneath. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/rng.h"
#include "genomics/pool.h"
#include "genomics/store.h"
#include "tests/scratch.h"

enum { D = 5, L = 23, ITEMS = 2, LAYERS = 2 };

static float hidden[ITEMS][LAYERS][2][L][D]; /* as the original's hidden state has it, by block */
static float out[ITEMS][LAYERS][2][L][D];
static int written[ITEMS][LAYERS][2][L];
static const int64_t length[ITEMS] = {L, 7};
static const int layer[LAYERS] = {1, 4};
static mb_err error;

static int put(void *user, int item, int l, int block, int64_t row, int64_t n, const float *values, mb_err *e) {
    (void)user, (void)e;
    for (int64_t i = 0; i < n; i++, values += D) {
        memcpy(out[item][l][block][row + i], values, sizeof(float[D]));
        written[item][l][block][row + i]++;
    }
    return MB_OK;
}

static const char *name(void *user, int item) {
    (void)user;
    return item ? "second" : "first";
}

static int deliver(const mb_sink *sink, int sequence, int l, int column, int strand, int backwards, int reversed) {
    const int item = sequence % ITEMS, block = reversed ? 1 : column > 0;
    const int n = (int)length[item], piece = 4;
    float rows[4][D];
    const int pieces = (n + piece - 1) / piece;
    for (int k = 0; k < pieces; k++) {
        const int from = (backwards ? pieces - 1 - k : k) * piece, count = n - from < piece ? n - from : piece;
        for (int i = 0; i < count; i++)
            memcpy(rows[i], hidden[item][l][block][reversed ? n - 1 - from - i : from + i], sizeof rows[i]);
        const mb_rows r = {.sequence = sequence,
                           .strand = strand,
                           .column = column,
                           .layer = layer[l],
                           .from = from,
                           .n = count,
                           .worker = 1,
                           .row = rows[0]};
        int rc = sink->rows(sink->user, &r, &error);
        if (rc)
            return rc;
    }
    return MB_OK;
}

/* What rows [row] of the output must be. */
static double expected(const dna_pool_options *o, int item, int l, int block, int64_t row, int c) {
    const int64_t n = length[item], bin = o->bin ? o->bin : n;
    const int k = o->turn_second && block ? D - 1 - c : c;
    int64_t from = row * bin, to = from + bin < n ? from + bin : n;
    if (o->kind == DNA_POOL_NONE)
        return hidden[item][l][block][row][k];
    if (o->kind == DNA_POOL_CENTER)
        return hidden[item][l][block][n / 2][k];
    double sum = 0, top = -INFINITY;
    for (int64_t t = from; t < to; t++) {
        sum += hidden[item][l][block][t][k];
        top = hidden[item][l][block][t][k] > top ? hidden[item][l][block][t][k] : top;
    }
    return o->kind == DNA_POOL_MAX ? top : sum / (double)(to - from);
}

static void check(const dna_pool_options *o, int reverse_runs, int backwards) {
    const dna_pool_out to = {.put = put, .name = name};
    dna_pool *p = NULL;
    memset(written, 0, sizeof written);
    assert_int_equal(dna_pool_create(&p, o, length, ITEMS, &to, &error), MB_OK);
    const mb_sink sink = dna_pool_sink(p);
    for (int item = 0; item < ITEMS; item++)
        for (int l = 0; l < LAYERS; l++)
            for (int block = 0; block < o->blocks; block++) {
                const int reversed = reverse_runs && block;
                assert_int_equal(deliver(&sink, item + (reversed ? ITEMS : 0), l, !reverse_runs && block ? D : 0, block,
                                         backwards, reversed),
                                 MB_OK);
            }
    for (int item = 0; item < ITEMS; item++)
        for (int l = 0; l < LAYERS; l++)
            for (int block = 0; block < o->blocks; block++)
                for (int64_t row = 0; row < L; row++) {
                    const int wanted = row < dna_pool_rows(o, length[item]);
                    assert_int_equal(written[item][l][block][row], wanted);
                    for (int c = 0; wanted && c < D; c++) {
                        const double want = expected(o, item, l, block, row, c);
                        if (!(fabs(out[item][l][block][row][c] - want) <= 1e-6 * (1 + fabs(want))))
                            fail_msg("pool %d, bin %lld, backwards %d, reverse %d, turned %d: item %d, block %d, row "
                                     "%lld: %g, "
                                     "expected %g",
                                     o->kind, (long long)o->bin, backwards, reverse_runs, o->turn_second, item, block,
                                     (long long)row, (double)out[item][l][block][row][c], want);
                    }
                }
    dna_pool_destroy(p);
}

static void every_kind(void **state) {
    (void)state;
    for (int kind = DNA_POOL_NONE; kind <= DNA_POOL_CENTER; kind++)
        for (int64_t bin = 0; bin <= (kind == DNA_POOL_MEAN || kind == DNA_POOL_MAX ? 30 : 0); bin += 3)
            for (int way = 0; way < 16; way++) {
                const int blocks = 1 + (way & 1), backwards = way >> 1 & 1, turn = way >> 2 & 1, reverse = way >> 3 & 1;
                const dna_pool_options o = {.kind = kind,
                                            .bin = bin,
                                            .D = D,
                                            .n_layers = LAYERS,
                                            .threads = 2,
                                            .layer = layer,
                                            .blocks = blocks,
                                            .turn_second = turn && !reverse};
                check(&o, reverse, backwards);
            }
}

static void values_that_are_not_finite(void **state) {
    (void)state;
    const dna_pool_options o = {
        .kind = DNA_POOL_MAX, .D = D, .n_layers = LAYERS, .threads = 2, .layer = layer, .blocks = 1};
    const dna_pool_out to = {.put = put, .name = name};
    const float wrong[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        dna_pool *p = NULL;
        const float before = hidden[1][1][0][5][2];
        hidden[1][1][0][5][2] = wrong[i];
        mb_err_clear(&error);
        assert_int_equal(dna_pool_create(&p, &o, length, ITEMS, &to, &error), MB_OK);
        const mb_sink sink = dna_pool_sink(p);
        assert_int_equal(deliver(&sink, 1, 1, 0, 0, 0, 0), MB_FAIL);
        assert_non_null(strstr(error.text, "second: the hidden state of layer 4 is not finite at base 6"));
        dna_pool_destroy(p);
        hidden[1][1][0][5][2] = before;
    }
}

/* In memory or in the scratch file, put in pieces of columns and in any order: the rows come back whole. */
static void store(void **state) {
    (void)state;
    enum { ROWS = 37, COLUMNS = 12 };
    float all[ROWS][COLUMNS], back[ROWS][COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++)
        all[i / COLUMNS][i % COLUMNS] = (float)i;
    for (int64_t memory = 0; memory <= 1 << 20; memory += 1 << 20) {
        dna_store *s = NULL;
        assert_int_equal(dna_store_create(&s, ROWS, COLUMNS, memory, scratch_dir(), &error), MB_OK);
        for (int column = COLUMNS - 3; column >= 0; column -= 3)
            for (int row = 0; row < ROWS; row += 5) {
                const int n = ROWS - row < 5 ? ROWS - row : 5;
                float part[5][3];
                for (int i = 0; i < n; i++)
                    memcpy(part[i], &all[row + i][column], sizeof part[i]);
                assert_int_equal(dna_store_put(s, row, n, column, 3, part[0], &error), MB_OK);
            }
        assert_int_equal(dna_store_get(s, 0, 20, back[0], &error), MB_OK);
        assert_int_equal(dna_store_get(s, 20, ROWS - 20, back[20], &error), MB_OK);
        assert_memory_equal(all, back, sizeof all);
        assert_int_equal(dna_store_put(s, 3, 2, 0, COLUMNS, all[0], &error), MB_OK);
        assert_int_equal(dna_store_get(s, 3, 2, back[0], &error), MB_OK);
        assert_memory_equal(all, back, 2 * sizeof all[0]);
        dna_store_destroy(s);
    }
    dna_store *s = NULL;
    mb_err_clear(&error);
    assert_int_equal(dna_store_create(&s, 10, 10, 0, "/nonexistent", &error), MB_IO);
    assert_non_null(strstr(error.text, "--scratch"));
    mb_err_clear(&error);
    assert_int_equal(dna_store_create(&s, INT64_MAX / 100, 1000, 0, NULL, &error), MB_RANGE);
}

static int prepare(void **state) {
    (void)state;
    mb_rng rng;
    mb_rng_init(&rng, 7, 0);
    float *values = &hidden[0][0][0][0][0];
    for (size_t i = 0; i < sizeof hidden / sizeof *values; i++)
        values[i] = (float)mb_rng_normal(&rng);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_kind), cmocka_unit_test(values_that_are_not_finite),
                                       cmocka_unit_test(store)};
    return cmocka_run_group_tests(tests, prepare, NULL);
}
