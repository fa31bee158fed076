/* One iterator over everything that holds sequences: FASTA, FASTQ, SAM, BAM, CRAM, regions of an indexed FASTA. */
#ifndef DNA_READER_H
#define DNA_READER_H
#include "genomics/alignment.h"
#include "genomics/record.h"

typedef enum dna_duplicates { DNA_DUPLICATES_ERROR, DNA_DUPLICATES_NUMBER, DNA_DUPLICATES_KEEP } dna_duplicates;
#define DNA_DUPLICATES_CHOICES "error|number|keep"
typedef enum dna_empty { DNA_EMPTY_ERROR, DNA_EMPTY_SKIP } dna_empty;
#define DNA_EMPTY_CHOICES "error|skip"

typedef struct dna_reader_options {
    const char *regions; /* BED file or region text; NULL = everything */
    dna_alignment_options alignment;
    int duplicates; /* dna_duplicates: a FASTA name that came before */
    int empty;      /* dna_empty: records without bases */
} dna_reader_options;

typedef struct dna_reader dna_reader;

/* inputs: paths, or "-" for standard input; the format is told by content. With regions there is one input. inputs and
 * options are borrowed until close. */
int dna_reader_open(dna_reader **out, char *const *inputs, int n, const dna_reader_options *o, mb_err *e) MB_MUST_USE;
/* 1: a record; 0: the end of the last input; negative: an error. */
int dna_reader_next(dna_reader *r, dna_record *record, mb_err *e) MB_MUST_USE;
void dna_reader_close(dna_reader *r);

typedef struct dna_reader_counts {
    int64_t records, empty_skipped, renamed, passed_over;
} dna_reader_counts;
dna_reader_counts dna_reader_count(const dna_reader *r);
/* Whether path can be an input at all: "-", or something that is there, is no folder and no network address. expected:
 * "a VCF file", for the message. */
int dna_path_check(const char *path, const char *expected, mb_err *e) MB_MUST_USE;
/* The same of what this reader opens. */
int dna_reader_check(const char *path, mb_err *e) MB_MUST_USE;
/* 1 when every input is a file that can be read a second time. */
int dna_reader_can_rewind(char *const *inputs, int n);
#endif
