/* Matrix product with a fixed weight matrix on the CPU: tiles through the library where it serves (gemm_lib.h), else
 * through the house's own packed kernel; one row always through the own kernel (gemm_inner.h).
 *
 * bf16 without bf16 dot products: weights and inputs are rounded all the same and multiplied in fp32, at the rate of
 * fp32, so that a model gives the same answer (to the order of sums) on every machine; step gains, for it reads half
 * the bytes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kernels/gemm_inner.h"
#include "kernels/gemm_lib.h"
#include "kernels/ops.h"

struct mbk_linear {
    mbk_linear_spec spec;
    const mbk_gemm_inner *inner;
    uint16_t *W16; /* as W, with MBK_BF16 and where step may come, else NULL */
    mbk_lib *lib;  /* NULL: own */
    float *own;    /* packed for inner->tile_fwd; NULL: lib */
};

/* ---- scratch of a thread ----------------------------------------------------------------------------------------- */

typedef struct scratch {
    void *block[MBK_SCRATCH_USES];
    size_t bytes[MBK_SCRATCH_USES];
} scratch;

static _Thread_local scratch *mine;
static pthread_key_t key; /* for its destructor: frees at the thread's end */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void scratch_destroy(void *p) {
    scratch *s = p;
    for (int i = 0; i < MBK_SCRATCH_USES; i++)
        free(s->block[i]);
    free(s);
    mine = NULL;
}

static void key_create(void) {
    MBK_ASSERT(pthread_key_create(&key, scratch_destroy) == 0);
}

void *mbk_scratch_get(enum mbk_scratch use, size_t bytes) {
    if (!mine) {
        pthread_once(&once, key_create);
        scratch *s = calloc(1, sizeof *s);
        if (!s || pthread_setspecific(key, s) != 0) {
            free(s);
            return NULL;
        }
        mine = s;
    }
    if (mine->bytes[use] < bytes) {
        size_t n = (bytes + 4095) & ~(size_t)4095;
        free(mine->block[use]);
        mine->block[use] = aligned_alloc(64, n);
        mine->bytes[use] = mine->block[use] ? n : 0;
    }
    return mine->block[use];
}

/* ---- handle ------------------------------------------------------------------------------------------------------ */

static size_t weights_count(const mbk_linear_spec *s) {
    return (size_t)s->Nout * (size_t)s->Kin;
}

static const mbk_gemm_inner *inner_here(void) {
    const mbk_gemm_inner *inner = mbk_gemm_inner_isa(mbk_ops_cpu()->isa);
    MBK_ASSERT(inner); /* an MB_ISA that is not here was refused with the table of operations */
    return inner;
}

static size_t own_count(const mbk_linear_spec *s) {
    size_t columns = (size_t)inner_here()->columns;
    return ((size_t)s->Nout + columns - 1) / columns * columns * (size_t)s->Kin;
}

/* A product that takes less time than a call of the library, about a microsecond. */
static int small(const mbk_linear_spec *s) {
    return (double)s->Nout * s->Kin * s->M_typical < 50000;
}

/* Blocks of 2 MiB and more start at a huge page and ask for huge pages. */
void *mbk_linear_block(size_t bytes) {
    size_t align = bytes >= (size_t)2 << 20 ? (size_t)2 << 20 : 4096;
    size_t n = (bytes + align - 1) / align * align;
    void *p = aligned_alloc(align, n);
    if (p && align > 4096)
        (void)madvise(p, n, MADV_HUGEPAGE); /* a wish: only speed depends on it */
    return p;
}

/* Packs W for the own kernel, rounded to bf16 if the precision asks for it. */
static int own_pack(mbk_linear *l) {
    const mbk_linear_spec *s = &l->spec;
    float *rounded = NULL;
    if (s->precision == MBK_BF16) {
        rounded = malloc(weights_count(s) * sizeof *rounded);
        if (!rounded)
            return MB_NOMEM;
        l->inner->bf16_clip(weights_count(s), s->W, rounded);
    }
    l->inner->tile_pack(s->Nout, s->Kin, s->transposed, rounded ? rounded : s->W, l->own);
    free(rounded);
    return MB_OK;
}

/* Makes what holds the packed weights at its first call, and packs. */
static int pack(mbk_linear *l, const uint16_t *W16) {
    int rc = MB_NOTSUP;
    if (l->lib)
        return mbk_lib_update(l->lib, W16);
    if (!l->own && !small(&l->spec))
        rc = mbk_lib_create(&l->lib, &l->spec, W16);
    if (rc != MB_NOTSUP)
        return rc;
    if (!l->own)
        l->own = mbk_linear_block(own_count(&l->spec) * sizeof *l->own);
    return l->own ? own_pack(l) : MB_NOMEM;
}

/* Takes the values of W: rounded for step and for the library, and packed. */
int mbk_linear_update_cpu(mbk_linear *l) {
    const size_t count = weights_count(&l->spec);
    if (l->spec.precision != MBK_BF16)
        return pack(l, NULL);
    if (!l->W16)
        l->W16 = mbk_linear_block(count * sizeof *l->W16);
    if (!l->W16)
        return MB_NOMEM;
    l->inner->bf16_round(count, l->spec.W, l->W16);
    const int rc = pack(l, l->W16);
    if (l->spec.transposed) { /* no step will come */
        free(l->W16);
        l->W16 = NULL;
    }
    return rc;
}

int mbk_linear_create_cpu(mbk_linear **out, const mbk_linear_spec *spec) {
    MBK_ASSERT(spec->Nout >= 1 && spec->Kin >= 1 && spec->W && spec->M_typical >= 1);
    *out = NULL;
    if (spec->precision == MBK_TF32)
        return MB_NOTSUP;
    mbk_linear *l = calloc(1, sizeof *l);
    if (!l)
        return MB_NOMEM;
    l->spec = *spec;
    l->inner = inner_here();
    const int rc = mbk_linear_update_cpu(l);
    if (rc != MB_OK) {
        mbk_linear_destroy_cpu(l);
        return rc;
    }
    *out = l;
    return MB_OK;
}

void mbk_linear_destroy_cpu(mbk_linear *l) {
    if (!l)
        return;
    mbk_lib_destroy(l->lib);
    free(l->own);
    free(l->W16);
    free(l);
}

size_t mbk_linear_bytes_cpu(const mbk_linear_spec *spec) {
    size_t rows = spec->precision == MBK_BF16 && !spec->transposed ? weights_count(spec) * sizeof(uint16_t) : 0;
    size_t packed =
        small(spec) || mbk_lib_refusal(spec->precision) ? own_count(spec) * sizeof(float) : mbk_lib_bytes(spec);
    return sizeof(mbk_linear) + rows + packed;
}

const char *mbk_linear_library(void) {
    static char line[600];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const char *why = mbk_lib_refusal(MBK_FP32), *why16 = mbk_lib_refusal(MBK_BF16), *isa = mbk_ops_cpu()->isa;
    pthread_mutex_lock(&lock);
    if (line[0])
        ;
    else if (why)
        snprintf(line, sizeof line, "own packed kernel (%s), bf16 rounded at the rate of fp32; not %s: %s", isa,
                 mbk_lib_name(), why16 ? why16 : why);
    else if (why16)
        snprintf(line, sizeof line,
                 "%s, weights packed; bf16 rounded at the rate of fp32 by the own packed kernel (%s): %s",
                 mbk_lib_name(), isa, why16);
    else
        snprintf(line, sizeof line, "%s, weights packed; bf16 native", mbk_lib_name());
    pthread_mutex_unlock(&lock);
    return line;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* The inputs as they are multiplied: bf16 for the library, floats rounded to bf16 for the own kernel, or X itself. */
static const void *inputs(const mbk_linear *l, int M, const float *X) {
    if (l->spec.precision != MBK_BF16)
        return X;
    const size_t count = (size_t)M * (size_t)l->spec.Kin;
    void *x = mbk_scratch_get(MBK_SCRATCH_INPUT, count * (l->lib ? sizeof(uint16_t) : sizeof(float)));
    if (x && l->lib)
        l->inner->bf16_round(count, X, x);
    else if (x)
        l->inner->bf16_clip(count, X, x);
    return x;
}

int mbk_linear_fwd_cpu(const mbk_ctx *ctx, const mbk_linear *l, int M, const float *X, float *Y, int accumulate) {
    (void)ctx;
    MBK_ASSERT(M >= 1 && X && Y);
    const mbk_linear_spec *s = &l->spec;
    int rc = MB_OK;
    for (int m = 0, rows; rc == MB_OK && m < M; m += rows) {
        rows = M - m < s->M_typical ? M - m : s->M_typical;
        const void *x = inputs(l, rows, X + (ptrdiff_t)m * s->Kin);
        float *y = Y + (ptrdiff_t)m * s->Nout;
        if (!x)
            return MB_NOMEM;
        if (l->lib)
            rc = mbk_lib_fwd(l->lib, rows, x, y, accumulate);
        else
            l->inner->tile_fwd(rows, s->Nout, s->Kin, l->own, x, y, accumulate);
    }
    return rc;
}

int mbk_linear_step_cpu(const mbk_ctx *ctx, const mbk_linear *l, int n0, int n1, const float *x, float *y) {
    (void)ctx;
    MBK_ASSERT(0 <= n0 && n0 <= n1 && n1 <= l->spec.Nout && x && y && !l->spec.transposed);
    if (!l->W16) {
        l->inner->row_fwd(n0, n1, l->spec.Kin, l->spec.W, x, y);
        return MB_OK;
    }
    float *prepared = mbk_scratch_get(MBK_SCRATCH_INPUT, (size_t)l->spec.Kin * sizeof *prepared);
    if (!prepared)
        return MB_NOMEM;
    l->inner->row16_prepare(l->spec.Kin, x, prepared);
    l->inner->row16_fwd(n0, n1, l->spec.Kin, l->W16, prepared, y);
    return MB_OK;
}
