/* In-silico mutagenesis: what becomes of a model's judgement when one base of a region is another, or is left out. */
#ifndef DNA_ISM_H
#define DNA_ISM_H
#include "genomics/context.h"
#include "genomics/head.h"
#include "genomics/profile.h"
#include "genomics/score.h"

/* The effect of base b in place of the reference base r, at a site of a region with its flanks:
 *   masked  log p(b) - log p(r), natural logarithm, where the model is shown all but the site (causal models: all
 * before the site) pll     the change of the sequence's (pseudo-)log-likelihood, natural logarithm: (mean over the
 * bases of the changed sequence - mean over the bases of the sequence) times the bases of the sequence, so that a
 * deletion does not gain by having less to explain head    the change of a fine-tuned model's answer: a probability, or
 * a number */
typedef enum dna_ism_score { DNA_ISM_MASKED, DNA_ISM_PLL, DNA_ISM_HEAD } dna_ism_score;
#define DNA_ISM_CHOICES "masked|pll|head"

typedef struct dna_ism_options {
    int score;               /* dna_ism_score */
    int deletions;           /* also a fifth column: the base left out; not with masked */
    dna_profile_options how; /* model, alphabet, budget, causal, both; mask_stride for pll */
    const dna_head *head;
    int label; /* of the head */
} dna_ism_options;

/* Of one region, in the direction of its strand: site i is base start+i of the contig, on strand - end-1-i, and letters
 * are those of the strand. */
typedef struct dna_ism {
    int64_t n;
    int columns;   /* 4: A C G T; 5: the deletion too */
    int *base;     /* (n) the reference: 0..3, -1 N */
    float *effect; /* (n, columns) 0 for the reference base; NaN where there is no base, or no answer */
    float *logp;   /* (n, 4) masked: the distribution itself, NaN as above; else NULL */
} dna_ism;

int dna_ism_run(dna_ism *m, const dna_ism_options *o, const dna_context *c, mb_err *e) MB_MUST_USE;
void dna_ism_fini(dna_ism *m); /* zeroed is fine */
/* Bases through the model. */
double dna_ism_work(const dna_ism_options *o, int64_t length, int64_t sites);

/* Of a site. bits: 2 - entropy of the distribution (masked only). importance: what changing the reference base costs,
 * minus the mean effect of the three others. NaN where there is no answer. */
double dna_ism_bits(const dna_ism *m, int64_t site);
double dna_ism_importance(const dna_ism *m, int64_t site);
#endif
