/* In-silico mutagenesis against one run by hand for every changed sequence; the figures it makes. */
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
#include "genomics/ism.h"
#include "genomics/ism_picture.h"
#include "tests/models.h"
#include "tests/scratch.h"

enum { L = 37, V = 16, D = 16, FROM = 1000, FIRST = 9, SITES = 14 };

static mb_err error;
static dna_alphabet alphabet;
static uint8_t token[L], turned[L];
static dna_region region = {.contig = "c", .start = FROM + FIRST, .end = FROM + FIRST + SITES, .strand = '+'};
static dna_context context = {.region = &region, .from = FROM, .to = FROM + L, .token = token};

static int base_of(int t) {
    for (int b = 0; b < 4; b++)
        if (alphabet.base[b] == t)
            return b;
    return -1;
}

static mb_model *open_model(int kind) {
    const mb_config causal = model_mamba(D, 2, V), ps = model_caduceus(D, 3, 1), ph = model_caduceus(D, 2, 0);
    return model_shaken(kind == 0 ? &causal : kind == 1 ? &ps : &ph, NULL);
}

static dna_ism run(const dna_ism_options *o) {
    dna_ism m;
    mb_err_clear(&error);
    if (dna_ism_run(&m, o, &context, &error))
        fail_msg("%s", error.text);
    assert_int_equal(m.n, SITES);
    return m;
}

static double softmax_ratio(const mb_model *m, const uint8_t *x, int t, int b, int r) {
    int32_t seen[L];
    static float logits[L * V];
    const mb_forward_options o = {.threads = 1, .memory = 1 << 28};
    for (int i = 0; i < L; i++)
        seen[i] = i == t ? alphabet.mask_token : x[i];
    assert_int_equal(mb_forward_hidden(m, seen, L, mb_model_config(m)->n_layer, &o, NULL, logits, &error), MB_OK);
    return (double)logits[t * V + alphabet.base[b]] - (double)logits[t * V + alphabet.base[r]];
}

static void masked(void **state) {
    (void)state;
    for (int kind = 1; kind < 3; kind++)
        for (int both = 0; both < (kind == 2 ? 2 : 1); both++) {
            mb_model *model = open_model(kind);
            const dna_ism_options o = {.how = {.model = model,
                                               .alphabet = &alphabet,
                                               .forward = {.threads = 2, .memory = 1 << 26},
                                               .both = both,
                                               .mask_stride = 8}};
            dna_ism m = run(&o);
            for (int i = 0; i < SITES; i++) {
                const int t = FIRST + i, r = base_of(token[t]);
                double p[4], sum = 0, bits = 2;
                assert_int_equal(m.base[i], r);
                for (int b = 0; b < 4; b++) {
                    const float got = m.effect[4 * i + b];
                    if (r < 0) {
                        assert_true(isnan(got) && isnan(dna_ism_bits(&m, i)));
                        continue;
                    }
                    double want = softmax_ratio(model, token, t, b, r);
                    if (both)
                        want = (want + softmax_ratio(model, turned, L - 1 - t, 3 - b, 3 - r)) / 2;
                    assert_true(fabs(want - (double)got) < 2e-5);
                    sum += p[b] = exp(want);
                }
                for (int b = 0; b < 4 && r >= 0; b++)
                    bits += p[b] / sum * log2(p[b] / sum);
                assert_true(r < 0 || fabs(bits - dna_ism_bits(&m, i)) < 2e-5);
            }
            dna_ism_fini(&m);
            mb_model_destroy(model);
        }
}

/* Mean log-likelihood of the bases of x, and how many they are. */
static double mean_likelihood(const dna_ism_options *o, uint8_t *x, int n, int *scored) {
    float logp[2 * L], *of[1] = {logp};
    dna_item item = {.token = x, .length = n};
    const dna_batch b = {.item = &item, .n = 1, .tokens = n};
    const score_options s = {.model = o->how.model,
                             .alphabet = &alphabet,
                             .forward = o->how.forward,
                             .scheme = o->how.causal ? SCORE_CAUSAL : SCORE_MASKED,
                             .mask_stride = o->how.mask_stride};
    double sum = 0;
    assert_int_equal(score_batch(&s, &b, of, &error), MB_OK);
    *scored = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(logp[i])) {
            sum += (double)logp[i];
            ++*scored;
        }
    return sum / *scored;
}

static double judge(const dna_ism_options *o, uint8_t *x, int n) {
    int scored, of_all;
    double answer[8];
    if (o->score == DNA_ISM_PLL) {
        mean_likelihood(o, token, L, &of_all);
        return mean_likelihood(o, x, n, &scored) * of_all;
    }
    const dna_piece piece = {x, n};
    assert_int_equal(dna_head_predict(o->head, o->how.model, &alphabet, &piece, 1, &o->how.forward, answer, &error),
                     MB_OK);
    return answer[o->label];
}

static void changed_sequences(void **state) {
    (void)state;
    static const char *const names[] = {"a", "b"};
    dna_head head;
    assert_int_equal(
        dna_head_init(&head, DNA_TASK_CLASS, MB_POOL_MEAN, (char *const *)(uintptr_t)names, 2, D, 0, 3, &error), MB_OK);
    for (int i = 0; i < 2 * D; i++)
        head.pool.w[i] *= 100; /* so that the answers differ */
    for (int way = 0; way < 3; way++) {
        mb_model *model = open_model(way == 0 ? 0 : 1);
        const dna_ism_options o = {.score = way < 2 ? DNA_ISM_PLL : DNA_ISM_HEAD,
                                   .deletions = way != 0,
                                   .how = {.model = model,
                                           .alphabet = &alphabet,
                                           .forward = {.threads = 2, .memory = 1 << 26},
                                           .causal = way == 0,
                                           .mask_stride = 5},
                                   .head = &head,
                                   .label = 1};
        dna_ism m = run(&o);
        const double reference = judge(&o, token, L);
        double size = 0;
        assert_int_equal(m.columns, way ? 5 : 4);
        for (int i = 0; i < SITES; i++) {
            double sum = 0;
            for (int b = 0; b < m.columns; b++) {
                const float got = m.effect[i * m.columns + b];
                uint8_t x[L];
                memcpy(x, token, L);
                if (m.base[i] < 0) {
                    assert_true(isnan(got));
                    continue;
                }
                if (b < 4)
                    x[FIRST + i] = (uint8_t)alphabet.base[b];
                else
                    memmove(x + FIRST + i, x + FIRST + i + 1, (size_t)(L - FIRST - i - 1));
                const double want = judge(&o, x, b < 4 ? L : L - 1) - reference;
                if (fabs(want - (double)got) > 1e-4)
                    fail_msg("way %d site %d column %d: %g, expected %g", way, i, b, got, want);
                sum += b < 4 ? want : 0;
                size += fabs(want);
            }
            if (m.base[i] >= 0)
                assert_true(fabs(dna_ism_importance(&m, i) + sum / 3) < 1e-4);
        }
        assert_true(size > 0.01);
        dna_ism_fini(&m);
        mb_model_destroy(model);
    }
    dna_head_fini(&head);
}

/* The reverse strand of an RC-equivariant model: sites the other way round, letters complemented, the same bits. */
static void reverse_strand(void **state) {
    (void)state;
    mb_model *model = open_model(1);
    for (int score = DNA_ISM_MASKED; score <= DNA_ISM_PLL; score++) {
        const dna_ism_options o = {
            .score = score,
            .how = {
                .model = model, .alphabet = &alphabet, .forward = {.threads = 2, .memory = 1 << 26}, .mask_stride = 8}};
        dna_ism a = run(&o);
        region.strand = '-';
        dna_ism b = run(&o);
        region.strand = '+';
        for (int i = 0; i < SITES; i++) {
            const int k = SITES - 1 - i;
            assert_int_equal(b.base[i], a.base[k] < 0 ? -1 : 3 - a.base[k]);
            for (int c = 0; c < 4; c++) {
                const float x = b.effect[4 * i + c], y = a.effect[4 * k + 3 - c];
                if (score == DNA_ISM_MASKED)
                    assert_true(x == y || (isnan(x) && isnan(y)));
                else /* sums over positions run the other way */
                    assert_true(fabsf(x - y) < 1e-4F || (isnan(x) && isnan(y)));
            }
        }
        dna_ism_fini(&a);
        dna_ism_fini(&b);
    }
    mb_model_destroy(model);
}

static void memory_runs_out(void **state) {
    (void)state;
    mb_model *model = open_model(1);
    for (int score = DNA_ISM_MASKED; score <= DNA_ISM_PLL; score++) {
        const dna_ism_options o = {
            .score = score,
            .how = {
                .model = model, .alphabet = &alphabet, .forward = {.threads = 1, .memory = 1 << 26}, .mask_stride = 2}};
        dna_ism m = run(&o);
        dna_ism_fini(&m);
        const long before = mb_mem_live_blocks();
        for (long n = 1;; n++) {
            mb_err_clear(&error);
            mb_mem_fail_nth(n, 0);
            const int rc = dna_ism_run(&m, &o, &context, &error);
            if (rc == MB_OK)
                dna_ism_fini(&m);
            assert_int_equal(mb_mem_live_blocks(), before);
            if (!mb_mem_fault_fired())
                break;
            assert_true(rc == MB_NOMEM || rc == MB_OK);
        }
        mb_mem_fail_nth(0, 0);
    }
    mb_model_destroy(model);
}

/* ---- figures --------------------------------------------------------------------------------------------------------
 */

static void fill(dna_ism *m, int n, int columns, int with_logp, float *effect, float *logp, int *base) {
    uint32_t x = 3;
    *m = (dna_ism){.n = n, .columns = columns, .base = base, .effect = effect, .logp = with_logp ? logp : NULL};
    for (int i = 0; i < n; i++) {
        base[i] = i % 7 == 3 ? -1 : i % 4;
        for (int b = 0; b < columns; b++) {
            x = x * 1664525 + 1013904223;
            effect[i * columns + b] = base[i] < 0 ? NAN : b == base[i] ? 0 : (float)(x >> 16) / 65536 - 0.6F;
        }
        for (int b = 0; b < 4; b++)
            logp[4 * i + b] = base[i] < 0 ? NAN : b == base[i] ? -0.1F : -3.5F;
    }
}

static void figures(void **state) {
    (void)state;
    static float effect[5 * 2000], logp[4 * 2000];
    static int base[2000];
    const struct {
        int n, columns, logp, rc;
    } row[] = {{1, 4, 1, MB_OK}, {60, 5, 0, MB_OK}, {1000, 4, 1, MB_OK}, {1001, 4, 0, MB_RANGE}};
    if (!mb_picture_available())
        skip();
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int strand = 0; strand < 2; strand++) {
            dna_ism m;
            mb_picture *p = NULL;
            mb_out *out = NULL;
            fill(&m, row[i].n, row[i].columns, row[i].logp, effect, logp, base);
            const dna_region r = {
                .contig = "c", .start = 123456, .end = 123456 + row[i].n, .strand = strand ? '-' : '+'};
            const dna_ism_figure f = {.m = &m,
                                      .region = &r,
                                      .title = "a <title> \xff",
                                      .subtitle = "",
                                      .effect = "effect",
                                      .importance = "importance"};
            mb_err_clear(&error);
            assert_int_equal(dna_ism_draw(&p, &f, &error), row[i].rc);
            if (row[i].rc) {
                assert_non_null(strstr(error.text, "--picture none"));
                continue;
            }
            assert_int_equal(mb_out_create(&out, scratch_path("f.svg"), &error), MB_OK);
            assert_int_equal(mb_picture_write(p, MB_PICTURE_SVG, 1, out, &error), MB_OK);
            assert_int_equal(mb_out_commit(out, &error), MB_OK);
            assert_true(scratch_size(scratch_path("f.svg")) > 2000);
            mb_picture_destroy(p);
        }
}

static void colour_scale(void **state) {
    (void)state;
    float effect[400], logp[400];
    int base[100];
    dna_ism m;
    fill(&m, 100, 4, 0, effect, logp, base);
    for (int i = 0; i < 400; i++)
        effect[i] = isnan(effect[i]) ? effect[i] : 0.5F;
    effect[1] = -1000; /* one that stands out does not wash out the others */
    assert_true(dna_effect_limit(&m) == 0.5);
    for (int i = 0; i < 400; i++)
        effect[i] = NAN;
    assert_true(dna_effect_limit(&m) == 1);
}

static int prepare(void **state) {
    (void)state;
    const mb_config c = {.V = V};
    uint32_t x = 11;
    int rc = dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error);
    for (int t = 0; t < L; t++) {
        x = x * 1664525 + 1013904223;
        token[t] = (uint8_t)(t == FIRST + 4 || t == 2 ? alphabet.n_token : alphabet.base[x >> 26 & 3]);
    }
    memcpy(turned, token, L);
    dna_reverse_tokens(&alphabet, turned, L);
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(masked),         cmocka_unit_test(changed_sequences),
                                       cmocka_unit_test(reverse_strand), cmocka_unit_test(memory_runs_out),
                                       cmocka_unit_test(figures),        cmocka_unit_test(colour_scale)};
    return cmocka_run_group_tests(tests, prepare, NULL);
}
