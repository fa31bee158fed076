/* The rows of a batch. See batch_rows.h. */
#include "core/batch_rows.h"

#include <limits.h>

static const int64_t MAX_ROWS = (int64_t)1 << 40;

void mb_rows_table_free(mb_rows_table *t) {
    mb_free(t->lane_at);
    mb_free(t->lane_tile);
    mb_free(t->tile);
    *t = (mb_rows_table){0};
}

static int count(const int64_t *length, int n, int tile, int64_t *tiles, mb_err *e) {
    int64_t rows = 0;
    *tiles = 0;
    for (int i = 0; i < n; i++) {
        if (length[i] < 1)
            return mb_fail(e, MB_RANGE, "sequence %d of the batch is empty", i);
        if (length[i] > MAX_ROWS - rows)
            return mb_fail(e, MB_RANGE, "a batch of more than %lld rows", (long long)MAX_ROWS);
        rows += length[i];
        *tiles += (length[i] + tile - 1) / tile;
    }
    return MB_OK;
}

static void fill(mb_rows_table *t, const int64_t *length, int n, int strands, int tile) {
    int64_t at = 0;
    int tiles = 0, lane = 0;
    for (int i = 0; i < n; i++)
        for (int s = 0; s < strands; s++, lane++) {
            t->lane_at[lane] = at;
            t->lane_tile[lane] = tiles;
            for (int64_t k = 0; k < length[i]; k += tile) {
                const int64_t left = length[i] - k;
                t->tile[tiles++] = (mb_batch_tile){.lane = lane, .rows = left < tile ? (int)left : tile, .at = at + k};
            }
            at += length[i];
        }
    t->lane_at[lane] = at;
    t->lane_tile[lane] = tiles;
    t->b = (mb_batch_rows){
        .lanes = lane, .tiles = tiles, .rows = at, .lane_at = t->lane_at, .lane_tile = t->lane_tile, .tile = t->tile};
}

int mb_rows_table_make(mb_rows_table *t, const int64_t *length, int n, int strands, int tile, mb_err *e) {
    int64_t tiles;
    mb_rows_table_free(t);
    MB_ASSERT(n > 0 && strands > 0 && tile > 0);
    int rc = count(length, n, tile, &tiles, e);
    if (rc != MB_OK)
        return rc;
    if (tiles * strands > INT_MAX || (int64_t)n * strands >= INT_MAX)
        return mb_fail(e, MB_RANGE, "a batch of %lld tiles is more than fits", (long long)tiles * strands);
    const size_t lanes = (size_t)n * (size_t)strands;
    t->lane_at = mb_calloc(lanes + 1, sizeof *t->lane_at);
    t->lane_tile = mb_calloc(lanes + 1, sizeof *t->lane_tile);
    t->tile = mb_calloc((size_t)tiles * (size_t)strands, sizeof *t->tile);
    if (!t->lane_at || !t->lane_tile || !t->tile) {
        mb_rows_table_free(t);
        return mb_fail(e, MB_NOMEM, "no memory for a batch of %d sequences", n);
    }
    fill(t, length, n, strands, tile);
    return MB_OK;
}
