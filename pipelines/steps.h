/* From a document to steps: sections, substitution, matrices, options. Used by pipeline.c. */
#ifndef PIPE_STEPS_H
#define PIPE_STEPS_H
#include "pipelines/pipeline.h"

/* Fills p->name, output, settings, batch and steps with values, inputs and outputs; tells errors to the document.
 * Negative only when it cannot go on (no memory, a program that does not answer). */
int pipe_steps_read(pipeline *p) MB_MUST_USE;
/* Fills from, need and order; tells two steps with one output, unknown names, cycles. */
int pipe_graph_link(pipeline *p) MB_MUST_USE;

/* A setting of the sections "run" and "batch": a table of options over a struct. */
int pipe_settings_read(pipeline *p, const pipe_node *map, const char *section, const mb_option *table, void *values,
                       const char *const *other, int n_other) MB_MUST_USE;
extern const mb_option pipe_run_options[];
extern const mb_option pipe_batch_options[];
int pipe_batch_read(pipeline *p, const pipe_node *map, pipe_batch *b) MB_MUST_USE;

/* Text of a scalar with ${...} replaced, in the pool; NULL: told, or no memory (*rc). s may be NULL: outside steps. */
const char *pipe_replace(pipeline *p, const pipe_step *s, const pipe_node *n, int *rc);
#endif
