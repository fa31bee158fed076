/* Drawing one of the four bases from a model's logits. */
#ifndef DNA_SAMPLE_H
#define DNA_SAMPLE_H

typedef struct dna_sampling {
    double temperature; /* 0: the most probable base, always */
    int top_k;          /* only the k most probable; 0: all four */
    double top_p;       /* in (0,1]: only the most probable that together reach it */
} dna_sampling;

/* logit (4), of A, C, G, T; p (4): what is drawn from. p_i ~ exp(logit_i / temperature) among those that top_k, and
 * then top_p, leave; of equal logits the earlier base counts as the more probable. */
void dna_sampling_probabilities(const dna_sampling *s, const float *logit, double *p);
/* The base, 0..3, that u in [0,1) falls on; never one of probability 0. */
int dna_sample(const double *p, double u);
/* Natural log-probability of a base at temperature 1, all four allowed. */
double dna_sampling_log(const float *logit, int base);
#endif
