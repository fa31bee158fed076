/* dna-mamba variants: scores against whole forward runs and softmax written out, over windows cut here by another
 * formula; the laws of strands; what is shared, threads and memory show in no bit; files in every form. */
#include <htslib/tbx.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/forward.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/options.h"
#include "genomics/commands.h"
#include "genomics/effect.h"
#include "genomics/vcf.h"
#include "tests/models.h"
#include "tests/scratch.h"
#include "tests/verb.h"

enum { D = 8, LAYERS = 3, L = 400, W = 101, V = 16, KINDS = 3, FIELDS = 4 };

static mb_err error;
static mb_model *model[KINDS]; /* RC-equivariant (odd number of layers), bidirectional, causal */
static const char *folder[KINDS];
static char letters[L + 1];
static const char *fasta;

static int variants(const char *format, ...) MB_PRINTF(1, 2);
static int variants(const char *format, ...) {
    va_list list;
    va_start(list, format);
    const int rc = verb_run(&dna_variants_verb, &error, format, list);
    va_end(list);
    return rc;
}

static void must(int rc) {
    if (rc)
        fail_msg("status %d: %s", rc, error.text);
}

static const char HEAD[] =
    "##fileformat=VCFv4.3\n##contig=<ID=x,length=400>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n";

static const char *write_vcf(const char *name, const char *records) {
    char text[16384];
    snprintf(text, sizeof text, "%s%s", HEAD, records);
    return scratch_text(name, text);
}

/* ---- the truth ----------------------------------------------------------------------------------------------------
 */

static int token_of(char letter) {
    switch (letter) {
    case 'A':
        return 7;
    case 'C':
        return 8;
    case 'G':
        return 9;
    case 'T':
        return 10;
    case 'M':
        return 3;
    default:
        return 4; /* N is shown as padding */
    }
}

static char complement_of(char letter) {
    const char *at = strchr("ACGTM", letter);
    return at ? "TGCAM"[at - "ACGTM"] : letter;
}

static void turn(char *text) {
    const int n = (int)strlen(text);
    for (int i = 0; i < n - 1 - i; i++) {
        const char swap = text[i];
        text[i] = text[n - 1 - i];
        text[n - 1 - i] = swap;
    }
    for (int i = 0; i < n; i++)
        text[i] = complement_of(text[i]);
}

/* Logits (n, V) and hidden states (n, width) of a text in which M is the mask. */
static void run_model(const mb_model *m, const char *text, float *logits, float *hidden) {
    int32_t x[L + 64] = {0};
    const int n = (int)strlen(text);
    const mb_forward_options o = {.threads = 1, .memory = 1 << 28};
    for (int i = 0; i < n; i++)
        x[i] = token_of(text[i]);
    must(mb_forward_hidden(m, x, n, LAYERS, &o, hidden, logits, &error));
}

static double log_p(const float *logits, char letter) {
    double sum = 0;
    for (int v = 7; v <= 10; v++)
        sum += exp((double)logits[v]);
    return (double)logits[token_of(letter)] - log(sum);
}

/* Sum and number of log-probabilities of the bases of a window: causal, or masked with stride K. */
static double likelihood(const mb_model *m, const char *text, int K, int *scored) {
    static float logits[(L + 64) * V];
    const int n = (int)strlen(text), causal = K == 0;
    double sum = 0;
    *scored = 0;
    for (int phase = 0; phase < (causal ? 1 : K); phase++) {
        char shown[L + 64] = "";
        for (int i = 0; i <= n; i++)
            shown[i] = !causal && i % K == phase && strchr("ACGT", text[i]) && text[i] ? 'M' : text[i];
        run_model(m, shown, logits, NULL);
        for (int i = causal ? 1 : phase; i < n; i += causal ? 1 : K)
            if (text[i] != 'N') {
                sum += log_p(logits + (i - causal) * V, text[i]);
                ++*scored;
            }
    }
    return sum;
}

static void mean_hidden(const mb_model *m, const char *text, int low, int high, double *mean) {
    static float hidden[(L + 64) * 2 * D];
    const int width = mb_model_width(m);
    run_model(m, text, NULL, hidden);
    for (int d = 0; d < width; d++) {
        mean[d] = 0;
        for (int i = low; i < high; i++)
            mean[d] += (double)hidden[i * width + d] / (high - low);
    }
}

/* Of the window on one strand. at: the allele in it; n: bases of the reference allele, k: of the ALT. */
static void truth_of_view(int kind, const char *ref, const char *alt, int at, int alt_at, int n, int k, int span,
                          double value[FIELDS]) {
    static float logits[(L + 64) * V];
    const mb_model *m = model[kind];
    int scored[2];
    const double a = likelihood(m, ref, kind == 2 ? 0 : 8, &scored[0]),
                 b = likelihood(m, alt, kind == 2 ? 0 : 8, &scored[1]);
    const double ratio = (b / scored[1] - a / scored[0]) * scored[0];
    value[0] = kind == 2 ? ratio : NAN;
    value[1] = kind == 2 ? NAN : ratio;
    if (kind != 2 && n == k) {
        char shown[L + 64] = "";
        strcpy(shown, ref);
        for (int i = 0; i < n; i++)
            if (ref[at + i] != alt[at + i])
                shown[at + i] = 'M';
        run_model(m, shown, logits, NULL);
        value[0] = 0;
        for (int i = at; i < at + n; i++)
            if (ref[i] != alt[i])
                value[0] += log_p(logits + i * V, alt[i]) - log_p(logits + i * V, ref[i]);
    }
    const int lengths[2] = {(int)strlen(ref), (int)strlen(alt)}, middle[2] = {at + n / 2, alt_at + k / 2};
    double mean[2][2 * D] = {{0}}, square = 0, xx = 0, yy = 0, xy = 0;
    for (int w = 0; w < 2; w++) {
        const int low = span ? middle[w] - span / 2 : 0;
        mean_hidden(m, w ? alt : ref, low, span ? low + span : lengths[w], mean[w]);
    }
    for (int d = 0; d < mb_model_width(m); d++) {
        square += pow(mean[0][d] - mean[1][d], 2);
        xx += mean[0][d] * mean[0][d];
        yy += mean[1][d] * mean[1][d];
        xy += mean[0][d] * mean[1][d];
    }
    value[2] = sqrt(square);
    value[3] = 1 - xy / sqrt(xx * yy);
}

/* text with [pos, pos+n) replaced; its W letters around the replacement, of length k. */
static int cut(const char *text, int pos, int n, const char *by, char *window) {
    char whole[L + 64];
    const int k = (int)strlen(by);
    sprintf(whole, "%.*s%s%s", pos, text, by, text + pos + n);
    const int length = (int)strlen(whole);
    int from = pos - (W - k) / 2;
    if (from > length - W)
        from = length - W;
    if (from < 0)
        from = 0;
    sprintf(window, "%.*s", W, whole + from);
    return pos - from;
}

static void truth(int kind, int pos, int n, const char *by, int span, double value[FIELDS]) {
    char ref[L + 64] = "", alt[L + 64] = "", was[64] = "";
    const int k = (int)strlen(by), views = kind == 0 ? 1 : 2;
    sprintf(was, "%.*s", n, letters + pos);
    const int at = cut(letters, pos, n, was, ref), alt_at = cut(letters, pos, n, by, alt);
    truth_of_view(kind, ref, alt, at, alt_at, n, k, span, value);
    if (views == 2) {
        double other[FIELDS];
        const int length = (int)strlen(ref), alt_length = (int)strlen(alt);
        turn(ref);
        turn(alt);
        /* The same bases as on the forward strand, not those around a middle that is rounded the other way. */
        truth_of_view(kind, ref, alt, length - at - n, alt_length - alt_at - k, n, k, 0, other);
        for (int f = 0; f < FIELDS; f++)
            value[f] = (value[f] + other[f]) / 2;
    }
}

/* ---- scores -------------------------------------------------------------------------------------------------------
 */

/* Columns LLR.. of the lines of a TSV: (lines, FIELDS), NAN for ".". */
static int read_tsv(const char *path, double (*value)[FIELDS], char (*reason)[64]) {
    char *text = scratch_read(path, NULL), *rest = NULL;
    int n = 0;
    assert_non_null(text);
    strtok_r(text, "\n", &rest);
    for (char *line; (line = strtok_r(NULL, "\n", &rest)); n++) {
        char *column[11] = {NULL}, *tab = NULL;
        int c = 0;
        for (char *word = strtok_r(line, "\t", &tab); word && c < 11; word = strtok_r(NULL, "\t", &tab))
            column[c++] = word;
        if (c < 7) {
            fail_msg("%s: %d columns", path, c);
            break;
        }
        for (int f = 0; f < c - 7; f++)
            value[n][f] = !column[6 + f] || strcmp(column[6 + f], ".") == 0 ? NAN : strtod(column[6 + f], NULL);
        if (reason && column[c - 1])
            strcpy(reason[n], column[c - 1]);
    }
    free(text);
    return n;
}

static const struct change {
    int pos, n;     /* from 0 */
    const char *by; /* for the bases there */
} CHANGE[] = {{200, 1, NULL}, {3, 1, NULL},  {396, 1, NULL}, {150, 2, NULL}, {160, 3, NULL}, {120, 0, "ACGTA"},
              {130, 4, ""},   {250, 2, "?"}, {2, 2, ""},     {397, 0, "TT"}, {60, 0, "CA"}};
enum { CHANGES = sizeof CHANGE / sizeof *CHANGE };

/* What replaces the bases: given, or others in turn. The record that says so, with a base on the left where one is
 * needed. */
static const char *write_changes(char (*by)[16]) {
    static char text[8192];
    *text = 0;
    for (int i = 0; i < CHANGES; i++) {
        const struct change *c = &CHANGE[i];
        if (c->by)
            strcpy(by[i], c->by);
        for (int k = 0; !c->by && k <= c->n; k++)
            by[i][k] = (char)(k == c->n ? 0 : "CGTA"[strchr("ACGT", letters[c->pos + k]) - "ACGT"]);
        for (const char *b = "ACG"; *by[i] == '?'; b++) /* none of the two bases, so that nothing can be stripped */
            if (*b != letters[c->pos] && *b != letters[c->pos + 1])
                *by[i] = *b;
        const int pad = !c->n || !*by[i];
        sprintf(text + strlen(text), "x\t%d\t.\t%.*s\t%.*s%s\t.\t.\t.\n", c->pos + 1 - pad, c->n + pad,
                letters + c->pos - pad, pad, letters + c->pos - pad, by[i]);
    }
    return text;
}

static void check(double got, double want, const char *what, int i) {
    if (isnan(got) != isnan(want) || fabs(got - want) > 2e-5 + 1e-4 * fabs(want))
        fail_msg("%s of change %d: %g, expected %g", what, i, got, want);
}

static void by_definition(void **state) {
    (void)state;
    static const char *const SCORES[KINDS] = {"llr,pll,l2,cosine", "llr,pll,l2,cosine", "llr,l2,cosine"};
    static const char *const NAME[FIELDS] = {"llr", "pll", "l2", "cosine"};
    char by[CHANGES][16] = {""};
    const char *in = write_vcf("changes.vcf", write_changes(by)), *out = scratch_path("changes.tsv");
    for (int kind = 0; kind < KINDS; kind++) {
        double value[CHANGES][FIELDS];
        must(variants("%s -r %s -m %s -o %s --window %d --score %s", in, fasta, folder[kind], out, W, SCORES[kind]));
        assert_int_equal(read_tsv(out, value, NULL), CHANGES);
        for (int i = 0; i < CHANGES; i++) {
            double want[FIELDS];
            truth(kind, CHANGE[i].pos, CHANGE[i].n, by[i], 0, want);
            for (int f = 0; f < FIELDS; f++)
                if (kind != 2)
                    check(value[i][f], want[f], NAME[f], i);
                else if (f != 1)
                    check(value[i][f ? f - 1 : 0], want[f], NAME[f], i);
        }
    }
}

static void narrow_span(void **state) {
    (void)state;
    char by[CHANGES][16] = {""};
    const char *in = write_vcf("changes.vcf", write_changes(by)), *out = scratch_path("span.tsv");
    double value[CHANGES][FIELDS];
    must(variants("%s -r %s -m %s -o %s --window %d --score l2,cosine --span 5", in, fasta, folder[0], out, W));
    assert_int_equal(read_tsv(out, value, NULL), CHANGES);
    for (int i = 0; i < CHANGES; i++) {
        double want[FIELDS];
        if (CHANGE[i].pos < 10 || CHANGE[i].pos > 380)
            continue; /* there it is moved inwards */
        truth(0, CHANGE[i].pos, CHANGE[i].n, by[i], 5, want);
        check(value[i][0], want[2], "l2", i);
        check(value[i][1], want[3], "cosine", i);
    }
}

/* An RC-equivariant model, and any model averaged over both strands, says the same of a variant and of its mirror image
 * on the reverse complement, where the windows mirror: odd ones for odd alleles, even ones for even alleles. */
static void strands_mirror(void **state) {
    (void)state;
    char turned[L + 1], text[L + 8], records[2][2][1024] = {{"", ""}, {"", ""}};
    strcpy(turned, letters);
    turn(turned);
    snprintf(text, sizeof text, ">x\n%s\n", turned);
    const char *mirror = scratch_text("mirror.fa", text);
    for (int i = 0; i < 20; i++) {
        const int pos = 4 + 20 * i, other = L - 1 - pos;
        if (letters[pos] == 'N')
            continue;
        const char to = "CGTA"[strchr("ACGT", letters[pos]) - "ACGT"];
        sprintf(records[0][0] + strlen(records[0][0]), "x\t%d\t.\t%c\t%c\t.\t.\t.\n", pos + 1, letters[pos], to);
        sprintf(records[0][1] + strlen(records[0][1]), "x\t%d\t.\t%c\t%c\t.\t.\t.\n", other + 1, turned[other],
                complement_of(to));
    }
    /* Two bases before 120: before (L - 120) on the other strand. The letters are chosen not to move. */
    const char in[3] = {"CGTA"[strchr("ACGT", letters[120]) - "ACGT"], "CGTA"[strchr("ACGT", letters[119]) - "ACGT"],
                        0};
    char in_turned[3];
    strcpy(in_turned, in);
    turn(in_turned);
    sprintf(records[1][0], "x\t120\t.\t%c\t%c%s\t.\t.\t.\n", letters[119], letters[119], in);
    sprintf(records[1][1], "x\t%d\t.\t%c\t%c%s\t.\t.\t.\n", L - 120, turned[L - 121], turned[L - 121], in_turned);
    for (int kind = 0; kind < KINDS; kind++)
        for (int set = 0; set < 2; set++) {
            double value[2][32][FIELDS];
            int n[2];
            for (int side = 0; side < 2; side++) {
                const char *out = scratch_path("mirror.tsv");
                must(variants("%s -r %s -m %s -o %s --window %d --score %s",
                              write_vcf("mirror.vcf", records[set][side]), side ? mirror : fasta, folder[kind], out,
                              100 + !set, kind == 2 ? "llr,l2" : "llr,pll,l2"));
                n[side] = read_tsv(out, value[side], NULL);
            }
            assert_true(n[0] == n[1] && n[0] > 0);
            for (int i = 0; i < n[0]; i++)
                for (int f = 0; f < (kind == 2 ? 2 : 3); f++)
                    check(value[0][i][f], value[1][i][f], "mirror", i);
        }
}

/* Windows that are the same run once; alone or together, in whatever order, the bits are the same. */
static void sharing_shows_nowhere(void **state) {
    (void)state;
    uint8_t token[3][W];
    dna_alphabet a;
    dna_effect effect[6], alone;
    const mb_config c = {.V = V};
    must(dna_alphabet_init(&a, &c, &(dna_policies){0}, &error));
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < W; i++)
            token[k][i] = (uint8_t)token_of(letters[100 + i]);
        token[k][W / 2] = (uint8_t)(7 + k);
    }
    for (int kind = 0; kind < KINDS; kind++) {
        const dna_effect_options o = {.model = model[kind],
                                      .alphabet = &a,
                                      .forward = {.threads = 2, .memory = 1 << 28},
                                      .causal = kind == 2,
                                      .mask_stride = 8,
                                      .both = kind != 0};
        const unsigned all = kind == 2 ? 13 : 15;
        for (int i = 0; i < 6; i++) /* the last ones again, all bases against all */
            effect[i] = (dna_effect){
                .ref = {token[i % 3], W, W / 2, 1}, .alt = {token[(i + 1 + i / 3) % 3], W, W / 2, 1}, .wanted = all};
        must(dna_effects_run(&o, effect, 6, &error));
        for (int i = 0; i < 6; i++) {
            dna_effect_options one = o;
            one.forward.threads = 1;
            one.forward.memory = 1;
            alone = effect[i];
            must(dna_effects_run(&one, &alone, 1, &error));
            assert_memory_equal(alone.value, effect[i].value, sizeof alone.value);
        }
    }
}

/* ---- files --------------------------------------------------------------------------------------------------------
 */

/* One record of everything. */
static const char *mixed(void) {
    static char text[4096];
    const char *x = letters;
    const char other = x[49] == 'A' ? 'C' : 'A', third = x[49] == 'G' ? 'T' : 'G';
    sprintf(
        text,
        "x\t10\t.\t%c\t<DEL>\t.\t.\tEND=20\nx\t50\trs1\t%c\t%c,%c,*\t30\tPASS\tA=1;B\nx\t60\t.\t%.80s\t%c\t.\t.\t.\n"
        "x\t90\t.\t%c\t.\t.\t.\t.\nx\t99\t.\t%.2s\t%c,%c%c\t.\t.\t.\n",
        x[9], x[49], other, third, x + 59, x[59], x[89], x + 98, x[98], x[98] == 'A' ? 'C' : 'A', x[99]);
    return text;
}

static const char MORE[] =
    "##INFO=<ID=END,Number=1,Type=Integer,Description=\"e\">\n##INFO=<ID=A,Number=1,Type=Integer,"
    "Description=\"a\">\n##INFO=<ID=B,Number=0,Type=Flag,Description=\"b\">\n##ALT=<ID=DEL,"
    "Description=\"d\">\n";

static const char *mixed_vcf(const char *name) {
    char text[8192];
    snprintf(text, sizeof text, "##fileformat=VCFv4.3\n##contig=<ID=x,length=400>\n%s%s%s", MORE,
             strstr(HEAD, "#CHROM"), mixed());
    return scratch_text(name, text);
}

static char *reason_of(const bcf_hdr_t *h, bcf1_t *r) {
    static char *text;
    static int room;
    return bcf_get_info_string(h, r, "SM_REASON", &text, &room) > 0 ? text : "";
}

static void check_mixed(const char *path, double (*tsv)[FIELDS]) {
    static const char *const REASON[] = {"symbolic", ".,.,overlapping_deletion", "longer_than_half_the_window",
                                         "no_alt", ""};
    static float *value;
    static int room;
    dna_vcf *v = NULL;
    bcf1_t *r = bcf_init();
    int line = 0;
    must(dna_vcf_open(&v, path, &error));
    const bcf_hdr_t *h = dna_vcf_header(v);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(dna_vcf_next(v, r, &error), 1);
        assert_string_equal(reason_of(h, r), REASON[i]);
        const int alts = r->n_allele - 1;
        for (int field = 0; field < 2; field++) {
            const int n = bcf_get_info_float(h, r, field ? "SM_PLL" : "SM_LLR", &value, &room);
            int finite = 0;
            for (int k = 0; k < alts; k++)
                finite += !isnan(tsv[line + k][field]);
            assert_int_equal(n, finite ? alts : -3); /* -3: not there */
            for (int k = 0; k < n; k++)
                if (isnan(tsv[line + k][field]))
                    assert_true(bcf_float_is_missing(value[k]));
                else
                    check((double)value[k], tsv[line + k][field], "file", i);
        }
        if (i == 1) {
            assert_string_equal(r->d.id, "rs1");
            assert_true(r->qual == 30 && bcf_get_info_flag(h, r, "B", NULL, NULL) == 1);
        }
        line += alts ? alts : 1;
    }
    assert_int_equal(dna_vcf_next(v, r, &error), 0);
    bcf_destroy(r);
    dna_vcf_close(v);
}

static int same_files(const char *a, const char *b) {
    size_t n, m;
    char *x = scratch_read(a, &n), *y = scratch_read(b, &m);
    const int same = x && y && n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

static void every_form(void **state) {
    (void)state;
    double tsv[16][FIELDS];
    const char *in = mixed_vcf("mixed.vcf"), *table = scratch_path("mixed.tsv");
    must(variants("%s -r %s -m %s -o %s --window 60", in, fasta, folder[0], table));
    assert_int_equal(read_tsv(table, tsv, NULL), 8);
    static const char *const FORM[] = {"mixed.out.vcf", "mixed.out.vcf.gz", "mixed.out.bcf"};
    static const char *const INDEX[] = {"mixed.out.vcf.tbi", "mixed.out.vcf.gz.tbi", "mixed.out.bcf.csi"};
    for (int f = 0; f < 3; f++) {
        const char *out = scratch_path(FORM[f]);
        must(variants("%s -r %s -m %s -o %s --window 60", in, fasta, folder[0], out));
        check_mixed(out, tsv);
        assert_int_equal(scratch_size(scratch_path(INDEX[f])) > 0, f > 0);
        /* Once more, of its own output: the same values again, not beside the old ones. */
        const char *again = scratch_path("again.bcf");
        must(variants("%s -r %s -m %s -o %s --window 60", out, fasta, folder[0], again));
        check_mixed(again, tsv);
    }
    tbx_t *index = tbx_index_load(scratch_path(FORM[1]));
    assert_non_null(index);
    tbx_destroy(index);
    /* Same bytes for any threads and memory. */
    must(variants("%s -r %s -m %s -o %s --window 60 --threads 1 --memory 1k", in, fasta, folder[0],
                  scratch_path("one.vcf.gz")));
    assert_true(same_files(scratch_path(FORM[1]), scratch_path("one.vcf.gz")));
}

static void normalised_and_in_order(void **state) {
    (void)state;
    static char text[1024];
    double value[8][FIELDS];
    char run[L + 1];
    strcpy(run, letters);
    memcpy(run + 200, "GAAAAAAAAAAAAAAAAAAAC", 21);
    snprintf(text, sizeof text, ">x\n%s\n", run);
    const char *genome = scratch_text("run.fa", text), *out = scratch_path("order.vcf.gz");
    const char *in =
        write_vcf("order.vcf", "x\t210\t.\tA\tC\t.\t.\t.\nx\t219\t.\tAA\tA\t.\t.\t.\nx\t221\t.\tC\tG\t.\t.\t.\n");
    must(variants("%s -r %s -m %s -o %s --window 60 --normalize", in, genome, folder[0], out));
    dna_vcf *v = NULL;
    bcf1_t *r = bcf_init();
    must(dna_vcf_open(&v, out, &error));
    static const int POS[] = {201, 210, 221};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dna_vcf_next(v, r, &error), 1);
        assert_int_equal(r->pos + 1, POS[i]);
        if (i == 0) {
            char *old = NULL;
            int room = 0;
            assert_string_equal(r->d.allele[0], "GA");
            assert_true(bcf_get_info_string(dna_vcf_header(v), r, "OLD_VARIANT", &old, &room) > 0);
            assert_string_equal(old, "x:219:AA/A");
            free(old);
        }
    }
    assert_int_equal(dna_vcf_next(v, r, &error), 0);
    bcf_destroy(r);
    dna_vcf_close(v);
    assert_true(scratch_size(scratch_path("order.vcf.gz.tbi")) > 0);
    /* Out of order: no index, and the one of before goes. */
    in = write_vcf("back.vcf", "x\t221\t.\tC\tG\t.\t.\t.\nx\t210\t.\tA\tC\t.\t.\t.\n");
    must(variants("%s -r %s -m %s -o %s --window 60", in, genome, folder[0], out));
    assert_int_equal(scratch_size(scratch_path("order.vcf.gz.tbi")), -1);
    const char *table = scratch_path("back.tsv");
    must(variants("%s -r %s -m %s -o %s --window 60", in, genome, folder[0], table));
    assert_int_equal(read_tsv(table, value, NULL), 2);
}

static void mismatches(void **state) {
    (void)state;
    char record[128], reason[4][64];
    double value[4][FIELDS] = {{0}};
    const char *out = scratch_path("mismatch.tsv");
    sprintf(record, "x\t201\t.\t%c\t%c\t.\t.\t.\nx\t401\t.\tA\tC\t.\t.\t.\n", complement_of(letters[200]),
            letters[200]);
    const char *in = write_vcf("mismatch.vcf", record);
    assert_int_equal(variants("%s -r %s -m %s -o %s", in, fasta, folder[0], out), MB_FORMAT);
    assert_non_null(strstr(error.text, "mismatch.vcf:4: x:201: REF is"));
    assert_int_equal(scratch_size(out), -1);
    must(variants("%s -r %s -m %s -o %s --ref-mismatch skip", in, fasta, folder[0], out));
    assert_int_equal(read_tsv(out, value, reason), 2);
    assert_string_equal(reason[0], "ref_mismatch");
    assert_string_equal(reason[1], "outside_contig");
    must(variants("%s -r %s -m %s -o %s --ref-mismatch warn --window %d", in, fasta, folder[0], out, W));
    assert_int_equal(read_tsv(out, value, reason), 2);
    assert_string_equal(reason[0], ".");
    assert_string_equal(reason[1], "outside_contig");
    /* The window is that of the reference but for the masked base: the ratio is turned round. */
    double want[FIELDS];
    const char to[2] = {complement_of(letters[200]), 0};
    truth(0, 200, 1, to, 0, want);
    check(value[0][0], -want[0], "llr of a mismatch", 0);
}

static void memory_runs_out(void **state) {
    (void)state;
    const char *in = mixed_vcf("oom.vcf");
    static const char *const OUT[] = {"oom.vcf.gz", "oom.tsv"}, *const WHOLE[] = {"whole.vcf.gz", "whole.tsv"};
    static const char WAY[] = "--threads 1 --window 40 --score llr,l2 --normalize";
    for (int way = 0; way < 2; way++) {
        const char *out = scratch_path(OUT[way]), *whole = scratch_path(WHOLE[way]);
        must(variants("%s -r %s -m %s -o %s %s", in, fasta, folder[1], whole, WAY));
        const long before = mb_mem_live_blocks();
        long n = 1, step = 1;
        for (;; n += step, step += n % 50 == 0) {
            remove(out);
            mb_mem_fail_nth(n, 0);
            const int rc = variants("%s -r %s -m %s -o %s %s", in, fasta, folder[1], out, WAY);
            const int fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            if (!fired)
                break;
            assert_int_equal(mb_mem_live_blocks(), before);
            if (rc == MB_OK)
                continue; /* progress lines and the like do without */
            assert_int_equal(rc, MB_NOMEM);
            /* Whole or not there: run.json, the last to be written, may be what failed. */
            assert_true(scratch_size(out) == -1 || same_files(out, whole));
        }
        assert_true(n > 50);
    }
}

static int prepare(void **state) {
    (void)state;
    static const char *const NAME[] = {"ps", "ph", "causal"};
    const mb_config config[] = {model_caduceus(D, LAYERS, 1), model_caduceus(D, LAYERS, 0), model_mamba(D, LAYERS, V)};
    char path[1200], text[L + 8];
    for (int i = 0; i < KINDS; i++) {
        model[i] = model_shaken(&config[i], NULL);
        folder[i] = strdup(scratch_path(NAME[i]));
        if (mkdir(folder[i], 0755))
            return 1;
        snprintf(path, sizeof path, "%s/config.json", folder[i]);
        if (mb_config_write(mb_model_config(model[i]), path, &error))
            return 1;
        snprintf(path, sizeof path, "%s/model.safetensors", folder[i]);
        if (mb_params_save(mb_model_params(model[i]), mb_model_config(model[i]), path, &error))
            return 1;
    }
    uint32_t x = 3;
    for (int i = 0; i < L; i++) {
        x = x * 1664525 + 1013904223;
        letters[i] = i == 31 || i == 331 ? 'N' : "ACGT"[x >> 26 & 3];
    }
    snprintf(text, sizeof text, ">x\n%s\n", letters);
    fasta = strdup(scratch_text("x.fa", text));
    return 0;
}

static int clean_up(void **state) {
    (void)state;
    for (int i = 0; i < KINDS; i++)
        mb_model_destroy(model[i]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_definition),  cmocka_unit_test(narrow_span),
                                       cmocka_unit_test(strands_mirror), cmocka_unit_test(sharing_shows_nowhere),
                                       cmocka_unit_test(every_form),     cmocka_unit_test(normalised_and_in_order),
                                       cmocka_unit_test(mismatches),     cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
