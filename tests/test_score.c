/* Likelihoods against the definition, one forward run per masked base. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "genomics/score.h"
#include "tests/models.h"

enum { L = 41, V = 16 };

static dna_alphabet alphabet;
static mb_err error;
static uint8_t token[2][L];
static dna_item items[2];
static dna_batch batch = {.item = items, .n = 2};

static int base_of(int t) {
    for (int b = 0; b < 4; b++)
        if (alphabet.base[b] == t)
            return b;
    return -1;
}

/* log p of the base at position t of x (length n), from the logits of row `row` after masking what masked says. */
static double log_p(const mb_model *m, const uint8_t *x, int n, const char *masked, int row, int t, int softmax) {
    int32_t seen[L];
    static float logits[L * V];
    const mb_forward_options o = {.threads = 1, .memory = 1 << 28};
    for (int i = 0; i < n; i++)
        seen[i] = masked && masked[i] ? alphabet.mask_token : x[i];
    assert_int_equal(mb_forward_hidden(m, seen, n, mb_model_config(m)->n_layer, &o, NULL, logits, &error), MB_OK);
    double sum = 0;
    for (int v = 0; v < V; v++)
        if (softmax == SCORE_SOFTMAX_ALL || base_of(v) >= 0)
            sum += exp((double)logits[row * V + v]);
    return logits[row * V + x[t]] - log(sum);
}

static double expected(const score_options *o, const uint8_t *x, int n, int t) {
    char masked[L] = {0};
    if (base_of(x[t]) < 0)
        return NAN;
    if (o->scheme == SCORE_CAUSAL)
        return t == 0 ? NAN : log_p(o->model, x, n, NULL, t - 1, t, o->softmax);
    const int64_t K = o->mask_stride && o->mask_stride < n ? o->mask_stride : n;
    for (int i = 0; i < n; i++)
        masked[i] = i % K == t % K && base_of(x[i]) >= 0;
    return log_p(o->model, x, n, masked, t, t, o->softmax);
}

static void check(const score_options *o) {
    static float scores[2][2 * L];
    float *logp[2] = {scores[0], scores[1]};
    assert_int_equal(score_batch(o, &batch, logp, &error), MB_OK);
    for (int i = 0; i < 2; i++) {
        const int n = (int)items[i].length;
        uint8_t turned[L];
        memcpy(turned, token[i], (size_t)n);
        dna_reverse_tokens(&alphabet, turned, n);
        for (int view = 0; view <= o->both; view++)
            for (int t = 0; t < n; t++) {
                const double want = view ? expected(o, turned, n, n - 1 - t) : expected(o, token[i], n, t);
                const double got = scores[i][view * n + t];
                if (isnan(want) != isnan(got) || fabs(want - got) > 1e-4)
                    fail_msg("item %d, view %d, base %d: %g, expected %g", i, view, t, got, want);
            }
    }
}

static mb_model *open_model(int kind) {
    const mb_config causal = model_mamba(16, 2, V), ps = model_caduceus(16, 3, 1), ph = model_caduceus(16, 2, 0);
    return model_seeded(kind == 0 ? &causal : kind == 1 ? &ps : &ph, NULL);
}

static void by_definition(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        mb_model *m = open_model(kind);
        score_options o = {.model = m,
                           .alphabet = &alphabet,
                           .forward = {.threads = 2, .memory = 1 << 28},
                           .scheme = kind == 0 ? SCORE_CAUSAL : SCORE_MASKED};
        for (int way = 0; way < 4; way++) {
            o.softmax = way & 1 ? SCORE_SOFTMAX_ALL : SCORE_SOFTMAX_ACGT;
            o.both = kind != 1 && way >> 1;
            for (int64_t k = 0; k < (kind ? 100 : 1); k += 5) {
                o.mask_stride = k;
                if (k <= 10 || k > 90)
                    check(&o);
            }
        }
        mb_model_destroy(m);
    }
}

/* An RC-equivariant model finds a sequence and its reverse complement equally probable, base by base. */
static void strands_are_equal(void **state) {
    (void)state;
    mb_model *m = open_model(1);
    const score_options o = {
        .model = m, .alphabet = &alphabet, .forward = {.threads = 2, .memory = 1 << 28}, .scheme = SCORE_MASKED};
    static float scores[2][2][L];
    for (int turn = 0; turn < 2; turn++) {
        float *logp[2] = {scores[turn][0], scores[turn][1]};
        assert_int_equal(score_batch(&o, &batch, logp, &error), MB_OK);
        for (int i = 0; i < 2; i++)
            dna_reverse_tokens(&alphabet, token[i], items[i].length);
    }
    for (int i = 0; i < 2; i++)
        for (int64_t t = 0; t < items[i].length; t++) {
            const float a = scores[0][i][t], b = scores[1][i][items[i].length - 1 - t];
            assert_true((isnan(a) && isnan(b)) || fabsf(a - b) < 1e-4f);
        }
    mb_model_destroy(m);
}

static void memory_runs_out(void **state) {
    (void)state;
    mb_model *m = open_model(1);
    const score_options o = {.model = m,
                             .alphabet = &alphabet,
                             .forward = {.threads = 1, .memory = 1 << 28},
                             .scheme = SCORE_MASKED,
                             .mask_stride = 8};
    static float scores[2][L];
    float *logp[2] = {scores[0], scores[1]};
    assert_int_equal(score_batch(&o, &batch, logp, &error), MB_OK); /* heads are prepared at the first use */
    const long before = mb_mem_live_blocks();
    for (long n = 1;; n++) {
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = score_batch(&o, &batch, logp, &error);
        if (!mb_mem_fault_fired())
            break;
        assert_int_equal(rc, MB_NOMEM);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
    mb_mem_fail_nth(0, 0);
    mb_model_destroy(m);
}

static int prepare(void **state) {
    (void)state;
    const mb_config c = {.V = V};
    uint32_t x = 5;
    int rc = dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error);
    for (int i = 0; i < 2; i++)
        for (int t = 0; t < L; t++) {
            x = x * 1664525 + 1013904223;
            token[i][t] = (uint8_t)(x >> 28 == 0 ? alphabet.n_token : alphabet.base[x >> 26 & 3]);
        }
    items[0] = (dna_item){.token = token[0], .length = L, .n_count = 1};
    items[1] = (dna_item){.token = token[1], .length = 3};
    batch.tokens = L + 3;
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_definition), cmocka_unit_test(strands_are_equal),
                                       cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, prepare, NULL);
}
