/* Steps in parts. */
#ifndef PIPE_SHARDS_H
#define PIPE_SHARDS_H
#include "pipelines/pipeline.h"

enum { PIPE_MOST_SHARDS = 4096 };

/* Replaces each step that asks for "shards: N", N > 1, by N parts and one that gathers them. */
int pipe_shards_expand(pipeline *p) MB_MUST_USE;

/* "3": part 3; "3/8": parts 3, 11, 19, ...; "auto" in place of the number: the task of the array that the batch system
 * says this is, from 0. *of is 0 without "/N". */
int pipe_shard_parse(const char *text, int *k, int *of, mb_err *e) MB_MUST_USE;
#endif
