/* The table of operations of one device. A table is complete or refused at start: nothing falls back silently. */
#ifndef MBK_OPS_H
#define MBK_OPS_H
#include "kernels/act.h"
#include "kernels/conv1d.h"
#include "kernels/dropout.h"
#include "kernels/embed.h"
#include "kernels/gate.h"
#include "kernels/gemm.h"
#include "kernels/kernel.h"
#include "kernels/norm.h"
#include "kernels/optim.h"
#include "kernels/scan.h"
#include "kernels/sum.h"
#include "kernels/xent.h"

typedef struct mbk_ops {
    const char *device; /* "cpu", "ref", "cuda" (kernels/cuda.h) */
    const char *isa;    /* "avx512", "avx2", "neon", "generic"; "none": a device that this build lacks */
    mbk_embed_fn *embed_fwd;
    mbk_embed_bwd_fn *embed_bwd;
    mbk_norm_fn *norm_fwd;
    mbk_norm_bwd_fn *norm_bwd;
    mbk_conv_fn *conv_fwd, *conv_step;
    mbk_conv_bwd_fn *conv_bwd;
    mbk_gate_bwd_fn *gate_bwd;
    mbk_act_fn *act_fwd;
    mbk_act_bwd_fn *act_bwd;
    mbk_dropout_fn *dropout;
    mbk_sum_fn *sum;
    mbk_xent_fn *xent;
    mbk_adamw_fn *adamw;
    mbk_ema_fn *ema;
    mbk_sumsq_fn *sumsq;
    mbk_scan_fn *scan_fwd, *scan_step;
    mbk_scan_bwd_fn *scan_bwd;
    mbk_scan_bwd_scratch_fn *scan_bwd_scratch;
    mbk_linear_create_fn *linear_create;
    mbk_linear_destroy_fn *linear_destroy;
    mbk_linear_fwd_fn *linear_fwd;
    mbk_linear_step_fn *linear_step;
    mbk_linear_bytes_fn *linear_bytes;
    mbk_linear_update_fn *linear_update;
    mbk_gemm_tn_fn *gemm_tn;
} mbk_ops;

/* Best variants for the processor this runs on (decided once, thread-safe). MB_ISA=avx2|avx512|generic in the
 * environment forces a narrower one, for tests; a set that the build or the processor lacks gives an empty table, whose
 * hole says so. */
const mbk_ops *mbk_ops_cpu(void);
/* The table of one instruction set; NULL when the build or the processor lacks it. */
const mbk_ops *mbk_ops_isa(const char *isa);
/* The references, as a whole device: slow, for tests and `verify --device ref`. */
const mbk_ops *mbk_ops_ref(void);
/* Name of the first missing operation, or NULL when the table is complete. */
const char *mbk_ops_hole(const mbk_ops *ops);
#endif
