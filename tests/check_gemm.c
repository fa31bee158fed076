/* The matrix product: the handle (library or own kernel, whichever serves here), and the own loops of every instruction
 * set, against the reference; that a row's bits depend neither on the number of rows, nor on its place, nor on the
 * thread; bf16 against its definition. */
#include <float.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "kernels/gemm_bf16.h"
#include "kernels/gemm_inner.h"
#include "tests/check.h"

typedef struct problem {
    int M, Nout, Kin, accumulate;
    mbk_precision precision;
    check_array X, W, Y0; /* Y0: what is accumulated onto */
} problem;

static problem make_problem(check *c, int M, int Nout, int Kin, mbk_precision precision) {
    problem p = {.M = M, .Nout = Nout, .Kin = Kin, .precision = precision};
    p.accumulate = check_pick(c, 2);
    p.X = check_input(c, M, Kin, -1, check_pick(c, 2) ? 1 : 3);
    p.W = check_input(c, Nout, Kin, -1, 1);
    p.Y0 = check_input(c, M, Nout, -1, 1);
    return p;
}

static mbk_linear_spec spec_of(const problem *p, int M_typical) {
    return (mbk_linear_spec){
        .Nout = p->Nout, .Kin = p->Kin, .W = p->W.at, .precision = p->precision, .M_typical = M_typical};
}

static double as_used(mbk_precision precision, float v) {
    return fabs(precision == MBK_BF16 ? mbk_bf16_to_float(mbk_bf16_from_float(v)) : v);
}

/* Sum of the terms' magnitudes; a sum of Kin terms in float errs by some sqrt(Kin)/8 roundings of it. */
static double *magnitudes(check *c, const problem *p) {
    double *m = check_magnitudes(c, p->M, p->Nout);
    const double steps = 1 + sqrt(p->Kin) / 8;
    for (int i = 0; i < p->M; i++)
        for (int n = 0; n < p->Nout; n++) {
            double sum = 0;
            for (int k = 0; k < p->Kin; k++)
                sum += as_used(p->precision, p->X.at[(ptrdiff_t)i * p->Kin + k]) *
                       as_used(p->precision, p->W.at[(ptrdiff_t)n * p->Kin + k]);
            m[(ptrdiff_t)i * p->Nout + n] =
                steps * sum + (p->accumulate ? fabsf(p->Y0.at[(ptrdiff_t)i * p->Nout + n]) : 0);
        }
    return m;
}

static check_array fresh(check *c, const problem *p) {
    return p->accumulate ? check_copy(c, &p->Y0) : check_output(c, p->M, p->Nout);
}

static check_array rows_of(check_array a, int first, int rows) {
    a.at += (ptrdiff_t)first * a.ld;
    a.rows = rows;
    a.start = NULL;
    return a;
}

static check_array reference(check *c, const problem *p) {
    const mbk_linear_spec spec = spec_of(p, 1);
    check_array Y = fresh(c, p);
    mbk_linear *l = NULL;
    check_true(c, mbk_linear_create_ref(&l, &spec) == MB_OK, "the reference is made");
    check_true(c, mbk_linear_fwd_ref(NULL, l, p->M, p->X.at, Y.at, p->accumulate) == MB_OK, "the reference runs");
    mbk_linear_destroy_ref(l);
    return Y;
}

/* ---- the handle ------------------------------------------------------------------------------------------------- */

static mbk_linear *make_linear(check *c, const problem *p, int M_typical) {
    const mbk_linear_spec spec = spec_of(p, M_typical);
    mbk_linear *l = NULL;
    check_true(c, mbk_linear_create_cpu(&l, &spec) == MB_OK, "the handle is made");
    return l;
}

static void run_linear(check *c, const mbk_linear *l, const problem *p, int first, int rows, check_array *Y) {
    const check_array X = rows_of(p->X, first, rows);
    check_true(c, mbk_linear_fwd_cpu(NULL, l, rows, X.at, Y->at, p->accumulate) == MB_OK, "the handle runs");
}

static void handle_compare(check *c, int M, int Nout, int Kin, mbk_precision precision, int M_typical) {
    problem p = make_problem(c, M, Nout, Kin, precision);
    check_begin(c, "linear %s M=%d Nout=%d Kin=%d M_typical=%d accumulate=%d", precision ? "bf16" : "fp32", M, Nout,
                Kin, M_typical, p.accumulate);
    mbk_linear *l = make_linear(c, &p, M_typical);
    check_array Y = fresh(c, &p), want = reference(c, &p);
    run_linear(c, l, &p, 0, M, &Y);
    const double *m = magnitudes(c, &p);
    check_close(c, "Y", &Y, &want, m, 2);
    p.accumulate = 0;
    check_array y = check_output(c, 1, Nout);
    const int n0 = check_pick(c, Nout + 1), n1 = n0 + check_pick(c, Nout + 1 - n0);
    check_true(c, mbk_linear_step_cpu(NULL, l, 0, n0, p.X.at, y.at) == MB_OK, "step, first columns");
    check_true(c, mbk_linear_step_cpu(NULL, l, n1, Nout, p.X.at, y.at) == MB_OK, "step, last columns");
    for (int n = n0; n < n1; n++)
        check_true(c, isnan(y.at[n]), "step leaves the other columns alone");
    check_true(c, mbk_linear_step_cpu(NULL, l, n0, n1, p.X.at, y.at) == MB_OK, "step, columns between");
    problem first = p;
    first.M = first.X.rows = first.Y0.rows = 1;
    want = reference(c, &first);
    check_close(c, "y of step", &y, &want, magnitudes(c, &first), 2);
    check_array whole = check_output(c, 1, Nout);
    check_true(c, mbk_linear_step_cpu(NULL, l, 0, Nout, p.X.at, whole.at) == MB_OK, "step, all columns");
    check_same(c, "y of step in one range", &whole, &y);
    mbk_linear_destroy_cpu(l);
    check_end(c);
    check_release(c);
}

/* Runs of any number of rows, anywhere, have the bits of one run of all rows. */
static void handle_rows(check *c, int Nout, int Kin, mbk_precision precision, int M_typical, int step) {
    enum { ALL = 300 };
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        problem p = make_problem(c, ALL, Nout, Kin, precision);
        p.accumulate = accumulate;
        check_begin(c, "linear %s Nout=%d Kin=%d M_typical=%d accumulate=%d: bits for every number of rows",
                    precision ? "bf16" : "fp32", Nout, Kin, M_typical, accumulate);
        mbk_linear *l = make_linear(c, &p, M_typical);
        check_array whole = fresh(c, &p);
        run_linear(c, l, &p, 0, ALL, &whole);
        check_array Y = fresh(c, &p);
        for (int M = 1; M <= ALL; M += M < 20 ? 1 : step) {
            const int first = check_pick(c, ALL - M + 1);
            check_array part = rows_of(Y, first, M), same = rows_of(whole, first, M);
            for (int i = 0; i < M; i++)
                memcpy(part.at + (ptrdiff_t)i * Nout, p.Y0.at + (ptrdiff_t)(first + i) * Nout,
                       (size_t)Nout * sizeof(float));
            run_linear(c, l, &p, first, M, &part);
            check_same(c, "rows", &part, &same);
        }
        check_untouched(c, "Y", &Y);
        mbk_linear_destroy_cpu(l);
        check_end(c);
        check_release(c);
    }
}

static void handle_not_a_number(check *c, mbk_precision precision) {
    problem p = make_problem(c, 9, 40, 33, precision);
    p.accumulate = 0;
    p.X.at[4 * p.X.ld + 7] = NAN;
    check_begin(c, "linear %s: NaN stays in its row", precision ? "bf16" : "fp32");
    mbk_linear *l = make_linear(c, &p, 16);
    check_array Y = check_output(c, 9, 40);
    run_linear(c, l, &p, 0, 9, &Y);
    for (int i = 0; i < 9 * 40; i++)
        check_true(c, (i / 40 == 4) == !!isnan(Y.at[i]), "NaN in row 4 and only there");
    mbk_linear_destroy_cpu(l);
    check_end(c);
    check_release(c);
}

/* (Kin,Nout) of the weights (Nout,Kin). */
static check_array transposed(check *c, const problem *p) {
    check_array T = check_input(c, p->Kin, p->Nout, 0, 1);
    for (int n = 0; n < p->Nout; n++)
        for (int k = 0; k < p->Kin; k++)
            T.at[(ptrdiff_t)k * p->Nout + n] = p->W.at[(ptrdiff_t)n * p->Kin + k];
    return T;
}

/* Weights stored the other way round are the same weights: the bits are those of the plain handle. */
static void handle_transposed(check *c, int M, int Nout, int Kin, mbk_precision precision, int M_typical) {
    problem p = make_problem(c, M, Nout, Kin, precision);
    check_begin(c, "linear %s transposed M=%d Nout=%d Kin=%d M_typical=%d accumulate=%d", precision ? "bf16" : "fp32",
                M, Nout, Kin, M_typical, p.accumulate);
    const check_array T = transposed(c, &p), want = reference(c, &p);
    mbk_linear_spec spec = spec_of(&p, M_typical);
    spec.W = T.at;
    spec.transposed = 1;
    mbk_linear *plain = make_linear(c, &p, M_typical), *l = NULL, *ref = NULL;
    check_true(c, mbk_linear_create_cpu(&l, &spec) == MB_OK, "the transposed handle is made");
    check_true(c, mbk_linear_create_ref(&ref, &spec) == MB_OK, "the transposed reference is made");
    check_array Y = fresh(c, &p), Z = fresh(c, &p), R = fresh(c, &p);
    run_linear(c, plain, &p, 0, M, &Y);
    run_linear(c, l, &p, 0, M, &Z);
    check_true(c, mbk_linear_fwd_ref(NULL, ref, M, p.X.at, R.at, p.accumulate) == MB_OK, "the reference runs");
    check_close(c, "Y", &Z, &want, magnitudes(c, &p), 2);
    check_same(c, "Y of the plain handle", &Z, &Y);
    check_same(c, "Y of the transposed reference", &R, &want);
    check_true(c, mbk_linear_bytes_cpu(&spec) >= (size_t)Nout * (size_t)Kin * (precision ? 2 : 4), "bytes are counted");
    mbk_linear_destroy_ref(ref);
    mbk_linear_destroy_cpu(plain);
    mbk_linear_destroy_cpu(l);
    check_end(c);
    check_release(c);
}

/* After update a handle is what a new one would be, to the bit; before it, only step of fp32 sees the new weights. */
static void handle_update(check *c, int M, int Nout, int Kin, mbk_precision precision, int turned) {
    problem p = make_problem(c, M, Nout, Kin, precision);
    p.accumulate = 0;
    check_begin(c, "linear %s transposed=%d M=%d Nout=%d Kin=%d: update", precision ? "bf16" : "fp32", turned, M, Nout,
                Kin);
    mbk_linear_spec spec = spec_of(&p, M);
    spec.transposed = turned;
    mbk_linear *l = NULL, *made = NULL;
    check_array Y[4];
    for (int i = 0; i < 4; i++)
        Y[i] = check_output(c, M, Nout);
    check_true(c, mbk_linear_create_cpu(&l, &spec) == MB_OK, "the handle is made");
    run_linear(c, l, &p, 0, M, &Y[0]);
    for (int i = 0; i < Nout * Kin; i++)
        p.W.at[i] += 2.5f; /* other numbers in bf16 too */
    run_linear(c, l, &p, 0, M, &Y[1]);
    check_same(c, "Y before the update", &Y[1], &Y[0]);
    check_true(c, mbk_linear_update_cpu(l) == MB_OK, "the update succeeds");
    check_true(c, mbk_linear_create_cpu(&made, &spec) == MB_OK, "a new handle is made");
    run_linear(c, l, &p, 0, M, &Y[2]);
    run_linear(c, made, &p, 0, M, &Y[3]);
    check_same(c, "Y of a new handle", &Y[2], &Y[3]);
    check_true(c, memcmp(Y[2].at, Y[0].at, (size_t)Nout * sizeof(float)) != 0, "the weights did change");
    if (!turned) {
        check_array y = check_output(c, 1, Nout), z = check_output(c, 1, Nout);
        check_true(c, mbk_linear_step_cpu(NULL, l, 0, Nout, p.X.at, y.at) == MB_OK, "step after the update");
        check_true(c, mbk_linear_step_cpu(NULL, made, 0, Nout, p.X.at, z.at) == MB_OK, "step of a new handle");
        check_same(c, "y of step", &y, &z);
    }
    mbk_linear_destroy_cpu(made);
    mbk_linear_destroy_cpu(l);
    check_end(c);
    check_release(c);
}

static void handle_bytes(check *c) {
    problem p = make_problem(c, 1, 1000, 300, MBK_FP32);
    mbk_linear_spec spec = spec_of(&p, 64);
    check_begin(c, "linear: what a handle holds");
    const size_t weights = (size_t)p.Nout * (size_t)p.Kin;
    check_true(c, mbk_linear_bytes_cpu(&spec) >= weights * 4, "fp32: the packed weights");
    check_true(c, mbk_linear_bytes_cpu(&spec) < weights * 5, "fp32: not much more");
    spec.precision = MBK_BF16;
    check_true(c, mbk_linear_bytes_cpu(&spec) >= weights * 4, "bf16: the packed weights and the rows");
    check_true(c, mbk_linear_bytes_cpu(&spec) < weights * 7, "bf16: not much more");
    check_true(c, strlen(mbk_linear_library()) > 20, "the library is named");
    mbk_linear *none = NULL;
    spec.precision = MBK_TF32;
    check_true(c, mbk_linear_create_cpu(&none, &spec) == MB_NOTSUP && !none, "no TF32 on a processor");
    check_end(c);
    check_release(c);
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, TURNS = 12 };

/* Threads of an OpenMP region, each with other numbers of rows at other times, on a handle nobody has used yet. */
static void threads_region(check *c, int Nout, int Kin, mbk_precision precision) {
    problem p = make_problem(c, 97, Nout, Kin, precision);
    p.accumulate = 0;
    check_begin(c, "linear %s Nout=%d Kin=%d: threads of a region", precision ? "bf16" : "fp32", Nout, Kin);
    mbk_linear *used = make_linear(c, &p, 64), *l = make_linear(c, &p, 64);
    check_array whole = check_output(c, p.M, Nout), Y[THREADS];
    run_linear(c, used, &p, 0, p.M, &whole);
    for (int t = 0; t < THREADS; t++)
        Y[t] = check_output(c, p.M, Nout);
    int failed = 0, crowd = 0;
#pragma omp parallel num_threads(THREADS) reduction(+ : failed)
    {
        const int t = omp_get_thread_num();
        const mbk_ctx ctx = {.worker = t};
#pragma omp single
        crowd = omp_get_num_threads();
        for (int turn = 0; turn < TURNS; turn++)
            for (int m = 0, rows; m < p.M; m += rows) {
                rows = 1 + (7 * turn + 13 * t + 5 * m) % 40;
                rows = rows < p.M - m ? rows : p.M - m;
                failed += mbk_linear_fwd_cpu(&ctx, l, rows, p.X.at + (ptrdiff_t)m * Kin, Y[t].at + (ptrdiff_t)m * Nout,
                                             0) != MB_OK;
            }
    }
    check_true(c, !failed, "every thread succeeds");
    check_true(c, crowd == THREADS, "there were several threads");
    for (int t = 0; t < THREADS; t++)
        check_same(c, "Y of a thread", &Y[t], &whole);
    mbk_linear_destroy_cpu(used);
    mbk_linear_destroy_cpu(l);
    check_end(c);
    check_release(c);
}

typedef struct together {
    const problem *p;
    const mbk_linear *l;
    pthread_barrier_t *start;
    float *Y[THREADS];
    int rc;
} together;

static void *first_use(void *user) {
    together *w = user;
    for (int i = 0; i < THREADS; i++) {
        pthread_barrier_wait(w->start);
        const int rc = mbk_linear_fwd_cpu(NULL, w->l, w->p->M - i, w->p->X.at, w->Y[i], 0);
        w->rc = w->rc == MB_OK ? rc : w->rc;
    }
    return NULL;
}

/* Plain threads that meet at the first use of a number of rows; nobody is inside an OpenMP region. */
static void threads_first_use(check *c, mbk_precision precision) {
    problem p = make_problem(c, 33, 70, 100, precision);
    p.accumulate = 0;
    check_begin(c, "linear %s: threads that meet at the first use", precision ? "bf16" : "fp32");
    mbk_linear *used = make_linear(c, &p, 64), *l = make_linear(c, &p, 64);
    check_array whole = check_output(c, p.M, p.Nout), Y[THREADS][THREADS];
    run_linear(c, used, &p, 0, p.M, &whole);
    pthread_barrier_t start;
    pthread_t thread[THREADS];
    together w[THREADS];
    pthread_barrier_init(&start, NULL, THREADS);
    for (int t = 0; t < THREADS; t++) {
        w[t] = (together){.p = &p, .l = l, .start = &start};
        for (int i = 0; i < THREADS; i++)
            w[t].Y[i] = (Y[t][i] = check_output(c, p.M - i, p.Nout)).at;
        check_true(c, pthread_create(&thread[t], NULL, first_use, &w[t]) == 0, "a thread starts");
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(thread[t], NULL);
        check_true(c, w[t].rc == MB_OK, "every thread succeeds");
        for (int i = 0; i < THREADS; i++) {
            const check_array same = rows_of(whole, 0, p.M - i);
            check_same(c, "Y of a thread", &Y[t][i], &same);
        }
    }
    pthread_barrier_destroy(&start);
    mbk_linear_destroy_cpu(used);
    mbk_linear_destroy_cpu(l);
    check_end(c);
    check_release(c);
}

/* ---- gradients of weights --------------------------------------------------------------------------------------- */

typedef struct tn_problem {
    mbk_gemm_tn args; /* but C */
    check_array A, B, C0;
    double spread; /* sqrt(terms) / spread roundings: of sums of one sign, which grow, more than of others */
} tn_problem;

/* low = 0: all terms have one sign, so that a sum in one chain would lose what it adds. */
static tn_problem tn_make(check *c, int64_t k, int m, int n, mbk_precision precision, float low) {
    tn_problem p = {.spread = low < 0 ? 8 : 4};
    c->packed = 0; /* row distances are free */
    p.A = check_input(c, (int)k, m, low, check_pick(c, 2) ? 1 : 3);
    p.B = check_input(c, (int)k, n, low, 1);
    p.C0 = check_input(c, m, n, -1, 1);
    c->packed = 1;
    p.args = (mbk_gemm_tn){.k = k, .m = m, .n = n, .accumulate = check_pick(c, 2), .precision = precision};
    p.args.A = p.A.at;
    p.args.B = p.B.at;
    p.args.lda = p.A.ld;
    p.args.ldb = p.B.ld;
    return p;
}

static check_array tn_fresh(check *c, const tn_problem *p) {
    c->packed = 0;
    check_array C = p->args.accumulate ? check_copy(c, &p->C0) : check_output(c, p->args.m, p->args.n);
    c->packed = 1;
    return C;
}

/* As magnitudes(), for chains of some 256 terms that are added up. */
static double *tn_magnitudes(check *c, const tn_problem *p) {
    const mbk_gemm_tn *t = &p->args;
    double *out = check_magnitudes(c, t->m, t->n);
    const double k = (double)t->k, steps = 1 + sqrt((k < 256 ? k : 256) + k / 256) / p->spread;
    for (int64_t r = 0; r < t->k; r++)
        for (int i = 0; i < t->m; i++)
            for (int j = 0; j < t->n; j++)
                out[(ptrdiff_t)i * t->n + j] += steps * as_used(t->precision, p->A.at[r * p->A.ld + i]) *
                                                as_used(t->precision, p->B.at[r * p->B.ld + j]);
    for (int i = 0; t->accumulate && i < t->m; i++)
        for (int j = 0; j < t->n; j++)
            out[(ptrdiff_t)i * t->n + j] += fabsf(p->C0.at[i * p->C0.ld + j]);
    return out;
}

static void tn_run(check *c, mbk_gemm_tn_fn *run, const tn_problem *p, check_array *C) {
    mbk_gemm_tn args = p->args;
    args.C = C->at;
    args.ldc = C->ld;
    check_true(c, run(NULL, &args) == MB_OK, "the product runs");
}

/* C in blocks of columns of A, and of B as well, on several threads. */
static void tn_in_blocks(check *c, const mbk_ops *ops, const tn_problem *p, check_array *C) {
    const int step = MBK_TN_BLOCK * (1 + check_pick(c, 3)), width = 1 + check_pick(c, p->args.n);
    int failed = 0;
#pragma omp parallel for num_threads(2) collapse(2) reduction(+ : failed)
    for (int i = 0; i < p->args.m; i += step)
        for (int j = 0; j < p->args.n; j += width) {
            mbk_gemm_tn args = p->args;
            args.m = args.m - i < step ? args.m - i : step;
            args.n = args.n - j < width ? args.n - j : width;
            args.A += i;
            args.B += j;
            args.C = C->at + i * C->ld + j;
            args.ldc = C->ld;
            failed += ops->gemm_tn(NULL, &args) != MB_OK;
        }
    check_true(c, !failed, "every block succeeds");
}

static void tn_compare(check *c, const mbk_ops *ops, int64_t k, int m, int n, mbk_precision precision, float low) {
    const tn_problem p = tn_make(c, k, m, n, precision, low);
    check_begin(c, "gemm_tn %s %s k=%d m=%d n=%d accumulate=%d low=%g lda=%d ldb=%d", ops->isa,
                precision ? "bf16" : "fp32", (int)k, m, n, p.args.accumulate, (double)low, (int)p.A.ld, (int)p.B.ld);
    check_array C = tn_fresh(c, &p), want = tn_fresh(c, &p), blocks = tn_fresh(c, &p);
    tn_run(c, mbk_gemm_tn_ref, &p, &want);
    tn_run(c, ops->gemm_tn, &p, &C);
    check_close(c, "C", &C, &want, tn_magnitudes(c, &p), 2);
    tn_in_blocks(c, ops, &p, &blocks);
    check_same(c, "C in blocks", &blocks, &C);
    check_end(c);
    check_release(c);
}

static void tn_not_a_number(check *c, const mbk_ops *ops, mbk_precision precision) {
    tn_problem p = tn_make(c, 301, 40, 50, precision, -1);
    p.args.accumulate = 0;
    p.A.at[300 * p.A.ld + 7] = NAN;
    p.B.at[5 * p.B.ld + 11] = INFINITY;
    check_begin(c, "gemm_tn %s %s: NaN and infinity stay in their columns", ops->isa, precision ? "bf16" : "fp32");
    check_array C = check_output(c, 40, 50);
    tn_run(c, ops->gemm_tn, &p, &C);
    check_untouched(c, "C", &C);
    for (int i = 0; i < 40; i++)
        for (int j = 0; j < 50; j++) {
            const float v = C.at[i * C.ld + j];
            check_true(c, (i == 7) == !!isnan(v), "NaN in row 7 and only there");
            check_true(c, i == 7 || (j == 11) == !!isinf(v), "infinity in column 11 and only there");
        }
    check_end(c);
    check_release(c);
}

static void tn_cases(check *c, const mbk_ops *ops, mbk_precision precision) {
    static const int edges[][3] = {{1, 1, 1},     {1, 13, 33},   {2, 1, 40},  {3, 40, 1},
                                   {255, 12, 32}, {257, 25, 17}, {513, 9, 65}};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        tn_compare(c, ops, edges[i][0], edges[i][1], edges[i][2], precision, -1);
    for (int i = 0; i < 60; i++)
        tn_compare(c, ops, 1 + check_pick(c, i % 4 ? 60 : 1200), 1 + check_pick(c, 40), 1 + check_pick(c, 80),
                   precision, i % 3 ? -1 : 0);
    tn_compare(c, ops, 130, 1 + check_pick(c, 500), 1 + check_pick(c, 100), precision, -1);
    tn_compare(c, ops, 70, 100 + check_pick(c, 100), 520 + check_pick(c, 600), precision, -1);
    tn_compare(c, ops, 20000, 13, 21, precision, 0);
    tn_compare(c, ops, 20001, 5, 9, precision, -1);
    tn_not_a_number(c, ops, precision);
}

/* ---- the own loops of every instruction set --------------------------------------------------------------------- */

/* Packed weights in an array that ends where the memory ends. */
static check_array pack(check *c, const mbk_gemm_inner *inner, const problem *p) {
    const int columns = (p->Nout + inner->columns - 1) / inner->columns * inner->columns;
    check_array packed = check_output(c, columns, p->Kin);
    inner->tile_pack(p->Nout, p->Kin, 0, p->W.at, packed.at);
    check_untouched(c, "packed weights", &packed);
    return packed;
}

static void inner_tile(check *c, const mbk_gemm_inner *inner, int M, int Nout, int Kin) {
    problem p = make_problem(c, M, Nout, Kin, MBK_FP32);
    check_begin(c, "tile_fwd %s M=%d Nout=%d Kin=%d accumulate=%d", inner->isa, M, Nout, Kin, p.accumulate);
    const check_array packed = pack(c, inner, &p), want = reference(c, &p);
    check_array Y = fresh(c, &p);
    inner->tile_fwd(M, Nout, Kin, packed.at, p.X.at, Y.at, p.accumulate);
    check_close(c, "Y", &Y, &want, magnitudes(c, &p), 2);
    for (int m = 0, rows; m < M; m += rows) {
        rows = 1 + check_pick(c, M - m);
        check_array Z = check_output(c, rows, Nout);
        for (int i = 0; p.accumulate && i < rows; i++)
            memcpy(Z.at + (ptrdiff_t)i * Nout, p.Y0.at + (ptrdiff_t)(m + i) * Nout, (size_t)Nout * sizeof(float));
        inner->tile_fwd(rows, Nout, Kin, packed.at, p.X.at + (ptrdiff_t)m * Kin, Z.at, p.accumulate);
        const check_array same = rows_of(Y, m, rows);
        check_same(c, "rows", &Z, &same);
        if (c->memories > 150) /* arrays of one case are limited */
            break;
    }
    check_end(c);
    check_release(c);
}

static void inner_row(check *c, const mbk_gemm_inner *inner, int Nout, int Kin) {
    for (int precision = 0; precision < 2; precision++) {
        problem p = make_problem(c, 1, Nout, Kin, (mbk_precision)precision);
        p.accumulate = 0;
        check_begin(c, "%s %s Nout=%d Kin=%d", precision ? "row16_fwd" : "row_fwd", inner->isa, Nout, Kin);
        const check_array want = reference(c, &p);
        check_array whole = check_output(c, 1, Nout), parts = check_output(c, 1, Nout);
        check_array x = check_output(c, 1, Kin), bits = check_output(c, Nout, (Kin + 1) / 2);
        uint16_t *W16 = (uint16_t *)(void *)bits.at;
        if (precision) {
            inner->row16_prepare(Kin, p.X.at, x.at);
            inner->bf16_round((size_t)Nout * (size_t)Kin, p.W.at, W16);
            check_untouched(c, "prepared x", &x);
            check_untouched(c, "bf16 weights", &bits);
            inner->row16_fwd(0, Nout, Kin, W16, x.at, whole.at);
        } else
            inner->row_fwd(0, Nout, Kin, p.W.at, p.X.at, whole.at);
        for (int n = 0, count; n < Nout; n += count) {
            count = 1 + check_pick(c, Nout - n < 9 ? Nout - n : 9);
            if (precision)
                inner->row16_fwd(n, n + count, Kin, W16, x.at, parts.at);
            else
                inner->row_fwd(n, n + count, Kin, p.W.at, p.X.at, parts.at);
        }
        check_close(c, "y", &whole, &want, magnitudes(c, &p), 2);
        check_same(c, "y in parts", &parts, &whole);
        check_end(c);
        check_release(c);
    }
}

/* The bf16 nearest to v, ties to the even one, from its neighbours: another way than by adding to the bits. */
static uint16_t nearest_bf16(float v) {
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    const uint16_t low = (uint16_t)(u >> 16), high = (uint16_t)(low + 1);
    if (isnan(v))
        return (uint16_t)(low | 0x40);
    const uint32_t rest = u & 0xffff;
    if (rest == 0x8000)
        return low & 1 ? high : low;
    return rest > 0x8000 ? high : low;
}

static void inner_rounding(check *c, const mbk_gemm_inner *inner) {
    enum { COUNT = 4096 };
    static const uint32_t special[] = {0x00000000, 0x80000000, 0x00000001, 0x00008000, 0x00008001, 0x00018000,
                                       0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0x7f7fffff, 0xff7fffff,
                                       0x7f7f7fff, 0x7f7f8000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
                                       0xff80ffff, 0x7fffffff, 0xffffffff};
    const int specials = (int)(sizeof special / sizeof *special);
    check_begin(c, "bf16_round, bf16_clip %s", inner->isa);
    check_array x = check_input(c, 1, COUNT, -1, 1), clipped = check_output(c, 1, COUNT);
    check_array bits = check_output(c, 1, COUNT / 2);
    for (int i = 0; i < COUNT; i++) {
        const uint32_t u = i < specials ? special[i] : (uint32_t)check_random(c);
        memcpy(x.at + i, &u, sizeof u);
    }
    const uint16_t *y = (const uint16_t *)(const void *)bits.at;
    inner->bf16_round(COUNT, x.at, (uint16_t *)(void *)bits.at);
    inner->bf16_clip(COUNT, x.at, clipped.at);
    for (int i = 0; i < COUNT; i++) {
        const float wide = mbk_bf16_to_float(y[i]);
        const uint16_t want = nearest_bf16(x.at[i]);
        const int vanished = fpclassify(x.at[i]) == FP_SUBNORMAL && wide == 0;
        check_true(c, want == mbk_bf16_from_float(x.at[i]), "the scalar: nearest, ties to even, NaN stays NaN");
        check_true(c, y[i] == want || vanished, "the vector: the same, but that subnormals may vanish");
        check_true(c, vanished || !memcmp(&wide, clipped.at + i, sizeof wide), "the same in a float");
    }
    check_untouched(c, "bits", &bits);
    check_untouched(c, "clipped", &clipped);
    check_end(c);
    check_release(c);
}

/* ---- cases ------------------------------------------------------------------------------------------------------ */

static const int real_sizes[][2] = {/* Nout, Kin: projections of Caduceus 131k, Mamba-130m */
                                    {1024, 256}, {256, 512}, {48, 512},  {512, 16},
                                    {3072, 768}, {80, 1536}, {1536, 48}, {768, 1536}};
enum { REAL_SIZES = sizeof real_sizes / sizeof *real_sizes };

static void handle_cases(check *c, mbk_precision precision) {
    static const int edges[][3] = {{1, 1, 1},   {1, 7, 1},    {3, 1, 9},   {2, 16, 16},
                                   {5, 17, 33}, {16, 64, 64}, {13, 65, 63}};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        handle_compare(c, edges[i][0], edges[i][1], edges[i][2], precision, 1 + check_pick(c, 40));
    for (int i = 0; i < 120; i++)
        handle_compare(c, 1 + check_pick(c, i % 10 ? 40 : 300), 1 + check_pick(c, 100), 1 + check_pick(c, 100),
                       precision, 1 + check_pick(c, 130));
    for (int i = 0; i < REAL_SIZES; i++) {
        handle_compare(c, 1 + check_pick(c, 30), real_sizes[i][0], real_sizes[i][1], precision, 128);
        if ((long)real_sizes[i][0] * real_sizes[i][1] < 1 << 20)
            handle_rows(c, real_sizes[i][0], real_sizes[i][1], precision, i % 2 ? 64 : 128, 23);
    }
    for (int i = 0; i < 60; i++)
        handle_transposed(c, 1 + check_pick(c, 40), 1 + check_pick(c, i % 4 ? 70 : 400),
                          1 + check_pick(c, i % 3 ? 70 : 400), precision, 1 + check_pick(c, 130));
    for (int i = 0; i < REAL_SIZES; i++)
        handle_transposed(c, 1 + check_pick(c, 9), real_sizes[i][1], real_sizes[i][0], precision, 128);
    for (int i = 0; i < 20; i++)
        handle_update(c, 1 + check_pick(c, 40), 1 + check_pick(c, 200), 1 + check_pick(c, 200), precision, i % 2);
    handle_update(c, 1, 1, 1, precision, 0);
    handle_update(c, 3, 1024, 256, precision, 1);
    handle_rows(c, 1 + check_pick(c, 100), 1 + check_pick(c, 100), precision, 300, 1);
    handle_rows(c, 1 + check_pick(c, 60), 1 + check_pick(c, 1500), precision, 256, 7);
    handle_rows(c, 1 + check_pick(c, 60), 1, precision, 17, 7);
    handle_not_a_number(c, precision);
    threads_region(c, 100, 300, precision);
    threads_region(c, 33, 17, precision);
    threads_first_use(c, precision);
}

static void cases(check *c) {
    const mbk_ops *ops[8];
    const int variants = check_variants(ops);
    c->packed = 1; /* matrices are contiguous */
    printf("%s: %s\n", c->name, mbk_linear_library());
    handle_bytes(c);
    handle_cases(c, MBK_FP32);
    handle_cases(c, MBK_BF16);
    for (int v = 0; v < variants; v++) {
        tn_cases(c, ops[v], MBK_FP32);
        tn_cases(c, ops[v], MBK_BF16);
        const mbk_gemm_inner *inner = mbk_gemm_inner_isa(ops[v]->isa);
        check_begin(c, "inner loops for %s", ops[v]->isa);
        check_true(c, inner != NULL, "are there");
        check_end(c);
        if (!inner)
            continue;
        for (int i = 0; i < 60; i++) {
            inner_tile(c, inner, 1 + check_pick(c, 40), 1 + check_pick(c, 100), 1 + check_pick(c, i % 4 ? 100 : 900));
            inner_row(c, inner, 1 + check_pick(c, 60), 1 + check_pick(c, i % 4 ? 130 : 900));
        }
        inner_tile(c, inner, 300, 1 + check_pick(c, 60), MBK_TILE_DEPTH);
        inner_rounding(c, inner);
    }
}

/* ---- rates ------------------------------------------------------------------------------------------------------ */

typedef struct job {
    const mbk_linear *linear;
    const mbk_gemm_inner *inner; /* NULL: the handle */
    int M, Nout, Kin, step;
    const float *packed, *X;
    float *Y;
} job;

static void run(void *user) {
    const job *j = user;
    if (j->step)
        mbk_linear_step_cpu(NULL, j->linear, 0, j->Nout, j->X, j->Y);
    else if (j->inner)
        j->inner->tile_fwd(j->M, j->Nout, j->Kin, j->packed, j->X, j->Y, 0);
    else
        mbk_linear_fwd_cpu(NULL, j->linear, j->M, j->X, j->Y, 0);
}

/* inner NULL: the handle. step: one row, else M. Every thread has its own product. */
static void rate(check *c, const mbk_gemm_inner *inner, int M, int Nout, int Kin, mbk_precision precision, int step) {
    job jobs[64];
    void *args[64];
    char what[100];
    const problem p = make_problem(c, M, Nout, Kin, precision);
    check_begin(c, "rates");
    mbk_linear *l = make_linear(c, &p, M);
    const check_array packed = inner ? pack(c, inner, &p) : (check_array){.at = NULL};
    for (int t = 0; t < c->threads && t < 64; t++) {
        jobs[t] = (job){l, inner, M, Nout, Kin, step, packed.at, check_copy(c, &p.X).at, check_output(c, M, Nout).at};
        args[t] = &jobs[t];
    }
    snprintf(what, sizeof what, "%s %s M=%d Nout=%d Kin=%d", step ? "step" : "fwd", precision ? "bf16" : "fp32",
             step ? 1 : M, Nout, Kin);
    const double flops = 2.0 * (step ? 1 : M) * Nout * Kin;
    check_bench(c, inner ? inner->isa : "handle", what, "flop", run, args, flops, 1, step ? (precision ? 1 : 2) : 0);
    mbk_linear_destroy_cpu(l);
    check_release(c);
}

typedef struct tn_job {
    mbk_gemm_tn_fn *run;
    mbk_gemm_tn args;
} tn_job;

static void tn_one(void *user) {
    const tn_job *j = user;
    j->run(NULL, &j->args);
}

static void tn_rate(check *c, const mbk_ops *ops, int k, int m, int n, mbk_precision precision) {
    tn_job jobs[64];
    void *args[64];
    char what[100];
    check_begin(c, "rates");
    for (int t = 0; t < c->threads && t < 64; t++) {
        const check_array A = check_input(c, k, m, -1, 1), B = check_input(c, k, n, -1, 1), C = check_output(c, m, n);
        jobs[t] = (tn_job){ops->gemm_tn,
                           {.k = k,
                            .m = m,
                            .n = n,
                            .precision = precision,
                            .A = A.at,
                            .lda = m,
                            .B = B.at,
                            .ldb = n,
                            .C = C.at,
                            .ldc = n}};
        args[t] = &jobs[t];
    }
    snprintf(what, sizeof what, "gemm_tn %s k=%d m=%d n=%d", precision ? "bf16" : "fp32", k, m, n);
    check_bench(c, ops->isa, what, "flop", tn_one, args, 2.0 * k * m * n, 1, 0);
    check_release(c);
}

static void tn_bench(check *c, const mbk_ops *ops) {
    static const int sizes[][3] = {{1024, 1024, 256}, {4096, 1024, 256}, {4096, 128, 256},
                                   {4096, 256, 512},  {4096, 48, 512},   {4096, 512, 16},
                                   {2048, 3072, 768}, {2048, 80, 1536},  {2048, 1536, 48}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int precision = 0; precision < 2; precision++)
            tn_rate(c, ops, sizes[i][0], sizes[i][1], sizes[i][2], (mbk_precision)precision);
}

static void bench(check *c) {
    const mbk_ops *ops[8];
    const int variants = check_variants(ops);
    c->packed = 1;
    printf("%s: %s\n", c->name, mbk_linear_library());
    for (int i = 0; i < REAL_SIZES; i++) {
        const int M = (long)real_sizes[i][0] * real_sizes[i][1] > 1 << 20 ? 256 : 128;
        rate(c, NULL, M, real_sizes[i][0], real_sizes[i][1], MBK_FP32, 0);
        rate(c, NULL, M, real_sizes[i][0], real_sizes[i][1], MBK_BF16, 0);
        for (int v = 0; v < variants; v++)
            rate(c, mbk_gemm_inner_isa(ops[v]->isa), M, real_sizes[i][0], real_sizes[i][1], MBK_FP32, 0);
    }
    for (int v = 0; v < variants; v++)
        tn_bench(c, ops[v]);
    for (int precision = 0; precision < 2; precision++)
        rate(c, NULL, 1, 50280, 768, (mbk_precision)precision, 1);
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_gemm", cases, bench);
}
