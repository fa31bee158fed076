/* Runs of a fine-tuning. See tuning.h. */
#include "genomics/tuning.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "genomics/kmer_bayes.h"

typedef struct tune { /* one run */
    dna_tuning *t;
    int fold;
    uint64_t seed;
    char *dir;
    int64_t n[3], *index[3];
    mb_gradient *g;
    mb_optimizer *o;
    dna_head head;
    float *weight;
    dna_finetune task;
    mb_train_report report;
} tune;

static int no_memory(mb_err *e) {
    return mb_fail(e, MB_NOMEM, "no memory for a run of fine-tuning");
}

/* ---- the machinery of a run -----------------------------------------------------------------------------------------
 */

static int equivariant(const dna_tuning *t) {
    return t->start.config.rcps;
}

int dna_tuning_is_directed(const dna_tuning *t) {
    return t->v->conjoin == DNA_CONJOIN_NO ||
           (t->v->conjoin == DNA_CONJOIN_AUTO && t->d.task == DNA_TASK_BASES && !equivariant(t));
}

int dna_tuning_gradient(const dna_tuning *t, uint64_t seed, mb_gradient **g, mb_err *e) {
    const mb_model_options mo = {.device = t->run->globals.device, .precision = (mbk_precision)t->v->precision};
    const mb_gradient_options go = {.threads = (int)t->run->globals.threads,
                                    .memory = t->run->globals.memory,
                                    .strands = dna_tuning_is_directed(t) && equivariant(t)};
    mb_params *p = NULL;
    int rc = t->start.weights ? mb_params_clone(&p, &t->start.config, t->start.params, e)
                              : mb_params_seed(&p, &t->start.config, seed, e);
    return rc == MB_OK ? mb_gradient_create(g, &t->start.config, p, &mo, &go, e) : rc;
}

/* Regression: targets of mean 0 and variance 1 on the training part. */
static void fit_scale(tune *r) {
    const dna_labelled *d = &r->t->d;
    for (int c = 0; d->task == DNA_TASK_REGRESSION && c < d->n_labels; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < r->n[0]; i++)
            sum += d->at[r->index[0][i]].value[c];
        const double mean = sum / (double)r->n[0];
        for (int64_t i = 0; i < r->n[0]; i++)
            squares += pow(d->at[r->index[0][i]].value[c] - mean, 2);
        const double scale = sqrt(squares / (double)r->n[0]);
        r->head.mean[c] = mean;
        r->head.scale[c] = scale > 0 && isfinite(scale) ? scale : 1;
    }
}

/* What each class or label counts in the training part; the sum over all is returned. */
static double count_labels(const tune *r, double *count) {
    const dna_labelled *d = &r->t->d;
    double all = 0;
    for (int64_t i = 0; i < r->n[0]; i++) {
        const dna_example *x = &d->at[r->index[0][i]];
        for (int64_t k = 0; x->base && k < x->length; k++)
            if (x->base[k] != DNA_UNLABELLED) {
                count[x->base[k]]++;
                all++;
            }
        for (int c = 0; x->value && c < d->n_labels; c++)
            count[c] += x->value[c];
        if (x->label >= 0)
            count[x->label]++;
        all += x->base ? 0 : 1;
    }
    return all;
}

/* class, bases: n / (C n_c); multi: (n - n_c) / n_c on the positive side. */
static int balance(tune *r, mb_err *e) {
    const int C = r->t->d.n_labels, multi = r->t->d.task == DNA_TASK_MULTI;
    if (r->t->v->class_weights == DNA_WEIGHTS_NONE || r->t->d.task == DNA_TASK_REGRESSION)
        return MB_OK;
    double *count = mb_calloc((size_t)C, sizeof *count);
    r->weight = mb_calloc((size_t)C, sizeof *r->weight);
    if (!count || !r->weight) {
        mb_free(count);
        return no_memory(e);
    }
    const double all = count_labels(r, count);
    for (int c = 0; c < C; c++)
        r->weight[c] = count[c] > 0 && (!multi || count[c] < all)
                           ? (float)(multi ? (all - count[c]) / count[c] : all / (C * count[c]))
                           : 1;
    mb_free(count);
    return MB_OK;
}

/* The language-model head learns nothing here, and must not decay where it is kept. */
static int is_lm_head(const mb_trainable *w) {
    return strncmp(w->name, "lm_head.", 8) == 0;
}

static int make_optimizer(tune *r, mb_err *e) {
    const dna_finetune_values *v = r->t->v;
    const int most = mb_model_trainables(r->g, 1, 1, NULL) + 2;
    mb_trainable *w = mb_calloc((size_t)most, sizeof *w);
    if (!w)
        return no_memory(e);
    int n = mb_model_trainables(r->g, 1, 1, w);
    for (int i = 0; i < n; i++)
        if (v->freeze || is_lm_head(&w[i]))
            w[i].rate = 0;
    const mb_pool_head *h = &r->head.pool;
    w[n] = (mb_trainable){.name = "score.weight",
                          .w = h->w,
                          .sum = h->w_sum,
                          .n = (int64_t)h->C * r->head.D,
                          .decays = 1,
                          .rate = v->head_rate};
    n++;
    if (h->b)
        w[n] = (mb_trainable){.name = "score.bias", .w = h->b, .sum = h->b_sum, .n = h->C, .rate = v->head_rate};
    n += h->b != NULL;
    const mb_optimizer_options o = {.b1 = 0.9,
                                    .b2 = 0.95,
                                    .eps = 1e-8,
                                    .decay = v->weight_decay,
                                    .clip = v->clip,
                                    .threads = (int)r->t->run->globals.threads};
    int rc = mb_optimizer_create(&r->o, mb_model_ops(mb_gradient_model(r->g)), w, n, &o, e);
    mb_free(w);
    return rc;
}

static int make_task(tune *r, mb_err *e) {
    const dna_tuning *t = r->t;
    r->head.conjoin = !dna_tuning_is_directed(t) && !equivariant(t);
    r->head.pool.given = dna_tuning_is_directed(t) && equivariant(t);
    r->task = (dna_finetune){.g = r->g,
                             .head = &r->head,
                             .d = &t->d,
                             .a = &t->alphabet,
                             .train = r->index[0],
                             .valid = r->index[1],
                             .n_train = r->n[0],
                             .n_valid = r->n[1],
                             .batch = t->v->batch,
                             .micro_batches = (int)t->v->micro_batches,
                             .reverse = t->v->reverse >= 0                            ? t->v->reverse
                                        : equivariant(t) || dna_tuning_is_directed(t) ? 0
                                                                                      : 0.5,
                             .masked = t->v->masked,
                             .seed = r->seed,
                             .weight = r->weight,
                             .frozen = t->v->freeze,
                             .judge = t->judge};
    return dna_finetune_init(&r->task, e);
}

static int open_run(tune *r, mb_err *e) {
    dna_tuning *t = r->t;
    dna_parts_list(&t->parts, r->fold < 0 ? 0 : r->fold, r->n);
    r->index[0] = t->parts.index;
    r->index[1] = r->index[0] + r->n[0];
    r->index[2] = r->index[1] + r->n[1];
    const int pooling = t->d.task == DNA_TASK_BASES ? MB_POOL_NONE : t->v->pooling;
    int rc = dna_tuning_gradient(t, r->seed, &r->g, e);
    if (rc == MB_OK)
        rc = dna_head_init(&r->head, t->d.task, pooling, t->d.label, t->d.n_labels, t->start.config.D, t->v->bias,
                           r->seed, e);
    if (rc == MB_OK) {
        fit_scale(r);
        rc = balance(r, e);
    }
    if (rc == MB_OK)
        rc = make_task(r, e);
    return rc == MB_OK ? make_optimizer(r, e) : rc;
}

static void close_run(tune *r) {
    dna_finetune_fini(&r->task);
    mb_optimizer_destroy(r->o);
    mb_gradient_destroy(r->g);
    dna_head_fini(&r->head);
    mb_free(r->weight);
    mb_free(r->dir);
}

/* ---- training -------------------------------------------------------------------------------------------------------
 */

/* All that decides the numbers of a run. */
static int fingerprint(const tune *r, char hex[65], mb_err *e) {
    const dna_finetune_values *v = r->t->v;
    char config[65];
    mb_sha256_hex(&r->t->start.config, sizeof r->t->start.config, config); /* numbers of four bytes, without gaps */
    char *text = mb_asprintf("3 model %s %s seed %" PRId64 " %" PRIu64 " data %s task %d parts %d %.17g %.17g %" PRId64
                             " %" PRId64 " %d head %d %d %d "
                             "%d epochs %" PRId64 " %" PRId64 " %" PRId64
                             " rate %.17g %.17g %.17g %.17g %d adam %.17g %.17g %.17g freeze %d masked %.17g "
                             "judge %s %" PRId64 " precision %d device %s",
                             config, r->t->weights, r->t->run->globals.seed, r->seed, r->t->data, r->t->d.task, r->fold,
                             v->valid_share, v->test_share, v->folds, v->shared, v->leaks, v->pooling, v->bias,
                             v->conjoin, v->class_weights, v->epochs, v->batch, v->micro_batches, v->rate,
                             v->rate_share, v->head_rate, v->warmup, v->schedule, v->weight_decay, v->clip, v->reverse,
                             v->freeze, v->masked, v->judge, v->patience, v->precision, r->t->run->globals.device);
    if (!text)
        return no_memory(e);
    mb_sha256_hex(text, strlen(text), hex);
    mb_free(text);
    return MB_OK;
}

static int train(tune *r, mb_err *e) {
    const dna_finetune_values *v = r->t->v;
    char hex[65];
    const int64_t epoch = dna_finetune_epoch_steps(&r->task), steps = v->epochs * epoch;
    const double left = 60 * v->max_minutes - (mb_clock_seconds() - r->t->start_time);
    int rc = fingerprint(r, hex, e);
    const mb_train_options o = {.dir = r->dir,
                                .schedule = {.kind = v->schedule,
                                             .peak = v->rate,
                                             .least = v->rate * v->rate_share,
                                             .warmup = (int64_t)ceil(v->warmup * (double)steps),
                                             .decay = steps / 10,
                                             .steps = steps},
                                .micro_batches = (int)v->micro_batches,
                                .log_every = v->log_every,
                                .evaluate_every = epoch,
                                .save_every = v->save_every,
                                .keep = (int)v->keep,
                                .patience = v->patience,
                                .max_seconds = v->max_minutes > 0 ? (left > 1e-3 ? left : 1e-3) : 0,
                                .resume = v->resume == 0,
                                .tensorboard = v->tensorboard,
                                .fingerprint = hex,
                                .stop = mb_cli_stop()};
    const mb_train_task task = dna_finetune_task(&r->task);
    if (rc == MB_OK)
        rc = mb_train_run(r->g, r->o, &task, &o, &r->report, e);
    const mb_train_state *s = &r->report.state;
    if (rc == MB_OK && s->best_step >= 0 && s->best_step != s->step) {
        mb_train_state best = {0};
        char *dir = mb_path_join(r->dir, "checkpoints");
        rc = dir ? mb_checkpoint_load(dir, s->best_step, r->g, r->o, &best, e) : no_memory(e);
        mb_free(dir);
    }
    return rc;
}

/* ---- what it comes to -----------------------------------------------------------------------------------------------
 */

static int64_t units_of(const dna_tuning *t, const int64_t *index, int64_t n) {
    int64_t units = n;
    for (int64_t i = 0; t->d.task == DNA_TASK_BASES && i < n; i++)
        units += t->d.at[index[i]].length - 1;
    return units;
}

/* k-mer naive Bayes trained on the same part; k by accuracy on the held-out one. */
static int train_floor(const tune *r, int k, const int64_t *index, int64_t n, double *p, mb_err *e) {
    dna_kmer_bayes *b = NULL;
    const dna_labelled *d = &r->t->d;
    int rc = dna_kmer_bayes_train(&b, d, &r->t->alphabet, r->index[0], r->n[0], k, dna_tuning_is_directed(r->t) ? 1 : 2,
                                  1, e);
    for (int64_t i = 0; rc == MB_OK && i < n; i++)
        dna_kmer_bayes_predict(b, d->at[index[i]].token, d->at[index[i]].length, p + i * d->n_labels);
    dna_kmer_bayes_free(b);
    return rc;
}

static int64_t hits(const tune *r, const int64_t *index, int64_t n, const double *p) {
    const int C = r->t->d.n_labels;
    int64_t good = 0;
    for (int64_t i = 0; i < n; i++) {
        int best = 0;
        for (int c = 1; c < C; c++)
            best = p[i * C + c] > p[i * C + best] ? c : best;
        good += best == r->t->d.at[index[i]].label;
    }
    return good;
}

static int choose_k(const tune *r, mb_err *e) {
    enum { LEAST = 3, MOST = 6, WITHOUT = 5 };
    int rc = MB_OK, best = WITHOUT;
    int64_t most = -1;
    if (r->t->v->kmer > 0)
        return (int)r->t->v->kmer;
    double *p = mb_calloc((size_t)(r->n[1] * r->t->d.n_labels) + 1, sizeof *p);
    if (!p)
        return no_memory(e);
    for (int k = LEAST; rc == MB_OK && r->n[1] > 0 && k <= MOST; k++) {
        rc = train_floor(r, k, r->index[1], r->n[1], p, e);
        const int64_t good = rc == MB_OK ? hits(r, r->index[1], r->n[1], p) : 0;
        if (good > most) {
            most = good;
            best = k;
        }
    }
    mb_free(p);
    return rc == MB_OK ? best : rc;
}

static int measure_floor(tune *r, mb_err *e) {
    dna_tuning *t = r->t;
    if (t->d.task != DNA_TASK_CLASS)
        return MB_OK;
    if (t->k == 0)
        t->k = choose_k(r, e);
    return t->k < 0 ? t->k
                    : train_floor(r, t->k, r->index[2], r->n[2], t->floor_answer + t->n_tested * t->d.n_labels, e);
}

static dna_metrics_options measuring(const dna_tuning *t, int intervals) {
    return (dna_metrics_options){.seed = (uint64_t)t->run->globals.seed,
                                 .resamples = intervals ? (int)t->v->resamples : 0,
                                 .level = t->v->level,
                                 .threads = (int)t->run->globals.threads};
}

/* Answers of the test part; those of the first seed are kept. */
static int test(tune *r, dna_report_run *out, mb_err *e) {
    dna_tuning *t = r->t;
    double *answer = NULL;
    dna_metrics m = {0};
    const mb_forward_options fo = {
        .threads = (int)t->run->globals.threads, .memory = t->run->globals.memory, .stop = mb_cli_stop()};
    const dna_metrics_options mo = measuring(t, 0);
    if (r->n[2] == 0)
        return MB_OK;
    int rc = dna_answers(&answer, &r->head, mb_gradient_model(r->g), &t->alphabet, &t->d, r->index[2], r->n[2], &fo, e);
    if (rc == MB_OK)
        rc = dna_measure(&m, &t->d, r->index[2], r->n[2], answer, &mo, e);
    if (rc == MB_OK && !(out->value = mb_calloc((size_t)m.n, sizeof *out->value)))
        rc = no_memory(e);
    for (int i = 0; rc == MB_OK && i < m.n; i++)
        out->value[i] = m.at[i].value;
    if (rc == MB_OK && r->seed == (uint64_t)t->run->globals.seed) {
        rc = measure_floor(r, e);
        const int64_t units = units_of(t, r->index[2], r->n[2]);
        memcpy(t->answer + t->n_units * t->d.n_labels, answer, (size_t)(units * t->d.n_labels) * sizeof *answer);
        for (int64_t i = 0; i < r->n[2]; i++) {
            t->tested[t->n_tested + i] = r->index[2][i];
            t->fold[t->n_tested + i] = r->fold;
        }
        t->n_tested += r->n[2];
        t->n_units += units;
    }
    dna_metrics_fini(&m);
    mb_free(answer);
    return rc;
}

static int run_one(dna_tuning *t, int fold, int64_t seed, dna_report_run *out, mb_err *e) {
    tune r = {.t = t, .fold = fold, .seed = (uint64_t)seed};
    const int many = t->n_runs > 1;
    r.dir = many ? mb_asprintf("%s/fold-%d-seed-%" PRId64, t->v->output, fold < 0 ? 0 : fold, seed)
                 : mb_strdup(t->v->output);
    int rc = r.dir ? open_run(&r, e) : no_memory(e);
    if (rc == MB_OK && many)
        mb_info("fold %d, seed %" PRId64 ": %" PRId64 " examples to train on, %" PRId64 " held out, %" PRId64
                " to test",
                fold, seed, r.n[0], r.n[1], r.n[2]);
    if (rc == MB_OK)
        rc = train(&r, e);
    if (rc == MB_OK)
        rc = dna_head_save(&r.head, mb_model_params(mb_gradient_model(r.g)), &t->start.config, r.dir, e);
    *out = (dna_report_run){.fold = fold,
                            .seed = seed,
                            .train = r.n[0],
                            .valid = r.n[1],
                            .test = r.n[2],
                            .best_step = r.report.state.best_step,
                            .seconds = r.report.seconds};
    if (rc == MB_OK)
        rc = test(&r, out, e);
    close_run(&r);
    return rc;
}

static double majority(const dna_tuning *t) {
    const int64_t n = t->n_tested;
    int64_t good = 0, n3[3];
    if (t->d.task != DNA_TASK_CLASS || n == 0)
        return NAN;
    for (int64_t i = 0; i < n;) { /* fold by fold: the commonest class of what it was trained on */
        int64_t best = 0, most = -1;
        const int fold = t->fold[i];
        dna_parts_list(&t->parts, fold < 0 ? 0 : fold, n3);
        for (int c = 0; c < t->d.n_labels; c++) {
            int64_t of = 0;
            for (int64_t k = 0; k < n3[0]; k++)
                of += t->d.at[t->parts.index[k]].label == c;
            if (of > most) {
                most = of;
                best = c;
            }
        }
        for (; i < n && t->fold[i] == fold; i++)
            good += t->d.at[t->tested[i]].label == best;
    }
    return (double)good / (double)n;
}

static int make_room(dna_tuning *t, mb_err *e) {
    const size_t n = (size_t)t->d.n, C = (size_t)t->d.n_labels;
    const int folds = t->v->folds > 0 ? (int)t->v->folds : 1;
    const size_t units = t->d.task == DNA_TASK_BASES ? (size_t)t->d.n_bases : n;
    t->n_runs = folds * (int)t->v->seeds;
    t->runs = mb_calloc((size_t)t->n_runs, sizeof *t->runs);
    t->tested = mb_calloc(n, sizeof *t->tested);
    t->fold = mb_calloc(n, sizeof *t->fold);
    t->answer = mb_calloc(units * C, sizeof *t->answer);
    t->floor_answer = mb_calloc(n * C, sizeof *t->floor_answer);
    return t->runs && t->tested && t->fold && t->answer && t->floor_answer ? MB_OK : no_memory(e);
}

int dna_tuning_run(dna_tuning *t, mb_err *e) {
    const int folds = t->v->folds > 0 ? (int)t->v->folds : 1;
    const dna_metrics_options mo = measuring(t, 1);
    t->start_time = mb_clock_seconds();
    int rc = make_room(t, e);
    if (rc == MB_OK && mkdir(t->v->output, 0777) != 0 && errno != EEXIST)
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be made", t->v->output);
    for (int i = 0; rc == MB_OK && i < t->n_runs; i++)
        rc = run_one(t, t->v->folds > 0 ? i % folds : -1, t->run->globals.seed + i / folds, &t->runs[i], e);
    if (rc == MB_OK && t->n_tested > 0)
        rc = dna_measure(&t->metrics, &t->d, t->tested, t->n_tested, t->answer, &mo, e);
    if (rc == MB_OK && t->n_tested > 0 && t->k > 0)
        rc = dna_measure(&t->floor, &t->d, t->tested, t->n_tested, t->floor_answer, &mo, e);
    t->majority = majority(t);
    return rc;
}

void dna_tuning_fini(dna_tuning *t) {
    for (int i = 0; t->runs && i < t->n_runs; i++)
        mb_free(t->runs[i].value);
    mb_free(t->runs);
    mb_free(t->tested);
    mb_free(t->fold);
    mb_free(t->answer);
    mb_free(t->floor_answer);
    dna_metrics_fini(&t->metrics);
    dna_metrics_fini(&t->floor);
    dna_parts_fini(&t->parts);
    dna_labelled_fini(&t->d);
    dna_text_fini(&t->said);
    dna_start_fini(&t->start);
}
