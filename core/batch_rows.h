/* The rows of a batch: lanes, and their tiles on the model's grid. */
#ifndef MB_BATCH_ROWS_H
#define MB_BATCH_ROWS_H
#include "core/mixer.h"

typedef struct mb_rows_table {
    mb_batch_rows b; /* points into the rest */
    int64_t *lane_at;
    int *lane_tile;
    mb_batch_tile *tile;
} mb_rows_table;

/* strands lanes for each of n sequences, all of its length; what t held before is freed. MB_RANGE for lengths below 1
 * and batches beyond 2^31-1 tiles. */
int mb_rows_table_make(mb_rows_table *t, const int64_t *length, int n, int strands, int tile, mb_err *e) MB_MUST_USE;
void mb_rows_table_free(mb_rows_table *t);
#endif
