/* Two alphabets are known:
 *   caduceus  [CLS]0 [SEP]1 [BOS]2 [MASK]3 [PAD]4 [RESERVED]5 [UNK]6 A7 C8 G9 T10 N11, padded to 16 rows
 *             (caduceus/tokenization_caduceus.py; HyenaDNA counts the same way)
 *   plantcad  [PAD]0 [MASK]1 [UNK]2 a3 c4 g5 t6, padded to 8 rows; N has no id of its own and is [UNK]
 * Caduceus was trained with N replaced by [PAD] in its input, so that the N row is nearly untrained: hence `auto`.
 * Refuses models with any other vocabulary: guessing the ids of letters would give well-formed nonsense. */
#include "genomics/alphabet.h"

#include <stdio.h>
#include <string.h>

static const char LETTERS[] = "ACGT";
static const char AMBIGUOUS[] = "RYSWKMBDHVX";
/* Pairs of complements; the rest complement to themselves. */
static const char COMPLEMENTS[] = "ATTAUACGGCRYYRKMMKBVVBDHHD";

static int has_complements(const mb_config *c, const int base[4]) {
    if (!c->rcps)
        return 1; /* nothing known that speaks against it */
    for (int i = 0; i < 4; i++)
        if (base[i] >= c->n_complement || c->complement[base[i]] != base[3 - i])
            return 0;
    return 1;
}

static const int CADUCEUS_BASE[4] = {7, 8, 9, 10}, PLANTCAD_BASE[4] = {3, 4, 5, 6};

static int choose(const mb_config *c, int wanted, mb_err *e) {
    int caduceus = has_complements(c, CADUCEUS_BASE), plantcad = has_complements(c, PLANTCAD_BASE);
    if (wanted == DNA_ALPHABET_CADUCEUS || wanted == DNA_ALPHABET_PLANTCAD) {
        int least = wanted == DNA_ALPHABET_CADUCEUS ? 12 : 7;
        if (c->V < least)
            return mb_fail(e, MB_USAGE, "--alphabet %s needs %d tokens, the model has a vocabulary of %d",
                           wanted == DNA_ALPHABET_CADUCEUS ? "caduceus" : "plantcad", least, c->V);
        if (!(wanted == DNA_ALPHABET_CADUCEUS ? caduceus : plantcad))
            return mb_fail(
                e, MB_USAGE,
                "--alphabet %s contradicts the model's complement_map, where A and T, C and G are not partners",
                wanted == DNA_ALPHABET_CADUCEUS ? "caduceus" : "plantcad");
        return wanted;
    }
    if ((c->V == 12 || c->V == 16) && caduceus)
        return DNA_ALPHABET_CADUCEUS;
    if ((c->V == 7 || c->V == 8) && plantcad)
        return DNA_ALPHABET_PLANTCAD;
    return mb_fail(e, MB_NOTSUP,
                   "the model's vocabulary of %d tokens is no DNA alphabet known here (Caduceus has 12 padded to 16, "
                   "PlantCaduceus 7 padded to 8); if its letters are numbered as one of these, say --alphabet",
                   c->V);
}

static void set_letter(dna_alphabet *a, char letter, int token, int class) {
    int lower = letter - 'A' + 'a';
    a->token[(unsigned char)letter] = a->token[lower] = (uint8_t)token;
    a->class[(unsigned char)letter] = (uint8_t) class;
    a->class[lower] = (uint8_t)(class | DNA_IS_LOWER);
}

/* Letters that count as N, or are refused, as the policies say. */
static void set_policies(dna_alphabet *a, const dna_policies *p) {
    int ambiguous = p->ambiguous == DNA_LETTER_ERROR ? DNA_IS_BAD : DNA_IS_N | DNA_IS_AMBIGUOUS;
    for (const char *s = AMBIGUOUS; *s; s++)
        set_letter(a, *s, a->n_token, ambiguous);
    for (const char *s = "-.*"; *s; s++) {
        a->token[(unsigned char)*s] = (uint8_t)a->n_token;
        a->class[(unsigned char)*s] = p->gaps == DNA_LETTER_ERROR ? DNA_IS_BAD : DNA_IS_N | DNA_IS_GAP;
    }
    if (p->lower == DNA_CASE_MASK)
        for (int b = 'a'; b <= 'z'; b++)
            if (a->class[b] & DNA_IS_BASE) {
                a->token[b] = (uint8_t)a->n_token;
                a->class[b] = DNA_IS_N | DNA_IS_LOWER;
            }
}

int dna_alphabet_init(dna_alphabet *a, const mb_config *c, const dna_policies *p, mb_err *e) {
    int kind = choose(c, p->alphabet, e);
    if (kind < 0)
        return kind;
    int caduceus = kind == DNA_ALPHABET_CADUCEUS;
    memset(a, 0, sizeof *a);
    a->name = caduceus ? "caduceus" : "plantcad";
    a->mask_token = caduceus ? 3 : 1;
    if (caduceus)
        a->n_token = p->n_as == DNA_N_N ? 11 : 4;
    else
        a->n_token = p->n_as == DNA_N_PAD ? 0 : 2;
    memset(a->class, DNA_IS_BAD, sizeof a->class);
    for (int i = 0; i < 256; i++)
        a->complement[i] = (uint8_t)i;
    for (int i = 0; i < 4; i++) {
        a->base[i] = caduceus ? CADUCEUS_BASE[i] : PLANTCAD_BASE[i];
        set_letter(a, LETTERS[i], a->base[i], DNA_IS_BASE);
    }
    for (int i = 0; i < 4; i++)
        a->complement[a->base[i]] = (uint8_t)a->base[3 - i];
    set_letter(a, 'U', a->base[3], DNA_IS_BASE | DNA_IS_U);
    set_letter(a, 'N', a->n_token, DNA_IS_N);
    set_policies(a, p);
    return MB_OK;
}

int64_t dna_tokenize(const dna_alphabet *a, uint8_t *text, int64_t n, dna_counts *counts) {
    int64_t histogram[256] = {0};
    for (int64_t i = 0; i < n; i++) {
        uint8_t letter = text[i];
        if (a->class[letter] & DNA_IS_BAD)
            return i;
        histogram[letter]++;
        text[i] = a->token[letter];
    }
    counts->bases += n;
    for (int b = 0; b < 256; b++) {
        int class = a->class[b];
        counts->n += class & DNA_IS_N ? histogram[b] : 0;
        counts->ambiguous += class & DNA_IS_AMBIGUOUS ? histogram[b] : 0;
        counts->lower += class & DNA_IS_LOWER ? histogram[b] : 0;
        counts->gaps += class & DNA_IS_GAP ? histogram[b] : 0;
        counts->u += class & DNA_IS_U ? histogram[b] : 0;
    }
    return -1;
}

int dna_base_of(const dna_alphabet *a, int token) {
    for (int i = 0; i < 4; i++)
        if (a->base[i] == token)
            return i;
    return -1;
}

char *dna_bad_letter_words(unsigned char byte, char *out) {
    enum { SIZE = 96 };
    int upper = byte >= 'a' && byte <= 'z' ? byte - 'a' + 'A' : byte;
    if (byte && strchr("-.*", byte))
        snprintf(out, SIZE, "'%c' is a gap (--gaps n would take it as N)", byte);
    else if (byte && strchr(AMBIGUOUS, upper))
        snprintf(out, SIZE, "'%c' is an ambiguity code (--ambiguous n would take it as N)", byte);
    else if (byte > 32 && byte < 127)
        snprintf(out, SIZE, "'%c' is no nucleotide letter", byte);
    else
        snprintf(out, SIZE, "byte 0x%02x is no nucleotide letter", byte);
    return out;
}

void dna_counts_add(dna_counts *to, const dna_counts *more) {
    to->bases += more->bases;
    to->n += more->n;
    to->ambiguous += more->ambiguous;
    to->lower += more->lower;
    to->gaps += more->gaps;
    to->u += more->u;
}

void dna_reverse_tokens(const dna_alphabet *a, uint8_t *token, int64_t n) {
    for (int64_t i = 0, j = n - 1; i <= j; i++, j--) {
        uint8_t left = a->complement[token[i]];
        token[i] = a->complement[token[j]];
        token[j] = left;
    }
}

void dna_reverse_letters(char *text, int64_t n) {
    char map[256];
    for (int i = 0; i < 256; i++)
        map[i] = (char)i;
    for (const char *s = COMPLEMENTS; *s; s += 2) {
        map[(unsigned char)s[0]] = s[1];
        map[s[0] - 'A' + 'a'] = (char)(s[1] - 'A' + 'a');
    }
    for (int64_t i = 0, j = n - 1; i <= j; i++, j--) {
        char left = map[(unsigned char)text[i]];
        text[i] = map[(unsigned char)text[j]];
        text[j] = left;
    }
}
