/* A recommender over the engine. See model.h. Opening a folder and what is checked there; histories run together;
 * scores. Refuses: models that see the future, vocabularies that are not the items and a pad. */
#include "recsys/model.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json_guard.h"
#include "core/mem.h"
#include "recsys/items.h"

struct rec_model {
    mb_model *engine;
    int borrowed;
    rec_items items; /* empty when borrowed */
    int32_t n_items;
    rec_model_options o;
    int64_t window; /* 0: whole histories */
    char *folder;
};

/* ---- opening --------------------------------------------------------------------------------------------------------
 */

static int take_rule(rec_model *m, json_t *rule, const char *path, mb_err *e) {
    const json_t *version = json_object_get(rule, "version"), *window = json_object_get(rule, "window");
    if (!json_is_integer(version) || json_integer_value(version) != 1)
        return mb_fail(e, MB_NOTSUP, "%s: version must be 1", path);
    if (!json_is_integer(window) || json_integer_value(window) < 0)
        return mb_fail(e, MB_FORMAT, "%s: window must be a number of events, 0 for all", path);
    m->window = json_integer_value(window);
    return MB_OK;
}

static int read_rule(rec_model *m, const char *path, mb_err *e) {
    static const mb_json_limits LIMITS = {.depth = 4, .parts = 100};
    enum { MOST_BYTES = 1 << 16 };
    char *text = NULL;
    size_t n = 0;
    json_t *rule = NULL;
    int rc = mb_file_read_all(path, MOST_BYTES, &text, &n, e);
    if (rc == MB_OK)
        rc = mb_json_parse(&rule, text, n, &LIMITS, 0, path, 0, e);
    if (rc == MB_OK)
        rc = take_rule(m, rule, path, e);
    json_decref(rule);
    mb_free(text);
    return rc;
}

int rec_model_write_rule(const char *folder, int64_t window, mb_err *e) {
    char *path = mb_path_join(folder, "recsys.json");
    char *text = mb_asprintf("{\"version\": 1, \"window\": %lld}\n", (long long)window);
    int rc = path && text ? mb_file_write_all(path, text, strlen(text), e)
                          : mb_fail(e, MB_NOMEM, "no memory for %s/recsys.json", folder);
    mb_free(path);
    mb_free(text);
    return rc;
}

static int check_engine(const rec_model *m, const char *what, mb_err *e) {
    const mb_config *c = mb_model_config(m->engine);
    if (!mb_model_is_causal(m->engine) || mb_model_strands(m->engine) != 1)
        return mb_fail(e, MB_NOTSUP, "%s: sees both sides of an event; a recommender must not see the future", what);
    if (!c->has_head)
        return mb_fail(e, MB_NOTSUP, "%s: has no head that scores items", what);
    if (m->n_items < 1 || c->V != m->n_items + 1)
        return mb_fail(e, MB_FORMAT, "%s: items.txt names %d items, but the model has %d rows (items and pad: %d)",
                       what, m->n_items, c->V, m->n_items + 1);
    return MB_OK;
}

static void take_options(rec_model *m, const rec_model_options *o) {
    MB_ASSERT(o->threads > 0);
    m->o = *o;
    if (o->window != 0)
        m->window = o->window > 0 ? o->window : 0;
}

static int open_items(rec_model *m, const char *folder, mb_err *e) {
    char *items = mb_path_join(folder, "items.txt"), *rule = mb_path_join(folder, "recsys.json");
    int rc = items && rule ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK && mb_dir_exists(folder) && !mb_file_exists(items))
        rc = mb_fail(e, MB_NOTFOUND,
                     "%s: has no items.txt, so nobody knows what its items are: -m is a folder that "
                     "recmamba train made",
                     folder);
    if (rc == MB_OK)
        rc = rec_items_read(&m->items, items, e);
    if (rc == MB_OK && mb_file_exists(rule))
        rc = read_rule(m, rule, e);
    mb_free(items);
    mb_free(rule);
    return rc;
}

int rec_model_open(rec_model **out, const char *folder, const rec_model_options *o, mb_err *e) {
    const mb_model_options mo = {.device = o->device, .precision = o->precision};
    rec_model *m = mb_calloc(1, sizeof *m);
    *out = NULL;
    int rc =
        m && (m->folder = mb_strdup(folder)) ? open_items(m, folder, e) : mb_fail(e, MB_NOMEM, "no memory for a model");
    if (rc == MB_OK)
        rc = mb_model_open(&m->engine, folder, &mo, e);
    if (rc == MB_OK) {
        m->n_items = m->items.n;
        rc = check_engine(m, folder, e);
    }
    if (rc != MB_OK) {
        rec_model_close(m);
        return rc;
    }
    take_options(m, o);
    *out = m;
    return MB_OK;
}

int rec_model_borrow(rec_model **out, mb_model *engine, const rec_model_options *o, mb_err *e) {
    rec_model *m = mb_calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return mb_fail(e, MB_NOMEM, "no memory for a model");
    m->engine = engine;
    m->borrowed = 1;
    m->n_items = mb_model_config(engine)->V - 1;
    int rc = check_engine(m, "this model", e);
    if (rc != MB_OK) {
        rec_model_close(m);
        return rc;
    }
    take_options(m, o);
    *out = m;
    return MB_OK;
}

void rec_model_close(rec_model *m) {
    if (!m)
        return;
    if (!m->borrowed)
        mb_model_destroy(m->engine);
    rec_items_fini(&m->items);
    mb_free(m->folder);
    mb_free(m);
}

mb_model *rec_model_engine(const rec_model *m) {
    return m->engine;
}

int32_t rec_model_items(const rec_model *m) {
    return m->n_items;
}

int64_t rec_model_window(const rec_model *m) {
    return m->window;
}

const char *rec_model_folder(const rec_model *m) {
    return m->folder ? m->folder : "";
}

rec_id rec_model_item_id(const rec_model *m, int32_t item) {
    return rec_items_id(&m->items, item);
}

int32_t rec_model_find_item(const rec_model *m, const char *text, int n) {
    return rec_items_find(&m->items, text, n);
}

const char *rec_model_items_digest(const rec_model *m) {
    return m->items.digest;
}

/* ---- the items of a log ---------------------------------------------------------------------------------------------
 */

int rec_model_map_items(const rec_model *m, const rec_log *l, int32_t *map, int32_t *unknown, mb_err *e) {
    const int32_t n = rec_log_view(l)->n_items;
    *unknown = 0;
    map[0] = 0;
    for (int32_t i = 1; i <= n; i++) {
        const rec_id id = rec_log_item_id(l, i);
        map[i] = rec_model_find_item(m, id.text, id.n);
        *unknown += map[i] == 0;
    }
    return n > 0 && *unknown == n ? mb_fail(e, MB_FORMAT,
                                            "%s knows none of the %d items of the log: it was trained on another "
                                            "item set, or identifiers are written otherwise there",
                                            rec_model_folder(m), n)
                                  : MB_OK;
}

int64_t rec_map_history(const int32_t *map, const int32_t *item, int64_t n, int32_t *to) {
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (map[item[i]])
            to[kept++] = map[item[i]];
    return kept;
}

/* ---- histories ------------------------------------------------------------------------------------------------------
 */

typedef struct span { /* what of a history is run */
    const int32_t *item;
    int64_t n;
} span;

typedef struct encoding {
    const rec_model *m;
    const span *query; /* (n) */
    mb_sequence *run;  /* (runs) */
    int *first;        /* (runs+1) queries that a run serves */
    int runs, D;
    float *vector;
} encoding;

static span latest(const rec_model *m, const rec_query *q) {
    const int64_t n = m->window > 0 && q->n > m->window ? m->window : q->n;
    return (span){q->item ? q->item + (q->n - n) : NULL, n};
}

static int begins_alike(const span *a, const span *b) {
    const int64_t n = a->n < b->n ? a->n : b->n;
    return n == 0 || a->item == b->item || memcmp(a->item, b->item, (size_t)n * sizeof *a->item) == 0;
}

static int check_span(const rec_model *m, const span *s, int query, mb_err *e) {
    for (int64_t i = 0; i < s->n; i++)
        if (s->item[i] < 1 || s->item[i] > m->n_items)
            return mb_fail(e, MB_RANGE, "history %d holds item %d; the model has items 1 to %d", query, s->item[i],
                           m->n_items);
    return MB_OK;
}

/* Neighbours of which one begins with the other share a run, over the longest of them. */
static int plan_runs(encoding *p, const rec_query *q, int n, span *query, mb_err *e) {
    span longest = {NULL, 0};
    for (int i = 0; i < n; i++) {
        query[i] = latest(p->m, &q[i]);
        int rc = check_span(p->m, &query[i], i, e);
        if (rc != MB_OK)
            return rc;
        if (p->runs == 0 || !begins_alike(&longest, &query[i])) {
            p->first[p->runs++] = i;
            longest = query[i];
        } else if (query[i].n > longest.n) {
            longest = query[i];
        }
        p->run[p->runs - 1] =
            (mb_sequence){.length = longest.n, .read = mb_tokens_read, .user = (void *)(uintptr_t)longest.item};
    }
    p->first[p->runs] = n;
    return MB_OK;
}

static int keep_rows(void *user, const mb_rows *r, mb_err *e) {
    const encoding *p = user;
    const size_t D = (size_t)p->D;
    (void)e;
    for (int i = p->first[r->sequence]; i < p->first[r->sequence + 1]; i++) {
        const int64_t last = p->query[i].n - 1 - r->from;
        if (last >= 0 && last < r->n)
            memcpy(p->vector + (size_t)i * D, r->row + (size_t)last * D, D * sizeof(float));
    }
    return MB_OK;
}

int rec_model_encode(const rec_model *m, const rec_query *q, int n, float *vector, mb_err *e) {
    encoding p = {.m = m, .D = mb_model_config(m->engine)->D, .vector = vector};
    span *query = mb_calloc((size_t)n + 1, sizeof *query);
    p.run = mb_calloc((size_t)n + 1, sizeof *p.run);
    p.first = mb_calloc((size_t)n + 2, sizeof *p.first);
    int rc = query && p.run && p.first ? plan_runs(&p, q, n, query, e)
                                       : mb_fail(e, MB_NOMEM, "no memory to run %d histories", n);
    if (rc == MB_OK) {
        const mb_forward_options o = {.threads = m->o.threads, .memory = m->o.memory};
        const mb_sink sink = {keep_rows, &p};
        p.query = query;
        memset(vector, 0, (size_t)n * (size_t)p.D * sizeof *vector);
        if (p.runs > 0 && p.run[0].length > 0) /* an empty history joins any run: only if all are is there none */
            rc = mb_forward_run(m->engine, p.run, p.runs, &o, &sink, e);
    }
    mb_free(query);
    mb_free(p.run);
    mb_free(p.first);
    return rc;
}

/* ---- scores ---------------------------------------------------------------------------------------------------------
 */

int rec_model_scores(const rec_model *m, const float *vector, int n, float *score, mb_err *e) {
    const size_t D = (size_t)mb_model_config(m->engine)->D, V = (size_t)m->n_items + 1;
    const int block = mb_model_tile(m->engine), blocks = (n + block - 1) / block;
    int worst = MB_OK;
    mb_err first = {0};
#pragma omp parallel for num_threads(m->o.threads) schedule(dynamic, 1)
    for (int i = 0; i < blocks; i++) {
        const int from = i * block, rows = n - from < block ? n - from : block;
        const mb_rows r = {.layer = mb_model_config(m->engine)->n_layer,
                           .n = rows,
                           .worker = omp_get_thread_num(),
                           .row = vector + (size_t)from * D};
        mb_err own = {0};
        const int rc = mb_head_logits(m->engine, &r, score + (size_t)from * V, 0, &own);
        if (rc != MB_OK) {
#pragma omp critical(rec_model_scores_error)
            if (worst == MB_OK) {
                worst = rc;
                first = own;
            }
        }
    }
    return worst == MB_OK ? MB_OK : mb_fail(e, worst, "%s", first.text);
}

static int score_queries(void *self, const rec_query *q, int n, float *score, mb_err *e) {
    const rec_model *m = self;
    float *vector = mb_malloc((size_t)n * (size_t)mb_model_config(m->engine)->D * sizeof *vector);
    int rc = vector ? rec_model_encode(m, q, n, vector, e) : mb_fail(e, MB_NOMEM, "no memory for %d histories", n);
    if (rc == MB_OK)
        rc = rec_model_scores(m, vector, n, score, e);
    mb_free(vector);
    return rc;
}

rec_scorer rec_model_scorer(const rec_model *m) {
    return (rec_scorer){.name = mb_family_name(mb_model_config(m->engine)->family),
                        .score = score_queries,
                        .self = (void *)(uintptr_t)m,
                        .n_items = m->n_items};
}

/* ---- scores for a log of other numbers ------------------------------------------------------------------------------
 */

struct rec_log_scorer {
    const rec_model *m;
    int32_t n_items; /* of the log */
    int32_t *map, unknown;
    int same; /* the log's numbers are the model's */
};

int rec_log_scorer_create(rec_log_scorer **out, const rec_model *m, const rec_log *l, mb_err *e) {
    const int32_t n = rec_log_view(l)->n_items;
    rec_log_scorer *s = mb_calloc(1, sizeof *s);
    *out = NULL;
    int rc = s && (s->map = mb_calloc((size_t)n + 1, sizeof *s->map))
                 ? rec_model_map_items(m, l, s->map, &s->unknown, e)
                 : mb_fail(e, MB_NOMEM, "no memory to compare %d items with the model's", n);
    if (rc != MB_OK) {
        rec_log_scorer_destroy(s);
        return rc;
    }
    s->m = m;
    s->n_items = n;
    s->same = n == m->n_items;
    for (int32_t i = 0; i <= n && s->same; i++)
        s->same = s->map[i] == i;
    *out = s;
    return MB_OK;
}

void rec_log_scorer_destroy(rec_log_scorer *s) {
    if (!s)
        return;
    mb_free(s->map);
    mb_free(s);
}

int32_t rec_log_scorer_unknown(const rec_log_scorer *s) {
    return s->unknown;
}

const int32_t *rec_log_scorer_map(const rec_log_scorer *s) {
    return s->map;
}

static void map_queries(const rec_log_scorer *s, const rec_query *q, int n, rec_query *to, int32_t *item) {
    int32_t *at = item;
    for (int i = 0; i < n; i++) {
        to[i] = (rec_query){.user = q[i].user, .item = at, .n = rec_map_history(s->map, q[i].item, q[i].n, at)};
        at += to[i].n;
    }
}

static void spread_scores(const rec_log_scorer *s, const float *from, int n, float *score) {
    const size_t V = (size_t)s->m->n_items + 1, L = (size_t)s->n_items + 1;
#pragma omp parallel for num_threads(s->m->o.threads)
    for (int i = 0; i < n; i++) {
        score[(size_t)i * L] = from[(size_t)i * V];
        for (size_t k = 1; k < L; k++)
            score[(size_t)i * L + k] = s->map[k] ? from[(size_t)i * V + (size_t)s->map[k]] : -INFINITY;
    }
}

static int score_mapped(void *self, const rec_query *q, int n, float *score, mb_err *e) {
    const rec_log_scorer *s = self;
    size_t events = 0;
    for (int i = 0; i < n; i++)
        events += (size_t)q[i].n;
    rec_query *mapped = mb_calloc((size_t)n + 1, sizeof *mapped);
    int32_t *item = mb_calloc(events + 1, sizeof *item);
    float *own = mb_calloc((size_t)n + 1, ((size_t)s->m->n_items + 1) * sizeof *own);
    int rc = mapped && item && own ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %d histories", n);
    if (rc == MB_OK)
        map_queries(s, q, n, mapped, item);
    if (rc == MB_OK)
        rc = score_queries((void *)(uintptr_t)s->m, mapped, n, own, e);
    if (rc == MB_OK)
        spread_scores(s, own, n, score);
    mb_free(mapped);
    mb_free(item);
    mb_free(own);
    return rc;
}

rec_scorer rec_log_scorer_get(const rec_log_scorer *s) {
    rec_scorer scorer = rec_model_scorer(s->m);
    if (s->same)
        return scorer;
    scorer.score = score_mapped;
    scorer.self = (void *)(uintptr_t)s;
    scorer.n_items = s->n_items;
    return scorer;
}
