/* Cross-entropy: variants against the reference over sizes, options, the alias that the contract allows; the reference
 * against differences of its own loss; ignored rows, equal, huge, infinite and NaN logits; refused targets. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"

enum { MAX_L = 64, IGNORE = -100 };
static const double loss_guard = 12345;
static const uint8_t hit_guard = 77;

typedef struct problem {
    mbk_xent args; /* without loss, grad and hit */
    int in_place, no_loss, no_grad, no_hit;
    check_array x, weight;
    int32_t target[MAX_L];
} problem;

typedef struct result {
    check_array grad;
    double loss[MAX_L + 2]; /* guards around */
    uint8_t hit[MAX_L + 2];
} result;

static problem make_problem(check *c, int L, int V, float size) {
    problem p = {.args = {.L = L, .V = V, .ignore = IGNORE, .scale = check_between(c, -2, 2)}};
    p.in_place = check_pick(c, 2);
    p.no_loss = !check_pick(c, 5), p.no_grad = !check_pick(c, 5), p.no_hit = !check_pick(c, 5);
    p.x = check_input(c, L, V, -size, size);
    p.weight = check_input(c, 1, L, 0, 3);
    p.args.weight = check_pick(c, 2) ? p.weight.at : NULL;
    for (int t = 0; t < L; t++) {
        p.target[t] = check_pick(c, V);
        for (int v = 0; v < V && check_pick(c, 2); v++) /* a row that knows its target */
            if (p.x.at[t * p.x.ld + v] > p.x.at[t * p.x.ld + p.target[t]])
                p.target[t] = v;
        if (!check_pick(c, 6)) {
            p.target[t] = IGNORE;
            p.x.at[t * p.x.ld + check_pick(c, V)] = NAN;
        }
    }
    return p;
}

static void begin(check *c, const char *what, const char *isa, const problem *p) {
    check_begin(c, "xent %s %s L=%d V=%d weight=%d in_place=%d no loss=%d grad=%d hit=%d", what, isa, p->args.L,
                p->args.V, p->args.weight != NULL, p->in_place, p->no_loss, p->no_grad, p->no_hit);
}

/* Runs op on copies, so that aliases destroy nothing. */
static result run_xent(check *c, mbk_xent_fn *op, const problem *p) {
    result r;
    check_array x = check_copy(c, &p->x);
    mbk_xent args = p->args;
    for (int i = 0; i < MAX_L + 2; i++)
        r.loss[i] = loss_guard, r.hit[i] = hit_guard;
    r.grad = p->in_place ? x : check_output(c, p->args.L, p->args.V);
    args.logits = p->in_place ? x.at : p->x.at, args.ld = p->x.ld;
    args.target = p->target;
    args.loss = p->no_loss ? NULL : r.loss + 1;
    args.hit = p->no_hit ? NULL : r.hit + 1;
    args.grad = p->no_grad ? NULL : r.grad.at, args.ldgrad = r.grad.ld;
    check_true(c, op(NULL, &args) == MB_OK, "succeeds");
    check_true(c, r.loss[0] == loss_guard && r.loss[args.L + 1] == loss_guard, "losses within their shape");
    check_true(c, r.hit[0] == hit_guard && r.hit[args.L + 1] == hit_guard, "hits within their shape");
    return r;
}

/* exp(d) errs by the rounding of d and some of its own; sums over V terms in float by some sqrt(V)/4 roundings. */
static void row_magnitudes(const problem *p, int t, double *loss, double *grad) {
    const float *x = p->x.at + t * p->x.ld;
    const int V = p->args.V, target = p->target[t];
    const double weight = p->args.weight ? p->args.weight[t] : 1, k = fabs(p->args.scale * weight);
    double top = -INFINITY, total = 0, others = 0, slip = 0, others_slip = 0;
    if (target == IGNORE)
        return;
    for (int v = 0; v < V; v++)
        top = fmax(top, x[v]);
    for (int v = 0; v < V; v++) {
        const double e = exp(x[v] - top), error = e * (6 + sqrt(V) / 4 + top - x[v]) + 2 * FLT_MIN;
        total += e, slip += error;
        others += v == target ? 0 : e, others_slip += v == target ? 0 : error;
    }
    for (int v = 0; v < V; v++) {
        const double e = exp(x[v] - top), error = e * (6 + top - x[v]) + 2 * FLT_MIN;
        grad[v] =
            k * (v == target ? others_slip + others * (3 + slip / total) : error + e * (3 + slip / total)) / total;
        grad[v] += 2 * FLT_MIN;
    }
    const double value = top - x[target] + log1p((total - 1 > 0 ? total - 1 : 0));
    *loss = weight * ((x[target] == top ? others_slip : slip) / total + fabs(value)) + FLT_MIN;
}

static void compare_losses(check *c, const problem *p, const result *got, const result *want, const double *magnitude) {
    check_array g = check_output(c, 1, p->args.L), w = check_output(c, 1, p->args.L);
    for (int t = 0; t < p->args.L; t++) /* as differences, so that nothing of the doubles is lost */
        g.at[t] = (float)(got->loss[t + 1] - want->loss[t + 1]), w.at[t] = 0;
    check_close(c, "loss", &g, &w, magnitude, 1);
}

static void compare(check *c, const mbk_ops *ops, const problem *p) {
    const int L = p->args.L, V = p->args.V;
    double *loss = check_magnitudes(c, 1, L), *grad = check_magnitudes(c, L, V);
    begin(c, "", ops->isa, p);
    const result want = run_xent(c, mbk_xent_ref, p), got = run_xent(c, ops->xent, p);
    for (int t = 0; t < L; t++) {
        row_magnitudes(p, t, loss + t, grad + (ptrdiff_t)t * V);
        check_true(c, got.hit[t + 1] == want.hit[t + 1], "hit");
    }
    if (!p->no_loss)
        compare_losses(c, p, &got, &want, loss);
    if (!p->no_grad)
        check_close(c, "grad", &got.grad, &want.grad, grad, 1);
    check_end(c);
    check_release(c);
}

/* (loss(x + h) - loss(x - h)) = 2 h grad + O(h^3), of the whole sum of losses. */
static void differences(check *c, int L, int V) {
    problem p = make_problem(c, L, V, 3);
    p.args.scale = 1, p.in_place = p.no_loss = p.no_grad = 0;
    begin(c, "against differences", "ref", &p);
    const result r = run_xent(c, mbk_xent_ref, &p);
    problem up = p, down = p;
    up.x = check_copy(c, &p.x), down.x = check_copy(c, &p.x);
    double found = 0, size = 0, moved = 0;
    for (int t = 0; t < L; t++)
        for (int v = 0; v < V; v++) {
            float *u = up.x.at + t * p.x.ld + v, *d = down.x.at + t * p.x.ld + v;
            const float h = check_between(c, -0x1p-7f, 0x1p-7f);
            *u += h, *d -= h;
            const double part = isnan(*u) ? 0 : r.grad.at[t * r.grad.ld + v] * ((double)*u - *d);
            found += part, size += fabs(part);
        }
    const result a = run_xent(c, mbk_xent_ref, &up), b = run_xent(c, mbk_xent_ref, &down);
    for (int t = 0; t < L; t++)
        moved += a.loss[t + 1] - b.loss[t + 1];
    found += c->sabotage ? 0.05 * size : 0;
    check_true(c, fabs(moved - found) <= 1e-3 * size + 1e-12, "the gradient is that of the loss");
    check_true(c, size == 0 || fabs(moved - found - 0.05 * size) > 1e-3 * size, "a planted fault of 5 % is caught");
    check_end(c);
    check_release(c);
}

/* ---- rows whose result is known --------------------------------------------------------------------------------- */
typedef struct known {
    float x[3];
    int target;
    double loss;
    float grad[3];
    int hit;
} known;

static int alike(double got, double want) {
    return isnan(want) ? isnan(got) : isinf(want) ? got == want : fabs(got - want) <= 1e-6 * fabs(want);
}

static void rows_known(check *c, const mbk_ops *ops) {
    static const known rows[] = {
        {{FLT_MAX, -FLT_MAX, 0}, 0, 0, {0, 0, 0}, 1},
        {{-FLT_MAX, -FLT_MAX, -FLT_MAX}, 0, 1.0986122887, {-2 / 3.0f, 1 / 3.0f, 1 / 3.0f}, 1}, /* ln 3 */
        {{-FLT_MAX, -FLT_MAX, -FLT_MAX}, 1, 1.0986122887, {1 / 3.0f, -2 / 3.0f, 1 / 3.0f}, 0},
        {{1e30f, 0, -1e30f}, 2, 2 * (double)1e30f, {1, 0, -1}, 0},
        {{40, 0, -INFINITY}, 0, 4.24835426e-18, {-4.24835426e-18f, 4.24835426e-18f, 0}, 1}, /* e^-40 */
        {{0, 0, -INFINITY}, 2, INFINITY, {0.5f, 0.5f, -1}, 0},
        {{INFINITY, 0, 0}, 0, NAN, {NAN, NAN, NAN}, 0},
        {{0, NAN, 1}, 2, NAN, {NAN, NAN, NAN}, 0},
        {{NAN, 0, 1}, 0, NAN, {NAN, NAN, NAN}, 0},
        {{-INFINITY, -INFINITY, -INFINITY}, 0, NAN, {NAN, NAN, NAN}, 0},
        {{NAN, INFINITY, -INFINITY}, IGNORE, 0, {0, 0, 0}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const known *k = &rows[i];
        float grad[3];
        double loss = -1;
        uint8_t hit = hit_guard;
        const int32_t target = k->target;
        const mbk_xent args = {.L = 1,
                               .V = 3,
                               .ignore = IGNORE,
                               .scale = 1,
                               .logits = k->x,
                               .ld = 3,
                               .target = &target,
                               .loss = &loss,
                               .grad = grad,
                               .ldgrad = 3,
                               .hit = &hit};
        check_begin(c, "xent %s known row %zu", ops->isa, i);
        check_true(c, ops->xent(NULL, &args) == MB_OK, "succeeds");
        check_true(c, alike(loss, k->loss), "loss");
        check_true(c, hit == k->hit, "hit");
        for (int v = 0; v < 3; v++)
            check_true(c, alike(grad[v], k->grad[v]), "gradient");
        check_end(c);
    }
}

/* One row has the bits that it has among others, and a vocabulary of 1 has nothing to learn. */
static void rows_alone(check *c, const mbk_ops *ops, int V) {
    problem p = make_problem(c, 7, V, 4);
    p.no_loss = p.no_grad = p.no_hit = 0;
    begin(c, "rows one by one", ops->isa, &p);
    const result whole = run_xent(c, ops->xent, &p);
    for (int t = 0; t < 7; t++) {
        problem one = p;
        one.args.L = one.x.rows = 1;
        one.x.at += t * p.x.ld;
        one.target[0] = p.target[t];
        if (p.args.weight)
            one.args.weight = p.args.weight + t;
        const result r = run_xent(c, ops->xent, &one);
        check_array row = whole.grad;
        row.at += t * row.ld, row.rows = 1, row.start = NULL;
        check_same(c, "grad", &r.grad, &row);
        check_true(c, r.loss[1] == whole.loss[t + 1] && r.hit[1] == whole.hit[t + 1], "loss and hit");
        for (int v = 0; v < V && V == 1; v++)
            check_true(c, row.at[v] == 0 && r.loss[1] == 0, "V = 1: loss and gradient 0");
    }
    check_end(c);
    check_release(c);
}

static void refuse(check *c, const mbk_ops *ops, int32_t bad) {
    problem p = make_problem(c, 5, 9, 1);
    check_begin(c, "xent %s refuses target %d of 9", ops->isa, (int)bad);
    float grad[45];
    double loss[5];
    uint8_t hit[5];
    mbk_xent args = p.args;
    p.target[check_pick(c, 5)] = bad;
    for (int i = 0; i < 45; i++)
        grad[i] = 5;
    for (int i = 0; i < 5; i++)
        loss[i] = 5, hit[i] = 5;
    args.logits = p.x.at, args.ld = p.x.ld, args.target = p.target;
    args.loss = loss, args.grad = grad, args.ldgrad = 9, args.hit = hit;
    check_true(c, ops->xent(NULL, &args) == MB_RANGE, "MB_RANGE");
    for (int i = 0; i < 45; i++)
        check_true(c, grad[i] == 5 && loss[i % 5] == 5 && hit[i % 5] == 5, "nothing written");
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int lengths[] = {1, 3, 33}, widths[] = {1, 2, 7, 12, 15, 16, 17, 31, 64, 65, 100, 130, 259, 1031};
    static const float sizes[] = {1, 1e-3f, 30, 300, 1e30f};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    for (int v = 0; v < n; v++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
                for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                    const problem p = make_problem(c, lengths[i], widths[j], sizes[k]);
                    compare(c, ops[v], &p);
                }
        const problem p = make_problem(c, 3, 50280, 8);
        compare(c, ops[v], &p);
        rows_known(c, ops[v]);
        rows_alone(c, ops[v], 1);
        rows_alone(c, ops[v], 37);
        refuse(c, ops[v], -1);
        refuse(c, ops[v], 9);
        refuse(c, ops[v], INT32_MIN);
        refuse(c, ops[v], INT32_MAX);
    }
    rows_known(c, mbk_ops_ref());
    rows_alone(c, mbk_ops_ref(), 1);
    refuse(c, mbk_ops_ref(), 9);
    for (int k = 0; k < 20; k++)
        differences(c, 1 + check_pick(c, 20), 1 + check_pick(c, 60));
}

typedef struct job {
    mbk_xent_fn *op;
    mbk_xent args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->op(NULL, &j->args);
}

static void bench(check *c) {
    static const int shapes[][2] = {{64, 16}, {32, 2048}, {2, 50280}};
    static double loss[64][64];
    static problem p[64];
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++)
        for (int k = 0; k < 3; k++) {
            const int L = shapes[k][0], V = shapes[k][1];
            char what[64];
            job jobs[64];
            void *args[64];
            snprintf(what, sizeof what, "xent L=%d V=%d", L, V);
            for (int t = 0; t < c->threads && t < 64; t++) {
                p[t] = make_problem(c, L, V, 8);
                for (int i = 0; i < L; i++)
                    p[t].target[i] = i % V;
                jobs[t] = (job){ops[v]->xent, p[t].args};
                jobs[t].args.logits = p[t].x.at, jobs[t].args.ld = V, jobs[t].args.target = p[t].target;
                jobs[t].args.loss = loss[t];
                jobs[t].args.grad = check_output(c, L, V).at, jobs[t].args.ldgrad = V;
                args[t] = &jobs[t];
            }
            check_bench(c, ops[v]->isa, what, "logits", run, args, (double)L * V, 0, 8);
            check_release(c);
        }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_xent", cases, bench);
}
