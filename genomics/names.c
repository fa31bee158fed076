/* Open addressing over two FNV-1a hashes with different bases. Two different names are taken for one with probability
 * n^2 / 2^129, which no set of records reaches. Refuses nothing. */
#include "genomics/names.h"

#include <string.h>

#include "core/mem.h"

static uint64_t fnv1a(const char *s, uint64_t h) {
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    h ^= h >> 32; /* FNV's low bits alone are weak */
    return h * 0x9e3779b97f4a7c15u ^ h >> 29;
}

static struct dna_name_slot *find(const dna_names *s, uint64_t low, uint64_t high) {
    uint64_t mask = (uint64_t)s->capacity - 1;
    for (uint64_t i = low & mask;; i = (i + 1) & mask) {
        struct dna_name_slot *at = &s->slot[i];
        if ((at->low == low && at->high == high) || (!at->low && !at->high))
            return at;
    }
}

static int grow(dna_names *s, mb_err *e) {
    dna_names bigger = {.capacity = s->capacity ? 2 * s->capacity : 64, .n = s->n};
    bigger.slot = mb_calloc((size_t)bigger.capacity, sizeof *bigger.slot);
    if (!bigger.slot)
        return mb_fail(e, MB_NOMEM, "no memory to remember %lld record names", (long long)s->n);
    for (int64_t i = 0; i < s->capacity; i++)
        if (s->slot[i].low || s->slot[i].high)
            *find(&bigger, s->slot[i].low, s->slot[i].high) = s->slot[i];
    mb_free(s->slot);
    *s = bigger;
    return MB_OK;
}

int64_t dna_names_add(dna_names *s, const char *name, int64_t number, mb_err *e) {
    MB_ASSERT(number > 0);
    if (2 * s->n >= s->capacity) {
        int rc = grow(s, e);
        if (rc)
            return rc;
    }
    uint64_t low = fnv1a(name, 0xcbf29ce484222325u), high = fnv1a(name, 0x84222325cbf29ce4u) | 1;
    struct dna_name_slot *at = find(s, low, high);
    if (at->low || at->high)
        return at->number;
    *at = (struct dna_name_slot){.low = low, .high = high, .number = number};
    s->n++;
    return 0;
}

void dna_names_fini(dna_names *s) {
    mb_free(s->slot);
    memset(s, 0, sizeof *s);
}
