/* Cross-entropy and its gradient, the truth: sums in double. Refuses targets outside 0..V-1 before it writes anything.
 */
#include <math.h>

#include "kernels/xent.h"

static uint8_t is_first_largest(const float *x, int V, int target) {
    for (int v = 0; v < V; v++)
        if (!(v < target ? x[v] < x[target] : x[v] <= x[target]))
            return 0;
    return 1;
}

/* One row; grad may be x. */
static void xent_row(const mbk_xent *a, const float *x, int target, double weight, double *loss, float *grad,
                     uint8_t *hit) {
    double top = x[0], others = 0;
    for (int v = 1; v < a->V; v++)
        top = x[v] > top || isnan(top) ? x[v] : top;
    for (int v = 0; v < a->V; v++)
        if (v != target)
            others += exp(x[v] - top);
    const double own = exp(x[target] - top), total = others + own;
    if (loss)
        *loss = weight * (x[target] == top ? log1p(others / own) : log(total) + (top - x[target]));
    if (hit)
        *hit = !isnan(total) && is_first_largest(x, a->V, target);
    for (int v = 0; v < a->V && grad; v++)
        grad[v] = (float)(a->scale * weight * (v == target ? -others / total : exp(x[v] - top) / total));
}

static void ignored_row(const mbk_xent *a, double *loss, float *grad, uint8_t *hit) {
    if (loss)
        *loss = 0;
    if (hit)
        *hit = 0;
    for (int v = 0; v < a->V && grad; v++)
        grad[v] = 0;
}

int mbk_xent_ref(const mbk_ctx *ctx, const mbk_xent *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->V >= 1);
    for (int t = 0; t < a->L; t++)
        if (a->target[t] != a->ignore && (a->target[t] < 0 || a->target[t] >= a->V))
            return MB_RANGE;
    for (int t = 0; t < a->L; t++) {
        double *loss = a->loss ? a->loss + t : NULL;
        float *grad = a->grad ? a->grad + t * a->ldgrad : NULL;
        uint8_t *hit = a->hit ? a->hit + t : NULL;
        if (a->target[t] == a->ignore)
            ignored_row(a, loss, grad, hit);
        else
            xent_row(a, a->logits + t * a->ld, a->target[t], a->weight ? a->weight[t] : 1, loss, grad, hit);
    }
    return MB_OK;
}
