/* How a log is divided into training, validation and test: the options that every verb which divides one has, as rows
 * for its table, and what they say made into a split. */
#ifndef REC_SPLIT_OPTIONS_H
#define REC_SPLIT_OPTIONS_H
#include <stddef.h>
#include "core/options.h"
#include "recsys/split.h"

typedef struct rec_split_values {
    int split; /* auto, then rec_split_rule + 1 */
    char *valid_from, *test_from;
} rec_split_values;
#define REC_SPLIT_CHOICES "auto|leave-one-out|time|given"

/* time_scale: as the log was read with. */
int rec_split_make(rec_split *out, const rec_log *l, const rec_split_values *v, double time_scale,
                   mb_err *e) MB_MUST_USE;

#define REC_SPLIT_OPTION(S, F, NAME, ...)                                                                              \
    { .key = #NAME, .offset = offsetof(S, F.NAME), __VA_ARGS__ }
#define REC_SPLIT_OPTIONS(S, F)                                                                                        \
    REC_SPLIT_OPTION(S, F, split, .type = MB_OPT_CHOICE, .def = "auto", .choices = REC_SPLIT_CHOICES,                  \
                     .help = "Which events are held out. leave-one-out: of each user the last event is the test, the " \
                             "one before it validation (a user keeps one training event and its next at least). "      \
                             "time: all events from --valid-from and --test-from on. given: as the input says "        \
                             "(--valid, --test, or a column). auto: given if the input says, else time if "            \
                             "--test-from is set, else leave-one-out."),                                               \
        REC_SPLIT_OPTION(S, F, valid_from, .type = MB_OPT_STRING, .meta = "TIME",                                      \
                         .help = "split time: validation begins here. Unset: there is none."),                         \
        REC_SPLIT_OPTION(S, F, test_from, .type = MB_OPT_STRING, .meta = "TIME",                                       \
                         .help = "split time: the test begins here, with times as the log has them or as a date "      \
                                 "(2003-02-28, UTC).")
#endif
