/* Counts of every order 0..k (two-sided: of every half width 0..k/2) in one block of saturating 32-bit numbers. A word
 * is a number in base 4, its context first and the base of interest last for causal models, all in reading order for
 * two-sided ones. Refuses orders and smoothing out of range, and machines without the memory. */
#include "genomics/markov.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"

struct dna_markov {
    int kind, k, smoothing;
    double alpha;
    int levels;                          /* causal: k + 1; two-sided: k/2 + 1 */
    uint32_t *level[DNA_MARKOV_MAX + 1]; /* causal: (4^(j+1)); two-sided: (4^(2j+1)) */
    uint32_t *block;
    size_t bytes;
    int16_t code[256]; /* token -> 0..3 for A C G T, -1 otherwise */
};

static int word_bases(const dna_markov *m, int j) {
    return m->kind == DNA_MARKOV_CAUSAL ? j + 1 : 2 * j + 1;
}

int dna_markov_create(dna_markov **out, const dna_alphabet *a, int kind, int k, int smoothing, double alpha,
                      mb_err *e) {
    *out = NULL;
    if (k < 0 || k > DNA_MARKOV_MAX || (kind == DNA_MARKOV_TWO_SIDED && k % 2) || !(alpha > 0 && alpha < 1e9))
        return mb_fail(e, MB_RANGE,
                       "Markov model of order %d with alpha %g: expected an order of 0 to %d, even for "
                       "two-sided ones, and alpha above 0",
                       k, alpha, (int)DNA_MARKOV_MAX);
    dna_markov *m = mb_calloc(1, sizeof *m);
    if (!m)
        return mb_fail(e, MB_NOMEM, "no memory for a Markov model");
    m->kind = kind;
    m->k = k;
    m->smoothing = smoothing;
    m->alpha = alpha;
    m->levels = kind == DNA_MARKOV_CAUSAL ? k + 1 : k / 2 + 1;
    size_t counts = 0;
    for (int j = 0; j < m->levels; j++)
        counts += (size_t)1 << 2 * word_bases(m, j);
    m->bytes = counts * sizeof *m->block;
    m->block = mb_big_alloc(m->bytes);
    if (!m->block) {
        mb_free(m);
        return mb_fail(e, MB_NOMEM, "no memory for %zu counts of a Markov model of order %d", counts, k);
    }
    for (int j = 0; j < m->levels; j++)
        m->level[j] = j ? m->level[j - 1] + ((size_t)1 << 2 * word_bases(m, j - 1)) : m->block;
    memset(m->code, -1, sizeof m->code); /* every byte */
    for (int i = 0; i < 4; i++)
        m->code[a->base[i]] = (int16_t)i;
    *out = m;
    return MB_OK;
}

void dna_markov_free(dna_markov *m) {
    if (!m)
        return;
    mb_big_free(m->block, m->bytes);
    mb_free(m);
}

static void count(uint32_t *at) {
    *at += *at != UINT32_MAX;
}

/* The word of n bases from place i on, and that of its reverse complement. */
static uint32_t word_at(const dna_markov *m, const uint8_t *token, int64_t i, int n) {
    uint32_t w = 0;
    for (int j = 0; j < n; j++)
        w = w << 2 | (uint32_t)m->code[token[i + j]];
    return w;
}

static uint32_t reverse_word(uint32_t w, int n) {
    uint32_t r = 0;
    for (int j = 0; j < n; j++, w >>= 2)
        r = r << 2 | (3 - (w & 3));
    return r;
}

/* For each place the longest run of bases that ends there counts, of each length: the last base given those before it,
 * and on the other strand the complement of the first base of the run given the complements of those behind it. Causal
 * words therefore are counted where they end; two-sided ones where they end too, their middle lying j back. */
void dna_markov_add(dna_markov *m, const uint8_t *token, int64_t n) {
    const int longest = word_bases(m, m->levels - 1);
    int64_t run = 0;
    for (int64_t i = 0; i < n; i++) {
        run = m->code[token[i]] < 0 ? 0 : run + 1;
        if (!run)
            continue;
        const int have = run < longest ? (int)run : longest;
        const uint32_t whole = word_at(m, token, i - have + 1, have);
        for (int j = 0; j < m->levels && word_bases(m, j) <= have; j++) {
            const int bases = word_bases(m, j);
            const uint32_t w = whole & (uint32_t)((1ull << 2 * bases) - 1);
            count(&m->level[j][w]);
            count(&m->level[j][reverse_word(w, bases)]);
        }
    }
}

/* One level's P of A C G T from its four counts; below, the P of the level under it, becomes P of this one. */
static void smooth(const dna_markov *m, const uint32_t n[4], double p[4]) {
    const double total = (double)n[0] + n[1] + n[2] + n[3], alpha = m->alpha;
    for (int b = 0; b < 4; b++)
        p[b] = m->smoothing == DNA_MARKOV_ADD ? (n[b] + alpha) / (total + 4 * alpha)
                                              : (n[b] + alpha * p[b]) / (total + alpha);
}

/* Causal P after the context, whose last `have` bases are the low digits of context. */
static void after(const dna_markov *m, uint32_t context, int have, double p[4]) {
    const int top = have < m->k ? have : m->k;
    for (int b = 0; b < 4; b++)
        p[b] = 0.25;
    for (int j = m->smoothing == DNA_MARKOV_ADD ? top : 0; j <= top; j++)
        smooth(m, m->level[j] + ((size_t)(context & ((1u << 2 * j) - 1)) << 2), p);
}

/* How many bases without a gap lie directly to the left (right) of i, at most `most`. */
static int reach(const dna_markov *m, const uint8_t *token, int64_t n, int64_t i, int step, int most) {
    int have = 0;
    for (int64_t j = i + step; have < most && j >= 0 && j < n && m->code[token[j]] >= 0; j += step)
        have++;
    return have;
}

static void two_sided(const dna_markov *m, const uint8_t *token, int64_t n, int64_t i, double p[4]) {
    const int left = reach(m, token, n, i, -1, m->k / 2), right = reach(m, token, n, i, 1, m->k / 2);
    const int top = left < right ? left : right;
    for (int b = 0; b < 4; b++)
        p[b] = 0.25;
    for (int j = m->smoothing == DNA_MARKOV_ADD ? top : 0; j <= top; j++) {
        const uint32_t before = word_at(m, token, i - j, j), behind = word_at(m, token, i + 1, j);
        uint32_t counts[4];
        for (uint32_t b = 0; b < 4; b++)
            counts[b] = m->level[j][((before << 2 | b) << 2 * j) | behind];
        smooth(m, counts, p);
    }
}

/* P(b | rest) ~ prod over the places i..i+k of P(place | its k bases before), i holding b. */
static void chain(const dna_markov *m, const uint8_t *token, int64_t n, int64_t i, double p[4]) {
    const int left = reach(m, token, n, i, -1, m->k), right = reach(m, token, n, i, 1, m->k);
    const uint32_t before = word_at(m, token, i - left, left);
    double at[4], sum = 0;
    after(m, before, left, p);
    for (uint32_t b = 0; b < 4; b++) {
        uint32_t context = before << 2 | b;
        for (int j = 0; j < right; j++) {
            const int next = m->code[token[i + 1 + j]];
            after(m, context, left + 1 + j, at);
            p[b] *= at[next];
            context = context << 2 | (uint32_t)next;
        }
        sum += p[b];
    }
    for (int b = 0; b < 4; b++)
        p[b] = sum > 0 ? p[b] / sum : 0.25;
}

void dna_markov_at(const dna_markov *m, const uint8_t *token, int64_t n, int64_t i, int masked, double p[4]) {
    MB_ASSERT(i >= 0 && i < n);
    if (m->kind == DNA_MARKOV_TWO_SIDED) {
        two_sided(m, token, n, i, p);
    } else if (masked) {
        chain(m, token, n, i, p);
    } else {
        const int left = reach(m, token, n, i, -1, m->k);
        after(m, word_at(m, token, i - left, left), left, p);
    }
}

void dna_markov_score_add(const dna_markov *m, const uint8_t *token, int64_t n, const uint8_t *chosen, int masked,
                          dna_markov_score *s) {
    for (int64_t i = 0; i < n; i++) {
        const int base = m->code[token[i]];
        double p[4];
        int best = 0;
        if (base < 0 || (chosen && !chosen[i]))
            continue;
        dna_markov_at(m, token, n, i, masked, p);
        for (int b = 1; b < 4; b++)
            if (p[b] > p[best])
                best = b;
        s->bases++;
        s->right += best == base;
        s->bits -= log2(p[base]);
    }
}
