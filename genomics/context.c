/* See context.h. Refuses inputs without random access, and letters that the policies refuse, with their place. */
#include "genomics/context.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"

int dna_source_open(dna_source *s, const char *path, const dna_context_values *v, mb_err *e) {
    *s = (dna_source){.path = path, .v = v};
    if (strcmp(path, "-") == 0)
        return mb_fail(e, MB_USAGE, "the genome must be a file: regions are read out of its middle");
    if (v->regions && !*v->regions)
        return mb_fail(e, MB_USAGE, "--regions is empty: expected a BED file, a contig or contig:from-to");
    int rc = dna_genome_open(&s->genome, path, e);
    if (rc)
        return rc;
    s->contigs = dna_genome_contigs(s->genome);
    if (!v->regions)
        return dna_regions_all(&s->regions, &s->contigs, e);
    rc = dna_regions_read(&s->regions, v->regions, e);
    return rc ? rc : dna_regions_resolve(&s->regions, &s->contigs, e);
}

void dna_source_close(dna_source *s) {
    dna_regions_fini(&s->regions);
    dna_genome_close(s->genome);
    *s = (dna_source){0};
}

dna_policies dna_source_policies(const dna_context_values *v) {
    return (dna_policies){
        .alphabet = v->alphabet, .n_as = v->n_as, .lower = v->lower_case, .ambiguous = v->ambiguous, .gaps = v->gaps};
}

int dna_source_note(const dna_source *s, mb_provenance *p, mb_err *e) {
    int rc = mb_provenance_file(p, "input", s->path, e);
    if (!rc && s->v->regions && mb_file_exists(s->v->regions))
        rc = mb_provenance_file(p, "input", s->v->regions, e);
    return rc;
}

int dna_source_check_output(const dna_source *s, const char *output, mb_err *e) {
    const char *const input[] = {s->path, s->v->regions};
    struct stat out, in;
    if (stat(output, &out) || !S_ISREG(out.st_mode))
        return MB_OK;
    for (int i = 0; i < 2; i++)
        if (input[i] && stat(input[i], &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
            return mb_fail(e, MB_USAGE, "%s: is an input too; it would be overwritten", output);
    return MB_OK;
}

int dna_context_fetch(dna_context *c, const dna_source *s, const dna_alphabet *a, const dna_region *region,
                      int64_t flank, dna_counts *counts, mb_err *e) {
    const int64_t length = s->contigs.length(s->contigs.user, region->contig);
    *c = (dna_context){.region = region};
    c->from = region->start > flank ? region->start - flank : 0;
    c->to = length - region->end > flank ? region->end + flank : length;
    c->token = mb_malloc((size_t)(c->to - c->from));
    if (!c->token)
        return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " bases of %s", c->to - c->from, region->contig);
    int rc = dna_genome_fetch(s->genome, region->contig, c->from, c->to - c->from, (char *)c->token, e);
    const int64_t bad = rc ? -1 : dna_tokenize(a, c->token, c->to - c->from, counts);
    if (bad >= 0) {
        char words[96];
        rc = mb_fail(e, MB_FORMAT, "%s: base %" PRId64 " of %s: %s", s->path, c->from + bad + 1, region->contig,
                     dna_bad_letter_words(c->token[bad], words));
    }
    if (rc)
        dna_context_fini(c);
    return rc;
}

void dna_context_fini(dna_context *c) {
    mb_free(c->token);
    *c = (dna_context){0};
}

void dna_counts_warn(const dna_counts *c) {
    const struct {
        int64_t n;
        const char *what;
    } row[] = {{c->ambiguous, "ambiguity codes were taken as N (--ambiguous error refuses them)"},
               {c->gaps, "gap characters were taken as N"},
               {c->u, "letters U were taken as T"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].n > 0)
            mb_warn("%" PRId64 " %s", row[i].n, row[i].what);
}
