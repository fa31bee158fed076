/* See filter.h. Refuses filters of times or values where the log has none. */
#include "recsys/filter.h"

#include <inttypes.h>
#include <string.h>

#include "core/mem.h"

typedef struct filter {
    rec_intake *in;
    float min_value;
    int64_t from, to;
    int by_value, by_from, by_to;
    const rec_event *block; /* events [at, at+n) of the spool */
    int64_t at, n;
    int32_t *seen; /* (items) FIRST: 1 + the user that had it last; LAST: events of this user that are to come */
} filter;

static int no_memory(mb_err *e) {
    return mb_fail(e, MB_NOMEM, "no memory to filter the log");
}

int rec_parse_moment(const char *option, const char *text, double scale, int64_t *time, mb_err *e) {
    int cut;
    MB_ASSERT(text);
    const char *wrong = rec_parse_time((rec_span){text, strlen(text)}, scale, time, &cut);
    return wrong ? mb_fail(e, MB_USAGE, "%s %s: %s", option, text, wrong) : MB_OK;
}

static int set_up(filter *f, rec_intake *in, mb_err *e) {
    const rec_load_options *o = in->o;
    *f = (filter){
        .in = in, .by_value = o->min_value != NULL, .by_from = o->time_from != NULL, .by_to = o->time_to != NULL};
    int rc = MB_OK;
    if (o->min_value) {
        const char *wrong = rec_parse_value((rec_span){o->min_value, strlen(o->min_value)}, &f->min_value);
        if (wrong)
            return mb_fail(e, MB_USAGE, "--min-value %s: %s", o->min_value, wrong);
        if (!in->has.value)
            return mb_fail(e, MB_USAGE, "--min-value: the input has no values");
    }
    if ((f->by_from || f->by_to) && !in->has.time)
        return mb_fail(e, MB_USAGE, "--time-from, --time-to: the input has no times");
    if (o->time_from)
        rc = rec_parse_moment("--time-from", o->time_from, o->time_scale, &f->from, e);
    if (rc == MB_OK && o->time_to)
        rc = rec_parse_moment("--time-to", o->time_to, o->time_scale, &f->to, e);
    return rc;
}

/* ---- duplicates, values, times --------------------------------------------------------------------------------------
 */
static int get(filter *f, int64_t at, const rec_event **v, mb_err *e) {
    if (at < f->at || at >= f->at + f->n) {
        f->at = at;
        int rc = rec_spool_read(f->in->spool, at, &f->block, &f->n, e);
        if (rc != MB_OK)
            return rc;
    }
    *v = f->block + (at - f->at);
    return MB_OK;
}

/* How often each item comes in the run of the user that begins at from; *stop: its end. */
static int count_run(filter *f, int64_t from, int64_t total, int64_t *stop, mb_err *e) {
    const rec_event *v;
    int rc = get(f, from, &v, e);
    const int32_t user = rc == MB_OK ? v->user : 0;
    for (*stop = from; rc == MB_OK && *stop < total; ++*stop) {
        rc = get(f, *stop, &v, e);
        if (rc != MB_OK || v->user != user)
            break;
        f->seen[v->item] += f->seen[v->item] < INT32_MAX;
    }
    return rc;
}

/* Whether this event is one that --duplicates leaves out. */
static int is_duplicate(filter *f, const rec_event *v) {
    if (f->in->o->duplicates == REC_DUPLICATES_FIRST) {
        const int before = f->seen[v->item] == v->user + 1;
        f->seen[v->item] = v->user + 1;
        return before;
    }
    return f->in->o->duplicates == REC_DUPLICATES_LAST && --f->seen[v->item] > 0;
}

static int is_left(filter *f, const rec_event *v) {
    rec_load_counts *c = &f->in->counts;
    if (is_duplicate(f, v)) {
        c->duplicates++;
        return 0;
    }
    if (f->by_value && v->value < f->min_value) {
        c->low_value++;
        return 0;
    }
    if ((f->by_from && v->time < f->from) || (f->by_to && v->time >= f->to)) {
        c->outside_time++;
        return 0;
    }
    return 1;
}

static int filter_events(filter *f, mb_err *e) {
    rec_spool *s = f->in->spool;
    const int64_t total = rec_spool_count(s);
    const int last = f->in->o->duplicates == REC_DUPLICATES_LAST;
    int rc = MB_OK;
    if (f->in->o->duplicates != REC_DUPLICATES_KEEP) {
        f->seen = mb_calloc((size_t)f->in->item.n, sizeof *f->seen);
        if (!f->seen)
            return no_memory(e);
    }
    rec_spool_keep_begin(s);
    for (int64_t at = 0, stop; rc == MB_OK && at < total; at = stop) {
        stop = total;
        if (last)
            rc = count_run(f, at, total, &stop, e);
        for (int64_t i = at; rc == MB_OK && i < stop; i++) {
            const rec_event *v;
            rc = get(f, i, &v, e);
            if (rc == MB_OK) {
                const rec_event copy = *v;
                if (is_left(f, &copy))
                    rc = rec_spool_keep(s, &copy, e);
            }
        }
    }
    mb_free(f->seen);
    f->seen = NULL;
    f->n = 0;
    return rc == MB_OK ? rec_spool_keep_end(s, e) : rc;
}

/* ---- k-core ---------------------------------------------------------------------------------------------------------
 */
typedef struct core {
    rec_intake *in;
    int64_t *user, *item; /* events left of each; below the least: to be taken out */
    int64_t users, items; /* that have any */
} core;

static int64_t count_some(const int64_t *count, int32_t n) {
    int64_t some = 0;
    for (int32_t i = 0; i < n; i++)
        some += count[i] > 0;
    return some;
}

static int is_stable(const core *c) {
    const rec_load_options *o = c->in->o;
    for (int32_t u = 0; u < c->in->user.n; u++)
        if (c->user[u] > 0 && c->user[u] < o->min_user)
            return 0;
    for (int32_t i = 0; i < c->in->item.n; i++)
        if (c->item[i] > 0 && c->item[i] < o->min_item)
            return 0;
    return 1;
}

/* One round over all events: those of users and items below the least go, and the rest is counted anew. first: nothing
 * goes, all are counted. */
static int core_round(core *c, int first, mb_err *e) {
    rec_intake *in = c->in;
    const int64_t total = rec_spool_count(in->spool), least_user = in->o->min_user, least_item = in->o->min_item;
    int64_t *user = mb_calloc((size_t)in->user.n, sizeof *user), *item = mb_calloc((size_t)in->item.n, sizeof *item);
    int rc = user && item ? MB_OK : no_memory(e);
    if (!first)
        rec_spool_keep_begin(in->spool);
    for (int64_t at = 0, n; rc == MB_OK && at < total; at += n) {
        const rec_event *v;
        rc = rec_spool_read(in->spool, at, &v, &n, e);
        for (int64_t i = 0; rc == MB_OK && i < n; i++) {
            const rec_event copy = v[i];
            if (!first && (c->user[copy.user] < least_user || c->item[copy.item] < least_item))
                continue;
            user[copy.user]++;
            item[copy.item]++;
            if (!first)
                rc = rec_spool_keep(in->spool, &copy, e);
        }
    }
    if (rc == MB_OK && !first)
        rc = rec_spool_keep_end(in->spool, e);
    mb_free(c->user);
    mb_free(c->item);
    c->user = user;
    c->item = item;
    return rc;
}

static int filter_core(rec_intake *in, mb_err *e) {
    core c = {.in = in};
    const int64_t events = rec_spool_count(in->spool);
    int rc = core_round(&c, 1, e);
    if (rc == MB_OK) {
        c.users = count_some(c.user, in->user.n);
        c.items = count_some(c.item, in->item.n);
    }
    while (rc == MB_OK && !is_stable(&c)) {
        rc = core_round(&c, 0, e);
        in->counts.core_rounds++;
    }
    if (rc == MB_OK) {
        in->counts.core_users = c.users - count_some(c.user, in->user.n);
        in->counts.core_items = c.items - count_some(c.item, in->item.n);
        in->counts.core_events = events - rec_spool_count(in->spool);
    }
    mb_free(c.user);
    mb_free(c.item);
    return rc;
}

int rec_filter(rec_intake *in, mb_err *e) {
    filter f;
    int rc = set_up(&f, in, e);
    if (rc == MB_OK && (in->o->duplicates != REC_DUPLICATES_KEEP || f.by_value || f.by_from || f.by_to))
        rc = filter_events(&f, e);
    if (rc == MB_OK && (in->o->min_user > 1 || in->o->min_item > 1))
        rc = filter_core(in, e);
    return rc;
}
