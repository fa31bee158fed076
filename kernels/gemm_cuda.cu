/* Linear handles and weight gradients on a GPU, on whatever does the products (gemm_blas.cuh).
 *
 * fp32 means fp32; TF32 is asked for by name (MBK_TF32). bf16: a handle keeps its weights rounded, inputs are rounded
 * into the queue's workspace, sums stay fp32. update() only notes that the weights have changed; they are rounded again
 * on the stream of the next product, after whatever changed them. One row (step): memory alone, 4 bytes a weight or 2;
 * a warp an output, lanes along its row of W. Refuses what memory refuses. */
#include <cuda_bf16.h>
#include <stdlib.h>

#include "kernels/gemm_blas.cuh"

enum { ROUND_THREADS = 256, ROUND_BLOCKS = 4096, STEP_WARPS = 8 };

struct mbk_linear {
    mbk_linear_spec spec;
    __nv_bfloat16 *W16;  /* device, as W; NULL without bf16 */
    mutable int changed; /* W16 is older than W */
};

/* ---- rounding -----------------------------------------------------------------------------------------------------
 */
/* (rows,cols), row distance ld, into rows without gaps. */
typedef struct round_args {
    int64_t rows, cols;
    ptrdiff_t ld;
    const float *from;
    __nv_bfloat16 *to;
} round_args;

static __global__ void round_rows(const round_args a) {
    const int64_t n = a.rows * a.cols, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
        a.to[i] = __float2bfloat16_rn(a.from[i / a.cols * a.ld + i % a.cols]);
}

static int launch_round(const mbk_ctx *ctx, const char *name, int64_t rows, int64_t cols, ptrdiff_t ld,
                        const float *from, __nv_bfloat16 *to) {
    const round_args a = {rows, cols, ld, from, to};
    const unsigned blocks = blocks_for(rows * cols, ROUND_THREADS);
    return launch(ctx, name, round_rows, dim3(at_most(blocks, ROUND_BLOCKS)), dim3(ROUND_THREADS), 0, a);
}

/* ---- handles ------------------------------------------------------------------------------------------------------
 */
static size_t weights_of(const mbk_linear_spec *s) {
    return static_cast<size_t>(s->Nout) * static_cast<size_t>(s->Kin);
}

extern "C" size_t mbk_linear_bytes_cuda(const mbk_linear_spec *spec) {
    return sizeof(mbk_linear) + (spec->precision == MBK_BF16 ? weights_of(spec) * sizeof(__nv_bfloat16) : 0);
}

extern "C" int mbk_linear_create_cuda(mbk_linear **out, const mbk_linear_spec *spec) {
    MBK_ASSERT(spec->Nout >= 1 && spec->Kin >= 1 && spec->W);
    mbk_linear *l = static_cast<mbk_linear *>(calloc(1, sizeof *l));
    *out = NULL;
    if (!l)
        return MB_NOMEM;
    l->spec = *spec;
    l->changed = 1;
    if (spec->precision == MBK_BF16 &&
        cudaMalloc(reinterpret_cast<void **>(&l->W16), weights_of(spec) * sizeof(__nv_bfloat16)) != cudaSuccess) {
        (void)cudaGetLastError();
        free(l);
        return MB_NOMEM;
    }
    *out = l;
    return MB_OK;
}

extern "C" void mbk_linear_destroy_cuda(mbk_linear *l) {
    if (l)
        (void)cudaFree(l->W16);
    free(l);
}

extern "C" int mbk_linear_update_cuda(mbk_linear *l) {
    l->changed = 1;
    return MB_OK;
}

/* W16 as W is now. */
static int refresh(const mbk_ctx *ctx, const mbk_linear *l) {
    if (l->spec.precision != MBK_BF16 || !l->changed)
        return MB_OK;
    const int64_t n = static_cast<int64_t>(weights_of(&l->spec));
    const int rc = launch_round(ctx, "round_weights", 1, n, n, l->spec.W, l->W16);
    l->changed = rc != MB_OK;
    return rc;
}

extern "C" size_t mbk_linear_fwd_work_cuda(const mbk_linear *l, int M) {
    return l->spec.precision == MBK_BF16
               ? static_cast<size_t>(M) * static_cast<size_t>(l->spec.Kin) * sizeof(__nv_bfloat16)
               : 0;
}

extern "C" int mbk_linear_fwd_cuda(const mbk_ctx *ctx, const mbk_linear *l, int M, const float *X, float *Y,
                                   int accumulate) {
    const mbk_linear_spec *s = &l->spec;
    MBK_ASSERT(M >= 1 && X && Y);
    mbk_blas_gemm p = {};
    p.M = M, p.N = s->Nout, p.K = s->Kin;
    p.A = X, p.lda = s->Kin;
    p.B = s->W, p.ldb = s->transposed ? s->Nout : s->Kin, p.B_turned = !s->transposed;
    p.C = Y, p.ldc = s->Nout, p.accumulate = accumulate;
    p.precision = s->precision, p.M_typical = s->M_typical > 0 ? s->M_typical : M;
    int rc = refresh(ctx, l);
    if (rc == MB_OK && s->precision == MBK_BF16) {
        __nv_bfloat16 *X16 = reinterpret_cast<__nv_bfloat16 *>(work_of(ctx, mbk_linear_fwd_work_cuda(l, M)));
        rc = launch_round(ctx, "round_inputs", M, s->Kin, s->Kin, X, X16);
        p.A = X16, p.B = l->W16;
    }
    return rc ? rc : mbk_blas_run(ctx, &p);
}

/* ---- one row ------------------------------------------------------------------------------------------------------
 */
typedef struct step_args {
    int n0, n1, Kin;
    const float *W, *x;
    const __nv_bfloat16 *W16; /* NULL: W */
    float *y;
} step_args;

static __global__ void linear_row(const step_args a) {
    const int n = a.n0 + static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y), first = static_cast<int>(threadIdx.x);
    if (n >= a.n1)
        return; /* a whole warp */
    const size_t at = static_cast<size_t>(n) * static_cast<size_t>(a.Kin);
    float sum = 0;
    if (a.W16)
        for (int k = first; k < a.Kin; k += MBK_WARP)
            sum += __bfloat162float(a.W16[at + static_cast<size_t>(k)]) * __bfloat162float(__float2bfloat16_rn(a.x[k]));
    else
        for (int k = first; k < a.Kin; k += MBK_WARP)
            sum += a.W[at + static_cast<size_t>(k)] * a.x[k];
    sum = warp_sum(sum);
    if (first == 0)
        a.y[n] = sum;
}

extern "C" int mbk_linear_step_cuda(const mbk_ctx *ctx, const mbk_linear *l, int n0, int n1, const float *x, float *y) {
    MBK_ASSERT(0 <= n0 && n0 <= n1 && n1 <= l->spec.Nout && x && y && !l->spec.transposed);
    const step_args a = {n0, n1, l->spec.Kin, l->spec.W, x, l->W16, y};
    const int rc = refresh(ctx, l);
    if (rc || n0 == n1)
        return rc;
    return launch(ctx, "linear_step", linear_row, dim3(blocks_for(n1 - n0, STEP_WARPS)), dim3(MBK_WARP, STEP_WARPS), 0,
                  a);
}

/* ---- gradients of weights -----------------------------------------------------------------------------------------
 */
extern "C" size_t mbk_gemm_tn_work_cuda(const mbk_gemm_tn *p) {
    return p->precision == MBK_BF16
               ? static_cast<size_t>(p->k) * (static_cast<size_t>(p->m) + static_cast<size_t>(p->n)) *
                     sizeof(__nv_bfloat16)
               : 0;
}

extern "C" int mbk_gemm_tn_cuda(const mbk_ctx *ctx, const mbk_gemm_tn *g) {
    MBK_ASSERT(g->k >= 1 && g->m >= 1 && g->n >= 1 && g->A && g->B && g->C);
    mbk_blas_gemm p = {};
    p.M = g->m, p.N = g->n, p.K = g->k;
    p.A = g->A, p.lda = g->lda, p.A_turned = 1;
    p.B = g->B, p.ldb = g->ldb;
    p.C = g->C, p.ldc = g->ldc, p.accumulate = g->accumulate;
    p.precision = g->precision, p.M_typical = g->m;
    int rc = MB_OK;
    if (g->precision == MBK_BF16) {
        __nv_bfloat16 *A16 = reinterpret_cast<__nv_bfloat16 *>(work_of(ctx, mbk_gemm_tn_work_cuda(g)));
        __nv_bfloat16 *B16 = A16 + static_cast<size_t>(g->k) * static_cast<size_t>(g->m);
        rc = launch_round(ctx, "round_A", g->k, g->m, g->lda, g->A, A16);
        rc = rc ? rc : launch_round(ctx, "round_B", g->k, g->n, g->ldb, g->B, B16);
        p.A = A16, p.lda = g->m;
        p.B = B16, p.ldb = g->n;
    }
    return rc ? rc : mbk_blas_run(ctx, &p);
}
