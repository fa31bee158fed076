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

typedef int mbk_embed_fn(const mbk_ctx *, const mbk_embed *);
mbk_embed_fn mbk_embed_fwd_ref, mbk_embed_fwd_cpu;
#endif
