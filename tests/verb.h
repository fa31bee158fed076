/* A verb of dna-mamba as its main runs it, from a line of words apart by blanks. */
#ifndef TESTS_VERB_H
#define TESTS_VERB_H
#include <stdarg.h>
#include "core/options.h"

/* Options parsed, log silenced, run; e is cleared before. Returns the status. */
int verb_run(const mb_verb *verb, mb_err *e, const char *format, va_list list);
#endif
