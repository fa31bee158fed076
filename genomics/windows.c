/* Drawing. Stretches stand by file and falling length, with the sum of the lengths before each: for a window of l bases
 * the first k of a file can hold it, stretch i of them begins at place before[i] - i*(l-1) of all starts, and both k
 * and the stretch of a start are found by halving. So every start of any length is equally likely without a table for
 * each length. Refuses options out of range. */
#include "genomics/windows.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/rng.h"

typedef struct group { /* stretches of one file */
    int64_t first, n, bases;
} group;

struct dna_windows {
    dna_windows_options o;
    dna_masking masking;
    const dna_corpus *corpus;
    dna_stretch *at; /* (part->n) */
    int64_t *before; /* (part->n): bases of the stretches before it in its group */
    group *group;    /* (groups) */
    int groups;
};

/* ---- batches ----------------------------------------------------------------------------------------------------- */
int dna_train_batch_create(dna_train_batch *b, int n, int64_t tokens, int weights, mb_err *e) {
    memset(b, 0, sizeof *b);
    MB_ASSERT(n > 0 && tokens > 0);
    b->room_n = n;
    b->room_tokens = tokens;
    b->length = mb_realloc_array(NULL, (size_t)n, sizeof *b->length);
    b->window = mb_realloc_array(NULL, (size_t)n, sizeof *b->window);
    b->token = mb_realloc_array(NULL, (size_t)tokens, sizeof *b->token);
    b->target = mb_realloc_array(NULL, (size_t)tokens, sizeof *b->target);
    b->weight = weights ? mb_realloc_array(NULL, (size_t)tokens, sizeof *b->weight) : NULL;
    if (b->length && b->window && b->token && b->target && (b->weight || !weights))
        return MB_OK;
    dna_train_batch_fini(b);
    return mb_fail(e, MB_NOMEM, "no memory for a batch of %d windows with %" PRId64 " tokens", n, tokens);
}

void dna_train_batch_fini(dna_train_batch *b) {
    mb_free(b->length);
    mb_free(b->window);
    mb_free(b->token);
    mb_free(b->target);
    mb_free(b->weight);
    memset(b, 0, sizeof *b);
}

char *dna_window_place(const dna_corpus *c, const dna_window *w, char *out, size_t size) {
    snprintf(out, size, "%s: %s:%" PRId64 "-%" PRId64 "(%c)", c->file[c->contig[w->contig].file].path,
             dna_corpus_name(c, w->contig), w->start + 1, w->start + w->length, w->strand);
    return out;
}

static const uint8_t *bases_of(const dna_corpus *c, const dna_window *w) {
    const dna_corpus_contig *t = &c->contig[w->contig];
    MB_ASSERT(w->start >= 0 && w->length > 0 && w->length <= t->length - w->start);
    return c->base + t->start + w->start;
}

/* Adds the window behind those that the batch holds. */
static void put(const dna_corpus *c, const dna_masking *m, const dna_window *w, uint64_t key, uint64_t number,
                dna_train_batch *b) {
    const uint8_t *base = bases_of(c, w);
    const int64_t n = w->length;
    MB_ASSERT(b->n < b->room_n && n <= b->room_tokens - b->tokens);
    MB_ASSERT(b->weight || m->soft_weight == 1 || c->soft == 0); /* else sums.weight is not what the loss would use */
    int32_t *token = b->token + b->tokens;
    if (w->strand == '-')
        for (int64_t i = 0; i < n; i++) {
            const uint8_t byte = base[n - 1 - i];
            token[i] = m->alphabet->complement[byte & DNA_TOKEN_BITS] | (byte & DNA_SOFT);
        }
    else
        for (int64_t i = 0; i < n; i++)
            token[i] = base[i];
    const dna_mask_sums sums = dna_mask_window(m, key, number, w->strand, n, token, b->target + b->tokens,
                                               b->weight ? b->weight + b->tokens : NULL);
    b->sums.targets += sums.targets;
    b->sums.weight += sums.weight;
    b->window[b->n] = *w;
    b->length[b->n++] = n;
    b->tokens += n;
}

static void clear(dna_train_batch *b) {
    b->n = 0;
    b->tokens = 0;
    b->sums = (dna_mask_sums){0, 0};
}

static int has_too_much_n(const dna_corpus *c, const dna_window *w, double most_n) {
    const uint8_t *base = bases_of(c, w);
    int64_t good = 0;
    if (most_n >= 1)
        return 0;
    for (int64_t i = 0; i < w->length; i++)
        good += c->is_base[base[i]];
    return (double)(w->length - good) > most_n * (double)w->length;
}

/* ---- drawing ----------------------------------------------------------------------------------------------------- */
static int64_t length_at(const dna_windows *w, int64_t i) {
    return w->at[i].end - w->at[i].start;
}

/* How many stretches of the group hold a window of this length. */
static int64_t holding(const dna_windows *w, const group *g, int64_t length) {
    int64_t low = 0, high = g->n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (length_at(w, g->first + middle) >= length)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int64_t starts_in(const dna_windows *w, const group *g, int64_t length) {
    const int64_t k = holding(w, g, length);
    return (k < g->n ? w->before[g->first + k] : g->bases) - k * (length - 1);
}

int64_t dna_windows_starts(const dna_windows *w, int64_t length) {
    int64_t sum = 0;
    for (int i = 0; i < w->groups; i++)
        sum += starts_in(w, &w->group[i], length);
    return sum;
}

static double weight_of(const dna_windows *w, const group *g, int64_t length) {
    const int64_t starts = starts_in(w, g, length);
    return starts ? pow((double)starts, w->o.alpha) : 0;
}

static const group *draw_group(const dna_windows *w, int64_t length, mb_rng *r) {
    double total = 0, u = mb_rng_uniform(r);
    const group *chosen = NULL;
    if (w->groups == 1)
        return w->group;
    for (int i = 0; i < w->groups; i++)
        total += weight_of(w, &w->group[i], length);
    u *= total;
    for (int i = 0; i < w->groups && u >= 0; i++) { /* a last group missed by rounding is the last that has a weight */
        const double weight = weight_of(w, &w->group[i], length);
        if (weight > 0)
            chosen = &w->group[i];
        u -= weight;
    }
    return chosen;
}

static dna_window draw_place(const dna_windows *w, int64_t length, mb_rng *r) {
    const group *g = draw_group(w, length, r);
    const int64_t k = holding(w, g, length);
    const int64_t u = (int64_t)mb_rng_below(r, (uint64_t)starts_in(w, g, length));
    int64_t low = 0, high = k; /* the last stretch whose starts begin at or before u */
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (w->before[g->first + middle] - middle * (length - 1) <= u)
            low = middle;
        else
            high = middle;
    }
    const dna_stretch *t = &w->at[g->first + low];
    const int64_t offset = u - (w->before[g->first + low] - low * (length - 1));
    MB_ASSERT(offset >= 0 && t->start + offset + length <= t->end);
    return (dna_window){.contig = t->contig, .start = t->start + offset, .length = length, .strand = '+'};
}

static int64_t draw_length(const dna_windows *w, uint64_t key, int index) {
    const uint64_t choices = (uint64_t)(w->o.length - w->o.min_length + 1);
    mb_rng r;
    if (choices == 1)
        return w->o.length;
    mb_rng_init(&r, key, (uint64_t)index);
    return w->o.min_length + (int64_t)mb_rng_below(&r, choices);
}

int dna_windows_count(const dna_windows *w, uint64_t step) {
    const uint64_t key = dna_draw_key(w->o.seed, DNA_DRAW_LENGTH, step);
    if (w->o.batch_windows)
        return (int)w->o.batch_windows;
    int n = 0;
    for (int64_t left = w->o.batch_tokens;; n++) {
        const int64_t length = draw_length(w, key, n);
        if (n > 0 && length > left)
            return n;
        left -= length;
    }
}

int dna_windows_continue(const dna_windows *w, uint64_t step) {
    return step % (uint64_t)w->o.chain != 0;
}

static dna_window draw_whole(const dna_windows *w, uint64_t step, int index) {
    const uint64_t lengths = dna_draw_key(w->o.seed, DNA_DRAW_LENGTH, step);
    const int64_t length = draw_length(w, lengths, index) * w->o.chain;
    dna_window window;
    mb_rng r;
    MB_ASSERT(index >= 0);
    mb_rng_init(&r, dna_draw_key(w->o.seed, DNA_DRAW_PLACE, step), (uint64_t)index);
    for (int drawn = 1;; drawn++) {
        window = draw_place(w, length, &r);
        window.drawn = drawn;
        if (drawn >= w->o.tries || !has_too_much_n(w->corpus, &window, w->o.most_n))
            break;
    }
    if (mb_rng_uniform(&r) < w->o.reverse) /* drawn last: the places are the same with and without it */
        window.strand = '-';
    return window;
}

/* A chain is drawn as one long window by its first step; the others take their pieces of it, in reading direction. */
dna_window dna_windows_draw(const dna_windows *w, uint64_t step, int index) {
    const uint64_t chain = (uint64_t)w->o.chain, piece = step % chain;
    dna_window window = draw_whole(w, step - piece, index);
    window.length /= w->o.chain;
    window.start += window.length * (int64_t)(window.strand == '-' ? chain - 1 - piece : piece);
    return window;
}

void dna_windows_fill(const dna_windows *w, uint64_t step, int first, int n, dna_train_batch *b) {
    const uint64_t key = dna_draw_key(w->o.seed, DNA_DRAW_MASK, step);
    clear(b);
    for (int i = first; i < first + n; i++) {
        const dna_window window = dna_windows_draw(w, step, i);
        put(w->corpus, &w->masking, &window, key, (uint64_t)i, b);
    }
}

/* ---- set up ------------------------------------------------------------------------------------------------------ */
static const dna_corpus_contig *contig_of(const dna_corpus *c, const dna_stretch *t) {
    return &c->contig[t->contig];
}

static int compare_stretches(const void *x, const void *y, void *user) {
    const dna_stretch *a = x, *b = y;
    const int file_a = contig_of(user, a)->file, file_b = contig_of(user, b)->file;
    const int64_t length_a = a->end - a->start, length_b = b->end - b->start;
    if (file_a != file_b)
        return file_a < file_b ? -1 : 1;
    if (length_a != length_b)
        return length_a > length_b ? -1 : 1;
    if (a->contig != b->contig)
        return a->contig < b->contig ? -1 : 1;
    return (a->start > b->start) - (a->start < b->start);
}

static void make_groups(dna_windows *w, int64_t n) {
    int file = -1;
    group *g = NULL;
    for (int64_t i = 0; i < n; i++) {
        const int of = contig_of(w->corpus, &w->at[i])->file;
        if (!g || of != file) {
            g = &w->group[w->groups++];
            *g = (group){.first = i};
            file = of;
        }
        w->before[i] = g->bases;
        g->n++;
        g->bases += length_at(w, i);
    }
}

static int check_options(dna_windows_options *o, mb_err *e) {
    const int64_t most_tokens = (int64_t)1 << 40;
    if (o->min_length == 0)
        o->min_length = o->length;
    if (o->chain == 0)
        o->chain = 1;
    if (o->chain < 1 || (o->chain > 1 && o->min_length != o->length))
        return mb_fail(e, MB_RANGE, "chains of %" PRId64 " windows: expected 1 or more, and windows of one length",
                       o->chain);
    if (o->length < 1 || o->min_length < 1 || o->min_length > o->length)
        return mb_fail(e, MB_RANGE, "windows of %" PRId64 " to %" PRId64 " bases: expected 1 or more, the least first",
                       o->min_length, o->length);
    if (o->batch_windows < 0 || (o->batch_windows == 0 && o->batch_tokens < 1))
        return mb_fail(e, MB_RANGE, "a batch needs a number of windows or of tokens above 0");
    if (o->batch_windows > INT32_MAX || o->batch_tokens > most_tokens || o->length > most_tokens ||
        o->chain > most_tokens || o->length > most_tokens / o->chain ||
        (o->batch_windows ? o->batch_windows > most_tokens / o->length
                          : o->batch_tokens / o->min_length > INT32_MAX - 1))
        return mb_fail(e, MB_RANGE, "a batch of %" PRId64 " windows or %" PRId64 " tokens is too large",
                       o->batch_windows, o->batch_tokens);
    if (!(o->reverse >= 0 && o->reverse <= 1))
        return mb_fail(e, MB_RANGE, "%g as the chance of the reverse strand: expected 0 to 1", o->reverse);
    if (!(o->most_n >= 0 && o->most_n <= 1) || o->tries < 1)
        return mb_fail(e, MB_RANGE, "a share of N of at most %g in %d tries: expected 0 to 1, and 1 try or more",
                       o->most_n, o->tries);
    if (!(o->alpha >= 0 && o->alpha <= 1))
        return mb_fail(e, MB_RANGE, "weights of files as (bases)^%g: expected an exponent of 0 to 1", o->alpha);
    return MB_OK;
}

static int check_longest(const dna_windows *w, mb_err *e) {
    int64_t longest = 0;
    for (int i = 0; i < w->groups; i++)
        if (length_at(w, w->group[i].first) > longest)
            longest = length_at(w, w->group[i].first);
    if (longest >= w->o.length * w->o.chain)
        return MB_OK;
    return mb_fail(e, MB_RANGE, "no stretch holds a window of %" PRId64 " bases%s; the longest has %" PRId64,
                   w->o.length * w->o.chain, w->o.chain > 1 ? " (a whole chain)" : "", longest);
}

int dna_windows_create(dna_windows **out, const dna_corpus *c, const dna_split_part *part, const dna_masking *m,
                       const dna_windows_options *o, mb_err *e) {
    *out = NULL;
    dna_windows_options checked = *o;
    int rc = check_options(&checked, e);
    if (!rc)
        rc = dna_masking_check(m, e);
    if (!rc && part->n == 0)
        rc = mb_fail(e, MB_RANGE, "there is no stretch of sequence to draw windows from");
    if (rc)
        return rc;
    dna_windows *w = mb_calloc(1, sizeof *w);
    if (!w)
        return mb_fail(e, MB_NOMEM, "no memory to draw windows");
    w->o = checked;
    w->masking = *m;
    w->corpus = c;
    w->at = mb_realloc_array(NULL, (size_t)part->n, sizeof *w->at);
    w->before = mb_realloc_array(NULL, (size_t)part->n, sizeof *w->before);
    w->group = mb_calloc((size_t)c->files, sizeof *w->group);
    if (!w->at || !w->before || !w->group) {
        rc = mb_fail(e, MB_NOMEM, "no memory to draw from %" PRId64 " stretches", part->n);
    } else {
        memcpy(w->at, part->at, (size_t)part->n * sizeof *w->at);
        qsort_r(w->at, (size_t)part->n, sizeof *w->at, compare_stretches, (void *)(uintptr_t)c);
        make_groups(w, part->n);
        rc = check_longest(w, e);
    }
    if (rc)
        dna_windows_destroy(w);
    else
        *out = w;
    return rc;
}

void dna_windows_destroy(dna_windows *w) {
    if (!w)
        return;
    mb_free(w->at);
    mb_free(w->before);
    mb_free(w->group);
    mb_free(w);
}

int dna_windows_batch(const dna_windows *w, dna_train_batch *b, mb_err *e) {
    const dna_windows_options *o = &w->o;
    const int64_t fit = o->batch_tokens / o->min_length;
    const int64_t n = o->batch_windows ? o->batch_windows : fit > 1 ? fit : 1;
    const int64_t tokens = o->batch_windows ? n * o->length : o->batch_tokens > o->length ? o->batch_tokens : o->length;
    const int weights = w->masking.soft_weight != 1 && w->corpus->soft > 0;
    return dna_train_batch_create(b, (int)n, tokens, weights, e);
}

/* ---- evaluation -------------------------------------------------------------------------------------------------- */
typedef struct walk {
    const dna_split_part *part;
    int64_t length, min_length, stretch, at;
} walk;

/* 1: the next window of the whole grid. */
static int next_of_grid(walk *k, dna_window *w) {
    for (; k->stretch < k->part->n; k->stretch++, k->at = 0) {
        const dna_stretch *t = &k->part->at[k->stretch];
        const int64_t left = t->end - t->start - k->at;
        const int64_t n = left >= k->length ? k->length : k->at == 0 && left >= k->min_length ? left : 0;
        if (!n)
            continue;
        *w = (dna_window){.contig = t->contig, .start = t->start + k->at, .length = n, .strand = '+', .drawn = 1};
        k->at += n;
        return 1;
    }
    return 0;
}

static int64_t count_grid(const dna_corpus *c, walk k, double most_n) {
    int64_t n = 0;
    dna_window w;
    while (next_of_grid(&k, &w))
        n += !has_too_much_n(c, &w, most_n);
    return n;
}

int dna_grid_make(dna_grid *g, const dna_corpus *c, const dna_split_part *part, int64_t length, int64_t min_length,
                  int64_t most, double most_n, mb_err *e) {
    memset(g, 0, sizeof *g);
    MB_ASSERT(length > 0 && min_length >= 0 && min_length <= length && most >= 0);
    walk k = {.part = part, .length = length, .min_length = min_length ? min_length : length};
    g->of = count_grid(c, k, most_n);
    if (g->of == 0) {
        most_n = 1;
        g->of = count_grid(c, k, most_n);
    }
    if (g->of == 0)
        return mb_fail(e, MB_RANGE, "no stretch to evaluate on holds a window of %" PRId64 " bases", k.min_length);
    const int64_t n = most && most < g->of ? most : g->of;
    g->window = mb_realloc_array(NULL, (size_t)n, sizeof *g->window);
    if (!g->window)
        return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " windows to evaluate on", n);
    /* Of G windows the one in the middle of each of n equal parts: number floor((2i+1) G / 2n). */
    dna_window w;
    for (int64_t number = 0; g->n < n && next_of_grid(&k, &w);) {
        if (has_too_much_n(c, &w, most_n))
            continue;
        const double middle = (2 * (double)g->n + 1) * (double)g->of / (2 * (double)n);
        if (number++ != (int64_t)middle)
            continue;
        g->window[g->n++] = w;
        g->tokens += w.length;
        g->longest = w.length > g->longest ? w.length : g->longest;
    }
    MB_ASSERT(g->n == n);
    return MB_OK;
}

void dna_grid_fini(dna_grid *g) {
    mb_free(g->window);
    memset(g, 0, sizeof *g);
}

int dna_grid_fill(const dna_grid *g, const dna_corpus *c, const dna_masking *m, uint64_t seed, int64_t first,
                  dna_train_batch *b) {
    const uint64_t key = dna_draw_key(seed, DNA_DRAW_EVAL, 0);
    clear(b);
    for (int64_t i = first; i < g->n && b->n < b->room_n; i++) {
        if (g->window[i].length > b->room_tokens - b->tokens)
            break;
        put(c, m, &g->window[i], key, (uint64_t)i, b);
    }
    MB_ASSERT(b->n > 0 || first >= g->n);
    return b->n;
}
