/* Runs are repeated with doubled lengths until one takes long enough to be believed; the first, cold, is not counted.
 * Refuses nothing. */
#include "genomics/estimate.h"

#include "core/mem.h"
#include "core/rng.h"

static int ignore_rows(void *user, const mb_rows *r, mb_err *e) {
    (void)user, (void)r, (void)e;
    return MB_OK;
}

static int run_once(const mb_model *m, uint8_t *token, int64_t length, int n, const mb_forward_options *o, double *took,
                    mb_err *e) {
    mb_sequence seq[16];
    const mb_sink sink = {.rows = ignore_rows};
    for (int i = 0; i < n; i++)
        seq[i] = (mb_sequence){.length = length, .read = mb_tokens8_read, .user = token};
    const double start = mb_clock_seconds();
    int rc = mb_forward_run(m, seq, n, o, &sink, e);
    *took = mb_clock_seconds() - start;
    return rc;
}

int dna_estimate_rate(const mb_model *m, const dna_alphabet *a, int64_t length, const mb_forward_options *o,
                      double seconds, double *rate, mb_err *e) {
    const int64_t longest = 1 << 16;
    if (length > longest)
        length = longest;
    /* As many sequences side by side as fill the threads, as short sequences of a real batch do. */
    int n = length < 1024 ? 16 : o->threads < 4 ? o->threads : 4;
    mb_forward_options quiet = *o;
    quiet.progress = NULL;
    uint8_t *token = mb_malloc((size_t)longest);
    if (!token)
        return mb_fail(e, MB_NOMEM, "no memory to try the model");
    mb_rng rng;
    mb_rng_init(&rng, 1, 0);
    for (int64_t i = 0; i < longest; i++)
        token[i] = (uint8_t)(a ? a->base[mb_rng_below(&rng, 4)] : (int)mb_rng_below(&rng, 4));
    int64_t step = length < 512 ? length : 512;
    double took = 0;
    int rc = run_once(m, token, step, n, &quiet, &took, e);
    for (;;) {
        if (!rc)
            rc = run_once(m, token, step, n, &quiet, &took, e);
        if (rc || took > seconds / 4 || step == length)
            break;
        step = 2 * step < length ? 2 * step : length;
    }
    *rate = (double)step * n / (took > 1e-9 ? took : 1e-9);
    mb_free(token);
    return rc;
}
