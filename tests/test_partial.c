/* Outputs that survive their writer: whatever the moment at which a run dies, going on gives the same bytes. */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "genomics/partial.h"
#include "tests/scratch.h"

enum { BATCHES = 5, HEAD = 16 };
static const char A[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char B[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
static const char HEAD_TEXT[HEAD + 1] = "this is the head";
static mb_err error;
static int made; /* how often the last step before the data was taken */

static int make(void *user, dna_partial *p, mb_err *e) {
    (void)user, (void)p, (void)e;
    made++;
    return MB_OK;
}

/* Batch b writes 10 + b bytes, out of order, and a line of index. */
static int write_batch(dna_partial *p, int b) {
    char data[32], line[32];
    const int n = 10 + b;
    const int64_t at = dna_partial_end(p);
    memset(data, 'a' + b, sizeof data);
    const int l = snprintf(line, sizeof line, "line %d\n", b);
    int rc = dna_partial_put(p, data + 5, n - 5, at + 5, &error);
    if (!rc)
        rc = dna_partial_put(p, data, 5, at, &error);
    if (!rc)
        rc = dna_partial_put_index(p, line, l, &error);
    return rc ? rc : dna_partial_close_batch(p, 1, 2, at + n, 100 + (uint32_t)b, &error);
}

/* Runs until `stop` batches are written (then dies when die is set, else leaves), or to the end. */
static int run(const char *out, const char *index, const char *digest, int resume, int stop, int die) {
    dna_partial *p = NULL;
    mb_err_clear(&error);
    int rc = dna_partial_open(&p, out, index, digest, resume, HEAD, &error);
    if (rc)
        return rc;
    for (int b = (int)dna_partial_batches(p); !rc && b < BATCHES && !dna_partial_is_complete(p); b++) {
        if (b == stop && die)
            _exit(0);
        if (b == stop) {
            dna_partial_leave(p);
            return MB_STOPPED;
        }
        rc = write_batch(p, b);
    }
    const dna_ending ending = {.head = HEAD_TEXT, .make = make};
    if (!rc)
        rc = dna_partial_complete(p, &error);
    if (rc) {
        dna_partial_leave(p);
        return rc;
    }
    return dna_partial_finish(p, &ending, &error);
}

static void is_whole(const char *out, const char *index) {
    static const char WANT[] = "this is the headaaaaaaaaaabbbbbbbbbbbccccccccccccdddddddddddddeeeeeeeeeeeeee";
    char *data = scratch_read(out, NULL), *text = scratch_read(index, NULL), *leftover = NULL;
    assert_non_null(data);
    assert_non_null(text);
    assert_string_equal(data, WANT);
    assert_string_equal(text, "line 0\nline 1\nline 2\nline 3\nline 4\n");
    free(data);
    free(text);
    char path[1200];
    snprintf(path, sizeof path, "%s.partial", out);
    assert_null(leftover = scratch_read(path, NULL));
    snprintf(path, sizeof path, "%s.journal.partial", out);
    assert_null(leftover = scratch_read(path, NULL));
    snprintf(path, sizeof path, "%s.partial", index);
    assert_null(leftover = scratch_read(path, NULL));
}

static void straight(void **state) {
    (void)state;
    const char *out = scratch_path("s"), *index = scratch_path("s.index");
    made = 0;
    assert_int_equal(run(out, index, A, 0, -1, 0), MB_OK);
    assert_int_equal(made, 1);
    is_whole(out, index);
    assert_int_equal(run(out, index, A, 0, -1, 0), MB_OK); /* over an earlier result */
    is_whole(out, index);
}

static void left_and_resumed(void **state) {
    (void)state;
    const char *out = scratch_path("l"), *index = scratch_path("l.index");
    for (int stop = 0; stop < BATCHES; stop++) {
        assert_int_equal(run(out, index, A, 0, stop, 0), MB_STOPPED);
        if (stop == 0) { /* nothing was saved, nothing stays */
            char path[1200];
            snprintf(path, sizeof path, "%s.partial", out);
            assert_int_equal(scratch_size(path), -1);
        }
        assert_int_equal(run(out, index, A, 1, -1, 0), MB_OK);
        is_whole(out, index);
    }
}

/* kill -9 at each batch, twice in a row. */
static void killed_and_resumed(void **state) {
    (void)state;
    const char *out = scratch_path("k"), *index = scratch_path("k.index");
    for (int first = 0; first < BATCHES; first++)
        for (int second = first; second < BATCHES; second++) {
            const int stops[] = {first, second};
            for (int i = 0; i < 2; i++) {
                const pid_t child = fork();
                if (child == 0) {
                    run(out, index, A, i, stops[i], 1);
                    _exit(1);
                }
                int status = -1;
                waitpid(child, &status, 0);
                assert_int_equal(status, 0);
            }
            assert_int_equal(run(out, index, A, 1, -1, 0), MB_OK);
            is_whole(out, index);
        }
}

/* After death at any byte of data, index and journal (as a torn write or a lost page leaves them). */
static void torn_files(void **state) {
    (void)state;
    const char *out = scratch_path("t"), *index = scratch_path("t.index");
    char data[1200], text[1200], journal[1200];
    snprintf(data, sizeof data, "%s.partial", out);
    snprintf(text, sizeof text, "%s.partial", index);
    snprintf(journal, sizeof journal, "%s.journal.partial", out);
    const char *const file[] = {data, text, journal};
    for (int f = 0; f < 3; f++) {
        assert_int_equal(run(out, index, A, 0, 4, 0), MB_STOPPED);
        const long size = scratch_size(file[f]);
        assert_true(size > 0);
        for (long keep = 0; keep<size; keep += size> 60 ? 7 : 1) {
            assert_int_equal(run(out, index, A, 0, 4, 0), MB_STOPPED);
            assert_int_equal(truncate(file[f], keep), 0);
            assert_int_equal(run(out, index, A, 1, -1, 0), MB_OK);
            is_whole(out, index);
        }
        for (long at = 0; at<size; at += size> 60 ? 11 : 3) { /* and with a byte changed */
            assert_int_equal(run(out, index, A, 0, 4, 0), MB_STOPPED);
            FILE *change = fopen(file[f], "r+b");
            assert_non_null(change);
            fseek(change, at, SEEK_SET);
            fputc('~', change);
            fclose(change);
            const int rc = run(out, index, A, 1, -1, 0);
            if (f == 2 && rc != MB_OK) /* the journal's first line: it is not ours any more */
                continue;
            assert_int_equal(rc, MB_OK);
            is_whole(out, index);
        }
    }
}

/* Died between the renames at the end. */
static void interrupted_finish(void **state) {
    (void)state;
    const char *out = scratch_path("f"), *index = scratch_path("f.index");
    char data[1200], text[1200], journal[1200], kept[1200];
    snprintf(data, sizeof data, "%s.partial", out);
    snprintf(text, sizeof text, "%s.partial", index);
    snprintf(journal, sizeof journal, "%s.journal.partial", out);
    snprintf(kept, sizeof kept, "%s.kept", out);
    for (int renamed = 0; renamed < 3; renamed++) {
        /* All batches and the mark of completion, by a child that dies before the end. */
        const pid_t child = fork();
        if (child == 0) {
            dna_partial *p = NULL;
            if (dna_partial_open(&p, out, index, A, 0, HEAD, &error))
                _exit(1);
            for (int b = 0; b < BATCHES; b++)
                if (write_batch(p, b))
                    _exit(1);
            _exit(dna_partial_complete(p, &error) ? 1 : 0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        assert_int_equal(status, 0);
        if (renamed >= 1)
            assert_int_equal(rename(text, index), 0);
        if (renamed >= 2) {
            FILE *f = fopen(data, "r+b");
            assert_non_null(f);
            fputs(HEAD_TEXT, f);
            fclose(f);
            assert_int_equal(rename(data, out), 0);
        }
        assert_int_equal(run(out, index, A, 1, -1, 0), MB_OK);
        is_whole(out, index);
    }
}

static void other_options(void **state) {
    (void)state;
    const char *out = scratch_path("o"), *index = scratch_path("o.index");
    assert_int_equal(run(out, index, A, 0, 3, 0), MB_STOPPED);
    assert_int_equal(run(out, index, B, 1, -1, 0), MB_USAGE);
    assert_non_null(strstr(error.text, "other options"));
    assert_int_equal(run(out, index, A, 1, -1, 0), MB_OK); /* what was saved was not lost by the wrong try */
    is_whole(out, index);
    assert_int_equal(run(out, index, A, 0, 3, 0), MB_STOPPED);
    assert_int_equal(run(out, index, B, 0, -1, 0), MB_OK); /* starting over */
    is_whole(out, index);
}

static void two_at_once(void **state) {
    (void)state;
    const char *out = scratch_path("w"), *index = scratch_path("w.index");
    dna_partial *p = NULL;
    assert_int_equal(dna_partial_open(&p, out, index, A, 0, HEAD, &error), MB_OK);
    assert_int_equal(write_batch(p, 0), MB_OK);
    assert_int_equal(run(out, index, A, 1, -1, 0), MB_IO);
    assert_non_null(strstr(error.text, "another process"));
    dna_partial_leave(p);
    assert_int_equal(run(out, index, A, 1, -1, 0), MB_OK);
    is_whole(out, index);
}

/* The disk is full (a limit on file size stands for it): an error; with more room the run goes on. */
static void full_disk(void **state) {
    (void)state;
    const char *out = scratch_path("d"), *index = scratch_path("d.index");
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 1; room < 500; room += 13) {
        small = (struct rlimit){room, old.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
        const int rc = run(out, index, A, 0, -1, 0);
        setrlimit(RLIMIT_FSIZE, &old);
        if (rc != MB_OK) {
            assert_int_equal(rc, MB_IO);
            assert_int_not_equal(error.status, MB_OK);
            assert_int_equal(run(out, index, A, 1, -1, 0), MB_OK);
        }
        is_whole(out, index);
    }
}

static void straight_through(void **state) {
    (void)state;
    dna_partial *p = NULL;
    assert_int_equal(dna_partial_open(&p, "/dev/null", NULL, A, 0, 0, &error), MB_OK);
    assert_true(dna_partial_is_direct(p));
    assert_int_equal(dna_partial_put(p, "abc", 3, 0, &error), MB_OK);
    assert_int_equal(dna_partial_close_batch(p, 1, 1, 3, 0, &error), MB_OK);
    assert_int_equal(dna_partial_complete(p, &error), MB_OK);
    assert_int_equal(dna_partial_finish(p, &(dna_ending){0}, &error), MB_OK);
    mb_err_clear(&error);
    assert_int_equal(dna_partial_open(&p, "/dev/null", NULL, A, 1, 0, &error), MB_USAGE);
    mb_err_clear(&error);
    int rc = dna_partial_open(&p, "/dev/full", NULL, A, 0, 0, &error);
    if (!rc && !(rc = dna_partial_put(p, "abc", 3, 0, &error)) && !(rc = dna_partial_complete(p, &error)))
        rc = dna_partial_finish(p, &(dna_ending){0}, &error);
    assert_int_equal(rc, MB_IO);
    mb_err_clear(&error);
    assert_int_equal(dna_partial_open(&p, "/nonexistent/x", NULL, A, 0, 0, &error), MB_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(straight),    cmocka_unit_test(left_and_resumed),   cmocka_unit_test(killed_and_resumed),
        cmocka_unit_test(torn_files),  cmocka_unit_test(interrupted_finish), cmocka_unit_test(other_options),
        cmocka_unit_test(two_at_once), cmocka_unit_test(full_disk),          cmocka_unit_test(straight_through)};
    mb_log_set_level(MB_LOG_QUIET);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
