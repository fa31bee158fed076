/* Gradients of the selective scan: variants against the reference over sizes, options and extreme values; the reference
 * against differences of the forward's reference; and the laws that need no reference: pieces with carried states =
 * whole, reverse = forward on reversed rows, ranges of channels = all, dx over G, zeros for NULL. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"

typedef struct problem {
    mbk_scan_bwd args; /* inputs alone */
    int carried, alias;
    check_array x, dt, G, B, C, a2, dt_bias, skip, state0, dstate, da, dskip, ddt_bias;
} problem;

typedef struct result {
    check_array dx, ddt, dB, dC, dstate, da, dskip, ddt_bias;
} result;

/* As a trained layer: dt mostly negative before softplus, A from -N to 0. With softplus_dt = 0, dt is positive. */
static problem make_problem(check *c, int L, int E, int N) {
    problem p = {.args = {.L = L, .E = E, .N = N}};
    mbk_scan_bwd *s = &p.args;
    s->reverse = check_pick(c, 2);
    s->softplus_dt = check_pick(c, 4) != 0;
    p.carried = check_pick(c, 2);
    p.alias = check_pick(c, 3) == 0;
    p.x = check_input(c, L, E, -2, 2), s->x = p.x.at, s->ldx = p.x.ld;
    p.dt = s->softplus_dt ? check_input(c, L, E, -3, 2) : check_input(c, L, E, 0, 0.3f);
    s->dt = p.dt.at, s->lddt = p.dt.ld;
    p.G = check_input(c, L, E, -1, 1), s->G = p.G.at, s->ldg = p.G.ld;
    p.B = check_input(c, L, N, -1, 1), s->B = p.B.at, s->ldb = p.B.ld;
    p.C = check_input(c, L, N, -1, 1), s->C = p.C.at, s->ldc = p.C.ld;
    p.a2 = check_input(c, N, E, -1.44f * (float)(N < 16 ? 16 : N), 0), s->a2 = p.a2.at, s->lda = p.a2.ld;
    p.dt_bias = s->softplus_dt ? check_input(c, 1, E, -5, 0) : check_input(c, 1, E, 0, 0.1f);
    s->dt_bias = check_pick(c, 3) ? p.dt_bias.at : NULL;
    p.skip = check_input(c, 1, E, -1, 1), s->skip = check_pick(c, 3) ? p.skip.at : NULL;
    p.dstate = check_input(c, N, E, -1, 1), s->lds = p.dstate.ld;
    p.state0 = check_copy(c, &p.dstate); /* of one row distance */
    for (int n = 0; n < N; n++)
        for (int e = 0; e < E; e++)
            p.state0.at[n * p.state0.ld + e] = check_between(c, -2, 2);
    p.da = check_input(c, N, E, -1, 1), p.dskip = check_input(c, 1, E, -1, 1), p.ddt_bias = check_input(c, 1, E, -1, 1);
    if (!check_pick(c, 3))
        p.dskip.at = NULL;
    if (!check_pick(c, 3))
        p.ddt_bias.at = NULL;
    return p;
}

static void begin(check *c, const char *what, const mbk_ops *ops, const problem *p) {
    const mbk_scan_bwd *s = &p->args;
    check_begin(c, "%s %s L=%d E=%d N=%d reverse=%d softplus=%d bias=%d%d skip=%d%d states=%d alias=%d", what, ops->isa,
                s->L, s->E, s->N, s->reverse, s->softplus_dt, s->dt_bias != NULL, p->ddt_bias.at != NULL,
                s->skip != NULL, p->dskip.at != NULL, p->carried, p->alias);
}

static result outputs(check *c, const problem *p) {
    const int L = p->args.L, E = p->args.E, N = p->args.N;
    return (result){.dx = p->alias ? check_copy(c, &p->G) : check_output(c, L, E),
                    .ddt = check_output(c, L, E),
                    .dB = check_output(c, L, N),
                    .dC = check_output(c, L, N),
                    .dstate = check_copy(c, &p->dstate),
                    .da = check_copy(c, &p->da),
                    .dskip = check_copy(c, &p->dskip),
                    .ddt_bias = check_copy(c, &p->ddt_bias)};
}

/* r->dx is a copy of G where the problem wants them to be one. */
static void apply(check *c, const mbk_ops *ops, const problem *p, const result *r) {
    mbk_scan_bwd s = p->args;
    s.dx = r->dx.at, s.lddx = r->dx.ld;
    if (p->alias)
        s.G = s.dx, s.ldg = s.lddx;
    s.ddt = r->ddt.at, s.ldddt = r->ddt.ld;
    s.dB = r->dB.at, s.lddb = r->dB.ld;
    s.dC = r->dC.at, s.lddc = r->dC.ld;
    s.da = r->da.at, s.ldda = r->da.ld;
    s.dskip = r->dskip.at, s.ddt_bias = r->ddt_bias.at;
    s.state0 = p->carried ? p->state0.at : NULL;
    s.dstate = p->carried ? r->dstate.at : NULL;
    /* as much as is asked for, and dirty */
    const size_t bytes = (ops->scan_bwd_scratch(s.L, s.E, s.N) * sizeof(float) + 63) / 64 * 64;
    s.scratch = aligned_alloc(64, bytes);
    if (!s.scratch)
        exit(2);
    memset(s.scratch, 0xff, bytes);
    check_true(c, ops->scan_bwd(NULL, &s) == MB_OK, "succeeds");
    free(s.scratch);
}
static result run_bwd(check *c, const mbk_ops *ops, const problem *p) {
    result r = outputs(c, p);
    apply(c, ops, p, &r);
    return r;
}

/* ---- magnitudes: the formulas on absolute values, and beside them what rounding adds, in units of FLT_EPSILON -------
 */
typedef struct sized { /* a number, the sum of the magnitudes it came from, and its error */
    double value, size, error;
} sized;

typedef struct magnitudes {
    double *dx, *ddt, *dB, *dC, *dstate, *da, *dskip, *ddt_bias;
} magnitudes;

/* FLT_MIN: one rounding among the denormal numbers, and to spare. */
static sized times(sized a, sized b) {
    return (sized){.size = a.size * b.size,
                   .error = a.error * b.size + a.size * b.error + a.size * b.size + 2 * FLT_MIN};
}
static sized plus(sized a, sized b) {
    return (sized){.size = a.size + b.size, .error = a.error + b.error + a.size + b.size};
}
static sized exactly(double v) {
    return (sized){v, fabs(v), 0};
}

/* d, and *slope = dd/ddt. */
static sized step_size(const problem *p, int row, int e, sized *slope) {
    const mbk_scan_bwd *s = &p->args;
    const double v = s->dt[row * s->lddt + e] + (s->dt_bias ? (double)s->dt_bias[e] : 0);
    *slope = exactly(1);
    if (!s->softplus_dt)
        return (sized){v, fabs(v), fabs(v)};
    const double d = v > 20 ? v : log1p(exp(v)), at = 1 / (1 + exp(-v));
    *slope = (sized){at, at, 5 * at + at * (1 - at) * fabs(v) + 2 * FLT_MIN};
    return (sized){d, d, 4 * d + fabs(v) * at + FLT_MIN}; /* the slope of softplus is the sigmoid */
}
static sized decay_size(const sized *d, double a2) {
    const double a = exp2(d->value * a2);
    return (sized){a, a, a * (0.7 * fabs(a2) * (d->error + d->size) + 3) + 0x1p-116 / FLT_EPSILON};
}

/* Of one channel: h (L+1,N), a (L,N). */
static void forward_sizes(const problem *p, int e, sized *h, sized *a) {
    const mbk_scan_bwd *s = &p->args;
    sized slope;
    for (int n = 0; n < s->N; n++)
        h[n] = exactly(p->carried ? p->state0.at[n * s->lds + e] : 0);
    for (int i = 0; i < s->L; i++, h += s->N, a += s->N) {
        const int row = s->reverse ? s->L - 1 - i : i;
        const sized d = step_size(p, row, e, &slope), u = times(d, exactly(s->x[row * s->ldx + e]));
        for (int n = 0; n < s->N; n++) {
            a[n] = decay_size(&d, s->a2[n * s->lda + e]);
            h[s->N + n] = plus(times(a[n], h[n]), times(u, exactly(s->B[row * s->ldb + n])));
        }
    }
}

static void add_to(double *to, sized a) {
    *to += a.error + a.size;
}

/* The i-th processed row; g and da (N) go on. dB and dC are sums over E, in any order of at most E/16 + 8 roundings. */
static void backward_sizes(const problem *p, int e, int i, const sized *h, const sized *a, sized *g, sized *da,
                           sized *bias, const magnitudes *m) {
    const mbk_scan_bwd *s = &p->args;
    const int row = s->reverse ? s->L - 1 - i : i, N = s->N, sums = s->E / 4 + 8;
    sized slope, gB = {0}, dd = {0};
    const sized d = step_size(p, row, e, &slope), x = exactly(s->x[row * s->ldx + e]);
    const sized G = exactly(s->G[row * s->ldg + e]), u = times(d, x);
    for (int n = 0; n < N; n++) {
        const sized a2 = exactly(s->a2[n * s->lda + e]);
        g[n] = plus(g[n], times(G, exactly(s->C[row * s->ldc + n])));
        const sized dC = times(G, h[N + n]), dB = times(g[n], u);
        m->dC[row * N + n] += dC.error + sums * dC.size;
        m->dB[row * N + n] += dB.error + sums * dB.size;
        gB = plus(gB, times(g[n], exactly(s->B[row * s->ldb + n])));
        g[n] = times(g[n], a[n]);
        const sized w = times(g[n], h[n]);
        dd = plus(dd, times(w, a2));
        da[n] = plus(da[n], times(w, d));
    }
    dd.size *= 0.6931472, dd.error = 0.6931472 * dd.error + 2 * dd.size;
    const sized ddt = times(slope, plus(dd, times(x, gB)));
    add_to(m->dx + row * s->E + e, plus(times(d, gB), times(exactly(s->skip ? s->skip[e] : 0), G)));
    add_to(m->ddt + row * s->E + e, ddt);
    *bias = plus(*bias, ddt);
}

static magnitudes magnitudes_of(check *c, const problem *p) {
    const int L = p->args.L, E = p->args.E, N = p->args.N;
    const size_t rows = (size_t)L * (size_t)N;
    magnitudes m = {check_magnitudes(c, L, E), check_magnitudes(c, L, E), check_magnitudes(c, L, N),
                    check_magnitudes(c, L, N), check_magnitudes(c, N, E), check_magnitudes(c, N, E),
                    check_magnitudes(c, 1, E), check_magnitudes(c, 1, E)};
    sized *h = calloc(2 * rows + (size_t)N, sizeof *h), g[MBK_SCAN_MAX_N], da[MBK_SCAN_MAX_N];
    if (!h)
        exit(2);
    sized *a = h + rows + N;
    for (int e = 0; e < E; e++) {
        sized skip = exactly(p->dskip.at ? p->dskip.at[e] : 0), bias = exactly(p->ddt_bias.at ? p->ddt_bias.at[e] : 0);
        forward_sizes(p, e, h, a);
        for (int n = 0; n < N; n++) {
            g[n] = exactly(p->carried ? p->dstate.at[n * p->dstate.ld + e] : 0);
            da[n] = exactly(p->da.at[n * p->da.ld + e]);
        }
        for (int i = L - 1; i >= 0; i--)
            backward_sizes(p, e, i, h + (ptrdiff_t)i * N, a + (ptrdiff_t)i * N, g, da, &bias, &m);
        for (int t = 0; t < L; t++)
            skip = plus(skip, times(exactly(p->x.at[t * p->x.ld + e]), exactly(p->G.at[t * p->G.ld + e])));
        for (int n = 0; n < N; n++)
            add_to(m.dstate + n * E + e, g[n]), add_to(m.da + n * E + e, da[n]);
        add_to(m.dskip + e, skip), add_to(m.ddt_bias + e, bias);
    }
    free(h);
    return m;
}

static void close_all(check *c, const problem *p, const result *got, const result *want, const magnitudes *m) {
    check_close(c, "dx", &got->dx, &want->dx, m->dx, 1);
    check_close(c, "ddt", &got->ddt, &want->ddt, m->ddt, 1);
    check_close(c, "dB", &got->dB, &want->dB, m->dB, 1);
    check_close(c, "dC", &got->dC, &want->dC, m->dC, 1);
    check_close(c, "da", &got->da, &want->da, m->da, 1);
    if (p->carried)
        check_close(c, "dstate", &got->dstate, &want->dstate, m->dstate, 1);
    else
        check_same(c, "dstate", &got->dstate, &p->dstate);
    if (got->dskip.at)
        check_close(c, "dskip", &got->dskip, &want->dskip, m->dskip, 1);
    if (got->ddt_bias.at)
        check_close(c, "ddt_bias", &got->ddt_bias, &want->ddt_bias, m->ddt_bias, 1);
}
/* All of a channel; dB and dC only where the channels are the same. */
static void same_channels(check *c, const result *got, const result *want) {
    check_same(c, "dx", &got->dx, &want->dx);
    check_same(c, "ddt", &got->ddt, &want->ddt);
    check_same(c, "da", &got->da, &want->da);
    check_same(c, "dstate", &got->dstate, &want->dstate);
    if (got->dskip.at)
        check_same(c, "dskip", &got->dskip, &want->dskip);
    if (got->ddt_bias.at)
        check_same(c, "ddt_bias", &got->ddt_bias, &want->ddt_bias);
}

static void compare_on(check *c, const mbk_ops *ops, const problem *p) {
    const magnitudes m = magnitudes_of(c, p);
    const result want = run_bwd(c, mbk_ops_ref(), p), got = run_bwd(c, ops, p);
    close_all(c, p, &got, &want, &m);
}

static void compare(check *c, const mbk_ops *ops, int L, int E, int N) {
    const problem p = make_problem(c, L, E, N);
    begin(c, "scan_bwd", ops, &p);
    compare_on(c, ops, &p);
    check_end(c);
    check_release(c);
}

/* ---- the reference against differences of the forward ---------------------------------------------------------------
 */
static double term(double a, double b, double *size) {
    *size += fabs(a * b);
    return a * b;
}
/* Loss = sum G*s + sum dstate*h_last of the forward's reference; *size: of the terms' magnitudes, added. */
static double loss_of(check *c, const problem *p, double *size) {
    const mbk_scan_bwd *b = &p->args;
    const check_array y = check_output(c, b->L, b->E), h = check_copy(c, &p->state0);
    const mbk_scan s = {.L = b->L,
                        .E = b->E,
                        .N = b->N,
                        .reverse = b->reverse,
                        .softplus_dt = b->softplus_dt,
                        .x = p->x.at,
                        .ldx = p->x.ld,
                        .dt = p->dt.at,
                        .lddt = p->dt.ld,
                        .B = p->B.at,
                        .ldb = p->B.ld,
                        .C = p->C.at,
                        .ldc = p->C.ld,
                        .a2 = p->a2.at,
                        .lda = p->a2.ld,
                        .dt_bias = p->dt_bias.at,
                        .skip = p->skip.at,
                        .state = h.at,
                        .lds = h.ld,
                        .y = y.at,
                        .ldy = y.ld};
    double loss = 0;
    check_true(c, mbk_scan_fwd_ref(NULL, &s) == MB_OK, "the forward succeeds");
    for (int t = 0; t < b->L; t++)
        for (int e = 0; e < b->E; e++)
            loss += term(p->G.at[t * p->G.ld + e], y.at[t * y.ld + e], size);
    for (int n = 0; n < b->N; n++)
        for (int e = 0; e < b->E; e++)
            loss += term(p->dstate.at[n * p->dstate.ld + e], h.at[n * h.ld + e], size);
    return loss;
}

enum { INPUTS = 8 };
static check_array *input_of(problem *p, int which) {
    check_array *const all[INPUTS] = {&p->x, &p->dt, &p->B, &p->C, &p->a2, &p->dt_bias, &p->skip, &p->state0};
    return all[which];
}
/* Moved by step along a direction of +1 and -1, drawn from c: the same for the same state of its generator. Returns
 * sum gradient * way actually gone; *size: of the magnitudes of the gradient along it. */
static double move(check *c, check_array *a, const check_array *gradient, double scale, double step, double *size) {
    double sum = 0;
    for (int i = 0; i < a->rows; i++)
        for (int j = 0; j < a->cols; j++) {
            float *at = a->at + i * a->ld + j;
            const float was = *at;
            *at = (float)(was + (check_pick(c, 2) ? step : -step));
            const double slope = scale * gradient->at[i * gradient->ld + j];
            sum += slope * ((double)*at - was);
            *size += fabs(slope * step);
        }
    return sum;
}

/* Whether input `which`, or all of them (INPUTS), has the gradient that differences show: of fourth order,
 * (8 (f(s) - f(-s)) - (f(2s) - f(-2s))) / 12s. */
static void differences(check *c, int which, int L, int E, int N) {
    enum { POINTS = 4 };
    static const double weight[POINTS] = {8, -8, -1, 1}, steps[POINTS] = {1, -1, 2, -2};
    problem p = make_problem(c, L, E, N);
    p.carried = 1, p.alias = 0;
    p.args.dt_bias = p.dt_bias.at, p.args.skip = p.skip.at;
    p.da = check_input(c, N, E, 0, 0), p.dskip = check_input(c, 1, E, 0, 0), p.ddt_bias = check_input(c, 1, E, 0, 0);
    for (int k = 0; k < N * E; k++)
        p.a2.at[k / E * p.a2.ld + k % E] *= 0.2f; /* a loss that fourth order describes */
    begin(c, "differences of the forward", mbk_ops_ref(), &p);
    const result r = run_bwd(c, mbk_ops_ref(), &p);
    const check_array *gradient[INPUTS] = {&r.dx, &r.ddt, &r.dB, &r.dC, &r.da, &r.ddt_bias, &r.dskip, &r.dstate};
    const uint64_t seed = check_random(c);
    const double step = 0.01;
    double want = 0, got = 0, size = 0, terms = 0;
    for (int k = 0; k < POINTS; k++) {
        problem q = p;
        check direction = *c;
        direction.random = seed;
        for (int i = 0; i < INPUTS; i++) {
            const double scale = i == 4 ? 0.69314718055994530942 : 1; /* dLoss/da2 = dLoss/dA * ln 2 */
            if (which != i && which != INPUTS)
                continue;
            *input_of(&q, i) = check_copy(c, input_of(&p, i));
            want += weight[k] * move(&direction, input_of(&q, i), gradient[i], scale, step * steps[k], &size);
        }
        got += weight[k] * loss_of(c, &q, &terms);
    }
    /* 1e-3 for the fifth derivative; the forward's results are rounded to float */
    const double allowed = 1e-3 * size + 4 * FLT_EPSILON * terms, fault = 0.05 * size + 2 * allowed;
    check_true(c, fabs(want + (c->sabotage ? fault : 0) - got) <= allowed, "gradient = differences");
    check_true(c, fabs(want + fault - got) > allowed, "a planted fault is seen");
    check_end(c);
    check_release(c);
}

/* ---- laws -----------------------------------------------------------------------------------------------------------
 */
/* Rows first .. first+n-1 of p. */
static problem piece_of(const problem *p, int first, int n) {
    problem q = *p;
    mbk_scan_bwd *s = &q.args;
    s->L = n;
    s->x += first * s->ldx, s->dt += first * s->lddt, s->G += first * s->ldg;
    s->B += first * s->ldb, s->C += first * s->ldc;
    return q;
}
static result piece_of_result(const result *r, int first) {
    result q = *r;
    q.dx.at += first * q.dx.ld, q.ddt.at += first * q.ddt.ld;
    q.dB.at += first * q.dB.ld, q.dC.at += first * q.dC.ld;
    return q;
}

/* The state before processed row `at`, by the forward. */
static check_array state_at(check *c, const problem *p, int at) {
    check_array h = check_copy(c, &p->state0);
    const problem q = piece_of(p, p->args.reverse ? p->args.L - at : 0, at);
    const mbk_scan_bwd *b = &q.args;
    const check_array y = check_output(c, at ? at : 1, b->E);
    const mbk_scan s = {.L = at,
                        .E = b->E,
                        .N = b->N,
                        .reverse = b->reverse,
                        .softplus_dt = b->softplus_dt,
                        .x = b->x,
                        .ldx = b->ldx,
                        .dt = b->dt,
                        .lddt = b->lddt,
                        .B = b->B,
                        .ldb = b->ldb,
                        .C = b->C,
                        .ldc = b->ldc,
                        .a2 = b->a2,
                        .lda = b->lda,
                        .dt_bias = b->dt_bias,
                        .state = h.at,
                        .lds = h.ld,
                        .y = y.at,
                        .ldy = y.ld};
    check_true(c, !at || mbk_scan_fwd_ref(NULL, &s) == MB_OK, "the forward succeeds");
    return h;
}

/* Pieces from the last to the first, each with its state and the dstate of the one after: the gradients of the whole.
 */
static void pieces(check *c, const mbk_ops *ops, int L, int E, int N) {
    problem p = make_problem(c, L, E, N);
    p.carried = 1;
    begin(c, "scan_bwd: pieces = whole", ops, &p);
    const magnitudes m = magnitudes_of(c, &p);
    const result whole = run_bwd(c, ops, &p), cut = outputs(c, &p);
    for (int to = L, n; to > 0; to -= n) {
        n = 1 + check_pick(c, to);
        const int first = p.args.reverse ? L - to : to - n;
        problem piece = piece_of(&p, first, n);
        piece.state0 = state_at(c, &p, to - n);
        const result out = piece_of_result(&cut, first);
        apply(c, ops, &piece, &out);
    }
    close_all(c, &p, &cut, &whole, &m);
    check_end(c);
    check_release(c);
}

static check_array turned(check *c, const check_array *a) {
    check_array b = check_copy(c, a);
    for (int t = 0; t < a->rows; t++)
        memcpy(b.at + t * b.ld, a->at + (a->rows - 1 - t) * a->ld, (size_t)a->cols * sizeof(float));
    return b;
}

static void reversed(check *c, const mbk_ops *ops, int L, int E, int N) {
    problem p = make_problem(c, L, E, N), q = p;
    begin(c, "scan_bwd: reverse = forward on reversed rows", ops, &p);
    q.args.reverse = !p.args.reverse;
    q.args.x = turned(c, &p.x).at, q.args.dt = turned(c, &p.dt).at;
    q.args.B = turned(c, &p.B).at, q.args.C = turned(c, &p.C).at;
    q.G = turned(c, &p.G), q.args.G = q.G.at;
    const result a = run_bwd(c, ops, &p);
    result b = run_bwd(c, ops, &q);
    check_array *const rows[] = {&b.dx, &b.ddt, &b.dB, &b.dC};
    for (int k = 0; k < 4; k++) {
        check_untouched(c, "rows", rows[k]);
        *rows[k] = turned(c, rows[k]);
    }
    same_channels(c, &a, &b);
    check_same(c, "dB", &a.dB, &b.dB);
    check_same(c, "dC", &a.dC, &b.dC);
    check_end(c);
    check_release(c);
}

/* Ranges of channels that start at multiples of MBK_SCAN_LANES: the bits of all channels at once, and shares of dB and
 * dC that add up. */
static void ranges(check *c, const mbk_ops *ops, int L, int E, int N) {
    problem p = make_problem(c, L, E, N);
    begin(c, "scan_bwd: ranges of channels = all", ops, &p);
    const magnitudes m = magnitudes_of(c, &p);
    const result whole = run_bwd(c, ops, &p), parts = outputs(c, &p);
    check_array dB = check_copy(c, &whole.dB), dC = check_copy(c, &whole.dC);
    for (int e = 0, n; e < E; e += n) {
        const int blocks = (E - e + MBK_SCAN_LANES - 1) / MBK_SCAN_LANES;
        n = MBK_SCAN_LANES * (1 + check_pick(c, blocks));
        problem part = p;
        mbk_scan_bwd *s = &part.args;
        s->E = n = n < E - e ? n : E - e;
        s->x += e, s->dt += e, s->a2 += e, s->G += e;
        s->dt_bias = s->dt_bias ? s->dt_bias + e : NULL, s->skip = s->skip ? s->skip + e : NULL;
        part.state0.at += e;
        result out = parts;
        out.dx.at += e, out.ddt.at += e, out.dstate.at += e, out.da.at += e;
        out.dskip.at = out.dskip.at ? out.dskip.at + e : NULL;
        out.ddt_bias.at = out.ddt_bias.at ? out.ddt_bias.at + e : NULL;
        apply(c, ops, &part, &out);
        for (int t = 0; t < L; t++)
            for (int k = 0; k < N; k++) {
                float *sB = dB.at + t * dB.ld + k, *sC = dC.at + t * dC.ld + k;
                *sB = parts.dB.at[t * parts.dB.ld + k] + (e ? *sB : 0);
                *sC = parts.dC.at[t * parts.dC.ld + k] + (e ? *sC : 0);
            }
    }
    same_channels(c, &parts, &whole);
    check_close(c, "dB of all parts", &dB, &whole.dB, m.dB, 1);
    check_close(c, "dC of all parts", &dC, &whole.dC, m.dC, 1);
    check_end(c);
    check_release(c);
}

/* dx over G; and each NULL that the contract takes for zeros, against zeros. */
static void absences(check *c, const mbk_ops *ops, int L, int E, int N) {
    problem p = make_problem(c, L, E, N), q;
    begin(c, "scan_bwd: dx over G, zeros for NULL", ops, &p);
    p.alias = 0, q = p, q.alias = 1;
    const result apart = run_bwd(c, ops, &p), over = run_bwd(c, ops, &q);
    same_channels(c, &over, &apart);
    check_same(c, "dB over", &over.dB, &apart.dB);
    check_same(c, "dC over", &over.dC, &apart.dC);
    p.carried = 0, p.args.dt_bias = NULL, p.args.skip = NULL;
    const magnitudes m = magnitudes_of(c, &p);
    q = p, q.carried = 1;
    for (int n = 0; n < N; n++)
        for (int e = 0; e < E; e++)
            q.state0.at[n * q.state0.ld + e] = q.dstate.at[n * q.dstate.ld + e] = 0;
    q.args.dt_bias = check_input(c, 1, E, 0, 0).at, q.args.skip = check_input(c, 1, E, 0, 0).at;
    const result absent = run_bwd(c, ops, &p);
    result zeros = run_bwd(c, ops, &q);
    zeros.dstate = absent.dstate; /* not kept where it is absent */
    close_all(c, &p, &absent, &zeros, &m);
    check_end(c);
    check_release(c);
}

/* ---- extreme values -----------------------------------------------------------------------------------------------
 */
static void scatter(check *c, check_array *a, const float *values, int n) {
    for (int i = 0; i < a->rows; i++)
        for (int j = 0; j < a->cols; j++)
            if (check_pick(c, 2))
                a->at[i * a->ld + j] = values[check_pick(c, n)];
}

static void scale(check_array *a, float by) {
    for (int i = 0; i < a->rows; i++)
        for (int j = 0; j < a->cols; j++)
            a->at[i * a->ld + j] *= by;
}

static void extremes(check *c, const mbk_ops *ops) {
    static const float steps[] = {3e37f, 1e36f}; /* d*a2 overflows, and nothing else may */
    static const float dts[] = {-1e4f, -1e30f, -104,   -100,  -95, -88,     -87, -50, -30, -17,
                                0,     -0.0f,  1e-40f, 19.9f, 20,  20.001f, 25,  89,  1e4f};
    static const float bigs[] = {1e18f, -1e18f, 1e10f, 1e-40f, -1e-45f, 1e-30f, 0, -0.0f};
    static const float rates[] = {-1e-30f, -1e-40f, 0, -1e4f, -200, -126, -128, -0.5f, 0.01f};
    problem p = make_problem(c, 40, 37, 1 + check_pick(c, 20));
    begin(c, "scan_bwd: extreme values", ops, &p);
    p.args.softplus_dt = 1;
    switch (check_pick(c, 6)) { /* one kind at a time, or products of extremes overflow */
    case 0:
        scatter(c, &p.dt, dts, (int)(sizeof dts / sizeof *dts));
        break;
    case 1:
        scatter(c, &p.x, bigs, (int)(sizeof bigs / sizeof *bigs));
        break;
    case 2:
        scatter(c, &p.G, bigs, (int)(sizeof bigs / sizeof *bigs));
        break;
    case 3:
        scatter(c, &p.a2, rates, (int)(sizeof rates / sizeof *rates));
        break;
    case 4:
        scatter(c, &p.dt, steps, 2);
        scale(&p.x, 1e-10f), scale(&p.G, 1e-10f), scale(&p.dstate, 1e-10f);
        break;
    default:
        scatter(c, &p.B, bigs + 3, 5);
        scatter(c, &p.C, bigs + 3, 5);
        scatter(c, &p.state0, bigs + 3, 5);
        scatter(c, &p.dstate, bigs + 3, 5);
    }
    compare_on(c, ops, &p);
    check_end(c);
    check_release(c);
}

/* NaN in one channel's input stays in that channel, but for the sums over channels, and reaches what depends on it. */
static void not_a_number(check *c, const mbk_ops *ops) {
    enum { L = 9, E = 20, N = 16, ROW = 3, COLUMN = 6 };
    for (int which = 0; which < 7; which++) {
        problem p = make_problem(c, L, E, N);
        p.args.softplus_dt = 1, p.args.reverse = 0, p.args.dt_bias = p.dt_bias.at, p.alias = 0;
        const check_array hit[] = {p.x, p.dt, p.G, p.a2, p.dt_bias, p.state0, p.dstate};
        p.carried = 1;
        hit[which].at[(which < 3 ? ROW * hit[which].ld : 0) + COLUMN] = NAN;
        begin(c, "scan_bwd: NaN stays in its channel", ops, &p);
        const result r = run_bwd(c, ops, &p);
        for (int t = 0; t < L; t++)
            for (int e = 0; e < E; e++) {
                /* dt and what it decays: of earlier rows by the adjoint, of later ones by the state; G: earlier alone;
                 * x: later states, which the slopes of d at later rows contain */
                const int row = which == 0 ? t >= ROW : which == 2 ? t <= ROW : 1;
                check_true(c, isnan(r.ddt.at[t * r.ddt.ld + e]) ? e == COLUMN : e != COLUMN || !row,
                           "NaN where it belongs, and only there");
                check_true(c, e == COLUMN || !isnan(r.dx.at[t * r.dx.ld + e]), "dx of other channels is clean");
            }
        for (int n = 0; n < N; n++)
            for (int e = 0; e < E; e++)
                check_true(c, e == COLUMN || !isnan(r.da.at[n * r.da.ld + e] + r.dstate.at[n * r.dstate.ld + e]),
                           "da and dstate of other channels are clean");
        check_end(c);
        check_release(c);
    }
}

/* Realistic sizes: the relative error of each gradient as a whole, |got - want| / |want| in the Euclidean norm. */
static void realistic(check *c, const mbk_ops *ops, float dt_low, float dt_high) {
    enum { L = 128, E = 64, N = 16 };
    problem p = make_problem(c, L, E, N);
    p.args.softplus_dt = 0, p.args.dt_bias = NULL, p.carried = 1;
    for (int k = 0; k < L * E; k++)
        p.dt.at[k / E * p.dt.ld + k % E] = expf(check_between(c, logf(dt_low), logf(dt_high)));
    for (int n = 0; n < N; n++)
        for (int e = 0; e < E; e++)
            p.a2.at[n * p.a2.ld + e] = -(float)(n + 1) * 1.44269504f; /* A = -(n+1) */
    begin(c, "scan_bwd: relative error", ops, &p);
    const result want = run_bwd(c, mbk_ops_ref(), &p), got = run_bwd(c, ops, &p);
    const check_array *const w[] = {&want.dx, &want.ddt, &want.dB, &want.dC, &want.dstate, &want.da};
    const check_array *const g[] = {&got.dx, &got.ddt, &got.dB, &got.dC, &got.dstate, &got.da};
    for (int i = 0; i < 6; i++) {
        double sum = 0, off = 0;
        for (int k = 0; k < w[i]->rows * w[i]->cols; k++) {
            const double v = w[i]->at[k / w[i]->cols * w[i]->ld + k % w[i]->cols];
            const double d = g[i]->at[k / g[i]->cols * g[i]->ld + k % g[i]->cols] - v;
            sum += v * v, off += d * d;
        }
        check_true(c, sqrt(off / sum) <= 2e-6, "relative error below 2e-6");
    }
    check_end(c);
    check_release(c);
}

/* ---- the program ----------------------------------------------------------------------------------------------------
 */
static void cases_of(check *c, const mbk_ops *ops) {
    static const int lengths[] = {1, 2, 3, 17, 64, 128, 255, 256, 257, 520},
                     widths[] = {1, 7, 15, 16, 17, 24, 32, 33, 100};
    static const int states[] = {1, 2, 3, 8, 15, 16, 17, 64, 256};
    for (size_t k = 0; k < sizeof states / sizeof *states; k++) {
        const int N = states[k];
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
            for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
                if (lengths[i] * widths[j] * N < 40000 && !check_left_out(c, ops, 8))
                    compare(c, ops, lengths[i], widths[j], N);
        if (check_is_device(ops) && ((N != 3 && N != 16 && N != 17) || check_left_out(c, ops, 1)))
            continue; /* one, two slices of states */
        pieces(c, ops, 300, 37, N);
        reversed(c, ops, 270, 21, N);
        ranges(c, ops, check_is_device(ops) ? 70 : 270, 100, N);
        absences(c, ops, 20, 40, N);
    }
    for (int k = 0; k < 60; k++)
        if (!check_left_out(c, ops, 4))
            extremes(c, ops);
    not_a_number(c, ops);
    realistic(c, ops, 1e-3f, 0.1f);
    realistic(c, ops, 1e-3f, 20);
}

static void cases(check *c) {
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    for (int which = 0; which <= INPUTS; which++) {
        differences(c, which, 1, 1, 1);
        differences(c, which, 12, 3, 2);
        differences(c, which, 30, 5, 16);
    }
    for (int v = 0; v < n; v++)
        cases_of(c, ops[v]);
    pieces(c, mbk_ops_ref(), 20, 5, 3);
    reversed(c, mbk_ops_ref(), 20, 5, 3);
    ranges(c, mbk_ops_ref(), 20, 37, 3);
    absences(c, mbk_ops_ref(), 20, 5, 3);
    check_begin(c, "scratch");
    check_true(c, mbk_scan_bwd_scratch_cpu(128, 128, 16) == mbk_ops_cpu()->scan_bwd_scratch(128, 128, 16),
               "one answer about the scratch");
    check_end(c);
}

typedef struct job {
    mbk_scan_bwd_fn *op;
    mbk_scan_bwd args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->op(NULL, &j->args);
}

/* The floor: 48 flops per update, in FMAs of the widest kind. Two exponentials (when nothing of the forward is kept)
 * and two forward updates, 2 * 13 instructions of the two kinds of pipes, and 8 multiply-adds of the gradients: some 24
 * in the multiplying pipes. */
static void bench_one(check *c, const mbk_ops *ops, int L, int E, int N) {
    char what[64];
    job jobs[64];
    void *args[64];
    for (int t = 0; t < c->threads && t < 64; t++) {
        problem p = make_problem(c, L, E, N);
        mbk_scan_bwd *s = &jobs[t].args;
        jobs[t] = (job){ops->scan_bwd, p.args};
        s->reverse = 0, s->softplus_dt = 1, s->skip = p.skip.at, s->dt_bias = p.dt_bias.at;
        s->state0 = p.state0.at, s->dstate = p.dstate.at, s->lds = p.dstate.ld;
        s->dx = check_output(c, L, E).at, s->ddt = check_output(c, L, E).at, s->lddx = s->ldddt = E;
        s->dB = check_output(c, L, N).at, s->dC = check_output(c, L, N).at, s->lddb = s->lddc = N;
        s->da = p.da.at, s->ldda = p.da.ld;
        s->dskip = check_input(c, 1, E, 0, 0).at, s->ddt_bias = check_input(c, 1, E, 0, 0).at;
        s->scratch = check_input(c, 1, (int)ops->scan_bwd_scratch(L, E, N), 0, 0).at;
        args[t] = &jobs[t];
    }
    snprintf(what, sizeof what, "scan_bwd L=%d E=%d N=%d", L, E, N);
    check_bench(c, ops->isa, what, "updates", run, args, (double)L * E * N, 48, 0);
    check_release(c);
}

static void bench(check *c) {
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        bench_one(c, ops[v], 128, 128, 16);
        bench_one(c, ops[v], 128, 512, 16);
        bench_one(c, ops[v], 64, 128, 16);
        bench_one(c, ops[v], 1024, 128, 16);
        bench_one(c, ops[v], 128, 128, 64);
        bench_one(c, ops[v], 128, 24, 16);
        bench_one(c, ops[v], 128, 8, 2);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_scan_bwd", cases, bench);
}
