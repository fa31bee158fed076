/* Verbs of seqmamba: one file each. */
#ifndef PIPELINES_COMMANDS_H
#define PIPELINES_COMMANDS_H
#include "core/options.h"

extern const mb_option verify_options[];
size_t verify_values_size(void);
int verify_cmd(mb_run *run, mb_err *e);

extern const mb_option create_options[];
size_t create_values_size(void);
int create_cmd(mb_run *run, mb_err *e);

extern const mb_option record_options[];
size_t record_values_size(void);
int record_cmd(mb_run *run, mb_err *e);

/* Pipelines. */
extern const mb_verb pipe_check_verb, pipe_plan_verb, pipe_run_verb, pipe_status_verb, pipe_report_verb,
    pipe_schema_verb, pipe_init_verb, pipe_gather_verb, pipe_submit_verb;
#endif
