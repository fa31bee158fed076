/* What a step will take, in its program's own words: its --dry-run. */
#ifndef PIPE_ESTIMATE_H
#define PIPE_ESTIMATE_H
#include "pipelines/pipeline.h"

/* *words: what the dry run printed, mb_free. *made: NULL, or why there is none yet: the step whose results it needs
 * first, borrowed. A dry run that fails is this call's failure, with the program's message. */
int pipe_estimate(const pipeline *p, const pipe_step *s, char **words, const pipe_step **first, mb_err *e) MB_MUST_USE;
#endif
