/* seqmamba run: does what is not up to date. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "pipelines/commands.h"
#include "pipelines/shards.h"
#include "pipelines/verbs.h"

typedef struct run_values {
    char *programs, *only, *shard, *force;
    int64_t parallel;
    double max_minutes;
    int keep_going, allow_change, unlock;
} run_values;

#define V run_values
static const mb_option OPTIONS[] = {
    {.key = "only",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, only),
     .meta = "STEP",
     .help = "Only this step, or all that a matrix makes of it. What it needs must be up to date; other steps of the "
             "pipeline may run elsewhere at the same time."},
    {.key = "shard",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, shard),
     .meta = "K[/N]|auto[/N]",
     .help =
         "Of the step that --only names, only part K (from 0) of its shards; with /N parts K, K+N, K+2N, ... auto: K "
         "is the task of the array job that this runs in."},
    {.key = "force",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, force),
     .meta = "STEP|all",
     .help = "Run it though it is up to date."},
    {.key = "keep_going",
     .letter = 'k',
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, keep_going),
     .def = "false",
     .help = "When a step fails, go on with those that do not depend on it. (In the file: run: keep_going.)"},
    {.key = "parallel",
     .letter = 'p',
     .type = MB_OPT_INT,
     .offset = offsetof(V, parallel),
     .def = "0",
     .max = 1024,
     .meta = "N",
     .help = "Steps that may run side by side; they share the threads. 0: as the file says, or 1."},
    {.key = "max_minutes",
     .type = MB_OPT_FLOAT,
     .offset = offsetof(V, max_minutes),
     .def = "0",
     .max = 1e9,
     .meta = "M",
     .help = "Ask the steps at work to stop after so long, and end with exit code 75. 0: as the file says, or never."},
    {.key = "allow_change",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, allow_change),
     .def = "false",
     .help = "Go on with a step that was begun with other options or inputs."},
    {.key = "unlock",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, unlock),
     .def = "false",
     .help = "Take over the lock of a run on another host that is known to be dead."},
    PIPE_PROGRAMS_OPTION(V),
    {0}};
#undef V

static const char DETAILS[] =
    "Runs the steps of a pipeline that are not up to date (see `seqmamba plan`), each as a process of its own program, "
    "in the order their files ask for. Paths are as seen from the folder where this is called.\n"
    "\n"
    "Of each step, OUTPUT/steps/STEP/ keeps config.yaml (what its program read: PROGRAM VERB --config runs it by hand), "
    "log, stdout, events.jsonl and, when it ended well, done.json with the digests of all it read and made. "
    "OUTPUT/pipeline.yaml is the pipeline as it was run, with everything written out.\n"
    "\n"
    "A run that was stopped - SIGTERM, SIGINT, SIGUSR2 and the other signals of batch systems, --max-minutes, kill -9, a "
    "power cut - goes on with the same command and comes to the same bytes: steps at work are asked to stop, save where "
    "they can, and this ends with exit code 75. A step that was begun with other options or inputs is not gone on with "
    "unless --allow-change says so. Two runs in one folder refuse each other. When a step fails, the end of its log is "
    "shown and its exit code is this command's; --keep-going goes on with what does not depend on it.\n"
    "\n" PIPE_SET_DETAILS "\n"
    "\n"
    "  seqmamba run pipelines/phages.yaml\n"
    "  seqmamba run pipelines/phages.yaml --only genes --force genes\n"
    "  seqmamba run pipelines/phages.yaml --max-minutes 230 --keep-going";

/* The pipeline as it is run, beside its results. */
static int write_resolved(const pipeline *p, mb_err *e) {
    pipe_text t = {0};
    char *path = pipe_output_path(p, "pipeline.yaml");
    pipeline_resolved(p, &t);
    int rc = path ? pipe_text_write(&t, path, e) : mb_fail(e, MB_NOMEM, "out of memory for a path");
    pipe_text_free(&t);
    mb_free(path);
    return rc;
}

/* A whole run has the folder for itself; --only shares it with others of its kind, and each step then has a lock. */
static int take_lock(pipe_lock *l, const pipeline *p, const run_values *v, mb_err *e) {
    char *path = pipe_output_path(p, "lock");
    const pipe_lock_how alone = v->unlock ? PIPE_LOCK_FORCE : PIPE_LOCK_ALONE;
    int rc = path ? pipe_lock_take(l, path, v->only ? PIPE_LOCK_SHARED : alone, e)
                  : mb_fail(e, MB_NOMEM, "out of memory for a path");
    mb_free(path);
    return rc;
}

static int check_only(const pipeline *p, const char *only, mb_err *e) {
    const char *name[512];
    int n = 0;
    for (int i = 0; only && i < p->n; i++) {
        if (pipe_step_is(&p->step[i], only))
            return MB_OK;
        if (n < 511) {
            name[n++] = p->step[i].given;
            name[n++] = p->step[i].name;
        }
    }
    if (!only)
        return MB_OK;
    const char *near = mb_suggest(only, name, n);
    return mb_fail(e, MB_USAGE, "%s has no step \"%.100s\"%s%s%s", p->path, only, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

static int execute(pipe_opened *o, const mb_run *run, pipe_lock *l, mb_err *e) {
    const run_values *v = run->values;
    pipe_execution x = {.p = &o->p,
                        .digests = o->digests,
                        .only = v->only,
                        .shard = -1,
                        .force = v->force,
                        .allow_change = v->allow_change,
                        .keep_going = v->keep_going || o->p.settings.keep_going,
                        .parallel = (int)(v->parallel ? v->parallel : o->p.settings.parallel),
                        .threads = (int)run->globals.threads,
                        .max_minutes = v->max_minutes > 0 ? v->max_minutes : o->p.settings.max_minutes,
                        .lock = v->only ? NULL : l,
                        .how = v->unlock ? PIPE_LOCK_FORCE : PIPE_LOCK_ALONE};
    const double start = mb_clock_seconds();
    char took[32];
    int rc = v->only ? MB_OK : write_resolved(&o->p, e);
    if (rc == MB_OK && v->shard)
        rc = pipe_shard_parse(v->shard, &x.shard, &x.of, e);
    if (rc == MB_OK)
        rc = pipe_execute(&x, e);
    if (rc == MB_OK)
        mb_info("%s: %d steps done in %s, %d were up to date", o->p.name, x.n_done,
                mb_human_seconds(mb_clock_seconds() - start, took), x.n_current);
    else if (x.n_failed)
        mb_info("%s: %d steps done, %d up to date, %d failed, %d left out because of that", o->p.name, x.n_done,
                x.n_current, x.n_failed, x.n_left);
    return rc;
}

static int run_run(mb_run *run, mb_err *e) {
    const run_values *v = run->values;
    pipe_opened o;
    pipe_lock l = PIPE_NO_LOCK;
    int rc = pipe_verb_open(&o, run, v->programs, e);
    if (rc == MB_OK && v->shard && !v->only)
        rc = mb_fail(e, MB_USAGE, "--shard needs --only STEP");
    if (rc == MB_OK)
        rc = check_only(&o.p, v->only, e);
    if (rc == MB_OK)
        rc = pipeline_check_inputs(&o.p, e);
    if (rc == MB_OK && run->globals.dry_run) {
        rc = mb_fail(e, MB_USAGE, "--dry-run: \"seqmamba plan\" says what would run, \"seqmamba check\" what it takes");
    } else if (rc == MB_OK) {
        if ((rc = pipe_make_folders(o.p.output, e)) == MB_OK)
            rc = take_lock(&l, &o.p, v, e);
        if (rc == MB_OK)
            rc = execute(&o, run, &l, e);
    }
    pipe_lock_release(&l);
    pipe_verb_close(&o);
    return rc;
}

const mb_verb pipe_run_verb = {.name = "run",
                               .summary = "run what is not up to date; go on with what was interrupted",
                               .usage = "PIPELINE.yaml [options]",
                               .details = DETAILS,
                               .options = OPTIONS,
                               .values_size = sizeof(run_values),
                               .min_args = 1,
                               .max_args = 1,
                               .own_sets = 1,
                               .run = run_run};
