/* Element types: names, sizes, conversion of ranges. */
#include <math.h>
#include <string.h>

#include "core/npy.h"
#include "core/weights_internal.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [MB_F64] = {"F64", 8}, [MB_F32] = {"F32", 4},   [MB_F16] = {"F16", 2}, [MB_BF16] = {"BF16", 2},
    [MB_I64] = {"I64", 8}, [MB_I32] = {"I32", 4},   [MB_I16] = {"I16", 2}, [MB_I8] = {"I8", 1},
    [MB_U8] = {"U8", 1},   [MB_BOOL] = {"BOOL", 1},
};

size_t mb_dtype_bytes(mb_dtype d) {
    return dtypes[d].bytes;
}

const char *mb_dtype_name(mb_dtype d) {
    return dtypes[d].name;
}

#define LOAD(type) (memcpy(&v, p + i * (int64_t)sizeof v.type, sizeof v.type), v.type)
/* One element; data may be unaligned. Every type fits double exactly but I64 beyond 2^53. */
static inline double element(const mb_tensor *t, int64_t i) {
    const unsigned char *p = t->data;
    union {
        double f64;
        float f32;
        uint16_t u16;
        int64_t i64;
        int32_t i32;
        int16_t i16;
        int8_t i8;
        uint8_t u8;
    } v;
    switch (t->dtype) {
    case MB_F64:
        return LOAD(f64);
    case MB_F32:
        return LOAD(f32);
    case MB_F16:
        return mb_f16_to_f32(LOAD(u16));
    case MB_BF16:
        return mb_bf16_to_f32(LOAD(u16));
    case MB_I64:
        return (double)LOAD(i64);
    case MB_I32:
        return LOAD(i32);
    case MB_I16:
        return LOAD(i16);
    case MB_I8:
        return LOAD(i8);
    case MB_U8:
    case MB_BOOL:
        return LOAD(u8);
    }
    MB_ASSERT(!"a dtype of the list");
    return 0;
}
#undef LOAD

static void check_range(const mb_tensor *t, int64_t from, int64_t n) {
    MB_ASSERT(from >= 0 && n >= 0 && from <= t->count && n <= t->count - from);
}

void mb_tensor_to_f64(const mb_tensor *t, int64_t from, int64_t n, double *out) {
    check_range(t, from, n);
    for (int64_t i = 0; i < n; i++)
        out[i] = element(t, from + i);
}

void mb_tensor_to_f32(const mb_tensor *t, int64_t from, int64_t n, float *out) {
    check_range(t, from, n);
    if (n == 0)
        return;
    if (t->dtype == MB_F32) {
        memcpy(out, (const unsigned char *)t->data + (size_t)from * 4, (size_t)n * 4);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)element(t, from + i);
}

static int64_t nearest_i64(double v) {
    if (isnan(v))
        return 0;
    if (v >= 0x1p63)
        return INT64_MAX;
    return v < -0x1p63 ? INT64_MIN : (int64_t)nearbyint(v);
}

void mb_tensor_to_i64(const mb_tensor *t, int64_t from, int64_t n, int64_t *out) {
    check_range(t, from, n);
    if (n == 0)
        return;
    if (t->dtype == MB_I64) {
        memcpy(out, (const unsigned char *)t->data + (size_t)from * 8, (size_t)n * 8);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        out[i] = nearest_i64(element(t, from + i));
}
