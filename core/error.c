/* Errors: the first cause of a failure, as a status and a sentence. Keeps the first error it is given and refuses later
 * ones, so that clean-up code may fail as well without hiding the cause. Allocates nothing: it must work without
 * memory. */
#define MB_ERROR_C
#include "core/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Marks a sentence that did not fit, on a whole UTF-8 character. */
static void mark_cut(char *text, size_t room, int wanted) {
    if (wanted >= 0 && (size_t)wanted < room)
        return;
    size_t at = room - 4;
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80)
        at--;
    memcpy(text + at, "...", 4);
}

static void append(mb_err *e, const char *tail) {
    size_t used = strlen(e->text);
    int wanted = snprintf(e->text + used, MB_ERR_TEXT - used, "%s", tail);
    if (wanted < 0 || (size_t)wanted >= MB_ERR_TEXT - used)
        mark_cut(e->text, MB_ERR_TEXT, -1);
}

int mb_fail(mb_err *e, int status, const char *fmt, ...) {
    MB_ASSERT(status < 0);
    if (!e)
        return status;
    if (e->status)
        return e->status;
    va_list args;
    va_start(args, fmt);
    int wanted = vsnprintf(e->text, MB_ERR_TEXT, fmt, args);
    va_end(args);
    mark_cut(e->text, MB_ERR_TEXT, wanted);
    e->status = status;
    return status;
}

int mb_fail_errno(mb_err *e, int status, const char *fmt, ...) {
    int cause = errno;
    MB_ASSERT(status < 0);
    if (!e)
        return status;
    if (e->status)
        return e->status;
    va_list args;
    va_start(args, fmt);
    int wanted = vsnprintf(e->text, MB_ERR_TEXT, fmt, args);
    va_end(args);
    mark_cut(e->text, MB_ERR_TEXT, wanted);
    char words[128];
    append(e, ": ");
    append(e, strerror_r(cause, words, sizeof words)); /* GNU form: returns the words */
    e->status = status;
    errno = cause;
    return status;
}

int mb_err_context(mb_err *e, const char *fmt, ...) {
    if (!e)
        return MB_FAIL;
    if (!e->status)
        return MB_OK;
    char context[512];
    va_list args;
    va_start(args, fmt);
    int wanted = vsnprintf(context, sizeof context - 2, fmt, args);
    va_end(args);
    mark_cut(context, sizeof context - 2, wanted);
    size_t head = strlen(context) + 2, tail = strlen(e->text);
    memcpy(context + head - 2, ": ", 3);
    int cut = head + tail >= MB_ERR_TEXT;
    if (cut)
        tail = MB_ERR_TEXT - 1 - head;
    memmove(e->text + head, e->text, tail);
    memcpy(e->text, context, head);
    e->text[head + tail] = '\0';
    if (cut)
        mark_cut(e->text, MB_ERR_TEXT, -1);
    return e->status;
}

void mb_err_clear(mb_err *e) {
    if (!e)
        return;
    e->status = MB_OK;
    e->text[0] = '\0';
}

const char *mb_status_words(int status) {
    switch (status) {
#define X(name, value, exit_code, words)                                                                               \
    case value:                                                                                                        \
        return words;
        MB_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

int mb_status_exit_code(int status) {
    switch (status) {
#define X(name, value, exit_code, words)                                                                               \
    case value:                                                                                                        \
        return exit_code;
        MB_STATUS_LIST(X)
#undef X
    }
    return 70;
}
