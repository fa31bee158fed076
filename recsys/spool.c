/* See spool.h. Refuses to go on when a scratch file cannot be written or read back; nothing is left behind, since the
 * files have no names. */
#include "recsys/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/rng.h"

enum {
    LEAST = 4096,        /* events in memory, at the least */
    FIRST = 4096,        /* events for which room is made at first */
    SHORT_RUN = 16,      /* sorted by insertion */
    MERGE_BUFFER = 1024, /* events; 32 KiB a read */
    LEAST_FAN = 7,
    MOST_FAN = 255,
    READ_BLOCK = 65536 /* events given out at once from memory */
};

struct rec_spool {
    rec_event *array;        /* (room) the run that is being gathered; after sorting: all, or buffers */
    int64_t n, room, budget; /* budget: most events of a run; as many again for sorting it */
    int64_t total;           /* events in all */
    int64_t kept;
    char *folder;
    int fd;          /* sorted runs, then the one that they were merged to; -1 none */
    int64_t *run_at; /* (runs+1) events of the file before each */
    int runs, spilled;
    rec_event *block, *pending; /* (budget each) halves of array when the events are in the file */
    int64_t n_pending;
};

/* ---- order ----------------------------------------------------------------------------------------------------------
 */
static int is_decimal(const char *s, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9')
            return 0;
    return n > 0;
}

int rec_compare_ids(const char *a, int64_t na, const char *b, int64_t nb) {
    if (is_decimal(a, na) && is_decimal(b, nb)) {
        const char *x = a, *y = b;
        int64_t nx = na, ny = nb;
        for (; nx > 1 && *x == '0'; nx--)
            x++;
        for (; ny > 1 && *y == '0'; ny--)
            y++;
        const int c = nx != ny ? (nx < ny ? -1 : 1) : memcmp(x, y, (size_t)nx);
        if (c)
            return c;
    }
    const int c = memcmp(a, b, (size_t)(na < nb ? na : nb));
    return c ? c : (na > nb) - (na < nb);
}

static uint64_t draw(uint64_t seed, uint64_t place) {
    const uint32_t counter[4] = {(uint32_t)place, (uint32_t)(place >> 32), 0x7469u, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    mb_philox4x32(counter, key, out);
    return (uint64_t)out[0] << 32 | out[1];
}

static int compare_ties(const rec_event *a, const rec_event *b, const rec_order *o) {
    if (o->ties == REC_TIES_ITEM && a->item != b->item) {
        const rec_names *t = o->items;
        return rec_compare_ids(t->text + t->at[a->item], t->at[a->item + 1] - t->at[a->item], t->text + t->at[b->item],
                               t->at[b->item + 1] - t->at[b->item]);
    }
    if (o->ties == REC_TIES_RANDOM) {
        const uint64_t x = draw(o->seed, a->order >> 2), y = draw(o->seed, b->order >> 2);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return (a->order > b->order) - (a->order < b->order);
}

static inline int compare(const rec_event *a, const rec_event *b, const rec_order *o) {
    if (a->user != b->user)
        return a->user < b->user ? -1 : 1;
    if ((a->order ^ b->order) & 3)
        return (a->order & 3) < (b->order & 3) ? -1 : 1;
    if (a->time != b->time) {
        if (o->time == REC_TIME_EXACT)
            return a->time < b->time ? -1 : 1;
        /* The way of pandas and PyTorch: decimal text to double, double to float. */
        const float x = (float)(double)a->time, y = (float)(double)b->time;
        if (x != y)
            return x < y ? -1 : 1;
    }
    return compare_ties(a, b, o);
}

static void insertion_sort(rec_event *a, int64_t n, const rec_order *o) {
    for (int64_t i = 1; i < n; i++) {
        const rec_event x = a[i];
        int64_t k = i;
        for (; k > 0 && compare(&x, &a[k - 1], o) < 0; k--)
            a[k] = a[k - 1];
        a[k] = x;
    }
}

static void merge_two(rec_event *to, const rec_event *a, int64_t na, const rec_event *b, int64_t nb,
                      const rec_order *o) {
    if (na == 0 || nb == 0 || compare(&a[na - 1], &b[0], o) <= 0) {
        memcpy(to, a, (size_t)na * sizeof *to);
        memcpy(to + na, b, (size_t)nb * sizeof *to);
        return;
    }
    while (na && nb) {
        if (compare(b, a, o) < 0)
            *to++ = *b++, nb--;
        else
            *to++ = *a++, na--;
    }
    memcpy(to, na ? a : b, (size_t)(na + nb) * sizeof *to);
}

static int is_sorted(const rec_event *a, int64_t n, const rec_order *o) {
    for (int64_t i = 1; i < n; i++)
        if (compare(&a[i - 1], &a[i], o) > 0)
            return 0;
    return 1;
}

/* Bottom-up merge sort; other: (n). The sorted events are in a. */
static void sort_events(rec_event *a, rec_event *other, int64_t n, const rec_order *o) {
    for (int64_t i = 0; i < n; i += SHORT_RUN)
        insertion_sort(a + i, n - i < SHORT_RUN ? n - i : SHORT_RUN, o);
    rec_event *from = a, *to = other;
    for (int64_t width = SHORT_RUN; width < n; width *= 2) {
        for (int64_t i = 0; i < n; i += 2 * width) {
            const int64_t na = n - i < width ? n - i : width;
            const int64_t nb = n - i - na < width ? n - i - na : width;
            merge_two(to + i, from + i, na, from + i + na, nb, o);
        }
        rec_event *swap = from;
        from = to;
        to = swap;
    }
    if (from != a)
        memcpy(a, from, (size_t)n * sizeof *a);
}

/* ---- scratch files --------------------------------------------------------------------------------------------------
 */
static int open_scratch(const rec_spool *s, mb_err *e) {
    int fd = open(s->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    char *path = mb_asprintf("%s/recmamba-scratch-XXXXXX", s->folder);
    if (!path)
        return mb_fail(e, MB_NOMEM, "no memory for the name of a scratch file");
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    else
        fd = mb_fail_errno(e, MB_IO, "cannot create a scratch file in %s (TMPDIR names another folder)", s->folder);
    mb_free(path);
    return fd;
}

static int write_events(const rec_spool *s, int fd, const rec_event *event, int64_t n, int64_t at, mb_err *e) {
    const char *from = (const char *)event;
    size_t left = (size_t)n * sizeof *event;
    off_t where = (off_t)(at * (int64_t)sizeof *event);
    while (left) {
        const ssize_t w = pwrite(fd, from, left, where);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            char free_bytes[32];
            struct statvfs v;
            const int cause = w < 0 ? errno : EIO;
            const double room = fstatvfs(fd, &v) ? 0 : (double)v.f_bavail * (double)v.f_frsize;
            errno = cause;
            return mb_fail_errno(e, MB_IO, "cannot write a scratch file in %s (%s free; TMPDIR names another folder)",
                                 s->folder, mb_human_bytes(room, free_bytes));
        }
        from += w;
        left -= (size_t)w;
        where += w;
    }
    return MB_OK;
}

static int read_events(const rec_spool *s, int fd, rec_event *event, int64_t n, int64_t at, mb_err *e) {
    char *to = (char *)event;
    size_t left = (size_t)n * sizeof *event;
    off_t where = (off_t)(at * (int64_t)sizeof *event);
    while (left) {
        const ssize_t r = pread(fd, to, left, where);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return mb_fail_errno(e, MB_IO, "cannot read a scratch file in %s", s->folder);
        if (r == 0)
            return mb_fail(e, MB_IO, "a scratch file in %s has become shorter", s->folder);
        to += r;
        left -= (size_t)r;
        where += r;
    }
    return MB_OK;
}

/* Sorting and filtering a large log takes a while: it ends when it is asked to. */
static int check_stop(mb_err *e) {
    return atomic_load_explicit(mb_cli_stop(), memory_order_relaxed)
               ? mb_fail(e, MB_STOPPED, "stopped while sorting and filtering, as asked; nothing was written")
               : MB_OK;
}

/* ---- gathering ------------------------------------------------------------------------------------------------------
 */
int rec_spool_create(rec_spool **out, int64_t memory, const char *folder, mb_err *e) {
    *out = NULL;
    rec_spool *s = mb_calloc(1, sizeof *s);
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory for events");
    s->fd = -1;
    if (!folder || !*folder)
        folder = getenv("TMPDIR");
    s->folder = mb_strdup(folder && *folder ? folder : "/tmp");
    s->budget = memory / (2 * (int64_t)sizeof(rec_event));
    if (s->budget < LEAST)
        s->budget = LEAST;
    if (!s->folder) {
        rec_spool_destroy(s);
        return mb_fail(e, MB_NOMEM, "no memory for events");
    }
    *out = s;
    return MB_OK;
}

void rec_spool_destroy(rec_spool *s) {
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    mb_free(s->array);
    mb_free(s->folder);
    mb_free(s->run_at);
    mb_free(s);
}

static int no_memory(int64_t n, mb_err *e) {
    return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " events; give less --memory: scratch files take the rest", n);
}

/* The gathered run becomes the next one of the file. */
static int spill(rec_spool *s, const rec_order *o, mb_err *e) {
    rec_event *other = NULL;
    if (!is_sorted(s->array, s->n, o)) {
        other = mb_malloc((size_t)s->n * sizeof *other);
        if (!other)
            return no_memory(s->n, e);
        sort_events(s->array, other, s->n, o);
        mb_free(other);
    }
    int64_t *run_at = mb_realloc_array(s->run_at, (size_t)s->runs + 2, sizeof *run_at);
    if (!run_at)
        return no_memory(s->n, e);
    if (!s->run_at)
        run_at[0] = 0;
    s->run_at = run_at;
    if (s->fd < 0 && (s->fd = open_scratch(s, e)) < 0)
        return s->fd;
    int rc = write_events(s, s->fd, s->array, s->n, run_at[s->runs], e);
    if (rc != MB_OK)
        return rc;
    run_at[s->runs + 1] = run_at[s->runs] + s->n;
    s->runs++;
    s->spilled++;
    s->n = 0;
    return MB_OK;
}

int rec_spool_add(rec_spool *s, const rec_event *event, const rec_order *order, mb_err *e) {
    if (s->n == s->room) {
        if (s->n == s->budget) {
            int rc = spill(s, order, e);
            if (rc != MB_OK)
                return rc;
        } else {
            int64_t room = s->room ? 2 * s->room : FIRST;
            room = room < s->budget ? room : s->budget;
            rec_event *array = mb_realloc_array(s->array, (size_t)room, sizeof *array);
            if (!array)
                return no_memory(room, e);
            s->array = array;
            s->room = room;
        }
    }
    s->array[s->n++] = *event;
    s->total++;
    return MB_OK;
}

/* ---- merging --------------------------------------------------------------------------------------------------------
 */
typedef struct source { /* one run that is being merged */
    rec_event *buffer;
    int64_t at, filled; /* within buffer */
    int64_t next, stop; /* of the file: not read yet */
} source;

typedef struct merger {
    rec_spool *s;
    const rec_order *o;
    source *source; /* (fan) */
    int *heap;      /* (fan) sources by their next event, the first on top */
    int heaped;
    int64_t buffer; /* events of each buffer */
    rec_event *out; /* (buffer) */
    int64_t n_out, written;
    int to;
} merger;

static int fill_source(merger *m, source *c, mb_err *e) {
    const int64_t n = c->stop - c->next < m->buffer ? c->stop - c->next : m->buffer;
    int rc = n ? read_events(m->s, m->s->fd, c->buffer, n, c->next, e) : MB_OK;
    c->next += n;
    c->at = 0;
    c->filled = n;
    return rc;
}

static int comes_first(const merger *m, int a, int b) {
    const source *x = &m->source[a], *y = &m->source[b];
    return compare(&x->buffer[x->at], &y->buffer[y->at], m->o) < 0;
}

static void sift_down(merger *m, int i) {
    for (;;) {
        int first = i;
        for (int c = 2 * i + 1; c <= 2 * i + 2 && c < m->heaped; c++)
            if (comes_first(m, m->heap[c], m->heap[first]))
                first = c;
        if (first == i)
            return;
        const int swap = m->heap[i];
        m->heap[i] = m->heap[first];
        m->heap[first] = swap;
        i = first;
    }
}

static int flush_out(merger *m, mb_err *e) {
    int rc = check_stop(e);
    if (rc == MB_OK)
        rc = write_events(m->s, m->to, m->out, m->n_out, m->written, e);
    m->written += m->n_out;
    m->n_out = 0;
    return rc;
}

/* Runs [first, first+n) of the file as one behind what m has written. */
static int merge_group(merger *m, int first, int n, mb_err *e) {
    int rc = MB_OK;
    m->heaped = 0;
    for (int i = 0; rc == MB_OK && i < n; i++) {
        m->source[i].next = m->s->run_at[first + i];
        m->source[i].stop = m->s->run_at[first + i + 1];
        rc = fill_source(m, &m->source[i], e);
        m->heap[m->heaped++] = i; /* no run is empty */
    }
    for (int i = m->heaped / 2 - 1; rc == MB_OK && i >= 0; i--)
        sift_down(m, i);
    while (rc == MB_OK && m->heaped) {
        source *c = &m->source[m->heap[0]];
        m->out[m->n_out++] = c->buffer[c->at++];
        if (m->n_out == m->buffer)
            rc = flush_out(m, e);
        if (rc == MB_OK && c->at == c->filled)
            rc = fill_source(m, c, e);
        if (c->filled == 0)
            m->heap[0] = m->heap[--m->heaped];
        if (m->heaped)
            sift_down(m, 0);
    }
    return rc == MB_OK ? flush_out(m, e) : rc;
}

/* Every group of fan runs becomes one, in a new file that takes the place of the old one. */
static int merge_round(merger *m, int fan, mb_err *e) {
    rec_spool *s = m->s;
    m->to = open_scratch(s, e);
    if (m->to < 0)
        return m->to;
    int rc = MB_OK, groups = 0;
    m->written = m->n_out = 0;
    for (int i = 0; rc == MB_OK && i < s->runs; i += fan) {
        const int n = s->runs - i < fan ? s->runs - i : fan;
        rc = merge_group(m, i, n, e);
        s->run_at[groups++] = s->run_at[i]; /* reads of later groups begin behind this one */
    }
    if (rc != MB_OK) {
        close(m->to);
        return rc;
    }
    s->run_at[groups] = s->total;
    s->runs = groups;
    close(s->fd);
    s->fd = m->to;
    return MB_OK;
}

static int merge_runs(rec_spool *s, const rec_order *o, mb_err *e) {
    int64_t fan = 2 * s->budget / MERGE_BUFFER - 1;
    fan = fan < LEAST_FAN ? LEAST_FAN : fan > MOST_FAN ? MOST_FAN : fan;
    merger m = {.s = s, .o = o, .buffer = 2 * s->budget / (fan + 1)};
    rec_event *array = mb_realloc_array(s->array, 2 * (size_t)s->budget, sizeof *array);
    if (!array)
        return no_memory(2 * s->budget, e);
    s->array = array;
    m.source = mb_calloc((size_t)fan, sizeof *m.source);
    m.heap = mb_calloc((size_t)fan, sizeof *m.heap);
    int rc = m.source && m.heap ? MB_OK : no_memory(fan, e);
    for (int i = 0; rc == MB_OK && i < fan; i++)
        m.source[i].buffer = array + i * m.buffer;
    m.out = array + fan * m.buffer;
    while (rc == MB_OK && s->runs > 1)
        rc = merge_round(&m, (int)fan, e);
    mb_free(m.source);
    mb_free(m.heap);
    s->block = array;
    s->pending = array + s->budget;
    return rc;
}

int rec_spool_sort(rec_spool *s, const rec_order *order, mb_err *e) {
    if (s->runs) {
        int rc = s->n ? spill(s, order, e) : MB_OK;
        return rc == MB_OK ? merge_runs(s, order, e) : rc;
    }
    if (is_sorted(s->array, s->n, order))
        return MB_OK;
    rec_event *other = mb_malloc((size_t)s->n * sizeof *other);
    if (!other)
        return no_memory(s->n, e);
    sort_events(s->array, other, s->n, order);
    mb_free(other);
    return MB_OK;
}

/* ---- reading and thinning out ---------------------------------------------------------------------------------------
 */
int64_t rec_spool_count(const rec_spool *s) {
    return s->total;
}

int rec_spool_runs(const rec_spool *s) {
    return s->spilled;
}

int rec_spool_read(rec_spool *s, int64_t at, const rec_event **event, int64_t *n, mb_err *e) {
    int rc = check_stop(e);
    *n = s->total - at;
    if (rc != MB_OK)
        return rc;
    if (s->fd < 0) {
        *n = *n < READ_BLOCK ? *n : READ_BLOCK;
        *event = s->array + at;
        return MB_OK;
    }
    *n = *n < s->budget ? *n : s->budget;
    *event = s->block;
    return read_events(s, s->fd, s->block, *n, at, e);
}

void rec_spool_keep_begin(rec_spool *s) {
    s->kept = s->n_pending = 0;
}

/* Lands on events that have been read: no more are kept than were given out. */
static int flush_kept(rec_spool *s, mb_err *e) {
    int rc = write_events(s, s->fd, s->pending, s->n_pending, s->kept, e);
    s->kept += s->n_pending;
    s->n_pending = 0;
    return rc;
}

int rec_spool_keep(rec_spool *s, const rec_event *event, mb_err *e) {
    if (s->fd < 0) {
        s->array[s->kept++] = *event;
        return MB_OK;
    }
    s->pending[s->n_pending++] = *event;
    return s->n_pending == s->budget ? flush_kept(s, e) : MB_OK;
}

int rec_spool_keep_end(rec_spool *s, mb_err *e) {
    int rc = s->fd < 0 ? MB_OK : flush_kept(s, e);
    s->total = s->kept;
    return rc;
}
