/* See sample.h. Refuses nothing: logits that are not finite are the caller's to refuse. */
#include "genomics/sample.h"

#include <math.h>

enum { BASES = 4 };

/* Bases by falling logit; of equals the earlier first. */
static void sort_bases(const float *logit, int order[BASES]) {
    for (int i = 0; i < BASES; i++) {
        int at = i;
        for (; at > 0 && logit[i] > logit[order[at - 1]]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

void dna_sampling_probabilities(const dna_sampling *s, const float *logit, double *p) {
    int order[BASES] = {0}, kept = s->top_k && s->top_k < BASES ? s->top_k : BASES;
    double sum = 0, reached = 0;
    sort_bases(logit, order);
    if (s->temperature <= 0)
        kept = 1;
    for (int i = 0; i < BASES; i++) {
        const int b = order[i];
        p[b] = i == 0 ? 1 : i < kept ? exp(((double)logit[b] - logit[order[0]]) / s->temperature) : 0;
        sum += p[b];
    }
    for (int i = 0; i < BASES; i++) {
        double *const q = &p[order[i]];
        *q = reached < s->top_p * sum ? *q : 0;
        reached += *q;
    }
    for (int b = 0; b < BASES; b++)
        p[b] /= reached;
}

int dna_sample(const double *p, double u) {
    int last = 0;
    double sum = 0;
    for (int b = 0; b < BASES; b++) {
        if (p[b] <= 0)
            continue;
        last = b;
        sum += p[b];
        if (u < sum)
            return b;
    }
    return last; /* the sum fell short of 1 by rounding */
}

double dna_sampling_log(const float *logit, int base) {
    double most = logit[0], sum = 0;
    for (int b = 1; b < BASES; b++)
        most = logit[b] > most ? logit[b] : most;
    for (int b = 0; b < BASES; b++)
        sum += exp(logit[b] - most);
    return logit[base] - most - log(sum);
}
