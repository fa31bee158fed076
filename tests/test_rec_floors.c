/* The floors: by hand, against counting of another kind, blind to held-out events, and the figures published for real
 * logs to four decimals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/rng.h"
#include "recsys/evaluate.h"
#include "recsys/floors.h"
#include "recsys/load.h"
#include "tests/models.h"
#include "tests/scratch.h"

static mb_err error;

static rec_log *log_of(const char *path, const rec_load_options *o) {
    rec_log *l = NULL;
    mb_err_clear(&error);
    if (rec_log_open(&l, path, o, &error) != MB_OK)
        fail_msg("%s", error.text);
    return l;
}

static rec_floor *floor_of(rec_floor_kind kind, const rec_log *l, const rec_split *s, rec_floor_options o) {
    rec_floor *f = NULL;
    if (rec_floor_create(&f, kind, l, s, &o, &error) != MB_OK)
        fail_msg("%s", error.text);
    return f;
}

/* The items of a row, best first, as words. */
static const float *sort_by;
static int by_score(const void *a, const void *b) {
    const float x = sort_by[*(const int32_t *)a], y = sort_by[*(const int32_t *)b];
    assert_true(x != y || a == b); /* nothing is left to ties */
    return (x < y) - (x > y);
}

static char *order_of(const rec_log *l, rec_floor *f, const char *history) {
    static char out[4096];
    int32_t item[64], order[256];
    const int32_t n_items = rec_log_view(l)->n_items;
    float row[257];
    int n = 0;
    for (const char *at = history; *at; at += strcspn(at, " ") + (at[strcspn(at, " ")] != 0))
        item[n++] = rec_log_find_item(l, at, (int)strcspn(at, " "));
    const rec_query q = {.user = -1, .item = item, .n = n};
    const rec_scorer s = rec_floor_scorer(f);
    assert_int_equal(s.n_items, n_items);
    assert_int_equal(s.score(s.self, &q, 1, row, &error), MB_OK);
    for (int32_t i = 0; i < n_items; i++)
        order[i] = i + 1;
    sort_by = row;
    qsort(order, (size_t)n_items, sizeof *order, by_score);
    *out = 0;
    for (int32_t i = 0; i < n_items; i++) {
        const rec_id id = rec_log_item_id(l, order[i]);
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s%.*s", i ? " " : "", id.n, id.text);
    }
    return out;
}

/* Training (all but two of each line): 10 9 b a 9 a | a b a | b 9 | 10 b.
 *   events: a 4, b 4, 9 3, 10 2, c and d 0; "10" < "9" < "a" < "b" < "c" < "d" as bytes
 *   steps: 10->9, 9->b, b->a, a->9, 9->a; a->b, b->a; b->9; 10->b
 *   sets: 10 {1,4}, 9 {1,3}, a {1,2}, b {1,2,3,4} */
static const char SMALL[] = "1 10 9 b a 9 a d c\n"
                            "2 a b a c d\n"
                            "3 b 9 c c\n"
                            "4 10 b c d\n";

static void by_hand(void **state) {
    (void)state;
    rec_log *l = log_of(scratch_text("small.txt", SMALL), NULL);
    rec_split s;
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    assert_int_equal(s.train, 6 + 3 + 2 + 2);
    rec_floor *pop = floor_of(REC_FLOOR_POPULARITY, l, &s, (rec_floor_options){0});
    assert_string_equal(order_of(l, pop, "c a"), "a b 9 10 c d");
    assert_string_equal(order_of(l, pop, ""), "a b 9 10 c d");
    rec_floor *markov = floor_of(REC_FLOOR_MARKOV, l, &s, (rec_floor_options){0});
    assert_string_equal(order_of(l, markov, "b"), "a 9 b 10 c d");    /* a twice */
    assert_string_equal(order_of(l, markov, "b 9"), "a b 9 10 c d");  /* once each: a is more popular */
    assert_string_equal(order_of(l, markov, "9 10"), "b 9 a 10 c d"); /* once each: b before 9 */
    assert_string_equal(order_of(l, markov, "9 a"), "b 9 a 10 c d");
    assert_string_equal(order_of(l, markov, "9 d"), "a b 9 10 c d"); /* followed by nothing in training */
    assert_string_equal(order_of(l, markov, ""), "a b 9 10 c d");
    /* cosines: 10-9 1/2, 10-a 1/2, 10-b 2/sqrt 8, 9-a 1/2, 9-b .707, a-b .707 */
    rec_floor *knn = floor_of(REC_FLOOR_KNN, l, &s, (rec_floor_options){.half = 1});
    assert_string_equal(order_of(l, knn, "10"), "b a 9 10 c d");
    assert_string_equal(order_of(l, knn, "b"), "a 9 10 b c d"); /* all .707 */
    /* 10 then b: b weighs 1, 10 half: a .707 + .25, 9 the same, 10 .707, b .354 */
    assert_string_equal(order_of(l, knn, "10 b"), "a 9 10 b c d");
    /* a then 9, alike: b 1.414, 10 1, a and 9 .5 each */
    rec_floor *flat = floor_of(REC_FLOOR_KNN, l, &s, (rec_floor_options){.half = INFINITY});
    assert_string_equal(order_of(l, flat, "a 9"), "b 10 a 9 c d");
    /* one neighbour each: 10 b, 9 b, a b, b a (the most popular of equals) */
    rec_floor *nearest = floor_of(REC_FLOOR_KNN, l, &s, (rec_floor_options){.k = 1});
    assert_string_equal(order_of(l, nearest, "b 9 10"), "b a 9 10 c d");
    assert_string_equal(order_of(l, nearest, "b"), "a b 9 10 c d");
    rec_floor *all[] = {pop, markov, knn, flat, nearest};
    for (int i = 0; i < 5; i++)
        rec_floor_destroy(all[i]);
    rec_split_free(&s);
    rec_log_close(l);
}

/* ---- against counting of another kind ---------------------------------------------------------------------------- */

enum { USERS = 50, ITEMS = 40 };

/* Random sequences in which every item occurs; the last two of each user are `late` when that is not NULL. */
static rec_log *random_log(const char *name, const char *late) {
    static char text[USERS * 60 * 6];
    size_t at = 0;
    mb_rng r;
    mb_rng_init(&r, 21, 0);
    for (int u = 0; u < USERS; u++) {
        const int n = u == 0 ? ITEMS + 2 : 4 + (int)mb_rng_below(&r, 30);
        at += (size_t)snprintf(text + at, sizeof text - at, "%d", u);
        for (int i = 0; i < n; i++) {
            const int item = u == 0 && i < ITEMS ? i : (int)(mb_rng_uniform(&r) * mb_rng_uniform(&r) * ITEMS);
            if (late && i + 2 >= n)
                at += (size_t)snprintf(text + at, sizeof text - at, " %s", late);
            else
                at += (size_t)snprintf(text + at, sizeof text - at, " i%d", item);
        }
        at += (size_t)snprintf(text + at, sizeof text - at, "\n");
    }
    return log_of(scratch_text(name, text), NULL);
}

typedef struct table { /* dense counts of the training events */
    int step[ITEMS + 1][ITEMS + 1], has[USERS][ITEMS + 1], events[ITEMS + 1], users[ITEMS + 1];
    double near[ITEMS + 1][ITEMS + 1]; /* 0: not kept */
} table;

static int more_popular(const rec_log *l, const table *t, int32_t a, int32_t b) {
    const rec_id x = rec_log_item_id(l, a), y = rec_log_item_id(l, b);
    char p[16], q[16];
    snprintf(p, sizeof p, "%.*s", x.n, x.text);
    snprintf(q, sizeof q, "%.*s", y.n, y.text);
    return t->events[a] != t->events[b] ? t->events[a] > t->events[b] : strcmp(p, q) < 0;
}

static void count(const rec_log *l, const rec_split *s, int k, table *t) {
    const rec_view *v = rec_log_view(l);
    memset(t, 0, sizeof *t);
    for (int32_t u = 0; u < USERS; u++)
        for (int64_t i = v->user_at[u]; i < s->valid_at[u]; i++) {
            t->events[v->item[i]]++;
            t->users[v->item[i]] += t->has[u][v->item[i]] == 0;
            t->has[u][v->item[i]] = 1;
            if (i > v->user_at[u])
                t->step[v->item[i - 1]][v->item[i]]++;
        }
    for (int32_t a = 1; a <= ITEMS; a++) {
        double cosine[ITEMS + 1] = {0};
        for (int32_t b = 1; b <= ITEMS; b++) {
            int both = 0;
            for (int u = 0; u < USERS; u++)
                both += t->has[u][a] && t->has[u][b];
            cosine[b] = a != b && both ? both / sqrt((double)t->users[a] * t->users[b]) : 0;
        }
        for (int32_t b = 1; b <= ITEMS; b++) { /* kept when fewer than k stand before it */
            int before = 0;
            for (int32_t c = 1; c <= ITEMS; c++)
                before += cosine[c] > cosine[b] || (cosine[c] == cosine[b] && c != b && more_popular(l, t, c, b));
            t->near[a][b] = before < k ? cosine[b] : 0;
        }
    }
}

static void check_order(const rec_log *l, const table *t, const float *row, const double *worth, double slack) {
    for (int32_t a = 1; a <= ITEMS; a++)
        for (int32_t b = 1; b <= ITEMS; b++) {
            const double d = worth[a] - worth[b];
            if (a == b || (d != 0 && fabs(d) < slack))
                continue;
            const int before = d != 0 ? d > 0 : more_popular(l, t, a, b);
            if ((row[a] > row[b]) != before)
                fail_msg("items %d (%g) and %d (%g) stand the wrong way round", a, worth[a], b, worth[b]);
        }
}

static void as_counted(void **state) {
    (void)state;
    static table t;
    rec_log *l = random_log("random.txt", NULL);
    const rec_view *v = rec_log_view(l);
    rec_split s;
    assert_int_equal(v->n_items, ITEMS);
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    for (int half = 0; half < 3; half++) {
        const int k = half == 2 ? 5 : 100;
        count(l, &s, k, &t);
        rec_floor *markov = floor_of(REC_FLOOR_MARKOV, l, &s, (rec_floor_options){0});
        rec_floor *knn =
            floor_of(REC_FLOOR_KNN, l, &s, (rec_floor_options){.half = half ? half : INFINITY, .k = k, .threads = 3});
        const rec_scorer m = rec_floor_scorer(markov), n = rec_floor_scorer(knn);
        for (int32_t u = 0; u < USERS; u++) {
            const rec_query q = {.item = v->item + v->user_at[u], .n = s.test_at[u] - v->user_at[u]};
            float row[ITEMS + 1];
            double worth[ITEMS + 1] = {0};
            int seen[ITEMS + 1] = {0}, place = 0;
            assert_int_equal(m.score(m.self, &q, 1, row, &error), MB_OK);
            for (int32_t i = 1; i <= ITEMS; i++)
                worth[i] = t.step[q.item[q.n - 1]][i];
            check_order(l, &t, row, worth, 0);
            memset(worth, 0, sizeof worth);
            for (int64_t i = q.n - 1; i >= 0; i--)
                if (!seen[q.item[i]]++) {
                    for (int32_t j = 1; j <= ITEMS; j++)
                        worth[j] += (half ? pow(0.5, (double)place / half) : 1) * (float)t.near[q.item[i]][j];
                    place++;
                }
            assert_int_equal(n.score(n.self, &q, 1, row, &error), MB_OK);
            check_order(l, &t, row, worth, 1e-12);
        }
        rec_floor_destroy(markov);
        rec_floor_destroy(knn);
    }
    rec_split_free(&s);
    rec_log_close(l);
}

static void same_bits(void **state) {
    (void)state;
    rec_log *l = random_log("random.txt", NULL);
    const rec_view *v = rec_log_view(l);
    rec_split s;
    static float one[USERS * (ITEMS + 1)], other[USERS * (ITEMS + 1)];
    rec_query q[USERS];
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    for (int32_t u = 0; u < USERS; u++)
        q[u] = (rec_query){.user = u, .item = v->item + v->user_at[u], .n = s.test_at[u] - v->user_at[u]};
    for (int kind = 0; kind < REC_FLOORS; kind++)
        for (int threads = 1; threads < 6; threads += 2) {
            rec_floor *f = floor_of((rec_floor_kind)kind, l, &s, (rec_floor_options){.threads = threads, .half = 1.5});
            const rec_scorer x = rec_floor_scorer(f);
            for (int block = 1; block <= USERS; block *= 7)
                for (int from = 0; from < USERS; from += block)
                    assert_int_equal(x.score(x.self, q + from, USERS - from < block ? USERS - from : block,
                                             (threads == 1 && block == 1 ? one : other) + from * (ITEMS + 1), &error),
                                     MB_OK);
            assert_memory_equal(one, other, sizeof one);
            rec_floor_destroy(f);
        }
    rec_split_free(&s);
    rec_log_close(l);
}

/* Other validation and test events, the same floors. */
static void blind(void **state) {
    (void)state;
    rec_log *a = random_log("a.txt", NULL), *b = random_log("b.txt", "i7");
    const rec_view *v = rec_log_view(a);
    rec_split s, t;
    assert_int_equal(rec_split_leave_one_out(&s, a, &error), MB_OK);
    assert_int_equal(rec_split_leave_one_out(&t, b, &error), MB_OK);
    assert_string_equal(rec_log_items_digest(a), rec_log_items_digest(b));
    assert_string_not_equal(s.fingerprint, t.fingerprint);
    for (int kind = 0; kind < REC_FLOORS; kind++) {
        rec_floor *f = floor_of((rec_floor_kind)kind, a, &s, (rec_floor_options){.half = 2});
        rec_floor *g = floor_of((rec_floor_kind)kind, b, &t, (rec_floor_options){.half = 2});
        const rec_scorer x = rec_floor_scorer(f), y = rec_floor_scorer(g);
        for (int32_t u = 0; u < USERS; u++) {
            const rec_query q = {.item = v->item + v->user_at[u], .n = s.test_at[u] - v->user_at[u]};
            float one[ITEMS + 1], other[ITEMS + 1];
            assert_int_equal(x.score(x.self, &q, 1, one, &error), MB_OK);
            assert_int_equal(y.score(y.self, &q, 1, other, &error), MB_OK);
            assert_memory_equal(one, other, sizeof one);
        }
        rec_floor_destroy(f);
        rec_floor_destroy(g);
    }
    rec_split_free(&s);
    rec_split_free(&t);
    rec_log_close(a);
    rec_log_close(b);
}

/* A user's window, the weights of very old items, and more of both than can matter. */
static void windows(void **state) {
    (void)state;
    rec_log *l = random_log("random.txt", NULL);
    const rec_view *v = rec_log_view(l);
    rec_split s;
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    const rec_query q = {.item = v->item + v->user_at[0], .n = ITEMS};
    float one[ITEMS + 1], other[ITEMS + 1];
    rec_floor *tiny = floor_of(REC_FLOOR_KNN, l, &s, (rec_floor_options){.half = 1e-9});
    rec_floor *last = floor_of(REC_FLOOR_KNN, l, &s, (rec_floor_options){.half = 1});
    const rec_query only = {.item = q.item + q.n - 1, .n = 1};
    const rec_scorer x = rec_floor_scorer(tiny), y = rec_floor_scorer(last);
    assert_int_equal(x.score(x.self, &q, 1, one, &error), MB_OK);
    assert_int_equal(y.score(y.self, &only, 1, other, &error), MB_OK);
    assert_memory_equal(one, other, sizeof one);
    rec_floor *narrow = floor_of(REC_FLOOR_KNN, l, &s, (rec_floor_options){.window = 1});
    const rec_scorer z = rec_floor_scorer(narrow);
    rec_floor *pop = floor_of(REC_FLOOR_POPULARITY, l, &s, (rec_floor_options){0});
    const rec_scorer p = rec_floor_scorer(pop);
    assert_int_equal(z.score(z.self, &q, 1, one, &error), MB_OK); /* sets of one item have no neighbours */
    assert_int_equal(p.score(p.self, &q, 1, other, &error), MB_OK);
    assert_memory_equal(one, other, sizeof one);
    rec_floor *all[] = {tiny, last, narrow, pop};
    for (int i = 0; i < 4; i++)
        rec_floor_destroy(all[i]);
    rec_split_free(&s);
    rec_log_close(l);
}

static void failures(void **state) {
    (void)state;
    rec_log *l = random_log("random.txt", NULL);
    rec_split s;
    rec_floor *f;
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    const long before = mb_mem_live_blocks();
    for (int kind = 0; kind < REC_FLOORS; kind++)
        for (long n = 1, fired = 1; fired; n++) {
            const rec_floor_options o = {.threads = 2};
            mb_err_clear(&error);
            mb_mem_fail_nth(n, 0);
            const int rc = rec_floor_create(&f, (rec_floor_kind)kind, l, &s, &o, &error);
            fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            assert_true(rc == (fired ? MB_NOMEM : MB_OK) || (kind == REC_FLOOR_MARKOV && rc == MB_OK)); /* shrinking */
            assert_true(rc == MB_OK || !f);
            rec_floor_destroy(f);
            assert_int_equal(mb_mem_live_blocks(), before);
        }
    const atomic_int stop = 1;
    const rec_floor_options o = {.stop = &stop};
    mb_err_clear(&error);
    assert_int_equal(rec_floor_create(&f, REC_FLOOR_KNN, l, &s, &o, &error), MB_STOPPED);
    mb_err_clear(&error);
    assert_null(f);
    f = floor_of(REC_FLOOR_KNN, l, &s, (rec_floor_options){.threads = 2});
    const rec_scorer x = rec_floor_scorer(f);
    const int32_t item = 1;
    const rec_query q = {.item = &item, .n = 1};
    float row[ITEMS + 1];
    const long with = mb_mem_live_blocks();
    for (long n = 1, fired = 1; fired; n++) {
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = x.score(x.self, &q, 1, row, &error);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        assert_int_equal(mb_mem_live_blocks(), with);
    }
    rec_floor_destroy(f);
    assert_int_equal(rec_floor_find("markov", 6), REC_FLOOR_MARKOV);
    assert_int_equal(rec_floor_find("mark", 4), -1);
    rec_split_free(&s);
    rec_log_close(l);
}

/* ---- published figures ------------------------------------------------------------------------------------------- */

/* HR, NDCG, MRR @10, all items and without the history, of a Python program of another author over the same files
 * (leave-one-out; 0: not published). */
typedef struct published {
    const char *file;
    int core, float32;
    rec_floor_kind kind;
    double all[3], unseen[3];
} published;

static const published PUBLISHED[] = {
    {"ml-100k.inter.xz", 5, 0, REC_FLOOR_POPULARITY, {.0498, .0224, .0142}, {.0859, .0449, .0326}},
    {"ml-100k.inter.xz", 5, 0, REC_FLOOR_MARKOV, {.1113, .0559, .0392}, {.1453, .0762, .0554}},
    {"ml-100k.inter.xz", 5, 1, REC_FLOOR_MARKOV, {.1082, .0556, .0399}, {0}},
    {"ml-latest-small.ratings.csv.xz", 5, 0, REC_FLOOR_POPULARITY, {.0213, .0102, .0069}, {0}},
    {"ml-latest-small.ratings.csv.xz", 5, 0, REC_FLOOR_MARKOV, {.0803, .0446, .0338}, {0}},
    {"ml-latest-small.ratings.csv.xz", 5, 1, REC_FLOOR_MARKOV, {.1295, .0717, .0540}, {0}},
    {"ml-1m.sasrec_order.seq.txt.xz", 0, 0, REC_FLOOR_POPULARITY, {0}, {.0369, .0180, 0}},
    {"ml-1m.sasrec_order.seq.txt.xz", 0, 0, REC_FLOOR_MARKOV, {.1887, .1073, 0}, {.2144, .1259, 0}},
    {"ml-1m.ts_item_order.seq.txt.xz", 0, 0, REC_FLOOR_MARKOV, {0, .1135, 0}, {0}},
    {"amazon2014-5core.Beauty.seq.txt.xz", 0, 0, REC_FLOOR_MARKOV, {.0659, .0427, 0}, {0}},
};

static void check_published(const published *p, const char *path) {
    rec_load_options load = rec_load_defaults();
    load.min_user = load.min_item = p->core;
    load.time_sort = p->float32 ? REC_TIME_FLOAT32 : REC_TIME_EXACT;
    rec_log *l = log_of(path, &load);
    rec_split s;
    rec_evaluation v;
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    rec_floor *f = floor_of(p->kind, l, &s, (rec_floor_options){.threads = 2});
    const rec_scorer x = rec_floor_scorer(f);
    const rec_evaluate_options o = {.part = REC_PART_TEST, .min_history = 1, .threads = 2, .round4 = 1};
    if (rec_evaluate(&v, l, &s, &x, &o, &error) != MB_OK)
        fail_msg("%s", error.text);
    static const rec_metric METRIC[] = {REC_HR, REC_NDCG, REC_MRR};
    for (int side = 0; side < 2; side++)
        for (int m = 0; m < 3; m++) {
            const double want = side ? p->unseen[m] : p->all[m];
            const double got = rec_evaluation_at(&v, side, METRIC[m], 10)->value;
            if (want > 0 && fabs(got - want) > 1e-9)
                fail_msg("%s, %s, %s@10, side %d: %.4f, published %.4f", p->file, x.name, rec_metric_name(METRIC[m]),
                         side, got, want);
        }
    rec_evaluation_fini(&v);
    rec_floor_destroy(f);
    rec_split_free(&s);
    rec_log_close(l);
}

static void as_published(void **state) {
    (void)state;
    if (!shared_dir()) {
        printf("SKIP: no shared data (set SEQMAMBA_SHARED): published floors are not checked\n");
        skip();
    }
    for (size_t i = 0; i < sizeof PUBLISHED / sizeof *PUBLISHED; i++) {
        char *path = mb_asprintf("%s/data/recsys/%s", shared_dir(), PUBLISHED[i].file);
        assert_non_null(path);
        check_published(&PUBLISHED[i], path);
        mb_free(path);
    }
}

/* The log in this repository: users 1 to 100 of ml-latest-small, 5-core; from the same kind of program. */
static void as_excerpt(void **state) {
    (void)state;
    static const published EXCERPT[] = {
        {"excerpt", 5, 0, REC_FLOOR_POPULARITY, {.02, .0099, .0067}, {.06, .0228, .012}},
        {"excerpt", 5, 0, REC_FLOOR_MARKOV, {.04, .0151, .0078}, {.04, .0164, .0094}}};
    for (int i = 0; i < 2; i++)
        check_published(&EXCERPT[i], "recsys/data/ml-latest-small.csv.gz");
}

static int quiet(void **state) {
    (void)state;
    mb_log_set_level(MB_LOG_QUIET);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand),    cmocka_unit_test(as_counted),
                                       cmocka_unit_test(same_bits),  cmocka_unit_test(blind),
                                       cmocka_unit_test(windows),    cmocka_unit_test(failures),
                                       cmocka_unit_test(as_excerpt), cmocka_unit_test(as_published)};
    return cmocka_run_group_tests(tests, quiet, NULL);
}
