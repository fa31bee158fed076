/* safetensors: what is written is read back; every way a file can be wrong is an error that names it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/weights.h"
#include "tests/tree.h"

/* ---- helpers ------------------------------------------------------------------------------------------------------
 */

/* A file of that header and n zero bytes of data. */
static const char *with_header(const char *header, size_t length, size_t n) {
    const char *path = tree("hostile.safetensors");
    uint64_t stated = length;
    unsigned char *file = calloc(1, 8 + length + n);
    memcpy(file, &stated, 8);
    memcpy(file + 8, header, length);
    tree_write(path, file, 8 + length + n);
    free(file);
    return path;
}

static void assert_refused(const char *path, int status, const char *words) {
    mb_err e = {0};
    mb_weights *w = (mb_weights *)&e;
    long before = mb_mem_live_blocks();
    int rc = mb_weights_open(&w, path, &e);
    if (rc == MB_OK)
        fail_msg("%s was accepted; expected: %s", path, words);
    assert_null(w);
    assert_int_equal(rc, e.status);
    if (!strstr(e.text, words))
        fail_msg("expected \"%s\" in: %s", words, e.text);
    assert_int_equal(rc, status);
    assert_int_equal(mb_mem_live_blocks(), before);
}

static volatile unsigned char sink; /* what was read, so that it is read */

/* Opens whatever is there; when it opens, every byte of every tensor must be readable. */
static int open_and_touch(const char *path) {
    mb_err e = {0};
    mb_weights *w = NULL;
    if (mb_weights_open(&w, path, &e) != MB_OK) {
        assert_null(w);
        assert_true(e.status < 0 && strlen(e.text) > 10);
        return 0;
    }
    for (int i = 0; i < mb_weights_count(w); i++) {
        const mb_tensor *t = mb_weights_at(w, i);
        for (size_t k = 0; k < (size_t)t->count * mb_dtype_bytes(t->dtype); k++)
            sink = ((const unsigned char *)t->data)[k];
        assert_ptr_equal(mb_weights_find(w, t->name), t);
    }
    mb_weights_close(w);
    return 1;
}

enum { SMALL = 6 };
static const float f32[6] = {1, -2, 3.5F, 0, 1e-30F, 6};
static const double f64[2] = {1e300, -0.5};
static const uint16_t half[3] = {0x3c00, 0xc000, 0x7c00};
static const int64_t i64[2] = {INT64_MIN, 7};
static const uint8_t u8[3] = {0, 1, 255};
static const mb_tensor small[SMALL] = {
    {.name = "a.u8", .dtype = MB_U8, .ndim = 1, .shape = {3}, .data = u8},
    {.name = "layer.0.\"quoted\\\xc3\xa9", .dtype = MB_F32, .ndim = 2, .shape = {2, 3}, .data = f32},
    {.name = "half", .dtype = MB_F16, .ndim = 3, .shape = {3, 1, 1}, .data = half},
    {.name = "empty", .dtype = MB_F32, .ndim = 2, .shape = {0, 5}, .data = NULL},
    {.name = "scalar", .dtype = MB_I64, .ndim = 0, .data = i64},
    {.name = "d", .dtype = MB_F64, .ndim = 1, .shape = {2}, .data = f64},
};

static const char *write_small(void) {
    static const char *const metadata[] = {"format", "pt", "made by", "a test", NULL};
    const char *path = tree("small.safetensors");
    mb_err e = {0};
    if (mb_safetensors_write(path, small, SMALL, metadata, &e) != MB_OK)
        fail_msg("%s", e.text);
    return path;
}

/* ---- tests --------------------------------------------------------------------------------------------------------
 */

static void round_trip(void **state) {
    (void)state;
    const char *path = write_small();
    mb_err e = {0};
    mb_weights *w = NULL;
    size_t n;
    unsigned char *file = tree_read(path, &n);
    uint64_t header;
    memcpy(&header, file, 8);
    assert_int_equal((8 + header) % 64, 0);
    /* keys in the given order */
    char *text = strndup((char *)file + 8, header), *at = text;
    const char *keys[] = {"\"__metadata__\"", "\"a.u8\"", "layer.0", "\"half\"", "\"empty\"", "\"scalar\"", "\"d\""};
    for (int i = 0; i < 7; i++)
        assert_non_null(at = strstr(at, keys[i]));
    free(text);
    free(file);
    assert_int_equal(mb_weights_open(&w, path, &e), MB_OK);
    assert_int_equal(mb_weights_count(w), SMALL);
    assert_string_equal(mb_weights_path(w), path);
    assert_string_equal(mb_weights_kind(w), "safetensors");
    for (int i = 0; i < SMALL; i++) {
        const mb_tensor *t = mb_weights_find(w, small[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, small[i].dtype);
        assert_int_equal(t->ndim, small[i].ndim);
        assert_memory_equal(t->shape, small[i].shape, (size_t)t->ndim * 8);
        assert_int_equal((uintptr_t)t->data % mb_dtype_bytes(t->dtype), 0);
        if (t->count)
            assert_memory_equal(t->data, small[i].data, (size_t)t->count * mb_dtype_bytes(t->dtype));
    }
    assert_null(mb_weights_find(w, "layer.0"));
    assert_null(mb_weights_find(w, ""));
    mb_weights_close(w);
}

static void bytes_outlive_the_table(void **state) {
    (void)state;
    mb_err e = {0};
    mb_weights *w = NULL;
    long before = mb_mem_live_blocks();
    assert_int_equal(mb_weights_open(&w, write_small(), &e), MB_OK);
    const float *data = mb_weights_find(w, small[1].name)->data;
    mb_weights_bytes *bytes = mb_weights_retain(w);
    mb_weights_close(w);
    assert_memory_equal(data, f32, sizeof f32);
    mb_weights_release(bytes);
    assert_int_equal(mb_mem_live_blocks(), before);
}

#define META "\"__metadata__\":{\"a\":\"b\"}"
static void hostile_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        int status;
        const char *words;
    } cases[] = {
        {"[]", 0, MB_FORMAT, "does not begin with '{'"},
        {" {}", 0, MB_FORMAT, "does not begin with '{'"},
        {"{", 0, MB_FORMAT, "not valid JSON"},
        {"{} x", 0, MB_FORMAT, "not valid JSON"},
        {"{\"a\":1}", 0, MB_FORMAT, "tensor a: its entry is not exactly"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, MB_FORMAT, "not exactly"},
        {"{\"a\":{\"dtype\":\"F8_E5M2\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MB_NOTSUP, "dtype F8_E5M2"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, MB_FORMAT, "tensor a: its shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}", 1, MB_FORMAT, "tensor a: its shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,1]}}", 1, MB_FORMAT,
         "tensor a: its shape"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1152921504606846977],\"data_offsets\":[0,8]}}", 8, MB_FORMAT,
         "tensor a: its shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,1]}}", 1, MB_FORMAT,
         "not valid JSON"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, MB_FORMAT,
         "9 dimensions"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, MB_FORMAT, "data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, MB_FORMAT, "data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1, MB_FORMAT, "inside the 1 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,3]}}", 4, MB_FORMAT, "3 bytes of data"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 2, MB_FORMAT, "1 bytes follow"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, MB_FORMAT, "2 bytes of data"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, MB_FORMAT, "hole"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3, MB_FORMAT, "tensor b: its data begin at byte"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
         1, MB_FORMAT, "duplicate"},
        {"{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MB_FORMAT, "name of 0 bytes"},
        {"{\"a\\n\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MB_FORMAT, "control character"},
        {"{\"a\\u0000\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MB_FORMAT, "not valid JSON"},
        {"{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MB_FORMAT, "not valid JSON"},
        {"{\"__metadata__\":[]}", 0, MB_FORMAT, "__metadata__"},
        {"{\"__metadata__\":{\"a\":1}}", 0, MB_FORMAT, "__metadata__"},
        {"{\"a\":{\"dtype\":[[[[[]]]]],\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MB_FORMAT, "nested deeper"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(with_header(cases[i].header, strlen(cases[i].header), cases[i].data), cases[i].status,
                       cases[i].words);
    /* and two that are right */
    assert_true(open_and_touch(with_header("{" META "}    ", strlen("{" META "}    "), 0)));
    const char *late = "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},"
                       "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    assert_true(open_and_touch(with_header(late, strlen(late), 2)));
}

static void hostile_lengths(void **state) {
    (void)state;
    const char *path = tree("length.safetensors");
    tree_write(path, "", 0);
    assert_refused(path, MB_FORMAT, "too short");
    tree_write(path, "\x02\0\0\0\0\0\0", 7);
    assert_refused(path, MB_FORMAT, "too short");
    tree_write(path, "\0\0\0\0\0\0\0\0", 8);
    assert_refused(path, MB_FORMAT, "does not begin");
    tree_write(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    assert_refused(path, MB_FORMAT, "no safetensors file");
    tree_write(path, "\x01\xe1\xf5\x05\0\0\0\0{}", 10); /* 100,000,001 */
    assert_refused(path, MB_FORMAT, "no safetensors file");
    tree_write(path, "\x03\0\0\0\0\0\0\0{}", 10);
    assert_refused(path, MB_FORMAT, "beyond the file");
}

static void bombs(void **state) {
    (void)state;
    enum { N = 100001, DEEP = 1000000 };
    char *header = malloc((size_t)N * 64);
    size_t n = (size_t)sprintf(header, "{");
    for (int i = 0; i < N; i++)
        n += (size_t)sprintf(header + n, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                             i ? "," : "", i);
    header[n++] = '}';
    assert_refused(with_header(header, n, 0), MB_FORMAT, "more than 100000 tensors");
    memset(header, '[', DEEP);
    memcpy(header, "{\"a\":", 5);
    assert_refused(with_header(header, DEEP, 0), MB_FORMAT, "nested deeper");
    for (int i = 5; i + 1 < 3 * DEEP; i += 2)
        memcpy(header + i, "0,", 2);
    memcpy(header, "{\"a\":[", 6);
    assert_refused(with_header(header, (size_t)3 * DEEP, 0), MB_FORMAT, "not valid JSON");
    free(header);
}

static void every_truncation(void **state) {
    (void)state;
    size_t n;
    unsigned char *file = tree_read(write_small(), &n);
    const char *path = tree("cut.safetensors");
    for (size_t cut = 0; cut < n; cut++) {
        tree_write(path, file, cut);
        if (open_and_touch(path))
            fail_msg("a file cut to %zu of %zu bytes was accepted", cut, n);
    }
    free(file);
}

static void bit_flips(void **state) {
    (void)state;
    size_t n;
    int opened = 0;
    unsigned char *file = tree_read(write_small(), &n);
    const char *path = tree("flip.safetensors");
    for (size_t bit = 0; bit < n * 8; bit++) {
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
        tree_write(path, file, n);
        opened += open_and_touch(path);
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_true(opened > 0 && (size_t)opened < n * 8); /* flips in the data are not seen: there is no checksum */
    free(file);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    const char *path = write_small();
    long before = mb_mem_live_blocks();
    for (long nth = 1;; nth++) {
        mb_err e = {0};
        mb_weights *w = NULL;
        mb_mem_fail_nth(nth, 0);
        int rc = mb_weights_open(&w, path, &e);
        int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        mb_weights_close(w);
        assert_int_equal(mb_mem_live_blocks(), before);
        if (!fired) {
            assert_int_equal(rc, MB_OK);
            assert_true(nth > 20);
            break;
        }
        assert_int_equal(rc, MB_NOMEM);
    }
}

static void writing_may_fail(void **state) {
    (void)state;
    const mb_tensor bad = {.name = "\xff", .dtype = MB_U8, .ndim = 1, .shape = {1}, .data = u8};
    const mb_tensor huge = {.name = "h", .dtype = MB_F32, .ndim = 2, .shape = {1LL << 40, 1LL << 40}};
    mb_err e = {0};
    char dir[1024];
    snprintf(dir, sizeof dir, "%s", tree("out/x"));
    long before = mb_mem_live_blocks();
    assert_int_equal(mb_safetensors_write(dir, &bad, 1, NULL, &e), MB_USAGE);
    mb_err_clear(&e);
    assert_int_equal(mb_safetensors_write(dir, &huge, 1, NULL, &e), MB_RANGE);
    mb_err_clear(&e);
    assert_int_equal(mb_safetensors_write(tree("none"), small, SMALL, (const char *const[]){"k", "\xff", NULL}, &e),
                     MB_USAGE);
    mb_err_clear(&e);
    assert_true(mb_safetensors_write("/nowhere/at/all", small, SMALL, NULL, &e) < 0);
    for (long nth = 1;; nth++) {
        mb_err_clear(&e);
        mb_mem_fail_nth(nth, 0);
        int rc = mb_safetensors_write(dir, small, SMALL, (const char *const[]){"k", "v", NULL}, &e);
        int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(mb_mem_live_blocks(), before);
        if (!fired) {
            assert_int_equal(rc, MB_OK);
            break;
        }
        assert_true(rc < 0); /* nothing is left, or, when only the folder could not be synced, the whole file */
        assert_int_equal(tree_count(tree("out")), access(dir, F_OK) == 0);
        assert_true(access(dir, F_OK) != 0 || open_and_touch(dir));
        unlink(dir);
    }
    assert_int_equal(tree_count(tree("out")), 1);
}

/* ---- shards -------------------------------------------------------------------------------------------------------
 */

static const char *index_of(const char *text) {
    const char *path = tree("shards/model.safetensors.index.json");
    tree_text(path, text);
    return path;
}

static void sharded(void **state) {
    (void)state;
    mb_err e = {0};
    mb_weights *w = NULL;
    assert_int_equal(mb_safetensors_write(tree("shards/one.safetensors"), small, 2, NULL, &e), MB_OK);
    assert_int_equal(mb_safetensors_write(tree("shards/two.safetensors"), small + 2, 2, NULL, &e), MB_OK);
    tree_text(tree("shards/loop.bin"), "{\"weight_map\":{\"a.u8\":\"loop.bin\"}}");
#define A "\"a.u8\":\"one.safetensors\","
#define B "\"layer.0.\\\"quoted\\\\\xc3\xa9\":\"one.safetensors\","
#define C "\"half\":\"two.safetensors\","
#define D "\"empty\":\"two.safetensors\""
    index_of("{\"metadata\":{\"total_size\":1},\"weight_map\":{" A B C D "}}");
    assert_int_equal(mb_weights_open(&w, tree("shards"), &e), MB_OK);
    assert_int_equal(mb_weights_count(w), 4);
    assert_memory_equal(mb_weights_find(w, "half")->data, half, sizeof half);
    mb_weights_close(w);
    static const struct {
        const char *text;
        int status;
        const char *words;
    } cases[] = {
        {"{}", MB_FORMAT, "no weight_map"},
        {"{\"weight_map\":{}}", MB_FORMAT, "no weight_map"},
        {"{\"weight_map\":[1]}", MB_FORMAT, "no weight_map"},
        {"{\"weight_map\":{\"a\":1}}", MB_FORMAT, "plain name"},
        {"{\"weight_map\":{\"a\":\"../small.safetensors\"}}", MB_FORMAT, "plain name"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", MB_FORMAT, "plain name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", MB_FORMAT, "plain name"},
        {"{\"weight_map\":{\"a\":\"\"}}", MB_FORMAT, "plain name"},
        {"{\"weight_map\":{\"a\":\"three.safetensors\"}}", MB_NOTFOUND, "three.safetensors, which is not beside it"},
        {"{\"weight_map\":{\"a\":\"loop.bin\"}}", MB_FORMAT, "an index among the files"},
        {"{\"weight_map\":{" A C D "}}", MB_FORMAT, "in its files but not in the index"},
        {"{\"weight_map\":{" A B D ",\"half\":\"one.safetensors\"}}", MB_FORMAT, "tensor half is not in one.safe"},
        {"{\"weight_map\":{" A B C D ",\"more\":\"one.safetensors\"}}", MB_FORMAT, "tensor more is not in one.safe"},
        {"{\"weight_map\":{" A B C D "," A "\"z\":\"z\"}}", MB_FORMAT, "duplicate"},
        {"not json", MB_FORMAT, "no safetensors file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(index_of(cases[i].text), cases[i].status, cases[i].words);
    assert_int_equal(mb_safetensors_write(tree("shards/two.safetensors"), small, 2, NULL, &e), MB_OK);
    assert_refused(index_of("{\"weight_map\":{" A B C D "}}"), MB_FORMAT, "comes twice");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(bytes_outlive_the_table),
        cmocka_unit_test(hostile_headers),
        cmocka_unit_test(hostile_lengths),
        cmocka_unit_test(bombs),
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(bit_flips),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(writing_may_fail),
        cmocka_unit_test(sharded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
