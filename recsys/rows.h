/* Rows of fields: CSV as RFC 4180 (quotes are doubled within quoted fields, which may hold line ends), TSV, RecBole's
 * atomic files (tabs, a header of name:type, no quotes) and MovieLens' `::`. Internal to the loader. */
#ifndef REC_ROWS_H
#define REC_ROWS_H
#include "recsys/load.h"
#include "recsys/text.h"

typedef struct rec_span {
    const char *at;
    size_t n;
} rec_span;

typedef struct rec_rows {
    rec_text *t;
    rec_format format; /* REC_FORMAT_CSV, TSV, INTER or MOVIELENS */
    char delimiter;
    rec_span *field; /* of the current row, valid until the next */
    int n;
    const char *wrong; /* what is malformed about the current row, or NULL */
} rec_rows;

int rec_rows_open(rec_rows *r, rec_text *t, rec_format format, char delimiter, mb_err *e) MB_MUST_USE;
void rec_rows_close(rec_rows *r);
/* Empty lines are passed over. *more: 0 after the last row. */
int rec_rows_next(rec_rows *r, int *more, mb_err *e) MB_MUST_USE;
/* The first row of a file with names of columns; name:type of atomic files becomes the name. */
int rec_rows_header(rec_rows *r, mb_err *e) MB_MUST_USE;
/* Whether a line is the header of an atomic file. */
int rec_rows_is_atomic(rec_span line);
#endif
