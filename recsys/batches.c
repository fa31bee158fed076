/* Training batches. See batches.h. */
#include "recsys/batches.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/rng.h"

/* Streams of the random numbers: the epoch's order, the step's negatives. A window of a step has 2^40 blocks of its own
 * in the step's stream. */
static const uint64_t ORDER_STREAM = (uint64_t)1 << 56, NEGATIVE_STREAM = (uint64_t)2 << 56;
enum { WINDOW_SHIFT = 40, MOST_TRIES = 100 };

/* ---- windows --------------------------------------------------------------------------------------------------------
 */

/* Counts or writes (b->window is there) the windows of a user whose training events are [from,end). */
static void cut_positions(rec_batches *b, int32_t user, int64_t from, int64_t end) {
    const int64_t most = b->o.window > 0 ? b->o.window : INT64_MAX;
    int64_t until = end - from - 1; /* rows that are not targets yet: [0,until) */
    while (until > 0) {
        const int64_t start = until > most ? until - most : 0, skip = start > 0 ? b->o.overlap : 0;
        if (b->window) {
            b->window[b->n] = (rec_window){from + start, until - start, skip};
            b->user[b->n] = user;
        }
        b->n++;
        until = start + skip;
    }
}

static void cut_windows(rec_batches *b, int32_t user, int64_t from, int64_t end) {
    for (int64_t target = from + 1; target < end; target++, b->n++)
        if (b->window) {
            const int64_t n = b->o.window > 0 && target - from > b->o.window ? b->o.window : target - from;
            b->window[b->n] = (rec_window){target - n, n, n - 1};
            b->user[b->n] = user;
        }
}

static void cut(rec_batches *b) {
    b->n = 0;
    for (int32_t u = 0; u < b->view->n_users; u++)
        (b->o.mode == REC_WINDOWS ? cut_windows : cut_positions)(b, u, b->view->user_at[u], b->split->valid_at[u]);
}

static int make_windows(rec_batches *b, mb_err *e) {
    cut(b);
    if (b->n == 0)
        return mb_fail(e, MB_FORMAT,
                       "no user has two training events or more (%" PRId64 " events of %d users, %" PRId64
                       " for training): there is nothing to learn from",
                       b->view->n_events, b->view->n_users, b->split->train);
    b->window = mb_calloc((size_t)b->n, sizeof *b->window);
    b->user = mb_calloc((size_t)b->n, sizeof *b->user);
    b->order = mb_calloc((size_t)b->n, sizeof *b->order);
    if (!b->window || !b->user || !b->order)
        return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " training windows", b->n);
    cut(b);
    for (int64_t i = 0; i < b->n; i++) {
        b->rows += b->window[i].n;
        b->targets += b->window[i].n - b->window[i].skip;
        b->longest = b->window[i].n > b->longest ? b->window[i].n : b->longest;
    }
    const double each = (double)b->targets / (double)b->n;
    b->batch = b->o.batch > 0 ? b->o.batch : (int64_t)llround((double)b->o.batch_positions / each);
    b->batch = b->batch < 1 ? 1 : b->batch < b->n ? b->batch : b->n;
    b->steps = (b->n + b->batch - 1) / b->batch;
    return MB_OK;
}

/* ---- what negatives are drawn from ----------------------------------------------------------------------------------
 */

static int by_item(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int sort_known(rec_batches *b, mb_err *e) {
    const rec_view *v = b->view;
    b->known = mb_malloc(((size_t)v->n_events + 1) * sizeof *b->known);
    if (!b->known)
        return mb_fail(e, MB_NOMEM, "no memory for the items of each user");
    if (v->n_events > 0)
        memcpy(b->known, v->item, (size_t)v->n_events * sizeof *b->known);
    for (int32_t u = 0; u < v->n_users; u++)
        qsort(b->known + v->user_at[u], (size_t)(b->split->valid_at[u] - v->user_at[u]), sizeof *b->known, by_item);
    return MB_OK;
}

static int count_events(rec_batches *b, mb_err *e) {
    const rec_view *v = b->view;
    b->mass = mb_calloc((size_t)v->n_items + 1, sizeof *b->mass);
    if (!b->mass)
        return mb_fail(e, MB_NOMEM, "no memory to count the events of %d items", v->n_items);
    for (int32_t u = 0; u < v->n_users; u++)
        for (int64_t i = v->user_at[u]; i < b->split->valid_at[u]; i++)
            b->mass[v->item[i]]++;
    int32_t met = 0;
    for (int32_t i = 1; i <= v->n_items; i++) {
        met += b->mass[i] > 0;
        b->mass[i] += b->mass[i - 1];
    }
    return met > 1 ? MB_OK : mb_fail(e, MB_FORMAT, "all training events are of one item: there is no negative to draw");
}

int rec_batches_create(rec_batches **out, const rec_log *l, const rec_split *s, const rec_batches_options *o,
                       mb_err *e) {
    MB_ASSERT(o->overlap >= 0 && (o->overlap == 0 || o->overlap < o->window));
    rec_batches *b = mb_calloc(1, sizeof *b);
    *out = NULL;
    if (!b)
        return mb_fail(e, MB_NOMEM, "no memory for training batches");
    b->view = rec_log_view(l);
    b->split = s;
    b->o = *o;
    b->epoch = -1;
    int rc = make_windows(b, e);
    if (rc == MB_OK && o->negatives > 0 && b->view->n_items < 2)
        rc = mb_fail(e, MB_FORMAT, "the log has one item only: there is no negative to draw");
    if (rc == MB_OK && o->negatives > 0 && o->spare_user)
        rc = sort_known(b, e);
    if (rc == MB_OK && o->negatives > 0 && o->draw == REC_DRAW_POPULARITY)
        rc = count_events(b, e);
    if (rc == MB_OK)
        *out = b;
    else
        rec_batches_destroy(b);
    return rc;
}

void rec_batches_destroy(rec_batches *b) {
    if (!b)
        return;
    mb_free(b->window);
    mb_free(b->user);
    mb_free(b->order);
    mb_free(b->known);
    mb_free(b->mass);
    mb_free(b);
}

size_t rec_batches_bytes(const rec_batches *b) {
    const size_t known = b->known ? (size_t)b->view->n_events * sizeof *b->known : 0;
    const size_t mass = b->mass ? (size_t)b->view->n_items * sizeof *b->mass : 0;
    return (size_t)b->n * (sizeof *b->window + sizeof *b->user + sizeof *b->order) + known + mass;
}

/* ---- a step ---------------------------------------------------------------------------------------------------------
 */

static void order_epoch(rec_batches *b, int64_t epoch) {
    mb_rng r;
    if (b->epoch == epoch)
        return;
    mb_rng_init(&r, b->o.seed, ORDER_STREAM + (uint64_t)epoch);
    for (int64_t i = 0; i < b->n; i++)
        b->order[i] = i;
    for (int64_t i = b->n - 1; i > 0; i--) {
        const int64_t k = (int64_t)mb_rng_below(&r, (uint64_t)i + 1), at = b->order[i];
        b->order[i] = b->order[k];
        b->order[k] = at;
    }
    b->epoch = epoch;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int rec_batches_first(rec_batches *b, int64_t step, rec_window *w, int32_t *user) {
    order_epoch(b, step / b->steps);
    const int64_t from = step % b->steps * b->batch, first = b->order[from];
    *w = b->window[first];
    *user = b->user[first];
    return (int)(least(from + b->batch, b->n) - from);
}

/* Room for n of what P points to, K each; a status. */
#define GROW(P, N, K)                                                                                                  \
    ((grown = mb_realloc_array(P, (size_t)(N) + 1, (K) * sizeof *(P)))                                                 \
         ? ((P) = grown, MB_OK)                                                                                        \
         : mb_fail(e, MB_NOMEM, "no memory for a batch"))

static int reserve(const rec_batches *b, rec_batch *to, int64_t n, int64_t rows, int64_t targets, mb_err *e) {
    const size_t k = (size_t)b->o.negatives;
    int rc = MB_OK;
    void *grown;
    if (n > to->windows_room && (rc = GROW(to->length, n, 1)) == MB_OK)
        to->windows_room = n;
    if (rc == MB_OK && rows > to->rows_room && (rc = GROW(to->token, rows, 1)) == MB_OK)
        to->rows_room = rows;
    if (rc != MB_OK || targets <= to->targets_room)
        return rc;
    rc = GROW(to->row, targets, 1);
    if (rc == MB_OK)
        rc = GROW(to->target, targets, 1);
    if (rc == MB_OK && k > 0)
        rc = GROW(to->negative, targets, k);
    if (rc == MB_OK && k > 0 && b->o.corrected)
        rc = GROW(to->correction, targets, k);
    if (rc == MB_OK)
        to->targets_room = targets;
    return rc;
}
#undef GROW

/* The item that owns event number `at` of all training events in the order of items. */
static int32_t owner(const rec_batches *b, int64_t at) {
    int32_t low = 1, high = b->view->n_items;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (b->mass[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static int32_t draw(const rec_batches *b, mb_rng *r) {
    const int32_t n = b->view->n_items;
    return b->mass ? owner(b, (int64_t)mb_rng_below(r, (uint64_t)b->mass[n]))
                   : 1 + (int32_t)mb_rng_below(r, (uint64_t)n);
}

static int is_known(const rec_batches *b, int32_t user, int32_t item) {
    const int64_t from = b->view->user_at[user];
    return bsearch(&item, b->known + from, (size_t)(b->split->valid_at[user] - from), sizeof item, by_item) != NULL;
}

/* A user who has met almost everything gets, after so many tries, any item but the target. */
static int32_t draw_negative(const rec_batches *b, mb_rng *r, int32_t user, int32_t target) {
    int32_t item;
    int tries = 0;
    do
        item = draw(b, r);
    while (item == target || (b->known && tries++ < MOST_TRIES && is_known(b, user, item)));
    return item;
}

/* -log(k q), q the chance of the item among all but the target. */
static float correction(const rec_batches *b, int32_t item, int32_t target) {
    const double k = b->o.negatives, n = b->view->n_items;
    if (!b->mass)
        return (float)log((n - 1) / k);
    const double own = (double)(b->mass[item] - b->mass[item - 1]);
    const double others = (double)(b->mass[b->view->n_items] - (b->mass[target] - b->mass[target - 1]));
    return (float)log(others / own / k);
}

static void put_targets(const rec_batches *b, rec_batch *to, const rec_window *w, int32_t user, mb_rng *r) {
    const int k = b->o.negatives;
    for (int64_t i = w->skip; i < w->n; i++, to->targets++) {
        const int32_t target = b->view->item[w->from + i + 1];
        to->row[to->targets] = to->rows + i;
        to->target[to->targets] = target;
        for (int j = 0; j < k; j++) {
            const int32_t item = draw_negative(b, r, user, target);
            to->negative[to->targets * k + j] = item;
            if (b->o.corrected)
                to->correction[to->targets * k + j] = correction(b, item, target);
        }
    }
}

int rec_batches_fill(rec_batches *b, int64_t step, int part, int parts, rec_batch *to, mb_err *e) {
    const int64_t from = step % b->steps * b->batch, all = least(from + b->batch, b->n) - from;
    const int64_t first = all * part / parts, n = all * (part + 1) / parts - first;
    int64_t rows = 0, targets = 0;
    order_epoch(b, step / b->steps);
    for (int64_t i = 0; i < n; i++) {
        const rec_window *w = &b->window[b->order[from + first + i]];
        rows += w->n;
        targets += w->n - w->skip;
    }
    int rc = reserve(b, to, n, rows, targets, e);
    if (rc != MB_OK)
        return rc;
    to->n = 0;
    to->rows = to->targets = to->first_row = 0;
    for (int64_t i = 0; i < first; i++)
        to->first_row += b->window[b->order[from + i]].n;
    for (int64_t i = first; i < first + n; i++) {
        const int64_t at = b->order[from + i];
        const rec_window *w = &b->window[at];
        mb_rng r;
        mb_rng_init(&r, b->o.seed, NEGATIVE_STREAM + (uint64_t)step);
        r.counter = (uint64_t)i << WINDOW_SHIFT;
        memcpy(to->token + to->rows, b->view->item + w->from, (size_t)w->n * sizeof *to->token);
        put_targets(b, to, w, b->user[at], &r);
        to->length[to->n++] = w->n;
        to->rows += w->n;
    }
    return MB_OK;
}

void rec_batch_fini(rec_batch *b) {
    mb_free(b->length);
    mb_free(b->token);
    mb_free(b->row);
    mb_free(b->target);
    mb_free(b->negative);
    mb_free(b->correction);
    *b = (rec_batch){0};
}
