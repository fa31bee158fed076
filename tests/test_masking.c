/* Masks and targets: who is chosen, what is shown, weights, next tokens; sequence without bases. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "genomics/masking.h"
#include "tests/chance.h"

static dna_alphabet alphabet, plantcad;
static const dna_masking MLM = {
    .objective = DNA_MLM, .rate = 0.15, .masked = 0.8, .random = 0.1, .soft_weight = 1, .alphabet = &alphabet};

enum { LONG = 200000 };

static void tokens_of(int32_t *token, const dna_alphabet *a) {
    mb_rng r;
    mb_rng_init(&r, 99, 0);
    for (int i = 0; i < LONG; i++) {
        const uint32_t word = mb_rng_u32(&r);
        token[i] = word % 11 == 0 ? a->n_token : a->base[word >> 30] | (word & 64 ? DNA_SOFT : 0);
    }
}

static void mask_fractions(void **state) {
    (void)state;
    int32_t *before = malloc(LONG * sizeof *before), *token = malloc(LONG * sizeof *token),
            *target = malloc(LONG * sizeof *target);
    assert_true(before && token && target);
    for (int k = 0; k < 4; k++) {
        const dna_alphabet *a = k & 1 ? &plantcad : &alphabet;
        const int ids = k & 1 ? 7 : 12, any = k < 2;
        dna_masking m = MLM;
        m.alphabet = a;
        m.replacement = any ? DNA_REPLACE_ANY : DNA_REPLACE_BASES;
        tokens_of(before, a);
        memcpy(token, before, LONG * sizeof *token);
        const dna_mask_sums sums = dna_mask_window(&m, 17, 5, '+', LONG, token, target, NULL);
        double expected[16] = {0}, bases = 0, base_count[4] = {0}, base_expected[4];
        int64_t shown[16] = {0}, targets = 0, chosen_base[4] = {0}, lag = 0;
        for (int i = 0; i < LONG; i++) {
            const int32_t base = before[i] & DNA_TOKEN_BITS;
            bases += base != a->n_token;
            for (int j = 0; j < 4; j++) {
                base_count[j] += base == a->base[j];
                chosen_base[j] += target[i] != DNA_IGNORE && base == a->base[j];
            }
            if (target[i] == DNA_IGNORE) {
                assert_int_equal(token[i], base);
                continue;
            }
            assert_int_equal(target[i], base);
            assert_int_not_equal(base, a->n_token);
            targets++;
            shown[token[i]]++;
            lag += i > 0 && target[i - 1] != DNA_IGNORE;
        }
        assert_int_equal(sums.targets, targets);
        assert_true(sums.weight == (double)targets);
        assert_true(fabs((double)targets - 0.15 * bases) < 5 * sqrt(0.15 * 0.85 * bases));
        /* neighbours are chosen independently: pairs, of which 0.15^2 of the pairs of bases (10/11 each) */
        const double pairs = LONG * 0.0225 * (10. / 11) * (10. / 11);
        assert_true(fabs((double)lag - pairs) < 6 * sqrt(pairs));
        for (int j = 0; j < 4; j++)
            base_expected[j] = base_count[j] * (double)targets / bases;
        assert_true(chi_square(base_expected, chosen_base, 4) < chi_bound(3));
        /* shown: 0.8 mask, 0.1 spread over the replacements, 0.1 the base itself */
        expected[a->mask_token] += 0.8 * (double)targets;
        for (int id = 0; id < ids; id++)
            expected[id] += any ? 0.1 * (double)targets / ids : 0;
        for (int j = 0; j < 4; j++)
            expected[a->base[j]] += 0.1 * (double)chosen_base[j] + (any ? 0 : 0.025 * (double)targets);
        for (int id = 0; id < 16; id++)
            if (expected[id] == 0)
                assert_int_equal(shown[id], 0);
        const double chi = chi_square(expected, shown, 16);
        if (!(chi < chi_bound(ids - 1)))
            fail_msg("shown tokens: chi-square %g with %d degrees of freedom", chi, ids - 1);
        expected[a->mask_token] *= 0.97; /* a planted fault: 0.776 for 0.8 */
        assert_true(chi_square(expected, shown, 16) > 9);
    }
    free(before);
    free(token);
    free(target);
}

static void masks_differ_by_key_and_window(void **state) {
    (void)state;
    int32_t token[200], first[200], target[200];
    int same = 0;
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 200; i++)
            token[i] = alphabet.base[i & 3];
        dna_mask_window(&MLM, k == 1, k == 2, '+', 200, token, target, NULL);
        for (int i = 0; k == 0 && i < 200; i++)
            first[i] = target[i];
        same += memcmp(first, target, sizeof first) == 0;
    }
    assert_int_equal(same, 1);
}

/* Every base a target; none; soft-masked ones without weight. */
static void weights_and_limits(void **state) {
    (void)state;
    enum { A = 7, C = 8, G = 9, T = 10, N = 4, SOFT_C = C | DNA_SOFT, SOFT_T = T | DNA_SOFT, X = DNA_IGNORE };
    static const int32_t IN[8] = {A, SOFT_C, N, G, SOFT_T, T, N, A};
    int32_t token[8], target[8];
    float weight[8];
    dna_masking m = MLM;
    m.rate = 1;
    m.masked = 1;
    m.random = 0;
    m.soft_weight = 0.5F;
    memcpy(token, IN, sizeof IN);
    dna_mask_sums sums = dna_mask_window(&m, 1, 2, '+', 8, token, target, weight);
    static const int32_t SHOWN[8] = {3, 3, N, 3, 3, 3, N, 3}, TARGET[8] = {A, C, X, G, T, T, X, A};
    static const float WEIGHT[8] = {1, 0.5F, 0, 1, 0.5F, 1, 0, 1};
    assert_memory_equal(token, SHOWN, sizeof token);
    assert_memory_equal(target, TARGET, sizeof target);
    assert_memory_equal(weight, WEIGHT, sizeof weight);
    assert_int_equal(sums.targets, 6);
    assert_true(sums.weight == 5);
    m.soft_weight = 0;
    memcpy(token, IN, sizeof IN);
    sums = dna_mask_window(&m, 1, 2, '+', 8, token, target, weight);
    static const int32_t HARD[8] = {A, X, X, G, X, T, X, A};
    assert_memory_equal(token, SHOWN, sizeof token);
    assert_memory_equal(target, HARD, sizeof target);
    assert_int_equal(sums.targets, 4);
    assert_true(sums.weight == 4);
    m.rate = 1e-12; /* less than 2^-32: never */
    memcpy(token, IN, sizeof IN);
    sums = dna_mask_window(&m, 1, 2, '+', 8, token, target, weight);
    assert_true(sums.targets == 0 && sums.weight == 0);
}

static void next_tokens(void **state) {
    (void)state;
    enum { A = 7, C = 8, G = 9, T = 10, N = 4, SOFT_C = C | DNA_SOFT, SOFT_T = T | DNA_SOFT, X = DNA_IGNORE };
    static const int32_t IN[8] = {A, SOFT_C, N, G, SOFT_T, T, N, A};
    static const int32_t SHOWN[8] = {A, C, N, G, T, T, N, A}, TARGET[8] = {C, X, G, T, T, X, A, X};
    static const float WEIGHT[8] = {0.5F, 0, 1, 0.5F, 1, 0, 1, 0};
    int32_t token[8], target[8];
    float weight[8];
    dna_masking m = {.objective = DNA_CAUSAL, .soft_weight = 0.5F, .alphabet = &alphabet};
    memcpy(token, IN, sizeof IN);
    dna_mask_sums sums = dna_mask_window(&m, 1, 2, '+', 8, token, target, weight);
    assert_memory_equal(token, SHOWN, sizeof token);
    assert_memory_equal(target, TARGET, sizeof target);
    assert_memory_equal(weight, WEIGHT, sizeof weight);
    assert_int_equal(sums.targets, 5);
    assert_true(sums.weight == 4);
    m.soft_weight = 0;
    memcpy(token, IN, sizeof IN);
    sums = dna_mask_window(&m, 1, 2, '+', 8, token, target, NULL);
    static const int32_t HARD[8] = {X, X, G, X, T, X, A, X};
    assert_memory_equal(target, HARD, sizeof target);
    assert_int_equal(sums.targets, 3);
    *token = A; /* one base has no next one */
    sums = dna_mask_window(&m, 1, 2, '+', 1, token, target, weight);
    assert_true(sums.targets == 0 && sums.weight == 0 && *token == A && *target == X && *weight == 0);
}

static void what_masking_refuses(void **state) {
    (void)state;
    static const dna_masking WRONG[] = {{.rate = 0},
                                        {.rate = 1.1},
                                        {.rate = NAN},
                                        {.rate = 0.1, .masked = 0.8, .random = 0.3},
                                        {.rate = 0.1, .masked = -0.1},
                                        {.rate = 0.1, .soft_weight = -1},
                                        {.rate = 0.1, .soft_weight = INFINITY},
                                        {.objective = DNA_CAUSAL, .soft_weight = NAN}};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++)
        assert_int_equal(dna_masking_check(&WRONG[i], NULL), MB_RANGE);
    assert_int_equal(dna_masking_check(&MLM, NULL), MB_OK);
    /* 0.7 + 0.2 + 0.1 is not 1 in binary; what is meant is taken */
    const dna_masking tenths = {.rate = 1, .masked = 0.7 + 0.2, .random = 0.1, .soft_weight = 0};
    assert_int_equal(dna_masking_check(&tenths, NULL), MB_OK);
}

static int prepare(void **state) {
    (void)state;
    const mb_config c = {.V = 16}, p = {.V = 8};
    mb_err e = {0};
    int rc = dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &e);
    return rc ? rc : dna_alphabet_init(&plantcad, &p, &(dna_policies){0}, &e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mask_fractions),       cmocka_unit_test(masks_differ_by_key_and_window),
        cmocka_unit_test(weights_and_limits),   cmocka_unit_test(next_tokens),
        cmocka_unit_test(what_masking_refuses),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
