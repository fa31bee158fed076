/* Mamba-1 mixers: causal (mb_mamba1_class) and bidirectional (mb_bimamba1_class, Caduceus' BiMamba).
 *
 *   [x z] = in_proj u;  x = SiLU(conv(x));  [r B C] = x_proj x;  y = scan(x, dt_proj r, B, C);  out = out_proj(y
 * SiLU(z))
 *
 * Bidirectional, tied and added: out_proj is linear and shared, so out = out_proj((y_f + y_r) SiLU(z)) with one in_proj
 * and one out_proj for both directions. Phase 0 keeps y of its direction (and [x z] when memory allows), phase 1 adds
 * its own inside the scan. Untied or multiplied directions each run whole; phase 0 keeps its output (D per row).
 *
 * Carry slots of a phase: 0 = the last K-1 inputs of the convolution (K-1,E); 1.. = scan state of a block of channels
 * (N, channels). Blocks let the next tile start its first channels while this one still works on its last. */
#include <math.h>
#include <string.h>

#include "core/mixer_mamba1.h"
#include "core/team.h"

typedef struct work { /* one tile's scratch */
    float *xz;        /* (rows,2E) */
    float *conv;      /* (rows,E) */
    float *xdbl;      /* (rows,X) */
    float *rank;      /* (rows,R) contiguous copy of dt's low rank part */
    float *dt;        /* (rows,E) */
    float *y;         /* (rows,E) */
} work;

/* ---- sizes ----------------------------------------------------------------------------------------------------------
 */

static size_t mamba_bytes(const mb_mixer *mixer) {
    return sizeof(mamba) + as_mamba(mixer)->bytes;
}

static int mamba_slots(const mb_mixer *mixer, int phase) {
    (void)phase;
    return 1 + as_mamba(mixer)->blocks;
}

static size_t mamba_slot_floats(const mb_mixer *mixer, int phase, int slot) {
    const mamba *m = as_mamba(mixer);
    (void)phase;
    if (slot == 0)
        return (size_t)(m->K - 1) * (size_t)m->E;
    return (size_t)m->N * (size_t)block_channels(m, slot - 1);
}

static size_t mamba_saved_floats(const mb_mixer *mixer, int kept) {
    const mamba *m = as_mamba(mixer);
    if (m->n_dir == 1)
        return 0;
    if (!joined(m))
        return (size_t)m->D;
    return (size_t)m->E * (kept ? 3 : 1);
}

static size_t mamba_scratch_floats(const mb_mixer *mixer, int rows) {
    const mamba *m = as_mamba(mixer);
    const size_t per_row = 5 * (size_t)m->E + (size_t)m->X + (size_t)m->R;
    return (size_t)rows * per_row + (size_t)6 * 16;
}

static float *carve(float **at, size_t floats) {
    float *p = *at;
    *at += (floats + 15) / 16 * 16;
    return p;
}

static work carve_work(const mamba *m, int rows, float *scratch) {
    work w;
    const size_t n = (size_t)rows, E = (size_t)m->E;
    w.xz = carve(&scratch, n * 2 * E);
    w.conv = carve(&scratch, n * E);
    w.dt = carve(&scratch, n * E);
    w.y = carve(&scratch, n * E);
    w.xdbl = carve(&scratch, n * (size_t)m->X);
    w.rank = carve(&scratch, n * (size_t)m->R);
    return w;
}

/* ---- one tile -------------------------------------------------------------------------------------------------------
 */

/* Y = X W^T + b: rows start as the bias, the product is accumulated onto them. */
int mb_mamba1_project(const mamba *m, const mbk_ctx *ctx, const mbk_linear *w, const float *bias, int n_out, int rows,
                      const float *x, float *y) {
    if (bias)
        for (int t = 0; t < rows; t++)
            memcpy(y + (size_t)t * (size_t)n_out, bias, (size_t)n_out * sizeof(float));
    return m->ops->linear_fwd(ctx, w, rows, x, y, bias != NULL);
}

static int run_conv(const mamba *m, const mamba_dir *d, const mb_mixer_tile *t, const float *xz, float *out) {
    float *state = mb_carry_wait(&t->carry, 0);
    if (!state)
        return MB_STOPPED;
    mbk_conv conv = {.L = t->rows,
                     .E = m->E,
                     .K = m->K,
                     .reverse = t->direction == MB_RIGHT_TO_LEFT,
                     .silu = 1,
                     .x = xz,
                     .ldx = 2 * (ptrdiff_t)m->E,
                     .w = d->conv_w,
                     .ldw = m->E,
                     .b = d->conv_b,
                     .state = m->K > 1 ? state : NULL,
                     .ldstate = m->E,
                     .y = out,
                     .ldy = m->E};
    int rc = m->ops->conv_fwd(t->ctx, &conv);
    if (rc == MB_OK)
        mb_carry_pass(&t->carry, 0);
    return rc;
}

mbk_scan mb_mamba1_scan_of(const mamba *m, const mamba_dir *d, const mamba_scan_arrays *a, int rows, int from,
                           int channels, float *state) {
    const ptrdiff_t E = m->E;
    return (mbk_scan){.L = rows,
                      .E = channels,
                      .N = m->N,
                      .softplus_dt = 1,
                      .x = a->conv + from,
                      .ldx = E,
                      .dt = a->dt + from,
                      .lddt = E,
                      .B = a->xdbl + m->R,
                      .ldb = m->X,
                      .C = a->xdbl + m->R + m->N,
                      .ldc = m->X,
                      .a2 = d->a2 + from,
                      .lda = E,
                      .dt_bias = d->dt_b + from,
                      .skip = d->skip + from,
                      .state = state,
                      .lds = channels,
                      .y = a->y + from,
                      .ldy = E};
}

static mbk_scan scan_of(const mamba *m, const mamba_dir *d, const work *w, int rows, int from, int channels,
                        float *state) {
    const mamba_scan_arrays a = {.conv = w->conv, .dt = w->dt, .xdbl = w->xdbl, .y = w->y};
    return mb_mamba1_scan_of(m, d, &a, rows, from, channels, state);
}

/* y_add, z: (rows,E), (rows,2E) or NULL. Result in w->y. */
static int run_scan(const mamba *m, const mamba_dir *d, const mb_mixer_tile *t, const work *w, const float *z,
                    const float *y_add) {
    for (int b = 0; b < m->blocks; b++) {
        const int from = b * CHANNEL_BLOCK;
        float *state = mb_carry_wait(&t->carry, 1 + b);
        if (!state)
            return MB_STOPPED;
        mbk_scan s = scan_of(m, d, w, t->rows, from, block_channels(m, b), state);
        s.reverse = t->direction == MB_RIGHT_TO_LEFT;
        s.z = z ? z + from : NULL;
        s.ldz = 2 * (ptrdiff_t)m->E;
        s.y_add = y_add ? y_add + from : NULL;
        s.ldyadd = m->E;
        int rc = m->ops->scan_fwd(t->ctx, &s);
        if (rc != MB_OK)
            return rc;
        mb_carry_pass(&t->carry, 1 + b);
    }
    return MB_OK;
}

/* From xz (rows,2E) to w->y: convolution, x_proj, dt_proj, scan; gated when gate is set. */
static int run_direction(const mamba *m, const mamba_dir *d, const mb_mixer_tile *t, const work *w, const float *xz,
                         int gate, const float *y_add) {
    int rc = run_conv(m, d, t, xz, w->conv);
    if (rc == MB_OK)
        rc = m->ops->linear_fwd(t->ctx, d->x_proj, t->rows, w->conv, w->xdbl, 0);
    if (rc != MB_OK)
        return rc;
    for (int i = 0; i < t->rows; i++)
        memcpy(w->rank + (size_t)i * (size_t)m->R, w->xdbl + (size_t)i * (size_t)m->X, (size_t)m->R * sizeof(float));
    rc = m->ops->linear_fwd(t->ctx, d->dt_proj, t->rows, w->rank, w->dt, 0);
    if (rc != MB_OK)
        return rc;
    return run_scan(m, d, t, w, gate ? xz + m->E : NULL, y_add);
}

/* One direction from u to out, whole. */
static int run_whole(const mamba *m, const mamba_dir *d, const mb_mixer_tile *t, work *w, float *out) {
    int rc = mb_mamba1_project(m, t->ctx, d->in_proj, d->in_b, 2 * m->E, t->rows, t->u, w->xz);
    if (rc == MB_OK)
        rc = run_direction(m, d, t, w, w->xz, 1, NULL);
    if (rc == MB_OK)
        rc = mb_mamba1_project(m, t->ctx, d->out_proj, d->out_b, m->D, t->rows, w->y, out);
    return rc;
}

static int causal_run(const mb_mixer *mixer, const mb_mixer_tile *t) {
    const mamba *m = as_mamba(mixer);
    work w = carve_work(m, t->rows, t->scratch);
    return run_whole(m, &m->dir[0], t, &w, t->out);
}

/* Tied and added. saved: y (rows,E), then xz (rows,2E) when kept. */
static int joined_run(const mamba *m, const mb_mixer_tile *t) {
    const mamba_dir *d = &m->dir[t->direction], *shared = &m->dir[0];
    work w = carve_work(m, t->rows, t->scratch);
    float *saved_y = t->saved;
    float *xz = t->kept ? t->saved + (size_t)t->rows * (size_t)m->E : w.xz;
    int rc = MB_OK;
    if (t->phase == 0 || !t->kept)
        rc = mb_mamba1_project(m, t->ctx, shared->in_proj, shared->in_b, 2 * m->E, t->rows, t->u, xz);
    if (rc != MB_OK)
        return rc;
    if (t->phase == 0) {
        w.y = saved_y;
        return run_direction(m, d, t, &w, xz, 0, NULL);
    }
    rc = run_direction(m, d, t, &w, xz, 1, saved_y);
    if (rc != MB_OK)
        return rc;
    rc = mb_mamba1_project(m, t->ctx, shared->out_proj, shared->out_b, m->D, t->rows, w.y, t->out);
    if (rc == MB_OK && shared->out_b) /* each direction's projection had its own bias */
        for (int i = 0; i < t->rows; i++)
            for (int c = 0; c < m->D; c++)
                t->out[(size_t)i * (size_t)m->D + (size_t)c] += shared->out_b[c];
    return rc;
}

/* Untied or multiplied. saved: the first direction's output (rows,D). */
static int separate_run(const mamba *m, const mb_mixer_tile *t) {
    mamba_dir d = m->dir[t->direction];
    work w = carve_work(m, t->rows, t->scratch);
    if (m->tied) {
        d.in_proj = m->dir[0].in_proj;
        d.out_proj = m->dir[0].out_proj;
        d.in_b = m->dir[0].in_b;
        d.out_b = m->dir[0].out_b;
    }
    int rc = run_whole(m, &d, t, &w, t->phase == 0 ? t->saved : t->out);
    if (rc != MB_OK || t->phase == 0)
        return rc;
    const size_t n = (size_t)t->rows * (size_t)m->D;
    if (m->multiply)
        for (size_t i = 0; i < n; i++)
            t->out[i] *= t->saved[i];
    else
        for (size_t i = 0; i < n; i++)
            t->out[i] += t->saved[i];
    return MB_OK;
}

static int bidirectional_run(const mb_mixer *mixer, const mb_mixer_tile *t) {
    const mamba *m = as_mamba(mixer);
    return joined(m) ? joined_run(m, t) : separate_run(m, t);
}

/* ---- one token on a team --------------------------------------------------------------------------------------------
 */

/* Share of worker w in n items, cut at multiples of unit. */
static void share(int n, int unit, int worker, int workers, int *from, int *to) {
    const int64_t units = (n + unit - 1) / unit;
    *from = (int)(units * worker / workers) * unit;
    *to = (int)(units * (worker + 1) / workers) * unit;
    if (*from > n)
        *from = n;
    if (*to > n)
        *to = n;
}

static int step_product(const mamba *m, const mb_step *s, const mbk_linear *w, const float *bias, int n_out,
                        const float *x, float *y) {
    const mbk_ctx ctx = {s->worker, NULL};
    int from, to;
    share(n_out, 16, s->worker, s->workers, &from, &to);
    int rc = from < to ? m->ops->linear_step(&ctx, w, from, to, x, y) : MB_OK;
    if (bias)
        for (int i = from; i < to; i++)
            y[i] += bias[i];
    return rc;
}

static int step_conv(const mamba *m, const mb_step *s, const work *w, int from, int to) {
    const mbk_ctx ctx = {s->worker, NULL};
    const mamba_dir *d = &m->dir[0];
    if (from >= to)
        return MB_OK;
    mbk_conv conv = {.L = 1,
                     .E = to - from,
                     .K = m->K,
                     .silu = 1,
                     .x = w->xz + from,
                     .ldx = 2 * (ptrdiff_t)m->E,
                     .w = d->conv_w + from,
                     .ldw = m->E,
                     .b = d->conv_b ? d->conv_b + from : NULL,
                     .state = m->K > 1 ? s->state[0] + from : NULL,
                     .ldstate = m->E,
                     .y = w->conv + from,
                     .ldy = m->E};
    return m->ops->conv_step(&ctx, &conv);
}

static int step_scan(const mamba *m, const mb_step *s, const work *w, int block) {
    const mbk_ctx ctx = {s->worker, NULL};
    const int from = block * CHANNEL_BLOCK, channels = block_channels(m, block);
    mbk_scan scan = scan_of(m, &m->dir[0], w, 1, from, channels, s->state[1 + block]);
    scan.z = w->xz + m->E + from;
    scan.ldz = 2 * (ptrdiff_t)m->E;
    return m->ops->scan_step(&ctx, &scan);
}

/* dt_proj and scan of this worker's channel blocks. */
static int step_blocks(const mamba *m, const mb_step *s, const work *w) {
    const mbk_ctx ctx = {s->worker, NULL};
    int first, last, rc = MB_OK;
    share(m->blocks, 1, s->worker, s->workers, &first, &last);
    for (int b = first; b < last && rc == MB_OK; b++) {
        const int from = b * CHANNEL_BLOCK;
        rc = m->ops->linear_step(&ctx, m->dir[0].dt_proj, from, from + block_channels(m, b), w->xdbl, w->dt);
        if (rc == MB_OK)
            rc = step_scan(m, s, w, b);
    }
    return rc;
}

/* in_proj and convolution of this worker's channels: what the one makes only the same worker's other needs. */
static int step_channels(const mamba *m, const mb_step *s, const work *w) {
    const mbk_ctx ctx = {s->worker, NULL};
    const mamba_dir *d = &m->dir[0];
    int from, to, rc = MB_OK;
    share(m->E, 16, s->worker, s->workers, &from, &to);
    for (int half = 0; half < 2 && from < to && rc == MB_OK; half++) {
        const int first = half * m->E + from, last = half * m->E + to;
        rc = m->ops->linear_step(&ctx, d->in_proj, first, last, s->u, w->xz);
        for (int i = first; d->in_b && i < last; i++)
            w->xz[i] += d->in_b[i];
    }
    return rc == MB_OK ? step_conv(m, s, w, from, to) : rc;
}

static int causal_step(const mb_mixer *mixer, const mb_step *s) {
    const mamba *m = as_mamba(mixer);
    const mamba_dir *d = &m->dir[0];
    work w = carve_work(m, 1, s->scratch);
    int rc, worst = step_channels(m, s, &w);
    mb_team_meet(s->team, s->workers);
    rc = step_product(m, s, d->x_proj, NULL, m->X, w.conv, w.xdbl);
    worst = rc != MB_OK ? rc : worst;
    mb_team_meet(s->team, s->workers);
    rc = step_blocks(m, s, &w);
    worst = rc != MB_OK ? rc : worst;
    mb_team_meet(s->team, s->workers);
    rc = step_product(m, s, d->out_proj, d->out_b, m->D, w.y, s->out);
    worst = rc != MB_OK ? rc : worst;
    mb_team_meet(s->team, s->workers);
    return worst;
}

const mb_mixer_class mb_mamba1_class = {.name = "mamba1",
                                        .needs = MB_CAUSAL_ORDER,
                                        .phases = 1,
                                        .create = mb_mamba1_create,
                                        .destroy = mb_mamba1_destroy,
                                        .bytes = mamba_bytes,
                                        .slots = mamba_slots,
                                        .slot_floats = mamba_slot_floats,
                                        .saved_floats = mamba_saved_floats,
                                        .scratch_floats = mamba_scratch_floats,
                                        .run = causal_run,
                                        .step = causal_step,
                                        .training = &mb_mamba1_training};

const mb_mixer_class mb_bimamba1_class = {.name = "bimamba1",
                                          .needs = MB_BOTH_WAYS,
                                          .phases = 2,
                                          .create = mb_mamba1_create,
                                          .destroy = mb_mamba1_destroy,
                                          .bytes = mamba_bytes,
                                          .slots = mamba_slots,
                                          .slot_floats = mamba_slot_floats,
                                          .saved_floats = mamba_saved_floats,
                                          .scratch_floats = mamba_scratch_floats,
                                          .run = bidirectional_run,
                                          .step = NULL,
                                          .training = &mb_mamba1_training};
