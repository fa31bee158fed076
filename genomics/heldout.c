/* Held-out figures beside Markov models. See heldout.h. */
#include "genomics/heldout.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/windows.h"

const int dna_heldout_order[DNA_HELDOUT_ORDERS] = {0, 1, 3, 5, 6};
static const double ALPHA = 16; /* back-off: strength of the lower order, good for genomes of megabases */

double dna_heldout_bits(const dna_markov_score *s) {
    return s->bases > 0 ? s->bits / (double)s->bases : NAN;
}

double dna_heldout_accuracy(const dna_markov_score *s) {
    return s->bases > 0 ? (double)s->right / (double)s->bases : NAN;
}

static int of_file(const dna_corpus *c, const dna_stretch *s, int file) {
    return c->contig[s->contig].file == file;
}

/* Tokens of a stretch, without the mark of soft-masking. */
static void take_tokens(const dna_corpus *c, int64_t contig, int64_t start, int64_t n, uint8_t *to) {
    const uint8_t *from = c->base + c->contig[contig].start + start;
    for (int64_t i = 0; i < n; i++)
        to[i] = from[i] & DNA_TOKEN_BITS;
}

static int train_markov(dna_markov *m, const dna_corpus *c, int file, const dna_split_part *train, mb_err *e) {
    for (int64_t i = 0; i < train->n; i++) {
        const dna_stretch *s = &train->at[i];
        if (!of_file(c, s, file))
            continue;
        uint8_t *token = mb_malloc((size_t)(s->end - s->start));
        if (!token)
            return mb_fail(e, MB_NOMEM, "no memory for a stretch of %lld bases", (long long)(s->end - s->start));
        take_tokens(c, s->contig, s->start, s->end - s->start, token);
        dna_markov_add(m, token, s->end - s->start);
        mb_free(token);
    }
    return MB_OK;
}

/* ---- one window -----------------------------------------------------------------------------------------------------
 */

typedef struct window {
    int64_t n;
    uint8_t *token, *chosen; /* (n) */
    int32_t *shown;          /* (n) */
    float *logits;           /* (n,V) */
} window;

static void free_window(window *w) {
    mb_free(w->token);
    mb_free(w->chosen);
    mb_free(w->shown);
    mb_free(w->logits);
}

static int room_for(window *w, int64_t n, int V, mb_err *e) {
    w->token = mb_malloc((size_t)n);
    w->chosen = mb_malloc((size_t)n);
    w->shown = mb_malloc((size_t)n * sizeof *w->shown);
    w->logits = mb_malloc((size_t)n * (size_t)V * sizeof *w->logits);
    return w->token && w->chosen && w->shown && w->logits ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a window");
}

static void choose(window *w, const dna_alphabet *a, int every, int64_t number) {
    for (int64_t i = 0; i < w->n; i++) {
        w->chosen[i] = i % every == number % every && dna_base_of(a, w->token[i]) >= 0;
        w->shown[i] = w->chosen[i] ? a->mask_token : w->token[i];
    }
}

static void score_model(const window *w, const dna_alphabet *a, int V, dna_markov_score *s) {
    for (int64_t i = 0; i < w->n; i++) {
        if (!w->chosen[i])
            continue;
        const float *l = w->logits + (size_t)i * (size_t)V;
        const int truth = dna_base_of(a, w->token[i]);
        int best = 0;
        double most = (double)l[a->base[0]], sum = 0;
        for (int b = 1; b < 4; b++)
            if ((double)l[a->base[b]] > most) {
                most = (double)l[a->base[b]];
                best = b;
            }
        for (int b = 0; b < 4; b++)
            sum += exp((double)l[a->base[b]] - most);
        s->bits -= ((double)l[a->base[truth]] - most - log(sum)) / M_LN2;
        s->right += best == truth;
        s->bases++;
    }
}

static int score_window(dna_heldout *r, window *w, int64_t number, dna_markov *const *markov, const mb_model *m,
                        const dna_alphabet *a, const dna_heldout_options *o, mb_err *e) {
    const int V = mb_model_config(m)->V;
    choose(w, a, o->every, number);
    int rc = mb_forward_hidden(m, w->shown, w->n, mb_model_config(m)->n_layer, &o->forward, NULL, w->logits, e);
    if (rc != MB_OK)
        return rc;
    score_model(w, a, V, &r->model);
    for (int k = 0; k < DNA_HELDOUT_ORDERS; k++) {
        dna_markov_score_add(markov[k], w->token, w->n, w->chosen, 0, &r->left[k]);
        dna_markov_score_add(markov[k], w->token, w->n, w->chosen, 1, &r->both[k]);
    }
    mb_progress_add(o->forward.progress, (double)w->n);
    return MB_OK;
}

/* ---- one file -------------------------------------------------------------------------------------------------------
 */

static int own_part(dna_split_part *own, const dna_corpus *c, int file, const dna_split_part *all, mb_err *e) {
    *own = (dna_split_part){0};
    own->at = mb_calloc((size_t)all->n + 1, sizeof *own->at);
    if (!own->at)
        return mb_fail(e, MB_NOMEM, "no memory for %lld stretches", (long long)all->n);
    for (int64_t i = 0; i < all->n; i++)
        if (of_file(c, &all->at[i], file)) {
            own->at[own->n++] = all->at[i];
            own->bases += all->at[i].end - all->at[i].start;
        }
    return MB_OK;
}

static int make_markov(dna_markov **markov, const dna_corpus *c, int file, const dna_split_part *train,
                       const dna_alphabet *a, mb_err *e) {
    int rc = MB_OK;
    for (int k = 0; k < DNA_HELDOUT_ORDERS && rc == MB_OK; k++) {
        rc = dna_markov_create(&markov[k], a, DNA_MARKOV_CAUSAL, dna_heldout_order[k], DNA_MARKOV_BACK_OFF, ALPHA, e);
        if (rc == MB_OK)
            rc = train_markov(markov[k], c, file, train, e);
    }
    return rc;
}

static int score_grid(dna_heldout *r, const dna_grid *grid, const dna_corpus *c, dna_markov *const *markov,
                      const mb_model *m, const dna_alphabet *a, const dna_heldout_options *o, mb_err *e) {
    window w = {0};
    int rc = room_for(&w, grid->longest, mb_model_config(m)->V, e);
    for (int64_t i = 0; i < grid->n && rc == MB_OK; i++) {
        w.n = grid->window[i].length;
        take_tokens(c, grid->window[i].contig, grid->window[i].start, w.n, w.token);
        rc = score_window(r, &w, i, markov, m, a, o, e);
    }
    free_window(&w);
    r->windows = grid->n;
    r->bases = r->model.bases;
    return rc;
}

int dna_heldout_file(dna_heldout *r, const dna_corpus *c, int file, const dna_split_part *train,
                     const dna_split_part *held, const mb_model *m, const dna_alphabet *a, const dna_heldout_options *o,
                     mb_err *e) {
    dna_markov *markov[DNA_HELDOUT_ORDERS] = {0};
    dna_split_part own;
    dna_grid grid = {0};
    *r = (dna_heldout){0};
    int rc = own_part(&own, c, file, held, e);
    if (rc == MB_OK && own.n > 0)
        rc = dna_grid_make(&grid, c, &own, o->window, o->window / 4 > 0 ? o->window / 4 : 1, o->most, 0.5, e);
    if (rc == MB_OK && grid.n > 0)
        rc = make_markov(markov, c, file, train, a, e);
    if (rc == MB_OK && grid.n > 0)
        rc = score_grid(r, &grid, c, markov, m, a, o, e);
    for (int k = 0; k < DNA_HELDOUT_ORDERS; k++)
        dna_markov_free(markov[k]);
    dna_grid_fini(&grid);
    mb_free(own.at);
    return rc;
}
