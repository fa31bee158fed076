/* See effect.h. Every run of the model that the changes ask for is a unit; equal units are one. Units of likelihoods
 * are probes (probe.h), those of hidden states go to a sink of their own here, which adds rows in double precision in
 * the order of the pass, the same for every batch. */
#include "genomics/effect.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/probe.h"

/* Tokens and sequences of one forward run for hidden states. */
#define RUN_TOKENS ((int64_t)1 << 20)
enum { RUN_SEQUENCES = 4096, VIEWS = 2 };

typedef enum unit_kind { SITES, WINDOW, HIDDEN } unit_kind;

typedef struct unit {
    unit_kind kind;
    const uint8_t *token; /* (length) */
    int64_t length;
    const int64_t *site; /* SITES: (n_site) what is masked and asked for */
    int64_t n_site;
    int64_t low, high;    /* HIDDEN: rows that are averaged */
    double sum[VIEWS];    /* WINDOW: of log-probabilities */
    int64_t count[VIEWS]; /* WINDOW: how many */
    int64_t result;       /* SITES, HIDDEN: first of its values */
} unit;

typedef struct task { /* one view of a unit */
    unit *u;
    int view;
} task;

enum { UNIT_SITES, UNIT_REF, UNIT_ALT, UNIT_REF_HIDDEN, UNIT_ALT_HIDDEN, UNITS };

typedef struct work {
    const dna_effect_options *o;
    dna_effect *effect;
    int64_t n, n_unit;
    unit *unit;             /* (n_unit), room for UNITS * n */
    int64_t (*uses)[UNITS]; /* (n) numbers of units, -1 none */
    int64_t *slot, slots;   /* hash table of unit numbers + 1 */
    int64_t *site, n_site;  /* positions of all SITES units */
    task *task;             /* (n_unit, VIEWS) */
    float *logp;            /* SITES: (views, n_site, 4) each */
    double *mean;           /* HIDDEN: (views, strands, D) each */
    int views, strands, D;
    double saved; /* bases that need not run because units are equal */
} work;

static int is_substitution(const dna_effect *f) {
    return f->ref.n == f->alt.n;
}

static int wants(const dna_effect *f, int which) {
    return (f->wanted >> which & 1U) != 0;
}

static int wants_sites(const dna_effect_options *o, const dna_effect *f) {
    return wants(f, DNA_EFFECT_LLR) && !o->causal && is_substitution(f);
}

static int wants_windows(const dna_effect_options *o, const dna_effect *f) {
    return wants(f, o->causal ? DNA_EFFECT_LLR : DNA_EFFECT_PLL);
}

static int wants_hidden(const dna_effect *f) {
    return wants(f, DNA_EFFECT_L2) || wants(f, DNA_EFFECT_COSINE);
}

static double unit_work(const dna_effect_options *o, unit_kind kind, int64_t length) {
    const int64_t passes = kind == WINDOW ? dna_probe_passes(o->causal, o->mask_stride, length) : 1;
    return (double)passes * (double)length * (1 + o->both);
}

double dna_effect_work(const dna_effect_options *o, const dna_effect *effect) {
    double sum = wants_sites(o, effect) ? unit_work(o, SITES, effect->ref.length) : 0;
    if (wants_windows(o, effect))
        sum += unit_work(o, WINDOW, effect->ref.length) + unit_work(o, WINDOW, effect->alt.length);
    if (wants_hidden(effect))
        sum += unit_work(o, HIDDEN, effect->ref.length) + unit_work(o, HIDDEN, effect->alt.length);
    return sum;
}

/* ---- units ----------------------------------------------------------------------------------------------------------
 */

/* FNV-1a, for bytes and for numbers. */
static uint64_t mix(uint64_t h, uint64_t more) {
    h = (h ^ more) * UINT64_C(0x100000001b3);
    return h ^ h >> 32;
}

static uint64_t hash_unit(const unit *u) {
    uint64_t h = mix(UINT64_C(0xcbf29ce484222325), (uint64_t)u->kind);
    h = mix(mix(mix(h, (uint64_t)u->length), (uint64_t)u->low), (uint64_t)u->high);
    for (int64_t i = 0; i < u->length; i++)
        h = mix(h, u->token[i]);
    for (int64_t i = 0; i < u->n_site; i++)
        h = mix(h, (uint64_t)u->site[i]);
    return h;
}

static int are_equal(const unit *a, const unit *b) {
    return a->kind == b->kind && a->length == b->length && a->n_site == b->n_site && a->low == b->low &&
           a->high == b->high && memcmp(a->token, b->token, (size_t)a->length) == 0 &&
           (!a->n_site || memcmp(a->site, b->site, (size_t)a->n_site * sizeof *a->site) == 0);
}

/* Number of the unit, a new one or one that was there. */
static int64_t intern(work *w, const unit *u, int *is_new) {
    for (uint64_t at = hash_unit(u);; at++) {
        int64_t *slot = &w->slot[at & (uint64_t)(w->slots - 1)];
        if (*slot && !are_equal(&w->unit[*slot - 1], u))
            continue;
        *is_new = *slot == 0;
        if (*is_new) {
            w->unit[w->n_unit] = *u;
            *slot = ++w->n_unit;
        } else {
            w->saved += unit_work(w->o, u->kind, u->length);
        }
        return *slot - 1;
    }
}

static int64_t intern_sites(work *w, const dna_effect *f) {
    int64_t *site = w->site + w->n_site, n = 0;
    int is_new;
    for (int64_t i = 0; i < f->ref.n; i++)
        if (f->ref.token[f->ref.at + i] != f->alt.token[f->alt.at + i])
            site[n++] = f->ref.at + i;
    const unit u = {.kind = SITES, .token = f->ref.token, .length = f->ref.length, .site = site, .n_site = n};
    const int64_t number = intern(w, &u, &is_new);
    w->n_site += is_new ? n : 0;
    return number;
}

static int64_t intern_window(work *w, const dna_window *x, unit_kind kind) {
    unit u = {.kind = kind, .token = x->token, .length = x->length};
    int is_new;
    if (kind == HIDDEN) {
        const int64_t span = w->o->span && w->o->span < x->length ? w->o->span : x->length;
        /* Around the middle of the allele, moved where it would reach outside. */
        u.low = x->at + x->n / 2 - span / 2;
        u.low = u.low < 0 ? 0 : u.low > x->length - span ? x->length - span : u.low;
        u.high = u.low + span;
    }
    return intern(w, &u, &is_new);
}

static void make_units(work *w) {
    for (int64_t i = 0; i < w->n; i++) {
        const dna_effect *f = &w->effect[i];
        int64_t *uses = w->uses[i];
        for (int k = 0; k < UNITS; k++)
            uses[k] = -1;
        if (wants_sites(w->o, f))
            uses[UNIT_SITES] = intern_sites(w, f);
        if (wants_windows(w->o, f)) {
            uses[UNIT_REF] = intern_window(w, &f->ref, WINDOW);
            uses[UNIT_ALT] = intern_window(w, &f->alt, WINDOW);
        }
        if (wants_hidden(f)) {
            uses[UNIT_REF_HIDDEN] = intern_window(w, &f->ref, HIDDEN);
            uses[UNIT_ALT_HIDDEN] = intern_window(w, &f->alt, HIDDEN);
        }
    }
}

static int make_room(work *w, mb_err *e) {
    int64_t sites = 1;
    for (int64_t i = 0; i < w->n; i++)
        sites += is_substitution(&w->effect[i]) ? w->effect[i].ref.n : 0;
    for (w->slots = 16; w->slots < (int64_t)2 * UNITS * w->n; w->slots *= 2) {
    }
    w->unit = mb_calloc((size_t)(UNITS * w->n), sizeof *w->unit);
    w->uses = mb_calloc((size_t)w->n, sizeof *w->uses);
    w->slot = mb_calloc((size_t)w->slots, sizeof *w->slot);
    w->site = mb_calloc((size_t)sites, sizeof *w->site);
    if (w->unit && w->uses && w->slot && w->site)
        return MB_OK;
    return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " changes", w->n);
}

static int make_results(work *w, mb_err *e) {
    int64_t floats = 0, doubles = 0;
    for (int64_t i = 0; i < w->n_unit; i++) {
        unit *u = &w->unit[i];
        u->result = u->kind == SITES ? floats : doubles;
        floats += u->kind == SITES ? w->views * u->n_site * 4 : 0;
        doubles += u->kind == HIDDEN ? (int64_t)w->views * w->strands * w->D : 0;
    }
    w->task = mb_calloc((size_t)(w->n_unit * VIEWS), sizeof *w->task);
    w->logp = mb_calloc((size_t)floats + 1, sizeof *w->logp);
    w->mean = mb_calloc((size_t)doubles + 1, sizeof *w->mean);
    if (!w->task || !w->logp || !w->mean)
        return mb_fail(e, MB_NOMEM, "no memory for the results of %" PRId64 " changes", w->n);
    for (int64_t i = 0; i < w->n_unit * VIEWS; i++)
        w->task[i] = (task){.u = &w->unit[i / VIEWS], .view = (int)(i % VIEWS)};
    return MB_OK;
}

/* ---- likelihoods ----------------------------------------------------------------------------------------------------
 */

static int take_answers(void *user, const dna_probe *p, const float *answer, mb_err *e) {
    work *w = user;
    const task *t = p->user;
    unit *u = t->u;
    (void)e;
    if (u->kind == SITES) {
        memcpy(w->logp + u->result + t->view * u->n_site * 4, answer, (size_t)u->n_site * 4 * sizeof *answer);
        return MB_OK;
    }
    for (int64_t k = 0; k < p->want.n; k++) {
        const int base = dna_base_of(w->o->alphabet, p->token[dna_place(&p->want, k)]);
        if (base >= 0) {
            u->sum[t->view] += answer[4 * k + base];
            u->count[t->view]++;
        }
    }
    return MB_OK;
}

static int run_likelihoods(work *w, mb_err *e) {
    const dna_probe_options probing = {.model = w->o->model,
                                       .alphabet = w->o->alphabet,
                                       .forward = w->o->forward,
                                       .causal = w->o->causal,
                                       .take = take_answers,
                                       .user = w};
    dna_probes *r = NULL;
    int rc = dna_probes_open(&r, &probing, e);
    for (int64_t i = 0; !rc && i < w->n_unit * VIEWS; i++) {
        const task *t = &w->task[i];
        const unit *u = t->u;
        const dna_places site = {.at = u->site, .n = u->n_site};
        const dna_probe p = {.token = u->token,
                             .length = u->length,
                             .reversed = t->view,
                             .mask = site,
                             .want = site,
                             .user = &w->task[i]};
        if (t->view >= w->views || u->kind == HIDDEN)
            continue;
        rc = u->kind == SITES ? dna_probes_add(r, &p, e) : dna_probes_add_passes(r, &p, w->o->mask_stride, e);
    }
    if (!rc)
        rc = dna_probes_finish(r, e);
    dna_probes_close(r);
    return rc;
}

/* ---- hidden states --------------------------------------------------------------------------------------------------
 */

typedef struct hidden_run {
    work *w;
    task *task[RUN_SEQUENCES];
    mb_sequence seq[RUN_SEQUENCES];
    int n;
    int64_t tokens;
    /* Reading needs the alphabet besides the task. */
    struct shown {
        const dna_alphabet *alphabet;
        const task *task;
    } shown[RUN_SEQUENCES];
} hidden_run;

static int read_shown(void *user, int64_t from, int n, int32_t *token) {
    const struct shown *s = user;
    const unit *u = s->task->u;
    for (int i = 0; i < n; i++)
        token[i] = s->task->view ? s->alphabet->complement[u->token[u->length - 1 - from - i]] : u->token[from + i];
    return MB_OK;
}

static double *mean_of(const work *w, const unit *u, int view, int strand) {
    return w->mean + u->result + ((int64_t)view * w->strands + strand) * w->D;
}

static int add_rows(void *user, const mb_rows *rows, mb_err *e) {
    const hidden_run *h = user;
    const task *t = h->task[rows->sequence];
    const unit *u = t->u;
    const int64_t low = t->view ? u->length - u->high : u->low, high = t->view ? u->length - u->low : u->high;
    double *sum = mean_of(h->w, u, t->view, rows->strand);
    (void)e;
    for (int i = 0; i < rows->n; i++)
        if (rows->from + i >= low && rows->from + i < high)
            for (int d = 0; d < h->w->D; d++)
                sum[d] += rows->row[(int64_t)i * h->w->D + d];
    return MB_OK;
}

static int run_hidden(hidden_run *h, mb_err *e) {
    const mb_sink sink = {.rows = add_rows, .user = h};
    if (h->n == 0)
        return MB_OK;
    int rc = mb_forward_run(h->w->o->model, h->seq, h->n, &h->w->o->forward, &sink, e);
    h->n = 0;
    h->tokens = 0;
    return rc;
}

static int add_hidden(hidden_run *h, task *t, mb_err *e) {
    if (h->n > 0 && (h->n == RUN_SEQUENCES || h->tokens + t->u->length > RUN_TOKENS)) {
        int rc = run_hidden(h, e);
        if (rc)
            return rc;
    }
    h->task[h->n] = t;
    h->shown[h->n] = (struct shown){.alphabet = h->w->o->alphabet, .task = t};
    h->seq[h->n] = (mb_sequence){.length = t->u->length, .read = read_shown, .user = &h->shown[h->n]};
    h->tokens += t->u->length;
    h->n++;
    return MB_OK;
}

static int run_all_hidden(work *w, mb_err *e) {
    hidden_run *h = mb_calloc(1, sizeof *h);
    if (!h)
        return mb_fail(e, MB_NOMEM, "no memory for hidden states");
    h->w = w;
    int rc = MB_OK;
    for (int64_t i = 0; !rc && i < w->n_unit * VIEWS; i++)
        if (w->task[i].u->kind == HIDDEN && w->task[i].view < w->views)
            rc = add_hidden(h, &w->task[i], e);
    if (!rc)
        rc = run_hidden(h, e);
    mb_free(h);
    for (int64_t i = 0; !rc && i < w->n_unit; i++) {
        const unit *u = &w->unit[i];
        for (int64_t d = 0; u->kind == HIDDEN && d < (int64_t)w->views * w->strands * w->D; d++)
            w->mean[u->result + d] /= (double)(u->high - u->low);
    }
    return rc;
}

/* ---- values ---------------------------------------------------------------------------------------------------------
 */

static double site_ratio(const work *w, const unit *u, const dna_effect *f, int view) {
    const float *logp = w->logp + u->result + view * u->n_site * 4;
    double sum = 0;
    for (int64_t k = 0; k < u->n_site; k++) {
        const int64_t i = u->site[k] - f->ref.at;
        const int ref = dna_base_of(w->o->alphabet, f->ref.token[f->ref.at + i]);
        const int alt = dna_base_of(w->o->alphabet, f->alt.token[f->alt.at + i]);
        MB_ASSERT(ref >= 0 && alt >= 0);
        sum += (double)logp[4 * k + alt] - (double)logp[4 * k + ref];
    }
    return sum;
}

/* n(ref) (m(alt) - m(ref)); NAN where one of the windows has no base that is scored. */
static double window_ratio(const unit *ref, const unit *alt, int view) {
    if (ref->count[view] == 0 || alt->count[view] == 0)
        return NAN;
    if (ref->count[view] == alt->count[view])
        return alt->sum[view] - ref->sum[view];
    return (alt->sum[view] / (double)alt->count[view]) * (double)ref->count[view] - ref->sum[view];
}

static void distances(const work *w, const unit *a, const unit *b, int view, double *l2, double *cosine) {
    const double *x = mean_of(w, a, view, 0), *y = mean_of(w, b, view, 0);
    double square = 0, xx = 0, yy = 0, xy = 0;
    for (int d = 0; d < w->strands * w->D; d++) {
        square += (x[d] - y[d]) * (x[d] - y[d]);
        xx += x[d] * x[d];
        yy += y[d] * y[d];
        xy += x[d] * y[d];
    }
    *l2 = sqrt(square);
    *cosine = xx > 0 && yy > 0 ? fmax(0, 1 - xy / sqrt(xx * yy)) : NAN;
}

static void fill_values(const work *w, dna_effect *f, const int64_t uses[UNITS]) {
    double sum[DNA_EFFECTS] = {0};
    for (int view = 0; view < w->views; view++) {
        double value[DNA_EFFECTS] = {NAN, NAN, NAN, NAN};
        if (uses[UNIT_SITES] >= 0)
            value[DNA_EFFECT_LLR] = site_ratio(w, &w->unit[uses[UNIT_SITES]], f, view);
        if (uses[UNIT_REF] >= 0)
            value[w->o->causal ? DNA_EFFECT_LLR : DNA_EFFECT_PLL] =
                window_ratio(&w->unit[uses[UNIT_REF]], &w->unit[uses[UNIT_ALT]], view);
        if (uses[UNIT_REF_HIDDEN] >= 0)
            distances(w, &w->unit[uses[UNIT_REF_HIDDEN]], &w->unit[uses[UNIT_ALT_HIDDEN]], view, &value[DNA_EFFECT_L2],
                      &value[DNA_EFFECT_COSINE]);
        for (int k = 0; k < DNA_EFFECTS; k++)
            sum[k] += value[k];
    }
    for (int k = 0; k < DNA_EFFECTS; k++)
        f->value[k] = wants(f, k) ? (float)(sum[k] / w->views) : NAN;
}

int dna_effects_run(const dna_effect_options *o, dna_effect *effect, int64_t n, mb_err *e) {
    if (n == 0)
        return MB_OK;
    work w = {.o = o,
              .effect = effect,
              .n = n,
              .views = 1 + o->both,
              .strands = mb_model_strands(o->model),
              .D = mb_model_config(o->model)->D};
    int rc = make_room(&w, e);
    if (!rc) {
        make_units(&w);
        rc = make_results(&w, e);
    }
    if (!rc && w.saved > 0)
        mb_progress_add(o->forward.progress, w.saved);
    if (!rc)
        rc = run_likelihoods(&w, e);
    if (!rc)
        rc = run_all_hidden(&w, e);
    for (int64_t i = 0; !rc && i < n; i++)
        fill_values(&w, &effect[i], w.uses[i]);
    mb_free(w.unit);
    mb_free(w.uses);
    mb_free(w.slot);
    mb_free(w.site);
    mb_free(w.task);
    mb_free(w.logp);
    mb_free(w.mean);
    return rc;
}
