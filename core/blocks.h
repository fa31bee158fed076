/* A model as a row of blocks, each one mixer (the feed-forward part of a layer is a mixer too: of rows by themselves),
 * with an edge before each and one after the last:
 *
 *     s_0 = the input rows;   u_e = norm_e(s_e), or s_e at an edge without a norm
 *     s_{e+1} = past_e + mixer_e(u_e),   past_e = s_e (norm before), u_e (norm after, none) or nothing (bare)
 *     hidden = u_n, after the final norm where that is one more
 *
 * With the norm before a mixer, norm_e is block e's own and norm_n is the final norm; with the norm after, norm_{e+1}
 * is block e's own and norm_0 is the input's. So x += mixer(norm(x)) and x = norm(x + mixer(x)) are one thing to
 * whoever runs, streams or differentiates a model: all that differs is the table below. The stream that enters a layer
 * is what flows past its first mixer. */
#ifndef MB_BLOCKS_H
#define MB_BLOCKS_H
#include "core/params.h"

typedef enum mb_past { MB_PAST_NOTHING, MB_PAST_SUM, MB_PAST_NORMED } mb_past;

typedef struct mb_block {
    int layer, ffn; /* ffn 1: the feed-forward part of the layer */
    mb_past past;
} mb_block;

typedef struct mb_edge_norm { /* w NULL: no norm; b NULL: none */
    const float *w, *b;
} mb_edge_norm;

int mb_blocks_count(const mb_config *c);
mb_block mb_block_at(const mb_config *c, int block);
/* The first block of a layer; n_layer: the number of blocks. */
int mb_block_of_layer(const mb_config *c, int layer);
/* The norm at an edge (0 .. blocks), of any set of parameters of the configuration: weights, sums of gradients. */
mb_edge_norm mb_edge_norm_at(const mb_config *c, const mb_params *p, int edge);
/* 1: after the last edge's own norm comes the final norm. */
int mb_ends_twice(const mb_config *c);
#endif
