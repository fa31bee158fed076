/* The floor's arithmetic against a table computed by hand from rates of one machine: 2 threads, GEMM 204 (fp32) and 425
 * (bf16) GFLOP/s, 231 GFLOP/s of multiply-adds, 33.5 GB/s. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bench/floor.h"

static const floor_rates rates = {.gemm_fp32 = 204e9, .gemm_bf16 = 425e9, .vector = 231e9, .read = 33.5e9};
static const floor_shape mamba = {
    .D = 768, .E = 1536, .N = 16, .R = 48, .K = 4, .V = 50280, .n_layer = 24, .strands = 1, .last_logit = 1};
static const floor_shape caduceus = {
    .D = 256, .E = 512, .N = 16, .R = 16, .K = 4, .V = 16, .n_layer = 16, .bidirectional = 1, .strands = 2};

static void near(double seconds, double per_second, double tolerance) {
    assert_true(fabs(seconds * per_second - 1) <= tolerance);
}

static void forward(void **state) {
    (void)state;
    floor_shape all = mamba;
    all.last_logit = 0;
    near(floor_forward_seconds(&mamba, &rates, MBK_FP32), 1058, 0.003);
    near(floor_forward_seconds(&mamba, &rates, MBK_BF16), 2049, 0.003);
    near(floor_forward_seconds(&all, &rates, MBK_FP32), 755, 0.003);
    near(floor_forward_seconds(&all, &rates, MBK_BF16), 1493, 0.003);
    near(floor_forward_seconds(&caduceus, &rates, MBK_FP32), 4970, 0.003);
    near(floor_forward_seconds(&caduceus, &rates, MBK_BF16), 7910, 0.003);
}

static void decode(void **state) {
    (void)state;
    near(floor_decode_seconds(&mamba, &rates, MBK_FP32), 65, 0.01);
    near(floor_decode_seconds(&mamba, &rates, MBK_BF16), 130, 0.02); /* the table halves all weights; A stays fp32 */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(forward), cmocka_unit_test(decode)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
