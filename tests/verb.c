/* See verb.h. */
#include "tests/verb.h"

#include <stdio.h>
#include <string.h>

#include "core/log.h"

int verb_run(const mb_verb *verb, mb_err *e, const char *format, va_list list) {
    static char line[4096];
    char *argv[64] = {"dna-mamba", (char *)(uintptr_t)verb->name};
    int argc = 2, done = 0;
    vsnprintf(line, sizeof line, format, list);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    mb_run run = {.program = "dna-mamba", .verb = verb};
    mb_err_clear(e);
    int rc = mb_options_parse(&run, argc, argv, &done, e);
    mb_log_set_level(MB_LOG_QUIET);
    if (!rc)
        rc = verb->run(&run, e);
    mb_options_free(&run);
    return rc;
}
