/* See list.h. */
#include "recsys/list.h"

#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "recsys/items.h"
#include "recsys/text.h"

static int add(rec_names *list, const char *s, const char *end, const char *what, const char *where, int64_t line,
               mb_err *e) {
    int32_t number;
    if (s == end)
        return MB_OK;
    char *id = mb_malloc((size_t)(end - s));
    if (!id)
        return mb_fail(e, MB_NOMEM, "no memory for a list of %ss", what);
    const char *stop = rec_id_parse(s, end, id);
    int rc = !stop ? mb_fail(e, MB_FORMAT, "%s:%lld: begins with a quote, but is not a whole JSON string", where,
                             (long long)line)
             : stop - id > REC_NAME_MAX ? mb_fail(e, MB_FORMAT, "%s:%lld: an identifier of more than %d bytes", where,
                                                  (long long)line, REC_NAME_MAX)
                                        : rec_names_add(list, id, (size_t)(stop - id), what, &number, e);
    mb_free(id);
    return rc;
}

static int read_file(rec_names *list, const char *path, const char *what, mb_err *e) {
    rec_text t;
    char *line = NULL;
    size_t n = 0;
    int rc = rec_text_open(&t, path, e);
    if (rc != MB_OK)
        return rc;
    while ((rc = rec_text_line(&t, &line, &n, e)) == MB_OK && line) {
        rc = add(list, line, line + n, what, path, t.line, e);
        if (rc != MB_OK)
            break;
    }
    rec_text_close(&t);
    return rc;
}

int rec_list_read(rec_names *list, const char *value, const char *what, mb_err *e) {
    int rc = MB_OK;
    if (strcmp(value, "-") == 0 || mb_file_exists(value))
        rc = read_file(list, value, what, e);
    else
        for (const char *s = value; rc == MB_OK && *s;) {
            const char *end = s + strcspn(s, ",");
            rc = add(list, s, end, what, value, 1, e);
            s = *end ? end + 1 : end;
        }
    if (rc == MB_OK && list->n == 0)
        return mb_fail(e, MB_FORMAT, "%s: names no %s", value, what);
    return rc;
}
