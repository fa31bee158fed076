/* Which events of a log are for training, for validation, for the test. In each user's order of events they are three
 * runs, each of which may be empty:
 *     [user_at[u], valid_at[u]) train   [valid_at[u], test_at[u]) validation   [test_at[u], user_at[u+1]) test
 * The history of a validation or test event is everything of its user before it, as in RecBole (so the test's history
 * holds the validation events). */
#ifndef REC_SPLIT_H
#define REC_SPLIT_H
#include <stddef.h>
#include "core/options.h"
#include "recsys/log.h"

typedef enum rec_split_rule {
    REC_SPLIT_LEAVE_ONE_OUT, /* the last event is the test, the last but one validation; RecBole's LS valid_and_test:
                              * a user's augmented rows (events but the first) give min(2, rows-1) of them */
    REC_SPLIT_TIME,          /* events from two moments on; needs times */
    REC_SPLIT_GIVEN          /* separate files, or a column of the input */
} rec_split_rule;

typedef struct rec_split {
    rec_split_rule rule;
    int32_t n_users;
    int64_t *valid_at, *test_at; /* (n_users) */
    int64_t train, valid, test;  /* events in all */
    char fingerprint[65]; /* of every user's and item's identifiers and the three runs, in order: two programs that
                           * agree on it train and test on the same thing */
} rec_split;

int rec_split_leave_one_out(rec_split *s, const rec_log *l, mb_err *e) MB_MUST_USE;
/* Validation from valid_from on, test from test_from on (valid_from <= test_from). */
int rec_split_time(rec_split *s, const rec_log *l, int64_t valid_from, int64_t test_from, mb_err *e) MB_MUST_USE;
/* As the input gave it: --valid FILE, --test FILE, or a column. */
int rec_split_given(rec_split *s, const rec_log *l, mb_err *e) MB_MUST_USE;
void rec_split_free(rec_split *s);

/* What every verb that splits a log offers. */
typedef struct rec_split_options {
    char *valid_from, *test_from;
    int split; /* of REC_SPLIT_CHOICES */
} rec_split_options;
#define REC_SPLIT_CHOICES "auto|leave_one_out|time|given"
/* time_scale: of the log's times, as --time-scale was. o NULL: auto. */
int rec_split_make(rec_split *s, const rec_log *l, const rec_split_options *o, double time_scale,
                   mb_err *e) MB_MUST_USE;

#define REC_SPLIT_OPTION(S, F, NAME, ...)                                                                              \
    { .key = #NAME, .offset = offsetof(S, F.NAME), __VA_ARGS__ }
#define REC_SPLIT_OPTIONS(S, F)                                                                                        \
    REC_SPLIT_OPTION(S, F, split, .type = MB_OPT_CHOICE, .def = "auto", .choices = REC_SPLIT_CHOICES,                  \
                     .help = "leave_one_out: each user's last event is the test, the last but one validation, as in "  \
                             "RecBole. time: events from --valid-from and --test-from on. given: as --valid, --test "  \
                             "or a split column of the input say. auto: given where the input says so, else "          \
                             "leave_one_out."),                                                                        \
        REC_SPLIT_OPTION(S, F, valid_from, .type = MB_OPT_STRING, .meta = "TIME",                                      \
                         .help = "--split time: validation begins at TIME, a number as in the log, or "                \
                                 "2018-09-24[T12:30:00]. Unset: no validation."),                                      \
        REC_SPLIT_OPTION(S, F, test_from, .type = MB_OPT_STRING, .meta = "TIME",                                       \
                         .help = "--split time: the test begins at TIME.")
#endif
