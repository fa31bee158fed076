/* Heads on disk: what was saved comes back bit for bit and gives the same answers; the folder is a model of its family;
 * damaged folders are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/mem.h"
#include "genomics/finetune.h"
#include "tests/models.h"
#include "tests/scratch.h"

enum { D = 16, C = 3 };

static mb_err error;

static const char *folder(const char *name) {
    const char *path = scratch_path(name);
    (void)mkdir(path, 0777);
    return path;
}

static void make(dna_head *h, int task, int pooling, int bias) {
    static const char *const names[C] = {"one", "two words", "\xc3\xa9\"3\""};
    mb_err_clear(&error);
    assert_int_equal(dna_head_init(h, task, pooling, (char *const *)(uintptr_t)names, C, D, bias, 5, &error), MB_OK);
    for (int c = 0; c < C; c++) {
        h->mean[c] = 0.1 * c;
        h->scale[c] = 1 + 1.0 / (3 + c);
        if (bias)
            h->pool.b[c] = 0.5F * (float)c - 0.3F;
    }
}

static void answers(const dna_head *h, const mb_model *m, double *out) {
    uint8_t token[60];
    dna_alphabet a;
    for (int i = 0; i < 60; i++)
        token[i] = (uint8_t)(7 + i * i % 4);
    const dna_piece piece[2] = {{token, 45}, {token + 45, 15}};
    const mb_forward_options o = {.threads = 1, .memory = 1 << 22};
    assert_int_equal(
        dna_alphabet_init(&a, mb_model_config(m), &(dna_policies){.alphabet = DNA_ALPHABET_CADUCEUS}, &error), MB_OK);
    assert_int_equal(dna_head_predict(h, m, &a, piece, 2, &o, out, &error), MB_OK);
}

static void round_trip(void **state) {
    (void)state;
    static const int task[] = {DNA_TASK_CLASS, DNA_TASK_MULTI, DNA_TASK_REGRESSION, DNA_TASK_BASES};
    for (int which = 0; which < 3; which++)
        for (int t = 0; t < 4; t++) {
            const mb_config c = which == 2 ? model_mamba(D, 2, 16) : model_caduceus(D, 3, which);
            mb_model *m = model_shaken(&c, NULL), *again = NULL;
            dna_head h, back = {0};
            const int bases = task[t] == DNA_TASK_BASES;
            const size_t units = bases ? 60 : 2;
            double a[60 * C] = {0}, b[60 * C] = {0};
            const char *dir = folder("round");
            make(&h, task[t], bases ? MB_POOL_NONE : t, t % 2);
            h.conjoin = !which && !bases;
            h.pool.given = which == 1 && t % 2;
            assert_int_equal(dna_head_save(&h, mb_model_params(m), &c, dir, &error), MB_OK);
            if (mb_model_open(&again, dir, NULL, &error) || dna_head_load(&back, again, &error))
                fail_msg("%s", error.text);
            assert_int_equal(mb_model_config(again)->n_labels, which == 2 ? 0 : C);
            assert_int_equal(back.task, h.task);
            assert_int_equal(back.conjoin, h.conjoin);
            assert_int_equal(back.pool.given, h.pool.given);
            assert_int_equal(back.pool.pooling, h.pool.pooling);
            assert_memory_equal(back.pool.w, h.pool.w, C * D * sizeof(float));
            assert_memory_equal(back.mean, h.mean, C * sizeof(double));
            assert_memory_equal(back.scale, h.scale, C * sizeof(double));
            MB_ASSERT(back.label && h.label);
            for (int i = 0; i < C; i++)
                assert_string_equal(back.label[i], h.label[i]);
            answers(&h, m, a);
            answers(&back, again, b);
            assert_memory_equal(a, b, units * C * sizeof *a);
            for (size_t u = 0; u < units && h.pool.objective == MB_POOL_CLASS; u++)
                assert_true(fabs(a[u * C] + a[u * C + 1] + a[u * C + 2] - 1) < 1e-12);
            dna_head_fini(&h);
            dna_head_fini(&back);
            mb_model_destroy(m);
            mb_model_destroy(again);
        }
}

static int load(const char *dir) {
    mb_model *m = NULL;
    dna_head h = {0};
    mb_err_clear(&error);
    int rc = mb_model_open(&m, dir, NULL, &error);
    if (rc == MB_OK)
        rc = dna_head_load(&h, m, &error);
    dna_head_fini(&h);
    mb_model_destroy(m);
    return rc;
}

static void damaged(void **state) {
    (void)state;
    static const char one_label[] = "{\"version\": 1, \"task\": \"class\", \"pooling\": \"mean\", \"d_model\": 16, "
                                    "\"labels\": [\"a\"], \"mean\": [0], \"scale\": [1]}";
    static const char *const texts[] = {"", "[]", "{\"version\": 1}", "{\"version\": 2, \"task\": \"class\"}",
                                        one_label};
    const mb_config c = model_caduceus(D, 2, 1);
    mb_model *m = model_shaken(&c, NULL);
    dna_head h;
    const char *dir = folder("damaged");
    char name[64];
    make(&h, DNA_TASK_CLASS, MB_POOL_MEAN, 0);
    assert_int_equal(dna_head_save(&h, mb_model_params(m), &c, dir, &error), MB_OK);
    assert_int_equal(load(dir), MB_OK);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        (void)scratch_text("damaged/task.json", texts[i]);
        assert_int_equal(load(dir), MB_FORMAT);
        assert_non_null(strstr(error.text, i == 4 ? "score.weight" : "task.json"));
    }
    snprintf(name, sizeof name, "damaged/task.json");
    assert_int_equal(remove(scratch_path(name)), 0);
    assert_int_equal(load(dir), MB_NOTFOUND);
    assert_non_null(strstr(error.text, "finetune"));
    dna_head_fini(&h);
    mb_model_destroy(m);
}

/* Every allocation of saving and loading fails once. */
static void no_memory(void **state) {
    (void)state;
    const mb_config c = model_caduceus(D, 1, 1);
    mb_model *m = model_shaken(&c, NULL), *again = NULL;
    dna_head h, back = {0};
    const char *dir = folder("memory");
    make(&h, DNA_TASK_MULTI, MB_POOL_MAX, 1);
    for (long n = 1;; n++) {
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = dna_head_save(&h, mb_model_params(m), &c, dir, &error);
        const int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        if (!fired)
            break;
        if (rc == MB_OK)
            fail_msg("allocation %ld failed and nobody noticed", n);
    }
    assert_int_equal(dna_head_save(&h, mb_model_params(m), &c, dir, &error), MB_OK);
    assert_int_equal(mb_model_open(&again, dir, NULL, &error), MB_OK);
    for (long n = 1;; n++) {
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = dna_head_load(&back, again, &error), fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        dna_head_fini(&back);
        if (!fired)
            break;
        if (rc == MB_OK)
            fail_msg("allocation %ld failed and nobody noticed", n);
    }
    dna_head_fini(&h);
    mb_model_destroy(m);
    mb_model_destroy(again);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(damaged),
                                       cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
