/* How far from the floor: whole models against what GEMM, vector and memory rates of this machine, measured in the same
 * run, allow (tests/bench/floor.h). Prints medians; no figure is asserted.
 *
 *   bench_forward [threads] [--long]      --long adds the 131,072-base sequence (about a minute) */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/forward.h"
#include "core/mem.h"
#include "core/session.h"
#include "tests/bench/floor.h"
#include "tests/models.h"

enum { REPEATS = 5 };

static int ignore_rows(void *user, const mb_rows *r, mb_err *e) {
    (void)e;
    *(float *)user += r->row[0]; /* one strand at a time adds one number: cheap, and nothing can be optimised away */
    return MB_OK;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void must(int rc, const mb_err *e) {
    if (rc == MB_OK)
        return;
    fprintf(stderr, "bench_forward: %s\n", e->text);
    exit(1);
}

/* Seconds per token of whole sequences, all final rows delivered. */
static double forward_seconds(const mb_model *m, int64_t length, int threads, int repeats) {
    int32_t *token = mb_malloc((size_t)length * sizeof *token);
    const mb_sequence seq = {.length = length, .read = mb_tokens_read, .user = token};
    const mb_forward_options o = {.threads = threads, .memory = (int64_t)8 << 30};
    float used[64] = {0};
    const mb_sink sink = {ignore_rows, used};
    double seconds[REPEATS];
    mb_err e = {0};
    model_tokens(token, length, 7, 11, 1);
    for (int i = -1; i < repeats; i++) {
        const double start = mb_clock_seconds();
        must(mb_forward_run(m, &seq, 1, &o, &sink, &e), &e);
        if (i >= 0)
            seconds[i] = mb_clock_seconds() - start;
        if (i < 0 && repeats == 1) { /* long runs need no warm-up of their own */
            seconds[0] = mb_clock_seconds() - start;
            break;
        }
    }
    mb_free(token);
    return median(seconds, repeats) / (double)length;
}

static double prompt_seconds(const mb_model *m, int length, int threads) {
    int32_t *token = mb_malloc((size_t)length * sizeof *token);
    float *logits = mb_malloc((size_t)mb_model_config(m)->V * sizeof *logits);
    mb_session *s = NULL;
    double seconds[REPEATS];
    mb_err e = {0};
    model_tokens(token, length, 0, mb_model_config(m)->V, 1);
    must(mb_session_create(&s, m, threads, &e), &e);
    for (int i = -1; i < REPEATS; i++) {
        const double start = mb_clock_seconds();
        mb_session_reset(s);
        must(mb_session_feed(s, token, length, NULL, logits, &e), &e);
        if (i >= 0)
            seconds[i] = mb_clock_seconds() - start;
    }
    mb_session_destroy(s);
    mb_free(token);
    mb_free(logits);
    return median(seconds, REPEATS) / length;
}

static double decode_seconds(const mb_model *m, int threads) {
    enum { TOKENS = 24 };
    float *logits = mb_malloc((size_t)mb_model_config(m)->V * sizeof *logits);
    mb_session *s = NULL;
    double seconds[TOKENS];
    mb_err e = {0};
    must(mb_session_create(&s, m, threads, &e), &e);
    for (int i = -4; i < TOKENS; i++) {
        const double start = mb_clock_seconds();
        must(mb_session_step(s, (i + 4) * 17, NULL, logits, &e), &e);
        if (i >= 0)
            seconds[i] = mb_clock_seconds() - start;
    }
    mb_session_destroy(s);
    mb_free(logits);
    return median(seconds, TOKENS);
}

typedef struct result { /* of one measurement; its floor is worked out at the end */
    char what[64];
    double seconds, fp32_seconds; /* per token; the second 0 for fp32 itself */
    floor_shape shape;
    mbk_precision precision;
    double read; /* decoding: bytes/s of memory just before and after, averaged; else 0 */
} result;

static result results[16];
static int n_results;

static void keep(const char *what, double seconds, double fp32_seconds, const floor_shape *shape,
                 mbk_precision precision, double read) {
    result *r = &results[n_results++];
    *r = (result){
        .seconds = seconds, .fp32_seconds = fp32_seconds, .shape = *shape, .precision = precision, .read = read};
    snprintf(r->what, sizeof r->what, "%s", what);
    fprintf(stderr, "  %s: %.0f tok/s\n", what, 1 / seconds);
}

static void print_results(const floor_rates *rates) {
    for (int i = 0; i < n_results; i++) {
        const result *r = &results[i];
        floor_rates then = *rates;
        then.read = r->read;
        const double least = r->read > 0 ? floor_decode_seconds(&r->shape, &then, r->precision)
                                         : floor_forward_seconds(&r->shape, rates, r->precision);
        printf("%-44s %8.0f tok/s   floor %8.0f   achieved/floor %.2f", r->what, 1 / r->seconds, 1 / least,
               least / r->seconds);
        if (r->fp32_seconds > 0)
            printf("   x fp32 %.2f", r->fp32_seconds / r->seconds);
        printf("\n");
    }
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* The floor is what the machine can do: of two measurements, before and after, the better. */
static void measure_again(floor_rates *rates, int threads) {
    floor_rates again;
    floor_measure(&again, threads);
    rates->gemm_fp32 = larger(rates->gemm_fp32, again.gemm_fp32);
    rates->gemm_bf16 = larger(rates->gemm_bf16, again.gemm_bf16);
    rates->vector = larger(rates->vector, again.vector);
    rates->read = larger(rates->read, again.read);
}

static floor_shape shape_of(const mb_config *c, int last_logit) {
    return (floor_shape){.D = c->D,
                         .E = c->E,
                         .N = c->N,
                         .R = c->R,
                         .K = c->K,
                         .V = c->V,
                         .n_layer = c->n_layer,
                         .bidirectional = c->mixer == MB_MIXER_BIMAMBA1,
                         .strands = c->rcps ? 2 : 1,
                         .last_logit = last_logit};
}

static void bench_caduceus(const floor_rates *rates, int threads, int with_long) {
    const mb_config c = model_caduceus(256, 16, 1);
    const floor_shape shape = shape_of(&c, 0);
    const int64_t length[3] = {1024, 8192, 131072};
    double fp32[3] = {0};
    for (int precision = 0; precision < 2; precision++) {
        if (precision == MBK_BF16 && rates->gemm_bf16 <= 0)
            continue;
        const mb_model_options o = {.precision = (mbk_precision)precision};
        mb_model *m = model_seeded(&c, &o);
        for (int i = 0; i < (with_long ? 3 : 2); i++) {
            char what[96];
            const double s = forward_seconds(m, length[i], threads, i == 0 ? REPEATS : i == 1 ? 3 : 1);
            if (precision == MBK_FP32)
                fp32[i] = s;
            snprintf(what, sizeof what, "Caduceus-PS 131k shape %s, L=%lld (bp)", precision ? "bf16" : "fp32",
                     (long long)length[i]);
            keep(what, s, precision ? fp32[i] : 0, &shape, (mbk_precision)precision, 0);
        }
        mb_model_destroy(m);
    }
}

/* Memory shared with other machines changes its speed from minute to minute: decoding is held against it at its time.
 */
static double read_rate(int threads) {
    floor_rates now;
    floor_measure(&now, threads);
    return now.read;
}

static void bench_mamba(const floor_rates *rates, int threads) {
    const mb_config c = model_mamba(768, 24, 50280);
    const floor_shape shape = shape_of(&c, 1);
    double fp32[2] = {0};
    for (int precision = 0; precision < 2; precision++) {
        if (precision == MBK_BF16 && rates->gemm_bf16 <= 0)
            continue;
        const mb_model_options o = {.precision = (mbk_precision)precision};
        const char *name = precision ? "bf16" : "fp32";
        char what[96];
        mb_model *m = model_seeded(&c, &o);
        const double prompt = prompt_seconds(m, 2048, threads);
        const double before = read_rate(threads), decode = decode_seconds(m, threads), after = read_rate(threads);
        if (precision == MBK_FP32) {
            fp32[0] = prompt;
            fp32[1] = decode;
        }
        snprintf(what, sizeof what, "Mamba-130m %s, prompt 2048, last logit", name);
        keep(what, prompt, precision ? fp32[0] : 0, &shape, (mbk_precision)precision, 0);
        snprintf(what, sizeof what, "Mamba-130m %s, decode", name);
        keep(what, decode, precision ? fp32[1] : 0, &shape, (mbk_precision)precision, (before + after) / 2);
        mb_model_destroy(m);
    }
}

int main(int argc, char **argv) {
    int threads = omp_get_max_threads(), with_long = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--long") == 0)
            with_long = 1;
        else
            threads = atoi(argv[i]);
    }
    if (threads < 1) {
        fprintf(stderr, "usage: bench_forward [threads] [--long]\n");
        return 2;
    }
    floor_rates rates;
    floor_measure(&rates, threads);
    bench_caduceus(&rates, threads, with_long);
    bench_mamba(&rates, threads);
    measure_again(&rates, threads);
    floor_print(&rates, threads);
    print_results(&rates);
    return 0;
}
