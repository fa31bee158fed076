/* What is on disk of a step: in OUTPUT/steps/NAME/ the files config.yaml (what its program read), log (its stderr, one
 * run after the other), stdout, events.jsonl (a line for each start and end), started.json (what a run that has not
 * ended was begun with) and done.json (what the results were made from, and their digests). A step is up to date when
 * done.json tells of the same program, options and inputs, and every file it made is as it was. */
#ifndef PIPE_STATE_H
#define PIPE_STATE_H
#include "pipelines/digest.h"

typedef enum pipe_status {
    PIPE_UP_TO_DATE,
    PIPE_NEW,         /* never ran to its end */
    PIPE_STALE,       /* ran, and something changed since */
    PIPE_INTERRUPTED, /* was begun and not ended; goes on with what it was begun with */
    PIPE_CHANGED,     /* was begun and not ended, and its options or inputs are others now */
    PIPE_WAITS        /* for a step that will run before */
} pipe_status;
extern const char *const pipe_status_words[];

typedef struct pipe_verdict {
    pipe_status status;
    char why[400];
} pipe_verdict;

/* What a step's results depend on, as text: the program and its version, the verb, every option that matters with the
 * value that holds, every input with its digest. */
typedef struct pipe_basis {
    pipe_pool pool;
    const char *program, *version, *verb;
    const char **key, **text; /* (n_options) text NULL: unset */
    int n_options;
    const char **path, **sha256; /* (n_inputs) */
    int n_inputs;
} pipe_basis;

int pipe_basis_make(pipe_basis *b, const pipe_step *s, pipe_digests *d, mb_err *e) MB_MUST_USE;
void pipe_basis_free(pipe_basis *b);

/* will_run: (n) steps that will run before; NULL none. */
int pipe_judge(const pipeline *p, int i, pipe_digests *d, const char *will_run, pipe_verdict *v, mb_err *e) MB_MUST_USE;

typedef struct pipe_usage {                      /* of a run that ended */
    double started, ended, seconds, cpu_seconds; /* Unix time; wall clock */
    int64_t peak_memory;                         /* bytes */
    int attempts, exit_code;
    const char *host, *job;
} pipe_usage;

/* started.json in place of done.json: no record of results stands beside ones that are being changed. */
int pipe_state_begin(const pipeline *p, const pipe_step *s, const pipe_basis *b, mb_err *e) MB_MUST_USE;
/* Digests what was made and writes done.json, last; removes started.json. */
int pipe_state_finish(const pipeline *p, const pipe_step *s, const pipe_basis *b, pipe_digests *d, const pipe_usage *u,
                      mb_err *e) MB_MUST_USE;

/* A record that is there, for status and report. */
typedef struct pipe_record {
    mb_yaml *json;
    const mb_yaml_node *root; /* NULL: there is none, or it cannot be read */
    int found;
} pipe_record;
int pipe_record_read(pipe_record *r, const pipeline *p, const pipe_step *s, const char *name, mb_err *e) MB_MUST_USE;
const char *pipe_record_text(const mb_yaml_node *map, const char *key); /* "" when missing */
void pipe_record_free(pipe_record *r);
/* "2026-11-28T12:00:00Z" of a Unix time; out holds 32 bytes. Returns out. */
char *pipe_time_text(double when, char *out);
#endif
