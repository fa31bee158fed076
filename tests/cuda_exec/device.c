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

const mbk_ops *cuda_exec_ops(void) {
    static mbk_ops ops;
    ops = *mbk_ops_cuda();
    ops.isa = "executor";
    ops.embed_fwd = embed_fwd;
    ops.embed_bwd = embed_bwd;
    ops.norm_fwd = norm_fwd;
    ops.norm_bwd = norm_bwd;
    return &ops;
}

/* ---- what check.c leaves to be replaced --------------------------------------------------------------------------- */
const mbk_ops *check_device(void) {
    return cuda_exec_ops();
}
void *check_memory_take(size_t bytes) {
    return cuda_exec_take(bytes);
}
void check_memory_give(void *p) {
    cuda_exec_give(p);
}
