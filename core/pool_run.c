/* A linear head over sequences of any length: rows are pooled as the runs deliver them. See pool_head.h.
 *
 * A strand's pieces come in the order of its pass and are taken in the strand's own order inside, so that both strands
 * of an equivariant model add up the same numbers in the same order. */
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "core/pool_head.h"

typedef struct strand { /* of one sequence of the call */
    double *f;          /* (D) sum, largest, or the row; NULL without pooling */
    double *z;          /* (length,C) in the order of positions of the first view; without pooling */
    int begun;
} strand;

typedef struct work {
    const mb_pool_head *h;
    const mb_sequence *sequence;
    int D, strands, views;
    strand *at; /* (n,strands) */
} work;

/* W f for one row, whose channels the original reads backwards in the columns [D,2D). */
static double dot(const work *k, int c, int turned, const double *f) {
    const float *w = k->h->w + (size_t)c * (size_t)k->D;
    double sum = 0;
    MB_ASSERT(f);
    for (int d = 0; d < k->D; d++)
        sum += f[d] * (double)w[turned ? k->D - 1 - d : d];
    return sum;
}

static void take_row(const work *k, strand *s, const float *row, int64_t at, int64_t length, int back) {
    MB_ASSERT(s->f);
    const int p = k->h->pooling;
    const int wanted = p == MB_POOL_FIRST ? at == 0 : p == MB_POOL_LAST ? at == length - 1 : 1;
    for (int d = 0; wanted && d < k->D; d++) {
        const double v = (double)row[back ? k->D - 1 - d : d];
        if (p == MB_POOL_MEAN)
            s->f[d] += v;
        else if (p != MB_POOL_MAX || !s->begun || v > s->f[d])
            s->f[d] = v;
    }
    s->begun |= wanted;
}

/* Rows of strand 1 come turned back, positions and channels; here they are taken in their own order. turned: what the
 * original does with the channels of this half, seen from the strand's own order. */
static int take_rows(void *user, const mb_rows *r, mb_err *e) {
    (void)e;
    const work *k = user;
    strand *s = &k->at[r->sequence * k->strands + r->strand];
    const int64_t length = k->sequence[r->sequence].length;
    const int turned = (r->column > 0) != (r->strand > 0), second = r->sequence % k->views;
    for (int i = 0; i < r->n; i++) {
        const int j = r->strand ? r->n - 1 - i : i;
        const float *row = r->row + (size_t)j * (size_t)k->D;
        const int64_t place = r->from + j;
        if (s->f) {
            take_row(k, s, row, r->strand ? length - 1 - place : place, length, r->strand);
            continue;
        }
        for (int c = 0; c < k->h->C; c++) {
            const float *w = k->h->w + (size_t)c * (size_t)k->D;
            double sum = 0;
            for (int d = 0; d < k->D; d++)
                sum += (double)row[r->strand ? k->D - 1 - d : d] * (double)w[turned ? k->D - 1 - d : d];
            s->z[(second ? length - 1 - place : place) * k->h->C + c] = sum;
        }
    }
    return MB_OK;
}

static int make_strands(work *k, int n, double *numbers, mb_err *e) {
    double *next = numbers;
    k->at = mb_calloc((size_t)n * (size_t)k->strands, sizeof *k->at);
    if (!k->at || !numbers)
        return mb_fail(e, MB_NOMEM, "no memory to pool %d sequences", n);
    for (int i = 0; i < n * k->strands; i++) {
        const size_t length = (size_t)k->sequence[i / k->strands].length;
        if (k->h->pooling == MB_POOL_NONE) {
            k->at[i].z = next;
            next += length * (size_t)k->h->C;
        } else {
            k->at[i].f = next;
            next += k->D;
        }
    }
    return MB_OK;
}

static size_t numbers_of(const work *k, int n) {
    size_t all = 0;
    for (int i = 0; i < n; i++)
        all += (size_t)k->strands *
               (k->h->pooling == MB_POOL_NONE ? (size_t)k->sequence[i].length * (size_t)k->h->C : (size_t)k->D);
    return all;
}

/* The mean over the strands of one example into z. */
static double *combine(const work *k, const strand *s, int64_t length, int swapped, double *z) {
    const int all = k->strands * k->views, C = k->h->C;
    const int64_t units = s[0].f ? 1 : length;
    for (int64_t u = 0; u < units; u++)
        for (int c = 0; c < C; c++) {
            double sum = 0;
            for (int i = 0; i < all; i++)
                sum += s[i].z ? s[i].z[u * C + c]
                              : dot(k, c, swapped, s[i].f) / (k->h->pooling == MB_POOL_MEAN ? (double)length : 1);
            *z++ = sum / all + (k->h->b ? (double)k->h->b[c] : 0);
        }
    return z;
}

int mb_pool_run(const mb_model *m, const mb_pool_head *h, const mb_sequence *sequence, int n, int views,
                const mb_forward_options *o, double *logits, mb_err *e) {
    const mb_config *c = mb_model_config(m);
    work k = {.h = h, .sequence = sequence, .D = c->D, .strands = h->given ? 1 : mb_model_strands(m), .views = views};
    MB_ASSERT(k.strands * views <= 2 && n % views == 0);
    double *numbers = mb_calloc(numbers_of(&k, n) + 1, sizeof *numbers);
    int rc = make_strands(&k, n, numbers, e);
    const mb_sink to = {take_rows, &k};
    mb_forward_options how = *o;
    if (h->given)
        how.strands = 1;
    if (rc == MB_OK)
        rc = mb_forward_run(m, sequence, n, &how, &to, e);
    const int swapped = c->rcps_strand_swap && c->n_layer % 2 == 1;
    for (int i = 0; rc == MB_OK && i < n; i += views)
        logits = combine(&k, k.at + (size_t)i * (size_t)k.strands, sequence[i].length, swapped, logits);
    mb_free(k.at);
    mb_free(numbers);
    return rc;
}
