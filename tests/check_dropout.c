/* Dropout: variants against the reference to the bit of what falls (on CUDA, of what stays too); the reference against
 * a published answer of Philox4x32-10; pieces = whole, wherever a tile begins; how many fall; that the gradient is the
 * same operation. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/check.h"

typedef struct problem {
    mbk_dropout args;
    check_array x;
    int in_place;
} problem;

static problem make_problem(check *c, int L, int D, float rate) {
    problem p = {.args = {.L = L, .D = D, .rate = rate}, .in_place = check_pick(c, 2)};
    p.x = check_input(c, L, D, 1, 2); /* never 0: what is 0 fell */
    p.args.row = check_pick(c, 3) ? check_pick(c, 1000) : ((int64_t)1 << 36) + check_pick(c, 1000);
    p.args.key[0] = (uint32_t)check_random(c);
    p.args.key[1] = (uint32_t)check_random(c);
    p.args.site = (uint32_t)check_pick(c, 100);
    return p;
}

static check_array run_dropout(check *c, mbk_dropout_fn *op, const problem *p) {
    const check_array x = check_copy(c, &p->x), y = p->in_place ? x : check_output(c, p->args.L, p->args.D);
    mbk_dropout a = p->args;
    a.x = x.at;
    a.y = y.at;
    check_true(c, op(NULL, &a) == MB_OK, "succeeds");
    return y;
}

static void compare(check *c, const mbk_ops *ops, int L, int D, float rate) {
    const problem p = make_problem(c, L, D, rate);
    double *m = check_magnitudes(c, L, D);
    int same = 1;
    check_begin(c, "dropout %s L=%d D=%d rate=%g row=%lld", ops->isa, L, D, (double)rate, (long long)p.args.row);
    const check_array want = run_dropout(c, mbk_dropout_ref, &p), got = run_dropout(c, ops->dropout, &p);
    for (int i = 0; i < L * D; i++) {
        same &= (got.at[i] == 0) == (want.at[i] == 0);
        m[i] = fabs((double)want.at[i]) + FLT_MIN;
    }
    check_true(c, same, "the same elements fall");
    check_close(c, "y", &got, &want, m, 1);
    if (check_is_device(ops))
        check_same(c, "y", &got, &want);
    check_end(c);
    check_release(c);
}

/* Rows cut anywhere. */
static void pieces(check *c, const mbk_ops *ops, int L, int D) {
    problem p = make_problem(c, L, D, 0.3f);
    p.in_place = 0;
    check_begin(c, "dropout %s: pieces are the whole, L=%d D=%d", ops->isa, L, D);
    const check_array whole = run_dropout(c, ops->dropout, &p);
    for (int t = 0, n; t < L; t += n) {
        problem part = p;
        n = 1 + check_pick(c, L - t);
        part.args.L = part.x.rows = n;
        part.args.row += t;
        part.x.at += (ptrdiff_t)t * D;
        const check_array got = run_dropout(c, ops->dropout, &part);
        check_array rows = whole;
        rows.at += (ptrdiff_t)t * D, rows.rows = n, rows.start = NULL;
        check_same(c, "piece", &got, &rows);
    }
    check_end(c);
    check_release(c);
}

/* The element of the contract: under key 0 the counter 0 gives the words 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (the
 * published answer), whose halves belong to the elements 0, 16, ..., 112. */
static void contract(check *c) {
    static const uint32_t half[8] = {0xe8d5, 0x6627, 0xc58d, 0xe169, 0xac4c, 0xbc57, 0xdbd8, 0x9b00};
    problem p = make_problem(c, 1, 128, 0);
    p.in_place = 0;
    p.args.row = 0;
    p.args.key[0] = p.args.key[1] = p.args.site = 0;
    check_begin(c, "dropout: the contract's elements");
    for (int k = 0; k < 8; k++)
        for (int over = 0; over < 2; over++) { /* a threshold of half[k] leaves it, the next one does not */
            p.args.rate = ((float)half[k] + (float)over) / 65536;
            const check_array y = run_dropout(c, mbk_dropout_ref, &p);
            check_true(c, (y.at[16 * k] == 0) == over && !(c->sabotage && k == 5), "falls below its half word");
        }
    check_end(c);
    check_release(c);
}

/* Of many elements the share that falls is the rate within five deviations, at every site and key another part; what
 * stays is divided by what stays. */
static void shares(check *c, const mbk_ops *ops, float rate) {
    enum { L = 400, D = 64 };
    problem p = make_problem(c, L, D, rate);
    p.in_place = 0;
    check_begin(c, "dropout %s: rate %g", ops->isa, (double)rate);
    const check_array one = run_dropout(c, ops->dropout, &p);
    p.args.site++;
    const check_array other = run_dropout(c, ops->dropout, &p);
    int fell = 0, both = 0;
    for (int i = 0; i < L * D; i++) {
        fell += one.at[i] == 0;
        both += one.at[i] == 0 && other.at[i] == 0;
        check_true(c, one.at[i] == 0 || fabs(one.at[i] * (1 - (double)rate) - p.x.at[i]) < 1e-4, "scaled");
    }
    const double n = L * D, r = (double)rate;
    check_true(c, fabs(fell - n * r) <= 5 * sqrt(n * r * (1 - r)) + 1, "as many fall as should");
    check_true(c, fabs(both - n * r * r) <= 5 * sqrt(n * r * r * (1 - r * r)) + 1, "two sites have nothing in common");
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int lengths[] = {1, 2, 5, 33}, widths[] = {1, 2, 7, 16, 17, 33, 64, 100, 128, 257};
    static const float rates[] = {0, 0.2f, 0.5f, 0.999f};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
                for (size_t k = 0; k < sizeof rates / sizeof *rates; k++)
                    compare(c, ops[v], lengths[i], widths[j], rates[k]);
        for (int k = 0; k < 10; k++)
            pieces(c, ops[v], 1 + check_pick(c, 40), 1 + check_pick(c, 100));
        shares(c, ops[v], 0.2f);
        shares(c, ops[v], 0.5f);
    }
    contract(c);
    shares(c, mbk_ops_ref(), 0.1f);
}

typedef struct job {
    const mbk_ops *ops;
    mbk_dropout args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->ops->dropout(NULL, &j->args);
}

static void bench(check *c) {
    enum { L = 128, D = 256 };
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        job jobs[64];
        void *args[64];
        for (int t = 0; t < c->threads && t < 64; t++) {
            const problem p = make_problem(c, L, D, 0.2f);
            jobs[t] = (job){ops[v], p.args};
            jobs[t].args.x = p.x.at;
            jobs[t].args.y = check_output(c, L, D).at;
            args[t] = &jobs[t];
        }
        check_bench(c, ops[v]->isa, "dropout L=128 D=256", "elements", run, args, (double)L * D, 0, 8);
        check_release(c);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_dropout", cases, bench);
}
