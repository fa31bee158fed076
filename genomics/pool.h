/* From the rows that a model delivers to the rows that are wanted: all of them, one per sequence, or one per bin. */
#ifndef DNA_POOL_H
#define DNA_POOL_H
#include "core/forward.h"

typedef enum dna_pool_kind { DNA_POOL_NONE, DNA_POOL_MEAN, DNA_POOL_MAX, DNA_POOL_CENTER } dna_pool_kind;
#define DNA_POOL_CHOICES "none|mean|max|center"

/* Takes finished rows: rows [row, row+n) of sequence `item`, in forward order, of one layer and block of D columns.
 * Called by many workers at once, never for the same rows. */
typedef struct dna_pool_out {
    int (*put)(void *user, int item, int layer, int block, int64_t row, int64_t n, const float *values, mb_err *e);
    const char *(*name)(void *user, int item); /* for messages */
    void *user;
} dna_pool_out;

typedef struct dna_pool_options {
    int kind;    /* dna_pool_kind */
    int64_t bin; /* bases per bin; 0 = the whole sequence is one bin. Not with NONE and CENTER. */
    int D, n_layers, threads;
    const int *layer; /* (n_layers) the streams wanted, ascending */
    int blocks;       /* 1, or 2: both strands side by side or to be averaged */
    int turn_second;  /* 1: rows of column D come with their channels reversed; put them in the first half's order */
} dna_pool_options;

typedef struct dna_pool dna_pool;

/* length (n): bases of each item. In the forward run sequence i < n is item i; sequence n+i, where models without a
 * reverse-complement strand of their own are run on both, is the reverse complement of item i and fills block 1. */
int dna_pool_create(dna_pool **out, const dna_pool_options *o, const int64_t *length, int n, const dna_pool_out *to,
                    mb_err *e) MB_MUST_USE;
void dna_pool_destroy(dna_pool *p);
mb_sink dna_pool_sink(dna_pool *p);
/* Rows that a sequence of this length gives. */
int64_t dna_pool_rows(const dna_pool_options *o, int64_t length);
#endif
