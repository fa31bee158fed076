/* Causal convolution: variants against the reference over K, sizes, options; and the laws that need no reference:
 * pieces with carried state = whole, steps = whole, reverse = forward on reversed rows, ranges of channels = all
 * channels. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/check.h"

typedef struct problem {
    mbk_conv args; /* without state and y */
    int carried;   /* a state goes in and out */
    check_array x, w, b, state;
} problem;

typedef struct result {
    check_array y, state;
} result;

static problem make_problem(check *c, int L, int E, int K, float size) {
    problem p = {.args = {.L = L, .E = E, .K = K}};
    p.args.reverse = check_pick(c, 2);
    p.args.silu = check_pick(c, 4) != 0;
    p.carried = K > 1 && check_pick(c, 2);
    p.x = check_input(c, L, E, -size, size);
    p.w = check_input(c, K, E, -1, 1);
    p.b = check_input(c, 1, E, -1, 1);
    p.state = check_input(c, K > 1 ? K - 1 : 1, E, -size, size);
    p.args.x = p.x.at, p.args.ldx = p.x.ld;
    p.args.w = p.w.at, p.args.ldw = p.w.ld;
    p.args.b = check_pick(c, 4) ? p.b.at : NULL;
    return p;
}

static void begin(check *c, const char *what, const mbk_ops *ops, const problem *p) {
    check_begin(c, "%s %s L=%d E=%d K=%d reverse=%d silu=%d bias=%d state=%d", what, ops->isa, p->args.L, p->args.E,
                p->args.K, p->args.reverse, p->args.silu, p->args.b != NULL, p->carried);
}

static result outputs(check *c, const problem *p) {
    return (result){check_output(c, p->args.L, p->args.E), check_copy(c, &p->state)};
}

static void apply(check *c, mbk_conv_fn *op, const problem *p, const result *r) {
    mbk_conv args = p->args;
    args.y = r->y.at, args.ldy = r->y.ld;
    args.state = p->carried ? r->state.at : NULL, args.ldstate = r->state.ld;
    check_true(c, op(NULL, &args) == MB_OK, "succeeds");
}
static result run_conv(check *c, mbk_conv_fn *op, const problem *p) {
    result r = outputs(c, p);
    apply(c, op, p, &r);
    return r;
}

/* Input i of channel e in processing order. */
static double input(const problem *p, int i, int e) {
    if (i < 0)
        return p->carried ? p->state.at[(p->args.K - 1 + i) * p->state.ld + e] : 0;
    return p->x.at[(p->args.reverse ? p->args.L - 1 - i : i) * p->x.ld + e];
}

/* K+1 roundings of the sum of magnitudes, through SiLU (slope at most 1.1), whose own error is relative. */
static void magnitudes(const problem *p, double *m) {
    const mbk_conv *a = &p->args;
    for (int i = 0; i < a->L; i++)
        for (int e = 0; e < a->E; e++) {
            double sum = a->b ? a->b[e] : 0, size = fabs(sum);
            for (int j = 0; j < a->K; j++) {
                const double term = p->w.at[j * p->w.ld + e] * input(p, i - (a->K - 1) + j, e);
                sum += term, size += fabs(term);
            }
            if (a->silu)
                sum /= 1 + exp(-sum);
            m[(a->reverse ? a->L - 1 - i : i) * a->E + e] = 1.1 * (a->K + 1) * size + 4 * fabs(sum) + FLT_MIN;
        }
}

static void compare(check *c, const char *what, const mbk_ops *ops, mbk_conv_fn *op, mbk_conv_fn *ref,
                    const problem *p) {
    double *m = check_magnitudes(c, p->args.L, p->args.E);
    begin(c, what, ops, p);
    result want = run_conv(c, ref, p), got = run_conv(c, op, p);
    magnitudes(p, m);
    check_close(c, "y", &got.y, &want.y, m, 1);
    check_same(c, "state", &got.state, &want.state);
    check_end(c);
}

/* Pieces of random length, each with the state of the one before, against the whole. With steps, pieces of 1 by
 * conv_step. */
static void pieces(check *c, const mbk_ops *ops, int steps, int L, int E, int K) {
    problem p = make_problem(c, L, E, K, 1);
    p.carried = 1;
    begin(c, steps ? "conv_step: steps = whole" : "conv_fwd: pieces = whole", ops, &p);
    result whole = run_conv(c, ops->conv_fwd, &p), cut = outputs(c, &p);
    for (int at = 0, n; at < L; at += n) {
        n = steps ? 1 : 1 + check_pick(c, L - at < 9 ? L - at : 9);
        const int first = p.args.reverse ? L - at - n : at;
        problem piece = p;
        piece.args.L = n;
        piece.args.x += first * p.x.ld;
        result out = cut;
        out.y.at += first * out.y.ld;
        apply(c, steps ? ops->conv_step : ops->conv_fwd, &piece, &out);
    }
    check_same(c, "y", &cut.y, &whole.y);
    check_same(c, "state", &cut.state, &whole.state);
    check_end(c);
    check_release(c);
}

static void reversed(check *c, const mbk_ops *ops, int L, int E, int K) {
    problem p = make_problem(c, L, E, K, 1), q = p;
    begin(c, "conv_fwd: reverse = forward on reversed rows", ops, &p);
    check_array x = check_copy(c, &p.x);
    for (int t = 0; t < L; t++)
        memcpy(x.at + t * x.ld, p.x.at + (L - 1 - t) * p.x.ld, (size_t)E * sizeof(float));
    q.x = x, q.args.x = x.at, q.args.reverse = !p.args.reverse;
    result a = run_conv(c, ops->conv_fwd, &p), b = run_conv(c, ops->conv_fwd, &q);
    for (int t = 0; t < L; t++) {
        check_array row = a.y, other = b.y;
        row.rows = other.rows = 1, row.start = other.start = NULL;
        row.at += t * row.ld, other.at += (L - 1 - t) * other.ld;
        check_same(c, "row", &row, &other);
    }
    check_same(c, "state", &a.state, &b.state);
    check_end(c);
    check_release(c);
}

static void ranges(check *c, const mbk_ops *ops, int L, int E, int K) {
    problem p = make_problem(c, L, E, K, 1);
    begin(c, "conv_fwd: ranges of channels = all", ops, &p);
    result whole = run_conv(c, ops->conv_fwd, &p), parts = outputs(c, &p);
    for (int e = 0, n; e < E; e += n) {
        n = 1 + check_pick(c, E - e);
        problem part = p;
        part.args.E = n;
        part.args.x += e, part.args.w += e;
        if (part.args.b)
            part.args.b += e;
        result out = parts;
        out.y.at += e, out.state.at += e;
        apply(c, ops->conv_fwd, &part, &out);
    }
    check_same(c, "y", &parts.y, &whole.y);
    check_same(c, "state", &parts.state, &whole.state);
    check_end(c);
    check_release(c);
}

/* SiLU alone (K = 1, w = 1): relative error over the floats where the result is a normal number. */
static void silu(check *c, const mbk_ops *ops) {
    enum { E = 4096 };
    check_begin(c, "SiLU %s: relative error", ops->isa);
    problem p = make_problem(c, 1, E, 1, 1);
    p.args.silu = 1, p.args.b = NULL, p.args.reverse = 0, p.carried = 0;
    double worst = 0;
    for (int round = 0; round < 40; round++) {
        const float top = round < 20 ? 87 : ldexpf(1, -6 * (round - 20));
        for (int e = 0; e < E; e++)
            p.w.at[e] = 1, p.x.at[e] = check_between(c, -top, top);
        result r = run_conv(c, ops->conv_fwd, &p);
        for (int e = 0; e < E; e++) {
            const double v = p.x.at[e], want = v / (1 + exp(-v)), error = fabs(r.y.at[e] - want) / fabs(want);
            if (fabs(want) > FLT_MIN && !(error <= worst))
                worst = error;
        }
    }
    check_true(c, worst < 3.5e-7, "SiLU within 3.5e-7");
    static const float edge[] = {1e4f, 1e30f, -1e4f, -1e30f, -120, 0};
    static const float want[] = {1e4f, 1e30f, 0, 0, 0, 0};
    p.args.E = 6;
    memcpy(p.x.at, edge, sizeof edge);
    result r = run_conv(c, ops->conv_fwd, &p);
    for (int i = 0; i < 6; i++)
        check_true(c, r.y.at[i] == want[i], "SiLU at the ends");
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int lengths[] = {1, 2, 3, 4, 5, 8, 31, 67}, widths[] = {1, 7, 8, 15, 16, 17, 24, 33, 64, 100, 515};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    for (int v = 0; v < n; v++) {
        for (int K = 1; K <= MBK_CONV_MAX_K; K++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++) {
                for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
                    problem p = make_problem(c, lengths[i], widths[j], K, i % 3 ? 1 : 30);
                    compare(c, "conv_fwd", ops[v], ops[v]->conv_fwd, mbk_conv_fwd_ref, &p);
                    check_release(c);
                }
                problem p = make_problem(c, 1, widths[j], K, 1);
                compare(c, "conv_step", ops[v], ops[v]->conv_step, mbk_conv_step_ref, &p);
                check_release(c);
            }
        for (int K = 2; K <= MBK_CONV_MAX_K; K += K < 6 ? 1 : 5) {
            pieces(c, ops[v], 0, 41, 37, K);
            pieces(c, ops[v], 1, 23, 37, K);
            reversed(c, ops[v], 19, 21, K);
            ranges(c, ops[v], 9, 100, K);
        }
        silu(c, ops[v]);
    }
    pieces(c, mbk_ops_ref(), 0, 41, 5, 4);
    pieces(c, mbk_ops_ref(), 1, 23, 5, 4);
}

typedef struct job {
    mbk_conv_fn *op;
    mbk_conv args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->op(NULL, &j->args);
}

static void bench(check *c) {
    enum { L = 128, E = 512 };
    static const int widths[] = {4, 3, 16};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++)
        for (int k = 0; k < 4; k++) {
            const int step = k == 3, K = step ? 4 : widths[k], rows = step ? 1 : L;
            char what[64] = "conv_step E=512 K=4";
            job jobs[64];
            void *args[64];
            if (!step)
                snprintf(what, sizeof what, "conv_fwd SiLU L=128 E=512 K=%d", K);
            for (int t = 0; t < c->threads && t < 64; t++) {
                problem p = make_problem(c, rows, E, K, 1);
                jobs[t] = (job){step ? ops[v]->conv_step : ops[v]->conv_fwd, p.args};
                jobs[t].args.silu = 1, jobs[t].args.reverse = 0, jobs[t].args.b = p.b.at;
                jobs[t].args.state = check_copy(c, &p.state).at, jobs[t].args.ldstate = p.state.ld;
                jobs[t].args.y = check_output(c, rows, E).at, jobs[t].args.ldy = E;
                args[t] = &jobs[t];
            }
            check_bench(c, ops[v]->isa, what, "elements", run, args, (double)rows * E, 0, 8);
            check_release(c);
        }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_conv1d", cases, bench);
}
