/* See intake.h. Refuses identifiers that are empty or longer than REC_NAME_MAX (as malformed rows), files with other
 * columns than the ones before them, and identifiers that leave no memory for events. */
#include "recsys/intake.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"

enum { SHOWN = 5, BEAT = 1 << 16 /* events between looks at the clock */ };

int rec_intake_malformed(rec_intake *in, const rec_text *t, mb_err *e, const char *fmt, ...) {
    char what[512];
    va_list args;
    if (!in->o->strict && in->counts.malformed >= SHOWN) {
        in->counts.malformed++;
        return MB_OK;
    }
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    in->counts.malformed++;
    if (in->o->strict)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": %s", t->name, t->line, what);
    mb_warn("%s:%" PRId64 ": %s; passed over", t->name, t->line, what);
    if (in->counts.malformed == SHOWN)
        mb_warn("further malformed rows are counted, not shown");
    return MB_OK;
}

static int differ(const rec_intake *in, const char *name, const char *what, int here, mb_err *e) {
    return mb_fail(e, MB_FORMAT, "%s has %s%s, %s has %s: events of one log are alike (--columns %s=- leaves them out)",
                   name, here ? "" : "no ", what, in->first_name, here ? "none" : "some", what);
}

int rec_intake_begin(rec_intake *in, const char *name, rec_has has, mb_err *e) {
    if (in->sources++ == 0) {
        in->has = has;
        in->first_name = name;
        return MB_OK;
    }
    if (has.time != in->has.time)
        return differ(in, name, "time", has.time, e);
    if (has.value != in->has.value)
        return differ(in, name, "value", has.value, e);
    return has.aux != in->has.aux ? differ(in, name, "aux", has.aux, e) : MB_OK;
}

static int count_backwards(rec_intake *in, int32_t user, int64_t time, mb_err *e) {
    if (user >= in->last_room) {
        const int64_t room = 2 * (int64_t)user + 1024;
        int64_t *last = mb_realloc_array(in->last_time, (size_t)room, sizeof *last);
        if (!last)
            return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " users", room);
        for (int64_t i = in->last_room; i < room; i++)
            last[i] = INT64_MIN;
        in->last_time = last;
        in->last_room = room;
    }
    in->counts.backwards += time < in->last_time[user];
    in->last_time[user] = time;
    return MB_OK;
}

static int wrong_id(rec_intake *in, const rec_text *t, const char *what, rec_span s, mb_err *e) {
    return s.n ? rec_intake_malformed(in, t, e, "the %s identifier has %zu bytes, more than %d", what, s.n,
                                      REC_NAME_MAX)
               : rec_intake_malformed(in, t, e, "the %s identifier is empty", what);
}

/* Half of the memory is the events'. */
static int check_memory(const rec_intake *in, mb_err *e) {
    const size_t bytes = rec_names_bytes(&in->user) + rec_names_bytes(&in->item) + rec_names_bytes(&in->aux) +
                         (size_t)in->last_room * sizeof *in->last_time;
    char has[32], asked[32];
    if (in->o->memory <= 0 || bytes <= (size_t)in->o->memory / 2 + (1 << 20))
        return MB_OK;
    return mb_fail(
        e, MB_NOMEM, "the identifiers of %d users and %d items alone take %s, more than half of --memory %s; give more",
        in->user.n, in->item.n, mb_human_bytes((double)bytes, has), mb_human_bytes((double)in->o->memory, asked));
}

int rec_intake_row(rec_intake *in, const rec_text *t, const rec_row *r, mb_err *e) {
    rec_event v = {.time = r->time, .value = r->value, .aux = -1};
    if (r->user.n - 1 >= REC_NAME_MAX)
        return wrong_id(in, t, "user", r->user, e);
    if (r->item.n - 1 >= REC_NAME_MAX)
        return wrong_id(in, t, "item", r->item, e);
    if (r->aux.n > REC_NAME_MAX)
        return wrong_id(in, t, "aux", r->aux, e);
    const int64_t known = (int64_t)in->user.n + in->item.n + in->aux.n;
    int rc = rec_names_add(&in->user, r->user.at, r->user.n, "user", &v.user, e);
    if (rc == MB_OK)
        rc = rec_names_add(&in->item, r->item.at, r->item.n, "item", &v.item, e);
    if (rc == MB_OK && r->aux.n)
        rc = rec_names_add(&in->aux, r->aux.at, r->aux.n, "aux identifier", &v.aux, e);
    if (rc == MB_OK && in->has.time)
        rc = count_backwards(in, v.user, v.time, e);
    if (rc == MB_OK && (int64_t)in->user.n + in->item.n + in->aux.n != known)
        rc = check_memory(in, e);
    if (rc != MB_OK)
        return rc;
    v.order = in->place++ << 2 | (unsigned)r->part;
    in->parted |= r->part != 0;
    in->counts.events++;
    if ((in->counts.events & (BEAT - 1)) == 0) {
        mb_progress_add(in->progress, BEAT);
        if (atomic_load_explicit(mb_cli_stop(), memory_order_relaxed))
            return mb_fail(e, MB_STOPPED, "stopped after %" PRId64 " events, as asked; nothing was written",
                           in->counts.events);
    }
    return rec_spool_add(in->spool, &v, &in->order, e);
}
