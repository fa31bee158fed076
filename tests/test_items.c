/* Windows, batches and their places. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "genomics/items.h"
#include "tests/scratch.h"

static dna_alphabet alphabet;
static mb_err error;
static char got[1 << 14];

/* "name+offset:length@contig:start-end strand/n " for each item, "| " after each batch. */
static const char *cut(const char *file, dna_items_options o) {
    char *inputs[] = {(char *)(uintptr_t)file};
    dna_items *s = NULL;
    dna_batch b = {0};
    size_t at = 0;
    int64_t items = 0;
    o.inputs = inputs;
    o.n_inputs = 1;
    o.batch_tokens = o.batch_tokens ? o.batch_tokens : 1000;
    o.batch_items = o.batch_items ? o.batch_items : 100;
    mb_err_clear(&error);
    *got = 0;
    int rc = dna_items_open(&s, &o, &alphabet, &error);
    while (!rc && (rc = dna_items_next(s, &b, &error)) > 0) {
        assert_int_equal(b.first, items);
        int64_t tokens = 0;
        for (int i = 0; i < b.n; i++, items++) {
            const dna_item *t = &b.item[i];
            tokens += t->length;
            at += (size_t)snprintf(got + at, sizeof got - at,
                                   "%s+%" PRId64 ":%" PRId64 "@%s:%" PRId64 "-%" PRId64 "%c/%" PRId64 " ", t->name,
                                   t->offset, t->length, t->contig, t->start, t->end, t->strand, t->n_count);
        }
        assert_int_equal(b.tokens, tokens);
        at += (size_t)snprintf(got + at, sizeof got - at, "| ");
        rc = 0;
    }
    if (rc < 0)
        snprintf(got + at, sizeof got - at, "!");
    dna_batch_fini(&b);
    dna_items_close(s);
    return got;
}

static void windows(void **state) {
    (void)state;
    const char *f = scratch_text("w.fa", ">a\nACGTACGTAN\n>b\nAC\n");
    assert_string_equal(cut(f, (dna_items_options){0}), "a+0:10@a:0-10+/1 b+0:2@b:0-2+/0 | ");
    assert_string_equal(cut(f, (dna_items_options){.window = 4, .stride = 4}),
                        "a+0:4@a:0-4+/0 a+4:4@a:4-8+/0 a+8:2@a:8-10+/1 b+0:2@b:0-2+/0 | ");
    /* The window that reaches the end is the last. */
    assert_string_equal(cut(f, (dna_items_options){.window = 6, .stride = 2}),
                        "a+0:6@a:0-6+/0 a+2:6@a:2-8+/0 a+4:6@a:4-10+/1 b+0:2@b:0-2+/0 | ");
    assert_string_equal(cut(f, (dna_items_options){.window = 5, .stride = 5}),
                        "a+0:5@a:0-5+/0 a+5:5@a:5-10+/1 b+0:2@b:0-2+/0 | ");
    /* A stride beyond the window leaves gaps. */
    assert_string_equal(cut(f, (dna_items_options){.window = 2, .stride = 5}),
                        "a+0:2@a:0-2+/0 a+5:2@a:5-7+/0 b+0:2@b:0-2+/0 | ");
    assert_string_equal(cut(f, (dna_items_options){.window = 4, .stride = 4, .partial = DNA_PARTIAL_DROP}),
                        "a+0:4@a:0-4+/0 a+4:4@a:4-8+/0 | ");
    assert_string_equal(cut(f, (dna_items_options){.window = 100, .stride = 100, .partial = DNA_PARTIAL_DROP}), "");
}

static void batches(void **state) {
    (void)state;
    const char *f = scratch_text("b.fa", ">a\nACGTA\n>b\nAC\n>c\nACGTACGTACGT\n>d\nA\n");
    assert_string_equal(cut(f, (dna_items_options){.batch_tokens = 7}),
                        "a+0:5@a:0-5+/0 b+0:2@b:0-2+/0 | c+0:12@c:0-12+/0 | d+0:1@d:0-1+/0 | ");
    assert_string_equal(cut(f, (dna_items_options){.batch_items = 1}),
                        "a+0:5@a:0-5+/0 | b+0:2@b:0-2+/0 | c+0:12@c:0-12+/0 | d+0:1@d:0-1+/0 | ");
}

static void places(void **state) {
    (void)state;
    const char *f = scratch_text("p.fa", ">a\nACGTACGTAN\n");
    dna_items_options o = {
        .window = 4, .stride = 4, .reader = {.regions = scratch_text("p.bed", "a\t2\t10\tr\t0\t-\n")}};
    /* Windows of a reverse-strand region run from its end. */
    assert_string_equal(cut(f, o), "r+0:4@a:6-10-/1 r+4:4@a:2-6-/0 | ");
    static const char SAM[] =
        "@SQ\tSN:c\tLN:100\nr\t16\tc\t11\t9\t8M\t*\t0\t0\tACGTACGT\t*\nu\t4\t*\t0\t0\t*\t*\t0\t0\tACG\t*\n";
    o.reader.regions = NULL;
    assert_string_equal(cut(scratch_alignment("p.bam", SAM, 0), o),
                        "r+0:4@c:10-18-/0 r+4:4@c:10-18-/0 u+0:3@:-1--1./0 | ");
}

static void bad_letters_have_a_place(void **state) {
    (void)state;
    assert_non_null(strchr(cut(scratch_text("l.fa", ">a\nACGT\n>b\nACG!T\n"), (dna_items_options){0}), '!'));
    assert_non_null(strstr(error.text, "l.fa:3: record 2 'b': base 4: '!'"));
}

static uint32_t crc_of(const char *file) {
    char *inputs[] = {(char *)(uintptr_t)file};
    const dna_items_options o = {.inputs = inputs, .n_inputs = 1, .batch_tokens = 100, .batch_items = 100};
    dna_items *s = NULL;
    dna_batch b = {0};
    assert_int_equal(dna_items_open(&s, &o, &alphabet, &error), MB_OK);
    assert_int_equal(dna_items_next(s, &b, &error), 1);
    const uint32_t crc = b.crc;
    dna_batch_fini(&b);
    dna_items_close(s);
    return crc;
}

/* What makes a resumed run notice another input: names, letters, borders. */
static void checksums_tell_inputs_apart(void **state) {
    (void)state;
    const uint32_t crc = crc_of(scratch_text("c1.fa", ">a\nACGT\n>b\nAC\n"));
    assert_int_equal(crc, crc_of(scratch_text("c2.fa", ">a\nAC\nGT\n>b\nac\n")));
    assert_int_not_equal(crc, crc_of(scratch_text("c3.fa", ">a\nACGT\n>c\nAC\n")));
    assert_int_not_equal(crc, crc_of(scratch_text("c4.fa", ">a\nACGT\n>b\nAG\n")));
    assert_int_not_equal(crc, crc_of(scratch_text("c5.fa", ">a\nACGTA\n>b\nC\n")));
}

static void memory_runs_out(void **state) {
    (void)state;
    const char *f = scratch_text("oom.fa", ">a\nACGTACGTAN\n>b\nAC\n");
    for (int window = 0; window < 5; window += 4) {
        long n = 0;
        do {
            mb_mem_fail_nth(++n, 0);
            const char *result = cut(f, (dna_items_options){.window = window, .stride = window});
            if (mb_mem_fault_fired() && (!strchr(result, '!') || error.status != MB_NOMEM))
                fail_msg("allocation %ld failed and went unnoticed", n);
            assert_int_equal(mb_mem_live_blocks(), 0);
        } while (mb_mem_fault_fired());
        mb_mem_fail_nth(0, 0);
    }
}

static int prepare(void **state) {
    (void)state;
    const mb_config c = {.V = 16};
    mb_log_set_level(MB_LOG_QUIET);
    return dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(windows),
                                       cmocka_unit_test(batches),
                                       cmocka_unit_test(places),
                                       cmocka_unit_test(bad_letters_have_a_place),
                                       cmocka_unit_test(checksums_tell_inputs_apart),
                                       cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, prepare, NULL);
}
