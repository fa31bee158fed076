/* What editors and people are told about pipeline files, from the programs' own tables. */
#ifndef PIPE_SCHEMA_H
#define PIPE_SCHEMA_H
#include "pipelines/programs.h"

/* A JSON Schema (2020-12) of pipeline files whose steps are verbs of these programs. */
void pipe_schema_text(const pipe_program *const *program, int n, pipe_text *t);
/* A pipeline with a step for each verb: what must be given as a line, everything else as a comment with its default. */
void pipe_starter_text(const pipe_verb *const *verb, int n, const char *name, pipe_text *t);
#endif
