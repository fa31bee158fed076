/* The row of blocks of a configuration. See blocks.h. */
#include "core/blocks.h"

static int layers_with_ffn(const mb_config *c) {
    return c->layer.ffn > 0 ? c->n_layer - c->layer.ffn_from : 0;
}

int mb_blocks_count(const mb_config *c) {
    return c->n_layer + layers_with_ffn(c);
}

int mb_block_of_layer(const mb_config *c, int layer) {
    const int more = layers_with_ffn(c) > 0 ? layer - c->layer.ffn_from : 0;
    return layer + (more > 0 ? more : 0);
}

mb_block mb_block_at(const mb_config *c, int block) {
    const int paired = block - c->layer.ffn_from; /* counted from the first layer of two blocks */
    const int pairs = layers_with_ffn(c) > 0 && paired >= 0;
    const mb_past flows = c->layer.norms == MB_NORM_BEFORE ? MB_PAST_SUM : MB_PAST_NORMED;
    mb_block b = {.layer = pairs ? c->layer.ffn_from + paired / 2 : block, .ffn = pairs ? paired % 2 : 0};
    b.past = c->layer.bare && !b.ffn ? MB_PAST_NOTHING : flows;
    return b;
}

static mb_edge_norm norm_of_block(const mb_config *c, const mb_params *p, int block) {
    const mb_block b = mb_block_at(c, block);
    const mb_layer_params *l = &p->layer[b.layer];
    return b.ffn ? (mb_edge_norm){l->ffn.norm_w, l->ffn.norm_b} : (mb_edge_norm){l->norm_w, l->norm_b};
}

mb_edge_norm mb_edge_norm_at(const mb_config *c, const mb_params *p, int edge) {
    const mb_edge_norm in = {p->norm_in_w, p->norm_in_b}, last = {p->norm_f_w, p->norm_f_b};
    const int n = mb_blocks_count(c);
    switch (c->layer.norms) {
    case MB_NORM_BEFORE:
        return edge < n ? norm_of_block(c, p, edge) : last;
    case MB_NORM_AFTER:
        return edge > 0 ? norm_of_block(c, p, edge - 1) : in;
    case MB_NORM_NOWHERE:
        break;
    }
    return edge == 0 ? in : edge == n ? last : (mb_edge_norm){NULL, NULL};
}

int mb_ends_twice(const mb_config *c) {
    return c->layer.norms == MB_NORM_AFTER && !c->no_final_norm;
}
