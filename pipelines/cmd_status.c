/* seqmamba status: what happened to the steps so far. */
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "pipelines/commands.h"
#include "pipelines/history.h"
#include "pipelines/verbs.h"

typedef struct status_values {
    char *programs;
} status_values;

static const mb_option OPTIONS[] = {PIPE_PROGRAMS_OPTION(status_values), {0}};

static const char DETAILS[] =
    "Prints a line for each step, tab-separated: its state (not begun, running, done, failed, stopped, interrupted), its "
    "name, since when, how often it was begun, how long the last run took, its peak memory, host and batch job, and the "
    "last line of its log. Reads what runs left on disk and digests nothing; whether results are up to date is what "
    "`seqmamba plan` says. Who is at work is told on standard error.\n"
    "\n"
    "  seqmamba status pipelines/phages.yaml";

static int print_step(const pipeline *p, const pipe_step *s, int busy, int *count, mb_err *e) {
    pipe_history h;
    char took[32] = "-", memory[32] = "-";
    int rc = pipe_history_read(&h, p, s, busy, e);
    if (rc != MB_OK)
        return rc;
    count[h.happened]++;
    if (h.seconds > 0)
        mb_human_seconds(h.seconds, took);
    if (h.peak_memory > 0)
        mb_human_bytes(h.peak_memory, memory);
    if (h.happened == PIPE_ENDED_BADLY)
        printf("failed (%d)", h.exit_code);
    else
        printf("%s", pipe_happened_words[h.happened]);
    printf("\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", s->name, *h.since ? h.since : "-", h.attempts, took, memory,
           *h.host ? h.host : "-", *h.job ? h.job : "-", *h.said ? h.said : "-");
    return MB_OK;
}

static int print_status(const pipeline *p, mb_err *e) {
    char *lock = pipe_output_path(p, "lock"), owner[400] = "";
    int count[6] = {0}, rc = lock ? MB_OK : mb_fail(e, MB_NOMEM, "out of memory for a path");
    if (rc == MB_OK) {
        pipe_lock_owner(lock, owner);
        printf("state\tstep\tsince\tattempts\ttook\tmemory\thost\tjob\tlog\n");
    }
    for (int k = 0; rc == MB_OK && k < p->n; k++)
        rc = print_step(p, &p->step[p->order[k]], *owner != '\0', count, e);
    if (rc == MB_OK && *owner)
        mb_info("at work: %s", owner);
    if (rc == MB_OK)
        mb_info("%d steps: %d done, %d running, %d failed, %d stopped, %d interrupted, %d not begun", p->n,
                count[PIPE_ENDED_WELL], count[PIPE_RUNNING], count[PIPE_ENDED_BADLY], count[PIPE_STOPPED],
                count[PIPE_ENDED_DEAD], count[PIPE_NEVER]);
    mb_free(lock);
    return rc;
}

static int run_status(mb_run *run, mb_err *e) {
    const status_values *v = run->values;
    pipe_opened o;
    int rc = pipe_verb_open(&o, run, v->programs, e);
    if (rc == MB_OK)
        rc = print_status(&o.p, e);
    pipe_verb_close(&o);
    return rc;
}

const mb_verb pipe_status_verb = {.name = "status",
                                  .summary = "what happened to the steps of a pipeline so far",
                                  .usage = "PIPELINE.yaml [options]",
                                  .details = DETAILS,
                                  .options = OPTIONS,
                                  .values_size = sizeof(status_values),
                                  .min_args = 1,
                                  .max_args = 1,
                                  .own_sets = 1,
                                  .run = run_status};
