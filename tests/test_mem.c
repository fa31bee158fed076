/* Heap: faults come when planned, blocks are counted, overflow is refused. Arena: what was measured fits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"

static void blocks_are_counted(void **state) {
    (void)state;
    long before = mb_mem_live_blocks();
    char *a = mb_malloc(10), *b = mb_calloc(3, 5), *c = mb_strdup("text"), *d = mb_asprintf("%d-%s", 7, "x");
    char *f = mb_realloc(NULL, 4), *g = mb_realloc_array(NULL, 2, 8), *h = mb_malloc(0);
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(c, "text");
    assert_string_equal(d, "7-x");
    assert_non_null(h);
    assert_int_equal(mb_mem_live_blocks() - before, 7);
    for (int i = 0; i < 15; i++)
        assert_int_equal(b[i], 0);
    memset(a, 1, 10);
    char *more = mb_realloc(a, 1000);
    assert_non_null(more);
    assert_int_equal(more[9], 1);
    assert_int_equal(mb_mem_live_blocks() - before, 7);
    mb_free(more);
    mb_free(b);
    mb_free(c);
    mb_free(d);
    mb_free(f);
    mb_free(g);
    mb_free(h);
    mb_free(NULL);
    assert_int_equal(mb_mem_live_blocks(), before);
}

static void overflow_is_refused(void **state) {
    (void)state;
    long before = mb_mem_live_blocks();
    assert_null(mb_calloc(SIZE_MAX / 2, 3));
    assert_null(mb_realloc_array(NULL, SIZE_MAX / 2, 3));
    assert_null(mb_big_alloc(SIZE_MAX));
    assert_null(mb_big_alloc(SIZE_MAX / 2 + 1));
    assert_null(mb_big_alloc(SIZE_MAX / 4)); /* a mapping no machine has */
    assert_int_equal(mb_mem_live_blocks(), before);
}

static void the_planned_allocation_fails(void **state) {
    (void)state;
    mb_mem_fail_nth(2, 0);
    void *a = mb_malloc(1), *b = mb_calloc(1, 1), *c = mb_malloc(1);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    assert_true(mb_mem_fault_fired());
    mb_mem_fail_nth(1, 0);
    assert_false(mb_mem_fault_fired());
    assert_null(mb_realloc(a, 100)); /* a is still there */
    mb_mem_fail_nth(1, 0);
    assert_null(mb_strdup("x"));
    mb_mem_fail_nth(1, 0);
    assert_null(mb_asprintf("x"));
    mb_mem_fail_nth(1, 0);
    assert_null(mb_big_alloc(100));
    mb_mem_fail_nth(0, 0);
    mb_free(a);
    mb_free(c);
}

static void a_sticky_fault_stays(void **state) {
    (void)state;
    mb_mem_fail_nth(2, 1);
    void *a = mb_malloc(1);
    assert_non_null(a);
    for (int i = 0; i < 5; i++)
        assert_null(mb_malloc(1));
    mb_mem_fail_nth(0, 0);
    void *b = mb_malloc(1);
    assert_non_null(b);
    mb_free(a);
    mb_free(b);
}

static void big_blocks_are_zero_and_aligned(void **state) {
    (void)state;
    static const size_t SIZES[] = {0, 1, 63, 64, 65, 4096, (2u << 20) - 1, 2u << 20, (2u << 20) + 1, 9u << 20};
    long before = mb_mem_live_blocks();
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        size_t n = SIZES[i];
        unsigned char *p = mb_big_alloc(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (n >= 2u << 20 ? 2u << 20 : 64), 0);
        for (size_t k = 0; k<n; k += n> 100000 ? 1021 : 1)
            assert_int_equal(p[k], 0);
        memset(p, 0xA5, n); /* dirt for the next one */
        assert_int_equal(mb_mem_live_blocks() - before, 1);
        mb_big_free(p, n);
    }
    mb_big_free(NULL, 5);
    assert_int_equal(mb_mem_live_blocks(), before);
}

static void lay_out(mb_arena *a, float **f, char **c) {
    *f = mb_arena_floats(a, 1000);
    *c = mb_arena_take(a, 3);
    float *last = mb_arena_floats(a, 1);
    if (last)
        *last = 5;
}

static void an_arena_is_measured_then_carved(void **state) {
    (void)state;
    mb_arena measure = {0}, a;
    mb_err e = {0};
    float *f;
    char *c;
    lay_out(&measure, &f, &c);
    assert_null(f);
    assert_null(c);
    assert_int_equal(measure.used, 4096 + 256 + 4);
    assert_int_equal(mb_arena_create(&a, measure.used, &e), MB_OK);
    lay_out(&a, &f, &c);
    assert_int_equal((uintptr_t)f % 256, 0);
    assert_ptr_equal(c, (char *)f + 4096);
    assert_int_equal(a.used, measure.used);
    mb_arena_destroy(&a);
    assert_null(a.base);
    mb_arena_destroy(&a);
    mb_arena_destroy(NULL);
}

static void a_measure_beyond_all_memory_is_refused(void **state) {
    (void)state;
    mb_arena m = {0}, a;
    mb_err e = {0};
    mb_arena_floats(&m, SIZE_MAX / 2);
    assert_true(m.used == SIZE_MAX);
    mb_arena_take(&m, 1);
    mb_arena_take(&m, SIZE_MAX);
    assert_true(m.used == SIZE_MAX);
    assert_int_equal(mb_arena_create(&a, m.used, &e), MB_NOMEM);
    assert_non_null(strstr(e.text, "out of memory"));
    assert_null(a.base);
}

/* A bug ends the program: run where that does no harm. */
static int dies(void (*f)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr))
            f();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void take_too_much(void) {
    mb_arena a;
    if (mb_arena_create(&a, 1000, NULL) == MB_OK)
        mb_arena_take(&a, 1001);
}

static void a_layout_that_does_not_fit_is_a_bug(void **state) {
    (void)state;
    assert_true(dies(take_too_much));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_counted),
        cmocka_unit_test(overflow_is_refused),
        cmocka_unit_test(the_planned_allocation_fails),
        cmocka_unit_test(a_sticky_fault_stays),
        cmocka_unit_test(big_blocks_are_zero_and_aligned),
        cmocka_unit_test(an_arena_is_measured_then_carved),
        cmocka_unit_test(a_measure_beyond_all_memory_is_refused),
        cmocka_unit_test(a_layout_that_does_not_fit_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
