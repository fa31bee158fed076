/* Parameters: files of every family become the pointers the kernels want and go back bit for bit; the strand-swap fold
 * is what the algebra says; fresh models follow the original recipe; what does not fit is named. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/params.h"
#include "core/params_table.h"
#include "core/rng.h"
#include "tests/models.h"
#include "tests/tree.h"

enum { MOST = 400 };
static mb_config c;

/* ---- helpers ------------------------------------------------------------------------------------------------------
 */

static mb_params *seeded(const mb_config *config, uint64_t seed) {
    mb_err e = {0};
    mb_params *p = NULL;
    if (mb_params_seed(&p, config, seed, &e) != MB_OK)
        fail_msg("%s", e.text);
    return p;
}

static void save(const mb_params *p, const mb_config *config, const char *path) {
    mb_err e = {0};
    if (mb_params_save(p, config, path, &e) != MB_OK)
        fail_msg("%s", e.text);
}

/* The weights are closed before the parameters are used, as everyone does. */
static mb_params *load(const char *path) {
    mb_err e = {0};
    mb_weights *w = NULL;
    mb_params *p = NULL;
    if (mb_weights_open(&w, path, &e) != MB_OK || mb_params_load(&p, &c, w, &e) != MB_OK)
        fail_msg("%s", e.text);
    mb_weights_close(w);
    return p;
}

static void refused(const char *path, int status, const char *words, const char *more) {
    mb_err e = {0};
    mb_weights *w = NULL;
    mb_params *p = NULL;
    if (mb_weights_open(&w, path, &e) != MB_OK)
        fail_msg("%s", e.text);
    int rc = mb_params_load(&p, &c, w, &e);
    assert_null(p);
    if (!strstr(e.text, words) || !strstr(e.text, more))
        fail_msg("expected \"%s\" and \"%s\" in: %s", words, more, e.text);
    assert_int_equal(rc, status);
    mb_weights_close(w);
}

static char *golden(const char *name) {
    char *dir = mb_asprintf("%s/golden/%s", shared_dir(), name);
    mb_err e = {0};
    if (mb_config_read(&c, dir, &e) != MB_OK)
        fail_msg("%s", e.text);
    return dir;
}

static const char *const goldens[] = {
    "caduceus_ph",         "caduceus_ph_layernorm_untied_mul", "caduceus_ps_even", "caduceus_ps_odd",
    "caduceus_ps_unfused", "caduceus_unidirectional",          "mamba1_hf",        "mamba1_lm"};
enum { GOLDENS = sizeof goldens / sizeof *goldens };

static const mb_tensor *tensor(const mb_weights *w, const char *name) {
    const mb_tensor *t = mb_weights_find(w, name);
    if (!t)
        fail_msg("no tensor %s", name);
    return t;
}

/* All tensors of a file, to be changed and written again. */
typedef struct edit {
    mb_weights *w;
    mb_tensor t[MOST];
    int n;
} edit;

static edit *edit_open(const char *path) {
    static edit d;
    mb_err e = {0};
    if (mb_weights_open(&d.w, path, &e) != MB_OK)
        fail_msg("%s", e.text);
    d.n = mb_weights_count(d.w);
    assert_true(d.n <= MOST - 10);
    for (int i = 0; i < d.n; i++)
        d.t[i] = *mb_weights_at(d.w, i);
    return &d;
}

static mb_tensor *edit_find(edit *d, const char *part) {
    for (int i = 0; i < d->n; i++)
        if (strstr(d->t[i].name, part))
            return &d->t[i];
    fail_msg("no tensor %s", part);
    return NULL;
}

static const char *edit_write(edit *d) {
    mb_err e = {0};
    const char *path = tree("edited.safetensors");
    if (mb_safetensors_write(path, d->t, d->n, NULL, &e) != MB_OK)
        fail_msg("%s", e.text);
    mb_weights_close(d->w);
    return path;
}

static void skip_without_shared(void) {
    if (shared_dir())
        return;
    printf("SKIP: no shared data (set SEQMAMBA_SHARED)\n");
    skip();
}

/* ---- loading and saving -------------------------------------------------------------------------------------------
 */

static void every_golden_loads(void **state) {
    (void)state;
    skip_without_shared();
    for (int i = 0; i < GOLDENS; i++) {
        char *dir = golden(goldens[i]);
        mb_params *p = load(dir);
        assert_int_equal(p->count, mb_params_count(&c));
        double sum = 0; /* touch everything */
        const int directions = c.mixer == MB_MIXER_BIMAMBA1 ? 2 : 1;
        const int64_t D = c.D, E = c.E;
        for (int l = 0; l < c.n_layer; l++)
            for (int d = 0; d < directions; d++) {
                const mb_mamba1_params *m = &p->layer[l].dir[d];
                sum +=
                    (double)(m->in_w[2 * E * D - 1] + m->conv_w[E * c.K - 1] + m->conv_b[E - 1] +
                             m->x_w[(c.R + 2 * c.N) * E - 1] + m->dt_w[E * c.R - 1] + m->dt_b[E - 1] +
                             m->A_log[E * c.N - 1] + m->skip[E - 1] + m->out_w[D * E - 1] + p->layer[l].norm_w[D - 1]);
                assert_null(m->in_b);
                assert_int_equal(d == 1 && c.tied_directions, m->in_w == p->layer[l].dir[0].in_w && d == 1);
                assert_int_equal(p->layer[l].norm_b != NULL, c.norm == MBK_NORM_LAYER);
            }
        assert_true(isfinite(sum) && isfinite(p->embedding[c.V * D - 1]) && isfinite(p->norm_f_w[D - 1]));
        assert_ptr_equal(p->head_w, p->embedding);
        if (directions == 1)
            assert_null(p->layer[0].dir[1].in_w);
        mb_params_free(p);
        mb_free(dir);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
}

/* How many of four tensors that no fold touches the parameters of a golden use where the file has them. */
static int inside_the_file(const char *name) {
    mb_err e = {0};
    mb_weights *w = NULL;
    mb_params *p = NULL;
    char *dir = golden(name);
    int inside = 0;
    assert_int_equal(mb_weights_open(&w, dir, &e), MB_OK);
    assert_int_equal(mb_params_load(&p, &c, w, &e), MB_OK);
    for (int k = 0; k < mb_weights_count(w); k++) {
        const void *data = mb_weights_at(w, k)->data;
        inside += data == p->embedding || data == p->layer[0].dir[0].in_w || data == p->layer[0].dir[0].out_w ||
                  data == p->norm_f_w;
    }
    mb_weights_close(w);
    mb_params_free(p);
    mb_free(dir);
    return inside;
}

/* Small checkpoints are copied, of large ones nothing is copied that need not be; the numbers are the same. */
static void used_in_place(void **state) {
    (void)state;
    skip_without_shared();
    const char *const names[] = {"mamba1_lm", "mamba1_hf", "caduceus_ph", "caduceus_ps_unfused"};
    for (int i = 0; i < 4; i++) {
        const int64_t most = mb_params_copy_most;
        assert_int_equal(inside_the_file(names[i]), 0);
        mb_params_copy_most = 0;
        const int inside = inside_the_file(names[i]);
        char *dir = golden(names[i]);
        mb_params *mapped = load(dir);
        mb_params_copy_most = most;
        mb_params *copied = load(dir);
        assert_true(inside >= 4);
        assert_memory_equal(mapped->embedding, copied->embedding, (size_t)c.V * (size_t)c.D * sizeof(float));
        assert_memory_equal(mapped->layer[0].dir[0].out_w, copied->layer[0].dir[0].out_w,
                            (size_t)c.D * (size_t)c.E * sizeof(float));
        mb_params_free(mapped);
        mb_params_free(copied);
        mb_free(dir);
    }
}

static void round_trip(void **state) {
    (void)state;
    skip_without_shared();
    for (int i = 0; i < GOLDENS; i++) {
        mb_err e = {0};
        mb_weights *before = NULL, *after = NULL;
        char *dir = golden(goldens[i]);
        mb_params *p = load(dir);
        const char *path = tree("saved.safetensors");
        save(p, &c, path);
        mb_params_free(p);
        assert_int_equal(mb_weights_open(&before, dir, &e), MB_OK);
        assert_int_equal(mb_weights_open(&after, path, &e), MB_OK);
        assert_int_equal(mb_weights_count(before), mb_weights_count(after));
        for (int k = 0; k < mb_weights_count(before); k++) {
            const mb_tensor *a = mb_weights_at(before, k), *b = tensor(after, a->name);
            assert_true(a->dtype == b->dtype && a->ndim == b->ndim);
            assert_memory_equal(a->shape, b->shape, (size_t)a->ndim * 8);
            assert_memory_equal(a->data, b->data, (size_t)a->count * mb_dtype_bytes(a->dtype));
            if (i < 7) /* safetensors: the same order too */
                assert_string_equal(mb_weights_at(after, k)->name, a->name);
        }
        mb_weights_close(before);
        mb_weights_close(after);
        mb_free(dir);
    }
}

/* Header and data of a model of the released shape have the released names: the length of the file says so, up to the
 * blanks that align the data to 64 bytes here and to 8 there. */
static void released_shapes(void **state) {
    (void)state;
    const struct {
        int n_layer, rcps, tensors;
        int64_t count;
        size_t released_bytes; /* kuleshov-group/caduceus-{ps_seqlen-131k,ph_seqlen-1k}: model.safetensors */
    } all[] = {{16, 1, 276, 7725312, 30937760}, {4, 0, 70, 1934592, 7746792}};
    for (int i = 0; i < 2; i++) {
        mb_err e = {0};
        mb_weights *w = NULL;
        c = model_caduceus(256, all[i].n_layer, all[i].rcps);
        assert_int_equal(mb_params_count(&c), all[i].count);
        mb_params *p = seeded(&c, 1), *q;
        assert_int_equal(p->count, all[i].count);
        const char *path = tree("released/model.safetensors");
        save(p, &c, path);
        assert_int_equal(mb_weights_open(&w, tree("released"), &e), MB_OK);
        assert_int_equal(mb_weights_count(w), all[i].tensors);
        size_t n;
        free(tree_read(path, &n));
        assert_int_equal(n, (all[i].released_bytes + 63) / 64 * 64);
        mb_weights_close(w);
        q = load(tree("released"));
        for (int l = 0; l < c.n_layer; l++)
            for (int d = 0; d < 2; d++) {
                const mb_mamba1_params *a = &p->layer[l].dir[d], *b = &q->layer[l].dir[d];
                assert_memory_equal(a->in_w, b->in_w, (size_t)(2 * c.E * c.D) * 4);
                assert_memory_equal(a->out_w, b->out_w, (size_t)(c.E * c.D) * 4);
                assert_memory_equal(a->dt_b, b->dt_b, (size_t)c.E * 4);
            }
        mb_params_free(p);
        mb_params_free(q);
    }
    /* PlantCaduceus_l32 by its shape alone */
    c = model_caduceus(1024, 32, 1);
    c.V = c.n_complement = 8;
    const int64_t layer = 2 * 2048 * 1024 + 1024 * 2048 + 1024, /* in_proj, out_proj, norm */
        direction = 2048 * 4 + 2048 + 96 * 2048 + 2048 * 64 + 2048 + 2048 * 16 + 2048;
    assert_int_equal(mb_params_count(&c), 32 * (layer + 2 * direction) + (int64_t)9 * c.D);
}

static void other_types_and_addresses(void **state) {
    (void)state;
    c = model_caduceus(8, 2, 1);
    mb_params *p = seeded(&c, 3);
    save(p, &c, tree("plain.safetensors"));
    mb_params_free(p);
    for (int kind = 0; kind < 4; kind++) {
        edit *d = edit_open(tree("plain.safetensors"));
        void *copies[MOST] = {0};
        for (int i = 0; i < d->n; i++) { /* values that every type has: multiples of 1/4 */
            mb_tensor *t = &d->t[i];
            if (t->dtype != MB_F32)
                continue;
            unsigned char *copy = copies[i] = malloc((size_t)t->count * 8);
            for (int64_t k = 0; k < t->count; k++) {
                const float f = (float)((k * 7 + i) % 9 - 4) / 4;
                uint32_t bits;
                memcpy(&bits, &f, 4);
                const double wide = (double)f;
                const uint16_t brain = (uint16_t)(bits >> 16),
                               half = f == 0 ? 0
                                             : (uint16_t)((bits >> 31) << 15 | ((bits >> 23 & 255) - 112) << 10 |
                                                          (bits >> 13 & 1023));
                const void *from[] = {&f, &wide, &brain, &half};
                const size_t size[] = {4, 8, 2, 2};
                memcpy(copy + (size_t)k * size[kind], from[kind], size[kind]);
            }
            t->data = copy;
            t->dtype = (const mb_dtype[]){MB_F32, MB_F64, MB_BF16, MB_F16}[kind];
        }
        mb_params *q = load(edit_write(d));
        if (kind == 0)
            p = q;
        for (int l = 0; l < 2; l++)
            for (int dir = 0; dir < 2; dir++) {
                assert_memory_equal(p->layer[l].dir[dir].in_w, q->layer[l].dir[dir].in_w, sizeof(float[2 * 16 * 8]));
                assert_memory_equal(p->layer[l].dir[dir].A_log, q->layer[l].dir[dir].A_log, sizeof(float[16 * 16]));
            }
        assert_memory_equal(p->embedding, q->embedding, sizeof(float[16 * 8]));
        if (kind)
            mb_params_free(q);
        for (int i = 0; i < MOST; i++)
            free(copies[i]);
    }
    mb_params_free(p);
    /* data at an odd address: one blank more in the header */
    size_t n;
    p = load(tree("plain.safetensors"));
    unsigned char *file = tree_read(tree("plain.safetensors"), &n), *odd = malloc(n + 1);
    uint64_t header;
    memcpy(&header, file, 8);
    memcpy(odd, file, 8 + header);
    odd[8 + header] = ' ';
    memcpy(odd + 9 + header, file + 8 + header, n - 8 - header);
    header++;
    memcpy(odd, &header, 8);
    tree_write(tree("odd.safetensors"), odd, n + 1);
    mb_params *q = load(tree("odd.safetensors"));
    assert_int_equal((uintptr_t)q->embedding % 64, 0);
    assert_memory_equal(p->embedding, q->embedding, sizeof(float[16 * 8]));
    assert_memory_equal(p->layer[1].dir[1].in_w, q->layer[1].dir[1].in_w, sizeof(float[2 * 16 * 8]));
    mb_params_free(p);
    mb_params_free(q);
    free(file);
    free(odd);
}

/* ---- the fold -----------------------------------------------------------------------------------------------------
 */

enum { FD = 6, FL = 9 };

/* One direction of a Mamba on u (FL,FD), in double; from the right when reverse. */
static void mamba(const mb_mamba1_params *m, int reverse, const double *u, double *out) {
    const int E = c.E, N = c.N, K = c.K, R = c.R;
    double *xz = calloc((size_t)E, sizeof(double[FL * 2])), *h = calloc((size_t)E, (size_t)N * sizeof *h),
           *x = calloc((size_t)E, sizeof *x), *dbc = calloc((size_t)R + 2 * (size_t)N, sizeof *dbc),
           *y = calloc((size_t)E, sizeof *y);
    for (int t = 0; t < FL; t++)
        for (int i = 0; i < 2 * E; i++) {
            double s = m->in_b ? (double)m->in_b[i] : 0;
            for (int d = 0; d < FD; d++)
                s += (double)m->in_w[i * FD + d] * u[t * FD + d];
            xz[t * 2 * E + i] = s;
        }
    for (int step = 0; step < FL; step++) {
        const int t = reverse ? FL - 1 - step : step, back = reverse ? 1 : -1;
        for (int i = 0; i < E; i++) {
            double s = m->conv_b ? (double)m->conv_b[i] : 0;
            for (int k = 0; k < K; k++) {
                const int at = t + back * (K - 1 - k);
                s += at >= 0 && at < FL ? (double)m->conv_w[i * K + k] * xz[at * 2 * E + i] : 0;
            }
            x[i] = s / (1 + exp(-s));
        }
        for (int j = 0; j < R + 2 * N; j++) {
            dbc[j] = 0;
            for (int i = 0; i < E; i++)
                dbc[j] += (double)m->x_w[j * E + i] * x[i];
        }
        for (int i = 0; i < E; i++) {
            double dt = (double)m->dt_b[i], s = (double)m->skip[i] * x[i], z = xz[t * 2 * E + E + i];
            for (int r = 0; r < R; r++)
                dt += (double)m->dt_w[i * R + r] * dbc[r];
            dt = log1p(exp(dt));
            for (int n = 0; n < N; n++) {
                double *hn = &h[i * N + n];
                *hn = exp(-exp((double)m->A_log[i * N + n]) * dt) * *hn + dt * dbc[R + n] * x[i];
                s += dbc[R + N + n] * *hn;
            }
            y[i] = s * z / (1 + exp(-z));
        }
        for (int d = 0; d < FD; d++) {
            double s = m->out_b ? (double)m->out_b[d] : 0;
            for (int i = 0; i < E; i++)
                s += (double)m->out_w[d * E + i] * y[i];
            out[t * FD + d] = s;
        }
    }
    free(xz);
    free(h);
    free(x);
    free(dbc);
    free(y);
}

/* M(norm(a)) of one layer */
static void layer(const mb_layer_params *l, const double *a, double *out) {
    double u[FL * FD], left[FL * FD], right[FL * FD];
    for (int t = 0; t < FL; t++) {
        double mean = 0, square = 0;
        for (int d = 0; d < FD && c.norm == MBK_NORM_LAYER; d++)
            mean += a[t * FD + d] / FD;
        for (int d = 0; d < FD; d++)
            square += (a[t * FD + d] - mean) * (a[t * FD + d] - mean) / FD;
        for (int d = 0; d < FD; d++)
            u[t * FD + d] = (double)l->norm_w[d] * (a[t * FD + d] - mean) / sqrt(square + (double)c.eps) +
                            (l->norm_b ? (double)l->norm_b[d] : 0);
    }
    mamba(&l->dir[0], 0, u, left);
    mamba(&l->dir[1], 1, u, right);
    for (int i = 0; i < FL * FD; i++)
        out[i] = c.bidirectional == MB_BIDIR_MULTIPLY ? left[i] * right[i] : left[i] + right[i];
}

static void turn(const double *a, double *out) { /* R: time and channels */
    for (int i = 0; i < FL * FD; i++)
        out[i] = a[FL * FD - 1 - i];
}

/* Loading a file as fused must make the even layers R M R of what the same numbers are unfused. */
static void fold_is_the_algebra(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        c = model_caduceus(FD, 3, 1);
        c.E = 10;
        c.N = 3;
        c.R = 2;
        c.rcps_strand_swap = 0;
        c.bidirectional = variant & 1 ? MB_BIDIR_MULTIPLY : MB_BIDIR_ADD;
        c.tied_directions = !(variant & 1);
        c.norm = variant & 2 ? MBK_NORM_LAYER : MBK_NORM_RMS;
        c.proj_bias = variant >> 1;
        mb_params *plain = seeded(&c, 5);
        mb_rng r; /* biases and norms away from 0 and 1 */
        mb_rng_init(&r, 9, 9);
        for (int l = 0; l < 3; l++) {
            const float *v[] = {plain->layer[l].norm_w, plain->layer[l].norm_b, plain->layer[l].dir[0].out_b,
                                plain->layer[l].dir[1].out_b, plain->layer[l].dir[0].in_b};
            for (int k = 0; k < 5; k++)
                for (int i = 0; v[k] && i < FD; i++)
                    ((float *)(uintptr_t)v[k])[i] = (float)mb_rng_normal(&r);
        }
        save(plain, &c, tree("plain.safetensors"));
        /* the fused names differ by "norm.submodule." only */
        edit *d = edit_open(tree("plain.safetensors"));
        char names[MOST][128];
        for (int i = 0; i < d->n; i++) {
            const char *at = strstr(d->t[i].name, "norm.submodule."), *f = strstr(d->t[i].name, "norm_f.submodule.");
            if (at || f) {
                const size_t head = (size_t)((at ? at + 5 : f + 7) - d->t[i].name);
                snprintf(names[i], sizeof names[i], "%.*s%s", (int)head, d->t[i].name, d->t[i].name + head + 10);
                d->t[i].name = names[i];
            }
        }
        c.rcps_strand_swap = 1;
        mb_params *folded = load(edit_write(d));
        double a[FL * FD], back[FL * FD], want[FL * FD], got[FL * FD], mid[FL * FD];
        for (int i = 0; i < FL * FD; i++)
            a[i] = mb_rng_normal(&r);
        turn(a, back);
        for (int l = 0; l < 3; l++) {
            layer(&folded->layer[l], a, got);
            layer(&plain->layer[l], l % 2 == 0 ? back : a, mid);
            if (l % 2 == 0)
                turn(mid, want);
            else
                memcpy(want, mid, sizeof want);
            double size = 0, off = 0;
            for (int i = 0; i < FL * FD; i++) {
                size = fmax(size, fabs(want[i]));
                off = fmax(off, fabs(want[i] - got[i]));
            }
            assert_true(size > 1e-6 && off <= 1e-12 * size);
            layer(&folded->layer[l], back, got); /* the wrong frame must be seen */
            assert_true(fabs(got[0] - want[0]) > 1e-9 * size);
        }
        mb_params_free(plain);
        mb_params_free(folded);
    }
}

static void fold_of_a_golden(void **state) {
    (void)state;
    skip_without_shared();
    mb_err e = {0};
    mb_weights *w = NULL;
    char *dir = golden("caduceus_ps_odd");
    mb_params *p = load(dir);
    assert_int_equal(mb_weights_open(&w, dir, &e), MB_OK);
    for (int l = 0; l < c.n_layer; l++) {
        char name[128];
        const int turned = l % 2 == 0;
        snprintf(name, sizeof name, "caduceus.backbone.layers.%d.mixer.submodule.mamba_fwd.in_proj.weight", l);
        const float *in = tensor(w, name)->data;
        snprintf(name, sizeof name, "caduceus.backbone.layers.%d.mixer.submodule.mamba_rev.conv1d.weight", l);
        const float *conv = tensor(w, name)->data;
        snprintf(name, sizeof name, "caduceus.backbone.layers.%d.mixer.submodule.mamba_fwd.out_proj.weight", l);
        const float *out = tensor(w, name)->data;
        assert_memory_equal(p->layer[l].dir[turned ? 0 : 1].conv_w, conv, (size_t)(c.E * c.K) * 4);
        for (int col = 0; col < c.D; col++) {
            assert_true(p->layer[l].dir[0].in_w[3 * c.D + col] == in[3 * c.D + (turned ? c.D - 1 - col : col)]);
            assert_true(p->layer[l].dir[1].out_w[col * c.E + 5] == out[(turned ? c.D - 1 - col : col) * c.E + 5]);
        }
    }
    mb_weights_close(w);
    mb_params_free(p);
    mb_free(dir);
}

/* ---- seeding ------------------------------------------------------------------------------------------------------
 */

static void within(const float *v, int64_t n, double bound) {
    double most = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)v[i]));
        sum += (double)v[i];
    }
    assert_true(most <= bound * (1 + 1e-6) && most > bound * 0.95);
    assert_true(fabs(sum / (double)n) < 4 * bound / sqrt(3.0 * (double)n));
}

static double deviation(const float *v, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    return sqrt(sum / (double)n);
}

static void recipe(void **state) {
    (void)state;
    c = model_caduceus(64, 4, 0);
    mb_params *p = seeded(&c, 7);
    const mb_mamba1_params *m = &p->layer[2].dir[1];
    const int64_t E = c.E, D = c.D;
    within(m->in_w, 2 * E * D, 1 / sqrt(64));
    within(m->x_w, (c.R + 2 * c.N) * E, 1 / sqrt(128));
    within(m->dt_w, E * c.R, 1 / sqrt(4));
    within(m->conv_w, E * c.K, 0.5);
    within(m->conv_b, E, 0.5);
    within(m->out_w, E * D, 1 / sqrt(128) / sqrt(4));
    assert_true(fabs(deviation(p->embedding, c.V * D) - 0.02) < 0.02 * 0.1);
    for (int64_t i = 0; i < E; i++) {
        const double dt = log1p(exp((double)m->dt_b[i]));
        assert_true(dt > 0.001 * (1 - 1e-5) && dt < 0.1 * (1 + 1e-5));
        assert_true(m->skip[i] == 1 && m->A_log[i * 16] == 0 && m->A_log[i * 16 + 15] == logf(16));
    }
    for (int i = 0; i < D; i++)
        assert_true(p->layer[0].norm_w[i] == 1 && p->norm_f_w[i] == 1);
    /* the seed and the name of a tensor decide, nothing else */
    mb_params *same = seeded(&c, 7), *other = seeded(&c, 8);
    assert_memory_equal(same->layer[3].dir[0].x_w, p->layer[3].dir[0].x_w, (size_t)E * 4);
    assert_memory_not_equal(other->layer[3].dir[0].x_w, p->layer[3].dir[0].x_w, (size_t)E * 4);
    assert_memory_not_equal(p->layer[3].dir[0].x_w, p->layer[3].dir[1].x_w, (size_t)E * 4);
    mb_config shallow = c;
    shallow.n_layer = 1;
    mb_params *q = seeded(&shallow, 7);
    assert_memory_equal(q->layer[0].dir[1].in_w, p->layer[0].dir[1].in_w, (size_t)(2 * E * D) * 4);
    assert_memory_equal(q->embedding, p->embedding, (size_t)(c.V * D) * 4);
    mb_params_free(p);
    mb_params_free(same);
    mb_params_free(other);
    mb_params_free(q);

    c = model_mamba(64, 4, 104);
    c.family = MB_FAMILY_MAMBA_HF;
    c.proj_bias = 1;
    c.tied_head = 0;
    p = seeded(&c, 7);
    assert_true(fabs(deviation(p->layer[0].dir[0].in_w, 2 * E * D) - 0.1) < 0.005);
    assert_true(fabs(deviation(p->head_w, c.V * D) - 0.1) < 0.005);
    within(p->layer[1].dir[0].out_w, E * D, 1 / sqrt(128));
    assert_true(p->layer[0].dir[0].conv_b[5] == 0 && p->layer[0].dir[0].in_b[3] == 0 && p->head_w != p->embedding);
    mb_params_free(p);

    c = model_caduceus(16, 2, 0);
    c.init = (mb_init){.dt_constant = 1, .dt_scale = 2, .dt_min = 0.5F, .dt_max = 0.5F, .std = 3, .rescale = -1};
    p = seeded(&c, 7);
    assert_true(p->layer[0].dir[0].dt_w[11] == 2 && fabs(log1p(exp((double)p->layer[0].dir[0].dt_b[3])) - 0.5) < 1e-6);
    assert_true(fabs(deviation(p->embedding, 256) - 3) < 0.5);
    within(p->layer[0].dir[0].out_w, 512, 1 / sqrt(32));
    mb_params_free(p);
}

/* ---- what does not fit --------------------------------------------------------------------------------------------
 */

static void aliases(void **state) {
    (void)state;
    c = model_caduceus(8, 2, 1);
    mb_params *p = seeded(&c, 3);
    const char *plain = "plain.safetensors";
    save(p, &c, tree("%s", plain));
    mb_params_free(p);
    static float other[2 * 16 * 8];
    for (int differs = 0; differs < 2; differs++) { /* as in .bin files: every alias is there */
        edit *d = edit_open(tree("%s", plain));
        mb_tensor head = *edit_find(d, "word_embeddings.embedding.weight"),
                  in = *edit_find(d, "0.mixer.submodule.mamba_fwd.in_");
        memcpy(other, in.data, sizeof other);
        other[77] += differs ? 1e-3F : 0;
        in.name = "caduceus.backbone.layers.0.mixer.submodule.mamba_rev.in_proj.weight";
        in.data = other;
        head.name = "lm_head.lm_head.weight";
        d->t[d->n++] = in;
        d->t[d->n++] = head;
        const char *path = edit_write(d);
        if (differs)
            refused(path, MB_FORMAT, "layers.0.mixer.submodule.mamba_rev.in_proj.weight differs from",
                    "bidirectional_weight_tie");
        else
            mb_params_free(load(path));
    }
    edit *d = edit_open(tree("%s", plain)); /* the alias was kept, the original dropped */
    edit_find(d, "1.mixer.submodule.mamba_fwd.out_proj")->name =
        "caduceus.backbone.layers.1.mixer.submodule.mamba_rev.out_proj.weight";
    edit_find(d, "word_embeddings.embedding.weight")->name = "lm_head.lm_head.weight";
    mb_params_free(load(edit_write(d)));
    d = edit_open(tree("%s", plain));
    mb_tensor head = *edit_find(d, "word_embeddings.embedding.weight");
    head.name = "lm_head.lm_head.weight";
    head.data = (const char *)edit_find(d, "in_proj")->data;
    d->t[d->n++] = head;
    refused(edit_write(d), MB_FORMAT, "lm_head.lm_head.weight differs from caduceus.backbone.emb", "tied embeddings");
    /* state-spaces files name the embedding either way, and repeat the head */
    c = model_mamba(8, 1, 16);
    p = seeded(&c, 3);
    save(p, &c, tree("ssm.safetensors"));
    mb_params_free(p);
    d = edit_open(tree("ssm.safetensors"));
    assert_non_null(mb_weights_find(d->w, "lm_head.weight"));
    edit_find(d, "backbone.embedding.weight")->name = "backbone.embeddings.weight";
    mb_params_free(load(edit_write(d)));
}

static void misfits(void **state) {
    (void)state;
    c = model_caduceus(8, 2, 1);
    mb_params *p = seeded(&c, 3);
    save(p, &c, tree("plain.safetensors"));
    mb_params_free(p);
    static const int64_t map[16] = {0, 1, 2, 3, 4, 5, 6, 9, 10, 7, 8, 11, 12, 13, 14, 15};
    edit *d = edit_open(tree("plain.safetensors"));
    edit_find(d, "lm_head.complement_map")->data = map;
    refused(edit_write(d), MB_FORMAT, "lm_head.complement_map: the complement of token 7 is 9, in config.json it is 10",
            "");
    d = edit_open(tree("plain.safetensors"));
    edit_find(d, "lm_head.complement_map")->shape[0] = 15;
    refused(edit_write(d), MB_FORMAT, "lm_head.complement_map is not one I64 for each of the 16 tokens", "");
    d = edit_open(tree("plain.safetensors"));
    d->n -= 1; /* the last by name: norm_f.weight */
    edit_find(d, "layers.1.norm.weight")->name = "surprise";
    refused(edit_write(d), MB_FORMAT,
            "2 missing (caduceus.backbone.layers.1.norm.weight, caduceus.backbone.norm_f.weight)",
            "1 unexpected (surprise)");
    d = edit_open(tree("plain.safetensors"));
    mb_tensor *t = edit_find(d, "layers.1.mixer.submodule.mamba_fwd.in_proj.weight");
    t->shape[0] = 8;
    t->shape[1] = 32;
    refused(edit_write(d), MB_FORMAT, "mamba_fwd.in_proj.weight has shape (8,32); config.json makes it (32,8)", "");
    d = edit_open(tree("plain.safetensors"));
    edit_find(d, "layers.1.norm.weight")->dtype = MB_I32;
    refused(edit_write(d), MB_NOTSUP, "layers.1.norm.weight is of I32", "F32, F16, BF16 and F64");
    c.n_layer = 12;
    refused(tree("plain.safetensors"), MB_FORMAT, "170 missing (caduceus.backbone.layers.2.norm.weight, ",
            ", ...), 0 unexpected");
    c.n_layer = 1;
    refused(tree("plain.safetensors"), MB_FORMAT, "0 missing, 17 unexpected (caduceus.backbone.layers.1.", ", ...)");
    c = model_caduceus(8, 2, 0);
    refused(tree("plain.safetensors"), MB_FORMAT, "a Caduceus model", "unexpected (caduceus.backbone.embeddings");
    c.mixer = MB_MIXER_MAMBA1;
    refused(tree("plain.safetensors"), MB_RANGE, "contradict", "");
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    mb_weights *w = NULL;
    mb_err e = {0};
    c = model_caduceus(8, 2, 1);
    mb_params *p = seeded(&c, 3);
    char path[1024], again[1024];
    snprintf(path, sizeof path, "%s", tree("plain.safetensors"));
    snprintf(again, sizeof again, "%s", tree("again.safetensors"));
    save(p, &c, path);
    assert_int_equal(mb_weights_open(&w, path, &e), MB_OK);
    const long before = mb_mem_live_blocks();
    for (int what = 0; what < 3; what++)
        for (long nth = 1;; nth++) {
            mb_params *q = NULL;
            mb_err_clear(&e);
            mb_mem_fail_nth(nth, 0);
            int rc = what == 0   ? mb_params_load(&q, &c, w, &e)
                     : what == 1 ? mb_params_seed(&q, &c, 1, &e)
                                 : mb_params_save(p, &c, again, &e);
            int fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            mb_params_free(q);
            assert_int_equal(mb_mem_live_blocks(), before);
            if (!fired) {
                assert_int_equal(rc, MB_OK);
                break;
            }
            assert_true(rc < 0);
        }
    mb_params_free(p);
    mb_weights_close(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_loads),
        cmocka_unit_test(used_in_place),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(released_shapes),
        cmocka_unit_test(other_types_and_addresses),
        cmocka_unit_test(fold_is_the_algebra),
        cmocka_unit_test(fold_of_a_golden),
        cmocka_unit_test(recipe),
        cmocka_unit_test(aliases),
        cmocka_unit_test(misfits),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
