/* What row_loss.c and row_softmax.c share. */
#ifndef MB_ROW_LOSS_INTERNAL_H
#define MB_ROW_LOSS_INTERNAL_H
#include "core/row_loss.h"

/* n > 0 checked rows; d_hidden is zero. */
int mb_row_softmax(mb_gradient *g, const mb_row_targets *t, int with_gradient, mb_lm_result *r, mb_err *e) MB_MUST_USE;
/* Figures of targets from .. from+n-1, in this order. */
void mb_row_result_add(mb_lm_result *r, const mb_row_targets *t, int64_t from, int64_t n, const double *loss,
                       const uint8_t *hit);
#endif
