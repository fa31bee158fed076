/* What the verbs over pipeline files have in common: the option that says where the front ends are, opening. */
#ifndef PIPE_VERBS_H
#define PIPE_VERBS_H
#include <stddef.h>
#include "pipelines/execute.h"

#define PIPE_PROGRAMS_OPTION(S)                                                                                        \
    {                                                                                                                  \
        .key = "programs", .type = MB_OPT_STRING, .offset = offsetof(S, programs), .meta = "FOLDER",                   \
        .help = "Where dna-mamba and the other programs of the steps are. Unset: beside this program, else on PATH."   \
    }

/* The pipeline of the first argument with --set applied, and its digests. Both are closed in every case. */
typedef struct pipe_opened {
    pipeline p;
    pipe_digests *digests;
} pipe_opened;
int pipe_verb_open(pipe_opened *o, const mb_run *run, const char *programs, mb_err *e) MB_MUST_USE;
void pipe_verb_close(pipe_opened *o);
/* A file of the pipeline's output folder; mb_free. */
char *pipe_output_path(const pipeline *p, const char *name);
/* Everything above the steps of --help that all verbs over pipelines say. */
#define PIPE_SET_DETAILS                                                                                               \
    "--set changes one value of the file, by its path: --set steps.genes.with.bin=500, --set vars.model=MODEL, --set " \
    "run.parallel=2. The value is YAML; null takes a key back."
#endif
