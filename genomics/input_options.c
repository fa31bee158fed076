/* See input_options.h. Refuses windows and flags that are not numbers, strides without windows, empty names. */
#include "genomics/input_options.h"

#include <htslib/sam.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"

/* Most sequences of a batch: bounds what is kept per sequence when reads are short. */
enum { BATCH_ITEMS = 4096 };

static int parse_window(const char *text, int64_t *window, mb_err *e) {
    *window = 0;
    if (!text || strcmp(text, "whole") == 0)
        return MB_OK;
    char *end;
    double n = strtod(text, &end);
    if (*end == 'k' || *end == 'K')
        n *= 1e3, end++;
    else if (*end == 'm' || *end == 'M')
        n *= 1e6, end++;
    if (*end || end == text || !(n >= 1 && n <= 1e15) || n != (double)(int64_t)n)
        return mb_fail(e, MB_USAGE, "--window %s: expected a number of bases (1000, 131k) or whole", text);
    *window = (int64_t)n;
    return MB_OK;
}

/* "3/8" */
static int parse_shard(const char *text, int *shard, int *shards, mb_err *e) {
    char *slash = NULL, *end = NULL;
    *shard = *shards = 0;
    if (!text)
        return MB_OK;
    const long k = strtol(text, &slash, 10), n = *slash == '/' ? strtol(slash + 1, &end, 10) : 0;
    const int digits = slash != text && end && end != slash + 1 && !*end && strspn(text, "0123456789/") == strlen(text);
    if (!digits || n < 1 || n > 10000 || k < 0 || k >= n)
        return mb_fail(e, MB_USAGE, "--shard %s: expected K/N with K from 0 to N-1, as in 0/4", text);
    *shard = (int)k;
    *shards = (int)n;
    return MB_OK;
}

static int parse_flags(const char *option, const char *text, int *flags, mb_err *e) {
    *flags = text ? bam_str2flag(text) : 0;
    if (*flags >= 0 && *flags <= 0xffff)
        return MB_OK;
    return mb_fail(e, MB_USAGE, "--%s %s: expected a number (0x900) or names of flags (SECONDARY,SUPPLEMENTARY)",
                   option, text);
}

int dna_input_resolve(const dna_input_values *v, char *const *inputs, int n, dna_items_options *o, dna_policies *p,
                      mb_err *e) {
    memset(o, 0, sizeof *o);
    if (v->regions && !*v->regions)
        return mb_fail(e, MB_USAGE, "--regions is empty: expected a BED file, a contig or contig:from-to");
    if (v->reference && !*v->reference)
        return mb_fail(e, MB_USAGE, "--reference is empty: expected a FASTA file");
    *p = (dna_policies){
        .alphabet = v->alphabet, .n_as = v->n_as, .lower = v->lower_case, .ambiguous = v->ambiguous, .gaps = v->gaps};
    o->inputs = inputs;
    o->n_inputs = n;
    o->reader.regions = v->regions;
    o->reader.duplicates = v->duplicates;
    o->reader.empty = v->empty;
    o->reader.alignment.reference = v->reference;
    o->reader.alignment.min_mapq = (int)v->min_mapq;
    o->reader.alignment.as_stored = v->read_strand == DNA_READ_STORED;
    int rc = parse_flags("exclude-flags", v->exclude_flags, &o->reader.alignment.exclude_flags, e);
    if (!rc)
        rc = parse_flags("include-flags", v->include_flags, &o->reader.alignment.include_flags, e);
    if (!rc)
        rc = parse_window(v->window, &o->window, e);
    if (!rc)
        rc = parse_shard(v->shard, &o->shard, &o->shards, e);
    if (rc)
        return rc;
    if (v->stride && !o->window)
        return mb_fail(e, MB_USAGE, "--stride needs --window");
    o->stride = v->stride ? v->stride : o->window;
    o->partial = v->partial_windows;
    o->batch_tokens = v->batch;
    o->batch_items = BATCH_ITEMS;
    return MB_OK;
}

int dna_note_inputs(mb_provenance *p, const dna_items_options *o, mb_err *e) {
    const char *const other[] = {o->reader.regions, o->reader.alignment.reference};
    int rc = MB_OK;
    for (int i = 0; !rc && i < o->n_inputs; i++)
        if (strcmp(o->inputs[i], "-") != 0)
            rc = mb_provenance_file(p, "input", o->inputs[i], e);
    for (int i = 0; !rc && i < 2; i++)
        if (other[i] && mb_file_exists(other[i]))
            rc = mb_provenance_file(p, "input", other[i], e);
    return rc;
}

int dna_check_output(const char *output, const dna_items_options *o, mb_err *e) {
    struct stat out, in;
    if (stat(output, &out) || !S_ISREG(out.st_mode))
        return MB_OK;
    const char *const other[] = {o->reader.regions, o->reader.alignment.reference};
    for (int i = 0; i < o->n_inputs + 2; i++) {
        const char *path = i < o->n_inputs ? o->inputs[i] : other[i - o->n_inputs];
        if (path && stat(path, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
            return mb_fail(e, MB_USAGE, "%s: is an input too; it would be overwritten", output);
    }
    return MB_OK;
}
