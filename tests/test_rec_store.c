/* Users' records and their store: what comes back, after kill -9 as well; damage at any byte is an error, never a
 * crash; full disks; growth. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/rng.h"
#include "recsys/record.h"
#include "recsys/store.h"
#include "tests/scratch.h"

enum { VECTOR = 8, STATE = 700, ITEMS = 5000, USERS = 400 };
static const rec_shape SHAPE = {VECTOR, STATE, 0x0123456789abcdef, ITEMS};
static const char DIGEST[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static const char OTHER[] = "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static mb_err error;
static float vector[VECTOR], floats[STATE];
static char record[1 << 16];

static rec_id id_of(int user) {
    static char text[16][32];
    static int next;
    char *t = text[next++ % 16];
    return (rec_id){t, snprintf(t, sizeof text[0], "user-%d", user)};
}

/* What user has after `events` events: a function of both. */
static rec_record make(int user, int64_t events, int32_t *seen) {
    rec_record r = {
        .events = events, .last_time = 1000 * events, .has_time = user % 2, .vector = vector, .state = floats};
    mb_rng g;
    mb_rng_init(&g, (uint64_t)user, (uint64_t)events);
    for (int i = 0; i < VECTOR; i++)
        vector[i] = (float)mb_rng_u32(&g) - 2e9F;
    for (int i = 0; i < STATE; i++)
        floats[i] = (float)mb_rng_u32(&g) - 2e9F;
    int64_t n = 0;
    for (int item = 1 + user % 7; item <= ITEMS && n < events; item += 1 + (int)mb_rng_below(&g, 300))
        seen[n++] = item;
    r.seen = seen;
    r.n_seen = n;
    return r;
}

static size_t encode(int user, int64_t events) {
    int32_t seen[ITEMS];
    rec_record r = make(user, events, seen);
    assert_true(rec_record_bytes(&SHAPE, &r) <= sizeof record);
    return rec_record_write(&SHAPE, &r, id_of(user), record);
}

static void check_record(int user, int64_t events, const void *data, size_t n) {
    const size_t want = encode(user, events);
    assert_int_equal(n, want);
    assert_memory_equal(data, record, want);
}

static void records_come_back(void **state) {
    (void)state;
    static float v[VECTOR + STATE];
    for (int user = 0; user < 20; user++) {
        int32_t seen[ITEMS];
        const size_t n = encode(user, 1 + 13 * user);
        rec_record r = {.vector = v, .state = v + VECTOR};
        assert_int_equal(rec_record_read(&SHAPE, &r, id_of(user), record, n, &error), MB_OK);
        const rec_record want = make(user, 1 + 13 * user, seen);
        assert_int_equal(r.events, want.events);
        assert_int_equal(r.last_time, want.last_time);
        assert_int_equal(r.has_time, want.has_time);
        assert_int_equal(r.n_seen, want.n_seen);
        assert_memory_equal(r.seen, seen, (size_t)r.n_seen * sizeof *seen);
        assert_memory_equal(r.vector, vector, sizeof vector);
        assert_memory_equal(r.state, floats, sizeof floats);
        for (int item = 1; item <= ITEMS; item++) {
            int in = 0;
            for (int64_t i = 0; i < want.n_seen; i++)
                in |= seen[i] == item;
            assert_int_equal(rec_record_has(&r, item), in);
        }
        mb_free(r.seen);
    }
}

static void damaged_records(void **state) {
    (void)state;
    static float v[VECTOR + STATE];
    rec_record r = {.vector = v, .state = v + VECTOR};
    const size_t n = encode(3, 40);
    for (size_t i = 0; i < n; i++) {
        record[i] ^= (char)(1 << i % 8);
        mb_err_clear(&error);
        assert_int_equal(rec_record_read(&SHAPE, &r, id_of(3), record, n, &error), MB_FORMAT);
        record[i] ^= (char)(1 << i % 8);
    }
    for (size_t i = 0; i < n; i++) {
        mb_err_clear(&error);
        assert_int_equal(rec_record_read(&SHAPE, &r, id_of(3), record, i, &error), MB_FORMAT);
    }
    mb_err_clear(&error);
    assert_int_equal(rec_record_read(&SHAPE, &r, id_of(4), record, n, &error), MB_FORMAT); /* another's */
    assert_non_null(strstr(error.text, "checksum"));
    rec_shape other = SHAPE;
    other.tag++;
    mb_err_clear(&error);
    assert_int_equal(rec_record_read(&other, &r, id_of(3), record, n, &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "another model"));
    other = SHAPE;
    other.items = 5;
    mb_err_clear(&error);
    assert_int_equal(rec_record_read(&other, &r, id_of(3), record, n, &error), MB_FORMAT);
    mb_err_clear(&error);
    assert_int_equal(rec_record_read(&SHAPE, &r, id_of(3), record, n, &error), MB_OK);
    mb_free(r.seen);
}

static void seen_sets(void **state) {
    (void)state;
    rec_record one = {0}, all = {0};
    int32_t item[500];
    mb_rng g;
    mb_rng_init(&g, 5, 0);
    for (int i = 0; i < 500; i++) {
        item[i] = 1 + (int32_t)mb_rng_below(&g, 300);
        assert_int_equal(rec_record_add(&one, item[i], &error), MB_OK);
    }
    assert_int_equal(rec_record_add_all(&all, item, 200, &error), MB_OK);
    assert_int_equal(rec_record_add_all(&all, item + 200, 300, &error), MB_OK);
    assert_int_equal(all.n_seen, one.n_seen);
    assert_memory_equal(all.seen, one.seen, (size_t)one.n_seen * sizeof *one.seen);
    for (int64_t i = 1; i < one.n_seen; i++)
        assert_true(one.seen[i] > one.seen[i - 1]);
    mb_free(one.seen);
    mb_free(all.seen);
}

/* ---- the store ----------------------------------------------------------------------------------------------------*/
static rec_store *open_store(const char *folder, int64_t map_bytes) {
    rec_store *s = NULL;
    const rec_store_options o = {.sync = REC_SYNC_NONE, .map_bytes = map_bytes, .digest = DIGEST};
    mb_err_clear(&error);
    if (rec_store_open(&s, folder, &o, &error))
        fail_msg("%s", error.text);
    return s;
}

static int put(rec_store *s, int user, int64_t events, mb_err *e) {
    const size_t n = encode(user, events);
    const rec_store_change c = {id_of(user), record, n};
    return rec_store_commit(s, &c, 1, e);
}

static void check_user(rec_store *s, int user, int64_t events) {
    const void *data;
    size_t n;
    assert_int_equal(rec_store_get(s, id_of(user), &data, &n, &error), MB_OK);
    if (events == 0) {
        assert_null(data);
        return;
    }
    assert_non_null(data);
    check_record(user, events, data, n);
}

static int count_visit(void *user, rec_id id, const void *data, size_t n, mb_err *e) {
    (void)e, (void)data, (void)n;
    assert_true(id.n > 0);
    ++*(int *)user;
    return MB_OK;
}

static void comes_back(void **state) {
    (void)state;
    const char *folder = scratch_path("store");
    int64_t users = 0;
    int visited = 0;
    rec_store *s = open_store(folder, 0), *two = NULL;
    for (int i = 0; i < USERS; i++)
        assert_int_equal(put(s, i, 1 + i % 60, &error), MB_OK);
    for (int i = 0; i < USERS; i += 3) { /* removed, removed once more, changed */
        const rec_store_change c[] = {{id_of(i), NULL, 0}, {id_of(i), NULL, 0}};
        assert_int_equal(rec_store_commit(s, c, 2, &error), MB_OK);
    }
    for (int i = 1; i < USERS; i += 3)
        assert_int_equal(put(s, i, 100, &error), MB_OK);
    const rec_store_options o = {.digest = DIGEST}, wrong = {.digest = OTHER}, reader = {.read_only = 1};
    assert_int_equal(rec_store_open(&two, folder, &o, &error), MB_IO);
    assert_non_null(strstr(error.text, "another process"));
    rec_store_close(s);
    mb_err_clear(&error);
    assert_int_equal(rec_store_open(&two, folder, &wrong, &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "another model"));
    mb_err_clear(&error);
    assert_int_equal(rec_store_open(&two, scratch_path("no store"), &reader, &error), MB_NOTFOUND);
    mb_err_clear(&error);
    assert_int_equal(rec_store_open(&two, folder, &reader, &error), MB_OK);
    assert_string_equal(rec_store_digest(two), DIGEST);
    for (int i = 0; i < USERS; i++)
        check_user(two, i, i % 3 == 0 ? 0 : i % 3 == 1 ? 100 : 1 + i % 60);
    assert_int_equal(rec_store_users(two, &users, &error), MB_OK);
    assert_int_equal(users, USERS - (USERS + 2) / 3);
    assert_int_equal(rec_store_each(two, count_visit, &visited, &error), MB_OK);
    assert_int_equal(visited, users);
    rec_store_close(two);
}

static void any_identifiers(void **state) {
    (void)state;
    static char text[REC_STORE_KEY_MOST];
    const void *data;
    size_t n;
    rec_store *s = open_store(scratch_path("ids"), 0);
    for (int c = 0; c < 256; c++) {
        memset(text, c, sizeof text);
        const rec_store_change change[] = {{{text, 1}, "abc", 3}, {{text, REC_STORE_KEY_MOST}, text, 7}};
        assert_int_equal(rec_store_commit(s, change, 2, &error), MB_OK);
    }
    for (int c = 0; c < 256; c++) {
        memset(text, c, sizeof text);
        assert_int_equal(rec_store_get(s, (rec_id){text, REC_STORE_KEY_MOST}, &data, &n, &error), MB_OK);
        assert_true(n == 7 && data && memcmp(data, text, 7) == 0);
        assert_int_equal(rec_store_get(s, (rec_id){text, 2}, &data, &n, &error), MB_OK);
        assert_null(data);
    }
    rec_store_close(s);
}

static void grows(void **state) {
    (void)state;
    const char *folder = scratch_path("grows");
    rec_store *s = open_store(folder, 1 << 17);
    for (int i = 0; i < USERS; i++) {
        assert_int_equal(put(s, i, 50, &error), MB_OK);
        check_user(s, i / 2, 50);
    }
    assert_true(rec_store_bytes(s) > 1 << 20);
    rec_store_close(s);
    s = open_store(folder, 1 << 17);
    for (int i = 0; i < USERS; i++)
        check_user(s, i, 50);
    rec_store_close(s);
}

static void full_disk(void **state) {
    (void)state;
    rec_store *s = open_store(scratch_path("full"), 0);
    struct rlimit old, new;
    int stopped = USERS;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    new = old;
    new.rlim_cur = 1 << 19;
    setrlimit(RLIMIT_FSIZE, &new);
    for (int i = 0; i < USERS && stopped == USERS; i++) {
        mb_err_clear(&error);
        const int rc = put(s, i, 20, &error);
        if (rc) {
            assert_int_equal(rc, MB_IO);
            stopped = i;
        }
    }
    assert_in_range(stopped, 10, USERS - 1);
    for (int i = 0; i < stopped; i++)
        check_user(s, i, 20);
    check_user(s, stopped, 0);
    setrlimit(RLIMIT_FSIZE, &old);
    for (int i = stopped; i < USERS; i++)
        assert_int_equal(put(s, i, 20, &error), MB_OK);
    for (int i = 0; i < USERS; i++)
        check_user(s, i, 20);
    rec_store_close(s);
}

/* ---- damage -------------------------------------------------------------------------------------------------------*/
static void copy_store(const char *from, const char *to) {
    char path[2200];
    size_t n;
    snprintf(path, sizeof path, "%s/data.mdb", from);
    char *data = scratch_read(path, &n);
    assert_non_null(data);
    mkdir(to, 0700);
    snprintf(path, sizeof path, "%s/data.mdb", to);
    FILE *f = fopen(path, "wb");
    assert_true(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
    free(data);
}

/* Opens, reads all users, writes some, removes some; what is read is right or refused. Returns 1 when damage showed. */
static int use_damaged(const char *folder) {
    static float v[VECTOR + STATE];
    rec_store *s = NULL;
    rec_record r = {.vector = v, .state = v + VECTOR};
    int shown = 0;
    const rec_store_options o = {.sync = REC_SYNC_NONE, .digest = DIGEST};
    mb_err_clear(&error);
    int rc = rec_store_open(&s, folder, &o, &error);
    if (rc) {
        assert_true(rc == MB_FORMAT || rc == MB_IO);
        assert_true(*error.text != 0);
        return 1;
    }
    for (int i = 0; i < USERS; i++) {
        const void *data;
        size_t n;
        mb_err_clear(&error);
        rc = rec_store_get(s, id_of(i), &data, &n, &error);
        if (!rc && data)
            rc = rec_record_read(&SHAPE, &r, id_of(i), data, n, &error);
        assert_true(rc == MB_OK || rc == MB_FORMAT);
        shown |= rc != MB_OK || !data;
        if (!rc && data)
            check_record(i, 1 + i % 60, data, n);
        mb_err_clear(&error);
        if (rc == MB_OK && i % 7 == 0)
            rc = put(s, i, 1 + i % 60, &error);
        assert_true(rc == MB_OK || rc == MB_FORMAT || rc == MB_IO);
    }
    mb_free(r.seen);
    rec_store_close(s);
    return shown;
}

static void damaged_store(void **state) {
    (void)state;
    const char *good = scratch_path("good"), *bad = scratch_path("bad");
    char path[2200];
    rec_store *s = open_store(good, 0);
    for (int i = 0; i < USERS; i++)
        assert_int_equal(put(s, i, 1, &error), MB_OK);
    for (int i = USERS - 1; i >= 0; i--)
        assert_int_equal(put(s, i, 1 + i % 60, &error), MB_OK);
    rec_store_close(s);
    copy_store(good, bad);
    assert_int_equal(use_damaged(bad), 0);
    snprintf(path, sizeof path, "%s/data.mdb", bad);
    copy_store(good, bad);
    const long size = scratch_size(path);
    mb_rng g;
    mb_rng_init(&g, 11, 0);
    int shown = 0;
    for (int round = 0; round < 300; round++) {
        copy_store(good, bad);
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        /* heads and trees are a small part of the file: half of the rounds aim at pages' beginnings */
        const int meta = round % 3 == 0;
        long at = (long)mb_rng_below(&g, (uint64_t)(meta ? 2 * 4096 : size));
        if (round % 3 == 1)
            at = at / 4096 * 4096 + (long)mb_rng_below(&g, 64);
        if (meta)
            at = at / 4096 * 4096 + at % 160;
        fseek(f, at, SEEK_SET);
        int c = getc(f);
        fseek(f, at, SEEK_SET);
        putc(round % 5 ? c ^ 1 << round % 8 : (int)mb_rng_below(&g, 256), f);
        fclose(f);
        shown += use_damaged(bad);
    }
    assert_true(shown > 100);
    for (int round = 0; round < 60; round++) {
        copy_store(good, bad);
        const long cut = round < 20 ? round * 700 : (long)mb_rng_below(&g, (uint64_t)size);
        assert_int_equal(truncate(path, cut), 0);
        const int seen = use_damaged(bad);
        assert_true(seen || cut == 0 || cut > size - 4096 * 64);
    }
    copy_store(good, bad);
    FILE *f = fopen(path, "wb"); /* no database at all */
    for (int i = 0; i < 20000; i++)
        putc((int)mb_rng_below(&g, 256), f);
    fclose(f);
    assert_int_equal(use_damaged(bad), 1);
}

/* ---- kill -9 ------------------------------------------------------------------------------------------------------*/
/* Commits for ever: group g writes a few users, and says g when the commit has returned. */
static void write_for_ever(const char *folder, int from, int to) {
    rec_store *s = open_store(folder, 1 << 18);
    for (int32_t g = from;; g++) {
        static char data[4][1 << 14];
        rec_store_change c[4];
        for (int i = 0; i < 4; i++) {
            const size_t n = encode((g * 4 + i) % 50, 1 + g);
            memcpy(data[i], record, n);
            c[i] = (rec_store_change){id_of((g * 4 + i) % 50), data[i], n};
        }
        if (rec_store_commit(s, c, 4, &error) || write(to, &g, sizeof g) != (ssize_t)sizeof g)
            _exit(1);
    }
}

static void killed(void **state) {
    (void)state;
    const char *folder = scratch_path("killed");
    int32_t done = -1;
    mb_rng g;
    mb_rng_init(&g, (uint64_t)time(NULL), 0);
    for (int round = 0; round < 25; round++) {
        int pipes[2], status;
        assert_int_equal(pipe(pipes), 0);
        const pid_t child = fork();
        if (child == 0) {
            close(pipes[0]);
            write_for_ever(folder, done + 1, pipes[1]);
        }
        close(pipes[1]);
        usleep(2000 + (useconds_t)mb_rng_below(&g, 60000));
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        for (int32_t said; read(pipes[0], &said, sizeof said) == (ssize_t)sizeof said;)
            done = said;
        close(pipes[0]);
        /* what was said is there; at most one more group is, whole */
        rec_store *s = open_store(folder, 1 << 18);
        int32_t last = done;
        const void *data;
        size_t n;
        const int next = (done + 1) * 4 % 50;
        assert_int_equal(rec_store_get(s, id_of(next), &data, &n, &error), MB_OK);
        const size_t want = encode(next, done + 2);
        if (data && n == want && memcmp(data, record, n) == 0)
            last = done + 1;
        for (int user = 0; user < 50; user++) {
            int64_t events = 0;
            for (int32_t k = 0; k <= last; k++)
                for (int i = 0; i < 4; i++)
                    events = (k * 4 + i) % 50 == user ? k + 1 : events;
            check_user(s, user, events);
        }
        rec_store_close(s);
        done = last;
    }
    assert_true(done > 25);
}

static void no_memory(void **state) {
    (void)state;
    const char *folder = scratch_path("store");
    const rec_store_options o = {.sync = REC_SYNC_NONE, .digest = DIGEST};
    for (long n = 1;; n++) {
        rec_store *s = NULL;
        const long before = mb_mem_live_blocks();
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = rec_store_open(&s, folder, &o, &error);
        const int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        rec_store_close(s);
        assert_int_equal(mb_mem_live_blocks(), before);
        if (!fired) {
            assert_int_equal(rc, MB_OK);
            break;
        }
        assert_int_equal(rc, MB_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest records[] = {cmocka_unit_test(records_come_back), cmocka_unit_test(damaged_records),
                                         cmocka_unit_test(seen_sets)};
    const struct CMUnitTest stores[] = {cmocka_unit_test(comes_back), cmocka_unit_test(any_identifiers),
                                        cmocka_unit_test(grows),      cmocka_unit_test(full_disk),
                                        cmocka_unit_test(killed),     cmocka_unit_test(damaged_store),
                                        cmocka_unit_test(no_memory)};
    int failed = cmocka_run_group_tests(records, NULL, NULL);
    rec_store *s = NULL;
    const rec_store_options o = {.sync = REC_SYNC_NONE, .digest = DIGEST};
    mb_err_clear(&error);
    if (rec_store_open(&s, scratch_path("probe"), &o, &error) == MB_NOTSUP) {
        printf("skip - %s\n", error.text);
        return failed;
    }
    rec_store_close(s);
    return failed + cmocka_run_group_tests(stores, NULL, NULL);
}
