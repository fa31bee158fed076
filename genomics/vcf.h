/* VCF and BCF in and out, through htslib, with what it forgives made an error: lines with too few columns, files that
 * end early, outputs that are half written. */
#ifndef DNA_VCF_H
#define DNA_VCF_H
#include <htslib/vcf.h>
#include <stdint.h>
#include "core/error.h"

typedef struct dna_vcf dna_vcf;

/* path: VCF, plain, gzip or BGZF, or BCF; "-" is standard input. */
int dna_vcf_open(dna_vcf **out, const char *path, mb_err *e) MB_MUST_USE;
void dna_vcf_close(dna_vcf *v); /* NULL is fine */
/* Lives as long as v. May be added to before the first record is read. */
bcf_hdr_t *dna_vcf_header(dna_vcf *v);
/* 1: a record, with its alleles unpacked, at least one, none empty but ALTs; 0: the end; negative: an error. Tags and
 * contigs that the header does not declare are taken, and set the record's errcode. */
int dna_vcf_next(dna_vcf *v, bcf1_t *record, mb_err *e) MB_MUST_USE;
/* "x.vcf:12: 20:1234" (of the record last read) into out. */
char *dna_vcf_place(const dna_vcf *v, const bcf1_t *record, char *out, size_t size);
const char *dna_vcf_contig(const dna_vcf *v, const bcf1_t *record);

typedef enum dna_vcf_kind { DNA_VCF_TEXT, DNA_VCF_GZ, DNA_VCF_BCF } dna_vcf_kind;

typedef struct dna_vcf_out dna_vcf_out;

/* Writes the header. The header is borrowed until the end. */
int dna_vcf_out_open(dna_vcf_out **out, const char *path, int kind, bcf_hdr_t *header, mb_err *e) MB_MUST_USE;
int dna_vcf_out_write(dna_vcf_out *o, bcf1_t *record, mb_err *e) MB_MUST_USE;
/* Ends the file and, for compressed files with records in order, makes its index; all under temporary names. */
int dna_vcf_out_finish(dna_vcf_out *o, mb_err *e) MB_MUST_USE;
/* Puts file and index in place, and removes indexes of what stood there before; frees o in every case. */
int dna_vcf_out_commit(dna_vcf_out *o, mb_err *e) MB_MUST_USE;
void dna_vcf_out_abort(dna_vcf_out *o); /* NULL is fine */
/* After finish: "tbi", "csi", or NULL where there is none. */
const char *dna_vcf_out_index(const dna_vcf_out *o);
int dna_vcf_out_is_sorted(const dna_vcf_out *o);
#endif
