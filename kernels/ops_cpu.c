/* The tables of the CPU: one per instruction set this library was built for; the best that the processor has is chosen
 * at run time. Refuses, as a hole, an MB_ISA that names a set the build or the processor lacks. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"

#define DECLARE(isa_)                                                                                                  \
    mbk_embed_fn mbk_embed_fwd_##isa_;                                                                                 \
    mbk_embed_bwd_fn mbk_embed_bwd_##isa_;                                                                             \
    mbk_norm_fn mbk_norm_fwd_##isa_;                                                                                   \
    mbk_norm_bwd_fn mbk_norm_bwd_##isa_;                                                                               \
    mbk_conv_fn mbk_conv_fwd_##isa_, mbk_conv_step_##isa_;                                                             \
    mbk_conv_bwd_fn mbk_conv_bwd_##isa_;                                                                               \
    mbk_gate_bwd_fn mbk_gate_bwd_##isa_;                                                                               \
    mbk_act_fn mbk_act_fwd_##isa_;                                                                                     \
    mbk_act_bwd_fn mbk_act_bwd_##isa_;                                                                                 \
    mbk_dropout_fn mbk_dropout_##isa_;                                                                                 \
    mbk_sum_fn mbk_sum_##isa_;                                                                                         \
    mbk_xent_fn mbk_xent_##isa_;                                                                                       \
    mbk_adamw_fn mbk_adamw_##isa_;                                                                                     \
    mbk_ema_fn mbk_ema_##isa_;                                                                                         \
    mbk_sumsq_fn mbk_sumsq_##isa_;                                                                                     \
    mbk_scan_fn mbk_scan_fwd_##isa_, mbk_scan_step_##isa_;                                                             \
    mbk_scan_bwd_fn mbk_scan_bwd_##isa_;                                                                               \
    mbk_scan_bwd_scratch_fn mbk_scan_bwd_scratch_##isa_;                                                               \
    mbk_gemm_tn_fn mbk_gemm_tn_##isa_;
#define TABLE(isa_)                                                                                                    \
    {.device = "cpu",                                                                                                  \
     .isa = #isa_,                                                                                                     \
     .embed_fwd = mbk_embed_fwd_##isa_,                                                                                \
     .embed_bwd = mbk_embed_bwd_##isa_,                                                                                \
     .norm_fwd = mbk_norm_fwd_##isa_,                                                                                  \
     .norm_bwd = mbk_norm_bwd_##isa_,                                                                                  \
     .conv_fwd = mbk_conv_fwd_##isa_,                                                                                  \
     .conv_step = mbk_conv_step_##isa_,                                                                                \
     .conv_bwd = mbk_conv_bwd_##isa_,                                                                                  \
     .gate_bwd = mbk_gate_bwd_##isa_,                                                                                  \
     .act_fwd = mbk_act_fwd_##isa_,                                                                                    \
     .act_bwd = mbk_act_bwd_##isa_,                                                                                    \
     .dropout = mbk_dropout_##isa_,                                                                                    \
     .sum = mbk_sum_##isa_,                                                                                            \
     .xent = mbk_xent_##isa_,                                                                                          \
     .adamw = mbk_adamw_##isa_,                                                                                        \
     .ema = mbk_ema_##isa_,                                                                                            \
     .sumsq = mbk_sumsq_##isa_,                                                                                        \
     .scan_fwd = mbk_scan_fwd_##isa_,                                                                                  \
     .scan_step = mbk_scan_step_##isa_,                                                                                \
     .scan_bwd = mbk_scan_bwd_##isa_,                                                                                  \
     .scan_bwd_scratch = mbk_scan_bwd_scratch_##isa_,                                                                  \
     .linear_create = mbk_linear_create_cpu,                                                                           \
     .linear_destroy = mbk_linear_destroy_cpu,                                                                         \
     .linear_fwd = mbk_linear_fwd_cpu,                                                                                 \
     .linear_step = mbk_linear_step_cpu,                                                                               \
     .linear_bytes = mbk_linear_bytes_cpu,                                                                             \
     .linear_update = mbk_linear_update_cpu,                                                                           \
     .gemm_tn = mbk_gemm_tn_##isa_},

#if defined(MBK_HAVE_ISA_avx512)
DECLARE(avx512)
#endif
#if defined(MBK_HAVE_ISA_avx2)
DECLARE(avx2)
#endif
#if defined(MBK_HAVE_ISA_neon)
DECLARE(neon)
#endif
#if defined(MBK_HAVE_ISA_generic)
DECLARE(generic)
#endif

static const mbk_ops tables[] = {/* best first */
#if defined(MBK_HAVE_ISA_avx512)
                                 TABLE(avx512)
#endif
#if defined(MBK_HAVE_ISA_avx2)
                                     TABLE(avx2)
#endif
#if defined(MBK_HAVE_ISA_neon)
                                         TABLE(neon)
#endif
#if defined(MBK_HAVE_ISA_generic)
                                             TABLE(generic)
#endif
};
static const mbk_ops hole = {.device = "cpu", .isa = ""};

/* Whether this processor, and its operating system, run what the Makefile's -march of that name makes. */
static int processor_has(const char *isa) {
#if defined(__x86_64__)
    const int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                   __builtin_cpu_supports("bmi2");
    if (!strcmp(isa, "avx512"))
        return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    if (!strcmp(isa, "avx2"))
        return v3;
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
#else
    (void)isa; /* neon belongs to every aarch64; generic asks for nothing */
    return 1;
#endif
}

const mbk_ops *mbk_ops_isa(const char *isa) {
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (!strcmp(tables[i].isa, isa))
            return processor_has(isa) ? &tables[i] : NULL;
    return NULL;
}

static const mbk_ops *choose(void) {
    const char *forced = getenv("MB_ISA");
    if (forced && *forced) {
        const mbk_ops *ops = mbk_ops_isa(forced);
        return ops ? ops : &hole;
    }
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (processor_has(tables[i].isa))
            return &tables[i];
    return &hole;
}

const mbk_ops *mbk_ops_cpu(void) {
    static _Atomic(const mbk_ops *) chosen; /* threads that meet here choose the same */
    const mbk_ops *ops = atomic_load_explicit(&chosen, memory_order_acquire);
    if (!ops) {
        ops = choose();
        atomic_store_explicit(&chosen, ops, memory_order_release);
    }
    return ops;
}

#define DISPATCH(op, type, member)                                                                                     \
    int mbk_##op##_cpu(const mbk_ctx *ctx, const type *args) {                                                         \
        const mbk_ops *ops = mbk_ops_cpu();                                                                            \
        MBK_ASSERT(ops->member != NULL);                                                                               \
        return ops->member(ctx, args);                                                                                 \
    }
DISPATCH(embed_fwd, mbk_embed, embed_fwd)
DISPATCH(embed_bwd, mbk_embed_bwd, embed_bwd)
DISPATCH(norm_fwd, mbk_norm, norm_fwd)
DISPATCH(norm_bwd, mbk_norm_bwd, norm_bwd)
DISPATCH(conv_fwd, mbk_conv, conv_fwd)
DISPATCH(conv_step, mbk_conv, conv_step)
DISPATCH(conv_bwd, mbk_conv_bwd, conv_bwd)
DISPATCH(gate_bwd, mbk_gate_bwd, gate_bwd)
DISPATCH(act_fwd, mbk_act, act_fwd)
DISPATCH(act_bwd, mbk_act_bwd, act_bwd)
DISPATCH(dropout, mbk_dropout, dropout)
DISPATCH(sum, mbk_sum, sum)
DISPATCH(xent, mbk_xent, xent)
DISPATCH(adamw, mbk_adamw, adamw)
DISPATCH(ema, mbk_ema, ema)
DISPATCH(scan_fwd, mbk_scan, scan_fwd)
DISPATCH(scan_step, mbk_scan, scan_step)
DISPATCH(scan_bwd, mbk_scan_bwd, scan_bwd)
DISPATCH(gemm_tn, mbk_gemm_tn, gemm_tn)

size_t mbk_scan_bwd_scratch_cpu(int L, int E, int N) {
    const mbk_ops *ops = mbk_ops_cpu();
    MBK_ASSERT(ops->scan_bwd_scratch != NULL);
    return ops->scan_bwd_scratch(L, E, N);
}

int mbk_sumsq_cpu(const mbk_ctx *ctx, int64_t n, const float *x, double *out) {
    const mbk_ops *ops = mbk_ops_cpu();
    MBK_ASSERT(ops->sumsq != NULL);
    return ops->sumsq(ctx, n, x, out);
}
