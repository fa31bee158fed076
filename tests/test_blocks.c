/* Models put together in every way that a configuration allows (core/blocks.h): against a second opinion that shares no
 * code (naive.h), and the laws: any number of workers and memory the same bits, a session's pieces the whole, rows
 * given by the caller what tokens give; what the recommenders' originals count and draw. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/blocks.h"
#include "core/forward.h"
#include "core/mem.h"
#include "core/params_table.h"
#include "core/session.h"
#include "tests/models.h"
#include "tests/naive.h"
#include "tests/tree.h"

enum { TILE = 16, LONGEST = 3 * TILE + 1, MOST_D = 24, MOST_V = 57 };

typedef struct buffers {
    float hidden[LONGEST * MOST_D], logits[LONGEST * MOST_V], hidden2[LONGEST * MOST_D], logits2[LONGEST * MOST_V];
    double want[LONGEST * MOST_D], want_logits[LONGEST * MOST_V];
    int32_t token[LONGEST];
} buffers;

static buffers *b;

static int make_buffers(void **state) {
    (void)state;
    b = mb_calloc(1, sizeof *b);
    return b ? 0 : -1;
}

static int free_buffers(void **state) {
    (void)state;
    mb_free(b);
    return mb_mem_live_blocks() == 0 ? 0 : -1;
}

static mb_model *small_model(const mb_config *c) {
    const mb_model_options small = {.tile = TILE};
    return model_shaken(c, &small);
}

/* Largest difference relative to the value or to the root mean square of all, whichever is larger. */
static double error_of(const float *got, const double *want, size_t n) {
    double worst = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        square += want[i] * want[i] / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double scale = fmax(fabs(want[i]), sqrt(square)), error = fabs((double)got[i] - want[i]) / scale;
        worst = error <= worst ? worst : error; /* a NaN stays */
    }
    return worst;
}

static void run(const mb_model *m, int length, int layer, const mb_forward_options *o, float *hidden, float *logits) {
    mb_err e = {0};
    if (mb_forward_hidden(m, b->token, length, layer, o, hidden, logits, &e) != MB_OK)
        fail_msg("%s", e.text);
}

/* ---- the second opinion ---------------------------------------------------------------------------------------------
 */

static void check_length(const mb_model *m, int which, int length) {
    const mb_config *c = mb_model_config(m);
    const size_t n = (size_t)length * (size_t)c->D, n_logits = (size_t)length * (size_t)c->V;
    model_tokens(b->token, length, 0, c->V, (uint64_t)(which * 100 + length));
    for (int layer = 0; layer <= c->n_layer; layer++)
        for (int outputs = 0; outputs <= (layer > 0 && layer < c->n_layer); outputs++) {
            const int last = layer == c->n_layer;
            const mb_forward_options o = {.threads = 1, .memory = (int64_t)1 << 30, .outputs = outputs};
            run(m, length, layer, &o, b->hidden, last ? b->logits : NULL);
            naive_forward(c, mb_model_params(m), b->token, length, layer, outputs, b->want,
                          last ? b->want_logits : NULL);
            const double hidden = error_of(b->hidden, b->want, n);
            const double logits = last ? error_of(b->logits, b->want_logits, n_logits) : 0;
            if (!(hidden < 1e-5 && logits < 1e-5))
                fail_msg("%s, length %d, layer %d%s: hidden off by %g, logits by %g", model_build_name(which), length,
                         layer, outputs ? " (output)" : "", hidden, logits);
        }
    for (int way = 0; way < 4; way++) {
        const int64_t memory[] = {(int64_t)1 << 30, 1, 1, 60000};
        const mb_forward_options o = {.threads = way < 2 ? 4 : 1, .memory = memory[way]};
        run(m, length, c->n_layer, &o, b->hidden2, b->logits2);
        assert_memory_equal(b->hidden, b->hidden2, n * sizeof(float));
        assert_memory_equal(b->logits, b->logits2, n_logits * sizeof(float));
    }
}

static void every_build(void **state) {
    (void)state;
    static const int lengths[] = {1, 3, TILE, TILE + 1, LONGEST};
    for (int which = 0; which < MODEL_BUILDS; which++) {
        const mb_config c = model_build(which);
        mb_model *m = small_model(&c);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            check_length(m, which, lengths[i]);
        mb_model_destroy(m);
    }
}

static int silence(void *user, const mb_param *p) { /* the user's tensor alone is made zero */
    mb_params **own = user;
    if (p->alias_of < 0 && p->index == (int)(intptr_t)own[1])
        memset((float *)(uintptr_t)*mb_param_place(own[0], p), 0, (size_t)p->count * sizeof(float));
    return MB_OK;
}

/* The test is tested: each parameter of a layer with everything, and of the input, must be heard. */
static void the_second_opinion_is_sharp(void **state) {
    (void)state;
    enum { LENGTH = TILE + 3 };
    for (int which = 1; which <= 2; which++) {
        const mb_config c = model_build(which);
        mb_model *m = small_model(&c);
        const mb_forward_options o = {.threads = 1};
        model_tokens(b->token, LENGTH, 0, c.V, 3);
        run(m, LENGTH, c.n_layer, &o, b->hidden, NULL);
        for (int i = 0;; i++) {
            mb_err e = {0};
            mb_params *p = NULL;
            assert_int_equal(mb_params_clone(&p, &c, mb_model_params(m), &e), MB_OK);
            mb_params *user[2] = {p, (mb_params *)(intptr_t)i};
            size_t floats;
            const size_t bytes = sizeof(float) * (mb_params_pool(p, &floats), floats);
            float *before = mb_malloc(bytes);
            memcpy(before, mb_params_pool(p, &floats), bytes);
            (void)mb_params_walk(&c, silence, user);
            const int changed = memcmp(before, mb_params_pool(p, &floats), bytes) != 0;
            if (changed) {
                naive_forward(&c, p, b->token, LENGTH, c.n_layer, 0, b->want, NULL);
                if (!(error_of(b->hidden, b->want, LENGTH * (size_t)c.D) > 1e-5))
                    fail_msg("%s: tensor %d is not heard", model_build_name(which), i);
            }
            mb_free(before);
            mb_params_free(p);
            if (!changed) {
                assert_true(i > 10);
                break;
            }
        }
        mb_model_destroy(m);
    }
}

/* ---- sessions -------------------------------------------------------------------------------------------------------
 */

static int keep(void *user, const mb_rows *r, mb_err *e) {
    const size_t D = *(const size_t *)user;
    (void)e;
    memcpy(b->hidden2 + (size_t)r->from * D, r->row, (size_t)r->n * D * sizeof(float));
    return MB_OK;
}

static void pieces_are_the_whole(void **state) {
    (void)state;
    for (int which = 0; which < MODEL_BUILDS; which++) {
        const mb_config c = model_build(which);
        mb_model *m = small_model(&c);
        mb_session *s = NULL;
        mb_err e = {0};
        size_t D = (size_t)c.D;
        const mb_sink sink = {keep, &D};
        const mb_forward_options o = {.threads = 2};
        if (!mb_model_is_causal(m)) {
            assert_int_equal(mb_session_create(&s, m, 2, &e), MB_NOTSUP);
            mb_model_destroy(m);
            continue;
        }
        model_tokens(b->token, LONGEST, 0, c.V, 4);
        run(m, LONGEST, c.n_layer, &o, b->hidden, b->logits);
        assert_int_equal(mb_session_create(&s, m, 3, &e), MB_OK);
        for (int t = 0, piece = 1; t < LONGEST; t += piece, piece = piece % 7 + 1) {
            piece = t + piece > LONGEST ? LONGEST - t : piece;
            assert_int_equal(mb_session_feed(s, b->token + t, piece, &sink, NULL, &e), MB_OK);
        }
        assert_memory_equal(b->hidden2, b->hidden, LONGEST * D * sizeof(float));
        mb_session_reset(s);
        naive_forward(&c, mb_model_params(m), b->token, LONGEST, c.n_layer, 0, b->want, b->want_logits);
        for (int t = 0; t < LONGEST; t++) {
            assert_int_equal(mb_session_step(s, b->token[t], b->hidden2 + (size_t)t * D, b->logits2, &e), MB_OK);
            assert_true(error_of(b->logits2, b->want_logits + t * c.V, (size_t)c.V) < 1e-5);
        }
        assert_true(error_of(b->hidden2, b->want, LONGEST * D) < 1e-5);
        mb_session_destroy(s);
        mb_model_destroy(m);
    }
}

static void no_position_no_token(void **state) {
    (void)state;
    const mb_config c = model_build(2);
    mb_model *m = small_model(&c);
    mb_session *s = NULL;
    mb_err e = {0};
    static int32_t token[201];
    static float hidden[201 * 16];
    const mb_forward_options o = {.threads = 1};
    assert_int_equal(mb_forward_hidden(m, token, 200, 1, &o, hidden, NULL, &e), MB_OK);
    assert_int_equal(mb_forward_hidden(m, token, 201, 1, &o, hidden, NULL, &e), MB_RANGE);
    assert_non_null(strstr(e.text, "the model has 200 positions"));
    mb_err_clear(&e);
    assert_int_equal(mb_session_create(&s, m, 1, &e), MB_OK);
    assert_int_equal(mb_session_feed(s, token, 199, NULL, NULL, &e), MB_OK);
    assert_int_equal(mb_session_feed(s, token, 2, NULL, NULL, &e), MB_RANGE);
    assert_non_null(strstr(e.text, "position 200 is beyond the model's 200"));
    assert_int_equal(mb_session_step(s, 0, hidden, NULL, &e), MB_OK); /* nothing was touched */
    assert_int_equal(mb_session_step(s, 0, hidden, NULL, &e), MB_RANGE);
    mb_session_destroy(s);
    mb_model_destroy(m);
}

/* ---- rows -----------------------------------------------------------------------------------------------------------
 */

static int give_rows(void *user, int64_t from, int n, float *row) {
    const mb_model *m = user;
    const size_t D = (size_t)mb_model_config(m)->D;
    for (size_t i = 0; i < (size_t)n; i++)
        memcpy(row + i * D, mb_model_params(m)->embedding + (size_t)b->token[(size_t)from + i] * D, D * sizeof *row);
    return MB_OK;
}

/* The embedding's own rows, given: the same bits. Without a scale, which is the embedding's. */
static void given_rows_are_tokens(void **state) {
    (void)state;
    static const int builds[] = {0, 1, 3, 4, 8};
    for (size_t i = 0; i < sizeof builds / sizeof *builds; i++) {
        const mb_config c = model_build(builds[i]);
        mb_model *m = small_model(&c);
        mb_err e = {0};
        size_t D = (size_t)c.D;
        const mb_sink sink = {keep, &D};
        const mb_forward_options o = {.threads = 2};
        const mb_sequence rows = {.length = LONGEST, .rows = give_rows, .user = m};
        model_tokens(b->token, LONGEST, 0, c.V, 4);
        run(m, LONGEST, c.n_layer, &o, b->hidden, NULL);
        assert_int_equal(mb_forward_run(m, &rows, 1, &o, &sink, &e), MB_OK);
        assert_memory_equal(b->hidden2, b->hidden, LONGEST * D * sizeof(float));
        mb_model_destroy(m);
    }
}

/* A model that takes rows alone has no embedding, and says so to tokens. */
static void rows_alone(void **state) {
    (void)state;
    mb_config c = model_build(4), with = c;
    mb_err e = {0};
    c.V = c.V_config = 0;
    c.input.rows = 1;
    c.has_head = c.tied_head = 0;
    assert_int_equal(mb_params_count(&c), mb_params_count(&with) - with.V * with.D);
    mb_model *m = small_model(&c), *tokens = small_model(&with);
    const mb_forward_options o = {.threads = 1};
    size_t D = (size_t)c.D;
    const mb_sink sink = {keep, &D};
    const mb_sequence rows = {.length = 20, .rows = give_rows, .user = tokens};
    model_tokens(b->token, 20, 0, with.V, 4);
    assert_int_equal(mb_forward_run(m, &rows, 1, &o, &sink, &e), MB_OK);
    assert_int_equal(mb_forward_hidden(m, b->token, 20, c.n_layer, &o, b->hidden, NULL, &e), MB_NOTSUP);
    assert_non_null(strstr(e.text, "it takes rows"));
    mb_model_destroy(m);
    mb_model_destroy(tokens);
}

/* ---- what the originals count and draw ------------------------------------------------------------------------------
 */

static mb_config ml1m(void) {
    mb_config c = {.D = 64, .n_layer = 1, .V = 3417, .E = 128, .N = 32, .K = 4, .R = 4};
    mb_config_as_mamba4rec(&c);
    return c;
}

static double deviation(const float *v, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    return sqrt(sum / (double)n);
}

static void within(const float *v, int64_t n, double bound) {
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)v[i]));
    assert_true(most <= bound * (1 + 1e-6) && most > bound * 0.95);
}

static void mamba4rec_as_the_original(void **state) {
    (void)state;
    mb_err e = {0};
    mb_config c = ml1m();
    mb_params *p = NULL;
    assert_int_equal(mb_params_count(&c), 290944);
    assert_int_equal(mb_params_seed(&p, &c, 2020, &e), MB_OK);
    const mb_layer_params *l = &p->layer[0];
    const struct {
        const float *v;
        int64_t n;
    } normal[] = {{p->embedding, 3417 * 64},   {l->dir[0].in_w, 256 * 64}, {l->dir[0].x_w, 68 * 128},
                  {l->dir[0].out_w, 64 * 128}, {l->dir[0].dt_w, 128 * 4},  {l->ffn.w1, 256 * 64},
                  {l->ffn.w2, 64 * 256}};
    for (size_t i = 0; i < sizeof normal / sizeof *normal; i++)
        assert_true(fabs(deviation(normal[i].v, normal[i].n) - 0.02) < 0.02 * 3 / sqrt((double)normal[i].n));
    assert_true(deviation(p->embedding, 64) > 0.01); /* the pad's row too */
    for (int i = 0; i < 128; i++)
        assert_true(l->dir[0].dt_b[i] == 0 && l->dir[0].skip[i] == 1 && l->dir[0].A_log[i * 32 + 31] == logf(32));
    for (int i = 0; i < 64; i++)
        assert_true(p->norm_in_w[i] == 1 && p->norm_in_b[i] == 0 && l->norm_w[i] == 1 && l->ffn.norm_b[i] == 0 &&
                    l->ffn.b2[i] == 0 && l->ffn.b1[4 * i] == 0);
    within(l->dir[0].conv_w, 128 * 4, 0.5);
    within(l->dir[0].conv_b, 128, 0.5);
    mb_params_free(p);

    c.init.rule = MB_INIT_MAMBA;
    assert_int_equal(mb_params_seed(&p, &c, 2020, &e), MB_OK);
    l = &p->layer[0];
    within(l->dir[0].in_w, 256 * 64, 1 / sqrt(64));
    within(l->dir[0].out_w, 64 * 128, 1 / sqrt(128));
    within(l->dir[0].dt_w, 128 * 4, 0.5);
    for (int i = 0; i < 128; i++) {
        const double dt = log1p(exp((double)l->dir[0].dt_b[i]));
        assert_true(dt > 0.001 * (1 - 1e-5) && dt < 0.1 * (1 + 1e-5));
    }
    assert_true(fabs(deviation(l->ffn.w1, 256 * 64) - 0.02) < 0.001);
    mb_params_free(p);
}

static void recmamba_as_the_original(void **state) {
    (void)state;
    mb_err e = {0};
    mb_config c = {.D = 64, .n_layer = 1, .V = 501, .E = 128, .N = 32, .K = 4, .R = 4};
    mb_params *p = NULL;
    mb_config_as_recmamba(&c, 256);
    assert_int_equal(mb_params_count(&c), 501 * 64 + 256 * 64 + 38784);
    assert_int_equal(mb_params_seed(&p, &c, 1, &e), MB_OK);
    const mb_mamba1_params *m = &p->layer[0].dir[0];
    const struct {
        const float *v;
        int64_t n;
        double std;
    } xavier[] = {{p->embedding, 501 * 64, sqrt(2.0 / (501 + 64))}, {p->positions, 256 * 64, sqrt(2.0 / (256 + 64))},
                  {m->A_log, 128 * 32, sqrt(2.0 / (128 + 32))},     {m->conv_w, 128 * 4, sqrt(2.0 / (128 * 4 + 4))},
                  {m->in_w, 256 * 64, sqrt(2.0 / (256 + 64))},      {m->dt_w, 128 * 4, sqrt(2.0 / (128 + 4))}};
    for (size_t i = 0; i < sizeof xavier / sizeof *xavier; i++)
        assert_true(fabs(deviation(xavier[i].v, xavier[i].n) / xavier[i].std - 1) < 3 / sqrt((double)xavier[i].n));
    for (int i = 0; i < 128; i++)
        assert_true(log1p(exp((double)m->dt_b[i])) < 0.1 * (1 + 1e-5) && m->skip[i] == 1);
    within(m->conv_b, 128, 0.5);
    mb_params_free(p);
}

/* Written and read again: the same bits; names as the originals have them. */
static void saved_is_loaded(void **state) {
    (void)state;
    static const char *const has[MODEL_BUILDS] = {"mamba_layers.0.ffn.LayerNorm.bias",
                                                  "mamba_layers.1.mamba.dt_proj.weight",
                                                  "pos_emb.weight",
                                                  "layers.2.ffn.w_2.bias",
                                                  "layers.1.mixer.mamba_rev.A_log",
                                                  "layers.2.ffn.w_1.weight",
                                                  "lm_head.weight",
                                                  "layers.0.norm.weight",
                                                  "position_embedding.weight"};
    for (int which = 0; which < MODEL_BUILDS; which++) {
        const mb_config c = model_build(which);
        mb_model *m = small_model(&c), *again = NULL;
        mb_err e = {0};
        mb_weights *w = NULL;
        tree_text(tree("saved/config.json"), "");
        assert_int_equal(mb_config_write(&c, tree("saved/config.json"), &e), MB_OK);
        assert_int_equal(mb_params_save(mb_model_params(m), &c, tree("saved/model.safetensors"), &e), MB_OK);
        const mb_model_options small = {.tile = TILE};
        if (mb_model_open(&again, tree("saved"), &small, &e) != MB_OK)
            fail_msg("%s: %s", model_build_name(which), e.text);
        assert_int_equal(mb_weights_open(&w, tree("saved"), &e), MB_OK);
        assert_non_null(mb_weights_find(w, has[which]));
        const mb_forward_options o = {.threads = 1};
        model_tokens(b->token, LONGEST, 0, c.V, 4);
        run(m, LONGEST, c.n_layer, &o, b->hidden, b->logits);
        run(again, LONGEST, c.n_layer, &o, b->hidden2, b->logits2);
        assert_memory_equal(b->hidden2, b->hidden, LONGEST * (size_t)c.D * sizeof(float));
        assert_memory_equal(b->logits2, b->logits, LONGEST * (size_t)c.V * sizeof(float));
        mb_weights_close(w);
        mb_model_destroy(m);
        mb_model_destroy(again);
    }
}

static void blocks_count(void **state) {
    (void)state;
    mb_config c = model_build(5); /* three layers, a feed-forward part in the last */
    assert_int_equal(mb_blocks_count(&c), 4);
    assert_true(mb_block_at(&c, 1).layer == 1 && !mb_block_at(&c, 1).ffn);
    assert_true(mb_block_at(&c, 3).layer == 2 && mb_block_at(&c, 3).ffn);
    assert_true(mb_block_of_layer(&c, 2) == 2 && mb_block_of_layer(&c, 3) == 4);
    c = model_build(1);
    assert_true(mb_blocks_count(&c) == 4 && mb_block_of_layer(&c, 1) == 2 && mb_block_of_layer(&c, 2) == 4);
    assert_true(mb_block_at(&c, 0).past == MB_PAST_NORMED && mb_block_at(&c, 3).past == MB_PAST_NORMED);
    c = model_build(0);
    assert_true(mb_block_at(&c, 0).past == MB_PAST_NOTHING && mb_block_at(&c, 1).past == MB_PAST_NORMED);
}

static void no_memory(void **state) {
    (void)state;
    const mb_config c = model_build(1);
    mb_err seeded = {0};
    mb_params *p = NULL;
    assert_int_equal(mb_params_seed(&p, &c, 1, &seeded), MB_OK);
    const long live = mb_mem_live_blocks();
    int fired = 1;
    for (long n = 1; fired && n < 500; n++) {
        mb_err e = {0};
        mb_params *copy = NULL;
        mb_model *m = NULL;
        assert_int_equal(mb_params_clone(&copy, &c, p, &e), MB_OK);
        mb_mem_fail_nth(n, 0);
        int rc = mb_model_create(&m, &c, copy, NULL, &e);
        const mb_forward_options o = {.threads = 1};
        if (rc == MB_OK)
            rc = mb_forward_hidden(m, b->token, 9, c.n_layer, &o, b->hidden, b->logits, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        mb_model_destroy(m);
        assert_int_equal(mb_mem_live_blocks(), live);
    }
    mb_params_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_build),
        cmocka_unit_test(the_second_opinion_is_sharp),
        cmocka_unit_test(pieces_are_the_whole),
        cmocka_unit_test(no_position_no_token),
        cmocka_unit_test(given_rows_are_tokens),
        cmocka_unit_test(rows_alone),
        cmocka_unit_test(mamba4rec_as_the_original),
        cmocka_unit_test(recmamba_as_the_original),
        cmocka_unit_test(saved_is_loaded),
        cmocka_unit_test(blocks_count),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, make_buffers, free_buffers);
}
