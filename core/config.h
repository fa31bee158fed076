/* Architecture of a model, as read from config.json of any supported family. */
#ifndef MB_CONFIG_H
#define MB_CONFIG_H
#include "core/error.h"
#include "kernels/norm.h"

typedef enum mb_family {
    MB_FAMILY_CADUCEUS,  /* kuleshov-group/caduceus: Ph, PS, unidirectional */
    MB_FAMILY_MAMBA_SSM, /* state-spaces/mamba: backbone.embedding, pytorch_model.bin */
    MB_FAMILY_MAMBA_HF   /* transformers: model_type mamba */
} mb_family;

typedef enum mb_mixer_kind { MB_MIXER_MAMBA1, MB_MIXER_BIMAMBA1 } mb_mixer_kind;
typedef enum mb_bidirectional { MB_BIDIR_NONE, MB_BIDIR_ADD, MB_BIDIR_MULTIPLY } mb_bidirectional;

#define MB_MAX_COMPLEMENT 4096

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
    int n_complement;
    int complement[MB_MAX_COMPLEMENT]; /* token -> complementary token, rcps only */
    int pad_token;                     /* ignore_index of the masked loss; -1 none */
    float residual_scale;              /* 1 */
} mb_config;

/* dir/config.json, or the file itself. Names the key and its place when one is missing, of the wrong type, out of range
 * or asks for what this build cannot do. */
int mb_config_read(mb_config *c, const char *path, mb_err *e) MB_MUST_USE;
/* Writes config.json in the family's own layout, such that the original code loads it. */
int mb_config_write(const mb_config *c, const char *path, mb_err *e) MB_MUST_USE;
const char *mb_family_name(mb_family f);
#endif
