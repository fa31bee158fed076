/* Reads of SAM, BAM and CRAM as records. */
#ifndef DNA_ALIGNMENT_H
#define DNA_ALIGNMENT_H
#include "genomics/record.h"
#include "genomics/regions.h"

struct hFILE;
struct hts_itr_t;
struct hts_idx_t;
struct sam_hdr_t;
typedef struct dna_alignment dna_alignment;

typedef struct dna_alignment_options {
    const char *reference; /* FASTA for CRAM; NULL = as the file and REF_PATH say, without the network */
    int min_mapq;
    int exclude_flags, include_flags; /* a read with any of the first, or without all of the second, is passed over */
    int as_stored; /* 0: reads on the reverse strand are turned back to the direction they were sequenced in */
} dna_alignment_options;

/* Takes over in, in every case. regions may be NULL; else they are resolved here, an index is needed, and each read
 * that overlaps any of them comes once. */
int dna_alignment_open(dna_alignment **out, struct hFILE *in, const char *path, const dna_alignment_options *o,
                       dna_regions *regions, mb_err *e) MB_MUST_USE;
/* 1: a record; 0: the end; negative: an error. */
int dna_alignment_next(dna_alignment *a, dna_record *r, mb_err *e) MB_MUST_USE;
int64_t dna_alignment_passed_over(const dna_alignment *a); /* by flags and mapping quality */
void dna_alignment_close(dna_alignment *a);

/* For others who read alignments. The contigs of a header, to resolve regions by; and an iterator over the reads that
 * overlap any of the resolved regions, each once, with a warning when the index is older than its file. */
dna_contigs dna_alignment_contigs(struct sam_hdr_t *header, const char *path);
int dna_alignment_find(struct hts_itr_t **out, const struct hts_idx_t *index, struct sam_hdr_t *header,
                       const char *path, const dna_regions *regions, mb_err *e) MB_MUST_USE;
#endif
