/* Guarded memory, and the few functions of the CUDA library that the queue calls. */
#include <stdio.h>
#include <stdlib.h>

#include <cuda_runtime.h>
#include "tests/cuda_exec/executor.h"
#include "tests/cuda_exec/guards.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(at, n)   ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#endif

enum { ZONE = 256, MOST = 512, KEEPS = 2, CANARY = 0xc7 };

typedef struct buffer {
    unsigned char *start; /* of the zone before */
    size_t bytes;
    unsigned char *kept[KEEPS];
    int used;
} buffer;
static buffer buffers[MOST];
static int high; /* buffers beyond have never been used */

static unsigned char *contents(const buffer *b) {
    return b->start + ZONE;
}

static void out_of_memory() {
    fprintf(stderr, "executor: out of memory, or of buffers\n");
    exit(2);
}

extern "C" void *cuda_exec_take(size_t bytes) {
    static const uint32_t poison = 0x7fe5a5a5; /* a NaN, as that of the checks */
    int i = 0;
    while (i < high && buffers[i].used)
        i++;
    high = i == high ? high + 1 : high;
    buffer *b = &buffers[i < MOST ? i : MOST - 1];
    b->start =
        i < MOST ? static_cast<unsigned char *>(aligned_alloc(ZONE, (bytes + 3 * ZONE - 1) / ZONE * ZONE)) : NULL;
    if (!b->start)
        out_of_memory();
    b->bytes = bytes;
    b->used = 1;
    memset(b->start, CANARY, ZONE);
    memset(contents(b) + bytes, CANARY, ZONE);
    for (size_t k = 0; k < bytes; k++)
        contents(b)[k] = reinterpret_cast<const unsigned char *>(&poison)[k % sizeof poison];
    ASAN_POISON_MEMORY_REGION(b->start, ZONE);
    ASAN_POISON_MEMORY_REGION(contents(b) + bytes, ZONE);
    return contents(b);
}

extern "C" void cuda_exec_give(void *p) {
    for (int i = 0; p && i < high; i++)
        if (buffers[i].used && contents(&buffers[i]) == p) {
            ASAN_UNPOISON_MEMORY_REGION(buffers[i].start, buffers[i].bytes + 2 * ZONE);
            free(buffers[i].start);
            for (int k = 0; k < KEEPS; k++) {
                free(buffers[i].kept[k]);
                buffers[i].kept[k] = NULL;
            }
            buffers[i].used = 0;
            return;
        }
    if (p) {
        fprintf(stderr, "executor: memory given back that was not taken\n");
        exit(2);
    }
}

static void check_zone(unsigned char *zone, const buffer *b, ptrdiff_t first, guards_finding *finding) {
    static unsigned char whole[ZONE];
    if (!whole[0])
        memset(whole, CANARY, ZONE);
    ASAN_UNPOISON_MEMORY_REGION(zone, ZONE);
    if (memcmp(zone, whole, ZONE) != 0) {
        int i = 0;
        while (zone[i] == CANARY)
            i++;
        finding("wrote byte %td of a buffer of %zu bytes", first + i, b->bytes);
        memset(zone, CANARY, ZONE);
    }
    ASAN_POISON_MEMORY_REGION(zone, ZONE);
}

void guards_check(guards_finding *finding) {
    for (int i = 0; i < high; i++)
        if (buffers[i].used) {
            buffer *b = &buffers[i];
            check_zone(b->start, b, -ZONE, finding);
            check_zone(contents(b) + b->bytes, b, static_cast<ptrdiff_t>(b->bytes), finding);
        }
}

extern "C" void cuda_exec_keep(int which) {
    for (int i = 0; i < high; i++)
        if (buffers[i].used) {
            buffer *b = &buffers[i];
            if (!b->kept[which])
                b->kept[which] = static_cast<unsigned char *>(malloc(b->bytes ? b->bytes : 1));
            if (!b->kept[which])
                out_of_memory();
            memcpy(b->kept[which], contents(b), b->bytes);
        }
}
extern "C" void cuda_exec_back(int which) {
    for (int i = 0; i < high; i++)
        if (buffers[i].used && buffers[i].kept[which])
            memcpy(contents(&buffers[i]), buffers[i].kept[which], buffers[i].bytes);
}
extern "C" int cuda_exec_same(int which) {
    for (int i = 0; i < high; i++)
        if (buffers[i].used && buffers[i].kept[which] &&
            memcmp(contents(&buffers[i]), buffers[i].kept[which], buffers[i].bytes) != 0)
            return 0;
    return 1;
}
extern "C" void cuda_exec_forget(void) {
    for (int i = 0; i < high; i++)
        for (int k = 0; k < KEEPS; k++) {
            free(buffers[i].kept[k]);
            buffers[i].kept[k] = NULL;
        }
}

/* ---- the library: one device of sm_80, whose memory is the host's --------------------------------------------------
 */
extern "C" {
const char *cudaGetErrorString(cudaError_t e) {
    switch (e) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration";
    default:
        return "failed";
    }
}
cudaError_t cudaGetLastError(void) {
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *n) {
    *n = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}
cudaError_t cudaDeviceGetAttribute(int *v, cudaDeviceAttr what, int device) {
    (void)what;
    *v = 8;
    return cudaSetDevice(device);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) {
    (void)flags;
    *s = NULL;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    (void)s;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    (void)s;
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **p, size_t bytes) {
    *p = cuda_exec_take(bytes);
    return cudaSuccess;
}
cudaError_t cudaFree(void *p) {
    cuda_exec_give(p);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s) {
    (void)s;
    memset(p, v, n);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind, cudaStream_t s) {
    (void)kind, (void)s;
    memcpy(to, from, n);
    return cudaSuccess;
}
/* ex2.approx.ftz: off by up to 2^-22 of the result, by how much being chosen by the bits of v; exact for whole v. */
float cuda_exec_ex2(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const double r = exp2(static_cast<double>(v)), most = 0x1p-22 - 0x1p-24; /* the rest by rounding */
    bits *= 0x9e3779b9u;
    if (isnan(v) || v == rintf(v) || fabsf(v) < 0x1p-24f || r > 0x1p127)
        return r < 0x1p-126 ? 0 : static_cast<float>(r);
    return r < 0x1p-126 ? 0 : static_cast<float>(r * (1 + most * ((bits >> 8) * 0x1p-23 - 1)));
}
}
