/* Laws that a model's own numbers must obey, checked on random sequences: no recorded result is needed. */
#ifndef DNA_CERTIFY_H
#define DNA_CERTIFY_H
#include "core/forward.h"
#include "genomics/alphabet.h"

enum { CERTIFY_MAX = 64 };

typedef struct certify_line {
    const char *law; /* "memory", "threads", "tile", "reverse complement, hidden", ... */
    int64_t length;  /* bases of the sequence */
    double error;    /* largest difference, relative to the value or the root mean square, whichever is larger */
    double allowed;
    int bits_differ; /* 1: not the same to the bit */
    int exact;       /* 1: the law asks for the same bits */
} certify_line;

typedef struct certify_report {
    certify_line line[CERTIFY_MAX];
    int n, broken;
} certify_report;

typedef struct certify_options {
    const char *model; /* for opening it again with another tile */
    mb_model_options how;
    int threads;
    int64_t memory;
    const char *scratch;
    uint64_t seed;
    double tol;
} certify_options;

/* a NULL: the model is not of DNA, and the laws of strands are left out. */
int certify_run(certify_report *r, const mb_model *m, const dna_alphabet *a, const certify_options *o,
                mb_err *e) MB_MUST_USE;
int certify_broken(const certify_line *l);
#endif
