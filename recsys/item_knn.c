/* Items as sets of users: which are alike, and what the history's items recommend by that. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/floors_internal.h"
#include "recsys/rank.h"

enum { BLOCK = 512 }; /* items between two meetings of the threads */

/* Who has what, both ways: rows of item places by user, rows of users by item place. */
typedef struct sets {
    int64_t *user, *holder; /* (n_users+1), (n_items+1) starts */
    int32_t *item, *of;     /* places of each user; users of each place */
} sets;

static void sets_fini(sets *s) {
    mb_free(s->user);
    mb_free(s->holder);
    mb_free(s->item);
    mb_free(s->of);
}

/* The latest `window` different training items of a user, latest first, as places; how many. mark (n_items+1). */
static int64_t latest(const rec_floor *f, const int32_t *item, int64_t n, int64_t *mark, int64_t stamp, int32_t *to) {
    int64_t found = 0;
    for (int64_t t = n - 1; t >= 0 && found < f->window; t--)
        if (mark[item[t]] != stamp) {
            mark[item[t]] = stamp;
            to[found++] = f->place[item[t]];
        }
    return found;
}

static int sets_make(sets *x, const rec_floor *f, const rec_view *v, const rec_split *s, mb_err *e) {
    const size_t users = (size_t)v->n_users, items = (size_t)f->n_items;
    int64_t *mark = mb_calloc(items + 1, sizeof *mark);
    *x = (sets){.user = mb_calloc(users + 1, sizeof *x->user),
                .holder = mb_calloc(items + 2, sizeof *x->holder),
                .item = mb_calloc((size_t)s->train + 1, sizeof *x->item),
                .of = mb_calloc((size_t)s->train + 1, sizeof *x->of)};
    if (!mark || !x->user || !x->holder || !x->item || !x->of) {
        mb_free(mark);
        return mb_fail(e, MB_NOMEM, "no memory for the items of %d users", v->n_users);
    }
    for (int32_t u = 0; u < v->n_users; u++) {
        const int64_t from = v->user_at[u], at = x->user[u];
        const int64_t n = latest(f, v->item + from, s->valid_at[u] - from, mark, (int64_t)u + 1, x->item + at);
        x->user[u + 1] = at + n;
        for (int64_t i = at; i < at + n; i++)
            x->holder[x->item[i] + 2]++;
    }
    mb_free(mark);
    for (int32_t p = 0; p < f->n_items; p++) /* holder[p+1] is where p's users begin, until they are filled in */
        x->holder[p + 1] += x->holder[p];
    for (int32_t u = 0; u < v->n_users; u++)
        for (int64_t i = x->user[u]; i < x->user[u + 1]; i++)
            x->of[x->holder[x->item[i] + 1]++] = u;
    return MB_OK;
}

/* ---- neighbours -------------------------------------------------------------------------------------------------- */

typedef struct counter {      /* of one thread */
    int32_t *count, *touched; /* (n_items) */
} counter;

static int64_t holders(const sets *x, int32_t p) {
    return x->holder[p + 1] - x->holder[p];
}

/* The k places most like p into at; how many. */
static int neighbours(const rec_floor *f, const sets *x, int32_t p, counter *c, rec_ranked *at) {
    rec_heap h = {at, 0, f->k};
    int32_t n = 0;
    for (int64_t i = x->holder[p]; i < x->holder[p + 1]; i++) {
        const int32_t u = x->of[i];
        for (int64_t j = x->user[u]; j < x->user[u + 1]; j++)
            if (c->count[x->item[j]]++ == 0)
                c->touched[n++] = x->item[j];
    }
    for (int32_t i = 0; i < n; i++) {
        const int32_t other = c->touched[i];
        if (other != p)
            rec_heap_offer(&h, other, c->count[other] / sqrt((double)holders(x, p) * (double)holders(x, other)));
        c->count[other] = 0;
    }
    rec_heap_sort(&h);
    return h.n;
}

/* Rows of the places [from, from+n) are appended: found (n) neighbours of each in at (n, k). */
static int append(rec_floor *f, int32_t from, int n, const int *found, const rec_ranked *at, int64_t *room, mb_err *e) {
    int64_t end = f->row[from];
    for (int i = 0; i < n; i++)
        end += found[i];
    if (end > *room) {
        const int64_t more = end + end / 2 + BLOCK;
        int32_t *to = mb_realloc_array(f->to, (size_t)more, sizeof *to);
        f->to = to ? to : f->to;
        float *near = to ? mb_realloc_array(f->near, (size_t)more, sizeof *near) : NULL;
        f->near = near ? near : f->near;
        if (!near)
            return mb_fail(e, MB_NOMEM, "no memory for %lld neighbours", (long long)more);
        *room = more;
    }
    for (int i = 0; i < n; i++) {
        const int64_t row = f->row[from + i];
        for (int j = 0; j < found[i]; j++) {
            f->to[row + j] = at[(int64_t)i * f->k + j].item;
            f->near[row + j] = (float)at[(int64_t)i * f->k + j].key;
        }
        f->row[from + i + 1] = row + found[i];
    }
    return MB_OK;
}

static int all_neighbours(rec_floor *f, const sets *x, counter *c, rec_ranked *at, const atomic_int *stop, mb_err *e) {
    int found[BLOCK];
    int64_t room = 0;
    int rc = MB_OK;
    for (int32_t from = 0; rc == MB_OK && from < f->n_items; from += BLOCK) {
        const int n = f->n_items - from < BLOCK ? f->n_items - from : BLOCK;
        if (stop && atomic_load(stop))
            return mb_fail(e, MB_STOPPED, "stopped while neighbours of items were counted");
#pragma omp parallel num_threads(f->threads)
        {
#pragma omp for schedule(dynamic, 4)
            for (int i = 0; i < n; i++)
                found[i] = neighbours(f, x, from + i, &c[omp_get_thread_num()], at + (int64_t)i * f->k);
        }
        rc = append(f, from, n, found, at, &room, e);
    }
    return rc;
}

static void counters_free(counter *c, int n) {
    for (int i = 0; c && i < n; i++) {
        mb_free(c[i].count);
        mb_free(c[i].touched);
    }
    mb_free(c);
}

static counter *counters_make(int n, int32_t n_items) {
    counter *c = mb_calloc((size_t)n, sizeof *c);
    int failed = !c;
    for (int i = 0; c && i < n; i++) {
        c[i].count = mb_calloc((size_t)n_items + 1, sizeof *c[i].count);
        c[i].touched = mb_malloc(((size_t)n_items + 1) * sizeof *c[i].touched);
        failed |= !c[i].count || !c[i].touched;
    }
    if (failed)
        counters_free(c, n);
    return failed ? NULL : c;
}

int rec_knn_build(rec_floor *f, const rec_view *v, const rec_split *s, const atomic_int *stop, mb_err *e) {
    sets x;
    int rc = sets_make(&x, f, v, s, e);
    if (rc == MB_OK) {
        f->k = f->k < f->n_items ? f->k : f->n_items;
        counter *c = counters_make(f->threads, f->n_items);
        rec_ranked *at = mb_malloc((size_t)BLOCK * ((size_t)f->k + 1) * sizeof *at);
        f->row = mb_calloc((size_t)f->n_items + 2, sizeof *f->row);
        rc = c && at && f->row ? all_neighbours(f, &x, c, at, stop, e)
                               : mb_fail(e, MB_NOMEM, "no memory for the neighbours of %d items", f->n_items);
        counters_free(c, f->threads);
        mb_free(at);
    }
    sets_fini(&x);
    return rc;
}

/* ---- scoring ----------------------------------------------------------------------------------------------------- */

typedef struct summer { /* of one thread */
    double *sum;        /* (n_items) by place, zero between queries */
    int64_t *mark;      /* (n_items+1) */
    int32_t *recent;    /* (n_items) places of the history */
    rec_ranked *hit;    /* (n_items) */
} summer;

static void summers_free(summer *s, int n) {
    for (int i = 0; s && i < n; i++) {
        mb_free(s[i].sum);
        mb_free(s[i].mark);
        mb_free(s[i].recent);
        mb_free(s[i].hit);
    }
    mb_free(s);
}

static summer *summers_make(int n, int32_t n_items) {
    const size_t items = (size_t)n_items + 1;
    summer *s = mb_calloc((size_t)n, sizeof *s);
    int failed = !s;
    for (int i = 0; s && i < n; i++) {
        s[i] = (summer){mb_calloc(items, sizeof *s->sum), mb_calloc(items, sizeof *s->mark),
                        mb_malloc(items * sizeof *s->recent), mb_malloc(items * sizeof *s->hit)};
        failed |= !s[i].sum || !s[i].mark || !s[i].recent || !s[i].hit;
    }
    if (failed)
        summers_free(s, n);
    return failed ? NULL : s;
}

static void score_one(const rec_floor *f, const rec_query *q, int64_t stamp, summer *s, float *score) {
    const int64_t n = latest(f, q->item, q->n, s->mark, stamp, s->recent);
    rec_heap hits = {s->hit, 0, f->n_items};
    for (int64_t i = 0; i < n; i++) {
        const double weight = exp2(-(double)i / f->half);
        if (weight < 1e-200) /* sums of what follows are zero: an item could not be told from one never met */
            break;
        for (int64_t j = f->row[s->recent[i]]; j < f->row[s->recent[i] + 1]; j++) {
            if (s->sum[f->to[j]] == 0)
                s->hit[hits.n++].item = f->to[j];
            s->sum[f->to[j]] += weight * (double)f->near[j];
        }
    }
    int m = 0;
    for (int j = 0; j < hits.n; j++) {
        const int32_t p = s->hit[j].item;
        if (s->sum[p] > 0)
            s->hit[m++] = (rec_ranked){p, s->sum[p]};
        s->sum[p] = 0;
    }
    hits.n = m;
    rec_heap_sort(&hits);
    rec_floor_base(f, score);
    for (int j = 0; j < m; j++)
        score[f->order[s->hit[j].item]] = (float)(f->n_items + m - j);
}

int rec_knn_score(void *floor, const rec_query *q, int n, float *score, mb_err *e) {
    const rec_floor *f = floor;
    const int threads = f->threads < n ? f->threads : n < 1 ? 1 : n;
    summer *s = summers_make(threads, f->n_items);
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory to add up neighbours of %d items", f->n_items);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int i = 0; i < n; i++)
        score_one(f, &q[i], (int64_t)i + 1, &s[omp_get_thread_num()], score + (size_t)i * ((size_t)f->n_items + 1));
    summers_free(s, threads);
    return MB_OK;
}
