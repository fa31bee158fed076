/* What the parts of the comparison share; see verify.h. */
#ifndef PIPELINES_VERIFY_INTERNAL_H
#define PIPELINES_VERIFY_INTERNAL_H
#include "pipelines/verify.h"

/* Line of the recorded tensor of that name, -1 without one. */
int verify_line_of(const verify_report *r, const char *name);
void verify_compare(verify_line *l, int64_t at, double got, double want);
int verify_check_shape(const mb_tensor *t, int ndim, const int64_t *shape, mb_err *e) MB_MUST_USE;
/* log sum exp(logits) - logits[target] */
double verify_cross_entropy(const float *logits, int64_t V, int64_t target);
/* A recommender's record: item_seq, item_seq_len, pos_items, neg_items (inputs); seq_output, scores, loss (outputs). */
int verify_items(verify_report *r, const mb_model *m, const mb_weights *io, int threads, mb_err *e) MB_MUST_USE;
#endif
