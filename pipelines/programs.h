/* What the front ends understand, told by themselves ("PROGRAM --describe"): verbs, options with types, ranges, choices
 * and roles. A step is checked by the same tables that will read it, whichever version of a front end is installed. */
#ifndef PIPE_PROGRAMS_H
#define PIPE_PROGRAMS_H
#include "core/options.h"
#include "pipelines/pool.h"

typedef struct pipe_program pipe_program;

typedef struct pipe_verb {
    const pipe_program *program;
    const char *name, *summary, *usage;
    int min_args, max_args;
    mb_role args_role;
    mb_option *option; /* (n), the global ones last; offset has no meaning */
    int n;
} pipe_verb;

struct pipe_program {
    const char *name, *path, *version, *build;
    pipe_verb *verb; /* (n) */
    int n;
};

typedef struct pipe_programs {
    pipe_pool pool;
    const char *folder; /* where they are; NULL: beside this program, else on PATH */
    pipe_program *known;
    int n;
} pipe_programs;

enum { PIPE_DESCRIPTION_BYTES = 1 << 20 };

/* The names a step may use, ended by NULL. */
extern const char *const pipe_program_names[];

/* Asks once. MB_NOTFOUND: it is not installed; MB_FORMAT: it does not describe itself; MB_USAGE: no such name. */
int pipe_program_get(pipe_programs *p, const char *name, const pipe_program **out, mb_err *e) MB_MUST_USE;
/* The same from a description at hand, for tests. */
int pipe_program_read(pipe_programs *p, const char *path, const char *text, size_t n, const pipe_program **out,
                      mb_err *e) MB_MUST_USE;
const pipe_verb *pipe_verb_find(const pipe_program *p, const char *name);
/* By key, '-' and '_' alike. */
const mb_option *pipe_option_find(const pipe_verb *v, const char *key);
/* The nearest key for a typo, or NULL. */
const char *pipe_option_suggest(const pipe_verb *v, const char *key);
void pipe_programs_free(pipe_programs *p);
#endif
