/* HDF5 output read back by the library itself: the writer alone, and what embed makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/hdf5_out.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/npy.h"
#include "core/options.h"
#include "genomics/commands.h"
#include "tests/models.h"
#include "tests/scratch.h"

static mb_err error;

#if __has_include(<hdf5.h>)
#include <hdf5.h>

/* Floats of a dataset and its shape as "3x4". */
static float *read_floats(const char *path, const char *name, char *shape) {
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT);
    if (file < 0 || set < 0)
        fail_msg("%s: no %s", path, name);
    hsize_t size[4];
    hid_t space = H5Dget_space(set);
    const int rank = H5Sget_simple_extent_dims(space, size, NULL);
    size_t n = 1;
    *shape = 0;
    for (int i = 0; i < rank; i++) {
        sprintf(shape + strlen(shape), "%s%llu", i ? "x" : "", (unsigned long long)size[i]);
        n *= size[i];
    }
    float *values = malloc(n * sizeof *values + 1);
    assert_non_null(values);
    assert_true(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Sclose(space);
    H5Dclose(set);
    H5Fclose(file);
    return values;
}

static void read_attribute(const char *path, const char *object, const char *name, char *text, size_t size) {
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t at = H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT);
    if (at < 0)
        fail_msg("%s: %s has no attribute %s", path, object, name);
    hid_t type = H5Aget_type(at);
    memset(text, 0, size);
    if (H5Tget_class(type) == H5T_STRING) {
        assert_true(H5Tget_size(type) < size);
        H5Aread(at, type, text);
    } else {
        int64_t value = 0;
        H5Aread(at, H5T_NATIVE_INT64, &value);
        snprintf(text, size, "%lld", (long long)value);
    }
    H5Tclose(type);
    H5Aclose(at);
    H5Fclose(file);
}

static char *read_string(const char *path, const char *name, int i) {
    char *all[16] = {0};
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT);
    hid_t type = H5Dget_type(set);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, all) >= 0);
    char *copy = strdup(all[i]);
    hid_t space = H5Dget_space(set);
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, all);
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(set);
    H5Fclose(file);
    return copy;
}

static void writer(void **state) {
    (void)state;
    const char *path = scratch_path("w.h5");
    char shape[64], text[64];
    for (int gzip = 0; gzip < 10; gzip += 3) {
        mb_h5 *h = NULL;
        float values[6][4];
        uint16_t halves[6][4];
        for (int i = 0; i < 24; i++) {
            values[i / 4][i % 4] = (float)i * 0.25f - 1;
            halves[i / 4][i % 4] = mb_f32_to_f16(values[i / 4][i % 4]);
        }
        const char *const names[] = {"one", "", "dr\xc3\xa9i"};
        assert_int_equal(mb_h5_create(&h, path, &error), MB_OK);
        assert_int_equal(mb_h5_dataset(h, "a/b/full", MB_F32, 2, (int64_t[]){6, 4}, gzip, &error), MB_OK);
        assert_int_equal(mb_h5_write(h, 4, 2, values[4], &error), MB_OK);
        assert_int_equal(mb_h5_write(h, 0, 4, values, &error), MB_OK);
        assert_int_equal(mb_h5_dataset(h, "half", MB_F16, 3, (int64_t[]){3, 2, 4}, gzip, &error), MB_OK);
        assert_int_equal(mb_h5_write(h, 0, 3, halves, &error), MB_OK);
        assert_int_equal(mb_h5_dataset(h, "empty", MB_F32, 2, (int64_t[]){0, 4}, gzip, &error), MB_OK);
        assert_int_equal(mb_h5_strings(h, "names", names, 3, &error), MB_OK);
        assert_int_equal(mb_h5_attr_string(h, "", "made by", "a test", &error), MB_OK);
        assert_int_equal(mb_h5_attr_int(h, "half", "start", 1LL << 40, &error), MB_OK);
        assert_int_equal(mb_h5_attr_float(h, "a/b", "x", 0.5, &error), MB_OK);
        assert_int_equal(mb_h5_commit(h, &error), MB_OK);
        float *got = read_floats(path, "a/b/full", shape);
        assert_string_equal(shape, "6x4");
        assert_memory_equal(got, values, sizeof values);
        free(got);
        got = read_floats(path, "half", shape);
        assert_string_equal(shape, "3x2x4");
        assert_memory_equal(got, values, sizeof values); /* quarters are exact in half precision */
        free(got);
        free(read_floats(path, "empty", shape));
        assert_string_equal(shape, "0x4");
        char *name = read_string(path, "names", 2);
        assert_string_equal(name, "dr\xc3\xa9i");
        free(name);
        read_attribute(path, "/", "made by", text, sizeof text);
        assert_string_equal(text, "a test");
        read_attribute(path, "half", "start", text, sizeof text);
        assert_string_equal(text, "1099511627776");
    }
}

static void nothing_half_written(void **state) {
    (void)state;
    mb_h5 *h = NULL;
    const char *path = scratch_path("abort.h5");
    assert_int_equal(mb_h5_create(&h, path, &error), MB_OK);
    assert_int_equal(mb_h5_dataset(h, "x", MB_F32, 1, (int64_t[]){3}, 0, &error), MB_OK);
    assert_int_equal(mb_h5_dataset(h, "x", MB_F32, 1, (int64_t[]){3}, 0, &error), MB_IO); /* the name is taken */
    assert_non_null(strstr(error.text, "'x'"));
    mb_h5_abort(h);
    assert_int_equal(scratch_size(path), -1);
    mb_err_clear(&error);
    assert_int_equal(mb_h5_create(&h, "/nonexistent/x.h5", &error), MB_IO);
    assert_null(h);
}

static int embed(const char *input, const char *model, const char *out, const char *option, const char *value) {
    const char *argv[] = {"dna-mamba", "embed", input, "-m", model, "-o", out, option, value};
    mb_run run = {.program = "dna-mamba", .verb = &dna_embed_verb};
    int done = 0;
    mb_err_clear(&error);
    int rc = mb_options_parse(&run, 9, (char **)(uintptr_t)argv, &done, &error);
    mb_log_set_level(MB_LOG_QUIET);
    if (!rc)
        rc = dna_embed_verb.run(&run, &error);
    mb_options_free(&run);
    if (rc)
        fail_msg("%s", error.text);
    return rc;
}

/* Datasets that grow batch by batch, several at once. */
static void columns(void **state) {
    (void)state;
    for (int gzip = 0; gzip < 2; gzip++) {
        const char *path = scratch_path("columns.h5");
        mb_h5 *h = NULL;
        mb_h5_column *names = NULL, *rows = NULL, *numbers = NULL;
        assert_int_equal(mb_h5_create(&h, path, &error), MB_OK);
        assert_int_equal(mb_h5_column_strings(&names, h, "a/names", &error), MB_OK);
        assert_int_equal(mb_h5_column_create(&rows, h, "a/rows", MB_F32, 3, gzip, &error), MB_OK);
        assert_int_equal(mb_h5_column_create(&numbers, h, "n", MB_F64, 0, gzip, &error), MB_OK);
        for (int i = 0; i < 5; i++) {
            const float row[6] = {(float)i, 1, 2, (float)i, 4, 5};
            const double number[2] = {i, 0.5};
            const char *name[2] = {i == 2 ? "third" : "x", ""};
            assert_int_equal(mb_h5_column_append(names, 2, name, &error), MB_OK);
            assert_int_equal(mb_h5_column_append(rows, i == 3 ? 0 : 2, row, &error), MB_OK);
            assert_int_equal(mb_h5_column_append(numbers, 1, number, &error), MB_OK);
        }
        mb_h5_column_close(names);
        mb_h5_column_close(rows);
        mb_h5_column_close(numbers);
        assert_int_equal(mb_h5_commit(h, &error), MB_OK);
        char shape[64], *third = read_string(path, "a/names", 4);
        assert_string_equal(third, "third");
        free(third);
        float *v = read_floats(path, "a/rows", shape);
        assert_string_equal(shape, "8x3");
        assert_true(v[6 * 3] == 4 && v[7 * 3 + 2] == 5);
        free(v);
        v = read_floats(path, "n", shape);
        assert_string_equal(shape, "5");
        assert_true(v[4] == 4);
        free(v);
    }
}

static char *model_folder(void) {
    const mb_config c = model_caduceus(8, 2, 1);
    mb_model *m = model_seeded(&c, NULL);
    static int number;
    char name[16], path[1200];
    snprintf(name, sizeof name, "model%d", number++);
    char *folder = strdup(scratch_path(name));
    assert_int_equal(mkdir(folder, 0755), 0);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(mb_config_write(mb_model_config(m), path, &error), MB_OK);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_int_equal(mb_params_save(mb_model_params(m), mb_model_config(m), path, &error), MB_OK);
    mb_model_destroy(m);
    return folder;
}

/* The raw floats behind the 128 bytes of a .npy header. */
static float *npy_floats(const char *path) {
    size_t n;
    char *data = scratch_read(path, &n);
    assert_true(data && n > 128);
    memmove(data, data + 128, n - 128);
    return (float *)(void *)data;
}

/* Rows of reads as embed has them. */
static void reads_table(void **state) {
    (void)state;
    const char *in = scratch_text("reads.fa", ">a\nACGTACGTNN\n>b\nGGCC\n>c\nTT\n"), *h5 = scratch_path("r.h5");
    char *m = model_folder(), shape[64];
    const char *argv[] = {"dna-mamba", "reads", in, "-m", m, "-o", h5, "--what", "embed", "--batch", "5"};
    mb_run run = {.program = "dna-mamba", .verb = &dna_reads_verb};
    int done = 0;
    assert_int_equal(mb_options_parse(&run, 11, (char **)(uintptr_t)argv, &done, &error), MB_OK);
    mb_log_set_level(MB_LOG_QUIET);
    if (dna_reads_verb.run(&run, &error))
        fail_msg("%s", error.text);
    mb_options_free(&run);
    float *got = read_floats(h5, "embeddings", shape);
    assert_string_equal(shape, "3x16");
    embed(in, m, scratch_path("r.npy"), "--pool", "mean");
    float *want = npy_floats(scratch_path("r.npy"));
    assert_memory_equal(got, want, sizeof(float[3][16]));
    char *name = read_string(h5, "reads/name", 2);
    assert_string_equal(name, "c");
    free(name);
    free(got);
    got = read_floats(h5, "reads/length", shape);
    assert_true(got[0] == 10 && got[1] == 4 && got[2] == 2);
    free(got);
    free(want);
    free(m);
}

static void embeddings(void **state) {
    (void)state;
    const char *in = scratch_text("in.fa", ">a/1 x\nACGTACGTNN\n>b\nGGCC\n>.\nTT\n");
    const char *h5 = scratch_path("e.h5"), *npy = scratch_path("e.npy");
    char *m = model_folder(), shape[64], text[64];
    embed(in, m, h5, "--pool", "mean");
    embed(in, m, npy, "--pool", "mean");
    float *got = read_floats(h5, "embeddings", shape), *want = npy_floats(npy);
    assert_string_equal(shape, "3x16");
    assert_memory_equal(got, want, sizeof(float[3][16]));
    free(got);
    free(want);
    char *name = read_string(h5, "index/name", 0);
    assert_string_equal(name, "a/1");
    free(name);
    read_attribute(h5, "/", "pool", text, sizeof text);
    assert_string_equal(text, "mean");
    embed(in, m, h5, "--pool", "none");
    embed(in, m, npy, "--pool", "none");
    want = npy_floats(npy);
    got = read_floats(h5, "sequences/a|1", shape);
    assert_string_equal(shape, "10x16");
    assert_memory_equal(got, want, sizeof(float[10][16]));
    free(got);
    got = read_floats(h5, "sequences/_.", shape);
    assert_string_equal(shape, "2x16");
    assert_memory_equal(got, want + 14 * 16, sizeof(float[2][16]));
    free(got);
    free(want);
    read_attribute(h5, "sequences/a|1", "name", text, sizeof text);
    assert_string_equal(text, "a/1");
    read_attribute(h5, "sequences/a|1", "n_count", text, sizeof text);
    assert_string_equal(text, "2");
    /* Only the result is left. */
    char path[1200];
    static const char *const LEFT[] = {"partial", "journal.partial", "index.tsv", "index.tsv.partial"};
    for (size_t i = 0; i < sizeof LEFT / sizeof *LEFT; i++) {
        snprintf(path, sizeof path, "%s.%s", h5, LEFT[i]);
        assert_int_equal(scratch_size(path), -1);
    }
    /* Regions may share a name, windows are told apart. */
    const char *bed = scratch_text("r.bed", "b\t0\t2\tsame\nb\t2\t4\tsame\n");
    const char *argv[] = {"dna-mamba", "embed", in,          "-m", m,          "-o", h5,
                          "--pool",    "none",  "--regions", bed,  "--window", "1"};
    mb_run run = {.program = "dna-mamba", .verb = &dna_embed_verb};
    int done = 0;
    assert_int_equal(mb_options_parse(&run, 13, (char **)(uintptr_t)argv, &done, &error), MB_OK);
    mb_log_set_level(MB_LOG_QUIET);
    assert_int_equal(dna_embed_verb.run(&run, &error), MB_OK);
    mb_options_free(&run);
    free(read_floats(h5, "sequences/same:1-1", shape));
    free(read_floats(h5, "sequences/same:2-2#4", shape));
    free(m);
}

#else

static void absent_library_says_so(void **state) {
    (void)state;
    mb_h5 *h = NULL;
    assert_false(mb_h5_available());
    assert_int_equal(mb_h5_create(&h, scratch_path("x.h5"), &error), MB_NOTSUP);
    assert_non_null(strstr(error.text, "libhdf5-dev"));
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#if __has_include(<hdf5.h>)
        cmocka_unit_test(writer),
        cmocka_unit_test(nothing_half_written),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(columns),
        cmocka_unit_test(reads_table),
#else
        cmocka_unit_test(absent_library_says_so),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
