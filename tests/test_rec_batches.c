/* Training batches on logs whose every event has an item of its own, so that a token tells the event: each training
 * event is a target once an epoch, nothing of validation and test is seen, a batch follows from seed and step; what
 * negatives are drawn. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/rng.h"
#include "recsys/batches.h"
#include "recsys/load.h"
#include "tests/scratch.h"

enum { USERS = 60, LONGEST = 70 };

static mb_err error;
static rec_log *unique, *repeats;
static rec_split of_unique, of_repeats;

/* A line a user; items > 0: drawn among so many with low ones often, else counted on. */
static rec_log *make_log(const char *name, int items) {
    static char text[1 << 18];
    size_t at = 0;
    int next = 1;
    mb_rng r;
    mb_rng_init(&r, 4, (uint64_t)items);
    for (int u = 0; u < USERS; u++) {
        const int n = u == 7 ? 1 : u == 9 ? 2 : 1 + (int)mb_rng_below(&r, LONGEST);
        at += (size_t)snprintf(text + at, sizeof text - at, "u%d", u);
        for (int i = 0; i < n; i++) {
            const int item = items ? 1 + (int)(mb_rng_uniform(&r) * mb_rng_uniform(&r) * items) : next++;
            at += (size_t)snprintf(text + at, sizeof text - at, " %d", item);
        }
        at += (size_t)snprintf(text + at, sizeof text - at, "\n");
    }
    rec_load_options o = rec_load_defaults();
    rec_log *l = NULL;
    o.format = REC_FORMAT_SEQUENCES;
    assert_int_equal(rec_log_open(&l, scratch_text(name, text), &o, &error), MB_OK);
    return l;
}

static int prepare(void **state) {
    (void)state;
    unique = make_log("unique.txt", 0);
    repeats = make_log("repeats.txt", 50);
    assert_int_equal(rec_split_leave_one_out(&of_unique, unique, &error), MB_OK);
    assert_int_equal(rec_split_leave_one_out(&of_repeats, repeats, &error), MB_OK);
    return 0;
}

static int clean(void **state) {
    (void)state;
    rec_split_free(&of_unique);
    rec_split_free(&of_repeats);
    rec_log_close(unique);
    rec_log_close(repeats);
    return 0;
}

static rec_batches *make(const rec_batches_options *o) {
    rec_batches *b = NULL;
    assert_int_equal(rec_batches_create(&b, unique, &of_unique, o, &error), MB_OK);
    return b;
}

static int32_t user_of(const rec_view *v, int64_t event) {
    int32_t u = 0;
    while (v->user_at[u + 1] <= event)
        u++;
    return u;
}

/* ---- what is asked for ----------------------------------------------------------------------------------------------
 */

/* In `unique` the item of event i is i+1. Adds up what the batch asks for. */
static void take(const rec_batches *b, const rec_batch *x, int *asked) {
    const rec_view *v = rec_log_view(unique);
    int64_t row = 0, t = 0;
    for (int i = 0; i < x->n; i++) {
        const int64_t first = x->token[row] - 1, n = x->length[i];
        const int32_t u = user_of(v, first);
        assert_true(n >= 1 && (b->o.window == 0 || n <= b->o.window));
        for (int64_t k = 0; k < n; k++) { /* one user's events, one after the other, training only */
            assert_int_equal(x->token[row + k], first + k + 1);
            assert_true(first + k < of_unique.valid_at[u] - 1);
        }
        int64_t own = 0;
        for (; t < x->targets && x->row[t] < row + n; t++, own++) {
            assert_int_equal(x->target[t], x->token[x->row[t]] + 1);
            assert_true(x->target[t] - 1 < of_unique.valid_at[u]);
            asked[x->target[t] - 1]++;
        }
        if (b->o.mode == REC_WINDOWS)
            assert_true(own == 1 && x->row[t - 1] == row + n - 1);
        else if (first > v->user_at[u]) /* not the user's earliest window: all but the overlap */
            assert_true(own == n - b->o.overlap && x->row[t - 1] == row + n - 1);
        else
            assert_int_equal(own, n);
        row += n;
    }
    assert_int_equal(row, x->rows);
    assert_int_equal(t, x->targets);
}

static void one_epoch(const rec_batches_options *o, int64_t epoch) {
    const rec_view *v = rec_log_view(unique);
    int *asked = calloc((size_t)v->n_events, sizeof *asked);
    rec_batches *b = make(o);
    rec_batch x = {0};
    int64_t windows = 0;
    for (int64_t s = 0; s < b->steps; s++) {
        assert_int_equal(rec_batches_fill(b, epoch * b->steps + s, 0, 1, &x, &error), MB_OK);
        assert_true(x.n == b->batch || s == b->steps - 1);
        windows += x.n;
        take(b, &x, asked);
    }
    assert_int_equal(windows, b->n);
    for (int32_t u = 0; u < v->n_users; u++)
        for (int64_t i = v->user_at[u]; i < v->user_at[u + 1]; i++)
            assert_int_equal(asked[i], i > v->user_at[u] && i < of_unique.valid_at[u]);
    rec_batch_fini(&x);
    rec_batches_destroy(b);
    free(asked);
}

static void each_event_once(void **state) {
    (void)state;
    static const int64_t WINDOW[][2] = {{0, 0}, {200, 0}, {1, 0}, {7, 0}, {7, 3}, {7, 6}, {2, 1}};
    for (size_t i = 0; i < sizeof WINDOW / sizeof *WINDOW; i++)
        for (int64_t batch = 1; batch <= 1000; batch *= 31) {
            one_epoch(
                &(rec_batches_options){.window = WINDOW[i][0], .overlap = WINDOW[i][1], .batch = batch, .seed = 3}, 0);
            one_epoch(
                &(rec_batches_options){.window = WINDOW[i][0], .overlap = WINDOW[i][1], .batch = batch, .seed = 3}, 5);
        }
    for (int64_t window = 0; window <= 20; window += 4)
        one_epoch(&(rec_batches_options){.mode = REC_WINDOWS, .window = window, .batch = 13}, 1);
}

/* RecBole's count of its augmentation: a row for each training event but a user's first. */
static void as_many_as_recbole(void **state) {
    (void)state;
    const rec_view *v = rec_log_view(unique);
    int64_t rows = 0;
    for (int32_t u = 0; u < v->n_users; u++) {
        const int64_t n = v->user_at[u + 1] - v->user_at[u] - 1; /* prefix and next item */
        rows += n - (n < 1 ? 0 : n - 1 < 2 ? n - 1 : 2);
    }
    rec_batches *b = make(&(rec_batches_options){.mode = REC_WINDOWS, .window = 5, .batch = 10});
    assert_int_equal(b->n, rows);
    assert_int_equal(b->targets, rows);
    assert_int_equal(b->longest, 5);
    rec_batches_destroy(b);
}

static void size_by_positions(void **state) {
    (void)state;
    rec_batches *b = make(&(rec_batches_options){.window = 10, .batch_positions = 100});
    const double each = (double)b->targets / (double)b->n;
    assert_int_equal(b->batch, (int64_t)llround(100 / each));
    assert_int_equal(b->steps, (b->n + b->batch - 1) / b->batch);
    rec_batches_destroy(b);
    b = make(&(rec_batches_options){.batch_positions = 1});
    assert_int_equal(b->batch, 1);
    rec_batches_destroy(b);
    b = make(&(rec_batches_options){.batch_positions = 100000000});
    assert_true(b->batch == b->n && b->steps == 1);
    rec_batches_destroy(b);
}

/* ---- a function of seed and step ------------------------------------------------------------------------------------
 */

static const rec_batches_options DRAWN = {
    .window = 12, .batch = 9, .seed = 8, .negatives = 5, .draw = REC_DRAW_POPULARITY, .corrected = 1};

static void same(const rec_batch *a, const rec_batch *b, int k) {
    assert_true(a->n == b->n && a->rows == b->rows && a->targets == b->targets);
    assert_memory_equal(a->length, b->length, sizeof *a->length * (size_t)a->n);
    assert_memory_equal(a->token, b->token, sizeof *a->token * (size_t)a->rows);
    assert_memory_equal(a->row, b->row, sizeof *a->row * (size_t)a->targets);
    assert_memory_equal(a->target, b->target, sizeof *a->target * (size_t)a->targets);
    assert_memory_equal(a->negative, b->negative, sizeof *a->negative * (size_t)(a->targets * k));
    assert_memory_equal(a->correction, b->correction, sizeof *a->correction * (size_t)(a->targets * k));
}

static void seed_and_step_decide(void **state) {
    (void)state;
    rec_batches *one = make(&DRAWN), *other = make(&DRAWN);
    rec_batch x = {0}, y = {0};
    for (int64_t s = 3 * one->steps; s >= 0; s -= 4) { /* backwards; the other sees each for the first time */
        assert_int_equal(rec_batches_fill(one, s, 0, 1, &x, &error), MB_OK);
        assert_int_equal(rec_batches_fill(other, s + 1, 0, 1, &y, &error), MB_OK);
        assert_int_equal(rec_batches_fill(other, s, 0, 1, &y, &error), MB_OK);
        same(&x, &y, DRAWN.negatives);
    }
    rec_batches_options o = DRAWN;
    o.seed++;
    rec_batches *third = make(&o);
    assert_int_equal(rec_batches_fill(third, 0, 0, 1, &y, &error), MB_OK);
    assert_int_equal(rec_batches_fill(one, 0, 0, 1, &x, &error), MB_OK);
    assert_memory_not_equal(x.token, y.token, sizeof *x.token * 10);
    assert_int_equal(rec_batches_fill(one, one->steps, 0, 1, &y, &error), MB_OK); /* the next epoch's first */
    assert_memory_not_equal(x.token, y.token, sizeof *x.token * 10);
    rec_batch_fini(&x);
    rec_batch_fini(&y);
    rec_batches_destroy(one);
    rec_batches_destroy(other);
    rec_batches_destroy(third);
}

/* The parts of a step, one after the other, are the step. */
static void parts_are_the_step(void **state) {
    (void)state;
    rec_batches *b = make(&DRAWN);
    rec_batch whole = {0}, part = {0};
    for (int parts = 2; parts <= 12; parts += 5) {
        int64_t row = 0, t = 0;
        int n = 0;
        assert_int_equal(rec_batches_fill(b, 2, 0, 1, &whole, &error), MB_OK);
        for (int p = 0; p < parts; p++) {
            assert_int_equal(rec_batches_fill(b, 2, p, parts, &part, &error), MB_OK);
            assert_int_equal(part.first_row, row);
            assert_memory_equal(part.token, whole.token + row, sizeof *part.token * (size_t)part.rows);
            assert_memory_equal(part.negative, whole.negative + t * 5,
                                sizeof *part.negative * 5 * (size_t)part.targets);
            row += part.rows;
            t += part.targets;
            n += part.n;
        }
        assert_true(row == whole.rows && t == whole.targets && n == whole.n);
    }
    rec_batch_fini(&whole);
    rec_batch_fini(&part);
    rec_batches_destroy(b);
}

/* ---- negatives ------------------------------------------------------------------------------------------------------
 */

/* Counts of drawn items over some epochs, from `repeats`. */
static int64_t count_draws(const rec_batches_options *o, int64_t *count, int spared) {
    const rec_view *v = rec_log_view(repeats);
    rec_batches *b = NULL;
    rec_batch x = {0};
    int64_t draws = 0;
    assert_int_equal(rec_batches_create(&b, repeats, &of_repeats, o, &error), MB_OK);
    for (int64_t s = 0; s < 3 * b->steps; s++) {
        assert_int_equal(rec_batches_fill(b, s, 0, 1, &x, &error), MB_OK);
        for (int64_t t = 0; t < x.targets; t++)
            for (int j = 0; j < o->negatives; j++, draws++) {
                const int32_t item = x.negative[t * o->negatives + j];
                assert_true(item >= 1 && item <= v->n_items && item != x.target[t]);
                count[item]++;
            }
        int64_t row = 0, t = 0;
        for (int i = 0; spared && i < x.n; row += x.length[i++])
            for (; t < x.targets && x.row[t] < row + x.length[i]; t++)
                for (int j = 0; j < o->negatives; j++)
                    for (int64_t k = row; k < row + x.length[i]; k++) /* windows are whole histories here */
                        assert_int_not_equal(x.negative[t * o->negatives + j], x.token[k]);
    }
    rec_batch_fini(&x);
    rec_batches_destroy(b);
    return draws;
}

/* Shares of all draws, given the shares of targets: the chance of item i is the mean over targets y != i of
 * q_i / (1 - q_y). */
static void expect_shares(const int64_t *count, int64_t draws, const double *q, const double *target) {
    const int32_t n = rec_log_view(repeats)->n_items;
    for (int32_t i = 1; i <= n; i++) {
        double share = 0;
        for (int32_t y = 1; y <= n; y++)
            share += y == i ? 0 : target[y] * q[i] / (1 - q[y]);
        const double sd = sqrt(share * (double)draws);
        assert_true(fabs((double)count[i] - share * (double)draws) <= 5 * sd + 5);
    }
}

static void draws(void **state) {
    (void)state;
    const rec_view *v = rec_log_view(repeats);
    const size_t n = (size_t)v->n_items + 1;
    int64_t *count = calloc(n, sizeof *count), all = 0, targets = 0;
    double *q = calloc(n, sizeof *q), *target = calloc(n, sizeof *target);
    for (int32_t u = 0; u < v->n_users; u++)
        for (int64_t i = v->user_at[u]; i < of_repeats.valid_at[u]; i++, all++) {
            q[v->item[i]]++;
            target[v->item[i]] += i > v->user_at[u];
            targets += i > v->user_at[u];
        }
    for (size_t i = 1; i < n; i++) {
        target[i] /= (double)targets;
        q[i] /= (double)all;
    }
    rec_batches_options o = {.batch = 20, .seed = 1, .negatives = 20, .draw = REC_DRAW_POPULARITY};
    expect_shares(count, count_draws(&o, count, 0), q, target);
    memset(count, 0, n * sizeof *count);
    for (size_t i = 1; i < n; i++)
        q[i] = 1 / (double)(n - 1);
    o.draw = REC_DRAW_UNIFORM;
    expect_shares(count, count_draws(&o, count, 0), q, target);
    o.spare_user = 1;
    o.negatives = 2;
    count_draws(&o, count, 1);
    free(count);
    free(q);
    free(target);
}

/* exp(-correction) = negatives * chance, and over all others but the target the chances add up to one. */
static void corrections(void **state) {
    (void)state;
    const rec_view *v = rec_log_view(repeats);
    for (int draw = 0; draw < 2; draw++) {
        const rec_batches_options o = {.batch = 1, .negatives = 300, .draw = draw, .corrected = 1};
        rec_batches *b = NULL;
        rec_batch x = {0};
        assert_int_equal(rec_batches_create(&b, repeats, &of_repeats, &o, &error), MB_OK);
        double *chance = calloc((size_t)v->n_items + 1, sizeof *chance);
        assert_int_equal(rec_batches_fill(b, 0, 0, 1, &x, &error), MB_OK);
        const int32_t target = x.target[0];
        for (int64_t t = 0; t < x.targets; t++)
            for (int j = 0; j < o.negatives && x.target[t] == target; j++)
                chance[x.negative[t * o.negatives + j]] = exp(-(double)x.correction[t * o.negatives + j]) / o.negatives;
        double sum = 0;
        for (int32_t i = 1; i <= v->n_items; i++)
            sum += chance[i];
        assert_true(sum > 0.9 && sum < 1 + 1e-5); /* 300 draws leave few of 50 items out */
        free(chance);
        rec_batch_fini(&x);
        rec_batches_destroy(b);
    }
}

/* Who has met every item gets negatives all the same, and never the target. */
static void nothing_to_spare(void **state) {
    (void)state;
    rec_load_options lo = rec_load_defaults();
    rec_log *l = NULL;
    rec_split s;
    rec_batches *b = NULL;
    rec_batch x = {0};
    lo.format = REC_FORMAT_SEQUENCES;
    assert_int_equal(rec_log_open(&l, scratch_text("all.txt", "u a b c a b c a a\n"), &lo, &error), MB_OK);
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    const rec_batches_options o = {.batch = 1, .negatives = 4, .spare_user = 1};
    assert_int_equal(rec_batches_create(&b, l, &s, &o, &error), MB_OK);
    assert_int_equal(rec_batches_fill(b, 0, 0, 1, &x, &error), MB_OK);
    assert_int_equal(x.targets, 5);
    for (int i = 0; i < 20; i++)
        assert_int_not_equal(x.negative[i], x.target[i / 4]);
    rec_batch_fini(&x);
    rec_batches_destroy(b);
    rec_split_free(&s);
    rec_log_close(l);
}

/* ---- what is refused ------------------------------------------------------------------------------------------------
 */

static void refuse(const char *text, const rec_batches_options *o, const char *part) {
    rec_load_options lo = rec_load_defaults();
    rec_log *l = NULL;
    rec_split s;
    rec_batches *b = NULL;
    lo.format = REC_FORMAT_SEQUENCES;
    assert_int_equal(rec_log_open(&l, scratch_text("refused.txt", text), &lo, &error), MB_OK);
    assert_int_equal(rec_split_leave_one_out(&s, l, &error), MB_OK);
    assert_int_equal(rec_batches_create(&b, l, &s, o, &error), MB_FORMAT);
    assert_null(b);
    assert_non_null(strstr(error.text, part));
    mb_err_clear(&error);
    rec_split_free(&s);
    rec_log_close(l);
}

static void refused(void **state) {
    (void)state;
    const rec_batches_options plain = {.batch = 1};
    rec_batches_options drawn = {.batch = 1, .negatives = 1};
    refuse("u a\nv b\n", &plain, "nothing to learn from");
    refuse("u a a a a\n", &drawn, "one item only");
    drawn.draw = REC_DRAW_POPULARITY;
    refuse("u a a a b\n", &drawn, "all training events are of one item");
}

static void out_of_memory(void **state) {
    (void)state;
    rec_batches_options o = DRAWN;
    const long before = mb_mem_live_blocks();
    int fired = 1;
    o.spare_user = 1;
    for (long nth = 1; fired; nth++) {
        rec_batches *b = NULL;
        rec_batch x = {0};
        mb_err e = {0};
        mb_mem_fail_nth(nth, 0);
        int rc = rec_batches_create(&b, unique, &of_unique, &o, &e);
        if (rc == MB_OK)
            rc = rec_batches_fill(b, 1, 0, 1, &x, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_true(fired ? rc == MB_NOMEM && *e.text : rc == MB_OK);
        rec_batch_fini(&x);
        rec_batches_destroy(b);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_event_once),
                                       cmocka_unit_test(as_many_as_recbole),
                                       cmocka_unit_test(size_by_positions),
                                       cmocka_unit_test(seed_and_step_decide),
                                       cmocka_unit_test(parts_are_the_step),
                                       cmocka_unit_test(draws),
                                       cmocka_unit_test(corrections),
                                       cmocka_unit_test(nothing_to_spare),
                                       cmocka_unit_test(refused),
                                       cmocka_unit_test(out_of_memory)};
    return cmocka_run_group_tests(tests, prepare, clean);
}
