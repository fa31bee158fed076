/* Gradients of whole models: what the originals compute, and the laws (same bits for any number of threads and memory,
 * packed = one by one, finite differences). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/forward.h"
#include "core/gradient.h"
#include "core/lm_loss.h"
#include "core/mem.h"
#include "core/params_table.h"
#include "core/rng.h"
#include "tests/models.h"
#include "tests/slopes.h"

enum { IGNORE = -100 };

typedef struct problem { /* a batch with targets */
    int n;
    int64_t length[16], tokens;
    int32_t *token, *target;
    float *weight;
} problem;

static void free_problem(problem *p) {
    mb_free(p->token);
    mb_free(p->target);
    mb_free(p->weight);
}

static void allocate(problem *p) {
    p->tokens = 0;
    for (int i = 0; i < p->n; i++)
        p->tokens += p->length[i];
    p->token = mb_malloc((size_t)p->tokens * sizeof(int32_t));
    p->target = mb_malloc((size_t)p->tokens * sizeof(int32_t));
    p->weight = mb_malloc((size_t)p->tokens * sizeof(float));
    assert_true(p->token && p->target && p->weight);
}

static problem random_problem(const mb_config *c, const int64_t *length, int n, uint64_t seed) {
    problem p = {.n = n};
    mb_rng r;
    memcpy(p.length, length, (size_t)n * sizeof *length);
    allocate(&p);
    mb_rng_init(&r, seed, 7);
    for (int64_t i = 0; i < p.tokens; i++) {
        p.token[i] = (int32_t)mb_rng_below(&r, (uint64_t)c->V);
        p.target[i] = mb_rng_below(&r, 3) ? (int32_t)mb_rng_below(&r, (uint64_t)c->V) : IGNORE;
        p.weight[i] = (float)mb_rng_uniform(&r);
    }
    return p;
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

static mb_lm_result run(mb_gradient *g, const problem *p, int weighted, int with_gradient) {
    mb_err e = {0};
    mb_lm_result r = {0};
    const mb_batch b = {.n = p->n, .length = p->length, .token = p->token};
    const mb_lm_targets t = {p->target, weighted ? p->weight : NULL, IGNORE};
    if (mb_gradient_forward(g, &b, &e) != MB_OK || mb_lm_loss(g, &t, with_gradient, &r, &e) != MB_OK ||
        (with_gradient && mb_gradient_backward(g, &e) != MB_OK))
        fail_msg("%s", e.text);
    return r;
}

/* ---- goldens --------------------------------------------------------------------------------------------------------
 */

static int32_t *ids(const mb_tensor *t, int32_t *to) {
    for (int64_t i = 0; i < t->count; i++) {
        int64_t v;
        mb_tensor_to_i64(t, i, 1, &v);
        to[i] = (int32_t)v;
    }
    return to;
}

/* Masked: labels as recorded, 4 ignored. Causal: the next token. */
static problem recorded(const mb_weights *io) {
    const mb_tensor *token = mb_weights_find(io, "input_ids"), *labels = mb_weights_find(io, "labels");
    problem p = {.n = (int)token->shape[0]};
    for (int i = 0; i < p.n; i++)
        p.length[i] = token->shape[1];
    allocate(&p);
    ids(token, p.token);
    if (labels)
        ids(labels, p.target);
    for (int64_t i = 0; i < p.tokens; i++)
        if (labels)
            p.target[i] = p.target[i] == 4 ? IGNORE : p.target[i];
        else
            p.target[i] = (i + 1) % p.length[0] ? p.token[i + 1] : IGNORE;
    return p;
}

typedef struct comparison {
    const mb_weights *want;
    mb_params *got;
    double scale; /* what was summed is divided by it */
    double worst;
    char where[MB_PARAM_NAME];
    int compared;
} comparison;

static int compare(void *user, const mb_param *p) {
    comparison *c = user;
    const mb_tensor *want = mb_weights_find(c->want, p->name);
    if (p->alias_of >= 0)
        return MB_OK;
    if (!want || want->count != p->count) {
        fail_msg("no recorded gradient of %s", p->name);
        return MB_FAIL; /* not reached */
    }
    float *got = mb_malloc((size_t)p->count * sizeof(float));
    memcpy(got, *mb_param_place(c->got, p), (size_t)p->count * sizeof(float));
    mb_param_turn(p, got);
    double most = 0, off = 0;
    for (int64_t i = 0; i < p->count; i++) {
        double w;
        mb_tensor_to_f64(want, i, 1, &w);
        const double d = fabs((double)got[i] / c->scale - w);
        most = fabs(w) > most ? fabs(w) : most;
        off = d > off || !(d == d) ? d : off;
    }
    mb_free(got);
    c->compared++;
    const double worst = off / (most > 1e-12 ? most : 1e-12);
    if (!(worst <= c->worst)) {
        c->worst = worst;
        snprintf(c->where, sizeof c->where, "%s", p->name);
    }
    return MB_OK;
}

static double golden_error(const char *name, const mb_model_options *o, int64_t memory, int spoil, char *where) {
    mb_err e = {0};
    mb_model *m = NULL;
    mb_weights *io = NULL, *want = NULL;
    char *dir = mb_asprintf("%s/golden/%s", shared_dir(), name);
    char *path = mb_asprintf("%s/io.safetensors", dir), *grads = mb_asprintf("%s/grads.safetensors", dir);
    if (mb_model_open(&m, dir, NULL, &e) != MB_OK || mb_weights_open(&io, path, &e) != MB_OK ||
        mb_weights_open(&want, grads, &e) != MB_OK)
        fail_msg("%s: %s", name, e.text);
    problem p = recorded(io);
    mb_params *params = copy_of(m);
    if (spoil)
        ((float *)(uintptr_t)params->layer[0].dir[0].skip)[3] *= 1.01F;
    mb_gradient *g = open_gradient(mb_model_config(m), params, o, 2, memory);
    const mb_lm_result r = run(g, &p, 0, 1);
    double loss;
    mb_tensor_to_f64(mb_weights_find(io, "loss"), 0, 1, &loss);
    if (!spoil && fabs(r.loss / r.weight - loss) > 1e-5 * loss)
        fail_msg("%s: loss %g, recorded %g", name, r.loss / r.weight, loss);
    comparison c = {.want = want, .got = mb_gradient_sums(g), .scale = r.weight};
    (void)mb_params_walk(mb_model_config(m), compare, &c);
    assert_int_equal(c.compared, mb_weights_count(want));
    memcpy(where, c.where, sizeof c.where);
    mb_gradient_destroy(g);
    free_problem(&p);
    mb_weights_close(io);
    mb_weights_close(want);
    mb_model_destroy(m);
    mb_free(dir);
    mb_free(path);
    mb_free(grads);
    return c.worst;
}

static const char *const GOLDEN[] = {
    "caduceus_ph",         "caduceus_ph_layernorm_untied_mul", "caduceus_ps_even", "caduceus_ps_odd",
    "caduceus_ps_unfused", "caduceus_unidirectional",          "mamba1_hf",        "mamba1_lm"};

static void gradients_of_the_originals(void **state) {
    (void)state;
    if (!shared_dir()) {
        printf("SKIP: no shared data (set SEQMAMBA_SHARED)\n");
        skip();
    }
    const mb_model_options fast = {0}, ref = {.device = "ref"}, narrow = {.tile = 16};
    const mb_model_options *const how[] = {&fast, &ref, &narrow};
    char where[MB_PARAM_NAME];
    for (size_t i = 0; i < sizeof GOLDEN / sizeof *GOLDEN; i++)
        for (int k = 0; k < 3; k++) {
            const double worst = golden_error(GOLDEN[i], how[k], k == 2 ? 1 : 0, 0, where);
            if (!(worst <= 1e-4))
                fail_msg("%s, %s: the gradient of %s is off by %g", GOLDEN[i],
                         k == 0   ? "cpu"
                         : k == 1 ? "ref"
                                  : "tile 16",
                         where, worst);
        }
}

/* The tester is tested: a skip weight off by a hundredth must be seen. */
static void a_wrong_weight_is_seen(void **state) {
    (void)state;
    char where[MB_PARAM_NAME];
    const mb_model_options fast = {0};
    if (!shared_dir())
        skip();
    assert_true(golden_error("caduceus_ps_even", &fast, 0, 1, where) > 1e-4);
}

/* ---- laws -----------------------------------------------------------------------------------------------------------
 */

static mb_config untied(void) {
    mb_config c = model_caduceus(24, 2, 0);
    c.tied_directions = 0;
    return c;
}

static mb_config multiplied(void) {
    mb_config c = model_caduceus(24, 3, 1);
    c.bidirectional = MB_BIDIR_MULTIPLY;
    return c;
}

static void model_of(int i, mb_config *c) {
    switch (i) {
    case 0:
        *c = model_caduceus(72, 3, 1); /* two channel blocks, a part of one */
        break;
    case 1:
        *c = model_mamba(40, 2, 130);
        break;
    case 2:
        *c = untied();
        break;
    default:
        *c = multiplied();
        break;
    }
}
enum { MODELS = 4 };

static void assert_same_sums(mb_gradient *a, mb_gradient *b) {
    size_t n, m;
    const float *x = mb_params_pool(mb_gradient_sums(a), &n), *y = mb_params_pool(mb_gradient_sums(b), &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n * sizeof(float));
}

static void same_bits_for_threads_and_memory(void **state) {
    (void)state;
    const int64_t length[] = {150, 1, 129, 17};
    for (int i = 0; i < MODELS; i++) {
        mb_config c;
        model_of(i, &c);
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, length, 4, 11);
        mb_gradient *one = open_gradient(&c, copy_of(m), NULL, 1, 1);
        const mb_lm_result r = run(one, &p, 1, 1);
        const int threads[] = {2, 3, 5};
        const int64_t memory[] = {1, (int64_t)1 << 40, 40 << 20};
        for (int k = 0; k < 3; k++) {
            mb_gradient *g = open_gradient(&c, copy_of(m), NULL, threads[k], memory[k]);
            const mb_lm_result s = run(g, &p, 1, 1);
            assert_memory_equal(&r, &s, sizeof r);
            assert_same_sums(one, g);
            if (k == 2) { /* what a batch left behind does not show in the next */
                mb_gradient_zero(g);
                (void)run(g, &p, 1, 1);
                assert_same_sums(one, g);
            }
            mb_gradient_destroy(g);
        }
        mb_gradient_destroy(one);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

/* Sum over x of |a - b| relative to the largest element. */
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

static void packed_is_one_by_one(void **state) {
    (void)state;
    const int64_t length[] = {140, 3, 20};
    for (int i = 0; i < MODELS; i++) {
        mb_config c;
        model_of(i, &c);
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, length, 3, 5);
        mb_gradient *packed = open_gradient(&c, copy_of(m), NULL, 2, 0);
        mb_gradient *single = open_gradient(&c, copy_of(m), NULL, 2, 0);
        const mb_lm_result r = run(packed, &p, 1, 1);
        mb_lm_result sum = {0};
        int64_t at = 0;
        for (int k = 0; k < 3; at += length[k++]) {
            problem q = {.n = 1, .length = {length[k]}};
            q.token = p.token + at;
            q.target = p.target + at;
            q.weight = p.weight + at;
            const mb_lm_result s = run(single, &q, 1, 1);
            sum.loss += s.loss;
            sum.positions += s.positions;
        }
        assert_true(fabs(sum.loss - r.loss) <= 1e-9 * r.loss);
        assert_int_equal(sum.positions, r.positions);
        assert_true(distance(packed, single) < 2e-6);
        mb_gradient_destroy(packed);
        mb_gradient_destroy(single);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

/* loss(w + h d) - loss(w - h d) against 2 h <gradient, d>, d a random direction scaled to each weight's size; the
 * reference device, whose sums are in double. */
static void finite_differences(void **state) {
    (void)state;
    const int64_t length[] = {150, 20};
    const mb_model_options ref = {.device = "ref"};
    for (int i = 0; i < MODELS; i++) {
        mb_config c;
        model_of(i, &c);
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, length, 2, 3);
        mb_gradient *g = open_gradient(&c, copy_of(m), NULL, 2, 0);
        (void)run(g, &p, 1, 1);
        size_t n;
        const float *sums = mb_params_pool(mb_gradient_sums(g), &n);
        double slope = 0, loss[2];
        const double h = 2e-3;
        for (int side = 0; side < 2; side++) {
            mb_params *w = copy_of(m);
            float *v = mb_params_pool(w, &n);
            mb_rng r;
            mb_rng_init(&r, 99, 1);
            for (size_t k = 0; k < n; k++) {
                const double d = mb_rng_normal(&r) * (0.02 + fabs((double)v[k])) * (v[k] != 0);
                const float moved = (float)((double)v[k] + (side ? -h : h) * d);
                slope += (side ? -1 : 1) * ((double)moved - (double)v[k]) * (double)sums[k];
                v[k] = moved;
            }
            mb_gradient *moved = open_gradient(&c, w, &ref, 2, 0);
            loss[side] = run(moved, &p, 1, 0).loss;
            mb_gradient_destroy(moved);
        }
        const double difference = loss[0] - loss[1];
        if (!(fabs(difference - slope) <= 2e-3 * fabs(slope) + 1e-6 * loss[0]))
            fail_msg("model %d: the loss moved by %g, its gradient says %g", i, difference, slope);
        mb_gradient_destroy(g);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

/* ---- corners --------------------------------------------------------------------------------------------------------
 */

/* Shapes that the models above do not have: each is small, and every tensor is looked at on its own. */
static mb_config corner(int i, int *tile) {
    mb_config c = model_caduceus(9, 2, 0); /* E = 18: a vector and two channels */
    *tile = 16;
    switch (i) {
    case 0: /* neither history nor more than one state */
        c.K = c.N = 1;
        break;
    case 1: /* histories as long as tiles, longer than some sequences */
        c = model_caduceus(9, 2, 1);
        c.K = 16;
        break;
    case 2:
        c = model_mamba(7, 2, 11);
        c.K = 16;
        break;
    case 3: /* two blocks of channels, the last of two; biases counted twice in one out_proj */
        c.D = 7;
        c.E = 130;
        c.proj_bias = 1;
        break;
    case 4:
        c.proj_bias = 1;
        c.tied_directions = 0;
        c.conv_bias = 0;
        break;
    case 5: /* one set of outer weights for two branches */
        c.proj_bias = 1;
        c.bidirectional = MB_BIDIR_MULTIPLY;
        break;
    case 6:
        c.proj_bias = 1;
        c.tied_directions = 0;
        c.bidirectional = MB_BIDIR_MULTIPLY;
        break;
    case 7: /* an odd number of layers ends with the halves swapped; a head of its own */
        c = model_caduceus(13, 3, 1);
        c.norm = MBK_NORM_LAYER;
        c.tied_head = 0;
        break;
    case 8: /* the rank is wider than everything else */
        c.R = 61;
        c.N = 3;
        break;
    case 9: /* strands that keep their halves */
        c = model_caduceus(9, 3, 1);
        c.rcps_strand_swap = 0;
        c.norm = MBK_NORM_LAYER;
        c.K = 2;
        break;
    case 10: /* no head: an objective of one's own */
        c = model_caduceus(5, 2, 1);
        c.tied_head = c.has_head = 0;
        break;
    default: /* one row a tile, one channel */
        *tile = 1;
        c = model_caduceus(3, 2, 0);
        c.E = c.N = 1;
        break;
    }
    return c;
}
enum { CORNERS = 12 };

/* Fresh models hardly use their states: here every tensor is heard in the loss. */
static int turn_up(void *user, const mb_param *p) {
    static const struct {
        const char *name;
        float times, plus;
    } how[] = {{"in_proj.weight", 2, 0}, {"x_proj", 3, 0},        {"dt_proj.weight", 3, 0}, {"dt_proj.bias", 1, 3},
               {"A_log", 1, -1},         {"out_proj.w", 1.5F, 0}, {"embedding", 10, 0}};
    float *v = (float *)(uintptr_t)*mb_param_place(user, p);
    for (size_t i = 0; i < sizeof how / sizeof *how; i++)
        for (int64_t k = 0; p->alias_of < 0 && strstr(p->name, how[i].name) && k < p->count; k++)
            v[k] = v[k] * how[i].times + how[i].plus;
    return MB_OK;
}

/* Of the language model; without a head, a weighted sum of the hidden rows. */
static double loss_of(const problem *p, mb_gradient *g, int with_gradient) {
    mb_err e = {0};
    const mb_batch b = {.n = p->n, .length = p->length, .token = p->token};
    if (mb_model_config(mb_gradient_model(g))->has_head)
        return run(g, p, 1, with_gradient).loss;
    assert_int_equal(mb_gradient_forward(g, &b, &e), MB_OK);
    const int64_t n = mb_gradient_rows(g)->rows * mb_model_config(mb_gradient_model(g))->D;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const float d = (float)(i % 7) - 2.5F;
        sum += (double)d * (double)mb_gradient_hidden(g)[i];
        mb_gradient_d_hidden(g)[i] = d;
    }
    if (with_gradient)
        assert_int_equal(mb_gradient_backward(g, &e), MB_OK);
    return sum;
}

static double probed_loss(const void *p, mb_gradient *g) {
    return loss_of(p, g, 0);
}

/* How far the worst tensor of a corner is off, 1: as far as may be. spoil: with a gradient that is wrong by a tenth. */
static double probe_corner(int i, int spoil, char *where) {
    const int64_t length[] = {1, 15, 37, 3};
    int tile;
    const mb_config c = corner(i, &tile);
    const mb_model_options fast = {.tile = tile}, ref = {.device = "ref", .tile = tile};
    mb_model *m = model_shaken(&c, NULL);
    mb_params *same = copy_of(m);
    problem p = random_problem(&c, length, 4, 3);
    slopes q = {.loss = probed_loss, .user = &p, .tolerance = 1e-2, .w = copy_of(m)};
    (void)mb_params_walk(&c, turn_up, q.w);
    (void)mb_params_walk(&c, turn_up, same);
    q.g = open_gradient(&c, same, &fast, 2, i % 2 ? 1 : 0);
    q.ref = open_gradient(&c, q.w, &ref, 1, 0);
    (void)loss_of(&p, q.g, 1);
    float *spoilt = (float *)(uintptr_t)mb_gradient_sums(q.g)->layer[1].dir[0].A_log;
    for (int k = 0; k < (spoil ? c.E * c.N : 0); k++)
        spoilt[k] *= 1.1F;
    (void)mb_params_walk(&c, slopes_of_tensor, &q);
    assert_int_equal(q.silent, 0);
    memcpy(where, q.where, sizeof q.where);
    mb_gradient_destroy(q.g);
    mb_gradient_destroy(q.ref);
    free_problem(&p);
    mb_model_destroy(m);
    return q.worst;
}

static void corners_have_their_gradients(void **state) {
    (void)state;
    char where[MB_PARAM_NAME];
    for (int i = 0; i < CORNERS; i++) {
        const double off = probe_corner(i, 0, where);
        if (!(off <= 1))
            fail_msg("corner %d: the gradient of %s is off by %g tolerances", i, where, off);
    }
    assert_true(probe_corner(1, 1, where) > 1); /* the tester is tested */
    assert_non_null(strstr(where, "A_log"));
}

/* A vocabulary of one: nothing is uncertain, nothing is learned. */
static void one_letter_teaches_nothing(void **state) {
    (void)state;
    const int64_t length[] = {5, 20};
    const mb_config c = model_mamba(8, 1, 1);
    mb_model *m = model_shaken(&c, NULL);
    problem p = random_problem(&c, length, 2, 3);
    mb_gradient *g = open_gradient(&c, copy_of(m), NULL, 2, 0);
    assert_true(run(g, &p, 0, 1).loss == 0);
    size_t n;
    const float *sums = mb_params_pool(mb_gradient_sums(g), &n);
    for (size_t i = 0; i < n; i++)
        assert_true(sums[i] == 0);
    mb_gradient_destroy(g);
    free_problem(&p);
    mb_model_destroy(m);
}

/* After the weights changed and were taken over, everything is as in a model made of them. */
static void refreshed_is_fresh(void **state) {
    (void)state;
    const int64_t length[] = {140};
    for (int i = 0; i < MODELS; i++) {
        mb_config c;
        mb_err e = {0};
        model_of(i, &c);
        mb_model *m = model_shaken(&c, NULL), *other = model_seeded(&c, NULL);
        problem p = random_problem(&c, length, 1, 3);
        mb_params *w = copy_of(other), *wanted = copy_of(m);
        mb_gradient *g = open_gradient(&c, w, NULL, 2, 0), *fresh = open_gradient(&c, copy_of(m), NULL, 2, 0);
        (void)run(g, &p, 1, 1);
        size_t n;
        float *to = mb_params_pool(w, &n);
        memcpy(to, mb_params_pool(wanted, &n), n * sizeof(float));
        assert_int_equal(mb_gradient_refresh(g, &e), MB_OK);
        mb_gradient_zero(g);
        const mb_lm_result a = run(g, &p, 1, 1), b = run(fresh, &p, 1, 1);
        assert_memory_equal(&a, &b, sizeof a);
        assert_same_sums(g, fresh);
        mb_gradient_destroy(g);
        mb_gradient_destroy(fresh);
        mb_params_free(wanted);
        mb_model_destroy(m);
        mb_model_destroy(other);
        free_problem(&p);
    }
}

/* Training sees what every other run sees, to the bit. */
static void hidden_rows_are_the_forward_run_s(void **state) {
    (void)state;
    const int64_t length = 140;
    for (int i = 0; i < MODELS; i++) {
        mb_config c;
        mb_err e = {0};
        model_of(i, &c);
        mb_model *m = model_shaken(&c, NULL);
        problem p = random_problem(&c, &length, 1, 3);
        mb_gradient *g = open_gradient(&c, copy_of(m), NULL, 2, 0);
        (void)run(g, &p, 0, 0);
        const size_t D = (size_t)c.D, width = (size_t)mb_model_width(m);
        float *hidden = mb_malloc((size_t)length * width * sizeof(float));
        const mb_forward_options o = {.threads = 2};
        assert_int_equal(mb_forward_hidden(m, p.token, length, c.n_layer, &o, hidden, NULL, &e), MB_OK);
        const size_t column = c.rcps && c.rcps_strand_swap && c.n_layer % 2 ? D : 0; /* of strand 0 */
        for (size_t t = 0; t < (size_t)length; t++)
            assert_memory_equal(mb_gradient_hidden(g) + t * D, hidden + t * width + column, D * sizeof(float));
        mb_free(hidden);
        mb_gradient_destroy(g);
        free_problem(&p);
        mb_model_destroy(m);
    }
}

/* Pieces of a sequence, states carried from one to the next, are the whole: to the bit where they are cut on the grid.
 */
static void carried_is_whole(void **state) {
    (void)state;
    enum { PIECE = 64, PIECES = 3 };
    const mb_config c = model_mamba(40, 2, 130);
    const mb_model_options narrow = {.tile = 32};
    const int64_t whole[] = {PIECE * PIECES, PIECE * PIECES}, piece[] = {PIECE, PIECE};
    mb_model *m = model_shaken(&c, NULL);
    problem p = random_problem(&c, whole, 2, 3);
    mb_err e = {0};
    const size_t D = (size_t)c.D;
    for (int again = 0; again < 2; again++) { /* the insides kept, or made again: the seam must be the same */
        mb_gradient *one = open_gradient(&c, copy_of(m), &narrow, 2, 0);
        mb_gradient *cut = open_gradient(&c, copy_of(m), &narrow, 2, again ? 1 : 0);
        (void)run(one, &p, 0, 0);
        for (int k = 0; k < PIECES; k++) {
            int32_t token[2 * PIECE], target[2 * PIECE];
            for (int i = 0; i < 2; i++) {
                memcpy(token + i * PIECE, p.token + whole[0] * i + k * PIECE, PIECE * sizeof *token);
                memcpy(target + i * PIECE, p.target + whole[0] * i + k * PIECE, PIECE * sizeof *target);
            }
            const mb_batch b = {.n = 2, .length = piece, .token = token, .carries = 1, .continues = k > 0};
            const mb_lm_targets t = {target, NULL, IGNORE};
            mb_lm_result r = {0};
            assert_int_equal(mb_gradient_forward(cut, &b, &e), MB_OK);
            for (size_t i = 0; i < 2; i++)
                assert_memory_equal(mb_gradient_hidden(cut) + i * PIECE * D,
                                    mb_gradient_hidden(one) + (i * PIECES + (size_t)k) * PIECE * D,
                                    PIECE * D * sizeof(float));
            assert_int_equal(mb_lm_loss(cut, &t, 1, &r, &e), MB_OK);
            assert_int_equal(mb_gradient_backward(cut, &e), MB_OK);
            problem other = {.n = 1, .length = {5}, .token = token, .target = target};
            (void)run(cut, &other, 0, 0); /* an evaluation in between changes nothing */
            size_t n;                     /* nor does a checkpoint */
            const float *carried = mb_gradient_carried(cut, &n);
            float *copy = mb_malloc(n * sizeof *copy);
            memcpy(copy, carried, n * sizeof *copy);
            assert_int_equal(mb_gradient_set_carried(cut, copy, n, &e), MB_OK);
            mb_free(copy);
        }
        const mb_batch fewer = {.n = 1, .length = piece, .token = p.token, .carries = 1, .continues = 1};
        assert_int_equal(mb_gradient_forward(cut, &fewer, &e), MB_RANGE);
        mb_err_clear(&e);
        mb_gradient_destroy(one);
        mb_gradient_destroy(cut);
    }
    free_problem(&p);
    mb_model_destroy(m);
}

static void both_ways_carry_nothing(void **state) {
    (void)state;
    const int64_t length = 30;
    const mb_config c = model_caduceus(16, 2, 0);
    mb_err e = {0};
    mb_model *m = model_shaken(&c, NULL);
    problem p = random_problem(&c, &length, 1, 3);
    mb_gradient *g = open_gradient(&c, copy_of(m), NULL, 1, 0);
    const mb_batch b = {.n = 1, .length = &length, .token = p.token, .carries = 1};
    assert_int_equal(mb_gradient_forward(g, &b, &e), MB_NOTSUP);
    mb_gradient_destroy(g);
    free_problem(&p);
    mb_model_destroy(m);
}

static void failed_allocations_leave_nothing(void **state) {
    (void)state;
    const int64_t length[] = {40, 7};
    const mb_config c = model_caduceus(16, 2, 1);
    mb_model *m = model_shaken(&c, NULL);
    problem p = random_problem(&c, length, 2, 3);
    const long live = mb_mem_live_blocks();
    int fired = 1, tries = 0;
    for (long n = 1; fired && n < 2000; n++, tries++) {
        mb_err e = {0};
        mb_params *w = copy_of(m);
        mb_gradient *g = NULL;
        mb_lm_result r = {0};
        const mb_gradient_options o = {.threads = 2, .memory = 1 << 20};
        const mb_batch b = {.n = p.n, .length = p.length, .token = p.token};
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
        if (fired)
            assert_int_equal(rc, MB_NOMEM);
        else
            assert_int_equal(rc, MB_OK);
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
        cmocka_unit_test(a_wrong_weight_is_seen),
        cmocka_unit_test(same_bits_for_threads_and_memory),
        cmocka_unit_test(packed_is_one_by_one),
        cmocka_unit_test(finite_differences),
        cmocka_unit_test(corners_have_their_gradients),
        cmocka_unit_test(one_letter_teaches_nothing),
        cmocka_unit_test(refreshed_is_fresh),
        cmocka_unit_test(hidden_rows_are_the_forward_run_s),
        cmocka_unit_test(carried_is_whole),
        cmocka_unit_test(both_ways_carry_nothing),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
