/* What training begins with: a preset or a configuration drawn afresh for a log's items, or a model folder. */
#ifndef REC_START_H
#define REC_START_H
#include "core/params.h"
#include "recsys/log.h"

typedef struct rec_start {
    mb_config config;
    mb_params *params; /* all in one pool; mb_params_free unless taken over */
    char *weights;     /* file they come from, or NULL; mb_free */
} rec_start;

/* model: a preset (recsys/presets.h), a config.json, or a folder of recmamba train, whose items must be the log's, in
 * the same order (MB_FORMAT). */
int rec_start_make(rec_start *s, const char *model, const rec_log *l, uint64_t seed, mb_err *e) MB_MUST_USE;
void rec_start_fini(rec_start *s); /* zeroed is fine */
#endif
