/* Between the files of labelled: examples are gathered with their labels as text, and the labels are understood when
 * all of them are known. */
#ifndef DNA_LABELLED_INTERNAL_H
#define DNA_LABELLED_INTERNAL_H
#include "genomics/labelled.h"

/* Growing memory in which places are offsets until the last example is in. */
struct dna_labelled_pools {
    dna_text token, name, label; /* label: n_columns zero-terminated strings an example */
    uint8_t *base;               /* bases: as long as token */
    double *value;               /* multi, regression: (n, n_labels) */
};

typedef struct dna_pending {
    int64_t token, name, label; /* offsets */
    int64_t whole, cut;         /* bases before trimming; of them dropped at the left */
} dna_pending;

typedef struct dna_builder {
    dna_labelled *d;
    const dna_labelled_options *o;
    const dna_alphabet *a;
    struct dna_labelled_pools *pool;
    dna_pending *pending; /* (d->n) */
    int64_t capacity;
    int32_t *column; /* (d->n, n_columns) where each label stands in its line, 0: unknown */
    int64_t columns_capacity;
    int n_columns;      /* label columns; 0 until the first input is open */
    char **column_name; /* (n_columns) NULL where the input has no names */
    int part;           /* of the list being read; -1: a column says */
} dna_builder;

/* One example as its input gives it. letters is used up: it becomes tokens. */
typedef struct dna_raw {
    const char *name;
    char *letters;
    int64_t n;
    const char *const *label; /* (n_columns) */
    const int32_t *column;    /* (n_columns) */
    const char *part;         /* NULL: that of the list */
    int64_t line, letters_column;
} dna_raw;

int dna_builder_add(dna_builder *b, const dna_raw *given, mb_err *e) MB_MUST_USE;
/* Declares the label columns of an input; they must agree with those of the inputs before it. names may be NULL. */
int dna_builder_columns(dna_builder *b, const char *const *names, int n, mb_err *e) MB_MUST_USE;
int dna_builder_part(dna_builder *b, const char *name, int *index, mb_err *e) MB_MUST_USE;
int dna_said(dna_labelled *d, mb_err *e, const char *format, ...) MB_PRINTF(3, 4);

struct dna_table;
/* Inputs: the file is d->file[d->n_files - 1]; given is the label of PATH=LABEL, or NULL. */
int dna_read_table(dna_builder *b, struct dna_table *t, mb_err *e) MB_MUST_USE;
int dna_read_fasta(dna_builder *b, const char *given, mb_err *e) MB_MUST_USE;
int dna_read_bed(dna_builder *b, const char *given, mb_err *e) MB_MUST_USE;

/* Understands the labels of all examples: task, names, indices, values. */
int dna_labels_resolve(dna_builder *b, mb_err *e) MB_MUST_USE;
const char *dna_pending_label(const dna_builder *b, int64_t i, int column);
#endif
