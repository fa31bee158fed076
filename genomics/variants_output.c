/* What `dna-mamba variants` writes of a score: INFO fields of VCF and BCF, columns of TSV. Refuses a prefix whose
 * fields the header declares as something else. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "genomics/variants.h"

const char *const variants_field[DNA_EFFECTS] = {"LLR", "PLL", "L2", "COSINE"};

static const char *description(const variants_setup *s, int field) {
    if (field == DNA_EFFECT_LLR)
        return s->effect.causal
                   ? "log P(ALT window) - log P(REF window), by means per scored base times the scored bases "
                     "of REF; natural logarithm"
                   : "log p(ALT) - log p(REF) at the masked bases that differ; natural logarithm";
    if (field == DNA_EFFECT_PLL)
        return "Pseudo-log-likelihood of the ALT window minus that of the REF window, by means per scored base times the "
               "scored bases of REF; natural logarithm";
    return field == DNA_EFFECT_L2 ? "Euclidean distance of the mean hidden states of the REF and ALT windows"
                                  : "1 - cosine of the angle between the mean hidden states of the REF and ALT windows";
}

/* The field is there already, as what it must be (1), or not there (0). */
static int is_declared(const bcf_hdr_t *h, const char *id, int length, int type, mb_err *e) {
    const int n = bcf_hdr_id2int(h, BCF_DT_ID, id);
    if (n < 0 || !bcf_hdr_idinfo_exists(h, BCF_HL_INFO, n))
        return 0;
    if (bcf_hdr_id2type(h, BCF_HL_INFO, n) != (uint32_t)type ||
        bcf_hdr_id2length(h, BCF_HL_INFO, n) != (uint32_t)length)
        return mb_fail(e, MB_USAGE,
                       "the VCF declares INFO/%s as something else; give another --prefix, or remove that field first",
                       id);
    return 1;
}

static int declare(bcf_hdr_t *h, const char *id, int length, int type, const char *text, mb_err *e) {
    int rc = is_declared(h, id, length, type, e);
    if (rc)
        return rc < 0 ? rc : MB_OK;
    char *line = mb_asprintf("##INFO=<ID=%s,Number=%s,Type=%s,Description=\"%s\">", id, length == BCF_VL_A ? "A" : ".",
                             type == BCF_HT_REAL ? "Float" : "String", text);
    if (!line || bcf_hdr_append(h, line))
        rc = mb_fail(e, line ? MB_FORMAT : MB_NOMEM, "INFO/%s cannot be added to the header", id);
    mb_free(line);
    return rc;
}

static char *field_id(const variants_setup *s, const char *name) {
    return mb_asprintf("%s_%s", s->v->prefix, name);
}

static int declare_fields(const variants_setup *s, bcf_hdr_t *h, mb_err *e) {
    int rc = MB_OK;
    for (int k = 0; !rc && k < DNA_EFFECTS; k++) {
        if (!(s->fields >> k & 1U))
            continue;
        char *id = field_id(s, variants_field[k]);
        rc = id ? declare(h, id, BCF_VL_A, BCF_HT_REAL, description(s, k), e) : MB_NOMEM;
        mb_free(id);
    }
    char *id = rc ? NULL : field_id(s, "REASON");
    if (!rc)
        rc = id ? declare(h, id, BCF_VL_VAR, BCF_HT_STR,
                          "Why an ALT has no score: one value for each ALT, . where it has one", e)
                : MB_NOMEM;
    mb_free(id);
    if (!rc && s->v->normalize)
        rc = declare(h, "OLD_VARIANT", BCF_VL_VAR, BCF_HT_STR, "Before normalisation: contig:pos:REF/ALT", e);
    return rc == MB_NOMEM ? mb_fail(e, rc, "no memory for the names of fields") : rc;
}

/* A line of its own, without what differs between runs that give the same bytes: threads, memory, dates. */
static int declare_run(const variants_setup *s, bcf_hdr_t *h, mb_err *e) {
    static const char *const scheme[] = {"masked", "causal"}, *const strand[] = {"forward", "both"};
    char *line =
        mb_asprintf("##dna-mamba_variants=version=%s;model=%s;reference=%s;score=%s;scheme=%s;window=%" PRId64
                    ";mask_stride=%" PRId64 ";span=%" PRId64 ";strand=%s;indels=%s;normalize=%s;prefix=%s",
                    mb_version(), s->v->model, s->v->reference, s->v->score, scheme[s->effect.causal], s->v->window,
                    s->effect.mask_stride, s->effect.span, strand[s->effect.both],
                    s->v->indels == VARIANTS_INDELS_PLL ? "pll" : "skip", s->v->normalize ? "yes" : "no", s->v->prefix);
    for (char *c = line; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '_';
    int rc = line && bcf_hdr_append(h, line) == 0
                 ? MB_OK
                 : mb_fail(e, line ? MB_FORMAT : MB_NOMEM, "the header cannot be added to");
    mb_free(line);
    return rc;
}

static int declare_contig(bcf_hdr_t *h, const char *name, int64_t length, mb_err *e) {
    if (strpbrk(name, "<>,\"'`(){}[]\\") || *name == '*' || *name == '=')
        return MB_OK; /* not a name that VCF allows */
    char *line = mb_asprintf("##contig=<ID=%s,length=%" PRId64 ">", name, length);
    int rc = line && bcf_hdr_append(h, line) == 0
                 ? MB_OK
                 : mb_fail(e, line ? MB_FORMAT : MB_NOMEM, "contig %.100s cannot be added to the header", name);
    mb_free(line);
    return rc;
}

static int declare_contigs(const variants_setup *s, bcf_hdr_t *h, mb_err *e) {
    const dna_contigs all = dna_genome_contigs(s->genome);
    const char *name;
    int rc = MB_OK;
    for (int64_t i = 0; !rc && (name = all.name(all.user, i)); i++) {
        int mapped = 0;
        for (int64_t k = 0; !rc && k < s->map.n; k++)
            if (strcmp(s->map.pair[k].to, name) == 0) {
                rc = declare_contig(h, s->map.pair[k].from, all.length(all.user, name), e);
                mapped = 1;
            }
        if (!rc && !mapped)
            rc = declare_contig(h, name, all.length(all.user, name), e);
    }
    return rc;
}

int variants_declare(const variants_setup *s, dna_vcf *vcf, mb_err *e) {
    bcf_hdr_t *h = dna_vcf_header(vcf);
    int rc = declare_fields(s, h, e);
    if (!rc)
        rc = declare_run(s, h, e);
    const int without = h->n[BCF_DT_CTG] == 0;
    if (!rc && without)
        rc = declare_contigs(s, h, e);
    if (!rc && bcf_hdr_sync(h))
        rc = mb_fail(e, MB_NOMEM, "no memory for the header");
    return rc ? rc : without;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* The k-th ALT of entry i. */
static const variants_alt *alt_of(const variants_batch *b, int64_t i, int k) {
    return &b->alt[b->entry[i].alt + k];
}

static float value_of(const variants_batch *b, const variants_alt *alt, int field) {
    return alt->effect < 0 ? NAN : b->effect[alt->effect].value[field];
}

static int set_values(const variants_setup *s, bcf_hdr_t *h, const variants_batch *b, int64_t i, float *value,
                      int field, mb_err *e) {
    bcf1_t *r = b->entry[i].record;
    int known = 0;
    for (int k = 0; k < r->n_allele - 1; k++) {
        value[k] = value_of(b, alt_of(b, i, k), field);
        if (isnan(value[k]))
            bcf_float_set_missing(value[k]);
        else
            known = 1;
    }
    char *id = field_id(s, variants_field[field]);
    int rc = !id ? mb_fail(e, MB_NOMEM, "no memory for the name of a field")
             : bcf_update_info_float(h, r, id, value, known ? r->n_allele - 1 : 0) == 0
                 ? MB_OK
                 : mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": INFO/%s cannot be set", bcf_seqname_safe(h, r),
                           (int64_t)r->pos + 1, id);
    mb_free(id);
    return rc;
}

static int set_reasons(const variants_setup *s, bcf_hdr_t *h, const variants_batch *b, int64_t i, mb_err *e) {
    bcf1_t *r = b->entry[i].record;
    dna_text t = {0};
    int any = r->n_allele < 2, rc = any ? dna_text_set(&t, dna_reason_name[DNA_REASON_NO_ALT], e) : MB_OK;
    for (int k = 0; !rc && k < r->n_allele - 1; k++) {
        const dna_reason reason = alt_of(b, i, k)->change.reason;
        const char *word = reason ? dna_reason_name[reason] : ".";
        any |= reason != DNA_REASON_NONE;
        rc = k ? dna_text_add(&t, ",", 1, e) : MB_OK;
        if (!rc)
            rc = dna_text_add(&t, word, (int64_t)strlen(word), e);
    }
    char *id = rc ? NULL : field_id(s, "REASON");
    if (!rc && !id)
        rc = mb_fail(e, MB_NOMEM, "no memory for the name of a field");
    if (!rc && bcf_update_info(h, r, id, any ? t.data : NULL, any, BCF_HT_STR))
        rc = mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": INFO/%s cannot be set", bcf_seqname_safe(h, r), (int64_t)r->pos + 1,
                     id);
    mb_free(id);
    dna_text_fini(&t);
    return rc;
}

int variants_annotate(const variants_setup *s, bcf_hdr_t *h, const variants_batch *b, int64_t i, mb_err *e) {
    float *value = mb_malloc(b->entry[i].record->n_allele * sizeof *value);
    int rc = value ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for the scores of a record");
    for (int k = 0; !rc && k < DNA_EFFECTS; k++)
        if (s->fields >> k & 1U)
            rc = set_values(s, h, b, i, value, k, e);
    if (!rc)
        rc = set_reasons(s, h, b, i, e);
    mb_free(value);
    return rc;
}

int variants_tsv_head(const variants_setup *s, mb_out *out, mb_err *e) {
    int rc = mb_out_printf(out, e, "contig\tpos\tid\tref\talt\tkind");
    for (int k = 0; !rc && k < DNA_EFFECTS; k++)
        if (s->fields >> k & 1U)
            rc = mb_out_printf(out, e, "\t%s", variants_field[k]);
    return rc ? rc : mb_out_printf(out, e, "\treason\n");
}

int variants_tsv_lines(const variants_setup *s, const dna_vcf *vcf, const variants_batch *b, int64_t i, mb_out *out,
                       mb_err *e) {
    static const variants_alt none = {.change = {.kind = DNA_ALLELE_OTHER, .reason = DNA_REASON_NO_ALT}, .effect = -1};
    const bcf1_t *r = b->entry[i].record;
    const int lines = r->n_allele > 1 ? r->n_allele - 1 : 1;
    int rc = MB_OK;
    for (int k = 0; !rc && k < lines; k++) {
        const variants_alt *a = r->n_allele > 1 ? alt_of(b, i, k) : &none;
        rc = mb_out_printf(out, e, "%s\t%" PRId64 "\t%s\t%s\t%s\t%s", dna_vcf_contig(vcf, r), (int64_t)r->pos + 1,
                           r->d.id, r->d.allele[0], r->n_allele > 1 ? r->d.allele[k + 1] : ".",
                           dna_allele_kind_name[a->change.kind]);
        for (int field = 0; !rc && field < DNA_EFFECTS; field++) {
            const float value = value_of(b, a, field);
            if (s->fields >> field & 1U)
                rc = isnan(value) ? mb_out_printf(out, e, "\t.") : mb_out_printf(out, e, "\t%.6g", (double)value);
        }
        if (!rc)
            rc = mb_out_printf(out, e, "\t%s\n", a->change.reason ? dna_reason_name[a->change.reason] : ".");
    }
    return rc;
}
