/* All sequence that a model is trained on, in memory: one byte a base, the contigs of all files one after the other. */
#ifndef DNA_CORPUS_H
#define DNA_CORPUS_H
#include "genomics/alphabet.h"
#include "genomics/reader.h"

/* A byte of the corpus: the token's id in the low seven bits; DNA_SOFT when the letter was lower case (soft-masked). */
enum { DNA_SOFT = 0x80, DNA_TOKEN_BITS = 0x7f };

typedef struct dna_corpus_contig {
    int64_t start, length; /* in dna_corpus.base; length > 0 */
    int64_t name;          /* see dna_corpus_name */
    int file;
} dna_corpus_contig;

typedef struct dna_corpus_file {
    char *path; /* as in messages: "standard input" for "-" */
    int64_t first, contigs;
    dna_counts letters;
    int soft_masked; /* lower case means something here: there are bases of both cases */
} dna_corpus_file;

typedef struct dna_corpus {
    uint8_t *base; /* (n) */
    int64_t n, capacity;
    dna_corpus_contig *contig; /* (contigs), in the order of the files */
    int64_t contigs, contig_capacity;
    dna_corpus_file *file; /* (files) */
    int files;
    dna_text names;
    int64_t *by_name; /* (contigs): numbers of the contigs, ordered by name */
    dna_counts letters;
    int64_t soft;         /* bases with DNA_SOFT */
    uint32_t crc;         /* CRC-32 of names, lengths and bases: what a resumed run compares */
    uint8_t is_base[256]; /* by byte of the corpus: 1 for A C G T of either case, 0 for N and its like */
} dna_corpus;

typedef struct dna_corpus_options {
    char *const *inputs; /* paths, or "-" once; FASTA, FASTQ, also alignments, all that the reader opens */
    int n_inputs;
    dna_reader_options reader; /* without regions; duplicates are told within one file, files may share names */
    int64_t memory;            /* bytes that the corpus may take; 0 = no limit */
} dna_corpus_options;

/* Reads everything, with a progress line, and says what was read and what memory it takes. A file without any
 * upper-case A C G T is not soft-masked, its case is dropped, and that is said once for the file. Refused: letters that
 * the policies refuse (with file, line, record and base), a corpus without any A C G T. On failure c is empty. */
int dna_corpus_load(dna_corpus *c, const dna_corpus_options *o, const dna_alphabet *a, mb_err *e) MB_MUST_USE;
void dna_corpus_fini(dna_corpus *c);

const char *dna_corpus_name(const dna_corpus *c, int64_t contig);
/* Number of the contig; -1 when there is none. *count, unless NULL: how many bear this name. */
int64_t dna_corpus_find(const dna_corpus *c, const char *name, int64_t *count);
/* Heap that the corpus takes. */
int64_t dna_corpus_bytes(const dna_corpus *c);
#endif
