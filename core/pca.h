/* The two directions in which rows differ most: leading principal components of centred rows, for pictures. */
#ifndef MB_PCA_H
#define MB_PCA_H
#include <stdint.h>
#include "core/error.h"

typedef struct mb_pca {
    double share[2]; /* of the variance; 0 where there is none */
    double *at[2];   /* (n) each row's place along component 0 and 1; mb_pca_free */
} mb_pca;

/* row: (n,D), finite, n >= 1, D >= 1. Orthogonal iteration on the rows themselves, so that the (D,D) covariance is
 * never made: 4 n D operations a round, at most 300 rounds or until both directions stand still to 1e-10. One thread:
 * the same bits everywhere. A component's sign is chosen so that its largest coordinate (the first of equals) is
 * positive. Two variances closer than about 1 % may not be told apart in that many rounds: the plane is still right. */
int mb_pca_make(mb_pca *out, const float *row, int64_t n, int D, mb_err *e) MB_MUST_USE;
void mb_pca_free(mb_pca *p);
#endif
