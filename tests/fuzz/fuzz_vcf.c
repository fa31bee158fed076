/* Any bytes as VCF or BCF through all of `dna-mamba variants` but the model: read, checked, normalised, put in order,
 * cut into windows, annotated, written as text and as BCF. */
#include <htslib/hts_log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "genomics/variants.h"
#include "tests/fuzz/input.h"

static dna_genome *genome;
static dna_alphabet alphabet;

/* The files can go once they are open: the index is in memory. */
static void open_genome(void) {
    char folder[] = "/tmp/fuzz-vcf.XXXXXX", path[64], index[72];
    const mb_config c = {.V = 16};
    mb_err e = {0};
    if (!mkdtemp(folder))
        abort();
    snprintf(path, sizeof path, "%s/x.fa", folder);
    snprintf(index, sizeof index, "%s.fai", path);
    FILE *f = fopen(path, "w");
    if (!f ||
        fprintf(f, ">1\nACGTTTTTTTTTTTTTTTACACACACACACACACAGTNNNNNNNNRYACGTTGCAacgtgggggggggggggg\n>x\nAC\n") < 0 ||
        fclose(f))
        abort();
    mb_log_set_level(MB_LOG_QUIET);
    if (dna_genome_open(&genome, path, &e) || dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &e))
        abort();
    if (unlink(path) || unlink(index) || rmdir(folder))
        abort();
}

static int write_batch(const variants_setup *s, dna_vcf *vcf, const variants_batch *b, dna_vcf_out *out, mb_err *e) {
    int rc = MB_OK;
    for (int64_t i = 0; !rc && i < b->n; i++) {
        const bcf1_t *r = b->entry[i].record;
        MB_ASSERT(r->n_allele >= 1 && *r->d.allele[0]);
        rc = variants_annotate(s, dna_vcf_header(vcf), b, i, e);
        if (!rc)
            rc = dna_vcf_out_write(out, b->entry[i].record, e);
    }
    for (int64_t i = 0; i < b->n_effect; i++) {
        const dna_effect *f = &b->effect[i];
        MB_ASSERT(f->ref.at >= 0 && f->ref.at + f->ref.n <= f->ref.length && f->ref.length <= s->v->window);
        MB_ASSERT(f->alt.at >= 0 && f->alt.at + f->alt.n <= f->alt.length && f->alt.length <= s->v->window);
    }
    return rc;
}

static void run(const char *path, const variants_setup *s, int kind) {
    variants_source *x = NULL;
    variants_batch b = {0};
    variants_totals t = {0};
    dna_vcf_out *out = NULL;
    mb_err e = {0};
    int more = 0, rc = variants_source_open(&x, s, path, &e);
    if (!rc && (rc = variants_declare(s, variants_source_vcf(x), &e)) > 0)
        rc = MB_OK;
    if (!rc)
        rc = dna_vcf_out_open(&out, "/dev/null", kind, dna_vcf_header(variants_source_vcf(x)), &e);
    while (!rc && (more = variants_batch_fill(&b, s, x, 0, &t, &e)) > 0) {
        rc = write_batch(s, variants_source_vcf(x), &b, out, &e);
        variants_batch_clear(&b, x);
    }
    if (!rc)
        rc = more;
    MB_ASSERT(rc == e.status && (!rc || *e.text));
    dna_vcf_out_abort(out);
    variants_batch_fini(&b);
    variants_source_close(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (!genome)
        open_genome();
    const char *path = fuzz_file(data, n);
    for (int way = 0; way < 2; way++) {
        char prefix[] = "SM", score[] = "llr", reference[] = "x.fa", model[] = "m";
        const variants_values v = {.window = 24,
                                   .prefix = prefix,
                                   .score = score,
                                   .reference = reference,
                                   .model = model,
                                   .normalize = way,
                                   .ref_mismatch = way ? VARIANTS_MISMATCH_WARN : VARIANTS_MISMATCH_SKIP,
                                   .missing_contig = VARIANTS_CONTIG_SKIP};
        const variants_setup s = {.v = &v,
                                  .effect = {.alphabet = &alphabet, .mask_stride = 8},
                                  .wanted = 3,
                                  .fields = 3,
                                  .genome = genome,
                                  .format = way ? VARIANTS_BCF : VARIANTS_VCF};
        run(path, &s, way ? DNA_VCF_BCF : DNA_VCF_TEXT);
    }
    return 0;
}
