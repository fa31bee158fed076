/* A checked pipeline in memory: what a file asks for, with every step's options typed by the program that will run it,
 * matrices and shards multiplied out, and the steps in an order in which they can run.
 *
 *   version: 1
 *   output: build/phages              # the folder of logs, records and scripts; ${output}
 *   vars: {model: ...}                # ${vars.model}
 *   defaults: {threads: 2}            # options for every step whose verb has them
 *   run: {max_minutes: 230, ...}      # pipe_run_settings
 *   batch: {system: slurm, ...}       # pipe_batch_settings; a step may have its own
 *   steps:
 *     genes:
 *       run: dna-mamba embed
 *       inputs: [genomics/data/lambda.fa.gz]
 *       with: {model: "${vars.model}", output: "${output}/genes.npy"}
 *       after: [other]                # an order that files do not tell
 *       matrix: {pool: [mean, max]}   # a step for each; ${matrix.pool}, ${name}
 *       shards: 4                     # a step for each part of the input, and one that gathers them
 *
 * Steps depend on each other by the files they write and read, by ${steps.NAME} and by `after`. */
#ifndef PIPE_PIPELINE_H
#define PIPE_PIPELINE_H
#include <stdint.h>
#include "pipelines/document.h"
#include "pipelines/programs.h"

typedef struct pipe_value { /* an option given to a step */
    const mb_option *option;
    const char *text; /* as the program will read it; NULL: reset to the default */
    pipe_place at;
} pipe_value;

typedef struct pipe_file { /* a file or folder that a step reads or writes */
    const char *path;      /* as given */
    const char *clean;     /* without ".", "//" and what ".." takes back: for comparing */
    const char *what;      /* "input", or the option's key */
    mb_role role;          /* INPUT, MODEL, NAMED; OUTPUT, OUTPUT_FOLDER, OUTPUT_PREFIX */
    int from;              /* inputs: the step that writes it, -1 none */
    pipe_place at;
} pipe_file;

typedef struct pipe_axis { /* one key of a matrix with the value it has in a step */
    const char *key, *value;
} pipe_axis;

typedef enum pipe_requeue { PIPE_REQUEUE_SELF, PIPE_REQUEUE_EXIT_CODE, PIPE_REQUEUE_NONE } pipe_requeue;

typedef struct pipe_batch { /* what a batch job asks for */
    int system;             /* pipe_batch_system */
    char *partition, *account, *qos;
    int64_t minutes, cpus, memory, gpus, signal_seconds, max_restarts, array_limit;
    int signal, requeue;
    const char **extra; /* lines of directives as they are: "--constraint=skylake" */
    int n_extra;
    const char **setup; /* lines of shell before the work: "module load gcc" */
    int n_setup;
} pipe_batch;

typedef struct pipe_step {
    const char *name;  /* "train-0.001": of one instance; names a folder */
    const char *given; /* "train": as in the file */
    const char *whole; /* parts, and what gathers them: the name of the step that was split; NULL others */
    const pipe_verb *verb;
    pipe_place at;     /* of its key */
    pipe_value *value; /* (n_values), in the order of the file, those of `defaults` last */
    int n_values;
    pipe_file *input; /* (n_inputs): positional arguments first, n_args of them */
    int n_inputs, n_args;
    pipe_file *output; /* (n_outputs) */
    int n_outputs;
    pipe_axis *axis; /* (n_axes) */
    int n_axes;
    int shard, shards; /* shards > 0: part `shard` of so many; of the step that gathers them: shard -1 */
    const pipe_node *after;
    int *need; /* (n_needs) steps that must be done before, ascending */
    int n_needs;
    pipe_batch batch;
} pipe_step;

typedef struct pipe_run_settings {
    double max_minutes; /* 0: none */
    int64_t parallel;   /* steps at a time */
    int keep_going;
} pipe_run_settings;

typedef struct pipeline {
    pipe_document document;
    pipe_programs programs;
    const char *path, *name, *output;
    pipe_step *step; /* (n), in the order of the file */
    int n;
    int *order; /* (n) an order in which each step stands after those it needs */
    pipe_run_settings settings;
    pipe_batch batch;
} pipeline;

enum { PIPE_MOST_STEPS = 20000 };

typedef struct pipe_open {
    const char *path;   /* of the file */
    const mb_set *sets; /* (n_sets) */
    int n_sets;
    const char *programs; /* folder of the front ends; NULL: beside this program, else on PATH */
} pipe_open;

/* Reads and checks everything but whether inputs exist (pipeline_check_inputs). All errors of the file are told at
 * once. p is zero but for programs that are at hand already (tests), and needs pipeline_free in every case. */
int pipeline_open(pipeline *p, const pipe_open *o, mb_err *e) MB_MUST_USE;
/* The same from text, for tests. */
int pipeline_parse(pipeline *p, const char *name, const char *text, size_t n, mb_err *e) MB_MUST_USE;
void pipeline_free(pipeline *p);

/* Tells every input that is neither there nor written by a step. */
int pipeline_check_inputs(pipeline *p, mb_err *e) MB_MUST_USE;

/* Whether a name on the command line means this step: its own, the one in the file (of all instances), or that of the
 * step it is a part of. */
int pipe_step_is(const pipe_step *s, const char *name);
/* The value that holds for an option: given or default; NULL when it has none. */
const char *pipe_step_value(const pipe_step *s, const char *key);
/* The folder of a step's records inside the pipeline's output, or a file in it (name not NULL); mb_free. */
char *pipe_step_path(const pipeline *p, const pipe_step *s, const char *name);
/* The configuration file that its program reads, as text. */
void pipe_step_config(const pipe_step *s, pipe_text *t);
/* The whole pipeline, resolved, as text that can be read again. */
void pipeline_resolved(const pipeline *p, pipe_text *t);
/* Lexically: "a//./b/../c" is "a/c". */
char *pipe_clean_path(pipe_pool *pool, const char *path);
#endif
