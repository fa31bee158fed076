/* Parameters of a model under their names: shapes, where they live, which names the files of each family use.
 * Folding (strand swap, transposes, logs) is done from here into the form the kernels want. */
#ifndef MB_PARAMS_H
#define MB_PARAMS_H
#include "core/config.h"
#include "core/weights.h"

typedef struct mb_mamba1_params { /* one direction of one layer; fp32, owned by mb_params */
    const float *in_w;            /* (2E,D) */
    const float *in_b;            /* (2E) or NULL */
    const float *conv_w;          /* (E,K) */
    const float *conv_b;          /* (E) or NULL */
    const float *x_w;             /* (R+2N,E) */
    const float *dt_w;            /* (E,R) */
    const float *dt_b;            /* (E) */
    const float *A_log;           /* (E,N) */
    const float *skip;            /* (E) */
    const float *out_w;           /* (D,E) */
    const float *out_b;           /* (D) or NULL */
} mb_mamba1_params;

typedef struct mb_ffn_params {    /* feed-forward part: W2 act(W1 x + b1) + b2 */
    const float *w1, *b1;         /* (F,D), (F) */
    const float *w2, *b2;         /* (D,F), (D) */
    const float *norm_w, *norm_b; /* (D) its norm, NULL without one; norm_b NULL for RMS */
} mb_ffn_params;

typedef struct mb_layer_params {
    const float *norm_w, *norm_b; /* (D) the mixer's norm, NULL without one; norm_b NULL for RMS */
    mb_mamba1_params dir[2];      /* left-to-right, right-to-left (bidirectional only) */
    mb_ffn_params ffn;            /* all NULL without one */
} mb_layer_params;

typedef struct mb_params {
    const float *embedding;             /* (V,D) */
    const float *positions;             /* (P,D) or NULL */
    const float *norm_in_w, *norm_in_b; /* (D) of the input, or NULL */
    const float *norm_f_w, *norm_f_b;   /* (D) the final norm, or NULL */
    const float *head_w;                /* (V,D); the embedding when tied */
    mb_layer_params *layer;             /* n_layer */
    int64_t count;                      /* distinct parameters, as the original counts them */
    void *owned;                        /* memory behind the pointers */
} mb_params;

/* ---- the strand swap of released RC-equivariant (PS) Caduceus models -----------------------------------------------
 * Let R reverse time and channels, and M_i = mixer_i(norm_i(.)). On the paper's stream H = [a, R b], a = E[x],
 * b = E[rc(x)], the fused path of the original code takes the halves of H in the wrong order in every block, so that
 *     layer i even: a += R M_i(R a)        layer i odd: a += M_i(a)        (b likewise)
 * R M_i R is again a bidirectional Mamba: norm.weight reversed, columns of in_proj and rows of out_proj (and its bias)
 * reversed, the two directions exchanged. Loading does that to the even layers, saving undoes it, bit for bit; in
 * between every layer is an ordinary a += M_i(a), and the model is one D-channel network run on x and on rc(x) by
 * themselves. What is left to the runner (core/forward.h), with nf the final norm, which the original does not swap:
 *     n_layer even (and no swap): hidden state = [nf(a), R nf(b)]        n_layer odd: [nf(R b), R nf(R a)]
 * and the stream that enters layer l is [a, R b] for even l, [R b, a] (halves exchanged) for odd l.
 * Without the swap (rcps_strand_swap = 0) nothing is folded. */

/* Reads, checks every shape, rebuilds dropped aliases, and folds the strand swap. Tensors are taken from F32, F16, BF16
 * or F64; F32 that needs no folding stays in the mapped file, which lives until mb_params_free (w may be closed
 * before). A present alias must equal what it is an alias of. All missing and all unexpected tensors are listed in one
 * error. */
int mb_params_load(mb_params **out, const mb_config *c, const mb_weights *w, mb_err *e) MB_MUST_USE;
/* The original's initialisation from a seed (c->init; mb_config_init). Every tensor draws from a stream of its own,
 * named by the tensor, so its values depend on seed, name and shape alone. */
int mb_params_seed(mb_params **out, const mb_config *c, uint64_t seed, mb_err *e) MB_MUST_USE;
/* A copy in memory of its own, all parameters in one pool (core/params_table.h); from = NULL: zeros of the same layout,
 * for gradients and optimiser states. */
int mb_params_clone(mb_params **out, const mb_config *c, const mb_params *from, mb_err *e) MB_MUST_USE;
/* Writes unfolded weights under the family's names, aliases dropped as the released files do. */
int mb_params_save(const mb_params *p, const mb_config *c, const char *path, mb_err *e) MB_MUST_USE;
/* The same with n more tensors in the file (a classifier's). */
int mb_params_save_with(const mb_params *p, const mb_config *c, const mb_tensor *more, int n, const char *path,
                        mb_err *e) MB_MUST_USE;
void mb_params_free(mb_params *p); /* NULL is fine */
/* Distinct parameters of a configuration, without making them. */
int64_t mb_params_count(const mb_config *c);
#endif
