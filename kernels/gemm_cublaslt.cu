/* Matrix products by cuBLASLt. The library is opened at run time, from wherever the loader finds it, so that a program
 * built with CUDA starts on a machine without it; only a product on a GPU then fails, with its name.
 *
 * A method is asked for once for each shape of weights (for M_typical rows) and kept: no split of K and no workspace,
 * so the bits are the same every time, and of a row for every M that the method takes. What the library has no method
 * for goes to the house's own kernel (gemm_tiles.cu). Row-major matrices are its column-major ones turned: C^T = B^T
 * A^T. */
#include <cublasLt.h>
#include <dlfcn.h>
#include <stdlib.h>

#include "kernels/gemm_blas.cuh"

#define TEXT_2(x) #x
#define TEXT(x)   TEXT_2(x)

#define FUNCTIONS(X)                                                                                                   \
    X(cublasLtCreate)                                                                                                  \
    X(cublasLtDestroy)                                                                                                 \
    X(cublasLtMatmul)                                                                                                  \
    X(cublasLtMatmulAlgoCheck)                                                                                         \
    X(cublasLtMatmulAlgoGetHeuristic)                                                                                  \
    X(cublasLtMatmulDescCreate)                                                                                        \
    X(cublasLtMatmulDescDestroy)                                                                                       \
    X(cublasLtMatmulDescSetAttribute)                                                                                  \
    X(cublasLtMatmulPreferenceCreate)                                                                                  \
    X(cublasLtMatmulPreferenceDestroy)                                                                                 \
    X(cublasLtMatmulPreferenceSetAttribute)                                                                            \
    X(cublasLtMatrixLayoutCreate)                                                                                      \
    X(cublasLtMatrixLayoutDestroy)

enum { METHODS = 256, WIDEST = 16 };

/* What a method depends on; M only by M_typical. */
typedef struct method_key {
    int64_t N, K, M_typical;
    ptrdiff_t lda, ldb, ldc;
    int A_turned, B_turned, precision;
    unsigned align[3];
} method_key;

typedef struct method {
    method_key key;
    int own; /* the library has none */
    cublasLtMatmulAlgo_t algo;
} method;

typedef struct blas {
    void *library;
    cublasLtHandle_t handle;
#define X(name) decltype(&::name) name;
    FUNCTIONS(X)
#undef X
    method methods[METHODS];
    int n;
} blas;

/* One product as the library wants it described. */
typedef struct description {
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t left, right, result; /* B^T, A^T, C^T */
} description;

void mbk_blas_destroy(void *p) {
    blas *b = static_cast<blas *>(p);
    if (!b)
        return;
    if (b->handle)
        (void)b->cublasLtDestroy(b->handle);
    if (b->library)
        (void)dlclose(b->library);
    free(b);
}

static int open_library(blas *b) {
    b->library = dlopen("libcublasLt.so." TEXT(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
    if (!b->library)
        return 0;
#define X(name)                                                                                                        \
    b->name = reinterpret_cast<decltype(&::name)>(dlsym(b->library, #name));                                           \
    if (!b->name)                                                                                                      \
        return 0;
    FUNCTIONS(X)
#undef X
    return b->cublasLtCreate(&b->handle) == CUBLAS_STATUS_SUCCESS;
}

/* The queue's, made at its first product; NULL when the library is not there. */
static blas *blas_of(mbk_queue *q) {
    if (q->blas)
        return static_cast<blas *>(q->blas);
    blas *b = static_cast<blas *>(calloc(1, sizeof *b));
    if (b && !open_library(b)) {
        mbk_blas_destroy(b);
        b = NULL;
    }
    q->blas = b;
    return b;
}

/* Of a pointer and the rows after it: the largest power of two up to 16 that divides both. */
static unsigned alignment(const void *at, ptrdiff_t ld, size_t size) {
    const uintptr_t bits = reinterpret_cast<uintptr_t>(at) | (static_cast<uintptr_t>(ld) * size) | WIDEST;
    return static_cast<unsigned>(bits & -bits);
}

static int describe(const blas *b, const mbk_blas_gemm *p, int64_t M, description *d) {
    const cudaDataType_t in = p->precision == MBK_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const cublasComputeType_t compute = p->precision == MBK_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const cublasOperation_t left = p->B_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t right = p->A_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    const uint64_t m = static_cast<uint64_t>(M), n = static_cast<uint64_t>(p->N), k = static_cast<uint64_t>(p->K);
    *d = {};
    return b->cublasLtMatmulDescCreate(&d->op, compute, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
           b->cublasLtMatmulDescSetAttribute(d->op, CUBLASLT_MATMUL_DESC_TRANSA, &left, sizeof left) ==
               CUBLAS_STATUS_SUCCESS &&
           b->cublasLtMatmulDescSetAttribute(d->op, CUBLASLT_MATMUL_DESC_TRANSB, &right, sizeof right) ==
               CUBLAS_STATUS_SUCCESS &&
           b->cublasLtMatrixLayoutCreate(&d->left, in, p->B_turned ? k : n, p->B_turned ? n : k, p->ldb) ==
               CUBLAS_STATUS_SUCCESS &&
           b->cublasLtMatrixLayoutCreate(&d->right, in, p->A_turned ? m : k, p->A_turned ? k : m, p->lda) ==
               CUBLAS_STATUS_SUCCESS &&
           b->cublasLtMatrixLayoutCreate(&d->result, CUDA_R_32F, n, m, p->ldc) == CUBLAS_STATUS_SUCCESS;
}
static void forget(const blas *b, description *d) {
    if (d->result)
        (void)b->cublasLtMatrixLayoutDestroy(d->result);
    if (d->right)
        (void)b->cublasLtMatrixLayoutDestroy(d->right);
    if (d->left)
        (void)b->cublasLtMatrixLayoutDestroy(d->left);
    if (d->op)
        (void)b->cublasLtMatmulDescDestroy(d->op);
}

/* Asks the library for a method of d; 0 when it has none. */
static int ask(const blas *b, const description *d, const unsigned align[3], cublasLtMatmulAlgo_t *algo) {
    cublasLtMatmulPreference_t wish;
    cublasLtMatmulHeuristicResult_t answer = {};
    const uint64_t work = 0;
    const uint32_t no_split = CUBLASLT_REDUCTION_SCHEME_NONE, a = align[1], bb = align[0], c = align[2];
    int found = 0;
    if (b->cublasLtMatmulPreferenceCreate(&wish) != CUBLAS_STATUS_SUCCESS)
        return 0;
    const cublasStatus_t set[] = {
        b->cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &work, sizeof work),
        b->cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &no_split,
                                                sizeof no_split),
        b->cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a),
        b->cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &bb, sizeof bb),
        b->cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c, sizeof c),
        b->cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &c, sizeof c)};
    int ok = 1;
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        ok &= set[i] == CUBLAS_STATUS_SUCCESS;
    if (ok &&
        b->cublasLtMatmulAlgoGetHeuristic(b->handle, d->op, d->left, d->right, d->result, d->result, wish, 1, &answer,
                                          &found) == CUBLAS_STATUS_SUCCESS &&
        found > 0 && answer.state == CUBLAS_STATUS_SUCCESS)
        *algo = answer.algo;
    else
        found = 0;
    (void)b->cublasLtMatmulPreferenceDestroy(wish);
    return found > 0;
}

static method_key key_of(const mbk_blas_gemm *p) {
    const size_t size = p->precision == MBK_BF16 ? 2 : 4;
    method_key k;
    memset(&k, 0, sizeof k);                                              /* gaps too: keys are compared as bytes */
    k.N = p->N, k.K = p->A_turned ? 0 : p->K, k.M_typical = p->M_typical; /* K of a weight gradient: rows */
    k.lda = p->lda, k.ldb = p->ldb, k.ldc = p->ldc;
    k.A_turned = p->A_turned, k.B_turned = p->B_turned, k.precision = p->precision;
    k.align[0] = alignment(p->A, p->lda, size), k.align[1] = alignment(p->B, p->ldb, size);
    k.align[2] = alignment(p->C, p->ldc, sizeof(float));
    return k;
}

/* Known, or asked for now. */
static const method *method_of(blas *b, const mbk_blas_gemm *p) {
    const method_key key = key_of(p);
    for (int i = 0; i < b->n; i++)
        if (!memcmp(&b->methods[i].key, &key, sizeof key))
            return &b->methods[i];
    b->n = b->n < METHODS ? b->n : 0; /* full: starts again */
    method *m = &b->methods[b->n++];
    description d;
    m->key = key;
    m->own = !describe(b, p, p->M_typical, &d) || !ask(b, &d, key.align, &m->algo);
    forget(b, &d);
    return m;
}

int mbk_blas_run(const mbk_ctx *ctx, const mbk_blas_gemm *p) {
    mbk_queue *q = queue_of(ctx);
    if (cudaSetDevice(q->device) != cudaSuccess)
        return mbk_queue_launched(q, "cublasLtMatmul", cudaErrorInvalidDevice);
    blas *b = blas_of(q);
    if (!b)
        return mbk_queue_missing(q, "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR) " was not found, or gives no handle");
    const method *m = method_of(b, p);
    description d = {};
    cublasLtMatmulHeuristicResult_t check;
    const float one = 1, beta = p->accumulate ? 1 : 0;
    const int fits = !m->own && describe(b, p, p->M, &d) &&
                     b->cublasLtMatmulAlgoCheck(b->handle, d.op, d.left, d.right, d.result, d.result, &m->algo,
                                                &check) == CUBLAS_STATUS_SUCCESS &&
                     check.workspaceSize == 0;
    cublasStatus_t s = CUBLAS_STATUS_SUCCESS;
    if (fits)
        s = b->cublasLtMatmul(b->handle, d.op, &one, p->B, d.left, p->A, d.right, &beta, p->C, d.result, p->C, d.result,
                              &m->algo, NULL, 0, q->stream);
    forget(b, &d);
    if (!fits)
        return mbk_tiles_run(ctx, p);
    return mbk_queue_launched(q, "cublasLtMatmul", s == CUBLAS_STATUS_SUCCESS ? cudaSuccess : cudaErrorUnknown);
}
