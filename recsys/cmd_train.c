/* recmamba train: a recommender from a log of events. This file: the order of the work, what is checked before it
 * begins, what is written after it. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "recsys/commands.h"
#include "recsys/fit.h"
#include "recsys/items.h"
#include "recsys/outcome.h"
#include "recsys/start.h"
#include "recsys/train_page.h"
#include "recsys/train_values.h"

enum { PART_ROWS = 65536 }; /* of a micro-batch, about, when the user does not say */

typedef struct job {
    mb_run *run;
    rec_train_values *v;
    rec_log *log;
    rec_split split;
    rec_start start;
    rec_batches *batches;
    mb_gradient *g;
    mb_optimizer *optimizer;
    rec_fit fit;
    int64_t steps, evaluate_every, save_every, patience;
    char fingerprint[65];
} job;

/* ---- data -----------------------------------------------------------------------------------------------------------
 */

static int check_values(const job *j, mb_err *e) {
    const rec_train_values *v = j->v;
    if (!v->output)
        return mb_fail(e, MB_USAGE, "where to? -o FOLDER");
    if (v->overlap > 0 && (v->window == 0 || v->overlap >= v->window))
        return mb_fail(e, MB_USAGE, "--overlap %" PRId64 " must be less than --window", v->overlap);
    if (v->overlap > 0 && v->mode == REC_WINDOWS)
        return mb_fail(e, MB_USAGE, "--overlap is of --mode positions: windows overlap anyway");
    if (v->negatives > 0 && v->loss == REC_LOSS_SOFTMAX)
        return mb_fail(e, MB_USAGE, "--negatives %" PRId64 ": the softmax is over all items; take another --loss",
                       v->negatives);
    if (v->schedule != 2 && v->rate_least > v->rate)
        return mb_fail(e, MB_USAGE, "--rate-least %g is more than --rate %g: the rate would rise", v->rate_least,
                       v->rate);
    if (v->epochs == 0 && v->steps == 0)
        return mb_fail(e, MB_USAGE, "how long? --epochs or --steps");
    return MB_OK;
}

static int load_log(job *j, mb_err *e) {
    rec_load_prepare(&j->v->load, j->run);
    int rc = rec_log_load(&j->log, j->run->args, j->run->nargs, &j->v->load, e);
    if (rc == MB_OK)
        rc = rec_split_make(&j->split, j->log, &j->v->split, j->v->load.time_scale, e);
    return rc;
}

static int make_start(job *j, mb_err *e) {
    const rec_start_options o = {.model = j->v->model,
                                 .window = j->v->window,
                                 .seed = (uint64_t)j->run->globals.seed,
                                 .dropout = j->v->dropout,
                                 .mamba_init = j->v->init,
                                 .always_residual = j->v->residual};
    return rec_start_make(&j->start, j->log, &o, e);
}

static int64_t steps_of(double epochs, int64_t epoch_steps) {
    const double steps = round(epochs * (double)epoch_steps);
    return epochs <= 0 ? 0 : steps < 1 ? 1 : steps > 1e15 ? (int64_t)1e15 : (int64_t)steps;
}

static int make_batches(job *j, mb_err *e) {
    const rec_train_values *v = j->v;
    rec_batches_options o = {.mode = v->mode,
                             .window = v->window,
                             .overlap = v->overlap,
                             .batch = v->batch,
                             .batch_positions = v->batch_positions,
                             .seed = (uint64_t)j->run->globals.seed,
                             .negatives = v->negatives > 0 ? (int)v->negatives : rec_loss_negatives(v->loss),
                             .draw = v->draw};
    rec_loss_draws(v->loss, &o);
    int rc = rec_batches_create(&j->batches, j->log, &j->split, &o, e);
    if (rc != MB_OK)
        return rc;
    const int64_t epoch = j->batches->steps;
    j->steps = v->steps > 0 ? v->steps : steps_of((double)v->epochs, epoch);
    j->evaluate_every = steps_of(v->evaluate_every, epoch);
    j->save_every = steps_of(v->save_every, epoch);
    j->patience = v->patience > 0 ? v->patience + v->early_stop : 0;
    if (j->split.valid == 0 && v->patience > 0)
        mb_info("no validation events: nothing to judge by, so all %" PRId64 " steps are run", j->steps);
    if (j->split.valid == 0)
        j->patience = 0;
    return MB_OK;
}

/* ---- the machinery --------------------------------------------------------------------------------------------------
 */

static int parts(const job *j) {
    const rec_batches *b = j->batches;
    const double rows = (double)b->rows / (double)b->n * (double)b->batch;
    return j->v->micro_batches > 0 ? (int)j->v->micro_batches : (int)ceil(rows / PART_ROWS);
}

static int make_optimizer(job *j, mb_err *e) {
    const rec_train_values *v = j->v;
    const mb_optimizer_options o = {.b1 = v->beta1,
                                    .b2 = v->beta2,
                                    .eps = v->epsilon,
                                    .decay = v->weight_decay,
                                    .clip = v->clip,
                                    .average = v->average,
                                    .threads = (int)j->run->globals.threads};
    return mb_optimizer_of_model(&j->optimizer, j->g, 0, &o, e);
}

static int make_trainer(job *j, mb_err *e) {
    const rec_train_values *v = j->v;
    const mb_model_options mo = {.device = j->run->globals.device, .precision = (mbk_precision)v->precision};
    /* weights, as kernels want them forth and back; gradients; moments and average */
    const int64_t copies = 6 + (v->average > 0), weights = mb_params_count(&j->start.config) * (int64_t)sizeof(float);
    const int64_t left = j->run->globals.memory - (int64_t)rec_batches_bytes(j->batches) - copies * weights;
    const mb_gradient_options go = {.threads = (int)j->run->globals.threads, .memory = left > 1 ? left : 1};
    mb_params *params = j->start.params;
    j->start.params = NULL;
    int rc = mb_gradient_create(&j->g, &j->start.config, params, &mo, &go, e);
    if (rc == MB_OK)
        rc = make_optimizer(j, e);
    if (rc != MB_OK)
        return rc;
    j->fit = (rec_fit){.g = j->g,
                       .batches = j->batches,
                       .micro_batches = parts(j),
                       .dropout = j->start.config.dropout,
                       .objective = rec_loss_objective(v->loss, j->batches->o.negatives, rec_log_view(j->log)->n_items,
                                                       v->pad_in_softmax, v->gbce_t),
                       .log = j->log,
                       .split = &j->split,
                       .judge = v->judge,
                       .rounded = v->early_stop,
                       .window = v->window,
                       .memory = go.memory};
    return rec_fit_init(&j->fit, e);
}

/* All that decides the numbers, and nothing else: not the threads, the folder, or how often something is printed. */
static int take_fingerprint(job *j, mb_err *e) {
    const rec_train_values *v = j->v;
    char digest[65] = "", config[65];
    int rc = j->start.weights ? mb_file_sha256(j->start.weights, digest, e) : MB_OK;
    if (rc != MB_OK)
        return rc;
    mb_sha256_hex(&j->start.config, sizeof j->start.config, config); /* numbers of four bytes, without gaps */
    char *text = mb_asprintf(
        "1 model %s %s seed %" PRId64 " split %s mode %d window %" PRId64 " %" PRId64 " batch %" PRId64
        " %d loss %d %d %d %d %.17g steps %" PRId64
        " rate %.17g %.17g %.17g %d adam %.17g %.17g %.17g %.17g %.17g %.17g"
        " precision %d device %s evaluation %" PRId64 " %" PRId64 " %d %d",
        config, digest, j->run->globals.seed, j->split.fingerprint, v->mode, v->window, v->overlap, j->batches->batch,
        j->fit.micro_batches, v->loss, v->pad_in_softmax, j->batches->o.negatives, v->draw, v->gbce_t, j->steps,
        v->rate, v->rate_least, v->warmup, v->schedule, v->beta1, v->beta2, v->epsilon, v->weight_decay, v->clip,
        v->average, v->precision, j->run->globals.device, j->evaluate_every, j->patience, v->early_stop, v->judge);
    if (!text)
        return mb_fail(e, MB_NOMEM, "no memory for the digest of the settings");
    mb_sha256_hex(text, strlen(text), j->fingerprint);
    mb_free(text);
    return MB_OK;
}

static mb_train_options train_options(const job *j) {
    static const int KIND[] = {MB_SCHEDULE_COSINE, MB_SCHEDULE_LINEAR, MB_SCHEDULE_CONSTANT};
    const rec_train_values *v = j->v;
    return (mb_train_options){.dir = v->output,
                              .schedule = {.kind = KIND[v->schedule],
                                           .peak = v->rate,
                                           .least = v->rate_least,
                                           .warmup = (int64_t)llround(v->warmup * (double)j->steps),
                                           .steps = j->steps},
                              .micro_batches = j->fit.micro_batches,
                              .log_every = v->log_every,
                              .evaluate_every = j->evaluate_every,
                              .save_every = j->save_every,
                              .keep = (int)v->keep,
                              .patience = j->patience,
                              .equal_is_better = v->early_stop,
                              .stop_loss = v->stop_loss,
                              .max_seconds = 60 * v->max_minutes,
                              .resume = v->resume == 0,
                              .tensorboard = v->tensorboard,
                              .fingerprint = j->fingerprint,
                              .stop = mb_cli_stop()};
}

/* ---- before ---------------------------------------------------------------------------------------------------------
 */

/* What the first part of the first step takes; warns when that is more than --memory leaves. */
static int plan_first(job *j, mb_gradient_plan *plan, mb_err *e) {
    char has[32], needs[32];
    rec_batch *b = &j->fit.batch;
    int rc = rec_batches_fill(j->batches, 0, 0, j->fit.micro_batches, b, e);
    if (rc == MB_OK && b->n > 0)
        rc = mb_gradient_plan_make(j->g, b->length, b->n, plan, e);
    if (rc == MB_OK && plan->least > j->fit.memory)
        mb_warn("--memory %s is less than the weights, the optimiser and the %s that the activations of a step need; "
                "that is taken all the same (more --micro-batches need less)",
                mb_human_bytes((double)j->run->globals.memory, has), mb_human_bytes((double)plan->least, needs));
    return rc;
}

static int print_plan(job *j, mb_err *e) {
    char a[32], b[32], c[32];
    const rec_view *v = rec_log_view(j->log);
    mb_gradient_plan plan = {0};
    int rc = plan_first(j, &plan, e);
    if (rc != MB_OK)
        return rc;
    printf("model        %s, %" PRId64 " parameters\n", j->v->model, mb_params_count(&j->start.config));
    printf("log          %d users, %d items, %" PRId64 " events\n", v->n_users, v->n_items, v->n_events);
    printf("split        %" PRId64 " training, %" PRId64 " validation, %" PRId64 " test events; fingerprint %s\n",
           j->split.train, j->split.valid, j->split.test, j->split.fingerprint);
    printf("epoch        %" PRId64 " windows (longest %" PRId64 "), %" PRId64 " events read, %" PRId64 " targets\n",
           j->batches->n, j->batches->longest, j->batches->rows, j->batches->targets);
    printf("step         %" PRId64 " windows in %d parts; %" PRId64 " steps an epoch; %" PRId64 " steps in all\n",
           j->batches->batch, j->fit.micro_batches, j->batches->steps, j->steps);
    printf("memory       weights, gradients, optimiser %s; batches %s; activations %s\n",
           mb_human_bytes((double)(mb_optimizer_bytes(j->optimizer) + mb_model_bytes(mb_gradient_model(j->g)) +
                                   (size_t)mb_params_count(&j->start.config) * sizeof(float)),
                          a),
           mb_human_bytes((double)rec_batches_bytes(j->batches), b), mb_human_bytes((double)plan.bytes, c));
    printf("output       %s (dry run: nothing was written)\n", j->v->output);
    return MB_OK;
}

static rec_id item_name(const void *user, int32_t item) {
    return rec_log_item_id(user, item);
}

/* What cannot be written in the end is found out in the beginning. */
static int write_beginning(const job *j, mb_err *e) {
    char *config = mb_path_join(j->v->output, "config.json"), *items = mb_path_join(j->v->output, "items.txt");
    int rc = config && items ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK && mkdir(j->v->output, 0777) != 0 && errno != EEXIST)
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be made", j->v->output);
    if (rc == MB_OK)
        rc = mb_config_write(&j->start.config, config, e);
    if (rc == MB_OK)
        rc = rec_items_write(items, rec_log_view(j->log)->n_items, item_name, j->log, e);
    if (rc == MB_OK)
        rc = rec_model_write_rule(j->v->output, j->v->window, e);
    mb_free(config);
    mb_free(items);
    return rc;
}

/* ---- after ----------------------------------------------------------------------------------------------------------
 */

static int judge(const job *j, rec_outcome *outcome, mb_err *e) {
    const rec_outcome_options o = {.threads = (int)j->run->globals.threads,
                                   .memory = j->fit.memory,
                                   .floors = j->v->floors,
                                   .stop = mb_cli_stop()};
    const rec_scorer s = rec_model_scorer(j->fit.model);
    return rec_outcome_make(outcome, j->log, &j->split, &s, &o, e);
}

static int note(const job *j, const mb_train_report *r, const rec_outcome *outcome, mb_provenance *p, mb_err *e) {
    int rc = mb_provenance_note(p, "split", j->split.fingerprint);
    if (rc == MB_OK)
        rc = mb_provenance_note(p, "items", rec_log_items_digest(j->log));
    const double number[] = {(double)r->state.step, (double)r->state.tokens, (double)r->state.best_step};
    static const char *const NAME[] = {"steps", "events_read", "best_step"};
    for (int i = 0; rc == MB_OK && i < 2 + (r->state.best_step >= 0); i++)
        rc = mb_provenance_number(p, NAME[i], number[i]);
    return rc == MB_OK ? rec_outcome_note(outcome, p, e) : mb_fail(e, rc, "no memory for the record of the run");
}

static int finish(job *j, const mb_train_report *r, mb_provenance *p, mb_err *e) {
    rec_outcome outcome = {0};
    char *weights = mb_path_join(j->v->output, "model.safetensors"), *record = mb_path_join(j->v->output, "run.json");
    int rc = weights && record ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = mb_train_take_best(j->g, j->optimizer, j->v->output, r, e);
    if (rc == MB_OK)
        rc = mb_params_save(mb_model_params(mb_gradient_model(j->g)), &j->start.config, weights, e);
    if (rc == MB_OK)
        rc = judge(j, &outcome, e);
    if (rc == MB_OK)
        rc = rec_note_inputs(p, j->run->args, j->run->nargs, &j->v->load, e);
    if (rc == MB_OK && j->start.weights)
        rc = mb_provenance_file(p, "model", j->start.weights, e);
    if (rc == MB_OK)
        rc = mb_provenance_file(p, "output", weights, e);
    if (rc == MB_OK)
        rc = note(j, r, &outcome, p, e);
    if (rc == MB_OK)
        rc = rec_train_page(j->v->output, rec_fit_task(&j->fit).judge, &j->split, &outcome, p, e);
    if (rc == MB_OK)
        rc = mb_provenance_write(p, record, e);
    if (rc == MB_OK)
        rec_outcome_print(&outcome, &j->split, stdout);
    mb_free(weights);
    mb_free(record);
    return rc;
}

static int train(job *j, mb_err *e) {
    mb_provenance *p = NULL;
    mb_train_report report = {0};
    const mb_train_options o = train_options(j);
    const mb_train_task task = rec_fit_task(&j->fit);
    mb_gradient_plan plan = {0};
    int rc = plan_first(j, &plan, e);
    if (rc == MB_OK)
        rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = write_beginning(j, e);
    if (rc == MB_OK)
        rc = mb_train_run(j->g, j->optimizer, &task, &o, &report, e);
    if (rc == MB_OK && report.stopped_early)
        mb_info("no better evaluation for %" PRId64 " times: ended after step %" PRId64, j->patience,
                report.state.step);
    if (rc == MB_OK)
        rc = finish(j, &report, p, e);
    if (rc == MB_OK && report.state.best_step >= 0)
        mb_info("%s holds the weights of step %" PRId64, j->v->output, report.state.best_step);
    mb_provenance_free(p);
    return rc;
}

static void fini(job *j) {
    rec_fit_fini(&j->fit);
    mb_optimizer_destroy(j->optimizer);
    mb_gradient_destroy(j->g);
    rec_batches_destroy(j->batches);
    rec_start_fini(&j->start);
    rec_split_free(&j->split);
    rec_log_close(j->log);
}

static int run_train(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    int rc = check_values(&j, e);
    if (rc == MB_OK)
        rc = load_log(&j, e);
    if (rc == MB_OK)
        rc = make_start(&j, e);
    if (rc == MB_OK)
        rc = make_batches(&j, e);
    if (rc == MB_OK)
        rc = make_trainer(&j, e);
    if (rc == MB_OK)
        rc = take_fingerprint(&j, e);
    if (rc == MB_OK)
        rc = mb_train_check_folder(j.v->output, j.v->resume == 0, j.fingerprint, e);
    if (rc == MB_OK)
        rc = run->globals.dry_run ? print_plan(&j, e) : train(&j, e);
    fini(&j);
    return rc;
}

const mb_verb rec_train_verb = {.name = "train",
                                .summary = "train a recommender on a log of events",
                                .usage = "LOG... -o FOLDER [-m PRESET|CONFIG|FOLDER] [options]",
                                .details = rec_train_details,
                                .options = rec_train_options,
                                .values_size = sizeof(rec_train_values),
                                .min_args = 1,
                                .max_args = -1,
                                .run = run_train};
