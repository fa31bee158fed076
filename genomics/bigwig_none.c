/* Stands in for bigwig_out.c where libBigWig was not found at build time: refuses, and says how to get it. */
#include "genomics/bigwig_out.h"

static int refuse(mb_err *e) {
    return mb_fail(e, MB_NOTSUP,
                   "this build cannot write bigWig; install libbigwig-dev and build again, or write .bedgraph");
}

int dna_bigwig_available(void) {
    return 0;
}

int64_t dna_bigwig_zoom_bytes(int64_t values) {
    (void)values;
    return 0;
}

int dna_bigwig_create(dna_bigwig **out, const char *path, const dna_bigwig_contigs *contigs, int zooms, mb_err *e) {
    (void)path, (void)contigs, (void)zooms;
    *out = NULL;
    return refuse(e);
}

int dna_bigwig_put(dna_bigwig *w, int64_t contig, int64_t start, int64_t span, const float *value, int64_t n,
                   mb_err *e) {
    (void)w, (void)contig, (void)start, (void)span, (void)value, (void)n;
    return refuse(e);
}

int dna_bigwig_commit(dna_bigwig *w, mb_err *e) {
    (void)w;
    return refuse(e);
}

void dna_bigwig_abort(dna_bigwig *w) {
    (void)w;
}
