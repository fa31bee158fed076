/* The record of a run: valid JSON that holds what made the result, whatever bytes the command line has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "tests/scratch.h"

typedef struct values {
    int64_t window;
    double tol;
    char *out;
    int pool, lower;
} values;

static const mb_option OPTIONS[] = {
    {.key = "window", .type = MB_OPT_INT, .offset = offsetof(values, window), .def = "4096"},
    {.key = "tol", .type = MB_OPT_FLOAT, .offset = offsetof(values, tol), .def = "0.5"},
    {.key = "out", .type = MB_OPT_STRING, .offset = offsetof(values, out)},
    {.key = "pool", .type = MB_OPT_CHOICE, .offset = offsetof(values, pool), .def = "max", .choices = "mean|max"},
    {.key = "lower", .type = MB_OPT_BOOL, .offset = offsetof(values, lower)},
    {0}};

static int nothing(mb_run *run, mb_err *e) {
    (void)run, (void)e;
    return MB_OK;
}

static const mb_verb VERB = {.name = "embed",
                             .summary = "s",
                             .usage = "INPUT...",
                             .options = OPTIONS,
                             .values_size = sizeof(values),
                             .max_args = -1,
                             .run = nothing};
static char *words[] = {"prog", "embed",    "a\xFF.fa", "--window", "7", "--threads",
                        "2",    "--memory", "1G",       "--seed",   "5", NULL};
static mb_run run;

static void parse(void) {
    mb_err e = {0};
    int done;
    run = (mb_run){.program = "prog", .verb = &VERB};
    if (mb_options_parse(&run, 11, words, &done, &e))
        fail_msg("%s", e.text);
}

static json_t *load(const char *path) {
    json_error_t why;
    json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!j)
        fail_msg("%s:%d: %s", path, why.line, why.text);
    return j;
}

static const char *text_of(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));
    if (!s)
        fail_msg("no text %s", key);
    return s;
}

static void the_record_holds_what_made_the_result(void **state) {
    (void)state;
    mb_provenance *p;
    mb_err e = {0};
    struct tm t;
    const char *path = scratch_path("out.npy.run.json");
    setenv("SLURM_JOB_ID", "4711", 1);
    unsetenv("PBS_JOBID");
    parse();
    assert_int_equal(mb_provenance_start(&p, &run, &e), MB_OK);
    assert_int_equal(mb_provenance_file(p, "input", scratch_text("abc.fa", "abc"), &e), MB_OK);
    assert_int_equal(mb_provenance_file(p, "input", "-", &e), MB_OK);
    assert_int_equal(mb_provenance_file(p, "output", "/dev/null", &e), MB_OK);
    assert_int_equal(mb_provenance_note(p, "alphabet", "dna \"\n"), MB_OK);
    assert_int_equal(mb_provenance_note(p, "bytes", "\xC3\xA9 \xFF"), MB_OK);
    assert_int_equal(mb_provenance_number(p, "rows", 123456789012.0), MB_OK);
    assert_int_equal(mb_provenance_number(p, "loss", 0.125), MB_OK);
    assert_int_equal(mb_provenance_number(p, "worst", NAN), MB_OK);
    assert_int_equal(mb_provenance_number(p, "huge", 1e300), MB_OK);
    assert_int_equal(mb_provenance_write(p, path, &e), MB_OK);
    mb_provenance_free(p);
    mb_options_free(&run);
    json_t *j = load(path), *config = json_object_get(j, "config"), *notes = json_object_get(j, "notes");
    assert_string_equal(text_of(j, "program"), "prog");
    assert_string_equal(text_of(j, "command"), "embed");
    assert_string_equal(text_of(j, "version"), mb_version());
    assert_string_equal(text_of(j, "build"), mb_build());
    assert_int_equal(json_array_size(json_object_get(j, "argv")), 11);
    assert_string_equal(json_string_value(json_array_get(json_object_get(j, "argv"), 2)), "a\\xff.fa");
    assert_int_equal(json_integer_value(json_object_get(config, "window")), 7);
    assert_true(json_real_value(json_object_get(config, "tol")) == 0.5);
    assert_true(json_is_null(json_object_get(config, "out")));
    assert_string_equal(text_of(config, "pool"), "max");
    assert_true(json_is_false(json_object_get(config, "lower")));
    assert_int_equal(json_integer_value(json_object_get(config, "seed")), 5);
    assert_string_equal(json_string_value(json_array_get(json_object_get(config, "inputs"), 0)), "a\\xff.fa");
    assert_null(json_object_get(config, "print_config"));
    assert_int_equal(json_integer_value(json_object_get(j, "threads")), 2);
    assert_int_equal(json_integer_value(json_object_get(j, "memory")), 1 << 30);
    assert_string_equal(text_of(json_object_get(j, "job"), "SLURM_JOB_ID"), "4711");
    assert_null(json_object_get(json_object_get(j, "job"), "PBS_JOBID"));
    assert_true(strlen(text_of(json_object_get(j, "machine"), "isa")) > 2);
    assert_true(strlen(text_of(json_object_get(j, "machine"), "cpu")) > 2);
    assert_true(strlen(text_of(json_object_get(j, "libraries"), "matrix_product")) > 2);
    assert_non_null(strptime(text_of(j, "start"), "%Y-%m-%dT%H:%M:%SZ", &t));
    assert_non_null(strptime(text_of(j, "end"), "%Y-%m-%dT%H:%M:%SZ", &t));
    assert_true(json_real_value(json_object_get(j, "wall_seconds")) >= 0);
    assert_true(json_integer_value(json_object_get(j, "peak_memory_bytes")) > 100000);
    assert_string_equal(text_of(notes, "alphabet"), "dna \"\n");
    assert_string_equal(text_of(notes, "bytes"), "\\xc3\\xa9 \\xff");
    assert_true(json_integer_value(json_object_get(notes, "rows")) == 123456789012);
    assert_true(json_real_value(json_object_get(notes, "loss")) == 0.125);
    assert_string_equal(text_of(notes, "worst"), "nan");
    assert_true(json_real_value(json_object_get(notes, "huge")) == 1e300);
    const json_t *files = json_object_get(j, "files"), *input = json_array_get(files, 0);
    assert_int_equal(json_array_size(files), 3);
    assert_string_equal(text_of(input, "role"), "input");
    assert_int_equal(json_integer_value(json_object_get(input, "bytes")), 3);
    assert_string_equal(text_of(input, "sha256"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(text_of(json_array_get(files, 1), "sha256_absent"), "no regular file");
    assert_string_equal(text_of(json_array_get(files, 2), "sha256_absent"), "no regular file");
    json_decref(j);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* A sparse file: 5 GiB by its size, nothing on the disk. */
static void large_files_are_known_by_size_and_time(void **state) {
    (void)state;
    mb_provenance *p;
    mb_err e = {0};
    const char *big = scratch_text("big", ""), *path = scratch_path("big.run.json");
    if (truncate(big, (off_t)5 << 30))
        skip();
    parse();
    assert_int_equal(mb_provenance_start(&p, &run, &e), MB_OK);
    assert_int_equal(mb_provenance_file(p, "model", big, &e), MB_OK);
    assert_int_equal(mb_provenance_write(p, path, &e), MB_OK);
    mb_provenance_free(p);
    mb_options_free(&run);
    json_t *j = load(path), *file = json_array_get(json_object_get(j, "files"), 0);
    assert_true(json_integer_value(json_object_get(file, "bytes")) == (json_int_t)5 << 30);
    assert_null(json_object_get(file, "sha256"));
    assert_non_null(strstr(text_of(file, "sha256_absent"), "4 GiB"));
    json_decref(j);
    unlink(big);
}

static void what_cannot_be_read_or_written_is_told(void **state) {
    (void)state;
    mb_provenance *p;
    mb_err e = {0};
    parse();
    assert_int_equal(mb_provenance_start(&p, &run, &e), MB_OK);
    assert_int_equal(mb_provenance_file(p, "input", scratch_path("absent"), &e), MB_NOTFOUND);
    assert_non_null(strstr(e.text, "absent"));
    mb_err_clear(&e);
    assert_int_equal(mb_provenance_write(p, scratch_path("no folder/x.json"), &e), MB_IO);
    mb_err_clear(&e);
    assert_int_equal(mb_provenance_write(p, "/dev/full", &e), MB_IO);
    mb_provenance_free(p);
    mb_provenance_free(NULL);
    mb_options_free(&run);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static int record(const char *path, mb_err *e) {
    mb_provenance *p;
    int rc = mb_provenance_start(&p, &run, e);
    if (rc)
        return rc;
    rc = mb_provenance_file(p, "input", scratch_path("abc.fa"), e);
    if (rc == MB_OK && (rc = mb_provenance_note(p, "key", "v\xFF")))
        rc = mb_fail(e, rc, "out of memory");
    if (rc == MB_OK && (rc = mb_provenance_number(p, "n", 0.5)))
        rc = mb_fail(e, rc, "out of memory");
    if (rc == MB_OK)
        rc = mb_provenance_write(p, path, e);
    mb_provenance_free(p);
    return rc;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int fired = 1, n = 1;
    char path[1024]; /* scratch_path keeps its answers for a while only */
    snprintf(path, sizeof path, "%s", scratch_path("faults.run.json"));
    scratch_text("abc.fa", "abc");
    parse();
    long blocks = mb_mem_live_blocks();
    for (; fired; n++) {
        mb_err e = {0};
        unlink(path);
        mb_mem_fail_nth(n, 0);
        int rc = record(path, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        if (rc == MB_OK || strstr(e.text, "durable"))
            json_decref(load(path));
        else
            assert_false(mb_file_exists(path));
        assert_int_equal(rc == MB_OK, e.status == MB_OK);
        assert_true(rc == MB_OK || rc == MB_NOMEM || strstr(e.text, "durable"));
        assert_true(fired || rc == MB_OK);
        assert_int_equal(mb_mem_live_blocks(), blocks);
    }
    assert_in_range(n, 100, 2000);
    mb_options_free(&run);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void version_and_build_are_said(void **state) {
    (void)state;
    int a, b, c;
    assert_int_equal(sscanf(mb_version(), "%d.%d.%d", &a, &b, &c), 3);
    assert_non_null(strstr(mb_build(), "commit "));
    assert_true(strstr(mb_build(), "gcc ") || strstr(mb_build(), "clang "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_record_holds_what_made_the_result),
        cmocka_unit_test(large_files_are_known_by_size_and_time),
        cmocka_unit_test(what_cannot_be_read_or_written_is_told),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(version_and_build_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
