/* References of steps to each other's values. Used by replace.c and steps.c. */
#ifndef PIPE_REFERENCES_H
#define PIPE_REFERENCES_H
#include "pipelines/steps.h"

/* "steps.NAME" or "steps.NAME.KEY" in place; 0: it is neither. *key NULL: the step's output. */
int pipe_reference_split(char *body, char **name, char **key);
/* The next step of a given name, from index `from` on, whose axes agree with those of s (NULL: all do); -1 none. */
int pipe_step_matching(const pipeline *p, const pipe_step *s, const char *given, int from);
/* The value of an option of a step, or, with key NULL, the path of its output; NULL with *rc and why. */
const char *pipe_step_result(pipeline *p, const pipe_step *of, const char *key, int depth, int *rc, char *why);
#endif
