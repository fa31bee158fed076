/* How logs of events are read: the options that every verb reading one has, as rows for its table, and the reading of
 * several files as one log.
 *
 * A verb embeds a rec_load_options in its values struct S as field F, puts REC_LOAD_OPTIONS(S, F) among its rows, calls
 * rec_load_prepare and passes it to rec_log_open or rec_log_load. */
#ifndef REC_LOAD_H
#define REC_LOAD_H
#include <stddef.h>
#include <stdio.h>
#include "core/file.h"
#include "core/options.h"
#include "core/provenance.h"
#include "recsys/log.h"

#define REC_FORMAT_CHOICES "auto|csv|tsv|inter|jsonl|movielens|pairs|sequences|blocks|log"
typedef enum rec_format {
    REC_FORMAT_AUTO,
    REC_FORMAT_CSV,
    REC_FORMAT_TSV,
    REC_FORMAT_INTER,
    REC_FORMAT_JSONL,
    REC_FORMAT_MOVIELENS,
    REC_FORMAT_PAIRS,
    REC_FORMAT_SEQUENCES,
    REC_FORMAT_BLOCKS,
    REC_FORMAT_LOG
} rec_format;

typedef enum rec_duplicates { REC_DUPLICATES_KEEP, REC_DUPLICATES_FIRST, REC_DUPLICATES_LAST } rec_duplicates;
typedef enum rec_time_sort { REC_TIME_EXACT, REC_TIME_FLOAT32 } rec_time_sort;
typedef enum rec_ties { REC_TIES_FILE, REC_TIES_ITEM, REC_TIES_RANDOM } rec_ties;

struct rec_load_options {
    char *columns, *valid, *test, *min_value, *time_from, *time_to, *item_names;
    double time_scale;
    int64_t min_user, min_item;
    int format, duplicates, time_sort, ties, strict, verify_log;
    /* Not options of their own: rec_load_prepare. */
    int64_t memory; /* bytes for reading and sorting; 0 = no limit */
    int64_t seed;   /* of --ties random */
};

typedef struct rec_load_counts { /* of what was read and what became of it */
    int64_t events;              /* read */
    int64_t malformed;           /* rows that could not be read */
    int64_t empty_users;         /* lines and blocks that name a user and no event */
    int64_t backwards;           /* events earlier than the one before them of their user, in the input's order */
    int64_t cut_times;           /* fractions that --time-scale did not keep */
    int64_t duplicates, low_value, outside_time; /* left out by --duplicates, --min-value, --time-from and --time-to */
    int64_t core_users, core_items, core_events; /* left out by --min-user and --min-item */
    int64_t core_rounds;
} rec_load_counts;

/* Takes --memory and --seed from the run. */
void rec_load_prepare(rec_load_options *o, const mb_run *run);
/* What NULL stands for. */
rec_load_options rec_load_defaults(void);
/* Several files, the one after the other, as one log; n = 1: rec_log_open. */
int rec_log_load(rec_log **out, char *const *inputs, int n, const rec_load_options *o, mb_err *e) MB_MUST_USE;
/* Every file that is read, for run.json. Standard input has no name and is left out. */
int rec_note_inputs(mb_provenance *p, char *const *inputs, int n, const rec_load_options *o, mb_err *e) MB_MUST_USE;
/* Refuses an output that is one of the inputs under whatever name. */
int rec_check_output(const char *output, char *const *inputs, int n, const rec_load_options *o, mb_err *e) MB_MUST_USE;

#define REC_LOAD_OPTION(S, F, NAME, ...)                                                                               \
    { .key = #NAME, .offset = offsetof(S, F.NAME), __VA_ARGS__ }
#define REC_LOAD_OPTIONS(S, F)                                                                                         \
    REC_LOAD_OPTION(S, F, format, .type = MB_OPT_CHOICE, .def = "auto", .choices = REC_FORMAT_CHOICES,                 \
                    .help = "Form of the input; auto: by its first lines. recmamba prep --help describes each."),      \
        REC_LOAD_OPTION(S, F, columns, .type = MB_OPT_STRING, .meta = "LIST",                                          \
                        .help = "Which columns or JSON keys to read: user=NAME,item=NAME and, where there are such, "  \
                                "time=NAME, value=NAME, aux=NAME (a second identifier, such as the problem of a "      \
                                "concept) and split=NAME (train, valid or test). A number is a column from 1; when "   \
                                "all are numbers, the file has no line of names. NAME '-' leaves a column out. "       \
                                "Unset: by the usual names (user_id, userId, movieId, timestamp, rating, ...)."),      \
        REC_LOAD_OPTION(S, F, valid, .type = MB_OPT_STRING, .meta = "FILE",                                            \
                        .help = "Validation events, in a file of their own: a given split."),                          \
        REC_LOAD_OPTION(S, F, test, .type = MB_OPT_STRING, .meta = "FILE", .help = "Test events, likewise."),          \
        REC_LOAD_OPTION(S, F, min_user, .type = MB_OPT_INT, .def = "0", .min = 0, .max = 1e9, .meta = "N",             \
                        .help = "k-core: only users with N events at least, and items with --min-item, taken out "     \
                                "together until both hold (RecBole's [N,inf))."),                                      \
        REC_LOAD_OPTION(S, F, min_item, .type = MB_OPT_INT, .def = "0", .min = 0, .max = 1e9, .meta = "N",             \
                        .help = "k-core: only items with N events at least."),                                         \
        REC_LOAD_OPTION(S, F, min_value, .type = MB_OPT_STRING, .meta = "X",                                           \
                        .help = "Only events of value X or more (ratings of 4 and up: 4). Before the k-core."),        \
        REC_LOAD_OPTION(S, F, time_from, .type = MB_OPT_STRING, .meta = "TIME",                                        \
                        .help = "Only events at TIME or later: a number as in the log, or 2018-09-24[T12:30:00]."),    \
        REC_LOAD_OPTION(S, F, time_to, .type = MB_OPT_STRING, .meta = "TIME", .help = "Only events before TIME."),     \
        REC_LOAD_OPTION(S, F, duplicates, .type = MB_OPT_CHOICE, .def = "keep", .choices = "keep|first|last",          \
                        .help =                                                                                        \
                            "Events of one user with one item: all are kept, or the first or last in time. Before "    \
                            "the other filters, as in RecBole."),                                                      \
        REC_LOAD_OPTION(S, F, time_scale, .type = MB_OPT_FLOAT, .def = "1", .min = 1e-9, .max = 1e9, .meta = "X",      \
                        .help = "Times are multiplied by X before they become whole numbers (1000 keeps the "          \
                                "milliseconds of fractional seconds). What is cut off is counted."),                   \
        REC_LOAD_OPTION(S, F, time_sort, .type = MB_OPT_CHOICE, .def = "exact", .choices = "exact|recbole_f32",        \
                        .help = "How events of a user are sorted: by their 64-bit times, or as RecBole does, by "      \
                                "times rounded to 32-bit floats (steps of 64 or 128 s for Unix times), where the "     \
                                "order of the file decides."),                                                         \
        REC_LOAD_OPTION(S, F, ties, .type = MB_OPT_CHOICE, .def = "file", .choices = "file|item|random",               \
                        .help = "Which of two events of equal time comes first: the first in the input, that with "    \
                                "the lower item identifier (numbers as numbers), or as --seed draws."),                \
        REC_LOAD_OPTION(S, F, strict, .type = MB_OPT_BOOL, .def = "false",                                             \
                        .help = "A malformed row is an error. Otherwise the first few are shown, all are counted and " \
                                "passed over."),                                                                       \
        REC_LOAD_OPTION(S, F, item_names, .type = MB_OPT_STRING, .meta = "FILE",                                       \
                        .help = "What people call the items, for readable output: RecBole's .item, or a table with a " \
                                "line of names (item_id or movieId, and movie_title, title or name)."),                \
        REC_LOAD_OPTION(S, F, verify_log, .type = MB_OPT_BOOL, .def = "true",                                          \
                        .help = "A log of recmamba prep is read once and held to its checksums when it is opened. "    \
                                "Sizes, offsets and item numbers are checked in either case.")
#endif
