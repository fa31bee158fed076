/* See build.h. Refuses a log of which the filters have left nothing. */
#include "recsys/build.h"

#include <inttypes.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/item_names.h"

enum { LANE = 128 * 1024, BATCH = 4096 };

/* ---- the sink -------------------------------------------------------------------------------------------------------
 */
static int flush_lane(rec_sink *k, int section, mb_err *e) {
    struct rec_lane *l = &k->lane[section];
    int rc = l->n ? mb_out_pwrite(k->out, l->buffer, l->n, (int64_t)k->h.section[section].at + l->at, e) : MB_OK;
    l->at += (int64_t)l->n;
    l->n = 0;
    return rc;
}

/* n bytes of a section, from its byte `at` on. */
static int put(rec_sink *k, int section, int64_t at, const void *data, size_t n, mb_err *e) {
    MB_ASSERT(at >= 0 && (uint64_t)at + n <= k->h.section[section].bytes);
    if (n == 0)
        return MB_OK;
    if (k->block) {
        memcpy(k->block + k->h.section[section].at + at, data, n);
        return MB_OK;
    }
    struct rec_lane *l = &k->lane[section];
    int rc = MB_OK;
    if (!l->buffer && !(l->buffer = mb_malloc(LANE)))
        return mb_fail(e, MB_NOMEM, "no memory to write the log");
    if (l->at + (int64_t)l->n != at || l->n + n > LANE)
        rc = flush_lane(k, section, e);
    if (l->n == 0)
        l->at = at;
    if (rc == MB_OK && n > LANE)
        return mb_out_pwrite(k->out, data, n, (int64_t)k->h.section[section].at + at, e);
    if (rc == MB_OK) {
        memcpy(l->buffer + l->n, data, n);
        l->n += n;
    }
    return rc;
}

static int open_sink(rec_sink *k, const rec_sizes *s, mb_err *e) {
    int rc = rec_image_layout(&k->h, s, e);
    if (rc != MB_OK || k->out)
        return rc;
    k->block = mb_big_alloc((size_t)k->h.bytes);
    if (!k->block)
        return mb_fail(e, MB_NOMEM,
                       "no memory for a log of %" PRId64 " events; recmamba prep makes one that need not fit in memory",
                       s->n_events);
    return MB_OK;
}

static int seal_file(rec_sink *k, mb_err *e) {
    mb_map m = {0};
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < REC_SECTIONS; i++)
        rc = flush_lane(k, i, e);
    if (rc == MB_OK)
        rc = mb_out_truncate(k->out, (int64_t)k->h.bytes, e); /* the padding behind the last section */
    if (rc == MB_OK)
        rc = mb_file_map(&m, mb_out_temp_path(k->out), e);
    if (rc == MB_OK)
        rec_image_seal(&k->h, m.data);
    mb_file_unmap(&m);
    return rc == MB_OK ? mb_out_pwrite(k->out, &k->h, sizeof k->h, 0, e) : rc;
}

/* ---- numbers --------------------------------------------------------------------------------------------------------
 */
static const uint64_t NEVER = UINT64_MAX;

typedef struct numbering { /* of one kind of identifier */
    uint64_t *first;       /* (old n) place of the first event that is left */
    int32_t *new_of;       /* (old n) new number, -1 none */
    int32_t *old_of;       /* (n) */
    int32_t n;
} numbering;

typedef struct builder {
    rec_intake *in;
    rec_sink *k;
    numbering user, item, aux;
    rec_item_names names;
    int64_t *parts;   /* (old users, 3) events of each part */
    int64_t *user_at; /* (n_users+1) */
} builder;

static int no_memory(mb_err *e) {
    return mb_fail(e, MB_NOMEM, "no memory to number users and items");
}

static int open_numbering(numbering *m, int32_t n, mb_err *e) {
    m->first = mb_malloc((size_t)n * sizeof *m->first);
    m->new_of = mb_malloc((size_t)n * sizeof *m->new_of);
    m->old_of = mb_malloc((size_t)n * sizeof *m->old_of);
    if (!m->first || !m->new_of || !m->old_of)
        return no_memory(e);
    for (int32_t i = 0; i < n; i++) {
        m->first[i] = NEVER;
        m->new_of[i] = -1;
    }
    return MB_OK;
}

static void close_numbering(numbering *m) {
    mb_free(m->first);
    mb_free(m->new_of);
    mb_free(m->old_of);
}

/* Bottom-up merge sort of old numbers by their first event; other: (n). */
static void sort_by_first(int32_t *a, int32_t *other, int32_t n, const uint64_t *first) {
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t at = 0; at < n; at += 2 * width) {
            const int64_t middle = at + width < n ? at + width : n, end = middle + width < n ? middle + width : n;
            int64_t i = at, j = middle;
            for (int64_t k = at; k < end; k++)
                other[k] = j >= end || (i < middle && first[a[i]] <= first[a[j]]) ? a[i++] : a[j++];
        }
        memcpy(a, other, (size_t)n * sizeof *a);
    }
}

static int number_by_first(numbering *m, int32_t old_n, mb_err *e) {
    int sorted = 1;
    m->n = 0;
    for (int32_t i = 0; i < old_n; i++) {
        if (m->first[i] == NEVER)
            continue;
        sorted &= m->n == 0 || m->first[m->old_of[m->n - 1]] <= m->first[i];
        m->old_of[m->n++] = i;
    }
    if (!sorted) {
        int32_t *other = mb_malloc((size_t)m->n * sizeof *other);
        if (!other)
            return no_memory(e);
        sort_by_first(m->old_of, other, m->n, m->first);
        mb_free(other);
    }
    for (int32_t k = 0; k < m->n; k++)
        m->new_of[m->old_of[k]] = k;
    return MB_OK;
}

static void note_first(numbering *m, int32_t old, uint64_t place) {
    if (place < m->first[old])
        m->first[old] = place;
}

static int number_all(builder *b, mb_err *e) {
    rec_intake *in = b->in;
    int rc = open_numbering(&b->user, in->user.n, e);
    if (rc == MB_OK)
        rc = open_numbering(&b->item, in->item.n, e);
    if (rc == MB_OK)
        rc = open_numbering(&b->aux, in->aux.n, e);
    b->parts = rc == MB_OK ? mb_calloc((size_t)in->user.n, 3 * sizeof *b->parts) : NULL;
    if (!b->parts)
        return rc == MB_OK ? no_memory(e) : rc;
    const int64_t total = rec_spool_count(in->spool);
    for (int64_t at = 0, n; rc == MB_OK && at < total; at += n) {
        const rec_event *v;
        rc = rec_spool_read(in->spool, at, &v, &n, e);
        for (int64_t i = 0; rc == MB_OK && i < n; i++) {
            const uint64_t place = v[i].order >> 2;
            note_first(&b->user, v[i].user, place);
            note_first(&b->item, v[i].item, place);
            if (v[i].aux >= 0)
                note_first(&b->aux, v[i].aux, place);
            b->parts[3 * (int64_t)v[i].user + (int64_t)(v[i].order & 3)]++;
        }
    }
    if (rc == MB_OK)
        rc = number_by_first(&b->user, in->user.n, e);
    if (rc == MB_OK)
        rc = number_by_first(&b->item, in->item.n, e);
    return rc == MB_OK ? number_by_first(&b->aux, in->aux.n, e) : rc;
}

static int64_t text_of(const numbering *m, const rec_names *t) {
    int64_t bytes = 0;
    for (int32_t k = 0; k < m->n; k++)
        bytes += t->at[m->old_of[k] + 1] - t->at[m->old_of[k]];
    return bytes;
}

/* ---- sections -------------------------------------------------------------------------------------------------------
 */
static int put_users(builder *b, mb_err *e) {
    const int32_t n = b->user.n;
    b->user_at = mb_malloc(((size_t)n + 1) * sizeof *b->user_at);
    int64_t *mark = mb_malloc(((size_t)n + 1) * sizeof *mark);
    int rc = b->user_at && mark ? MB_OK : no_memory(e);
    if (rc == MB_OK) {
        b->user_at[0] = 0;
        for (int32_t u = 0; u < n; u++) {
            const int64_t *p = b->parts + 3 * (int64_t)b->user.old_of[u];
            b->user_at[u + 1] = b->user_at[u] + p[0] + p[1] + p[2];
        }
        rc = put(b->k, REC_SEC_USER_AT, 0, b->user_at, ((size_t)n + 1) * sizeof *b->user_at, e);
    }
    for (int part = 1; rc == MB_OK && b->in->parted && part <= 2; part++) {
        for (int32_t u = 0; u < n; u++) {
            const int64_t *p = b->parts + 3 * (int64_t)b->user.old_of[u];
            mark[u] = b->user_at[u] + p[0] + (part == 2 ? p[1] : 0);
        }
        rc = put(b->k, part == 1 ? REC_SEC_VALID : REC_SEC_TEST, 0, mark, (size_t)n * sizeof *mark, e);
    }
    mb_free(mark);
    return rc;
}

/* Beginnings, bytes, index. */
static int put_ids(builder *b, int section, const numbering *m, const rec_names *t, mb_err *e) {
    if (m->n == 0)
        return MB_OK;
    const int64_t bytes = (int64_t)b->k->h.section[section + 1].bytes, slots = rec_slots(m->n);
    int64_t *at = mb_malloc(((size_t)m->n + 1) * sizeof *at);
    char *text = mb_malloc((size_t)bytes);
    uint64_t *slot = mb_calloc((size_t)slots, sizeof *slot);
    int rc = at && text && slot ? MB_OK : no_memory(e);
    if (rc == MB_OK) {
        at[0] = 0;
        for (int32_t k = 0; k < m->n; k++) {
            const int64_t from = t->at[m->old_of[k]], n = t->at[m->old_of[k] + 1] - from;
            memcpy(text + at[k], t->text + from, (size_t)n);
            at[k + 1] = at[k] + n;
        }
        rec_table_index(&(rec_table){.n = m->n, .at = at, .text = text}, slot);
        rc = put(b->k, section, 0, at, ((size_t)m->n + 1) * sizeof *at, e);
    }
    if (rc == MB_OK)
        rc = put(b->k, section + 1, 0, text, (size_t)bytes, e);
    if (rc == MB_OK)
        rc = put(b->k, section + 2, 0, slot, (size_t)slots * sizeof *slot, e);
    mb_free(at);
    mb_free(text);
    mb_free(slot);
    return rc;
}

static int64_t text_of_names(const builder *b) {
    int64_t bytes = 0;
    for (int32_t k = 0; b->names.n && k < b->item.n; k++)
        bytes += b->names.bytes[b->item.old_of[k]];
    return bytes;
}

static int put_names(builder *b, mb_err *e) {
    int32_t named = 0;
    if (b->names.n == 0)
        return MB_OK;
    int64_t *at = mb_malloc(((size_t)b->item.n + 1) * sizeof *at);
    int rc = at ? MB_OK : no_memory(e);
    if (rc == MB_OK)
        at[0] = 0;
    for (int32_t k = 0; rc == MB_OK && k < b->item.n; k++) {
        const int32_t old = b->item.old_of[k];
        at[k + 1] = at[k] + b->names.bytes[old];
        named += b->names.bytes[old] > 0;
        rc = put(b->k, REC_SEC_NAME + 1, at[k], b->names.text + b->names.from[old], (size_t)b->names.bytes[old], e);
    }
    if (rc == MB_OK)
        rc = put(b->k, REC_SEC_NAME, 0, at, ((size_t)b->item.n + 1) * sizeof *at, e);
    mb_free(at);
    if (rc == MB_OK)
        mb_info("%s: names for %d of %d items", b->in->o->item_names, named, b->item.n);
    return rc;
}

typedef struct batch { /* events of one user, as the sections want them */
    int32_t item[BATCH], aux[BATCH];
    int64_t time[BATCH];
    float value[BATCH];
} batch;

static int put_batch(builder *b, const batch *w, int64_t at, int n, mb_err *e) {
    const size_t m = (size_t)n;
    int rc = put(b->k, REC_SEC_ITEM, at * 4, w->item, m * 4, e);
    if (rc == MB_OK && b->in->has.time)
        rc = put(b->k, REC_SEC_TIME, at * 8, w->time, m * 8, e);
    if (rc == MB_OK && b->in->has.value)
        rc = put(b->k, REC_SEC_VALUE, at * 4, w->value, m * 4, e);
    if (rc == MB_OK && b->aux.n)
        rc = put(b->k, REC_SEC_AUX, at * 4, w->aux, m * 4, e);
    return rc;
}

/* The spool is in the order of old users; each user's run goes where the new number puts it. */
static int put_events(builder *b, mb_err *e) {
    batch *w = mb_malloc(sizeof *w);
    const int64_t total = rec_spool_count(b->in->spool);
    int64_t done = 0; /* events of the current user that are out */
    int32_t user = -1;
    int filled = 0, rc = w ? MB_OK : no_memory(e);
    for (int64_t at = 0, n; rc == MB_OK && at < total; at += n) {
        const rec_event *v;
        rc = rec_spool_read(b->in->spool, at, &v, &n, e);
        for (int64_t i = 0; rc == MB_OK && i < n; i++) {
            const int32_t u = b->user.new_of[v[i].user];
            if (u != user || filled == BATCH) {
                if (filled)
                    rc = put_batch(b, w, b->user_at[user] + done, filled, e);
                done = u == user ? done + filled : 0;
                user = u;
                filled = 0;
            }
            w->item[filled] = b->item.new_of[v[i].item] + 1;
            w->aux[filled] = v[i].aux < 0 ? 0 : b->aux.new_of[v[i].aux] + 1;
            w->time[filled] = v[i].time;
            w->value[filled++] = v[i].value;
        }
    }
    if (rc == MB_OK && filled)
        rc = put_batch(b, w, b->user_at[user] + done, filled, e);
    mb_free(w);
    return rc;
}

static int fill_sink(builder *b, const char *recipe, mb_err *e) {
    int rc = put_users(b, e);
    if (rc == MB_OK)
        rc = put_events(b, e);
    if (rc == MB_OK)
        rc = put_ids(b, REC_SEC_USER_ID, &b->user, &b->in->user, e);
    if (rc == MB_OK)
        rc = put_ids(b, REC_SEC_ITEM_ID, &b->item, &b->in->item, e);
    if (rc == MB_OK)
        rc = put_ids(b, REC_SEC_AUX_ID, &b->aux, &b->in->aux, e);
    if (rc == MB_OK)
        rc = put_names(b, e);
    if (rc == MB_OK)
        rc = put(b->k, REC_SEC_RECIPE, 0, recipe, strlen(recipe) + 1, e);
    if (rc != MB_OK)
        return rc;
    if (b->k->out)
        return seal_file(b->k, e);
    memcpy(b->k->block, &b->k->h, sizeof b->k->h);
    return MB_OK;
}

int rec_build(rec_sink *k, rec_intake *in, const char *recipe, mb_err *e) {
    builder b = {.in = in, .k = k};
    if (rec_spool_count(in->spool) == 0)
        return mb_fail(e, MB_FORMAT, in->counts.events ? "the filters leave no event" : "the input holds no event");
    const rec_table items = rec_names_table(&in->item);
    int rc = rec_item_names_read(&b.names, in->o->item_names, &items, e);
    if (rc == MB_OK)
        rc = number_all(&b, e);
    if (rc == MB_OK) {
        const rec_sizes s = {.n_users = b.user.n,
                             .n_items = b.item.n,
                             .n_aux = b.aux.n,
                             .n_events = rec_spool_count(in->spool),
                             .time = in->has.time,
                             .value = in->has.value,
                             .aux = b.aux.n > 0,
                             .given = in->parted,
                             .names = b.names.n > 0,
                             .name_text = text_of_names(&b),
                             .user_text = text_of(&b.user, &in->user),
                             .item_text = text_of(&b.item, &in->item),
                             .aux_text = text_of(&b.aux, &in->aux),
                             .recipe = (int64_t)strlen(recipe) + 1};
        rc = open_sink(k, &s, e);
    }
    if (rc == MB_OK)
        rc = fill_sink(&b, recipe, e);
    for (int i = 0; i < REC_SECTIONS; i++)
        mb_free(k->lane[i].buffer);
    memset(k->lane, 0, sizeof k->lane);
    if (rc != MB_OK && k->block) {
        mb_big_free(k->block, (size_t)k->h.bytes);
        k->block = NULL;
    }
    rec_item_names_free(&b.names);
    close_numbering(&b.user);
    close_numbering(&b.item);
    close_numbering(&b.aux);
    mb_free(b.parts);
    mb_free(b.user_at);
    return rc;
}
