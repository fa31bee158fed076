/* The CUDA device of this very build, on whatever machine this is: a complete table or a hole that says why there is
 * none; a queue, or a refusal with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda.h"

static void table(void **state) {
    (void)state;
    const char *hole = mbk_ops_hole(mbk_ops_cuda());
    assert_string_equal(mbk_ops_cuda()->device, "cuda");
    if (hole)
        assert_non_null(strstr(hole, "without nvcc"));
}

static void no_such_device(void **state) {
    (void)state;
    mbk_queue *q = (mbk_queue *)state;
    char why[200] = "";
    assert_int_equal(mbk_queue_create(&q, 4711, why, sizeof why), MB_NOTSUP);
    assert_null(q);
    assert_non_null(strstr(why, "CUDA"));
}

/* Where there is a GPU, an empty queue is without fault; elsewhere the first device is refused as any other. */
static void first_device(void **state) {
    (void)state;
    mbk_queue *q = NULL;
    char why[200] = "";
    const int rc = mbk_queue_create(&q, 0, why, sizeof why);
    if (rc == MB_OK) {
        assert_int_equal(mbk_queue_sync(q, why, sizeof why), MB_OK);
    } else {
        assert_null(q);
        assert_int_equal(rc, MB_NOTSUP);
        assert_true(strlen(why) > 10);
    }
    mbk_queue_destroy(q);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(no_such_device),
                                       cmocka_unit_test(first_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
