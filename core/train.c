/* The training loop. See train.h. */
#include "core/train.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/event_log.h"
#include "core/file.h"
#include "core/log.h"
#include "core/model_internal.h"

typedef struct run {
    mb_gradient *g;
    mb_optimizer *o;
    const mb_train_task *task;
    const mb_train_options *opt;
    mb_train_report *report;
    mb_train_state s;
    mb_event_log *log;
    mb_progress *progress;
    char *checkpoints;
    mb_train_sums window; /* since the last line of metrics */
    double norms;         /* sum of the gradients' norms in the window */
    int64_t window_steps;
    double window_start, start;
    int saved; /* the state at hand is in a checkpoint */
} run;

static double per_weight(const mb_train_sums *s) {
    return s->weight > 0 ? s->loss / s->weight : NAN;
}

static double share_of_hits(const mb_train_sums *s) {
    return s->positions > 0 ? (double)s->hits / (double)s->positions : NAN;
}

static void add_sums(mb_train_sums *to, const mb_train_sums *more) {
    to->loss += more->loss;
    to->weight += more->weight;
    to->positions += more->positions;
    to->hits += more->hits;
    to->tokens += more->tokens;
}

/* ---- checkpoints ----------------------------------------------------------------------------------------------------
 */

static int save(run *r, mb_err *e) {
    if (r->saved)
        return MB_OK;
    int rc = mb_event_log_sync(r->log, e);
    if (rc == MB_OK)
        rc = mb_checkpoint_save(r->checkpoints, r->g, r->o, &r->s, e);
    if (rc != MB_OK)
        return rc;
    r->saved = 1;
    mb_err why = {0}; /* someone may be reading an old one: no reason to end */
    if (mb_checkpoint_prune(r->checkpoints, r->opt->keep, r->s.best_step, &why) != MB_OK)
        mb_warn("an old checkpoint stays: %s", why.text);
    return MB_OK;
}

/* ---- evaluation -----------------------------------------------------------------------------------------------------
 */

static int with_average(run *r, int (*what)(run *, mb_train_sums *, mb_err *), mb_train_sums *sums, mb_err *e) {
    if (!mb_optimizer_average(r->o))
        return what(r, sums, e);
    mb_optimizer_swap_average(r->o);
    int rc = mb_gradient_refresh(r->g, e);
    if (rc == MB_OK)
        rc = what(r, sums, e);
    mb_optimizer_swap_average(r->o);
    const int back = mb_gradient_refresh(r->g, e);
    return rc == MB_OK ? back : rc;
}

static int evaluate_now(run *r, mb_train_sums *sums, mb_err *e) {
    return r->task->evaluate(r->task->user, sums, e);
}

static int write_evaluation(run *r, const mb_train_sums *sums, int better, mb_err *e) {
    const double loss = per_weight(sums);
    const mb_event_value v[] = {{"loss", loss, 0},
                                {"perplexity", exp(loss), 0},
                                {"accuracy", share_of_hits(sums), 0},
                                {"bits_per_base", loss / M_LN2, 0},
                                {"positions", (double)sums->positions, 1},
                                {"best", better, 1},
                                {r->task->judge, sums->figure, 0}};
    const int n = (int)(sizeof v / sizeof *v) - !r->task->judge;
    if (r->task->judge)
        mb_info("step %lld: held-out %s %.4f", (long long)r->s.step, r->task->judge, sums->figure);
    if (r->task->judge && isnan(sums->figure))
        mb_warn("step %lld: %s is not defined on what is held out (one class only? one answer only?): these weights "
                "cannot become the best",
                (long long)r->s.step, r->task->judge);
    mb_info("step %lld: held-out loss %.5f (%.4f bits), accuracy %.4f%s", (long long)r->s.step, loss, loss / M_LN2,
            share_of_hits(sums), better ? ", the best so far" : "");
    return mb_event_log_write(r->log, r->s.step, "valid", v, n, e);
}

/* *enough: patience has run out. */
static int evaluate(run *r, int *enough, mb_err *e) {
    mb_train_sums sums = {0};
    int rc = with_average(r, evaluate_now, &sums, e);
    if (rc != MB_OK)
        return mb_err_context(e, "evaluating after step %lld", (long long)r->s.step);
    const double judged = r->task->judge ? -sums.figure : per_weight(&sums);
    const int better = isfinite(judged) &&
                       (r->s.best_step < 0 || judged < r->s.best || (r->opt->equal_is_better && judged == r->s.best));
    r->s.evaluations++;
    r->s.bad_evaluations = better ? 0 : r->s.bad_evaluations + 1;
    if (better) {
        r->s.best = judged;
        r->s.best_step = r->s.step;
    }
    *enough = r->opt->patience > 0 && r->s.bad_evaluations >= r->opt->patience;
    r->saved = 0;
    rc = write_evaluation(r, &sums, better, e);
    return rc == MB_OK && better ? save(r, e) : rc;
}

/* ---- a step ---------------------------------------------------------------------------------------------------------
 */

/* What happened in which part of the step (-1: one of all), with the weights and states before it kept. */
static int bad_step(run *r, const char *what, int micro, mb_err *e) {
    char origin[1024] = "";
    mb_err ignored = {0};
    if (r->task->origin)
        r->task->origin(r->task->user, r->s.step, micro < 0 ? 0 : micro, origin, sizeof origin);
    mb_gradient_uncarry(r->g);
    mb_err_clear(e);
    mb_fail(
        e, MB_FAIL,
        "step %lld: %s%s%s. The weights before this step are in %s. Look at these sequences, or begin anew in another "
        "folder with a lower learning rate or clip, from scratch or from one of these checkpoints as the model",
        (long long)r->s.step, what,
        !*origin    ? ""
        : micro < 0 ? "; its first batch: "
                    : "; the batch: ",
        origin, r->checkpoints);
    if (save(r, &ignored) != MB_OK)
        mb_err_context(e, "(and the checkpoint could not be written: %s)", ignored.text);
    return MB_FAIL;
}

static int gradients(run *r, mb_train_sums *sums, mb_err *e) {
    mb_gradient_zero(r->g);
    for (int i = 0; i < r->opt->micro_batches; i++) {
        int rc = r->task->gradient(r->task->user, r->s.step, i, sums, e);
        if (rc != MB_OK)
            return mb_err_context(e, "step %lld", (long long)r->s.step);
        if (!isfinite(sums->loss) || !isfinite(sums->weight))
            return bad_step(r, "the loss is not a finite number", i, e);
    }
    if (sums->weight > 0 && r->opt->stop_loss > 0 && per_weight(sums) > r->opt->stop_loss)
        return bad_step(r, "the loss explodes", -1, e);
    return MB_OK;
}

static int step(run *r, mb_err *e) {
    mb_train_sums sums = {0};
    double norm = 0;
    int rc = gradients(r, &sums, e);
    if (rc != MB_OK)
        return rc;
    if (sums.weight > 0) {
        rc = mb_optimizer_step(r->o, mb_schedule_rate(&r->opt->schedule, r->s.step), sums.weight, &norm, e);
        if (rc == MB_RANGE)
            return bad_step(r, "the gradient is not finite", -1, e);
        if (rc == MB_OK)
            rc = mb_gradient_refresh(r->g, e);
    } else {
        r->s.skipped++; /* nothing was asked of any position: nothing is learned */
    }
    if (rc != MB_OK)
        return mb_err_context(e, "step %lld", (long long)r->s.step);
    r->s.step++;
    r->s.tokens += sums.tokens;
    r->saved = 0;
    r->report->tokens += sums.tokens;
    r->norms += norm;
    r->window_steps++;
    add_sums(&r->window, &sums);
    mb_progress_add(r->progress, 1);
    return MB_OK;
}

static int log_window(run *r, mb_err *e) {
    const double seconds = mb_clock_seconds() - r->window_start, loss = per_weight(&r->window);
    const double rate = seconds > 0 ? (double)r->window.tokens / seconds : 0;
    const mb_event_value v[] = {{"loss", loss, 0},
                                {"accuracy", share_of_hits(&r->window), 0},
                                {"learning_rate", mb_schedule_rate(&r->opt->schedule, r->s.step - 1), 0},
                                {"gradient_norm", r->norms / (double)r->window_steps, 0},
                                {"tokens", (double)r->s.tokens, 1},
                                {"tokens_per_second", rate, 0}};
    if (isnan(r->report->first_loss))
        r->report->first_loss = loss;
    r->report->last_loss = loss;
    mb_info("step %lld: loss %.5f, accuracy %.4f, rate %.3g, norm %.3g, %.0f %s/s", (long long)r->s.step, loss,
            v[1].value, v[2].value, v[3].value, rate, r->task->unit);
    r->window = (mb_train_sums){0};
    r->norms = 0;
    r->window_steps = 0;
    r->window_start = mb_clock_seconds();
    return mb_event_log_write(r->log, r->s.step, "train", v, (int)(sizeof v / sizeof *v), e);
}

/* ---- the loop -------------------------------------------------------------------------------------------------------
 */

static int due(int64_t every, int64_t step) {
    return every > 0 && step % every == 0;
}

static int asked_to_stop(const run *r) {
    return (r->opt->stop && atomic_load_explicit(r->opt->stop, memory_order_relaxed)) ||
           (r->opt->max_seconds > 0 && mb_clock_seconds() - r->start >= r->opt->max_seconds);
}

static int stop_here(run *r, mb_err *e) {
    int rc = save(r, e);
    if (rc != MB_OK)
        return rc;
    return mb_fail(e, MB_STOPPED, "stopped after step %lld of %lld; the same command goes on from there",
                   (long long)r->s.step, (long long)r->opt->schedule.steps);
}

static int after_step(run *r, int *enough, mb_err *e) {
    const int last = r->s.step == r->opt->schedule.steps;
    int rc = MB_OK;
    if (due(r->opt->log_every, r->s.step) || (last && r->window_steps > 0 && r->opt->log_every > 0))
        rc = log_window(r, e);
    if (rc == MB_OK && r->task->evaluate && (last || due(r->opt->evaluate_every, r->s.step)))
        rc = evaluate(r, enough, e);
    if (rc == MB_OK && (last || *enough || due(r->opt->save_every, r->s.step)))
        rc = save(r, e);
    return rc;
}

static int loop(run *r, mb_err *e) {
    int rc = MB_OK, enough = r->opt->patience > 0 && r->s.bad_evaluations >= r->opt->patience;
    r->window_start = mb_clock_seconds();
    while (rc == MB_OK && r->s.step < r->opt->schedule.steps && !enough) {
        rc = step(r, e);
        if (rc == MB_OK)
            rc = after_step(r, &enough, e);
        if (rc == MB_OK && r->s.step < r->opt->schedule.steps && !enough && asked_to_stop(r))
            rc = stop_here(r, e);
    }
    r->report->stopped_early = rc == MB_OK && enough;
    return rc;
}

static int begin(run *r, mb_err *e) {
    int found = 0;
    r->s.best_step = -1;
    snprintf(r->s.fingerprint, sizeof r->s.fingerprint, "%s", r->opt->fingerprint ? r->opt->fingerprint : "");
    if (mkdir(r->opt->dir, 0777) != 0 && errno != EEXIST)
        return mb_fail_errno(e, MB_IO, "%s: cannot be made", r->opt->dir);
    r->checkpoints = mb_path_join(r->opt->dir, "checkpoints");
    int rc = r->checkpoints ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK && !r->opt->resume && mb_dir_exists(r->checkpoints))
        rc = mb_fail(e, MB_USAGE, "%s is there already: take another folder, remove it, or resume", r->checkpoints);
    if (rc == MB_OK && r->opt->resume)
        rc = mb_checkpoint_resume(r->checkpoints, r->g, r->o, &r->s, &found, e);
    if (rc == MB_OK && found)
        mb_info("going on after step %lld of %lld", (long long)r->s.step, (long long)r->opt->schedule.steps);
    r->saved = found;
    if (rc == MB_OK)
        rc = mb_event_log_open(&r->log, r->opt->dir, found ? r->s.step : 0, r->opt->tensorboard, e);
    return rc;
}

int mb_train_run(mb_gradient *g, mb_optimizer *o, const mb_train_task *task, const mb_train_options *options,
                 mb_train_report *report, mb_err *e) {
    run r = {.g = g, .o = o, .task = task, .opt = options, .report = report, .start = mb_clock_seconds()};
    *report = (mb_train_report){.first_loss = NAN, .last_loss = NAN};
    MB_ASSERT(options->micro_batches > 0 && options->schedule.steps >= 0 && options->keep > 0);
    int rc = begin(&r, e);
    if (rc == MB_OK) {
        r.progress = mb_progress_start("training", "steps", (double)(options->schedule.steps - r.s.step));
        rc = loop(&r, e);
        mb_progress_finish(r.progress);
    }
    report->state = r.s;
    report->seconds = mb_clock_seconds() - r.start;
    const int closed = mb_event_log_close(r.log, rc == MB_OK ? e : NULL);
    mb_free(r.checkpoints);
    return rc == MB_OK ? closed : rc;
}

/* ---- before and after -----------------------------------------------------------------------------------------------
 */

int mb_train_check_folder(const char *dir, int resume, const char *fingerprint, mb_err *e) {
    struct stat st;
    if (stat(dir, &st) != 0)
        return MB_OK; /* will be made */
    if (!S_ISDIR(st.st_mode))
        return mb_fail(e, MB_USAGE, "%s: is a file; -o names a folder", dir);
    if (access(dir, W_OK | X_OK) != 0)
        return mb_fail_errno(e, MB_IO, "%s: cannot be written to", dir);
    char *checkpoints = mb_path_join(dir, "checkpoints");
    int rc = checkpoints ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK && !resume && mb_dir_exists(checkpoints))
        rc = mb_fail(e, MB_USAGE, "%s is there already: take another -o, remove it, or say --resume auto", checkpoints);
    else if (rc == MB_OK)
        rc = mb_checkpoint_agrees(checkpoints, fingerprint, e);
    mb_free(checkpoints);
    return rc;
}

int mb_train_take_best(mb_gradient *g, mb_optimizer *o, const char *dir, const mb_train_report *report, mb_err *e) {
    if (report->state.best_step >= 0 && report->state.best_step != report->state.step) {
        mb_train_state best = {.step = 0};
        char *checkpoints = mb_path_join(dir, "checkpoints");
        int rc = checkpoints ? mb_checkpoint_load(checkpoints, report->state.best_step, g, o, &best, e)
                             : mb_fail(e, MB_NOMEM, "no memory for a path");
        mb_free(checkpoints);
        if (rc != MB_OK)
            return rc;
    }
    mb_optimizer_swap_average(o); /* nothing without one */
    return mb_gradient_refresh(g, e);
}
