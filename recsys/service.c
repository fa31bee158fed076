/* See service.h. */
#include "recsys/service.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "recsys/list.h"
#include "recsys/use.h"

static const int64_t MEMORY = (int64_t)256 << 20; /* of states, unless --memory says otherwise */

/* A service answers one request after the other, each too small to share; more threads serve batches of many users. */
int rec_service_threads(const mb_run *run) {
    return run->globals.threads_asked > 0 ? (int)run->globals.threads : 1;
}

int64_t rec_service_memory(const mb_run *run) {
    return run->globals.memory_asked > 0 ? run->globals.memory_asked : MEMORY;
}

static int open_model(rec_model **out, const mb_run *run, const rec_service_values *v, mb_err *e) {
    const rec_model_options o = {.device = run->globals.device,
                                 .precision = (mbk_precision)v->precision,
                                 .threads = rec_service_threads(run),
                                 .window = -1};
    if (!v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER");
    if (!v->store)
        return mb_fail(e, MB_USAGE, "where are the users' states? --store DIR");
    return rec_model_open(out, v->model, &o, e);
}

/* --allow and --deny, as recmamba recommend has them. */
static int mark(rec_service *s, const char *value, const char *option, uint8_t set, mb_err *e) {
    rec_names list = {0};
    int32_t known = 0;
    const size_t items = (size_t)rec_model_items(s->model) + 1;
    if (!value)
        return MB_OK;
    int rc = rec_list_read(&list, value, "item", e);
    if (!rc && !s->allowed) {
        s->allowed = mb_malloc(items);
        if (s->allowed)
            memset(s->allowed, !set, items);
        else
            rc = mb_fail(e, MB_NOMEM, "no memory for a list of items");
    }
    for (int32_t i = 0; !rc && i < list.n; i++) {
        const int32_t item = rec_model_find_item(s->model, list.text + list.at[i], (int)(list.at[i + 1] - list.at[i]));
        known += item > 0;
        s->allowed[item] = item > 0 ? set : 0;
    }
    if (!rc && known == 0 && set)
        rc = mb_fail(e, MB_FORMAT, "--%s: the model knows none of the %d items", option, list.n);
    else if (!rc && known < list.n)
        mb_warn("--%s: the model does not know %d of the %d items", option, list.n - known, list.n);
    rec_names_free(&list);
    return rc;
}

static int open_store(rec_service *s, mb_err *e) {
    char digest[REC_STORE_DIGEST + 1];
    int rc = rec_live_digest(s->model, (mbk_precision)s->v->precision, digest, e);
    if (rc)
        return rc;
    const rec_store_options o = {.sync = (rec_sync)s->v->sync, .digest = digest};
    return rec_store_open(&s->store, s->v->store, &o, e);
}

static int open_all(rec_service *s, mb_err *e) {
    int rc = mb_provenance_start(&s->record, s->run, e);
    if (!rc)
        rc = open_model(&s->model, s->run, s->v, e);
    if (!rc)
        rc = rec_use_note(s->model, s->record, e);
    if (!rc)
        rc = mark(s, s->v->allow, "allow", 1, e);
    if (!rc)
        rc = mark(s, s->v->deny, "deny", 0, e);
    if (!rc)
        rc = open_store(s, e);
    const rec_live_options o = {.threads = rec_service_threads(s->run),
                                .memory = rec_service_memory(s->run),
                                .batch = (int)s->v->batch,
                                .allowed = s->allowed};
    return rc ? rc : rec_live_create(&s->live, s->model, s->store, &o, e);
}

static void close_service(rec_service *s) {
    rec_live_destroy(s->live);
    rec_store_close(s->store);
    rec_model_close(s->model);
    mb_provenance_free(s->record);
    mb_free(s->allowed);
    *s = (rec_service){0};
}

int rec_service_open(rec_service *s, const mb_run *run, const rec_service_values *v, mb_err *e) {
    *s = (rec_service){
        .run = run, .v = v, .wire = {.k = (int)v->k, .filter_seen = v->filter_seen, .extra_keys = v->extra_keys}};
    int rc = open_all(s, e);
    if (rc)
        close_service(s);
    return rc;
}

int rec_service_plan(const mb_run *run, const rec_service_values *v, mb_err *e) {
    rec_model *m = NULL;
    rec_store *store = NULL;
    mb_session *session = NULL;
    char digest[REC_STORE_DIGEST + 1], bytes[32], memory[32];
    int64_t users = 0;
    int rc = open_model(&m, run, v, e);
    if (!rc)
        rc = rec_live_digest(m, (mbk_precision)v->precision, digest, e);
    if (!rc)
        rc = mb_session_create(&session, rec_model_engine(m), 1, e);
    char *file = rc ? NULL : mb_path_join(v->store, "data.mdb");
    const rec_store_options o = {.read_only = 1, .digest = digest};
    const int there = file && mb_file_exists(file);
    if (there)
        rc = rec_store_open(&store, v->store, &o, e);
    if (!rc && there)
        rc = rec_store_users(store, &users, e);
    if (!rc) {
        const double floats = (double)mb_session_state_floats(session) + mb_model_config(rec_model_engine(m))->D;
        printf("items        %d\nstate        %s a user, and a byte or two for each item met\n", rec_model_items(m),
               mb_human_bytes(4 * floats + 48, bytes));
        printf("memory       %s: the states of about %.0f users; the others wait in the store\n",
               mb_human_bytes((double)rec_service_memory(run), memory),
               (double)rec_service_memory(run) / (4 * floats + 1200));
        printf("store        %s: %" PRId64 " users%s\n", v->store, users, there ? "" : " (new)");
    }
    mb_free(file);
    rec_store_close(store);
    mb_session_destroy(session);
    rec_model_close(m);
    return rc;
}

static void say(rec_service *s) {
    const rec_live_counts *c = rec_live_count(s->live);
    mb_info("%" PRId64 " events, %" PRId64 " questions, %" PRId64 " forgotten; %" PRId64 " new users, %" PRId64
            " late events, %" PRId64 " of unknown items, %" PRId64 " errors",
            c->events, c->asks, c->forgets, c->new_users, c->late, c->unknown_items, c->errors);
    mb_debug("%" PRId64 " commits of %" PRId64 " states in %.3f s; states found in memory %" PRId64 ", read %" PRId64
             ", evicted %" PRId64,
             c->users.commits, c->users.committed, c->users.commit_seconds, c->users.hits, c->users.misses,
             c->users.evictions);
}

static int write_record(rec_service *s, mb_err *e) {
    const rec_live_counts *c = rec_live_count(s->live);
    int64_t users = 0;
    int rc = rec_store_users(s->store, &users, e);
    const double number[] = {(double)users,      (double)c->events,        (double)c->asks,
                             (double)c->forgets, (double)c->new_users,     (double)c->late,
                             (double)c->errors,  (double)c->unknown_items, (double)c->users.commits};
    static const char *const NAME[] = {"users", "events", "asks",          "forgotten", "new_users",
                                       "late",  "errors", "unknown_items", "commits"};
    for (size_t i = 0; !rc && i < sizeof number / sizeof *number; i++)
        rc = mb_provenance_number(s->record, NAME[i], number[i]);
    char *path = rc ? NULL : mb_path_join(s->v->store, "run.json");
    if (!rc && !path)
        rc = mb_fail(e, MB_NOMEM, "no memory for a path");
    if (!rc)
        rc = mb_provenance_write(s->record, path, e);
    mb_free(path);
    return rc;
}

int rec_service_end(rec_service *s, int rc, mb_err *e) {
    mb_err own = {0};
    say(s);
    const int recorded = write_record(s, &own);
    if (!rc && recorded)
        rc = mb_fail(e, recorded, "%s", own.text);
    close_service(s);
    return rc;
}
