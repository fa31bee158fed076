/* RMSNorm and LayerNorm: variants against the reference over kinds, options and the aliases that the contract allows.
 */
#include <math.h>

#include "tests/check.h"

typedef struct problem {
    int L, D;
    mbk_norm_kind kind;
    float eps;
    int add, bias;
    enum { SUM_NONE, SUM_APART, SUM_X, SUM_ADD } sum;
    int y_is_x; /* allowed when there is no sum */
    check_array x, residual, w, b;
} problem;

typedef struct result {
    check_array y, sum;
} result;

/* Runs op on copies, so that aliases destroy nothing. */
static result run_norm(check *c, mbk_norm_fn *op, const problem *p) {
    check_array x = check_copy(c, &p->x), add = check_copy(c, &p->residual);
    result r = {.y = p->y_is_x ? x : check_output(c, p->L, p->D), .sum = {.at = NULL}};
    if (p->sum == SUM_APART)
        r.sum = check_output(c, p->L, p->D);
    else if (p->sum != SUM_NONE)
        r.sum = p->sum == SUM_X ? x : add;
    mbk_norm args = {.L = p->L,
                     .D = p->D,
                     .kind = p->kind,
                     .eps = p->eps,
                     .x = x.at,
                     .add = p->add ? add.at : NULL,
                     .w = p->w.at,
                     .b = p->bias ? p->b.at : NULL,
                     .sum = r.sum.at,
                     .y = r.y.at};
    check_true(c, op(NULL, &args) == MB_OK, "succeeds");
    return r;
}

/* Sums over D terms in float err by some sqrt(D)/4 roundings of the sum of magnitudes; the scale by half of that. */
static void magnitudes(const problem *p, double *m) {
    const double steps = 4 + sqrt(p->D) / 4;
    for (int t = 0; t < p->L; t++, m += p->D) {
        double mean = 0, size = 0, square = 0;
        for (int pass = 0; pass < 3; pass++)
            for (int i = 0; i < p->D; i++) {
                const double s = p->x.at[t * p->x.ld + i] + (p->add ? p->residual.at[t * p->residual.ld + i] : 0.0f);
                if (pass == 0 && p->kind == MBK_NORM_LAYER)
                    mean += s / p->D, size += fabs(s) / p->D;
                else if (pass == 1)
                    square += (s - mean) * (s - mean) / p->D;
                else if (pass == 2) {
                    const double scale = fabsf(p->w.at[i]) / sqrt(square + p->eps);
                    m[i] = scale * (fabs(s) + fabs(mean) + steps * (size + fabs(s - mean))) +
                           (p->bias ? fabsf(p->b.at[i]) : 0) + 1e-30;
                    /* the scale of a row of nearly equal values suffers from the error of the mean */
                    m[i] += scale * fabs(s - mean) * steps * size / sqrt(square + p->eps);
                }
            }
    }
}

static problem make_problem(check *c, int L, int D, float size) {
    problem p = {.L = L, .D = D, .eps = 1e-5f};
    p.kind = check_pick(c, 2) ? MBK_NORM_LAYER : MBK_NORM_RMS;
    p.add = check_pick(c, 2);
    p.bias = check_pick(c, 2);
    p.sum = p.add ? check_pick(c, 4) : check_pick(c, 3);
    p.y_is_x = p.sum == SUM_NONE && check_pick(c, 2);
    p.x = check_input(c, L, D, -size, check_pick(c, 2) ? size : 3 * size);
    p.residual = check_input(c, L, D, -size, size);
    p.w = check_input(c, 1, D, -1, 2);
    p.b = check_input(c, 1, D, -1, 1);
    return p;
}

static void compare(check *c, const mbk_ops *ops, int L, int D, float size) {
    problem p = make_problem(c, L, D, size);
    double *m = check_magnitudes(c, L, D);
    check_begin(c, "norm_fwd %s %s L=%d D=%d size=%g add=%d bias=%d sum=%d y_is_x=%d", ops->isa,
                p.kind == MBK_NORM_RMS ? "RMS" : "Layer", L, D, size, p.add, p.bias, (int)p.sum, p.y_is_x);
    result want = run_norm(c, mbk_norm_fwd_ref, &p), got = run_norm(c, ops->norm_fwd, &p);
    magnitudes(&p, m);
    check_close(c, "y", &got.y, &want.y, m, 2);
    if (p.sum != SUM_NONE)
        check_same(c, "sum", &got.sum, &want.sum);
    check_end(c);
    check_release(c);
}

/* A row alone has the bits that it has among others. */
static void rows_alone(check *c, const mbk_ops *ops, int D) {
    problem p = make_problem(c, 5, D, 1);
    check_begin(c, "norm_fwd %s rows one by one, D=%d", ops->isa, D);
    result whole = run_norm(c, ops->norm_fwd, &p);
    for (int t = 0; t < 5; t++) {
        problem one = p;
        one.L = 1;
        one.x.at += t * p.x.ld, one.residual.at += t * p.residual.ld;
        one.x.rows = one.residual.rows = 1;
        result r = run_norm(c, ops->norm_fwd, &one);
        check_array row = whole.y;
        row.at += t * row.ld, row.rows = 1, row.start = NULL;
        check_same(c, "row", &r.y, &row);
    }
    check_end(c);
    check_release(c);
}

static void not_a_number(check *c, const mbk_ops *ops) {
    problem p = make_problem(c, 2, 40, 1);
    p.x.at[p.x.ld + 3] = NAN;
    check_begin(c, "norm_fwd %s: NaN stays in its row", ops->isa);
    result r = run_norm(c, ops->norm_fwd, &p);
    for (int i = 0; i < 40; i++) {
        check_true(c, isfinite(r.y.at[i]), "the row without NaN is finite");
        check_true(c, isnan(r.y.at[r.y.ld + i]), "all of the row with NaN is NaN");
    }
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int lengths[] = {1, 3, 17},
                     widths[] = {1, 2, 7, 8, 15, 16, 17, 31, 48, 64, 65, 100, 256, 768, 1000, 4099};
    static const float sizes[] = {1, 1e-3f, 1e-30f, 1e4f, 1e25f};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
                for (int k = 0; k < 4; k++)
                    compare(c, ops[v], lengths[i], widths[j], 1);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int k = 0; k < 8; k++)
                compare(c, ops[v], 3, 1 + check_pick(c, 300), sizes[i]);
        rows_alone(c, ops[v], 16);
        rows_alone(c, ops[v], 203);
        not_a_number(c, ops[v]);
    }
}

typedef struct job {
    const mbk_ops *ops;
    mbk_norm args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->ops->norm_fwd(NULL, &j->args);
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
            problem p = make_problem(c, L, D, 1);
            jobs[t] = (job){ops[v / 2],
                            {.L = L,
                             .D = D,
                             .kind = v & 1 ? MBK_NORM_LAYER : MBK_NORM_RMS,
                             .eps = p.eps,
                             .x = p.x.at,
                             .add = p.residual.at,
                             .w = p.w.at,
                             .sum = check_output(c, L, D).at,
                             .y = check_output(c, L, D).at}};
            args[t] = &jobs[t];
        }
        check_bench(c, ops[v / 2]->isa, v & 1 ? "norm_fwd Layer L=128 D=256" : "norm_fwd RMS L=128 D=256", "elements",
                    run, args, (double)L * D, 0, 16);
        check_release(c);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_norm", cases, bench);
}
