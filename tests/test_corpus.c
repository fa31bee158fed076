/* Training sequence in memory, and how it is split: letters, case, names and places; BEDs good and hostile; blocks that
 * stay where they are. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/rng.h"
#include "genomics/splits.h"
#include "tests/scratch.h"

static dna_alphabet alphabet;
static mb_err error;
static char got[1 << 14];

/* ---- corpus ------------------------------------------------------------------------------------------------------ */
static int load_with(dna_corpus *c, const dna_alphabet *a, int64_t memory, const char *first, const char *second) {
    char *inputs[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second};
    const dna_corpus_options o = {.inputs = inputs, .n_inputs = second ? 2 : 1, .memory = memory};
    mb_err_clear(&error);
    return dna_corpus_load(c, &o, a, &error);
}

static int load(dna_corpus *c, const char *first, const char *second) {
    return load_with(c, &alphabet, 0, first, second);
}

/* The contig's bases as letters, small where the soft flag stands. */
static const char *letters_of(const dna_corpus *c, int64_t contig) {
    const dna_corpus_contig *t = &c->contig[contig];
    assert_true(t->length < (int64_t)sizeof got);
    for (int64_t i = 0; i < t->length; i++) {
        const int byte = c->base[t->start + i], id = byte & DNA_TOKEN_BITS;
        char letter = 'N';
        for (int k = 0; k < 4; k++)
            if (id == alphabet.base[k])
                letter = "ACGT"[k];
        assert_int_equal(c->is_base[byte], letter != 'N');
        got[i] = (char)(byte & DNA_SOFT ? letter - 'A' + 'a' : letter);
    }
    got[t->length] = 0;
    return got;
}

static void fails_with(int rc, int status, const char *words) {
    if (rc != status || !strstr(error.text, words))
        fail_msg("expected status %d and '%s'; got %d: %s", status, words, rc, error.text);
}

static void bases_case_and_names(void **state) {
    (void)state;
    const char *a = scratch_gzip("a.fa.gz", ">chr1 x\nACGTacgtN\nnRuU\n>one\nG\n");
    const char *b = scratch_bgzf("b.fq.gz", "@chr1\nACGT\n+\nIIII\n@r\nTT\n+\nII\n");
    dna_corpus c;
    assert_int_equal(load(&c, a, b), MB_OK);
    assert_int_equal(c.contigs, 4);
    assert_int_equal(c.files, 2);
    assert_int_equal(c.n, 13 + 1 + 4 + 2);
    assert_string_equal(letters_of(&c, 0), "ACGTacgtNnNtT");
    assert_string_equal(letters_of(&c, 1), "G");
    assert_string_equal(letters_of(&c, 2), "ACGT");
    assert_string_equal(letters_of(&c, 3), "TT");
    assert_string_equal(dna_corpus_name(&c, 0), "chr1");
    assert_string_equal(dna_corpus_name(&c, 3), "r");
    assert_int_equal(c.contig[1].file, 0);
    assert_int_equal(c.contig[2].file, 1);
    assert_string_equal(c.file[1].path, b);
    assert_int_equal(c.file[1].first, 2);
    assert_int_equal(c.file[1].contigs, 2);
    assert_true(c.file[0].soft_masked);
    assert_false(c.file[1].soft_masked);
    assert_int_equal(c.soft, 6);
    assert_int_equal(c.letters.n, 3);
    assert_int_equal(c.letters.ambiguous, 1);
    assert_int_equal(c.letters.u, 2);
    assert_int_equal(c.capacity, c.n);
    assert_true(dna_corpus_bytes(&c) > c.n);
    int64_t count;
    assert_int_equal(dna_corpus_find(&c, "chr1", &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(dna_corpus_find(&c, "r", NULL), 3);
    assert_int_equal(dna_corpus_find(&c, "chr2", &count), -1);
    assert_int_equal(count, 0);
    dna_corpus_fini(&c);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* Case means nothing in a file without upper-case bases, whatever N is; one capital and it does. */
static void a_file_all_in_lower_case_is_not_soft_masked(void **state) {
    (void)state;
    const char *low = scratch_text("low.fa", ">l\nacgtnNNRacgt\n"), *mixed = scratch_text("mixed.fa", ">m\nAcgtn\n");
    dna_corpus c;
    assert_int_equal(load(&c, low, mixed), MB_OK);
    assert_false(c.file[0].soft_masked);
    assert_true(c.file[1].soft_masked);
    assert_string_equal(letters_of(&c, 0), "ACGTNNNNACGT");
    assert_string_equal(letters_of(&c, 1), "Acgtn");
    assert_int_equal(c.soft, 4);
    dna_corpus_fini(&c);
}

static void a_checksum_tells_corpora_apart(void **state) {
    (void)state;
    static const char *const TEXT[] = {">a\nACGT\n>b\nAC\n", ">a\nACGTA\n>b\nC\n", ">a\nACGT\n>c\nAC\n",
                                       ">a\nACGT\n>b\nAG\n", ">a\nACGT\n>b\nAc\n"};
    uint32_t crc[5];
    for (int i = 0; i < 5; i++) {
        dna_corpus c;
        assert_int_equal(load(&c, scratch_text("crc.fa", TEXT[i]), NULL), MB_OK);
        crc[i] = c.crc;
        dna_corpus_fini(&c);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(crc[i], crc[j]);
    }
    dna_corpus c;
    assert_int_equal(load(&c, scratch_text("crc.fa", ">a other words\nAC\nGT\n>b\nAC\n"), NULL), MB_OK);
    assert_int_equal(c.crc, crc[0]);
    dna_corpus_fini(&c);
}

static void what_a_corpus_refuses(void **state) {
    (void)state;
    const char *good = scratch_text("good.fa", ">a\nACGT\n");
    dna_corpus c;
    fails_with(load(&c, good, scratch_text("bad.fa", ">x\nAC\n>y\nACG\nT!A\n")), MB_FORMAT,
               "bad.fa:3: record 2 'y': base 5: '!' is no nucleotide letter");
    fails_with(load(&c, good, scratch_text("gap.fa", ">x\nAC-T\n")), MB_FORMAT, "--gaps n");
    fails_with(load(&c, good, scratch_path("missing.fa")), MB_NOTFOUND, "missing.fa: there is no such file");
    fails_with(load(&c, good, scratch_dir()), MB_USAGE, "is a folder");
    fails_with(load(&c, "-", "-"), MB_USAGE, "read once");
    fails_with(load(&c, scratch_text("twice.fa", ">x\nAC\n>x\nAC\n"), NULL), MB_FORMAT, "came before");
    fails_with(load(&c, scratch_text("empty.fa", ">x\n>y\nAC\n"), NULL), MB_FORMAT, "has no bases");
    fails_with(load(&c, scratch_text("n.fa", ">x\nNNNN\n"), NULL), MB_FORMAT, "no A, C, G or T");
    fails_with(load_with(&c, &alphabet, 7, good, good), MB_NOMEM, "takes more than the 7 B");
    assert_int_equal(load_with(&c, &alphabet, 8, good, good), MB_OK);
    dna_corpus_fini(&c);
    char *inputs[] = {(char *)(uintptr_t)good};
    const dna_corpus_options o = {.inputs = inputs, .n_inputs = 1, .reader = {.regions = "a:1-2"}};
    mb_err_clear(&error);
    fails_with(dna_corpus_load(&c, &o, &alphabet, &error), MB_USAGE, "whole files");
    assert_int_equal(c.files, 0);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void lower_case_as_n(void **state) {
    (void)state;
    const mb_config config = {.V = 16};
    const dna_policies p = {.lower = DNA_CASE_MASK};
    dna_alphabet masking;
    dna_corpus c;
    assert_int_equal(dna_alphabet_init(&masking, &config, &p, &error), MB_OK);
    assert_int_equal(load_with(&c, &masking, 0, scratch_text("mask.fa", ">x\nACgtA\n"), NULL), MB_OK);
    assert_int_equal(c.letters.n, 2);
    assert_false(c.is_base[c.base[2]]);
    dna_corpus_fini(&c);
    fails_with(load_with(&c, &masking, 0, scratch_text("low.fa", ">x\nacgt\n"), NULL), MB_FORMAT, "--lower-case fold");
}

static void standard_input(void **state) {
    (void)state;
    FILE *f = fopen(scratch_text("in.fa", ">s\nACGT\n"), "r");
    dna_corpus c;
    assert_non_null(f);
    const int before = dup(0);
    assert_true(dup2(fileno(f), 0) == 0);
    assert_int_equal(load(&c, "-", NULL), MB_OK);
    assert_true(dup2(before, 0) == 0);
    close(before);
    fclose(f);
    assert_string_equal(c.file[0].path, "standard input");
    assert_string_equal(letters_of(&c, 0), "ACGT");
    dna_corpus_fini(&c);
}

/* ---- splits ------------------------------------------------------------------------------------------------------ */
/* "train a:0-5 b:0-2 | valid ... | test " */
static const char *parts(const dna_corpus *c, const dna_splits *s) {
    size_t at = 0;
    *got = 0;
    for (int k = 0; k < DNA_SPLITS; k++) {
        at += (size_t)snprintf(got + at, sizeof got - at, "%s%s", k ? " | " : "", dna_split_names[k]);
        for (int64_t i = 0; i < s->part[k].n && at < sizeof got; i++) {
            const dna_stretch *t = &s->part[k].at[i];
            at += (size_t)snprintf(got + at, sizeof got - at, " %s:%" PRId64 "-%" PRId64, dna_corpus_name(c, t->contig),
                                   t->start, t->end);
        }
    }
    return got;
}

static int split_bed(dna_splits *s, const dna_corpus *c, const char *text, int64_t least) {
    const dna_splits_options o = {.bed = scratch_text("s.bed", text), .least = least};
    mb_err_clear(&error);
    return dna_splits_make(s, c, &o, &error);
}

static const char GENOME[] = ">a\nACGTACGTACGTACGTACGT\n>b\nACGTACGTAC\n>n\nNNNNNNNN\n>one\nA\n";

static void splits_by_bed(void **state) {
    (void)state;
    dna_corpus c;
    dna_splits s;
    assert_int_equal(load(&c, scratch_text("g.fa", GENOME), NULL), MB_OK);
    /* Any order, overlaps and touching ends within a split, touching ends between splits, comments, short ones. */
    assert_int_equal(split_bed(&s, &c,
                               "# mine\nb\t0\t10\ttest\na\t8\t12\ttrain\na\t0\t6\ttrain\t0\t-\na\t6\t8\ttrain\n"
                               "a\t9\t10\ttrain\na\t12\t17\tvalid\r\na\t18\t20\ttrain\nn\t0\t8\tvalid\n",
                               3),
                     MB_OK);
    assert_string_equal(parts(&c, &s), "train a:0-12 | valid a:12-17 n:0-8 | test b:0-10");
    assert_int_equal(s.part[DNA_SPLIT_TRAIN].bases, 12);
    assert_int_equal(s.part[DNA_SPLIT_VALID].bases, 13);
    assert_int_equal(s.part[DNA_SPLIT_TRAIN].left_out, 1);
    assert_int_equal(s.part[DNA_SPLIT_TRAIN].left_out_bases, 2);
    mb_out *out;
    const char *path = scratch_path("back.bed");
    assert_int_equal(mb_out_create(&out, path, &error), MB_OK);
    assert_int_equal(dna_splits_write(&s, &c, out, &error), MB_OK);
    assert_int_equal(mb_out_commit(out, &error), MB_OK);
    dna_splits again;
    const dna_splits_options o = {.bed = path, .least = 3};
    assert_int_equal(dna_splits_make(&again, &c, &o, &error), MB_OK);
    for (int k = 0; k < DNA_SPLITS; k++) {
        assert_int_equal(again.part[k].n, s.part[k].n);
        assert_int_equal(again.crc, s.crc);
        assert_memory_equal(again.part[k].at, s.part[k].at, (size_t)s.part[k].n * sizeof *s.part[k].at);
    }
    dna_splits_fini(&again);
    dna_splits_fini(&s);
    assert_int_equal(split_bed(&s, &c, "one\t0\t1\ttrain\na\t0\t1\tvalid\n", 1), MB_OK);
    assert_string_equal(parts(&c, &s), "train one:0-1 | valid a:0-1 | test");
    dna_splits_fini(&s);
    dna_corpus_fini(&c);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void hostile_beds(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
        const char *words;
    } BAD[] = {
        {"a\t0\t5\ttrain\na\t4\t9\tvalid\n", MB_FORMAT, "s.bed:2: a:4-9 (valid) overlaps line 1 (train)"},
        /* hidden behind a shorter and later one of the other split, and lines not in order */
        {"a\t14\t15\ttest\na\t2\t4\ttrain\na\t0\t20\ttrain\nb\t0\t9\tvalid\n", MB_FORMAT,
         "s.bed:1: a:14-15 (test) overlaps line 3 (train)"},
        {"a\t0\t5\ttrain\na\t0\t5\ttest\n", MB_FORMAT, "s.bed:2: a:0-5 (test) overlaps line 1 (train)"},
        {"a\t0\t5\ttrain\nb\t0\t5\n", MB_FORMAT, "s.bed:2: column 4 must say train, valid or test"},
        {"a\t0\t5\ttrain\nb\t0\t5\tTrain\n", MB_FORMAT, "s.bed:2: column 4 is 'Train', expected"},
        {"a\t0\t5\ttrain\nb\t0\t5\tvalidation\n", MB_FORMAT, "s.bed:2: column 4 is 'validation'"},
        {"a\t0\t5\ttrain\nb\t5\t11\tvalid\n", MB_RANGE, "s.bed:2: 6-11 (counted from 1) reaches outside b"},
        {"a\t0\t5\ttrain\nc\t5\t11\tvalid\n", MB_RANGE, "s.bed:2: contig 'c' is not in"},
        {"a\t0\t5\ttrain\nchrB\t5\t11\tvalid\n", MB_RANGE, "which calls it 'b'"},
        {"a\t0\t9223372036854775808\ttrain\n", MB_FORMAT, "s.bed:1"},
        {"a\t0\t9223372036854775807\ttrain\n", -99, ""},
        {"a\t-1\t5\ttrain\n", MB_FORMAT, "s.bed:1"},
        {"a\t5\t5\ttrain\n", MB_FORMAT, "s.bed:1"},
        {"a\n", MB_FORMAT, "s.bed:1: 1 column"},
        {"", MB_FORMAT, "holds no region"},
        {"a\t0\t5\ttrain\n", MB_FORMAT, "no region named valid"},
        {"a\t0\t5\tvalid\n", MB_FORMAT, "no region named train"},
        {"a\t0\t5\ttrain\nb\t0\t2\tvalid\n", MB_FORMAT, "no region named valid is long enough"},
    };
    dna_corpus c;
    dna_splits s;
    const char *file = scratch_text("g.fa", GENOME);
    assert_int_equal(load(&c, file, NULL), MB_OK);
    const long before = mb_mem_live_blocks();
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        const int rc = split_bed(&s, &c, BAD[i].text, 3);
        if (BAD[i].status == -99)
            assert_true(rc < 0);
        else
            fails_with(rc, BAD[i].status, BAD[i].words);
        assert_null(s.part[0].at);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
    const dna_splits_options none = {.bed = "a:1-5", .least = 1};
    mb_err_clear(&error);
    fails_with(dna_splits_make(&s, &c, &none, &error), MB_NOTFOUND, "no such BED file");
    const dna_splits_options optional = {
        .bed = scratch_text("s.bed", "a\t0\t5\ttrain\n"), .least = 1, .valid_optional = 1};
    assert_int_equal(dna_splits_make(&s, &c, &optional, &error), MB_OK);
    dna_splits_fini(&s);
    dna_corpus_fini(&c);
    assert_int_equal(load(&c, file, scratch_text("other.fa", ">b\nACGT\n")), MB_OK);
    fails_with(split_bed(&s, &c, "a\t0\t5\ttrain\nb\t0\t4\tvalid\n", 1), MB_FORMAT,
               "s.bed:2: 2 contigs are called 'b'");
    dna_corpus_fini(&c);
}

/* The split of each base, -1 for none; every base at most once. */
static signed char *paint(const dna_corpus *c, const dna_splits *s) {
    signed char *of = malloc((size_t)c->n);
    assert_non_null(of);
    memset(of, -1, (size_t)c->n);
    for (int k = 0; k < DNA_SPLITS; k++) {
        int64_t bases = 0;
        for (int64_t i = 0; i < s->part[k].n; i++) {
            const dna_stretch *t = &s->part[k].at[i];
            assert_true(t->start >= 0 && t->start < t->end && t->end <= c->contig[t->contig].length);
            for (int64_t p = t->start; p < t->end; p++) {
                signed char *at = &of[c->contig[t->contig].start + p];
                assert_int_equal(*at, -1);
                *at = (signed char)k;
            }
            bases += t->end - t->start;
        }
        assert_int_equal(bases, s->part[k].bases);
    }
    return of;
}

/* Random BEDs against the definition: a base claimed by two splits is an error, else each base is where a line put it.
 */
static void random_beds(void **state) {
    (void)state;
    dna_corpus c;
    dna_splits s;
    mb_rng r;
    int refused = 0;
    mb_rng_init(&r, 11, 0);
    assert_int_equal(load(&c, scratch_text("g.fa", GENOME), NULL), MB_OK);
    for (int round = 0; round < 600; round++) {
        char text[1024];
        size_t at = 0;
        signed char claimed[64];
        int conflict = 0;
        memset(claimed, -1, sizeof claimed);
        for (int lines = 2 + (int)mb_rng_below(&r, 6), i = 0; i < lines; i++) {
            const int64_t contig = (int64_t)mb_rng_below(&r, 3), length = c.contig[contig].length;
            const int64_t start = (int64_t)mb_rng_below(&r, (uint64_t)length);
            const int64_t end = start + 1 + (int64_t)mb_rng_below(&r, (uint64_t)(length - start));
            const int split = i < 2 ? i : (int)mb_rng_below(&r, 3);
            at += (size_t)snprintf(text + at, sizeof text - at, "%s\t%" PRId64 "\t%" PRId64 "\t%s\n",
                                   dna_corpus_name(&c, contig), start, end, dna_split_names[split]);
            for (int64_t p = c.contig[contig].start + start; p < c.contig[contig].start + end; p++) {
                conflict |= claimed[p] >= 0 && claimed[p] != split;
                claimed[p] = (signed char)split;
            }
        }
        const int rc = split_bed(&s, &c, text, 1);
        if ((rc != 0) != conflict)
            fail_msg("%s: %d %s", text, rc, error.text);
        refused += conflict;
        if (rc)
            continue;
        signed char *of = paint(&c, &s);
        assert_memory_equal(of, claimed, (size_t)c.n);
        free(of);
        dna_splits_fini(&s);
    }
    assert_in_range(refused, 100, 550);
    dna_corpus_fini(&c);
}

/* A FASTA of n contigs called PREFIX0, ... of the given lengths. */
static const char *genome_of(const char *name, const char *prefix, const int *length, int n) {
    FILE *f = fopen(scratch_path(name), "w");
    assert_non_null(f);
    for (int i = 0; i < n; i++) {
        fprintf(f, ">%s%d\n", prefix, i);
        for (int k = 0; k < length[i]; k++)
            fputc("ACGT"[(k * 7 + i + k / 5) & 3], f);
        fputc('\n', f);
    }
    fclose(f);
    return scratch_path(name);
}

static int split_blocks(dna_splits *s, const dna_corpus *c, uint64_t seed, int64_t block, double valid, double test,
                        int64_t least) {
    const dna_splits_options o = {.seed = seed, .block = block, .valid = valid, .test = test, .least = least};
    mb_err_clear(&error);
    return dna_splits_make(s, c, &o, &error);
}

static void blocks_are_shared_out(void **state) {
    (void)state;
    static const int LENGTH[] = {40000, 1, 99, 100, 101, 59999};
    dna_corpus c;
    dna_splits s, other;
    assert_int_equal(load(&c, genome_of("blocks.fa", "c", LENGTH, 6), NULL), MB_OK);
    assert_int_equal(split_blocks(&s, &c, 1, 100, 0.1, 0.2, 1), MB_OK);
    assert_int_equal(split_blocks(&other, &c, 2, 100, 0.1, 0.2, 1), MB_OK);
    signed char *of = paint(&c, &s), *of2 = paint(&c, &other);
    int64_t differ = 0, blocks[3] = {0};
    for (int64_t i = 0; i < c.contigs; i++)
        for (int64_t k = 0; k < c.contig[i].length; k++) {
            const int64_t at = c.contig[i].start + k;
            assert_true(of[at] >= 0);
            assert_int_equal(of[at], of[c.contig[i].start + k / 100 * 100]);
            differ += of[at] != of2[at];
            blocks[of[at]] += k % 100 == 0;
        }
    assert_true(differ > c.n / 4);
    assert_int_not_equal(s.crc, other.crc);
    /* 1005 blocks: standard deviations 12.7 (test, 201 expected) and 9.5 (valid, 100.5); five of them */
    assert_in_range(blocks[DNA_SPLIT_TEST], 201 - 63, 201 + 63);
    assert_in_range(blocks[DNA_SPLIT_VALID], 100 - 47, 101 + 47);
    free(of);
    free(of2);
    dna_splits_fini(&other);
    /* Short ones are left out, and only they. */
    assert_int_equal(split_blocks(&other, &c, 1, 100, 0.1, 0.2, 100), MB_OK);
    for (int k = 0; k < DNA_SPLITS; k++) {
        int64_t kept = 0;
        for (int64_t i = 0; i < s.part[k].n; i++) {
            const dna_stretch *t = &s.part[k].at[i];
            if (t->end - t->start >= 100)
                assert_memory_equal(t, &other.part[k].at[kept++], sizeof *t);
        }
        assert_int_equal(kept, other.part[k].n);
        assert_int_equal(other.part[k].left_out, s.part[k].n - kept);
        assert_int_equal(other.part[k].left_out_bases + other.part[k].bases, s.part[k].bases);
    }
    dna_splits_fini(&s);
    dna_splits_fini(&other);
    dna_corpus_fini(&c);
}

/* A block's split depends on its contig's name and its number, not on what else there is. */
static void blocks_stay_where_they_are(void **state) {
    (void)state;
    static const int LONG[] = {30000, 20000}, OTHER[] = {5000};
    const char *one = genome_of("one.fa", "c", LONG, 2), *two = genome_of("two.fa", "d", OTHER, 1);
    dna_corpus c, more;
    dna_splits s, t;
    assert_int_equal(load(&c, one, NULL), MB_OK);
    assert_int_equal(load(&more, two, one), MB_OK);
    assert_int_equal(split_blocks(&s, &c, 5, 1000, 0.2, 0.2, 1), MB_OK);
    assert_int_equal(split_blocks(&t, &more, 5, 1000, 0.2, 0.2, 1), MB_OK);
    signed char *a = paint(&c, &s), *b = paint(&more, &t);
    assert_memory_equal(a, b + 5000, 50000);
    free(a);
    free(b);
    dna_splits_fini(&s);
    dna_splits_fini(&t);
    dna_corpus_fini(&c);
    dna_corpus_fini(&more);
}

static void what_blocks_refuse(void **state) {
    (void)state;
    static const int LENGTH[] = {1000};
    dna_corpus c;
    dna_splits s;
    assert_int_equal(load(&c, genome_of("small.fa", "c", LENGTH, 1), NULL), MB_OK);
    fails_with(split_blocks(&s, &c, 1, 50000, 0.05, 0.05, 10), MB_RANGE, "smaller blocks");
    fails_with(split_blocks(&s, &c, 1, 50000, 0.05, 0.05, 10), MB_RANGE, "nothing to validate on");
    fails_with(split_blocks(&s, &c, 1, 5, 0.3, 0.3, 100), MB_RANGE, "larger blocks");
    fails_with(split_blocks(&s, &c, 1, 100, 0.5, 0.5, 1), MB_RANGE, "fractions 0.5");
    fails_with(split_blocks(&s, &c, 1, 100, -0.1, 0.5, 1), MB_RANGE, "fractions -0.1");
    fails_with(split_blocks(&s, &c, 1, 100, 0.0 / 0.0 * 1, 0, 1), MB_RANGE, "fractions");
    fails_with(split_blocks(&s, &c, 1, 0, 0.1, 0.1, 1), MB_RANGE, "blocks of 0 bases");
    fails_with(split_blocks(&s, &c, 1, 10, 0, 0.1, 1), MB_RANGE, "nothing to validate on");
    assert_int_equal(split_blocks(&s, &c, 1, INT64_MAX, 0.1, 0.1, 1) < 0, 1);
    dna_corpus_fini(&c);
}

/* Every allocation fails once: an error and nothing left behind, or, where memory is only a help, the same result. */
static void memory_runs_out(void **state) {
    (void)state;
    const char *file = scratch_gzip("oom.fa.gz", GENOME), *other = scratch_text("oom2.fa", ">z\nACGTAC\n");
    const char *bed = scratch_text("oom.bed", "a\t0\t6\ttrain\nb\t2\t8\tvalid\nn\t0\t4\ttest\n");
    int done = 0;
    for (long n = 1; !done; n++) {
        dna_corpus c;
        dna_splits s, blocks;
        mb_mem_fail_nth(n, 0);
        int rc = load(&c, file, other);
        if (!rc) {
            const dna_splits_options o = {.bed = bed, .least = 2};
            rc = dna_splits_make(&s, &c, &o, &error);
            if (!rc) {
                rc = split_blocks(&blocks, &c, 3, 2, 0.3, 0.3, 1);
                dna_splits_fini(&blocks);
            }
            if (!rc)
                assert_string_equal(parts(&c, &s), "train a:0-6 | valid b:2-8 | test n:0-4");
            dna_splits_fini(&s);
        }
        if (!rc)
            assert_string_equal(letters_of(&c, 4), "ACGTAC");
        dna_corpus_fini(&c);
        done = !mb_mem_fault_fired();
        if (rc && (done || error.status != MB_NOMEM))
            fail_msg("allocation %ld: %s", n, error.text);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
    mb_mem_fail_nth(0, 0);
}

static int prepare(void **state) {
    (void)state;
    const mb_config c = {.V = 16};
    mb_log_set_level(MB_LOG_QUIET);
    return dna_alphabet_init(&alphabet, &c, &(dna_policies){.gaps = DNA_LETTER_ERROR}, &error);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bases_case_and_names),
        cmocka_unit_test(a_file_all_in_lower_case_is_not_soft_masked),
        cmocka_unit_test(a_checksum_tells_corpora_apart),
        cmocka_unit_test(what_a_corpus_refuses),
        cmocka_unit_test(lower_case_as_n),
        cmocka_unit_test(standard_input),
        cmocka_unit_test(splits_by_bed),
        cmocka_unit_test(hostile_beds),
        cmocka_unit_test(random_beds),
        cmocka_unit_test(blocks_are_shared_out),
        cmocka_unit_test(blocks_stay_where_they_are),
        cmocka_unit_test(what_blocks_refuse),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
