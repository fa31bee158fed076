/* Selective scan: variants against the reference over sizes, options and extreme values; and the laws that need no
 * reference: cut tiles = whole (all bits), steps = whole, reverse = forward on reversed rows, ranges of channels = all,
 * y over y_add. The elementary functions are reached through the scan itself (see `function`). */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/check.h"

typedef struct problem {
    mbk_scan args; /* without state and y */
    int carried, alias;
    check_array x, dt, z, y_add, B, C, a2, dt_bias, skip, state;
} problem;

typedef struct result {
    check_array y, state;
} result;

/* As a trained layer: dt mostly negative before softplus, A from -N to 0. With softplus_dt = 0, dt is positive. */
static problem make_problem(check *c, int L, int E, int N) {
    problem p = {.args = {.L = L, .E = E, .N = N}};
    mbk_scan *s = &p.args;
    s->reverse = check_pick(c, 2);
    s->softplus_dt = check_pick(c, 4) != 0;
    p.carried = check_pick(c, 2);
    p.alias = check_pick(c, 3) == 0;
    p.x = check_input(c, L, E, -2, 2), s->x = p.x.at, s->ldx = p.x.ld;
    p.dt = s->softplus_dt ? check_input(c, L, E, -3, 2) : check_input(c, L, E, 0, 0.3f);
    s->dt = p.dt.at, s->lddt = p.dt.ld;
    p.z = check_input(c, L, E, -6, 6), s->z = check_pick(c, 3) ? p.z.at : NULL, s->ldz = p.z.ld;
    p.y_add = check_input(c, L, E, -2, 2), s->y_add = check_pick(c, 2) || p.alias ? p.y_add.at : NULL,
    s->ldyadd = p.y_add.ld;
    p.B = check_input(c, L, N, -1, 1), s->B = p.B.at, s->ldb = p.B.ld;
    p.C = check_input(c, L, N, -1, 1), s->C = p.C.at, s->ldc = p.C.ld;
    p.a2 = check_input(c, N, E, -1.44f * (float)(N < 16 ? 16 : N), 0), s->a2 = p.a2.at, s->lda = p.a2.ld;
    p.dt_bias = s->softplus_dt ? check_input(c, 1, E, -5, 0) : check_input(c, 1, E, 0, 0.1f);
    s->dt_bias = check_pick(c, 3) ? p.dt_bias.at : NULL;
    p.skip = check_input(c, 1, E, -1, 1), s->skip = check_pick(c, 3) ? p.skip.at : NULL;
    p.state = check_input(c, N, E, -2, 2);
    return p;
}

static void begin(check *c, const char *what, const mbk_ops *ops, const problem *p) {
    const mbk_scan *s = &p->args;
    check_begin(c, "%s %s L=%d E=%d N=%d reverse=%d softplus=%d bias=%d skip=%d y_add=%d z=%d state=%d alias=%d", what,
                ops->isa, s->L, s->E, s->N, s->reverse, s->softplus_dt, s->dt_bias != NULL, s->skip != NULL,
                s->y_add != NULL, s->z != NULL, p->carried, p->alias);
}

static result outputs(check *c, const problem *p) {
    return (result){p->alias ? check_copy(c, &p->y_add) : check_output(c, p->args.L, p->args.E),
                    check_copy(c, &p->state)};
}

/* r->y is a copy of y_add where the problem wants them to be one. */
static void apply(check *c, mbk_scan_fn *op, const problem *p, const result *r) {
    mbk_scan s = p->args;
    s.y = r->y.at, s.ldy = r->y.ld;
    if (p->alias)
        s.y_add = s.y, s.ldyadd = s.ldy;
    s.state = p->carried ? r->state.at : NULL, s.lds = r->state.ld;
    check_true(c, op(NULL, &s) == MB_OK, "succeeds");
}
static result run_scan(check *c, mbk_scan_fn *op, const problem *p) {
    result r = outputs(c, p);
    apply(c, op, p, &r);
    return r;
}

/* ---- magnitudes: the recurrence on absolute values, and beside it what rounding adds, in units of FLT_EPSILON
 * --------- */
typedef struct sized { /* a number, the sum of the magnitudes it came from, and its error */
    double value, size, error;
} sized;

static sized step_size(const problem *p, int row, int e) {
    const mbk_scan *s = &p->args;
    const double v = s->dt[row * s->lddt + e] + (s->dt_bias ? (double)s->dt_bias[e] : 0);
    if (!s->softplus_dt)
        return (sized){v, fabs(v), fabs(v)};
    const double d = v > 20 ? v : log1p(exp(v));
    return (sized){d, d, 4 * d + fabs(v) / (1 + exp(-v)) + FLT_MIN}; /* the slope of softplus is the sigmoid */
}

/* One row of one channel; h (N) is advanced; returns the error bound of y. */
static double advance(const problem *p, int row, int e, sized *h) {
    const mbk_scan *s = &p->args;
    const sized d = step_size(p, row, e);
    const double x = fabsf(s->x[row * s->ldx + e]), ux = d.size * x, uerror = d.error * x + ux + FLT_MIN;
    double size = (s->skip ? fabsf(s->skip[e]) * x : 0) + (s->y_add ? fabsf(s->y_add[row * s->ldyadd + e]) : 0);
    double error = 2 * size + 4 * FLT_MIN; /* FLT_MIN: one rounding among the denormal numbers, and to spare */
    for (int n = 0; n < s->N; n++) {
        const double a2 = s->a2[n * s->lda + e], decay = exp2(d.value * a2);
        const double b = fabsf(s->B[row * s->ldb + n]), c = fabsf(s->C[row * s->ldc + n]);
        const double decay_error = decay * (0.7 * fabs(a2) * (d.error + d.size) + 3) + 0x1p-116 / FLT_EPSILON;
        const double before = h[n].size;
        h[n].size = decay * before + ux * b;
        h[n].error = decay * h[n].error + decay_error * before + uerror * b + ux * b + h[n].size + 2 * FLT_MIN;
        size += c * h[n].size;
        error += c * (h[n].error + h[n].size) + size + 2 * FLT_MIN;
    }
    if (!s->z)
        return error + size;
    /* SiLU is taken for 0 where exp(-z) overflows: below 3e-37 */
    const double z = s->z[row * s->ldz + e], gate = fabs(z / (1 + exp(-z))) + FLT_MIN;
    return gate * (error + 6 * size) + (z < -88 ? 3e-37 / FLT_EPSILON * size : 0) + 4 * FLT_MIN;
}

static void magnitudes(const problem *p, double *y, double *state) {
    const mbk_scan *s = &p->args;
    sized h[MBK_SCAN_MAX_N];
    for (int e = 0; e < s->E; e++) {
        for (int n = 0; n < s->N; n++)
            h[n] = (sized){.size = p->carried ? fabsf(p->state.at[n * p->state.ld + e]) : 0};
        for (int i = 0; i < s->L; i++) {
            const int row = s->reverse ? s->L - 1 - i : i;
            y[row * s->E + e] = advance(p, row, e, h);
        }
        for (int n = 0; n < s->N; n++)
            state[n * s->E + e] = h[n].error;
    }
}

static void compare_on(check *c, mbk_scan_fn *op, const problem *p) {
    const mbk_scan *s = &p->args;
    double *m = check_magnitudes(c, s->L, s->E), *mh = check_magnitudes(c, s->N, s->E);
    result want = run_scan(c, mbk_scan_fwd_ref, p), got = run_scan(c, op, p);
    magnitudes(p, m, mh);
    check_close(c, "y", &got.y, &want.y, m, 1);
    if (p->carried)
        check_close(c, "state", &got.state, &want.state, mh, 1);
    else
        check_same(c, "state", &got.state, &p->state);
}

static void compare(check *c, const mbk_ops *ops, int step, int L, int E, int N) {
    problem p = make_problem(c, L, E, N);
    begin(c, step ? "scan_step" : "scan_fwd", ops, &p);
    compare_on(c, step ? ops->scan_step : ops->scan_fwd, &p);
    check_end(c);
    check_release(c);
}

/* ---- laws -----------------------------------------------------------------------------------------------------------
 */
/* Rows first .. first+n-1 of p, and of its outputs. */
static problem piece_of(const problem *p, int first, int n) {
    problem q = *p;
    mbk_scan *s = &q.args;
    s->L = n;
    s->x += first * s->ldx, s->dt += first * s->lddt, s->B += first * s->ldb, s->C += first * s->ldc;
    if (s->z)
        s->z += first * s->ldz;
    if (s->y_add)
        s->y_add += first * s->ldyadd;
    return q;
}

/* Pieces of random length, each with the state of the one before: the bits of the whole. With steps, pieces of 1
 * through scan_step, whose sums run in another order; so do those of a GPU where chunks are cut elsewhere. */
static void pieces(check *c, const mbk_ops *ops, int steps, int L, int E, int N) {
    problem p = make_problem(c, L, E, N);
    double *m = check_magnitudes(c, L, E), *mh = check_magnitudes(c, N, E);
    p.carried = 1;
    begin(c, steps ? "scan_step: steps = whole" : "scan_fwd: pieces = whole", ops, &p);
    result whole = run_scan(c, ops->scan_fwd, &p), cut = outputs(c, &p);
    for (int at = 0, n; at < L; at += n) {
        n = steps ? 1 : 1 + check_pick(c, L - at);
        const int first = p.args.reverse ? L - at - n : at;
        const problem piece = piece_of(&p, first, n);
        result out = cut;
        out.y.at += first * out.y.ld;
        apply(c, steps ? ops->scan_step : ops->scan_fwd, &piece, &out);
    }
    magnitudes(&p, m, mh);
    if (steps || check_is_device(ops)) {
        check_close(c, "y", &cut.y, &whole.y, m, 1);
        check_close(c, "state", &cut.state, &whole.state, mh, 1);
    } else {
        check_same(c, "y", &cut.y, &whole.y);
        check_same(c, "state", &cut.state, &whole.state);
    }
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
    begin(c, "scan_fwd: reverse = forward on reversed rows", ops, &p);
    q.args.reverse = !p.args.reverse;
    q.args.x = turned(c, &p.x).at, q.args.dt = turned(c, &p.dt).at;
    q.args.B = turned(c, &p.B).at, q.args.C = turned(c, &p.C).at;
    q.y_add = turned(c, &p.y_add);
    if (q.args.z)
        q.args.z = turned(c, &p.z).at;
    if (q.args.y_add)
        q.args.y_add = q.y_add.at;
    result a = run_scan(c, ops->scan_fwd, &p), b = run_scan(c, ops->scan_fwd, &q);
    check_untouched(c, "y", &b.y);
    b.y = turned(c, &b.y);
    check_same(c, "y", &a.y, &b.y);
    check_same(c, "state", &a.state, &b.state);
    check_end(c);
    check_release(c);
}

/* Ranges of channels that start at multiples of MBK_SCAN_LANES: the bits of all channels at once. */
static void ranges(check *c, const mbk_ops *ops, int step, int L, int E, int N) {
    problem p = make_problem(c, L, E, N);
    begin(c, step ? "scan_step: ranges of channels = all" : "scan_fwd: ranges of channels = all", ops, &p);
    mbk_scan_fn *op = step ? ops->scan_step : ops->scan_fwd;
    result whole = run_scan(c, op, &p), parts = outputs(c, &p);
    for (int e = 0, n; e < E; e += n) {
        const int blocks = (E - e + MBK_SCAN_LANES - 1) / MBK_SCAN_LANES;
        n = MBK_SCAN_LANES * (1 + check_pick(c, blocks));
        problem part = p;
        mbk_scan *s = &part.args;
        s->E = n = n < E - e ? n : E - e;
        s->x += e, s->dt += e, s->a2 += e;
        s->z = s->z ? s->z + e : NULL, s->y_add = s->y_add ? s->y_add + e : NULL;
        s->dt_bias = s->dt_bias ? s->dt_bias + e : NULL, s->skip = s->skip ? s->skip + e : NULL;
        result out = parts;
        out.y.at += e, out.state.at += e;
        apply(c, op, &part, &out);
    }
    check_same(c, "y", &parts.y, &whole.y);
    check_same(c, "state", &parts.state, &whole.state);
    check_end(c);
    check_release(c);
}

/* y over y_add; and each NULL that the contract takes for zeros, against zeros. */
static void absences(check *c, const mbk_ops *ops, int L, int E, int N) {
    problem p = make_problem(c, L, E, N), q;
    double *m = check_magnitudes(c, L, E), *mh = check_magnitudes(c, N, E);
    p.alias = 0, p.args.y_add = p.y_add.at;
    begin(c, "scan_fwd: y over y_add, zeros for NULL", ops, &p);
    q = p, q.alias = 1;
    result apart = run_scan(c, ops->scan_fwd, &p), over = run_scan(c, ops->scan_fwd, &q);
    check_same(c, "y over y_add", &over.y, &apart.y);
    p.carried = 0, p.args.dt_bias = NULL, p.args.skip = NULL, p.args.y_add = NULL;
    q = p, q.carried = 1, q.state = check_input(c, N, E, 0, 0);
    q.args.dt_bias = check_input(c, 1, E, 0, 0).at, q.args.skip = check_input(c, 1, E, 0, 0).at;
    q.y_add = check_input(c, L, E, 0, 0), q.args.y_add = q.y_add.at, q.args.ldyadd = q.y_add.ld;
    result absent = run_scan(c, ops->scan_fwd, &p), zeros = run_scan(c, ops->scan_fwd, &q);
    magnitudes(&p, m, mh);
    check_close(c, "y", &absent.y, &zeros.y, m, 1);
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

static void extremes(check *c, const mbk_ops *ops, int step) {
    static const float dts[] = {-1e4f, -1e30f, -104,   -100,  -95, -88,     -87, -50, -30, -17,
                                0,     -0.0f,  1e-40f, 19.9f, 20,  20.001f, 25,  89,  1e4f};
    static const float bigs[] = {1e30f, -1e30f, 1e20f, 1e-40f, -1e-45f, 1e-30f, 0, -0.0f};
    static const float gates[] = {-1e30f, -1e4f, -100, -88, 88, 100, 1e4f, 1e30f, 1e-40f, 0, -0.0f};
    static const float rates[] = {-1e-30f, -1e-40f, 0, -1e4f, -200, -126, -128, -0.5f, 0.01f};
    problem p = make_problem(c, step ? 1 : 40, 37, 1 + check_pick(c, 20));
    begin(c, step ? "scan_step: extreme values" : "scan_fwd: extreme values", ops, &p);
    p.args.softplus_dt = 1;
    switch (check_pick(c, 5)) { /* one kind at a time, or products of extremes overflow */
    case 0:
        scatter(c, &p.dt, dts, (int)(sizeof dts / sizeof *dts));
        break;
    case 1:
        scatter(c, &p.x, bigs, (int)(sizeof bigs / sizeof *bigs));
        p.args.z = NULL;
        break;
    case 2:
        p.args.z = p.z.at;
        scatter(c, &p.z, gates, (int)(sizeof gates / sizeof *gates));
        break;
    case 3:
        scatter(c, &p.a2, rates, (int)(sizeof rates / sizeof *rates));
        break;
    default:
        scatter(c, &p.B, bigs + 3, 5);
        scatter(c, &p.C, bigs + 3, 5);
        scatter(c, &p.state, bigs + 3, 5);
    }
    compare_on(c, step ? ops->scan_step : ops->scan_fwd, &p);
    check_end(c);
    check_release(c);
}

/* NaN in one channel's input stays in that channel and reaches all its later rows; nothing hides it. */
static void not_a_number(check *c, const mbk_ops *ops) {
    enum { L = 9, E = 20, N = 16 };
    for (int which = 0; which < 5; which++) {
        problem p = make_problem(c, L, E, N);
        p.args.softplus_dt = 1, p.args.reverse = 0, p.args.z = p.z.at, p.args.dt_bias = p.dt_bias.at;
        const check_array hit[] = {p.x, p.dt, p.a2, p.dt_bias, p.state};
        p.carried = 1;
        hit[which].at[(which < 2 ? 3 * hit[which].ld : 0) + 6] = NAN;
        begin(c, "scan_fwd: NaN stays in its channel", ops, &p);
        result r = run_scan(c, ops->scan_fwd, &p);
        for (int t = 0; t < L; t++)
            for (int e = 0; e < E; e++)
                check_true(c, !isnan(r.y.at[t * r.y.ld + e]) == (e != 6 || (which < 2 && t < 3)),
                           "NaN where it belongs, and only there");
        check_end(c);
        check_release(c);
    }
}

/* ---- the elementary functions
 * ---------------------------------------------------------------------------------------- exp2 and softplus read off
 * the state of a scan of one row: h = exp2(1 * a2) * 1 + 0 with dt = 1, x = 0;   h = 0 + softplus(dt) * 1 * 1 with B =
 * x = 1 */
static void function(check *c, const mbk_ops *ops, int softplus, double low, double high, double limit) {
    enum { E = 4096 };
    double worst = 0;
    check_begin(c, "%s %s: relative error", softplus ? "softplus" : "exp2", ops->isa);
    problem p = make_problem(c, 1, E, 1);
    p.carried = 1, p.alias = 0, p.args.dt_bias = NULL, p.args.softplus_dt = softplus;
    *p.B.at = 1;
    for (int round = 0; round < 60; round++) {
        const double shrink = round < 30 ? 1 : ldexp(1, -4 * (round - 30)); /* then ever nearer to 0 */
        const check_array *argument = softplus ? &p.dt : &p.a2;
        for (int e = 0; e < E; e++) {
            p.x.at[e] = (float)softplus, p.dt.at[e] = 1, p.a2.at[e] = -1, p.state.at[e] = (float)!softplus;
            argument->at[e] = check_between(c, (float)(low * shrink), (float)(high * shrink));
        }
        result r = run_scan(c, round & 1 ? ops->scan_fwd : ops->scan_step, &p);
        for (int e = 0; e < E; e++) {
            const double v = argument->at[e], want = !softplus ? exp2(v) : v > 20 ? v : log1p(exp(v));
            const double error = fabs(r.state.at[e] - want) / want;
            if (!(error <= worst))
                worst = error;
        }
    }
    check_true(c, worst <= limit, "within the limit");
    if (worst > limit)
        printf("%s: %s: %.3g\n", c->name, c->label, worst);
    check_end(c);
    check_release(c);
}

/* exp2 where it is not a normal number, and at 0, where a state must neither fade nor grow. */
static void exp2_ends(check *c, const mbk_ops *ops) {
    static const float v[] = {0, -0.0f, -1e-9f, -1e-45f, 1e-9f, -200, -1e4f, -1e30f, 129, 1e4f, 1e30f, 126, -150};
    static const float want[] = {1, 1, 1, 1, 1, 0, 0, 0, INFINITY, INFINITY, INFINITY, 0x1p126f, 0};
    enum { E = sizeof v / sizeof *v };
    check_begin(c, "exp2 %s: ends", ops->isa);
    problem p = make_problem(c, 1, E, 1);
    p.carried = 1, p.alias = 0, p.args.dt_bias = NULL, p.args.softplus_dt = 0;
    for (int e = 0; e < E; e++)
        p.x.at[e] = 0, p.dt.at[e] = 1, p.a2.at[e] = v[e], p.state.at[e] = 1;
    result r = run_scan(c, ops->scan_fwd, &p);
    for (int e = 0; e < E; e++)
        check_true(c, r.state.at[e] == want[e], "exact at its ends");
    check_end(c);
    check_release(c);
}

/* ---- the program ----------------------------------------------------------------------------------------------------
 */
static void cases_of(check *c, const mbk_ops *ops) {
    static const int lengths[] = {1, 2, 3, 17, 63, 64, 65, 130}, widths[] = {1, 7, 8, 15, 16, 17, 24, 33, 48, 64, 100};
    static const int states[] = {1, 2, 3, 8, 15, 16, 17, 64, 256};
    for (size_t k = 0; k < sizeof states / sizeof *states; k++) {
        const int N = states[k];
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++) {
            for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
                if (lengths[i] * widths[j] * N < 120000 && !check_left_out(c, ops, 3))
                    compare(c, ops, 0, lengths[i], widths[j], N);
            compare(c, ops, 1, 1, widths[j], N);
        }
        compare(c, ops, 1, 1, 515, N);
        pieces(c, ops, 0, 150, 37, N);
        pieces(c, ops, 1, 20, 37, N);
        reversed(c, ops, 70, 21, N);
        ranges(c, ops, 0, 70, 100, N);
        ranges(c, ops, 1, 1, 600, N);
        absences(c, ops, 20, 40, N);
    }
    for (int k = 0; k < 60; k++)
        extremes(c, ops, k % 3 == 0);
    not_a_number(c, ops);
    function(c, ops, 0, -115, 126, 2.5e-7);
    function(c, ops, 1, -87, 60, 4e-7);
    exp2_ends(c, ops);
}

static void cases(check *c) {
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    for (int v = 0; v < n; v++)
        cases_of(c, ops[v]);
    pieces(c, mbk_ops_ref(), 1, 20, 5, 3);
    reversed(c, mbk_ops_ref(), 20, 5, 3);
    absences(c, mbk_ops_ref(), 20, 5, 3);
}

typedef struct job {
    mbk_scan_fn *op;
    mbk_scan args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->op(NULL, &j->args);
}

/* full: softplus, skip, gate, state; bare: the recurrence alone, which is what the floor counts. */
static void bench_one(check *c, const mbk_ops *ops, int step, int bare, int L, int E, int N) {
    char what[64];
    job jobs[64];
    void *args[64];
    for (int t = 0; t < c->threads && t < 64; t++) {
        problem p = make_problem(c, L, E, N);
        mbk_scan *s = &jobs[t].args;
        jobs[t] = (job){step ? ops->scan_step : ops->scan_fwd, p.args};
        s->reverse = 0, s->softplus_dt = !bare, s->y_add = NULL;
        s->z = bare ? NULL : p.z.at, s->skip = bare ? NULL : p.skip.at;
        s->dt_bias = bare ? NULL : p.dt_bias.at;
        if (bare)
            s->dt = check_input(c, L, E, 0, 0.3f).at;
        s->state = check_copy(c, &p.state).at, s->lds = p.state.ld;
        s->y = check_output(c, L, E).at, s->ldy = E;
        args[t] = &jobs[t];
    }
    snprintf(what, sizeof what, "scan_%s%s L=%d E=%d N=%d", step ? "step" : "fwd", bare ? " bare" : "", L, E, N);
    check_bench(c, ops->isa, what, "updates", run, args, (double)L * E * N, 19, step ? 12 : 0);
    check_release(c);
}

static void bench(check *c) {
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        bench_one(c, ops[v], 0, 1, 128, 512, 16);
        bench_one(c, ops[v], 0, 0, 128, 512, 16);
        bench_one(c, ops[v], 0, 0, 128, 512, 8);
        bench_one(c, ops[v], 0, 0, 128, 512, 64);
        bench_one(c, ops[v], 0, 0, 128, 24, 16);
        bench_one(c, ops[v], 0, 0, 128, 8, 2);
        bench_one(c, ops[v], 1, 0, 1, 1536, 16);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_scan", cases, bench);
}
