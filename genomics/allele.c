/* See allele.h. Letters are compared without their case. */
#include "genomics/allele.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"

const char *const dna_allele_kind_name[DNA_ALLELE_KINDS] = {"SNV", "MNV", "insertion", "deletion", "complex", "other"};
const char *const dna_reason_name[DNA_REASONS] = {"",
                                                  "no_alt",
                                                  "symbolic",
                                                  "overlapping_deletion",
                                                  "breakend",
                                                  "not_acgt",
                                                  "same_as_ref",
                                                  "ref_mismatch",
                                                  "outside_contig",
                                                  "no_contig",
                                                  "longer_than_half_the_window",
                                                  "not_for_indels"};

static int same(char a, char b) {
    return toupper((unsigned char)a) == toupper((unsigned char)b);
}

static int all_of(const char *text, const char *letters) {
    return *text && strspn(text, letters) == strlen(text);
}

static dna_reason reason_of(const char *ref, const char *alt) {
    static const char IUPAC[] = "ACGTURYSWKMBDHVNacgturyswkmbdhvn";
    if (!*alt || strcmp(alt, ".") == 0)
        return DNA_REASON_NO_ALT;
    if (*alt == '<')
        return DNA_REASON_SYMBOLIC;
    if (strcmp(alt, "*") == 0)
        return DNA_REASON_STAR;
    if (strpbrk(alt, "[]") || *alt == '.' || alt[strlen(alt) - 1] == '.')
        return DNA_REASON_BREAKEND;
    if (!all_of(ref, IUPAC) || !all_of(alt, IUPAC))
        return DNA_REASON_NOT_ACGT;
    return strcasecmp(ref, alt) == 0 ? DNA_REASON_SAME_AS_REF : DNA_REASON_NONE;
}

static int are_acgt(const char *text, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!strchr("ACGT", toupper((unsigned char)text[i])))
            return 0;
    return 1;
}

dna_change dna_allele_change(const char *ref, const char *alt, int64_t pos) {
    dna_change c = {.kind = DNA_ALLELE_OTHER, .reason = reason_of(ref, alt), .start = pos};
    if (c.reason)
        return c;
    int64_t n = (int64_t)strlen(ref), m = (int64_t)strlen(alt);
    while (n > 0 && m > 0 && same(ref[n - 1], alt[m - 1]))
        n--, m--;
    int64_t shared = 0;
    while (shared < n && shared < m && same(ref[shared], alt[shared]))
        shared++;
    if (!are_acgt(ref + shared, n - shared) || !are_acgt(alt + shared, m - shared)) {
        c.reason = DNA_REASON_NOT_ACGT;
        return c;
    }
    c.start = pos + shared;
    c.ref_n = n - shared;
    c.alt_n = m - shared;
    c.alt = alt + shared;
    if (c.ref_n == c.alt_n)
        c.kind = c.ref_n == 1 ? DNA_ALLELE_SNV : DNA_ALLELE_MNV;
    else
        c.kind = c.ref_n == 0 ? DNA_ALLELE_INSERTION : c.alt_n == 0 ? DNA_ALLELE_DELETION : DNA_ALLELE_COMPLEX;
    return c;
}

/* While it is worked on, an allele lies backwards in its text: what is dropped on the right is skipped at the front
 * (cut bases), what is put on the left is appended. */
static int lay_backwards(dna_normalizer *n, char *const *allele, int n_allele, mb_err *e) {
    if (n_allele > n->capacity) {
        dna_text *more = mb_realloc_array(n->allele, (size_t)n_allele, sizeof *more);
        if (!more)
            return mb_fail(e, MB_NOMEM, "no memory for %d alleles", n_allele);
        memset(more + n->capacity, 0, (size_t)(n_allele - n->capacity) * sizeof *more);
        n->allele = more;
        n->capacity = n_allele;
    }
    n->n = n_allele;
    int rc = MB_OK;
    for (int i = 0; !rc && i < n_allele; i++) {
        const int64_t length = (int64_t)strlen(allele[i]);
        n->allele[i].n = 0;
        rc = dna_text_add(&n->allele[i], allele[i], length, e);
        for (int64_t k = 0; !rc && k < length; k++)
            n->allele[i].data[k] = allele[i][length - 1 - k];
    }
    return rc;
}

static int64_t shortest(const dna_normalizer *n, int64_t cut) {
    int64_t least = n->allele[0].n;
    for (int i = 1; i < n->n; i++)
        least = n->allele[i].n < least ? n->allele[i].n : least;
    return least - cut;
}

static int end_alike(const dna_normalizer *n, int64_t cut) {
    for (int i = 1; i < n->n; i++)
        if (!same(n->allele[i].data[cut], n->allele[0].data[cut]))
            return 0;
    return 1;
}

static int begin_alike(const dna_normalizer *n) {
    for (int i = 1; i < n->n; i++)
        if (!same(n->allele[i].data[n->allele[i].n - 1], n->allele[0].data[n->allele[0].n - 1]))
            return 0;
    return 1;
}

static int put_left(dna_normalizer *n, int64_t pos, dna_base_at base, void *user, mb_err *e) {
    const int letter = base(user, pos, e);
    if (letter < 0)
        return letter;
    const char upper = (char)toupper(letter);
    int rc = MB_OK;
    for (int i = 0; !rc && i < n->n; i++)
        rc = dna_text_add(&n->allele[i], &upper, 1, e);
    return rc;
}

/* Drops the right base while all have the same, borrowing one on the left when an allele is used up. */
static int move_left(dna_normalizer *n, int64_t *cut, int64_t *pos, dna_base_at base, void *user, mb_err *e) {
    while (end_alike(n, *cut)) {
        if (shortest(n, *cut) > 1) {
            ++*cut;
            continue;
        }
        if (*pos == 0) /* nothing on the left of a contig: the shared base on the right stays */
            break;
        ++*cut;
        int rc = put_left(n, --*pos, base, user, e);
        if (rc)
            return rc;
    }
    return MB_OK;
}

static int can_normalize(char *const *allele, int n_allele) {
    int differs = 0;
    for (int i = 0; i < n_allele; i++) {
        if (!all_of(allele[i], "ACGTNacgtn"))
            return 0;
        differs |= strcasecmp(allele[i], allele[0]) != 0;
    }
    return differs;
}

int dna_normalize(dna_normalizer *n, char *const *allele, int n_allele, int64_t *pos, dna_base_at base, void *user,
                  mb_err *e) {
    if (!can_normalize(allele, n_allele))
        return 0;
    int64_t cut = 0, at = *pos;
    int rc = lay_backwards(n, allele, n_allele, e);
    if (!rc)
        rc = move_left(n, &cut, &at, base, user, e);
    if (rc)
        return rc;
    for (; shortest(n, cut) > 1 && begin_alike(n); at++)
        for (int i = 0; i < n->n; i++)
            n->allele[i].n--;
    if (cut == 0 && at == *pos)
        return 0;
    *pos = at;
    for (int i = 0; i < n->n; i++) {
        dna_text *t = &n->allele[i];
        t->n -= cut;
        memmove(t->data, t->data + cut, (size_t)t->n);
        for (int64_t k = 0; k < t->n / 2; k++) {
            const char swap = t->data[k];
            t->data[k] = t->data[t->n - 1 - k];
            t->data[t->n - 1 - k] = swap;
        }
        t->data[t->n] = 0;
    }
    return 1;
}

void dna_normalizer_fini(dna_normalizer *n) {
    for (int i = 0; i < n->capacity; i++)
        dna_text_fini(&n->allele[i]);
    mb_free(n->allele);
    *n = (dna_normalizer){0};
}
