/* Probes against the definition: one whole forward run for each, softmax written out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "genomics/probe.h"
#include "tests/models.h"

enum { L = 300, V = 16, KINDS = 3, PROBES = 6 };

static dna_alphabet alphabet;
static mb_err error;
static uint8_t token[L];
static mb_model *model[KINDS]; /* causal, RC-equivariant, bidirectional */
static const int64_t FEW[] = {0, 1, 7, 8, 150, 254, 255, 256, 298, 299}, ONE[] = {150};
static float answers[2][PROBES][4 * L];

static dna_probe_options options(int kind) {
    return (dna_probe_options){
        .model = model[kind], .alphabet = &alphabet, .forward = {.threads = 2, .memory = 1 << 28}, .causal = kind == 0};
}

static dna_places list(const int64_t *at, int64_t n) {
    return (dna_places){.at = at, .n = n};
}

/* Sets of all shapes; odd ones reversed. */
static void make_probes(dna_probe *p, int masked, int answer) {
    const dna_places few = list(FEW, 10), one = list(ONE, 1), none = {0};
    const dna_places want[PROBES] = {
        few, one, dna_places_every(5, 8, L), few, dna_places_every(0, 1, L), {.first = 100, .step = 1, .n = 77}};
    const dna_places mask[PROBES] = {few, one, dna_places_every(5, 8, L), none, dna_places_every(3, 7, L), one};
    for (int i = 0; i < PROBES; i++)
        p[i] = (dna_probe){.token = token,
                           .length = L - (i == 5), /* not a multiple of anything */
                           .reversed = i & 1,
                           .want = want[i],
                           .mask = masked ? mask[i] : none,
                           .logp = answers[answer][i]};
}

static int holds(const dna_places *p, int64_t t) {
    for (int64_t i = 0; i < p->n; i++)
        if ((p->at ? p->at[i] : p->first + i * p->step) == t)
            return 1;
    return 0;
}

static void check(const dna_probe_options *o, const dna_probe *p) {
    static float logits[L * V];
    int32_t seen[L];
    const int n = (int)p->length;
    for (int i = 0; i < n; i++) {
        const int base = dna_base_of(&alphabet, token[i]);
        const int shown = holds(&p->mask, i) && base >= 0 ? alphabet.mask_token : token[i];
        seen[p->reversed ? n - 1 - i : i] = p->reversed ? alphabet.complement[shown] : shown;
    }
    assert_int_equal(
        mb_forward_hidden(o->model, seen, n, mb_model_config(o->model)->n_layer, &o->forward, NULL, logits, &error),
        MB_OK);
    for (int64_t k = 0, t = 0; t < n; t++) {
        if (!holds(&p->want, t))
            continue;
        const int64_t row = (p->reversed ? n - 1 - t : t) - o->causal;
        double sum = 0;
        for (int v = 0; row >= 0 && v < V; v++)
            if (o->all_tokens || dna_base_of(&alphabet, v) >= 0)
                sum += exp((double)logits[row * V + v]);
        for (int b = 0; b < 4; b++) {
            const int letter = p->reversed ? alphabet.complement[alphabet.base[b]] : alphabet.base[b];
            const double want = row < 0 ? NAN : logits[row * V + letter] - log(sum), got = p->logp[4 * k + b];
            if (isnan(want) != isnan(got) || fabs(want - got) > 1e-4)
                fail_msg("position %d, base %d: %g, expected %g", (int)t, b, got, want);
        }
        k++;
    }
}

static void by_definition(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (int all = 0; all < 2; all++) {
            dna_probe_options o = options(kind);
            dna_probe p[PROBES];
            o.all_tokens = all;
            make_probes(p, kind != 0, 0);
            assert_int_equal(dna_probes_run(&o, p, PROBES, &error), MB_OK);
            for (int i = 0; i < PROBES; i++)
                check(&o, &p[i]);
        }
}

/* One at a time, on one thread, in no memory: the same bits. */
static void always_the_same_bits(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        dna_probe_options o = options(kind);
        dna_probe p[2][PROBES];
        make_probes(p[0], kind != 0, 0);
        make_probes(p[1], kind != 0, 1);
        assert_int_equal(dna_probes_run(&o, p[0], PROBES, &error), MB_OK);
        o.forward.threads = 1;
        o.forward.memory = 1;
        for (int i = 0; i < PROBES; i++)
            assert_int_equal(dna_probes_run(&o, &p[1][i], 1, &error), MB_OK);
        for (int i = 0; i < PROBES; i++)
            assert_memory_equal(answers[0][i], answers[1][i], (size_t)p[0][i].want.n * 4 * sizeof(float));
    }
}

/* The reverse complement shown the other way round is the sequence itself, to the bit; and to an RC-equivariant model
 * both ways are the same but for rounding. */
static void ways_round(void **state) {
    (void)state;
    uint8_t turned[L];
    memcpy(turned, token, L);
    dna_reverse_tokens(&alphabet, turned, L);
    for (int kind = 0; kind < KINDS; kind++) {
        const dna_probe_options o = options(kind);
        const dna_places all = dna_places_every(0, 1, L), mask = kind ? all : (dna_places){0};
        dna_probe p[3] = {
            {.token = token, .length = L, .want = all, .mask = mask, .logp = answers[0][0]},
            {.token = turned, .length = L, .want = all, .mask = mask, .logp = answers[0][1], .reversed = 1},
            {.token = token, .length = L, .want = all, .mask = mask, .logp = answers[0][2], .reversed = 1}};
        assert_int_equal(dna_probes_run(&o, p, 3, &error), MB_OK);
        for (int64_t t = 0; t < L; t++)
            for (int b = 0; b < 4; b++) {
                const float one = answers[0][0][4 * t + b], other = answers[0][1][4 * (L - 1 - t) + 3 - b];
                assert_memory_equal(&one, &other, sizeof one);
                assert_true(kind != 1 || fabsf(one - answers[0][2][4 * t + b]) < 1e-4F);
            }
    }
}

static int count_in_order(void *user, const dna_probe *p, const float *logp, mb_err *e) {
    int64_t *next = user;
    assert_int_equal(p->mask.first, *next % 7);
    assert_false(isnan(logp[0]));
    return ++*next == 6000 ? mb_fail(e, MB_STOPPED, "enough") : MB_OK;
}

/* More than one run holds; answers in order; an error of the taker ends it. */
static void many(void **state) {
    (void)state;
    int64_t next = 0;
    dna_probes *r = NULL;
    dna_probe_options o = options(1);
    o.take = count_in_order;
    o.user = &next;
    assert_int_equal(dna_probes_open(&r, &o, &error), MB_OK);
    for (int64_t i = 0; i < 6000; i++) {
        const dna_places one = {.first = i % 7, .n = 1};
        const dna_probe p = {.token = token + i % 200, .length = 7, .mask = one, .want = one};
        assert_int_equal(dna_probes_add(r, &p, &error), MB_OK);
    }
    assert_int_equal(next, 4096);
    assert_int_equal(dna_probes_finish(r, &error), MB_STOPPED);
    assert_int_equal(dna_probes_finish(r, &error), MB_OK);
    dna_probes_close(r);
    mb_err_clear(&error);
}

static void places(void **state) {
    (void)state;
    const dna_places sets[] = {
        list(FEW, 10), list(ONE, 1),        dna_places_every(3, 7, 300), dna_places_every(299, 1, 300),
        {0},           {.first = 4, .n = 1}};
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (int64_t t = -1; t < 305; t++) {
            int64_t want = 0;
            while (want < sets[s].n && dna_place(&sets[s], want) < t)
                want++;
            assert_int_equal(dna_place_from(&sets[s], t), want);
        }
    assert_int_equal(dna_places_every(0, 8, 16).n, 2);
    assert_int_equal(dna_places_every(0, 8, 17).n, 3);
    assert_int_equal(dna_places_every(3, 8, 3).n, 0);
}

static void memory_runs_out(void **state) {
    (void)state;
    dna_probe_options o = options(1);
    dna_probe p[PROBES];
    o.forward.threads = 1;
    make_probes(p, 1, 0);
    const long before = mb_mem_live_blocks();
    for (long n = 1;; n++) {
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = dna_probes_run(&o, p, PROBES, &error);
        if (!mb_mem_fault_fired())
            break;
        assert_int_equal(rc, MB_NOMEM);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
    mb_mem_fail_nth(0, 0);
}

static int prepare(void **state) {
    (void)state;
    const mb_config c = {.V = V};
    const mb_config of[KINDS] = {model_mamba(16, 2, V), model_caduceus(16, 3, 1), model_caduceus(16, 2, 0)};
    uint32_t x = 9;
    for (int t = 0; t < L && dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error) == MB_OK; t++) {
        x = x * 1664525 + 1013904223;
        token[t] = (uint8_t)(x >> 28 == 0 && t > 1 ? alphabet.n_token : alphabet.base[x >> 26 & 3]);
    }
    for (int kind = 0; kind < KINDS; kind++)
        model[kind] = model_shaken(&of[kind], NULL);
    return error.status;
}

static int clean_up(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        mb_model_destroy(model[kind]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_definition), cmocka_unit_test(always_the_same_bits),
                                       cmocka_unit_test(ways_round),    cmocka_unit_test(many),
                                       cmocka_unit_test(places),        cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
