/* .npy headers from outside: what is read, and that nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/npy.h"
#include "core/npy_in.h"
#include "tests/scratch.h"

static mb_err error;

/* A file of this version, header text and number of bytes after it. */
static const char *make(int version, const char *header, size_t bytes) {
    static char file[4096];
    const size_t n = strlen(header), head = version == 1 ? 10 : 12;
    memset(file, 0, sizeof file);
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (char)version;
    file[8] = (char)(n & 255);
    file[9] = (char)(n >> 8);
    memcpy(file + head, header, n);
    for (size_t i = 0; i < bytes; i++)
        file[head + n + i] = (char)(i + 1);
    return scratch_bytes("in.npy", file, head + n + bytes);
}

static int open_text(mb_npy_in *n, int version, const char *header, size_t bytes) {
    mb_err_clear(&error);
    return mb_npy_in_open(n, make(version, header, bytes), &error);
}

static void reads(int version, const char *header, size_t bytes, mb_dtype dtype, int ndim, int64_t rows, int64_t row) {
    mb_npy_in n;
    if (open_text(&n, version, header, bytes) != MB_OK)
        fail_msg("%s: %s", header, error.text);
    assert_int_equal(n.dtype, dtype);
    assert_int_equal(n.ndim, ndim);
    assert_int_equal(n.shape[0], rows);
    assert_int_equal(n.row, row);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(n.data[i], i + 1);
    mb_npy_in_close(&n);
}

static void what_numpy_writes(void **state) {
    (void)state;
    reads(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }    \n", 24, MB_F32, 2, 2, 3);
    reads(2, "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2, 3), }\n", 24, MB_F16, 3, 2, 6);
    reads(3, "{'shape': (3,), 'fortran_order': False, 'descr': '<f8'}", 24, MB_F64, 1, 3, 1);
    reads(1, "{\"descr\":\"<i8\",\"fortran_order\":False,\"shape\":(0,7)}\n", 0, MB_I64, 2, 0, 7);
    reads(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1,)}\n", 4, MB_F32, 2, 1, 1);
}

static void refuses(int status, const char *words, int version, const char *header, size_t bytes) {
    mb_npy_in n;
    const int rc = open_text(&n, version, header, bytes);
    if (rc != status || !strstr(error.text, words))
        fail_msg("%s: status %d, '%s'; expected %d, '%s'", header, rc, error.text, status, words);
    assert_null(n.data);
}

#define HEAD(DESCR, ORDER, SHAPE) "{'descr': " DESCR ", 'fortran_order': " ORDER ", 'shape': " SHAPE ", }\n"

static void refused(void **state) {
    (void)state;
    refuses(MB_FORMAT, "cut short: its shape takes 24 bytes, 23 are there", 1, HEAD("'<f4'", "False", "(2, 3)"), 23);
    refuses(MB_FORMAT, "1 bytes more", 1, HEAD("'<f4'", "False", "(2, 3)"), 25);
    refuses(MB_NOTSUP, "Fortran", 1, HEAD("'<f4'", "True", "(2, 3)"), 24);
    refuses(MB_NOTSUP, "'>f4'", 1, HEAD("'>f4'", "False", "(2, 3)"), 24);
    refuses(MB_NOTSUP, "'|O'", 1, HEAD("'|O'", "False", "(2, 3)"), 24);
    refuses(MB_NOTSUP, "structured", 1, HEAD("[('a', '<f4')]", "False", "(2, 3)"), 24);
    refuses(MB_NOTSUP, "single number", 1, HEAD("'<f4'", "False", "()"), 4);
    refuses(MB_NOTSUP, "more than 8", 1, HEAD("'<f4'", "False", "(1,1,1,1,1,1,1,1,1)"), 4);
    refuses(MB_NOTSUP, "version 4.0", 4, HEAD("'<f4'", "False", "(2, 3)"), 24);
    refuses(MB_FORMAT, "more than 2^63", 1, HEAD("'<f4'", "False", "(4611686018427387904, 2)"), 0);
    refuses(MB_FORMAT, "dimension 2", 1, HEAD("'<f4'", "False", "(0, 4611686018427387904, 4)"), 0);
    refuses(MB_FORMAT, "dimension 1 is 0", 1, HEAD("'<f4'", "False", "(5, 0)"), 0);
    refuses(MB_FORMAT, "no size", 1, HEAD("'<f4'", "False", "(99999999999999999999, 2)"), 0);
    refuses(MB_FORMAT, "no size", 1, HEAD("'<f4'", "False", "(-1, 2)"), 0);
    refuses(MB_FORMAT, "no size", 1, HEAD("'<f4'", "False", "(1 2)"), 8);
    refuses(MB_FORMAT, "not a tuple", 1, HEAD("'<f4'", "False", "(2)"), 8);
    refuses(MB_FORMAT, "neither", 1, HEAD("'<f4'", "0", "(2,)"), 8);
    refuses(MB_FORMAT, "twice", 1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 8);
    refuses(MB_FORMAT, "key is missing", 1, "{'descr': '<f4', 'fortran_order': False, }", 8);
    refuses(MB_FORMAT, "unknown", 1, "{'descr': '<f4', 'order': False, }", 8);
    refuses(MB_FORMAT, "follows", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", 8);
    refuses(MB_FORMAT, "does not end", 1, "{'descr': '<f4' 'fortran_order': False", 8);
    refuses(MB_FORMAT, "key is missing", 1, "{'descr': '<f4', ", 0);
    refuses(MB_FORMAT, "no string", 1, "{'descr': '<f4", 0);
    refuses(MB_FORMAT, "no dict", 1, "", 8);
    mb_npy_in n;
    mb_err_clear(&error);
    assert_int_equal(mb_npy_in_open(&n, scratch_text("a.npy", "no array at all"), &error), MB_FORMAT);
    assert_int_equal(mb_npy_in_open(&n, scratch_text("b.npy", ""), &error), MB_FORMAT);
    mb_err_clear(&error);
    assert_int_equal(mb_npy_in_open(&n, "no/such/file.npy", &error), MB_NOTFOUND);
}

/* Each beginning of a good file is refused, and each bit of its header turned is refused or read, without a crash. */
static void damaged(void **state) {
    (void)state;
    char *whole = scratch_read(make(1, HEAD("'<f4'", "False", "(2, 3)"), 24), NULL);
    const long size = scratch_size(scratch_path("in.npy"));
    mb_npy_in n;
    for (long i = 0; i < size; i++) {
        mb_err_clear(&error);
        assert_int_equal(mb_npy_in_open(&n, scratch_bytes("cut.npy", whole, (size_t)i), &error), MB_FORMAT);
    }
    for (long bit = 0; bit < (size - 24) * 8; bit++) {
        whole[bit / 8] ^= (char)(1 << bit % 8);
        mb_err_clear(&error);
        const int rc = mb_npy_in_open(&n, scratch_bytes("bit.npy", whole, (size_t)size), &error);
        assert_true(rc == MB_OK ? n.row > 0 : *error.text != 0);
        mb_npy_in_close(&n);
        whole[bit / 8] ^= (char)(1 << bit % 8);
    }
    free(whole);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* What the writer of this house writes. */
static void own_files(void **state) {
    (void)state;
    const float value[6] = {1, 2, 3, 4, 5, 65504};
    const int64_t shape[2] = {-1, 3};
    for (int half = 0; half < 2; half++) {
        mb_npy *out = NULL;
        mb_npy_in n;
        const char *path = scratch_path("own.npy");
        assert_int_equal(mb_npy_create(&out, path, half ? MB_F16 : MB_F32, 2, shape, &error), MB_OK);
        assert_int_equal(mb_npy_put(out, 0, value, 6, &error), MB_OK);
        assert_int_equal(mb_npy_commit(out, -1, &error), MB_OK);
        assert_int_equal(mb_npy_in_open(&n, path, &error), MB_OK);
        assert_int_equal(n.shape[0], 2);
        for (int i = 0; i < 6; i++) {
            uint16_t h;
            float f;
            memcpy(&h, n.data + 2 * i, 2);
            memcpy(&f, n.data + 4 * (half ? 0 : i), 4);
            assert_true((half ? mb_f16_to_f32(h) : f) == value[i]);
        }
        mb_npy_in_close(&n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_numpy_writes), cmocka_unit_test(refused),
                                       cmocka_unit_test(damaged), cmocka_unit_test(own_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
