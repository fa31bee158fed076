/* Inputs: whole files, mappings, places, digests; a read that fails, is interrupted or comes short. */
#undef _FORTIFY_SOURCE /* this file puts itself before read */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/mem.h"
#include "tests/scratch.h"

/* The next read fails with this error; SHORT: brings half of what was asked. */
enum { SHORT = -1 };
static int fault;

static void arm(int error) {
    fault = error;
}

static void disarm(void) {
    fault = 0;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the system's names are reserved ones */
ssize_t read(int fd, void *to, size_t n) {
    int error = fault;
    fault = 0;
    if (error > 0) {
        errno = error;
        return -1;
    }
    return syscall(SYS_read, fd, to, error == SHORT && n > 1 ? n / 2 : n);
}

static void a_file_is_read_whole(void **state) {
    (void)state;
    mb_err e = {0};
    char *data;
    size_t n;
    static char bytes[20000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    const char *path = scratch_bytes("whole", bytes, sizeof bytes);
    for (int i = 0; i < 3; i++) {
        arm(i == 0 ? EINTR : i == 1 ? SHORT : 0);
        if (i == 2)
            disarm();
        int rc = mb_file_read_all(path, sizeof bytes, &data, &n, &e);
        disarm();
        assert_int_equal(rc, MB_OK);
        assert_int_equal(n, sizeof bytes);
        assert_memory_equal(data, bytes, n);
        assert_int_equal(data[n], 0);
        mb_free(data);
    }
    assert_int_equal(mb_file_read_all(path, sizeof bytes - 1, &data, &n, &e), MB_FORMAT);
    assert_null(data);
    assert_non_null(strstr(e.text, "19999"));
    mb_err_clear(&e);
    arm(EIO);
    int rc = mb_file_read_all(path, sizeof bytes, &data, &n, &e);
    disarm();
    assert_int_equal(rc, MB_IO);
    mb_err_clear(&e);
    assert_int_equal(mb_file_read_all(scratch_path("absent"), 10, &data, &n, &e), MB_NOTFOUND);
    mb_err_clear(&e);
    assert_int_equal(mb_file_read_all(scratch_dir(), 10, &data, &n, &e), MB_IO);
    assert_non_null(strstr(e.text, "folder"));
    mb_err_clear(&e);
    assert_int_equal(mb_file_read_all(scratch_text("empty", ""), 0, &data, &n, &e), MB_OK);
    assert_int_equal(n, 0);
    mb_free(data);
    assert_int_equal(mb_file_read_all("/proc/self/status", 100000, &data, &n, &e), MB_OK); /* says it has 0 bytes */
    assert_true(n > 100);
    mb_free(data);
    assert_int_equal(mb_file_read_all("/dev/zero", 5000, &data, &n, &e), MB_FORMAT); /* ends never */
}

static void reading_without_memory_is_told(void **state) {
    (void)state;
    char *data;
    size_t n;
    long blocks = mb_mem_live_blocks();
    const char *path = scratch_text("small", "text");
    int fired = 1;
    for (int i = 1; fired; i++) {
        mb_err e = {0};
        mb_mem_fail_nth(i, 0);
        int rc = mb_file_read_all(path, 100, &data, &n, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        if (!rc)
            mb_free(data);
        assert_int_equal(mb_mem_live_blocks(), blocks);
    }
}

static void a_file_is_mapped(void **state) {
    (void)state;
    mb_err e = {0};
    mb_map m;
    assert_int_equal(mb_file_map(&m, scratch_text("mapped", "some text"), &e), MB_OK);
    assert_int_equal(m.size, 9);
    assert_memory_equal(m.data, "some text", 9);
    mb_file_unmap(&m);
    assert_null(m.data);
    mb_file_unmap(&m);
    mb_file_unmap(NULL);
    assert_int_equal(mb_file_map(&m, scratch_text("empty", ""), &e), MB_OK);
    assert_null(m.data);
    assert_int_equal(m.size, 0);
    assert_int_equal(mb_file_map(&m, scratch_path("absent"), &e), MB_NOTFOUND);
    mb_err_clear(&e);
    assert_int_equal(mb_file_map(&m, "/dev/null", &e), MB_IO);
    mb_err_clear(&e);
    assert_int_equal(mb_file_map(&m, scratch_dir(), &e), MB_IO);
}

static void paths_and_places(void **state) {
    (void)state;
    static const char *const JOINS[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"a", "/b", "/b"}, {"/", "b", "/b"}};
    for (size_t i = 0; i < sizeof JOINS / sizeof JOINS[0]; i++) {
        char *p = mb_path_join(JOINS[i][0], JOINS[i][1]);
        assert_string_equal(p, JOINS[i][2]);
        mb_free(p);
    }
    assert_true(mb_file_exists(scratch_text("there", "")));
    assert_false(mb_file_exists(scratch_dir()));
    assert_false(mb_file_exists(scratch_path("absent")));
    assert_true(mb_dir_exists(scratch_dir()));
    assert_false(mb_dir_exists(scratch_path("there")));
    assert_true(mb_dir_free_bytes(scratch_path("anything")) > 0);
    assert_true(mb_dir_free_bytes("relative") >= 0);
    assert_true(mb_dir_free_bytes("/absolute") >= 0);
    assert_int_equal(mb_dir_free_bytes("/no/such/folder/x"), -1);
}

/* FIPS 180-4 examples; the third computed by sha256sum. */
static void digests_are_sha256(void **state) {
    (void)state;
    char hex[65];
    mb_err e = {0};
    mb_sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    mb_sha256_hex("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    enum { MILLION = 1000000 };
    char *a = malloc(MILLION * 2 + 1); /* crosses the buffer */
    memset(a, 'a', MILLION * 2 + 1);
    mb_sha256_hex(a, MILLION, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    const char *path = scratch_bytes("digest", a, MILLION);
    assert_int_equal(mb_file_sha256(path, hex, &e), MB_OK);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    char of_bytes[65];
    mb_sha256_hex(a, MILLION * 2 + 1, of_bytes);
    assert_int_equal(mb_file_sha256(scratch_bytes("digest2", a, MILLION * 2 + 1), hex, &e), MB_OK);
    assert_string_equal(hex, of_bytes);
    free(a);
    assert_int_equal(mb_file_sha256(scratch_path("absent"), hex, &e), MB_NOTFOUND);
    mb_err_clear(&e);
    arm(EIO);
    int rc = mb_file_sha256(path, hex, &e);
    disarm();
    assert_int_equal(rc, MB_IO);
    mb_mem_fail_nth(1, 0);
    rc = mb_file_sha256(path, hex, NULL);
    mb_mem_fail_nth(0, 0);
    assert_int_equal(rc, MB_NOMEM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_whole), cmocka_unit_test(reading_without_memory_is_told),
        cmocka_unit_test(a_file_is_mapped),     cmocka_unit_test(paths_and_places),
        cmocka_unit_test(digests_are_sha256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
