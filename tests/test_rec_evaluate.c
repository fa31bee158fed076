/* The evaluator against one that sorts everything, for scores full of ties, one and several targets, samples. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/rng.h"
#include "recsys/candidates.h"
#include "recsys/evaluate.h"
#include "tests/scratch.h"

enum { USERS = 60, ITEMS = 90, LONGEST = 70 };

static mb_err error;
static rec_log *events;
static const rec_view *view;
static rec_split split;
static const int K[] = {1, 5, 12, 40};
enum { N_K = sizeof K / sizeof *K };

/* ---- a scorer, and what it should get ---------------------------------------------------------------------------- */

enum { TIES, EQUAL, MISSING, NANS, FAILS }; /* MISSING: infinities among them */
static int kind;

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u;
    return x ^ (x >> 32);
}

static float score_of(int32_t user, int64_t n, int32_t item) {
    const uint64_t h = mix(((uint64_t)user << 40) ^ ((uint64_t)n << 20) ^ (uint64_t)item);
    if (kind == EQUAL)
        return -3;
    if (kind == MISSING && h % 5 == 0)
        return h % 10 ? INFINITY : -INFINITY;
    if (kind == NANS && user == 41 && item == 17)
        return NAN;
    return (float)(h % 23) / 7 - 1;
}

static int score(void *self, const rec_query *q, int n, float *to, mb_err *e) {
    const rec_view *v = self;
    for (int i = 0; i < n; i++) {
        const int64_t from = v->user_at[q[i].user];
        assert_ptr_equal(q[i].item, v->item + from);
        assert_true(from + q[i].n <= v->user_at[q[i].user + 1]);
        to[(int64_t)i * (ITEMS + 1)] = NAN; /* the pad's means nothing */
        for (int32_t k = 1; k <= ITEMS; k++)
            to[(int64_t)i * (ITEMS + 1) + k] = score_of(q[i].user, q[i].n, k);
    }
    return kind == FAILS ? mb_fail(e, MB_IO, "the scorer fails") : MB_OK;
}

static rec_scorer scorer(void) {
    return (rec_scorer){"hash", score, (void *)(uintptr_t)view, ITEMS};
}

typedef struct slow { /* the whole evaluation, by sorting */
    double sum[2][N_K][REC_METRICS], weight;
    char covered[2][N_K][ITEMS + 1];
    double coverage[2][N_K];
    rec_target target[USERS * LONGEST];
    int64_t targets, queries, users, skipped;
    int64_t lenient; /* targets that ties in their favour would put further up */
} slow;

static int32_t sort_user;
static int64_t sort_n;

static int by_score(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    const float s = score_of(sort_user, sort_n, x), t = score_of(sort_user, sort_n, y);
    return s != t ? (s < t) - (s > t) : (x > y) - (x < y);
}

static int is_in(int32_t item, const int32_t *list, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (list[i] == item)
            return 1;
    return 0;
}

/* Candidates of one query in their order; how many. */
static int candidates(int f, const int32_t *history, int64_t n, const int32_t *target, int64_t m, int32_t *to) {
    int c = 0;
    for (int32_t i = 1; i <= ITEMS; i++)
        if (f == 0 || is_in(i, target, m) || !is_in(i, history, n))
            to[c++] = i;
    qsort(to, (size_t)c, sizeof *to, by_score);
    return c;
}

/* The formulas of metrics.h over the sorted list. */
static void add_metrics(const int32_t *list, int c, const int32_t *target, int64_t m, int k, double *sum) {
    double dcg = 0, ideal = 0, precisions = 0, first = 0;
    int hits = 0;
    for (int i = 0; i < k && i < c; i++)
        if (is_in(list[i], target, m)) {
            hits++;
            dcg += log(2) / log(i + 2);
            precisions += (double)hits / (i + 1);
            first = first > 0 ? first : 1.0 / (i + 1);
        }
    for (int i = 0; i < m && i < k; i++)
        ideal += log(2) / log(i + 2);
    sum[REC_HR] += hits > 0;
    sum[REC_RECALL] += (double)hits / (double)m;
    sum[REC_PRECISION] += (double)hits / k;
    sum[REC_NDCG] += dcg / ideal;
    sum[REC_MRR] += first;
    sum[REC_MAP] += precisions / (double)(m < k ? m : k);
}

static void slow_query(slow *s, int32_t u, int64_t n, const int32_t *target, int64_t m, const int64_t *event,
                       double query[2][N_K][REC_METRICS]) {
    const int32_t *history = view->item + view->user_at[u];
    int32_t list[ITEMS];
    sort_user = u;
    sort_n = n;
    for (int f = 0; f < 2; f++) {
        const int c = candidates(f, history, n, target, m, list);
        for (int64_t t = 0; t < m; t++) {
            rec_target *to = &s->target[s->targets + t];
            *to = (rec_target){u, target[t], event[t], n, {to->rank[0], 0}, {to->candidate[0], 0}};
            to->candidate[f] = c;
            for (int i = 0; i < c; i++)
                if (list[i] == target[t])
                    to->rank[f] = i + 1;
            s->lenient += to->rank[f] > 1 && score_of(u, n, list[to->rank[f] - 2]) == score_of(u, n, target[t]);
        }
        for (int k = 0; k < N_K; k++) {
            add_metrics(list, c, target, m, K[k], query[f][k]);
            for (int i = 0; i < c && i < K[k]; i++)
                s->covered[f][k][list[i]] = 1;
        }
    }
    s->targets += m;
    s->queries++;
}

static void slow_user(slow *s, int32_t u, const rec_evaluate_options *o) {
    const int64_t base = view->user_at[u];
    const int64_t from = o->part == REC_PART_VALID ? split.valid_at[u] : split.test_at[u];
    const int64_t to = o->part == REC_PART_VALID ? split.test_at[u] : view->user_at[u + 1];
    double mine[2][N_K][REC_METRICS] = {0};
    const int64_t before = s->queries;
    int32_t set[LONGEST];
    int64_t at[LONGEST], m = 0;
    for (int64_t t = from; t < to; t++) {
        if (o->ask == REC_ASK_SETS) {
            if (!is_in(view->item[t], set, m)) {
                at[m] = t;
                set[m++] = view->item[t];
            }
        } else if (t - base < o->min_history) {
            s->skipped++;
        } else {
            slow_query(s, u, t - base, &view->item[t], 1, &t, mine);
        }
    }
    if (m > 0 && from - base < o->min_history)
        s->skipped++;
    else if (m > 0)
        slow_query(s, u, from - base, set, m, at, mine);
    const double n = (double)(s->queries - before);
    if (n == 0)
        return;
    s->users++;
    s->weight += o->over_queries ? n : 1;
    for (int i = 0; i < 2 * N_K * REC_METRICS; i++)
        (&s->sum[0][0][0])[i] += (&mine[0][0][0])[i] / (o->over_queries ? 1 : n);
}

static slow *slowly(const rec_evaluate_options *o) {
    static slow s;
    memset(&s, 0, sizeof s);
    for (int32_t u = 0; u < USERS; u++)
        slow_user(&s, u, o);
    for (int f = 0; f < 2; f++)
        for (int k = 0; k < N_K; k++) {
            int n = 0;
            for (int i = 1; i <= ITEMS; i++)
                n += s.covered[f][k][i];
            s.coverage[f][k] = (double)n / ITEMS;
        }
    return &s;
}

static void check_against(const slow *s, const rec_evaluation *v) {
    assert_int_equal(v->users, s->users);
    assert_int_equal(v->queries, s->queries);
    assert_int_equal(v->targets, s->targets);
    assert_int_equal(v->skipped, s->skipped);
    for (int64_t t = 0; t < s->targets; t++) {
        const rec_target *a = &v->target[t], *b = &s->target[t];
        if (a->user != b->user || a->item != b->item || a->event != b->event || a->history != b->history ||
            memcmp(a->rank, b->rank, sizeof a->rank) != 0 || memcmp(a->candidate, b->candidate, sizeof a->rank) != 0)
            fail_msg("target %d: user %d item %d ranks %d %d of %d %d; expected user %d item %d ranks %d %d of %d %d",
                     (int)t, a->user, a->item, a->rank[0], a->rank[1], a->candidate[0], a->candidate[1], b->user,
                     b->item, b->rank[0], b->rank[1], b->candidate[0], b->candidate[1]);
    }
    for (int f = 0; f < 2; f++)
        for (int k = 0; k < N_K; k++) {
            for (int m = 0; m < REC_METRICS; m++) {
                const double got = rec_evaluation_at(v, f, (rec_metric)m, K[k])->value;
                const double want = s->sum[f][k][m] / s->weight;
                if (!(fabs(got - want) < 1e-12))
                    fail_msg("%s@%d, side %d: %.17g, expected %.17g", rec_metric_name((rec_metric)m), K[k], f, got,
                             want);
            }
            assert_true(v->coverage[f][k] == s->coverage[f][k]);
        }
}

static rec_evaluate_options options(void) {
    return (rec_evaluate_options){
        .part = REC_PART_TEST, .k = K, .n_k = N_K, .min_history = 1, .coverage = 1, .keep = 1, .threads = 2};
}

static void evaluate(rec_evaluation *v, const rec_evaluate_options *o) {
    const rec_scorer s = scorer();
    if (rec_evaluate(v, events, &split, &s, o, &error) != MB_OK)
        fail_msg("%s", error.text);
}

static void as_sorted(void **state) {
    (void)state;
    for (kind = TIES; kind <= MISSING; kind++)
        for (int way = 0; way < 16; way++) {
            rec_evaluate_options o = options();
            rec_evaluation v;
            o.part = way & 1 ? REC_PART_VALID : REC_PART_TEST;
            o.ask = way & 2 ? REC_ASK_SETS : REC_ASK_EVENTS;
            o.over_queries = (way & 4) != 0;
            o.min_history = way & 8 ? 0 : 3;
            const slow *s = slowly(&o);
            assert_true(s->lenient > 20); /* the rule for ties shows */
            assert_true(o.min_history == 0 ? s->skipped == 0 : s->skipped > 0);
            evaluate(&v, &o);
            check_against(s, &v);
            rec_evaluation_fini(&v);
        }
    kind = TIES;
}

/* All scores alike: the rank is the number of the item, and of its history only lower numbers count. */
static void all_alike(void **state) {
    (void)state;
    const rec_evaluate_options o = options();
    rec_evaluation v;
    kind = EQUAL;
    evaluate(&v, &o);
    for (int64_t t = 0; t < v.targets; t++)
        assert_int_equal(v.target[t].rank[0], v.target[t].item);
    kind = TIES;
    rec_evaluation_fini(&v);
}

/* ---- laws -------------------------------------------------------------------------------------------------------- */

static void same(const rec_evaluation *a, const rec_evaluation *b) {
    assert_memory_equal(a->figure, b->figure, (size_t)a->columns * sizeof *a->figure);
    assert_memory_equal(a->coverage, b->coverage, sizeof a->coverage);
    assert_memory_equal(a->mean_rank, b->mean_rank, sizeof a->mean_rank);
    for (int64_t t = 0; t < a->targets; t++)
        assert_memory_equal(a->target[t].rank, b->target[t].rank, 4 * sizeof *a->target[t].rank);
}

static void any_way(void **state) {
    (void)state;
    for (int c = REC_CANDIDATES_FULL; c <= REC_CANDIDATES_POPULAR; c++)
        for (int ask = 0; ask < 2; ask++) {
            rec_evaluate_options o = options();
            rec_evaluation one, other;
            o.candidates = (rec_candidates)c;
            o.negatives = 13;
            o.ask = (rec_ask)ask;
            o.resamples = 50;
            o.threads = 1;
            evaluate(&one, &o);
            for (o.threads = 1; o.threads <= 5; o.threads += 2)
                for (o.memory = 1; o.memory <= 1 << 20; o.memory <<= 10) {
                    evaluate(&other, &o);
                    same(&one, &other);
                    rec_evaluation_fini(&other);
                }
            o.keep = 0;
            evaluate(&other, &o);
            assert_null(other.target);
            assert_null(other.value);
            assert_memory_equal(one.figure, other.figure, (size_t)one.columns * sizeof *one.figure);
            rec_evaluation_fini(&other);
            rec_evaluation_fini(&one);
        }
}

/* Intervals hold the value; differences are paired: of a scorer to itself nothing, however few the users. */
static void intervals(void **state) {
    (void)state;
    rec_evaluate_options o = options();
    rec_evaluation a, b;
    rec_figure d[2 * N_K * REC_METRICS];
    const rec_bootstrap boot = {.seed = 4, .resamples = 200, .threads = 2};
    o.resamples = 200;
    evaluate(&a, &o);
    for (int c = 0; c < a.columns; c++)
        assert_true(a.figure[c].low <= a.figure[c].value && a.figure[c].value <= a.figure[c].high);
    assert_int_equal(rec_evaluation_difference(&a, &a, &boot, d, &error), MB_OK);
    for (int c = 0; c < a.columns; c++)
        assert_true(d[c].value == 0 && d[c].low == 0 && d[c].high == 0);
    kind = EQUAL;
    evaluate(&b, &o);
    kind = TIES;
    assert_int_equal(rec_evaluation_difference(&a, &b, &boot, d, &error), MB_OK);
    for (int c = 0; c < a.columns; c++) {
        assert_true(fabs(d[c].value - (a.figure[c].value - b.figure[c].value)) < 1e-12);
        assert_true(d[c].low <= d[c].value && d[c].value <= d[c].high);
    }
    rec_evaluation_fini(&b);
    o.part = REC_PART_VALID;
    evaluate(&b, &o);
    assert_int_equal(rec_evaluation_difference(&a, &b, &boot, d, &error), MB_RANGE);
    mb_err_clear(&error);
    rec_evaluation_fini(&b);
    o = options();
    o.round4 = 1;
    evaluate(&b, &o);
    for (int c = 0; c < b.columns; c++)
        assert_true(b.figure[c].value == rec_round4(a.figure[c].value));
    rec_evaluation_fini(&a);
    rec_evaluation_fini(&b);
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

typedef struct keyed {
    int32_t item;
    double key;
} keyed;

static int by_key(const void *a, const void *b) {
    const keyed *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key) - (x->key > y->key) : x->item - y->item;
}

/* The rank of a target among a sample drawn by sorting all keys. */
static int32_t sampled_rank(const rec_target *t, int f, const double *weight, int n, int *candidates_found) {
    keyed all[ITEMS];
    int c = 0, taken = 0, before = 0;
    mb_rng g;
    mb_rng_init(&g, 77, (uint64_t)t->event);
    const int64_t base = view->user_at[t->user];
    const int64_t known = f ? t->history : split.valid_at[t->user] - base;
    for (int32_t i = 1; i <= ITEMS; i++) {
        const double u = ((double)mb_rng_u32(&g) + 0.5) / 4294967296.0;
        if (i != t->item && !is_in(i, view->item + base, known) && (!weight || weight[i] > 0))
            all[c++] = (keyed){i, weight ? log(u) / weight[i] : u};
    }
    qsort(all, (size_t)c, sizeof *all, by_key);
    for (; taken < n && taken < c; taken++) {
        const float s = score_of(t->user, t->history, all[taken].item), own = score_of(t->user, t->history, t->item);
        before += s > own || (s == own && all[taken].item < t->item);
    }
    *candidates_found = taken + 1;
    return before + 1;
}

static void samples(void **state) {
    (void)state;
    double weight[ITEMS + 1] = {0};
    for (int32_t u = 0; u < USERS; u++)
        for (int64_t t = view->user_at[u]; t < split.valid_at[u]; t++)
            weight[view->item[t]]++;
    for (int popular = 0; popular < 2; popular++)
        for (int n = 1; n < 200; n += 33) {
            rec_evaluate_options o = options();
            rec_evaluation v;
            o.candidates = popular ? REC_CANDIDATES_POPULAR : REC_CANDIDATES_UNIFORM;
            o.negatives = n;
            o.seed = 77;
            evaluate(&v, &o);
            assert_true(isnan(v.coverage[0][0]));
            for (int64_t t = 0; t < v.targets; t++)
                for (int f = 0; f < 2; f++) {
                    int c;
                    assert_int_equal(v.target[t].rank[f],
                                     sampled_rank(&v.target[t], f, popular ? weight : NULL, n, &c));
                    assert_int_equal(v.target[t].candidate[f], c);
                }
            rec_evaluation_fini(&v);
        }
}

/* More candidates than there are: the same as all of them, filtered. */
static void whole_sample(void **state) {
    (void)state;
    rec_evaluate_options o = options();
    rec_evaluation full, sample;
    o.ask = REC_ASK_SETS;
    evaluate(&full, &o);
    o.candidates = REC_CANDIDATES_UNIFORM;
    o.negatives = 10000;
    evaluate(&sample, &o);
    for (int64_t t = 0; t < full.targets; t++) {
        assert_int_equal(full.target[t].rank[1], sample.target[t].rank[1]);
        assert_int_equal(full.target[t].candidate[1], sample.target[t].candidate[1]);
    }
    rec_evaluation_fini(&full);
    rec_evaluation_fini(&sample);
}

/* One draw comes in proportion to the weights, two without putting back: chi-square over 40,000 streams. */
static void proportions(void **state) {
    (void)state;
    enum { N = 6, DRAWS = 40000 };
    static const double WEIGHT[N + 1] = {0, 1, 2, 3, 0, 10, 4};
    const uint64_t none[N + 1] = {0}, fifth[N + 1] = {0, 0, 0, 0, 0, 1, 0};
    int one[N + 1] = {0}, second[N + 1] = {0};
    for (uint64_t s = 0; s < DRAWS; s++) {
        rec_ranked a[2], b[1];
        rec_heap first = {a, 0, 2}, without = {b, 0, 1};
        const rec_sampler r = {N, WEIGHT, 1};
        rec_sample_two(&r, s, (rec_marks){none, 1}, (rec_marks){none, 1}, (rec_marks){fifth, 1}, &first, &without);
        rec_heap_sort(&first);
        one[a[0].item]++;
        second[b[0].item]++;
        assert_true(first.n == 2 && without.n == 1 && a[0].item != a[1].item);
        assert_true(a[0].item == 5 || a[0].item == b[0].item); /* what is forbidden moves nothing else */
    }
    double x = 0, y = 0;
    for (int i = 1; i <= N; i++) {
        const double p = WEIGHT[i] / 20 * DRAWS, q = i == 5 ? 0 : WEIGHT[i] / 10 * DRAWS;
        x += p > 0 ? (one[i] - p) * (one[i] - p) / p : one[i];
        y += q > 0 ? (second[i] - q) * (second[i] - q) / q : second[i];
    }
    if (x > 25 || y > 25) /* 4 and 3 degrees of freedom: one in 20,000 */
        fail_msg("chi-square %.1f and %.1f", x, y);
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void refused(const rec_scorer *s, const rec_evaluate_options *o, int status, const char *words) {
    rec_evaluation v;
    const long before = mb_mem_live_blocks();
    mb_err_clear(&error);
    assert_int_equal(rec_evaluate(&v, events, &split, s, o, &error), status);
    if (!strstr(error.text, words))
        fail_msg("'%s' does not say '%s'", error.text, words);
    rec_evaluation_fini(&v);
    assert_int_equal(mb_mem_live_blocks(), before);
    mb_err_clear(&error);
}

static void refusals(void **state) {
    (void)state;
    rec_scorer s = scorer();
    rec_evaluate_options o = options();
    static const int falling[] = {5, 5}, zero[] = {0};
    kind = NANS;
    for (int c = 0; c < 2; c++) {
        o.candidates = (rec_candidates)c;
        o.negatives = 10000; /* so that the item is drawn */
        refused(&s, &o, MB_RANGE, "hash: the score of item 'i17' for user 'u41' after ");
    }
    kind = FAILS;
    refused(&s, &o, MB_IO, "the scorer fails");
    kind = TIES;
    o = options();
    o.k = falling;
    o.n_k = 2;
    refused(&s, &o, MB_RANGE, "K = 5");
    o.k = zero;
    o.n_k = 1;
    refused(&s, &o, MB_RANGE, "K = 0");
    o.n_k = 0;
    refused(&s, &o, MB_RANGE, "0 values of K");
    o = options();
    o.candidates = REC_CANDIDATES_UNIFORM;
    refused(&s, &o, MB_RANGE, "0 sampled candidates");
    o = options();
    const atomic_int stop = 1;
    o.stop = &stop;
    refused(&s, &o, MB_STOPPED, "stopped after 0 of ");
    o = options();
    s.n_items--;
    refused(&s, &o, MB_RANGE, "scores 89 items, the log has 90");
}

static void no_memory(void **state) {
    (void)state;
    const long before = mb_mem_live_blocks();
    const rec_scorer s = scorer();
    for (int way = 0; way < 3; way++) {
        rec_evaluate_options o = options();
        o.candidates = way == 2 ? REC_CANDIDATES_POPULAR : REC_CANDIDATES_FULL;
        o.negatives = 5;
        o.ask = way ? REC_ASK_SETS : REC_ASK_EVENTS;
        o.resamples = 3;
        for (long n = 1, fired = 1; fired; n++) {
            rec_evaluation v;
            mb_err_clear(&error);
            mb_mem_fail_nth(n, 0);
            const int rc = rec_evaluate(&v, events, &split, &s, &o, &error);
            fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
            rec_evaluation_fini(&v);
            assert_int_equal(mb_mem_live_blocks(), before);
            assert_true(n < 200);
        }
    }
    mb_err_clear(&error);
}

/* ---- the log ----------------------------------------------------------------------------------------------------- */

/* Users of 1 to 70 events, with repeats; runs of the split from none to many. The first user names all items, so that
 * item i is number i. */
static int prepare(void **state) {
    (void)state;
    static char text[USERS * (LONGEST + ITEMS) * 6];
    size_t at = 0;
    mb_rng r;
    mb_rng_init(&r, 8, 0);
    for (int u = 0; u < USERS; u++) {
        const int n = u == 0 ? ITEMS : 1 + (int)mb_rng_below(&r, LONGEST);
        at += (size_t)snprintf(text + at, sizeof text - at, "u%d", u);
        for (int i = 0; i < n; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, " i%d",
                                   u == 0 ? i + 1 : 1 + (int)(mb_rng_uniform(&r) * mb_rng_uniform(&r) * ITEMS));
        at += (size_t)snprintf(text + at, sizeof text - at, "\n");
    }
    mb_log_set_level(MB_LOG_QUIET);
    if (rec_log_open(&events, scratch_text("events.txt", text), NULL, &error) != MB_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    view = rec_log_view(events);
    assert_int_equal(view->n_users, USERS);
    assert_int_equal(view->n_items, ITEMS);
    assert_int_equal(rec_log_find_item(events, "i17", 3), 17);
    split = (rec_split){
        .n_users = USERS, .valid_at = mb_calloc(USERS, sizeof(int64_t)), .test_at = mb_calloc(USERS, sizeof(int64_t))};
    for (int u = 0; u < USERS; u++) {
        const int64_t n = view->user_at[u + 1] - view->user_at[u];
        int64_t a = u == 0 ? ITEMS - 2 : (int64_t)mb_rng_below(&r, (uint64_t)n + 1);
        int64_t b = u == 0 ? ITEMS - 1 : (int64_t)mb_rng_below(&r, (uint64_t)n + 1);
        split.valid_at[u] = view->user_at[u] + (a < b ? a : b);
        split.test_at[u] = view->user_at[u] + (a < b ? b : a);
        split.train += split.valid_at[u] - view->user_at[u];
        split.valid += split.test_at[u] - split.valid_at[u];
        split.test += view->user_at[u + 1] - split.test_at[u];
    }
    return 0;
}

static int clean_up(void **state) {
    (void)state;
    rec_split_free(&split);
    rec_log_close(events);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_sorted),   cmocka_unit_test(all_alike), cmocka_unit_test(any_way),
        cmocka_unit_test(intervals),   cmocka_unit_test(samples),   cmocka_unit_test(whole_sample),
        cmocka_unit_test(proportions), cmocka_unit_test(refusals),  cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
