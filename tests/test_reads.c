/* dna-mamba reads: records before and after, compared through the library itself; tags against the model's own values.
 */
#include <math.h>
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
#include <htslib/sam.h>

#include "core/log.h"
#include "core/mem.h"
#include "genomics/commands.h"
#include "genomics/reads.h"
#include "tests/models.h"
#include "tests/scratch.h"

static mb_err error;
static char *folder; /* of the model */
static mb_model *model;
static char *folders[2]; /* 0: sees each strand by itself; 1: equivariant */
static mb_model *models[2];

static void use_model(int equivariant) {
    folder = folders[equivariant];
    model = models[equivariant];
}

static char *scratch_folder(const char *name) {
    char *path = strdup(scratch_path(name));
    assert_non_null(path);
    assert_true(mkdir(path, 0755) == 0 || mb_dir_exists(path));
    return path;
}

/* Runs the verb with these further arguments, NULL at the end. */
static int reads(const char *in, const char *out, ...) {
    const char *argv[24] = {"dna-mamba", "reads", in, "-m", folder, "-o", out, "--threads", "1"};
    int n = 9, done = 0;
    va_list more;
    va_start(more, out);
    while ((argv[n] = va_arg(more, const char *)) != NULL)
        n++;
    va_end(more);
    mb_run run = {.program = "dna-mamba", .verb = &dna_reads_verb};
    mb_err_clear(&error);
    int rc = mb_options_parse(&run, n, (char **)(uintptr_t)argv, &done, &error);
    mb_log_set_level(MB_LOG_QUIET);
    if (rc == MB_OK)
        rc = dna_reads_verb.run(&run, &error);
    mb_options_free(&run);
    return rc;
}

static void succeeds(int rc) {
    if (rc != MB_OK)
        fail_msg("%s", error.text);
}

typedef struct file {
    samFile *in;
    sam_hdr_t *header;
    bam1_t *read;
} file;

static file open_reads(const char *path) {
    file f = {.in = sam_open(path, "r")};
    assert_non_null(f.in);
    f.header = sam_hdr_read(f.in);
    f.read = bam_init1();
    assert_non_null(f.header);
    return f;
}

static void close_reads(file *f) {
    bam_destroy1(f->read);
    sam_hdr_destroy(f->header);
    assert_int_equal(sam_close(f->in), 0);
}

static int next(file *f) {
    const int got = sam_read1(f->in, f->header, f->read);
    assert_true(got >= -1);
    return got >= 0;
}

/* The record after is the record before and, behind all it had, these tags in this order. */
static void same_but_for(const bam1_t *before, const bam1_t *after, const char *tags) {
    assert_int_equal(before->core.pos, after->core.pos);
    assert_int_equal(before->core.tid, after->core.tid);
    assert_int_equal(before->core.flag, after->core.flag);
    assert_int_equal(before->core.qual, after->core.qual);
    assert_int_equal(before->core.n_cigar, after->core.n_cigar);
    assert_int_equal(before->core.mtid, after->core.mtid);
    assert_int_equal(before->core.mpos, after->core.mpos);
    assert_int_equal(before->core.isize, after->core.isize);
    assert_int_equal(before->core.l_qseq, after->core.l_qseq);
    assert_true(after->l_data >= before->l_data);
    assert_memory_equal(after->data, before->data, (size_t)before->l_data);
    if (!*tags)
        assert_int_equal(after->l_data, before->l_data);
    const uint8_t *at = after->data + before->l_data;
    for (; *tags; tags += 2) {
        const uint8_t *tag = bam_aux_get(after, tags);
        assert_ptr_equal(tag, at + 2);
        at = tag + 1 +
             (*tag == 'f' || *tag == 'i' ? 4
              : *tag == 'Z'              ? strlen((const char *)tag + 1) + 1
                                         : 5 + 4 * (size_t)bam_auxB_len(tag));
    }
    assert_ptr_equal(at, after->data + after->l_data);
}

/* What a filter passes over, as the options below have it. */
static int passes(const bam1_t *b, int min_mapq) {
    return !(b->core.flag & 0x900) && b->core.qual >= min_mapq;
}

/* Real files of every order: all that was there is there, in order; drop leaves out exactly what the filter says. */
static void untouched(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int keep;
    } FILES[] = {{"HG02002.bam", 1},   {"nanopore.bam", 0},  {"pysam_ex1.bam", 0},
                 {"mpileup.1.bam", 0}, {"mpileup.1.bam", 1}, {"6.quickcheck.cram21.ok.cram", 1}};
    const char *shared = shared_dir(), *out = scratch_path("out.bam");
    if (!shared) {
        print_message("skip - no shared data: real alignments\n");
        return;
    }
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        const int keep = FILES[i].keep;
        char in[512];
        int64_t tagged = 0, n = 0;
        snprintf(in, sizeof in, "%s/data/genomics/bam/%s", shared, FILES[i].name);
        const int rc =
            reads(in, out, "--mask-stride", "1", "--min-mapq", "20", "--filter-mode", keep ? "keep" : "drop", NULL);
        if (strstr(FILES[i].name, ".cram") && rc != MB_OK) { /* without its reference there is nothing to compare */
            assert_int_equal(rc, MB_FORMAT);
            assert_non_null(strstr(error.text, "reference"));
            continue;
        }
        succeeds(rc);
        file a = open_reads(in), b = open_reads(out);
        while (next(&a)) {
            const int pass = passes(a.read, 20);
            if (!pass && !keep)
                continue;
            assert_true(next(&b));
            const int scored = pass && a.read->core.l_qseq > 0, has = bam_aux_get(b.read, "yb") != NULL;
            same_but_for(a.read, b.read, !scored ? "" : has ? "ybyn" : "yn");
            tagged += has;
            n++;
        }
        assert_false(next(&b));
        assert_true(tagged > 0 && n >= tagged);
        close_reads(&a);
        close_reads(&b);
    }
}

/* ---- values ---------------------------------------------------------------------------------------------------------
 */

#define HEADER                                                                                                         \
    "@HD\tVN:1.6\tSO:%s\n@SQ\tSN:c1\tLN:1000\n@SQ\tSN:c2\tLN:700000000\n@PG\tID:x\n@PG\tID:y\tPP:x\n@CO\tkept\n"
#define SEQ "ACGGTTACNNGATTACACCA"
#define REV "TGGTGTAATCNNGTAACCGT" /* its reverse complement */

static const char READS[] = "a\t0\tc1\t11\t60\t20M\t*\t0\t0\t" SEQ "\t*\tNM:i:3\n"
                            "b\t16\tc1\t21\t60\t20M\t*\t0\t0\t" REV "\t*\n"
                            "c\t0\tc1\t31\t60\t4M\t*\t0\t0\tNNNN\t*\n"
                            "d\t0\tc1\t41\t60\t20M\t=\t61\t99\t*\t*\tXX:Z:long text\n"
                            "e\t256\tc1\t51\t60\t20M\t*\t0\t0\t" SEQ "\t*\n"
                            "f\t0\tc2\t11\t3\t20M\t*\t0\t0\t" SEQ "\t*\n"
                            "a\t4\t*\t0\t0\t*\t*\t0\t0\t" SEQ "\tIIIIIIIIIIIIIIIIIIII\n";

static const char *make(const char *name, const char *order, const char *records) {
    char text[4096];
    snprintf(text, sizeof text, HEADER "%s", order, records);
    return scratch_alignment(name, text, 0);
}

static dna_alphabet alphabet;

static void tokens_of(const char *letters, uint8_t *token) {
    dna_counts counts = {0};
    memcpy(token, letters, strlen(letters));
    assert_int_equal(dna_tokenize(&alphabet, token, (int64_t)strlen(letters), &counts), -1);
}

/* Bits per base of letters by score_batch. */
static double bits_of(const char *letters, int stride, int64_t *scored) {
    static float logp[64];
    uint8_t token[64];
    float *all[1] = {logp};
    dna_item item = {.token = token, .length = (int64_t)strlen(letters)};
    const dna_batch b = {.item = &item, .n = 1, .tokens = item.length};
    const score_options o = {.model = model,
                             .alphabet = &alphabet,
                             .forward = {.threads = 1, .memory = 1 << 28},
                             .scheme = SCORE_MASKED,
                             .mask_stride = stride};
    double sum = 0;
    tokens_of(letters, token);
    assert_int_equal(score_batch(&o, &b, all, &error), MB_OK);
    *scored = 0;
    for (int64_t t = 0; t < item.length; t++)
        if (!isnan(logp[t])) {
            sum += logp[t];
            ++*scored;
        }
    return -sum / ((double)*scored * log(2));
}

static void scores(void **state) {
    (void)state;
    static const char *const NAME[] = {"a", "b", "c", "d", "f", "a"};
    const char *in = make("in.bam", "coordinate", READS), *out = scratch_path("s.bam"), *stored = scratch_path("t.sam");
    int64_t scored, scored_rev;
    use_model(0);
    const double want = bits_of(SEQ, 3, &scored), want_rev = bits_of(REV, 3, &scored_rev);
    succeeds(reads(in, out, "--mask-stride", "3", NULL));
    succeeds(reads(in, stored, "--mask-stride", "3", "--read-strand", "stored", "--tag-prefix", "Z", NULL));
    file f = open_reads(out), g = open_reads(stored);
    for (int i = 0; i < 6; i++) {
        assert_true(next(&f) && next(&g));
        assert_string_equal(bam_get_qname(f.read), NAME[i]);
        const uint8_t *bits = bam_aux_get(f.read, "yb"), *n = bam_aux_get(f.read, "yn");
        if (i == 2 || i == 3) {
            assert_null(bits);
            assert_true(i == 2 ? n && bam_aux2i(n) == 0 : !n);
            continue;
        }
        assert_true(fabs(bam_aux2f(bits) - want) < 1e-5);
        assert_int_equal(bam_aux2i(n), scored);
        assert_true(fabs(bam_aux2f(bam_aux_get(g.read, "Zb")) - (i == 1 ? want_rev : want)) < 1e-5);
    }
    assert_false(next(&f) || next(&g));
    assert_true(fabs(want - want_rev) > 1e-3); /* or the direction would not show */
    close_reads(&f);
    close_reads(&g);
    use_model(1);
}

static void headers(void **state) {
    (void)state;
    const char *out = scratch_path("h.bam");
    succeeds(reads(make("h.sam", "unsorted", READS), out, NULL));
    file f = open_reads(out);
    const char *text = sam_hdr_str(f.header);
    assert_non_null(strstr(text, "@PG\tID:dna-mamba\tPN:dna-mamba\tPP:y\tVN:"));
    assert_non_null(strstr(text, "CL:dna-mamba reads "));
    assert_non_null(strstr(text, "@CO\tkept\n"));
    assert_non_null(strstr(text, "@CO\tdna-mamba reads: yb:f "));
    assert_non_null(strstr(text, "@SQ\tSN:c2\tLN:700000000\n"));
    close_reads(&f);
    /* A second run has its own line, behind the first. */
    const char *twice = scratch_path("h2.bam");
    assert_int_equal(reads(out, twice, NULL), MB_FORMAT);
    assert_non_null(strstr(error.text, "h.bam: read 1 ('a'): has a tag yb already"));
    assert_int_equal(scratch_size(twice), -1);
    succeeds(reads(out, twice, "--existing-tags", "replace", NULL));
    f = open_reads(twice);
    file g = open_reads(out);
    assert_non_null(strstr(sam_hdr_str(f.header), "@PG\tID:dna-mamba.1\tPN:dna-mamba\tPP:dna-mamba\t"));
    while (next(&g)) {
        assert_true(next(&f));
        assert_int_equal(f.read->l_data, g.read->l_data);
        assert_memory_equal(f.read->data, g.read->data, (size_t)g.read->l_data);
    }
    close_reads(&f);
    close_reads(&g);
}

/* The mean of the hidden rows of letters. (columns) */
static void mean_row(const char *letters, int columns, float *mean) {
    int32_t token[64];
    uint8_t short_token[64];
    float hidden[64 * 16];
    const int n = (int)strlen(letters);
    const mb_forward_options o = {.threads = 1, .memory = 1 << 28};
    tokens_of(letters, short_token);
    for (int i = 0; i < n; i++)
        token[i] = short_token[i];
    assert_int_equal(mb_forward_hidden(model, token, n, 1, &o, hidden, NULL, &error), MB_OK);
    for (int c = 0; c < columns; c++) {
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += hidden[i * columns + c];
        mean[c] = (float)(sum / n);
    }
}

static void check_embedding(const char *path, const float *want, int columns) {
    file f = open_reads(path);
    for (int i = 0; i < 2; i++) { /* b is a, turned, and is run in the direction it was sequenced in */
        assert_true(next(&f));
        const uint8_t *e = bam_aux_get(f.read, "ye");
        assert_int_equal(bam_auxB_len(e), columns);
        for (int k = 0; k < columns; k++)
            assert_true(fabs(bam_auxB2f(e, (uint32_t)k) - want[k]) < 1e-5);
    }
    close_reads(&f);
}

static void embeddings(void **state) {
    (void)state;
    const char *in = make("e.bam", "unsorted", READS), *out = scratch_path("e.out.cram"),
               *half = scratch_path("e.c.sam");
    float want[16], other[16], mean[8];
    mean_row(SEQ, 16, want);
    succeeds(reads(in, out, "--what", "embed", NULL));
    check_embedding(out, want, 16);
    succeeds(reads(in, half, "--what", "embed", "--strand", "conjoin", NULL));
    for (int k = 0; k < 8; k++) /* the second strand's channels lie the other way round */
        mean[k] = 0.5f * (want[k] + want[15 - k]);
    check_embedding(half, mean, 8);
    /* A model of one strand runs the reverse complement as a sequence of its own. */
    use_model(0);
    mean_row(SEQ, 8, want);
    mean_row(REV, 8, other);
    succeeds(reads(in, half, "--what", "embed", NULL));
    check_embedding(half, want, 8);
    succeeds(reads(in, half, "--what", "embed", "--strand", "conjoin", NULL));
    for (int k = 0; k < 8; k++)
        mean[k] = 0.5f * (want[k] + other[k]);
    check_embedding(half, mean, 8);
    use_model(1);
}

/* ---- classes --------------------------------------------------------------------------------------------------------
 */

static char *LABELS[] = {"alpha", "b", "c"};

/* A head of this task on the equivariant model, and its answers for SEQ. */
static void make_head(int task, double *answer) {
    const mb_config *c = mb_model_config(model);
    dna_head h;
    uint8_t token[64];
    const dna_piece piece = {token, (int64_t)strlen(SEQ)};
    const mb_forward_options o = {.threads = 1, .memory = 1 << 28};
    mb_model *m = NULL;
    tokens_of(SEQ, token);
    assert_int_equal(
        dna_head_init(&h, task, task == DNA_TASK_BASES ? MB_POOL_NONE : MB_POOL_MEAN, LABELS, 3, c->D, 0, 7, &error),
        MB_OK);
    for (int i = 0; i < 3 * c->D; i++)
        h.pool.w[i] *= 40;
    folder = scratch_folder("head");
    succeeds(dna_head_save(&h, mb_model_params(model), c, folder, &error));
    dna_head_fini(&h);
    succeeds(mb_model_open(&m, folder, NULL, &error));
    succeeds(dna_head_load(&h, m, &error));
    succeeds(dna_head_predict(&h, m, &alphabet, &piece, 1, &o, answer, &error));
    dna_head_fini(&h);
    mb_model_destroy(m);
}

static int best_of(const double *a) {
    return a[1] > a[0] ? (a[2] > a[1] ? 2 : 1) : (a[2] > a[0] ? 2 : 0);
}

static void check_classes(int task, const double *a, const char *out) {
    file f = open_reads(out);
    for (int i = 0; i < 2; i++) {
        assert_true(next(&f));
        const uint8_t *c = bam_aux_get(f.read, "yc"),
                      *p = bam_aux_get(f.read, task == DNA_TASK_REGRESSION ? "yv" : "yp");
        for (uint32_t k = 0; task != DNA_TASK_BASES && k < 3; k++)
            assert_true(fabs(bam_auxB2f(p, k) - a[k]) < 1e-5);
        if (task == DNA_TASK_CLASS)
            assert_string_equal(bam_aux2Z(c), LABELS[best_of(a)]);
        for (int t = 0; task == DNA_TASK_BASES && t < 20; t++) /* in the direction of SEQ */
            assert_int_equal(bam_aux2Z(c)[i ? 19 - t : t], *LABELS[best_of(a + 3 * t)]);
        assert_true((c != NULL) == (task != DNA_TASK_REGRESSION) && (p != NULL) == (task != DNA_TASK_BASES));
    }
    close_reads(&f);
}

static void classes(void **state) {
    (void)state;
    for (int task = DNA_TASK_CLASS; task <= DNA_TASK_BASES; task++) {
        double answer[3 * 64];
        const char *in = make("k.bam", "unsorted", READS), *out = scratch_path("k.out.bam");
        make_head(task, answer);
        succeeds(reads(in, out, "--what", "classify", NULL));
        check_classes(task, answer, out);
        if (task == DNA_TASK_MULTI) {
            char want[32] = "";
            for (int k = 0; k < 3; k++)
                if (answer[k] >= 0.2)
                    sprintf(want + strlen(want), "%s%s", *want ? ";" : "", LABELS[k]);
            succeeds(reads(in, out, "--what", "classify", "--threshold", "0.2", NULL));
            file f = open_reads(out);
            assert_true(next(&f) && *want);
            assert_string_equal(bam_aux2Z(bam_aux_get(f.read, "yc")), want);
            assert_non_null(strstr(sam_hdr_str(f.header), "yp:B,f probabilities of alpha, b, c\n"));
            close_reads(&f);
        }
        succeeds(reads(in, scratch_path("k.tsv"), "--what", "classify", NULL));
        free(folder);
        use_model(1);
    }
}

/* ---- places ---------------------------------------------------------------------------------------------------------
 */

static int count_reads(const char *path) {
    file f = open_reads(path);
    int n = 0;
    while (next(&f))
        n++;
    close_reads(&f);
    return n;
}

/* By index and by reading all: the same reads; keep marks the same ones. */
static void regions(void **state) {
    (void)state;
    char records[8192] = "", text[10000];
    for (int i = 0; i < 100; i++)
        snprintf(records + strlen(records), 80, "r%d\t%d\tc1\t%d\t60\t5M3D5M\t*\t0\t0\tACGTACGTAC\t*\n", i,
                 i % 7 ? 0 : 1024, 1 + 7 * i);
    snprintf(text, sizeof text, HEADER "%s", "coordinate", records);
    const char *indexed = scratch_alignment("i.bam", text, 1), *plain = scratch_alignment("p.bam", text, 0);
    const char *bed = scratch_text("r.bed", "c1\t0\t1\nc2\t5\t6\nc1\t300\t400\nc1\t350\t401\nc1\t699\t1000\n");
    const char *out = scratch_path("r.bam");
    int want = 0;
    for (int i = 0; i < 100; i++) {
        const int start = 7 * i, end = start + 13;
        want += start < 1 || (start < 401 && end > 300) || end > 699;
    }
    succeeds(reads(indexed, out, "--regions", bed, "--mask-stride", "1", NULL));
    assert_int_equal(count_reads(out), want);
    succeeds(reads(plain, out, "--regions", bed, "--mask-stride", "1", NULL));
    assert_int_equal(count_reads(out), want);
    succeeds(reads(plain, out, "--regions", "c1:50", "--mask-stride", "1", NULL));
    assert_int_equal(count_reads(out), 94);
    succeeds(reads(indexed, out, "--regions", bed, "--mask-stride", "1", "--filter-mode", "keep", NULL));
    file f = open_reads(out);
    int tagged = 0;
    for (int i = 0; i < 100; i++) {
        assert_true(next(&f));
        const int start = 7 * i, end = start + 13, has = bam_aux_get(f.read, "yb") != NULL;
        assert_int_equal(has, start < 1 || (start < 401 && end > 300) || end > 699);
        tagged += has;
    }
    assert_int_equal(tagged, want);
    close_reads(&f);
    assert_int_equal(reads(plain, out, "--regions", "c3:1-5", NULL), MB_RANGE);
}

/* The index made on the way finds what a scan finds; a contig beyond 2^29 needs a .csi. */
static void indexes(void **state) {
    (void)state;
    const char *out = scratch_path("ix.bam"), *bai = scratch_path("ix.bam.bai"), *csi = scratch_path("ix.bam.csi");
    scratch_text("ix.bam.bai", "of an earlier result");
    succeeds(reads(make("ix.in.bam", "coordinate", READS), out, NULL));
    assert_true(scratch_size(csi) > 0 && scratch_size(bai) < 0);
    file f = open_reads(out);
    hts_idx_t *index = sam_index_load(f.in, out);
    hts_itr_t *at = index ? sam_itr_querys(index, f.header, "c1:15-25") : NULL;
    assert_non_null(at);
    assert_true(sam_itr_next(f.in, at, f.read) >= 0 && *bam_get_qname(f.read) == 'a');
    assert_true(sam_itr_next(f.in, at, f.read) >= 0 && *bam_get_qname(f.read) == 'b');
    assert_true(sam_itr_next(f.in, at, f.read) < 0);
    hts_itr_destroy(at);
    hts_idx_destroy(index);
    close_reads(&f);
    /* Another order: no index, and none of before. */
    succeeds(reads(make("ix.in.bam", "queryname", READS), out, NULL));
    assert_true(scratch_size(csi) < 0 && scratch_size(out) > 0);
    succeeds(reads(make("ix.in.bam", "coordinate", READS), out, "--no-index", NULL));
    assert_true(scratch_size(csi) < 0);
    /* Reads that are not in the order that the header claims. */
    const char *wrong =
        make("w.sam", "coordinate", "a\t0\tc1\t11\t9\t4M\t*\t0\t0\tACGT\t*\nb\t0\tc1\t5\t9\t4M\t*\t0\t0\tACGT\t*\n");
    assert_int_equal(reads(wrong, scratch_path("w.bam"), NULL), MB_FORMAT);
    assert_non_null(strstr(error.text, "w.sam: read 2 ('b') lies before the read before it"));
    assert_true(scratch_size(scratch_path("w.bam")) < 0 && scratch_size(scratch_path("w.bam.csi")) < 0);
    succeeds(reads(wrong, scratch_path("w.bam"), "--no-index", NULL));
}

/* ---- what goes wrong ------------------------------------------------------------------------------------------------
 */

/* FASTQ becomes unmapped records; the letters and qualities are there. */
static void fastq(void **state) {
    (void)state;
    const char *in = scratch_text("q.fq", "@r/1 c\nACGTN\n+\nIIII!\n@s\nGG\n+\nAB\n"), *out = scratch_path("q.bam");
    int64_t scored;
    succeeds(reads(in, out, NULL));
    file f = open_reads(out);
    assert_true(next(&f));
    assert_int_equal(f.read->core.flag, 77); /* the library takes /1 for the first of a pair */
    assert_string_equal(bam_get_qname(f.read), "r");
    assert_memory_equal(bam_get_qual(f.read), "((((\0", 5);
    assert_true(fabs(bam_aux2f(bam_aux_get(f.read, "yb")) - bits_of("ACGTN", 8, &scored)) < 1e-5);
    assert_true(next(&f) && !next(&f));
    close_reads(&f);
    assert_int_equal(reads(scratch_text("cut.fq", "@r\nACGT\n+\nII"), out, NULL), MB_FORMAT);
    const char *whole = scratch_bgzf("w.fq.gz", "@r\nACGT\n+\nIIII\n");
    succeeds(reads(whole, out, NULL));
    assert_int_equal(reads(scratch_cut("c.fq.gz", whole, scratch_size(whole) - 28), out, NULL), MB_FORMAT);
}

/* A file cut anywhere, or with any byte turned, gives the whole result or an error and none. */
static void damaged(void **state) {
    (void)state;
    const char *in = make("d.bam", "unsorted", READS);
    char *out = strdup(scratch_path("d.out.bam")); /* paths are kept for a while only */
    const long size = scratch_size(in);
    char *bytes = scratch_read(in, NULL);
    for (long n = 0; n < size; n += n < 60 || size - n < 60 ? 1 : 23) {
        remove(out);
        assert_true(reads(scratch_bytes("cut.bam", bytes, (size_t)n), out, "--mask-stride", "1", NULL) != MB_OK);
        assert_true(*error.text && scratch_size(out) < 0);
    }
    for (long at = 0; at < size; at += 7) {
        bytes[at] ^= 0x24;
        remove(out);
        const int rc = reads(scratch_bytes("turned.bam", bytes, (size_t)size), out, "--mask-stride", "1", NULL);
        assert_true((rc == MB_OK) == (scratch_size(out) > 0));
        bytes[at] ^= 0x24;
    }
    free(bytes);
    free(out);
}

/* Files with the end marker in place and damage before it, read with threads: an error, and soon. */
static void damaged_with_threads(void **state) {
    (void)state;
    char *records = calloc(1, 400000), *text = calloc(1, 410000);
    assert_true(records && text);
    size_t at = 0;
    for (int i = 0; i < 1500; i++) {
        char letters[101];
        for (int k = 0; k < 100; k++)
            letters[k] = "ACGT"[(unsigned)(i * 7919 + k * k * 31 + (i * k) % 13) >> 2 & 3];
        letters[100] = 0;
        at += (size_t)sprintf(records + at, "r%d\t4\t*\t0\t0\t*\t*\t0\t0\t%s\t*\n", i, letters);
    }
    sprintf(text, HEADER "%s", "unsorted", records);
    const char *in = scratch_alignment("big.bam", text, 0);
    char *out = strdup(scratch_path("big.out.bam"));
    const long size = scratch_size(in);
    char *bytes = scratch_read(in, NULL);
    succeeds(reads(in, out, "--threads", "3", "--mask-stride", "1", NULL));
    assert_int_equal(count_reads(out), 1500);
    for (long n = 100; n < size; n += size / 40) {
        char *cut = malloc((size_t)n + 28);
        assert_non_null(cut);
        memcpy(cut, bytes, (size_t)n);
        memcpy(cut + n, bytes + size - 28, 28);
        remove(out);
        alarm(60); /* a reader that waits for ever ends the test */
        assert_true(reads(scratch_bytes("mid.bam", cut, (size_t)n + 28), out, "--threads", "3", NULL) != MB_OK);
        alarm(0);
        assert_true(scratch_size(out) < 0);
        free(cut);
    }
    free(records);
    free(text);
    free(bytes);
    free(out);
}

static int finish_some(const char *in, int64_t batch, int *n) {
    const reads_in_options o = {.batch_tokens = batch, .batch_items = 3, .keep = 1};
    reads_in *r = NULL;
    reads_batch b = {0};
    int rc = reads_in_open(&r, in, &o, &alphabet, NULL, &error);
    *n = 0;
    while (rc == MB_OK && (rc = reads_in_next(r, &b, &error)) > 0) {
        assert_true(b.n <= 3 && (b.taken.n <= 1 || b.taken.tokens <= batch));
        for (int i = 0; i < b.taken.n; i++) {
            assert_int_equal(b.slot[b.slot_of[i]].taken, i);
            assert_int_equal(b.slot[b.slot_of[i]].b->core.l_qseq, b.taken.item[i].length);
        }
        *n += b.n;
        rc = MB_OK;
    }
    reads_batch_fini(&b);
    reads_in_close(r);
    return rc;
}

/* Batches are cut by bases and reads, whatever the sizes; every allocation of ours may fail. */
static void batches_and_memory(void **state) {
    (void)state;
    const char *in = make("m.sam", "coordinate", READS);
    char *out = strdup(scratch_path("m.bam"));
    int n;
    for (int64_t batch = 1; batch < 100; batch += 7) {
        assert_int_equal(finish_some(in, batch, &n), MB_OK);
        assert_int_equal(n, 7);
    }
    for (int what = 0; what < 2; what++) {
        succeeds(reads(in, out, "--what", what ? "embed" : "score", NULL));
        const long before = mb_mem_live_blocks();
        long fails = 0;
        for (long i = 1, fired = 1; fired; i++) {
            remove(out);
            mb_mem_fail_nth(i, 0);
            const int rc = reads(in, out, "--what", what ? "embed" : "score", NULL);
            fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            fails += rc == MB_NOMEM;
            assert_true(rc == MB_OK || *error.text);
            if (rc == MB_OK || scratch_size(out) > 0) /* only run.json can fail once the result is in place */
                assert_int_equal(count_reads(out), 6);
            assert_int_equal(mb_mem_live_blocks(), before);
        }
        assert_true(fails > 50);
    }
    free(out);
}

static void refused(void **state) {
    (void)state;
    const char *in = make("f.sam", "coordinate", READS);
    assert_int_equal(reads(in, scratch_path("x.tsv"), "--filter-mode", "keep", NULL), MB_USAGE);
    assert_int_equal(reads(in, scratch_path("x.bam"), "--tag-prefix", "A", NULL), MB_USAGE);
    assert_int_equal(reads(in, scratch_path("x.xyz"), NULL), MB_USAGE);
    assert_int_equal(reads(in, scratch_path("x.bam"), "--gzip", "3", NULL), MB_USAGE);
    assert_int_equal(reads(in, scratch_path("x.bam"), "--what", "classify", NULL), MB_NOTFOUND);
    assert_int_equal(reads(in, scratch_path("x.bam"), "--strand", "conjoin", NULL), MB_USAGE);
    assert_int_equal(reads(in, scratch_path("x.bam"), "--scheme", "causal", NULL), MB_USAGE);
    assert_int_equal(reads("no/such.bam", scratch_path("x.bam"), NULL), MB_NOTFOUND);
    assert_int_equal(reads(in, in, NULL), MB_USAGE);
    assert_int_equal(reads(scratch_text("t.txt", "no reads\n"), scratch_path("x.bam"), NULL), MB_FORMAT);
    const char *equals = make("eq.bam", "unsorted", "a\t0\tc1\t11\t9\t4M\t*\t0\t0\tAC=T\t*\n");
    assert_int_equal(reads(equals, scratch_path("x.bam"), NULL), MB_FORMAT);
    assert_non_null(strstr(error.text, "eq.bam: read 1 ('a'): base 3: '='"));
    const char *codes = make("iupac.bam", "unsorted", "a\t0\tc1\t11\t9\t4M\t*\t0\t0\tACRT\t*\n");
    assert_int_equal(reads(codes, scratch_path("x.bam"), "--ambiguous", "error", NULL), MB_FORMAT);
    assert_true(scratch_size(scratch_path("x.bam")) < 0);
    succeeds(reads(codes, scratch_path("x.bam"), NULL));
}

static int prepare(void **state) {
    (void)state;
    const mb_config any = {.V = 16};
    int rc = dna_alphabet_init(&alphabet, &any, &(dna_policies){0}, &error);
    for (int i = 0; rc == MB_OK && i < 2; i++) {
        const mb_config c = model_caduceus(8, 1, i);
        char path[1200];
        models[i] = model_shaken(&c, NULL);
        folders[i] = scratch_folder(i ? "ps" : "ph");
        snprintf(path, sizeof path, "%s/config.json", folders[i]);
        rc = mb_config_write(&c, path, &error);
        snprintf(path, sizeof path, "%s/model.safetensors", folders[i]);
        if (rc == MB_OK)
            rc = mb_params_save(mb_model_params(models[i]), &c, path, &error);
    }
    use_model(1);
    return rc;
}

static int finish(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        mb_model_destroy(models[i]);
        free(folders[i]);
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(scores),
                                       cmocka_unit_test(headers),
                                       cmocka_unit_test(embeddings),
                                       cmocka_unit_test(classes),
                                       cmocka_unit_test(regions),
                                       cmocka_unit_test(indexes),
                                       cmocka_unit_test(fastq),
                                       cmocka_unit_test(damaged),
                                       cmocka_unit_test(damaged_with_threads),
                                       cmocka_unit_test(batches_and_memory),
                                       cmocka_unit_test(refused),
                                       cmocka_unit_test(untouched)};
    return cmocka_run_group_tests(tests, prepare, finish);
}
