/* What a trained model is worth: its figures on validation and test, over all items and with the history left out,
 * beside those of the counting floors on the same events. */
#ifndef REC_OUTCOME_H
#define REC_OUTCOME_H
#include <stdatomic.h>
#include <stdio.h>
#include "core/page.h"
#include "recsys/floors.h"

enum { REC_OUTCOME_FIGURES = 3 }; /* HR@10, NDCG@10, MRR@10 */

typedef struct rec_outcome_row {
    const char *name;
    double figure[2][2][REC_OUTCOME_FIGURES]; /* [validation, test][all items, history left out] */
} rec_outcome_row;

typedef struct rec_outcome {
    rec_outcome_row row[1 + REC_FLOORS]; /* the model first */
    int n;
    int64_t events[2]; /* validation, test: asked for */
} rec_outcome;

typedef struct rec_outcome_options {
    int threads;
    int64_t memory;
    int floors; /* 1: they are judged too */
    const atomic_int *stop;
} rec_outcome_options;

int rec_outcome_make(rec_outcome *out, const rec_log *l, const rec_split *split, const rec_scorer *model,
                     const rec_outcome_options *o, mb_err *e) MB_MUST_USE;
void rec_outcome_print(const rec_outcome *o, const rec_split *split, FILE *f);
/* The model's own figures, as numbers of the record: test_ndcg@10, test_filtered_ndcg@10, ... */
int rec_outcome_note(const rec_outcome *o, mb_provenance *p, mb_err *e) MB_MUST_USE;
void rec_outcome_page(const rec_outcome *o, mb_page *p);
#endif
