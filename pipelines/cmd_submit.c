/* seqmamba submit: a pipeline as jobs of a batch system. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "pipelines/child.h"
#include "pipelines/commands.h"
#include "pipelines/jobs.h"
#include "pipelines/verbs.h"

typedef struct submit_values {
    char *programs;
    int system, whole;
} submit_values;

#define V submit_values
static const mb_option OPTIONS[] = {
    {.key = "system",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, system),
     .def = "file",
     .choices = "file|slurm|pbs|lsf",
     .help = "Whose jobs; file: as \"batch: system:\" of the pipeline says (slurm when it does not)."},
    {.key = "whole",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, whole),
     .def = "false",
     .help = "One job that runs the pipeline, in place of a job for each step."},
    PIPE_PROGRAMS_OPTION(V),
    {0}};
#undef V

static const char DETAILS[] =
    "Writes a batch script for each step that is not up to date, and one that hands them all in, into OUTPUT/jobs/, and "
    "runs the latter: jobs wait for those whose results they need, a step with \"shards\" is an array job and one that "
    "gathers. Names and ids go to standard output and to OUTPUT/jobs/submitted.tsv. --dry-run writes the scripts and "
    "hands in nothing: `bash OUTPUT/jobs/submit.sh` does it then.\n"
    "\n"
    "What jobs ask for is said under \"batch:\" of the pipeline, or of a step:\n"
    "\n"
    "  batch: {system: slurm, partition: short, minutes: 240, cpus: 16, memory: 32G, setup: [\"module load gcc\"],\n"
    "    extra: [\"--constraint=skylake\"], signal: USR2, signal_seconds: 120, requeue: self, max_restarts: 20}\n"
    "\n"
    "A job that comes near its limit or is preempted stops at its next good place (exit code 75) and goes on later. "
    "Slurm: the signal is sent to the step before the limit, and the script requeues the job (requeue: self; exit_code "
    "leaves it to the site's RequeueExit). PBS: the run watches the clock itself, and the script hands in a job that goes "
    "on; what waits for the first one ends with it, so call submit again then. LSF: the job's warning, and requeueing by "
    "exit code. Threads are what the scheduler grants; scratch files go to its temporary folder when TMPDIR does not say.\n"
    "\n"
    "On a cluster with Slurm:\n"
    "\n"
    "  seqmamba submit pipelines/phages.yaml --dry-run\n"
    "  seqmamba submit pipelines/phages.yaml\n"
    "  seqmamba status pipelines/phages.yaml";

static const char *const SUFFIX[] = {"sbatch", "pbs", "lsf"};

static int write_script(const pipeline *p, const char *name, const char *suffix, pipe_text *t, mb_err *e) {
    char *path = mb_asprintf("%s/jobs/%s.%s", p->output, name, suffix);
    int rc = path ? pipe_text_write(t, path, e) : mb_fail(e, MB_NOMEM, "out of memory for a path");
    if (rc == MB_OK && chmod(path, 0755))
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be made a program", path);
    mb_free(path);
    pipe_text_free(t);
    return rc;
}

static int write_scripts(const pipeline *p, const pipe_jobs *j, const pipe_call *c, mb_err *e) {
    pipe_text t = {0};
    char *folder = pipe_output_path(p, "jobs");
    int rc = folder ? pipe_make_folders(folder, e) : mb_fail(e, MB_NOMEM, "out of memory for a path");
    for (int i = 0; rc == MB_OK && i < j->n; i++) {
        pipe_job_script(j, i, c, &t);
        rc = write_script(p, j->job[i].name, SUFFIX[c->system], &t, e);
    }
    if (rc == MB_OK) {
        pipe_submit_script(j, c, &t);
        rc = write_script(p, "submit", "sh", &t, e);
    }
    mb_free(folder);
    return rc;
}

/* Runs submit.sh; what it got to hand in is kept even when it failed then. */
static int hand_in(const pipeline *p, mb_err *e) {
    char *script = pipe_output_path(p, "jobs/submit.sh"), *list = pipe_output_path(p, "jobs/submitted.tsv");
    const char *const argv[] = {"/bin/bash", script, NULL};
    pipe_capture c = {0};
    int rc =
        script && list ? pipe_child_capture(&c, argv, 4 << 20, e) : mb_fail(e, MB_NOMEM, "out of memory for a path");
    if (rc == MB_OK) {
        fputs(c.out, stdout);
        if (c.n_out)
            rc = mb_file_write_all(list, c.out, c.n_out, e);
        if (rc == MB_OK && (!WIFEXITED(c.status) || WEXITSTATUS(c.status) != 0))
            rc = mb_fail(e, MB_FAIL, "%s failed%s: %.1500s", script,
                         c.n_out ? "; jobs that are named above were handed in" : "; nothing was handed in",
                         *c.err ? c.err : "without a word");
        pipe_capture_free(&c);
    }
    mb_free(script);
    mb_free(list);
    return rc;
}

/* will_run: (n), mb_free. */
static int judge_all(const pipe_opened *o, char **will_run, mb_err *e) {
    int rc =
        (*will_run = mb_calloc((size_t)o->p.n + 1, 1)) ? MB_OK : mb_fail(e, MB_NOMEM, "out of memory for the steps");
    for (int k = 0; rc == MB_OK && k < o->p.n; k++) {
        pipe_verdict v;
        rc = pipe_judge(&o->p, o->p.order[k], o->digests, *will_run, &v, e);
        if (rc == MB_OK && v.status == PIPE_CHANGED)
            rc = mb_fail(e, MB_USAGE,
                         "%s was begun and did not end, with other options or inputs: %s. Put that back, or run "
                         "it with --allow-change",
                         o->p.step[o->p.order[k]].name, v.why);
        (*will_run)[o->p.order[k]] = v.status != PIPE_UP_TO_DATE;
    }
    return rc;
}

/* Directives of batch systems know no quoting that all of them share. */
static int check_output(const pipeline *p, mb_err *e) {
    if (strspn(p->output, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./+@=:,") ==
        strlen(p->output))
        return MB_OK;
    return mb_fail(e, MB_USAGE, "output: %s: batch scripts cannot name it; letters, digits and _-./+@=:, can stay",
                   p->output);
}

static int refuse_newlines(const char *text, const char *what, mb_err *e) {
    return strpbrk(text, "\n\r") ? mb_fail(e, MB_USAGE, "%s holds an end of line; a batch script cannot", what) : MB_OK;
}

static int submit(pipe_opened *o, const mb_run *run, mb_err *e) {
    const submit_values *v = run->values;
    char program[PATH_MAX], folder[PATH_MAX], *will_run = NULL;
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    pipe_jobs j = {0};
    int rc =
        n > 0 && getcwd(folder, sizeof folder) ? MB_OK : mb_fail_errno(e, MB_IO, "this program's path is not known");
    if (rc == MB_OK)
        rc = check_output(&o->p, e);
    if (rc == MB_OK)
        rc = refuse_newlines(folder, "the folder's name", e);
    if (rc == MB_OK)
        rc = refuse_newlines(run->args[0], "the pipeline's name", e);
    const pipe_call c = {.program = program,
                         .folder = folder,
                         .path = run->args[0],
                         .output = o->p.output,
                         .programs = v->programs,
                         .sets = run->sets,
                         .n_sets = run->nsets,
                         .system = v->system ? v->system - 1 : o->p.batch.system};
    if (rc == MB_OK)
        rc = judge_all(o, &will_run, e);
    if (rc == MB_OK)
        rc = pipe_jobs_make(&j, &o->p, will_run, v->whole, e);
    if (rc == MB_OK && j.n == 0)
        mb_info("%s: everything is up to date", o->p.name);
    if (rc == MB_OK && j.n)
        rc = write_scripts(&o->p, &j, &c, e);
    if (rc == MB_OK && j.n && run->globals.dry_run)
        printf("%d jobs; their scripts are in %s/jobs, and submit.sh hands them in\n", j.n, o->p.output);
    else if (rc == MB_OK && j.n)
        rc = hand_in(&o->p, e);
    pipe_jobs_free(&j);
    mb_free(will_run);
    return rc;
}

static int run_submit(mb_run *run, mb_err *e) {
    const submit_values *v = run->values;
    pipe_opened o;
    int rc = pipe_verb_open(&o, run, v->programs, e);
    if (rc == MB_OK)
        rc = pipeline_check_inputs(&o.p, e);
    if (rc == MB_OK)
        rc = submit(&o, run, e);
    pipe_verb_close(&o);
    return rc;
}

const mb_verb pipe_submit_verb = {.name = "submit",
                                  .summary = "a pipeline as batch jobs: Slurm, PBS, LSF",
                                  .usage = "PIPELINE.yaml [options]",
                                  .details = DETAILS,
                                  .options = OPTIONS,
                                  .values_size = sizeof(submit_values),
                                  .min_args = 1,
                                  .max_args = 1,
                                  .own_sets = 1,
                                  .run = run_submit};
