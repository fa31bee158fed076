/* The bottom layer: every operation on raw pointers and dimensions.
 *
 * An operation X has one header X.h (its contract), X_ref.c (plain C, double accumulation: the truth),
 * X_cpu.c (fast; one source built for several instruction sets) and, with CUDA, X_cuda.cu.
 * A kernel does one tile on the calling thread; threads, queues and order are the caller's business.
 *
 * Letters mean one thing everywhere: B batch, L length (rows, tokens), D d_model, E d_inner, N d_state,
 * K conv width, R dt_rank, V vocabulary. Matrices are row-major; "ld" is the distance between rows in elements.
 * Unless a header says otherwise: pointers must not alias, no alignment is needed, sizes may be any positive number,
 * and a kernel reads no element outside the shapes it states and writes none either.
 *
 * Kernels return MB_OK or a negative mb_status; wrong arguments are bugs and assert. */
#ifndef MBK_KERNEL_H
#define MBK_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/status.h"

/* Assertion that stays in release builds: a bug in the caller, never the world's fault. */
#define MBK_ASSERT(cond) ((cond) ? (void)0 : mbk_assert_failed(#cond, __FILE__, __LINE__))
#if defined(__GNUC__)
__attribute__((noreturn))
#endif
void mbk_assert_failed(const char *cond, const char *file, int line);

/* Who calls: one per worker thread; on a GPU it carries the queue. */
typedef struct mbk_ctx {
    int worker;   /* 0 .. workers-1 */
    void *stream; /* an mbk_queue (kernels/cuda.h); NULL on the CPU */
} mbk_ctx;

/* Precision of weights and matrix-product inputs. Accumulation, states and all else stay fp32. TF32 (10 bits of
 * mantissa) is a GPU's alone: on the CPU linear_create and gemm_tn refuse it. */
typedef enum mbk_precision { MBK_FP32 = 0, MBK_BF16 = 1, MBK_TF32 = 2 } mbk_precision;

#endif
