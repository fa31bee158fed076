/* Architecture of a model, as read from config.json of any supported family:
 *   Caduceus       model_type "caduceus" (Schiff et al. 2024, arXiv 2403.03234)
 *   state-spaces   d_model, n_layer, ssm_cfg, no model_type (Gu & Dao 2023, arXiv 2312.00752)
 *   transformers   model_type "mamba"
 *   Mamba4Rec      model_type "mamba4rec", or n_items, hidden_size and num_layers (Liu et al. 2024, arXiv 2403.03900)
 *   RecMamba       model_type "recmamba" (nancheng58/RecMamba)
 *   seqmamba       model_type "seqmamba": layers put together as the file says (core/config_own.c)
 * A config.json written elsewhere may hold keys nobody here reads; those that are read must be right. Its sections
 * (ssm_cfg, initializer_cfg) are the arguments of one class each: what is unknown there is warned of. */
#ifndef MB_CONFIG_H
#define MB_CONFIG_H
#include "core/error.h"
#include "kernels/act.h"
#include "kernels/norm.h"

typedef enum mb_family {
    MB_FAMILY_CADUCEUS,  /* kuleshov-group/caduceus: Ph, PS, unidirectional */
    MB_FAMILY_MAMBA_SSM, /* state-spaces/mamba: backbone.embedding, pytorch_model.bin */
    MB_FAMILY_MAMBA_HF,  /* transformers: model_type mamba */
    MB_FAMILY_MAMBA4REC, /* chengkai-liu/Mamba4Rec */
    MB_FAMILY_RECMAMBA,  /* nancheng58/RecMamba */
    MB_FAMILY_SEQMAMBA   /* of no original: layers and input as the file describes them */
} mb_family;

typedef enum mb_mixer_kind { MB_MIXER_MAMBA1, MB_MIXER_BIMAMBA1 } mb_mixer_kind;
typedef enum mb_bidirectional { MB_BIDIR_NONE, MB_BIDIR_ADD, MB_BIDIR_MULTIPLY } mb_bidirectional;

#define MB_MAX_COMPLEMENT 4096

typedef enum mb_norm_place { MB_NORM_BEFORE, MB_NORM_AFTER, MB_NORM_NOWHERE } mb_norm_place;

/* How a layer is put together. All zero, as Mamba and Caduceus have it: x += mixer(norm(x)). In general
 *     m = mixer(u);   s = x + m, or m;   h = norm(s), or s;   f = W2 act(W1 h + b1) + b2;   out = norm(h + f)
 * with u = norm(x) where the norm stands before, else u = x. See core/blocks.h. */
typedef struct mb_layer_shape {
    mb_norm_place norms; /* of the mixer and of the feed-forward part: before each, or after its output was added */
    int bare;            /* 1: the mixer's output takes the stream's place, nothing is added to it */
    int ffn;             /* inner width of the feed-forward part, which is always added to the stream; 0: none */
    int ffn_from;        /* the first layer that has one */
    mbk_act_kind act;
    int undropped; /* no dropout of the mixer's output */
} mb_layer_shape;

/* x = dropout(scale E[token] + P[position]), then the norm. All zero: x = E[token]. Rows given by the caller take the
 * place of E[token] (core/forward.h, core/gradient.h). */
typedef struct mb_input_shape {
    int rows;      /* 1: always, and there is no embedding; V is 0 and there is no head */
    float scale;   /* 0: 1 */
    int positions; /* rows of P, learned; longer sequences are refused. 0: none */
    int norm;      /* 1: there is one, with eps; never together with MB_NORM_BEFORE */
    int pads;      /* 1: looking up token 0 gives its row no gradient (torch's padding_idx) */
} mb_input_shape;

typedef enum mb_init_rule {
    MB_INIT_FAMILY, /* as the original of the family draws */
    MB_INIT_MAMBA   /* mixers as mamba_ssm draws them alone, whatever the original does to them afterwards */
} mb_init_rule;

/* How a fresh model is drawn (mb_params_seed). A zero means the default of the family, so {0} is the original's recipe.
 */
typedef struct mb_init {
    float dt_min, dt_max; /* step sizes at the start: log-uniform in between (0.001, 0.1) */
    float dt_floor;       /* and at least this (1e-4) */
    float dt_scale;       /* dt_proj.weight ~ U(+-R^-1/2 * dt_scale) (1) */
    int dt_constant;      /* dt_proj.weight = R^-1/2 * dt_scale instead ("dt_init": "constant") */
    float std;            /* embedding ~ N(0, std^2) (0.02; transformers: 0.1, and in_proj, x_proj, head too) */
    int rescale;          /* out_proj.weight /= sqrt(residuals * n_layer): 1 yes, -1 no (transformers: no) */
    int residuals;        /* n_residuals_per_layer (1) */
    mb_init_rule rule;
} mb_init;

typedef struct mb_config {
    mb_family family;
    mb_mixer_kind mixer;
    int D; /* d_model */
    int n_layer;
    int V;        /* rows of the embedding: vocabulary padded as the original pads it */
    int V_config; /* vocab_size as written in config.json */
    int E;        /* d_inner */
    int N;        /* d_state */
    int K;        /* conv width */
    int R;        /* dt_rank */
    int conv_bias, proj_bias;
    mbk_norm_kind norm;
    float eps;
    mb_bidirectional bidirectional;
    int tied_directions;  /* in_proj and out_proj shared by both directions */
    int rcps;             /* reverse-complement equivariant by parameter sharing */
    int rcps_strand_swap; /* the fused path of the released checkpoints swaps the strand halves in every block */
    int tied_head;        /* lm_head = embedding */
    int has_head;
    int n_labels; /* > 0: a sequence classifier; its file also holds score.weight (n_labels,D), and no other head */
    int n_complement;
    int complement[MB_MAX_COMPLEMENT]; /* token -> complementary token; always with rcps, else where the file has one */
    int pad_token;                     /* ignore_index of the masked loss; -1 none */
    float residual_scale;              /* 1 */
    mb_input_shape input;
    mb_layer_shape layer;
    int no_final_norm;
    float dropout; /* what the original trains with; here a batch says its own (core/gradient.h) */
    int bpr;       /* Mamba4Rec: trained with "loss_type": "BPR" */
    mb_init init;
    int vocab_multiple;   /* V is V_config padded to a multiple of this; 0 = not padded */
    int residual_in_fp32; /* kept for config.json; here the residual is always fp32 */
} mb_config;

enum { /* limits, such that no size computed from a configuration overflows 63 bits */
       MB_MAX_D = 65536,
       MB_MAX_LAYERS = 4096,
       MB_MAX_VOCAB = 1 << 20,
       MB_MAX_EXPAND = 16,
       MB_MAX_N = 256,
       MB_MAX_K = 16,
       MB_MAX_R = 65536,
       MB_MAX_FFN = 1 << 20,
       MB_MAX_POSITIONS = 1 << 24
};

/* path: a folder with config.json, the file itself (*.json), or a weights file beside it. Names the key and its place
 * when one is missing, of the wrong type, out of range or asks for what this build cannot do. */
int mb_config_read(mb_config *c, const char *path, mb_err *e) MB_MUST_USE;
/* Writes config.json in the family's own layout, such that the original code loads it. */
int mb_config_write(const mb_config *c, const char *path, mb_err *e) MB_MUST_USE;
const char *mb_family_name(mb_family f);
int mb_family_recommends(mb_family f); /* tokens are items, token 0 is the pad */
/* The shapes that the originals have; sizes (D, n_layer, V, E, N, K, R) are set before. positions: of RecMamba. */
void mb_config_as_mamba4rec(mb_config *c);
void mb_config_as_recmamba(mb_config *c, int positions);
/* c->init with every zero replaced by the family's default. */
mb_init mb_config_init(const mb_config *c);
/* The same limits for a configuration made by a program: MB_RANGE and what is wrong, or MB_OK. where begins the
 * message. */
int mb_config_check(const mb_config *c, const char *where, mb_err *e) MB_MUST_USE;
#endif
