/* Groups by a hash that a sequence shares with its reverse complement, every match compared base by base. Splits deal
 * whole groups, largest first and in random order among equals, each to the part that lacks most of its fraction.
 * Refuses fractions that are none, parts that stay empty, given parts of unknown name. */
#include "genomics/folds.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "core/rng.h"

/* ---- groups ------------------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t h) {
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

/* h = sum_i (token + 1) P^i mod 2^64 of the sequence and of its reverse complement, put together symmetrically. */
static uint64_t strandless_hash(const dna_alphabet *a, const dna_example *x) {
    const uint64_t P = 0x9e3779b97f4a7c15u;
    uint64_t forward = 0, backward = 0;
    for (int64_t i = 0; i < x->length; i++) {
        forward = forward * P + x->token[i] + 1;
        backward = backward * P + a->complement[x->token[x->length - 1 - i]] + 1;
    }
    return mix(mix(forward) + mix(backward) + (uint64_t)x->length);
}

static int same_sequence(const dna_alphabet *a, const dna_example *x, const dna_example *y) {
    if (x->length != y->length)
        return 0;
    if (memcmp(x->token, y->token, (size_t)x->length) == 0)
        return 1;
    for (int64_t i = 0; i < x->length; i++)
        if (x->token[i] != a->complement[y->token[y->length - 1 - i]])
            return 0;
    return 1;
}

static int same_labels(const dna_labelled *d, const dna_example *x, const dna_example *y) {
    if (x->value)
        return memcmp(x->value, y->value, (size_t)d->n_labels * sizeof *x->value) == 0;
    if (x->base && memcmp(x->token, y->token, (size_t)x->length) == 0)
        return memcmp(x->base, y->base, (size_t)x->length) == 0;
    if (x->base)
        for (int64_t i = 0; i < x->length; i++)
            if (x->base[i] != y->base[y->length - 1 - i])
                return 0;
    return x->label == y->label;
}

/* Counts what the groups are; size (n) and bad (n) start as 0. */
static void count_groups(dna_groups *g, const dna_labelled *d, int64_t *size, uint8_t *bad) {
    for (int64_t i = 0; i < g->n; i++) {
        const int64_t first = g->of[i];
        g->groups += first == i;
        g->repeated += ++size[first] == 2;
        g->copies += first != i;
        if (bad[first] || same_labels(d, &d->at[first], &d->at[i]))
            continue;
        bad[first] = 1;
        if (!g->conflicts++) {
            g->conflict[0] = first;
            g->conflict[1] = i;
        }
    }
}

int dna_groups_find(dna_groups *g, const dna_labelled *d, const dna_alphabet *a, mb_err *e) {
    memset(g, 0, sizeof *g);
    g->conflict[0] = g->conflict[1] = -1;
    g->n = d->n;
    uint64_t places = 64;
    while (places < 2 * (uint64_t)d->n)
        places *= 2;
    int64_t *slot = mb_calloc(places, sizeof *slot); /* example + 1 */
    int64_t *size = mb_calloc((size_t)d->n, sizeof *size);
    uint8_t *bad = mb_calloc((size_t)d->n, sizeof *bad);
    g->of = mb_calloc((size_t)d->n, sizeof *g->of);
    const int enough = slot && size && bad && g->of;
    for (int64_t i = 0; enough && i < d->n; i++) {
        uint64_t at = strandless_hash(a, &d->at[i]) & (places - 1);
        while (slot[at] && !same_sequence(a, &d->at[slot[at] - 1], &d->at[i]))
            at = (at + 1) & (places - 1);
        if (!slot[at])
            slot[at] = i + 1;
        g->of[i] = slot[at] - 1;
    }
    if (enough)
        count_groups(g, d, size, bad);
    mb_free(slot);
    mb_free(size);
    mb_free(bad);
    if (enough)
        return MB_OK;
    dna_groups_fini(g);
    return mb_fail(e, MB_NOMEM, "no memory to compare %" PRId64 " sequences", d->n);
}

void dna_groups_fini(dna_groups *g) {
    mb_free(g->of);
    memset(g, 0, sizeof *g);
}

static int MB_PRINTF(3, 4) say(dna_text *said, mb_err *e, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    const size_t n = strlen(line);
    line[n] = '\n';
    return dna_text_add(said, line, (int64_t)n + 1, e);
}

int dna_groups_say(const dna_groups *g, const dna_labelled *d, dna_text *said, mb_err *e) {
    char first[300], second[300];
    int rc = MB_OK;
    if (g->copies)
        rc = say(said, e,
                 "%" PRId64 " sequences repeat another or its reverse complement (%" PRId64
                 " groups); each group stays in one part",
                 g->copies, g->repeated);
    if (!rc && g->conflicts)
        rc = say(said, e, "%" PRId64 " of these groups have labels that contradict each other, the first at %s and %s",
                 g->conflicts, dna_example_place(d, &d->at[g->conflict[0]], first, sizeof first),
                 dna_example_place(d, &d->at[g->conflict[1]], second, sizeof second));
    return rc;
}

/* ---- shared stretches -------------------------------------------------------------------------------------------- */

typedef struct stretch {
    uint64_t hash;
    int64_t example;
} stretch;

static int by_hash(const void *a, const void *b) {
    const stretch *p = a, *q = b;
    if (p->hash != q->hash)
        return p->hash < q->hash ? -1 : 1;
    return (p->example > q->example) - (p->example < q->example);
}

/* Hashes of all stretches of k bases without N into s; returns their number. With t the tokens plus 1, c those of the
 * complements, forward = sum_i t_i P^(k-1-i) and backward = sum_i c_i P^i change places on the other strand. */
static int64_t hash_stretches(const dna_alphabet *a, const dna_example *x, int64_t example, int64_t k, stretch *s) {
    const uint64_t P = 0x9e3779b97f4a7c15u;
    uint64_t highest = 1, inverse = 1, forward = 0, backward = 0;
    int64_t n = 0, run = 0; /* run: bases since the last N */
    for (int64_t i = 1; i < k; i++)
        highest *= P;
    for (int i = 0; i < 6; i++) /* Newton's iteration: P inverse = 1 mod 2^64 */
        inverse *= 2 - P * inverse;
    for (int64_t i = 0; i < x->length; i++) {
        const uint8_t t = x->token[i];
        const int base = t == a->base[0] || t == a->base[1] || t == a->base[2] || t == a->base[3];
        run = base ? run + 1 : 0;
        if (i >= k) {
            forward -= (x->token[i - k] + (uint64_t)1) * highest;
            backward -= a->complement[x->token[i - k]] + (uint64_t)1;
        }
        forward = forward * P + t + 1;
        backward = backward * inverse + (a->complement[t] + (uint64_t)1) * highest;
        if (run >= k)
            s[n++] = (stretch){mix(forward) + mix(backward), example};
    }
    return n;
}

static int64_t root(int64_t *of, int64_t i) {
    while (of[i] != i)
        i = of[i] = of[of[i]];
    return i;
}

/* The lower root becomes the root of both. */
static void unite(int64_t *of, int64_t i, int64_t j) {
    i = root(of, i);
    j = root(of, j);
    if (i < j)
        of[j] = i;
    else
        of[i] = j;
}

/* groups, repeated and copies anew; returns the size of the largest group, or MB_NOMEM. */
static int64_t count_again(dna_groups *g) {
    int64_t *size = mb_calloc((size_t)g->n + 1, sizeof *size), most = 0;
    if (!size)
        return MB_NOMEM;
    g->groups = g->repeated = g->copies = 0;
    for (int64_t i = 0; i < g->n; i++) {
        const int64_t first = g->of[i] = root(g->of, i);
        g->groups += first == i;
        g->copies += first != i;
        g->repeated += ++size[first] == 2;
        most = size[first] > most ? size[first] : most;
    }
    mb_free(size);
    return most;
}

int dna_groups_join(dna_groups *g, const dna_labelled *d, const dna_alphabet *a, int64_t shared, dna_text *said,
                    mb_err *e) {
    enum { LEAST = 8 };
    if (shared < LEAST)
        return mb_fail(e, MB_RANGE, "stretches of %" PRId64 " bases are shared by chance; expected %d or more", shared,
                       (int)LEAST);
    stretch *s = mb_calloc((size_t)d->n_bases + 1, sizeof *s);
    int64_t n = 0, most = MB_NOMEM;
    for (int64_t i = 0; s && i < d->n; i++)
        if (g->of[i] == i)
            n += hash_stretches(a, &d->at[i], i, shared, s + n);
    if (s) {
        qsort(s, (size_t)n, sizeof *s, by_hash);
        for (int64_t i = 1; i < n; i++)
            if (s[i].hash == s[i - 1].hash)
                unite(g->of, s[i].example, s[i - 1].example);
        most = count_again(g);
    }
    mb_free(s);
    if (most < 0)
        return mb_fail(e, MB_NOMEM, "no memory to compare stretches of %" PRId64 " bases", d->n_bases);
    g->shared = shared;
    return say(said, e,
               "with those that share %" PRId64 " bases in a row, on either strand: %" PRId64 " groups, %" PRId64
               " of them of more than one sequence, the largest of %" PRId64,
               shared, g->groups, g->repeated, most);
}

/* ---- random splits ----------------------------------------------------------------------------------------------- */

typedef struct unit {
    uint64_t stratum, random;
    int64_t first, size; /* lowest example, examples */
} unit;

static int by_deal(const void *a, const void *b) {
    const unit *p = a, *q = b;
    if (p->stratum != q->stratum)
        return p->stratum < q->stratum ? -1 : 1;
    if (p->size != q->size)
        return p->size > q->size ? -1 : 1;
    if (p->random != q->random)
        return p->random < q->random ? -1 : 1;
    return p->first < q->first ? -1 : p->first > q->first;
}

static int by_value(const void *a, const void *b) {
    const double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

/* Boundaries of tenths of the first number of each example, into edge (9). */
static int tenths(const dna_labelled *d, double edge[9], mb_err *e) {
    double *v = mb_calloc((size_t)d->n, sizeof *v);
    if (!v)
        return mb_fail(e, MB_NOMEM, "no memory to order %" PRId64 " examples", d->n);
    for (int64_t i = 0; i < d->n; i++)
        v[i] = d->at[i].value[0];
    qsort(v, (size_t)d->n, sizeof *v, by_value);
    for (int i = 0; i < 9; i++)
        edge[i] = v[(d->n - 1) * (i + 1) / 10];
    mb_free(v);
    return MB_OK;
}

static uint64_t stratum_of(const dna_labelled *d, const dna_example *x, const double edge[9]) {
    uint64_t s = 0;
    if (d->task == DNA_TASK_CLASS)
        return (uint64_t)x->label;
    if (d->task == DNA_TASK_REGRESSION)
        while (s < 9 && x->value[0] > edge[s])
            s++;
    if (d->task == DNA_TASK_MULTI)
        for (int c = 0; c < d->n_labels; c++)
            s = mix(s + (x->value[c] != 0) + 1);
    return s;
}

/* The groups in the order in which they are dealt; *n of them. mb_free. */
static unit *list_units(const dna_labelled *d, const dna_groups *g, uint64_t seed, int64_t *n, mb_err *e) {
    double edge[9] = {0};
    if (d->task == DNA_TASK_REGRESSION && tenths(d, edge, e))
        return NULL;
    unit *u = mb_calloc((size_t)g->groups, sizeof *u);
    int64_t *at = u ? mb_calloc((size_t)d->n, sizeof *at) : NULL;
    if (!at) {
        mb_free(u);
        (void)mb_fail(e, MB_NOMEM, "no memory to split %" PRId64 " examples", d->n);
        return NULL;
    }
    mb_rng r;
    mb_rng_init(&r, seed, 0);
    *n = 0;
    for (int64_t i = 0; i < d->n; i++) {
        if (g->of[i] == i) {
            const uint64_t random = mb_rng_u32(&r) | (uint64_t)mb_rng_u32(&r) << 32;
            at[i] = *n;
            u[(*n)++] = (unit){.stratum = stratum_of(d, &d->at[i], edge), .random = random, .first = i};
        }
        u[at[g->of[i]]].size++;
    }
    mb_free(at);
    qsort(u, (size_t)*n, sizeof *u, by_deal);
    return u;
}

/* Deals the units of one stratum. lack (n_parts): examples that a part is short of, carried from stratum to stratum so
 * that many small strata add up to the fractions. */
static void deal(int *part, const unit *u, int64_t n, const double *fraction, int n_parts, double *lack) {
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++)
        total += u[i].size;
    for (int p = 0; p < n_parts; p++)
        lack[p] += fraction[p] * (double)total;
    for (int64_t i = 0; i < n; i++) {
        int best = 0;
        for (int p = 1; p < n_parts; p++)
            if (lack[p] > lack[best] + 1e-9)
                best = p;
        lack[best] -= (double)u[i].size;
        part[u[i].first] = best;
    }
}

static int check_fractions(const double *fraction, int n_parts, mb_err *e) {
    double sum = 0;
    for (int p = 0; p < n_parts; p++) {
        if (!(fraction[p] > 0 && fraction[p] <= 1))
            return mb_fail(e, MB_RANGE, "the fraction %g of part %d is not between 0 and 1", fraction[p], p + 1);
        sum += fraction[p];
    }
    if (!(fabs(sum - 1) <= 1e-9))
        return mb_fail(e, MB_RANGE, "the fractions of the parts sum to %g, not to 1", sum);
    return MB_OK;
}

int dna_folds_random(int *part, const dna_labelled *d, const dna_groups *g, const double *fraction, int n_parts,
                     uint64_t seed, mb_err *e) {
    int64_t n = 0;
    int rc = check_fractions(fraction, n_parts, e);
    if (rc)
        return rc;
    double *lack = mb_calloc((size_t)n_parts, sizeof *lack);
    if (!lack)
        return mb_fail(e, MB_NOMEM, "no memory for %d parts", n_parts);
    unit *u = list_units(d, g, seed, &n, e);
    if (!u) {
        mb_free(lack);
        return MB_NOMEM;
    }
    for (int64_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && u[to].stratum == u[from].stratum;)
            to++;
        deal(part, u + from, to - from, fraction, n_parts, lack);
    }
    mb_free(u);
    for (int p = 0; p < n_parts; p++)
        lack[p] = 0;
    for (int64_t i = 0; i < d->n; i++) {
        part[i] = part[g->of[i]];
        lack[part[i]]++;
    }
    for (int p = 0; !rc && p < n_parts; p++)
        if (lack[p] == 0)
            rc = mb_fail(e, MB_RANGE,
                         "%" PRId64 " examples in %" PRId64 " groups of equal sequences do not fill %d parts: "
                         "part %d is empty",
                         d->n, g->groups, n_parts, p + 1);
    mb_free(lack);
    return rc;
}

int dna_folds_k(int *part, const dna_labelled *d, const dna_groups *g, int k, uint64_t seed, mb_err *e) {
    if (k < 2 || k > g->groups)
        return mb_fail(e, MB_RANGE,
                       "%d folds of %" PRId64 " different sequences: expected 2 or more, and at most one for "
                       "each sequence",
                       k, g->groups);
    double *fraction = mb_malloc((size_t)k * sizeof *fraction);
    if (!fraction)
        return mb_fail(e, MB_NOMEM, "no memory for %d folds", k);
    for (int i = 0; i < k; i++)
        fraction[i] = 1.0 / k;
    int rc = dna_folds_random(part, d, g, fraction, k, seed, e);
    mb_free(fraction);
    return rc;
}

/* ---- given splits ------------------------------------------------------------------------------------------------ */

static int known_part(const char *name) {
    static const struct {
        const char *name;
        int part;
    } KNOWN[] = {{"train", DNA_TRAIN},      {"training", DNA_TRAIN}, {"valid", DNA_VALID},
                 {"validation", DNA_VALID}, {"val", DNA_VALID},      {"dev", DNA_VALID},
                 {"eval", DNA_VALID},       {"test", DNA_TEST},      {"testing", DNA_TEST}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (strcasecmp(name, KNOWN[i].name) == 0)
            return KNOWN[i].part;
    return -1;
}

static int take_parts(int *part, const dna_labelled *d, mb_err *e) {
    char place[300];
    for (int64_t i = 0; i < d->n; i++) {
        const dna_example *x = &d->at[i];
        part[i] = x->part < 0 ? -1 : known_part(d->part_name[x->part]);
        if (part[i] < 0)
            return mb_fail(e, MB_FORMAT, "%s: found %s%.60s%s as split, expected train, valid or test",
                           dna_example_place(d, x, place, sizeof place), x->part < 0 ? "" : "'",
                           x->part < 0 ? "nothing" : d->part_name[x->part], x->part < 0 ? "" : "'");
    }
    return MB_OK;
}

int dna_folds_given(int *part, const dna_labelled *d, const dna_groups *g, int leaks, int64_t *dropped, dna_text *said,
                    mb_err *e) {
    char first[300], second[300];
    int64_t leaking = 0, example[2] = {-1, -1};
    *dropped = 0;
    int rc = take_parts(part, d, e);
    int *last = rc ? NULL : mb_malloc((size_t)d->n * sizeof *last); /* of each group, at its first example */
    if (!last)
        return rc ? rc : mb_fail(e, MB_NOMEM, "no memory to split %" PRId64 " examples", d->n);
    for (int64_t i = 0; i < d->n; i++)
        last[i] = part[i];
    for (int64_t i = 0; i < d->n; i++)
        if (part[i] > last[g->of[i]])
            last[g->of[i]] = part[i];
    for (int64_t i = 0; i < d->n; i++) {
        if (part[i] == last[g->of[i]])
            continue;
        if (!leaking++) {
            example[0] = i;
            for (example[1] = g->of[i]; g->of[example[1]] != g->of[i] || part[example[1]] != last[g->of[i]];)
                example[1]++;
        }
        if (leaks == DNA_LEAKS_DROP)
            *dropped += 1;
    }
    for (int64_t i = 0; leaks == DNA_LEAKS_DROP && i < d->n; i++)
        if (part[i] != last[g->of[i]])
            part[i] = -1;
    mb_free(last);
    if (!leaking)
        return MB_OK;
    dna_example_place(d, &d->at[example[0]], first, sizeof first);
    dna_example_place(d, &d->at[example[1]], second, sizeof second);
    if (leaks == DNA_LEAKS_ERROR)
        return mb_fail(e, MB_FORMAT,
                       "%s: found %s of %s (or its reverse complement) in another part of the "
                       "split, and %" PRId64 " more such; expected parts that share no sequence",
                       first, g->shared ? "a stretch" : "the sequence", second, leaking - 1);
    return say(said, e, "%" PRId64 " sequences stand in a later part of the split too, the first %s, as %s: %s",
               leaking, first, second,
               leaks == DNA_LEAKS_DROP ? "left out where they come first" : "kept, figures will flatter");
}
