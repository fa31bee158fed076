/* Live states: every prefix of every history equals the batch run to the bit, whatever the pieces, caches, threads and
 * restarts; filters against a sort of its own; what is refused leaves no trace. */
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
#include "core/rng.h"
#include "recsys/live.h"
#include "recsys/wire.h"
#include "tests/models.h"
#include "tests/recfolder.h"
#include "tests/scratch.h"

enum { ITEMS = 60, USERS = 7, EVENTS = 260, LONGEST = 200 };

static mb_err error;
static const char *folder;
static rec_model *model;
static char digest[REC_STORE_DIGEST + 1];

/* ---- what should come out: histories kept by the test, run whole by the engine
 * -------------------------------------*/
typedef struct history {
    int32_t item[LONGEST];
    int n;
} history;

static float want_score[ITEMS + 1];

static void batch_scores(const history *h) {
    float vector[64];
    const rec_query q = {.user = -1, .item = h->item, .n = h->n};
    assert_int_equal(rec_model_encode(model, &q, 1, vector, &error), MB_OK);
    assert_int_equal(rec_model_scores(model, vector, 1, want_score, &error), MB_OK);
}

static int allowed_here(const history *h, int32_t item, int filter, const int32_t *deny, int n_deny) {
    for (int i = 0; filter && i < h->n; i++)
        if (h->item[i] == item)
            return 0;
    for (int i = 0; i < n_deny; i++)
        if (deny[i] == item)
            return 0;
    return 1;
}

/* Picks the best that is left, again and again. */
static void check_top(const rec_live_request *q, const history *h) {
    char gone[ITEMS + 1] = {0};
    batch_scores(h);
    for (int c = 0; c < q->k; c++) {
        int best = 0;
        for (int i = 1; i <= ITEMS; i++)
            if (!gone[i] && allowed_here(h, i, q->filter_seen, q->deny, q->n_deny) &&
                (!best || want_score[i] > want_score[best]))
                best = i;
        if (!best) {
            assert_int_equal(q->n_top, c);
            return;
        }
        assert_true(c < q->n_top);
        assert_int_equal(q->top[c].item, best);
        assert_memory_equal(&q->top[c].score, &want_score[best], sizeof(float)); /* the bits */
        gone[best] = 1;
    }
    assert_int_equal(q->n_top, q->k);
}

static rec_id user_id(int u) {
    static char text[USERS][16];
    return (rec_id){text[u], snprintf(text[u], sizeof *text, "u%d", u)};
}

static rec_id item_id(int32_t i) {
    static char text[1000][16];
    return (rec_id){text[i], snprintf(text[i], sizeof *text, "i%d", (int)i)};
}

/* ---- opening ------------------------------------------------------------------------------------------------------*/
typedef struct live {
    rec_store *store;
    rec_live *l;
} live;

static live open_live(const char *dir, int threads, int64_t memory, int batch) {
    live x = {0};
    const rec_store_options so = {.sync = REC_SYNC_NONE, .digest = digest};
    const rec_live_options lo = {.threads = threads, .memory = memory, .batch = batch};
    mb_err_clear(&error);
    if (rec_store_open(&x.store, dir, &so, &error) || rec_live_create(&x.l, model, x.store, &lo, &error))
        fail_msg("%s", error.text);
    return x;
}

static void close_live(live *x) {
    rec_live_destroy(x->l);
    rec_store_close(x->store);
}

static int set_up(void **state) {
    (void)state;
    const mb_config c = model_mamba(24, 2, ITEMS + 1);
    const rec_model_options o = {.threads = 1, .window = -1};
    folder = scratch_path("model");
    rec_folder_write(folder, &c);
    return rec_model_open(&model, folder, &o, &error) || rec_live_digest(model, MBK_FP32, digest, &error);
}

static int tear_down(void **state) {
    (void)state;
    rec_model_close(model);
    return 0;
}

static int64_t two_users(void) {
    const mb_config *c = mb_model_config(rec_model_engine(model));
    const int64_t floats = c->n_layer * ((c->K - 1) * c->E + c->E * c->N) + c->D;
    return 2 * floats * 4 + 3500;
}

/* ---- the bits -----------------------------------------------------------------------------------------------------*/
/* Random events of random users in batches; after each request its answer is what the whole history gives. */
static void run_stream(const char *name, int threads, int64_t memory, int batch, int restarts) {
    static rec_live_request r[64];
    static history h[USERS], after[64];
    int known[64];
    live x = open_live(scratch_path(name), threads, memory, batch);
    mb_rng g;
    memset(h, 0, sizeof h);
    mb_rng_init(&g, 3, 0); /* the same events in every way of running them */
    for (int at = 0, n; at < EVENTS; at += n) {
        n = EVENTS - at < batch ? EVENTS - at : batch;
        for (int i = 0; i < n; i++) {
            const int u = (int)mb_rng_below(&g, USERS), kind = (int)mb_rng_below(&g, 40);
            const int32_t item = 1 + (int32_t)mb_rng_below(&g, ITEMS + 4);
            r[i] = (rec_live_request){.user = user_id(u), .k = kind % 5 ? ITEMS : 3, .filter_seen = kind % 2};
            r[i].kind = kind == 0 ? REC_LIVE_FORGET : kind < 6 ? REC_LIVE_ASK : REC_LIVE_EVENT;
            r[i].item = item_id(item);
            known[i] = item <= ITEMS;
            if (r[i].kind == REC_LIVE_FORGET)
                h[u].n = 0;
            if (r[i].kind == REC_LIVE_EVENT && known[i])
                h[u].item[h[u].n++] = item;
            after[i] = h[u];
        }
        assert_int_equal(rec_live_run(x.l, r, n, &error), MB_OK);
        for (int i = 0; i < n; i++) {
            assert_int_equal(r[i].events, after[i].n);
            if (r[i].kind == REC_LIVE_FORGET)
                continue;
            if (r[i].kind == REC_LIVE_EVENT && !known[i])
                assert_int_equal(r[i].status, REC_LIVE_UNKNOWN_ITEM);
            else
                assert_int_equal(r[i].status, after[i].n ? REC_LIVE_OK : REC_LIVE_NO_HISTORY);
            if (after[i].n)
                check_top(&r[i], &after[i]);
            else
                assert_int_equal(r[i].n_top, 0);
        }
        if (restarts && at / 40 != (at + n) / 40) {
            close_live(&x);
            x = open_live(scratch_path(name), threads, memory, batch);
        }
    }
    const rec_live_counts *c = rec_live_count(x.l);
    assert_true(memory > 1 << 20 || c->users.evictions > 20 || restarts);
    assert_true(c->users.bytes <= memory || c->users.cached == 0);
    close_live(&x);
}

static void equals_batch(void **state) {
    (void)state;
    run_stream("one by one", 1, 1 << 24, 1, 0);
    run_stream("three", 1, 1 << 24, 3, 0);
    run_stream("sixty-four", 1, 1 << 24, 64, 0);
    run_stream("restarts", 1, 1 << 24, 16, 1);
    run_stream("two threads", 2, 1 << 24, 64, 1);
}

static void small_cache(void **state) {
    (void)state;
    run_stream("two cached", 1, two_users(), 64, 0);
    run_stream("none cached", 2, 1, 16, 0);
}

/* ---- what requests mean -------------------------------------------------------------------------------------------*/
static rec_live_request event(int user, int32_t item, int64_t time) {
    return (rec_live_request){.user = user_id(user), .item = item_id(item), .time = time, .has_time = time > 0, .k = 5};
}

static void meanings(void **state) {
    (void)state;
    live x = open_live(scratch_path("meanings"), 1, 1 << 24, 64);
    rec_live_request ask = event(0, 1, 0), r[6];
    ask.kind = REC_LIVE_ASK;
    assert_int_equal(rec_live_run(x.l, &ask, 1, &error), MB_OK);
    assert_int_equal(ask.status, REC_LIVE_NO_HISTORY);
    r[0] = event(0, 1, 1000);
    r[1] = event(0, 2, 900); /* late: before 1000 */
    r[2] = event(0, 3, 950); /* still before the latest */
    r[3] = event(0, 4, 1000);
    r[4] = event(0, ITEMS + 1, 5000); /* unknown: its time says nothing */
    r[5] = event(0, 5, 1001);
    assert_int_equal(rec_live_run(x.l, r, 6, &error), MB_OK);
    static const int LATE[] = {0, 1, 1, 0, 0, 0}, COUNT[] = {1, 2, 3, 4, 4, 5};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(r[i].late, LATE[i]);
        assert_int_equal(r[i].events, COUNT[i]);
        assert_int_equal(r[i].is_new, i == 0);
        assert_int_equal(r[i].status, i == 4 ? REC_LIVE_UNKNOWN_ITEM : REC_LIVE_OK);
        assert_int_equal(r[i].n_top, 5);
    }
    rec_live_request f = ask;
    f.kind = REC_LIVE_FORGET;
    assert_int_equal(rec_live_run(x.l, &f, 1, &error), MB_OK);
    assert_int_equal(f.status, REC_LIVE_FORGOTTEN);
    assert_int_equal(rec_live_run(x.l, &f, 1, &error), MB_OK);
    assert_int_equal(f.status, REC_LIVE_NO_HISTORY);
    int64_t users = -1;
    assert_int_equal(rec_store_users(x.store, &users, &error), MB_OK);
    assert_int_equal(users, 0);
    static char longest[REC_STORE_KEY_MOST + 1];
    rec_live_request odd[3] = {event(0, 1, 0), event(1, 1, 0), event(2, 1, 0)};
    odd[0].user = (rec_id){longest, REC_STORE_KEY_MOST + 1};
    odd[1].user = (rec_id){longest, REC_STORE_KEY_MOST};
    odd[2].user.n = 0;
    assert_int_equal(rec_live_run(x.l, odd, 3, &error), MB_OK);
    assert_int_equal(odd[0].status, REC_LIVE_ERROR);
    assert_int_equal(odd[1].status, REC_LIVE_OK);
    assert_int_equal(odd[2].status, REC_LIVE_ERROR);
    const rec_live_counts *c = rec_live_count(x.l);
    assert_int_equal(c->events, 6);
    assert_int_equal(c->late, 2);
    assert_int_equal(c->unknown_items, 1);
    assert_int_equal(c->new_users, 2);
    assert_int_equal(c->forgets, 1);
    assert_int_equal(c->errors, 2);
    close_live(&x);
}

static void filters(void **state) {
    (void)state;
    static uint8_t allowed[ITEMS + 1];
    static const int32_t DENY[] = {5, 60, 1};
    live x = open_live(scratch_path("filters"), 1, 1 << 24, 64);
    history h = {{3, 9, 27}, 3};
    rec_live_request r[3];
    for (int i = 0; i < 3; i++) {
        r[i] = event(0, h.item[i], 0);
        r[i].k = i < 2 ? 0 : ITEMS;
        r[i].filter_seen = 1;
        r[i].deny = DENY;
        r[i].n_deny = 3;
    }
    assert_int_equal(rec_live_run(x.l, r, 3, &error), MB_OK);
    assert_int_equal(r[2].n_top, ITEMS - 6);
    check_top(&r[2], &h);
    rec_live_destroy(x.l);
    for (int i = 1; i <= ITEMS; i++)
        allowed[i] = i % 2;
    const rec_live_options o = {.threads = 1, .memory = 1 << 20, .batch = 4, .allowed = allowed};
    assert_int_equal(rec_live_create(&x.l, model, x.store, &o, &error), MB_OK);
    rec_live_request ask = event(0, 1, 0);
    ask.kind = REC_LIVE_ASK;
    ask.k = 1000;
    assert_int_equal(rec_live_run(x.l, &ask, 1, &error), MB_OK);
    assert_int_equal(ask.n_top, ITEMS / 2);
    for (int i = 0; i < ask.n_top; i++)
        assert_int_equal(ask.top[i].item % 2, 1);
    close_live(&x);
}

/* ---- what goes wrong ----------------------------------------------------------------------------------------------*/
static void one_damaged_record(void **state) {
    (void)state;
    live x = open_live(scratch_path("damaged"), 1, 1 << 24, 64);
    rec_live_request r[USERS];
    for (int u = 0; u < USERS; u++)
        r[u] = event(u, 1 + u, 0);
    assert_int_equal(rec_live_run(x.l, r, USERS, &error), MB_OK);
    const void *record;
    size_t n;
    assert_int_equal(rec_store_get(x.store, user_id(2), &record, &n, &error), MB_OK);
    char *copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, record, n);
    copy[n / 2] ^= 4;
    const rec_store_change c = {user_id(2), copy, n};
    assert_int_equal(rec_store_commit(x.store, &c, 1, &error), MB_OK);
    free(copy);
    close_live(&x);
    x = open_live(scratch_path("damaged"), 1, 1 << 24, 64);
    for (int u = 0; u < USERS; u++)
        r[u] = event(u, 20 + u, 0);
    assert_int_equal(rec_live_run(x.l, r, USERS, &error), MB_OK);
    for (int u = 0; u < USERS; u++) {
        assert_int_equal(r[u].status, u == 2 ? REC_LIVE_ERROR : REC_LIVE_OK);
        assert_int_equal(r[u].events, u == 2 ? 0 : 2);
    }
    assert_non_null(strstr(r[2].why, "damaged"));
    assert_int_equal(r[2].why_status, MB_FORMAT);
    close_live(&x);
}

/* A disk that is full: events are refused and leave no trace; asking goes on; with room again so do events. */
static void full_disk(void **state) {
    (void)state;
    live x = open_live(scratch_path("full"), 1, 1 << 24, 64);
    static history h[USERS];
    struct rlimit old, new;
    rec_live_request r[2];
    int refused = 0;
    memset(h, 0, sizeof h);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    new = old;
    new.rlim_cur = 60000;
    setrlimit(RLIMIT_FSIZE, &new);
    for (int i = 0; i < 60; i++) {
        const int u = i % USERS;
        if (i == 40)
            setrlimit(RLIMIT_FSIZE, &old);
        r[0] = event(u, 1 + i % ITEMS, 0);
        r[1] = event(0, 1, 0);
        r[1].kind = REC_LIVE_ASK;
        assert_int_equal(rec_live_run(x.l, r, 2, &error), MB_OK);
        if (r[0].status == REC_LIVE_ERROR) {
            refused++;
            assert_int_equal(r[0].why_status, MB_IO);
            assert_true(i < 40);
        } else {
            h[u].item[h[u].n++] = 1 + i % ITEMS;
            assert_int_equal(r[0].events, h[u].n);
            check_top(&r[0], &h[u]);
        }
        if (u != 0 || r[0].status != REC_LIVE_ERROR) {
            assert_int_equal(r[1].events, h[0].n);
            if (h[0].n)
                check_top(&r[1], &h[0]);
        }
    }
    setrlimit(RLIMIT_FSIZE, &old);
    assert_in_range(refused, 5, 39);
    close_live(&x);
}

static void no_memory(void **state) {
    (void)state;
    const rec_live_options o = {.threads = 2, .memory = 1 << 20, .batch = 8};
    static history h[USERS];
    memset(h, 0, sizeof h);
    for (long n = 1, fired = 1; fired; n += n < 40 ? 1 : 7) {
        live x = {0};
        const rec_store_options so = {.sync = REC_SYNC_NONE, .digest = digest};
        const long before = mb_mem_live_blocks();
        mb_err_clear(&error);
        assert_int_equal(rec_store_open(&x.store, scratch_path("memory"), &so, &error), MB_OK);
        mb_mem_fail_nth(n, 0);
        int rc = rec_live_create(&x.l, model, x.store, &o, &error);
        rec_live_request r[USERS];
        for (int u = 0; u < USERS; u++) {
            r[u] = event(u, 1 + (int32_t)n % ITEMS, 0);
            r[u].k = 2;
        }
        if (!rc)
            rc = rec_live_run(x.l, r, USERS, &error);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_true(rc == MB_OK || rc == MB_NOMEM);
        assert_true(rc == MB_OK || *error.text);
        for (int u = 0; !rc && u < USERS; u++) {
            if (r[u].status == REC_LIVE_OK)
                h[u].item[h[u].n++] = 1 + (int32_t)n % ITEMS;
            else
                assert_int_equal(r[u].why_status, MB_NOMEM);
        }
        close_live(&x);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
    live x = open_live(scratch_path("memory"), 1, 1 << 24, 8);
    for (int u = 0; u < USERS; u++) {
        rec_live_request ask = event(u, 1, 0);
        ask.kind = REC_LIVE_ASK;
        assert_int_equal(rec_live_run(x.l, &ask, 1, &error), MB_OK);
        assert_int_equal(ask.events, h[u].n);
        if (h[u].n)
            check_top(&ask, &h[u]);
    }
    close_live(&x);
}

/* A log whose loading is stopped after each group of two users, and goes on; then it is as if events had come. */
static void loading(void **state) {
    (void)state;
    static char text[1 << 16];
    static history h[USERS];
    rec_log *log = NULL;
    rec_live_load_counts c, sum = {0};
    atomic_int stopped = 1;
    mb_rng g;
    int at = snprintf(text, sizeof text, "user,item,time\n"), unknown = 0;
    memset(h, 0, sizeof h);
    mb_rng_init(&g, 9, 0);
    for (int i = 0; i < 400; i++) {
        const int u = (int)mb_rng_below(&g, USERS), item = 1 + (int)mb_rng_below(&g, ITEMS + 3);
        at += snprintf(text + at, sizeof text - (size_t)at, "u%d,i%d,%d\n", u, item, 1000 + i);
        if (item <= ITEMS)
            h[u].item[h[u].n++] = item;
        unknown += item > ITEMS;
    }
    at += snprintf(text + at, sizeof text - (size_t)at, "unlucky,none,1\n");
    for (int i = 0; i <= REC_STORE_KEY_MOST; i++)
        text[at++] = 'x';
    snprintf(text + at, sizeof text - (size_t)at, ",i1,1\n");
    mb_log_set_level(MB_LOG_ERROR);
    if (rec_log_open(&log, scratch_text("log.csv", text), NULL, &error))
        fail_msg("%s", error.text);
    live x = open_live(scratch_path("loaded"), 2, 1 << 24, 2);
    int rounds = 0, rc;
    do {
        mb_err_clear(&error);
        rc = rec_live_load(x.l, log, &stopped, &c, &error);
        sum.users += c.users;
        sum.events += c.events;
        sum.unknown += c.unknown;
        sum.present = c.present;
        close_live(&x);
        x = open_live(scratch_path("loaded"), 1, two_users(), 2);
        stopped = ++rounds < 3; /* stopped twice at the first group that has anything to do */
    } while (rc == MB_STOPPED && rounds < 10);
    assert_int_equal(rc, MB_OK);
    assert_int_equal(rounds, 4);
    assert_int_equal(sum.users, USERS);
    assert_int_equal(sum.unknown, unknown + 1);
    assert_int_equal(c.refused, 2);
    for (int u = 0; u < USERS; u++) {
        rec_live_request ask = event(u, 1, 0);
        ask.kind = REC_LIVE_ASK;
        ask.k = ITEMS;
        ask.filter_seen = u % 2;
        assert_int_equal(rec_live_run(x.l, &ask, 1, &error), MB_OK);
        assert_int_equal(ask.events, h[u].n);
        check_top(&ask, &h[u]);
        rec_live_request late = event(u, 1, 1001);
        assert_int_equal(rec_live_run(x.l, &late, 1, &error), MB_OK);
        assert_int_equal(late.late, 1); /* the log's times are known */
    }
    rec_log_close(log);
    close_live(&x);
}

static void digests(void **state) {
    (void)state;
    char other[REC_STORE_DIGEST + 1];
    rec_model *two = NULL;
    mb_config c = model_mamba(24, 2, ITEMS + 1);
    const rec_model_options o = {.threads = 1, .window = -1};
    assert_int_equal(rec_live_digest(model, MBK_FP32, other, &error), MB_OK);
    assert_string_equal(digest, other);
    assert_int_equal(rec_live_digest(model, MBK_BF16, other, &error), MB_OK);
    assert_string_not_equal(digest, other);
    c.residual_in_fp32 = !c.residual_in_fp32; /* in config.json alone */
    rec_folder_write(scratch_path("other"), &c);
    assert_int_equal(rec_model_open(&two, scratch_path("other"), &o, &error), MB_OK);
    assert_int_equal(rec_live_digest(two, MBK_FP32, other, &error), MB_OK);
    assert_string_not_equal(digest, other);
    rec_model_close(two);
}

/* ---- the wire -----------------------------------------------------------------------------------------------------*/
static int parse(rec_wire *w, const char *text) {
    static const rec_wire_options o = {.k = 10, .filter_seen = 1};
    char copy[8192];
    *w = (rec_wire){0};
    mb_err_clear(&error);
    snprintf(copy, sizeof copy, "%s", text);
    return rec_wire_parse(w, &o, model, copy, strlen(copy), &error);
}

static void requests(void **state) {
    (void)state;
    rec_wire w;
    assert_int_equal(parse(&w,
                           "{\"user\": \"\\u00e9\", \"item\": 12, \"time\": -5, \"topk\": 3, \"filter_seen\": false, "
                           "\"deny\": [\"i3\", \"none\", \"i4\"]}"),
                     MB_OK);
    assert_int_equal(w.q.kind, REC_LIVE_EVENT);
    assert_int_equal(w.q.user.n, 2);
    assert_memory_equal(w.q.user.text, "\xc3\xa9", 2);
    assert_int_equal(w.q.item.n, 2);
    assert_memory_equal(w.q.item.text, "12", 2);
    assert_true(w.q.has_time && w.q.time == -5 && w.q.k == 3 && !w.q.filter_seen);
    assert_int_equal(w.q.n_deny, 2);
    assert_true(w.q.deny[0] == 3 && w.q.deny[1] == 4);
    rec_wire_fini(&w);
    assert_int_equal(parse(&w, "{\"user\": 7}"), MB_OK);
    assert_true(w.q.kind == REC_LIVE_ASK && w.q.k == 10 && w.q.filter_seen && !w.q.has_time);
    rec_wire_fini(&w);
    assert_int_equal(parse(&w, "{\"forget\": \"x\"}"), MB_OK);
    assert_int_equal(w.q.kind, REC_LIVE_FORGET);
    rec_wire_fini(&w);
    static const char *const BAD[][2] = {{"", "not valid JSON"},
                                         {"[]", "JSON object"},
                                         {"{}", "\"user\" is missing"},
                                         {"{\"user\": \"a\"} x", "not valid JSON"},
                                         {"{\"user\": \"\"}", "1 to 510"},
                                         {"{\"user\": 1.5}", "string or a whole number"},
                                         {"{\"user\": \"a\", \"item\": null}", "string or a whole number"},
                                         {"{\"user\": \"a\", \"user\": \"b\"}", "duplicate"},
                                         {"{\"user\": \"a\", \"itm\": \"b\"}", "did you mean \"item\"?"},
                                         {"{\"user\": \"a\", \"time\": \"1\"}", "\"time\" must be"},
                                         {"{\"user\": \"a\", \"topk\": 1001}", "from 0 to 1000"},
                                         {"{\"user\": \"a\", \"topk\": -1}", "from 0 to 1000"},
                                         {"{\"user\": \"a\", \"deny\": \"b\"}", "\"deny\" must be"},
                                         {"{\"user\": \"a\", \"filter_seen\": 1}", "true or false"},
                                         {"{\"user\": \"a\", \"forget\": \"a\"}", "stands without"},
                                         {"{\"user\": \"\\u0000\"}", "\\u0000"},
                                         {"{\"user\": \"\xff\"}", "decode byte"},
                                         {"{\"user\": [[[[1]]]]}", "nested"}};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_int_not_equal(parse(&w, BAD[i][0]), MB_OK);
        if (!strstr(error.text, BAD[i][1]))
            fail_msg("%s: says '%s', expected '%s'", BAD[i][0], error.text, BAD[i][1]);
        rec_wire_fini(&w);
    }
}

static void answers(void **state) {
    (void)state;
    rec_buffer t = {0};
    const rec_hit hit[] = {{3, 0.1F}, {1, -INFINITY}};
    rec_live_request q = {.user = {"a\"\x01\xc3\xa9\xff\xed\xa0\x80", 9}, .item = {"z", 1}, .k = 2, .events = 4};
    q.top = hit;
    q.n_top = 2;
    q.late = q.is_new = 1;
    rec_wire_answer(&t, model, &q, 0);
    rec_buffer_put(&t, "", 1);
    assert_string_equal(t.at,
                        "{\"user\":\"a\\\"\\u0001\xc3\xa9\\udcff\\udced\\udca0\\udc80\",\"status\":\"ok\",\"events\":4,"
                        "\"new\":true,\"late\":true,\"top\":[{\"item\":\"i3\",\"score\":0.100000001},"
                        "{\"item\":\"i1\",\"score\":null}]}");
    rec_buffer_free(&t);
    q = (rec_live_request){.user = {"u", 1}, .status = REC_LIVE_ERROR, .why = "so\xc3"};
    rec_wire_answer(&t, model, &q, 7);
    rec_wire_refusal(&t, "no \"", 8);
    rec_buffer_put(&t, "", 1);
    assert_string_equal(t.at, "{\"user\":\"u\",\"status\":\"error\",\"line\":7,\"error\":\"so\\ufffd\"}"
                              "{\"line\":8,\"status\":\"error\",\"error\":\"no \\\"\"}");
    rec_buffer_free(&t);
}

int main(void) {
    const struct CMUnitTest wire[] = {cmocka_unit_test(requests), cmocka_unit_test(answers), cmocka_unit_test(digests)};
    const struct CMUnitTest lives[] = {cmocka_unit_test(meanings),           cmocka_unit_test(filters),
                                       cmocka_unit_test(equals_batch),       cmocka_unit_test(small_cache),
                                       cmocka_unit_test(one_damaged_record), cmocka_unit_test(loading),
                                       cmocka_unit_test(full_disk),          cmocka_unit_test(no_memory)};
    int failed = cmocka_run_group_tests(wire, set_up, tear_down);
    rec_store *s = NULL;
    const rec_store_options o = {.sync = REC_SYNC_NONE, .digest = digest};
    mb_err_clear(&error);
    if (rec_store_open(&s, scratch_path("probe"), &o, &error) == MB_NOTSUP) {
        printf("skip - %s\n", error.text);
        return failed;
    }
    rec_store_close(s);
    return failed + cmocka_run_group_tests(lives, set_up, tear_down);
}
