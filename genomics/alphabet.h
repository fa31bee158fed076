/* Letters to token ids, the two ways that published DNA models count them, and what to do with the letters that they do
 * not know. One base is one token; no token is put before, after or between. */
#ifndef DNA_ALPHABET_H
#define DNA_ALPHABET_H
#include <stdint.h>
#include "core/config.h"
#include "core/error.h"

typedef enum dna_alphabet_kind { DNA_ALPHABET_AUTO, DNA_ALPHABET_CADUCEUS, DNA_ALPHABET_PLANTCAD } dna_alphabet_kind;
#define DNA_ALPHABET_CHOICES "auto|caduceus|plantcad"
typedef enum dna_n_policy { DNA_N_AUTO, DNA_N_PAD, DNA_N_N } dna_n_policy;
#define DNA_N_CHOICES "auto|pad|n"
typedef enum dna_case_policy { DNA_CASE_FOLD, DNA_CASE_MASK } dna_case_policy;
#define DNA_CASE_CHOICES "fold|mask"
typedef enum dna_letter_policy { DNA_LETTER_N, DNA_LETTER_ERROR } dna_letter_policy;
#define DNA_LETTER_CHOICES "n|error"

typedef struct dna_policies {
    int alphabet;  /* dna_alphabet_kind */
    int n_as;      /* dna_n_policy */
    int lower;     /* dna_case_policy: mask = a soft-masked base counts as N */
    int ambiguous; /* dna_letter_policy for RYSWKMBDHV and X */
    int gaps;      /* dna_letter_policy for - . * */
} dna_policies;

/* What a letter is, besides its token: the high bits of dna_alphabet.class. */
enum {
    DNA_IS_BASE = 1,
    DNA_IS_N = 2,
    DNA_IS_AMBIGUOUS = 4,
    DNA_IS_LOWER = 8,
    DNA_IS_GAP = 16,
    DNA_IS_U = 32,
    DNA_IS_BAD = 64
};

typedef struct dna_alphabet {
    const char *name;
    uint8_t token[256];      /* letter -> id */
    uint8_t class[256];      /* letter -> DNA_IS_* */
    uint8_t complement[256]; /* id -> id of the complementary base; others map to themselves */
    int base[4];             /* ids of A C G T */
    int n_token;             /* what N and its like become */
    int mask_token;
} dna_alphabet;

/* Counts over a stretch of sequence. n: positions that became n_token, whatever the reason. */
typedef struct dna_counts {
    int64_t bases, n, ambiguous, lower, gaps, u;
} dna_counts;

/* Chooses by the model's vocabulary and complement map unless the policies name one; refuses models of other alphabets.
 */
int dna_alphabet_init(dna_alphabet *a, const mb_config *c, const dna_policies *p, mb_err *e) MB_MUST_USE;
/* Letters to ids in place; adds to counts. Returns -1, or the index of the first byte that the policies refuse. */
int64_t dna_tokenize(const dna_alphabet *a, uint8_t *text, int64_t n, dna_counts *counts);
/* 0..3 for the ids of A C G T, -1 for others. */
int dna_base_of(const dna_alphabet *a, int token);
/* One sentence part on a refused byte: "'-' (gap; --gaps n takes gaps as N)". out holds 96 bytes. */
char *dna_bad_letter_words(unsigned char byte, char *out);
void dna_counts_add(dna_counts *to, const dna_counts *more);
/* Ids in place to those of the reverse complement. */
void dna_reverse_tokens(const dna_alphabet *a, uint8_t *token, int64_t n);
/* Letters in place to the reverse complement, IUPAC codes and case kept; other bytes are only moved. */
void dna_reverse_letters(char *text, int64_t n);
#endif
