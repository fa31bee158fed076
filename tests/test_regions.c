/* Regions, BED files and indexed genomes: coordinates, strands, and everything that can be wrong with them. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "genomics/genome.h"
#include "genomics/reader.h"
#include "tests/scratch.h"

/* 0-based bases of chr1: ACGTACGTAC GGGGCCCCTT; HLA:A*01 and chrM besides. */
static const char FASTA[] = ">chr1 one\nACGTACGTAC\nGGGGCCCCTT\n>HLA:A*01\nAAAACCCC\n>chrM\nTTTTN\n";

static mb_err error;
static char got[4096];

static const char *fetch(const char *fasta, const char *regions) {
    char *inputs[] = {(char *)(uintptr_t)fasta};
    const dna_reader_options o = {.regions = regions};
    dna_reader *r = NULL;
    dna_record record;
    size_t at = 0;
    *got = 0;
    mb_err_clear(&error);
    dna_record_init(&record);
    int rc = dna_reader_open(&r, inputs, 1, &o, &error);
    while (!rc && (rc = dna_reader_next(r, &record, &error)) > 0) {
        at += (size_t)snprintf(got + at, sizeof got - at, "%s=%.*s@%s:%" PRId64 "-%" PRId64 "%c ", record.name.data,
                               (int)record.bases.n, record.bases.data, record.contig.data, record.start, record.end,
                               record.strand);
        rc = 0;
    }
    if (rc < 0)
        snprintf(got + at, sizeof got - at, "!");
    dna_record_fini(&record);
    dna_reader_close(r);
    return got;
}

static void fails_with(const char *result, const char *words) {
    if (!strchr(result, '!') || !strstr(error.text, words))
        fail_msg("expected an error about '%s'; got: %s, error: %s", words, result, error.text);
}

static void region_texts(void **state) {
    (void)state;
    const char *files[] = {scratch_text("g.fa", FASTA), scratch_bgzf("g.fa.gz", FASTA)};
    for (int i = 0; i < 2; i++) {
        const char *f = files[i];
        assert_string_equal(fetch(f, "chr1:1-4"), "chr1:1-4=ACGT@chr1:0-4+ ");
        assert_string_equal(fetch(f, "chr1:9-12"), "chr1:9-12=ACGG@chr1:8-12+ ");
        assert_string_equal(fetch(f, "chr1:00,019"), "chr1:19-20=TT@chr1:18-20+ ");
        assert_string_equal(fetch(f, "chr1:19-"), "chr1:19-20=TT@chr1:18-20+ ");
        assert_string_equal(fetch(f, "chrM"), "chrM:1-5=TTTTN@chrM:0-5+ ");
        assert_string_equal(fetch(f, "HLA:A*01"), "HLA:A*01:1-8=AAAACCCC@HLA:A*01:0-8+ ");
        assert_string_equal(fetch(f, "HLA:A*01:4-5"), "HLA:A*01:4-5=AC@HLA:A*01:3-5+ ");
    }
}

static void wrong_region_texts(void **state) {
    (void)state;
    const char *f = scratch_text("g.fa", FASTA);
    static const struct {
        const char *text, *words;
    } WRONG[] = {
        {"chr1:0-4", "counted from 1"},   {"chr1:5-4", "expected contig"},  {"chr1:a-4", "expected contig"},
        {"chr1:-4", "expected contig"},   {"chr1:1-4x", "expected contig"}, {"chr1:", "expected contig"},
        {"chr1:21", "outside"},           {"chr1:1-21", "outside"},         {"1:1-4", "calls it 'chr1'"},
        {"CHR1:1-4", "calls it 'chr1'"},  {"MT", "calls it 'chrM'"},        {"chr1.2:1-4", "calls it 'chr1'"},
        {"chrX", "holds chr1, HLA:A*01"}, {"x.bed", "no such BED file"},    {"chr1:99999999999999999999", "expected"}};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        fails_with(fetch(f, WRONG[i].text), WRONG[i].words);
}

static void bed_files(void **state) {
    (void)state;
    const char *f = scratch_text("g.fa", FASTA);
    static const char BED[] = "#comment\ntrack name=x\nbrowser position\n\n"
                              "chr1\t0\t4\n"
                              "chr1\t8\t12\tgene one\t0\t-\r\n"
                              "chrM 0 5 m 0 + 1 2\n"
                              "chr1\t0\t1\t.\t.\t.\n";
    static const char WANT[] =
        "chr1:1-4=ACGT@chr1:0-4+ gene one=CCGT@chr1:8-12- m=TTTTN@chrM:0-5+ chr1:1-1=A@chr1:0-1+ ";
    assert_string_equal(fetch(f, scratch_text("r.bed", BED)), WANT);
    assert_string_equal(fetch(f, scratch_bgzf("r.bed.gz", BED)), WANT);
    assert_string_equal(fetch(f, scratch_gzip("r2.bed.gz", BED)), WANT);
}

static void wrong_bed_files(void **state) {
    (void)state;
    const char *f = scratch_text("g.fa", FASTA);
    static const struct {
        const char *text, *words;
    } WRONG[] = {{"", "no region"},
                 {"chr1\t0\n", ":1: 2 columns"},
                 {"chr1\t0\t4\nchr1\tx\t4\n", ":2: 'x' is not a position"},
                 {"chr1\t-1\t4\n", "'-1' is not a position"},
                 {"chr1\t0\t1e3\n", "'1e3' is not a position"},
                 {"chr1\t4\t4\n", "holds no base"},
                 {"chr1\t4\t3\n", "holds no base"},
                 {"chr1\t0\t4\ta\t0\t?\n", "strand '?'"},
                 {"chr1\t0\t4\nchr1\t0\t21\n", "r.bed:2: 1-21 (counted from 1) reaches outside"},
                 {"20\t0\t4\n", "r.bed:1: contig '20'"},
                 {"chr1\t99999999999999999999\t4\n", "not a position"}};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        fails_with(fetch(f, scratch_text("r.bed", WRONG[i].text)), WRONG[i].words);
    fails_with(fetch(f, scratch_bytes("r.bed", "chr1\0x\t0\t4\n", 11)), "zero byte");
    const char *whole = scratch_bgzf("w.bed.gz", "chr1\t0\t4\n");
    fails_with(fetch(f, scratch_cut("cut.bed.gz", whole, scratch_size(whole) - 28)), "cut short");
}

static void inputs_without_random_access(void **state) {
    (void)state;
    fails_with(fetch(scratch_gzip("plain.fa.gz", FASTA), "chr1"), "bgzip");
    fails_with(fetch("-", "chr1"), "standard input");
    fails_with(fetch(scratch_text("r.fq", "@a\nACGT\n+\nIIII\n"), "a"), "FASTQ");
    fails_with(fetch(scratch_text("uneven.fa", ">a\nACGT\nAC\nACGT\n"), "a"), "differ in length");
    const char *whole = scratch_bgzf("w.fa.gz", FASTA);
    fails_with(fetch(scratch_cut("cut.fa.gz", whole, scratch_size(whole) - 28), "chr1"), "cut short");
}

/* An index is a text file that anyone may have edited: no content of it may crash or mislead. */
static void hostile_indexes(void **state) {
    (void)state;
    const char *f = scratch_text("h.fa", FASTA);
    static const char *const WRONG[] = {"",
                                        "chr1",
                                        "chr1\t20\n",
                                        "chr1\t20\t10\t10",
                                        "chr1\t20\t10\t0\t11\n",
                                        "chr1\t20\t10\t10\t9\n",
                                        "chr1\t-20\t10\t10\t11\n",
                                        "chr1\t20\t-10\t10\t11\n",
                                        "chr1\t999999999999\t10\t10\t11\n",
                                        "chr1\t20\t1000\t10\t11\n",
                                        "chr1\t2000\t10\t10\t11\n",
                                        "chr1\t99999999999999999999\t10\t10\t11\n",
                                        "\t20\t10\t10\t11\n",
                                        "chr1\t20\t10\t10\t11\textra\n"};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        scratch_text("h.fa.fai", WRONG[i]);
        fails_with(fetch(f, "chr1:1-20"), "h.fa.fai");
    }
    /* A plausible index of another file: what comes is short, or holds a '>' that no letter policy takes. */
    scratch_text("h.fa.fai", "chr1\t40\t10\t10\t11\n");
    const char *result = fetch(f, "chr1:1-40");
    assert_true(strchr(result, '!') || strchr(result, '>'));
    unlink(scratch_path("h.fa.fai"));
    assert_string_equal(fetch(f, "chr1:1-4"), "chr1:1-4=ACGT@chr1:0-4+ ");
    const char *z = scratch_bgzf("z.fa.gz", FASTA);
    assert_string_equal(fetch(z, "chr1:1-4"), "chr1:1-4=ACGT@chr1:0-4+ ");
    scratch_text("z.fa.gz.gzi", "short");
    fails_with(fetch(z, "chr1:1-4"), "index");
}

/* In a folder that may not be written the index is made elsewhere, and nothing stays behind. */
static void unwritable_folder(void **state) {
    (void)state;
    char dir[512], tmp[512], path[600];
    snprintf(dir, sizeof dir, "%s", scratch_path("readonly"));
    snprintf(tmp, sizeof tmp, "%s", scratch_path("tmp"));
    snprintf(path, sizeof path, "%s/g.fa", dir);
    assert_int_equal(mkdir(dir, 0755) || mkdir(tmp, 0777) || chmod(tmp, 0777) || chmod(scratch_dir(), 0755), 0);
    scratch_text("readonly/g.fa", FASTA);
    assert_int_equal(chmod(dir, 0555), 0);
    const char *tmpdir = getenv("TMPDIR");
    char *old = tmpdir ? strdup(tmpdir) : NULL;
    const uid_t me = geteuid();
    setenv("TMPDIR", tmp, 1);
    if (me == 0 && seteuid(65534))
        skip();
    if (access(path, R_OK)) { /* a parent folder is closed to others */
        printf("SKIP: %s cannot be read by others\n", path);
    } else {
        assert_string_equal(fetch(path, "chr1:1-4"), "chr1:1-4=ACGT@chr1:0-4+ ");
    }
    if (me == 0)
        assert_int_equal(seteuid(0), 0);
    chmod(dir, 0755);
    assert_int_equal(rmdir(tmp), 0); /* empty again */
    assert_int_not_equal(access(scratch_path("readonly/g.fa.fai"), F_OK), 0);
    if (old)
        setenv("TMPDIR", old, 1);
    else
        unsetenv("TMPDIR");
    free(old);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(region_texts),
                                       cmocka_unit_test(wrong_region_texts),
                                       cmocka_unit_test(bed_files),
                                       cmocka_unit_test(wrong_bed_files),
                                       cmocka_unit_test(inputs_without_random_access),
                                       cmocka_unit_test(hostile_indexes),
                                       cmocka_unit_test(unwritable_folder)};
    mb_log_set_level(MB_LOG_QUIET);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
