/* Sequences from files: what is read, and that nothing damaged is read silently. */
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
#include <htslib/sam.h>

#include "core/log.h"
#include "core/mem.h"
#include "genomics/reader.h"
#include "tests/models.h"
#include "tests/scratch.h"

/* Everything read, as "name|comment|bases|contig:start-end strand\n" lines; then "!" and the error's status. */
static char got[1 << 16];
static mb_err error;

static const char *read_inputs(const dna_reader_options *o, int n, ...) {
    char *inputs[8];
    va_list list;
    va_start(list, n);
    for (int i = 0; i < n; i++)
        inputs[i] = va_arg(list, char *);
    va_end(list);
    dna_reader *r = NULL;
    dna_record record;
    size_t at = 0;
    dna_record_init(&record);
    mb_err_clear(&error);
    *got = 0;
    int rc = dna_reader_open(&r, inputs, n, o, &error);
    while (!rc && (rc = dna_reader_next(r, &record, &error)) > 0) {
        at += (size_t)snprintf(got + at, sizeof got - at, "%s|%s|%.*s|%s:%" PRId64 "-%" PRId64 " %c\n",
                               record.name.data, record.comment.data, (int)(record.bases.n < 64 ? record.bases.n : 64),
                               record.bases.data, record.contig.data, record.start, record.end, record.strand);
        rc = 0;
    }
    if (rc < 0)
        snprintf(got + at, sizeof got - at, "!%d", rc);
    dna_record_fini(&record);
    dna_reader_close(r);
    return got;
}

static const char *read_text(const char *text) {
    static int number;
    char name[32];
    snprintf(name, sizeof name, "in%d.fa", number++);
    return read_inputs(&(dna_reader_options){0}, 1, scratch_text(name, text));
}

static void fails_with(const char *result, const char *words) {
    if (!strchr(result, '!') || !strstr(error.text, words))
        fail_msg("expected an error about '%s'; got: %s, error: %s", words, result, error.text);
}

static void fasta_and_fastq(void **state) {
    (void)state;
    assert_string_equal(read_text(">a one two\nACGT\nacg\n>b\nNN\n"), "a|one two|ACGTacg|a:0-7 +\nb||NN|b:0-2 +\n");
    assert_string_equal(read_text("\r\n>a  x y \r\nAC\r\n\r\nGT\r\n>b\tz\r\nA"),
                        "a|x y |ACGT|a:0-4 +\nb|z|A|b:0-1 +\n");
    assert_string_equal(read_text(">a\nAC GT\tA\n"), "a||ACGTA|a:0-5 +\n");
    assert_string_equal(read_text("@r1 c\nACGT\n+\nIIII\n@r2\nAC\nGT\n+r2\n@I\n>>\n"),
                        "r1|c|ACGT|r1:0-4 +\nr2||ACGT|r2:0-4 +\n");
}

static void compressed(void **state) {
    (void)state;
    static const char TEXT[] = ">a\nACGT\n>b\nGGCC\n";
    const dna_reader_options o = {0};
    const char *want = "a||ACGT|a:0-4 +\nb||GGCC|b:0-4 +\n";
    assert_string_equal(read_inputs(&o, 1, scratch_gzip("x.fa.gz", TEXT)), want);
    assert_string_equal(read_inputs(&o, 1, scratch_bgzf("y.anything", TEXT)), want);
    assert_string_equal(read_inputs(&o, 2, scratch_text("1.fa", ">a\nACGT\n"), scratch_gzip("2.fa.gz", ">b\nGGCC\n")),
                        want);
}

static void damaged_text_is_refused(void **state) {
    (void)state;
    fails_with(read_text(""), "holds no sequence");
    fails_with(read_text("\n\n"), "holds no sequence");
    fails_with(read_text("ACGT\nACGT\n"), "header line missing");
    fails_with(read_text("# comment\n>a\nAC\n"), "expected '>'");
    fails_with(read_text("\x01\x02\x03"), "0x01");
    fails_with(read_text(">\nACGT\n"), ":1: header without a name");
    fails_with(read_text(">a\nACGT\n> b\nA\n"), ":3: header without a name");
    fails_with(read_text(">a\n>b\nACGT\n"), "has no bases");
    fails_with(read_text("@r\nACGT\n"), "no '+' line");
    fails_with(read_text("@r\nACGT\n+\nII\n"), "4 bases, 2 qualities");
    fails_with(read_text("@r\nACGT\n+\nIIIII\n"), "more qualities");
    fails_with(read_text("@r\nACGT\n+\nIIII\n>s\nAC\n"), ":5: expected '@'");
    fails_with(read_text(">a\nACGT\n>a\nACGT\n"), "record 2 'a': the name came before, as record 1");
    static const char ZERO[] = ">a\0b\nACGT\n";
    fails_with(read_inputs(&(dna_reader_options){0}, 1, scratch_bytes("zero.fa", ZERO, sizeof ZERO - 1)), "zero byte");
}

static char *long_fasta(void) {
    char *text = malloc(1 << 20);
    size_t n = 0;
    assert_non_null(text);
    uint32_t x = 1;
    for (int r = 0; r < 4; r++) {
        n += (size_t)sprintf(text + n, ">r%d\n", r);
        for (int i = 0; i < 200000; i++) {
            x = x * 1664525 + 1013904223;
            text[n++] = "ACGT"[x >> 30];
            if (i % 80 == 79)
                text[n++] = '\n';
        }
        text[n++] = '\n';
    }
    text[n] = 0;
    return text;
}

/* However a compressed file is cut, the end is an error and never a shorter result. */
static void truncated_files_are_refused(void **state) {
    (void)state;
    char *text = long_fasta();
    const char *kind[] = {scratch_gzip("long.fa.gz", text), scratch_bgzf("long.fa.bgz", text)};
    for (int k = 0; k < 2; k++) {
        const long size = scratch_size(kind[k]);
        const long cuts[] = {size - 1, size - 8, size - 28, size - 29, size / 2, size / 3, 70000, 30};
        for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
            const char *cut = scratch_cut("cut", kind[k], cuts[i]);
            const dna_reader_options o = {0};
            fails_with(read_inputs(&o, 1, cut), "cut short");
        }
    }
    /* A flipped bit inside is caught by the checksum. */
    size_t n;
    char *data = scratch_read(kind[1], &n);
    data[n / 2] ^= 0x10;
    fails_with(read_inputs(&(dna_reader_options){0}, 1, scratch_bytes("flip.gz", data, n)), "damaged");
    free(data);
    free(text);
}

static void names_and_empty_records(void **state) {
    (void)state;
    dna_reader_options o = {.duplicates = DNA_DUPLICATES_NUMBER, .empty = DNA_EMPTY_SKIP};
    const char *path = scratch_text("dup.fa", ">a\nA\n>a.2\nC\n>e\n>a\nG\n>a\nT\n");
    assert_string_equal(read_inputs(&o, 1, path), "a||A|a:0-1 +\na.2||C|a.2:0-1 +\na.3||G|a:0-1 +\na.4||T|a:0-1 +\n");
    o.duplicates = DNA_DUPLICATES_KEEP;
    assert_string_equal(read_inputs(&o, 1, path), "a||A|a:0-1 +\na.2||C|a.2:0-1 +\na||G|a:0-1 +\na||T|a:0-1 +\n");
    o.duplicates = DNA_DUPLICATES_ERROR;
    fails_with(read_inputs(&o, 2, scratch_text("d1.fa", ">x\nA\n"), scratch_text("d2.fa", ">x\nA\n")), "came before");
}

static void wrong_files(void **state) {
    (void)state;
    const dna_reader_options o = {0};
    fails_with(read_inputs(&o, 1, scratch_path("absent.fa")), "cannot be opened");
    fails_with(read_inputs(&o, 1, scratch_dir()), "is a folder");
    fails_with(read_inputs(&o, 2, scratch_text("ok.fa", ">a\nA\n"), scratch_path("absent.fa")), "cannot be opened");
    fails_with(read_inputs(&o, 2, "-", "-"), "can be read once");
    fails_with(read_inputs(&o, 1, "https://example.org/x.fa"), "network");
    fails_with(
        read_inputs(&o, 1,
                    scratch_text("x.vcf", "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")),
        "vcf file");
}

static const char SAM[] = "@HD\tVN:1.6\tSO:coordinate\n"
                          "@SQ\tSN:chr1\tLN:1000\n"
                          "@SQ\tSN:HLA:1*01\tLN:500\n"
                          "fwd\t0\tchr1\t11\t60\t2S6M\t*\t0\t0\tAACCGGTT\t*\n"
                          "rev\t16\tchr1\t101\t60\t8M\t*\t0\t0\tAACCGGTA\t*\n"
                          "mate\t83\tchr1\t201\t9\t4M\t=\t201\t0\tAAAC\t*\n"
                          "mate\t163\tchr1\t201\t60\t4M\t=\t201\t0\tAAAG\t*\n"
                          "sup\t2048\tchr1\t301\t60\t4M\t*\t0\t0\tACGT\t*\n"
                          "hla\t0\tHLA:1*01\t1\t60\t4M\t*\t0\t0\tGGGG\t*\n"
                          "none\t4\t*\t0\t0\t*\t*\t0\t0\tACGNR\t*\n";

static const dna_alignment_options PRIMARY = {.exclude_flags = 0x900};

static void alignments(void **state) {
    (void)state;
    static const char WANT[] = "fwd||AACCGGTT|chr1:10-16 +\n"
                               "rev||TACCGGTT|chr1:100-108 -\n"
                               "mate/1||GTTT|chr1:200-204 -\n"
                               "mate/2||AAAG|chr1:200-204 +\n"
                               "hla||GGGG|HLA:1*01:0-4 +\n"
                               "none||ACGNR|:-1--1 .\n";
    dna_reader_options o = {.alignment = PRIMARY};
    const char *files[] = {scratch_alignment("r.sam", SAM, 0), scratch_alignment("r.bam", SAM, 1),
                           scratch_alignment("r.cram", SAM, 1)};
    for (int i = 0; i < 3; i++)
        assert_string_equal(read_inputs(&o, 1, files[i]), WANT);
    o.alignment.as_stored = 1;
    assert_non_null(strstr(read_inputs(&o, 1, files[1]), "rev||AACCGGTA|chr1:100-108 -\n"));
    o.alignment = (dna_alignment_options){.min_mapq = 10, .include_flags = 0x2};
    assert_string_equal(read_inputs(&o, 1, files[1]), "mate/2||AAAG|chr1:200-204 +\n");
    o.alignment = (dna_alignment_options){0};
    assert_non_null(strstr(read_inputs(&o, 1, files[1]), "sup||ACGT"));
}

static void alignment_regions(void **state) {
    (void)state;
    dna_reader_options o = {.alignment = PRIMARY, .regions = "chr1:101-201"};
    const char *bam = scratch_alignment("i.bam", SAM, 1), *cram = scratch_alignment("i.cram", SAM, 1);
    static const char WANT[] =
        "rev||TACCGGTT|chr1:100-108 -\nmate/1||GTTT|chr1:200-204 -\nmate/2||AAAG|chr1:200-204 +\n";
    assert_string_equal(read_inputs(&o, 1, bam), WANT);
    assert_string_equal(read_inputs(&o, 1, cram), WANT);
    o.regions = scratch_text("two.bed", "chr1\t100\t101\nchr1\t102\t103\nHLA:1*01\t0\t500\n");
    assert_string_equal(read_inputs(&o, 1, bam), "rev||TACCGGTT|chr1:100-108 -\nhla||GGGG|HLA:1*01:0-4 +\n");
    o.regions = "HLA:1*01";
    assert_string_equal(read_inputs(&o, 1, bam), "hla||GGGG|HLA:1*01:0-4 +\n");
    o.regions = "1:1-10";
    fails_with(read_inputs(&o, 1, bam), "calls it 'chr1'");
    o.regions = "chr1:900-1001";
    fails_with(read_inputs(&o, 1, bam), "outside");
    o.regions = "chr1:1-10";
    fails_with(read_inputs(&o, 1, scratch_alignment("noindex.bam", SAM, 0)), "need an index");
}

/* A CRAM that was written against a reference: with it, and without. */
static void cram_reference(void **state) {
    (void)state;
    const char *fasta = scratch_text("ref.fa", ">c\nACGTACGTACGTACGTACGTACGTACGTAAAA\n>d\nAC\n"),
               *cram = scratch_path("ref.cram");
    static const char TEXT[] = "@SQ\tSN:c\tLN:32\nr\t0\tc\t3\t60\t8M\t*\t0\t0\tGTACGAAC\t*\n";
    samFile *in = sam_open(scratch_text("ref.sam", TEXT), "r"), *out = sam_open(cram, "wc");
    sam_hdr_t *header = sam_hdr_read(in);
    bam1_t *read = bam_init1();
    assert_true(hts_set_fai_filename(out, fasta) == 0 && sam_hdr_write(out, header) == 0);
    assert_true(sam_read1(in, header, read) >= 0 && sam_write1(out, header, read) >= 0);
    bam_destroy1(read);
    sam_hdr_destroy(header);
    sam_close(in);
    assert_true(sam_close(out) >= 0);
    dna_reader_options o = {.alignment = {.exclude_flags = 0x900, .reference = fasta}};
    assert_string_equal(read_inputs(&o, 1, cram), "r||GTACGAAC|c:2-10 +\n");
    remove(fasta);
    o.alignment.reference = NULL;
    fails_with(read_inputs(&o, 1, cram), "--reference");
    o.alignment.reference = scratch_path("absent.fa");
    fails_with(read_inputs(&o, 1, cram), "absent.fa");
}

static void damaged_alignments_are_refused(void **state) {
    (void)state;
    const dna_reader_options o = {.alignment = PRIMARY};
    const char *bam = scratch_alignment("whole.bam", SAM, 0);
    const long size = scratch_size(bam);
    const long cuts[] = {size - 28, size - 1, size / 2};
    for (int i = 0; i < 3; i++)
        fails_with(read_inputs(&o, 1, scratch_cut("cut.bam", bam, cuts[i])), i == 2 ? "" : "cut short");
    fails_with(read_inputs(&o, 1, scratch_text("bad.sam", "@HD\tVN:1.6\n@SQ\tSN:c\tLN:10\nr\t0\tc\tx\n")), "damaged");
    char *text = mb_asprintf("%s%s", SAM, "empty\t4\t*\t0\t0\t*\t*\t0\t0\t*\t*\n");
    fails_with(read_inputs(&o, 1, scratch_alignment("empty.bam", text, 0)), "'empty': has no bases");
    mb_free(text);
}

static void real_files(void **state) {
    (void)state;
    if (!shared_dir()) {
        printf("SKIP: no shared data (set SEQMAMBA_SHARED)\n");
        skip();
    }
    static const struct {
        const char *name;
        int64_t records; /* samtools view -c -F 0x900 */
    } KNOWN[] = {
        {"bam/pysam_ex1.bam", 3270}, {"bam/lambda_unaligned_reads.bam", 26000}, {"genomes/phix174_variants.fa", 134}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        char *path = mb_asprintf("%s/data/genomics/%s", shared_dir(), KNOWN[i].name);
        const dna_reader_options o = {.alignment = PRIMARY, .empty = DNA_EMPTY_SKIP};
        dna_reader *r = NULL;
        dna_record record;
        int64_t n = 0;
        dna_record_init(&record);
        mb_err_clear(&error);
        int rc = dna_reader_open(&r, &path, 1, &o, &error);
        while (!rc && (rc = dna_reader_next(r, &record, &error)) > 0)
            rc = 0, n++;
        if (rc || n != KNOWN[i].records)
            fail_msg("%s: %" PRId64 " records, %s", path, n, error.text);
        dna_record_fini(&record);
        dna_reader_close(r);
        mb_free(path);
    }
}

/* Every allocation fails once: an error each time, nothing left allocated. */
static void memory_runs_out(void **state) {
    (void)state;
    const char *fasta = scratch_text("oom.fa", ">a one\nACGTACGT\n>b\nCC\n"),
               *bam = scratch_alignment("oom.bam", SAM, 1);
    const char *bed = scratch_text("oom.bed", "a\t1\t3\tx\t0\t-\nb\t0\t1\n");
    const dna_reader_options plain = {.alignment = PRIMARY}, regions = {.regions = bed},
                             places = {.alignment = PRIMARY, .regions = "chr1:5-150"};
    read_inputs(&regions, 1, fasta); /* leaves the index there */
    for (int way = 0; way < 4; way++) {
        long n = 0;
        do {
            mb_mem_fail_nth(++n, 0);
            const char *result = read_inputs(way == 0   ? &plain
                                             : way == 1 ? &regions
                                             : way == 2 ? &plain
                                                        : &places,
                                             1, way < 2 ? fasta : bam);
            if (mb_mem_fault_fired() && !strstr(result, "!-2"))
                fail_msg("allocation %ld of way %d failed and went unnoticed: %s", n, way, result);
            assert_int_equal(mb_mem_live_blocks(), 0);
        } while (mb_mem_fault_fired());
        assert_true(n > 3);
        mb_mem_fail_nth(0, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fasta_and_fastq),
                                       cmocka_unit_test(compressed),
                                       cmocka_unit_test(damaged_text_is_refused),
                                       cmocka_unit_test(truncated_files_are_refused),
                                       cmocka_unit_test(names_and_empty_records),
                                       cmocka_unit_test(wrong_files),
                                       cmocka_unit_test(alignments),
                                       cmocka_unit_test(alignment_regions),
                                       cmocka_unit_test(cram_reference),
                                       cmocka_unit_test(damaged_alignments_are_refused),
                                       cmocka_unit_test(real_files),
                                       cmocka_unit_test(memory_runs_out)};
    mb_log_set_level(MB_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
