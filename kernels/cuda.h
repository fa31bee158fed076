/* The CUDA back end as its callers see it: a queue of kernels on one device, and how much workspace an operation wants.
 *
 * The operations of mbk_ops_cuda() take the parameter structs of the other devices, with pointers into device memory,
 * and a context whose `stream` is an mbk_queue. They put kernels on the queue and return at once: MB_OK means launched.
 * What goes wrong while a kernel runs is told by the next mbk_queue_sync(), with the kernel's name: a token or target
 * outside its table (MB_RANGE; nothing has been written by that operation then), memory touched that is not there, a
 * device that is lost (MB_FAIL).
 *
 * Nothing allocates but mbk_queue_create and mbk_linear_create. An operation that has a ..._work_cuda() below needs
 * that many bytes of device memory, lent to the queue (mbk_queue_lend) and its own until the queue has passed it:
 * operations of one queue may share one workspace of the largest size, for they run one after another.
 *
 * Bits: the same for the same shapes on the same device, every time; sums over rows and channels run in a fixed order
 * and nothing is added up by atomics. They differ in the last digits from those of the CPU, and those of a sequence cut
 * into pieces from those of the whole, unless pieces are cut at multiples of MBK_CUDA_CHUNK rows (scan forward). */
#ifndef MBK_CUDA_H
#define MBK_CUDA_H
#include "kernels/ops.h"

#define MBK_CUDA_CHUNK 64 /* rows that one thread of a scan goes through */

typedef struct mbk_queue mbk_queue;

/* device: its number. On failure *out is NULL and `why` (n bytes) says what the driver said. MB_NOTSUP: no driver, no
 * device of that number, older than sm_80, or a build without CUDA. */
int mbk_queue_create(mbk_queue **out, int device, char *why, size_t n);
void mbk_queue_destroy(mbk_queue *); /* NULL is fine; waits for what is on it */
void mbk_queue_lend(mbk_queue *, void *memory, size_t bytes);
/* 1: every launch waits for its kernel, so that a fault names the very kernel; for tests and for looking for one. */
void mbk_queue_careful(mbk_queue *, int careful);
/* Waits. Else than MB_OK: `why` names the kernel, or, of an uncareful queue, those it may have been. */
int mbk_queue_sync(mbk_queue *, char *why, size_t n);

/* Complete, or a table whose hole says that this build has no CUDA. */
const mbk_ops *mbk_ops_cuda(void);

/* Bytes of workspace for these sizes and options; pointers are asked only whether they are NULL. */
size_t mbk_norm_bwd_work_cuda(const mbk_norm_bwd *);
size_t mbk_conv_bwd_work_cuda(const mbk_conv_bwd *);
size_t mbk_act_bwd_work_cuda(const mbk_act_bwd *);
size_t mbk_scan_fwd_work_cuda(const mbk_scan *);
size_t mbk_sumsq_work_cuda(int64_t n);
size_t mbk_linear_fwd_work_cuda(const mbk_linear *, int M);
size_t mbk_gemm_tn_work_cuda(const mbk_gemm_tn *);

mbk_embed_fn mbk_embed_fwd_cuda;
mbk_embed_bwd_fn mbk_embed_bwd_cuda;
mbk_norm_fn mbk_norm_fwd_cuda;
mbk_norm_bwd_fn mbk_norm_bwd_cuda;
mbk_conv_fn mbk_conv_fwd_cuda, mbk_conv_step_cuda;
mbk_conv_bwd_fn mbk_conv_bwd_cuda;
mbk_gate_bwd_fn mbk_gate_bwd_cuda;
mbk_act_fn mbk_act_fwd_cuda;
mbk_act_bwd_fn mbk_act_bwd_cuda;
mbk_dropout_fn mbk_dropout_cuda; /* the bits of mbk_dropout_ref */
mbk_sum_fn mbk_sum_cuda;
mbk_xent_fn mbk_xent_cuda;
mbk_adamw_fn mbk_adamw_cuda;
mbk_ema_fn mbk_ema_cuda;
mbk_sumsq_fn mbk_sumsq_cuda; /* out: device memory */
mbk_scan_fn mbk_scan_fwd_cuda, mbk_scan_step_cuda;
mbk_scan_bwd_fn mbk_scan_bwd_cuda;
mbk_scan_bwd_scratch_fn mbk_scan_bwd_scratch_cuda;
mbk_linear_create_fn mbk_linear_create_cuda;
mbk_linear_destroy_fn mbk_linear_destroy_cuda;
mbk_linear_fwd_fn mbk_linear_fwd_cuda;
mbk_linear_step_fn mbk_linear_step_cuda;
mbk_linear_bytes_fn mbk_linear_bytes_cuda;
mbk_linear_update_fn mbk_linear_update_cuda;
mbk_gemm_tn_fn mbk_gemm_tn_cuda;
#endif
