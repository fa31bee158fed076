/* Gradients of the causal convolution: variants against the reference over K, sizes, options; the reference against
 * directional differences of the forward reference; and the laws that need no reference: dx of pieces = dx of the
 * whole, reverse = forward on reversed rows, ranges of channels = all channels. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/check.h"

/* x and G hold the rows of the piece and `after` more at the end (the start, in reverse); args point at the piece. */
typedef struct problem {
    mbk_conv_bwd args; /* without dx, dw and db */
    int carried, has_db;
    check_array x, G, w, b, state, dx, dw, db; /* of the last three: what is there before */
} problem;

typedef struct result {
    check_array dx, dw, db;
} result;

static void point_at_piece(problem *p) {
    const int first = p->args.reverse ? p->args.after : 0;
    p->args.x = p->x.at + first * p->x.ld, p->args.ldx = p->x.ld;
    p->args.G = p->G.at + first * p->G.ld, p->args.ldg = p->G.ld;
}

static problem make_problem(check *c, int L, int E, int K, float size) {
    problem p = {.args = {.L = L, .E = E, .K = K}};
    p.args.reverse = check_pick(c, 2);
    p.args.silu = check_pick(c, 4) != 0;
    p.args.accumulate = check_pick(c, 2);
    p.args.after = check_pick(c, 2) ? K - 1 : check_pick(c, K);
    p.carried = K > 1 && check_pick(c, 2);
    p.has_db = check_pick(c, 4) != 0;
    p.x = check_input(c, L + p.args.after, E, -size, size);
    p.G = check_input(c, L + p.args.after, E, -1, 1);
    p.w = check_input(c, K, E, -1, 1);
    p.b = check_input(c, 1, E, -1, 1);
    p.state = check_input(c, K > 1 ? K - 1 : 1, E, -size, size);
    p.dx = check_input(c, L, E, -1, 1);
    p.dw = check_input(c, K, E, -1, 1);
    p.db = check_input(c, 1, E, -1, 1);
    point_at_piece(&p);
    p.args.w = p.w.at, p.args.ldw = p.w.ld;
    p.args.b = check_pick(c, 4) ? p.b.at : NULL;
    p.args.state = p.carried ? p.state.at : NULL, p.args.ldstate = p.state.ld;
    return p;
}

static void begin(check *c, const char *what, const char *isa, const problem *p) {
    const mbk_conv_bwd *a = &p->args;
    check_begin(c, "conv_bwd %s %s L=%d E=%d K=%d reverse=%d silu=%d after=%d accumulate=%d bias=%d state=%d db=%d",
                what, isa, a->L, a->E, a->K, a->reverse, a->silu, a->after, a->accumulate, a->b != NULL, p->carried,
                p->has_db);
}

static result outputs(check *c, const problem *p) {
    result r = {check_copy(c, &p->dx), check_copy(c, &p->dw), check_copy(c, &p->db)};
    if (!p->args.accumulate) /* what is there before must not matter */
        r.dx = check_output(c, p->args.L, p->args.E);
    return r;
}
static void apply(check *c, mbk_conv_bwd_fn *op, const problem *p, const result *r) {
    mbk_conv_bwd args = p->args;
    args.dx = r->dx.at, args.lddx = r->dx.ld;
    args.dw = r->dw.at, args.lddw = r->dw.ld;
    args.db = p->has_db ? r->db.at : NULL;
    check_true(c, op(NULL, &args) == MB_OK, "succeeds");
}
static result run_conv(check *c, mbk_conv_bwd_fn *op, const problem *p) {
    result r = outputs(c, p);
    apply(c, op, p, &r);
    return r;
}

/* Row i in processing order; i < 0 is the state. */
static double input(const problem *p, int i, int e) {
    if (i < 0)
        return p->carried ? p->state.at[(p->args.K - 1 + i) * p->state.ld + e] : 0;
    return p->args.x[(p->args.reverse ? p->args.L - 1 - i : i) * p->args.ldx + e];
}

/* Size of p and of its error in units of FLT_EPSILON: c errs by K+1 roundings of its terms and the second derivative of
 * SiLU is at most 1/2; the slope's own terms are s and c s (1-s), below FLT_MIN with an error that is absolute. */
static double slope_error(const problem *p, int i, int e, double *size) {
    const mbk_conv_bwd *a = &p->args;
    *size = 0;
    if (i >= a->L + a->after)
        return 0;
    const double G = fabsf(a->G[(a->reverse ? a->L - 1 - i : i) * a->ldg + e]);
    double sum = a->b ? a->b[e] : 0, terms = fabs(sum);
    *size = G;
    if (!a->silu)
        return 0;
    for (int j = 0; j < a->K; j++) {
        const double term = p->w.at[j * p->w.ld + e] * input(p, i - (a->K - 1) + j, e);
        sum += term, terms += fabs(term);
    }
    const double s = 1 / (1 + exp(-sum)), curve = fabs(sum * s * (1 - s));
    *size = G * (s + curve);
    return G * (6 * (s + curve) + 0.5 * (a->K + 1) * terms / (1 + sum * sum / 100) + (1 + fabs(sum)) * FLT_MIN);
}

typedef struct magnitudes {
    double *dx, *dw, *db;
} magnitudes;

/* Sums of L terms made in groups: some sqrt(L) roundings of the sum of magnitudes. */
static magnitudes make_magnitudes(check *c, const problem *p) {
    const mbk_conv_bwd *a = &p->args;
    const int L = a->L, E = a->E, K = a->K;
    const double steps = 4 + sqrt(L);
    magnitudes m = {check_magnitudes(c, L, E), check_magnitudes(c, K, E), check_magnitudes(c, 1, E)};
    for (int e = 0; e < E; e++) {
        m.db[e] = 2 * fabsf(p->db.at[e]) + FLT_MIN; /* both sums are rounded to float */
        for (int j = 0; j < K; j++)
            m.dw[j * E + e] = 2 * fabsf(p->dw.at[j * p->dw.ld + e]) + FLT_MIN;
        for (int i = 0; i < L + K - 1; i++) {
            double size;
            const double error = slope_error(p, i, e, &size);
            for (int j = 0; j < K; j++) {
                const int to = i - (K - 1) + j, t = a->reverse ? L - 1 - to : to; /* p[i] reaches dx[i-(K-1)+j] */
                if (to >= 0 && to < L)
                    m.dx[t * E + e] += fabsf(p->w.at[j * p->w.ld + e]) * (error + (K + 1) * size) + FLT_MIN;
                if (i < L)
                    m.dw[j * E + e] += fabs(input(p, to, e)) * (error + steps * size);
            }
            if (i < L)
                m.db[e] += error + steps * size;
        }
        for (int t = 0; t < L && a->accumulate; t++)
            m.dx[t * E + e] += 2 * fabsf(p->dx.at[t * p->dx.ld + e]);
    }
    return m;
}

static void compare(check *c, const mbk_ops *ops, const problem *p) {
    begin(c, "", ops->isa, p);
    const magnitudes m = make_magnitudes(c, p);
    const result want = run_conv(c, mbk_conv_bwd_ref, p), got = run_conv(c, ops->conv_bwd, p);
    check_close(c, "dx", &got.dx, &want.dx, m.dx, 1);
    check_close(c, "dw", &got.dw, &want.dw, m.dw, 1);
    if (p->has_db)
        check_close(c, "db", &got.db, &want.db, m.db, 1);
    else
        check_same(c, "db", &got.db, &p->db);
    check_end(c);
    check_release(c);
}

/* ---- laws ------------------------------------------------------------------------------------------------------- */
/* Pieces of random length, each with the inputs before it as its state. */
static void pieces(check *c, const mbk_ops *ops, int L, int E, int K) {
    problem p = make_problem(c, L, E, K, 1);
    p.args.after = 0;
    point_at_piece(&p);
    p.x.rows = p.G.rows = L;
    begin(c, "pieces = whole", ops->isa, &p);
    const magnitudes m = make_magnitudes(c, &p);
    result whole = run_conv(c, ops->conv_bwd, &p), cut = outputs(c, &p);
    check_array state = check_copy(c, &p.state);
    for (int at = 0, n; at < L; at += n) {
        n = 1 + check_pick(c, L - at < 9 ? L - at : 9);
        const int first = p.args.reverse ? L - at - n : at, left = L - at - n;
        problem piece = p;
        for (int k = 0; k < K - 1; k++)
            for (int e = 0; e < E; e++)
                state.at[k * state.ld + e] = (float)input(&p, at - (K - 1) + k, e);
        piece.args.L = n;
        piece.args.after = left < K - 1 ? left : K - 1;
        piece.args.x += first * p.args.ldx, piece.args.G += first * p.args.ldg;
        piece.args.state = state.at, piece.args.ldstate = state.ld;
        result out = cut;
        out.dx.at += first * out.dx.ld;
        apply(c, ops->conv_bwd, &piece, &out);
    }
    check_same(c, "dx", &cut.dx, &whole.dx);
    check_close(c, "dw", &cut.dw, &whole.dw, m.dw, 1);
    check_close(c, "db", &cut.db, &whole.db, m.db, 1);
    check_end(c);
    check_release(c);
}

static void turn(const check_array *to, const check_array *from) {
    for (int t = 0; t < from->rows; t++)
        memcpy(to->at + (from->rows - 1 - t) * to->ld, from->at + t * from->ld, (size_t)from->cols * sizeof(float));
}

static void reversed(check *c, const mbk_ops *ops, int L, int E, int K) {
    problem p = make_problem(c, L, E, K, 1), q = p;
    begin(c, "reverse = forward on reversed rows", ops->isa, &p);
    q.x = check_copy(c, &p.x), q.G = check_copy(c, &p.G), q.dx = check_copy(c, &p.dx);
    turn(&q.x, &p.x), turn(&q.G, &p.G), turn(&q.dx, &p.dx);
    q.args.reverse = !p.args.reverse;
    point_at_piece(&q);
    const result a = run_conv(c, ops->conv_bwd, &p), b = run_conv(c, ops->conv_bwd, &q);
    check_array dx = check_copy(c, &b.dx);
    turn(&dx, &b.dx);
    check_same(c, "dx", &dx, &a.dx);
    check_same(c, "dw", &b.dw, &a.dw);
    check_same(c, "db", &b.db, &a.db);
    check_end(c);
    check_release(c);
}

static void ranges(check *c, const mbk_ops *ops, int L, int E, int K) {
    problem p = make_problem(c, L, E, K, 1);
    begin(c, "ranges of channels = all", ops->isa, &p);
    result whole = run_conv(c, ops->conv_bwd, &p), parts = outputs(c, &p);
    for (int e = 0, n; e < E; e += n) {
        n = 1 + check_pick(c, E - e);
        problem part = p;
        part.args.E = n;
        part.args.x += e, part.args.G += e, part.args.w += e;
        if (part.args.b)
            part.args.b += e;
        if (part.args.state)
            part.args.state += e;
        result out = parts;
        out.dx.at += e, out.dw.at += e, out.db.at += e;
        apply(c, ops->conv_bwd, &part, &out);
    }
    check_same(c, "dx", &parts.dx, &whole.dx);
    check_same(c, "dw", &parts.dw, &whole.dw);
    check_same(c, "db", &parts.db, &whole.db);
    check_end(c);
    check_release(c);
}

/* What was moved, and how far: sum of gradient times step. */
static double move(check *c, check_array *a, const check_array *up, const check_array *down, const check_array *slope) {
    double sum = 0;
    for (int i = 0; i < a->rows; i++)
        for (int j = 0; j < a->cols; j++) {
            const float v = a->at[i * a->ld + j], h = check_between(c, -0x1p-8f, 0x1p-8f);
            up->at[i * up->ld + j] = v + h, down->at[i * down->ld + j] = v - h;
            sum += slope->at[i * slope->ld + j] * ((double)up->at[i * up->ld + j] - down->at[i * down->ld + j]);
        }
    return sum;
}
static double loss(check *c, const problem *p, const check_array *x, const check_array *w, const check_array *b) {
    check_array y = check_output(c, p->args.L, p->args.E);
    const mbk_conv args = {.L = p->args.L,
                           .E = p->args.E,
                           .K = p->args.K,
                           .reverse = p->args.reverse,
                           .silu = p->args.silu,
                           .x = x->at,
                           .ldx = x->ld,
                           .w = w->at,
                           .ldw = w->ld,
                           .b = b->at,
                           .y = y.at,
                           .ldy = y.ld};
    double sum = 0;
    check_true(c, mbk_conv_fwd_ref(NULL, &args) == MB_OK, "the forward reference succeeds");
    for (int t = 0; t < p->args.L; t++)
        for (int e = 0; e < p->args.E; e++)
            sum += (double)p->args.G[t * p->args.ldg + e] * y.at[t * y.ld + e];
    return sum;
}

/* (loss(z + h) - loss(z - h)) = 2 h dloss/dz + O(h^3), all of x, w and b moved at once. */
static void differences(check *c, int L, int E, int K) {
    problem p = make_problem(c, L, E, K, 1);
    p.args.after = 0, p.args.accumulate = 0, p.carried = 0, p.has_db = 1;
    p.args.state = NULL, p.args.b = p.b.at;
    point_at_piece(&p);
    p.x.rows = L;
    begin(c, "against differences", "ref", &p);
    memset(p.dw.at, 0, ((size_t)(K - 1) * (size_t)p.dw.ld + (size_t)E) * sizeof(float));
    memset(p.db.at, 0, (size_t)E * sizeof(float));
    const result r = run_conv(c, mbk_conv_bwd_ref, &p);
    check_array x[2] = {check_copy(c, &p.x), check_copy(c, &p.x)}, w[2] = {check_copy(c, &p.w), check_copy(c, &p.w)},
                b[2] = {check_copy(c, &p.b), check_copy(c, &p.b)};
    const double parts[3] = {move(c, &p.x, &x[0], &x[1], &r.dx), move(c, &p.w, &w[0], &w[1], &r.dw),
                             move(c, &p.b, &b[0], &b[1], &r.db)};
    const double moved = loss(c, &p, &x[0], &w[0], &b[0]) - loss(c, &p, &x[1], &w[1], &b[1]);
    const double size = fabs(parts[0]) + fabs(parts[1]) + fabs(parts[2]);
    const double found = parts[0] + parts[1] + parts[2] + (c->sabotage ? 0.05 * size : 0);
    check_true(c, fabs(moved - found) < 2e-3 * size, "the gradient is that of the forward reference");
    check_true(c, fabs(moved - found - 0.05 * size) >= 2e-3 * size, "a planted fault of 5 % is caught");
    check_end(c);
    check_release(c);
}

/* c of any size: the slope is 1 far above and 0 far below, and NaN stays in the rows it reaches. */
static void extremes(check *c, const mbk_ops *ops) {
    static const float v[] = {1e4f, 1e30f, -1e4f, -1e30f, -120, 0, -89, -88}, want[] = {1, 1, 0, 0, 0, 0.5f, 0, 0};
    enum { n = sizeof v / sizeof *v, L = 12, K = 4 };
    float G[n], dx[n], dw[n] = {0}, w[n];
    check_begin(c, "conv_bwd %s: slopes at the ends", ops->isa);
    for (int i = 0; i < n; i++)
        G[i] = w[i] = 1;
    const mbk_conv_bwd one = {.L = 1, .E = n, .K = 1, .silu = 1, .x = v, .w = w, .G = G, .dx = dx, .dw = dw};
    check_true(c, ops->conv_bwd(NULL, &one) == MB_OK, "succeeds");
    for (int i = 0; i < n; i++)
        check_true(c, fabsf(dx[i] - want[i]) < 1e-36f, "SiLU's slope at the ends");
    problem p = make_problem(c, L, 5, K, 1);
    p.args.after = p.args.reverse = p.args.accumulate = 0, p.args.silu = 1;
    point_at_piece(&p);
    p.x.at[6 * p.x.ld + 2] = NAN; /* c of rows 6..9, dx of rows 3..9 */
    const result r = run_conv(c, ops->conv_bwd, &p);
    for (int t = 0; t < L; t++)
        for (int e = 0; e < 5; e++)
            check_true(c, (isnan(r.dx.at[t * r.dx.ld + e]) != 0) == (e == 2 && t >= 3 && t <= 9),
                       "NaN goes where c goes");
    check_end(c);
    check_release(c);
}

static void laws(check *c, const mbk_ops *ops) {
    for (int K = 1; K <= MBK_CONV_MAX_K; K += K < 6 ? 1 : 5) {
        pieces(c, ops, 41, 37, K);
        pieces(c, ops, 6, 3, K);
        reversed(c, ops, 19, 21, K);
        ranges(c, ops, 9, 100, K);
        ranges(c, ops, 23, 300, K);
    }
    extremes(c, ops);
}

static void cases(check *c) {
    static const int lengths[] = {1, 2, 3, 4, 5, 8, 31, 67}, widths[] = {1, 7, 8, 15, 16, 17, 33, 100, 259};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    for (int v = 0; v < n; v++) {
        for (int K = 1; K <= MBK_CONV_MAX_K; K++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
                for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
                    const problem p = make_problem(c, lengths[i], widths[j], K, i % 3 ? 1 : 30);
                    compare(c, ops[v], &p);
                }
        const problem p = make_problem(c, 1500, 18, 4, 1);
        compare(c, ops[v], &p);
        laws(c, ops[v]);
    }
    laws(c, mbk_ops_ref());
    for (int K = 1; K <= MBK_CONV_MAX_K; K += 3)
        for (int k = 0; k < 4; k++)
            differences(c, 1 + check_pick(c, 60), 1 + check_pick(c, 40), K);
}

typedef struct job {
    mbk_conv_bwd_fn *op;
    mbk_conv_bwd args;
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
        for (int k = 0; k < 3; k++) {
            char what[64];
            job jobs[64];
            void *args[64];
            snprintf(what, sizeof what, "conv_bwd SiLU L=128 E=512 K=%d", widths[k]);
            for (int t = 0; t < c->threads && t < 64; t++) {
                problem p = make_problem(c, L, E, widths[k], 1);
                const result r = outputs(c, &p);
                jobs[t] = (job){ops[v]->conv_bwd, p.args};
                jobs[t].args.silu = 1, jobs[t].args.b = p.b.at, jobs[t].args.accumulate = 0;
                jobs[t].args.dx = r.dx.at, jobs[t].args.lddx = r.dx.ld;
                jobs[t].args.dw = r.dw.at, jobs[t].args.lddw = r.dw.ld, jobs[t].args.db = r.db.at;
                args[t] = &jobs[t];
            }
            check_bench(c, ops[v]->isa, what, "elements", run, args, (double)L * E, 0, 12);
            check_release(c);
        }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_conv1d_bwd", cases, bench);
}
