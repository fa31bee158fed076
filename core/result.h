/* Putting finished results in place, with the record of their making beside them. */
#ifndef MB_RESULT_H
#define MB_RESULT_H
#include "core/file.h"
#include "core/provenance.h"

/* *record: OUTPUT.run.json (mb_free), of which an earlier one is removed: it must never stand beside results of this
 * run. NULL on failure. */
int mb_result_record(char **record, const char *output, mb_err *e) MB_MUST_USE;
/* rc: how the work ended. MB_OK: removes OUTPUT.run.json of an earlier run, commits out[0..n) in this order (NULL ones
 * are skipped) and writes p as OUTPUT.run.json; a pipe or a device has no neighbour and gets none. Otherwise aborts
 * all. Every out[i] is freed and NULL afterwards. Returns rc or the first failure. */
int mb_result_commit(const char *output, mb_out **out, int n, mb_provenance *p, int rc, mb_err *e) MB_MUST_USE;
#endif
