/* Rows of a CSV or TSV file as text, with the place of each field, plain, gzip or BGZF. */
#ifndef DNA_TABLE_H
#define DNA_TABLE_H
#include "genomics/record.h"

enum { DNA_TABLE_COLUMNS = 4096 }; /* more fields in a row are refused */

typedef struct dna_field {
    int64_t at;           /* in text */
    int64_t n;            /* bytes; a zero byte follows */
    int64_t line, column; /* of its first byte, from 1 (inside the quotes) */
} dna_field;

struct BGZF;
typedef struct dna_table {
    struct BGZF *in;
    char *path;
    unsigned char *buffer; /* [next, filled) not yet taken */
    int next, filled;
    int64_t line, column; /* of the next byte, from 1 */
    char separator;       /* 0 until the first row is read: a tab where that row holds one, else ',', else ';' */
    dna_text text;        /* of the row at hand, fields without quotes */
    dna_field *field;     /* (n) */
    int n, capacity;
} dna_table;

/* path "-" is standard input. */
int dna_table_open(dna_table *t, const char *path, mb_err *e) MB_MUST_USE;
/* The first byte that is not blank, left in place; 0 when there is none. Only before the first row. */
int dna_table_peek(dna_table *t, int *byte, mb_err *e) MB_MUST_USE;
/* 1: a row is at hand until the next call; 0: the end; negative: an error. Empty lines are passed over. */
int dna_table_next(dna_table *t, mb_err *e) MB_MUST_USE;
void dna_table_close(dna_table *t); /* zeroed is fine */
static inline const char *dna_table_text(const dna_table *t, int i) {
    return t->text.data + t->field[i].at;
}
#endif
