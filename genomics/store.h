/* Rows of one batch while they are being computed: they arrive from many workers, in pieces of one layer and strand, in
 * any order, and are read back as whole rows in order. Held in memory when small, else in a scratch file without a
 * name. */
#ifndef DNA_STORE_H
#define DNA_STORE_H
#include <stdint.h>
#include "core/error.h"

typedef struct dna_store dna_store;

/* rows of columns floats. memory: bytes it may hold; beyond that the rows go to a file in scratch (NULL = $TMPDIR or
 * /tmp). */
int dna_store_create(dna_store **out, int64_t rows, int64_t columns, int64_t memory, const char *scratch,
                     mb_err *e) MB_MUST_USE;
void dna_store_destroy(dna_store *s);
/* values (n,width) become columns [column, column+width) of rows [row, row+n). Safe from many workers for distinct
 * places. */
int dna_store_put(dna_store *s, int64_t row, int64_t n, int64_t column, int64_t width, const float *values,
                  mb_err *e) MB_MUST_USE;
/* Whole rows [row, row+n) into out (n, columns). */
int dna_store_get(dna_store *s, int64_t row, int64_t n, float *out, mb_err *e) MB_MUST_USE;
#endif
