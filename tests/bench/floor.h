/* The floor of a benchmark: the shortest time in which this machine could do a model's work, from rates measured in the
 * same run with the same threads.
 *
 *   GEMM rate    flop/s of the matrix product behind the library on 2048 x 3072 x 768: best way of cutting it among
 *                threads, weights packed beforehand
 *   vector rate  flop/s of independent fp32 multiply-adds
 *   read rate    bytes/s summed from memory in huge pages
 *   scan rate    vector rate / 19 state updates per second: what a fused scan of N = 16 costs in multiply-adds, with
 *                exp2 inline, channels in lanes, counted from its instructions
 *   elementwise  conv, SiLU, softplus, norm, gate: 0.37 of the scan's time, of which 0.08 is gate and norm, done once
 *                for both directions of a bidirectional layer
 * Forward: GEMM flops / GEMM rate + updates / scan rate + elementwise; memory traffic is hidden behind them. In and out
 * projections count once for both directions. Decode: bytes of the weights / read rate. */
#ifndef MB_TESTS_BENCH_FLOOR_H
#define MB_TESTS_BENCH_FLOOR_H
#include "kernels/kernel.h"

typedef struct floor_rates {
    double gemm_fp32, gemm_bf16; /* flop/s; bf16: 0 when this machine cannot */
    double vector;               /* flop/s */
    double read;                 /* bytes/s */
} floor_rates;

typedef struct floor_shape {
    int D, E, N, R, K, V, n_layer;
    int F;             /* inner width of each layer's feed-forward part; 0: none */
    int bidirectional; /* two directions in each layer, projections shared */
    int strands;       /* 2: reverse-complement equivariant, each token passes the stack twice */
    int last_logit;    /* the head runs once per sequence: not counted */
} floor_shape;

/* About three seconds. */
void floor_measure(floor_rates *rates, int threads);
void floor_print(const floor_rates *rates, int threads);

/* Seconds per token. */
double floor_forward_seconds(const floor_shape *s, const floor_rates *rates, mbk_precision precision);
/* Forward, backward and the gradients of the weights: three times the matrix products; the scan back again at
 * vector rate / 48 (its states made again from every 16th); elementwise work three times. recompute: and the forward
 * once more, with activations kept at layer edges only. The optimiser's step is not counted. */
double floor_train_seconds(const floor_shape *s, const floor_rates *rates, mbk_precision precision, int recompute);
double floor_decode_seconds(const floor_shape *s, const floor_rates *rates, mbk_precision precision);
#endif
