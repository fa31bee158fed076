/* Shapes and lengths at the edges of what a configuration allows, against a second opinion that shares no code
 * (naive.h): widths that fill no vector, one state and 256, filters of 1 and of 16, one layer, odd stacks of the strand
 * swap, sequences shorter than the filter, around the tile and its multiples. Every way through (kept, lean, scratch
 * file; one worker and many; streams and outputs of every layer). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/forward.h"
#include "core/mem.h"
#include "core/session.h"
#include "tests/models.h"
#include "tests/naive.h"

enum { TILE = 16, LONGEST = 3 * TILE + 1, N_SHAPES = 11, WIDEST = 2 * 40, MOST_V = 40 };

static const int lengths[] = {1, 2, 3, 7, TILE - 1, TILE, TILE + 1, 2 * TILE, LONGEST};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static mb_config shape(mb_config c, int E, int N, int K, int R) {
    c.E = E;
    c.N = N;
    c.K = K;
    c.R = R;
    return c;
}

static mb_config shape_at(int which) {
    mb_config c;
    switch (which) {
    case 0: /* the smallest there is */
        return shape(model_mamba(1, 1, 1), 1, 1, 1, 1);
    case 1:
        c = shape(model_caduceus(7, 1, 0), 15, 3, 2, 1);
        c.norm = MBK_NORM_LAYER;
        return c;
    case 2: /* longer filter than most sequences; odd stack */
        return shape(model_caduceus(16, 3, 1), 33, 16, 16, 1);
    case 3: /* a second block of channels, of two */
        c = shape(model_caduceus(9, 2, 0), 130, 5, 3, 2);
        c.tied_directions = 0;
        c.proj_bias = 1;
        return c;
    case 4:
        c = shape(model_caduceus(12, 2, 0), 32, 256, 4, 3);
        c.bidirectional = MB_BIDIR_MULTIPLY;
        c.proj_bias = 1;
        return c;
    case 5: /* unfused: no swap */
        c = shape(model_caduceus(5, 3, 1), 10, 4, 4, 1);
        c.rcps_strand_swap = 0;
        c.norm = MBK_NORM_LAYER;
        c.proj_bias = 1;
        return c;
    case 6: /* even stack, biases and LayerNorm under the swap; odd width */
        c = shape(model_caduceus(11, 2, 1), 22, 2, 5, 2);
        c.norm = MBK_NORM_LAYER;
        c.proj_bias = 1;
        c.conv_bias = 0;
        return c;
    case 7:
        c = shape(model_caduceus(8, 1, 1), 257, 7, 4, 8);
        c.bidirectional = MB_BIDIR_MULTIPLY;
        c.tied_directions = 0;
        return c;
    case 8: /* strands of a causal network */
        c = shape(model_caduceus(6, 2, 1), 12, 3, 1, 1);
        c.rcps_strand_swap = 0;
        c.mixer = MB_MIXER_MAMBA1;
        c.bidirectional = MB_BIDIR_NONE;
        c.tied_directions = 0;
        return c;
    case 9:
        c = shape(model_mamba(40, 3, 37), 80, 16, 4, 3);
        c.family = MB_FAMILY_MAMBA_HF;
        c.tied_head = 0;
        c.proj_bias = 1;
        return c;
    default:
        return shape(model_mamba(3, 4, 5), 129, 17, 9, 5);
    }
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

static void run(const mb_model *m, const int32_t *token, int length, int layer, const mb_forward_options *o,
                float *hidden, float *logits) {
    mb_err e = {0};
    if (mb_forward_hidden(m, token, length, layer, o, hidden, logits, &e) != MB_OK)
        fail_msg("%s", e.text);
}

typedef struct buffers {
    float hidden[LONGEST * WIDEST], logits[LONGEST * MOST_V], hidden2[LONGEST * WIDEST], logits2[LONGEST * MOST_V];
    double want[LONGEST * WIDEST], want_logits[LONGEST * MOST_V];
} buffers;

static void check_length(const mb_model *m, int which, int length, buffers *b) {
    const mb_config *c = mb_model_config(m);
    const size_t n = (size_t)length * (size_t)mb_model_width(m), n_logits = (size_t)length * (size_t)c->V;
    int32_t token[LONGEST];
    model_tokens(token, length, 0, c->V, (uint64_t)(which * 100 + length));
    for (int layer = length == LONGEST ? 0 : c->n_layer; layer <= c->n_layer; layer++)
        for (int outputs = 0; outputs <= (layer > 0 && layer < c->n_layer); outputs++) {
            const int last = layer == c->n_layer;
            const mb_forward_options o = {.threads = 1, .memory = (int64_t)1 << 30, .outputs = outputs};
            run(m, token, length, layer, &o, b->hidden, last ? b->logits : NULL);
            naive_forward(c, mb_model_params(m), token, length, layer, outputs, b->want, last ? b->want_logits : NULL);
            const double hidden = error_of(b->hidden, b->want, n);
            const double logits = last ? error_of(b->logits, b->want_logits, n_logits) : 0;
            if (!(hidden < 1e-5 && logits < 1e-5))
                fail_msg("shape %d, length %d, layer %d%s: hidden off by %g, logits by %g", which, length, layer,
                         outputs ? " (output)" : "", hidden, logits);
        }
    for (int way = 0; way < 4; way++) { /* the last layer once more */
        const int64_t memory[] = {(int64_t)1 << 30, 1, 1, 60000};
        const mb_forward_options o = {.threads = way < 2 ? 4 : 1, .memory = memory[way]};
        run(m, token, length, c->n_layer, &o, b->hidden2, b->logits2);
        assert_memory_equal(b->hidden, b->hidden2, n * sizeof(float));
        assert_memory_equal(b->logits, b->logits2, n_logits * sizeof(float));
    }
}

static void shapes_and_lengths(void **state) {
    (void)state;
    buffers *b = test_malloc(sizeof *b);
    for (int which = 0; which < N_SHAPES; which++) {
        const mb_config c = shape_at(which);
        const mb_model_options small = {.tile = TILE};
        mb_model *m = model_shaken(&c, &small);
        for (int i = 0; i < N_LENGTHS; i++)
            check_length(m, which, lengths[i], b);
        mb_model_destroy(m);
    }
    test_free(b);
}

/* The test is tested: each parameter that goes missing from one layer must be seen. */
static void the_second_opinion_is_sharp(void **state) {
    (void)state;
    enum { LENGTH = TILE + 3 };
    buffers *b = test_malloc(sizeof *b);
    mb_config c = shape_at(6);
    c.conv_bias = 1;
    mb_model *m = model_shaken(&c, NULL);
    int32_t token[LENGTH];
    const mb_forward_options o = {.threads = 1};
    const size_t n = LENGTH * (size_t)mb_model_width(m);
    model_tokens(token, LENGTH, 0, c.V, 3);
    run(m, token, LENGTH, c.n_layer, &o, b->hidden, NULL);
    const mb_params *p = mb_model_params(m);
    mb_layer_params layer[2];
    const float **one[] = {&layer[1].norm_w,        &layer[1].norm_b,       &layer[1].dir[0].in_b,
                           &layer[1].dir[0].out_b,  &layer[1].dir[1].skip,  &layer[1].dir[0].A_log,
                           &layer[1].dir[1].conv_b, &layer[1].dir[0].dt_b,  &layer[0].dir[1].conv_w,
                           &layer[0].dir[0].x_w,    &layer[0].dir[1].dt_w,  &layer[0].dir[1].in_w,
                           &layer[0].norm_w,        &layer[0].dir[1].out_w, &layer[0].norm_b};
    float *other = test_calloc(4096, sizeof *other);
    for (int i = 0; i < 4096; i++)
        other[i] = 1;
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        mb_params wrong = *p;
        memcpy(layer, p->layer, sizeof layer);
        wrong.layer = layer;
        *one[i] = other;
        naive_forward(&c, &wrong, token, LENGTH, c.n_layer, 0, b->want, NULL);
        assert_true(error_of(b->hidden, b->want, n) > 1e-4);
    }
    naive_forward(&c, p, token, LENGTH, c.n_layer, 0, b->want, NULL);
    assert_true(error_of(b->hidden, b->want, n) < 1e-5);
    test_free(other);
    test_free(b);
    mb_model_destroy(m);
}

static int keep(void *user, const mb_rows *r, mb_err *e) {
    float *hidden = user;
    (void)e;
    MB_ASSERT(r->column == 0);
    memcpy(hidden + r->from * 40, r->row, (size_t)r->n * 40 * sizeof *hidden);
    return MB_OK;
}

/* Feeding and stepping a causal model by turns. */
static void sessions(void **state) {
    (void)state;
    const mb_config c = shape_at(9);
    const mb_model_options small = {.tile = TILE};
    mb_model *m = model_shaken(&c, &small);
    buffers *b = test_malloc(sizeof *b);
    int32_t token[LONGEST];
    mb_session *s = NULL;
    mb_err e = {0};
    const mb_sink sink = {keep, b->hidden};
    model_tokens(token, LONGEST, 0, c.V, 4);
    naive_forward(&c, mb_model_params(m), token, LONGEST, c.n_layer, 0, b->want, b->want_logits);
    assert_int_equal(mb_session_create(&s, m, 8, &e), MB_OK);
    for (int t = 0, piece = 1; t < LONGEST; t += piece, piece = piece % 5 + 1) {
        if (t + piece > LONGEST)
            piece = LONGEST - t;
        const int rc = piece == 1 ? mb_session_step(s, token[t], b->hidden + t * 40, b->logits, &e)
                                  : mb_session_feed(s, token + t, piece, &sink, b->logits, &e);
        assert_int_equal(rc, MB_OK);
        assert_true(error_of(b->logits, b->want_logits + (t + piece - 1) * c.V, (size_t)c.V) < 1e-5);
    }
    assert_true(error_of(b->hidden, b->want, (size_t)LONGEST * 40) < 1e-5);
    mb_session_destroy(s);
    test_free(b);
    mb_model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_and_lengths),
        cmocka_unit_test(the_second_opinion_is_sharp),
        cmocka_unit_test(sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
