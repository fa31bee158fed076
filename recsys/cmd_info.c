/* recmamba info: what a log is like, and the fingerprint of its split. */
#include <inttypes.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "recsys/commands.h"
#include "recsys/load.h"
#include "recsys/stats.h"

typedef struct info_values {
    rec_load_options load;
    rec_split_options split;
    int json;
} info_values;

#define V info_values
static const mb_option OPTIONS[] = {
    {.key = "json", .type = MB_OPT_BOOL, .offset = offsetof(V, json), .def = "false", .help = "Print JSON."},
    REC_SPLIT_OPTIONS(V, split),
    REC_LOAD_OPTIONS(V, load),
    {0}};
#undef V

static const char DETAILS[] =
    "Reads logs of events (several files are one log) or a log of recmamba prep, and prints its users, items and "
    "events, the lengths of histories, how often items come, the range of times, repeats, and the fingerprint of the "
    "split: programs that print the same one train and test on the same events in the same order. The formats are those "
    "of recmamba prep --help.\n"
    "\n"
    "  recmamba info recsys/data/ml-latest-small.csv.gz\n"
    "  recmamba info recsys/data/ml-latest-small.csv.gz --min-user 5 --min-item 5 --time-sort recbole_f32 --json";

static int print(const info_values *v, const rec_log *l, mb_err *e) {
    rec_stats s = {0};
    rec_split split = {0};
    int rc = rec_stats_make(&s, l, e);
    if (rc == MB_OK)
        rc = rec_split_make(&split, l, &v->split, v->load.time_scale, e);
    if (rc == MB_OK && v->json) {
        char *text = rec_stats_json(&s, l, &split);
        if (text)
            printf("%s\n", text);
        else
            rc = mb_fail(e, MB_NOMEM, "no memory for the JSON of a log");
        mb_free(text);
    } else if (rc == MB_OK) {
        rec_stats_print(&s, l, &split, stdout);
    }
    rec_split_free(&split);
    return rc;
}

static int run_info(mb_run *run, mb_err *e) {
    info_values *v = run->values;
    rec_log *l = NULL;
    if (mb_dir_exists(run->args[0]))
        return mb_fail(e, MB_USAGE, "%s: is a folder; expected a log", run->args[0]);
    rec_load_prepare(&v->load, run);
    int rc = rec_log_load(&l, run->args, run->nargs, &v->load, e);
    if (rc == MB_OK)
        rc = print(v, l, e);
    rec_log_close(l);
    return rc;
}

const mb_verb rec_info_verb = {.name = "info",
                               .summary = "what a log is like: sizes, lengths, times, split and fingerprint",
                               .usage = "LOG... [options]",
                               .details = DETAILS,
                               .options = OPTIONS,
                               .values_size = sizeof(info_values),
                               .min_args = 1,
                               .max_args = -1,
                               .run = run_info};
