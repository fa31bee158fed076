/* config.json: what the three families write is read as they mean it, written again it reads the same, and every wrong
 * value is told with its key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/config.h"
#include "core/mem.h"
#include "tests/models.h"
#include "tests/tree.h"

static mb_config c, again; /* 16 KB each */

static void read_text(const char *text) {
    mb_err e = {0};
    tree_text(tree("config.json"), text);
    memset(&c, 0x55, sizeof c);
    if (mb_config_read(&c, tree("config.json"), &e) != MB_OK)
        fail_msg("%s", e.text);
}

static void refused(const char *text, int status, const char *words) {
    mb_err e = {0};
    tree_text(tree("bad/config.json"), text);
    int rc = mb_config_read(&c, tree("bad"), &e);
    if (rc == MB_OK)
        fail_msg("accepted: %s", text);
    if (!strstr(e.text, words) || !strstr(e.text, "bad/config.json"))
        fail_msg("expected \"%s\" in: %s", words, e.text);
    assert_int_equal(rc, status);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* Written and read again, nothing has changed. */
static void survives(void) {
    mb_err e = {0};
    const char *path = tree("again/config.json");
    if (mb_config_write(&c, path, &e) != MB_OK || mb_config_read(&again, path, &e) != MB_OK)
        fail_msg("%s", e.text);
    again.V_config = c.V_config;
    again.vocab_multiple = c.vocab_multiple;
    const mb_init a = mb_config_init(&c), b = mb_config_init(&again);
    assert_true(a.dt_min == b.dt_min && a.dt_max == b.dt_max && a.dt_floor == b.dt_floor && a.dt_scale == b.dt_scale &&
                a.dt_constant == b.dt_constant && a.std == b.std && a.rescale == b.rescale &&
                a.residuals == b.residuals);
    again.init = c.init;
    if (c.n_complement == 0)
        memcpy(again.complement, c.complement, sizeof c.complement); /* not used */
    assert_memory_equal(&again, &c, sizeof c);
}

/* ---- what is read -------------------------------------------------------------------------------------------------
 */

#define MAP12                                                                                                          \
    "\"complement_map\":{\"0\":0,\"1\":1,\"2\":2,\"3\":3,\"4\":4,\"5\":5,\"6\":6,\"7\":10,\"8\":9,\"9\":8,\"10\":7,"   \
    "\"11\":11}"

static void caduceus(void **state) {
    (void)state;
    const int dna[16] = {0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11, 12, 13, 14, 15};
    read_text("{\"model_type\":\"caduceus\",\"d_model\":256,\"n_layer\":16,\"vocab_size\":12,\"rcps\":true," MAP12
              ",\"ssm_cfg\":{\"dt_rank\":\"auto\",\"expand\":2},\"unknown\":[1,{\"x\":null}],\"auto_map\":{}}");
    assert_int_equal(c.family, MB_FAMILY_CADUCEUS);
    assert_int_equal(c.mixer, MB_MIXER_BIMAMBA1);
    assert_int_equal(c.bidirectional, MB_BIDIR_ADD);
    assert_true(c.D == 256 && c.n_layer == 16 && c.V_config == 12 && c.V == 16 && c.vocab_multiple == 8);
    assert_true(c.E == 512 && c.N == 16 && c.K == 4 && c.R == 16);
    assert_true(c.conv_bias == 1 && c.proj_bias == 0 && c.norm == MBK_NORM_RMS && c.eps == 1e-5F);
    assert_true(c.rcps == 1 && c.rcps_strand_swap == 1 && c.tied_directions == 1 && c.tied_head && c.has_head);
    assert_true(c.pad_token == -1 && c.residual_scale == 1);
    assert_int_equal(c.n_complement, 16); /* padded to itself */
    assert_memory_equal(c.complement, dna, sizeof dna);
    survives();

    /* the values' order counts, not the keys */
    read_text(
        "{\"model_type\":\"caduceus\",\"d_model\":24,\"n_layer\":3,\"vocab_size\":3,\"pad_vocab_size_multiple\":1,"
        "\"rcps\":true,\"complement_map\":{\"2\":1,\"0\":0,\"1\":2},\"fused_add_norm\":false,\"rms_norm\":false,"
        "\"bidirectional_strategy\":null,\"pad_token_id\":2,\"norm_epsilon\":1e-06}");
    assert_true(c.complement[0] == 1 && c.complement[1] == 0 && c.complement[2] == 2);
    assert_true(c.rcps_strand_swap == 0 && c.norm == MBK_NORM_LAYER && c.V == 3 && c.pad_token == 2 && c.R == 2);
    survives();

    read_text("{\"d_model\":32,\"n_layer\":2,\"vocab_size\":16,\"bidirectional\":false,\"rcps\":false,"
              "\"architectures\":[\"Caduceus\"],\"ssm_cfg\":{\"expand\":1.5,\"d_conv\":3,\"dt_rank\":7,\"bias\":true,"
              "\"conv_bias\":false,\"dt_init\":\"constant\",\"dt_min\":0.002}}");
    assert_int_equal(c.family, MB_FAMILY_CADUCEUS);
    assert_int_equal(c.mixer, MB_MIXER_MAMBA1);
    assert_int_equal(c.bidirectional, MB_BIDIR_NONE);
    assert_true(c.has_head == 0 && c.tied_head == 0 && c.tied_directions == 0 && c.n_complement == 0);
    assert_true(c.E == 48 && c.K == 3 && c.R == 7 && c.proj_bias == 1 && c.conv_bias == 0 && c.init.dt_constant);
    survives();

    read_text(
        "{\"model_type\":\"caduceus\",\"d_model\":6,\"n_layer\":2,\"vocab_size\":16,\"ssm_cfg\":{\"expand\":1.34}}");
    assert_int_equal(c.E, 8); /* 8/6 written in decimal must not come back as 7 */
    survives();

    read_text("{\"model_type\":\"caduceus\",\"d_model\":32,\"n_layer\":2,\"vocab_size\":16,\"ssm_cfg\":null,"
              "\"bidirectional_strategy\":\"ew_multiply\",\"bidirectional_weight_tie\":false,"
              "\"tie_word_embeddings\":false}");
    assert_true(c.bidirectional == MB_BIDIR_MULTIPLY && c.tied_directions == 0 && c.tied_head == 0 && c.has_head == 1);
    survives();
}

/* kuleshov-group/PlantCaduceus_l32: 8 tokens, [PAD] [MASK] [UNK] a c g t and one of padding. */
static void plant_caduceus(void **state) {
    (void)state;
    read_text(
        "{\"model_type\":\"caduceus\",\"architectures\":[\"CaduceusForMaskedLM\"],\"d_model\":1024,\"n_layer\":32,"
        "\"vocab_size\":8,\"residual_in_fp32\":true,\"rcps\":true,\"fused_add_norm\":true,\"rms_norm\":true,"
        "\"complement_map\":{\"0\":0,\"1\":1,\"2\":2,\"3\":6,\"4\":5,\"5\":4,\"6\":3,\"7\":7},"
        "\"initializer_cfg\":{\"initializer_range\":0.02,\"n_residuals_per_layer\":1,"
        "\"rescale_prenorm_residual\":true},\"pad_token_id\":-100}");
    assert_true(c.D == 1024 && c.V == 8 && c.R == 64 && c.residual_in_fp32 == 1 && c.pad_token == -1);
    survives();
}

static void state_spaces(void **state) {
    (void)state;
    read_text("{\"d_model\":768,\"n_layer\":24,\"vocab_size\":50277,\"ssm_cfg\":{},\"rms_norm\":true,"
              "\"residual_in_fp32\":true,\"fused_add_norm\":true,\"pad_vocab_size_multiple\":8}");
    assert_int_equal(c.family, MB_FAMILY_MAMBA_SSM);
    assert_true(c.V == 50280 && c.V_config == 50277 && c.R == 48 && c.E == 1536 && c.tied_head && c.has_head);
    assert_true(c.bidirectional == MB_BIDIR_NONE && c.mixer == MB_MIXER_MAMBA1 && !c.rcps);
    survives();
    read_text(
        "{\"d_model\":20,\"n_layer\":1,\"vocab_size\":9,\"d_intermediate\":0,\"attn_layer_idx\":[],\"attn_cfg\":{},"
        "\"ssm_cfg\":{\"layer\":\"Mamba1\",\"d_state\":8},\"tie_embeddings\":false,\"rms_norm\":false}");
    assert_true(c.V == 16 && c.N == 8 && !c.tied_head && c.norm == MBK_NORM_LAYER && c.R == 2);
    survives();
    mb_err e = {0};
    c.eps = 1e-6F;
    assert_int_equal(mb_config_write(&c, tree("eps.json"), &e), MB_NOTSUP);
}

static void transformers(void **state) {
    (void)state;
    read_text(
        "{\"model_type\":\"mamba\",\"hidden_size\":32,\"num_hidden_layers\":3,\"vocab_size\":101,\"state_size\":4,"
        "\"conv_kernel\":4,\"expand\":2,\"intermediate_size\":64,\"time_step_rank\":2,\"use_bias\":true,"
        "\"use_conv_bias\":true,\"layer_norm_epsilon\":1e-05,\"tie_word_embeddings\":false,"
        "\"time_step_limit\":[0.0,Infinity,-Infinity,NaN],\"x\":{\"__float__\":\"Infinity\"}}");
    assert_int_equal(c.family, MB_FAMILY_MAMBA_HF);
    assert_true(c.V == 101 && c.V_config == 101 && c.N == 4 && c.proj_bias && !c.tied_head);
    assert_true(c.init.rescale == -1 && c.init.std == 0.1F);
    survives();
    read_text("{\"model_type\":\"mamba\",\"hidden_size\":32,\"num_hidden_layers\":3,\"vocab_size\":101,"
              "\"time_step_rank\":\"auto\",\"architectures\":[\"MambaModel\"]}");
    assert_true(c.R == 2 && c.N == 16 && !c.has_head && !c.proj_bias && c.conv_bias);
    survives();
}

static void files(void **state) {
    (void)state;
    mb_err e = {0};
    tree_text(tree("f/config.json"), "{\"d_model\":8,\"n_layer\":1,\"vocab_size\":8}");
    tree_text(tree("f/other.json"), "{\"d_model\":16,\"n_layer\":1,\"vocab_size\":8}");
    assert_int_equal(mb_config_read(&c, tree("f"), &e), MB_OK);
    assert_int_equal(c.D, 8);
    assert_int_equal(mb_config_read(&c, tree("f/model.safetensors"), &e), MB_OK); /* beside the weights */
    assert_int_equal(mb_config_read(&c, tree("f/model.safetensors.index.json"), &e), MB_OK);
    assert_int_equal(c.D, 8);
    assert_int_equal(mb_config_read(&c, tree("f/other.json"), &e), MB_OK);
    assert_int_equal(c.D, 16);
    char here[4096]; /* a short name without a folder */
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(tree("f")), 0);
    const int rc = rename("other.json", "o.json") == 0 ? mb_config_read(&c, "o.json", &e) : MB_FAIL;
    assert_int_equal(chdir(here), 0);
    assert_int_equal(rc, MB_OK);
    assert_int_equal(c.D, 16);
    assert_int_equal(mb_config_read(&c, tree("g/x.bin"), &e), MB_NOTFOUND);
    assert_non_null(strstr(e.text, "g/config.json: no such file"));
}

static void mamba4rec(void **state) {
    (void)state;
    read_text("{\"hidden_size\":64,\"num_layers\":1,\"n_items\":3417,\"loss_type\":\"CE\",\"dropout_prob\":0.2,"
              "\"d_state\":32,\"d_conv\":4,\"expand\":2}");
    assert_true(c.family == MB_FAMILY_MAMBA4REC && c.mixer == MB_MIXER_MAMBA1 && mb_family_recommends(c.family));
    assert_true(c.D == 64 && c.E == 128 && c.N == 32 && c.K == 4 && c.R == 4 && c.V == 3417 && c.n_layer == 1);
    assert_true(c.norm == MBK_NORM_LAYER && c.eps == 1e-12F && c.no_final_norm && c.has_head && c.tied_head);
    assert_true(c.layer.norms == MB_NORM_AFTER && c.layer.bare && c.layer.ffn == 256 && c.layer.act == MBK_ACT_GELU);
    assert_true(c.input.norm && c.input.pads && c.input.scale == 0 && c.input.positions == 0 && c.pad_token == 0);
    assert_true(c.dropout == 0.2F && !c.bpr && c.init.rule == MB_INIT_FAMILY);
    survives();
    read_text("{\"model_type\":\"mamba4rec\",\"hidden_size\":8,\"num_layers\":2,\"n_items\":5,\"loss_type\":\"BPR\","
              "\"init\":\"mamba\",\"dropout_prob\":0,\"dt_rank\":3,\"layer_norm_eps\":1e-6}");
    assert_true(!c.layer.bare && c.bpr && c.N == 32 && c.R == 3 && c.eps == 1e-6F && c.init.rule == MB_INIT_MAMBA);
    survives();
    read_text(
        "{\"model_type\":\"mamba4rec\",\"hidden_size\":8,\"num_layers\":1,\"n_items\":5,\"residual\":\"always\"}");
    assert_true(!c.layer.bare && c.dropout == 0.2F);
    survives();
}

static void recmamba(void **state) {
    (void)state;
    read_text("{\"model_type\":\"recmamba\",\"item_num\":40,\"maxlen\":2000,\"hidden_units\":16,\"dropout_rate\":0.1}");
    assert_true(c.family == MB_FAMILY_RECMAMBA && c.V == 41 && c.D == 16 && c.n_layer == 1 &&
                c.input.positions == 2000);
    assert_true(c.input.scale == 4 && c.layer.norms == MB_NORM_NOWHERE && c.layer.bare && c.layer.ffn == 0);
    assert_true(c.no_final_norm && !c.input.norm && c.layer.undropped && c.dropout == 0.1F);
    survives();
}

/* What belongs to no original: an encoder of rows, both ways, norms after, as time series want it. */
static void own(void **state) {
    (void)state;
    read_text("{\"model_type\":\"seqmamba\",\"d_model\":16,\"n_layer\":2,\"input\":\"rows\",\"directions\":\"add\","
              "\"norms\":\"after\",\"rms_norm\":false,\"ffn_width\":24,\"activation\":\"relu\",\"dropout\":0.1,"
              "\"ssm_cfg\":{\"d_state\":2,\"d_conv\":2,\"expand\":1}}");
    assert_true(c.family == MB_FAMILY_SEQMAMBA && c.mixer == MB_MIXER_BIMAMBA1 && c.input.rows && c.V == 0);
    assert_true(c.layer.norms == MB_NORM_AFTER && !c.layer.bare && c.layer.ffn == 24 && c.layer.act == MBK_ACT_RELU);
    assert_true(!c.has_head && !c.no_final_norm && c.E == 16 && c.N == 2 && c.K == 2 && !c.tied_directions);
    survives();
    read_text("{\"model_type\":\"seqmamba\",\"d_model\":16,\"n_layer\":5,\"vocab_size\":9,\"norms\":\"none\","
              "\"final_norm\":false,\"ffn_width\":7,\"ffn_from\":4,\"positions\":12,\"input_scale\":3,\"pads\":true,"
              "\"residual\":false,\"mixer_dropout\":false,\"head\":\"own\",\"input_norm\":true}");
    assert_true(c.layer.norms == MB_NORM_NOWHERE && c.no_final_norm && c.layer.ffn_from == 4 && c.layer.undropped);
    assert_true(c.input.positions == 12 && c.input.scale == 3 && c.input.pads && c.input.norm && c.layer.bare);
    assert_true(c.has_head && !c.tied_head && c.V == 9);
    survives();
}

static void goldens(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int status;
        const char *words;
    } all[] = {{"caduceus_ph", MB_OK, ""},
               {"caduceus_ph_layernorm_untied_mul", MB_OK, ""},
               {"caduceus_ps_even", MB_OK, ""},
               {"caduceus_ps_odd", MB_OK, ""},
               {"caduceus_ps_unfused", MB_OK, ""},
               {"caduceus_unidirectional", MB_OK, ""},
               {"mamba1_hf", MB_OK, ""},
               {"mamba1_lm", MB_OK, ""},
               {"mamba2_hf", MB_NOTSUP, "model_type: Mamba-2 models are not supported by this version"},
               {"mamba2_lm", MB_NOTSUP, "ssm_cfg.layer: Mamba-2 models are not supported by this version"},
               {"mamba2_lm_groups_mlp", MB_NOTSUP, "d_intermediate: feed-forward layers are not supported"},
               {"mamba3_siso_lm", MB_NOTSUP, "ssm_cfg.layer: Mamba-3 models are not supported by this version"},
               {"mamba3_siso_lm_norm", MB_NOTSUP, "Mamba-3"},
               {"mamba4rec_1layer_bpr", MB_OK, ""},
               {"mamba4rec_1layer_ce", MB_OK, ""},
               {"mamba4rec_2layer_ce", MB_OK, ""},
               {"s_mamba", MB_NOTSUP, "S-Mamba models are not supported by this version"}};
    if (!shared_dir()) {
        printf("SKIP: no shared data (set SEQMAMBA_SHARED)\n");
        skip();
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        mb_err e = {0};
        char *dir = mb_asprintf("%s/golden/%s", shared_dir(), all[i].name);
        int rc = mb_config_read(&c, dir, &e);
        if (rc != all[i].status || !strstr(e.text, all[i].words))
            fail_msg("%s: expected \"%s\": %s", all[i].name, all[i].words, e.text);
        if (rc == MB_OK)
            survives();
        mb_free(dir);
    }
}

/* ---- what is refused ----------------------------------------------------------------------------------------------
 */

#define HEAD "{\"model_type\":\"caduceus\",\"d_model\":8,\"n_layer\":1,\"vocab_size\":4,\"pad_vocab_size_multiple\":1,"
#define SSM  "{\"d_model\":8,\"n_layer\":1,\"vocab_size\":4,"
#define HF   "{\"model_type\":\"mamba\",\"hidden_size\":8,\"num_hidden_layers\":1,\"vocab_size\":4,"

static void wrong_values(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
        const char *words;
    } cases[] = {
        {"", MB_FORMAT, "not valid JSON"},
        {"[1]", MB_FORMAT, "is not a JSON object"},
        {"{\"a\":1,\"a\":2}", MB_FORMAT, "duplicate"},
        {"{}", MB_FORMAT, "model_type: is missing"},
        {"{\"model_type\":7}", MB_FORMAT, "model_type: is not a text"},
        {"{\"model_type\":\"bert\"}", MB_NOTSUP, "\"bert\" is not a model this version runs"},
        {"{\"model_type\":\"falcon_mamba\"}", MB_NOTSUP, "Falcon-Mamba"},
        {"{\"model_type\":\"caduceus\",\"n_layer\":1,\"vocab_size\":4}", MB_FORMAT, "d_model: is missing"},
        {"{\"model_type\":\"caduceus\",\"d_model\":1.5,\"n_layer\":1,\"vocab_size\":4}", MB_FORMAT,
         "d_model: is not a whole number"},
        {"{\"model_type\":\"caduceus\",\"d_model\":\"8\",\"n_layer\":1,\"vocab_size\":4}", MB_FORMAT,
         "d_model: is not a whole number"},
        {"{\"model_type\":\"caduceus\",\"d_model\":0,\"n_layer\":1,\"vocab_size\":4}", MB_RANGE,
         "d_model: 0 is outside 1..65536"},
        {"{\"model_type\":\"caduceus\",\"d_model\":65537,\"n_layer\":1,\"vocab_size\":4}", MB_RANGE, "d_model: 65537"},
        {"{\"model_type\":\"caduceus\",\"d_model\":8,\"n_layer\":4097,\"vocab_size\":4}", MB_RANGE, "n_layer: 4097"},
        {"{\"model_type\":\"caduceus\",\"d_model\":8,\"n_layer\":1,\"vocab_size\":9000000000}", MB_RANGE,
         "vocab_size: 9000000000"},
        {HEAD "\"pad_vocab_size_multiple\":0}", MB_FORMAT, "duplicate"},
        {HEAD "\"ssm_cfg\":[]}", MB_FORMAT, "ssm_cfg: is not an object"},
        {HEAD "\"ssm_cfg\":{\"d_state\":257}}", MB_RANGE, "ssm_cfg.d_state: 257 is outside 1..256"},
        {HEAD "\"ssm_cfg\":{\"d_conv\":17}}", MB_RANGE, "ssm_cfg.d_conv: 17 is outside 1..16"},
        {HEAD "\"ssm_cfg\":{\"expand\":0.01}}", MB_RANGE, "ssm_cfg.expand: 0.01 times d_model 8 leaves no channel"},
        {HEAD "\"ssm_cfg\":{\"expand\":17}}", MB_RANGE, "ssm_cfg.expand: 17 is outside 0..16"},
        {HEAD "\"ssm_cfg\":{\"expand\":NaN}}", MB_FORMAT, "ssm_cfg.expand: is not a number"},
        {HEAD "\"ssm_cfg\":{\"expand\":{\"__float__\":\"Infinity\"}}}", MB_RANGE, "ssm_cfg.expand: inf is outside"},
        {HEAD "\"ssm_cfg\":{\"expand\":{\"__float__\":\"NaN\"}}}", MB_RANGE, "ssm_cfg.expand: nan is outside"},
        {HEAD "\"ssm_cfg\":{\"dt_rank\":\"many\"}}", MB_FORMAT, "ssm_cfg.dt_rank: \"many\" is neither"},
        {HEAD "\"ssm_cfg\":{\"dt_rank\":0}}", MB_RANGE, "ssm_cfg.dt_rank: 0 is outside"},
        {HEAD "\"ssm_cfg\":{\"conv_bias\":1}}", MB_FORMAT, "ssm_cfg.conv_bias: is neither true nor false"},
        {HEAD "\"ssm_cfg\":{\"dt_min\":1,\"dt_max\":0.5}}", MB_RANGE, "ssm_cfg.dt_min: 1 is above dt_max 0.5"},
        {HEAD "\"ssm_cfg\":{\"dt_init\":\"x\"}}", MB_FORMAT, "ssm_cfg.dt_init"},
        {HEAD "\"ssm_cfg\":{\"layer\":\"Mamba2\"}}", MB_NOTSUP, "ssm_cfg.layer: Mamba-2"},
        {HEAD "\"ssm_cfg\":{\"layer\":\"Conv\"}}", MB_NOTSUP, "ssm_cfg.layer: \"Conv\" layers"},
        {HEAD "\"norm_epsilon\":0}", MB_RANGE, "norm_epsilon: 0 is outside"},
        {HEAD "\"norm_epsilon\":\"tiny\"}", MB_FORMAT, "norm_epsilon: is not a number"},
        {HEAD "\"bidirectional_strategy\":\"concat\"}", MB_FORMAT, "bidirectional_strategy: \"concat\""},
        {HEAD "\"initializer_cfg\":{\"initializer_range\":-1}}", MB_RANGE, "initializer_cfg.initializer_range: -1"},
        {HEAD "\"architectures\":[\"CaduceusForTokenClassification\"]}", MB_NOTSUP,
         "CaduceusForTokenClassification is not supported"},
        {HEAD "\"rcps\":true}", MB_FORMAT, "complement_map: is missing, and rcps needs it"},
        {HEAD "\"rcps\":true,\"complement_map\":[0,1,2,3]}", MB_FORMAT, "complement_map: is not an object"},
        {HEAD "\"rcps\":true,\"complement_map\":{\"0\":0,\"1\":4}}", MB_FORMAT, "the value of \"1\" is no token"},
        {HEAD "\"rcps\":true,\"complement_map\":{\"0\":0,\"1\":\"1\"}}", MB_FORMAT, "the value of \"1\" is no token"},
        {HEAD "\"rcps\":true,\"complement_map\":{\"0\":1,\"1\":2,\"2\":0}}", MB_FORMAT,
         "the complement of token 0 is 1, but that of 1 is 2"},
        {HEAD "\"rcps\":true,\"complement_map\":{\"0\":0,\"1\":1,\"2\":2,\"3\":3,\"4\":4}}", MB_RANGE, "5 tokens"},
        {HEAD "\"rcps\":true,\"bidirectional\":false,\"complement_map\":{\"0\":0}}", MB_NOTSUP,
         "rcps with fused_add_norm and without bidirectional"},
        {SSM "\"attn_layer_idx\":[1]}", MB_NOTSUP, "attn_layer_idx: attention layers are not supported"},
        {SSM "\"d_intermediate\":96}", MB_NOTSUP, "d_intermediate: feed-forward layers are not supported"},
        {SSM "\"tie_embeddings\":\"yes\"}", MB_FORMAT, "tie_embeddings: is neither true nor false"},
        {HF "\"hidden_act\":\"gelu\"}", MB_NOTSUP, "hidden_act: \"gelu\""},
        {HF "\"time_step_rank\":70000}", MB_RANGE, "time_step_rank: 70000"},
        {HF "\"intermediate_size\":-1}", MB_RANGE, "intermediate_size: -1"},
        {HF "\"time_step_max\":0}", MB_RANGE, "time_step_max: 0 is outside"},
        {HF "\"architectures\":[\"MambaForTokens\"]}", MB_NOTSUP, "architectures: MambaForTokens"},
        {HF "\"architectures\":[3]}", MB_NOTSUP, "architectures: what it holds"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].text, cases[i].status, cases[i].words);
    char deep[200] = "{\"a\":";
    memset(deep + 5, '[', 100);
    refused(deep, MB_FORMAT, "nested deeper than 32");
}

static void wrong_recommenders(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
        const char *words;
    } cases[] = {
        {"{\"model_type\":\"mamba4rec\",\"hidden_size\":8,\"num_layers\":1}", MB_FORMAT, "n_items: is missing"},
        {"{\"model_type\":\"mamba4rec\",\"hidden_size\":8,\"num_layers\":1,\"n_items\":4,\"loss_type\":\"L2\"}",
         MB_FORMAT, "\"L2\" is neither \"CE\" nor \"BPR\""},
        {"{\"model_type\":\"mamba4rec\",\"hidden_size\":8,\"num_layers\":1,\"n_items\":4,\"init\":\"x\"}", MB_FORMAT,
         "\"x\" is neither \"mamba4rec\" nor \"mamba\""},
        {"{\"model_type\":\"mamba4rec\",\"hidden_size\":8,\"num_layers\":1,\"n_items\":4,\"dropout_prob\":1}", MB_RANGE,
         "dropout_prob: 1 is outside"},
        {"{\"model_type\":\"mamba4rec\",\"hidden_size\":8,\"num_layers\":1,\"n_items\":4,\"residual\":\"no\"}",
         MB_FORMAT, "residual: \"no\" is neither"},
        {"{\"model_type\":\"recmamba\",\"item_num\":4}", MB_FORMAT, "maxlen: is missing"},
        {"{\"model_type\":\"recmamba\",\"maxlen\":4}", MB_FORMAT, "item_num: is missing"},
        {"{\"model_type\":\"seqmamba\",\"d_model\":8,\"n_layer\":1}", MB_FORMAT, "vocab_size: is missing"},
        {"{\"model_type\":\"seqmamba\",\"d_model\":8,\"n_layer\":1,\"vocab_size\":4,\"norms\":\"over\"}", MB_FORMAT,
         "norms: \"over\" is not one of before, after, none"},
        {"{\"model_type\":\"seqmamba\",\"d_model\":8,\"n_layer\":1,\"vocab_size\":4,\"input_norm\":true}", MB_RANGE,
         "cannot be put together"},
        {"{\"model_type\":\"seqmamba\",\"d_model\":8,\"n_layer\":1,\"vocab_size\":4,\"ffn_from\":1}", MB_RANGE,
         "cannot be put together"},
        {"{\"model_type\":\"seqmamba\",\"d_model\":8,\"n_layer\":1,\"input\":\"rows\",\"head\":\"tied\"}", MB_RANGE,
         "cannot be put together"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].text, cases[i].status, cases[i].words);
}

/* A shape that a family's file cannot say is not written. */
static void shapes_of_other_families(void **state) {
    (void)state;
    static const mb_layer_shape after = {.norms = MB_NORM_AFTER};
    mb_err e = {0};
    c = model_mamba(8, 2, 8);
    c.layer = after;
    assert_int_equal(mb_config_check(&c, "here", &e), MB_RANGE);
    assert_non_null(strstr(e.text, "cannot be put together like this"));
    c.family = MB_FAMILY_SEQMAMBA;
    mb_err_clear(&e);
    assert_int_equal(mb_config_check(&c, "here", &e), MB_OK);
    c.family = MB_FAMILY_CADUCEUS;
    assert_int_equal(mb_config_check(&c, "here", &e), MB_RANGE);
    mb_err_clear(&e);
    c = model_build(1); /* two layers */
    c.layer.bare = 1;
    assert_int_equal(mb_config_check(&c, "here", &e), MB_RANGE);
    mb_err_clear(&e);
    c = model_build(2);
    c.input.positions = 0;
    assert_int_equal(mb_config_check(&c, "here", &e), MB_RANGE);
    mb_err_clear(&e);
    c = model_build(3);
    c.dropout = 1;
    assert_int_equal(mb_config_check(&c, "here", &e), MB_RANGE);
    mb_err_clear(&e);
    c = model_build(3);
    c.layer.ffn = MB_MAX_FFN + 1;
    assert_int_equal(mb_config_check(&c, "here", &e), MB_RANGE);
}

static void made_by_programs(void **state) {
    (void)state;
    mb_err e = {0};
    c = model_caduceus(8, 2, 1);
    assert_int_equal(mb_config_check(&c, "x", &e), MB_OK);
    survives();
    c = model_mamba(8, 2, 50);
    survives();
    c.bidirectional = MB_BIDIR_ADD;
    assert_int_equal(mb_config_check(&c, "here", &e), MB_RANGE);
    assert_string_equal(e.text, "here: its options contradict each other");
    assert_string_equal(mb_family_name(MB_FAMILY_CADUCEUS), "Caduceus");
}

static void damage(void **state) {
    (void)state;
    char text[] =
        HEAD "\"rcps\":true,\"complement_map\":{\"0\":1,\"1\":0},\"ssm_cfg\":{\"d_state\":4,\"dt_rank\":\"auto\"}}";
    const char *path = tree("damaged/config.json");
    const size_t n = strlen(text);
    for (size_t cut = 0; cut < n; cut++) {
        mb_err e = {0};
        tree_write(path, text, cut);
        assert_true(mb_config_read(&c, path, &e) < 0);
    }
    for (size_t bit = 0; bit < n * 8; bit++) {
        mb_err e = {0};
        text[bit / 8] ^= (char)(1 << bit % 8);
        tree_write(path, text, n);
        if (mb_config_read(&c, path, &e) == MB_OK)
            assert_int_equal(mb_config_check(&c, "", &e), MB_OK);
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    tree_write(path, text, n);
    for (int writing = 0; writing < 2; writing++)
        for (long nth = 1;; nth++) {
            mb_err e = {0};
            mb_mem_fail_nth(nth, 0);
            int rc = writing ? mb_config_write(&c, path, &e) : mb_config_read(&c, path, &e);
            int fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            assert_int_equal(mb_mem_live_blocks(), 0);
            if (!fired) {
                assert_int_equal(rc, MB_OK);
                break;
            }
            if (rc >= 0)
                fail_msg("%s: allocation %ld failed, and nobody noticed", writing ? "writing" : "reading", nth);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(caduceus),
        cmocka_unit_test(plant_caduceus),
        cmocka_unit_test(state_spaces),
        cmocka_unit_test(transformers),
        cmocka_unit_test(files),
        cmocka_unit_test(mamba4rec),
        cmocka_unit_test(recmamba),
        cmocka_unit_test(own),
        cmocka_unit_test(goldens),
        cmocka_unit_test(wrong_values),
        cmocka_unit_test(wrong_recommenders),
        cmocka_unit_test(shapes_of_other_families),
        cmocka_unit_test(made_by_programs),
        cmocka_unit_test(damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
