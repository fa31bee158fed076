/* The CUDA device of a build without nvcc: a table whose hole says so, and queues that nobody gets. */
#include <stdio.h>

#include "kernels/cuda.h"

const mbk_ops *mbk_ops_cuda(void) {
    static const mbk_ops none = {.device = "cuda", .isa = "none"};
    return &none;
}

int mbk_queue_create(mbk_queue **out, int device, char *why, size_t n) {
    (void)device;
    *out = NULL;
    snprintf(why, n, "this build has no CUDA kernels: build it where nvcc is");
    return MB_NOTSUP;
}
void mbk_queue_destroy(mbk_queue *q) {
    (void)q;
}
void mbk_queue_lend(mbk_queue *q, void *memory, size_t bytes) {
    (void)q, (void)memory, (void)bytes;
}
void mbk_queue_careful(mbk_queue *q, int careful) {
    (void)q, (void)careful;
}
int mbk_queue_sync(mbk_queue *q, char *why, size_t n) {
    (void)q;
    snprintf(why, n, "this build has no CUDA kernels");
    return MB_NOTSUP;
}
