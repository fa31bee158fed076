/* .npy files: headers byte by byte, conversions at every rounding boundary, nothing appears that has holes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/npy.h"
#include "tests/scratch.h"

/* ---- halves -------------------------------------------------------------------------------------------------------*/
static void every_half_comes_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = mb_f16_to_f32((uint16_t)h), b = mb_bf16_to_f32((uint16_t)h);
        if ((h & 0x7C00) == 0x7C00 && (h & 0x3FF)) {
            assert_true(isnan(f));
            assert_int_equal(mb_f32_to_f16(f), h | 0x200); /* quiet */
        } else {
            assert_int_equal(mb_f32_to_f16(f), h);
            assert_true(f == ldexpf((float)((h & 0x3FF) + ((h & 0x7C00) ? 0x400 : 0)),
                                    (int)((h >> 10 & 31) ? (h >> 10 & 31) : 1) - 25) *
                                 (h & 0x8000 ? -1.f : 1.f) ||
                        (h & 0x7C00) == 0x7C00);
        }
        if ((h & 0x7F80) == 0x7F80 && (h & 0x7F)) {
            assert_true(isnan(b));
            assert_int_equal(mb_f32_to_bf16(b), h | 0x40);
        } else {
            assert_int_equal(mb_f32_to_bf16(b), h);
        }
    }
    assert_true(mb_f16_to_f32(0x7C00) == INFINITY && mb_f16_to_f32(0xFC00) == -INFINITY);
    assert_true(mb_f16_to_f32(0x3C00) == 1 && mb_f16_to_f32(0xC000) == -2 && mb_f16_to_f32(0x0001) == 0x1p-24f);
    assert_true(mb_bf16_to_f32(0x3F80) == 1 && mb_bf16_to_f32(0xC000) == -2);
}

/* Between neighbours a < b: up to the middle goes to a, beyond to b, the middle to the even one. */
static void between(uint16_t (*round_to)(float), uint16_t h, float a, float b) {
    float middle = (float)(((double)a + (double)b) / 2); /* exact: fp32 has more bits */
    for (int sign = 0; sign < 2; sign++) {
        float s = sign ? -1.f : 1.f;
        int bit = sign ? 0x8000 : 0;
        assert_int_equal(round_to(s * nextafterf(middle, a)), h | bit);
        assert_int_equal(round_to(s * nextafterf(middle, b)), (h + 1) | bit);
        assert_int_equal(round_to(s * middle), (h + (h & 1)) | bit);
    }
}

static void rounding_is_to_nearest_even(void **state) {
    (void)state;
    for (uint16_t h = 0; h < 0x7BFF; h++)
        between(mb_f32_to_f16, h, mb_f16_to_f32(h), mb_f16_to_f32((uint16_t)(h + 1)));
    between(mb_f32_to_f16, 0x7BFF, 65504, 65536); /* the next one would be infinity */
    for (uint16_t h = 0x0080; h < 0x7F7F; h++)
        between(mb_f32_to_bf16, h, mb_bf16_to_f32(h), mb_bf16_to_f32((uint16_t)(h + 1)));
    static const float LARGE[] = {65520, 1e6f, 3e38f, INFINITY};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(mb_f32_to_f16(LARGE[i]), 0x7C00);
        assert_int_equal(mb_f32_to_f16(-LARGE[i]), 0xFC00);
    }
    assert_int_equal(mb_f32_to_f16(1e-45f), 0);
    assert_int_equal(mb_f32_to_bf16(3.4e38f), 0x7F80);
    assert_true(isnan(mb_f16_to_f32(mb_f32_to_f16(NAN))));
    assert_true(isnan(mb_bf16_to_f32(mb_f32_to_bf16(NAN))));
}

/* ---- files --------------------------------------------------------------------------------------------------------*/
/* Checks the header and returns the data (inside *whole, free that). */
static const void *read_npy(const char *path, const char *dict, size_t data_bytes, char **whole) {
    size_t n;
    *whole = scratch_read(path, &n);
    assert_non_null(*whole);
    assert_memory_equal(*whole, "\x93NUMPY\x01\x00", 8);
    size_t header = 10 + (size_t)(unsigned char)(*whole)[8] + 256 * (size_t)(unsigned char)(*whole)[9];
    assert_int_equal(header % 64, 0);
    assert_int_equal((*whole)[header - 1], '\n');
    assert_memory_equal(*whole + 10, dict, strlen(dict));
    for (size_t i = 10 + strlen(dict); i < header - 1; i++)
        assert_int_equal((*whole)[i], ' ');
    assert_int_equal(n, header + data_bytes);
    return *whole + header;
}

static void each_type_is_written(void **state) {
    (void)state;
    static const mb_dtype TYPES[] = {MB_F32, MB_F16, MB_F64, MB_I64};
    static const char *const DICTS[] = {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
                                        "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }",
                                        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }",
                                        "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }"};
    static const size_t WIDTHS[] = {4, 2, 8, 8};
    static const float values[] = {1, -2, 2.5f, 3.5f, 1e6f, -0.25f};
    const int64_t shape[] = {2, 3};
    for (int t = 0; t < 4; t++) {
        mb_npy *n;
        mb_err e = {0};
        char *whole;
        const char *path = scratch_path("t.npy");
        assert_int_equal(mb_npy_create(&n, path, TYPES[t], 2, shape, &e), MB_OK);
        assert_int_equal(mb_npy_put(n, 3, values + 3, 3, &e), MB_OK); /* in any order */
        assert_int_equal(mb_npy_put(n, 0, values, 3, &e), MB_OK);
        assert_int_equal(mb_npy_commit(n, 2, &e), MB_OK);
        const void *data = read_npy(path, DICTS[t], 6 * WIDTHS[t], &whole);
        for (int i = 0; i < 6; i++) {
            double v = TYPES[t] == MB_F32   ? ((const float *)data)[i]
                       : TYPES[t] == MB_F16 ? mb_f16_to_f32(((const uint16_t *)data)[i])
                       : TYPES[t] == MB_F64 ? ((const double *)data)[i]
                                            : (double)((const int64_t *)data)[i];
            double want = values[i];
            if (TYPES[t] == MB_I64)
                want = nearbyint(want); /* 2.5 is 2, 3.5 is 4 */
            else if (TYPES[t] == MB_F16 && i == 4)
                want = INFINITY;
            assert_true(v == want);
        }
        free(whole);
    }
}

static void long_pieces_are_converted_whole(void **state) {
    (void)state;
    enum { COUNT = 100001 };
    mb_npy *n;
    mb_err e = {0};
    char *whole;
    const int64_t shape[] = {COUNT};
    float *v = malloc(COUNT * sizeof *v);
    for (int i = 0; i < COUNT; i++)
        v[i] = (float)(i % 2048);
    assert_int_equal(mb_npy_create(&n, scratch_path("long.npy"), MB_F16, 1, shape, &e), MB_OK);
    assert_int_equal(mb_npy_put(n, 0, v, COUNT, &e), MB_OK);
    assert_int_equal(mb_npy_commit(n, -1, &e), MB_OK);
    const uint16_t *h = read_npy(scratch_path("long.npy"),
                                 "{'descr': '<f2', 'fortran_order': False, 'shape': (100001,), }", COUNT * 2, &whole);
    for (int i = 0; i < COUNT; i++)
        assert_true(mb_f16_to_f32(h[i]) == v[i]);
    free(whole);
    free(v);
}

static void rows_may_be_counted_at_the_end(void **state) {
    (void)state;
    static const int64_t values[] = {1, -2, INT64_MAX, INT64_MIN, 5, 6};
    const int64_t shape[] = {-1, 2, 1};
    for (int said = 0; said < 2; said++) {
        mb_npy *n;
        mb_err e = {0};
        char *whole;
        const char *path = scratch_path("grown.npy");
        assert_int_equal(mb_npy_create(&n, path, MB_I64, 3, shape, &e), MB_OK);
        assert_int_equal(mb_npy_put_raw(n, 0, values, 2, &e), MB_OK);
        assert_int_equal(mb_npy_put_raw(n, 2, values + 2, 4, &e), MB_OK);
        assert_int_equal(mb_npy_commit(n, said ? 3 : -1, &e), MB_OK);
        assert_memory_equal(
            read_npy(path, "{'descr': '<i8', 'fortran_order': False, 'shape': (3, 2, 1), }", 48, &whole), values, 48);
        free(whole);
    }
    mb_npy *n;
    mb_err e = {0};
    char *whole;
    assert_int_equal(mb_npy_create(&n, scratch_path("none.npy"), MB_F32, 3, shape, &e), MB_OK);
    assert_int_equal(mb_npy_commit(n, -1, &e), MB_OK);
    read_npy(scratch_path("none.npy"), "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2, 1), }", 0, &whole);
    free(whole);
}

static void holes_are_refused(void **state) {
    (void)state;
    const int64_t known[] = {3, 2}, unknown[] = {-1, 2};
    const float v[6] = {0};
    static const struct { int known, puts, rows; } CASES[] = {{1, 4, 3}, {1, 0, -1}, {0, 5, -1}, {0, 4, 3}, {0, 6, 2}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        mb_npy *n;
        mb_err e = {0};
        const char *path = scratch_path("holes.npy");
        assert_int_equal(mb_npy_create(&n, path, MB_F32, 2, CASES[i].known ? known : unknown, &e), MB_OK);
        if (CASES[i].puts)
            assert_int_equal(mb_npy_put(n, 0, v, CASES[i].puts, &e), MB_OK);
        assert_int_equal(mb_npy_commit(n, CASES[i].rows, &e), MB_INTERNAL);
        assert_false(mb_file_exists(path));
    }
    mb_npy *n; /* the end alone is not enough */
    mb_err e = {0};
    assert_int_equal(mb_npy_create(&n, scratch_path("holes.npy"), MB_F32, 2, known, &e), MB_OK);
    assert_int_equal(mb_npy_put(n, 4, v, 2, &e), MB_OK);
    assert_int_equal(mb_npy_commit(n, 3, &e), MB_INTERNAL);
}

static void what_cannot_be_written_is_refused(void **state) {
    (void)state;
    mb_npy *n;
    mb_err e = {0};
    static const struct {
        mb_dtype dtype;
        int ndim;
        int64_t shape[3];
        int status;
    } CASES[] = {{MB_BF16, 1, {1}, MB_NOTSUP},
                 {MB_U8, 1, {1}, MB_NOTSUP},
                 {MB_F32, 0, {1}, MB_RANGE},
                 {MB_F32, 9, {1}, MB_RANGE},
                 {MB_F32, 2, {1, 0}, MB_RANGE},
                 {MB_F32, 2, {1, -1}, MB_RANGE},
                 {MB_F32, 3, {1, INT64_MAX, 2}, MB_RANGE},
                 {MB_F32, 2, {INT64_MAX, 2}, MB_RANGE},
                 {MB_F64, 2, {-1, INT64_MAX / 4}, MB_RANGE},
                 {MB_F32, 1, {INT64_MAX / 4}, MB_RANGE}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        mb_err_clear(&e);
        assert_int_equal(mb_npy_create(&n, scratch_path("no.npy"), CASES[i].dtype, CASES[i].ndim, CASES[i].shape, &e),
                         CASES[i].status);
        assert_null(n);
        assert_non_null(strstr(e.text, "no.npy"));
    }
    static const float BAD[] = {NAN, INFINITY, -INFINITY, 1e30f, 0x1p63f};
    const int64_t shape[] = {2};
    mb_err_clear(&e);
    assert_int_equal(mb_npy_create(&n, scratch_path("no.npy"), MB_I64, 1, shape, &e), MB_OK);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        const float v[] = {1, BAD[i]};
        mb_err_clear(&e);
        assert_int_equal(mb_npy_put(n, 0, v, 2, &e), MB_RANGE);
        assert_non_null(strstr(e.text, "element 1 "));
    }
    mb_npy_abort(n);
    mb_npy_abort(NULL);
    assert_false(mb_file_exists(scratch_path("no.npy")));
    mb_err_clear(&e);
    assert_int_equal(mb_npy_create(&n, "/dev/null", MB_F32, 1, shape, &e),
                     MB_USAGE); /* cannot be filled in any order */
    mb_err_clear(&e);
    assert_int_equal(mb_npy_create(&n, scratch_path("no folder/x.npy"), MB_F32, 1, shape, &e), MB_IO);
}

enum { THREADS = 4, ROWS = 400, COLUMNS = 33 };
static mb_npy *shared_npy;

static void *put_rows(void *first) {
    float row[COLUMNS];
    for (int r = *(int *)first; r < ROWS; r += THREADS) {
        for (int c = 0; c < COLUMNS; c++)
            row[c] = (float)(r * 2 + c % 2);
        if (mb_npy_put(shared_npy, (int64_t)r * COLUMNS, row, COLUMNS, NULL))
            return first;
    }
    return NULL;
}

static void threads_put_side_by_side(void **state) {
    (void)state;
    const int64_t shape[] = {-1, COLUMNS};
    mb_err e = {0};
    pthread_t thread[THREADS];
    int first[THREADS];
    char *whole;
    assert_int_equal(mb_npy_create(&shared_npy, scratch_path("par.npy"), MB_F16, 2, shape, &e), MB_OK);
    for (int i = 0; i < THREADS; i++) {
        first[i] = i;
        pthread_create(&thread[i], NULL, put_rows, &first[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(thread[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(mb_npy_commit(shared_npy, ROWS, &e), MB_OK);
    const uint16_t *h =
        read_npy(scratch_path("par.npy"), "{'descr': '<f2', 'fortran_order': False, 'shape': (400, 33), }",
                 ROWS * COLUMNS * 2, &whole);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        assert_int_equal(mb_f16_to_f32(h[i]), i / COLUMNS * 2 + i % COLUMNS % 2);
    free(whole);
}

static int write_small(const char *path, mb_err *e) {
    const int64_t shape[] = {-1, 2};
    static float v[2000];
    mb_npy *n;
    int rc = mb_npy_create(&n, path, MB_F64, 2, shape, e);
    if (rc)
        return rc;
    if ((rc = mb_npy_put(n, 0, v, 2000, e))) {
        mb_npy_abort(n);
        return rc;
    }
    return mb_npy_commit(n, -1, e);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int fired = 1, n = 1;
    for (; fired; n++) {
        mb_err e = {0};
        const char *path = scratch_text("old.npy", "old");
        mb_mem_fail_nth(n, 0);
        int rc = write_small(path, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_true(fired ? rc == MB_NOMEM || strstr(e.text, "durable") : rc == MB_OK);
        assert_true(scratch_size(path) == 3 || scratch_size(path) == 16128);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
    assert_in_range(n, 5, 50);
}

static void a_full_disk_leaves_nothing(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {5000, 5000};
        mb_err e = {0};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        int rc = write_small(scratch_path("full.npy"), &e);
        _exit(rc == MB_IO && strstr(e.text, "full.npy") && strstr(e.text, "File too large") ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(mb_file_exists(scratch_path("full.npy")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_comes_back),
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(each_type_is_written),
        cmocka_unit_test(long_pieces_are_converted_whole),
        cmocka_unit_test(rows_may_be_counted_at_the_end),
        cmocka_unit_test(holes_are_refused),
        cmocka_unit_test(what_cannot_be_written_is_refused),
        cmocka_unit_test(threads_put_side_by_side),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
