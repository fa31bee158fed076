/* How long a run will take: by trying the model for a moment on random bases. */
#ifndef DNA_ESTIMATE_H
#define DNA_ESTIMATE_H
#include "core/forward.h"
#include "genomics/alphabet.h"

/* Bases per second (each with all strands asked for by o), measured over sequences of `length` bases, at most about
 * `seconds` and a few runs. a: whose bases to use; NULL = the first four tokens, for models that are not of DNA. */
int dna_estimate_rate(const mb_model *m, const dna_alphabet *a, int64_t length, const mb_forward_options *o,
                      double seconds, double *rate, mb_err *e) MB_MUST_USE;
#endif
