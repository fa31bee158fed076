/* Tables of log P(w|c), one float for each word and class, words as numbers in base 4. Refuses nothing but a lack of
 * examples and memory. */
#include "genomics/kmer_bayes.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"

struct dna_kmer_bayes {
    int k, n_labels, strands;
    int8_t code[256]; /* token -> 0..3 for A C G T, -1 otherwise */
    double *prior;    /* (n_labels) log P(c); -INFINITY for a class without examples */
    float *word;      /* (4^k, n_labels) log P(w|c) */
};

/* The last k bases as a word, and its reverse complement: codes run A C G T, so that the complement of x is 3 - x. */
typedef struct words {
    int k, have;
    uint32_t forward, backward, mask;
} words;

/* 1 when behind this base both words are whole. */
static int push_base(words *w, int code) {
    if (code < 0) {
        w->have = 0;
        return 0;
    }
    w->forward = (w->forward << 2 | (uint32_t)code) & w->mask;
    w->backward = w->backward >> 2 | (uint32_t)(3 - code) << 2 * (w->k - 1);
    w->have += w->have < w->k;
    return w->have == w->k;
}

static words words_start(int k) {
    return (words){.k = k, .mask = (1u << 2 * k) - 1};
}

/* Words into count (4^k, n_labels), examples of each class into prior. */
static void count_words(const dna_kmer_bayes *b, const dna_labelled *d, const int64_t *index, int64_t n,
                        double *count) {
    const int C = b->n_labels;
    for (int64_t i = 0; i < n; i++) {
        const dna_example *x = &d->at[index[i]];
        words w = words_start(b->k);
        b->prior[x->label] += 1;
        for (int64_t j = 0; j < x->length; j++)
            if (push_base(&w, b->code[x->token[j]])) {
                count[(size_t)w.forward * (size_t)C + (size_t)x->label] += 1;
                count[(size_t)w.backward * (size_t)C + (size_t)x->label] += b->strands - 1;
            }
    }
}

int dna_kmer_bayes_train(dna_kmer_bayes **out, const dna_labelled *d, const dna_alphabet *a, const int64_t *index,
                         int64_t n, int k, int strands, double alpha, mb_err *e) {
    *out = NULL;
    MB_ASSERT(d->task == DNA_TASK_CLASS && (strands == 1 || strands == 2));
    if (k < 1 || k > DNA_KMER_MAX || !(alpha > 0) || n < 1)
        return mb_fail(e, MB_RANGE,
                       "k-mer naive Bayes with k %d, alpha %g, %lld examples: expected k 1 to %d, alpha above "
                       "0 and an example",
                       k, alpha, (long long)n, (int)DNA_KMER_MAX);
    const size_t W = (size_t)1 << 2 * k, C = (size_t)d->n_labels;
    dna_kmer_bayes *b = mb_calloc(1, sizeof *b);
    double *count = mb_calloc(W * C, sizeof *count), *total = mb_calloc(C, sizeof *total);
    if (b) {
        b->k = k;
        b->n_labels = d->n_labels;
        b->strands = strands;
        b->prior = mb_calloc(C, sizeof *b->prior);
        b->word = mb_calloc(W * C, sizeof *b->word);
    }
    if (!b || !count || !total || !b->prior || !b->word) {
        mb_free(count);
        mb_free(total);
        dna_kmer_bayes_free(b);
        return mb_fail(e, MB_NOMEM, "no memory for k-mer counts of %zu words and %zu classes", W, C);
    }
    memset(b->code, -1, sizeof b->code);
    for (int i = 0; i < 4; i++)
        b->code[a->base[i]] = (int8_t)i;
    count_words(b, d, index, n, count);
    for (size_t w = 0; w < W; w++)
        for (size_t c = 0; c < C; c++)
            total[c] += count[w * C + c];
    for (size_t w = 0; w < W; w++)
        for (size_t c = 0; c < C; c++)
            b->word[w * C + c] = (float)log((count[w * C + c] + alpha) / (total[c] + alpha * (double)W));
    for (size_t c = 0; c < C; c++)
        b->prior[c] = log(b->prior[c] / (double)n);
    mb_free(count);
    mb_free(total);
    *out = b;
    return MB_OK;
}

void dna_kmer_bayes_free(dna_kmer_bayes *b) {
    if (!b)
        return;
    mb_free(b->prior);
    mb_free(b->word);
    mb_free(b);
}

void dna_kmer_bayes_predict(const dna_kmer_bayes *b, const uint8_t *token, int64_t length, double *p) {
    const int C = b->n_labels;
    words w = words_start(b->k);
    double most = -INFINITY, sum = 0;
    memcpy(p, b->prior, (size_t)C * sizeof *p);
    for (int64_t j = 0; j < length; j++)
        if (push_base(&w, b->code[token[j]])) {
            const float *forward = b->word + (size_t)w.forward * (size_t)C;
            const float *backward = b->word + (size_t)w.backward * (size_t)C;
            for (int c = 0; c < C; c++)
                p[c] += b->strands == 1 ? (double)forward[c] : 0.5 * ((double)forward[c] + (double)backward[c]);
        }
    for (int c = 0; c < C; c++)
        most = p[c] > most ? p[c] : most;
    for (int c = 0; c < C; c++)
        sum += p[c] = exp(p[c] - most);
    for (int c = 0; c < C; c++)
        p[c] /= sum;
}
