/* Reports: ticks, histograms, what stands in the page, and that nothing from outside can leave its place in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/curve.h"
#include "core/mem.h"
#include "core/page.h"
#include "tests/scratch.h"

/* ---- axes ---------------------------------------------------------------------------------------------------------
 */

static void ticks_are_round_and_cover(void **state) {
    (void)state;
    static const struct {
        double low, high, step;
        int n;
    } known[] = {{0, 10, 2, 6}, {0, 1, 0.2, 6}, {1.1, 1.32, 0.05, 6}, {-3, 3, 1, 7}, {0, 2000, 500, 5}, {0, 7, 1, 8}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const mb_ticks t = mb_ticks_make(known[i].low, known[i].high, 7);
        assert_true(fabs(t.step - known[i].step) < 1e-12);
        assert_int_equal(t.n, known[i].n);
    }
    for (int i = 0; i < 2000; i++) {
        const double low = sin(i) * pow(10, i % 9 - 4), high = low + (1 + cos(i * 7.0)) * pow(10, i % 7 - 3) + 1e-9;
        const mb_ticks t = mb_ticks_make(low, high, 7);
        assert_true(t.low <= low + t.step * 1e-6 && t.high >= high - t.step * 1e-6);
        assert_true(t.low > low - t.step * 1.01 && t.high < high + t.step * 1.01);
        assert_true(t.n >= 2 && t.n <= 8);
    }
    char text[32];
    const mb_ticks t = mb_ticks_make(-0.2, 0.4, 7);
    assert_string_equal(mb_tick_text(&t, 2, text), "0.0");
    assert_string_equal(mb_tick_text(&t, 0, text), "-0.2");
}

static void histograms_count_every_finite_value(void **state) {
    (void)state;
    const double value[] = {0, 0.5, 1, NAN, 2, INFINITY, 4, 4};
    double x[4], count[4];
    assert_int_equal(mb_histogram(value, 8, 4, x, count), 6);
    const double want[] = {2, 1, 1, 2}, middle[] = {0.5, 1.5, 2.5, 3.5};
    for (int i = 0; i < 4; i++) {
        assert_true(count[i] == want[i]);
        assert_true(x[i] == middle[i]);
    }
    const double same[] = {3, 3};
    assert_int_equal(mb_histogram(same, 2, 3, x, count), 2);
    assert_true(count[0] == 0 && count[1] == 2 && count[2] == 0);
    assert_int_equal(mb_histogram(value + 3, 1, 2, x, count), 0);
}

/* ---- pages --------------------------------------------------------------------------------------------------------
 */

static const mb_option OPTIONS[] = {{0}};
static int nothing(mb_run *run, mb_err *e) {
    (void)run, (void)e;
    return MB_OK;
}
static const mb_verb VERB = {
    .name = "v", .summary = "s", .usage = "", .options = OPTIONS, .values_size = 8, .max_args = -1, .run = nothing};

static mb_provenance *record;

static void start_record(void) {
    static char *words[] = {"prog", "v", "</pre><script>", NULL};
    mb_run run = {.program = "prog", .verb = &VERB};
    mb_err e = {0};
    int done;
    if (mb_options_parse(&run, 3, words, &done, &e) != MB_OK || mb_provenance_start(&record, &run, &e) != MB_OK)
        fail_msg("%s", e.text);
    mb_options_free(&run);
}

static int make_page(const char *path, mb_err *e) {
    static const double x[] = {1, 2, 3, NAN}, y[] = {3, 1, 2, 9};
    const mb_series lines = {"a <b>", MB_SERIES_LINE, x, y, 4}, none = {"n", MB_SERIES_LINE, x + 3, y, 1};
    const mb_chart chart = {.title = "<c> & \"d\"", .series = &lines, .n_series = 1};
    const mb_chart empty = {.title = "empty", .series = &none, .n_series = 1};
    static const char *const column[] = {"n<1", "t"}, *const cell[] = {"-1.5", "<img onerror=1>"};
    mb_page *page = NULL;
    int rc = mb_page_create(&page, "T <&> \x01", e);
    if (rc == MB_OK) {
        mb_page_fact(page, "k", "%s%d", "<v>", 7);
        mb_page_heading(page, "h'1");
        mb_page_table(page, column, 2);
        mb_page_row(page, cell);
        mb_page_chart(page, &chart);
        mb_page_chart(page, &empty);
        mb_page_text(page, "end %d%%", 5);
        rc = mb_page_write(page, record, path, e);
    }
    mb_page_destroy(page);
    return rc;
}

static int holds(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

static void text_from_outside_is_escaped(void **state) {
    (void)state;
    mb_err e = {0};
    size_t size;
    const char *path = scratch_path("page.html");
    start_record();
    if (make_page(path, &e) != MB_OK)
        fail_msg("%s", e.text);
    char *text = scratch_read(path, &size);
    assert_non_null(text);
    assert_int_equal(strlen(text), size);
    assert_true(holds(text, "<title>T &lt;&amp;&gt; ?</title>"));
    assert_true(holds(text, "<tr><th>k</th><td>&lt;v&gt;7</td></tr>"));
    assert_true(holds(text, "<h2>h&#39;1</h2>"));
    assert_true(holds(text, "<th>n&lt;1</th><th>t</th>"));
    assert_true(holds(text, "<td class=\"n\">-1.5</td><td>&lt;img onerror=1&gt;</td>"));
    assert_true(holds(text, "<p>end 5%</p>"));
    assert_true(holds(text, "&lt;/pre&gt;&lt;script&gt;"));
    assert_false(holds(text, "<script"));
    assert_false(holds(text, "http:") || holds(text, "https:"));
    assert_true(holds(text, "empty: nothing to draw"));
    if (mb_picture_available())
        assert_true(holds(text, "<img alt=\"&lt;c&gt; &amp; &quot;d&quot;\" src=\"data:image/svg+xml;base64,PD94bWwg"));
    else
        assert_true(holds(text, "cairo"));
    assert_string_equal(text + size - 8, "</html>\n");
    free(text);
    mb_provenance_free(record);
}

/* What was added, without the record, which has times in it, and with a mark for the picture, in which cairo counts. */
static char *body_of(const char *path) {
    size_t size;
    char *text = scratch_read(path, &size);
    char *end = text ? strstr(text, "<h2>Record of the run</h2>") : NULL;
    if (!end) {
        fail_msg("%s is no whole page", path);
        return NULL;
    }
    *end = 0;
    char *picture = strstr(text, "base64,"), *after = picture ? strchr(picture, '"') : NULL;
    assert_true(after != NULL || !mb_picture_available());
    if (after) {
        assert_true(after - picture > 2000);
        memmove(picture, after, strlen(after) + 1);
    }
    return text;
}

/* The record spells a text another way when there is no memory for the first: a whole page may still come out. */
static void a_page_without_memory_is_whole_or_none(void **state) {
    (void)state;
    const char *path = scratch_path("none.html");
    int finished = 0, refused = 0;
    mb_err first = {0};
    start_record();
    assert_int_equal(make_page(path, &first), MB_OK); /* the record keeps its end */
    char *whole = body_of(path);
    for (long n = 1; !finished; n++) {
        mb_err e = {0};
        const long before = mb_mem_live_blocks();
        (void)remove(path);
        mb_mem_fail_nth(n, 0);
        const int rc = make_page(path, &e);
        finished = !mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(mb_mem_live_blocks(), before);
        if (rc == MB_OK) {
            char *body = body_of(path);
            assert_string_equal(body, whole);
            free(body);
        } else {
            assert_int_equal(rc, MB_NOMEM);
            assert_int_equal(scratch_size(path), -1);
            refused++;
        }
        assert_true(n < 5000);
    }
    assert_true(refused > 20);
    free(whole);
    mb_provenance_free(record);
}

/* ---- curves -------------------------------------------------------------------------------------------------------
 */

static void a_curve_is_read_line_by_line(void **state) {
    (void)state;
    mb_err e = {0};
    mb_curve c;
    const char *good =
        scratch_text("good.jsonl", "{\"step\": 1, \"kind\": \"train\", \"loss\": 2.5}\n"
                                   "{\"step\": 2, \"kind\": \"train\", \"loss\": 2}\n"
                                   "{\"step\": 2, \"kind\": \"valid\", \"loss\": 1.5, \"ndcg@10\": 0.25}\n"
                                   "{\"step\": 2, \"kind\": \"other\"}\n"
                                   "{\"step\": 3, \"kind\": \"tr");
    assert_int_equal(mb_curve_read(&c, good, "ndcg@10", &e), MB_OK);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.n_held, 1);
    assert_true(c.step[1] == 2 && c.loss[0] == 2.5 && c.held_step[0] == 2 && c.held_loss[0] == 1.5);
    assert_true(c.held_figure[0] == 0.25);
    mb_curve_fini(&c);
    const char *bad =
        scratch_text("bad.jsonl", "{\"step\": 1, \"kind\"\n{\"step\": 2, \"kind\": \"train\", \"loss\": 2}\n");
    assert_int_equal(mb_curve_read(&c, bad, NULL, &e), MB_FORMAT);
    assert_true(holds(e.text, "bad.jsonl"));
    assert_int_equal(c.n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_round_and_cover),    cmocka_unit_test(histograms_count_every_finite_value),
        cmocka_unit_test(text_from_outside_is_escaped), cmocka_unit_test(a_page_without_memory_is_whole_or_none),
        cmocka_unit_test(a_curve_is_read_line_by_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
