/* See inspect.h. */
#include "recsys/inspect.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/result.h"
#include "recsys/store.h"
#include "recsys/wire.h"

typedef struct inspection {
    const rec_model *m;
    mb_out *out; /* NULL: counts alone */
    rec_record r;
    rec_buffer text;
    int64_t users, events, seen, damaged, bytes, latest, earliest, timed, most;
} inspection;

static int print_user(inspection *x, rec_id id, mb_err *e) {
    rec_buffer *t = &x->text;
    t->n = 0;
    rec_buffer_put(t, "{\"user\":", 8);
    rec_buffer_json(t, id.text, (size_t)id.n);
    rec_buffer_printf(t, ",\"events\":%" PRId64, x->r.events);
    if (x->r.has_time)
        rec_buffer_printf(t, ",\"time\":%" PRId64, x->r.last_time);
    rec_buffer_put(t, ",\"seen\":[", 9);
    for (int64_t i = 0; i < x->r.n_seen; i++) {
        if (i)
            rec_buffer_put(t, ",", 1);
        if (x->m && x->r.seen[i] <= rec_model_items(x->m)) {
            const rec_id item = rec_model_item_id(x->m, x->r.seen[i]);
            rec_buffer_json(t, item.text, (size_t)item.n);
        } else {
            rec_buffer_printf(t, "%" PRId32, x->r.seen[i]);
        }
    }
    rec_buffer_put(t, "]}\n", 3);
    return t->lost ? mb_fail(e, MB_NOMEM, "no memory for a user's line") : mb_out_write(x->out, t->at, t->n, e);
}

static int visit(void *user, rec_id id, const void *record, size_t n, mb_err *e) {
    inspection *x = user;
    mb_err own = {0};
    const int rc = rec_record_peek(&x->r, id, record, n, &own);
    x->users++;
    x->bytes += (int64_t)n;
    if (rc == MB_NOMEM)
        return mb_fail(e, rc, "%s", own.text);
    if (rc) {
        if (x->damaged++ < 3)
            mb_warn("user %" PRId64 " of the store: %s", x->users, own.text);
        return MB_OK;
    }
    x->events += x->r.events;
    x->seen += x->r.n_seen;
    x->most = x->r.events > x->most ? x->r.events : x->most;
    if (x->r.has_time) {
        x->latest = !x->timed || x->r.last_time > x->latest ? x->r.last_time : x->latest;
        x->earliest = !x->timed || x->r.last_time < x->earliest ? x->r.last_time : x->earliest;
        x->timed++;
    }
    return x->out ? print_user(x, id, e) : MB_OK;
}

static void print_counts(const inspection *x, const rec_store *s) {
    printf("users\t%" PRId64 "\nevents\t%" PRId64 "\nmost_events\t%" PRId64 "\nitems_met\t%" PRId64 "\n", x->users,
           x->events, x->most, x->seen);
    if (x->timed)
        printf("last_event_earliest\t%" PRId64 "\nlast_event_latest\t%" PRId64 "\n", x->earliest, x->latest);
    printf("record_bytes\t%" PRId64 "\nfile_bytes\t%" PRId64 "\ndamaged\t%" PRId64 "\nmodel\t%s\n", x->bytes,
           rec_store_bytes(s), x->damaged, rec_store_digest(s));
}

int rec_inspect(const mb_run *run, const char *store, const char *export, const rec_model *m, mb_err *e) {
    const rec_store_options o = {.read_only = 1};
    inspection x = {.m = m};
    rec_store *s = NULL;
    mb_provenance *p = NULL;
    int rc = rec_store_open(&s, store, &o, e);
    if (!rc && export)
        rc = mb_provenance_start(&p, run, e);
    if (!rc && export)
        rc = mb_out_create(&x.out, export, e);
    if (!rc)
        rc = rec_store_each(s, visit, &x, e);
    if (!rc && p)
        rc = mb_provenance_number(p, "users", (double)x.users);
    if (!rc && p)
        rc = mb_provenance_number(p, "damaged", (double)x.damaged);
    if (export)
        rc = mb_result_commit(export, &x.out, 1, p, rc, e);
    if (!rc)
        print_counts(&x, s);
    if (!rc && x.damaged)
        rc = mb_fail(e, MB_FORMAT, "%s: %" PRId64 " of %" PRId64 " records are damaged", store, x.damaged, x.users);
    mb_provenance_free(p);
    mb_free(x.r.seen);
    rec_buffer_free(&x.text);
    rec_store_close(s);
    return rc;
}
