/* Scaled sum of arrays: variants against the reference over lengths and the aliases that the contract allows; s = 1 to
 * the bit. */
#include <math.h>
#include <string.h>

#include "tests/check.h"

typedef struct problem {
    int n, with_add, y_is; /* y_is: 0 an array of its own, 1 x, 2 add */
    float s;
    check_array x, add;
} problem;

static check_array run_sum(check *c, mbk_sum_fn *op, const problem *p) {
    const check_array x = check_copy(c, &p->x), add = check_copy(c, &p->add);
    const check_array y = p->y_is == 1 ? x : p->y_is == 2 && p->with_add ? add : check_output(c, 1, p->n);
    const mbk_sum a = {.n = p->n, .s = p->s, .x = x.at, .add = p->with_add ? add.at : NULL, .y = y.at};
    check_true(c, op(NULL, &a) == MB_OK, "succeeds");
    return y;
}

static void compare(check *c, const mbk_ops *ops, int n, float s) {
    problem p = {.n = n, .with_add = check_pick(c, 2), .y_is = check_pick(c, 3), .s = s};
    p.x = check_input(c, 1, n, -2, 2);
    p.add = check_input(c, 1, n, -2, 2);
    double *m = check_magnitudes(c, 1, n);
    check_begin(c, "sum %s n=%d s=%g add=%d y_is=%d", ops->isa, n, (double)s, p.with_add, p.y_is);
    const check_array want = run_sum(c, mbk_sum_ref, &p), got = run_sum(c, ops->sum, &p);
    for (int i = 0; i < n; i++)
        m[i] = fabs((double)s * p.x.at[i]) + (p.with_add ? fabs((double)p.add.at[i]) : 0);
    check_close(c, "y", &got, &want, m, 1);
    if (s == 1 || !p.with_add)
        check_same(c, "y", &got, &want);
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int sizes[] = {1, 2, 7, 8, 15, 16, 17, 33, 64, 100, 257, 4099};
    static const float scales[] = {1, 8, -0.3f, 0};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t k = 0; k < sizeof scales / sizeof *scales; k++)
                for (int again = 0; again < 4; again++)
                    compare(c, ops[v], sizes[i], scales[k]);
}

typedef struct job {
    const mbk_ops *ops;
    mbk_sum args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->ops->sum(NULL, &j->args);
}

static void bench(check *c) {
    enum { N = 128 * 256 };
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        job jobs[64];
        void *args[64];
        for (int t = 0; t < c->threads && t < 64; t++) {
            jobs[t] = (job){ops[v],
                            {.n = N,
                             .s = 1,
                             .x = check_input(c, 1, N, -1, 1).at,
                             .add = check_input(c, 1, N, -1, 1).at,
                             .y = check_output(c, 1, N).at}};
            args[t] = &jobs[t];
        }
        check_bench(c, ops[v]->isa, "sum n=32768", "elements", run, args, N, 0, 12);
        check_release(c);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_sum", cases, bench);
}
