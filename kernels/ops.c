/* What belongs to no device: the table of the references, and the hole of a table. */
#include <string.h>

#include "kernels/ops.h"

const mbk_ops *mbk_ops_ref(void) {
    static const mbk_ops ref = {.device = "ref",
                                .isa = "double",
                                .embed_fwd = mbk_embed_fwd_ref,
                                .embed_bwd = mbk_embed_bwd_ref,
                                .norm_fwd = mbk_norm_fwd_ref,
                                .norm_bwd = mbk_norm_bwd_ref,
                                .conv_fwd = mbk_conv_fwd_ref,
                                .conv_step = mbk_conv_step_ref,
                                .conv_bwd = mbk_conv_bwd_ref,
                                .gate_bwd = mbk_gate_bwd_ref,
                                .act_fwd = mbk_act_fwd_ref,
                                .act_bwd = mbk_act_bwd_ref,
                                .dropout = mbk_dropout_ref,
                                .sum = mbk_sum_ref,
                                .xent = mbk_xent_ref,
                                .adamw = mbk_adamw_ref,
                                .ema = mbk_ema_ref,
                                .sumsq = mbk_sumsq_ref,
                                .scan_fwd = mbk_scan_fwd_ref,
                                .scan_step = mbk_scan_step_ref,
                                .scan_bwd = mbk_scan_bwd_ref,
                                .scan_bwd_scratch = mbk_scan_bwd_scratch_ref,
                                .linear_create = mbk_linear_create_ref,
                                .linear_destroy = mbk_linear_destroy_ref,
                                .linear_fwd = mbk_linear_fwd_ref,
                                .linear_step = mbk_linear_step_ref,
                                .linear_bytes = mbk_linear_bytes_ref,
                                .linear_update = mbk_linear_update_ref,
                                .gemm_tn = mbk_gemm_tn_ref};
    return &ref;
}

const char *mbk_ops_hole(const mbk_ops *ops) {
    if (!*ops->isa)
        return "instruction set of the name in MB_ISA";
    if (!strcmp(ops->isa, "none"))
        return "GPU kernels: this build was made without nvcc";
#define HOLE(member)                                                                                                   \
    if (!ops->member)                                                                                                  \
    return #member
    HOLE(embed_fwd);
    HOLE(embed_bwd);
    HOLE(norm_fwd);
    HOLE(norm_bwd);
    HOLE(conv_fwd);
    HOLE(conv_step);
    HOLE(conv_bwd);
    HOLE(gate_bwd);
    HOLE(act_fwd);
    HOLE(act_bwd);
    HOLE(dropout);
    HOLE(sum);
    HOLE(xent);
    HOLE(adamw);
    HOLE(ema);
    HOLE(sumsq);
    HOLE(scan_fwd);
    HOLE(scan_step);
    HOLE(scan_bwd);
    HOLE(scan_bwd_scratch);
    HOLE(linear_create);
    HOLE(linear_destroy);
    HOLE(linear_fwd);
    HOLE(linear_step);
    HOLE(linear_bytes);
    HOLE(linear_update);
    HOLE(gemm_tn);
#undef HOLE
    return NULL;
}
