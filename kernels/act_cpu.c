/* A bias and an activation, and their gradients, fast.
 *
 * GELU: with c = |a|, u = exp(-a^2/2) and t = 1/(1 + 0.28 c), Phi(-c) = u t P(t), P a polynomial of degree 8 fitted
 * here (relative error 6e-8: t P(t) is half of the scaled complementary error function of c/sqrt 2, which is smooth in
 * t). So GELU = max(a,0) - c Phi(-c) and the slope Phi(a) + a u / sqrt(2 pi) take one exponential and one division, and
 * nothing cancels that is not small. Refuses nothing but nonsense. */
#include "kernels/act.h"
#include "kernels/silu.h"

mbk_act_fn MBK_NAME(act_fwd);
mbk_act_bwd_fn MBK_NAME(act_bwd);

/* Phi(-|a|); *u: exp(-a^2/2). */
VINLINE vf normal_tail(vf a, vf *u) {
    const vf c = (vf)((vi)a & 0x7fffffff), t = 1.0f / (1.0f + 0.28f * c);
    vf p = t * 0x1.7730e6p-6f - 0x1.57a7d0p-4f;
    p = p * t + 0x1.226a3ep-4f;
    p = p * t + 0x1.40189cp-6f;
    p = p * t + 0x1.bbd49ap-5f;
    p = p * t + 0x1.77860ep-4f;
    p = p * t + 0x1.9dd5bep-4f;
    p = p * t + 0x1.caab9cp-4f;
    p = p * t + 0x1.c97982p-4f;
    *u = v_exp(a * a * -0.5f);
    return *u * (p * t);
}

VINLINE vf value_of(const mbk_act_kind kind, vf a) {
    vf u;
    if (kind == MBK_ACT_GELU) {
        const vf tail = normal_tail(a, &u);
        return v_at_least(0, a) - (vf)((vi)a & 0x7fffffff) * tail;
    }
    return kind == MBK_ACT_RELU ? v_at_least(0, a) : kind == MBK_ACT_SILU ? v_silu(a) : a;
}

VINLINE vf slope_of(const mbk_act_kind kind, vf a) {
    vf u, slope;
    if (kind == MBK_ACT_GELU) {
        const vf tail = normal_tail(a, &u);
        return v_select(a > 0, 1.0f - tail, tail) + a * (u * 0x1.988454p-2f);
    }
    if (kind == MBK_ACT_RELU) /* a NaN is neither */
        return v_select(a > 0, v_all(1), v_select(a <= 0, (vf){0}, a));
    (void)v_silu_slope(a, &slope);
    return slope;
}

VINLINE void forward(const mbk_act_kind kind, const mbk_act *a) {
    const int D = a->D;
    for (int t = 0; t < a->L; t++) {
        const float *x = a->x + (size_t)t * (size_t)D;
        float *y = a->y + (size_t)t * (size_t)D;
        for (int i = 0; i < D; i += VLANES) {
            const vf v = v_load_n(x + i, D - i);
            v_store_n(y + i, value_of(kind, a->b ? v + v_load_n(a->b + i, D - i) : v), D - i);
        }
    }
}

int MBK_NAME(act_fwd)(const mbk_ctx *ctx, const mbk_act *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->x && a->y);
    switch (a->kind) {
    case MBK_ACT_NONE:
        forward(MBK_ACT_NONE, a);
        break;
    case MBK_ACT_GELU:
        forward(MBK_ACT_GELU, a);
        break;
    case MBK_ACT_RELU:
        forward(MBK_ACT_RELU, a);
        break;
    case MBK_ACT_SILU:
        forward(MBK_ACT_SILU, a);
        break;
    }
    return MB_OK;
}

/* n columns from i on, all rows; the sums stay in a register. */
VINLINE void backward_columns(const mbk_act_kind kind, const mbk_act_bwd *a, int i, const int n) {
    const vf b = a->b ? v_load_n(a->b + i, n) : (vf){0};
    vf sum = a->db ? v_load_n(a->db + i, n) : (vf){0};
    for (int t = 0; t < a->L; t++) {
        const size_t at = (size_t)t * (size_t)a->D + (size_t)i;
        vf d = v_load_n(a->G + at, n);
        if (kind != MBK_ACT_NONE)
            d *= slope_of(kind, v_load_n(a->x + at, n) + b);
        sum += d;
        if (a->dx)
            v_store_n(a->dx + at, d, n);
    }
    if (a->db)
        v_store_n(a->db + i, sum, n);
}

VINLINE void backward(const mbk_act_kind kind, const mbk_act_bwd *args) {
    const mbk_act_bwd copy = *args, *a = &copy; /* so that no store can be taken for a change of a pointer */
    int i = 0;
    for (; i + VLANES <= a->D; i += VLANES)
        backward_columns(kind, a, i, VLANES);
    if (i < a->D)
        backward_columns(kind, a, i, a->D - i);
}

int MBK_NAME(act_bwd)(const mbk_ctx *ctx, const mbk_act_bwd *a) {
    (void)ctx;
    MBK_ASSERT(a->L >= 1 && a->D >= 1 && a->G && (a->kind == MBK_ACT_NONE || (a->x && a->dx)));
    switch (a->kind) {
    case MBK_ACT_NONE:
        backward(MBK_ACT_NONE, a);
        break;
    case MBK_ACT_GELU:
        backward(MBK_ACT_GELU, a);
        break;
    case MBK_ACT_RELU:
        backward(MBK_ACT_RELU, a);
        break;
    case MBK_ACT_SILU:
        backward(MBK_ACT_SILU, a);
        break;
    }
    return MB_OK;
}
