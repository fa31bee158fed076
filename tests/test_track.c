/* Tracks against their definition: one forward run for each class of masked positions, one call of the head for each
 * window; the mirror law to the bit. */
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
#include "genomics/track.h"
#include "tests/models.h"

enum { L = 83, V = 16, D = 16, FROM = 100 };

static mb_err error;
static dna_alphabet alphabet;
static uint8_t token[L], turned[L];

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

/* Logits of A C G T at row of x, the positions t = phase (mod K) masked (K 0: none). */
static void logits_at(const mb_model *m, const uint8_t *x, int64_t K, int64_t phase, int row, double out[4]) {
    int32_t seen[L];
    static float logits[L * V];
    const mb_forward_options o = {.threads = 1, .memory = 1 << 28};
    for (int i = 0; i < L; i++)
        seen[i] = K && i % K == phase && base_of(x[i]) >= 0 ? alphabet.mask_token : x[i];
    assert_int_equal(mb_forward_hidden(m, seen, L, mb_model_config(m)->n_layer, &o, NULL, logits, &error), MB_OK);
    for (int b = 0; b < 4; b++)
        out[b] = (double)logits[row * V + alphabet.base[b]];
}

static void normalise(double *z) {
    double sum = 0;
    for (int b = 0; b < 4; b++)
        sum += exp(z[b]);
    for (int b = 0; b < 4; b++)
        z[b] -= log(sum);
}

/* Log-probabilities at position t; 0 when there is no answer. */
static int distribution(const dna_profile_options *o, int t, double logp[4]) {
    const int64_t K = o->mask_stride && o->mask_stride < L ? o->mask_stride : L;
    double other[4];
    int there = 0;
    if (base_of(token[t]) < 0)
        return 0;
    if (!o->causal || t > 0) {
        logits_at(o->model, token, o->causal ? 0 : K, t % K, o->causal ? t - 1 : t, logp);
        normalise(logp);
        there = 1;
    }
    if (o->both && (!o->causal || t < L - 1)) {
        const int r = L - 1 - t;
        logits_at(o->model, turned, o->causal ? 0 : K, r % K, o->causal ? r - 1 : r, other);
        normalise(other);
        for (int b = 0; b < 4; b++)
            logp[b] = there ? (logp[b] + other[3 - b]) / 2 : other[3 - b];
        normalise(logp);
        there = 1;
    }
    return there;
}

static double value_of(int kind, const double *logp, int base) {
    double most = -INFINITY, bits = 0;
    for (int b = 0; b < 4; b++) {
        bits -= exp(logp[b]) * logp[b] / log(2);
        most = b != base && logp[b] > most ? logp[b] : most;
    }
    return kind == DNA_TRACK_ENTROPY ? bits : kind == DNA_TRACK_PROB ? exp(logp[base]) : logp[base] - most;
}

typedef struct track {
    float value[L]; /* of positions of the sequence */
    int64_t next;
} track;

static int put(void *user, int64_t start, int64_t span, const float *value, int64_t n, mb_err *e) {
    track *t = user;
    (void)e;
    assert_true(start >= t->next && start + n * span <= FROM + L);
    for (int64_t i = 0; i < n * span; i++)
        t->value[start - FROM + i] = value[i / span];
    t->next = start + n * span;
    return MB_OK;
}

/* The track of bases [from, to) of x, the rest context; NaN elsewhere. */
static track run(int kind, const dna_profile_options *o, uint8_t *x, int from, int to) {
    track t = {.next = FROM + from};
    const dna_region region = {.start = FROM + from, .end = FROM + to, .strand = '+'};
    const dna_context c = {.region = &region, .from = FROM, .to = FROM + L, .token = x};
    const dna_track_sink sink = {.put = put, .user = &t};
    for (int i = 0; i < L; i++)
        t.value[i] = NAN;
    mb_err_clear(&error);
    if (dna_track_bases(kind, o, &c, &sink, &error))
        fail_msg("%s", error.text);
    assert_int_equal(t.next, FROM + to);
    return t;
}

static void by_definition(void **state) {
    (void)state;
    static const int64_t strides[] = {8, 0, 1, 13, L};
    for (int model = 0; model < 3; model++) {
        mb_model *m = open_model(model);
        for (int way = 0; way < (model == 0 ? 2 : 10); way++) {
            const dna_profile_options o = {.model = m,
                                           .alphabet = &alphabet,
                                           .forward = {.threads = 2, .memory = 1 << 26},
                                           .causal = model == 0,
                                           .both = model != 1 && way % 2,
                                           .mask_stride = strides[way / 2]};
            const int from = way % 3 ? 11 : 0, to = way % 3 ? 60 : L;
            track t[3];
            for (int kind = 0; kind < 3; kind++)
                t[kind] = run(kind, &o, token, from, to);
            for (int i = from; i < to; i++) {
                double logp[4];
                const int there = distribution(&o, i, logp);
                for (int kind = 0; kind < 3; kind++) {
                    const double want = there ? value_of(kind, logp, base_of(token[i])) : NAN;
                    const double got = (double)t[kind].value[i];
                    if (isnan(want) != isnan(got) || fabs(want - got) > 2e-5)
                        fail_msg("model %d way %d kind %d base %d: %g, expected %g", model, way, kind, i, got, want);
                }
            }
        }
        mb_model_destroy(m);
    }
}

/* The track of the reverse complement is the track read backwards, every bit of it. */
static void mirrored(void **state) {
    (void)state;
    for (int model = 0; model < 3; model++) {
        mb_model *m = open_model(model);
        for (int kind = 0; kind < 3; kind++)
            for (int64_t K = 0; K < 9; K += 4) {
                const dna_profile_options o = {.model = m,
                                               .alphabet = &alphabet,
                                               .forward = {.threads = 2, .memory = 1 << 26},
                                               .causal = model == 0,
                                               .both = model != 1,
                                               .mask_stride = K};
                const track a = run(kind, &o, token, 5, L), b = run(kind, &o, turned, 0, L - 5);
                int differ = 0;
                for (int i = 0; i < L; i++) {
                    assert_memory_equal(&a.value[i], &b.value[L - 1 - i], sizeof(float));
                    differ += a.value[i] != a.value[L - 1 - i]; /* not for the reason that it is its own mirror */
                }
                assert_true(differ > L / 2);
            }
        mb_model_destroy(m);
    }
}

/* Budgets that send what waits to a scratch file, and threads, show in no bit; less than the answers take is refused.
 */
static void memory_does_not_show(void **state) {
    (void)state;
    mb_model *m = open_model(1);
    dna_profile_options o = {
        .model = m, .alphabet = &alphabet, .forward = {.threads = 3, .memory = 1 << 26}, .mask_stride = 4};
    const track a = run(DNA_TRACK_ENTROPY, &o, token, 0, L);
    const int64_t need = dna_profile_bytes(&o, L);
    o.forward.memory = need + 100;
    o.forward.threads = 1;
    const track b = run(DNA_TRACK_ENTROPY, &o, token, 0, L);
    assert_memory_equal(a.value, b.value, sizeof a.value);
    assert_int_equal(dna_profile_check(&o, L, "x", &error), MB_OK);
    o.forward.memory = need - 1;
    assert_int_equal(dna_profile_check(&o, L, "chrX", &error), MB_RANGE);
    assert_non_null(strstr(error.text, "chrX"));
    assert_non_null(strstr(error.text, "--memory"));
    /* A chromosome: bytes a base, not tens of them. */
    assert_true(dna_profile_bytes(&(dna_profile_options){.model = m, .mask_stride = 8}, (int64_t)1 << 26) <=
                ((int64_t)5 << 26) + 64);
    mb_model_destroy(m);
}

/* ---- heads ----------------------------------------------------------------------------------------------------------
 */

static double answer_of(const dna_track_head *h, int from, int position) {
    static double answer[3 * L];
    const dna_piece piece = {token + from, h->window};
    assert_int_equal(dna_head_predict(h->head, h->model, h->alphabet, &piece, 1, &h->forward, answer, &error), MB_OK);
    return answer[position * h->head->pool.C + h->label];
}

static void check_windows(const dna_track_head *h, int from, int to) {
    track t = {.next = FROM + from};
    const dna_region region = {.start = FROM + from, .end = FROM + to, .strand = '+'};
    const dna_context c = {.region = &region, .from = FROM, .to = FROM + L, .token = token};
    const dna_track_sink sink = {.put = put, .user = &t};
    const int per_base = h->head->task == DNA_TASK_BASES;
    int answers = 0;
    mb_err_clear(&error);
    if (dna_track_windows(h, &c, &sink, &error))
        fail_msg("%s", error.text);
    assert_int_equal(t.next, FROM + to);
    for (int i = from; i < to; i++) {
        const int block = from + (i - from) / (int)h->stride * (int)h->stride;
        const int first = block - (int)(h->window - h->stride) / 2;
        int unknown = 0, known = 0;
        for (int k = first; k < first + h->window && first >= 0 && first + h->window <= L; k++)
            unknown += token[k] == alphabet.n_token;
        for (int k = block; k < block + h->stride && k < to; k++)
            known += token[k] != alphabet.n_token;
        const int there = first >= 0 && first + h->window <= L && 2 * unknown <= h->window && known &&
                          !(per_base && token[i] == alphabet.n_token);
        const float got = t.value[i];
        if (there == isnan(got) || (there && fabs(got - answer_of(h, first, per_base ? i - first : 0)) > 1e-6))
            fail_msg("window %d stride %d base %d: %g", (int)h->window, (int)h->stride, i, got);
        answers += there;
    }
    assert_true(answers > 0 && (answers < to - from || from > 0));
}

static void heads(void **state) {
    (void)state;
    static const char *const names[] = {"no", "yes", "else"};
    static const int task[] = {DNA_TASK_CLASS, DNA_TASK_REGRESSION, DNA_TASK_BASES};
    mb_model *m = open_model(1);
    for (int k = 0; k < 3; k++) {
        dna_head head;
        const int pooling = task[k] == DNA_TASK_BASES ? MB_POOL_NONE : MB_POOL_MEAN;
        assert_int_equal(dna_head_init(&head, task[k], pooling, (char *const *)(uintptr_t)names, 3, D, 0, 3, &error),
                         MB_OK);
        dna_track_head h = {
            .model = m, .head = &head, .alphabet = &alphabet, .forward = {.threads = 1, .memory = 1 << 24}, .label = 2};
        const int size[][2] = {{20, 5}, {21, 4}, {9, 1}, {8, 8}};
        for (int i = 0; i < 4; i++) {
            h.window = size[i][0];
            h.stride = size[i][1];
            check_windows(&h, 0, L);
            check_windows(&h, 17, 60);
        }
        dna_head_fini(&head);
    }
    mb_model_destroy(m);
}

static void labels(void **state) {
    (void)state;
    static const char *const names[] = {"no", "yes", "else"};
    for (int C = 1; C <= 3; C++) {
        dna_head head;
        int label = -1;
        mb_err_clear(&error);
        assert_int_equal(
            dna_head_init(&head, DNA_TASK_CLASS, MB_POOL_MEAN, (char *const *)(uintptr_t)names, C, D, 0, 3, &error),
            MB_OK);
        assert_int_equal(dna_head_label(&head, NULL, &label, &error), C < 3 ? MB_OK : MB_USAGE);
        if (C < 3)
            assert_int_equal(label, C - 1);
        else
            assert_non_null(strstr(error.text, "no, yes, else"));
        mb_err_clear(&error);
        assert_int_equal(dna_head_label(&head, "no", &label, &error), MB_OK);
        assert_int_equal(label, 0);
        assert_int_equal(dna_head_label(&head, "nope", &label, &error), MB_USAGE);
        assert_non_null(strstr(error.text, "nope"));
        dna_head_fini(&head);
    }
}

static int stop_here(void *user, int64_t start, int64_t span, const float *value, int64_t n, mb_err *e) {
    (void)user, (void)start, (void)span, (void)value, (void)n;
    return mb_fail(e, MB_IO, "the disk is full");
}

static void failures(void **state) {
    (void)state;
    mb_model *m = open_model(2);
    const dna_profile_options o = {
        .model = m, .alphabet = &alphabet, .forward = {.threads = 1, .memory = 1 << 24}, .both = 1, .mask_stride = 8};
    const dna_region region = {.start = FROM, .end = FROM + L, .strand = '+'};
    const dna_context c = {.region = &region, .from = FROM, .to = FROM + L, .token = token};
    const dna_track_sink sink = {.put = stop_here};
    track t = run(DNA_TRACK_PROB, &o, token, 0, L); /* heads are prepared at the first use */
    const dna_track_sink fine = {.put = put, .user = &t};
    mb_err_clear(&error);
    assert_int_equal(dna_track_bases(DNA_TRACK_PROB, &o, &c, &sink, &error), MB_IO);
    const long before = mb_mem_live_blocks();
    for (long n = 1;; n++) {
        t.next = FROM;
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        const int rc = dna_track_bases(DNA_TRACK_PROB, &o, &c, &fine, &error);
        assert_int_equal(mb_mem_live_blocks(), before);
        if (!mb_mem_fault_fired())
            break;
        assert_true(rc == MB_NOMEM || rc == MB_OK); /* a store without memory goes to a file */
    }
    mb_mem_fail_nth(0, 0);
    mb_model_destroy(m);
}

static int prepare(void **state) {
    (void)state;
    const mb_config c = {.V = V};
    uint32_t x = 5;
    int rc = dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error);
    for (int t = 0; t < L; t++) {
        x = x * 1664525 + 1013904223;
        token[t] = (uint8_t)((t > 40 && t < 54) || t == 3 ? alphabet.n_token : alphabet.base[x >> 26 & 3]);
    }
    memcpy(turned, token, L);
    dna_reverse_tokens(&alphabet, turned, L);
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_definition), cmocka_unit_test(mirrored), cmocka_unit_test(memory_does_not_show),
        cmocka_unit_test(heads),         cmocka_unit_test(labels),   cmocka_unit_test(failures)};
    return cmocka_run_group_tests(tests, prepare, NULL);
}
