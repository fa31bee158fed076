/* The CUDA kernels as a device for the checks: each operation runs several times from the same memory, in shuffled
 * orders of blocks and threads, in a workspace of exactly the size asked for; a difference between the orders is a
 * finding, printed and counted, and makes the operation fail. */
#ifndef MB_TESTS_CUDA_DEVICE_H
#define MB_TESTS_CUDA_DEVICE_H
#include "kernels/cuda.h"

const mbk_ops *cuda_exec_ops(void);
/* The context of the executor's queue, for direct calls. */
const mbk_ctx *cuda_exec_ctx(void);
#endif
