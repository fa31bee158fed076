/* Multinomial naive Bayes over k-mers: the floor that a trained model has to beat. With strands = 2 both are counted,
 * so that a sequence and its reverse complement get the same probabilities; with 1 the given one alone, for labels that
 * have a direction. log P(c|x) = log P(c) + 1/strands sum over the k-mers w of the strands of log P(w|c) + const P(w|c)
 * = (count_c(w) + alpha) / (sum_w count_c(w) + alpha 4^k),  P(c) = examples of c / examples k-mers with a letter other
 * than A C G T are passed over. */
#ifndef DNA_KMER_BAYES_H
#define DNA_KMER_BAYES_H
#include "genomics/labelled.h"

enum { DNA_KMER_MAX = 10 };

typedef struct dna_kmer_bayes dna_kmer_bayes;

/* Trains on examples index[0..n) of d, whose task is class; 1 <= k <= DNA_KMER_MAX, alpha > 0. A class without examples
 * gets probability 0. MB_RANGE: no examples. */
int dna_kmer_bayes_train(dna_kmer_bayes **out, const dna_labelled *d, const dna_alphabet *a, const int64_t *index,
                         int64_t n, int k, int strands, double alpha, mb_err *e) MB_MUST_USE;
void dna_kmer_bayes_free(dna_kmer_bayes *b); /* NULL is fine */
/* Probabilities of the classes, summing to 1, into p (n_labels). */
void dna_kmer_bayes_predict(const dna_kmer_bayes *b, const uint8_t *token, int64_t length, double *p);
#endif
