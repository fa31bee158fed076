/* One sequence as an input file holds it, with where it lies. */
#ifndef DNA_RECORD_H
#define DNA_RECORD_H
#include <stdint.h>
#include "core/error.h"

/* A growing run of bytes, always followed by a zero byte once something was put in. */
typedef struct dna_text {
    char *data; /* (n) */
    int64_t n, capacity;
} dna_text;

/* Room for n bytes in all (and the zero), what is there is kept. */
int dna_text_reserve(dna_text *t, int64_t n, mb_err *e) MB_MUST_USE;
int dna_text_add(dna_text *t, const char *data, int64_t n, mb_err *e) MB_MUST_USE;
int dna_text_set(dna_text *t, const char *string, mb_err *e) MB_MUST_USE;
void dna_text_fini(dna_text *t);

/* A whole number at *at, which moves behind it and behind the byte `end` that must follow. 0 when there is none, when
 * it is too large or when it begins with a blank. */
int dna_take_number(const char **at, int base, char end, int64_t *value);

typedef struct dna_record {
    dna_text name;      /* first word of the header, read name, or name of the region */
    dna_text comment;   /* the rest of the header */
    dna_text bases;     /* letters in reading direction */
    dna_text contig;    /* where it lies: the record itself for a plain FASTA; "" for an unplaced read */
    int64_t start, end; /* 0-based, half open, on contig; -1, -1 for an unplaced read */
    char strand;        /* '+', '-', or '.' unplaced */
    int linear;         /* base i of the record is base start+i of the contig ('-': end-1-i); 0 for reads */
    int64_t number;     /* in its file, from 1 */
    int64_t line;       /* of its header, from 1; 0 where files have no lines */
    const char *file;   /* borrowed from the reader */
} dna_record;

void dna_record_init(dna_record *r);
void dna_record_fini(dna_record *r);
/* "x.fa:12: record 3 'chr1'" into out. */
char *dna_record_place(const dna_record *r, char *out, size_t size);
#endif
