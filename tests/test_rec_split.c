/* Splits: RecBole's leave-one-out on few and many events, times, given ones; fingerprints against bytes put together
 * here; statistics; and the real data: counts and golden splits known from elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "recsys/load.h"
#include "recsys/stats.h"
#include "tests/models.h"
#include "tests/scratch.h"

static mb_err error;

static rec_log *open_log(const char *path, const rec_load_options *o) {
    rec_log *l = NULL;
    mb_err_clear(&error);
    if (rec_log_open(&l, path, o, &error) != MB_OK)
        fail_msg("%s", error.text);
    return l;
}

static void leave_one_out(void **state) {
    (void)state;
    rec_log *l = open_log(scratch_text("log", "a 1\nb 1 2\nc 1 2 3\nd 1 2 3 4\ne 1 2 3 4 5\n"), NULL);
    rec_split s;
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    /* rows = events - 1, held out min(2, rows - 1), a single one for the test */
    static const int TRAIN[] = {1, 2, 2, 2, 3}, VALID[] = {0, 0, 0, 1, 1}, TEST[] = {0, 0, 1, 1, 1};
    const rec_view *v = rec_log_view(l);
    for (int u = 0; u < 5; u++) {
        assert_int_equal(s.valid_at[u] - v->user_at[u], TRAIN[u]);
        assert_int_equal(s.test_at[u] - s.valid_at[u], VALID[u]);
        assert_int_equal(v->user_at[u + 1] - s.test_at[u], TEST[u]);
    }
    assert_true(s.train == 10 && s.valid == 2 && s.test == 3);
    rec_split_free(&s);
    rec_log_close(l);
}

static size_t put_number(unsigned char *to, uint64_t v, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        to[i] = (unsigned char)(v >> (8 * i));
    return bytes;
}

static void fingerprint(void **state) {
    (void)state;
    rec_log *l = open_log(
        scratch_text("log", "user,item,time\nann,tea,3\nbob,milk,1\nann,milk,2\nann,rum,9\nann,tea,10\n"), NULL);
    rec_split s;
    unsigned char b[512];
    size_t n = (size_t)sprintf((char *)b, "recmamba split 1\n");
    static const char *const ITEM[] = {"tea", "milk", "rum"};
    n += put_number(b + n, 3, 4);
    for (int i = 0; i < 3; i++) {
        n += put_number(b + n, strlen(ITEM[i]), 4);
        n += (size_t)sprintf((char *)b + n, "%s", ITEM[i]);
    }
    n += put_number(b + n, 2, 4);
    static const struct {
        const char *id;
        int runs[3], n, item[4];
    } USER[] = {{"ann", {2, 1, 1}, 4, {2, 1, 3, 1}}, {"bob", {1, 0, 0}, 1, {2}}};
    for (int u = 0; u < 2; u++) {
        n += put_number(b + n, 3, 4);
        n += (size_t)sprintf((char *)b + n, "%s", USER[u].id);
        for (int k = 0; k < 3; k++)
            n += put_number(b + n, (uint64_t)USER[u].runs[k], 8);
        for (int i = 0; i < USER[u].n; i++)
            n += put_number(b + n, (uint64_t)USER[u].item[i], 4);
    }
    char want[65];
    mb_sha256_hex(b, n, want);
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    assert_string_equal(s.fingerprint, want);
    rec_split_free(&s);
    /* The digest of the items: length and bytes of each. */
    n = 0;
    for (int i = 0; i < 3; i++) {
        n += put_number(b + n, strlen(ITEM[i]), 4);
        n += (size_t)sprintf((char *)b + n, "%s", ITEM[i]);
    }
    mb_sha256_hex(b, n, want);
    assert_string_equal(rec_log_items_digest(l), want);
    rec_log_close(l);
}

static void by_time(void **state) {
    (void)state;
    rec_log *l =
        open_log(scratch_text("log", "user,item,time\na,1,10\na,2,20\na,3,30\nb,1,25\nc,1,5\nd,1,30\nd,2,31\n"), NULL);
    const rec_view *v = rec_log_view(l);
    rec_split s, t;
    assert_int_equal(rec_split_time(&s, l, 20, 30, &error), MB_OK);
    static const int TRAIN[] = {1, 0, 1, 0}, VALID[] = {1, 1, 0, 0}, TEST[] = {1, 0, 0, 2};
    for (int u = 0; u < 4; u++) {
        assert_int_equal(s.valid_at[u] - v->user_at[u], TRAIN[u]);
        assert_int_equal(s.test_at[u] - s.valid_at[u], VALID[u]);
        assert_int_equal(v->user_at[u + 1] - s.test_at[u], TEST[u]);
    }
    char from[] = "20", to[] = "1970-01-01T00:00:30Z";
    const rec_split_options o = {.valid_from = from, .test_from = to, .split = 2};
    assert_int_equal(rec_split_make(&t, l, &o, 1, &error), MB_OK);
    assert_string_equal(s.fingerprint, t.fingerprint);
    rec_split_free(&s);
    rec_split_free(&t);
    assert_int_equal(rec_split_time(&s, l, 31, 30, &error), MB_USAGE);
    mb_err_clear(&error);
    assert_int_equal(rec_split_given(&s, l, &error), MB_USAGE);
    rec_log_close(l);
    l = open_log(scratch_text("log", "a 1 2 3 4\n"), NULL);
    mb_err_clear(&error);
    assert_int_equal(rec_split_time(&s, l, 1, 2, &error), MB_USAGE);
    assert_non_null(strstr(error.text, "no times"));
    rec_log_close(l);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* The parts may come in any order in the file; times sort within each. */
static void given(void **state) {
    (void)state;
    char columns[] = "split=split";
    rec_load_options o = rec_load_defaults();
    o.columns = columns;
    rec_log *l =
        open_log(scratch_text("log", "user,item,time,split\na,x,1,test\na,y,9,train\na,z,3,val\nb,x,4,Validation\n"
                                     "a,w,8,train\na,v,2,valid\n"),
                 &o);
    rec_split s;
    assert_int_equal(rec_split_make(&s, l, NULL, 1, &error), MB_OK);
    assert_int_equal(s.rule, REC_SPLIT_GIVEN);
    assert_true(s.train == 2 && s.valid == 3 && s.test == 1);
    const rec_view *v = rec_log_view(l);
    static const int64_t TIME[] = {8, 9, 2, 3, 1, 4};
    assert_memory_equal(v->time, TIME, sizeof TIME);
    assert_true(s.valid_at[0] == 2 && s.test_at[0] == 4 && s.valid_at[1] == 5 && s.test_at[1] == 6);
    rec_split_free(&s);
    rec_log_close(l);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void statistics(void **state) {
    (void)state;
    rec_log *l = open_log(scratch_text("log", "user,item,time,value\na,x,3,1\na,x,1,2\na,y,2,2.5\nb,x,-7,0\n"), NULL);
    rec_stats s;
    assert_int_equal(rec_stats_make(&s, l, &error), MB_OK);
    assert_true(s.n_users == 2 && s.n_items == 2 && s.n_events == 4 && s.repeats == 1);
    assert_true(s.density == 3.0 / 4 && s.user_mean == 2 && s.item_mean == 2);
    assert_true(s.user[0] == 1 && s.user[2] == 1 && s.user[6] == 3 && s.item[0] == 1 && s.item[6] == 3);
    assert_true(s.time_from == -7 && s.time_to == 3 && s.unordered == 0);
    assert_true(s.value_least == 0 && s.value_most == 2.5f && s.value_mean == 5.5 / 4);
    for (long n = 1, fired = 1; fired; n++) {
        rec_split split = {0};
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        int rc = rec_stats_make(&s, l, &error);
        if (rc == MB_OK)
            rc = rec_split_leave_one_out(&split, l, &error);
        char *json = rc == MB_OK ? rec_stats_json(&s, l, &split) : NULL;
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(json != NULL, !fired);
        mb_free(json);
        rec_split_free(&split);
        assert_true(n < 20);
    }
    rec_log_close(l);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* ---- real data ------------------------------------------------------------------------------------------------------
 */
static char *shared_file(const char *name) {
    static char path[16][1024];
    static int turn;
    const char *dir = shared_dir();
    char *p = path[turn++ % 16];
    snprintf(p, sizeof *path, "%s/data/recsys/%s", dir ? dir : "", name);
    return dir && mb_file_exists(p) ? p : NULL;
}

/* Users, items, events as the literature and the data's own descriptions have them. */
static void known_counts(void **state) {
    (void)state;
    static const struct {
        const char *file[5];
        int core;
        int32_t users, items, aux;
        int64_t events;
    } KNOWN[] = {
        {{"ml-100k.inter.xz"}, 0, 943, 1682, 0, 100000},
        {{"ml-100k.inter.xz"}, 5, 943, 1349, 0, 99287},
        {{"ml-latest-small.ratings.csv.xz"}, 0, 610, 9724, 0, 100836},
        {{"ml-latest-small.ratings.csv.xz"}, 5, 610, 3650, 0, 90274},
        {{"ml-1m.sasrec_order.seq.txt.xz"}, 0, 6040, 3416, 0, 999611},
        {{"ml-1m.ts_item_order.seq.txt.xz"}, 0, 6040, 3416, 0, 999611},
        {{"amazon2014-5core.Beauty.seq.txt.xz"}, 5, 22363, 12101, 0, 198502},
        {{"amazon2014-5core.Sports_and_Outdoors.seq.txt.xz"}, 0, 35598, 18357, 0, 296337},
        {{"amazon-bert4rec.beauty.pairs.txt.xz"}, 0, 40226, 54542, 0, 353962},
        {{"amazon-bert4rec.beauty.pairs.txt.xz"}, 5, 22363, 12101, 0, 198502},
        {{"akt.assist2015_train1.csv.xz", "akt.assist2015_valid1.csv.xz", "akt.assist2015_test1.csv.xz"},
         0,
         19840,
         100,
         0,
         683801},
        {{"akt.assist2017_pid_fold1.csv.xz", "akt.assist2017_pid_fold2.csv.xz", "akt.assist2017_pid_fold3.csv.xz",
          "akt.assist2017_pid_fold4.csv.xz", "akt.assist2017_pid_fold5.csv.xz"},
         0,
         1705,
         102,
         3162,
         941502},
        /* The first line of a block is the number of answers: 333 nameless students. */
        {{"akt.statics_train1.csv.xz", "akt.statics_valid1.csv", "akt.statics_test1.csv"}, 0, 333, 1223, 0, 189297},
    };
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        char *file[5];
        int n = 0;
        for (; n < 5 && KNOWN[i].file[n]; n++)
            if (!(file[n] = shared_file(KNOWN[i].file[n])))
                skip();
        rec_load_options o = rec_load_defaults();
        o.strict = 1;
        o.min_user = o.min_item = KNOWN[i].core;
        rec_log *l = NULL;
        mb_err_clear(&error);
        if (rec_log_load(&l, file, n, &o, &error) != MB_OK)
            fail_msg("%s", error.text);
        const rec_view *v = rec_log_view(l);
        if (v->n_users != KNOWN[i].users || v->n_items != KNOWN[i].items || v->n_events != KNOWN[i].events ||
            v->n_aux != KNOWN[i].aux)
            fail_msg("%s: %d users, %d items, %lld events, %d aux", *KNOWN[i].file, v->n_users, v->n_items,
                     (long long)v->n_events, v->n_aux);
        rec_log_close(l);
    }
}

static void is_item(const rec_log *l, int32_t item, const char *want) {
    const rec_id id = rec_log_item_id(l, item);
    assert_int_equal(id.n, strlen(want));
    assert_memory_equal(id.text, want, (size_t)id.n);
}

/* user, n, valid and test by exact times, valid and test by RecBole's floats. */
static void golden(const char *log, const char *table) {
    char *path = shared_file(log), *tsv = shared_file(table);
    if (!path || !tsv)
        skip();
    char *text = scratch_read(tsv, NULL);
    assert_non_null(text);
    int exact_differs = 0;
    for (int rule = 0; rule < 2; rule++) {
        rec_load_options o = rec_load_defaults();
        o.min_user = o.min_item = 5;
        o.time_sort = rule;
        rec_log *l = open_log(path, &o);
        const rec_view *v = rec_log_view(l);
        rec_split s;
        assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
        char *line = strchr(text, '\n') + 1;
        int users = 0;
        for (; *line; line = strchr(line, '\n') + 1, users++) {
            char user[32], valid[2][32], test[2][32];
            long n;
            assert_int_equal(
                sscanf(line, "%31s %ld %31s %31s %31s %31s", user, &n, valid[0], test[0], valid[1], test[1]), 6);
            const int32_t u = rec_log_find_user(l, user, (int)strlen(user));
            assert_true(u >= 0 && v->user_at[u + 1] - v->user_at[u] == n);
            is_item(l, v->item[s.valid_at[u]], valid[rule]);
            is_item(l, v->item[s.test_at[u]], test[rule]);
            exact_differs += strcmp(test[0], test[1]) != 0;
        }
        assert_int_equal(users, v->n_users);
        rec_split_free(&s);
        rec_log_close(l);
    }
    assert_true(exact_differs > 100); /* the two rules are told apart */
    free(text);
}

static void golden_100k(void **state) {
    (void)state;
    golden("ml-100k.inter.xz", "golden.ml-100k.5core.loo.tsv");
}

static void golden_latest(void **state) {
    (void)state;
    golden("ml-latest-small.ratings.csv.xz", "golden.ml-latest-small.5core.loo.tsv");
}

/* The excerpt that comes with the program is part of the whole. */
static void excerpt(void **state) {
    (void)state;
    char names[] = "recsys/data/ml-latest-small.movies.csv.gz";
    rec_load_options o = rec_load_defaults();
    o.strict = 1;
    o.item_names = names;
    rec_log *l = open_log("recsys/data/ml-latest-small.csv.gz", &o);
    assert_int_equal(rec_log_view(l)->n_users, 100);
    assert_int_equal(rec_log_view(l)->n_items, 4180);
    assert_int_equal(rec_log_view(l)->n_events, 15448);
    const rec_id name = rec_log_item_name(l, rec_log_find_item(l, "1", 1));
    assert_int_equal(name.n, 16);
    assert_memory_equal(name.text, "Toy Story (1995)", 16);
    rec_log_close(l);
    char *items = shared_file("ml-100k.item"), *log = shared_file("ml-100k.inter.xz");
    if (!items || !log)
        skip();
    o.item_names = items;
    l = open_log(log, &o);
    const rec_id golden_eye = rec_log_item_name(l, rec_log_find_item(l, "2", 1));
    assert_int_equal(golden_eye.n, 9);
    assert_memory_equal(golden_eye.text, "GoldenEye", 9);
    rec_log_close(l);
}

static int quiet(void **state) {
    (void)state;
    mb_log_set_level(MB_LOG_QUIET);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leave_one_out), cmocka_unit_test(fingerprint),   cmocka_unit_test(by_time),
        cmocka_unit_test(given),         cmocka_unit_test(statistics),    cmocka_unit_test(known_counts),
        cmocka_unit_test(golden_100k),   cmocka_unit_test(golden_latest), cmocka_unit_test(excerpt)};
    return cmocka_run_group_tests(tests, quiet, NULL);
}
