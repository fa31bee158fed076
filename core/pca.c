/* See pca.h. Refuses nothing but a lack of memory. */
#include "core/pca.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "core/rng.h"

enum { ROUNDS = 300 };

typedef struct work {
    const float *row;
    int64_t n;
    int D;
    double *mean;    /* (D) */
    double *v[2];    /* (D) directions, orthonormal */
    double *next[2]; /* (D) */
} work;

static void centre(const work *w, int64_t i, double *x) {
    for (int d = 0; d < w->D; d++)
        x[d] = (double)w->row[i * w->D + d] - w->mean[d];
}

static double dot(const double *a, const double *b, int D) {
    double s = 0;
    for (int d = 0; d < D; d++)
        s += a[d] * b[d];
    return s;
}

/* next[c] = sum_i x_i (x_i . v[c]); x: (D) room. Returns the sum of |x_i|^2. */
static double multiply(const work *w, double *x) {
    double total = 0;
    memset(w->next[0], 0, (size_t)w->D * sizeof *x);
    memset(w->next[1], 0, (size_t)w->D * sizeof *x);
    for (int64_t i = 0; i < w->n; i++) {
        centre(w, i, x);
        const double p = dot(x, w->v[0], w->D), q = dot(x, w->v[1], w->D);
        total += dot(x, x, w->D);
        for (int d = 0; d < w->D; d++) {
            w->next[0][d] += p * x[d];
            w->next[1][d] += q * x[d];
        }
    }
    return total;
}

/* a made to length 1; 0 when it is (next to) nothing beside `unit`. */
static int normalise(double *a, int D, double unit) {
    const double length = sqrt(dot(a, a, D));
    if (!(length > 1e-12 * unit)) {
        memset(a, 0, (size_t)D * sizeof *a);
        return 0;
    }
    for (int d = 0; d < D; d++)
        a[d] /= length;
    return 1;
}

static void make_orthogonal(double *a, const double *to, int D) {
    const double p = dot(a, to, D);
    for (int d = 0; d < D; d++)
        a[d] -= p * to[d];
}

static double turned(const double *a, const double *b, int D) {
    return 1 - fabs(dot(a, b, D));
}

static void iterate(work *w, double *x) {
    for (int round = 0; round < ROUNDS; round++) {
        const double total = multiply(w, x);
        (void)normalise(w->next[0], w->D, total);
        make_orthogonal(w->next[1], w->next[0], w->D);
        (void)normalise(w->next[1], w->D, total);
        make_orthogonal(w->next[1], w->next[0], w->D); /* twice is enough */
        const double moved = turned(w->next[0], w->v[0], w->D) + turned(w->next[1], w->v[1], w->D);
        for (int c = 0; c < 2; c++)
            memcpy(w->v[c], w->next[c], (size_t)w->D * sizeof *x);
        if (moved < 1e-10)
            return;
    }
}

static void fix_sign(double *v, int D) {
    int most = 0;
    for (int d = 1; d < D; d++)
        if (fabs(v[d]) > fabs(v[most]))
            most = d;
    const double sign = v[most] < 0 ? -1 : 1;
    for (int d = 0; d < D; d++)
        v[d] *= sign;
}

static void place(mb_pca *out, const work *w, double *x) {
    double total = 0, along[2] = {0};
    for (int64_t i = 0; i < w->n; i++) {
        centre(w, i, x);
        total += dot(x, x, w->D);
        for (int c = 0; c < 2; c++) {
            out->at[c][i] = dot(x, w->v[c], w->D);
            along[c] += out->at[c][i] * out->at[c][i];
        }
    }
    for (int c = 0; c < 2; c++)
        out->share[c] = total > 0 ? along[c] / total : 0;
}

static void begin(work *w) {
    mb_rng r;
    mb_rng_init(&r, 1, 0);
    for (int64_t i = 0; i < w->n; i++)
        for (int d = 0; d < w->D; d++)
            w->mean[d] += (double)w->row[i * w->D + d] / (double)w->n;
    for (int c = 0; c < 2; c++) {
        for (int d = 0; d < w->D; d++)
            w->v[c][d] = mb_rng_normal(&r);
        (void)normalise(w->v[c], w->D, 1);
    }
}

int mb_pca_make(mb_pca *out, const float *row, int64_t n, int D, mb_err *e) {
    MB_ASSERT(n >= 1 && D >= 1);
    const size_t width = (size_t)D;
    double *room = mb_calloc(6 * width, sizeof *room);
    *out = (mb_pca){.at = {mb_calloc((size_t)n, sizeof(double)), mb_calloc((size_t)n, sizeof(double))}};
    if (!room || !out->at[0] || !out->at[1]) {
        mb_free(room);
        mb_pca_free(out);
        return mb_fail(e, MB_NOMEM, "no memory for the principal components of %lld rows", (long long)n);
    }
    work w = {.row = row,
              .n = n,
              .D = D,
              .mean = room,
              .v = {room + width, room + 2 * width},
              .next = {room + 3 * width, room + 4 * width}};
    begin(&w);
    iterate(&w, room + 5 * width);
    fix_sign(w.v[0], D);
    fix_sign(w.v[1], D);
    place(out, &w, room + 5 * width);
    mb_free(room);
    return MB_OK;
}

void mb_pca_free(mb_pca *p) {
    mb_free(p->at[0]);
    mb_free(p->at[1]);
    *p = (mb_pca){0};
}
