/* Embedding: out[t,:] = table[token[t],:].
 * token: (L), each in [0,V) (checked: MB_RANGE); table: (V,D); out: (L,D). */
#ifndef MBK_EMBED_H
#define MBK_EMBED_H
#include "kernels/kernel.h"

typedef struct mbk_embed {
    int L, D, V;
    const int32_t *token; /* (L) */
    const float *table;   /* (V,D) */
    float *out;           /* (L,D) */
} mbk_embed;

/* Gradient of the table, of the columns [from,to) alone: dtable[token[t], c] += G[t, c], rows in order. Workers take
 * ranges of columns, so the order of the sums is always that of the rows. token checked as above. */
typedef struct mbk_embed_bwd {
    int64_t L;
    int D, V, from, to;
    const int32_t *token; /* (L) */
    const float *G;       /* (L,D) */
    float *dtable;        /* (V,D) */
} mbk_embed_bwd;

typedef int mbk_embed_bwd_fn(const mbk_ctx *, const mbk_embed_bwd *);
mbk_embed_bwd_fn mbk_embed_bwd_ref, mbk_embed_bwd_cpu;

typedef int mbk_embed_fn(const mbk_ctx *, const mbk_embed *);
mbk_embed_fn mbk_embed_fwd_ref, mbk_embed_fwd_cpu;
#endif
