/* Training a recommender. See fit.h. */
#include "recsys/fit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "recsys/holdout.h"

int rec_loss_negatives(int loss) {
    return loss == REC_LOSS_SOFTMAX ? 0 : loss == REC_LOSS_SAMPLED || loss == REC_LOSS_GBCE ? 256 : 1;
}

/* Where each negative stands for a share of all others, only the target is spared; where it is taken for something the
 * user would not choose, so is all that the user chose. */
void rec_loss_draws(int loss, rec_batches_options *batches) {
    batches->spare_user = loss == REC_LOSS_BPR || loss == REC_LOSS_BCE;
    batches->corrected = loss == REC_LOSS_SAMPLED;
}

mb_row_targets rec_loss_objective(int loss, int negatives, int32_t items, int pad_in_softmax, double t) {
    static const int OBJECTIVE[] = {MB_ROW_SOFTMAX, MB_ROW_SAMPLED, MB_ROW_BPR, MB_ROW_BCE, MB_ROW_BCE};
    const double rate = items > 1 ? (double)negatives / (double)(items - 1) : 1, a = rate < 1 ? rate : 1;
    return (mb_row_targets){.objective = OBJECTIVE[loss],
                            .first = !pad_in_softmax,
                            .k = negatives,
                            .power = loss == REC_LOSS_GBCE ? a * (t * (1 - 1 / a) + 1 / a) : 1,
                            .scale = loss == REC_LOSS_GBCE ? 1 / (double)(negatives + 1) : 1};
}

int rec_fit_init(rec_fit *f, mb_err *e) {
    const rec_model_options o = {
        .threads = mb_gradient_threads(f->g), .memory = f->memory, .window = f->window ? f->window : -1};
    return rec_model_borrow(&f->model, mb_gradient_model(f->g), &o, e);
}

void rec_fit_fini(rec_fit *f) {
    rec_batch_fini(&f->batch);
    rec_model_close(f->model);
    f->model = NULL;
}

static int gradient(void *user, int64_t step, int micro, mb_train_sums *r, mb_err *e) {
    rec_fit *f = user;
    rec_batch *b = &f->batch;
    mb_lm_result l = {0};
    int rc = rec_batches_fill(f->batches, step, micro, f->micro_batches, b, e);
    if (rc != MB_OK || b->n == 0)
        return rc;
    const mb_batch batch = {
        .n = b->n,
        .length = b->length,
        .token = b->token,
        .dropout = {.rate = f->dropout, .seed = f->batches->o.seed, .step = (uint64_t)step, .first_row = b->first_row}};
    mb_row_targets t = f->objective;
    t.n = b->targets;
    t.row = b->row;
    t.target = b->target;
    t.negative = b->negative;
    t.correction = b->correction;
    rc = mb_gradient_forward(f->g, &batch, e);
    if (rc == MB_OK)
        rc = mb_row_loss(f->g, &t, 1, &l, e);
    if (rc == MB_OK)
        rc = mb_gradient_backward(f->g, e);
    r->loss += l.loss;
    r->weight += l.weight;
    r->positions += l.positions;
    r->hits += l.hits;
    r->tokens += b->rows;
    return rc;
}

static double rounded(double x) {
    return round(x * 1e4) / 1e4;
}

static int evaluate(void *user, mb_train_sums *r, mb_err *e) {
    rec_fit *f = user;
    const rec_scorer s = rec_model_scorer(f->model);
    const int64_t most = (int64_t)64 << 20;
    const rec_holdout_options o = {.cutoff = REC_CUTOFF,
                                   .memory = f->memory > 0 && f->memory / 2 < most ? f->memory / 2 : most,
                                   .threads = mb_gradient_threads(f->g)};
    rec_holdout h;
    int rc = rec_holdout_run(&s, f->log, f->split, &o, &h, e);
    if (rc != MB_OK)
        return rc;
    const double figure[] = {h.ndcg, h.hr, h.mrr, h.events > 0 ? -h.loss / (double)h.events : NAN};
    r->loss = h.loss;
    r->weight = (double)h.events;
    r->positions = h.events;
    r->hits = h.first;
    r->figure = f->rounded ? rounded(figure[f->judge]) : figure[f->judge];
    return MB_OK;
}

static void origin(void *user, int64_t step, int micro, char *out, size_t n) {
    const rec_fit *f = user;
    rec_window w;
    int32_t u;
    (void)micro;
    const int windows = rec_batches_first(f->batches, step, &w, &u);
    const rec_id id = rec_log_user_id(f->log, u);
    snprintf(out, n, "user %.*s, events %" PRId64 " to %" PRId64 ", and %d windows more", id.n < 200 ? id.n : 200,
             id.text, w.from - rec_log_view(f->log)->user_at[u] + 1,
             w.from - rec_log_view(f->log)->user_at[u] + w.n + 1, windows - 1);
}

mb_train_task rec_fit_task(rec_fit *f) {
    static const char *const NAME[] = {"ndcg@10", "hr@10", "mrr@10", NULL};
    return (mb_train_task){.gradient = gradient,
                           .evaluate = f->split->valid > 0 ? evaluate : NULL,
                           .origin = origin,
                           .user = f,
                           .unit = "events",
                           .judge = NAME[f->judge]};
}
