/* The training loop: it learns, it can be stopped anywhere and goes on to the same bits, a full disk and bad numbers do
 * no harm; schedules, the optimiser against its formula, metrics as others read them. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/event_log.h"
#include "core/file.h"
#include "core/lm_loss.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/params_table.h"
#include "core/rng.h"
#include "core/train.h"
#include "tests/models.h"
#include "tests/scratch.h"
#include "tests/tree.h"

/* ---- a task: repeat a pattern of tokens -----------------------------------------------------------------------------
 */

enum { LENGTH = 24, SEQUENCES = 3 };

typedef struct toy {
    mb_gradient *g;
    int64_t poison; /* the step whose weights make the loss NaN; -1 none */
    int64_t die;    /* kill -9 oneself at the beginning of this step; -1 none */
    int worse;      /* evaluation figures only grow */
    int evaluations;
} toy;

static int toy_batch(toy *t, uint64_t seed, int64_t step, int with_gradient, int micro, mb_train_sums *s, mb_err *e) {
    int32_t token[SEQUENCES * LENGTH], target[SEQUENCES * LENGTH];
    float weight[SEQUENCES * LENGTH];
    const int64_t length[SEQUENCES] = {LENGTH, LENGTH, LENGTH};
    mb_rng r;
    mb_rng_init(&r, seed, (uint64_t)step);
    for (int i = 0; i < SEQUENCES; i++) {
        const int first = (int)mb_rng_below(&r, 4), stride = 1 + (int)mb_rng_below(&r, 3);
        for (int k = 0; k < LENGTH; k++) {
            token[i * LENGTH + k] = 7 + (first + k * stride) % 4;
            target[i * LENGTH + k] = 7 + (first + (k + 1) * stride) % 4;
            weight[i * LENGTH + k] = t->poison == step && micro == 1 ? NAN : 1;
        }
    }
    const mb_batch b = {.n = SEQUENCES, .length = length, .token = token};
    const mb_lm_targets targets = {target, weight, -100};
    mb_lm_result l = {0};
    int rc = mb_gradient_forward(t->g, &b, e);
    if (rc == MB_OK)
        rc = mb_lm_loss(t->g, &targets, with_gradient, &l, e);
    if (rc == MB_OK && with_gradient)
        rc = mb_gradient_backward(t->g, e);
    s->loss += l.loss;
    s->weight += l.weight;
    s->positions += l.positions;
    s->hits += l.hits;
    s->tokens += SEQUENCES * LENGTH;
    return rc;
}

static int toy_gradient(void *user, int64_t step, int micro, mb_train_sums *s, mb_err *e) {
    toy *t = user;
    if (t->die == step && micro == 0)
        (void)raise(SIGKILL);
    return toy_batch(t, 1 + (uint64_t)micro, step, 1, micro, s, e);
}

static int toy_evaluate(void *user, mb_train_sums *s, mb_err *e) {
    toy *t = user;
    int rc = toy_batch(t, 1000, 0, 0, 0, s, e);
    if (t->worse)
        s->loss = s->weight * ++t->evaluations;
    return rc;
}

static void toy_origin(void *user, int64_t step, int micro, char *out, size_t n) {
    (void)user;
    snprintf(out, n, "toy %lld.%d", (long long)step, micro);
}

typedef struct setting {
    const char *dir;
    int64_t steps, patience, save_every;
    int resume, threads, micro, worse, keep;
    int64_t poison, die;
    double rate, average;
    const atomic_int *stop;
    const char *fingerprint;
} setting;

static setting usual(const char *dir) {
    return (setting){.dir = dir,
                     .steps = 12,
                     .save_every = 3,
                     .threads = 2,
                     .micro = 2,
                     .keep = 2,
                     .poison = -1,
                     .die = -1,
                     .rate = 1e-2,
                     .fingerprint = "abc"};
}

/* Trains; what is left in *pool (malloc) are the weights. */
static int train(const setting *s, mb_train_report *report, float **pool, size_t *n, mb_err *e) {
    const mb_config c = model_caduceus(16, 2, 1);
    mb_params *p = NULL;
    toy t = {.poison = s->poison, .die = s->die, .worse = s->worse};
    mb_optimizer *o = NULL;
    const mb_gradient_options go = {.threads = s->threads, .memory = 1 << 24};
    assert_int_equal(mb_params_seed(&p, &c, 5, e), MB_OK);
    assert_int_equal(mb_gradient_create(&t.g, &c, p, NULL, &go, e), MB_OK);
    mb_trainable *w = mb_calloc((size_t)mb_params_most(&c), sizeof *w);
    const int tensors = mb_model_trainables(t.g, 1, 1, w);
    const mb_optimizer_options oo = {
        .b1 = 0.9, .b2 = 0.95, .eps = 1e-8, .decay = 0.1, .clip = 1, .average = s->average, .threads = s->threads};
    assert_int_equal(mb_optimizer_create(&o, mb_model_ops(mb_gradient_model(t.g)), w, tensors, &oo, e), MB_OK);
    mb_free(w);
    const mb_train_task task = {.gradient = toy_gradient,
                                .evaluate = toy_evaluate,
                                .origin = toy_origin,
                                .user = &t,
                                .unit = "tokens",
                                .bits = 1};
    const mb_train_options options = {
        .dir = s->dir,
        .schedule = {.kind = MB_SCHEDULE_COSINE, .peak = s->rate, .least = 1e-4, .warmup = 2, .steps = s->steps},
        .micro_batches = s->micro,
        .log_every = 2,
        .evaluate_every = 4,
        .save_every = s->save_every,
        .keep = s->keep,
        .patience = s->patience,
        .resume = s->resume,
        .tensorboard = 1,
        .fingerprint = s->fingerprint,
        .stop = s->stop};
    int rc = mb_train_run(t.g, o, &task, &options, report, e);
    if (pool) {
        const float *from = mb_params_pool(p, n);
        *pool = mb_malloc(*n * sizeof(float));
        memcpy(*pool, from, *n * sizeof(float));
    }
    mb_optimizer_destroy(o);
    mb_gradient_destroy(t.g);
    return rc;
}

/* The weights of a run that nothing disturbed; trained once. */
static const float *reference(size_t *n) {
    static float *pool;
    static size_t floats;
    if (!pool) {
        mb_err e = {0};
        mb_train_report r;
        const char *dir = scratch_path("whole");
        const setting s = usual(dir);
        if (train(&s, &r, &pool, &floats, &e) != MB_OK)
            fail_msg("%s", e.text);
    }
    *n = floats;
    return pool;
}

static void assert_as_undisturbed(const float *pool, size_t n) {
    size_t m;
    const float *want = reference(&m);
    assert_int_equal(n, m);
    assert_memory_equal(pool, want, n * sizeof *pool);
}

/* ---- learning, stopping, going on -----------------------------------------------------------------------------------
 */

static void it_learns(void **state) {
    (void)state;
    mb_err e = {0};
    mb_train_report r;
    const char *dir = scratch_path("learns");
    setting s = usual(dir);
    s.steps = 60;
    if (train(&s, &r, NULL, NULL, &e) != MB_OK)
        fail_msg("%s", e.text);
    assert_true(r.first_loss > 1.2 && r.last_loss < 0.5 * r.first_loss);
    assert_int_equal(r.state.step, 60);
    assert_int_equal(r.tokens, 60 * 2 * SEQUENCES * LENGTH);
    assert_true(r.state.best < 0.5 * r.first_loss);
}

static void same_bits_for_any_number_of_threads(void **state) {
    (void)state;
    float *other;
    size_t n;
    for (int threads = 1; threads <= 3; threads += 2) {
        mb_err e = {0};
        mb_train_report r;
        const char *dir = scratch_path(threads == 1 ? "t1" : "t3");
        setting s = usual(dir);
        s.threads = threads;
        assert_int_equal(train(&s, &r, &other, &n, &e), MB_OK);
        assert_as_undisturbed(other, n);
        mb_free(other);
    }
}

/* Asked to stop before the first step: each process does one step, checkpoints and leaves; the sixth ends the run. */
static void stopped_after_every_step(void **state) {
    (void)state;
    float *other = NULL;
    size_t n;
    const char *dir = scratch_path("stopped");
    atomic_int stop = 1;
    setting s = usual(dir);
    s.resume = 1;
    s.stop = &stop;
    int rc = MB_STOPPED, runs = 0;
    while (rc == MB_STOPPED) {
        mb_err e = {0};
        mb_train_report r;
        mb_free(other);
        rc = train(&s, &r, &other, &n, &e);
        runs++;
        assert_true(runs <= 6);
        assert_int_equal(r.state.step, runs <= 5 ? runs : 12);
        atomic_store(&stop, runs < 5);
    }
    assert_int_equal(rc, MB_OK);
    assert_int_equal(runs, 6);
    assert_as_undisturbed(other, n);
    mb_free(other);
}

static void killed_anywhere(void **state) {
    (void)state;
    float *other;
    size_t n;
    const char *dir = scratch_path("killed");
    const int64_t die[] = {2, 5, 11};
    for (size_t i = 0; i < sizeof die / sizeof *die; i++) {
        fflush(NULL);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) { /* OpenMP of the parent is not used in the child: a program of its own */
            char number[16];
            snprintf(number, sizeof number, "%d", (int)die[i]);
            execl("/proc/self/exe", "test_train", "--train-in", dir, "--die-at", number, (char *)NULL);
            _exit(127);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    mb_err e = {0};
    mb_train_report r;
    setting s = usual(dir);
    s.resume = 1;
    if (train(&s, &r, &other, &n, &e) != MB_OK)
        fail_msg("%s", e.text);
    assert_as_undisturbed(other, n);
    mb_free(other);
}

static void a_changed_setting_is_refused(void **state) {
    (void)state;
    mb_err e = {0};
    mb_train_report r;
    const char *dir = scratch_path("fingerprint");
    setting s = usual(dir);
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_OK);
    s.resume = 1;
    s.fingerprint = "other";
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_USAGE);
    assert_non_null(strstr(e.text, "abc"));
}

/* ---- damage ---------------------------------------------------------------------------------------------------------
 */

static void spoil(const char *dir, const char *step, const char *file) {
    char *path = mb_asprintf("%s/checkpoints/%s/%s", dir, step, file);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 200, SEEK_SET), 0);
    assert_int_equal(fputc('#', f), '#');
    assert_int_equal(fclose(f), 0);
    mb_free(path);
}

static void a_spoilt_checkpoint_is_passed_over(void **state) {
    (void)state;
    float *other;
    size_t n;
    mb_err e = {0};
    mb_train_report r;
    const char *dir = scratch_path("spoilt");
    setting s = usual(dir);
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_OK);
    spoil(dir, "step-00000012", "model.safetensors");
    s.resume = 1;
    mb_log_set_level(MB_LOG_QUIET);
    assert_int_equal(train(&s, &r, &other, &n, &e), MB_OK);
    assert_as_undisturbed(other, n);
    mb_free(other);
}

static int is_there(const char *dir, const char *path) {
    char *whole = mb_asprintf("%s/checkpoints/%s", dir, path);
    const int found = mb_dir_exists(whole);
    mb_free(whole);
    return found;
}

/* It neither counts as one that is kept nor stays in the place of its step. */
static void a_damaged_checkpoint_costs_no_whole_one(void **state) {
    (void)state;
    float *other;
    size_t n;
    mb_err e = {0};
    mb_train_report r;
    const char *dir = scratch_path("damaged");
    setting s = usual(dir);
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_OK);
    spoil(dir, "step-00000012", "config.json");
    atomic_int stop = 1;
    s.resume = 1;
    s.stop = &stop;
    s.keep = 1;
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_STOPPED);
    mb_err_clear(&e);
    assert_int_equal(r.state.step, 10);
    assert_true(is_there(dir, "step-00000010") && is_there(dir, "damaged-step-00000012"));
    s.stop = NULL;
    assert_int_equal(train(&s, &r, &other, &n, &e), MB_OK);
    assert_as_undisturbed(other, n);
    assert_true(is_there(dir, "step-00000012"));
    mb_free(other);
}

static void rewrite_state(const char *dir, const char *step, const char *from, const char *to) {
    char *path = mb_asprintf("%s/checkpoints/%s/state.json", dir, step), *text;
    size_t size;
    mb_err e = {0};
    assert_int_equal(mb_file_read_all(path, 1 << 20, &text, &size, &e), MB_OK);
    char *at = strstr(text, from);
    assert_non_null(at);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
    assert_int_equal(fclose(f), 0);
    mb_free(path);
    mb_free(text);
}

/* Numbers that no run can have written. */
static void a_state_out_of_range_is_refused(void **state) {
    (void)state;
    static const char *const CASE[][2] = {{"\"step\": 2", "\"step\": 1000000"},
                                          {"\"updates\": 2", "\"updates\": -1"},
                                          {"\"updates\": 2", "\"update\": 2"},
                                          {"\"best_step\": 2", "\"best_step\": 3"},
                                          {"\"tokens\": ", "\"tokens\": 1e300, \"t\": "},
                                          {"\"version\": 1", "\"version\": 7"}};
    const char *dir = scratch_path("state");
    setting s = usual(dir);
    s.steps = 2;
    mb_err e = {0};
    mb_train_report r;
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_OK);
    s.resume = 1;
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        rewrite_state(dir, "step-00000002", CASE[i][0], CASE[i][1]);
        assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_FORMAT);
        assert_non_null(strstr(e.text, "state.json"));
        mb_err_clear(&e);
        rewrite_state(dir, "step-00000002", CASE[i][1], CASE[i][0]);
    }
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_OK);
}

static void checkpoints_in_the_way_are_refused(void **state) {
    (void)state;
    mb_err e = {0};
    mb_train_report r;
    mb_event_log *l = NULL;
    const char *dir = scratch_path("twice");
    setting s = usual(dir);
    s.steps = 2;
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_OK);
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_USAGE);
    mb_err_clear(&e);
    s.resume = 1;
    assert_int_equal(mb_event_log_open(&l, dir, 2, 0, &e), MB_OK); /* as another process would */
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_IO);
    assert_non_null(strstr(e.text, "another process"));
    mb_err_clear(&e);
    assert_int_equal(mb_event_log_close(l, &e), MB_OK);
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_OK);
}

static void all_spoilt_is_an_error(void **state) {
    (void)state;
    mb_err e = {0};
    mb_train_report r;
    const char *dir = scratch_path("all_spoilt");
    setting s = usual(dir);
    s.steps = 3;
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_OK);
    spoil(dir, "step-00000003", "state.safetensors");
    s.resume = 1;
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_FORMAT);
    assert_non_null(strstr(e.text, "state.safetensors"));
}

static void not_a_number_stops_with_its_place(void **state) {
    (void)state;
    mb_err e = {0};
    mb_train_report r;
    const char *dir = scratch_path("nan");
    setting s = usual(dir);
    s.poison = 7;
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_FAIL);
    assert_non_null(strstr(e.text, "step 7"));
    assert_non_null(strstr(e.text, "the batch: toy 7.1"));
    char *kept = mb_asprintf("%s/checkpoints/step-00000007/state.json", dir);
    assert_true(mb_file_exists(kept));
    mb_free(kept);
}

/* A limit on file sizes plays the full disk: the run fails, the checkpoints before are whole and serve. */
static void a_full_disk_harms_nothing(void **state) {
    (void)state;
    float *other;
    size_t n;
    mb_err e = {0};
    mb_train_report r;
    const char *dir = scratch_path("full");
    setting s = usual(dir);
    s.steps = 12;
    atomic_int stop = 1;
    s.stop = &stop;
    s.resume = 1;
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_STOPPED); /* step 1 is kept */
    mb_err_clear(&e);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 20000;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    s.stop = NULL;
    const int rc = train(&s, &r, NULL, NULL, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, MB_IO);
    assert_non_null(strstr(e.text, "checkpoint of step"));
    mb_err_clear(&e);
    assert_int_equal(train(&s, &r, &other, &n, &e), MB_OK);
    assert_as_undisturbed(other, n);
    mb_free(other);
}

static void patience_ends_it(void **state) {
    (void)state;
    mb_err e = {0};
    mb_train_report r;
    const char *dir = scratch_path("patience");
    setting s = usual(dir);
    s.steps = 40;
    s.patience = 2;
    s.worse = 1;
    assert_int_equal(train(&s, &r, NULL, NULL, &e), MB_OK);
    assert_int_equal(r.stopped_early, 1);
    assert_int_equal(r.state.step, 12); /* evaluations at 4 (the best), 8, 12 */
    assert_int_equal(r.state.best_step, 4);
    char *best = mb_checkpoint_path("", 4), *path = mb_asprintf("%s/checkpoints%s/model.safetensors", dir, best);
    assert_true(mb_file_exists(path)); /* kept although two newer ones are */
    mb_free(best);
    mb_free(path);
}

static void averaged_weights_survive(void **state) {
    (void)state;
    float *one, *other = NULL;
    size_t n;
    mb_train_report r;
    mb_err e = {0};
    const char *whole = scratch_path("average"), *dir = scratch_path("average_stopped");
    setting s = usual(whole);
    s.average = 0.9;
    assert_int_equal(train(&s, &r, &one, &n, &e), MB_OK);
    const double best = r.state.best;
    atomic_int stop = 1;
    s.dir = dir;
    s.resume = 1;
    s.stop = &stop;
    int rc = MB_STOPPED;
    while (rc == MB_STOPPED) {
        mb_err_clear(&e);
        mb_free(other);
        rc = train(&s, &r, &other, &n, &e);
        atomic_store(&stop, r.state.step < 5);
    }
    assert_int_equal(rc, MB_OK);
    assert_memory_equal(one, other, n * sizeof(float));
    assert_true(r.state.best == best);
    mb_free(one);
    mb_free(other);
}

/* ---- parts ----------------------------------------------------------------------------------------------------------
 */

static void schedules(void **state) {
    (void)state;
    mb_schedule s = {.kind = MB_SCHEDULE_COSINE, .peak = 1, .least = 0.1, .start = 0.2, .warmup = 10, .steps = 110};
    assert_true(fabs(mb_schedule_rate(&s, 0) - 0.2) < 1e-12);
    assert_true(fabs(mb_schedule_rate(&s, 5) - 0.6) < 1e-12);
    assert_true(fabs(mb_schedule_rate(&s, 10) - 1) < 1e-12);
    assert_true(fabs(mb_schedule_rate(&s, 60) - 0.55) < 1e-12);
    assert_true(fabs(mb_schedule_rate(&s, 110) - 0.1) < 1e-12);
    s.kind = MB_SCHEDULE_LINEAR;
    assert_true(fabs(mb_schedule_rate(&s, 35) - 0.775) < 1e-12);
    s.kind = MB_SCHEDULE_CONSTANT;
    assert_true(fabs(mb_schedule_rate(&s, 100) - 1) < 1e-12);
    s.kind = MB_SCHEDULE_WSD;
    s.decay = 20;
    assert_true(fabs(mb_schedule_rate(&s, 90) - 1) < 1e-12);
    assert_true(fabs(mb_schedule_rate(&s, 100) - 0.55) < 1e-12);
    assert_true(fabs(mb_schedule_rate(&s, 200) - 0.1) < 1e-12);
}

/* Three steps against the formula in double, with clipping and decay, one tensor frozen. */
static void optimizer_is_its_formula(void **state) {
    (void)state;
    enum { N = 70000 };
    float *w[2], *sum[2];
    double *want = mb_calloc(N, sizeof *want), *m = mb_calloc(N, sizeof *m), *v = mb_calloc(N, sizeof *v);
    mb_err e = {0};
    mb_trainable t[2];
    mb_rng r;
    mb_rng_init(&r, 3, 3);
    for (int i = 0; i < 2; i++) {
        w[i] = mb_calloc(N, sizeof(float));
        sum[i] = mb_calloc(N, sizeof(float));
        t[i] = (mb_trainable){.name = "x", .w = w[i], .sum = sum[i], .n = N, .decays = 1, .rate = i == 0};
    }
    for (int k = 0; k < N; k++)
        want[k] = (double)(w[0][k] = (float)mb_rng_normal(&r));
    mb_optimizer *o = NULL;
    const mb_optimizer_options oo = {.b1 = 0.9, .b2 = 0.99, .eps = 1e-8, .decay = 0.1, .clip = 0.5, .threads = 3};
    assert_int_equal(mb_optimizer_create(&o, mbk_ops_cpu(), t, 2, &oo, &e), MB_OK);
    for (int step = 1; step <= 3; step++) {
        double squares = 0, norm;
        double *g = mb_calloc(N, sizeof *g);
        for (int k = 0; k < N; k++) {
            sum[0][k] = (float)mb_rng_normal(&r) * (float)step;
            sum[1][k] = NAN; /* frozen: not looked at */
            g[k] = (double)sum[0][k] / 8;
            squares += g[k] * g[k];
        }
        const double clip = fmin(1, 0.5 / (sqrt(squares) + 1e-6)), rate = 1e-2 * step;
        for (int k = 0; k < N; k++) {
            m[k] = 0.9 * m[k] + 0.1 * g[k] * clip;
            v[k] = 0.99 * v[k] + 0.01 * g[k] * g[k] * clip * clip;
            want[k] *= 1 - rate * 0.1;
            want[k] -= rate * m[k] / (1 - pow(0.9, step)) / (sqrt(v[k] / (1 - pow(0.99, step))) + 1e-8);
        }
        assert_int_equal(mb_optimizer_step(o, rate, 8, &norm, &e), MB_OK);
        assert_true(fabs(norm - sqrt(squares)) < 1e-6 * norm);
        mb_free(g);
    }
    for (int k = 0; k < N; k++) {
        assert_true(fabs((double)w[0][k] - want[k]) < 2e-6);
        assert_true(w[1][k] == 0 && sum[0][k] == 0);
    }
    sum[0][5] = NAN;
    double norm;
    assert_int_equal(mb_optimizer_step(o, 1, 1, &norm, &e), MB_RANGE);
    mb_optimizer_destroy(o);
    for (int i = 0; i < 2; i++) {
        mb_free(w[i]);
        mb_free(sum[i]);
    }
    mb_free(want);
    mb_free(m);
    mb_free(v);
}

static void metrics_are_cut_back(void **state) {
    (void)state;
    mb_err e = {0};
    mb_event_log *l = NULL;
    const char *dir = scratch_path("metrics");
    char *path = mb_path_join(dir, "metrics.jsonl"), *text;
    size_t size;
    assert_int_equal(mkdir(dir, 0777), 0);
    assert_int_equal(mb_event_log_open(&l, dir, 0, 0, &e), MB_OK);
    for (int step = 1; step <= 5; step++) {
        const mb_event_value v[] = {{"loss", 1.0 / step, 0}, {"nothing", NAN, 0}, {"tokens", 7 * step, 1}};
        assert_int_equal(mb_event_log_write(l, step, "train", v, 3, &e), MB_OK);
    }
    assert_int_equal(mb_event_log_close(l, &e), MB_OK);
    FILE *f = fopen(path, "ab");
    assert_true(fputs("{\"step\": 6, \"kin", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(mb_event_log_open(&l, dir, 3, 0, &e), MB_OK);
    assert_int_equal(mb_event_log_close(l, &e), MB_OK);
    assert_int_equal(mb_file_read_all(path, 1 << 20, &text, &size, &e), MB_OK);
    int lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, 3);
    assert_non_null(strstr(text, "\"nothing\": null"));
    assert_non_null(strstr(text, "\"tokens\": 21"));
    assert_int_equal(mb_crc32c("123456789", 9), 0xe3069283U);
    mb_free(text);
    mb_free(path);
}

static int train_and_die(const char *dir, int64_t at) {
    mb_err e = {0};
    mb_train_report r;
    setting s = usual(dir);
    s.resume = 1;
    s.die = at;
    mb_log_set_level(MB_LOG_QUIET);
    return train(&s, &r, NULL, NULL, &e) == MB_OK ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "--train-in") == 0)
        return train_and_die(argv[2], atoi(argv[4]));
    mb_log_set_level(MB_LOG_QUIET);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_learns),
        cmocka_unit_test(same_bits_for_any_number_of_threads),
        cmocka_unit_test(stopped_after_every_step),
        cmocka_unit_test(killed_anywhere),
        cmocka_unit_test(a_changed_setting_is_refused),
        cmocka_unit_test(a_spoilt_checkpoint_is_passed_over),
        cmocka_unit_test(a_damaged_checkpoint_costs_no_whole_one),
        cmocka_unit_test(a_state_out_of_range_is_refused),
        cmocka_unit_test(checkpoints_in_the_way_are_refused),
        cmocka_unit_test(all_spoilt_is_an_error),
        cmocka_unit_test(not_a_number_stops_with_its_place),
        cmocka_unit_test(a_full_disk_harms_nothing),
        cmocka_unit_test(patience_ends_it),
        cmocka_unit_test(averaged_weights_survive),
        cmocka_unit_test(schedules),
        cmocka_unit_test(optimizer_is_its_formula),
        cmocka_unit_test(metrics_are_cut_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
