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

typedef struct rec_start_options {
    const char *model; /* a preset (recsys/presets.h), a config.json, or a folder of recmamba train, whose items must be
                        * the log's, in the same order (MB_FORMAT) */
    int64_t window;
    uint64_t seed;
    double dropout;      /* below 0: as the model has it */
    int mamba_init;      /* 1: mixers are drawn as mamba_ssm draws them, whatever the original of the family does */
    int always_residual; /* 1: Mamba4Rec with a residual where it has a single layer, too */
} rec_start_options;

int rec_start_make(rec_start *s, const rec_log *l, const rec_start_options *o, mb_err *e) MB_MUST_USE;
void rec_start_fini(rec_start *s); /* zeroed is fine */
#endif
