/* Gradients of the Mamba-1 mixers, causal and bidirectional. The forward is mixer_mamba1.c's, cut into stages over a
 * whole batch (core/mixer.h) with every intermediate written down; its bits are the same.
 *
 * A branch is one in_proj, one gate, one out_proj; a scan is one direction's convolution, x_proj, dt_proj and
 * recurrence. causal: one branch with one scan;   bidirectional, tied and added: one branch with two scans, whose
 * outputs add up before the gate;   untied or multiplied: two branches of one scan each. */
#include <math.h>
#include <string.h>

#include "core/mixer_mamba1.h"

enum { IN, CONV, SCAN_0, SCAN_1, OUT, D_OUT, D_SCAN_0, D_SCAN_1, D_PROJ, D_CONV, D_IN, WEIGHTS, VECTORS, STAGES };
enum { FORWARD_STAGES = D_OUT, BACKWARD_STAGES = STAGES - D_OUT };
enum { WEIGHT_BLOCK = 2 * MBK_TN_BLOCK }; /* rows of a weight's gradient that one item makes */

typedef struct branch_space {
    float *xz;     /* (rows,2E) */
    float *y;      /* (rows,E) before the gate; after D_OUT: gated */
    float *part;   /* (rows,D) this branch's output; multiplied branches only */
    float *d_part; /* (rows,D) its gradient; likewise */
    float *d_y;    /* (rows,E); D_SCAN of the last scan turns it into that scan's d_conv */
    float *d_xz;   /* (rows,2E) */
} branch_space;

typedef struct scan_space {
    float *conv;                                        /* (rows,E) */
    float *xdbl;                                        /* (rows,X) */
    float *rank;                                        /* (rows,R) */
    float *dt;                                          /* (rows,E) */
    float *d_conv;                                      /* (rows,E) */
    float *d_xdbl;                                      /* (rows,X) */
    float *d_dt;                                        /* (rows,E) */
    float *d_bc;                                        /* (blocks,rows,2N): each channel block's share in dB, dC */
    float *d_a, *d_skip, *d_dt_b, *d_conv_w, *d_conv_b; /* (lanes, (N,E) | (E) | (E) | (K,E) | (E)) */
    float *states; /* (tiles,blocks,(N,channels)) before each tile, in the order of the scan */
} scan_space;

typedef struct space {
    branch_space branch[2];
    scan_space scan[2];
} space;

/* ---- shape ----------------------------------------------------------------------------------------------------------
 */

static int branches(const mamba *m) {
    return joined(m) ? 1 : m->n_dir;
}

static int branch_of(const mamba *m, int scan) {
    return joined(m) ? 0 : scan;
}

/* The last scan that adds to its branch: it gates, and may work in place. */
static int ends_branch(const mamba *m, int scan) {
    return !joined(m) || scan == 1;
}

/* Scans run in the order of the phases: the first of them runs `first` way, the second the other. Direction 0 of the
 * parameters is left to right. */
static int direction_of(const mamba *m, const mb_train_layer *t, int scan) {
    return m->n_dir == 1 ? 0 : scan ^ (t->first == MB_RIGHT_TO_LEFT);
}

static const mamba_dir *weights_of(const mamba *m, const mb_train_layer *t, int scan) {
    return &m->dir[direction_of(m, t, scan)];
}

/* Whose in_proj and out_proj a branch has. */
static int outer_of(const mamba *m, const mb_train_layer *t, int branch) {
    return m->tied ? 0 : direction_of(m, t, branch);
}

static float *take(float **at, size_t floats) {
    float *p = *at;
    *at += (floats + 15) / 16 * 16;
    return p;
}

/* Lays out the space; returns its floats. */
static size_t lay_out(const mamba *m, const mb_batch_rows *b, float *base, space *s) {
    const size_t n = (size_t)b->rows, E = (size_t)m->E, X = (size_t)m->X, N = (size_t)m->N, lanes = (size_t)b->lanes;
    float *at = base;
    memset(s, 0, sizeof *s);
    for (int i = 0; i < branches(m); i++) {
        branch_space *r = &s->branch[i];
        r->xz = take(&at, n * 2 * E);
        r->y = take(&at, n * E);
        r->d_y = take(&at, n * E);
        r->d_xz = take(&at, n * 2 * E);
        if (m->multiply) {
            r->part = take(&at, n * (size_t)m->D);
            r->d_part = take(&at, n * (size_t)m->D);
        }
    }
    for (int i = 0; i < m->n_dir; i++) {
        scan_space *c = &s->scan[i];
        c->conv = take(&at, n * E);
        c->xdbl = take(&at, n * X);
        c->rank = take(&at, n * (size_t)m->R);
        c->dt = take(&at, n * E);
        c->d_conv = ends_branch(m, i) ? s->branch[branch_of(m, i)].d_y : take(&at, n * E);
        c->d_xdbl = take(&at, n * X);
        c->d_dt = take(&at, n * E);
        c->d_bc = take(&at, n * 2 * N * (size_t)m->blocks);
        c->d_a = take(&at, lanes * N * E);
        c->d_skip = take(&at, lanes * E);
        c->d_dt_b = take(&at, lanes * E);
        c->d_conv_w = take(&at, lanes * (size_t)m->K * E);
        c->d_conv_b = take(&at, lanes * E);
    }
    return (size_t)(at - base);
}

static size_t space_floats(const mb_mixer *mixer, const mb_batch_rows *b) {
    static float origin[1];
    space s;
    return lay_out(as_mamba(mixer), b, origin, &s);
}

static size_t scan_state_floats(const mamba *m, const mb_batch_rows *b) {
    return ((size_t)b->tiles * (size_t)m->N * (size_t)m->E + 15) / 16 * 16;
}

static size_t state_floats(const mb_mixer *mixer, const mb_batch_rows *b) {
    const mamba *m = as_mamba(mixer);
    return (size_t)m->n_dir * scan_state_floats(m, b);
}

static space space_of(const mamba *m, const mb_train_layer *t) {
    space s;
    (void)lay_out(m, t->b, t->space, &s);
    for (int i = 0; i < m->n_dir; i++)
        s.scan[i].states = t->states + (size_t)i * scan_state_floats(m, t->b);
    return s;
}

/* What a lane carries to the next batch: (K-1,E) inputs of the convolution, oldest first, then (N,E) states, block
 * after block. Causal mixers only. */
static size_t carry_floats(const mb_mixer *mixer) {
    const mamba *m = as_mamba(mixer);
    return m->n_dir == 1 ? ((size_t)m->K - 1 + (size_t)m->N) * (size_t)m->E : 0;
}

static size_t conv_carry(const mamba *m) {
    return ((size_t)m->K - 1) * (size_t)m->E;
}

static float *state_at(const mamba *m, const scan_space *c, int tile, int block) {
    return c->states + (size_t)m->N * ((size_t)tile * (size_t)m->E + (size_t)block * CHANNEL_BLOCK);
}

static size_t most(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t scratch_floats(const mb_mixer *mixer, int tile) {
    const mamba *m = as_mamba(mixer);
    const size_t n = (size_t)tile, state = (size_t)m->N * CHANNEL_BLOCK;
    const size_t scan = state + m->ops->scan_bwd_scratch(tile, CHANNEL_BLOCK, m->N);
    const size_t conv = (size_t)m->K * (size_t)m->E;
    return most(most(n * ((size_t)m->E + (size_t)m->D), n * (size_t)m->R), most(scan, conv)) + 64;
}

static const float *row(const float *base, int64_t at, int cols) {
    return base + (size_t)at * (size_t)cols;
}

static float *row_w(float *base, int64_t at, int cols) {
    return base + (size_t)at * (size_t)cols;
}

/* ---- forward stages -------------------------------------------------------------------------------------------------
 */

static int run_in(const mamba *m, const mb_train_layer *t, const space *s, const mb_batch_tile *tile,
                  const mbk_ctx *ctx) {
    int rc = MB_OK;
    for (int i = 0; i < branches(m) && rc == MB_OK; i++) {
        const mamba_dir *d = &m->dir[outer_of(m, t, i)];
        rc = mb_mamba1_project(m, ctx, d->in_proj, d->in_b, 2 * m->E, tile->rows, row(t->u, tile->at, m->D),
                               row_w(s->branch[i].xz, tile->at, 2 * m->E));
    }
    return rc;
}

/* The K-1 inputs before a tile, oldest first, in the direction of the scan: state (K-1,E). after: how many rows of the
 * lane follow it, K-1 at most. */
static int conv_state(const mamba *m, const mb_train_layer *t, const float *xz, const mb_batch_tile *tile, int reverse,
                      float *state) {
    const mb_batch_rows *b = t->b;
    const float *before = t->carry_in ? t->carry_in + (size_t)tile->lane * carry_floats(&m->base) : NULL;
    const int64_t low = b->lane_at[tile->lane], high = b->lane_at[tile->lane + 1];
    for (int j = 0; j < m->K - 1; j++) {
        const int back = m->K - 1 - j;
        const int64_t at = reverse ? tile->at + tile->rows - 1 + back : tile->at - back;
        float *to = state + (size_t)j * (size_t)m->E;
        if (at >= low && at < high)
            memcpy(to, row(xz, at, 2 * m->E), (size_t)m->E * sizeof(float));
        else if (before && at < low && low - at < m->K)
            memcpy(to, before + ((size_t)m->K - 1 - (size_t)(low - at)) * (size_t)m->E, (size_t)m->E * sizeof(float));
        else
            memset(to, 0, (size_t)m->E * sizeof(float));
    }
    const int64_t left = reverse ? tile->at - low : high - (tile->at + tile->rows);
    return left < m->K - 1 ? (int)left : m->K - 1;
}

static int run_conv(const mamba *m, const mb_train_layer *t, const space *s, int scan, const mb_batch_tile *tile,
                    const mbk_ctx *ctx, float *scratch) {
    const mamba_dir *d = weights_of(m, t, scan);
    const scan_space *c = &s->scan[scan];
    const float *xz = s->branch[branch_of(m, scan)].xz;
    const int reverse = direction_of(m, t, scan);
    float *rank = row_w(c->rank, tile->at, m->R), *xdbl = row_w(c->xdbl, tile->at, m->X);
    (void)conv_state(m, t, xz, tile, reverse, scratch);
    const mbk_conv conv = {.L = tile->rows,
                           .E = m->E,
                           .K = m->K,
                           .reverse = reverse,
                           .silu = 1,
                           .x = row(xz, tile->at, 2 * m->E),
                           .ldx = 2 * (ptrdiff_t)m->E,
                           .w = d->conv_w,
                           .ldw = m->E,
                           .b = d->conv_b,
                           .state = m->K > 1 ? scratch : NULL,
                           .ldstate = m->E,
                           .y = row_w(c->conv, tile->at, m->E),
                           .ldy = m->E};
    int rc = m->ops->conv_fwd(ctx, &conv);
    if (rc == MB_OK)
        rc = m->ops->linear_fwd(ctx, d->x_proj, tile->rows, conv.y, xdbl, 0);
    for (int i = 0; i < tile->rows; i++)
        memcpy(rank + (size_t)i * (size_t)m->R, xdbl + (size_t)i * (size_t)m->X, (size_t)m->R * sizeof(float));
    return rc == MB_OK ? m->ops->linear_fwd(ctx, d->dt_proj, tile->rows, rank, row_w(c->dt, tile->at, m->E), 0) : rc;
}

/* The last K-1 inputs of a lane, those carried into it where it is shorter. */
static void carry_conv(const mamba *m, const mb_train_layer *t, const space *s, const mb_batch_tile *tile) {
    const int64_t low = t->b->lane_at[tile->lane], high = t->b->lane_at[tile->lane + 1];
    const size_t lane = (size_t)tile->lane * carry_floats(&m->base), row_bytes = (size_t)m->E * sizeof(float);
    if (!t->carry_out || tile->at + tile->rows != high)
        return;
    for (int j = 0; j < m->K - 1; j++) {
        const int64_t at = high - (m->K - 1) + j;
        float *to = t->carry_out + lane + (size_t)j * (size_t)m->E;
        if (at >= low)
            memcpy(to, row(s->branch[0].xz, at, 2 * m->E), row_bytes);
        else if (t->carry_in)
            memcpy(to, t->carry_in + lane + (size_t)(m->K - 1 - (low - at)) * (size_t)m->E, row_bytes);
        else
            memset(to, 0, row_bytes);
    }
}

static int run_convs(const mamba *m, const mb_train_layer *t, const space *s, const mb_batch_tile *tile,
                     const mbk_ctx *ctx, float *scratch) {
    int rc = MB_OK;
    for (int i = 0; i < m->n_dir && rc == MB_OK; i++)
        rc = run_conv(m, t, s, i, tile, ctx, scratch);
    carry_conv(m, t, s, tile);
    return rc;
}

/* The k-th tile of a lane in the direction of a scan; backward: from its end. */
static int tile_in_order(const mb_batch_rows *b, int lane, int k, int from_right) {
    return from_right ? b->lane_tile[lane + 1] - 1 - k : b->lane_tile[lane] + k;
}

/* One block of channels of one lane through all its tiles; the state before each is kept. */
static int run_scan(const mamba *m, const mb_train_layer *t, const space *s, int scan, int item, const mbk_ctx *ctx,
                    float *scratch) {
    const int lane = item / m->blocks, block = item % m->blocks, from = block * CHANNEL_BLOCK;
    const int channels = block_channels(m, block), reverse = direction_of(m, t, scan);
    const mamba_dir *d = weights_of(m, t, scan);
    const scan_space *c = &s->scan[scan];
    float *y = s->branch[branch_of(m, scan)].y;
    const size_t state = (size_t)m->N * (size_t)channels * sizeof(float);
    const int tiles = t->b->lane_tile[lane + 1] - t->b->lane_tile[lane];
    int rc = MB_OK;
    const size_t carried = (size_t)lane * carry_floats(&m->base) + conv_carry(m) + (size_t)m->N * (size_t)from;
    if (t->carry_in)
        memcpy(scratch, t->carry_in + carried, state);
    else
        memset(scratch, 0, state);
    for (int k = 0; k < tiles && rc == MB_OK; k++) {
        const int i = tile_in_order(t->b, lane, k, reverse);
        const mb_batch_tile *tile = &t->b->tile[i];
        const mamba_scan_arrays a = {.conv = row(c->conv, tile->at, m->E),
                                     .dt = row(c->dt, tile->at, m->E),
                                     .xdbl = row(c->xdbl, tile->at, m->X),
                                     .y = row_w(y, tile->at, m->E)};
        mbk_scan run = mb_mamba1_scan_of(m, d, &a, tile->rows, from, channels, scratch);
        memcpy(state_at(m, c, i, block), scratch, state);
        run.reverse = reverse;
        run.y_add = joined(m) && scan == 1 ? run.y : NULL;
        run.ldyadd = m->E;
        rc = m->ops->scan_fwd(ctx, &run);
    }
    if (t->carry_out)
        memcpy(t->carry_out + carried, scratch, state);
    return rc;
}

/* gated (rows,E) of a branch's tile, then its output. */
static int run_branch_out(const mamba *m, const mb_train_layer *t, const space *s, int branch,
                          const mb_batch_tile *tile, const mbk_ctx *ctx, float *gated, float *out) {
    const mamba_dir *d = &m->dir[outer_of(m, t, branch)];
    const branch_space *r = &s->branch[branch];
    const mbk_gate_bwd gate = {.L = tile->rows,
                               .E = m->E,
                               .s = row(r->y, tile->at, m->E),
                               .lds = m->E,
                               .z = row(r->xz, tile->at, 2 * m->E) + m->E,
                               .ldz = 2 * (ptrdiff_t)m->E,
                               .out = gated,
                               .ldout = m->E};
    int rc = m->ops->gate_bwd(ctx, &gate);
    return rc == MB_OK ? mb_mamba1_project(m, ctx, d->out_proj, d->out_b, m->D, tile->rows, gated, out) : rc;
}

static int run_out(const mamba *m, const mb_train_layer *t, const space *s, const mb_batch_tile *tile,
                   const mbk_ctx *ctx, float *scratch) {
    const size_t n = (size_t)tile->rows * (size_t)m->D;
    float *out = row_w(t->out, tile->at, m->D);
    float *first = m->multiply ? row_w(s->branch[0].part, tile->at, m->D) : out;
    int rc = run_branch_out(m, t, s, 0, tile, ctx, scratch, first);
    if (joined(m)) /* each direction's projection had its own bias */
        for (size_t i = 0; m->dir[0].out_b && i < n; i++)
            out[i] += m->dir[0].out_b[i % (size_t)m->D];
    if (branches(m) == 1 || rc != MB_OK)
        return rc;
    float *second =
        m->multiply ? row_w(s->branch[1].part, tile->at, m->D) : scratch + (size_t)tile->rows * (size_t)m->E;
    rc = run_branch_out(m, t, s, 1, tile, ctx, scratch, second);
    for (size_t i = 0; i < n; i++)
        out[i] = m->multiply ? second[i] * first[i] : second[i] + first[i];
    return rc;
}

/* ---- backward stages ------------------------------------------------------------------------------------------------
 */

/* dLoss/d of a branch's own output, (rows,D) of the tile. */
static const float *branch_d_out(const mamba *m, const mb_train_layer *t, const space *s, int branch,
                                 const mb_batch_tile *tile) {
    const float *d_out = row(t->d_out, tile->at, m->D);
    if (!m->multiply)
        return d_out;
    const size_t n = (size_t)tile->rows * (size_t)m->D;
    const float *other = row(s->branch[1 - branch].part, tile->at, m->D);
    float *d = row_w(s->branch[branch].d_part, tile->at, m->D);
    for (size_t i = 0; i < n; i++)
        d[i] = d_out[i] * other[i];
    return d;
}

static int back_out(const mamba *m, const mb_train_layer *t, const space *s, const mb_batch_tile *tile,
                    const mbk_ctx *ctx, float *scratch) {
    int rc = MB_OK;
    for (int i = 0; i < branches(m) && rc == MB_OK; i++) {
        const branch_space *r = &s->branch[i];
        const float *d_out = branch_d_out(m, t, s, i, tile);
        rc = m->ops->linear_fwd(ctx, m->back[outer_of(m, t, i)].out_proj, tile->rows, d_out, scratch, 0);
        const mbk_gate_bwd gate = {.L = tile->rows,
                                   .E = m->E,
                                   .s = row(r->y, tile->at, m->E),
                                   .lds = m->E,
                                   .z = row(r->xz, tile->at, 2 * m->E) + m->E,
                                   .ldz = 2 * (ptrdiff_t)m->E,
                                   .G = scratch,
                                   .ldg = m->E,
                                   .out = row_w(r->y, tile->at, m->E),
                                   .ldout = m->E,
                                   .ds = row_w(r->d_y, tile->at, m->E),
                                   .ldds = m->E,
                                   .dz = row_w(r->d_xz, tile->at, 2 * m->E) + m->E,
                                   .lddz = 2 * (ptrdiff_t)m->E};
        if (rc == MB_OK)
            rc = m->ops->gate_bwd(ctx, &gate);
    }
    return rc;
}

static mbk_scan_bwd scan_bwd_of(const mamba *m, const mamba_dir *d, const scan_space *c, const float *d_y, int lane,
                                int from) {
    const ptrdiff_t E = m->E;
    const size_t vector = (size_t)lane * (size_t)m->E + (size_t)from;
    return (mbk_scan_bwd){.N = m->N,
                          .softplus_dt = 1,
                          .x = c->conv + from,
                          .ldx = E,
                          .dt = c->dt + from,
                          .lddt = E,
                          .B = c->xdbl + m->R,
                          .ldb = m->X,
                          .C = c->xdbl + m->R + m->N,
                          .ldc = m->X,
                          .a2 = d->a2 + from,
                          .lda = E,
                          .dt_bias = d->dt_b + from,
                          .skip = d->skip + from,
                          .G = d_y + from,
                          .ldg = E,
                          .dx = c->d_conv + from,
                          .lddx = E,
                          .ddt = c->d_dt + from,
                          .ldddt = E,
                          .lddb = 2 * (ptrdiff_t)m->N,
                          .lddc = 2 * (ptrdiff_t)m->N,
                          .da = c->d_a + (size_t)lane * (size_t)m->N * (size_t)m->E + (size_t)from,
                          .ldda = E,
                          .dskip = c->d_skip + vector,
                          .ddt_bias = c->d_dt_b + vector};
}

static void move_to_tile(mbk_scan_bwd *r, const mb_batch_tile *tile) {
    r->L = tile->rows;
    r->x += tile->at * r->ldx;
    r->dt += tile->at * r->lddt;
    r->B += tile->at * r->ldb;
    r->C += tile->at * r->ldc;
    r->G += tile->at * r->ldg;
    r->dx += tile->at * r->lddx;
    r->ddt += tile->at * r->ldddt;
    r->dB += tile->at * r->lddb;
    r->dC += tile->at * r->lddc;
}

static void clear(float *base, int rows, ptrdiff_t ld, int cols) {
    MB_ASSERT(base);
    for (int i = 0; i < rows; i++)
        memset(base + i * ld, 0, (size_t)cols * sizeof(float));
}

/* One block of channels of one lane, back through its tiles. */
static int back_scan(const mamba *m, const mb_train_layer *t, const space *s, int scan, int item, const mbk_ctx *ctx,
                     float *scratch) {
    const int lane = item / m->blocks, block = item % m->blocks, from = block * CHANNEL_BLOCK;
    const int reverse = direction_of(m, t, scan);
    const scan_space *c = &s->scan[scan];
    float *d_bc = c->d_bc + (size_t)block * (size_t)t->b->rows * 2 * (size_t)m->N;
    mbk_scan_bwd whole = scan_bwd_of(m, weights_of(m, t, scan), c, s->branch[branch_of(m, scan)].d_y, lane, from);
    whole.E = block_channels(m, block);
    whole.reverse = reverse;
    whole.lds = whole.E;
    whole.dstate = scratch;
    whole.scratch = scratch + (size_t)m->N * CHANNEL_BLOCK;
    whole.dB = d_bc;
    whole.dC = d_bc + m->N;
    clear(whole.da, m->N, whole.ldda, whole.E);
    clear(whole.dskip, 1, 0, whole.E);
    clear(whole.ddt_bias, 1, 0, whole.E);
    clear(whole.dstate, m->N, whole.lds, whole.E);
    const int tiles = t->b->lane_tile[lane + 1] - t->b->lane_tile[lane];
    int rc = MB_OK;
    for (int k = 0; k < tiles && rc == MB_OK; k++) {
        const int i = tile_in_order(t->b, lane, k, !reverse);
        mbk_scan_bwd run = whole;
        run.state0 = state_at(m, c, i, block);
        move_to_tile(&run, &t->b->tile[i]);
        rc = m->ops->scan_bwd(ctx, &run);
    }
    return rc;
}

/* d_xdbl = [d_rank | dB | dC] of a tile, and what x_proj passes on to d_conv. */
static int back_proj(const mamba *m, const mb_train_layer *t, const space *s, int scan, const mb_batch_tile *tile,
                     const mbk_ctx *ctx, float *scratch) {
    const scan_space *c = &s->scan[scan];
    const mamba_back *back = &m->back[direction_of(m, t, scan)];
    const int two_n = 2 * m->N;
    float *d_xdbl = row_w(c->d_xdbl, tile->at, m->X);
    int rc = m->ops->linear_fwd(ctx, back->dt_proj, tile->rows, row(c->d_dt, tile->at, m->E), scratch, 0);
    for (int i = 0; i < tile->rows; i++) {
        float *d = d_xdbl + (size_t)i * (size_t)m->X;
        memcpy(d, scratch + (size_t)i * (size_t)m->R, (size_t)m->R * sizeof(float));
        memcpy(d + m->R, row(c->d_bc, tile->at + i, two_n), (size_t)two_n * sizeof(float));
        for (int b = 1; b < m->blocks; b++) {
            const float *share = row(c->d_bc, b * t->b->rows + tile->at + i, two_n);
            for (int n = 0; n < two_n; n++)
                d[m->R + n] += share[n];
        }
    }
    if (rc != MB_OK)
        return rc;
    return m->ops->linear_fwd(ctx, back->x_proj, tile->rows, d_xdbl, row_w(c->d_conv, tile->at, m->E), 1);
}

/* One block of channels of one lane: the convolutions of a branch, into the x half of d_xz. */
static int back_conv(const mamba *m, const mb_train_layer *t, const space *s, int item, const mbk_ctx *ctx,
                     float *state) {
    const int block = item % m->blocks, lane = item / m->blocks % t->b->lanes;
    const int branch = item / m->blocks / t->b->lanes, from = block * CHANNEL_BLOCK;
    const branch_space *r = &s->branch[branch];
    int rc = MB_OK, accumulate = 0;
    for (int scan = 0; scan < m->n_dir && rc == MB_OK; scan++) {
        if (branch_of(m, scan) != branch)
            continue;
        const mamba_dir *d = weights_of(m, t, scan);
        const scan_space *c = &s->scan[scan];
        float *dw = c->d_conv_w + (size_t)lane * (size_t)m->K * (size_t)m->E + from;
        float *db = c->d_conv_b + (size_t)lane * (size_t)m->E + from;
        const int reverse = direction_of(m, t, scan), channels = block_channels(m, block);
        clear(dw, m->K, m->E, channels);
        clear(db, 1, 0, channels);
        for (int i = t->b->lane_tile[lane]; i < t->b->lane_tile[lane + 1] && rc == MB_OK; i++) {
            const mb_batch_tile *tile = &t->b->tile[i];
            const mbk_conv_bwd run = {.L = tile->rows,
                                      .E = channels,
                                      .K = m->K,
                                      .reverse = reverse,
                                      .silu = 1,
                                      .after = conv_state(m, t, r->xz, tile, reverse, state),
                                      .accumulate = accumulate,
                                      .x = row(r->xz, tile->at, 2 * m->E) + from,
                                      .ldx = 2 * (ptrdiff_t)m->E,
                                      .w = d->conv_w + from,
                                      .ldw = m->E,
                                      .b = d->conv_b ? d->conv_b + from : NULL,
                                      .state = m->K > 1 ? state + from : NULL,
                                      .ldstate = m->E,
                                      .G = row(c->d_conv, tile->at, m->E) + from,
                                      .ldg = m->E,
                                      .dx = row_w(r->d_xz, tile->at, 2 * m->E) + from,
                                      .lddx = 2 * (ptrdiff_t)m->E,
                                      .dw = dw,
                                      .lddw = m->E,
                                      .db = db};
            rc = m->ops->conv_bwd(ctx, &run);
        }
        accumulate = 1;
    }
    return rc;
}

static int back_in(const mamba *m, const mb_train_layer *t, const space *s, const mb_batch_tile *tile,
                   const mbk_ctx *ctx) {
    int rc = MB_OK;
    for (int i = 0; i < branches(m) && rc == MB_OK; i++)
        rc = m->ops->linear_fwd(ctx, m->back[outer_of(m, t, i)].in_proj, tile->rows,
                                row(s->branch[i].d_xz, tile->at, 2 * m->E), row_w(t->d_u, tile->at, m->D), i > 0);
    return rc;
}

/* ---- gradients of weights -------------------------------------------------------------------------------------------
 */

typedef struct product { /* C (rows,cols) += sum over sources of A^T B */
    const float *C;
    int rows, cols, sources;
    struct {
        const float *A, *B;
        int lda, ldb;
    } source[2];
} product;

static void add_source(product *p, const float *A, int lda, const float *B, int ldb) {
    p->source[p->sources].A = A;
    p->source[p->sources].lda = lda;
    p->source[p->sources].B = B;
    p->source[p->sources++].ldb = ldb;
}

/* in_proj and out_proj of one set of outer weights; both branches of a tied pair belong to one. */
static void outer_products(const mamba *m, const mb_train_layer *t, const space *s, int outer, product *in,
                           product *out) {
    const mb_mamba1_params *g = &t->grad->dir[outer];
    *in = (product){.C = g->in_w, .rows = 2 * m->E, .cols = m->D};
    *out = (product){.C = g->out_w, .rows = m->D, .cols = m->E};
    for (int i = 0; i < branches(m); i++) {
        if (outer_of(m, t, i) != outer)
            continue;
        const branch_space *r = &s->branch[i];
        add_source(in, r->d_xz, 2 * m->E, t->u, m->D);
        add_source(out, m->multiply ? r->d_part : t->d_out, m->D, r->y, m->E);
    }
}

/* All products of a layer; their number. */
static int products(const mamba *m, const mb_train_layer *t, const space *s, product p[8]) {
    int n = 0;
    for (int outer = 0; outer < (m->tied ? 1 : m->n_dir); outer++, n += 2)
        outer_products(m, t, s, outer, &p[n], &p[n + 1]);
    for (int scan = 0; scan < m->n_dir; scan++) {
        const mb_mamba1_params *g = &t->grad->dir[direction_of(m, t, scan)];
        const scan_space *c = &s->scan[scan];
        p[n] = (product){.C = g->x_w, .rows = m->X, .cols = m->E};
        add_source(&p[n++], c->d_xdbl, m->X, c->conv, m->E);
        p[n] = (product){.C = g->dt_w, .rows = m->E, .cols = m->R};
        add_source(&p[n++], c->d_dt, m->E, c->rank, m->R);
    }
    return n;
}

static int blocks_in(int rows) {
    return (rows + WEIGHT_BLOCK - 1) / WEIGHT_BLOCK;
}

static int weight_items(const mamba *m) {
    const int outer = blocks_in(2 * m->E) + blocks_in(m->D), inner = blocks_in(m->X) + blocks_in(m->E);
    return (m->tied ? 1 : m->n_dir) * outer + m->n_dir * inner;
}

static int back_weights(const mamba *m, const mb_train_layer *t, const space *s, int item, const mbk_ctx *ctx) {
    product all[8], *p = all;
    const int n = products(m, t, s, all);
    while (p < all + n && item >= blocks_in(p->rows))
        item -= blocks_in((p++)->rows);
    MBK_ASSERT(p < all + n);
    const int from = item * WEIGHT_BLOCK, left = p->rows - from;
    int rc = MB_OK;
    for (int i = 0; i < p->sources && rc == MB_OK; i++) {
        const mbk_gemm_tn run = {.k = t->b->rows,
                                 .m = left < WEIGHT_BLOCK ? left : WEIGHT_BLOCK,
                                 .n = p->cols,
                                 .accumulate = 1,
                                 .precision = m->precision,
                                 .A = p->source[i].A + from,
                                 .lda = p->source[i].lda,
                                 .B = p->source[i].B,
                                 .ldb = p->source[i].ldb,
                                 .C = (float *)p->C + (size_t)from * (size_t)p->cols,
                                 .ldc = p->cols};
        rc = m->ops->gemm_tn(ctx, &run);
    }
    return rc;
}

/* sum (n) += scale * the lanes' shares, lane after lane. */
static void add_lanes(const float *to, const float *share, int lanes, size_t n) {
    float *sum = (float *)to;
    MB_ASSERT(to && share);
    for (int l = 0; l < lanes; l++)
        for (size_t i = 0; i < n; i++)
            sum[i] += share[(size_t)l * n + i];
}

/* Everything of a scan that is no matrix product. dA_log = dA * A, A = -exp(A_log) = a2 / log2 e. */
static void back_scan_vectors(const mamba *m, const mb_train_layer *t, const space *s, int scan) {
    const mamba_dir *d = weights_of(m, t, scan);
    const mb_mamba1_params *g = &t->grad->dir[direction_of(m, t, scan)];
    const scan_space *c = &s->scan[scan];
    const size_t E = (size_t)m->E, N = (size_t)m->N, K = (size_t)m->K;
    const int lanes = t->b->lanes;
    float *A_log = (float *)g->A_log, *conv_w = (float *)g->conv_w;
    MB_ASSERT(c->d_a && c->d_conv_w);
    for (int l = 0; l < lanes; l++)
        for (size_t e = 0; e < E; e++) {
            for (size_t n = 0; n < N; n++)
                A_log[e * N + n] += c->d_a[((size_t)l * N + n) * E + e] * (d->a2[n * E + e] * 0.693147180559945309f);
            for (size_t k = 0; k < K; k++)
                conv_w[e * K + k] += c->d_conv_w[((size_t)l * K + k) * E + e];
        }
    add_lanes(g->skip, c->d_skip, lanes, E);
    add_lanes(g->dt_b, c->d_dt_b, lanes, E);
    if (g->conv_b)
        add_lanes(g->conv_b, c->d_conv_b, lanes, E);
}

/* A projection's bias: the sum of the rows of its output's gradient, `times` over. */
static void add_columns(const float *to, const float *d, int64_t rows, int cols, float times) {
    float *sum = (float *)to;
    for (int64_t i = 0; i < rows; i++)
        for (int c = 0; c < cols; c++)
            sum[c] += times * d[(size_t)i * (size_t)cols + (size_t)c];
}

static void back_biases(const mamba *m, const mb_train_layer *t, const space *s) {
    for (int i = 0; i < branches(m); i++) {
        const mb_mamba1_params *g = &t->grad->dir[outer_of(m, t, i)];
        const branch_space *r = &s->branch[i];
        if (g->in_b)
            add_columns(g->in_b, r->d_xz, t->b->rows, 2 * m->E, 1);
        if (g->out_b)
            add_columns(g->out_b, m->multiply ? r->d_part : t->d_out, t->b->rows, m->D, joined(m) ? 2 : 1);
    }
}

static int back_vectors(const mamba *m, const mb_train_layer *t, const space *s, int item) {
    if (item < m->n_dir)
        back_scan_vectors(m, t, s, item);
    else
        back_biases(m, t, s);
    return MB_OK;
}

/* ---- the interface --------------------------------------------------------------------------------------------------
 */

static int items(const mb_mixer *mixer, const mb_batch_rows *b, int stage) {
    const mamba *m = as_mamba(mixer);
    switch (stage) {
    case SCAN_0:
    case D_SCAN_0:
        return b->lanes * m->blocks;
    case SCAN_1:
    case D_SCAN_1:
        return m->n_dir == 2 ? b->lanes * m->blocks : 0;
    case D_CONV:
        return branches(m) * b->lanes * m->blocks;
    case WEIGHTS:
        return weight_items(m);
    case VECTORS:
        return m->n_dir + 1;
    default:
        return b->tiles;
    }
}

static int item(const mb_mixer *mixer, const mb_train_layer *t, int stage, int i, const mbk_ctx *ctx, float *scratch) {
    const mamba *m = as_mamba(mixer);
    const space s = space_of(m, t);
    const mb_batch_tile *tile = &t->b->tile[i < t->b->tiles ? i : 0]; /* of the stages whose items are tiles */
    int rc = MB_OK;
    switch (stage) {
    case IN:
        return run_in(m, t, &s, tile, ctx);
    case CONV:
        return run_convs(m, t, &s, tile, ctx, scratch);
    case SCAN_0:
    case SCAN_1:
        return run_scan(m, t, &s, stage - SCAN_0, i, ctx, scratch);
    case OUT:
        return run_out(m, t, &s, tile, ctx, scratch);
    case D_OUT:
        return back_out(m, t, &s, tile, ctx, scratch);
    case D_SCAN_0:
    case D_SCAN_1:
        return back_scan(m, t, &s, stage - D_SCAN_0, i, ctx, scratch);
    case D_PROJ:
        for (int scan = 0; scan < m->n_dir && rc == MB_OK; scan++)
            rc = back_proj(m, t, &s, scan, tile, ctx, scratch);
        return rc;
    case D_CONV:
        return back_conv(m, t, &s, i, ctx, scratch);
    case D_IN:
        return back_in(m, t, &s, tile, ctx);
    case WEIGHTS:
        return back_weights(m, t, &s, i, ctx);
    default:
        return back_vectors(m, t, &s, i);
    }
}

/* The output itself is needed by products of branches alone. */
static int again_stages(const mb_mixer *mixer) {
    return as_mamba(mixer)->multiply ? FORWARD_STAGES : OUT;
}

const mb_mixer_training mb_mamba1_training = {.forward_stages = FORWARD_STAGES,
                                              .backward_stages = BACKWARD_STAGES,
                                              .again_stages = again_stages,
                                              .prepare = mb_mamba1_prepare,
                                              .refresh = mb_mamba1_refresh,
                                              .state_floats = state_floats,
                                              .space_floats = space_floats,
                                              .scratch_floats = scratch_floats,
                                              .carry_floats = carry_floats,
                                              .items = items,
                                              .item = item};
