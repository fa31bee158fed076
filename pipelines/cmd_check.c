/* seqmamba check: everything that can be known about a pipeline before it runs. */
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "pipelines/commands.h"
#include "pipelines/estimate.h"
#include "pipelines/verbs.h"

typedef struct check_values {
    char *programs;
    int estimate, print;
} check_values;

static const mb_option OPTIONS[] = {
    {.key = "estimate",
     .type = MB_OPT_BOOL,
     .offset = offsetof(check_values, estimate),
     .def = "true",
     .help = "Ask each step's program what it will take (its --dry-run): memory, time, work, and whether it can run."},
    {.key = "resolved",
     .type = MB_OPT_BOOL,
     .offset = offsetof(check_values, print),
     .def = "false",
     .help = "Print the pipeline with extensions, --set, variables and matrices written out, and nothing else."},
    PIPE_PROGRAMS_OPTION(check_values),
    {0}};

static const char DETAILS[] =
    "Reads a pipeline file and says what is wrong with it, all at once, each with its place: unknown keys and commands, "
    "options that the command does not have (with what was meant), values of the wrong type or out of range, inputs that "
    "are not there and that no step writes, two steps that write one file, steps that need each other in a circle. Then "
    "each step whose inputs are there is asked what it will take. Nothing is written. Ends with 2 when something is "
    "wrong with the file.\n"
    "\n" PIPE_SET_DETAILS "\n"
    "\n"
    "  seqmamba check pipelines/phages.yaml\n"
    "  seqmamba check pipelines/phages.yaml --no-estimate --set vars.bin=100\n"
    "  seqmamba check pipelines/phages.yaml --resolved";

static void print_indented(const char *text) {
    while (*text) {
        const size_t n = strcspn(text, "\n");
        printf("  %.*s\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

/* All steps are asked, so that all of what is wrong is told. */
static int estimate_all(const pipeline *p, mb_err *e) {
    int bad = 0, first_rc = MB_OK;
    for (int k = 0; k < p->n; k++) {
        const pipe_step *s = &p->step[p->order[k]], *first;
        char *words = NULL;
        mb_err why = {0};
        int rc = pipe_estimate(p, s, &words, &first, &why);
        if (rc == MB_NOMEM)
            return mb_fail(e, rc, "%s", why.text);
        printf("%s: %s %s%s%s\n", s->name, s->verb->program->name, s->verb->name,
               first ? "; what it will take is known when this has run: " : "", first ? first->name : "");
        if (rc == MB_OK && words)
            print_indented(words);
        mb_free(words);
        if (rc == MB_OK)
            continue;
        mb_error("%s: %s", s->name, why.text);
        first_rc = bad++ ? first_rc : rc;
    }
    return bad ? mb_fail(e, first_rc, "%s: %d of %d steps cannot run as they are", p->path, bad, p->n) : MB_OK;
}

static int run_check(mb_run *run, mb_err *e) {
    const check_values *v = run->values;
    pipe_opened o;
    int rc = pipe_verb_open(&o, run, v->programs, e);
    if (rc == MB_OK)
        rc = pipeline_check_inputs(&o.p, e);
    if (rc == MB_OK && v->print) {
        pipe_text t = {0};
        pipeline_resolved(&o.p, &t);
        if ((rc = pipe_text_end(&t, e)) == MB_OK)
            fputs(t.data, stdout);
        pipe_text_free(&t);
    } else if (rc == MB_OK) {
        if (v->estimate)
            rc = estimate_all(&o.p, e);
        if (rc == MB_OK)
            printf("%s: %d steps, nothing wrong\n", o.p.path, o.p.n);
    }
    pipe_verb_close(&o);
    return rc;
}

const mb_verb pipe_check_verb = {.name = "check",
                                 .summary = "what is wrong with a pipeline, and what it will take",
                                 .usage = "PIPELINE.yaml [options]",
                                 .details = DETAILS,
                                 .options = OPTIONS,
                                 .values_size = sizeof(check_values),
                                 .min_args = 1,
                                 .max_args = 1,
                                 .own_sets = 1,
                                 .run = run_check};
