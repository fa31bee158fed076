/* Fine-tuning: epochs, batches, held-out figures. See finetune.h. An epoch is a permutation that follows from (seed,
 * epoch), and strands from (seed, step), so a run can be stopped anywhere. */
#include "genomics/finetune.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "core/rng.h"

enum { VALID_TOKENS = 1 << 15, ORDER_STREAM = 1, STRAND_STREAM = 2, MASK_STREAM = 3 };

int dna_finetune_init(dna_finetune *t, mb_err *e) {
    t->order = mb_calloc((size_t)t->n_train + 1, sizeof *t->order);
    t->epoch = -1;
    return t->order ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for an epoch of %lld examples", (long long)t->n_train);
}

void dna_finetune_fini(dna_finetune *t) {
    mb_free(t->order);
    t->order = NULL;
}

int64_t dna_finetune_epoch_steps(const dna_finetune *t) {
    return (t->n_train + t->batch - 1) / t->batch;
}

/* ---- a batch --------------------------------------------------------------------------------------------------------
 */

typedef struct parcel {
    int n, views;          /* sequences, all views counted */
    int64_t *length;       /* (n) */
    int32_t *token;        /* (tokens) */
    int *label;            /* (units) */
    float *value;          /* (n/views, C) */
    int64_t tokens, bases; /* of all views; of each sequence once */
} parcel;

static void free_parcel(parcel *p) {
    mb_free(p->length);
    mb_free(p->token);
    mb_free(p->label);
    mb_free(p->value);
}

static void put_tokens(const dna_finetune *t, parcel *p, const dna_example *x, int reverse) {
    int32_t *to = p->token + p->tokens;
    for (int64_t i = 0; i < x->length; i++)
        to[i] = reverse ? t->a->complement[x->token[x->length - 1 - i]] : x->token[i];
    p->length[p->n++] = x->length;
    p->tokens += x->length;
}

static void put_labels(const dna_finetune *t, parcel *p, const dna_example *x, int64_t example, int reverse) {
    const int C = t->head->pool.C;
    p->label[example] = x->label;
    for (int64_t i = 0; x->base && i < x->length; i++) {
        const uint8_t b = x->base[reverse ? x->length - 1 - i : i];
        p->label[p->bases + i] = b == DNA_UNLABELLED ? -1 : b;
    }
    for (int c = 0; x->value && c < C; c++)
        p->value[example * C + c] = (float)((x->value[c] - t->head->mean[c]) / t->head->scale[c]);
    p->bases += x->length;
}

/* Examples index[0..n); reverse (n) or NULL. */
static int make_parcel(const dna_finetune *t, parcel *p, const int64_t *index, int64_t n, int views,
                       const uint8_t *reverse, mb_err *e) {
    int64_t bases = 0;
    *p = (parcel){.views = views};
    for (int64_t i = 0; i < n; i++)
        bases += t->d->at[index[i]].length;
    p->length = mb_calloc((size_t)(n * views), sizeof *p->length);
    p->token = mb_calloc((size_t)(bases * views), sizeof *p->token);
    p->label = mb_calloc((size_t)(bases > n ? bases : n), sizeof *p->label);
    p->value = mb_calloc((size_t)(n * t->head->pool.C), sizeof *p->value);
    if (!p->length || !p->token || !p->label || !p->value) {
        free_parcel(p);
        return mb_fail(e, MB_NOMEM, "no memory for a batch of %lld examples", (long long)n);
    }
    for (int64_t i = 0; i < n; i++) {
        const dna_example *x = &t->d->at[index[i]];
        const int turned = reverse && reverse[i];
        put_tokens(t, p, x, turned);
        if (views == 2)
            put_tokens(t, p, x, 1);
        put_labels(t, p, x, i, turned);
    }
    return MB_OK;
}

static int run_parcel(const dna_finetune *t, const parcel *p, int with_gradient, mb_train_sums *r, double *z,
                      mb_err *e) {
    const mb_batch b = {.n = p->n, .length = p->length, .token = p->token};
    const mb_pool_targets targets = {p->views, p->label, p->value, t->weight};
    mb_pool_result l = {0};
    int rc = mb_gradient_forward(t->g, &b, e);
    if (rc == MB_OK)
        rc = mb_pool_loss(t->g, &t->head->pool, &targets, with_gradient, &l, z, e);
    if (rc == MB_OK && with_gradient && !t->frozen)
        rc = mb_gradient_backward(t->g, e);
    r->loss += l.loss;
    r->weight += l.weight;
    r->positions += t->head->pool.objective == MB_POOL_SQUARED ? 0 : l.positions; /* numbers are not hit */
    r->hits += l.hits;
    r->tokens += p->bases;
    return rc;
}

/* ---- training -------------------------------------------------------------------------------------------------------
 */

static void shuffle(dna_finetune *t, int64_t epoch) {
    mb_rng r;
    if (t->epoch == epoch)
        return;
    mb_rng_init(&r, t->seed, (uint64_t)epoch << 2 | ORDER_STREAM);
    memcpy(t->order, t->train, (size_t)t->n_train * sizeof *t->order);
    for (int64_t i = t->n_train - 1; i > 0; i--) {
        const int64_t j = (int64_t)mb_rng_below(&r, (uint64_t)i + 1), keep = t->order[i];
        t->order[i] = t->order[j];
        t->order[j] = keep;
    }
    t->epoch = epoch;
}

/* Examples of a micro-batch, in t->order. */
static int64_t micro_of(dna_finetune *t, int64_t step, int micro, int64_t *from, int64_t *before) {
    const int64_t steps = dna_finetune_epoch_steps(t), at = step % steps;
    shuffle(t, step / steps);
    const int64_t first = at * t->n_train / steps, all = (at + 1) * t->n_train / steps - first;
    *before = all * micro / t->micro_batches;
    *from = first + *before;
    return all * (micro + 1) / t->micro_batches - *before;
}

/* Shows bases as the mask: of example `number` of a step, whatever its micro-batches are. */
static void mask_some(const dna_finetune *t, int32_t *token, int64_t length, int64_t step, int64_t number) {
    mb_rng r;
    mb_rng_init(&r, t->seed, (uint64_t)step << 2 | MASK_STREAM);
    r.counter = (uint64_t)number << 40;
    for (int64_t i = 0; i < length; i++)
        if (mb_rng_uniform(&r) < t->masked)
            token[i] = t->a->mask_token;
}

static void mask_parcel(const dna_finetune *t, parcel *p, int64_t step, int64_t first) {
    int32_t *token = p->token;
    for (int i = 0; i < p->n && t->masked > 0; token += p->length[i++])
        mask_some(t, token, p->length[i], step, first + i);
}

static int gradient(void *user, int64_t step, int micro, mb_train_sums *r, mb_err *e) {
    dna_finetune *t = user;
    int64_t from, before;
    const int64_t n = micro_of(t, step, micro, &from, &before);
    parcel p;
    mb_rng rng;
    if (n == 0)
        return MB_OK;
    uint8_t *reverse = mb_calloc((size_t)n, 1);
    if (!reverse)
        return mb_fail(e, MB_NOMEM, "no memory for a batch");
    mb_rng_init(&rng, t->seed, (uint64_t)step << 2 | STRAND_STREAM);
    for (int64_t i = 0; i < before + n; i++) {
        const int turned = mb_rng_uniform(&rng) < t->reverse;
        if (i >= before)
            reverse[i - before] = (uint8_t)turned;
    }
    int rc = make_parcel(t, &p, t->order + from, n, 1, reverse, e);
    if (rc == MB_OK) {
        mask_parcel(t, &p, step, before);
        rc = run_parcel(t, &p, 1, r, NULL, e);
        free_parcel(&p);
    }
    mb_free(reverse);
    return rc;
}

static void origin(void *user, int64_t step, int micro, char *out, size_t n) {
    dna_finetune *t = user;
    int64_t from, before;
    char place[256];
    *out = '\0';
    const int64_t some = micro_of(t, step, micro, &from, &before);
    if (some > 0)
        snprintf(out, n, "%s and %lld more", dna_example_place(t->d, &t->d->at[t->order[from]], place, sizeof place),
                 (long long)some - 1);
}

/* ---- held-out figures -----------------------------------------------------------------------------------------------
 */

static int64_t units_of(const dna_labelled *d, const int64_t *index, int64_t n) {
    int64_t units = n;
    for (int64_t i = 0; d->task == DNA_TASK_BASES && i < n; i++)
        units += d->at[index[i]].length - 1;
    return units;
}

static int evaluate(void *user, mb_train_sums *r, mb_err *e) {
    dna_finetune *t = user;
    const int views = t->head->conjoin && mb_model_strands(mb_gradient_model(t->g)) == 1 ? 2 : 1;
    const int64_t units = units_of(t->d, t->valid, t->n_valid);
    double *z = mb_calloc((size_t)(units * t->head->pool.C), sizeof *z), *next = z;
    int rc = z ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %lld answers", (long long)units);
    for (int64_t from = 0, to; rc == MB_OK && from < t->n_valid; from = to) {
        parcel p;
        int64_t tokens = t->d->at[t->valid[from]].length;
        for (to = from + 1; to < t->n_valid && tokens + t->d->at[t->valid[to]].length <= VALID_TOKENS; to++)
            tokens += t->d->at[t->valid[to]].length;
        rc = make_parcel(t, &p, t->valid + from, to - from, views, NULL, e);
        if (rc == MB_OK) {
            rc = run_parcel(t, &p, 0, r, next, e);
            free_parcel(&p);
        }
        next += units_of(t->d, t->valid + from, to - from) * t->head->pool.C;
    }
    if (rc == MB_OK && t->judge) {
        dna_metrics m = {0};
        dna_head_answer(t->head, z, units);
        rc = dna_measure(&m, t->d, t->valid, t->n_valid, z, &(dna_metrics_options){.threads = 1}, e);
        const dna_metric *judge = rc == MB_OK ? dna_metrics_find(&m, t->judge) : NULL;
        r->figure = judge ? judge->value : NAN;
        dna_metrics_fini(&m);
    }
    mb_free(z);
    return rc;
}

mb_train_task dna_finetune_task(dna_finetune *t) {
    return (mb_train_task){.gradient = gradient,
                           .evaluate = t->n_valid > 0 ? evaluate : NULL,
                           .origin = origin,
                           .user = t,
                           .unit = "bp",
                           .judge = t->judge};
}

/* ---- answers and their worth ----------------------------------------------------------------------------------------
 */

int dna_answers(double **out, const dna_head *h, const mb_model *m, const dna_alphabet *a, const dna_labelled *d,
                const int64_t *index, int64_t n, const mb_forward_options *o, mb_err *e) {
    const int64_t units = h->task == DNA_TASK_BASES ? units_of(d, index, n) : n;
    dna_piece *piece = mb_calloc((size_t)n + 1, sizeof *piece);
    *out = mb_calloc((size_t)(units * h->pool.C) + 1, sizeof **out);
    int rc = piece && *out ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %lld answers", (long long)units);
    for (int64_t i = 0; rc == MB_OK && i < n; i++)
        piece[i] = (dna_piece){d->at[index[i]].token, d->at[index[i]].length};
    if (rc == MB_OK)
        rc = dna_head_predict(h, m, a, piece, n, o, *out, e);
    mb_free(piece);
    if (rc != MB_OK) {
        mb_free(*out);
        *out = NULL;
    }
    return rc;
}

typedef struct table { /* as dna_scored wants it */
    int *label;
    double *truth, *score;
    int64_t *unit, rows, units;
} table;

static void add_example(table *w, const dna_labelled *d, const dna_example *x, const double *answer) {
    const int C = d->n_labels;
    const size_t row = (size_t)C * sizeof *answer;
    for (int64_t i = 0; x->base && i < x->length; i++) {
        if (x->base[i] == DNA_UNLABELLED)
            continue;
        memcpy(w->score + w->rows * C, answer + i * C, row);
        w->label[w->rows++] = x->base[i];
    }
    if (!x->base) {
        memcpy(w->score + w->rows * C, answer, row);
        if (x->value)
            memcpy(w->truth + w->rows * C, x->value, row);
        w->label[w->rows++] = x->label;
    }
    if (w->rows > w->unit[w->units]) /* units without a labelled base do not count */
        w->unit[++w->units] = w->rows;
}

int dna_measure(dna_metrics *m, const dna_labelled *d, const int64_t *index, int64_t n, const double *answer,
                const dna_metrics_options *o, mb_err *e) {
    const size_t units = (size_t)units_of(d, index, n), C = (size_t)d->n_labels;
    const int numbers = d->task == DNA_TASK_MULTI || d->task == DNA_TASK_REGRESSION;
    table w = {.label = mb_calloc(units + 1, sizeof(int)),
               .truth = mb_calloc(numbers ? units * C : 1, sizeof(double)),
               .score = mb_calloc(units * C + 1, sizeof(double)),
               .unit = mb_calloc((size_t)n + 1, sizeof(int64_t))};
    int rc = w.label && w.truth && w.score && w.unit ? MB_OK : mb_fail(e, MB_NOMEM, "no memory to measure answers");
    for (int64_t i = 0; rc == MB_OK && i < n; i++) {
        const dna_example *x = &d->at[index[i]];
        add_example(&w, d, x, answer);
        answer += (x->base ? x->length : 1) * d->n_labels;
    }
    if (rc == MB_OK) {
        const dna_scored s = {.task = numbers ? d->task : DNA_TASK_CLASS,
                              .n = w.rows,
                              .n_labels = d->n_labels,
                              .label = numbers ? NULL : w.label,
                              .truth = numbers ? w.truth : NULL,
                              .score = w.score,
                              .unit = d->task == DNA_TASK_BASES ? w.unit : NULL,
                              .n_units = d->task == DNA_TASK_BASES ? w.units : 0};
        rc = dna_metrics_compute(m, &s, o, e);
    }
    mb_free(w.label);
    mb_free(w.truth);
    mb_free(w.score);
    mb_free(w.unit);
    return rc;
}
