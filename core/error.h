/* Errors: a call that can fail because of the world (files, memory, configuration, devices) returns a negative
 * mb_status and writes one sentence, with its place, into the caller's mb_err. Bugs assert. Only main prints. */
#ifndef MB_ERROR_H
#define MB_ERROR_H
#include "kernels/kernel.h"
#include "kernels/status.h"

#define MB_ASSERT(cond)      MBK_ASSERT(cond)
#define MB_MUST_USE          __attribute__((warn_unused_result))
#define MB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define MB_ERR_TEXT 8192 /* room for a whole report on a configuration file (20 errors with their source lines) */

typedef struct mb_err {
    int status;             /* MB_OK or the first failure */
    char text[MB_ERR_TEXT]; /* one sentence, no newline; multi-error reports may hold lines; ends with "..." when cut */
} mb_err;

/* Records status and text unless e already holds an error (the first cause is kept); e may be NULL. Returns status. */
int mb_fail(mb_err *e, int status, const char *fmt, ...) MB_PRINTF(3, 4);
/* The same with ": strerror(errno)" appended. */
int mb_fail_errno(mb_err *e, int status, const char *fmt, ...) MB_PRINTF(3, 4);
#if defined(__clang_analyzer__) && !defined(MB_ERROR_C) /* lets the analyzer see that the status comes back */
#define mb_fail(e, status, ...)       ((void)mb_fail(e, status, __VA_ARGS__), (status))
#define mb_fail_errno(e, status, ...) ((void)mb_fail_errno(e, status, __VA_ARGS__), (status))
#endif
/* Puts "context: " before the sentence already held. Returns e->status. */
int mb_err_context(mb_err *e, const char *fmt, ...) MB_PRINTF(2, 3);
void mb_err_clear(mb_err *e);
const char *mb_status_words(int status);
int mb_status_exit_code(int status);
#endif
