/* Cross-entropy and its gradient, fast: a row is swept for its maximum, then for the exponentials (kept in grad) and
 * their sum, then to scale them. The target's own exponential is left out of the sum: the loss is log1p of the others
 * and the target's gradient -others/total, so that neither is lost in rounding when the model is sure. Refuses targets
 * outside 0..V-1 before it writes anything. */
#include <math.h>

#include "kernels/simd.h"
#include "kernels/xent.h"

mbk_xent_fn MBK_NAME(xent);

enum { UNROLL = 4 };

/* Maximum of the numbers in x; NaN is passed over unless there is nothing else. */
static float row_max(const float *x, int V) {
    vf top[UNROLL];
    float lane[VLANES], most;
    int v = 0;
    for (int k = 0; k < UNROLL; k++)
        top[k] = v_all(-INFINITY);
    for (; v + UNROLL * VLANES <= V; v += UNROLL * VLANES)
        VUNROLL
    for (int k = 0; k < UNROLL; k++) {
        const vf a = v_load(x + v + k * VLANES);
        top[k] = v_select(a > top[k], a, top[k]);
    }
    for (; v + VLANES <= V; v += VLANES)
        top[0] = v_select(v_load(x + v) > top[0], v_load(x + v), top[0]);
    for (int k = 1; k < UNROLL; k++)
        top[0] = v_select(top[k] > top[0], top[k], top[0]);
    v_store(lane, top[0]);
    most = lane[0];
    for (int k = 1; k < VLANES; k++)
        most = lane[k] > most ? lane[k] : most;
    for (; v < V; v++)
        most = x[v] > most ? x[v] : most;
    return most;
}

/* exp(x[v] - top) for n <= VLANES elements, to out when that is not NULL; lanes beyond n are 0. */
VINLINE vf exp_vector(const float *x, float top, float *out, const int n) {
    vf u = v_exp(v_load_n(x, n) - top);
    if (n < VLANES) {
        float lane[VLANES] = {0};
        v_store_part(lane, u, n);
        u = v_load(lane);
    }
    if (out)
        v_store_n(out, u, n);
    return u;
}

/* The sum of exp(x[v] - top) over from <= v < to. */
static float exp_sum(const float *x, float top, float *out, int from, int to) {
    vf sum[UNROLL] = {{0}};
    int v = from;
    for (; v + UNROLL * VLANES <= to; v += UNROLL * VLANES)
        VUNROLL
    for (int k = 0; k < UNROLL; k++)
        sum[k] += exp_vector(x + v + k * VLANES, top, out ? out + v + k * VLANES : NULL, VLANES);
    for (; v + VLANES <= to; v += VLANES)
        sum[0] += exp_vector(x + v, top, out ? out + v : NULL, VLANES);
    if (v < to)
        sum[1] += exp_vector(x + v, top, out ? out + v : NULL, to - v);
    return v_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* The same without the target; *own: its exponential. */
static float others_sum(const float *x, float top, float *out, int V, int target, float *own) {
    const int block = target - target % VLANES, n = V - block < VLANES ? V - block : VLANES;
    float sum = exp_sum(x, top, out, 0, block), lane[VLANES];
    v_store(lane, exp_vector(x + block, top, out ? out + block : NULL, n));
    *own = lane[target - block];
    lane[target - block] = 0;
    sum += v_sum(v_load(lane));
    return block + n < V ? sum + exp_sum(x, top, out, block + n, V) : sum;
}

/* Whether the target has the largest logit and none before it has the same. */
static int is_first(const float *x, int target, float top) {
    int before = 0;
    for (int v = 0; v < target && x[target] == top; v++)
        before |= x[v] == top;
    return x[target] == top && !before;
}

/* One row; grad may be x. */
static void xent_row(const mbk_xent *a, const float *x, int target, float weight, double *loss, float *grad,
                     uint8_t *hit) {
    const float top = row_max(x, a->V), target_x = x[target];
    const int first = hit && is_first(x, target, top); /* before x is gone */
    float own;
    const float others = others_sum(x, top, grad, a->V, target, &own), total = others + own;
    if (hit)
        *hit = first && !isnan(total);
    if (loss)
        *loss = weight *
                (target_x == top ? log1p((double)others / own) : log((double)others + own) + ((double)top - target_x));
    if (!grad)
        return;
    const float scale = a->scale * weight, factor = scale / total;
    int v = 0;
    for (; v + VLANES <= a->V; v += VLANES)
        v_store(grad + v, v_load(grad + v) * factor);
    for (; v < a->V; v++)
        grad[v] *= factor;
    grad[target] = -others * factor;
}

static void ignored_row(const mbk_xent *a, double *loss, float *grad, uint8_t *hit) {
    if (loss)
        *loss = 0;
    if (hit)
        *hit = 0;
    if (grad)
        memset(grad, 0, (size_t)a->V * sizeof *grad);
}

int MBK_NAME(xent)(const mbk_ctx *ctx, const mbk_xent *a) {
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
