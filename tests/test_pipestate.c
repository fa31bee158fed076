/* Pipelines on disk: digests and their cache, what counts as up to date and why not, locks, folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "genomics/commands.h"
#include "pipelines/execute.h"
#include "tests/scratch.h"
#include "tests/tree.h"

/* sha256 of "abc" and of "abcd", from FIPS 180-2 and an independent program */
#define ABC  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABCD "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"

static void age(const char *path, long seconds) { /* as if it had been written then; the inode's own clock is now */
    struct timespec now, t[2];
    clock_gettime(CLOCK_REALTIME, &now);
    t[0] = t[1] = (struct timespec){.tv_sec = now.tv_sec - seconds};
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

/* ---- digests --------------------------------------------------------------------------------------------------------
 */

static pipe_digests *digests(const char *cache) {
    pipe_digests *d;
    mb_err e = {0};
    assert_int_equal(pipe_digests_open(&d, cache, &e), MB_OK);
    return d;
}

static void files_have_their_sha256(void **state) {
    const char *path = scratch_text("abc", "abc"), *cache = scratch_path("cache");
    char hex[65];
    int64_t bytes;
    mb_err e = {0};
    (void)state;
    pipe_digests *d = digests(cache);
    assert_int_equal(pipe_digest_file(d, path, hex, &bytes, &e), MB_OK);
    assert_string_equal(hex, ABC);
    assert_int_equal(bytes, 3);
    scratch_text("abc", "abcd"); /* at once: nothing about it was remembered */
    assert_int_equal(pipe_digest_file(d, path, hex, &bytes, &e), MB_OK);
    assert_string_equal(hex, ABCD);
    assert_int_equal(pipe_digest_file(d, scratch_path("nosuch"), hex, &bytes, &e), MB_NOTFOUND);
    mb_err_clear(&e);
    assert_int_equal(pipe_digest_file(d, scratch_dir(), hex, &bytes, &e), MB_NOTSUP);
    pipe_digests_close(d);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* A lie in the cache is believed as long as the file's marks fit it, and no longer: that shows that it is used. */
static void the_cache_is_used_and_checked(void **state) {
    const char *path = scratch_text("cached", "abc"), *cache = scratch_path("cache2");
    char line[400], hex[65];
    struct stat st;
    int64_t bytes;
    mb_err e = {0};
    (void)state;
    assert_int_equal(stat(path, &st), 0);
    snprintf(line, sizeof line, "no line\n%s %llu %llu %lld %lld %lld\n" ABC " 1 2\nshort", ABCD,
             (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)st.st_size,
             (long long)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
             (long long)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec);
    scratch_text("cache2", line);
    pipe_digests *d = digests(cache);
    assert_int_equal(pipe_digest_file(d, path, hex, &bytes, &e), MB_OK);
    assert_string_equal(hex, ABCD);
    age(path, 100);
    assert_int_equal(pipe_digest_file(d, path, hex, &bytes, &e), MB_OK);
    assert_string_equal(hex, ABC);
    pipe_digests_close(d);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void digest(const char *path, mb_role role, char *hex) {
    mb_err e = {0};
    pipe_digests *d = digests(scratch_path("cache3"));
    const pipe_file f = {.path = path, .role = role};
    assert_int_equal(pipe_digest_input(d, &f, hex, &e), MB_OK);
    pipe_digests_close(d);
}

static void folders_are_what_is_in_them(void **state) {
    char a[65], b[65];
    (void)state;
    tree_text(tree("m/config.json"), "{}");
    tree_text(tree("m/model.safetensors"), "weights");
    const char *m = tree("m");
    digest(m, MB_ROLE_MODEL, a);
    tree_text(tree("m/run.json"), "{\"start\": 1}");
    tree_text(tree("m/metrics.jsonl"), "x");
    digest(m, MB_ROLE_MODEL, b);
    assert_string_equal(a, b); /* records of the run are not the model */
    digest(m, MB_ROLE_INPUT, a);
    assert_string_not_equal(a, b);
    tree_text(tree("m/model.safetensors"), "weightz");
    digest(m, MB_ROLE_MODEL, a);
    assert_string_not_equal(a, b);
    digest(tree("nosuch"), MB_ROLE_MODEL, a);
    assert_string_equal(a, "");
    tree_text(tree("r.npy"), "abc");
    digest(tree("r.npy"), MB_ROLE_INPUT, a);
    assert_string_equal(a, ABC);
    tree_text(tree("r.npy.index.tsv"), "names");
    digest(tree("r.npy"), MB_ROLE_INPUT, b);
    assert_string_not_equal(a, b);
}

static int made(const char *path, mb_role role, const char *names) {
    pipe_pool pool = {0};
    pipe_made *m = NULL;
    int n = 0;
    char have[400] = "";
    mb_err e = {0};
    pipe_digests *d = digests(scratch_path("cache4"));
    const pipe_file f = {.path = path, .role = role, .what = "output"};
    int rc = pipe_digest_output(d, &f, &pool, &m, &n, &e);
    for (int i = 0; rc == MB_OK && i < n; i++)
        snprintf(have + strlen(have), sizeof have - strlen(have), "%s ", strrchr(m[i].path, '/') + 1);
    if (rc == MB_OK)
        assert_string_equal(have, names);
    pipe_pool_free(&pool);
    pipe_digests_close(d);
    return rc;
}

static void outputs_are_found(void **state) {
    (void)state;
    tree_text(tree("o/a.npy"), "1");
    tree_text(tree("o/a.npy.index.tsv"), "2");
    tree_text(tree("o/a.npy.run.json"), "3");
    tree_text(tree("o/a.npy.tmp.host.1"), "4");
    tree_text(tree("o/b.tsv"), "5");
    tree_text(tree("o/b.svg"), "6");
    tree_text(tree("o/bc.svg"), "7");
    assert_int_equal(made(tree("o/a.npy"), MB_ROLE_OUTPUT, "a.npy a.npy.index.tsv "), MB_OK);
    assert_int_equal(made(tree("o/b"), MB_ROLE_OUTPUT_PREFIX, "b.svg b.tsv "), MB_OK);
    assert_int_equal(made(tree("o"), MB_ROLE_OUTPUT_FOLDER, "a.npy a.npy.index.tsv a.npy.run.json b.svg b.tsv bc.svg "),
                     MB_OK);
    assert_int_equal(made(tree("o/none"), MB_ROLE_OUTPUT, ""), MB_NOTFOUND);
    assert_int_equal(made(tree("o/none"), MB_ROLE_OUTPUT_PREFIX, ""), MB_NOTFOUND);
    assert_int_equal(made(tree("p"), MB_ROLE_OUTPUT_FOLDER, ""), MB_NOTFOUND);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* ---- up to date -----------------------------------------------------------------------------------------------------
 */

static char *description;

static int describe(void **state) {
    const mb_verb verbs[] = {dna_embed_verb, dna_nearest_verb, {0}};
    size_t n;
    (void)state;
    FILE *f = open_memstream(&description, &n);
    mb_options_describe("dna-mamba", verbs, f);
    fclose(f);
    return 0;
}

static int forget(void **state) {
    (void)state;
    free(description);
    return 0;
}

/* A pipeline in the scratch folder: rows (in.fa -> a.npy), then near (a.npy -> b.tsv). extra: under "with" of rows. */
static void open_two(pipeline *p, const char *extra) {
    char text[2000];
    mb_err e = {0};
    const pipe_program *program;
    const char *dir = scratch_dir();
    snprintf(text, sizeof text,
             "version: 1\noutput: %s/out\nsteps:\n"
             "  rows: {run: dna-mamba embed, inputs: [%s/in.fa], with: {model: hub/name, output: %s/a.npy%s}}\n"
             "  near: {run: dna-mamba nearest, inputs: [%s/a.npy], with: {index: %s/a.npy, output: %s/b.tsv}}\n",
             dir, dir, dir, extra, dir, dir, dir);
    *p = (pipeline){0};
    assert_int_equal(pipe_program_read(&p->programs, "bin/dna-mamba", description, strlen(description), &program, &e),
                     MB_OK);
    if (pipeline_parse(p, "two.yaml", text, strlen(text), &e) != MB_OK)
        fail_msg("%s", e.text);
}

static pipe_status judge(const pipeline *p, int i, const char *will_run, const char *why) {
    pipe_verdict v;
    mb_err e = {0};
    pipe_digests *d = digests(scratch_path("cache5"));
    assert_int_equal(pipe_judge(p, i, d, will_run, &v, &e), MB_OK);
    pipe_digests_close(d);
    if (why && !strstr(v.why, why))
        fail_msg("\"%s\" is not in \"%s\"", why, v.why);
    return v.status;
}

static void finish(const pipeline *p, int i) {
    mb_err e = {0};
    pipe_basis b;
    pipe_digests *d = digests(scratch_path("cache6"));
    char *folder = pipe_step_path(p, &p->step[i], NULL), *out = pipe_step_path(p, &p->step[i], "stdout");
    const pipe_usage u = {.started = 1, .ended = 2, .host = "here", .job = ""};
    assert_int_equal(pipe_make_folders(folder, &e), MB_OK);
    assert_int_equal(pipe_basis_make(&b, &p->step[i], d, &e), MB_OK);
    assert_int_equal(mb_file_write_all(out, "", 0, &e), MB_OK);
    int rc = pipe_state_finish(p, &p->step[i], &b, d, &u, &e);
    if (rc != MB_OK)
        fail_msg("%s", e.text);
    pipe_basis_free(&b);
    pipe_digests_close(d);
    mb_free(folder);
    mb_free(out);
}

static void begin(const pipeline *p, int i) {
    mb_err e = {0};
    pipe_basis b;
    pipe_digests *d = digests(scratch_path("cache6"));
    char *folder = pipe_step_path(p, &p->step[i], NULL);
    assert_int_equal(pipe_make_folders(folder, &e), MB_OK);
    assert_int_equal(pipe_basis_make(&b, &p->step[i], d, &e), MB_OK);
    assert_int_equal(pipe_state_begin(p, &p->step[i], &b, &e), MB_OK);
    pipe_basis_free(&b);
    pipe_digests_close(d);
    mb_free(folder);
}

static void a_step_is_up_to_date_or_says_why_not(void **state) {
    pipeline p, q;
    (void)state;
    scratch_text("in.fa", ">a\nACGT\n");
    open_two(&p, "");
    assert_int_equal(judge(&p, 0, NULL, "has not run yet"), PIPE_NEW);
    assert_int_equal(judge(&p, 1, NULL, "what rows makes is not there"), PIPE_NEW);
    assert_int_equal(judge(&p, 1, "\1\0", "for rows"), PIPE_WAITS);
    begin(&p, 0);
    assert_int_equal(judge(&p, 0, NULL, "did not end"), PIPE_INTERRUPTED);
    open_two(&q, ", bin: 7");
    assert_int_equal(judge(&q, 0, NULL, "bin was 0, is 7"), PIPE_CHANGED);
    pipeline_free(&q);
    scratch_text("a.npy", "rows");
    finish(&p, 0);
    assert_int_equal(judge(&p, 0, NULL, NULL), PIPE_UP_TO_DATE);
    assert_int_equal(judge(&p, 1, NULL, "has not run yet"), PIPE_NEW);
    open_two(&q, ", threads: 7, bin: 0"); /* what the results do not depend on, and a default written out */
    assert_int_equal(judge(&q, 0, NULL, NULL), PIPE_UP_TO_DATE);
    pipeline_free(&q);
    open_two(&q, ", pool: max");
    assert_int_equal(judge(&q, 0, NULL, "pool was mean, is max"), PIPE_STALE);
    pipeline_free(&q);
    scratch_text("a.npy", "other");
    assert_int_equal(judge(&p, 0, NULL, "a.npy is not as it was made"), PIPE_STALE);
    unlink(scratch_path("a.npy"));
    assert_int_equal(judge(&p, 0, NULL, "a.npy is not there any more"), PIPE_STALE);
    scratch_text("a.npy", "rows"); /* the same bytes are the same */
    assert_int_equal(judge(&p, 0, NULL, NULL), PIPE_UP_TO_DATE);
    scratch_text("in.fa", ">a\nACGA\n");
    assert_int_equal(judge(&p, 0, NULL, "in.fa changed"), PIPE_STALE);
    scratch_text("in.fa", ">a\nACGT\n");
    begin(&p, 0); /* no record of results while it runs */
    assert_int_equal(judge(&p, 0, NULL, "did not end"), PIPE_INTERRUPTED);
    finish(&p, 0);
    char *record = pipe_step_path(&p, &p.step[0], "done.json");
    struct stat st;
    assert_int_equal(stat(record, &st), 0);
    assert_int_equal(truncate(record, st.st_size / 2), 0);
    assert_int_equal(judge(&p, 0, NULL, "cannot be read"), PIPE_NEW);
    mb_free(record);
    pipeline_free(&p);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void records_survive_lack_of_memory(void **state) {
    pipeline p;
    (void)state;
    scratch_text("in.fa", ">a\nACGT\n");
    scratch_text("a.npy", "rows");
    open_two(&p, "");
    begin(&p, 0);
    finish(&p, 0);
    const long before = mb_mem_live_blocks();
    int fired = 1;
    for (long n = 1; fired; n++) {
        pipe_verdict v;
        mb_err e = {0};
        pipe_digests *d = NULL;
        mb_mem_fail_nth(n, 0);
        int rc = pipe_digests_open(&d, scratch_path("cache5"), &e);
        if (rc == MB_OK)
            rc = pipe_judge(&p, 0, d, NULL, &v, &e);
        fired = mb_mem_fault_fired();
        pipe_digests_close(d);
        mb_mem_fail_nth(0, 0);
        if (rc == MB_OK)
            assert_int_equal(v.status, PIPE_UP_TO_DATE);
        else
            assert_int_equal(rc, MB_NOMEM);
        assert_true(fired || rc == MB_OK);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
    pipeline_free(&p);
}

/* ---- locks ----------------------------------------------------------------------------------------------------------
 */

static int take(pipe_lock *l, const char *path, pipe_lock_how how, const char *part) {
    mb_err e = {0};
    int rc = pipe_lock_take(l, path, how, &e);
    if (part && !strstr(e.text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, e.text);
    return rc;
}

static void two_runs_refuse_each_other(void **state) {
    const char *path = scratch_path("lock");
    pipe_lock a, b;
    char words[400], own[64];
    (void)state;
    snprintf(own, sizeof own, "process %ld on %s", (long)getpid(), pipe_host());
    assert_int_equal(take(&a, path, PIPE_LOCK_ALONE, NULL), MB_OK);
    assert_int_equal(take(&b, path, PIPE_LOCK_ALONE, own), MB_FAIL);
    assert_int_equal(b.fd, -1);
    assert_int_equal(take(&b, path, PIPE_LOCK_SHARED, own), MB_FAIL);
    assert_int_equal(take(&b, path, PIPE_LOCK_FORCE, own), MB_FAIL); /* the kernel knows that it is alive */
    pipe_lock_owner(path, words);
    assert_non_null(strstr(words, own));
    pipe_lock_release(&a);
    pipe_lock_owner(path, words);
    assert_string_equal(words, "");
    assert_int_equal(take(&a, path, PIPE_LOCK_SHARED, NULL), MB_OK);
    assert_int_equal(take(&b, path, PIPE_LOCK_SHARED, NULL), MB_OK);
    pipe_lock c;
    assert_int_equal(take(&c, path, PIPE_LOCK_ALONE, "another run is at work here"), MB_FAIL);
    pipe_lock_release(&a);
    pipe_lock_release(&b);
    assert_int_equal(take(&c, path, PIPE_LOCK_ALONE, NULL), MB_OK);
    pipe_lock_release(&c);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void stale_locks_are_taken_over(void **state) {
    const char *path = scratch_text("lock2", "elsewhere\t77\tslurm job 5\t2026-01-01T00:00:00Z\n");
    pipe_lock l;
    (void)state;
    assert_int_equal(take(&l, path, PIPE_LOCK_ALONE, "process 77 on elsewhere (slurm job 5)"), MB_FAIL);
    assert_int_equal(take(&l, path, PIPE_LOCK_FORCE, NULL), MB_OK);
    pipe_lock_release(&l);
    scratch_text("lock2", "elsewhere\t77\tslurm job 5\t2026-01-01T00:00:00Z\n");
    age(path, 400); /* no sign of life */
    assert_int_equal(take(&l, path, PIPE_LOCK_ALONE, NULL), MB_OK);
    pipe_lock_release(&l);
    scratch_text("lock2", "elsewhere\t77\tslurm job 5\t2026-01-01T00:00:00Z\n");
    setenv("SLURM_JOB_ID", "5", 1); /* the same job, requeued on this host */
    assert_int_equal(take(&l, path, PIPE_LOCK_ALONE, NULL), MB_OK);
    pipe_lock_release(&l);
    unsetenv("SLURM_JOB_ID");
    scratch_text("lock2",
                 "elsewhere\t77\t\t2026"); /* cut short by a full disk: still somebody's, and dead by its age */
    age(path, 400);
    assert_int_equal(take(&l, path, PIPE_LOCK_ALONE, NULL), MB_OK);
    pipe_lock_release(&l);
    scratch_text("lock2", "\xff\t\t\t\t\t");
    assert_int_equal(take(&l, path, PIPE_LOCK_ALONE, NULL), MB_OK);
    pipe_lock_release(&l);
}

/* The owner is killed; its child, which inherited the lock, ends half a second later: the next run waits for it. */
static void orphans_are_waited_for(void **state) {
    const char *path = scratch_path("lock3");
    int ready[2];
    char byte;
    pipe_lock l;
    (void)state;
    assert_int_equal(pipe(ready), 0);
    const pid_t owner = fork();
    if (owner == 0) {
        mb_err e = {0};
        if (pipe_lock_take(&l, path, PIPE_LOCK_ALONE, &e) != MB_OK)
            _exit(1);
        if (fork() == 0) {
            usleep(500000);
            _exit(0);
        }
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(owner, SIGKILL);
    assert_int_equal(waitpid(owner, NULL, 0), owner);
    const double start = mb_clock_seconds();
    assert_int_equal(take(&l, path, PIPE_LOCK_ALONE, NULL), MB_OK);
    assert_true(mb_clock_seconds() - start > 0.1);
    pipe_lock_release(&l);
    close(ready[0]);
    close(ready[1]);
}

static void jobs_have_names(void **state) {
    (void)state;
    assert_string_equal(pipe_job_words(), "");
    setenv("SLURM_JOB_ID", "12", 1);
    assert_string_equal(pipe_job_words(), "slurm job 12");
    setenv("SLURM_ARRAY_JOB_ID", "10", 1);
    setenv("SLURM_ARRAY_TASK_ID", "2", 1);
    assert_string_equal(pipe_job_words(), "slurm job 10_2");
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_ARRAY_JOB_ID");
    unsetenv("SLURM_ARRAY_TASK_ID");
    setenv("PBS_JOBID", "7.server", 1);
    assert_string_equal(pipe_job_words(), "pbs job 7.server");
    unsetenv("PBS_JOBID");
}

static void folders_are_made(void **state) {
    mb_err e = {0};
    (void)state;
    assert_int_equal(pipe_make_folders(tree("new/a/b/"), &e), MB_OK);
    assert_true(mb_dir_exists(tree("new/a/b")));
    assert_int_equal(pipe_make_folders(tree("new/a/b"), &e), MB_OK);
    tree_text(tree("new/file"), "x");
    assert_int_equal(pipe_make_folders(tree("new/file"), &e), MB_IO);
    mb_err_clear(&e);
    assert_int_equal(pipe_make_folders("/proc/nothing/here", &e), MB_IO);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_have_their_sha256),
                                       cmocka_unit_test(the_cache_is_used_and_checked),
                                       cmocka_unit_test(folders_are_what_is_in_them),
                                       cmocka_unit_test(outputs_are_found),
                                       cmocka_unit_test(a_step_is_up_to_date_or_says_why_not),
                                       cmocka_unit_test(records_survive_lack_of_memory),
                                       cmocka_unit_test(two_runs_refuse_each_other),
                                       cmocka_unit_test(stale_locks_are_taken_over),
                                       cmocka_unit_test(orphans_are_waited_for),
                                       cmocka_unit_test(jobs_have_names),
                                       cmocka_unit_test(folders_are_made)};
    mb_log_set_level(MB_LOG_QUIET);
    return cmocka_run_group_tests(tests, describe, forget);
}
