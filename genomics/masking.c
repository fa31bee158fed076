/* Position p of window w takes one Philox block under `key` with counter (p, w): the first word says whether it is
 * chosen, the second how it is shown, the third the replacement. A chance is compared as a multiple of 2^-32, and one
 * of k ids is taken as the high word of k times the third: off by less than k 2^-32. */
#include "genomics/masking.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"

int dna_masking_check(const dna_masking *m, mb_err *e) {
    if (!(m->soft_weight >= 0 && isfinite(m->soft_weight)))
        return mb_fail(e, MB_RANGE, "a weight of %g for soft-masked bases: expected a number of at least 0",
                       (double)m->soft_weight);
    if (m->objective == DNA_CAUSAL)
        return MB_OK;
    if (!(m->rate > 0 && m->rate <= 1))
        return mb_fail(e, MB_RANGE, "masking %g of the bases: expected more than 0 and at most 1", m->rate);
    if (!(m->masked >= 0 && m->random >= 0 && m->masked + m->random <= 1 + 1e-9))
        return mb_fail(e, MB_RANGE,
                       "%g of the chosen bases shown as the mask and %g as a random token: both must be at least 0 and "
                       "at most 1 together",
                       m->masked, m->random);
    return MB_OK;
}

uint64_t dna_draw_key(uint64_t seed, dna_purpose purpose, uint64_t step) {
    const uint32_t counter[4] = {(uint32_t)step, (uint32_t)(step >> 32), (uint32_t)purpose, 0x646e6131u}; /* "dna1" */
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    mb_philox4x32(counter, key, out);
    return out[0] | (uint64_t)out[1] << 32;
}

/* Words below the limit have the chance p; 2^32 is all of them. */
static uint64_t limit(double p) {
    return p >= 1 ? (uint64_t)1 << 32 : (uint64_t)(p * 0x1p32);
}

static uint32_t pick(uint32_t word, uint32_t k) {
    return (uint32_t)(((uint64_t)word * k) >> 32);
}

/* Ids that the tokenizer has, without the rows that only round the vocabulary up. */
static uint32_t known_ids(const dna_alphabet *a) {
    return strcmp(a->name, "caduceus") == 0 ? 12 : 7;
}

static void is_base_table(const dna_alphabet *a, uint8_t table[256]) {
    memset(table, 0, 256);
    for (int i = 0; i < 4; i++)
        table[a->base[i]] = table[a->base[i] | DNA_SOFT] = 1;
}

static dna_mask_sums mlm(const dna_masking *m, uint64_t key, uint64_t window, char strand, int64_t n, int32_t *token,
                         int32_t *target, float *weight) {
    const dna_alphabet *a = m->alphabet;
    const uint64_t chosen = limit(m->rate), masked = limit(m->masked), other = limit(m->masked + m->random);
    const uint32_t keys[2] = {(uint32_t)key, (uint32_t)(key >> 32)}, ids = known_ids(a);
    dna_mask_sums sums = {0, 0};
    uint8_t is_base[256];
    is_base_table(a, is_base);
    for (int64_t i = 0; i < n; i++) {
        const int32_t byte = token[i], base = byte & DNA_TOKEN_BITS;
        const float w = byte & DNA_SOFT ? m->soft_weight : 1;
        token[i] = base;
        target[i] = DNA_IGNORE;
        if (weight)
            weight[i] = 0;
        if (!is_base[byte])
            continue;
        const uint64_t p = (uint64_t)(strand == '-' ? n - 1 - i : i);
        const uint32_t counter[4] = {(uint32_t)p, (uint32_t)(p >> 32), (uint32_t)window, (uint32_t)(window >> 32)};
        uint32_t out[4];
        mb_philox4x32(counter, keys, out);
        if (out[0] >= chosen)
            continue;
        if (out[1] < masked) {
            token[i] = a->mask_token;
        } else if (out[1] < other) {
            const int id = m->replacement == DNA_REPLACE_BASES ? a->base[pick(out[2], 4)] : (int)pick(out[2], ids);
            token[i] = strand == '-' ? a->complement[id] : id;
        }
        if (w > 0) {
            target[i] = base;
            sums.targets++;
            sums.weight += w;
            if (weight)
                weight[i] = w;
        }
    }
    return sums;
}

static dna_mask_sums causal(const dna_masking *m, int64_t n, int32_t *token, int32_t *target, float *weight) {
    dna_mask_sums sums = {0, 0};
    uint8_t is_base[256];
    is_base_table(m->alphabet, is_base);
    for (int64_t i = 0; i < n; i++) {
        const int32_t next = i + 1 < n ? token[i + 1] : m->alphabet->n_token;
        const float w = !is_base[next] ? 0 : next & DNA_SOFT ? m->soft_weight : 1;
        token[i] &= DNA_TOKEN_BITS;
        target[i] = w > 0 ? next & DNA_TOKEN_BITS : DNA_IGNORE;
        if (weight)
            weight[i] = w;
        sums.targets += w > 0;
        sums.weight += w;
    }
    return sums;
}

dna_mask_sums dna_mask_window(const dna_masking *m, uint64_t key, uint64_t window, char strand, int64_t n,
                              int32_t *token, int32_t *target, float *weight) {
    return m->objective == DNA_CAUSAL ? causal(m, n, token, target, weight)
                                      : mlm(m, key, window, strand, n, token, target, weight);
}
