/* Element types, conversions, and which file of a folder is opened. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/weights.h"
#include "tests/tree.h"

static mb_tensor tensor(mb_dtype d, const void *data, int64_t n) {
    return (mb_tensor){.name = "t", .dtype = d, .ndim = 1, .shape = {n}, .count = n, .data = data};
}

static void names_and_sizes(void **state) {
    (void)state;
    static const struct {
        mb_dtype d;
        const char *name;
        size_t bytes;
    } all[] = {{MB_F64, "F64", 8}, {MB_F32, "F32", 4}, {MB_F16, "F16", 2}, {MB_BF16, "BF16", 2}, {MB_I64, "I64", 8},
               {MB_I32, "I32", 4}, {MB_I16, "I16", 2}, {MB_I8, "I8", 1},   {MB_U8, "U8", 1},     {MB_BOOL, "BOOL", 1}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_string_equal(mb_dtype_name(all[i].d), all[i].name);
        assert_int_equal(mb_dtype_bytes(all[i].d), all[i].bytes);
    }
}

/* Every type through every conversion, from an odd address. */
static void conversions(void **state) {
    (void)state;
    const double f64[3] = {-1.5, 2.5, 1e300};
    const float f32[3] = {-1.5F, 2.5F, 3e38F};
    const uint16_t f16[3] = {0xbe00, 0x4100, 0x7bff}, bf16[3] = {0xbfc0, 0x4020, 0x7f7f};
    const int64_t i64[3] = {-2, 2, INT64_MAX};
    const int32_t i32[3] = {-2, 2, INT32_MAX};
    const int16_t i16[3] = {-2, 2, INT16_MAX};
    const int8_t i8[3] = {-2, 2, INT8_MAX};
    const uint8_t u8[3] = {254, 2, 255};
    const struct {
        mb_dtype d;
        const void *data;
        double want[3];
        int64_t whole[3];
    } all[] = {
        {MB_F64, f64, {-1.5, 2.5, 1e300}, {-2, 2, INT64_MAX}},
        {MB_F32, f32, {-1.5, 2.5, (double)3e38F}, {-2, 2, INT64_MAX}},
        {MB_F16, f16, {-1.5, 2.5, 65504}, {-2, 2, 65504}},
        {MB_BF16, bf16, {-1.5, 2.5, 3.3895313892515355e38}, {-2, 2, INT64_MAX}},
        {MB_I64, i64, {-2, 2, 0x1p63}, {-2, 2, INT64_MAX}},
        {MB_I32, i32, {-2, 2, INT32_MAX}, {-2, 2, INT32_MAX}},
        {MB_I16, i16, {-2, 2, INT16_MAX}, {-2, 2, INT16_MAX}},
        {MB_I8, i8, {-2, 2, 127}, {-2, 2, 127}},
        {MB_U8, u8, {254, 2, 255}, {254, 2, 255}},
        {MB_BOOL, u8 + 1, {2, 255}, {2, 255}},
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        const int n = all[k].d == MB_BOOL ? 2 : 3;
        unsigned char odd[32];
        double d[3];
        float f[3];
        int64_t i[3];
        memcpy(odd + 1, all[k].data, (size_t)n * mb_dtype_bytes(all[k].d));
        const mb_tensor t = tensor(all[k].d, odd + 1, n);
        mb_tensor_to_f64(&t, 0, n, d);
        mb_tensor_to_f32(&t, 0, n, f);
        mb_tensor_to_i64(&t, 0, n, i);
        assert_memory_equal(i, all[k].whole, (size_t)n * 8);
        for (int j = 0; j < n; j++) {
            assert_true(d[j] == all[k].want[j]);
            assert_true(f[j] == (float)all[k].want[j]);
        }
        mb_tensor_to_f64(&t, 1, 1, d); /* a range */
        assert_true(d[0] == all[k].want[1]);
        mb_tensor_to_f32(&t, n, 0, f);
    }
    const double wild[4] = {(double)NAN, (double)-INFINITY, 0.5, -0.0};
    const mb_tensor t = tensor(MB_F64, wild, 4);
    int64_t i[4];
    mb_tensor_to_i64(&t, 0, 4, i);
    assert_memory_equal(i, ((int64_t[]){0, INT64_MIN, 0, 0}), sizeof i);
}

static void refused(const char *path, int status, const char *words) {
    mb_err e = {0};
    mb_weights *w = NULL;
    int rc = mb_weights_open(&w, path, &e);
    assert_null(w);
    if (!strstr(e.text, words))
        fail_msg("expected \"%s\" in: %s", words, e.text);
    assert_int_equal(rc, status);
}

static void write_named(const char *path, const char *name) {
    mb_err e = {0};
    mb_tensor t = tensor(MB_U8, "x", 1);
    t.name = name;
    assert_int_equal(mb_safetensors_write(path, &t, 1, NULL, &e), MB_OK);
}

static void assert_holds(const char *path, const char *name) {
    mb_err e = {0};
    mb_weights *w = NULL;
    if (mb_weights_open(&w, path, &e) != MB_OK)
        fail_msg("%s", e.text);
    assert_non_null(mb_weights_find(w, name));
    mb_weights_close(w);
}

static void folders(void **state) {
    (void)state;
    refused(tree("missing"), MB_NOTFOUND, "cannot open it");
    tree_text(tree("m/config.json"), "{}");
    refused(tree("m"), MB_NOTFOUND, "no model.safetensors, model.safetensors.index.json or pytorch_model.bin there");
    write_named(tree("m/other.safetensors"), "other");
    refused(tree("m"), MB_NOTFOUND, "if other.safetensors is the checkpoint, give that file");
    assert_holds(tree("m/other.safetensors"), "other");
    write_named(tree("m/pytorch_model.bin"), "bin"); /* the name does not decide what a file is */
    assert_holds(tree("m"), "bin");
    write_named(tree("m/shard"), "sharded");
    tree_text(tree("m/model.safetensors.index.json"), "{\"weight_map\":{\"sharded\":\"shard\"}}");
    assert_holds(tree("m"), "sharded");
    write_named(tree("m/model.safetensors"), "one");
    assert_holds(tree("m"), "one");
    tree_text(tree("zip.bin"), "\x1f\x8b\x08");
    refused(tree("zip.bin"), MB_FORMAT, "gunzip");
    tree_text(tree("gguf.bin"), "GGUF....");
    refused(tree("gguf.bin"), MB_FORMAT, "GGUF");
    mb_weights_close(NULL);
    mb_weights_release(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_sizes),
        cmocka_unit_test(conversions),
        cmocka_unit_test(folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
