/* From records to windows and from scores back to ALTs.
 *
 * A change (of shared bases stripped) is put in the middle of a window of --window bases, (window - n) / 2 of them on
 * its left for an allele of n bases: with one base and 512 that is index 255, where PlantCAD has it. Near the ends of a
 * contig the window is moved inwards; where the contig is shorter, it is the whole contig. The window of the ALT is cut
 * from the changed contig in the same way, so both have the same length. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/variants.h"

/* A batch is full with so many bases of reference windows, records, or bytes of records. */
#define BATCH_BASES ((int64_t)1 << 20)
#define BATCH_BYTES ((int64_t)1 << 26)
enum { BATCH_RECORDS = 8192 };

static int is_indel(const dna_change *c) {
    return c->ref_n != c->alt_n;
}

/* What is computed for a change; 0: nothing. */
static unsigned wanted_for(const variants_setup *s, const dna_change *c) {
    unsigned wanted = s->wanted;
    if (!s->effect.causal && is_indel(c) && (wanted & 1U << DNA_EFFECT_LLR)) {
        wanted &= ~(1U << DNA_EFFECT_LLR);
        if (s->v->indels == VARIANTS_INDELS_PLL)
            wanted |= 1U << DNA_EFFECT_PLL;
    }
    return wanted;
}

typedef struct window_place {
    int64_t from, length, at; /* first base and length on the (changed) contig; place of the allele in the window */
} window_place;

static window_place place_window(int64_t window, int64_t contig, int64_t start, int64_t n) {
    const int64_t length = window < contig ? window : contig;
    int64_t from = start - (length - n) / 2;
    from = from < 0 ? 0 : from > contig - length ? contig - length : from;
    return (window_place){.from = from, .length = length, .at = start - from};
}

static int grow(void **array, int64_t *capacity, int64_t n, size_t size, mb_err *e) {
    if (n <= *capacity)
        return MB_OK;
    const int64_t want = n + n / 2 + 64;
    void *more = mb_realloc_array(*array, (size_t)want, size);
    if (!more)
        return mb_fail(e, MB_NOMEM, "no memory for a batch of %" PRId64 " variants", n);
    *array = more;
    *capacity = want;
    return MB_OK;
}

/* Letters of the reference [low, high) into b->piece, with the REF of the record in them as the file spells it where it
 * differs, and the bases that change in upper case, so that no policy on lower case hides them. */
static int fetch_piece(variants_batch *b, dna_slice *slice, const bcf1_t *r, const dna_change *c, int64_t low,
                       int64_t high, mb_err *e) {
    const char *base = NULL, *ref = r->d.allele[0];
    int rc = dna_slice_get(slice, low, high - low, &base, e);
    b->piece.n = 0;
    if (!rc)
        rc = dna_text_add(&b->piece, base, high - low, e);
    if (rc)
        return rc;
    for (int64_t i = 0; ref[i]; i++) {
        const int64_t at = r->pos + i - low;
        if (at < 0 || at >= high - low)
            continue;
        if (toupper((unsigned char)b->piece.data[at]) != toupper((unsigned char)ref[i]))
            b->piece.data[at] = ref[i];
        if (r->pos + i >= c->start && r->pos + i < c->start + c->ref_n)
            b->piece.data[at] = (char)toupper((unsigned char)ref[i]);
    }
    return MB_OK;
}

/* Tokens of a window at the end of b->letters. low: first base of the piece. alt NULL: the window of the reference. */
static int add_window(variants_batch *b, const variants_setup *s, const window_place *p, const dna_change *c, int alt,
                      int64_t low, const bcf1_t *r, mb_err *e) {
    dna_counts counts = {0};
    char words[96];
    int rc = dna_text_reserve(&b->letters, b->letters.n + p->length, e);
    if (rc)
        return rc;
    char *to = b->letters.data + b->letters.n;
    for (int64_t i = 0; i < p->length; i++) {
        const int64_t at = p->from + i, behind = at - c->start - c->alt_n;
        if (!alt || at < c->start)
            to[i] = b->piece.data[at - low];
        else
            to[i] = behind < 0 ? (char)toupper((unsigned char)c->alt[at - c->start])
                               : b->piece.data[c->start + c->ref_n + behind - low];
    }
    const int64_t bad = dna_tokenize(s->effect.alphabet, (uint8_t *)to, p->length, &counts);
    if (bad >= 0)
        return mb_fail(e, MB_FORMAT, "%s: %s near base %" PRId64 " of the contig of a record at %" PRId64,
                       dna_genome_contigs(s->genome).file, dna_bad_letter_words((unsigned char)to[bad], words),
                       p->from + bad + 1, (int64_t)r->pos + 1);
    b->letters.n += p->length;
    return MB_OK;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int add_effect(variants_batch *b, const variants_setup *s, dna_slice *slice, const bcf1_t *r,
                      const dna_change *c, unsigned wanted, int plan_only, variants_totals *t, mb_err *e) {
    const int64_t contig = slice->length;
    const window_place ref = place_window(s->v->window, contig, c->start, c->ref_n);
    const window_place alt = place_window(s->v->window, contig - c->ref_n + c->alt_n, c->start, c->alt_n);
    dna_effect f = {.ref = {.length = ref.length, .at = ref.at, .n = c->ref_n},
                    .alt = {.length = alt.length, .at = alt.at, .n = c->alt_n},
                    .wanted = wanted};
    t->work += dna_effect_work(&s->effect, &f);
    if (plan_only)
        return MB_OK;
    /* The bases behind the change are wanted up to alt.from + alt.length in the changed contig. */
    const int64_t low = least(ref.from, alt.from), shift = c->ref_n - c->alt_n;
    const int64_t high = most(ref.from + ref.length, least(contig, alt.from + alt.length + shift));
    int rc = fetch_piece(b, slice, r, c, low, high, e);
    if (!rc)
        rc = grow((void **)&b->effect, &b->effect_capacity, b->n_effect + 1, sizeof *b->effect, e);
    if (!rc)
        rc = add_window(b, s, &ref, c, 0, low, r, e);
    if (!rc)
        rc = add_window(b, s, &alt, c, 1, low, r, e);
    if (!rc)
        b->effect[b->n_effect++] = f;
    return rc;
}

static int add_alt(variants_batch *b, const variants_setup *s, dna_slice *slice, const variants_entry *entry, int i,
                   int plan_only, variants_totals *t, mb_err *e) {
    const bcf1_t *r = entry->record;
    dna_change c = dna_allele_change(r->d.allele[0], r->d.allele[i], r->pos);
    const unsigned wanted = wanted_for(s, &c);
    int rc = grow((void **)&b->alt, &b->alt_capacity, b->n_alt + 1, sizeof *b->alt, e);
    if (rc)
        return rc;
    if (!c.reason)
        c.reason = entry->reason                               ? entry->reason
                   : most(c.ref_n, c.alt_n) > s->v->window / 2 ? DNA_REASON_LONGER_THAN_HALF
                                                               : (wanted ? DNA_REASON_NONE : DNA_REASON_NOT_FOR_INDELS);
    t->alts++;
    t->reason[c.reason]++;
    t->scored += !c.reason;
    t->scored_of[c.kind] += !c.reason;
    b->alt[b->n_alt++] = (variants_alt){.change = c, .effect = c.reason ? -1 : b->n_effect};
    return c.reason ? MB_OK : add_effect(b, s, slice, r, &c, wanted, plan_only, t, e);
}

static int add_entry(variants_batch *b, const variants_setup *s, variants_source *x, const variants_entry *entry,
                     int plan_only, variants_totals *t, mb_err *e) {
    dna_slice *slice = NULL;
    int rc = grow((void **)&b->entry, &b->capacity, b->n + 1, sizeof *b->entry, e);
    if (rc) {
        variants_source_give_back(x, entry->record);
        return rc;
    }
    b->entry[b->n] = *entry;
    b->entry[b->n++].alt = b->n_alt;
    t->records++;
    b->bytes += (int64_t)(entry->record->shared.l + entry->record->indiv.l);
    t->reason[DNA_REASON_NO_ALT] += entry->record->n_allele < 2;
    rc = variants_source_seek(x, entry->record, &slice, e);
    for (int i = 1; !rc && i < entry->record->n_allele; i++)
        rc = add_alt(b, s, slice, entry, i, plan_only, t, e);
    return rc;
}

int variants_batch_fill(variants_batch *b, const variants_setup *s, variants_source *x, int plan_only,
                        variants_totals *t, mb_err *e) {
    variants_entry entry;
    int more = 1;
    while (b->n < BATCH_RECORDS && b->letters.n < 2 * BATCH_BASES && b->bytes < BATCH_BYTES &&
           (more = variants_source_next(x, &entry, e)) > 0) {
        int rc = add_entry(b, s, x, &entry, plan_only, t, e);
        if (rc)
            return rc;
    }
    return more < 0 ? more : b->n > 0;
}

int variants_batch_run(variants_batch *b, const variants_setup *s, mb_err *e) {
    const uint8_t *token = (const uint8_t *)b->letters.data;
    for (int64_t i = 0; i < b->n_effect; i++) {
        dna_effect *f = &b->effect[i];
        f->ref.token = token;
        f->alt.token = token + f->ref.length;
        token += f->ref.length + f->alt.length;
    }
    return dna_effects_run(&s->effect, b->effect, b->n_effect, e);
}

void variants_batch_clear(variants_batch *b, variants_source *x) {
    for (int64_t i = 0; i < b->n; i++)
        variants_source_give_back(x, b->entry[i].record);
    b->n = b->n_alt = b->n_effect = b->bytes = 0;
    b->letters.n = 0;
}

void variants_batch_fini(variants_batch *b) {
    for (int64_t i = 0; i < b->n; i++)
        bcf_destroy(b->entry[i].record);
    mb_free(b->entry);
    mb_free(b->alt);
    mb_free(b->effect);
    dna_text_fini(&b->letters);
    dna_text_fini(&b->piece);
    *b = (variants_batch){0};
}
