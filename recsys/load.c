/* See load.h. Refuses the same standard input twice, filters of times or values that the input does not have, and a log
 * of which nothing is left. */
#include "recsys/load.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/mem.h"
#include "recsys/filter.h"
#include "recsys/loader.h"

void rec_load_prepare(rec_load_options *o, const mb_run *run) {
    o->memory = run->globals.memory;
    o->seed = run->globals.seed;
}

rec_load_options rec_load_defaults(void) {
    return (rec_load_options){.time_scale = 1, .verify_log = 1};
}

int rec_load_refuse_filters(const char *path, const rec_load_options *o, mb_err *e) {
    const struct {
        const char *option;
        int given;
    } FILTER[] = {{"--columns", o->columns != NULL},
                  {"--valid", o->valid != NULL},
                  {"--test", o->test != NULL},
                  {"--min-user", o->min_user != 0},
                  {"--min-item", o->min_item != 0},
                  {"--min-value", o->min_value != NULL},
                  {"--time-from", o->time_from != NULL},
                  {"--time-to", o->time_to != NULL},
                  {"--duplicates", o->duplicates != REC_DUPLICATES_KEEP},
                  {"--time-scale", o->time_scale != 1},
                  {"--time-sort", o->time_sort != REC_TIME_EXACT},
                  {"--ties", o->ties != REC_TIES_FILE},
                  {"--item-names", o->item_names != NULL}};
    for (size_t i = 0; i < sizeof FILTER / sizeof *FILTER; i++)
        if (FILTER[i].given)
            return mb_fail(e, MB_USAGE, "%s: is a log of recmamba prep, made already; give %s to prep", path,
                           FILTER[i].option);
    return MB_OK;
}

/* ---- the files ------------------------------------------------------------------------------------------------------
 */
static const char *other_file(const rec_load_options *o, int i) {
    const char *const file[] = {o->valid, o->test, o->item_names};
    return file[i];
}

int rec_note_inputs(mb_provenance *p, char *const *inputs, int n, const rec_load_options *o, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < n + 3; i++) {
        const char *path = i < n ? inputs[i] : other_file(o, i - n);
        if (path && strcmp(path, "-") != 0)
            rc = mb_provenance_file(p, "input", path, e);
    }
    return rc;
}

int rec_check_output(const char *output, char *const *inputs, int n, const rec_load_options *o, mb_err *e) {
    struct stat out, in;
    if (stat(output, &out) || !S_ISREG(out.st_mode))
        return MB_OK;
    for (int i = 0; i < n + 3; i++) {
        const char *path = i < n ? inputs[i] : other_file(o, i - n);
        if (path && stat(path, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
            return mb_fail(e, MB_USAGE, "%s: is an input too; it would be overwritten", output);
    }
    return MB_OK;
}

static int check_files(char *const *inputs, int n, const rec_load_options *o, mb_err *e) {
    int standard = 0;
    for (int i = 0; i < n + 2; i++) {
        const char *path = i < n ? inputs[i] : other_file(o, i - n);
        if (path && !*path)
            return mb_fail(e, MB_USAGE, "the name of an input is empty");
        standard += path && strcmp(path, "-") == 0;
    }
    return standard > 1 ? mb_fail(e, MB_USAGE, "standard input is there %d times, and can be read once", standard)
                        : MB_OK;
}

static int read_file(rec_intake *in, const char *path, int part, const rec_columns *c, mb_err *e) {
    rec_text t;
    int rc = rec_text_open(&t, path, e);
    if (rc != MB_OK)
        return rc;
    in->part = part;
    in->parted |= part != 0;
    rc = rec_read_text(in, &t, c, e);
    rec_text_close(&t);
    return rc;
}

static int read_files(rec_intake *in, char *const *inputs, int n, mb_err *e) {
    rec_columns c;
    int rc = rec_columns_parse(&c, in->o->columns, e);
    if (rc != MB_OK)
        return rc;
    for (int i = 0; rc == MB_OK && i < n; i++)
        rc = read_file(in, inputs[i], 0, &c, e);
    if (rc == MB_OK && in->o->valid)
        rc = read_file(in, in->o->valid, 1, &c, e);
    if (rc == MB_OK && in->o->test)
        rc = read_file(in, in->o->test, 2, &c, e);
    rec_columns_free(&c);
    return rc;
}

/* ---- reading --------------------------------------------------------------------------------------------------------
 */
static void tell(const rec_intake *in) {
    const rec_load_counts *c = &in->counts;
    if (c->malformed)
        mb_warn("%" PRId64 " malformed rows were passed over (--strict makes them an error)", c->malformed);
    if (c->empty_users)
        mb_warn("%" PRId64 " users without events were left out", c->empty_users);
    if (c->cut_times)
        mb_warn("%" PRId64 " times lost a fraction (--time-scale 1000 keeps milliseconds)", c->cut_times);
    if (c->backwards)
        mb_info("%" PRId64 " events are earlier than the one before them of their user; sorted by time", c->backwards);
    if (rec_spool_runs(in->spool))
        mb_info("sorted on disk in %d runs, to stay within --memory", rec_spool_runs(in->spool));
}

static char *make_recipe(const rec_intake *in) {
    static const char *const TIME[] = {"exact", "recbole_f32"}, *const TIES[] = {"file", "item", "random"},
                             *const DUPLICATES[] = {"keep", "first", "last"};
    const rec_load_options *o = in->o;
    const rec_load_counts *c = &in->counts;
    char seed[32] = "null";
    if (o->ties == REC_TIES_RANDOM)
        snprintf(seed, sizeof seed, "%" PRId64, o->seed);
    return mb_asprintf(
        "{\"time_sort\": \"%s\", \"ties\": \"%s\", \"seed\": %s, \"time_scale\": %.17g, \"duplicates\": \"%s\", "
        "\"min_user\": %" PRId64 ", \"min_item\": %" PRId64 ", \"events\": %" PRId64 ", \"malformed\": %" PRId64
        ", \"empty_users\": %" PRId64 ", \"backwards\": %" PRId64 ", \"cut_times\": %" PRId64
        ", \"duplicates_dropped\": %" PRId64 ", \"low_value\": %" PRId64 ", \"outside_time\": %" PRId64
        ", \"core_users\": %" PRId64 ", \"core_items\": %" PRId64 ", \"core_events\": %" PRId64
        ", \"core_rounds\": %" PRId64 "}",
        TIME[o->time_sort], TIES[o->ties], seed, o->time_scale, DUPLICATES[o->duplicates], o->min_user, o->min_item,
        c->events, c->malformed, c->empty_users, c->backwards, c->cut_times, c->duplicates, c->low_value,
        c->outside_time, c->core_users, c->core_items, c->core_events, c->core_rounds);
}

static int finish(rec_sink *k, rec_intake *in, mb_err *e) {
    int rc = rec_spool_sort(in->spool, &in->order, e);
    if (rc == MB_OK)
        rc = rec_filter(in, e);
    if (rc != MB_OK)
        return rc;
    tell(in);
    char *recipe = make_recipe(in);
    rc = recipe ? rec_build(k, in, recipe, e) : mb_fail(e, MB_NOMEM, "no memory to describe the log");
    mb_free(recipe);
    return rc;
}

int rec_load(rec_sink *k, char *const *inputs, int n, const rec_load_options *o, rec_load_counts *counts, mb_err *e) {
    rec_intake in = {.o = o,
                     .order = {.time = o->time_sort, .ties = o->ties, .seed = (uint64_t)o->seed, .items = &in.item}};
    int rc = check_files(inputs, n, o, e);
    if (rc == MB_OK)
        rc = rec_spool_create(&in.spool, o->memory > 0 ? o->memory / 2 : INT64_MAX, NULL, e);
    if (rc == MB_OK) {
        in.progress = mb_progress_start("reading", "events", 0);
        rc = read_files(&in, inputs, n, e);
        mb_progress_add(in.progress, (double)(in.counts.events % 65536));
        mb_progress_finish(in.progress);
    }
    if (rc == MB_OK)
        rc = finish(k, &in, e);
    if (counts)
        *counts = in.counts;
    rec_spool_destroy(in.spool);
    rec_names_free(&in.user);
    rec_names_free(&in.item);
    rec_names_free(&in.aux);
    mb_free(in.last_time);
    return rc;
}
