/* recmamba export: the vectors of a model's items, and of a log's users, as NumPy arrays for other programs. The score
 * of an item for a user is the inner product of their vectors. */
#include <inttypes.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/npy.h"
#include "core/result.h"
#include "recsys/commands.h"
#include "recsys/items.h"
#include "recsys/load.h"
#include "recsys/use.h"

enum { MOST_USERS = 4096 };

typedef struct export_values {
    rec_use_values use;
    rec_load_options load;
    char *output;
} export_values;

#define V export_values
static const mb_option OPTIONS[] = {
    REC_USE_OPTIONS(V, use),
    {.key = "output",
     .letter = 'o',
     .type = MB_OPT_STRING,
     .offset = offsetof(V, output),
     .meta = "PREFIX",
     .help = "PREFIX.items.npy and PREFIX.items.txt; with a log PREFIX.users.npy and PREFIX.users.txt; "
             "PREFIX.run.json says how they were made."},
    REC_LOAD_OPTIONS(V, load),
    {0}};
#undef V

static const char DETAILS[] =
    "Writes the model's item vectors as an array of float32, a row an item, and the identifiers of the rows, a line "
    "each (one that is empty, begins with a quote or holds control characters as a JSON string). With a log, also a row "
    "for each of its users: the vector after the user's last event, so that the inner product of a user's and an "
    "item's row is the score that recmamba recommend ranks by (to rounding: in other programs sums run in another "
    "order). For search by approximate nearest neighbours, take inner products. Users of whose history the model knows "
    "nothing are left out.\n"
    "\n"
    "  recmamba export -m build/movies -o build/vectors\n"
    "  recmamba export recsys/data/ml-latest-small.csv.gz -m build/movies -o build/vectors";

enum { ITEMS_NPY, ITEMS_TXT, USERS_NPY, USERS_TXT, FILES };
static const char *const ENDING[FILES] = {"items.npy", "items.txt", "users.npy", "users.txt"};

typedef struct job {
    mb_run *run;
    const export_values *v;
    rec_log *log; /* NULL: items only */
    rec_model *model;
    int32_t *map;
    char *path[FILES];
    mb_npy *npy[FILES]; /* arrays; the others NULL */
    mb_out *ids[FILES]; /* lists; the others NULL */
    int64_t users, without;
} job;

static int set_up(job *j, mb_err *e) {
    export_values *v = j->run->values;
    int32_t unknown;
    if (!v->output)
        return mb_fail(e, MB_USAGE, "where to? -o PREFIX");
    rec_load_prepare(&v->load, j->run);
    int rc = rec_use_open(&j->model, &v->use, j->run, e);
    for (int i = 0; rc == MB_OK && i < FILES; i++)
        if (!(j->path[i] = mb_asprintf("%s.%s", v->output, ENDING[i])))
            rc = mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc != MB_OK || j->run->nargs == 0)
        return rc;
    rc = rec_log_load(&j->log, j->run->args, j->run->nargs, &v->load, e);
    if (rc == MB_OK && !(j->map = mb_calloc((size_t)rec_log_view(j->log)->n_items + 1, sizeof *j->map)))
        rc = mb_fail(e, MB_NOMEM, "no memory to compare items");
    if (rc == MB_OK)
        rc = rec_model_map_items(j->model, j->log, j->map, &unknown, e);
    if (rc == MB_OK)
        rec_use_warn(j->model, j->log, j->map);
    for (int i = 0; rc == MB_OK && i < FILES; i++)
        rc = rec_check_output(j->path[i], j->run->args, j->run->nargs, &v->load, e);
    return rc;
}

static int put_line(mb_out *out, rec_id id, mb_err *e) {
    int rc = rec_id_put(out, id, e);
    return rc == MB_OK ? mb_out_write(out, "\n", 1, e) : rc;
}

static int put_items(job *j, mb_err *e) {
    const int D = mb_model_config(rec_model_engine(j->model))->D, n = rec_model_items(j->model);
    const float *E = mb_model_params(rec_model_engine(j->model))->embedding;
    const int64_t shape[] = {n, D};
    int rc = mb_npy_create(&j->npy[ITEMS_NPY], j->path[ITEMS_NPY], MB_F32, 2, shape, e);
    if (rc == MB_OK)
        rc = mb_npy_put(j->npy[ITEMS_NPY], 0, E + D, (int64_t)n * D, e);
    if (rc == MB_OK)
        rc = mb_out_create(&j->ids[ITEMS_TXT], j->path[ITEMS_TXT], e);
    for (int32_t i = 1; rc == MB_OK && i <= n; i++)
        rc = put_line(j->ids[ITEMS_TXT], rec_model_item_id(j->model, i), e);
    return rc;
}

/* Users [from, to): their rows and lines. */
static int put_block(job *j, int32_t from, int32_t to, mb_err *e) {
    const rec_view *v = rec_log_view(j->log);
    const int D = mb_model_config(rec_model_engine(j->model))->D;
    const size_t events = (size_t)(v->user_at[to] - v->user_at[from]), users = (size_t)(to - from);
    rec_query *query = mb_calloc(users, sizeof *query);
    int32_t *history = mb_calloc(events + 1, sizeof *history);
    float *vector = mb_calloc(users, (size_t)D * sizeof *vector);
    int rc = query && history && vector ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %zu users", users);
    int n = 0;
    int64_t at = 0;
    for (int32_t u = from; rc == MB_OK && u < to; u++) {
        const int64_t kept =
            rec_map_history(j->map, v->item + v->user_at[u], v->user_at[u + 1] - v->user_at[u], history + at);
        query[n] = (rec_query){.user = u, .item = history + at, .n = kept};
        n += kept > 0;
        at += kept;
    }
    if (rc == MB_OK && n > 0)
        rc = rec_model_encode(j->model, query, n, vector, e);
    if (rc == MB_OK && n > 0)
        rc = mb_npy_put(j->npy[USERS_NPY], j->users * D, vector, (int64_t)n * D, e);
    for (int i = 0; rc == MB_OK && i < n; i++)
        rc = put_line(j->ids[USERS_TXT], rec_log_user_id(j->log, query[i].user), e);
    j->users += n;
    j->without += (int64_t)users - n;
    mb_free(query);
    mb_free(history);
    mb_free(vector);
    return rc;
}

static int put_users(job *j, mb_err *e) {
    const int64_t shape[] = {-1, mb_model_config(rec_model_engine(j->model))->D};
    const int32_t n = rec_log_view(j->log)->n_users;
    int rc = mb_npy_create(&j->npy[USERS_NPY], j->path[USERS_NPY], MB_F32, 2, shape, e);
    if (rc == MB_OK)
        rc = mb_out_create(&j->ids[USERS_TXT], j->path[USERS_TXT], e);
    mb_progress *progress = mb_progress_start("export", "users", n);
    for (int32_t from = 0; rc == MB_OK && from < n; from += MOST_USERS) {
        const int32_t to = n - from < MOST_USERS ? n : from + MOST_USERS;
        rc = atomic_load_explicit(mb_cli_stop(), memory_order_relaxed)
                 ? mb_fail(e, MB_STOPPED, "stopped after %d of %d users", from, n)
                 : put_block(j, from, to, e);
        mb_progress_add(progress, to - from);
    }
    mb_progress_finish(progress);
    return rc;
}

/* All of it becomes visible, or nothing does until the first file that fails. */
static int commit(job *j, mb_provenance *p, int rc, mb_err *e) {
    char *record = NULL;
    if (rc == MB_OK)
        rc = mb_result_record(&record, j->v->output, e);
    for (int i = 0; i < FILES; i++) {
        if (j->npy[i] && rc == MB_OK)
            rc = mb_npy_commit(j->npy[i], i == USERS_NPY ? j->users : rec_model_items(j->model), e);
        else
            mb_npy_abort(j->npy[i]);
        if (j->ids[i] && rc == MB_OK)
            rc = mb_out_commit(j->ids[i], e);
        else
            mb_out_abort(j->ids[i]);
    }
    if (rc == MB_OK)
        rc = mb_provenance_write(p, record, e);
    mb_free(record);
    return rc;
}

static int compute(job *j, mb_err *e) {
    mb_provenance *p = NULL;
    int rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = put_items(j, e);
    if (rc == MB_OK && j->log)
        rc = put_users(j, e);
    if (rc == MB_OK && j->log)
        rc = rec_note_inputs(p, j->run->args, j->run->nargs, &j->v->load, e);
    if (rc == MB_OK)
        rc = rec_use_note(j->model, p, e);
    rc = commit(j, p, rc, e);
    mb_provenance_free(p);
    if (rc == MB_OK && j->without > 0)
        mb_warn("%" PRId64 " users have no event that the model knows and are left out", j->without);
    return rc;
}

static int run_export(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    int rc = set_up(&j, e);
    if (rc == MB_OK && run->globals.dry_run)
        printf("items        %d of %d numbers\nusers        %d\noutput       %s.* (dry run: nothing was written)\n",
               rec_model_items(j.model), mb_model_config(rec_model_engine(j.model))->D,
               j.log ? rec_log_view(j.log)->n_users : 0, j.v->output);
    else if (rc == MB_OK)
        rc = compute(&j, e);
    rec_log_close(j.log);
    rec_model_close(j.model);
    mb_free(j.map);
    for (int i = 0; i < FILES; i++)
        mb_free(j.path[i]);
    return rc;
}

const mb_verb rec_export_verb = {.name = "export",
                                 .summary = "item and user vectors as NumPy arrays",
                                 .usage = "[LOG...] -m FOLDER -o PREFIX [options]",
                                 .details = DETAILS,
                                 .options = OPTIONS,
                                 .values_size = sizeof(export_values),
                                 .min_args = 0,
                                 .max_args = -1,
                                 .run = run_export};
