/* Selective scan, the truth: the recurrence of the contract, one channel at a time, in double. Refuses N
 * outside 1..256. The state passes through float only at the ends of a call, as the contract keeps it. */
#include <math.h>
#include <string.h>

#include "kernels/scan.h"

static double softplus(double v) {
    return v > 20 ? v : log1p(exp(v));
}

/* One processed row of one channel: h (N) is advanced; returns y. */
static double advance(const mbk_scan *s, int row, int e, double *h) {
    double x = s->x[row * s->ldx + e];
    double d = s->dt[row * s->lddt + e] + (s->dt_bias ? (double)s->dt_bias[e] : 0);
    double y = (s->skip ? s->skip[e] * x : 0) + (s->y_add ? s->y_add[row * s->ldyadd + e] : 0);
    if (s->softplus_dt)
        d = softplus(d);
    for (int n = 0; n < s->N; n++) {
        h[n] = exp2(d * s->a2[n * s->lda + e]) * h[n] + d * s->B[row * s->ldb + n] * x;
        y += s->C[row * s->ldc + n] * h[n];
    }
    if (s->z) {
        double z = s->z[row * s->ldz + e];
        y *= z / (1 + exp(-z));
    }
    return y;
}

int mbk_scan_fwd_ref(const mbk_ctx *ctx, const mbk_scan *s) {
    double h[MBK_SCAN_MAX_N];
    (void)ctx;
    MBK_ASSERT(s->L >= 1 && s->E >= 1 && s->N >= 1 && s->N <= MBK_SCAN_MAX_N);
    for (int e = 0; e < s->E; e++) {
        for (int n = 0; n < s->N; n++)
            h[n] = s->state ? s->state[n * s->lds + e] : 0;
        for (int i = 0; i < s->L; i++) {
            const int row = s->reverse ? s->L - 1 - i : i, before = s->reverse ? row + 1 : row - 1;
            if (s->segment && i > 0 && s->segment[row] != s->segment[before])
                memset(h, 0, sizeof h);
            s->y[row * s->ldy + e] = (float)advance(s, row, e, h);
        }
        for (int n = 0; n < s->N && s->state; n++)
            s->state[n * s->lds + e] = (float)h[n];
    }
    return MB_OK;
}

int mbk_scan_step_ref(const mbk_ctx *ctx, const mbk_scan *s) {
    MBK_ASSERT(s->L == 1);
    return mbk_scan_fwd_ref(ctx, s);
}
