/* The table of the CUDA device. Links where nvcc was found; else ops_cuda_none.c does. */
#include "kernels/cuda.h"

const mbk_ops *mbk_ops_cuda(void) {
    static const mbk_ops cuda = {.device = "cuda",
                                 .isa = "sm_80",
                                 .embed_fwd = mbk_embed_fwd_cuda,
                                 .embed_bwd = mbk_embed_bwd_cuda,
                                 .norm_fwd = mbk_norm_fwd_cuda,
                                 .norm_bwd = mbk_norm_bwd_cuda,
                                 .conv_fwd = mbk_conv_fwd_cuda,
                                 .conv_step = mbk_conv_step_cuda,
                                 .conv_bwd = mbk_conv_bwd_cuda,
                                 .gate_bwd = mbk_gate_bwd_cuda,
                                 .act_fwd = mbk_act_fwd_cuda,
                                 .act_bwd = mbk_act_bwd_cuda,
                                 .dropout = mbk_dropout_cuda,
                                 .sum = mbk_sum_cuda,
                                 .xent = mbk_xent_cuda,
                                 .adamw = mbk_adamw_cuda,
                                 .ema = mbk_ema_cuda,
                                 .sumsq = mbk_sumsq_cuda,
                                 .scan_fwd = mbk_scan_fwd_cuda,
                                 .scan_step = mbk_scan_step_cuda,
                                 .scan_bwd = mbk_scan_bwd_cuda,
                                 .scan_bwd_scratch = mbk_scan_bwd_scratch_cuda,
                                 .linear_create = mbk_linear_create_cuda,
                                 .linear_destroy = mbk_linear_destroy_cuda,
                                 .linear_fwd = mbk_linear_fwd_cuda,
                                 .linear_step = mbk_linear_step_cuda,
                                 .linear_bytes = mbk_linear_bytes_cuda,
                                 .linear_update = mbk_linear_update_cuda,
                                 .gemm_tn = mbk_gemm_tn_cuda};
    return &cuda;
}
