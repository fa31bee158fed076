/* The queue of a device: stream, fault word, lent workspace, and the names of its last launches, so that what goes
 * wrong later can be told with a name. Refuses devices older than sm_80. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda.cuh"

enum { MBK_OLDEST = 8 }; /* major compute capability: the kernels are built for sm_80 and later */

static int refused(char *why, size_t n, const char *what, cudaError_t e) {
    snprintf(why, n, "%s: %s", what, cudaGetErrorString(e));
    const int none = e == cudaErrorNoDevice || e == cudaErrorInsufficientDriver || e == cudaErrorInvalidDevice;
    return none ? MB_NOTSUP : e == cudaErrorMemoryAllocation ? MB_NOMEM : MB_FAIL;
}

/* The device exists and is young enough. */
static int check_device(int device, char *why, size_t n) {
    int count = 0, major = 0;
    cudaError_t e = cudaGetDeviceCount(&count);
    if (e != cudaSuccess)
        return refused(why, n, "CUDA", e);
    if (device < 0 || device >= count) {
        snprintf(why, n, "CUDA device %d: there are %d", device, count);
        return MB_NOTSUP;
    }
    e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (e != cudaSuccess)
        return refused(why, n, "CUDA", e);
    if (major < MBK_OLDEST) {
        snprintf(why, n, "CUDA device %d has compute capability %d.x; %d.0 or later is wanted", device, major,
                 static_cast<int>(MBK_OLDEST));
        return MB_NOTSUP;
    }
    return MB_OK;
}

extern "C" int mbk_queue_create(mbk_queue **out, int device, char *why, size_t n) {
    *out = NULL;
    int rc = check_device(device, why, n);
    if (rc != MB_OK)
        return rc;
    mbk_queue *q = static_cast<mbk_queue *>(calloc(1, sizeof *q));
    if (!q) {
        snprintf(why, n, "CUDA queue: out of memory");
        return MB_NOMEM;
    }
    q->device = device;
    cudaError_t e = cudaSetDevice(device);
    if (e == cudaSuccess)
        e = cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking);
    if (e == cudaSuccess)
        e = cudaMalloc(reinterpret_cast<void **>(&q->fault), sizeof *q->fault);
    if (e == cudaSuccess)
        e = cudaMemsetAsync(q->fault, 0, sizeof *q->fault, q->stream);
    if (e != cudaSuccess) {
        rc = refused(why, n, "CUDA queue", e);
        mbk_queue_destroy(q);
        return rc;
    }
    *out = q;
    return MB_OK;
}

extern "C" void mbk_queue_destroy(mbk_queue *q) {
    if (!q)
        return;
    (void)cudaSetDevice(q->device);
    if (q->stream) {
        (void)cudaStreamSynchronize(q->stream);
        (void)cudaStreamDestroy(q->stream);
    }
    mbk_blas_destroy(q->blas);
    (void)cudaFree(q->fault);
    free(q);
}

extern "C" void mbk_queue_lend(mbk_queue *q, void *memory, size_t bytes) {
    q->work = memory;
    q->work_bytes = bytes;
}

extern "C" void mbk_queue_careful(mbk_queue *q, int careful) {
    q->careful = careful;
}

int mbk_queue_launched(mbk_queue *q, const char *name, cudaError_t e) {
    const int launched = e == cudaSuccess;
    q->name[q->launches++ % MBK_NAMES] = name;
    if (launched && q->careful)
        e = cudaStreamSynchronize(q->stream);
    if (e == cudaSuccess)
        return MB_OK;
    (void)cudaGetLastError(); /* what is not sticky is told once */
    if (q->failed == MB_OK) {
        q->failed = e == cudaErrorMemoryAllocation ? MB_NOMEM : MB_FAIL;
        snprintf(q->why, sizeof q->why, "CUDA kernel %s%s: %s", name, launched ? "" : ", at its launch",
                 cudaGetErrorString(e));
    }
    return q->failed;
}

int mbk_queue_missing(mbk_queue *q, const char *what) {
    if (q->failed == MB_OK) {
        q->failed = MB_NOTSUP;
        snprintf(q->why, sizeof q->why, "CUDA: %s", what);
    }
    return q->failed;
}

/* "a, b, c": what has been launched since the last sync, the oldest first, each name once. */
static void names(const mbk_queue *q, char *text, size_t n) {
    const unsigned from = q->launches > MBK_NAMES ? q->launches - MBK_NAMES : 0;
    size_t at = 0;
    text[0] = 0;
    for (unsigned i = from; i < q->launches; i++) {
        const char *name = q->name[i % MBK_NAMES];
        int seen = 0;
        for (unsigned k = from; k < i; k++)
            seen |= !strcmp(q->name[k % MBK_NAMES], name);
        if (!seen && at < n)
            at += static_cast<size_t>(snprintf(text + at, n - at, "%s%s", at ? ", " : "", name));
    }
}

static const char *what_checked(int op) {
    switch (op) {
    case MBK_CHECKED_EMBED:
        return "embed_fwd: a token outside the table";
    case MBK_CHECKED_EMBED_BWD:
        return "embed_bwd: a token outside the table";
    default:
        return "xent: a target outside the vocabulary";
    }
}

extern "C" int mbk_queue_sync(mbk_queue *q, char *why, size_t n) {
    mbk_fault fault = {MB_OK, 0};
    int rc = q->failed;
    cudaError_t e = cudaSetDevice(q->device);
    if (e == cudaSuccess)
        e = cudaMemcpyAsync(&fault, q->fault, sizeof fault, cudaMemcpyDeviceToHost, q->stream);
    if (e == cudaSuccess)
        e = cudaMemsetAsync(q->fault, 0, sizeof *q->fault, q->stream);
    if (e == cudaSuccess)
        e = cudaStreamSynchronize(q->stream);
    if (rc != MB_OK) {
        snprintf(why, n, "%s", q->why);
    } else if (e != cudaSuccess) {
        char last[160];
        names(q, last, sizeof last);
        snprintf(why, n, "CUDA device %d: %s, in one of: %s", q->device, cudaGetErrorString(e), last);
        rc = MB_FAIL;
    } else if (fault.status != MB_OK) {
        snprintf(why, n, "%s", what_checked(fault.op));
        rc = fault.status;
    }
    q->failed = MB_OK;
    q->launches = 0;
    return rc;
}
