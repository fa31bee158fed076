/* Rows of options that verbs which run a model have in common: for the table of a verb whose values struct S has the
 * member of the row's name. */
#ifndef DNA_RUN_OPTIONS_H
#define DNA_RUN_OPTIONS_H
#include <stddef.h>
#include "core/options.h"

/* int precision, an mbk_precision */
#define DNA_PRECISION_OPTION(S)                                                                                        \
    {                                                                                                                  \
        .key = "precision", .type = MB_OPT_CHOICE, .offset = offsetof(S, precision), .def = "fp32",                    \
        .choices = "fp32|bf16",                                                                                        \
        .help = "Precision of weights and matrix-product inputs; sums and states are always fp32."                     \
    }
/* char *scratch; WHAT does not fit: "a read does" */
#define DNA_SCRATCH_OPTION(S, WHAT)                                                                                    \
    {                                                                                                                  \
        .key = "scratch", .type = MB_OPT_STRING, .offset = offsetof(S, scratch), .meta = "FOLDER",                     \
        .help = "Where scratch files go when " WHAT " not fit --memory. Unset: $TMPDIR, or /tmp."                      \
    }
#endif
