/* What a model says of a batch of reads. Each read is a sequence of its own, so its result depends on it alone. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/metrics.h"
#include "genomics/reads.h"

void reads_results_fini(reads_results *r) {
    for (int i = 0; r->answer && i < r->n; i++)
        mb_free(r->answer[i]);
    mb_free(r->loglik);
    mb_free(r->scored);
    mb_free(r->bits);
    mb_free(r->value);
    mb_free(r->answer);
    *r = (reads_results){0};
}

static int no_memory(const reads_batch *b, mb_err *e) {
    return mb_fail(e, MB_NOMEM, "no memory for the results of %d reads", b->taken.n);
}

/* ---- score ----------------------------------------------------------------------------------------------------------
 */

static int run_score(const reads_run_options *o, const reads_batch *b, reads_results *r, mb_err *e) {
    const int64_t views = 1 + o->score.both;
    const size_t n = (size_t)b->taken.n;
    float *all = mb_malloc((size_t)(b->taken.tokens * views) * sizeof *all + 1), **logp = mb_calloc(n, sizeof *logp);
    r->loglik = mb_calloc(n, sizeof *r->loglik);
    r->scored = mb_calloc(n, sizeof *r->scored);
    r->bits = mb_calloc(n, sizeof *r->bits);
    int rc = all && logp && r->loglik && r->scored && r->bits ? MB_OK : no_memory(b, e);
    for (int64_t i = 0, at = 0; rc == MB_OK && i < b->taken.n; at += views * b->taken.item[i++].length)
        logp[i] = all + at;
    if (rc == MB_OK)
        rc = score_batch(&o->score, &b->taken, logp, e);
    for (int i = 0; rc == MB_OK && i < b->taken.n; i++) {
        const int64_t length = b->taken.item[i].length;
        int64_t terms = 0;
        for (int64_t t = 0; t < views * length; t++)
            if (!isnan(logp[i][t])) {
                r->loglik[i] += logp[i][t];
                terms++;
                r->scored[i] += t < length;
            }
        r->bits[i] = terms ? -r->loglik[i] / ((double)terms * log(2)) : NAN;
        r->loglik[i] /= (double)views;
    }
    mb_free(all);
    mb_free(logp);
    return rc;
}

/* ---- embed ----------------------------------------------------------------------------------------------------------
 */

typedef struct pooled { /* where rows go */
    const reads_run_options *o;
    const reads_batch *b;
    float *row; /* (n, blocks, D) */
} pooled;

typedef struct turned { /* the reverse complement of a read, for models of one strand */
    const dna_alphabet *alphabet;
    const dna_item *item;
} turned;

static int read_turned(void *user, int64_t from, int n, int32_t *token) {
    const turned *t = user;
    for (int i = 0; i < n; i++)
        token[i] = t->alphabet->complement[t->item->token[t->item->length - 1 - from - i]];
    return MB_OK;
}

static int put_pooled(void *user, int item, int layer, int block, int64_t row, int64_t n, const float *values,
                      mb_err *e) {
    const pooled *p = user;
    const size_t D = (size_t)p->o->pool.D;
    (void)e;
    MB_ASSERT(layer == 0 && row == 0 && n == 1);
    memcpy(p->row + ((size_t)item * (size_t)p->o->pool.blocks + (size_t)block) * D, values, D * sizeof *values);
    return MB_OK;
}

static const char *name_of(void *user, int item) {
    const pooled *p = user;
    return bam_get_qname(p->b->slot[p->b->slot_of[item]].b);
}

static int run_pool(const reads_run_options *o, const reads_batch *b, const int64_t *length, mb_sequence *seq,
                    turned *turn, float *row, mb_err *e) {
    const int n = b->taken.n;
    pooled to = {o, b, row};
    const dna_pool_out out = {.put = put_pooled, .name = name_of, .user = &to};
    dna_pool *pool = NULL;
    for (int i = 0; i < n; i++) {
        const dna_item *item = &b->taken.item[i];
        turn[i] = (turned){o->alphabet, item};
        seq[i] = (mb_sequence){.length = item->length, .read = mb_tokens8_read, .user = item->token};
        seq[n + i] = (mb_sequence){.length = item->length, .read = read_turned, .user = &turn[i]};
    }
    int rc = dna_pool_create(&pool, &o->pool, length, n, &out, e);
    if (rc != MB_OK)
        return rc;
    const mb_sink sink = dna_pool_sink(pool);
    mb_forward_options forward = o->forward;
    forward.layers = o->pool.layer;
    forward.n_layers = 1;
    forward.strands = o->pool.blocks == 1 ? 1 : 0;
    rc = mb_forward_run(o->model, seq, o->reverse_runs ? 2 * n : n, &forward, &sink, e);
    dna_pool_destroy(pool);
    return rc;
}

static int run_embed(const reads_run_options *o, const reads_batch *b, reads_results *r, mb_err *e) {
    const size_t n = (size_t)b->taken.n, D = (size_t)o->pool.D, width = (size_t)o->pool.blocks * D;
    int64_t *length = mb_calloc(n, sizeof *length);
    mb_sequence *seq = mb_calloc(2 * n, sizeof *seq);
    turned *turn = mb_calloc(n, sizeof *turn);
    r->value = mb_calloc(n, width * sizeof *r->value);
    int rc = length && seq && turn && r->value ? MB_OK : no_memory(b, e);
    for (size_t i = 0; rc == MB_OK && i < n; i++)
        length[i] = b->taken.item[i].length;
    if (rc == MB_OK)
        rc = run_pool(o, b, length, seq, turn, r->value, e);
    for (size_t i = 0; rc == MB_OK && o->conjoin && i < n; i++)
        for (size_t c = 0; c < D; c++) /* in place: a row of D never overtakes one of 2 D */
            r->value[i * D + c] = 0.5f * (r->value[i * width + c] + r->value[i * width + D + c]);
    mb_free(length);
    mb_free(seq);
    mb_free(turn);
    return rc;
}

/* ---- classify -------------------------------------------------------------------------------------------------------
 */

/* The labels of at least the threshold, joined by ';'. */
static char *join_labels(const reads_run_options *o, const double *a) {
    char *all = mb_strdup("");
    for (int c = 0; all && c < o->head->pool.C; c++)
        if (a[c] >= o->threshold) {
            char *more = mb_asprintf("%s%s%s", all, *all ? ";" : "", o->head->label[c]);
            mb_free(all);
            all = more;
        }
    return all;
}

static char *base_labels(const dna_head *h, const double *a, int64_t length) {
    char *all = mb_malloc((size_t)length + 1);
    for (int64_t t = 0; all && t < length; t++)
        all[t] = *h->label[dna_best_of(a + t * h->pool.C, h->pool.C)];
    if (all)
        all[length] = 0;
    return all;
}

static int take_answers(const reads_run_options *o, const reads_batch *b, const double *a, reads_results *r,
                        mb_err *e) {
    const dna_head *h = o->head;
    const int C = h->pool.C;
    for (int i = 0; i < b->taken.n; i++) {
        const int64_t units = h->task == DNA_TASK_BASES ? b->taken.item[i].length : 1;
        if (r->answer) {
            r->answer[i] = h->task == DNA_TASK_BASES   ? base_labels(h, a, units)
                           : h->task == DNA_TASK_MULTI ? join_labels(o, a)
                                                       : mb_strdup(h->label[dna_best_of(a, C)]);
            if (!r->answer[i])
                return no_memory(b, e);
        }
        for (int c = 0; r->value && c < C; c++)
            r->value[(int64_t)i * C + c] = (float)a[c];
        a += units * C;
    }
    return MB_OK;
}

static int run_classify(const reads_run_options *o, const reads_batch *b, reads_results *r, mb_err *e) {
    const dna_head *h = o->head;
    const size_t n = (size_t)b->taken.n, C = (size_t)h->pool.C;
    const size_t units = h->task == DNA_TASK_BASES ? (size_t)b->taken.tokens : n;
    double *a = mb_calloc(units, C * sizeof *a);
    dna_piece *piece = mb_calloc(n, sizeof *piece);
    int rc = a && piece ? MB_OK : no_memory(b, e);
    if (h->task != DNA_TASK_BASES && !(r->value = mb_calloc(n, C * sizeof *r->value)))
        rc = no_memory(b, e);
    if (h->task != DNA_TASK_REGRESSION && !(r->answer = mb_calloc(n, sizeof *r->answer)))
        rc = no_memory(b, e);
    for (size_t i = 0; rc == MB_OK && i < n; i++)
        piece[i] = (dna_piece){b->taken.item[i].token, b->taken.item[i].length};
    if (rc == MB_OK)
        rc = dna_head_predict(h, o->model, o->alphabet, piece, (int64_t)n, &o->forward, a, e);
    if (rc == MB_OK)
        rc = take_answers(o, b, a, r, e);
    mb_free(a);
    mb_free(piece);
    return rc;
}

int reads_run(const reads_run_options *o, const reads_batch *b, reads_results *r, mb_err *e) {
    *r = (reads_results){.n = b->taken.n};
    if (r->n == 0)
        return MB_OK;
    int rc = o->what == READS_SCORE   ? run_score(o, b, r, e)
             : o->what == READS_EMBED ? run_embed(o, b, r, e)
                                      : run_classify(o, b, r, e);
    if (rc != MB_OK)
        reads_results_fini(r);
    return rc;
}
