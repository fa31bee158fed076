/* The table of the CUDA device. Links where nvcc was found; else ops_cuda_none.c does. */
#include "kernels/cuda.h"

const mbk_ops *mbk_ops_cuda(void) {
    static const mbk_ops cuda = {.device = "cuda",
                                 .isa = "sm_80",
                                 .embed_fwd = mbk_embed_fwd_cuda,
                                 .embed_bwd = mbk_embed_bwd_cuda,
                                 .norm_fwd = mbk_norm_fwd_cuda,
                                 .norm_bwd = mbk_norm_bwd_cuda};
    return &cuda;
}
