/* Any bytes as a BED file, and their first line as a region text: regions inside their contigs, or an error. */
#include <htslib/hts_log.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "genomics/regions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    const char *name;
    int64_t length;
} CONTIG[] = {{"chr1", 1000}, {"chr2", 248956422}, {"HLA:A*01", 7}, {"chrM", 16569}};

static int64_t contig_length(void *user, const char *name) {
    (void)user;
    for (size_t i = 0; i < sizeof CONTIG / sizeof *CONTIG; i++)
        if (strcmp(name, CONTIG[i].name) == 0)
            return CONTIG[i].length;
    return -1;
}

static const char *contig_name(void *user, int64_t i) {
    (void)user;
    return i < (int64_t)(sizeof CONTIG / sizeof *CONTIG) ? CONTIG[i].name : NULL;
}

static void try_regions(const char *what) {
    const dna_contigs c = {.length = contig_length, .name = contig_name, .file = "fuzz.fa"};
    dna_regions r;
    mb_err e = {0};
    int rc = dna_regions_read(&r, what, &e);
    if (!rc) {
        rc = dna_regions_resolve(&r, &c, &e);
        for (int64_t i = 0; !rc && i < r.n; i++) {
            const dna_region *g = &r.at[i];
            MB_ASSERT(g->start >= 0 && g->start < g->end && g->end <= contig_length(NULL, g->contig));
            MB_ASSERT(g->strand == '+' || g->strand == '-');
        }
        MB_ASSERT(rc || (r.n > 0 && dna_regions_bases(&r) > 0));
        dna_regions_fini(&r);
    }
    MB_ASSERT(rc == e.status && (!rc || *e.text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64], text[256];
    hts_set_log_level(HTS_LOG_OFF);
    const int fd = memfd_create("bed", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    try_regions(path);
    close(fd);
    size_t n = 0;
    for (; n < size && n < sizeof text - 1 && data[n] && data[n] != '\n' && data[n] != '/'; n++)
        text[n] = (char)data[n];
    text[n] = 0;
    if (n > 0 && access(text, F_OK) != 0)
        try_regions(text);
    return 0;
}
