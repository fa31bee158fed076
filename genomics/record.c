/* Storage of a record. Buffers are kept from record to record and grow by half, so that a file is read with one
 * allocation per new longest record. Refuses nothing. */
#include "genomics/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

int dna_text_reserve(dna_text *t, int64_t n, mb_err *e) {
    if (n < t->capacity)
        return MB_OK;
    if (n > INT64_MAX / 4)
        return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " bytes of one record", n);
    int64_t want = t->capacity + t->capacity / 2;
    if (want < n + 1)
        want = n + 1;
    if (want < 64)
        want = 64;
    char *grown = mb_realloc(t->data, (size_t)want);
    if (!grown)
        return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " bytes of one record", want);
    t->data = grown;
    t->capacity = want;
    return MB_OK;
}

int dna_text_add(dna_text *t, const char *data, int64_t n, mb_err *e) {
    MB_ASSERT(n >= 0 && t->n <= INT64_MAX / 4 - n);
    int rc = dna_text_reserve(t, t->n + n, e);
    if (rc)
        return rc;
    if (n > 0)
        memcpy(t->data + t->n, data, (size_t)n);
    t->n += n;
    t->data[t->n] = 0;
    return MB_OK;
}

int dna_text_set(dna_text *t, const char *string, mb_err *e) {
    t->n = 0;
    return dna_text_add(t, string, (int64_t)strlen(string), e);
}

void dna_text_fini(dna_text *t) {
    mb_free(t->data);
    memset(t, 0, sizeof *t);
}

int dna_take_number(const char **at, int base, char end, int64_t *value) {
    char *behind;
    errno = 0;
    const long long n = strtoll(*at, &behind, base);
    if (errno || behind == *at || **at == ' ' || *behind != end)
        return 0;
    *value = n;
    *at = behind + (end != 0);
    return 1;
}

void dna_record_init(dna_record *r) {
    memset(r, 0, sizeof *r);
    r->start = r->end = -1;
    r->strand = '.';
    r->file = "";
}

void dna_record_fini(dna_record *r) {
    dna_text_fini(&r->name);
    dna_text_fini(&r->comment);
    dna_text_fini(&r->bases);
    dna_text_fini(&r->contig);
}

char *dna_record_place(const dna_record *r, char *out, size_t size) {
    char line[32] = "";
    if (r->line > 0)
        snprintf(line, sizeof line, "%" PRId64 ":", r->line);
    snprintf(out, size, "%s:%s record %" PRId64 " '%.100s'", r->file, line, r->number, r->name.n ? r->name.data : "");
    return out;
}
