/* Gradients of RMSNorm and LayerNorm: variants against the reference over kinds, options and the aliases that the
 * contract allows; the reference against directional differences of the forward reference; rows far from 1, NaN. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/check.h"

typedef struct problem {
    int L, D;
    mbk_norm_kind kind;
    float eps;
    int add, bias;
    enum { DX_APART, DX_G, DX_ADD } dx;
    check_array x, w, G, dx_add, dw, db; /* of the last two: what is there before */
} problem;

typedef struct result {
    check_array dx, dw, db;
} result;

static problem make_problem(check *c, int L, int D, float size) {
    problem p = {.L = L, .D = D, .eps = 1e-5f};
    p.kind = check_pick(c, 2) ? MBK_NORM_LAYER : MBK_NORM_RMS;
    if (size < 1e-20f && D > 1 && check_pick(c, 2)) /* a row of one has no variance */
        p.eps = 0;
    p.add = check_pick(c, 2);
    p.bias = check_pick(c, 2);
    p.dx = check_pick(c, p.add ? 3 : 2);
    p.x = check_input(c, L, D, -size, check_pick(c, 2) ? size : 3 * size);
    p.w = check_input(c, 1, D, -1, 2);
    p.G = check_input(c, L, D, -1, 1);
    p.dx_add = check_input(c, L, D, -1, 1);
    p.dw = check_input(c, 1, D, -1, 1);
    p.db = check_input(c, 1, D, -1, 1);
    return p;
}

static void begin(check *c, const char *what, const char *isa, const problem *p) {
    check_begin(c, "norm_bwd %s %s %s L=%d D=%d add=%d bias=%d dx=%d", what, isa,
                p->kind == MBK_NORM_RMS ? "RMS" : "Layer", p->L, p->D, p->add, p->bias, (int)p->dx);
}

/* Runs op on copies, so that aliases destroy nothing. */
static result run_norm(check *c, mbk_norm_bwd_fn *op, const problem *p) {
    check_array G = check_copy(c, &p->G), add = check_copy(c, &p->dx_add);
    result r = {.dw = check_copy(c, &p->dw), .db = check_copy(c, &p->db)};
    r.dx = p->dx == DX_G ? G : p->dx == DX_ADD ? add : check_output(c, p->L, p->D);
    const mbk_norm_bwd args = {.L = p->L,
                               .D = p->D,
                               .kind = p->kind,
                               .eps = p->eps,
                               .x = p->x.at,
                               .w = p->w.at,
                               .G = G.at,
                               .dx_add = p->add ? add.at : NULL,
                               .dx = r.dx.at,
                               .dw = r.dw.at,
                               .db = p->bias ? r.db.at : NULL};
    check_true(c, op(NULL, &args) == MB_OK, "succeeds");
    return r;
}

typedef struct magnitudes {
    double *dx, *dw, *db;
} magnitudes;

/* Sums over D terms in float err by some sqrt(D)/4 roundings of the sum of magnitudes; r by half of that, and more in a
 * row of nearly equal values, whose mean cancels. */
static void row_magnitudes(const problem *p, int t, double steps, const magnitudes *m) {
    const float *x = p->x.at + (ptrdiff_t)t * p->D, *G = p->G.at + (ptrdiff_t)t * p->D;
    const int layer = p->kind == MBK_NORM_LAYER;
    double mean = 0, size = 0, square = 0, g_mean = 0, g_xhat = 0;
    for (int i = 0; i < p->D && layer; i++)
        mean += (double)x[i] / p->D, size += fabs((double)x[i]) / p->D;
    for (int i = 0; i < p->D; i++)
        square += (x[i] - mean) * (x[i] - mean) / p->D;
    const double r = 1 / sqrt(square + p->eps), slip = steps * size * r; /* error of the mean, seen in xhat */
    for (int i = 0; i < p->D; i++) {
        const double g = fabs((double)p->w.at[i] * G[i]);
        g_mean += layer ? g / p->D : 0;
        g_xhat += g * (fabs(x[i] - mean) * r + slip * FLT_EPSILON) / p->D;
    }
    for (int i = 0; i < p->D; i++) {
        const double xhat = fabs(x[i] - mean) * r, g = fabs((double)p->w.at[i] * G[i]);
        const double xhat_error = (steps + 3) * xhat + fabs(mean) * r + slip * (1 + xhat * (1 + FLT_EPSILON * slip));
        m->dx[(ptrdiff_t)t * p->D + i] =
            r * ((3 + steps + slip) * (g + g_mean + xhat * g_xhat) + xhat_error * g_xhat + slip * g_mean * xhat) +
            (p->add ? fabs((double)p->dx_add.at[(ptrdiff_t)t * p->D + i]) : 0) + FLT_MIN;
        m->dw[i] += fabs((double)G[i]) * (xhat_error + (2 + sqrt(p->L)) * xhat);
        m->db[i] += fabs((double)G[i]) * (2 + sqrt(p->L));
    }
}
static magnitudes make_magnitudes(check *c, const problem *p) {
    magnitudes m = {check_magnitudes(c, p->L, p->D), check_magnitudes(c, 1, p->D), check_magnitudes(c, 1, p->D)};
    for (int i = 0; i < p->D; i++)
        m.dw[i] = fabsf(p->dw.at[i]) * (2 + sqrt(p->L)), m.db[i] = fabsf(p->db.at[i]) * (2 + sqrt(p->L));
    for (int t = 0; t < p->L; t++)
        row_magnitudes(p, t, 4 + sqrt(p->D) / 4, &m);
    return m;
}

static void compare(check *c, const mbk_ops *ops, int L, int D, float size) {
    const problem p = make_problem(c, L, D, size);
    begin(c, "", ops->isa, &p);
    const magnitudes m = make_magnitudes(c, &p);
    const result want = run_norm(c, mbk_norm_bwd_ref, &p), got = run_norm(c, ops->norm_bwd, &p);
    check_close(c, "dx", &got.dx, &want.dx, m.dx, 2);
    check_close(c, "dw", &got.dw, &want.dw, m.dw, 2);
    if (p.bias)
        check_close(c, "db", &got.db, &want.db, m.db, 1);
    else
        check_same(c, "db", &got.db, &p.db);
    check_end(c);
    check_release(c);
}

/* A row alone has the dx that it has among others. */
static void rows_alone(check *c, const mbk_ops *ops, int D) {
    enum { L = 5 };
    problem p = make_problem(c, L, D, 1);
    begin(c, "rows one by one", ops->isa, &p);
    const result whole = run_norm(c, ops->norm_bwd, &p);
    for (int t = 0; t < L; t++) {
        problem one = p;
        one.L = one.x.rows = one.G.rows = one.dx_add.rows = 1;
        one.x.at += t * p.x.ld, one.G.at += t * p.G.ld, one.dx_add.at += t * p.dx_add.ld;
        const result r = run_norm(c, ops->norm_bwd, &one);
        check_array row = whole.dx;
        row.at += t * row.ld, row.rows = 1, row.start = NULL;
        check_same(c, "row", &r.dx, &row);
    }
    check_end(c);
    check_release(c);
}

static void not_a_number(check *c, const mbk_ops *ops) {
    enum { L = 3, D = 40 };
    problem p = make_problem(c, L, D, 1);
    begin(c, "NaN stays in its row", ops->isa, &p);
    p.x.at[p.x.ld + 3] = NAN;
    const result r = run_norm(c, ops->norm_bwd, &p);
    for (int i = 0; i < D; i++) {
        check_true(c, isfinite(r.dx.at[i]) && isfinite(r.dx.at[2 * r.dx.ld + i]), "rows without NaN are finite");
        check_true(c, isnan(r.dx.at[r.dx.ld + i]) && isnan(r.dw.at[i]), "all of the row with NaN is NaN");
        check_true(c, isfinite(r.db.at[i]), "db knows nothing of x");
    }
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
    check_array y = check_output(c, p->L, p->D);
    const mbk_norm args = {.L = p->L,
                           .D = p->D,
                           .kind = p->kind,
                           .eps = p->eps,
                           .x = x->at,
                           .w = w->at,
                           .b = p->bias ? b->at : NULL,
                           .y = y.at};
    double sum = 0;
    check_true(c, mbk_norm_fwd_ref(NULL, &args) == MB_OK, "the forward reference succeeds");
    for (int i = 0; i < p->L * p->D; i++)
        sum += (double)p->G.at[i] * y.at[i];
    return sum;
}

/* (loss(z + h) - loss(z - h)) = 2 h dloss/dz + O(h^3), all of x, w and b moved at once. */
static void differences(check *c, int L, int D) {
    problem p = make_problem(c, L, D, 1);
    p.add = 0, p.dx = DX_APART;
    begin(c, "against differences", "ref", &p);
    memset(p.dw.at, 0, (size_t)D * sizeof(float));
    memset(p.db.at, 0, (size_t)D * sizeof(float));
    const result r = run_norm(c, mbk_norm_bwd_ref, &p);
    check_array x[2] = {check_copy(c, &p.x), check_copy(c, &p.x)}, w[2] = {check_copy(c, &p.w), check_copy(c, &p.w)},
                b[2] = {check_copy(c, &p.db), check_copy(c, &p.db)};
    const double parts[3] = {move(c, &p.x, &x[0], &x[1], &r.dx), move(c, &p.w, &w[0], &w[1], &r.dw),
                             p.bias ? move(c, &p.db, &b[0], &b[1], &r.db) : 0};
    const double moved = loss(c, &p, &x[0], &w[0], &b[0]) - loss(c, &p, &x[1], &w[1], &b[1]);
    const double size = fabs(parts[0]) + fabs(parts[1]) + fabs(parts[2]);
    const double found = parts[0] + parts[1] + parts[2] + (c->sabotage ? 0.05 * size : 0);
    check_true(c, fabs(moved - found) < 2e-3 * size, "the gradient is that of the forward reference");
    check_true(c, fabs(moved - found - 0.05 * size) >= 2e-3 * size, "a planted fault of 5 % is caught");
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int lengths[] = {1, 3, 16},
                     widths[] = {1, 2, 7, 8, 15, 16, 17, 31, 48, 64, 65, 100, 256, 768, 1000, 4099};
    static const float sizes[] = {1e-3f, 1e-30f, 1e4f, 1e18f, 1e25f, 1e37f};
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
        compare(c, ops[v], 700, 33, 1);
        rows_alone(c, ops[v], 16);
        rows_alone(c, ops[v], 203);
        not_a_number(c, ops[v]);
    }
    not_a_number(c, mbk_ops_ref());
    for (int k = 0; k < 20; k++)
        differences(c, 1 + check_pick(c, 20), 20 + check_pick(c, 100));
}

typedef struct job {
    const mbk_ops *ops;
    mbk_norm_bwd args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->ops->norm_bwd(NULL, &j->args);
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
            const problem p = make_problem(c, L, D, 1);
            jobs[t] = (job){ops[v / 2],
                            {.L = L,
                             .D = D,
                             .kind = v & 1 ? MBK_NORM_LAYER : MBK_NORM_RMS,
                             .eps = p.eps,
                             .x = p.x.at,
                             .w = p.w.at,
                             .G = p.G.at,
                             .dx_add = p.dx_add.at,
                             .dx = check_output(c, L, D).at,
                             .dw = check_copy(c, &p.dw).at,
                             .db = v & 1 ? check_copy(c, &p.db).at : NULL}};
            args[t] = &jobs[t];
        }
        check_bench(c, ops[v / 2]->isa, v & 1 ? "norm_bwd Layer L=128 D=256" : "norm_bwd RMS L=128 D=256", "elements",
                    run, args, (double)L * D, 0, 16);
        check_release(c);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_norm_bwd", cases, bench);
}
