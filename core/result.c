/* See result.h. Refuses nothing. */
#include "core/result.h"

#include <errno.h>
#include <unistd.h>

#include "core/mem.h"

int mb_result_record(char **record, const char *output, mb_err *e) {
    int rc = MB_OK;
    *record = mb_asprintf("%s.run.json", output);
    if (!*record)
        rc = mb_fail(e, MB_NOMEM, "no memory for the name of run.json");
    else if (unlink(*record) && errno != ENOENT)
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be removed", *record);
    if (rc != MB_OK) {
        mb_free(*record);
        *record = NULL;
    }
    return rc;
}

int mb_result_commit(const char *output, mb_out **out, int n, mb_provenance *p, int rc, mb_err *e) {
    char *record = NULL;
    if (rc == MB_OK && !mb_path_is_direct(output))
        rc = mb_result_record(&record, output, e);
    for (int i = 0; i < n; i++) {
        if (rc == MB_OK && out[i])
            rc = mb_out_commit(out[i], e);
        else
            mb_out_abort(out[i]);
        out[i] = NULL;
    }
    if (rc == MB_OK && record)
        rc = mb_provenance_write(p, record, e);
    mb_free(record);
    return rc;
}
