/* What a store holds, for people and programs. */
#ifndef REC_INSPECT_H
#define REC_INSPECT_H
#include "core/options.h"
#include "recsys/model.h"

/* Counts on standard output; a JSON line for each user to the file `export` unless NULL. m: names the items; may be
 * NULL. Works beside a process that serves the store. Damaged records are counted, and an error in the end. */
int rec_inspect(const mb_run *run, const char *store, const char *export, const rec_model *m, mb_err *e) MB_MUST_USE;
#endif
