/* Sequences with labels, whole in memory: what fine-tuning trains on and evaluation measures against.
 *
 * Inputs, told apart by content (BED by its name), any of them gzip or BGZF:
 *   table   CSV or TSV with a header line, quotes as RFC 4180 has them; one row is one example
 *   FASTA   the label in the header, or one file per class, written PATH=LABEL
 *   BED     regions of a genome (indexed FASTA), the label in column 4 or 5, or one file per class, PATH=LABEL
 * Tasks:
 *   class       one of n_labels classes: names in order (numbers by value when all are), example.label the index
 *   multi       any of n_labels labels: several columns of 0 and 1, or one column "a;b" (empty: none of them)
 *   regression  n_labels numbers, one from each label column
 *   bases       one character for each base, in a column as long as the sequence; classes are the characters
 * What was guessed (columns, task) and what was passed over stands in `said`, one sentence a line, for people to read.
 * Wrong input is MB_FORMAT or MB_RANGE with file:line:column, what was found and what was expected. */
#ifndef DNA_LABELLED_H
#define DNA_LABELLED_H
#include "genomics/alphabet.h"
#include "genomics/record.h"

typedef enum dna_task { DNA_TASK_AUTO, DNA_TASK_CLASS, DNA_TASK_MULTI, DNA_TASK_REGRESSION, DNA_TASK_BASES } dna_task;
#define DNA_TASK_CHOICES "auto|class|multi|regression|bases"
typedef enum dna_lengths { DNA_LENGTHS_ERROR, DNA_LENGTHS_SKIP, DNA_LENGTHS_CENTRE } dna_lengths;
#define DNA_LENGTHS_CHOICES "error|skip|centre" /* centre: longer ones keep their middle, shorter ones are an error */
typedef enum dna_no_label { DNA_NO_LABEL_ERROR, DNA_NO_LABEL_SKIP } dna_no_label;
#define DNA_NO_LABEL_CHOICES "error|skip"

enum { DNA_UNLABELLED = 255 }; /* a base whose character is '.': not trained on, not scored */

typedef struct dna_example {
    const char *name;     /* "" where the input has none */
    const uint8_t *token; /* (length) */
    const uint8_t *base;  /* bases: (length) index or DNA_UNLABELLED; else NULL */
    const double *value;  /* multi, regression: (n_labels); else NULL */
    int64_t length;       /* at least 1 */
    int label;            /* class: the index; else -1 */
    int part;             /* index into part_name; -1 when the input says nothing of parts */
    int file;             /* index into file */
    int64_t line;         /* of the row, header or region, from 1 */
} dna_example;

typedef struct dna_labelled {
    int task;        /* dna_task, never auto unless read without labels */
    int n_labels;    /* classes, labels, columns or characters; 0 without labels */
    char **label;    /* (n_labels) names */
    dna_example *at; /* (n), in the order of the inputs */
    int64_t n;
    int64_t n_bases;  /* sum of the lengths */
    char **part_name; /* (n_parts), in order of appearance */
    int n_parts;
    char **file; /* (n_files) */
    int n_files;
    dna_counts letters;
    int64_t skipped_length, skipped_label, trimmed;
    dna_text said;
    struct dna_labelled_pools *pools; /* what the pointers above point into */
} dna_labelled;

typedef struct dna_labelled_options {
    int task;           /* dna_task */
    int lengths;        /* dna_lengths */
    int no_label;       /* dna_no_label: empty, and for numbers also NA, NaN and '.' */
    int without_labels; /* labels are neither wanted nor read */
    int n_known;
    const char *sequence; /* table: column, by name or number from 1; NULL: seq, sequence or dna */
    const char *label;    /* table: column or columns "a,b"; BED: "4" or "5"; NULL: label, labels, class, target or y */
    const char *split;    /* table: column that names the part; NULL: split, when there is one */
    const char *name;     /* table: column; NULL: name or id, when there is one */
    const char *header;   /* FASTA: "KEY=" (up to a blank, | or ;), "|" or " " (what follows the last); NULL: guessed */
    const char *genome;   /* FASTA that BED files refer to */
    const char *const *labels; /* (n_known) names of a trained model in its order, others refused; NULL: as found */
    int64_t min_length, max_length; /* 0: no limit */
} dna_labelled_options;

/* One list of inputs. part: the name of the part that they are ("train"), NULL when a column says, or nobody. */
typedef struct dna_labelled_files {
    const char *part;
    char *const *inputs;
    int n;
} dna_labelled_files;

/* Labels of all lists are numbered together. Nothing is borrowed after the call. */
int dna_labelled_read(dna_labelled *d, const dna_labelled_files *files, int n_files, const dna_labelled_options *o,
                      const dna_alphabet *a, mb_err *e) MB_MUST_USE;
void dna_labelled_fini(dna_labelled *d); /* zeroed is fine */
/* "x.csv:12" into out. */
char *dna_example_place(const dna_labelled *d, const dna_example *x, char *out, size_t size);
const char *dna_task_name(int task);
#endif
