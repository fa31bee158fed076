/* Gradient of the embedding's table: variants against the reference; the law of the contract, to the bit: ranges of
 * columns = all columns, pieces of rows = all rows; refused tokens; and that it is the transpose of the embedding. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"

enum { MAX_L = 3000 };

typedef struct problem {
    mbk_embed_bwd args; /* without dtable */
    check_array G, table;
    int32_t token[MAX_L];
} problem;

static void make_problem(check *c, problem *p, int L, int D, int V) {
    p->args = (mbk_embed_bwd){.L = L, .D = D, .V = V, .to = D, .token = p->token};
    p->G = check_input(c, L, D, -1, 1);
    p->table = check_input(c, V, D, -1, 1);
    p->args.G = p->G.at;
    for (int t = 0; t < L; t++)
        p->token[t] = check_pick(c, V);
}

static void begin(check *c, const char *what, const char *isa, const problem *p) {
    check_begin(c, "embed_bwd %s %s L=%d D=%d V=%d columns %d..%d", what, isa, (int)p->args.L, p->args.D, p->args.V,
                p->args.from, p->args.to);
}

static void apply(check *c, mbk_embed_bwd_fn *op, const problem *p, const check_array *table) {
    mbk_embed_bwd args = p->args;
    args.dtable = table->at;
    check_true(c, op(NULL, &args) == MB_OK, "succeeds");
}
static check_array run_embed(check *c, mbk_embed_bwd_fn *op, const problem *p) {
    check_array table = check_copy(c, &p->table);
    apply(c, op, p, &table);
    return table;
}

/* Sums of n terms one after another err by at most n/2 roundings of the sum of magnitudes, by some sqrt(n) in fact. */
static double *magnitudes(check *c, const problem *p) {
    const int D = p->args.D;
    double *m = check_magnitudes(c, p->args.V, D);
    for (int v = 0; v < p->args.V; v++)
        for (int i = p->args.from; i < p->args.to; i++) {
            double size = fabsf(p->table.at[v * D + i]), n = 0;
            for (int t = 0; t < p->args.L; t++)
                if (p->token[t] == v)
                    size += fabsf(p->G.at[t * D + i]), n++;
            m[v * D + i] = size * (1 + sqrt(n));
        }
    return m;
}

static void compare(check *c, const mbk_ops *ops, int L, int D, int V) {
    static problem p;
    make_problem(c, &p, L, D, V);
    if (check_pick(c, 2)) {
        p.args.from = check_pick(c, D);
        p.args.to = p.args.from + check_pick(c, D - p.args.from + 1);
    }
    begin(c, "", ops->isa, &p);
    const check_array want = run_embed(c, mbk_embed_bwd_ref, &p), got = run_embed(c, ops->embed_bwd, &p);
    check_close(c, "dtable", &got, &want, magnitudes(c, &p), 1);
    check_end(c);
    check_release(c);
}

static void law(check *c, const mbk_ops *ops, int L, int D, int V) {
    static problem p, part;
    make_problem(c, &p, L, D, V);
    begin(c, "columns = all, pieces = whole", ops->isa, &p);
    const check_array whole = run_embed(c, ops->embed_bwd, &p), columns = check_copy(c, &p.table),
                      pieces = check_copy(c, &p.table);
    part = p;
    for (int from = 0; from < D; from = part.args.to) {
        part.args.from = from;
        part.args.to = from + 1 + check_pick(c, D - from);
        apply(c, ops->embed_bwd, &part, &columns);
    }
    check_same(c, "columns", &columns, &whole);
    part = p;
    for (int t = 0; t < L; t += (int)part.args.L) {
        part.args.L = 1 + check_pick(c, L - t);
        part.args.token = p.token + t;
        part.args.G = p.G.at + (ptrdiff_t)t * D;
        apply(c, ops->embed_bwd, &part, &pieces);
    }
    check_same(c, "pieces", &pieces, &whole);
    check_end(c);
    check_release(c);
}

/* <G, embed(T)> = <dtable(G), T>: the embedding is linear in its table. */
static void transpose(check *c, int L, int D, int V) {
    static problem p;
    make_problem(c, &p, L, D, V);
    begin(c, "the embedding's transpose", "ref", &p);
    check_array table = check_copy(c, &p.table), out = check_output(c, L, D);
    memset(p.table.at, 0, (size_t)V * (size_t)D * sizeof(float));
    const check_array dtable = run_embed(c, mbk_embed_bwd_ref, &p);
    const mbk_embed args = {.L = L, .D = D, .V = V, .token = p.token, .table = table.at, .out = out.at};
    check_true(c, mbk_embed_fwd_ref(NULL, &args) == MB_OK, "the embedding succeeds");
    double forward = 0, back = 0, size = 0;
    for (int i = 0; i < L * D; i++)
        forward += (double)p.G.at[i] * out.at[i];
    for (int i = 0; i < V * D; i++) {
        back += (double)dtable.at[i] * table.at[i];
        size += fabs((double)dtable.at[i] * table.at[i]);
    }
    back += c->sabotage ? 0.01 * size : 0;
    check_true(c, fabs(forward - back) < 1e-5 * size, "the two products are one");
    check_true(c, fabs(forward - back - 0.01 * size) >= 1e-5 * size, "a planted fault of 1 % is caught");
    check_end(c);
    check_release(c);
}

static void refuse(check *c, const mbk_ops *ops, int32_t bad) {
    static problem p;
    make_problem(c, &p, 5, 7, 9);
    check_begin(c, "embed_bwd %s refuses token %d of 9", ops->isa, (int)bad);
    p.token[check_pick(c, 5)] = bad;
    check_array table = check_copy(c, &p.table);
    mbk_embed_bwd args = p.args;
    args.dtable = table.at;
    check_true(c, ops->embed_bwd(NULL, &args) == MB_RANGE, "MB_RANGE");
    check_true(c, !memcmp(table.at, p.table.at, 63 * sizeof(float)), "nothing written");
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int lengths[] = {1, 2, 33, 200}, widths[] = {1, 7, 15, 16, 17, 64, 100, 257};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
                compare(c, ops[v], lengths[i], widths[j], 1 + check_pick(c, 20));
        compare(c, ops[v], MAX_L, 5, 4);
        compare(c, ops[v], 40, 3, 50280);
        law(c, ops[v], 300, 100, 12);
        law(c, ops[v], 50, 33, 1);
        refuse(c, ops[v], -1);
        refuse(c, ops[v], 9);
        refuse(c, ops[v], INT32_MIN);
        refuse(c, ops[v], INT32_MAX);
    }
    refuse(c, mbk_ops_ref(), 9);
    transpose(c, 1, 1, 1);
    transpose(c, 200, 17, 12);
}

typedef struct job {
    mbk_embed_bwd_fn *op;
    mbk_embed_bwd args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->op(NULL, &j->args);
}

static void bench(check *c) {
    enum { L = 512, D = 256 };
    static const int sizes[] = {12, 50280};
    static problem p[64];
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++)
        for (int k = 0; k < 2; k++) {
            char what[64];
            job jobs[64];
            void *args[64];
            snprintf(what, sizeof what, "embed_bwd L=512 D=256 V=%d", sizes[k]);
            for (int t = 0; t < c->threads && t < 64; t++) {
                make_problem(c, &p[t], L, D, sizes[k]);
                jobs[t] = (job){ops[v]->embed_bwd, p[t].args};
                jobs[t].args.dtable = check_copy(c, &p[t].table).at;
                args[t] = &jobs[t];
            }
            check_bench(c, ops[v]->isa, what, "elements", run, args, (double)L * D, 0, 12);
            check_release(c);
        }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_embed_bwd", cases, bench);
}
