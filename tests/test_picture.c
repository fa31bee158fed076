/* Pictures read back: SVG by its tags, PNG by its chunks, checksums and pixels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/picture.h"
#include "genomics/ism_picture.h"
#include "tests/scratch.h"

static mb_err error;

typedef struct image {
    unsigned width, height;
    unsigned char *rgb; /* (height, width, 3) */
} image;

static unsigned big(const unsigned char *p) {
    return (unsigned)p[0] << 24 | (unsigned)p[1] << 16 | (unsigned)p[2] << 8 | p[3];
}

static int paeth(int a, int b, int c) {
    const int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/* Undoes the filters of 8-bit RGB rows (PNG specification, section 9). */
static void unfilter(image *g, const unsigned char *raw) {
    const size_t row = 3 * (size_t)g->width;
    for (size_t y = 0; y < g->height; y++) {
        const unsigned char *in = raw + y * (row + 1) + 1;
        unsigned char *out = g->rgb + y * row;
        for (size_t x = 0; x < row; x++) {
            const int a = x >= 3 ? out[x - 3] : 0, b = y ? out[x - row] : 0, c = x >= 3 && y ? out[x - row - 3] : 0;
            const int guess[5] = {0, a, b, (a + b) / 2, paeth(a, b, c)};
            assert_in_range(in[-1], 0, 4);
            out[x] = (unsigned char)(in[x] + guess[in[-1]]);
        }
    }
}

static image read_png(const char *path) {
    size_t n;
    unsigned char *file = (unsigned char *)scratch_read(path, &n), *packed = malloc(n + 1), *raw;
    image g = {0};
    size_t at = 8, filled = 0;
    int ended = 0;
    assert_non_null(packed);
    assert_memory_equal(file, "\x89PNG\r\n\x1a\n", 8);
    while (at + 12 <= n) {
        const unsigned size = big(file + at);
        const unsigned char *type = file + at + 4, *data = type + 4;
        assert_true(at + 12 + size <= n);
        assert_int_equal(crc32(0, type, size + 4), big(data + size));
        if (memcmp(type, "IHDR", 4) == 0) {
            g = (image){.width = big(data), .height = big(data + 4)};
            assert_memory_equal(data + 8, "\x08\x02\x00\x00\x00", 5); /* 8 bits, RGB, not interlaced */
        } else if (memcmp(type, "IDAT", 4) == 0) {
            memcpy(packed + filled, data, size);
            filled += size;
        }
        ended = memcmp(type, "IEND", 4) == 0;
        at += 12 + size;
    }
    assert_true(ended && at == n);
    uLongf bytes = (uLongf)g.height * (3 * (uLongf)g.width + 1);
    raw = malloc(bytes + 1);
    g.rgb = malloc(bytes + 1);
    assert_non_null(raw);
    assert_non_null(g.rgb);
    assert_int_equal(uncompress(raw, &bytes, packed, filled), Z_OK);
    unfilter(&g, raw);
    free(raw);
    free(packed);
    free(file);
    return g;
}

static void is_colour(const image *g, unsigned x, unsigned y, mb_colour c) {
    const unsigned char *p = g->rgb + 3 * ((size_t)y * g->width + x);
    const double want[3] = {c.r, c.g, c.b};
    for (int i = 0; i < 3; i++)
        if (fabs(p[i] / 255.0 - want[i]) > 0.01)
            fail_msg("pixel %u,%u: channel %d is %d, expected %g", x, y, i, p[i], want[i] * 255);
}

/* Every tag is closed in order; attributes have both quotes. */
static void is_well_formed(const char *path) {
    size_t n;
    char *text = scratch_read(path, &n), stack[32][32];
    int depth = 0, tags = 0;
    assert_memory_equal(text, "<?xml", 5);
    for (char *p = strstr(text, "?>") + 2; (p = strchr(p, '<'));) {
        char *end = strchr(p, '>');
        assert_non_null(end);
        int quotes = 0;
        for (char *q = p; q < end; q++)
            quotes += *q == '"';
        assert_int_equal(quotes % 2, 0);
        if (p[1] == '/') {
            assert_true(depth > 0);
            depth--;
            assert_memory_equal(p + 2, stack[depth], strlen(stack[depth]));
        } else if (end[-1] != '/' && p[1] != '!') {
            assert_true(depth < 32);
            snprintf(stack[depth++], 32, "%.*s", (int)strcspn(p + 1, " \n>"), p + 1);
        }
        tags++;
        p = end;
    }
    assert_int_equal(depth, 0);
    assert_true(tags > 5);
    free(text);
}

static int save(const mb_picture *p, const char *path, int format, double scale) {
    mb_out *out = NULL;
    mb_err_clear(&error);
    assert_int_equal(mb_out_create(&out, path, &error), MB_OK);
    const int rc = mb_picture_write(p, format, scale, out, &error);
    if (rc) {
        mb_out_abort(out);
        return rc;
    }
    return mb_out_commit(out, &error);
}

static void draws(void **state) {
    (void)state;
    const mb_colour red = {1, 0, 0}, green = {0, 0.6, 0.2}, white = {1, 1, 1}, black = {0, 0, 0};
    mb_picture *p = NULL;
    if (!mb_picture_available())
        skip();
    assert_int_equal(mb_picture_create(&p, 120, 80, &error), MB_OK);
    mb_picture_rect(p, 10, 10, 20, 10, red);
    mb_picture_outline(p, &dna_letter_outline[0], 40, 10, 60, 60, green); /* A: a hole under its top */
    mb_picture_line(p, 0, 75, 120, 75, 4, black);
    const mb_text_style s = {.size = 10, .anchor = MB_ANCHOR_MIDDLE};
    mb_picture_text(p, 20, 60, &s, "M\xff\xc3 \xed\xa0\x80 \x01 \xf4\x90\x80\x80 <&> \xe2\x88\x92");
    assert_true(mb_picture_text_width(p, &s, "wide") > mb_picture_text_width(p, &s, "i"));
    for (int scale = 1; scale <= 2; scale++) {
        const unsigned k = (unsigned)scale;
        assert_int_equal(save(p, scratch_path("a.png"), MB_PICTURE_PNG, scale), MB_OK);
        image g = read_png(scratch_path("a.png"));
        assert_int_equal(g.width, 120 * k);
        assert_int_equal(g.height, 80 * k);
        is_colour(&g, 20 * k, 15 * k, red);
        is_colour(&g, 5 * k, 15 * k, white);
        is_colour(&g, 32 * k, 15 * k, white);
        is_colour(&g, 70 * k, 12 * k, green);                   /* its top */
        is_colour(&g, 70 * k, (10 + 27) * k, white);            /* the hole */
        is_colour(&g, 70 * k, (10 + 60 * 68 / 100) * k, green); /* the bar */
        is_colour(&g, 70 * k, (10 + 54) * k, white);            /* between the feet */
        is_colour(&g, 60 * k, 75 * k, black);
        free(g.rgb);
    }
    assert_int_equal(save(p, scratch_path("a.svg"), MB_PICTURE_SVG, 1), MB_OK);
    is_well_formed(scratch_path("a.svg"));
    assert_int_equal(save(p, scratch_path("b.svg"), MB_PICTURE_SVG, 1), MB_OK);
    size_t n, m;
    char *a = scratch_read(scratch_path("a.svg"), &n), *b = scratch_read(scratch_path("b.svg"), &m);
    assert_int_equal(n, m); /* the same drawing is the same file, but for the numbers that cairo gives its surfaces */
    free(a);
    free(b);
    mb_picture_destroy(p);
}

static void refuses(void **state) {
    (void)state;
    mb_picture *p = NULL;
    const double side[][2] = {{0, 10}, {10, -1}, {1e9, 10}, {NAN, 10}};
    if (!mb_picture_available()) {
        assert_int_equal(mb_picture_create(&p, 10, 10, &error), MB_NOTSUP);
        assert_non_null(strstr(error.text, "libcairo2-dev"));
        assert_null(p);
        return;
    }
    for (int i = 0; i < 4; i++) {
        mb_err_clear(&error);
        assert_int_equal(mb_picture_create(&p, side[i][0], side[i][1], &error), MB_RANGE);
        assert_null(p);
    }
    mb_err_clear(&error);
    assert_int_equal(mb_picture_create(&p, 20000, 20000, &error), MB_OK);
    assert_int_equal(save(p, scratch_path("big.png"), MB_PICTURE_PNG, 1), MB_RANGE);
    assert_int_equal(scratch_size(scratch_path("big.png")), -1);
    mb_picture_destroy(p);
    mb_err_clear(&error);
    assert_int_equal(mb_picture_create(&p, 300, 300, &error), MB_OK);
    for (int format = MB_PICTURE_SVG; format <= MB_PICTURE_PNG; format++) {
        mb_out *out = NULL;
        mb_err_clear(&error);
        assert_int_equal(mb_out_create(&out, "/dev/full", &error), MB_OK);
        int rc = mb_picture_write(p, format, 1, out, &error);
        if (rc == MB_OK)
            rc = mb_out_commit(out, &error); /* a small file fails when it is flushed */
        else
            mb_out_abort(out);
        assert_int_equal(rc, MB_IO);
        assert_non_null(strstr(error.text, "/dev/full"));
    }
    mb_picture_destroy(p);
}

static void memory_runs_out(void **state) {
    (void)state;
    if (!mb_picture_available())
        skip();
    const long before = mb_mem_live_blocks();
    for (long n = 1;; n++) {
        mb_picture *p = NULL;
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = mb_picture_create(&p, 10, 10, &error);
        if (rc == MB_OK) {
            mb_picture_text(p, 1, 1, &(mb_text_style){.size = 9}, "text");
            const int failed = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            assert_int_equal(save(p, scratch_path("m.svg"), MB_PICTURE_SVG, 1), failed ? MB_NOMEM : MB_OK);
            assert_true(failed || scratch_size(scratch_path("m.svg")) > 100);
            mb_picture_destroy(p);
        }
        assert_int_equal(mb_mem_live_blocks(), before);
        if (rc == MB_OK && scratch_size(scratch_path("m.svg")) > 100)
            break;
        assert_true(rc == MB_OK || rc == MB_NOMEM);
    }
    mb_mem_fail_nth(0, 0);
}

static void scales(void **state) {
    (void)state;
    const double pair[][2] = {{0, 1},      {1, 1},       {1.1, 1.2}, {0.067, 0.08}, {3.2, 4},     {9, 10},
                              {0.09, 0.1}, {2000, 2000}, {21, 25},   {NAN, 1},      {INFINITY, 1}};
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        assert_true(fabs(dna_nice_ceiling(pair[i][0]) / pair[i][1] - 1) < 1e-9);
    const mb_colour none = dna_effect_colour(0, 2), up = dna_effect_colour(9, 2), down = dna_effect_colour(-9, 2);
    assert_true(none.r == 1 && none.g == 1 && none.b == 1);
    assert_true(up.b > up.r + 0.2 && down.r > down.b + 0.2);
    /* Either way it only gets darker. */
    double last[2] = {2, 2};
    for (int i = 0; i <= 50; i++)
        for (int side = 0; side < 2; side++) {
            const mb_colour c = dna_effect_colour((side ? -1 : 1) * i / 50.0, 1);
            const double light = 0.2126 * c.r + 0.7152 * c.g + 0.0722 * c.b;
            assert_true(light < last[side]);
            last[side] = light;
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(draws), cmocka_unit_test(refuses),
                                       cmocka_unit_test(memory_runs_out), cmocka_unit_test(scales)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
