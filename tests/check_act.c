/* Bias and activation: variants against the reference over sizes and the aliases that the contract allows; the
 * reference against differences of formulas written here; far from 0; NaN; a row alone has the bits it has among
 * others. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/check.h"

static const char *const names[] = {"NONE", "GELU", "RELU", "SILU"};

typedef struct problem {
    int L, D, bias, in_place;
    mbk_act_kind kind;
    check_array x, b, G;
} problem;

static problem make_problem(check *c, mbk_act_kind kind, int L, int D, float size) {
    problem p = {.L = L, .D = D, .kind = kind, .bias = check_pick(c, 2), .in_place = check_pick(c, 3)};
    p.x = check_input(c, L, D, -size, size);
    p.b = check_input(c, 1, D, -size / 4, size / 4);
    p.G = check_input(c, L, D, -1, 1);
    return p;
}

static check_array run_forward(check *c, mbk_act_fn *op, const problem *p) {
    check_array x = check_copy(c, &p->x), y = p->in_place ? x : check_output(c, p->L, p->D);
    const mbk_act a = {.L = p->L, .D = p->D, .kind = p->kind, .x = x.at, .b = p->bias ? p->b.at : NULL, .y = y.at};
    check_true(c, op(NULL, &a) == MB_OK, "succeeds");
    return y;
}

typedef struct result {
    check_array dx, db;
} result;

/* in_place 1: dx is x; 2: dx is G. */
static result run_backward(check *c, mbk_act_bwd_fn *op, const problem *p) {
    check_array x = check_copy(c, &p->x), G = check_copy(c, &p->G);
    const result r = {p->in_place == 1 ? x : p->in_place == 2 ? G : check_output(c, p->L, p->D), check_copy(c, &p->b)};
    const mbk_act_bwd a = {.L = p->L,
                           .D = p->D,
                           .kind = p->kind,
                           .x = x.at,
                           .b = p->bias ? p->b.at : NULL,
                           .G = G.at,
                           .dx = r.dx.at,
                           .db = r.db.at};
    check_true(c, op(NULL, &a) == MB_OK, "succeeds");
    return r;
}

/* a = x + b, and how large its terms are: the rounding of the sum is part of the error. */
static double argument(const problem *p, int t, int i, double *size) {
    const double x = p->x.at[t * p->x.ld + i], b = p->bias ? (double)p->b.at[i] : 0;
    *size = fabs(x) + fabs(b);
    return x + b;
}

/* Bounds of the size of act(a) and of its slope, with what an error of a by a rounding moves them. */
static void sizes_of(mbk_act_kind kind, double a, double terms, double *value, double *slope) {
    const double phi = exp(-a * a / 2) * 0.3989422804, tail = 0.5 * erfc(-a * 0.7071067811865476), more = 1 + a * a;
    const double s = 1 / (1 + exp(-a)), small = 4 * (1 + fabs(a)) * FLT_MIN; /* below, exp errs absolutely */
    switch (kind) {
    case MBK_ACT_GELU: /* below 0 the two terms of the fast form are one; above, the first is rounded */
        *value = fabs(a) * tail * more + terms * (tail + fabs(a) * phi) + small;
        *slope = (tail + fabs(a) * phi) * more + terms * phi * (2 + a * a) + small;
        break;
    case MBK_ACT_SILU:
        *value = fabs(a) * s * (1 + fabs(a)) + terms + FLT_MIN;
        *slope = s * (1 + fabs(a)) + terms + FLT_MIN * (4 + fabs(a));
        break;
    default:
        *value = terms + FLT_MIN;
        *slope = 1;
        break;
    }
}

static void compare(check *c, const mbk_ops *ops, mbk_act_kind kind, int L, int D, float size) {
    problem p = make_problem(c, kind, L, D, size);
    double *y = check_magnitudes(c, L, D), *dx = check_magnitudes(c, L, D), *db = check_magnitudes(c, 1, D);
    check_begin(c, "act %s %s L=%d D=%d size=%g bias=%d in_place=%d", names[kind], ops->isa, L, D, (double)size, p.bias,
                p.in_place);
    const check_array want = run_forward(c, mbk_act_fwd_ref, &p), got = run_forward(c, ops->act_fwd, &p);
    const result expected = run_backward(c, mbk_act_bwd_ref, &p), found = run_backward(c, ops->act_bwd, &p);
    for (int i = 0; i < D; i++) {
        db[i] = fabs((double)p.b.at[i]);
        for (int t = 0; t < L; t++) {
            double terms, slope;
            const double a = argument(&p, t, i, &terms), G = fabs((double)p.G.at[t * p.G.ld + i]);
            sizes_of(kind, a, terms, &y[t * D + i], &slope);
            dx[t * D + i] = G * slope + FLT_MIN;
            db[i] += dx[t * D + i] * (1 + (double)L / 8); /* a chain of L additions */
        }
    }
    check_close(c, "y", &got, &want, y, 6);
    check_close(c, "dx", &found.dx, &expected.dx, dx, 6);
    check_close(c, "db", &found.db, &expected.db, db, 6);
    check_end(c);
    check_release(c);
}

static double formula(mbk_act_kind kind, double a) {
    return kind == MBK_ACT_GELU   ? a * (0.5 + 0.5 * erf(a / sqrt(2.0)))
           : kind == MBK_ACT_RELU ? fmax(a, 0)
           : kind == MBK_ACT_SILU ? a - a / (1 + exp(a))
                                  : a;
}

/* d(sum G act(x + b)) along a direction in x and b, against differences of the formula. */
static void differences(check *c, mbk_act_kind kind, int L, int D) {
    problem p = make_problem(c, kind, L, D, 4);
    p.in_place = 0;
    p.bias = 1;
    check_begin(c, "act %s against differences L=%d D=%d", names[kind], L, D);
    const check_array y = run_forward(c, mbk_act_fwd_ref, &p);
    const result r = run_backward(c, mbk_act_bwd_ref, &p);
    double moved = 0, slope = 0, size = 0;
    for (int i = 0; i < D; i++) {
        const double hb = check_between(c, -0x1p-12f, 0x1p-12f), db = r.db.at[i] - p.b.at[i];
        slope += 2 * hb * db;
        size += fabs(2 * hb * db);
        for (int t = 0; t < L; t++) {
            const double a = (double)p.x.at[t * p.x.ld + i] + p.b.at[i], G = p.G.at[t * p.G.ld + i];
            const double hx = kind == MBK_ACT_RELU && fabs(a) < 0x1p-10 ? -hb : check_between(c, -0x1p-12f, 0x1p-12f);
            moved += G * (formula(kind, a + hx + hb) - formula(kind, a - hx - hb));
            slope += 2 * hx * r.dx.at[t * r.dx.ld + i];
            size += fabs(2 * hx * (double)r.dx.at[t * r.dx.ld + i]);
            check_true(c, fabs(y.at[t * y.ld + i] - formula(kind, a)) <= 1e-6 * (1 + fabs(a)), "the formula's value");
        }
    }
    slope += c->sabotage ? 0.05 * size : 0;
    check_true(c, fabs(moved - slope) < 1e-4 * size + 1e-9, "the gradient is that of the activation");
    check_true(c, fabs(moved - slope - 0.05 * size) >= 1e-4 * size, "a planted fault of 5 % is caught");
    check_end(c);
    check_release(c);
}

static void extremes(check *c, const mbk_ops *ops) {
    static const float x[] = {1e4f, 1e15f, -1e4f, -1e15f, -30, 30, 0, NAN};
    enum { n = sizeof x / sizeof *x };
    float one[n], y[n], dx[n];
    for (int kind = MBK_ACT_NONE; kind <= MBK_ACT_SILU; kind++) {
        for (int i = 0; i < n; i++)
            one[i] = 1;
        const mbk_act a = {.L = 1, .D = n, .kind = (mbk_act_kind)kind, .x = x, .y = y};
        const mbk_act_bwd b = {.L = 1, .D = n, .kind = (mbk_act_kind)kind, .x = x, .G = one, .dx = dx};
        check_begin(c, "act %s %s: at the ends", names[kind], ops->isa);
        check_true(c, ops->act_fwd(NULL, &a) == MB_OK && ops->act_bwd(NULL, &b) == MB_OK, "succeeds");
        for (int i = 0; i < n - 1 && kind != MBK_ACT_NONE; i++) {
            check_true(c, fabsf(y[i] - (x[i] > 0 ? x[i] : 0)) <= 1e-10f * fabsf(x[i]), "the line beyond, and 0");
            check_true(c, x[i] == 0 || fabsf(dx[i] - (x[i] > 0)) <= 1e-10f, "the slope at the ends");
        }
        check_true(c, isnan(y[n - 1]) && (kind == MBK_ACT_NONE || isnan(dx[n - 1])), "NaN comes through");
        check_end(c);
    }
}

/* NONE for its sums alone. */
static void sums_alone(check *c, const mbk_ops *ops, int L, int D) {
    const check_array G = check_input(c, L, D, -1, 1);
    check_array db = check_output(c, 1, D);
    double *m = check_magnitudes(c, 1, D);
    check_array want = check_output(c, 1, D);
    check_begin(c, "act %s: column sums L=%d D=%d", ops->isa, L, D);
    for (int i = 0; i < D; i++) {
        double sum = 2;
        for (int t = 0; t < L; t++)
            sum += G.at[t * G.ld + i];
        db.at[i] = 2;
        want.at[i] = (float)sum;
        m[i] = 2 + L;
    }
    const mbk_act_bwd a = {.L = L, .D = D, .kind = MBK_ACT_NONE, .G = G.at, .db = db.at};
    check_true(c, ops->act_bwd(NULL, &a) == MB_OK, "succeeds");
    check_close(c, "db", &db, &want, m, 4);
    check_end(c);
    check_release(c);
}

static void rows_alone(check *c, const mbk_ops *ops, mbk_act_kind kind, int D) {
    problem p = make_problem(c, kind, 5, D, 3);
    p.in_place = 0;
    check_begin(c, "act %s %s rows one by one, D=%d", names[kind], ops->isa, D);
    const check_array whole = run_forward(c, ops->act_fwd, &p);
    for (int t = 0; t < 5; t++) {
        problem one = p;
        one.L = one.x.rows = 1;
        one.x.at += t * p.x.ld;
        const check_array r = run_forward(c, ops->act_fwd, &one);
        check_array row = whole;
        row.at += t * row.ld, row.rows = 1, row.start = NULL;
        check_same(c, "row", &r, &row);
    }
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int lengths[] = {1, 2, 17}, widths[] = {1, 2, 7, 8, 15, 16, 17, 33, 64, 100, 257};
    static const float sizes[] = {1, 6, 14, 1e-3f};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int kind = MBK_ACT_NONE; kind <= MBK_ACT_SILU; kind++) {
        for (int v = 0; v < n; v++) {
            for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
                for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
                    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
                        if (!check_left_out(c, ops[v], 1)) /* some, where the sanitizer makes a device slow */
                            compare(c, ops[v], (mbk_act_kind)kind, lengths[i], widths[j], sizes[k]);
            rows_alone(c, ops[v], (mbk_act_kind)kind, 16);
            rows_alone(c, ops[v], (mbk_act_kind)kind, 203);
        }
        for (int k = 0; k < 10; k++)
            differences(c, (mbk_act_kind)kind, 1 + check_pick(c, 40), 1 + check_pick(c, 40));
    }
    for (int v = 0; v < n; v++) {
        extremes(c, ops[v]);
        sums_alone(c, ops[v], 1 + check_pick(c, 60), 1 + check_pick(c, 60));
        sums_alone(c, ops[v], 2600 + check_pick(c, 60), 1 + check_pick(c, 9)); /* more rows than a device has sums */
        compare(c, ops[v], MBK_ACT_GELU, 1030, 5, 3);
    }
    extremes(c, mbk_ops_ref());
}

typedef struct job {
    const mbk_ops *ops;
    mbk_act args;
    mbk_act_bwd back;
    int backward;
} job;
static void run(void *arg) {
    const job *j = arg;
    if (j->backward)
        j->ops->act_bwd(NULL, &j->back);
    else
        j->ops->act_fwd(NULL, &j->args);
}

static void bench(check *c) {
    enum { L = 128, D = 256 };
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n * 2; v++) {
        job jobs[64];
        void *args[64];
        for (int t = 0; t < c->threads && t < 64; t++) {
            const problem p = make_problem(c, MBK_ACT_GELU, L, D, 3);
            float *y = check_output(c, L, D).at;
            jobs[t] = (job){ops[v / 2],
                            {.L = L, .D = D, .kind = MBK_ACT_GELU, .x = p.x.at, .b = p.b.at, .y = y},
                            {.L = L,
                             .D = D,
                             .kind = MBK_ACT_GELU,
                             .x = p.x.at,
                             .b = p.b.at,
                             .G = p.G.at,
                             .dx = y,
                             .db = check_copy(c, &p.b).at},
                            v % 2};
            args[t] = &jobs[t];
        }
        check_bench(c, ops[v / 2]->isa, v % 2 ? "act_bwd GELU L=128 D=256" : "act_fwd GELU L=128 D=256", "elements",
                    run, args, (double)L * D, 0, v % 2 ? 12 : 8);
        check_release(c);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_act", cases, bench);
}
