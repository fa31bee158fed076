/* seqmamba plan: the steps in order, what is up to date and what is not, and why. */
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "pipelines/commands.h"
#include "pipelines/verbs.h"

typedef struct plan_values {
    char *programs;
} plan_values;

static const mb_option OPTIONS[] = {PIPE_PROGRAMS_OPTION(plan_values), {0}};

static const char DETAILS[] =
    "Prints a line for each step, in an order in which they can run: its state, its name, its command, and why it is in "
    "that state. Tab-separated on standard output.\n"
    "\n"
    "  up to date   made by the same program version from the same options and inputs (by content), and as it was made\n"
    "  new          has not run to its end\n"
    "  out of date  something changed since it ran: what\n"
    "  interrupted  was begun and did not end; goes on\n"
    "  changed      was begun and did not end, with other options or inputs; `run` refuses it without --allow-change\n"
    "  waits        for a step that will run before; may turn out to be up to date then\n"
    "\n" PIPE_SET_DETAILS "\n"
    "\n"
    "  seqmamba plan pipelines/phages.yaml";

static int print_plan(const pipe_opened *o, mb_err *e) {
    const pipeline *p = &o->p;
    char *will_run = mb_calloc((size_t)p->n + 1, 1);
    int rc = will_run ? MB_OK : mb_fail(e, MB_NOMEM, "out of memory for %d steps", p->n);
    if (rc == MB_OK)
        printf("state\tstep\tcommand\twhy\tafter\n");
    for (int k = 0; rc == MB_OK && k < p->n; k++) {
        const int i = p->order[k];
        const pipe_step *s = &p->step[i];
        pipe_verdict v;
        if ((rc = pipe_judge(p, i, o->digests, will_run, &v, e)) != MB_OK)
            break;
        will_run[i] = v.status != PIPE_UP_TO_DATE;
        printf("%s\t%s\t%s %s\t%s\t", pipe_status_words[v.status], s->name, s->verb->program->name, s->verb->name,
               *v.why ? v.why : "-");
        for (int m = 0; m < s->n_needs; m++)
            printf("%s%s", m ? "," : "", p->step[s->need[m]].name);
        printf("%s\n", s->n_needs ? "" : "-");
    }
    mb_free(will_run);
    return rc;
}

static int run_plan(mb_run *run, mb_err *e) {
    const plan_values *v = run->values;
    pipe_opened o;
    int rc = pipe_verb_open(&o, run, v->programs, e);
    if (rc == MB_OK)
        rc = pipeline_check_inputs(&o.p, e);
    if (rc == MB_OK)
        rc = print_plan(&o, e);
    pipe_verb_close(&o);
    return rc;
}

const mb_verb pipe_plan_verb = {.name = "plan",
                                .summary = "the steps of a pipeline: what would run, and why",
                                .usage = "PIPELINE.yaml [options]",
                                .details = DETAILS,
                                .options = OPTIONS,
                                .values_size = sizeof(plan_values),
                                .min_args = 1,
                                .max_args = 1,
                                .own_sets = 1,
                                .run = run_plan};
