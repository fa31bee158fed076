/* Sequences from a causal model: what is drawn, against whole forward runs and against the probabilities. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "genomics/generate.h"
#include "tests/models.h"

enum { V = 16, PROMPT = 150, MOST = 700 };

static dna_alphabet alphabet;
static mb_model *model;
static mb_err error;
static uint8_t prompt[PROMPT];
static char letters[MOST + 1];
static int64_t n_letters;

static int take(void *user, const char *letter, int n, mb_err *e) {
    (void)user;
    (void)e;
    assert_true(n_letters + n <= MOST);
    memcpy(letters + n_letters, letter, (size_t)n);
    n_letters += n;
    letters[n_letters] = 0;
    return MB_OK;
}

static const generate_sink SINK = {take, NULL};

static generate_options options(double temperature, int64_t length) {
    return (generate_options){
        .model = model, .alphabet = &alphabet, .sampling = {temperature, 0, 1}, .seed = 5, .length = length};
}

static mb_session *open_session(int threads) {
    mb_session *s = NULL;
    assert_int_equal(mb_session_create(&s, model, threads, &error), MB_OK);
    return s;
}

static double draw(mb_session *s, const generate_options *o, const generate_start *start, uint64_t stream) {
    double loglik = 0;
    n_letters = 0;
    assert_int_equal(generate_sequence(s, o, start, stream, &SINK, &loglik, &error), MB_OK);
    assert_int_equal(n_letters, o->length);
    return loglik;
}

/* Logits of all positions of prompt and letters, by a forward run. (L, V) */
static void whole_run(int64_t n, float *logits) {
    static int32_t token[PROMPT + MOST];
    const mb_forward_options o = {.threads = 2, .memory = 1 << 28};
    for (int i = 0; i < PROMPT; i++)
        token[i] = prompt[i];
    for (int64_t i = 0; i < n; i++)
        token[PROMPT + i] = alphabet.base[strchr("ACGT", letters[i]) - "ACGT"];
    assert_int_equal(
        mb_forward_hidden(model, token, PROMPT + n, mb_model_config(model)->n_layer, &o, NULL, logits, &error), MB_OK);
}

static float logits[(PROMPT + MOST) * V];

/* Each base drawn is the most probable one of a whole forward run; adds the letters to *kinds. */
static void check_greedy(mb_session *s, const generate_options *o, int *kinds) {
    generate_start start;
    double expected = 0;
    assert_int_equal(generate_prompt(&start, s, o, prompt, PROMPT, &error), MB_OK);
    const double loglik = draw(s, o, &start, 0);
    whole_run(o->length, logits);
    for (int64_t i = 0; i < o->length; i++) {
        const float *row = logits + (PROMPT + i - 1) * V;
        const int base = (int)(strchr("ACGT", letters[i]) - "ACGT");
        double sum = 0;
        for (int b = 0; b < 4; b++) {
            assert_true(row[alphabet.base[b]] <= row[alphabet.base[base]] + 1e-4f);
            sum += exp((double)row[alphabet.base[b]]);
        }
        expected += row[alphabet.base[base]] - log(sum);
        *kinds |= 1 << base;
    }
    assert_true(fabs(loglik - expected) < 1e-3);
    generate_start_fini(&start);
}

/* At temperature 0, after several prompts, so that more than one letter comes: else this would show little. */
static void greedy_is_argmax(void **state) {
    (void)state;
    const generate_options o = options(0, 100);
    mb_session *s = open_session(2);
    int kinds = 0;
    for (int turn = 0; turn < 8; turn++) {
        check_greedy(s, &o, &kinds);
        for (int i = 0; i < PROMPT; i++)
            prompt[i] = (uint8_t)alphabet.base[(prompt[i] + i * (turn + 1) + (i >> 3)) & 3];
    }
    assert_true(kinds & (kinds - 1));
    mb_session_destroy(s);
}

/* Probability of each base after prompt and the letters held. */
static void next_probabilities(double temperature, int64_t n, double *p) {
    double sum = 0;
    whole_run(n, logits);
    const float *row = logits + (PROMPT + n - 1) * V;
    for (int b = 0; b < 4; b++)
        sum += p[b] = exp((double)row[alphabet.base[b]] / temperature);
    for (int b = 0; b < 4; b++)
        p[b] /= sum;
}

/* Pairs of bases, drawn 4,000 times: chi-square with 15 degrees of freedom, 37.7 at 0.1 %. The same draws against
 * probabilities at another temperature must fail. */
static void frequencies_follow_probabilities(void **state) {
    (void)state;
    enum { DRAWS = 4000 };
    const generate_options o = options(0.5, 2);
    double p[16], wrong[16], chi = 0, chi_wrong = 0;
    int count[16] = {0};
    for (int t = 0; t < 2; t++) {
        double first[4], second[4];
        next_probabilities(t ? 1 : 0.5, 0, first);
        for (int b = 0; b < 4; b++) {
            letters[0] = "ACGT"[b];
            next_probabilities(t ? 1 : 0.5, 1, second);
            for (int c = 0; c < 4; c++)
                (t ? wrong : p)[4 * b + c] = first[b] * second[c];
        }
    }
    mb_session *s = open_session(1);
    generate_start start;
    assert_int_equal(generate_prompt(&start, s, &o, prompt, PROMPT, &error), MB_OK);
    for (int i = 0; i < DRAWS; i++) {
        draw(s, &o, &start, (uint64_t)i);
        count[4 * (strchr("ACGT", letters[0]) - "ACGT") + (strchr("ACGT", letters[1]) - "ACGT")]++;
    }
    for (int i = 0; i < 16; i++) {
        chi += pow(count[i] - DRAWS * p[i], 2) / (DRAWS * p[i]);
        chi_wrong += pow(count[i] - DRAWS * wrong[i], 2) / (DRAWS * wrong[i]);
    }
    if (!(chi < 37.7) || !(chi_wrong > 37.7))
        fail_msg("chi-square %g, against another temperature %g", chi, chi_wrong);
    generate_start_fini(&start);
    mb_session_destroy(s);
}

static void same_bits_for_any_threads(void **state) {
    (void)state;
    static char before[MOST + 1];
    const generate_options o = options(1, MOST);
    double loglik = 0;
    for (int threads = 1; threads <= 4; threads++)
        for (int with = 0; with < 2; with++) {
            generate_start start = {0};
            mb_session *s = open_session(threads);
            if (with)
                assert_int_equal(generate_prompt(&start, s, &o, prompt, PROMPT, &error), MB_OK);
            draw(s, &o, &start, 8); /* the session is used a second time */
            const double again = draw(s, &o, &start, 9);
            if (with && threads > 1) {
                assert_string_equal(letters, before);
                assert_true(again == loglik);
            }
            if (with) {
                strcpy(before, letters);
                loglik = again;
            }
            generate_start_fini(&start);
            mb_session_destroy(s);
        }
    assert_true(strspn(letters, "ACGT") == MOST);
}

/* Other streams and seeds give other sequences; without a prompt the first base is drawn evenly. */
static void streams_differ(void **state) {
    (void)state;
    char before[41];
    generate_options o = options(1, 40);
    const generate_start nothing = {0};
    mb_session *s = open_session(1);
    int count[4] = {0};
    draw(s, &o, &nothing, 0);
    strcpy(before, letters);
    draw(s, &o, &nothing, 1);
    assert_string_not_equal(letters, before);
    o.seed++;
    draw(s, &o, &nothing, 0);
    assert_string_not_equal(letters, before);
    o.length = 1;
    for (int i = 0; i < 2000; i++) {
        assert_true(draw(s, &o, &nothing, (uint64_t)i) == 0);
        count[strchr("ACGT", *letters) - "ACGT"]++;
    }
    for (int b = 0; b < 4; b++)
        assert_in_range(count[b], 400, 600);
    mb_session_destroy(s);
}

static void bidirectional_is_refused(void **state) {
    (void)state;
    for (int rcps = 0; rcps < 2; rcps++) {
        const mb_config c = model_caduceus(16, 2, rcps);
        mb_model *m = model_seeded(&c, NULL);
        mb_err_clear(&error);
        assert_int_equal(generate_check(m, "x", &error), MB_NOTSUP);
        assert_non_null(strstr(error.text, "x: is bidirectional"));
        mb_model_destroy(m);
    }
    mb_err_clear(&error);
    assert_int_equal(generate_check(model, "x", &error), MB_OK);
}

static void probabilities(void **state) {
    (void)state;
    const float logit[4] = {0, (float)log(4), (float)log(2), (float)log(3)};
    const struct {
        dna_sampling s;
        double p[4];
    } want[] = {{{1, 0, 1}, {0.1, 0.4, 0.2, 0.3}},
                {{1, 2, 1}, {0, 4 / 7., 0, 3 / 7.}},
                {{1, 4, 0.7}, {0, 4 / 7., 0, 3 / 7.}},
                {{1, 0, 0.71}, {0, 4 / 9., 2 / 9., 3 / 9.}},
                {{1, 3, 0.01}, {0, 1, 0, 0}},
                {{0, 0, 1}, {0, 1, 0, 0}},
                {{0.5, 0, 1}, {1 / 30., 16 / 30., 4 / 30., 9 / 30.}}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double p[4];
        dna_sampling_probabilities(&want[i].s, logit, p);
        for (int b = 0; b < 4; b++)
            assert_true(fabs(p[b] - want[i].p[b]) < 1e-6);
    }
    const float equal[4] = {2, 2, 2, 2};
    double p[4];
    dna_sampling_probabilities(&(dna_sampling){0, 0, 1}, equal, p);
    assert_true(p[0] == 1 && p[1] == 0 && p[2] == 0 && p[3] == 0);
    const double some[4] = {0, 0.5, 0, 0.5};
    assert_int_equal(dna_sample(some, 0), 1);
    assert_int_equal(dna_sample(some, 0.4999), 1);
    assert_int_equal(dna_sample(some, 0.5), 3);
    assert_int_equal(dna_sample((double[]){0.5, 0.4, 0, 0}, 0.999999), 1);
    assert_true(fabs(dna_sampling_log(logit, 2) - log(0.2)) < 1e-6);
}

static int refuse(void *user, const char *letter, int n, mb_err *e) {
    (void)user;
    (void)letter;
    (void)n;
    return mb_fail(e, MB_IO, "full");
}

/* Errors of the sink, a stop and each allocation end the drawing with their own status, and nothing leaks. */
static void failures(void **state) {
    (void)state;
    generate_options o = options(1, 600);
    mb_session *s = open_session(1);
    generate_start start = {0};
    double loglik;
    atomic_int stop = 1;
    mb_err_clear(&error);
    assert_int_equal(generate_sequence(s, &o, &start, 0, &(generate_sink){refuse, NULL}, &loglik, &error), MB_IO);
    o.stop = &stop;
    mb_err_clear(&error);
    n_letters = 0;
    assert_int_equal(generate_sequence(s, &o, &start, 0, &SINK, &loglik, &error), MB_STOPPED);
    mb_err_clear(&error);
    assert_int_equal(generate_prompt(&start, s, &o, prompt, PROMPT, &error), MB_STOPPED);
    o.stop = NULL;
    o.length = 3;
    const long before = mb_mem_live_blocks();
    for (long n = 1, fired = 1; fired; n++) {
        mb_err_clear(&error);
        n_letters = 0;
        mb_mem_fail_nth(n, 0);
        int rc = generate_prompt(&start, s, &o, prompt, PROMPT, &error);
        if (rc == MB_OK)
            rc = generate_sequence(s, &o, &start, 0, &SINK, &loglik, &error);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        generate_start_fini(&start);
        assert_int_equal(mb_mem_live_blocks(), before);
        assert_true(n < 50);
    }
    mb_session_destroy(s);
}

static int prepare(void **state) {
    (void)state;
    const mb_config c = {.V = V}, causal = model_mamba(24, 3, V);
    int32_t token[PROMPT];
    model = model_shaken(&causal, NULL);
    const int rc = dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error);
    model_tokens(token, PROMPT, 0, 4, 3);
    for (int i = 0; i < PROMPT; i++)
        prompt[i] = (uint8_t)alphabet.base[token[i]];
    return rc;
}

static int finish(void **state) {
    (void)state;
    mb_model_destroy(model);
    return mb_mem_live_blocks() != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(probabilities),
                                       cmocka_unit_test(greedy_is_argmax),
                                       cmocka_unit_test(frequencies_follow_probabilities),
                                       cmocka_unit_test(same_bits_for_any_threads),
                                       cmocka_unit_test(streams_differ),
                                       cmocka_unit_test(bidirectional_is_refused),
                                       cmocka_unit_test(failures)};
    return cmocka_run_group_tests(tests, prepare, finish);
}
