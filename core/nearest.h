/* The k nearest of many rows, exactly, by brute force.
 *
 *   cosine:  q.x / (|q| |x|), the largest       dot:  q.x, the largest       l2:  |q - x|, the smallest
 *
 * A fast fp32 matrix product of a block of queries with each tile of the index says which pairs may matter: those whose
 * value, given the largest rounding error that such a product can have, might be among the k best seen. These are
 * computed again in double, and only that decides. So the result is that of computing all pairs in double, in one fixed
 * order of summation: it depends neither on the product's library nor on tiles, threads or memory. Of equal values the
 * lower row is nearer.
 *
 * Rows that hold NaN or an infinity have no neighbours and are nobody's; for cosine neither have rows of zeros. They
 * are counted. */
#ifndef MB_NEAREST_H
#define MB_NEAREST_H
#include <stdatomic.h>
#include "core/log.h"
#include "core/weights.h"

typedef enum mb_nearest_measure { MB_NEAREST_COSINE, MB_NEAREST_L2, MB_NEAREST_DOT } mb_nearest_measure;
#define MB_NEAREST_CHOICES "cosine|l2|dot"
enum { MB_NEAREST_MAX_COLUMNS = 1 << 20 };

typedef struct mb_nearest_rows {
    const void *data; /* (n,D) contiguous, may be unaligned */
    mb_dtype dtype;   /* MB_F32 or MB_F16 */
    int64_t n;
    int D; /* 1 .. MB_NEAREST_MAX_COLUMNS */
} mb_nearest_rows;

typedef struct mb_nearest_options {
    int measure;      /* mb_nearest_measure */
    int k;            /* > 0 */
    int exclude_self; /* 1: row i of the index is no neighbour of query i */
    int threads;      /* > 0 */
    int64_t memory;   /* bytes to work in, beside the mapped index */
    const char *device;
    mb_progress *progress;  /* counts pairs; may be NULL */
    const atomic_int *stop; /* may be NULL */
} mb_nearest_options;

typedef struct mb_nearest_hit {
    int64_t row; /* of the index; -1: there are fewer than k */
    double value;
} mb_nearest_hit;

typedef struct mb_nearest_counts {
    int64_t bad_index, bad_query; /* rows left out */
    int64_t again;                /* pairs computed a second time */
} mb_nearest_counts;

/* Queries that fit into memory at once: the index is read once for each such block. */
int64_t mb_nearest_block(int64_t n_query, int D, const mb_nearest_options *o);
/* hit (n,k), best first, of queries [from, from+n), which are run as one block. */
int mb_nearest_run(const mb_nearest_rows *index, const mb_nearest_rows *query, int64_t from, int64_t n,
                   const mb_nearest_options *o, mb_nearest_hit *hit, mb_nearest_counts *counts, mb_err *e) MB_MUST_USE;
#endif
