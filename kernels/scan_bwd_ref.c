/* Gradients of the selective scan, the truth: one channel at a time, in double, with all its states kept. With
 *   v = dt + bias, d = softplus(v), a[t,n] = exp(d*A[n]), h[t,n] = a[t,n] h[t-1,n] + d x B[t,n], s = sum_n C h + skip x
 * and g[t,n] = dLoss/dh[t,n] = G[t] C[t,n] + a[t+1,n] g[t+1,n], the last of them + dstate,
 *   dC = G h,  dB = g d x,  dA = sum_t d w,  w[t,n] = g a[t,n] h[t-1,n] = dLoss/d(d A)
 *   dx = d sum_n g B + skip G,  dv = softplus'(v) (sum_n A w + x sum_n g B),  dstate = a[0,n] g[0,n].
 * Refuses N outside 1..256. Sums over channels and rows pass through float once, at the end. */
#include <math.h>
#include <string.h>

#include "kernels/scan.h"

enum { PER_DOUBLE = sizeof(double) / sizeof(float) };

/* h: (L+1,N), h[i] the state before the i-th processed row; dB, dC: (L,N) by row. */
typedef struct space {
    double *h, *dB, *dC;
} space;

static int row_of(const mbk_scan_bwd *s, int i) {
    return s->reverse ? s->L - 1 - i : i;
}

/* Whether the i-th processed row has nothing to do with the one before. */
static int starts_anew(const mbk_scan_bwd *s, int i) {
    return s->segment && i > 0 && s->segment[row_of(s, i)] != s->segment[row_of(s, i - 1)];
}

/* d of one row and channel; *slope = dd/ddt. softplus is taken for the identity above 20, as in the forward. */
static double step_of(const mbk_scan_bwd *s, int row, int e, double *slope) {
    const double v = s->dt[row * s->lddt + e] + (s->dt_bias ? (double)s->dt_bias[e] : 0);
    *slope = 1;
    if (!s->softplus_dt || v > 20)
        return v;
    *slope = v < 0 ? exp(v) / (1 + exp(v)) : 1 / (1 + exp(-v)); /* NaN goes the second way */
    return log1p(exp(v));
}

static void forward(const mbk_scan_bwd *s, int e, double *h) {
    const int N = s->N;
    double slope;
    for (int n = 0; n < N; n++)
        h[n] = s->state0 ? s->state0[n * s->lds + e] : 0;
    for (int i = 0; i < s->L; i++, h += N) {
        const int row = row_of(s, i);
        const double d = step_of(s, row, e, &slope), x = s->x[row * s->ldx + e];
        for (int n = 0; n < N; n++)
            h[N + n] =
                (starts_anew(s, i) ? 0 : exp2(d * s->a2[n * s->lda + e]) * h[n]) + d * s->B[row * s->ldb + n] * x;
    }
}

/* The i-th processed row of channel e; g (N) in: dLoss/d(state after it), out: before it. da (N) is added to. Returns
 * ddt. */
static double backward_row(const mbk_scan_bwd *s, int i, int e, const space *m, double *g, double *da) {
    const ptrdiff_t N = s->N, row = row_of(s, i);
    const double *before = m->h + i * N, *after = before + N;
    double slope, gB = 0, dd = 0;
    const double d = step_of(s, row, e, &slope), x = s->x[row * s->ldx + e], G = s->G[row * s->ldg + e];
    for (int n = 0; n < N; n++) {
        const double a2 = s->a2[n * s->lda + e];
        g[n] += G * s->C[row * s->ldc + n];
        m->dC[row * N + n] += G * after[n];
        m->dB[row * N + n] += g[n] * d * x;
        gB += g[n] * s->B[row * s->ldb + n];
        g[n] *= starts_anew(s, i) ? 0 : exp2(d * a2);
        dd += g[n] * before[n] * a2 * 0.69314718055994530942; /* ln 2: A = a2 ln 2 */
        da[n] += g[n] * before[n] * d;
    }
    s->dx[row * s->lddx + e] = (float)(d * gB + (s->skip ? s->skip[e] * G : 0));
    return slope * (dd + x * gB);
}

static void channel(const mbk_scan_bwd *s, int e, const space *m) {
    double g[MBK_SCAN_MAX_N], da[MBK_SCAN_MAX_N] = {0}, dskip = 0, ddt_bias = 0;
    forward(s, e, m->h);
    for (int n = 0; n < s->N; n++)
        g[n] = s->dstate ? s->dstate[n * s->lds + e] : 0;
    for (int i = s->L - 1; i >= 0; i--) {
        const int row = row_of(s, i);
        dskip += (double)s->G[row * s->ldg + e] * s->x[row * s->ldx + e]; /* before dx, which may lie over G */
        const double ddt = backward_row(s, i, e, m, g, da);
        ddt_bias += ddt;
        s->ddt[row * s->ldddt + e] = (float)ddt;
    }
    for (int n = 0; n < s->N; n++) {
        s->da[n * s->ldda + e] = (float)(s->da[n * s->ldda + e] + da[n]);
        if (s->dstate)
            s->dstate[n * s->lds + e] = (float)g[n];
    }
    if (s->dskip)
        s->dskip[e] = (float)(s->dskip[e] + dskip);
    if (s->ddt_bias)
        s->ddt_bias[e] = (float)(s->ddt_bias[e] + ddt_bias);
}

size_t mbk_scan_bwd_scratch_ref(int L, int E, int N) {
    (void)E;
    return (size_t)PER_DOUBLE * (3 * (size_t)L + 1) * (size_t)N;
}

int mbk_scan_bwd_ref(const mbk_ctx *ctx, const mbk_scan_bwd *s) {
    (void)ctx;
    MBK_ASSERT(s->L >= 1 && s->E >= 1 && s->N >= 1 && s->N <= MBK_SCAN_MAX_N);
    const size_t rows = (size_t)s->L * (size_t)s->N;
    double *memory = (double *)(void *)s->scratch;
    const space m = {.dB = memory, .dC = memory + rows, .h = memory + 2 * rows};
    memset(memory, 0, 2 * rows * sizeof *memory);
    for (int e = 0; e < s->E; e++)
        channel(s, e, &m);
    for (int t = 0; t < s->L; t++)
        for (int n = 0; n < s->N; n++) {
            s->dB[t * s->lddb + n] = (float)m.dB[(ptrdiff_t)t * s->N + n];
            s->dC[t * s->lddc + n] = (float)m.dC[(ptrdiff_t)t * s->N + n];
        }
    return MB_OK;
}
