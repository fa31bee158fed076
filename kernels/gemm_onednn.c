/* Matrix product through oneDNN's matmul with weights packed once: on tiles of 64-256 rows the fastest of oneDNN
 * (sgemm and matmul), OpenBLAS and BLIS, for every shape of the models here and by far on narrow ones.
 *
 * One primitive per number of rows, made when it is first met and kept in the handle; all of them read the layout
 * that was chosen for M_typical rows. oneDNN's "brgemm" implementations then add up a row in the same order whatever M
 * is (tests/check_gemm.c tests it on the library at hand); no other implementation does, so no other is used.
 * One thread per call, always: oneDNN is told that there is one, inside and outside OpenMP regions, so that nothing
 * it plans depends on the number of threads.
 * Refuses: processors without AVX-512; bf16 where it would be emulated, slower than fp32; a oneDNN whose threads are
 * neither OpenMP's nor absent. Rows must be contiguous: with a row distance oneDNN drops to its reference code.
 * oneDNN 2 and 3 differ in how descriptors are held: the section "two versions" is the only place that knows. */
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gemm_lib.h"
#include "kernels/ops.h"

/* ---- two versions of the interface ------------------------------------------------------------------------------- */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t desc; /* owned */
typedef const_dnnl_memory_desc_t desc_ref;

static desc_ref desc_get(const desc *d) {
    return *d;
}

static dnnl_status_t desc_init(desc *d, int rows, int cols, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    const dnnl_dims_t dims = {rows, cols};
    return dnnl_memory_desc_create_with_tag(d, 2, dims, type, tag);
}

static dnnl_status_t desc_copy(desc *d, desc_ref from) {
    return dnnl_memory_desc_clone(d, from);
}

static void desc_fini(desc *d) {
    if (*d)
        dnnl_memory_desc_destroy(*d);
}

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const desc *src, const desc *weights,
                                 const desc *dst, const_dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(pd, engine, *src, *weights, NULL, *dst, attr);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_f32);
}
#else
typedef dnnl_memory_desc_t desc; /* a value */
typedef const dnnl_memory_desc_t *desc_ref;

static desc_ref desc_get(const desc *d) {
    return d;
}

static dnnl_status_t desc_init(desc *d, int rows, int cols, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    const dnnl_dims_t dims = {rows, cols};
    return dnnl_memory_desc_init_by_tag(d, 2, dims, type, tag);
}

static dnnl_status_t desc_copy(desc *d, desc_ref from) {
    *d = *from;
    return dnnl_success;
}

static void desc_fini(desc *d) {
    (void)d;
}

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const desc *src, const desc *weights,
                                 const desc *dst, const_dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t op;
    dnnl_status_t rc = dnnl_matmul_desc_init(&op, src, weights, NULL, dst);
    return rc != dnnl_success ? rc : dnnl_primitive_desc_create(pd, &op, attr, engine, NULL);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f);
}
#endif

static int status_of(dnnl_status_t rc) {
    return rc == dnnl_success         ? MB_OK
           : rc == dnnl_out_of_memory ? MB_NOMEM
           : rc == dnnl_unimplemented ? MB_NOTSUP
                                      : MB_INTERNAL;
}

/* ---- what the process shares ------------------------------------------------------------------------------------- */

/* The engine holds no state of a computation; it lives as long as the process. */
static dnnl_engine_t the_engine;
static dnnl_status_t engine_status;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void) {
    engine_status = dnnl_engine_create(&the_engine, dnnl_cpu, 0);
}

/* oneDNN asks OpenMP how many threads there are, when it plans and when it runs. The setting is the calling task's
 * own and is put back. */
static int single_thread(void) {
    int was = omp_get_max_threads();
    if (was != 1)
        omp_set_num_threads(1);
    return was;
}

static void threads_back(int was) {
    if (was != 1)
        omp_set_num_threads(was);
}

static int bf16_native(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512bf16") &&
           (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
#else
    return 0;
#endif
}

static int avx512_allowed(void) {
    return !strcmp(mbk_ops_cpu()->isa, "avx512") &&
           (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}

const char *mbk_lib_refusal(mbk_precision precision) {
    const unsigned threads = dnnl_version()->cpu_runtime;
    if (threads != DNNL_RUNTIME_OMP && threads != DNNL_RUNTIME_SEQ)
        return "it was built with threads of its own, which would fight with the caller's";
    if (!avx512_allowed())
        return "its fast kernels need AVX-512";
    if (precision == MBK_BF16 && !bf16_native())
        return "this processor has no bf16 dot products";
    return NULL;
}

const char *mbk_lib_name(void) {
    static char name[64];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const dnnl_version_t *v = dnnl_version();
    pthread_mutex_lock(&lock);
    if (!name[0])
        snprintf(name, sizeof name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    pthread_mutex_unlock(&lock);
    return name;
}

/* ---- handle ------------------------------------------------------------------------------------------------------ */

/* The product for one number of rows, with and without accumulation. Immutable once published. */
typedef struct shape {
    dnnl_primitive_t run;
    desc src, dst, pad; /* pad: scratchpad */
    size_t pad_bytes;
} shape;

struct mbk_lib {
    mbk_linear_spec spec;
    desc weights;         /* the packed layout */
    dnnl_memory_t packed; /* over data */
    void *data;
    pthread_mutex_t making;   /* held while a shape is made */
    _Atomic(shape *) *shapes; /* [accumulate * M_typical + M - 1] */
};

static dnnl_data_type_t input_type(const mbk_linear_spec *s) {
    return s->precision == MBK_BF16 ? dnnl_bf16 : dnnl_f32;
}

static void shape_destroy(shape *s) {
    if (!s)
        return;
    if (s->run)
        dnnl_primitive_destroy(s->run);
    desc_fini(&s->src);
    desc_fini(&s->dst);
    desc_fini(&s->pad);
    free(s);
}

static dnnl_status_t attributes(dnnl_primitive_attr_t *attr, int accumulate) {
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t rc = dnnl_primitive_attr_create(attr);
    if (rc == dnnl_success) /* the library's own scratchpad is not safe to share */
        rc = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (rc == dnnl_success && accumulate) {
        rc = dnnl_post_ops_create(&ops);
        if (rc == dnnl_success)
            rc = append_sum(ops);
        if (rc == dnnl_success)
            rc = dnnl_primitive_attr_set_post_ops(*attr, ops);
        if (ops)
            dnnl_post_ops_destroy(ops);
    }
    return rc;
}

/* The plan for M rows with weights laid out as w; refuses all implementations but brgemm. */
static dnnl_status_t plan(dnnl_primitive_desc_t *pd, const desc *src, const desc *w, const desc *dst, int accumulate) {
    dnnl_primitive_attr_t attr = NULL;
    const char *name = "";
    *pd = NULL;
    dnnl_status_t rc = attributes(&attr, accumulate);
    if (rc == dnnl_success)
        rc = matmul_desc(pd, the_engine, src, w, dst, attr);
    if (rc == dnnl_success)
        rc = dnnl_primitive_desc_query(*pd, dnnl_query_impl_info_str, 0, (void *)&name);
    if (rc == dnnl_success && strncmp(name, "brg", 3) != 0)
        rc = dnnl_unimplemented;
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    if (rc != dnnl_success && *pd) {
        dnnl_primitive_desc_destroy(*pd);
        *pd = NULL;
    }
    return rc;
}

static dnnl_status_t shape_create(shape **out, const mbk_lib *l, int M, int accumulate) {
    dnnl_primitive_desc_t pd = NULL;
    shape *s = calloc(1, sizeof *s);
    if (!s)
        return dnnl_out_of_memory;
    dnnl_status_t rc = desc_init(&s->src, M, l->spec.Kin, input_type(&l->spec), dnnl_ab);
    if (rc == dnnl_success)
        rc = desc_init(&s->dst, M, l->spec.Nout, dnnl_f32, dnnl_ab);
    if (rc == dnnl_success)
        rc = plan(&pd, &s->src, &l->weights, &s->dst, accumulate);
    if (rc == dnnl_success)
        rc = desc_copy(&s->pad, dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
    if (rc == dnnl_success) {
        s->pad_bytes = dnnl_memory_desc_get_size(desc_get(&s->pad));
        rc = dnnl_primitive_create(&s->run, pd);
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (rc != dnnl_success) {
        shape_destroy(s);
        s = NULL;
    }
    *out = s;
    return rc;
}

/* The shape for M rows: read without a lock once it exists. */
static int shape_for(const mbk_lib *l, int M, int accumulate, const shape **out) {
    _Atomic(shape *) *place = &l->shapes[(size_t)(accumulate != 0) * (size_t)l->spec.M_typical + (size_t)M - 1];
    shape *s = atomic_load_explicit(place, memory_order_acquire);
    dnnl_status_t rc = dnnl_success;
    if (!s) {
        pthread_mutex_t *making = (pthread_mutex_t *)&l->making;
        pthread_mutex_lock(making);
        s = atomic_load_explicit(place, memory_order_relaxed);
        if (!s) {
            int was = single_thread();
            rc = shape_create(&s, l, M, accumulate);
            threads_back(was);
            if (rc == dnnl_success)
                atomic_store_explicit(place, s, memory_order_release);
        }
        pthread_mutex_unlock(making);
    }
    *out = s;
    return status_of(rc);
}

/* Chooses the packed layout for M_typical rows. */
static dnnl_status_t choose_layout(mbk_lib *l) {
    const mbk_linear_spec *s = &l->spec;
    dnnl_primitive_desc_t pd = NULL;
    desc src = {0}, any = {0}, dst = {0};
    dnnl_status_t rc = desc_init(&src, s->M_typical, s->Kin, input_type(s), dnnl_ab);
    if (rc == dnnl_success)
        rc = desc_init(&any, s->Kin, s->Nout, input_type(s), dnnl_format_tag_any);
    if (rc == dnnl_success)
        rc = desc_init(&dst, s->M_typical, s->Nout, dnnl_f32, dnnl_ab);
    if (rc == dnnl_success)
        rc = plan(&pd, &src, &any, &dst, 0);
    if (rc == dnnl_success)
        rc = desc_copy(&l->weights, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    desc_fini(&src);
    desc_fini(&any);
    desc_fini(&dst);
    return rc;
}

/* W (Nout,Kin) row-major is (Kin,Nout) column-major: the reorder transposes, unless W is (Kin,Nout), and packs. */
static dnnl_status_t pack(mbk_lib *l, const void *from) {
    const mbk_linear_spec *s = &l->spec;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t run = NULL;
    dnnl_memory_t source = NULL;
    desc plain = {0};
    dnnl_stream_t stream = NULL;
    dnnl_status_t rc = desc_init(&plain, s->Kin, s->Nout, input_type(s), s->transposed ? dnnl_ab : dnnl_ba);
    if (rc == dnnl_success)
        rc = dnnl_memory_create(&source, desc_get(&plain), the_engine, (void *)from);
    if (rc == dnnl_success)
        rc = dnnl_reorder_primitive_desc_create(&pd, desc_get(&plain), the_engine, desc_get(&l->weights), the_engine,
                                                NULL);
    if (rc == dnnl_success)
        rc = dnnl_primitive_create(&run, pd);
    if (rc == dnnl_success)
        rc = dnnl_stream_create(&stream, the_engine, dnnl_stream_default_flags);
    if (rc == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, l->packed}};
        rc = dnnl_primitive_execute(run, stream, 2, args);
    }
    if (rc == dnnl_success)
        rc = dnnl_stream_wait(stream);
    if (run)
        dnnl_primitive_destroy(run);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (source)
        dnnl_memory_destroy(source);
    if (stream)
        dnnl_stream_destroy(stream);
    desc_fini(&plain);
    return rc;
}

int mbk_lib_create(mbk_lib **out, const mbk_linear_spec *spec, const uint16_t *W16) {
    *out = NULL;
    if (mbk_lib_refusal(spec->precision))
        return MB_NOTSUP;
    pthread_once(&once, start);
    if (engine_status != dnnl_success)
        return status_of(engine_status);
    mbk_lib *l = calloc(1, sizeof *l);
    if (!l)
        return MB_NOMEM;
    l->spec = *spec;
    pthread_mutex_init(&l->making, NULL);
    l->shapes = calloc(2 * (size_t)spec->M_typical, sizeof *l->shapes);
    int was = single_thread();
    dnnl_status_t rc = l->shapes ? choose_layout(l) : dnnl_out_of_memory;
    if (rc == dnnl_success) {
        l->data = mbk_linear_block(dnnl_memory_desc_get_size(desc_get(&l->weights)));
        rc = l->data ? dnnl_memory_create(&l->packed, desc_get(&l->weights), the_engine, l->data) : dnnl_out_of_memory;
    }
    if (rc == dnnl_success)
        rc = pack(l, W16 ? (const void *)W16 : (const void *)spec->W);
    threads_back(was);
    if (rc != dnnl_success) {
        mbk_lib_destroy(l);
        return status_of(rc);
    }
    *out = l;
    return MB_OK;
}

int mbk_lib_update(mbk_lib *l, const uint16_t *W16) {
    int was = single_thread();
    dnnl_status_t rc = pack(l, W16 ? (const void *)W16 : (const void *)l->spec.W);
    threads_back(was);
    return status_of(rc);
}

void mbk_lib_destroy(mbk_lib *l) {
    if (!l)
        return;
    for (int i = 0; l->shapes && i < 2 * l->spec.M_typical; i++)
        shape_destroy(atomic_load_explicit(&l->shapes[i], memory_order_relaxed));
    if (l->packed)
        dnnl_memory_destroy(l->packed);
    desc_fini(&l->weights);
    pthread_mutex_destroy(&l->making);
    free((void *)l->shapes);
    free(l->data);
    free(l);
}

size_t mbk_lib_bytes(const mbk_linear_spec *spec) {
    /* its layouts pad Nout to 64 columns at most and Kin to 4 */
    size_t n = ((size_t)spec->Nout + 63) / 64 * 64, k = ((size_t)spec->Kin + 3) / 4 * 4;
    return n * k * (spec->precision == MBK_BF16 ? 2 : 4) + sizeof(mbk_lib) +
           2 * (size_t)spec->M_typical * sizeof(void *);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* What is made anew at each call takes 0.35 us, 1.6 % of the smallest product of a model (128 rows, 16 -> 512). */
static dnnl_status_t execute(const mbk_lib *l, const shape *s, const void *x, float *y) {
    dnnl_memory_t src = NULL, dst = NULL, pad = NULL;
    dnnl_stream_t stream = NULL;
    void *scratch = s->pad_bytes ? mbk_scratch_get(MBK_SCRATCH_LIBRARY, s->pad_bytes) : NULL;
    if (s->pad_bytes && !scratch)
        return dnnl_out_of_memory;
    dnnl_status_t rc = dnnl_memory_create(&src, desc_get(&s->src), the_engine, (void *)x);
    if (rc == dnnl_success)
        rc = dnnl_memory_create(&dst, desc_get(&s->dst), the_engine, y);
    if (rc == dnnl_success && scratch)
        rc = dnnl_memory_create(&pad, desc_get(&s->pad), the_engine, scratch);
    if (rc == dnnl_success)
        rc = dnnl_stream_create(&stream, the_engine, dnnl_stream_default_flags);
    if (rc == dnnl_success) {
        const dnnl_exec_arg_t args[] = {
            {DNNL_ARG_SRC, src}, {DNNL_ARG_WEIGHTS, l->packed}, {DNNL_ARG_DST, dst}, {DNNL_ARG_SCRATCHPAD, pad}};
        rc = dnnl_primitive_execute(s->run, stream, scratch ? 4 : 3, args);
    }
    if (rc == dnnl_success)
        rc = dnnl_stream_wait(stream);
    if (src)
        dnnl_memory_destroy(src);
    if (dst)
        dnnl_memory_destroy(dst);
    if (pad)
        dnnl_memory_destroy(pad);
    if (stream)
        dnnl_stream_destroy(stream);
    return rc;
}

int mbk_lib_fwd(const mbk_lib *l, int M, const void *X, float *Y, int accumulate) {
    const shape *s;
    int rc = shape_for(l, M, accumulate, &s);
    if (rc != MB_OK)
        return rc;
    int was = single_thread();
    rc = status_of(execute(l, s, X, Y));
    threads_back(was);
    return rc;
}
