/* What a pre-training run leaves for people. */
#ifndef DNA_TRAIN_PAGE_H
#define DNA_TRAIN_PAGE_H
#include "core/curve.h"

/* FOLDER/report.html of a pre-training run: its curve, evaluations and record. best_bits: NaN when nothing was held
 * out. */
int dna_train_page(const char *folder, double best_bits, mb_provenance *record, mb_err *e) MB_MUST_USE;
#endif
