/* What a trained model has to beat: k-mer naive Bayes and Markov models, against counts by hand, laws of probability, a
 * source whose entropy is known, and on real data the figures measured with another program. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/rng.h"
#include "genomics/folds.h"
#include "genomics/kmer_bayes.h"
#include "genomics/markov.h"
#include "tests/models.h"
#include "tests/scratch.h"

static mb_err error;
static dna_alphabet alphabet;

static int set_up(void **state) {
    (void)state;
    const mb_config c = model_caduceus(8, 1, 1);
    return dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error);
}

static int clean(void **state) {
    (void)state;
    return mb_mem_live_blocks() != 0;
}

static uint8_t *tokens(const char *letters, uint8_t *out) {
    dna_counts counts = {0};
    memcpy(out, letters, strlen(letters));
    assert_int_equal(dna_tokenize(&alphabet, out, (int64_t)strlen(letters), &counts), -1);
    return out;
}

static void load(dna_labelled *d, char *const *inputs, int n) {
    const dna_labelled_files files = {.inputs = inputs, .n = n};
    mb_err_clear(&error);
    if (dna_labelled_read(d, &files, 1, &(dna_labelled_options){0}, &alphabet, &error))
        fail_msg("%s", error.text);
}

/* k = 1, alpha = 1. Class 0: AAC and GTT: A,T 2, C,G 1 each of 6. Class 1: GG and CC: C,G 2 of 4, twice with two
 * examples: C,G 4 of 8. P(A|0) = 3/10, P(C|0) = 2/10, P(A|1) = 1/12, P(C|1) = 5/12; P(0) = 1/3. */
static void bayes_by_hand(void **state) {
    (void)state;
    dna_labelled d;
    dna_kmer_bayes *b = NULL;
    char *inputs[] = {(char *)(uintptr_t)scratch_text("b.csv", "seq,label\nAANC,0\nGG,1\nCC,1\n")};
    static const int64_t ALL[] = {0, 1, 2};
    uint8_t x[8];
    double p[2], q[2];
    load(&d, inputs, 1);
    assert_int_equal(dna_kmer_bayes_train(&b, &d, &alphabet, ALL, 3, 1, 2, 1, &error), MB_OK);
    dna_kmer_bayes_predict(b, tokens("ATGN", x), 4, p);
    const double zero = 1.0 / 3 * .3 * .3 * .2, one = 2.0 / 3 / 12 / 12 * 5 / 12;
    assert_true(fabs(p[0] - zero / (zero + one)) < 1e-6 && fabs(p[0] + p[1] - 1) < 1e-15);
    dna_kmer_bayes_predict(b, x, 0, p);
    assert_true(fabs(p[0] - 1.0 / 3) < 1e-15);
    dna_kmer_bayes_free(b);
    assert_int_equal(dna_kmer_bayes_train(&b, &d, &alphabet, ALL, 1, 3, 2, 1, &error),
                     MB_OK); /* no example of class 1 */
    dna_kmer_bayes_predict(b, tokens("AACGGT", x), 6, p);
    dna_reverse_tokens(&alphabet, x, 6);
    dna_kmer_bayes_predict(b, x, 6, q);
    assert_true(p[0] == 1 && p[1] == 0 && q[0] == 1);
    dna_kmer_bayes_free(b);
    /* The given strand alone: P(A|0) = 3/7, P(C|0) = 2/7, P(T|0) = 1/7; P(A|1) = P(T|1) = 1/8, P(C|1) = 3/8. */
    assert_int_equal(dna_kmer_bayes_train(&b, &d, &alphabet, ALL, 3, 1, 1, 1, &error), MB_OK);
    dna_kmer_bayes_predict(b, tokens("ACT", x), 3, p);
    const double given0 = 1.0 / 3 * 3 / 7 * 2 / 7 / 7, given1 = 2.0 / 3 / 8 * 3 / 8 / 8;
    assert_true(fabs(p[0] - given0 / (given0 + given1)) < 1e-6);
    dna_kmer_bayes_free(b);
    static const int WRONG[] = {0, 11};
    for (int i = 0; i < 2; i++)
        assert_int_equal(dna_kmer_bayes_train(&b, &d, &alphabet, ALL, 3, WRONG[i], 2, 1, &error), MB_RANGE);
    assert_int_equal(dna_kmer_bayes_train(&b, &d, &alphabet, ALL, 3, 2, 2, 0, &error), MB_RANGE);
    assert_int_equal(dna_kmer_bayes_train(&b, &d, &alphabet, ALL, 0, 2, 2, 1, &error), MB_RANGE);
    dna_labelled_fini(&d);
}

static void bayes_of_both_strands(void **state) {
    (void)state;
    dna_labelled d;
    dna_kmer_bayes *b = NULL;
    char *inputs[] = {(char *)(uintptr_t)scratch_text(
        "b.csv", "seq,label\nACGTTGCAAGCTNAACCAGT,0\nGGGATCGATTTACGGAC,1\nCCATATAGAGACACACG,2\n")};
    static const int64_t ALL[] = {0, 1, 2};
    uint8_t x[20];
    load(&d, inputs, 1);
    for (int k = 1; k <= DNA_KMER_MAX; k++) {
        double p[3], q[3];
        assert_int_equal(dna_kmer_bayes_train(&b, &d, &alphabet, ALL, 3, k, 2, .5, &error), MB_OK);
        tokens("ACGGTTNACAGTAGAATCCA", x);
        dna_kmer_bayes_predict(b, x, 20, p);
        dna_reverse_tokens(&alphabet, x, 20);
        dna_kmer_bayes_predict(b, x, 20, q);
        for (int c = 0; c < 3; c++)
            assert_true(fabs(p[c] - q[c]) < 1e-12);
        for (int c = 0; c < 3; c++) { /* each class takes back its own */
            dna_kmer_bayes_predict(b, d.at[c].token, d.at[c].length, p);
            assert_true(p[c] > (k < 2 ? 0.2 : 0.5));
        }
        dna_kmer_bayes_free(b);
    }
    dna_labelled_fini(&d);
}

/* Accuracy of k-mer naive Bayes on a random fifth. */
static double floor_of(dna_labelled *d, int k, double alpha, uint64_t seed) {
    static const double FRACTION[2] = {.8, .2};
    dna_groups g;
    dna_kmer_bayes *b = NULL;
    int *part = malloc((size_t)d->n * sizeof *part), right = 0, tested = 0;
    int64_t *train = malloc((size_t)d->n * sizeof *train), n = 0;
    double p[8];
    assert_int_equal(dna_groups_find(&g, d, &alphabet, &error), MB_OK);
    assert_int_equal(dna_folds_random(part, d, &g, FRACTION, 2, seed, &error), MB_OK);
    for (int64_t i = 0; i < d->n; i++)
        if (part[i] == 0)
            train[n++] = i;
    assert_int_equal(dna_kmer_bayes_train(&b, d, &alphabet, train, n, k, 2, alpha, &error), MB_OK);
    for (int64_t i = 0; i < d->n; i++) {
        if (part[i] == 0)
            continue;
        int best = 0;
        dna_kmer_bayes_predict(b, d->at[i].token, d->at[i].length, p);
        for (int c = 1; c < d->n_labels; c++)
            best = p[c] > p[best] ? c : best;
        tested++;
        right += best == d->at[i].label;
    }
    dna_kmer_bayes_free(b);
    dna_groups_fini(&g);
    free(part);
    free(train);
    return (double)right / tested;
}

/* Figures of another program on random fifths: .904 for promoters of E. coli, .772 for human promoters without TATA
 * box. */
static void bayes_floors(void **state) {
    (void)state;
    char *there = shared_dir() ? mb_asprintf("%s/data/genomics/labelled", shared_dir()) : NULL;
    const int absent = !there || !mb_dir_exists(there);
    mb_free(there);
    if (absent) {
        printf("SKIP: no shared data (set SEQMAMBA_SHARED)\n");
        skip();
    }
    dna_labelled d;
    const char *const folder = "data/genomics/labelled/cnnpromoter";
    char *inputs[2] = {mb_asprintf("%s/%s/Ecoli_prom.fa=1", shared_dir(), folder),
                       mb_asprintf("%s/%s/Ecoli_non_prom.fa=0", shared_dir(), folder)};
    load(&d, inputs, 2);
    assert_int_equal(d.n, 3839);
    double mean[2][11] = {{0}};
    for (int k = 3; k <= 6; k++)
        for (uint64_t seed = 1; seed <= 3; seed++)
            mean[0][k] += floor_of(&d, k, 1, seed) / 3;
    dna_labelled_fini(&d);
    mb_free(inputs[0]);
    mb_free(inputs[1]);
    char *human = mb_asprintf("%s/data/genomics/labelled/gb_human_nontata_promoters_test.tsv", shared_dir());
    load(&d, &human, 1);
    mb_free(human);
    for (int k = 3; k <= 6; k++)
        for (uint64_t seed = 1; seed <= 3; seed++)
            mean[1][k] += floor_of(&d, k, 1, seed) / 3;
    dna_labelled_fini(&d);
    for (int k = 3; k <= 6; k++)
        printf("k %d: E. coli promoters %.3f, human non-TATA %.3f\n", k, mean[0][k], mean[1][k]);
    assert_true(fabs(mean[0][6] - .904) < .02 && fabs(mean[1][3] - .772) < .02);
}

/* ---- Markov models ----------------------------------------------------------------------------------------------- */

/* Probabilities sum to 1, do not depend on the base asked for, and are those of the other strand turned round when
 * asked from both sides. */
static void markov_laws(void **state) {
    (void)state;
    enum { N = 300 };
    uint8_t x[N], y[N];
    mb_rng r;
    mb_rng_init(&r, 1, 0);
    for (int i = 0; i < N; i++)
        x[i] = (uint8_t)(i % 97 == 50 ? alphabet.n_token : alphabet.base[mb_rng_below(&r, 16) % 7 % 4]);
    memcpy(y, x, N);
    dna_reverse_tokens(&alphabet, y, N);
    for (int k = 0; k <= 6; k++)
        for (int kind = 0; kind < 2 - k % 2; kind++)
            for (int smoothing = 0; smoothing < 2; smoothing++) {
                dna_markov *m = NULL;
                assert_int_equal(dna_markov_create(&m, &alphabet, kind, k, smoothing, .5, &error), MB_OK);
                dna_markov_add(m, x, N);
                for (int i = 0; i < N; i++) {
                    double p[4], q[4], s[4];
                    dna_markov_at(m, x, N, i, 1, p);
                    dna_markov_at(m, y, N, N - 1 - i, 1, q);
                    const uint8_t kept = x[i];
                    x[i] = (uint8_t)(i % 3 ? alphabet.n_token : alphabet.base[i % 4]);
                    dna_markov_at(m, x, N, i, 1, s);
                    assert_memory_equal(p, s, sizeof p);
                    dna_markov_at(m, x, N, i, 0, s);
                    x[i] = kept;
                    assert_true(fabs(p[0] + p[1] + p[2] + p[3] - 1) < 1e-12);
                    assert_true(fabs(s[0] + s[1] + s[2] + s[3] - 1) < 1e-12);
                    for (int b = 0; b < 4 && kind == DNA_MARKOV_TWO_SIDED; b++)
                        assert_true(fabs(p[b] - q[3 - b]) < 1e-12);
                }
                dna_markov_free(m);
            }
}

/* AACA and, turned round, TGTT. Order 1, alpha 1. Causal: A is followed by A 1, C 1; C by A 1; T by G 1, T 1; G by T 1.
 * Two-sided, order 2: A(A)C, A(C)A, T(G)T, G(T)T. */
static void markov_by_hand(void **state) {
    (void)state;
    uint8_t x[4], y[3];
    double p[4];
    dna_markov *m = NULL;
    tokens("AACA", x);
    assert_int_equal(dna_markov_create(&m, &alphabet, DNA_MARKOV_CAUSAL, 1, DNA_MARKOV_ADD, 1, &error), MB_OK);
    dna_markov_add(m, x, 4);
    dna_markov_at(m, tokens("ANG", y), 3, 1, 0, p);
    assert_true(fabs(p[0] - 2.0 / 6) < 1e-15 && fabs(p[1] - 2.0 / 6) < 1e-15 && fabs(p[2] - 1.0 / 6) < 1e-15);
    dna_markov_at(m, y, 3, 2, 0, p); /* behind N: order 0, A 3, C 1, G 1, T 3 of 8 */
    assert_true(fabs(p[0] - 4.0 / 12) < 1e-15 && fabs(p[1] - 2.0 / 12) < 1e-15 && fabs(p[3] - 4.0 / 12) < 1e-15);
    /* A(b)G: P(b|A) P(G|b) with P(G|A) = 1/6, P(G|C) = 1/5, P(G|G) = 1/5, P(G|T) = 2/6 */
    dna_markov_at(m, y, 3, 1, 1, p);
    const double w[4] = {2.0 / 6 / 6, 2.0 / 6 / 5, 1.0 / 6 / 5, 1.0 / 6 * 2 / 6}, sum = w[0] + w[1] + w[2] + w[3];
    for (int b = 0; b < 4; b++)
        assert_true(fabs(p[b] - w[b] / sum) < 1e-15);
    dna_markov_free(m);
    assert_int_equal(dna_markov_create(&m, &alphabet, DNA_MARKOV_CAUSAL, 1, DNA_MARKOV_BACK_OFF, 2, &error), MB_OK);
    dna_markov_add(m, x, 4);
    dna_markov_at(m, tokens("CNG", y), 3, 1, 0, p); /* (n(C,b) + 2 (n(b) + 2/4) / (8 + 2)) / (1 + 2) */
    assert_true(fabs(p[0] - (1 + 2 * 3.5 / 10) / 3) < 1e-15 && fabs(p[2] - 2 * 1.5 / 10 / 3) < 1e-15);
    dna_markov_free(m);
    assert_int_equal(dna_markov_create(&m, &alphabet, DNA_MARKOV_TWO_SIDED, 2, DNA_MARKOV_ADD, 1, &error), MB_OK);
    dna_markov_add(m, x, 4);
    dna_markov_at(m, tokens("ATC", y), 3, 1, 1, p);
    assert_true(fabs(p[0] - 2.0 / 5) < 1e-15 && fabs(p[1] - 1.0 / 5) < 1e-15);
    dna_markov_at(m, y, 3, 2, 1, p); /* at the end: order 0 */
    assert_true(fabs(p[0] - 4.0 / 12) < 1e-15);
    dna_markov_free(m);
}

/* A source of order 2 with a known entropy. Counted on both strands it is one that turns round half the time, so that a
 * causal model nears the entropy from above as its order lets it tell the strands apart; the other side helps. */
static void markov_source(void **state) {
    (void)state;
    enum { N = 200000, PIECE = N / 20 };
    uint8_t *x = malloc(N);
    double entropy = 0;
    mb_rng r;
    mb_rng_init(&r, 7, 0);
    int a = 0, b = 0;
    for (int i = 0; i < N; i++) { /* after a, b: base (a + 2 b) mod 4 with probability 0.7, others with 0.1 */
        const int likely = mb_rng_uniform(&r) < .6, next = likely ? (a + 2 * b) % 4 : (int)mb_rng_below(&r, 4);
        x[i] = (uint8_t)alphabet.base[next];
        a = b;
        b = next;
    }
    entropy = -.7 * log2(.7) - .3 * log2(.1);
    double bits[5], masked[5], accuracy = 0;
    for (int k = 1; k <= 4; k++) {
        dna_markov *m = NULL;
        dna_markov_score one = {0}, two = {0};
        assert_int_equal(dna_markov_create(&m, &alphabet, DNA_MARKOV_CAUSAL, k, DNA_MARKOV_BACK_OFF, 1, &error), MB_OK);
        for (int part = 0; part < 20; part += 2) /* every other piece is for the test */
            dna_markov_add(m, x + (ptrdiff_t)part * PIECE, PIECE);
        for (int part = 1; part < 20; part += 2) {
            dna_markov_score_add(m, x + (ptrdiff_t)part * PIECE, PIECE, NULL, 0, &one);
            dna_markov_score_add(m, x + (ptrdiff_t)part * PIECE, PIECE, NULL, 1, &two);
        }
        assert_true(one.bases == N / 2 && two.bases == N / 2);
        bits[k] = one.bits / (double)one.bases;
        masked[k] = two.bits / (double)two.bases;
        accuracy = (double)two.right / (double)two.bases;
        dna_markov_free(m);
    }
    free(x);
    printf("source of %.4f bits: causal %.4f %.4f %.4f, both sides %.4f %.4f %.4f, accuracy %.3f\n", entropy, bits[1],
           bits[2], bits[4], masked[1], masked[2], masked[4], accuracy);
    assert_true(bits[1] > 1.99 && bits[2] < bits[1] - .2 && bits[4] < bits[2] - .2 && bits[4] > entropy);
    assert_true(masked[1] > 1.99 && masked[2] < bits[2] - .1 && masked[4] < bits[4] - .4 && accuracy > .7);
}

static void markov_chosen_places(void **state) {
    (void)state;
    uint8_t x[8];
    static const uint8_t CHOSEN[8] = {0, 1, 0, 0, 1, 0, 0, 1};
    dna_markov *m = NULL;
    dna_markov_score s = {0};
    tokens("ACGTNACG", x);
    assert_int_equal(dna_markov_create(&m, &alphabet, DNA_MARKOV_TWO_SIDED, 2, DNA_MARKOV_BACK_OFF, 1, &error), MB_OK);
    dna_markov_score_add(m, x, 8, CHOSEN, 1, &s);
    assert_true(s.bases == 2 && s.bits == 4 &&
                s.right == 0); /* nothing known: 2 bits each, A is guessed, C and G stand */
    dna_markov_free(m);
    static const struct {
        int kind, k;
        double alpha;
    } WRONG[] = {{0, -1, 1}, {0, 13, 1}, {1, 3, 1}, {0, 2, 0}, {0, 2, NAN}, {0, 2, INFINITY}};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        assert_int_equal(dna_markov_create(&m, &alphabet, WRONG[i].kind, WRONG[i].k, 0, WRONG[i].alpha, &error),
                         MB_RANGE);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    dna_labelled d;
    char *inputs[] = {(char *)(uintptr_t)scratch_text("b.csv", "seq,label\nACGT,0\nGGGA,1\n")};
    static const int64_t ALL[] = {0, 1};
    load(&d, inputs, 1);
    const long before = mb_mem_live_blocks();
    for (long nth = 1;; nth++) {
        dna_kmer_bayes *b = NULL;
        dna_markov *m = NULL;
        mb_err e = {0};
        mb_mem_fail_nth(nth, 0);
        int rc = dna_kmer_bayes_train(&b, &d, &alphabet, ALL, 2, 3, 2, 1, &e);
        if (!rc)
            rc = dna_markov_create(&m, &alphabet, DNA_MARKOV_CAUSAL, 3, DNA_MARKOV_ADD, 1, &e);
        const int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        dna_kmer_bayes_free(b);
        dna_markov_free(m);
        assert_int_equal(mb_mem_live_blocks(), before);
        if (!fired)
            break;
    }
    dna_labelled_fini(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(bayes_by_hand, clean),
                                       cmocka_unit_test_teardown(bayes_of_both_strands, clean),
                                       cmocka_unit_test_teardown(bayes_floors, clean),
                                       cmocka_unit_test_teardown(markov_laws, clean),
                                       cmocka_unit_test_teardown(markov_by_hand, clean),
                                       cmocka_unit_test_teardown(markov_source, clean),
                                       cmocka_unit_test_teardown(markov_chosen_places, clean),
                                       cmocka_unit_test_teardown(every_allocation_may_fail, clean)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
