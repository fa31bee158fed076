/* Parts put together: arrays with their index, tables, places, VCF; what is no part, or no whole set of parts; steps in
 * shards and which of them a job does; jobs and their order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/npy.h"
#include "genomics/commands.h"
#include "pipelines/commands.h"
#include "pipelines/gather.h"
#include "pipelines/jobs.h"
#include "pipelines/shards.h"
#include "tests/scratch.h"

/* Gathers parts named a0.END, a1.END, ... into a.END. */
static int gather(const char *end, int n, mb_err *e) {
    char *part[8], name[32];
    mb_out *out[2];
    int64_t rows;
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "a%d.%s", i, end);
        part[i] = (char *)(uintptr_t)scratch_path(name);
    }
    snprintf(name, sizeof name, "a.%s", end);
    const char *output = scratch_path(name);
    int rc = pipe_gather(part, n, output, out, &rows, e);
    mb_out_abort(out[0]);
    mb_out_abort(out[1]);
    return rc;
}

static void parts(const char *end, const char *const *text, int n) {
    char name[32];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "a%d.%s", i, end);
        scratch_text(name, text[i]);
    }
}

/* The whole as text; commits by hand, without a record. */
static void whole(const char *end, int n, const char *text) {
    char *part[8], name[32], *have;
    mb_out *out[2];
    mb_err e = {0};
    int64_t rows;
    size_t size;
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "a%d.%s", i, end);
        part[i] = (char *)(uintptr_t)scratch_path(name);
    }
    snprintf(name, sizeof name, "a.%s", end);
    if (pipe_gather(part, n, scratch_path(name), out, &rows, &e) != MB_OK)
        fail_msg("%s", e.text);
    assert_int_equal(mb_out_commit(out[1], &e), MB_OK);
    mb_out_abort(out[0]);
    have = scratch_read(scratch_path(name), &size);
    assert_string_equal(have, text);
    free(have);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void refused(const char *end, const char *const *text, int n, int status, const char *words) {
    mb_err e = {0};
    char name[32];
    parts(end, text, n);
    snprintf(name, sizeof name, "a.%s", end);
    unlink(scratch_path(name));
    assert_int_equal(gather(end, n, &e), status);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" is not in: %s", words, e.text);
    assert_null(scratch_read(scratch_path(name), NULL));
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void tables_have_one_head(void **state) {
    (void)state;
    parts("tsv", (const char *[]){"x\ty\n1\t2\n", "x\ty\n", "x\ty\n3\t4\n5\t6\n"}, 3);
    whole("tsv", 3, "x\ty\n1\t2\n3\t4\n5\t6\n");
    parts("tsv", (const char *[]){"", "x\ty\n1\t2\n"}, 2); /* a part without a line is no error */
    whole("tsv", 2, "x\ty\n1\t2\n");
    refused("tsv", (const char *[]){"x\ty\n", "x\tz\n"}, 2, MB_FORMAT, "other titles");
    refused("tsv", (const char *[]){"x\ty\n1\t2", "x\ty\n"}, 2, MB_FORMAT, "cut short");
}

static void places_and_variants_keep_heads(void **state) {
    (void)state;
    parts("bedgraph", (const char *[]){"track x\nc\t0\t1\t2\n", "track x\nc\t1\t2\t3\ntracks\n", "c\t2\t3\t4\n"}, 3);
    whole("bedgraph", 3, "track x\nc\t0\t1\t2\nc\t1\t2\t3\ntracks\nc\t2\t3\t4\n");
    parts("vcf", (const char *[]){"##a\n#CHROM\nc\t1\n", "##a\n#CHROM\n", "##a\n#CHROM\nd\t2\n"}, 3);
    whole("vcf", 3, "##a\n#CHROM\nc\t1\nd\t2\n");
    refused("vcf", (const char *[]){"##a\n#CHROM\n", "##b\n#CHROM\n"}, 2, MB_FORMAT, "other titles");
    refused("h5", (const char *[]){"x", "y"}, 2, MB_NOTSUP, "not yet of .h5");
}

static void write_rows(const char *name, int64_t rows, int64_t columns, float from) {
    mb_npy *n;
    mb_err e = {0};
    const int64_t shape[2] = {rows, columns};
    assert_int_equal(mb_npy_create(&n, scratch_path(name), MB_F32, 2, shape, &e), MB_OK);
    for (int64_t i = 0; i < rows * columns; i++) {
        const float v = from + (float)i;
        assert_int_equal(mb_npy_put(n, i, &v, 1, &e), MB_OK);
    }
    assert_int_equal(mb_npy_commit(n, rows, &e), MB_OK);
}

static void arrays_are_laid_end_to_end(void **state) {
    char *part[3], *have, *want;
    mb_out *out[2];
    mb_err e = {0};
    int64_t rows;
    size_t n, m;
    (void)state;
    write_rows("all.npy", 12, 3, 0);
    write_rows("a0.npy", 9, 3, 0);
    write_rows("a1.npy", 0, 3, 0);
    write_rows("a2.npy", 3, 3, 27);
    scratch_text("a0.npy.index.tsv", "row_start\trow_end\tname\n0\t4\tx\n4\t9\ty\n");
    scratch_text("a1.npy.index.tsv", "");
    scratch_text("a2.npy.index.tsv", "row_start\trow_end\tname\n0\t3\tz\n");
    for (int i = 0; i < 3; i++)
        part[i] = (char *)(uintptr_t)scratch_path(i == 0 ? "a0.npy" : i == 1 ? "a1.npy" : "a2.npy");
    assert_int_equal(pipe_gather(part, 3, scratch_path("a.npy"), out, &rows, &e), MB_OK);
    assert_int_equal(rows, 12);
    assert_int_equal(mb_out_commit(out[0], &e), MB_OK);
    assert_int_equal(mb_out_commit(out[1], &e), MB_OK);
    have = scratch_read(scratch_path("a.npy"), &n);
    want = scratch_read(scratch_path("all.npy"), &m); /* as one run writes it: header too */
    assert_int_equal(n, m);
    assert_memory_equal(have, want, n);
    free(have);
    free(want);
    have = scratch_read(scratch_path("a.npy.index.tsv"), &n);
    assert_string_equal(have, "row_start\trow_end\tname\n0\t4\tx\n4\t9\ty\n9\t12\tz\n");
    free(have);
    /* Every allocation fails once; nothing stays. */
    int fired = 1;
    for (long k = 1; fired; k++) {
        mb_err why = {0};
        mb_mem_fail_nth(k, 0);
        int rc = pipe_gather(part, 3, scratch_path("a.npy"), out, &rows, &why);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        mb_out_abort(out[0]);
        mb_out_abort(out[1]);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
}

static void wrong_arrays_are_refused(void **state) {
    mb_err e = {0};
    (void)state;
    write_rows("a0.npy", 2, 3, 0);
    write_rows("a1.npy", 2, 4, 0);
    unlink(scratch_path("a0.npy.index.tsv"));
    unlink(scratch_path("a1.npy.index.tsv"));
    assert_int_equal(gather("npy", 2, &e), MB_FORMAT);
    assert_non_null(strstr(e.text, "another type or shape"));
    write_rows("a1.npy", 2, 3, 0);
    scratch_text("a1.npy.index.tsv", "row_start\trow_end\tname\n0\t2\tx\n");
    mb_err_clear(&e);
    assert_int_equal(gather("npy", 2, &e), MB_NOTFOUND);
    assert_non_null(strstr(e.text, "1 of 2 parts have"));
    scratch_text("a0.npy.index.tsv", "row_start\trow_end\tname\n0\t1\tx\n");
    mb_err_clear(&e);
    assert_int_equal(gather("npy", 2, &e), MB_FORMAT);
    assert_non_null(strstr(e.text, "ends at row 1, but the array has 2"));
    scratch_text("a0.npy.index.tsv", "row_start\trow_end\tname\n1\t2\tx\n");
    mb_err_clear(&e);
    assert_int_equal(gather("npy", 2, &e), MB_FORMAT);
    assert_non_null(strstr(e.text, "a0.npy.index.tsv:2: no line of an index"));
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void parts_say_which_they_are(void **state) {
    char *part[2] = {(char *)(uintptr_t)scratch_path("a0.tsv"), (char *)(uintptr_t)scratch_path("a1.tsv")};
    char *turned[2] = {part[1], part[0]};
    int unsaid;
    mb_err e = {0};
    (void)state;
    parts("tsv", (const char *[]){"x\n", "x\n"}, 2);
    assert_int_equal(pipe_gather_check(part, 2, &unsaid, &e), MB_OK);
    assert_int_equal(unsaid, 2);
    scratch_text("a0.tsv.run.json", "{\"config\": {\"shard\": \"0/2\"}}");
    scratch_text("a1.tsv.run.json", "{\"config\": {\"shard\": \"1/2\"}}");
    assert_int_equal(pipe_gather_check(part, 2, &unsaid, &e), MB_OK);
    assert_int_equal(unsaid, 0);
    assert_int_equal(pipe_gather_check(turned, 2, &unsaid, &e), MB_FORMAT);
    assert_non_null(strstr(e.text, "is part 1/2, and part 0/2 is expected here"));
    mb_err_clear(&e);
    assert_int_equal(pipe_gather_check(part, 1, &unsaid, &e), MB_FORMAT);
    scratch_text("a1.tsv.run.json", "{\"config\": {\"shard\": null}}");
    mb_err_clear(&e);
    assert_int_equal(pipe_gather_check(part, 2, &unsaid, &e), MB_FORMAT);
    scratch_text("a1.tsv.run.json", "{\"config");
    mb_err_clear(&e);
    assert_int_equal(pipe_gather_check(part, 2, &unsaid, &e), MB_FORMAT);
    unlink(part[1]);
    mb_err_clear(&e);
    assert_int_equal(pipe_gather_check(part, 2, &unsaid, &e), MB_NOTFOUND);
    assert_non_null(strstr(e.text, "part 1 of 2 is missing"));
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* ---- which part -----------------------------------------------------------------------------------------------------
 */

static void shard(const char *text, int status, int k, int of) {
    int have_k = -1, have_of = -1;
    mb_err e = {0};
    const int rc = pipe_shard_parse(text, &have_k, &have_of, &e);
    if (rc != status || (rc == MB_OK && (have_k != k || have_of != of)))
        fail_msg("%s: %d, %d of %d: %s", text, rc, have_k, have_of, e.text);
}

static void tasks_know_their_parts(void **state) {
    (void)state;
    shard("3", MB_OK, 3, 0);
    shard("3/8", MB_OK, 3, 8);
    static const char *const WRONG[] = {"",    "x",    "-1",  "3/",    "3/0",
                                        "8/8", "3/8x", "1.5", "auto8", "99999999999999999999"};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        shard(WRONG[i], MB_USAGE, 0, 0);
    shard("auto", MB_USAGE, 0, 0);
    setenv("LSB_JOBINDEX", "0", 1); /* LSF's "no array" */
    setenv("SGE_TASK_ID", "undefined", 1);
    shard("auto", MB_USAGE, 0, 0);
    setenv("SLURM_ARRAY_TASK_ID", "5", 1);
    shard("auto", MB_OK, 5, 0);
    shard("auto/8", MB_OK, 5, 8);
    shard("auto/5", MB_USAGE, 0, 0);
    setenv("LSB_JOBINDEX", "6", 1); /* counts from 1: the same task */
    shard("auto", MB_OK, 5, 0);
    setenv("LSB_JOBINDEX", "5", 1);
    shard("auto", MB_USAGE, 0, 0);
    unsetenv("SLURM_ARRAY_TASK_ID");
    shard("auto", MB_OK, 4, 0);
    unsetenv("LSB_JOBINDEX");
    unsetenv("SGE_TASK_ID");
    setenv("PBS_ARRAY_INDEX", "7", 1);
    shard("auto", MB_OK, 7, 0);
    unsetenv("PBS_ARRAY_INDEX");
}

/* ---- steps and jobs -------------------------------------------------------------------------------------------------
 */

static void open_pipeline(pipeline *p, const char *steps, int status, const char *words) {
    const mb_verb genomic[] = {dna_embed_verb, dna_score_verb, dna_train_verb, dna_nearest_verb, dna_track_verb, {0}};
    const mb_verb house[] = {pipe_gather_verb, {0}};
    char *text[2], file[4000];
    size_t n[2];
    mb_err e = {0};
    const pipe_program *program;
    for (int i = 0; i < 2; i++) {
        FILE *f = open_memstream(&text[i], &n[i]);
        mb_options_describe(i ? "seqmamba" : "dna-mamba", i ? house : genomic, f);
        fclose(f);
    }
    *p = (pipeline){0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            pipe_program_read(&p->programs, i ? "bin/seqmamba" : "bin/dna-mamba", text[i], n[i], &program, &e), MB_OK);
        free(text[i]);
    }
    snprintf(file, sizeof file, "version: 1\noutput: out\nbatch: {cpus: 2}\nsteps:\n%s", steps);
    const int rc = pipeline_parse(p, "s.yaml", file, strlen(file), &e);
    if (rc != status || (words && !strstr(e.text, words)))
        fail_msg("%d, not %d with \"%s\": %s", rc, status, words ? words : "", e.text);
}

static const char STEPS[] =
    "  rows: {run: dna-mamba embed, inputs: [a.fa], shards: 3, with: {model: m, output: out/rows.npy}}\n"
    "  near: {run: dna-mamba nearest, inputs: [out/rows.npy], with: {index: \"${steps.rows}\", output: n.tsv}}\n"
    "  score: {run: dna-mamba score, inputs: [a.fa], shards: 2, with: {model: m, output: s.tsv, per_base: b.bedgraph}}\n"
    "  more: {run: dna-mamba embed, inputs: [b.bedgraph], with: {model: m, output: x.npy}, batch: {cpus: 7}}\n";

static int index_of(const pipeline *p, const char *name) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->step[i].name, name) == 0)
            return i;
    fail_msg("no step %s", name);
    return -1;
}

static void steps_are_split_and_gathered(void **state) {
    pipeline p;
    (void)state;
    open_pipeline(&p, STEPS, MB_OK, NULL);
    assert_int_equal(p.n, 4 + 3 + 2 + 1);
    const pipe_step *part = &p.step[index_of(&p, "rows-1-of-3")], *rows = &p.step[index_of(&p, "rows")];
    assert_string_equal(pipe_step_value(part, "shard"), "1/3");
    assert_string_equal(pipe_step_value(part, "output"), "out/parts/rows/1-of-3/rows.npy");
    assert_string_equal(part->verb->name, "embed");
    assert_string_equal(rows->verb->name, "gather");
    assert_int_equal(rows->n_args, 3);
    assert_int_equal(rows->n_needs, 3);
    assert_string_equal(rows->input[2].path, "out/parts/rows/2-of-3/rows.npy");
    assert_string_equal(pipe_step_value(rows, "output"), "out/rows.npy");
    const pipe_step *near = &p.step[index_of(&p, "near")];
    assert_int_equal(near->n_needs, 1);
    assert_int_equal(near->need[0], index_of(&p, "rows"));
    const pipe_step *more = &p.step[index_of(&p, "more")];
    assert_int_equal(more->need[0], index_of(&p, "score-per_base"));
    assert_true(pipe_step_is(part, "rows") && pipe_step_is(part, "rows-1-of-3") && !pipe_step_is(part, "near"));
    pipeline_free(&p);
    open_pipeline(&p, "  a: {run: dna-mamba nearest, inputs: [i], shards: 2, with: {index: i, output: o.tsv}}\n",
                  MB_USAGE, "nearest does not work in parts");
    pipeline_free(&p);
    open_pipeline(&p, "  a: {run: dna-mamba embed, inputs: [i], shards: 2, with: {model: m, output: o.h5}}\n", MB_USAGE,
                  "parts of o.h5 cannot be put together");
    pipeline_free(&p);
    open_pipeline(&p, "  a: {run: dna-mamba score, inputs: [i], shards: 2, with: {model: m}}\n", MB_USAGE,
                  "no output that could be put together");
    pipeline_free(&p);
    open_pipeline(&p, "  a: {run: dna-mamba score, inputs: [i], shards: 0, with: {model: m, output: o.tsv}}\n",
                  MB_USAGE, "0 is out of range; it must be 1 to 4096");
    pipeline_free(&p);
    open_pipeline(&p,
                  "  a: {run: dna-mamba score, inputs: [i], shards: 2, with: {model: m, output: o.tsv, shard: 0/2}}\n",
                  MB_USAGE, "\"shards\" of the step gives it");
    pipeline_free(&p);
    open_pipeline(&p, "  a: {run: dna-mamba score, inputs: [i], shards: 1, with: {model: m, output: o.tsv}}\n", MB_OK,
                  NULL);
    assert_int_equal(p.n, 1);
    pipeline_free(&p);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static int job_named(const pipe_jobs *j, const char *name) {
    for (int i = 0; i < j->n; i++)
        if (strcmp(j->job[i].name, name) == 0)
            return i;
    return -1;
}

static void jobs_are_what_is_needed(void **state) {
    pipeline p;
    pipe_jobs j;
    char will_run[16];
    mb_err e = {0};
    (void)state;
    open_pipeline(&p, STEPS, MB_OK, NULL);
    memset(will_run, 1, sizeof will_run);
    assert_int_equal(pipe_jobs_make(&j, &p, will_run, 0, &e), MB_OK);
    assert_int_equal(j.n, 6); /* rows-parts, rows, near, score-parts, score (both gathers), more */
    const pipe_job *parts_job = &j.job[job_named(&j, "rows-parts")];
    assert_int_equal(parts_job->tasks, 3);
    assert_string_equal(parts_job->list, "0-2");
    assert_int_equal(parts_job->n_needs, 0);
    assert_int_equal(j.job[job_named(&j, "near")].need[0], job_named(&j, "rows"));
    assert_int_equal(j.job[job_named(&j, "rows")].need[0], job_named(&j, "rows-parts"));
    assert_int_equal(j.job[job_named(&j, "more")].batch->cpus, 7);
    assert_int_equal(parts_job->batch->cpus, 2);
    for (int i = 0; i < j.n; i++)
        for (int k = 0; k < j.job[i].n_needs; k++)
            assert_true(j.job[i].need[k] < i);
    pipe_jobs_free(&j);
    memset(will_run, 0, sizeof will_run);
    will_run[index_of(&p, "rows-0-of-3")] = will_run[index_of(&p, "rows-2-of-3")] = will_run[index_of(&p, "rows")] = 1;
    assert_int_equal(pipe_jobs_make(&j, &p, will_run, 0, &e), MB_OK);
    assert_int_equal(j.n, 2);
    assert_string_equal(j.job[0].list, "0,2");
    pipe_jobs_free(&j);
    int fired = 1;
    for (long n = 1; fired; n++) {
        mb_err why = {0};
        pipe_text t = {0};
        const mb_set set = {"a=b c", 3};
        const pipe_call c = {
            .program = "/bin/s", .folder = "/f", .path = "p.yaml", .output = "out", .sets = &set, .n_sets = 1};
        mb_mem_fail_nth(n, 0);
        int rc = pipe_jobs_make(&j, &p, will_run, 0, &why);
        if (rc == MB_OK) {
            pipe_job_script(&j, 0, &c, &t);
            pipe_submit_script(&j, &c, &t);
            rc = pipe_text_end(&t, &why);
        }
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        if (rc == MB_OK)
            assert_non_null(strstr(t.data, "--only rows --shard auto --set 'a=b c' || code=$?\n"));
        pipe_text_free(&t);
        pipe_jobs_free(&j);
    }
    memset(will_run, 0, sizeof will_run);
    assert_int_equal(pipe_jobs_make(&j, &p, will_run, 0, &e), MB_OK);
    assert_int_equal(j.n, 0);
    pipeline_free(&p);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void words_of_the_shell(void **state) {
    static const char *const PAIR[][2] = {
        {"plain/a-b.c", "plain/a-b.c"}, {"", "''"},   {"a b", "'a b'"}, {"it's", "'it'\\''s'"},
        {"$(rm)", "'$(rm)'"},           {"*", "'*'"}, {"a;b", "'a;b'"}};
    (void)state;
    for (size_t i = 0; i < sizeof PAIR / sizeof *PAIR; i++) {
        pipe_text t = {0};
        pipe_text_shell(&t, PAIR[i][0]);
        assert_string_equal(t.data, PAIR[i][1]);
        pipe_text_free(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tables_have_one_head),
                                       cmocka_unit_test(places_and_variants_keep_heads),
                                       cmocka_unit_test(arrays_are_laid_end_to_end),
                                       cmocka_unit_test(wrong_arrays_are_refused),
                                       cmocka_unit_test(parts_say_which_they_are),
                                       cmocka_unit_test(tasks_know_their_parts),
                                       cmocka_unit_test(steps_are_split_and_gathered),
                                       cmocka_unit_test(jobs_are_what_is_needed),
                                       cmocka_unit_test(words_of_the_shell)};
    mb_log_set_level(MB_LOG_QUIET);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
