/* Which stretches of a corpus are trained on, which measure progress, and which are kept for the end. */
#ifndef DNA_SPLITS_H
#define DNA_SPLITS_H
#include "core/file.h"
#include "genomics/corpus.h"

typedef enum dna_split { DNA_SPLIT_TRAIN, DNA_SPLIT_VALID, DNA_SPLIT_TEST, DNA_SPLITS } dna_split;
extern const char *const dna_split_names[DNA_SPLITS]; /* "train", "valid", "test" */

typedef struct dna_stretch {
    int64_t contig, start, end; /* number in the corpus; 0-based, half open, on the contig */
} dna_stretch;

typedef struct dna_split_part {
    dna_stretch *at; /* (n), by contig and start; they neither overlap nor touch */
    int64_t n, capacity;
    int64_t bases;                    /* of at */
    int64_t left_out, left_out_bases; /* stretches shorter than `least` */
} dna_split_part;

typedef struct dna_splits {
    dna_split_part part[DNA_SPLITS];
    uint32_t crc; /* CRC-32 of all stretches: with the corpus's, what a resumed run compares */
} dna_splits;

typedef struct dna_splits_options {
    const char *bed;    /* column 4: train, valid or test; NULL: automatic */
    uint64_t seed;      /* from here on only for automatic splits: */
    int64_t block;      /* bases, > 0; published recipes have none, 50000 is ours */
    double valid, test; /* fractions of the blocks, >= 0, together < 1; 0.05 each is ours */
    int64_t least;      /* stretches shorter than this, the shortest window, are left out; > 0. For BEDs too */
    int valid_optional; /* 1: nothing to validate on is no error */
} dna_splits_options;

/* BED: every line must be named train, valid or test and lie in a contig whose name only one contig of the corpus has;
 * lines of different splits must not overlap; lines of one split are merged where they overlap or touch. What no line
 * covers is not used. Errors bear file and line.
 * Automatic: block k of a contig, bases [k*block, (k+1)*block), goes to a split by a hash of (seed, name of the contig,
 * k), so that a block stays where it is when files or contigs are added; neighbours of one split are merged.
 * Both: what is left out is said; no stretch at all in train or in valid is an error. On failure s is empty. */
int dna_splits_make(dna_splits *s, const dna_corpus *c, const dna_splits_options *o, mb_err *e) MB_MUST_USE;
void dna_splits_fini(dna_splits *s);
/* The same as a BED that dna_splits_make reads (where names are unique). */
int dna_splits_write(const dna_splits *s, const dna_corpus *c, mb_out *out, mb_err *e) MB_MUST_USE;
#endif
