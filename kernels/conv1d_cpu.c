/* Causal depthwise convolution and SiLU, fast. Channels lie in lanes; GROUP rows are computed together, so that an
 * input row is loaded about twice instead of K times, and sweeps over channels are contiguous. K = 4 is compiled apart.
 * An output is always b + w[0]x[.] + .. + w[K-1]x[.] in this order: its bits do not depend on groups, tiles or
 * channels. Refuses K outside 1..16. */
#include <string.h>

#include "kernels/conv1d.h"
#include "kernels/simd.h"

mbk_conv_fn MBK_NAME(conv_fwd), MBK_NAME(conv_step);

enum { GROUP = 4, CHUNK = 512 }; /* rows computed together; channels per sweep */
static const float no_state[CHUNK];

/* G output rows at channels e .. e+n-1, n <= VLANES; in: the K-1+G input rows, oldest first; out: G rows; w, b
 * likewise. */
VINLINE void conv_vector(const int G, const int K, const mbk_conv *a, int e, const int n, const float *const *in,
                         float *const *out, const float *w, const float *b) {
    vf c[GROUP];
    VUNROLL
    for (int g = 0; g < G; g++)
        c[g] = b ? v_load_n(b + e, n) : (vf){0};
    for (int j = 0; j < K; j++) {
        vf wj = v_load_n(w + j * a->ldw + e, n);
        VUNROLL
        for (int g = 0; g < G; g++)
            c[g] += wj * v_load_n(in[g + j] + e, n);
    }
    /* the group after: its rows are too far apart for the processor to foresee; behind the last a harmless hint */
    const ptrdiff_t ahead = GROUP * (a->reverse ? -a->ldx : a->ldx) + e;
    VUNROLL
    for (int g = 0; g < G; g++)
        __builtin_prefetch(in[g + K - 1] + ahead, 0, 3);
    VUNROLL
    for (int g = 0; g < G; g++)
        v_store_n(out[g] + e, a->silu ? v_silu(c[g]) : c[g], n);
}

VINLINE void conv_rows(const int G, const int K, const mbk_conv *a, int channels, const float *const *in,
                       float *const *out, const float *w, const float *b) {
    int e = 0;
    for (; e + VLANES <= channels; e += VLANES)
        conv_vector(G, K, a, e, VLANES, in, out, w, b);
    if (e < channels)
        conv_vector(G, K, a, e, channels - e, in, out, w, b);
}

typedef void conv_rows_fn(const mbk_conv *, int, const float *const *, float *const *, const float *, const float *);
static void rows_group_4(const mbk_conv *a, int channels, const float *const *in, float *const *out, const float *w,
                         const float *b) {
    conv_rows(GROUP, 4, a, channels, in, out, w, b);
}
static void rows_group(const mbk_conv *a, int channels, const float *const *in, float *const *out, const float *w,
                       const float *b) {
    conv_rows(GROUP, a->K, a, channels, in, out, w, b);
}
static void rows_one(const mbk_conv *a, int channels, const float *const *in, float *const *out, const float *w,
                     const float *b) {
    conv_rows(1, a->K, a, channels, in, out, w, b);
}

/* Input row i in processing order, at channel e; i < 0 is the state. */
static const float *input_row(const mbk_conv *a, int i, int e) {
    if (i < 0)
        return a->state ? a->state + (a->K - 1 + i) * a->ldstate + e : no_state;
    return a->x + (a->reverse ? a->L - 1 - i : i) * a->ldx + e;
}

/* Channels e .. e+channels-1 of the whole tile, then their state. */
static void conv_chunk(const mbk_conv *a, int e, int channels) {
    const float *in[MBK_CONV_MAX_K - 1 + GROUP];
    float *out[GROUP];
    const float *w = a->w + e, *b = a->b ? a->b + e : NULL;
    conv_rows_fn *group = a->K == 4 ? rows_group_4 : rows_group;
    for (int i = 0, g; i < a->L; i += g) {
        g = a->L - i >= GROUP ? GROUP : 1;
        for (int j = 0; j < a->K - 1 + g; j++)
            in[j] = input_row(a, i - (a->K - 1) + j, e);
        for (int j = 0; j < g; j++)
            out[j] = a->y + (a->reverse ? a->L - 1 - i - j : i + j) * a->ldy + e;
        (g == GROUP ? group : rows_one)(a, channels, in, out, w, b);
    }
    if (a->state) /* ascending: row j may come from state row j+L, not yet replaced */
        for (int j = 0; j < a->K - 1; j++)
            memcpy(a->state + j * a->ldstate + e, input_row(a, a->L - (a->K - 1) + j, e),
                   (size_t)channels * sizeof(float));
}

int MBK_NAME(conv_fwd)(const mbk_ctx *ctx, const mbk_conv *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->E >= 1 && a->K >= 1 && a->K <= MBK_CONV_MAX_K && !a->segment);
    for (int e = 0; e < a->E; e += CHUNK)
        conv_chunk(a, e, a->E - e < CHUNK ? a->E - e : CHUNK);
    return MB_OK;
}

/* One token at channels e .. e+n-1. The state moves up one row in the same sweep that reads it; all is loaded before
 * any of it is stored, because rows that lie 4 KiB apart would make the loads wait for the stores. */
VINLINE void step_vector(const int K, const mbk_conv *a, int e, const int n) {
    vf x[MBK_CONV_MAX_K], c = a->b ? v_load_n(a->b + e, n) : (vf){0};
    for (int j = 0; j < K - 1; j++)
        x[j] = a->state ? v_load_n(a->state + j * a->ldstate + e, n) : (vf){0};
    x[K - 1] = v_load_n(a->x + e, n);
    for (int j = 0; j < K; j++)
        c += v_load_n(a->w + j * a->ldw + e, n) * x[j];
    for (int j = 0; j < K - 1 && a->state; j++)
        v_store_n(a->state + j * a->ldstate + e, x[j + 1], n);
    v_store_n(a->y + e, a->silu ? v_silu(c) : c, n);
}

int MBK_NAME(conv_step)(const mbk_ctx *ctx, const mbk_conv *a) {
    int e = 0;
    (void)ctx;
    MBK_ASSERT(a->L == 1 && a->E >= 1 && a->K >= 1 && a->K <= MBK_CONV_MAX_K && !a->segment);
    if (a->K == 4)
        for (; e + VLANES <= a->E; e += VLANES)
            step_vector(4, a, e, VLANES);
    for (; e < a->E; e += VLANES)
        step_vector(a->K, a, e, a->E - e);
    return MB_OK;
}
