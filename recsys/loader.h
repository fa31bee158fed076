/* What log.c and prep share of the loader. */
#ifndef REC_LOADER_H
#define REC_LOADER_H
#include "recsys/build.h"

/* Reads, sorts, filters and builds into the sink. counts may be NULL. */
int rec_load(rec_sink *k, char *const *inputs, int n, const rec_load_options *o, rec_load_counts *counts,
             mb_err *e) MB_MUST_USE;
/* A log that is made already takes no filters. */
int rec_load_refuse_filters(const char *path, const rec_load_options *o, mb_err *e) MB_MUST_USE;
/* Maps a file of prep. */
int rec_log_map(rec_log **out, const char *path, int verify, mb_err *e) MB_MUST_USE;
#endif
