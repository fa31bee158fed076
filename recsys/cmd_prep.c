/* recmamba prep: logs of events, however large, as one compact file that is mapped. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/result.h"
#include "recsys/commands.h"
#include "recsys/loader.h"
#include "recsys/stats.h"

typedef struct prep_values {
    rec_load_options load;
    rec_split_options split;
    char *output;
    int json;
} prep_values;

#define V prep_values
static const mb_option OPTIONS[] = {{.key = "output",
                                     .letter = 'o',
                                     .type = MB_OPT_STRING,
                                     .offset = offsetof(V, output),
                                     .meta = "LOG",
                                     .help = "The log that is made. LOG.run.json says how."},
                                    {.key = "json",
                                     .type = MB_OPT_BOOL,
                                     .offset = offsetof(V, json),
                                     .def = "false",
                                     .help = "Print the statistics as JSON."},
                                    REC_LOAD_OPTIONS(V, load),
                                    REC_SPLIT_OPTIONS(V, split),
                                    {0}};
#undef V

static const char DETAILS[] =
    "Reads logs of events (who met what, when) and writes one compact file that the other verbs map instead of reading "
    "text again: numbers instead of identifiers, both ways of finding one from the other, 64-bit times, events grouped "
    "by user and sorted by time. Several inputs are one log, in the order given. Inputs may be larger than memory: "
    "beyond half of --memory, sorted runs go to scratch files in TMPDIR (/tmp) and are merged; identifiers must fit in "
    "the other half. The bytes of the log do not depend on --memory or --threads. Prints statistics and the "
    "fingerprint of the split: programs that print the same one train and test on the same events in the same order.\n"
    "\n"
    "Formats (--format; auto looks at the first lines). All may be packed by gzip, xz or zstd, and - is standard "
    "input:\n"
    "  csv, tsv   tables with a line of names and RFC 4180 quotes, apart by commas,\n"
    "             tabs, semicolons or bars; or without names and --columns\n"
    "             user=1,item=2\n"
    "  inter      RecBole's atomic files: user_id:token, item_id:token, ...\n"
    "  jsonl      an object a line\n"
    "  movielens  user::item::rating::timestamp\n"
    "  pairs      user and item a line, in the user's order (SASRec)\n"
    "  sequences  a user and all items a line\n"
    "  blocks     knowledge tracing, as ASSISTments: the student (or the number of\n"
    "             answers), the problems (or no such line), the concepts, the\n"
    "             answers. A concept is an item, an answer its value, a problem\n"
    "             the aux identifier.\n"
    "  log        what recmamba prep made (for the other verbs)\n"
    "Times are numbers or dates of ISO 8601. Identifiers are bytes: spaces, quotes and any UTF-8 stay as they are.\n"
    "\n"
    "Filters work in RecBole's order: --duplicates; --min-value, --time-from, --time-to; then --min-user and "
    "--min-item, together, until nothing changes. Users and items are numbered in the order of first appearance in what "
    "is left. Malformed rows are shown with file and line, counted and passed over, or an error with --strict.\n"
    "\n"
    "  recmamba prep recsys/data/ml-latest-small.csv.gz -o build/ml.log --min-user 5 --min-item 5 --item-names "
    "recsys/data/ml-latest-small.movies.csv.gz\n"
    "  zcat recsys/data/ml-latest-small.csv.gz | recmamba prep - -o build/liked.log --min-value 4 --columns "
    "user=userId,item=movieId,time=timestamp,value=rating\n"
    "  recmamba prep recsys/data/ml-latest-small.csv.gz -o build/f32.log --time-sort recbole_f32 --memory 4M\n"
    "  recmamba info build/ml.log";

/* What was made, read back from where it lies. */
static int describe(const prep_values *v, const char *path, mb_provenance *p, mb_err *e) {
    rec_log *l = NULL;
    rec_stats s = {0};
    rec_split split = {0};
    int rc = rec_log_map(&l, path, 1, e);
    if (rc == MB_OK)
        rc = rec_stats_make(&s, l, e);
    if (rc == MB_OK)
        rc = rec_split_make(&split, l, &v->split, v->load.time_scale, e);
    char *json = rc == MB_OK ? rec_stats_json(&s, l, &split) : NULL;
    if (rc == MB_OK && (!json || mb_provenance_note(p, "fingerprint", split.fingerprint) != MB_OK ||
                        mb_provenance_note(p, "items_digest", rec_log_items_digest(l)) != MB_OK ||
                        mb_provenance_note(p, "recipe", rec_log_recipe(l)) != MB_OK))
        rc = mb_fail(e, MB_NOMEM, "no memory for the statistics of the log");
    if (rc == MB_OK && v->json)
        printf("%s\n", json);
    else if (rc == MB_OK)
        rec_stats_print(&s, l, &split, stdout);
    mb_free(json);
    rec_split_free(&split);
    rec_log_close(l);
    return rc;
}

static int make(mb_run *run, const prep_values *v, mb_provenance *p, mb_out *out, mb_err *e) {
    rec_sink k = {.out = out};
    rec_load_counts c;
    const double start = mb_clock_seconds();
    int rc = rec_load(&k, run->args, run->nargs, &v->load, &c, e);
    if (rc != MB_OK)
        return rc;
    const double seconds = mb_clock_seconds() - start;
    char bytes[32], rate[32], time[32];
    rc = describe(v, mb_out_temp_path(out), p, e);
    if (rc == MB_OK)
        mb_info("%" PRId64 " events read, sorted and written as %s in %s, %s events/s", c.events,
                mb_human_bytes((double)k.h.bytes, bytes), mb_human_seconds(seconds, time),
                mb_human_count((double)c.events / (seconds > 1e-6 ? seconds : 1e-6), rate));
    return rc == MB_OK ? rec_note_inputs(p, run->args, run->nargs, &v->load, e) : rc;
}

static int run_prep(mb_run *run, mb_err *e) {
    prep_values *v = run->values;
    mb_provenance *p = NULL;
    mb_out *out = NULL;
    rec_load_prepare(&v->load, run);
    if (!v->output)
        return mb_fail(e, MB_USAGE, "where to? -o LOG");
    if (mb_path_is_direct(v->output))
        return mb_fail(e, MB_USAGE, "%s: a log is mapped, so it must be a regular file", v->output);
    int rc = rec_check_output(v->output, run->args, run->nargs, &v->load, e);
    if (rc == MB_OK)
        rc = mb_provenance_start(&p, run, e);
    if (rc == MB_OK)
        rc = mb_out_create(&out, v->output, e);
    if (rc == MB_OK)
        rc = make(run, v, p, out, e);
    if (rc == MB_OK && run->globals.dry_run) {
        mb_info("--dry-run: %s is not written", v->output);
        mb_out_abort(out);
        out = NULL;
    } else {
        rc = mb_result_commit(v->output, &out, 1, p, rc, e);
    }
    mb_provenance_free(p);
    return rc;
}

const mb_verb rec_prep_verb = {.name = "prep",
                               .summary = "logs of events, also larger than memory, as one compact mapped file",
                               .usage = "IN... -o LOG [options]",
                               .details = DETAILS,
                               .options = OPTIONS,
                               .values_size = sizeof(prep_values),
                               .min_args = 1,
                               .max_args = -1,
                               .run = run_prep};
