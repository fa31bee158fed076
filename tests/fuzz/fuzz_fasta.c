/* Any bytes as FASTA or FASTQ, plain or compressed: records or an error with a sentence, nothing else. */
#include <htslib/hfile.h>
#include <htslib/hts_log.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "genomics/alphabet.h"
#include "genomics/fasta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(dna_record *r) {
    dna_alphabet a;
    dna_counts counts = {0};
    mb_err e = {0};
    const mb_config c = {.V = 16};
    MB_ASSERT(r->name.n > 0 && strlen(r->name.data) == (size_t)r->name.n && !strpbrk(r->name.data, "\n\t "));
    MB_ASSERT(r->end == r->bases.n && r->line > 0);
    if (dna_alphabet_init(&a, &c, &(dna_policies){.gaps = DNA_LETTER_N}, &e))
        abort();
    const int64_t bad = r->bases.n ? dna_tokenize(&a, (uint8_t *)r->bases.data, r->bases.n, &counts) : -1;
    MB_ASSERT(bad < r->bases.n);
}

static hFILE *open_bytes(const uint8_t *data, size_t size) {
    char *copy = malloc(size + 1);
    if (!copy)
        return NULL;
    memcpy(copy, data, size);
    hFILE *in = hopen("mem:", "rb:", copy, size);
    if (!in)
        free(copy);
    return in; /* which frees the copy when it is closed */ // NOLINT(clang-analyzer-unix.Malloc)
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dna_fasta *f = NULL;
    dna_record r;
    mb_err e = {0};
    hts_set_log_level(HTS_LOG_OFF);
    hFILE *in = open_bytes(data, size);
    if (!in)
        return 0;
    dna_record_init(&r);
    int rc = dna_fasta_open(&f, in, "fuzz", &e), records = 0;
    while (!rc && (rc = dna_fasta_next(f, &r, &e)) > 0) {
        use(&r);
        rc = 0;
        records++;
    }
    MB_ASSERT(rc == 0 ? records > 0 && !e.status : e.status == rc && *e.text);
    dna_record_fini(&r);
    dna_fasta_close(f);
    return 0;
}
