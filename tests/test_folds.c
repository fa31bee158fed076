/* Splits: groups of equal sequences are never divided, strata keep their fractions, the seed alone decides, and leaks
 * of given splits are found. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/rng.h"
#include "genomics/folds.h"
#include "tests/models.h"
#include "tests/scratch.h"

static mb_err error;
static dna_alphabet alphabet;
static dna_labelled d;
static dna_groups g;

static int set_up(void **state) {
    (void)state;
    const mb_config c = model_caduceus(8, 1, 1);
    return dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error);
}

static int clean(void **state) {
    (void)state;
    dna_groups_fini(&g);
    dna_labelled_fini(&d);
    return mb_mem_live_blocks() != 0;
}

static void load(const char *text, int task) {
    char *inputs[] = {(char *)(uintptr_t)scratch_text("f.csv", text)};
    const dna_labelled_files files = {.inputs = inputs, .n = 1};
    mb_err_clear(&error);
    dna_groups_fini(&g);
    dna_labelled_fini(&d);
    if (dna_labelled_read(&d, &files, 1, &(dna_labelled_options){.task = task}, &alphabet, &error) ||
        dna_groups_find(&g, &d, &alphabet, &error))
        fail_msg("%s", error.text);
}

/* n random sequences of classes 0 .. classes-1, one in ten a copy of an earlier one, half of those its reverse
 * complement. */
static void load_random(int n, int classes, uint64_t seed) {
    enum { LENGTH = 30 };
    char *text = malloc((size_t)n * (LENGTH + 8) + 32);
    size_t at = (size_t)sprintf(text, "seq,label\n");
    const size_t first = at;
    mb_rng r;
    mb_rng_init(&r, seed, 0);
    for (int i = 0; i < n; i++) {
        if (i && mb_rng_below(&r, 10) == 0) {
            memcpy(text + at, text + first + mb_rng_below(&r, (uint64_t)i) * (LENGTH + 3), LENGTH + 3);
            if (mb_rng_below(&r, 2))
                dna_reverse_letters(text + at, LENGTH);
        } else {
            for (int j = 0; j < LENGTH; j++)
                text[at + (size_t)j] = "ACGTN"[mb_rng_below(&r, 5)];
            sprintf(text + at + LENGTH, ",%d\n",
                    (int)(mb_rng_below(&r, (uint64_t)classes * classes) / (uint64_t)classes));
        }
        at += LENGTH + 3;
    }
    text[at] = 0;
    load(text, DNA_TASK_CLASS);
    free(text);
}

static void groups(void **state) {
    (void)state;
    load("seq,label\nAACG,1\nCGTT,1\nAACN,1\nNGTT,0\nAACG,1\nACGT,0\nacgt,0\nAACGA,0\n", DNA_TASK_CLASS);
    static const int64_t OF[] = {0, 0, 2, 2, 0, 5, 5, 7};
    assert_memory_equal(g.of, OF, sizeof OF);
    assert_true(g.n == 8 && g.groups == 4 && g.repeated == 3 && g.copies == 4 && g.conflicts == 1);
    assert_true(g.conflict[0] == 2 && g.conflict[1] == 3);
    dna_text said = {0};
    assert_int_equal(dna_groups_say(&g, &d, &said, &error), MB_OK);
    assert_non_null(strstr(said.data, "4 sequences repeat another or its reverse complement (3 groups)"));
    assert_non_null(strstr(said.data, "f.csv:4 and "));
    dna_text_fini(&said);
    /* labels of bases turn with the sequence */
    load("seq,label\nAACG,1234\nCGTT,4321\nCGTT,1234\n", DNA_TASK_BASES);
    assert_true(g.groups == 1 && g.conflicts == 1 && g.conflict[1] == 2);
    load("seq,label\nAACG,1.5\nCGTT,1.5\nCCCC,2\nCCCC,3\n", DNA_TASK_REGRESSION);
    assert_true(g.groups == 2 && g.conflicts == 1 && g.conflict[0] == 2);
}

/* The groups against a comparison of all pairs. */
static void groups_of_random(void **state) {
    (void)state;
    load_random(400, 3, 11);
    int64_t copies = 0;
    for (int64_t i = 0; i < d.n; i++) {
        int64_t first = i;
        for (int64_t j = 0; j < i && first == i; j++) {
            uint8_t turned[30];
            memcpy(turned, d.at[j].token, 30);
            dna_reverse_tokens(&alphabet, turned, 30);
            if (!memcmp(d.at[i].token, d.at[j].token, 30) || !memcmp(d.at[i].token, turned, 30))
                first = j;
        }
        assert_int_equal(g.of[i], first);
        copies += first != i;
    }
    assert_int_equal(g.copies, copies);
    assert_in_range(copies, 10, 100);
}

static int share(const uint8_t *x, const uint8_t *y, int length, int k) {
    for (int i = 0; i + k <= length; i++)
        for (int j = 0; j + k <= length; j++)
            if (!memcmp(x + i, y + j, (size_t)k) && !memchr(x + i, alphabet.n_token, (size_t)k))
                return 1;
    return 0;
}

/* Groups that a stretch joins: by hand, then against a comparison of all pairs. */
static void shared_stretches(void **state) {
    (void)state;
    enum { K = 8, N = 120, LENGTH = 30 };
    dna_text said = {0};
    load("seq,label\nACGGTCATTT,0\nGGTACCTTAACG,1\nTTAAATGACCG,0\nACGGTNATTTC,1\nGGGGGGGG,0\nCGTTAAGG,1\n",
         DNA_TASK_CLASS);
    assert_int_equal(dna_groups_join(&g, &d, &alphabet, 7, &said, &error), MB_RANGE);
    mb_err_clear(&error);
    assert_int_equal(dna_groups_join(&g, &d, &alphabet, K, &said, &error), MB_OK);
    static const int64_t OF[] = {0, 1, 0, 3, 4, 1}; /* CGGTCATT of 0 turned is in 2, CCTTAACG of 1 turned is 5 */
    assert_memory_equal(g.of, OF, sizeof OF);
    assert_true(g.groups == 4 && g.repeated == 2 && g.copies == 2 && g.conflicts == 0);
    assert_non_null(strstr(said.data, "4 groups, 2 of them of more than one sequence, the largest of 2"));
    dna_text_fini(&said);
    load_random(N, 2, 17);
    int64_t *of = malloc(N * sizeof *of);
    for (int i = 0; i < N; i++)
        of[i] = i;
    for (int again = 1; again;) { /* the lowest of all that can be reached */
        again = 0;
        for (int i = 0; i < N; i++)
            for (int j = 0; j < i; j++) {
                uint8_t turned[LENGTH];
                memcpy(turned, d.at[j].token, LENGTH);
                dna_reverse_tokens(&alphabet, turned, LENGTH);
                if (of[i] == of[j] || !(g.of[i] == g.of[j] || share(d.at[i].token, d.at[j].token, LENGTH, K) ||
                                        share(d.at[i].token, turned, LENGTH, K)))
                    continue;
                of[i] = of[j] = of[i] < of[j] ? of[i] : of[j];
                again = 1;
            }
    }
    const int64_t before = g.groups;
    assert_int_equal(dna_groups_join(&g, &d, &alphabet, K, &said, &error), MB_OK);
    assert_true(g.groups < before);
    assert_memory_equal(g.of, of, N * sizeof *of);
    int part[N];
    assert_int_equal(dna_folds_k(part, &d, &g, 3, 1, &error), MB_OK);
    for (int i = 0; i < N; i++)
        assert_int_equal(part[i], part[g.of[i]]);
    dna_text_fini(&said);
    free(of);
}

static void random_split(void **state) {
    (void)state;
    static const double FRACTION[3] = {.7, .1, .2};
    enum { N = 2000, CLASSES = 4 };
    int part[N], again[N], count[3] = {0}, of_class[CLASSES][3] = {{0}}, in_class[CLASSES] = {0};
    load_random(N, CLASSES, 3);
    assert_int_equal(dna_folds_random(part, &d, &g, FRACTION, 3, 42, &error), MB_OK);
    assert_int_equal(dna_folds_random(again, &d, &g, FRACTION, 3, 42, &error), MB_OK);
    assert_memory_equal(part, again, sizeof part);
    for (int i = 0; i < N; i++) {
        assert_in_range(part[i], 0, 2);
        assert_int_equal(part[i], part[g.of[i]]);
        count[part[i]]++;
        of_class[d.at[i].label][part[i]]++;
        in_class[d.at[i].label]++;
    }
    for (int p = 0; p < 3; p++) {
        assert_true(abs(count[p] - (int)(FRACTION[p] * N)) <= 2);
        for (int c = 0; c < CLASSES; c++) /* a group's stratum is its first example's class; copies here agree */
            assert_true(abs(of_class[c][p] - (int)(FRACTION[p] * in_class[c])) <= 3);
    }
    assert_int_equal(dna_folds_random(again, &d, &g, FRACTION, 3, 43, &error), MB_OK);
    int moved = 0;
    for (int i = 0; i < N; i++)
        moved += part[i] != again[i];
    assert_in_range(moved, N / 4, N * 3 / 4); /* 1 - .49 - .01 - .04 = .46 of them */
}

static void k_folds(void **state) {
    (void)state;
    enum { N = 503, K = 10 };
    int part[N], count[K] = {0};
    load_random(N, 2, 5);
    assert_int_equal(dna_folds_k(part, &d, &g, K, 1, &error), MB_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(part[i], part[g.of[i]]);
        count[part[i]]++;
    }
    for (int k = 0; k < K; k++)
        assert_in_range(count[k], N / K - 2, N / K + 3);
    assert_int_equal(dna_folds_k(part, &d, &g, 1, 1, &error), MB_RANGE);
    assert_int_equal(dna_folds_k(part, &d, &g, N, 1, &error), MB_RANGE);
}

/* Tenths of a regression, sets of labels: each part gets its share of the low and of the high, of each set. */
static void other_strata(void **state) {
    (void)state;
    static const double HALF[2] = {.5, .5};
    char text[8192];
    size_t at = (size_t)sprintf(text, "seq,label\n");
    int part[200], low[2] = {0}, set[2] = {0};
    for (int i = 0; i < 200; i++)
        at += (size_t)sprintf(text + at, "%c%c%c%cA,%d.5\n", "AC"[i & 1], "AC"[i >> 1 & 1], "ACGT"[i >> 2 & 3],
                              "ACGTRYKMSW"[i >> 4 & 3], i);
    load(text, DNA_TASK_REGRESSION);
    assert_int_equal(dna_folds_random(part, &d, &g, HALF, 2, 1, &error), MB_OK);
    for (int i = 0; i < 60; i++)
        low[part[i]]++;
    assert_in_range(low[0], 20, 40);
    at = (size_t)sprintf(text, "seq,label\n");
    for (int i = 0; i < 64; i++)
        at += (size_t)sprintf(text + at, "%c%c%cA,%s\n", "ACGT"[i & 3], "ACGT"[i >> 2 & 3], "ACGT"[i >> 4],
                              i % 8 ? "a" : "a;b");
    load(text, DNA_TASK_MULTI);
    assert_int_equal(dna_folds_random(part, &d, &g, HALF, 2, 1, &error), MB_OK);
    for (int i = 0; i < 64; i += 8)
        set[part[i]]++;
    assert_true(set[0] == 4 && set[1] == 4);
}

static void wrong_fractions(void **state) {
    (void)state;
    int part[4];
    load("seq,label\nAA,0\nAC,1\nAG,0\nCT,1\n", DNA_TASK_CLASS);
    static const double WRONG[][2] = {{.5, .6}, {0, 1}, {-.5, 1.5}, {1e-3, .999}};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        assert_int_equal(dna_folds_random(part, &d, &g, WRONG[i], 2, 1, &error), MB_RANGE);
    mb_err_clear(&error);
}

static void given(void **state) {
    (void)state;
    int part[5];
    int64_t dropped = -1;
    dna_text said = {0};
    load("seq,label,split\nAACG,0,Train\nCCCC,1,val\nCGTT,0,test\nAAAA,1,training\nTTTT,1,dev\n", DNA_TASK_CLASS);
    assert_int_equal(dna_folds_given(part, &d, &g, DNA_LEAKS_ERROR, &dropped, &said, &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "f.csv:2: found the sequence of "));
    assert_non_null(strstr(error.text, "f.csv:4 (or its reverse complement) in another part of the split, and 1 more"));
    mb_err_clear(&error);
    assert_int_equal(dna_folds_given(part, &d, &g, DNA_LEAKS_DROP, &dropped, &said, &error), MB_OK);
    static const int DROP[] = {-1, DNA_VALID, DNA_TEST, -1, DNA_VALID};
    static const int KEEP[] = {DNA_TRAIN, DNA_VALID, DNA_TEST, DNA_TRAIN, DNA_VALID};
    assert_memory_equal(part, DROP, sizeof DROP);
    assert_int_equal(dropped, 2);
    assert_non_null(strstr(said.data, "2 sequences stand in a later part"));
    assert_int_equal(dna_folds_given(part, &d, &g, DNA_LEAKS_KEEP, &dropped, &said, &error), MB_OK);
    assert_memory_equal(part, KEEP, sizeof KEEP);
    assert_int_equal(dropped, 0);
    load("seq,label,split\nAACG,0,train\nCCCC,1,other\n", DNA_TASK_CLASS);
    assert_int_equal(dna_folds_given(part, &d, &g, 0, &dropped, &said, &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "f.csv:3: found 'other' as split"));
    load("seq,label\nAACG,0\nCCCC,1\n", DNA_TASK_CLASS);
    assert_int_equal(dna_folds_given(part, &d, &g, 0, &dropped, &said, &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "f.csv:2: found nothing as split"));
    dna_text_fini(&said);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    load_random(100, 2, 1);
    const long before = mb_mem_live_blocks();
    for (long nth = 1;; nth++) {
        dna_groups more = {0};
        dna_text said = {0};
        int part[100];
        mb_err e = {0};
        mb_mem_fail_nth(nth, 0);
        int rc = dna_groups_find(&more, &d, &alphabet, &e);
        if (!rc)
            rc = dna_groups_say(&more, &d, &said, &e);
        if (!rc)
            rc = dna_folds_k(part, &d, &more, 3, 1, &e);
        const int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        dna_text_fini(&said);
        dna_groups_fini(&more);
        assert_int_equal(mb_mem_live_blocks(), before);
        if (!fired)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(groups, clean),
                                       cmocka_unit_test_teardown(groups_of_random, clean),
                                       cmocka_unit_test_teardown(shared_stretches, clean),
                                       cmocka_unit_test_teardown(random_split, clean),
                                       cmocka_unit_test_teardown(k_folds, clean),
                                       cmocka_unit_test_teardown(other_strata, clean),
                                       cmocka_unit_test_teardown(wrong_fractions, clean),
                                       cmocka_unit_test_teardown(given, clean),
                                       cmocka_unit_test_teardown(every_allocation_may_fail, clean)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
