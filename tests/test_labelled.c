/* Sequences with labels: every kind of input and task, what is guessed, and everything that can be wrong with them. */
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
#include "genomics/labelled.h"
#include "genomics/table.h"
#include "tests/models.h"
#include "tests/scratch.h"

static mb_err error;
static dna_alphabet alphabet;
static dna_labelled d;
static char shown[4096];

static int set_up(void **state) {
    (void)state;
    const mb_config c = model_caduceus(8, 1, 1);
    return dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error);
}

/* Examples as "name:bases=label", label an index, or numbers, or indices of bases. */
static const char *show(void) {
    size_t at = 0;
    *shown = 0;
    for (int64_t i = 0; i < d.n && at < sizeof shown - 400; i++) {
        const dna_example *x = &d.at[i];
        at += (size_t)snprintf(shown + at, sizeof shown - at, "%s:", x->name);
        for (int64_t j = 0; j < x->length && j < 100; j++)
            shown[at++] = "....N..ACGTN"[x->token[j]];
        at += (size_t)snprintf(shown + at, sizeof shown - at, "=");
        for (int c = 0; x->value && c < d.n_labels; c++)
            at += (size_t)snprintf(shown + at, sizeof shown - at, "%s%g", c ? "," : "", x->value[c]);
        for (int64_t j = 0; x->base && j < x->length; j++)
            shown[at++] = x->base[j] == DNA_UNLABELLED ? '.' : (char)('0' + x->base[j]);
        if (x->label >= 0)
            at += (size_t)snprintf(shown + at, sizeof shown - at, "%d", x->label);
        at += (size_t)snprintf(shown + at, sizeof shown - at, "%s%s ", x->part >= 0 ? "@" : "",
                               x->part >= 0 ? d.part_name[x->part] : "");
    }
    return shown;
}

/* Names of the labels as "a|b". */
static const char *labels(void) {
    static char out[4096];
    *out = 0;
    for (int i = 0; i < d.n_labels; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s%s", i ? "|" : "", d.label[i]);
    return out;
}

static int read_all(char *const *inputs, int n, const dna_labelled_options *o) {
    const dna_labelled_files files = {.inputs = inputs, .n = n};
    dna_labelled_fini(&d);
    mb_err_clear(&error);
    return dna_labelled_read(&d, &files, 1, o, &alphabet, &error);
}

static int read_one(const char *input, const dna_labelled_options *o) {
    char *inputs[] = {(char *)(uintptr_t)input};
    return read_all(inputs, 1, o);
}

static void ok(int rc) {
    if (rc)
        fail_msg("%s", error.text);
}

static void is(const char *input, const dna_labelled_options *o, int task, const char *names, const char *want) {
    ok(read_one(input, o));
    assert_string_equal(dna_task_name(d.task), dna_task_name(task));
    assert_string_equal(labels(), names);
    assert_string_equal(show(), want);
}

static const dna_labelled_options NOTHING = {0};

static void tables(void **state) {
    (void)state;
    static const char TSV[] = "seq\tlabel\nACGT\t1\nGGNA\t0\n";
    static const char *const WANT = ":ACGT=1 :GGNA=0 ";
    is(scratch_text("a.tsv", TSV), &NOTHING, DNA_TASK_CLASS, "0|1", WANT);
    is(scratch_gzip("a.tsv.gz", TSV), &NOTHING, DNA_TASK_CLASS, "0|1", WANT);
    is(scratch_bgzf("b.tsv.gz", TSV), &NOTHING, DNA_TASK_CLASS, "0|1", WANT);
    assert_non_null(strstr(d.said.data, "column 'seq' is taken for the sequence\n"));
    assert_non_null(strstr(d.said.data, "column 'label' is taken for the label\n"));
    assert_non_null(strstr(d.said.data, "taken for the task class\n"));
    is(scratch_text("b.csv",
                    "\xef\xbb\xbf\n\nID, Sequence ,x,Class\r\na, ACGT ,\"1,\"\"\n2\",\"pro \"\"m\"\r\n\r\nb,CC,,x"),
       &NOTHING, DNA_TASK_CLASS, "pro \"m|x", "a:ACGT=0 b:CC=1 ");
    assert_true(d.at[0].line == 4 && d.at[1].line == 7 && d.n_bases == 6);
    is(scratch_text("c.csv", "dna;y;split\nAC;b;train\nGT;a;test\n"), &NOTHING, DNA_TASK_CLASS, "a|b",
       ":AC=1@train :GT=0@test ");
    const dna_labelled_options named = {.sequence = "S", .label = "2", .name = "n", .split = "p"};
    is(scratch_text("d.csv", "S,L,n,p,label\nACG,9,e1,u,1\nTTT,10,e2,v,2\n"), &named, DNA_TASK_CLASS, "9|10",
       "e1:ACG=0@u e2:TTT=1@v ");
    char place[300];
    assert_string_equal(dna_example_place(&d, &d.at[1], place, sizeof place) + strlen(place) - 7, "d.csv:3");
}

static void tasks(void **state) {
    (void)state;
    is(scratch_text("m.csv", "seq,label\nAC,a;b\nGT,c\nTT,b ; c\n"), &NOTHING, DNA_TASK_MULTI, "a|b|c",
       ":AC=1,1,0 :GT=0,0,1 :TT=0,1,1 ");
    is(scratch_text("m.csv", "seq,label\nAC,a\nGT,\n"), &(dna_labelled_options){.task = DNA_TASK_MULTI}, DNA_TASK_MULTI,
       "a", ":AC=1 :GT=0 ");
    const dna_labelled_options two = {.label = "b,a"};
    is(scratch_text("m2.csv", "seq,a,b\nAC,1,0\nGT,1,1\n"), &two, DNA_TASK_MULTI, "b|a", ":AC=0,1 :GT=1,1 ");
    is(scratch_text("r2.csv", "seq,a,b\nAC,1,0\nGT,1.5,1\n"), &two, DNA_TASK_REGRESSION, "b|a", ":AC=0,1 :GT=1,1.5 ");
    is(scratch_text("r.csv", "seq,target\nAC,1e-3\nGT,-2\n"), &NOTHING, DNA_TASK_REGRESSION, "target",
       ":AC=0.001 :GT=-2 ");
    is(scratch_text("c.csv", "seq,target\nAC,1.0\nGT,-2\n"), &NOTHING, DNA_TASK_CLASS, "-2|1.0", ":AC=1 :GT=0 ");
    is(scratch_text("b.csv", "seq,label\nACGTACGT,ee..ii.e\nGGGGCCCCA,iiiiiiiii\n"), &NOTHING, DNA_TASK_BASES, "e|i",
       ":ACGTACGT=00..11.0 :GGGGCCCCA=111111111 ");
    const dna_labelled_options middle = {.task = DNA_TASK_BASES, .max_length = 4, .lengths = DNA_LENGTHS_CENTRE};
    is(scratch_text("b.csv", "seq,label\nACGTACGT,12341234\nAAC,123\n"), &middle, DNA_TASK_BASES, "1|2|3|4",
       ":GTAC=2301 :AAC=012 ");
    assert_int_equal(d.trimmed, 1);
}

static void known_labels(void **state) {
    (void)state;
    static const char *const KNOWN[] = {"z", "b", "a"};
    dna_labelled_options o = {.labels = KNOWN, .n_known = 3};
    is(scratch_text("k.csv", "seq,label\nAC,a\nGT,z\n"), &o, DNA_TASK_CLASS, "z|b|a", ":AC=2 :GT=0 ");
    assert_int_equal(read_one(scratch_text("k.csv", "seq,label\nAC,a\nGT,q\n"), &o), MB_FORMAT);
    assert_non_null(strstr(error.text, "k.csv:3:4: found label 'q', expected one of z, b, a"));
    is(scratch_text("k.csv", "seq,label\nAC,a;b\n"), &o, DNA_TASK_MULTI, "z|b|a", ":AC=0,1,1 ");
    o = (dna_labelled_options){.without_labels = 1};
    ok(read_one(scratch_text("k.csv", "seq\nAC\nGT\n"), &o));
    assert_string_equal(show(), ":AC= :GT= ");
    assert_int_equal(d.n_labels, 0);
}

static void fasta_headers(void **state) {
    (void)state;
    is(scratch_text("f.fa", ">s1 label=pos x\nAC\nGT\n>s2|label=neg|y\nNN\n"), &NOTHING, DNA_TASK_CLASS, "neg|pos",
       "s1:ACGT=1 s2|label=neg|y:NN=0 ");
    is(scratch_text("f.fa", ">s1|1\nAC\n>s2|x|0\nGG\n"), &NOTHING, DNA_TASK_CLASS, "0|1", "s1|1:AC=1 s2|x|0:GG=0 ");
    is(scratch_text("f.fa", ">s1 long name 7\nAC\n>s1 5\nGG\n"), &NOTHING, DNA_TASK_CLASS, "5|7", "s1:AC=1 s1:GG=0 ");
    is(scratch_text("f.fa", "> 12 label=b\nAC\n>\tlabel=a\nGG\n"), &NOTHING, DNA_TASK_CLASS, "a|b",
       "12:AC=1 label=a:GG=0 ");
    char *given = mb_asprintf("%s=x", scratch_gzip("f.fa.gz", ">\nAC\n> 7\nGG\n"));
    is(given, &NOTHING, DNA_TASK_CLASS, "x", ":AC=0 7:GG=0 ");
    mb_free(given);
    const dna_labelled_options o = {.header = "k="};
    is(scratch_text("f.fa", ">s1 k=7;label=3\nAC\n>s1 k=5\nGG\n"), &o, DNA_TASK_CLASS, "5|7", "s1:AC=1 s1:GG=0 ");
    assert_int_equal(read_one(scratch_text("f.fa", ">s1 k=7\nAC\n>s2 x\nAC\n"), &o), MB_FORMAT);
    assert_non_null(strstr(error.text, "f.fa:3:1: found the header 's2 x', expected a label behind 'k='"));
    assert_int_equal(read_one(scratch_text("f.fa", ">s1\nAC\n"), &NOTHING), MB_FORMAT);
    assert_non_null(strstr(error.text, "one file per class as PATH=LABEL"));
}

static void a_file_for_each_class(void **state) {
    (void)state;
    char *inputs[2] = {mb_asprintf("%s=1", scratch_text("p.fa", ">a\nAC\n>b\nGG\n")),
                       mb_asprintf("%s=0", scratch_text("n.fa", ">c\nTT\n"))};
    ok(read_all(inputs, 2, &NOTHING));
    assert_string_equal(labels(), "0|1");
    assert_string_equal(show(), "a:AC=1 b:GG=1 c:TT=0 ");
    const dna_labelled_files parts[2] = {{"train", inputs, 2}, {"test", inputs + 1, 1}};
    dna_labelled_fini(&d);
    ok(dna_labelled_read(&d, parts, 2, &NOTHING, &alphabet, &error));
    assert_string_equal(show(), "a:AC=1@train b:GG=1@train c:TT=0@train c:TT=0@test ");
    mb_free(inputs[0]);
    mb_free(inputs[1]);
}

static void bed_files(void **state) {
    (void)state;
    const char *genome = scratch_text("g.fa", ">chr1\nACGTACGTAC\nGGGGCCCCTT\n");
    dna_labelled_options o = {.genome = genome};
    static const char BED[] = "#c\nchr1\t0\t4\tx\t1.5\n\ntrack\nchr1\t2\t6\ty\t-2\t-\r\n";
    is(scratch_text("r.bed", BED), &o, DNA_TASK_CLASS, "x|y", "chr1:0-4(+):ACGT=0 chr1:2-6(-):GTAC=1 ");
    o.label = "5";
    is(scratch_gzip("r.bed.gz", BED), &o, DNA_TASK_REGRESSION, "value", "chr1:0-4(+):ACGT=1.5 chr1:2-6(-):GTAC=-2 ");
    o.label = NULL;
    char *given = mb_asprintf("%s=peak", scratch_text("q.bed", "chr1 8 12\n"));
    is(given, &o, DNA_TASK_CLASS, "peak", "chr1:8-12(+):ACGG=0 ");
    assert_non_null(strstr(d.said.data, "same label 'peak'"));
    mb_free(given);
    assert_int_equal(read_one(scratch_text("q.bed", "chr1 8 12\n"), &o), MB_FORMAT);
    assert_non_null(strstr(error.text, "q.bed:1:1: found no column 4"));
    assert_int_equal(read_one(scratch_text("q.bed", "chr1\t8\t21\tx\n"), &o), MB_RANGE);
    o.genome = NULL;
    assert_int_equal(read_one(scratch_path("r.bed"), &o), MB_USAGE);
}

static void passed_over(void **state) {
    (void)state;
    const char *f = scratch_text("s.csv", "seq,label\nACG,1\nACGTA,\nACGT,2\nA,1\nACGTT,3\n");
    is(f, &(dna_labelled_options){.no_label = DNA_NO_LABEL_SKIP}, DNA_TASK_CLASS, "1|2|3",
       ":ACG=0 :ACGT=1 :A=0 :ACGTT=2 ");
    assert_int_equal(d.skipped_label, 1);
    const dna_labelled_options o = {
        .no_label = DNA_NO_LABEL_SKIP, .min_length = 2, .max_length = 4, .lengths = DNA_LENGTHS_SKIP};
    is(f, &o, DNA_TASK_CLASS, "1|2", ":ACG=0 :ACGT=1 ");
    assert_int_equal(d.skipped_length, 2);
    assert_non_null(strstr(d.said.data, "2 examples of other lengths were passed over"));
    const dna_labelled_options r = {.task = DNA_TASK_REGRESSION, .no_label = DNA_NO_LABEL_SKIP};
    is(scratch_text("s.csv", "seq,label\nAC,NA\nGG,1\nTT,NaN\nCC,.\n"), &r, DNA_TASK_REGRESSION, "label", ":GG=1 ");
}

static void wrong_tables(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } WRONG[] = {
        {"", "is empty"},
        {"\n \n", "is empty"},
        {"\xef\xbb\xbf\xef\xbb\xbf", "holds no line"},
        {"seq,label\n", "holds no example"},
        {"ACGT,1\nGG,0\n", "w.csv:1:1: found the columns ACGT, 1; expected a header line with a sequence column"},
        {"seq,x\nA,1\n", "expected a header line with a label column (label|labels|class|target|y)"},
        {"seq,label,class\nA,1,2\n", ":1:11: found 'label' and 'class', either could be the label"},
        {"seq,dna,label\nA,1,2\n", "either could be the sequence"},
        {"seq,label,x,x\nA,1,2,3\n", ":1:13: found column 'x' a second time"},
        {"seq,label\nACGT\n", "w.csv:2:1: found 1 field, expected 2 as in the header"},
        {"seq,label\nACGT,1\nACGT,1,2\n", "w.csv:3:8: found 3 fields, expected 2"},
        {"seq,label\nAC!T,1\n", "w.csv:2:3: found base 3 of the sequence, '!' is no nucleotide letter"},
        {"label,seq\n1,\"ACJT\"\n", "w.csv:2:6: found base 3 of the sequence, 'J' is no"},
        {"seq,label\nAC\tT,1\n", "w.csv:2:3: found base 3"},
        {"seq,label\n,1\n", "w.csv:2:1: found a sequence of 0 bases, expected 1 or more"},
        {"seq,label\nAC,\n", "w.csv:2:4: found nothing as label"},
        {"seq,label\nAC,NA\n", "w.csv:2:4: found 'NA' as label"},
        {"seq,label\n\"AC,1\nGG,2\n", "w.csv:2:1: found a quote that is never closed"},
        {"seq,label\n\"AC\"x,1\n", "w.csv:2:5: found byte 0x78 behind a closing quote, expected a comma"},
        {"seq,label\nAC,a;;b\n", "found label 'a;;b', expected a label before and after each ';'"},
        {"seq,label\nAC,a;\n", "expected a label before and after each ';'"},
        {"seq,label\nAC,a;a\n", "expected each label once"},
        {"seq,label,split\nAC,a,\n", "w.csv:2:6: found nothing as split"},
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        const int rc = read_one(scratch_text("w.csv", WRONG[i].text), &NOTHING);
        if (rc == MB_OK || !strstr(error.text, WRONG[i].words))
            fail_msg("case %zu: expected '%s', got %d: %s", i, WRONG[i].words, rc, error.text);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
    assert_int_equal(read_one(scratch_bytes("w.csv", "seq,label\nA\0C,1\n", 16), &NOTHING), MB_FORMAT);
    assert_non_null(strstr(error.text, "w.csv:2:2: found a zero byte"));
    const char *whole = scratch_bgzf("w.csv.gz", "seq,label\nAC,1\n");
    assert_int_equal(read_one(scratch_cut("cut.csv.gz", whole, scratch_size(whole) - 28), &NOTHING), MB_FORMAT);
    assert_non_null(strstr(error.text, "cut short"));
    assert_int_equal(read_one(scratch_path("absent.csv"), &NOTHING), MB_NOTFOUND);
    assert_int_equal(read_one(scratch_dir(), &NOTHING), MB_USAGE);
}

static void wrong_options(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
        dna_labelled_options o;
    } WRONG[] = {
        {"seq,a,b\nAC,1,x\n", "no numbers", {.label = "a,b"}},
        {"seq,a,b\nAC,1,x\n",
         ":2:6: found label 'x', expected a number",
         {.label = "a,b", .task = DNA_TASK_REGRESSION}},
        {"seq,a,b\nAC,1,2\n", ":2:6: found label '2', expected 0 or 1", {.label = "a,b", .task = DNA_TASK_MULTI}},
        {"seq,a,b\nAC,1,2\n", "has one label column, not 2", {.label = "a,b", .task = DNA_TASK_CLASS}},
        {"seq,a,b\nAC,1,2\n", "expected 'c' for the label", {.label = "a,c"}},
        {"seq,a,b\nAC,1,2\n", "is named twice", {.label = "a,a"}},
        {"seq,a,b\nAC,1,2\n", "expected 'q' for the sequence", {.sequence = "q", .label = "a"}},
        {"seq,a,b\nAC,1,2\n", "expected '4' for the label", {.label = "4"}},
        {"seq,y\nAC,0x1\n", "expected a number", {.task = DNA_TASK_REGRESSION}},
        {"seq,y\nAC,inf\n", "expected a number", {.task = DNA_TASK_REGRESSION}},
        {"seq,y\nACGT,123\n", ":2:6: found label '123', expected 4 characters", {.task = DNA_TASK_BASES}},
        {"seq,y\nACG,...\n", "no base has a label", {.task = DNA_TASK_BASES}},
        {"seq,y\nAC,1\nACGTA,2\n", ":3:1: found a sequence of 5 bases, expected 1 to 4", {.max_length = 4}},
        {"seq,y\nAC,1\n", ":2:1: found a sequence of 2 bases, expected 3 or more", {.min_length = 3}},
        {"seq,y\nAC,1\n",
         ":2:1: found a sequence of 2 bases, expected 3 to 9",
         {.min_length = 3, .max_length = 9, .lengths = DNA_LENGTHS_CENTRE}},
        {"seq,y\nAC,1\n", "no example that was not passed over", {.min_length = 3, .lengths = DNA_LENGTHS_SKIP}},
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        const int rc = read_one(scratch_text("w.csv", WRONG[i].text), &WRONG[i].o);
        if (rc == MB_OK || !strstr(error.text, WRONG[i].words))
            fail_msg("case %zu: expected '%s', got %d: %s", i, WRONG[i].words, rc, error.text);
    }
    char *given = mb_asprintf("%s=1", scratch_text("w.csv", "seq,y\nAC,1\n"));
    assert_int_equal(read_one(given, &NOTHING), MB_USAGE);
    mb_free(given);
    char *two[2] = {(char *)(uintptr_t)scratch_text("x.csv", "seq,a,b\nAC,1,0\n"),
                    (char *)(uintptr_t)scratch_text("y.csv", "seq,c,d\nAC,1,0\n")};
    assert_int_equal(read_all(two, 2, &(dna_labelled_options){.label = "2,3"}), MB_FORMAT);
    assert_non_null(strstr(error.text, "y.csv: found label column 'c', the inputs before have 'a' there"));
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* 3000 columns, a field of a megabyte, more columns than are taken. */
static void large_rows(void **state) {
    (void)state;
    enum { WIDE = 3000, LONG = 1 << 20 };
    char *text = malloc(4 * LONG);
    assert_non_null(text);
    size_t at = (size_t)sprintf(text, "seq");
    for (int i = 0; i < WIDE; i++)
        at += (size_t)sprintf(text + at, ",c%d", i);
    at += (size_t)sprintf(text + at, ",label\n");
    memset(text + at, 'A', LONG);
    at += LONG;
    for (int i = 0; i < WIDE; i++)
        text[at++] = ',';
    sprintf(text + at, ",7\n");
    ok(read_one(scratch_text("big.csv", text), &NOTHING));
    assert_true(d.n == 1 && d.at[0].length == LONG && d.at[0].line == 2);
    memset(text, ',', 2 * DNA_TABLE_COLUMNS);
    text[2 * DNA_TABLE_COLUMNS] = 0;
    assert_int_equal(read_one(scratch_text("big.csv", text), &NOTHING), MB_FORMAT);
    assert_non_null(strstr(error.text, "more than 4096 fields"));
    free(text);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const char *const TEXT[] = {"seq,label,name,split\nAC,a,x,train\nGT,b,y,test\n", "seq,label\nAC,a;b\nGT,c\n",
                                       "seq,label\nAC,1.5\nGT,2\n", "seq,label\nACGTACGT,eeeeeeee\n",
                                       ">a label=1\nACGT\n>b label=0\nAC\n"};
    for (size_t k = 0; k <= sizeof TEXT / sizeof *TEXT; k++) {
        dna_labelled_options o = {0};
        const char *input = k < sizeof TEXT / sizeof *TEXT ? scratch_text("n.txt", TEXT[k]) : NULL;
        if (!input) {
            o.genome = scratch_text("n.fa", ">c\nACGTACGT\n");
            input = scratch_text("n.bed", "c\t0\t4\tx\nc\t1\t3\ty\n");
        }
        for (long nth = 1;; nth++) {
            mb_mem_fail_nth(nth, 0);
            const int rc = read_one(input, &o);
            const int fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            if (rc != (fired ? MB_NOMEM : MB_OK))
                fail_msg("input %zu, allocation %ld: %d: %s", k, nth, rc, error.text);
            dna_labelled_fini(&d);
            assert_int_equal(mb_mem_live_blocks(), 0);
            if (!fired)
                break;
        }
    }
}

static void real_files(void **state) {
    (void)state;
    char *there = shared_dir() ? mb_asprintf("%s/data/genomics/labelled", shared_dir()) : NULL;
    const int absent = !there || !mb_dir_exists(there);
    mb_free(there);
    if (absent) {
        printf("SKIP: no shared data (set SEQMAMBA_SHARED)\n");
        skip();
    }
    static const struct {
        const char *file;
        int64_t n;
        int classes;
    } REAL[] = {{"gb_human_nontata_promoters_test.tsv", 9034, 2},
                {"gb_human_ensembl_regulatory_train1500.tsv", 1500, 3},
                {"gb_human_ocr_train1000.tsv", 1000, 2}};
    for (size_t i = 0; i < sizeof REAL / sizeof *REAL; i++) {
        char *path = mb_asprintf("%s/data/genomics/labelled/%s", shared_dir(), REAL[i].file);
        ok(read_one(path, &NOTHING));
        mb_free(path);
        assert_int_equal(d.task, DNA_TASK_CLASS);
        assert_int_equal(d.n, REAL[i].n);
        assert_int_equal(d.n_labels, REAL[i].classes);
    }
}

static int clean(void **state) {
    (void)state;
    dna_labelled_fini(&d);
    return mb_mem_live_blocks() != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(tables, clean),        cmocka_unit_test_teardown(tasks, clean),
        cmocka_unit_test_teardown(known_labels, clean),  cmocka_unit_test_teardown(fasta_headers, clean),
        cmocka_unit_test_teardown(bed_files, clean),     cmocka_unit_test_teardown(a_file_for_each_class, clean),
        cmocka_unit_test_teardown(passed_over, clean),   cmocka_unit_test_teardown(wrong_tables, clean),
        cmocka_unit_test_teardown(wrong_options, clean), cmocka_unit_test_teardown(large_rows, clean),
        cmocka_unit_test_teardown(real_files, clean),    cmocka_unit_test_teardown(every_allocation_may_fail, clean)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
