/* recmamba recommend: the best next items for users of a log. This file: options, who is asked for, what is printed. A
 * block of users at a time is run and scored, so memory does not depend on how many there are. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/result.h"
#include "recsys/commands.h"
#include "recsys/items.h"
#include "recsys/list.h"
#include "recsys/load.h"
#include "recsys/top.h"
#include "recsys/use.h"

enum { FORMAT_AUTO, FORMAT_JSONL, FORMAT_TSV, MOST_USERS = 2048 };
static const int64_t MOST_EVENTS = (int64_t)1 << 22; /* of a block, unless one user has more */

typedef struct recommend_values {
    rec_use_values use;
    rec_load_options load;
    char *output, *users, *allow, *deny;
    int64_t k;
    int filter_seen, output_format;
} recommend_values;

#define V recommend_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    REC_USE_OPTIONS(V, use),
    OPTION(k, INT, .letter = 'k', .def = "10", .min = 1, .max = 1e6, .meta = "N",
           .help = "Items for each user; fewer when fewer are left."),
    OPTION(output, STRING, .letter = 'o', .def = "-", .meta = "FILE",
           .help = "Where they go; - is standard output. FILE.run.json says how it was made."),
    OPTION(output_format, CHOICE, .def = "auto", .choices = "auto|jsonl|tsv",
           .help = "jsonl: a line per user; tsv: a line per user and item. auto: jsonl when FILE ends with .jsonl or "
                   ".json, else tsv."),
    OPTION(users, STRING, .meta = "FILE|ID,ID,..",
           .help = "Only these users, in this order: a file with an identifier a line, or identifiers with commas "
                   "between. Unset: all, in the order of the log."),
    OPTION(filter_seen, CHOICE, .def = "on", .choices = "on|off",
           .help = "on: items of the user's history are not recommended."),
    OPTION(allow, STRING, .meta = "FILE|ID,ID,..", .help = "Only these items are recommended."),
    OPTION(deny, STRING, .meta = "FILE|ID,ID,..", .help = "These items are not recommended."),
    REC_LOAD_OPTIONS(V, load),
    {0}};
#undef OPTION
#undef V

static const char DETAILS[] =
    "Runs the model over the history of each user - all events of the log, in order - and prints the k items that score "
    "highest as the next one, with their scores (logits: the larger, the likelier; differences are log ratios of "
    "probabilities). Of equal scores the item that the model met first comes first. The bytes do not depend on "
    "--threads or --memory.\n"
    "\n"
    "tsv has the columns user, rank (from 1), item, score; jsonl has {\"user\": .., \"items\": [..], \"scores\": [..]}. "
    "With --item-names there are names, too. Identifiers are those of the log; in tsv, one that begins with a quote or "
    "holds control characters is written as a JSON string.\n"
    "\n"
    "The model needs no users of its own: any log will do whose items it knows. Items that it does not know are passed "
    "over and counted; users of whose history nothing is left get no lines and are counted.\n"
    "\n"
    "  recmamba recommend recsys/data/ml-latest-small.csv.gz -m build/movies -k 5 -o build/top.jsonl\n"
    "  recmamba recommend recsys/data/ml-latest-small.csv.gz -m build/movies --users 1,2,3 --item-names "
    "recsys/data/ml-latest-small.movies.csv.gz";

typedef struct job {
    mb_run *run;
    const recommend_values *v;
    rec_log *log;
    rec_model *model;
    int32_t *map;         /* (log items + 1) */
    int32_t *user, users; /* to be asked for */
    uint8_t *candidate;   /* (model items + 1) */
    int k, jsonl, named, room;
    rec_query *query; /* (room) */
    int32_t *history; /* of a block, in the model's numbering */
    int64_t history_room;
    int32_t *log_item;     /* (model items + 1) the log's item of each of the model's, 0 none; with names */
    float *vector, *score; /* (room,D), (room, items+1) */
    rec_hit *hit;          /* (room,k) */
    int *found;            /* (room) */
    int64_t told, without; /* users who got lines; who have no history */
    mb_out *out;
} job;

/* ---- who and what ---------------------------------------------------------------------------------------------------
 */

static int take_users(job *j, mb_err *e) {
    const int32_t n = rec_log_view(j->log)->n_users;
    rec_names list = {0};
    int rc = j->v->users ? rec_list_read(&list, j->v->users, "user", e) : MB_OK;
    if (rc == MB_OK && !(j->user = mb_calloc((size_t)(j->v->users ? list.n : n) + 1, sizeof *j->user)))
        rc = mb_fail(e, MB_NOMEM, "no memory for a list of users");
    for (int32_t i = 0; rc == MB_OK && i < (j->v->users ? list.n : n); i++) {
        const int32_t u =
            j->v->users ? rec_log_find_user(j->log, list.text + list.at[i], (int)(list.at[i + 1] - list.at[i])) : i;
        if (u >= 0)
            j->user[j->users++] = u;
    }
    if (rc == MB_OK && j->v->users && j->users == 0)
        rc = mb_fail(e, MB_FORMAT, "--users: the log has none of the %d users", list.n);
    else if (rc == MB_OK && j->v->users && j->users < list.n)
        mb_warn("--users: the log does not have %d of the %d users", list.n - j->users, list.n);
    rec_names_free(&list);
    return rc;
}

/* Sets candidate[item] of each item on the list. */
static int take_items(job *j, const char *value, const char *option, int set, mb_err *e) {
    rec_names list = {0};
    int32_t known = 0;
    int rc = rec_list_read(&list, value, "item", e);
    for (int32_t i = 0; rc == MB_OK && i < list.n; i++) {
        const int32_t item = rec_model_find_item(j->model, list.text + list.at[i], (int)(list.at[i + 1] - list.at[i]));
        known += item > 0;
        if (item > 0)
            j->candidate[item] = (uint8_t)set;
    }
    if (rc == MB_OK && known == 0 && set)
        rc = mb_fail(e, MB_FORMAT, "%s: the model knows none of the %d items", option, list.n);
    else if (rc == MB_OK && known < list.n)
        mb_warn("%s: the model does not know %d of the %d items", option, list.n - known, list.n);
    rec_names_free(&list);
    return rc;
}

static int take_candidates(job *j, mb_err *e) {
    const size_t n = (size_t)rec_model_items(j->model) + 1;
    int rc = MB_OK;
    if (!(j->candidate = mb_malloc(n)))
        return mb_fail(e, MB_NOMEM, "no memory for %zu items", n);
    memset(j->candidate, j->v->allow == NULL, n);
    if (j->v->allow)
        rc = take_items(j, j->v->allow, "--allow", 1, e);
    if (rc == MB_OK && j->v->deny)
        rc = take_items(j, j->v->deny, "--deny", 0, e);
    return rc;
}

static int take_names(job *j, mb_err *e) {
    const int32_t n = rec_log_view(j->log)->n_items;
    if (!j->v->load.item_names)
        return MB_OK;
    j->named = 1;
    if (!(j->log_item = mb_calloc((size_t)rec_model_items(j->model) + 1, sizeof *j->log_item)))
        return mb_fail(e, MB_NOMEM, "no memory for the names of items");
    for (int32_t i = 1; i <= n; i++)
        j->log_item[j->map[i]] = i;
    j->log_item[0] = 0;
    return MB_OK;
}

static int set_up(job *j, mb_err *e) {
    recommend_values *v = j->run->values;
    const char *output = v->output;
    int32_t unknown;
    rec_load_prepare(&v->load, j->run);
    int rc = rec_use_open(&j->model, &v->use, j->run, e);
    if (rc == MB_OK)
        rc = rec_log_load(&j->log, j->run->args, j->run->nargs, &v->load, e);
    if (rc != MB_OK)
        return rc;
    j->k = (int)(v->k < rec_model_items(j->model) ? v->k : rec_model_items(j->model));
    j->jsonl = v->output_format == FORMAT_AUTO
                   ? mb_path_ends_with(output, ".jsonl") || mb_path_ends_with(output, ".json")
                   : v->output_format == FORMAT_JSONL;
    j->map = mb_calloc((size_t)rec_log_view(j->log)->n_items + 1, sizeof *j->map);
    rc = j->map ? rec_model_map_items(j->model, j->log, j->map, &unknown, e)
                : mb_fail(e, MB_NOMEM, "no memory to compare items");
    if (rc == MB_OK) {
        rec_use_warn(j->model, j->log, j->map);
        rc = take_users(j, e);
    }
    if (rc == MB_OK)
        rc = take_candidates(j, e);
    return rc == MB_OK ? take_names(j, e) : rc;
}

static int make_room(job *j, mb_err *e) {
    const size_t D = (size_t)mb_model_config(rec_model_engine(j->model))->D;
    j->room = rec_use_block(j->model, j->run, MOST_USERS);
    const size_t room = (size_t)j->room;
    j->query = mb_calloc(room, sizeof *j->query);
    j->vector = mb_calloc(room, D * sizeof *j->vector);
    j->score = mb_calloc(room, ((size_t)rec_model_items(j->model) + 1) * sizeof *j->score);
    j->hit = mb_calloc(room, (size_t)j->k * sizeof *j->hit);
    j->found = mb_calloc(room, sizeof *j->found);
    return j->query && j->vector && j->score && j->hit && j->found
               ? MB_OK
               : mb_fail(e, MB_NOMEM, "no memory for the scores of %d users", j->room);
}

/* ---- a block of users -----------------------------------------------------------------------------------------------
 */

/* From user number `from` of the list: *n queries, and how many users that used up. */
static int take_block(job *j, int32_t from, int *n, int32_t *used, mb_err *e) {
    const rec_view *v = rec_log_view(j->log);
    int64_t events = 0, at = 0;
    int32_t end = from;
    while (end < j->users && end - from < j->room) {
        const int32_t u = j->user[end];
        const int64_t own = v->user_at[u + 1] - v->user_at[u];
        if (end > from && events + own > MOST_EVENTS)
            break;
        events += own;
        end++;
    }
    if (events > j->history_room) {
        int32_t *history = mb_realloc_array(j->history, (size_t)events, sizeof *history);
        if (!history)
            return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " events", events);
        j->history = history;
        j->history_room = events;
    }
    *n = 0;
    for (int32_t i = from; i < end; i++) {
        const int32_t u = j->user[i];
        const int64_t first = v->user_at[u];
        const int64_t kept = rec_map_history(j->map, v->item + first, v->user_at[u + 1] - first, j->history + at);
        if (kept > 0)
            j->query[(*n)++] = (rec_query){.user = u, .item = j->history + at, .n = kept};
        at += kept;
    }
    j->without += end - from - *n;
    *used = end - from;
    return MB_OK;
}

static void pick(job *j, int i) {
    float *score = j->score + (size_t)i * ((size_t)rec_model_items(j->model) + 1);
    const rec_query *q = &j->query[i];
    for (int64_t t = 0; j->v->filter_seen == 0 && t < q->n; t++)
        score[q->item[t]] = NAN;
    j->found[i] = rec_top(score, rec_model_items(j->model), j->candidate, j->k, j->hit + (size_t)i * (size_t)j->k);
}

static int run_block(job *j, int n, mb_err *e) {
    int rc = rec_model_encode(j->model, j->query, n, j->vector, e);
    if (rc == MB_OK)
        rc = rec_model_scores(j->model, j->vector, n, j->score, e);
    if (rc != MB_OK)
        return rc;
#pragma omp parallel for num_threads((int)j->run->globals.threads) schedule(dynamic, 8)
    for (int i = 0; i < n; i++)
        pick(j, i);
    return MB_OK;
}

/* ---- output ---------------------------------------------------------------------------------------------------------
 */

static rec_id name_of(const job *j, int32_t item) {
    return j->log_item[item] ? rec_log_item_name(j->log, j->log_item[item]) : (rec_id){"", 0};
}

static int put_tsv(const job *j, rec_id user, const rec_hit *hit, int n, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < n; i++) {
        rc = rec_id_put(j->out, user, e);
        if (rc == MB_OK)
            rc = mb_out_printf(j->out, e, "\t%d\t", i + 1);
        if (rc == MB_OK)
            rc = rec_id_put(j->out, rec_model_item_id(j->model, hit[i].item), e);
        if (rc == MB_OK)
            rc = mb_out_printf(j->out, e, "\t%.9g", (double)hit[i].score);
        if (rc == MB_OK && j->named)
            rc = mb_out_write(j->out, "\t", 1, e);
        if (rc == MB_OK && j->named)
            rc = rec_id_put(j->out, name_of(j, hit[i].item), e);
        if (rc == MB_OK)
            rc = mb_out_write(j->out, "\n", 1, e);
    }
    return rc;
}

static int put_ids(const job *j, const char *key, int names, const rec_hit *hit, int n, mb_err *e) {
    int rc = mb_out_printf(j->out, e, ", \"%s\": [", key);
    for (int i = 0; rc == MB_OK && i < n; i++) {
        if (i > 0)
            rc = mb_out_write(j->out, ", ", 2, e);
        if (rc == MB_OK)
            rc = rec_id_put_json(j->out, names ? name_of(j, hit[i].item) : rec_model_item_id(j->model, hit[i].item), e);
    }
    return rc == MB_OK ? mb_out_write(j->out, "]", 1, e) : rc;
}

static int put_jsonl(const job *j, rec_id user, const rec_hit *hit, int n, mb_err *e) {
    int rc = mb_out_printf(j->out, e, "{\"user\": ");
    if (rc == MB_OK)
        rc = rec_id_put_json(j->out, user, e);
    if (rc == MB_OK)
        rc = put_ids(j, "items", 0, hit, n, e);
    if (rc == MB_OK && j->named)
        rc = put_ids(j, "names", 1, hit, n, e);
    if (rc == MB_OK)
        rc = mb_out_printf(j->out, e, ", \"scores\": [");
    for (int i = 0; rc == MB_OK && i < n; i++)
        rc = mb_out_printf(j->out, e, "%s%.9g", i ? ", " : "", (double)hit[i].score);
    return rc == MB_OK ? mb_out_printf(j->out, e, "]}\n") : rc;
}

static int put_block(job *j, int n, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < n; i++) {
        const rec_id user = rec_log_user_id(j->log, j->query[i].user);
        rc = (j->jsonl ? put_jsonl : put_tsv)(j, user, j->hit + (size_t)i * (size_t)j->k, j->found[i], e);
        j->told++;
    }
    return rc;
}

static int run_users(job *j, mb_err *e) {
    mb_progress *progress = mb_progress_start("recommend", "users", j->users);
    int rc = make_room(j, e);
    if (rc == MB_OK && !j->jsonl)
        rc = mb_out_printf(j->out, e, "user\trank\titem\tscore%s\n", j->named ? "\tname" : "");
    for (int32_t from = 0, used = 0; rc == MB_OK && from < j->users; from += used) {
        int n = 0;
        if (atomic_load_explicit(mb_cli_stop(), memory_order_relaxed))
            rc = mb_fail(e, MB_STOPPED, "stopped after %d of %d users", from, j->users);
        if (rc == MB_OK)
            rc = take_block(j, from, &n, &used, e);
        if (rc == MB_OK && n > 0)
            rc = run_block(j, n, e);
        if (rc == MB_OK)
            rc = put_block(j, n, e);
        mb_progress_add(progress, used);
    }
    mb_progress_finish(progress);
    return rc;
}

static int compute(job *j, mb_err *e) {
    mb_provenance *p = NULL;
    int rc = rec_check_output(j->v->output, j->run->args, j->run->nargs, &j->v->load, e);
    if (rc == MB_OK)
        rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = mb_out_create(&j->out, j->v->output, e);
    if (rc == MB_OK)
        rc = run_users(j, e);
    if (rc == MB_OK)
        rc = rec_note_inputs(p, j->run->args, j->run->nargs, &j->v->load, e);
    if (rc == MB_OK)
        rc = rec_use_note(j->model, p, e);
    rc = mb_result_commit(j->v->output, &j->out, 1, p, rc, e);
    mb_provenance_free(p);
    if (rc == MB_OK && j->without > 0)
        mb_warn("%" PRId64 " users have no event that the model knows and got nothing", j->without);
    return rc;
}

static void print_plan(const job *j) {
    printf("model        %s: %d items, window %" PRId64 "\n", rec_model_folder(j->model), rec_model_items(j->model),
           rec_model_window(j->model));
    printf("users        %d of the log's %d, %d at a time\n", j->users, rec_log_view(j->log)->n_users,
           rec_use_block(j->model, j->run, MOST_USERS));
    printf("output       %s, %s (dry run: nothing was written)\n", j->v->output, j->jsonl ? "jsonl" : "tsv");
}

static void fini(job *j) {
    rec_log_close(j->log);
    rec_model_close(j->model);
    mb_free(j->map);
    mb_free(j->user);
    mb_free(j->candidate);
    mb_free(j->query);
    mb_free(j->history);
    mb_free(j->log_item);
    mb_free(j->vector);
    mb_free(j->score);
    mb_free(j->hit);
    mb_free(j->found);
}

static int run_recommend(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    int rc = set_up(&j, e);
    if (rc == MB_OK && run->globals.dry_run)
        print_plan(&j);
    else if (rc == MB_OK)
        rc = compute(&j, e);
    fini(&j);
    return rc;
}

const mb_verb rec_recommend_verb = {.name = "recommend",
                                    .summary = "the best next items for users of a log",
                                    .usage = "LOG... -m FOLDER [-k N] [-o FILE] [options]",
                                    .details = DETAILS,
                                    .options = OPTIONS,
                                    .values_size = sizeof(recommend_values),
                                    .min_args = 1,
                                    .max_args = -1,
                                    .run = run_recommend};
