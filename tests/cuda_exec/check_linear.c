/* Linear handles and weight gradients of the CUDA device, on the house's own product (cuBLASLt needs a GPU): fp32, TF32
 * and bf16 against the reference, weights stored either way, row distances, accumulation, one row, updated weights. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/gemm_bf16.h"
#include "tests/check.h"
#include "tests/cuda_exec/device.h"
#include "tests/cuda_exec/executor.h"

static const char *const names[] = {"fp32", "bf16", "tf32"};

/* A sum of k terms in float errs by some sqrt(k)/8 roundings of the sum of magnitudes (`size`), which is `terms`. */
static double bound(double terms, int k, double onto) {
    return (1 + sqrt(k) / 8) * terms + onto + FLT_MIN;
}

static void linear_case(check *c, int M, int Nout, int Kin, mbk_precision precision) {
    const mbk_ops *ops = check_device();
    const int turned = check_pick(c, 2), accumulate = check_pick(c, 2);
    check_begin(c, "linear %s M=%d Nout=%d Kin=%d transposed=%d accumulate=%d", names[precision], M, Nout, Kin, turned,
                accumulate);
    const check_array X = check_input(c, M, Kin, -1, 1), Y0 = check_input(c, M, Nout, -1, 1);
    const check_array W = turned ? check_input(c, Kin, Nout, -1, 1) : check_input(c, Nout, Kin, -1, 1);
    const check_array got = accumulate ? check_copy(c, &Y0) : check_output(c, M, Nout);
    const check_array want = accumulate ? check_copy(c, &Y0) : check_output(c, M, Nout);
    double *m = check_magnitudes(c, M, Nout);
    const mbk_linear_spec spec = {
        .Nout = Nout, .Kin = Kin, .W = W.at, .precision = precision, .transposed = turned, .M_typical = 64};
    mbk_linear *l = NULL, *ref = NULL;
    check_true(c, ops->linear_create(&l, &spec) == MB_OK && mbk_linear_create_ref(&ref, &spec) == MB_OK, "made");
    check_true(c, ops->linear_fwd(NULL, l, M, X.at, got.at, accumulate) == MB_OK, "succeeds");
    check_true(c, mbk_linear_fwd_ref(NULL, ref, M, X.at, want.at, accumulate) == MB_OK, "the reference succeeds");
    for (int i = 0; i < M * Nout; i++) {
        double terms = 0;
        for (int k = 0; k < Kin; k++)
            terms += fabs((double)X.at[i / Nout * Kin + k] *
                          W.at[turned ? k * Nout + i % Nout : i % Nout * (ptrdiff_t)Kin + k]);
        m[i] = bound(terms, Kin, accumulate ? fabsf(Y0.at[i]) : 0);
    }
    check_close(c, "Y", &got, &want, m, 2);
    check_true(c, ops->linear_bytes(&spec) >= (precision == MBK_BF16 ? 2u * (size_t)Nout * (size_t)Kin : 0), "counted");
    ops->linear_destroy(l);
    mbk_linear_destroy_ref(ref);
    check_end(c);
    check_release(c);
}

static void step_case(check *c, int Nout, int Kin, mbk_precision precision) {
    const mbk_ops *ops = check_device();
    const int n0 = check_pick(c, Nout), n1 = n0 + check_pick(c, Nout - n0 + 1);
    check_begin(c, "linear_step %s Nout=%d Kin=%d %d..%d", names[precision], Nout, Kin, n0, n1);
    const check_array x = check_input(c, 1, Kin, -1, 1), W = check_input(c, Nout, Kin, -1, 1);
    const check_array start = check_input(c, 1, Nout, 5, 5), got = check_copy(c, &start), want = check_copy(c, &start);
    double *m = check_magnitudes(c, 1, Nout);
    const mbk_linear_spec spec = {.Nout = Nout, .Kin = Kin, .W = W.at, .precision = precision, .M_typical = 1};
    mbk_linear *l = NULL, *ref = NULL;
    check_true(c, ops->linear_create(&l, &spec) == MB_OK && mbk_linear_create_ref(&ref, &spec) == MB_OK, "made");
    check_true(c, ops->linear_step(NULL, l, n0, n1, x.at, got.at) == MB_OK, "succeeds");
    check_true(c, mbk_linear_step_ref(NULL, ref, n0, n1, x.at, want.at) == MB_OK, "the reference succeeds");
    for (int n = 0; n < Nout; n++) {
        double terms = 0;
        for (int k = 0; k < Kin; k++)
            terms += fabs((double)x.at[k] * W.at[n * (ptrdiff_t)Kin + k]);
        m[n] = bound(terms, Kin, 0);
    }
    check_close(c, "y", &got, &want, m, 2);
    ops->linear_destroy(l);
    mbk_linear_destroy_ref(ref);
    check_end(c);
    check_release(c);
}

static void tn_case(check *c, int k, int m, int n, mbk_precision precision) {
    const mbk_ops *ops = check_device();
    c->packed = 0;
    const check_array A = check_input(c, k, m, -1, 1), B = check_input(c, k, n, -1, 1), C = check_input(c, m, n, -1, 1);
    const int accumulate = check_pick(c, 2);
    const check_array got = check_copy(c, &C), want = check_copy(c, &C);
    c->packed = 1;
    double *size = check_magnitudes(c, m, n);
    check_begin(c, "gemm_tn %s k=%d m=%d n=%d accumulate=%d", names[precision], k, m, n, accumulate);
    mbk_gemm_tn p = {.k = k,
                     .m = m,
                     .n = n,
                     .accumulate = accumulate,
                     .precision = precision,
                     .A = A.at,
                     .lda = A.ld,
                     .B = B.at,
                     .ldb = B.ld,
                     .C = got.at,
                     .ldc = got.ld};
    check_true(c, ops->gemm_tn(NULL, &p) == MB_OK, "succeeds");
    p.C = want.at;
    check_true(c, mbk_gemm_tn_ref(NULL, &p) == MB_OK, "the reference succeeds");
    for (int i = 0; i < m * n; i++) {
        double terms = 0;
        for (int t = 0; t < k; t++)
            terms += fabs((double)A.at[t * A.ld + i / n] * B.at[t * B.ld + i % n]);
        size[i] = bound(terms, k, accumulate ? fabsf(C.at[i / n * C.ld + i % n]) : 0);
    }
    check_close(c, "C", &got, &want, size, 2);
    check_end(c);
    check_release(c);
}

/* In bf16 a handle holds the weights of the last update, taken when it is next run; the bits of a row are its own. */
static void updated(check *c) {
    enum { M = 3, NOUT = 20, KIN = 17 };
    const mbk_ctx *ctx = cuda_exec_ctx();
    check_begin(c, "linear bf16: updated weights; rows alone");
    const check_array X = check_input(c, M, KIN, -1, 1), W = check_input(c, NOUT, KIN, -1, 1);
    check_array Y[4];
    const mbk_linear_spec spec = {.Nout = NOUT, .Kin = KIN, .W = W.at, .precision = MBK_BF16, .M_typical = M};
    mbk_linear *l = NULL;
    check_true(c, mbk_linear_create_cuda(&l, &spec) == MB_OK, "made");
    const size_t bytes = mbk_linear_fwd_work_cuda(l, M);
    void *work = cuda_exec_take(bytes);
    mbk_queue_lend(ctx->stream, work, bytes);
    for (int i = 0; i < 3; i++) {
        Y[i] = check_output(c, M, NOUT);
        if (i == 1)
            for (int k = 0; k < NOUT * KIN; k++)
                W.at[k] += 2.5f;
        if (i == 2)
            check_true(c, mbk_linear_update_cuda(l) == MB_OK, "updated");
        check_true(c, mbk_linear_fwd_cuda(ctx, l, M, X.at, Y[i].at, 0) == MB_OK, "succeeds");
    }
    check_same(c, "before the update", &Y[1], &Y[0]);
    check_true(c, memcmp(Y[2].at, Y[0].at, sizeof(float)) != 0, "after it other weights");
    for (int t = 0; t < M; t++) {
        check_array one = check_output(c, 1, NOUT), row = Y[2];
        row.at += t * row.ld, row.rows = 1, row.start = NULL;
        check_true(c, mbk_linear_fwd_cuda(ctx, l, 1, X.at + (ptrdiff_t)t * KIN, one.at, 0) == MB_OK, "succeeds");
        check_same(c, "a row alone", &one, &row);
    }
    mbk_queue_lend(ctx->stream, NULL, 0);
    cuda_exec_give(work);
    mbk_linear_destroy_cuda(l);
    mbk_linear_destroy_cuda(NULL);
    check_end(c);
    check_release(c);
}

static void cases(check *c) {
    static const int shapes[][3] = {{1, 1, 1}, {3, 65, 5}, {64, 64, 16}, {65, 7, 100}, {9, 130, 33}, {130, 48, 70}};
    c->packed = 1;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int precision = 0; precision < 3; precision++)
            for (int k = 0; k < 3; k++) {
                const int *s = shapes[i];
                if (check_left_out(c, check_device(), 1))
                    continue;
                linear_case(c, s[0], s[1], s[2], (mbk_precision)precision);
                tn_case(c, s[0], s[1], s[2], (mbk_precision)precision);
                if (precision != MBK_TF32)
                    step_case(c, s[1], s[2], (mbk_precision)precision);
            }
    updated(c);
}
static void bench(check *c) {
    (void)c;
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_linear", cases, bench);
}
