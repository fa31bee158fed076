/* The gate's gradients: variants against the reference over sizes, row distances and the aliases that the contract
 * allows; the reference against differences; z far from 0, NaN. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/check.h"

typedef struct problem {
    int L, E, ds_is_G, out_is_s;
    check_array s, z, G;
} problem;

typedef struct result {
    check_array out, ds, dz;
} result;

static problem make_problem(check *c, int L, int E, float size) {
    problem p = {.L = L, .E = E, .ds_is_G = check_pick(c, 2), .out_is_s = check_pick(c, 2)};
    p.s = check_input(c, L, E, -2, 2);
    p.z = check_input(c, L, E, -size, size);
    p.G = check_input(c, L, E, -1, 1);
    return p;
}

static void begin(check *c, const char *what, const char *isa, const problem *p) {
    check_begin(c, "gate_bwd %s %s L=%d E=%d ds_is_G=%d out_is_s=%d", what, isa, p->L, p->E, p->ds_is_G, p->out_is_s);
}

/* Runs op on copies, so that aliases destroy nothing. */
static result run_gate(check *c, mbk_gate_bwd_fn *op, const problem *p) {
    check_array s = check_copy(c, &p->s), G = check_copy(c, &p->G);
    const result r = {p->out_is_s ? s : check_output(c, p->L, p->E), p->ds_is_G ? G : check_output(c, p->L, p->E),
                      check_output(c, p->L, p->E)};
    const mbk_gate_bwd args = {.L = p->L,
                               .E = p->E,
                               .s = s.at,
                               .lds = s.ld,
                               .z = p->z.at,
                               .ldz = p->z.ld,
                               .G = G.at,
                               .ldg = G.ld,
                               .out = r.out.at,
                               .ldout = r.out.ld,
                               .ds = r.ds.at,
                               .ldds = r.ds.ld,
                               .dz = r.dz.at,
                               .lddz = r.dz.ld};
    check_true(c, op(NULL, &args) == MB_OK, "succeeds");
    return r;
}

/* Below FLT_MIN the error of exp is absolute. */
static void compare(check *c, const mbk_ops *ops, int L, int E, float size) {
    const problem p = make_problem(c, L, E, size);
    double *out = check_magnitudes(c, L, E), *ds = check_magnitudes(c, L, E), *dz = check_magnitudes(c, L, E);
    begin(c, "", ops->isa, &p);
    const result want = run_gate(c, mbk_gate_bwd_ref, &p), got = run_gate(c, ops->gate_bwd, &p);
    for (int t = 0; t < L; t++)
        for (int e = 0; e < E; e++) {
            const double s = fabsf(p.s.at[t * p.s.ld + e]), G = fabsf(p.G.at[t * p.G.ld + e]);
            const double z = p.z.at[t * p.z.ld + e], sigmoid = 1 / (1 + exp(-z)), small = 4 * (1 + fabs(z)) * FLT_MIN;
            out[t * E + e] = s * (fabs(z) * sigmoid + small) + FLT_MIN;
            ds[t * E + e] = G * (fabs(z) * sigmoid + small) + FLT_MIN;
            dz[t * E + e] = G * s * (sigmoid + fabs(z) * sigmoid * (1 - sigmoid) + small) + FLT_MIN;
        }
    check_close(c, "out", &got.out, &want.out, out, 6);
    check_close(c, "ds", &got.ds, &want.ds, ds, 6);
    check_close(c, "dz", &got.dz, &want.dz, dz, 8);
    check_end(c);
    check_release(c);
}

/* d(sum G s SiLU(z)) along a direction in s and z. */
static void differences(check *c, int L, int E) {
    problem p = make_problem(c, L, E, 6);
    p.ds_is_G = p.out_is_s = 0;
    begin(c, "against differences", "ref", &p);
    const result r = run_gate(c, mbk_gate_bwd_ref, &p);
    double moved = 0, parts[2] = {0, 0};
    for (int t = 0; t < L; t++)
        for (int e = 0; e < E; e++) {
            const double s = p.s.at[t * p.s.ld + e], z = p.z.at[t * p.z.ld + e], G = p.G.at[t * p.G.ld + e];
            const double hs = check_between(c, -0x1p-10f, 0x1p-10f), hz = check_between(c, -0x1p-10f, 0x1p-10f);
            moved += G * ((s + hs) * (z + hz) / (1 + exp(-z - hz)) - (s - hs) * (z - hz) / (1 + exp(-z + hz)));
            parts[0] += 2 * hs * r.ds.at[t * r.ds.ld + e];
            parts[1] += 2 * hz * r.dz.at[t * r.dz.ld + e];
        }
    const double size = fabs(parts[0]) + fabs(parts[1]), found = parts[0] + parts[1] + (c->sabotage ? 0.05 * size : 0);
    check_true(c, fabs(moved - found) < 1e-4 * size, "the gradient is that of the gate");
    check_true(c, fabs(moved - found - 0.05 * size) >= 1e-4 * size, "a planted fault of 5 % is caught");
    check_end(c);
    check_release(c);
}

/* s, G = 1: out and ds are SiLU(z), dz its slope. */
static void extremes(check *c, const mbk_ops *ops) {
    static const float z[] = {1e4f, 1e30f, FLT_MAX, -1e4f, -1e30f, -FLT_MAX, -120, 0, NAN};
    static const float slope[] = {1, 1, 1, 0, 0, 0, 0, 0.5f, NAN};
    enum { n = sizeof z / sizeof *z };
    float one[n], out[n], ds[n], dz[n];
    for (int i = 0; i < n; i++)
        one[i] = 1;
    const mbk_gate_bwd a = {.L = 1, .E = n, .s = one, .z = z, .G = one, .out = out, .ds = ds, .dz = dz};
    check_begin(c, "gate_bwd %s: at the ends", ops->isa);
    check_true(c, ops->gate_bwd(NULL, &a) == MB_OK, "succeeds");
    for (int i = 0; i < n - 1; i++) {
        check_true(c, out[i] == (z[i] > 0 ? z[i] : 0) && ds[i] == out[i], "SiLU at the ends");
        check_true(c, dz[i] == slope[i], "its slope at the ends");
    }
    check_true(c, isnan(out[n - 1]) && isnan(ds[n - 1]) && isnan(dz[n - 1]), "NaN comes through");
    check_end(c);
}

static void cases(check *c) {
    static const int lengths[] = {1, 2, 5, 33}, widths[] = {1, 2, 7, 8, 15, 16, 17, 33, 64, 100, 257};
    static const float sizes[] = {1, 20, 120, 1e-3f};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    for (int v = 0; v < n; v++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
                for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
                    compare(c, ops[v], lengths[i], widths[j], sizes[k]);
        extremes(c, ops[v]);
    }
    extremes(c, mbk_ops_ref());
    for (int k = 0; k < 20; k++)
        differences(c, 1 + check_pick(c, 40), 1 + check_pick(c, 40));
}

typedef struct job {
    const mbk_ops *ops;
    mbk_gate_bwd args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->ops->gate_bwd(NULL, &j->args);
}

static void bench(check *c) {
    enum { L = 64, E = 512 };
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        job jobs[64];
        void *args[64];
        for (int t = 0; t < c->threads && t < 64; t++) {
            const problem p = make_problem(c, L, E, 4);
            jobs[t] = (job){ops[v],
                            {.L = L,
                             .E = E,
                             .s = p.s.at,
                             .lds = E,
                             .z = p.z.at,
                             .ldz = E,
                             .G = p.G.at,
                             .ldg = E,
                             .out = check_output(c, L, E).at,
                             .ldout = E,
                             .ds = check_output(c, L, E).at,
                             .ldds = E,
                             .dz = check_output(c, L, E).at,
                             .lddz = E}};
            args[t] = &jobs[t];
        }
        check_bench(c, ops[v]->isa, "gate_bwd L=64 E=512", "elements", run, args, (double)L * E, 0, 24);
        check_release(c);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_gate_bwd", cases, bench);
}
