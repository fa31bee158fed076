/* Alleles of VCF records: what an ALT is, stripped of the bases that it shares with REF, and the normal form in which
 * one variant has one spelling. */
#ifndef DNA_ALLELE_H
#define DNA_ALLELE_H
#include <stdint.h>
#include "core/error.h"
#include "genomics/record.h"

typedef enum dna_allele_kind {
    DNA_ALLELE_SNV,
    DNA_ALLELE_MNV, /* as many bases as REF, two or more of them others */
    DNA_ALLELE_INSERTION,
    DNA_ALLELE_DELETION,
    DNA_ALLELE_COMPLEX, /* bases replaced by another number of bases */
    DNA_ALLELE_OTHER    /* no sequence: see the reason */
} dna_allele_kind;
enum { DNA_ALLELE_KINDS = DNA_ALLELE_OTHER + 1 };

/* Why an ALT has no score. */
typedef enum dna_reason {
    DNA_REASON_NONE,
    DNA_REASON_NO_ALT,
    DNA_REASON_SYMBOLIC,         /* <DEL> and its like */
    DNA_REASON_STAR,             /* deleted by another record */
    DNA_REASON_BREAKEND,         /* G]17:198982] */
    DNA_REASON_NOT_ACGT,         /* a letter that changes is none of A C G T */
    DNA_REASON_SAME_AS_REF,      /* ALT is REF */
    DNA_REASON_REF_MISMATCH,     /* the reference has other bases there */
    DNA_REASON_OUTSIDE_CONTIG,   /* the reference ends before REF does */
    DNA_REASON_NO_CONTIG,        /* the reference has no such contig */
    DNA_REASON_LONGER_THAN_HALF, /* of the window */
    DNA_REASON_NOT_FOR_INDELS    /* the score that was asked for */
} dna_reason;
enum { DNA_REASONS = DNA_REASON_NOT_FOR_INDELS + 1 };

extern const char *const dna_allele_kind_name[DNA_ALLELE_KINDS];
extern const char *const dna_reason_name[DNA_REASONS]; /* as INFO fields have them; "" for NONE */

typedef struct dna_change {
    dna_allele_kind kind;
    dna_reason reason; /* NONE unless kind is OTHER */
    int64_t start;     /* 0-based on the contig: of the first base replaced, or that an insertion stands before */
    int64_t ref_n;     /* bases of the reference that are replaced, 0 for an insertion */
    int64_t alt_n;     /* bases that replace them, 0 for a deletion */
    const char *alt;   /* (alt_n), inside the ALT given; any case */
} dna_change;

/* REF stands at pos, from 0. Shared bases are stripped from the right end first, then from the left. */
dna_change dna_allele_change(const char *ref, const char *alt, int64_t pos);

/* Base of the contig at pos, any case; a negative status on failure. */
typedef int (*dna_base_at)(void *user, int64_t pos, mb_err *e);

typedef struct dna_normalizer {
    dna_text *allele; /* (n): results, zero-terminated */
    int n, capacity;
} dna_normalizer;

/* Brings REF (allele[0]) and its ALTs at *pos to the form of vt normalize (Tan, Abecasis, Kang 2015): as far left and
 * as short as they go. 1: changed, results in n->allele and *pos. 0: it was normal already, or has alleles other than
 * A C G T N strings, or no ALT that differs from REF. REF must be what the contig has there. */
int dna_normalize(dna_normalizer *n, char *const *allele, int n_allele, int64_t *pos, dna_base_at base, void *user,
                  mb_err *e) MB_MUST_USE;
void dna_normalizer_fini(dna_normalizer *n);
#endif
