/* Order-k Markov models of sequence: what a pre-trained model has to beat, for its card.
 *
 * causal     P(b | k bases to the left). Scored left to right, or, as a masked model would be asked, by the chain's own
 *            conditional of one base given all others, P(b | rest) ~ prod_{j=0..k} P(x_{i+j} | x_{i+j-k} .. x_{i+j-1})
 *            with x_i = b, which depends on k bases on either side.
 * two-sided  P(b | k/2 bases to the left, k/2 to the right), from counts of (left, base, right); k even.
 * Both strands are counted: a model of x is one of its reverse complement.
 *
 * Smoothing, with counts n and alpha > 0:
 *   add      P = (n(ctx,b) + alpha) / (n(ctx) + 4 alpha)
 *   back-off P_j = (n(ctx_j,b) + alpha P_{j-1}) / (n(ctx_j) + alpha), j = 0..k, P_{-1} = 1/4: each order is a Dirichlet
 *            prior of the next (MacKay and Peto 1995); two-sided drops the outermost pair of bases
 * A context cut short by the end of a stretch or by a letter other than A C G T is taken at the order that is left. */
#ifndef DNA_MARKOV_H
#define DNA_MARKOV_H
#include "genomics/alphabet.h"

typedef enum dna_markov_kind { DNA_MARKOV_CAUSAL, DNA_MARKOV_TWO_SIDED } dna_markov_kind;
typedef enum dna_markov_smoothing { DNA_MARKOV_ADD, DNA_MARKOV_BACK_OFF } dna_markov_smoothing;
enum { DNA_MARKOV_MAX = 12 };

typedef struct dna_markov dna_markov;

/* 0 <= k <= DNA_MARKOV_MAX; takes (4^(k+2)-4)/3 counts of 4 bytes, at k = 12 358 MB. */
int dna_markov_create(dna_markov **out, const dna_alphabet *a, int kind, int k, int smoothing, double alpha,
                      mb_err *e) MB_MUST_USE;
void dna_markov_free(dna_markov *m); /* NULL is fine */
/* Counts one stretch, both strands. Counts stop at 2^32 - 1. */
void dna_markov_add(dna_markov *m, const uint8_t *token, int64_t n);
/* P of A C G T at place i, whose own token is not looked at. masked 1: the conditional given both sides (for two-sided
 * models always). */
void dna_markov_at(const dna_markov *m, const uint8_t *token, int64_t n, int64_t i, int masked, double p[4]);

typedef struct dna_markov_score {
    int64_t bases; /* scored: A C G T only */
    int64_t right; /* of them the most probable base (the first of equals) */
    double bits;   /* sum of -log2 P */
} dna_markov_score;

/* Adds the places of one stretch where chosen (n) is not 0, all when NULL. Bits per base: s->bits / s->bases; masked
 * accuracy: s->right / s->bases. */
void dna_markov_score_add(const dna_markov *m, const uint8_t *token, int64_t n, const uint8_t *chosen, int masked,
                          dna_markov_score *s);
#endif
