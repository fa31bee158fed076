/* recmamba score: how likely given items are as the next ones of given users. A block of pairs at a time, whose users
 * are run together, so memory does not depend on how many pairs there are. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/result.h"
#include "recsys/commands.h"
#include "recsys/items.h"
#include "recsys/load.h"
#include "recsys/text.h"
#include "recsys/use.h"

enum { MOST_USERS = 2048, MOST_PAIRS = 1 << 18 };

typedef struct score_values {
    rec_use_values use;
    rec_load_options load;
    char *output, *candidates;
    int header;
} score_values;

#define V score_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    REC_USE_OPTIONS(V, use),
    OPTION(candidates, STRING, .letter = 'c', .meta = "FILE",
           .help = "Pairs to score: a line each, user and item with a tab between (what follows another tab is passed "
                   "over); plain or compressed; - is standard input. Pairs of one user go faster when they stand "
                   "together."),
    OPTION(header, BOOL, .def = "false", .help = "The first line of the pairs names columns and is passed over."),
    OPTION(output, STRING, .letter = 'o', .def = "-", .meta = "FILE",
           .help = "TSV: user, item, score, in the order of the pairs; - is standard output. FILE.run.json says how it "
                   "was made."),
    REC_LOAD_OPTIONS(V, load),
    {0}};
#undef OPTION
#undef V

static const char DETAILS[] =
    "Runs the model over the history of each user - all events of the log, in order - and prints the score of each "
    "given item as the next one: a logit, of which differences are log ratios of probabilities; the same to the bit as "
    "recmamba recommend prints. A user who is not in the log, or of whose history the model knows nothing, and an item "
    "that the model does not know have the score nan; they are counted.\n"
    "\n"
    "  printf '1\\t318\\n1\\t296\\n2\\t318\\n' | recmamba score recsys/data/ml-latest-small.csv.gz -m build/movies -c -";

typedef struct pair {
    int32_t user, item; /* of the log, -1 none; of the model, 0 none */
    int64_t text;       /* where its line begins in the block's text */
    int user_n, item_n; /* bytes of both there */
} pair;

typedef struct job {
    mb_run *run;
    const score_values *v;
    rec_log *log;
    rec_model *model;
    int32_t *map;  /* (log items + 1) */
    int32_t *slot; /* (users) place in the block, -1 none */
    pair *pair;    /* (MOST_PAIRS) */
    int64_t n;
    char *words;
    int64_t words_n, words_room;
    int32_t *user, users, room; /* (room) of the block */
    rec_query *query;
    int32_t *history;
    int64_t history_room;
    float *vector, *score;
    int64_t pairs, unknown;
    mb_out *out;
} job;

static int set_up(job *j, mb_err *e) {
    score_values *v = j->run->values;
    int32_t unknown;
    if (!v->candidates)
        return mb_fail(e, MB_USAGE, "which pairs? --candidates FILE: a user and an item a line");
    rec_load_prepare(&v->load, j->run);
    int rc = rec_use_open(&j->model, &v->use, j->run, e);
    if (rc == MB_OK)
        rc = rec_log_load(&j->log, j->run->args, j->run->nargs, &v->load, e);
    if (rc != MB_OK)
        return rc;
    const size_t users = (size_t)rec_log_view(j->log)->n_users,
                 D = (size_t)mb_model_config(rec_model_engine(j->model))->D;
    j->room = rec_use_block(j->model, j->run, MOST_USERS);
    const size_t room = (size_t)j->room;
    j->map = mb_calloc((size_t)rec_log_view(j->log)->n_items + 1, sizeof *j->map);
    j->slot = mb_calloc(users + 1, sizeof *j->slot);
    j->pair = mb_calloc(MOST_PAIRS, sizeof *j->pair);
    j->user = mb_calloc(room, sizeof *j->user);
    j->query = mb_calloc(room, sizeof *j->query);
    j->vector = mb_calloc(room, D * sizeof *j->vector);
    j->score = mb_calloc(room, ((size_t)rec_model_items(j->model) + 1) * sizeof *j->score);
    if (!j->map || !j->slot || !j->pair || !j->user || !j->query || !j->vector || !j->score)
        return mb_fail(e, MB_NOMEM, "no memory for the scores of %d users", j->room);
    for (size_t u = 0; u < users; u++)
        j->slot[u] = -1;
    rc = rec_model_map_items(j->model, j->log, j->map, &unknown, e);
    if (rc == MB_OK)
        rec_use_warn(j->model, j->log, j->map);
    return rc;
}

/* ---- a block of pairs -----------------------------------------------------------------------------------------------
 */

static int keep_words(job *j, size_t n, mb_err *e) {
    if (j->words_n + (int64_t)n <= j->words_room)
        return MB_OK;
    const int64_t room = 2 * j->words_room + (int64_t)n + 4096;
    char *words = mb_realloc(j->words, (size_t)room);
    if (!words)
        return mb_fail(e, MB_NOMEM, "no memory for a block of pairs");
    j->words = words;
    j->words_room = room;
    return MB_OK;
}

static int bad_line(const rec_text *t, const char *what, mb_err *e) {
    return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": %s; expected a user and an item with a tab between", t->name, t->line,
                   what);
}

static int take_pair(job *j, const rec_text *t, const char *line, size_t n, mb_err *e) {
    const char *tab = memchr(line, '\t', n), *end = line + n;
    if (!tab)
        return bad_line(t, "one field only", e);
    const char *more = memchr(tab + 1, '\t', (size_t)(end - tab - 1));
    int rc = keep_words(j, n, e);
    if (rc != MB_OK)
        return rc;
    pair *p = &j->pair[j->n];
    char *user = j->words + j->words_n, *item = rec_id_parse(line, tab, user);
    char *stop = item ? rec_id_parse(tab + 1, more ? more : end, item) : NULL;
    if (!stop)
        return bad_line(t, "begins with a quote, but is not a whole JSON string", e);
    if (item == user || stop == item)
        return bad_line(t, "a field is empty", e);
    *p = (pair){.text = j->words_n, .user_n = (int)(item - user), .item_n = (int)(stop - item)};
    p->user = rec_log_find_user(j->log, user, p->user_n);
    p->item = rec_model_find_item(j->model, item, p->item_n);
    if (p->user >= 0 && j->slot[p->user] < 0) {
        j->slot[p->user] = j->users;
        j->user[j->users++] = p->user;
    }
    j->words_n += stop - user;
    j->n++;
    return MB_OK;
}

static int map_histories(job *j, mb_err *e) {
    const rec_view *v = rec_log_view(j->log);
    int64_t events = 0, at = 0;
    for (int32_t i = 0; i < j->users; i++)
        events += v->user_at[j->user[i] + 1] - v->user_at[j->user[i]];
    if (events > j->history_room) {
        int32_t *history = mb_realloc_array(j->history, (size_t)events, sizeof *history);
        if (!history)
            return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " events", events);
        j->history = history;
        j->history_room = events;
    }
    for (int32_t i = 0; i < j->users; i++) {
        const int64_t from = v->user_at[j->user[i]], n = v->user_at[j->user[i] + 1] - from;
        const int64_t kept = rec_map_history(j->map, v->item + from, n, j->history + at);
        j->query[i] = (rec_query){.user = j->user[i], .item = j->history + at, .n = kept};
        at += kept;
    }
    return MB_OK;
}

static int put_pair(job *j, const pair *p, mb_err *e) {
    const rec_id user = {j->words + p->text, p->user_n}, item = {j->words + p->text + p->user_n, p->item_n};
    const int32_t at = p->user >= 0 ? j->slot[p->user] : -1;
    int rc = rec_id_put(j->out, user, e);
    if (rc == MB_OK)
        rc = mb_out_write(j->out, "\t", 1, e);
    if (rc == MB_OK)
        rc = rec_id_put(j->out, item, e);
    j->pairs++;
    if (rc == MB_OK && at >= 0 && p->item > 0 && j->query[at].n > 0)
        return mb_out_printf(j->out, e, "\t%.9g\n",
                             (double)j->score[(size_t)at * ((size_t)rec_model_items(j->model) + 1) + (size_t)p->item]);
    j->unknown++;
    return rc == MB_OK ? mb_out_printf(j->out, e, "\tnan\n") : rc;
}

static int run_block(job *j, mb_err *e) {
    int rc = map_histories(j, e);
    if (rc == MB_OK)
        rc = rec_model_encode(j->model, j->query, j->users, j->vector, e);
    if (rc == MB_OK)
        rc = rec_model_scores(j->model, j->vector, j->users, j->score, e);
    for (int64_t i = 0; rc == MB_OK && i < j->n; i++)
        rc = put_pair(j, &j->pair[i], e);
    for (int32_t i = 0; i < j->users; i++)
        j->slot[j->user[i]] = -1;
    j->n = j->users = 0;
    j->words_n = 0;
    return rc;
}

static int run_pairs(job *j, mb_err *e) {
    rec_text t;
    char *line = NULL;
    size_t n = 0;
    int rc = rec_text_open(&t, j->v->candidates, e);
    if (rc != MB_OK)
        return rc;
    mb_progress *progress = mb_progress_start("score", "pairs", 0);
    rc = mb_out_printf(j->out, e, "user\titem\tscore\n");
    while (rc == MB_OK && (rc = rec_text_line(&t, &line, &n, e)) == MB_OK && line) {
        if (n == 0 || (j->v->header && t.line == 1))
            continue;
        rc = take_pair(j, &t, line, n, e);
        mb_progress_add(progress, 1);
        if (rc == MB_OK && atomic_load_explicit(mb_cli_stop(), memory_order_relaxed))
            rc = mb_fail(e, MB_STOPPED, "stopped after %" PRId64 " pairs", j->pairs);
        if (rc == MB_OK && (j->n == MOST_PAIRS || j->users == j->room))
            rc = run_block(j, e);
    }
    if (rc == MB_OK)
        rc = run_block(j, e);
    mb_progress_finish(progress);
    rec_text_close(&t);
    return rc;
}

static int fill_provenance(const job *j, mb_provenance *p, mb_err *e) {
    int rc = rec_note_inputs(p, j->run->args, j->run->nargs, &j->v->load, e);
    if (rc == MB_OK && strcmp(j->v->candidates, "-") != 0)
        rc = mb_provenance_file(p, "input", j->v->candidates, e);
    return rc == MB_OK ? rec_use_note(j->model, p, e) : rc;
}

static int compute(job *j, mb_err *e) {
    char *const candidates[] = {j->v->candidates};
    mb_provenance *p = NULL;
    int rc = rec_check_output(j->v->output, j->run->args, j->run->nargs, &j->v->load, e);
    if (rc == MB_OK)
        rc = rec_check_output(j->v->output, candidates, 1, &j->v->load, e);
    if (rc == MB_OK)
        rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = mb_out_create(&j->out, j->v->output, e);
    if (rc == MB_OK)
        rc = run_pairs(j, e);
    if (rc == MB_OK)
        rc = fill_provenance(j, p, e);
    rc = mb_result_commit(j->v->output, &j->out, 1, p, rc, e);
    mb_provenance_free(p);
    if (rc == MB_OK && j->unknown > 0)
        mb_warn("%" PRId64 " of %" PRId64 " pairs have no score: an unknown user or item, or no history", j->unknown,
                j->pairs);
    return rc;
}

static void fini(job *j) {
    rec_log_close(j->log);
    rec_model_close(j->model);
    mb_free(j->map);
    mb_free(j->slot);
    mb_free(j->pair);
    mb_free(j->words);
    mb_free(j->user);
    mb_free(j->query);
    mb_free(j->history);
    mb_free(j->vector);
    mb_free(j->score);
}

static int run_score(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    int rc = set_up(&j, e);
    if (rc == MB_OK && run->globals.dry_run)
        printf("model        %s: %d items, window %" PRId64
               "\nlog          %d users\noutput       %s (dry run: nothing "
               "was written)\n",
               rec_model_folder(j.model), rec_model_items(j.model), rec_model_window(j.model),
               rec_log_view(j.log)->n_users, j.v->output);
    else if (rc == MB_OK)
        rc = compute(&j, e);
    fini(&j);
    return rc;
}

const mb_verb rec_score_verb = {.name = "score",
                                .summary = "the scores of given items for given users",
                                .usage = "LOG... -m FOLDER -c PAIRS [-o FILE] [options]",
                                .details = DETAILS,
                                .options = OPTIONS,
                                .values_size = sizeof(score_values),
                                .min_args = 1,
                                .max_args = -1,
                                .run = run_score};
