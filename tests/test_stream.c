/* The stream between passes: what is stored is loaded, from memory and from the scratch file, and a full or missing
 * folder is an error that says what to do. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/stream.h"

enum { RECORDS = 9, FLOATS = 1000 };

static void fill(float *f, int record) {
    for (int i = 0; i < FLOATS; i++)
        f[i] = (float)(record * 10000 + i);
}

static void what_is_stored_is_loaded(void **state) {
    (void)state;
    for (int64_t in_memory = 0; in_memory <= RECORDS; in_memory++) {
        mb_err e = {0};
        mb_stream *s = NULL;
        float a[FLOATS], b[FLOATS];
        assert_int_equal(mb_stream_create(&s, RECORDS, FLOATS, in_memory, NULL, &e), MB_OK);
        for (int r = 0; r < RECORDS; r++) {
            float *own = mb_stream_memory(s, r);
            assert_int_equal(own != NULL, r < in_memory);
            fill(own ? own : a, r);
            if (!own)
                assert_int_equal(mb_stream_store(s, r, a, FLOATS, &e), MB_OK);
        }
        for (int r = RECORDS - 1; r >= 0; r--) {
            const float *own = mb_stream_memory(s, r);
            mb_stream_will_need(s, r - 1);
            fill(a, r);
            if (!own)
                assert_int_equal(mb_stream_load(s, r, b, FLOATS, &e), MB_OK);
            assert_memory_equal(own ? own : b, a, sizeof a);
        }
        mb_stream_destroy(s);
    }
}

static void a_missing_folder_is_named(void **state) {
    (void)state;
    mb_err e = {0};
    mb_stream *s = NULL;
    const long live = mb_mem_live_blocks();
    assert_int_equal(mb_stream_create(&s, RECORDS, FLOATS, 3, "/no/such/folder", &e), MB_IO);
    assert_null(s);
    assert_non_null(strstr(e.text, "/no/such/folder"));
    assert_non_null(strstr(e.text, "--scratch"));
    assert_int_equal(mb_mem_live_blocks(), live);
}

static void no_room_is_found_before_the_work(void **state) {
    (void)state;
    mb_err e = {0};
    mb_stream *s = NULL;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 8192;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const int rc = mb_stream_create(&s, RECORDS, FLOATS, 0, NULL, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, MB_IO);
    assert_null(s);
    assert_non_null(strstr(e.text, "--memory"));
}

static void no_memory(void **state) {
    (void)state;
    const long live = mb_mem_live_blocks();
    for (long n = 1;; n++) {
        mb_err e = {0};
        mb_stream *s = NULL;
        mb_mem_fail_nth(n, 0);
        const int rc = mb_stream_create(&s, RECORDS, FLOATS, 3, NULL, &e);
        const int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        mb_stream_destroy(s);
        assert_int_equal(mb_mem_live_blocks(), live);
        if (!fired)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_stored_is_loaded),
        cmocka_unit_test(a_missing_folder_is_named),
        cmocka_unit_test(no_room_is_found_before_the_work),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
