/* The plan of passes for stacks of every kind of mixer, also of kinds that are still to come: a feed-forward layer (any
 * order), a causal one, a bidirectional one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/passes.h"

static const mb_mixer_class any = {.name = "any", .needs = MB_ANY_ORDER, .phases = 1};
static const mb_mixer_class causal = {.name = "causal", .needs = MB_CAUSAL_ORDER, .phases = 1};
static const mb_mixer_class both = {.name = "both", .needs = MB_BOTH_WAYS, .phases = 2};

/* The plan as text: ">" or "<" opens a pass; "0a" is layer 0, first phase, "0b" its second. */
static const char *plan_of(const char *stack, char *text) {
    mb_mixer mixer[16];
    mb_mixer *list[16];
    mb_err e = {0};
    mb_passes p;
    const int n = (int)strlen(stack);
    char *at = text;
    for (int i = 0; i < n; i++) {
        mixer[i].class = stack[i] == 'f' ? &any : stack[i] == 'c' ? &causal : &both;
        list[i] = &mixer[i];
    }
    assert_int_equal(mb_passes_make(&p, list, n, &e), MB_OK);
    for (int i = 0; i < p.n_passes; i++) {
        const mb_pass *pass = &p.pass[i];
        *at++ = pass->direction == MB_LEFT_TO_RIGHT ? '>' : '<';
        assert_int_equal(pass->loads, i > 0);
        assert_int_equal(pass->stores, i < p.n_passes - 1);
        for (int k = 0; k < pass->n_ops; k++) {
            const mb_op *op = &p.op[pass->first_op + k];
            *at++ = (char)('0' + op->layer);
            *at++ = op->phase == 0 ? 'a' : 'b';
        }
    }
    *at = 0;
    mb_passes_free(&p);
    return text;
}

static void plans(void **state) {
    (void)state;
    char text[128];
    assert_string_equal(plan_of("", text), ">");
    assert_string_equal(plan_of("ccc", text), ">0a1a2a");
    assert_string_equal(plan_of("b", text), ">0a<0b");
    assert_string_equal(plan_of("bbb", text), ">0a<0b1a>1b2a<2b");
    assert_string_equal(plan_of("bfbf", text), ">0a<0b1a2a>2b3a");
    assert_string_equal(plan_of("cfbc", text), ">0a1a2a<2b>3a");
    assert_string_equal(plan_of("bcb", text), ">0a<0b>1a2a<2b");
    assert_string_equal(plan_of("bbc", text), ">0a<0b1a>1b2a");
}

static void no_memory(void **state) {
    (void)state;
    mb_mixer mixer = {&both};
    mb_mixer *list[1] = {&mixer};
    for (long n = 1; n <= 2; n++) {
        mb_err e = {0};
        mb_passes p;
        mb_mem_fail_nth(n, 0);
        assert_int_equal(mb_passes_make(&p, list, 1, &e), MB_NOMEM);
        mb_mem_fail_nth(0, 0);
        assert_null(p.pass);
        assert_null(p.op);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
