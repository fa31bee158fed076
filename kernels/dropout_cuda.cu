/* Dropout on a GPU, with the bits of the reference.
 *
 * A thread computes one Philox block and serves its 8 elements, which lie 16 apart: the lanes of a warp touch two runs
 * of 16 elements an access, whole sectors of memory. 8 bytes and some 25 instructions an element, 10 of them its share
 * of the 10 rounds: memory alone.
 *
 * The bits: 1 - p = k / 2^16 is a float, so x / (1 - p), rounded once, is one division of floats. The reference rounds
 * twice, first to double, and gets the same: a float's 24 bits over k are never half way between two floats (an odd
 * number of 25 bits times k's odd part has more than 24), and at least 2^-41 of the quotient away from there. */
#include "kernels/cuda.cuh"

enum { DROPOUT_THREADS = 256, DROPOUT_ROUNDS = 10, DROPOUT_BLOCK = 128, DROPOUT_SIDE = 16, DROPOUT_HALVES = 8 };

typedef struct dropout_args {
    mbk_dropout a;
    int64_t first, n, block, counters; /* element number of x[0]; elements; first / 128; threads that are wanted */
    uint32_t threshold;
    float keep;
} dropout_args;

/* The four words of the block of counter n. */
static __device__ __forceinline__ void philox(const mbk_dropout &a, uint64_t n, uint32_t c[4]) {
    uint32_t k0 = a.key[0], k1 = a.key[1];
    c[0] = static_cast<uint32_t>(n), c[1] = static_cast<uint32_t>(n >> 32), c[2] = a.site, c[3] = 0;
#pragma unroll
    for (int r = 0; r < DROPOUT_ROUNDS; r++, k0 += 0x9E3779B9U, k1 += 0xBB67AE85U) {
        const uint64_t p = static_cast<uint64_t>(0xD2511F53U) * c[0], q = static_cast<uint64_t>(0xCD9E8D57U) * c[2];
        c[0] = static_cast<uint32_t>(q >> 32) ^ c[1] ^ k0;
        c[1] = static_cast<uint32_t>(q);
        c[2] = static_cast<uint32_t>(p >> 32) ^ c[3] ^ k1;
        c[3] = static_cast<uint32_t>(p);
    }
}

static __global__ void dropout_blocks(const dropout_args p) {
    const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (thread >= p.counters)
        return;
    const int64_t block = p.block + thread / DROPOUT_SIDE;
    const int side = static_cast<int>(thread % DROPOUT_SIDE);
    const int64_t i0 = block * DROPOUT_BLOCK + side - p.first; /* of half 0; below 0 where a row begins inside */
    float x[DROPOUT_HALVES];
    uint32_t word[4];
#pragma unroll
    for (int h = 0; h < DROPOUT_HALVES; h++) {
        const int64_t i = i0 + h * DROPOUT_SIDE;
        x[h] = i >= 0 && i < p.n ? p.a.x[i] : 0;
    }
    philox(p.a, static_cast<uint64_t>(block) * DROPOUT_SIDE + static_cast<uint64_t>(side), word);
#pragma unroll
    for (int h = 0; h < DROPOUT_HALVES; h++) {
        const int64_t i = i0 + h * DROPOUT_SIDE;
        const uint32_t drawn = word[h / 2] >> (h % 2 * 16) & 0xFFFFU;
        if (i >= 0 && i < p.n)
            p.a.y[i] = drawn >= p.threshold ? x[h] / p.keep : 0;
    }
}

extern "C" int mbk_dropout_cuda(const mbk_ctx *ctx, const mbk_dropout *a) {
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->row >= 0 && a->rate >= 0 && a->rate <= 0.999F && a->x && a->y);
    const uint32_t threshold = static_cast<uint32_t>(lrint(static_cast<double>(a->rate) * 65536));
    const int64_t first = a->row * a->D, n = static_cast<int64_t>(a->L) * a->D, block = first / DROPOUT_BLOCK;
    const int64_t counters = ((first + n - 1) / DROPOUT_BLOCK - block + 1) * DROPOUT_SIDE;
    const dropout_args p = {
        *a, first, n, block, counters, threshold, static_cast<float>(1 - static_cast<double>(threshold) / 65536)};
    return launch(ctx, "dropout", dropout_blocks, dim3(blocks_for(counters, DROPOUT_THREADS)), dim3(DROPOUT_THREADS), 0,
                  p);
}
