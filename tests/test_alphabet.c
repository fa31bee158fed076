/* Letters to tokens: the published numbers, every policy, strands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "genomics/alphabet.h"

static mb_config vocabulary(int V) {
    mb_config c = {.V = V};
    return c;
}

static dna_alphabet make(int V, dna_policies p) {
    dna_alphabet a;
    mb_err e = {0};
    const mb_config c = vocabulary(V);
    assert_int_equal(dna_alphabet_init(&a, &c, &p, &e), MB_OK);
    return a;
}

static void tokens_are(const dna_alphabet *a, const char *text, const uint8_t *want) {
    uint8_t got[64];
    dna_counts counts = {0};
    const int64_t n = (int64_t)strlen(text);
    memcpy(got, text, (size_t)n);
    assert_int_equal(dna_tokenize(a, got, n, &counts), -1);
    assert_memory_equal(got, want, (size_t)n);
    assert_int_equal(counts.bases, n);
}

static void published_numbers(void **state) {
    (void)state;
    dna_alphabet a = make(16, (dna_policies){0});
    assert_string_equal(a.name, "caduceus");
    assert_int_equal(a.mask_token, 3);
    tokens_are(&a, "ACGTacgtNnUu", (const uint8_t[]){7, 8, 9, 10, 7, 8, 9, 10, 4, 4, 10, 10});
    tokens_are(&a, "RYSWKMBDHVX", (const uint8_t[]){4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4});
    a = make(16, (dna_policies){.n_as = DNA_N_N});
    tokens_are(&a, "NnR", (const uint8_t[]){11, 11, 11});
    a = make(8, (dna_policies){0});
    assert_string_equal(a.name, "plantcad");
    assert_int_equal(a.mask_token, 1);
    tokens_are(&a, "acgtACGTNU", (const uint8_t[]){3, 4, 5, 6, 3, 4, 5, 6, 2, 6});
    a = make(8, (dna_policies){.n_as = DNA_N_PAD});
    tokens_are(&a, "N", (const uint8_t[]){0});
}

static void policies_count_and_refuse(void **state) {
    (void)state;
    dna_counts c = {0};
    uint8_t text[] = "AcRn-U";
    dna_alphabet a = make(16, (dna_policies){.gaps = DNA_LETTER_N});
    assert_int_equal(dna_tokenize(&a, text, 6, &c), -1);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.ambiguous, 1);
    assert_int_equal(c.gaps, 1);
    assert_int_equal(c.lower, 2);
    assert_int_equal(c.u, 1);
    a = make(16, (dna_policies){.gaps = DNA_LETTER_ERROR});
    assert_int_equal(dna_tokenize(&a, (uint8_t[]){"ACG-T"}, 5, &c), 3);
    a = make(16, (dna_policies){.ambiguous = DNA_LETTER_ERROR});
    assert_int_equal(dna_tokenize(&a, (uint8_t[]){"ACr"}, 3, &c), 2);
    a = make(16, (dna_policies){.lower = DNA_CASE_MASK});
    tokens_are(&a, "AaCcn", (const uint8_t[]){7, 4, 8, 4, 4});
    char words[96];
    assert_non_null(strstr(dna_bad_letter_words('-', words), "gap"));
    assert_non_null(strstr(dna_bad_letter_words('r', words), "ambiguity"));
    assert_non_null(strstr(dna_bad_letter_words('!', words), "'!'"));
    assert_non_null(strstr(dna_bad_letter_words(0, words), "0x00"));
}

/* Every byte that is no nucleotide letter is refused, at its place. */
static void other_bytes_are_refused(void **state) {
    (void)state;
    const dna_alphabet strict = make(16, (dna_policies){.gaps = DNA_LETTER_ERROR});
    const dna_alphabet lenient = make(16, (dna_policies){.gaps = DNA_LETTER_N});
    for (int b = 0; b < 256; b++) {
        const int letter = b && strchr("ACGTUNRYSWKMBDHVXacgtunryswkmbdhvx", b) != NULL;
        const int gap = b && strchr("-.*", b) != NULL;
        dna_counts c = {0};
        uint8_t text[] = {'A', (uint8_t)b}, again[] = {'A', (uint8_t)b};
        assert_int_equal(dna_tokenize(&lenient, text, 2, &c), letter || gap ? -1 : 1);
        assert_int_equal(dna_tokenize(&strict, again, 2, &c), letter ? -1 : 1);
    }
}

static void strands_agree(void **state) {
    (void)state;
    const dna_alphabet a = make(16, (dna_policies){.n_as = DNA_N_N});
    for (int n = 0; n < 9; n++) {
        char letters[] = "ACGTNRAAC", again[16];
        uint8_t token[16], turned[16];
        dna_counts c = {0};
        memcpy(token, letters, (size_t)n);
        assert_int_equal(dna_tokenize(&a, token, n, &c), -1);
        dna_reverse_tokens(&a, token, n);
        dna_reverse_letters(letters, n);
        memcpy(turned, letters, (size_t)n);
        assert_int_equal(dna_tokenize(&a, turned, n, &c), -1);
        assert_memory_equal(token, turned, (size_t)n);
        memcpy(again, letters, (size_t)n);
        dna_reverse_letters(again, n);
        assert_memory_equal(again, "ACGTNRAAC", (size_t)n);
    }
    char iupac[] = "ACGTRYSWKMBDHVNacgtryswkmbdhvn";
    dna_reverse_letters(iupac, (int64_t)strlen(iupac));
    assert_string_equal(iupac, "nbdhvkmwsryacgtNBDHVKMWSRYACGT");
}

static void other_models_are_refused(void **state) {
    (void)state;
    dna_alphabet a;
    mb_err e = {0};
    mb_config c = vocabulary(104);
    assert_int_equal(dna_alphabet_init(&a, &c, &(dna_policies){0}, &e), MB_NOTSUP);
    assert_non_null(strstr(e.text, "104"));
    mb_err_clear(&e);
    assert_int_equal(dna_alphabet_init(&a, &c, &(dna_policies){.alphabet = DNA_ALPHABET_CADUCEUS}, &e), MB_OK);
    c = vocabulary(8);
    assert_int_equal(dna_alphabet_init(&a, &c, &(dna_policies){.alphabet = DNA_ALPHABET_CADUCEUS}, &e), MB_USAGE);
    mb_err_clear(&e);
    /* A complement map in which A is not T's partner. */
    c = vocabulary(16);
    c.rcps = 1;
    c.n_complement = 16;
    for (int i = 0; i < 16; i++)
        c.complement[i] = i;
    assert_int_equal(dna_alphabet_init(&a, &c, &(dna_policies){0}, &e), MB_NOTSUP);
    mb_err_clear(&e);
    c.complement[7] = 10, c.complement[10] = 7, c.complement[8] = 9, c.complement[9] = 8;
    assert_int_equal(dna_alphabet_init(&a, &c, &(dna_policies){0}, &e), MB_OK);
    assert_int_equal(dna_alphabet_init(&a, &c, &(dna_policies){.alphabet = DNA_ALPHABET_PLANTCAD}, &e), MB_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_numbers), cmocka_unit_test(policies_count_and_refuse),
                                       cmocka_unit_test(other_bytes_are_refused), cmocka_unit_test(strands_agree),
                                       cmocka_unit_test(other_models_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
