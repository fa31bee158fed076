/* What an ALT is, and the normal form of alleles: by hand, by brute force, and as vt normalize has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "genomics/allele.h"
#include "genomics/contig_map.h"
#include "genomics/reader.h"
#include "genomics/vcf.h"
#include "tests/models.h"
#include "tests/scratch.h"

static mb_err error;

static void kinds(void **state) {
    (void)state;
    static const struct {
        const char *ref, *alt;
        dna_allele_kind kind;
        dna_reason reason;
        int64_t start, ref_n, alt_n;
        const char *rest; /* of ALT */
    } CASE[] = {
        {"A", "G", DNA_ALLELE_SNV, 0, 100, 1, 1, "G"},
        {"a", "g", DNA_ALLELE_SNV, 0, 100, 1, 1, "g"},
        {"CAT", "CGT", DNA_ALLELE_SNV, 0, 101, 1, 1, "G"},
        {"CAT", "TAC", DNA_ALLELE_MNV, 0, 100, 3, 3, "TAC"},
        {"CATG", "CTCG", DNA_ALLELE_MNV, 0, 101, 2, 2, "TC"},
        {"A", "AG", DNA_ALLELE_INSERTION, 0, 101, 0, 1, "G"},
        {"G", "AG", DNA_ALLELE_INSERTION, 0, 100, 0, 1, "A"},
        {"AA", "A", DNA_ALLELE_DELETION, 0, 100, 1, 0, ""},
        {"CTT", "C", DNA_ALLELE_DELETION, 0, 101, 2, 0, ""},
        {"CTT", "CG", DNA_ALLELE_COMPLEX, 0, 101, 2, 1, "G"},
        {"CN", "C", DNA_ALLELE_OTHER, DNA_REASON_NOT_ACGT, 100, 0, 0, NULL},
        {"NAA", "NA", DNA_ALLELE_DELETION, 0, 101, 1, 0, ""}, /* N does not change */
        {"A", "R", DNA_ALLELE_OTHER, DNA_REASON_NOT_ACGT, 100, 0, 0, NULL},
        {"A", "5", DNA_ALLELE_OTHER, DNA_REASON_NOT_ACGT, 100, 0, 0, NULL},
        {"A", "*", DNA_ALLELE_OTHER, DNA_REASON_STAR, 100, 0, 0, NULL},
        {"A", "<DEL>", DNA_ALLELE_OTHER, DNA_REASON_SYMBOLIC, 100, 0, 0, NULL},
        {"A", "<*>", DNA_ALLELE_OTHER, DNA_REASON_SYMBOLIC, 100, 0, 0, NULL},
        {"A", ".", DNA_ALLELE_OTHER, DNA_REASON_NO_ALT, 100, 0, 0, NULL},
        {"A", "", DNA_ALLELE_OTHER, DNA_REASON_NO_ALT, 100, 0, 0, NULL},
        {"G", "G]17:198982]", DNA_ALLELE_OTHER, DNA_REASON_BREAKEND, 100, 0, 0, NULL},
        {"G", "]13:123456]T", DNA_ALLELE_OTHER, DNA_REASON_BREAKEND, 100, 0, 0, NULL},
        {"G", "G.", DNA_ALLELE_OTHER, DNA_REASON_BREAKEND, 100, 0, 0, NULL},
        {"G", ".G", DNA_ALLELE_OTHER, DNA_REASON_BREAKEND, 100, 0, 0, NULL},
        {"AC", "ac", DNA_ALLELE_OTHER, DNA_REASON_SAME_AS_REF, 100, 0, 0, NULL},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        const dna_change c = dna_allele_change(CASE[i].ref, CASE[i].alt, 100);
        if (c.kind != CASE[i].kind || c.reason != CASE[i].reason || c.start != CASE[i].start ||
            c.ref_n != CASE[i].ref_n || c.alt_n != CASE[i].alt_n)
            fail_msg("%s>%s: %s '%s' at %d, %d by %d", CASE[i].ref, CASE[i].alt, dna_allele_kind_name[c.kind],
                     dna_reason_name[c.reason], (int)c.start, (int)c.ref_n, (int)c.alt_n);
        if (CASE[i].rest)
            assert_memory_equal(c.alt, CASE[i].rest, (size_t)c.alt_n);
    }
}

static int base_of_text(void *user, int64_t pos, mb_err *e) {
    const char *text = user;
    (void)e;
    assert_true(pos >= 0 && pos < (int64_t)strlen(text));
    return (unsigned char)text[pos];
}

static void by_hand(void **state) {
    (void)state;
    /*                    0         1         2 */
    /*                    012345678901234567890 */
    static char TEXT[] = "aaaaGCATGCACACACTTTTG";
    static const struct {
        int64_t pos;
        char *const allele[4];
        int n, changed;
        int64_t to;
        const char *result[4];
    } CASE[] = {
        {16, {"TTT", "TT"}, 2, 1, 15, {"CT", "C"}},             /* longer than need be */
        {18, {"TT", "T"}, 2, 1, 15, {"CT", "C"}},               /* to the left end of the run */
        {14, {"ACT", "T"}, 2, 1, 8, {"GCA", "G"}},              /* a repeat of two */
        {5, {"C", "T"}, 2, 0, 5, {"C", "T"}},                   /* substitution */
        {4, {"GCAT", "GCGT"}, 2, 1, 6, {"A", "G"}},             /* both ends shared */
        {4, {"GCAT", "GTAC"}, 2, 1, 5, {"CAT", "TAC"}},         /* MNV keeps what it shares inside */
        {2, {"AA", "A"}, 2, 1, 0, {"AA", "A"}},                 /* the contig begins with the run */
        {19, {"T", "TT", "TTT"}, 3, 1, 15, {"C", "CT", "CTT"}}, /* two insertions */
        {19, {"T", "TT", "G"}, 3, 0, 19, {"T", "TT", "G"}},     /* ALTs that do not move together */
        {5, {"C", "<DEL>"}, 2, 0, 5, {"C", "<DEL>"}},
        {5, {"C", "*"}, 2, 0, 5, {"C", "*"}},
        {5, {"C", "C"}, 2, 0, 5, {"C", "C"}},
        {5, {"C"}, 1, 0, 5, {"C"}},
    };
    dna_normalizer n = {0};
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        int64_t pos = CASE[i].pos;
        const int changed = dna_normalize(&n, CASE[i].allele, CASE[i].n, &pos, base_of_text, TEXT, &error);
        assert_int_equal(changed, CASE[i].changed);
        assert_int_equal(pos, CASE[i].to);
        for (int k = 0; changed && k < CASE[i].n; k++)
            assert_string_equal(n.allele[k].data, CASE[i].result[k]);
    }
    dna_normalizer_fini(&n);
}

/* The sequence that a REF and ALT at pos make of text. */
static void apply(const char *text, int64_t pos, const char *ref, const char *alt, char *out) {
    sprintf(out, "%.*s%s%s", (int)pos, text, alt, text + pos + strlen(ref));
}

/* Every deletion and every insertion of one to three letters in a short text over two letters: the normal form makes
 * the same sequence, and everything that makes the same sequence has the same normal form. */
static void one_spelling(void **state) {
    (void)state;
    static char TEXT[] = "CAACACACCCAAAAC";
    enum { MOST = 4096 };
    static char made[MOST][64], form[MOST][64];
    const int length = (int)strlen(TEXT);
    dna_normalizer n = {0};
    int count = 0;
    for (int pos = 0; pos + 1 < length; pos++)
        for (int size = 1; size <= 3; size++)
            for (int bits = -1; bits < 1 << size; bits++) { /* -1: deletion */
                char ref[8] = {TEXT[pos]}, alt[8] = {TEXT[pos]};
                char *allele[] = {ref, alt};
                int64_t at = pos;
                if (bits < 0 && pos + 1 + size > length)
                    continue;
                for (int k = 0; k < size; k++)
                    (bits < 0 ? ref : alt)[k + 1] = (char)(bits < 0 ? TEXT[pos + 1 + k] : bits >> k & 1 ? 'A' : 'C');
                const int changed = dna_normalize(&n, allele, 2, &at, base_of_text, TEXT, &error);
                const char *r = changed ? n.allele[0].data : ref, *a = changed ? n.allele[1].data : alt;
                assert_true(changed >= 0 && count < MOST);
                apply(TEXT, pos, ref, alt, made[count]);
                apply(TEXT, at, r, a, form[count]);
                assert_string_equal(made[count], form[count]);
                sprintf(form[count++], "%d %s %s", (int)at, r, a);
            }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(made[i], made[k]) == 0)
                assert_string_equal(form[i], form[k]);
    dna_normalizer_fini(&n);
}

/* ---- vt normalize on its own test file ----------------------------------------------------------------------------
 */

enum { MOST_RECORDS = 400 };

static int by_text(const void *a, const void *b) {
    return strcmp(a, b);
}

static int base_of_chromosome(void *user, int64_t pos, mb_err *e) {
    (void)e;
    return ((unsigned char *)user)[pos];
}

static int read_vcf(const char *path, dna_normalizer *n, char *chromosome, char (*line)[512]) {
    dna_vcf *v = NULL;
    bcf1_t *r = bcf_init();
    int count = 0;
    assert_int_equal(dna_vcf_open(&v, path, &error), MB_OK);
    while (dna_vcf_next(v, r, &error) > 0) {
        int64_t pos = r->pos;
        const int changed =
            n ? dna_normalize(n, r->d.allele, r->n_allele, &pos, base_of_chromosome, chromosome, &error) : 0;
        assert_true(count < MOST_RECORDS && r->n_allele == 2 && changed >= 0);
        snprintf(line[count++], sizeof *line, "%d %s %s", (int)pos + 1, changed ? n->allele[0].data : r->d.allele[0],
                 changed ? n->allele[1].data : r->d.allele[1]);
    }
    bcf_destroy(r);
    dna_vcf_close(v);
    qsort(line, (size_t)count, sizeof *line, by_text);
    return count;
}

static void as_vt_has_it(void **state) {
    (void)state;
    static char got[MOST_RECORDS][512], want[MOST_RECORDS][512];
    char path[3][1024];
    static const char *const NAME[] = {"genomes/human_GRCh37_chr20.fa.gz", "vcf/vt_normalize_chr20_IN.vcf.gz",
                                       "vcf/vt_normalize_chr20_OUT.vcf.gz"};
    if (!shared_dir())
        skip();
    for (int i = 0; i < 3; i++)
        snprintf(path[i], sizeof path[i], "%s/data/genomics/%s", shared_dir(), NAME[i]);
    char *inputs[] = {path[0]};
    dna_reader *reader = NULL;
    dna_record chromosome;
    dna_normalizer n = {0};
    dna_record_init(&chromosome);
    assert_int_equal(dna_reader_open(&reader, inputs, 1, &(dna_reader_options){0}, &error), MB_OK);
    assert_int_equal(dna_reader_next(reader, &chromosome, &error), 1);
    const int records = read_vcf(path[1], &n, chromosome.bases.data, got);
    assert_int_equal(records, 194);
    assert_int_equal(read_vcf(path[2], NULL, NULL, want), records);
    for (int i = 0; i < records; i++)
        assert_string_equal(got[i], want[i]);
    dna_normalizer_fini(&n);
    dna_record_fini(&chromosome);
    dna_reader_close(reader);
}

static void contig_maps(void **state) {
    (void)state;
    dna_contig_map m;
    const char *path = scratch_text("map", "# from to\n\n1\tchr1\r\nMT  chrM\n2 chr2");
    assert_int_equal(dna_contig_map_read(&m, path, &error), MB_OK);
    assert_int_equal(m.n, 3);
    assert_string_equal(dna_contig_map_find(&m, "MT"), "chrM");
    assert_string_equal(dna_contig_map_find(&m, "1"), "chr1");
    assert_string_equal(dna_contig_map_find(&m, "X"), "X");
    dna_contig_map_fini(&m);
    static const char *const BAD[] = {"", "1\n", "1 chr1 x\n", "1 chr1\n1 chr2\n", "# nothing\n"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_int_equal(dna_contig_map_read(&m, scratch_text("bad", BAD[i]), &error), MB_FORMAT);
        mb_err_clear(&error);
    }
}

static void memory_runs_out(void **state) {
    (void)state;
    static char TEXT[] = "CACACACACACACACACA";
    char *allele[] = {"ACA", "A", "ACACA"};
    const char *path = scratch_text("map", "1 chr1\n");
    const long before = mb_mem_live_blocks();
    for (long i = 1;; i++) {
        dna_normalizer n = {0};
        dna_contig_map m = {0};
        int64_t pos = 15;
        mb_err_clear(&error);
        mb_mem_fail_nth(i, 0);
        int rc = dna_normalize(&n, allele, 3, &pos, base_of_text, TEXT, &error);
        if (rc >= 0)
            rc = dna_contig_map_read(&m, path, &error);
        const int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        dna_normalizer_fini(&n);
        dna_contig_map_fini(&m);
        assert_int_equal(mb_mem_live_blocks(), before);
        if (!fired)
            break;
        assert_int_equal(rc, MB_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds),        cmocka_unit_test(by_hand),
                                       cmocka_unit_test(one_spelling), cmocka_unit_test(as_vt_has_it),
                                       cmocka_unit_test(contig_maps),  cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
