/* Gradients of models put together in other ways (core/blocks.h), with and without dropout: what Mamba4Rec's original
 * computes, and the laws (same bits for any number of threads and memory, packed = one by one, finite differences with
 * the mask held by its counter, rows given by the caller). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/checkpoint.h"
#include "core/forward.h"
#include "core/gradient.h"
#include "core/lm_loss.h"
#include "core/mem.h"
#include "core/params_table.h"
#include "core/rng.h"
#include "tests/models.h"
#include "tests/slopes.h"
#include "tests/tree.h"

enum { IGNORE = -100, MOST = 16 };

typedef struct problem { /* a batch with targets */
    int n;
    int64_t length[MOST], tokens;
    int32_t *token, *target;
    float rate; /* of dropout */
    uint64_t step;
    int64_t first_row;
} problem;

static void free_problem(problem *p) {
    mb_free(p->token);
    mb_free(p->target);
}

/* Tokens 1 .. V-1: token 0 may be a pad. */
static problem random_problem(const mb_config *c, const int64_t *length, int n, float rate) {
    problem p = {.n = n, .rate = rate, .step = 5};
    mb_rng r;
    for (int i = 0; i < n; i++)
        p.tokens += p.length[i] = length[i];
    p.token = mb_malloc((size_t)p.tokens * sizeof(int32_t));
    p.target = mb_malloc((size_t)p.tokens * sizeof(int32_t));
    assert_true(p.token && p.target);
    mb_rng_init(&r, 3, 7);
    for (int64_t i = 0; i < p.tokens; i++) {
        p.token[i] = 1 + (int32_t)mb_rng_below(&r, (uint64_t)c->V - 1);
        p.target[i] = mb_rng_below(&r, 3) ? (int32_t)mb_rng_below(&r, (uint64_t)c->V) : IGNORE;
    }
    return p;
}

static mb_batch batch_of(const problem *p) {
    mb_batch b = {.n = p->n, .length = p->length, .token = p->token};
    b.dropout.rate = p->rate;
    b.dropout.seed = 77;
    b.dropout.step = p->step;
    b.dropout.first_row = p->first_row;
    return b;
}

static mb_gradient *open_gradient(const mb_config *c, mb_params *p, const mb_model_options *mo, int threads,
                                  int64_t memory) {
    mb_err e = {0};
    mb_gradient *g = NULL;
    const mb_gradient_options o = {.threads = threads, .memory = memory};
    if (mb_gradient_create(&g, c, p, mo, &o, &e) != MB_OK)
        fail_msg("%s", e.text);
    return g;
}

static mb_params *copy_of(const mb_model *m) {
    mb_err e = {0};
    mb_params *p = NULL;
    assert_int_equal(mb_params_clone(&p, mb_model_config(m), mb_model_params(m), &e), MB_OK);
    return p;
}

static mb_lm_result run(mb_gradient *g, const problem *p, int with_gradient) {
    mb_err e = {0};
    mb_lm_result r = {0};
    const mb_batch b = batch_of(p);
    const mb_lm_targets t = {p->target, NULL, IGNORE};
    if (mb_gradient_forward(g, &b, &e) != MB_OK || mb_lm_loss(g, &t, with_gradient, &r, &e) != MB_OK ||
        (with_gradient && mb_gradient_backward(g, &e) != MB_OK))
        fail_msg("%s", e.text);
    return r;
}

/* ---- the originals --------------------------------------------------------------------------------------------------
 */

typedef struct record {
    mb_model *m;
    mb_weights *io, *want;
    int B, L;
    int64_t length[MOST];
    int32_t pos[MOST], neg[MOST], *token;
} record;

static void read_ids(const mb_weights *io, const char *name, int n, int32_t *to) {
    const mb_tensor *t = mb_weights_find(io, name);
    assert_non_null(t);
    for (int i = 0; i < n; i++) {
        int64_t v;
        mb_tensor_to_i64(t, i, 1, &v);
        to[i] = (int32_t)v;
    }
}

static record open_record(const char *name) {
    mb_err e = {0};
    record r = {0};
    int32_t length[MOST] = {0};
    char *dir = mb_asprintf("%s/golden/%s", shared_dir(), name);
    char *io = mb_asprintf("%s/io.safetensors", dir), *grads = mb_asprintf("%s/grads.safetensors", dir);
    if (mb_model_open(&r.m, dir, NULL, &e) != MB_OK || mb_weights_open(&r.io, io, &e) != MB_OK ||
        mb_weights_open(&r.want, grads, &e) != MB_OK)
        fail_msg("%s: %s", name, e.text);
    const mb_tensor *seq = mb_weights_find(r.io, "item_seq");
    r.B = (int)seq->shape[0];
    r.L = (int)seq->shape[1];
    assert_true(r.B <= MOST);
    r.token = mb_malloc((size_t)seq->count * sizeof *r.token);
    read_ids(r.io, "item_seq", (int)seq->count, r.token);
    read_ids(r.io, "item_seq_len", r.B, length);
    read_ids(r.io, "pos_items", r.B, r.pos);
    read_ids(r.io, "neg_items", r.B, r.neg);
    for (int i = 0; i < r.B; i++)
        r.length[i] = length[i];
    mb_free(dir);
    mb_free(io);
    mb_free(grads);
    return r;
}

static void close_record(record *r) {
    mb_weights_close(r->io);
    mb_weights_close(r->want);
    mb_model_destroy(r->m);
    mb_free(r->token);
}

/* -log(1e-10 + sigmoid(h . (e_pos - e_neg))) and its gradients, of the last item's row of each history. */
static double bpr_loss(const record *r, mb_gradient *g) {
    const mb_config *c = mb_model_config(r->m);
    const size_t D = (size_t)c->D;
    const float *E = mb_model_params(mb_gradient_model(g))->embedding, *hidden = mb_gradient_hidden(g);
    float *d_hidden = mb_gradient_d_hidden(g), *d_E = (float *)(uintptr_t)mb_gradient_sums(g)->embedding;
    double loss = 0;
    memset(d_hidden, 0, (size_t)mb_gradient_rows(g)->rows * D * sizeof *d_hidden);
    for (size_t i = 0; i < (size_t)r->B; i++) {
        const size_t at = (size_t)mb_gradient_rows(g)->lane_at[i] + (size_t)r->length[i] - 1;
        const size_t pos = (size_t)r->pos[i] * D, neg = (size_t)r->neg[i] * D;
        double x = 0;
        for (size_t k = 0; k < D; k++)
            x += (double)hidden[at * D + k] * ((double)E[pos + k] - (double)E[neg + k]);
        const double s = 1 / (1 + exp(-x)), d = -s * (1 - s) / (1e-10 + s);
        loss -= log(1e-10 + s);
        for (size_t k = 0; k < D; k++) {
            d_hidden[at * D + k] = (float)(d * ((double)E[pos + k] - (double)E[neg + k]));
            d_E[pos + k] += (float)(d * (double)hidden[at * D + k]);
            d_E[neg + k] -= (float)(d * (double)hidden[at * D + k]);
        }
    }
    return loss;
}

/* The histories as they are recorded, pads and all; the loss is that of the last item's row. */
static double recorded_loss(const record *r, mb_gradient *g) {
    mb_err e = {0};
    int64_t whole[MOST];
    int32_t *target = mb_malloc((size_t)r->B * (size_t)r->L * sizeof *target);
    for (int i = 0; i < r->B; i++) {
        whole[i] = r->L;
        for (int t = 0; t < r->L; t++)
            target[i * r->L + t] = t == r->length[i] - 1 ? r->pos[i] : IGNORE;
    }
    const mb_batch b = {.n = r->B, .length = whole, .token = r->token};
    const mb_lm_targets t = {target, NULL, IGNORE};
    mb_lm_result sum = {0};
    assert_int_equal(mb_gradient_forward(g, &b, &e), MB_OK);
    if (mb_model_config(r->m)->bpr)
        sum.loss = bpr_loss(r, g);
    else
        assert_int_equal(mb_lm_loss(g, &t, 1, &sum, &e), MB_OK);
    assert_int_equal(mb_gradient_backward(g, &e), MB_OK);
    mb_free(target);
    return sum.loss / r->B;
}

typedef struct comparison {
    const mb_weights *want;
    mb_params *got;
    double scale, worst;
    char where[MB_PARAM_NAME];
    int compared;
} comparison;

static int compare(void *user, const mb_param *p) {
    comparison *c = user;
    const mb_tensor *want = mb_weights_find(c->want, p->name);
    double most = 0, off = 0;
    if (p->alias_of >= 0)
        return MB_OK;
    if (!want || want->count != p->count) {
        fail_msg("no recorded gradient of %s", p->name);
        return MB_FAIL; /* not reached */
    }
    const float *got = *mb_param_place(c->got, p);
    for (int64_t i = 0; i < p->count; i++) {
        double w;
        mb_tensor_to_f64(want, i, 1, &w);
        const double d = fabs((double)got[i] / c->scale - w);
        most = fabs(w) > most ? fabs(w) : most;
        off = d > off || !(d == d) ? d : off;
    }
    c->compared++;
    const double worst = off / (most > 1e-12 ? most : 1e-12);
    if (!(worst <= c->worst)) {
        c->worst = worst;
        memcpy(c->where, p->name, sizeof c->where);
    }
    return MB_OK;
}

/* Largest error of a gradient, relative to the largest of its tensor. spoil: with one weight off by a hundredth. */
static double golden_error(const char *name, const mb_model_options *o, int64_t memory, int spoil, char *where) {
    record r = open_record(name);
    double loss;
    mb_params *params = copy_of(r.m);
    if (spoil)
        ((float *)(uintptr_t)params->layer[0].ffn.b1)[3] *= 1.01F;
    mb_gradient *g = open_gradient(mb_model_config(r.m), params, o, 2, memory);
    const double got = recorded_loss(&r, g);
    mb_tensor_to_f64(mb_weights_find(r.io, "loss"), 0, 1, &loss);
    if (!spoil && fabs(got - loss) > 1e-5 * loss)
        fail_msg("%s: loss %g, recorded %g", name, got, loss);
    comparison c = {.want = r.want, .got = mb_gradient_sums(g), .scale = r.B};
    (void)mb_params_walk(mb_model_config(r.m), compare, &c);
    assert_int_equal(c.compared, mb_weights_count(r.want));
    memcpy(where, c.where, sizeof c.where);
    mb_gradient_destroy(g);
    close_record(&r);
    return c.worst;
}

static const char *const GOLDEN[] = {"mamba4rec_1layer_ce", "mamba4rec_1layer_bpr", "mamba4rec_2layer_ce"};

static void gradients_of_the_originals(void **state) {
    (void)state;
    if (!shared_dir()) {
        printf("SKIP: no shared data (set SEQMAMBA_SHARED)\n");
        skip();
    }
    const mb_model_options fast = {0}, ref = {.device = "ref"}, narrow = {.tile = 8};
    const mb_model_options *const how[] = {&fast, &ref, &narrow};
    char where[MB_PARAM_NAME];
    for (size_t i = 0; i < sizeof GOLDEN / sizeof *GOLDEN; i++)
        for (int k = 0; k < 3; k++) {
            const double worst = golden_error(GOLDEN[i], how[k], k == 2 ? 1 : 0, 0, where);
            if (!(worst <= 1e-4))
                fail_msg("%s, way %d: the gradient of %s is off by %g", GOLDEN[i], k, where, worst);
        }
    assert_true(golden_error(GOLDEN[2], &fast, 0, 1, where) > 1e-4); /* the tester is tested */
}

/* ---- laws -----------------------------------------------------------------------------------------------------------
 */

static void assert_same_sums(mb_gradient *a, mb_gradient *b) {
    size_t n, m;
    const float *x = mb_params_pool(mb_gradient_sums(a), &n), *y = mb_params_pool(mb_gradient_sums(b), &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n * sizeof(float));
}

static void same_bits_for_threads_and_memory(void **state) {
    (void)state;
    const int64_t length[] = {150, 1, 129, 17};
    for (int i = 0; i < MODEL_BUILDS; i++) {
        const mb_config c = model_build(i);
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, length, 4, 0.3F);
        mb_gradient *one = open_gradient(&c, copy_of(m), NULL, 1, 1);
        const mb_lm_result r = run(one, &p, 1);
        const int threads[] = {2, 3, 5};
        const int64_t memory[] = {1, (int64_t)1 << 40, 3 << 20};
        for (int k = 0; k < 3; k++) {
            mb_gradient *g = open_gradient(&c, copy_of(m), NULL, threads[k], memory[k]);
            const mb_lm_result s = run(g, &p, 1);
            assert_memory_equal(&r, &s, sizeof r);
            assert_same_sums(one, g);
            mb_gradient_zero(g); /* what a batch left behind does not show in the next */
            (void)run(g, &p, 1);
            assert_same_sums(one, g);
            mb_gradient_destroy(g);
        }
        mb_gradient_destroy(one);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

static double distance(mb_gradient *a, mb_gradient *b) {
    size_t n;
    const float *x = mb_params_pool(mb_gradient_sums(a), &n), *y = mb_params_pool(mb_gradient_sums(b), &n);
    double most = 0, off = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)x[i] - (double)y[i]);
        most = fabs((double)x[i]) > most ? fabs((double)x[i]) : most;
        off = d > off || !(d == d) ? d : off;
    }
    return off / most;
}

/* A batch cut into its sequences, each said where its rows stand: the same rows to the bit, the same gradients. */
static void packed_is_one_by_one(void **state) {
    (void)state;
    const int64_t length[] = {140, 3, 20};
    for (int i = 0; i < MODEL_BUILDS; i++) {
        const mb_config c = model_build(i);
        const size_t D = (size_t)c.D;
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, length, 3, 0.25F);
        p.first_row = 1000;
        mb_gradient *packed = open_gradient(&c, copy_of(m), NULL, 2, 0);
        mb_gradient *single = open_gradient(&c, copy_of(m), NULL, 2, 0);
        const mb_lm_result r = run(packed, &p, 1);
        mb_lm_result sum = {0};
        size_t at = 0;
        for (int k = 0; k < 3; at += (size_t)length[k++]) {
            problem q = {.n = 1, .length = {length[k]}, .rate = p.rate, .step = p.step};
            q.token = p.token + at;
            q.target = p.target + at;
            q.first_row = p.first_row + (int64_t)at;
            const mb_lm_result s = run(single, &q, 1);
            sum.loss += s.loss;
            assert_memory_equal(mb_gradient_hidden(single), mb_gradient_hidden(packed) + at * D,
                                (size_t)length[k] * D * sizeof(float));
        }
        assert_true(fabs(sum.loss - r.loss) <= 1e-9 * r.loss);
        assert_true(distance(packed, single) < 2e-6);
        mb_gradient_destroy(packed);
        mb_gradient_destroy(single);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

/* Fresh models hardly use their states: here every tensor is heard in the loss. */
static int turn_up(void *user, const mb_param *p) {
    static const struct {
        const char *name;
        float times, plus;
    } how[] = {
        {"in_proj.weight", 2, 0}, {"x_proj", 3, 0}, {"dt_proj.weight", 3, 0}, {"dt_proj.bias", 1, 3}, {"A_log", 1, -1},
        {"out_proj.w", 1.5F, 0},  {"emb", 2, 0},    {"w_1.w", 3, 0},          {"w_2.w", 3, 0}};
    float *v = (float *)(uintptr_t)*mb_param_place(user, p);
    for (size_t i = 0; i < sizeof how / sizeof *how; i++)
        for (int64_t k = 0; p->alias_of < 0 && strstr(p->name, how[i].name) && k < p->count; k++)
            v[k] = v[k] * how[i].times + how[i].plus;
    return MB_OK;
}

static double probed_loss(const void *p, mb_gradient *g) {
    return run(g, p, 0).loss;
}

/* How far the worst tensor is off, 1: as far as may be. spoil: with a gradient that is wrong by a tenth. */
static double probe_build(int i, float rate, int spoil, char *where) {
    const int64_t length[] = {1, 15, 37, 3};
    const mb_config c = model_build(i);
    const mb_model_options fast = {.tile = 16}, ref = {.device = "ref", .tile = 16};
    mb_model *m = model_shaken(&c, NULL);
    mb_params *same = copy_of(m);
    problem p = random_problem(&c, length, 4, rate);
    slopes q = {.loss = probed_loss, .user = &p, .tolerance = 2e-2, .w = copy_of(m)};
    (void)mb_params_walk(&c, turn_up, q.w);
    (void)mb_params_walk(&c, turn_up, same);
    q.g = open_gradient(&c, same, &fast, 2, i % 2 ? 1 : 0);
    q.ref = open_gradient(&c, q.w, &ref, 1, 0);
    (void)run(q.g, &p, 1);
    float *spoilt = (float *)(uintptr_t)mb_gradient_sums(q.g)->layer[0].ffn.w2;
    for (int k = 0; k < (spoil ? c.D * c.layer.ffn : 0); k++)
        spoilt[k] *= 1.1F;
    (void)mb_params_walk(&c, slopes_of_tensor, &q);
    if (q.silent > 1) /* one may drown */
        fail_msg("%s: %d of %d tensors are not heard", model_build_name(i), q.silent, q.heard);
    memcpy(where, q.where, sizeof q.where);
    mb_gradient_destroy(q.g);
    mb_gradient_destroy(q.ref);
    free_problem(&p);
    mb_model_destroy(m);
    return q.worst;
}

static void finite_differences(void **state) {
    (void)state;
    char where[MB_PARAM_NAME];
    for (int i = 0; i < MODEL_BUILDS; i++)
        for (int k = 0; k < 2; k++) {
            const double off = probe_build(i, k ? 0.3F : 0, 0, where);
            if (!(off <= 1))
                fail_msg("%s, dropout %g: the gradient of %s is off by %g tolerances", model_build_name(i), k ? 0.3 : 0,
                         where, off);
        }
    assert_true(probe_build(1, 0.3F, 1, where) > 1); /* the tester is tested */
    assert_non_null(strstr(where, "w_2"));
}

/* Training sees what every other run sees, to the bit. */
static void hidden_rows_are_the_forward_run_s(void **state) {
    (void)state;
    const int64_t length = 140;
    for (int i = 0; i < MODEL_BUILDS; i++) {
        const mb_config c = model_build(i);
        mb_err e = {0};
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, &length, 1, 0);
        mb_gradient *g = open_gradient(&c, copy_of(m), NULL, 2, 0);
        (void)run(g, &p, 0);
        float *hidden = mb_malloc((size_t)length * (size_t)c.D * sizeof(float));
        const mb_forward_options o = {.threads = 2};
        assert_int_equal(mb_forward_hidden(m, p.token, length, c.n_layer, &o, hidden, NULL, &e), MB_OK);
        assert_memory_equal(mb_gradient_hidden(g), hidden, (size_t)length * (size_t)c.D * sizeof(float));
        mb_free(hidden);
        mb_gradient_destroy(g);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

/* ---- dropout, the pad, rows, seams ----------------------------------------------------------------------------------
 */

static void dropout_is_the_counter_s(void **state) {
    (void)state;
    const int64_t length[] = {40, 9};
    const mb_config c = model_build(1);
    mb_err e = {0};
    mb_model *m = model_shaken(&c, NULL);
    problem p = random_problem(&c, length, 2, 0);
    mb_gradient *g = open_gradient(&c, copy_of(m), NULL, 2, 0);
    const double plain = run(g, &p, 0).loss;
    p.rate = 0.2F;
    const double dropped = run(g, &p, 0).loss, again = run(g, &p, 0).loss;
    p.step++;
    const double next = run(g, &p, 0).loss;
    p.step--;
    p.first_row = 1;
    const double moved = run(g, &p, 0).loss;
    assert_true(dropped == again && dropped != plain && dropped != next && dropped != moved && next != moved);
    p.rate = 0;
    assert_true(run(g, &p, 0).loss == plain);
    p.rate = 1;
    mb_batch b = batch_of(&p);
    assert_int_equal(mb_gradient_forward(g, &b, &e), MB_RANGE);
    mb_err_clear(&e);
    p.rate = 0.1F;
    b = batch_of(&p);
    b.dropout.first_row = -1;
    assert_int_equal(mb_gradient_forward(g, &b, &e), MB_RANGE);
    mb_gradient_destroy(g);
    free_problem(&p);
    mb_model_destroy(m);
}

/* Some gradient of the hidden rows, so that nothing comes through a head. */
static void push(mb_gradient *g) {
    mb_err e = {0};
    const int64_t n = mb_gradient_rows(g)->rows * mb_model_config(mb_gradient_model(g))->D;
    for (int64_t i = 0; i < n; i++)
        mb_gradient_d_hidden(g)[i] = (float)(i % 7) - 2.5F;
    assert_int_equal(mb_gradient_backward(g, &e), MB_OK);
}

/* The pad's row is looked up and gets nothing; other rows get what all their places say. */
static void pads_teach_nothing(void **state) {
    (void)state;
    const int64_t length[] = {20, 9};
    for (int i = 0; i < 3; i++) {
        const mb_config c = model_build(i);
        const size_t D = (size_t)c.D;
        const double scale = c.input.scale > 0 ? (double)c.input.scale : 1;
        mb_err e = {0};
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, length, 2, 0.1F);
        for (int k = 0; k < 29; k += 3)
            p.token[k] = 0;
        mb_gradient *g = open_gradient(&c, copy_of(m), NULL, 2, 0);
        const mb_batch b = batch_of(&p);
        assert_int_equal(mb_gradient_forward(g, &b, &e), MB_OK);
        push(g);
        const float *d_E = mb_gradient_sums(g)->embedding, *d_rows = mb_gradient_d_input(g);
        double pads = 0;
        for (size_t k = 0; k < D; k++)
            assert_true(d_E[k] == 0);
        for (size_t v = 1; v < (size_t)c.V; v++)
            for (size_t k = 0; k < D; k++) {
                double sum = 0;
                for (size_t t = 0; t < 29; t++) {
                    sum += p.token[t] == (int32_t)v ? scale * (double)d_rows[t * D + k] : 0;
                    pads += p.token[t] == 0 ? fabs((double)d_rows[t * D + k]) : 0;
                }
                assert_true(fabs(sum - (double)d_E[v * D + k]) <= 1e-5 * (1 + fabs(sum)));
            }
        assert_true(pads > 0); /* there was something to hold back */
        mb_gradient_destroy(g);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

/* Rows given by the caller: the same hidden rows and gradients as of tokens, and the rows' own gradient. */
static void given_rows(void **state) {
    (void)state;
    static const int builds[] = {1, 4, 8};
    const int64_t length[] = {20, 9};
    for (size_t i = 0; i < sizeof builds / sizeof *builds; i++) {
        const mb_config c = model_build(builds[i]);
        const size_t D = (size_t)c.D, bytes = 29 * D * sizeof(float);
        mb_err e = {0};
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, length, 2, 0.2F);
        mb_gradient *tokens = open_gradient(&c, copy_of(m), NULL, 2, 0);
        mb_gradient *rows = open_gradient(&c, copy_of(m), NULL, 2, 0);
        float *given = mb_malloc(bytes);
        for (size_t t = 0; t < 29; t++)
            memcpy(given + t * D, mb_model_params(m)->embedding + (size_t)p.token[t] * D, D * sizeof *given);
        const mb_batch b = batch_of(&p);
        mb_batch r = b;
        r.token = NULL;
        r.row = given;
        assert_int_equal(mb_gradient_forward(tokens, &b, &e), MB_OK);
        assert_int_equal(mb_gradient_forward(rows, &r, &e), MB_OK);
        assert_memory_equal(mb_gradient_hidden(tokens), mb_gradient_hidden(rows), bytes);
        push(tokens);
        push(rows);
        assert_memory_equal(mb_gradient_d_input(tokens), mb_gradient_d_input(rows), bytes);
        float *d_E = (float *)(uintptr_t)mb_gradient_sums(rows)->embedding;
        for (size_t k = 0; k < (size_t)c.V * D; k++)
            assert_true(d_E[k] == 0);
        memcpy(d_E, mb_gradient_sums(tokens)->embedding, (size_t)c.V * D * sizeof *d_E);
        assert_same_sums(tokens, rows);
        mb_gradient_destroy(tokens);
        mb_gradient_destroy(rows);
        mb_free(given);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

/* Pieces of a sequence, states carried from one to the next, are the whole: to the bit where they are cut on the grid.
 */
static void carried_is_whole(void **state) {
    (void)state;
    enum { PIECE = 32, PIECES = 3 };
    const mb_model_options narrow = {.tile = 16};
    const int64_t whole = PIECE * PIECES, piece = PIECE;
    for (int i = 0; i < 4; i++) {
        const mb_config c = model_build(i);
        const size_t D = (size_t)c.D;
        mb_err e = {0};
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, &whole, 1, 0);
        mb_gradient *one = open_gradient(&c, copy_of(m), &narrow, 2, 0);
        mb_gradient *cut = open_gradient(&c, copy_of(m), &narrow, 2, 1);
        (void)run(one, &p, 0);
        for (int k = 0; k < PIECES; k++) {
            const mb_batch b = {
                .n = 1, .length = &piece, .token = p.token + k * PIECE, .carries = 1, .continues = k > 0};
            const int rc = mb_gradient_forward(cut, &b, &e);
            if (c.input.positions > 0) {
                assert_int_equal(rc, MB_NOTSUP);
                break;
            }
            assert_int_equal(rc, MB_OK);
            assert_memory_equal(mb_gradient_hidden(cut), mb_gradient_hidden(one) + (size_t)k * PIECE * D,
                                PIECE * D * sizeof(float));
            push(cut);
        }
        mb_gradient_destroy(one);
        mb_gradient_destroy(cut);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

/* ---- the optimiser and checkpoints ----------------------------------------------------------------------------------
 */

static int decays(const mb_trainable *t, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (strcmp(t[i].name, name) == 0)
            return t[i].decays;
    fail_msg("no %s among the trainables", name);
    return -1;
}

static void what_decays(void **state) {
    (void)state;
    mb_trainable t[64] = {0};
    for (int which = 1; which <= 2; which++) {
        const mb_config c = model_build(which);
        mb_model *m = model_shaken(&c, NULL);
        mb_gradient *g = open_gradient(&c, copy_of(m), NULL, 1, 0);
        for (int norms = 0; norms < 2; norms++) {
            const int n = mb_model_trainables(g, norms, 1, NULL);
            assert_true(n <= 64 && mb_model_trainables(g, norms, 1, t) == n);
            if (which == 1) {
                assert_true(!decays(t, n, "item_embedding.weight") && !decays(t, n, "LayerNorm.bias"));
                assert_true(decays(t, n, "LayerNorm.weight") == norms);
                assert_true(decays(t, n, "mamba_layers.1.ffn.LayerNorm.weight") == norms);
                assert_true(decays(t, n, "mamba_layers.0.ffn.w_1.weight") &&
                            !decays(t, n, "mamba_layers.0.ffn.w_2.bias"));
                assert_true(decays(t, n, "mamba_layers.0.mamba.in_proj.weight"));
                assert_true(!decays(t, n, "mamba_layers.0.mamba.A_log") && !decays(t, n, "mamba_layers.0.mamba.D"));
            } else {
                assert_true(!decays(t, n, "item_emb.weight") && !decays(t, n, "pos_emb.weight"));
                assert_true(decays(t, n, "mamba1.out_proj.weight"));
            }
        }
        mb_gradient_destroy(g);
        mb_model_destroy(m);
    }
}

/* A step, a checkpoint: a model that opens as any other, with the weights of that moment. */
static void checkpoints_are_models(void **state) {
    (void)state;
    const int64_t length[] = {30, 9};
    const mb_optimizer_options adam = {.b1 = 0.9, .b2 = 0.999, .eps = 1e-8, .threads = 2};
    for (int which = 0; which < MODEL_BUILDS; which++) {
        const mb_config c = model_build(which);
        const size_t bytes = 39 * (size_t)c.D * sizeof(float);
        mb_err e = {0};
        mb_trainable t[64] = {0};
        mb_optimizer *o = NULL;
        double norm;
        mb_model *m = model_shaken(&c, NULL), *saved = NULL;
        problem p = random_problem(&c, length, 2, 0.2F);
        mb_gradient *g = open_gradient(&c, copy_of(m), NULL, 2, 0);
        const mb_lm_result r = run(g, &p, 1);
        const int n = mb_model_trainables(g, 0, 1, t);
        assert_int_equal(mb_optimizer_create(&o, mb_model_ops(m), t, n, &adam, &e), MB_OK);
        assert_int_equal(mb_optimizer_step(o, 1e-3, r.weight, &norm, &e), MB_OK);
        assert_int_equal(mb_gradient_refresh(g, &e), MB_OK);
        const mb_train_state s = {.step = 1, .best_step = -1};
        const char *dir = tree("run%d", which);
        if (mb_checkpoint_save(dir, g, o, &s, &e) != MB_OK ||
            mb_model_open(&saved, tree("run%d/step-00000001", which), NULL, &e) != MB_OK)
            fail_msg("%s: %s", model_build_name(which), e.text);
        mb_gradient *again = open_gradient(&c, copy_of(saved), NULL, 2, 0);
        p.rate = 0;
        assert_true(run(g, &p, 0).loss == run(again, &p, 0).loss);
        assert_memory_equal(mb_gradient_hidden(g), mb_gradient_hidden(again), bytes);
        mb_gradient_destroy(again);
        mb_optimizer_destroy(o);
        mb_gradient_destroy(g);
        mb_model_destroy(saved);
        mb_model_destroy(m);
        free_problem(&p);
    }
}

static void failed_allocations_leave_nothing(void **state) {
    (void)state;
    const int64_t length[] = {40, 7};
    const mb_config c = model_build(1);
    mb_model *m = model_shaken(&c, NULL);
    problem p = random_problem(&c, length, 2, 0.1F);
    const long live = mb_mem_live_blocks();
    int fired = 1, tries = 0;
    for (long n = 1; fired && n < 2000; n++, tries++) {
        mb_err e = {0};
        mb_params *w = copy_of(m);
        mb_gradient *g = NULL;
        const mb_gradient_options o = {.threads = 2, .memory = 1 << 20};
        const mb_batch b = batch_of(&p);
        mb_lm_result r = {0};
        const mb_lm_targets t = {p.target, NULL, IGNORE};
        mb_mem_fail_nth(n, 0);
        int rc = mb_gradient_create(&g, &c, w, NULL, &o, &e);
        if (rc == MB_OK)
            rc = mb_gradient_forward(g, &b, &e);
        if (rc == MB_OK)
            rc = mb_lm_loss(g, &t, 1, &r, &e);
        if (rc == MB_OK)
            rc = mb_gradient_backward(g, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        mb_gradient_destroy(g);
        assert_int_equal(mb_mem_live_blocks(), live);
    }
    assert_true(tries > 10);
    free_problem(&p);
    mb_model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_the_originals),
        cmocka_unit_test(same_bits_for_threads_and_memory),
        cmocka_unit_test(packed_is_one_by_one),
        cmocka_unit_test(finite_differences),
        cmocka_unit_test(hidden_rows_are_the_forward_run_s),
        cmocka_unit_test(dropout_is_the_counter_s),
        cmocka_unit_test(pads_teach_nothing),
        cmocka_unit_test(given_rows),
        cmocka_unit_test(carried_is_whole),
        cmocka_unit_test(what_decays),
        cmocka_unit_test(checkpoints_are_models),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
