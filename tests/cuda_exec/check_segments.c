/* Several sequences packed into one call, by `segment`: the scan, the convolution and their gradients against the
 * reference on the sequences one by one; and the reference's own packed calls against the same. Forward and reverse,
 * lengths from 1 on, more and fewer rows than a chunk, states and their gradients at the ends of the call. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"

enum { MAX_L = 300, K_MAX = MBK_CONV_MAX_K };

typedef struct packing {
    int L, sequences, reverse, carried;
    int start[MAX_L + 1]; /* in memory order; [sequences] = L */
    int32_t segment[MAX_L];
} packing;

static packing make_packing(check *c, int L, int longest) {
    packing p = {.L = L, .reverse = check_pick(c, 2), .carried = check_pick(c, 2)};
    for (int t = 0; t < L;) {
        const int n = 1 + check_pick(c, longest < L - t ? longest : L - t);
        p.start[p.sequences] = t;
        for (int i = 0; i < n; i++, t++)
            p.segment[t] = 7 - 3 * p.sequences; /* numbers need only differ from their neighbours' */
        p.sequences++;
    }
    p.start[p.sequences] = L;
    return p;
}
/* The k-th in processing order. */
static int processed(const packing *p, int k) {
    return p->reverse ? p->sequences - 1 - k : k;
}

/* The largest value of the array bounds what rounding may do to each element. */
static void near(check *c, const char *what, const check_array *got, const check_array *want) {
    double *m = check_magnitudes(c, want->rows, want->cols), largest = 1e-6;
    for (int k = 0; k < want->rows * want->cols; k++)
        largest = fmax(largest, fabsf(want->at[k / want->cols * want->ld + k % want->cols]));
    for (int k = 0; k < want->rows * want->cols; k++)
        m[k] = largest;
    check_close(c, what, got, want, m, 60);
}

/* ---- scan -----------------------------------------------------------------------------------------------------------
 */
static mbk_scan make_scan(check *c, const packing *p, int E, int N) {
    mbk_scan s = {.L = p->L, .E = E, .N = N, .reverse = p->reverse, .softplus_dt = 1};
    s.ldx = s.lddt = s.ldz = s.lda = E;
    s.ldb = s.ldc = N;
    s.x = check_input(c, p->L, E, -1, 1).at, s.dt = check_input(c, p->L, E, -3, 1).at;
    s.z = check_pick(c, 2) ? check_input(c, p->L, E, -3, 3).at : NULL;
    s.B = check_input(c, p->L, N, -1, 1).at, s.C = check_input(c, p->L, N, -1, 1).at;
    s.a2 = check_input(c, N, E, -3, 0).at, s.skip = check_input(c, 1, E, -1, 1).at;
    return s;
}

static void scan_case(check *c, const mbk_ops *ops, int L, int E, int N, int longest) {
    static packing p;
    p = make_packing(c, L, longest);
    check_begin(c, "scan_fwd %s packed L=%d E=%d N=%d sequences=%d reverse=%d state=%d", ops->device, L, E, N,
                p.sequences, p.reverse, p.carried);
    const mbk_scan s = make_scan(c, &p, E, N);
    const check_array state = check_input(c, N, E, -1, 1);
    const check_array got = check_output(c, L, E), want = check_output(c, L, E);
    const check_array got_state = check_copy(c, &state), zeros = check_input(c, N, E, 0, 0);
    check_array want_state = state;
    mbk_scan all = s;
    all.segment = p.segment, all.y = got.at, all.ldy = E;
    all.state = p.carried ? got_state.at : NULL, all.lds = E;
    check_true(c, ops->scan_fwd(NULL, &all) == MB_OK, "succeeds");
    for (int k = 0; k < p.sequences; k++) {
        const int q = processed(&p, k), t = p.start[q];
        mbk_scan one = s;
        want_state = check_copy(c, k == 0 ? &state : &zeros);
        one.L = p.start[q + 1] - t, one.x += t * E, one.dt += t * E, one.B += t * N, one.C += t * N;
        one.z = s.z ? s.z + (ptrdiff_t)t * E : NULL;
        one.y = want.at + (ptrdiff_t)t * E, one.ldy = E;
        one.state = p.carried || k ? want_state.at : NULL, one.lds = E;
        check_true(c, mbk_scan_fwd_ref(NULL, &one) == MB_OK, "the reference succeeds");
    }
    near(c, "y", &got, &want);
    if (p.carried)
        near(c, "state", &got_state, &want_state);
    check_end(c);
    check_release(c);
}

/* Gradients, all on the heap of the check. */
typedef struct scan_grads {
    check_array dx, ddt, dB, dC, dstate, da, dskip, dbias;
} scan_grads;

static mbk_scan_bwd bwd_of(const mbk_scan *s, const check_array *G, const scan_grads *g) {
    const ptrdiff_t E = s->E, N = s->N;
    return (mbk_scan_bwd){.L = s->L,
                          .E = s->E,
                          .N = s->N,
                          .reverse = s->reverse,
                          .softplus_dt = 1,
                          .x = s->x,
                          .ldx = E,
                          .dt = s->dt,
                          .lddt = E,
                          .B = s->B,
                          .ldb = N,
                          .C = s->C,
                          .ldc = N,
                          .a2 = s->a2,
                          .lda = E,
                          .skip = s->skip,
                          .lds = E,
                          .G = G->at,
                          .ldg = E,
                          .dx = g->dx.at,
                          .lddx = E,
                          .ddt = g->ddt.at,
                          .ldddt = E,
                          .dB = g->dB.at,
                          .lddb = N,
                          .dC = g->dC.at,
                          .lddc = N,
                          .da = g->da.at,
                          .ldda = E,
                          .dskip = g->dskip.at,
                          .ddt_bias = g->dbias.at};
}

static void run_bwd(check *c, const mbk_ops *ops, mbk_scan_bwd b) {
    b.scratch = aligned_alloc(64, (ops->scan_bwd_scratch(b.L, b.E, b.N) * sizeof(float) + 63) / 64 * 64);
    check_true(c, b.scratch && ops->scan_bwd(NULL, &b) == MB_OK, "succeeds");
    free(b.scratch);
}

static scan_grads make_grads(check *c, int L, int E, int N, const check_array *dstate) {
    const check_array a = check_input(c, N, E, 0, 0), row = check_input(c, 1, E, 0, 0);
    return (scan_grads){check_output(c, L, E), check_output(c, L, E), check_output(c, L, N), check_output(c, L, N),
                        check_copy(c, dstate), check_copy(c, &a),     check_copy(c, &row),   check_copy(c, &row)};
}

static void near_all(check *c, const scan_grads *got, const scan_grads *want, int carried) {
    near(c, "dx", &got->dx, &want->dx);
    near(c, "ddt", &got->ddt, &want->ddt);
    near(c, "dB", &got->dB, &want->dB);
    near(c, "dC", &got->dC, &want->dC);
    near(c, "da", &got->da, &want->da);
    near(c, "dskip", &got->dskip, &want->dskip);
    near(c, "ddt_bias", &got->dbias, &want->dbias);
    if (carried)
        near(c, "dstate", &got->dstate, &want->dstate);
}

static void scan_bwd_case(check *c, const mbk_ops *ops, int L, int E, int N, int longest) {
    static packing p;
    p = make_packing(c, L, longest);
    check_begin(c, "scan_bwd %s packed L=%d E=%d N=%d sequences=%d reverse=%d state=%d", ops->device, L, E, N,
                p.sequences, p.reverse, p.carried);
    const mbk_scan s = make_scan(c, &p, E, N);
    const check_array G = check_input(c, L, E, -1, 1), state0 = check_input(c, N, E, -1, 1);
    const check_array dstate = check_input(c, N, E, -1, 1), zeros = check_input(c, N, E, 0, 0);
    const scan_grads got = make_grads(c, L, E, N, &dstate);
    scan_grads want = make_grads(c, L, E, N, &dstate);
    mbk_scan_bwd all = bwd_of(&s, &G, &got);
    all.segment = p.segment;
    all.state0 = p.carried ? state0.at : NULL, all.dstate = p.carried ? got.dstate.at : NULL;
    run_bwd(c, ops, all);
    for (int k = 0; k < p.sequences; k++) {
        const int q = processed(&p, k), t = p.start[q];
        mbk_scan_bwd one = bwd_of(&s, &G, &want);
        const check_array mine = check_copy(c, k == p.sequences - 1 && p.carried ? &dstate : &zeros);
        one.L = p.start[q + 1] - t, one.x += t * E, one.dt += t * E, one.B += t * N, one.C += t * N, one.G += t * E;
        one.dx += t * E, one.ddt += t * E, one.dB += t * N, one.dC += t * N;
        one.state0 = k == 0 && p.carried ? state0.at : NULL, one.dstate = mine.at;
        run_bwd(c, mbk_ops_ref(), one);
        if (k == 0)
            want.dstate = mine;
    }
    near_all(c, &got, &want, p.carried);
    check_end(c);
    check_release(c);
}

/* ---- convolution --------------------------------------------------------------------------------------------------
 */
static void conv_case(check *c, const mbk_ops *ops, int L, int E, int K, int longest) {
    static packing p;
    p = make_packing(c, L, longest);
    check_begin(c, "conv_fwd %s packed L=%d E=%d K=%d sequences=%d reverse=%d state=%d", ops->device, L, E, K,
                p.sequences, p.reverse, p.carried);
    const int kept = K > 1 ? K - 1 : 1;
    const check_array x = check_input(c, L, E, -1, 1), w = check_input(c, K, E, -1, 1), b = check_input(c, 1, E, -1, 1);
    const check_array state = check_input(c, kept, E, -1, 1), zeros = check_input(c, kept, E, 0, 0);
    const check_array got = check_output(c, L, E), want = check_output(c, L, E), got_state = check_copy(c, &state);
    check_array want_state = state;
    const mbk_conv s = {.L = L,
                        .E = E,
                        .K = K,
                        .reverse = p.reverse,
                        .silu = 1,
                        .x = x.at,
                        .ldx = E,
                        .w = w.at,
                        .ldw = E,
                        .b = b.at,
                        .ldstate = E,
                        .ldy = E};
    mbk_conv all = s;
    all.segment = p.segment, all.y = got.at, all.state = p.carried ? got_state.at : NULL;
    check_true(c, ops->conv_fwd(NULL, &all) == MB_OK, "succeeds");
    for (int k = 0; k < p.sequences; k++) {
        const int q = processed(&p, k), t = p.start[q];
        mbk_conv one = s;
        want_state = check_copy(c, k == 0 ? &state : &zeros);
        one.L = p.start[q + 1] - t, one.x += t * E, one.y = want.at + (ptrdiff_t)t * E;
        one.state = p.carried || k ? want_state.at : NULL;
        check_true(c, mbk_conv_fwd_ref(NULL, &one) == MB_OK, "the reference succeeds");
    }
    near(c, "y", &got, &want);
    if (p.carried && K > 1)
        near(c, "state", &got_state, &want_state);
    check_end(c);
    check_release(c);
}

/* The last `after` rows of the packing are rows after the piece: they may belong to its last sequence, or to others. */
static void conv_bwd_case(check *c, const mbk_ops *ops, int L, int E, int K, int longest) {
    static packing p;
    const int after = check_pick(c, K) < L ? check_pick(c, K < L ? K : L) : 0, rows = L - after;
    p = make_packing(c, L, longest);
    check_begin(c, "conv_bwd %s packed L=%d after=%d E=%d K=%d sequences=%d reverse=%d", ops->device, rows, after, E, K,
                p.sequences, p.reverse);
    const int first = p.reverse ? after : 0; /* memory row of the piece's first */
    const check_array x = check_input(c, L, E, -1, 1), w = check_input(c, K, E, -1, 1), G = check_input(c, L, E, -1, 1);
    const check_array zeros = check_input(c, K, E, 0, 0);
    const check_array got = check_output(c, rows, E), want = check_output(c, rows, E);
    const check_array got_dw = check_copy(c, &zeros), want_dw = check_copy(c, &zeros);
    const mbk_conv_bwd s = {.L = rows,
                            .E = E,
                            .K = K,
                            .reverse = p.reverse,
                            .silu = 1,
                            .after = after,
                            .ldx = E,
                            .w = w.at,
                            .ldw = E,
                            .ldg = E,
                            .lddx = E,
                            .lddw = E};
    mbk_conv_bwd all = s;
    all.x = x.at + (ptrdiff_t)first * E, all.G = G.at + (ptrdiff_t)first * E, all.dx = got.at, all.dw = got_dw.at;
    all.segment = p.segment + first;
    check_true(c, ops->conv_bwd(NULL, &all) == MB_OK, "succeeds");
    for (int q = 0; q < p.sequences; q++) {
        /* the sequence's rows, those of the piece first in processing order */
        const int from = p.start[q] > first ? p.start[q] : first;
        const int to = p.start[q + 1] < first + rows ? p.start[q + 1] : first + rows;
        const int beyond = p.reverse ? from - p.start[q] : p.start[q + 1] - to;
        if (from >= to)
            continue;
        mbk_conv_bwd one = s;
        one.L = to - from, one.after = beyond < K - 1 ? beyond : K - 1;
        one.x = x.at + (ptrdiff_t)from * E, one.G = G.at + (ptrdiff_t)from * E;
        one.dx = want.at + (ptrdiff_t)(from - first) * E, one.dw = want_dw.at;
        check_true(c, mbk_conv_bwd_ref(NULL, &one) == MB_OK, "the reference succeeds");
    }
    near(c, "dx", &got, &want);
    near(c, "dw", &got_dw, &want_dw);
    check_end(c);
    check_release(c);
}

static void cases_of(check *c, const mbk_ops *ops) {
    static const int shapes[][4] = {/* L, E, N or K, longest */
                                    {1, 1, 1, 1},    {9, 5, 2, 1},   {70, 7, 3, 9},      {64, 33, 16, 64},
                                    {200, 9, 4, 70}, {260, 6, 5, 5}, {MAX_L, 3, 20, 200}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int k = 0; k < 6; k++) {
            const int *s = shapes[i];
            if (check_left_out(c, ops, 1))
                continue;
            scan_case(c, ops, s[0], s[1], s[2], s[3]);
            scan_bwd_case(c, ops, s[0], s[1], s[2], s[3]);
            conv_case(c, ops, s[0], s[1], 1 + check_pick(c, k ? K_MAX : 4), s[3]);
            conv_bwd_case(c, ops, s[0], s[1], 1 + check_pick(c, k ? K_MAX : 4), s[3]);
        }
}

static void cases(check *c) {
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    cases_of(c, mbk_ops_ref());
    for (int v = 0; v < n; v++)
        cases_of(c, ops[v]);
}
static void bench(check *c) {
    (void)c;
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_segments", cases, bench);
}
