/* Errors: the first cause is kept, long sentences are cut on whole characters and say so, every status has words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"

static void the_first_cause_is_kept(void **state) {
    (void)state;
    mb_err e = {0};
    assert_int_equal(mb_fail(&e, MB_FORMAT, "%s:%d: bad", "a.fa", 7), MB_FORMAT);
    assert_int_equal(mb_fail(&e, MB_IO, "later"), MB_FORMAT);
    errno = EACCES;
    assert_int_equal(mb_fail_errno(&e, MB_IO, "later"), MB_FORMAT);
    assert_int_equal(e.status, MB_FORMAT);
    assert_string_equal(e.text, "a.fa:7: bad");
}

static void nobody_need_listen(void **state) {
    (void)state;
    assert_int_equal(mb_fail(NULL, MB_IO, "x"), MB_IO);
    assert_int_equal(mb_fail_errno(NULL, MB_NOMEM, "x"), MB_NOMEM);
    assert_int_equal(mb_err_context(NULL, "x"), MB_FAIL);
    mb_err_clear(NULL);
}

static void errno_is_spelled_and_survives(void **state) {
    (void)state;
    mb_err e = {0};
    errno = ENOSPC;
    assert_int_equal(mb_fail_errno(&e, MB_IO, "out.npy: cannot write"), MB_IO);
    assert_string_equal(e.text, "out.npy: cannot write: No space left on device");
    assert_int_equal(errno, ENOSPC);
}

static void context_goes_before(void **state) {
    (void)state;
    mb_err e = {0};
    assert_int_equal(mb_err_context(&e, "model"), MB_OK);
    assert_string_equal(e.text, "");
    mb_fail(&e, MB_NOTFOUND, "no such tensor");
    assert_int_equal(mb_err_context(&e, "layer %d", 3), MB_NOTFOUND);
    assert_string_equal(e.text, "layer 3: no such tensor");
    mb_err_clear(&e);
    assert_int_equal(e.status, MB_OK);
    assert_string_equal(e.text, "");
}

static char longer[3 * MB_ERR_TEXT];

/* However the bytes fall: cut at every offset inside a three-byte character. */
static void long_text_is_cut_on_a_character(void **state) {
    (void)state;
    for (int shift = 0; shift < 3; shift++) {
        mb_err e = {0};
        memset(longer, 'a', (size_t)shift);
        for (size_t i = (size_t)shift; i + 3 < sizeof longer; i += 3)
            memcpy(longer + i, "\xE2\x82\xAC", 4);
        mb_fail(&e, MB_FAIL, "%s", longer);
        size_t n = strlen(e.text);
        assert_in_range(n, MB_ERR_TEXT - 8, MB_ERR_TEXT - 1);
        assert_string_equal(e.text + n - 3, "...");
        assert_int_equal((n - 3 - (size_t)shift) % 3, 0);
        assert_int_equal(mb_err_context(&e, "reading"), MB_FAIL);
        n = strlen(e.text);
        assert_in_range(n, MB_ERR_TEXT - 8, MB_ERR_TEXT - 1);
        assert_string_equal(e.text + n - 3, "...");
        assert_memory_equal(e.text, "reading: ", 9);
        assert_int_equal((n - 3 - 9 - (size_t)shift) % 3, 0);
    }
}

static void long_text_keeps_room_for_errno_mark(void **state) {
    (void)state;
    mb_err e = {0};
    memset(longer, 'x', MB_ERR_TEXT - 10);
    longer[MB_ERR_TEXT - 10] = '\0';
    errno = EIO;
    mb_fail_errno(&e, MB_IO, "%s", longer);
    size_t n = strlen(e.text);
    assert_in_range(n, MB_ERR_TEXT - 8, MB_ERR_TEXT - 1);
    assert_string_equal(e.text + n - 3, "...");
}

static void every_status_has_words_and_an_exit_code(void **state) {
    (void)state;
#define X(name, value, exit_code, words)                                                                               \
    assert_string_equal(mb_status_words(MB_##name), words);                                                            \
    assert_int_equal(mb_status_exit_code(MB_##name), exit_code);
    MB_STATUS_LIST(X)
#undef X
    assert_int_equal(mb_status_exit_code(MB_USAGE), 2);
    assert_int_equal(mb_status_exit_code(MB_STOPPED), 75);
    assert_string_equal(mb_status_words(-999), "unknown status");
    assert_int_equal(mb_status_exit_code(-999), 70);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_cause_is_kept),
        cmocka_unit_test(nobody_need_listen),
        cmocka_unit_test(errno_is_spelled_and_survives),
        cmocka_unit_test(context_goes_before),
        cmocka_unit_test(long_text_is_cut_on_a_character),
        cmocka_unit_test(long_text_keeps_room_for_errno_mark),
        cmocka_unit_test(every_status_has_words_and_an_exit_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
