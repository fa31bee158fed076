/* Recommenders as folders: identifiers of items, histories run together against a session fed one by one, scores
 * against sums in double, what is refused. */
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

#include "core/file.h"
#include "core/mem.h"
#include "core/rng.h"
#include "recsys/items.h"
#include "recsys/model.h"
#include "tests/models.h"
#include "tests/scratch.h"

enum { ITEMS = 40, D = 24, LONGEST = 300 };

static mb_err error;
static int32_t history[LONGEST];

/* ---- items ----------------------------------------------------------------------------------------------------------
 */

static const rec_id ODD[] = {
    {"plain", 5},    {"with blank", 10}, {"", 0},         {"\"quoted", 7},  {"two\nlines\\", 10},
    {"zero\0in", 7}, {"caf\xc3\xa9", 5}, {"\xff\xfe", 2}, {"tab\there", 8}, {"a\"b\\c", 5}};
enum { N_ODD = sizeof ODD / sizeof *ODD };

static rec_id odd_name(const void *user, int32_t item) {
    (void)user;
    return ODD[item - 1];
}

static void items_come_back(void **state) {
    (void)state;
    const char *path = scratch_path("items.txt");
    rec_items items;
    char digest[65];
    assert_int_equal(rec_items_write(path, N_ODD, odd_name, NULL, &error), MB_OK);
    assert_int_equal(rec_items_read(&items, path, &error), MB_OK);
    assert_int_equal(items.n, N_ODD);
    for (int i = 1; i <= N_ODD; i++) {
        const rec_id id = rec_items_id(&items, i);
        assert_int_equal(id.n, ODD[i - 1].n);
        assert_memory_equal(id.text, ODD[i - 1].text, (size_t)id.n);
        assert_int_equal(rec_items_find(&items, id.text, id.n), i);
    }
    assert_int_equal(rec_items_find(&items, "plai", 4), 0);
    assert_int_equal(rec_items_find(&items, "plain ", 6), 0);
    static const char SAYS[] = "\5\0\0\0plain\12\0\0\0with blank\0\0\0\0\7\0\0\0\"quoted\12\0\0\0two\nlines\\"
                               "\7\0\0\0zero\0in\5\0\0\0caf\xc3\xa9\2\0\0\0\xff\xfe\10\0\0\0tab\there\5\0\0\0a\"b\\c";
    mb_sha256_hex(SAYS, sizeof SAYS - 1, digest);
    assert_string_equal(items.digest, digest);
    rec_items_fini(&items);
}

static void items_escapes(void **state) {
    (void)state;
    const char *path = scratch_text("escaped.txt", "\"\\u00e9\\u20AC\\ud83d\\ude00\\t\\/\"\nlast without end");
    rec_items items;
    assert_int_equal(rec_items_read(&items, path, &error), MB_OK);
    assert_int_equal(items.n, 2);
    assert_int_equal(rec_items_find(&items, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\t/", 11), 1);
    assert_int_equal(rec_items_find(&items, "last without end", 16), 2);
    rec_items_fini(&items);
}

static void items_refused(void **state) {
    (void)state;
    static const char *const BAD[][2] = {{"", "holds no items"},
                                         {"a\nb\na\n", ":3: the identifier of line 1 again"},
                                         {"a\n\"open\n", ":2: begins with a quote"},
                                         {"\"\\q\"\n", ":1: begins"},
                                         {"\"\\u12g4\"\n", ":1: begins"},
                                         {"\"\\udc00\"\n", ":1: begins"},
                                         {"\"\\ud83d\\u0041\"\n", ":1: begins"},
                                         {"\"after\" all\n", ":1: begins"},
                                         {"\"\\", ":1: begins"}};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        rec_items items;
        mb_err_clear(&error);
        assert_int_equal(rec_items_read(&items, scratch_text("bad.txt", BAD[i][0]), &error), MB_FORMAT);
        assert_non_null(strstr(error.text, BAD[i][1]));
    }
    mb_err_clear(&error);
}

/* ---- a folder -------------------------------------------------------------------------------------------------------
 */

static rec_id number(const void *user, int32_t item) {
    static char text[ITEMS + 2][16];
    (void)user;
    return (rec_id){text[item], snprintf(text[item], sizeof *text, "item %d", item)};
}

/* A folder with a shaken model of V rows and n names. */
static const char *folder(const char *name, int V, int n, int64_t window) {
    const mb_config c = model_mamba(D, 2, V);
    mb_model *m = model_shaken(&c, NULL);
    const char *dir = scratch_path(name);
    char path[1200];
    mkdir(dir, 0777);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(mb_config_write(&c, path, &error), MB_OK);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(mb_params_save(mb_model_params(m), &c, path, &error), MB_OK);
    snprintf(path, sizeof path, "%s/items.txt", dir);
    assert_int_equal(rec_items_write(path, n, number, NULL, &error), MB_OK);
    assert_int_equal(rec_model_write_rule(dir, window, &error), MB_OK);
    mb_model_destroy(m);
    return dir;
}

static rec_model *opened(const char *dir, int threads, int64_t window) {
    const rec_model_options o = {.threads = threads, .window = window};
    rec_model *m = NULL;
    assert_int_equal(rec_model_open(&m, dir, &o, &error), MB_OK);
    return m;
}

/* The final row of a history, by a session of its own. */
static void expect_vector(const rec_model *m, const int32_t *item, int64_t n, const float *vector) {
    mb_session *s = NULL;
    float row[D] = {0};
    assert_int_equal(mb_session_create(&s, rec_model_engine(m), 1, &error), MB_OK);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(mb_session_step(s, item[i], row, NULL, &error), MB_OK);
    for (int k = 0; k < D; k++)
        assert_true(fabsf(row[k] - vector[k]) <= 1e-5F + 1e-5F * fabsf(row[k]));
    mb_session_destroy(s);
}

/* Growing histories of one user, another's, an empty one, one that is not the beginning of its neighbour. */
static int queries(rec_query *q) {
    static int32_t other[LONGEST];
    memcpy(other, history, sizeof other);
    other[3] = other[3] % ITEMS + 1;
    int n = 0;
    q[n++] = (rec_query){.item = history, .n = 0};
    q[n++] = (rec_query){.item = history, .n = 1};
    q[n++] = (rec_query){.item = history, .n = 5};
    q[n++] = (rec_query){.item = history, .n = 130};
    q[n++] = (rec_query){.item = history, .n = 130};
    q[n++] = (rec_query){.item = history, .n = 129};
    q[n++] = (rec_query){.item = other, .n = 10};
    q[n++] = (rec_query){.item = other, .n = LONGEST};
    q[n++] = (rec_query){.item = NULL, .n = 0};
    q[n++] = (rec_query){.item = history + 7, .n = 100};
    return n;
}

static void vectors_are_those_of_sessions(void **state) {
    (void)state;
    const char *dir = folder("model", ITEMS + 1, ITEMS, 0);
    static float all[10 * D], one[D], few[10 * D];
    rec_query q[10];
    const int n = queries(q);
    for (int64_t window = 0; window <= 64; window += 64) {
        rec_model *m = opened(dir, 2, window), *single = opened(dir, 1, window);
        assert_int_equal(rec_model_encode(m, q, n, all, &error), MB_OK);
        assert_int_equal(rec_model_encode(single, q, n, few, &error), MB_OK);
        assert_memory_equal(all, few, sizeof(float) * (size_t)n * D);
        for (int i = 0; i < n; i++) {
            const int64_t cut = window && q[i].n > window ? q[i].n - window : 0;
            expect_vector(m, q[i].item + cut, q[i].n - cut, all + (size_t)i * D);
            assert_int_equal(rec_model_encode(m, &q[i], 1, one, &error), MB_OK);
            assert_memory_equal(one, all + (size_t)i * D, sizeof one);
        }
        rec_model_close(m);
        rec_model_close(single);
    }
}

static void scores_are_products(void **state) {
    (void)state;
    enum { N = 200, V = ITEMS + 1 };
    static float vector[N * D], score[N * V], one[V];
    rec_model *m = opened(scratch_path("model"), 2, 0);
    const float *E = mb_model_params(rec_model_engine(m))->embedding;
    mb_rng r;
    mb_rng_init(&r, 3, 1);
    for (int i = 0; i < N * D; i++)
        vector[i] = (float)mb_rng_normal(&r);
    assert_int_equal(rec_model_scores(m, vector, N, score, &error), MB_OK);
    for (int i = 0; i < N; i++) {
        for (int v = 0; v < V; v++) {
            double sum = 0, size = 0;
            for (int k = 0; k < D; k++) {
                const double part = (double)vector[i * D + k] * (double)E[v * D + k];
                sum += part;
                size += fabs(part);
            }
            assert_true(fabs(score[i * V + v] - sum) <= 1e-6 * size + 1e-30);
        }
        assert_int_equal(rec_model_scores(m, vector + i * D, 1, one, &error), MB_OK);
        assert_memory_equal(one, score + i * V, sizeof one);
    }
    rec_model_close(m);
}

static void scorer_is_both(void **state) {
    (void)state;
    enum { V = ITEMS + 1 };
    static float vector[10 * D], score[10 * V], both[10 * V];
    rec_query q[10];
    const int n = queries(q);
    rec_model *m = opened(scratch_path("model"), 2, 0);
    const rec_scorer s = rec_model_scorer(m);
    assert_int_equal(s.n_items, ITEMS);
    assert_int_equal(rec_model_encode(m, q, n, vector, &error), MB_OK);
    assert_int_equal(rec_model_scores(m, vector, n, score, &error), MB_OK);
    assert_int_equal(s.score(s.self, q, n, both, &error), MB_OK);
    assert_memory_equal(both, score, sizeof(float) * (size_t)n * V);
    rec_model_close(m);
}

static void windows_of_the_folder(void **state) {
    (void)state;
    const char *dir = folder("windowed", ITEMS + 1, ITEMS, 50);
    const struct { int64_t asked, got; } CASE[] = {{0, 50}, {20, 20}, {-1, 0}, {90, 90}};
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        rec_model *m = opened(dir, 1, CASE[i].asked);
        assert_int_equal(rec_model_window(m), CASE[i].got);
        assert_int_equal(rec_model_items(m), ITEMS);
        assert_int_equal(rec_model_find_item(m, "item 17", 7), 17);
        assert_int_equal(rec_model_find_item(m, "item 41", 7), 0);
        assert_int_equal(rec_model_item_id(m, 40).n, 7);
        rec_model_close(m);
    }
}

static void refuse(const char *dir, int status, const char *part) {
    const rec_model_options o = {.threads = 1};
    rec_model *m = NULL;
    mb_err_clear(&error);
    assert_int_equal(rec_model_open(&m, dir, &o, &error), status);
    assert_null(m);
    assert_non_null(strstr(error.text, part));
    mb_err_clear(&error);
}

static void folders_refused(void **state) {
    (void)state;
    char path[1200];
    refuse(folder("few", ITEMS + 1, ITEMS - 1, 0), MB_FORMAT, "items.txt names 39 items");
    const char *dir = folder("rule", ITEMS + 1, ITEMS, 0);
    scratch_text("rule/recsys.json", "{\"version\": 2}");
    refuse(dir, MB_NOTSUP, "version must be 1");
    scratch_text("rule/recsys.json", "{\"version\": 1, \"window\": -3}");
    refuse(dir, MB_FORMAT, "window must be");
    scratch_text("rule/recsys.json", "{\"version\": 1, \"win");
    refuse(dir, MB_FORMAT, "recsys.json");
    snprintf(path, sizeof path, "%s/items.txt", dir);
    remove(path);
    refuse(dir, MB_NOTFOUND, "has no items.txt");
}

static void histories_refused(void **state) {
    (void)state;
    rec_model *m = opened(scratch_path("model"), 1, 0);
    static float vector[D];
    for (int32_t bad = -1; bad <= ITEMS + 1; bad += ITEMS + 2) {
        const int32_t item[] = {1, 2, bad};
        const rec_query q = {.item = item, .n = 3};
        assert_int_equal(rec_model_encode(m, &q, 1, vector, &error), MB_RANGE);
        assert_non_null(strstr(error.text, "the model has items 1 to 40"));
        mb_err_clear(&error);
    }
    rec_model_close(m);
}

static void borrowed(void **state) {
    (void)state;
    const mb_config c = model_mamba(D, 2, ITEMS + 1), both = model_caduceus(D, 2, 0);
    mb_model *engine = model_shaken(&c, NULL), *blind = model_shaken(&both, NULL);
    const rec_model_options o = {.threads = 1, .window = 10};
    rec_model *m = NULL, *folder_model = opened(scratch_path("model"), 1, 10);
    static float a[D], b[D];
    const rec_query q = {.item = history, .n = 40};
    assert_int_equal(rec_model_borrow(&m, engine, &o, &error), MB_OK);
    assert_int_equal(rec_model_encode(m, &q, 1, a, &error), MB_OK);
    assert_int_equal(rec_model_encode(folder_model, &q, 1, b, &error), MB_OK);
    assert_memory_equal(a, b, sizeof a);
    rec_model_close(m);
    assert_int_equal(rec_model_borrow(&m, blind, &o, &error), MB_NOTSUP);
    assert_null(m);
    mb_err_clear(&error);
    rec_model_close(folder_model);
    mb_model_destroy(engine);
    mb_model_destroy(blind);
}

/* Every allocation of opening, running and scoring fails in turn: an error, and nothing is left behind. */
static void out_of_memory(void **state) {
    (void)state;
    static float score[10 * (ITEMS + 1)];
    const rec_model_options o = {.threads = 1};
    const long before = mb_mem_live_blocks();
    rec_query q[10];
    const int n = queries(q);
    int fired = 1;
    for (long nth = 1; fired; nth++) {
        rec_model *m = NULL;
        mb_err e = {0};
        mb_mem_fail_nth(nth, 0);
        int rc = rec_model_open(&m, scratch_path("model"), &o, &e);
        if (rc == MB_OK) {
            const rec_scorer s = rec_model_scorer(m);
            rc = s.score(s.self, q, n, score, &e);
        }
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_true(rc == MB_OK ? *e.text == 0 : fired && *e.text);
        rec_model_close(m);
        assert_int_equal(mb_mem_live_blocks(), before);
        assert_true(nth < 10000);
    }
}

static int prepare(void **state) {
    (void)state;
    model_tokens(history, LONGEST, 1, ITEMS + 1, 5);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_back),       cmocka_unit_test(items_escapes),
        cmocka_unit_test(items_refused),         cmocka_unit_test(vectors_are_those_of_sessions),
        cmocka_unit_test(scores_are_products),   cmocka_unit_test(scorer_is_both),
        cmocka_unit_test(windows_of_the_folder), cmocka_unit_test(folders_refused),
        cmocka_unit_test(histories_refused),     cmocka_unit_test(borrowed),
        cmocka_unit_test(out_of_memory)};
    return cmocka_run_group_tests(tests, prepare, NULL);
}
