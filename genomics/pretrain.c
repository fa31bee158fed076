/* Pre-training: batches of windows through the language-model objective. See pretrain.h. */
#include "genomics/pretrain.h"

#include <stdio.h>

#include "core/lm_loss.h"

int dna_pretrain_init(dna_pretrain *p, mb_err *e) {
    const int weights = p->masking->soft_weight != 1.0F;
    int rc = dna_windows_batch(p->windows, &p->batch, e);
    if (rc == MB_OK && p->grid) {
        const int64_t tokens = p->held_out_tokens > p->grid->longest ? p->held_out_tokens : p->grid->longest;
        const int64_t most = tokens < p->grid->n ? tokens : p->grid->n;
        rc = dna_train_batch_create(&p->held_out, (int)most, tokens, weights, e);
    }
    return rc;
}

void dna_pretrain_fini(dna_pretrain *p) {
    dna_train_batch_fini(&p->batch);
    dna_train_batch_fini(&p->held_out);
}

int dna_pretrain_micro(const dna_pretrain *p, uint64_t step, int micro, int *first) {
    const int64_t n = dna_windows_count(p->windows, step);
    *first = (int)(n * micro / p->micro_batches);
    return (int)(n * (micro + 1) / p->micro_batches) - *first;
}

static int run_batch(const dna_pretrain *p, const dna_train_batch *b, int with_gradient, int continues,
                     mb_train_sums *r, mb_err *e) {
    const mb_batch batch = {.n = b->n,
                            .length = b->length,
                            .token = b->token,
                            .carries = with_gradient && p->carries,
                            .continues = continues};
    const mb_lm_targets targets = {b->target, b->weight, DNA_IGNORE};
    mb_lm_result l = {0};
    r->tokens += b->tokens;
    if (b->sums.targets == 0 && !batch.carries) /* windows of N alone: nothing to learn, and no NaN */
        return MB_OK;
    int rc = mb_gradient_forward(p->g, &batch, e);
    if (rc == MB_OK)
        rc = mb_lm_loss(p->g, &targets, with_gradient, &l, e);
    if (rc == MB_OK && with_gradient)
        rc = mb_gradient_backward(p->g, e);
    r->loss += l.loss;
    r->weight += l.weight;
    r->positions += l.positions;
    r->hits += l.hits;
    return rc;
}

static int gradient(void *user, int64_t step, int micro, mb_train_sums *r, mb_err *e) {
    dna_pretrain *p = user;
    int first;
    const int n = dna_pretrain_micro(p, (uint64_t)step, micro, &first);
    if (n == 0)
        return MB_OK;
    dna_windows_fill(p->windows, (uint64_t)step, first, n, &p->batch);
    return run_batch(p, &p->batch, 1, dna_windows_continue(p->windows, (uint64_t)step), r, e);
}

static int evaluate(void *user, mb_train_sums *r, mb_err *e) {
    dna_pretrain *p = user;
    int rc = MB_OK, n;
    for (int64_t first = 0; rc == MB_OK && first < p->grid->n; first += n) {
        n = dna_grid_fill(p->grid, p->corpus, p->masking, p->seed, first, &p->held_out);
        if (n == 0)
            break;
        rc = run_batch(p, &p->held_out, 0, 0, r, e);
    }
    return rc;
}

static void origin(void *user, int64_t step, int micro, char *out, size_t n) {
    const dna_pretrain *p = user;
    int first;
    *out = '\0';
    const int windows = dna_pretrain_micro(p, (uint64_t)step, micro, &first);
    if (windows == 0)
        return;
    const dna_window w = dna_windows_draw(p->windows, (uint64_t)step, first);
    char place[512];
    snprintf(out, n, "%s and %d more", dna_window_place(p->corpus, &w, place, sizeof place), windows - 1);
}

mb_train_task dna_pretrain_task(dna_pretrain *p) {
    return (mb_train_task){.gradient = gradient,
                           .evaluate = p->grid ? evaluate : NULL,
                           .origin = origin,
                           .user = p,
                           .unit = "bp",
                           .bits = 1};
}
