/* See rank.h. */
#include "recsys/rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

/* Whether a stands before b: key descending, item ascending. */
static int is_before(rec_ranked a, rec_ranked b) {
    return a.key > b.key || (a.key == b.key && a.item < b.item);
}

static int by_rank(const void *a, const void *b) {
    const rec_ranked *x = a, *y = b;
    return is_before(*y, *x) - is_before(*x, *y);
}

/* ---- the best k -------------------------------------------------------------------------------------------------- */

static void sink(rec_heap *h, int i) {
    const rec_ranked x = h->at[i];
    for (int child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && is_before(h->at[child], h->at[child + 1]))
            child++;
        if (is_before(h->at[child], x))
            break;
        h->at[i] = h->at[child];
        h->at[child] = x;
    }
}

void rec_heap_offer(rec_heap *h, int32_t item, double key) {
    const rec_ranked x = {item, key};
    if (h->n < h->k) {
        int i = h->n++;
        for (; i > 0 && is_before(h->at[(i - 1) / 2], x); i = (i - 1) / 2)
            h->at[i] = h->at[(i - 1) / 2];
        h->at[i] = x;
    } else if (h->k > 0 && is_before(x, h->at[0])) {
        h->at[0] = x;
        sink(h, 0);
    }
}

void rec_heap_sort(rec_heap *h) {
    if (h->n > 1)
        qsort(h->at, (size_t)h->n, sizeof *h->at, by_rank);
}

/* ---- one query --------------------------------------------------------------------------------------------------- */

int rec_ranker_init(rec_ranker *r, int32_t n_items, int first_room, mb_err *e) {
    const size_t n = (size_t)n_items + 1;
    *r = (rec_ranker){.n_items = n_items, .first_room = first_room};
    r->history = mb_calloc(n, sizeof *r->history);
    r->target = mb_calloc(n, sizeof *r->target);
    r->first = mb_calloc((size_t)first_room + 1, sizeof *r->first);
    if (!r->history || !r->target || !r->first)
        return mb_fail(e, MB_NOMEM, "no memory to rank %d items", n_items);
    return MB_OK;
}

void rec_ranker_fini(rec_ranker *r) {
    mb_free(r->history);
    mb_free(r->target);
    mb_free(r->first);
    mb_free(r->sorted);
    mb_free(r->below);
    *r = (rec_ranker){0};
}

static int make_room(rec_ranker *r, int64_t m, mb_err *e) {
    if (m <= r->room)
        return MB_OK;
    mb_free(r->sorted);
    mb_free(r->below);
    r->room = 0;
    r->sorted = mb_malloc((size_t)m * sizeof *r->sorted);
    r->below = mb_malloc(((size_t)m + 1) * sizeof *r->below);
    if (!r->sorted || !r->below)
        return mb_fail(e, MB_NOMEM, "no memory for %lld targets", (long long)m);
    r->room = m;
    return MB_OK;
}

int rec_ranker_begin(rec_ranker *r, const int32_t *history, int64_t n, const int32_t *target, int64_t m, mb_err *e) {
    const int rc = make_room(r, m, e);
    if (rc != MB_OK)
        return rc;
    r->query++;
    r->distinct = 0;
    for (int64_t j = 0; j < m; j++)
        r->target[target[j]] = r->query;
    for (int64_t i = 0; i < n; i++)
        if (r->target[history[i]] != r->query && r->history[history[i]] != r->query) {
            r->history[history[i]] = r->query;
            r->distinct++;
        }
    return MB_OK;
}

/* How many of the m sorted targets stand before x. */
static int64_t targets_before(const rec_ranker *r, int64_t m, rec_ranked x) {
    int64_t low = 0, high = m;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (is_before(r->sorted[middle], x))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void sort_targets(rec_ranker *r, const float *score, const int32_t *target, int64_t m) {
    for (int64_t j = 0; j < m; j++)
        r->sorted[j] = (rec_ranked){target[j], (double)score[target[j]]};
    qsort(r->sorted, (size_t)m, sizeof *r->sorted, by_rank);
    memset(r->below, 0, ((size_t)m + 1) * sizeof *r->below);
}

static void count_one(rec_ranker *r, const float *score, int64_t m, int32_t item) {
    r->below[targets_before(r, m, (rec_ranked){item, (double)score[item]})]++;
}

/* below[j]: what was counted between the sorted targets j-1 and j; becomes how many before target j. */
static void sum_up(rec_ranker *r, int64_t m) {
    for (int64_t j = 1; j <= m; j++)
        r->below[j] += r->below[j - 1];
}

static int64_t place_of(const rec_ranker *r, const float *score, int64_t m, int32_t target) {
    return targets_before(r, m, (rec_ranked){target, (double)score[target]});
}

/* From what was counted of the other candidates: a target also stands behind the targets before it. */
static void rank_targets(rec_ranker *r, const float *score, const int32_t *target, int64_t m, int32_t *rank) {
    sum_up(r, m);
    for (int64_t j = 0; j < m; j++) {
        const int64_t place = place_of(r, score, m, target[j]);
        rank[j] = (int32_t)(1 + place + r->below[place]);
    }
}

static int32_t first_nan(const float *score, int32_t n_items) {
    int32_t bad = 0;
#pragma omp simd reduction(+ : bad)
    for (int32_t i = 1; i <= n_items; i++)
        bad += score[i] != score[i];
    for (int32_t i = 1; bad > 0 && i <= n_items; i++)
        if (isnan(score[i]))
            return i;
    return 0;
}

/* The usual case in vector instructions. */
static int32_t rank_of_one(const float *score, int32_t n_items, int32_t target) {
    const float s = score[target];
    int32_t before = 0;
#pragma omp simd reduction(+ : before)
    for (int32_t i = 1; i < target; i++)
        before += score[i] >= s;
#pragma omp simd reduction(+ : before)
    for (int32_t i = target + 1; i <= n_items; i++)
        before += score[i] > s;
    return before + 1;
}

/* Of one target: its rank without the items of the history, each of which is stamped once and loses its stamp on the
 * way; distinct counts what is left. */
static int32_t without_history(rec_ranker *r, const float *score, const int32_t *history, int64_t n, rec_ranked target,
                               int32_t rank) {
    for (int64_t i = 0; i < n; i++)
        if (r->history[history[i]] == r->query) {
            r->history[history[i]] = 0;
            rank -= is_before((rec_ranked){history[i], (double)score[history[i]]}, target);
        }
    for (int64_t i = 0; i < n; i++)
        if (history[i] != target.item)
            r->history[history[i]] = r->query;
    return rank;
}

int32_t rec_rank_all(rec_ranker *r, const float *score, const int32_t *history, int64_t n, const int32_t *target,
                     int64_t m, int32_t *rank, int32_t *filtered) {
    const int32_t bad = first_nan(score, r->n_items);
    if (bad)
        return bad;
    if (m == 1) {
        *rank = rank_of_one(score, r->n_items, *target);
        *filtered = without_history(r, score, history, n, (rec_ranked){*target, (double)score[*target]}, *rank);
        return 0;
    }
    sort_targets(r, score, target, m);
    for (int32_t i = 1; i <= r->n_items; i++)
        if (r->target[i] != r->query)
            count_one(r, score, m, i);
    rank_targets(r, score, target, m, rank);
    memset(r->below, 0, ((size_t)m + 1) * sizeof *r->below);
    for (int32_t i = 1; i <= r->n_items; i++)
        if (r->history[i] == r->query)
            count_one(r, score, m, i);
    sum_up(r, m);
    for (int64_t j = 0; j < m; j++)
        filtered[j] = rank[j] - (int32_t)r->below[place_of(r, score, m, target[j])];
    return 0;
}

int32_t rec_rank_among(rec_ranker *r, const float *score, const int32_t *candidate, int64_t c, const int32_t *target,
                       int64_t m, int32_t *rank) {
    for (int64_t j = 0; j < m; j++)
        if (isnan(score[target[j]]))
            return target[j];
    sort_targets(r, score, target, m);
    for (int64_t i = 0; i < c; i++) {
        if (isnan(score[candidate[i]]))
            return candidate[i];
        count_one(r, score, m, candidate[i]);
    }
    rank_targets(r, score, target, m, rank);
    return 0;
}

int rec_rank_first(rec_ranker *r, const float *score, int k, int filtered) {
    rec_heap h = {r->first, 0, k < r->first_room ? k : r->first_room};
    for (int32_t i = 1; i <= r->n_items; i++)
        if (!filtered || r->history[i] != r->query)
            rec_heap_offer(&h, i, (double)score[i]);
    rec_heap_sort(&h);
    return h.n;
}
