/* FASTA and FASTQ as a stream, plain, gzip or BGZF, with one record in memory at a time. */
#ifndef DNA_FASTA_H
#define DNA_FASTA_H
#include "genomics/record.h"

struct hFILE;
typedef struct dna_fasta dna_fasta;

/* Takes over in, in every case. path is for messages and is kept. */
int dna_fasta_open(dna_fasta **out, struct hFILE *in, const char *path, mb_err *e) MB_MUST_USE;
/* 1: a record; 0: the end; negative: an error. A file without any record is an error. */
int dna_fasta_next(dna_fasta *f, dna_record *r, mb_err *e) MB_MUST_USE;
void dna_fasta_close(dna_fasta *f); /* NULL is fine */
/* Headers without a name are taken too: of "> 6400" the name is the first word behind the blanks, "" when there is
 * none. */
void dna_fasta_take_unnamed(dna_fasta *f);
int dna_fasta_is_fastq(const dna_fasta *f); /* known after the first record */
#endif
