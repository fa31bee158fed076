/* AdamW, moving average, sum of squares: variants against the reference over sizes and rates; ranges cut anywhere = the
 * whole, to the bit; small decays, gradients that are passed over, infinities and NaN; the order of sumsq. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"

/* ---- AdamW ------------------------------------------------------------------------------------------------------ */
typedef struct problem {
    mbk_adamw args; /* without w, m and v */
    check_array w, m, v, grad;
} problem;

typedef struct result {
    check_array w, m, v;
} result;

static problem make_problem(check *c, int n, float size) {
    static const float b1[] = {0.9f, 0.95f, 0, 0.8f}, b2[] = {0.999f, 0.95f, 0.99f, 0.98f}, decay[] = {0, 0.01f, 0.1f};
    problem p = {.args = {.n = n, .eps = 1e-8f}};
    const int step = 1 + check_pick(c, 300), k = check_pick(c, 4);
    p.args.b1 = b1[k], p.args.b2 = b2[k];
    p.args.c1 = (float)(1 - pow(b1[k], step)), p.args.c2 = (float)(1 - pow(b2[k], step));
    p.args.lr = powf(10, check_between(c, -5, -2));
    p.args.decay = decay[check_pick(c, 3)];
    p.args.grad_scale = check_pick(c, 2) ? 1 : check_between(c, 0.01f, 2);
    p.w = check_input(c, 1, n, -1, 1);
    p.m = check_input(c, 1, n, -size, size);
    p.v = check_input(c, 1, n, 0, size * size);
    p.grad = check_input(c, 1, n, -size, size);
    p.args.grad = p.grad.at;
    return p;
}

static void begin(check *c, const char *what, const char *isa, const problem *p) {
    const mbk_adamw *a = &p->args;
    check_begin(c, "adamw %s %s n=%d b1=%g b2=%g lr=%g wd=%g scale=%g", what, isa, (int)a->n, a->b1, a->b2, a->lr,
                a->decay, a->grad_scale);
}

static result outputs(check *c, const problem *p) {
    return (result){check_copy(c, &p->w), check_copy(c, &p->m), check_copy(c, &p->v)};
}
static void apply(check *c, mbk_adamw_fn *op, const problem *p, const result *r) {
    mbk_adamw args = p->args;
    args.w = r->w.at, args.m = r->m.at, args.v = r->v.at;
    check_true(c, op(NULL, &args) == MB_OK, "succeeds");
}
static result run_adamw(check *c, mbk_adamw_fn *op, const problem *p) {
    result r = outputs(c, p);
    apply(c, op, p, &r);
    return r;
}

/* A few roundings of each term; of numbers near FLT_MIN absolute ones, which sqrt(v) + eps may enlarge. */
static void compare(check *c, const mbk_ops *ops, int n, float size) {
    const double tiny = 1.01 * FLT_MIN / FLT_EPSILON; /* on one side of FLT_MIN a number is kept, on the other 0 */
    const problem p = make_problem(c, n, size);
    const mbk_adamw *a = &p.args;
    double *w = check_magnitudes(c, 1, n), *m = check_magnitudes(c, 1, n), *v = check_magnitudes(c, 1, n);
    begin(c, "", ops->isa, &p);
    for (int i = 0; i < n; i++) {
        const double g = (double)a->grad[i] * a->grad_scale,
                     root = sqrt((a->b2 * p.v.at[i] + (1 - a->b2) * g * g) / a->c2);
        m[i] = a->b1 * fabsf(p.m.at[i]) + (1 - a->b1) * fabs(g) + tiny;
        v[i] = a->b2 * p.v.at[i] + (1 - a->b2) * g * g + tiny;
        w[i] = fabsf(p.w.at[i]) + a->lr * m[i] / a->c1 / (root + a->eps) * (6 + tiny / v[i]) + tiny;
    }
    const result want = run_adamw(c, mbk_adamw_ref, &p), got = run_adamw(c, ops->adamw, &p);
    check_close(c, "w", &got.w, &want.w, w, 1);
    check_close(c, "m", &got.m, &want.m, m, 2);
    check_close(c, "v", &got.v, &want.v, v, 3);
    check_end(c);
    check_release(c);
}

static void adamw_cut(check *c, const mbk_ops *ops, int n) {
    const problem p = make_problem(c, n, 1);
    begin(c, "ranges = whole", ops->isa, &p);
    const result whole = run_adamw(c, ops->adamw, &p), cut = outputs(c, &p);
    for (int i = 0, k; i < n; i += k) {
        k = 1 + check_pick(c, n - i < 40 ? n - i : 40);
        problem part = p;
        part.args.n = k, part.args.grad += i;
        result r = cut;
        r.w.at += i, r.m.at += i, r.v.at += i;
        apply(c, ops->adamw, &part, &r);
    }
    check_same(c, "w", &cut.w, &whole.w);
    check_same(c, "m", &cut.m, &whole.m);
    check_same(c, "v", &cut.v, &whole.v);
    check_end(c);
    check_release(c);
}

static void adamw_known(check *c, const mbk_ops *ops) {
    enum { n = 37 };
    problem p = make_problem(c, n, 1);
    check_begin(c, "adamw %s: gradients that are no numbers", ops->isa);
    for (int i = 0; i < n; i++)
        p.grad.at[i] = i % 3 ? i % 3 == 1 ? NAN : INFINITY : 1;
    p.args.grad_scale = 0;
    result r = run_adamw(c, ops->adamw, &p);
    for (int i = 0; i < n; i++)
        check_true(c, isfinite(r.w.at[i]) && isfinite(r.m.at[i]) && isfinite(r.v.at[i]), "scale 0 passes over them");
    p.args.grad_scale = 1;
    r = run_adamw(c, ops->adamw, &p);
    for (int i = 0; i < n; i++)
        check_true(c, (isfinite(r.w.at[i]) && isfinite(r.v.at[i])) == (i % 3 == 0), "otherwise they come through");
    p.args.lr = 1e-6f, p.args.decay = 0.05f, p.args.grad_scale = 0; /* 1 - lr wd is 1 in float */
    for (int i = 0; i < n; i++)
        p.w.at[i] = 1, p.m.at[i] = -0.1f, p.v.at[i] = 1;
    p.args.b1 = p.args.b2 = 0.5f, p.args.c1 = p.args.c2 = 0.5f;
    r = run_adamw(c, ops->adamw, &p);
    const double want = 1 - 1e-6 * 0.05 + 1e-6 * 0.1; /* half a unit of float each: seen only together */
    for (int i = 0; i < n; i++)
        check_true(c, r.w.at[i] == (float)want, "decay and step meet before w is rounded");
    const float tiny[] = {2 * FLT_MIN, -2 * FLT_MIN, 0.9f * FLT_MIN, 1e-44f}; /* halved */
    for (int i = 0; i < n; i++)
        p.m.at[i] = tiny[i % 4], p.v.at[i] = fabsf(tiny[i % 4]);
    r = run_adamw(c, ops->adamw, &p);
    for (int i = 0; i < n; i++) {
        check_true(c, r.m.at[i] == (i % 4 < 2 ? tiny[i % 4] / 2 : 0), "m keeps FLT_MIN and nothing smaller");
        check_true(c, r.v.at[i] == (i % 4 < 2 ? FLT_MIN : 0), "v keeps FLT_MIN and nothing smaller");
    }
    p.args.n = 0;
    r = run_adamw(c, ops->adamw, &p);
    check_same(c, "n = 0", &r.w, &p.w);
    check_end(c);
    check_release(c);
}

/* ---- moving average --------------------------------------------------------------------------------------------- */
static void ema(check *c, const mbk_ops *ops, int n) {
    static const float decays[] = {0.999f, 0.9999f, 0.5f, 0, 1};
    const mbk_ema a = {.n = n, .decay = decays[check_pick(c, 5)], .w = check_input(c, 1, n, -1, 1).at};
    const check_array before = check_input(c, 1, n, -2, 2), want = check_copy(c, &before), got = check_copy(c, &before),
                      cut = check_copy(c, &before);
    double *m = check_magnitudes(c, 1, n);
    mbk_ema whole = a, part = a;
    check_begin(c, "ema %s n=%d decay=%g", ops->isa, n, a.decay);
    whole.avg = want.at;
    check_true(c, mbk_ema_ref(NULL, &whole) == MB_OK, "the reference succeeds");
    whole.avg = got.at;
    check_true(c, ops->ema(NULL, &whole) == MB_OK, "the variant succeeds");
    for (int i = 0; i < n; i++) {
        m[i] = a.decay * fabsf(before.at[i]) + (1 - a.decay) * fabsf(a.w[i]) + FLT_MIN;
        check_true(c, a.decay != 0 || got.at[i] == a.w[i], "decay 0 copies");
        check_true(c, a.decay != 1 || got.at[i] == before.at[i], "decay 1 keeps");
    }
    check_close(c, "avg", &got, &want, m, 2);
    for (int i = 0; i < n; i += (int)part.n) {
        part.n = 1 + check_pick(c, n - i < 40 ? n - i : 40);
        part.w = a.w + i, part.avg = cut.at + i;
        check_true(c, ops->ema(NULL, &part) == MB_OK, "a range succeeds");
    }
    check_same(c, "ranges", &cut, &got);
    check_end(c);
    check_release(c);
}

/* ---- sum of squares --------------------------------------------------------------------------------------------- */
static double sumsq(check *c, mbk_sumsq_fn *op, int64_t n, const float *x) {
    double sum = -1;
    check_true(c, op(NULL, n, x, &sum) == MB_OK, "succeeds");
    return sum;
}

static void sums(check *c, const mbk_ops *ops, int n, float size) {
    const check_array x = check_input(c, 1, n, -size, size);
    check_begin(c, "sumsq %s n=%d size=%g", ops->isa, n, size);
    const double want = sumsq(c, mbk_sumsq_ref, n, x.at), got = sumsq(c, ops->sumsq, n, x.at);
    const int terms = n < MBK_SUMSQ_BLOCK ? n : MBK_SUMSQ_BLOCK;
    const double allowed = (4 + terms / 4.0) * DBL_EPSILON * want; /* squares mod 8 are 0, 1, 4: one-sided roundings */
    check_true(c, fabs(got - want) + (c->sabotage ? 2 * allowed : 0) <= allowed, "the sum is that of the reference");
    check_true(c, fabs(got + 2 * allowed - want) > allowed || want == 0, "a planted fault is caught");
    double blocks = 0;
    for (int i = 0; i < n; i += MBK_SUMSQ_BLOCK)
        blocks += sumsq(c, ops->sumsq, n - i < MBK_SUMSQ_BLOCK ? n - i : MBK_SUMSQ_BLOCK, x.at + i);
    check_true(c, blocks == got, "blocks added in order are the whole, to the bit");
    check_true(c, ops == mbk_ops_ref() || check_is_device(ops) || sumsq(c, mbk_sumsq_cpu, n, x.at) == got,
               "one result for all instruction sets");
    x.at[check_pick(c, n)] = INFINITY;
    check_true(c, isinf(sumsq(c, ops->sumsq, n, x.at)), "infinity comes through");
    x.at[check_pick(c, n)] = NAN;
    check_true(c, isnan(sumsq(c, ops->sumsq, n, x.at)), "NaN comes through");
    check_true(c, sumsq(c, ops->sumsq, 0, x.at) == 0, "nothing sums to 0");
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int sizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 100, 1000, 4095, 4096, 4097, 20000};
    static const float ranges[] = {1, 1e-3f, 1e3f, 1e-7f, 1e-12f, 1e-20f};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    for (int v = 0; v < n; v++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++)
                compare(c, ops[v], sizes[i], ranges[k]);
            sums(c, ops[v], sizes[i], 1);
            sums(c, ops[v], sizes[i], 1e38f);
            sums(c, ops[v], sizes[i], 1e-38f);
        }
        for (int k = 0; k < 30; k++)
            ema(c, ops[v], 1 + check_pick(c, 500));
        for (int k = 0; k < 5; k++)
            adamw_cut(c, ops[v], 203 + k);
        adamw_known(c, ops[v]);
    }
    adamw_known(c, mbk_ops_ref());
    sums(c, mbk_ops_ref(), 9000, 1);
}

/* ---- rates ------------------------------------------------------------------------------------------------------ */
typedef struct job {
    const mbk_ops *ops;
    mbk_adamw adamw;
    mbk_ema ema;
    double sum;
} job;
static void run_bench_adamw(void *arg) {
    const job *j = arg;
    j->ops->adamw(NULL, &j->adamw);
}
static void run_bench_ema(void *arg) {
    const job *j = arg;
    j->ops->ema(NULL, &j->ema);
}
static void run_bench_sumsq(void *arg) {
    job *j = arg;
    j->ops->sumsq(NULL, j->adamw.n, j->adamw.grad, &j->sum);
}

static void bench(check *c) {
    enum { N = 1 << 15 };
    static const struct {
        const char *name;
        void (*run)(void *);
        double bytes;
    } kernels[] = {{"adamw n=32768", run_bench_adamw, 28},
                   {"ema n=32768", run_bench_ema, 12},
                   {"sumsq n=32768", run_bench_sumsq, 4}};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++)
        for (int k = 0; k < 3; k++) {
            job jobs[64];
            void *args[64];
            for (int t = 0; t < c->threads && t < 64; t++) {
                const problem p = make_problem(c, N, 1);
                jobs[t] = (job){ops[v], p.args, {.n = N, .decay = 0.999f, .w = p.w.at, .avg = p.v.at}, 0};
                jobs[t].adamw.w = p.w.at, jobs[t].adamw.m = p.m.at, jobs[t].adamw.v = p.v.at;
                args[t] = &jobs[t];
            }
            check_bench(c, ops[v]->isa, kernels[k].name, "elements", kernels[k].run, args, N, 0, kernels[k].bytes);
            check_release(c);
        }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_optim", cases, bench);
}
