/* See device.h. The first of ORDERS runs decides what the checks see; the others must leave the same bits in all memory
 * that was taken from the executor. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/check.h"
#include "tests/cuda_exec/device.h"
#include "tests/cuda_exec/executor.h"

enum { ORDERS = 3 };

typedef int run_fn(const mbk_ctx *, const void *args);

static mbk_queue *queue;

const mbk_ctx *cuda_exec_ctx(void) {
    static mbk_ctx ctx;
    char why[200];
    if (!queue && mbk_queue_create(&queue, 0, why, sizeof why) != MB_OK) {
        fprintf(stderr, "executor: %s\n", why);
        exit(2);
    }
    ctx.stream = queue;
    return &ctx;
}

static int once(run_fn *run, const void *args, size_t work) {
    const mbk_ctx *ctx = cuda_exec_ctx();
    char why[300];
    void *memory = work ? cuda_exec_take(work) : NULL;
    mbk_queue_lend(queue, memory, work);
    const int launched = run(ctx, args), rc = mbk_queue_sync(queue, why, sizeof why);
    mbk_queue_lend(queue, NULL, 0);
    cuda_exec_give(memory);
    return launched ? launched : rc;
}

static int in_orders(const char *name, run_fn *run, const void *args, size_t work) {
    static uint64_t seed = 1;
    cuda_exec_ctx();
    cuda_exec_keep(0);
    int rc = once(run, args, work);
    cuda_exec_keep(1);
    for (int k = 1; k < ORDERS; k++) {
        cuda_exec_seed(seed += 2);
        cuda_exec_back(0);
        if (once(run, args, work) != rc || !cuda_exec_same(1)) {
            printf("executor: %s: another order of threads gives another result\n", name);
            rc = MB_INTERNAL;
            break;
        }
    }
    cuda_exec_forget();
    return rc;
}

/* of an operation OP with arguments of a type, and the bytes of workspace for them, `a` */
#define IN_ORDERS(op, type, work)                                                                                      \
    static int run_##op(const mbk_ctx *ctx, const void *args) {                                                        \
        return mbk_##op##_cuda(ctx, (const type *)args);                                                               \
    }                                                                                                                  \
    static int op(const mbk_ctx *ctx, const type *a) {                                                                 \
        (void)ctx;                                                                                                     \
        return in_orders(#op, run_##op, a, work);                                                                      \
    }
IN_ORDERS(embed_fwd, mbk_embed, 0)
IN_ORDERS(embed_bwd, mbk_embed_bwd, 0)
IN_ORDERS(norm_fwd, mbk_norm, 0)
IN_ORDERS(norm_bwd, mbk_norm_bwd, mbk_norm_bwd_work_cuda(a))
IN_ORDERS(conv_fwd, mbk_conv, 0)
IN_ORDERS(conv_step, mbk_conv, 0)
IN_ORDERS(conv_bwd, mbk_conv_bwd, mbk_conv_bwd_work_cuda(a))
IN_ORDERS(gate_bwd, mbk_gate_bwd, 0)
IN_ORDERS(act_fwd, mbk_act, 0)
IN_ORDERS(act_bwd, mbk_act_bwd, mbk_act_bwd_work_cuda(a))
IN_ORDERS(dropout, mbk_dropout, 0)
IN_ORDERS(sum, mbk_sum, 0)
IN_ORDERS(xent, mbk_xent, 0)
IN_ORDERS(adamw, mbk_adamw, 0)
IN_ORDERS(ema, mbk_ema, 0)
IN_ORDERS(gemm_tn, mbk_gemm_tn, mbk_gemm_tn_work_cuda(a))
IN_ORDERS(scan_fwd, mbk_scan, mbk_scan_fwd_work_cuda(a))
IN_ORDERS(scan_step, mbk_scan, 0)

/* In a scratch of the executor's own, so that its ends are guarded. */
static int run_scan_bwd(const mbk_ctx *ctx, const void *args) {
    mbk_scan_bwd a = *(const mbk_scan_bwd *)args;
    const size_t floats = mbk_scan_bwd_scratch_cuda(a.L, a.E, a.N);
    a.scratch = cuda_exec_take(floats * sizeof(float));
    const int rc = mbk_scan_bwd_cuda(ctx, &a);
    cuda_exec_give(a.scratch);
    return rc;
}
static int scan_bwd(const mbk_ctx *ctx, const mbk_scan_bwd *a) {
    (void)ctx;
    return in_orders("scan_bwd", run_scan_bwd, a, 0);
}

typedef struct sumsq_args {
    int64_t n;
    const float *x;
    double *out;
} sumsq_args;
static int run_sumsq(const mbk_ctx *ctx, const void *args) {
    const sumsq_args *a = args;
    return mbk_sumsq_cuda(ctx, a->n, a->x, a->out);
}
static int sumsq(const mbk_ctx *ctx, int64_t n, const float *x, double *out) {
    double *guarded = cuda_exec_take(sizeof *out);
    const sumsq_args a = {n, x, guarded};
    (void)ctx;
    const int rc = in_orders("sumsq", run_sumsq, &a, mbk_sumsq_work_cuda(n));
    *out = *guarded;
    cuda_exec_give(guarded);
    return rc;
}

typedef struct linear_args {
    const mbk_linear *l;
    int M, accumulate, n0, n1; /* n1 < 0: fwd */
    const float *X;
    float *Y;
} linear_args;
static int run_linear(const mbk_ctx *ctx, const void *args) {
    const linear_args *a = args;
    mbk_linear_update_cuda(
        (mbk_linear *)a->l); /* what it holds in memory has been brought back to before the first run */
    return a->n1 < 0 ? mbk_linear_fwd_cuda(ctx, a->l, a->M, a->X, a->Y, a->accumulate)
                     : mbk_linear_step_cuda(ctx, a->l, a->n0, a->n1, a->X, a->Y);
}
static int linear_fwd(const mbk_ctx *ctx, const mbk_linear *l, int M, const float *X, float *Y, int accumulate) {
    const linear_args a = {l, M, accumulate, 0, -1, X, Y};
    (void)ctx;
    return in_orders("linear_fwd", run_linear, &a, mbk_linear_fwd_work_cuda(l, M));
}
static int linear_step(const mbk_ctx *ctx, const mbk_linear *l, int n0, int n1, const float *x, float *y) {
    const linear_args a = {l, 1, 0, n0, n1, x, y};
    (void)ctx;
    return in_orders("linear_step", run_linear, &a, 0);
}

const mbk_ops *cuda_exec_ops(void) {
    static mbk_ops ops;
    ops = *mbk_ops_cuda();
    ops.isa = "executor";
    ops.embed_fwd = embed_fwd;
    ops.embed_bwd = embed_bwd;
    ops.norm_fwd = norm_fwd;
    ops.norm_bwd = norm_bwd;
    ops.conv_fwd = conv_fwd;
    ops.conv_step = conv_step;
    ops.conv_bwd = conv_bwd;
    ops.gate_bwd = gate_bwd;
    ops.act_fwd = act_fwd;
    ops.act_bwd = act_bwd;
    ops.dropout = dropout;
    ops.sum = sum;
    ops.xent = xent;
    ops.adamw = adamw;
    ops.ema = ema;
    ops.sumsq = sumsq;
    ops.linear_fwd = linear_fwd;
    ops.linear_step = linear_step;
    ops.gemm_tn = gemm_tn;
    ops.scan_fwd = scan_fwd;
    ops.scan_step = scan_step;
    ops.scan_bwd = scan_bwd;
    return &ops;
}

/* ---- what check.c leaves to be replaced ---------------------------------------------------------------------------
 */
const mbk_ops *check_device(void) {
    return cuda_exec_ops();
}
void *check_memory_take(size_t bytes) {
    return cuda_exec_take(bytes);
}
void check_memory_give(void *p) {
    cuda_exec_give(p);
}
