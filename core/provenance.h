/* What made a result: argv, effective configuration, input paths with sizes and SHA-256, model digest, versions,
 * compiler, CPU and ISA, threads, seeds, scheduler job, start and end. Written as JSON beside each output, atomically.
 */
#ifndef MB_PROVENANCE_H
#define MB_PROVENANCE_H
#include "core/options.h"

typedef struct mb_provenance mb_provenance;
int mb_provenance_start(mb_provenance **out, const mb_run *run, mb_err *e) MB_MUST_USE;
/* role: "input", "model", "output". Files up to 4 GiB are digested, larger ones by size and mtime (said so). */
int mb_provenance_file(mb_provenance *p, const char *role, const char *path, mb_err *e) MB_MUST_USE;
int mb_provenance_note(mb_provenance *p, const char *key, const char *value);
int mb_provenance_number(mb_provenance *p, const char *key, double value);
/* Writes path (usually OUT.run.json). */
int mb_provenance_write(mb_provenance *p, const char *path, mb_err *e) MB_MUST_USE;
/* The same as text, until now; mb_free. */
int mb_provenance_text(mb_provenance *p, char **text, mb_err *e) MB_MUST_USE;
void mb_provenance_free(mb_provenance *p);

const char *mb_version(void); /* "0.1.0" */
const char *mb_build(void);   /* compiler, flags, git commit when known */
#endif
