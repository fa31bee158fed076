/* Records of a VCF as `dna-mamba variants` wants them. REF is checked where an ALT can be scored. A record that was
 * moved to the left by normalisation may belong before others that were read earlier: records wait until the file is
 * REORDER bases further, as in vt normalize. Refuses, unless told to go on, contigs that the reference does not have
 * and REFs that it has otherwise. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "genomics/variants.h"

enum { REORDER = 10000, MAX_HELD = 1 << 16, SHOWN = 24 };

struct variants_source {
    const variants_setup *s;
    dna_vcf *vcf;
    dna_slice slice;
    dna_normalizer normalizer;
    variants_entry *held; /* (n_held), in the order in which they go out, from `first` on */
    int64_t first, n_held, held_capacity;
    bcf1_t **spare;
    int64_t n_spare, spare_capacity;
    int32_t newest_contig; /* of the record read last, */
    int64_t newest_pos;    /* where it stood in the file */
    int at_end;
    variants_source_counts counts;
    char place[512];
};

int variants_source_open(variants_source **out, const variants_setup *s, const char *path, mb_err *e) {
    variants_source *x = mb_calloc(1, sizeof *x);
    *out = NULL;
    if (!x)
        return mb_fail(e, MB_NOMEM, "%s: no memory to read it", path);
    x->s = s;
    x->slice.genome = s->genome;
    int rc = dna_vcf_open(&x->vcf, path, e);
    if (rc)
        variants_source_close(x);
    else
        *out = x;
    return rc;
}

void variants_source_close(variants_source *x) {
    if (!x)
        return;
    for (int64_t i = x->first; i < x->n_held; i++)
        bcf_destroy(x->held[i].record);
    for (int64_t i = 0; i < x->n_spare; i++)
        bcf_destroy(x->spare[i]);
    dna_normalizer_fini(&x->normalizer);
    dna_slice_fini(&x->slice);
    dna_vcf_close(x->vcf);
    mb_free(x->held);
    mb_free(x->spare);
    mb_free(x);
}

dna_vcf *variants_source_vcf(variants_source *x) {
    return x->vcf;
}

variants_source_counts variants_source_count(const variants_source *x) {
    return x->counts;
}

void variants_source_give_back(variants_source *x, bcf1_t *record) {
    if (x->n_spare == x->spare_capacity) {
        const int64_t n = x->spare_capacity ? 2 * x->spare_capacity : 1024;
        bcf1_t **more = mb_realloc_array(x->spare, (size_t)n, sizeof *more);
        if (!more) { /* keeping it was only to save time */
            bcf_destroy(record);
            return;
        }
        x->spare = more;
        x->spare_capacity = n;
    }
    x->spare[x->n_spare++] = record;
}

int variants_source_seek(variants_source *x, const bcf1_t *record, dna_slice **slice, mb_err *e) {
    *slice = &x->slice;
    return dna_slice_contig(&x->slice, dna_contig_map_find(&x->s->map, dna_vcf_contig(x->vcf, record)), e);
}

static const char *place(variants_source *x, const bcf1_t *record) {
    return dna_vcf_place(x->vcf, record, x->place, sizeof x->place);
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static int has_sequence(const bcf1_t *r) {
    for (int i = 1; i < r->n_allele; i++)
        if (dna_allele_change(r->d.allele[0], r->d.allele[i], r->pos).kind != DNA_ALLELE_OTHER)
            return 1;
    return 0;
}

static int missing_contig(variants_source *x, variants_entry *entry, mb_err *e) {
    const char *name = dna_vcf_contig(x->vcf, entry->record), *mapped = dna_contig_map_find(&x->s->map, name);
    if (x->s->v->missing_contig == VARIANTS_CONTIG_SKIP) {
        entry->reason = DNA_REASON_NO_CONTIG;
        x->counts.missing++;
        return MB_OK;
    }
    const dna_contigs all = dna_genome_contigs(x->s->genome);
    const char *alias = dna_contigs_alias(&all, mapped);
    if (alias && mapped == name)
        return mb_fail(e, MB_RANGE,
                       "%s: contig '%.100s' is not in %s, which calls it '%.100s': give --contig-map FILE with a line "
                       "'%.100s %.100s' (and one for each other contig)",
                       place(x, entry->record), name, all.file, alias, name, alias);
    int rc = dna_contigs_fail(&all, place(x, entry->record), mapped, e);
    return mapped == name ? rc : mb_err_context(e, "%s", x->s->v->contig_map);
}

static int mismatch(variants_source *x, variants_entry *entry, dna_reason reason, const char *have, int64_t n,
                    mb_err *e) {
    const bcf1_t *r = entry->record;
    const char *file = dna_genome_contigs(x->s->genome).file;
    x->counts.mismatches++;
    if (x->s->v->ref_mismatch == VARIANTS_MISMATCH_WARN && reason == DNA_REASON_REF_MISMATCH) {
        entry->mismatch = 1;
        return MB_OK;
    }
    if (x->s->v->ref_mismatch != VARIANTS_MISMATCH_ERROR) {
        entry->reason = reason;
        return MB_OK;
    }
    if (reason == DNA_REASON_OUTSIDE_CONTIG)
        return mb_fail(e, MB_RANGE,
                       "%s: REF, of %" PRId64 " bases, reaches outside the contig, which has %" PRId64
                       " bases in %s: is this the right reference? (--ref-mismatch skip passes over such records)",
                       place(x, r), (int64_t)strlen(r->d.allele[0]), x->slice.length, file);
    return mb_fail(e, MB_FORMAT,
                   "%s: REF is '%.*s%s' but %s has '%.*s%s' there: is this the right reference? (--ref-mismatch skip "
                   "passes over such records)",
                   place(x, r), SHOWN, r->d.allele[0], n > SHOWN ? "..." : "", file, (int)(n < SHOWN ? n : SHOWN), have,
                   n > SHOWN ? "..." : "");
}

static int check_reference(variants_source *x, variants_entry *entry, mb_err *e) {
    const bcf1_t *r = entry->record;
    const char *ref = r->d.allele[0], *have = NULL;
    const int64_t n = (int64_t)strlen(ref);
    dna_slice *slice;
    int rc = variants_source_seek(x, r, &slice, e);
    if (rc)
        return rc;
    if (slice->length < 0)
        return missing_contig(x, entry, e);
    if (r->pos < 0 || n > slice->length || r->pos > slice->length - n)
        return mismatch(x, entry, DNA_REASON_OUTSIDE_CONTIG, NULL, 0, e);
    if ((rc = dna_slice_get(slice, r->pos, n, &have, e)))
        return rc;
    for (int64_t i = 0; i < n; i++)
        if (toupper((unsigned char)ref[i]) != toupper((unsigned char)have[i]))
            return mismatch(x, entry, DNA_REASON_REF_MISMATCH, have, n, e);
    return MB_OK;
}

/* ---- normalisation ----------------------------------------------------------------------------------------------- */

static int base_at(void *user, int64_t pos, mb_err *e) {
    const char *base = NULL;
    int rc = dna_slice_get(user, pos, 1, &base, e);
    return rc ? rc : (unsigned char)*base;
}

/* The spelling that the file had, as vt writes it: contig:pos:REF/ALT/ALT. */
static int note_old(variants_source *x, bcf1_t *r, mb_err *e) {
    dna_text t = {0};
    char head[160];
    snprintf(head, sizeof head, "%.100s:%" PRId64 ":", dna_vcf_contig(x->vcf, r), (int64_t)r->pos + 1);
    for (char *c = head; *c; c++)
        if (strchr(";=, ", *c))
            *c = '_';
    int rc = dna_text_set(&t, head, e);
    for (int i = 0; !rc && i < r->n_allele; i++) {
        rc = i ? dna_text_add(&t, "/", 1, e) : MB_OK;
        if (!rc)
            rc = dna_text_add(&t, r->d.allele[i], (int64_t)strlen(r->d.allele[i]), e);
    }
    if (!rc && bcf_update_info_string(dna_vcf_header(x->vcf), r, "OLD_VARIANT", t.data))
        rc = mb_fail(e, MB_FORMAT, "%s: OLD_VARIANT cannot be added", place(x, r));
    dna_text_fini(&t);
    return rc;
}

static int normalize(variants_source *x, bcf1_t *r, mb_err *e) {
    int64_t pos = r->pos;
    const int changed = dna_normalize(&x->normalizer, r->d.allele, r->n_allele, &pos, base_at, &x->slice, e);
    if (changed <= 0)
        return changed;
    x->counts.normalized++;
    int rc = note_old(x, r, e);
    const char **allele = rc ? NULL : mb_calloc((size_t)x->normalizer.n, sizeof *allele);
    if (!rc && !allele)
        rc = mb_fail(e, MB_NOMEM, "no memory for %d alleles", x->normalizer.n);
    for (int i = 0; !rc && i < x->normalizer.n; i++)
        allele[i] = x->normalizer.allele[i].data;
    if (!rc && (bcf_update_alleles(dna_vcf_header(x->vcf), r, allele, x->normalizer.n) || bcf_unpack(r, BCF_UN_STR)))
        rc = mb_fail(e, MB_FORMAT, "%s: its alleles cannot be changed", place(x, r));
    mb_free(allele);
    r->pos = pos;
    return rc;
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

static int hold(variants_source *x, const variants_entry *entry, mb_err *e) {
    if (x->n_held == x->held_capacity && x->first > x->held_capacity / 2) {
        memmove(x->held, x->held + x->first, (size_t)(x->n_held - x->first) * sizeof *x->held);
        x->n_held -= x->first;
        x->first = 0;
    }
    if (x->n_held == x->held_capacity) {
        const int64_t n = x->held_capacity ? 2 * x->held_capacity : 64;
        variants_entry *more = mb_realloc_array(x->held, (size_t)n, sizeof *more);
        if (!more) {
            variants_source_give_back(x, entry->record);
            return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " records", n);
        }
        x->held = more;
        x->held_capacity = n;
    }
    int64_t at = x->n_held++;
    for (; at > x->first && x->s->v->normalize; at--) {
        const bcf1_t *before = x->held[at - 1].record;
        if (before->rid != entry->record->rid || before->pos <= entry->record->pos)
            break;
        x->held[at] = x->held[at - 1];
    }
    x->held[at] = *entry;
    return MB_OK;
}

static int is_ready(const variants_source *x) {
    const int64_t n = x->n_held - x->first;
    if (n == 0)
        return 0;
    const bcf1_t *oldest = x->held[x->first].record;
    return x->at_end || !x->s->v->normalize || n >= MAX_HELD || oldest->rid != x->newest_contig ||
           x->newest_pos - oldest->pos > REORDER;
}

static int read_one(variants_source *x, mb_err *e) {
    variants_entry entry = {.record = x->n_spare ? x->spare[--x->n_spare] : bcf_init()};
    if (!entry.record)
        return mb_fail(e, MB_NOMEM, "no memory for a record");
    int rc = dna_vcf_next(x->vcf, entry.record, e);
    if (rc <= 0) {
        x->at_end = 1;
        variants_source_give_back(x, entry.record);
        return rc;
    }
    x->counts.records++;
    x->newest_contig = entry.record->rid;
    x->newest_pos = entry.record->pos;
    rc = x->s->format == VARIANTS_BCF && entry.record->errcode
             ? mb_fail(e, MB_FORMAT,
                       "%s: uses a contig or a tag that the header does not declare, which BCF cannot hold; write "
                       "VCF, or complete the header",
                       place(x, entry.record))
             : MB_OK;
    if (!rc && has_sequence(entry.record)) {
        rc = check_reference(x, &entry, e);
        if (!rc && x->s->v->normalize && !entry.reason && !entry.mismatch)
            rc = normalize(x, entry.record, e);
    }
    if (rc) {
        variants_source_give_back(x, entry.record);
        return rc;
    }
    return hold(x, &entry, e);
}

int variants_source_next(variants_source *x, variants_entry *entry, mb_err *e) {
    while (!is_ready(x)) {
        if (x->at_end)
            return 0;
        int rc = read_one(x, e);
        if (rc)
            return rc;
    }
    *entry = x->held[x->first++];
    if (x->first == x->n_held)
        x->first = x->n_held = 0;
    return 1;
}
