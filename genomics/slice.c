/* See slice.h. */
#include "genomics/slice.h"

#include <string.h>

/* Held on either side of a piece. */
enum { MARGIN = 32768 };

int dna_slice_contig(dna_slice *s, const char *contig, mb_err *e) {
    if (s->contig.data && strcmp(s->contig.data, contig) == 0)
        return MB_OK;
    const dna_contigs all = dna_genome_contigs(s->genome);
    s->from = s->base.n = 0;
    s->length = all.length(all.user, contig);
    return dna_text_set(&s->contig, contig, e);
}

int dna_slice_get(dna_slice *s, int64_t from, int64_t n, const char **base, mb_err *e) {
    MB_ASSERT(from >= 0 && n >= 0 && n <= s->length - from);
    if (from < s->from || from + n > s->from + s->base.n) {
        const int64_t low = from > MARGIN ? from - MARGIN : 0;
        const int64_t high = s->length - from - n > MARGIN ? from + n + MARGIN : s->length;
        s->base.n = 0;
        int rc = dna_text_reserve(&s->base, high - low, e);
        if (!rc)
            rc = dna_genome_fetch(s->genome, s->contig.data, low, high - low, s->base.data, e);
        if (rc)
            return rc;
        s->from = low;
        s->base.n = high - low;
    }
    *base = s->base.data + (from - s->from);
    return MB_OK;
}

void dna_slice_fini(dna_slice *s) {
    dna_text_fini(&s->contig);
    dna_text_fini(&s->base);
}
