/* What a training run leaves for people. */
#ifndef REC_TRAIN_PAGE_H
#define REC_TRAIN_PAGE_H
#include "recsys/outcome.h"

/* FOLDER/report.html: curves, figures, record. judge: what evaluations were judged by, or NULL. */
int rec_train_page(const char *folder, const char *judge, const rec_split *split, const rec_outcome *outcome,
                   mb_provenance *record, mb_err *e) MB_MUST_USE;
#endif
