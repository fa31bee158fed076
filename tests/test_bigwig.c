/* bigWig files read back by the library, bedGraph line by line; writes that fail, and what is left of them. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "core/mem.h"
#include "genomics/track_out.h"
#include "tests/scratch.h"

static mb_err error;
static char *NAME[] = {"A", "B", "chr10", "chr2"};
static const int64_t LENGTH[] = {100, 300000, 5000, 7};
static const dna_bigwig_contigs CONTIGS = {NAME, LENGTH, 4};
enum { LONG = 200000 };
static float values[LONG];

static void make_values(void) {
    uint32_t x = 7;
    for (int i = 0; i < LONG; i++) {
        x = x * 1664525 + 1013904223;
        values[i] = -0.5F - (float)(x >> 8) / (float)(1 << 24); /* all below 0 */
        if (x >> 24 < 5 || (i > 700 && i < 900))
            values[i] = NAN;
    }
}

static int put_all(dna_track_out *t) {
    int rc = dna_track_put(t, 0, 3, 10, values, 9, &error); /* 3..93 */
    for (int i = 0; rc == MB_OK && i < LONG; i += 999)
        rc = dna_track_put(t, 1, 50 + i, 1, values + i, LONG - i < 999 ? LONG - i : 999, &error);
    return rc == MB_OK ? dna_track_put(t, 3, 0, 1, values, 7, &error) : rc;
}

/* What base t of a contig should have. */
static float expected(int contig, int64_t t) {
    if (contig == 0)
        return t >= 3 && t < 93 ? values[(t - 3) / 10] : NAN;
    if (contig == 1)
        return t >= 50 && t < 50 + LONG ? values[t - 50] : NAN;
    return contig == 3 ? values[t] : NAN;
}

static int same(float a, float b) {
    return a == b || (isnan(a) && isnan(b));
}

static void bedgraph(void **state) {
    (void)state;
    dna_track_out *t = NULL;
    size_t n;
    mb_err_clear(&error);
    assert_int_equal(dna_track_create(&t, scratch_path("t.bedGraph"), &CONTIGS, 0, &error), MB_OK);
    assert_int_equal(put_all(t), MB_OK);
    const dna_track_sums sums = dna_track_sum(t);
    assert_int_equal(dna_track_commit(t, &error), MB_OK);
    char *text = scratch_read(scratch_path("t.bedGraph"), &n), *p = text;
    int64_t bases = 0, want = 0;
    double sum = 0, total = 0;
    for (int c = 0; c < 4; c++)
        for (int64_t i = 0; i < LENGTH[c]; i++)
            if (!isnan(expected(c, i))) {
                want++;
                total += (double)expected(c, i);
            }
    while (*p) {
        char name[16];
        long long start, end;
        float value;
        int used = 0, c = 0;
        assert_int_equal(sscanf(p, "%15[^\t]\t%lld\t%lld\t%f%n", name, &start, &end, &value, &used), 4);
        p += used;
        assert_int_equal(*p++, '\n');
        while (strcmp(name, NAME[c]) != 0)
            c++;
        for (long long i = start; i < end; i++)
            assert_true(fabsf(value - expected(c, i)) < 1e-6F);
        bases += end - start;
        sum += (double)value * (double)(end - start);
    }
    assert_int_equal(bases, want);
    assert_int_equal(sums.bases, want);
    assert_true(fabs(sum - total) < 1e-4 * fabs(total) && fabs(sums.sum - total) < 1e-6 * fabs(total));
    assert_true(sums.most < 0 && sums.least < sums.most);
    free(text);
}

static void names(void **state) {
    (void)state;
    const struct {
        const char *path;
        int rc, format;
    } row[] = {{"x.bw", MB_OK, DNA_BIGWIG},
               {"a/b.BigWig", MB_OK, DNA_BIGWIG},
               {"-", MB_OK, DNA_BEDGRAPH},
               {"x.bedGraph", MB_OK, DNA_BEDGRAPH},
               {"x.bg", MB_OK, DNA_BEDGRAPH},
               {"x.wig", MB_USAGE, 0},
               {".bw", MB_USAGE, 0},
               {"x.bw.gz", MB_USAGE, 0},
               {"x", MB_USAGE, 0}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        int format = -1;
        mb_err_clear(&error);
        assert_int_equal(dna_track_format_of(row[i].path, &format, &error), row[i].rc);
        if (row[i].rc == MB_OK)
            assert_int_equal(format, row[i].format);
        else
            assert_non_null(strstr(error.text, ".bedgraph"));
    }
}

static void nothing_to_write(void **state) {
    (void)state;
    const char *const path[] = {scratch_path("none.bg"), scratch_path("none.bw")};
    for (int i = 0; i < 2 && (i == 0 || dna_bigwig_available()); i++) {
        dna_track_out *t = NULL;
        const float none[3] = {NAN, NAN, NAN};
        mb_err_clear(&error);
        assert_int_equal(dna_track_create(&t, path[i], &CONTIGS, 1, &error), MB_OK);
        assert_int_equal(dna_track_put(t, 1, 5, 1, none, 3, &error), MB_OK);
        assert_int_equal(dna_track_commit(t, &error), MB_FORMAT);
        assert_int_equal(scratch_size(path[i]), -1);
    }
}

#if __has_include(<bwValues.h>)
#define NOCURL 1
#include <bigWig.h>

static void write_bigwig(const char *path, int zooms) {
    dna_track_out *t = NULL;
    mb_err_clear(&error);
    if (dna_track_create(&t, path, &CONTIGS, zooms, &error) || put_all(t) || dna_track_commit(t, &error))
        fail_msg("%s", error.text);
}

static void read_back(void **state) {
    (void)state;
    for (int zooms = 0; zooms < 2; zooms++) {
        const char *path = scratch_path(zooms ? "zoom.bw" : "plain.bw");
        write_bigwig(path, zooms);
        bigWigFile_t *f = bwOpen(path, NULL, "r");
        assert_non_null(f);
        assert_int_equal(f->cl->nKeys, 4);
        assert_true(zooms ? f->hdr->nLevels > 0 : f->hdr->nLevels == 0);
        double least = INFINITY, most = -INFINITY;
        uint64_t covered = 0;
        for (int c = 0; c < 4; c++) {
            assert_string_equal(f->cl->chrom[c], NAME[c]);
            assert_int_equal(f->cl->len[c], LENGTH[c]);
            bwOverlappingIntervals_t *v = bwGetValues(f, NAME[c], 0, (uint32_t)LENGTH[c], 1);
            assert_true(v || c == 2); /* without any value */
            for (int64_t i = 0; v && i < LENGTH[c]; i++) {
                const float want = expected(c, i);
                if (!same(v->value[i], want))
                    fail_msg("%s:%d is %g, expected %g", NAME[c], (int)i, v->value[i], want);
                least = fmin(least, want);
                most = fmax(most, want);
                covered += !isnan(want);
            }
            if (v)
                bwDestroyOverlappingIntervals(v);
        }
        assert_true(f->hdr->minVal == least && f->hdr->maxVal == most);
        assert_int_equal(f->hdr->nBasesCovered, covered);
        /* A mean over the long contig comes from the zoom levels when there are some. */
        double *average = bwStats(f, NAME[1], 0, (uint32_t)LENGTH[1], 1, mean), sum = 0, n = 0;
        for (int i = 0; i < LONG; i++)
            if (!isnan(values[i])) {
                sum += (double)values[i];
                n++;
            }
        assert_non_null(average);
        assert_true(fabs(*average - sum / n) < 1e-3);
        free(average);
        bwClose(f);
    }
}

/* At whatever byte the disk is full: told as such, and nothing is left. */
static void disk_is_full(void **state) {
    (void)state;
    const char *path = scratch_path("full.bw");
    struct rlimit old, less;
    const float few[3] = {1, 2, 3};
    write_bigwig(path, 1);
    const long size = scratch_size(path);
    remove(path);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    less = old;
    for (int part = 0; part < 32; part++) {
        dna_track_out *t = NULL;
        mb_err_clear(&error);
        less.rlim_cur = (rlim_t)(part == 0 ? 10 : part == 11 ? size - 1 : part > 11 ? 20 * part : size * part / 11);
        setrlimit(RLIMIT_FSIZE, &less);
        int rc = dna_track_create(&t, path, &CONTIGS, 1, &error);
        /* parts 12 and up: all values fit into the library's buffer, and are written at the end */
        if (rc == MB_OK && (rc = part > 11 ? dna_track_put(t, 0, 3, 1, few, 3, &error) : put_all(t)))
            dna_track_abort(t);
        else if (rc == MB_OK)
            rc = dna_track_commit(t, &error);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(rc, MB_IO);
        assert_non_null(strstr(error.text, "full.bw"));
        assert_non_null(strstr(error.text, "File too large"));
        assert_int_equal(scratch_size(path), -1);
    }
}

static void refuses(void **state) {
    (void)state;
    enum { MANY = 65536 };
    char **name = calloc(MANY, sizeof *name);
    int64_t *length = calloc(MANY, sizeof *length);
    dna_bigwig *w = NULL;
    for (int i = 0; i < MANY; i++)
        name[i] = NAME[0];
    length[1] = (int64_t)1 << 32;
    const dna_bigwig_contigs many = {name, length, MANY}, giant = {name, length, 2};
    const char *path = scratch_path("refused.bw");
    mb_err_clear(&error);
    assert_int_equal(dna_bigwig_create(&w, path, &many, 1, &error), MB_NOTSUP);
    assert_non_null(strstr(error.text, ".bedgraph"));
    mb_err_clear(&error);
    assert_int_equal(dna_bigwig_create(&w, path, &giant, 1, &error), MB_NOTSUP);
    mb_err_clear(&error);
    assert_int_equal(dna_bigwig_create(&w, "/dev/null", &CONTIGS, 1, &error), MB_USAGE);
    assert_int_equal(scratch_size(path), -1);
    free(name);
    free(length);
}

static void memory_runs_out(void **state) {
    (void)state;
    const char *path = scratch_path("memory.bw");
    const long before = mb_mem_live_blocks();
    for (long n = 1;; n++) {
        dna_track_out *t = NULL;
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        int rc = dna_track_create(&t, path, &CONTIGS, 0, &error);
        if (rc == MB_OK && (rc = dna_track_put(t, 0, 3, 10, values, 9, &error)))
            dna_track_abort(t);
        else if (rc == MB_OK)
            rc = dna_track_commit(t, &error);
        assert_int_equal(mb_mem_live_blocks(), before);
        if (!mb_mem_fault_fired())
            break;
        assert_int_equal(rc, MB_NOMEM);
        assert_int_equal(scratch_size(path), -1);
    }
    mb_mem_fail_nth(0, 0);
}
#endif

static void absent_library_says_so(void **state) {
    (void)state;
    dna_track_out *t = NULL;
    if (dna_bigwig_available())
        skip();
    mb_err_clear(&error);
    assert_int_equal(dna_track_create(&t, scratch_path("x.bw"), &CONTIGS, 1, &error), MB_NOTSUP);
    assert_non_null(strstr(error.text, "libbigwig-dev"));
    assert_non_null(strstr(error.text, ".bedgraph"));
}

int main(void) {
    make_values();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bedgraph),
        cmocka_unit_test(names),
        cmocka_unit_test(nothing_to_write),
#if __has_include(<bwValues.h>)
        cmocka_unit_test(read_back),
        cmocka_unit_test(disk_is_full),
        cmocka_unit_test(refuses),
        cmocka_unit_test(memory_runs_out),
#endif
        cmocka_unit_test(absent_library_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
